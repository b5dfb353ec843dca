/*
 * bench_idle.c - bench-idle: opens many SMTP sessions to one port, takes each as far as the answer
 * to EHLO, prints "ready", holds them until standard input ends, and prints how many are still
 * open. Connections are opened a few hundred at a time, so that no listen queue overflows.
 *
 *   bench-idle PORT COUNT
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    AT_A_TIME = 256
};

struct conn {
    int fd;
    int step; /* 0 banner awaited, 1 EHLO sent, 2 idle, -1 closed by the relay */
};

static int epoll;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "bench-idle: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void conn_open(struct conn *c, int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    c->step = 0;
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof(a)) != 0)
        die("connect");
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &ev) != 0)
        die("epoll_ctl");
}

/* Replies are small and come whole; the last line is the one without a hyphen. */
static void conn_read(struct conn *c)
{
    char text[4096];
    ssize_t n = read(c->fd, text, sizeof(text));
    if (n <= 0 || text[0] != '2') {
        close(c->fd);
        c->fd = -1;
        c->step = -1;
        return;
    }
    const char *last = text;
    for (const char *p = text; p < text + n - 1; p++) {
        if (*p == '\n')
            last = p + 1;
    }
    if (text[n - 1] != '\n' || (text + n - last > 3 && last[3] == '-'))
        return;
    static const char ehlo[] = "EHLO idle.elsewhere.test\r\n";
    if (c->step == 0 && write(c->fd, ehlo, sizeof(ehlo) - 1) != (ssize_t)sizeof(ehlo) - 1)
        die("write");
    c->step++;
}

static int turn(int timeout)
{
    struct epoll_event ev[AT_A_TIME];
    int n = epoll_wait(epoll, ev, AT_A_TIME, timeout);
    for (int i = 0; i < n; i++)
        conn_read(ev[i].data.ptr);
    return n;
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int port = atoi(argv[1]), count = atoi(argv[2]);
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    struct conn *conn = calloc((size_t)(count > 0 ? count : 1), sizeof(*conn));
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (conn == NULL || epoll < 0)
        die("start");
    for (int from = 0; from < count; from += AT_A_TIME) {
        int to = from + AT_A_TIME < count ? from + AT_A_TIME : count;
        for (int i = from; i < to; i++)
            conn_open(&conn[i], port);
        for (int i = from; i < to; i++) {
            while (conn[i].step == 0 || conn[i].step == 1) {
                if (turn(10000) == 0)
                    die("the relay does not answer");
            }
        }
    }
    puts("ready");
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) {
    }
    while (turn(0) > 0) { /* those that the relay has closed meanwhile */
    }
    int open = 0;
    for (int i = 0; i < count; i++)
        open += conn[i].step == 2;
    printf("%d\n", open);
    free(conn);
    return 0;
}
