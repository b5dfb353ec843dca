/*
 * generator.c - mail at a rate that does not depend on how fast the relay answers (open loop): when
 * a message is due and no session is free, the time it waits for one counts as latency, so that a
 * stall of the relay shows in full instead of slowing the load down. Times between messages are
 * exponential. With rate 0, one message after the other (closed loop).
 *
 * A session: banner, EHLO; then for each message MAIL, RCPT and DATA in one write, content and dot
 * in another.
 */
#include "tests/bench/bench_load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define DUE_MAX 65536

enum state {
    BANNER,
    EHLO,
    FREE,
    ENVELOPE, /* waiting for the replies to MAIL, RCPT and DATA */
    CONTENT,  /* waiting for the reply to the dot */
};

struct session {
    int fd;
    enum state state;
    int replies; /* of the envelope, so far */
    bool refused;
    long shot;
    int64_t waited; /* how long the message waited for a session */
    struct session *next_free;
    size_t n;
    char in[4096];
};

struct generator {
    struct load *load;
    int epoll, timer;
    struct session *session, *free;
    char *content; /* header and body, with room for the number */
    size_t content_n;
    char *number;         /* where the number goes */
    int64_t next_due;     /* 0 = nothing more to come */
    int64_t due[DUE_MAX]; /* messages that are due and have no session: a ring */
    unsigned due_head, due_n;
    int busy;
    int opening; /* sessions that have not answered EHLO yet */
    int64_t end;
    uint64_t random;
};

static double uniform(struct generator *g)
{
    g->random ^= g->random << 13;
    g->random ^= g->random >> 7;
    g->random ^= g->random << 17;
    return ((double)(g->random >> 11) + 0.5) / 9007199254740992.0;
}

static void write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t w = send(fd, p, n, MSG_NOSIGNAL);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return; /* the read side will see the end */
        p += w;
        n -= (size_t)w;
    }
}

static bool session_connect(struct session *s, const struct sockaddr_in *a)
{
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s->fd < 0)
        die("socket");
    if (connect(s->fd, (const struct sockaddr *)a, sizeof(*a)) == 0)
        return true;
    close(s->fd);
    return false;
}

static void session_open(struct generator *g, struct session *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)g->load->relay_port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    int tries = 0; /* the relay may still be starting */
    while (!session_connect(s, &a)) {
        if (++tries == 6000)
            die("connect to the relay");
        usleep(10000);
    }
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    s->state = BANNER;
    s->n = 0;
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = s};
    if (epoll_ctl(g->epoll, EPOLL_CTL_ADD, s->fd, &ev) != 0)
        die("epoll_ctl");
}

static void begin(struct generator *g, struct session *s, int64_t waited)
{
    struct load *l = g->load;
    char text[512];
    long number = atomic_load(&l->n_shots);
    if (number >= l->max_shots) {
        g->next_due = 0;
        return;
    }
    atomic_store(&l->n_shots, number + 1);
    g->free = s->next_free;
    g->busy++;
    s->shot = number;
    s->waited = waited;
    s->state = ENVELOPE;
    if (s->refused) /* what is left of the last transaction */
        write_all(s->fd, "RSET\r\n", 6);
    s->replies = s->refused ? -1 : 0;
    s->refused = false;
    l->shot[number].user = 1 + (long)(uniform(g) * (double)l->users);
    int n = snprintf(text, sizeof(text),
                     "MAIL FROM:<sender@elsewhere.test>\r\nRCPT TO:<%lduser@%s>\r\nDATA\r\n",
                     l->shot[number].user, l->domain);
    write_all(s->fd, text, (size_t)n);
}

static void session_is_free(struct generator *g, struct session *s)
{
    s->state = FREE;
    s->next_free = g->free;
    g->free = s;
    if (g->due_n != 0) {
        int64_t due = g->due[g->due_head];
        g->due_head = (g->due_head + 1) % DUE_MAX;
        g->due_n--;
        begin(g, s, now_ns() - due);
    } else if (g->load->rate <= 0 && g->next_due != 0) {
        begin(g, s, 0);
    }
}

static void done(struct generator *g, struct session *s, bool accepted)
{
    g->busy--;
    if (accepted)
        g->load->shot[s->shot].accepted = now_ns();
    else
        g->load->failed++;
    session_is_free(g, s);
}

static void send_content(struct generator *g, struct session *s)
{
    char text[SHOT_LENGTH + 32];
    snprintf(text, sizeof(text), SHOT_FORMAT, g->load->run, s->shot);
    memcpy(g->number, text, SHOT_LENGTH);
    s->state = CONTENT;
    g->load->shot[s->shot].dot = now_ns() - s->waited;
    write_all(s->fd, g->content, g->content_n);
}

