/*
 * queue_test.c - the queue on a virtual clock: the way of a message, what an admin does to it, and
 * the bounds. Destinations are in queue_dest_test.c, retries in
 * queue_retry_test.c, random worlds in queue_random_test.c.
 */
#include "tests/unit/queue_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"

/* ---- the way of one message ---- */

static void test_fresh_message_is_delivered_without_reading_the_spool(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    world_add(&w, 0, 1);
    assert_int_equal(world_status(&w).active, 1);
    world_run(&w, 5);
    world_assert_empty(&w);
    assert_int_equal(world_count(&w, END_DELIVERED), 1);
    assert_int_equal(w.loads, 0);
    assert_int_equal(w.decides, 1);
    world_close(&w);
}

static void test_recipients_share_a_delivery_by_destination(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    for (unsigned i = 0; i < 10; i++)
        w.entry[i] = i % 2;
    world_add(&w, 0, 10);
    world_run(&w, 100);
    world_assert_empty(&w);
    assert_int_equal(w.dest[0].started, 1);
    assert_int_equal(w.dest[1].started, 1);
    assert_int_equal(w.dest[0].per_session, 5);
    world_close(&w);
}

static void test_ten_thousand_recipients(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.conf.ready_max = 3;
    world_open(&w);
    unsigned *entry = mem_array(10000, sizeof(*entry));
    for (unsigned i = 0; i < 10000; i++)
        entry[i] = i % WORLD_ENTRIES;
    for (unsigned i = 0; i < WORLD_ENTRIES; i++)
        w.entry[i] = i % 3;
    world_add_entries(&w, entry, 10000);
    mem_free(entry);
    world_run(&w, 60000);
    world_assert_empty(&w);
    assert_int_equal(world_count(&w, END_DELIVERED), 10000);
    assert_int_equal(w.dest[1].per_session, 100);
    assert_true(w.decides < 20000); /* at most twice each, however little is ready at a time */
    world_close(&w);
}

static void test_refused_by_decision_is_reported_once(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.entry[0] = ENTRY_REFUSE;
    w.entry[1] = 1;
    w.entry[2] = 2;
    w.dest[1].be = BE_5XX;
    world_add(&w, 0, 3);
    world_run(&w, 100);
    world_assert_empty(&w);
    assert_int_equal(world_count(&w, END_FAILED), 2);
    assert_int_equal(world_count(&w, END_DELIVERED), 1);
    world_close(&w);
}

static void test_retry_grows_and_jitters(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_4XX;
    uint64_t id = world_add(&w, 0, 1);
    int64_t want = 60000, least = INT64_MAX, most = 0;
    world_run(&w, 5);
    for (unsigned attempt = 1; attempt < 75; attempt++) {
        struct queue_msg_info i = world_info(&w, id);
        assert_int_equal(i.state, QUEUE_WAITING);
        assert_int_equal(i.attempts, attempt);
        assert_string_equal(i.dest, "forest:0.0");
        assert_string_equal(i.last_reply, "450 4.2.0 later 1");
        int64_t wait = i.next_attempt_ms - clock_wall_ms();
        assert_in_range(wait, want * 8 / 10 - 1, want * 12 / 10 + 1);
        least = wait * 100 / want < least ? wait * 100 / want : least;
        most = wait * 100 / want > most ? wait * 100 / want : most;
        world_run(&w, wait + 5);
        assert_int_equal(w.dest[0].started, attempt + 1);
        want = want * 2 < 3600000 ? want * 2 : 3600000;
    }
    assert_true(most > least + 5);
    world_close(&w);
}

static void test_expiry_uses_the_last_reply(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.conf.expire_ms = 3 * 3600000;
    world_open(&w);
    w.dest[0].be = BE_4XX;
    world_add(&w, 0, 2);
    world_run(&w, 3 * 3600000 - 100);
    assert_int_equal(world_count(&w, END_OPEN), 2);
    world_run(&w, 2 * 3600000);
    assert_int_equal(world_count(&w, END_EXPIRED), 2);
    world_assert_empty(&w);
    world_close(&w);
}

