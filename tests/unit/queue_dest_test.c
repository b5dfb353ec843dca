/*
 * queue_dest_test.c - the queue on a virtual clock: destinations, their windows and turns, and what
 * a change of the directory wakes.
 */
#include "tests/unit/queue_world.h"

#include "base/assert.h"
#include "base/mem.h"

/* ---- destinations ---- */

static void test_window_opens_and_halves(void **state)
{
    (void)state;
    struct world w;
    struct queue_dest_info d;
    world_init(&w);
    world_open(&w);
    for (unsigned i = 0; i < 400; i++)
        world_add(&w, i, 1);
    assert_int_equal(w.dest[0].started, 0); /* at the end of the turn */
    world_run(&w, 0);
    assert_int_equal(w.dest[0].in_hand, 5);
    world_run(&w, 5);
    assert_true(world_dest_info(&w, 0, &d));
    assert_int_equal(d.window, 10);
    world_run(&w, 20);
    assert_int_equal(w.dest[0].peak, 20);
    w.dest[0].be = BE_BUSY;
    unsigned started = w.dest[0].started;
    world_run(&w, 100);
    assert_true(world_dest_info(&w, 0, &d));
    assert_true(d.closed_for_ms > 0); /* "less, please" 20 times: halved to one, then left alone */
    assert_true(w.dest[0].started - started <= 1);
    w.dest[0].be = BE_WELL;
    world_run(&w, 10 * 3600000ll);
    world_assert_empty(&w);
    world_close(&w);
}

static void test_closing_probing_and_reopening_in_order(void **state)
{
    (void)state;
    struct world w;
    struct queue_dest_info d;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_DEAD;
    for (unsigned i = 0; i < 300; i++)
        world_add(&w, i, 1);
    world_run(&w, 100);
    assert_true(world_dest_info(&w, 0, &d));
    assert_true(d.closed_for_ms > 7000 && d.closed_for_ms <= 12000);
    assert_string_equal(d.last_error, "421 4.4.1 refused");
    unsigned tried = w.dest[0].started;
    assert_true(tried <= 8);
    assert_int_equal(world_status(&w).active, 0);
    assert_int_equal(d.parked, 300 - 2); /* the first two failed before it was known to be ill */

    /* Ten minutes: probes at 10, 20, 40 ... s, one delivery each. */
    w.dest[0].peak = 0;
    world_run(&w, 600000);
    assert_int_equal(w.dest[0].peak, 1);
    assert_in_range(w.dest[0].started - tried, 4, 9);
    uint64_t loads = w.loads;
    assert_true(loads < 40); /* nothing is loaded to be parked again */

    /* It is well again: in the order of arrival, starting with one, growing. */
    w.dest[0].be = BE_WELL;
    w.n_order_log = w.n_start_log = 0;
    world_run(&w, 200000);
    assert_true(w.n_order_log >= 290);
    unsigned inversions = 0;
    for (unsigned i = 1; i < w.n_order_log; i++)
        inversions += w.order_log[i] < w.order_log[i - 1];
    assert_in_range(inversions, 0, 12); /* those that were probes went to the end */
    assert_in_range(w.dest[0].peak, 2, 20);
    world_run(&w, 3600000);
    world_assert_empty(&w);
    world_close(&w);
}

/* The schedule of retries is for mail that was put off. */
static void test_not_getting_through_is_tried_again_soon(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_DEAD;
    uint64_t id = world_add(&w, 0, 1);
    world_run(&w, 26000);
    assert_int_equal(w.dest[0].started, 3);
    assert_int_equal(world_info(&w, id).state, QUEUE_PARKED);
    w.dest[0].be = BE_WELL;
    world_run(&w, 13000);
    world_assert_empty(&w);
    world_close(&w);
}

static void test_no_herd_when_it_reopens(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_DEAD;
    for (unsigned i = 0; i < 200; i++)
        world_add(&w, i, 1);
    world_run(&w, 1000);
    w.dest[0].be = BE_WELL;
    w.dest[0].latency = 1000;
    w.dest[0].peak = 0;
    unsigned before = w.dest[0].started;
    while (w.dest[0].started == before)
        world_run(&w, 100);
    world_run(&w, 900);
    assert_int_equal(w.dest[0].in_hand, 1);
    world_run(&w, 200);
    assert_int_equal(w.dest[0].in_hand, 1);
    world_run(&w, 1000);
    assert_int_equal(w.dest[0].in_hand, 2);
    world_run(&w, 1000);
    assert_int_equal(w.dest[0].in_hand, 4);
    world_close(&w);
}

