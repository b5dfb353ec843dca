/*
 * fuzz_ldif.c - any octets as an LDIF file, whole and in portions: both ways say the same, and what
 * is read maps to entries that can be packed and read back.
 */
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "directory/file/ldif.h"
#include "directory/map.h"
#include "directory/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct reading {
    struct map *map;
    struct table_builder *builder;
    struct dir_entry_room *room;
    unsigned records;
    uint64_t sum;
};

static bool on_record(void *arg, const struct ldif_record *r, struct err *e)
{
    struct reading *x = arg;
    struct dir_entry entry, back;
    unsigned char uuid[DIR_UUID_SIZE];
    (void)e;
    map_uuid_from_dn(r->dn, uuid);
    map_begin(x->map);
    map_dn(x->map, r->dn);
    for (unsigned i = 0; i < r->n; i++) {
        map_value(x->map, r->value[i].name, r->value[i].value);
        x->sum = hash64_seed(r->value[i].value.p, r->value[i].value.n, x->sum);
    }
    x->records++;
    if (map_end(x->map, uuid, &entry)) {
        uint64_t at = table_builder_add(x->builder, &entry);
        if (at != TABLE_NO_ENTRY) {
            ASSERT(table_builder_read(x->builder, at, x->room, &back));
            ASSERT(dir_entry_equal(&entry, &back));
        }
    }
    return true;
}

static bool read_all(struct reading *x, const uint8_t *data, size_t n, size_t step)
{
    struct err e;
    struct ldif *l = ldif_new((size_t)16 << 20, on_record, x);
    bool ok = true;
    x->records = 0;
    x->sum = 0;
    for (size_t at = 0; ok && at < n; at += step)
        ok = ldif_feed(l, (const char *)data + at, n - at < step ? n - at : step, &e);
    ok = ok && ldif_end(l, &e);
    ldif_free(&l);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct map_options o = {.flag_attribute = "ext1",
                            .routing_attribute = "route",
                            .join_attribute = "id",
                            .names = "gsid"};
    struct reading x = {
        .map = map_new(&o), .builder = table_builder_new(), .room = mem_alloc(sizeof(*x.room))};
    bool whole = read_all(&x, data, n, n + 1);
    unsigned records = x.records;
    uint64_t sum = x.sum;
    ASSERT(read_all(&x, data, n, 1) == whole && x.records == records && x.sum == sum);
    struct table_meta m = {0};
    struct dir_table *t = table_builder_finish(x.builder, &m);
    table_unref(&t);
    table_builder_free(&x.builder);
    map_free(&x.map);
    mem_free(x.room);
    return 0;
}
