/*
 * table_key.c - finding by key: the group of the key's hash, and in it the key records with the
 * hash's tag (table.h). A damaged table can name any place: each is checked against its section.
 * Any thread.
 */
#include "directory/table_int.h"

#define LINE  64
#define AHEAD 3 /* cache lines: so far behind its place a group rarely ends */

/* The key records from here on; false if the section does not have so many octets there. */
static bool probe_range(const struct dir_table *t, uint64_t at, uint64_t n, struct table_probe *p)
{
    p->at = p->end = t->keys;
    if (n == 0 || at + n > t->keys_size || !table_is_sound(t, t->keys + at, n))
        return false;
    p->at = t->keys + at;
    p->end = p->at + n;
    return true;
}

void table_probe_start(const struct dir_table *t, uint64_t hash, struct table_probe *p)
{
    uint64_t group = table_home(hash, t->n_groups), at = group * TABLE_PLACE;
    const unsigned char *place = t->keys + at;
    const uint16_t *start = &t->start[group];
    for (unsigned i = 0; i < AHEAD; i++)
        __builtin_prefetch(place + i * LINE);
    *p = (struct table_probe){0};
    if (!table_is_sound(t, start, 2 * sizeof(*start)))
        return;
    uint64_t end = at + TABLE_PLACE + start[1];
    at += start[0];
    if (at > end || !probe_range(t, at, end - at, p))
        return;
    for (const unsigned char *line = place + AHEAD * LINE; line < p->end; line += LINE)
        __builtin_prefetch(line);
}

/* The group's stubs are elsewhere. */
static void probe_spill(const struct dir_table *t, const unsigned char *key, struct table_probe *p)
{
    uint64_t at = (uint64_t)packed_u32(key + 4) * 4;
    bool first = !p->elsewhere;
    p->elsewhere = true;
    if (first && probe_range(t, at, sizeof(uint32_t), p))
        probe_range(t, at + sizeof(uint32_t), packed_u32(p->at), p);
    else
        p->at = p->end;
}

bool table_probe_next(const struct dir_table *t, uint64_t hash, struct table_probe *p,
                      struct table_record *out)
{
    while (p->end - p->at >= KEY_FIXED) {
        const unsigned char *key = p->at;
        uint32_t size = key_size(key);
        if (size < KEY_FIXED || size > (size_t)(p->end - key))
            return false;
        p->at += size;
        if ((key[2] & KEY_SPILL) == KEY_SPILL)
            probe_spill(t, key, p);
        else if (key[0] == (uint8_t)hash &&
                 table_record_at(t, (uint64_t)packed_u32(key + 4) * 4, key, out))
            return true;
    }
    return false;
}

uint64_t table_record_uuid_hash(const struct table_record *r)
{
    return r->key != NULL ? (uint64_t)packed_u32(r->key + 8) << 32 : dir_uuid_hash(r->p);
}
