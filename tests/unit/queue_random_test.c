/*
 * queue_random_test.c - worlds in which everything happens at random: sick and well next hops that
 * change their minds, flips of the directory, failing disks and reports, an admin who meddles. At
 * the end all gets well, and then every recipient must have ended exactly once, nothing may be
 * left, and no bound may have been passed (the world checks each step).
 */
#include "tests/unit/queue_world.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"

static void meddle(struct world *w)
{
    uint64_t id = 1 + world_random(w->n_msg);
    static const enum queue_action act[] = {QUEUE_HOLD,           QUEUE_RELEASE,     QUEUE_RELEASE,
                                            QUEUE_RETRY,          QUEUE_RETRY_FIRST, QUEUE_REMOVE,
                                            QUEUE_REMOVE_WITH_DSN};
    enum queue_action a = act[world_random(ARRAY_LEN(act))];
    struct queue_msg_info i;
    bool there = queue_info(w->q, id, &i);
    if (world_random(8) == 0)
        queue_retry_dest(w->q, there && world_random(2) ? i.dest : NULL);
    if (there && world_random(8) == 0) {
        (void)queue_remove_at(w->q, id, i.dest, world_random(2));
        return;
    }
    assert_int_equal(queue_act(w->q, id, a) != QUEUE_NOT_THERE, there);
}

static unsigned random_target(unsigned dests)
{
    unsigned k = world_random(40);
    return k == 0 ? ENTRY_REFUSE : k == 1 ? ENTRY_DEFER : world_random(dests);
}

static void one_event(struct world *w, unsigned dests)
{
    switch (world_random(12)) {
    case 0: {
        unsigned d = world_random(dests);
        w->dest[d].be = (enum behaviour)world_random(BE_RANDOM + 1);
        w->dest[d].latency = 1 + world_random(200);
        world_release(w, d);
        break;
    }
    case 1:
        world_flip(w, world_random(100), random_target(dests), true);
        break;
    case 2:
        if (world_random(10) == 0)
            w->fail_loads = world_random(10);
        if (world_random(10) == 0)
            w->fail_reports = world_random(10);
        break;
    case 3:
        if (w->n_msg > 0)
            meddle(w);
        break;
    case 4:
        if (world_random(20) == 0) {
            w->conf.active_max = 4 + world_random(100);
            w->conf.ready_max = 1 + world_random(20);
            queue_reconfigure(w->q, &w->conf);
        }
        break;
    case 5:
        if (world_random(20) == 0)
            queue_directory_changed(w->q, NULL, 0, true);
        break;
    case 6:
        world_run(w, world_random(20) == 0 ? 600000 : 500);
        break;
    case 7:
    case 8: {
        unsigned entry[12], n = 1 + world_random(12);
        for (unsigned i = 0; i < n; i++)
            entry[i] = world_random(100);
        w->send_notices = world_random(2);
        w->null_sender = world_random(4) == 0;
        uint64_t id = world_store(w, entry, n);
        world_recover(w, id, world_random(100000000), NULL);
        break;
    }
    default:
        w->null_sender = false;
        world_add(w, world_random(100), 1 + world_random(3));
    }
}

/* Shorter than any lifetime. */
#define WELL_MS (30 * 60000)

/* May it not expire yet? What is held never does, and its lifetime begins with its release. */
static bool has_time(const struct world *w, const struct queue_msg_info *i)
{
    int64_t lifetime =
        w->conf.expire_ms < w->conf.expire_dsn_ms ? w->conf.expire_ms : w->conf.expire_dsn_ms;
    return i->state == QUEUE_HELD || clock_wall_ms() + WELL_MS < i->arrival_ms + lifetime;
}

static void release_and_retry_all(struct world *w)
{
    bool *timely = mem_array(w->n_msg, sizeof(*timely));
    for (uint64_t id = 1; id <= w->n_msg; id++) {
        struct queue_msg_info i;
        timely[id - 1] = queue_info(w->q, id, &i) && has_time(w, &i);
        (void)queue_act(w->q, id, QUEUE_RELEASE);
        (void)queue_act(w->q, id, QUEUE_RETRY);
    }
    world_run(w, WELL_MS);
    for (uint64_t id = 1; id <= w->n_msg; id++)
        for (unsigned k = 0; k < world_msg(w, id)->n_rcpt && timely[id - 1]; k++)
            if (world_msg(w, id)->rcpt[k].end == END_EXPIRED)
                fail_msg("message %u expired before its time", (unsigned)id);
    mem_free(timely);
}

static void everything_gets_well(struct world *w, unsigned dests)
{
    w->fail_loads = w->fail_reports = 0;
    for (unsigned d = 0; d < dests; d++) {
        w->dest[d].be = BE_WELL;
        w->dest[d].latency = 5;
        world_release(w, d);
    }
    for (unsigned i = 0; i < 100; i++) {
        if (w->entry[i] == ENTRY_DEFER)
            world_flip(w, i, 0, true);
    }
    world_run(w, 10); /* reports that are being written end */
    release_and_retry_all(w);
    world_run(w, 6 * 86400000ll);
}

static void run_world(unsigned seed)
{
    struct world w;
    struct queue_status s;
    world_init(&w);
    world_seed(seed + 1);
    unsigned dests = 1 + world_random(12);
    w.conf.active_max = 1 + world_random(60);
    w.conf.window_initial = 1 + world_random(5);
    w.conf.window_max = w.conf.window_initial + world_random(10);
    w.conf.ready_max = 1 + world_random(10);
    w.conf.rcpt_per_delivery_max = 1 + world_random(5);
    w.conf.delay_notice_ms = world_random(2) * 3600000;
    w.conf.expire_ms = 3600000ll * (1 + world_random(100));
    w.conf.retry_other_claimant = world_random(4) != 0;
    w.report_max = 1 + world_random(20);
    w.by_other_key = world_random(3) == 0;
    for (unsigned i = 0; i < 100; i++) {
        w.entry[i] = random_target(dests);
        w.other[i] = world_random(dests); /* 0: nobody */
    }
    world_open(&w);
    for (unsigned i = 0; i < 600; i++) {
        one_event(&w, dests);
        queue_status(w.q, &s);
        assert_int_equal(s.messages, s.active + s.waiting + s.parked + s.held);
    }
    everything_gets_well(&w, dests);
    queue_status(w.q, &s);
    if (s.messages != 0 || world_count(&w, END_OPEN) != 0)
        fail_msg("seed %u: %u recipients are still open, %u messages in the queue", seed,
                 world_count(&w, END_OPEN), (unsigned)s.messages);
    for (unsigned i = 0; i < w.n_msg; i++) {
        for (unsigned k = 0; k < w.msg[i].n_rcpt; k++) {
            assert_in_range(w.msg[i].rcpt[k].delay_reports, 0, 1);
            assert_in_range(w.msg[i].rcpt[k].success_reports, 0, 1);
        }
    }
    world_close(&w);
}

static void test_every_recipient_ends_exactly_once(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 150; seed++)
        run_world(seed);
}

/* The same worlds, given up in the middle. */
static void test_given_up_at_any_moment(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 100; seed++) {
        struct world w;
        world_init(&w);
        world_seed(seed + 1000);
        w.conf.active_max = 30;
        world_open(&w);
        for (unsigned i = 0; i < 100; i++)
            w.entry[i] = random_target(8);
        for (unsigned i = 0; i < 10 + seed * 3; i++)
            one_event(&w, 8);
        world_close(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_recipient_ends_exactly_once),
        cmocka_unit_test(test_given_up_at_any_moment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
