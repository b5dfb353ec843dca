/*
 * loop.c - one event loop over libevent's epoll base.
 *
 * libevent knows descriptors and signals, and one timeout: the time of our earliest timer. Timers
 * live in a heap of our own, because thousands of them are armed and moved for each one that fires,
 * and because tests must be able to run them on a clock that stands still.
 *
 * A turn: (1) descriptors, as libevent reports them, and work put off to this turn; (2) the
 * channel from other threads; (3) timers that are due; (4) tasks for the end of the turn, in
 * rounds, because an answer that a task hands out makes a stream want to flush; (5) the log. Phases
 * 3 and 4 are bounded, so that work which keeps arming itself cannot keep descriptors from being
 * served: what is left over makes the next turn not wait.
 *
 * Owned by one thread; only the channel may be used from others. Failure is possible in loop_new()
 * and loop_signal_add() alone.
 */
#include "relay/io/loop.h"

#include <errno.h>
#include <limits.h>
#include <sys/time.h>

#include <event2/event_struct.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "relay/io/loop_int.h"
#include "relay/io/stream_int.h"

enum {
    TASK_ROUNDS = 8,       /* of end-of-turn work before descriptors are looked at again */
    WAIT_MAX_MS = 3600000, /* no timeout for the kernel is longer */
};

struct loop_fd {
    struct event ev;
    struct loop *loop;
    loop_fd_fn *fn;
    void *arg;
};

struct loop_signal {
    struct list_node node;
    struct event ev;
    struct loop *loop;
    loop_signal_fn *fn;
    void *arg;
};

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    loop_enter(arg);
}

static void on_chan(evutil_socket_t fd, short what, void *arg)
{
    struct loop *l = arg;

    (void)fd;
    (void)what;
    loop_enter(l);
    l->chan_ready = true;
}

struct loop *loop_new(struct err *e)
{
    struct event_config *cfg = event_config_new();
    struct event_base *base = NULL;
    struct loop *l;

    if (cfg != NULL) {
        event_config_set_flag(cfg, EVENT_BASE_FLAG_NOLOCK);
        event_config_require_features(cfg, EV_FEATURE_O1);
        base = event_base_new_with_config(cfg);
        event_config_free(cfg);
    }
    if (base == NULL) {
        err_set(e, ERR_SYSTEM, errno, "event loop cannot be created");
        return NULL;
    }
    l = NEW(struct loop);
    l->base = base;
    l->chan = chan_new();
    heap_init(&l->timers);
    list_init(&l->tasks);
    list_init(&l->next);
    list_init(&l->signals);
    l->wake = evtimer_new(base, on_wake, l);
    l->chan_ev = event_new(base, chan_fd(l->chan), EV_READ | EV_PERSIST, on_chan, l);
    if (l->wake == NULL || l->chan_ev == NULL || event_add(l->chan_ev, NULL) != 0) {
        err_set(e, ERR_SYSTEM, errno, "event loop cannot watch its channel");
        loop_free(&l);
        return NULL;
    }
    return l;
}

void loop_free(struct loop **lp)
{
    struct loop *l = *lp;
    struct list_node *n;

    if (l == NULL)
        return;
    *lp = NULL;
    ASSERT(!l->in_turn);
    stream_pool_free(l);
    while ((n = list_pop_front(&l->signals)) != NULL) {
        struct loop_signal *s = CONTAINER_OF(n, struct loop_signal, node);
        event_del(&s->ev);
        mem_free(s);
    }
    if (l->chan_ev != NULL)
        event_free(l->chan_ev);
    if (l->wake != NULL)
        event_free(l->wake);
    chan_free(&l->chan);
    event_base_free(l->base);
    heap_free(&l->timers);
    mem_free(l);
}

struct event_base *loop_base(struct loop *l)
{
    return l->base;
}

struct chan *loop_chan(struct loop *l)
{
    return l->chan;
}

/* ---- time ---- */

void loop_enter(struct loop *l)
{
    if (!l->in_turn) {
        l->in_turn = true;
        l->now_ms = clock_mono_ms();
    }
}

int64_t loop_now_ms(const struct loop *l)
{
    return l->in_turn ? l->now_ms : clock_mono_ms();
}

void loop_timer_init(struct loop_timer *t, struct loop *l, loop_timer_fn *fn)
{
    t->node = (struct heap_node){.key = 0, .index = 0};
    t->loop = l;
    t->fn = fn;
}

void loop_timer_set(struct loop_timer *t, int64_t delay_ms)
{
    int64_t now = loop_now_ms(t->loop);

    if (delay_ms < 0)
        delay_ms = 0;
    heap_set(&t->loop->timers, &t->node, delay_ms > INT64_MAX - now ? INT64_MAX : now + delay_ms);
}

void loop_timer_clear(struct loop_timer *t)
{
    if (loop_timer_is_set(t))
        heap_remove(&t->loop->timers, &t->node);
}

/* At most as many as were armed when the phase began: a timer that sets itself to 0 comes again in
 * the next turn. */
static void run_timers(struct loop *l)
{
    uint32_t left = l->timers.n;

    while (left-- > 0) {
        struct heap_node *n = heap_min(&l->timers);
        struct loop_timer *t;

        if (n == NULL || n->key > l->now_ms)
            break;
        t = CONTAINER_OF(n, struct loop_timer, node);
        heap_remove(&l->timers, n);
        t->fn(t);
    }
}

/* ---- tasks ---- */

