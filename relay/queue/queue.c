/*
 * queue.c - the queue's making and end, and how messages and news get in.
 *
 * queue.h is the contract, queue_int.h tells how the parts work together.
 */
#include "relay/queue/queue_int.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"

/* An envelope has at most ENVELOPE_RCPT_MAX recipients of bounded length: this is never reached. */
#define ENVELOPE_BYTES_MAX (32u << 20)

struct queue *queue_new(struct loop *l, const struct queue_conf *c, const struct queue_ops *ops)
{
    struct queue *q = NEW(struct queue);
    q->loop = l;
    q->conf = *c;
    q->ops = *ops;
    q->start_ms = loop_now_ms(l);
    index_init(q);
    heap_init(&q->due);
    heap_init(&q->again);
    heap_init(&q->reopen);
    list_init(&q->active);
    list_init(&q->spare);
    list_init(&q->check);
    list_init(&q->startable);
    list_init(&q->paced);
    list_init(&q->waiting);
    list_init(&q->idle_dests);
    for (int i = 0; i < LANES; i++) {
        list_init(&q->pull[i]);
        list_init(&q->unproven_wait[i]);
    }
    arena_init(&q->scratch, 16384, 0);
    buf_init(&q->load, ENVELOPE_BYTES_MAX);
    loop_timer_init(&q->timer, l, queue_timer_fn);
    q->task.fn = queue_task_fn;
    return q;
}

static void active_abandon(struct queue *q, struct qactive *act)
{
    LIST_FOREACH_SAFE (n, tmp, &act->deliveries) {
        struct qdelivery *qd = CONTAINER_OF(n, struct qdelivery, of_msg);
        if (qd->started)
            q->ops.transport.cancel(q->ops.transport.ctx, &qd->d);
        delivery_drop(qd);
    }
    arena_free(&act->a);
    mem_free(act);
}

void queue_free(struct queue **qp)
{
    struct queue *q = *qp;
    if (q == NULL)
        return;
    q->freeing = true;
    loop_timer_clear(&q->timer);
    loop_task_cancel(&q->task);
    for (struct list_node *n; (n = list_pop_front(&q->active)) != NULL;)
        active_abandon(q, CONTAINER_OF(n, struct qactive, node));
    for (struct list_node *n; (n = list_pop_front(&q->spare)) != NULL;) {
        struct qactive *act = CONTAINER_OF(n, struct qactive, node);
        arena_free(&act->a);
        mem_free(act);
    }
    stats_add(STAT_queue_messages, -(int64_t)q->msgs.live);
    stats_add(STAT_queue_active, -(int64_t)q->n_active);
    dest_free_all(q);
    reply_free_all(q);
    index_free(q);
    heap_free(&q->due);
    heap_free(&q->again);
    heap_free(&q->reopen);
    arena_free(&q->scratch);
    buf_free(&q->load);
    mem_free(q);
    *qp = NULL;
}

void queue_reconfigure(struct queue *q, const struct queue_conf *c)
{
    q->conf = *c;
    for (uint32_t i = 1; i < q->dests.used; i++) {
        struct qdest *d = dest_at(q, i);
        if (d->name.p == NULL)
            continue;
        if (d->window > c->window_max)
            d->window = c->window_max;
        for (int l = 0; l < LANES; l++)
            list_remove(&d->pull[l]);
        dest_update(q, d);
    }
    sweep_start(q);
}

void queue_drain(struct queue *q)
{
    q->draining = true;
}

unsigned queue_in_hand(const struct queue *q)
{
    return q->n_hand + q->n_reports;
}

/* ---- messages ---- */

static struct qmsg *message_new(struct queue *q, uint64_t id, uint64_t content_size,
                                bool content_8bit)
{
    if (msg_find(q, id) != NULL) {
        char text[14];
        spool_id_text(id, text);
        LOG(ERROR, text, "message-twice");
        return NULL;
    }
    struct qmsg *m = msg_new(q, id);
    m->size = content_size & ((1ull << 48) - 1);
    m->flags |= content_8bit ? MSG_8BIT : 0;
    m->born = m->since = loop_now_ms(q->loop);
    stats_add(STAT_queue_messages, 1);
    return m;
}

