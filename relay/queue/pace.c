/*
 * pace.c - the backlog gives way to new mail.
 *
 * When a forest comes back, a hundred thousand messages that waited for it and the mail of this
 * minute want the same sessions and processors. While new mail flows to a destination, only `rate`
 * deliveries of its backlog are started in each millisecond. The rate is found as a scavenger
 * transport finds its own: as long as new mail takes about as long as at the best of times, it
 * rises by a step; when it takes clearly longer on average, it falls by a quarter. Without new mail
 * for a second there is no limit. Times come from the deliveries themselves, so a far host and a
 * near one are each measured by their own. Pure; the queue's thread.
 */
#include "relay/queue/queue_int.h"

#define STEP      16 /* rates are kept in sixteenths of a delivery per millisecond */
#define RATE_MIN  (3 * STEP)
#define RATE_FROM (3 * STEP)
#define RATE_MAX  (256 * STEP)
#define CHANGE_MS 10
#define FLOWS_MS  1000
#define WINDOW_MS 30000
#define SLACK_US  50
#define AVERAGED  8

void pace_init(struct pace *p)
{
    *p = (struct pace){.rate = RATE_FROM,
                       .fresh_ms = INT64_MIN / 2,
                       .least_us = INT64_MAX,
                       .least_before_us = INT64_MAX};
}

static int64_t least(const struct pace *p)
{
    return p->least_us < p->least_before_us ? p->least_us : p->least_before_us;
}

void pace_fresh_ended(struct pace *p, int64_t took_us, int64_t now_ms)
{
    if (now_ms - p->window_ms > WINDOW_MS) {
        p->least_before_us = p->least_us;
        p->least_us = INT64_MAX;
        p->window_ms = now_ms;
    }
    if (took_us < p->least_us)
        p->least_us = took_us;
    p->average_us += (took_us - p->average_us) / AVERAGED;
    p->fresh_ms = now_ms;
    if (now_ms - p->changed_ms < CHANGE_MS)
        return;
    p->changed_ms = now_ms;
    if (p->average_us > least(p) + least(p) / 2 + SLACK_US)
        p->rate -= p->rate / 4;
    else
        p->rate += STEP / 2;
    if (p->rate < RATE_MIN)
        p->rate = RATE_MIN;
    else if (p->rate > RATE_MAX)
        p->rate = RATE_MAX;
}

bool pace_allows(struct pace *p, int64_t now_ms)
{
    if (now_ms != p->tick_ms) {
        p->tick_ms = now_ms;
        p->started = 0;
    }
    return p->started < p->rate / STEP || now_ms - p->fresh_ms > FLOWS_MS;
}
