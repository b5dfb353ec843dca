/*
 * replica.c - see replica.h.
 */
#include "directory/replica_int.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

#define VERIFY_MAX        ((uint64_t)8 << 20) /* read in 5 ms or so */
#define BATCH_MIN         4096                /* first sync: entries of the first commit */
#define UNMERGED_MAX      12                  /* first sync: tables on the stack as they came */
#define BATCH_SLACK       ((size_t)1 << 20)   /* superseded octets that are not worth a thought */
#define OVERLAY_MAX       65536               /* entries beside the snapshot */
#define FIRST_OVERLAY_MAX 262144              /* the same in a first sync */
#define JOURNAL_MAX       ((uint64_t)16 << 20)
#define SNAPSHOT_RETRY_MS 60000 /* after one could not be written */

/* ---- opening ---- */

static void adopt_header(struct replica *r)
{
    r->sequence = r->entries = r->addresses = r->vanished = 0;
    r->grace.known = true;
    r->holding.lately = 0;
    r->complete_wall_ms = 0;
    r->source_id = r->o.source_id;
    buf_clear(&r->cookie);
    if (r->stack->n == 0)
        return;
    const struct table_header *h = table_header(r->stack->t[0]);
    r->sequence = h->sequence;
    r->entries = h->live_entries;
    r->addresses = h->live_addresses;
    r->vanished = h->safety.vanished;
    r->grace.known = r->vanished == 0;
    holding_adopt(r, &h->safety);
    r->complete_wall_ms = h->complete_wall_ms;
    r->source_id = h->source_id;
    if (h->source_id == r->o.source_id)
        buf_append_str(&r->cookie, table_cookie(r->stack->t[0]));
}

struct replica *replica_open(const struct replica_options *o, struct err *e)
{
    struct replica *r = NEW(struct replica);
    r->o = *o;
    if (r->o.ops == NULL)
        r->o.ops = &file_real;
    if (r->o.verify_max == 0)
        r->o.verify_max = VERIFY_MAX;
    if (!store_open(&r->store, o->folder, o->name, r->o.ops, r->o.verify_max, &r->stack, e)) {
        mem_free(r);
        return NULL;
    }
    r->name = str_dup(str_c(o->name));
    r->o.name = r->name;
    r->o.folder = NULL;
    buf_init(&r->cookie, TABLE_COOKIE_MAX);
    adopt_header(r);
    r->batch = table_builder_new();
    r->batch_version = 1;
    hashmap_init(&r->batched, false);
    hashmap_init(&r->present, true);
    r->room_old = mem_alloc(sizeof(*r->room_old));
    r->room_new = mem_alloc(sizeof(*r->room_new));
    grace_init(r);
    holding_init(r);
    if (!holding_open(r, e))
        replica_close(&r);
    return r;
}

void replica_close(struct replica **rp)
{
    struct replica *r = *rp;
    *rp = NULL;
    if (r == NULL)
        return;
    store_close(&r->store);
    stack_unref(&r->stack);
    buf_free(&r->cookie);
    table_builder_free(&r->batch);
    hashmap_free(&r->batched);
    hashmap_free(&r->present);
    holding_free(r);
    grace_free(r);
    mem_free(r->room_old);
    mem_free(r->room_new);
    mem_free(r->name);
    mem_free(r);
}

struct dir_stack *replica_stack(const struct replica *r)
{
    return r->stack;
}
struct str replica_cookie(const struct replica *r)
{
    return buf_str(&r->cookie);
}
bool replica_is_complete(const struct replica *r)
{
    return r->complete_wall_ms != 0 && r->source_id == r->o.source_id;
}
int64_t replica_complete_wall_ms(const struct replica *r)
{
    return r->complete_wall_ms;
}
uint64_t replica_entries(const struct replica *r)
{
    return r->entries;
}
uint64_t replica_addresses(const struct replica *r)
{
    return r->addresses;
}
uint64_t replica_vanished(const struct replica *r)
{
    return r->vanished;
}
uint64_t replica_bytes(const struct replica *r)
{
    return store_bytes(&r->store, r->stack);
}
unsigned replica_batch(const struct replica *r)
{
    return r->n_batch;
}
bool replica_is_refreshing(const struct replica *r)
{
    return r->refreshing;
}
bool replica_is_unverified(const struct replica *r)
{
    return r->store.unverified;
}
void replica_forget_cookie(struct replica *r)
{
    buf_clear(&r->cookie);
}

