/*
 * smtpd_test.c - dialogues with an inbound session: order, grammar, content, deadlines.
 */
#include "tests/unit/smtpd_stage.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

static void test_plain(void **state)
{
    (void)state;
    both(D(HELLO, MAIL1, DATA1, "R:Subject: x\r\n\r\n..dot\r\n.\r\n", "S:250 2.0.0 Ok: queued as",
           "ACCEPTED:1", "HAS:\r\n\r\n.dot\r\n",
           "HAS:Received: from client.test ([192.0.2.7])\r\n\tby relay.test", "HAS:with ESMTP id",
           "HAS:for <r@example.test>", "C:QUIT", "S:221 2.0.0", "CLOSED"),
         "192.0.2.7");
}

/* An IPv4 client of an IPv6 socket is shown and judged as what it is. */
static void test_mapped_address(void **state)
{
    (void)state;
    run_dialogue(
        D(HELLO, MAIL1, DATA1, "R:x\r\n.\r\n", "S:250", "HAS:from client.test ([192.0.2.7])\r\n"),
        "::ffff:192.0.2.7", 0);
    run_dialogue(D(HELLO, MAIL1, DATA1, "R:x\r\n.\r\n", "S:250",
                   "HAS:from client.test ([IPv6:2001:db8::7])\r\n"),
                 "2001:db8::7", 0);
    run_dialogue(D(HELLO, "C:MAIL FROM:<>", "S:250", "C:RCPT TO:<x@elsewhere.test>", "S:250"),
                 "::ffff:10.1.2.3", 0);
    run_dialogue(D(HELLO, "C:MAIL FROM:<>", "S:250", "C:RCPT TO:<x@elsewhere.test>", "S:550"),
                 "::ffff:11.1.2.3", 0);
}

static void test_order_of_commands(void **state)
{
    (void)state;
    both(D("S:220", "C:MAIL FROM:<a@b.test>", "S:503", "C:EHLO", "S:501", "C:HELO me",
           "S:250 relay.test", "C:RCPT TO:<r@example.test>", "S:503", "C:DATA", "S:503", MAIL1,
           "C:MAIL FROM:<c@d.test>", "S:503", "C:QUIT", "S:221", "CLOSED"),
         "192.0.2.7");
    both(D(HELLO, "C:RSET", "S:250", "C:NOOP hi", "S:250", "C:VRFY x", "S:252", "C:HELP", "S:214",
           "C:EXPN l", "S:502", "C:STARTTLS", "S:502", "C:AUTH PLAIN", "S:502", "C:FROB",
           "S:500 5.5.2", "C:DATA now", "S:501"),
         "192.0.2.7");
}

static void test_rset_and_ehlo_forget(void **state)
{
    (void)state;
    both(D(HELLO, MAIL1, "C:RSET", "S:250", "C:DATA", "S:503", MAIL1, "C:EHLO again", "S:250-",
           "C:DATA", "S:503", "ACCEPTED:0"),
         "192.0.2.7");
}

static void test_recipients(void **state)
{
    (void)state;
    both(D(HELLO, "C:MAIL FROM:<>", "S:250", "C:RCPT TO:<unknown@example.test>", "S:550 5.1.1",
           "C:RCPT TO:<later@example.test>", "S:451", "C:RCPT TO:<x@elsewhere.test>", "S:550 5.7.1",
           "C:DATA", "S:554 5.5.1", "C:RCPT TO:<a@example.test>", "S:250",
           "C:RCPT TO:<b@example.test>", "S:250", "C:RCPT TO:<c@example.test>", "S:250",
           "C:RCPT TO:<d@example.test>", "S:452 4.5.3", DATA1, "R:hi\r\n.\r\n", "S:250",
           "ACCEPTED:1"),
         "192.0.2.7");
    /* A forest may relay outward. */
    both(D(HELLO, "C:MAIL FROM:<>", "S:250", "C:RCPT TO:<x@elsewhere.test>", "S:250"), "10.1.2.3");
    both(D(HELLO, "C:MAIL FROM:<>", "S:250", "C:RCPT TO:<x@elsewhere.test>", "S:250"), "10.9.2.3");
}

