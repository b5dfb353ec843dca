/*
 * table_build.c - from packed entries (table_pack.c) to a table: the keys (table_group.c) and the
 * index of UUIDs are made by walking over the entries, so that building costs little more memory
 * than the table; then all is laid out, in memory or in a file. Owned by one thread.
 *
 * A file is written beside its final name, synced and renamed, so that a reader (or the next start)
 * finds the old one or the new one, whole.
 */
#include "directory/table_int.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"

/* ---- indexes ---- */

static uint64_t buckets_for(uint64_t n)
{
    return n * 5 / (TABLE_SLOTS * 4) + 1; /* load 0.8 */
}

static void bucket_insert(struct table_bucket *v, uint64_t n, uint64_t hash, uint64_t offset)
{
    uint64_t at = table_home(hash, n);
    while (v[at].n == TABLE_SLOTS) {
        v[at].overflow = 1;
        at = at + 1 < n ? at + 1 : 0;
    }
    struct table_bucket *b = &v[at];
    b->tag[b->n] = table_uuid_tag(hash);
    b->ref[b->n++] = (uint32_t)(offset / 4);
}

static void builder_drop_dead(struct table_builder *b)
{
    size_t to = 0;
    for (size_t at = 0; b->n_dead != 0 && at < b->entries.n;) {
        unsigned char *p = (unsigned char *)b->entries.p + at;
        uint32_t n = packed_size(p);
        if (!(p[18] & PACKED_DEAD)) {
            memmove(b->entries.p + to, p, n);
            to += n;
        }
        at += n;
    }
    if (b->n_dead != 0)
        b->entries.n = to;
    b->n_entries -= b->n_dead;
    b->n_dead = 0;
    b->dead_size = 0;
}

struct index {
    struct table_keys keys;
    struct table_bucket *uuids;
    uint64_t n_uuids;
};

static struct index index_build(struct table_builder *b)
{
    builder_drop_dead(b);
    struct index ix = {.keys = table_keys_build(b), .n_uuids = buckets_for(b->n_entries)};
    ix.uuids = mem_array(ix.n_uuids, sizeof(*ix.uuids));
    for (size_t at = 0; at < b->entries.n;) {
        const unsigned char *p = (const unsigned char *)b->entries.p + at;
        bucket_insert(ix.uuids, ix.n_uuids, dir_uuid_hash(p), at);
        at += packed_size(p);
    }
    return ix;
}

static void index_free(struct index *ix)
{
    mem_free(ix->keys.start);
    mem_free(ix->keys.keys);
    mem_free(ix->uuids);
}

/* ---- laying out ---- */

static uint64_t place(struct table_section *s, uint64_t at, uint64_t size)
{
    s->at = at;
    s->size = size;
    return table_align(at + size);
}

static struct table_header layout(const struct table_builder *b, const struct index *ix,
                                  const struct table_meta *m, bool sums)
{
    struct table_header h = {.version = TABLE_VERSION,
                             .byte_order = TABLE_BYTE_ORDER,
                             .salt = m->salt,
                             .source_id = m->source_id,
                             .sequence = m->sequence,
                             .complete_wall_ms = m->complete_wall_ms,
                             .live_entries = m->live_entries,
                             .live_addresses = m->live_addresses,
                             .safety = m->safety,
                             .n_entries = b->n_entries,
                             .n_tombstones = b->n_tombstones,
                             .n_keys = ix->keys.n,
                             .key_types = ix->keys.types,
                             .n_strings = b->n_strings};
    memcpy(h.magic, TABLE_MAGIC, sizeof(h.magic));
    uint64_t at = sizeof(h);
    at = place(&h.strings, at, ((uint64_t)b->n_strings + 1) * sizeof(uint32_t) + b->text.n);
    at = place(&h.cookie, at, m->cookie.n);
    at = place(&h.groups, at, (ix->keys.n_groups + 1) * sizeof(uint16_t));
    at = place(&h.keys, at, ix->keys.size);
    at = place(&h.uuids, at, ix->n_uuids * sizeof(struct table_bucket));
    at = place(&h.entries, at, b->entries.n);
    uint64_t blocks = (at - h.groups.at + TABLE_BLOCK - 1) / TABLE_BLOCK;
    place(&h.sums, at, sums ? blocks * sizeof(uint64_t) : 0);
    h.size = h.sums.at + h.sums.size;
    return h;
}

