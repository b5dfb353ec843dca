/*
 * smtpc_session_test.c - one session: every step answered well, badly, by silence, by hanging up
 * and by nonsense; what goes over the wire; deadlines on a clock that stands still.
 */
#include "tests/unit/smtpc_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

static struct peer *P;
static struct mail *M;

/* One peer that is forest "one", one mail for it. */
static void begin(unsigned n_rcpt, const char *content)
{
    P = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", P->port, 10);
    M = mail_new(1, DEST_FOREST, "one", n_rcpt, content);
}

static void end(void)
{
    mail_free(M);
    peer_free(P);
}

static void go(void)
{
    mail_start(M);
    mail_wait(M);
}

#define TEXT "Subject: x\r\n\r\n.dot\r\n..two\r\nend\r\n"

static void test_delivers(void **state)
{
    (void)state;
    begin(2, TEXT);
    go();
    assert_outcome(M, 0, OUTCOME_DELIVERED);
    assert_outcome(M, 1, OUTCOME_DELIVERED);
    assert_ptr_equal(M->dr[0].reply, M->dr[1].reply);
    assert_string_equal(M->dr[0].reply->text, "Taken");
    assert_null(M->d.replies);
    assert_int_equal(M->d.verdict, DEST_OK);
    assert_string_equal(M->d.remote_host, "127.0.0.1");
    assert_string_equal(M->d.remote_ip, "127.0.0.1");
    assert_true(M->d.remote_dsn);
    assert_int_equal(P->n_mail, 1);
    assert_string_equal(P->mail[0].from, "sender@from.test");
    assert_string_equal(P->mail[0].rcpt, "rcpt0@to.test,rcpt1@to.test");
    assert_string_equal(buf_cstr(&P->mail[0].content), TEXT);
    assert_true(peer_said(P, "EHLO relay.test\n|MAIL FROM:<sender@from.test> SIZE=32\n"
                             "RCPT TO:<rcpt0@to.test>\nRCPT TO:<rcpt1@to.test>\nDATA\n|.\n|"));
    end();
}

static void test_lock_step_without_pipelining(void **state)
{
    (void)state;
    begin(2, "no newline at the end");
    P->ehlo = EHLO_PLAIN;
    go();
    assert_outcome(M, 1, OUTCOME_DELIVERED);
    assert_false(M->d.remote_dsn);
    assert_true(peer_said(P, "MAIL FROM:<sender@from.test>\n|RCPT TO:<rcpt0@to.test>\n|"
                             "RCPT TO:<rcpt1@to.test>\n|DATA\n|.\n|"));
    assert_string_equal(buf_cstr(&P->mail[0].content), "no newline at the end\r\n");
    end();
}

static void test_helo_when_ehlo_is_unknown(void **state)
{
    (void)state;
    begin(1, TEXT);
    peer_rule(P, (struct rule){.step = STEP_EHLO, .reply = "502 5.5.1 what\r\n"});
    go();
    assert_outcome(M, 0, OUTCOME_DELIVERED);
    assert_true(peer_said(P, "HELO relay.test\n|MAIL FROM:<sender@from.test>\n|"));
    end();
}

static void test_multi_line_replies_byte_at_a_time(void **state)
{
    (void)state;
    begin(3, TEXT);
    world_trickle(P);
    peer_rule(P, (struct rule){.step = STEP_BANNER, .reply = "220-hello\r\n220 there\r\n"});
    peer_rule(P, (struct rule){.step = STEP_RCPT,
                               .match = "rcpt1",
                               .reply = "550-5.1.1 no\r\n550-5.1.1 such\r\n550 5.1.1 user\r\n"});
    go();
    assert_outcome(M, 0, OUTCOME_DELIVERED);
    assert_outcome(M, 1, OUTCOME_FAILED);
    assert_outcome(M, 2, OUTCOME_DELIVERED);
    assert_string_equal(M->dr[1].reply->text, "no / such / user");
    assert_true(peer_said(P, "DATA\n|"));
    end();
}

/* ---- refusals ---- */

