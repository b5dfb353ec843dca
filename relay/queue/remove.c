/*
 * remove.c - recipients that an admin takes out of the queue: all of a message, or those that go to
 * one destination.
 *
 * What is in hand ends first, and counts if it was delivered; the others are off at once: not on a
 * destination's line, not in a ready delivery, never dispatched again. Without a report they leave
 * now; with one they leave as failures do, when it is durable, and that needs the envelope: they
 * are DUE until the scheduler comes to them, and WAIT if the report could not be written. A message
 * that is held loses them, too.
 */
#include "relay/queue/queue_int.h"

#include "base/mem.h"
#include "base/stats.h"

/* ---- destinations by name ---- */

/* The destination of that name which a recipient of the message goes to; NULL: none does. */
static const struct qdest *dest_among(const struct queue *q, const struct qmsg *m, const char *name)
{
    uint32_t before = 0;
    for (uint32_t i = m->first; i != 0; i = rcpt_at(q, i)->next) {
        uint32_t number = rcpt_at(q, i)->dest;
        if (number == before || number == 0)
            continue;
        before = number;
        if (dest_is_named(dest_at(q, number), name))
            return dest_at(q, number);
    }
    return NULL;
}

bool queue_goes_to(const struct queue *q, uint64_t id, const char *dest, char *printed, size_t cap)
{
    const struct qmsg *m = msg_find(q, id);
    const struct qdest *d = m != NULL ? dest_among(q, m, dest) : NULL;
    if (d == NULL)
        return false;
    dest_print(d, printed, cap);
    return true;
}

/* ---- removing ---- */

void msg_remove_silent(struct queue *q, struct qmsg *m)
{
    uint32_t *index = mem_array(m->n_left + 1u, sizeof(*index));
    unsigned n = 0;
    for (uint32_t i = m->first, next; i != 0; i = next) {
        struct qrcpt *r = rcpt_at(q, i);
        next = r->next;
        if ((r->flags & (RCPT_REMOVE | RCPT_REMOVE_DSN)) != RCPT_REMOVE || r->state == RCPT_BUSY)
            continue;
        index[n++] = r->index;
        rcpt_done(q, i);
    }
    if (n > 0)
        q->ops.mark(q->ops.ctx, m->id, index, n, SPOOL_MARK_REMOVED);
    mem_free(index);
}

/* False: no recipient goes there. */
static bool mark_removed(struct queue *q, struct qmsg *m, const struct qdest *d, bool dsn)
{
    bool any = false;
    if (m->active != NULL)
        active_take_back(m->active, d);
    for (uint32_t i = m->first; i != 0; i = rcpt_at(q, i)->next) {
        struct qrcpt *r = rcpt_at(q, i);
        if (d != NULL && r->dest != d->self)
            continue;
        any = true;
        r->flags |= RCPT_REMOVE | (dsn ? RCPT_REMOVE_DSN : 0);
        if (r->state == RCPT_PARKED)
            rcpt_unpark(q, i);
        if (r->state != RCPT_BUSY)
            r->state = RCPT_DUE;
    }
    return any;
}

bool msg_remove(struct queue *q, struct qmsg *m, const struct qdest *d, bool dsn)
{
    if (!mark_removed(q, m, d, dsn))
        return false;
    if (m->active != NULL) {
        active_check(m->active);
        return true;
    }
    msg_remove_silent(q, m);
    if (m->n_left != 0) {
        msg_schedule(q, m);
        return true;
    }
    stats_add(STAT_queue_messages, -1);
    msg_delete(q, m);
    return true;
}

bool queue_remove_at(struct queue *q, uint64_t id, const char *dest, bool dsn)
{
    struct qmsg *m = msg_find(q, id);
    const struct qdest *d = m != NULL ? dest_among(q, m, dest) : NULL;
    return d != NULL && msg_remove(q, m, d, dsn);
}
