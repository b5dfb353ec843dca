/*
 * client.c - the outbound SMTP client of one worker.
 *
 * Roles
 *   delivery  one message for some recipients of one destination; the queue's. Wrapped in a job.
 *   dest      a destination: the jobs that wait for it, its hosts, its sessions (dest.c)
 *   hosts     the destination's hosts with cost, their endpoints once resolved (hosts.c)
 *   pending   the clock of the jobs that wait for a session (pending.c)
 *   resting   endpoints that failed a short while ago, whoever's they are (resting.c)
 *   session   one connection: a state machine over replies (session.c, session_reply.c) and the
 *             writing side (session_send.c)
 *   result    what replies mean for recipients (result.c)
 *
 * Flow: start() puts the job on the destination's pending list and asks for a look at it at the
 * end of the turn. There the finished jobs are reported first (the queue then often starts the next
 * ones), then pending jobs go to idle sessions, behind the final dot of busy ones, and new sessions
 * are opened for what is left. So done() never runs inside start(), and nothing here is entered
 * while it runs.
 *
 * Everything belongs to the worker's thread. RFC 5321, 2920, 1870, 6152, 3461, 7505.
 */
#include "relay/smtpc/smtpc.h"

#include <ifaddrs.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "relay/io/descriptors.h"
#include "relay/smtpc/smtpc_int.h"

#define OUT_MAX (1u << 20)

static void client_sweep(struct loop_task *t)
{
    struct smtpc *c = CONTAINER_OF(t, struct smtpc, sweep);
    struct list_node *n;
    while ((n = list_pop_front(&c->graveyard)) != NULL) {
        struct session *s = CONTAINER_OF(n, struct session, node);
        smtp_reply_parser_free(&s->parser);
        mem_free(s);
    }
}

void client_bury(struct smtpc *c, struct session *s)
{
    list_push_back(&c->graveyard, &s->node);
    loop_task_add(c->loop, &c->sweep);
}

/* ---- all destinations together ---- */

static unsigned client_sessions_max(const struct conf *conf)
{
    long workers = conf->workers != 0 ? (long)conf->workers : sysconf(_SC_NPROCESSORS_ONLN);
    return descriptor_shares(descriptor_limit(), workers > 0 ? (unsigned)workers : 1).outbound;
}

bool client_has_room(struct smtpc *c)
{
    if (c->n_sessions >= c->sessions_max && !list_is_empty(&c->idle))
        session_close(CONTAINER_OF(list_first(&c->idle), struct session, age_node), true);
    return c->n_sessions < c->sessions_max;
}

void client_room_made(struct smtpc *c)
{
    struct list_node *n;
    while ((n = list_pop_front(&c->starved)) != NULL) {
        struct dest *d = CONTAINER_OF(n, struct dest, starved);
        dest_kick(d);
        if (d->n_pending != 0)
            return;
    }
}

/* ---- jobs and destinations ---- */

static struct job *client_job_new(struct smtpc *c, struct delivery *d)
{
    struct job *j = c->free_jobs;
    if (j != NULL)
        c->free_jobs = j->next_free;
    else
        j = mem_alloc(sizeof(*j));
    *j = (struct job){.d = d};
    d->transport = j;
    return j;
}

void client_job_free(struct smtpc *c, struct job *j)
{
    j->d->transport = NULL;
    j->next_free = c->free_jobs;
    c->free_jobs = j;
}

static size_t client_bucket(const struct dest_key *key)
{
    return (hash64(key->name.p, key->name.n) + key->kind) % DEST_BUCKETS;
}

static struct dest *client_dest(struct smtpc *c, const struct dest_key *key)
{
    struct dest **at = &c->bucket[client_bucket(key)];
    for (struct dest *d = *at; d != NULL; d = d->next_hash)
        if (d->key.kind == key->kind && str_eq(d->key.name, key->name))
            return d;
    struct dest *d = dest_new(c, key);
    d->next_hash = *at;
    *at = d;
    return d;
}

