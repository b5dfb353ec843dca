/*
 * result.c - what came of an attempt: marks, reports to the sender, and what happens to a message
 * when nothing of it is in hand any more.
 *
 * Failures are gathered until the other deliveries of the message have ended, so that the sender
 * gets one report (more only where one would be too large), not one for each destination. A failed
 * recipient leaves the queue only when its report is durable (queue_report_done()); until then a
 * crash means that it is tried again.
 * DELIVERED is marked at once.
 */
#include "relay/queue/queue_int.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"

static struct queue *queue_of(const struct qdelivery *qd)
{
    return qd->act->q;
}

static const struct smtp_reply *reply_of(const struct qdelivery *qd, unsigned i)
{
    const struct smtp_reply *r = qd->d.rcpt[i].reply;
    return r != NULL ? r : &qd->d.session_reply;
}

/* Who said it; "" = we ourselves. */
static const char *host_of(const struct qdelivery *qd, unsigned i)
{
    return qd->d.rcpt[i].ours ? "" : qd->d.remote_host;
}

static void log_outcome(const struct qdelivery *qd, unsigned i, const char *event)
{
    const struct delivery *d = &qd->d;
    const struct smtp_reply *r = reply_of(qd, i);
    const struct envelope_rcpt *rcpt = &d->env->rcpt[d->rcpt[i].index];
    bool same = str_eq(rcpt->address, d->rcpt[i].address);
    char dest[280];
    dest_print(qd->dest, dest, sizeof(dest));
    LOG(INFO, d->id_text, event, LS("to", rcpt->address),
        LS("as", same ? STR("=") : d->rcpt[i].address), LC("dest", dest),
        LC("host", d->remote_host), LC("ip", d->remote_ip), LU("attempt", d->attempt),
        LI("age_ms", msg_age(queue_of(qd), qd->act->m)), LU("generation", qd->generation),
        LI("code", r->code), LC("status", r->enhanced), LC("reply", r->text));
}

/* ---- reports ---- */

static void report_one(struct qactive *act, enum queue_report kind, const struct queue_end *ends,
                       unsigned n, uint32_t *rcpt)
{
    struct queue *q = act->q;
    struct qreport *rep = arena_alloc(&act->a, sizeof(*rep));
    *rep = (struct qreport){.act = act, .kind = kind, .rcpt = rcpt, .n = n};
    list_push_back(&act->reports, &rep->node);
    act->n_reports++;
    q->n_reports++;
    q->ops.report(q->ops.ctx, act->m->id, &act->env, kind, ends, n, rep);
}

/* One report, or as many as it takes. */
static void report_start(struct qactive *act, enum queue_report kind, const struct queue_end *ends,
                         unsigned n, uint32_t *rcpt)
{
    struct queue *q = act->q;
    while (n > 0) {
        unsigned k = n;
        if (q->ops.report_fits != NULL)
            k = q->ops.report_fits(q->ops.ctx, &act->env, ends, n);
        ASSERT(k > 0 && k <= n);
        report_one(act, kind, ends, k, rcpt);
        ends += k;
        n -= k;
        if (rcpt != NULL)
            rcpt += k;
    }
}

void queue_report_done(struct queue *q, void *token, bool ok)
{
    struct qreport *rep = token;
    struct qactive *act = rep->act;
    list_remove(&rep->node);
    act->n_reports--;
    q->n_reports--;
    if (!ok && rep->kind != QUEUE_REPORT_SUCCESS)
        act->report_failed = true;
    if (ok && rep->kind == QUEUE_REPORT_DELAY)
        act->m->flags |= MSG_DELAY_NOTIFIED;
    for (unsigned i = 0; i < rep->n && rep->kind == QUEUE_REPORT_FAILURE; i++) {
        if (ok) {
            rcpt_done(q, rep->rcpt[i]);
        } else {
            rcpt_at(q, rep->rcpt[i])->state = RCPT_WAIT;
            act->deferred = true;
        }
    }
    active_check(act);
}

void fail_add(struct qactive *act, uint32_t rcpt, bool expired, const struct smtp_reply *reply,
              const char *host, struct str final_address, int64_t at_ms)
{
    struct qfail *f = arena_alloc(&act->a, sizeof(*f));
    f->rcpt = rcpt;
    f->expired = expired;
    f->reply = *reply;
    (void)str_copy(str_c(host), f->host, sizeof(f->host));
    f->final_address = final_address;
    f->at_ms = at_ms != 0 ? at_ms : clock_wall_ms();
    f->next = act->fails;
    act->fails = f;
    act->n_fails++;
    rcpt_at(act->q, rcpt)->state = RCPT_BUSY;
    stats_inc(expired ? STAT_queue_expired : STAT_queue_failed);
}

