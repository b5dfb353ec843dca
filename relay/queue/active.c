/*
 * active.c - messages whose envelope is in memory: loading, deciding, and grouping recipients with
 * the same destination into deliveries.
 *
 * The decision is made anew at every attempt, when a change concerns what is ready but not started,
 * and once more just before MAIL is sent if the directory has changed in between (confirm.c).
 * Everything that belongs to an active message lives in its arena; released objects are kept for
 * reuse, so in the steady state a message passes through without an allocation.
 *
 * On failure: an envelope that cannot be read now is tried again later; one that is damaged is held
 * and logged as an error, because only a person can tell what it was.
 */
#include "relay/queue/queue_int.h"

#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"

bool slot_is_free(const struct queue *q, bool backlog)
{
    unsigned max = q->conf.active_max;
    if (q->n_active >= max)
        return false;
    return !backlog || max < 4 || q->n_active_backlog < max - max / 4;
}

/* ---- coming and going ---- */

static struct qactive *active_take(struct queue *q)
{
    struct list_node *n = list_pop_front(&q->spare);
    if (n != NULL) {
        q->n_spare--;
        return CONTAINER_OF(n, struct qactive, node);
    }
    struct qactive *act = NEW(struct qactive);
    arena_init(&act->a, 4096, 0);
    return act;
}

static void active_give_back(struct queue *q, struct qactive *act)
{
    struct arena a;
    if (q->n_spare >= ACTIVE_SPARE_MAX) {
        arena_free(&act->a);
        mem_free(act);
        return;
    }
    arena_reset(&act->a);
    a = act->a;
    *act = (struct qactive){.a = a};
    list_push_front(&q->spare, &act->node);
    q->n_spare++;
}

struct qactive *active_new(struct queue *q, struct qmsg *m, struct str envelope)
{
    struct qactive *act = active_take(q);
    char *copy = arena_alloc(&act->a, envelope.n);
    if (envelope.n > 0)
        memcpy(copy, envelope.p, envelope.n);
    struct err e;
    if (!envelope_decode(str_n(copy, envelope.n), &act->a, &act->env, &e)) {
        char id[14];
        spool_id_text(m->id, id);
        LOG(ERROR, id, "envelope-damaged", LC("error", e.text));
        active_give_back(q, act);
        return NULL;
    }
    act->q = q;
    act->m = m;
    act->backlog = (m->flags & MSG_BACKLOG) != 0;
    list_init(&act->deliveries);
    list_init(&act->reports);
    list_push_back(&q->active, &act->node);
    q->n_active++;
    q->n_active_backlog += act->backlog;
    heap_remove(&q->due, &m->due);
    m->active = act;
    stats_add(STAT_queue_active, 1);
    msg_count(q, m);
    return act;
}

void active_release(struct qactive *act)
{
    struct queue *q = act->q;
    ASSERT(act->n_hand == 0 && act->n_ready == 0 && act->n_waiting == 0 && act->n_reports == 0);
    list_remove(&act->node);
    list_remove(&act->check);
    heap_remove(&q->again, &act->again);
    q->n_active--;
    q->n_active_backlog -= act->backlog;
    act->m->active = NULL;
    stats_add(STAT_queue_active, -1);
    active_give_back(q, act);
    queue_wake(q); /* a slot is free */
}

/* Some may wait while others are decided anew, or have come to the front of a line. */
static void keep_waiting(struct qactive *act)
{
    struct queue *q = act->q;
    for (uint32_t i = act->m->first; i != 0; i = rcpt_at(q, i)->next) {
        if (rcpt_at(q, i)->state == RCPT_WAIT) {
            heap_set(&q->again, &act->again, act->m->next);
            return;
        }
    }
}

/* Everything of this message waits until `after`. */
static void wait_all(struct queue *q, struct qmsg *m, int64_t after)
{
    for (uint32_t i = m->first; i != 0; i = rcpt_at(q, i)->next) {
        struct qrcpt *r = rcpt_at(q, i);
        if (r->state == RCPT_PARKED)
            rcpt_unpark(q, i);
        r->state = RCPT_WAIT;
        r->flags &= (uint8_t)~RCPT_RECHECK;
    }
    m->next = loop_now_ms(q->loop) + after;
}

