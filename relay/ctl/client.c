/*
 * client.c - the client's side of the control protocol: connect, one line out, lines in until the
 * one that says "ok". When the daemon cannot be reached it says which socket and what to look at.
 */
#include "relay/ctl/client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "relay/control/commands.h"

#define ANSWER_LINE_MAX (64u << 20)

static bool cannot_connect(const char *path, int why, struct err *e)
{
    const char *hint = "is causewayd running? --socket names another socket";
    if (why == EACCES || why == EPERM)
        hint = "root and the members of control.socket_group may use it";
    else if (why == ECONNREFUSED)
        hint = "the socket is there but nobody listens: causewayd has ended";
    else if (why == ENOENT)
        hint = "is causewayd running, and is this its control.socket? --socket names another";
    return err_set(e, ERR_SYSTEM, 0, "cannot connect to %s: %s (%s)", path, strerror(why), hint);
}

static int connect_to(const char *path, struct err *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (!str_copy(str_c(path), a.sun_path, sizeof(a.sun_path))) {
        (void)err_set(e, ERR_INPUT, 0, "the path of the socket is too long: %s", path);
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        (void)err_set(e, ERR_SYSTEM, errno, "cannot make a socket");
        return -1;
    }
    if (connect(fd, (struct sockaddr *)&a, sizeof(a)) != 0) {
        (void)cannot_connect(path, errno, e);
        close(fd);
        return -1;
    }
    return fd;
}

static bool send_request(int fd, const char *command, json_t *args, struct err *e)
{
    json_t *o = json_pack("{s:s, s:O}", "command", command, "args", args);
    char *text = o != NULL ? json_dumps(o, JSON_COMPACT) : NULL;
    json_decref(o);
    if (text == NULL)
        return err_set(e, ERR_INPUT, 0, "the request cannot be written as JSON");
    size_t n = strlen(text), at = 0;
    if (n >= CONTROL_LINE_MAX) {
        free(text);
        return err_set(e, ERR_LIMIT, 0, "the request has %zu octets, more than %u; make several", n,
                       CONTROL_LINE_MAX);
    }
    text[n++] = '\n';
    while (at < n) {
        ssize_t k = send(fd, text + at, n - at, MSG_NOSIGNAL);
        if (k < 0 && errno != EINTR) {
            (void)err_set(e, ERR_SYSTEM, errno, "cannot send the request");
            break;
        }
        at += k > 0 ? (size_t)k : 0;
    }
    free(text);
    return at == n;
}

/* True: go on reading. */
static bool take_line(struct str line, client_item_fn *item, void *arg, json_t **result,
                      bool *refused, bool *ok, struct err *e)
{
    json_error_t je;
    json_t *o = json_loadb(line.p, line.n, 0, &je);
    json_t *i = json_object_get(o, "item"), *state = json_object_get(o, "ok");
    bool more = false;
    if (i != NULL) {
        more = item == NULL || item(arg, i);
        *ok = !more;
    } else if (json_is_true(state)) {
        *result = json_incref(json_object_get(o, "result"));
        *ok = true;
    } else if (json_is_false(state)) {
        const char *message =
            json_string_value(json_object_get(json_object_get(o, "error"), "message"));
        *refused = true;
        (void)err_set(e, ERR_INPUT, 0, "%s",
                      message != NULL ? message : "refused without a reason");
    } else {
        (void)err_set(e, ERR_PROTOCOL, 0, "the answer is not of the control protocol");
    }
    json_decref(o);
    return more;
}

static bool read_answer(int fd, client_item_fn *item, void *arg, json_t **result, bool *refused,
                        struct err *e)
{
    struct buf in = BUF_INIT(ANSWER_LINE_MAX);
    size_t seen = 0;
    bool ok = false, more = true;
    while (more) {
        const char *end = in.n > seen ? memchr(in.p + seen, '\n', in.n - seen) : NULL;
        if (end != NULL) {
            size_t n = (size_t)(end - in.p);
            more = take_line(str_n(in.p, n), item, arg, result, refused, &ok, e);
            buf_consume(&in, n + 1);
            seen = 0;
            continue;
        }
        seen = in.n;
        if (!buf_reserve(&in, 65536)) {
            (void)err_set(e, ERR_LIMIT, 0, "the answer is too long");
            break;
        }
        ssize_t k = recv(fd, in.p + in.n, in.cap - in.n, 0);
        if (k == 0) {
            (void)err_set(e, ERR_PROTOCOL, 0, "the daemon closed the connection without an answer");
            break;
        }
        if (k < 0 && errno != EINTR) {
            (void)err_set(e, ERR_SYSTEM, errno, "cannot read the answer");
            break;
        }
        in.n += k > 0 ? (size_t)k : 0;
    }
    buf_free(&in);
    return ok;
}

bool client_call(const char *path, const char *command, json_t *args, client_item_fn *item,
                 void *arg, json_t **result, bool *refused, struct err *e)
{
    *result = NULL;
    *refused = false;
    int fd = connect_to(path, e);
    if (fd < 0)
        return false;
    bool ok = send_request(fd, command, args, e) && read_answer(fd, item, arg, result, refused, e);
    close(fd);
    return ok;
}
