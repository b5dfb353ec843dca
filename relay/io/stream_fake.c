/*
 * stream_fake.c - two streams connected inside one loop, without sockets. For tests: sessions run
 * on them with a scripted peer and a clock that stands still.
 *
 * Each end has an inbox that the other end's writes fill, bounded like a socket buffer so that
 * back-pressure can be tested. Readiness is work for the next turn, repeated while it lasts, as an
 * epoll descriptor would report it. Closing one end gives the other end of input after what is
 * still in its inbox, and EPIPE when it writes.
 */
#include "relay/io/stream_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "relay/io/addr_int.h"

enum {
    WINDOW = 65536, /* bytes on the way in one direction */
    FIRST_PORT = 10001,
};

struct fake_end {
    struct stream *s; /* NULL: closed */
    struct fake_end *other;
    struct loop *loop;
    struct loop_task soon; /* next turn: report readiness */
    struct buf inbox;
    size_t chunk;
    unsigned wanted;
    unsigned port;
    bool in_shut; /* no more will come into the inbox */
};

static bool is_readable(const struct fake_end *f)
{
    return (f->wanted & LOOP_READ) && (f->inbox.n != 0 || f->in_shut);
}

static bool is_writable(const struct fake_end *f)
{
    return (f->wanted & LOOP_WRITE) && (f->other->s == NULL || f->other->inbox.n < WINDOW);
}

static void kick(struct fake_end *f)
{
    if (f->s != NULL && (is_readable(f) || is_writable(f)))
        loop_next_add(f->loop, &f->soon);
}

static void on_soon(struct loop_task *t)
{
    struct fake_end *f = CONTAINER_OF(t, struct fake_end, soon);
    struct stream *s = f->s;

    s->depth++; /* the callbacks may free it; f lives at least as long */
    if (is_readable(f))
        stream_on_readable(s);
    if (!s->dead && is_writable(f))
        stream_on_writable(s);
    if (!s->dead)
        kick(f);
    if (--s->depth == 0 && s->dead)
        mem_free(s);
}

static ssize_t fake_read(struct stream *s, void *p, size_t n)
{
    struct fake_end *f = s->be_data;

    if (f->inbox.n == 0) {
        errno = EAGAIN;
        return f->in_shut ? 0 : -1;
    }
    if (n > f->inbox.n)
        n = f->inbox.n;
    if (f->chunk != 0 && n > f->chunk)
        n = f->chunk;
    memcpy(p, f->inbox.p, n);
    buf_consume(&f->inbox, n);
    kick(f->other);
    return (ssize_t)n;
}

static ssize_t fake_write(struct stream *s, const struct iovec *iov, int n)
{
    struct fake_end *f = s->be_data, *to = f->other;
    size_t put = 0;

    if (to->s == NULL) {
        errno = EPIPE;
        return -1;
    }
    for (int i = 0; i < n && to->inbox.n < WINDOW; i++) {
        size_t part = WINDOW - to->inbox.n;
        if (part > iov[i].iov_len)
            part = iov[i].iov_len;
        buf_append(&to->inbox, iov[i].iov_base, part);
        put += part;
    }
    kick(to);
    errno = EAGAIN;
    return put != 0 ? (ssize_t)put : -1;
}

static void fake_want(struct stream *s, unsigned events)
{
    struct fake_end *f = s->be_data;

    f->wanted = events;
    kick(f);
}

static void end_input(struct fake_end *f)
{
    f->in_shut = true;
    kick(f);
}

static bool fake_input_waits(const struct stream *s)
{
    const struct fake_end *f = s->be_data;

    return f->inbox.n != 0;
}

static void fake_shutdown(struct stream *s)
{
    struct fake_end *f = s->be_data;
    end_input(f->other);
}

static void fake_close(struct stream *s)
{
    struct fake_end *f = s->be_data, *other = f->other;

    f->s = NULL;
    loop_task_cancel(&f->soon);
    buf_free(&f->inbox);
    if (other->s != NULL) {
        end_input(other);
        return;
    }
    mem_free(other);
    mem_free(f);
}

static void fake_addr(const struct stream *s, bool peer, struct stream_peer *out)
{
    const struct fake_end *f = s->be_data;
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};

    sin.sin_port = htons((uint16_t)(peer ? f->other->port : f->port));
    stream_peer_set(out, (struct sockaddr *)&sin, sizeof(sin));
}

static const struct stream_backend fake_backend = {
    .read = fake_read,
    .write = fake_write,
    .want = fake_want,
    .input_waits = fake_input_waits,
    .shutdown = fake_shutdown,
    .close = fake_close,
    .addr = fake_addr,
};

static struct fake_end *end_new(struct loop *l, size_t chunk, unsigned port)
{
    struct fake_end *f = NEW(struct fake_end);

    f->loop = l;
    f->chunk = chunk;
    f->port = port;
    f->soon.fn = on_soon;
    buf_init(&f->inbox, WINDOW);
    return f;
}

void stream_pair_fake(struct loop *l, size_t chunk, const struct stream_limits *limits,
                      const struct stream_events *ev_a, void *arg_a, struct stream **a,
                      const struct stream_events *ev_b, void *arg_b, struct stream **b)
{
    struct fake_end *fa = end_new(l, chunk, FIRST_PORT), *fb = end_new(l, chunk, FIRST_PORT + 1);

    fa->other = fb;
    fb->other = fa;
    *a = fa->s = stream_create(l, &fake_backend, fa, -1, limits, ev_a, arg_a);
    *b = fb->s = stream_create(l, &fake_backend, fb, -1, limits, ev_b, arg_b);
    stream_want(*a, LOOP_READ);
    stream_want(*b, LOOP_READ);
}
