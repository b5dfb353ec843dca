/*
 * smtpd_limits_test.c - what clients may take from an inbound service (size, time, memory,
 * connections), who they are taken for, and how the service ends.
 */
#include "tests/unit/smtpd_stage.h"
#include <stdio.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"

/* ---- size ---- */

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

/* ---- time ---- */

/* Content that comes steadily, and faster than data_rate_min, for longer than message_timeout. */
static void test_message_timeout(void **state)
{
    struct world w;
    (void)state;
    world_open(&w, "192.0.2.7", 0);
    w.conf->smtpd.message_timeout_ms = 60000;
    say_until_data(&w);
    char *body = lines_of_x(7200);
    for (int s = 0; s <= 60; s += 10) {
        say(&w, str_n(body, 7200));
        if (w.heard.n != 0)
            fail_msg("cut after %d s", s);
        clock_fake_advance(s < 60 ? 10000 : 1000);
    }
    say(&w, str_n(body, 7200));
    expect(&w, "421 4.4.2", "message_timeout");
    assert_int_equal(smtpd_sessions(w.smtpd), 0);
    assert_int_equal(w.accepted, 0);
    mem_free(body);
    world_close(&w);
}

/* A disk that is slow: the client is not read, not timed out and not called slow meanwhile, however
 * long it takes, and goes on where it was. */
static void test_slow_disk_is_not_the_clients_fault(void **state)
{
    const size_t n = 250 * 1024;
    char *body = lines_of_x(n);
    struct world w;
    unsigned waits = 0;
    (void)state;
    world_open(&w, "192.0.2.7", 0);
    w.conf->smtpd.data_rate_min = 100;
    fake.large_full = true;
    say_until_data(&w);
    say(&w, str_n(body, n));
    for (; fake.large_waits != NULL; waits++) {
        unsigned writes = fake.large_writes;
        clock_fake_advance(w.conf->smtpd.data_timeout_ms + w.conf->smtpd.message_timeout_ms);
        settle(&w);
        assert_int_equal(fake.large_writes, writes);
        assert_int_equal(w.heard.n, 0);
        assert_false(w.closed);
        fake_large_ready();
        settle(&w);
    }
    assert_true(waits >= 3);
    say(&w, STR("\r\nmore"));
    say(&w, STR("\r\n.\r\n"));
    expect(&w, "250 2.0.0", "after a slow disk");
    assert_memory_equal(fake.content.p + fake.content.n - n - 8, body, n);
    /* The client's own time runs again. */
    say_until_data(&w);
    say(&w, str_n(body, 100 * 1024));
    while (fake.large_waits != NULL) {
        fake_large_ready();
        settle(&w);
    }
    clock_fake_advance(w.conf->smtpd.data_timeout_ms + 1);
    settle(&w);
    expect(&w, "421", "the client says nothing");
    assert_int_equal(w.accepted, 1);
    mem_free(body);
    world_close(&w);
}

/* ---- memory ---- */

/* What all clients together take, of the world's memory_max. */
static int64_t memory(const struct world *w)
{
    return (int64_t)smtpd_clients_memory_used(w->clients);
}

static void test_memory_at_mail(void **state)
{
    struct world w;
    (void)state;
    world_open(&w, "192.0.2.7", 0);
    settle(&w);
    say(&w, STR("EHLO c\r\n"));
    buf_clear(&w.heard);
    int64_t others = (int64_t)w.conf->smtpd.memory_max + 1;
    smtpd_clients_memory(w.clients, others);
    say(&w, STR("MAIL FROM:<a@b.test>\r\n"));
    expect(&w, "452 4.3.1", "no memory");
    smtpd_clients_memory(w.clients, -others);
    say(&w, STR("MAIL FROM:<a@b.test>\r\n"));
    expect(&w, "250 2.1.0", "some is free again");
    world_close(&w);
}

/* RCPT with the longest ORCPT: 566 octets, three for each of them. */
static void say_long_rcpt(struct world *w)
{
    char line[1800] = "RCPT TO:<r@example.test> ORCPT=rfc822;";
    for (int i = 0; i < 566; i++)
        strcat(line, "+30");
    strcat(line, "\r\n");
    say(w, str_c(line));
}

