/*
 * dns_parse.c - reading DNS replies (RFC 1035 section 4, RFC 2308, RFC 3596, RFC 7505).
 *
 * c-ares has matched the reply to its question; everything else in it is as the network sent it.
 * The records of the wanted type in the answer section are taken whoever their owner is, since a
 * CNAME chain may lead there. Anything that does not hold together makes the whole reply malformed,
 * which is a temporary failure and never a permanent one. Pure; bounded by the reply's length.
 */
#include "relay/io/dns_int.h"

#include <string.h>

#include "base/assert.h"

enum {
    HEADER = 12,
    RR_FIXED = 10, /* type, class, TTL, length */
    RCODE_NOERROR = 0,
    RCODE_NXDOMAIN = 3,
    CLASS_IN = 1,
    TYPE_CNAME = 5,
    TYPE_SOA = 6,
    LABEL_MAX = 63,
    WIRE_NAME_MAX = 255,
    POINTERS_MAX = 128,
};

struct reader {
    const unsigned char *p;
    size_t n, at;
};

struct rr {
    unsigned type, class;
    uint32_t ttl;
    size_t data, len; /* offset of the data, which is inside the message */
};

static unsigned u16(const struct reader *r, size_t at)
{
    return (unsigned)r->p[at] << 8 | r->p[at + 1];
}

static uint32_t u32(const struct reader *r, size_t at)
{
    return (uint32_t)u16(r, at) << 16 | u16(r, at + 2);
}

/* ---- names ---- */

static bool is_host_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool dns_name_normalise(struct str name, char dst[DNS_NAME_MAX])
{
    size_t label = 0;

    if (name.n > 0 && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n == 0 || name.n > WIRE_NAME_MAX - 2)
        return false;
    str_lower(name, dst);
    dst[name.n] = '\0';
    for (size_t i = 0; i < name.n; i++) {
        if (dst[i] == '.') {
            if (label == 0)
                return false;
            label = 0;
        } else if (!is_host_char((unsigned char)dst[i]) || ++label > LABEL_MAX) {
            return false;
        }
    }
    return label != 0;
}

/* Moves past a name where it stands. */
static bool skip_name(struct reader *r)
{
    while (r->at < r->n) {
        unsigned c = r->p[r->at];
        if (c >= 0xc0) {
            r->at += 2;
            return r->at <= r->n;
        }
        if (c > LABEL_MAX)
            return false;
        r->at += 1 + c;
        if (c == 0)
            return true;
    }
    return false;
}

enum name_kind {
    NAME_BROKEN,
    NAME_ODD, /* a name, but not one of a host */
    NAME_ROOT,
    NAME_HOST
};

/* The name at `at`, its compression undone (RFC 1035 4.1.4). */
static enum name_kind read_name(const struct reader *r, size_t at, char dst[DNS_NAME_MAX])
{
    size_t n = 0;
    bool odd = false;

    for (int pointers = 0; at < r->n;) {
        unsigned c = r->p[at];
        if (c >= 0xc0) {
            if (at + 2 > r->n || ++pointers > POINTERS_MAX)
                return NAME_BROKEN;
            at = u16(r, at) & 0x3fff;
            continue;
        }
        if (c == 0) {
            dst[n] = '\0';
            return n == 0 ? NAME_ROOT : odd ? NAME_ODD : NAME_HOST;
        }
        if (c > LABEL_MAX || at + 1 + c > r->n || n + 1 + c > WIRE_NAME_MAX - 2)
            return NAME_BROKEN;
        if (n != 0)
            dst[n++] = '.';
        for (size_t i = 0; i < c; i++) {
            char ch = ascii_lower((char)r->p[at + 1 + i]);
            odd |= !is_host_char((unsigned char)ch);
            dst[n++] = ch;
        }
        at += 1 + c;
    }
    return NAME_BROKEN;
}

/* ---- records ---- */

static bool next_rr(struct reader *r, struct rr *rr)
{
    if (!skip_name(r) || r->n - r->at < RR_FIXED)
        return false;
    rr->type = u16(r, r->at);
    rr->class = u16(r, r->at + 2);
    rr->ttl = u32(r, r->at + 4);
    if (rr->ttl > INT32_MAX) /* RFC 2181 section 8 */
        rr->ttl = 0;
    rr->len = u16(r, r->at + 8);
    rr->data = r->at + RR_FIXED;
    if (rr->len > r->n - rr->data)
        return false;
    r->at = rr->data + rr->len;
    return true;
}

/* RFC 2308 section 5: a negative answer holds for the lesser of the SOA's TTL and its last field.
 */
static uint32_t negative_ttl(struct reader *r, unsigned authorities)
{
    struct rr rr;

    while (authorities-- > 0 && next_rr(r, &rr)) {
        if (rr.type == TYPE_SOA && rr.class == CLASS_IN && rr.len >= 22) {
            uint32_t minimum = u32(r, rr.data + rr.len - 4);
            return minimum < rr.ttl ? minimum : rr.ttl;
        }
    }
    return UINT32_MAX;
}

static void set_head(struct dns_head *h, enum resolve_status status, const char *why,
                     uint32_t ttl_s)
{
    h->status = status;
    h->why = why;
    h->ttl_s = ttl_s;
}

typedef bool take_fn(void *ctx, const struct reader *r, const struct rr *rr);

