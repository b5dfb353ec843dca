/*
 * queue_int.h - how the queue is built inside. Read queue.h first.
 *
 * Index
 *   struct qmsg and struct qrcpt are slab items that refer to each other by 32-bit numbers (0 =
 *   none): one qmsg per message and one qrcpt per recipient that is not done. They are all that a
 *   message costs while it is not active. A recipient's life:
 *
 *     DUE     to be decided now          PARKED  on the list of its destination
 *     WAIT    until qmsg.next            BUSY    in a delivery, or in a report being written
 *
 *   Two linear hash tables (grown bucket by bucket, so that no insertion ever pauses the worker)
 *   find a message by its id, and the recipients by the hash of their address key.
 *
 * Active set
 *   struct qactive holds the decoded envelope and the deliveries of one message; it exists while a
 *   delivery or report is in hand or ready, and no longer. Those of its recipients that WAIT are
 *   tried again in time, whatever else of it is in hand. Two lanes share it and every destination:
 *   fresh mail (never deferred) and backlog. A backlog never takes the last quarter of the active
 *   set, and fresh mail goes first four times out of five.
 *
 * Work
 *   Everything that happens only marks what must be looked at (dest_update(), active_check(), the
 *   heap of due messages) and asks for queue_run() at the end of the turn; that is the one place
 *   where deliveries start, messages are pulled in and finished messages leave.
 */
#ifndef RELAY_QUEUE_QUEUE_INT_H
#define RELAY_QUEUE_QUEUE_INT_H

#include <stddef.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/heap.h"
#include "base/list.h"
#include "relay/queue/pace.h"
#include "relay/queue/queue.h"
#include "relay/spool/spool.h"

/* Consecutive failures after which a destination is closed. */
#define DEST_CLOSE_AFTER 3
/* Destinations that nothing refers to are remembered (window, counters) up to this many. */
#define DEST_IDLE_MAX 512
/* Steps of work in one queue_run(), and how long they may take (a cold disk); the rest goes on in
 * the next turn. */
#define RUN_BUDGET 256
#define RUN_MS     2
/* How often a message may be decided anew in one go because the directory keeps changing. */
#define REROUTE_MAX 8
/* Bytes of reply texts kept for the whole queue; past it only the codes are kept. */
#define REPLY_BYTES_MAX (4u << 20)
#define REPLY_TEXT_KEPT 200
/* Released active objects kept for reuse. */
#define ACTIVE_SPARE_MAX 64

/* ---- slab: fixed-size items in chunks, numbered from 1 ---- */

#define SLAB_SHIFT 10
#define SLAB_CHUNK (1u << SLAB_SHIFT)

struct slab {
    char **chunk;
    uint32_t n_chunk;
    uint32_t used; /* numbers handed out so far, freed ones included */
    uint32_t free; /* first of the freed items; each holds the next one's number */
    uint32_t live;
    uint32_t item;
};
void slab_init(struct slab *s, size_t item);
void slab_free_all(struct slab *s);
uint32_t slab_get(struct slab *s); /* zeroed */
void slab_put(struct slab *s, uint32_t i);
size_t slab_memory(const struct slab *s);
static inline void *slab_at(const struct slab *s, uint32_t i)
{
    return s->chunk[i >> SLAB_SHIFT] + (size_t)(i & (SLAB_CHUNK - 1)) * s->item;
}

/* ---- linear hashing over item numbers ---- */

struct lhash;
struct lhash_type {
    uint64_t (*hash)(const struct queue *q, uint32_t item);
    uint32_t *(*link)(struct queue *q, uint32_t item);
};
struct lhash {
    const struct lhash_type *type;
    uint32_t *bucket;
    uint32_t cap, n, low; /* low <= n < 2 * low, low a power of two */
    uint32_t count;
};
void lhash_init(struct lhash *h, const struct lhash_type *type);
void lhash_free(struct lhash *h);
/* First of the chain in which items with this hash are. */
uint32_t *lhash_chain(const struct lhash *h, uint64_t hash);
void lhash_add(struct queue *q, struct lhash *h, uint32_t item);
void lhash_remove(struct queue *q, struct lhash *h, uint32_t item);

/* ---- index ---- */