static void arm(struct generator *g)
{
    struct itimerspec t = {0};
    if (g->next_due != 0) {
        t.it_value.tv_sec = g->next_due / 1000000000;
        t.it_value.tv_nsec = g->next_due % 1000000000;
    }
    timerfd_settime(g->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

/* All sessions are open: from here on time counts. */
static void first_message(struct generator *g)
{
    struct load *l = g->load;
    g->next_due = now_ns() + (int64_t)(l->delay * 1e9) + 1;
    g->end = g->next_due + (int64_t)(l->seconds * 1e9);
    arm(g);
}

static void reply(struct generator *g, struct session *s, const char *line)
{
    bool good = line[0] == '2' || line[0] == '3';
    switch (s->state) {
    case BANNER:
        if (!good)
            die("the relay refuses us");
        write_all(s->fd, "EHLO client.elsewhere.test\r\n", 28);
        s->state = EHLO;
        break;
    case EHLO:
        session_is_free(g, s);
        if (--g->opening == 0)
            first_message(g);
        break;
    case ENVELOPE:
        s->refused |= !good;
        if (++s->replies < 3)
            break;
        if (s->refused && line[0] == '3')
            die("DATA accepted after a refusal");
        if (s->refused)
            done(g, s, false);
        else
            send_content(g, s);
        break;
    case CONTENT:
        done(g, s, good);
        break;
    case FREE:
        break;
    }
}

static void readable(struct generator *g, struct session *s)
{
    ssize_t got = read(s->fd, s->in + s->n, sizeof(s->in) - s->n);
    if (got <= 0 || s->n + (size_t)got >= sizeof(s->in))
        die("the relay closed a session");
    s->n += (size_t)got;
    size_t at = 0;
    char *end;
    while ((end = memchr(s->in + at, '\n', s->n - at)) != NULL) {
        char *line = s->in + at;
        at = (size_t)(end - s->in) + 1;
        if (end - line >= 4 && line[3] != '-')
            reply(g, s, line);
    }
    memmove(s->in, s->in + at, s->n - at);
    s->n -= at;
}

/* Starts all that is due and sets the timer for the next. */
static void tick(struct generator *g)
{
    uint64_t count;
    ssize_t ignored = read(g->timer, &count, sizeof(count));
    (void)ignored;
    int64_t now = now_ns();
    if (g->load->rate <= 0) { /* every session begins, and goes on when it has its answer */
        while (g->free != NULL && g->next_due != 0)
            begin(g, g->free, 0);
        return;
    }
    while (g->next_due != 0 && g->next_due <= now) {
        int64_t due = g->next_due;
        g->next_due += (int64_t)(-log(uniform(g)) / g->load->rate * 1e9) + 1;
        if (g->free != NULL) {
            begin(g, g->free, 0);
        } else if (g->due_n < DUE_MAX) {
            g->due[(g->due_head + g->due_n++) % DUE_MAX] = due;
        } else {
            die("the relay falls behind by more than 65536 messages");
        }
    }
    arm(g);
}

static void make_content(struct generator *g)
{
    size_t size = (size_t)g->load->size;
    g->content = malloc(size + 1024);
    if (g->content == NULL)
        die("malloc");
    int n = sprintf(g->content,
                    "From: <sender@elsewhere.test>\r\nTo: <user@%s>\r\n"
                    "Subject: bench\r\n" SHOT_HEADER,
                    g->load->domain);
    g->number = g->content + n;
    n += sprintf(g->content + n, SHOT_FORMAT "\r\n\r\n", g->load->run, 0l);
    g->content_n = (size_t)n;
    for (size_t body = 0; body < size; body += 80) {
        memset(g->content + g->content_n, 'x', 78);
        memcpy(g->content + g->content_n + 78, "\r\n", 2);
        g->content_n += 80;
    }
    memcpy(g->content + g->content_n, ".\r\n", 3);
    g->content_n += 3;
}

/* True while there is something to send or to wait for. */
static bool goes_on(struct generator *g)
{
    struct load *l = g->load;
    int64_t now = now_ns(), end = g->end;
    if (g->opening > 0)
        return true;
    if (atomic_load(&l->enough) && end > now)
        end = g->end = now;
    bool backlog = l->backlog != 0 && atomic_load(&l->sunk_others) < l->backlog;
    if (l->backlog != 0 ? !backlog || now >= end : now >= end)
        g->next_due = 0;
    if (g->next_due != 0 || g->busy != 0 || g->due_n != 0)
        return true;
    /* All was sent: wait until it has arrived, but not for ever. */
    return l->sinks != 0 && atomic_load(&l->sunk_ours) + l->failed < atomic_load(&l->n_shots) &&
           now < end + 60000000000;
}

void generator_run(struct load *l)
{
    struct generator *g = calloc(1, sizeof(*g));
    if (g == NULL)
        die("calloc");
    g->load = l;
    g->random = 88172645463325252u;
    g->epoll = epoll_create1(EPOLL_CLOEXEC);
    g->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = NULL};
    if (g->epoll < 0 || g->timer < 0 || epoll_ctl(g->epoll, EPOLL_CTL_ADD, g->timer, &ev) != 0)
        die("epoll");
    make_content(g);
    g->session = calloc((size_t)l->sessions, sizeof(*g->session));
    if (g->session == NULL)
        die("calloc");
    g->opening = l->sessions;
    for (int i = 0; i < l->sessions; i++)
        session_open(g, &g->session[i]);
    while (goes_on(g)) {
        struct epoll_event events[64];
        int n = epoll_wait(g->epoll, events, 64, 50);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                tick(g);
            else
                readable(g, events[i].data.ptr);
        }
    }
    for (int i = 0; i < l->sessions; i++) {
        write_all(g->session[i].fd, "QUIT\r\n", 6);
        close(g->session[i].fd);
    }
    free(g->session);
    free(g->content);
    close(g->epoll);
    close(g->timer);
    free(g);
}
