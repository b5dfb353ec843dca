/*
 * smtpd.c - the inbound service of one worker: who may connect, and what the peer is.
 *
 * What a peer is, is known at connect: a forest (by its configured addresses), an application host,
 * or the internet. After a reload it is judged again at the next MAIL, so that a session that stays
 * open for days has no more rights than a new one. Limits are checked before anything is allocated
 * for the session; a client over its limit gets 421 and costs one write.
 */
#include "relay/smtpd/smtpd_int.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"

#define REPLY_BYTES_MAX 8192
#define DECIDE_BLOCK    2048
#define DECIDE_MAX      65536

struct smtpd *smtpd_new(struct loop *l, struct conf *conf, struct spool *spool,
                        struct smtpd_clients *clients, const struct smtpd_ops *ops)
{
    struct smtpd *d = NEW(struct smtpd);
    d->loop = l;
    d->conf = conf_ref(conf);
    d->listen_conf = conf_ref(conf);
    arena_init(&d->decide, DECIDE_BLOCK, DECIDE_MAX);
    d->spool = spool;
    d->clients = clients;
    d->ops = *ops;
    list_init(&d->sessions);
    list_init(&d->leaving);
    buf_init(&d->scratch, REPLY_BYTES_MAX);
    return d;
}

/* Sessions keep the limits and times they began with until they end; new ones take the new. What
 * the peer may do follows at once: smtpd_classify(). */
void smtpd_reconfigure(struct smtpd *d, struct conf *conf)
{
    conf_unref(&d->conf);
    d->conf = conf_ref(conf);
    d->conf_number++;
}

unsigned smtpd_sessions(const struct smtpd *d)
{
    return d->n_sessions;
}

unsigned smtpd_commits(const struct smtpd *d)
{
    return d->n_commits;
}

void smtpd_drain(struct smtpd *d)
{
    d->draining = true;
    LIST_FOREACH_SAFE (n, tmp, &d->sessions) {
        struct smtpd_session *s = CONTAINER_OF(n, struct smtpd_session, node);
        s->draining = true;
        if (s->txn != NULL || s->stream == NULL)
            continue;
        smtpd_goodbye(s);
        smtpd_session_settle(s);
    }
}

void smtpd_hang_up(struct smtpd *d)
{
    LIST_FOREACH_SAFE (n, tmp, &d->sessions) {
        struct smtpd_session *s = CONTAINER_OF(n, struct smtpd_session, node);
        if (s->state == SMTPD_COMMIT || s->stream == NULL)
            continue;
        smtpd_goodbye(s);
        smtpd_session_settle(s);
    }
}

unsigned smtpd_leaving(const struct smtpd *d)
{
    return d->n_leaving;
}

void smtpd_free(struct smtpd **dp)
{
    struct smtpd *d = *dp;
    if (d == NULL)
        return;
    LIST_FOREACH_SAFE (n, tmp, &d->sessions) {
        struct smtpd_session *s = CONTAINER_OF(n, struct smtpd_session, node);
        if (s->stream != NULL) {
            smtpd_goodbye(s);
            stream_flush(s->stream);
        }
        smtpd_session_cut(s);
    }
    LIST_FOREACH_SAFE (n, tmp, &d->leaving)
        smtpd_session_cut(CONTAINER_OF(n, struct smtpd_session, node));
    ASSERT(d->n_commits == 0);
    smtpd_transactions_free(d);
    content_pool_free(d);
    buf_free(&d->scratch);
    arena_free(&d->decide);
    conf_unref(&d->listen_conf);
    conf_unref(&d->conf);
    mem_free(d);
    *dp = NULL;
}

/* ---- connections ---- */

/* The peer as one address and one text, whatever socket it came in on: "*:25" is an IPv6 one. */
static void peer_from(struct stream_peer *p, const struct sockaddr *from)
{
    socklen_t len = from->sa_family == AF_INET    ? sizeof(struct sockaddr_in)
                    : from->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6)
                                                  : sizeof(from->sa_family);
    stream_peer_set(p, from, len);
}

/* A host has a whole /64 of addresses; by address it would never reach its limit. */
static void client_key(const struct stream_peer *p, char dst[48])
{
    if (p->addr.ss_family == AF_INET6) {
        struct in6_addr net = ((const struct sockaddr_in6 *)(const void *)&p->addr)->sin6_addr;
        memset(net.s6_addr + 8, 0, 8);
        if (inet_ntop(AF_INET6, &net, dst, 48) != NULL)
            return;
    }
    str_copy(str_c(p->ip), dst, 48);
}

static enum mail_origin classify(const struct conf *c, const struct sockaddr *peer, int *forest)
{
    *forest = conf_forest_of_peer(c, peer);
    if (*forest != CONF_NONE)
        return MAIL_FROM_FOREST;
    if (conf_nets_contain(&c->application_hosts, peer))
        return MAIL_FROM_APPLICATION;
    return MAIL_FROM_INTERNET;
}

