/*
 * smtpc_random_test.c - many messages to two hosts that answer each command by lot: well, with a
 * refusal, with 421, nonsense, an answer too many, silence or by hanging up. Meanwhile messages are
 * cancelled or not wanted there any more, and the configuration is read again with other hosts.
 * Whatever happens: every delivery is reported once, a recipient is reported as delivered exactly
 * when a host said 2xx to it and to the end of the data, and what was taken is what was sent.
 */
#include "tests/unit/smtpc_peer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define MESSAGES 8
#define RCPTS    3

static uint64_t seed;
static unsigned trouble; /* per cent of the replies that are not as usual */
static unsigned reloads, rerouted, early;

static unsigned lot(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static const char *by_lot(struct peer *p, enum step step)
{
    static const char *refusals[] = {"450 4.2.0 later\r\n", "451 4.3.0 no\r\n", "550 5.1.1 no\r\n",
                                     "552-5.2.2 no\r\n552 5.2.2 room\r\n", "452 4.5.3 many\r\n"};
    (void)p;
    if (lot(100) >= trouble || step == STEP_QUIT)
        return NULL;
    switch (lot(13)) {
    case 0:
        return REPLY_CLOSE;
    case 1:
        return "421 4.3.2 going down\r\n";
    case 2:
        return "nonsense\r\n";
    case 3:
        return REPLY_HANG;
    case 4:
        early += step == STEP_DATA;
        return step == STEP_DATA ? "354 go\r\n250 2.0.0 taken\r\n" : REPLY_HANG;
    default:
        return refusals[lot(5)];
    }
}

static bool holds(const char *list, const char *address)
{
    const char *at = strstr(list, address);
    return at != NULL && (at[strlen(address)] == ',' || at[strlen(address)] == '\0');
}

/* How often a host took this message for this recipient. */
static unsigned taken(struct peer **p, const struct mail *m, const char *content, unsigned i)
{
    unsigned n = 0;
    for (unsigned k = 0; k < 2; k++)
        for (unsigned j = 0; j < p[k]->n_mail; j++) {
            struct received *r = &p[k]->mail[j];
            if (r->accepted && strcmp(buf_cstr(&r->content), content) == 0 &&
                holds(r->rcpt, m->address[i]))
                n++;
        }
    return n;
}

static char content[MESSAGES][120];

static void check(struct peer **p, struct mail **m, const bool *cancelled)
{
    for (unsigned k = 0; k < MESSAGES; k++) {
        assert_int_equal(m[k]->done, cancelled[k] ? 0 : 1);
        for (unsigned i = 0; i < RCPTS && !cancelled[k]; i++) {
            unsigned want = m[k]->dr[i].outcome == OUTCOME_DELIVERED ? 1 : 0;
            rerouted += m[k]->dr[i].outcome == OUTCOME_REROUTE && m[k]->refuse_confirm;
            if (taken(p, m[k], content[k], i) != want)
                fail_msg("message %u recipient %u: outcome %d, taken %u times", k, i,
                         m[k]->dr[i].outcome, taken(p, m[k], content[k], i));
        }
    }
    /* Nothing but what was sent, or the empty message after a refusal that nobody heard. */
    for (unsigned k = 0; k < 2; k++)
        for (unsigned j = 0; j < p[k]->n_mail; j++) {
            const char *got = buf_cstr(&p[k]->mail[j].content);
            bool known = got[0] == '\0';
            for (unsigned i = 0; i < MESSAGES; i++)
                known = known || strcmp(got, content[i]) == 0;
            assert_true(known);
        }
}

/* Both hosts, one of them, or none. */
static void configure(struct peer **p)
{
    unsigned which = 1 + lot(7);
    W.forest[0].n_host = 0;
    W.conf.smtp_client.connections_max = 1 + lot(3);
    for (unsigned k = 0; k < 2; k++)
        if ((which & (1u << k)) != 0)
            world_host(0, "127.0.0.1", p[k]->port, 10 + 10 * lot(2));
}

/* What others do while messages are under way. */
static void meddle(struct peer **p, struct mail **m, bool *cancelled)
{
    unsigned k = lot(MESSAGES);
    if (lot(6) == 0) {
        reloads++;
        configure(p);
        smtpc_reconfigure(W.client, &W.conf);
    }
    if (lot(8) == 0 && !m[k]->done)
        m[k]->refuse_confirm = true;
    if (lot(40) == 0 && !m[k]->done && !cancelled[k]) {
        W.transport.cancel(W.transport.ctx, &m[k]->d);
        cancelled[k] = true;
    }
}

static void one_round(uint64_t number)
{
    struct peer *p[2];
    struct mail *m[MESSAGES];
    bool cancelled[MESSAGES] = {false};
    seed = number;
    trouble = 5 + lot(30);
    W.conf.smtp_client.messages_per_connection = lot(4);
    world_client();
    for (unsigned k = 0; k < 2; k++) {
        p[k] = peer_new(W.loop, "127.0.0.1", 0);
        p[k]->decide = by_lot;
        p[k]->ehlo = lot(2) == 0 ? EHLO_FULL : EHLO_PLAIN;
    }
    configure(p);
    for (unsigned k = 0; k < MESSAGES; k++) {
        snprintf(content[k], sizeof(content[k]), "X-Key: %u\r\n\r\n.%.*s\r\n", k, (int)lot(40),
                 "........................................");
        m[k] = mail_new(k + 1, DEST_FOREST, "one", RCPTS, content[k]);
    }
    for (unsigned k = 0; k < MESSAGES; k++) {
        mail_start(m[k]);
        turns(lot(6));
    }
    size_t heard_before = 0, quiet = 0;
    for (unsigned i = 0; i < 600; i++) {
        bool all = true;
        turns(4);
        for (unsigned k = 0; k < MESSAGES; k++)
            all = all && (m[k]->done || cancelled[k]);
        if (all)
            break;
        if (number % 2 == 0)
            meddle(p, m, cancelled);
        size_t heard = p[0]->log.n + p[1]->log.n + p[0]->connections + p[1]->connections;
        quiet = heard == heard_before ? quiet + 1 : 0;
        heard_before = heard;
        if (quiet > 4) /* past the patience with those that hang, or past every deadline */
            clock_fake_advance(lot(2) == 0 ? 8000 : 601000);
    }
    check(p, m, cancelled);
    for (unsigned k = 0; k < MESSAGES; k++)
        mail_free(m[k]);
    smtpc_free(&W.client);
    assert_int_equal(W.readers_open, 0);
    for (unsigned k = 0; k < 2; k++)
        peer_free(p[k]);
}

static void test_by_lot(void **state)
{
    (void)state;
    const char *more = getenv("SMTPC_ROUNDS");
    unsigned rounds = more != NULL ? (unsigned)atoi(more) : 150;
    for (unsigned i = 1; i <= rounds; i++) {
        if (i % 50 == 0)
            print_message("round %u\n", i);
        one_round(i);
    }
    print_message("%u reloads, %u recipients rerouted, %u early answers\n", reloads, rerouted,
                  early);
    assert_true(reloads > 0 && rerouted > 0 && early > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_by_lot, world_setup, world_teardown),
    };
    log_setup(LOG_TO_STDERR, LOG_TEXT, getenv("SMTPC_ROUNDS") ? LOG_DEBUG_ : LOG_ERROR_);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
