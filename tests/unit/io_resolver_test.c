/*
 * io_resolver_test.c - the parser of DNS replies on bytes made here, the cache, and the resolver
 * against a small DNS server on loopback that lives in the same loop.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/stats.h"
#include "relay/io/dns_int.h"
#include "relay/io/loop.h"
#include "relay/io/resolver.h"

/* ---- making replies ---- */

struct msg {
    unsigned char p[65536];
    size_t n;
};

static void put8(struct msg *m, unsigned v)
{
    assert_true(m->n < sizeof(m->p));
    m->p[m->n++] = (unsigned char)v;
}

static void put16(struct msg *m, unsigned v)
{
    put8(m, v >> 8);
    put8(m, v & 255);
}

static void put32(struct msg *m, uint32_t v)
{
    put16(m, v >> 16);
    put16(m, v & 65535);
}

static void put_name(struct msg *m, const char *z)
{
    while (*z != '\0' && strcmp(z, ".") != 0) {
        size_t n = strcspn(z, ".");
        put8(m, (unsigned)n);
        for (size_t i = 0; i < n; i++)
            put8(m, (unsigned char)z[i]);
        z += n;
        z += *z == '.';
    }
    put8(m, 0);
}

static void count(struct msg *m, size_t section)
{
    unsigned v = ((unsigned)m->p[section] << 8 | m->p[section + 1]) + 1;
    m->p[section] = (unsigned char)(v >> 8);
    m->p[section + 1] = (unsigned char)v;
}

enum {
    ANSWER = 6,
    AUTHORITY = 8
};

static size_t begin_rr(struct msg *m, size_t section, unsigned type, uint32_t ttl)
{
    count(m, section);
    put16(m, 0xc00c); /* the question's name */
    put16(m, type);
    put16(m, 1);
    put32(m, ttl);
    put16(m, 0);
    return m->n;
}

static void end_rr(struct msg *m, size_t data)
{
    m->p[data - 2] = (unsigned char)((m->n - data) >> 8);
    m->p[data - 1] = (unsigned char)(m->n - data);
}

static void rr_mx(struct msg *m, unsigned pref, const char *name, uint32_t ttl)
{
    size_t at = begin_rr(m, ANSWER, DNS_TYPE_MX, ttl);
    put16(m, pref);
    put_name(m, name);
    end_rr(m, at);
}

static void rr_addr(struct msg *m, const char *ip, uint32_t ttl)
{
    unsigned char raw[16];
    bool v6 = strchr(ip, ':') != NULL;
    size_t at = begin_rr(m, ANSWER, v6 ? DNS_TYPE_AAAA : DNS_TYPE_A, ttl);

    assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, ip, raw), 1);
    for (int i = 0; i < (v6 ? 16 : 4); i++)
        put8(m, raw[i]);
    end_rr(m, at);
}

static void rr_cname(struct msg *m, const char *name, uint32_t ttl)
{
    size_t at = begin_rr(m, ANSWER, 5, ttl);
    put_name(m, name);
    end_rr(m, at);
}

static void rr_soa(struct msg *m, uint32_t ttl, uint32_t minimum)
{
    size_t at = begin_rr(m, AUTHORITY, 6, ttl);
    put_name(m, "ns.example");
    put_name(m, "hostmaster.example");
    for (int i = 0; i < 4; i++)
        put32(m, 1);
    put32(m, minimum);
    end_rr(m, at);
}

static void begin_msg(struct msg *m, unsigned rcode, const char *name, unsigned type)
{
    m->n = 0;
    put16(m, 0x1234);
    put16(m, 0x8180 | rcode);
    put16(m, 1);
    put16(m, 0);
    put16(m, 0);
    put16(m, 0);
    put_name(m, name);
    put16(m, type);
    put16(m, 1);
}

/* ---- the parser ---- */

static struct msg m;
static struct dns_mx_set mx;
static struct dns_addr_set v4, v6;

