/*
 * queue_world.c - see queue_world.h. It takes the place of relay/io's loop: timers and end-of-turn
 * work on a clock that only world_run() moves.
 */
#include "tests/unit/queue_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "relay/spool/spool.h"

/* ---- the loop ---- */

struct loop {
    int64_t now;
    struct heap timers;
    struct list tasks;
};

int64_t loop_now_ms(const struct loop *l)
{
    return l->now;
}
void loop_timer_init(struct loop_timer *t, struct loop *l, loop_timer_fn *fn)
{
    *t = (struct loop_timer){.loop = l, .fn = fn};
}
void loop_timer_set(struct loop_timer *t, int64_t delay_ms)
{
    assert_true(delay_ms >= 0);
    heap_set(&t->loop->timers, &t->node, t->loop->now + delay_ms);
}
void loop_timer_clear(struct loop_timer *t)
{
    heap_remove(&t->loop->timers, &t->node);
}
void loop_task_add(struct loop *l, struct loop_task *t)
{
    if (!list_node_is_linked(&t->node))
        list_push_back(&l->tasks, &t->node);
}
void loop_task_cancel(struct loop_task *t)
{
    list_remove(&t->node);
}

static void run_tasks(struct loop *l)
{
    for (struct list_node *n; (n = list_pop_front(&l->tasks)) != NULL;) {
        struct loop_task *t = CONTAINER_OF(n, struct loop_task, node);
        t->fn(t);
    }
}

/* ---- the spool ---- */

void spool_id_text(uint64_t id, char dst[14])
{
    (void)snprintf(dst, 14, "%013" PRIu64, id % 10000000000000u);
}

struct world_msg *world_msg(struct world *w, uint64_t id)
{
    assert_in_range(id, 1, w->n_msg);
    return &w->msg[id - 1];
}

static bool op_load(void *ctx, uint64_t id, struct buf *out, bool *gone)
{
    struct world *w = ctx;
    struct world_msg *m = world_msg(w, id);
    w->loads++;
    m->loads++;
    *gone = m->gone;
    if (m->gone)
        return false;
    if (w->fail_loads > 0) {
        w->fail_loads--;
        return false;
    }
    return buf_append(out, m->envelope, m->envelope_n);
}

static void rcpt_end(struct world *w, uint64_t id, uint32_t index, enum end end)
{
    struct world_msg *m = world_msg(w, id);
    assert_in_range(index, 0, m->n_rcpt - 1);
    assert_int_equal(m->rcpt[index].end, END_OPEN);
    m->rcpt[index].end = (uint8_t)end;
}

static void op_mark(void *ctx, uint64_t id, const uint32_t *rcpt, unsigned n, int kind)
{
    struct world *w = ctx;
    struct world_msg *m = world_msg(w, id);
    assert_true(n > 0);
    for (unsigned i = 0; i < n; i++) {
        if (kind == SPOOL_MARK_HELD || kind == SPOOL_MARK_RELEASED) {
            assert_int_equal(rcpt[i], SPOOL_RCPT_ALL);
            m->held = kind == SPOOL_MARK_HELD;
        } else {
            assert_true(kind == SPOOL_MARK_DELIVERED || kind == SPOOL_MARK_REMOVED);
            rcpt_end(w, id, rcpt[i], kind == SPOOL_MARK_REMOVED ? END_REMOVED : END_DELIVERED);
        }
    }
}

/* ---- the directory ---- */

/* Where the entry's mail goes: not where it was refused as unknown, if another place claims it. */
static unsigned place_of(const struct world *w, unsigned entry, struct str refused_by)
{
    unsigned to = w->entry[entry];
    char name[24];
    (void)snprintf(name, sizeof(name), "%u.%u", to % 10000, to / 10000);
    return w->other[entry] != 0 && str_eq(refused_by, str_c(name)) ? w->other[entry] : to;
}