/* A message that the destination always chokes on does not keep it closed. */
static void test_the_probe_is_not_always_the_same_message(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_DEAD;
    for (unsigned i = 0; i < 20; i++)
        world_add(&w, i, 1);
    world_run(&w, 100);
    w.n_order_log = 0;
    world_run(&w, 120000);
    assert_true(w.n_order_log >= 3);
    assert_true(w.order_log[0] != w.order_log[1] && w.order_log[1] != w.order_log[2]);
    world_close(&w);
}

static void test_sick_destination_slows_nobody(void **state)
{
    (void)state;
    static const enum behaviour sick[] = {BE_HANG, BE_DEAD, BE_BUSY, BE_4XX};
    for (size_t s = 0; s < ARRAY_LEN(sick); s++) {
        struct world w;
        world_init(&w);
        w.conf.active_max = 200;
        world_open(&w);
        w.dest[1].be = sick[s];
        w.dest[1].latency = 200;
        for (unsigned i = 1; i < WORLD_ENTRIES; i += 2)
            w.entry[i] = 1;
        /* A backlog for the sick one first, then both in turn, 2 for the well one per ms. */
        for (unsigned i = 0; i < 3000; i++)
            world_add(&w, 2 * (i % 2000) + 1, 1);
        world_run(&w, 50);
        int64_t worst = 0;
        for (unsigned i = 0; i < 2000; i++) {
            uint64_t id = world_add(&w, 2 * i, 1);
            world_add(&w, 2 * i + 1, 1);
            if (i % 2 == 1)
                world_run(&w, 1);
            (void)id;
        }
        world_run(&w, 10);
        for (uint64_t id = 3001; id <= w.n_msg; id += 2) {
            assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_DELIVERED);
            worst = world_msg(&w, id)->loads > worst ? world_msg(&w, id)->loads : worst;
        }
        assert_in_range(worst, 0, 1);
        world_close(&w);
    }
}

static void test_many_dead_destinations_leave_room_for_the_living(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.conf.active_max = 100;
    world_open(&w);
    for (unsigned i = 0; i < WORLD_DESTS - 1; i++) {
        w.dest[i].be = BE_HANG;
        w.entry[i] = i;
    }
    w.entry[63] = 63;
    world_add(&w, 63, 1);
    world_run(&w, 10);
    for (unsigned k = 0; k < 20; k++)
        for (unsigned i = 0; i < WORLD_DESTS - 1; i++)
            world_add(&w, i, 1);
    world_run(&w, 1000);
    assert_int_equal(w.in_hand, 50); /* half of the active set, and not more */
    for (unsigned i = 0; i < 500; i++) {
        world_add(&w, 63, 1);
        world_run(&w, 2);
    }
    world_run(&w, 10);
    assert_int_equal(w.dest[63].confirmed, 501);
    /* The dead ones take turns when the first give up. */
    for (unsigned k = 0; k < 40; k++) {
        for (unsigned i = 0; i < WORLD_DESTS - 1; i++)
            world_release(&w, i);
        world_run(&w, 10000);
    }
    for (unsigned i = 0; i < WORLD_DESTS - 1; i++)
        assert_true(w.dest[i].started > 0);
    world_close(&w);
}

/* The room that a destination of unknown health leaves is for the next one, if the one whose turn
 * it is has no use for it. */
static void test_room_for_the_unproven_is_passed_on(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.conf.active_max = 8;
    world_open(&w);
    for (unsigned i = 0; i < 8; i++) {
        w.entry[i] = i;
        w.dest[i].be = i < 4 ? BE_HANG : BE_WELL;
        world_add(&w, i, 1);
        world_run(&w, 10);
    }
    assert_int_equal(w.in_hand, 4); /* half of the active set */
    world_flip(&w, 4, ENTRY_DEFER, false);
    world_flip(&w, 5, ENTRY_REFUSE, false);
    world_release(&w, 0);
    world_run(&w, 100);
    assert_int_equal(w.dest[4].started + w.dest[5].started, 0);
    assert_int_equal(w.dest[6].confirmed, 1);
    assert_int_equal(w.dest[7].confirmed, 1);
    world_close(&w);
}

