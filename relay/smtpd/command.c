/*
 * command.c - dispatch of commands, and the short ones. RFC 5321 4.1.1.
 *
 * Order of checks for each: may it come now, is it well formed, do it. Commands that end a
 * pipelined group (RFC 2920 3.1) with more input behind them are an attack or a broken client: the
 * connection is closed.
 */
#include "relay/smtpd/smtpd_int.h"

#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"

static void forget_transaction(struct smtpd_session *s)
{
    if (s->txn != NULL)
        smtpd_transaction_end(s->txn);
}

static void cmd_helo(struct smtpd_session *s, struct str args, bool esmtp)
{
    struct str name;
    if (!smtp_parse_helo(args, &name)) {
        smtpd_error(s, 501, "5.5.4", "Syntax: %s hostname", esmtp ? "EHLO" : "HELO");
        return;
    }
    forget_transaction(s);
    mem_free(s->helo);
    s->helo = str_dup(name);
    s->esmtp = esmtp;
    char text[600];
    if (!esmtp) {
        snprintf(text, sizeof(text), "250 %s\r\n", s->conf->hostname);
    } else {
        snprintf(text, sizeof(text),
                 "250-%s\r\n250-PIPELINING\r\n250-SIZE %llu\r\n250-8BITMIME\r\n"
                 "250-ENHANCEDSTATUSCODES\r\n250 DSN\r\n",
                 s->conf->hostname, (unsigned long long)s->conf->smtpd.message_bytes_max);
    }
    smtpd_reply_text(s, text);
}

static void cmd_help(struct smtpd_session *s)
{
    char text[400];
    size_t n = 0;
    for (int v = 0; v < SMTP_UNKNOWN; v++) {
        if (strstr(smtp_verb_info[v].help, "not offered") != NULL)
            continue;
        int r =
            snprintf(text + n, sizeof(text) - n, "%s%s", n > 0 ? " " : "", smtp_verb_info[v].text);
        if (r < 0 || (size_t)r >= sizeof(text) - n)
            break;
        n += (size_t)r;
    }
    smtpd_say(s, 214, "2.0.0", "Commands: %s", text);
}

static void cmd_quit(struct smtpd_session *s)
{
    smtpd_say(s, 221, "2.0.0", "%s Service closing transmission channel", s->conf->hostname);
    smtpd_close(s);
}

static bool ends_group_strictly(enum smtp_verb v)
{
    return v == SMTP_EHLO || v == SMTP_HELO || v == SMTP_DATA || v == SMTP_STARTTLS ||
           v == SMTP_AUTH;
}

void smtpd_command(struct smtpd_session *s, struct str line, bool more)
{
    struct smtp_command c;
    smtp_command_parse(line, &c);
    LOG(DEBUG, NULL, "smtpd-command", LC("client", s->ip), LS("line", line));
    if (more && ends_group_strictly(c.verb)) {
        LOG(INFO, NULL, "smtpd-bad-pipelining", LC("client", s->ip), LS("line", line));
        smtpd_say(s, 503, "5.5.0", "Improper command pipelining after %s",
                  smtp_verb_info[c.verb].text);
        smtpd_close(s);
        return;
    }
    switch (c.verb) {
    case SMTP_EHLO:
    case SMTP_HELO:
        cmd_helo(s, c.args, c.verb == SMTP_EHLO);
        break;
    case SMTP_MAIL:
        smtpd_cmd_mail(s, c.args);
        break;
    case SMTP_RCPT:
        smtpd_cmd_rcpt(s, c.args);
        break;
    case SMTP_DATA:
        if (c.args.n != 0)
            smtpd_error(s, 501, "5.5.4", "Syntax: DATA");
        else
            smtpd_cmd_data(s);
        break;
    case SMTP_RSET:
        forget_transaction(s);
        smtpd_reply_text(s, "250 2.0.0 Ok\r\n");
        if (s->draining)
            smtpd_goodbye(s);
        break;
    case SMTP_NOOP:
        smtpd_reply_text(s, "250 2.0.0 Ok\r\n");
        break;
    case SMTP_QUIT:
        cmd_quit(s);
        break;
    case SMTP_VRFY:
        smtpd_reply_text(
            s, "252 2.5.2 Cannot VRFY user, but will accept message and attempt delivery\r\n");
        break;
    case SMTP_HELP:
        cmd_help(s);
        break;
    case SMTP_BDAT:
        /* What follows is content: it must never be read as commands. */
        smtpd_say(s, 502, "5.5.1", "BDAT is not offered here");
        smtpd_close(s);
        break;
    case SMTP_EXPN:
    case SMTP_STARTTLS:
    case SMTP_AUTH:
        smtpd_error(s, 502, "5.5.1", "%s is not offered here", smtp_verb_info[c.verb].text);
        break;
    case SMTP_UNKNOWN:
    case SMTP_VERB_COUNT:
        smtpd_error(s, 500, "5.5.2", "Command not recognized");
        break;
    }
}