static void parse_mx_exact(void)
{
    /* In a block of exactly this size, so that a sanitizer sees a read behind it. */
    unsigned char *copy = mem_alloc(m.n);
    memcpy(copy, m.p, m.n);
    dns_parse_mx(copy, m.n, &mx);
    mem_free(copy);
}

static void test_mx_is_sorted_lowered_and_bounded(void **state)
{
    char name[32];

    (void)state;
    begin_msg(&m, 0, "example.org", DNS_TYPE_MX);
    rr_mx(&m, 20, "B.Example.ORG", 300);
    rr_cname(&m, "x.example", 100);
    rr_mx(&m, 10, "a.example.org", 200);
    rr_mx(&m, 20, "c.example.org", 400);
    rr_mx(&m, 5, "bad host.example", 400);
    rr_mx(&m, 7, ".", 400);
    parse_mx_exact();
    assert_int_equal(mx.head.status, RESOLVE_OK);
    assert_int_equal(mx.head.ttl_s, 100);
    assert_int_equal(mx.n, 3);
    assert_string_equal(mx.mx[0].name, "a.example.org");
    assert_string_equal(mx.mx[1].name, "b.example.org");
    assert_string_equal(mx.mx[2].name, "c.example.org");

    begin_msg(&m, 0, "example.org", DNS_TYPE_MX);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "h%u.example", 1000 - i);
        rr_mx(&m, 1000 - i, name, 300);
    }
    parse_mx_exact();
    assert_int_equal(mx.n, DNS_MX_MAX);
    for (unsigned i = 0; i < DNS_MX_MAX; i++)
        assert_int_equal(mx.mx[i].preference, i + 1);
}

static void test_null_mx_stands_alone(void **state)
{
    (void)state;
    begin_msg(&m, 0, "example.org", DNS_TYPE_MX);
    rr_mx(&m, 0, ".", 300);
    parse_mx_exact();
    assert_int_equal(mx.head.status, RESOLVE_NULL_MX);
    rr_mx(&m, 10, "a.example", 300);
    parse_mx_exact();
    assert_int_equal(mx.head.status, RESOLVE_OK);
    assert_int_equal(mx.n, 1);
    begin_msg(&m, 0, "example.org", DNS_TYPE_MX);
    rr_mx(&m, 10, ".", 300); /* not RFC 7505's: nothing to go by, but not for good */
    parse_mx_exact();
    assert_int_equal(mx.head.status, RESOLVE_TEMPORARY);
}

static void test_negative_answers(void **state)
{
    (void)state;
    begin_msg(&m, 3, "nope.example", DNS_TYPE_MX);
    parse_mx_exact();
    assert_int_equal(mx.head.status, RESOLVE_NXDOMAIN);
    assert_int_equal(mx.head.ttl_s, UINT32_MAX);
    rr_soa(&m, 700, 60);
    parse_mx_exact();
    assert_int_equal(mx.head.status, RESOLVE_NXDOMAIN);
    assert_int_equal(mx.head.ttl_s, 60);
    begin_msg(&m, 0, "host.example", DNS_TYPE_MX);
    rr_cname(&m, "other.example", 100);
    rr_soa(&m, 30, 60);
    parse_mx_exact();
    assert_int_equal(mx.head.status, RESOLVE_NODATA);
    assert_int_equal(mx.head.ttl_s, 30);
    for (unsigned rcode = 1; rcode < 16; rcode++) {
        begin_msg(&m, rcode, "host.example", DNS_TYPE_MX);
        parse_mx_exact();
        assert_int_equal(mx.head.status, rcode == 3 ? RESOLVE_NXDOMAIN : RESOLVE_TEMPORARY);
    }
}