static void fails_flush(struct qactive *act)
{
    unsigned n = act->n_fails, i = n;
    if (n == 0)
        return;
    struct queue_end *ends = mem_array(n, sizeof(*ends));
    uint32_t *rcpt = arena_alloc(&act->a, n * sizeof(*rcpt));
    for (struct qfail *f = act->fails; f != NULL; f = f->next) {
        struct queue_end *e = &ends[--i]; /* in the order in which they failed */
        rcpt[i] = f->rcpt;
        e->index = rcpt_at(act->q, f->rcpt)->index;
        e->outcome = OUTCOME_FAILED;
        e->expired = f->expired;
        e->reply = f->reply;
        memcpy(e->remote_host, f->host, sizeof(e->remote_host));
        e->final_address = f->final_address;
        e->last_attempt_ms = f->at_ms;
    }
    act->fails = NULL;
    act->n_fails = 0;
    report_start(act, QUEUE_REPORT_FAILURE, ends, n, rcpt);
    mem_free(ends);
}

/* Wall time of the last attempt, 0 if there was none in this process. */
static int64_t last_attempt(const struct queue *q, const struct qmsg *m)
{
    if (m->last_attempt_s == 0)
        return 0;
    int64_t mono = q->start_ms + (int64_t)m->last_attempt_s * 1000;
    return clock_wall_ms() - (loop_now_ms(q->loop) - mono);
}

/* A recipient that is not in hand fails: too old (why NULL: the last reply seen), or removed. */
static void fail_undelivered(struct qactive *act, uint32_t number, const struct smtp_reply *why)
{
    struct queue *q = act->q;
    struct qrcpt *r = rcpt_at(q, number);
    struct smtp_reply last;
    char host[256], id[14];
    spool_id_text(act->m->id, id);
    if (r->state == RCPT_PARKED)
        rcpt_unpark(q, number);
    /* A destination that was closed throughout has the reason. */
    uint32_t known = r->reply != 0 || r->dest == 0 ? r->reply : dest_at(q, r->dest)->last_reply;
    reply_get(q, known, &last, host, sizeof(host));
    LOG(INFO, id, why == NULL ? "expired" : "removed", LS("to", act->env.rcpt[r->index].address),
        LI("age_ms", msg_age(q, act->m)), LI("code", last.code), LC("status", last.enhanced),
        LC("reply", last.text));
    fail_add(act, number, why == NULL, why == NULL ? &last : why, why == NULL ? host : "", STR_NULL,
             last_attempt(q, act->m));
}

static void expire(struct qactive *act)
{
    struct queue *q = act->q;
    for (uint32_t i = act->m->first; i != 0; i = rcpt_at(q, i)->next) {
        if (rcpt_at(q, i)->state != RCPT_BUSY)
            fail_undelivered(act, i, NULL);
    }
    fails_flush(act);
}

static void report_delay(struct qactive *act)
{
    struct queue *q = act->q;
    struct queue_end *ends = mem_array(act->m->n_left, sizeof(*ends));
    int64_t until = clock_wall_ms() + msg_expires_at(q, act->m) - loop_now_ms(q->loop);
    unsigned n = 0;
    for (uint32_t i = act->m->first; i != 0; i = rcpt_at(q, i)->next) {
        const struct qrcpt *r = rcpt_at(q, i);
        struct queue_end *e = &ends[n++];
        uint32_t known = r->reply != 0 || r->dest == 0 ? r->reply : dest_at(q, r->dest)->last_reply;
        e->index = r->index;
        e->outcome = OUTCOME_DEFERRED;
        e->last_attempt_ms = last_attempt(q, act->m);
        e->tried_until_ms = until;
        reply_get(q, known, &e->reply, e->remote_host, sizeof(e->remote_host));
    }
    report_start(act, QUEUE_REPORT_DELAY, ends, n, NULL);
    mem_free(ends);
}

/* ---- the end of a delivery ---- */

