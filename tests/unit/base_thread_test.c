/*
 * base_thread_test.c - what threads share: the channel and the counters. Run under TSan too.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/chan.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/stats.h"

enum {
    SENDERS = 4,
    EACH = 5000
};

struct message {
    struct chan_node node;
    int sender;
    int number;
};

struct sender {
    struct chan *chan;
    int id;
};

/* Only touched by the receiving thread. */
static int expected[SENDERS];
static int out_of_order;

static void receive(struct chan_node *node)
{
    struct message *m = CONTAINER_OF(node, struct message, node);
    if (m->number != expected[m->sender])
        out_of_order++;
    expected[m->sender]++;
    mem_free(m);
}

static void *send_all(void *arg)
{
    struct sender *s = arg;
    for (int i = 0; i < EACH; i++) {
        struct message *m = NEW(struct message);
        m->node.run = receive;
        m->sender = s->id;
        m->number = i;
        chan_send(s->chan, &m->node);
    }
    return NULL;
}

static bool is_readable(struct chan *c)
{
    struct pollfd p = {.fd = chan_fd(c), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static void start(struct chan *c, pthread_t t[SENDERS], struct sender s[SENDERS])
{
    out_of_order = 0;
    for (int i = 0; i < SENDERS; i++) {
        expected[i] = 0;
        s[i] = (struct sender){.chan = c, .id = i};
        assert_int_equal(pthread_create(&t[i], NULL, send_all, &s[i]), 0);
    }
}

static void finish(struct chan *c, pthread_t t[SENDERS])
{
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(expected[i], EACH);
    }
    assert_int_equal(out_of_order, 0);
    chan_free(&c);
}

/* The receiver sleeps whenever the channel says that it is empty: a lost wake-up would show as a
 * time-out. */
static void chan_many_senders_drain(void **state)
{
    (void)state;
    struct chan *c = chan_new();
    pthread_t t[SENDERS];
    struct sender s[SENDERS];
    start(c, t, s);
    for (unsigned got = 0; got < SENDERS * EACH;) {
        struct pollfd p = {.fd = chan_fd(c), .events = POLLIN};
        assert_int_equal(poll(&p, 1, 20000), 1);
        got += chan_drain(c);
    }
    finish(c, t);
}

static void chan_many_senders_take(void **state)
{
    (void)state;
    struct chan *c = chan_new();
    pthread_t t[SENDERS];
    struct sender s[SENDERS];
    start(c, t, s);
    for (unsigned got = 0; got < SENDERS * EACH;) {
        chan_wait(c, 20000);
        struct chan_node *n = chan_take(c);
        while (n != NULL) {
            struct chan_node *next = n->next;
            receive(n);
            n = next;
            got++;
        }
    }
    finish(c, t);
}

static struct chan *loop_chan;
static int runs;

static void send_again(struct chan_node *node)
{
    if (++runs < 3)
        chan_send(loop_chan, node);
}

/* What is sent while draining waits for the next call, and the eventfd says so. */
static void chan_send_from_run(void **state)
{
    (void)state;
    struct chan_node n = {.run = send_again};
    loop_chan = chan_new();
    runs = 0;
    assert_false(is_readable(loop_chan));
    assert_int_equal(chan_drain(loop_chan), 0);
    chan_send(loop_chan, &n);
    for (int i = 1; i <= 3; i++) {
        assert_true(is_readable(loop_chan));
        assert_int_equal(chan_drain(loop_chan), 1);
        assert_int_equal(runs, i);
    }
    assert_false(is_readable(loop_chan));
    chan_free(&loop_chan);
    assert_null(loop_chan);
    chan_free(&loop_chan);
}

static void chan_wait_times_out(void **state)
{
    (void)state;
    struct chan *c = chan_new();
    int64_t before = clock_mono_ms();
    chan_wait(c, 20);
    assert_true(clock_mono_ms() - before >= 19);
    struct chan_node n = {.run = send_again};
    chan_send(c, &n);
    chan_wait(c, -1);
    assert_ptr_equal(chan_take(c), &n);
    chan_free(&c);
}

static void *count(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++) {
        stats_inc(STAT_dns_queries);
        stats_add(STAT_queue_messages, i % 2 == 0 ? 3 : -3);
    }
    stats_add(STAT_queue_messages, 1);
    return NULL;
}

static void stats_sum_over_threads(void **state)
{
    (void)state;
    int64_t counter = stats_read(STAT_dns_queries), gauge = stats_read(STAT_queue_messages);
    for (int round = 1; round <= 3; round++) { /* later rounds use the slots of ended threads */
        pthread_t t[4];
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&t[i], NULL, count, NULL), 0);
        stats_inc(STAT_dns_queries);
        stats_read(STAT_dns_queries); /* while they count */
        for (int i = 0; i < 4; i++)
            pthread_join(t[i], NULL);
        assert_int_equal(stats_read(STAT_dns_queries) - counter, round * 4001);
        assert_int_equal(stats_read(STAT_queue_messages) - gauge, round * 4);
    }
    assert_int_equal(stats_read(STAT_dsn_sent), 0);
}

/* Names become metric names: each present, lower case, once, with a help text and a unit. */
static void stats_table_is_complete(void **state)
{
    (void)state;
    for (int i = 0; i < STAT_COUNT; i++) {
        const struct stat_info *info = &stat_info[i];
        assert_true(info->name[0] != '\0');
        for (const char *p = info->name; *p != '\0'; p++)
            assert_true((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9') || *p == '_');
        assert_true(strlen(info->help) >= 10);
        assert_true(info->unit[0] != '\0');
        assert_true(info->kind == STAT_COUNTER || info->kind == STAT_GAUGE);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(info->name, stat_info[j].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chan_many_senders_drain), cmocka_unit_test(chan_many_senders_take),
        cmocka_unit_test(chan_send_from_run),      cmocka_unit_test(chan_wait_times_out),
        cmocka_unit_test(stats_sum_over_threads),  cmocka_unit_test(stats_table_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
