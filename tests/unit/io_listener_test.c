/*
 * io_listener_test.c - addresses to listen on, accepting, connecting; loopback and free ports only.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "relay/io/addr_int.h"
#include "relay/io/listener.h"
#include "relay/io/stream.h"

static struct loop *l;

static int setup(void **state)
{
    (void)state;
    clock_fake_start(5000, 1700000000000);
    l = loop_new(NULL);
    return l != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    loop_free(&l);
    clock_fake_stop();
    return 0;
}

static void test_addresses(void **state)
{
    static const struct {
        const char *text, *out; /* NULL: refused */
    } table[] = {
        {"127.0.0.1:25", "127.0.0.1:25"},
        {"127.0.0.1:0", "127.0.0.1:0"},
        {"[::1]:2525", "[::1]:2525"},
        {"*:25", "[::]:25"},
        {"0.0.0.0:65535", "0.0.0.0:65535"},
        {"", NULL},
        {"25", NULL},
        {":25", NULL},
        {"127.0.0.1", NULL},
        {"127.0.0.1:", NULL},
        {"127.0.0.1:65536", NULL},
        {"127.0.0.1:-1", NULL},
        {"127.0.0.1:25x", NULL},
        {"127.0.0.1.2:25", NULL},
        {"[127.0.0.1]:25", NULL},
        {"::1:25", NULL},
        {"[::1:25", NULL},
        {"localhost:25", NULL},
        {"[::ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:1", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct sockaddr_storage ss;
        socklen_t len;
        char text[ADDR_TEXT_MAX];
        struct err e;
        bool ok = listen_parse(str_c(table[i].text), &ss, &len, &e);
        assert_int_equal(ok, table[i].out != NULL);
        if (ok)
            assert_string_equal(addr_text((struct sockaddr *)&ss, len, text), table[i].out);
        else
            assert_int_equal(e.class, ERR_CONFIG);
    }
}

static void test_mapped_addresses_are_shown_as_ipv4(void **state)
{
    struct sockaddr_storage ss;
    socklen_t len;
    char text[ADDR_TEXT_MAX];

    (void)state;
    assert_true(addr_parse_literal(STR("::ffff:192.0.2.7"), &ss, &len));
    assert_string_equal(addr_text((struct sockaddr *)&ss, len, text), "192.0.2.7:0");
}

/* ---- accept and connect ---- */

static struct sockaddr_storage at;
static socklen_t at_len;

static int listen_free_port(const char *text, bool reuseport)
{
    struct err e;
    int fd;

    assert_true(listen_parse(str_c(text), &at, &at_len, &e));
    fd = listen_tcp((struct sockaddr *)&at, at_len, 128, reuseport, &e);
    assert_true(fd >= 0);
    at_len = sizeof(at);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &at_len), 0);
    return fd;
}

struct acceptor {
    struct listener *li;
    int fd[200];
    unsigned n;
    char peer[ADDR_TEXT_MAX];
    bool free_in_callback;
};

static void on_accept(void *arg, int fd, const struct sockaddr_storage *peer)
{
    struct acceptor *x = arg;

    assert_true(x->n < ARRAY_LEN(x->fd));
    x->fd[x->n++] = fd;
    addr_text((const struct sockaddr *)peer, sizeof(*peer), x->peer);
    if (x->free_in_callback)
        listener_free(&x->li);
}

static void acceptor_end(struct acceptor *x)
{
    listener_free(&x->li);
    for (unsigned i = 0; i < x->n; i++)
        close(x->fd[i]);
}

struct outcome {
    unsigned n;
    int fd;
    struct err e;
    struct connect *c;
    bool cancel;
};

static void on_connect(void *arg, int fd, const struct err *e)
{
    struct outcome *o = arg;

    o->n++;
    o->fd = fd;
    if (e != NULL)
        o->e = *e;
    if (o->cancel)
        connect_cancel(&o->c);
}

static void dial(struct outcome *o)
{
    o->c = connect_start(l, (struct sockaddr *)&at, at_len, NULL, 0, 30000, on_connect, o);
    assert_int_equal(o->n, 0);
}

static void turns_until(const unsigned *n, unsigned want)
{
    for (int i = 0; i < 500 && *n < want; i++)
        loop_turn(l, 10);
    assert_int_equal(*n, want);
}

