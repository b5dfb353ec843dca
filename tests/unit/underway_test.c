/*
 * underway_test.c - who waits for whom at a cutover: by generation, mailbox and destination, for
 * how long, and that no thread slips through while the generation changes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/mem.h"
#include "relay/queue/underway.h"

enum {
    A = 1,
    B
};

static struct underway_rcpt rcpt(uint64_t mailbox, uint64_t dest, uint64_t generation)
{
    return (struct underway_rcpt){.mailbox = mailbox, .dest = dest, .generation = generation};
}

static void test_the_new_way_waits_for_the_old_one(void **state)
{
    (void)state;
    struct underway *u = underway_new();
    const struct underway_rcpt old = rcpt(7, A, 5), moved = rcpt(7, B, 6);
    assert_true(underway_enter(u, &old, true, 1000));
    assert_true(underway_enter(u, &old, true, 1000)); /* of two workers */
    assert_false(underway_enter(u, &moved, true, 1001));
    underway_leave(u, &old);
    assert_true(underway_must_wait(u, &moved, 1002));
    underway_leave(u, &old);
    assert_false(underway_must_wait(u, &moved, 1003));
    assert_true(underway_enter(u, &moved, true, 1003));
    underway_leave(u, &moved);
    underway_free(&u);
    assert_null(u);
}

/* `shard` of them fall into one: neighbours there are not mixed up. */
static void test_nobody_else_waits(void **state)
{
    (void)state;
    const uint64_t shard = 256;
    struct underway *u = underway_new();
    const struct underway_rcpt old = rcpt(7, A, 5);
    const struct underway_rcpt free_to_go[] = {
        rcpt(7, A, 6),            /* the same way, by whatever generation */
        rcpt(7, B, 5),            /* by the same generation: there are two ways */
        rcpt(7, B, 4),            /* it is the older one */
        rcpt(8, B, 6),            /* another mailbox */
        rcpt(7 + shard, B, 6),    /* beside it */
        rcpt(7 + 2 * shard, A, 6) /* likewise */
    };
    assert_true(underway_enter(u, &old, true, 1000));
    for (unsigned i = 0; i < sizeof(free_to_go) / sizeof(free_to_go[0]); i++)
        assert_true(underway_enter(u, &free_to_go[i], true, 1000));
    for (unsigned i = 0; i < sizeof(free_to_go) / sizeof(free_to_go[0]); i++)
        underway_leave(u, &free_to_go[i]);
    underway_leave(u, &old);
    underway_free(&u);
}

/* What went the same way by a newer generation shows that the mailbox has not moved since. */
static void test_a_newer_one_the_same_way(void **state)
{
    (void)state;
    struct underway *u = underway_new();
    const struct underway_rcpt older = rcpt(7, A, 5), newer = rcpt(7, A, 8);
    const struct underway_rcpt at_8 = rcpt(7, B, 8), at_9 = rcpt(7, B, 9);
    assert_true(underway_enter(u, &newer, true, 1000));
    assert_true(underway_enter(u, &older, true, 1000));
    assert_false(underway_must_wait(u, &at_8, 1000));
    assert_true(underway_must_wait(u, &at_9, 1000));
    underway_leave(u, &newer);
    underway_leave(u, &older);
    underway_free(&u);
}

static void test_the_wait_is_bounded(void **state)
{
    (void)state;
    struct underway *u = underway_new();
    const struct underway_rcpt old = rcpt(7, A, 5), moved = rcpt(7, B, 6), back = rcpt(7, A, 7);
    assert_true(underway_enter(u, &old, true, 1000));
    /* It counts from the first that waits, however old the command is, for all that wait. */
    assert_false(underway_enter(u, &moved, true, 5000));
    assert_false(underway_enter(u, &moved, true, 5000 + UNDERWAY_WAIT_MS - 1));
    assert_true(underway_enter(u, &moved, true, 5000 + UNDERWAY_WAIT_MS));
    assert_true(underway_enter(u, &moved, true, 9000));
    /* And the way back waits for these two. */
    assert_false(underway_enter(u, &back, true, 9000));
    assert_true(underway_enter(u, &back, false, 9001)); /* unless it does not want to */
    underway_leave(u, &moved);
    underway_leave(u, &moved);
    underway_leave(u, &back);
    underway_leave(u, &old);
    /* The next one that is in the way has a time of its own. */
    assert_true(underway_enter(u, &old, true, 9002));
    assert_false(underway_enter(u, &moved, true, 9002));
    underway_leave(u, &old);
    underway_free(&u);
}

/* ---- threads ---- */

#define ROUNDS  20000
#define WORKERS 4
#define BOXES   3

/* Each worker does as confirm.c: decides by the newest generation, enters, looks again. The
 * mailboxes move at each generation. `way` is what really is on the wire: the way, and how many. */
static struct underway *shared;
static _Atomic uint64_t generation;
static _Atomic uint64_t wire[BOXES][2];
static _Atomic unsigned wrong;

static void one_rcpt(uint64_t box)
{
    for (;;) {
        uint64_t g = atomic_load_explicit(&generation, memory_order_acquire);
        const struct underway_rcpt r = rcpt(box, A + g % 2, g);
        if (!underway_enter(shared, &r, true, 0))
            continue;
        if (atomic_load_explicit(&generation, memory_order_acquire) == g) {
            atomic_fetch_add(&wire[box][g % 2], 1);
            if (atomic_load(&wire[box][1 - g % 2]) != 0)
                atomic_fetch_add(&wrong, 1);
            atomic_fetch_sub(&wire[box][g % 2], 1);
            underway_leave(shared, &r);
            return;
        }
        underway_leave(shared, &r);
    }
}

static void *work(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    for (unsigned i = 0; i < ROUNDS; i++)
        one_rcpt((uint64_t)rand_r(&seed) % BOXES);
    return NULL;
}

static void test_no_thread_slips_through(void **state)
{
    (void)state;
    pthread_t thread[WORKERS];
    shared = underway_new();
    atomic_store(&generation, 1);
    for (uintptr_t i = 0; i < WORKERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, work, (void *)(i + 1)), 0);
    for (unsigned i = 0; i < ROUNDS; i++)
        atomic_fetch_add_explicit(&generation, 1, memory_order_release);
    for (unsigned i = 0; i < WORKERS; i++)
        pthread_join(thread[i], NULL);
    assert_int_equal(atomic_load(&wrong), 0);
    underway_free(&shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_new_way_waits_for_the_old_one),
        cmocka_unit_test(test_nobody_else_waits),
        cmocka_unit_test(test_a_newer_one_the_same_way),
        cmocka_unit_test(test_the_wait_is_bounded),
        cmocka_unit_test(test_no_thread_slips_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
