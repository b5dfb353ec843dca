/*
 * worker.c - the life of a worker: made on the main thread, runs on its own, ends there.
 *
 * Start: worker_new() builds the parts from the bottom up; the thread only runs the loop. Stop:
 * listeners close, sessions that are idle are told 421, transactions and deliveries in hand finish,
 * appends in the spool come back; when nothing is left, or the bound has passed, the loop stops and
 * the parts are freed from the top down, on the worker's thread. What sources and the recovery tell
 * it later is taken when the worker is freed, and finds no queue.
 */
#include "relay/daemon/worker_int.h"

#include <stddef.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"

#define STOP_POLL_MS 20

const struct dir_view *worker_view(struct worker *w)
{
    if (w->view == NULL ||
        directory_generation(w->deps.directory) != dir_view_generation(w->view)) {
        dir_view_unref(&w->view);
        w->view = directory_view(w->deps.directory);
    }
    return w->view;
}

static const struct dir_view *view_for_smtpd(void *ctx)
{
    return worker_view(ctx);
}

static void accepted(void *ctx, uint64_t id, struct str envelope, uint64_t size, bool eightbit)
{
    struct worker *w = ctx;
    queue_add(w->queue, id, envelope, size, eightbit);
}

static void on_accept(void *arg, int fd, const struct sockaddr_storage *peer)
{
    struct worker_listener *l = arg;
    smtpd_accept(l->w->smtpd, l->index, fd, peer);
}

/* ---- start ---- */

static bool make_parts(struct worker *w, struct err *e)
{
    struct conf *c = w->conf;
    const struct resolver_conf rc = {
        .servers = c->dns.servers[0] != '\0' ? c->dns.servers : NULL,
        .timeout_ms = (int)c->dns.timeout_ms,
        .tries = (int)c->dns.tries,
        .cache_entries = c->dns.cache_entries,
        .ttl_min_s = c->dns.ttl_min_s,
        .ttl_max_s = c->dns.ttl_max_s,
        .ttl_negative_s = c->dns.ttl_negative_s,
    };
    w->loop = loop_new(e);
    if (w->loop == NULL)
        return false;
    w->resolver = resolver_new(w->loop, &rc, e);
    if (w->resolver == NULL)
        return false;
    w->smtpc = smtpc_new(w->loop, c, w->resolver, w->deps.spool);
    struct queue_conf qc = worker_queue_conf(c);
    struct queue_ops qo = worker_queue_ops(w);
    w->queue = queue_new(w->loop, &qc, &qo);
    const struct smtpd_ops so = {.ctx = w, .view = view_for_smtpd, .accepted = accepted};
    w->smtpd = smtpd_new(w->loop, c, w->deps.spool, w->deps.clients, &so);
    return true;
}

static void free_parts(struct worker *w)
{
    worker_reports_free(w);
    for (unsigned i = 0; i < w->n_listener; i++)
        if (w->listener[i].listener != NULL)
            listener_free(&w->listener[i].listener);
    mem_free(w->listener);
    if (w->smtpd != NULL)
        smtpd_free(&w->smtpd);
    if (w->queue != NULL)
        queue_free(&w->queue);
    if (w->smtpc != NULL)
        smtpc_free(&w->smtpc);
    if (w->resolver != NULL)
        resolver_free(&w->resolver);
    if (w->view != NULL)
        dir_view_unref(&w->view);
    conf_unref(&w->conf);
}

static void on_stop_timer(struct loop_timer *t);

struct worker *worker_new(unsigned index, const struct worker_deps *deps,
                          const struct worker_socket *sockets, unsigned n, struct err *e)
{
    struct worker *w = NEW(struct worker);
    w->index = index;
    w->deps = *deps;
    w->conf = conf_ref(deps->conf);
    list_init(&w->waiting_reports);
    if (!make_parts(w, e)) {
        free_parts(w);
        worker_free(&w);
        return NULL;
    }
    loop_timer_init(&w->stop_timer, w->loop, on_stop_timer);
    w->listener = mem_array(n, sizeof(*w->listener));
    w->n_listener = n;
    for (unsigned i = 0; i < n; i++) {
        struct worker_listener *l = &w->listener[i];
        *l = (struct worker_listener){.w = w, .index = sockets[i].listener};
        l->listener = listener_new(w->loop, sockets[i].fd, on_accept, l);
    }
    return w;
}

static void *run(void *arg)
{
    struct worker *w = arg;
    loop_run(w->loop);
    while (smtpd_commits(w->smtpd) != 0 || w->reports != 0)
        loop_turn(w->loop, 100); /* begun in the very turn that decided to stop */
    while (chan_drain(loop_chan(w->loop)) != 0) {
    }
    free_parts(w);
    log_flush();
    return NULL;
}

bool worker_start(struct worker *w, struct err *e)
{
    char name[16];
    int rc = pthread_create(&w->thread, NULL, run, w);
    if (rc != 0)
        return err_set(e, ERR_SYSTEM, rc, "cannot start worker thread %u", w->index);
    snprintf(name, sizeof(name), "worker-%u", w->index % 1000);
    pthread_setname_np(w->thread, name);
    w->running = true;
    return true;
}

