/*
 * dsn_int.h - the parts of a DSN, for this folder. A writer turns into a no-op when the buffer's
 * cap is reached, so that the parts read as what they write.
 */
#ifndef RELAY_DSN_DSN_INT_H
#define RELAY_DSN_DSN_INT_H

#include "relay/dsn/dsn.h"

struct dsn_writer {
    struct buf *out;
    bool ok;
};

/* write.c */
void dsn_put(struct dsn_writer *w, struct str s);
void dsn_putc(struct dsn_writer *w, const char *z);
void dsn_printf(struct dsn_writer *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Whatever is not printable ASCII becomes "?"; with `utf8`, only control octets do. */
void dsn_put_clean(struct dsn_writer *w, struct str s, bool utf8);
/* `lead` and the words of `text` after it, clean, in lines of at most 76 columns where words allow;
 * each further line starts with `indent`, which is not empty. Ends with CRLF. */
void dsn_put_folded(struct dsn_writer *w, const char *lead, const char *indent, struct str text,
                    bool utf8);
/* "Name: date CRLF" */
void dsn_put_date(struct dsn_writer *w, const char *name, int64_t wall_ms);
bool dsn_is_8bit(struct str s);

/* status.c: the recipient's status as this report must give it, and the body of the
 * message/delivery-status part. */
const char *dsn_status(enum dsn_kind kind, const struct dsn_rcpt *r, char dst[12]);
void dsn_put_status(struct dsn_writer *w, const struct dsn_request *q);

/* human.c: the body of the text/plain part. */
void dsn_put_human(struct dsn_writer *w, const struct dsn_request *q);

#endif
