/*
 * mail.c - MAIL FROM, RFC 5321 3.3, 1870, 3461 4.3-4.4.
 *
 * Everything that could make us refuse the whole message later is refused here already: a full
 * disk, a declared size, want of memory. The origin that the message is given here is the one it
 * keeps.
 */
#include "relay/smtpd/smtpd_int.h"

#include "base/log.h"

/* True if intake is open; else the reply was given. */
static bool intake_is_open(struct smtpd_session *s)
{
    if (s->draining) {
        smtpd_goodbye(s);
        return false;
    }
    if (spool_is_full(s->d->spool)) {
        smtpd_say(s, 452, "4.3.1", "Insufficient system storage, try again later");
        return false;
    }
    if (smtpd_clients_memory_used(s->d->clients) > s->conf->smtpd.memory_max) {
        smtpd_say(s, 452, "4.3.1", "Insufficient memory, try again later");
        return false;
    }
    return true;
}

void smtpd_cmd_mail(struct smtpd_session *s, struct str args)
{
    struct smtp_mail_args m;
    struct smtp_reply refusal;
    if (s->helo == NULL) {
        smtpd_error(s, 503, "5.5.1", "Say EHLO or HELO first");
        return;
    }
    if (s->txn != NULL) {
        smtpd_error(s, 503, "5.5.1", "Nested MAIL command");
        return;
    }
    if (!intake_is_open(s))
        return;
    if (!smtpd_classify(s, &refusal)) {
        smtpd_error_reply(s, &refusal);
        return;
    }
    struct transaction *t = smtpd_transaction_new(s);
    if (!smtp_parse_mail(args, false, &m, &refusal)) {
        smtpd_transaction_end(t);
        smtpd_error_reply(s, &refusal);
        return;
    }
    if (m.size > s->conf->smtpd.message_bytes_max) {
        smtpd_transaction_end(t);
        smtpd_error(s, 552, "5.3.4", "Message size exceeds the limit of %llu octets",
                    (unsigned long long)s->conf->smtpd.message_bytes_max);
        return;
    }
    t->env.sender = arena_str(&t->arena, m.sender);
    t->env.envid = arena_str(&t->arena, m.envid);
    t->env.body = m.body;
    t->env.ret = m.ret;
    t->env.smtputf8 = m.smtputf8;
    t->env.origin = (enum mail_origin)s->origin;
    t->env.client_ip = arena_str(&t->arena, str_c(s->ip));
    t->env.helo = arena_str(&t->arena, str_c(s->helo));
    if (s->origin == MAIL_FROM_FOREST)
        t->env.origin_name = arena_str(&t->arena, str_c(s->d->conf->forest[s->forest].name));
    smtpd_reply_text(s, "250 2.1.0 Ok\r\n");
}