static void test_pipelining(void **state)
{
    (void)state;
    both(D(HELLO,
           "R:MAIL FROM:<a@b.test>\r\nRCPT TO:<r@example.test>\r\nRCPT "
           "TO:<unknown@example.test>\r\nDATA\r\n",
           "S:250 2.1.0", "S:250 2.1.5", "S:550", "S:354",
           "R:x\r\n.\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<r@example.test>\r\n", "S:250 2.0.0",
           "S:250 2.1.0", "S:250 2.1.5", DATA1, "R:y\r\n.\r\nQUIT\r\n", "S:250", "S:221", "CLOSED",
           "ACCEPTED:2"),
         "192.0.2.7");
    /* What follows a command that ends a group is never taken for commands. (Octet by octet it is
     * not behind it.) */
    run_dialogue(D(HELLO,
                   "R:MAIL FROM:<a@b.test>\r\nRCPT TO:<r@example.test>\r\nDATA\r\nfrom: x\r\n.\r\n",
                   "S:250", "S:250", "S:503 5.5.0", "CLOSED", "ACCEPTED:0"),
                 "192.0.2.7", 0);
    run_dialogue(D("S:220", "R:EHLO x\r\nMAIL FROM:<a@b.test>\r\n", "S:503 5.5.0", "CLOSED"),
                 "192.0.2.7", 0);
}

/* A group longer than what one turn serves is answered to its end, without another octet from the
 * client. */
static void test_pipeline_longer_than_a_turn(void **state)
{
    struct world w;
    char *group = malloc(200 * 1024);
    size_t n = 0;
    (void)state;
    world_open(&w, "192.0.2.7", 0);
    settle(&w);
    say(&w, STR("EHLO c\r\n"));
    buf_clear(&w.heard);
    for (int i = 0; i < 5000; i++)
        n += (size_t)sprintf(group + n, "NOOP\r\n");
    say(&w, str_n(group, n));
    settle_after(&w, 50);
    for (int i = 0; i < 5000; i++)
        expect(&w, "250 2.0.0 Ok", "noop");
    assert_int_equal(w.heard.n, 0);
    world_close(&w);
    free(group);
}

static void test_bare_newlines(void **state)
{
    static const char *const bad[] = {
        "R:a\nb\r\n.\r\n",         "R:a\rb\r\n.\r\n",         "R:a\n.\nQUIT\r\n.\r\n",
        "R:a\r\n.\nQUIT\r\n.\r\n", "R:a\n.\r\nQUIT\r\n.\r\n", "R:a\r.\rQUIT\r\n.\r\n",
        "R:a\r\n.\rQUIT\r\n.\r\n",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        both(D(HELLO, MAIL1, DATA1, bad[i], "S:550 5.6.11", "ACCEPTED:0", "C:NOOP", "S:250"),
             "192.0.2.7");
}

/* Content that begins with white space is not a continuation of our Received field. */
static void test_content_begins_with_white_space(void **state)
{
    static const char *const begin[] = {"R: by evil.test; x", "R:\tby evil.test",
                                        "R:. by evil.test", "R: "};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(begin); i++)
        both(D(HELLO, MAIL1, DATA1, begin[i], "R:\r\nX-Key: 1\r\n.\r\n", "S:250", "ACCEPTED:1",
               i == 1 ? "HAS:\r\n\r\n\tby evil.test\r\nX-Key: 1\r\n" : "HAS:\r\n\r\n "),
             "192.0.2.7");
    both(D(HELLO, MAIL1, DATA1, "R:x y\r\n z\r\n.\r\n", "S:250", "HAS:0\r\nx y\r\n z\r\n"),
         "192.0.2.7");
    both(D(HELLO, MAIL1, DATA1, "R:.\r\n", "S:250"), "192.0.2.7");
}