/* Gives the wanted records to `take`. True if there were any; else *h is filled. */
static bool walk(struct reader *r, unsigned type, take_fn *take, void *ctx, struct dns_head *h)
{
    unsigned rcode, answers, found = 0;
    uint32_t ttl = UINT32_MAX;
    struct rr rr;

    set_head(h, RESOLVE_TEMPORARY, "malformed DNS answer", 0);
    if (r->n < HEADER)
        return false;
    rcode = r->p[3] & 15;
    answers = u16(r, 6);
    r->at = HEADER;
    for (unsigned q = u16(r, 4); q > 0; q--) {
        if (!skip_name(r) || r->n - r->at < 4)
            return false;
        r->at += 4;
    }
    for (; answers > 0; answers--) {
        if (!next_rr(r, &rr))
            return false;
        if (rr.class != CLASS_IN || (rr.type != type && rr.type != TYPE_CNAME))
            continue;
        if (rr.ttl < ttl)
            ttl = rr.ttl;
        if (rr.type == type) {
            if (!take(ctx, r, &rr))
                return false;
            found++;
        }
    }
    if (rcode == RCODE_NXDOMAIN)
        set_head(h, RESOLVE_NXDOMAIN, "no such domain", negative_ttl(r, u16(r, 8)));
    else if (rcode != RCODE_NOERROR)
        set_head(h, RESOLVE_TEMPORARY, "DNS server failure", 0);
    else if (found == 0)
        set_head(h, RESOLVE_NODATA, "no such records", negative_ttl(r, u16(r, 8)));
    else
        set_head(h, RESOLVE_OK, "ok", ttl);
    return h->status == RESOLVE_OK;
}

/* ---- MX ---- */

struct mx_walk {
    struct dns_mx_set *out;
    unsigned records;
    bool null_mx;
};

static void insert_mx(struct dns_mx_set *set, unsigned preference, const char *name)
{
    unsigned i = set->n;

    while (i > 0 && set->mx[i - 1].preference > preference)
        i--;
    if (i == DNS_MX_MAX)
        return;
    if (set->n < DNS_MX_MAX)
        set->n++;
    memmove(&set->mx[i + 1], &set->mx[i], (set->n - 1 - i) * sizeof(set->mx[0]));
    set->mx[i].preference = preference;
    memcpy(set->mx[i].name, name, strlen(name) + 1);
}

static bool take_mx(void *ctx, const struct reader *r, const struct rr *rr)
{
    struct mx_walk *w = ctx;
    struct reader name = {.p = r->p, .n = rr->data + rr->len, .at = rr->data + 2};
    char text[DNS_NAME_MAX];

    if (rr->len < 3 || !skip_name(&name))
        return false;
    w->records++;
    switch (read_name(r, rr->data + 2, text)) {
    case NAME_BROKEN:
        return false;
    case NAME_ODD:
        break;
    case NAME_ROOT:
        w->null_mx |= u16(r, rr->data) == 0;
        break;
    case NAME_HOST:
        insert_mx(w->out, u16(r, rr->data), text);
        break;
    }
    return true;
}

void dns_parse_mx(const unsigned char *msg, size_t n, struct dns_mx_set *out)
{
    struct reader r = {.p = msg, .n = n, .at = 0};
    struct mx_walk w = {.out = out, .records = 0, .null_mx = false};

    out->n = 0;
    if (!walk(&r, DNS_TYPE_MX, take_mx, &w, &out->head))
        out->n = 0;
    else if (w.records == 1 && w.null_mx) /* RFC 7505 section 3: it stands alone */
        set_head(&out->head, RESOLVE_NULL_MX, "the domain accepts no mail (null MX)",
                 out->head.ttl_s);
    else if (out->n == 0)
        set_head(&out->head, RESOLVE_TEMPORARY, "no MX record names a usable host", 0);
}

/* ---- A and AAAA ---- */

static bool take_addr(void *ctx, const struct reader *r, const struct rr *rr)
{
    struct dns_addr_set *out = ctx;
    size_t len = rr->type == DNS_TYPE_A ? 4 : 16;
    struct dns_addr *a;

    if (rr->len != len)
        return false;
    if (out->n == DNS_ADDR_MAX)
        return true;
    a = &out->addr[out->n++];
    memset(a, 0, sizeof(*a));
    a->family = rr->type == DNS_TYPE_A ? AF_INET : AF_INET6;
    memcpy(a->ip, r->p + rr->data, len);
    return true;
}

void dns_parse_addr(const unsigned char *msg, size_t n, int type, struct dns_addr_set *out)
{
    struct reader r = {.p = msg, .n = n, .at = 0};

    ASSERT(type == DNS_TYPE_A || type == DNS_TYPE_AAAA);
    out->n = 0;
    if (!walk(&r, (unsigned)type, take_addr, out, &out->head))
        out->n = 0;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

void dns_merge_addr(const struct dns_addr_set *a, const struct dns_addr_set *aaaa,
                    struct dns_head *head)
{
    const struct dns_head *x = &a->head, *y = &aaaa->head;

    if (a->n != 0 && aaaa->n != 0)
        set_head(head, RESOLVE_OK, "ok", min_u32(x->ttl_s, y->ttl_s));
    else if (a->n != 0 || aaaa->n != 0) /* half known is known, but not for long */
        set_head(head, RESOLVE_OK, "ok",
                 x->status == RESOLVE_TEMPORARY || y->status == RESOLVE_TEMPORARY
                     ? 0
                     : (a->n != 0 ? x->ttl_s : y->ttl_s));
    else if (x->status == RESOLVE_TEMPORARY)
        *head = *x;
    else if (y->status == RESOLVE_TEMPORARY)
        *head = *y;
    else if (x->status == RESOLVE_NXDOMAIN && y->status == RESOLVE_NXDOMAIN)
        set_head(head, RESOLVE_NXDOMAIN, x->why, min_u32(x->ttl_s, y->ttl_s));
    else
        set_head(head, RESOLVE_NODATA, "the host has no address", min_u32(x->ttl_s, y->ttl_s));
}
