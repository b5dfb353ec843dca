/*
 * route.c - the decision for one recipient: what class its domain has, what the directory says, and
 * where the mail goes.
 *
 *   routing domain  its owner, or nowhere
 *   shared domain   the forest that hosts the entry; unknown: refused, forwarded once, or put off
 *   any other       the route with the longest match, else MX; only for those who may relay
 *
 * A recipient is never sent back to the forest that its mail came from. Pure: any thread, no clock,
 * no disk. Nothing here fails: what cannot be decided is put off with a reason.
 */
#include "relay/route/route_int.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/escape.h"
#include "base/hash.h"

void route_refuse(struct route_work *w, const char *rule, int code, const char *enhanced,
                  const char *text)
{
    w->out->kind = code < 500 ? DECISION_DEFER : DECISION_REFUSE;
    w->out->rule = rule;
    smtp_reply_set(&w->out->reply, code, enhanced, "<%s>: %s", w->shown, text);
    route_say(w, "%s with %d %s: %s", code < 500 ? "put off" : "refused", code, enhanced, text);
}

/* The transaction's arena is full. Returns false. */
static bool out_of_memory(struct route_work *w)
{
    route_refuse(w, "no-memory", 451, "4.3.0", "out of memory for this message");
    return false;
}

void route_deliver(struct route_work *w, const char *rule, enum dest_kind kind, struct str name)
{
    char dest[300];
    w->out->kind = DECISION_DELIVER;
    w->out->rule = rule;
    w->out->dest = (struct dest_key){.kind = kind, .name = name};
    dest_key_print(&w->out->dest, dest, sizeof(dest));
    route_say(w, "goes to %s", dest);
}

bool route_came_from(const struct route_work *w, int forest)
{
    return forest != CONF_NONE && w->origin_forest == forest;
}

/* ---- loops ---- */

/* The recipient lives where the mail came from: one of the two sides has it wrong. Only a directory
 * that is complete and fresh (or an administrator) may say so for good: right after a move an old
 * state names the forest that has just sent the mail on. */
void route_refuse_loop(struct route_work *w, const struct conf_forest *f,
                       const struct dir_result *r)
{
    struct buf claims = BUF_INIT(400), why = BUF_INIT(1024);
    if (r != NULL)
        route_claims_text(w, r, &claims);
    route_say(w, "the mail came from forest \"%s\" and is not sent back there", f->name);
    buf_printf(&why, "mail loop: it came from forest %s, which hosts this recipient", f->name);
    if (claims.n != 0)
        buf_printf(&why, ": %.*s", STR_ARG(buf_str(&claims)));
    route_refuse(w, "loop", 550, "5.4.6", buf_cstr(&why));
    buf_free(&claims);
    buf_free(&why);
}

/* ---- our domains ---- */

static void decide_routing_domain(struct route_work *w, const struct conf_domain *d)
{
    const struct conf_forest *f = &w->q->conf->forest[d->forest_index];
    route_say(w, "%s is the routing domain of forest \"%s\": its mail goes there or nowhere",
              d->name, f->name);
    if (route_came_from(w, d->forest_index)) {
        route_refuse_loop(w, f, NULL);
        return;
    }
    route_deliver(w, "routing-domain", DEST_FOREST, str_c(f->name));
}

/* True: goes on. The limits are those of RFC 5321, but for old Exchange addresses. */
static bool check_ours(struct route_work *w)
{
    const char *why = route_unwrap(w);
    if (why != NULL) {
        route_refuse(w, "encapsulated-denied", 550, "5.7.1", why);
        return false;
    }
    if (w->old.n == 0 &&
        (w->rcpt.local.n > ADDRESS_RFC_LOCAL_MAX || w->rcpt.all.n > ADDRESS_RFC_MAX)) {
        route_refuse(w, "too-long", 553, "5.1.3",
                     "address too long: at most 254 octets, 64 before the @ (RFC 5321)");
        return false;
    }
    return true;
}

static void decide_our_domain(struct route_work *w, const struct conf_domain *d)
{
    if (!check_ours(w))
        return;
    if (d->type == CONF_DOMAIN_ROUTING)
        decide_routing_domain(w, d);
    else
        route_shared_domain(w, d);
}

/* ---- all other domains ---- */

/* No open relay, whatever the configuration says about anything else. */
static bool may_relay(const struct route_work *w)
{
    switch (w->q->origin) {
    case MAIL_FROM_FOREST:
    case MAIL_FROM_APPLICATION:
    case MAIL_FROM_LOCAL:
        return true;
    case MAIL_FROM_INTERNET:
        break;
    }
    return false;
}

