/*
 * server.c - the control socket's server: clients, their requests, and the answers.
 *
 * A client is a stream and at most one request in hand; while there is one, or while much output
 * waits to be read, its input is paused. A request outlives its client: the handler ends it, and
 * what it says then goes nowhere. Clients that send nothing, or do not read, are closed after a
 * while, so that they cannot use up the places.
 *
 * Main thread's loop only.
 */
#include "relay/control/control.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"
#include "relay/control/control_int.h"
#include "relay/control/facts.h"
#include "relay/control/peer.h"
#include "relay/io/listener.h"
#include "relay/io/stream.h"

#define OUT_HIGH       (256u << 10) /* control_item() says "enough" */
#define OUT_MAX        (32u << 20)  /* a handler that does not listen loses its client */
#define IDLE_MS        300000
#define UNREAD_MS      60000 /* looked at so often: has it taken anything since? */
#define FINISH_MS      500
#define LINES_PER_TURN 16

struct control {
    struct loop *loop;
    struct listener *listener;
    struct control_ops ops;
    struct list clients;
    unsigned n_clients, clients_max;
    struct peer_names *names;
};

struct client {
    struct list_node node;
    struct control *control;
    struct stream *stream; /* NULL: closed, to be freed at the end of the callback */
    struct control_req *req;
    bool paused, eof;
    bool has_lines; /* whole ones, which the stream keeps for us */
    size_t unread;  /* what waited to be read when its deadline was set */
    unsigned depth; /* callbacks that still look at it */
    char who[64];
};

struct control_req {
    struct client *client; /* NULL: gone */
    struct loop *loop;
    struct control_line line;
    struct control_args args;
    struct loop_task task; /* runs `ready` */
    control_ready_fn *ready;
    void *ready_arg;
    char who[64];
};

/* ---- the end of a client ---- */

static void req_wake(struct control_req *r)
{
    if (r->ready != NULL)
        loop_task_add(r->loop, &r->task);
}

static void client_hold(struct client *c)
{
    c->depth++;
}

static void client_release(struct client *c)
{
    if (--c->depth == 0 && c->stream == NULL)
        mem_free(c);
}

/* finish: what was written still goes out. */
static void client_close(struct client *c, bool finish)
{
    if (c->stream == NULL)
        return;
    if (finish)
        stream_finish(&c->stream, FINISH_MS);
    else
        stream_free(&c->stream);
    list_remove(&c->node);
    c->control->n_clients--;
    if (c->req != NULL) {
        c->req->client = NULL;
        req_wake(c->req);
    }
    if (c->depth == 0)
        mem_free(c);
}

/* ---- output ---- */

static void client_must_read(struct client *c)
{
    c->unread = stream_pending(c->stream);
    stream_deadline(c->stream, UNREAD_MS);
}

/* One line: a status and its value, with the request's tag. */
static void client_say(struct client *c, json_t *tag, json_t *o)
{
    if (tag != NULL)
        (void)json_object_set(o, "id", tag);
    char *text = json_dumps(o, JSON_COMPACT);
    json_decref(o);
    if (c == NULL || c->stream == NULL || text == NULL) {
        free(text);
        return;
    }
    size_t n = strlen(text);
    text[n] = '\n'; /* in place of the NUL: one write, one line */
    if (stream_write(c->stream, text, n + 1)) {
        client_must_read(c);
    } else {
        LOG(WARN, "", "control-client-slow", LC("who", c->who),
            LU("bytes", stream_pending(c->stream)));
        client_close(c, false);
    }
    free(text);
}

/* The message may quote what is not UTF-8, such as a line of a configuration in Latin-1. */
static json_t *error_object(enum control_error code, const char *message)
{
    json_t *text = json_string(message);
    if (text == NULL)
        text = fact_text(str_c(message));
    return json_pack("{s:b, s:{s:s, s:o}}", "ok", 0, "error", "code", control_error_code(code),
                     "message", text);
}

const char *control_error_code(enum control_error e)
{
    static const char *const code[] = {
        [CONTROL_ERR_REQUEST] = "bad-request",     [CONTROL_ERR_COMMAND] = "unknown-command",
        [CONTROL_ERR_ARGUMENT] = "bad-argument",   [CONTROL_ERR_NOT_FOUND] = "not-found",
        [CONTROL_ERR_UNAVAILABLE] = "unavailable", [CONTROL_ERR_FAILED] = "failed",
    };
    return code[e];
}