static void op_decide(void *ctx, const struct envelope *env, uint32_t index, struct str refused_by,
                      struct arena *a, struct decision *out)
{
    struct world *w = ctx;
    unsigned entry = (unsigned)strtoul(env->rcpt[index].address.p + 1, NULL, 10);
    unsigned to = place_of(w, entry, refused_by);
    w->decides++;
    out->generation = w->generation;
    if (w->by_other_key)
        out->key_hash = ~world_entry_hash(entry);
    if (to == ENTRY_REFUSE) {
        out->kind = DECISION_REFUSE;
        out->reply = (struct smtp_reply){.code = 550, .enhanced = "5.1.1", .text = "unknown"};
    } else if (to == ENTRY_DEFER) {
        out->kind = DECISION_DEFER;
        out->reply = (struct smtp_reply){.code = 451, .enhanced = "4.3.0", .text = "not yet"};
    } else {
        out->kind = DECISION_DELIVER;
        out->dest.kind = DEST_FOREST;
        out->dest.name = str_c(arena_printf(a, "%u.%u", to % 10000, to / 10000));
        out->address = env->rcpt[index].address;
    }
}

static uint64_t op_generation(void *ctx)
{
    return ((struct world *)ctx)->generation;
}

uint64_t world_entry_hash(unsigned entry)
{
    char key[32];
    int n = snprintf(key, sizeof(key), "r%u@d.test", entry);
    return hash64(key, (size_t)n);
}

void world_flip(struct world *w, unsigned entry, unsigned value, bool tell)
{
    uint64_t hash = world_entry_hash(entry);
    w->entry[entry] = value;
    w->generation++;
    hash = w->by_other_key ? ~hash : hash;
    if (tell)
        queue_directory_changed(w->q, &hash, 1, false);
}

/* ---- next hops and reports ---- */

struct event {
    struct heap_node node;
    struct delivery *d;
    struct world_dest *dest;
    void *token; /* of a report; with what it ends on success */
    uint64_t id;
    uint32_t *rcpt;
    unsigned n;
    enum queue_report kind;
    bool expired, ok, removed;
    bool unwanted;
};

static void op_start(void *ctx, struct delivery *d)
{
    struct world *w = ctx;
    unsigned k = (unsigned)strtoul(d->dest.name.p, NULL, 10);
    assert_in_range(k, 0, WORLD_DESTS - 1);
    struct world_dest *wd = &w->dest[k];
    struct world_msg *m = world_msg(w, d->msg_id);
    struct event *ev = NEW(struct event);
    ev->d = d;
    ev->dest = wd;
    d->transport = ev;
    wd->started++;
    m->deliveries++;
    m->last_start = w->loop->now;
    assert_false(m->held);
    if (w->n_start_log < ARRAY_LEN(w->start_log))
        w->start_log[w->n_start_log++] = k;
    if (w->n_order_log < ARRAY_LEN(w->order_log))
        w->order_log[w->n_order_log++] = d->msg_id;
    if (++wd->in_hand > wd->peak)
        wd->peak = wd->in_hand;
    w->in_hand++;
    assert_true(wd->in_hand <= w->conf.window_max);
    assert_in_range(d->n_rcpt, 1, w->conf.rcpt_per_delivery_max);
    if (d->n_rcpt > wd->per_session)
        wd->per_session = d->n_rcpt;
    for (unsigned i = 0; i < d->n_rcpt; i++)
        assert_int_equal(m->rcpt[d->rcpt[i].index].end, END_OPEN);
    heap_set(&w->events, &ev->node, wd->be == BE_HANG ? INT64_MAX : w->loop->now + wd->latency);
}

static void op_cancel(void *ctx, struct delivery *d)
{
    struct world *w = ctx;
    struct event *ev = d->transport;
    heap_remove(&w->events, &ev->node);
    w->cancelled++;
    mem_free(ev);
}

#define LONG                                                                                       \
    " ................................................................................"            \
    "................................................................................"

