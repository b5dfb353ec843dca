/*
 * route_int.h - what the files of this folder share: the decision being made, and the words for it.
 */
#ifndef RELAY_ROUTE_ROUTE_INT_H
#define RELAY_ROUTE_ROUTE_INT_H

#include "relay/route/route.h"
#include "rewrite/address.h"

/* One decision under way. */
struct route_work {
    const struct route_query *q;
    struct arena *a;
    struct route_trace *trace;
    struct decision *out;
    bool at_rcpt;        /* route_admit() */
    struct address rcpt; /* after a bare <postmaster> got its domain */
    struct str key;      /* of rcpt, for the directory */
    struct str domain;   /* of key: lower case */
    struct str old;      /* what an encapsulated address stands for (legacyExchangeDN); or empty */
    struct str detail;   /* "+detail" of a plus address that was found by its base; or empty */
    bool found_by_old;   /* the entry was found by `old` */
    char shown[128];     /* the recipient, harmless */
    int origin_forest;   /* CONF_NONE: from no forest, or from one no longer configured */
    char key_text[ADDRESS_MAX + 1];
    char other_text[ADDRESS_MAX + 1]; /* of `old`; or of key, when that is a base */
};

/* route.c: how a decision ends. refuse() with a 4xx code puts off. */
void route_refuse(struct route_work *w, const char *rule, int code, const char *enhanced,
                  const char *text);
void route_deliver(struct route_work *w, const char *rule, enum dest_kind kind, struct str name);
bool route_came_from(const struct route_work *w, int forest);
/* It lives where it came from. r: what the directory says, or NULL. */
void route_refuse_loop(struct route_work *w, const struct conf_forest *f,
                       const struct dir_result *r);

/* A line for explain, if anybody asks. Text of peers and directories must be escaped already. */
void route_say(struct route_work *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Which sources no longer have it. */
void route_say_vanished(struct route_work *w, const struct dir_result *r);
/* "people says new (flag extensionAttribute1), other says old (homeMDB)". */
void route_claims_text(struct route_work *w, const struct dir_result *r, struct buf *out);

/* recipient.c: the entry that an address of a shared domain means: its own, or the one of an
 * encapsulated address (`old`, found_by_old), or that of a plus address's base
 * (`detail`). key and out->key_hash follow. */
void route_find(struct route_work *w, const struct conf_domain *d, struct dir_result *r);
/* Recognises an encapsulated address: fills `old`. Otherwise NULL, or why it is never taken. */
const char *route_unwrap(struct route_work *w);

/* shared.c */
void route_shared_domain(struct route_work *w, const struct conf_domain *d);

/* claims.c: the forest whose directory the claim comes from; empty: an override, or of no forest.
 */
struct str route_home_of(const struct route_work *w, const struct dir_claim *c);
/* Does the entry take mail from authenticated senders only? */
bool route_wants_auth(const struct route_work *w, const struct dir_result *r);
/* Of the primary address: the same for all addresses of the person, and the same when it moves
 * (claims are in the order of their sources' priority). 0: it is known by an override only. */
uint64_t route_mailbox(const struct dir_result *r);
/* A forest other than `not_this`, whose directory shows the mailbox, too; CONF_NONE if there is
 * none. *claim is what says so. */
int route_other_claimant(const struct route_work *w, const struct dir_result *r,
                         struct str not_this, const struct dir_claim **claim);

/* The envelope address for the hosting forest: replaces out->address if there is a better one than
 * the address as written. `routing`: what the directory says; may be empty. */
void route_address(struct route_work *w, const struct conf_forest *f, const struct dir_result *r,
                   struct str routing);
/* Fills a routing template from what the claim says: %m alias, %1m its first letter ... What may
 * not stand in a local part is left out, as Exchange does. False: `missing` is the placeholder that
 * nothing is known for, or "" if the result does not fit. */
bool route_template(const char *tmpl, const struct dir_claim *claim, struct buf *out,
                    char missing[4]);

#endif