void loop_task_add(struct loop *l, struct loop_task *t)
{
    if (!list_node_is_linked(&t->node))
        list_push_back(&l->tasks, &t->node);
}

void loop_task_cancel(struct loop_task *t)
{
    list_remove(&t->node);
}

void loop_next_add(struct loop *l, struct loop_task *t)
{
    if (!list_node_is_linked(&t->node))
        list_push_back(&l->next, &t->node);
}

/* Moves all nodes of `from` to the empty list `to`. */
static void list_take(struct list *to, struct list *from)
{
    list_init(to);
    if (list_is_empty(from))
        return;
    to->head = from->head;
    to->head.next->prev = to->head.prev->next = &to->head;
    list_init(from);
}

static void run_list(struct list *list)
{
    struct list_node *n;

    while ((n = list_pop_front(list)) != NULL) {
        struct loop_task *t = CONTAINER_OF(n, struct loop_task, node);
        t->fn(t);
    }
}

static void run_tasks(struct loop *l)
{
    for (int i = 0; i < TASK_ROUNDS && !list_is_empty(&l->tasks); i++) {
        struct list round;
        list_take(&round, &l->tasks);
        run_list(&round);
    }
}

/* ---- turns ---- */

/* How long this turn may wait: 0 = not at all, -1 = until something happens. */
static int64_t wait_ms(const struct loop *l, int64_t max)
{
    const struct heap_node *n = heap_min(&l->timers);
    int64_t now, wait = max;

    if (!list_is_empty(&l->tasks) || !list_is_empty(&l->next))
        return 0;
    if (n == NULL || max == 0)
        return max;
    now = clock_mono_ms();
    if (n->key <= now)
        return 0;
    if (wait < 0 || n->key - now < wait)
        wait = n->key - now;
    return wait < WAIT_MAX_MS ? wait : WAIT_MAX_MS;
}

/* Waking too early does no harm, so a timeout that is earlier than needed is left alone: mostly
 * the earliest timer moves later, and libevent need not hear of it. */
static void arm_wake(struct loop *l, int64_t wait, bool exact)
{
    int64_t now = clock_mono_ms();
    struct timeval tv = {.tv_sec = wait / 1000, .tv_usec = wait % 1000 * 1000};

    if (!exact && l->wake_ms > now && l->wake_ms <= now + wait &&
        event_pending(l->wake, EV_TIMEOUT, NULL))
        return;
    l->wake_ms = now + wait;
    event_add(l->wake, &tv);
}

static void turn(struct loop *l, int64_t max_wait)
{
    struct list ready;
    int64_t wait = wait_ms(l, max_wait);

    list_take(&ready, &l->next);
    if (wait > 0)
        arm_wake(l, wait, max_wait >= 0);
    /* NONBLOCK alone would go on as long as anything is ready. */
    event_base_loop(l->base, EVLOOP_ONCE | (wait == 0 ? EVLOOP_NONBLOCK : 0));
    loop_enter(l);
    run_list(&ready);
    if (l->chan_ready) {
        l->chan_ready = false;
        chan_drain(l->chan);
    }
    run_timers(l);
    run_tasks(l);
    log_flush();
    l->in_turn = false;
}

void loop_turn(struct loop *l, int max_wait_ms)
{
    turn(l, max_wait_ms < 0 ? 0 : max_wait_ms);
}

void loop_run(struct loop *l)
{
    while (!l->stop)
        turn(l, -1);
    l->stop = false;
}

void loop_stop(struct loop *l)
{
    l->stop = true;
}

/* ---- descriptors and signals ---- */

static void on_fd(evutil_socket_t fd, short what, void *arg)
{
    struct loop_fd *f = arg;

    loop_enter(f->loop);
    f->fn(f->arg, fd, (what & EV_READ ? LOOP_READ : 0U) | (what & EV_WRITE ? LOOP_WRITE : 0U));
}

struct loop_fd *loop_fd_add(struct loop *l, int fd, unsigned events, loop_fd_fn *fn, void *arg)
{
    struct loop_fd *f = NEW(struct loop_fd);
    short what = EV_PERSIST;

    f->loop = l;
    f->fn = fn;
    f->arg = arg;
    what |= events & LOOP_READ ? EV_READ : 0;
    what |= events & LOOP_WRITE ? EV_WRITE : 0;
    if (event_assign(&f->ev, l->base, fd, what, on_fd, f) != 0 || event_add(&f->ev, NULL) != 0)
        LOG(ERROR, "", "descriptor_not_watched", LI("fd", fd), LI("errno", errno));
    return f;
}

void loop_fd_remove(struct loop_fd **fp)
{
    struct loop_fd *f = *fp;

    if (f == NULL)
        return;
    *fp = NULL;
    event_del(&f->ev);
    mem_free(f);
}

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
    struct loop_signal *s = arg;

    (void)what;
    loop_enter(s->loop);
    s->fn(s->arg, signo);
}

bool loop_signal_add(struct loop *l, int signo, loop_signal_fn *fn, void *arg, struct err *e)
{
    struct loop_signal *s = NEW(struct loop_signal);

    s->loop = l;
    s->fn = fn;
    s->arg = arg;
    if (evsignal_assign(&s->ev, l->base, signo, on_signal, s) != 0 ||
        evsignal_add(&s->ev, NULL) != 0) {
        mem_free(s);
        return err_set(e, ERR_SYSTEM, errno, "signal %d cannot be watched", signo);
    }
    list_push_back(&l->signals, &s->node);
    return true;
}
