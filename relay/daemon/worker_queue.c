/*
 * worker_queue.c - what the queue asks of the outside: envelopes from the spool, decisions from
 * directory and configuration, marks, reports, deliveries. This is where the level-4 modules meet,
 * which do not know each other.
 */
#include "relay/daemon/worker_int.h"

#include "relay/route/route.h"

static bool load(void *ctx, uint64_t id, struct buf *out, bool *gone)
{
    struct worker *w = ctx;
    struct err e = {0};
    struct spool_reader *r = spool_reader_open(w->deps.spool, id, &e);
    *gone = r == NULL && e.class != ERR_SYSTEM; /* damaged, or set aside and removed since */
    if (r == NULL)
        return false;
    bool ok = buf_append_str(out, spool_reader_envelope(r));
    spool_reader_close(&r);
    return ok;
}

static void decide(void *ctx, const struct envelope *env, uint32_t index, struct str refused_by,
                   struct arena *a, struct decision *out)
{
    struct worker *w = ctx;
    const struct dir_view *view = worker_view(w);
    const struct route_query q = {
        .conf = dir_view_conf(view),
        .view = view,
        .now_ms = loop_now_ms(w->loop),
        .recipient = env->rcpt[index].address,
        .sender = env->sender,
        .origin = env->origin,
        .origin_name = env->origin_name,
        .refused_by = refused_by,
    };
    route_decide(&q, a, NULL, out);
    /* Slices may point into the view or the configuration, which a later generation replaces. */
    out->dest.name = arena_str(a, out->dest.name);
    out->address = arena_str(a, out->address);
}

static uint64_t generation(void *ctx)
{
    struct worker *w = ctx;
    return directory_generation(w->deps.directory);
}

static void mark(void *ctx, uint64_t id, const uint32_t *rcpt, unsigned n, int kind)
{
    struct worker *w = ctx;
    struct spool_mark few[64];
    while (n != 0) {
        unsigned k = n < 64 ? n : 64;
        for (unsigned i = 0; i < k; i++)
            few[i] = (struct spool_mark){.id = id, .rcpt = rcpt[i], .kind = kind};
        spool_mark(w->deps.spool, few, k);
        rcpt += k;
        n -= k;
    }
}

static void report(void *ctx, uint64_t id, const struct envelope *env, enum queue_report kind,
                   const struct queue_end *ends, unsigned n, void *token)
{
    worker_report(ctx, id, env, kind, ends, n, token);
}

static unsigned report_fits(void *ctx, const struct envelope *env, const struct queue_end *ends,
                            unsigned n)
{
    return worker_report_fits(ctx, env, ends, n);
}

struct queue_ops worker_queue_ops(struct worker *w)
{
    return (struct queue_ops){
        .ctx = w,
        .load = load,
        .decide = decide,
        .generation = generation,
        .mark = mark,
        .report = report,
        .report_fits = report_fits,
        .transport = smtpc_transport(w->smtpc),
        .pace = w->deps.pace,
        .underway = w->deps.underway,
    };
}

struct queue_conf worker_queue_conf(const struct conf *c)
{
    return (struct queue_conf){
        .retry_min_ms = c->queue.retry_min_ms,
        .retry_max_ms = c->queue.retry_max_ms,
        .expire_ms = c->queue.expire_ms,
        .expire_dsn_ms = c->queue.expire_dsn_ms,
        .delay_notice_ms = c->queue.delay_notice_ms,
        .active_max = c->queue.active_max,
        .window_initial = c->queue.window_initial,
        .window_max = c->queue.window_max,
        .ready_max = c->queue.ready_max,
        .rcpt_per_delivery_max = c->queue.rcpt_per_delivery_max,
        .dest_backoff_min_ms = c->queue.dest_backoff_min_ms,
        .dest_backoff_max_ms = c->queue.dest_backoff_max_ms,
        .retry_other_claimant = c->retry_other_claimant,
    };
}
