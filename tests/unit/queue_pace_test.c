/*
 * queue_pace_test.c - the pace of a backlog, against modelled processors: how long new mail takes
 * grows with what is started beside it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "relay/queue/pace.h"

#define MS 1000000ll
#define S  (1000 * MS)

struct model {
    struct pace p;
    int64_t now, due[2];      /* two workers with backlog */
    double capacity;          /* starts per second that take all of the processors */
    double started;           /* of late, per second */
    int64_t base;             /* how long new mail takes at least */
    unsigned total;           /* starts so far */
    unsigned n_fresh, n_slow; /* new mail, and how much of it took over four times the base */
    uint64_t random;
};

static double uniform(struct model *m)
{
    m->random ^= m->random << 13;
    m->random ^= m->random >> 7;
    m->random ^= m->random << 17;
    return (double)(m->random >> 11) / 9007199254740992.0;
}

static void model_init(struct model *m)
{
    *m =
        (struct model){.now = 1000 * S, .capacity = 40000, .base = MS, .random = 88172645463325252};
    pace_init(&m->p);
}

/* Half the base to one and a half, more the busier the processors are, and one in 50 a lot more. */
static void fresh(struct model *m, struct pace_usual *u)
{
    double use = m->started / m->capacity, took = (double)m->base * (0.5 + uniform(m));
    took /= use < 0.98 ? 1 - use : 0.02;
    if (uniform(m) < 0.02)
        took *= 5;
    pace_fresh_began(&m->p, m->now);
    pace_fresh_ended(&m->p, u, (int64_t)took, m->now);
    m->n_fresh++;
    m->n_slow += took > 4 * (double)m->base;
}

/* So long; each worker looks every millisecond and has up to `most` to start; new mail comes each
 * 3 ms (u NULL: none). */
static void run(struct model *m, int64_t ns, unsigned most, struct pace_usual *u)
{
    for (int64_t end = m->now + ns; m->now < end; m->now += MS) {
        unsigned n = 0;
        for (unsigned w = 0; w < 2; w++)
            for (unsigned k = 0; k < most && pace_allows(&m->p, m->due[w], m->now); k++, n++)
                m->due[w] = pace_started(&m->p, m->due[w], m->now);
        m->total += n;
        m->started += (n * 1000.0 - m->started) / 20;
        if (u != NULL && m->now / MS % 3 == 0)
            fresh(m, u);
    }
}

static void test_no_limit_without_new_mail(void **state)
{
    (void)state;
    struct model m;
    model_init(&m);
    run(&m, S, 50, NULL);
    assert_int_equal(m.total, 2 * 1000 * 50);
    struct pace_usual u = {0};
    fresh(&m, &u);
    m.total = 0;
    run(&m, 500 * MS, 50, NULL);
    assert_in_range(m.total, 1000, 4000);
    run(&m, 600 * MS, 50, NULL);
    m.total = 0;
    run(&m, 100 * MS, 50, NULL);
    assert_int_equal(m.total, 2 * 100 * 50);
}

static void test_begins_low_after_times_without_limit(void **state)
{
    (void)state;
    struct model m;
    struct pace_usual u = {0};
    model_init(&m);
    run(&m, 5 * S, 0, &u);
    run(&m, 10 * S, 50, &u);
    run(&m, 2 * S, 0, &u);
    m.total = 0;
    run(&m, 50 * MS, 50, &u);
    assert_in_range(m.total, 100, 400);
}

/* Where few take more than twice as long as the slow ones did before. */
static void test_settles_where_new_mail_can_live_with_it(void **state)
{
    (void)state;
    /* The last one is more than two workers could use. */
    static const struct {
        double capacity, least, most;
    } row[] = {{8000, 2500, 7000}, {40000, 12000, 35000}, {200000, 15000, 180000}};
    for (unsigned i = 0; i < 3; i++) {
        struct model m;
        struct pace_usual u = {0};
        model_init(&m);
        m.capacity = row[i].capacity;
        run(&m, 5 * S, 0, &u);
        assert_in_range(u.usual_ns, MS * 12 / 10, MS * 18 / 10);
        run(&m, 30 * S, 400, &u);
        m.total = m.n_fresh = m.n_slow = 0;
        run(&m, 30 * S, 400, &u);
        double rate = m.total / 30.0;
        assert_true(rate > row[i].least && rate < row[i].most);
        assert_true(m.n_slow * 100 < m.n_fresh * 10);
    }
}

/* A late turn makes up for what it missed, but not for all of a long one. */
static void test_late_turns_catch_up(void **state)
{
    (void)state;
    struct model m;
    struct pace_usual u = {0};
    model_init(&m);
    fresh(&m, &u);
    unsigned n = 0;
    for (unsigned i = 0; i < 100; i++) {
        m.now += 3 * MS;
        for (; pace_allows(&m.p, m.due[0], m.now); n++)
            m.due[0] = pace_started(&m.p, m.due[0], m.now);
    }
    assert_in_range(n, 880, 920); /* of 3,000 a second */
    m.now += 500 * MS;
    for (n = 0; pace_allows(&m.p, m.due[0], m.now); n++)
        m.due[0] = pace_started(&m.p, m.due[0], m.now);
    assert_in_range(n, 5, 20);
}

/* The backlog is not the reason: it does not stay at its lowest for that. */
static void test_a_host_that_became_slow_by_itself(void **state)
{
    (void)state;
    struct model m;
    struct pace_usual u = {0};
    model_init(&m);
    run(&m, 5 * S, 0, &u);
    run(&m, 5 * S, 100, &u);
    m.base = 20 * MS;
    run(&m, 5 * S, 100, &u);
    run(&m, 20 * S, 100, &u);
    m.total = 0;
    run(&m, 5 * S, 100, &u);
    assert_true(m.total / 5 > 8000);
}

/* One stall slows many messages and lowers the rate once or twice. */
static void test_one_stall_is_one_event(void **state)
{
    (void)state;
    struct model m;
    struct pace_usual u = {0};
    model_init(&m);
    m.capacity = 1e9;
    run(&m, 5 * S, 0, &u);
    run(&m, 5 * S, 100, &u);
    int64_t before = m.p.rate;
    for (unsigned i = 0; i < 100; i++)
        pace_fresh_ended(&m.p, &u, 30 * MS, m.now + i * MS / 20);
    assert_true(m.p.rate >= before * 3 / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_limit_without_new_mail),
        cmocka_unit_test(test_begins_low_after_times_without_limit),
        cmocka_unit_test(test_settles_where_new_mail_can_live_with_it),
        cmocka_unit_test(test_late_turns_catch_up),
        cmocka_unit_test(test_a_host_that_became_slow_by_itself),
        cmocka_unit_test(test_one_stall_is_one_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
