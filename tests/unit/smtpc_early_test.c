/*
 * smtpc_early_test.c - replies that come before what they would answer was sent. Whatever a broken
 * host says unasked: no message is taken for delivered whose content did not leave, nobody's mail
 * is returned, and the connection is not used again.
 */
#include "tests/unit/smtpc_peer.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"

#define TEXT "Subject: x\r\n\r\nbody\r\n"

static struct peer *P;

/* One host, one mail for two recipients. */
static struct mail *begin(const char *ehlo)
{
    W.forest[0].n_host = 0;
    world_client();
    P = peer_new(W.loop, "127.0.0.1", 0);
    P->ehlo = ehlo;
    world_host(0, "127.0.0.1", P->port, 10);
    return mail_new(1, DEST_FOREST, "one", 2, TEXT);
}

static void end(struct mail *m, enum outcome want)
{
    mail_wait(m);
    for (unsigned i = 0; i < 2; i++)
        if (m->dr[i].outcome != want)
            fail_msg("recipient %u: outcome %d: %d %s", i, m->dr[i].outcome, m->dr[i].reply->code,
                     m->dr[i].reply->text);
    for (unsigned i = 0; i < 1000 && P->open != 0; i++)
        turns(1); /* it may still have much to read */
    assert_int_equal(P->open, 0);
    mail_free(m);
    peer_free(P);
}

/* The answer to the message comes together with the leave to send it. What the host says when it
 * has really seen the message is another thing, or nothing. */
static void test_accepted_before_it_was_sent(void **state)
{
    static const char *const really[] = {"554 5.6.0 no\r\n", "250 2.0.0 Taken\r\n", REPLY_CLOSE,
                                         REPLY_HANG};
    static const char *const ehlo[] = {EHLO_FULL, EHLO_PLAIN};
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct mail *m = begin(ehlo[i / 4]);
        peer_rule(P, (struct rule){.step = STEP_DATA, .reply = "354 go\r\n250 ok\r\n"});
        peer_rule(P, (struct rule){.step = STEP_DOT, .reply = really[i % 4]});
        mail_start(m);
        end(m, OUTCOME_DEFERRED);
    }
}

/* Only its first octets come then. */
static void test_acceptance_begins_before_it_was_sent(void **state)
{
    (void)state;
    struct mail *m = begin(EHLO_FULL);
    peer_rule(P, (struct rule){.step = STEP_DATA, .reply = "354 go\r\n25"});
    peer_rule(P, (struct rule){.step = STEP_DOT, .reply = REPLY_WAIT});
    mail_start(m);
    turns(30);
    peer_say(P, "0 ok\r\n");
    end(m, OUTCOME_DEFERRED);
}

/* It waits in the system while the content leaves: the reply before it fills what one turn reads
 * (four times 4,096 octets). */
static void test_acceptance_waits_unread(void **state)
{
    enum {
        READ_AT_ONCE = 4 * 4096
    };
    static const char before[] = "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n250 2.1.5 Ok\r\n";
    char reply[READ_AT_ONCE + 100] = "354-";
    size_t n = READ_AT_ONCE - strlen(before) - strlen("\r\n354 go\r\n");
    (void)state;
    memset(reply + 4, 'x', n - 4);
    strcpy(reply + n, "\r\n354 go\r\n250 ok\r\n");
    struct mail *m = begin(EHLO_FULL);
    peer_rule(P, (struct rule){.step = STEP_DATA, .reply = reply});
    peer_rule(P, (struct rule){.step = STEP_DOT, .reply = "554 5.6.0 no\r\n"});
    mail_start(m);
    end(m, OUTCOME_DEFERRED);
}

static struct session *only_session(void)
{
    struct list_node *d = list_first(&W.client->dests);
    return CONTAINER_OF(list_first(&CONTAINER_OF(d, struct dest, node)->sessions), struct session,
                        node);
}

/* One whose final dot is written, but does not leave: the host takes in only a part of it. Another
 * waits behind it. */
static struct mail *begin_stuck_before_the_dot(char *big, size_t n, struct mail **behind)
{
    memset(big, 'a', n - 1);
    big[n - 1] = '\0';
    struct mail *m = begin("250-p\r\n250 PIPELINING\r\n");
    W.conf.smtp_client.connections_max = 1;
    P->stop_reading_content = true;
    W.content[1] = (struct content){.p = big, .n = n - 1};
    mail_start(m);
    turns(100);
    struct session *s = only_session();
    assert_int_equal(s->state, SESSION_CONTENT);
    s->cur.size = s->cur.off; /* as if this were all */
    session_pump(s);
    assert_int_equal(s->state, SESSION_DOT);
    *behind = mail_to(2, DEST_FOREST, "one");
    mail_start(*behind);
    turns(20);
    assert_true(s->next.used);
    assert_true(stream_pending(s->stream) > 0);
    P->stop_reading_content = false; /* on other connections */
    return m;
}

