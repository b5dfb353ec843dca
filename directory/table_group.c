/*
 * table_group.c - the key records of a table, in their groups (table.h: "A lookup waits for memory
 * once"). Three walks over the entries: how large all records are, which says how many groups
 * there are; how large each group is; then each record is put in its place. So it costs no memory
 * but the records and eight octets a group. Owned by one thread.
 *
 * A group that would not fit is rare by chance. It comes from a key that very many entries have (a
 * join attribute that is the same for all, say), or from somebody who chose addresses whose hashes
 * meet: its keys are gathered apart and become stubs behind all groups.
 */
#include "directory/table_int.h"

#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "directory/hashmap.h"

#define GROUP_MAX  1024  /* octets; larger ones are apart */
#define START_MAX  60000 /* so far from its place a group may be pushed */
#define COPY_MAX   128   /* a longer record is a stub */
#define STUB       KEY_FIXED
#define SPILLS     ((uint64_t)1 << 63)
#define COPIES_MAX ((uint64_t)8 << 30) /* octets of all records; more, and all are stubs */

/* A key of a group that is too large. */
struct spilled {
    uint64_t hash;
    uint32_t entry;
};
struct keying {
    const struct table_builder *b;
    struct table_strings strings;
    struct table_keys out;
    bool only_stubs;
    uint64_t size;      /* of all records */
    uint64_t *group;    /* the size of each group; then where its next record goes, or SPILLS */
    struct hashmap had; /* of a spilled key, how many */
    struct spilled *spilled;
    size_t n_spilled, spilled_cap;
};

/* ---- one entry, in pieces that are copied as they are ---- */

struct pieces {
    const unsigned char *p;
    struct packed addresses; /* at the first */
    uint32_t n_address;
    struct str flag, primary_domain, primary_local; /* packed; the local part with its length */
    struct str tail;                                /* routing to more, without the DN */
    size_t more;                                    /* in the tail: where its bits are */
};

static struct str span(const unsigned char *from, const struct packed *to)
{
    return str_n((const char *)from, (size_t)(to->p - from));
}

/* A local part or an alias, with its length. */
static struct str take_text(struct packed *c)
{
    const unsigned char *from = c->p;
    packed_octets(c, packed_varint(c));
    return span(from, c);
}

static struct str take_varint(struct packed *c)
{
    const unsigned char *from = c->p;
    packed_varint(c);
    return span(from, c);
}

static void skip_address(struct packed *c)
{
    take_varint(c);
    take_text(c);
}

static void skip_others(struct packed *c)
{
    for (uint32_t n = packed_varint(c); n != 0; n--) {
        if (packed_varint(c) & 1)
            packed_varint(c);
        take_text(c);
    }
}

static void skip_more_but_dn(struct packed *c)
{
    unsigned bits = *c->p;
    c->p += 1 + ((bits & MORE_TYPE) != 0) + (bits & MORE_VANISHED ? 8 : 0);
    for (unsigned i = 0; i < DIR_NAME_COUNT; i++)
        if (bits >> i & 1)
            take_text(c);
}

/* The entry is no tombstone. */
static void pieces_of(const unsigned char *p, struct pieces *out)
{
    struct packed c = {.p = p + PACKED_FIXED, .end = p + packed_size(p)};
    unsigned char bits = p[18], evidence = p[19];
    *out = (struct pieces){.p = p};
    if (evidence & PACKED_FLAG)
        out->flag = take_varint(&c);
    out->n_address = packed_varint(&c);
    out->addresses = c;
    for (uint32_t i = 0; i < out->n_address; i++) {
        struct str domain = take_varint(&c), local = take_text(&c);
        if (i == 0) {
            out->primary_domain = domain;
            out->primary_local = local;
        }
    }
    if (evidence & PACKED_OTHERS)
        skip_others(&c);
    const unsigned char *tail = c.p;
    if (bits & PACKED_ROUTING)
        skip_address(&c);
    if (bits & PACKED_TARGET)
        skip_address(&c);
    if (bits & PACKED_ALIAS)
        take_text(&c);
    out->more = (size_t)(c.p - tail);
    if (evidence & PACKED_MORE)
        skip_more_but_dn(&c);
    out->tail = span(tail, &c);
    ASSERT(!c.bad);
}

/* ---- one key record ---- */

/* What is written of one key: an address' pieces or, of another kind, none. */
struct key {
    uint64_t hash;
    bool is_address, is_primary;
    struct str domain, local; /* packed */
};

