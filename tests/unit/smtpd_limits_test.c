/*
 * smtpd_limits_test.c - what clients may take from an inbound service (size, memory, connections),
 * who they are taken for, and how the service ends.
 */
#include "tests/unit/smtpd_stage.h"

#include "base/mem.h"

/* n octets in lines of 72. */
static char *lines_of_x(size_t n)
{
    char *body = mem_alloc(n);
    memset(body, 'x', n);
    for (size_t i = 70; i + 1 < n; i += 72)
        memcpy(body + i, "\r\n", 2);
    return body;
}

static void test_size(void **state)
{
    (void)state;
    both(D(HELLO, "C:MAIL FROM:<a@b.test> SIZE=307201", "S:552 5.3.4",
           "C:MAIL FROM:<a@b.test> SIZE=1000", "S:250"),
         "192.0.2.7");
    struct world w;
    char *body = lines_of_x(400 * 1024);
    for (int large = 0; large < 2; large++) {
        world_open(&w, "192.0.2.7", 0);
        say_until_data(&w);
        say(&w, str_n(body, large ? 400 * 1024 : 200 * 1024));
        say(&w, STR("\r\n.\r\n"));
        expect(&w, large ? "552 5.3.4" : "250 2.0.0", "size");
        assert_int_equal(w.accepted, large ? 0 : 1);
        assert_int_equal(fake.large_aborted, large ? 1 : 0);
        if (!large) {
            assert_true(fake.large);
            assert_memory_equal(fake.content.p + fake.content.n - 200 * 1024 - 2, body, 200 * 1024);
        }
        say(&w, STR("NOOP\r\n"));
        expect(&w, "250", "after size");
        world_close(&w);
    }
    mem_free(body);
}

/* What the client sent is measured, and not our own field, nor dots that were doubled: a message of
 * just the size that EHLO announced is taken. */
static void test_size_to_the_octet(void **state)
{
    const size_t most = 300 * 1024;
    char *body = lines_of_x(most + 1);
    (void)state;
    for (size_t more = 0; more < 2; more++) {
        struct world w;
        world_open(&w, "192.0.2.7", 0);
        assert_int_equal(w.conf->smtpd.message_bytes_max, most);
        say_until_data(&w);
        say(&w, STR("..")); /* one octet, and the body less one */
        say(&w, str_n(body, most - 3 + more));
        say(&w, STR("\r\n.\r\n"));
        expect(&w, more ? "552 5.3.4" : "250 2.0.0", "to the octet");
        world_close(&w);
    }
    mem_free(body);
}

static void test_limits(void **state)
{
    struct world w;
    struct smtp_reply r;
    (void)state;
    world_open(&w, "192.0.2.7", 0);
    struct sockaddr_in sa = peer_address("192.0.2.7"), other = peer_address("192.0.2.8"),
                       forest = peer_address("10.1.0.1");
    struct smtpd_session *second = smtpd_session_new(w.smtpd, 0, (struct sockaddr *)&sa, &r);
    assert_non_null(second);
    assert_null(smtpd_session_new(w.smtpd, 0, (struct sockaddr *)&sa, &r));
    assert_int_equal(r.code, 421);
    struct smtpd_session *third = smtpd_session_new(w.smtpd, 0, (struct sockaddr *)&other, &r);
    assert_non_null(third);
    smtpd_session_cut(third);
    /* The inside listener is for forests and application hosts. */
    assert_null(smtpd_session_new(w.smtpd, 1, (struct sockaddr *)&other, &r));
    assert_int_equal(r.code, 554);
    struct smtpd_session *inside = smtpd_session_new(w.smtpd, 1, (struct sockaddr *)&forest, &r);
    assert_non_null(inside);
    assert_int_equal(inside->origin, MAIL_FROM_FOREST);
    smtpd_session_cut(inside);
    smtpd_session_cut(second);
    assert_int_equal(smtpd_sessions(w.smtpd), 1);
    world_close(&w);
}

static void test_drain(void **state)
{
    struct world w;
    (void)state;
    world_open(&w, "192.0.2.7", 0);
    settle(&w);
    buf_clear(&w.heard);
    say(&w, STR("EHLO c\r\n"));
    buf_clear(&w.heard);
    smtpd_drain(w.smtpd);
    settle(&w);
    expect(&w, "421 4.3.2", "idle session");
    assert_int_equal(smtpd_sessions(w.smtpd), 0);
    world_close(&w);

    world_open(&w, "192.0.2.7", 0);
    say_until_data(&w);
    smtpd_drain(w.smtpd);
    say(&w, STR("x\r\n.\r\n"));
    expect(&w, "250 2.0.0", "a transaction in hand is finished");
    expect(&w, "421 4.3.2", "then the session ends");
    assert_int_equal(w.accepted, 1);
    world_close(&w);
}

int main(void)
{
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_size_to_the_octet),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
