/*
 * smtpc_pool_test.c - destinations: sessions that are kept and shared, messages behind the final
 * dot.
 */
#include "tests/unit/smtpc_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

/* ---- the pool ---- */

static void test_session_is_reused(void **state)
{
    (void)state;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    deliver(1, DEST_FOREST, "one", OUTCOME_DELIVERED);
    deliver(2, DEST_FOREST, "one", OUTCOME_DELIVERED);
    assert_int_equal(p->connections, 1);
    assert_false(peer_said(p, "RSET"));
    clock_fake_advance(29000);
    turns(3);
    assert_int_equal(p->open, 1);
    clock_fake_advance(1001);
    turns(5);
    assert_true(peer_said(p, "QUIT\n"));
    assert_int_equal(p->open, 0);
    deliver(3, DEST_FOREST, "one", OUTCOME_DELIVERED);
    assert_int_equal(p->connections, 2);
    smtpc_close_idle(W.client);
    turns(5);
    assert_int_equal(peer_count(p, "QUIT\n"), 2);
    peer_free(p);
}

static void test_no_idle_sessions_when_not_wanted(void **state)
{
    (void)state;
    W.conf.smtp_client.idle_timeout_ms = 0;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    deliver(1, DEST_FOREST, "one", OUTCOME_DELIVERED);
    turns(5);
    assert_true(peer_said(p, "QUIT\n"));
    assert_int_equal(p->open, 0);
    peer_free(p);
}

static void test_idle_session_that_the_peer_closed(void **state)
{
    static const char *how[] = {REPLY_CLOSE, "421 4.4.2 idle too long\r\n"};
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        W.forest[0].n_host = 0;
        world_client();
        struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
        world_host(0, "127.0.0.1", p->port, 10);
        deliver(1, DEST_FOREST, "one", OUTCOME_DELIVERED);
        if (i == 0) {
            peer_close_all(p);
            turns(3);
        } else {
            /* at the next MAIL, as if the two had crossed */
            peer_rule(p, (struct rule){
                             .step = STEP_MAIL, .times = 1, .reply = how[i], .then_close = true});
        }
        deliver(2, DEST_FOREST, "one", OUTCOME_DELIVERED);
        assert_int_equal(p->connections, 2);
        peer_free(p);
    }
}

static void test_messages_per_connection(void **state)
{
    (void)state;
    W.conf.smtp_client.messages_per_connection = 2;
    W.conf.smtp_client.connections_max = 1;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    many_start(5);
    many_end(5, OUTCOME_DELIVERED);
    turns(5);
    assert_int_equal(p->connections, 3);
    assert_int_equal(peer_count(p, "QUIT\n"), 2);
    peer_free(p);
}

static void test_slow_start(void **state)
{
    (void)state;
    W.conf.smtp_client.connections_max = 20;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    many_start(3);
    many_end(3, OUTCOME_DELIVERED);
    assert_in_range(p->connections, 1, 2);
    peer_free(p);
}

static void test_connections_max(void **state)
{
    (void)state;
    W.conf.smtp_client.connections_max = 2;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    p->ehlo = EHLO_PLAIN;
    peer_rule(p, (struct rule){.step = STEP_DOT, .reply = REPLY_HANG});
    world_host(0, "127.0.0.1", p->port, 10);
    many_start(8);
    turns(60);
    assert_int_equal(p->connections, 2);
    W.forest[0].connections_max = 3;
    struct mail *more = mail_to(20, DEST_FOREST, "one");
    mail_start(more);
    turns(30);
    assert_int_equal(p->connections, 3);
    world_client(); /* ends with deliveries in hand */
    for (unsigned i = 0; i < 8; i++)
        mail_free(many[i]);
    mail_free(more);
    peer_free(p);
}

/* All destinations together have so many sessions; an idle one makes room. */
static void test_sessions_of_all_destinations_are_bounded(void **state)
{
    (void)state;
    struct peer *a = peer_new(W.loop, "127.0.0.1", 0), *b = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", a->port, 10);
    world_host(1, "127.0.0.1", b->port, 10);
    W.client->sessions_max = 1;
    deliver(1, DEST_FOREST, "one", OUTCOME_DELIVERED);
    deliver(2, DEST_FOREST, "two", OUTCOME_DELIVERED);
    turns(5);
    assert_int_equal(a->open, 0);
    assert_int_equal(b->open, 1);
    peer_rule(b, (struct rule){.step = STEP_MAIL, .times = 1, .reply = REPLY_HANG});
    struct mail *first = mail_to(3, DEST_FOREST, "two"), *second = mail_to(4, DEST_FOREST, "one");
    mail_start(first);
    turns(10);
    mail_start(second);
    turns(20);
    assert_int_equal(second->done, 0);
    assert_int_equal(a->connections, 1);
    clock_fake_advance(300001);
    mail_wait(second);
    assert_outcome(second, 0, OUTCOME_DELIVERED);
    mail_wait(first);
    mail_free(first);
    mail_free(second);
    peer_free(a);
    peer_free(b);
}

