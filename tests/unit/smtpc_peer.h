/*
 * smtpc_peer.h - for the tests of relay/smtpc: scripted SMTP servers on loopback, a spool and a
 * resolver in memory, deliveries, and a clock that stands still.
 */
#ifndef TESTS_UNIT_SMTPC_PEER_H
#define TESTS_UNIT_SMTPC_PEER_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "relay/io/listener.h"
#include "relay/io/stream.h"
#include "relay/proto/dot.h"
#include "relay/smtpc/smtpc_int.h"

/* ---- a scripted server ---- */

enum step {
    STEP_BANNER,
    STEP_EHLO,
    STEP_HELO,
    STEP_RSET,
    STEP_MAIL,
    STEP_RCPT,
    STEP_DATA,
    STEP_DOT,
    STEP_QUIT,
    STEP_COUNT
};
#define REPLY_HANG  "HANG"  /* says nothing and reads on */
#define REPLY_WAIT  "WAIT"  /* says and reads nothing until peer_say() */
#define REPLY_CLOSE "CLOSE" /* closes without a word */

/* The first rule that fits answers; none: the usual reply. */
struct rule {
    enum step step;
    const char *match; /* part of the command; NULL: any */
    unsigned skip;     /* lets so many pass first */
    unsigned times;    /* 0: for ever */
    const char *reply; /* with CRLF; may hold several */
    bool then_close;
};

struct received {
    char from[600];
    char rcpt[1200]; /* those answered with 2xx: "a,b" */
    struct buf content;
    bool accepted; /* 2xx to the end of data */
};

#define PEER_MAIL_MAX 64
struct peer {
    struct loop *loop;
    struct listener *listener;
    char ip[16], last_client[48];
    unsigned port;
    const char *ehlo; /* reply to EHLO without rule */
    struct rule rule[12];
    unsigned n_rule, passed[12];
    const char *(*decide)(struct peer *p, enum step step); /* before the rules; NULL = as usual */
    bool byte_at_a_time;
    bool stop_reading_content; /* the receiving window closes */
    unsigned connections, open;
    struct buf log; /* all commands, one a line; "|" where a read ended */
    struct received mail[PEER_MAIL_MAX];
    unsigned n_mail;
    struct list conns;
};

#define EHLO_FULL                                                                                  \
    "250-peer.test at your service\r\n250-PIPELINING\r\n250-SIZE 1000000\r\n250-8BITMIME\r\n"      \
    "250-ENHANCEDSTATUSCODES\r\n250 DSN\r\n"
#define EHLO_PLAIN "250 peer.test\r\n"

struct peer *peer_new(struct loop *l, const char *ip, unsigned port); /* port 0: any */
void peer_free(struct peer *p);
void peer_rule(struct peer *p, struct rule r);
void peer_close_all(struct peer *p);             /* its connections */
void peer_resume(struct peer *p);                /* reads content again */
void peer_say(struct peer *p, const char *text); /* on all its connections; ends REPLY_WAIT */
bool peer_said(const struct peer *p, const char *text); /* is it in the log? */
unsigned peer_count(const struct peer *p, const char *text);

/* ---- everything around the client ---- */

#define CONTENT_MAX 64
struct content {
    const char *p;
    size_t n;
    bool missing;   /* cannot be opened */
    bool corrupt;   /* the checksum is wrong at the end */
    size_t fail_at; /* > 0: reading at or after it fails */
};

struct fake_mx {
    const char *domain;
    enum resolve_status status;
    unsigned n;
    struct resolve_mx mx[4];
};
struct fake_host {
    const char *name;
    enum resolve_status status;
    const char *ip[3];
};

struct world {
    struct loop *loop;
    struct conf conf;
    struct conf_forest forest[2];
    struct conf_host host[2][4];
    struct conf_route route[1];
    struct conf_listener listener[1];
    char *listen_address[1];
    struct smtpc *client;
    struct transport transport;
    struct content content[CONTENT_MAX]; /* by message id */
    unsigned readers_open;
    struct fake_mx mx[8];
    struct fake_host hosts[8];
    unsigned n_mx, n_hosts, mx_asked, hosts_asked;
    struct list questions;
};
extern struct world W;

int world_setup(void **state);
int world_teardown(void **state);
void world_client(void); /* (re)creates the client from W.conf */
void world_host(unsigned forest, const char *name, unsigned port, unsigned cost);
void world_trickle(struct peer *p); /* it sends one octet a turn */
void turns(unsigned n);

/* ---- a delivery ---- */

#define MAIL_RCPT_MAX 600
struct mail {
    struct delivery d;
    struct envelope env;
    struct envelope_rcpt er[MAIL_RCPT_MAX];
    struct delivery_rcpt dr[MAIL_RCPT_MAX];
    char address[MAIL_RCPT_MAX][40];
    bool refuse_confirm;
    unsigned confirmed, answered, done;
    struct mail *then; /* started inside done() */
};
struct mail *mail_new(unsigned id, enum dest_kind kind, const char *dest, unsigned n_rcpt,
                      const char *content);
void mail_start(struct mail *m);
void mail_free(struct mail *m);
/* Runs the loop until it is done (or nothing more happens: fails the test). */
void mail_wait(struct mail *m);
#define assert_outcome(m, i, want) assert_int_equal((m)->dr[i].outcome, (want))
/* A small one for one recipient. */
struct mail *mail_to(unsigned id, enum dest_kind kind, const char *dest);
/* The same, started and waited for. */
void deliver(unsigned id, enum dest_kind kind, const char *dest, enum outcome want);
/* Several at a time, to the forest "one": ids 1, 2, ... */
#define MANY 8
extern struct mail *many[MANY];
void many_start(unsigned n);
void many_end(unsigned n, enum outcome want); /* waits for them */

#endif
