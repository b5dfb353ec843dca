/*
 * io_dns_test.c - the parser of DNS replies on bytes made here, and the cache of answers.
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
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "relay/io/dns_int.h"
#include "tests/unit/io_dns_build.h"

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

/* The system's list of servers may be written first and opened to us later. */
static void test_file_that_becomes_readable(void **state)
{
    (void)state;
    char path[] = "/tmp/causeway-resolv-XXXXXX";
    struct dns_file seen = {0};
    struct stat before, now;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &before), 0);
    assert_true(dns_file_changed(path, &seen));
    assert_false(dns_file_changed(path, &seen));
    do { /* the file system's clock ticks slowly */
        assert_int_equal(fchmod(fd, 0644), 0);
        assert_int_equal(fstat(fd, &now), 0);
    } while (memcmp(&now.st_ctim, &before.st_ctim, sizeof(now.st_ctim)) == 0);
    assert_true(dns_file_changed(path, &seen));
    assert_false(dns_file_changed(path, &seen));
    close(fd);
    unlink(path);
    assert_true(dns_file_changed(path, &seen));
}

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
        cmocka_unit_test(test_file_that_becomes_readable),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
