/*
 * base64.c - see base64.h. Pure.
 */
#include "base/base64.h"

bool base64_append(struct buf *out, struct str s)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)s.p;
    if (!buf_reserve(out, (s.n + 2) / 3 * 4))
        return false;
    for (size_t i = 0; i < s.n; i += 3) {
        size_t left = s.n - i;
        unsigned v = (unsigned)p[i] << 16 | (left > 1 ? (unsigned)p[i + 1] << 8 : 0) |
                     (left > 2 ? (unsigned)p[i + 2] : 0);
        char *o = out->p + out->n;
        o[0] = digit[v >> 18];
        o[1] = digit[v >> 12 & 63];
        o[2] = left > 1 ? digit[v >> 6 & 63] : '=';
        o[3] = left > 2 ? digit[v & 63] : '=';
        out->n += 4;
    }
    return true;
}
