/*
 * dns_cache.c - answers as they are kept, and the cache of them: a hash table with a list in order
 * of use.
 *
 * Bounded by entries and by bytes. The names come from mail that anyone may send, so the hash is
 * seeded. An answer is counted, because a lookup may hold it past its eviction. Owned by one
 * resolver, on its loop's thread.
 */
#include "relay/io/dns_int.h"

#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/random.h"

enum {
    BYTES_PER_ENTRY = 512 /* times max_entries = limit of bytes */
};

/* ---- answers ---- */

static struct dns_answer *answer_new(const struct dns_head *head, size_t size)
{
    struct dns_answer *a = mem_zalloc(sizeof(*a) + size);

    a->refs = 1;
    a->head = *head;
    a->size = size;
    return a;
}

struct dns_answer *dns_answer_status(enum resolve_status status, const char *why, uint32_t ttl_s)
{
    struct dns_head h = {.status = status, .why = why, .ttl_s = ttl_s};
    return answer_new(&h, 0);
}

/* Per record: preference (2 octets), name with NUL. */
struct dns_answer *dns_answer_mx(const struct dns_mx_set *set)
{
    struct dns_answer *a;
    unsigned char *p;
    size_t size = 0;

    for (unsigned i = 0; i < set->n; i++)
        size += 2 + strlen(set->mx[i].name) + 1;
    a = answer_new(&set->head, size);
    a->n_mx = set->n;
    p = a->data;
    for (unsigned i = 0; i < set->n; i++) {
        size_t len = strlen(set->mx[i].name) + 1;
        *p++ = (unsigned char)(set->mx[i].preference >> 8);
        *p++ = (unsigned char)set->mx[i].preference;
        memcpy(p, set->mx[i].name, len);
        p += len;
    }
    return a;
}

/* First all IPv4 (4 octets each), then all IPv6. */
struct dns_answer *dns_answer_host(const struct dns_head *head, const struct dns_addr_set *v4,
                                   const struct dns_addr_set *v6)
{
    struct dns_answer *a = answer_new(head, v4->n * 4U + v6->n * 16U);
    unsigned char *p = a->data;

    a->n4 = v4->n;
    a->n6 = v6->n;
    for (unsigned i = 0; i < v4->n; i++, p += 4)
        memcpy(p, v4->addr[i].ip, 4);
    for (unsigned i = 0; i < v6->n; i++, p += 16)
        memcpy(p, v6->addr[i].ip, 16);
    return a;
}

struct dns_answer *dns_answer_ref(struct dns_answer *a)
{
    a->refs++;
    return a;
}

void dns_answer_unref(struct dns_answer **ap)
{
    struct dns_answer *a = *ap;

    *ap = NULL;
    if (a != NULL && --a->refs == 0)
        mem_free(a);
}

unsigned dns_answer_get_mx(const struct dns_answer *a, struct resolve_mx out[DNS_MX_MAX])
{
    const unsigned char *p = a->data;

    for (unsigned i = 0; i < a->n_mx; i++) {
        size_t len = strlen((const char *)p + 2) + 1;
        out[i].preference = (unsigned)p[0] << 8 | p[1];
        memcpy(out[i].name, p + 2, len);
        p += 2 + len;
    }
    return a->n_mx;
}

static void put4(struct resolve_addr *out, const unsigned char *ip)
{
    struct sockaddr_in sin = {.sin_family = AF_INET};

    memcpy(&sin.sin_addr, ip, 4);
    memset(&out->addr, 0, sizeof(out->addr));
    memcpy(&out->addr, &sin, sizeof(sin));
    out->len = sizeof(sin);
}

static void put6(struct resolve_addr *out, const unsigned char *ip)
{
    struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6};

    memcpy(&sin6.sin6_addr, ip, 16);
    memset(&out->addr, 0, sizeof(out->addr));
    memcpy(&out->addr, &sin6, sizeof(sin6));
    out->len = sizeof(sin6);
}

unsigned dns_answer_get_addr(const struct dns_answer *a, bool v6,
                             struct resolve_addr out[DNS_ADDR_MAX])
{
    const unsigned char *p4 = a->data, *p6 = a->data + a->n4 * 4U;
    unsigned left4 = a->n4, left6 = a->n6, n = 0;
    bool turn6 = v6;