static void test_memory_at_rcpt(void **state)
{
    struct world w;
    (void)state;
    world_open(&w, "192.0.2.7", 0);
    w.conf->smtpd.recipients_max = 1000;
    settle(&w);
    say(&w, STR("EHLO c\r\n"));
    buf_clear(&w.heard);
    say(&w, STR("MAIL FROM:<a@b.test>\r\n"));
    buf_clear(&w.heard);
    for (int i = 0; i < 5; i++) {
        say_long_rcpt(&w);
        expect(&w, "250 2.1.5", "the first");
    }
    assert_int_equal(memory(&w), 0); /* an ordinary envelope is not counted */
    for (int i = 5; i < 100; i++) {
        say_long_rcpt(&w);
        expect(&w, "250 2.1.5", "many");
    }
    assert_true(memory(&w) > 99 * 1700 - SMTPD_COUNT_STEP);
    int64_t others = (int64_t)w.conf->smtpd.memory_max - memory(&w);
    smtpd_clients_memory(w.clients, others);
    int taken = 0;
    for (; taken < 20; taken++) {
        say_long_rcpt(&w);
        if (str_starts(buf_str(&w.heard), STR("452 4.3.1")))
            break;
        expect(&w, "250 2.1.5", "within the step");
    }
    assert_true(taken < 20);
    expect(&w, "452 4.3.1", "used up");
    say_long_rcpt(&w);
    expect(&w, "452 4.3.1", "still used up");
    smtpd_clients_memory(w.clients, -others);
    say_long_rcpt(&w);
    expect(&w, "250 2.1.5", "some is free again");
    say(&w, STR("DATA\r\n"));
    say(&w, STR("x\r\n.\r\n"));
    expect(&w, "354", "data");
    expect(&w, "250 2.0.0", "it goes to those who were taken");
    assert_int_equal(memory(&w), 0);
    world_close(&w);
}

/* From half of the memory on, content of more than 64 KB goes to a file though it is not large. */
static void test_memory_spills_early(void **state)
{
    char *body = lines_of_x(100 * 1024);
    (void)state;
    for (int over = 0; over < 2; over++) {
        struct world w;
        world_open(&w, "192.0.2.7", 0);
        fake.large_bytes = 250 * 1024;
        int64_t others = (int64_t)w.conf->smtpd.memory_max / 2 - (over ? 0 : 200 * 1024);
        smtpd_clients_memory(w.clients, others);
        say_until_data(&w);
        say(&w, str_n(body, 100 * 1024));
        if (over)
            assert_true(memory(&w) <= others + 2 * (int64_t)sizeof(struct chunk));
        say(&w, STR("\r\n.\r\n"));
        expect(&w, "250 2.0.0", "either way");
        assert_int_equal(fake.large, over);
        smtpd_clients_memory(w.clients, -others);
        world_close(&w);
    }
    mem_free(body);
}

/* Input that waits for the spool, and replies that the client does not read. */
static void test_memory_that_waits(void **state)
{
    struct world w;
    char *noops = mem_alloc(60000);
    (void)state;
    for (size_t i = 0; i < 60000; i += 6)
        memcpy(noops + i, "NOOP\r\n", 6);

    world_open(&w, "192.0.2.7", 0);
    say_until_data(&w);
    fake.hold = true;
    say(&w, STR("x\r\n.\r\n"));
    int64_t before = memory(&w);
    assert_true(stream_write(w.client, noops, 60000));
    turns(&w, 20);
    assert_int_equal(memory(&w), before); /* not even read: the stream is paused */
    fake_answer_held();
    settle_after(&w, 50);
    assert_int_equal(memory(&w), 0);
    buf_clear(&w.heard);
    say(&w, STR("MAIL FROM:<a@b.test>\r\nRCPT TO:<r@example.test>\r\nDATA\r\n"));
    char *group = mem_alloc(60000);
    memcpy(group, "x\r\n.\r\n", 6);
    memcpy(group + 6, noops, 59994);
    say(&w, str_n(group, 60000));
    assert_true(memory(&w) >= 59994); /* read with the end of the content, and kept */
    fake_answer_held();
    settle_after(&w, 50);
    assert_int_equal(memory(&w), 0);
    mem_free(group);

    stream_pause(w.client);
    for (int i = 0; i < 2; i++)
        say(&w, str_n(noops, 60000));
    assert_true(memory(&w) > 100000); /* 280 KB of replies, of which the wire takes 64 */
    stream_resume(w.client);
    settle_after(&w, 50);
    assert_int_equal(memory(&w), 0);
    assert_int_equal(smtpd_sessions(w.smtpd), 1);
    world_close(&w);
    mem_free(noops);
}