static void report_success(struct qdelivery *qd)
{
    struct qactive *act = qd->act;
    const struct delivery *d = &qd->d;
    struct queue_end *ends = NULL;
    unsigned n = 0;
    if (act->env.sender.n == 0)
        return;
    for (unsigned i = 0; i < d->n_rcpt; i++) {
        const struct envelope_rcpt *rcpt = &act->env.rcpt[d->rcpt[i].index];
        if (d->rcpt[i].outcome != OUTCOME_DELIVERED || !(rcpt->notify & MAIL_NOTIFY_SUCCESS))
            continue;
        if (ends == NULL)
            ends = mem_array(d->n_rcpt, sizeof(*ends));
        struct queue_end *e = &ends[n++];
        e->index = d->rcpt[i].index;
        e->outcome = OUTCOME_DELIVERED;
        e->reply = *reply_of(qd, i);
        memcpy(e->remote_host, d->remote_host, sizeof(e->remote_host));
        e->relayed_to_dsn = d->remote_dsn;
        e->final_address = d->rcpt[i].address;
        e->last_attempt_ms = clock_wall_ms();
    }
    if (n > 0)
        report_start(act, QUEUE_REPORT_SUCCESS, ends, n, NULL);
    mem_free(ends);
}

static void take_delivered(struct qdelivery *qd)
{
    struct qactive *act = qd->act;
    struct queue *q = act->q;
    uint32_t few[32], *done = few;
    unsigned n = 0;
    if (qd->d.n_rcpt > ARRAY_LEN(few))
        done = arena_alloc(&act->a, qd->d.n_rcpt * sizeof(*done));
    for (unsigned i = 0; i < qd->d.n_rcpt; i++) {
        if (qd->d.rcpt[i].outcome == OUTCOME_DELIVERED)
            done[n++] = qd->d.rcpt[i].index;
    }
    if (n == 0)
        return;
    report_success(qd);
    q->ops.mark(q->ops.ctx, act->m->id, done, n, SPOOL_MARK_DELIVERED);
    qd->dest->delivered += n;
    stats_add(STAT_queue_delivered, n);
}

static void take_deferred(struct qdelivery *qd, unsigned i, uint32_t *shared)
{
    struct qactive *act = qd->act;
    struct queue *q = act->q;
    struct qrcpt *r = rcpt_at(q, qd->rcpt[i]);
    log_outcome(qd, i, "deferred");
    reply_unref(q, &r->reply);
    if (reply_of(qd, i) == &qd->d.session_reply) {
        if (*shared == 0)
            *shared = reply_ref(q, &qd->d.session_reply, host_of(qd, i));
        r->reply = *shared;
        reply_at(q, *shared)->refs++;
    } else {
        r->reply = reply_ref(q, reply_of(qd, i), host_of(qd, i));
    }
    act->attempted = true;
    qd->dest->deferred++;
    stats_inc(STAT_queue_deferred);
    if (qd->d.verdict != DEST_OK && qd->dest->state != DEST_OPEN && !(act->m->flags & MSG_HELD) &&
        !(r->flags & RCPT_REMOVE)) {
        rcpt_park(q, qd->rcpt[i], LANE_BACKLOG, (act->m->flags & MSG_AGAIN) != 0);
        return;
    }
    r->state = RCPT_WAIT;
    if (qd->d.verdict == DEST_UNREACHABLE)
        act->unreached = true;
    else
        act->deferred = true;
}

static void take_reroute(struct qactive *act, uint32_t number)
{
    struct qrcpt *r = rcpt_at(act->q, number);
    r->state = RCPT_DUE;
    if (act->m->flags & MSG_HELD || r->flags & RCPT_REMOVE)
        return; /* delivery_wanted() */
    stats_inc(STAT_queue_rerouted);
    if (act->rerouted > REROUTE_MAX) {
        r->state = RCPT_WAIT;
        act->deferred = true;
    }
}

static void take_rcpt(struct qdelivery *qd, unsigned i, uint32_t *shared)
{
    struct qactive *act = qd->act;
    switch (qd->d.rcpt[i].outcome) {
    case OUTCOME_DELIVERED:
        log_outcome(qd, i, "delivered");
        act->attempted = true;
        rcpt_done(act->q, qd->rcpt[i]);
        return;
    case OUTCOME_FAILED:
        act->attempted = true;
        if (refused_try_other(qd, i, reply_of(qd, i)))
            return;
        log_outcome(qd, i, "failed");
        fail_add(act, qd->rcpt[i], false, reply_of(qd, i), host_of(qd, i), qd->d.rcpt[i].address,
                 0);
        return;
    case OUTCOME_REROUTE:
        if (qd->waits)
            rcpt_take_turn(qd, i);
        else
            take_reroute(act, qd->rcpt[i]);
        return;
    case OUTCOME_NONE:
    case OUTCOME_DEFERRED:
        take_deferred(qd, i, shared);
    }
}