static void client_go_on(struct client *c)
{
    if (c->stream == NULL || c->req != NULL || stream_pending(c->stream) > OUT_HIGH)
        return;
    if (c->eof && !c->has_lines) {
        client_close(c, true);
        return;
    }
    if (stream_pending(c->stream) == 0)
        stream_deadline(c->stream, IDLE_MS);
    if (c->paused) {
        c->paused = false;
        stream_resume(c->stream);
    }
}

static void req_end(struct control_req *r, json_t *o)
{
    struct client *c = r->client;
    if (c != NULL) {
        client_hold(c);
        c->req = NULL;
        client_say(c, r->line.tag, o);
        client_go_on(c);
        client_release(c);
    } else {
        json_decref(o);
    }
    loop_task_cancel(&r->task);
    control_args_free(&r->args);
    json_decref(r->line.root);
    mem_free(r);
}

static void log_change(const struct control_req *r, const char *result, const char *why)
{
    const struct control_command_info *i = &control_command_info[r->line.command];
    if (i->change)
        LOG(INFO, "", "control", LC("command", i->name), LC("who", r->who), LC("result", result),
            LC("why", why));
}

void control_reply(struct control_req *r, json_t *result)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "ok", json_true());
    (void)json_object_set_new(o, "result", result != NULL ? result : json_object());
    log_change(r, "ok", "");
    req_end(r, o);
}

void control_error(struct control_req *r, enum control_error e, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    json_t *o = error_object(e, text);
    log_change(r, control_error_code(e), text);
    req_end(r, o);
}

bool control_item(struct control_req *r, json_t *item)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "item", item);
    if (r->client != NULL)
        client_hold(r->client);
    struct client *c = r->client;
    client_say(c, r->line.tag, o);
    bool more = c != NULL && c->stream != NULL && stream_pending(c->stream) < OUT_HIGH;
    if (c != NULL)
        client_release(c);
    return more;
}

static void ready_run(struct loop_task *t)
{
    struct control_req *r = CONTAINER_OF(t, struct control_req, task);
    control_ready_fn *fn = r->ready;
    r->ready = NULL;
    fn(r->ready_arg, r);
}

void control_wait(struct control_req *r, control_ready_fn *fn, void *arg)
{
    r->ready = fn;
    r->ready_arg = arg;
    if (r->client == NULL || stream_pending(r->client->stream) == 0)
        req_wake(r);
}

bool control_is_gone(const struct control_req *r)
{
    return r->client == NULL;
}

const char *control_who(const struct control_req *r)
{
    return r->who;
}

enum control_command control_command_of(const struct control_req *r)
{
    return r->line.command;
}

/* ---- input ---- */