/* The inside listener is for forests and application hosts. */
static bool may_use(const struct smtpd *d, unsigned listener, enum mail_origin origin,
                    const char *ip, struct smtp_reply *refusal)
{
    const struct conf *lc = d->listen_conf;
    if (origin != MAIL_FROM_INTERNET || listener >= lc->n_listener ||
        lc->listener[listener].kind != CONF_LISTEN_INTERNAL)
        return true;
    smtp_reply_set(refusal, 554, "5.7.1", "%s Access denied for %s", d->conf->hostname, ip);
    return false;
}

bool smtpd_classify(struct smtpd_session *s, struct smtp_reply *refusal)
{
    struct smtpd *d = s->d;
    int forest;
    if (s->conf_number == d->conf_number)
        return true;
    enum mail_origin origin = classify(d->conf, &s->addr.any, &forest);
    if (!may_use(d, s->listener, origin, s->ip, refusal))
        return false;
    if (origin != s->origin)
        LOG(INFO, NULL, "smtpd-origin-changed", LC("client", s->ip),
            LC("from", mail_origin_name((enum mail_origin)s->origin)),
            LC("to", mail_origin_name(origin)));
    s->origin = (uint8_t)origin;
    s->forest = (int16_t)forest;
    s->conf_number = d->conf_number;
    return true;
}

/* Counts the client in, or says why not. */
static bool admit(struct smtpd *d, unsigned listener, enum mail_origin origin, const char *ip,
                  const char *key, struct smtp_reply *refusal)
{
    const struct conf *c = d->conf;
    unsigned limit = origin == MAIL_FROM_INTERNET ? c->smtpd.connections_per_client
                                                  : c->smtpd.connections_per_client_trusted;
    if (d->draining) {
        smtp_reply_set(refusal, 421, "4.3.2", "%s Service closing down", c->hostname);
        return false;
    }
    if (!may_use(d, listener, origin, ip, refusal))
        return false;
    switch (smtpd_clients_enter(d->clients, key, limit, c->smtpd.connections_max)) {
    case CLIENT_OK:
        return true;
    case CLIENT_TOO_MANY:
        smtp_reply_set(refusal, 421, "4.7.0", "%s Error: too many connections from %s", c->hostname,
                       ip);
        return false;
    case CLIENT_ALL_FULL:
        smtp_reply_set(refusal, 421, "4.3.2", "%s Error: too many connections, try again later",
                       c->hostname);
        return false;
    }
    return false;
}

struct smtpd_session *smtpd_session_new(struct smtpd *d, unsigned listener,
                                        const struct sockaddr *peer, struct smtp_reply *refusal)
{
    struct stream_peer p;
    char key[48];
    int forest;
    peer_from(&p, peer);
    client_key(&p, key);
    enum mail_origin origin = classify(d->conf, (const struct sockaddr *)&p.addr, &forest);
    stats_inc(STAT_smtpd_connections);
    if (!admit(d, listener, origin, p.ip, key, refusal)) {
        static struct log_limit limit;
        int64_t more;
        stats_inc(STAT_smtpd_connections_refused);
        if (log_limit_pass(&limit, 1000, &more))
            LOG(INFO, NULL, "smtpd-refused", LC("client", p.ip), LC("why", refusal->text),
                LI("more_like_this", more));
        return NULL;
    }
    stats_add(STAT_smtpd_connections_open, 1);
    struct smtpd_session *s = NEW(struct smtpd_session);
    s->d = d;
    s->conf = conf_ref(d->conf);
    s->listener = (uint16_t)listener;
    s->origin = (uint8_t)origin;
    s->forest = (int16_t)forest;
    s->conf_number = d->conf_number;
    s->counted = true;
    s->state = SMTPD_GREETING;
    memcpy(&s->addr, &p.addr, sizeof(s->addr));
    str_copy(str_c(p.ip), s->ip, sizeof(s->ip));
    str_copy(str_c(key), s->client_key, sizeof(s->client_key));
    list_push_back(&d->sessions, &s->node);
    d->n_sessions++;
    return s;
}

void smtpd_accept(struct smtpd *d, unsigned listener, int fd, const struct sockaddr_storage *peer)
{
    struct smtp_reply refusal;
    struct smtpd_session *s =
        smtpd_session_new(d, listener, (const struct sockaddr *)peer, &refusal);
    if (s != NULL) {
        smtpd_session_attach(
            s, stream_new(d->loop, fd, &smtpd_stream_limits, &smtpd_stream_events, s));
        return;
    }
    /* A fresh socket's buffer takes one line; if it does not, the client is not owed more. */
    buf_clear(&d->scratch);
    if (smtp_reply_write(&refusal, &d->scratch))
        (void)!send(fd, d->scratch.p, d->scratch.n, MSG_NOSIGNAL | MSG_DONTWAIT);
    close(fd);
}
