/*
 * dns_channel.c - c-ares on the loop: its sockets, its time-outs, its servers, the hosts file.
 *
 * c-ares matches replies to queries, repeats, asks the next server, goes to TCP when a reply was
 * cut, and tells by callback which sockets it wants watched. Queries leave from a fresh port
 * whenever none is in flight, which makes forged replies harder. Loop's thread only.
 */
#include "relay/io/dns_int.h"

#include <ares.h>
#include <netdb.h>
#include <pthread.h>
#include <string.h>
#include <sys/time.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
    CLASS_IN = 1,
    LIMIT_MAX_MS = 60000, /* no query takes longer, whatever the configuration says */
};

struct dns_channel {
    struct loop *loop;
    ares_channel ares;
    struct list socks;
    struct loop_timer timer; /* c-ares' next time-out */
};

struct sock {
    struct list_node node;
    struct dns_channel *c;
    int fd;
    unsigned events;
    struct loop_fd *watch;
};

struct query {
    dns_reply_fn *fn;
    void *arg;
};

/* ---- sockets and time-outs ---- */

static void arm_timer(struct dns_channel *c)
{
    struct timeval tv;

    if (ares_timeout(c->ares, NULL, &tv) == NULL)
        loop_timer_clear(&c->timer);
    else
        loop_timer_set(&c->timer, (int64_t)tv.tv_sec * 1000 + tv.tv_usec / 1000 + 1);
}

static void on_sock(void *arg, int fd, unsigned events)
{
    struct dns_channel *c = ((struct sock *)arg)->c;

    ares_process_fd(c->ares, events & LOOP_READ ? fd : ARES_SOCKET_BAD,
                    events & LOOP_WRITE ? fd : ARES_SOCKET_BAD);
    arm_timer(c);
}

