/*
 * control_ops.c - the control commands that the main thread answers by itself: status, explain, the
 * directory, reload, stop. Those that ask the workers' queues are in control_queue.c, those that
 * move mailboxes in control_move.c.
 *
 * The socket is made while still root, so that it can live in a directory that only root may write.
 */
#include "relay/daemon/control_ops.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "relay/control/control.h"
#include "relay/control/facts.h"
#include "relay/daemon/alarms.h"
#include "relay/daemon/bind.h"
#include "relay/daemon/control_directory.h"
#include "relay/daemon/control_manual.h"
#include "relay/daemon/control_doctor.h"
#include "relay/daemon/control_move.h"
#include "relay/daemon/control_queue.h"
#include "relay/io/listener.h"
#include "rewrite/address.h"

#define BACKLOG 16

static void put(json_t *o, const char *key, json_t *value)
{
    (void)json_object_set_new(o, key, value);
}

/* ---- status ---- */

static json_t *recovery_fact(const struct daemon *d)
{
    struct spool_recovery_stats s = {0};
    bool ok = true;
    bool done = recovery_is_done(d->recovery, &s, &ok);
    json_t *o = json_object();
    put(o, "done", json_boolean(done));
    put(o, "ok", json_boolean(ok));
    put(o, "messages", json_integer((json_int_t)s.messages));
    put(o, "quarantined", json_integer((json_int_t)s.quarantined));
    put(o, "ms", json_integer(s.took_ms));
    return o;
}

static json_t *directory_fact(const struct daemon *d)
{
    struct dir_source_status *s = mem_array(CONF_SOURCES_MAX, sizeof(*s));
    unsigned n = directory_status(d->directory, s, CONF_SOURCES_MAX);
    json_t *o = json_object(), *all = json_array();
    for (unsigned i = 0; i < n; i++)
        (void)json_array_append_new(all, fact_source(&s[i]));
    put(o, "generation", json_integer((json_int_t)directory_generation(d->directory)));
    put(o, "sources", all);
    mem_free(s);
    return o;
}

static void op_status(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct daemon *d = ctx;
    struct spool_status spool;
    json_t *o = json_object();
    spool_status(d->spool, &spool);
    put(o, "version", json_string(PACKAGE_VERSION));
    put(o, "hostname", json_string(d->conf->hostname));
    put(o, "pid", json_integer(getpid()));
    put(o, "started", fact_time(d->started_ms));
    put(o, "uptime_ms", json_integer(clock_wall_ms() - d->started_ms));
    put(o, "reloaded", fact_time(d->reloaded_ms));
    put(o, "reloads_failed", json_integer(d->reloads_failed));
    put(o, "workers", json_integer(d->n_worker));
    put(o, "alarms", alarms_fact(d));
    put(o, "recovery", recovery_fact(d));
    put(o, "spool", fact_spool(&spool));
    put(o, "directory", directory_fact(d));
    if (a->counters)
        put(o, "counters", fact_counters());
    control_queue_status(d, r, o); /* adds "queue" and answers */
}

static void op_version(void *ctx, struct control_req *r, const struct control_args *a)
{
    json_t *o = json_object();
    (void)ctx, (void)a;
    put(o, "version", json_string(PACKAGE_VERSION));
    put(o, "protocol", json_integer(CONTROL_PROTOCOL));
    control_reply(r, o);
}

/* ---- explain, directory ---- */

/* "internet", "application", "local", "forest:NAME"; "" = internet. False: no such forest. */
static bool parse_link(const struct conf *c, const char *text, enum mail_origin *origin,
                       struct str *name)
{
    struct str s = str_c(text);
    *name = STR_NULL;
    *origin = MAIL_FROM_INTERNET;
    if (str_eq(s, STR("application")))
        *origin = MAIL_FROM_APPLICATION;
    else if (str_eq(s, STR("local")))
        *origin = MAIL_FROM_LOCAL;
    else if (str_starts(s, STR("forest:"))) {
        int i = conf_find_forest(c, str_from(s, 7));
        if (i == CONF_NONE)
            return false;
        *origin = MAIL_FROM_FOREST;
        *name = str_c(c->forest[i].name);
    }
    return true;
}