bool replica_settle(struct replica *r)
{
    const struct dir_stack *before = r->stack;
    if (store_settle(&r->store, &r->stack)) {
        struct replica_commit c = {.stack = r->stack};
        if (r->stack != before)
            r->o.publish(r->o.arg, &c);
        return true;
    }
    stack_unref(&r->stack);
    r->stack = stack_new(NULL);
    replica_abort(r);
    adopt_header(r);
    holding_end(r, "the generation it would have changed was damaged");
    struct replica_commit c = {.stack = r->stack, .n_entries = 1, .everything = true};
    r->o.publish(r->o.arg, &c);
    return false;
}

/* ---- the batch ---- */

static void batch_clear(struct replica *r)
{
    table_builder_free(&r->batch);
    r->batch = table_builder_new();
    hashmap_free(&r->batched);
    r->n_batch = 0;
    r->batch_version++;
}

/* What the batch already says about this UUID is taken out of it. */
static void batch_drop(struct replica *r, const unsigned char *uuid, uint64_t hash)
{
    uint64_t *h = hashmap_find(&r->batched, hash);
    if (h == NULL || *h == REPLICA_KILLED ||
        memcmp(table_builder_uuid(r->batch, *h), uuid, DIR_UUID_SIZE) != 0)
        return;
    table_builder_kill(r->batch, *h);
    *h = REPLICA_KILLED;
    r->n_batch--;
    r->batch_version++;
}

/* What is held gathers for as long as nobody decides: what was said before and is superseded must
 * not fill the memory. */
static void batch_rebuild(struct replica *r)
{
    struct table_builder *b = table_builder_new();
    struct hashmap m;
    struct dir_entry e;
    hashmap_init(&m, false);
    for (uint64_t at = 0; replica_batch_next(r, &at, &e) != TABLE_NO_ENTRY;) {
        uint64_t h = table_builder_add(b, &e);
        ASSERT(h != TABLE_NO_ENTRY); /* it fitted before */
        hashmap_set(&m, dir_uuid_hash(e.uuid), h);
    }
    table_builder_free(&r->batch);
    hashmap_free(&r->batched);
    r->batch = b;
    r->batched = m;
}

/* Something came that was there before, or went: from now on older entries are looked for. */
static void not_all_new(struct replica *r)
{
    struct dir_entry e;
    if (!r->all_new)
        return;
    r->all_new = false;
    for (uint64_t at = 0, h; (h = replica_batch_next(r, &at, &e)) != TABLE_NO_ENTRY;)
        hashmap_set(&r->batched, dir_uuid_hash(e.uuid), h);
}

/* The first sync of a source is usable before its end: what gathered is published whenever that
 * doubles what there is, so that the work for it does not grow with the number of parts. */
static bool part_is_due(const struct replica *r)
{
    return r->complete_wall_ms == 0 && r->n_batch >= BATCH_MIN && r->n_batch >= r->entries;
}

bool replica_batch_add(struct replica *r, const struct dir_entry *e)
{
    uint64_t h = table_builder_add(r->batch, e);
    if (h == TABLE_NO_ENTRY)
        return false;
    if (!r->all_new)
        hashmap_set(&r->batched, dir_uuid_hash(e->uuid), h);
    r->n_batch++;
    r->batch_version++;
    if (part_is_due(r))
        replica_commit(r, STR_NULL);
    size_t dead = table_builder_dead_bytes(r->batch);
    if (dead > BATCH_SLACK && dead > table_builder_bytes(r->batch) / 2)
        batch_rebuild(r);
    return true;
}

