/*
 * override_wave.c - what the lines of the journal mean: waves, and for each address the chain of
 * waves that name it, newest first. Reading the journal and changing it go through waves_apply()
 * alike, so that a restart finds exactly what was there.
 */
#include "directory/override/override_int.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "rewrite/address.h"

#define TEXT_MAX 500 /* octets of who and why that are kept of a line */

const char *wave_state_text(enum wave_state s)
{
    static const char *const text[] = {[WAVE_PENDING] = "pending",
                                       [WAVE_ACTIVE] = "active",
                                       [WAVE_EXPIRED] = "expired",
                                       [WAVE_UNDONE] = "undone",
                                       [WAVE_REPLACED] = "replaced"};
    return text[s];
}

bool wave_key_split(struct str key, struct dir_address *out)
{
    long at = str_rfind(key, '@');
    if (at <= 0 || (size_t)at + 1 == key.n || key.n > ADDRESS_MAX)
        return false;
    for (size_t i = 0; i < key.n; i++)
        if ((unsigned char)key.p[i] < ' ' || key.p[i] == 0x7f)
            return false;
    *out = (struct dir_address){str_upto(key, (size_t)at), str_from(key, (size_t)at + 1)};
    return true;
}

/* ---- lifetime ---- */

/* What an address is found by, and what undo writes back, is kept whole. */
static struct str keep_whole(struct wave *w, struct str s)
{
    return s.n != 0 ? arena_str(&w->arena, s) : STR_NULL;
}

/* Of what is only shown, not more than is of use. */
static struct str keep(struct wave *w, struct str s)
{
    return s.n != 0 ? arena_str(&w->arena, str_upto(s, s.n < TEXT_MAX ? s.n : TEXT_MAX)) : STR_NULL;
}

static struct wave *wave_new(const struct override_line *l, uint32_t id)
{
    struct wave *w = NEW(struct wave);
    arena_init(&w->arena, 4096, 0);
    w->id = id;
    w->made_ms = l->time_ms;
    w->at_ms = l->at_ms;
    w->until_ms = l->until_ms;
    w->generation = l->generation;
    w->who = keep(w, l->who);
    w->why = keep(w, l->why);
    w->forest = keep(w, l->forest);
    return w;
}

static void wave_free(struct wave *w)
{
    arena_free(&w->arena);
    mem_free(w->address);
    mem_free(w);
}

void waves_init(struct waves *w)
{
    *w = (struct waves){0};
    hashmap_init(&w->top, false);
}

void waves_free(struct waves *w)
{
    waves_drop_open(w);
    for (unsigned i = 0; i < w->n; i++)
        wave_free(w->wave[i]);
    mem_free(w->wave);
    mem_free(w->changed);
    hashmap_free(&w->top);
    waves_init(w);
}

void waves_drop_open(struct waves *w)
{
    if (w->open != NULL)
        wave_free(w->open);
    w->open = NULL;
}

