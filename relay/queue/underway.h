/*
 * underway.h - the RCPT commands that no next hop has answered yet, of all workers: for whom, and
 * where to. It keeps the order at a cutover: mail for a mailbox that has moved does not go the new
 * way while mail for it may still arrive the old way, from whichever worker.
 *
 * A worker enters a recipient just before its RCPT is written and takes it out when that was
 * answered, or its connection has ended. What is decided by a newer generation of the directory
 * than a command to *another* destination for the same mailbox waits for that command, and for
 * nothing else; but no such command is waited for longer than UNDERWAY_WAIT_MS, counted from the
 * first that waited, so a sick old host holds up no mail.
 *
 * Why no decision of before slips through: a worker enters first and then looks whether its
 * decision's generation is still the newest (confirm.c). If another one, by a newer generation,
 * was here earlier, that look shows the newer generation; if it comes later, it finds the entry.
 *
 * Any thread. A lock per shard, held for a look at a few entries; memory follows what is in hand.
 */
#ifndef RELAY_QUEUE_UNDERWAY_H
#define RELAY_QUEUE_UNDERWAY_H

#include <stdbool.h>
#include <stdint.h>

#define UNDERWAY_WAIT_MS 100

struct underway;

struct underway_rcpt {
    uint64_t mailbox;    /* hash of what stands for the mailbox */
    uint64_t dest;       /* hash of the destination */
    uint64_t generation; /* by which it was decided */
};

struct underway *underway_new(void);
void underway_free(struct underway **u);

/* False: it has to wait, and was not entered. `patient` false: it is entered whatever there is. */
bool underway_enter(struct underway *u, const struct underway_rcpt *r, bool patient,
                    int64_t now_ms);
/* Has what waits to wait still? */
bool underway_must_wait(struct underway *u, const struct underway_rcpt *r, int64_t now_ms);
void underway_leave(struct underway *u, const struct underway_rcpt *r);

#endif