static const struct refusal {
    enum step step;
    const char *match, *reply;
    enum outcome outcome[2];
    enum dest_verdict verdict;
    unsigned n_mail;
    const char *ehlo;
} refusals[] = {
#define ROW(step, match, reply, out0, out1, verdict, n_mail, ehlo)                                 \
    {                                                                                              \
        step, match, reply "\r\n", {OUTCOME_##out0, OUTCOME_##out1}, verdict, n_mail, ehlo         \
    }
#define ANY NULL
    /* n_mail 1 with nothing delivered: the empty message after a 354 that came all the same */
    ROW(STEP_MAIL, ANY, "550 5.7.1 no", FAILED, FAILED, DEST_OK, 1, EHLO_FULL),
    ROW(STEP_MAIL, ANY, "451 4.3.0 later", DEFERRED, DEFERRED, DEST_OK, 1, EHLO_FULL),
    ROW(STEP_MAIL, ANY, "452 4.3.1 full", DEFERRED, DEFERRED, DEST_BUSY, 1, EHLO_FULL),
    ROW(STEP_MAIL, ANY, "450 4.2.0 slow", DEFERRED, DEFERRED, DEST_BUSY, 0, EHLO_PLAIN),
    ROW(STEP_RCPT, "rcpt0", "550 5.1.1 no", FAILED, DELIVERED, DEST_OK, 1, EHLO_FULL),
    ROW(STEP_RCPT, "rcpt0", "550 5.1.1 no", FAILED, DELIVERED, DEST_OK, 1, EHLO_PLAIN),
    ROW(STEP_RCPT, "rcpt1", "450 4.2.1 wait", DELIVERED, DEFERRED, DEST_OK, 1, EHLO_FULL),
    ROW(STEP_RCPT, ANY, "550 5.1.1 no", FAILED, FAILED, DEST_OK, 1, EHLO_FULL),
    ROW(STEP_RCPT, ANY, "550 5.1.1 no", FAILED, FAILED, DEST_OK, 0, EHLO_PLAIN),
    ROW(STEP_RCPT, "rcpt1", "452 4.5.3 many", DELIVERED, REROUTE, DEST_OK, 1, EHLO_FULL),
    ROW(STEP_RCPT, "rcpt0", "452 4.5.3 many", DEFERRED, DELIVERED, DEST_OK, 1, EHLO_FULL),
    ROW(STEP_DATA, ANY, "554 5.7.1 no", FAILED, FAILED, DEST_OK, 0, EHLO_FULL),
    ROW(STEP_DATA, ANY, "451 4.7.1 no", DEFERRED, DEFERRED, DEST_OK, 0, EHLO_FULL),
    ROW(STEP_DOT, ANY, "554 5.6.0 no", FAILED, FAILED, DEST_OK, 1, EHLO_FULL),
    ROW(STEP_DOT, ANY, "451 4.3.0 no", DEFERRED, DEFERRED, DEST_OK, 1, EHLO_PLAIN),
};

static void test_refusals(void **state)
{
    (void)state;
    for (unsigned i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        const struct refusal *t = &refusals[i];
        W.forest[0].n_host = 0;
        world_client();
        begin(2, TEXT);
        P->ehlo = t->ehlo;
        peer_rule(P, (struct rule){.step = t->step, .match = t->match, .reply = t->reply});
        go();
        for (unsigned k = 0; k < 2; k++)
            if (M->dr[k].outcome != t->outcome[k])
                fail_msg("row %u rcpt %u: outcome %d, not %d", i, k, M->dr[k].outcome,
                         t->outcome[k]);
        assert_int_equal(M->d.verdict, t->verdict);
        turns(10);
        if (P->n_mail != t->n_mail)
            fail_msg("row %u: %u messages, not %u", i, P->n_mail, t->n_mail);
        /* The connection is still good for the next message. */
        P->n_rule = 0;
        struct mail *next = mail_new(2, DEST_FOREST, "one", 1, "next\r\n");
        mail_start(next);
        mail_wait(next);
        assert_outcome(next, 0, OUTCOME_DELIVERED);
        assert_int_equal(P->connections, 1);
        assert_string_equal(buf_cstr(&P->mail[P->n_mail - 1].content), "next\r\n");
        mail_free(next);
        end();
    }
}

static void test_replies_are_stored_once(void **state)
{
    (void)state;
    begin(4, TEXT);
    peer_rule(P, (struct rule){.step = STEP_RCPT, .match = "rcpt0", .reply = "550 5.1.1 no\r\n"});
    peer_rule(P, (struct rule){.step = STEP_RCPT, .match = "rcpt2", .reply = "550 5.1.1 no\r\n"});
    peer_rule(P, (struct rule){.step = STEP_RCPT, .match = "rcpt3", .reply = "450 4.1.1 ?\r\n"});
    go();
    assert_ptr_equal(M->dr[0].reply, M->dr[2].reply);
    assert_int_equal(M->dr[0].reply->code, 550);
    assert_int_equal(M->dr[3].reply->code, 450);
    assert_int_equal(M->dr[1].reply->code, 250);
    end();
}

/* ---- faults at each step ---- */

static enum step faulty[] = {STEP_BANNER, STEP_EHLO, STEP_MAIL, STEP_RCPT, STEP_DATA, STEP_DOT};
#define N_FAULTY (sizeof(faulty) / sizeof(faulty[0]))

static void each_step(const char *reply, bool then_close, int64_t advance, const char *ehlo)
{
    for (unsigned i = 0; i < N_FAULTY; i++) {
        W.forest[0].n_host = 0;
        world_client();
        begin(2, TEXT);
        P->ehlo = ehlo;
        peer_rule(P, (struct rule){.step = faulty[i], .reply = reply, .then_close = then_close});
        mail_start(M);
        turns(30);
        if (advance > 0) {
            assert_int_equal(M->done, 0);
            clock_fake_advance(advance);
        }
        mail_wait(M);
        assert_outcome(M, 0, OUTCOME_DEFERRED);
        assert_outcome(M, 1, OUTCOME_DEFERRED);
        assert_int_equal(M->dr[0].reply->code / 100, 4);
        if (strncmp(reply, "421", 3) != 0)
            assert_int_equal(M->d.verdict, DEST_UNREACHABLE);
        assert_int_equal(P->n_mail, faulty[i] == STEP_DOT ? 1 : 0);
        assert_int_equal(M->confirmed, faulty[i] > STEP_EHLO ? 1 : 0);
        assert_int_equal(M->answered, faulty[i] > STEP_RCPT ? 1 : 0);
        turns(5);
        assert_int_equal(P->open, 0);
        end();
    }
}

static void test_hangs(void **state)
{
    (void)state;
    each_step(REPLY_HANG, false, 600001, EHLO_FULL);
    each_step(REPLY_HANG, false, 600001, EHLO_PLAIN);
}

static void test_closes(void **state)
{
    (void)state;
    each_step(REPLY_CLOSE, false, 0, EHLO_FULL);
    each_step(REPLY_CLOSE, false, 0, EHLO_PLAIN);
}

static void test_says_nonsense(void **state)
{
    (void)state;
    each_step("HTTP/1.1 400 Bad Request\r\n\r\n", false, 0, EHLO_FULL);
    each_step("999 what\r\n", false, 0, EHLO_PLAIN);
    each_step("25\r\n", false, 0, EHLO_FULL);
    each_step("250-a\r\n550 b\r\n", false, 0, EHLO_PLAIN);
}

static void test_421_everywhere(void **state)
{
    (void)state;
    each_step("421 4.3.2 closing\r\n", true, 0, EHLO_FULL);
    each_step("421 4.3.2 closing\r\n", false, 0, EHLO_PLAIN);
}

/* 2xx or 3xx where it makes no sense. */
static void test_wrong_replies(void **state)
{
    static const struct {
        enum step step;
        const char *reply;
    } rows[] = {{STEP_MAIL, "354 go\r\n"},
                {STEP_RCPT, "354 go\r\n"},
                {STEP_DATA, "250 thanks\r\n"},
                {STEP_DOT, "354 more\r\n"}};
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        W.forest[0].n_host = 0;
        world_client();
        begin(1, TEXT);
        peer_rule(P, (struct rule){.step = rows[i].step, .reply = rows[i].reply});
        go();
        assert_outcome(M, 0, OUTCOME_DEFERRED);
        turns(5);
        assert_int_equal(P->open, 0);
        end();
    }
}

