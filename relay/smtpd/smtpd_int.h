/*
 * smtpd_int.h - what the files of relay/smtpd/ share.
 *
 * A session has a transaction only between MAIL and its end, so an idle connection costs this
 * struct and its stream. Everything a transaction holds lives in struct transaction;
 * smtpd_transaction_end() forgets it all at once.
 */
#ifndef RELAY_SMTPD_SMTPD_INT_H
#define RELAY_SMTPD_SMTPD_INT_H

#include <netinet/in.h>

#include "base/arena.h"
#include "base/list.h"
#include "relay/mail/envelope.h"
#include "relay/proto/command.h"
#include "relay/proto/dot.h"
#include "relay/proto/reply.h"
#include "relay/smtpd/smtpd.h"

#define SMTPD_CHUNK_BYTES   16384
#define SMTPD_COUNT_STEP    16384 /* memory other than content is counted in steps of this */
#define SMTPD_RATE_GRACE_MS 30000

/* A piece of content on its way to the spool. */
struct chunk {
    struct chunk *next;
    size_t n;
    char bytes[SMTPD_CHUNK_BYTES];
};

/* Content between the wire and the spool: in memory, or past a size in a file of its own. */
struct content {
    struct smtpd *owner;
    struct chunk *first, *last;
    unsigned n_chunks;
    uint64_t size;
    struct spool_large *large; /* once set, chunks are only a step on the way */
    bool blocked;              /* the large thread has enough for now */
};

/* X-macro: state, text for logs. */
#define SMTPD_STATES(X)                                                                            \
    X(GREETING, "before the banner")                                                               \
    X(COMMAND, "waiting for a command")                                                            \
    X(DATA, "receiving content")                                                                   \
    X(COMMIT, "writing to the spool")                                                              \
    X(CLOSING, "closing")

enum smtpd_state {
#define X(id, text) SMTPD_##id,
    SMTPD_STATES(X)
#undef X
};
const char *smtpd_state_text(enum smtpd_state s);

struct transaction {
    struct spool_append append; /* its node comes back from the commit thread; reply_to is set while
                                   the spool has it */
    struct smtpd *owner;
    struct smtpd_session *session; /* NULL: the client left while the spool was writing */
    struct transaction *next_free;
    struct arena arena;
    struct envelope env;
    uint32_t rcpt_cap;
    size_t counted; /* of the envelope, in smtpd_clients_memory() */
    uint64_t id;
    char id_text[14];
    int64_t began_ms;
    int64_t data_began_ms; /* moved on by the time that our disk took */
    int64_t blocked_ms;    /* since when it waits for that */
    struct dot_decoder dot;
    struct content content;
    struct iovec iov[96]; /* enough for most; content that needs more takes iov_more */
    struct iovec *iov_more;
    struct buf envelope; /* encoded */
    bool too_large, failed;
};

struct smtpd_session {
    struct list_node node; /* in the service's sessions, or leaving */
    struct smtpd *d;
    struct stream *stream;
    struct transaction *txn;
    struct loop_timer banner_timer;
    char *helo;
    uint16_t listener;
    uint8_t state;  /* enum smtpd_state */
    uint8_t origin; /* enum mail_origin; see smtpd_classify() */
    bool esmtp, skip_line, counted, draining, spoke, eof;
    int16_t forest; /* index in the service's configuration, when origin is a forest */
    uint16_t errors;
    unsigned conf_number; /* of the service when origin and forest were found */
    uint32_t messages;
    uint32_t kept;     /* octets of input that wait in the stream */
    uint32_t held;     /* the same and waiting output, as counted in smtpd_clients_memory() */
    struct conf *conf; /* the one it began with */
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } addr;
    char ip[48];
    char client_key[48]; /* what connections are counted by: an IPv6 client is its /64 */
};

