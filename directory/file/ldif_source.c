/*
 * ldif_source.c - a directory from an LDIF file. Objects are told apart by entryUUID or objectGUID,
 * or by their DNs where there is neither.
 */
#include "directory/file/file_source.h"

#include "base/mem.h"
#include "directory/file/ldif.h"
#include "directory/map.h"

struct reading {
    struct file_load *load;
    struct ldif *ldif;
    struct map *map;
};

static void record_uuid(const struct ldif_record *r, unsigned char *uuid)
{
    for (unsigned i = 0; i < r->n; i++) {
        if (str_eq_nocase(r->value[i].name, STR("entryUUID")) &&
            map_uuid_parse(r->value[i].value, uuid))
            return;
        if (str_eq_nocase(r->value[i].name, STR("objectGUID")) &&
            r->value[i].value.n == DIR_UUID_SIZE) {
            memcpy(uuid, r->value[i].value.p, DIR_UUID_SIZE);
            return;
        }
    }
    map_uuid_from_dn(r->dn, uuid);
}

static bool on_record(void *arg, const struct ldif_record *r, struct err *e)
{
    struct reading *x = arg;
    struct dir_entry entry;
    unsigned char uuid[DIR_UUID_SIZE];
    record_uuid(r, uuid);
    if (!x->load->apply)
        return file_load_note(x->load, uuid, "same DN, entryUUID or objectGUID", e);
    map_begin(x->map);
    map_dn(x->map, r->dn);
    for (unsigned i = 0; i < r->n; i++)
        map_value(x->map, r->value[i].name, r->value[i].value);
    bool is_entry = map_end(x->map, uuid, &entry);
    if (map_bad_value(x->map).n != 0)
        source_bad_value(x->load->s, r->dn, map_bad_value(x->map));
    if (is_entry)
        file_load_take(x->load, &entry, r->dn);
    return true;
}

static void *reading_begin(struct file_load *l)
{
    struct reading *x = NEW(struct reading);
    struct map_options o = map_options_of(l->s->c);
    x->load = l;
    x->ldif = ldif_new(l->s->c->line_bytes_max, on_record, x);
    x->map = map_new(&o);
    return x;
}

static bool reading_feed(void *parser, const char *p, size_t n, struct err *e)
{
    return ldif_feed(((struct reading *)parser)->ldif, p, n, e);
}

static bool reading_end(void *parser, struct err *e)
{
    return ldif_end(((struct reading *)parser)->ldif, e);
}

static void reading_free(void *parser)
{
    struct reading *x = parser;
    ldif_free(&x->ldif);
    map_free(&x->map);
    mem_free(x);
}

void ldif_source_run(struct source *s)
{
    static const struct file_format format = {reading_begin, reading_feed, reading_end,
                                              reading_free};
    file_source_run(s, &format);
}
