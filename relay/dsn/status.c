/*
 * status.c - the part that programs read: message/delivery-status, RFC 3464. It stays ASCII; a
 * non-ASCII address is given as type utf-8 in the form that RFC 6533 3 has for such channels,
 * "\x{..}". Pure; any thread.
 */
#include "relay/dsn/dsn_int.h"

#include <stdio.h>

#include "base/escape.h"
#include "relay/proto/command.h"
#include "rewrite/address.h"

static const char *action(enum dsn_kind kind)
{
    switch (kind) {
    case DSN_FAILED:
        return "failed";
    case DSN_DELAYED:
        return "delayed";
    case DSN_RELAYED:
        return "relayed";
    case DSN_DELIVERED:
        return "delivered";
    }
    return "failed";
}

const char *dsn_status(enum dsn_kind kind, const struct dsn_rcpt *r, char dst[12])
{
    char class = kind == DSN_FAILED ? '5' : kind == DSN_DELAYED ? '4' : '2';
    /* RFC 3463 3.5: giving up because of age is a persistent transient failure. */
    if (r->expired && kind == DSN_FAILED)
        snprintf(dst, 12, "4.4.7");
    else if (smtp_reply_status(&r->reply, dst)[0] != class)
        snprintf(dst, 12, "%c.0.0", class);
    return dst;
}

static uint32_t code_point(const char *p, size_t n)
{
    static const unsigned char mask[5] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    uint32_t c = (unsigned char)p[0] & mask[n];
    for (size_t i = 1; i < n; i++)
        c = c << 6 | ((unsigned char)p[i] & 0x3f);
    return c;
}

/* utf-8-addr-xtext. `raw`: an address; else one that may hold \x{..} already. */
static void put_utf8_address(struct dsn_writer *w, struct str s, bool raw)
{
    for (size_t i = 0, n; i < s.n; i += n) {
        n = escape_utf8_len(s.p + i, s.n - i);
        bool special = raw && memchr("\\+= ", s.p[i], 4) != NULL;
        if (n == 0 || (n == 1 && !special)) {
            n = 1;
            dsn_put_clean(w, str_n(s.p + i, 1), false);
        } else {
            dsn_printf(w, "\\x{%X}", code_point(s.p + i, n));
        }
    }
}

static void put_address(struct dsn_writer *w, const char *name, struct str address)
{
    if (!dsn_is_8bit(address)) {
        dsn_printf(w, "%s: rfc822; ", name);
        dsn_put_clean(w, address, false);
    } else {
        dsn_printf(w, "%s: utf-8; ", name);
        put_utf8_address(w, address, true);
    }
    dsn_putc(w, "\r\n");
}

/* As the sender gave it, RFC 3464 2.3.1: its type, and the address without the xtext. */
static void put_original(struct dsn_writer *w, struct str orcpt)
{
    struct buf address = BUF_INIT(ADDRESS_MAX);
    struct str xtext = orcpt, type = str_split(&xtext, ';');
    dsn_putc(w, "Original-Recipient: ");
    dsn_put_clean(w, type, false);
    dsn_putc(w, "; ");
    if (xtext_decode(xtext, &address))
        dsn_put_clean(w, buf_str(&address), false);
    else /* unencoded, as SMTPUTF8 allows */
        put_utf8_address(w, xtext, false);
    dsn_putc(w, "\r\n");
    buf_free(&address);
}

/* SMTP is what a host said; for our own reasons RFC 3464 2.3.6 wants a type of our own. */
static void put_diagnostic(struct dsn_writer *w, const struct dsn_rcpt *r)
{
    char text[SMTP_REPLY_TEXT_MAX + 32];
    if (r->reply.code == 0 && r->reply.text[0] == '\0')
        return;
    if (r->remote_host[0] != '\0' && r->reply.code != 0)
        snprintf(text, sizeof(text), "smtp; %03d%s%s %s", r->reply.code,
                 r->reply.enhanced[0] != '\0' ? " " : "", r->reply.enhanced, r->reply.text);
    else
        snprintf(text, sizeof(text), "X-Causeway; %s", r->reply.text);
    dsn_put_folded(w, "Diagnostic-Code: ", "    ", str_c(text), false);
}

static void put_rcpt(struct dsn_writer *w, const struct dsn_request *q, const struct dsn_rcpt *r)
{
    char status[12];
    dsn_putc(w, "\r\n");
    if (r->rcpt->orcpt.n != 0)
        put_original(w, r->rcpt->orcpt);
    put_address(w, "Final-Recipient", r->rcpt->address);
    dsn_printf(w, "Action: %s\r\n", action(q->kind));
    dsn_printf(w, "Status: %s\r\n", dsn_status(q->kind, r, status));
    if (r->remote_host[0] != '\0') {
        dsn_putc(w, "Remote-MTA: dns; ");
        dsn_put_clean(w, str_c(r->remote_host), false);
        dsn_putc(w, "\r\n");
    }
    put_diagnostic(w, r);
    if (r->last_attempt_ms > 0)
        dsn_put_date(w, "Last-Attempt-Date", r->last_attempt_ms);
    if (q->kind == DSN_DELAYED && r->will_retry_until_ms > 0)
        dsn_put_date(w, "Will-Retry-Until", r->will_retry_until_ms);
}

void dsn_put_status(struct dsn_writer *w, const struct dsn_request *q)
{
    dsn_printf(w, "Reporting-MTA: dns; %s\r\n", q->hostname);
    if (q->env->envid.n != 0) {
        struct buf envid = BUF_INIT(512);
        if (xtext_decode(q->env->envid, &envid)) {
            dsn_putc(w, "Original-Envelope-Id: ");
            dsn_put_clean(w, buf_str(&envid), false);
            dsn_putc(w, "\r\n");
        }
        buf_free(&envid);
    }
    dsn_printf(w, "X-Causeway-Queue-ID: %s\r\n", q->orig_id_text);
    dsn_put_date(w, "Arrival-Date", q->env->arrival_ms);
    for (unsigned i = 0; i < q->n_rcpt; i++)
        put_rcpt(w, q, &q->rcpt[i]);
}
