/*
 * io_stream_test.c - the contract of stream.h, over the fake pair and over socket pairs.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "relay/io/loop.h"
#include "relay/io/stream.h"
#include "relay/io/stream_int.h"

static struct loop *l;
static const struct stream_limits limits = {.max_in = 4096, .max_out = 100000};

/* What an end does in its callbacks, and what it saw. */
struct end {
    struct stream *s;
    struct buf got;
    unsigned n_data, n_eof, n_error, n_drain, n_timeout;
    struct err err;
    size_t take;        /* consume so much per call; SIZE_MAX = all */
    bool by_line;       /* consume whole lines only */
    bool pause_on_data; /* after consuming */
    enum {
        FREE_NEVER,
        FREE_ON_DATA,
        FREE_ON_EOF,
        FREE_ON_ERROR,
        FREE_ON_DRAIN,
        FREE_ON_TIMEOUT
    } free_on;
    bool finish_on_data, discard_on_data, echo;
    bool rearm;
    size_t refill; /* written once more on drain */
};

static void act(struct end *x, int when)
{
    if ((int)x->free_on == when)
        stream_free(&x->s);
}

static size_t on_data(void *arg, char *data, size_t n)
{
    struct end *x = arg;
    size_t take = n;

    x->n_data++;
    if (x->by_line) {
        take = 0;
        for (size_t i = 0; i < n; i++)
            take = data[i] == '\n' ? i + 1 : take;
    } else if (take > x->take) {
        take = x->take;
    }
    assert_true(buf_append(&x->got, data, take));
    if (x->echo)
        assert_true(stream_write(x->s, data, take));
    memset(data, '!', take); /* allowed */
    if (x->pause_on_data)
        stream_pause(x->s);
    if (x->discard_on_data)
        assert_int_equal(stream_discard_input(x->s), 0);
    if (x->finish_on_data)
        stream_finish(&x->s, 1000);
    act(x, FREE_ON_DATA);
    return take;
}

static void on_eof(void *arg)
{
    struct end *x = arg;
    x->n_eof++;
    act(x, FREE_ON_EOF);
}

static void on_error(void *arg, const struct err *e)
{
    struct end *x = arg;
    x->n_error++;
    x->err = *e;
    act(x, FREE_ON_ERROR);
}

static void on_drain(void *arg)
{
    struct end *x = arg;
    x->n_drain++;
    if (x->refill != 0) {
        char *p = stream_reserve(x->s, x->refill);
        assert_non_null(p);
        memset(p, 'r', x->refill);
        stream_commit(x->s, x->refill);
        x->refill = 0;
    }
    act(x, FREE_ON_DRAIN);
}

static void on_timeout(void *arg)
{
    struct end *x = arg;
    x->n_timeout++;
    if (x->rearm)
        stream_deadline(x->s, 100);
    act(x, FREE_ON_TIMEOUT);
}

static const struct stream_events events = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_error = on_error,
    .on_drain = on_drain,
    .on_timeout = on_timeout,
};

static struct end a, b;

static void end_init(struct end *x)
{
    memset(x, 0, sizeof(*x));
    buf_init(&x->got, 10000000);
    x->take = SIZE_MAX;
}

static void end_clear(struct end *x)
{
    stream_free(&x->s);
    buf_free(&x->got);
}

static int setup(void **state)
{
    (void)state;
    clock_fake_start(5000, 1700000000000);
    l = loop_new(NULL);
    end_init(&a);
    end_init(&b);
    return l != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    end_clear(&a);
    end_clear(&b);
    loop_free(&l);
    clock_fake_stop();
    return 0;
}

static void fake(size_t chunk)
{
    stream_pair_fake(l, chunk, &limits, &events, &a, &a.s, &events, &b, &b.s);
}

