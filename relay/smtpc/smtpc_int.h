/*
 * smtpc_int.h - what the files of relay/smtpc/ share; see client.c for the roles.
 */
#ifndef RELAY_SMTPC_SMTPC_INT_H
#define RELAY_SMTPC_SMTPC_INT_H

#include "base/buf.h"
#include "base/list.h"
#include "relay/io/stream.h"
#include "relay/proto/dot.h"
#include "relay/smtpc/smtpc.h"

/* The outside world, so that tests can put theirs in its place. */
struct smtpc_ops {
    struct spool_reader *(*reader_open)(struct spool *s, uint64_t id, struct err *e);
    uint64_t (*reader_size)(const struct spool_reader *r);
    bool (*reader_read)(struct spool_reader *r, uint64_t off, void *p, size_t n, size_t *got,
                        struct err *e);
    void (*reader_close)(struct spool_reader **r);
    struct resolve *(*mx)(struct resolver *r, struct str domain, resolve_done_fn *done, void *arg);
    struct resolve *(*host)(struct resolver *r, struct str name, resolve_done_fn *done, void *arg);
    void (*resolve_cancel)(struct resolve **q);
};
struct smtpc *smtpc_new_with(struct loop *l, struct conf *conf, struct resolver *r,
                             struct spool *spool, const struct smtpc_ops *ops);

/* ---- one delivery in our hands ---- */

enum job_place {
    JOB_PENDING,  /* d->node in dest->pending */
    JOB_SESSION,  /* in a session's slot */
    JOB_FINISHED, /* d->node in dest->finished: done() runs at the end of this turn */
};
struct job {
    struct delivery *d; /* d->transport points back here */
    struct dest *dest;
    struct session *session; /* JOB_SESSION */
    enum job_place place;
    unsigned returns;   /* how often a session gave it back unsent */
    int64_t started_ms; /* when it was handed to us; total_timeout counts from here */
    unsigned n_replies; /* used entries of d->replies */
    struct smtp_reply *last_reply;
    struct job *next_free;
};

/* ---- hosts and endpoints ---- */

#define HOSTS_MAX         16
#define HOST_ENDPOINT_MAX 8
#define RESTING_MAX       256

struct endpoint {
    struct sockaddr_storage addr; /* with port */
    socklen_t len;
    char ip[48];
};
enum host_state {
    HOST_NEW,
    HOST_RESOLVING,
    HOST_RESOLVED,
    HOST_FAILED,
};
struct host {
    struct dest *dest;
    char name[256];
    unsigned port, cost;
    enum host_state state;
    struct resolve *query;
    unsigned n_endpoint; /* at most HOST_ENDPOINT_MAX: `tried` has a bit for each */
    struct endpoint *endpoint;
};
enum hosts_state {
    HOSTS_NONE,
    HOSTS_MX_WAIT, /* the MX question is out */
    HOSTS_KNOWN,
    HOSTS_FAILED, /* hosts.failure says why */
};
struct hosts {
    enum hosts_state state;
    int64_t built_ms;
    uint64_t conf_serial; /* of the configuration it was built from */
    struct resolve *mx_query;
    unsigned n;
    struct host *v; /* HOSTS_MAX of them, sorted by cost */
    bool loop;      /* hosts were dropped because they are ourselves */
    enum outcome failure_outcome;
    struct smtp_reply failure;
};
/* An endpoint that failed and is tried last until then. */
struct resting {
    struct sockaddr_storage addr;
    socklen_t len;
    int64_t until_ms;
};

/* ---- destination ---- */

struct dest {
    struct smtpc *client;
    struct dest *next_hash;
    struct list_node node;    /* client->dests */
    struct list_node starved; /* client->starved: it may have no more sessions for now */
    struct dest_key key;      /* name points to `name` */
    char name[256];
    struct hosts hosts;
    unsigned turn; /* round robin among hosts of equal cost */

    struct list pending, finished; /* of delivery.node */
    unsigned n_pending;
    struct list sessions; /* of session.node */
    struct list idle;     /* of session.idle_node; the one used last is first */
    unsigned n_sessions, n_idle;
    unsigned n_outdated;     /* opened before the last reload: they only finish what they have */
    unsigned n_connecting;   /* look for a host that works */
    unsigned n_slow;         /* do not any more, but wait on where they are; see pending.c */
    int64_t worked_ms;       /* when the last session that worked ended */
    int64_t open_after_ms;   /* no new connections before: every host failed just now */
    int64_t ahead_after_ms;  /* no commands behind a final dot before: the host hung up on such */
    int64_t dot_latency_ms;  /* smoothed time from final dot to reply */
    struct smtp_reply error; /* of the last host that failed, with its name */
    char error_host[256], error_ip[48];
    struct loop_task task;
    struct loop_timer expiry, reopen, pending_tick;
};

/* ---- session ---- */

