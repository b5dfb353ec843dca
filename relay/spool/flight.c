/*
 * flight.c - several commits under way at a time, where a sync takes long.
 *
 * With one commit at a time a message that arrives waits for the sync that runs, then for its own.
 * On a disk whose sync takes milliseconds the processors stand still meanwhile. So the commit
 * thread gives a batch that is written to one of a few syncers, and gathers and writes the next.
 * No timer here either: a batch leaves as soon as there is one and a syncer is free.
 *
 * Batches end in the order of the log: a later one is answered only after the earlier ones, and
 * fails with them, because recovery stops at the first record that is not valid. Each syncer has a
 * descriptor of its own, opened before anything is written that it is to sync: the kernel tells
 * an error of writing back once to each open file, so none can take another's.
 *
 * Only plain messages travel so. Copies, embedded and forwarded marks, a change of segment and
 * whatever else depends on the state of the log wait until nothing is under way. Commit thread, but
 * for syncer_main().
 */
#include "relay/spool/flight.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define SLOW_US 1000 /* syncs that take longer: several at a time */
#define MEMORY  8    /* of about so many syncs */

_Atomic int flight_slow_us = SLOW_US;

void node_is_flight(struct chan_node *n)
{
    ASSERT(n == NULL);
}

void flight_note_sync(struct commit *c, int64_t us)
{
    int slow = atomic_load_explicit(&flight_slow_us, memory_order_relaxed);
    c->sync_us += (us - c->sync_us) / MEMORY;
    /* once begun it goes on until syncs are clearly quick again */
    c->slow = c->sync_us >= (c->slow ? slow / 2 : slow);
}

/* ---- the syncers ---- */

static void *syncer_main(void *arg)
{
    struct flight *f = arg;
    struct chan_node *n;
    for (;;) {
        while ((n = chan_take(f->in)) == NULL)
            chan_wait(f->in, -1);
        if (n == &f->stop)
            return NULL;
        int64_t began = clock_mono_ns();
        f->ok = batch_sync(f->spool, f->g, f->fd, &f->err);
        f->took_us = (clock_mono_ns() - began) / 1000;
        f->node.run = node_is_flight;
        chan_send(f->spool->commit.in, &f->node);
    }
}

void flights_init(struct spool *s)
{
    for (unsigned i = 0; i < FLIGHTS; i++) {
        struct flight *f = &s->commit.flight[i];
        f->spool = s;
        f->fd = -1;
        f->batch = batch_new();
        f->in = chan_new();
    }
}

void flights_free(struct spool *s)
{
    for (unsigned i = 0; i < FLIGHTS; i++) {
        struct flight *f = &s->commit.flight[i];
        if (f->has_thread) {
            chan_send(f->in, &f->stop);
            pthread_join(f->thread, NULL);
        }
        batch_free(&f->batch);
        chan_free(&f->in);
    }
}

/* ---- readiness ---- */

static bool make_ready(struct spool *s, struct flight *f)
{
    char path[PATH_MAX];
    if (!f->has_thread)
        f->has_thread = thread_start(&f->thread, syncer_main, f);
    if (f->has_thread && f->fd < 0)
        f->fd = s->ops->open(segment_path(s, path, s->commit.active->slot), O_RDWR | O_CLOEXEC, 0);
    return f->has_thread && f->fd >= 0;
}

/* Their descriptors would not be told of what went wrong before they were there. */
static bool all_ready(struct spool *s)
{
    struct commit *c = &s->commit;
    bool ready = true;
    for (unsigned i = 0; i < FLIGHTS && ready; i++)
        ready = (c->flight[i].fd >= 0 || c->unsynced.n == 0) && make_ready(s, &c->flight[i]);
    return ready;
}

bool flight_is_wanted(struct spool *s)
{
    struct commit *c = &s->commit;
    return c->slow && c->active != NULL && c->active->begun && !c->emergency &&
           c->forwards == NULL && c->head != NULL && node_is_plain(c->head) && all_ready(s);
}

bool flights_are_full(const struct commit *c)
{
    return c->n_flight == FLIGHTS;
}

void flights_leave_segment(struct spool *s)
{
    ASSERT(s->commit.n_flight == 0);
    for (unsigned i = 0; i < FLIGHTS; i++) {
        struct flight *f = &s->commit.flight[i];
        if (f->fd >= 0)
            s->ops->close(f->fd);
        f->fd = -1;
    }
}

/* ---- under way ---- */

/* The n-th of those under way, oldest first. */
static struct flight *flight_at(struct commit *c, unsigned n)
{
    return &c->flight[(c->first_flight + n) % FLIGHTS];
}

void flight_start(struct spool *s)
{
    struct commit *c = &s->commit;
    struct flight *f = flight_at(c, c->n_flight++);
    struct batch *idle = f->batch;
    f->batch = c->batch;
    c->batch = idle;
    f->g = c->active;
    f->back = false;
    f->marks = c->unsynced.n;
    for (unsigned i = 0; i + 1 < c->n_flight; i++)
        f->marks -= flight_at(c, i)->marks;
    chan_send(f->in, &f->node);
}

void flight_back(struct chan_node *n)
{
    CONTAINER_OF(n, struct flight, node)->back = true;
}

static void end_first(struct spool *s)
{
    struct commit *c = &s->commit;
    struct flight *f = flight_at(c, 0);
    c->first_flight = (c->first_flight + 1) % FLIGHTS;
    c->n_flight--;
    batch_synced(s, c->active, f->batch->end);
    c->unsynced.n -= f->marks;
    if (c->unsynced.n != 0)
        memmove(c->unsynced.v, c->unsynced.v + f->marks, c->unsynced.n * sizeof(*c->unsynced.v));
    c->dirty_since_ms = c->unsynced.n != 0 ? clock_mono_ms() | 1 : 0; /* the rest is younger */
    flight_note_sync(c, f->took_us);
    commit_succeeded(s, f->batch);
}

static bool all_are_back(struct commit *c)
{
    for (unsigned i = 0; i < c->n_flight; i++)
        if (!flight_at(c, i)->back)
            return false;
    return true;
}

static void wait_for_one(struct spool *s)
{
    chan_wait(s->commit.in, -1);
    commit_gather(s);
}

/* The first has failed: those behind it in the log have, too, whatever their syncs said. */
static void fail_all(struct spool *s)
{
    struct commit *c = &s->commit;
    unsigned n = c->n_flight;
    while (!all_are_back(c))
        wait_for_one(s);
    struct err e = flight_at(c, 0)->err;
    c->n_flight = 0;
    commit_segment_failed(s, &e);
    for (unsigned i = 0; i < n; i++)
        commit_refuse(s, flight_at(c, i)->batch, &e);
}

void flights_settle(struct spool *s)
{
    struct commit *c = &s->commit;
    while (c->n_flight != 0 && flight_at(c, 0)->back) {
        if (flight_at(c, 0)->ok)
            end_first(s);
        else
            fail_all(s);
    }
}

bool flights_land(struct spool *s)
{
    struct commit *c = &s->commit;
    const struct segment *g = c->active;
    flights_settle(s);
    while (c->n_flight != 0) {
        wait_for_one(s);
        flights_settle(s);
    }
    return c->active == g;
}