/* a and b over a socket pair; or only a, and the other descriptor. */
static void socks(bool both, int *other)
{
    int fd[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    a.s = stream_new(l, fd[0], &limits, &events, &a);
    if (both)
        b.s = stream_new(l, fd[1], &limits, &events, &b);
    else
        *other = fd[1];
}

static void turns(int n)
{
    for (int i = 0; i < n; i++)
        loop_turn(l, 0);
}

static void assert_got(const struct end *x, const char *want)
{
    assert_int_equal(x->got.n, strlen(want));
    assert_memory_equal(x->got.p, want, strlen(want));
}

/* ---- moving bytes ---- */

static void test_bytes_both_ways_any_chunk(void **state)
{
    static const size_t chunks[] = {0, 1, 2, 3, 7, 100};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(chunks); i++) {
        end_init(&a);
        end_init(&b);
        a.by_line = b.by_line = true;
        fake(chunks[i]);
        assert_true(stream_write(a.s, "EHLO x\r\nMAIL", 12));
        assert_true(stream_printf(a.s, " FROM:<%s>\r\n", "u@x"));
        assert_true(stream_write(b.s, "250 ok\r\n", 8));
        assert_int_equal(stream_pending(a.s), 25);
        assert_int_equal(b.n_data, 0); /* nothing calls back before the loop turns */
        turns(30);
        assert_got(&b, "EHLO x\r\nMAIL FROM:<u@x>\r\n");
        assert_got(&a, "250 ok\r\n");
        assert_int_equal(stream_pending(a.s), 0);
        assert_int_equal(stream_bytes_out(a.s), 25);
        assert_int_equal(stream_bytes_in(b.s), 25);
        assert_int_equal(a.n_drain, 1);
        if (chunks[i] != 0)
            assert_int_equal(b.n_data, (25 + chunks[i] - 1) / chunks[i]);
        assert_null(b.s->in); /* nothing kept, no buffer */
        end_clear(&a);
        end_clear(&b);
    }
}

static void test_sockets_and_long_printf(void **state)
{
    char text[2000];

    (void)state;
    memset(text, 'p', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    socks(true, NULL);
    assert_true(stream_printf(a.s, "<%s>", text));
    loop_turn(l, 0); /* flushed at the end of the turn */
    assert_int_equal(stream_pending(a.s), 0);
    turns(2);
    assert_int_equal(b.got.n, 2001);
    assert_string_equal(stream_peer(a.s)->ip, "unix");
    assert_int_equal(stream_local(a.s)->port, 0);
}

static void test_idle_stream_is_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct stream) <= 384);
    socks(true, NULL);
    assert_true(stream_write(a.s, "x", 1));
    turns(3);
    assert_null(a.s->out_head);
    assert_null(b.s->in);
    assert_null(a.s->wr);
}

static void test_unconsumed_input_waits_for_more(void **state)
{
    (void)state;
    fake(0);
    b.by_line = true;
    stream_write(a.s, "par", 3);
    turns(5);
    assert_int_equal(b.n_data, 1); /* not called again without more bytes */
    assert_int_equal(b.s->in_n, 3);
    stream_write(a.s, "tial\nnext", 9);
    turns(3);
    assert_got(&b, "partial\n");
    assert_int_equal(b.s->in_n, 4);
    assert_int_equal(stream_discard_input(b.s), 4);
    assert_null(b.s->in);
}

static void test_discard_inside_on_data(void **state)
{
    (void)state;
    fake(0);
    b.take = 10;
    b.discard_on_data = true;
    stream_write(a.s, "STARTTLS\r\nQUIT\r\n", 16);
    turns(3);
    assert_got(&b, "STARTTLS\r\n");
    assert_int_equal(b.s->in_n, 0);
}

static void test_pause_keeps_and_resume_hands_over(void **state)
{
    (void)state;
    for (int round = 0; round < 2; round++) {
        end_init(&a);
        end_init(&b);
        round == 0 ? fake(0) : socks(true, NULL);
        b.take = 4;
        b.pause_on_data = true;
        stream_write(a.s, "onetwothree", 11);
        turns(5);
        assert_got(&b, "onet");
        stream_write(a.s, "four", 4);
        turns(5);
        assert_got(&b, "onet");
        assert_int_equal(b.s->want & LOOP_READ, 0); /* or the loop would spin */
        b.pause_on_data = false;
        b.take = SIZE_MAX;
        stream_resume(b.s);
        assert_int_equal(b.n_data, 1); /* not from inside */
        turns(3);
        assert_got(&b, "onetwothreefour");
        end_clear(&a);
        end_clear(&b);
    }
}

/* A peer that pipelines more than max_in while we are busy is no fault: it waits in the kernel. */
static void test_pause_with_more_than_max_in_on_the_way(void **state)
{
    char piece[1000];
    size_t sent = 0;

    (void)state;
    memset(piece, 'x', sizeof(piece));
    socks(true, NULL);
    b.take = 1;
    b.pause_on_data = true;
    for (; sent < 50000; sent += sizeof(piece))
        assert_true(stream_write(a.s, piece, sizeof(piece)));
    turns(10);
    assert_int_equal(b.got.n, 1);
    assert_in_range(b.s->in_n, 1, limits.max_in);
    b.pause_on_data = false;
    b.take = SIZE_MAX;
    stream_resume(b.s);
    turns(40);
    assert_int_equal(b.got.n, sent);
    assert_int_equal(b.n_error, 0);
}

