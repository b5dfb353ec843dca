/*
 * dest.c - a destination: what waits for it, and how many sessions it gets.
 *
 * Sessions are opened slowly: no more attempts at once than there are sessions that work already
 * (at least one), and never more than messages wait; one that waits long for its greeting
 * (pending.c) counts for neither. When every host has failed for a new session and no other session
 * is left, everything that waits is deferred, so that the queue can close the destination's window;
 * while others work, opening just pauses.
 *
 * While sessions go to a host that is not the best, one attempt at a time sees whether a better one
 * works again; when it does, the others end after the message in hand.
 *
 * A message may go behind the final dot of a busy session (session_can_queue) when the destination
 * answers final dots quickly; otherwise a session of its own is opened as long as more are allowed.
 *
 * After a reload the sessions from before are outdated: they only finish what the host may have
 * taken (session_outdate), get nothing new and do not take the place of new ones; so there may be
 * twice as many sessions for a while, not more, however often it is reloaded.
 *
 * A destination that is not used for a while is forgotten.
 */
#include <limits.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/stats.h"
#include "relay/smtpc/smtpc_int.h"

#define EXPIRY_MS           (10 * 60 * 1000) /* a forest or route not used for so long is forgotten */
#define EXPIRY_MX_MS        (60 * 1000)
#define REOPEN_MIN_MS       1000
#define RETURNS_MAX         5
#define DOT_LATENCY_SLOW_MS 500
#define SESSIONS_DEFAULT    20

static void dest_turn(struct loop_task *t);

static void dest_arm_expiry(struct dest *d)
{
    loop_timer_set(&d->expiry, d->key.kind == DEST_MX ? EXPIRY_MX_MS : EXPIRY_MS);
}

static void dest_expired(struct loop_timer *t)
{
    struct dest *d = CONTAINER_OF(t, struct dest, expiry);
    if (d->n_pending != 0 || d->n_sessions != 0 || !list_is_empty(&d->finished))
        dest_arm_expiry(d);
    else
        client_dest_forget(d);
}

static void dest_reopen(struct loop_timer *t)
{
    dest_kick(CONTAINER_OF(t, struct dest, reopen));
}

struct dest *dest_new(struct smtpc *c, const struct dest_key *key)
{
    struct dest *d = NEW(struct dest);
    d->client = c;
    size_t n = key->name.n < sizeof(d->name) ? key->name.n : sizeof(d->name) - 1;
    memcpy(d->name, key->name.p, n);
    d->key = (struct dest_key){.kind = key->kind, .name = str_n(d->name, n)};
    list_init(&d->pending);
    list_init(&d->finished);
    list_init(&d->sessions);
    list_init(&d->idle);
    list_push_back(&c->dests, &d->node);
    d->task.fn = dest_turn;
    loop_timer_init(&d->expiry, c->loop, dest_expired);
    loop_timer_init(&d->reopen, c->loop, dest_reopen);
    pending_init(d);
    dest_arm_expiry(d);
    return d;
}

/* Deliveries that are still here end without done(), as after cancel(). */
void dest_free(struct dest *d)
{
    struct list_node *n;
    while ((n = list_first(&d->sessions)) != NULL) {
        struct session *s = CONTAINER_OF(n, struct session, node);
        struct slot *slot[2] = {&s->cur, &s->next};
        for (unsigned i = 0; i < 2; i++) {
            if (slot[i]->job != NULL)
                client_job_free(d->client, slot[i]->job);
            slot_clear(s, slot[i]);
        }
        session_close(s, false);
    }
    struct list *jobs[2] = {&d->pending, &d->finished};
    for (unsigned i = 0; i < 2; i++)
        while ((n = list_pop_front(jobs[i])) != NULL)
            client_job_free(d->client, CONTAINER_OF(n, struct delivery, node)->transport);
    hosts_clear(d);
    loop_task_cancel(&d->task);
    loop_timer_clear(&d->expiry);
    loop_timer_clear(&d->reopen);
    pending_clear(d);
    list_remove(&d->starved);
    mem_free(d);
}

void dest_kick(struct dest *d)
{
    loop_task_add(d->client->loop, &d->task);
}

void dest_add(struct dest *d, struct job *j)
{
    j->dest = d;
    j->place = JOB_PENDING;
    j->started_ms = loop_now_ms(d->client->loop);
    list_push_back(&d->pending, &j->d->node);
    d->n_pending++;
    pending_watch(d);
    dest_kick(d);
}

