/*
 * dest.c - destinations: the window of each, its ready deliveries, its parked recipients, and when
 * it is closed and tried again.
 *
 * Window: opens by one for each attempt that went well, halves for each that did not. After
 * DEST_CLOSE_AFTER failures in a row the destination is CLOSED: what was ready is parked again, in
 * its order, and costs index entries only. When the back-off has passed it may send one PROBE; if
 * that fails the back-off doubles, if it succeeds the window starts from one, so mail that waited
 * comes out as fast as the destination takes it and no faster.
 *
 * Mail that met a closed destination is backlog: fresh mail that comes after the reopening does not
 * queue behind it.
 *
 * Destinations not known to be well (new ones, failing ones) may together hold half of the active
 * set and no more: a thousand dead domains cannot keep out the mail for a forest that works.
 */
#include "relay/queue/queue_int.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"

/* ---- table ---- */

static uint64_t key_hash(const struct dest_key *k)
{
    return hash64_seed(k->name.p, k->name.n, (uint64_t)k->kind);
}

static void dest_delete(struct queue *q, struct qdest *d)
{
    ASSERT(d->refs == 0 && d->in_hand == 0);
    list_remove(&d->start);
    list_remove(&d->paced);
    for (int l = 0; l < LANES; l++)
        list_remove(&d->pull[l]);
    heap_remove(&q->reopen, &d->reopen);
    reply_unref(q, &d->last_reply);
    lhash_remove(q, &q->by_dest, d->self);
    mem_free((char *)d->name.p);
    slab_put(&q->dests, d->self);
}

static struct qdest *dest_lookup(const struct queue *q, const struct dest_key *k, uint64_t hash)
{
    for (uint32_t i = *lhash_chain(&q->by_dest, hash); i != 0;) {
        struct qdest *d = dest_at(q, i);
        if (d->hash == hash && d->kind == (uint32_t)k->kind && str_eq(d->name, k->name))
            return d;
        i = d->hash_next;
    }
    return NULL;
}

struct qdest *dest_find(const struct queue *q, const struct dest_key *k)
{
    return dest_lookup(q, k, key_hash(k));
}

struct qdest *dest_get(struct queue *q, const struct dest_key *k)
{
    uint64_t hash = key_hash(k);
    struct qdest *d = dest_lookup(q, k, hash);
    if (d != NULL)
        return d;
    uint32_t i = slab_get(&q->dests);
    d = dest_at(q, i);
    d->self = i;
    d->hash = hash;
    d->kind = (uint32_t)k->kind;
    d->name = str_n(str_dup(k->name), k->name.n);
    d->window = q->conf.window_initial;
    for (int l = 0; l < LANES; l++)
        list_init(&d->ready[l]);
    lhash_add(q, &q->by_dest, i);
    return d;
}

/* Nobody refers to it: remembered for a while, the longest idle goes first. */
static void dest_check_idle(struct queue *q, struct qdest *d)
{
    bool idle = d->refs == 0 && d->in_hand == 0;
    if (idle == list_node_is_linked(&d->idle))
        return;
    if (!idle) {
        list_remove(&d->idle);
        q->n_idle_dests--;
        return;
    }
    list_push_back(&q->idle_dests, &d->idle);
    if (++q->n_idle_dests <= DEST_IDLE_MAX)
        return;
    struct list_node *n = list_pop_front(&q->idle_dests);
    q->n_idle_dests--;
    dest_delete(q, CONTAINER_OF(n, struct qdest, idle));
}

void dest_free_all(struct queue *q)
{
    for (uint32_t i = 1; i < q->dests.used; i++)
        mem_free((char *)dest_at(q, i)->name.p);
}

void dest_print(const struct qdest *d, char *dst, size_t cap)
{
    struct dest_key k = {.kind = (enum dest_kind)d->kind, .name = d->name};
    dest_key_print(&k, dst, cap);
}

bool dest_is_named(const struct qdest *d, const char *name)
{
    char printed[280];
    dest_print(d, printed, sizeof(printed));
    return str_eq_nocase(str_c(printed), str_c(name));
}

