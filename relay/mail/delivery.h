/*
 * delivery.h - the seam between the queue and whatever delivers: one message to one destination for
 * one or more of its recipients.
 *
 * The queue fills it and calls transport->start(); it stays the queue's property but must not be
 * touched until done() is called, exactly once, never before start() returned. transport->cancel()
 * ends it early: done() is then not called.
 */
#ifndef RELAY_MAIL_DELIVERY_H
#define RELAY_MAIL_DELIVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "relay/mail/decision.h"
#include "relay/mail/envelope.h"
#include "relay/proto/reply.h"

enum outcome {
    OUTCOME_NONE,
    OUTCOME_DELIVERED, /* the next hop said 2xx to the end of data */
    OUTCOME_DEFERRED,  /* try again later */
    OUTCOME_FAILED,    /* 5xx for good */
    OUTCOME_REROUTE,   /* nothing was sent, and it is not wanted there now: decide again */
};

const char *outcome_name(enum outcome o); /* "delivered", "deferred", ... */

struct delivery_rcpt {
    uint32_t index;     /* into env->rcpt */
    struct str address; /* for RCPT TO */
    enum outcome outcome;
    bool at_rcpt; /* the reply is the one to RCPT: about this recipient, not about the message */
    bool ours;    /* the reply is the transport's own; remote_host has no part in it */
    struct smtp_reply
        *reply; /* set with the outcome; points into the delivery's `replies` or shared */
};

/* What the attempt says about the destination itself, for its window. */
enum dest_verdict {
    DEST_OK,          /* it spoke SMTP and took or refused mail as it should */
    DEST_UNREACHABLE, /* no connection, no banner, 421 or 4xx greeting, lost or hung connection */
    DEST_BUSY,        /* it asks for less: 421 in session, 450/452 to MAIL */
};

const char *dest_verdict_name(enum dest_verdict v); /* "ok", "unreachable", "busy" */

struct delivery {
    struct list_node node; /* for whoever holds it */
    uint64_t msg_id;
    char id_text[20];           /* the queue ID as shown to people */
    const struct envelope *env; /* valid until done */
    struct dest_key dest;
    uint64_t content_size; /* octets, as SIZE= would say */
    bool content_8bit;     /* the content has octets above 127 */
    unsigned n_rcpt;
    struct delivery_rcpt *rcpt;
    unsigned attempt; /* 1 = first */

    /* Just before MAIL is sent: false when the directory has changed the decision meanwhile; all
     * recipients then end as OUTCOME_REROUTE; also when some of them have to wait a moment. */
    bool (*confirm)(struct delivery *d);
    /* Asked now and then while it waits and nothing is sent: false when confirm() would say so, or
     * an admin has stopped it; all recipients then end as OUTCOME_REROUTE. */
    bool (*wanted)(struct delivery *d);
    /* After confirm() said true: every RCPT has its reply, or the connection ended and the delivery
     * waits for another one (and confirm() is asked again). Need not be called if done() follows in
     * this turn. */
    void (*answered)(struct delivery *d);
    void (*done)(struct delivery *d);
    void *owner; /* the queue's */

    /* Results, filled by the transport before done(). */
    enum dest_verdict verdict;
    struct smtp_reply session_reply; /* storage for the common case: one reply for all recipients */
    struct smtp_reply *replies;      /* n_rcpt of them, malloc'ed by the transport if it needs them;
                                        freed by the queue */
    char remote_host[256];           /* name of the host that answered, "" if none */
    char remote_ip[48];
    bool remote_dsn; /* it offered DSN, so success reports are its duty (RFC 3461 5.2) */

    void *transport; /* private to the transport */
};

struct transport {
    void *ctx;
    void (*start)(void *ctx, struct delivery *d);
    void (*cancel)(void *ctx, struct delivery *d);
};

#endif
