/*
 * large.c - messages too big for the log: their content goes to large/ID on a thread of its own,
 * with at most one megabyte waiting per message, besides what the caller had gathered before it
 * began. When the append is submitted the file is synced, then the folder, then the commit thread
 * logs the record that names it; so a living record always has its file. A file whose append failed
 * or was dropped is removed; what a crash leaves behind recovery removes. A write error is kept and
 * shows at the append's result.
 *
 * A struct spool_large belongs to the caller's thread and to the large thread in turn; it is freed
 * when both are done with it and no ready() is on its way.
 */
#include "relay/spool/spool_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"

#define BACKLOG_MAX     (1024u * 1024)
#define BACKLOG_ALL_MAX (64u << 20) /* of all messages: past it each waits for its own chunk */

struct spool_large {
    struct spool *s;
    uint64_t id;
    struct chan *reply_to;
    spool_large_ready_fn *ready;
    void *arg;
    bool dead;                   /* caller's thread: submitted or aborted */
    struct chan_node ready_node; /* to the caller */
    struct chan_node end_node;   /* abort, to the large thread */

    pthread_mutex_t lock;
    size_t backlog; /* bytes given and not yet written */
    bool waiting;   /* the caller was told to wait */
    bool ready_sent, finished;

    /* large thread only */
    int fd;
    uint64_t size;
    struct hash_state *hash;
    struct err err;
};

struct chunk {
    struct chan_node node;
    struct spool_large *l;
    size_t n;
    char bytes[];
};
struct removal {
    struct chan_node node;
    struct spool *s;
    uint64_t *ids;
    size_t n;
};

static void large_destroy(struct spool_large *l)
{
    pthread_mutex_destroy(&l->lock);
    hash_state_free(&l->hash);
    mem_free(l);
}

/* ---- caller's thread ---- */

static void run_ready(struct chan_node *n)
{
    struct spool_large *l = CONTAINER_OF(n, struct spool_large, ready_node);
    pthread_mutex_lock(&l->lock);
    l->ready_sent = false;
    bool finished = l->finished, go_on = !l->waiting || l->backlog == 0;
    if (go_on)
        l->waiting = false;
    pthread_mutex_unlock(&l->lock);
    if (finished)
        large_destroy(l);
    else if (!l->dead && go_on) /* else more was given meanwhile, and its end will tell */
        l->ready(l->arg);
}

struct spool_large *spool_large_new(struct spool *s, uint64_t id, struct chan *reply_to,
                                    spool_large_ready_fn *ready, void *arg)
{
    struct spool_large *l = NEW(struct spool_large);
    l->s = s;
    l->id = id;
    l->reply_to = reply_to;
    l->ready = ready;
    l->arg = arg;
    l->fd = -1;
    l->hash = hash_state_new();
    hash_state_reset(l->hash, id);
    pthread_mutex_init(&l->lock, NULL);
    return l;
}

static void run_chunk(struct chan_node *n);
static void run_abort(struct chan_node *n);
static void run_submit(struct chan_node *n);
static void run_removal(struct chan_node *n);

bool spool_large_write(struct spool_large *l, const void *p, size_t n)
{
    struct chunk *c = mem_alloc(sizeof(*c) + n);
    c->node.run = run_chunk;
    c->l = l;
    c->n = n;
    memcpy(c->bytes, p, n);
    uint64_t all = atomic_fetch_add(&l->s->large_backlog, n) + n;
    pthread_mutex_lock(&l->lock);
    l->backlog += n;
    if (l->backlog >= BACKLOG_MAX || all > BACKLOG_ALL_MAX)
        l->waiting = true;
    bool go_on = !l->waiting;
    pthread_mutex_unlock(&l->lock);
    chan_send(l->s->large_in, &c->node);
    return go_on;
}

void spool_large_abort(struct spool_large **l)
{
    struct spool_large *gone = *l;
    if (gone == NULL)
        return;
    *l = NULL;
    gone->dead = true;
    gone->end_node.run = run_abort;
    chan_send(gone->s->large_in, &gone->end_node);
}

/* What goes through the large thread: the append and where its own completion is kept meanwhile. */
struct submission {
    struct chan_node node;
    struct spool_append *a;
};

void large_submit(struct spool *s, struct spool_append *a)
{
    struct submission *sub = NEW(struct submission);
    a->large->dead = true;
    sub->node.run = run_submit;
    sub->a = a;
    chan_send(s->large_in, &sub->node);
}

/* ---- large thread ---- */

static void large_finish(struct spool_large *l)
{
    pthread_mutex_lock(&l->lock);
    l->finished = true;
    bool last = !l->ready_sent;
    pthread_mutex_unlock(&l->lock);
    if (last)
        large_destroy(l);
}