enum msg_flag {
    MSG_BACKLOG = 1, /* was deferred, recovered or caught by a closed destination */
    MSG_HELD = 2,
    MSG_DELAY_NOTIFIED = 4,
    MSG_AGAIN = 8, /* an admin wants it tried now, and what is in hand began before that */
    MSG_8BIT = 32,
    MSG_NULL_SENDER = 64,
    MSG_LIVE = 128, /* the slab item is in use */
};

struct qmsg {
    struct heap_node due; /* in q->due while it is neither active nor held; key: monotonic ms */
    uint64_t id;
    int64_t born;  /* when it arrived, on this process's monotonic clock */
    int64_t since; /* its lifetime and the delay notice count from here: born, or its release */
    int64_t next;  /* next attempt of its waiting recipients, monotonic ms */
    uint64_t size : 48;
    uint64_t attempts : 16;
    struct qactive *active;
    uint32_t hash_next;
    uint32_t first; /* recipient */
    uint32_t self;
    uint32_t last_attempt_s; /* monotonic seconds since the queue began; 0 = never */
    uint16_t n_rcpt, n_left;
    uint8_t flags;
    uint8_t counted; /* 1 + the enum queue_msg_state that it is counted as; 0 = not */
};

enum rcpt_state {
    RCPT_WAIT,
    RCPT_DUE,
    RCPT_PARKED,
    RCPT_BUSY
};
enum rcpt_flag {
    RCPT_RECHECK = 1,    /* its directory entry changed: decide, and act if the answer differs */
    RCPT_ALIASED = 2,    /* an alias stands for it under a second key (decision.key_hash) */
    RCPT_ALIAS = 16,     /* this is one */
    RCPT_REMOVE = 4,     /* by an admin (remove.c), when what is in hand has ended ... */
    RCPT_REMOVE_DSN = 8, /* ... and a report is written */
    RCPT_WAITS = 32,     /* confirm.c: others are under way the old way */
};

struct qrcpt {
    uint32_t hash_lo, hash_hi; /* of the address key */
    uint32_t bucket_next;      /* only the first recipient with a key is in the table ... */
    uint32_t same_next;        /* ... the others hang on it, */
    uint32_t same_prev;        /* 0 for the first one */
    uint32_t msg;
    union {
        uint32_t next;     /* of the same message */
        uint32_t alias_of; /* an alias: the recipient that it stands for */
    };
    union {
        uint32_t park_next;
        uint32_t alias_next; /* an alias: the next in by_alias */
    };
    uint32_t park_prev;
    uint32_t dest;      /* of the last decision; 0 = none */
    uint32_t addr_hash; /* of the address said to the next hop */
    uint32_t reply;     /* last one seen; 0 = none */
    uint32_t refused;   /* the destination that does not know it; 0 = none (refused.c) */
    uint16_t index;     /* into the envelope */
    uint8_t state;
    uint8_t flags;
};
STATIC_ASSERT(sizeof(struct qmsg) <= 96, "a queued message is to stay small");
STATIC_ASSERT(sizeof(struct qrcpt) <= 56, "a queued recipient is to stay small");
STATIC_ASSERT(ENVELOPE_RCPT_MAX <= UINT16_MAX, "counts are 16 bits wide");

/* ---- replies, shared by all that got the same ---- */

struct qreply {
    uint64_t hash;
    uint32_t hash_next, refs, self;
    int code;
    char enhanced[12];
    uint16_t host_n, text_n;
    char *bytes; /* host, then text */
};
/* A reference to the stored form; host may be "". */
uint32_t reply_ref(struct queue *q, const struct smtp_reply *r, const char *host);
void reply_unref(struct queue *q, uint32_t *reply);
void reply_get(const struct queue *q, uint32_t reply, struct smtp_reply *out, char *host,
               size_t host_cap);
/* "450 4.2.0 text", cut to cap. */
void reply_print(const struct queue *q, uint32_t reply, char *dst, size_t cap);
void reply_free_all(struct queue *q);

/* ---- destinations ---- */

enum lane {
    LANE_FRESH,
    LANE_BACKLOG,
    LANES
};
enum dest_state {
    DEST_OPEN,
    DEST_CLOSED, /* until `reopen` */
    DEST_PROBE   /* one delivery may try */
};

