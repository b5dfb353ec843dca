/*
 * daemon.c - start, reload and stop of the process, in one ordered list each.
 *
 * Start (main thread): configuration, listening sockets (as root), directories, privileges, spool,
 * directory, workers, recovery, control. Sockets listen before the spool is recovered, so the
 * banner does not wait for a million queued messages. Stop is the reverse; what a client or next
 * hop has in hand ends first.
 */
#include "relay/daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include "config.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "directory/rules.h"
#include "relay/daemon/bind.h"
#include "relay/daemon/control_ops.h"
#include "relay/daemon/cutover.h"
#include "relay/io/descriptors.h"

#define STOP_TIMEOUT_MS 25000
#define REOPEN_MS       30000 /* between two tries to open a source that a reload could not open */
#define LEAVE_MS        50    /* likewise, while the one before it ends */

static unsigned count_workers(const struct conf *c)
{
    long n = c->workers != 0 ? (long)c->workers : sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > CONF_WORKERS_MAX ? CONF_WORKERS_MAX : (unsigned)n;
}

/* Thousands of sessions need descriptors; the hard limit is the admin's (LimitNOFILE=). */
static void raise_descriptor_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0)
        return;
    r.rlim_cur = r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r) != 0)
        LOG(WARN, NULL, "descriptor-limit", LU("wanted", r.rlim_max));
}

/* How many clients there are descriptors for. */
static unsigned clients_possible(const struct conf *c, unsigned n_worker)
{
    uint64_t limit = descriptor_limit();
    unsigned most = descriptor_shares(limit, n_worker).clients;
    if (limit != 0 && most < c->smtpd.connections_max)
        LOG(WARN, NULL, "descriptor-limit", LU("descriptors", limit),
            LI("connections_max", c->smtpd.connections_max), LU("clients_possible", most),
            LC("hint", "raise LimitNOFILE or lower connections_max"));
    return most;
}

static bool make_directories(const struct conf *c, struct err *e)
{
    if (!file_make_dir(c->spool.directory, 0700, e))
        return err_wrap(e, "spool.directory");
    if (!file_make_dir(c->state_directory, 0700, e))
        return err_wrap(e, "state_directory");
    return privileges_own(c, c->spool.directory, e) && privileges_own(c, c->state_directory, e);
}

