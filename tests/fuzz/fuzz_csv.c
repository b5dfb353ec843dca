/*
 * fuzz_csv.c - any octets as a CSV file of recipients, whole and in portions: both ways say the
 * same, and what is read can be packed and read back.
 */
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "directory/file/csv_map.h"
#include "directory/table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

struct reading {
    struct csv_map *map;
    struct table_builder *builder;
    struct dir_entry_room *room;
    unsigned rows;
    uint64_t sum;
};

static bool on_row(void *arg, const struct csv_row *row, struct err *e)
{
    struct reading *x = arg;
    struct dir_entry entry, back;
    bool is_entry;
    if (row->is_header)
        return csv_map_header(x->map, row, e);
    x->rows++;
    for (unsigned i = 0; i < row->n; i++)
        x->sum = hash64_seed(row->value[i].p, row->value[i].n, x->sum);
    if (!csv_map_row(x->map, row, &entry, &is_entry, e))
        return false;
    uint64_t at = is_entry ? table_builder_add(x->builder, &entry) : TABLE_NO_ENTRY;
    if (at != TABLE_NO_ENTRY) {
        ASSERT(table_builder_read(x->builder, at, x->room, &back));
        ASSERT(dir_entry_equal(&entry, &back));
    }
    return true;
}

static bool read_all(struct reading *x, const uint8_t *data, size_t n, size_t step, struct err *e)
{
    static const struct conf_source source = {.flag_attribute = "flag",
                                              .routing_attribute = "routing",
                                              .join_attribute = "key",
                                              .csv_key = "",
                                              .csv_separator = ""};
    struct csv *c = csv_new((size_t)1 << 20, on_row, x);
    bool ok = true;
    x->map = csv_map_new(&source, false);
    x->rows = 0;
    x->sum = 0;
    for (size_t at = 0; ok && at < n; at += step)
        ok = csv_feed(c, (const char *)data + at, n - at < step ? n - at : step, e);
    ok = ok && csv_end(c, e);
    csv_free(&c);
    csv_map_free(&x->map);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct reading x = {.builder = table_builder_new(), .room = mem_alloc(sizeof(*x.room))};
    struct err one, two;
    err_clear(&one);
    err_clear(&two);
    bool whole = read_all(&x, data, n, n + 1, &one);
    unsigned rows = x.rows;
    uint64_t sum = x.sum;
    ASSERT(read_all(&x, data, n, 1, &two) == whole && x.rows == rows && x.sum == sum);
    ASSERT(strcmp(one.text, two.text) == 0);
    table_builder_free(&x.builder);
    mem_free(x.room);
    return 0;
}
