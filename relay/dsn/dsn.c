/*
 * dsn.c - puts a delivery status notification together: multipart/report (RFC 3462) of a text for
 * people, a message/delivery-status for programs, and the original or its header. Pure; any thread.
 * Fails only when the buffer's cap is reached, and then leaves the buffer as it was.
 */
#include "relay/dsn/dsn.h"

#include <stdio.h>

#include "relay/dsn/dsn_int.h"

#define BOUNDARY_MAX 64

bool dsn_is_wanted(const struct envelope_rcpt *r, enum dsn_kind kind)
{
    if (r->notify == 0)
        return kind == DSN_FAILED || kind == DSN_DELAYED;
    switch (kind) {
    case DSN_FAILED:
        return (r->notify & MAIL_NOTIFY_FAILURE) != 0;
    case DSN_DELAYED:
        return (r->notify & MAIL_NOTIFY_DELAY) != 0;
    case DSN_RELAYED:
    case DSN_DELIVERED:
        return (r->notify & MAIL_NOTIFY_SUCCESS) != 0;
    }
    return false;
}

/* An address is shown to people and to programs; there an octet takes up to six if it is not ASCII
 * throughout. A reply is shown twice, the host's name, too, and folding adds less than half. */
size_t dsn_rcpt_size_max(const struct dsn_rcpt *r)
{
    struct str address = r->rcpt->address;
    return 1024 + (dsn_is_8bit(address) ? 7 : 2) * address.n + 4 * r->rcpt->orcpt.n +
           3 * strlen(r->reply.text) + 3 * strlen(r->remote_host);
}

static const char *subject(enum dsn_kind kind)
{
    switch (kind) {
    case DSN_FAILED:
        return "Undelivered mail returned to sender";
    case DSN_DELAYED:
        return "Delayed mail (still being tried)";
    case DSN_RELAYED:
    case DSN_DELIVERED:
        return "Successful mail delivery report";
    }
    return "Mail delivery report";
}

/* RFC 3461 4.3: RET only concerns failures, other reports have the header. */
static struct str returned(const struct dsn_request *q, bool *whole)
{
    *whole = q->kind == DSN_FAILED && q->original.n != 0;
    return *whole ? q->original : q->original_header;
}

static bool holds(struct str content, const char *boundary)
{
    return content.n != 0 && memmem(content.p, content.n, boundary, strlen(boundary)) != NULL;
}

/* A boundary that occurs in nothing we put between: "=_" is in no encoding of ours or base64, but
 * the original may hold anything. */
static void choose_boundary(const struct dsn_request *q, char dst[BOUNDARY_MAX])
{
    bool whole, taken = true;
    struct str content = returned(q, &whole);
    for (unsigned i = 0; taken; i++) {
        snprintf(dst, BOUNDARY_MAX, "=_dsn_%.40s_%u", q->id_text, i);
        taken = holds(content, dst) || holds(q->env->envid, dst);
        for (unsigned r = 0; r < q->n_rcpt && !taken; r++)
            taken = holds(q->rcpt[r].rcpt->address, dst) || holds(q->rcpt[r].rcpt->orcpt, dst) ||
                    strstr(q->rcpt[r].reply.text, dst) != NULL;
    }
}

/* The original's Message-ID, if it has one of a harmless form. */
static struct str message_id(struct str header)
{
    while (header.n != 0) {
        struct str all = header, line = str_split(&header, '\n');
        if (!str_starts_nocase(line, STR("Message-ID:")))
            continue;
        while (header.n != 0 && (header.p[0] == ' ' || header.p[0] == '\t')) {
            struct str more = str_split(&header, '\n');
            line.n = (size_t)(more.p + more.n - all.p);
        }
        struct str id = str_trim(str_from(line, 11));
        if (id.n < 3 || id.n > 500 || id.p[0] != '<' || id.p[id.n - 1] != '>')
            return STR_NULL;
        for (size_t i = 0; i < id.n; i++)
            if (id.p[i] < 33 || id.p[i] > 126)
                return STR_NULL;
        return id;
    }
    return STR_NULL;
}

