/*
 * stream_sock.c - the stream backend for connected TCP and Unix sockets.
 *
 * The read event is persistent and stays with the kernel for the life of the connection; the write
 * event exists only while the kernel did not take everything. Never raises SIGPIPE.
 */
#include "relay/io/stream_int.h"

#include <errno.h>
#include <unistd.h>

#include "base/assert.h"
#include "relay/io/addr_int.h"

static void on_read(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;

    (void)fd;
    (void)what;
    loop_enter(s->loop);
    stream_on_readable(s);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
    struct stream *s = arg;

    (void)fd;
    (void)what;
    loop_enter(s->loop);
    stream_on_writable(s);
}

static ssize_t sock_read(struct stream *s, void *p, size_t n)
{
    return recv(s->fd, p, n, 0);
}

static ssize_t sock_write(struct stream *s, const struct iovec *iov, int n)
{
    struct msghdr m = {.msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n};

    if (n == 1)
        return send(s->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
    return sendmsg(s->fd, &m, MSG_NOSIGNAL);
}

static void sock_want(struct stream *s, unsigned events)
{
    unsigned change = events ^ s->want;

    if (change & LOOP_READ) {
        if (events & LOOP_READ)
            event_add(&s->rd, NULL);
        else
            event_del(&s->rd);
    }
    if (change & LOOP_WRITE) {
        if (events & LOOP_WRITE) {
            if (s->wr == NULL)
                s->wr = event_new(s->loop->base, s->fd, EV_WRITE | EV_PERSIST, on_write, s);
            ASSERT(s->wr != NULL);
            event_add(s->wr, NULL);
        } else {
            event_free(s->wr);
            s->wr = NULL;
        }
    }
}

static bool sock_input_waits(const struct stream *s)
{
    char first;

    return recv(s->fd, &first, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void sock_shutdown(struct stream *s)
{
    (void)shutdown(s->fd, SHUT_WR);
}

static void sock_close(struct stream *s)
{
    close(s->fd);
    s->fd = -1;
}

static void sock_addr(const struct stream *s, bool peer, struct stream_peer *out)
{
    struct sockaddr_storage ss = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(ss);
    struct sockaddr *sa = (struct sockaddr *)&ss;

    if ((peer ? getpeername(s->fd, sa, &len) : getsockname(s->fd, sa, &len)) != 0) {
        ss.ss_family = AF_UNSPEC;
        len = sizeof(ss.ss_family);
    }
    stream_peer_set(out, sa, len);
}

static const struct stream_backend sock_backend = {
    .read = sock_read,
    .write = sock_write,
    .want = sock_want,
    .input_waits = sock_input_waits,
    .shutdown = sock_shutdown,
    .close = sock_close,
    .addr = sock_addr,
};

struct stream *stream_new(struct loop *l, int fd, const struct stream_limits *limits,
                          const struct stream_events *ev, void *arg)
{
    struct stream *s = stream_create(l, &sock_backend, NULL, fd, limits, ev, arg);

    event_assign(&s->rd, l->base, fd, EV_READ | EV_PERSIST, on_read, s);
    stream_want(s, LOOP_READ);
    return s;
}
