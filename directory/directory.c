/*
 * directory.c - the sources together: one view of them all, replaced whole with each change, and
 * the listeners that hear which addresses changed.
 *
 * Locks: `publishing` orders changes (and calls the listeners, which only hand over); `view_lock`
 * is held for a pointer swap or a reference. The list of sources is the main thread's.
 */
#include "directory/directory.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "directory/hashmap.h"
#include "directory/ldap/ldap_link.h"
#include "directory/person.h"
#include "directory/source.h"

#define LISTENERS_MAX 16
#define LEAVE_MS      1000 /* how long a reload waits for sources that end */

struct directory {
    pthread_mutex_t publishing;
    pthread_mutex_t view_lock; /* over `view` */
    struct dir_view *view;
    _Atomic uint64_t generation;
    struct {
        dir_change_fn *fn;
        void *arg;
    } listener[LISTENERS_MAX];
    unsigned n_listener;
    struct contested *contested;
    struct overrides *overrides; /* under `publishing` */
    struct conf *conf;
    char *state_dir;
    unsigned n;
    struct source **source; /* as in conf; NULL: not opened yet since a reload */
    unsigned n_leaving;
    struct source **leaving; /* asked to end by a reload, and not gone yet: they hold their files */
    bool started;
};

/* ---- views ---- */

uint64_t directory_generation(const struct directory *d)
{
    return atomic_load_explicit(&d->generation, memory_order_acquire);
}

struct dir_view *directory_view(struct directory *d)
{
    pthread_mutex_lock(&d->view_lock);
    struct dir_view *v = dir_view_ref(d->view);
    pthread_mutex_unlock(&d->view_lock);
    return v;
}

/* Under `publishing`. */
static void view_replace(struct directory *d, struct dir_view *v)
{
    pthread_mutex_lock(&d->view_lock);
    struct dir_view *old = d->view;
    d->view = v;
    atomic_store_explicit(&d->generation, v->generation, memory_order_release);
    pthread_mutex_unlock(&d->view_lock);
    dir_view_unref(&old);
}

static void tell(struct directory *d, bool everything, unsigned n, const uint64_t *key_hash)
{
    struct dir_change c = {
        .generation = d->view->generation, .everything = everything, .n = n, .key_hash = key_hash};
    for (unsigned i = 0; i < d->n_listener; i++)
        d->listener[i].fn(d->listener[i].arg, &c);
}

/* The present view with another stack for the source `owner` (0: none). Under `publishing`. */
static struct dir_view *view_with(struct directory *d, uint64_t owner, struct dir_stack *stack)
{
    const struct dir_view *old = d->view;
    struct dir_view *v = view_new(old->generation + 1, rules_ref(old->rules),
                                  stack_ref(overrides_stack(d->overrides)), old->n);
    for (unsigned i = 0; i < v->n; i++) {
        v->source[i] = view_source_copy(&old->source[i]);
        if (owner == 0 || old->source[i].owner != owner)
            continue;
        stack_unref(&v->source[i].stack);
        v->source[i].stack = stack_ref(stack);
    }
    return v;
}

/* ---- changes ---- */

/* Keys, each once; REPLICA_KEYS_MAX of them mean everything. */
struct key_set {
    uint64_t *v;
    unsigned n, cap;
    struct hashmap seen;
};

static void key_set_init(struct key_set *k)
{
    *k = (struct key_set){0};
    hashmap_init(&k->seen, true);
}

static void key_set_free(struct key_set *k)
{
    mem_free(k->v);
    hashmap_free(&k->seen);
}

static void key_set_add(void *arg, uint64_t hash)
{
    struct key_set *k = arg;
    if (k->n == REPLICA_KEYS_MAX || hashmap_has(&k->seen, hash))
        return;
    hashmap_set(&k->seen, hash, 0);
    if (k->n == k->cap) {
        k->cap = k->cap == 0 ? 16 : k->cap * 2;
        k->v = mem_realloc(k->v, k->cap * sizeof(*k->v));
    }
    k->v[k->n++] = hash;
}

static void tell_set(struct directory *d, const struct key_set *k)
{
    bool everything = k->n == REPLICA_KEYS_MAX;
    tell(d, everything, everything ? 0 : k->n, k->v);
}

/* Tells of the changed entries and, because a lookup joins, of all that may be joined with them by
 * whatever key, from object to object, also within this source: a key that one more object has now
 * joins the others no longer. Under `publishing`. */