void client_dest_forget(struct dest *d)
{
    struct dest **at = &d->client->bucket[client_bucket(&d->key)];
    while (*at != d)
        at = &(*at)->next_hash;
    *at = d->next_hash;
    list_remove(&d->node);
    dest_free(d);
}

/* ---- the transport ---- */

static void client_start(void *ctx, struct delivery *d)
{
    struct smtpc *c = ctx;
    ASSERT(d->n_rcpt > 0);
    struct job *j = client_job_new(c, d);
    d->verdict = DEST_OK;
    d->remote_host[0] = d->remote_ip[0] = '\0';
    d->remote_dsn = false;
    result_reset(j);
    dest_add(client_dest(c, &d->dest), j);
}

static void client_cancel(void *ctx, struct delivery *d)
{
    struct smtpc *c = ctx;
    struct job *j = d->transport;
    ASSERT(j != NULL && j->d == d);
    switch (j->place) {
    case JOB_PENDING:
        dest_unlink_pending(j->dest, j);
        break;
    case JOB_FINISHED:
        list_remove(&d->node);
        break;
    case JOB_SESSION:
        session_cancel(j->session, j);
        break;
    }
    client_job_free(c, j);
}

struct transport smtpc_transport(struct smtpc *c)
{
    return (struct transport){.ctx = c, .start = client_start, .cancel = client_cancel};
}

/* ---- life ---- */

struct smtpc *smtpc_new_with(struct loop *l, struct conf *conf, struct resolver *r,
                             struct spool *spool, const struct smtpc_ops *ops)
{
    struct smtpc *c = NEW(struct smtpc);
    c->loop = l;
    c->resolver = r;
    c->spool = spool;
    c->ops = ops;
    list_init(&c->dests);
    list_init(&c->graveyard);
    list_init(&c->idle);
    list_init(&c->starved);
    c->sweep.fn = client_sweep;
    buf_init(&c->out, OUT_MAX);
    smtpc_reconfigure(c, conf);
    return c;
}

void smtpc_reconfigure(struct smtpc *c, struct conf *conf)
{
    struct conf *old = c->conf;
    c->conf = conf_ref(conf);
    c->conf_serial++;
    c->sessions_max = client_sessions_max(conf);
    if (c->interfaces != NULL)
        freeifaddrs(c->interfaces);
    if (getifaddrs(&c->interfaces) != 0)
        c->interfaces = NULL; /* only the check for loops to a wildcard listener is weaker */
    LIST_FOREACH (n, &c->dests) {
        dest_reconfigured(CONTAINER_OF(n, struct dest, node));
    }
    if (old != NULL)
        conf_unref(&old);
}

void smtpc_close_idle(struct smtpc *c)
{
    LIST_FOREACH (n, &c->dests) {
        dest_close_idle(CONTAINER_OF(n, struct dest, node));
    }
}

void smtpc_free(struct smtpc **cp)
{
    struct smtpc *c = *cp;
    if (c == NULL)
        return;
    struct list_node *n;
    while ((n = list_first(&c->dests)) != NULL)
        client_dest_forget(CONTAINER_OF(n, struct dest, node));
    loop_task_cancel(&c->sweep);
    client_sweep(&c->sweep);
    while (c->free_jobs != NULL) {
        struct job *j = c->free_jobs;
        c->free_jobs = j->next_free;
        mem_free(j);
    }
    buf_free(&c->out);
    if (c->interfaces != NULL)
        freeifaddrs(c->interfaces);
    conf_unref(&c->conf);
    mem_free(c);
    *cp = NULL;
}

void smtpc_list_dests(struct smtpc *c, smtpc_dest_fn *fn, void *arg)
{
    LIST_FOREACH (n, &c->dests) {
        struct dest *d = CONTAINER_OF(n, struct dest, node);
        struct smtpc_dest_info info = {
            .sessions = d->n_sessions, .idle = d->n_idle, .pending = d->n_pending};
        dest_key_print(&d->key, info.dest, sizeof(info.dest));
        hosts_print(d, info.hosts, sizeof(info.hosts));
        fn(arg, &info);
    }
}
