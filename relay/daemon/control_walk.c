/*
 * control_walk.c - goes through the workers one after the other. A worker copies what its index
 * knows; envelopes are read here, on the main thread, which may wait for the disk.
 */
#include "relay/daemon/control_walk.h"

#include "base/clock.h"
#include "base/mem.h"
#include "relay/control/facts.h"

static bool note_seen(void *arg, const struct queue_msg_info *m)
{
    struct walk *w = arg;
    const struct control_filter *f = &w->args->filter;
    char dest[sizeof(m->dest)];
    if (!control_filter_info(f, m, w->now_ms) ||
        (f->dest != NULL && !queue_goes_to(w->queue, m->id, f->dest, dest, sizeof(dest))))
        return true;
    struct seen *s = &w->seen[w->n_seen++];
    s->info = *m;
    if (f->dest != NULL)
        memcpy(s->info.dest, dest, sizeof(dest));
    str_copy(str_c(m->last_reply != NULL ? m->last_reply : ""), s->last_reply,
             sizeof(s->last_reply));
    s->info.last_reply = s->last_reply;
    s->left = NULL;
    if (f->rcpt == NULL)
        return true;
    s->n_left = m->n_rcpt_left;
    s->left = mem_array(s->n_left + 1, sizeof(*s->left));
    queue_rcpts_left(w->queue, m->id, s->left, s->n_left);
    return true;
}

static void walk_ask(struct worker *worker, void *arg)
{
    struct walk *w = arg;
    w->queue = worker_queue(worker);
    w->at_end = !queue_list_some(w->queue, &w->cursor, WALK_PLACES, note_seen, w);
}

static void walk_done(void *arg);

static void walk_step(struct walk *w)
{
    if (w->worker == w->d->n_worker || control_is_gone(w->r)) {
        w->finish(w, w->worker == w->d->n_worker && !control_is_gone(w->r));
        mem_free(w->id);
        mem_free(w);
        return;
    }
    w->n_seen = 0;
    worker_call(w->d->worker[w->worker], walk_ask, w, loop_chan(w->d->loop), walk_done);
}

static void walk_ready(void *arg, struct control_req *r)
{
    (void)r;
    walk_step(arg);
}

/* True: go on. */
static bool walk_message(struct walk *w, const struct seen *m)
{
    const struct control_filter *f = &w->args->filter;
    bool needs = control_filter_needs_envelope(f);
    if (!needs && !w->wants_envelope)
        return w->take(w, m, NULL);
    struct err e;
    struct envelope env;
    struct arena a;
    struct spool_reader *r = spool_reader_open(w->d->spool, m->info.id, &e);
    if (r == NULL && e.class == ERR_INPUT)
        return true; /* gone meanwhile */
    arena_init(&a, 2048, 0);
    bool ok = r != NULL && envelope_decode(spool_reader_envelope(r), &a, &env, &e);
    bool more = true;
    w->unreadable += !ok;
    if (ok ? !needs || control_filter_envelope(f, &env, m->left, m->n_left) : !needs)
        more = w->take(w, m, ok ? &env : NULL);
    arena_free(&a);
    spool_reader_close(&r);
    return more;
}

static void walk_done(void *arg)
{
    struct walk *w = arg;
    bool more = true;
    w->must_wait = false;
    for (unsigned i = 0; i < w->n_seen && more; i++)
        more = walk_message(w, &w->seen[i]);
    for (unsigned i = 0; i < w->n_seen; i++)
        mem_free(w->seen[i].left);
    if (!more) {
        w->finish(w, false);
        mem_free(w->id);
        mem_free(w);
        return;
    }
    if (w->at_end) {
        w->worker++;
        w->cursor = 0;
    }
    if (w->must_wait)
        control_wait(w->r, walk_ready, w);
    else
        walk_step(w);
}

struct walk *walk_new(struct daemon *d, struct control_req *r, const struct control_args *args)
{
    struct walk *w = NEW(struct walk);
    w->d = d;
    w->r = r;
    w->args = args;
    w->now_ms = clock_wall_ms();
    w->recovering = recovery_is_running(d->recovery);
    return w;
}

void walk_start(struct walk *w)
{
    walk_step(w);
}
