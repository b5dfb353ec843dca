/*
 * queue_apart_test.c - the queue on a virtual clock: what happens to one message, or to one
 * recipient of a message, does not wait for the others.
 */
#include "tests/unit/queue_world.h"

/* ---- ready for a destination whose window is full ---- */

/* 20 messages of one recipient for destination 0, which hangs with the first five. */
static void hang_with_window_full(struct world *w)
{
    world_init(w);
    world_open(w);
    w->dest[0].be = BE_HANG;
    for (unsigned i = 0; i < 20; i++)
        world_add(w, i, 1);
    world_run(w, 100);
    assert_int_equal(w->dest[0].in_hand, 5);
}

static void test_ready_mail_follows_a_flip(void **state)
{
    (void)state;
    struct world w;
    hang_with_window_full(&w);
    world_flip(&w, 18, 1, true);
    world_run(&w, 20);
    assert_int_equal(world_msg(&w, 19)->rcpt[0].end, END_DELIVERED);
    assert_int_equal(world_msg(&w, 19)->rcpt[0].dest, 1);
    assert_int_equal(world_msg(&w, 19)->deliveries, 1);
    world_flip(&w, 17, ENTRY_REFUSE, true);
    world_run(&w, 20);
    assert_int_equal(world_msg(&w, 18)->rcpt[0].end, END_FAILED);
    assert_int_equal(world_count(&w, END_OPEN), 18);

    /* A change too large to name. */
    w.entry[15] = w.entry[16] = 1;
    w.generation++;
    queue_directory_changed(w.q, NULL, 0, true);
    world_run(&w, 20);
    assert_int_equal(w.dest[1].confirmed, 3);
    assert_int_equal(w.dest[0].started, 5);
    world_close(&w);
}

/* The others of the delivery keep their place. */
static void test_one_of_a_ready_delivery_follows_a_flip(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_HANG;
    for (unsigned i = 0; i < 5; i++)
        world_add(&w, i, 1);
    uint64_t id = world_add(&w, 10, 3);
    for (unsigned i = 0; i < 5; i++)
        world_add(&w, i, 1);
    world_run(&w, 100);
    world_flip(&w, 10, 1, true);
    world_flip(&w, 12, 1, true);
    world_run(&w, 20);
    assert_int_equal(world_msg(&w, id)->rcpt[0].dest, 1);
    assert_int_equal(world_msg(&w, id)->rcpt[2].dest, 1);
    assert_int_equal(world_msg(&w, id)->rcpt[1].end, END_OPEN);
    assert_int_equal(world_count(&w, END_DELIVERED), 2);
    w.dest[0].be = BE_WELL;
    w.n_order_log = 0;
    world_release(&w, 0);
    world_run(&w, 1000);
    assert_int_equal(world_count(&w, END_OPEN), 0);
    assert_int_equal(w.order_log[0], id);
    assert_int_equal(world_msg(&w, id)->rcpt[1].dest, 0);
    world_close(&w);
}

/* ---- too many recipients ---- */

static void test_the_rest_goes_at_once_while_some_are_taken(void **state)
{
    (void)state;
    struct world w;
    for (unsigned put_off = 0; put_off < 2; put_off++) {
        world_init(&w);
        world_open(&w);
        w.dest[0].takes = 10;
        w.dest[0].be = put_off ? BE_4XX : BE_WELL;
        world_add(&w, 0, 1000);
        world_run(&w, 10000);
        assert_int_equal(w.dest[0].started, 100);
        assert_int_equal(world_count(&w, END_DELIVERED), put_off ? 0 : 1000);
        world_close(&w);
    }
}

/* ---- waiting, while another delivery of the message hangs ---- */

/* One message: entry 0 for destination 0, entry 1 for destination 1, which hangs. */
static uint64_t hang_one_of_two(struct world *w, unsigned entry_0)
{
    world_init(w);
    w->conf.expire_ms = 3600000;
    world_open(w);
    w->entry[0] = entry_0;
    w->entry[1] = 1;
    w->dest[0].be = BE_4XX;
    w->dest[1].be = BE_HANG;
    return world_add(w, 0, 2);
}

static void test_retry_while_another_delivery_hangs(void **state)
{
    (void)state;
    struct world w;
    uint64_t id = hang_one_of_two(&w, 0);
    world_run(&w, 40000);
    assert_int_equal(w.dest[0].started, 1);
    world_run(&w, 40000);
    assert_int_equal(w.dest[0].started, 2);
    world_run(&w, 520000); /* after 1, 2 and 4 minutes, and 8 minutes are not over yet */
    assert_int_equal(w.dest[0].started, 4);
    assert_int_equal(w.dest[1].in_hand, 1);

    w.dest[0].be = w.dest[1].be = BE_WELL;
    world_release(&w, 1);
    world_run(&w, 600000);
    assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_DELIVERED);
    assert_int_equal(world_msg(&w, id)->rcpt[1].end, END_DELIVERED);
    assert_int_equal(w.loads, 1);
    world_close(&w);
}

