/*
 * write.c - how text gets into a DSN: nothing that a peer or a sender said can start a field, a
 * line or a part, because control octets do not pass here and long text is folded behind an indent.
 * Pure; any thread.
 */
#include "relay/dsn/dsn_int.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"

#define COLUMNS 76

void dsn_put(struct dsn_writer *w, struct str s)
{
    w->ok = w->ok && buf_append_str(w->out, s);
}

void dsn_putc(struct dsn_writer *w, const char *z)
{
    dsn_put(w, str_c(z));
}

void dsn_printf(struct dsn_writer *w, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    dsn_putc(w, text);
}

void dsn_put_clean(struct dsn_writer *w, struct str s, bool utf8)
{
    for (size_t i = 0; w->ok && i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        bool good = c >= 32 && c != 127 && (c < 128 || utf8);
        w->ok = buf_append_char(w->out, good ? (char)c : '?');
    }
}

void dsn_put_folded(struct dsn_writer *w, const char *lead, const char *indent, struct str text,
                    bool utf8)
{
    size_t column = strlen(lead);
    bool first = true; /* word on this line: needs no blank, may be of any length */
    dsn_putc(w, lead);
    while (text.n != 0) {
        struct str word = str_split(&text, ' ');
        if (word.n == 0)
            continue;
        if (!first && column + 1 + word.n > COLUMNS) {
            dsn_putc(w, "\r\n");
            dsn_putc(w, indent);
            column = strlen(indent);
            first = true;
        }
        if (!first) {
            dsn_putc(w, " ");
            column++;
        }
        dsn_put_clean(w, word, utf8);
        column += word.n;
        first = false;
    }
    dsn_putc(w, "\r\n");
}

void dsn_put_date(struct dsn_writer *w, const char *name, int64_t wall_ms)
{
    char date[64];
    clock_rfc5322(wall_ms, date, sizeof(date));
    dsn_printf(w, "%s: %s\r\n", name, date);
}

bool dsn_is_8bit(struct str s)
{
    unsigned char all = 0;
    for (size_t i = 0; i < s.n; i++)
        all |= (unsigned char)s.p[i];
    return (all & 0x80) != 0;
}
