/*
 * recovery.h - at start: the messages in the spool are found by a thread of their own and dealt out
 * to the workers, which accept new mail meanwhile.
 */
#ifndef RELAY_DAEMON_RECOVERY_H
#define RELAY_DAEMON_RECOVERY_H

#include "relay/daemon/worker.h"

struct recovery;

struct recovery *recovery_start(struct spool *s, struct worker **workers, unsigned n,
                                struct err *e);
/* Has everything been dealt out? Until then *stats has only the messages found so far. What a
 * worker is asked after this said yes comes after all that was dealt out to it. */
bool recovery_is_done(const struct recovery *r, struct spool_recovery_stats *stats, bool *ok);
/* The same, for who only wants to know that. */
bool recovery_is_running(const struct recovery *r);
/* Joins the thread. */
void recovery_free(struct recovery **r);

#endif
