/*
 * io_loop_test.c - order of a turn, timers on a clock that stands still, tasks, the channel from
 * other threads, descriptors and signals.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "relay/io/loop.h"
#include "relay/io/loop_int.h"

static struct loop *l;
static char trail[128];

static void note(char c)
{
    size_t n = strlen(trail);

    assert_true(n + 1 < sizeof(trail));
    trail[n] = c;
    trail[n + 1] = '\0';
}

static int setup(void **state)
{
    struct err e;

    (void)state;
    trail[0] = '\0';
    clock_fake_start(1000000, 1700000000000);
    l = loop_new(&e);
    return l != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(&l);
    clock_fake_stop();
    return 0;
}

struct tt {
    struct loop_timer t;
    char c;
    int again; /* set itself again so often, with `delay` */
    int64_t delay;
    struct loop_timer *clear;
    bool free_self;
};

static void on_timer(struct loop_timer *t)
{
    struct tt *x = CONTAINER_OF(t, struct tt, t);

    assert_false(loop_timer_is_set(t));
    note(x->c);
    if (x->clear != NULL)
        loop_timer_clear(x->clear);
    if (x->again-- > 0)
        loop_timer_set(t, x->delay);
    if (x->free_self)
        mem_free(x);
}

static struct tt *tt_new(char c)
{
    struct tt *x = NEW(struct tt);

    loop_timer_init(&x->t, l, on_timer);
    x->c = c;
    return x;
}

static void test_timers_follow_the_fake_clock(void **state)
{
    struct tt *a = tt_new('a'), *b = tt_new('b'), *c = tt_new('c');

    (void)state;
    loop_timer_set(&a->t, 30);
    loop_timer_set(&b->t, 10);
    loop_timer_set(&c->t, 86400000);
    loop_turn(l, 0);
    assert_string_equal(trail, "");
    clock_fake_advance(9);
    loop_turn(l, 0);
    assert_string_equal(trail, "");
    clock_fake_advance(1);
    loop_turn(l, 0);
    assert_string_equal(trail, "b");
    clock_fake_advance(86400000);
    assert_int_equal(loop_now_ms(l), 1000000 + 10 + 86400000);
    loop_turn(l, 0);
    assert_string_equal(trail, "bac");
    assert_false(loop_timer_is_set(&c->t));
    mem_free(a);
    mem_free(b);
    mem_free(c);
}

static void test_timer_moves_clears_and_frees_itself(void **state)
{
    struct tt *a = tt_new('a'), *b = tt_new('b'), *c = tt_new('c');

    (void)state;
    loop_timer_set(&a->t, 10);
    loop_timer_set(&a->t, 50); /* moves */
    loop_timer_set(&b->t, 20);
    loop_timer_set(&c->t, 30);
    b->clear = &c->t;
    a->free_self = true;
    clock_fake_advance(100);
    loop_turn(l, 0);
    assert_string_equal(trail, "ba");
    loop_timer_clear(&c->t);
    mem_free(b);
    mem_free(c);
}

static void test_timer_of_zero_cannot_hold_the_turn(void **state)
{
    struct tt *a = tt_new('a');

    (void)state;
    a->again = 3;
    loop_timer_set(&a->t, 0);
    loop_turn(l, 0);
    assert_string_equal(trail, "a");
    loop_turn(l, 1000); /* due: does not wait */
    loop_turn(l, 1000);
    loop_turn(l, 1000);
    assert_string_equal(trail, "aaaa");
    assert_false(loop_timer_is_set(&a->t));
    mem_free(a);
}

/* ---- order ---- */

struct task {
    struct loop_task t;
    char c;
    int again;
    struct loop_task *cancel;
};

static void on_task(struct loop_task *t)
{
    struct task *x = CONTAINER_OF(t, struct task, t);

    note(x->c);
    if (x->cancel != NULL)
        loop_task_cancel(x->cancel);
    if (x->again-- > 0)
        loop_task_add(l, t);
}

static void on_fd(void *arg, int fd, unsigned events)
{
    struct loop_fd **f = arg;

    (void)fd;
    assert_true(events & LOOP_WRITE);
    note('f');
    loop_fd_remove(f);
}

static void on_chan(struct chan_node *n)
{
    (void)n;
    note('h');
}