enum session_state {
#define STATE(id, name, timeout, on_reply, doing) SESSION_##id,
#include "relay/smtpc/session_state.def"
#undef STATE
    SESSION_STATE_COUNT
};

/* One message on a session: what was said and what was answered. */
struct slot {
    struct job *job; /* NULL: free, or its result is known and only replies remain */
    bool used;
    bool rset, mail_sent, data_sent; /* written to the stream */
    bool want_rset;
    bool refused;                /* nothing more of this message is to be sent */
    unsigned rcpt_next;          /* first recipient not yet sent */
    unsigned rcpt_reply;         /* first recipient not yet answered */
    unsigned rcpt_ok, rcpt_said; /* answered 2xx; answered at all */
    unsigned outstanding;        /* commands without a reply */
    uint64_t asked_at;           /* octets on the connection before a reply to it can come */
    struct spool_reader *reader;
    uint64_t off, size;
    struct dot_encoder dot;
};

struct session_caps {
    bool esmtp, pipelining, size, eightbit, dsn, smtputf8;
    uint64_t size_max; /* 0 = no limit said */
};

struct session {
    struct dest *dest;
    struct list_node node;      /* dest->sessions, or client->graveyard when closed */
    struct list_node idle_node; /* dest->idle */
    struct list_node age_node;  /* client->idle */
    enum session_state state;
    struct stream *stream;
    struct connect *connect;
    struct endpoint endpoint;
    uint64_t conf_serial; /* of the configuration its host is from */
    char host[256];
    unsigned port, cost;      /* of the host */
    bool probe;               /* opened to see whether a better host works again */
    bool slow;                /* its host takes long to greet: the next one is tried meanwhile */
    int64_t attempt_ms;       /* when the attempt at this endpoint began */
    uint8_t tried[HOSTS_MAX]; /* endpoints tried, a bit each; RESOLVE and CONNECT */
    unsigned turn;
    struct session_caps caps;
    struct smtp_reply_parser parser;
    struct slot cur, next; /* next: its MAIL, RCPT and DATA went out behind cur's final dot */
    unsigned messages;     /* begun on this connection */
    bool rset_first;       /* the transaction before may still be open at the peer */
    bool doomed;           /* to be closed after cur's reply: next was taken away */
    bool early;            /* the next reply began before what it would answer was written */
    int64_t dot_sent_ms;
    int64_t dot_deadline_ms;
};

/* ---- client ---- */

#define DEST_BUCKETS 1024

struct smtpc {
    struct loop *loop;
    struct conf *conf;
    uint64_t conf_serial;
    struct resolver *resolver;
    struct spool *spool;
    const struct smtpc_ops *ops;
    struct dest *bucket[DEST_BUCKETS];
    struct list dests;
    struct list graveyard; /* closed sessions, freed at the end of the turn */
    struct list idle;      /* of session.age_node; the one idle for longest is first */
    struct list starved;   /* of dest.starved */
    unsigned n_sessions, sessions_max;
    struct loop_task sweep;
    struct job *free_jobs;
    struct buf out; /* commands are put together here */
    struct resting resting[RESTING_MAX];
    unsigned n_resting;
    struct ifaddrs *interfaces; /* our own addresses, for wildcard listeners */
};

/* client.c */
void client_bury(struct smtpc *c, struct session *s);
/* May one more session be opened? Makes room by closing the one idle for longest. */
bool client_has_room(struct smtpc *c);
void client_room_made(struct smtpc *c); /* a session ended or became idle */
void client_job_free(struct smtpc *c, struct job *j);
void client_dest_forget(struct dest *d); /* unlinks and frees it */

/* dest.c */
struct dest *dest_new(struct smtpc *c, const struct dest_key *key);
void dest_free(struct dest *d);
void dest_add(struct dest *d, struct job *j);
void dest_kick(struct dest *d); /* look for work at the end of this turn */
/* A session gives a job back before anything was said about its recipients. */
void dest_give_back(struct dest *d, struct job *j);
/* The same when that is not the connection's fault. */
void dest_put_back(struct dest *d, struct job *j);
void dest_finish(struct dest *d, struct job *j, enum dest_verdict verdict);
/* One that is pending ends without a session; the reply is the last host's that failed. */
void dest_end_pending(struct dest *d, struct job *j, enum dest_verdict verdict);
void dest_unlink_pending(struct dest *d, struct job *j);
/* Opens sessions for what is pending, as far as that is allowed now. */
void dest_open_more(struct dest *d);
/* Sessions to what is configured now that are past their greeting. */
unsigned dest_working(const struct dest *d);
unsigned dest_connections_max(const struct dest *d);
/* The lowest cost among the sessions that work; UINT_MAX if none does. */
unsigned dest_best_cost(const struct dest *d);
/* No host could be reached for a new session, which is gone by now. */
void dest_exhausted(struct dest *d, enum outcome outcome, const struct smtp_reply *reply);
/* A slow session ended at last. What waits ends, too, if there was no other host. */
void dest_slow_failed(struct dest *d, const struct smtp_reply *reply);
void dest_reconfigured(struct dest *d);
void dest_close_idle(struct dest *d);

