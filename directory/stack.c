/*
 * stack.c - finding through a stack of tables, and merging them. Immutable; any thread.
 */
#include "directory/stack.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "directory/hashmap.h"

#define MERGE_RATIO 8

/* Takes over the reference. */
static void add_below(struct dir_stack *s, struct dir_table *t)
{
    s->t[s->n++] = t;
    s->key_types |= table_header(t)->key_types;
}

struct dir_stack *stack_new(struct dir_table *base)
{
    struct dir_stack *s = NEW(struct dir_stack);
    atomic_init(&s->refs, 1);
    if (base != NULL) {
        add_below(s, base);
        s->has_base = true;
    }
    return s;
}

struct dir_stack *stack_ref(struct dir_stack *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void stack_unref(struct dir_stack **sp)
{
    struct dir_stack *s = *sp;
    *sp = NULL;
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < s->n; i++)
        table_unref(&s->t[i]);
    mem_free(s);
}

/* Is there something newer than table `i` about this record's entry? */
static bool is_hidden(const struct dir_stack *s, unsigned i, const struct table_record *of)
{
    struct table_record r;
    uint64_t hash = i != 0 ? table_record_uuid_hash(of) : 0;
    for (unsigned j = 0; j < i; j++)
        if (table_find_uuid(s->t[j], table_record_uuid(of), hash, &r))
            return true;
    return false;
}

bool stack_find_uuid(const struct dir_stack *s, const unsigned char *uuid, struct table_record *out)
{
    uint64_t hash = dir_uuid_hash(uuid);
    for (unsigned i = 0; i < s->n; i++)
        if (table_find_uuid(s->t[i], uuid, hash, out))
            return !table_record_is_tombstone(out);
    return false;
}

/* Keeps the `max` lowest UUIDs, sorted, so that the answer never depends on history. Returns how
 * many there are now. */
static unsigned insert_record(struct table_record *out, unsigned n, unsigned max,
                              const struct table_record *r)
{
    if (n == max) {
        if (max == 0 || memcmp(r->p, out[max - 1].p, DIR_UUID_SIZE) > 0)
            return n;
        n--;
    }
    unsigned i = n;
    for (; i > 0 && memcmp(r->p, out[i - 1].p, DIR_UUID_SIZE) < 0; i--)
        out[i] = out[i - 1];
    out[i] = *r;
    return n + 1;
}

/* What is looked for: an address key (types 0), a key of other kinds, or any key (key.p NULL). */
struct wanted {
    unsigned types;
    struct str key;
    uint64_t hash;
};

static bool is_wanted(const struct table_record *r, const struct wanted *w)
{
    if (w->key.p == NULL)
        return table_record_has_hash(r, w->hash);
    return w->types == 0 ? table_record_has_key(r, w->key)
                         : table_record_has_other(r, w->types, w->key);
}

static unsigned find(const struct dir_stack *s, const struct wanted *w, struct table_record *out,
                     unsigned max)
{
    struct table_probe p[STACK_MAX];
    unsigned n = 0;
    for (unsigned i = 0; i < s->n; i++) /* asks for the memory of all before it reads the first */
        table_probe_start(s->t[i], w->hash, &p[i]);
    for (unsigned i = 0; i < s->n; i++) {
        struct table_record r;
        while (table_probe_next(s->t[i], w->hash, &p[i], &r)) {
            /* two keys of one entry may share group and tag, and then it comes up twice */
            bool seen = false;
            for (unsigned k = 0; k < n; k++)
                seen = seen || out[k].p == r.p;
            if (!seen && is_wanted(&r, w) && !is_hidden(s, i, &r))
                n = insert_record(out, n, max, &r);
        }
    }
    return n;
}

unsigned stack_find_key(const struct dir_stack *s, struct str key, uint64_t hash,
                        struct table_record *out, unsigned max)
{
    struct wanted w = {.key = key, .hash = hash};
    return find(s, &w, out, max);
}

unsigned stack_find_other(const struct dir_stack *s, unsigned types, struct str key, uint64_t hash,
                          struct table_record *out, unsigned max)
{
    struct wanted w = {types, key, hash};
    return find(s, &w, out, max);
}

unsigned stack_find_hash(const struct dir_stack *s, uint64_t hash, struct table_record *out,
                         unsigned max)
{
    struct wanted w = {.hash = hash};
    return find(s, &w, out, max);
}

void stack_prefetch_key(const struct dir_stack *s, uint64_t hash)
{
    struct table_probe p;
    for (unsigned i = 0; i < s->n; i++)
        table_probe_start(s->t[i], hash, &p);
}