static void test_ready_destinations_take_turns(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.conf.window_initial = w.conf.window_max = 4;
    world_open(&w);
    for (unsigned i = 0; i < 10; i++)
        w.entry[i] = i;
    for (unsigned i = 0; i < 10; i++)
        for (unsigned k = 0; k < 4; k++)
            world_add(&w, i, 1);
    world_run(&w, 0);
    assert_int_equal(w.n_start_log, 40);
    for (unsigned i = 0; i < 40; i++)
        assert_int_equal(w.start_log[i], i % 10);
    world_close(&w);
}

static void test_fresh_mail_overtakes_a_backlog(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    unsigned entry = 0;
    for (unsigned i = 0; i < 5000; i++)
        world_recover(&w, world_store(&w, &entry, 1), 60000, NULL);
    world_run(&w, 100);
    assert_int_equal(w.dest[0].in_hand, 20);
    for (unsigned i = 0; i < 200; i++) {
        uint64_t id = world_add(&w, 1, 1);
        int64_t at = world_now(&w);
        world_run(&w, 4);
        assert_true(world_msg(&w, id)->last_start <= at + 5);
        world_run(&w, 1);
        assert_true(world_msg(&w, id)->last_start >= at);
    }
    assert_true(world_count(&w, END_OPEN) > 500); /* the backlog was there all the time ... */
    world_run(&w, 3000);
    world_assert_empty(&w); /* ... and moved */
    world_close(&w);
}

/* The processors are the same: what comes back for one forest does not slow the mail of another. */
static void test_backlog_gives_way_to_new_mail_for_others(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.entry[1] = 1;
    w.dest[0].latency = 0;
    world_open(&w);
    unsigned entry = 0;
    for (unsigned i = 0; i < 20000; i++)
        world_recover(&w, world_store(&w, &entry, 1), 60000, NULL);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t id = world_add(&w, 1, 1);
        world_run(&w, 6);
        assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_DELIVERED);
    }
    assert_in_range(w.dest[0].started, 500, 5000);
    world_run(&w, 20000);
    world_assert_empty(&w);
    world_close(&w);
}

static void test_backlog_is_not_starved_by_fresh_mail(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.conf.window_initial = w.conf.window_max = 4;
    world_open(&w);
    unsigned entry = 0;
    for (unsigned i = 0; i < 100; i++)
        world_recover(&w, world_store(&w, &entry, 1), 60000, NULL);
    for (unsigned i = 0; i < 1000; i++) { /* more than it can take: 4 each 5 ms */
        for (unsigned k = 0; k < 5; k++)
            world_add(&w, 1, 1);
        world_run(&w, 5);
    }
    unsigned left = 0;
    for (uint64_t id = 1; id <= 100; id++)
        left += world_msg(&w, id)->rcpt[0].end == END_OPEN;
    assert_int_equal(left, 0);
    world_close(&w);
}

static void test_fails_count_in_a_row_only(void **state)
{
    (void)state;
    struct world w;
    struct queue_dest_info d;
    world_init(&w);
    w.conf.window_initial = w.conf.window_max = 16;
    world_open(&w);
    for (unsigned i = 0; i < 12; i++) {
        w.dest[0].be = i % 3 == 2 ? BE_WELL : BE_DEAD;
        world_add(&w, i, 1);
        world_run(&w, 20);
        assert_true(world_dest_info(&w, 0, &d));
        assert_int_equal(d.closed_for_ms, 0);
    }
    /* "Less, please" at a wide window is only that. */
    w.entry[100] = 1;
    w.dest[1].be = BE_BUSY;
    for (unsigned i = 0; i < 3; i++)
        world_add(&w, 100, 1);
    world_run(&w, 20);
    assert_true(world_dest_info(&w, 1, &d));
    assert_int_equal(d.closed_for_ms, 0);
    assert_int_equal(d.window, 2);
    world_close(&w);
}

