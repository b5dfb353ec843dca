/*
 * smtpc_hosts_test.c - where a destination's sessions go: failover by cost, round robin, hosts that
 * rest, hosts by MX, loops to ourselves, configuration that changes.
 */
#include "tests/unit/smtpc_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#include "base/clock.h"
#include "base/mem.h"

/* ---- hosts ---- */

static void test_failover_by_cost(void **state)
{
    static const char *greeting[] = {"554 5.3.2 no\r\n", "421 4.3.2 busy\r\n", "220-\r\n", NULL};
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        W.forest[0].n_host = 0;
        world_client();
        struct peer *a = peer_new(W.loop, "127.0.0.1", 0), *b = peer_new(W.loop, "127.0.0.1", 0);
        world_host(0, "127.0.0.1", b->port, 20);
        world_host(0, "127.0.0.1", a->port, 10);
        if (i == 2)
            peer_rule(a, (struct rule){.step = STEP_EHLO, .reply = "451 4.3.0 later\r\n"});
        else if (i == 3)
            listener_free(&a->listener); /* nobody there */
        else
            peer_rule(a, (struct rule){.step = STEP_BANNER, .reply = greeting[i]});
        deliver(1, DEST_FOREST, "one", OUTCOME_DELIVERED);
        assert_int_equal(b->n_mail, 1);
        assert_int_equal(a->n_mail, 0);
        /* it rests, then it is the first again */
        smtpc_close_idle(W.client);
        deliver(2, DEST_FOREST, "one", OUTCOME_DELIVERED);
        assert_int_equal(b->n_mail, 2);
        assert_int_equal(a->connections, i == 3 ? 0 : 1);
        if (i < 3) {
            a->n_rule = 0;
            clock_fake_advance(30001);
            turns(3);
            deliver(3, DEST_FOREST, "one", OUTCOME_DELIVERED);
            assert_int_equal(a->n_mail, 1);
        }
        peer_free(a);
        peer_free(b);
    }
}

/* Also in mid-session, as long as nothing was said about a recipient. */
static void test_failover_at_mail(void **state)
{
    static const struct rule rules[] = {{.step = STEP_MAIL, .reply = REPLY_CLOSE},
                                        {.step = STEP_MAIL, .reply = "421 4.3.2 no\r\n"},
                                        {.step = STEP_MAIL, .reply = "what?\r\n"},
                                        {.step = STEP_RCPT, .reply = REPLY_CLOSE}};
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        W.forest[0].n_host = 0;
        world_client();
        struct peer *a = peer_new(W.loop, "127.0.0.1", 0), *b = peer_new(W.loop, "127.0.0.1", 0);
        world_host(0, "127.0.0.1", a->port, 10);
        world_host(0, "127.0.0.1", b->port, 20);
        peer_rule(a, rules[i]);
        deliver(1, DEST_FOREST, "one", OUTCOME_DELIVERED);
        assert_int_equal(b->n_mail, 1);
        peer_free(a);
        peer_free(b);
    }
}

static void test_every_host_fails(void **state)
{
    (void)state;
    struct peer *a = peer_new(W.loop, "127.0.0.1", 0), *b = peer_new(W.loop, "127.0.0.1", 0);
    peer_rule(a, (struct rule){.step = STEP_BANNER, .reply = "554 5.3.2 never\r\n"});
    peer_rule(b, (struct rule){.step = STEP_BANNER, .reply = "554 5.3.2 no more\r\n"});
    world_host(0, "127.0.0.1", a->port, 10);
    world_host(0, "127.0.0.1", b->port, 20);
    many_start(3);
    for (unsigned i = 0; i < 3; i++) {
        mail_wait(many[i]);
        assert_outcome(many[i], 0, OUTCOME_DEFERRED);
        assert_int_equal(many[i]->dr[0].reply->code, 451);
        assert_non_null(strstr(many[i]->dr[0].reply->text, "no more"));
        assert_int_equal(many[i]->d.verdict, DEST_UNREACHABLE);
        assert_string_equal(many[i]->d.remote_host, "127.0.0.1");
        assert_int_equal(many[i]->confirmed, 0);
        mail_free(many[i]);
    }
    assert_int_equal(a->connections, 1);
    assert_int_equal(b->connections, 1);
    /* resting hosts are tried all the same when there is no other */
    a->n_rule = 0;
    deliver(5, DEST_FOREST, "one", OUTCOME_DELIVERED);
    peer_free(a);
    peer_free(b);
}

