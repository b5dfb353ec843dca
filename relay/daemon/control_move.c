/*
 * control_move.c - move, undo, set and unset: what administrators move by hand. What is ordered
 * goes to the journal of the directory (directory/override/override.h), all addresses of a command
 * as one wave.
 *
 * Refused as a whole, with nothing done: a wrong address or forest, an address that no directory
 * knows, and, unless it is for later, a blackout window. The last two can be forced.
 */
#include "relay/daemon/control_move.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/moment.h"
#include "conf/blackout.h"
#include "relay/control/facts.h"
#include "relay/daemon/control_write.h"
#include "relay/daemon/cutover.h"
#include "relay/daemon/move_plan.h"
#include "rewrite/address.h"

#define TIME_MAX_MS (INT64_C(3652) * 86400000)

static void put(json_t *o, const char *key, json_t *value)
{
    (void)json_object_set_new(o, key, value);
}

static void put_number(json_t *o, const char *key, uint64_t n)
{
    put(o, key, json_integer((json_int_t)n));
}

size_t control_key(const char *text, char key[ADDRESS_MAX + 1])
{
    struct address a;
    if (address_parse(str_c(text), ADDRESS_ALLOW_UTF8 | ADDRESS_ALLOW_POSTMASTER, &a) != ADDRESS_OK)
        return 0;
    return address_key(&a, key, ADDRESS_MAX + 1);
}

/* Ends the request if nothing may move now. */
static bool refused_by_blackout(struct daemon *d, struct control_req *r, bool force)
{
    const char *window = "";
    char when[24];
    int64_t end = blackout_end(d->conf->blackout, d->conf->n_blackout, clock_wall_ms(), &window);
    if (end == 0 || force)
        return false;
    moment_print(end, when, sizeof(when));
    control_error(r, CONTROL_ERR_UNAVAILABLE,
                  "nothing moves until %s (blackout \"%s\"); --force does it all the same", when,
                  window);
    return true;
}

/* ---- move ---- */

struct move {
    struct daemon *d;
    struct control_req *r;
    struct move_plan plan;
    bool every; /* item is shown, not only those that are worth a word */
    bool write;
    unsigned at;
    json_t *result;   /* the end, or: */
    unsigned unknown; /* so many stand in the way */
};

static void move_free(struct move *m)
{
    move_plan_free(&m->plan);
    json_decref(m->result);
    mem_free(m);
}

static bool is_worth_a_word(const struct move *m, const struct move_item *i)
{
    if (m->unknown != 0)
        return i->kind == MOVE_UNKNOWN || i->kind == MOVE_UNSURE;
    return m->every || i->kind != MOVE_GOES || i->warning != NULL;
}

static json_t *item_fact(const struct move *m, const struct move_item *i)
{
    json_t *o = move_plan_fact(&m->plan, i);
    if (m->write)
        put(o, "writes", control_write_fact(m->plan.view, i->key, i->forest));
    return o;
}

/* The items at the client's pace, then the end. */
static void move_show(void *arg, struct control_req *r)
{
    struct move *m = arg;
    bool more = true;
    for (; more && m->at < m->plan.n; m->at++)
        if (is_worth_a_word(m, &m->plan.item[m->at]))
            more = control_item(r, item_fact(m, &m->plan.item[m->at]));
    if (m->at < m->plan.n && !control_is_gone(r)) {
        control_wait(r, move_show, m);
        return;
    }
    if (m->unknown != 0) {
        control_error(
            r, CONTROL_ERR_NOT_FOUND,
            "%u of %u addresses are not known to any directory; nothing was done. --force "
            "moves them all the same",
            m->unknown, m->plan.n);
    } else {
        control_reply(r, m->result);
        m->result = NULL;
    }
    move_free(m);
}

static bool goes(const struct move_plan *p, unsigned i, bool later)
{
    /* who is there now may be elsewhere when the time comes */
    return p->item[i].kind != MOVE_THERE || later;
}

static unsigned make_moves(const struct move_plan *p, bool later, struct wave_move *out)
{
    unsigned n = 0;
    for (unsigned i = 0; i < p->n; i++)
        if (goes(p, i, later))
            out[n++] = (struct wave_move){
                .key = p->item[i].key,
                .forest = str_c(dir_view_conf(p->view)->forest[p->item[i].forest].name)};
    return n;
}

static void describe(struct move *m, const struct wave_order *o, bool dry_run)
{
    const struct move_plan *p = &m->plan;
    m->result = json_object();
    put(m->result, "dry_run", json_boolean(dry_run));
    put_number(m->result, "ordered", p->n);
    put_number(m->result, "moved", o->n);
    put_number(m->result, "there", p->count[MOVE_THERE]);
    put_number(m->result, "unknown", p->count[MOVE_UNKNOWN] + p->count[MOVE_UNSURE]);
    put_number(m->result, "warnings", p->n_warnings);
    put(m->result, "at", fact_time(o->at_ms));
    put(m->result, "until", fact_time(o->until_ms));
    int64_t begin = o->at_ms != 0 ? o->at_ms : clock_wall_ms();
    put(m->result, "waits_until",
        fact_time(blackout_end(m->d->conf->blackout, m->d->conf->n_blackout, begin, NULL)));
}