/* What the directory has, with the generation of each source. */
static json_t *lookup_fact(const struct daemon *d, struct str address, const struct dir_view *view,
                           const struct dir_result *result)
{
    struct dir_source_status *s = mem_array(CONF_SOURCES_MAX, sizeof(*s));
    unsigned n = directory_status(d->directory, s, CONF_SOURCES_MAX);
    json_t *o = fact_lookup(address, view, result, s, n);
    mem_free(s);
    return o;
}

static void op_explain(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct daemon *d = ctx;
    struct dir_view *view = directory_view(d->directory);
    struct route_query q = {.conf = dir_view_conf(view),
                            .view = view,
                            .now_ms = clock_mono_ms(),
                            .recipient = str_c(a->address),
                            .sender = str_c(a->from)};
    if (!parse_link(q.conf, a->link, &q.origin, &q.origin_name)) {
        control_error(r, CONTROL_ERR_ARGUMENT, "there is no forest \"%s\" in the configuration",
                      a->link + 7);
        dir_view_unref(&view);
        return;
    }
    struct arena arena;
    struct route_trace *trace = NEW(struct route_trace);
    struct decision decision;
    arena_init(&arena, 4096, 0);
    route_admit(&q, &arena, trace, &decision);
    json_t *o = fact_decision(q.recipient, &decision, trace);
    control_moves_explain(d, a->address, json_object_get(o, "reasons"));
    if (trace->looked_up)
        put(o, "entry", lookup_fact(d, q.recipient, view, &trace->entry));
    control_reply(r, o);
    dir_view_unref(&view);
    arena_free(&arena);
    mem_free(trace);
}

static void op_directory_status(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct daemon *d = ctx;
    struct dir_source_status *s = mem_array(CONF_SOURCES_MAX, sizeof(*s));
    unsigned n = directory_status(d->directory, s, CONF_SOURCES_MAX);
    json_t *o = json_object();
    (void)a;
    for (unsigned i = 0; i < n; i++)
        (void)control_item(r, fact_source(&s[i]));
    mem_free(s);
    put(o, "generation", json_integer((json_int_t)directory_generation(d->directory)));
    control_reply(r, o);
}

/* What a decision for this recipient finds in the directory. */
static void trace_mail(const struct dir_view *view, struct str address, struct route_trace *out)
{
    struct arena arena;
    struct decision decision;
    const struct route_query q = {
        .conf = dir_view_conf(view), .view = view, .now_ms = clock_mono_ms(), .recipient = address};
    arena_init(&arena, 4096, 0);
    route_admit(&q, &arena, out, &decision);
    arena_free(&arena);
    out->n = 0; /* the lines were in the arena */
}

static void lookup_missed(struct control_req *r, const char *address,
                          const struct dir_result *result)
{
    if (result->found == DIR_NOT_FOUND)
        control_error(r, CONTROL_ERR_NOT_FOUND, "no directory knows %s", address);
    else if (result->stale_source == NULL)
        control_error(r, CONTROL_ERR_NOT_FOUND, "%s is not known: %s", address, result->why);
    else
        control_error(r, CONTROL_ERR_NOT_FOUND,
                      "%s is not known, but source \"%s\" is not complete and fresh: %s", address,
                      result->stale_source, result->why);
}

/* By the address as it is; else as mail for it would find somebody: an old Exchange address, the
 * base of a plus address. */
static void op_directory_lookup(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct daemon *d = ctx;
    char key[ADDRESS_MAX + 1];
    size_t n = control_key(a->address, key);
    struct dir_view *view = directory_view(d->directory);
    struct route_trace *mail = NEW(struct route_trace);
    struct dir_result *result = mem_alloc(sizeof(*result));
    dir_view_lookup(view, str_n(key, n), clock_mono_ms(), result);
    if (result->n_claims == 0)
        trace_mail(view, str_c(a->address), mail);
    if (mail->looked_up && mail->entry.n_claims != 0)
        control_reply(r, lookup_fact(d, str_n(key, n), view, &mail->entry));
    else if (result->n_claims != 0)
        control_reply(r, lookup_fact(d, str_n(key, n), view, result));
    else
        lookup_missed(r, a->address, result);
    mem_free(result);
    mem_free(mail);
    dir_view_unref(&view);
}

