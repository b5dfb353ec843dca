/*
 * table_build.c - building tables: entries are packed one after the other; strings are interned on
 * the way; the two indexes are made at the end by one walk over the packed entries, so that a
 * builder costs no more memory than the table it makes. Owned by one thread.
 *
 * A file is written beside its final name, synced and renamed, so that a reader (or the next start)
 * finds the old one or the new one, whole.
 */
#include "directory/table_int.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/hash.h"
#include "base/mem.h"

#define ENTRIES_MAX ((size_t)UINT32_MAX * 4 - 65536)
#define STRINGS_MAX ((size_t)1 << 30)

struct table_builder {
    struct buf entries;
    struct buf text; /* of the strings */
    uint32_t *at;    /* offsets, n_strings + 1 */
    uint32_t *slot;  /* open addressing: string id + 1 */
    uint32_t n_strings, at_cap, slot_cap;
    uint32_t n_entries, n_dead, n_tombstones;
};

struct table_builder *table_builder_new(void)
{
    struct table_builder *b = NEW(struct table_builder);
    buf_init(&b->entries, ENTRIES_MAX);
    buf_init(&b->text, STRINGS_MAX);
    return b;
}

static void builder_reset(struct table_builder *b)
{
    buf_free(&b->entries);
    buf_free(&b->text);
    mem_free(b->at);
    mem_free(b->slot);
    b->at = b->slot = NULL;
    b->n_strings = b->at_cap = b->slot_cap = 0;
    b->n_entries = b->n_dead = b->n_tombstones = 0;
}

void table_builder_free(struct table_builder **b)
{
    if (*b == NULL)
        return;
    builder_reset(*b);
    mem_free(*b);
    *b = NULL;
}

uint32_t table_builder_entries(const struct table_builder *b)
{
    return b->n_entries - b->n_dead;
}

size_t table_builder_bytes(const struct table_builder *b)
{
    return b->entries.n;
}

/* ---- strings ---- */

static struct table_strings builder_strings(const struct table_builder *b)
{
    return (struct table_strings){.at = b->at, .text = b->text.p, .n = b->n_strings};
}

static void strings_grow(struct table_builder *b)
{
    if (b->n_strings + 2 > b->at_cap) {
        b->at_cap = b->at_cap == 0 ? 16 : b->at_cap * 2;
        b->at = mem_realloc(b->at, b->at_cap * sizeof(*b->at));
        b->at[b->n_strings] = (uint32_t)b->text.n;
    }
    if ((b->n_strings + 1) * 2 <= b->slot_cap)
        return;
    uint32_t cap = b->slot_cap == 0 ? 32 : b->slot_cap * 2;
    mem_free(b->slot);
    b->slot = mem_array(cap, sizeof(*b->slot));
    b->slot_cap = cap;
    struct table_strings all = builder_strings(b);
    for (uint32_t id = 0; id < b->n_strings; id++) {
        struct str s = table_strings_get(&all, id);
        uint64_t i = hash64(s.p, s.n) & (cap - 1);
        while (b->slot[i] != 0)
            i = (i + 1) & (cap - 1);
        b->slot[i] = id + 1;
    }
}

/* UINT32_MAX when the table of strings is full. */
static uint32_t builder_intern(struct table_builder *b, struct str s)
{
    strings_grow(b);
    struct table_strings all = builder_strings(b);
    uint64_t i = hash64(s.p, s.n) & (b->slot_cap - 1);
    for (; b->slot[i] != 0; i = (i + 1) & (b->slot_cap - 1))
        if (str_eq(table_strings_get(&all, b->slot[i] - 1), s))
            return b->slot[i] - 1;
    if (!buf_append(&b->text, s.p, s.n))
        return UINT32_MAX;
    b->at[++b->n_strings] = (uint32_t)b->text.n;
    b->slot[i] = b->n_strings;
    return b->n_strings - 1;
}