/* One reply too many shifts all that follow: what they seemed to say about recipients is void. */
static void test_replies_out_of_step(void **state)
{
    static const struct rule rules[] = {
        {.step = STEP_BANNER, .reply = "220 a\r\n220 b\r\n"},
        {.step = STEP_MAIL, .reply = "250 ok\r\n250 really\r\n"},
    };
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        W.forest[0].n_host = 0;
        world_client();
        begin(3, TEXT);
        peer_rule(P, rules[i]);
        peer_rule(P, (struct rule){.step = STEP_RCPT, .match = "rcpt1", .reply = "550 no\r\n"});
        go();
        for (unsigned k = 0; k < 3; k++)
            assert_outcome(M, k, OUTCOME_DEFERRED);
        assert_int_equal(P->n_mail, 0);
        end();
    }
}

/* A reply that comes octet by octet does not move the deadline. */
static void test_trickle_does_not_extend_the_deadline(void **state)
{
    (void)state;
    begin(1, TEXT);
    world_trickle(P);
    char reply[400] = "250-";
    memset(reply + 4, 'x', 300);
    strcpy(reply + 304, "\r\n250 ok\r\n");
    peer_rule(P, (struct rule){.step = STEP_MAIL, .reply = reply});
    mail_start(M);
    for (unsigned i = 0; i < 400 && M->done == 0; i++) {
        turns(1);
        if (peer_said(P, "MAIL"))
            clock_fake_advance(10000);
    }
    assert_int_equal(M->done, 1);
    assert_outcome(M, 0, OUTCOME_DEFERRED);
    assert_non_null(strstr(M->dr[0].reply->text, "MAIL FROM"));
    end();
}