/* Whatever is cut off or garbled: never a permanent answer that was not there, never a crash. */
static void test_cut_and_garbled_replies(void **state)
{
    size_t whole;
    unsigned char *copy;

    (void)state;
    begin_msg(&m, 0, "example.org", DNS_TYPE_MX);
    rr_mx(&m, 20, "b.example.org", 300);
    rr_mx(&m, 10, "a.example.org", 300);
    whole = m.n;
    for (m.n = 1; m.n < whole; m.n++) {
        parse_mx_exact();
        assert_int_equal(mx.head.status, RESOLVE_TEMPORARY);
        assert_int_equal(mx.n, 0);
    }
    m.n = whole;
    copy = mem_alloc(whole);
    memcpy(copy, m.p, whole);
    for (size_t i = 12; i < whole; i++) {
        for (unsigned v = 0; v < 256; v += 15) {
            m.p[i] = (unsigned char)v;
            parse_mx_exact();
            assert_int_not_equal(mx.head.status, RESOLVE_NXDOMAIN);
            assert_int_not_equal(mx.head.status, RESOLVE_NULL_MX);
        }
        m.p[i] = copy[i];
    }
    mem_free(copy);
    begin_msg(&m, 0, "example.org", DNS_TYPE_MX); /* a name that points at itself */
    size_t at = begin_rr(&m, ANSWER, DNS_TYPE_MX, 300);
    put16(&m, 10);
    put16(&m, 0xc000 | (unsigned)m.n);
    end_rr(&m, at);
    parse_mx_exact();
    assert_int_equal(mx.head.status, RESOLVE_TEMPORARY);
    begin_msg(&m, 0, "example.org", DNS_TYPE_MX); /* one that leads over the end */
    at = begin_rr(&m, ANSWER, DNS_TYPE_MX, 300);
    put16(&m, 10);
    put16(&m, 0xc000 | ((unsigned)m.n + 2));
    end_rr(&m, at);
    put8(&m, 63);
    put8(&m, 'a');
    parse_mx_exact();
    assert_int_equal(mx.head.status, RESOLVE_TEMPORARY);
    begin_msg(&m, 0, "example.org", DNS_TYPE_MX); /* one that is too long */
    at = begin_rr(&m, ANSWER, DNS_TYPE_MX, 300);
    put16(&m, 10);
    for (int i = 0; i < 5 * 64; i++)
        put8(&m, i % 64 == 0 ? 63 : 'a');
    put8(&m, 0);
    end_rr(&m, at);
    parse_mx_exact();
    assert_int_equal(mx.head.status, RESOLVE_TEMPORARY);
    begin_msg(&m, 0, "example.org", DNS_TYPE_A); /* an address of five octets */
    at = begin_rr(&m, ANSWER, DNS_TYPE_A, 300);
    for (int i = 0; i < 5; i++)
        put8(&m, 1);
    end_rr(&m, at);
    dns_parse_addr(m.p, m.n, DNS_TYPE_A, &v4);
    assert_int_equal(v4.head.status, RESOLVE_TEMPORARY);
    assert_int_equal(v4.n, 0);
}

static void test_two_families_make_one_outcome(void **state)
{
    static const struct {
        enum resolve_status a, aaaa, want;
    } table[] = {
        {RESOLVE_OK, RESOLVE_OK, RESOLVE_OK},
        {RESOLVE_OK, RESOLVE_NODATA, RESOLVE_OK},
        {RESOLVE_OK, RESOLVE_TEMPORARY, RESOLVE_OK},
        {RESOLVE_TEMPORARY, RESOLVE_OK, RESOLVE_OK},
        {RESOLVE_TEMPORARY, RESOLVE_NXDOMAIN, RESOLVE_TEMPORARY},
        {RESOLVE_NXDOMAIN, RESOLVE_TEMPORARY, RESOLVE_TEMPORARY},
        {RESOLVE_NODATA, RESOLVE_TEMPORARY, RESOLVE_TEMPORARY},
        {RESOLVE_NXDOMAIN, RESOLVE_NXDOMAIN, RESOLVE_NXDOMAIN},
        {RESOLVE_NXDOMAIN, RESOLVE_NODATA, RESOLVE_NODATA},
        {RESOLVE_NODATA, RESOLVE_NXDOMAIN, RESOLVE_NODATA},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct dns_head h;
        v4.head = (struct dns_head){table[i].a, "a", 50};
        v6.head = (struct dns_head){table[i].aaaa, "b", 40};
        v4.n = table[i].a == RESOLVE_OK;
        v6.n = table[i].aaaa == RESOLVE_OK;
        dns_merge_addr(&v4, &v6, &h);
        assert_int_equal(h.status, table[i].want);
        if (h.status == RESOLVE_OK &&
            (table[i].a == RESOLVE_TEMPORARY || table[i].aaaa == RESOLVE_TEMPORARY))
            assert_int_equal(h.ttl_s, 0); /* ask again soon */
    }
}