struct qdest {
    uint64_t hash;
    struct str name; /* malloc'ed */
    uint32_t kind, self, hash_next;
    uint32_t refs;                /* recipients whose last decision it is */
    struct list_node start;       /* in q->startable */
    struct list_node pull[LANES]; /* in q->pull[lane] or q->unproven_wait[lane] */
    struct list_node idle;        /* in q->idle_dests */
    struct list_node paced;       /* in q->paced: could start but for the pace */
    struct list ready[LANES];     /* struct qdelivery by d.node */
    uint32_t n_ready[LANES];      /* deliveries */
    uint32_t park_first[LANES], park_last[LANES];
    uint32_t n_parked; /* recipients */
    uint32_t window, in_hand, fails, turn;
    enum dest_state state;
    bool proven; /* the last that was heard of it was good */
    bool again;  /* as MSG_AGAIN: when what is in hand closes it, it is probed at once */
    uint32_t last_reply;
    int64_t backoff;
    struct heap_node reopen; /* in q->reopen while closed */
    uint64_t delivered, deferred;
    struct pace_usual usual;
    struct qdelivery *filling; /* during active_dispatch() only */
    uint32_t filling_cap, picked;
};

struct qdest *dest_find(const struct queue *q, const struct dest_key *k); /* NULL: none */
/* Made if need be; the caller refers a recipient to it. */
struct qdest *dest_get(struct queue *q, const struct dest_key *k);
void dest_free_all(struct queue *q);
void dest_print(const struct qdest *d, char *dst, size_t cap);
bool dest_is_named(const struct qdest *d, const char *name); /* as printed, without case */
/* Refers *link (of a recipient) to another destination, or to none (NULL), keeping the counts. */
void dest_refer(struct queue *q, uint32_t *link, struct qdest *d);
/* Sets the recipient's destination (NULL = none). */
void rcpt_set_dest(struct queue *q, struct qrcpt *r, struct qdest *d);
/* May one more delivery be made ready in this lane? */
bool dest_takes(const struct queue *q, const struct qdest *d, enum lane lane);
/* May one more of the backlog be started now, for whatever destination? */
bool dest_pace_allows(const struct queue *q);
void dest_ready(struct queue *q, struct qdelivery *qd);
/* From ready to in hand; the next one by the lanes' turns. NULL: it is not the backlog's time. */
struct qdelivery *dest_next(const struct queue *q, struct qdest *d);
void dest_begin(struct queue *q, struct qdelivery *qd);
/* A delivery that is not in hand or ready any more. */
void dest_unready(struct queue *q, struct qdelivery *qd);
void dest_end(struct queue *q, struct qdelivery *qd);
/* What an attempt said about it; the window follows. */
void dest_verdict(struct queue *q, struct qdelivery *qd, enum dest_verdict v, uint32_t reply);
void dest_probe_now(struct queue *q, struct qdest *d);
/* The same at the word of an admin, who knows more than the attempts in hand. */
void dest_retry(struct queue *q, struct qdest *d);
/* One that waits because it is not known to be well may go on if there is room for such. Asked for
 * at each step and not once for each place that becomes free: the one whose turn it is may have no
 * use for it. */
void dest_admit_unproven(struct queue *q, enum lane lane);
/* Membership in the lists of work, after any change. */
void dest_update(struct queue *q, struct qdest *d);
void rcpt_park(struct queue *q, uint32_t number, enum lane lane, bool front);
void rcpt_unpark(struct queue *q, uint32_t number); /* it is DUE then */

/* ---- active messages ---- */

struct qdelivery {
    struct delivery d; /* first */
    struct list_node of_msg;
    struct qactive *act;
    struct qdest *dest;
    uint64_t generation; /* the oldest that one of its decisions was made from */
    uint32_t *rcpt;      /* numbers, parallel to d.rcpt */
    uint64_t *mailbox;   /* likewise: what they are entered as under way by; 0 = not at all */
    enum lane lane;
    int64_t began_ns; /* when the transport got it */
    bool started, probe;
    bool entered;  /* its recipients are under way */
    bool waits;    /* not started: some of them have to wait */
    bool unproven; /* counted in q->n_unproven */
};

/* A recipient that failed and is not reported yet. */
struct qfail {
    uint32_t rcpt;
    bool expired;
    struct smtp_reply reply;
    char host[256];
    struct str final_address;
    int64_t at_ms; /* wall */
    struct qfail *next;
};

struct qreport {
    struct list_node node; /* of act->reports */
    struct qactive *act;
    enum queue_report kind;
    uint32_t *rcpt; /* FAILURE: numbers of those that end with it */
    unsigned n;
};

