/*
 * csv_source.c - a directory from a CSV file: one row, one recipient (csv_map.h). Unlike a server's
 * values, every cell is taken at its word: a file with one that cannot be used is refused whole,
 * because somebody can mend it, and would not hear of a recipient that is silently left out.
 */
#include "directory/file/file_source.h"

#include "base/mem.h"
#include "directory/file/csv_map.h"

struct reading {
    struct file_load *load;
    struct csv *csv;
    struct csv_map *map;
};

static bool on_row(void *arg, const struct csv_row *row, struct err *e)
{
    struct reading *x = arg;
    struct dir_entry entry;
    bool is_entry;
    if (row->is_header)
        return csv_map_header(x->map, row, e);
    if (!csv_map_row(x->map, row, &entry, &is_entry, e))
        return false;
    if (!is_entry)
        return true;
    if (!x->load->apply)
        return file_load_note(x->load, entry.uuid, csv_map_key(x->map), e);
    file_load_take(x->load, &entry, entry.address[0].local);
    return true;
}

static void *reading_begin(struct file_load *l)
{
    struct reading *x = NEW(struct reading);
    x->load = l;
    x->csv = csv_new(l->s->c->line_bytes_max, on_row, x);
    x->map = csv_map_new(l->s->c, false);
    return x;
}

static bool reading_feed(void *parser, const char *p, size_t n, struct err *e)
{
    return csv_feed(((struct reading *)parser)->csv, p, n, e);
}

static bool reading_end(void *parser, struct err *e)
{
    return csv_end(((struct reading *)parser)->csv, e);
}

static void reading_free(void *parser)
{
    struct reading *x = parser;
    csv_free(&x->csv);
    csv_map_free(&x->map);
    mem_free(x);
}

void csv_source_run(struct source *s)
{
    static const struct file_format format = {reading_begin, reading_feed, reading_end,
                                              reading_free};
    file_source_run(s, &format);
}