static void test_names(void **state)
{
    char dst[DNS_NAME_MAX], longname[300];

    (void)state;
    assert_true(dns_name_normalise(STR("Mail.Example.ORG."), dst));
    assert_string_equal(dst, "mail.example.org");
    assert_true(dns_name_normalise(STR("_x-1.a"), dst));
    assert_false(dns_name_normalise(STR(""), dst));
    assert_false(dns_name_normalise(STR("."), dst));
    assert_false(dns_name_normalise(STR("a..b"), dst));
    assert_false(dns_name_normalise(STR(".a"), dst));
    assert_false(dns_name_normalise(STR("a b"), dst));
    assert_false(dns_name_normalise(STR("a\0b"), dst));
    assert_false(dns_name_normalise(STR("a\\.b"), dst));
    memset(longname, 'a', sizeof(longname));
    assert_true(dns_name_normalise(str_n(longname, 63), dst));
    assert_false(dns_name_normalise(str_n(longname, 64), dst));
    for (size_t i = 50; i < sizeof(longname); i += 50)
        longname[i] = '.';
    assert_true(dns_name_normalise(str_n(longname, 253), dst));
    assert_false(dns_name_normalise(str_n(longname, 254), dst));
}

/* ---- the cache ---- */

static void test_cache_is_bounded_and_forgets_the_least_used(void **state)
{
    struct dns_cache *c = dns_cache_new(3);
    struct dns_answer *a = dns_answer_status(RESOLVE_NXDOMAIN, "x", 1), *big;

    (void)state;
    dns_cache_put(c, DNS_ASK_MX, "a", a, 100);
    dns_cache_put(c, DNS_ASK_MX, "b", a, 100);
    dns_cache_put(c, DNS_ASK_HOST, "a", a, 100);
    dns_cache_put(c, DNS_ASK_HOST, "a", a, 200); /* replaces */
    assert_int_equal(dns_cache_count(c), 3);
    assert_non_null(dns_cache_get(c, DNS_ASK_MX, "a", 50));
    dns_cache_put(c, DNS_ASK_MX, "d", a, 100);
    assert_int_equal(dns_cache_count(c), 3);
    assert_null(dns_cache_get(c, DNS_ASK_MX, "b", 50));
    assert_non_null(dns_cache_get(c, DNS_ASK_MX, "a", 99));
    assert_null(dns_cache_get(c, DNS_ASK_MX, "a", 100)); /* expired */
    assert_non_null(dns_cache_get(c, DNS_ASK_HOST, "a", 199));
    mx.n = DNS_MX_MAX;
    for (unsigned i = 0; i < mx.n; i++) {
        memset(mx.mx[i].name, 'm', 200);
        mx.mx[i].name[200] = '\0';
    }
    big = dns_answer_mx(&mx);
    dns_cache_put(c, DNS_ASK_MX, "big", big, 100); /* more bytes than the cache may have */
    assert_int_equal(dns_cache_count(c), 0);
    assert_int_equal(big->refs, 1);
    dns_answer_unref(&big);
    dns_cache_free(&c);
    assert_int_equal(a->refs, 1);
    dns_answer_unref(&a);
}

