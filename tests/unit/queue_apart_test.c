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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ready_mail_follows_a_flip),
        cmocka_unit_test(test_one_of_a_ready_delivery_follows_a_flip),
        cmocka_unit_test(test_the_rest_goes_at_once_while_some_are_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
