/*
 * connect.c - one outbound TCP (or Unix) connection in the making.
 *
 * Every outcome, an immediate one included, is reported from the loop: by the descriptor, the
 * timer, or the task at the end of the turn. The descriptor is watched for writing; SO_ERROR then
 * says how it went.
 */
#include "relay/io/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "relay/io/addr_int.h"

struct connect {
    struct loop *loop;
    int fd;
    int errnum; /* of an attempt that failed at once */
    struct loop_fd *watch;
    struct loop_timer timer;
    struct loop_task task;
    int64_t timeout_ms;
    connect_done_fn *done;
    void *arg;
    bool reporting;
    char to[ADDR_TEXT_MAX];
    const char *step;
};

static void connect_destroy(struct connect *c)
{
    loop_fd_remove(&c->watch);
    loop_timer_clear(&c->timer);
    loop_task_cancel(&c->task);
    if (c->fd >= 0)
        close(c->fd);
    mem_free(c);
}

static void report(struct connect *c, const struct err *e)
{
    int fd = -1;

    loop_fd_remove(&c->watch);
    if (e == NULL) {
        fd = c->fd;
        c->fd = -1;
    }
    c->reporting = true; /* a late connect_cancel() in the callback does no harm */
    c->done(c->arg, fd, e);
    connect_destroy(c);
}

static void report_errno(struct connect *c, int errnum)
{
    struct err e;

    if (errnum == 0) {
        report(c, NULL);
        return;
    }
    err_set(&e, errnum == ETIMEDOUT ? ERR_TIMEOUT : ERR_SYSTEM, errnum, "%s %s", c->step, c->to);
    report(c, &e);
}

static void on_ready(void *arg, int fd, unsigned events)
{
    struct connect *c = arg;
    int errnum = 0;
    socklen_t len = sizeof(errnum);

    (void)events;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &errnum, &len) != 0)
        errnum = errno;
    report_errno(c, errnum);
}

static void on_timer(struct loop_timer *t)
{
    struct connect *c = CONTAINER_OF(t, struct connect, timer);
    struct err e;

    err_set(&e, ERR_TIMEOUT, 0, "connect to %s: no answer in %lld.%03d s", c->to,
            (long long)(c->timeout_ms / 1000), (int)(c->timeout_ms % 1000));
    report(c, &e);
}

static void on_task(struct loop_task *t)
{
    struct connect *c = CONTAINER_OF(t, struct connect, task);
    report_errno(c, c->errnum);
}

/* The port is chosen at connect(), by both addresses, so that binding does not run out of ports. */
static bool bind_source(int fd, const struct sockaddr *addr, socklen_t len)
{
#ifdef IP_BIND_ADDRESS_NO_PORT
    int one = 1;
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
#endif
    return bind(fd, addr, len) == 0;
}

/* 0, EINPROGRESS, or why not. */
static int begin(struct connect *c, const struct sockaddr *to, socklen_t tolen,
                 const struct sockaddr *bind_to, socklen_t bindlen)
{
    c->step = "socket for";
    c->fd = socket(to->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return errno;
    if (bind_to != NULL) {
        c->step = "bind of the source address for";
        if (!bind_source(c->fd, bind_to, bindlen))
            return errno;
    }
    c->step = "connect to";
    if (to->sa_family != AF_UNIX)
        addr_set_nodelay(c->fd);
    if (connect(c->fd, to, tolen) == 0)
        return 0;
    return errno == EINTR ? EINPROGRESS : errno;
}

struct connect *connect_start(struct loop *l, const struct sockaddr *to, socklen_t tolen,
                              const struct sockaddr *bind_to, socklen_t bindlen, int64_t timeout_ms,
                              connect_done_fn *done, void *arg)
{
    struct connect *c = NEW(struct connect);

    c->loop = l;
    c->timeout_ms = timeout_ms;
    c->done = done;
    c->arg = arg;
    c->task.fn = on_task;
    loop_timer_init(&c->timer, l, on_timer);
    addr_text(to, tolen, c->to);
    c->errnum = begin(c, to, tolen, bind_to, bindlen);
    if (c->errnum == EINPROGRESS) {
        c->watch = loop_fd_add(l, c->fd, LOOP_WRITE, on_ready, c);
        loop_timer_set(&c->timer, timeout_ms);
    } else {
        loop_task_add(l, &c->task);
    }
    return c;
}

void connect_cancel(struct connect **cp)
{
    struct connect *c = *cp;

    if (c == NULL)
        return;
    *cp = NULL;
    if (!c->reporting)
        connect_destroy(c);
}
