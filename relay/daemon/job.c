/*
 * job.c - see job.h. One thread, two channels: jobs go to it through its own and come back through
 * the main loop's.
 *
 * The thread is woken for its end by a message that does nothing. What is in the channel then is
 * handed back without having been run, by the thread or by jobs_free().
 */
#include "relay/daemon/job.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"

/* Shared by jobs and what they leave in the main loop's channel at the end. */
struct count {
    unsigned under_way;
    bool closed; /* the jobs are gone: the last one back frees this */
};

struct jobs {
    struct chan *in, *back;
    pthread_t thread;
    bool started;
    _Atomic bool stopping;
    struct chan_node wake;
    struct count *count; /* main thread */
};

struct job {
    struct chan_node node;
    struct jobs *jobs; /* not valid any more when it comes back */
    struct count *count;
    job_run_fn *run;
    job_done_fn *done;
    void *arg;
    bool ran;
};

/* Main thread. */
static void job_back(struct chan_node *n)
{
    struct job j = *CONTAINER_OF(n, struct job, node);
    mem_free(CONTAINER_OF(n, struct job, node));
    if (--j.count->under_way == 0 && j.count->closed)
        mem_free(j.count);
    j.done(j.arg, j.ran);
}

static void job_take(struct chan_node *n)
{
    struct job *job = CONTAINER_OF(n, struct job, node);
    struct jobs *j = job->jobs;
    job->ran = !jobs_must_stop(j);
    if (job->ran) {
        job->run(j, job->arg);
        log_flush();
    }
    job->node.run = job_back;
    chan_send(j->back, &job->node);
}

static void nothing(struct chan_node *n)
{
    (void)n;
}

static void *thread(void *arg)
{
    struct jobs *j = arg;
    while (!jobs_must_stop(j)) {
        chan_wait(j->in, -1);
        chan_drain(j->in);
    }
    return NULL;
}

struct jobs *jobs_new(struct chan *back)
{
    struct jobs *j = NEW(struct jobs);
    j->in = chan_new();
    j->back = back;
    j->count = NEW(struct count);
    j->wake.run = nothing;
    atomic_init(&j->stopping, false);
    return j;
}

static bool start(struct jobs *j, struct err *e)
{
    int rc = j->started ? 0 : pthread_create(&j->thread, NULL, thread, j);
    if (rc != 0)
        return err_set(e, ERR_SYSTEM, rc, "cannot start the thread for slow requests");
    if (!j->started)
        pthread_setname_np(j->thread, "jobs");
    return j->started = true;
}

bool job_run(struct jobs *j, job_run_fn *run, job_done_fn *done, void *arg, struct err *e)
{
    if (j->count->under_way == JOBS_MAX)
        return err_set(e, ERR_BUSY, 0, "%d slow requests are under way already; try again later",
                       JOBS_MAX);
    if (!start(j, e))
        return false;
    struct job *job = NEW(struct job);
    *job = (struct job){
        .node.run = job_take, .jobs = j, .count = j->count, .run = run, .done = done, .arg = arg};
    j->count->under_way++;
    chan_send(j->in, &job->node);
    return true;
}

bool jobs_must_stop(const struct jobs *j)
{
    return atomic_load_explicit(&j->stopping, memory_order_acquire);
}

void jobs_ask_stop(struct jobs *j)
{
    atomic_store_explicit(&j->stopping, true, memory_order_release);
}

void jobs_free(struct jobs **jp)
{
    struct jobs *j = *jp;
    *jp = NULL;
    if (j == NULL)
        return;
    jobs_ask_stop(j);
    if (j->started) {
        chan_send(j->in, &j->wake);
        pthread_join(j->thread, NULL);
        chan_drain(j->in); /* sends back what the thread left */
    }
    chan_free(&j->in);
    if (j->count->under_way == 0)
        mem_free(j->count);
    else
        j->count->closed = true;
    mem_free(j);
}
