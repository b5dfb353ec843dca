/*
 * directory_table_test.c - tables: what is packed is read back, found by every key and by nothing
 * else; files that are cut, flipped or of another version are refused; stacks hide what is old.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "directory/stack.h"
#include "directory/table.h"
#include "tests/unit/directory_model.h"

static struct dir_entry_room *room;

static struct dir_table *table_of(const char *const *text, unsigned n, unsigned first_id)
{
    struct table_builder *b = table_builder_new();
    struct table_meta m = {.sequence = 7, .cookie = STR("cookie")};
    for (unsigned i = 0; i < n; i++) {
        struct dir_entry gone = {.tombstone = true};
        model_uuid(first_id + i, gone.uuid);
        bool dead = strcmp(text[i], "gone") == 0;
        assert_true(table_builder_add(b, dead ? &gone : model_entry(first_id + i, text[i])) !=
                    TABLE_NO_ENTRY);
    }
    struct dir_table *t = table_builder_finish(b, &m);
    table_builder_free(&b);
    return t;
}

static bool table_has(const struct dir_table *t, const char *key, struct table_record *out)
{
    struct table_probe p;
    uint64_t hash = hash64(key, strlen(key));
    table_probe_start(t, hash, &p);
    while (table_probe_next(t, hash, &p, out))
        if (table_record_has_key(out, str_c(key)))
            return true;
    return false;
}

/* By each of its addresses the entry is found, and what a lookup needs of it is what it says. */
static void check_heads(const struct dir_table *t, const struct dir_entry *e)
{
    for (unsigned i = 0; i < e->n_address; i++) {
        char key[ADDRESS_MAX + 1];
        struct table_record r;
        struct dir_entry head;
        struct dir_address first;
        struct str k = dir_address_key(&e->address[i], key);
        key[k.n] = '\0';
        assert_true(table_has(t, key, &r));
        assert_non_null(r.key);
        assert_memory_equal(table_record_uuid(&r), e->uuid, DIR_UUID_SIZE);
        assert_int_equal(table_record_uuid_hash(&r) >> 32, dir_uuid_hash(e->uuid) >> 32);
        assert_true(table_record_head(&r, &head, &first));
        assert_true(dir_address_equal(&first, &e->address[0]));
        assert_int_equal(head.n_other != 0, e->n_other != 0);
        head.n_address = e->n_address;
        head.address = e->address;
        head.n_other = e->n_other;
        head.other = e->other;
        assert_true(dir_entry_equal_but_dn(&head, e));
    }
}

