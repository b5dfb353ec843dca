/*
 * resolver.c - lookups: joining, caching, and the exact outcome.
 *
 * A *question* is what DNS is asked (MX of a name; A and AAAA of a name). A *lookup* (struct
 * resolve) is one caller's interest in it. Lookups of the same question in flight join it; when it
 * is answered the answer is cached, and each lookup gets a reference and waits for the task at the
 * end of the turn, as do lookups answered by the cache, by a literal or by the hosts file.
 *
 * c-ares repeats and times out on the system's clock; each question has a limit of its own on the
 * loop's clock besides, after which its lookups are answered "temporary" whatever c-ares still
 * does. A question goes when c-ares has let go of it.
 *
 * Two questions, A and AAAA, are asked for a host rather than ares_getaddrinfo(), which would
 * report the last of the two outcomes: "no such name" although the other one failed for now.
 *
 * RFC 1035, 2308 (negative answers), 5321 section 5.1, 7505. Loop's thread only.
 */
#include "relay/io/resolver.h"

#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"
#include "relay/io/addr_int.h"
#include "relay/io/dns_int.h"

enum {
    BUCKETS = 256,         /* for questions in flight */
    QUESTIONS_MAX = 10000, /* in flight, joined ones not counted */
    V6_CHECK_MS = 60000,
    FILE_CHECK_MS = 5000, /* between two looks at the system's file */
};

struct resolver {
    struct loop *loop;
    struct dns_channel *channel;
    struct dns_channel *old; /* to servers that are asked no more, or NULL */
    struct loop_timer old_timer;
    struct resolver_conf conf;
    bool by_system; /* who the servers are is in this file: */
    const char *file;
    struct dns_file file_seen;
    int64_t file_checked_ms;
    int64_t limit_ms;
    struct dns_cache *cache;
    struct list asked[BUCKETS]; /* questions that can be joined */
    struct list detached;       /* answered, but c-ares still works on them */
    unsigned n_questions;
    struct list ready, round; /* lookups to call back; those of the task's present run */
    struct loop_task task;
    int64_t v6_checked_ms;
    bool v6, v6_known, in_callback, dead;
    struct dns_mx_set parsed;         /* room for one answer while it is parsed, and */
    struct resolve_mx mx[DNS_MX_MAX]; /* while it is handed out */
    struct resolve_addr addr[DNS_ADDR_MAX];
};

struct question {
    struct list_node node; /* in asked[], or in detached */
    struct resolver *r;
    enum dns_kind kind;
    char name[DNS_NAME_MAX];
    struct list waiting; /* lookups */
    struct loop_timer limit;
    unsigned pending; /* replies that c-ares still owes, and 1 while they are being asked for */
    bool answered;
    struct dns_answer *mx;
    struct dns_addr_set a, aaaa;
};

struct resolve {
    struct list_node node; /* in question->waiting, r->ready or r->round */
    struct resolver *r;
    struct dns_answer *answer;
    resolve_done_fn *done;
    void *arg;
    bool in_callback;
};

static const char *const status_text[] = {
    [RESOLVE_OK] = "ok",
    [RESOLVE_NXDOMAIN] = "no such domain",
    [RESOLVE_NODATA] = "no such records",
    [RESOLVE_NULL_MX] = "null MX",
    [RESOLVE_TEMPORARY] = "temporary failure",
};

const char *resolve_status_text(enum resolve_status s)
{
    return (size_t)s < ARRAY_LEN(status_text) ? status_text[s] : "unknown";
}

/* ---- handing out ---- */

static void lookup_free(struct resolve *w)
{
    list_remove(&w->node);
    dns_answer_unref(&w->answer);
    mem_free(w);
}

static void lookup_ready(struct resolve *w, struct dns_answer *a)
{
    w->answer = dns_answer_ref(a);
    list_remove(&w->node);
    list_push_back(&w->r->ready, &w->node);
    loop_task_add(w->r->loop, &w->r->task);
}

/* Is there a way to the IPv6 internet? Connecting a datagram socket only asks the routing table;
 * the address is the documentation's (RFC 3849), nothing is sent to it. */
static bool has_v6(struct resolver *r)
{
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = htons(25)};
    int64_t now = loop_now_ms(r->loop);
    int fd;

    if (r->v6_known && now - r->v6_checked_ms < V6_CHECK_MS)
        return r->v6;
    r->v6_known = true;
    r->v6_checked_ms = now;
    r->v6 = false;
    to.sin6_addr.s6_addr[0] = 0x20;
    to.sin6_addr.s6_addr[1] = 0x01;
    to.sin6_addr.s6_addr[2] = 0x0d;
    to.sin6_addr.s6_addr[3] = 0xb8;
    to.sin6_addr.s6_addr[15] = 1;
    fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        r->v6 = connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0;
        close(fd);
    }
    return r->v6;
}