static bool rcpts_are_8bit(const struct dsn_request *q)
{
    for (unsigned i = 0; i < q->n_rcpt; i++)
        if (dsn_is_8bit(q->rcpt[i].rcpt->address))
            return true;
    return false;
}

static const char *transfer_encoding(bool is_8bit)
{
    return is_8bit ? "Content-Transfer-Encoding: 8bit\r\n" : "Content-Transfer-Encoding: 7bit\r\n";
}

static void put_header(struct dsn_writer *w, const struct dsn_request *q, const char *boundary,
                       bool is_8bit)
{
    dsn_put_date(w, "Date", q->now_ms);
    if (q->from != NULL && q->from[0] != '\0')
        dsn_printf(w, "From: Mail Delivery System <%s>\r\n", q->from);
    else
        dsn_printf(w, "From: Mail Delivery System <MAILER-DAEMON@%s>\r\n", q->hostname);
    dsn_putc(w, "To: <");
    dsn_put_clean(w, q->env->sender, true);
    dsn_putc(w, ">\r\n");
    dsn_printf(w, "Subject: %s\r\n", subject(q->kind));
    dsn_printf(w, "Message-ID: <%s.dsn@%s>\r\n", q->id_text, q->hostname);
    struct str id = message_id(q->original_header);
    if (id.n != 0) {
        dsn_putc(w, "In-Reply-To: ");
        dsn_put(w, id);
        dsn_putc(w, "\r\nReferences: ");
        dsn_put(w, id);
        dsn_putc(w, "\r\n");
    }
    dsn_putc(w, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
    dsn_printf(w,
               "Content-Type: multipart/report; report-type=delivery-status;\r\n"
               "    boundary=\"%s\"\r\n",
               boundary);
    dsn_putc(w, transfer_encoding(is_8bit));
    dsn_putc(w, "\r\nThis is a MIME-encapsulated message.\r\n");
}

static void start_part(struct dsn_writer *w, const char *boundary, const char *description,
                       const char *type, bool is_8bit)
{
    dsn_printf(w, "\r\n--%s\r\nContent-Description: %s\r\nContent-Type: %s\r\n", boundary,
               description, type);
    dsn_putc(w, transfer_encoding(is_8bit));
    dsn_putc(w, "\r\n");
}

static void put_original(struct dsn_writer *w, const struct dsn_request *q, const char *boundary)
{
    bool whole;
    struct str s = returned(q, &whole);
    bool is_8bit = dsn_is_8bit(s);
    if (whole)
        start_part(w, boundary, "Undelivered message", "message/rfc822", is_8bit);
    else
        start_part(w, boundary, "Header of the message",
                   is_8bit ? "text/rfc822-headers; charset=utf-8" : "text/rfc822-headers", is_8bit);
    dsn_put(w, s);
    if (s.n < 2 || s.p[s.n - 2] != '\r' || s.p[s.n - 1] != '\n')
        dsn_putc(w, "\r\n");
}

bool dsn_build(const struct dsn_request *q, struct buf *out, bool *is_8bit)
{
    struct dsn_writer w = {.out = out, .ok = true};
    size_t start = out->n;
    char boundary[BOUNDARY_MAX];
    bool whole, text_8bit = rcpts_are_8bit(q);
    choose_boundary(q, boundary);
    put_header(&w, q, boundary, text_8bit || dsn_is_8bit(returned(q, &whole)));

    start_part(&w, boundary, "Notification",
               text_8bit ? "text/plain; charset=utf-8" : "text/plain; charset=us-ascii", text_8bit);
    dsn_put_human(&w, q);
    start_part(&w, boundary, "Delivery report", "message/delivery-status", false);
    dsn_put_status(&w, q);
    put_original(&w, q, boundary);
    dsn_printf(&w, "\r\n--%s--\r\n", boundary);

    if (!w.ok) {
        out->n = start;
        return false;
    }
    *is_8bit = dsn_is_8bit(str_n(out->p + start, out->n - start));
    return true;
}
