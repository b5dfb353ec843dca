/*
 * xtext.c - the encoding of ESMTP parameter values, RFC 3461 4: graphic ASCII except "+" and "="
 * stands for itself, any other octet is "+" and two hexadecimal digits. Any thread.
 */
#include "relay/proto/command.h"

static int hex_digit(char c)
{
    if (ascii_is_digit(c))
        return c - '0';
    c = ascii_lower(c); /* the RFC wants capitals; some clients do not */
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool xtext_decode(struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c < 33 || c > 126 || c == '=')
            return false;
        if (c == '+') {
            int hi = i + 2 < in.n ? hex_digit(in.p[i + 1]) : -1;
            int lo = hi >= 0 ? hex_digit(in.p[i + 2]) : -1;
            if (lo < 0)
                return false;
            c = (char)(hi << 4 | lo);
            i += 2;
        }
        if (!buf_append_char(out, c))
            return false;
    }
    return true;
}

bool xtext_encode(struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        unsigned char c = (unsigned char)in.p[i];
        bool plain = c >= 33 && c <= 126 && c != '+' && c != '=';
        if (!(plain ? buf_append_char(out, (char)c) : buf_printf(out, "+%02X", c)))
            return false;
    }
    return true;
}
