/*
 * hosts.c - the hosts of a destination: configured ones with their cost, or the MX hosts of a
 * domain with their preference (RFC 5321 5.1), resolved as they are needed: configured ones one
 * after the other, MX hosts all of one preference together.
 *
 * For MX the ways out that are permanent: the domain does not exist, it says that it takes no mail
 * (RFC 7505), or the best host left is ourselves. MX hosts that are not better than ourselves are
 * dropped, so that mail never goes back up. Everything else is tried again later.
 *
 * Choice: lowest cost first, equal costs in turn, an endpoint that is resting only when no other is
 * left, one where a slow session waits (pending.c) not at all. The table is made anew when it is
 * old and no session is on its way through it or slow: then all others were tried.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "relay/smtpc/smtpc_int.h"

#define HOSTS_MAX_AGE_MS (30 * 1000)

static void host_end(struct host *host)
{
    if (host->query != NULL)
        host->dest->client->ops->resolve_cancel(&host->query);
    mem_free(host->endpoint);
    host->endpoint = NULL;
    host->n_endpoint = 0;
}

void hosts_clear(struct dest *d)
{
    struct hosts *h = &d->hosts;
    struct smtpc *c = d->client;
    if (h->mx_query != NULL)
        c->ops->resolve_cancel(&h->mx_query);
    while (h->n > 0)
        host_end(&h->v[--h->n]);
    mem_free(h->v);
    *h = (struct hosts){.state = HOSTS_NONE};
}

static void hosts_fail(struct dest *d, enum outcome outcome, int code, const char *enhanced,
                       const char *text)
{
    d->hosts.state = HOSTS_FAILED;
    d->hosts.failure_outcome = outcome;
    smtp_reply_set(&d->hosts.failure, code, enhanced, "%s", text);
}

static void hosts_fail_loop(struct dest *d)
{
    char text[400];
    snprintf(text, sizeof(text), "mail for %s loops back to this relay: it is the best MX host",
             d->name);
    hosts_fail(d, OUTCOME_FAILED, 554, "5.4.6", text);
}

/* Kept sorted by cost; equal ones in the order given. */
static void hosts_insert(struct dest *d, struct str name, unsigned port, unsigned cost)
{
    struct hosts *h = &d->hosts;
    if (h->n == HOSTS_MAX)
        return;
    unsigned at = h->n;
    while (at > 0 && h->v[at - 1].cost > cost)
        at--;
    memmove(&h->v[at + 1], &h->v[at], (h->n - at) * sizeof(h->v[0]));
    h->v[at] = (struct host){.dest = d, .port = port, .cost = cost};
    str_copy(name, h->v[at].name, sizeof(h->v[at].name));
    h->n++;
}

/* Nothing of this cost or above is to be used: it is we. */
static void hosts_cut_at_cost(struct dest *d, unsigned cost)
{
    struct hosts *h = &d->hosts;
    h->loop = true;
    while (h->n > 0 && h->v[h->n - 1].cost >= cost)
        host_end(&h->v[--h->n]);
    if (h->n == 0)
        hosts_fail_loop(d);
}

static void hosts_wake(struct dest *d)
{
    LIST_FOREACH_SAFE (n, tmp, &d->sessions) {
        struct session *s = CONTAINER_OF(n, struct session, node);
        if (s->state == SESSION_RESOLVE)
            session_resume(s);
    }
}

/* ---- making the table ---- */

static void hosts_from_mx(struct dest *d, const struct resolve_answer *a)
{
    const struct conf *conf = d->client->conf;
    d->hosts.state = HOSTS_KNOWN;
    for (unsigned i = 0; i < a->n_mx; i++) {
        struct str name = str_c(a->mx[i].name);
        if (str_eq_nocase(name, str_c(conf->hostname))) {
            hosts_cut_at_cost(d, a->mx[i].preference);
            return;
        }
        hosts_insert(d, name, conf->smtp_client.mx_port, a->mx[i].preference);
    }
}

