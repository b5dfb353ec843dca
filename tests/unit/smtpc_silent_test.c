/*
 * smtpc_silent_test.c - hosts that accept a connection and then say nothing, or late: the mail does
 * not wait with them as long as there is another host, and not for ever when there is none.
 */
#include "tests/unit/smtpc_peer.h"

#include <string.h>

#include "base/clock.h"

static struct mail *mail_to_one(unsigned id)
{
    return mail_new(id, DEST_FOREST, "one", 1, "Subject: x\r\n\r\nbody\r\n");
}

static struct peer *host(unsigned cost, const char *banner)
{
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    if (banner != NULL)
        peer_rule(p, (struct rule){.step = STEP_BANNER, .reply = banner});
    world_host(0, "127.0.0.1", p->port, cost);
    return p;
}

/* Lets time pass until the mail is done; returns how many seconds, at most max. */
static unsigned wait_s(const struct mail *m, unsigned max)
{
    turns(10);
    for (unsigned i = 0; i < max; i++) {
        if (m->done != 0)
            return i;
        clock_fake_advance(1000);
        turns(10);
    }
    return max;
}

static void seconds(unsigned n)
{
    static const struct mail nobody;
    assert_int_equal(wait_s(&nobody, n), n);
}

static void test_backup_is_reached_within_seconds(void **state)
{
    (void)state;
    struct peer *silent[3], *backup;
    for (unsigned i = 0; i < 3; i++)
        silent[i] = host(10, REPLY_HANG);
    backup = host(20, NULL);
    struct mail *m = mail_to_one(1), *second = mail_to_one(2);
    mail_start(m);
    assert_in_range(wait_s(m, 60), 5, 15);
    assert_outcome(m, 0, OUTCOME_DELIVERED);
    assert_int_equal(backup->n_mail, 1);
    /* later mail does not wait at all, also on a new connection */
    smtpc_close_idle(W.client);
    turns(5);
    mail_start(second);
    mail_wait(second);
    assert_outcome(second, 0, OUTCOME_DELIVERED);
    /* they are given the time of the RFC, once */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(silent[i]->connections, 1);
        assert_int_equal(silent[i]->open, 1);
    }
    clock_fake_advance(300001);
    turns(10);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(silent[i]->open, 0);
        peer_free(silent[i]);
    }
    mail_free(m);
    mail_free(second);
    peer_free(backup);
}

/* Not three times five minutes; and none of them gets less than its five. */
static void test_all_silent(void **state)
{
    (void)state;
    struct peer *p[3];
    for (unsigned i = 0; i < 3; i++)
        p[i] = host(10 * i, REPLY_HANG);
    struct mail *m[2] = {mail_to_one(1), mail_to_one(2)};
    mail_start(m[0]);
    mail_start(m[1]);
    seconds(299);
    assert_int_equal(m[0]->done, 0);
    assert_in_range(wait_s(m[0], 100), 1, 16);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(m[i]->done, 1);
        assert_outcome(m[i], 0, OUTCOME_DEFERRED);
        assert_int_equal(m[i]->d.verdict, DEST_UNREACHABLE);
        assert_non_null(strstr(m[i]->dr[0].reply->text, "waiting for the greeting"));
        mail_free(m[i]);
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(p[i]->connections, 1);
        peer_free(p[i]);
    }
}

static void test_one_host_that_greets_late(void **state)
{
    (void)state;
    struct peer *p = host(10, REPLY_WAIT);
    struct mail *m = mail_to_one(1);
    mail_start(m);
    seconds(200);
    peer_say(p, "220 at last\r\n");
    mail_wait(m);
    assert_outcome(m, 0, OUTCOME_DELIVERED);
    assert_int_equal(p->connections, 1);
    mail_free(m);
    peer_free(p);
}

/* Whoever is ready first has the mail; the better host has what comes after it is ready. */
static void test_better_host_greets_late(void **state)
{
    (void)state;
    struct peer *a = host(10, REPLY_WAIT), *b = host(20, NULL);
    struct mail *first = mail_to_one(1), *second = mail_to_one(2);
    mail_start(first);
    assert_in_range(wait_s(first, 20), 5, 10);
    assert_outcome(first, 0, OUTCOME_DELIVERED);
    assert_int_equal(b->n_mail, 1);
    seconds(10);
    peer_say(a, "220 at last\r\n");
    turns(10);
    assert_int_equal(b->open, 0);
    mail_start(second);
    mail_wait(second);
    assert_int_equal(a->n_mail, 1);
    mail_free(first);
    mail_free(second);
    peer_free(a);
    peer_free(b);
}