static void test_results_said_before_the_loss_are_kept(void **state)
{
    (void)state;
    begin(3, TEXT);
    peer_rule(P, (struct rule){.step = STEP_RCPT, .match = "rcpt0", .reply = "550 5.1.1 no\r\n"});
    peer_rule(P, (struct rule){.step = STEP_RCPT, .match = "rcpt2", .reply = REPLY_CLOSE});
    go();
    assert_outcome(M, 0, OUTCOME_FAILED);
    assert_outcome(M, 1, OUTCOME_DEFERRED);
    assert_outcome(M, 2, OUTCOME_DEFERRED);
    end();
}

static void test_total_time_is_bounded(void **state)
{
    (void)state;
    W.conf.smtp_client.total_timeout_ms = 100000;
    begin(1, TEXT);
    peer_rule(P, (struct rule){.step = STEP_DATA, .reply = REPLY_HANG});
    mail_start(M);
    turns(30);
    clock_fake_advance(100001);
    mail_wait(M);
    assert_outcome(M, 0, OUTCOME_DEFERRED);
    end();
}

/* But not the answer to the final dot: the host may be about to take the message, which would then
 * be sent again. */
static void test_dot_has_its_own_time(void **state)
{
    (void)state;
    begin(1, TEXT);
    peer_rule(P, (struct rule){.step = STEP_DATA, .reply = REPLY_WAIT});
    peer_rule(P, (struct rule){.step = STEP_DOT, .reply = REPLY_WAIT});
    W.conf.smtp_client.data_timeout_ms = 3600000;
    mail_start(M);
    turns(30);
    clock_fake_advance(3599000);
    peer_say(P, "354 at last\r\n");
    turns(30);
    clock_fake_advance(599000);
    turns(5);
    assert_int_equal(M->done, 0);
    peer_say(P, "250 Taken\r\n");
    mail_wait(M);
    assert_outcome(M, 0, OUTCOME_DELIVERED);
    end();
}

/* A message that has waited is begun only when there is time enough for it; with a small limit,
 * half of that. */
