/*
 * flight.h - commits under way at the same time, where a sync takes long. Between commit.c and
 * flight.c only; all on the commit thread. See flight.c.
 */
#ifndef RELAY_SPOOL_FLIGHT_H
#define RELAY_SPOOL_FLIGHT_H

#include "relay/spool/batch.h"

void flights_init(struct spool *s);
/* Ends the syncers; nothing may be under way. */
void flights_free(struct spool *s);

/* Do syncs take long enough, and is what comes next only plain messages? */
bool flight_is_wanted(struct spool *s);
bool flights_are_full(const struct commit *c);
/* The commit's batch is written: takes it over, leaves an empty one. */
void flight_start(struct spool *s);
/* Takes a syncer's answer from the channel. */
void flight_back(struct chan_node *n);
/* Ends, in order, those that are back. */
void flights_settle(struct spool *s);
/* Waits until nothing is under way. False: one failed, and the active segment is another now. */
bool flights_land(struct spool *s);
/* The active segment was ended: its descriptors are closed. */
void flights_leave_segment(struct spool *s);
/* How long a sync took. */
void flight_note_sync(struct commit *c, int64_t us);

/* commit.c, for flight.c */
void commit_gather(struct spool *s);
/* Answers all that is in it; it is on disk. */
void commit_succeeded(struct spool *s, struct batch *b);
/* Ends the active segment at its last good sync, begins another. */
void commit_segment_failed(struct spool *s, const struct err *e);
/* Answers all that is in it with the error; it is empty afterwards. */
void commit_refuse(struct spool *s, struct batch *b, const struct err *e);
void node_is_flight(struct chan_node *n);
static inline bool node_is_plain(const struct chan_node *n)
{
    return n->run != node_is_copy && CONTAINER_OF(n, const struct spool_append, node)->n_marks == 0;
}

#endif
