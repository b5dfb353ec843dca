/*
 * confirm.c - the last moment before a delivery's recipients are said to a next hop: is the
 * decision still the directory's, and is it this delivery's turn?
 *
 * The decision is made once more if there is a newer generation since. Then the recipients are
 * entered as under way (underway.h), and the generation is looked at again: whoever goes another
 * way by a newer one sees either that they are under way, or is seen here.
 *
 * A recipient that has moved, while mail for it is still under way the old way, waits: it is taken
 * out of its delivery, which goes on without it, and is BUSY on a list of the queue's that is gone
 * through each millisecond; its message stays active. Most wait for a reply on a local network;
 * none is waited for longer than UNDERWAY_WAIT_MS, and a flood for such mailboxes has no more than
 * a quarter of the active set to wait in: what is more goes at once.
 */
#include "relay/queue/queue_int.h"

#include "base/log.h"
#include "base/stats.h"

/* A message waits so often; where mailboxes go to and fro all the time, there is no order. */
#define WAITS_MAX 8

/* A recipient that waits for its turn. */
struct qwaiting {
    struct list_node node; /* of q->waiting */
    struct qactive *act;
    uint32_t rcpt;
    struct underway_rcpt way;
};

uint64_t rcpt_mailbox(const struct queue *q, uint32_t number, const struct decision *dec)
{
    const struct qrcpt *r = rcpt_at(q, number);
    /* It goes where the others do not, for as long as they do. */
    if (r->refused != 0)
        return 0;
    return dec->mailbox != 0 ? dec->mailbox : (uint64_t)r->hash_hi << 32 | r->hash_lo;
}

/* Do all recipients go where this delivery does, by the newest generation? */
static bool is_still_right(struct qdelivery *qd)
{
    struct delivery *d = &qd->d;
    struct queue *q = qd->act->q;
    uint64_t newest = q->ops.generation(q->ops.ctx), oldest = UINT64_MAX;
    if (newest == qd->generation)
        return true;
    for (unsigned i = 0; i < d->n_rcpt; i++) {
        struct decision dec;
        arena_reset(&q->scratch);
        active_decide(qd->act, qd->rcpt[i], &q->scratch, &dec);
        if (dec.kind != DECISION_DELIVER || dec.dest.kind != d->dest.kind ||
            !str_eq(dec.dest.name, d->dest.name) || !str_eq(dec.address, d->rcpt[i].address))
            return false;
        if (dec.generation < oldest)
            oldest = dec.generation;
        qd->mailbox[i] = rcpt_mailbox(q, qd->rcpt[i], &dec);
    }
    qd->generation = oldest;
    return true;
}

/* ---- under way ---- */

static struct underway_rcpt way_of(const struct qdelivery *qd, unsigned i)
{
    return (struct underway_rcpt){
        .mailbox = qd->mailbox[i], .dest = qd->dest->hash, .generation = qd->generation};
}

/* All but those that were found to have to wait. */
static void leave(struct qdelivery *qd)
{
    struct queue *q = qd->act->q;
    for (unsigned i = 0; i < qd->d.n_rcpt; i++) {
        const struct underway_rcpt way = way_of(qd, i);
        if (way.mailbox != 0 && !(rcpt_at(q, qd->rcpt[i])->flags & RCPT_WAITS))
            underway_leave(q->ops.underway, &way);
    }
}

static bool may_wait(const struct qactive *act)
{
    const struct queue *q = act->q;
    return q->n_waiting < q->conf.active_max / 4 && act->waits < WAITS_MAX;
}

/* False: some have to wait, they are marked, and none is entered. */
static bool enter(struct qdelivery *qd)
{
    struct queue *q = qd->act->q;
    bool patient = may_wait(qd->act);
    if (q->ops.underway == NULL)
        return true;
    for (unsigned i = 0; i < qd->d.n_rcpt; i++) {
        const struct underway_rcpt way = way_of(qd, i);
        if (way.mailbox == 0 ||
            underway_enter(q->ops.underway, &way, patient, loop_now_ms(q->loop)))
            continue;
        rcpt_at(q, qd->rcpt[i])->flags |= RCPT_WAITS;
        qd->waits = true;
    }
    if (qd->waits)
        leave(qd);
    qd->entered = !qd->waits;
    return qd->entered;
}

void delivery_answered(struct delivery *d)
{
    struct qdelivery *qd = CONTAINER_OF(d, struct qdelivery, d);
    if (!qd->entered)
        return;
    qd->entered = false;
    leave(qd);
}

bool delivery_confirm(struct delivery *d)
{
    struct qdelivery *qd = CONTAINER_OF(d, struct qdelivery, d);
    struct queue *q = qd->act->q;
    do {
        delivery_answered(d);
        if (!is_still_right(qd) || !enter(qd))
            return false;
    } while (q->ops.generation(q->ops.ctx) != qd->generation);
    return true;
}

bool delivery_wanted(struct delivery *d)
{
    struct qdelivery *qd = CONTAINER_OF(d, struct qdelivery, d);
    bool stopped = (qd->act->m->flags & MSG_HELD) != 0;
    for (unsigned i = 0; i < d->n_rcpt && !stopped; i++)
        stopped = (rcpt_at(qd->act->q, qd->rcpt[i])->flags & RCPT_REMOVE) != 0;
    return !stopped && is_still_right(qd);
}

/* ---- waiting ---- */

void rcpt_take_turn(struct qdelivery *qd, unsigned i)
{
    struct qactive *act = qd->act;
    struct queue *q = act->q;
    struct qrcpt *r = rcpt_at(q, qd->rcpt[i]);
    bool waits = (r->flags & RCPT_WAITS) != 0;
    r->flags &= (uint8_t)~RCPT_WAITS;
    r->state = RCPT_DUE;
    if (!waits || act->m->flags & MSG_HELD || r->flags & RCPT_REMOVE)
        return;
    struct qwaiting *w = arena_alloc(&act->a, sizeof(*w));
    *w = (struct qwaiting){.act = act, .rcpt = qd->rcpt[i], .way = way_of(qd, i)};
    r->state = RCPT_BUSY;
    list_push_back(&q->waiting, &w->node);
    q->n_waiting++;
    act->n_waiting++;
    stats_inc(STAT_queue_waited);
    LOG(DEBUG, qd->d.id_text, "waits-for-the-old-way", LS("as", qd->d.rcpt[i].address),
        LS("dest", qd->d.dest.name), LU("generation", qd->generation));
}

void waiting_again(struct queue *q)
{
    int64_t now = loop_now_ms(q->loop);
    if (now == q->waiting_ms)
        return;
    q->waiting_ms = now;
    LIST_FOREACH_SAFE (n, tmp, &q->waiting) {
        struct qwaiting *w = CONTAINER_OF(n, struct qwaiting, node);
        if (underway_must_wait(q->ops.underway, &w->way, now))
            continue;
        list_remove(n);
        q->n_waiting--;
        w->act->n_waiting--;
        rcpt_at(q, w->rcpt)->state = RCPT_DUE;
        active_check(w->act);
    }
}