static void test_addresses_in_turn(void **state)
{
    static const char *const want[2][5] = {{"192.0.2.1", "192.0.2.2", "192.0.2.3", "::1", "::2"},
                                           {"::1", "192.0.2.1", "::2", "192.0.2.2", "192.0.2.3"}};
    struct resolve_addr out[DNS_ADDR_MAX];
    struct dns_head ok = {RESOLVE_OK, "ok", 1};
    struct dns_answer *a;

    (void)state;
    v4.n = 3;
    v6.n = 2;
    for (int i = 0; i < 3; i++)
        memcpy(v4.addr[i].ip, (unsigned char[]){192, 0, 2, (unsigned char)(i + 1)}, 4);
    for (int i = 0; i < 2; i++) {
        memset(v6.addr[i].ip, 0, 16);
        v6.addr[i].ip[15] = (unsigned char)(i + 1);
    }
    a = dns_answer_host(&ok, &v4, &v6);
    for (int policy = 0; policy < 2; policy++) {
        assert_int_equal(dns_answer_get_addr(a, policy, out), 5);
        for (int i = 0; i < 5; i++) {
            char text[64];
            bool is6 = out[i].addr.ss_family == AF_INET6;
            inet_ntop(out[i].addr.ss_family,
                      is6 ? (void *)&((struct sockaddr_in6 *)&out[i].addr)->sin6_addr
                          : (void *)&((struct sockaddr_in *)&out[i].addr)->sin_addr,
                      text, sizeof(text));
            assert_string_equal(text, want[policy][i]);
        }
    }
    dns_answer_unref(&a);
}

/* ---- a DNS server ---- */

static struct loop *l;
static struct resolver *r;
static int server_fd;
static struct loop_fd *server;
static unsigned asked; /* questions the server saw */
static bool silent;

static void query_name(const unsigned char *p, size_t n, char dst[DNS_NAME_MAX])
{
    size_t at = 12, k = 0;

    while (at < n && p[at] != 0) {
        size_t len = p[at++];
        if (k != 0)
            dst[k++] = '.';
        for (size_t i = 0; i < len; i++)
            dst[k++] = (char)p[at++];
    }
    dst[k] = '\0';
}

/* Names say what their answer is to be. */
static void answer(struct msg *out, const char *name, unsigned type)
{
    unsigned rcode = 0;

    if (strncmp(name, "nx.", 3) == 0)
        rcode = 3;
    if (strncmp(name, "servfail.", 9) == 0 ||
        (strncmp(name, "half.", 5) == 0 && type == DNS_TYPE_AAAA))
        rcode = 2;
    begin_msg(out, rcode, name, type);
    if (rcode == 3)
        rr_soa(out, 1000, 1000);
    if (rcode != 0)
        return;
    if (type == DNS_TYPE_MX) {
        if (strncmp(name, "null.", 5) == 0) {
            rr_mx(out, 0, ".", 600);
        } else if (strncmp(name, "garbage.", 8) == 0) {
            rr_mx(out, 0, "mail.example", 600);
            out->n -= 4;
        } else if (strncmp(name, "nodata.", 7) != 0) {
            rr_mx(out, 20, "mx2.example", 600);
            rr_mx(out, 10, "MX1.example", 600);
        }
    } else if (strncmp(name, "nodata.", 7) != 0) {
        rr_addr(out, type == DNS_TYPE_A ? "192.0.2.1" : "2001:db8::1", 600);
        if (type == DNS_TYPE_A)
            rr_addr(out, "192.0.2.2", 1);
    }
}