static void test_round_trip(void **state)
{
    (void)state;
    static const char *const text[] = {
        "mailbox Ann.Lee@x.test ann@x.test Ann.Lee@y.test flag=Target alias=Ann.Lee",
        "mailuser b@x.test routing=b@old.test target=bob@new.test alias=bobby x500=/o=x/cn=b",
        "contact c@x.test target=c@z.test x500=/o=x/cn=c x500=/o=y/cn=c",
        "group \"d.e\"@x.test",
        "mailuser e@x.test legacy=/o=x/cn=e x500=/o=x/cn=e key=e7 type=8 auth vanished=4000000000 "
        "given=Eve initials=E display=Eve.Lee dn=CN=Eve\\,Lee,OU=x,DC=test",
        "mailbox f@x.test dn=cn=f",
        "mailbox g@x.test type=1 dn=cn=g,",
        "mailbox h@x.test surname=h dn=cn=\"h,i\",OU=x,DC=test",
        "mailbox i@x.test auth",
        "mailbox j@x.test dn=,OU=x,DC=test",
        "mailbox k@x.test legacy=/o=x/ou=y/cn=k x500=/o=x/ou=y/cn=kk x500=/ x500=/a x500=a/ "
        "key=/o=x/k",
        "mailuser Kim@x.test kim@y.test l@x.test Kim@z.test flag=t routing=Kim@old.test "
        "target=kim@new.test alias=Kim type=8 auth given=K dn=CN=Kim,DC=test x500=/o=x/cn=kim",
    };
    struct dir_table *t = table_of(text, ARRAY_LEN(text), 1);
    struct table_record r;
    struct dir_entry e;
    assert_int_equal(table_header(t)->n_entries, ARRAY_LEN(text));
    assert_int_equal(table_header(t)->sequence, 7);
    assert_true(str_eq(table_cookie(t), STR("cookie")));
    for (unsigned i = 0; i < ARRAY_LEN(text); i++) {
        unsigned char uuid[DIR_UUID_SIZE];
        char dn[DIR_DN_MAX];
        model_uuid(i + 1, uuid);
        assert_true(table_find_uuid(t, uuid, dir_uuid_hash(uuid), &r));
        assert_true(table_record_decode(&r, room, &e));
        assert_true(dir_entry_equal(&e, model_entry(i + 1, text[i])));
        assert_true(str_eq(table_record_dn(t, r.p, dn), e.dn));
        assert_memory_equal(e.uuid, uuid, DIR_UUID_SIZE);
        check_heads(t, model_entry(i + 1, text[i]));
    }
    static const char *const keys[] = {"ann.lee@x.test", "ann@x.test", "ann.lee@y.test",
                                       "b@x.test",       "c@x.test",   "\"d.e\"@x.test"};
    static const char *const none[] = {"ann@y.test", "lee@x.test", "bob@new.test",
                                       "x.test",     "@x.test",    "ann.lee@x.tes",
                                       "",           "c@x.test."};
    for (unsigned i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        assert_true(table_has(t, keys[i], &r));
    for (unsigned i = 0; i < sizeof(none) / sizeof(none[0]); i++)
        assert_false(table_has(t, none[i], &r));
    table_unref(&t);
}

static unsigned find_other(const struct dir_stack *s, enum dir_key_type type, const char *key,
                           struct table_record *r)
{
    struct str k = str_c(key);
    return stack_find_other(s, 1u << type, k, dir_other_hash(type, k), r, 2);
}

static void test_others(void **state)
{
    (void)state;
    static const char *const text[] = {"mailuser b@x.test x500=/o=x/cn=b x500=/o=y/cn=b",
                                       "contact c@x.test x500=/o=x/cn=c",
                                       "mailbox d@x.test legacy=/o=z/cn=d"};
    struct dir_stack *empty = stack_new(NULL), *s = stack_push(empty, table_of(text, 3, 1));
    struct table_record r[2];
    assert_int_equal(find_other(s, DIR_KEY_X500, "/o=y/cn=b", r), 1);
    assert_int_equal(table_record_uuid(&r[0])[3], 1);
    assert_int_equal(find_other(s, DIR_KEY_X500, "/o=x/cn=c", r), 1);
    assert_int_equal(find_other(s, DIR_KEY_X500, "/o=x/cn=d", r), 0);
    assert_int_equal(find_other(s, DIR_KEY_CUSTOM, "/o=x/cn=c", r), 0);
    assert_int_equal(find_other(s, DIR_KEY_LEGACY_DN, "/o=x/cn=c", r), 0);
    assert_int_equal(find_other(s, DIR_KEY_LEGACY_DN, "/o=z/cn=d", r), 1);
    assert_int_equal(find_other(s, DIR_KEY_X500, "/o=z/cn=d", r), 0);
    assert_int_equal(s->key_types, 1u << DIR_KEY_X500 | 1u << DIR_KEY_LEGACY_DN);
    uint64_t hash = dir_other_hash(DIR_KEY_LEGACY_DN, STR("/o=z/cn=d"));
    assert_int_equal(stack_find_hash(s, hash, r, 2), 1);
    assert_int_equal(stack_find_hash(s, hash + 1, r, 2), 0);
    assert_int_equal(stack_find_hash(s, hash64("d@x.test", 8), r, 2), 1);
    stack_unref(&s);
    stack_unref(&empty);
}

/* Every key is found, and none that is not there. */
static void test_many(void **state)
{
    (void)state;
    const unsigned n = 20000;
    struct table_builder *b = table_builder_new();
    struct table_meta m = {0};
    char text[100];
    for (unsigned i = 0; i < n; i++) {
        snprintf(text, sizeof(text), "mailbox u%u@x.test v%u@d%u.test", i, i, i % 300);
        uint64_t handle = table_builder_add(b, model_entry(i, text));
        assert_true(handle != TABLE_NO_ENTRY);
        if (i % 5 == 4)
            table_builder_kill(b, handle);
    }
    struct dir_table *t = table_builder_finish(b, &m);
    assert_int_equal(table_header(t)->n_entries, n - n / 5);
    unsigned walked = 0;
    struct table_record r;
    for (unsigned i = 0; i < n; i++) {
        snprintf(text, sizeof(text), "v%u@d%u.test", i, i % 300);
        assert_int_equal(table_has(t, text, &r), i % 5 != 4);
        snprintf(text, sizeof(text), "w%u@d%u.test", i, i % 300);
        assert_false(table_has(t, text, &r));
    }
    for (uint64_t at = 0; table_next(t, &at, &r);)
        walked++;
    assert_int_equal(walked, n - n / 5);
    table_unref(&t);
    table_builder_free(&b);
}

/* A key that everybody has: the table is built all the same, in time, and every other key is found.
 */
static void test_crowd(void **state)
{
    (void)state;
    const unsigned n = 60000;
    struct table_builder *b = table_builder_new();
    struct table_meta m = {0};
    char text[120];
    for (unsigned i = 0; i < n; i++) {
        snprintf(text, sizeof(text), "mailbox u%u@x.test all@x.test key=none x500=/o=x/cn=%u", i,
                 i);
        assert_true(table_builder_add(b, model_entry(i, text)) != TABLE_NO_ENTRY);
    }
    struct dir_stack *s = stack_new(table_builder_finish(b, &m));
    struct table_record r[DIR_CLAIMS_MAX];
    assert_int_equal(find_other(s, DIR_KEY_CUSTOM, "none", r), 2);
    assert_int_equal(
        stack_find_key(s, STR("all@x.test"), hash64("all@x.test", 10), r, DIR_CLAIMS_MAX),
        DIR_CLAIMS_MAX);
    for (unsigned i = 0; i < n; i++) {
        snprintf(text, sizeof(text), "u%u@x.test", i);
        assert_int_equal(stack_find_key(s, str_c(text), hash64(text, strlen(text)), r, 2), 1);
        snprintf(text, sizeof(text), "/o=x/cn=%u", i);
        assert_int_equal(find_other(s, DIR_KEY_X500, text, r), 1);
    }
    stack_unref(&s);
    table_builder_free(&b);
}

/* Addresses that somebody chose for where their hashes lie: far more than a group holds. */
static void test_one_group(void **state)
{
    (void)state;
    const unsigned n = 400;
    struct table_builder *b = table_builder_new();
    struct table_meta m = {0};
    char(*key)[40] = mem_alloc(n * sizeof(*key));
    for (unsigned i = 0, k = 0; i < n; k++) {
        char text[60];
        snprintf(key[i], sizeof(key[i]), "u%u@x.test", k);
        if (hash64(key[i], strlen(key[i])) >> 54 != 77)
            continue;
        snprintf(text, sizeof(text), "mailbox %s", key[i]);
        assert_true(table_builder_add(b, model_entry(i++, text)) != TABLE_NO_ENTRY);
    }
    struct dir_table *t = table_builder_finish(b, &m);
    for (unsigned i = 0; i < n; i++) {
        struct table_record r;
        unsigned char uuid[DIR_UUID_SIZE];
        model_uuid(i, uuid);
        assert_true(table_has(t, key[i], &r));
        assert_memory_equal(table_record_uuid(&r), uuid, DIR_UUID_SIZE);
    }
    mem_free(key);
    table_unref(&t);
    table_builder_free(&b);
}

static void test_limits(void **state)
{
    (void)state;
    struct table_builder *b = table_builder_new();
    struct table_meta m = {0};
    struct dir_entry *e = model_entry(1, "mailbox a@x.test");
    char *local = mem_alloc(DIR_ADDRESSES_MAX * 300);
    e->address = room->address;
    for (unsigned i = 0; i < DIR_ADDRESSES_MAX; i++) {
        memset(local + i * 300, 'a', 300);
        snprintf(local + i * 300, 8, "%u", i);
        local[i * 300 + strlen(local + i * 300)] = 'b';
        room->address[i] = (struct dir_address){str_n(local + i * 300, 300), STR("x.test")};
    }
    e->n_address = DIR_ADDRESSES_MAX; /* 300 KB: more than a packed entry holds */
    assert_true(table_builder_add(b, e) == TABLE_NO_ENTRY);
    e->n_address = 800;
    assert_true(table_builder_add(b, e) != TABLE_NO_ENTRY);
    struct dir_table *t = table_builder_finish(b, &m);
    struct table_record r;
    struct dir_entry back;
    uint64_t at = 0;
    assert_true(table_next(t, &at, &r));
    struct dir_entry_room *other = mem_alloc(sizeof(*other));
    assert_true(table_record_decode(&r, other, &back));
    assert_true(dir_entry_equal(e, &back));
    assert_false(table_next(t, &at, &r));
    mem_free(other);
    mem_free(local);
    table_unref(&t);
    table_builder_free(&b);
}

/* ---- damage ---- */

/* Reads everything there is to read in a copy of the image. */
static bool survives(const unsigned char *image, size_t n)
{
    struct err e;
    struct table_record r;
    struct dir_entry entry;
    void *copy = aligned_alloc(64, (n + 64) & ~(size_t)63);
    memcpy(copy, image, n);
    struct dir_table *t = table_from_image(copy, n, &e);
    if (t == NULL)
        return false;
    for (uint64_t at = 0; table_next(t, &at, &r);)
        table_record_decode(&r, room, &entry);
    table_has(t, "u3@x.test", &r);
    table_has(t, "nobody@x.test", &r);
    bool whole = table_verify(t, &e);
    table_unref(&t);
    return whole;
}

static void test_damage(void **state)
{
    (void)state;
    const char *folder = model_folder();
    char path[300], text[100];
    struct table_builder *b = table_builder_new();
    struct table_meta m = {.cookie = STR("a cookie of some length, so that it has octets to flip")};
    struct err e;
    snprintf(path, sizeof(path), "%s/t", folder);
    for (unsigned i = 0; i < 12; i++) {
        snprintf(text, sizeof(text), "mailbox u%u@x.test v%u@d%u.test flag=f%u", i, i, i, i);
        table_builder_add(b, model_entry(i, text));
    }
    assert_true(table_builder_write(b, &m, &file_real, path, &e));
    struct dir_table *t = table_open(path, &e);
    assert_non_null(t);
    size_t n = table_image(t).n;
    unsigned char *bad = mem_alloc(n);
    memcpy(bad, table_image(t).p, n);
    table_unref(&t);
    assert_true(survives(bad, n));
    for (size_t cut = 0; cut < n; cut++)
        assert_false(survives(bad, cut));
    for (size_t at = 0; at < n; at++) {
        bad[at] ^= (unsigned char)(1u << at % 8);
        assert_false(survives(bad, n));
        bad[at] ^= (unsigned char)(1u << at % 8);
    }
    ((struct table_header *)bad)->version++;
    assert_int_equal(truncate(path, 0), 0);
    assert_null(table_open(path, &e));
    int fd = open(path, O_WRONLY);
    assert_int_equal(write(fd, bad, n), (ssize_t)n);
    close(fd);
    assert_null(table_open(path, &e));
    assert_non_null(strstr(e.text, "version"));
    mem_free(bad);
    table_builder_free(&b);
    model_remove_folder(folder);
}

/* ---- stacks ---- */

static unsigned find(const struct dir_stack *s, const char *key, unsigned *first)
{
    struct table_record r[8];
    unsigned n = stack_find_key(s, str_c(key), hash64(key, strlen(key)), r, 8);
    *first = n != 0 ? table_record_uuid(&r[0])[3] : 0;
    return n;
}

static void push(struct dir_stack **s, const char *text, unsigned id)
{
    struct dir_stack *next = stack_push(*s, table_of(&text, 1, id));
    stack_unref(s);
    *s = next;
}

static void test_stack(void **state)
{
    (void)state;
    struct dir_stack *s = stack_new(NULL);
    unsigned id;
    static const char *const base[] = {"mailbox a@x.test b@x.test", "mailbox c@x.test",
                                       "mailbox d@x.test"};
    struct dir_stack *next = stack_new(table_of(base, 3, 1));
    stack_unref(&s);
    s = next;
    push(&s, "mailbox a@x.test z@x.test", 1); /* b is gone, z is new */
    assert_int_equal(find(s, "b@x.test", &id), 0);
    assert_int_equal(find(s, "z@x.test", &id), 1);
    assert_int_equal(find(s, "a@x.test", &id), 1);
    push(&s, "gone", 2);
    assert_int_equal(find(s, "c@x.test", &id), 0);
    push(&s, "mailbox c@x.test", 2); /* and back */
    assert_int_equal(find(s, "c@x.test", &id), 1);
    push(&s, "mailbox d@x.test", 1); /* an address on two objects: the lower UUID first */
    assert_int_equal(find(s, "d@x.test", &id), 2);
    assert_int_equal(id, 1);
    assert_int_equal(find(s, "a@x.test", &id), 0);
    assert_int_equal(s->n, 2); /* small tables were merged */
    struct table_builder *b = table_builder_new();
    stack_flatten(s, b);
    assert_int_equal(table_builder_entries(b), 3);
    table_builder_free(&b);
    for (unsigned i = 10; i < 3000; i++) {
        char text[40];
        snprintf(text, sizeof(text), "mailbox u%u@x.test", i);
        push(&s, text, i);
        assert_true(s->n <= 6);
    }
    for (unsigned i = 5000; i > 4980;
         i--) /* too many to name: the lowest UUIDs, however they came */
        push(&s, "mailbox many@x.test", i);
    struct table_record lowest[8];
    assert_int_equal(stack_find_key(s, STR("many@x.test"), hash64("many@x.test", 11), lowest, 8),
                     8);
    for (unsigned i = 0; i < 8; i++) {
        unsigned char uuid[DIR_UUID_SIZE];
        model_uuid(4981 + i, uuid);
        assert_memory_equal(table_record_uuid(&lowest[i]), uuid, DIR_UUID_SIZE);
    }
    struct stack_cursor c = {0};
    struct table_record r;
    unsigned n = 0;
    while (stack_next(s, &c, &r))
        n++;
    assert_int_equal(n, 3 + 2990 + 20);
    stack_unref(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_others),
        cmocka_unit_test(test_many),       cmocka_unit_test(test_limits),
        cmocka_unit_test(test_crowd),      cmocka_unit_test(test_one_group),
        cmocka_unit_test(test_damage),     cmocka_unit_test(test_stack),
    };
    room = mem_alloc(sizeof(*room));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mem_free(room);
    return failed;
}
