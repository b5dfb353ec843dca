/*
 * pace.h - how fast backlog is sent while new mail flows. One pace for the queues of all workers,
 * because it is the same processors, disk and links that they share. Any thread.
 */
#ifndef RELAY_QUEUE_PACE_H
#define RELAY_QUEUE_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct pace {
    _Atomic int64_t rate; /* starts of a worker per second */
    _Atomic int64_t fresh_ns, started_ns,
        changed_ns;    /* last: new mail, start, change of the rate */
    _Atomic bool held; /* a start was put off since the last change */
};
void pace_init(struct pace *p);

/* What is known of new mail to one destination; begins as zeros. */
struct pace_usual {
    int64_t usual_ns; /* one in seventeen takes longer when there is no backlog; 0 = unknown */
    int64_t least_ns; /* 0 = none yet */
};
/* A delivery of new mail begins; ends well, after it was so long in the hands of the transport. */
void pace_fresh_began(struct pace *p, int64_t now_ns);
void pace_fresh_ended(struct pace *p, struct pace_usual *u, int64_t took_ns, int64_t now_ns);

/* May a delivery of the backlog be started now? due_ns: what pace_started() said the last time
 * (0: none yet). If not: ask again in a millisecond. */
bool pace_allows(struct pace *p, int64_t due_ns, int64_t now_ns);
int64_t pace_started(struct pace *p, int64_t due_ns, int64_t now_ns);

#endif