static void on_query(void *arg, int fd, unsigned events)
{
    static struct msg out;
    unsigned char q[512];
    char name[DNS_NAME_MAX];
    struct sockaddr_storage from;
    socklen_t len = sizeof(from);
    ssize_t n = recvfrom(fd, q, sizeof(q), 0, (struct sockaddr *)&from, &len);
    unsigned type;

    (void)arg;
    (void)events;
    assert_true(n > 16);
    asked++;
    if (silent)
        return;
    query_name(q, (size_t)n, name);
    type = (unsigned)q[n - 4] << 8 | q[n - 3];
    answer(&out, name, type);
    out.p[0] = q[0];
    out.p[1] = q[1];
    sendto(fd, out.p, out.n, 0, (struct sockaddr *)&from, len);
}

static int setup(void **state)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(sin);
    char servers[64];
    struct resolver_conf conf = {.servers = servers,
                                 .timeout_ms = 2000,
                                 .tries = 2,
                                 .cache_entries = 100,
                                 .ttl_min_s = 5,
                                 .ttl_max_s = 300,
                                 .ttl_negative_s = 60};

    (void)state;
    clock_fake_start(5000, 1700000000000);
    l = loop_new(NULL);
    server_fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (bind(server_fd, (struct sockaddr *)&sin, sizeof(sin)) != 0 ||
        getsockname(server_fd, (struct sockaddr *)&sin, &len) != 0)
        return -1;
    snprintf(servers, sizeof(servers), "127.0.0.1:%u", ntohs(sin.sin_port));
    server = loop_fd_add(l, server_fd, LOOP_READ, on_query, NULL);
    r = resolver_new(l, &conf, NULL);
    asked = 0;
    silent = false;
    return r != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    resolver_free(&r);
    loop_fd_remove(&server);
    close(server_fd);
    loop_free(&l);
    clock_fake_stop();
    return 0;
}

struct seen {
    unsigned n;
    enum resolve_status status;
    unsigned n_mx, n_addr;
    struct resolve_mx mx[2];
    char addr[3][64];
    struct resolve *q;
    bool cancel, free_resolver;
    struct seen *again;
};

static void on_answer(void *arg, const struct resolve_answer *a)
{
    struct seen *s = arg;

    s->n++;
    s->status = a->status;
    s->n_mx = a->n_mx;
    s->n_addr = a->n_addr;
    assert_non_null(a->why);
    for (unsigned i = 0; i < a->n_mx && i < 2; i++)
        s->mx[i] = a->mx[i];
    for (unsigned i = 0; i < a->n_addr && i < 3; i++) {
        bool is6 = a->addr[i].addr.ss_family == AF_INET6;
        inet_ntop(a->addr[i].addr.ss_family,
                  is6 ? (const void *)&((const struct sockaddr_in6 *)&a->addr[i].addr)->sin6_addr
                      : (const void *)&((const struct sockaddr_in *)&a->addr[i].addr)->sin_addr,
                  s->addr[i], sizeof(s->addr[i]));
    }
    if (s->cancel)
        resolve_cancel(&s->q);
    if (s->again != NULL)
        s->again->q = resolve_mx(r, STR("example.org"), on_answer, s->again);
    if (s->free_resolver)
        resolver_free(&r);
}

static struct seen ask_mx(const char *name)
{
    struct seen s = {0};

    resolve_mx(r, str_c(name), on_answer, &s);
    assert_int_equal(s.n, 0); /* never from inside */
    for (int i = 0; i < 500 && s.n == 0; i++)
        loop_turn(l, 10);
    assert_int_equal(s.n, 1);
    return s;
}

static struct seen ask_host(const char *name)
{
    struct seen s = {0};

    resolve_host(r, str_c(name), on_answer, &s);
    assert_int_equal(s.n, 0);
    for (int i = 0; i < 500 && s.n == 0; i++)
        loop_turn(l, 10);
    assert_int_equal(s.n, 1);
    return s;
}

