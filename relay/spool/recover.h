/*
 * recover.h - between the parts of recovery: reading the log, reporting what lives, removing files
 * that nothing names.
 */
#ifndef RELAY_SPOOL_RECOVER_H
#define RELAY_SPOOL_RECOVER_H

#include "relay/spool/spool_int.h"

/* A living message to be reported. */
struct found {
    uint64_t id;
    struct segment *g;
    uint32_t unit, more;
};

struct recovery {
    struct spool *s;
    struct spool_recovery_stats *stats;
    int64_t began_ms;
    struct parsed *parsed; /* by segment, in order */
    struct found *found;
    size_t n_found;
    bool unsure; /* of what the log says, or that this is on disk: no file goes on its word */
};

/* Reads the segments of earlier processes into the table; `parsed` is its own. */
void replay_log(struct recovery *k);
/* What could not be read of g, or one message in it (else 0), is not known to be damaged: it is
 * there at the next start, and so is all that it may be a copy of, or about. */
void leave_unread(struct recovery *k, struct segment *g, uint64_t id);
/* Calls fn for each of `found`, in the order of their ids. */
void report_living(struct recovery *k, spool_recover_fn *fn, void *arg);
/* Removes files in large/ that no living message names, of earlier processes only; or leaves them,
 * where something may yet name them. */
void orphans_remove(struct recovery *k);

#endif
