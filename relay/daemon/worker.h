/*
 * worker.h - one worker: a thread with an event loop that owns its listeners, inbound and outbound
 * sessions, resolver, and the queue of the messages that it accepted (or was given at recovery).
 *
 * Calls are made on the main thread unless said otherwise. Other threads reach a worker only
 * through worker_call() and the functions made of it.
 */
#ifndef RELAY_DAEMON_WORKER_H
#define RELAY_DAEMON_WORKER_H

#include "conf/conf.h"
#include "directory/directory.h"
#include "relay/io/loop.h"
#include "relay/queue/queue.h"
#include "relay/smtpc/smtpc.h"
#include "relay/smtpd/smtpd.h"
#include "relay/spool/spool.h"

struct worker;

struct worker_deps {
    struct conf *conf;
    struct spool *spool;
    struct directory *directory;
    struct smtpd_clients *clients;
    struct pace *pace;
    struct underway *underway;
};

/* A listening socket of this worker and the listener of the configuration that it belongs to. */
struct worker_socket {
    unsigned listener;
    int fd;
};

/* Makes everything, starts no thread; takes over the sockets. */
struct worker *worker_new(unsigned index, const struct worker_deps *deps,
                          const struct worker_socket *sockets, unsigned n, struct err *e);
bool worker_start(struct worker *w, struct err *e);
/* Asks it to finish: no new work, what is in hand ends, at most timeout_ms; then its thread ends.
 */
void worker_stop(struct worker *w, int64_t timeout_ms);
/* Waits for the thread, which frees all but the loop: the spool may still have something to say.
 * Of other threads' calls only changes of the directory and recovered mail may come now: they do
 * nothing. */
void worker_join(struct worker *w);
/* After spool_close(). */
void worker_free(struct worker **w);
void worker_reload(struct worker *w, struct conf *conf);
/* Any thread: the hashes are copied. */
void worker_directory_changed(struct worker *w, const struct dir_change *c);

/* Runs fn on the worker's thread, then done on the loop's that asked (NULL: none). */
typedef void worker_call_fn(struct worker *w, void *arg);
typedef void worker_done_fn(void *arg);
void worker_call(struct worker *w, worker_call_fn *fn, void *arg, struct chan *back,
                 worker_done_fn *done);

/* For functions given to worker_call(): on the worker's thread only. */
struct queue *worker_queue(struct worker *w);
struct smtpc *worker_smtpc(struct worker *w);
unsigned worker_index(const struct worker *w);

#endif
