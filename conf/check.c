/*
 * check.c - do the options fit together? Names that must exist, things claimed twice, pairs in the
 * right order. Then what is derived: the host name, the order of domains, routing domains that a
 * forest brings along.
 *
 * The first misfit ends the load; its line is that of the option, or of the section when the option
 * was left out.
 */
#include "conf/load.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

bool conf_fail_in(struct conf_load *l, const void *base, const char *word, const char *title,
                  const char *option, const char *fmt, ...)
{
    char path[200], text[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    snprintf(path, sizeof(path), "%s \"%.64s\"%s%s", word, title, option[0] != '\0' ? "." : "",
             option);
    return conf_fail(l, conf_place_line(l, base, option), path, "%s", text);
}

static void known_forests(const struct conf *c, char *dst, size_t cap)
{
    size_t n = 0;
    dst[0] = '\0';
    for (unsigned i = 0; i < c->n_forest && n < cap; i++)
        n += (size_t)snprintf(dst + n, cap - n, "%s\"%s\"", i == 0 ? "" : ", ", c->forest[i].name);
}

bool conf_check_forest(struct conf_load *l, const void *base, const char *word, const char *title,
                       const char *option, char **name)
{
    char known[160];
    int i = conf_find_forest(l->conf, str_c(*name));
    if (i == CONF_NONE) {
        known_forests(l->conf, known, sizeof(known));
        return conf_fail_in(l, base, word, title, option,
                            "there is no forest \"%.64s\"; write one of %s", *name, known);
    }
    mem_free(*name);
    *name = str_dup(str_c(l->conf->forest[i].name));
    return true;
}

/* Names of sections are compared without case; libConfuse has refused exact repetitions. */
static bool check_names(struct conf_load *l, const char *word, const void *v, unsigned n,
                        size_t size)
{
    const char *p = v;
    for (unsigned i = 1; i < n; i++)
        for (unsigned k = 0; k < i; k++) {
            const char *a = *(char *const *)(const void *)(p + i * size);
            if (str_eq_nocase(str_c(a), str_c(*(char *const *)(const void *)(p + k * size))))
                return conf_fail_in(
                    l, p + i * size, word, a, "",
                    "the name is used twice; give each section a name of its own (case "
                    "does not count)");
        }
    return true;
}

struct listen_place {
    struct in6_addr ip; /* IPv4 as ::ffff:a.b.c.d; "*" as :: */
    uint64_t port;
};

/* `text` has the form of an address to listen on (checks.c). */
static struct listen_place listen_place(struct str text)
{
    struct listen_place p = {0};
    struct in_addr v4;
    size_t colon = (size_t)str_rfind(text, ':');
    struct str host = str_upto(text, colon);
    char ip[64];
    (void)str_to_u64(str_from(text, colon + 1), 65535, &p.port);
    if (host.n > 2 && host.p[0] == '[')
        host = str_n(host.p + 1, host.n - 2);
    if (!str_copy(host, ip, sizeof(ip)) || str_eq(host, STR("*")))
        return p;
    if (inet_pton(AF_INET, ip, &v4) == 1) {
        p.ip.s6_addr[10] = p.ip.s6_addr[11] = 0xff;
        memcpy(&p.ip.s6_addr[12], &v4, sizeof(v4));
    } else {
        (void)inet_pton(AF_INET6, ip, &p.ip);
    }
    return p;
}

/* Port 0 is a different port each time. A wildcard and one of its addresses are two places. */
static bool is_listened_twice(const char *a, const char *b)
{
    struct listen_place one = listen_place(str_c(a)), other = listen_place(str_c(b));
    return one.port != 0 && one.port == other.port &&
           memcmp(&one.ip, &other.ip, sizeof(one.ip)) == 0;
}

static bool check_listeners(struct conf_load *l)
{
    const struct conf *c = l->conf;
    for (unsigned i = 0; i < c->n_listener; i++)
        for (unsigned a = 0; a < c->listener[i].n_address; a++)
            for (unsigned k = 0; k <= i; k++)
                for (unsigned b = 0; b < (k == i ? a : c->listener[k].n_address); b++) {
                    const char *text = c->listener[i].address[a];
                    if (is_listened_twice(text, c->listener[k].address[b]))
                        return conf_fail_in(
                            l, &c->listener[i], "listener", c->listener[i].name, "address",
                            "%s is listened on twice (also in listener \"%s\"); remove "
                            "one",
                            text, c->listener[k].name);
                }
    return true;
}

static bool net_eq(const struct conf_net *a, const struct conf_net *b)
{
    return a->family == b->family && a->prefix == b->prefix &&
           memcmp(a->addr, b->addr, sizeof(a->addr)) == 0;
}

static bool check_peers(struct conf_load *l, const struct conf_forest *a,
                        const struct conf_forest *b)
{
    for (unsigned i = 0; i < a->peers.n; i++)
        for (unsigned k = 0; k < b->peers.n; k++)
            if (net_eq(&a->peers.v[i], &b->peers.v[k]))
                return conf_fail_in(
                    l, a, "forest", a->name, "peers",
                    "element %u is also a peer of forest \"%s\"; give each network to "
                    "one forest",
                    i + 1, b->name);
    return true;
}

static bool check_forests(struct conf_load *l)
{
    const struct conf *c = l->conf;
    for (unsigned i = 0; i < c->n_forest; i++) {
        struct conf_forest *f = &c->forest[i];
        str_lower(str_c(f->routing_domain), f->routing_domain);
        for (unsigned k = 0; k < i; k++) {
            const struct conf_forest *g = &c->forest[k];
            if (f->routing_domain[0] != '\0' && strcmp(f->routing_domain, g->routing_domain) == 0)
                return conf_fail_in(
                    l, f, "forest", f->name, "routing_domain",
                    "%s is also the routing domain of forest \"%s\"; a routing domain "
                    "belongs to one forest alone",
                    f->routing_domain, g->name);
            if (!check_peers(l, f, g))
                return false;
        }
    }
    return true;
}

/* A forest's routing domain that has a section of its own must say the same there. */
static bool check_routing_owner(struct conf_load *l, const struct conf_domain *d)
{
    const struct conf *c = l->conf;
    for (unsigned i = 0; i < c->n_forest; i++) {
        const struct conf_forest *f = &c->forest[i];
        if (strcmp(f->routing_domain, d->name) != 0)
            continue;
        if (d->type == CONF_DOMAIN_SHARED)
            return conf_fail_in(
                l, d, "domain", d->name, "type",
                "it is the routing domain of forest \"%s\" and cannot be shared; write "
                "type = routing",
                f->name);
        if (strcmp(f->name, d->forest) != 0)
            return conf_fail_in(
                l, d, "domain", d->name, "forest",
                "it is the routing domain of forest \"%s\" already; a routing domain "
                "belongs to one forest alone",
                f->name);
    }
    return true;
}

static bool check_domains(struct conf_load *l)
{
    const struct conf *c = l->conf;
    for (unsigned i = 0; i < c->n_domain; i++) {
        struct conf_domain *d = &c->domain[i];
        bool needs = d->type == CONF_DOMAIN_ROUTING || d->unknown == CONF_UNKNOWN_FORWARD;
        if (d->type == CONF_DOMAIN_ROUTING && d->unknown == CONF_UNKNOWN_FORWARD)
            return conf_fail_in(l, d, "domain", d->name, "unknown",
                                "a routing domain has no unknown recipients; remove the option");
        if (d->type == CONF_DOMAIN_ROUTING && d->plus_addresses)
            return conf_fail_in(
                l, d, "domain", d->name, "plus_addresses",
                "has no meaning here: nothing in a routing domain is looked up; remove "
                "it");
        if (needs && d->forest[0] == '\0')
            return conf_fail_in(
                l, d, "domain", d->name, "forest",
                d->type == CONF_DOMAIN_ROUTING
                    ? "is missing; name the forest that owns the routing domain"
                    : "is missing; name the forest that is given unknown recipients");
        if (!needs && d->forest[0] != '\0')
            return conf_fail_in(
                l, d, "domain", d->name, "forest",
                "has no meaning here; remove it, or write type = routing or unknown = "
                "forward");
        if (needs && !conf_check_forest(l, d, "domain", d->name, "forest", &d->forest))
            return false;
        if (d->type == CONF_DOMAIN_ROUTING && d->evidence != CONF_EVIDENCE_FLAG_EXCHANGE)
            return conf_fail_in(l, d, "domain", d->name, "evidence",
                                "has no meaning for a routing domain; remove it");
        if (!check_routing_owner(l, d))
            return false;
    }
    return true;
}

static bool check_pattern(struct conf_load *l, const struct conf_route *r, unsigned index)
{
    const struct conf *c = l->conf;
    const char *pattern = r->domain[index];
    for (unsigned i = 0; i < c->n_domain; i++)
        if (strcmp(c->domain[i].name, pattern) == 0)
            return conf_fail_in(
                l, r, "route", r->name, "domains",
                "%s is a domain of ours, and routes are for other domains; remove it", pattern);
    for (const struct conf_route *o = c->route; o <= r; o++)
        for (unsigned k = 0; k < (o == r ? index : o->n_domain); k++)
            if (strcmp(o->domain[k], pattern) == 0)
                return conf_fail_in(l, r, "route", r->name, "domains",
                                    "%s is routed twice (also in route \"%s\"); remove one",
                                    pattern, o->name);
    return true;
}

static bool check_routes(struct conf_load *l)
{
    const struct conf *c = l->conf;
    for (unsigned i = 0; i < c->n_route; i++) {
        struct conf_route *r = &c->route[i];
        if (r->mx && r->n_host != 0)
            return conf_fail_in(
                l, r, "route", r->name, "mx",
                "a route goes by MX or to hosts, not both; remove the hosts or write mx "
                "= no");
        if (!r->mx && r->n_host == 0)
            return conf_fail_in(l, r, "route", r->name, "",
                                "says neither how nor where; write host \"name\" { } or mx = yes");
        for (unsigned k = 0; k < r->n_domain; k++) {
            str_lower(str_c(r->domain[k]), r->domain[k]);
            if (!check_pattern(l, r, k))
                return false;
        }
    }
    return true;
}

/* ---- pairs ---- */

static bool in_order(struct conf_load *l, const char *section, const char *low, const char *high,
                     bool ok)
{
    char path[80];
    if (ok)
        return true;
    int line = conf_place_line(l, l->conf, low), line_high = conf_place_line(l, l->conf, high);
    snprintf(path, sizeof(path), "%s.%s", section, low);
    return conf_fail(l, line < line_high ? line : line_high, path,
                     "is more than %s; write a smaller value or raise %s", high, high);
}

static bool check_pairs(struct conf_load *l)
{
    const struct conf *c = l->conf;
    if (c->spool.large_bytes > c->spool.segment_bytes / 4)
        return conf_fail(l, conf_place_line(l, c, "large_size"), "spool.large_size",
                         "is more than a quarter of segment_size; write a smaller size or raise "
                         "segment_size");
    return in_order(l, "spool", "reserve", "reserve_resume",
                    c->spool.reserve_bytes <= c->spool.reserve_resume_bytes) &&
           in_order(l, "queue", "retry_min", "retry_max",
                    c->queue.retry_min_ms <= c->queue.retry_max_ms) &&
           in_order(l, "queue", "dest_backoff_min", "dest_backoff_max",
                    c->queue.dest_backoff_min_ms <= c->queue.dest_backoff_max_ms) &&
           in_order(l, "queue", "window_initial", "window_max",
                    c->queue.window_initial <= c->queue.window_max) &&
           in_order(l, "dns", "ttl_min", "ttl_max", c->dns.ttl_min_s <= c->dns.ttl_max_s);
}

/* ---- what is derived ---- */

/* The system's fully qualified name; what it calls itself if it has none. */
static char *system_hostname(void)
{
    char name[256];
    struct addrinfo hints = {.ai_flags = AI_CANONNAME, .ai_socktype = SOCK_STREAM}, *ai = NULL;
    if (gethostname(name, sizeof(name)) != 0 || name[0] == '\0')
        return str_dup(STR("localhost"));
    name[sizeof(name) - 1] = '\0';
    if (strchr(name, '.') == NULL && getaddrinfo(name, NULL, &hints, &ai) == 0) {
        if (ai->ai_canonname != NULL && conf_check_hostname(ai->ai_canonname) == NULL &&
            ai->ai_canonname[0] != '\0')
            snprintf(name, sizeof(name), "%s", ai->ai_canonname);
        freeaddrinfo(ai);
    }
    return str_dup(str_c(name));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct conf_domain *)a)->name, ((const struct conf_domain *)b)->name);
}