void dest_give_back(struct dest *d, struct job *j)
{
    j->session = NULL;
    j->d->answered(j->d);
    if (++j->returns > RETURNS_MAX) {
        struct smtp_reply r;
        smtp_reply_set(&r, 451, "4.4.2", "gave up for now after %u lost connections", j->returns);
        result_rest(j, OUTCOME_DEFERRED, d->error.code != 0 ? &d->error : &r);
        dest_finish(d, j, DEST_UNREACHABLE);
    } else {
        dest_put_back(d, j);
    }
}

void dest_put_back(struct dest *d, struct job *j)
{
    j->session = NULL;
    result_reset(j);
    j->place = JOB_PENDING;
    list_push_front(&d->pending, &j->d->node);
    d->n_pending++;
    pending_watch(d);
    dest_kick(d);
}

void dest_unlink_pending(struct dest *d, struct job *j)
{
    list_remove(&j->d->node);
    d->n_pending--;
}

void dest_finish(struct dest *d, struct job *j, enum dest_verdict verdict)
{
    ASSERT(result_next_open(j, 0) == j->d->n_rcpt);
    j->session = NULL;
    j->place = JOB_FINISHED;
    j->d->verdict = verdict;
    list_push_back(&d->finished, &j->d->node);
    dest_kick(d);
}

void dest_end_pending(struct dest *d, struct job *j, enum dest_verdict verdict)
{
    dest_unlink_pending(d, j);
    str_copy(str_c(d->error_host), j->d->remote_host, sizeof(j->d->remote_host));
    str_copy(str_c(d->error_ip), j->d->remote_ip, sizeof(j->d->remote_ip));
    dest_finish(d, j, verdict);
}

static void dest_end_all_pending(struct dest *d, enum outcome outcome,
                                 const struct smtp_reply *reply)
{
    struct list_node *n;
    while ((n = list_first(&d->pending)) != NULL) {
        struct job *j = CONTAINER_OF(n, struct delivery, node)->transport;
        result_rest(j, outcome, reply);
        dest_end_pending(d, j, outcome == OUTCOME_DEFERRED ? DEST_UNREACHABLE : DEST_OK);
    }
}

/* Those to what is configured now. */
static unsigned dest_sessions(const struct dest *d)
{
    return d->n_sessions - d->n_outdated;
}

void dest_exhausted(struct dest *d, enum outcome outcome, const struct smtp_reply *reply)
{
    int64_t pause = d->client->conf->smtp_client.host_rest_ms;
    if (pause < REOPEN_MIN_MS)
        pause = REOPEN_MIN_MS;
    d->open_after_ms = loop_now_ms(d->client->loop) + pause;
    loop_timer_set(&d->reopen, pause);
    if (dest_sessions(d) == 0)
        dest_end_all_pending(d, outcome, reply);
    dest_kick(d);
}

void dest_slow_failed(struct dest *d, const struct smtp_reply *reply)
{
    /* While opening pauses there was nobody else to try; otherwise the next turn tries. */
    if (dest_sessions(d) == 0 && loop_now_ms(d->client->loop) < d->open_after_ms)
        dest_end_all_pending(d, OUTCOME_DEFERRED, reply);
}

unsigned dest_connections_max(const struct dest *d)
{
    const struct conf *conf = d->client->conf;
    unsigned max = conf->smtp_client.connections_max;
    if (d->key.kind == DEST_FOREST) {
        int i = conf_find_forest(conf, d->key.name);
        if (i != CONF_NONE && conf->forest[i].connections_max != 0)
            max = conf->forest[i].connections_max;
    }
    return max != 0 ? max : SESSIONS_DEFAULT;
}

/* ---- the turn ---- */

static void dest_report(struct dest *d)
{
    struct list_node *n;
    while ((n = list_pop_front(&d->finished)) != NULL) {
        struct delivery *dl = CONTAINER_OF(n, struct delivery, node);
        client_job_free(d->client, dl->transport);
        dl->done(dl);
    }
}

/* Gives pending jobs to the slot until one of them takes it. */
static void dest_feed(struct dest *d, struct session *s, struct slot *sl)
{
    struct list_node *n;
    while (!sl->used && s->state != SESSION_CLOSED && (n = list_pop_front(&d->pending)) != NULL) {
        d->n_pending--;
        session_begin(s, sl, CONTAINER_OF(n, struct delivery, node)->transport);
    }
}

