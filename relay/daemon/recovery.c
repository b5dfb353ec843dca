/*
 * recovery.c - reads the spool once, on its own thread, and hands what lives to the workers in
 * batches: one channel message per some hundred mails, so that a million of them costs neither time
 * nor memory. Messages go to the workers in turn; any worker can deliver any message.
 */
#include "relay/daemon/recovery.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/log.h"
#include "base/mem.h"

#define BATCH_MESSAGES 256
#define BATCH_BYTES    (64u << 20)

struct item {
    uint64_t id, content_size;
    uint32_t env_off, env_n, done_off, done_n;
    bool held, delay_notified, content_8bit;
};

struct batch {
    unsigned n;
    struct item item[BATCH_MESSAGES];
    struct buf bytes; /* envelopes and bitmaps */
};

struct recovery {
    struct spool *spool;
    struct worker **workers;
    unsigned n_worker, next;
    struct batch *batch;
    pthread_t thread;
    struct spool_recovery_stats stats;
    bool ok;
    _Atomic uint64_t so_far; /* messages */
    _Atomic bool done;
};

static void take_batch(struct worker *w, void *arg)
{
    struct batch *b = arg;
    struct queue *q = worker_queue(w);
    for (unsigned i = 0; q != NULL && i < b->n; i++) { /* NULL: it has stopped */
        const struct item *m = &b->item[i];
        queue_add_recovered(q, m->id, str_n(b->bytes.p + m->env_off, m->env_n), m->content_size,
                            m->content_8bit, (const uint8_t *)b->bytes.p + m->done_off, m->held,
                            m->delay_notified);
    }
    buf_free(&b->bytes);
    mem_free(b);
}

static void send_batch(struct recovery *r)
{
    if (r->batch == NULL)
        return;
    worker_call(r->workers[r->next], take_batch, r->batch, NULL, NULL);
    r->next = (r->next + 1) % r->n_worker;
    r->batch = NULL;
}

/* The envelope's recipient count bounds the bitmap; it is read from the envelope itself by the
 * queue. */
static void found(void *arg, const struct spool_recovered *m)
{
    struct recovery *r = arg;
    if (r->batch == NULL) {
        r->batch = NEW(struct batch);
        buf_init(&r->batch->bytes, BATCH_BYTES);
    }
    struct batch *b = r->batch;
    size_t done_n = (m->n_rcpt + 7) / 8;
    struct item *i = &b->item[b->n];
    *i = (struct item){.id = m->id,
                       .content_size = m->content_size,
                       .env_off = (uint32_t)b->bytes.n,
                       .env_n = (uint32_t)m->envelope.n,
                       .done_off = (uint32_t)(b->bytes.n + m->envelope.n),
                       .done_n = (uint32_t)done_n,
                       .held = m->held,
                       .delay_notified = m->delay_notified,
                       .content_8bit = m->content_8bit};
    if (!buf_append_str(&b->bytes, m->envelope) || !buf_append(&b->bytes, m->rcpt_done, done_n)) {
        send_batch(r); /* full: this one begins the next */
        found(arg, m);
        return;
    }
    atomic_fetch_add_explicit(&r->so_far, 1, memory_order_relaxed);
    if (++b->n == BATCH_MESSAGES)
        send_batch(r);
}

static void *run(void *arg)
{
    struct recovery *r = arg;
    struct err e = {0};
    r->ok = spool_recover(r->spool, found, r, &r->stats, &e);
    send_batch(r);
    atomic_store_explicit(&r->done, true, memory_order_release);
    if (!r->ok)
        LOG(ERROR, NULL, "recovery-failed", LC("why", e.text));
    LOG(INFO, NULL, "recovered", LU("messages", r->stats.messages),
        LU("segments", r->stats.segments), LU("records", r->stats.records),
        LU("quarantined", r->stats.quarantined), LU("torn", r->stats.torn),
        LI("ms", r->stats.took_ms));
    log_flush();
    return NULL;
}

struct recovery *recovery_start(struct spool *s, struct worker **workers, unsigned n, struct err *e)
{
    struct recovery *r = NEW(struct recovery);
    r->spool = s;
    r->workers = workers;
    r->n_worker = n;
    int rc = pthread_create(&r->thread, NULL, run, r);
    if (rc != 0) {
        mem_free(r);
        err_set(e, ERR_SYSTEM, rc, "cannot start the recovery thread");
        return NULL;
    }
    pthread_setname_np(r->thread, "recovery");
    return r;
}

bool recovery_is_running(const struct recovery *r)
{
    return !atomic_load_explicit(&r->done, memory_order_acquire);
}

bool recovery_is_done(const struct recovery *r, struct spool_recovery_stats *stats, bool *ok)
{
    if (recovery_is_running(r)) {
        *stats = (struct spool_recovery_stats){
            .messages = atomic_load_explicit(&r->so_far, memory_order_relaxed)};
        return false;
    }
    *stats = r->stats;
    *ok = r->ok;
    return true;
}

void recovery_free(struct recovery **rp)
{
    struct recovery *r = *rp;
    if (r == NULL)
        return;
    pthread_join(r->thread, NULL);
    mem_free(r);
    *rp = NULL;
}