/* A forest's routing domain is a domain of ours, with or without a section that says so. */
static void add_routing_domains(struct conf *c)
{
    unsigned given = c->n_domain;
    for (unsigned i = 0; i < c->n_forest; i++) {
        const struct conf_forest *f = &c->forest[i];
        bool there = f->routing_domain[0] == '\0';
        for (unsigned k = 0; k < given && !there; k++)
            there = strcmp(c->domain[k].name, f->routing_domain) == 0;
        if (there)
            continue;
        c->domain = mem_realloc(c->domain, (c->n_domain + 1) * sizeof(*c->domain));
        c->domain[c->n_domain++] = (struct conf_domain){.name = str_dup(str_c(f->routing_domain)),
                                                        .type = CONF_DOMAIN_ROUTING,
                                                        .forest = str_dup(str_c(f->name)),
                                                        .unknown = CONF_UNKNOWN_REFUSE,
                                                        .plus_separator = str_dup(STR("+"))};
    }
}

/* Which pieces of a name the routing templates ask for: the sources keep no others. */
static void derive_names(struct conf *c)
{
    char names[sizeof(c->source->names)] = "";
    unsigned n = 0;
    for (const char *letter = "gsid"; *letter != '\0'; letter++) {
        bool wanted = false;
        for (unsigned i = 0; i < c->n_forest; i++)
            for (const char *p = c->forest[i].routing_template; *p != '\0'; p++)
                wanted = wanted || (*p == '%' && p[1 + (ascii_is_digit(p[1]) ? 1 : 0)] == *letter);
        if (wanted)
            names[n++] = *letter;
    }
    for (unsigned i = 0; i < c->n_source; i++)
        memcpy(c->source[i].names, names, sizeof(names));
}