static unsigned key_size_of(const struct keying *x, const struct pieces *e, const struct key *k)
{
    size_t n = KEY_FIXED + k->domain.n + k->local.n + e->flag.n + e->tail.n +
               (k->is_primary ? 0 : e->primary_domain.n + e->primary_local.n);
    return k->is_address && !x->only_stubs && n <= COPY_MAX ? (unsigned)n : STUB;
}

static unsigned char *put(unsigned char *to, struct str s)
{
    if (s.n != 0)
        memcpy(to, s.p, s.n);
    return to + s.n;
}

static void put_fixed(unsigned char *to, uint8_t tag, unsigned size, uint32_t entry, uint32_t uuid)
{
    to[0] = tag;
    to[1] = (unsigned char)size;
    memcpy(to + 4, &entry, sizeof(entry));
    memcpy(to + 8, &uuid, sizeof(uuid));
}

static void put_stub(unsigned char *to, uint64_t hash, uint32_t entry, const unsigned char *uuid)
{
    put_fixed(to, (uint8_t)hash, STUB, entry, (uint32_t)(dir_uuid_hash(uuid) >> 32));
    to[2] = KEY_STUB;
}

/* The addresses of a copy. Length 0 stands for the other one's local part in the entry as well, but
 * there it is the primary that is written out. */
static unsigned char *put_addresses(unsigned char *to, const struct pieces *e, const struct key *k)
{
    static const struct str as_the_other = {"", 1};
    bool same = k->local.n == 1;
    to = put(put(to, k->domain), same ? e->primary_local : k->local);
    if (!k->is_primary)
        to = put(put(to, e->primary_domain), same ? as_the_other : e->primary_local);
    return to;
}

static void put_key(unsigned char *to, const struct pieces *e, const struct key *k, unsigned size,
                    uint32_t entry)
{
    unsigned char *p = to + KEY_FIXED;
    put_stub(to, k->hash, entry, e->p);
    if (size == STUB)
        return;
    to[1] = (unsigned char)size;
    to[2] = (unsigned char)(e->p[18] | (k->is_primary ? 0 : KEY_PRIMARY));
    to[3] = e->p[19];
    p = put(put_addresses(p, e, k), e->flag);
    put(p, e->tail);
    if (e->p[19] & PACKED_MORE)
        p[e->more] &= (unsigned char)~MORE_DN;
}

/* ---- the walks ---- */

typedef void keying_fn(struct keying *x, const struct pieces *e, const struct key *k);

static uint32_t entry_of(const struct keying *x, const struct pieces *e)
{
    return (uint32_t)((size_t)(e->p - (const unsigned char *)x->b->entries.p) / 4);
}

static void each_address(struct keying *x, struct pieces *e, bool hashed, keying_fn *fn)
{
    struct packed c = e->addresses;
    struct str local = STR_NULL;
    for (uint32_t i = 0; i < e->n_address; i++) {
        struct packed again = c;
        struct str domain = take_varint(&c), text = take_text(&c);
        struct key k = {.is_address = true, .is_primary = i == 0, .domain = domain, .local = text};
        if (hashed) {
            struct dir_address a = packed_address(&again, &x->strings, local);
            k.hash = dir_address_hash(&a);
            if (i == 0)
                local = a.local;
        }
        fn(x, e, &k);
    }
}

struct other_keys {
    struct keying *x;
    const struct pieces *e;
    keying_fn *fn;
};

static bool other_key(void *arg, enum dir_key_type type, struct str key)
{
    const struct other_keys *o = arg;
    struct key k = {.hash = dir_other_hash(type, key)};
    o->x->out.types |= (uint64_t)1 << type;
    o->fn(o->x, o->e, &k);
    return true;
}

static void walk(struct keying *x, bool hashed, keying_fn *fn)
{
    for (size_t at = 0; at < x->b->entries.n;) {
        const unsigned char *p = (const unsigned char *)x->b->entries.p + at;
        struct pieces e;
        at += packed_size(p);
        if (p[18] & PACKED_TOMBSTONE)
            continue;
        pieces_of(p, &e);
        each_address(x, &e, hashed, fn);
        if (p[19] & PACKED_OTHERS) {
            struct other_keys o = {x, &e, fn};
            packed_others_each(p, &x->strings, other_key, &o);
        }
    }
}

static void count(struct keying *x, const struct pieces *e, const struct key *k)
{
    x->out.n++;
    x->size += key_size_of(x, e, k);
}

static uint64_t *group_of(const struct keying *x, uint64_t hash)
{
    return &x->group[table_home(hash, x->out.n_groups)];
}