static void test_too_many_hops(void **state)
{
    (void)state;
    both(D(HELLO, MAIL1, DATA1,
           "R:Received: 1\r\nreceived: 2\r\nRECEIVED: 3\r\nReceived: 4\r\nReceived: "
           "5\r\n\r\nx\r\n.\r\n",
           "S:554 5.4.6", "ACCEPTED:0", MAIL1, DATA1,
           "R:Received: 1\r\n\r\nReceived: 2\r\nReceived: 3\r\nReceived: 4\r\nReceived: 5\r\n.\r\n",
           "S:250", "ACCEPTED:1"),
         "192.0.2.7");
}

static void test_spool_says_no(void **state)
{
    (void)state;
    both(D(HELLO, "FULL:1", "C:MAIL FROM:<a@b.test>", "S:452 4.3.1", "FULL:0", MAIL1, "RESULT:1",
           DATA1, "R:x\r\n.\r\n", "S:452 4.3.1", "RESULT:2", MAIL1, DATA1, "R:x\r\n.\r\n",
           "S:451 4.3.0", "RESULT:0", MAIL1, DATA1, "R:x\r\n.\r\n", "S:250", "ACCEPTED:1"),
         "192.0.2.7");
}

static void test_commit_is_waited_for(void **state)
{
    struct world w;
    (void)state;
    world_open(&w, "192.0.2.7", 0);
    say_until_data(&w);
    fake.hold = true;
    say(&w, STR("x\r\n.\r\nNOOP\r\n"));
    assert_int_equal(w.heard.n, 0); /* neither 250 before the sync, nor the reply of what follows */
    assert_int_equal(smtpd_commits(w.smtpd), 1);
    fake_answer_held();
    settle(&w);
    expect(&w, "250 2.0.0 Ok: queued", "commit");
    expect(&w, "250 2.0.0 Ok", "noop");
    world_close(&w);

    /* The client leaves meanwhile: the message is accepted all the same. */
    world_open(&w, "192.0.2.7", 0);
    say_until_data(&w);
    fake.hold = true;
    say(&w, STR("x\r\n.\r\n"));
    stream_free(&w.client);
    turns(&w, 20);
    fake_answer_held();
    turns(&w, 20);
    assert_int_equal(w.accepted, 1);
    assert_int_equal(smtpd_commits(w.smtpd), 0);
    world_close(&w);
}

static void test_timeouts(void **state)
{
    (void)state;
    both(D("S:220", "WAIT:299000", "C:NOOP", "S:250", "WAIT:301000", "S:421 4.4.2", "CLOSED"),
         "192.0.2.7");
    /* A command that never ends does not rearm the deadline. */
    run_dialogue(D("S:220", "R:NO", "WAIT:200000", "R:O", "WAIT:101000", "S:421 4.4.2", "CLOSED"),
                 "192.0.2.7", 0);
    run_dialogue(
        D(HELLO, MAIL1, DATA1, "R:x", "WAIT:181000", "S:421 4.4.2", "CLOSED", "ACCEPTED:0"),
        "192.0.2.7", 0);
    /* Content at a few octets a minute: cut by the minimum rate. */
    run_dialogue(D(HELLO, MAIL1, DATA1, "R:x", "WAIT:20000", "R:x", "WAIT:20000", "R:x",
                   "S:421 4.4.2", "CLOSED"),
                 "192.0.2.7", 0);
}

/* What talks without listening is turned away without a wait, if it comes from outside. */
static void test_early_talk(void **state)
{
    static const struct {
        const char *ip, *said, *answer;
    } row[] = {
        {"192.0.2.7", "EHLO x\r\n", "554 5.5.0"},
        {"192.0.2.7", "E", "554 5.5.0"},
        {"192.0.2.7", "", "220 "},
        {"10.1.2.3", "EHLO x\r\n", "220 "},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct world w;
        world_open_talking(&w, row[i].ip, row[i].said);
        settle(&w);
        expect(&w, row[i].answer, row[i].said);
        assert_int_equal(w.closed, row[i].answer[0] == '5');
        world_close(&w);
    }
}