/* ---- packing ---- */

static bool put_varint(struct buf *out, uint32_t v)
{
    char o[5];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        o[n++] = (char)(v | 0x80);
    o[n++] = (char)v;
    return buf_append(out, o, n);
}

/* `like` NULL: never abbreviated. */
static bool put_text(struct buf *out, struct str s, const struct str *like)
{
    if (like != NULL && str_eq(s, *like))
        return put_varint(out, 0);
    return put_varint(out, (uint32_t)s.n) && buf_append(out, s.p, s.n);
}

static bool put_address(struct table_builder *b, const struct dir_address *a,
                        const struct str *primary_local)
{
    uint32_t id = builder_intern(b, a->domain);
    return id != UINT32_MAX && put_varint(&b->entries, id) &&
           put_text(&b->entries, a->local, primary_local);
}

static bool put_other(struct table_builder *b, const struct dir_other_key *o)
{
    long slash = o->type != DIR_KEY_CUSTOM ? str_rfind(o->key, '/') : -1;
    uint32_t prefix =
        slash > 0 ? builder_intern(b, str_upto(o->key, (size_t)slash + 1)) : UINT32_MAX;
    bool has = prefix != UINT32_MAX;
    return o->key.n <= DIR_OTHER_MAX && put_varint(&b->entries, (uint32_t)o->type << 1 | has) &&
           (!has || put_varint(&b->entries, prefix)) &&
           put_text(&b->entries, has ? str_from(o->key, (size_t)slash + 1) : o->key, NULL);
}

static bool put_others(struct table_builder *b, const struct dir_entry *e)
{
    bool ok = put_varint(&b->entries, e->n_other);
    for (unsigned i = 0; i < e->n_other; i++)
        ok = ok && put_other(b, &e->other[i]);
    return ok;
}

/* Where the RDN ends: at the first comma that no backslash or quote hides; -1 if nothing follows.
 */
static long rdn_end(struct str dn)
{
    bool quoted = false;
    for (size_t i = 0; i < dn.n; i++) {
        if (dn.p[i] == '\\')
            i++;
        else if (dn.p[i] == '"')
            quoted = !quoted;
        else if (dn.p[i] == ',' && !quoted)
            return i + 1 < dn.n ? (long)i : -1;
    }
    return -1;
}

/* Most entries share their parent with many. */
static bool put_dn(struct table_builder *b, struct str dn)
{
    long comma = rdn_end(dn);
    struct str rdn = comma >= 0 ? str_upto(dn, (size_t)comma) : dn;
    uint32_t parent = builder_intern(b, comma >= 0 ? str_from(dn, (size_t)comma + 1) : STR(""));
    return parent != UINT32_MAX && put_varint(&b->entries, parent) &&
           put_text(&b->entries, rdn, NULL);
}

static unsigned more_bits(const struct dir_entry *e)
{
    unsigned bits = 0;
    for (unsigned i = 0; i < DIR_NAME_COUNT; i++)
        bits |= (unsigned)(e->name[i].n != 0) << i;
    bits |= e->require_auth ? MORE_AUTH : 0;
    bits |= e->recipient_type != 0 ? MORE_TYPE : 0;
    bits |= e->vanished_ms != 0 ? MORE_VANISHED : 0;
    bits |= e->dn.n != 0 ? MORE_DN : 0;
    return bits;
}

static bool put_more(struct table_builder *b, const struct dir_entry *e)
{
    struct buf *out = &b->entries;
    unsigned bits = more_bits(e);
    bool ok = buf_append_char(out, (char)bits);
    if (bits & MORE_TYPE)
        ok = ok && buf_append_char(out, (char)e->recipient_type);
    for (unsigned i = 0; (bits & MORE_VANISHED) && i < 8; i++)
        ok = ok && buf_append_char(out, (char)((uint64_t)e->vanished_ms >> (8 * i)));
    for (unsigned i = 0; i < DIR_NAME_COUNT; i++)
        if (e->name[i].n != 0)
            ok = ok && put_text(out, e->name[i], NULL);
    return ok && (e->dn.n == 0 || put_dn(b, e->dn));
}

