/*
 * smtpd_stage.h - inbound sessions on a fake stream and a virtual clock, with a spool that keeps
 * messages in memory and a router that judges by the local part: what the tests of smtpd share.
 *
 * A dialogue is a list of lines: what the client says ("C:..."), what must come back ("S:250", by
 * prefix), and events in between (see run_dialogue).
 */
#ifndef TESTS_UNIT_SMTPD_STAGE_H
#define TESTS_UNIT_SMTPD_STAGE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <netinet/in.h>

#include "relay/smtpd/smtpd_int.h"

struct spool {
    int unused;
};

struct fake_spool {
    struct spool spool;
    bool full, hold; /* hold: appends are answered when the test says so */
    uint64_t large_bytes;
    enum spool_result result;
    unsigned n;
    struct buf content, envelope; /* of the last message */
    struct spool_append *held;
    bool large;
    bool large_full;                 /* each write to the large message fills its backlog */
    struct spool_large *large_waits; /* one that was told so */
    unsigned large_writes, large_aborted;
};
extern struct fake_spool fake;
/* What the large message was given is written: tells its owner so. */
void fake_large_ready(void);
/* Answers the append that was held. */
void fake_answer_held(void);

/* A worker with one client. */
struct world {
    struct loop *loop;
    struct conf *conf;
    struct smtpd_clients *clients;
    struct smtpd *smtpd;
    struct smtpd_session *session;
    struct stream *client, *server;
    struct buf heard;
    bool closed;
    unsigned accepted;
    size_t chunk;
};

/* Of IPv4 ("192.0.2.7") or IPv6. */
struct sockaddr_storage peer_address(const char *ip);
/* Connects a client from that address. chunk: octets on their way at a time; 0: all. */
void world_open(struct world *w, const char *ip, size_t chunk);
/* The same, of a client that talks before it is greeted. */
void world_open_talking(struct world *w, const char *ip, const char *said);
void world_close(struct world *w);
/* Reads another configuration: `from` in the text becomes `to`. */
void world_reload(struct world *w, const char *from, const char *to);

void turns(struct world *w, unsigned n);
/* Turns until the world stands still; `octets` may be on their way one by one. */
void settle_after(struct world *w, size_t octets);
void settle(struct world *w);
void say(struct world *w, struct str s);
/* EHLO to DATA for one recipient; the answers are thrown away. */
void say_until_data(struct world *w);
/* Takes one reply (all its lines) off what was heard, and compares its first line's beginning. */
void expect(struct world *w, const char *prefix, const char *where);

/* Lines: C:command, R:raw octets, S:reply's beginning, CLOSED, WAIT:ms, FULL:0|1 and
 * RESULT:n (of the spool), ACCEPTED:messages, HAS:octets of the last message. */
void run_dialogue(const char *const *lines, const char *ip, size_t chunk);
/* With whole writes and one octet at a time. */
void both(const char *const *lines, const char *ip);

#define HELLO  "S:220 relay.test", "C:EHLO client.test", "S:250-relay.test"
#define MAIL1  "C:MAIL FROM:<s@x.test>", "S:250 2.1.0", "C:RCPT TO:<r@example.test>", "S:250 2.1.5"
#define DATA1  "C:DATA", "S:354"
#define D(...) ((const char *const[]){__VA_ARGS__, NULL})

#endif