struct smtpd {
    struct loop *loop;
    struct conf *conf;
    unsigned conf_number;     /* counts reloads */
    struct conf *listen_conf; /* the one that the sockets were made from: it names the listeners */
    struct spool *spool;
    struct smtpd_clients *clients;
    struct smtpd_ops ops;
    struct list sessions, leaving;
    unsigned n_sessions, n_leaving, n_commits;
    bool draining;
    struct transaction *free_txn;
    struct chunk *free_chunk;
    unsigned n_free_txn, n_free_chunk;
    struct buf scratch;  /* one reply being written */
    struct arena decide; /* of one RCPT */
};

/* smtpd.c: what the peer is by the newest configuration. False: it may not use its listener any
 * more; the refusal is filled. */
bool smtpd_classify(struct smtpd_session *s, struct smtp_reply *refusal);

/* session.c */
void smtpd_session_state(struct smtpd_session *s, enum smtpd_state to);
void smtpd_reply(struct smtpd_session *s, const struct smtp_reply *r);
void smtpd_reply_text(struct smtpd_session *s, const char *line_crlf);
void smtpd_say(struct smtpd_session *s, int code, const char *enhanced, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* A client's mistake: replied, counted; past errors_max the session ends with 421. */
void smtpd_error(struct smtpd_session *s, int code, const char *enhanced, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
void smtpd_error_reply(struct smtpd_session *s, const struct smtp_reply *r);
/* After the pending output; the session is freed when the callback in hand returns. */
void smtpd_close(struct smtpd_session *s);
/* The service ends: 421, and closes. */
void smtpd_goodbye(struct smtpd_session *s);
/* At the end of every callback: frees a session that is closing; true if it is gone. */
bool smtpd_session_settle(struct smtpd_session *s);
/* Frees it at once, output or not; also one that is leaving. */
void smtpd_session_cut(struct smtpd_session *s);

/* command.c: one command; `more` = further input was already there behind it. */
void smtpd_command(struct smtpd_session *s, struct str line, bool more);

/* mail.c, rcpt.c */
void smtpd_cmd_mail(struct smtpd_session *s, struct str args);
void smtpd_cmd_rcpt(struct smtpd_session *s, struct str args);

/* data.c */
void smtpd_cmd_data(struct smtpd_session *s);
size_t smtpd_data_input(struct smtpd_session *s, const char *data, size_t n);
void smtpd_append_done(struct chan_node *node);

/* transaction.c */
struct transaction *smtpd_transaction_new(struct smtpd_session *s);
void smtpd_transaction_end(struct transaction *t);
/* Counts the memory that the envelope takes, once it is much. */
void smtpd_transaction_count(struct transaction *t);
/* The same before it grows. False: memory is used up, and the envelope takes much already. */
bool smtpd_transaction_may_grow(struct transaction *t);
void smtpd_transactions_free(struct smtpd *d);

/* content.c */
void content_init(struct content *c, struct smtpd *owner);
/* Room for at least `need` (<= SMTPD_CHUNK_BYTES) octets at the end. */
char *content_reserve(struct content *c, size_t need, size_t *room);
void content_commit(struct content *c, size_t n);
/* Moves to a file of its own; from now on content_push() sends on what has gathered. */
void content_spill(struct content *c, uint64_t id, spool_large_ready_fn *ready, void *arg);
void content_push(struct content *c);
void content_free(struct content *c);
void content_pool_free(struct smtpd *d);

/* clients.c */
enum client_verdict {
    CLIENT_OK,
    CLIENT_TOO_MANY,
    CLIENT_ALL_FULL
};
enum client_verdict smtpd_clients_enter(struct smtpd_clients *c, const char *ip, unsigned limit,
                                        unsigned limit_all);
void smtpd_clients_leave(struct smtpd_clients *c, const char *ip);
void smtpd_clients_memory(struct smtpd_clients *c, int64_t delta);
uint64_t smtpd_clients_memory_used(const struct smtpd_clients *c);

/* trace.c: the Received field, RFC 5321 4.4. */
bool smtpd_trace_field(const struct smtpd_session *s, const struct transaction *t, int64_t wall_ms,
                       char *dst, size_t cap, size_t *n);

#endif