static void tell_joined(struct directory *d, const struct replica_commit *c)
{
    struct key_set k;
    if (c->everything || d->view->n < 2) {
        tell(d, c->everything, c->everything ? 0 : c->n_keys, c->key_hash);
        return;
    }
    key_set_init(&k);
    for (unsigned i = 0; i < c->n_keys; i++)
        key_set_add(&k, c->key_hash[i]);
    for (unsigned i = 0; i < k.n; i++) /* grows on the way */
        person_spread(d->view, k.v[i], key_set_add, &k);
    tell_set(d, &k);
    key_set_free(&k);
}

void directory_publish(struct directory *d, struct source *s, const struct replica_commit *c)
{
    pthread_mutex_lock(&d->publishing);
    struct dir_view *before = dir_view_ref(d->view);
    view_replace(d, view_with(d, s->id, c->stack));
    struct dir_view *after = dir_view_ref(d->view);
    s->published = after->generation;
    if (c->everything || c->n_keys != 0)
        tell_joined(d, c);
    pthread_mutex_unlock(&d->publishing);
    /* not of a first sync, which would take longer by it */
    if (c->change != NULL && atomic_load_explicit(&s->fresh->complete_once, memory_order_relaxed))
        source_conflicts(s, before, after, c->change, d->contested);
    dir_view_unref(&before);
    dir_view_unref(&after);
}

struct slot_order {
    int priority;
    unsigned index;
};