void dest_refer(struct queue *q, uint32_t *link, struct qdest *d)
{
    uint32_t now = d != NULL ? d->self : 0, before = *link;
    if (now == before)
        return;
    *link = now;
    if (d != NULL) {
        d->refs++;
        dest_check_idle(q, d);
    }
    if (before != 0) {
        struct qdest *old = dest_at(q, before);
        old->refs--;
        dest_check_idle(q, old);
    }
}

void rcpt_set_dest(struct queue *q, struct qrcpt *r, struct qdest *d)
{
    dest_refer(q, &r->dest, d);
}

/* ---- parked recipients: a list by number in each lane ---- */

void rcpt_park(struct queue *q, uint32_t number, enum lane lane, bool front)
{
    struct qrcpt *r = rcpt_at(q, number);
    struct qdest *d = dest_at(q, r->dest);
    uint32_t *first = &d->park_first[lane], *last = &d->park_last[lane];
    if (front) {
        r->park_prev = 0;
        r->park_next = *first;
        *(*first != 0 ? &rcpt_at(q, *first)->park_prev : last) = number;
        *first = number;
    } else {
        r->park_next = 0;
        r->park_prev = *last;
        *(*last != 0 ? &rcpt_at(q, *last)->park_next : first) = number;
        *last = number;
    }
    r->state = RCPT_PARKED;
    d->n_parked++;
    dest_update(q, d);
}

/* Which lane's list it is in shows only at the ends, and only there it matters. */
void rcpt_unpark(struct queue *q, uint32_t number)
{
    struct qrcpt *r = rcpt_at(q, number);
    struct qdest *d = dest_at(q, r->dest);
    if (r->park_prev != 0)
        rcpt_at(q, r->park_prev)->park_next = r->park_next;
    if (r->park_next != 0)
        rcpt_at(q, r->park_next)->park_prev = r->park_prev;
    for (int l = 0; l < LANES; l++) {
        if (d->park_first[l] == number)
            d->park_first[l] = r->park_next;
        if (d->park_last[l] == number)
            d->park_last[l] = r->park_prev;
    }
    r->park_prev = r->park_next = 0;
    r->state = RCPT_DUE;
    d->n_parked--;
    dest_update(q, d);
}

/* Everything parked becomes backlog; what is backlog already is older and goes first. */
static void parked_to_backlog(struct queue *q, struct qdest *d)
{
    uint32_t first = d->park_first[LANE_FRESH], last = d->park_last[LANE_FRESH];
    if (first == 0)
        return;
    d->park_first[LANE_FRESH] = d->park_last[LANE_FRESH] = 0;
    uint32_t end = d->park_last[LANE_BACKLOG];
    rcpt_at(q, first)->park_prev = end;
    *(end != 0 ? &rcpt_at(q, end)->park_next : &d->park_first[LANE_BACKLOG]) = first;
    d->park_last[LANE_BACKLOG] = last;
}

/* ---- ready and in hand ---- */

static unsigned unproven_max(const struct queue *q)
{
    return q->conf.active_max / 2 > 0 ? q->conf.active_max / 2 : 1;
}

static bool dest_is_probing(const struct qdest *d)
{
    return d->in_hand > 0 || d->n_ready[LANE_FRESH] + d->n_ready[LANE_BACKLOG] > 0;
}

bool dest_takes(const struct queue *q, const struct qdest *d, enum lane lane)
{
    if (d->state == DEST_CLOSED || (d->state == DEST_PROBE && dest_is_probing(d)))
        return false;
    return d->n_ready[lane] < q->conf.ready_max && (d->proven || q->n_unproven < unproven_max(q));
}

/* Enough is ready when a whole window could follow the one in hand. */
static bool dest_wants(const struct queue *q, const struct qdest *d, enum lane lane)
{
    if (q->draining || d->park_first[lane] == 0 || d->state == DEST_CLOSED)
        return false;
    if (d->state == DEST_PROBE)
        return !dest_is_probing(d);
    return d->n_ready[lane] < q->conf.ready_max && d->n_ready[lane] < d->window;
}

/* Its pace apart. */
static bool dest_could_start(const struct queue *q, const struct qdest *d)
{
    if (q->draining || d->n_ready[LANE_FRESH] + d->n_ready[LANE_BACKLOG] == 0)
        return false;
    return d->state == DEST_OPEN    ? d->in_hand < d->window
           : d->state == DEST_PROBE ? d->in_hand == 0
                                    : false;
}