static bool put_body(struct table_builder *b, const struct dir_entry *e)
{
    struct buf *out = &b->entries;
    const struct str *local = &e->address[0].local;
    bool ok = true;
    if (e->flag.n != 0) {
        uint32_t id = builder_intern(b, e->flag);
        ok = id != UINT32_MAX && put_varint(out, id);
    }
    ok = ok && put_varint(out, e->n_address);
    for (unsigned i = 0; i < e->n_address; i++)
        ok = ok && put_address(b, &e->address[i], i == 0 ? NULL : local);
    if (e->n_other != 0)
        ok = ok && put_others(b, e);
    if (e->routing.local.n != 0)
        ok = ok && put_address(b, &e->routing, local);
    if (e->target.local.n != 0)
        ok = ok && put_address(b, &e->target, local);
    if (e->alias.n != 0)
        ok = ok && put_text(out, e->alias, local);
    if (more_bits(e) != 0)
        ok = ok && put_more(b, e);
    return ok;
}

static void put_fixed(unsigned char *p, const struct dir_entry *e)
{
    memcpy(p, e->uuid, DIR_UUID_SIZE);
    p[16] = p[17] = 0;
    p[18] = (unsigned char)((unsigned)e->kind & PACKED_KIND);
    p[19] = (unsigned char)((unsigned)e->evidence & PACKED_EVIDENCE);
    if (e->tombstone) {
        p[18] |= PACKED_TOMBSTONE;
        return;
    }
    p[18] |= e->routing.local.n != 0 ? PACKED_ROUTING : 0;
    p[18] |= e->target.local.n != 0 ? PACKED_TARGET : 0;
    p[18] |= e->alias.n != 0 ? PACKED_ALIAS : 0;
    p[19] |= e->flag.n != 0 ? PACKED_FLAG : 0;
    p[19] |= e->n_other != 0 ? PACKED_OTHERS : 0;
    p[19] |= more_bits(e) != 0 ? PACKED_MORE : 0;
}

uint64_t table_builder_add(struct table_builder *b, const struct dir_entry *e)
{
    static const char pad[4];
    unsigned char fixed[PACKED_FIXED];
    size_t start = b->entries.n;
    ASSERT(e->tombstone || (e->n_address != 0 && e->n_address <= DIR_ADDRESSES_MAX &&
                            e->n_other <= DIR_OTHERS_MAX && e->dn.n <= DIR_DN_MAX));
    put_fixed(fixed, e);
    bool ok = buf_append(&b->entries, fixed, sizeof(fixed)) && (e->tombstone || put_body(b, e)) &&
              buf_append(&b->entries, pad, -(b->entries.n - start) & 3);
    size_t units = (b->entries.n - start) / 4;
    if (!ok || units > UINT16_MAX || b->n_entries == UINT32_MAX) {
        b->entries.n = start;
        return TABLE_NO_ENTRY;
    }
    b->entries.p[start + 16] = (char)(units & 0xff);
    b->entries.p[start + 17] = (char)(units >> 8);
    b->n_entries++;
    b->n_tombstones += e->tombstone;
    return start;
}

void table_builder_kill(struct table_builder *b, uint64_t handle)
{
    unsigned char *p = (unsigned char *)b->entries.p + handle;
    if (p[18] & PACKED_DEAD)
        return;
    b->n_dead++;
    b->n_tombstones -= (p[18] & PACKED_TOMBSTONE) != 0;
    p[18] |= PACKED_DEAD;
}

const unsigned char *table_builder_uuid(const struct table_builder *b, uint64_t handle)
{
    return (const unsigned char *)b->entries.p + handle;
}

