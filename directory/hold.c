/*
 * hold.c - see hold.h. Decides what a mass change is, gathers what a held source says, keeps it on
 * disk, and applies it when a person has agreed. On the source's thread; a struct hold once made is
 * for any.
 *
 * While something is held nothing is committed, so the sequence number of the generation it is
 * compared with stands still. That tells a held change on disk that was decided already (the
 * sequence has gone on: a crash came between) from one that waits.
 *
 * A change that comes in small steps is gathered as they come; what is shown is made anew from it
 * once a second at most, and less often when it is large.
 */
#include "directory/replica_int.h"

#include "base/clock.h"
#include "base/mem.h"

#define LATELY_MS   600000 /* removals this close together are one change */
#define REMAKE_MS   1000
#define REMAKE_REST 10       /* so many times as long as making it took */
#define NEXT_MS     86400000 /* how long an agreement in advance holds */

struct hold *hold_ref(struct hold *h)
{
    atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
    return h;
}

void hold_unref(struct hold **hp)
{
    struct hold *h = *hp;
    *hp = NULL;
    if (h == NULL || atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) != 1)
        return;
    table_unref(&h->change);
    stack_unref(&h->before);
    stack_unref(&h->after);
    mem_free(h);
}

bool hold_is_applied(const struct hold *h)
{
    return atomic_load_explicit(&h->applied, memory_order_acquire);
}

void holding_init(struct replica *r)
{
    buf_init(&r->holding.cookie, TABLE_COOKIE_MAX);
}

void holding_free(struct replica *r)
{
    hold_unref(&r->holding.now);
    buf_free(&r->holding.cookie);
}

const struct hold *replica_hold(const struct replica *r)
{
    return r->holding.now;
}

/* ---- what is too much ---- */

static bool is_over(const struct replica_options *o, uint64_t n, uint64_t of)
{
    if (o->mass_change_count != 0 && n > o->mass_change_count)
        return true;
    return o->mass_change_percent < 100 && n > HOLD_FLOOR && n * 100 > of * o->mass_change_percent;
}

/* All that is left has gone. A wrong filter, a missing right and a file that is being written look
 * like that, so in one step it is never taken for granted. */
static bool is_all(const struct dir_step *n)
{
    return n->entries != 0 && n->vanish == n->entries && n->appear == 0;
}

static bool is_mass_change(const struct replica_options *o, const struct dir_step *n)
{
    return (n->vanish != 0 && is_over(o, n->vanish + n->lately, n->entries + n->lately)) ||
           is_over(o, n->vanish + n->move + n->drop, n->entries);
}

/* What the batch would do. */
static struct dir_step count(const struct replica *r)
{
    struct dir_step n = {.lately = r->holding.lately, .entries = r->entries};
    struct dir_entry old, new;
    for (uint64_t at = 0; replica_batch_next(r, &at, &new) != TABLE_NO_ENTRY;) {
        bool had = replica_find(r, new.uuid, &old) && old.vanished_ms == 0;
        if (new.tombstone)
            n.vanish += had;
        else if (!had)
            n.appear++;
        else if (dir_entry_moved(&old, &new))
            n.move++;
        else if (dir_entry_dropped(&old, &new) != NULL)
            n.drop++;
        else
            n.change++;
    }
    return n;
}

/* ---- what vanished lately, step by step ---- */

static void lately_forget_old(struct holding *h)
{
    int64_t now = clock_mono_ms();
    if (h->lately != 0 && now - h->lately_ms <= LATELY_MS)
        return;
    h->lately = 0;
    h->lately_ms = now;
}

void holding_meta(const struct replica *r, struct table_safety *out)
{
    out->lately = r->holding.lately;
    out->lately_ms = clock_wall_ms() - (clock_mono_ms() - r->holding.lately_ms);
}

void holding_adopt(struct replica *r, const struct table_safety *s)
{
    int64_t age = clock_wall_ms() - s->lately_ms;
    r->holding.lately = s->lately;
    r->holding.lately_ms = clock_mono_ms() - (age > 0 ? age : 0);
}

/* ---- what is shown ---- */

static void tell(struct replica *r)
{
    if (r->o.held != NULL)
        r->o.held(r->o.arg, r->holding.now);
}

