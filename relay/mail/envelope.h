/*
 * envelope.h - the original envelope of a message as it was accepted: never changed afterwards
 * (late binding). Its encoding is part of the spool format (doc/spool-format.md).
 */
#ifndef RELAY_MAIL_ENVELOPE_H
#define RELAY_MAIL_ENVELOPE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"
#include "relay/proto/params.h"

/* Where a message came from; decides what it may do and where it may not go back to. */
enum mail_origin {
    MAIL_FROM_INTERNET,
    MAIL_FROM_FOREST,      /* origin_name is the forest */
    MAIL_FROM_APPLICATION, /* a host that may relay outward */
    MAIL_FROM_LOCAL,       /* made here: a DSN */
};

const char *mail_origin_name(enum mail_origin o); /* "internet", "forest", ... */

struct envelope_rcpt {
    struct str address; /* as the sender wrote it, without <> */
    struct str orcpt;   /* xtext with type as received, or empty */
    unsigned notify;    /* MAIL_NOTIFY_* */
};

struct envelope {
    int64_t arrival_ms; /* wall clock */
    struct str sender;  /* without <>; empty = null sender */
    enum mail_body body;
    enum mail_ret ret;
    bool smtputf8;
    struct str envid; /* xtext as received, or empty */
    enum mail_origin origin;
    struct str origin_name; /* forest's name, or empty. A name, not an index: it outlives reloads */
    struct str client_ip, helo;
    uint32_t received_count; /* Received fields it came with */
    uint32_t n_rcpt;
    struct envelope_rcpt *rcpt;
};

#define ENVELOPE_RCPT_MAX                                                                          \
    10000 /* absolute bound of the format; the configured limit is far below */

/* Appends the encoding. False when out's cap is reached. */
bool envelope_encode(const struct envelope *env, struct buf *out);
/* Slices point into `bytes`; the recipient array comes from `a`. ERR_CORRUPT otherwise. */
bool envelope_decode(struct str bytes, struct arena *a, struct envelope *out, struct err *e);

#endif