static void test_parked_mail_expires_too(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.conf.expire_ms = 3600000;
    w.conf.active_max = 8;
    world_open(&w);
    w.dest[0].be = BE_DEAD;
    for (unsigned i = 0; i < 500; i++)
        world_add(&w, 0, 1);
    world_run(&w, 30 * 60000);
    assert_int_equal(world_count(&w, END_OPEN), 500);
    assert_true(world_status(&w).parked > 480);
    world_run(&w, 40 * 60000);
    assert_int_equal(world_count(&w, END_EXPIRED), 500);
    world_assert_empty(&w);
    world_close(&w);
}

static void test_wall_clock_jump_expires_nothing(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_4XX;
    uint64_t id = world_add(&w, 0, 1);
    world_run(&w, 10);
    /* A year forward, monotonic clock untouched. */
    clock_fake_start(world_now(&w), 1800000000000 + 365ll * 86400000);
    world_run(&w, 3600000);
    assert_int_equal(world_count(&w, END_OPEN), 1);
    /* Recovered with an age that only a jump explains: tried, and for a while. */
    unsigned entry = 1;
    uint64_t old = world_store(&w, &entry, 1);
    world_recover(&w, old, 400ll * 86400000, NULL);
    world_run(&w, 30 * 60000);
    assert_true(world_msg(&w, old)->deliveries > 3);
    assert_int_equal(world_msg(&w, old)->rcpt[0].end, END_OPEN);
    /* Recovered from the future. */
    uint64_t future = world_store(&w, &entry, 1);
    world_recover(&w, future, -86400000, NULL);
    world_run(&w, 4 * 86400000ll);
    assert_int_equal(world_msg(&w, future)->rcpt[0].end, END_OPEN);
    assert_int_equal(world_msg(&w, old)->rcpt[0].end, END_EXPIRED);
    assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_OPEN);
    world_run(&w, 86400000 + 3600000);
    assert_int_equal(world_msg(&w, future)->rcpt[0].end, END_EXPIRED);
    world_close(&w);
}

static void test_null_sender_expires_sooner(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.conf.delay_notice_ms = 3600000;
    world_open(&w);
    w.dest[0].be = BE_4XX;
    w.null_sender = true;
    uint64_t id = world_add(&w, 0, 1);
    world_run(&w, 23 * 3600000);
    assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_OPEN);
    world_run(&w, 3 * 3600000);
    assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_EXPIRED);
    assert_int_equal(world_msg(&w, id)->rcpt[0].delay_reports, 0);
    world_close(&w);
}

static void test_one_delay_notice(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.conf.delay_notice_ms = 4 * 3600000;
    world_open(&w);
    w.dest[0].be = BE_4XX;
    w.dest[1].be = BE_DEAD;
    w.entry[1] = 1;
    uint64_t a = world_add(&w, 0, 1), b = world_add(&w, 1, 1);
    w.fail_reports = 1; /* the first cannot be written and comes again */
    world_run(&w, 4 * 3600000 - 1000);
    assert_int_equal(world_msg(&w, a)->rcpt[0].delay_reports, 0);
    world_run(&w, 20 * 3600000);
    assert_int_equal(world_msg(&w, a)->rcpt[0].delay_reports, 1);
    assert_int_equal(world_msg(&w, b)->rcpt[0].delay_reports, 1);
    assert_int_equal(world_count(&w, END_OPEN), 2);
    world_close(&w);
}

static void test_success_is_reported_before_the_mark(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.send_notices = true;
    uint64_t id = world_add(&w, 0, 3); /* op_report() sees them open, op_mark() ends them */
    world_run(&w, 100);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(world_msg(&w, id)->rcpt[i].success_reports, 1);
    world_assert_empty(&w);
    world_close(&w);
}

