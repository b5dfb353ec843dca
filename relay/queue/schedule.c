/*
 * schedule.c - what is done next: the heap of due messages, the turns of the destinations, and the
 * slow sweep that decides everything anew after a change too large to name.
 *
 * queue_run() takes one step of each kind in turn until nothing is left or RUN_BUDGET is spent;
 * then it goes on after the loop has served the sockets. Nothing here depends on how much is
 * queued.
 *
 * Ages count on the monotonic clock, plus the wall clock's idea of what passed before this process
 * began; see queue_add_recovered(). The lifetime of what was held counts from its release.
 */
#include "relay/queue/queue_int.h"

#include "base/clock.h"
#include "base/random.h"

#define SWEEP_STEP 512

/* ---- times ---- */

int64_t queue_jitter(int64_t ms)
{
    int64_t span = ms * 2 / 5;
    return ms - span / 2 + (int64_t)random_jitter((uint64_t)span + 1);
}

int64_t queue_retry_after(const struct queue *q, unsigned attempts)
{
    int64_t ms = q->conf.retry_min_ms, max = q->conf.retry_max_ms;
    for (unsigned i = 1; i < attempts && ms < max; i++)
        ms *= 2;
    return queue_jitter(ms < max ? ms : max);
}

int64_t msg_age(const struct queue *q, const struct qmsg *m)
{
    return loop_now_ms(q->loop) - m->born;
}

int64_t msg_lifetime(const struct queue *q, const struct qmsg *m)
{
    return m->flags & MSG_NULL_SENDER ? q->conf.expire_dsn_ms : q->conf.expire_ms;
}

int64_t msg_expires_at(const struct queue *q, const struct qmsg *m)
{
    return m->since + msg_lifetime(q, m);
}

bool msg_is_expired(const struct queue *q, const struct qmsg *m)
{
    return loop_now_ms(q->loop) >= msg_expires_at(q, m);
}

/* INT64_MAX: there will be none. */
static int64_t delay_notice_at(const struct queue *q, const struct qmsg *m)
{
    bool none = q->conf.delay_notice_ms == 0 || m->flags & (MSG_DELAY_NOTIFIED | MSG_NULL_SENDER);
    return none ? INT64_MAX : m->since + q->conf.delay_notice_ms;
}

bool msg_delay_is_due(const struct queue *q, const struct qmsg *m)
{
    return loop_now_ms(q->loop) >= delay_notice_at(q, m);
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}
static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* When something is to be done for the recipient; INT64_MAX: it waits for others to come to it. */
static int64_t rcpt_due_at(const struct queue *q, const struct qmsg *m, const struct qrcpt *r)
{
    int64_t now = loop_now_ms(q->loop);
    bool removed = (r->flags & RCPT_REMOVE) != 0;
    if (m->flags & MSG_HELD && !removed)
        return INT64_MAX;
    /* Fresh mail that found no free slot goes before everything that is due. */
    if (r->state == RCPT_DUE)
        return m->flags & MSG_BACKLOG || removed ? now : 0;
    if (r->flags & RCPT_RECHECK && !removed)
        return now;
    return r->state == RCPT_WAIT ? m->next : INT64_MAX;
}

/* When its age asks for something. What is over already could not be done just now (a report that
 * could not be written): it waits for `next`, too. */
static int64_t msg_due_at(const struct queue *q, const struct qmsg *m)
{
    int64_t now = loop_now_ms(q->loop), again = max64(now, m->next);
    int64_t end = msg_expires_at(q, m), notice = delay_notice_at(q, m);
    return min64(end > now ? end : again, notice > now ? notice : again);
}

void msg_wait_is_over(struct queue *q, struct qmsg *m)
{
    for (uint32_t i = m->first; i != 0; i = rcpt_at(q, i)->next) {
        if (rcpt_at(q, i)->state == RCPT_WAIT)
            rcpt_at(q, i)->state = RCPT_DUE;
    }
}

void msg_schedule(struct queue *q, struct qmsg *m)
{
    int64_t at = INT64_MAX;
    msg_count(q, m);
    if (m->active != NULL)
        return;
    for (uint32_t i = m->first; i != 0; i = rcpt_at(q, i)->next)
        at = min64(at, rcpt_due_at(q, m, rcpt_at(q, i)));
    if (!(m->flags & MSG_HELD))
        at = min64(at, msg_due_at(q, m));
    if (at == INT64_MAX) {
        heap_remove(&q->due, &m->due);
        return;
    }
    heap_set(&q->due, &m->due, at);
    if (heap_min(&q->due) == &m->due)
        queue_wake(q);
}