/* The room goes to a destination that still has something to send. */
static void test_room_is_not_given_to_who_needs_none(void **state)
{
    (void)state;
    struct peer *a = peer_new(W.loop, "127.0.0.1", 0), *b = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", a->port, 10);
    world_host(1, "127.0.0.1", b->port, 10);
    W.client->sessions_max = 1;
    peer_rule(a, (struct rule){.step = STEP_MAIL, .reply = REPLY_HANG});
    struct mail *m[3] = {mail_to(1, DEST_FOREST, "one"), mail_to(2, DEST_MX, "x.test"),
                         mail_to(3, DEST_FOREST, "two")};
    for (unsigned i = 0; i < 3; i++) {
        mail_start(m[i]);
        turns(10);
    }
    W.transport.cancel(W.transport.ctx, &m[1]->d);
    W.transport.cancel(W.transport.ctx, &m[0]->d);
    mail_wait(m[2]);
    assert_outcome(m[2], 0, OUTCOME_DELIVERED);
    for (unsigned i = 0; i < 3; i++)
        mail_free(m[i]);
    peer_free(a);
    peer_free(b);
}

/* New connections fail while an old one is stuck: what waits is tried again after a pause. */
static void test_opening_again_after_a_pause(void **state)
{
    (void)state;
    W.conf.smtp_client.host_rest_ms = 0;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    p->ehlo = EHLO_PLAIN;
    world_host(0, "127.0.0.1", p->port, 10);
    peer_rule(p, (struct rule){.step = STEP_DOT, .times = 1, .reply = REPLY_HANG});
    peer_rule(p, (struct rule){.step = STEP_BANNER, .skip = 1, .reply = "421 4.3.2 busy\r\n"});
    many_start(2);
    turns(50);
    assert_int_equal(p->connections, 2);
    assert_int_equal(many[1]->done, 0);
    p->n_rule = 0;
    clock_fake_advance(1001);
    mail_wait(many[1]);
    assert_outcome(many[1], 0, OUTCOME_DELIVERED);
    W.transport.cancel(W.transport.ctx, &many[0]->d);
    mail_free(many[0]);
    mail_free(many[1]);
    peer_free(p);
}

/* ---- behind the final dot ---- */

static void test_next_message_goes_out_behind_the_dot(void **state)
{
    (void)state;
    W.conf.smtp_client.connections_max = 1;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    many_start(4);
    many_end(4, OUTCOME_DELIVERED);
    assert_int_equal(p->n_mail, 4);
    /* one read brings content, dot and the next message's whole envelope */
    assert_int_equal(peer_count(p, "|.\nMAIL FROM:<sender@from.test> SIZE=20\n"
                                   "RCPT TO:<rcpt0@to.test>\nDATA\n|"),
                     3);
    peer_free(p);
}

/* The queue starts the next delivery inside done(): still one session, no lost time. */
static void test_started_inside_done(void **state)
{
    (void)state;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    struct mail *a = mail_to(1, DEST_FOREST, "one"), *b = mail_to(2, DEST_FOREST, "one");
    a->then = b;
    mail_start(a);
    for (unsigned i = 0; i < 200 && b->done == 0; i++)
        turns(1);
    assert_outcome(b, 0, OUTCOME_DELIVERED);
    assert_int_equal(p->connections, 1);
    mail_free(a);
    mail_free(b);
    peer_free(p);
}

static void test_break_after_the_dot_gives_the_next_back(void **state)
{
    (void)state;
    W.conf.smtp_client.connections_max = 1;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    peer_rule(p, (struct rule){.step = STEP_DOT, .times = 1, .reply = REPLY_CLOSE});
    many_start(2);
    mail_wait(many[0]);
    mail_wait(many[1]);
    assert_outcome(many[0], 0, OUTCOME_DEFERRED);
    assert_outcome(many[1], 0, OUTCOME_DELIVERED);
    assert_int_equal(p->connections, 2);
    assert_int_equal(many[1]->confirmed, 2);
    assert_int_equal(many[1]->answered, 2); /* nothing more is to come on the first connection */
    mail_free(many[0]);
    mail_free(many[1]);
    peer_free(p);
}

/* A host that hangs up after each message: nothing is lost, nothing deferred. */
static void test_host_that_takes_one_message_a_connection(void **state)
{
    (void)state;
    W.conf.smtp_client.connections_max = 1;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    peer_rule(p, (struct rule){.step = STEP_DOT, .reply = "250 Ok\r\n", .then_close = true});
    many_start(MANY);
    many_end(MANY, OUTCOME_DELIVERED);
    assert_int_equal(p->n_mail, MANY);
    assert_int_equal(p->connections, MANY);
    peer_free(p);
}