struct qactive *active_open(struct queue *q, struct qmsg *m)
{
    if (m->active != NULL)
        return m->active;
    bool gone = false;
    char id[14];
    spool_id_text(m->id, id);
    buf_clear(&q->load);
    if (!q->ops.load(q->ops.ctx, m->id, &q->load, &gone)) {
        if (gone) {
            LOG(ERROR, id, "message-gone", LU("recipients", m->n_left));
            stats_add(STAT_queue_messages, -1);
            msg_delete(q, m);
            return NULL;
        }
        LOG(WARN, id, "load-failed", LI("retry_ms", q->conf.retry_min_ms));
        wait_all(q, m, queue_jitter(q->conf.retry_min_ms));
        msg_schedule(q, m);
        return NULL;
    }
    struct qactive *act = active_new(q, m, buf_str(&q->load));
    bool fits = act != NULL && act->env.n_rcpt == m->n_rcpt;
    if (!fits) {
        if (act != NULL) {
            LOG(ERROR, id, "envelope-changed", LU("recipients", act->env.n_rcpt),
                LU("expected", m->n_rcpt));
            active_release(act);
        }
        wait_all(q, m, 0);
        heap_remove(&q->due, &m->due);
        m->flags |= MSG_HELD;
        msg_count(q, m);
        return NULL;
    }
    keep_waiting(act);
    return act;
}

/* ---- deliveries ---- */

static struct qdelivery *delivery_new(struct qactive *act, struct qdest *dest, unsigned cap,
                                      enum lane lane)
{
    struct qmsg *m = act->m;
    struct qdelivery *qd = arena_alloc(&act->a, sizeof(*qd));
    qd->act = act;
    qd->dest = dest;
    qd->lane = lane;
    qd->generation = UINT64_MAX;
    qd->rcpt = arena_alloc(&act->a, cap * sizeof(*qd->rcpt));
    qd->mailbox = arena_alloc(&act->a, cap * sizeof(*qd->mailbox));

    struct delivery *d = &qd->d;
    d->msg_id = m->id;
    spool_id_text(m->id, d->id_text);
    d->env = &act->env;
    d->dest = (struct dest_key){.kind = (enum dest_kind)dest->kind, .name = dest->name};
    d->content_size = m->size;
    d->content_8bit = (m->flags & MSG_8BIT) != 0;
    d->rcpt = arena_alloc(&act->a, cap * sizeof(*d->rcpt));
    d->attempt = m->attempts + 1u;
    d->confirm = delivery_confirm;
    d->wanted = delivery_wanted;
    d->answered = delivery_answered;
    d->done = delivery_done;
    d->owner = qd;
    list_push_back(&act->deliveries, &qd->of_msg);
    return qd;
}

void delivery_drop(struct qdelivery *qd)
{
    delivery_answered(&qd->d);
    list_remove(&qd->of_msg);
    mem_free(qd->d.replies);
    qd->d.replies = NULL;
}

void active_take_back(struct qactive *act, const struct qdest *d)
{
    struct queue *q = act->q;
    LIST_FOREACH_SAFE (n, tmp, &act->deliveries) {
        struct qdelivery *qd = CONTAINER_OF(n, struct qdelivery, of_msg);
        if (qd->started || (d != NULL && qd->dest != d))
            continue;
        for (unsigned i = 0; i < qd->d.n_rcpt; i++)
            rcpt_at(q, qd->rcpt[i])->state = RCPT_WAIT;
        dest_unready(q, qd);
        delivery_drop(qd);
    }
}

void active_stop(struct qactive *act)
{
    struct queue *q = act->q;
    active_take_back(act, NULL);
    for (uint32_t i = act->m->first; i != 0; i = rcpt_at(q, i)->next) {
        struct qrcpt *r = rcpt_at(q, i);
        if (r->state == RCPT_PARKED)
            rcpt_unpark(q, i);
        if (r->state != RCPT_BUSY)
            r->state = RCPT_WAIT;
    }
}

/* ---- decisions ---- */