/* How many waves have this number or a lower one. */
static unsigned waves_after(const struct waves *w, uint32_t id)
{
    unsigned low = 0, high = w->n;
    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        if (w->wave[mid]->id <= id)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static void waves_add(struct waves *w, struct wave *one)
{
    if (w->n == w->cap) {
        w->cap = w->cap == 0 ? 64 : w->cap * 2;
        w->wave = mem_realloc(w->wave, w->cap * sizeof(struct wave *));
    }
    /* mostly at the end; a journal that was written down again has another order */
    unsigned at = waves_after(w, one->id);
    memmove(w->wave + at + 1, w->wave + at, (w->n++ - at) * sizeof(struct wave *));
    w->wave[at] = one;
    if (w->last_id < one->id)
        w->last_id = one->id;
}

struct wave *waves_find(const struct waves *w, uint32_t id)
{
    unsigned after = waves_after(w, id);
    return after > 0 && w->wave[after - 1]->id == id ? w->wave[after - 1] : NULL;
}

/* ---- chains ---- */

static uint64_t hash_of(struct str key)
{
    return hash64(key.p, key.n);
}

static struct wave_address *top_of(const struct waves *w, uint64_t hash)
{
    uint64_t *v = hashmap_find(&w->top, hash);
    return v != NULL ? (struct wave_address *)(uintptr_t)*v : NULL;
}

static bool counts(const struct wave_address *a)
{
    return a->wave->state == WAVE_ACTIVE && !a->undone && !a->wave->written;
}

struct wave_address *waves_effective(const struct waves *w, struct str key)
{
    struct wave_address *a = top_of(w, hash_of(key));
    while (a != NULL && !(counts(a) && str_eq(a->key, key)))
        a = a->below;
    return a;
}

struct wave_address *waves_find_key(const struct waves *w, struct str key)
{
    struct wave_address *a = top_of(w, hash_of(key));
    while (a != NULL && !str_eq(a->key, key))
        a = a->below;
    return a;
}

/* The address of this wave that is not taken away; NULL if there is none. */
static struct wave_address *find_of(const struct waves *w, const struct wave *one, struct str key)
{
    struct wave_address *a = top_of(w, hash_of(key));
    while (a != NULL && !(a->wave == one && str_eq(a->key, key)))
        a = a->below;
    return a;
}

bool waves_names(const struct waves *w, const struct wave *one, struct str key)
{
    return find_of(w, one, key) != NULL;
}

static void link_on_top(struct waves *w, struct wave_address *a)
{
    uint64_t hash = hash_of(a->key);
    a->below = top_of(w, hash);
    hashmap_set(&w->top, hash, (uint64_t)(uintptr_t)a);
}

static void unlink_address(struct waves *w, struct wave_address *a)
{
    uint64_t hash = hash_of(a->key);
    struct wave_address *p = top_of(w, hash);
    if (p == a) {
        hashmap_set(&w->top, hash, (uint64_t)(uintptr_t)a->below);
        return;
    }
    while (p != NULL && p->below != a)
        p = p->below;
    if (p != NULL)
        p->below = a->below;
}

static void note_change(struct waves *w, struct wave_address *a)
{
    if (w->n_changed == w->cap_changed) {
        w->cap_changed = w->cap_changed == 0 ? 16 : w->cap_changed * 2;
        w->changed = mem_realloc(w->changed, w->cap_changed * sizeof(struct wave_address *));
    }
    w->changed[w->n_changed++] = a;
}

/* ---- what lines do ---- */

static bool add_address(struct waves *w, const struct override_line *l)
{
    struct dir_address split;
    struct str forest = l->action == OVERRIDE_UNSET ? STR_NULL : l->forest;
    if (!wave_key_split(l->key, &split) || forest.n > DIR_FLAG_MAX ||
        (forest.n == 0 && l->action != OVERRIDE_UNSET))
        return false;
    if (w->open != NULL && w->open->id != l->wave)
        waves_drop_open(w); /* never committed */
    if (w->open == NULL)
        w->open = wave_new(l, l->wave != 0 ? l->wave : w->last_id + 1);
    struct wave *one = w->open;
    one->state = l->action == OVERRIDE_PLAN ? WAVE_PENDING : WAVE_ACTIVE;
    one->written = l->action == OVERRIDE_WRITE;
    if ((one->n & (one->n + 1)) == 0) /* room for the next power of two */
        one->address = mem_realloc(one->address, (one->n + 1) * 2 * sizeof(*one->address));
    one->address[one->n++] = (struct wave_address){.wave = one,
                                                   .key = keep_whole(one, l->key),
                                                   .forest = keep_whole(one, forest),
                                                   .previous = keep_whole(one, l->previous)};
    return true;
}

static void mark_begun(struct waves *w, struct wave *one, int64_t when_ms)
{
    one->state = WAVE_ACTIVE;
    one->begun_ms = when_ms;
    one->order = ++w->last_order;
}

/* What a commit line says of the number of addresses must be what was read: of an order that was
 * never acknowledged, a page in the middle may be lost though its end is there. Older versions
 * wrote only the number ordered, of which fewer may have been left. */
static bool is_whole(struct wave *one, const struct override_line *l)
{
    uint64_t n = 0, made = 0;
    one->n_made = one->n_left = one->n;
    if (l->action != OVERRIDE_COMMIT)
        return true; /* a line is a wave */
    if (!str_to_u64(l->previous, UINT32_MAX, &n))
        return false;
    if (l->key.n == 0) {
        one->n_made = (unsigned)n;
        return one->n <= n;
    }
    bool ok = str_to_u64(l->key, UINT32_MAX, &made);
    one->n_made = (unsigned)made;
    return ok && one->n == n && n <= made;
}

static bool commit(struct waves *w, const struct override_line *l)
{
    struct wave *one = w->open;
    if (one == NULL || l->wave != (l->action == OVERRIDE_COMMIT ? one->id : 0) ||
        waves_find(w, one->id) != NULL || !is_whole(one, l)) {
        waves_drop_open(w);
        return false;
    }
    w->open = NULL;
    one->order = ++w->last_order;
    if (one->state == WAVE_ACTIVE)
        mark_begun(w, one, one->made_ms);
    waves_add(w, one);
    for (unsigned i = 0; i < one->n; i++) {
        link_on_top(w, &one->address[i]);
        if (counts(&one->address[i]))
            note_change(w, &one->address[i]);
    }
    return true;
}

static bool begin(struct waves *w, const struct override_line *l)
{
    struct wave *one = waves_find(w, l->wave);
    if (one == NULL || one->state != WAVE_PENDING)
        return false;
    mark_begun(w, one, l->time_ms);
    one->generation = l->generation;
    for (unsigned i = 0; i < one->n; i++) {
        struct wave_address *a = &one->address[i];
        if (a->undone)
            continue;
        unlink_address(w, a);
        link_on_top(w, a);
        note_change(w, a);
    }
    return true;
}

static void take_away(struct waves *w, struct wave_address *a)
{
    if (a->undone)
        return;
    if (waves_effective(w, a->key) == a)
        note_change(w, a);
    unlink_address(w, a);
    a->undone = true;
    a->wave->n_left--;
}

/* All of one key in a wave: a written one has it once for each source. */
static bool take_key_away(struct waves *w, const struct wave *one, struct str key)
{
    struct wave_address *a;
    bool found = false;
    for (; (a = find_of(w, one, key)) != NULL; found = true)
        take_away(w, a);
    return found;
}

static bool end(struct waves *w, const struct override_line *l)
{
    struct wave *one = waves_find(w, l->wave);
    bool found = one != NULL && one->n == 0 && one->state == WAVE_REPLACED;
    if (one == NULL || (one->state != WAVE_PENDING && one->state != WAVE_ACTIVE && !found))
        return false;
    if (l->key.n != 0) {
        found = take_key_away(w, one, l->key) || found;
    } else {
        found = found || one->n_left != 0;
        for (unsigned i = 0; i < one->n; i++)
            take_away(w, &one->address[i]);
    }
    one->generation = l->generation;
    if (one->n_left != 0)
        return found;
    one->state = l->action == OVERRIDE_EXPIRE ? WAVE_EXPIRED : WAVE_UNDONE;
    one->ended_ms = l->time_ms;
    one->ended_by = keep(one, l->who);
    return found;
}

/* Of a wave that ended, the line that says how comes next. */
static bool past(struct waves *w, const struct override_line *l)
{
    uint64_t n = 0;
    if (l->wave == 0 || waves_find(w, l->wave) != NULL || !str_to_u64(l->previous, UINT32_MAX, &n))
        return false;
    struct wave *one = wave_new(l, l->wave);
    one->state = WAVE_REPLACED;
    one->n_made = (unsigned)n;
    one->begun_ms = l->at_ms != 0 ? l->at_ms : l->time_ms;
    waves_add(w, one);
    return true;
}

bool waves_apply(struct waves *w, const struct override_line *l)
{
    if (l->action >= OVERRIDE_BEGIN) /* the lines of a wave stand together */
        waves_drop_open(w);
    switch (l->action) {
    case OVERRIDE_SET:
    case OVERRIDE_UNSET:
        if (l->wave != 0)
            return add_address(w, l);
        if (w->open != NULL) { /* between the lines of a wave: what is left of one of them */
            waves_drop_open(w);
            return false;
        }
        return add_address(w, l) && commit(w, l);
    case OVERRIDE_PLAN:
    case OVERRIDE_WRITE:
        return l->wave != 0 && add_address(w, l);
    case OVERRIDE_COMMIT:
        return commit(w, l);
    case OVERRIDE_BEGIN:
        return begin(w, l);
    case OVERRIDE_EXPIRE:
    case OVERRIDE_UNDO:
        return end(w, l);
    case OVERRIDE_PAST:
        return past(w, l);
    }
    return false;
}

/* ---- forgetting ---- */

/* Not the newest few of an address, and others lie on it for good. */
static void forget_deep(struct waves *w, uint64_t hash)
{
    unsigned for_good = 0;
    for (struct wave_address *a = top_of(w, hash), *next; a != NULL; a = next) {
        next = a->below;
        if (for_good > OVERRIDE_KEPT_BELOW && counts(a)) {
            unlink_address(w, a);
            a->undone = true;
            a->wave->n_left--;
        }
        for_good += counts(a) && a->wave->until_ms == 0;
    }
}

/* Only the headline of a wave is left. */
static void shrink(struct wave *one)
{
    mem_free(one->address);
    one->address = NULL;
    one->n = 0;
    if (one->state == WAVE_ACTIVE || one->state == WAVE_PENDING)
        one->state = WAVE_REPLACED;
}

void waves_prune(struct waves *w)
{
    unsigned n_past = 0, kept = 0;
    w->n_changed = 0;
    for (size_t i = 0; i < w->top.cap; i++)
        if (w->top.key[i] != 0)
            forget_deep(w, w->top.key[i]);
    for (unsigned i = 0; i < w->n; i++) {
        if (w->wave[i]->n_left == 0)
            shrink(w->wave[i]);
        n_past += w->wave[i]->n == 0;
    }
    for (unsigned i = 0; i < w->n; i++) {
        if (w->wave[i]->n == 0 && n_past > OVERRIDE_PAST_MAX) {
            n_past--;
            wave_free(w->wave[i]);
        } else {
            w->wave[kept++] = w->wave[i];
        }
    }
    w->n = kept;
}
