/*
 * directory_syncrepl_test.c - RFC 4533's values: as servers write them, cut anywhere, and wrong.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "directory/ldap/syncrepl.h"

#define UUID  "0123456789abcdef"
#define UUID2 "fedcba9876543210"
/* a literal that may hold NULs */
#define B(s) str_n((s), sizeof(s) - 1)

static void test_request(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(1000);
    assert_true(syncrepl_request(&out, STR_NULL));
    assert_true(str_eq(buf_str(&out), B("\x30\x03\x0a\x01\x03")));
    buf_clear(&out);
    assert_true(syncrepl_request(&out, STR("rid=001")));
    assert_true(str_eq(buf_str(&out), B("\x30\x0c\x0a\x01\x03\x04\x07rid=001")));
    char cookie[200];
    memset(cookie, 'c', sizeof(cookie));
    buf_clear(&out);
    assert_true(syncrepl_request(&out, str_n(cookie, 200)));
    assert_int_equal(out.n, 6 + 3 + 6 + 200);
    assert_memory_equal(out.p, "\x30\x84\x00\x00\x00\xd1\x0a\x01\x03\x04\x84\x00\x00\x00\xc8", 15);
    buf_free(&out);
}

static void test_state(void **state)
{
    (void)state;
    enum syncrepl_state s;
    const unsigned char *uuid;
    struct str cookie, in = B("\x30\x1a\x0a\x01\x02\x04\x10" UUID "\x04\x03xyz");
    assert_true(syncrepl_read_state(in, &s, &uuid, &cookie));
    assert_int_equal(s, SYNCREPL_MODIFY);
    assert_memory_equal(uuid, UUID, 16);
    assert_true(str_eq(cookie, STR("xyz")));
    for (size_t n = 0; n < in.n; n++)
        assert_false(syncrepl_read_state(str_upto(in, n), &s, &uuid, &cookie));
    in = B("\x30\x81\x15\x0a\x01\x00\x04\x10" UUID);
    assert_true(syncrepl_read_state(in, &s, &uuid, &cookie));
    assert_int_equal(s, SYNCREPL_PRESENT);
    assert_null(cookie.p);
    static const struct {
        const char *p;
        size_t n;
    } bad[] = {
#define BAD(s) {(s), sizeof(s) - 1}
        BAD("\x30\x15\x0a\x01\x04\x04\x10" UUID), /* an unknown state */
        BAD("\x30\x15\x0a\x01\xff\x04\x10" UUID), /* a negative one */
        BAD("\x30\x14\x0a\x00\x04\x10" UUID),     /* none */
        BAD("\x30\x14\x0a\x01\x01\x04\x0f"
            "23456789abcdefg"),                              /* a short UUID */
        BAD("\x30\x16\x0a\x01\x01\x04\x11" UUID "x"),        /* a long one */
        BAD("\x31\x15\x0a\x01\x01\x04\x10" UUID),            /* not a sequence */
        BAD("\x30\x15\x0a\x01\x01\x04\x10" UUID "x"),        /* something behind */
        BAD("\x30\x17\x0a\x01\x01\x04\x10" UUID "\x05\x00"), /* something more */
        BAD("\x30\x80\x0a\x01\x01\x04\x10" UUID "\x00\x00"), /* indefinite length */
        BAD("\x30\x85\x00\x00\x00\x00\x15\x0a\x01\x01\x04\x10" UUID),
        BAD("\x30\x84\xff\xff\xff\xff\x0a\x01\x01\x04\x10" UUID),
        BAD("\x3f\x15\x0a\x01\x01\x04\x10" UUID),
    };
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (syncrepl_read_state(str_n(bad[i].p, bad[i].n), &s, &uuid, &cookie))
            fail_msg("row %u was accepted", i);
}

static void test_info(void **state)
{
    (void)state;
    struct syncrepl_info info;
    const unsigned char *uuid;
    assert_true(syncrepl_read_info(B("\x80\x02hi"), &info));
    assert_int_equal(info.kind, SYNCREPL_NEW_COOKIE);
    assert_true(str_eq(info.cookie, STR("hi")));

    assert_true(syncrepl_read_info(B("\xa1\x00"), &info)); /* refreshDone is TRUE by default */
    assert_int_equal(info.kind, SYNCREPL_REFRESH_DELETE);
    assert_true(info.refresh_done);
    assert_null(info.cookie.p);
    assert_true(syncrepl_read_info(B("\xa2\x07\x04\x02hi\x01\x01\x00"), &info));
    assert_int_equal(info.kind, SYNCREPL_REFRESH_PRESENT);
    assert_false(info.refresh_done);
    assert_true(str_eq(info.cookie, STR("hi")));

    struct str in = B("\xa3\x2d\x04\x02hi\x01\x01\xff\x31\x24\x04\x10" UUID "\x04\x10" UUID2);
    assert_true(syncrepl_read_info(in, &info));
    assert_int_equal(info.kind, SYNCREPL_ID_SET);
    assert_true(info.refresh_deletes);
    assert_true(syncrepl_next_uuid(&info.uuids, &uuid));
    assert_memory_equal(uuid, UUID, 16);
    assert_true(syncrepl_next_uuid(&info.uuids, &uuid));
    assert_memory_equal(uuid, UUID2, 16);
    assert_false(syncrepl_next_uuid(&info.uuids, &uuid));
    for (size_t n = 0; n < in.n; n++)
        assert_false(syncrepl_read_info(str_upto(in, n), &info));
    assert_true(
        syncrepl_read_info(B("\xa3\x02\x31\x00"), &info)); /* an empty set of present ones */
    assert_false(info.refresh_deletes);

    assert_false(syncrepl_read_info(B("\xa4\x00"), &info));
    assert_false(syncrepl_read_info(B("\xa3\x00"), &info));
    assert_false(syncrepl_read_info(B("\xa1\x02\x01\x00"), &info));
    assert_false(syncrepl_read_info(B("\xa1\x02\x05\x00"), &info));
    assert_false(syncrepl_read_info(B("\xa3\x05\x31\x03\x04\x01x"), &info));
    assert_false(syncrepl_read_info(B("\xa3\x16\x30\x14\x31\x12\x04\x10" UUID), &info));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_info),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