/* ---- reload, stop ---- */

static void op_reload(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct daemon *d = ctx;
    struct buf note = BUF_INIT(4096);
    struct err e;
    (void)a;
    if (daemon_reload(d, &note, &e)) {
        json_t *o = json_object();
        put(o, "configuration", json_string(d->conf_path));
        put(o, "needs_restart", fact_text(buf_str(&note)));
        control_reply(r, o);
    } else {
        control_error(r, CONTROL_ERR_FAILED, "%s (nothing was changed)", e.text);
    }
    buf_free(&note);
}

static void op_stop(void *ctx, struct control_req *r, const struct control_args *a)
{
    (void)a;
    LOG(INFO, NULL, "stop", LC("by", control_who(r)));
    control_reply(r, NULL);
    daemon_stop(ctx);
}

/* ---- the socket ---- */

/* Mail goes on where only the socket's group cannot be had. */
static bool give_to_group(const struct conf *c, struct err *e)
{
    gid_t gid;
    if (c->control.socket_group[0] == '\0')
        return true;
    if (!privileges_socket_group(c, &gid, e))
        return false;
    if (!privileges_may_give(gid)) {
        LOG(ERROR, NULL, "control-socket-group", LC("group", c->control.socket_group),
            LC("why", "the daemon was not started by root, and its user is not in the group"),
            LC("effect", "only root and that user may use causewayctl"),
            LC("hint", "add the user to the group, or name it in the unit: SupplementaryGroups="));
        return true;
    }
    if (chown(c->control.socket, (uid_t)-1, gid) != 0 || chmod(c->control.socket, 0660) != 0)
        return err_set(e, ERR_SYSTEM, errno, "cannot give %s to group \"%s\"", c->control.socket,
                       c->control.socket_group);
    return true;
}

bool control_ops_bind(struct daemon *d, struct err *e)
{
    const struct conf *c = d->conf;
    char dir[1100];
    if (!str_copy(str_c(c->control.socket), dir, sizeof(dir)))
        return err_set(e, ERR_CONFIG, 0, "control.socket: the path is too long");
    if (!file_make_dir(dirname(dir), 0755, e))
        return err_wrap(e, "control socket");
    d->control_fd = listen_unix(c->control.socket, 0600, BACKLOG, e);
    if (d->control_fd < 0)
        return err_wrap(e, "control socket");
    return privileges_own(c, c->control.socket, e) && give_to_group(c, e);
}

bool control_ops_start(struct daemon *d, struct err *e)
{
    const struct control_ops ops = {
        .ctx = d,
        .status = op_status,
        .queue_list = control_queue_list,
        .queue_show = control_queue_show,
        .queue_hold = control_queue_act,
        .queue_release = control_queue_act,
        .queue_retry = control_queue_act,
        .queue_remove = control_queue_act,
        .queue_export = control_queue_export,
        .queue_dests = control_queue_dests,
        .explain = op_explain,
        .directory_status = op_directory_status,
        .directory_lookup = op_directory_lookup,
        .directory_upsert = control_directory_upsert,
        .directory_delete = control_directory_delete,
        .directory_load = control_directory_load,
        .directory_pending = control_directory_pending,
        .directory_accept = control_directory_accept,
        .doctor = control_doctor,
        .move = control_move,
        .undo = control_undo,
        .moves = control_moves,
        .set = control_set,
        .unset = control_unset,
        .reload = op_reload,
        .stop = op_stop,
        .version = op_version,
    };
    (void)e;
    d->control = control_new(d->loop, d->control_fd, d->conf->control.clients_max, &ops);
    d->control_fd = -1;
    return true;
}

void control_ops_stop(struct daemon *d)
{
    if (d->control != NULL)
        control_free(&d->control);
    if (d->control_fd >= 0)
        close(d->control_fd);
    d->control_fd = -1;
}