static control_fn *handler(const struct control_ops *o, enum control_command c)
{
    static const size_t at[CONTROL_COMMANDS] = {
#define COMMAND(id, name, streams, change, summary, detail)                                        \
    [CONTROL_##id] = offsetof(struct control_ops, id),
#define ARG(id, name, type, member, flags, value, help)
#define FILTER_ARGS(id)
#include "relay/control/commands.def"
#undef COMMAND
#undef ARG
#undef FILTER_ARGS
    };
    control_fn *fn;
    memcpy(&fn, (const char *)o + at[c], sizeof(fn));
    return fn;
}

static void request_run(struct client *c, struct control_line *line)
{
    struct control *s = c->control;
    struct control_req *r = NEW(struct control_req);
    struct err e;
    *r = (struct control_req){.client = c, .loop = s->loop, .line = *line, .task.fn = ready_run};
    memcpy(r->who, c->who, sizeof(r->who));
    c->req = r;
    stats_inc(STAT_control_requests);
    stream_deadline(c->stream, 0);
    control_fn *fn = handler(&s->ops, line->command);
    if (!control_args_read(line->command, line->args, &r->args, &e))
        control_error(r, CONTROL_ERR_ARGUMENT, "%s", e.text);
    else if (fn == NULL)
        control_error(r, CONTROL_ERR_UNAVAILABLE, "%s is not available",
                      control_command_info[line->command].name);
    else
        fn(s->ops.ctx, r, &r->args);
}

/* It does not speak the protocol: told so, and closed. */
static void client_nonsense(struct client *c, const char *why)
{
    stats_inc(STAT_control_bad_clients);
    LOG(WARN, "", "control-nonsense", LC("who", c->who), LC("why", why));
    client_say(c, NULL, error_object(CONTROL_ERR_REQUEST, why));
    client_close(c, true);
}

static void client_line(struct client *c, struct str text)
{
    struct control_line line;
    struct err e;
    text = str_trim(text);
    if (text.n == 0)
        return;
    switch (control_line_parse(text, &line, &e)) {
    case CONTROL_PARSE_OK:
        request_run(c, &line);
        return;
    case CONTROL_PARSE_COMMAND:
        stats_inc(STAT_control_requests);
        client_say(c, line.tag, error_object(CONTROL_ERR_COMMAND, e.text));
        break;
    case CONTROL_PARSE_NONSENSE:
        client_nonsense(c, e.text);
    }
    json_decref(line.root);
}

static size_t on_data(void *arg, char *data, size_t n)
{
    struct client *c = arg;
    size_t used = 0;
    unsigned lines = 0;
    client_hold(c);
    while (c->stream != NULL && used < n) {
        if (c->req != NULL || stream_pending(c->stream) > OUT_HIGH) {
            c->paused = true;
            stream_pause(c->stream);
            break;
        }
        if (lines++ == LINES_PER_TURN) { /* the others' turn first */
            stream_pause(c->stream);
            stream_resume(c->stream);
            break;
        }
        const char *end = memchr(data + used, '\n', n - used);
        if (end == NULL) {
            if (n - used >= CONTROL_LINE_MAX)
                client_nonsense(c, "not a request: the line is too long");
            break;
        }
        size_t len = (size_t)(end - (data + used));
        struct str line = str_n(data + used, len);
        used += len + 1;
        client_line(c, line);
    }
    if (c->stream != NULL && c->req != NULL && !c->paused) {
        c->paused = true;
        stream_pause(c->stream);
    }
    c->has_lines = c->stream != NULL && used < n && memchr(data + used, '\n', n - used) != NULL;
    if (c->stream != NULL && c->eof && c->req == NULL && !c->has_lines)
        client_close(c, true);
    if (c->stream == NULL)
        used = n;
    client_release(c);
    return used;
}

/* It has said all it wants to say; what it asked for is still answered. */
static void on_eof(void *arg)
{
    struct client *c = arg;
    c->eof = true;
    if (c->req == NULL && !c->has_lines)
        client_close(c, true);
}

static void on_error(void *arg, const struct err *e)
{
    (void)e;
    client_close(arg, false);
}

static void on_drain(void *arg)
{
    struct client *c = arg;
    client_hold(c);
    c->unread = 0;
    stream_deadline(c->stream, 0);
    if (c->req != NULL)
        req_wake(c->req);
    client_go_on(c);
    client_release(c);
}

static void on_timeout(void *arg)
{
    struct client *c = arg;
    if (stream_pending(c->stream) < c->unread)
        client_must_read(c); /* it reads, slowly */
    else
        client_close(c, false);
}

/* ---- coming ---- */

static void peer_name(struct peer_names *names, int fd, char *dst, size_t cap)
{
    struct ucred cred;
    socklen_t n = sizeof(cred);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) != 0 || n != sizeof(cred))
        (void)snprintf(dst, cap, "unknown");
    else if (cred.uid == 0)
        (void)snprintf(dst, cap, "root");
    else
        peer_names_get(names, cred.uid, dst, cap);
}

void control_attach(struct control *s, int fd)
{
    static const struct stream_limits limits = {.max_in = CONTROL_LINE_MAX + 1, .max_out = OUT_MAX};
    static const struct stream_events events = {on_data, on_eof, on_error, on_drain, on_timeout};
    struct client *c = NEW(struct client);
    peer_name(s->names, fd, c->who, sizeof(c->who));
    c->control = s;
    c->stream = stream_new(s->loop, fd, &limits, &events, c);
    list_push_back(&s->clients, &c->node);
    s->n_clients++;
    stream_deadline(c->stream, IDLE_MS);
    client_hold(c);
    if (s->n_clients > s->clients_max) {
        client_say(c, NULL, error_object(CONTROL_ERR_UNAVAILABLE, "too many control connections"));
        client_close(c, true);
    }
    client_release(c);
}

static void on_accept(void *arg, int fd, const struct sockaddr_storage *peer)
{
    (void)peer;
    control_attach(arg, fd);
}

struct control *control_new(struct loop *l, int listen_fd, unsigned clients_max,
                            const struct control_ops *ops)
{
    struct control *s = NEW(struct control);
    s->loop = l;
    s->ops = *ops;
    s->clients_max = clients_max;
    s->names = peer_names_new();
    list_init(&s->clients);
    if (listen_fd >= 0)
        s->listener = listener_new(l, listen_fd, on_accept, s);
    return s;
}

void control_free(struct control **sp)
{
    struct control *s = *sp;
    if (s == NULL)
        return;
    *sp = NULL;
    if (s->listener != NULL)
        listener_free(&s->listener);
    for (struct list_node *n; (n = list_first(&s->clients)) != NULL;)
        client_close(CONTAINER_OF(n, struct client, node), true);
    peer_names_free(&s->names);
    mem_free(s);
}
