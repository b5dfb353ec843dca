/*
 * table_int.h - what reading and building tables share: varints, the bits of a packed entry, the
 * builder.
 */
#ifndef DIRECTORY_TABLE_INT_H
#define DIRECTORY_TABLE_INT_H

#include "base/assert.h"
#include "base/buf.h"
#include "directory/table.h"

STATIC_ASSERT(sizeof(struct table_header) == 320, "the header is part of the format");
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

/* A key record. Octets 2 and 3 are as 18 and 19 of its entry, but for these: */
#define KEY_FIXED   12
#define KEY_PRIMARY 0x08 /* the primary address is another one */
#define KEY_STUB    0x10
#define KEY_SPILL   0x18 /* the whole group is elsewhere */

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
    const uint16_t *start; /* of each group, and one more */
    uint64_t n_groups;
    const unsigned char *keys;
    uint64_t keys_size;
    const struct table_bucket *uuids;
    uint64_t n_uuid_buckets;
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

/* Where a hash belongs among n, by its upper half. */
static inline uint64_t table_home(uint64_t hash, uint64_t n)
{
    return ((hash >> 32) * n) >> 32;
}
static inline uint8_t table_uuid_tag(uint64_t hash)
{
    return (uint8_t)(hash >> 32);
}
static inline uint64_t table_align(uint64_t n)
{
    return (n + TABLE_ALIGN - 1) & ~(uint64_t)(TABLE_ALIGN - 1);
}
static inline uint32_t packed_size(const unsigned char *p)
{
    return ((uint32_t)p[16] | (uint32_t)p[17] << 8) * 4;
}
static inline uint32_t key_size(const unsigned char *key)
{
    return key[1];
}
static inline uint32_t packed_u32(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* A bounded reader over one packed entry. */
struct packed {
    const unsigned char *p, *end;
    bool bad;
};
static inline uint32_t packed_varint(struct packed *c)
{
    uint32_t v = 0;
    if (c->p < c->end && *c->p < 0x80) /* nearly all of them */
        return *c->p++;
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

static inline struct dir_address
packed_address(struct packed *c, const struct table_strings *strings, struct str primary_local)
{
    struct dir_address a;
    a.domain = table_strings_get(strings, packed_varint(c));
    uint32_t n = packed_varint(c);
    a.local = n == 0 ? primary_local : packed_octets(c, n);
    return a;
}

/* Entries on their way into a table. */
struct table_builder {
    struct buf entries;
    struct buf text; /* of the strings */
    uint32_t *at;    /* offsets, n_strings + 1 */
    uint32_t *slot;  /* open addressing: string id + 1 */
    uint32_t n_strings, at_cap, slot_cap;
    uint32_t n_entries, n_dead, n_tombstones;
    uint32_t n_keys;  /* the dead ones', too */
    size_t dead_size; /* octets of the dead */
};

void builder_reset(struct table_builder *b); /* empty */
struct table_strings builder_strings(const struct table_builder *b);

/* A record of the entry at this offset: its UUID is there and may be read. */
static inline bool table_record_at(const struct dir_table *t, uint64_t at, const unsigned char *key,
                                   struct table_record *out)
{
    if (at + PACKED_FIXED > t->entries_size || !table_is_sound(t, t->entries + at, PACKED_FIXED))
        return false;
    *out = (struct table_record){.t = t, .p = t->entries + at, .key = key};
    return true;
}
/* What follows its first 20 octets. False if it is not there as a whole. */
bool table_record_open(const struct table_record *r, struct packed *out);

/* Decodes one packed entry. Lists and DN go to `room`. */
bool packed_decode(const unsigned char *p, uint32_t size, const struct table_strings *strings,
                   struct dir_entry_room *room, struct dir_entry *out);

/* table_group.c: the groups of key records for the entries of a builder, of which none is dead.
 * Both are filled up with 0 to a multiple of TABLE_ALIGN octets; the caller frees them. */
struct table_keys {
    uint16_t *start; /* n_groups + 1 */
    uint64_t n_groups;
    unsigned char *keys;
    uint64_t size;
    uint32_t n; /* how many keys the entries have */
    uint64_t types;
};
struct table_keys table_keys_build(const struct table_builder *b);

/* table_record_others() of an entry that has some. */
bool packed_others_each(const unsigned char *p, const struct table_strings *strings,
                        table_other_fn *fn, void *arg);

/* Checksum of everything but the blocks; `head` = header, strings and cookie as laid out. */
uint64_t table_checksum(const unsigned char *head, size_t n, const void *sums, size_t n_sums);

#endif