static void test_input_cap(void **state)
{
    char piece[5000];

    (void)state;
    memset(piece, 'x', sizeof(piece));
    for (size_t extra = 0; extra < 2; extra++) {
        end_init(&a);
        end_init(&b);
        fake(extra == 0 ? 0 : 333);
        b.by_line = true;
        assert_true(stream_write(a.s, piece, limits.max_in));
        turns(20);
        assert_int_equal(b.n_error, 0);
        assert_int_equal(b.s->in_n, limits.max_in);
        assert_true(stream_write(a.s, piece, 1));
        turns(3);
        assert_int_equal(b.n_error, 1);
        assert_int_equal(b.err.class, ERR_LIMIT);
        assert_false(stream_write(b.s, "x", 1));
        end_clear(&a);
        end_clear(&b);
    }
}

static void test_eof_at_the_input_cap(void **state)
{
    char piece[4096] = {0};

    (void)state;
    fake(0);
    b.take = 0;
    stream_write(a.s, piece, limits.max_in);
    turns(2);
    stream_free(&a.s);
    turns(3);
    assert_int_equal(b.n_eof, 1);
    assert_int_equal(b.n_error, 0);
}

static void test_large_kept_input(void **state)
{
    static const struct stream_limits wide = {.max_in = 1000000, .max_out = 1000000};
    char line[700];
    struct buf all;

    (void)state;
    buf_init(&all, 2000000);
    stream_pair_fake(l, 0, &wide, &events, &a, &a.s, &events, &b, &b.s);
    b.by_line = true;
    for (int i = 0; i < 800; i++) {
        memset(line, 'a' + i % 26, sizeof(line));
        buf_append(&all, line, sizeof(line));
        stream_write(a.s, line, sizeof(line));
        loop_turn(l, 0);
    }
    turns(30);
    assert_int_equal(b.got.n, 0);
    assert_int_equal(b.s->in_n, all.n);
    stream_write(a.s, "\n.", 2);
    buf_append_char(&all, '\n');
    turns(3);
    assert_int_equal(b.got.n, all.n);
    assert_memory_equal(b.got.p, all.p, all.n);
    assert_int_equal(b.s->in_n, 1);
    buf_free(&all);
}

/* ---- output ---- */

static void test_backpressure_and_caps(void **state)
{
    char chunk[1000];
    size_t accepted = 0, total = 0;
    unsigned drains = 0;

    (void)state;
    for (int round = 0; round < 3; round++) {
        end_init(&a);
        end_init(&b);
        round == 2 ? socks(true, NULL) : fake(round * 1000U);
        accepted = total = drains = 0;
        stream_pause(b.s);
        for (int i = 0; i < 2000; i++) {
            for (size_t k = 0; k < sizeof(chunk); k++)
                chunk[k] = (char)((total + k) * 7 % 251);
            if (!stream_write(a.s, chunk, sizeof(chunk)))
                break;
            total += sizeof(chunk);
            if (i % 50 == 0)
                loop_turn(l, 0);
        }
        assert_true(stream_pending(a.s) > limits.max_out - 1000);
        assert_true(stream_pending(a.s) <= limits.max_out);
        assert_null(stream_reserve(a.s, 2000));
        drains = a.n_drain;
        accepted = total;
        stream_resume(b.s);
        turns(2000);
        assert_int_equal(a.n_drain, drains + 1);
        assert_int_equal(stream_pending(a.s), 0);
        assert_int_equal(b.got.n, accepted);
        for (size_t k = 0; k < accepted; k++)
            assert_int_equal((unsigned char)b.got.p[k], k * 7 % 251);
        assert_int_equal(a.s->want & LOOP_WRITE, 0);
        end_clear(&a);
        end_clear(&b);
    }
}

static void test_reserve_and_drain_refill(void **state)
{
    char *p;

    (void)state;
    socks(true, NULL);
    p = stream_reserve(a.s, 70000);
    assert_non_null(p);
    memset(p, 'c', 65000);
    stream_commit(a.s, 65000);
    p = stream_reserve(a.s, 10);
    assert_non_null(p);
    stream_commit(a.s, 0);
    assert_int_equal(stream_pending(a.s), 65000);
    a.refill = 20000;
    turns(60);
    assert_int_equal(b.got.n, 85000);
    assert_int_equal(a.n_drain, 2);
    assert_non_null(stream_reserve(a.s, 16));
    stream_commit(a.s, 0);
    assert_null(a.s->out_head);
}

static void test_flush_writes_now_and_calls_back_later(void **state)
{
    char got[16];
    int fd;

    (void)state;
    socks(false, &fd);
    stream_write(a.s, "now", 3);
    stream_flush(a.s);
    assert_int_equal(read(fd, got, sizeof(got)), 3);
    assert_int_equal(a.n_drain, 0);
    turns(1);
    assert_int_equal(a.n_drain, 1);
    close(fd);
}

