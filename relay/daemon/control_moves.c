/*
 * control_moves.c - the journal of moves, for `causewayctl moves` and `explain`.
 */
#include "relay/daemon/control_move.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/moment.h"
#include "conf/blackout.h"
#include "relay/control/facts.h"

static void put(json_t *o, const char *key, json_t *value)
{
    (void)json_object_set_new(o, key, value);
}

/* Who and why are kept escaped already. */
static json_t *kept_text(struct str s)
{
    json_t *j = json_stringn(s.n != 0 ? s.p : "", s.n);
    return j != NULL ? j : json_string("");
}

static int64_t due(const struct wave *w)
{
    return w->state == WAVE_PENDING ? w->at_ms : w->state == WAVE_ACTIVE ? w->until_ms : 0;
}

/* When what is due next will be done, if a blackout is on at that time; else 0. */
static int64_t waits_until(const struct daemon *d, const struct wave *w)
{
    int64_t at = due(w), now = clock_wall_ms();
    if (at == 0)
        return 0;
    return blackout_end(d->conf->blackout, d->conf->n_blackout, at > now ? at : now, NULL);
}

static json_t *wave_fact(const struct daemon *d, const struct wave *w)
{
    unsigned left = 0;
    for (unsigned i = 0; i < w->n; i++)
        left += !w->address[i].undone;
    json_t *o = json_object();
    put(o, "wave", json_integer(w->id));
    put(o, "state", json_string(wave_state_text(w->state)));
    put(o, "forest", fact_text(w->forest));
    put(o, "addresses", json_integer(w->n_made));
    put(o, "left", json_integer(left));
    put(o, "first", fact_text(w->n != 0 ? w->address[0].key : STR_NULL));
    put(o, "written", json_boolean(w->written));
    put(o, "who", kept_text(w->who));
    put(o, "why", kept_text(w->why));
    put(o, "made", fact_time(w->made_ms));
    put(o, "at", fact_time(w->at_ms));
    put(o, "begun", fact_time(w->begun_ms));
    put(o, "until", fact_time(w->until_ms));
    put(o, "waits_until", fact_time(waits_until(d, w)));
    put(o, "ended", fact_time(w->ended_ms));
    put(o, "ended_by", kept_text(w->ended_by));
    put(o, "generation", json_integer((json_int_t)w->generation));
    return o;
}

/* ---- lists ---- */

struct listing {
    struct daemon *d;
    struct control_req *r;
    const struct control_args *args;
    uint32_t wave; /* not 0: its addresses */
    char key[ADDRESS_MAX + 1];
    size_t n_key;
    uint32_t last; /* the last wave shown, or the number of addresses shown */
    uint64_t count;
    bool complete;
};

static bool names(const struct wave *w, struct str key)
{
    for (unsigned i = 0; i < w->n; i++)
        if (str_eq(w->address[i].key, key))
            return true;
    return false;
}

static bool is_wanted(const struct listing *l, const struct wave *w)
{
    const struct control_args *a = l->args;
    return (a->wave_state < 0 || a->wave_state == (int)w->state) &&
           (a->who[0] == '\0' || str_eq(str_c(a->who), w->who)) &&
           (l->n_key == 0 || names(w, str_n(l->key, l->n_key)));
}

static void list_end(struct listing *l)
{
    json_t *o = json_object();
    if (l->wave != 0) {
        const struct wave *w = overrides_find(directory_overrides(l->d->directory), l->wave);
        put(o, "wave", w != NULL ? wave_fact(l->d, w) : json_null());
    }
    put(o, "count", json_integer((json_int_t)l->count));
    put(o, "complete", json_boolean(l->complete));
    control_reply(l->r, o);
    mem_free(l);
}

/* With more than may be shown, the newest. */
static void skip_oldest(struct listing *l)
{
    const struct overrides *o = directory_overrides(l->d->directory);
    const struct wave *w;
    uint64_t n = 0;
    for (unsigned i = 0; (w = overrides_wave(o, i)) != NULL; i++)
        n += is_wanted(l, w);
    if (l->args->limit == 0 || n <= l->args->limit)
        return;
    n -= l->args->limit;
    l->complete = false;
    for (unsigned i = 0; n != 0 && (w = overrides_wave(o, i)) != NULL; i++) {
        n -= is_wanted(l, w);
        l->last = w->id;
    }
}

/* The waves after the last one shown: they may change while the client reads. */
static void list_waves(void *arg, struct control_req *r)
{
    struct listing *l = arg;
    const struct overrides *o = directory_overrides(l->d->directory);
    const struct wave *w;
    bool more = true;
    for (unsigned i = 0; more && !control_is_gone(r) && (w = overrides_wave(o, i)) != NULL; i++) {
        if (w->id <= l->last || !is_wanted(l, w))
            continue;
        l->last = w->id;
        l->count++;
        more = control_item(r, wave_fact(l->d, w));
    }
    if (!more && !control_is_gone(r))
        control_wait(r, list_waves, l);
    else
        list_end(l);
}