static void test_slow_dot_does_not_keep_the_next(void **state)
{
    (void)state;
    W.conf.smtp_client.connections_max = 2;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    peer_rule(p, (struct rule){.step = STEP_DOT, .times = 1, .reply = REPLY_HANG});
    many_start(2);
    turns(30);
    assert_int_equal(peer_count(p, "MAIL FROM"), 2);
    clock_fake_advance(5001);
    mail_wait(many[1]);
    assert_outcome(many[1], 0, OUTCOME_DELIVERED);
    assert_int_equal(many[0]->done, 0);
    assert_int_equal(p->connections, 2);
    clock_fake_advance(600000);
    mail_wait(many[0]);
    assert_outcome(many[0], 0, OUTCOME_DEFERRED);
    mail_free(many[0]);
    mail_free(many[1]);
    peer_free(p);
}

static void test_cancel_behind_the_dot(void **state)
{
    (void)state;
    W.conf.smtp_client.connections_max = 1;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    world_trickle(p); /* so that there is time */
    many_start(2);
    for (unsigned i = 0; i < 500 && peer_count(p, "MAIL FROM") < 2; i++)
        turns(1);
    assert_int_equal(many[0]->done, 0);
    W.transport.cancel(W.transport.ctx, &many[1]->d);
    mail_wait(many[0]);
    assert_outcome(many[0], 0, OUTCOME_DELIVERED);
    turns(50);
    assert_int_equal(p->n_mail, 1);
    assert_int_equal(p->open, 0);
    assert_int_equal(many[1]->done, 0);
    mail_free(many[0]);
    mail_free(many[1]);
    peer_free(p);
}

/* The short time that a dot has while something waits behind it is not for the dot alone. */
static void test_cancel_behind_a_slow_dot(void **state)
{
    (void)state;
    W.conf.smtp_client.connections_max = 1;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    peer_rule(p, (struct rule){.step = STEP_DOT, .times = 1, .reply = REPLY_WAIT});
    many_start(2);
    turns(30);
    W.transport.cancel(W.transport.ctx, &many[1]->d);
    clock_fake_advance(60000);
    turns(10);
    assert_int_equal(many[0]->done, 0);
    peer_say(p, "250 at last\r\n");
    mail_wait(many[0]);
    assert_outcome(many[0], 0, OUTCOME_DELIVERED);
    mail_free(many[0]);
    mail_free(many[1]);
    peer_free(p);
}

/* Its envelope was refused after it was sent ahead; 354 came all the same: an empty message, and
 * the connection stays in step. */
static void test_refused_behind_the_dot(void **state)
{
    (void)state;
    W.conf.smtp_client.connections_max = 1;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    peer_rule(p, (struct rule){.step = STEP_MAIL, .skip = 1, .times = 1, .reply = "550 no\r\n"});
    many_start(3);
    for (unsigned i = 0; i < 3; i++) {
        mail_wait(many[i]);
        assert_outcome(many[i], 0, i == 1 ? OUTCOME_FAILED : OUTCOME_DELIVERED);
        mail_free(many[i]);
    }
    assert_int_equal(p->connections, 1);
    assert_true(peer_said(p, "RSET\nMAIL"));
    peer_free(p);
}

/* A peer that talks to an idle session is left. */
static void test_stray_reply(void **state)
{
    (void)state;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    deliver(1, DEST_FOREST, "one", OUTCOME_DELIVERED);
    peer_say(p, "250 surprise\r\n");
    turns(5);
    assert_int_equal(p->open, 0);
    deliver(2, DEST_FOREST, "one", OUTCOME_DELIVERED);
    assert_int_equal(p->connections, 2);
    peer_free(p);
}

/* A host that loses every connection at MAIL is not asked for ever. */
static void test_gives_up_after_some_lost_connections(void **state)
{
    (void)state;
    struct peer *p[8];
    for (unsigned i = 0; i < 8; i++) {
        p[i] = peer_new(W.loop, "127.0.0.1", 0);
        peer_rule(p[i], (struct rule){.step = STEP_MAIL, .reply = REPLY_CLOSE});
        if (i < 4)
            world_host(0, "127.0.0.1", p[i]->port, 10);
        else
            W.host[1][i - 4] = (struct conf_host){.name = (char *)"127.0.0.1", .port = p[i]->port};
    }
    W.forest[0].n_host = 8; /* the two arrays of hosts lie side by side */
    struct mail *m = mail_to(1, DEST_FOREST, "one");
    mail_start(m);
    mail_wait(m);
    assert_outcome(m, 0, OUTCOME_DEFERRED);
    assert_int_equal(m->d.verdict, DEST_UNREACHABLE);
    assert_int_equal(m->confirmed, 6);
    mail_free(m);
    for (unsigned i = 0; i < 8; i++)
        peer_free(p[i]);
}