static void test_outcomes(void **state)
{
    static const struct {
        const char *name;
        enum resolve_status mx, host;
    } table[] = {
        {"example.org", RESOLVE_OK, RESOLVE_OK},
        {"nx.example", RESOLVE_NXDOMAIN, RESOLVE_NXDOMAIN},
        {"nodata.example", RESOLVE_NODATA, RESOLVE_NODATA},
        {"null.example", RESOLVE_NULL_MX, RESOLVE_OK},
        {"servfail.example", RESOLVE_TEMPORARY, RESOLVE_TEMPORARY},
        {"garbage.example", RESOLVE_TEMPORARY, RESOLVE_OK},
        {"half.example", RESOLVE_OK, RESOLVE_OK},
        {"not a name", RESOLVE_NXDOMAIN, RESOLVE_NXDOMAIN},
        {"", RESOLVE_NXDOMAIN, RESOLVE_NXDOMAIN},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        assert_int_equal(ask_mx(table[i].name).status, table[i].mx);
        assert_int_equal(ask_host(table[i].name).status, table[i].host);
    }
}

static void test_answers(void **state)
{
    struct seen s = ask_mx("Example.ORG.");

    (void)state;
    assert_int_equal(s.n_mx, 2);
    assert_int_equal(s.mx[0].preference, 10);
    assert_string_equal(s.mx[0].name, "mx1.example");
    assert_string_equal(s.mx[1].name, "mx2.example");
    s = ask_host("mail.example.org");
    assert_int_equal(s.n_addr, 3);
    s = ask_host("half.example.org");
    assert_int_equal(s.n_addr, 2);
    assert_string_equal(s.addr[0], "192.0.2.1");
    assert_string_equal(s.addr[1], "192.0.2.2");
}

static void test_literals_ask_nobody(void **state)
{
    static const char *const table[][2] = {{"192.0.2.9", "192.0.2.9"},
                                           {"[192.0.2.9]", "192.0.2.9"},
                                           {"[2001:DB8::9]", "2001:db8::9"},
                                           {"2001:db8::9", "2001:db8::9"}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct seen s = ask_host(table[i][0]);
        assert_int_equal(s.status, RESOLVE_OK);
        assert_int_equal(s.n_addr, 1);
        assert_string_equal(s.addr[0], table[i][1]);
    }
    assert_int_equal(asked, 0);
}

static void test_cache_and_expiry(void **state)
{
    int64_t hits = stats_read(STAT_dns_cache_hits);

    (void)state;
    ask_mx("example.org");
    assert_int_equal(asked, 1);
    ask_mx("EXAMPLE.org");
    assert_int_equal(asked, 1);
    assert_int_equal(stats_read(STAT_dns_cache_hits), hits + 1);
    clock_fake_advance(299999); /* 600 s, capped to 300 */
    ask_mx("example.org");
    assert_int_equal(asked, 1);
    clock_fake_advance(1);
    ask_mx("example.org");
    assert_int_equal(asked, 2);
    asked = 0;
    ask_mx("nx.example"); /* negative: 1000 s, capped to 60 */
    ask_mx("nx.example");
    clock_fake_advance(59999);
    ask_mx("nx.example");
    assert_int_equal(asked, 1);
    clock_fake_advance(1);
    ask_mx("nx.example");
    assert_int_equal(asked, 2);
    asked = 0;
    ask_host("mail.example"); /* 1 s, raised to 5 */
    clock_fake_advance(4999);
    ask_host("mail.example");
    assert_int_equal(asked, 2);
    clock_fake_advance(1);
    ask_host("mail.example");
    assert_int_equal(asked, 4);
    asked = 0;
    ask_mx("servfail.example"); /* never kept */
    unsigned once = asked;
    ask_mx("servfail.example");
    assert_int_equal(asked, 2 * once);
    resolver_flush_cache(r);
    asked = 0;
    ask_mx("nx.example");
    assert_int_equal(asked, 1);
}

