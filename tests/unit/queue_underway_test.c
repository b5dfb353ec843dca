/*
 * queue_underway_test.c - the queue at a cutover: recipients that wait until mail for them is no
 * longer under way the old way, what goes on meanwhile, and what an admin does to them. The other
 * worker, whose RCPT is not answered yet, is the test.
 */
#include "tests/unit/queue_world.h"

#include "base/mem.h"
#include "relay/queue/queue_int.h"

#define ELSEWHERE 12345 /* where the other worker's goes */

static struct underway_rcpt old_way(unsigned entry)
{
    return (struct underway_rcpt){
        .mailbox = world_entry_hash(entry), .dest = ELSEWHERE, .generation = 1};
}

/* Mailbox 1 moves to destination 1 while mail for it is under way to where it was. */
static void begin(struct world *w, unsigned active_max)
{
    const struct underway_rcpt old = old_way(1);
    world_init(w);
    w->conf.active_max = active_max;
    w->underway = underway_new();
    world_open(w);
    assert_true(underway_enter(w->underway, &old, true, world_now(w)));
    world_flip(w, 1, 1, true);
}

static void old_is_answered(struct world *w)
{
    const struct underway_rcpt old = old_way(1);
    underway_leave(w->underway, &old);
}

static void end(struct world *w)
{
    world_close(w);
    underway_free(&w->underway); /* asserts that nothing is left in it */
}

static void assert_delivered(struct world *w, uint64_t id, unsigned index, unsigned dest)
{
    assert_int_equal(world_msg(w, id)->rcpt[index].end, END_DELIVERED);
    assert_int_equal(world_msg(w, id)->rcpt[index].dest, dest);
}

static uint64_t messages(struct world *w)
{
    struct queue_status s;
    queue_status(w->q, &s);
    return s.messages;
}

static void test_waits_for_the_reply(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 1000);
    uint64_t moved = world_add(&w, 1, 1), other = world_add(&w, 2, 1);
    world_run(&w, 50);
    assert_delivered(&w, other, 0, 0);
    assert_int_equal(w.dest[1].confirmed, 0);
    old_is_answered(&w);
    world_run(&w, 10);
    assert_delivered(&w, moved, 0, 1);
    assert_int_equal(messages(&w), 0);
    assert_int_equal(world_msg(&w, moved)->loads, 0); /* it stayed in memory */
    end(&w);
}

static void test_waits_no_longer_than_the_bound(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 1000);
    uint64_t first = world_add(&w, 1, 1);
    world_run(&w, UNDERWAY_WAIT_MS);
    uint64_t second = world_add(&w, 1, 1);
    assert_int_equal(w.dest[1].confirmed, 0);
    world_run(&w, 15);
    assert_delivered(&w, first, 0, 1);
    assert_delivered(&w, second, 0, 1); /* for which nobody waits once more */
    assert_int_equal(world_msg(&w, second)->deliveries, 1);
    old_is_answered(&w);
    end(&w);
}

/* A message's other recipients go on, and it is still one delivery each. */
static void test_only_those_that_moved_wait(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 1000);
    world_flip(&w, 0, 1, true);
    world_flip(&w, 2, 1, true);
    uint64_t id = world_add(&w, 0, 3); /* 1 has to wait */
    world_run(&w, 20);
    assert_delivered(&w, id, 0, 1);
    assert_delivered(&w, id, 2, 1);
    assert_int_equal(world_msg(&w, id)->rcpt[1].end, END_OPEN);
    old_is_answered(&w);
    world_run(&w, 10);
    assert_delivered(&w, id, 1, 1);
    assert_int_equal(world_msg(&w, id)->deliveries, 3); /* given back, the others, it */
    end(&w);
}

/* What it says itself is under way until it is answered, or until there is no connection any more.
 */
