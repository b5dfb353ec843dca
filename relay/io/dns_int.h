/*
 * dns_int.h - DNS answers as bytes, as parsed, and as kept; for relay/io/ alone.
 */
#ifndef RELAY_IO_DNS_INT_H
#define RELAY_IO_DNS_INT_H

#include "relay/io/resolver.h"

enum {
    DNS_TYPE_A = 1,
    DNS_TYPE_MX = 15,
    DNS_TYPE_AAAA = 28,
    DNS_MX_MAX = 64,
    DNS_ADDR_MAX = 32,
    DNS_NAME_MAX = 256, /* text with NUL */
};

/* What is common to all results. ttl_s: how long the answer says that it holds; for negative ones
 * from the SOA record, UINT32_MAX if there is none. */
struct dns_head {
    enum resolve_status status;
    const char *why; /* static */
    uint32_t ttl_s;
};

struct dns_mx_set {
    struct dns_head head;
    unsigned n;
    struct resolve_mx mx[DNS_MX_MAX]; /* by preference */
};

struct dns_addr {
    sa_family_t family;
    unsigned char ip[16];
};

struct dns_addr_set {
    struct dns_head head;
    unsigned n;
    struct dns_addr addr[DNS_ADDR_MAX];
};

/* The content of a reply to one MX question; NOERROR or NXDOMAIN, anything else is temporary. */
void dns_parse_mx(const unsigned char *msg, size_t n, struct dns_mx_set *out);
/* The same for A or AAAA. */
void dns_parse_addr(const unsigned char *msg, size_t n, int type, struct dns_addr_set *out);

/* A and AAAA of one host together: any address is success; nothing but NXDOMAIN twice is NXDOMAIN.
 */
void dns_merge_addr(const struct dns_addr_set *a, const struct dns_addr_set *aaaa,
                    struct dns_head *head);

/* Lower case without the dot at the end; false if it cannot be the name of a domain or host. */
bool dns_name_normalise(struct str name, char dst[DNS_NAME_MAX]);

/* ---- whom to ask ---- */

/* The list without what c-ares does not understand. mem_free() it. */
char *dns_servers_csv(const char *list);
struct dns_file { /* a state of the system's file */
    uint64_t device, inode, size;
    int64_t s, ns;
};
/* Is it another than was seen last? Takes note of it. */
bool dns_file_changed(const char *path, struct dns_file *seen);

/* ---- c-ares ---- */

struct dns_channel;
/* *limit_ms: how long a query takes at most. */
struct dns_channel *dns_channel_open(struct loop *l, const struct resolver_conf *c,
                                     int64_t *limit_ms, struct err *e);
/* Queries in flight are answered with a failure. */
void dns_channel_close(struct dns_channel **c);
/* A reply to parse, or why there is none. May be called before the query returns. */
typedef void dns_reply_fn(void *arg, const struct dns_head *failed, const unsigned char *msg,
                          size_t n);
void dns_channel_query(struct dns_channel *c, const char *name, int type, dns_reply_fn *fn,
                       void *arg);
/* What the system's hosts file says; set->n = 0 if nothing. */
void dns_channel_hosts(struct dns_channel *c, const char *name, int family,
                       struct dns_addr_set *set);

/* ---- kept answers: immutable, counted, as small as they can be ---- */

struct dns_answer {
    unsigned refs;
    struct dns_head head;
    unsigned n_mx, n4, n6;
    size_t size; /* of data */
    unsigned char data[];
};

struct dns_answer *dns_answer_status(enum resolve_status status, const char *why, uint32_t ttl_s);
struct dns_answer *dns_answer_mx(const struct dns_mx_set *set);
struct dns_answer *dns_answer_host(const struct dns_head *head, const struct dns_addr_set *a,
                                   const struct dns_addr_set *aaaa);
struct dns_answer *dns_answer_ref(struct dns_answer *a);
void dns_answer_unref(struct dns_answer **a);
unsigned dns_answer_get_mx(const struct dns_answer *a, struct resolve_mx out[DNS_MX_MAX]);
/* IPv6 and IPv4 in turn if v6 is true, else IPv4 first and IPv6 behind. */
unsigned dns_answer_get_addr(const struct dns_answer *a, bool v6,
                             struct resolve_addr out[DNS_ADDR_MAX]);

/* ---- cache: kind and name to answer, least recently used goes first ---- */

enum dns_kind {
    DNS_ASK_MX,
    DNS_ASK_HOST
};
struct dns_cache;
struct dns_cache *dns_cache_new(unsigned max_entries);
void dns_cache_free(struct dns_cache **c);
void dns_cache_flush(struct dns_cache *c);
/* Borrowed; NULL: not there, or no longer valid. */
struct dns_answer *dns_cache_get(struct dns_cache *c, enum dns_kind kind, const char *name,
                                 int64_t now_ms);
/* Takes a reference of its own. Replaces what was there. */
void dns_cache_put(struct dns_cache *c, enum dns_kind kind, const char *name, struct dns_answer *a,
                   int64_t expires_ms);
unsigned dns_cache_count(const struct dns_cache *c);

#endif