/* Where final dots take long, a session of its own is better than a place behind one. */
static void test_slow_dots_get_more_sessions(void **state)
{
    (void)state;
    W.conf.smtp_client.connections_max = 4;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    peer_rule(p, (struct rule){.step = STEP_DOT, .reply = REPLY_WAIT});
    struct mail *slow = mail_to(10, DEST_FOREST, "one");
    mail_start(slow);
    turns(20);
    clock_fake_advance(60000);
    peer_say(p, "250 at last\r\n");
    mail_wait(slow);
    assert_outcome(slow, 0, OUTCOME_DELIVERED);
    smtpc_close_idle(W.client);
    turns(5);
    many_start(4);
    turns(60);
    assert_int_equal(p->connections, 1 + 4);
    mail_free(slow);
    world_client();
    for (unsigned i = 0; i < 4; i++)
        mail_free(many[i]);
    peer_free(p);
}

static void cancel_second(struct mail *m)
{
    W.transport.cancel(W.transport.ctx, &m->d);
    turns(20);
    assert_int_equal(m->done, 0);
}

/* Pending, behind a dot that is waited for, and in front of one: the others go their way. */
static void test_cancel_one_of_many(void **state)
{
    (void)state;
    for (unsigned which = 0; which < 4; which++) {
        W.forest[0].n_host = 0;
        W.conf.smtp_client.connections_max = 1;
        world_client();
        struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
        world_host(0, "127.0.0.1", p->port, 10);
        peer_rule(p, (struct rule){.step = STEP_DOT, .times = 1, .reply = REPLY_WAIT});
        many_start(4);
        turns(30);
        cancel_second(many[which]);
        peer_say(p, "250 ok\r\n"); /* to the dot, unless that session is gone */
        for (unsigned i = 0; i < 4; i++) {
            if (i == which)
                continue;
            for (unsigned k = 0; k < 40 && many[i]->done == 0; k++) {
                turns(20);
                clock_fake_advance(1000);
            }
            assert_int_equal(many[i]->done, 1);
            assert_outcome(many[i], 0, OUTCOME_DELIVERED);
        }
        assert_int_equal(many[which]->done, 0);
        for (unsigned i = 0; i < 4; i++)
            mail_free(many[i]);
        peer_free(p);
    }
}

static void test_free_with_everything_in_hand(void **state)
{
    (void)state;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    W.mx[W.n_mx++] = (struct fake_mx){.domain = "x.test", .status = RESOLVE_NODATA};
    many_start(6);
    struct mail *m = mail_to(20, DEST_MX, "x.test");
    mail_start(m);
    for (unsigned i = 0; i < 40; i++) {
        turns(1);
        if (i % 5 == 0) {
            world_client();
            for (unsigned k = 0; k < 6; k++) {
                many[k]->d.node = (struct list_node){0};
                many[k]->done = 0;
                mail_start(many[k]);
            }
        }
    }
    world_client();
    for (unsigned k = 0; k < 6; k++)
        mail_free(many[k]);
    mail_free(m);
    peer_free(p);
}

static unsigned n_dests;
static void count_dest(void *arg, const struct smtpc_dest_info *d)
{
    (void)arg;
    (void)d;
    n_dests++;
}

static void test_destinations_are_forgotten(void **state)
{
    (void)state;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    deliver(1, DEST_FOREST, "one", OUTCOME_DELIVERED);
    clock_fake_advance(40000);
    turns(5);
    clock_fake_advance(600000);
    turns(5);
    n_dests = 0;
    smtpc_list_dests(W.client, count_dest, NULL);
    assert_int_equal(n_dests, 0);
    deliver(2, DEST_FOREST, "one", OUTCOME_DELIVERED);
    peer_free(p);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        T(test_session_is_reused),
        T(test_no_idle_sessions_when_not_wanted),
        T(test_idle_session_that_the_peer_closed),
        T(test_messages_per_connection),
        T(test_slow_start),
        T(test_connections_max),
        T(test_sessions_of_all_destinations_are_bounded),
        T(test_room_is_not_given_to_who_needs_none),
        T(test_opening_again_after_a_pause),
        T(test_next_message_goes_out_behind_the_dot),
        T(test_started_inside_done),
        T(test_break_after_the_dot_gives_the_next_back),
        T(test_host_that_takes_one_message_a_connection),
        T(test_slow_dot_does_not_keep_the_next),
        T(test_cancel_behind_the_dot),
        T(test_cancel_behind_a_slow_dot),
        T(test_refused_behind_the_dot),
        T(test_stray_reply),
        T(test_gives_up_after_some_lost_connections),
        T(test_slow_dots_get_more_sessions),
        T(test_cancel_one_of_many),
        T(test_free_with_everything_in_hand),
        T(test_destinations_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
