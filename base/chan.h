/*
 * chan.h - the only way a message goes from one thread to another: many senders, one receiver.
 *
 * A node is embedded in the message and is in at most one channel. The sender gives the message
 * away by sending; the receiver's `run` gets it back, on the receiver's thread, in the order sent
 * (per sender). Sending never blocks and never fails. The receiver is woken through an eventfd only
 * when the channel was empty.
 */
#ifndef BASE_CHAN_H
#define BASE_CHAN_H

#include <stdbool.h>

struct chan;
struct chan_node;
typedef void chan_run_fn(struct chan_node *node);

struct chan_node {
    struct chan_node *next;
    chan_run_fn *run; /* called by chan_drain() on the receiving thread; may free the message */
};

struct chan *chan_new(void);
void chan_free(struct chan **c); /* nothing may be in it, nobody may send */
void chan_send(struct chan *c, struct chan_node *n);
/* The eventfd: readable when something may be in the channel. */
int chan_fd(const struct chan *c);
/* Runs all that is in the channel now (what arrives meanwhile waits for the next call; the eventfd
 * stays or becomes readable then). Returns how many were run. */
unsigned chan_drain(struct chan *c);
/* Takes all nodes at once, oldest first, linked by next; NULL if empty. For receivers with no loop.
 */
struct chan_node *chan_take(struct chan *c);
/* Blocks until something may be in the channel, or timeout_ms (-1: for ever) has passed. */
void chan_wait(struct chan *c, int timeout_ms);

#endif
