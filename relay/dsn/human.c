/*
 * human.c - the part of a DSN that people read: for each recipient what happened, who said what,
 * and what can be done about it. Plain words; no jargon beyond the host's own reply, which a
 * postmaster will ask for. Pure; any thread.
 */
#include "relay/dsn/dsn_int.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/clock.h"

#define INDENT "    "

static void put_intro(struct dsn_writer *w, const struct dsn_request *q)
{
    char date[64];
    clock_rfc5322(q->env->arrival_ms, date, sizeof(date));
    dsn_printf(w, "This is the mail relay at %s.\r\n\r\n", q->hostname);
    dsn_printf(w, "Your message of %s\r\n", date);
    switch (q->kind) {
    case DSN_FAILED:
        dsn_putc(w, "could not be delivered to the recipients named below. No further\r\n"
                    "attempt will be made; other recipients are not concerned.\r\n");
        return;
    case DSN_DELAYED:
        dsn_putc(w, "has not yet been delivered to the recipients named below. The relay\r\n"
                    "goes on trying. YOU NEED NOT SEND THE MESSAGE AGAIN.\r\n");
        return;
    case DSN_RELAYED:
        dsn_putc(w, "was passed on for the recipients named below to a system that does\r\n"
                    "not confirm deliveries: this is the last report you can expect, unless\r\n"
                    "the delivery fails.\r\n");
        return;
    case DSN_DELIVERED:
        dsn_putc(w, "was delivered to the recipients named below.\r\n");
        return;
    }
}

/* What can be done, by status: exact, or by subject when it ends with a dot. First match. */
static const struct {
    const char *status, *advice;
} advice[] = {
    {"5.1.1", "This address does not exist there. Look for a typing error in it, or ask the "
              "recipient in another way for the right address."},
    {"5.1.10", "This address does not exist there. Look for a typing error in it, or ask the "
               "recipient in another way for the right address."},
    {"5.1.2", "There is no mail system for this address. Look for a typing error behind the @ "
              "sign."},
    {"5.4.4", "There is no mail system for this address. Look for a typing error behind the @ "
              "sign."},
    {"5.1.6", "The mailbox has moved. Ask the recipient for the new address."},
    {"5.2.1", "The mailbox is closed at present. Reach the recipient in another way."},
    {"5.2.2", "The recipient's mailbox is full. Send the message again when the recipient has made "
              "room."},
    {"5.2.3", "The message is too large for this recipient. Send it with smaller attachments."},
    {"5.3.4", "The message is too large for the recipient's system. Send it with smaller "
              "attachments."},
    {"5.4.6", "The mail systems send this address round in a circle. Nothing in your message "
              "causes that: pass this report on to your postmaster."},
    {"4.4.7", "Send the message again later, or pass this report on to your postmaster."},
    {"5.6.", "The recipient's system does not take messages of this form. Pass this report on to "
             "your postmaster."},
    {"5.7.", "The recipient's system does not permit this message. Ask the recipient or pass this "
             "report on to your postmaster."},
    {"5.", "If the reason above does not help, pass this report on to your postmaster."},
};

static const char *advice_for(const char *status)
{
    for (size_t i = 0; i < ARRAY_LEN(advice); i++) {
        size_t n = strlen(advice[i].status);
        bool subject = advice[i].status[n - 1] == '.';
        if (subject ? strncmp(status, advice[i].status, n) == 0
                    : strcmp(status, advice[i].status) == 0)
            return advice[i].advice;
    }
    return NULL;
}

/* The proxy address that would mend a refusal (relay/route: an old Exchange address that nobody
 * has); empty if the reply names none. */
static struct str mending_line(const struct dsn_rcpt *r)
{
    const char *line = r->remote_host[0] == '\0' ? strstr(r->reply.text, " X500:") : NULL;
    return line != NULL ? str_c(line + 1) : STR_NULL;
}

static void put_reason(struct dsn_writer *w, const struct dsn_request *q, const struct dsn_rcpt *r)
{
    static const char *const verb[] = {
        [DSN_FAILED] = "refused it",
        [DSN_DELAYED] = "did not take it yet",
        [DSN_RELAYED] = "took it",
        [DSN_DELIVERED] = "took it",
    };
    char said[SMTP_REPLY_TEXT_MAX + 64], head[400];
    bool remote = r->remote_host[0] != '\0' && r->reply.code != 0;
    if (r->expired)
        dsn_put_folded(
            w, INDENT, INDENT,
            STR("It could not be delivered in the time allowed for it, so the relay gave "
                "up. This is what happened last:"),
            false);
    if (remote) {
        snprintf(head, sizeof(head), "The host %s %s and said:", r->remote_host,
                 verb[r->expired ? DSN_DELAYED : q->kind]);
        snprintf(said, sizeof(said), "%03d%s%s %s", r->reply.code,
                 r->reply.enhanced[0] != '\0' ? " " : "", r->reply.enhanced, r->reply.text);
    } else {
        snprintf(head, sizeof(head), "The relay itself reports:");
        snprintf(said, sizeof(said), "%s", r->reply.text);
    }
    if (!remote && r->reply.text[0] == '\0')
        return;
    dsn_put_folded(w, INDENT, INDENT, str_c(head), false);
    struct str line = remote ? STR_NULL : mending_line(r);
    dsn_put_folded(w, INDENT INDENT, INDENT INDENT,
                   line.n != 0 ? str_upto(str_c(said), strlen(said) - line.n) : str_c(said), false);
    if (line.n != 0) { /* whole, to be copied */
        dsn_putc(w, INDENT INDENT);
        dsn_put_clean(w, line, false);
        dsn_putc(w, "\r\n");
    }
}

static void put_rcpt(struct dsn_writer *w, const struct dsn_request *q, const struct dsn_rcpt *r)
{
    char status[12], date[64], text[200];
    dsn_putc(w, "\r\n<");
    dsn_put_clean(w, r->rcpt->address, true);
    dsn_putc(w, ">\r\n");
    put_reason(w, q, r);
    const char *hint =
        mending_line(r).n != 0
            ? "Pass this report on to the recipient's administrator, or write to the "
              "recipient's present address."
            : advice_for(dsn_status(q->kind, r, status));
    if (q->kind == DSN_DELAYED && r->will_retry_until_ms > 0) {
        clock_rfc5322(r->will_retry_until_ms, date, sizeof(date));
        snprintf(text, sizeof(text), "The relay will try until %s.", date);
        hint = text;
    }
    if (hint != NULL)
        dsn_put_folded(w, INDENT, INDENT, str_c(hint), false);
}

void dsn_put_human(struct dsn_writer *w, const struct dsn_request *q)
{
    put_intro(w, q);
    for (unsigned i = 0; i < q->n_rcpt; i++)
        put_rcpt(w, q, &q->rcpt[i]);
}