static void on_timer(struct loop_timer *t)
{
    struct dns_channel *c = CONTAINER_OF(t, struct dns_channel, timer);

    ares_process_fd(c->ares, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    arm_timer(c);
}

static void sock_free(struct sock *s)
{
    loop_fd_remove(&s->watch);
    list_remove(&s->node);
    mem_free(s);
}

static struct sock *sock_get(struct dns_channel *c, int fd)
{
    struct sock *s;

    LIST_FOREACH (n, &c->socks) {
        s = CONTAINER_OF(n, struct sock, node);
        if (s->fd == fd)
            return s;
    }
    s = NEW(struct sock);
    s->c = c;
    s->fd = fd;
    list_push_back(&c->socks, &s->node);
    return s;
}

static void on_sock_state(void *arg, ares_socket_t fd, int readable, int writable)
{
    struct dns_channel *c = arg;
    struct sock *s = sock_get(c, fd);
    unsigned events = (readable ? LOOP_READ : 0U) | (writable ? LOOP_WRITE : 0U);

    if (events == 0) {
        sock_free(s);
    } else if (events != s->events) {
        loop_fd_remove(&s->watch);
        s->events = events;
        s->watch = loop_fd_add(c->loop, fd, events, on_sock, s);
    }
}

/* ---- queries ---- */

static struct dns_head failure(int status)
{
    struct dns_head h = {.status = RESOLVE_TEMPORARY, .why = ares_strerror(status), .ttl_s = 0};

    if (status == ARES_ENOTFOUND) { /* known without asking: .onion (RFC 7686) */
        h.status = RESOLVE_NXDOMAIN;
        h.why = "no such domain";
        h.ttl_s = UINT32_MAX;
    }
    return h;
}

/* c-ares has read so much of a reply as to say: it has records, none, or no such name. */
static void on_reply(void *arg, int status, int timeouts, unsigned char *msg, int len)
{
    struct query *q = arg;

    (void)timeouts;
    if (msg != NULL &&
        (status == ARES_SUCCESS || status == ARES_ENODATA || status == ARES_ENOTFOUND)) {
        q->fn(q->arg, NULL, msg, (size_t)len);
    } else {
        struct dns_head h = failure(status);
        q->fn(q->arg, &h, NULL, 0);
    }
    mem_free(q);
}

void dns_channel_query(struct dns_channel *c, const char *name, int type, dns_reply_fn *fn,
                       void *arg)
{
    struct query *q = NEW(struct query);

    q->fn = fn;
    q->arg = arg;
    ares_query(c->ares, name, CLASS_IN, type, on_reply, q);
    arm_timer(c);
}

void dns_channel_hosts(struct dns_channel *c, const char *name, int family,
                       struct dns_addr_set *set)
{
    struct hostent *h = NULL;

    set->n = 0;
    if (ares_gethostbyname_file(c->ares, name, family, &h) != ARES_SUCCESS)
        return;
    for (char **p = h->h_addr_list; *p != NULL && set->n < DNS_ADDR_MAX; p++) {
        set->addr[set->n].family = (sa_family_t)family;
        memcpy(set->addr[set->n++].ip, *p, family == AF_INET ? 4 : 16);
    }
    ares_free_hostent(h);
}

/* ---- life ---- */

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void library_init(void)
{
    ares_library_init(ARES_LIB_INIT_ALL); /* it must not run twice at once */
}

static unsigned count_servers(ares_channel ares)
{
    struct ares_addr_port_node *list = NULL;
    unsigned n = 0;

    if (ares_get_servers_ports(ares, &list) == ARES_SUCCESS) {
        for (struct ares_addr_port_node *a = list; a != NULL; a = a->next)
            n++;
        ares_free_data(list);
    }
    return n != 0 ? n : 1;
}

/* c-ares doubles the time-out with each round over the servers. */
static int64_t query_limit(const struct ares_options *o, unsigned servers)
{
    int64_t ms = 1000, step = o->timeout; /* theirs comes first, and says more */

    for (int i = 0; i < o->tries && ms < LIMIT_MAX_MS; i++, step *= 2)
        ms += step * servers;
    return ms < LIMIT_MAX_MS ? ms : LIMIT_MAX_MS;
}

struct dns_channel *dns_channel_open(struct loop *l, const struct resolver_conf *conf,
                                     int64_t *limit_ms, struct err *e)
{
    struct dns_channel *c = NEW(struct dns_channel);
    struct ares_options o = {.timeout = conf->timeout_ms > 0 ? conf->timeout_ms : 1,
                             .tries = conf->tries > 0 ? conf->tries : 1,
                             .sock_state_cb = on_sock_state,
                             .sock_state_cb_data = c};
    int flags = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB, status;
    char *csv = conf->servers != NULL ? dns_servers_csv(conf->servers) : NULL;
    char *system_file = conf->system_file != NULL ? str_dup(str_c(conf->system_file)) : NULL;

    pthread_once(&library_once, library_init);
    if (system_file != NULL) {
        o.resolvconf_path = system_file;
        flags |= ARES_OPT_RESOLVCONF;
    }
    if (conf->system_port != 0) {
        o.udp_port = o.tcp_port = conf->system_port;
        flags |= ARES_OPT_UDP_PORT | ARES_OPT_TCP_PORT;
    }
    c->loop = l;
    list_init(&c->socks);
    loop_timer_init(&c->timer, l, on_timer);
    status = ares_init_options(&c->ares, &o, flags);
    mem_free(system_file);
    if (status != ARES_SUCCESS) {
        err_set(e, ERR_SYSTEM, 0, "DNS resolver: %s", ares_strerror(status));
        mem_free(csv);
        mem_free(c);
        return NULL;
    }
    status = csv != NULL ? ares_set_servers_ports_csv(c->ares, csv) : ARES_SUCCESS;
    mem_free(csv);
    if (status != ARES_SUCCESS) {
        err_set(e, ERR_CONFIG, 0,
                "DNS servers \"%s\": right would be addresses, as in "
                "\"192.0.2.53,192.0.2.54:5353\"",
                conf->servers);
        dns_channel_close(&c);
        return NULL;
    }
    *limit_ms = query_limit(&o, count_servers(c->ares));
    return c;
}

void dns_channel_close(struct dns_channel **cp)
{
    struct dns_channel *c = *cp;
    struct list_node *n;

    ares_destroy(c->ares);
    while ((n = list_first(&c->socks)) != NULL)
        sock_free(CONTAINER_OF(n, struct sock, node));
    loop_timer_clear(&c->timer);
    mem_free(c);
    *cp = NULL;
}