/* pending.c */
void pending_init(struct dest *d);
void pending_watch(struct dest *d); /* something is pending: its clock runs */
void pending_clear(struct dest *d);
/* There is too little left of its total time to begin it. */
bool pending_is_too_late(const struct dest *d, const struct job *j, int64_t now);

/* hosts.c */
enum pick {
    PICK_FOUND, /* s->endpoint and s->host are set */
    PICK_WAIT,  /* for the resolver; session_resume() will be called */
    PICK_NONE,  /* all were tried, or there are none: *outcome and *reply say why */
};
enum pick hosts_pick(struct dest *d, struct session *s, enum outcome *outcome,
                     struct smtp_reply *reply);
/* Is there a host of lower cost that may be tried now? */
bool hosts_has_better(struct dest *d, unsigned cost);
/* Makes the table anew if it is old; only while no session is looking through it. */
void hosts_refresh(struct dest *d);
/* Is there an endpoint that is not resting (or not known yet)? */
bool hosts_has_alternative(struct dest *d);
/* Is the session's host in the configuration, or one by MX? */
bool hosts_has_host_of(const struct dest *d, const struct session *s);
void hosts_clear(struct dest *d);
void hosts_print(struct dest *d, char *dst, size_t cap);

/* resting.c */
void resting_add(struct smtpc *c, const struct endpoint *e);
void resting_remove(struct smtpc *c, const struct endpoint *e);
bool resting_has(struct smtpc *c, const struct endpoint *e);
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
/* Our own listeners' addresses. */
bool own_endpoint(struct smtpc *c, const struct endpoint *e);

/* session.c */
const char *session_state_name(enum session_state st);
void session_open(struct dest *d, bool probe);
void session_resume(struct session *s); /* RESOLVE: the resolver has answered */
void session_set_state(struct session *s, enum session_state st);
void session_arm(struct session *s); /* the state's deadline, from now */
void session_close(struct session *s, bool quit);
/* The connection is of no use any more: the messages on it go back or are deferred with `reply`. */
void session_break(struct session *s, bool timed_out, enum dest_verdict verdict,
                   const struct smtp_reply *reply);
/* Before READY: this endpoint will not do; goes on to the next one, unless another session does. */
void session_open_failed(struct session *s, bool quit, const struct smtp_reply *reply);
void session_ready(struct session *s);
/* It does not look for a host any more: it was slow, is ready, or ends. */
void session_ends_search(struct session *s);
void session_set_slow(struct session *s);
void session_not_idle(struct session *s);
/* The current message is over for good; next, idle or QUIT. */
void session_message_end(struct session *s);
bool session_can_queue(const struct session *s); /* may another message go behind the final dot? */
/* The message behind the final dot goes back unharmed; the connection is of no more use then. */
void session_give_back_next(struct session *s);
/* It was opened before the last reload: its host may not be configured any more. */
bool session_is_outdated(const struct session *s);
/* There was a reload: what the host cannot have taken goes back. */
void session_outdate(struct session *s);
void session_cancel(struct session *s, struct job *j);
/* "host[ip]:port" */
void session_peer(const struct session *s, char *dst, size_t cap);
void slot_clear(struct session *s, struct slot *sl);

/* session_reply.c */
typedef void session_reply_fn(struct session *s, const struct smtp_reply *r);
session_reply_fn session_on_stray_reply, session_on_banner, session_on_ehlo, session_on_helo,
    session_on_rset, session_on_mail, session_on_rcpt, session_on_data_reply,
    session_on_early_reply, session_on_dot, session_on_skipped;
void session_nonsense(struct session *s, const char *what);

/* session_send.c */
/* Hands a job to a free slot and writes what may be written. False: the job ended here and now (it
 * was finished), the session is as it was. */
bool session_begin(struct session *s, struct slot *sl, struct job *j);
/* Writes all that may be written now. */
void session_pump(struct session *s);
/* An empty message, for a peer that says 354 though it refused all recipients (RFC 2920 3.1). */
void session_send_empty(struct session *s);

/* result.c */
void result_reset(struct job *j);
enum outcome result_of(const struct smtp_reply *r);
/* One recipient's own result. */
void result_rcpt(struct job *j, unsigned i, enum outcome outcome, const struct smtp_reply *reply);
/* The same result for all that have none yet. */
void result_rest(struct job *j, enum outcome outcome, const struct smtp_reply *reply);
/* The same, said by ourselves. */
void result_rest_ours(struct job *j, enum outcome outcome, const struct smtp_reply *reply);
/* The decision has changed before anything was sent. */
void result_reroute(struct job *j);
/* It took longer than it may; the reply is the last failed host's if there is one. */
void result_too_late(struct job *j);
/* First recipient from i on that has no result; n_rcpt if none. */
unsigned result_next_open(const struct job *j, unsigned i);

#endif
