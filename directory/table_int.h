/*
 * table_int.h - what reading and building tables share: varints, the bits of a packed entry, the
 * builder.
 */
#ifndef DIRECTORY_TABLE_INT_H
#define DIRECTORY_TABLE_INT_H

#include "base/assert.h"
#include "base/buf.h"
#include "directory/table.h"

STATIC_ASSERT(sizeof(struct table_header) == 256, "the header is part of the format");
STATIC_ASSERT(sizeof(struct table_bucket) == 64, "a bucket is one cache line");

#define TABLE_BYTE_ORDER 0x01020304u
#define TABLE_ALIGN      64
#define PACKED_FIXED     20

/* octet 18 */
#define PACKED_KIND      0x07
#define PACKED_TOMBSTONE 0x08
#define PACKED_DEAD      0x10 /* in a builder only: taken out again */
#define PACKED_ROUTING   0x20
#define PACKED_TARGET    0x40
#define PACKED_ALIAS     0x80
/* octet 19 */
#define PACKED_EVIDENCE 0x0f
#define PACKED_FLAG     0x10
#define PACKED_OTHERS   0x20
#define PACKED_MORE     0x40
/* the octet of bits after the alias */
#define MORE_NAMES    0x0f /* a bit each, as in enum dir_name */
#define MORE_AUTH     0x10
#define MORE_TYPE     0x20
#define MORE_VANISHED 0x40
#define MORE_DN       0x80
STATIC_ASSERT(DIR_NAME_COUNT == 4, "MORE_NAMES has a bit for each name");

/* The interned strings, of a table or of a builder. */
struct table_strings {
    const uint32_t *at; /* n + 1 offsets */
    const char *text;
    uint32_t n;
};
static inline struct str table_strings_get(const struct table_strings *s, uint32_t id)
{
    return id < s->n ? str_n(s->text + s->at[id], s->at[id + 1] - s->at[id]) : STR_NULL;
}

struct dir_table {
    _Atomic uint32_t refs;
    size_t mapped; /* octets to unmap; 0: the image is from aligned_alloc */
    const unsigned char *base;
    size_t size;
    const struct table_header *h;
    struct table_strings strings;
    const struct table_bucket *keys, *uuids;
    uint64_t n_key_buckets, n_uuid_buckets;
    const unsigned char *entries;
    uint64_t entries_size;
    _Atomic uint64_t *passed; /* a bit for each block that was verified; NULL: all may be read */
};

/* table_guard.c: what was not verified as a whole is verified block by block, when it is read. */
void table_guard(struct dir_table *t);
bool table_guard_passes(const struct dir_table *t, const void *p, size_t n);
static inline bool table_is_sound(const struct dir_table *t, const void *p, size_t n)
{
    return t->passed == NULL || table_guard_passes(t, p, n);
}

static inline uint64_t table_home(uint64_t hash, uint64_t buckets)
{
    return ((hash >> 32) * buckets) >> 32;
}
static inline uint8_t table_tag(uint64_t hash)
{
    return (uint8_t)hash;
}
static inline uint64_t table_align(uint64_t n)
{
    return (n + TABLE_ALIGN - 1) & ~(uint64_t)(TABLE_ALIGN - 1);
}
static inline uint32_t packed_size(const unsigned char *p)
{
    return ((uint32_t)p[16] | (uint32_t)p[17] << 8) * 4;
}

/* A bounded reader over one packed entry. */
struct packed {
    const unsigned char *p, *end;
    bool bad;
};
static inline uint32_t packed_varint(struct packed *c)
{
    uint32_t v = 0;
    for (unsigned shift = 0; shift < 32 && c->p < c->end; shift += 7) {
        unsigned char o = *c->p++;
        v |= (uint32_t)(o & 0x7f) << shift;
        if (o < 0x80)
            return v;
    }
    c->bad = true;
    return 0;
}
static inline struct str packed_octets(struct packed *c, uint32_t n)
{
    if ((size_t)(c->end - c->p) < n) {
        c->bad = true;
        return STR_NULL;
    }
    struct str s = str_n((const char *)c->p, n);
    c->p += n;
    return s;
}

/* Entries on their way into a table. */
struct table_builder {
    struct buf entries;
    struct buf text; /* of the strings */
    uint32_t *at;    /* offsets, n_strings + 1 */
    uint32_t *slot;  /* open addressing: string id + 1 */
    uint32_t n_strings, at_cap, slot_cap;
    uint32_t n_entries, n_dead, n_tombstones;
    size_t dead_size; /* octets of the dead */
};

void builder_reset(struct table_builder *b); /* empty */
struct table_strings builder_strings(const struct table_builder *b);

/* Decodes one packed entry. Lists and DN go to `room`. */
bool packed_decode(const unsigned char *p, uint32_t size, const struct table_strings *strings,
                   struct dir_entry_room *room, struct dir_entry *out);

/* Checksum of everything but the blocks; `head` = header, strings and cookie as laid out. */
uint64_t table_checksum(const unsigned char *head, size_t n, const void *sums, size_t n_sums);

#endif