static void test_order_of_a_turn(void **state)
{
    struct task a = {.t = {.fn = on_task}, .c = 'x'}, b = {.t = {.fn = on_task}, .c = 'y'},
                c = {.t = {.fn = on_task}, .c = 'n'};
    struct tt *timer = tt_new('t');
    struct chan_node node = {.run = on_chan};
    struct loop_fd *f;
    int fd = eventfd(0, EFD_NONBLOCK);

    (void)state;
    loop_task_add(l, &a.t);
    loop_task_add(l, &a.t); /* no-op */
    loop_task_add(l, &b.t);
    loop_next_add(l, &c.t);
    loop_timer_set(&timer->t, 0);
    chan_send(loop_chan(l), &node);
    f = loop_fd_add(l, fd, LOOP_READ | LOOP_WRITE, on_fd, &f);
    loop_turn(l, 1000);
    assert_string_equal(trail, "fnhtxy");
    assert_null(f);
    loop_turn(l, 0);
    assert_string_equal(trail, "fnhtxy");
    close(fd);
    mem_free(timer);
}

static int64_t real_ms(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void test_tasks_cancel_and_repeat_within_bounds(void **state)
{
    struct task a = {.t = {.fn = on_task}, .c = 'a'}, b = {.t = {.fn = on_task}, .c = 'b'},
                c = {.t = {.fn = on_task}, .c = 'c', .again = 20};
    int64_t began;

    (void)state;
    a.cancel = &b.t;
    loop_task_add(l, &a.t);
    loop_task_add(l, &b.t);
    loop_turn(l, 0);
    assert_string_equal(trail, "a");
    trail[0] = '\0';
    loop_task_add(l, &c.t);
    loop_turn(l, 0);
    assert_in_range(strlen(trail), 1, 19); /* the turn ended though c is never done */
    began = real_ms();
    loop_turn(l, 2000); /* while work is left no turn waits */
    loop_turn(l, 2000);
    assert_int_equal(strlen(trail), 21);
    loop_next_add(l, &a.t);
    loop_turn(l, 2000);
    assert_int_equal(strlen(trail), 22);
    assert_true(real_ms() - began < 1900);
}

static void on_stop_timer(struct loop_timer *t)
{
    note('s');
    loop_stop(t->loop);
}

static void test_run_waits_for_real_time(void **state)
{
    struct loop_timer t;
    int64_t began;

    (void)state;
    clock_fake_stop();
    began = clock_mono_ms();
    loop_timer_init(&t, l, on_stop_timer);
    loop_timer_set(&t, 20);
    loop_run(l);
    assert_string_equal(trail, "s");
    assert_true(clock_mono_ms() - began >= 20);
    assert_true(clock_mono_ms() - began < 5000);
    loop_stop(l); /* before run: does not start */
    loop_run(l);
}

/* ---- other threads ---- */

enum {
    SENDERS = 4,
    PER_SENDER = 5000
};
struct message {
    struct chan_node node;
    int sender, number;
};
static int next_number[SENDERS], received;

static void on_message(struct chan_node *n)
{
    struct message *m = CONTAINER_OF(n, struct message, node);

    assert_int_equal(m->number, next_number[m->sender]++);
    mem_free(m);
    if (++received == SENDERS * PER_SENDER)
        loop_stop(l);
}

static void *sender(void *arg)
{
    for (int i = 0; i < PER_SENDER; i++) {
        struct message *m = NEW(struct message);
        m->node.run = on_message;
        m->sender = (int)(intptr_t)arg;
        m->number = i;
        chan_send(loop_chan(l), &m->node);
    }
    return NULL;
}

static void test_channel_from_other_threads(void **state)
{
    pthread_t t[SENDERS];

    (void)state;
    clock_fake_stop();
    received = 0;
    memset(next_number, 0, sizeof(next_number));
    for (int i = 0; i < SENDERS; i++)
        assert_int_equal(pthread_create(&t[i], NULL, sender, (void *)(intptr_t)i), 0);
    loop_run(l);
    for (int i = 0; i < SENDERS; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(received, SENDERS * PER_SENDER);
}

static void on_signal(void *arg, int signo)
{
    *(int *)arg = signo;
}

static void test_signal(void **state)
{
    int seen = 0;

    (void)state;
    assert_true(loop_signal_add(l, SIGUSR1, on_signal, &seen, NULL));
    raise(SIGUSR1);
    loop_turn(l, 1000);
    assert_int_equal(seen, SIGUSR1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_timers_follow_the_fake_clock, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer_moves_clears_and_frees_itself, setup, teardown),
        cmocka_unit_test_setup_teardown(test_timer_of_zero_cannot_hold_the_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order_of_a_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(test_tasks_cancel_and_repeat_within_bounds, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_run_waits_for_real_time, setup, teardown),
        cmocka_unit_test_setup_teardown(test_channel_from_other_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_signal, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