static void derive(struct conf *c)
{
    if (c->hostname[0] == '\0') {
        mem_free(c->hostname);
        c->hostname = system_hostname();
        c->hostname_is_short = strchr(c->hostname, '.') == NULL;
    }
    derive_names(c);
    add_routing_domains(c);
    qsort(c->domain, c->n_domain, sizeof(*c->domain), by_name);
    for (unsigned i = 0; i < c->n_domain; i++)
        c->domain[i].forest_index = c->domain[i].forest[0] != '\0'
                                        ? conf_find_forest(c, str_c(c->domain[i].forest))
                                        : CONF_NONE;
}

bool conf_check(struct conf_load *l)
{
    struct conf *c = l->conf;
    bool ok = check_names(l, "listener", c->listener, c->n_listener, sizeof(*c->listener)) &&
              check_names(l, "forest", c->forest, c->n_forest, sizeof(*c->forest)) &&
              check_names(l, "domain", c->domain, c->n_domain, sizeof(*c->domain)) &&
              check_names(l, "route", c->route, c->n_route, sizeof(*c->route)) &&
              check_names(l, "source", c->source, c->n_source, sizeof(*c->source)) &&
              check_listeners(l) && check_forests(l) && check_domains(l) && check_routes(l);
    if (ok && c->n_source > CONF_SOURCES_MAX)
        ok = conf_fail_in(l, &c->source[CONF_SOURCES_MAX], "source",
                          c->source[CONF_SOURCES_MAX].name, "",
                          "is one too many; write at most %d source sections", CONF_SOURCES_MAX);
    for (unsigned i = 0; ok && i < c->n_source; i++)
        ok = conf_check_source(l, &c->source[i]);
    ok = ok && check_pairs(l);
    if (ok)
        derive(c);
    return ok;
}
