/*
 * loop_int.h - the inside of a loop, for relay/io/ alone.
 */
#ifndef RELAY_IO_LOOP_INT_H
#define RELAY_IO_LOOP_INT_H

#include <event2/event.h>

#include "relay/io/loop.h"

struct stream_pool;

struct loop {
    struct event_base *base;
    struct event *wake;    /* the one timeout known to libevent */
    struct event *chan_ev; /* readable channel */
    struct chan *chan;
    struct heap timers;
    struct list tasks;        /* for the end of this turn */
    struct list next;         /* for the descriptor phase of the next turn */
    struct list signals;      /* struct loop_signal */
    struct stream_pool *pool; /* buffers and lingering streams; made on first use */
    int64_t now_ms;           /* valid while in_turn */
    int64_t wake_ms;          /* when `wake` fires, on our clock; only if it is pending */
    bool in_turn, chan_ready, stop;
};

struct event_base *loop_base(struct loop *l);

/* Every descriptor callback starts with this: the first one of a turn reads the clock. */
void loop_enter(struct loop *l);

/* Runs t in the descriptor phase of the next turn, which then does not wait. For input that no
 * descriptor announces: bytes inside a TLS record already read, the fake pair. Cancelled by
 * loop_task_cancel(). */
void loop_next_add(struct loop *l, struct loop_task *t);

#endif