static void set(struct replica *r, struct hold *h)
{
    hold_unref(&r->holding.now);
    r->holding.now = h;
    tell(r);
}

/* Takes over `change`, which may be NULL. */
static struct hold *hold_new(const struct replica *r, struct dir_table *change, int64_t since_ms,
                             const struct dir_step *counts)
{
    struct hold *h = NEW(struct hold);
    atomic_init(&h->refs, 1);
    h->since_ms = since_ms;
    h->sequence = r->sequence;
    h->counts = *counts;
    if (change != NULL) {
        h->change = change;
        h->before = stack_ref(r->stack);
        h->after = stack_push(r->stack, table_ref(change));
    }
    return h;
}

/* The batch as a table, with what a commit of it would say. */
static struct dir_table *batch_table(const struct replica *r, int64_t since_ms,
                                     const struct dir_step *n)
{
    struct table_builder *b = table_builder_new();
    struct dir_entry e;
    for (uint64_t at = 0; replica_batch_next(r, &at, &e) != TABLE_NO_ENTRY;)
        table_builder_add(b, &e);
    struct table_meta m = replica_meta(r);
    m.source_id = r->o.source_id;
    m.complete_wall_ms = clock_wall_ms();
    m.live_entries = n->entries + n->appear - n->vanish;
    m.safety.vanish = n->vanish;
    m.safety.move = n->move;
    m.safety.drop = n->drop;
    m.safety.lately = n->lately;
    m.safety.held_ms = since_ms;
    m.cookie = buf_str(&r->holding.cookie);
    struct dir_table *t = table_builder_finish(b, &m);
    table_builder_free(&b);
    return t;
}

static void make(struct replica *r, int64_t since_ms, const struct dir_step *n)
{
    int64_t began = clock_mono_ms();
    struct dir_table *t = batch_table(r, since_ms, n);
    store_held_write(&r->store, t);
    set(r, hold_new(r, t, since_ms, n));
    r->holding.made_version = r->batch_version;
    r->holding.made_ms = clock_mono_ms();
    r->holding.made_took_ms = r->holding.made_ms - began;
}

static bool is_due(const struct replica *r)
{
    int64_t rest = r->holding.made_took_ms * REMAKE_REST;
    return r->batch_version != r->holding.made_version &&
           clock_mono_ms() - r->holding.made_ms > (rest > REMAKE_MS ? rest : REMAKE_MS);
}

static void say(const struct replica *r, const char *event)
{
    const struct dir_step *n = &r->holding.now->counts;
    LOG(ERROR, r->name, event, LU("vanish", n->vanish), LU("move", n->move), LU("drop", n->drop),
        LU("vanished_lately", n->lately), LU("of", n->entries),
        LU("mass_change_percent", r->o.mass_change_percent),
        LU("mass_change_count", r->o.mass_change_count),
        LC("effect", "nothing from this source is applied until a person decides"),
        LC("see", "causewayctl directory pending"));
}

/* ---- holding and letting go ---- */

static void take_cookie(struct holding *h, struct str cookie)
{
    if (cookie.p == NULL)
        return;
    buf_clear(&h->cookie);
    buf_append_str(&h->cookie, cookie);
}

static void begin(struct replica *r, struct str cookie, const struct dir_step *n)
{
    take_cookie(&r->holding, cookie.p != NULL ? cookie : buf_str(&r->cookie));
    r->holding.judged_version = r->batch_version;
    make(r, clock_wall_ms(), n);
    say(r, "directory-mass-change-held");
}

/* Goes on holding, unless nothing that needs a person is left. */
static bool go_on(struct replica *r, struct str *cookie, bool refresh)
{
    struct holding *h = &r->holding;
    take_cookie(h, *cookie);
    h->judged_version = r->batch_version;
    if (!refresh && !is_due(r))
        return true;
    struct dir_step n = count(r);
    if (n.vanish + n.move + n.drop != 0) {
        make(r, h->now->since_ms, &n);
        return true;
    }
    *cookie = buf_str(&h->cookie);
    holding_end(r, "the source has taken it back");
    return false;
}

