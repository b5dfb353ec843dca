/*
 * pace.c - the backlog gives way to new mail.
 *
 * When a forest comes back, a hundred thousand messages that waited for it and the mail of this
 * minute want the same sessions and processors. While new mail flows to a destination, only `limit`
 * deliveries of its backlog are in hand. The limit is found as a scavenger transport finds its
 * rate: as long as new mail takes about as long as at the best of times, it rises by one; when it
 * takes clearly longer on average, it halves. Without new mail for a second there is no limit.
 * Times come from the deliveries themselves, so a far host and a near one are each measured by
 * their own. Pure; the queue's thread.
 */
#include "relay/queue/queue_int.h"

#define PACE_MIN       1
#define PACE_START     16
#define PACE_MAX       1024
#define CHANGE_MS      10
#define FLOWS_MS       1000
#define WINDOW_MS      30000
#define SLACK_US       300
#define AVERAGE_WEIGHT 8

void pace_init(struct pace *p)
{
    *p = (struct pace){.limit = PACE_START,
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
    p->average_us += (took_us - p->average_us) / AVERAGE_WEIGHT;
    p->fresh_ms = now_ms;
    if (now_ms - p->changed_ms < CHANGE_MS)
        return;
    p->changed_ms = now_ms;
    if (p->average_us > 2 * least(p) + SLACK_US)
        p->limit = p->limit / 2 > PACE_MIN ? p->limit / 2 : PACE_MIN;
    else if (p->limit < PACE_MAX)
        p->limit++;
}

bool pace_allows(const struct pace *p, int64_t now_ms)
{
    return p->in_hand < p->limit || now_ms - p->fresh_ms > FLOWS_MS;
}