/* A resting host that works after all rests no longer. */
static void test_rest_ends_with_success(void **state)
{
    (void)state;
    struct peer *a = peer_new(W.loop, "127.0.0.1", 0), *b = peer_new(W.loop, "127.0.0.1", 0);
    peer_rule(a, (struct rule){.step = STEP_BANNER, .reply = "554 no\r\n"});
    peer_rule(b, (struct rule){.step = STEP_BANNER, .times = 1, .reply = "554 no\r\n"});
    world_host(0, "127.0.0.1", a->port, 10);
    world_host(0, "127.0.0.1", b->port, 20);
    deliver(1, DEST_FOREST, "one", OUTCOME_DEFERRED);
    deliver(2, DEST_FOREST, "one", OUTCOME_DELIVERED);
    assert_int_equal(a->connections, 2);
    smtpc_close_idle(W.client);
    deliver(3, DEST_FOREST, "one", OUTCOME_DELIVERED);
    assert_int_equal(a->connections, 2);
    peer_free(a);
    peer_free(b);
}

/* What one host cannot take is no verdict for the next. */
static void test_local_refusal_is_for_one_host(void **state)
{
    (void)state;
    struct peer *a = peer_new(W.loop, "127.0.0.1", 0), *b = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", a->port, 10);
    world_host(0, "127.0.0.1", b->port, 20);
    peer_rule(a, (struct rule){.step = STEP_MAIL, .reply = REPLY_CLOSE});
    b->ehlo = "250-b.test\r\n250 SMTPUTF8\r\n";
    struct mail *m = mail_new(1, DEST_FOREST, "one", 2, "x\r\n");
    m->dr[1].address = STR("r\xc3\xa4@to.test");
    mail_start(m);
    mail_wait(m);
    assert_outcome(m, 0, OUTCOME_DELIVERED);
    assert_outcome(m, 1, OUTCOME_DELIVERED);
    mail_free(m);
    peer_free(a);
    peer_free(b);
}

/* Under steady traffic, too: the better host is used again when it works again. */
static void test_back_to_the_better_host(void **state)
{
    (void)state;
    struct peer *a = peer_new(W.loop, "127.0.0.1", 0), *b = peer_new(W.loop, "127.0.0.1", 0);
    peer_rule(a, (struct rule){.step = STEP_BANNER, .reply = "554 no\r\n"});
    world_host(0, "127.0.0.1", a->port, 10);
    world_host(0, "127.0.0.1", b->port, 20);
    deliver(1, DEST_FOREST, "one", OUTCOME_DELIVERED);
    for (unsigned i = 0; i < 4; i++) {
        clock_fake_advance(20000);
        deliver(2, DEST_FOREST, "one", OUTCOME_DELIVERED);
        turns(10);
    }
    /* tried now and then, one attempt at a time, while the other went on */
    assert_in_range(a->connections, 2, 3);
    assert_int_equal(b->connections, 1);
    assert_int_equal(b->n_mail, 5);
    a->n_rule = 0;
    clock_fake_advance(20000);
    deliver(3, DEST_FOREST, "one", OUTCOME_DELIVERED);
    turns(10);
    clock_fake_advance(20000);
    deliver(3, DEST_FOREST, "one", OUTCOME_DELIVERED);
    turns(10);
    unsigned n = b->n_mail;
    deliver(4, DEST_FOREST, "one", OUTCOME_DELIVERED);
    deliver(5, DEST_FOREST, "one", OUTCOME_DELIVERED);
    assert_int_equal(b->n_mail, n);
    assert_int_equal(b->open, 0);
    peer_free(a);
    peer_free(b);
}

static void test_round_robin(void **state)
{
    (void)state;
    W.conf.smtp_client.messages_per_connection = 1;
    struct peer *p[3];
    for (unsigned i = 0; i < 3; i++) {
        p[i] = peer_new(W.loop, "127.0.0.1", 0);
        world_host(0, "127.0.0.1", p[i]->port, i == 2 ? 20 : 10);
    }
    for (unsigned i = 0; i < 6; i++)
        deliver(i + 1, DEST_FOREST, "one", OUTCOME_DELIVERED);
    assert_int_equal(p[0]->n_mail, 3);
    assert_int_equal(p[1]->n_mail, 3);
    assert_int_equal(p[2]->n_mail, 0);
    for (unsigned i = 0; i < 3; i++)
        peer_free(p[i]);
}