/* A recipient that is to be delivered, until every one of the round has its decision. */
struct pick {
    uint32_t rcpt;
    struct qdest *dest;
    struct str address;
    uint64_t generation;
    uint64_t mailbox;
};

void active_decide(struct qactive *act, uint32_t number, struct arena *a, struct decision *out)
{
    struct queue *q = act->q;
    const struct qrcpt *r = rcpt_at(q, number);
    struct str refused_by = r->refused != 0 ? dest_at(q, r->refused)->name : STR_NULL;
    *out = (struct decision){0};
    q->ops.decide(q->ops.ctx, &act->env, r->index, refused_by, a, out);
    rcpt_also_by(q, number, out->key_hash);
}

static void log_refusal(const struct qactive *act, const struct qrcpt *r,
                        const struct decision *dec)
{
    char id[14];
    struct str to = act->env.rcpt[r->index].address;
    spool_id_text(act->m->id, id);
    if (dec->alarm)
        LOG(WARN, id, "refused", LS("to", to), LC("rule", dec->rule), LC("why", dec->reply.text));
    else
        LOG(INFO, id, "refused", LS("to", to), LC("rule", dec->rule), LC("why", dec->reply.text));
}

static void defer_by_decision(struct qactive *act, struct qrcpt *r, const struct decision *dec)
{
    struct queue *q = act->q;
    rcpt_set_dest(q, r, NULL);
    reply_unref(q, &r->reply);
    r->reply = reply_ref(q, &dec->reply, "");
    r->state = RCPT_WAIT;
    act->attempted = act->deferred = true;
}

static void place(struct qactive *act, const struct pick *p, enum lane lane, bool pulled)
{
    struct queue *q = act->q;
    struct qdest *d = p->dest;
    struct qdelivery *qd = d->filling;
    if (qd == NULL || qd->d.n_rcpt == d->filling_cap) {
        bool in_line = !pulled && d->park_first[lane] != 0;
        if (in_line || !dest_takes(q, d, lane)) {
            d->picked--;
            rcpt_park(q, p->rcpt, d->state == DEST_OPEN ? lane : LANE_BACKLOG, false);
            return;
        }
        unsigned max = q->conf.rcpt_per_delivery_max;
        d->filling_cap = d->picked < max ? d->picked : max;
        qd = d->filling = delivery_new(act, d, d->filling_cap, lane);
        dest_ready(q, qd);
    }
    d->picked--;
    unsigned i = qd->d.n_rcpt++;
    qd->rcpt[i] = p->rcpt;
    qd->mailbox[i] = p->mailbox;
    qd->d.rcpt[i] =
        (struct delivery_rcpt){.index = rcpt_at(q, p->rcpt)->index, .address = p->address};
    if (p->generation < qd->generation)
        qd->generation = p->generation;
    rcpt_at(q, p->rcpt)->state = RCPT_BUSY;
}

/* Fills *p and returns true if the recipient is to be delivered. */
static bool pick_one(struct qactive *act, uint32_t number, struct pick *p)
{
    struct queue *q = act->q;
    struct qrcpt *r = rcpt_at(q, number);
    struct decision dec;
    r->flags &= (uint8_t)~RCPT_RECHECK;
    active_decide(act, number, &act->a, &dec);
    if (dec.kind == DECISION_REFUSE) {
        rcpt_set_dest(q, r, NULL);
        log_refusal(act, r, &dec);
        fail_add(act, number, false, &dec.reply, "", STR_NULL, 0);
        return false;
    }
    if (dec.kind == DECISION_DEFER) {
        defer_by_decision(act, r, &dec);
        return false;
    }
    *p = (struct pick){.rcpt = number,
                       .dest = dest_get(q, &dec.dest),
                       .address = dec.address,
                       .generation = dec.generation,
                       .mailbox = rcpt_mailbox(q, number, &dec)};
    rcpt_set_dest(q, r, p->dest);
    r->addr_hash = (uint32_t)hash64(dec.address.p, dec.address.n);
    p->dest->picked++;
    return true;
}

