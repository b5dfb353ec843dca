/*
 * output.c - see output.h. Two buffers change places: one is filled, the other is being written.
 */
#include "relay/ctl/output.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "base/mem.h"

#define HELD_MAX (256u << 20)

struct output {
    int fd;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct buf waiting, in_hand;
    bool ended, failed;
};

static bool write_all(int fd, const struct buf *b)
{
    for (size_t at = 0; at < b->n;) {
        ssize_t n = write(fd, b->p + at, b->n - at);
        if (n < 0 && errno != EINTR)
            return false;
        at += n > 0 ? (size_t)n : 0;
    }
    return true;
}

static void *run(void *arg)
{
    struct output *o = arg;
    pthread_mutex_lock(&o->lock);
    while (!o->ended || o->waiting.n != 0) {
        if (o->waiting.n == 0) {
            pthread_cond_wait(&o->changed, &o->lock);
            continue;
        }
        struct buf full = o->waiting;
        o->waiting = o->in_hand;
        o->in_hand = full;
        bool go_on = !o->failed;
        pthread_mutex_unlock(&o->lock);
        bool ok = go_on && write_all(o->fd, &o->in_hand);
        pthread_mutex_lock(&o->lock);
        buf_clear(&o->in_hand);
        o->failed = !ok;
        pthread_cond_broadcast(&o->changed);
    }
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

struct output *output_new(int fd)
{
    struct output *o = NEW(struct output);
    *o = (struct output){
        .fd = fd, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    buf_init(&o->waiting, SIZE_MAX / 2);
    buf_init(&o->in_hand, SIZE_MAX / 2);
    o->has_thread = pthread_create(&o->thread, NULL, run, o) == 0;
    return o;
}

bool output_put(struct output *o, struct buf *b)
{
    pthread_mutex_lock(&o->lock);
    while (o->has_thread && o->waiting.n > HELD_MAX && !o->failed)
        pthread_cond_wait(&o->changed, &o->lock);
    if (!o->has_thread)
        o->failed = o->failed || !write_all(o->fd, b);
    else if (!o->failed)
        (void)buf_append_str(&o->waiting, buf_str(b));
    bool ok = !o->failed;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
    buf_clear(b);
    return ok;
}

bool output_flush(struct output *o)
{
    pthread_mutex_lock(&o->lock);
    while (o->has_thread && (o->waiting.n != 0 || o->in_hand.n != 0))
        pthread_cond_wait(&o->changed, &o->lock);
    bool ok = !o->failed;
    pthread_mutex_unlock(&o->lock);
    return ok;
}

void output_free(struct output **op)
{
    struct output *o = *op;
    pthread_mutex_lock(&o->lock);
    o->ended = true;
    pthread_cond_broadcast(&o->changed);
    pthread_mutex_unlock(&o->lock);
    if (o->has_thread)
        pthread_join(o->thread, NULL);
    buf_free(&o->waiting);
    buf_free(&o->in_hand);
    mem_free(o);
    *op = NULL;
}