static void call_back(struct resolver *r, struct resolve *w)
{
    const struct dns_answer *a = w->answer;
    struct resolve_answer out = {.status = a->head.status, .why = a->head.why};

    if (a->n_mx != 0) {
        out.n_mx = dns_answer_get_mx(a, r->mx);
        out.mx = r->mx;
    }
    if (a->n4 + a->n6 != 0) {
        out.n_addr = dns_answer_get_addr(a, a->n6 != 0 && has_v6(r), r->addr);
        out.addr = r->addr;
    }
    w->in_callback = true;
    w->done(w->arg, &out);
    lookup_free(w);
}

static void on_task(struct loop_task *t)
{
    struct resolver *r = CONTAINER_OF(t, struct resolver, task);
    struct list_node *n;

    while ((n = list_pop_front(&r->ready)) != NULL)
        list_push_back(&r->round, n);
    r->in_callback = true;
    while (!r->dead && (n = list_pop_front(&r->round)) != NULL)
        call_back(r, CONTAINER_OF(n, struct resolve, node));
    r->in_callback = false;
    if (r->dead)
        mem_free(r);
}

/* ---- questions ---- */

static int64_t clamp_ttl_ms(const struct resolver *r, const struct dns_head *h)
{
    const struct resolver_conf *c = &r->conf;
    bool negative = h->status == RESOLVE_NXDOMAIN || h->status == RESOLVE_NODATA;
    uint32_t max = negative ? c->ttl_negative_s : c->ttl_max_s;
    uint32_t min = c->ttl_min_s < max ? c->ttl_min_s : max;
    uint32_t ttl = h->ttl_s < min ? min : h->ttl_s > max ? max : h->ttl_s;

    return (int64_t)ttl * 1000;
}

static void question_free(struct question *q)
{
    list_remove(&q->node);
    loop_timer_clear(&q->limit);
    dns_answer_unref(&q->mx);
    q->r->n_questions--;
    mem_free(q);
}

/* Gives `a` to all who wait, and keeps it unless it is a failure for now. Nobody joins any more. */
static void question_answer(struct question *q, struct dns_answer *a)
{
    struct resolver *r = q->r;
    struct list_node *n;

    q->answered = true;
    loop_timer_clear(&q->limit);
    list_remove(&q->node);
    list_push_back(&r->detached, &q->node);
    if (a->head.status != RESOLVE_TEMPORARY)
        dns_cache_put(r->cache, q->kind, q->name, a,
                      loop_now_ms(r->loop) + clamp_ttl_ms(r, &a->head));
    while ((n = list_first(&q->waiting)) != NULL)
        lookup_ready(CONTAINER_OF(n, struct resolve, node), a);
}

/* One reply less to wait for. */
static void question_step(struct question *q)
{
    struct dns_answer *a;
    struct dns_head head;

    if (--q->pending != 0)
        return;
    if (!q->answered) {
        if (q->kind == DNS_ASK_MX) {
            a = dns_answer_ref(q->mx);
        } else {
            dns_merge_addr(&q->a, &q->aaaa, &head);
            a = dns_answer_host(&head, &q->a, &q->aaaa);
        }
        question_answer(q, a);
        dns_answer_unref(&a);
    }
    question_free(q);
}

static void on_limit(struct loop_timer *t)
{
    struct question *q = CONTAINER_OF(t, struct question, limit);
    struct dns_answer *a = dns_answer_status(RESOLVE_TEMPORARY, "DNS servers do not answer", 0);

    question_answer(q, a);
    dns_answer_unref(&a);
}

static void on_mx(void *arg, const struct dns_head *failed, const unsigned char *msg, size_t n)
{
    struct question *q = arg;
    struct dns_mx_set *set = &q->r->parsed;

    if (failed == NULL) {
        dns_parse_mx(msg, n, set);
    } else {
        set->head = *failed;
        set->n = 0;
    }
    q->mx = dns_answer_mx(set);
    question_step(q);
}

static void take_addr(struct question *q, struct dns_addr_set *set, int type,
                      const struct dns_head *failed, const unsigned char *msg, size_t n)
{
    if (failed == NULL) {
        dns_parse_addr(msg, n, type, set);
    } else {
        set->head = *failed;
        set->n = 0;
    }
    question_step(q);
}

static void on_a(void *arg, const struct dns_head *failed, const unsigned char *msg, size_t n)
{
    struct question *q = arg;
    take_addr(q, &q->a, DNS_TYPE_A, failed, msg, n);
}