static void test_sick_destination_is_alone(void **state)
{
    (void)state;
    struct peer *a = peer_new(W.loop, "127.0.0.1", 0), *b = peer_new(W.loop, "127.0.0.1", 0);
    peer_rule(a, (struct rule){.step = STEP_BANNER, .reply = REPLY_HANG});
    world_host(0, "127.0.0.1", a->port, 10);
    world_host(1, "127.0.0.1", b->port, 10);
    many_start(MANY);
    for (unsigned i = 0; i < 20; i++)
        deliver(i + 20, DEST_FOREST, "two", OUTCOME_DELIVERED);
    for (unsigned i = 0; i < MANY; i++)
        assert_int_equal(many[i]->done, 0);
    assert_int_equal(a->connections, 1);
    clock_fake_advance(300001);
    many_end(MANY, OUTCOME_DEFERRED);
    peer_free(a);
    peer_free(b);
}

static void test_reconfigure(void **state)
{
    (void)state;
    struct peer *a = peer_new(W.loop, "127.0.0.1", 0), *b = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", a->port, 10);
    deliver(1, DEST_FOREST, "one", OUTCOME_DELIVERED);
    peer_rule(a, (struct rule){.step = STEP_BANNER, .reply = REPLY_HANG});
    W.host[0][0].port = b->port;
    smtpc_reconfigure(W.client, &W.conf);
    deliver(2, DEST_FOREST, "one", OUTCOME_DELIVERED);
    assert_int_equal(b->n_mail, 1);
    assert_true(peer_said(a, "QUIT\n"));
    /* with a session on its way to the old host */
    smtpc_close_idle(W.client);
    peer_rule(b, (struct rule){.step = STEP_BANNER, .reply = REPLY_HANG});
    struct mail *m = mail_to(3, DEST_FOREST, "one");
    mail_start(m);
    turns(10);
    a->n_rule = 0;
    W.host[0][0].port = a->port;
    smtpc_reconfigure(W.client, &W.conf);
    mail_wait(m);
    assert_outcome(m, 0, OUTCOME_DELIVERED);
    /* the forest is gone */
    W.conf.n_forest = 0;
    smtpc_reconfigure(W.client, &W.conf);
    deliver(4, DEST_FOREST, "one", OUTCOME_DEFERRED);
    W.conf.n_forest = 2;
    mail_free(m);
    peer_free(a);
    peer_free(b);
}

/* The hosts are gone while a session is busy and more waits: nothing is opened, least of all for
 * ever. */
static void test_hosts_removed_while_busy(void **state)
{
    (void)state;
    W.conf.smtp_client.connections_max = 4;
    struct peer *a = peer_new(W.loop, "127.0.0.1", 0);
    a->ehlo = EHLO_PLAIN;
    peer_rule(a, (struct rule){.step = STEP_DOT, .reply = REPLY_WAIT});
    world_host(0, "127.0.0.1", a->port, 10);
    many[0] = mail_to(1, DEST_FOREST, "one");
    mail_start(many[0]);
    turns(20);
    W.forest[0].n_host = 0;
    smtpc_reconfigure(W.client, &W.conf);
    many[1] = mail_to(2, DEST_FOREST, "one");
    mail_start(many[1]);
    /* it is not for the host that was, and does not wait for its session */
    mail_wait(many[1]);
    assert_outcome(many[1], 0, OUTCOME_DEFERRED);
    assert_int_equal(many[0]->done, 0);
    peer_say(a, "250 ok\r\n");
    mail_wait(many[0]);
    assert_outcome(many[0], 0, OUTCOME_DELIVERED);
    assert_int_equal(a->n_mail, 1);
    turns(5);
    assert_true(peer_said(a, "QUIT\n"));
    mail_free(many[0]);
    mail_free(many[1]);
    peer_free(a);
}

