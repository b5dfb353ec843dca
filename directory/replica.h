/*
 * replica.h - our copy of what one source says: takes upserts, deletes and refreshes, publishes
 * them as commits, keeps them on disk with the cookie of the moment. No threads, no network: the
 * part of a source that can be tested by itself. One thread (the source's).
 *
 * Changes gather in a batch. A commit turns the batch into one table on top of the stack, writes it
 * to the journal, publishes it, and then syncs: a crash of the program loses nothing that was
 * published; after a power failure the older cookie brings it back. What the new entry says the
 * same as before is left out, so an update that changes nothing publishes nothing.
 *
 * A refresh is the server telling everything again. The first one is committed as it comes, so that
 * a large directory is usable early, but without a cookie and without being complete. A later one
 * is gathered and applied whole at its end, or not at all: never the half of it. What would remove
 * or move too much waits for a person (hold.h). What vanishes routes on for a while (grace.c).
 */
#ifndef DIRECTORY_REPLICA_H
#define DIRECTORY_REPLICA_H

#include "base/buf.h"
#include "base/err.h"
#include "base/file.h"
#include "directory/hold.h"
#include "directory/stack.h"

/* So many changed keys are named in one commit; beyond, `everything`. */
#define REPLICA_KEYS_MAX 200000

struct replica_commit {
    struct dir_stack *stack; /* borrowed: take a reference to keep it */
    unsigned n_entries;      /* entries that truly changed; 0: only the tables were rearranged */
    bool everything;
    unsigned n_keys;
    const uint64_t *key_hash;       /* old and new keys of those entries, of every kind */
    const struct dir_table *change; /* what the commit says; NULL: nothing, or all is gone */
};
typedef void replica_publish_fn(void *arg, const struct replica_commit *c);
/* Something is held from now on, or it has changed, or (NULL) is not held any more. */
typedef void replica_held_fn(void *arg, struct hold *h);

struct replica_options {
    const char *folder, *name;
    const struct file_ops *ops;   /* NULL: file_real */
    uint64_t source_id;           /* hash of what is asked for. After a change the old entries serve
                                     on, incomplete and without a cookie, until the next refresh */
    uint64_t verify_max;          /* store.h; 0: the default */
    unsigned mass_change_percent; /* 100: no limit */
    uint64_t mass_change_count;   /* 0: no limit */
    int64_t grace_ms;             /* 0: what vanishes is gone at once */
    unsigned entries_max;         /* 0: no limit */
    unsigned addresses_max;       /* of one entry; 0: no limit */
    replica_publish_fn *publish;
    replica_held_fn *held; /* may be NULL */
    void *arg;
};

struct replica;

struct replica *replica_open(const struct replica_options *o, struct err *e);
void replica_close(struct replica **r);
/* Verifies a large snapshot that opening only mapped, and brings it into memory. False: it was
 * damaged, an empty directory was published, begin anew. */
bool replica_settle(struct replica *r);
bool replica_is_unverified(const struct replica *r);

struct dir_stack *replica_stack(const struct replica *r); /* borrowed */
struct str replica_cookie(const struct replica *r);       /* empty: none */
/* Fully synced at least once, with what is asked for now. */
bool replica_is_complete(const struct replica *r);
int64_t replica_complete_wall_ms(const struct replica *r);
uint64_t replica_entries(const struct replica *r);
uint64_t replica_addresses(const struct replica *r);
uint64_t replica_vanished(const struct replica *r); /* in their grace period; not among entries */
uint64_t replica_bytes(const struct replica *r);    /* on disk */

/* The entry's slices need only live for the call. False: too long to keep. */
bool replica_upsert(struct replica *r, const struct dir_entry *e);
void replica_delete(struct replica *r, const unsigned char *uuid);
/* The entry is still there, unchanged (RFC 4533 present phase). */
void replica_present(struct replica *r, const unsigned char *uuid);

/* Forgets what gathered since the last commit, and the refresh if there is one. */
void replica_abort(struct replica *r);
void replica_refresh_begin(struct replica *r);
bool replica_is_refreshing(const struct replica *r);
/* Ends the refresh. `delete_absent`: what was neither upserted nor present is gone. A mass change
 * is held and not applied, which is no failure: the source goes on as ever. False with ERR_LIMIT:
 * more than the limits allow, or the first sync found no entry at all (which is a wrong filter, a
 * missing right or a file being written, and would turn into 550 for everyone); nothing was
 * applied, and the refresh is over. */
bool replica_refresh_end(struct replica *r, bool delete_absent, struct str cookie, struct err *e);
/* Publishes the batch. cookie.p NULL: keep the old one. */
void replica_commit(struct replica *r, struct str cookie);
/* The same for changes that come one by one, with an eye on what they are together: a mass change
 * is held (hold.h). All that the cookie stands for must be in the batch. False with ERR_LIMIT: more
 * than the limits allow; the batch is gone, the cookie is what it was: end the session. */
bool replica_commit_checked(struct replica *r, struct str cookie, struct err *e);
/* Does what has gathered keep to the limits? False with ERR_LIMIT: which one, and what is too much.
 */
bool replica_keeps_limits(struct replica *r, struct err *e);
/* What is held, or NULL; borrowed until the next call. While it is, replica_cookie() stays that of
 * the last good generation: a session that goes on from what it has gathered keeps its own. */
const struct hold *replica_hold(const struct replica *r);
/* Applies exactly `h` (hold.h), with its cookie: end the session first, and begin a new one then.
 * False with ERR_INPUT: it is not held any more. */
bool replica_accept(struct replica *r, struct hold *h, struct err *e);
/* The next mass change within a day is applied and not held. Forgotten by a restart. */
void replica_accept_next(struct replica *r);
bool replica_accepts_next(const struct replica *r);
/* Call it now and then: removes what vanished and has had its grace period, and keeps what is held
 * up to date, if the replica is not in the middle of something. Costs nothing when nothing is due.
 */
void replica_tick(struct replica *r);
/* Known complete at this moment (wall clock): kept with the next commit. */
void replica_alive(struct replica *r, int64_t wall_ms);
/* Keeps that moment on disk even if nothing changed. */
void replica_note_alive(struct replica *r);
/* Brings all that was committed to disk, also of a source that is not complete yet. False: that
 * cannot be done now; the reason is in the log. */
bool replica_sync(struct replica *r);
/* Writes a snapshot now; by itself it does so when the overlay has grown. */
void replica_snapshot(struct replica *r);
/* Entries gathered and not committed. */
unsigned replica_batch(const struct replica *r);
/* The cookie is worth nothing any more (4096). */
void replica_forget_cookie(struct replica *r);

#endif