static void test_enters_and_leaves(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 1000);
    const struct underway_rcpt newer = {
        .mailbox = world_entry_hash(1), .dest = ELSEWHERE, .generation = 9};
    old_is_answered(&w);
    w.dest[1].be = BE_HANG;
    world_add(&w, 1, 1);
    world_run(&w, 10);
    assert_false(underway_must_wait(w.underway, &newer, world_now(&w)));
    world_say_rcpt(&w, 1, false);
    assert_true(underway_must_wait(w.underway, &newer, world_now(&w)));
    world_say_rcpt(&w, 1, true); /* on another connection */
    assert_false(underway_must_wait(w.underway, &newer, world_now(&w)));
    world_say_rcpt(&w, 1, false);
    end(&w); /* cuts it */
}

static void test_moves_back_while_it_waits(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 1000);
    uint64_t id = world_add(&w, 1, 1);
    world_run(&w, 20);
    world_flip(&w, 1, 0, true);
    world_run(&w, UNDERWAY_WAIT_MS + 10);
    assert_delivered(&w, id, 0, 0);
    old_is_answered(&w);
    end(&w);
}

static void test_an_admin_and_what_waits(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 1000);
    uint64_t held = world_add(&w, 1, 1), removed = world_add(&w, 1, 1);
    world_run(&w, 20);
    assert_true(queue_act(w.q, held, QUEUE_HOLD));
    world_msg(&w, held)->held = true;
    assert_true(queue_act(w.q, removed, QUEUE_REMOVE));
    world_run(&w, UNDERWAY_WAIT_MS + 10);
    assert_int_equal(w.dest[1].confirmed, 0);
    assert_int_equal(world_msg(&w, removed)->rcpt[0].end, END_REMOVED);
    assert_true(queue_act(w.q, held, QUEUE_RELEASE));
    world_msg(&w, held)->held = false;
    world_run(&w, 10);
    assert_delivered(&w, held, 0, 1);
    old_is_answered(&w);
    end(&w);
}

/* What was not sent took no time, and tells nothing of how fast the destination is. */
static void test_waiting_is_not_fast(void **state)
{
    (void)state;
    const struct dest_key to = {.kind = DEST_FOREST, .name = STR("1.0")};
    struct world w;
    begin(&w, 1000);
    w.dest[1].latency = 1;
    uint64_t id = world_add(&w, 1, 1);
    world_run(&w, 20);
    w.dest[1].latency = 5;
    old_is_answered(&w);
    world_run(&w, 20);
    assert_delivered(&w, id, 0, 1);
    assert_int_equal(dest_find(w.q, &to)->usual.least_ns, 5000000);
    end(&w);
}

static void test_stops_while_some_wait(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 1000);
    for (unsigned i = 0; i < 10; i++)
        world_add(&w, 1, 1);
    world_run(&w, 20);
    queue_drain(w.q);
    world_run(&w, 1000);
    assert_int_equal(queue_in_hand(w.q), 0);
    assert_int_equal(messages(&w), 10);
    old_is_answered(&w);
    end(&w);
}

/* Those that wait do not fill the active set: the fifth and sixth go at once. */
static void test_a_flood_does_not_wait(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 16);
    for (unsigned i = 0; i < 6; i++)
        world_add(&w, 1, 1);
    uint64_t other = world_add(&w, 2, 1);
    world_run(&w, 95);
    assert_delivered(&w, other, 0, 0);
    assert_int_equal(messages(&w), 4);
    world_run(&w, 30);
    assert_int_equal(messages(&w), 0);
    old_is_answered(&w);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_waits_for_the_reply),
        cmocka_unit_test(test_waits_no_longer_than_the_bound),
        cmocka_unit_test(test_only_those_that_moved_wait),
        cmocka_unit_test(test_enters_and_leaves),
        cmocka_unit_test(test_moves_back_while_it_waits),
        cmocka_unit_test(test_an_admin_and_what_waits),
        cmocka_unit_test(test_waiting_is_not_fast),
        cmocka_unit_test(test_stops_while_some_wait),
        cmocka_unit_test(test_a_flood_does_not_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
