/*
 * result.c - what a next hop's replies mean for the recipients of a delivery. The basic code
 * decides (RFC 5321 4.2.1): 2xx delivered, 5xx failed, anything else is tried again.
 *
 * Storage: a reply that goes for several recipients is kept once. The delivery's session_reply
 * holds what goes for "the rest"; `replies` is allocated only when single recipients were refused.
 */
#include <string.h>

#include "base/mem.h"
#include "relay/smtpc/smtpc_int.h"

void result_reset(struct job *j)
{
    struct delivery *d = j->d;
    for (unsigned i = 0; i < d->n_rcpt; i++) {
        d->rcpt[i].outcome = OUTCOME_NONE;
        d->rcpt[i].reply = NULL;
        d->rcpt[i].at_rcpt = d->rcpt[i].ours = false;
    }
    d->session_reply.code = 0;
    j->n_replies = 0;
    j->last_reply = NULL;
}

enum outcome result_of(const struct smtp_reply *r)
{
    if (smtp_reply_is_ok(r))
        return OUTCOME_DELIVERED;
    return smtp_reply_is_permanent(r) ? OUTCOME_FAILED : OUTCOME_DEFERRED;
}

static bool reply_equal(const struct smtp_reply *a, const struct smtp_reply *b)
{
    return a->code == b->code && strcmp(a->enhanced, b->enhanced) == 0 &&
           strcmp(a->text, b->text) == 0;
}

void result_rcpt(struct job *j, unsigned i, enum outcome outcome, const struct smtp_reply *reply)
{
    struct delivery *d = j->d;
    d->rcpt[i].outcome = outcome;
    if (d->n_rcpt == 1) {
        d->session_reply = *reply;
        d->rcpt[i].reply = &d->session_reply;
        return;
    }
    if (j->last_reply == NULL || !reply_equal(j->last_reply, reply)) {
        if (d->replies == NULL)
            d->replies = mem_alloc(d->n_rcpt * sizeof(d->replies[0]));
        j->last_reply = &d->replies[j->n_replies++];
        *j->last_reply = *reply;
    }
    d->rcpt[i].reply = j->last_reply;
}

void result_rest(struct job *j, enum outcome outcome, const struct smtp_reply *reply)
{
    struct delivery *d = j->d;
    unsigned i = result_next_open(j, 0);
    if (i == d->n_rcpt)
        return;
    d->session_reply = *reply;
    for (; i < d->n_rcpt; i = result_next_open(j, i + 1)) {
        d->rcpt[i].outcome = outcome;
        d->rcpt[i].at_rcpt = false;
        d->rcpt[i].reply = &d->session_reply;
    }
}

void result_rest_ours(struct job *j, enum outcome outcome, const struct smtp_reply *reply)
{
    for (unsigned i = result_next_open(j, 0); i < j->d->n_rcpt; i = result_next_open(j, i + 1))
        j->d->rcpt[i].ours = true;
    result_rest(j, outcome, reply);
}

void result_reroute(struct job *j)
{
    struct smtp_reply r;
    smtp_reply_set(&r, 451, "4.3.0", "the destination has changed");
    result_rest(j, OUTCOME_REROUTE, &r);
}

void result_too_late(struct job *j)
{
    const struct dest *d = j->dest;
    struct smtp_reply r;
    smtp_reply_set(&r, 451, "4.4.1", "no host took the message in the time it may take");
    result_rest(j, OUTCOME_DEFERRED, d->error.code != 0 ? &d->error : &r);
}

unsigned result_next_open(const struct job *j, unsigned i)
{
    const struct delivery *d = j->d;
    while (i < d->n_rcpt && d->rcpt[i].outcome != OUTCOME_NONE)
        i++;
    return i;
}
