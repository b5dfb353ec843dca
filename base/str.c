/*
 * str.c - slices of bytes: comparing, cutting, converting. Pure; nothing is owned but what
 * str_dup() returns. Letters are folded in ASCII only: a locale must never change what an address
 * is.
 */
#include "base/str.h"

#include "base/mem.h"

/* ASCII lower case of eight octets at once: adding makes bit 7 of each octet say "at least 'A'" and
 * "more than 'Z'"; where they differ, and bit 7 was clear, it is a capital. */
static uint64_t lower8(uint64_t v)
{
    const uint64_t each = 0x0101010101010101u;
    uint64_t low = v & each * 0x7f;
    uint64_t capital =
        ((low + each * (0x80 - 'A')) ^ (low + each * (0x7f - 'Z'))) & ~v & each * 0x80;
    return v | capital >> 2;
}

static inline bool same8(const char *a, const char *b)
{
    uint64_t va, vb;
    memcpy(&va, a, sizeof(va));
    memcpy(&vb, b, sizeof(vb));
    return va == vb || lower8(va) == lower8(vb);
}

static inline bool same4(const char *a, const char *b)
{
    uint32_t va, vb;
    memcpy(&va, a, sizeof(va));
    memcpy(&vb, b, sizeof(vb));
    return va == vb || lower8(va) == lower8(vb);
}

bool str_eq_nocase(struct str a, struct str b)
{
    size_t n = a.n;
    if (n != b.n)
        return false;
    if (n < 4) {
        for (size_t i = 0; i < n; i++)
            if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
                return false;
        return true;
    }
    /* the last ones may be compared twice: that is quicker than one by one */
    if (n < 8)
        return same4(a.p, b.p) && same4(a.p + n - 4, b.p + n - 4);
    for (size_t i = 0; i + 8 <= n; i += 8)
        if (!same8(a.p + i, b.p + i))
            return false;
    return same8(a.p + n - 8, b.p + n - 8);
}

bool str_starts(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq(str_n(s.p, prefix.n), prefix);
}

bool str_starts_nocase(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq_nocase(str_n(s.p, prefix.n), prefix);
}

bool str_ends_nocase(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq_nocase(str_from(s, s.n - suffix.n), suffix);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str s)
{
    while (s.n != 0 && is_blank(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n != 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

long str_find(struct str s, char c)
{
    if (s.n == 0)
        return -1;
    const char *at = memchr(s.p, c, s.n);
    return at != NULL ? (long)(at - s.p) : -1;
}

long str_rfind(struct str s, char c)
{
    if (s.n == 0)
        return -1;
    const char *at = memrchr(s.p, c, s.n);
    return at != NULL ? (long)(at - s.p) : -1;
}

struct str str_from(struct str s, size_t start)
{
    if (s.p == NULL)
        return s;
    if (start > s.n)
        start = s.n;
    return str_n(s.p + start, s.n - start);
}

struct str str_upto(struct str s, size_t end)
{
    return str_n(s.p, end < s.n ? end : s.n);
}

struct str str_split(struct str *rest, char c)
{
    struct str whole = *rest;
    long at = str_find(whole, c);
    if (at < 0) {
        *rest = str_from(whole, whole.n);
        return whole;
    }
    *rest = str_from(whole, (size_t)at + 1);
    return str_upto(whole, (size_t)at);
}

bool str_to_u64(struct str s, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (!ascii_is_digit(s.p[i]))
            return false;
        uint64_t digit = (uint64_t)(s.p[i] - '0');
        if (digit > max || v > (max - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

bool str_copy(struct str s, char *dst, size_t cap)
{
    if (cap == 0)
        return false;
    if (s.n >= cap || str_find(s, '\0') >= 0) {
        dst[0] = '\0';
        return false;
    }
    if (s.n != 0)
        memcpy(dst, s.p, s.n);
    dst[s.n] = '\0';
    return true;
}

void str_lower(struct str src, char *dst)
{
    for (size_t i = 0; i < src.n; i++)
        dst[i] = ascii_lower(src.p[i]);
}

char *str_dup(struct str s)
{
    char *p = mem_alloc(s.n + 1);
    if (s.n != 0)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return p;
}