static void end_rcpt(struct world *w, struct event *ev, unsigned i, enum behaviour be)
{
    struct delivery *d = ev->d;
    struct smtp_reply *r = &d->replies[i];
    d->rcpt[i].reply = r;
    if (be == BE_RANDOM) {
        static const enum behaviour any[] = {BE_WELL, BE_WELL, BE_4XX, BE_5XX, BE_UNKNOWN};
        be = any[world_random(5)];
    }
    if (be == BE_WELL) {
        d->rcpt[i].outcome = OUTCOME_DELIVERED;
        *r = (struct smtp_reply){.code = 250, .text = "ok"};
        world_msg(w, d->msg_id)->rcpt[d->rcpt[i].index].dest = (uint16_t)(ev->dest - w->dest);
    } else if (be == BE_5XX) {
        d->rcpt[i].outcome = OUTCOME_FAILED;
        *r = (struct smtp_reply){.code = 550, .enhanced = "5.2.1", .text = "no"};
    } else if (be == BE_UNKNOWN || be == BE_UNKNOWN_LATE) {
        d->rcpt[i].outcome = OUTCOME_FAILED;
        d->rcpt[i].at_rcpt = be == BE_UNKNOWN;
        *r = (struct smtp_reply){.code = 550, .enhanced = "5.1.1", .text = "who?"};
    } else {
        d->rcpt[i].outcome = OUTCOME_DEFERRED;
        *r = (struct smtp_reply){.code = 450, .enhanced = "4.2.0"};
        (void)snprintf(r->text, sizeof(r->text), "later %" PRIu64 "%s", d->msg_id,
                       w->long_replies ? LONG : "");
    }
}

static void end_delivery(struct world *w, struct event *ev)
{
    struct delivery *d = ev->d;
    enum behaviour be = ev->dest->be;
    if (be == BE_RANDOM && world_random(6) == 0)
        be = world_random(2) ? BE_DEAD : BE_BUSY;
    ev->dest->in_hand--;
    w->in_hand--;
    (void)str_copy(STR("hop.test"), d->remote_host, sizeof(d->remote_host));
    if (ev->unwanted) {
        for (unsigned i = 0; i < d->n_rcpt; i++)
            d->rcpt[i].outcome = OUTCOME_REROUTE;
    } else if (be == BE_DEAD || be == BE_HANG || be == BE_BUSY) {
        d->verdict = be == BE_BUSY ? DEST_BUSY : DEST_UNREACHABLE;
        d->session_reply = (struct smtp_reply){.code = 421, .enhanced = "4.4.1", .text = "refused"};
        for (unsigned i = 0; i < d->n_rcpt; i++) {
            d->rcpt[i].outcome = OUTCOME_DEFERRED;
            d->rcpt[i].reply = &d->session_reply;
        }
    } else if (!d->confirm(d)) {
        w->reroutes++;
        for (unsigned i = 0; i < d->n_rcpt; i++)
            d->rcpt[i].outcome = OUTCOME_REROUTE;
    } else {
        ev->dest->confirmed++;
        d->replies = mem_array(d->n_rcpt, sizeof(*d->replies));
        for (unsigned i = 0; i < d->n_rcpt; i++) {
            unsigned entry = world_msg(w, d->msg_id)->rcpt[d->rcpt[i].index].entry;
            if (w->other[entry] != ev->dest - w->dest) /* never the old way */
                assert_int_equal(w->entry[entry] % 10000, ev->dest - w->dest);
            if (ev->dest->takes != 0 && i >= ev->dest->takes)
                d->rcpt[i].outcome = OUTCOME_REROUTE;
            else
                end_rcpt(w, ev, i, be);
        }
    }
    mem_free(ev);
    d->done(d);
}

