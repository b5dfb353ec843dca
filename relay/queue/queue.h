/*
 * queue.h - the messages one worker owns: what is due, what waits, what is in hand. One per worker,
 * used by that worker's thread only; no sockets, no disk, no clock of its own: everything outside
 * comes through struct queue_ops, so tests run it on a virtual clock.
 *
 * A message is in one of these states
 *   ACTIVE  its envelope is in memory and at least one delivery is being made or ready
 *   WAITING in the heap, by the time of the next attempt
 *   PARKED  on the list of a destination that has more ready mail than it can take, or is backing
 *           off
 *   HELD    by an admin; neither tried nor expired. When it is released its lifetime begins anew
 *
 * A waiting, parked or held message costs an index entry (88 bytes, 56 per recipient, 16 in hash
 * tables and heap), not its envelope.
 *
 * Destinations: each has a window (deliveries in hand) that opens by one per success up to the
 * maximum and halves on failure; after repeated failures it is closed and probed with one delivery
 * after a back-off that grows. Ready destinations take turns. Only so many deliveries per
 * destination are kept ready; the rest are parked, so a sick destination cannot fill the active
 * set.
 */
#ifndef RELAY_QUEUE_QUEUE_H
#define RELAY_QUEUE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"
#include "relay/io/loop.h"
#include "relay/mail/decision.h"
#include "relay/mail/delivery.h"
#include "relay/mail/envelope.h"
#include "relay/queue/underway.h"

struct queue;

struct queue_conf {
    int64_t retry_min_ms, retry_max_ms; /* exponential between them, +-20 % jitter */
    int64_t expire_ms;                  /* message lifetime; DSNs (null sender): expire_dsn_ms */
    int64_t expire_dsn_ms;
    int64_t delay_notice_ms; /* 0 = never */
    unsigned active_max;     /* messages */
    unsigned window_initial, window_max;
    unsigned ready_max; /* ready deliveries kept per destination */
    unsigned rcpt_per_delivery_max;
    int64_t dest_backoff_min_ms, dest_backoff_max_ms;
    bool retry_other_claimant; /* ask again about a recipient that its forest does not know */
};

/* A recipient that ended, for reports. */
struct queue_end {
    uint32_t index;
    enum outcome outcome; /* DELIVERED, FAILED; DEFERRED in delay notices */
    bool expired;         /* FAILED because of age; reply is the last one seen */
    struct smtp_reply reply;
    char remote_host[256];
    bool relayed_to_dsn;      /* delivered to a host that offered DSN */
    struct str final_address; /* the address said to the next hop, if any */
    int64_t last_attempt_ms;  /* wall */
    int64_t tried_until_ms;   /* wall; DEFERRED only */
};
enum queue_report {
    QUEUE_REPORT_FAILURE,
    QUEUE_REPORT_SUCCESS,
    QUEUE_REPORT_DELAY
};

struct pace;
struct queue_ops {
    void *ctx;
    /* The message's encoded envelope from the spool appended to out; false = it cannot be read now
     * (or is damaged: *gone). */
    bool (*load)(void *ctx, uint64_t id, struct buf *out, bool *gone);
    /* Decision for env->rcpt[index]; slices come from `a`. refused_by: the forest that refused it
     * as unknown, or empty. */
    void (*decide)(void *ctx, const struct envelope *env, uint32_t index, struct str refused_by,
                   struct arena *a, struct decision *out);
    uint64_t (*generation)(void *ctx); /* of the newest directory view */
    /* Writes marks for these recipients (no sync). kind is an enum spool_mark_kind. */
    void (*mark)(void *ctx, uint64_t id, const uint32_t *rcpt, unsigned n, int kind);
    /* A report to the sender is due for these recipients. The callee decides whether one must be
     * sent (NOTIFY, null sender ...), makes it durable in one step with the marks that belong to it
     * (FAILURE: FAILED of these recipients; DELAY: DELAY_NOTIFIED), then calls queue_report_done().
     * Never calls back before it returns. `ends` are valid during the call only, `env` until
     * queue_report_done(). SUCCESS is reported just before mark() says DELIVERED, while the message
     * can still be read. */
    void (*report)(void *ctx, uint64_t id, const struct envelope *env, enum queue_report kind,
                   const struct queue_end *ends, unsigned n, void *token);
    /* So many of these, at least one, fit in a report; the others get another one. NULL: all do. */
    unsigned (*report_fits)(void *ctx, const struct envelope *env, const struct queue_end *ends,
                            unsigned n);
    struct transport transport;
    struct pace *pace;         /* one for the queues of all workers (pace.h) */
    struct underway *underway; /* shared by all queues; NULL: there is no other */
};

struct queue *queue_new(struct loop *l, const struct queue_conf *c, const struct queue_ops *ops);
void queue_free(struct queue **q); /* cancels what is in hand */
void queue_reconfigure(struct queue *q,
                       const struct queue_conf *c); /* also decides everything waiting anew, soon */

/* A message that was just made durable. `envelope` (encoded) is copied if it is needed at once. */
void queue_add(struct queue *q, uint64_t id, struct str envelope, uint64_t content_size,
               bool content_8bit);
