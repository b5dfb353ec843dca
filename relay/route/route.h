/*
 * route.h - where does a recipient's mail go, at this moment, and why. Pure: configuration and view
 * in, decision out. Used at RCPT (may this client send to it?), at every delivery attempt, and by
 * `explain`.
 */
#ifndef RELAY_ROUTE_ROUTE_H
#define RELAY_ROUTE_ROUTE_H

#include "base/arena.h"
#include "conf/conf.h"
#include "directory/view.h"
#include "relay/mail/decision.h"
#include "relay/mail/envelope.h"

struct route_query {
    const struct conf *conf;
    const struct dir_view *view;
    int64_t now_ms;       /* monotonic */
    struct str recipient; /* as written */
    struct str sender;    /* as written; empty = null sender. No rule depends on it */
    enum mail_origin origin;
    struct str origin_name; /* forest, if origin is one */
    struct str refused_by;  /* a forest that refused it as unknown already; empty = none */
};

/* What explain shows; NULL when nobody asks. */
struct route_trace {
    unsigned n;
    struct str line[32]; /* reasons, one line each */
    bool looked_up;      /* `entry` is what the directory has for it */
    struct dir_result entry;
};

/* The decision for the recipient of an accepted message. Slices in *out come from `a` or the
 * configuration. Never fails: what cannot be decided is put off (a full arena too). Rules, in
 * out->rule: syntax, too-long, encapsulated-denied, routing-domain, directory, conflict, override,
 * other-claimant, loop, unknown-refuse, unknown-forward, old-address-unknown,
 * old-address-ambiguous, directory-incomplete, forest-unknown, relay-denied, route, mx,
 * no-memory. */
void route_decide(const struct route_query *q, struct arena *a, struct route_trace *trace,
                  struct decision *out);

/* May this origin send to this recipient at all (RCPT)? Relaying by those who may not: 550 5.7.1;
 * unknown recipients of ours: 550 5.1.1; not known yet: 451 4.3.0. The same rules as
 * route_decide(), which so stays no open relay when domains change while mail waits; and one more,
 * auth-required: strangers may not send to what wants authenticated senders. What was accepted
 * once is not bounced for that. */
void route_admit(const struct route_query *q, struct arena *a, struct route_trace *trace,
                 struct decision *out);

#endif
