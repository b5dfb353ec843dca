/*
 * control_round.h - a round: one question to all workers at once, and what to do with the answers.
 * Main thread.
 */
#ifndef RELAY_DAEMON_CONTROL_ROUND_H
#define RELAY_DAEMON_CONTROL_ROUND_H

#include "relay/daemon/daemon.h"
#include "relay/daemon/worker.h"

struct round;
struct part {
    struct round *round;
    unsigned worker;
    void *data; /* the question's, one per worker */
};
struct round {
    struct daemon *d;
    unsigned left;
    void (*ask)(struct worker *w, void *data);
    void (*finish)(struct round *round, void *ctx);
    void *ctx;
    struct part *part;
};

/* Each worker gets `size` zeroed bytes, filled by init() if there is one, and its thread calls
 * ask() with them. When all have, finish() is called here; the bytes are freed after it. */
void round_start(struct daemon *d, size_t size, void (*init)(void *data, void *ctx),
                 void (*ask)(struct worker *, void *), void (*finish)(struct round *, void *),
                 void *ctx);

#endif