bool stack_next(const struct dir_stack *s, struct stack_cursor *c, struct table_record *out)
{
    for (; c->table < s->n; c->table++, c->at = 0)
        while (table_next(s->t[c->table], &c->at, out))
            if (!table_record_is_tombstone(out) && !is_hidden(s, c->table, out))
                return true;
    return false;
}

uint64_t stack_overlay_entries(const struct dir_stack *s)
{
    uint64_t n = 0;
    for (unsigned i = 0; i + s->has_base < s->n; i++)
        n += table_header(s->t[i])->n_entries;
    return n;
}

struct dir_stack *stack_rebase(const struct dir_stack *s, struct dir_table *base)
{
    struct dir_stack *r = stack_new(NULL);
    ASSERT(s->has_base);
    r->has_base = true;
    for (unsigned i = 0; i + 1 < s->n; i++)
        add_below(r, table_ref(s->t[i]));
    add_below(r, base);
    return r;
}

/* ---- merging ---- */

static struct table_meta meta_of(const struct dir_table *t)
{
    const struct table_header *h = table_header(t);
    return (struct table_meta){.salt = h->salt,
                               .source_id = h->source_id,
                               .sequence = h->sequence,
                               .complete_wall_ms = h->complete_wall_ms,
                               .live_entries = h->live_entries,
                               .live_addresses = h->live_addresses,
                               .safety = h->safety,
                               .cookie = table_cookie(t)};
}

/* The first `k` tables of s into b. Tombstones are kept while something older may be below. */
static void merge_into(const struct dir_stack *s, unsigned k, bool keep_tombstones,
                       struct table_builder *b)
{
    struct dir_entry_room *room = mem_alloc(sizeof(*room));
    for (unsigned i = 0; i < k; i++) {
        struct table_record r;
        for (uint64_t at = 0; table_next(s->t[i], &at, &r);) {
            struct dir_entry e;
            if ((table_record_is_tombstone(&r) && !keep_tombstones) || is_hidden(s, i, &r) ||
                !table_record_decode(&r, room, &e))
                continue;
            table_builder_add(b, &e);
        }
    }
    mem_free(room);
}

void stack_flatten(const struct dir_stack *s, struct table_builder *b)
{
    merge_into(s, s->n, false, b);
}

struct dir_table *stack_merge(struct dir_table *const *t, size_t n)
{
    struct dir_entry_room *room = mem_alloc(sizeof(*room));
    struct table_builder *b = table_builder_new();
    struct table_meta m = meta_of(t[n - 1]);
    struct hashmap seen;
    hashmap_init(&seen, true);
    for (size_t i = n; i-- > 0;) {
        struct table_record r;
        for (uint64_t at = 0; table_next(t[i], &at, &r);) {
            uint64_t hash = dir_uuid_hash(table_record_uuid(&r));
            struct dir_entry e;
            if (hashmap_has(&seen, hash) || !table_record_decode(&r, room, &e))
                continue;
            hashmap_set(&seen, hash, 0);
            table_builder_add(b, &e);
        }
    }
    struct dir_table *merged = table_builder_finish(b, &m);
    hashmap_free(&seen);
    table_builder_free(&b);
    mem_free(room);
    return merged;
}

static unsigned merge_depth(const struct dir_stack *s)
{
    unsigned overlays = s->n - s->has_base;
    uint64_t total = table_header(s->t[0])->n_entries;
    unsigned k = 1;
    for (; k < overlays; k++) {
        uint64_t next = table_header(s->t[k])->n_entries;
        if (total * MERGE_RATIO < next && overlays - k + 2 < STACK_MAX)
            break;
        total += next;
    }
    return k;
}

struct dir_stack *stack_put(const struct dir_stack *s, struct dir_table *t)
{
    struct dir_stack *r = stack_new(NULL);
    ASSERT(s->n < STACK_MAX);
    r->has_base = s->has_base;
    add_below(r, t);
    for (unsigned i = 0; i < s->n; i++)
        add_below(r, table_ref(s->t[i]));
    return r;
}

struct dir_stack *stack_push(const struct dir_stack *s, struct dir_table *t)
{
    struct dir_stack *r = stack_put(s, t);
    unsigned k = merge_depth(r);
    if (k < 2)
        return r;
    struct table_builder *b = table_builder_new();
    struct table_meta m = meta_of(t);
    merge_into(r, k, k < r->n, b);
    struct dir_table *merged = table_builder_finish(b, &m);
    table_builder_free(&b);
    for (unsigned i = 0; i < k; i++)
        table_unref(&r->t[i]);
    r->t[0] = merged;
    for (unsigned i = k; i < r->n; i++)
        r->t[i - k + 1] = r->t[i];
    r->n -= k - 1;
    return r;
}
