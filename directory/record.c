/*
 * record.c - decoding packed entries and key records (table.h: "A packed entry"). Every length is
 * checked against the record, so a damaged file gives "no", never a read outside.
 */
#include "directory/table_int.h"

bool table_record_open(const struct table_record *r, struct packed *out)
{
    uint32_t size = packed_size(r->p);
    uint64_t room = (uint64_t)(r->t->entries + r->t->entries_size - r->p);
    if (size < PACKED_FIXED || size > room || !table_is_sound(r->t, r->p, size))
        return false;
    *out = (struct packed){.p = r->p + PACKED_FIXED, .end = r->p + size};
    return true;
}

/* Walks the cursor from octet 20 to the addresses; returns how many there are. */
static uint32_t packed_skip_to_addresses(struct packed *c, unsigned char evidence, uint32_t *flag)
{
    if (evidence & PACKED_FLAG)
        *flag = packed_varint(c);
    uint32_t n = packed_varint(c);
    if (n > DIR_ADDRESSES_MAX)
        c->bad = true;
    return c->bad ? 0 : n;
}

/* One key of another kind; put together in `text` (cap DIR_OTHER_MAX) where it has a prefix, and
 * without `text` only passed over. */
static struct dir_other_key packed_other(struct packed *c, const struct table_strings *strings,
                                         char *text)
{
    uint32_t type = packed_varint(c);
    struct str prefix = type & 1 ? table_strings_get(strings, packed_varint(c)) : STR_NULL;
    struct str rest = packed_octets(c, packed_varint(c));
    struct dir_other_key k = {.type = (enum dir_key_type)(type >> 1), .key = rest};
    c->bad = c->bad || type >> 1 > DIR_KEY_LEGACY_DN || prefix.n + rest.n > DIR_OTHER_MAX;
    if (c->bad || prefix.n == 0 || text == NULL)
        return k;
    memcpy(text, prefix.p, prefix.n);
    memcpy(text + prefix.n, rest.p, rest.n);
    k.key = str_n(text, prefix.n + rest.n);
    return k;
}

static void packed_others(struct packed *c, const struct table_strings *strings,
                          struct dir_entry_room *room, struct dir_entry *out)
{
    uint32_t n = packed_varint(c);
    if (n > DIR_OTHERS_MAX)
        c->bad = true;
    for (uint32_t i = 0; i < n && !c->bad; i++) {
        struct dir_other_key k =
            packed_other(c, strings, room != NULL ? room->other_text[i] : NULL);
        if (room != NULL)
            room->other[i] = k;
    }
    out->n_other = n;
    out->other = room != NULL ? room->other : NULL;
}

static uint8_t packed_octet(struct packed *c)
{
    struct str s = packed_octets(c, 1);
    return s.n != 0 ? (uint8_t)s.p[0] : 0;
}

static struct str packed_dn(struct packed *c, const struct table_strings *strings, char *dst)
{
    struct str parent = table_strings_get(strings, packed_varint(c));
    struct str rdn = packed_octets(c, packed_varint(c));
    size_t n = rdn.n + (parent.n != 0) + parent.n;
    if (c->bad || n > DIR_DN_MAX) {
        c->bad = true;
        return STR_NULL;
    }
    memcpy(dst, rdn.p, rdn.n);
    if (parent.n != 0) {
        dst[rdn.n] = ',';
        memcpy(dst + rdn.n + 1, parent.p, parent.n);
    }
    return str_n(dst, n);
}

/* The DN only if there is a place for it. */
static void packed_more(struct packed *c, const struct table_strings *strings, char *dn,
                        struct dir_entry *out)
{
    uint8_t bits = packed_octet(c);
    out->require_auth = bits & MORE_AUTH;
    if (bits & MORE_TYPE)
        out->recipient_type = packed_octet(c);
    for (unsigned i = 0; (bits & MORE_VANISHED) && i < 8; i++)
        out->vanished_ms |= (int64_t)((uint64_t)packed_octet(c) << (8 * i));
    for (unsigned i = 0; (bits & MORE_NAMES) >> i != 0; i++)
        if (bits >> i & 1)
            out->name[i] = packed_octets(c, packed_varint(c));
    if ((bits & MORE_DN) && dn != NULL)
        out->dn = packed_dn(c, strings, dn);
}