/* With one connection allowed the other host is tried all the same; only one is used in the end. */
static void test_one_connection_allowed(void **state)
{
    (void)state;
    W.conf.smtp_client.connections_max = 1;
    struct peer *a = host(10, REPLY_WAIT), *b = host(10, NULL);
    struct mail *m = mail_to_one(1);
    mail_start(m);
    assert_in_range(wait_s(m, 20), 5, 10);
    assert_outcome(m, 0, OUTCOME_DELIVERED);
    assert_int_equal(b->open, 1);
    peer_say(a, "220 at last\r\n");
    turns(10);
    assert_true(peer_said(a, "QUIT\n"));
    assert_int_equal(a->open, 0);
    assert_int_equal(b->open, 1);
    mail_free(m);
    peer_free(a);
    peer_free(b);
}

/* A better host that is silent does not keep sessions from being opened to the one that works. */
static void test_silence_while_another_works(void **state)
{
    (void)state;
    struct peer *a = host(10, NULL), *b = host(20, NULL);
    peer_rule(a, (struct rule){.step = STEP_BANNER, .times = 1, .reply = "554 no\r\n"});
    peer_rule(a, (struct rule){.step = STEP_BANNER, .reply = REPLY_HANG});
    b->ehlo = EHLO_PLAIN;
    peer_rule(b, (struct rule){.step = STEP_DOT, .reply = REPLY_WAIT});
    struct mail *m[2] = {mail_to_one(1), mail_to_one(2)};
    mail_start(m[0]);
    seconds(31);
    mail_start(m[1]);
    seconds(9);
    assert_int_equal(a->connections, 2);
    assert_int_equal(peer_count(b, ".\n"), 2);
    peer_say(b, "250 ok\r\n");
    for (unsigned i = 0; i < 2; i++) {
        mail_wait(m[i]);
        assert_outcome(m[i], 0, OUTCOME_DELIVERED);
        mail_free(m[i]);
    }
    peer_free(a);
    peer_free(b);
}

/* One that is silent after another refused, in turns: there is always a connection that might still
 * come to something. */
static void test_never_all_silent_at_once(void **state)
{
    (void)state;
    W.conf.smtp_client.host_rest_ms = 1000;
    struct peer *a = host(10, REPLY_HANG), *b = host(20, "554 no\r\n");
    struct mail *m = mail_to_one(1);
    mail_start(m);
    seconds(250);
    b->rule[0].reply = REPLY_HANG;
    seconds(349);
    assert_int_equal(m->done, 0);
    assert_in_range(wait_s(m, 100), 0, 30);
    assert_outcome(m, 0, OUTCOME_DEFERRED);
    assert_int_equal(m->d.verdict, DEST_UNREACHABLE);
    mail_free(m);
    peer_free(a);
    peer_free(b);
}

/* What waits is deferred when it could not be begun any more: half of so short a time is kept for
 * the message itself. */
static void test_total_timeout_counts_from_the_start(void **state)
{
    (void)state;
    W.conf.smtp_client.total_timeout_ms = 60000;
    struct peer *p = host(10, REPLY_HANG);
    struct mail *m = mail_to_one(1);
    mail_start(m);
    assert_in_range(wait_s(m, 100), 30, 32);
    assert_outcome(m, 0, OUTCOME_DEFERRED);
    mail_free(m);
    peer_free(p);
}

/* A mailbox that moves, a message that is held: it need not wait until the old host has answered.
 */
static void test_not_wanted_any_more(void **state)
{
    (void)state;
    struct peer *p = host(10, REPLY_WAIT);
    struct mail *m[2] = {mail_to_one(1), mail_to_one(2)};
    mail_start(m[0]);
    mail_start(m[1]);
    seconds(3);
    m[0]->refuse_confirm = true;
    seconds(2);
    assert_int_equal(m[0]->done, 1);
    assert_outcome(m[0], 0, OUTCOME_REROUTE);
    assert_int_equal(m[1]->done, 0);
    peer_say(p, "220 at last\r\n");
    mail_wait(m[1]);
    assert_outcome(m[1], 0, OUTCOME_DELIVERED);
    assert_int_equal(p->n_mail, 1);
    mail_free(m[0]);
    mail_free(m[1]);
    peer_free(p);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        T(test_backup_is_reached_within_seconds),
        T(test_all_silent),
        T(test_one_host_that_greets_late),
        T(test_better_host_greets_late),
        T(test_one_connection_allowed),
        T(test_silence_while_another_works),
        T(test_never_all_silent_at_once),
        T(test_total_timeout_counts_from_the_start),
        T(test_not_wanted_any_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