static void on_aaaa(void *arg, const struct dns_head *failed, const unsigned char *msg, size_t n)
{
    struct question *q = arg;
    take_addr(q, &q->aaaa, DNS_TYPE_AAAA, failed, msg, n);
}

static void query(struct question *q, int type, dns_reply_fn *fn)
{
    q->pending++;
    stats_inc(STAT_dns_queries);
    dns_channel_query(q->r->channel, q->name, type, fn, q);
}

static void on_old_timer(struct loop_timer *t)
{
    dns_channel_close(&CONTAINER_OF(t, struct resolver, old_timer)->old);
}

/* When the system names other servers, the next questions go to them. What is in flight has the
 * time to be answered by the old ones; what is known from them is forgotten. */
static void follow_system(struct resolver *r)
{
    int64_t now = loop_now_ms(r->loop);
    struct dns_channel *other;
    int64_t limit_ms;
    struct err e;

    if (!r->by_system || now - r->file_checked_ms < FILE_CHECK_MS)
        return;
    r->file_checked_ms = now;
    if (!dns_file_changed(r->file, &r->file_seen))
        return;
    other = dns_channel_open(r->loop, &r->conf, &limit_ms, &e);
    LOG(INFO, NULL, "dns-servers-changed", LC("file", r->file),
        LC("result", other != NULL ? "they are asked from now on" : e.text));
    if (other == NULL)
        return;
    if (r->old != NULL)
        dns_channel_close(&r->old);
    r->old = r->channel;
    loop_timer_set(&r->old_timer, r->limit_ms);
    r->channel = other;
    r->limit_ms = limit_ms;
    dns_cache_flush(r->cache);
}

static struct list *bucket_of(struct resolver *r, enum dns_kind kind, const char *name)
{
    return &r->asked[(hash64(name, strlen(name)) + (uint64_t)kind) % BUCKETS];
}

static struct question *question_find(struct resolver *r, enum dns_kind kind, const char *name)
{
    LIST_FOREACH (n, bucket_of(r, kind, name)) {
        struct question *q = CONTAINER_OF(n, struct question, node);
        if (q->kind == kind && strcmp(q->name, name) == 0)
            return q;
    }
    return NULL;
}

static void question_ask(struct resolver *r, enum dns_kind kind, const char *name,
                         struct resolve *first)
{
    struct question *q = NEW(struct question);

    follow_system(r);
    q->r = r;
    q->kind = kind;
    memcpy(q->name, name, strlen(name) + 1);
    list_init(&q->waiting);
    list_push_back(&q->waiting, &first->node);
    list_push_back(bucket_of(r, kind, name), &q->node);
    r->n_questions++;
    loop_timer_init(&q->limit, r->loop, on_limit);
    loop_timer_set(&q->limit, r->limit_ms);
    q->pending = 1; /* c-ares may call back at once: not before both are asked */
    if (kind == DNS_ASK_MX) {
        query(q, DNS_TYPE_MX, on_mx);
    } else {
        query(q, DNS_TYPE_A, on_a);
        query(q, DNS_TYPE_AAAA, on_aaaa);
    }
    question_step(q);
}

/* ---- life ---- */

struct resolver *resolver_new(struct loop *l, const struct resolver_conf *c, struct err *e)
{
    struct resolver *r = NEW(struct resolver);

    r->loop = l;
    r->conf = *c;
    r->conf.servers = NULL; /* the caller's */
    r->by_system = c->servers == NULL;
    r->file = c->system_file != NULL ? c->system_file : "/etc/resolv.conf";
    dns_file_changed(r->file, &r->file_seen);
    r->file_checked_ms = loop_now_ms(l);
    loop_timer_init(&r->old_timer, l, on_old_timer);
    r->channel = dns_channel_open(l, c, &r->limit_ms, e);
    if (r->channel == NULL) {
        mem_free(r);
        return NULL;
    }
    r->cache = dns_cache_new(c->cache_entries);
    for (size_t i = 0; i < BUCKETS; i++)
        list_init(&r->asked[i]);
    list_init(&r->detached);
    list_init(&r->ready);
    list_init(&r->round);
    r->task.fn = on_task;
    return r;
}

static void lookups_free(struct list *list)
{
    struct list_node *n;

    while ((n = list_first(list)) != NULL)
        lookup_free(CONTAINER_OF(n, struct resolve, node));
}

