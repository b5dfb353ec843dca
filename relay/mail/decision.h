/*
 * decision.h - the answer for one recipient, made anew at every attempt.
 */
#ifndef RELAY_MAIL_DECISION_H
#define RELAY_MAIL_DECISION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "relay/proto/reply.h"

enum dest_kind {
    DEST_FOREST, /* name = the forest; its configured hosts */
    DEST_ROUTE,  /* name = the route; its smart hosts */
    DEST_MX,     /* name = the domain, lower case; its MX hosts */
};

const char *dest_kind_name(enum dest_kind k); /* "forest", "route", "mx" */

/* What deliveries are grouped, windowed and pooled by. Equal kind and name = same destination. */
struct dest_key {
    enum dest_kind kind;
    struct str name;
};
/* "forest:target", "route:default", "mx:example.org" - for logs, tables and queue filters. */
void dest_key_print(const struct dest_key *k, char *dst, size_t cap);

enum decision_kind {
    DECISION_DELIVER, /* to `dest`, as `address` */
    DECISION_REFUSE,  /* for good: reply 5xx says why (unknown, loop, not permitted) */
    DECISION_DEFER,   /* not now: reply 4xx says why (directory incomplete) */
};

const char *decision_kind_name(enum decision_kind k); /* "deliver", "refuse", "defer" */

struct decision {
    enum decision_kind kind;
    struct dest_key dest;
    struct str address;      /* what to say in RCPT TO at the next hop; never empty for DELIVER */
    struct smtp_reply reply; /* for REFUSE and DEFER */
    uint64_t generation;     /* of the directory view it was made from */
    const char *rule;        /* short name of the rule that decided, static text */
    /* Hash of a key in the directory that the decision depends on besides the recipient's own:
     * changes of either change it (hash64 of an address key, dir_other_hash() of another); 0 = none
     */
    uint64_t key_hash;
    /* Stands for the mailbox: the same for all addresses of a person, and the same when the mailbox
     * has moved; 0 = the address stands for itself. */
    uint64_t mailbox;
    bool alarm; /* a fault of the directories that a person must mend: log a warning */
};

#endif