/* What an entry and its key records have in common, behind their addresses. */
static void packed_tail(struct packed *c, const struct table_strings *strings, struct str local,
                        unsigned char bits, unsigned char evidence, char *dn, struct dir_entry *out)
{
    if (bits & PACKED_ROUTING)
        out->routing = packed_address(c, strings, local);
    if (bits & PACKED_TARGET)
        out->target = packed_address(c, strings, local);
    if (bits & PACKED_ALIAS) {
        uint32_t n = packed_varint(c);
        out->alias = n == 0 ? local : packed_octets(c, n);
    }
    if (evidence & PACKED_MORE)
        packed_more(c, strings, dn, out);
}

/* `room` and `dn` may be NULL: what needs them is left out. */
static bool decode(const unsigned char *p, uint32_t size, const struct table_strings *strings,
                   struct dir_entry_room *room, struct dir_address *first, char *dn,
                   struct dir_entry *out)
{
    struct packed c = {.p = p + PACKED_FIXED, .end = p + size};
    unsigned char bits = p[18], evidence = p[19];
    *out = (struct dir_entry){.tombstone = bits & PACKED_TOMBSTONE,
                              .kind = (enum dir_kind)(bits & PACKED_KIND),
                              .evidence = (enum dir_evidence)(evidence & PACKED_EVIDENCE)};
    memcpy(out->uuid, p, DIR_UUID_SIZE);
    if (out->tombstone)
        return true;
    if (out->kind > DIR_OVERRIDE || out->evidence >= DIR_EVIDENCE_COUNT)
        return false;
    uint32_t flag = UINT32_MAX;
    out->n_address = packed_skip_to_addresses(&c, evidence, &flag);
    out->flag = table_strings_get(strings, flag);
    out->address = room != NULL ? room->address : first;
    struct str local = STR_NULL;
    for (uint32_t i = 0; i < out->n_address && !c.bad; i++) {
        struct dir_address a = packed_address(&c, strings, local);
        if (i == 0)
            local = a.local;
        if (i == 0 || room != NULL)
            out->address[i] = a;
    }
    if (evidence & PACKED_OTHERS)
        packed_others(&c, strings, room, out);
    packed_tail(&c, strings, local, bits, evidence, dn, out);
    return !c.bad && out->n_address != 0;
}

bool packed_decode(const unsigned char *p, uint32_t size, const struct table_strings *strings,
                   struct dir_entry_room *room, struct dir_entry *out)
{
    return decode(p, size, strings, room, NULL, room->dn, out);
}

/* A key record that is no stub. Its entry is not read. */
static bool key_head(const unsigned char *key, const struct table_strings *strings,
                     struct dir_entry *out, struct dir_address *first)
{
    struct packed c = {.p = key + KEY_FIXED, .end = key + key_size(key)};
    unsigned char bits = key[2], evidence = key[3];
    *out = (struct dir_entry){.kind = (enum dir_kind)(bits & PACKED_KIND),
                              .evidence = (enum dir_evidence)(evidence & PACKED_EVIDENCE),
                              .n_address = 1,
                              .address = first,
                              .n_other = (evidence & PACKED_OTHERS) != 0};
    *first = packed_address(&c, strings, STR_NULL);
    if (bits & KEY_PRIMARY)
        *first = packed_address(&c, strings, first->local);
    if (evidence & PACKED_FLAG)
        out->flag = table_strings_get(strings, packed_varint(&c));
    packed_tail(&c, strings, first->local, bits, evidence, NULL, out);
    return !c.bad && out->kind <= DIR_OVERRIDE && out->evidence < DIR_EVIDENCE_COUNT;
}

bool table_record_is_tombstone(const struct table_record *r)
{
    return (r->p[18] & PACKED_TOMBSTONE) != 0;
}

bool table_record_head(const struct table_record *r, struct dir_entry *out,
                       struct dir_address *first)
{
    struct packed body;
    if (r->key != NULL && !(r->key[2] & KEY_STUB))
        return key_head(r->key, &r->t->strings, out, first);
    return table_record_open(r, &body) &&
           decode(r->p, packed_size(r->p), &r->t->strings, NULL, first, NULL, out);
}

bool table_record_decode(const struct table_record *r, struct dir_entry_room *room,
                         struct dir_entry *out)
{
    struct packed body;
    return table_record_open(r, &body) &&
           packed_decode(r->p, packed_size(r->p), &r->t->strings, room, out);
}

struct str table_record_dn(const struct dir_table *t, const unsigned char *uuid, char *dst)
{
    const struct table_record r = {.t = t, .p = uuid};
    struct packed body;
    struct dir_address first;
    struct dir_entry e;
    return table_record_open(&r, &body) &&
                   decode(uuid, packed_size(uuid), &t->strings, NULL, &first, dst, &e)
               ? e.dn
               : STR_NULL;
}