static void op_report(void *ctx, uint64_t id, const struct envelope *env, enum queue_report kind,
                      const struct queue_end *ends, unsigned n, void *token)
{
    struct world *w = ctx;
    struct world_msg *m = world_msg(w, id);
    struct event *ev = NEW(struct event);
    assert_int_equal(env->n_rcpt, m->n_rcpt);
    assert_in_range(n, 1, w->report_max);
    *ev = (struct event){.token = token, .id = id, .n = n, .kind = kind, .ok = true};
    ev->rcpt = mem_array(n, sizeof(*ev->rcpt));
    if (w->fail_reports > 0) {
        w->fail_reports--;
        ev->ok = false;
    }
    for (unsigned i = 0; i < n; i++) {
        ev->rcpt[i] = ends[i].index;
        ev->expired = ends[i].expired;
        ev->removed = strstr(ends[i].reply.text, "administrator") != NULL;
        assert_int_equal(m->rcpt[ends[i].index].end, END_OPEN);
        if (kind == QUEUE_REPORT_SUCCESS)
            m->rcpt[ends[i].index].success_reports++;
        if (kind == QUEUE_REPORT_DELAY && ev->ok)
            m->rcpt[ends[i].index].delay_reports++;
        if (kind == QUEUE_REPORT_FAILURE)
            assert_int_equal(ends[i].outcome, OUTCOME_FAILED);
    }
    w->reports++;
    heap_set(&w->events, &ev->node, w->loop->now + 1);
}

static unsigned op_report_fits(void *ctx, const struct envelope *env, const struct queue_end *ends,
                               unsigned n)
{
    struct world *w = ctx;
    assert_in_range(ends[0].index, 0, env->n_rcpt - 1);
    return n < w->report_max ? n : w->report_max;
}

static void end_report(struct world *w, struct event *ev)
{
    w->reports--;
    for (unsigned i = 0; i < ev->n && ev->ok && ev->kind == QUEUE_REPORT_FAILURE; i++)
        rcpt_end(w, ev->id, ev->rcpt[i],
                 ev->removed   ? END_REMOVED
                 : ev->expired ? END_EXPIRED
                               : END_FAILED);
    queue_report_done(w->q, ev->token, ev->ok);
    mem_free(ev->rcpt);
    mem_free(ev);
}

static bool event_hangs(const struct world *w, const struct event *ev, unsigned dest)
{
    return ev->d != NULL && ev->dest == &w->dest[dest] && ev->node.key == INT64_MAX;
}

void world_ask_wanted(struct world *w, unsigned dest)
{
    for (uint32_t i = 0; i < w->events.n;) {
        struct event *ev = CONTAINER_OF(w->events.v[i], struct event, node);
        if (event_hangs(w, ev, dest) && !ev->d->wanted(ev->d)) {
            ev->unwanted = true;
            heap_set(&w->events, &ev->node, w->loop->now);
            i = 0;
        } else {
            i++;
        }
    }
}

void world_say_rcpt(struct world *w, unsigned dest, bool answered)
{
    for (uint32_t i = 0; i < w->events.n; i++) {
        struct event *ev = CONTAINER_OF(w->events.v[i], struct event, node);
        if (!event_hangs(w, ev, dest))
            continue;
        assert_true(ev->d->confirm(ev->d));
        if (answered)
            ev->d->answered(ev->d);
    }
}

void world_release(struct world *w, unsigned dest)
{
    for (uint32_t i = 0; i < w->events.n;) {
        struct event *ev = CONTAINER_OF(w->events.v[i], struct event, node);
        if (event_hangs(w, ev, dest)) {
            heap_set(&w->events, &ev->node, w->loop->now);
            i = 0;
        } else {
            i++;
        }
    }
}

/* ---- time ---- */

static bool step(struct world *w, int64_t until)
{
    run_tasks(w->loop);
    struct heap_node *t = heap_min(&w->loop->timers), *e = heap_min(&w->events);
    int64_t at = t != NULL ? t->key : INT64_MAX;
    if (e != NULL && e->key < at)
        at = e->key;
    if (at > until)
        return false;
    if (at > w->loop->now) {
        clock_fake_advance(at - w->loop->now);
        w->loop->now = at;
    }
    if (e != NULL && e->key <= w->loop->now) {
        struct event *ev = CONTAINER_OF(e, struct event, node);
        heap_remove(&w->events, e);
        if (ev->d != NULL)
            end_delivery(w, ev);
        else
            end_report(w, ev);
    } else {
        struct loop_timer *lt = CONTAINER_OF(t, struct loop_timer, node);
        heap_remove(&w->loop->timers, t);
        lt->fn(lt);
    }
    return true;
}