static int by_priority(const void *va, const void *vb)
{
    const struct slot_order *a = va, *b = vb;
    if (a->priority != b->priority)
        return a->priority < b->priority ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

/* What the source of this name said last; for one whose files cannot be opened now. */
static struct dir_stack *last_stack(const struct directory *d, const char *name)
{
    for (unsigned i = 0; d->view != NULL && i < d->view->n; i++)
        if (strcmp(dir_view_source_name(d->view, i), name) == 0)
            return stack_ref(d->view->source[i].stack);
    return stack_new(NULL);
}

static void slot_fill(struct directory *d, unsigned index, struct view_source *out)
{
    struct source *s = d->source[index];
    *out = (struct view_source){.index = index, .owner = s != NULL ? s->id : 0};
    out->fresh = s != NULL ? fresh_ref(s->fresh) : fresh_new();
    for (unsigned i = 0; d->view != NULL && s != NULL && i < d->view->n; i++)
        if (d->view->source[i].owner == s->id)
            out->stack = stack_ref(d->view->source[i].stack);
    if (s != NULL)
        out->held = source_held_stack(s);
    if (out->stack == NULL)
        out->stack = s != NULL ? stack_ref(replica_stack(s->replica))
                               : last_stack(d, d->conf->source[index].name);
}

/* A view of d->source and d->conf as they are now. Under `publishing`. */
static struct dir_view *view_of_sources(struct directory *d)
{
    uint64_t generation = d->view != NULL ? d->view->generation + 1 : 1;
    struct dir_view *v =
        view_new(generation, rules_new(d->conf), stack_ref(overrides_stack(d->overrides)), d->n);
    struct slot_order *order = mem_array(d->n + 1, sizeof(*order));
    for (unsigned i = 0; i < d->n; i++)
        order[i] = (struct slot_order){d->conf->source[i].priority, i};
    qsort(order, d->n, sizeof(*order), by_priority);
    for (unsigned i = 0; i < d->n; i++)
        slot_fill(d, order[i].index, &v->source[i]);
    mem_free(order);
    return v;
}

/* ---- life ---- */

struct directory *directory_open(const struct conf *c, const char *state_dir, struct err *e)
{
    struct directory *d = NEW(struct directory);
    ldap_link_init();
    pthread_mutex_init(&d->publishing, NULL);
    d->contested = contested_new();
    pthread_mutex_init(&d->view_lock, NULL);
    d->conf = conf_ref((struct conf *)c);
    d->state_dir = str_dup(str_c(state_dir));
    d->source = mem_array(c->n_source + 1, sizeof(*d->source));
    d->overrides = overrides_open(state_dir, &file_real, e);
    bool ok = d->overrides != NULL;
    for (; ok && d->n < c->n_source; d->n += ok) {
        d->source[d->n] = source_open(d, d->conf, &c->source[d->n], state_dir, e);
        ok = d->source[d->n] != NULL;
    }
    if (!ok) {
        directory_close(&d);
        return NULL;
    }
    view_replace(d, view_of_sources(d));
    return d;
}

void directory_listen(struct directory *d, dir_change_fn *fn, void *arg)
{
    ASSERT(!d->started && d->n_listener < LISTENERS_MAX);
    d->listener[d->n_listener].fn = fn;
    d->listener[d->n_listener++].arg = arg;
}

void directory_start(struct directory *d)
{
    ASSERT(!d->started);
    d->started = true;
    for (unsigned i = 0; i < d->n; i++)
        source_start(d->source[i]);
}

void directory_ask_stop(struct directory *d)
{
    for (unsigned i = 0; i < d->n; i++)
        if (d->source[i] != NULL && d->source[i]->running)
            source_ask_stop(d->source[i]);
}

void directory_stop(struct directory *d)
{
    directory_ask_stop(d);
    for (unsigned i = 0; i < d->n_leaving; i++) /* were asked long ago */
        source_close(&d->leaving[i]);
    d->n_leaving = 0;
    for (unsigned i = 0; i < d->n; i++)
        if (d->source[i] != NULL)
            source_stop(d->source[i]);
    d->started = false;
}

void directory_close(struct directory **dp)
{
    struct directory *d = *dp;
    *dp = NULL;
    if (d == NULL)
        return;
    directory_stop(d);
    for (unsigned i = 0; i < d->n; i++)
        source_close(&d->source[i]);
    dir_view_unref(&d->view);
    overrides_close(&d->overrides);
    pthread_mutex_destroy(&d->publishing);
    contested_free(&d->contested);
    pthread_mutex_destroy(&d->view_lock);
    conf_unref(&d->conf);
    mem_free(d->source);
    mem_free(d->leaving);
    mem_free(d->state_dir);
    mem_free(d);
}

/* ---- reload ---- */

/* Takes the running source with this configuration out of the old list. */
static struct source *keep(struct source **old, unsigned n, const struct conf_source *c)
{
    for (unsigned i = 0; i < n; i++)
        if (old[i] != NULL && rules_source_same(old[i]->c, c)) {
            struct source *s = old[i];
            old[i] = NULL;
            source_retouch(s, c);
            return s;
        }
    return NULL;
}

/* Sources that are there no more, or not as they were. A thread that waits for its server cannot be
 * ended, and the main thread has others to care for: it stays a moment, and then they leave. */
static void let_go(struct directory *d, struct source **old, unsigned n)
{
    int64_t end = clock_mono_ms() + LEAVE_MS;
    for (unsigned i = 0; i < n; i++)
        if (old[i] != NULL && old[i]->running)
            source_ask_stop(old[i]);
    d->leaving = mem_realloc(d->leaving, (d->n_leaving + n) * sizeof(struct source *) + 1);
    for (unsigned i = 0; i < n; i++) {
        if (old[i] == NULL)
            continue;
        if (source_has_ended(old[i], end - clock_mono_ms()))
            source_close(&old[i]);
        else
            d->leaving[d->n_leaving++] = old[i];
    }
}

static void see_off(struct directory *d)
{
    unsigned stay = 0;
    for (unsigned i = 0; i < d->n_leaving; i++)
        if (source_has_ended(d->leaving[i], 0))
            source_close(&d->leaving[i]);
        else
            d->leaving[stay++] = d->leaving[i];
    d->n_leaving = stay;
}

/* Does the one before it still hold this source's files? */
static bool must_wait(const struct directory *d, unsigned i)
{
    for (unsigned k = 0; k < d->n_leaving; k++)
        if (str_eq_nocase(str_c(d->leaving[k]->c->name), str_c(d->conf->source[i].name)))
            return true;
    return false;
}

/* False: it is not there, and why, unless it has to wait. */
static bool open_slot(struct directory *d, unsigned i, struct err *e)
{
    err_clear(e);
    if (d->source[i] == NULL && !must_wait(d, i))
        d->source[i] = source_open(d, d->conf, &d->conf->source[i], d->state_dir, e);
    return d->source[i] != NULL;
}

/* The sources are others: shows that, and starts those that are new. */
static void show_sources(struct directory *d)
{
    pthread_mutex_lock(&d->publishing);
    view_replace(d, view_of_sources(d));
    tell(d, true, 0, NULL);
    pthread_mutex_unlock(&d->publishing);
    for (unsigned i = 0; d->started && i < d->n; i++)
        if (d->source[i] != NULL && !d->source[i]->running)
            source_start(d->source[i]);
}

void directory_reload(struct directory *d, const struct conf *c)
{
    struct source **old = d->source;
    unsigned n_old = d->n;
    struct source **now = mem_array(c->n_source + 1, sizeof(*now));
    for (unsigned i = 0; i < c->n_source; i++)
        now[i] = keep(old, n_old, &c->source[i]);
    /* a changed source has the same files as before: the old one lets go of them first */
    let_go(d, old, n_old);
    mem_free(old);
    conf_unref(&d->conf);
    d->conf = conf_ref((struct conf *)c);
    d->source = now;
    d->n = c->n_source;
    for (unsigned i = 0; i < d->n; i++) {
        struct err e;
        if (!open_slot(d, i, &e) && e.class != ERR_NONE)
            LOG(ERROR, c->source[i].name, "directory-source-failed", LC("error", e.text),
                LC("effect", "what it said last is used; it is tried again"));
    }
    show_sources(d);
}

bool directory_reopen(struct directory *d)
{
    unsigned missing = 0, opened = 0;
    see_off(d);
    for (unsigned i = 0; i < d->n; i++) {
        struct err e;
        if (d->source[i] != NULL)
            continue;
        bool ok = open_slot(d, i, &e);
        opened += ok;
        missing += !ok;
        if (ok)
            LOG(INFO, d->conf->source[i].name, "directory-source-reopened");
    }
    if (opened != 0)
        show_sources(d);
    return missing == 0 && d->n_leaving == 0;
}

bool directory_waits(const struct directory *d)
{
    return d->n_leaving != 0;
}

/* ---- overrides ---- */

/* Shows the outcome of a change of the overrides, all its addresses at once, and lets go of the
 * lock. */
static bool publish_overrides(struct directory *d, bool ok)
{
    struct key_set keys;
    struct wave_address *const *changed;
    unsigned n = ok ? overrides_changed(d->overrides, &changed) : 0;
    key_set_init(&keys);
    for (unsigned i = 0; i < n; i++)
        view_related_keys(d->view, changed[i]->key, key_set_add, &keys);
    if (n != 0) {
        view_replace(d, view_with(d, 0, NULL));
        tell_set(d, &keys);
    }
    key_set_free(&keys);
    overrides_tidy(d->overrides);
    pthread_mutex_unlock(&d->publishing);
    return ok;
}

/* Takes the lock; the generation that the change will have. */
static uint64_t next_generation(struct directory *d)
{
    pthread_mutex_lock(&d->publishing);
    return d->view->generation + 1;
}

bool directory_move(struct directory *d, const struct wave_order *order, uint32_t *wave,
                    struct err *e)
{
    uint64_t g = next_generation(d);
    return publish_overrides(
        d,
        overrides_order(d->overrides, order, order->at_ms != 0 || order->written ? 0 : g, wave, e));
}

bool directory_begin_wave(struct directory *d, uint32_t wave, struct err *e)
{
    uint64_t g = next_generation(d);
    return publish_overrides(d, overrides_begin(d->overrides, wave, g, e));
}

bool directory_expire_wave(struct directory *d, uint32_t wave, struct err *e)
{
    uint64_t g = next_generation(d);
    return publish_overrides(d, overrides_expire(d->overrides, wave, g, e));
}

bool directory_undo_wave(struct directory *d, uint32_t wave, struct str key, struct str who,
                         struct err *e)
{
    uint64_t g = next_generation(d);
    return publish_overrides(d, overrides_undo(d->overrides, wave, key, who, g, e));
}

bool directory_undo_keys(struct directory *d, uint32_t wave, const struct str *key, unsigned n,
                         struct str who, struct err *e)
{
    uint64_t g = next_generation(d);
    return publish_overrides(d, overrides_undo_keys(d->overrides, wave, key, n, who, g, e));
}

static bool move_one(struct directory *d, struct str key, struct str forest, struct str who,
                     struct err *e)
{
    uint32_t wave;
    const struct wave_move m = {.key = key, .forest = forest};
    const struct wave_order order = {.n = 1, .move = &m, .who = who};
    return directory_move(d, &order, &wave, e);
}

bool directory_set_override(struct directory *d, struct str key, struct str forest, struct str who,
                            struct err *e)
{
    return forest.n != 0 ? move_one(d, key, forest, who, e) : err_set(e, ERR_INPUT, 0, "no forest");
}

bool directory_unset_override(struct directory *d, struct str key, struct str who, struct err *e)
{
    const struct wave_address *now = overrides_effective(d->overrides, key);
    if (now == NULL || now->forest.n == 0)
        return err_set(e, ERR_INPUT, 0, "there is no override for this address");
    return move_one(d, key, STR_NULL, who, e);
}

const struct overrides *directory_overrides(const struct directory *d)
{
    return d->overrides;
}

/* ---- one source ---- */

struct source *directory_source(struct directory *d, struct str name)
{
    for (unsigned i = 0; i < d->n; i++)
        if (str_eq_nocase(name, str_c(d->conf->source[i].name)))
            return d->source[i];
    return NULL;
}

struct manual_box *directory_manual_box(struct directory *d, struct str source, struct err *e)
{
    struct source *s = directory_source(d, source);
    if (s != NULL && s->box != NULL)
        return manual_box_ref(s->box);
    if (s != NULL)
        err_set(e, ERR_INPUT, 0,
                "source \"%.*s\" is not of type = manual; change its directory or file instead",
                STR_ARG(source));
    else
        err_set(e, ERR_INPUT, 0, "there is no source \"%.*s\", or its files cannot be opened",
                STR_ARG(source));
    return NULL;
}

/* ---- mass changes ---- */

void directory_held(struct directory *d, const struct source *s, struct dir_stack *held)
{
    pthread_mutex_lock(&d->publishing);
    struct dir_view *v = view_with(d, 0, NULL);
    for (unsigned i = 0; i < v->n; i++)
        if (v->source[i].owner == s->id) {
            stack_unref(&v->source[i].held);
            v->source[i].held = held != NULL ? stack_ref(held) : NULL;
        }
    view_replace(d, v);
    pthread_mutex_unlock(&d->publishing);
}

static struct source *source_of(struct directory *d, struct str name, struct err *e)
{
    for (unsigned i = 0; i < d->n; i++)
        if (d->source[i] != NULL && str_eq_nocase(name, str_c(d->conf->source[i].name)))
            return d->source[i];
    err_set(e, ERR_INPUT, 0, "there is no directory source \"%.*s\"", STR_ARG(name));
    return NULL;
}

struct dir_pending *directory_pending(struct directory *d, struct str source, struct err *e)
{
    struct source *s = source_of(d, source, e);
    struct hold *h = s != NULL ? source_hold(s, true, e) : NULL;
    if (h == NULL)
        return NULL;
    pthread_mutex_lock(&d->publishing);
    struct dir_view *before = dir_view_ref(d->view), *after = view_with(d, s->id, h->after);
    pthread_mutex_unlock(&d->publishing);
    return pending_new(h, before, after);
}

struct hold *directory_accept(struct directory *d, struct str source, struct str who, struct err *e)
{
    struct source *s = source_of(d, source, e);
    struct hold *h = s != NULL ? source_accept(s, e) : NULL;
    if (h != NULL)
        LOG(WARN, s->c->name, "directory-mass-change-accepted", LS("by", who),
            LU("vanish", h->counts.vanish), LU("move", h->counts.move));
    return h;
}

bool directory_accept_next(struct directory *d, struct str source, struct str who, struct err *e)
{
    struct source *s = source_of(d, source, e);
    if (s == NULL || !source_accept_next(s, e))
        return false;
    LOG(WARN, s->c->name, "directory-next-mass-change-accepted", LS("by", who));
    return true;
}

/* ---- status ---- */

unsigned directory_contested(struct directory *d, char *one, size_t cap)
{
    struct dir_view *v = directory_view(d);
    unsigned n = contested_look(d->contested, v, one, cap);
    dir_view_unref(&v);
    return n;
}

unsigned directory_status(struct directory *d, struct dir_source_status *out, unsigned max)
{
    for (unsigned i = 0; i < d->n && i < max; i++) {
        const struct conf_source *c = &d->conf->source[i];
        if (d->source[i] != NULL) {
            source_status(d->source[i], &out[i]);
            continue;
        }
        bool waits = must_wait(d, i);
        out[i] =
            (struct dir_source_status){.state = waits ? DIR_SOURCE_STARTING : DIR_SOURCE_FAILING};
        str_copy(str_c(c->name), out[i].name, sizeof(out[i].name));
        if (!waits)
            str_copy(STR("its files cannot be opened; see the log"), out[i].last_error,
                     sizeof(out[i].last_error));
    }
    return d->n;
}