static bool set_member(struct list *l, struct list_node *n, bool member)
{
    if (member == list_node_is_linked(n))
        return false;
    if (member)
        list_push_back(l, n);
    else
        list_remove(n);
    return member;
}

bool dest_pace_allows(const struct queue *q)
{
    return pace_allows(q->ops.pace, q->pace_due_ns, clock_mono_ns());
}

void dest_update(struct queue *q, struct qdest *d)
{
    bool could = dest_could_start(q, d);
    bool may = could && (d->n_ready[LANE_FRESH] > 0 || dest_pace_allows(q));
    bool work = set_member(&q->startable, &d->start, could && may);
    set_member(&q->paced, &d->paced, could && !may); /* schedule.c comes back to it */
    for (int l = 0; l < LANES; l++)
        work |= set_member(&q->pull[l], &d->pull[l], dest_wants(q, d, (enum lane)l));
    if (work)
        queue_wake(q);
}

static void unproven_release(struct queue *q, struct qdelivery *qd)
{
    if (!qd->unproven)
        return;
    qd->unproven = false;
    q->n_unproven--;
    queue_wake(q); /* for dest_admit_unproven() */
}

void dest_admit_unproven(struct queue *q, enum lane lane)
{
    struct list_node *n =
        q->n_unproven < unproven_max(q) ? list_pop_front(&q->unproven_wait[lane]) : NULL;
    if (n != NULL)
        list_push_back(&q->pull[lane], n);
}

void dest_ready(struct queue *q, struct qdelivery *qd)
{
    struct qdest *d = qd->dest;
    list_push_back(&d->ready[qd->lane], &qd->d.node);
    d->n_ready[qd->lane]++;
    qd->act->n_ready++;
    if (!d->proven) {
        qd->unproven = true;
        q->n_unproven++;
    }
    dest_update(q, d);
}

void dest_unready(struct queue *q, struct qdelivery *qd)
{
    list_remove(&qd->d.node);
    qd->dest->n_ready[qd->lane]--;
    qd->act->n_ready--;
    unproven_release(q, qd);
    dest_update(q, qd->dest);
}

struct qdelivery *dest_next(const struct queue *q, struct qdest *d)
{
    enum lane lane = LANE_FRESH;
    if (d->n_ready[LANE_FRESH] == 0 || (d->n_ready[LANE_BACKLOG] > 0 && d->turn % 5 == 4)) {
        if (dest_pace_allows(q))
            lane = LANE_BACKLOG;
        else if (d->n_ready[LANE_FRESH] == 0)
            return NULL;
    }
    d->turn++;
    struct list_node *n = list_first(&d->ready[lane]);
    return CONTAINER_OF(CONTAINER_OF(n, struct delivery, node), struct qdelivery, d);
}

void dest_begin(struct queue *q, struct qdelivery *qd)
{
    struct qdest *d = qd->dest;
    list_remove(&qd->d.node);
    d->n_ready[qd->lane]--;
    d->in_hand++;
    qd->began_ns = clock_mono_ns();
    if (qd->lane == LANE_FRESH)
        pace_fresh_began(q->ops.pace, qd->began_ns);
    else
        q->pace_due_ns = pace_started(q->ops.pace, q->pace_due_ns, qd->began_ns);
    qd->act->n_ready--;
    qd->act->n_hand++;
    q->n_hand++;
    qd->started = true;
    qd->probe = d->state == DEST_PROBE;
    dest_update(q, d);
}

void dest_end(struct queue *q, struct qdelivery *qd)
{
    struct qdest *d = qd->dest;
    if (--d->in_hand == 0)
        d->again = false;
    if (qd->lane == LANE_FRESH && qd->d.verdict == DEST_OK && qd->began_ns != 0) {
        int64_t now = clock_mono_ns();
        pace_fresh_ended(q->ops.pace, &d->usual, now - qd->began_ns, now);
    }
    qd->act->n_hand--;
    q->n_hand--;
    unproven_release(q, qd);
    dest_update(q, d);
    dest_check_idle(q, d);
}

/* ---- open, closed ---- */