void world_run(struct world *w, int64_t ms)
{
    int64_t until = w->loop->now + ms;
    while (step(w, until))
        ;
    clock_fake_advance(until - w->loop->now);
    w->loop->now = until;
}

int64_t world_now(const struct world *w)
{
    return w->loop->now;
}

/* ---- making ---- */

static uint64_t seed_state;
void world_seed(uint64_t seed)
{
    seed_state = seed * 0x9e3779b97f4a7c15u + 1;
    random_jitter_seed(seed);
}
unsigned world_random(unsigned below)
{
    seed_state ^= seed_state << 13;
    seed_state ^= seed_state >> 7;
    seed_state ^= seed_state << 17;
    return (unsigned)((seed_state >> 20) % below);
}

void world_init(struct world *w)
{
    memset(w, 0, sizeof(*w));
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_);
    w->loop = NEW(struct loop);
    w->loop->now = 1000000;
    heap_init(&w->loop->timers);
    list_init(&w->loop->tasks);
    heap_init(&w->events);
    clock_fake_start(w->loop->now, 1800000000000);
    w->generation = 1;
    w->report_max = ENVELOPE_RCPT_MAX;
    for (unsigned i = 0; i < WORLD_ENTRIES; i++)
        w->entry[i] = 0;
    for (unsigned i = 0; i < WORLD_DESTS; i++)
        w->dest[i].latency = 5;
    w->conf = (struct queue_conf){
        .retry_min_ms = 60000,
        .retry_max_ms = 3600000,
        .expire_ms = 5 * 86400000ll,
        .expire_dsn_ms = 86400000,
        .delay_notice_ms = 0,
        .active_max = 1000,
        .window_initial = 5,
        .window_max = 20,
        .ready_max = 50,
        .rcpt_per_delivery_max = 100,
        .dest_backoff_min_ms = 10000,
        .dest_backoff_max_ms = 160000,
    };
    world_seed(1);
}

void world_open(struct world *w)
{
    const struct queue_ops ops = {
        .ctx = w,
        .load = op_load,
        .decide = op_decide,
        .generation = op_generation,
        .mark = op_mark,
        .report = op_report,
        .report_fits = op_report_fits,
        .transport = {.ctx = w, .start = op_start, .cancel = op_cancel},
        .pace = &w->pace,
        .underway = w->underway,
    };
    pace_init(&w->pace);
    w->q = queue_new(w->loop, &w->conf, &ops);
}

void world_close(struct world *w)
{
    unsigned hand = w->in_hand, before = w->cancelled;
    queue_free(&w->q);
    assert_null(w->q);
    assert_int_equal(w->cancelled - before, hand);
    for (struct heap_node *n; (n = heap_min(&w->events)) != NULL;) {
        struct event *ev = CONTAINER_OF(n, struct event, node);
        heap_remove(&w->events, n);
        mem_free(ev->rcpt);
        mem_free(ev);
    }
    assert_null(heap_min(&w->loop->timers));
    assert_true(list_is_empty(&w->loop->tasks));
    for (unsigned i = 0; i < w->n_msg; i++) {
        mem_free(w->msg[i].envelope);
        mem_free(w->msg[i].rcpt);
    }
    mem_free(w->msg);
    heap_free(&w->events);
    heap_free(&w->loop->timers);
    mem_free(w->loop);
    clock_fake_stop();
}

