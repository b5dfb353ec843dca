/*
 * table.h - the one format of everything the directory keeps: snapshots on disk, overlays of later
 * changes in memory, records of the journal. A table is immutable: built once, then read by any
 * thread. Byte order and alignment are the host's; a file is for the machine that wrote it.
 *
 *   header        struct table_header, 320 bytes
 *   strings       u32 offset[n_strings + 1], then the octets: domains and flag values, each once
 *   cookie        what the source needs to go on from here (opaque)
 *   groups        u16 start[n + 1]: where each group of key records lies
 *   keys          key records, group after group: what a lookup needs of the entry that has the key
 *   uuids         buckets: hash of the UUID -> entry
 *   entries       packed, each a multiple of 4 octets (below)
 *   sums          u64 per block of 1 MB of the file from `groups` to here
 *
 * Every section begins at a multiple of 64. `header.checksum` covers header, strings, cookie and
 * sums; the sums cover the rest. A table is valid when magic, version, sizes and checksum agree
 * and, for a file, every block has its sum. Reading an entry checks every bound again, so even
 * a table whose blocks were not verified yet can only answer wrongly, never crash.
 *
 * A lookup waits for memory once. The upper half of the key's hash, scaled to the number of groups,
 * says which group, and a group's records are near 64 octets times its number: at its place, or as
 * far behind it as the groups before have pushed it, which u16 start[group] says in octets. A sixth
 * of the places is left free, so that this is mostly less than two cache lines. So what a lookup
 * reads is asked for at once, its start and the lines behind its place. A group ends where the next
 * one starts, or with a record of size 0. A key record:
 *   u8 tag (the hash's lowest octet), u8 size, u8 kind and bits, u8 evidence and bits,
 *   u32 entry (offset / 4), u32 upper half of the hash of its UUID             (12 octets)
 *   address       the one that has this hash
 *   [primary]     if that is another one; local part of length 0: that one's
 *   [flag] [routing] [target] [alias] [more]   as in the entry, without the DN
 * A key that is no address, and an address where that would be long, has a stub of 12 octets: the
 * rest is read in the entry. A group whose records are too many is one record that says where in
 * the section (octets / 4) stubs for all of them are: u32 octets, then the stubs. Of a key that
 * hundreds of entries have, only the first TABLE_CROWD are there.
 *
 * A bucket of UUIDs is one cache line of 12 slots: 8 bits of hash and a 32-bit entry reference
 * (offset / 4) each, both from the hash's upper half, which scaled to the number of buckets is the
 * home bucket; what finds its home full goes to the next one and leaves `overflow` set behind. Load
 * about 0.8.
 *
 * A packed entry:
 *   uuid[16], u16 size / 4, u8 kind and bits, u8 evidence and bits        (20 octets)
 *   [flag]        varint string
 *   addresses     varint count, then each: varint domain string, varint length of the local part,
 *                 octets. Length 0 says: the primary's local part.
 *   [others]      varint count, then each: varint type * 2 (+ 1: with a prefix), [varint string:
 *                 the prefix], varint length, octets. X.500 addresses of an organisation differ
 *                 only behind their last slash
 *   [routing] [target]  as an address
 *   [alias]       varint length, octets; length 0 says: the primary's local part
 *   [more]        u8 bits, then what they say is there:
 *     [type]      u8 recipient type
 *     [vanished]  i64, octet by octet, lowest first
 *     [names]     each that is there: varint length, octets
 *     [dn]        varint string: the parent's DN; varint length, octets: the RDN
 * A tombstone is the 20 octets alone. What a lookup needs comes first.
 */
#ifndef DIRECTORY_TABLE_H
#define DIRECTORY_TABLE_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"
#include "base/file.h"
#include "directory/entry.h"

#define TABLE_MAGIC      "CWDIRTAB"
#define TABLE_VERSION    3
#define TABLE_SLOTS      12
#define TABLE_PLACE      64
#define TABLE_CROWD      256
#define TABLE_BLOCK      ((uint64_t)1 << 20)
#define TABLE_COOKIE_MAX 65536