static void test_begun_with_time_enough(void **state)
{
    static const struct {
        int64_t total_ms, waited_ms;
        bool begun;
    } rows[] = {{3600000, 2999000, true},
                {3600000, 3001000, false},
                {100000, 49000, true},
                {100000, 51000, false}};
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        W.forest[0].n_host = 0;
        W.conf.smtp_client.total_timeout_ms = rows[i].total_ms;
        W.conf.smtp_client.banner_timeout_ms = rows[i].total_ms;
        world_client();
        begin(1, TEXT);
        peer_rule(P, (struct rule){.step = STEP_BANNER, .reply = REPLY_WAIT});
        mail_start(M);
        turns(10);
        clock_fake_advance(rows[i].waited_ms);
        peer_say(P, "220 at last\r\n");
        mail_wait(M);
        assert_outcome(M, 0, rows[i].begun ? OUTCOME_DELIVERED : OUTCOME_DEFERRED);
        assert_int_equal(peer_said(P, "MAIL FROM"), rows[i].begun);
        end();
    }
}

static void test_early_refusal_of_the_content(void **state)
{
    (void)state;
    size_t n = 4u << 20;
    char *big = malloc(n + 1);
    memset(big, 'a', n);
    big[n] = '\0';
    begin(1, big);
    P->ehlo = "250-peer.test\r\n250 PIPELINING\r\n";
    P->stop_reading_content = true;
    peer_rule(P, (struct rule){.step = STEP_DATA, .reply = "354 go\r\n552 5.3.4 enough\r\n"});
    go();
    assert_outcome(M, 0, OUTCOME_FAILED);
    assert_int_equal(M->dr[0].reply->code, 552);
    assert_int_equal(P->n_mail, 0);
    end();
    free(big);
}

/* ---- content ---- */

static void test_large_content_with_dots_and_backpressure(void **state)
{
    (void)state;
    static const char piece[] = ".\r\n..\r\na.b\r\n.x\r\n\r\n";
    struct buf big = BUF_INIT(20u << 20);
    while (big.n < (16u << 20))
        buf_append(&big, piece, sizeof(piece) - 1);
    begin(1, buf_cstr(&big));
    P->ehlo = "250-peer.test\r\n250 PIPELINING\r\n";
    P->stop_reading_content = true;
    mail_start(M);
    turns(50);
    assert_int_equal(M->done, 0);
    assert_int_equal(W.readers_open, 1);
    peer_resume(P);
    mail_wait(M);
    assert_outcome(M, 0, OUTCOME_DELIVERED);
    assert_int_equal(P->mail[0].content.n, big.n);
    assert_memory_equal(P->mail[0].content.p, big.p, big.n);
    end();
    buf_free(&big);
}

static void test_content_deadline_when_nothing_is_taken(void **state)
{
    (void)state;
    size_t n = 16u << 20;
    char *big = malloc(n + 1);
    memset(big, 'a', n);
    big[n] = '\0';
    begin(1, big);
    P->ehlo = "250-peer.test\r\n250 PIPELINING\r\n";
    P->stop_reading_content = true;
    mail_start(M);
    turns(50);
    assert_int_equal(M->done, 0);
    clock_fake_advance(180001);
    mail_wait(M);
    assert_outcome(M, 0, OUTCOME_DEFERRED);
    assert_non_null(strstr(M->dr[0].reply->text, "sending the message"));
    end();
    free(big);
}

static void test_unreadable_content_never_gets_its_dot(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        W.forest[0].n_host = 0;
        world_client();
        begin(1, TEXT);
        if (i == 0)
            W.content[1].missing = true;
        if (i == 1)
            W.content[1].corrupt = true;
        if (i == 2)
            W.content[1].fail_at = 3;
        go();
        assert_outcome(M, 0, OUTCOME_DEFERRED);
        assert_int_equal(M->d.verdict, DEST_OK);
        turns(10);
        assert_int_equal(P->n_mail, 0);
        assert_false(peer_said(P, ".\n"));
        end();
    }
}

static void test_empty_content(void **state)
{
    (void)state;
    begin(1, "");
    go();
    assert_outcome(M, 0, OUTCOME_DELIVERED);
    assert_int_equal(P->mail[0].content.n, 0);
    end();
}