uint64_t world_store(struct world *w, const unsigned *entry, unsigned n)
{
    if (w->n_msg == w->cap_msg) {
        w->cap_msg = w->cap_msg == 0 ? 64 : 2 * w->cap_msg;
        w->msg = mem_realloc(w->msg, w->cap_msg * sizeof(*w->msg));
    }
    struct world_msg *m = &w->msg[w->n_msg++];
    *m = (struct world_msg){.n_rcpt = n, .rcpt = mem_array(n, sizeof(*m->rcpt))};
    struct envelope_rcpt *r = mem_array(n, sizeof(*r));
    char(*text)[24] = mem_array(n, sizeof(*text));
    for (unsigned i = 0; i < n; i++) {
        m->rcpt[i].entry = (uint16_t)entry[i];
        int k = snprintf(text[i], sizeof(text[i]), "r%u@d.test", entry[i]);
        r[i].address = str_n(text[i], (size_t)k);
        r[i].notify = w->send_notices ? MAIL_NOTIFY_SUCCESS | MAIL_NOTIFY_FAILURE : 0;
    }
    const struct envelope env = {
        .arrival_ms = clock_wall_ms(),
        .sender = w->null_sender ? STR("") : STR("sender@s.test"),
        .client_ip = STR("192.0.2.1"),
        .helo = STR("h"),
        .n_rcpt = n,
        .rcpt = r,
    };
    struct buf b = BUF_INIT(8u << 20);
    assert_true(envelope_encode(&env, &b));
    m->envelope_n = b.n;
    m->envelope = mem_realloc(b.p, b.n);
    mem_free(r);
    mem_free(text);
    return w->n_msg;
}

uint64_t world_add_entries(struct world *w, const unsigned *entry, unsigned n)
{
    uint64_t id = world_store(w, entry, n);
    struct world_msg *m = world_msg(w, id);
    queue_add(w->q, id, str_n(m->envelope, m->envelope_n), 4096, false);
    return id;
}

uint64_t world_add(struct world *w, unsigned first, unsigned n)
{
    unsigned *entry = mem_array(n, sizeof(*entry));
    for (unsigned i = 0; i < n; i++)
        entry[i] = first + i;
    uint64_t id = world_add_entries(w, entry, n);
    mem_free(entry);
    return id;
}

void world_recover(struct world *w, uint64_t id, int64_t age_ms, const uint8_t *done)
{
    struct world_msg *m = world_msg(w, id);
    static const uint8_t none[ENVELOPE_RCPT_MAX / 8 + 1];
    struct arena a;
    struct envelope env;
    struct buf b = BUF_INIT(8u << 20);
    arena_init(&a, 4096, 0);
    assert_true(envelope_decode(str_n(m->envelope, m->envelope_n), &a, &env, NULL));
    env.arrival_ms = clock_wall_ms() - age_ms;
    assert_true(envelope_encode(&env, &b));
    queue_add_recovered(w->q, id, buf_str(&b), 4096, false, done != NULL ? done : none, m->held,
                        false);
    buf_free(&b);
    arena_free(&a);
}

unsigned world_count(const struct world *w, enum end end)
{
    unsigned n = 0;
    for (unsigned i = 0; i < w->n_msg; i++) {
        for (unsigned k = 0; k < w->msg[i].n_rcpt; k++)
            n += w->msg[i].rcpt[k].end == end;
    }
    return n;
}

struct find_dest {
    unsigned dest;
    struct queue_dest_info *out;
    bool found;
};
static void find_dest(void *arg, const struct queue_dest_info *d)
{
    struct find_dest *f = arg;
    char name[32];
    (void)snprintf(name, sizeof(name), "forest:%u.0", f->dest);
    if (strcmp(name, d->dest) == 0) {
        *f->out = *d;
        f->found = true;
    }
}
bool world_dest_info(struct world *w, unsigned dest, struct queue_dest_info *out)
{
    struct find_dest f = {.dest = dest, .out = out};
    queue_list_dests(w->q, find_dest, &f);
    return f.found;
}

struct queue_status world_status(struct world *w)
{
    struct queue_status s;
    queue_status(w->q, &s);
    assert_int_equal(s.messages, s.active + s.waiting + s.parked + s.held);
    return s;
}

struct queue_msg_info world_info(struct world *w, uint64_t id)
{
    struct queue_msg_info i;
    assert_true(queue_info(w->q, id, &i));
    return i;
}

void world_assert_empty(struct world *w)
{
    assert_int_equal(world_status(w).messages, 0);
    assert_int_equal(queue_in_hand(w->q), 0);
    assert_int_equal(world_count(w, END_OPEN), 0);
}