static void hosts_mx_done(void *arg, const struct resolve_answer *a)
{
    struct dest *d = arg;
    char text[400];
    d->hosts.mx_query = NULL;
    switch (a->status) {
    case RESOLVE_OK:
        hosts_from_mx(d, a);
        break;
    case RESOLVE_NODATA:
        if (str_eq_nocase(d->key.name, str_c(d->client->conf->hostname))) {
            hosts_fail_loop(d);
            break;
        }
        d->hosts.state = HOSTS_KNOWN;
        hosts_insert(d, d->key.name, d->client->conf->smtp_client.mx_port, 0);
        break;
    case RESOLVE_NXDOMAIN:
        snprintf(text, sizeof(text), "the domain %s does not exist", d->name);
        hosts_fail(d, OUTCOME_FAILED, 550, "5.1.2", text);
        break;
    case RESOLVE_NULL_MX:
        snprintf(text, sizeof(text), "the domain %s does not accept mail (null MX)", d->name);
        hosts_fail(d, OUTCOME_FAILED, 556, "5.1.10", text);
        break;
    case RESOLVE_TEMPORARY:
        snprintf(text, sizeof(text), "cannot look up the MX hosts of %s: %s", d->name, a->why);
        hosts_fail(d, OUTCOME_DEFERRED, 451, "4.4.3", text);
        break;
    }
    hosts_wake(d);
}

/* user@[192.0.2.1]: the address itself, RFC 5321 4.1.3. */
static void hosts_from_literal(struct dest *d)
{
    struct str in = str_n(d->name + 1, d->key.name.n - 1);
    if (in.n > 0 && in.p[in.n - 1] == ']')
        in.n--;
    char name[256];
    if (str_starts_nocase(in, STR("IPv6:")))
        snprintf(name, sizeof(name), "[%.*s]", (int)in.n - 5, in.p + 5);
    else
        snprintf(name, sizeof(name), "%.*s", (int)in.n, in.p);
    d->hosts.state = HOSTS_KNOWN;
    hosts_insert(d, str_c(name), d->client->conf->smtp_client.mx_port, 0);
}

/* The hosts of a forest or a route, *n of them. */
static const struct conf_host *hosts_configured(const struct dest *d, unsigned *n)
{
    const struct conf *conf = d->client->conf;
    const struct conf_host *host = NULL;
    *n = 0;
    if (d->key.kind == DEST_FOREST) {
        int i = conf_find_forest(conf, d->key.name);
        if (i != CONF_NONE) {
            host = conf->forest[i].host;
            *n = conf->forest[i].n_host;
        }
    } else {
        for (unsigned i = 0; i < conf->n_route; i++)
            if (str_eq_nocase(str_c(conf->route[i].name), d->key.name)) {
                host = conf->route[i].host;
                *n = conf->route[i].n_host;
            }
    }
    return host;
}

bool hosts_has_host_of(const struct dest *d, const struct session *s)
{
    unsigned n;
    if (d->key.kind == DEST_MX)
        return true;
    const struct conf_host *host = hosts_configured(d, &n);
    for (unsigned i = 0; i < n; i++)
        if (strcmp(host[i].name, s->host) == 0 && host[i].port == s->port)
            return true;
    return false;
}

static void hosts_from_conf(struct dest *d)
{
    unsigned n;
    const struct conf_host *host = hosts_configured(d, &n);
    d->hosts.state = HOSTS_KNOWN;
    for (unsigned i = 0; i < n; i++)
        hosts_insert(d, str_c(host[i].name), host[i].port, host[i].cost);
    if (n == 0)
        hosts_fail(d, OUTCOME_DEFERRED, 451, "4.3.5", "no host is configured for the destination");
}

static void hosts_build(struct dest *d)
{
    struct smtpc *c = d->client;
    hosts_clear(d);
    d->hosts.built_ms = loop_now_ms(c->loop);
    d->hosts.conf_serial = c->conf_serial;
    d->hosts.v = mem_array(HOSTS_MAX, sizeof(struct host));
    if (d->key.kind != DEST_MX) {
        hosts_from_conf(d);
    } else if (d->name[0] == '[') {
        hosts_from_literal(d);
    } else {
        d->hosts.state = HOSTS_MX_WAIT;
        d->hosts.mx_query = c->ops->mx(c->resolver, d->key.name, hosts_mx_done, d);
    }
}