static void test_report_that_cannot_be_written_is_tried_again(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.conf.expire_ms = 4 * 3600000;
    world_open(&w);
    w.fail_reports = 3;
    w.entry[0] = ENTRY_REFUSE;
    world_add(&w, 0, 1);
    world_run(&w, 50);
    assert_int_equal(world_count(&w, END_OPEN), 1);
    assert_int_equal(world_status(&w).waiting, 1);
    world_run(&w, 3600000);
    assert_int_equal(world_count(&w, END_FAILED), 1);
    world_assert_empty(&w);
    /* An expired one, too, and without a storm. */
    w.dest[1].be = BE_DEAD;
    w.entry[1] = 1;
    world_add(&w, 1, 1);
    world_run(&w, 4 * 3600000 - 60000);
    w.fail_reports = 4;
    uint64_t before = w.loads;
    world_run(&w, 8 * 3600000ll);
    assert_int_equal(world_count(&w, END_EXPIRED), 1);
    assert_true(w.loads - before < 20);
    world_assert_empty(&w);
    /* A disk that stays full: asked now and then. */
    w.conf.delay_notice_ms = 3600000;
    queue_reconfigure(w.q, &w.conf);
    world_add(&w, 1, 1);
    world_run(&w, 2 * 3600000);
    w.fail_reports = 100000;
    world_run(&w, 12 * 3600000ll);
    assert_in_range(100000 - w.fail_reports, 1, 100);
    w.fail_reports = 0;
    world_run(&w, 2 * 3600000);
    world_assert_empty(&w);
    world_close(&w);
}

static void test_unreadable_and_missing_messages(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    unsigned entry = 0;
    uint64_t a = world_store(&w, &entry, 1), b = world_store(&w, &entry, 1);
    world_msg(&w, b)->gone = true;
    w.fail_loads = 3;
    world_recover(&w, a, 0, NULL);
    world_run(&w, 100);
    assert_int_equal(world_info(&w, a).state, QUEUE_WAITING);
    world_run(&w, 600000);
    assert_int_equal(world_msg(&w, a)->rcpt[0].end, END_DELIVERED);
    world_recover(&w, b, 0, NULL);
    world_run(&w, 100);
    assert_int_equal(world_status(&w).messages, 0);
    /* Damaged: held for a person. */
    uint64_t c = world_store(&w, &entry, 1);
    world_recover(&w, c, 0, NULL);
    memset(world_msg(&w, c)->envelope, 0xff, world_msg(&w, c)->envelope_n);
    world_run(&w, 1000);
    assert_int_equal(world_info(&w, c).state, QUEUE_HELD);
    queue_add(w.q, 99, STR("nonsense"), 1, false);
    assert_int_equal(queue_act(w.q, 99, QUEUE_RETRY), QUEUE_NOT_THERE);
    world_close(&w);
}

/* ---- admin ---- */

static bool count_one(void *arg, const struct queue_msg_info *m)
{
    (void)m;
    ++*(unsigned *)arg;
    return true;
}

static void test_hold_release_retry_remove(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_DEAD;
    w.dest[1].be = BE_4XX;
    w.dest[2].latency = 1000;
    for (unsigned i = 0; i < 60; i++)
        w.entry[i] = i % 3;
    for (unsigned i = 0; i < 60; i++)
        world_add(&w, i, 1);
    world_run(&w, 100);
    for (uint64_t id = 1; id <= 60; id++)
        assert_int_equal(queue_act(w.q, id, QUEUE_HOLD), QUEUE_ACTED);
    assert_int_equal(queue_act(w.q, 1, QUEUE_HOLD), QUEUE_LEFT);
    assert_int_equal(queue_act(w.q, 1, QUEUE_RETRY), QUEUE_LEFT);
    world_run(&w, 3000); /* what was in hand ends, what was ready is taken back */
    assert_int_equal(world_status(&w).held, world_status(&w).messages);
    assert_int_equal(w.dest[2].started, 5);
    assert_int_equal(world_count(&w, END_DELIVERED), 5);
    world_run(&w, 10 * 86400000ll);
    assert_int_equal(world_count(&w, END_OPEN), 55); /* no expiry either */
    uint64_t loads = w.loads;
    for (unsigned i = 0; i < 60; i++)
        world_flip(&w, i, i % 3, true);
    world_run(&w, 100);
    assert_int_equal(w.loads, loads); /* decided when it is released */

    assert_int_equal(queue_act(w.q, 58, QUEUE_REMOVE), QUEUE_ACTED);
    assert_int_equal(queue_act(w.q, 59, QUEUE_REMOVE_WITH_DSN), QUEUE_ACTED);
    assert_int_equal(queue_act(w.q, 12345, QUEUE_REMOVE), QUEUE_NOT_THERE);
    world_run(&w, 100);
    assert_int_equal(world_count(&w, END_REMOVED), 2);

    w.dest[0].be = w.dest[1].be = BE_WELL;
    for (uint64_t id = 1; id <= 60; id++)
        (void)queue_act(w.q, id, QUEUE_RELEASE);
    world_run(&w, 60000);
    assert_int_equal(world_count(&w, END_DELIVERED), 58); /* none expires for having been held */
    world_assert_empty(&w);
    world_close(&w);
}

