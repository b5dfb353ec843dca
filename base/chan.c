/*
 * chan.c - many senders, one receiver: a stack that senders push to with one compare-and-swap and
 * the receiver empties with one exchange, then turns round. Since nodes are only ever taken all at
 * once, a node that comes back to the top between a sender's read and its swap does no harm.
 *
 * Waking: the sender that finds the stack empty writes the eventfd, after the push. The receiver
 * reads the eventfd before it empties the stack, so a push that it misses is always followed by a
 * write that it sees. A wake with nothing to do is possible and harmless.
 */
#include "base/chan.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

struct chan {
    _Atomic(struct chan_node *) head; /* newest first */
    int fd;
};

struct chan *chan_new(void)
{
    struct chan *c = NEW(struct chan);
    atomic_init(&c->head, NULL);
    c->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(c->fd >= 0); /* only at start-up: without it the process cannot work */
    return c;
}

void chan_free(struct chan **c)
{
    if (*c == NULL)
        return;
    ASSERT(atomic_load(&(*c)->head) == NULL);
    close((*c)->fd);
    mem_free(*c);
    *c = NULL;
}

static void wake(int fd)
{
    static const uint64_t one = 1;
    while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

void chan_send(struct chan *c, struct chan_node *n)
{
    struct chan_node *old = atomic_load_explicit(&c->head, memory_order_relaxed);
    do {
        n->next = old;
    } while (!atomic_compare_exchange_weak(&c->head, &old, n));
    /* From here on n belongs to the receiver. */
    if (old == NULL)
        wake(c->fd);
}

int chan_fd(const struct chan *c)
{
    return c->fd;
}

struct chan_node *chan_take(struct chan *c)
{
    uint64_t count;
    while (read(c->fd, &count, sizeof(count)) < 0 && errno == EINTR) {
    }
    struct chan_node *n = atomic_exchange(&c->head, NULL);
    struct chan_node *oldest = NULL;
    while (n != NULL) {
        struct chan_node *next = n->next;
        n->next = oldest;
        oldest = n;
        n = next;
    }
    return oldest;
}

unsigned chan_drain(struct chan *c)
{
    unsigned ran = 0;
    struct chan_node *n = chan_take(c);
    while (n != NULL) {
        struct chan_node *next = n->next; /* run() may free n */
        n->next = NULL;
        n->run(n);
        n = next;
        ran++;
    }
    return ran;
}

void chan_wait(struct chan *c, int timeout_ms)
{
    if (atomic_load(&c->head) != NULL)
        return;
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    poll(&p, 1, timeout_ms);
}
