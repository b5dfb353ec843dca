/*
 * reply.h - SMTP replies: the value that SMTP outcomes travel as, the parser for replies from next
 * hops, and the writer for ours. Pure. RFC 5321 4.2, RFC 2034, RFC 3463.
 */
#ifndef RELAY_PROTO_REPLY_H
#define RELAY_PROTO_REPLY_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/str.h"

#define SMTP_REPLY_TEXT_MAX 512

/* Text is "" and never NULL; escaped already if it came from a peer; lines joined by " / ". */
struct smtp_reply {
    int code;                       /* 200..599; 0 = none */
    char enhanced[12];              /* "5.1.1", or "" */
    char text[SMTP_REPLY_TEXT_MAX]; /* without code and enhanced code */
};

/* Formats into *r; returns r. enhanced may be "". */
struct smtp_reply *smtp_reply_set(struct smtp_reply *r, int code, const char *enhanced,
                                  const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static inline bool smtp_reply_is_ok(const struct smtp_reply *r)
{
    return r->code >= 200 && r->code < 300;
}
static inline bool smtp_reply_is_permanent(const struct smtp_reply *r)
{
    return r->code >= 500 && r->code < 600;
}
/* Does a next hop say that there is no such recipient? 5.4.1 is what Exchange Online says where the
 * domain's recipients are all in its directory. */
bool smtp_reply_is_unknown_user(const struct smtp_reply *r);
/* The enhanced code, or one made from the basic code ("5.0.0") when there is none or it
 * contradicts: the basic code wins. */
const char *smtp_reply_status(const struct smtp_reply *r, char dst[12]);
/* "550 5.1.1 text\r\n"; long texts are split into continuation lines of at most 512 octets. */
bool smtp_reply_write(const struct smtp_reply *r, struct buf *out);

/* Incremental parser for a next hop's replies. */
enum smtp_reply_state {
    SMTP_REPLY_MORE,    /* needs more bytes; all given were consumed */
    SMTP_REPLY_DONE,    /* *r is filled; *used bytes were consumed, the rest is the next reply */
    SMTP_REPLY_INVALID, /* not SMTP: r->text says what was seen; drop the connection */
};
struct smtp_reply_parser {
    struct smtp_reply reply;
    char line[1024]; /* longer lines are cut, the rest of the line is skipped */
    size_t line_n;
    unsigned lines;  /* of this reply; more than 100 is INVALID */
    size_t skipped;  /* octets of this reply that were cut; more than 64 KB is INVALID */
    bool keep_lines; /* collect the lines of an EHLO reply in `ehlo` */
    struct buf ehlo; /* lines after the first, as received, separated by '\n', capped at 8 KB;
                        valid until the next reply begins */
};
void smtp_reply_parser_init(struct smtp_reply_parser *p);
void smtp_reply_parser_free(struct smtp_reply_parser *p);
enum smtp_reply_state smtp_reply_parse(struct smtp_reply_parser *p, const char *data, size_t n,
                                       size_t *used, struct smtp_reply *r);

#endif