static void test_backlog_leaves_room_for_fresh_mail(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.conf.active_max = 8;
    world_open(&w);
    w.entry[1] = 1;
    world_add(&w, 0, 1);
    world_add(&w, 1, 1);
    world_run(&w, 20); /* both are known to be well */
    w.dest[0].be = BE_HANG;
    unsigned entry = 0;
    for (unsigned i = 0; i < 20; i++)
        world_recover(&w, world_store(&w, &entry, 1), 1000, NULL);
    world_run(&w, 20);
    assert_int_equal(world_status(&w).active, 6);
    uint64_t id = world_add(&w, 1, 1);
    world_run(&w, 5);
    assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_DELIVERED);
    /* All places taken: the next free one is for fresh mail, however long the backlog is due. */
    world_add(&w, 0, 1);
    world_add(&w, 0, 1);
    uint64_t next = world_add(&w, 1, 1);
    assert_int_equal(world_info(&w, next).state, QUEUE_WAITING);
    world_run(&w, 1000);
    w.dest[0].be = BE_WELL;
    w.n_order_log = 0;
    world_release(&w, 0);
    world_run(&w, 0);
    unsigned at = 0, old = 0;
    for (; at < w.n_order_log && w.order_log[at] != next; at++)
        old += w.order_log[at] <= 22;
    assert_true(old <= 6); /* those that had their places before it; the others were fresh, too */
    assert_true(at < w.n_order_log);
    world_close(&w);
}

static void test_in_order_of_arrival_when_there_is_a_line(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    w.conf.window_initial = w.conf.window_max = 1;
    w.conf.ready_max = 2;
    world_open(&w);
    for (unsigned i = 0; i < 10; i++)
        world_add(&w, i, 1);
    for (unsigned i = 0; i < 50; i++) {
        world_run(&w, 5);
        world_add(&w, i, 1);
        world_add(&w, i, 1);
    }
    world_run(&w, 1000);
    world_assert_empty(&w);
    for (unsigned i = 1; i < w.n_order_log; i++)
        assert_true(w.order_log[i] > w.order_log[i - 1]);
    world_close(&w);
}

/* What came while it was closed is backlog, too: mail that comes after the reopening goes first. */
static void test_mail_after_an_outage_does_not_queue_behind_it(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_DEAD;
    for (unsigned i = 0; i < 20; i++)
        world_add(&w, i, 1);
    world_run(&w, 100);
    for (unsigned i = 0; i < 2000; i++)
        world_add(&w, i, 1);
    w.dest[0].be = BE_WELL;
    while (w.dest[0].confirmed == 0)
        world_run(&w, 100);
    for (unsigned i = 0; i < 20; i++) {
        uint64_t id = world_add(&w, i, 1);
        world_run(&w, 15);
        assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_DELIVERED);
    }
    assert_true(world_count(&w, END_OPEN) > 500);
    world_run(&w, 60000);
    world_assert_empty(&w);
    world_close(&w);
}

static void test_due_mail_joins_the_line_unread(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_4XX;
    for (unsigned i = 0; i < 200; i++)
        world_add(&w, i, 1);
    world_run(&w, 1000);
    assert_int_equal(world_status(&w).waiting, 200);
    w.dest[0].be = BE_DEAD;
    uint64_t loads = w.loads;
    world_run(&w, 90000); /* all have become due, and the destination is closed */
    assert_true(w.loads - loads < 20);
    assert_true(world_status(&w).parked > 180);
    world_close(&w);
}

static void test_parked_recipients_of_a_message_go_together(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_DEAD;
    for (unsigned i = 0; i < 20; i++)
        world_add(&w, i, 1);
    world_run(&w, 100);
    uint64_t id = world_add(&w, 0, 50);
    assert_int_equal(world_msg(&w, id)->deliveries, 0);
    w.dest[0].be = BE_WELL;
    world_run(&w, 60000);
    assert_int_equal(world_msg(&w, id)->deliveries, 1);
    world_assert_empty(&w);
    world_close(&w);
}

static void count_dest(void *arg, const struct queue_dest_info *d)
{
    assert_true(d->dest[0] != '\0');
    ++*(unsigned *)arg;
}

static void test_idle_destinations_are_forgotten(void **state)
{
    (void)state;
    struct world w;
    unsigned n = 0;
    world_init(&w);
    world_open(&w);
    for (unsigned i = 0; i < 3000; i++) {
        w.entry[0] = ENTRY_OTHER(0, i);
        world_add(&w, 0, 1);
        world_run(&w, 10);
    }
    world_assert_empty(&w);
    queue_list_dests(w.q, count_dest, &n);
    assert_in_range(n, 100, 1000);
    world_close(&w);
}

/* ---- the directory ---- */

