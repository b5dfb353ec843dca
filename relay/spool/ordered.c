/*
 * ordered.c - see the header. Helpers live as long as the call. If none can be started the caller
 * does all of it.
 */
#include "relay/spool/ordered.h"

#include <pthread.h>
#include <stdbool.h>
#include <unistd.h>

#include "base/mem.h"
#include "relay/spool/spool_int.h"

#define HELPERS_MAX 3

struct ordered {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    size_t n, ahead, next, consumed;
    bool *done;
    ordered_fn *run;
    void *arg;
};

static bool may_run_next(const struct ordered *o)
{
    return o->next < o->n && o->next < o->consumed + o->ahead;
}

/* Under the lock, which is given up meanwhile. */
static void run_next(struct ordered *o)
{
    size_t i = o->next++;
    pthread_mutex_unlock(&o->lock);
    o->run(o->arg, i);
    pthread_mutex_lock(&o->lock);
    o->done[i] = true;
    pthread_cond_broadcast(&o->changed);
}

static void *help(void *arg)
{
    struct ordered *o = arg;
    pthread_mutex_lock(&o->lock);
    while (o->next < o->n) {
        if (may_run_next(o))
            run_next(o);
        else
            pthread_cond_wait(&o->changed, &o->lock);
    }
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

static unsigned start_helpers(struct ordered *o, pthread_t *v)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned want = cpus < 2 ? 0 : cpus > HELPERS_MAX ? HELPERS_MAX : (unsigned)cpus - 1, n = 0;
    while (n < want && o->n > 1 && thread_start(&v[n], help, o))
        n++;
    return n;
}

void ordered_run(size_t n, size_t ahead, ordered_fn *run, ordered_fn *consume, void *arg)
{
    struct ordered o = {.n = n, .ahead = ahead, .run = run, .arg = arg};
    pthread_t helper[HELPERS_MAX];
    pthread_mutex_init(&o.lock, NULL);
    pthread_cond_init(&o.changed, NULL);
    o.done = mem_array(n + 1, sizeof(*o.done));
    unsigned helpers = start_helpers(&o, helper);
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_lock(&o.lock);
        while (!o.done[i]) {
            if (may_run_next(&o))
                run_next(&o);
            else
                pthread_cond_wait(&o.changed, &o.lock);
        }
        pthread_mutex_unlock(&o.lock);
        consume(arg, i);
        pthread_mutex_lock(&o.lock);
        o.consumed = i + 1;
        pthread_cond_broadcast(&o.changed);
        pthread_mutex_unlock(&o.lock);
    }
    for (unsigned i = 0; i < helpers; i++)
        pthread_join(helper[i], NULL);
    mem_free(o.done);
    pthread_cond_destroy(&o.changed);
    pthread_mutex_destroy(&o.lock);
}