/* Snapshots and journals have one writer. */
static bool lock_state(struct daemon *d, struct err *e)
{
    char path[PATH_MAX];
    const char *dir = d->conf->state_directory;
    snprintf(path, sizeof(path), "%s/lock", dir);
    d->state_lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (d->state_lock < 0)
        return err_set(e, ERR_SYSTEM, errno, "cannot open %s", path);
    if (flock(d->state_lock, LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno == EWOULDBLOCK)
        return err_set(e, ERR_BUSY, 0, "another daemon uses the state_directory %s", dir);
    return err_set(e, ERR_SYSTEM, errno, "cannot lock %s", path);
}

static bool open_spool(struct daemon *d, struct err *e)
{
    const struct conf *c = d->conf;
    const struct spool_conf sc = {
        .dir = c->spool.directory,
        .segment_bytes = c->spool.segment_bytes,
        .segments_ready = c->spool.segments_ready,
        .large_bytes = c->spool.large_bytes,
        .reserve_bytes = c->spool.reserve_bytes,
        .reserve_resume_bytes = c->spool.reserve_resume_bytes,
        .compact_below = c->spool.compact_below,
        .test_sync_delay_us = (int)c->spool.test_sync_delay_us,
    };
    d->spool = spool_open(&sc, &file_real, e);
    return d->spool != NULL;
}

static void directory_changed(void *arg, const struct dir_change *c)
{
    struct daemon *d = arg;
    for (unsigned i = 0; i < d->n_worker; i++)
        worker_directory_changed(d->worker[i], c);
}

static bool make_workers(struct daemon *d, struct worker_socket **sockets, unsigned per_worker,
                         struct err *e)
{
    const struct worker_deps deps = {.conf = d->conf,
                                     .spool = d->spool,
                                     .directory = d->directory,
                                     .clients = d->clients,
                                     .pace = &d->pace,
                                     .underway = d->underway};
    pace_init(&d->pace);
    d->worker = mem_array(d->n_worker, sizeof(*d->worker));
    for (unsigned i = 0; i < d->n_worker; i++) {
        d->worker[i] = worker_new(i, &deps, sockets[i], per_worker, e);
        if (d->worker[i] == NULL)
            return false;
    }
    return true;
}

/* ---- signals ---- */

static void on_reload_signal(void *arg, int signo)
{
    struct daemon *d = arg;
    struct buf note = BUF_INIT(4096);
    struct err e;
    (void)signo;
    daemon_reload(d, &note, &e);
    buf_free(&note);
}

static void on_stop_signal(void *arg, int signo)
{
    struct daemon *d = arg;
    LOG(INFO, NULL, "stop", LC("by", strsignal(signo)));
    daemon_stop(d);
}

static bool watch_signals(struct daemon *d, struct err *e)
{
    signal(SIGPIPE, SIG_IGN);
    return loop_signal_add(d->loop, SIGHUP, on_reload_signal, d, e) &&
           loop_signal_add(d->loop, SIGTERM, on_stop_signal, d, e) &&
           loop_signal_add(d->loop, SIGINT, on_stop_signal, d, e);
}

/* ---- start ---- */

/* Sources that end, or that could not be opened, are looked at again. */
static void reopen_later(struct daemon *d)
{
    loop_timer_set(&d->reopen, directory_waits(d->directory) ? LEAVE_MS : REOPEN_MS);
}

static void on_reopen(struct loop_timer *t)
{
    struct daemon *d = CONTAINER_OF(t, struct daemon, reopen);
    if (!directory_reopen(d->directory))
        reopen_later(d);
}

static bool start_service(struct daemon *d, struct worker_socket **sockets, unsigned per_worker,
                          struct err *e)
{
    d->loop = loop_new(e);
    if (d->loop != NULL)
        d->jobs = jobs_new(loop_chan(d->loop));
    if (d->loop == NULL || !watch_signals(d, e) || !open_spool(d, e) || !lock_state(d, e))
        return false;
    loop_timer_init(&d->reopen, d->loop, on_reopen);
    d->directory = directory_open(d->conf, d->conf->state_directory, e);
    if (d->directory == NULL)
        return false;
    d->clients = smtpd_clients_new(clients_possible(d->conf, d->n_worker));
    d->underway = underway_new();
    if (!make_workers(d, sockets, per_worker, e))
        return false;
    directory_listen(d->directory, directory_changed, d);
    d->cutover = cutover_start(d); /* before the first message is routed */
    directory_start(d->directory);
    for (unsigned i = 0; i < d->n_worker; i++)
        if (!worker_start(d->worker[i], e))
            return false;
    d->recovery = recovery_start(d->spool, d->worker, d->n_worker, e);
    return d->recovery != NULL && control_ops_start(d, e);
}

const char *daemon_without_source(const struct conf *c)
{
    for (unsigned i = 0; i < c->n_domain; i++) {
        const struct conf_domain *d = &c->domain[i];
        bool covered = d->type != CONF_DOMAIN_SHARED || d->unknown != CONF_UNKNOWN_REFUSE;
        for (unsigned s = 0; s < c->n_source && !covered; s++) {
            covered = c->source[s].domains_n == 0;
            for (unsigned k = 0; k < c->source[s].domains_n; k++)
                covered = covered || strcasecmp(c->source[s].domains[k], d->name) == 0;
        }
        if (!covered)
            return d->name;
    }
    return NULL;
}

/* One source's file that is gone, say while it is being replaced, must not stop the mail of all:
 * the source fails, and is routed by what it said last. It is an error only where a reload brings
 * or changes that source. `before`: what is in force; NULL at the start. */
static bool look_at_files(const struct conf *c, const struct conf *before, struct err *e)
{
    for (unsigned i = 0; i < c->n_file; i++) {
        const struct conf_source *s = c->file[i].source;
        bool as_it_was = before == NULL;
        if (conf_file_look(&c->file[i], true, NULL, e))
            continue;
        for (unsigned k = 0; s != NULL && !as_it_was && k < before->n_source; k++)
            as_it_was = rules_source_same(&before->source[k], s);
        if (s == NULL || !as_it_was)
            return false;
        LOG(ERROR, s->name, "directory-source-file", LC("why", e->text),
            LC("effect", "the source fails until it can be read; what it said last is used"));
    }
    return true;
}

bool daemon_start(struct daemon *d, const char *conf_path, struct err *e)
{
    struct worker_socket **sockets = NULL;
    unsigned per_worker = 0;
    *d = (struct daemon){
        .conf_path = conf_path, .started_ms = clock_wall_ms(), .control_fd = -1, .state_lock = -1};
    d->conf = conf_load(conf_path, e);
    if (d->conf == NULL)
        return false;
    d->first_conf = conf_ref(d->conf);
    log_setup(d->conf->log_target, d->conf->log_format, d->conf->log_level);
    raise_descriptor_limit();
    d->n_worker = count_workers(d->conf);
    if (!bind_all(d->conf, d->n_worker, &sockets, &per_worker, e))
        return false;
    bool ok = make_directories(d->conf, e) && control_ops_bind(d, e) &&
              privileges_drop(d->conf, e) && look_at_files(d->conf, NULL, e) &&
              start_service(d, sockets, per_worker, e);
    bind_free(sockets, d->n_worker);
    if (!ok)
        return false;
    if (daemon_without_source(d->conf) != NULL)
        LOG(WARN, NULL, "domain-without-source", LC("domain", daemon_without_source(d->conf)),
            LC("effect", "no source can know its recipients: they get 451"));
    if (d->conf->hostname_is_short)
        LOG(WARN, NULL, "hostname-is-short", LC("hostname", d->conf->hostname),
            LC("effect", "other servers may refuse it in EHLO"),
            LC("hint", "set hostname to the full name that DNS has for this machine"));
    LOG(INFO, NULL, "started", LC("version", PACKAGE_VERSION), LC("hostname", d->conf->hostname),
        LU("workers", d->n_worker), LC("configuration", conf_path));
    log_flush();
    return true;
}

void daemon_run(struct daemon *d)
{
    loop_run(d->loop);
}

/* ---- reload ---- */

/* A name server that is away for the moment takes nothing from a name we have had. */
static void keep_full_name(struct conf *c, const struct conf *before)
{
    if (!c->hostname_is_short || strchr(before->hostname, '.') == NULL)
        return;
    mem_free(c->hostname);
    c->hostname = str_dup(str_c(before->hostname));
    c->hostname_is_short = false;
}

bool daemon_reload(struct daemon *d, struct buf *note, struct err *e)
{
    struct conf *c = conf_load(d->conf_path, e);
    if (c == NULL || !look_at_files(c, d->conf, e)) {
        conf_unref(&c);
        d->reloads_failed++;
        d->reload_failed = true;
        LOG(ERROR, NULL, "reload-refused", LC("why", e->text), LC("effect", "nothing was changed"));
        return false;
    }
    keep_full_name(c, d->conf);
    conf_needs_restart(d->first_conf, c, note);
    if (note->n != 0)
        LOG(WARN, NULL, "reload-needs-restart", LS("options", buf_str(note)));
    log_setup(c->log_target, c->log_format, c->log_level);
    for (unsigned i = 0; i < d->n_worker; i++)
        worker_reload(d->worker[i], c);
    directory_reload(d->directory, c);
    reopen_later(d);
    conf_unref(&d->conf);
    d->conf = c;
    cutover_look(d->cutover);
    d->reloaded_ms = clock_wall_ms();
    d->reload_failed = false;
    LOG(INFO, NULL, "reloaded", LC("configuration", d->conf_path));
    return true;
}

/* ---- stop ---- */

void daemon_stop(struct daemon *d)
{
    d->stopping = true;
    loop_stop(d->loop);
}

/* All threads are asked first: one that is in the middle of something, say the connection to a
 * directory server that is silent, must not add its time to that of the others. */
static void ask_all_to_stop(struct daemon *d)
{
    for (unsigned i = 0; d->worker != NULL && i < d->n_worker; i++)
        if (d->worker[i] != NULL)
            worker_stop(d->worker[i], STOP_TIMEOUT_MS);
    if (d->jobs != NULL)
        jobs_ask_stop(d->jobs);
    if (d->directory != NULL)
        directory_ask_stop(d->directory);
}

/* Then the workers end, whom clients and next hops wait for; those who call workers, which is
 * without effect by then; and what all of them use. */
void daemon_close(struct daemon *d)
{
    bool had_service = d->recovery != NULL;
    control_ops_stop(d);
    cutover_stop(&d->cutover);
    if (d->directory != NULL)
        loop_timer_clear(&d->reopen);
    ask_all_to_stop(d);
    for (unsigned i = 0; d->worker != NULL && i < d->n_worker; i++)
        if (d->worker[i] != NULL)
            worker_join(d->worker[i]);
    jobs_free(&d->jobs);
    if (d->recovery != NULL)
        recovery_free(&d->recovery);
    if (d->directory != NULL)
        directory_stop(d->directory);
    if (d->loop != NULL)
        chan_drain(loop_chan(d->loop)); /* answers to control requests that nobody waits for */
    if (d->spool != NULL)
        spool_close(&d->spool);
    for (unsigned i = 0; d->worker != NULL && i < d->n_worker; i++)
        worker_free(&d->worker[i]);
    mem_free(d->worker);
    d->worker = NULL;
    if (d->directory != NULL)
        directory_close(&d->directory);
    if (d->state_lock >= 0)
        close(d->state_lock);
    smtpd_clients_free(&d->clients);
    underway_free(&d->underway);
    if (d->loop != NULL)
        loop_free(&d->loop);
    conf_unref(&d->conf);
    conf_unref(&d->first_conf);
    if (had_service)
        LOG(INFO, NULL, "stopped");
    log_flush();
}