uint64_t replica_batch_next(const struct replica *r, uint64_t *at, struct dir_entry *out)
{
    return table_builder_next(r->batch, at, r->room_new, out);
}

bool replica_find(const struct replica *r, const unsigned char *uuid, struct dir_entry *out)
{
    struct table_record rec;
    return !r->all_new && stack_find_uuid(r->stack, uuid, &rec) &&
           table_record_decode(&rec, r->room_old, out);
}

bool replica_upsert(struct replica *r, const struct dir_entry *e)
{
    struct dir_entry old;
    uint64_t hash = dir_uuid_hash(e->uuid);
    if (r->refreshing && !hashmap_set(&r->present, hash, 0))
        not_all_new(r);
    if (!r->all_new)
        batch_drop(r, e->uuid, hash);
    if (!limits_allow(r, e))
        return true;
    if (replica_find(r, e->uuid, &old) && dir_entry_equal(&old, e))
        return true;
    return replica_batch_add(r, e);
}

void replica_delete(struct replica *r, const unsigned char *uuid)
{
    struct dir_entry old, gone = {.tombstone = true};
    uint64_t hash = dir_uuid_hash(uuid);
    if (r->all_new && !hashmap_has(&r->present, hash))
        return; /* never heard of it: an object without an address, most likely */
    not_all_new(r);
    batch_drop(r, uuid, hash);
    if (!replica_find(r, uuid, &old) || old.vanished_ms != 0)
        return;
    memcpy(gone.uuid, uuid, DIR_UUID_SIZE);
    replica_batch_add(r, &gone);
}

void replica_present(struct replica *r, const unsigned char *uuid)
{
    struct dir_entry old;
    if (r->refreshing)
        hashmap_set(&r->present, dir_uuid_hash(uuid), 0);
    not_all_new(r);
    if (r->vanished != 0 && replica_find(r, uuid, &old) && old.vanished_ms != 0) {
        old.vanished_ms = 0; /* it is back, as it was */
        replica_upsert(r, &old);
    }
}

/* ---- committing ---- */

struct keys {
    uint64_t *v;
    unsigned n, cap;
    bool everything;
};

static void key_add(struct keys *k, uint64_t hash)
{
    if (k->everything)
        return;
    if (k->n == k->cap) {
        k->cap = k->cap == 0 ? 16 : k->cap * 2;
        k->v = mem_realloc(k->v, k->cap * sizeof(*k->v));
    }
    k->v[k->n++] = hash;
    k->everything = k->n >= REPLICA_KEYS_MAX;
}

static void keys_add(struct keys *k, const struct dir_entry *e)
{
    for (unsigned i = 0; i < e->n_address; i++)
        key_add(k, dir_address_hash(&e->address[i]));
    for (unsigned i = 0; i < e->n_other; i++)
        key_add(k, dir_other_hash(e->other[i].type, e->other[i].key));
}

/* A removal becomes an entry that is marked as vanished, for the time of grace. */
static bool keep_for_grace(struct replica *r, uint64_t handle, struct dir_entry *e, int64_t now)
{
    e->vanished_ms = now;
    uint64_t marked = table_builder_add(r->batch, e);
    if (marked == TABLE_NO_ENTRY)
        return false;
    table_builder_kill(r->batch, handle);
    grace_note(r, e, now);
    return true;
}

/* Names the keys of all that changes, counts what is there afterwards. What is kept for grace is
 * added to the batch, behind what is walked here. */
