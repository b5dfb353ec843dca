/*
 * address.c - recursive descent over the address grammar of RFC 5321 4.1.2 and 4.1.3 and the UTF-8
 * additions of RFC 6531 3.3. One pass, no copies, no state; each function moves the scanner past
 * what it read or says that the grammar does not fit. Limits are looked at last, so that "too long"
 * is only said of what is correct otherwise. Any thread.
 */
#include "rewrite/address.h"

#include <arpa/inet.h>

#include "base/assert.h"
#include "base/escape.h"

#define DOMAIN_MAX 255
#define LABEL_MAX  63

struct scan {
    const unsigned char *p, *end;
    bool utf8; /* something beyond ASCII was seen */
    bool too_long;
};

const char *address_status_text(enum address_status s)
{
    switch (s) {
    case ADDRESS_OK:
        return "correct";
    case ADDRESS_SYNTAX:
        return "not a valid address";
    case ADDRESS_TOO_LONG:
        return "address too long";
    case ADDRESS_NEEDS_UTF8:
        return "address needs SMTPUTF8";
    }
    return "?";
}

bool address_is_atext(unsigned char c)
{
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return true;
    if (c == '.' || c == '@') /* what ends most atoms */
        return false;
    return c != 0 && c < 128 && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL;
}

static bool is_let_dig(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* Octets of the UTF-8 sequence at p, which is neither ASCII nor a C1 control; 0 otherwise. */
static size_t utf8_at(const unsigned char *p, const unsigned char *end)
{
    size_t n = escape_utf8_len((const char *)p, (size_t)(end - p));
    return n < 2 || (p[0] == 0xc2 && p[1] < 0xa0) ? 0 : n;
}

/* The other full stops of IDNA2003: U+3002, U+FF0E, U+FF61. */
static bool is_full_stop(const unsigned char *p, size_t n)
{
    return n == 3 && (memcmp(p, "\xe3\x80\x82", 3) == 0 || memcmp(p, "\xef\xbc\x8e", 3) == 0 ||
                      memcmp(p, "\xef\xbd\xa1", 3) == 0);
}

static bool skip_utf8(struct scan *s)
{
    size_t n = utf8_at(s->p, s->end);
    s->p += n;
    s->utf8 |= n != 0;
    return n != 0;
}

static bool scan_dot_string(struct scan *s)
{
    for (;;) {
        const unsigned char *atom = s->p;
        while (s->p < s->end) {
            if (address_is_atext(*s->p))
                s->p++;
            else if (*s->p < 128 || !skip_utf8(s))
                break;
        }
        if (s->p == atom)
            return false;
        if (s->p == s->end || *s->p != '.')
            return true;
        s->p++;
    }
}

static bool scan_quoted(struct scan *s)
{
    s->p++; /* the opening quote */
    while (s->p < s->end) {
        unsigned char c = *s->p;
        if (c >= 128) {
            if (!skip_utf8(s))
                return false;
            continue;
        }
        if (c < 32 || c == 127)
            return false;
        s->p++;
        if (c == '"')
            return true;
        if (c == '\\') {
            if (s->p == s->end || *s->p < 32 || *s->p > 126)
                return false;
            s->p++;
        }
    }
    return false;
}

/* A label. A full stop in disguise would make two of it later. */
static bool scan_label(struct scan *s)
{
    const unsigned char *start = s->p;
    size_t points = 0;
    for (; s->p < s->end; points++) {
        if (*s->p >= 128) {
            size_t n = utf8_at(s->p, s->end);
            if (n == 0 || is_full_stop(s->p, n))
                return false;
            s->p += n;
            s->utf8 = true;
        } else if (is_let_dig(*s->p) || (*s->p == '-' && s->p != start)) {
            s->p++;
        } else {
            break;
        }
    }
    if (s->p == start || s->p[-1] == '-')
        return false;
    /* A U-label may take more octets than its A-label, never fewer characters than it shows. */
    if (points > LABEL_MAX)
        s->too_long = true;
    return true;
}

static bool scan_domain(struct scan *s)
{
    const unsigned char *start = s->p;
    for (;;) {
        if (!scan_label(s))
            return false;
        if (s->p == s->end || *s->p != '.')
            break;
        s->p++;
    }
    if (s->p - start > DOMAIN_MAX)
        s->too_long = true;
    return true;
}

static bool scan_literal(struct scan *s)
{
    const unsigned char *close = memchr(s->p, ']', (size_t)(s->end - s->p));
    if (close == NULL)
        return false;
    struct str inside = str_n((const char *)s->p + 1, (size_t)(close - s->p) - 1);
    int family = AF_INET;
    if (str_starts_nocase(inside, STR("IPv6:"))) {
        family = AF_INET6;
        inside = str_from(inside, 5);
    }
    char text[64];
    unsigned char bits[16];
    if (!str_copy(inside, text, sizeof(text)) || inet_pton(family, text, bits) != 1)
        return false;
    s->p = close + 1;
    return true;
}

/* "@a,@b:", RFC 5321 appendix C. */
static bool scan_route(struct scan *s)
{
    for (;;) {
        if (s->p == s->end || *s->p != '@')
            return false;
        s->p++;
        if (!scan_domain(s) || s->p == s->end)
            return false;
        unsigned char c = *s->p++;
        if (c == ':')
            return true;
        if (c != ',')
            return false;
    }
}

static struct str slice(const unsigned char *from, const unsigned char *to)
{
    return str_n((const char *)from, (size_t)(to - from));
}

static bool scan_mailbox(struct scan *s, unsigned flags, struct address *out)
{
    const unsigned char *start = s->p;
    if (s->p == s->end)
        return false;
    out->quoted = *s->p == '"';
    if (!(out->quoted ? scan_quoted(s) : scan_dot_string(s)))
        return false;
    out->local = slice(start, s->p);
    if (s->p == s->end || *s->p != '@') {
        out->all = out->local;
        return (flags & ADDRESS_ALLOW_POSTMASTER) != 0 &&
               str_eq_nocase(out->local, STR("postmaster"));
    }
    s->p++;
    const unsigned char *domain = s->p;
    out->literal = s->p < s->end && *s->p == '[';
    if (!(out->literal ? scan_literal(s) : scan_domain(s)))
        return false;
    out->domain = slice(domain, s->p);
    out->all = slice(start, s->p);
    return true;
}

static enum address_status scan_path(struct scan *s, unsigned flags, struct address *out)
{
    *out = (struct address){0};
    if (s->p < s->end && *s->p == '@' && ((flags & ADDRESS_ALLOW_ROUTE) == 0 || !scan_route(s)))
        return ADDRESS_SYNTAX;
    if (!scan_mailbox(s, flags, out))
        return ADDRESS_SYNTAX;
    return ADDRESS_OK;
}

static enum address_status limits(const struct scan *s, unsigned flags, const struct address *a)
{
    if (s->too_long || a->local.n > ADDRESS_LOCAL_MAX || a->all.n > ADDRESS_MAX)
        return ADDRESS_TOO_LONG;
    if (s->utf8 && (flags & ADDRESS_ALLOW_UTF8) == 0)
        return ADDRESS_NEEDS_UTF8;
    return ADDRESS_OK;
}

enum address_status address_parse_path(struct str in, unsigned flags, struct address *out,
                                       struct str *rest)
{
    *out = (struct address){0};
    *rest = in;
    if (in.n < 2 || in.p[0] != '<')
        return ADDRESS_SYNTAX;
    const unsigned char *p = (const unsigned char *)in.p;
    struct scan s = {.p = p + 1, .end = p + in.n};
    if (*s.p == '>' && (flags & ADDRESS_ALLOW_EMPTY) != 0) {
        *rest = str_from(in, 2);
        return ADDRESS_OK;
    }
    enum address_status st = scan_path(&s, flags, out);
    if (st == ADDRESS_OK && (s.p == s.end || *s.p != '>'))
        st = ADDRESS_SYNTAX;
    if (st == ADDRESS_OK)
        st = limits(&s, flags, out);
    if (st == ADDRESS_OK)
        *rest = slice(s.p + 1, s.end);
    return st;
}

enum address_status address_parse(struct str in, unsigned flags, struct address *out)
{
    *out = (struct address){0};
    if (in.n == 0)
        return (flags & ADDRESS_ALLOW_EMPTY) != 0 ? ADDRESS_OK : ADDRESS_SYNTAX;
    const unsigned char *p = (const unsigned char *)in.p;
    struct scan s = {.p = p, .end = p + in.n};
    enum address_status st = scan_path(&s, flags, out);
    if (st == ADDRESS_OK && s.p != s.end)
        st = ADDRESS_SYNTAX;
    return st == ADDRESS_OK ? limits(&s, flags, out) : st;
}

/* The content of a quoted local part: without quotes and needless backslashes. */
static size_t unquote(struct str local, char *dst)
{
    size_t n = 0;
    for (size_t i = 1; i + 1 < local.n; i++) {
        if (local.p[i] == '\\' && i + 2 < local.n)
            i++;
        dst[n++] = local.p[i];
    }
    return n;
}

static size_t key_local(const struct address *a, char *dst)
{
    if (!a->quoted) {
        str_lower(a->local, dst);
        return a->local.n;
    }
    char plain[ADDRESS_LOCAL_MAX];
    size_t n = unquote(a->local, plain);
    struct scan s = {.p = (unsigned char *)plain, .end = (unsigned char *)plain + n};
    if (scan_dot_string(&s) && s.p == s.end) {
        str_lower(str_n(plain, n), dst);
        return n;
    }
    size_t k = 0;
    dst[k++] = '"';
    for (size_t i = 0; i < n; i++) {
        if (plain[i] == '"' || plain[i] == '\\')
            dst[k++] = '\\';
        dst[k++] = ascii_lower(plain[i]);
    }
    dst[k++] = '"';
    return k;
}

size_t address_key(const struct address *a, char *dst, size_t cap)
{
    ASSERT(a->local.n <= ADDRESS_LOCAL_MAX);
    struct str domain = a->domain;
    if (domain.n != 0 && domain.p[domain.n - 1] == '.')
        domain.n--;
    char local[ADDRESS_LOCAL_MAX];
    size_t n = key_local(a, local), at = domain.n != 0;
    if (n + at + domain.n >= cap)
        return 0;
    memcpy(dst, local, n);
    if (at) {
        dst[n] = '@';
        str_lower(domain, dst + n + 1);
    }
    dst[n + at + domain.n] = '\0';
    return n + at + domain.n;
}

bool domain_is_valid(struct str d, bool allow_utf8)
{
    if (d.n == 0)
        return false;
    const unsigned char *p = (const unsigned char *)d.p;
    struct scan s = {.p = p, .end = p + d.n};
    return scan_domain(&s) && s.p == s.end && !s.too_long && (allow_utf8 || !s.utf8);
}