/* A client that never reads is closed, and leaves nothing behind. */
static void test_replies_are_not_read(void **state)
{
    struct world w;
    char *noops = mem_alloc(60000);
    (void)state;
    for (size_t i = 0; i < 60000; i += 6)
        memcpy(noops + i, "NOOP\r\n", 6);
    world_open(&w, "192.0.2.7", 0);
    settle(&w);
    stream_pause(w.client);
    for (int i = 0; i < 4 && smtpd_sessions(w.smtpd) != 0; i++)
        say(&w, str_n(noops, 60000));
    assert_int_equal(smtpd_sessions(w.smtpd), 0);
    clock_fake_advance(SMTPD_LINGER_MS + 1);
    settle(&w);
    assert_int_equal(memory(&w), 0);
    world_close(&w);
    mem_free(noops);
}

/* ---- connections ---- */

static void test_limits(void **state)
{
    struct world w;
    struct smtp_reply r;
    (void)state;
    world_open(&w, "192.0.2.7", 0);
    struct sockaddr_storage sa = peer_address("192.0.2.7"), other = peer_address("192.0.2.8"),
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

/* The listener "*:25" is an IPv6 socket: an IPv4 client is the same client there. Of IPv6 a client
 * is its /64. */
static void test_who_is_one_client(void **state)
{
    static const struct {
        const char *first, *second;
        bool same;
    } pair[] = {
        {"192.0.2.7", "::ffff:192.0.2.7", true},
        {"::ffff:192.0.2.7", "::ffff:192.0.2.8", false},
        {"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true},
        {"2001:db8:0:1::1", "2001:db8:0:2::1", false},
        {"::1", "::ffff:127.0.0.1", false},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pair); i++) {
        struct world w;
        struct smtp_reply r;
        world_open(&w, pair[i].first, 0); /* connections_per_client is 2 */
        struct sockaddr_storage second = peer_address(pair[i].second);
        struct smtpd_session *two = smtpd_session_new(w.smtpd, 0, (struct sockaddr *)&second, &r);
        assert_non_null(two);
        struct smtpd_session *three = smtpd_session_new(w.smtpd, 0, (struct sockaddr *)&second, &r);
        assert_int_equal(three == NULL, pair[i].same);
        if (three != NULL)
            smtpd_session_cut(three);
        smtpd_session_cut(two);
        world_close(&w);
    }
}

/* A client that is told to leave and does not close is still there, until it is cut. */
static void test_lingering_connections_count(void **state)
{
    struct world w;
    struct smtp_reply r;
    (void)state;
    world_open(&w, "192.0.2.7", 0);
    struct sockaddr_storage sa = peer_address("192.0.2.7");
    settle(&w);
    say(&w, STR("QUIT\r\n"));
    assert_int_equal(smtpd_sessions(w.smtpd), 0);
    struct smtpd_session *second = smtpd_session_new(w.smtpd, 0, (struct sockaddr *)&sa, &r);
    assert_non_null(second);
    assert_null(smtpd_session_new(w.smtpd, 0, (struct sockaddr *)&sa, &r));
    clock_fake_advance(SMTPD_LINGER_MS + 1);
    settle(&w);
    struct smtpd_session *third = smtpd_session_new(w.smtpd, 0, (struct sockaddr *)&sa, &r);
    assert_non_null(third);
    smtpd_session_cut(third);
    smtpd_session_cut(second);
    world_close(&w);
}

static void test_connections_per_trusted_client(void **state)
{
    struct world w;
    struct smtp_reply r;
    (void)state;
    world_open(&w, "::ffff:10.1.2.3", 0);
    w.conf->smtpd.connections_per_client_trusted = 3;
    struct sockaddr_storage sa = peer_address("10.1.2.3");
    struct smtpd_session *more[2];
    for (int i = 0; i < 2; i++) {
        more[i] = smtpd_session_new(w.smtpd, 0, (struct sockaddr *)&sa, &r);
        assert_non_null(more[i]);
    }
    assert_null(smtpd_session_new(w.smtpd, 0, (struct sockaddr *)&sa, &r));
    assert_int_equal(r.code, 421);
    for (int i = 0; i < 2; i++)
        smtpd_session_cut(more[i]);
    world_close(&w);
}

/* ---- what a peer is ---- */

/* A reload takes permission from sessions that are open, and gives it, at their next MAIL. */
static void test_reload_changes_what_a_peer_is(void **state)
{
    static const struct {
        const char *ip, *from, *to, *before, *after;
    } row[] = {
        {"10.1.2.3", "10.1.0.0/16", "10.2.0.0/16", "250", "550"}, /* a forest's address no more */
        {"10.1.2.3", "forest \"a\"", "forest \"b\"", "250", "250"},
        {"10.9.2.3", "10.9.0.0/16", "10.8.0.0/16", "250", "550"},
        {"192.0.2.7", "10.9.0.0/16", "192.0.2.7", "550", "250"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct world w;
        world_open(&w, row[i].ip, 0);
        settle(&w);
        say(&w, STR("EHLO c\r\n"));
        buf_clear(&w.heard);
        for (int reloaded = 0; reloaded < 2; reloaded++) {
            if (reloaded)
                world_reload(&w, row[i].from, row[i].to);
            say(&w, STR("MAIL FROM:<>\r\n"));
            expect(&w, "250", "mail");
            say(&w, STR("RCPT TO:<x@elsewhere.test>\r\n"));
            expect(&w, reloaded ? row[i].after : row[i].before, row[i].ip);
            say(&w, STR("RSET\r\n"));
            expect(&w, "250", "rset");
        }
        world_close(&w);
    }
}

/* The mail of a forest that was renamed comes from the forest of the new name. */
static void test_reload_renames_a_forest(void **state)
{
    struct world w;
    struct envelope env;
    struct arena a;
    struct err e;
    (void)state;
    world_open(&w, "10.1.2.3", 0);
    settle(&w);
    say(&w, STR("EHLO c\r\n"));
    world_reload(&w, "forest \"a\"", "forest \"b\"");
    say_until_data(&w);
    say(&w, STR("x\r\n.\r\n"));
    expect(&w, "250", "renamed");
    arena_init(&a, 0, 0);
    assert_true(envelope_decode(buf_str(&fake.envelope), &a, &env, &e));
    assert_int_equal(env.origin, MAIL_FROM_FOREST);
    assert_true(str_eq(env.origin_name, STR("b")));
    arena_free(&a);
    world_close(&w);
}

/* The inside listener is closed to one that is a stranger now. */
static void test_reload_and_the_inside_listener(void **state)
{
    struct world w;
    (void)state;
    world_open(&w, "10.1.2.3", 0);
    w.session->listener = 1;
    settle(&w);
    say(&w, STR("EHLO c\r\n"));
    buf_clear(&w.heard);
    world_reload(&w, "10.1.0.0/16", "10.2.0.0/16");
    for (int i = 0; i < 2; i++) {
        say(&w, STR("MAIL FROM:<>\r\n"));
        expect(&w, "554 5.7.1", "a stranger inside");
    }
    world_close(&w);
}

/* ---- the end of the service ---- */

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

/* Past the bound, whoever is not done gets a reply, and time to read it; what the spool has is
 * answered first. */
static void test_hang_up(void **state)
{
    struct world w;
    (void)state;
    world_open(&w, "192.0.2.7", 0);
    say_until_data(&w);
    smtpd_drain(w.smtpd);
    say(&w, STR("half a mess"));
    assert_int_equal(w.heard.n, 0);
    smtpd_hang_up(w.smtpd);
    assert_int_equal(smtpd_sessions(w.smtpd), 0);
    say(&w, STR("age\r\n.\r\n")); /* on its way meanwhile: thrown away, and not reset */
    expect(&w, "421 4.3.2", "in DATA");
    assert_int_equal(w.heard.n, 0);
    assert_true(w.closed);
    assert_int_equal(w.accepted, 0);
    assert_int_equal(smtpd_leaving(w.smtpd), 1);
    stream_free(&w.client);
    settle(&w);
    assert_int_equal(smtpd_leaving(w.smtpd), 0);
    world_close(&w);

    world_open(&w, "192.0.2.7", 0);
    say_until_data(&w);
    fake.hold = true;
    say(&w, STR("x\r\n.\r\n"));
    smtpd_drain(w.smtpd);
    smtpd_hang_up(w.smtpd);
    settle(&w);
    assert_int_equal(w.heard.n, 0);
    fake_answer_held();
    settle(&w);
    expect(&w, "250 2.0.0", "the spool had it");
    expect(&w, "421 4.3.2", "then the end");
    world_close(&w);
}

int main(void)
{
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_size_to_the_octet),
        cmocka_unit_test(test_message_timeout),
        cmocka_unit_test(test_slow_disk_is_not_the_clients_fault),
        cmocka_unit_test(test_memory_at_mail),
        cmocka_unit_test(test_memory_at_rcpt),
        cmocka_unit_test(test_memory_spills_early),
        cmocka_unit_test(test_memory_that_waits),
        cmocka_unit_test(test_replies_are_not_read),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_who_is_one_client),
        cmocka_unit_test(test_lingering_connections_count),
        cmocka_unit_test(test_connections_per_trusted_client),
        cmocka_unit_test(test_reload_changes_what_a_peer_is),
        cmocka_unit_test(test_reload_renames_a_forest),
        cmocka_unit_test(test_reload_and_the_inside_listener),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_hang_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