static bool move_order(struct move *m, const struct wave_order *o, struct err *e)
{
    struct directory *dir = m->d->directory;
    uint32_t wave = 0;
    if (o->n != 0 && !directory_move(dir, o, &wave, e))
        return false;
    put_number(m->result, "wave", wave);
    put_number(m->result, "generation", directory_generation(dir));
    char at[40] = "now", until[40] = "ever";
    if (o->at_ms != 0)
        clock_rfc3339(o->at_ms, at, sizeof(at));
    if (o->until_ms != 0)
        clock_rfc3339(o->until_ms, until, sizeof(until));
    if (o->n != 0)
        LOG(INFO, NULL, "wave-ordered", LU("wave", wave), LU("addresses", o->n),
            LS("forest", o->move[0].forest), LC("at", at), LC("until", until), LS("by", o->who),
            LS("why", o->why));
    cutover_look(m->d->cutover);
    return true;
}

static bool times_are_fine(const struct control_args *a, struct err *e)
{
    char text[24];
    if (a->write && (a->at_ms != 0 || a->for_ms >= 0))
        return err_set(e, ERR_INPUT, 0,
                       "--write changes the directory at once; --at and --for go without it");
    moment_print(a->at_ms, text, sizeof(text));
    if (a->at_ms != 0 && a->at_ms <= clock_wall_ms())
        return err_set(e, ERR_INPUT, 0, "--at: %s is past", text);
    if (a->at_ms > clock_wall_ms() + TIME_MAX_MS)
        return err_set(e, ERR_INPUT, 0, "--at: %s is more than ten years away", text);
    if (a->for_ms == 0 || a->for_ms > TIME_MAX_MS)
        return err_set(e, ERR_INPUT, 0, "--for: must be longer than 0 and at most ten years");
    return true;
}

void control_move(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct daemon *d = ctx;
    struct err e;
    if (a->at_ms == 0 && !a->dry_run && refused_by_blackout(d, r, a->force))
        return;
    struct move *m = NEW(struct move);
    *m = (struct move){.d = d, .r = r, .every = a->dry_run, .write = a->write};
    if (!times_are_fine(a, &e) || !move_plan_make(d->directory, a, &m->plan, &e)) {
        control_error(r, CONTROL_ERR_ARGUMENT, "%s; nothing was done", e.text);
        move_free(m);
        return;
    }
    struct wave_move *moves = mem_array(m->plan.n + 1, sizeof(*moves));
    struct wave_order o = {
        .move = moves, .who = str_c(control_who(r)), .why = str_c(a->why), .at_ms = a->at_ms};
    o.n = make_moves(&m->plan, a->at_ms != 0, moves);
    if (a->for_ms > 0)
        o.until_ms = (a->at_ms != 0 ? a->at_ms : clock_wall_ms()) + a->for_ms;
    unsigned unknown = m->plan.count[MOVE_UNKNOWN] + m->plan.count[MOVE_UNSURE];
    describe(m, &o, a->dry_run);
    if (!a->dry_run && !a->force)
        m->unknown = unknown;
    bool only_shown = a->dry_run || m->unknown != 0;
    if (a->write && !only_shown) {
        control_write_move(d, r, &m->plan, a);
        mem_free(moves);
        move_free(m);
        return;
    }
    bool ok = only_shown || move_order(m, &o, &e);
    mem_free(moves);
    if (ok) {
        move_show(m, r);
        return;
    }
    control_error(r, CONTROL_ERR_FAILED, "%s; nothing was done", e.text);
    move_free(m);
}

/* ---- one address ---- */

void control_set(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct daemon *d = ctx;
    char key[ADDRESS_MAX + 1];
    uint32_t wave;
    struct err e;
    int forest = conf_find_forest(d->conf, str_c(a->forest));
    if (forest == CONF_NONE) {
        control_error(r, CONTROL_ERR_ARGUMENT, "there is no forest \"%s\" in the configuration",
                      a->forest);
        return;
    }
    if (refused_by_blackout(d, r, a->force))
        return;
    struct str name = str_c(d->conf->forest[forest].name);
    const struct wave_move m = {.key = str_n(key, control_key(a->address, key)), .forest = name};
    const struct wave_order o = {
        .n = 1, .move = &m, .who = str_c(control_who(r)), .why = str_c(a->why)};
    if (!directory_move(d->directory, &o, &wave, &e)) {
        control_error(r, CONTROL_ERR_FAILED, "%s", e.text);
        return;
    }
    LOG(INFO, NULL, "override-set", LC("address", a->address), LS("forest", name), LU("wave", wave),
        LC("by", control_who(r)));
    json_t *out = json_object();
    put(out, "address", fact_text(str_c(a->address)));
    put(out, "forest", fact_text(name));
    put_number(out, "wave", wave);
    put_number(out, "generation", directory_generation(d->directory));
    control_reply(r, out);
}

