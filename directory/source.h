/*
 * source.h - one source at work: its thread, its replica, what it tells about itself. A kind of
 * source (file_source.c, openldap.c) is one function, `run`, that feeds the replica until
 * source_wait() says stop.
 *
 * After source_start() the replica belongs to the source's thread. What others may see goes through
 * the published view, the atomics of struct dir_fresh, and a status under a lock.
 */
#ifndef DIRECTORY_SOURCE_H
#define DIRECTORY_SOURCE_H

#include <pthread.h>

#include "base/log.h"
#include "directory/directory.h"
#include "directory/replica.h"
#include "directory/view_int.h"

struct source {
    uint64_t id; /* never used twice: views refer to it */
    struct directory *directory;
    struct conf *conf; /* holds `c` alive */
    const struct conf_source *c;
    struct replica *replica;
    struct manual_box *box; /* of a manual source */
    struct dir_fresh *fresh;
    pthread_t thread;
    bool running;
    int stop_fd;        /* eventfd; readable = stop */
    uint64_t published; /* generation of the last view that it changed */
    int64_t noted_ms;
    int64_t said_ms; /* when the last failure was logged */
    struct log_limit bad_values, conflicts;
    pthread_mutex_t lock; /* over what follows */
    int64_t stale_after_ms;
    struct dir_source_status status;
    bool stopping;
    /* source_hold.c */
    struct hold *held;  /* or NULL */
    struct hold *shown; /* of what is held: what a person has seen of it; NULL: nothing is held */
    struct hold *accepted; /* what the thread is to apply, or NULL */
    bool accept_next;      /* likewise, in advance */
};

/* NULL and *e: the state directory cannot be used. Opens what is on disk; starts nothing. */
struct source *source_open(struct directory *d, struct conf *conf, const struct conf_source *c,
                           const char *state_dir, struct err *e);
void source_start(struct source *s);
/* A reload changed what only lookups and reports use (forest, staleness). Any thread. */
void source_retouch(struct source *s, const struct conf_source *c);
/* Asks the thread to end, without waiting; then source_stop() is quick for all. */
void source_ask_stop(struct source *s);
/* Makes run() end; any thread. */
void source_interrupt(struct source *s);
/* After source_ask_stop(): whether source_close() would not have to wait; waits up to `ms` for it.
 */
bool source_has_ended(struct source *s, int64_t ms);
void source_stop(struct source *s);
void source_close(struct source **s);
/* A copy of the status; STALE is worked out here. */
void source_status(struct source *s, struct dir_source_status *out);

/* ---- mass changes: source_hold.c ---- */

/* The replica holds this from now on (NULL: nothing); on the source's thread or before it runs. */
void source_held(void *arg, struct hold *h);
/* What the source would be with the held change, or NULL; a reference. */
struct dir_stack *source_held_stack(struct source *s);
/* What is held, or NULL with *e; any thread. `seen`: it is about to be shown to a person. */
struct hold *source_hold(struct source *s, bool seen, struct err *e);
/* Of a source that is held: its state, in words as well. */
void source_hold_status(struct dir_source_status *out);
/* A reference to what will be applied; NULL as directory_accept(). */
struct hold *source_accept(struct source *s, struct err *e);
bool source_accept_next(struct source *s, struct err *e);
/* Does what was asked for, between two runs of the kind. False: nothing was. */
bool source_obey(struct source *s);

/* ---- conflict.c ---- */

/* Addresses that a change made contradictory, until that ends. Any thread. */
struct contested *contested_new(void);
void contested_free(struct contested **c);
/* How many of them are contradictory in this view; forgets the others. `one`: an example. */
unsigned contested_look(struct contested *c, const struct dir_view *v, char *one, size_t cap);
/* Counts, logs and remembers what this change makes contradictory; the views are those before and
 * after it. */
void source_conflicts(struct source *s, const struct dir_view *before, const struct dir_view *after,
                      const struct dir_table *change, struct contested *contested);

/* pending.c. Takes over the references. */
struct dir_pending *pending_new(struct hold *h, struct dir_view *before, struct dir_view *after);

/* ---- for the kinds of sources; on the source's thread ----
 *
 * A kind's run() may be ended and begun again at any time, so that something can be done in
 * between: it begins each time with replica_cookie(). */

void ldif_source_run(struct source *s);
void csv_source_run(struct source *s);
void openldap_source_run(struct source *s);
void active_directory_source_run(struct source *s);

/* Waits until fd (-1: none) can be read or `ms` passed. False: the source must end now. */
bool source_wait(struct source *s, int fd, int ms, bool *ready);
/* In the middle of a long answer, before source_wait(), when all that has come is read: half a
 * millisecond for more to come. Being woken for each message costs the server more than sending it,
 * and the reader more than reading it. */
void source_let_gather(struct source *s);
bool source_must_stop(struct source *s);
void source_set_state(struct source *s, enum dir_source_state state);
/* FAILING with this reason; logged when the reason is new and once an hour. */
void source_failed(struct source *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* All that the server has is in the replica at this moment. Cheap; call it as often as it is known.
 */
void source_is_current(struct source *s);
/* What is known of the connection to the server. */
struct source_link {
    const char *server, *method;
    char notice[300];
    int64_t certificate_expires_ms, password_expires_ms;
};
/* Shown in the status; a new notice is logged. */
void source_linked(struct source *s, const struct source_link *l);
/* Called for an attribute value that cannot be used. Rate-limited. */
void source_bad_value(struct source *s, struct str object, struct str value);

/* directory.c: a source by its name, or NULL. Main thread; for tests, which do a source's work
 * themselves where its thread was not started. */
struct source *directory_source(struct directory *d, struct str name);
/* directory.c: the publishing end. */
void directory_publish(struct directory *d, struct source *s, const struct replica_commit *c);
/* What the source says and nobody has agreed to yet; NULL: nothing. */
void directory_held(struct directory *d, const struct source *s, struct dir_stack *held);

#endif