static void test_connect_and_accept(void **state)
{
    struct acceptor x = {0};
    struct outcome o = {.fd = -1};
    int value = 0;
    socklen_t len = sizeof(value);

    (void)state;
    x.li = listener_new(l, listen_free_port("127.0.0.1:0", true), on_accept, &x);
    dial(&o);
    turns_until(&o.n, 1);
    turns_until(&x.n, 1);
    assert_true(o.fd >= 0);
    assert_memory_equal(x.peer, "127.0.0.1:", 10);
    assert_true(fcntl(x.fd[0], F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(x.fd[0], F_GETFD) & FD_CLOEXEC);
    assert_int_equal(getsockopt(x.fd[0], IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
    assert_int_not_equal(value, 0);
    assert_int_equal(getsockopt(o.fd, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
    assert_int_not_equal(value, 0);
    close(o.fd);
    acceptor_end(&x);
}

static void test_source_address(void **state)
{
    struct acceptor x = {0};
    struct outcome o = {.fd = -1};
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {htonl(0x7f000002)}};

    (void)state;
    x.li = listener_new(l, listen_free_port("127.0.0.1:0", true), on_accept, &x);
    o.c = connect_start(l, (struct sockaddr *)&at, at_len, (struct sockaddr *)&from, sizeof(from),
                        30000, on_connect, &o);
    turns_until(&o.n, 1);
    turns_until(&x.n, 1);
    assert_memory_equal(x.peer, "127.0.0.2:", 10);
    close(o.fd);
    /* an address that is not ours */
    from.sin_addr.s_addr = htonl(0xc0000201);
    o.c = connect_start(l, (struct sockaddr *)&at, at_len, (struct sockaddr *)&from, sizeof(from),
                        30000, on_connect, &o);
    turns_until(&o.n, 2);
    assert_int_equal(o.fd, -1);
    assert_int_equal(o.e.errnum, EADDRNOTAVAIL);
    acceptor_end(&x);
}

static void test_refused(void **state)
{
    struct outcome o = {.fd = 0, .cancel = true};

    (void)state;
    close(listen_free_port("127.0.0.1:0", false));
    dial(&o);
    turns_until(&o.n, 1);
    assert_int_equal(o.fd, -1);
    assert_int_equal(o.e.class, ERR_SYSTEM);
    assert_int_equal(o.e.errnum, ECONNREFUSED);
    assert_non_null(strstr(o.e.text, "connect to 127.0.0.1:"));
}

/* A full queue never answers: SYNs are dropped. Where the kernel answers anyway, cancel is tested.
 */
static void test_timeout_and_cancel(void **state)
{
    struct outcome o[40] = {{0}};
    unsigned timeouts = 0, connected = 0;
    struct err e;
    int fd;

    (void)state;
    assert_true(listen_parse(STR("127.0.0.1:0"), &at, &at_len, &e));
    fd = listen_tcp((struct sockaddr *)&at, at_len, 1, false, &e);
    at_len = sizeof(at);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &at_len), 0);
    for (size_t i = 0; i < ARRAY_LEN(o); i++)
        dial(&o[i]);
    for (int i = 0; i < 20; i++)
        loop_turn(l, 1);
    connect_cancel(&o[39].c);
    assert_null(o[39].c);
    clock_fake_advance(29999);
    loop_turn(l, 0);
    clock_fake_advance(1);
    loop_turn(l, 0);
    for (size_t i = 0; i + 1 < ARRAY_LEN(o); i++) {
        assert_int_equal(o[i].n, 1);
        connected += o[i].fd >= 0;
        timeouts += o[i].fd < 0 && o[i].e.class == ERR_TIMEOUT;
        if (o[i].fd >= 0)
            close(o[i].fd);
    }
    assert_int_equal(connected + timeouts, ARRAY_LEN(o) - 1);
    assert_true(timeouts > 0);
    if (o[39].n != 0 && o[39].fd >= 0)
        close(o[39].fd);
    close(fd);
}

static void test_bursts_pause_and_free(void **state)
{
    struct acceptor x = {0};
    struct outcome o[100] = {{0}};
    unsigned before;

    (void)state;
    x.li = listener_new(l, listen_free_port("127.0.0.1:0", true), on_accept, &x);
    listener_pause(x.li, true);
    for (size_t i = 0; i < ARRAY_LEN(o); i++)
        dial(&o[i]);
    for (int i = 0; i < 200 && o[99].n == 0; i++)
        loop_turn(l, 10);
    assert_int_equal(x.n, 0);
    listener_pause(x.li, false);
    loop_turn(l, 10);
    assert_in_range(x.n, 1, 64); /* a portion */
    before = x.n;
    x.free_in_callback = true;
    loop_turn(l, 10);
    assert_int_equal(x.n, before + 1);
    assert_null(x.li);
    for (size_t i = 0; i < ARRAY_LEN(o); i++) {
        if (o[i].n == 0)
            connect_cancel(&o[i].c);
        else if (o[i].fd >= 0)
            close(o[i].fd);
    }
    acceptor_end(&x);
}

static void test_no_descriptors_left(void **state)
{
    struct acceptor x = {0};
    struct outcome o = {0};
    struct rlimit old, low;

    (void)state;
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_);
    x.li = listener_new(l, listen_free_port("127.0.0.1:0", true), on_accept, &x);
    dial(&o);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = old;
    low.rlim_cur = 3; /* what is open stays open */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    turns_until(&o.n, 1);
    for (int i = 0; i < 3; i++)
        loop_turn(l, 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    for (int i = 0; i < 3; i++)
        loop_turn(l, 1);
    assert_int_equal(x.n, 0); /* rests though it could */
    clock_fake_advance(1000);
    turns_until(&x.n, 1);
    close(o.fd);
    acceptor_end(&x);
}

static void test_address_in_use(void **state)
{
    struct err e;
    int fd = listen_free_port("127.0.0.1:0", false);

    (void)state;
    assert_int_equal(listen_tcp((struct sockaddr *)&at, at_len, 5, false, &e), -1);
    assert_int_equal(e.class, ERR_BUSY);
    close(fd);
    fd = listen_free_port("127.0.0.1:0", true);
    int second = listen_tcp((struct sockaddr *)&at, at_len, 5, true, &e);
    assert_true(second >= 0);
    close(second);
    close(fd);
    fd = listen_free_port("*:0", true);
    close(fd);
}

/* ---- Unix ---- */

static void test_unix_sockets(void **state)
{
    char dir[] = "/tmp/io_listener_XXXXXX", path[64], longpath[200];
    struct acceptor x = {0};
    struct outcome o = {0};
    struct sockaddr_storage ss = {.ss_family = AF_UNIX};
    struct stat st;
    struct err e;
    int fd;

    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/s", dir);
    fd = listen_unix(path, 0660, 5, &e);
    assert_true(fd >= 0);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0660);
    assert_int_equal(listen_unix(path, 0660, 5, &e), -1); /* we answer there */
    assert_int_equal(e.class, ERR_BUSY);
    close(fd);
    fd = listen_unix(path, 0600, 5, &e); /* stale */
    assert_true(fd >= 0);
    x.li = listener_new(l, fd, on_accept, &x);
    memcpy((char *)&ss + offsetof(struct sockaddr, sa_data), path, strlen(path) + 1);
    o.c = connect_start(l, (struct sockaddr *)&ss, sizeof(ss.ss_family) + 100, NULL, 0, 1000,
                        on_connect, &o);
    turns_until(&x.n, 1);
    turns_until(&o.n, 1);
    assert_true(o.fd >= 0);
    close(o.fd);
    acceptor_end(&x);
    unlink(path);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(listen_unix(path, 0600, 5, &e), -1); /* a file is not ours to remove */
    assert_int_equal(e.class, ERR_CONFIG);
    unlink(path);
    rmdir(dir);
    assert_int_equal(listen_unix(path, 0600, 5, &e), -1); /* no such folder */
    assert_int_equal(e.errnum, ENOENT);
    memset(longpath, 'p', sizeof(longpath));
    longpath[199] = '\0';
    assert_int_equal(listen_unix(longpath, 0600, 5, &e), -1);
    assert_int_equal(e.class, ERR_CONFIG);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_mapped_addresses_are_shown_as_ipv4),
        T(test_connect_and_accept),
        T(test_source_address),
        T(test_refused),
        T(test_timeout_and_cancel),
        T(test_bursts_pause_and_free),
        T(test_no_descriptors_left),
        T(test_address_in_use),
        T(test_unix_sockets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
