/*
 * cutover.h - moves whose time comes: waves that are to begin, and those that come back by
 * themselves. Main thread.
 *
 * The times are of the wall clock and are kept in the journal (directory/override/override.h), so
 * they survive a restart; what was due meanwhile is done at the start. Within a blackout window
 * nothing begins or comes back: it waits for the end.
 */
#ifndef RELAY_DAEMON_CUTOVER_H
#define RELAY_DAEMON_CUTOVER_H

#include "relay/daemon/daemon.h"

struct cutover;

/* Does what is due already. */
struct cutover *cutover_start(struct daemon *d);
void cutover_stop(struct cutover **c);
/* A wave was ordered or taken back, or the configuration is another. */
void cutover_look(struct cutover *c);

/* The next thing to be done for any wave. */
struct cutover_step {
    uint32_t wave;
    int64_t due_ms; /* wall clock */
    bool begins;    /* else its time is over */
};
/* Pure. False: nothing is due, ever. */
bool cutover_next(const struct overrides *o, struct cutover_step *out);

#endif
