/*
 * admin.c - what a person sees of the queue and may do to it. Nothing here loads an envelope, so
 * listing a long queue costs no disk; what an action needs the envelope for (a report about removed
 * mail) is left to the scheduler, which keeps its bounds.
 */
#include "relay/queue/queue_int.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/stats.h"

const char *queue_msg_state_text(enum queue_msg_state s)
{
    static const char *const text[] = {
        [QUEUE_ACTIVE] = "active",
        [QUEUE_WAITING] = "waiting",
        [QUEUE_PARKED] = "parked",
        [QUEUE_HELD] = "held",
    };
    return (size_t)s < ARRAY_LEN(text) ? text[s] : "?";
}

enum queue_msg_state msg_state(const struct queue *q, const struct qmsg *m)
{
    if (m->active != NULL)
        return QUEUE_ACTIVE;
    if (m->flags & MSG_HELD)
        return QUEUE_HELD;
    bool parked = false;
    for (uint32_t i = m->first; i != 0; i = rcpt_at(q, i)->next) {
        if (rcpt_at(q, i)->state != RCPT_PARKED)
            return QUEUE_WAITING;
        parked = true;
    }
    return parked ? QUEUE_PARKED : QUEUE_WAITING;
}

void msg_count(struct queue *q, struct qmsg *m)
{
    if (m->counted != 0)
        q->n_in_state[m->counted - 1]--;
    m->counted = (uint8_t)(1 + msg_state(q, m));
    q->n_in_state[m->counted - 1]++;
}

/* The reply of the first recipient that has one; else what its destination said last. */
static uint32_t reply_shown(const struct queue *q, const struct qmsg *m)
{
    uint32_t of_dest = 0;
    for (uint32_t i = m->first; i != 0; i = rcpt_at(q, i)->next) {
        const struct qrcpt *r = rcpt_at(q, i);
        if (r->reply != 0)
            return r->reply;
        if (of_dest == 0 && r->dest != 0 && dest_at(q, r->dest)->state != DEST_OPEN)
            of_dest = dest_at(q, r->dest)->last_reply;
    }
    return of_dest;
}

static void info_fill(struct queue *q, const struct qmsg *m, struct queue_msg_info *out)
{
    int64_t now = loop_now_ms(q->loop), wall = clock_wall_ms();
    *out = (struct queue_msg_info){
        .id = m->id,
        .state = msg_state(q, m),
        .arrival_ms = wall - (now - m->born),
        .attempts = m->attempts,
        .n_rcpt = m->n_rcpt,
        .n_rcpt_left = m->n_left,
        .size = m->size,
    };
    if (out->state == QUEUE_WAITING && m->due.key > now)
        out->next_attempt_ms = wall + (m->due.key - now);
    if (out->state == QUEUE_PARKED) {
        const struct qdest *d = dest_at(q, rcpt_at(q, m->first)->dest);
        if (d->state == DEST_CLOSED && d->reopen.key > now)
            out->next_attempt_ms = wall + (d->reopen.key - now);
    }
    uint32_t dest = 0;
    for (uint32_t i = m->first; i != 0 && dest == 0; i = rcpt_at(q, i)->next)
        dest = rcpt_at(q, i)->dest;
    if (dest != 0)
        dest_print(dest_at(q, dest), out->dest, sizeof(out->dest));
    reply_print(q, reply_shown(q, m), q->reply_text, sizeof(q->reply_text));
    out->last_reply = q->reply_text;
}

bool queue_list_some(struct queue *q, uint32_t *cursor, unsigned max, queue_list_fn *fn, void *arg)
{
    struct queue_msg_info info;
    if (*cursor == 0)
        *cursor = 1;
    for (unsigned k = 0; k < max && *cursor < q->msgs.used; k++) {
        const struct qmsg *m = msg_at(q, (*cursor)++);
        if (!(m->flags & MSG_LIVE))
            continue;
        info_fill(q, m, &info);
        if (!fn(arg, &info))
            return false;
    }
    return *cursor < q->msgs.used;
}

void queue_list(struct queue *q, queue_list_fn *fn, void *arg)
{
    uint32_t cursor = 0;
    (void)queue_list_some(q, &cursor, UINT32_MAX, fn, arg);
}

