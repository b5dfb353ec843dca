/*
 * replica_int.h - a replica's own parts: replica.c gathers and commits, hold.c stops what needs a
 * person, grace.c remembers what vanished. All on the source's thread.
 */
#ifndef DIRECTORY_REPLICA_INT_H
#define DIRECTORY_REPLICA_INT_H

#include "base/log.h"
#include "directory/hashmap.h"
#include "directory/replica.h"
#include "directory/store.h"

#define REPLICA_KILLED UINT64_MAX

struct holding {
    struct hold *now;  /* NULL: nothing is held */
    struct buf cookie; /* that belongs to the batch while something is held */
    uint64_t lately;   /* entries that vanished since lately_ms (monotonic) */
    int64_t lately_ms;
    int64_t next_until_ms;   /* monotonic; until then the next mass change is agreed to */
    uint64_t judged_version; /* of the batch when it was whole last */
    /* `now` as it was made last: of this version of the batch, at this time, in so many ms */
    uint64_t made_version;
    int64_t made_ms, made_took_ms;
};

struct leaving {
    unsigned char uuid[DIR_UUID_SIZE];
    int64_t vanished_ms; /* wall, as the entry has it */
    int64_t since_ms;    /* monotonic */
};
struct grace {
    bool known; /* those from before this process are in the list, too */
    struct leaving *v;
    size_t first, n, cap; /* v[first] .. v[n - 1], oldest first */
    struct buf names;     /* of this commit, for the log */
    unsigned named, unnamed;
    struct log_limit said;
};

struct replica {
    struct replica_options o;
    char *name;
    struct store store;
    struct dir_stack *stack;
    struct buf cookie;
    uint64_t sequence, entries, addresses, vanished;
    int64_t complete_wall_ms;
    uint64_t source_id;        /* of what we hold: o.source_id once that was fully synced */
    int64_t snapshot_after_ms; /* monotonic; not tried before */
    bool owes_snapshot;        /* of a first sync; it is written once the source is in use */

    struct table_builder *batch;
    struct hashmap batched; /* UUID hash -> handle in batch, or REPLICA_KILLED */
    unsigned n_batch;
    uint64_t batch_version; /* another one after each change, never used twice */

    struct err over; /* the first that goes beyond a limit, and why; until what has gathered, and
                        the refresh, are given up */

    bool refreshing;
    struct hashmap present; /* UUID hashes seen in this refresh */
    /* A refresh that began with nothing, and no UUID came twice: nothing older is to be found, and
     * `batched` is not kept. */
    bool all_new;

    struct holding holding;
    struct grace grace;
    struct dir_entry_room *room_old, *room_new;
};

/* ---- replica.c ---- */

/* The living entry as it is published, of a UUID that is in the batch or on its way there; slices
 * live in the stack, lists in room_old. */
bool replica_find(const struct replica *r, const unsigned char *uuid, struct dir_entry *out);
/* Walks the batch from *at = 0 in the order it gathered; `out` uses room_new. Returns the handle,
 * or TABLE_NO_ENTRY at the end. */
uint64_t replica_batch_next(const struct replica *r, uint64_t *at, struct dir_entry *out);
bool replica_batch_add(struct replica *r, const struct dir_entry *e);
void replica_commit_batch(struct replica *r, struct str cookie, bool first_end);
struct table_meta replica_meta(const struct replica *r);

/* ---- limits.c ---- */

/* May this entry be gathered? If not, what is gathered can no longer be committed. */
bool limits_allow(struct replica *r, const struct dir_entry *e);

/* ---- hold.c ---- */

void holding_init(struct replica *r);
void holding_free(struct replica *r);
/* What was held before a restart. False: it cannot be read now. */
bool holding_open(struct replica *r, struct err *e);
/* What a table's header keeps of the removals lately. */
void holding_adopt(struct replica *r, const struct table_safety *s);
void holding_meta(const struct replica *r, struct table_safety *out);
/* Must the batch wait for a person? Then it stays gathered, with this cookie. *cookie is what to
 * commit it with if not. */
bool holding_stops(struct replica *r, struct str *cookie, bool refresh);
/* Makes what is shown anew if that is due. */
void holding_tick(struct replica *r);
/* Nothing is held any more; `why` for the log. */
void holding_end(struct replica *r, const char *why);

/* ---- grace.c ---- */

void grace_init(struct replica *r);
void grace_free(struct replica *r);
/* While a commit is made: this entry has vanished just now, at that wall time. */
void grace_note(struct replica *r, const struct dir_entry *e, int64_t vanished_ms);
/* After it: names them in the log. */
void grace_say(struct replica *r);
/* Removes those whose time is over. */
void grace_tick(struct replica *r);

#endif