static void decide_other_domain(struct route_work *w)
{
    char shown[120];
    escape_cstr(w->domain, shown, sizeof(shown));
    route_say(w, "%s is not a domain of ours", shown);
    if (!may_relay(w)) {
        route_refuse(w, "relay-denied", 550, "5.7.1", "relaying denied");
        return;
    }
    int i = conf_find_route(w->q->conf, w->domain);
    const struct conf_route *route = i != CONF_NONE ? &w->q->conf->route[i] : NULL;
    if (route != NULL)
        route_say(w, "route \"%s\" is the longest match: %s", route->name,
                  route->mx ? "by MX" : "to its hosts");
    else
        route_say(w, "no route matches: by MX");
    if (route != NULL && !route->mx) {
        route_deliver(w, "route", DEST_ROUTE, str_c(route->name));
        return;
    }
    struct str name = arena_str(w->a, w->domain);
    if (name.p == NULL) {
        out_of_memory(w);
        return;
    }
    route_deliver(w, route != NULL ? "route" : "mx", DEST_MX, name);
}

/* ---- one recipient ---- */

/* <postmaster> is the postmaster of our first shared domain (RFC 5321 4.5.1). */
static bool complete_postmaster(struct route_work *w)
{
    const struct conf *c = w->q->conf;
    unsigned i = 0;
    while (i < c->n_domain && c->domain[i].type != CONF_DOMAIN_SHARED)
        i++;
    if (i == c->n_domain) {
        route_refuse(w, "syntax", 550, "5.1.1", "no domain of ours has a postmaster");
        return false;
    }
    char *full = arena_printf(w->a, "postmaster@%s", c->domain[i].name);
    if (full == NULL)
        return out_of_memory(w);
    route_say(w, "a postmaster without a domain is that of our first shared domain");
    if (address_parse(str_c(full), 0, &w->rcpt) == ADDRESS_OK)
        return true;
    route_refuse(w, "syntax", 550, "5.1.1", "no domain of ours has a postmaster");
    return false;
}

static bool parse_recipient(struct route_work *w)
{
    enum address_status st =
        address_parse(w->q->recipient, ADDRESS_ALLOW_UTF8 | ADDRESS_ALLOW_POSTMASTER, &w->rcpt);
    if (st != ADDRESS_OK) {
        route_refuse(w, "syntax", 553, "5.1.3", address_status_text(st));
        return false;
    }
    bool bare = w->rcpt.domain.n == 0;
    if (bare && !complete_postmaster(w))
        return false;
    w->out->address = arena_str(w->a, w->rcpt.all);
    if (w->out->address.p == NULL)
        return out_of_memory(w);
    size_t n = address_key(&w->rcpt, w->key_text, sizeof(w->key_text));
    ASSERT(n != 0); /* an address that was parsed fits */
    w->key = str_n(w->key_text, n);
    w->domain = str_from(w->key, (size_t)(str_rfind(w->key, '@') + 1));
    if (bare)
        w->out->key_hash = hash64(w->key.p, w->key.n);
    return true;
}

static void say_origin(struct route_work *w)
{
    char name[80];
    escape_cstr(w->q->origin_name, name, sizeof(name));
    if (w->q->origin == MAIL_FROM_FOREST)
        route_say(w, "from forest \"%s\"%s to <%s>", name,
                  w->origin_forest == CONF_NONE ? " (not configured any more)" : "", w->shown);
    else
        route_say(w, "from %s to <%s>",
                  w->q->origin == MAIL_FROM_INTERNET      ? "the internet"
                  : w->q->origin == MAIL_FROM_APPLICATION ? "an application host"
                                                          : "this relay (a notice)",
                  w->shown);
}

/* So that nobody looks for a reason there. A rule that does look at the sender takes this away. */
static void say_sender(struct route_work *w)
{
    char sender[128];
    if (w->trace == NULL || w->q->sender.n == 0)
        return;
    escape_cstr(w->q->sender, sender, sizeof(sender));
    route_say(w,
              "the sender <%s> makes no difference: no rule looks at senders, only at where the "
              "mail comes from",
              sender);
}

static void decide(struct route_work *w)
{
    const struct route_query *q = w->q;
    *w->out = (struct decision){.generation = dir_view_generation(q->view), .rule = ""};
    escape_cstr(q->recipient, w->shown, sizeof(w->shown));
    if (q->origin == MAIL_FROM_FOREST)
        w->origin_forest = conf_find_forest(q->conf, q->origin_name);
    say_origin(w);
    say_sender(w);
    if (!parse_recipient(w))
        return;
    int d = conf_find_domain(q->conf, w->domain);
    if (d == CONF_NONE)
        decide_other_domain(w);
    else
        decide_our_domain(w, &q->conf->domain[d]);
}

void route_decide(const struct route_query *q, struct arena *a, struct route_trace *trace,
                  struct decision *out)
{
    struct route_work w = {.q = q, .a = a, .trace = trace, .out = out, .origin_forest = CONF_NONE};
    decide(&w);
}

void route_admit(const struct route_query *q, struct arena *a, struct route_trace *trace,
                 struct decision *out)
{
    struct route_work w = {
        .q = q, .a = a, .trace = trace, .out = out, .origin_forest = CONF_NONE, .at_rcpt = true};
    decide(&w);
}
