/*
 * queue_retry_test.c - the queue on a virtual clock: an admin wants mail to be tried now, while its
 * destination is closed for long.
 */
#include "tests/unit/queue_world.h"

/* Message 1 waits for its time, 2 to n + 1 are parked, and the destination is closed for long. */
static void close_it(struct world *w, unsigned n)
{
    world_init(w);
    w->conf.dest_backoff_min_ms = w->conf.dest_backoff_max_ms = 3600000;
    world_open(w);
    w->dest[0].be = BE_4XX;
    world_add(w, 0, 1);
    world_run(w, 10);
    w->dest[0].be = BE_DEAD;
    for (unsigned i = 0; i < n; i++)
        world_add(w, i, 1);
    world_run(w, 100);
    struct queue_dest_info d;
    assert_true(world_dest_info(w, 0, &d));
    assert_true(d.closed_for_ms > 0);
    struct queue_msg_info i;
    assert_true(queue_info(w->q, 1, &i));
    assert_int_equal(i.state, QUEUE_WAITING);
    w->n_order_log = 0;
}

static void test_retry_of_a_waiting_message_probes(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 2; first++) {
        struct world w;
        close_it(&w, 30);
        w.dest[0].be = BE_WELL;
        assert_int_equal(queue_act(w.q, 1, first ? QUEUE_RETRY_FIRST : QUEUE_RETRY), QUEUE_ACTED);
        world_run(&w, 50);
        assert_true(w.order_log[0] == 1 || !first);
        assert_true(w.dest[0].confirmed > 0);
        world_run(&w, 1000);
        assert_int_equal(world_msg(&w, 1)->rcpt[0].end, END_DELIVERED);
        assert_int_equal(world_count(&w, END_OPEN), 2); /* not closed when they failed */
        world_close(&w);
    }
}

static void test_retry_of_all_keeps_the_order(void **state)
{
    (void)state;
    struct world w;
    unsigned inversions = 0;
    close_it(&w, 300);
    w.dest[0].be = BE_WELL;
    for (uint64_t id = 1; id <= w.n_msg; id++)
        assert_int_equal(queue_act(w.q, id, QUEUE_RETRY), QUEUE_ACTED);
    world_run(&w, 10000);
    assert_int_equal(world_count(&w, END_OPEN), 0);
    assert_int_equal(w.n_order_log, 301);
    for (unsigned i = 1; i < w.n_order_log; i++)
        inversions += w.order_log[i] < w.order_log[i - 1];
    assert_in_range(inversions, 0, 5);
    world_close(&w);
}

/* The attempt in hand began before the admin's word: its failure does not undo that. */
static void test_retry_while_an_attempt_is_in_hand(void **state)
{
    (void)state;
    struct world w;
    close_it(&w, 30);
    w.dest[0].be = BE_HANG;
    queue_retry_dest(w.q, "forest:0.0");
    world_run(&w, 10);
    assert_int_equal(w.dest[0].in_hand, 1);
    unsigned started = w.dest[0].started;
    uint64_t tried = w.order_log[0];
    assert_int_equal(queue_act(w.q, tried, QUEUE_RETRY_FIRST), QUEUE_ACTED);
    world_release(&w, 0);
    world_run(&w, 10);
    assert_int_equal(w.dest[0].started, started + 1);
    assert_int_equal(w.order_log[1], tried);
    world_release(&w, 0); /* remembered once */
    world_run(&w, 1000);
    assert_int_equal(w.dest[0].started, started + 1);
    struct queue_dest_info d;
    assert_true(world_dest_info(&w, 0, &d));
    assert_true(d.closed_for_ms > 0);
    world_close(&w);

    /* An open one that puts each recipient off. */
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_4XX;
    w.dest[0].latency = 100;
    uint64_t id = world_add(&w, 0, 1);
    world_run(&w, 50);
    assert_int_equal(queue_act(w.q, id, QUEUE_RETRY), QUEUE_ACTED);
    world_run(&w, 100);
    assert_int_equal(w.dest[0].started, 2);
    world_run(&w, 30000);
    assert_int_equal(w.dest[0].started, 2);
    world_close(&w);
}

static void test_retry_of_a_destination_that_nothing_waits_for(void **state)
{
    (void)state;
    for (unsigned all = 0; all < 2; all++) {
        struct world w;
        close_it(&w, 30);
        for (uint64_t id = 1; id <= w.n_msg; id++)
            (void)queue_act(w.q, id, QUEUE_REMOVE);
        assert_int_equal(world_count(&w, END_OPEN), 0);
        w.dest[0].be = BE_WELL;
        queue_retry_dest(w.q, all ? NULL : "Forest:0.0");
        uint64_t id = world_add(&w, 0, 1);
        world_run(&w, 10);
        assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_DELIVERED);
        world_close(&w);
    }
}

/* Probes that an admin asks for do not make the back-off longer. */
static void test_retry_leaves_the_backoff(void **state)
{
    (void)state;
    struct world w;
    struct queue_dest_info d;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_DEAD;
    for (unsigned i = 0; i < 30; i++)
        world_add(&w, i, 1);
    world_run(&w, 100);
    for (unsigned i = 0; i < 20; i++) {
        queue_retry_dest(w.q, NULL);
        queue_retry_dest(w.q, NULL);
        world_run(&w, 20);
    }
    assert_true(world_dest_info(&w, 0, &d));
    assert_in_range(d.closed_for_ms, 1, 12000);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_retry_of_a_waiting_message_probes),
        cmocka_unit_test(test_retry_of_all_keeps_the_order),
        cmocka_unit_test(test_retry_while_an_attempt_is_in_hand),
        cmocka_unit_test(test_retry_of_a_destination_that_nothing_waits_for),
        cmocka_unit_test(test_retry_leaves_the_backoff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
