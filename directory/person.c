/*
 * person.c - see person.h.
 *
 * Most lookups end after the first step: one source, or no source but this has keys to join by, or
 * the address asked for is the primary one. The buckets of all tables are asked for before the
 * first of them is read, so that a lookup waits for memory once and not once for each source.
 */
#include "directory/person.h"

#include "base/hash.h"

/* Keys that can meet each other. */
#define FAMILY_X500   (1u << DIR_KEY_X500 | 1u << DIR_KEY_LEGACY_DN)
#define FAMILY_CUSTOM (1u << DIR_KEY_CUSTOM)

unsigned person_key_family(enum dir_key_type type)
{
    return FAMILY_X500 >> type & 1 ? FAMILY_X500 : 1u << type;
}

static bool is_allowed(const struct dir_view *v, unsigned family)
{
    return rules_joins(v->rules, family == FAMILY_X500 ? RULES_JOIN_X500 : RULES_JOIN_KEY);
}

/* ---- members ---- */

/* NULL: there are too many, or the record is damaged. */
static struct member *member_add(struct person *p, unsigned slot, const struct table_record *r,
                                 bool direct)
{
    if (p->n == DIR_CLAIMS_MAX)
        return NULL;
    struct member *m = &p->m[p->n];
    m->slot = slot;
    m->record = *r;
    m->person = p->n;
    m->direct = direct;
    if (!table_record_head(&m->record, &m->entry, &m->first))
        return NULL;
    p->order[p->n] = (uint8_t)p->n;
    p->n++;
    return m;
}

static struct member *member_find(struct person *p, const struct table_record *r)
{
    for (unsigned i = 0; i < p->n; i++)
        if (p->m[i].record.p == r->p)
            return &p->m[i];
    return NULL;
}

static void unite(struct person *p, const struct member *a, const struct member *b)
{
    unsigned from = b->person, to = a->person;
    for (unsigned i = 0; i < p->n; i++)
        if (p->m[i].person == from)
            p->m[i].person = to;
}

static void link_record(struct person *p, const struct member *m, unsigned slot,
                        const struct table_record *r)
{
    struct member *other = member_find(p, r);
    if (other == NULL)
        other = member_add(p, slot, r, false);
    if (other != NULL)
        unite(p, m, other);
}

static bool is_before(const struct member *a, const struct member *b)
{
    if (a->slot != b->slot)
        return a->slot < b->slot;
    return memcmp(a->record.p, b->record.p, DIR_UUID_SIZE) < 0;
}

static void arrange(struct person *p)
{
    for (unsigned i = 1; i < p->n; i++)
        for (unsigned k = i; k > 0 && is_before(&p->m[p->order[k]], &p->m[p->order[k - 1]]); k--) {
            uint8_t swap = p->order[k];
            p->order[k] = p->order[k - 1];
            p->order[k - 1] = swap;
        }
}

/* ---- the one object ---- */

static bool has_vanished(const struct table_record *r)
{
    struct dir_entry e;
    struct dir_address first;
    return table_record_head(r, &e, &first) && e.vanished_ms != 0;
}

/* The only one, or the only one that is alive: into r[0]. False: there is none, or several are. */
static bool is_one(struct table_record *r, unsigned n)
{
    unsigned living = 0;
    for (unsigned i = 0; n > 1 && i < n; i++)
        if (!has_vanished(&r[i])) {
            r[0] = r[i];
            living++;
        }
    return n == 1 || living == 1;
}

#define ONE_OF 4 /* so many are looked at to find the one */

static bool find_one_key(const struct dir_stack *s, struct str key, uint64_t hash,
                         struct table_record *r)
{
    return is_one(r, stack_find_key(s, key, hash, r, ONE_OF));
}

static bool find_one_other(const struct dir_stack *s, unsigned types, struct str key, uint64_t hash,
                           struct table_record *r)
{
    return is_one(r, stack_find_other(s, types, key, hash, r, ONE_OF));
}

/* ---- joining by the primary address ---- */

/* Is this address m's in its source, and the record's in that one? */
static bool share_address(const struct person *p, const struct member *m, unsigned slot,
                          const struct table_record *r, struct str key, uint64_t hash)
{
    struct table_record here[ONE_OF], there[ONE_OF];
    return find_one_key(p->v->source[m->slot].stack, key, hash, here) && here[0].p == m->record.p &&
           find_one_key(p->v->source[slot].stack, key, hash, there) && there[0].p == r->p;
}

/* The one object of the source that has m's primary address, if m has that one's as well. Either
 * finds the other then, whichever is looked up. */
static void join_primary_in(struct person *p, const struct member *m, unsigned slot, struct str key,
                            uint64_t hash)
{
    struct table_record r[ONE_OF];
    struct dir_entry e;
    struct dir_address first;
    char text[ADDRESS_MAX + 1];
    if (!find_one_key(p->v->source[slot].stack, key, hash, r) ||
        !table_record_head(&r[0], &e, &first) || !share_address(p, m, slot, &r[0], key, hash))
        return;
    struct str other = dir_address_key(&first, text);
    if (str_eq(other, key) ||
        (other.n != 0 && share_address(p, m, slot, &r[0], other, hash64(other.p, other.n))))
        link_record(p, m, slot, &r[0]);
}

static void join_primary(struct person *p, unsigned i, struct str asked)
{
    char text[ADDRESS_MAX + 1];
    struct str key = dir_address_key(&p->m[i].first, text);
    if (key.n == 0 || str_eq(key, asked)) /* whoever has that one is here already */
        return;
    uint64_t hash = hash64(key.p, key.n);
    for (unsigned slot = 0; slot < p->v->n; slot++)
        if (slot != p->m[i].slot)
            join_primary_in(p, &p->m[i], slot, key, hash);
}