void resolver_free(struct resolver **rp)
{
    struct resolver *r = *rp;

    if (r == NULL)
        return;
    *rp = NULL;
    r->dead = true;
    for (size_t i = 0; i < BUCKETS; i++) {
        LIST_FOREACH (q, &r->asked[i])
            lookups_free(&CONTAINER_OF(q, struct question, node)->waiting);
    }
    loop_timer_clear(&r->old_timer);
    if (r->old != NULL)
        dns_channel_close(&r->old);
    dns_channel_close(&r->channel); /* calls back for each question, which then goes */
    ASSERT(r->n_questions == 0);
    lookups_free(&r->ready);
    lookups_free(&r->round);
    loop_task_cancel(&r->task);
    dns_cache_free(&r->cache);
    if (!r->in_callback)
        mem_free(r);
}

void resolver_flush_cache(struct resolver *r)
{
    dns_cache_flush(r->cache);
}

/* ---- lookups ---- */

static struct resolve *lookup_new(struct resolver *r, resolve_done_fn *done, void *arg)
{
    struct resolve *w = NEW(struct resolve);

    w->r = r;
    w->done = done;
    w->arg = arg;
    return w;
}

/* Takes over the reference. */
static struct resolve *answer_with(struct resolve *w, struct dns_answer *a)
{
    lookup_ready(w, a);
    dns_answer_unref(&a);
    return w;
}

static struct dns_answer *from_literal(struct str text)
{
    struct dns_addr_set v4 = {.n = 0}, v6 = {.n = 0};
    struct dns_head ok = {.status = RESOLVE_OK, .why = "ok", .ttl_s = 0};
    struct sockaddr_storage ss;
    socklen_t len;

    if (!addr_parse_literal(text, &ss, &len))
        return NULL;
    if (ss.ss_family == AF_INET) {
        memcpy(v4.addr[0].ip, &((struct sockaddr_in *)&ss)->sin_addr, 4);
        v4.n = 1;
    } else {
        memcpy(v6.addr[0].ip, &((struct sockaddr_in6 *)&ss)->sin6_addr, 16);
        v6.n = 1;
    }
    return dns_answer_host(&ok, &v4, &v6);
}

/* The system's hosts file, which an admin expects to win over DNS. Small and local, and read only
 * when the cache does not know the name. */
static struct dns_answer *from_hosts_file(struct resolver *r, const char *name)
{
    struct dns_addr_set v4, v6;
    struct dns_head ok = {.status = RESOLVE_OK, .why = "ok", .ttl_s = 0};

    dns_channel_hosts(r->channel, name, AF_INET, &v4);
    dns_channel_hosts(r->channel, name, AF_INET6, &v6);
    return v4.n + v6.n != 0 ? dns_answer_host(&ok, &v4, &v6) : NULL;
}

static struct resolve *lookup(struct resolver *r, enum dns_kind kind, struct str text,
                              resolve_done_fn *done, void *arg)
{
    struct resolve *w = lookup_new(r, done, arg);
    struct dns_answer *a;
    struct question *q;
    char name[DNS_NAME_MAX];

    if (!dns_name_normalise(text, name))
        return answer_with(w, dns_answer_status(RESOLVE_NXDOMAIN, "not a domain name", 0));
    a = dns_cache_get(r->cache, kind, name, loop_now_ms(r->loop));
    if (a != NULL) {
        stats_inc(STAT_dns_cache_hits);
        return answer_with(w, dns_answer_ref(a));
    }
    q = question_find(r, kind, name);
    if (q != NULL) {
        list_push_back(&q->waiting, &w->node);
        return w;
    }
    if (kind == DNS_ASK_HOST && (a = from_hosts_file(r, name)) != NULL) {
        dns_cache_put(r->cache, kind, name, a, loop_now_ms(r->loop) + clamp_ttl_ms(r, &a->head));
        return answer_with(w, a);
    }
    if (r->n_questions >= QUESTIONS_MAX)
        return answer_with(w, dns_answer_status(RESOLVE_TEMPORARY, "too many DNS lookups", 0));
    question_ask(r, kind, name, w);
    return w;
}

struct resolve *resolve_mx(struct resolver *r, struct str domain, resolve_done_fn *done, void *arg)
{
    return lookup(r, DNS_ASK_MX, domain, done, arg);
}

struct resolve *resolve_host(struct resolver *r, struct str name, resolve_done_fn *done, void *arg)
{
    struct dns_answer *a = from_literal(name);

    if (a != NULL)
        return answer_with(lookup_new(r, done, arg), a);
    return lookup(r, DNS_ASK_HOST, name, done, arg);
}

void resolve_cancel(struct resolve **wp)
{
    struct resolve *w = *wp;

    if (w == NULL)
        return;
    *wp = NULL;
    if (!w->in_callback)
        lookup_free(w);
}