bool holding_stops(struct replica *r, struct str *cookie, bool refresh)
{
    struct holding *h = &r->holding;
    if (r->complete_wall_ms == 0)
        return false;
    if (h->now != NULL)
        return go_on(r, cookie, refresh);
    if (r->n_batch == 0)
        return false;
    lately_forget_old(h);
    struct dir_step n = count(r);
    if (is_mass_change(&r->o, &n) || (refresh && is_all(&n))) {
        if (!replica_accepts_next(r)) {
            begin(r, *cookie, &n);
            return true;
        }
        h->next_until_ms = h->lately = 0;
        LOG(WARN, r->name, "directory-mass-change", LU("vanish", n.vanish), LU("move", n.move),
            LU("of", n.entries), LC("why", "it was agreed to in advance"));
        return false;
    }
    h->lately += n.vanish;
    return false;
}

/* What came in since a commit is not whole: it waits for the next one. */
void holding_tick(struct replica *r)
{
    struct str cookie = STR_NULL;
    if (r->holding.now == NULL || r->refreshing || r->holding.judged_version != r->batch_version ||
        !is_due(r))
        return;
    if (!go_on(r, &cookie, true))
        replica_commit_batch(r, cookie, false);
}

void holding_end(struct replica *r, const char *why)
{
    if (r->holding.now == NULL)
        return;
    store_held_drop(&r->store);
    set(r, NULL);
    LOG(WARN, r->name, "directory-mass-change-over", LC("why", why));
}

bool replica_accept(struct replica *r, struct hold *h, struct err *e)
{
    struct table_record rec;
    struct dir_entry entry;
    if (r->holding.now == NULL || h->change == NULL || h->sequence != r->sequence)
        return err_set(e, ERR_INPUT, 0, "that change is not held any more");
    const struct table_header *head = table_header(h->change);
    replica_abort(r);
    for (uint64_t at = 0; table_next(h->change, &at, &rec);)
        if (table_record_decode(&rec, r->room_new, &entry))
            replica_batch_add(r, &entry);
    r->source_id = head->source_id;
    r->holding.lately = 0;
    replica_alive(r, head->complete_wall_ms);
    replica_commit_batch(r, table_cookie(h->change), true);
    holding_end(r, "it was accepted");
    atomic_store_explicit(&h->applied, true, memory_order_release);
    return true;
}

void replica_accept_next(struct replica *r)
{
    r->holding.next_until_ms = clock_mono_ms() + NEXT_MS;
}

bool replica_accepts_next(const struct replica *r)
{
    return clock_mono_ms() < r->holding.next_until_ms;
}

/* ---- a restart ---- */

static struct dir_step counts_of(const struct replica *r, const struct dir_table *t)
{
    const struct table_header *h = table_header(t);
    struct dir_step n = {.vanish = h->safety.vanish,
                         .move = h->safety.move,
                         .drop = h->safety.drop,
                         .lately = h->safety.lately,
                         .entries = r->entries};
    n.appear = h->live_entries + n.vanish - n.entries;
    n.change = h->n_entries - n.vanish - n.move - n.drop - n.appear;
    return n;
}

bool holding_open(struct replica *r, struct err *e)
{
    struct dir_table *t;
    bool there;
    if (!store_held_read(&r->store, &there, &t, e))
        return false;
    if (!there)
        return true;
    struct dir_step n = {.entries = r->entries};
    int64_t since_ms = clock_wall_ms();
    uint64_t sequence = r->sequence;
    if (t != NULL) {
        sequence = table_header(t)->sequence;
        since_ms = table_header(t)->safety.held_ms;
        n = counts_of(r, t);
    }
    /* decided when we died, or nothing is left that it could protect, or a person raised the limits
     */
    if (sequence < r->sequence || r->complete_wall_ms == 0 ||
        (t != NULL && !is_mass_change(&r->o, &n) && !is_all(&n))) {
        table_unref(&t);
        store_held_drop(&r->store);
        return true;
    }
    if (sequence > r->sequence || (t != NULL && table_header(t)->source_id != r->o.source_id))
        table_unref(&t); /* of another generation than ours, or of another question */
    set(r, hold_new(r, t, since_ms, &n));
    say(r, "directory-mass-change-still-held");
    return true;
}