/* ---- the end ---- */

static void test_eof_after_data_then_output_still_works(void **state)
{
    int fd;
    char got[16];

    (void)state;
    socks(false, &fd);
    assert_int_equal(write(fd, "last", 4), 4);
    shutdown(fd, SHUT_WR);
    turns(4);
    assert_got(&a, "last");
    assert_int_equal(a.n_eof, 1);
    stream_write(a.s, "bye", 3);
    turns(2);
    assert_int_equal(read(fd, got, sizeof(got)), 3);
    assert_int_equal(a.n_eof, 1);
    assert_int_equal(a.n_error, 0);
    /* and when that fails too, it is said */
    close(fd);
    stream_write(a.s, "x", 1);
    turns(2);
    assert_int_equal(a.n_error, 1);
}

static void test_write_to_a_closed_peer_is_an_error_not_a_signal(void **state)
{
    int fd;

    (void)state;
    socks(false, &fd);
    assert_int_equal(write(fd, "421 bye", 7), 7);
    close(fd);
    stream_write(a.s, "x", 1);
    stream_flush(a.s);
    assert_int_equal(a.n_error, 0);
    turns(3);
    assert_got(&a, "421 bye"); /* what it said is not lost */
    assert_int_equal(a.n_error, 1);
    assert_int_equal(a.n_eof, 0);
    assert_int_equal(a.err.class, ERR_SYSTEM);
    assert_int_equal(a.err.errnum, EPIPE);
}

static void test_free_inside_each_callback(void **state)
{
    (void)state;
    for (int when = FREE_ON_DATA; when <= FREE_ON_TIMEOUT; when++) {
        for (int kind = 0; kind < 2; kind++) {
            end_init(&a);
            end_init(&b);
            kind == 0 ? fake(2) : socks(true, NULL);
            a.free_on = b.free_on = (unsigned)when;
            if (when == FREE_ON_TIMEOUT)
                stream_deadline(a.s, 10);
            stream_write(a.s, "abcdef", 6);
            stream_write(b.s, "abcdef", 6);
            turns(4);
            clock_fake_advance(20);
            turns(4);
            if (when == FREE_ON_EOF || when == FREE_ON_ERROR) {
                stream_free(&b.s);
                if (when == FREE_ON_ERROR)
                    stream_write(a.s, "x", 1);
                turns(4);
            }
            assert_null(a.s);
            end_clear(&a);
            end_clear(&b);
        }
    }
}

static void test_deadline(void **state)
{
    (void)state;
    fake(0);
    stream_deadline(a.s, 100);
    clock_fake_advance(99);
    turns(2);
    stream_deadline(a.s, 100); /* later: the timer is not moved */
    clock_fake_advance(50);
    turns(2);
    assert_int_equal(a.n_timeout, 0);
    clock_fake_advance(49);
    turns(2);
    assert_int_equal(a.n_timeout, 0);
    clock_fake_advance(1);
    turns(2);
    assert_int_equal(a.n_timeout, 1);
    stream_deadline(a.s, 1000);
    stream_deadline(a.s, 10); /* earlier */
    a.rearm = true;
    clock_fake_advance(10);
    turns(1);
    assert_int_equal(a.n_timeout, 2);
    clock_fake_advance(100);
    turns(1);
    assert_int_equal(a.n_timeout, 3);
    stream_deadline(a.s, 0);
    clock_fake_advance(10000);
    turns(2);
    assert_int_equal(a.n_timeout, 3);
}

static void test_finish_writes_shuts_and_waits_for_the_peer(void **state)
{
    char got[16];
    int fd;

    (void)state;
    socks(false, &fd);
    a.finish_on_data = true;
    assert_int_equal(write(fd, "QUIT\r\nmore", 10), 10);
    turns(1);
    assert_null(a.s);
    assert_int_equal(a.n_data, 1);
    turns(1);
    assert_int_equal(read(fd, got, sizeof(got)), 0); /* shut */
    assert_int_equal(write(fd, "ignored", 7), 7);
    turns(2);
    assert_int_equal(a.n_data, 1);
    assert_false(list_is_empty(&l->pool->lingering));
    close(fd);
    turns(2);
    assert_true(list_is_empty(&l->pool->lingering));
}