bool table_builder_read(const struct table_builder *b, uint64_t handle, struct dir_entry_room *room,
                        struct dir_entry *out)
{
    const unsigned char *p = (const unsigned char *)b->entries.p + handle;
    struct table_strings s = builder_strings(b);
    return !(p[18] & PACKED_DEAD) && packed_decode(p, packed_size(p), &s, room, out);
}

/* ---- indexes ---- */

/* A key that very many entries have (a join attribute that is the same for all, say) is indexed for
 * the first of them only: no lookup looks at more than DIR_CLAIMS_MAX, and buckets without end
 * would make each insertion slower than the one before. */
#define CROWD_BUCKETS 24

struct index {
    const struct table_builder *b;
    struct table_strings strings;
    struct dir_entry_room *room; /* of the entry in hand */
    struct dir_entry_room *other_room;
    struct table_bucket *bucket; /* keys, then uuids */
    uint64_t n_key, n_uuid;
    uint32_t keys; /* how many keys */
    uint64_t key_types;
};

static uint64_t buckets_for(uint64_t n)
{
    return n * 5 / (TABLE_SLOTS * 4) + 1; /* load 0.8 */
}

static bool has_key(const struct index *ix, uint32_t ref, uint64_t hash)
{
    const unsigned char *p = (const unsigned char *)ix->b->entries.p + (uint64_t)ref * 4;
    struct dir_entry e;
    bool found = false;
    if (!packed_decode(p, packed_size(p), &ix->strings, ix->other_room, &e))
        return false;
    for (unsigned i = 0; i < e.n_address && !found; i++)
        found = dir_address_hash(&e.address[i]) == hash;
    for (unsigned i = 0; i < e.n_other && !found; i++)
        found = dir_other_hash(e.other[i].type, e.other[i].key) == hash;
    return found;
}

/* Do as many entries have this key already as a lookup ever looks at? */
static bool is_crowd(const struct index *ix, uint64_t hash)
{
    uint64_t at = table_home(hash, ix->n_key);
    unsigned found = 0;
    for (unsigned k = 0; k < CROWD_BUCKETS; k++) {
        const struct table_bucket *b = &ix->bucket[at];
        for (unsigned i = 0; i < b->n && found < DIR_CLAIMS_MAX; i++)
            found += b->tag[i] == table_tag(hash) && has_key(ix, b->ref[i], hash);
        at = at + 1 < ix->n_key ? at + 1 : 0;
    }
    return found == DIR_CLAIMS_MAX;
}

static void bucket_insert(const struct index *ix, struct table_bucket *v, uint64_t n, uint64_t hash,
                          uint64_t offset)
{
    uint64_t at = table_home(hash, n);
    for (unsigned steps = 1; v[at].n == TABLE_SLOTS; steps++) {
        if (steps == CROWD_BUCKETS && v == ix->bucket && is_crowd(ix, hash))
            return;
        v[at].overflow = 1;
        at = at + 1 < n ? at + 1 : 0;
    }
    struct table_bucket *b = &v[at];
    b->tag[b->n] = table_tag(hash);
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
}

static void index_count(struct index *ix, const struct dir_entry *e)
{
    ix->keys += e->n_address + e->n_other;
    for (unsigned i = 0; i < e->n_other; i++)
        ix->key_types |= (uint64_t)1 << e->other[i].type;
}

static void index_insert(const struct index *ix, const struct dir_entry *e, uint64_t at)
{
    for (unsigned i = 0; i < e->n_address; i++)
        bucket_insert(ix, ix->bucket, ix->n_key, dir_address_hash(&e->address[i]), at);
    for (unsigned i = 0; i < e->n_other; i++)
        bucket_insert(ix, ix->bucket, ix->n_key, dir_other_hash(e->other[i].type, e->other[i].key),
                      at);
    bucket_insert(ix, ix->bucket + ix->n_key, ix->n_uuid, dir_uuid_hash(e->uuid), at);
}