static void measure(struct keying *x, const struct pieces *e, const struct key *k)
{
    *group_of(x, k->hash) += key_size_of(x, e, k);
}

/* Of a key that very many have the first are enough: no lookup looks at more than a few. */
static void spill(struct keying *x, uint64_t hash, uint32_t entry)
{
    uint64_t *had = hashmap_find(&x->had, hash), n = had != NULL ? *had : 0;
    if (n == TABLE_CROWD)
        return;
    hashmap_set(&x->had, hash, n + 1);
    if (x->n_spilled == x->spilled_cap) {
        x->spilled_cap = x->spilled_cap == 0 ? 64 : x->spilled_cap * 2;
        x->spilled = mem_realloc(x->spilled, x->spilled_cap * sizeof(*x->spilled));
    }
    x->spilled[x->n_spilled++] = (struct spilled){hash, entry};
}

static void place(struct keying *x, const struct pieces *e, const struct key *k)
{
    uint64_t *at = group_of(x, k->hash);
    if (*at & SPILLS) {
        spill(x, k->hash, entry_of(x, e));
        return;
    }
    unsigned size = key_size_of(x, e, k);
    put_key(x->out.keys + *at, e, k, size, entry_of(x, e));
    *at += size;
}

/* ---- groups ---- */

/* From how large each group is to where it begins. */
static void groups_place(struct keying *x)
{
    uint64_t end = 0, n = x->out.n_groups;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t size = x->group[i], at = end > i * TABLE_PLACE ? end : i * TABLE_PLACE;
        uint64_t start = at - i * TABLE_PLACE;
        bool spills = size > GROUP_MAX || start + size > START_MAX;
        x->out.start[i] = (uint16_t)start;
        x->group[i] = spills ? at | SPILLS : at;
        end = at + (spills ? STUB : size);
    }
    if (end < n * TABLE_PLACE)
        end = n * TABLE_PLACE;
    x->out.start[n] = (uint16_t)(end - n * TABLE_PLACE);
    x->out.size = table_align(end);
    x->out.keys = mem_zalloc(x->out.size);
}

static int by_hash(const void *va, const void *vb)
{
    const struct spilled *a = va, *b = vb;
    if (a->hash != b->hash)
        return a->hash < b->hash ? -1 : 1;
    return a->entry < b->entry ? -1 : a->entry > b->entry;
}

/* The stubs of the groups that were too large, behind the others. */
static void spilled_place(struct keying *x)
{
    uint64_t at = x->out.size;
    qsort(x->spilled, x->n_spilled, sizeof(*x->spilled), by_hash);
    x->out.size = table_align(at + x->n_spilled * (KEY_FIXED + sizeof(uint32_t)));
    x->out.keys = mem_realloc(x->out.keys, x->out.size);
    memset(x->out.keys + at, 0, x->out.size - at);
    for (size_t i = 0; i < x->n_spilled;) {
        uint64_t *group = group_of(x, x->spilled[i].hash);
        uint32_t first = (uint32_t)(at / 4), n = 0;
        unsigned char *spill_key = x->out.keys + (*group & ~SPILLS);
        put_fixed(spill_key, 0, STUB, first, 0);
        spill_key[2] = KEY_SPILL;
        for (at += sizeof(n); i < x->n_spilled && group_of(x, x->spilled[i].hash) == group; i++) {
            uint32_t entry = x->spilled[i].entry;
            put_stub(x->out.keys + at, x->spilled[i].hash, entry,
                     (const unsigned char *)x->b->entries.p + (uint64_t)entry * 4);
            at += STUB;
            n += STUB;
        }
        memcpy(x->out.keys + (uint64_t)first * 4, &n, sizeof(n));
    }
}

struct table_keys table_keys_build(const struct table_builder *b)
{
    struct keying x = {.b = b, .strings = builder_strings(b)};
    hashmap_init(&x.had, false);
    walk(&x, false, count);
    if (x.size > COPIES_MAX) {
        x.only_stubs = true;
        x.size = (uint64_t)x.out.n * STUB;
    }
    x.out.n_groups = x.size * 6 / (5 * TABLE_PLACE) + 1; /* so a sixth of their places is free */
    x.out.start = mem_zalloc(table_align((x.out.n_groups + 1) * sizeof(*x.out.start)));
    x.group = mem_array(x.out.n_groups, sizeof(*x.group));
    walk(&x, true, measure);
    groups_place(&x);
    walk(&x, true, place);
    if (x.n_spilled != 0)
        spilled_place(&x);
    mem_free(x.group);
    mem_free(x.spilled);
    hashmap_free(&x.had);
    return x.out;
}
