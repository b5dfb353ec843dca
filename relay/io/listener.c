/*
 * listener.c - accepting connections on one listening socket, on the loop's thread.
 *
 * A burst is taken in portions, so that sessions already open keep moving. When the process or the
 * system is out of descriptors the connection stays in the kernel's queue and the socket would be
 * readable for ever: the listener then looks away for a second.
 */
#include "relay/io/listener.h"

#include <errno.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "relay/io/addr_int.h"

enum {
    ACCEPTS_PER_TURN = 64,
    REST_MS = 1000,       /* after EMFILE and the like */
    LOG_EVERY_MS = 60000, /* about that */
};

struct listener {
    struct loop *loop;
    int fd;
    struct loop_fd *watch; /* NULL while paused or resting */
    struct loop_timer rest;
    listener_accept_fn *fn;
    void *arg;
    bool paused;
    bool in_callback, dead;
};

static struct log_limit out_of_descriptors;

static void on_readable(void *arg, int fd, unsigned events);

static void watch(struct listener *li)
{
    if (li->paused || loop_timer_is_set(&li->rest))
        loop_fd_remove(&li->watch);
    else if (li->watch == NULL)
        li->watch = loop_fd_add(li->loop, li->fd, LOOP_READ, on_readable, li);
}

static void on_rested(struct loop_timer *t)
{
    watch(CONTAINER_OF(t, struct listener, rest));
}

static void rest(struct listener *li, int errnum)
{
    int64_t suppressed;
    char text[80];

    if (log_limit_pass(&out_of_descriptors, LOG_EVERY_MS, &suppressed)) {
        LOG(ERROR, "", "accept_paused", LC("error", strerror_r(errnum, text, sizeof(text))),
            LI("pause_ms", REST_MS), LI("suppressed", suppressed));
    }
    loop_timer_set(&li->rest, REST_MS);
    watch(li);
}

/* False: no more for now. */
static bool accept_one(struct listener *li)
{
    struct sockaddr_storage peer = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof(peer);
    int fd = accept4(li->fd, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0) {
        if (peer.ss_family == AF_INET || peer.ss_family == AF_INET6)
            addr_set_nodelay(fd);
        li->fn(li->arg, fd, &peer);
        return true;
    }
    switch (errno) {
    case EAGAIN:
        return false;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
        rest(li, errno);
        return false;
    default: /* errors of that one connection: ECONNABORTED, EPROTO, ENETDOWN, ... */
        return true;
    }
}

static void on_readable(void *arg, int fd, unsigned events)
{
    struct listener *li = arg;

    (void)fd;
    (void)events;
    li->in_callback = true;
    for (int i = 0; i < ACCEPTS_PER_TURN && !li->dead && !li->paused; i++) {
        if (!accept_one(li))
            break;
    }
    li->in_callback = false;
    if (li->dead)
        mem_free(li);
}

struct listener *listener_new(struct loop *l, int fd, listener_accept_fn *fn, void *arg)
{
    struct listener *li = NEW(struct listener);

    li->loop = l;
    li->fd = fd;
    li->fn = fn;
    li->arg = arg;
    loop_timer_init(&li->rest, l, on_rested);
    watch(li);
    return li;
}

void listener_pause(struct listener *li, bool paused)
{
    li->paused = paused;
    watch(li);
}

void listener_free(struct listener **lp)
{
    struct listener *li = *lp;

    if (li == NULL)
        return;
    *lp = NULL;
    loop_fd_remove(&li->watch);
    loop_timer_clear(&li->rest);
    close(li->fd);
    li->dead = true;
    if (!li->in_callback)
        mem_free(li);
}
