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
    struct address rcpt; /* after a bare <postmaster> got its domain */
    struct str key;      /* of rcpt, for the directory */
    struct str domain;   /* of key: lower case */
    char shown[128];     /* the recipient, harmless */
    int origin_forest;   /* CONF_NONE: from no forest, or from one no longer configured */
    char key_text[ADDRESS_MAX + 1];
};

/* A line for explain, if anybody asks. Text of peers and directories must be escaped already. */
void route_say(struct route_work *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The claims, one line each. */
void route_say_claims(struct route_work *w, const struct dir_result *r);
/* "people says new (flag extensionAttribute1), other says old (homeMDB)". */
void route_claims_text(struct route_work *w, const struct dir_result *r, struct buf *out);

/* The envelope address for the hosting forest: replaces out->address if there is a better one than
 * the address as written. r->best is not NULL. */
void route_address(struct route_work *w, const struct conf_forest *f, const struct dir_result *r);
/* Fills a routing template from what the claim says: %m alias, %1m its first letter ... False:
 * `missing` is the placeholder that nothing is known for, or "" if the result does not fit. */
bool route_template(const char *tmpl, const struct dir_claim *claim, struct buf *out,
                    char missing[4]);

#endif