/* Mail that was held for longer than its lifetime is tried when it is released, however little room
 * there is, and has its lifetime before it; also when it was held over a restart. */
static void test_released_mail_has_its_lifetime_before_it(void **state)
{
    (void)state;
    struct world w;
    struct queue_msg_info i;
    unsigned entry = 0;
    world_init(&w);
    w.conf.active_max = 4;
    w.conf.ready_max = 2;
    w.conf.delay_notice_ms = 4 * 3600000;
    world_open(&w);
    for (unsigned k = 0; k < 100; k++) {
        uint64_t id = world_store(&w, &entry, 1);
        world_msg(&w, id)->held = true;
        world_recover(&w, id, k % 2 ? 1000 : 30 * 86400000ll, NULL);
    }
    world_run(&w, 20 * 86400000ll);
    w.dest[0].be = BE_DEAD;
    for (uint64_t id = 1; id <= 100; id++)
        assert_int_equal(queue_act(w.q, id, QUEUE_RELEASE), QUEUE_ACTED);
    assert_true(queue_info(w.q, 2, &i));
    assert_true(i.arrival_ms < clock_wall_ms() - 19 * 86400000ll); /* as old as before */
    world_run(&w, 4 * 3600000 - 1000);
    for (uint64_t id = 1; id <= 100; id++)
        assert_int_equal(world_msg(&w, id)->rcpt[0].delay_reports, 0);
    w.dest[0].be = BE_WELL;
    world_run(&w, 600000);
    assert_int_equal(world_count(&w, END_DELIVERED), 100);
    world_assert_empty(&w);
    /* The lifetime that begins is a whole one, and it ends. */
    w.dest[0].be = BE_4XX;
    uint64_t last = world_add(&w, 0, 1);
    assert_int_equal(queue_act(w.q, last, QUEUE_RELEASE), QUEUE_LEFT);
    assert_int_equal(queue_act(w.q, last, QUEUE_HOLD), QUEUE_ACTED);
    world_run(&w, 6 * 86400000ll);
    assert_int_equal(queue_act(w.q, last, QUEUE_RELEASE), QUEUE_ACTED);
    world_run(&w, 5 * 86400000ll - 1000);
    assert_int_equal(world_msg(&w, last)->rcpt[0].end, END_OPEN);
    assert_int_equal(world_msg(&w, last)->rcpt[0].delay_reports, 1);
    world_run(&w, 2000);
    assert_int_equal(world_msg(&w, last)->rcpt[0].end, END_EXPIRED);
    world_close(&w);
}

static void test_retry_probes_a_closed_destination_now(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_DEAD;
    for (unsigned i = 0; i < 30; i++)
        world_add(&w, i, 1);
    world_run(&w, 1000);
    w.dest[0].be = BE_WELL;
    assert_int_equal(queue_act(w.q, 20, QUEUE_RETRY_FIRST), QUEUE_ACTED);
    world_run(&w, 10);
    assert_int_equal(world_msg(&w, 20)->rcpt[0].end, END_DELIVERED);
    world_run(&w, 1000);
    assert_true(world_count(&w, END_DELIVERED) >= 28);
    world_close(&w);
}

static void test_remove_while_in_hand(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.entry[1] = 1;
    w.dest[0].latency = w.dest[1].latency = 100;
    w.dest[1].be = BE_4XX;
    uint64_t id = world_add(&w, 0, 2), other = world_add(&w, 0, 2);
    world_run(&w, 50);
    assert_int_equal(queue_act(w.q, id, QUEUE_REMOVE), QUEUE_ACTED);
    assert_int_equal(queue_act(w.q, other, QUEUE_REMOVE_WITH_DSN), QUEUE_ACTED);
    world_run(&w, 200);
    assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_DELIVERED);
    assert_int_equal(world_msg(&w, id)->rcpt[1].end, END_REMOVED);
    assert_int_equal(world_msg(&w, other)->rcpt[1].end, END_REMOVED);
    world_assert_empty(&w);
    world_close(&w);
}