struct qactive {
    struct list_node node;  /* of q->active or q->spare */
    struct list_node check; /* in q->check: something ended or changed */
    struct heap_node again; /* in q->again: some of its recipients wait until m->next */
    struct queue *q;
    struct qmsg *m;
    struct arena a;
    struct envelope env;
    struct list deliveries; /* struct qdelivery.of_msg */
    struct list reports;
    unsigned n_hand, n_ready, n_waiting, n_reports;
    unsigned rerouted; /* deliveries of which nothing was sent, because the directory had changed */
    unsigned waits;    /* ... because recipients had to wait */
    struct qfail *fails;
    unsigned n_fails;
    bool backlog;       /* which lane's slot it holds */
    bool attempted;     /* something was tried since it became active */
    bool deferred;      /* ... and was put off: it waits for its own next attempt */
    bool unreached;     /* ... or did not get through, to a destination that is not closed yet */
    bool report_failed; /* a report could not be written: not again in this round */
};

struct queue {
    struct loop *loop;
    struct queue_conf conf;
    struct queue_ops ops;
    struct loop_timer timer;
    struct loop_task task;
    int64_t start_ms; /* monotonic */
    bool draining, freeing;

    struct slab msgs, rcpts, dests, replies;
    struct lhash by_id, by_key, by_alias, by_dest, by_reply;
    struct heap due;    /* struct qmsg.due */
    struct heap again;  /* struct qactive.again */
    struct heap reopen; /* struct qdest.reopen */
    size_t reply_bytes;

    struct list active, spare, check;
    unsigned n_active, n_active_backlog, n_spare, n_hand, n_reports;
    uint64_t n_in_state[QUEUE_HELD + 1];
    struct list waiting; /* struct qwaiting.node */
    unsigned n_waiting;
    int64_t waiting_ms;  /* when it was gone through */
    unsigned n_unproven; /* deliveries ready or in hand for destinations not known to be well */
    struct list startable;
    struct list paced;
    int64_t pace_due_ns; /* see pace_allows() */
    struct list pull[LANES], unproven_wait[LANES];
    struct list idle_dests;
    unsigned n_idle_dests;

    uint32_t sweep_at, sweep_end; /* message numbers still to be decided anew */
    struct arena scratch;
    struct buf load;
    char reply_text[300]; /* of the message last described */
};

static inline struct qmsg *msg_at(const struct queue *q, uint32_t i)
{
    return slab_at(&q->msgs, i);
}
static inline struct qrcpt *rcpt_at(const struct queue *q, uint32_t i)
{
    return slab_at(&q->rcpts, i);
}
static inline struct qdest *dest_at(const struct queue *q, uint32_t i)
{
    return slab_at(&q->dests, i);
}
static inline struct qreply *reply_at(const struct queue *q, uint32_t i)
{
    return slab_at(&q->replies, i);
}

/* index.c */
void index_init(struct queue *q);
void index_free(struct queue *q);
struct qmsg *msg_find(const struct queue *q, uint64_t id);
struct qmsg *msg_new(struct queue *q, uint64_t id);
/* Takes it and its recipients out of everything. It must not be active. */
void msg_delete(struct queue *q, struct qmsg *m);
/* Recipients are added in the order of `index`. `last` carries the previous one (start with 0). */
uint32_t rcpt_add(struct queue *q, struct qmsg *m, uint32_t *last, unsigned index,
                  struct str address);
/* The recipient is done: leaves the message. */
void rcpt_done(struct queue *q, uint32_t number);
/* First recipient or alias with that key, the others follow by same_next. */
uint32_t rcpt_by_key(const struct queue *q, uint64_t hash);
uint64_t rcpt_key_hash(struct str address);

/* The recipient also depends on what has this key; 0: on nothing but its own address. */
void rcpt_also_by(struct queue *q, uint32_t number, uint64_t hash);
/* Of an item of rcpt_by_key()'s list: the recipient that it is or stands for. */
static inline uint32_t rcpt_meant(const struct queue *q, uint32_t item)
{
    return rcpt_at(q, item)->flags & RCPT_ALIAS ? rcpt_at(q, item)->alias_of : item;
}