static void test_many_recipients(void **state)
{
    (void)state;
    begin(MAIL_RCPT_MAX, TEXT);
    P->ehlo = "250-peer.test\r\n250-DSN\r\n250 PIPELINING\r\n";
    char orcpt[600] = "rfc822;";
    memset(orcpt + 7, 'o', 500);
    for (unsigned i = 0; i < MAIL_RCPT_MAX; i++)
        M->er[i].orcpt = str_c(orcpt); /* so that the group is larger than one write */
    peer_rule(P, (struct rule){.step = STEP_RCPT, .match = "rcpt599", .reply = "550 no\r\n"});
    go();
    assert_outcome(M, 0, OUTCOME_DELIVERED);
    assert_outcome(M, 598, OUTCOME_DELIVERED);
    assert_outcome(M, 599, OUTCOME_FAILED);
    assert_int_equal(peer_count(P, "RCPT TO"), 600);
    end();
}

/* ---- parameters ---- */

#define PLUS10 "++++++++++"
#define PLUS50 PLUS10 PLUS10 PLUS10 PLUS10 PLUS10
#define PLUS   PLUS50 PLUS50 PLUS50 PLUS50 PLUS50 PLUS50

static void test_parameters(void **state)
{
    (void)state;
    begin(3, TEXT);
    M->d.content_8bit = true;
    M->env.ret = MAIL_RET_HDRS;
    M->env.envid = STR("QQ+2B1");
    M->er[0].notify = MAIL_NOTIFY_SUCCESS | MAIL_NOTIFY_FAILURE;
    M->er[0].orcpt = STR("rfc822;first+2Bx@to.test");
    M->er[1].notify = MAIL_NOTIFY_NEVER;
    M->er[1].address = STR("before+tag@to.test");
    M->env.sender = STR_NULL;
    go();
    assert_true(peer_said(P, "MAIL FROM:<> SIZE=32 BODY=8BITMIME RET=HDRS ENVID=QQ+2B1\n"));
    assert_true(peer_said(P, "RCPT TO:<rcpt0@to.test> NOTIFY=SUCCESS,FAILURE "
                             "ORCPT=rfc822;first+2Bx@to.test\n"));
    assert_true(peer_said(P, "RCPT TO:<rcpt1@to.test> NOTIFY=NEVER "
                             "ORCPT=rfc822;before+2Btag@to.test\n"));
    assert_true(peer_said(P, "RCPT TO:<rcpt2@to.test>\n"));
    end();
}

/* One that is too long for a parameter stays out; the recipient goes. */
static void test_long_original_recipient(void **state)
{
    static const unsigned plus[] = {161, 162, 300}; /* "rfc822;" + 3 * plus + "@to.test" */
    char address[3][400], said[1100] = " ORCPT=rfc822;";
    (void)state;
    begin(3, TEXT);
    for (unsigned i = 0; i < 3; i++) {
        (void)snprintf(address[i], sizeof(address[i]), "%.*s@to.test", (int)plus[i], PLUS);
        M->er[i].address = str_c(address[i]);
    }
    for (unsigned k = 0; k < plus[0]; k++)
        strcat(said, "+2B");
    go();
    assert_outcome(M, 2, OUTCOME_DELIVERED);
    assert_true(peer_said(P, said));
    assert_int_equal(peer_count(P, " ORCPT="), 1);
    assert_true(peer_said(P, "RCPT TO:<rcpt1@to.test>\n"));
    assert_true(peer_said(P, "RCPT TO:<rcpt2@to.test>\n"));
    end();
}

static void test_no_parameters_that_are_not_offered(void **state)
{
    (void)state;
    begin(1, TEXT);
    P->ehlo = EHLO_PLAIN;
    M->env.ret = MAIL_RET_FULL;
    M->env.envid = STR("x");
    M->env.body = MAIL_BODY_8BITMIME; /* declared, but there is none */
    M->er[0].notify = MAIL_NOTIFY_SUCCESS;
    M->er[0].orcpt = STR("rfc822;x@y");
    go();
    assert_outcome(M, 0, OUTCOME_DELIVERED);
    assert_true(peer_said(P, "MAIL FROM:<sender@from.test>\n|RCPT TO:<rcpt0@to.test>\n|"));
    end();
}

