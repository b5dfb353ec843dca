/*
 * smtpc_reload_test.c - a reload while sessions hang: what has not been sent whole goes to the
 * hosts of the new configuration at once, and sessions to the old ones do not take the place of new
 * ones.
 */
#include "tests/unit/smtpc_peer.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

static struct peer *host(void)
{
    struct peer *p = peer_new(W.loop, "127.0.0.1", 0);
    W.forest[0].n_host = 0;
    world_host(0, "127.0.0.1", p->port, 10);
    return p;
}

/* Its place is taken by another. */
static struct peer *replaced(void)
{
    struct peer *p = host();
    smtpc_reconfigure(W.client, &W.conf);
    return p;
}

/* Hung anywhere before the final dot: the mail goes to the new host, no time passes. */
static void test_hung_host_is_replaced(void **state)
{
    static const struct {
        enum step step;
        const char *ehlo;
    } rows[] = {{STEP_BANNER, EHLO_FULL}, {STEP_EHLO, EHLO_FULL}, {STEP_MAIL, EHLO_FULL},
                {STEP_MAIL, EHLO_PLAIN},  {STEP_RCPT, EHLO_FULL}, {STEP_RCPT, EHLO_PLAIN},
                {STEP_DATA, EHLO_FULL},   {STEP_DATA, EHLO_PLAIN}};
    (void)state;
    W.conf.smtp_client.connections_max = 2;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        world_client();
        struct peer *a = host();
        a->ehlo = rows[i].ehlo;
        peer_rule(a, (struct rule){.step = rows[i].step, .reply = REPLY_HANG});
        many_start(6);
        turns(60);
        struct peer *b = replaced();
        many_end(6, OUTCOME_DELIVERED);
        turns(10);
        assert_int_equal(a->open, 0);
        assert_int_equal(a->n_mail, 0);
        assert_int_equal(b->n_mail, 6);
        peer_free(a);
        peer_free(b);
    }
}

static struct mail *big_mail(char *text, size_t n)
{
    memset(text, 'a', n - 1);
    text[n - 1] = '\0';
    return mail_new(1, DEST_FOREST, "one", 1, text);
}

/* In the middle of the content, too; but not when the host is still one of them: it may take long
 * to send a large message. */
static void test_reload_in_the_content(void **state)
{
    size_t n = 8u << 20;
    char *text = malloc(n);
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        world_client();
        struct peer *a = host();
        a->ehlo = "250-peer.test\r\n250 PIPELINING\r\n";
        a->stop_reading_content = true;
        struct mail *m = big_mail(text, n);
        mail_start(m);
        turns(50);
        if (i == 0) {
            smtpc_reconfigure(W.client, &W.conf);
            turns(20);
            assert_int_equal(m->done, 0);
            peer_resume(a);
        }
        struct peer *b = i == 1 ? replaced() : NULL;
        if (b != NULL)
            b->ehlo = a->ehlo;
        mail_wait(m);
        assert_outcome(m, 0, OUTCOME_DELIVERED);
        assert_int_equal(a->connections, 1);
        assert_int_equal(a->n_mail, i == 0 ? 1 : 0);
        mail_free(m);
        peer_free(a);
        if (b != NULL)
            peer_free(b);
    }
    free(text);
}

/* Those after whose final dot nothing is said wait on, they may have been taken; the others do not
 * wait with them, and many reloads do not make many connections. */
static void test_sessions_at_the_dot_do_not_count(void **state)
{
    struct peer *p[5];
    struct mail *m[10];
    unsigned open = 0;
    (void)state;
    W.conf.smtp_client.connections_max = 2;
    for (unsigned i = 0; i < 5; i++) {
        p[i] = i == 0 ? host() : replaced();
        p[i]->ehlo = EHLO_PLAIN;
        if (i < 4)
            peer_rule(p[i], (struct rule){.step = STEP_DOT, .reply = REPLY_WAIT});
        for (unsigned k = 2 * i; k < 2 * i + 2; k++) {
            m[k] = mail_to(k + 1, DEST_FOREST, "one");
            mail_start(m[k]);
        }
        turns(60);
        if (i < 2)
            assert_int_equal(p[i]->open, 2);
        open += p[i]->open;
    }
    assert_int_equal(open, 4);
    for (unsigned i = 0; i < 2; i++) {
        peer_say(p[i], "250 at last\r\n");
        turns(20);
    }
    for (unsigned k = 0; k < 10; k++) {
        mail_wait(m[k]);
        assert_outcome(m[k], 0, OUTCOME_DELIVERED);
        assert_int_equal(m[k]->confirmed, 1);
        mail_free(m[k]);
    }
    assert_int_equal(p[0]->n_mail, 2);
    assert_int_equal(p[4]->n_mail, 6);
    for (unsigned i = 0; i < 5; i++)
        peer_free(p[i]);
}

/* Where nothing new can be reached, what waits is deferred, whatever still hangs on the old host.
 */
static void test_new_host_is_down(void **state)
{
    (void)state;
    W.conf.smtp_client.connections_max = 1;
    struct peer *a = host();
    peer_rule(a, (struct rule){.step = STEP_DOT, .reply = REPLY_HANG});
    many_start(2); /* the second behind the dot of the first */
    turns(30);
    assert_int_equal(peer_count(a, "MAIL FROM"), 2);
    struct peer *b = host();
    peer_rule(b, (struct rule){.step = STEP_BANNER, .reply = "421 4.3.2 busy\r\n"});
    smtpc_reconfigure(W.client, &W.conf);
    mail_wait(many[1]);
    assert_outcome(many[1], 0, OUTCOME_DEFERRED);
    assert_int_equal(many[1]->d.verdict, DEST_UNREACHABLE);
    assert_int_equal(many[0]->done, 0);
    clock_fake_advance(600001);
    mail_wait(many[0]);
    assert_outcome(many[0], 0, OUTCOME_DEFERRED);
    mail_free(many[0]);
    mail_free(many[1]);
    peer_free(a);
    peer_free(b);
}

/* Reloads are no lost connections. */
static void test_many_reloads(void **state)
{
    (void)state;
    struct peer *a = host();
    peer_rule(a, (struct rule){.step = STEP_MAIL, .times = 20, .reply = REPLY_HANG});
    many_start(1);
    for (unsigned i = 0; i < 20; i++) {
        turns(20);
        assert_int_equal(peer_count(a, "MAIL FROM"), i + 1);
        smtpc_reconfigure(W.client, &W.conf);
    }
    many_end(1, OUTCOME_DELIVERED);
    peer_free(a);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
    const struct CMUnitTest tests[] = {
        T(test_hung_host_is_replaced),
        T(test_reload_in_the_content),
        T(test_sessions_at_the_dot_do_not_count),
        T(test_new_host_is_down),
        T(test_many_reloads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
