/*
 * loop.h - one event loop, owned by one thread. Wraps libevent; nobody outside relay/io/ sees it.
 *
 * Order of a turn: descriptors, then the thread channel, then due timers, then the "end of turn"
 * work (streams flush what was written to them, the log is flushed). Callbacks never nest: nothing
 * here calls back from inside the call that armed it.
 *
 * Time: loop_now_ms() is the monotonic clock read once a turn. Timers run on it.
 */
#ifndef RELAY_IO_LOOP_H
#define RELAY_IO_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/chan.h"
#include "base/err.h"
#include "base/heap.h"
#include "base/list.h"

struct loop;

struct loop *loop_new(struct err *e);
/* After loop_run() returned, on the same thread. The channel must be empty. Streams that linger
 * (stream_finish) are closed; everything else has been freed by its owner. */
void loop_free(struct loop **l);
/* Runs until loop_stop(). */
void loop_run(struct loop *l);
/* One turn that waits at most max_wait_ms (for tests). */
void loop_turn(struct loop *l, int max_wait_ms);
/* From the loop's own thread; the turn in hand is finished. */
void loop_stop(struct loop *l);
int64_t loop_now_ms(const struct loop *l);
/* The channel that other threads use to reach this loop's thread. */
struct chan *loop_chan(struct loop *l);

/* A timer is embedded in its owner and costs nothing while unarmed. One shot. Setting an armed
 * timer moves it. fn may set it again, clear it, or free its owner. */
struct loop_timer;
typedef void loop_timer_fn(struct loop_timer *t);
struct loop_timer {
    struct heap_node node; /* private */
    struct loop *loop;     /* private */
    loop_timer_fn *fn;
};
void loop_timer_init(struct loop_timer *t, struct loop *l, loop_timer_fn *fn);
void loop_timer_set(struct loop_timer *t, int64_t delay_ms);
void loop_timer_clear(struct loop_timer *t);
static inline bool loop_timer_is_set(const struct loop_timer *t)
{
    return heap_node_is_linked(&t->node);
}

/* Work to be done once at the end of this turn. Adding it twice is a no-op. */
struct loop_task {
    struct list_node node; /* private */
    void (*fn)(struct loop_task *t);
};
void loop_task_add(struct loop *l, struct loop_task *t);
void loop_task_cancel(struct loop_task *t);

/* Readiness of a descriptor that is not a stream (inotify, signalfd, c-ares sockets). */
struct loop_fd;
enum {
    LOOP_READ = 1,
    LOOP_WRITE = 2
};
typedef void loop_fd_fn(void *arg, int fd, unsigned events);
struct loop_fd *loop_fd_add(struct loop *l, int fd, unsigned events, loop_fd_fn *fn, void *arg);
void loop_fd_remove(struct loop_fd **f); /* does not close; legal inside its own callback */

/* Signals arrive on this loop (only the main thread's). */
typedef void loop_signal_fn(void *arg, int signo);
bool loop_signal_add(struct loop *l, int signo, loop_signal_fn *fn, void *arg, struct err *e);

#endif
