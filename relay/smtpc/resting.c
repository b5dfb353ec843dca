/*
 * resting.c - endpoints that failed a short while ago (tried last by every destination that has
 * them), and which endpoints are our own. A small table: when it is full the entry that ends first
 * makes room. On failure nothing worse happens than a connection attempt more or less.
 */
#include <ifaddrs.h>
#include <netinet/in.h>
#include <string.h>

#include "relay/io/listener.h"
#include "relay/smtpc/smtpc_int.h"

static bool addr_equal(const struct sockaddr *a, const struct sockaddr *b, bool with_port)
{
    if (a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET) {
        const struct sockaddr_in *x = (const void *)a, *y = (const void *)b;
        return x->sin_addr.s_addr == y->sin_addr.s_addr &&
               (!with_port || x->sin_port == y->sin_port);
    }
    if (a->sa_family == AF_INET6) {
        const struct sockaddr_in6 *x = (const void *)a, *y = (const void *)b;
        return memcmp(&x->sin6_addr, &y->sin6_addr, sizeof(x->sin6_addr)) == 0 &&
               (!with_port || x->sin6_port == y->sin6_port);
    }
    return false;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
    return addr_equal((const void *)&a->addr, (const void *)&b->addr, true);
}

static struct resting *resting_find(struct smtpc *c, const struct endpoint *e)
{
    for (unsigned i = 0; i < c->n_resting; i++)
        if (addr_equal((const void *)&c->resting[i].addr, (const void *)&e->addr, true))
            return &c->resting[i];
    return NULL;
}

void resting_add(struct smtpc *c, const struct endpoint *e)
{
    struct resting *r = resting_find(c, e);
    if (r == NULL && c->n_resting < RESTING_MAX)
        r = &c->resting[c->n_resting++];
    if (r == NULL) {
        r = &c->resting[0];
        for (unsigned i = 1; i < c->n_resting; i++)
            if (c->resting[i].until_ms < r->until_ms)
                r = &c->resting[i];
    }
    r->addr = e->addr;
    r->len = e->len;
    r->until_ms = loop_now_ms(c->loop) + c->conf->smtp_client.host_rest_ms;
}

void resting_remove(struct smtpc *c, const struct endpoint *e)
{
    if (c->n_resting == 0)
        return;
    struct resting *r = resting_find(c, e);
    if (r != NULL)
        *r = c->resting[--c->n_resting];
}

bool resting_has(struct smtpc *c, const struct endpoint *e)
{
    if (c->n_resting == 0)
        return false;
    struct resting *r = resting_find(c, e);
    if (r == NULL)
        return false;
    if (r->until_ms > loop_now_ms(c->loop))
        return true;
    *r = c->resting[--c->n_resting];
    return false;
}

static bool addr_is_any(const struct sockaddr *a)
{
    if (a->sa_family == AF_INET)
        return ((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr == INADDR_ANY;
    return a->sa_family == AF_INET6 &&
           IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr);
}

static unsigned addr_port(const struct sockaddr *a)
{
    return a->sa_family == AF_INET6
               ? ntohs(((const struct sockaddr_in6 *)(const void *)a)->sin6_port)
               : ntohs(((const struct sockaddr_in *)(const void *)a)->sin_port);
}

static bool addr_is_local(struct smtpc *c, const struct sockaddr *a)
{
    for (struct ifaddrs *i = c->interfaces; i != NULL; i = i->ifa_next)
        if (i->ifa_addr != NULL && addr_equal(i->ifa_addr, a, false))
            return true;
    return a->sa_family == AF_INET &&
           ntohl(((const struct sockaddr_in *)(const void *)a)->sin_addr.s_addr) >> 24 == 127;
}

bool own_endpoint(struct smtpc *c, const struct endpoint *e)
{
    const struct sockaddr *to = (const void *)&e->addr;
    for (unsigned i = 0; i < c->conf->n_listener; i++) {
        const struct conf_listener *li = &c->conf->listener[i];
        for (unsigned k = 0; k < li->n_address; k++) {
            struct sockaddr_storage ss;
            socklen_t len;
            if (!listen_parse(str_c(li->address[k]), &ss, &len, NULL))
                continue;
            const struct sockaddr *own = (const void *)&ss;
            if (addr_equal(own, to, true))
                return true;
            if (addr_port(own) == addr_port(to) && addr_is_any(own) && addr_is_local(c, to))
                return true;
        }
    }
    return false;
}