void queue_list_rcpt(struct queue *q, uint64_t key_hash, queue_list_fn *fn, void *arg)
{
    struct queue_msg_info info;
    uint32_t before = 0;
    for (uint32_t i = rcpt_by_key(q, key_hash); i != 0; i = rcpt_at(q, i)->same_next) {
        uint32_t m = rcpt_at(q, i)->msg;
        if (m == before)
            continue; /* the same recipient twice in one message */
        before = m;
        info_fill(q, msg_at(q, m), &info);
        if (!fn(arg, &info))
            return;
    }
}

bool queue_info(struct queue *q, uint64_t id, struct queue_msg_info *out)
{
    const struct qmsg *m = msg_find(q, id);
    if (m == NULL)
        return false;
    info_fill(q, m, out);
    return true;
}

unsigned queue_rcpts(const struct queue *q, uint64_t id, struct queue_rcpt_info *out, unsigned max)
{
    static const char *const text[] = {
        [RCPT_WAIT] = "waiting",
        [RCPT_DUE] = "waiting",
        [RCPT_PARKED] = "parked",
        [RCPT_BUSY] = "active",
    };
    const struct qmsg *m = msg_find(q, id);
    if (m == NULL)
        return 0;
    unsigned n = 0;
    for (uint32_t i = m->first; i != 0 && n < max; i = rcpt_at(q, i)->next, n++) {
        const struct qrcpt *r = rcpt_at(q, i);
        uint32_t reply = r->reply;
        out[n] = (struct queue_rcpt_info){.index = r->index, .state = text[r->state]};
        if (r->dest != 0) {
            dest_print(dest_at(q, r->dest), out[n].dest, sizeof(out[n].dest));
            if (reply == 0 && r->state == RCPT_PARKED)
                reply = dest_at(q, r->dest)->last_reply;
        }
        if (r->refused != 0)
            dest_print(dest_at(q, r->refused), out[n].refused, sizeof(out[n].refused));
        reply_print(q, reply, out[n].last_reply, sizeof(out[n].last_reply));
    }
    return m->n_left;
}

unsigned queue_rcpts_left(const struct queue *q, uint64_t id, uint32_t *index, unsigned max)
{
    const struct qmsg *m = msg_find(q, id);
    unsigned n = 0;
    if (m == NULL)
        return 0;
    for (uint32_t i = m->first; i != 0 && n < max; i = rcpt_at(q, i)->next)
        index[n++] = rcpt_at(q, i)->index;
    return m->n_left;
}

/* ---- actions ---- */

static void mark_message(struct queue *q, const struct qmsg *m, enum spool_mark_kind kind)
{
    const uint32_t all = SPOOL_RCPT_ALL;
    q->ops.mark(q->ops.ctx, m->id, &all, 1, (int)kind);
}

static void hold(struct queue *q, struct qmsg *m)
{
    m->flags |= MSG_HELD;
    mark_message(q, m, SPOOL_MARK_HELD);
    if (m->active != NULL) {
        active_stop(m->active);
        active_check(m->active);
        return;
    }
    for (uint32_t i = m->first; i != 0; i = rcpt_at(q, i)->next) {
        struct qrcpt *r = rcpt_at(q, i);
        if (r->state == RCPT_PARKED)
            rcpt_unpark(q, i);
        if (!(r->flags & RCPT_REMOVE))
            r->state = RCPT_WAIT;
    }
    msg_schedule(q, m);
}

/* Everything that only waits for its time is due now. */
static void make_due(struct queue *q, struct qmsg *m)
{
    msg_wait_is_over(q, m);
    if (m->active != NULL)
        active_check(m->active);
    else
        msg_schedule(q, m);
}

static void release(struct queue *q, struct qmsg *m)
{
    m->flags &= (uint8_t)~MSG_HELD;
    m->flags |= MSG_BACKLOG;
    m->since = loop_now_ms(q->loop); /* nobody tried it while it was held */
    mark_message(q, m, SPOOL_MARK_RELEASED);
    make_due(q, m);
}