/* ---- joining by other keys ---- */

struct other_join {
    struct person *p;
    unsigned i; /* of the member whose keys they are */
};

/* Is a living object of that source with this key here already, as the same person? Then the key
 * adds nothing, and mostly so it is: who has keys in common has an address in common. */
static bool is_joined(const struct person *p, const struct member *m, unsigned slot,
                      unsigned family, struct str key)
{
    for (unsigned i = 0; i < p->n; i++)
        if (p->m[i].slot == slot && p->m[i].person == m->person && p->m[i].entry.vanished_ms == 0 &&
            table_record_has_other(&p->m[i].record, family, key))
            return true;
    return false;
}

static void join_other_in(struct person *p, const struct member *m, unsigned slot,
                          enum dir_key_type type, struct str key)
{
    const struct dir_stack *s = p->v->source[slot].stack, *own = p->v->source[m->slot].stack;
    struct table_record r[ONE_OF], back[ONE_OF];
    unsigned family = person_key_family(type);
    uint64_t hash = dir_other_hash(type, key);
    if (find_one_other(s, family, key, hash, r) && find_one_other(own, family, key, hash, back) &&
        back[0].p == m->record.p)
        link_record(p, m, slot, &r[0]);
}

static bool join_other(void *arg, enum dir_key_type type, struct str key)
{
    struct other_join *j = arg;
    struct person *p = j->p;
    const struct member *m = &p->m[j->i];
    unsigned family = person_key_family(type);
    for (unsigned slot = 0; slot < p->v->n && is_allowed(p->v, family); slot++)
        if (slot != m->slot && (p->v->source[slot].stack->key_types & family) != 0 &&
            !is_joined(p, m, slot, family, key))
            join_other_in(p, m, slot, type, key);
    return true;
}

/* ---- finding ---- */

/* Is it the only one of its source with the key that was asked for, or the only living one? */
static bool is_only_direct(const struct person *p, const struct member *m)
{
    for (unsigned i = 0; i < p->n; i++)
        if (&p->m[i] != m && p->m[i].slot == m->slot &&
            (p->m[i].entry.vanished_ms == 0 || m->entry.vanished_ms != 0))
            return false;
    return true;
}

/* Objects that have the key that was asked for are one person, one of each source. So far there are
 * no others. */
static void join_direct(struct person *p)
{
    for (unsigned i = 1; i < p->n; i++)
        for (unsigned k = 0; k < i; k++)
            if (p->m[i].slot != p->m[k].slot && is_only_direct(p, &p->m[i]) &&
                is_only_direct(p, &p->m[k]))
                unite(p, &p->m[k], &p->m[i]);
}

static void join(struct person *p, struct str asked, bool direct_are_one)
{
    bool by_smtp = rules_joins(p->v->rules, RULES_JOIN_SMTP);
    if (p->v->n < 2 || p->n == 0)
        return;
    if (direct_are_one)
        join_direct(p);
    for (unsigned i = 0; i < p->n; i++) { /* grows on the way */
        struct other_join j = {p, i};
        if (by_smtp)
            join_primary(p, i, asked);
        if (p->m[i].entry.n_other != 0)
            table_record_others(&p->m[i].record, join_other, &j);
    }
    arrange(p);
}

static void add_found(struct person *p, unsigned slot, const struct table_record *r, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        member_add(p, slot, &r[i], true);
}

void person_find(const struct dir_view *v, struct str key, uint64_t hash, struct person *p)
{
    struct table_record r[DIR_CLAIMS_MAX];
    p->v = v;
    p->n = 0;
    for (unsigned slot = 0; slot < v->n && v->n > 1; slot++)
        stack_prefetch_key(v->source[slot].stack, hash);
    for (unsigned slot = 0; slot < v->n; slot++)
        add_found(p, slot, r,
                  stack_find_key(v->source[slot].stack, key, hash, r, DIR_CLAIMS_MAX - p->n));
    join(p, key, rules_joins(v->rules, RULES_JOIN_SMTP));
}

static void find_typed(struct person *p, unsigned types, struct str key, uint64_t hash)
{
    struct table_record r[DIR_CLAIMS_MAX];
    for (unsigned slot = 0; slot < p->v->n; slot++)
        add_found(
            p, slot, r,
            stack_find_other(p->v->source[slot].stack, types, key, hash, r, DIR_CLAIMS_MAX - p->n));
}

void person_find_other(const struct dir_view *v, enum dir_key_type type, struct str key,
                       struct person *p)
{
    unsigned family = person_key_family(type);
    uint64_t hash = dir_other_hash(type, key);
    p->v = v;
    p->n = 0;
    if (family == FAMILY_X500)
        find_typed(p, 1u << DIR_KEY_LEGACY_DN, key, hash);
    if (p->n == 0)
        find_typed(p, family, key, hash);
    join(p, STR_NULL, is_allowed(v, family));
}

/* ---- changes ---- */

void person_spread(const struct dir_view *v, uint64_t hash, view_key_fn *fn, void *arg)
{
    for (unsigned slot = 0; slot < v->n; slot++) {
        struct table_record r[DIR_CLAIMS_MAX];
        unsigned n = stack_find_hash(v->source[slot].stack, hash, r, DIR_CLAIMS_MAX);
        for (unsigned i = 0; i < n; i++)
            table_record_hashes(&r[i], fn, arg);
    }
}