static void batch_settle(struct replica *r, struct keys *k)
{
    struct dir_entry old, new;
    uint64_t handle, end = table_builder_bytes(r->batch);
    int64_t now = clock_wall_ms();
    for (uint64_t at = 0; at < end && (handle = replica_batch_next(r, &at, &new)) < end;) {
        bool had = replica_find(r, new.uuid, &old), vanished = had && old.vanished_ms != 0;
        bool same = had && dir_entry_equal_but_dn(&old, &new); /* nobody's mail takes another way */
        if (had) {
            if (!same)
                keys_add(k, &old);
            r->entries -= !vanished;
            r->addresses -= vanished ? 0 : old.n_address;
            r->vanished -= vanished;
        }
        if (!new.tombstone) {
            if (!same)
                keys_add(k, &new);
            r->entries++;
            r->addresses += new.n_address;
        } else if (had && !vanished && r->o.grace_ms != 0) {
            r->vanished += keep_for_grace(r, handle, &old, now);
        }
    }
}

struct table_meta replica_meta(const struct replica *r)
{
    struct table_meta m = {.salt = r->store.salt,
                           .source_id = r->source_id,
                           .sequence = r->sequence,
                           .complete_wall_ms = r->complete_wall_ms,
                           .live_entries = r->entries,
                           .live_addresses = r->addresses,
                           .safety.vanished = r->vanished,
                           .cookie = buf_str(&r->cookie)};
    holding_meta(r, &m.safety);
    return m;
}

static void take_stack(struct replica *r, struct dir_stack *next)
{
    stack_unref(&r->stack);
    r->stack = next;
}

/* A start reads the journal whole, so it is kept short; a large first sync writes ever larger
 * snapshots at ever longer distances, and each one at its end. */
static bool snapshot_is_due(const struct replica *r, bool first_end)
{
    uint64_t base = r->stack->has_base ? table_header(r->stack->t[r->stack->n - 1])->n_entries : 0;
    uint64_t overlay = stack_overlay_entries(r->stack);
    if (clock_mono_ms() < r->snapshot_after_ms)
        return false;
    if (!store_is_journalling(&r->store))
        return true;
    if (r->complete_wall_ms == 0)
        return overlay > FIRST_OVERLAY_MAX && overlay > base;
    return overlay > (first_end ? BATCH_MIN : OVERLAY_MAX) ||
           store_journal_bytes(&r->store) > JOURNAL_MAX;
}

void replica_snapshot(struct replica *r)
{
    struct err e;
    struct table_builder *b = table_builder_new();
    struct table_meta m = replica_meta(r);
    r->owes_snapshot = false;
    stack_flatten(r->stack, b);
    struct dir_table *t = store_snapshot(&r->store, b, &m, &e);
    table_builder_free(&b);
    if (t == NULL) {
        r->snapshot_after_ms = clock_mono_ms() + SNAPSHOT_RETRY_MS;
        LOG(ERROR, r->name, "directory-snapshot-failed", LC("error", e.text));
        store_sync(&r->store);
        return;
    }
    take_stack(r, stack_new(t));
    struct replica_commit c = {.stack = r->stack};
    r->o.publish(r->o.arg, &c);
}

/* The batch as a table goes onto the stack. */
static void stack_batch(struct replica *r, struct dir_table *t, bool first)
{
    bool unmerged = first && r->stack->n < UNMERGED_MAX;
    take_stack(r,
               unmerged ? stack_put(r->stack, table_ref(t)) : stack_push(r->stack, table_ref(t)));
}

/* What was committed goes to disk. The end of a first sync is not made wait for that: until its
 * snapshot is there, a power failure costs no more than one before the end. */
static void keep(struct replica *r, bool first_end)
{
    bool due = snapshot_is_due(r, first_end);
    if (first_end && due) {
        r->owes_snapshot = true;
        return;
    }
    if (r->complete_wall_ms != 0) /* a first sync that broke off begins anew anyway */
        store_sync(&r->store);
    if (due)
        replica_snapshot(r);
}