/* active.c */
bool slot_is_free(const struct queue *q, bool backlog);
/* With the encoded envelope at hand. NULL: it cannot be decoded. */
struct qactive *active_new(struct queue *q, struct qmsg *m, struct str envelope);
/* Loads it from the spool unless it is active. NULL: not now (it waits), or gone: `m` may be
 * deleted. */
struct qactive *active_open(struct queue *q, struct qmsg *m);
void active_release(struct qactive *act);
static inline void active_check(struct qactive *act);
/* Decides for these recipients (state DUE) and makes deliveries ready, parks, fails or defers.
 * pulled: they have waited on the destination's list and need not queue there again. */
void active_dispatch(struct qactive *act, const uint32_t *rcpt, unsigned n, enum lane lane,
                     bool pulled);
void active_dispatch_due(struct qactive *act);
/* The decision of this moment for one recipient; it is woken from now on by what that depends on.
 */
void active_decide(struct qactive *act, uint32_t number, struct arena *a, struct decision *out);
/* Decides for the recipients marked RECHECK; those whose answer differs become DUE. What the
 * transport has already is left to delivery_wanted() and delivery_confirm(). */
void active_recheck(struct qactive *act);
void delivery_drop(struct qdelivery *qd); /* takes it off the message; not ready, not in hand */
/* Takes back what is ready for this destination (NULL: any): those recipients wait. */
void active_take_back(struct qactive *act, const struct qdest *d);
/* Takes back what is ready and parked: all that is not in hand waits. */
void active_stop(struct qactive *act);

/* confirm.c */
bool delivery_confirm(struct delivery *d);
bool delivery_wanted(struct delivery *d);
void delivery_answered(struct delivery *d);
/* What it is entered as under way by. */
uint64_t rcpt_mailbox(const struct queue *q, uint32_t number, const struct decision *dec);
/* Of a delivery that was not started because some have to wait: DUE, or it is one of those. */
void rcpt_take_turn(struct qdelivery *qd, unsigned i);
void waiting_again(struct queue *q); /* each millisecond while there are any */

/* result.c */
void delivery_done(struct delivery *d);
void fail_add(struct qactive *act, uint32_t rcpt, bool expired, const struct smtp_reply *reply,
              const char *host, struct str final_address, int64_t at_ms);
/* Does what is left when nothing is in hand: reports, expires, lets it wait or lets it go. */
void active_settle(struct qactive *act);

/* refused.c: a recipient that failed at its destination. True: it is DUE, for another one that
 * claims it; false: the failure is final. */
bool refused_try_other(struct qdelivery *qd, unsigned i, const struct smtp_reply *r);

/* remove.c */
/* The recipients that go to this destination (NULL: any). False: there is none. `m` may be deleted.
 */
bool msg_remove(struct queue *q, struct qmsg *m, const struct qdest *d, bool dsn);
/* Those leave that are to be removed without a report and are not in hand. */
void msg_remove_silent(struct queue *q, struct qmsg *m);

/* admin.c */
enum queue_msg_state msg_state(const struct queue *q, const struct qmsg *m);
/* Counts it under its state again; after any change of that. */
void msg_count(struct queue *q, struct qmsg *m);

/* schedule.c */
void queue_wake(struct queue *q); /* queue_run() at the end of this turn */
void queue_run(struct queue *q);
void queue_timer_fn(struct loop_timer *t);
void queue_task_fn(struct loop_task *t);
int64_t msg_age(const struct queue *q, const struct qmsg *m);
int64_t msg_expires_at(const struct queue *q, const struct qmsg *m); /* monotonic ms */
int64_t msg_lifetime(const struct queue *q, const struct qmsg *m);
bool msg_is_expired(const struct queue *q, const struct qmsg *m);
bool msg_delay_is_due(const struct queue *q, const struct qmsg *m);
/* Its recipients that wait are due now. */
void msg_wait_is_over(struct queue *q, struct qmsg *m);
/* Puts it into the heap at the time at which something is to be done next. */
void msg_schedule(struct queue *q, struct qmsg *m);
int64_t queue_jitter(int64_t ms); /* +-20 % */
int64_t queue_retry_after(const struct queue *q, unsigned attempts);
void sweep_start(struct queue *q);

static inline void active_check(struct qactive *act)
{
    if (!list_node_is_linked(&act->check))
        list_push_back(&act->q->check, &act->check);
    queue_wake(act->q);
}

#endif
