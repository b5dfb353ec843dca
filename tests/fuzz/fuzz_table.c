/*
 * fuzz_table.c - a good table with some octets changed behind its checksum's back: every read stays
 * inside. The input is a list of (offset, octet), three octets each.
 */
#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "directory/stack.h"
#include "directory/table_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct dir_table *sample(void)
{
    struct table_builder *b = table_builder_new();
    struct table_meta m = {.cookie = STR("cookie")};
    char local[20];
    for (unsigned i = 0; i < 40; i++) {
        struct dir_address a[3] = {{str_n(local, 5), STR("x.test")},
                                   {STR("other"), STR("y.test")},
                                   {str_n(local, 5), STR("z.test")}};
        struct dir_other_key k = {DIR_KEY_X500, STR("/o=x/cn=recipient")};
        struct dir_entry e = {.uuid = {(unsigned char)i},
                              .flag = STR("target"),
                              .n_address = 1 + i % 3,
                              .address = a,
                              .n_other = i % 2,
                              .other = &k,
                              .routing = a[1],
                              .target = a[2],
                              .alias = STR("alias"),
                              .name = {STR("given"), STR(""), STR("in")},
                              .recipient_type = (uint8_t)(i % 5),
                              .vanished_ms = i % 4,
                              .dn = STR("CN=x,OU=y,DC=test")};
        memset(local, 'a' + (int)(i % 26), 5);
        table_builder_add(b, &e);
    }
    struct dir_table *t = table_builder_finish(b, &m);
    table_builder_free(&b);
    return t;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static struct dir_table *good;
    if (good == NULL)
        good = sample();
    struct str image = table_image(good);
    unsigned char *p = aligned_alloc(64, (image.n + 63) & ~(size_t)63);
    memcpy(p, image.p, image.n);
    for (size_t i = 0; i + 3 <= n; i += 3)
        p[(data[i] << 8 | data[i + 1]) % image.n] = data[i + 2];
    struct table_header *h = (struct table_header *)p;
    if (h->groups.at <= image.n && h->groups.at >= sizeof(*h) && h->sums.at <= image.n &&
        h->sums.size <= image.n - h->sums.at)
        h->checksum = table_checksum(p, h->groups.at, p + h->sums.at, h->sums.size);
    struct err e;
    struct dir_table *t = table_from_image(p, image.n, &e);
    if (t == NULL)
        return 0;
    struct dir_entry_room *room = mem_alloc(sizeof(*room));
    struct dir_entry entry;
    struct table_record r[4];
    for (uint64_t at = 0; table_next(t, &at, &r[0]);) {
        char dn[DIR_DN_MAX];
        table_record_decode(&r[0], room, &entry);
        table_record_dn(t, r[0].p, dn);
        table_record_has_key(&r[0], STR("bbbbb@x.test"));
        table_record_has_other(&r[0], 1u << DIR_KEY_X500, STR("/o=x/cn=recipient"));
        table_record_has_hash(&r[0], 1);
    }
    struct dir_stack *s = stack_new(t);
    struct dir_address first;
    unsigned found = stack_find_key(s, STR("bbbbb@x.test"), hash64("bbbbb@x.test", 12), r, 4);
    for (unsigned i = 0; i < found; i++)
        table_record_head(&r[i], &entry, &first);
    struct str x500 = STR("/o=x/cn=recipient");
    stack_find_other(s, 1u << DIR_KEY_X500, x500, dir_other_hash(DIR_KEY_X500, x500), r, 4);
    stack_find_uuid(s, entry.uuid, &r[0]);
    stack_unref(&s);
    mem_free(room);
    return 0;
}