static void test_questions_are_joined(void **state)
{
    struct seen s[5] = {{0}};

    (void)state;
    for (int i = 0; i < 5; i++)
        s[i].q = resolve_mx(r, STR("example.org"), on_answer, &s[i]);
    resolve_cancel(&s[2].q);
    assert_null(s[2].q);
    s[0].cancel = true; /* in the callback: too late, harmless */
    for (int i = 0; i < 500 && s[4].n == 0; i++)
        loop_turn(l, 10);
    for (int i = 0; i < 5; i++)
        assert_int_equal(s[i].n, i != 2);
    assert_int_equal(asked, 1);
}

static void test_cached_answer_is_cancelled_and_nested(void **state)
{
    struct seen first = {0}, second = {0}, cancelled = {0};

    (void)state;
    ask_mx("example.org");
    first.again = &second;
    resolve_mx(r, STR("example.org"), on_answer, &first);
    cancelled.q = resolve_mx(r, STR("example.org"), on_answer, &cancelled);
    resolve_cancel(&cancelled.q);
    resolver_flush_cache(r); /* the answer lives until it was given */
    loop_turn(l, 0);
    assert_int_equal(first.n, 1);
    assert_int_equal(cancelled.n, 0);
    for (int i = 0; i < 500 && second.n == 0; i++)
        loop_turn(l, 10);
    assert_int_equal(second.n, 1);
}

static void test_silence_ends_in_a_bounded_time(void **state)
{
    struct seen s = {0}, late = {0};

    (void)state;
    silent = true;
    resolve_mx(r, STR("example.org"), on_answer, &s);
    for (int i = 0; i < 3; i++)
        loop_turn(l, 10);
    clock_fake_advance(6999); /* 2 + 4 + 1 */
    loop_turn(l, 0);
    assert_int_equal(s.n, 0);
    clock_fake_advance(1);
    loop_turn(l, 0);
    assert_int_equal(s.n, 1);
    assert_int_equal(s.status, RESOLVE_TEMPORARY);
    /* c-ares still works on it; who asks now asks anew */
    silent = false;
    asked = 0;
    resolve_mx(r, STR("example.org"), on_answer, &late);
    for (int i = 0; i < 500 && late.n == 0; i++)
        loop_turn(l, 10);
    assert_int_equal(late.n, 1);
    assert_int_equal(late.status, RESOLVE_OK);
}

static void test_free_with_lookups_in_hand(void **state)
{
    struct seen s[4] = {{0}};

    (void)state;
    silent = true;
    resolve_mx(r, STR("example.org"), on_answer, &s[0]);
    resolve_host(r, STR("mail.example"), on_answer, &s[1]);
    resolve_host(r, STR("192.0.2.1"), on_answer, &s[2]);
    resolve_host(r, STR("192.0.2.2"), on_answer, &s[3]);
    s[2].free_resolver = true;
    loop_turn(l, 0);
    assert_null(r);
    loop_turn(l, 0);
    assert_int_equal(s[2].n, 1);
    assert_int_equal(s[0].n + s[1].n + s[3].n, 0);
}

static void test_bad_servers(void **state)
{
    struct resolver_conf conf = {.servers = "not an address", .timeout_ms = 1, .tries = 1};
    struct err e;

    (void)state;
    assert_null(resolver_new(l, &conf, &e));
    assert_int_equal(e.class, ERR_CONFIG);
    assert_non_null(strstr(e.text, "not an address"));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mx_is_sorted_lowered_and_bounded),
        cmocka_unit_test(test_null_mx_stands_alone),
        cmocka_unit_test(test_negative_answers),
        cmocka_unit_test(test_cut_and_garbled_replies),
        cmocka_unit_test(test_two_families_make_one_outcome),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_cache_is_bounded_and_forgets_the_least_used),
        cmocka_unit_test(test_addresses_in_turn),
        T(test_outcomes),
        T(test_answers),
        T(test_literals_ask_nobody),
        T(test_cache_and_expiry),
        T(test_questions_are_joined),
        T(test_cached_answer_is_cancelled_and_nested),
        T(test_silence_ends_in_a_bounded_time),
        T(test_free_with_lookups_in_hand),
        T(test_bad_servers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
