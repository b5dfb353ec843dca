/*
 * resolver.h - DNS over c-ares, one per loop, with a bounded cache of its own (positive and
 * negative answers, TTLs kept within configured bounds, requests for the same question joined).
 *
 * Only NXDOMAIN (and "null MX", RFC 7505) are permanent; everything else is RESOLVE_TEMPORARY.
 * Callbacks never run before the start returns (a cached answer comes at the end of the turn);
 * never after cancel. Answers are valid only during the callback.
 */
#ifndef RELAY_IO_RESOLVER_H
#define RELAY_IO_RESOLVER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/str.h"
#include "relay/io/loop.h"

struct resolver;
struct resolver_conf {
    const char *servers;     /* "127.0.0.1:5353,..." or NULL: as the system says, */
    const char *system_file; /* in this file, static; NULL: /etc/resolv.conf */
    uint16_t system_port;    /* for tests; 0: 53 */
    int timeout_ms;          /* per try */
    int tries;
    unsigned cache_entries;
    unsigned ttl_min_s, ttl_max_s, ttl_negative_s;
};
struct resolver *resolver_new(struct loop *l, const struct resolver_conf *c, struct err *e);
void resolver_free(struct resolver **r); /* outstanding lookups are cancelled */

enum resolve_status {
    RESOLVE_OK,
    RESOLVE_NXDOMAIN,  /* the name does not exist */
    RESOLVE_NODATA,    /* it exists, without such records */
    RESOLVE_NULL_MX,   /* "MX 0 ." */
    RESOLVE_TEMPORARY, /* server failure, time-out, malformed answer */
};
const char *resolve_status_text(enum resolve_status s);

struct resolve_mx {
    unsigned preference;
    char name[256]; /* lower case, no dot at the end */
};
struct resolve_addr {
    struct sockaddr_storage addr; /* port 0 */
    socklen_t len;
};
struct resolve_answer {
    enum resolve_status status;
    const char *why; /* for logs and DSNs; never NULL */
    unsigned n_mx;
    const struct resolve_mx *mx; /* sorted by preference */
    unsigned n_addr;
    const struct resolve_addr *addr; /* A and AAAA in turn as the policy says */
};
struct resolve;
typedef void resolve_done_fn(void *arg, const struct resolve_answer *a);

/* MX records of a domain. NODATA means: use the domain itself (RFC 5321 5.1). At most 64 kept. */
struct resolve *resolve_mx(struct resolver *r, struct str domain, resolve_done_fn *done, void *arg);
/* A and AAAA of a host name, or a literal ("192.0.2.1", "[2001:db8::1]"). At most 32 kept. */
struct resolve *resolve_host(struct resolver *r, struct str name, resolve_done_fn *done, void *arg);
void resolve_cancel(struct resolve **q);
void resolver_flush_cache(struct resolver *r);

#endif