void delivery_done(struct delivery *d)
{
    struct qdelivery *qd = CONTAINER_OF(d, struct qdelivery, d);
    struct qactive *act = qd->act;
    struct queue *q = act->q;
    unsigned rerouted = 0;
    uint32_t shared = 0;
    for (unsigned i = 0; i < d->n_rcpt; i++)
        rerouted += d->rcpt[i].outcome == OUTCOME_REROUTE;
    delivery_answered(d);
    /* The rest of "too many recipients" goes on at once: each round has fewer. */
    act->rerouted += rerouted == d->n_rcpt && !qd->waits;
    act->waits += qd->waits;
    if (d->verdict != DEST_OK && d->session_reply.code != 0)
        shared = reply_ref(q, &d->session_reply, d->remote_host);
    /* Nothing was sent if all are to be decided again: that says nothing about the destination. */
    if (rerouted < d->n_rcpt)
        dest_verdict(q, qd, d->verdict, shared);
    else
        qd->began_ns = 0;
    take_delivered(qd);
    for (unsigned i = 0; i < d->n_rcpt; i++)
        take_rcpt(qd, i, &shared);
    reply_unref(q, &shared);
    dest_end(q, qd);
    delivery_drop(qd);
    active_check(act);
}

/* ---- when something has ended ---- */

/* Those that an admin has removed, but for what is in hand. */
static void remove_marked(struct qactive *act)
{
    struct queue *q = act->q;
    struct smtp_reply why = {.code = 550, .enhanced = "5.7.1"};
    (void)str_copy(STR("removed from the queue by the administrator"), why.text, sizeof(why.text));
    msg_remove_silent(q, act->m);
    for (uint32_t i = act->m->first; i != 0; i = rcpt_at(q, i)->next) {
        if (rcpt_at(q, i)->flags & RCPT_REMOVE && rcpt_at(q, i)->state != RCPT_BUSY)
            fail_undelivered(act, i, &why);
    }
}

/* What was put off since the last time has its next attempt; it comes with those that wait for
 * theirs. */
static void put_off(struct qactive *act)
{
    struct queue *q = act->q;
    struct qmsg *m = act->m;
    int64_t now = loop_now_ms(q->loop), next = INT64_MAX;
    bool others = heap_node_is_linked(&act->again);
    if (act->attempted) {
        m->attempts += !others && m->attempts < UINT16_MAX;
        m->last_attempt_s = (uint32_t)((now - q->start_ms) / 1000 + 1);
    }
    if (act->deferred || act->attempted)
        m->flags |= MSG_BACKLOG;
    if (act->deferred || act->report_failed)
        next = now + queue_retry_after(q, m->attempts);
    else if (act->unreached) /* the destination's trouble, not the message's: soon again */
        next = now + queue_jitter(q->conf.dest_backoff_min_ms);
    act->attempted = act->deferred = act->unreached = false;
    if (next == INT64_MAX)
        return;
    if (!others || next < m->next)
        m->next = next;
    heap_set(&q->again, &act->again, m->next);
    queue_wake(q); /* for the timer */
}

static void leave_active(struct qactive *act)
{
    struct queue *q = act->q;
    struct qmsg *m = act->m;
    put_off(act);
    if (m->flags & MSG_AGAIN)
        m->next = loop_now_ms(q->loop);
    m->flags &= (uint8_t)~MSG_AGAIN;
    active_release(act);
    if (m->n_left == 0) {
        stats_add(STAT_queue_messages, -1);
        msg_delete(q, m);
        return;
    }
    msg_schedule(q, m);
}

void active_settle(struct qactive *act)
{
    struct queue *q = act->q;
    struct qmsg *m = act->m;
    bool held = (m->flags & MSG_HELD) != 0;
    if (!act->report_failed)
        remove_marked(act);
    if (held) {
        active_stop(act);
    } else {
        active_recheck(act);
        active_dispatch_due(act); /* also when it is too old: a last attempt */
    }
    if (act->n_hand > 0 || act->n_ready > 0 || act->n_waiting > 0) {
        if (!held && (act->deferred || act->unreached))
            put_off(act);
        return;
    }
    fails_flush(act);
    if (act->n_reports > 0)
        return;
    if (m->n_left > 0 && !act->report_failed && !held) {
        if (msg_is_expired(q, m))
            expire(act);
        else if (msg_delay_is_due(q, m))
            report_delay(act);
    }
    if (act->n_reports == 0)
        leave_active(act);
}