/* Back on the list, before what is parked already and in the order it had. */
static void ready_to_parked(struct queue *q, struct qdest *d, enum lane lane)
{
    while (!list_is_empty(&d->ready[lane])) {
        struct delivery *dl = CONTAINER_OF(d->ready[lane].head.prev, struct delivery, node);
        struct qdelivery *qd = CONTAINER_OF(dl, struct qdelivery, d);
        struct qactive *act = qd->act;
        for (unsigned i = qd->d.n_rcpt; i-- > 0;)
            rcpt_park(q, qd->rcpt[i], lane, true);
        dest_unready(q, qd);
        delivery_drop(qd);
        active_check(act);
    }
}

static void dest_close(struct queue *q, struct qdest *d)
{
    int64_t max = q->conf.dest_backoff_max_ms;
    d->backoff = d->backoff == 0 ? q->conf.dest_backoff_min_ms : 2 * d->backoff;
    if (d->backoff > max)
        d->backoff = max;
    d->state = DEST_CLOSED;
    d->proven = false;
    d->fails = 0;
    int64_t wait = queue_jitter(d->backoff);
    heap_set(&q->reopen, &d->reopen, loop_now_ms(q->loop) + wait);
    for (int l = 0; l < LANES; l++)
        ready_to_parked(q, d, (enum lane)l);
    parked_to_backlog(q, d);

    char dest[280], reply[300];
    dest_print(d, dest, sizeof(dest));
    reply_print(q, d->last_reply, reply, sizeof(reply));
    LOG(WARN, "", "destination-closed", LC("dest", dest), LI("retry_ms", wait),
        LU("parked", d->n_parked), LC("reply", reply));
}

static void dest_open(struct queue *q, struct qdest *d)
{
    heap_remove(&q->reopen, &d->reopen);
    d->state = DEST_OPEN;
    d->window = 1;
    d->backoff = 0;
    char dest[280];
    dest_print(d, dest, sizeof(dest));
    LOG(INFO, "", "destination-open", LC("dest", dest), LU("parked", d->n_parked));
}

void dest_probe_now(struct queue *q, struct qdest *d)
{
    if (d->state != DEST_CLOSED)
        return;
    heap_remove(&q->reopen, &d->reopen);
    d->state = DEST_PROBE;
    dest_update(q, d);
}

void dest_retry(struct queue *q, struct qdest *d)
{
    bool old_in_hand = d->state != DEST_CLOSED && d->in_hand > 0;
    /* A probe that was asked for does not make the back-off longer. */
    if (d->state == DEST_CLOSED || (old_in_hand && !d->again))
        d->backoff /= 2;
    d->again = old_in_hand;
    dest_probe_now(q, d);
}

static void dest_went_well(struct queue *q, struct qdest *d)
{
    d->fails = 0;
    d->again = false;
    if (!d->proven) {
        d->proven = true;
        for (int l = 0; l < LANES; l++)
            list_remove(&d->pull[l]); /* dest_update() puts it where it belongs now */
    }
    if (d->state != DEST_OPEN)
        dest_open(q, d);
    else if (d->window < q->conf.window_max)
        d->window++;
}

void dest_verdict(struct queue *q, struct qdelivery *qd, enum dest_verdict v, uint32_t reply)
{
    struct qdest *d = qd->dest;
    if (reply != 0 && v != DEST_OK) {
        reply_at(q, reply)->refs++;
        reply_unref(q, &d->last_reply);
        d->last_reply = reply;
    }
    if (v == DEST_OK) {
        dest_went_well(q, d);
    } else if (d->state == DEST_OPEN) {
        /* "Less, please" closes it only when it comes at the smallest window. */
        if (v == DEST_UNREACHABLE || d->window == 1)
            d->fails++;
        if (v == DEST_UNREACHABLE)
            d->proven = false;
        d->window = d->window > 1 ? d->window / 2 : 1;
        if (d->fails >= DEST_CLOSE_AFTER)
            dest_close(q, d);
    } else if (d->state == DEST_PROBE && qd->probe) {
        dest_close(q, d);
    }
    if (d->state == DEST_CLOSED && d->again) {
        d->again = false;
        dest_probe_now(q, d);
    }
    dest_update(q, d);
}