void replica_commit_batch(struct replica *r, struct str cookie, bool first_end)
{
    struct keys k = {0};
    unsigned n = r->n_batch;
    if (cookie.p != NULL) {
        buf_clear(&r->cookie);
        buf_append_str(&r->cookie, cookie);
    }
    batch_settle(r, &k);
    r->sequence++;
    struct table_meta m = replica_meta(r);
    struct dir_table *t = table_builder_finish(r->batch, &m);
    batch_clear(r);
    store_append(&r->store, t);
    stack_batch(r, t, first_end || r->complete_wall_ms == 0);
    if (n != 0) {
        struct replica_commit c = {.stack = r->stack,
                                   .n_entries = n,
                                   .everything = k.everything,
                                   .n_keys = k.everything ? 0 : k.n,
                                   .key_hash = k.v,
                                   .change = t};
        r->o.publish(r->o.arg, &c);
        grace_say(r);
    }
    table_unref(&t);
    mem_free(k.v);
    keep(r, first_end);
}

void replica_commit(struct replica *r, struct str cookie)
{
    if (r->holding.now != NULL && holding_stops(r, &cookie, false))
        return;
    bool new_cookie = cookie.p != NULL && !str_eq(cookie, buf_str(&r->cookie));
    if (r->n_batch != 0 || new_cookie)
        replica_commit_batch(r, cookie, false);
}

bool replica_commit_checked(struct replica *r, struct str cookie, struct err *e)
{
    if (!replica_keeps_limits(r, e)) {
        replica_abort(r);
        return false;
    }
    if (!holding_stops(r, &cookie, false))
        replica_commit(r, cookie);
    return true;
}

bool replica_sync(struct replica *r)
{
    if (r->owes_snapshot)
        replica_snapshot(r);
    store_sync(&r->store);
    return store_is_journalling(&r->store);
}

void replica_alive(struct replica *r, int64_t wall_ms)
{
    r->complete_wall_ms = wall_ms;
}

void replica_note_alive(struct replica *r)
{
    ASSERT(r->holding.now == NULL);
    replica_commit_batch(r, STR_NULL, false);
}

/* ---- refreshing ---- */

void replica_tick(struct replica *r)
{
    if (r->owes_snapshot)
        replica_snapshot(r);
    holding_tick(r);
    grace_tick(r);
}

void replica_abort(struct replica *r)
{
    batch_clear(r);
    err_clear(&r->over); /* only here: a commit in between does not bring back what was left out */
    r->refreshing = r->all_new = false;
    hashmap_free(&r->present);
}

void replica_refresh_begin(struct replica *r)
{
    replica_abort(r);
    r->refreshing = true;
    r->all_new = r->stack->n == 0;
}

static void delete_absent_entries(struct replica *r)
{
    struct stack_cursor c = {0};
    struct table_record rec;
    /* replica_batch_add() may commit during a first sync: the walk keeps its own stack */
    struct dir_stack *stack = stack_ref(r->stack);
    while (stack_next(stack, &c, &rec))
        if (!hashmap_has(&r->present, dir_uuid_hash(table_record_uuid(&rec))))
            replica_delete(r, table_record_uuid(&rec));
    stack_unref(&stack);
}

bool replica_refresh_end(struct replica *r, bool delete_absent, struct str cookie, struct err *e)
{
    ASSERT(r->refreshing);
    if (delete_absent && r->present.n == 0 && r->complete_wall_ms == 0) {
        replica_abort(r);
        return err_set(e, ERR_LIMIT, 0,
                       "there is not one entry with a mail address in it; nothing was applied");
    }
    if (delete_absent && !r->all_new && r->over.class == ERR_NONE)
        delete_absent_entries(r);
    if (!replica_keeps_limits(r, e)) {
        replica_abort(r);
        return false;
    }
    r->refreshing = false;
    hashmap_free(&r->present);
    if (holding_stops(r, &cookie, true)) {
        not_all_new(r);
        return true;
    }
    bool first = !replica_is_complete(r);
    r->source_id = r->o.source_id;
    replica_alive(r, clock_wall_ms());
    if (first)
        replica_commit_batch(r, cookie, true); /* even if it is empty: complete is worth keeping */
    else
        replica_commit(r, cookie);
    r->all_new = false;
    return true;
}