static void test_a_change_wakes_exactly_whom_it_concerns(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_DEAD;
    w.dest[2].be = BE_4XX;
    for (unsigned i = 0; i < 1000; i++)
        w.entry[i] = i % 2 * 2; /* parked and waiting ones */
    for (unsigned i = 0; i < 1000; i++)
        world_add(&w, i, 1);
    uint64_t both = world_add(&w, 500, 2);
    world_run(&w, 2000);
    assert_true(world_status(&w).parked > 400);
    assert_true(world_status(&w).waiting > 400);
    uint64_t loads = w.loads, decides = w.decides;
    world_flip(&w, 500, 1, true);
    world_flip(&w, 701, 1, true);
    world_flip(&w, 3000, 1, true); /* nobody */
    world_run(&w, 50);
    assert_int_equal(w.loads - loads, 3);
    assert_int_equal(w.decides - decides, 6); /* recheck, and again for the attempt */
    assert_int_equal(world_msg(&w, 501)->rcpt[0].end, END_DELIVERED);
    assert_int_equal(world_msg(&w, 702)->rcpt[0].end, END_DELIVERED);
    assert_int_equal(world_msg(&w, both)->rcpt[0].end, END_DELIVERED);
    assert_int_equal(world_msg(&w, both)->rcpt[1].end, END_OPEN);
    assert_int_equal(w.dest[1].started, 3);

    /* A change that changes nothing for the decision starts nothing. */
    unsigned tried = w.dest[2].started;
    world_flip(&w, 601, 2, true);
    world_run(&w, 50);
    assert_int_equal(w.dest[2].started, tried);
    world_close(&w);
}

static void test_a_change_before_mail_is_sent_reroutes(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].latency = 100;
    uint64_t id = world_add(&w, 0, 2);
    world_run(&w, 50);
    assert_int_equal(w.dest[0].in_hand, 1);
    world_flip(&w, 0, 1, true);
    world_run(&w, 200);
    assert_int_equal(w.reroutes, 1);
    assert_int_equal(world_msg(&w, id)->rcpt[0].dest, 1);
    assert_int_equal(world_msg(&w, id)->rcpt[1].dest, 0);
    world_assert_empty(&w);
    struct queue_dest_info d;
    assert_true(world_dest_info(&w, 0, &d));
    assert_int_equal(d.window, 6); /* one went well; the one that was never sent says nothing */
    /* Changed elsewhere: the delivery goes on. */
    w.dest[0].latency = 100;
    world_add(&w, 10, 1);
    world_run(&w, 50);
    world_flip(&w, 11, 1, true);
    world_run(&w, 60);
    assert_int_equal(w.reroutes, 1);
    world_assert_empty(&w);
    world_close(&w);
}

static void test_a_directory_that_never_rests(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    uint64_t id = world_add(&w, 0, 1);
    for (unsigned i = 0; i < 200; i++) {
        world_run(&w, 3);
        world_flip(&w, 0, w.dest[0].in_hand > 0, false);
    }
    assert_in_range(w.reroutes, 5, 10);
    assert_int_equal(world_info(&w, id).state, QUEUE_WAITING);
    world_run(&w, 120000);
    world_assert_empty(&w);
    world_close(&w);
}

static void test_woken_while_a_delivery_hangs(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.entry[1] = 1;
    w.dest[0].be = BE_DEAD;
    for (unsigned i = 0; i < 20; i++)
        world_add(&w, 0, 1); /* closes it */
    world_run(&w, 100);
    w.dest[1].be = BE_HANG;
    uint64_t id = world_add(&w, 0, 2); /* one parked, one hanging */
    world_run(&w, 100);
    assert_int_equal(w.dest[1].in_hand, 1);
    world_flip(&w, 0, 2, true);
    world_run(&w, 20);
    assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_DELIVERED);
    assert_int_equal(world_msg(&w, id)->rcpt[0].dest, 2);
    world_close(&w);
}

static void test_everything_changed_is_swept_in_steps(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_4XX;
    w.dest[1].be = BE_DEAD;
    for (unsigned i = 0; i < 3000; i++)
        w.entry[i] = i % 2;
    for (unsigned i = 0; i < 3000; i++)
        world_add(&w, i, 1);
    world_run(&w, 3000);
    assert_int_equal(world_status(&w).active, 0);
    uint64_t started = w.dest[0].started;
    for (unsigned i = 0; i < 3000; i += 3)
        w.entry[i] = 2;
    w.generation++;
    queue_directory_changed(w.q, NULL, 0, true);
    world_run(&w, 1000);
    assert_int_equal(world_count(&w, END_DELIVERED), 1000);
    assert_int_equal(w.dest[0].started, started); /* the others wait as before */
    world_close(&w);
}