void control_unset(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct daemon *d = ctx;
    char key[ADDRESS_MAX + 1];
    uint32_t wave;
    struct err e;
    const struct wave_move m = {.key = str_n(key, control_key(a->address, key))};
    const struct wave_order o = {
        .n = 1, .move = &m, .who = str_c(control_who(r)), .why = str_c(a->why)};
    const struct wave_address *now = overrides_effective(directory_overrides(d->directory), m.key);
    if (now == NULL || now->forest.n == 0) {
        control_error(r, CONTROL_ERR_NOT_FOUND, "there is no override for this address");
        return;
    }
    if (refused_by_blackout(d, r, a->force))
        return;
    if (!directory_move(d->directory, &o, &wave, &e)) {
        control_error(r, CONTROL_ERR_FAILED, "%s", e.text);
        return;
    }
    LOG(INFO, NULL, "override-unset", LC("address", a->address), LU("wave", wave),
        LC("by", control_who(r)));
    json_t *out = json_object();
    put(out, "address", fact_text(str_c(a->address)));
    put_number(out, "wave", wave);
    put_number(out, "generation", directory_generation(d->directory));
    control_reply(r, out);
}

/* ---- undo ---- */

/* The last wave that can be taken back. */
static const struct wave *last_wave(const struct overrides *o)
{
    const struct wave *w, *last = NULL;
    for (unsigned i = 0; (w = overrides_wave(o, i)) != NULL; i++)
        if (w->state == WAVE_PENDING || w->state == WAVE_ACTIVE)
            last = w;
    return last;
}

/* What "undo WHAT" means. False: the request was ended. */
static bool find_undone(struct daemon *d, struct control_req *r, const char *what, uint32_t *wave,
                        struct str *key, char room[ADDRESS_MAX + 1])
{
    const struct overrides *o = directory_overrides(d->directory);
    uint64_t number;
    *key = STR_NULL;
    if (what[0] == '\0') {
        const struct wave *w = last_wave(o);
        *wave = w != NULL ? w->id : 0;
        if (w == NULL)
            control_error(r, CONTROL_ERR_NOT_FOUND, "there is no move to take back");
        return w != NULL;
    }
    if (str_to_u64(str_c(what), UINT32_MAX - 1, &number)) {
        *wave = (uint32_t)number;
        return true;
    }
    *key = str_n(room, control_key(what, room));
    const struct wave_address *a = overrides_find_key(o, *key);
    *wave = a != NULL ? a->wave->id : 0;
    if (a == NULL)
        control_error(r, CONTROL_ERR_NOT_FOUND, "%s was not moved by hand", what);
    return a != NULL;
}

struct counts {
    unsigned left, effective; /* addresses of the wave; those that are where it says */
};

static struct counts count(const struct overrides *o, const struct wave *w, struct str key)
{
    struct counts c = {0};
    for (unsigned i = 0; w != NULL && i < w->n; i++) {
        const struct wave_address *a = &w->address[i];
        if (a->undone || (key.n != 0 && !str_eq(key, a->key)))
            continue;
        c.left++;
        c.effective += overrides_effective(o, a->key) == a;
    }
    return c;
}

void control_undo(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct daemon *d = ctx;
    const struct overrides *o = directory_overrides(d->directory);
    char room[ADDRESS_MAX + 1];
    struct str key;
    uint32_t id;
    struct err e;
    if (!find_undone(d, r, a->moved, &id, &key, room))
        return;
    const struct wave *w = overrides_find(o, id);
    bool pending = w != NULL && w->state == WAVE_PENDING;
    struct counts n = count(o, w, key);
    if (w != NULL && !pending && refused_by_blackout(d, r, a->force))
        return;
    if (w != NULL && w->written && n.left != 0) {
        control_write_undo(d, r, w, key, a->force);
        return;
    }
    if (!directory_undo_wave(d->directory, id, key, str_c(control_who(r)), &e)) {
        control_error(r, e.class == ERR_INPUT ? CONTROL_ERR_NOT_FOUND : CONTROL_ERR_FAILED, "%s",
                      e.text);
        return;
    }
    LOG(INFO, NULL, "wave-undone", LU("wave", id), LS("address", key), LU("addresses", n.left),
        LU("changed", n.effective), LC("by", control_who(r)));
    cutover_look(d->cutover);
    json_t *out = json_object();
    put_number(out, "wave", id);
    put(out, "address", fact_text(key));
    put(out, "pending", json_boolean(pending));
    put_number(out, "addresses", n.left);
    put_number(out, "changed", n.effective);
    put_number(out, "generation", directory_generation(d->directory));
    control_reply(r, out);
}
