/*
 * refused.c - a forest does not know a recipient that its directory, a flag or an administrator
 * says it hosts: a mailbox that was moved by halves. Another forest may claim it; then that one is
 * tried before the sender gets a report, and the disagreement is logged for a person to end.
 *
 * Once for each recipient: who refused is kept with the recipient for as long as this process has
 * it
 * (`refused`), and a second refusal is final, wherever it comes from. After a restart both are
 * asked once more. Whom a decision may name instead, and that it is never the forest that the mail
 * came from, is for the decision (relay/route).
 */
#include "relay/queue/queue_int.h"

#include "base/log.h"
#include "base/stats.h"

static void log_disagreement(const struct qdelivery *qd, unsigned i, const struct smtp_reply *r,
                             const struct decision *other)
{
    char refused[280], tried[300];
    dest_print(qd->dest, refused, sizeof(refused));
    dest_key_print(&other->dest, tried, sizeof(tried));
    LOG(WARN, qd->d.id_text, "unknown-where-hosted",
        LS("to", qd->d.env->rcpt[qd->d.rcpt[i].index].address), LS("as", qd->d.rcpt[i].address),
        LC("refused_by", refused), LC("host", qd->d.remote_host), LI("code", r->code),
        LC("status", r->enhanced), LC("reply", r->text), LC("tried_at", tried));
}

bool refused_try_other(struct qdelivery *qd, unsigned i, const struct smtp_reply *reply)
{
    struct qactive *act = qd->act;
    struct queue *q = act->q;
    struct qrcpt *r = rcpt_at(q, qd->rcpt[i]);
    struct decision dec;
    if (!q->conf.retry_other_claimant || qd->dest->kind != DEST_FOREST || r->refused != 0 ||
        !qd->d.rcpt[i].at_rcpt || !smtp_reply_is_unknown_user(reply))
        return false;
    dest_refer(q, &r->refused, qd->dest);
    arena_reset(&q->scratch);
    active_decide(act, qd->rcpt[i], &q->scratch, &dec);
    if (dec.kind != DECISION_DELIVER || dest_find(q, &dec.dest) == qd->dest) {
        dest_refer(q, &r->refused, NULL);
        return false;
    }
    log_disagreement(qd, i, reply, &dec);
    stats_inc(STAT_queue_other_claimant);
    reply_unref(q, &r->reply);
    r->reply = reply_ref(q, reply, qd->d.remote_host);
    r->state = RCPT_DUE;
    return true;
}