void worker_join(struct worker *w)
{
    if (w->running)
        pthread_join(w->thread, NULL);
    else
        free_parts(w);
    w->running = false;
}

void worker_free(struct worker **wp)
{
    struct worker *w = *wp;
    if (w == NULL)
        return;
    if (w->loop != NULL) {
        chan_drain(loop_chan(w->loop)); /* the large thread's last words */
        loop_free(&w->loop);
    }
    mem_free(w);
    *wp = NULL;
}

/* ---- calls from other threads ---- */

struct call {
    struct chan_node node;
    struct worker *w;
    worker_call_fn *fn;
    worker_done_fn *done;
    void *arg;
    struct chan *back;
};

static void run_done(struct chan_node *n)
{
    struct call *c = CONTAINER_OF(n, struct call, node);
    c->done(c->arg);
    mem_free(c);
}

static void run_call(struct chan_node *n)
{
    struct call *c = CONTAINER_OF(n, struct call, node);
    c->fn(c->w, c->arg);
    if (c->back == NULL) {
        mem_free(c);
        return;
    }
    c->node.run = run_done;
    chan_send(c->back, &c->node);
}

void worker_call(struct worker *w, worker_call_fn *fn, void *arg, struct chan *back,
                 worker_done_fn *done)
{
    struct call *c = NEW(struct call);
    *c = (struct call){.w = w, .fn = fn, .done = done, .arg = arg, .back = back};
    c->node.run = run_call;
    chan_send(loop_chan(w->loop), &c->node);
}

struct queue *worker_queue(struct worker *w)
{
    return w->queue;
}

struct smtpc *worker_smtpc(struct worker *w)
{
    return w->smtpc;
}

unsigned worker_index(const struct worker *w)
{
    return w->index;
}

static void do_reload(struct worker *w, void *arg)
{
    struct conf *c = arg;
    struct queue_conf qc = worker_queue_conf(c);
    conf_unref(&w->conf);
    w->conf = c; /* the reference that came with the call */
    smtpd_reconfigure(w->smtpd, c);
    smtpc_reconfigure(w->smtpc, c);
    queue_reconfigure(w->queue, &qc);
}

void worker_reload(struct worker *w, struct conf *conf)
{
    worker_call(w, do_reload, conf_ref(conf), NULL, NULL);
}

static void do_directory_changed(struct worker *w, void *arg)
{
    struct dir_change *c = arg;
    if (w->queue != NULL)
        queue_directory_changed(w->queue, c->key_hash, c->n, c->everything);
    mem_free(c);
}

void worker_directory_changed(struct worker *w, const struct dir_change *c)
{
    struct dir_change *copy = mem_alloc(sizeof(*copy) + c->n * sizeof(uint64_t));
    uint64_t *hash = (uint64_t *)(copy + 1);
    *copy = *c;
    if (c->n != 0)
        memcpy(hash, c->key_hash, c->n * sizeof(uint64_t));
    copy->key_hash = hash;
    worker_call(w, do_directory_changed, copy, NULL, NULL);
}

/* ---- stop ---- */

static bool is_quiet(const struct worker *w)
{
    return smtpd_sessions(w->smtpd) == 0 && smtpd_leaving(w->smtpd) == 0 &&
           smtpd_commits(w->smtpd) == 0 && queue_in_hand(w->queue) == 0 && w->reports == 0;
}

/* Past the bound deliveries are cut, and repeated at the next start. (Inbound sessions were told
 * before.) What the spool has in hand is always waited for: it comes back in the time of a sync. */
static bool may_cut(const struct worker *w)
{
    return loop_now_ms(w->loop) >= w->stop_by_ms && smtpd_commits(w->smtpd) == 0 && w->reports == 0;
}

static void on_stop_timer(struct loop_timer *t)
{
    struct worker *w = CONTAINER_OF(t, struct worker, stop_timer);
    if (loop_now_ms(w->loop) >= w->stop_by_ms - SMTPD_LINGER_MS)
        smtpd_hang_up(w->smtpd);
    if (is_quiet(w) || may_cut(w)) {
        if (!is_quiet(w))
            LOG(WARN, NULL, "worker-cut", LU("worker", w->index),
                LU("sessions", smtpd_sessions(w->smtpd)), LU("in_hand", queue_in_hand(w->queue)));
        loop_stop(w->loop);
        return;
    }
    loop_timer_set(t, STOP_POLL_MS);
}

static void do_stop(struct worker *w, void *arg)
{
    int64_t *timeout_ms = arg;
    w->stop_by_ms = loop_now_ms(w->loop) + *timeout_ms;
    mem_free(timeout_ms);
    if (w->stopping)
        return;
    w->stopping = true;
    for (unsigned i = 0; i < w->n_listener; i++)
        listener_free(&w->listener[i].listener);
    smtpd_drain(w->smtpd);
    queue_drain(w->queue);
    smtpc_close_idle(w->smtpc);
    loop_timer_set(&w->stop_timer, 0);
}

void worker_stop(struct worker *w, int64_t timeout_ms)
{
    if (!w->running)
        return;
    int64_t *arg = NEW(int64_t);
    *arg = timeout_ms;
    worker_call(w, do_stop, arg, NULL, NULL);
}