/* ---- steps ---- */

static struct qmsg *due_message(const struct queue *q)
{
    struct heap_node *n = heap_min(&q->due);
    return n != NULL ? CONTAINER_OF(n, struct qmsg, due) : NULL;
}

/* The destination that it had last time is closed or has a line: the end of that line is its place,
 * and nothing need be loaded to say so. The decision is made when it is pulled from there. True:
 * nothing else is to be done for this message now. */
static bool park_unread(struct queue *q, struct qmsg *m)
{
    bool rest = m->flags & MSG_HELD || msg_is_expired(q, m) || msg_delay_is_due(q, m);
    for (uint32_t i = m->first; i != 0 && !rest; i = rcpt_at(q, i)->next) {
        struct qrcpt *r = rcpt_at(q, i);
        if (r->flags & (RCPT_RECHECK | RCPT_REMOVE)) {
            rest = true;
        } else if (r->state == RCPT_DUE) {
            struct qdest *d = r->dest != 0 ? dest_at(q, r->dest) : NULL;
            if (d == NULL || (d->park_first[LANE_BACKLOG] == 0 && dest_takes(q, d, LANE_BACKLOG)))
                rest = true;
            else
                rcpt_park(q, i, LANE_BACKLOG, false);
        }
    }
    return !rest;
}

static bool step_due(struct queue *q)
{
    struct qmsg *m = due_message(q);
    int64_t now = loop_now_ms(q->loop);
    if (m == NULL || m->due.key > now || !slot_is_free(q, (m->flags & MSG_BACKLOG) != 0))
        return false;
    heap_remove(&q->due, &m->due);
    if (m->next <= now)
        msg_wait_is_over(q, m); /* what is held waits again when it is settled */
    if (park_unread(q, m)) {
        msg_schedule(q, m);
        return true;
    }
    struct qactive *act = active_open(q, m);
    if (act != NULL)
        active_settle(act);
    return true;
}

/* The first recipient on the destination's list, and those of the same message right behind it. */
static bool step_pull(struct queue *q, enum lane lane)
{
    dest_admit_unproven(q, lane);
    if (list_is_empty(&q->pull[lane]) || !slot_is_free(q, lane == LANE_BACKLOG))
        return false;
    struct list_node *n = list_pop_front(&q->pull[lane]);
    struct qdest *d = CONTAINER_OF(n, struct qdest, pull[lane]);
    if (!dest_takes(q, d, lane)) {
        list_push_back(&q->unproven_wait[lane], n);
        return true;
    }
    uint32_t first = d->park_first[lane];
    struct qmsg *m = msg_at(q, rcpt_at(q, first)->msg);
    if (lane == LANE_BACKLOG)
        m->flags |= MSG_BACKLOG;
    struct qactive *act = active_open(q, m);
    if (act == NULL) {
        dest_update(q, d);
        return true;
    }
    unsigned k = 0, max = q->conf.rcpt_per_delivery_max;
    uint32_t *rcpt = arena_alloc(&act->a, (m->n_left < max ? m->n_left : max) * sizeof(*rcpt));
    for (uint32_t i = first; i != 0 && k < max && rcpt_at(q, i)->msg == m->self;) {
        uint32_t next = rcpt_at(q, i)->park_next;
        rcpt_unpark(q, i);
        rcpt[k++] = i;
        i = next;
    }
    active_dispatch(act, rcpt, k, lane, true);
    dest_update(q, d);
    return true;
}

/* Those that wait for the pace come last: they have nothing but backlog. */
static struct qdest *next_to_start(struct queue *q)
{
    struct list_node *n = list_pop_front(&q->startable);
    if (n != NULL)
        return CONTAINER_OF(n, struct qdest, start);
    if (list_is_empty(&q->paced) || !dest_pace_allows(q))
        return NULL;
    return CONTAINER_OF(list_pop_front(&q->paced), struct qdest, paced);
}

static bool step_start(struct queue *q)
{
    struct qdest *d = next_to_start(q);
    if (d == NULL)
        return false;
    struct qdelivery *qd = dest_next(q, d);
    if (qd == NULL) { /* another one has taken the place in time that there was */
        dest_update(q, d);
        return true;
    }
    dest_begin(q, qd);
    q->ops.transport.start(q->ops.transport.ctx, &qd->d);
    return true;
}

