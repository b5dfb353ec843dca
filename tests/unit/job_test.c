/*
 * job_test.c - jobs run on another thread in order, come back on this one, and come back also when
 * the daemon stops before they were begun. Run under TSan too.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "base/mem.h"
#include "relay/daemon/job.h"

struct work {
    unsigned number;
    pthread_t thread;
    struct chan *gate; /* waits for a message here, or for the order to stop */
};

static unsigned ran[JOBS_MAX + 1], n_ran, n_not_run;
static pthread_t last_thread;

static void run(struct jobs *j, void *arg)
{
    struct work *w = arg;
    struct chan_node *n = NULL;
    w->thread = pthread_self();
    while (w->gate != NULL && n == NULL && !jobs_must_stop(j)) {
        chan_wait(w->gate, 5);
        n = chan_take(w->gate);
    }
}

static void done(void *arg, bool was_run)
{
    struct work *w = arg;
    if (was_run) {
        last_thread = w->thread;
        ran[n_ran++] = w->number;
    } else {
        n_not_run++;
    }
    mem_free(w);
}

static struct work *work(unsigned number, struct chan *gate)
{
    struct work *w = NEW(struct work);
    w->number = number;
    w->gate = gate;
    return w;
}

static void reset(void)
{
    n_ran = n_not_run = 0;
}

static void in_order_on_another_thread(void **state)
{
    struct chan *back = chan_new();
    struct jobs *j = jobs_new(back);
    struct err e;
    (void)state;
    reset();
    for (unsigned i = 0; i < 5; i++)
        assert_true(job_run(j, run, done, work(i, NULL), &e));
    while (n_ran < 5) {
        chan_wait(back, 1000);
        chan_drain(back);
    }
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(ran[i], i);
    assert_false(pthread_equal(last_thread, pthread_self()));
    jobs_free(&j);
    assert_null(j);
    chan_free(&back);
}

static void so_many_and_no_more(void **state)
{
    struct chan *back = chan_new(), *gate = chan_new();
    struct jobs *j = jobs_new(back);
    struct chan_node open = {0};
    struct work *refused = work(99, NULL);
    struct err e;
    (void)state;
    reset();
    for (unsigned i = 0; i < JOBS_MAX; i++)
        assert_true(job_run(j, run, done, work(i, i == 0 ? gate : NULL), &e));
    assert_false(job_run(j, run, done, refused, &e));
    assert_int_equal(e.class, ERR_BUSY);
    chan_send(gate, &open);
    while (n_ran < JOBS_MAX) {
        chan_wait(back, 1000);
        chan_drain(back);
    }
    assert_true(job_run(j, run, done, refused, &e)); /* there is room again */
    jobs_free(&j);
    chan_drain(back);
    assert_int_equal(n_ran + n_not_run, JOBS_MAX + 1);
    chan_free(&gate);
    chan_free(&back);
}

static void stop_while_one_runs(void **state)
{
    struct chan *back = chan_new(), *gate = chan_new();
    struct jobs *j = jobs_new(back);
    struct err e;
    (void)state;
    reset();
    for (unsigned i = 0; i < 4; i++)
        assert_true(job_run(j, run, done, work(i, gate), &e));
    jobs_free(&j); /* nobody opens the gate */
    assert_int_equal(n_ran + n_not_run, 0);
    chan_drain(back);
    assert_int_equal(n_ran + n_not_run, 4);
    assert_true(n_not_run >= 3);
    chan_free(&gate);
    chan_free(&back);
}

static void nothing_to_do(void **state)
{
    struct chan *back = chan_new();
    struct jobs *j = jobs_new(back);
    (void)state;
    jobs_free(&j);
    jobs_free(&j);
    chan_free(&back);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_order_on_another_thread), cmocka_unit_test(so_many_and_no_more),
        cmocka_unit_test(stop_while_one_runs), cmocka_unit_test(nothing_to_do)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
