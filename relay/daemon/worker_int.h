/*
 * worker_int.h - what the worker's files share.
 */
#ifndef RELAY_DAEMON_WORKER_INT_H
#define RELAY_DAEMON_WORKER_INT_H

#include <pthread.h>

#include "relay/daemon/worker.h"
#include "relay/io/listener.h"
#include "relay/io/resolver.h"

struct worker_listener {
    struct worker *w;
    unsigned index; /* of the configuration's listener */
    struct listener *listener;
};

struct worker {
    unsigned index;
    struct worker_deps deps;
    struct conf *conf;
    pthread_t thread;
    bool running;
    struct loop *loop;
    struct resolver *resolver;
    struct smtpc *smtpc;
    struct smtpd *smtpd;
    struct queue *queue;
    struct dir_view *view;
    unsigned n_listener;
    struct worker_listener *listener;
    unsigned reports;            /* in the hands of the spool */
    struct list waiting_reports; /* that could not be written (report.c) */
    unsigned n_waiting_reports;
    bool stopping;
    int64_t stop_by_ms;
    struct loop_timer stop_timer;
};

/* The newest view; valid until the callback in hand returns. */
const struct dir_view *worker_view(struct worker *w);

/* worker_queue.c: what the queue asks for. */
struct queue_ops worker_queue_ops(struct worker *w);
struct queue_conf worker_queue_conf(const struct conf *c);

/* report.c: delivery status notifications; see struct queue_ops.report. */
void worker_report(struct worker *w, uint64_t id, const struct envelope *env,
                   enum queue_report kind, const struct queue_end *ends, unsigned n, void *token);
unsigned worker_report_fits(const struct worker *w, const struct envelope *env,
                            const struct queue_end *ends, unsigned n);
/* Gives up those that wait. */
void worker_reports_free(struct worker *w);

#endif