/* Parked mail that is to be removed is not delivered, though its report must wait for a free place
 * in the active set. */
static void test_removed_with_a_report_while_parked(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.conf.active_max = 4;
    w.conf.window_initial = w.conf.window_max = w.conf.ready_max = 1;
    world_open(&w);
    w.dest[0].latency = 50;
    for (unsigned i = 0; i < 50; i++)
        world_add(&w, i, 1);
    world_run(&w, 20);
    assert_true(world_status(&w).parked > 40);
    for (uint64_t id = 1; id <= 50; id++)
        assert_int_equal(queue_act(w.q, id, QUEUE_REMOVE_WITH_DSN), QUEUE_ACTED);
    world_run(&w, 60000);
    assert_int_equal(world_count(&w, END_DELIVERED), 1); /* it was in hand */
    assert_int_equal(world_count(&w, END_REMOVED), 49);
    world_assert_empty(&w);
    world_close(&w);
}

static bool goes_to(struct world *w, uint64_t id, const char *dest)
{
    char printed[280];
    return queue_goes_to(w->q, id, dest, printed, sizeof(printed));
}

/* Of a message to two destinations only those leave who go to the one that was named, whatever
 * state they and the message are in. */
static void test_removed_at_one_destination(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 8; k++) {
        bool dsn = k & 1, held = k & 2, in_hand = k & 4;
        struct world w;
        world_init(&w);
        world_open(&w);
        for (unsigned i = 0; i < 6; i++)
            w.entry[i] = i % 2;
        w.dest[0].be = w.dest[1].be = BE_4XX;
        w.dest[0].latency = w.dest[1].latency = 50;
        uint64_t id = world_add(&w, 0, 6);
        world_run(&w, in_hand ? 20 : 100);
        if (held)
            assert_int_equal(queue_act(w.q, id, QUEUE_HOLD), QUEUE_ACTED);
        assert_true(goes_to(&w, id, "forest:0.0") && goes_to(&w, id, "FOREST:1.0"));
        assert_false(goes_to(&w, id, "forest:2.0") || goes_to(&w, id + 1, "forest:0.0"));
        assert_false(queue_remove_at(w.q, id, "forest:2.0", dsn));
        assert_true(queue_remove_at(w.q, id, "forest:1.0", dsn));
        world_run(&w, 100);
        for (unsigned i = 0; i < 6; i++)
            assert_int_equal(world_msg(&w, id)->rcpt[i].end, i % 2 ? END_REMOVED : END_OPEN);
        assert_int_equal(world_info(&w, id).n_rcpt_left, 3);
        assert_int_equal(world_info(&w, id).state, held ? QUEUE_HELD : QUEUE_WAITING);
        assert_int_equal(w.dest[0].started, 1);
        if (held)
            assert_int_equal(queue_act(w.q, id, QUEUE_RELEASE), QUEUE_ACTED);
        w.dest[0].be = BE_WELL;
        world_run(&w, 120000);
        assert_int_equal(world_count(&w, END_DELIVERED), 3);
        assert_int_equal(w.dest[1].started, 1);
        world_assert_empty(&w);
        world_close(&w);
    }
}

/* The report cannot be written at first: what is to be removed waits for it and is not tried. */
static void test_removed_when_the_report_is_written(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.entry[1] = 1;
    w.dest[0].be = w.dest[1].be = BE_4XX;
    uint64_t id = world_add(&w, 0, 2);
    world_run(&w, 100);
    w.fail_reports = 2;
    w.dest[1].be = BE_WELL;
    assert_true(queue_remove_at(w.q, id, "forest:1.0", true));
    world_run(&w, 1000);
    assert_int_equal(w.fail_reports, 1);
    world_flip(&w, 1, 2, true);
    assert_int_equal(queue_act(w.q, id, QUEUE_HOLD), QUEUE_ACTED);
    world_run(&w, 86400000);
    assert_int_equal(world_msg(&w, id)->rcpt[1].end, END_REMOVED);
    assert_int_equal(world_info(&w, id).state, QUEUE_HELD);
    assert_int_equal(queue_act(w.q, id, QUEUE_REMOVE), QUEUE_ACTED);
    assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_REMOVED);
    assert_int_equal(w.dest[1].started, 1);
    assert_int_equal(w.dest[2].started, 0);
    world_assert_empty(&w);
    world_close(&w);
}