struct table_section {
    uint64_t at, size; /* octets */
};
/* What keeps a source's mistakes from becoming ours (hold.h, grace.h). Wall clock. */
struct table_safety {
    uint64_t vanished; /* entries in their grace period; not among the living */
    uint64_t lately;   /* entries removed since lately_ms, step by step */
    int64_t lately_ms;
    uint64_t vanish, move, drop; /* of a held change: what it would do */
    int64_t held_ms;             /* of a held change: since when */
};
struct table_header {
    char magic[8];
    uint32_t version, byte_order; /* byte_order 0x01020304 as the host writes it */
    uint64_t size;                /* of the whole table */
    uint64_t checksum;
    uint64_t salt;            /* of the snapshot: its own; of a journal record: its snapshot's */
    uint64_t source_id;       /* hash of what the source asks its server for */
    uint64_t sequence;        /* commits of this source since it began */
    int64_t complete_wall_ms; /* last moment it was known complete, wall clock; 0 = never */
    uint64_t live_entries;    /* of the whole source after this table; tombstones not counted */
    uint64_t live_addresses;
    uint32_t n_entries, n_tombstones, n_keys, n_strings;
    struct table_section strings, cookie, groups, keys, uuids, entries, sums;
    uint64_t key_types; /* a bit for each type of other keys that some entry has */
    struct table_safety safety;
    uint8_t spare[48]; /* 0 */
};
struct table_bucket {
    uint8_t tag[TABLE_SLOTS];
    uint8_t n, overflow, spare[2];
    uint32_t ref[TABLE_SLOTS];
};

/* What a commit says besides its entries. */
struct table_meta {
    uint64_t salt, source_id, sequence;
    int64_t complete_wall_ms;
    uint64_t live_entries, live_addresses;
    struct table_safety safety;
    struct str cookie;
};

struct dir_table; /* reference counted, atomic */

/* Takes over `image` (64-byte aligned, from aligned_alloc). Verifies header and sizes; the image is
 * freed on failure. */
struct dir_table *table_from_image(void *image, size_t n, struct err *e);
/* Maps a file. Verifies all but the sums; of what is read later each block first, and what is
 * damaged is not found. ERR_CORRUPT: damaged or of another version; the text does not repeat the
 * path. */
struct dir_table *table_open(const char *path, struct err *e);
/* Verifies the sums of a mapped table; reads it once from end to end. */
bool table_verify(const struct dir_table *t, struct err *e);
/* The same table in memory of our own, on large pages where the system has them: a lookup then
 * never waits for a disk and misses the translation caches less. NULL when there is no memory. */
struct dir_table *table_in_memory(const struct dir_table *t);
struct dir_table *table_ref(struct dir_table *t);
void table_unref(struct dir_table **t);

const struct table_header *table_header(const struct dir_table *t);
struct str table_cookie(const struct dir_table *t);
struct str table_image(const struct dir_table *t);
struct str table_string(const struct dir_table *t, uint32_t id);

/* ---- reading entries ---- */

/* One packed entry, opened: its UUID is within bounds, nothing else was looked at. */
struct table_record {
    const struct dir_table *t;
    const unsigned char *p;   /* its first octet: two records are the same entry if this is */
    const unsigned char *key; /* the key record by which it was found, or NULL */
};
static inline const unsigned char *table_record_uuid(const struct table_record *r)
{
    return r->p;
}
/* The hash of its UUID for table_find_uuid(): does not wait for the entry where a key record knows.
 */
uint64_t table_record_uuid_hash(const struct table_record *r);
bool table_record_is_tombstone(const struct table_record *r);
/* Does it have this SMTP address key? */
bool table_record_has_key(const struct table_record *r, struct str key);
/* Or this key of another kind? `types`: a bit (1 << type) for each that will do. */
bool table_record_has_other(const struct table_record *r, unsigned types, struct str key);
/* Or a key of any kind with this hash? */
bool table_record_has_hash(const struct table_record *r, uint64_t hash);
/* What a lookup needs: all but UUID, lists and DN. The primary address is in *first; n_other says
 * whether there are other keys. False if damaged. */