    while (n < DNS_ADDR_MAX && left4 + left6 > 0) {
        if (left6 > 0 && (turn6 || left4 == 0)) {
            put6(&out[n++], p6);
            p6 += 16;
            left6--;
        } else {
            put4(&out[n++], p4);
            p4 += 4;
            left4--;
        }
        turn6 = v6 && !turn6;
    }
    return n;
}

/* ---- cache ---- */

struct entry {
    struct list_node lru; /* front: used last */
    struct entry *next;   /* in its bucket */
    uint64_t hash;
    int64_t expires_ms;
    struct dns_answer *answer;
    size_t bytes;
    enum dns_kind kind;
    char name[];
};

struct dns_cache {
    struct entry **bucket;
    size_t mask;
    struct list lru;
    unsigned n, max;
    size_t bytes, max_bytes;
    uint64_t seed;
};

struct dns_cache *dns_cache_new(unsigned max_entries)
{
    struct dns_cache *c = NEW(struct dns_cache);
    size_t buckets = 16;

    while (buckets < max_entries && buckets < (1U << 20))
        buckets *= 2;
    c->bucket = mem_array(buckets, sizeof(*c->bucket));
    c->mask = buckets - 1;
    c->max = max_entries;
    c->max_bytes = (size_t)max_entries * BYTES_PER_ENTRY;
    list_init(&c->lru);
    random_bytes(&c->seed, sizeof(c->seed));
    return c;
}

static void drop(struct dns_cache *c, struct entry *e)
{
    struct entry **at = &c->bucket[e->hash & c->mask];

    while (*at != e)
        at = &(*at)->next;
    *at = e->next;
    list_remove(&e->lru);
    c->n--;
    c->bytes -= e->bytes;
    dns_answer_unref(&e->answer);
    mem_free(e);
}

void dns_cache_flush(struct dns_cache *c)
{
    struct list_node *n;

    while ((n = list_first(&c->lru)) != NULL)
        drop(c, CONTAINER_OF(n, struct entry, lru));
}

void dns_cache_free(struct dns_cache **cp)
{
    struct dns_cache *c = *cp;

    if (c == NULL)
        return;
    *cp = NULL;
    dns_cache_flush(c);
    mem_free(c->bucket);
    mem_free(c);
}

static uint64_t key_hash(const struct dns_cache *c, enum dns_kind kind, const char *name)
{
    return hash64_seed(name, strlen(name), c->seed + (uint64_t)kind);
}

static struct entry *find(struct dns_cache *c, uint64_t hash, enum dns_kind kind, const char *name)
{
    struct entry *e = c->bucket[hash & c->mask];

    while (e != NULL && (e->hash != hash || e->kind != kind || strcmp(e->name, name) != 0))
        e = e->next;
    return e;
}

struct dns_answer *dns_cache_get(struct dns_cache *c, enum dns_kind kind, const char *name,
                                 int64_t now_ms)
{
    struct entry *e = find(c, key_hash(c, kind, name), kind, name);

    if (e == NULL)
        return NULL;
    if (e->expires_ms <= now_ms) {
        drop(c, e);
        return NULL;
    }
    list_remove(&e->lru);
    list_push_front(&c->lru, &e->lru);
    return e->answer;
}

void dns_cache_put(struct dns_cache *c, enum dns_kind kind, const char *name, struct dns_answer *a,
                   int64_t expires_ms)
{
    uint64_t hash = key_hash(c, kind, name);
    struct entry *e = find(c, hash, kind, name);
    size_t len = strlen(name) + 1;

    if (e != NULL)
        drop(c, e);
    e = mem_zalloc(sizeof(*e) + len);
    memcpy(e->name, name, len);
    e->kind = kind;
    e->hash = hash;
    e->expires_ms = expires_ms;
    e->answer = dns_answer_ref(a);
    e->bytes = sizeof(*e) + len + sizeof(*a) + a->size;
    e->next = c->bucket[hash & c->mask];
    c->bucket[hash & c->mask] = e;
    list_push_front(&c->lru, &e->lru);
    c->n++;
    c->bytes += e->bytes;
    while (c->n > c->max || c->bytes > c->max_bytes)
        drop(c, CONTAINER_OF(c->lru.head.prev, struct entry, lru));
}

unsigned dns_cache_count(const struct dns_cache *c)
{
    return c->n;
}