static void test_answered_while_the_dot_waits(void **state)
{
    static const struct {
        const char *reply;
        enum outcome outcome;
    } rows[] = {{"250 ok\r\n", OUTCOME_DEFERRED},
                {"354 go\r\n", OUTCOME_DEFERRED},
                {"552 5.3.4 too big\r\n", OUTCOME_FAILED}, /* this it may say as soon as it knows */
                {"421 4.3.2 going down\r\n", OUTCOME_DEFERRED}};
    size_t n = 16u << 20;
    char *big = malloc(n);
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct mail *behind, *m = begin_stuck_before_the_dot(big, n, &behind);
        peer_say(P, rows[i].reply);
        mail_wait(m);
        assert_outcome(m, 0, rows[i].outcome);
        clock_fake_advance(60000);
        mail_wait(behind);
        assert_outcome(behind, 0, OUTCOME_DELIVERED);
        mail_free(behind);
        smtpc_close_idle(W.client);
        end(m, rows[i].outcome);
    }
    free(big);
}

/* Replies too many before the content are taken for those to the next commands. Where the last
 * recipient is refused, the others' mail would be returned with that. */
static void test_reply_before_its_command(void **state)
{
    static const struct {
        const char *ehlo;
        enum step step;
        const char *reply;
    } rows[] = {
        {EHLO_FULL, STEP_BANNER, "220 a\r\n250 b\r\n"},
        {EHLO_PLAIN, STEP_BANNER, "220 a\r\n250-b\r\n250 PIPELINING\r\n"},
        {EHLO_PLAIN, STEP_BANNER, "220 a\r\n25"}, /* "0 b" follows when EHLO is there */
        {EHLO_PLAIN, STEP_MAIL, "250 ok\r\n250 really\r\n"},
        {EHLO_PLAIN, STEP_RCPT, "250 ok\r\n354 go\r\n"},
        {EHLO_PLAIN, STEP_RCPT, "250 ok\r\n550 no\r\n"},
    };
    (void)state;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct mail *m = begin(rows[i].ehlo);
        peer_rule(P, (struct rule){.step = rows[i].step, .times = 1, .reply = rows[i].reply});
        if (rows[i].step == STEP_BANNER)
            peer_rule(P, (struct rule){.step = STEP_EHLO, .reply = "0 b\r\n250 peer.test\r\n"});
        peer_rule(P,
                  (struct rule){.step = STEP_RCPT, .match = "rcpt1", .reply = "550 5.1.1 no\r\n"});
        mail_start(m);
        end(m, OUTCOME_DEFERRED);
    }
}

/* An answer to the empty message that ends a refused one, before that was sent: the next message
 * does not go out on this connection. */
static void test_reply_before_the_empty_message(void **state)
{
    (void)state;
    struct mail *m = begin(EHLO_FULL);
    peer_rule(P, (struct rule){.step = STEP_MAIL, .times = 1, .reply = "550 no\r\n"});
    peer_rule(P, (struct rule){.step = STEP_DATA, .times = 1, .reply = "354 go\r\n250 ok\r\n"});
    W.conf.smtp_client.connections_max = 1;
    mail_start(m);
    struct mail *next = mail_to(2, DEST_FOREST, "one");
    mail_start(next);
    mail_wait(next);
    assert_outcome(next, 0, OUTCOME_DELIVERED);
    assert_int_equal(P->connections, 2);
    mail_free(next);
    smtpc_close_idle(W.client);
    end(m, OUTCOME_FAILED);
}

/* The first octets come while the connection is idle. */
static void test_reply_begins_while_idle(void **state)
{
    (void)state;
    struct mail *m = begin(EHLO_FULL);
    deliver(2, DEST_FOREST, "one", OUTCOME_DELIVERED);
    peer_say(P, "25");
    turns(5);
    peer_rule(P, (struct rule){.step = STEP_MAIL, .reply = "0 stray\r\n250 ok\r\n"});
    peer_rule(P, (struct rule){.step = STEP_RCPT, .match = "rcpt1", .reply = "550 5.1.1 no\r\n"});
    mail_start(m);
    end(m, OUTCOME_DEFERRED);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        T(test_accepted_before_it_was_sent), T(test_acceptance_begins_before_it_was_sent),
        T(test_acceptance_waits_unread),     T(test_answered_while_the_dot_waits),
        T(test_reply_before_its_command),    T(test_reply_before_the_empty_message),
        T(test_reply_begins_while_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