/* When it ends, the one that waits keeps its time. */
static void test_the_end_of_a_hanging_delivery_postpones_nothing(void **state)
{
    (void)state;
    for (unsigned well = 0; well < 2; well++) {
        struct world w;
        (void)hang_one_of_two(&w, 0);
        world_run(&w, 40000);
        w.dest[1].be = well ? BE_WELL : BE_4XX;
        world_release(&w, 1);
        world_run(&w, 35000);
        assert_int_equal(w.dest[0].started, 2);
        world_close(&w);
    }
}

static void test_deferred_by_decision_while_another_delivery_hangs(void **state)
{
    (void)state;
    struct world w;
    uint64_t id = hang_one_of_two(&w, ENTRY_DEFER);
    w.dest[2].be = BE_WELL;
    world_run(&w, 1000);
    w.entry[0] = 2; /* and nobody says so */
    world_run(&w, 80000);
    assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_DELIVERED);
    assert_int_equal(w.dest[1].in_hand, 1);
    world_close(&w);
}

/* It waited before the other one was taken from its destination's line. */
static void test_waiting_when_another_recipient_is_pulled(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.entry[1] = 1;
    w.dest[0].be = BE_4XX;
    w.dest[1].be = BE_DEAD;
    for (unsigned i = 0; i < 10; i++)
        world_add(&w, 1, 1); /* closes it */
    world_run(&w, 100);
    uint64_t both = world_add(&w, 0, 2);
    for (uint64_t id = 1; id < both; id++)
        assert_true(queue_act(w.q, id, QUEUE_REMOVE));
    w.dest[1].be = BE_HANG;
    world_run(&w, 40000);
    assert_int_equal(w.dest[1].in_hand, 1);
    assert_int_equal(w.dest[0].started, 1);
    world_run(&w, 40000);
    assert_int_equal(w.dest[0].started, 2);
    world_close(&w);
}

static void test_held_or_too_old_while_another_delivery_hangs(void **state)
{
    (void)state;
    struct world w;
    uint64_t id = hang_one_of_two(&w, 0);
    world_run(&w, 1000);
    assert_true(queue_act(w.q, id, QUEUE_HOLD));
    world_run(&w, 600000);
    assert_int_equal(w.dest[0].started, 1);
    assert_true(queue_act(w.q, id, QUEUE_RELEASE));
    world_run(&w, 3600000);
    unsigned started = w.dest[0].started;
    assert_in_range(started, 5, 8);
    world_run(&w, 3 * 3600000);
    assert_int_equal(w.dest[0].started, started);
    world_release(&w, 1);
    world_run(&w, 1000);
    assert_int_equal(world_count(&w, END_EXPIRED), 2);
    world_close(&w);
}

/* ---- more than fits in a report ---- */

static void test_a_report_in_parts(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.conf.delay_notice_ms = 3600000;
    world_open(&w);
    w.report_max = 30;
    w.dest[0].be = BE_5XX;
    w.fail_reports = 1;
    world_add(&w, 0, 1000);
    world_run(&w, 20);
    assert_int_equal(world_count(&w, END_FAILED), 970);
    world_run(&w, 90000); /* those of the part that could not be written are tried again */
    assert_int_equal(world_count(&w, END_FAILED), 1000);

    w.dest[0].be = BE_4XX;
    uint64_t id = world_add(&w, 0, 70);
    world_run(&w, 3 * 3600000);
    for (unsigned i = 0; i < 70; i++)
        assert_int_equal(world_msg(&w, id)->rcpt[i].delay_reports, 1);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready_mail_follows_a_flip),
        cmocka_unit_test(test_one_of_a_ready_delivery_follows_a_flip),
        cmocka_unit_test(test_the_rest_goes_at_once_while_some_are_taken),
        cmocka_unit_test(test_retry_while_another_delivery_hangs),
        cmocka_unit_test(test_the_end_of_a_hanging_delivery_postpones_nothing),
        cmocka_unit_test(test_deferred_by_decision_while_another_delivery_hangs),
        cmocka_unit_test(test_waiting_when_another_recipient_is_pulled),
        cmocka_unit_test(test_held_or_too_old_while_another_delivery_hangs),
        cmocka_unit_test(test_a_report_in_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