static void test_listing(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_4XX;
    for (unsigned i = 0; i < 3000; i++)
        world_add(&w, i % 1000, 1);
    world_run(&w, 30000);
    unsigned n = 0, steps = 0;
    queue_list(w.q, count_one, &n);
    assert_int_equal(n, 3000);
    uint32_t cursor = 0;
    n = 0;
    while (queue_list_some(w.q, &cursor, 100, count_one, &n))
        steps++;
    assert_int_equal(n, 3000);
    assert_in_range(steps, 29, 31);
    n = 0;
    queue_list_rcpt(w.q, world_entry_hash(7), count_one, &n);
    assert_int_equal(n, 3);
    n = 0;
    queue_list_rcpt(w.q, world_entry_hash(2000), count_one, &n);
    assert_int_equal(n, 0);
    /* Whoever of those with the same recipient leaves, the others are found. */
    assert_int_equal(queue_act(w.q, 8, QUEUE_REMOVE), QUEUE_ACTED);
    queue_list_rcpt(w.q, world_entry_hash(7), count_one, &n);
    assert_int_equal(n, 2);
    assert_int_equal(queue_act(w.q, 2008, QUEUE_REMOVE), QUEUE_ACTED);
    queue_list_rcpt(w.q, world_entry_hash(7), count_one, &n);
    assert_int_equal(n, 2 + 1);
    world_close(&w);
}

/* ---- bounds ---- */

static void test_active_set_is_bounded(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.conf.active_max = 20;
    w.conf.ready_max = 5;
    world_open(&w);
    for (unsigned i = 0; i < 2000; i++) {
        w.entry[i] = i % 40;
        world_add(&w, i, 1);
        assert_true(world_status(&w).active <= 20);
    }
    for (unsigned i = 0; i < 1000 && world_status(&w).messages > 0; i++) {
        world_run(&w, 1);
        assert_true(world_status(&w).active <= 20);
    }
    world_run(&w, 10000);
    world_assert_empty(&w);
    world_close(&w);
}

static void test_memory_of_a_waiting_message(void **state)
{
    (void)state;
    struct world w;
    const unsigned n = 262144;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_DEAD;
    for (unsigned i = 0; i < 100; i++)
        world_add(&w, i, 1);
    world_run(&w, 1000);
    for (unsigned i = 0; i < n; i++)
        world_add(&w, 0, 1);
    uint64_t per = world_status(&w).memory_bytes / n;
    printf("    %" PRIu64 " bytes of index per parked message\n", per);
    assert_int_equal(world_status(&w).messages, n + 100);
    assert_true(per <= 180);
    /* One mailbox and one line have them all, and any leaves at once: some milliseconds here; many
     * seconds if each were looked for among the others. */
    clock_t began = clock();
    for (unsigned i = 0; i < n; i++)
        assert_true(queue_act(w.q, 101 + (i * 7919ull) % n, QUEUE_REMOVE));
    world_run(&w, 1);
    assert_true(clock() - began < 10 * CLOCKS_PER_SEC);
    assert_int_equal(world_status(&w).messages, 100);
    assert_int_equal(world_count(&w, END_REMOVED), n);
    world_close(&w);
}

static void test_different_replies_do_not_pile_up(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.conf.active_max = 5000;
    w.conf.window_initial = w.conf.window_max = 200;
    world_open(&w);
    w.dest[0].be = BE_4XX; /* a different text for each message */
    w.long_replies = true;
    for (unsigned i = 0; i < 40000; i++)
        world_add(&w, i % WORLD_ENTRIES, 1);
    world_run(&w, 2000);
    assert_int_equal(world_status(&w).messages, 40000);
    assert_int_equal(world_info(&w, 1).attempts, 1);
    assert_true(world_status(&w).memory_bytes < 40000 * 160ull + (6u << 20));
    world_close(&w);
}

