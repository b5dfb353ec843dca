/*
 * job.h - one background thread for what a control request has to wait for: a write to a directory
 * server, a walk over five million entries. Jobs run one after the other in the order given.
 *
 * All calls are made on the main thread unless said otherwise. A job owns what `arg` points to
 * while `run` is at work; nobody else may look at it. `done` gets it back on the main thread, once
 * and always: it answers the request (whose client may have gone: that needs no care here, see
 * control.h) and frees arg.
 */
#ifndef RELAY_DAEMON_JOB_H
#define RELAY_DAEMON_JOB_H

#include <stdbool.h>

#include "base/chan.h"
#include "base/err.h"

#define JOBS_MAX 16 /* waiting and running */

struct jobs;

/* On the background thread. May block; a job of many steps looks at jobs_must_stop() between two of
 * them, so that the daemon does not stop late. */
typedef void job_run_fn(struct jobs *j, void *arg);
/* ran false: the daemon stops and the job was never begun. */
typedef void job_done_fn(void *arg, bool ran);

/* `back`: the main loop's channel. The thread starts with the first job. */
struct jobs *jobs_new(struct chan *back);
/* False, and nothing was taken: JOBS_MAX are under way, or there is no thread. *e says which. */
bool job_run(struct jobs *j, job_run_fn *run, job_done_fn *done, void *arg, struct err *e);
/* From the background thread: stop after the step in hand. */
bool jobs_must_stop(const struct jobs *j);
/* Does not wait: what jobs_free() waits for ends soon. */
void jobs_ask_stop(struct jobs *j);
/* Waits for the job that runs now. The `done` of all that are left are in the main loop's channel
 * then, which the caller drains (they do not touch the jobs). */
void jobs_free(struct jobs **j);

#endif
