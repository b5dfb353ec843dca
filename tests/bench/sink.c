/*
 * sink.c - an SMTP server that throws mail away and knows when each message of ours came. One
 * thread, one epoll set, one port. It understands pipelining; a message is ours if its header has
 * the field SHOT_HEADER.
 */
#include "tests/bench/bench_load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    INPUT = 65536,
    OUTPUT = 16384
};

struct peer {
    struct peer *next, **link; /* of the sink's */
    int fd;
    bool in_data, in_header;
    long number; /* of our message; -1 = not ours */
    long user;   /* of its recipient; 0 = none yet */
    int64_t rcpt_ns;
    bool deferred; /* the last RCPT got 451 */
    size_t n, n_out;
    char in[INPUT], out[OUTPUT];
};

struct sink {
    struct load *load;
    int epoll, listener, port;
    struct peer *peers;
    pthread_t thread;
};

static void say(struct peer *p, const char *text)
{
    size_t n = strlen(text);
    if (p->n_out + n <= sizeof(p->out)) {
        memcpy(p->out + p->n_out, text, n);
        p->n_out += n;
    }
}

static bool flush(struct peer *p)
{
    size_t done = 0;
    while (done < p->n_out) {
        ssize_t w = send(p->fd, p->out + done, p->n_out - done, MSG_NOSIGNAL);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return false;
        done += (size_t)w;
    }
    p->n_out = 0;
    return true;
}

static void arrived(struct sink *s, struct peer *p)
{
    struct load *l = s->load;
    int64_t now = now_ns();
    if (l->record != NULL) /* one call: the lines of several threads stay whole */
        fprintf(l->record, "rcpt %" PRId64 " %d %ld %ld\n", p->rcpt_ns, s->port, p->number,
                p->user);
    if (p->number >= 0 && p->number < atomic_load(&l->n_shots)) {
        int64_t never = 0;
        if (atomic_compare_exchange_strong(&l->shot[p->number].sunk, &never, now))
            atomic_fetch_add(&l->sunk_ours, 1);
        return;
    }
    int64_t never = 0;
    atomic_compare_exchange_strong(&l->first_other, &never, now);
    atomic_store(&l->last_other, now);
    atomic_fetch_add(&l->sunk_others, 1);
}

static void content_line(struct sink *s, struct peer *p, const char *line, size_t n)
{
    static const size_t mark = sizeof(SHOT_HEADER) - 1;
    if (n == 1 && line[0] == '.') {
        p->in_data = false;
        arrived(s, p);
        say(p, "250 2.0.0 Ok\r\n");
    } else if (p->in_header && n == 0) {
        p->in_header = false;
    } else if (p->in_header && n == mark + SHOT_LENGTH && memcmp(line, SHOT_HEADER, mark) == 0) {
        char *end;
        if (strtoul(line + mark, &end, 16) == s->load->run)
            p->number = strtol(end + 1, NULL, 10);
    }
}

/* False: the connection is over. */
static bool command_line(struct sink *s, struct peer *p, const char *line, size_t n)
{
    static const char rcpt[] = "RCPT TO:<";
    if (n >= 4 && strncasecmp(line, "EHLO", 4) == 0) {
        say(p, "250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-DSN\r\n"
               "250-ENHANCEDSTATUSCODES\r\n250 SIZE\r\n");
    } else if (p->deferred && n >= 4 && strncasecmp(line, "DATA", 4) == 0) {
        say(p, "554 5.5.1 No recipients\r\n");
    } else if (n >= 4 && strncasecmp(line, "DATA", 4) == 0) {
        p->in_data = p->in_header = true;
        p->number = -1;
        say(p, "354 End with a dot\r\n");
    } else if (n >= sizeof(rcpt) && strncasecmp(line, rcpt, sizeof(rcpt) - 1) == 0) {
        p->user = strtol(line + sizeof(rcpt) - 1, NULL, 10);
        p->rcpt_ns = now_ns();
        p->deferred = s->port == s->load->defer_port && p->user <= s->load->defer_users;
        say(p, p->deferred ? "451 4.2.1 Not now\r\n" : "250 2.0.0 Ok\r\n");
    } else if (n >= 4 && strncasecmp(line, "QUIT", 4) == 0) {
        say(p, "221 2.0.0 Bye\r\n");
        flush(p);
        return false;
    } else {
        say(p, "250 2.0.0 Ok\r\n");
    }
    return true;
}

static bool read_lines(struct sink *s, struct peer *p)
{
    ssize_t got = read(p->fd, p->in + p->n, sizeof(p->in) - p->n);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (got <= 0)
        return false;
    p->n += (size_t)got;
    size_t at = 0;
    for (;;) {
        char *end = memchr(p->in + at, '\n', p->n - at);
        if (end == NULL)
            break;
        size_t n = (size_t)(end - (p->in + at));
        size_t without = n > 0 && end[-1] == '\r' ? n - 1 : n;
        if (p->in_data)
            content_line(s, p, p->in + at, without);
        else if (!command_line(s, p, p->in + at, without))
            return false;
        at += n + 1;
    }
    memmove(p->in, p->in + at, p->n - at);
    p->n -= at;
    return p->n < sizeof(p->in) && flush(p);
}

static void peer_close(struct peer *p)
{
    *p->link = p->next;
    if (p->next != NULL)
        p->next->link = p->link;
    close(p->fd);
    free(p);
}

static void accept_all(struct sink *s)
{
    for (;;) {
        int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return;
        struct peer *p = calloc(1, sizeof(*p));
        if (p == NULL)
            die("calloc");
        p->fd = fd;
        p->link = &s->peers;
        p->next = s->peers;
        if (p->next != NULL)
            p->next->link = &p->next;
        s->peers = p;
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = p};
        if (epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &ev) != 0)
            die("epoll_ctl");
        say(p, "220 sink ESMTP\r\n");
        flush(p);
    }
}

static void *serve(void *arg)
{
    struct sink *s = arg;
    struct epoll_event ev[64];
    while (!atomic_load(&s->load->stop)) {
        int n = epoll_wait(s->epoll, ev, 64, 100);
        for (int i = 0; i < n; i++) {
            struct peer *p = ev[i].data.ptr;
            if (p == NULL) {
                accept_all(s);
            } else if (!read_lines(s, p)) {
                peer_close(p);
            }
        }
    }
    return NULL;
}

struct sink *sink_start(struct load *l, int port)
{
    struct sink *s = calloc(1, sizeof(*s));
    if (s == NULL)
        die("calloc");
    s->load = l;
    s->port = port;
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int on = 1;
    setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    if (bind(s->listener, (struct sockaddr *)&a, sizeof(a)) != 0 ||
        listen(s->listener, 4096) != 0 || s->epoll < 0 ||
        epoll_ctl(s->epoll, EPOLL_CTL_ADD, s->listener, &ev) != 0)
        die("sink");
    if (pthread_create(&s->thread, NULL, serve, s) != 0)
        die("pthread_create");
    return s;
}

void sink_join(struct sink *s)
{
    pthread_join(s->thread, NULL);
    while (s->peers != NULL)
        peer_close(s->peers);
    close(s->listener);
    close(s->epoll);
    free(s);
}