static void test_deferred_by_decision_until_the_directory_knows(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.entry[0] = ENTRY_DEFER;
    uint64_t id = world_add(&w, 0, 1);
    world_run(&w, 1000);
    assert_int_equal(world_info(&w, id).state, QUEUE_WAITING);
    assert_string_equal(world_info(&w, id).last_reply, "451 4.3.0 not yet");
    world_flip(&w, 0, 3, true);
    world_run(&w, 20);
    world_assert_empty(&w);
    assert_int_equal(w.dest[3].confirmed, 1);
    world_close(&w);
}

/* The transport has it, but nothing was sent yet: a move, a hold and a removal need not wait for
 * the host that does not answer. */
static void test_stopped_while_it_waits_for_a_connection(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_HANG;
    uint64_t id[5];
    for (unsigned i = 0; i < 5; i++)
        id[i] = world_add(&w, i, 1);
    world_run(&w, 100);
    assert_int_equal(w.dest[0].in_hand, 5);
    world_flip(&w, 0, 1, true);
    assert_int_equal(queue_act(w.q, id[1], QUEUE_HOLD), QUEUE_ACTED);
    assert_int_equal(queue_act(w.q, id[2], QUEUE_REMOVE), QUEUE_ACTED);
    assert_int_equal(queue_act(w.q, id[3], QUEUE_REMOVE_WITH_DSN), QUEUE_ACTED);
    world_ask_wanted(&w, 0);
    world_run(&w, 100);
    assert_int_equal(w.dest[0].in_hand, 1);
    assert_int_equal(world_msg(&w, id[0])->rcpt[0].end, END_DELIVERED);
    assert_int_equal(w.dest[1].confirmed, 1);
    assert_int_equal(world_info(&w, id[1]).state, QUEUE_HELD);
    assert_int_equal(world_info(&w, id[1]).attempts, 0);
    assert_int_equal(world_count(&w, END_REMOVED), 2);
    w.dest[0].be = BE_WELL;
    world_release(&w, 0);
    assert_int_equal(queue_act(w.q, id[1], QUEUE_RELEASE), QUEUE_ACTED);
    world_run(&w, 1000);
    world_assert_empty(&w);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_window_opens_and_halves),
        cmocka_unit_test(test_closing_probing_and_reopening_in_order),
        cmocka_unit_test(test_not_getting_through_is_tried_again_soon),
        cmocka_unit_test(test_no_herd_when_it_reopens),
        cmocka_unit_test(test_the_probe_is_not_always_the_same_message),
        cmocka_unit_test(test_sick_destination_slows_nobody),
        cmocka_unit_test(test_many_dead_destinations_leave_room_for_the_living),
        cmocka_unit_test(test_room_for_the_unproven_is_passed_on),
        cmocka_unit_test(test_ready_destinations_take_turns),
        cmocka_unit_test(test_fresh_mail_overtakes_a_backlog),
        cmocka_unit_test(test_backlog_gives_way_to_new_mail_for_others),
        cmocka_unit_test(test_backlog_is_not_starved_by_fresh_mail),
        cmocka_unit_test(test_fails_count_in_a_row_only),
        cmocka_unit_test(test_backlog_leaves_room_for_fresh_mail),
        cmocka_unit_test(test_in_order_of_arrival_when_there_is_a_line),
        cmocka_unit_test(test_mail_after_an_outage_does_not_queue_behind_it),
        cmocka_unit_test(test_due_mail_joins_the_line_unread),
        cmocka_unit_test(test_parked_recipients_of_a_message_go_together),
        cmocka_unit_test(test_idle_destinations_are_forgotten),
        cmocka_unit_test(test_a_change_wakes_exactly_whom_it_concerns),
        cmocka_unit_test(test_a_change_before_mail_is_sent_reroutes),
        cmocka_unit_test(test_a_directory_that_never_rests),
        cmocka_unit_test(test_woken_while_a_delivery_hangs),
        cmocka_unit_test(test_everything_changed_is_swept_in_steps),
        cmocka_unit_test(test_deferred_by_decision_until_the_directory_knows),
        cmocka_unit_test(test_stopped_while_it_waits_for_a_connection),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