static void test_refused_locally(void **state)
{
    static const struct {
        const char *ehlo;
        bool eightbit, big;
        const char *sender, *rcpt, *status;
    } rows[] = {
        {"250-p\r\n250 SIZE 20\r\n", false, true, NULL, NULL, "5.3.4"},
        {EHLO_PLAIN, true, false, NULL, NULL, "5.6.3"},
        {EHLO_FULL, false, false, "s\xc3\xa4@x", NULL, "5.6.7"},
        {EHLO_FULL, false, false, NULL, "r\xc3\xa4@x", "5.6.7"},
        {EHLO_FULL, false, false, NULL, "r>\r\nQUIT\r\n@x", "5.1.3"},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        W.forest[0].n_host = 0;
        world_client();
        begin(1, TEXT);
        P->ehlo = rows[i].ehlo;
        M->d.content_8bit = rows[i].eightbit;
        if (rows[i].sender != NULL)
            M->env.sender = str_c(rows[i].sender);
        if (rows[i].rcpt != NULL)
            M->dr[0].address = str_c(rows[i].rcpt);
        go();
        assert_outcome(M, 0, OUTCOME_FAILED);
        assert_string_equal(M->dr[0].reply->enhanced, rows[i].status);
        assert_true(M->dr[0].ours);
        assert_false(peer_said(P, "MAIL"));
        end();
    }
}

/* Refusing a notice of ours would lose it: there is nobody to return it to. */
static void test_notice_with_8bit_text_is_sent(void **state)
{
    (void)state;
    begin(1, TEXT);
    P->ehlo = EHLO_PLAIN;
    M->env.origin = MAIL_FROM_LOCAL;
    M->env.sender = STR_NULL;
    M->d.content_8bit = true;
    go();
    assert_outcome(M, 0, OUTCOME_DELIVERED);
    assert_true(peer_said(P, "MAIL FROM:<>\n"));
    end();
}

static void test_confirm_false_sends_nothing(void **state)
{
    (void)state;
    begin(2, TEXT);
    M->refuse_confirm = true;
    go();
    assert_outcome(M, 0, OUTCOME_REROUTE);
    assert_outcome(M, 1, OUTCOME_REROUTE);
    assert_int_equal(M->confirmed, 1);
    turns(5);
    assert_false(peer_said(P, "MAIL"));
    end();
}

/* ---- cancel ---- */

static void test_cancel_in_every_state(void **state)
{
    (void)state;
    for (unsigned i = 0; i < N_FAULTY + 1; i++) {
        W.forest[0].n_host = 0;
        world_client();
        begin(2, TEXT);
        if (i < N_FAULTY) {
            peer_rule(P, (struct rule){.step = faulty[i], .reply = REPLY_HANG});
            mail_start(M);
            turns(30);
        } else {
            mail_start(M);
        }
        W.transport.cancel(W.transport.ctx, &M->d);
        turns(10);
        assert_int_equal(M->done, 0);
        assert_int_equal(W.readers_open, 0);
        P->n_rule = 0;
        peer_close_all(P);
        turns(3);
        mail_start(M); /* the queue may use it again */
        mail_wait(M);
        assert_outcome(M, 0, OUTCOME_DELIVERED);
        end();
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        T(test_delivers),
        T(test_lock_step_without_pipelining),
        T(test_helo_when_ehlo_is_unknown),
        T(test_multi_line_replies_byte_at_a_time),
        T(test_refusals),
        T(test_replies_are_stored_once),
        T(test_hangs),
        T(test_closes),
        T(test_says_nonsense),
        T(test_421_everywhere),
        T(test_wrong_replies),
        T(test_replies_out_of_step),
        T(test_trickle_does_not_extend_the_deadline),
        T(test_results_said_before_the_loss_are_kept),
        T(test_total_time_is_bounded),
        T(test_dot_has_its_own_time),
        T(test_begun_with_time_enough),
        T(test_early_refusal_of_the_content),
        T(test_large_content_with_dots_and_backpressure),
        T(test_content_deadline_when_nothing_is_taken),
        T(test_unreadable_content_never_gets_its_dot),
        T(test_empty_content),
        T(test_many_recipients),
        T(test_parameters),
        T(test_long_original_recipient),
        T(test_no_parameters_that_are_not_offered),
        T(test_refused_locally),
        T(test_notice_with_8bit_text_is_sent),
        T(test_confirm_false_sends_nothing),
        T(test_cancel_in_every_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