bool table_record_head(const struct table_record *r, struct dir_entry *out,
                       struct dir_address *first);
/* Everything; lists go to `room`. False if damaged. */
bool table_record_decode(const struct table_record *r, struct dir_entry_room *room,
                         struct dir_entry *out);
/* The DN of the record that begins with this UUID in t, put together in dst (cap DIR_DN_MAX);
 * empty if it has none. */
struct str table_record_dn(const struct dir_table *t, const unsigned char *uuid, char *dst);
/* Calls fn for each address until it returns false. */
typedef bool table_address_fn(void *arg, const struct dir_address *a);
bool table_record_addresses(const struct table_record *r, table_address_fn *fn, void *arg);

/* The same for each key of another kind, which lives for the call. */
typedef bool table_other_fn(void *arg, enum dir_key_type type, struct str key);
bool table_record_others(const struct table_record *r, table_other_fn *fn, void *arg);
/* Calls fn with the hash of every key. */
typedef void table_hash_fn(void *arg, uint64_t hash);
void table_record_hashes(const struct table_record *r, table_hash_fn *fn, void *arg);

/* The record of this UUID (tombstones too). Of the hash only the upper half counts. */
bool table_find_uuid(const struct dir_table *t, const unsigned char *uuid, uint64_t hash,
                     struct table_record *out);
/* Walks records whose key hash may be `hash`: the caller compares. */
struct table_probe {
    const unsigned char *at, *end; /* what is left of the group */
    bool elsewhere;                /* it was too large for its place */
};
/* Finds the group and asks for its memory, without waiting for it. */
void table_probe_start(const struct dir_table *t, uint64_t hash, struct table_probe *p);
bool table_probe_next(const struct dir_table *t, uint64_t hash, struct table_probe *p,
                      struct table_record *out);
/* All records in stored order: *at begins at 0. */
bool table_next(const struct dir_table *t, uint64_t *at, struct table_record *out);

/* ---- building ---- */

struct table_builder;

struct table_builder *table_builder_new(void);
void table_builder_free(struct table_builder **b);
/* Packs one entry. Returns its handle, or TABLE_NO_ENTRY if it does not fit (too long). */
#define TABLE_NO_ENTRY UINT64_MAX
uint64_t table_builder_add(struct table_builder *b, const struct dir_entry *e);
/* Takes an entry out again. */
void table_builder_kill(struct table_builder *b, uint64_t handle);
/* Reads an entry back; slices are valid until the next add. */
bool table_builder_read(const struct table_builder *b, uint64_t handle, struct dir_entry_room *room,
                        struct dir_entry *out);
/* Walks what was added and not killed, in that order, from *at = 0: the handle of the next one,
 * read as table_builder_read() does; TABLE_NO_ENTRY at the end. */
uint64_t table_builder_next(const struct table_builder *b, uint64_t *at,
                            struct dir_entry_room *room, struct dir_entry *out);
/* The UUID of any entry added, killed or not. */
const unsigned char *table_builder_uuid(const struct table_builder *b, uint64_t handle);
uint32_t table_builder_entries(const struct table_builder *b); /* tombstones too */
size_t table_builder_bytes(const struct table_builder *b);
size_t table_builder_dead_bytes(const struct table_builder *b); /* of those, what was killed */
/* A table in memory; the builder is empty afterwards. */
struct dir_table *table_builder_finish(struct table_builder *b, const struct table_meta *m);
/* A file with sums, written as path.tmp, synced and renamed over path; the builder is empty
 * afterwards. */
bool table_builder_write(struct table_builder *b, const struct table_meta *m,
                         const struct file_ops *ops, const char *path, struct err *e);

#endif