void hosts_refresh(struct dest *d)
{
    struct hosts *h = &d->hosts;
    int64_t age = loop_now_ms(d->client->loop) - h->built_ms;
    bool old = age > HOSTS_MAX_AGE_MS && d->n_slow == 0;
    if (h->state == HOSTS_NONE || h->state == HOSTS_FAILED || old ||
        h->conf_serial != d->client->conf_serial)
        hosts_build(d);
    for (unsigned i = 0; i < h->n; i++)
        if (h->v[i].state == HOST_FAILED)
            h->v[i].state = HOST_NEW; /* asked again; the resolver knows for how long not to */
}

/* ---- resolving one host ---- */

static void host_add_endpoint(struct host *host, const struct resolve_addr *a)
{
    struct endpoint *e = &host->endpoint[host->n_endpoint];
    memcpy(&e->addr, &a->addr, sizeof(e->addr));
    e->len = a->len;
    if (e->addr.ss_family == AF_INET) {
        struct sockaddr_in *in = (void *)&e->addr;
        in->sin_port = htons((uint16_t)host->port);
        inet_ntop(AF_INET, &in->sin_addr, e->ip, sizeof(e->ip));
    } else if (e->addr.ss_family == AF_INET6) {
        struct sockaddr_in6 *in6 = (void *)&e->addr;
        in6->sin6_port = htons((uint16_t)host->port);
        inet_ntop(AF_INET6, &in6->sin6_addr, e->ip, sizeof(e->ip));
    } else {
        return;
    }
    host->n_endpoint++;
}

static void host_done(void *arg, const struct resolve_answer *a)
{
    struct host *host = arg;
    struct dest *d = host->dest;
    host->query = NULL;
    unsigned n = a->n_addr < HOST_ENDPOINT_MAX ? a->n_addr : HOST_ENDPOINT_MAX;
    host->n_endpoint = 0;
    mem_free(host->endpoint);
    host->endpoint = n > 0 ? mem_array(n, sizeof(struct endpoint)) : NULL;
    for (unsigned i = 0; i < n; i++)
        host_add_endpoint(host, &a->addr[i]);
    host->state = HOST_RESOLVED;
    if (host->n_endpoint == 0) {
        host->state = HOST_FAILED;
        smtp_reply_set(&d->error, 451, "4.4.3", "cannot look up the host %s: %s", host->name,
                       a->why);
        d->error_host[0] = d->error_ip[0] = '\0';
        LOG(WARN, NULL, "host-unresolved", LS("dest", d->key.name), LC("host", host->name),
            LC("why", a->why));
    }
    if (d->key.kind == DEST_MX)
        for (unsigned i = 0; i < host->n_endpoint; i++)
            if (own_endpoint(d->client, &host->endpoint[i])) {
                hosts_cut_at_cost(d, host->cost);
                break;
            }
    hosts_wake(d);
}

/* ---- choosing ---- */

static void host_look_up(struct host *host)
{
    struct smtpc *c = host->dest->client;
    if (host->state != HOST_NEW)
        return;
    host->state = HOST_RESOLVING;
    host->query = c->ops->host(c->resolver, str_c(host->name), host_done, host);
}

/* May a host of this cost be used now? By MX only when all of them are looked up, at the same time:
 * one of them may be ourselves. */
static bool hosts_are_known(struct dest *d, const struct host *host)
{
    bool known = true;
    for (unsigned i = 0; i < d->hosts.n; i++) {
        struct host *other = &d->hosts.v[i];
        if (other != host && (d->key.kind != DEST_MX || other->cost != host->cost))
            continue;
        host_look_up(other);
        known = known && other->state != HOST_RESOLVING;
    }
    return known;
}

/* The i-th host to try: by cost, within a cost starting at the session's turn. */
static unsigned hosts_order(const struct hosts *h, unsigned i, unsigned turn)
{
    unsigned from = i, to = i + 1;
    while (from > 0 && h->v[from - 1].cost == h->v[i].cost)
        from--;
    while (to < h->n && h->v[to].cost == h->v[i].cost)
        to++;
    return from + (i - from + turn) % (to - from);
}

