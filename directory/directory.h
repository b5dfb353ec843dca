/*
 * directory.h - the directory as a whole: its sources, their threads, what they keep on disk, and
 * who is told about changes. Owned by the main thread.
 *
 * On disk, per source: a snapshot (table format, mapped) and a journal of later tables; the sync
 * cookie is part of the same commit as the data it covers. Everything is usable at the next start
 * with the servers down.
 */
#ifndef DIRECTORY_DIRECTORY_H
#define DIRECTORY_DIRECTORY_H

#include "base/buf.h"
#include "base/err.h"
#include "conf/conf.h"
#include "directory/file/manual.h"
#include "directory/override/override.h"
#include "directory/view.h"

/* What changed between two generations, as hashes of the keys of all objects of the people it
 * concerns: addresses (hash64) and X.500 addresses (dir_other_hash). Some may be there twice, and
 * some more than needed. Immutable; given to every listener by reference. n == 0 with `everything`
 * set: too many to name. */
struct dir_change {
    uint64_t generation;
    bool everything;
    unsigned n;
    const uint64_t *key_hash;
};
/* Runs on the publishing thread; must only hand the change over to its own thread (copy what it
 * needs). */
typedef void dir_change_fn(void *arg, const struct dir_change *c);

/* Opens snapshots under state_dir and publishes the first view; starts nothing. */
struct directory *directory_open(const struct conf *c, const char *state_dir, struct err *e);
/* Listeners are added before directory_start(). */
void directory_listen(struct directory *d, dir_change_fn *fn, void *arg);
/* Starts one sync thread per source. */
void directory_start(struct directory *d);
/* New configuration: sources that did not change go on untouched. */
void directory_reload(struct directory *d, const struct conf *c);
/* Tries again to open those sources whose files a reload could not open: until then what they said
 * last is used, and nobody is unknown. False: some are still missing, or others have not ended yet.
 * Main thread. */
bool directory_reopen(struct directory *d);
/* Has a reload left sources that must end first? They do so in seconds. */
bool directory_waits(const struct directory *d);
void directory_ask_stop(struct directory *d); /* does not wait */
void directory_stop(struct directory *d);     /* joins the threads */
void directory_close(struct directory **d);

/* Moves by hand (override.h): journalled and synced, then published in one generation, with all
 * that moved named to the listeners at once. Main thread. False: nothing was changed. */
bool directory_move(struct directory *d, const struct wave_order *order, uint32_t *wave,
                    struct err *e);
bool directory_begin_wave(struct directory *d, uint32_t wave, struct err *e);
bool directory_expire_wave(struct directory *d, uint32_t wave, struct err *e);
/* key empty: the whole wave. */
bool directory_undo_wave(struct directory *d, uint32_t wave, struct str key, struct str who,
                         struct err *e);
/* Of the wave, these addresses, each named once; all or none of them. */
bool directory_undo_keys(struct directory *d, uint32_t wave, const struct str *key, unsigned n,
                         struct str who, struct err *e);
/* A wave of one address, now and for good. */
bool directory_set_override(struct directory *d, struct str key, struct str forest, struct str who,
                            struct err *e);
/* False with ERR_INPUT if there is none. */
bool directory_unset_override(struct directory *d, struct str key, struct str who, struct err *e);
/* To read; main thread. */
const struct overrides *directory_overrides(const struct directory *d);

/* A reference to the box of a manual source (manual.h); NULL and *e: there is no such source. */
struct manual_box *directory_manual_box(struct directory *d, struct str source, struct err *e);

/* ---- mass changes that wait for a person (hold.h) ---- */

/* What a change would do to the entries of its source. */
struct dir_step {
    uint64_t vanish, move;
    uint64_t drop;           /* of those that stay where they are: lose an address */
    uint64_t appear, change; /* the rest: new ones, and other differences */
    uint64_t lately;         /* vanished step by step in the ten minutes before */
    uint64_t entries;        /* before the change */
};

/* What a source would change if the held change were accepted, as of one moment. */
struct dir_pending;
enum dir_pending_what {
    DIR_PENDING_VANISHES,
    DIR_PENDING_MOVES,
    DIR_PENDING_DROPS
};
struct dir_pending_item {
    enum dir_pending_what what;
    struct str address;  /* the entry's primary one; the first one that it drops */
    struct str from, to; /* forests, by all that the directories say; empty: none. Of what vanishes,
                            `to` is another directory that has it */
};
/* NULL with ERR_INPUT: no such source, or it is not held; with ERR_BUSY: what it would change is
 * not known before the source was read again. Whoever asks has seen it: directory_accept(). */
struct dir_pending *directory_pending(struct directory *d, struct str source, struct err *e);
void dir_pending_free(struct dir_pending **p);
const struct dir_step *dir_pending_counts(const struct dir_pending *p);
int64_t dir_pending_since_ms(const struct dir_pending *p); /* wall */
/* One after the other; *end at the last. False without *end: look further, later (so many that stay
 * where they are came in between). Slices live until the next call. */
bool dir_pending_next(struct dir_pending *p, struct dir_pending_item *out, bool *end);

/* Agrees to what is held, which is then applied by the source's thread. A reference to it. NULL
 * with ERR_INPUT and ERR_BUSY as above, with ERR_LIMIT if it does more, or to others, than what
 * was reported or shown last. */
struct hold *directory_accept(struct directory *d, struct str source, struct str who,
                              struct err *e);
/* Agrees in advance to the next mass change of a source that is not held: within a day, and only
 * while this process runs. */
bool directory_accept_next(struct directory *d, struct str source, struct str who, struct err *e);

/* ---- status ---- */

enum dir_source_state {
    DIR_SOURCE_STARTING,
    DIR_SOURCE_SYNCING,
    DIR_SOURCE_CURRENT,
    DIR_SOURCE_FAILING,
    DIR_SOURCE_STALE,
    DIR_SOURCE_HELD /* a mass change waits for a person */
};
const char *dir_source_state_text(enum dir_source_state s);

struct dir_source_status {
    char name[64], type[24], forest[64];
    enum dir_source_state state;
    uint64_t entries, addresses;
    uint64_t generation;      /* of its last change */
    int64_t last_complete_ms; /* wall clock of the last moment it was known complete; 0 = never */
    int64_t last_change_ms;
    char last_error[300]; /* "" = none */
    bool complete_once;
    uint64_t snapshot_bytes, overlay_entries;
    /* of the last connection; "" or 0: not known, or there is none */
    char server[128];               /* its URI */
    char method[32];                /* how changes are found there */
    char notice[300];               /* what works but should be mended */
    int64_t certificate_expires_ms; /* wall clock: the server's; the password we read with */
    int64_t password_expires_ms;
    uint64_t vanished;     /* entries that route on through their grace period */
    uint64_t conflicts;    /* addresses that began to be claimed twice by a change of this source */
    int64_t held_since_ms; /* wall clock; 0: nothing is held */
    struct dir_step held;
    bool accepts_next;
    bool is_stale; /* whatever the state */
};
/* Returns the number of sources; fills up to max. */
unsigned directory_status(struct directory *d, struct dir_source_status *out, unsigned max);
/* How many addresses the sources contradict each other about since a change that came while we ran
 * (the latest 1,000 are kept in mind); one of them in `one`. Any thread. */
unsigned directory_contested(struct directory *d, char *one, size_t cap);

#endif