/* A message found at recovery: due at once (spread over the first seconds), nothing loaded. */
void queue_add_recovered(struct queue *q, uint64_t id, struct str envelope, uint64_t content_size,
                         bool content_8bit, const uint8_t *rcpt_done, bool held,
                         bool delay_notified);
/* ok = false: it could not be written; the recipients are tried again later (SUCCESS: they are
 * done, and the report is the callee's concern). */
void queue_report_done(struct queue *q, void *token, bool ok);

/* The directory changed. Decides exactly those recipients anew, wherever they wait; the transport
 * asks for what it has already (delivery.h). */
void queue_directory_changed(struct queue *q, const uint64_t *key_hash, unsigned n,
                             bool everything);

/* Stops starting deliveries; those in hand end. For shutdown. */
void queue_drain(struct queue *q);
unsigned queue_in_hand(const struct queue *q); /* deliveries, and reports being written */

/* ---- admin ---- */
enum queue_msg_state {
    QUEUE_ACTIVE,
    QUEUE_WAITING,
    QUEUE_PARKED,
    QUEUE_HELD
};
const char *queue_msg_state_text(enum queue_msg_state s);
struct queue_msg_info {
    uint64_t id;
    enum queue_msg_state state;
    int64_t arrival_ms;      /* wall */
    int64_t next_attempt_ms; /* wall, 0 = now or held */
    unsigned attempts, n_rcpt, n_rcpt_left;
    uint64_t size;
    char dest[280];         /* of the first recipient that has one, "" */
    const char *last_reply; /* "" = none; valid during the callback */
};
typedef bool queue_list_fn(void *arg, const struct queue_msg_info *m); /* false = stop */
/* All of them, in unspecified order. */
void queue_list(struct queue *q, queue_list_fn *fn, void *arg);
/* The same in steps, for a worker that must not stop for a million messages: looks at no more than
 * `max` places from *cursor (0 = start) and moves it on. False: the end was reached. A message that
 * is there throughout is shown exactly once. */
bool queue_list_some(struct queue *q, uint32_t *cursor, unsigned max, queue_list_fn *fn, void *arg);
/* The messages that still have to reach this recipient (hash as in queue_directory_changed()). */
void queue_list_rcpt(struct queue *q, uint64_t key_hash, queue_list_fn *fn, void *arg);
bool queue_info(struct queue *q, uint64_t id, struct queue_msg_info *out);
/* A recipient that is left. */
struct queue_rcpt_info {
    uint32_t index;    /* into the envelope */
    const char *state; /* "active", "waiting", "parked"; static */
    char dest[280];    /* of the last decision, "" */
    char refused[280]; /* the destination that refused it as unknown, "" */
    char last_reply[300];
};
/* Fills up to max in the order of index; returns how many are left, 0 also if there is no such
 * message. */
unsigned queue_rcpts(const struct queue *q, uint64_t id, struct queue_rcpt_info *out, unsigned max);
/* The same, of the recipients' numbers alone. */
unsigned queue_rcpts_left(const struct queue *q, uint64_t id, uint32_t *index, unsigned max);

enum queue_action {
    QUEUE_HOLD,
    QUEUE_RELEASE,
    QUEUE_RETRY,       /* now, in its place on its destination's line; what is closed is probed */
    QUEUE_RETRY_FIRST, /* the same, before all others on the line */
    QUEUE_REMOVE,
    QUEUE_REMOVE_WITH_DSN
};
enum queue_acted {
    QUEUE_NOT_THERE, /* no such message */
    QUEUE_ACTED,
    QUEUE_LEFT /* HOLD: it is held already; RELEASE: it is not held; RETRY: it is held */
};
/* REMOVE of a message with a delivery in hand takes effect when that ends. */
enum queue_acted queue_act(struct queue *q, uint64_t id, enum queue_action act);
/* Probes the destination (NULL: all of them) if it is closed, also if nothing waits for it here. */
void queue_retry_dest(struct queue *q, const char *dest);
/* Is a recipient that is left for this destination ("forest:target", without case)? `printed` gets
 * its name as it is shown everywhere. */
bool queue_goes_to(const struct queue *q, uint64_t id, const char *dest, char *printed, size_t cap);
/* REMOVE, or REMOVE_WITH_DSN, for those recipients only. False: there are none. */
bool queue_remove_at(struct queue *q, uint64_t id, const char *dest, bool dsn);

struct queue_dest_info {
    char dest[280];
    unsigned window, in_hand, ready, parked;
    uint64_t delivered, deferred;
    int64_t closed_for_ms; /* > 0: backing off */
    char last_error[200];
};
typedef void queue_dest_fn(void *arg, const struct queue_dest_info *d);
void queue_list_dests(struct queue *q, queue_dest_fn *fn, void *arg);

struct queue_status {
    uint64_t messages, active, waiting, parked, held;
    uint64_t memory_bytes; /* of the index */
};
void queue_status(const struct queue *q, struct queue_status *out);

#endif