static bool step_check(struct queue *q)
{
    struct list_node *n = list_pop_front(&q->check);
    if (n == NULL)
        return false;
    active_settle(CONTAINER_OF(n, struct qactive, check));
    return true;
}

static void reopen_due(struct queue *q)
{
    int64_t now = loop_now_ms(q->loop);
    for (struct heap_node *n; (n = heap_min(&q->reopen)) != NULL && n->key <= now;)
        dest_probe_now(q, CONTAINER_OF(n, struct qdest, reopen));
}

/* Those that wait in active messages. What the message's age asks for is done when nothing of it is
 * in hand: then nothing more may be begun. */
static void again_due(struct queue *q)
{
    int64_t now = loop_now_ms(q->loop);
    for (struct heap_node *n; (n = heap_min(&q->again)) != NULL && n->key <= now;) {
        struct qactive *act = CONTAINER_OF(n, struct qactive, again);
        struct qmsg *m = act->m;
        heap_remove(&q->again, n);
        if (m->flags & MSG_HELD || msg_is_expired(q, m) || msg_delay_is_due(q, m))
            continue;
        act->rerouted = 0;
        msg_wait_is_over(q, m);
        active_check(act);
    }
}

/* ---- the sweep ---- */

void sweep_start(struct queue *q)
{
    q->sweep_at = 1;
    q->sweep_end = q->msgs.used;
    queue_wake(q);
}

static bool step_sweep(struct queue *q)
{
    int64_t now = loop_now_ms(q->loop);
    for (unsigned k = 0; k < SWEEP_STEP && q->sweep_at < q->sweep_end; k++) {
        struct qmsg *m = msg_at(q, q->sweep_at++);
        if ((m->flags & (MSG_LIVE | MSG_HELD)) != MSG_LIVE)
            continue;
        for (uint32_t i = m->first; i != 0; i = rcpt_at(q, i)->next)
            rcpt_at(q, i)->flags |= RCPT_RECHECK;
        if (m->active != NULL)
            active_check(m->active);
        else if (m->due.key > now)
            heap_set(&q->due, &m->due, now);
    }
    return q->sweep_at < q->sweep_end;
}

/* ---- run ---- */

void queue_wake(struct queue *q)
{
    if (!q->freeing)
        loop_task_add(q->loop, &q->task);
}

/* When there is nothing to do before. Due messages that found no free slot need no timer: the next
 * slot that becomes free wakes the queue. */
static void arm_timer(struct queue *q)
{
    int64_t now = loop_now_ms(q->loop), at = INT64_MAX;
    struct qmsg *m = due_message(q);
    if (m != NULL && !q->draining && m->due.key > now)
        at = m->due.key;
    struct heap_node *n = heap_min(&q->again);
    if (n != NULL && !q->draining)
        at = min64(at, n->key);
    n = heap_min(&q->reopen);
    if (n != NULL)
        at = min64(at, n->key);
    if (!list_is_empty(&q->paced) || !list_is_empty(&q->waiting))
        at = min64(at, now + 1);
    if (at == INT64_MAX)
        loop_timer_clear(&q->timer);
    else
        loop_timer_set(&q->timer, max64(0, at - now));
}

void queue_run(struct queue *q)
{
    reopen_due(q);
    waiting_again(q);
    if (!q->draining)
        again_due(q);
    bool more = step_sweep(q), turn = true;
    unsigned budget = RUN_BUDGET;
    int64_t end = clock_mono_ms() + RUN_MS;
    for (; turn && budget > 0 && clock_mono_ms() < end; budget--) {
        turn = step_check(q);
        if (q->draining)
            continue;
        turn |= step_start(q);
        turn |= step_pull(q, LANE_FRESH);
        turn |= step_pull(q, LANE_BACKLOG);
        turn |= step_due(q);
    }
    if (more || turn)
        loop_timer_set(&q->timer, 0);
    else
        arm_timer(q);
}

void queue_timer_fn(struct loop_timer *t)
{
    queue_run(CONTAINER_OF(t, struct queue, timer));
}

void queue_task_fn(struct loop_task *t)
{
    queue_run(CONTAINER_OF(t, struct queue, task));
}