static void dest_feed_idle(struct dest *d)
{
    struct list_node *n;
    while (d->n_pending != 0 && (n = list_first(&d->idle)) != NULL) {
        struct session *s = CONTAINER_OF(n, struct session, idle_node);
        dest_feed(d, s, &s->cur);
    }
}

unsigned dest_working(const struct dest *d)
{
    return dest_sessions(d) - d->n_connecting - d->n_slow;
}

static bool dest_has_place(const struct dest *d)
{
    unsigned max = dest_connections_max(d);
    unsigned uncounted = d->n_outdated < max ? d->n_outdated : max;
    return d->n_sessions - d->n_slow - uncounted < max;
}

static bool dest_may_open(const struct dest *d)
{
    return dest_sessions(d) == 0 || loop_now_ms(d->client->loop) >= d->open_after_ms;
}

static void dest_feed_busy(struct dest *d)
{
    int64_t now = loop_now_ms(d->client->loop);
    if (d->n_pending == 0 || now < d->ahead_after_ms)
        return;
    if (d->dot_latency_ms > DOT_LATENCY_SLOW_MS && dest_has_place(d) && dest_may_open(d))
        return;
    LIST_FOREACH_SAFE (n, tmp, &d->sessions) {
        struct session *s = CONTAINER_OF(n, struct session, node);
        if (d->n_pending == 0)
            return;
        struct job *j = CONTAINER_OF(list_first(&d->pending), struct delivery, node)->transport;
        if (j->returns == 0 && session_can_queue(s))
            dest_feed(d, s, &s->next);
    }
}

void dest_open_more(struct dest *d)
{
    unsigned working = dest_working(d);
    unsigned at_once = working > 1 ? working : 1;
    /* dest_may_open() again each time: a session that finds no host ends inside session_open(). */
    while (d->n_pending > d->n_connecting && d->n_connecting < at_once && dest_has_place(d) &&
           dest_may_open(d)) {
        if (!client_has_room(d->client)) {
            if (!list_node_is_linked(&d->starved))
                list_push_back(&d->client->starved, &d->starved);
            break;
        }
        session_open(d, false);
    }
}

unsigned dest_best_cost(const struct dest *d)
{
    unsigned best = UINT_MAX;
    LIST_FOREACH (n, &d->sessions) {
        const struct session *s = CONTAINER_OF(n, struct session, node);
        if (s->state >= SESSION_READY && s->cost < best && !session_is_outdated(s))
            best = s->cost;
    }
    return best;
}

/* Traffic would keep the sessions to a worse host alive for ever. */
static void dest_probe_better(struct dest *d)
{
    if (d->n_connecting != 0 || dest_working(d) == d->n_idle || !client_has_room(d->client))
        return;
    unsigned best = dest_best_cost(d);
    if (best != UINT_MAX && hosts_has_better(d, best))
        session_open(d, true);
}

void dest_close_idle(struct dest *d)
{
    struct list_node *n;
    while ((n = list_first(&d->idle)) != NULL)
        session_close(CONTAINER_OF(n, struct session, idle_node), true);
}

static void dest_turn(struct loop_task *t)
{
    struct dest *d = CONTAINER_OF(t, struct dest, task);
    dest_report(d);
    dest_feed_idle(d);
    dest_feed_busy(d);
    dest_open_more(d);
    dest_probe_better(d);
    if (d->n_pending != 0)
        return;
    if (d->client->conf->smtp_client.idle_timeout_ms == 0)
        dest_close_idle(d);
    if (d->n_sessions == 0 && d->key.kind == DEST_MX)
        hosts_clear(d); /* the resolver has a cache; there may be many domains */
}

/* ---- from outside ---- */

/* The hosts may have changed: nothing new starts on the old ones. */
void dest_reconfigured(struct dest *d)
{
    d->open_after_ms = 0;
    d->n_outdated = d->n_sessions;
    dest_close_idle(d);
    LIST_FOREACH_SAFE (n, tmp, &d->sessions) {
        struct session *s = CONTAINER_OF(n, struct session, node);
        if (s->state < SESSION_READY)
            session_close(s, false);
        else
            session_outdate(s);
    }
    hosts_clear(d);
    dest_kick(d);
}
