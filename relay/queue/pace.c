/*
 * pace.c - the backlog gives way to new mail.
 *
 * When a forest comes back, a hundred thousand messages that waited for it and the mail of this
 * minute want the same processors, sessions and disk. While new mail flows, deliveries of the
 * backlog are started at a rate, one by one, and the rate is found from what new mail says, to
 * whatever destination it goes and whichever worker has it:
 *
 * - While no backlog is sent, each destination learns how long its new mail is in the hands of the
 *   transport: `usual` is the time that one in seventeen exceeds. The slow ones are what a backlog
 *   makes slower and what people notice; an average hides them. A far host and a near one are each
 *   measured by their own.
 * - While backlog is sent, a message of new mail that took longer than twice that (and a little)
 *   lowers the rate by an eighth; one that did not raises it by a step. So the rate settles where
 *   few take twice as long as usual.
 *
 * The rate begins low for each backlog and rises only as far as it is used. At its lowest it cannot
 * be what makes a destination slow: that learns then what is usual now. Without new mail for a
 * second there is no limit.
 *
 * Values are read and written by all workers without a lock: what one of them loses by that is a
 * step of the rate.
 */
#include "relay/queue/pace.h"

#include <stdatomic.h>

#define NS_PER_MS 1000000
#define NS_PER_S  1000000000

#define RATE_MIN  1000 /* starts of a worker per second */
#define RATE_FROM 3000
#define RATE_MAX  200000
#define STEP      32
#define CHANGE_NS (10 * NS_PER_MS)  /* between two changes: one stall of the disk is one event */
#define CALM_NS   (100 * NS_PER_MS) /* so long after its last start the backlog counts as gone */
#define FLOWS_NS  NS_PER_S
#define CATCH_UP  (4 * NS_PER_MS) /* of what late turns have missed, so much is made up for */
#define SLACK_NS  150000          /* nobody minds so much, whatever is usual */
#define SPREAD    4 /* before there was a calm time: usual is so many times the least seen */

static int64_t get(const _Atomic int64_t *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

static bool is(const _Atomic bool *v)
{
    return atomic_load_explicit(v, memory_order_relaxed);
}

static void note(_Atomic bool *v, bool to)
{
    atomic_store_explicit(v, to, memory_order_relaxed);
}

static void set(_Atomic int64_t *v, int64_t to)
{
    atomic_store_explicit(v, to, memory_order_relaxed);
}

void pace_init(struct pace *p)
{
    atomic_init(&p->rate, RATE_FROM);
    atomic_init(&p->fresh_ns, INT64_MIN / 2);
    atomic_init(&p->started_ns, INT64_MIN / 2);
    atomic_init(&p->changed_ns, INT64_MIN / 2);
    atomic_init(&p->held, false);
}

static bool is_calm(const struct pace *p, int64_t now_ns)
{
    return now_ns - get(&p->started_ns) > CALM_NS;
}

/* A quantile, followed by steps in proportion to itself: one up is as much as sixteen down. */
static void learn(struct pace_usual *u, int64_t took_ns)
{
    if (u->usual_ns == 0)
        u->usual_ns = SPREAD * u->least_ns;
    else if (took_ns > u->usual_ns)
        u->usual_ns += u->usual_ns / 8;
    else
        u->usual_ns -= u->usual_ns / 128;
}

static void change_rate(struct pace *p, int64_t rate, int64_t now_ns)
{
    set(&p->rate, rate < RATE_MIN ? RATE_MIN : rate > RATE_MAX ? RATE_MAX : rate);
    set(&p->changed_ns, now_ns);
    note(&p->held, false);
}

static void judge(struct pace *p, struct pace_usual *u, int64_t took_ns, int64_t now_ns)
{
    int64_t usual = u->usual_ns != 0 ? u->usual_ns : SPREAD * u->least_ns;
    int64_t rate = get(&p->rate);
    bool slow = took_ns > 2 * usual + SLACK_NS;
    if (rate == RATE_MIN)
        learn(u, took_ns);
    if (now_ns - get(&p->changed_ns) < CHANGE_NS)
        return;
    if (slow)
        change_rate(p, rate - rate / 8, now_ns);
    else if (is(&p->held))
        change_rate(p, rate + STEP, now_ns);
}

void pace_fresh_began(struct pace *p, int64_t now_ns)
{
    set(&p->fresh_ns, now_ns);
}

void pace_fresh_ended(struct pace *p, struct pace_usual *u, int64_t took_ns, int64_t now_ns)
{
    set(&p->fresh_ns, now_ns);
    if (u->least_ns == 0 || took_ns < u->least_ns)
        u->least_ns = took_ns;
    if (is_calm(p, now_ns))
        learn(u, took_ns);
    else
        judge(p, u, took_ns, now_ns);
}

bool pace_allows(struct pace *p, int64_t due_ns, int64_t now_ns)
{
    if (due_ns <= now_ns || now_ns - get(&p->fresh_ns) > FLOWS_NS)
        return true;
    note(&p->held, true);
    return false;
}

int64_t pace_started(struct pace *p, int64_t due_ns, int64_t now_ns)
{
    if (is_calm(p, now_ns))
        set(&p->rate, RATE_FROM);
    set(&p->started_ns, now_ns);
    if (due_ns < now_ns - CATCH_UP)
        due_ns = now_ns - CATCH_UP;
    else if (due_ns > now_ns)
        due_ns = now_ns; /* nothing limited it */
    return due_ns + NS_PER_S / get(&p->rate);
}
