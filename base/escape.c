/*
 * escape.c - foreign bytes made harmless for a log, a terminal or a reply. Pure. Valid UTF-8 passes
 * (RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF), except for the C1 controls,
 * which some terminals obey. Output is cut between whole units only.
 */
#include "base/escape.h"

#include "base/assert.h"

size_t escape_utf8_len(const char *p, size_t n)
{
    const unsigned char *u = (const unsigned char *)p;
    if (n == 0)
        return 0;
    if (u[0] < 0x80)
        return 1;
    size_t len;
    unsigned char low = 0x80, high = 0xbf; /* what the second octet may be */
    if (u[0] >= 0xc2 && u[0] <= 0xdf) {
        len = 2;
    } else if (u[0] >= 0xe0 && u[0] <= 0xef) {
        len = 3;
        if (u[0] == 0xe0)
            low = 0xa0;
        if (u[0] == 0xed)
            high = 0x9f;
    } else if (u[0] >= 0xf0 && u[0] <= 0xf4) {
        len = 4;
        if (u[0] == 0xf0)
            low = 0x90;
        if (u[0] == 0xf4)
            high = 0x8f;
    } else {
        return 0;
    }
    if (n < len || u[1] < low || u[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if (u[i] < 0x80 || u[i] > 0xbf)
            return 0;
    }
    return len;
}

/* One unit of s into unit[]; *take octets of s are used; returns the length of the unit. */
static size_t one_unit(struct str s, char unit[4], size_t *take)
{
    static const char hex[] = "0123456789ABCDEF";
    unsigned char c = (unsigned char)s.p[0];
    size_t len = escape_utf8_len(s.p, s.n);
    bool c1 = len == 2 && c == 0xc2 && (unsigned char)s.p[1] < 0xa0;
    *take = 1;
    if (c == '\\') {
        unit[0] = unit[1] = '\\';
        return 2;
    }
    if (len == 0 || c1 || c < 0x20 || c == 0x7f) {
        unit[0] = '\\';
        unit[1] = 'x';
        unit[2] = hex[c >> 4];
        unit[3] = hex[c & 15];
        return 4;
    }
    memcpy(unit, s.p, len);
    *take = len;
    return len;
}

/* Writes at most max octets; dst NULL only measures. */
static size_t escape_into(struct str s, char *dst, size_t max)
{
    size_t n = 0, cut_at = 0; /* the last place where "..." still fits */
    while (s.n != 0) {
        char unit[4];
        size_t take, len = one_unit(s, unit, &take);
        if (len > max - n) {
            size_t dots = max - cut_at < 3 ? max - cut_at : 3;
            if (dst != NULL)
                memcpy(dst + cut_at, "...", dots);
            return cut_at + dots;
        }
        if (dst != NULL)
            memcpy(dst + n, unit, len);
        n += len;
        if (n + 3 <= max)
            cut_at = n;
        s = str_from(s, take);
    }
    return n;
}

bool escape_append(struct buf *out, struct str s, size_t max)
{
    size_t n = escape_into(s, NULL, max);
    if (!buf_reserve(out, n))
        return false;
    out->n += n != 0 ? escape_into(s, out->p + out->n, max) : 0;
    return true;
}

void escape_cstr(struct str s, char *dst, size_t cap)
{
    ASSERT(cap >= 8);
    dst[escape_into(s, dst, cap - 1)] = '\0';
}
