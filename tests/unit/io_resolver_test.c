/*
 * io_resolver_test.c - the resolver against a small DNS server on loopback that lives in the same
 * loop.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/stats.h"
#include "relay/io/dns_int.h"
#include "relay/io/loop.h"
#include "relay/io/resolver.h"
#include "tests/unit/io_dns_build.h"

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

/* Every form that conf_check_servers() lets through. */
static void test_forms_of_servers(void **state)
{
    static const char *const form[] = {
        "192.0.2.53",   "192.0.2.53, 192.0.2.54:5353",    "[2001:db8::53]",     "[2001:db8::53]:53",
        "2001:db8::53", " 192.0.2.53 ,\t[2001:db8::53] ", "[::1]:53,127.0.0.1", "[192.0.2.53]:53",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(form); i++) {
        struct resolver_conf conf = {.servers = form[i], .timeout_ms = 1, .tries = 1};
        struct err e = {0};
        struct resolver *one = resolver_new(l, &conf, &e);
        if (one == NULL)
            fail_msg("%s: %s", form[i], e.text);
        resolver_free(&one);
    }
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* The system's file names a server that is gone, and later another; then none. */
static void test_system_file_changes(void **state)
{
    static char path[200];
    struct resolver_conf conf = {
        .system_file = path, .timeout_ms = 50, .tries = 1, .cache_entries = 10, .ttl_max_s = 300};
    struct sockaddr_in sin;
    socklen_t len = sizeof(sin);

    (void)state;
    snprintf(path, sizeof(path), "/tmp/io_resolver_test.%ld", (long)getpid());
    assert_int_equal(getsockname(server_fd, (struct sockaddr *)&sin, &len), 0);
    conf.system_port = ntohs(sin.sin_port);
    resolver_free(&r);
    write_file(path, "nameserver 127.0.0.99\n");
    r = resolver_new(l, &conf, NULL);
    assert_non_null(r);
    assert_int_equal(ask_mx("example.org").status, RESOLVE_TEMPORARY);
    struct seen in_flight = {0};
    resolve_mx(r, STR("one.example"), on_answer, &in_flight);
    write_file(path, "# by hand\nnameserver 127.0.0.1\n");
    assert_int_equal(ask_mx("example.org").status, RESOLVE_TEMPORARY); /* not looked at yet */
    clock_fake_advance(5000);
    assert_int_equal(ask_mx("example.org").status, RESOLVE_OK);
    assert_int_equal(in_flight.n, 1);
    assert_int_equal(in_flight.status, RESOLVE_TEMPORARY);
    write_file(path, "nameserver 127.0.0.99\n");
    clock_fake_advance(5000);
    assert_int_equal(ask_mx("example.net").status, RESOLVE_TEMPORARY);
    assert_int_equal(ask_mx("example.org").status, RESOLVE_TEMPORARY); /* from the cache no more */
    assert_int_equal(unlink(path), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_outcomes),
        T(test_answers),
        T(test_literals_ask_nobody),
        T(test_cache_and_expiry),
        T(test_questions_are_joined),
        T(test_cached_answer_is_cancelled_and_nested),
        T(test_silence_ends_in_a_bounded_time),
        T(test_free_with_lookups_in_hand),
        T(test_bad_servers),
        T(test_forms_of_servers),
        T(test_system_file_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