static bool open_file(struct spool_large *l)
{
    char path[PATH_MAX];
    if (l->fd >= 0)
        return true;
    spool_large_path(l->s, path, l->id);
    l->fd = l->s->ops->open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    return l->fd >= 0 || err_set(&l->err, ERR_SYSTEM, errno, "cannot create %s", path);
}

static void close_and_remove(struct spool_large *l)
{
    char path[PATH_MAX];
    if (l->fd < 0)
        return;
    l->s->ops->close(l->fd);
    l->fd = -1;
    l->s->ops->unlink(spool_large_path(l->s, path, l->id));
}

static void run_chunk(struct chan_node *n)
{
    struct chunk *c = CONTAINER_OF(n, struct chunk, node);
    struct spool_large *l = c->l;
    struct iovec iov = {.iov_base = c->bytes, .iov_len = c->n};
    if (l->err.class == ERR_NONE && open_file(l) &&
        file_write_all(l->s->ops, l->fd, &iov, 1, (off_t)l->size, &l->err)) {
        hash_state_add(l->hash, c->bytes, c->n);
        l->size += c->n;
    }
    atomic_fetch_sub(&l->s->large_backlog, c->n);
    pthread_mutex_lock(&l->lock);
    l->backlog -= c->n;
    bool tell = l->waiting && l->backlog == 0 && !l->ready_sent;
    if (tell) {
        l->waiting = false;
        l->ready_sent = true;
    }
    pthread_mutex_unlock(&l->lock);
    if (tell) {
        l->ready_node.run = run_ready;
        chan_send(l->reply_to, &l->ready_node);
    }
    mem_free(c);
}

static void run_abort(struct chan_node *n)
{
    struct spool_large *l = CONTAINER_OF(n, struct spool_large, end_node);
    close_and_remove(l);
    large_finish(l);
}

static bool make_durable(struct spool_large *l, uint64_t content_size)
{
    char dir[PATH_MAX];
    if (l->err.class != ERR_NONE || !open_file(l))
        return false;
    if (l->size != content_size)
        return err_set(&l->err, ERR_INPUT, 0, "%llu octets were announced and %llu written",
                       (unsigned long long)content_size, (unsigned long long)l->size);
    int r = l->s->ops->fdatasync(l->fd);
    int why = errno;
    stats_inc(STAT_spool_syncs);
    if (r != 0) {
        stats_inc(STAT_spool_sync_errors);
        err_set(&l->err, ERR_SYSTEM, why, "cannot sync a large message");
        spool_fault(l->s, "spool-write-failed", &l->err);
        return false;
    }
    return file_sync_dir(l->s->ops, spool_path(l->s, dir, "large", ""), &l->err);
}

static void run_submit(struct chan_node *n)
{
    struct submission *sub = CONTAINER_OF(n, struct submission, node);
    struct spool_append *a = sub->a;
    struct spool_large *l = a->large;
    mem_free(sub);
    a->is_large = true;
    bool ok = make_durable(l, a->content_size);
    a->content_sum = hash_state_end(l->hash);
    if (ok) {
        l->s->ops->close(l->fd);
        l->fd = -1;
        commit_send(l->s, &a->node);
    } else {
        close_and_remove(l);
        bool space = l->err.errnum == ENOSPC || l->err.errnum == EDQUOT;
        if (space)
            keeper_wake(l->s);
        a->result = space ? SPOOL_NO_SPACE : SPOOL_IO_ERROR;
        a->err = l->err;
        chan_send(a->reply_to, &a->node);
    }
    large_finish(l);
}

static void remove_files(struct spool *s, const uint64_t *ids, size_t n)
{
    char path[PATH_MAX];
    for (size_t i = 0; i < n; i++)
        s->ops->unlink(spool_large_path(s, path, ids[i]));
}

static void run_removal(struct chan_node *n)
{
    struct removal *r = CONTAINER_OF(n, struct removal, node);
    remove_files(r->s, r->ids, r->n);
    mem_free(r->ids);
    mem_free(r);
}

void large_remove(struct spool *s, uint64_t *ids, size_t n)
{
    if (atomic_load(&s->large_ended)) { /* closing: the large thread has done its last */
        remove_files(s, ids, n);
        mem_free(ids);
        return;
    }
    struct removal *r = NEW(struct removal);
    r->node.run = run_removal;
    r->s = s;
    r->ids = ids;
    r->n = n;
    chan_send(s->large_in, &r->node);
}

static void run_stop(struct chan_node *n)
{
    struct spool *s = CONTAINER_OF(n, struct spool, large_stop);
    atomic_store(&s->large_ended, true);
}

void *large_main(void *arg)
{
    struct spool *s = arg;
    s->large_stop.run = run_stop;
    while (!atomic_load(&s->large_ended)) {
        chan_wait(s->large_in, -1);
        chan_drain(s->large_in);
        log_flush();
    }
    return NULL;
}