/* Not even what is behind the final dot already goes to a host that was removed. */
static void test_host_replaced_while_busy(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        W.forest[0].n_host = 0;
        W.conf.smtp_client.connections_max = 1;
        world_client();
        struct peer *a = peer_new(W.loop, "127.0.0.1", 0), *b = peer_new(W.loop, "127.0.0.1", 0);
        peer_rule(a, (struct rule){.step = STEP_DOT, .times = 1, .reply = REPLY_WAIT});
        world_host(0, "127.0.0.1", a->port, 10);
        many_start(i == 0 ? 1 : 2);
        turns(30);
        W.host[0][0].port = b->port;
        smtpc_reconfigure(W.client, &W.conf);
        if (i == 0) {
            many[1] = mail_to(2, DEST_FOREST, "one");
            mail_start(many[1]);
        }
        turns(10);
        peer_say(a, "250 ok\r\n");
        many_end(2, OUTCOME_DELIVERED);
        turns(10);
        assert_int_equal(a->n_mail, 1);
        assert_int_equal(b->n_mail, 1);
        assert_int_equal(a->open, 0);
        peer_free(a);
        peer_free(b);
    }
}

static void test_host_names(void **state)
{
    (void)state;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    W.hosts[W.n_hosts++] = (struct fake_host){"bad.test", RESOLVE_NXDOMAIN, {NULL}};
    W.hosts[W.n_hosts++] = (struct fake_host){"good.test", RESOLVE_OK, {"127.0.0.9", "127.0.0.1"}};
    world_host(0, "bad.test", p->port, 1);
    deliver(1, DEST_FOREST, "one", OUTCOME_DEFERRED); /* a mistake of ours is not the sender's */
    world_host(0, "good.test", p->port, 2);
    smtpc_reconfigure(W.client, &W.conf);
    deliver(2, DEST_FOREST, "one", OUTCOME_DELIVERED);
    peer_free(p);
}

static struct smtpc_dest_info seen;
static void note_dest(void *arg, const struct smtpc_dest_info *d)
{
    (void)arg;
    seen = *d;
}

static void test_list_dests(void **state)
{
    (void)state;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    world_host(0, "127.0.0.1", 1, 20);
    deliver(1, DEST_FOREST, "one", OUTCOME_DELIVERED);
    smtpc_list_dests(W.client, note_dest, NULL);
    assert_string_equal(seen.dest, "forest:one");
    assert_int_equal(seen.sessions, 1);
    assert_int_equal(seen.idle, 1);
    assert_int_equal(seen.pending, 0);
    assert_non_null(strstr(seen.hosts, "127.0.0.1[127.0.0.1]:"));
    peer_free(p);
}

/* ---- MX ---- */

static void mx(const char *domain, enum resolve_status status, unsigned n, const char *a,
               unsigned pa, const char *b, unsigned pb)
{
    struct fake_mx *m = &W.mx[W.n_mx++];
    *m = (struct fake_mx){.domain = domain, .status = status, .n = n};
    m->mx[0].preference = pa;
    m->mx[1].preference = pb;
    snprintf(m->mx[0].name, sizeof(m->mx[0].name), "%s", a);
    snprintf(m->mx[1].name, sizeof(m->mx[1].name), "%s", b);
}

static void check_mx(const char *domain, enum outcome outcome, int code, const char *enhanced)
{
    struct mail *m = mail_to(1, DEST_MX, domain);
    mail_start(m);
    mail_wait(m);
    assert_outcome(m, 0, outcome);
    assert_int_equal(m->dr[0].reply->code, code);
    assert_string_equal(m->dr[0].reply->enhanced, enhanced);
    assert_int_equal(m->d.verdict, outcome == OUTCOME_DEFERRED ? DEST_UNREACHABLE : DEST_OK);
    mail_free(m);
}

static void test_mx_answers(void **state)
{
    (void)state;
    mx("no.test", RESOLVE_NXDOMAIN, 0, "", 0, "", 0);
    mx("null.test", RESOLVE_NULL_MX, 0, "", 0, "", 0);
    mx("slow.test", RESOLVE_TEMPORARY, 0, "", 0, "", 0);
    mx("bare.test", RESOLVE_NODATA, 0, "", 0, "", 0);
    mx("dead.test", RESOLVE_OK, 1, "gone.test", 5, "", 0);
    check_mx("no.test", OUTCOME_FAILED, 550, "5.1.2");
    check_mx("null.test", OUTCOME_FAILED, 556, "5.1.10");
    check_mx("slow.test", OUTCOME_DEFERRED, 451, "4.4.3");
    W.hosts[W.n_hosts++] = (struct fake_host){"gone.test", RESOLVE_NXDOMAIN, {NULL}};
    check_mx("dead.test", OUTCOME_DEFERRED, 451, "4.4.3");
    W.hosts[W.n_hosts++] = (struct fake_host){"bare.test", RESOLVE_NODATA, {NULL}};
    check_mx("bare.test", OUTCOME_DEFERRED, 451, "4.4.3");
    /* the next attempt asks again */
    W.mx[2].status = RESOLVE_NULL_MX;
    check_mx("slow.test", OUTCOME_FAILED, 556, "5.1.10");
}