static void test_draining(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].latency = 100;
    for (unsigned i = 0; i < 50; i++)
        world_add(&w, i, 1);
    world_run(&w, 50);
    assert_int_equal(queue_in_hand(w.q), 5);
    queue_drain(w.q);
    world_add(&w, 60, 1);
    unsigned entry = 61;
    world_recover(&w, world_store(&w, &entry, 1), 0, NULL);
    world_run(&w, 1000);
    assert_int_equal(w.loads, 0);
    assert_int_equal(queue_in_hand(w.q), 0);
    assert_int_equal(world_count(&w, END_DELIVERED), 5);
    assert_int_equal(world_status(&w).messages, 47);
    world_close(&w);
}

static void test_freed_with_everything_in_hand(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_HANG;
    w.dest[1].be = BE_DEAD;
    for (unsigned i = 0; i < 100; i++) {
        w.entry[i] = i % 4 == 3 ? ENTRY_REFUSE : i % 2;
        world_add(&w, i, 2);
    }
    world_run(&w, 0); /* reports and deliveries are under way */
    assert_true(w.in_hand > 0 && w.reports > 0);
    world_close(&w);
}

static void test_recovered_messages_know_what_was_done(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    unsigned entry[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
    uint8_t done[2] = {0x0f, 0x04};
    uint64_t id = world_store(&w, entry, 12);
    world_recover(&w, id, 1000, done);
    assert_int_equal(world_info(&w, id).n_rcpt, 12);
    assert_int_equal(world_info(&w, id).n_rcpt_left, 7);
    world_run(&w, 100);
    assert_int_equal(world_count(&w, END_DELIVERED), 7);
    assert_int_equal(world_msg(&w, id)->rcpt[10].end, END_OPEN);
    assert_int_equal(world_status(&w).messages, 0);
    /* Held before, held now. */
    uint64_t held = world_store(&w, entry, 1);
    world_msg(&w, held)->held = true;
    world_recover(&w, held, 1000, NULL);
    world_run(&w, 100);
    assert_int_equal(world_info(&w, held).state, QUEUE_HELD);
    assert_int_equal(queue_act(w.q, held, QUEUE_RELEASE), QUEUE_ACTED);
    world_run(&w, 100);
    assert_int_equal(world_msg(&w, held)->rcpt[0].end, END_DELIVERED);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh_message_is_delivered_without_reading_the_spool),
        cmocka_unit_test(test_recipients_share_a_delivery_by_destination),
        cmocka_unit_test(test_ten_thousand_recipients),
        cmocka_unit_test(test_refused_by_decision_is_reported_once),
        cmocka_unit_test(test_retry_grows_and_jitters),
        cmocka_unit_test(test_expiry_uses_the_last_reply),
        cmocka_unit_test(test_parked_mail_expires_too),
        cmocka_unit_test(test_wall_clock_jump_expires_nothing),
        cmocka_unit_test(test_null_sender_expires_sooner),
        cmocka_unit_test(test_one_delay_notice),
        cmocka_unit_test(test_success_is_reported_before_the_mark),
        cmocka_unit_test(test_report_that_cannot_be_written_is_tried_again),
        cmocka_unit_test(test_unreadable_and_missing_messages),
        cmocka_unit_test(test_hold_release_retry_remove),
        cmocka_unit_test(test_released_mail_has_its_lifetime_before_it),
        cmocka_unit_test(test_retry_probes_a_closed_destination_now),
        cmocka_unit_test(test_remove_while_in_hand),
        cmocka_unit_test(test_removed_with_a_report_while_parked),
        cmocka_unit_test(test_removed_at_one_destination),
        cmocka_unit_test(test_removed_when_the_report_is_written),
        cmocka_unit_test(test_listing),
        cmocka_unit_test(test_active_set_is_bounded),
        cmocka_unit_test(test_memory_of_a_waiting_message),
        cmocka_unit_test(test_different_replies_do_not_pile_up),
        cmocka_unit_test(test_draining),
        cmocka_unit_test(test_freed_with_everything_in_hand),
        cmocka_unit_test(test_recovered_messages_know_what_was_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
