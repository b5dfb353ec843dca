/*
 * rcpt.c - RCPT TO: each recipient is looked up here, so that an unknown one is refused now and
 * never bounced later. RFC 5321 3.3, 3461 4.1-4.2.
 */
#include "relay/smtpd/smtpd_int.h"

#include "base/log.h"
#include "base/stats.h"
#include "relay/route/route.h"

static void refuse(struct smtpd_session *s, struct str rcpt, const struct decision *d)
{
    const struct smtp_reply *r = &d->reply;
    if (d->alarm)
        LOG(WARN, NULL, "rcpt-refused", LC("client", s->ip), LS("from", s->txn->env.sender),
            LS("to", rcpt), LI("code", r->code), LC("rule", d->rule), LC("why", r->text));
    else
        LOG(INFO, NULL, "rcpt-refused", LC("client", s->ip), LS("from", s->txn->env.sender),
            LS("to", rcpt), LI("code", r->code), LC("rule", d->rule), LC("why", r->text));
    if (smtp_reply_is_permanent(r)) {
        stats_inc(STAT_smtpd_recipients_refused);
        smtpd_error_reply(s, r);
    } else {
        stats_inc(STAT_smtpd_recipients_deferred);
        smtpd_reply(s, r);
    }
}

static void add_recipient(struct transaction *t, const struct smtp_rcpt_args *r)
{
    struct envelope *env = &t->env;
    if (env->n_rcpt == t->rcpt_cap) {
        uint32_t cap = t->rcpt_cap == 0 ? 4 : t->rcpt_cap * 4;
        struct envelope_rcpt *v = arena_alloc(&t->arena, cap * sizeof(*v));
        if (env->n_rcpt != 0)
            memcpy(v, env->rcpt, env->n_rcpt * sizeof(*v));
        env->rcpt = v;
        t->rcpt_cap = cap;
    }
    env->rcpt[env->n_rcpt++] = (struct envelope_rcpt){
        .address = arena_str(&t->arena, r->recipient),
        .orcpt = arena_str(&t->arena, r->orcpt),
        .notify = r->notify,
    };
}

void smtpd_cmd_rcpt(struct smtpd_session *s, struct str args)
{
    struct transaction *t = s->txn;
    struct smtp_rcpt_args r;
    struct smtp_reply refusal;
    if (t == NULL) {
        smtpd_error(s, 503, "5.5.1", "Need MAIL before RCPT");
        return;
    }
    if (t->env.n_rcpt >= s->conf->smtpd.recipients_max || t->env.n_rcpt >= ENVELOPE_RCPT_MAX) {
        smtpd_say(s, 452, "4.5.3", "Too many recipients: %u are taken in one transaction",
                  s->conf->smtpd.recipients_max);
        return;
    }
    if (!smtpd_transaction_may_grow(t)) {
        stats_inc(STAT_smtpd_recipients_deferred);
        smtpd_say(s, 452, "4.3.1", "Insufficient memory, try again later");
        return;
    }
    if (!smtp_parse_rcpt(args, t->env.smtputf8, &r, &refusal)) {
        smtpd_error_reply(s, &refusal);
        return;
    }
    const struct dir_view *view = s->d->ops.view(s->d->ops.ctx);
    const struct route_query q = {
        .conf = dir_view_conf(view), /* the session's may be an older or a newer one */
        .view = view,
        .now_ms = loop_now_ms(s->d->loop),
        .recipient = r.recipient,
        .sender = t->env.sender,
        .origin = t->env.origin,
        .origin_name = t->env.origin_name,
    };
    struct decision decision;
    arena_reset(&s->d->decide);
    route_admit(&q, &s->d->decide, NULL, &decision); /* only kind and reply are used */
    if (decision.kind != DECISION_DELIVER) {
        refuse(s, r.recipient, &decision);
        return;
    }
    add_recipient(t, &r);
    stats_inc(STAT_smtpd_recipients_accepted);
    smtpd_reply_text(s, "250 2.1.5 Ok\r\n");
}