/* Does a slow session wait there? */
static bool endpoint_is_slow(const struct dest *d, const struct endpoint *e)
{
    if (d->n_slow == 0)
        return false;
    LIST_FOREACH (n, &d->sessions) {
        const struct session *s = CONTAINER_OF(n, struct session, node);
        if (s->slow && endpoint_equal(&s->endpoint, e))
            return true;
    }
    return false;
}

static bool endpoint_is_good(const struct dest *d, const struct endpoint *e)
{
    return !resting_has(d->client, e) && !endpoint_is_slow(d, e);
}

static bool host_take(struct session *s, unsigned index, bool also_resting)
{
    struct host *host = &s->dest->hosts.v[index];
    for (unsigned k = 0; k < host->n_endpoint; k++) {
        if ((s->tried[index] & (1u << k)) != 0 || endpoint_is_slow(s->dest, &host->endpoint[k]))
            continue;
        if (!also_resting && resting_has(s->dest->client, &host->endpoint[k]))
            continue;
        s->tried[index] |= (uint8_t)(1u << k);
        s->endpoint = host->endpoint[k];
        memcpy(s->host, host->name, sizeof(s->host));
        s->port = host->port;
        s->cost = host->cost;
        return true;
    }
    return false;
}

enum pick hosts_pick(struct dest *d, struct session *s, enum outcome *outcome,
                     struct smtp_reply *reply)
{
    struct hosts *h = &d->hosts;
    if (h->state == HOSTS_MX_WAIT)
        return PICK_WAIT;
    for (int pass = 0; pass < 2 && h->state == HOSTS_KNOWN; pass++) {
        for (unsigned i = 0; i < h->n; i++) {
            unsigned index = hosts_order(h, i, s->turn);
            if (!hosts_are_known(d, &h->v[index]))
                return PICK_WAIT;
            if (host_take(s, index, pass == 1))
                return PICK_FOUND;
        }
    }
    if (h->state == HOSTS_FAILED) {
        *outcome = h->failure_outcome;
        *reply = h->failure;
        d->error_host[0] = d->error_ip[0] = '\0';
    } else {
        *outcome = OUTCOME_DEFERRED;
        *reply = d->error;
        if (reply->code == 0)
            smtp_reply_set(reply, 451, "4.4.1", "no host of the destination can be reached");
    }
    return PICK_NONE;
}

bool hosts_has_better(struct dest *d, unsigned cost)
{
    for (unsigned i = 0; i < d->hosts.n && d->hosts.v[i].cost < cost; i++) {
        struct host *host = &d->hosts.v[i];
        for (unsigned k = 0; k < host->n_endpoint; k++)
            if (endpoint_is_good(d, &host->endpoint[k]))
                return true;
    }
    return false;
}

bool hosts_has_alternative(struct dest *d)
{
    for (unsigned i = 0; i < d->hosts.n; i++) {
        struct host *host = &d->hosts.v[i];
        if (host->state == HOST_NEW || host->state == HOST_RESOLVING)
            return true;
        for (unsigned k = 0; k < host->n_endpoint; k++)
            if (endpoint_is_good(d, &host->endpoint[k]))
                return true;
    }
    return false;
}

void hosts_print(struct dest *d, char *dst, size_t cap)
{
    size_t n = 0;
    dst[0] = '\0';
    for (unsigned i = 0; i < d->hosts.n && n < cap; i++) {
        struct host *host = &d->hosts.v[i];
        const char *ip = host->n_endpoint > 0 ? host->endpoint[0].ip : "";
        const char *state = "ok";
        if (host->state == HOST_FAILED)
            state = "unresolved";
        else if (host->n_endpoint == 0)
            state = "unknown";
        else if (resting_has(d->client, &host->endpoint[0]))
            state = "resting";
        else if (endpoint_is_slow(d, &host->endpoint[0]))
            state = "slow";
        int k = snprintf(dst + n, cap - n, "%s%s[%s]:%u cost %u %s", i > 0 ? ", " : "", host->name,
                         ip, host->port, host->cost, state);
        n += k > 0 ? (size_t)k : 0;
    }
}