static json_t *address_fact(const struct overrides *o, const struct wave_address *a)
{
    json_t *j = json_object();
    bool counts = overrides_effective(o, a->key) == a;
    put(j, "address", fact_text(a->key));
    put(j, "forest", fact_text(a->forest));
    put(j, "previous", fact_text(a->previous));
    put(j, "state",
        json_string(a->undone ? "undone"
                    : counts || a->wave->written || a->wave->state == WAVE_PENDING
                        ? wave_state_text(a->wave->state)
                        : "moved since"));
    return j;
}

static bool one_more(struct listing *l)
{
    l->complete = l->args->limit == 0 || l->count < l->args->limit;
    l->count += l->complete;
    return l->complete;
}

static void list_addresses(void *arg, struct control_req *r)
{
    struct listing *l = arg;
    const struct overrides *o = directory_overrides(l->d->directory);
    const struct wave *w = overrides_find(o, l->wave);
    bool more = true;
    for (; w != NULL && more && l->last < w->n && !control_is_gone(r) && one_more(l); l->last++)
        more = control_item(r, address_fact(o, &w->address[l->last]));
    if (!more && !control_is_gone(r))
        control_wait(r, list_addresses, l);
    else
        list_end(l);
}

void control_moves(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct daemon *d = ctx;
    uint64_t wave = 0;
    if (str_to_u64(str_c(a->moved), UINT32_MAX - 1, &wave) &&
        overrides_find(directory_overrides(d->directory), (uint32_t)wave) == NULL) {
        control_error(r, CONTROL_ERR_NOT_FOUND, "there is no wave %s", a->moved);
        return;
    }
    struct listing *l = NEW(struct listing);
    *l = (struct listing){.d = d, .r = r, .args = a, .wave = (uint32_t)wave, .complete = true};
    if (a->moved[0] != '\0' && wave == 0)
        l->n_key = control_key(a->moved, l->key);
    if (l->wave != 0) {
        list_addresses(l, r);
    } else {
        skip_oldest(l);
        list_waves(l, r);
    }
}

/* ---- explain ---- */

static void explain_one(struct daemon *d, const struct wave_address *a, bool counts,
                        json_t *reasons)
{
    const struct wave *w = a->wave;
    struct buf b = BUF_INIT(2000);
    char when[24], then[24];
    moment_print(counts ? w->begun_ms : w->at_ms, when, sizeof(when));
    if (counts)
        buf_printf(&b, "moved by hand since %s: wave %u by ", when, w->id);
    else
        buf_printf(&b, "moves to forest \"%.*s\" at %s: wave %u by ", STR_ARG(a->forest), when,
                   w->id);
    buf_printf(&b, "%.*s%s%.*s%s", STR_ARG(w->who), w->why.n != 0 ? " (" : "", STR_ARG(w->why),
               w->why.n != 0 ? ")" : "");
    moment_print(w->until_ms, then, sizeof(then));
    if (w->until_ms != 0)
        buf_printf(&b, "; back at %s", then);
    int64_t waits = waits_until(d, w);
    moment_print(waits, then, sizeof(then));
    if (waits != 0)
        buf_printf(&b, "; a blackout holds that up until %s", then);
    (void)json_array_append_new(reasons, json_string(buf_cstr(&b)));
    buf_free(&b);
}

static void explain_key(struct daemon *d, struct str key, json_t *reasons)
{
    const struct overrides *o = directory_overrides(d->directory);
    const struct wave_address *counts = overrides_effective(o, key);
    const struct wave_address *a = overrides_find_key(o, key);
    for (; a != NULL; a = a->below)
        if (str_eq(a->key, key) && (a == counts || a->wave->state == WAVE_PENDING))
            explain_one(d, a, a == counts, reasons);
}

void control_moves_explain(struct daemon *d, const char *address, json_t *reasons)
{
    char room[ADDRESS_MAX + 1];
    struct str key = str_n(room, control_key(address, room));
    struct dir_view *view = directory_view(d->directory);
    struct dir_result *r = mem_alloc(sizeof(*r));
    dir_view_lookup(view, key, clock_mono_ms(), r);
    explain_key(d, key, reasons);
    /* an override counts for the person: it may stand at another of the addresses */
    if (r->n_claims != 0 && !str_eq(r->claim[0].primary, key))
        explain_key(d, r->claim[0].primary, reasons);
    mem_free(r);
    dir_view_unref(&view);
}