static void test_mx_delivery(void **state)
{
    (void)state;
    struct peer *a = peer_new(W.loop, "127.0.0.1", 0);
    struct peer *b = peer_new(W.loop, "127.0.0.2", a->port);
    assert_non_null(b);
    W.conf.smtp_client.mx_port = a->port;
    W.hosts[W.n_hosts++] = (struct fake_host){"a.test", RESOLVE_OK, {"127.0.0.3", "127.0.0.1"}};
    W.hosts[W.n_hosts++] = (struct fake_host){"b.test", RESOLVE_OK, {"127.0.0.2"}};
    W.hosts[W.n_hosts++] = (struct fake_host){"bare.test", RESOLVE_OK, {"127.0.0.1"}};
    mx("two.test", RESOLVE_OK, 2, "b.test", 20, "a.test", 10);
    mx("bare.test", RESOLVE_NODATA, 0, "", 0, "", 0);
    deliver(1, DEST_MX, "two.test", OUTCOME_DELIVERED);
    assert_int_equal(a->n_mail, 1);
    deliver(2, DEST_MX, "bare.test", OUTCOME_DELIVERED);
    assert_int_equal(a->n_mail, 2);
    deliver(3, DEST_MX, "[127.0.0.2]", OUTCOME_DELIVERED);
    assert_int_equal(b->n_mail, 1);
    peer_rule(a, (struct rule){.step = STEP_BANNER, .reply = "554 no\r\n"});
    smtpc_close_idle(W.client);
    deliver(4, DEST_MX, "two.test", OUTCOME_DELIVERED);
    assert_int_equal(b->n_mail, 2);
    peer_free(a);
    peer_free(b);
}

static void test_mx_loops(void **state)
{
    (void)state;
    struct peer *a = peer_new(W.loop, "127.0.0.1", 0);
    char listen[40];
    W.conf.smtp_client.mx_port = a->port;
    W.hosts[W.n_hosts++] = (struct fake_host){"a.test", RESOLVE_OK, {"127.0.0.1"}};
    W.hosts[W.n_hosts++] = (struct fake_host){"us.test", RESOLVE_OK, {"127.0.0.7"}};
    mx("best.test", RESOLVE_OK, 2, "RELAY.test", 10, "a.test", 20);
    mx("backup.test", RESOLVE_OK, 2, "a.test", 10, "relay.test", 20);
    mx("same.test", RESOLVE_OK, 2, "a.test", 10, "relay.test", 10);
    mx("relay.test", RESOLVE_NODATA, 0, "", 0, "", 0); /* behind NAT its address is not ours */
    W.hosts[W.n_hosts++] = (struct fake_host){"relay.test", RESOLVE_OK, {"127.0.0.1"}};
    mx("addr.test", RESOLVE_OK, 2, "us.test", 10, "a.test", 20);
    mx("addr2.test", RESOLVE_OK, 2, "a.test", 10, "us.test", 20);
    check_mx("best.test", OUTCOME_FAILED, 554, "5.4.6");
    check_mx("same.test", OUTCOME_FAILED, 554, "5.4.6");
    check_mx("relay.test", OUTCOME_FAILED, 554, "5.4.6");
    deliver(1, DEST_MX, "backup.test", OUTCOME_DELIVERED);
    W.conf.n_listener = 1;
    W.listener[0].n_address = 1;
    W.listener[0].address = W.listen_address;
    W.listen_address[0] = listen;
    snprintf(listen, sizeof(listen), "127.0.0.7:%u", a->port);
    check_mx("addr.test", OUTCOME_FAILED, 554, "5.4.6");
    deliver(2, DEST_MX, "addr2.test", OUTCOME_DELIVERED);
    /* the better host is down: the mail waits, it does not come back to us */
    peer_rule(a, (struct rule){.step = STEP_BANNER, .reply = REPLY_CLOSE});
    smtpc_close_idle(W.client);
    deliver(3, DEST_MX, "addr2.test", OUTCOME_DEFERRED);
    /* another port is another service */
    snprintf(listen, sizeof(listen), "127.0.0.1:%u", a->port + 1);
    a->n_rule = 0;
    deliver(4, DEST_MX, "addr2.test", OUTCOME_DELIVERED);
    snprintf(listen, sizeof(listen), "0.0.0.0:%u", a->port);
    world_client();
    check_mx("addr2.test", OUTCOME_FAILED, 554, "5.4.6");
    peer_free(a);
}