/* Counts the keys of every entry or, once there are buckets, puts them in. */
static void index_walk(struct index *ix)
{
    for (size_t at = 0; at < ix->b->entries.n;) {
        const unsigned char *p = (const unsigned char *)ix->b->entries.p + at;
        struct dir_entry e;
        bool ok = packed_decode(p, packed_size(p), &ix->strings, ix->room, &e);
        ASSERT(ok);
        if (ix->bucket == NULL)
            index_count(ix, &e);
        else
            index_insert(ix, &e, at);
        at += packed_size(p);
    }
}

static struct index index_build(struct table_builder *b)
{
    builder_drop_dead(b);
    struct index ix = {.b = b, .strings = builder_strings(b)};
    ix.room = mem_alloc(sizeof(*ix.room));
    ix.other_room = mem_alloc(sizeof(*ix.other_room));
    index_walk(&ix);
    ix.n_key = buckets_for(ix.keys);
    ix.n_uuid = buckets_for(b->n_entries);
    ix.bucket = mem_array(ix.n_key + ix.n_uuid, sizeof(struct table_bucket));
    index_walk(&ix);
    mem_free(ix.room);
    mem_free(ix.other_room);
    ix.room = ix.other_room = NULL;
    return ix;
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
                             .n_keys = ix->keys,
                             .key_types = ix->key_types,
                             .n_strings = b->n_strings};
    memcpy(h.magic, TABLE_MAGIC, sizeof(h.magic));
    uint64_t at = sizeof(h);
    at = place(&h.strings, at, ((uint64_t)b->n_strings + 1) * sizeof(uint32_t) + b->text.n);
    at = place(&h.cookie, at, m->cookie.n);
    at = place(&h.keys, at, ix->n_key * sizeof(struct table_bucket));
    at = place(&h.uuids, at, ix->n_uuid * sizeof(struct table_bucket));
    at = place(&h.entries, at, b->entries.n);
    uint64_t blocks = (at - h.keys.at + TABLE_BLOCK - 1) / TABLE_BLOCK;
    place(&h.sums, at, sums ? blocks * sizeof(uint64_t) : 0);
    h.size = h.sums.at + h.sums.size;
    return h;
}

/* Header, strings and cookie into `to` (h->keys.at octets, zeroed). */
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
    h->checksum = table_checksum(head, h->keys.at, sums, h->sums.size);
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
    memset(image, 0, h.keys.at);
    put_head(b, m, &h, image);
    memcpy(image + h.keys.at, ix.bucket, h.keys.size + h.uuids.size);
    memset(image + h.entries.at, 0, n - h.entries.at);
    if (b->entries.n != 0)
        memcpy(image + h.entries.at, b->entries.p, b->entries.n);
    seal(image, &h, NULL);
    mem_free(ix.bucket);
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
    unsigned char *head = mem_zalloc(h.keys.at);
    uint64_t pad = h.sums.at - h.entries.at - h.entries.size;
    struct summer s = {.state = hash_state_new(), .sum = mem_zalloc(h.sums.size)};
    summer_add(&s, (unsigned char *)ix.bucket, h.keys.size + h.uuids.size);
    summer_add(&s, (unsigned char *)b->entries.p, b->entries.n);
    summer_add(&s, zero, pad);
    hash_state_free(&s.state);
    put_head(b, m, &h, head);
    seal(head, &h, s.sum);
    struct iovec iov[] = {{head, h.keys.at},
                          {ix.bucket, h.keys.size + h.uuids.size},
                          {b->entries.p, b->entries.n},
                          {(void *)zero, pad},
                          {s.sum, h.sums.size}};
    bool ok = file_replace_pieces(ops, path, iov, ARRAY_LEN(iov), 0600, e);
    mem_free(head);
    mem_free(s.sum);
    mem_free(ix.bucket);
    builder_reset(b);
    return ok;
}
