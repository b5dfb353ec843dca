/*
 * ad_value.c - see ad_value.h.
 */
#include "directory/ad/ad_value.h"

#include <stdio.h>

#include "base/mem.h"

#define COOKIE_VERSION 1
#define COOKIE_HEAD    26

#define EPOCH_MS  11644473600000 /* from 1601 to 1970 */
#define TICKS_MS  10000          /* of 100 ns */
#define GUID_TERM (sizeof("(objectGUID=)") - 1 + 3 * DIR_UUID_SIZE)

/* ---- the cookie ---- */

static void put_u64(unsigned char *p, uint64_t v)
{
    for (unsigned i = 0; i < 8; i++)
        p[i] = (unsigned char)(v >> (8 * i));
}

static uint64_t get_u64(const char *p)
{
    uint64_t v = 0;
    for (unsigned i = 8; i-- > 0;)
        v = v << 8 | (unsigned char)p[i];
    return v;
}

bool ad_cookie_write(struct buf *out, const struct ad_cookie *c)
{
    unsigned char head[COOKIE_HEAD] = {COOKIE_VERSION, (unsigned char)c->method}, usn[8];
    memcpy(head + 2, c->invocation, DIR_UUID_SIZE);
    put_u64(head + 18, (uint64_t)c->again_ms);
    put_u64(usn, c->usn);
    return buf_append(out, head, sizeof(head)) &&
           (c->method == AD_USN ? buf_append(out, usn, sizeof(usn))
                                : buf_append_str(out, c->dirsync));
}

bool ad_cookie_read(struct str in, struct ad_cookie *out)
{
    *out = (struct ad_cookie){0};
    if (in.n <= COOKIE_HEAD || in.p[0] != COOKIE_VERSION)
        return false;
    struct str body = str_from(in, COOKIE_HEAD);
    memcpy(out->invocation, in.p + 2, DIR_UUID_SIZE);
    out->again_ms = (int64_t)get_u64(in.p + 18);
    switch (in.p[1]) {
    case AD_DIRSYNC:
        out->method = AD_DIRSYNC;
        out->dirsync = body;
        return true;
    case AD_USN:
        out->method = AD_USN;
        if (body.n != 8)
            return false;
        out->usn = get_u64(body.p);
        return true;
    default:
        return false;
    }
}

int64_t ad_again_ms(int64_t again_ms, int64_t now_ms)
{
    int64_t settled = now_ms + AD_SETTLE_MS;
    return again_ms != 0 && again_ms < settled ? again_ms : settled;
}

bool ad_again_is_due(int64_t again_ms, int64_t now_ms)
{
    return again_ms != 0 && (now_ms >= again_ms || again_ms > now_ms + 2 * AD_SETTLE_MS);
}

/* ---- ranges ---- */

bool ad_range_parse(struct str attribute, struct ad_range *out)
{
    struct str rest = attribute, name = str_split(&rest, ';');
    while (rest.n != 0) {
        struct str option = str_split(&rest, ';');
        uint64_t first, last = 0;
        if (!str_starts_nocase(option, STR("range=")))
            continue;
        option = str_from(option, 6);
        struct str from = str_split(&option, '-');
        bool to_end = str_eq(option, STR("*"));
        if (!str_to_u64(from, UINT32_MAX - 1, &first) ||
            (!to_end && (!str_to_u64(option, UINT32_MAX - 1, &last) || last < first)))
            return false;
        *out = (struct ad_range){name, (uint32_t)first, (uint32_t)last, to_end};
        return true;
    }
    return false;
}

/* ---- filters and names ---- */

bool ad_guid_filter(struct buf *out, const char *filter, const unsigned char *guid, unsigned n)
{
    static const char hex[] = "0123456789abcdef";
    if (!buf_append_c(out, "(&") || !buf_append_c(out, filter) || !buf_append_c(out, "(|"))
        return false;
    for (; n != 0; n--, guid += DIR_UUID_SIZE) {
        char term[GUID_TERM], *p = term;
        memcpy(p, "(objectGUID=", 12);
        p += 12;
        for (unsigned i = 0; i < DIR_UUID_SIZE; i++) {
            *p++ = '\\';
            *p++ = hex[guid[i] >> 4];
            *p++ = hex[guid[i] & 15];
        }
        *p = ')';
        if (!buf_append(out, term, sizeof(term)))
            return false;
    }
    return buf_append_c(out, "))");
}

void ad_guid_dn(const unsigned char *guid, char dst[AD_GUID_DN_SIZE])
{
    int n = snprintf(dst, AD_GUID_DN_SIZE, "<GUID=");
    for (unsigned i = 0; i < DIR_UUID_SIZE; i++)
        n += snprintf(dst + n, AD_GUID_DN_SIZE - (size_t)n, "%02x", guid[i]);
    snprintf(dst + n, AD_GUID_DN_SIZE - (size_t)n, ">");
}

/* A parenthesis inside a value is written \28 (RFC 4515): each one here opens a term. */
bool ad_filter_attribute(struct str *rest, struct str *name)
{
    for (long open; (open = str_find(*rest, '(')) >= 0;) {
        *rest = str_trim(str_from(*rest, (size_t)open + 1));
        size_t n = 0;
        while (n < rest->n && strchr("=<>~:;()&|! ", rest->p[n]) == NULL)
            n++;
        *name = str_upto(*rest, n);
        if (n != 0)
            return true;
    }
    return false;
}

static void add_name(char **list, struct str name)
{
    unsigned n = 0;
    for (; list[n] != NULL; n++)
        if (str_eq_nocase(str_c(list[n]), name))
            return;
    list[n] = str_dup(name);
}

char **ad_attributes_new(char *const *names, const char *const *more, const char *filter)
{
    struct str rest = str_c(filter), name;
    size_t max = rest.n + 1; /* more than there can be names in it */
    for (char *const *p = names; *p != NULL; p++)
        max++;
    for (const char *const *p = more; *p != NULL; p++)
        max++;
    char **list = mem_array(max, sizeof(*list));
    for (; *names != NULL; names++)
        add_name(list, str_c(*names));
    for (; *more != NULL; more++)
        add_name(list, str_c(*more));
    while (ad_filter_attribute(&rest, &name))
        add_name(list, name);
    return list;
}

void ad_attributes_free(char ***list)
{
    for (char **p = *list; p != NULL && *p != NULL; p++)
        mem_free(*p);
    mem_free(*list);
    *list = NULL;
}

bool ad_dn_is_below(struct str dn, struct str base)
{
    if (base.n == 0)
        return true;
    if (!str_ends_nocase(dn, base))
        return false;
    size_t head = dn.n - base.n;
    return head == 0 || (head >= 2 && dn.p[head - 1] == ',' && dn.p[head - 2] != '\\');
}

struct str ad_dn_domain(struct str dn)
{
    size_t domain = dn.n, at = 0;
    while (at < dn.n) {
        if (!str_starts_nocase(str_from(dn, at), STR("DC=")))
            domain = dn.n;
        else if (domain == dn.n)
            domain = at;
        while (at < dn.n && dn.p[at] != ',')
            at += dn.p[at] == '\\' ? 2 : 1;
        at++;
    }
    return str_from(dn, domain);
}

/* ---- times ---- */

int64_t ad_time_ms(struct str value)
{
    uint64_t ticks;
    if (!str_to_u64(value, INT64_MAX - 1, &ticks) || ticks / TICKS_MS <= EPOCH_MS)
        return 0;
    return (int64_t)(ticks / TICKS_MS) - EPOCH_MS;
}
