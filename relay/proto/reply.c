/*
 * reply.c - the value and the writer of SMTP replies (RFC 5321 4.2, RFC 2034, RFC 3463). Whatever
 * the text holds, what is written is a well-formed reply. Any thread.
 */
#include "relay/proto/reply.h"

#include <stdarg.h>
#include <stdio.h>

#define REPLY_LINE_MAX 512 /* with code and CRLF, RFC 5321 4.5.3.1.5 */

struct smtp_reply *smtp_reply_set(struct smtp_reply *r, int code, const char *enhanced,
                                  const char *fmt, ...)
{
    va_list ap;
    r->code = code;
    snprintf(r->enhanced, sizeof(r->enhanced), "%s", enhanced);
    va_start(ap, fmt);
    vsnprintf(r->text, sizeof(r->text), fmt, ap);
    va_end(ap);
    return r;
}

bool smtp_reply_is_unknown_user(const struct smtp_reply *r)
{
    static const char *const status[] = {"5.1.1", "5.1.10", "5.4.1"};
    bool is = false;
    for (size_t i = 0; i < sizeof(status) / sizeof(status[0]); i++)
        is = is || strcmp(r->enhanced, status[i]) == 0;
    return is && smtp_reply_is_permanent(r);
}

const char *smtp_reply_status(const struct smtp_reply *r, char dst[12])
{
    int class = r->code / 100;
    if (class != 2 && class != 5)
        class = 4; /* 3xx where an answer was due, or nothing at all: not a final answer */
    if (r->enhanced[0] == '0' + class && r->enhanced[1] == '.')
        memcpy(dst, r->enhanced, sizeof(r->enhanced));
    else
        snprintf(dst, 12, "%d.0.0", class);
    return dst;
}

/* How much of the text goes on this line: cut after a blank if there is one, never inside a UTF-8
 * sequence. */
static size_t line_take(struct str text, size_t room)
{
    if (text.n <= room)
        return text.n;
    for (size_t i = room; i > room / 2; i--)
        if (text.p[i - 1] == ' ')
            return i;
    size_t i = room;
    while (i > room - 3 && ((unsigned char)text.p[i] & 0xc0) == 0x80)
        i--;
    return i;
}

bool smtp_reply_write(const struct smtp_reply *r, struct buf *out)
{
    size_t start = out->n;
    size_t room = REPLY_LINE_MAX - 6; /* code, separator, CRLF */
    if (r->enhanced[0] != '\0')
        room -= strlen(r->enhanced) + 1;
    struct str rest = str_c(r->text);
    do {
        size_t n = line_take(rest, room);
        bool last = n == rest.n;
        bool ok = buf_printf(out, "%03d%c%s%s", r->code, last ? ' ' : '-', r->enhanced,
                             r->enhanced[0] != '\0' ? " " : "");
        for (size_t i = 0; ok && i < n; i++) {
            unsigned char c = (unsigned char)rest.p[i];
            ok = buf_append_char(out, c < 32 || c == 127 ? '?' : (char)c);
        }
        if (!ok || !buf_append_c(out, "\r\n")) {
            out->n = start;
            return false;
        }
        rest = str_from(rest, n);
    } while (rest.n != 0);
    return true;
}
