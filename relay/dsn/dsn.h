/*
 * dsn.h - the text of delivery status notifications, RFC 3461, 3462, 3464. Pure: facts in, message
 * out. Remote text cannot add a field or a part; addresses are shown as the sender wrote them.
 */
#ifndef RELAY_DSN_DSN_H
#define RELAY_DSN_DSN_H

#include "base/buf.h"
#include "relay/mail/envelope.h"
#include "relay/proto/reply.h"

enum dsn_kind {
    DSN_FAILED,
    DSN_DELAYED,
    DSN_RELAYED,
    DSN_DELIVERED
};

struct dsn_rcpt {
    const struct envelope_rcpt *rcpt;
    struct smtp_reply reply;
    bool expired;                /* gave up because of age: status 4.4.7, RFC 3463 3.5 */
    const char *remote_host;     /* "" = none: no Remote-MTA, no Diagnostic-Code of smtp type */
    int64_t last_attempt_ms;     /* wall */
    int64_t will_retry_until_ms; /* DELAYED; wall */
};

struct dsn_request {
    enum dsn_kind kind;
    const char *hostname;     /* Reporting-MTA, and the domain of From and Message-ID */
    const char *from;         /* address in From; NULL or "" = MAILER-DAEMON at hostname */
    const char *id_text;      /* of the new message */
    const char *orig_id_text; /* of the original */
    const struct envelope *env;
    const struct dsn_rcpt *rcpt;
    unsigned n_rcpt;
    int64_t now_ms; /* wall */
    /* The original: header is always there; whole content when RET asks for it and it is at most
     * return_max octets. */
    struct str original_header; /* up to and with the empty line, or what was readable of it */
    struct str original;        /* empty: headers only. Used for DSN_FAILED alone */
};

/* Which of these kinds the recipient wants, RFC 3461 4.1 (a null sender never does: the caller
 * checks). */
bool dsn_is_wanted(const struct envelope_rcpt *r, enum dsn_kind kind);

/* No more octets than this are in the report for the recipient's sake. */
size_t dsn_rcpt_size_max(const struct dsn_rcpt *r);

/* Appends the whole message (header and body, CRLF). False: out's cap reached. *is_8bit: it has
 * octets above 127. */
bool dsn_build(const struct dsn_request *q, struct buf *out, bool *is_8bit);

#endif