static void test_nonsense(void **state)
{
    (void)state;
    run_dialogue(D("S:220", "R:GET / HTTP/1.1\r\nHost: x\r\n\r\n", "CLOSED"), "192.0.2.7", 0);
    both(D("S:220", "R:\x16\x03\x01", "CLOSED"), "192.0.2.7"); /* no LF in it */
    both(D(HELLO, "C:", "S:500", "C: ", "S:500", "C:\x01\x02", "S:500", "C:MAIL FROM:a@b", "S:501",
           "C:xxx", "S:500", "C:yyy", "S:500", "S:421 4.7.0", "CLOSED"),
         "192.0.2.7");
    char *longline = malloc(9000);
    memset(longline, 'a', 9000);
    memcpy(longline, "R:", 2);
    memcpy(longline + 8990, "\r\n\0", 3);
    both(D(HELLO, longline, "S:500 5.5.2 Line too long", "C:NOOP", "S:250"), "192.0.2.7");
    free(longline);
    both(D(HELLO, MAIL1, "C:BDAT 10 LAST", "S:502", "CLOSED"), "192.0.2.7");
}

/* Whatever a client calls itself: it adds no field, comment or address to the trace field. The last
 * two never come this far from a client. */
static void test_helo_in_the_trace_field(void **state)
{
    static const struct {
        const char *helo, *shown;
    } rows[] = {
        {"mail-1.x_y.test", "mail-1.x_y.test"},
        {"[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"},
        {"x)by<e>;(", "x?by?e???"},
        {"a\"b\\c@d,e", "a?b?c?d?e"},
        {"m\xc3\xbcnchen", "m??nchen"},
        {"x\tX-Evil:1", "x?X-Evil:1"},
        {"x\r\nX-Evil: 1\r\n\r\n", "x??X-Evil:?1????"},
        {"", ""},
        {NULL, ""},
    };
    struct conf conf = {.hostname = (char *)"relay.test"};
    struct transaction t = {.id_text = "ID"};
    char field[1400], start[200], longest[3000];
    size_t n;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct smtpd_session s = {.conf = &conf, .ip = "192.0.2.7", .helo = (char *)rows[i].helo};
        assert_true(smtpd_trace_field(&s, &t, 0, field, sizeof(field), &n));
        snprintf(
            start, sizeof(start),
            "Received: from %s ([192.0.2.7])\r\n\tby relay.test (Causeway) with SMTP id ID;\r\n\t",
            rows[i].shown);
        if (strncmp(field, start, strlen(start)) != 0)
            fail_msg("row %zu: %s", i, field);
    }
    memset(longest, ')', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    struct smtpd_session s = {.conf = &conf, .ip = "192.0.2.7", .helo = longest};
    assert_true(smtpd_trace_field(&s, &t, 0, field, sizeof(field), &n));
    assert_true(n < 300);
    assert_null(memchr(field + 30, ')', 60));
}

int main(void)
{
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_mapped_address),
        cmocka_unit_test(test_order_of_commands),
        cmocka_unit_test(test_rset_and_ehlo_forget),
        cmocka_unit_test(test_recipients),
        cmocka_unit_test(test_pipelining),
        cmocka_unit_test(test_pipeline_longer_than_a_turn),
        cmocka_unit_test(test_bare_newlines),
        cmocka_unit_test(test_content_begins_with_white_space),
        cmocka_unit_test(test_helo_in_the_trace_field),
        cmocka_unit_test(test_too_many_hops),
        cmocka_unit_test(test_spool_says_no),
        cmocka_unit_test(test_commit_is_waited_for),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_early_talk),
        cmocka_unit_test(test_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
