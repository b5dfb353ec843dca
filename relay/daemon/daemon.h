/*
 * daemon.h - the process: its parts in one place, their start, reload and stop. Main thread.
 */
#ifndef RELAY_DAEMON_DAEMON_H
#define RELAY_DAEMON_DAEMON_H

#include <pthread.h>
#include <stdatomic.h>

#include "relay/daemon/job.h"
#include "relay/daemon/recovery.h"
#include "relay/daemon/worker.h"
#include "relay/queue/pace.h"

struct control;
struct cutover;

struct daemon {
    const char *conf_path;
    struct conf *conf;
    struct conf *first_conf; /* of the start: what needs a restart is still as in this */
    struct loop *loop;       /* the main thread's: signals, control */
    struct spool *spool;
    struct directory *directory;
    struct smtpd_clients *clients;
    struct pace pace;
    struct underway *underway;
    unsigned n_worker;
    struct worker **worker;
    struct recovery *recovery;
    struct jobs *jobs; /* slow control requests */
    struct cutover *cutover;
    struct loop_timer reopen; /* sources that a reload could not open */
    struct control *control;
    int state_lock;     /* -1: not held */
    int control_fd;     /* until the control server takes it */
    int64_t started_ms; /* wall */
    int64_t reloaded_ms;
    unsigned reloads_failed;
    bool reload_failed; /* the last one did */
    bool stopping;
};

/* A shared domain whose recipients no source can know, or NULL. Mail for it is put off until
 * somebody is named by `causewayctl set`. */
const char *daemon_without_source(const struct conf *c);
/* From configuration to a running service; on failure everything made so far is undone. */
bool daemon_start(struct daemon *d, const char *conf_path, struct err *e);
/* Until a signal or `causewayctl stop`. */
void daemon_run(struct daemon *d);
void daemon_close(struct daemon *d);

/* Reads the file again. False: nothing changed, and why. What needs a restart is named in `note`.
 */
bool daemon_reload(struct daemon *d, struct buf *note, struct err *e);
/* Begins to stop; daemon_run() returns when the workers have. */
void daemon_stop(struct daemon *d);

#endif