void active_dispatch(struct qactive *act, const uint32_t *rcpt, unsigned n, enum lane lane,
                     bool pulled)
{
    struct pick *picks = arena_alloc(&act->a, n * sizeof(*picks));
    unsigned n_picks = 0;
    for (unsigned i = 0; i < n; i++)
        n_picks += pick_one(act, rcpt[i], &picks[n_picks]);
    for (unsigned i = 0; i < n_picks; i++)
        place(act, &picks[i], lane, pulled);
    for (unsigned i = 0; i < n_picks; i++)
        picks[i].dest->filling = NULL;
    if ((act->n_ready == 0 && act->n_hand == 0) || act->deferred)
        active_check(act);
}

void active_dispatch_due(struct qactive *act)
{
    struct queue *q = act->q;
    uint32_t *due = NULL;
    unsigned n = 0;
    for (uint32_t i = act->m->first; i != 0; i = rcpt_at(q, i)->next) {
        if (rcpt_at(q, i)->state != RCPT_DUE || rcpt_at(q, i)->flags & RCPT_REMOVE)
            continue;
        if (due == NULL)
            due = arena_alloc(&act->a, act->m->n_left * sizeof(*due));
        due[n++] = i;
    }
    if (n > 0)
        active_dispatch(act, due, n, act->m->flags & MSG_BACKLOG ? LANE_BACKLOG : LANE_FRESH,
                        false);
}

/* Is the answer for this recipient what it was when it was last tried? */
static bool same_answer(const struct queue *q, const struct qrcpt *r, const struct decision *dec)
{
    if (dec->kind == DECISION_DEFER)
        return r->dest == 0;
    if (dec->kind != DECISION_DELIVER || r->dest == 0)
        return false;
    return dest_find(q, &dec->dest) == dest_at(q, r->dest) &&
           r->addr_hash == (uint32_t)hash64(dec->address.p, dec->address.n);
}

/* Is it to be decided anew by active_dispatch()? */
static bool has_moved(struct qactive *act, uint32_t number)
{
    struct queue *q = act->q;
    struct qrcpt *r = rcpt_at(q, number);
    struct decision dec;
    r->flags &= (uint8_t)~RCPT_RECHECK;
    if (r->state == RCPT_DUE || r->flags & RCPT_REMOVE)
        return false;
    arena_reset(&q->scratch);
    active_decide(act, number, &q->scratch, &dec);
    if (same_answer(q, r, &dec))
        return false;
    stats_inc(STAT_queue_rerouted);
    return true;
}

/* Takes those out that have moved; the others keep their place. */
static void recheck_ready(struct qdelivery *qd)
{
    struct qactive *act = qd->act;
    struct queue *q = act->q;
    unsigned left = 0;
    for (unsigned i = 0; i < qd->d.n_rcpt; i++) {
        struct qrcpt *r = rcpt_at(q, qd->rcpt[i]);
        if (r->flags & RCPT_RECHECK && has_moved(act, qd->rcpt[i])) {
            r->state = RCPT_DUE;
            continue;
        }
        qd->rcpt[left] = qd->rcpt[i];
        qd->mailbox[left] = qd->mailbox[i];
        qd->d.rcpt[left++] = qd->d.rcpt[i];
    }
    qd->d.n_rcpt = left;
    if (left == 0) {
        dest_unready(q, qd);
        delivery_drop(qd);
    }
}

void active_recheck(struct qactive *act)
{
    struct queue *q = act->q;
    bool busy = false;
    for (uint32_t i = act->m->first; i != 0; i = rcpt_at(q, i)->next) {
        struct qrcpt *r = rcpt_at(q, i);
        if (!(r->flags & RCPT_RECHECK))
            continue;
        if (r->state == RCPT_BUSY) {
            busy = true;
        } else if (has_moved(act, i)) {
            if (r->state == RCPT_PARKED)
                rcpt_unpark(q, i);
            r->state = RCPT_DUE;
        }
    }
    if (!busy || act->n_ready == 0)
        return;
    LIST_FOREACH_SAFE (n, tmp, &act->deliveries) {
        struct qdelivery *qd = CONTAINER_OF(n, struct qdelivery, of_msg);
        if (!qd->started)
            recheck_ready(qd);
    }
}