/* Header, strings and cookie into `to` (h->groups.at octets, zeroed). */
static void put_head(const struct table_builder *b, const struct table_meta *m,
                     const struct table_header *h, unsigned char *to)
{
    static const uint32_t none[1];
    size_t offsets = ((size_t)b->n_strings + 1) * sizeof(uint32_t);
    memcpy(to, h, sizeof(*h));
    memcpy(to + h->strings.at, b->at != NULL ? b->at : none, offsets);
    if (b->text.n != 0)
        memcpy(to + h->strings.at + offsets, b->text.p, b->text.n);
    if (m->cookie.n != 0)
        memcpy(to + h->cookie.at, m->cookie.p, m->cookie.n);
}

static void seal(unsigned char *head, struct table_header *h, const void *sums)
{
    h->checksum = table_checksum(head, h->groups.at, sums, h->sums.size);
    memcpy(head, h, sizeof(*h));
}

struct dir_table *table_builder_finish(struct table_builder *b, const struct table_meta *m)
{
    struct index ix = index_build(b);
    struct table_header h = layout(b, &ix, m, false);
    size_t n = table_align(h.size);
    unsigned char *image = aligned_alloc(TABLE_ALIGN, n);
    if (image == NULL)
        abort();
    memset(image, 0, h.groups.at);
    put_head(b, m, &h, image);
    memcpy(image + h.groups.at, ix.keys.start, table_align(h.groups.size));
    memcpy(image + h.keys.at, ix.keys.keys, h.keys.size);
    memcpy(image + h.uuids.at, ix.uuids, h.uuids.size);
    memset(image + h.entries.at, 0, n - h.entries.at);
    if (b->entries.n != 0)
        memcpy(image + h.entries.at, b->entries.p, b->entries.n);
    seal(image, &h, NULL);
    index_free(&ix);
    builder_reset(b);
    struct err e;
    struct dir_table *t = table_from_image(image, h.size, &e);
    ASSERT(t != NULL);
    return t;
}

/* ---- files ---- */

struct summer {
    struct hash_state *state;
    uint64_t *sum, in_block;
    unsigned block;
};

static void summer_add(struct summer *s, const unsigned char *p, uint64_t n)
{
    while (n != 0) {
        uint64_t part = TABLE_BLOCK - s->in_block < n ? TABLE_BLOCK - s->in_block : n;
        if (s->in_block == 0)
            hash_state_reset(s->state, s->block);
        hash_state_add(s->state, p, part);
        s->sum[s->block] = hash_state_end(s->state);
        s->in_block = (s->in_block + part) % TABLE_BLOCK;
        s->block += s->in_block == 0;
        p += part;
        n -= part;
    }
}

bool table_builder_write(struct table_builder *b, const struct table_meta *m,
                         const struct file_ops *ops, const char *path, struct err *e)
{
    static const unsigned char zero[TABLE_ALIGN];
    struct index ix = index_build(b);
    struct table_header h = layout(b, &ix, m, true);
    unsigned char *head = mem_zalloc(h.groups.at);
    uint64_t pad = h.sums.at - h.entries.at - h.entries.size;
    struct summer s = {.state = hash_state_new(), .sum = mem_zalloc(h.sums.size)};
    summer_add(&s, (unsigned char *)ix.keys.start, h.keys.at - h.groups.at);
    summer_add(&s, ix.keys.keys, h.keys.size);
    summer_add(&s, (unsigned char *)ix.uuids, h.uuids.size);
    summer_add(&s, (unsigned char *)b->entries.p, b->entries.n);
    summer_add(&s, zero, pad);
    hash_state_free(&s.state);
    put_head(b, m, &h, head);
    seal(head, &h, s.sum);
    struct iovec iov[] = {{head, h.groups.at},          {ix.keys.start, h.keys.at - h.groups.at},
                          {ix.keys.keys, h.keys.size},  {ix.uuids, h.uuids.size},
                          {b->entries.p, b->entries.n}, {(void *)zero, pad},
                          {s.sum, h.sums.size}};
    bool ok = file_replace_pieces(ops, path, iov, ARRAY_LEN(iov), 0600, e);
    mem_free(head);
    mem_free(s.sum);
    index_free(&ix);
    builder_reset(b);
    return ok;
}