/* Its destination cannot take it at once: it goes before all others there. */
static void park_first(struct queue *q, uint32_t number)
{
    struct qrcpt *r = rcpt_at(q, number);
    bool waits = r->state == RCPT_WAIT && !(r->flags & (RCPT_RECHECK | RCPT_REMOVE));
    if (r->state == RCPT_PARKED)
        rcpt_unpark(q, number);
    else if (!waits || dest_at(q, r->dest)->state == DEST_OPEN)
        return;
    rcpt_park(q, number, LANE_BACKLOG, true);
}

static void retry(struct queue *q, struct qmsg *m, bool first)
{
    if (m->active != NULL && m->active->n_hand > 0)
        m->flags |= MSG_AGAIN;
    for (uint32_t i = m->first; i != 0; i = rcpt_at(q, i)->next) {
        if (rcpt_at(q, i)->dest == 0)
            continue;
        if (first)
            park_first(q, i);
        dest_retry(q, dest_at(q, rcpt_at(q, i)->dest));
    }
    make_due(q, m);
}

void queue_retry_dest(struct queue *q, const char *dest)
{
    for (uint32_t i = 1; i < q->dests.used; i++) {
        struct qdest *d = dest_at(q, i);
        if (d->name.p != NULL && (dest == NULL || dest_is_named(d, dest)))
            dest_retry(q, d);
    }
}

enum queue_acted queue_act(struct queue *q, uint64_t id, enum queue_action act)
{
    struct qmsg *m = msg_find(q, id);
    if (m == NULL)
        return QUEUE_NOT_THERE;
    bool removes = act == QUEUE_REMOVE || act == QUEUE_REMOVE_WITH_DSN;
    bool is_held = m->flags & MSG_HELD;
    if (!removes && is_held != (act == QUEUE_RELEASE))
        return QUEUE_LEFT;
    switch (act) {
    case QUEUE_HOLD:
        hold(q, m);
        break;
    case QUEUE_RELEASE:
        release(q, m);
        break;
    case QUEUE_RETRY:
    case QUEUE_RETRY_FIRST:
        retry(q, m, act == QUEUE_RETRY_FIRST);
        break;
    case QUEUE_REMOVE:
    case QUEUE_REMOVE_WITH_DSN:
        (void)msg_remove(q, m, NULL, act == QUEUE_REMOVE_WITH_DSN);
        break;
    }
    return QUEUE_ACTED;
}

/* ---- the whole ---- */

void queue_list_dests(struct queue *q, queue_dest_fn *fn, void *arg)
{
    int64_t now = loop_now_ms(q->loop);
    for (uint32_t i = 1; i < q->dests.used; i++) {
        const struct qdest *d = dest_at(q, i);
        if (d->name.p == NULL)
            continue;
        struct queue_dest_info info = {
            .window = d->state == DEST_OPEN ? d->window : d->state == DEST_PROBE,
            .in_hand = d->in_hand,
            .ready = d->n_ready[LANE_FRESH] + d->n_ready[LANE_BACKLOG],
            .parked = d->n_parked,
            .delivered = d->delivered,
            .deferred = d->deferred,
        };
        if (d->state == DEST_CLOSED)
            info.closed_for_ms = d->reopen.key > now ? d->reopen.key - now : 1;
        dest_print(d, info.dest, sizeof(info.dest));
        reply_print(q, d->last_reply, info.last_error, sizeof(info.last_error));
        fn(arg, &info);
    }
}

void queue_status(const struct queue *q, struct queue_status *out)
{
    *out = (struct queue_status){
        .messages = q->msgs.live,
        .active = q->n_in_state[QUEUE_ACTIVE],
        .waiting = q->n_in_state[QUEUE_WAITING],
        .parked = q->n_in_state[QUEUE_PARKED],
        .held = q->n_in_state[QUEUE_HELD],
    };
    out->memory_bytes = sizeof(*q) + slab_memory(&q->msgs) + slab_memory(&q->rcpts) +
                        slab_memory(&q->dests) + slab_memory(&q->replies) +
                        (q->reply_bytes - q->replies.live * sizeof(struct qreply)) +
                        sizeof(uint32_t) * ((size_t)q->by_id.cap + q->by_key.cap + q->by_alias.cap +
                                            q->by_dest.cap + q->by_reply.cap) +
                        sizeof(void *) * ((size_t)q->due.cap + q->reopen.cap);
}