/* We are listed by another name, beside a host of the same preference: it would bring the mail back
 * to us. Whichever of the two is first in turn. */
static void test_mx_loop_by_alias_of_equal_preference(void **state)
{
    (void)state;
    struct peer *a = peer_new(W.loop, "127.0.0.1", 0), *b = peer_new(W.loop, "127.0.0.2", a->port);
    char listen[40];
    assert_non_null(b);
    snprintf(listen, sizeof(listen), "127.0.0.7:%u", a->port);
    W.conf.n_listener = 1;
    W.listener[0].n_address = 1;
    W.listener[0].address = W.listen_address;
    W.listen_address[0] = listen;
    W.conf.smtp_client.mx_port = a->port;
    W.hosts[W.n_hosts++] = (struct fake_host){"a.test", RESOLVE_OK, {"127.0.0.1"}};
    W.hosts[W.n_hosts++] = (struct fake_host){"b.test", RESOLVE_OK, {"127.0.0.2"}};
    W.hosts[W.n_hosts++] = (struct fake_host){"us.test", RESOLVE_OK, {"127.0.0.7"}};
    mx("same.test", RESOLVE_OK, 2, "a.test", 10, "us.test", 10);
    mx("back.test", RESOLVE_OK, 3, "a.test", 20, "us.test", 20);
    W.mx[1].mx[2].preference = 10;
    snprintf(W.mx[1].mx[2].name, sizeof(W.mx[1].mx[2].name), "b.test");
    for (unsigned i = 0; i < 3; i++) {
        check_mx("same.test", OUTCOME_FAILED, 554, "5.4.6");
        deliver(2, DEST_MX, "back.test", OUTCOME_DELIVERED);
        smtpc_close_idle(W.client);
    }
    assert_int_equal(b->n_mail, 3);
    assert_int_equal(a->connections, 0);
    peer_free(a);
    peer_free(b);
}

/* ---- other ways to name a host ---- */

static void test_route(void **state)
{
    (void)state;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    W.conf.route = W.route;
    W.conf.n_route = 1;
    W.route[0] = (struct conf_route){.name = (char *)"smart", .n_host = 1, .host = W.host[1]};
    W.host[1][0] = (struct conf_host){.name = (char *)"127.0.0.1", .port = p->port};
    deliver(1, DEST_ROUTE, "smart", OUTCOME_DELIVERED);
    deliver(2, DEST_ROUTE, "other", OUTCOME_DEFERRED);
    deliver(3, DEST_FOREST, "two", OUTCOME_DEFERRED);
    peer_free(p);
}

static void test_bind_address(void **state)
{
    (void)state;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "127.0.0.1", p->port, 10);
    W.conf.smtp_client.bind_address = (char *)"127.0.0.5";
    deliver(1, DEST_FOREST, "one", OUTCOME_DELIVERED);
    assert_string_equal(p->last_client, "127.0.0.5");
    smtpc_close_idle(W.client);
    W.conf.smtp_client.bind_address = (char *)"::1"; /* not for IPv4: left out */
    deliver(2, DEST_FOREST, "one", OUTCOME_DELIVERED);
    assert_string_equal(p->last_client, "127.0.0.1");
    peer_free(p);
}