static void message_fill(struct queue *q, struct qmsg *m, const struct envelope *env,
                         const uint8_t *rcpt_done)
{
    uint32_t last = 0;
    m->n_rcpt = (uint16_t)env->n_rcpt;
    if (env->sender.n == 0)
        m->flags |= MSG_NULL_SENDER;
    for (uint32_t i = 0; i < env->n_rcpt; i++) {
        if (rcpt_done == NULL || !(rcpt_done[i / 8] & 1u << i % 8))
            rcpt_add(q, m, &last, i, env->rcpt[i].address);
    }
}

static bool envelope_scan(struct queue *q, uint64_t id, struct str bytes, struct envelope *env)
{
    struct err e;
    arena_reset(&q->scratch);
    if (envelope_decode(bytes, &q->scratch, env, &e))
        return true;
    char text[14];
    spool_id_text(id, text);
    LOG(ERROR, text, "envelope-damaged", LC("error", e.text));
    return false;
}

static void message_drop(struct queue *q, struct qmsg *m)
{
    stats_add(STAT_queue_messages, -1);
    msg_delete(q, m);
}

void queue_add(struct queue *q, uint64_t id, struct str envelope, uint64_t content_size,
               bool content_8bit)
{
    struct qmsg *m = message_new(q, id, content_size, content_8bit);
    if (m == NULL)
        return;
    if (!q->draining && slot_is_free(q, false)) {
        struct qactive *act = active_new(q, m, envelope);
        if (act == NULL) {
            message_drop(q, m);
            return;
        }
        message_fill(q, m, &act->env, NULL);
        active_dispatch_due(act);
        return;
    }
    struct envelope env;
    if (!envelope_scan(q, id, envelope, &env)) {
        message_drop(q, m);
        return;
    }
    message_fill(q, m, &env, NULL);
    msg_schedule(q, m);
}

/* How old a recovered message counts as. The wall clock is the only witness and may have jumped
 * while nobody looked, so a message never counts as older than lets it be tried for a while. */
static int64_t recovered_age(const struct queue *q, const struct qmsg *m, int64_t arrival_ms)
{
    int64_t age = clock_wall_ms() - arrival_ms, lifetime = msg_lifetime(q, m);
    int64_t grace = lifetime / 8 < 3600000 ? lifetime / 8 : 3600000;
    if (age < 0)
        return 0;
    return age < lifetime - grace ? age : lifetime - grace;
}

void queue_add_recovered(struct queue *q, uint64_t id, struct str envelope, uint64_t content_size,
                         bool content_8bit, const uint8_t *rcpt_done, bool held,
                         bool delay_notified)
{
    struct envelope env;
    if (!envelope_scan(q, id, envelope, &env))
        return;
    struct qmsg *m = message_new(q, id, content_size, content_8bit);
    if (m == NULL)
        return;
    message_fill(q, m, &env, rcpt_done);
    if (m->n_left == 0) {
        message_drop(q, m);
        return;
    }
    m->flags |= MSG_BACKLOG;
    m->flags |= held ? MSG_HELD : 0;
    m->flags |= delay_notified ? MSG_DELAY_NOTIFIED : 0;
    m->born -= recovered_age(q, m, env.arrival_ms);
    m->since = m->born;
    msg_schedule(q, m);
}

/* ---- news ---- */

static void recheck_message(struct queue *q, struct qmsg *m)
{
    int64_t now = loop_now_ms(q->loop);
    if (m->flags & MSG_HELD)
        return;
    if (m->active != NULL) {
        active_check(m->active);
    } else if (m->due.key > now) {
        heap_set(&q->due, &m->due, now);
        queue_wake(q);
    }
}

void queue_directory_changed(struct queue *q, const uint64_t *key_hash, unsigned n, bool everything)
{
    if (everything) {
        sweep_start(q);
        return;
    }
    for (unsigned k = 0; k < n; k++) {
        for (uint32_t i = rcpt_by_key(q, key_hash[k]); i != 0; i = rcpt_at(q, i)->same_next) {
            struct qrcpt *r = rcpt_at(q, rcpt_meant(q, i));
            r->flags |= RCPT_RECHECK;
            recheck_message(q, msg_at(q, r->msg));
        }
    }
}