bool table_record_addresses(const struct table_record *r, table_address_fn *fn, void *arg)
{
    struct packed c;
    struct str local = STR_NULL;
    uint32_t flag;
    if (table_record_is_tombstone(r))
        return true;
    if (!table_record_open(r, &c))
        return false;
    uint32_t n = packed_skip_to_addresses(&c, r->p[19], &flag);
    for (uint32_t i = 0; i < n; i++) {
        struct dir_address a = packed_address(&c, &r->t->strings, local);
        if (c.bad)
            return false;
        if (i == 0)
            local = a.local;
        if (!fn(arg, &a))
            return true;
    }
    return true;
}

/* Without putting the key together: its domain has no at sign. */
static bool is_key(const struct dir_address *a, struct str key)
{
    size_t n = a->local.n;
    return key.n == n + 1 + a->domain.n && key.p[n] == '@' &&
           str_eq_nocase(a->local, str_n(key.p, n)) &&
           str_eq(a->domain, str_n(key.p + n + 1, a->domain.n));
}

struct key_search {
    struct str key;
    bool found;
};

static bool key_search_step(void *arg, const struct dir_address *a)
{
    struct key_search *s = arg;
    s->found = is_key(a, s->key);
    return !s->found;
}

/* The most frequent question. A key record says which address it is about. */
bool table_record_has_key(const struct table_record *r, struct str key)
{
    if (r->key == NULL || (r->key[2] & KEY_STUB)) {
        struct key_search s = {.key = key};
        table_record_addresses(r, key_search_step, &s);
        return s.found;
    }
    struct packed c = {.p = r->key + KEY_FIXED, .end = r->key + key_size(r->key)};
    struct dir_address a = packed_address(&c, &r->t->strings, STR_NULL);
    return !c.bad && is_key(&a, key);
}

/* The record's size was checked. */
bool packed_others_each(const unsigned char *p, const struct table_strings *strings,
                        table_other_fn *fn, void *arg)
{
    struct packed c = {.p = p + PACKED_FIXED, .end = p + packed_size(p)};
    uint32_t flag;
    uint32_t n = packed_skip_to_addresses(&c, p[19], &flag);
    for (uint32_t i = 0; i < n && !c.bad; i++) {
        packed_varint(&c);
        packed_octets(&c, packed_varint(&c));
    }
    n = packed_varint(&c);
    for (uint32_t i = 0; i < n && !c.bad; i++) {
        char text[DIR_OTHER_MAX];
        struct dir_other_key k = packed_other(&c, strings, text);
        if (!c.bad && !fn(arg, k.type, k.key))
            return true;
    }
    return !c.bad;
}

bool table_record_others(const struct table_record *r, table_other_fn *fn, void *arg)
{
    struct packed body;
    if (table_record_is_tombstone(r) || !(r->p[19] & PACKED_OTHERS))
        return true;
    return table_record_open(r, &body) && packed_others_each(r->p, &r->t->strings, fn, arg);
}

struct other_search {
    unsigned types;
    struct str key;
    bool found;
};

static bool other_search_step(void *arg, enum dir_key_type type, struct str key)
{
    struct other_search *s = arg;
    s->found = (unsigned)type < 32 && (s->types >> type & 1) && str_eq(key, s->key);
    return !s->found;
}

bool table_record_has_other(const struct table_record *r, unsigned types, struct str key)
{
    struct other_search s = {.types = types, .key = key};
    table_record_others(r, other_search_step, &s);
    return s.found;
}

/* ---- hashes ---- */

struct hashes {
    table_hash_fn *fn;
    void *arg;
};

static bool hash_address(void *arg, const struct dir_address *a)
{
    const struct hashes *h = arg;
    h->fn(h->arg, dir_address_hash(a));
    return true;
}

static bool hash_other(void *arg, enum dir_key_type type, struct str key)
{
    const struct hashes *h = arg;
    h->fn(h->arg, dir_other_hash(type, key));
    return true;
}

void table_record_hashes(const struct table_record *r, table_hash_fn *fn, void *arg)
{
    struct hashes h = {fn, arg};
    table_record_addresses(r, hash_address, &h);
    table_record_others(r, hash_other, &h);
}

struct hash_search {
    uint64_t hash;
    bool found;
};

static void hash_search_step(void *arg, uint64_t hash)
{
    struct hash_search *s = arg;
    s->found = s->found || s->hash == hash;
}

bool table_record_has_hash(const struct table_record *r, uint64_t hash)
{
    struct hash_search s = {.hash = hash};
    table_record_hashes(r, hash_search_step, &s);
    return s.found;
}