static void test_finish_with_output_and_time_limit(void **state)
{
    char got[64];
    int fd;

    (void)state;
    socks(false, &fd);
    stream_write(a.s, "221 bye", 7);
    stream_finish(&a.s, 1000);
    turns(2);
    assert_int_equal(read(fd, got, sizeof(got)), 7);
    assert_int_equal(read(fd, got, sizeof(got)), 0);
    clock_fake_advance(1000);
    turns(1);
    assert_true(list_is_empty(&l->pool->lingering));
    assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
    close(fd);
    assert_int_equal(a.n_eof + a.n_error + a.n_drain + a.n_timeout, 0);
}

static void test_finish_after_the_peer_ended(void **state)
{
    static char got[200000];
    size_t total = 0;
    ssize_t n;
    int fd, small = 4096;

    (void)state;
    socks(false, &fd);
    assert_int_equal(setsockopt(a.s->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    while (stream_write(a.s, got, 1000))
        ;
    turns(1);
    assert_true(stream_pending(a.s) > 0);
    shutdown(fd, SHUT_WR);
    stream_finish(&a.s, 1000);
    turns(3);
    assert_false(list_is_empty(&l->pool->lingering)); /* not before it is written */
    while (turns(1), (n = read(fd, got, sizeof(got))) > 0)
        total += (size_t)n;
    assert_int_equal(n, 0);
    assert_int_equal(total, limits.max_out);
    turns(1);
    assert_true(list_is_empty(&l->pool->lingering));
    close(fd);
}

static void test_resume_after_eof_tells_nothing_twice(void **state)
{
    (void)state;
    fake(0);
    b.take = 1;
    stream_write(a.s, "rest", 4);
    stream_write(b.s, "x", 1);
    stream_finish(&a.s, 1000);
    turns(5);
    assert_int_equal(b.n_eof, 1);
    assert_int_equal(b.n_drain, 1);
    stream_pause(b.s);
    stream_resume(b.s);
    turns(3);
    assert_got(&b, "re");
    assert_int_equal(b.n_eof, 1);
    assert_int_equal(b.n_drain, 1);
}

static size_t resume_inside(void *arg, char *data, size_t n)
{
    struct end *x = arg;

    (void)n;
    x->n_data++;
    buf_append(&x->got, data, 1);
    stream_pause(x->s);
    stream_resume(x->s);
    return 1;
}

static void test_resume_inside_on_data_comes_again(void **state)
{
    static const struct stream_events bit_by_bit = {
        .on_data = resume_inside, .on_eof = on_eof, .on_error = on_error};

    (void)state;
    stream_pair_fake(l, 0, &limits, &events, &a, &a.s, &bit_by_bit, &b, &b.s);
    stream_write(a.s, "several", 7);
    turns(10);
    assert_got(&b, "several");
    assert_int_equal(b.n_data, 7);
}

static void test_finish_then_loop_free(void **state)
{
    (void)state;
    fake(0);
    stream_pause(b.s);
    for (int i = 0; i < 90; i++)
        stream_printf(a.s, "%01000d", i);
    turns(3);
    stream_finish(&a.s, 1000);
    stream_free(&b.s); /* the teardown frees the loop with a still lingering, or gone */
}

static void test_fake_finish_delivers_all(void **state)
{
    (void)state;
    fake(1);
    stream_write(a.s, "221 bye\r\n", 9);
    stream_finish(&a.s, 1000);
    turns(20);
    assert_got(&b, "221 bye\r\n");
    assert_int_equal(b.n_eof, 1);
    assert_string_equal(stream_peer(b.s)->ip, "127.0.0.1");
    stream_free(&b.s);
    turns(2);
    assert_true(list_is_empty(&l->pool->lingering));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_bytes_both_ways_any_chunk),
        T(test_sockets_and_long_printf),
        T(test_idle_stream_is_small),
        T(test_unconsumed_input_waits_for_more),
        T(test_discard_inside_on_data),
        T(test_pause_keeps_and_resume_hands_over),
        T(test_pause_with_more_than_max_in_on_the_way),
        T(test_input_cap),
        T(test_eof_at_the_input_cap),
        T(test_large_kept_input),
        T(test_backpressure_and_caps),
        T(test_reserve_and_drain_refill),
        T(test_flush_writes_now_and_calls_back_later),
        T(test_eof_after_data_then_output_still_works),
        T(test_write_to_a_closed_peer_is_an_error_not_a_signal),
        T(test_free_inside_each_callback),
        T(test_deadline),
        T(test_finish_writes_shuts_and_waits_for_the_peer),
        T(test_finish_with_output_and_time_limit),
        T(test_finish_after_the_peer_ended),
        T(test_resume_after_eof_tells_nothing_twice),
        T(test_resume_inside_on_data_comes_again),
        T(test_finish_then_loop_free),
        T(test_fake_finish_delivers_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