static void test_ipv6(void **state)
{
    (void)state;
    struct peer *p = peer_new(W.loop, "::1", 0);
    if (p == NULL)
        skip();
    W.conf.smtp_client.mx_port = p->port;
    world_host(0, "[::1]", p->port, 10);
    W.conf.smtp_client.bind_address = (char *)"::1";
    struct mail *m = mail_to(1, DEST_FOREST, "one");
    mail_start(m);
    mail_wait(m);
    assert_outcome(m, 0, OUTCOME_DELIVERED);
    assert_string_equal(m->d.remote_ip, "::1");
    mail_free(m);
    deliver(2, DEST_MX, "[IPv6:::1]", OUTCOME_DELIVERED);
    peer_rule(p, (struct rule){.step = STEP_BANNER, .times = 1, .reply = "554 no\r\n"});
    smtpc_close_idle(W.client);
    deliver(3, DEST_FOREST, "one", OUTCOME_DEFERRED);
    deliver(4, DEST_FOREST, "one", OUTCOME_DELIVERED);
    /* our own listener, exactly and as a wildcard */
    for (unsigned i = 0; i < 2; i++) {
        char text[40];
        snprintf(text, sizeof(text), i == 0 ? "[::1]:%u" : "[::]:%u", p->port);
        W.conf.n_listener = 1;
        W.listener[0].n_address = 1;
        W.listener[0].address = W.listen_address;
        W.listen_address[0] = text;
        world_client();
        check_mx("[IPv6:::1]", OUTCOME_FAILED, 554, "5.4.6");
    }
    peer_free(p);
}

/* A host that could not be looked up is looked up again at the next attempt. */
static void test_looked_up_again(void **state)
{
    (void)state;
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    world_host(0, "a.test", p->port, 10);
    deliver(1, DEST_FOREST, "one", OUTCOME_DEFERRED);
    smtpc_list_dests(W.client, note_dest, NULL);
    assert_non_null(strstr(seen.hosts, "unresolved"));
    W.hosts[W.n_hosts++] = (struct fake_host){"a.test", RESOLVE_OK, {"127.0.0.1"}};
    deliver(2, DEST_FOREST, "one", OUTCOME_DELIVERED);
    assert_int_equal(W.hosts_asked, 2);
    /* what is known is used for a while, then asked again */
    smtpc_close_idle(W.client);
    deliver(3, DEST_FOREST, "one", OUTCOME_DELIVERED);
    assert_int_equal(W.hosts_asked, 2);
    smtpc_close_idle(W.client);
    clock_fake_advance(31000);
    deliver(4, DEST_FOREST, "one", OUTCOME_DELIVERED);
    assert_int_equal(W.hosts_asked, 3);
    peer_free(p);
}

static void test_resting_table_is_bounded(void **state)
{
    (void)state;
    struct endpoint e = {.len = sizeof(struct sockaddr_in)};
    struct sockaddr_in *in = (void *)&e.addr;
    in->sin_family = AF_INET;
    for (unsigned i = 0; i < 3 * RESTING_MAX; i++) {
        in->sin_addr.s_addr = htonl(0x0a000000 + i);
        resting_add(W.client, &e);
        clock_fake_advance(1);
        assert_true(resting_has(W.client, &e));
    }
    assert_int_equal(W.client->n_resting, RESTING_MAX);
    in->sin_addr.s_addr = htonl(0x0a000000);
    assert_false(resting_has(W.client, &e));
    in->sin_addr.s_addr = htonl(0x0a000000 + 3 * RESTING_MAX - 1);
    resting_remove(W.client, &e);
    assert_false(resting_has(W.client, &e));
    in->sin_addr.s_addr = htonl(0x0a000000 + 3 * RESTING_MAX - 2);
    clock_fake_advance(30001);
    assert_false(resting_has(W.client, &e));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        T(test_failover_by_cost),
        T(test_failover_at_mail),
        T(test_every_host_fails),
        T(test_rest_ends_with_success),
        T(test_local_refusal_is_for_one_host),
        T(test_back_to_the_better_host),
        T(test_round_robin),
        T(test_sick_destination_is_alone),
        T(test_reconfigure),
        T(test_hosts_removed_while_busy),
        T(test_host_replaced_while_busy),
        T(test_host_names),
        T(test_list_dests),
        T(test_mx_answers),
        T(test_mx_delivery),
        T(test_mx_loops),
        T(test_mx_loop_by_alias_of_equal_preference),
        T(test_route),
        T(test_bind_address),
        T(test_ipv6),
        T(test_looked_up_again),
        T(test_resting_table_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
