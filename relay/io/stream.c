/*
 * stream.c - a connected byte stream: input handed over, output gathered, one deadline.
 *
 * This file knows when to call whom; a backend (stream_int.h) moves the bytes.
 *
 * Input is read into the loop's one read buffer and handed over from there. Only what the owner
 * leaves is kept in a buffer of the stream, and it is put in front of the next read. A read never
 * asks for more than max_in has room for, so that an owner that pauses in the middle of a piece
 * loses nothing and passes no cap.
 *
 * Output waits in blocks (stream_out.c) for the task at the end of the turn, which writes all of it
 * with one call. Only when the kernel leaves some is the descriptor watched for writing.
 *
 * Callbacks come from the backend's readiness, the task or the timer, never out of a call that the
 * owner made: a failure that such a call meets is kept in s->failed for the task. Each of these
 * entry points holds the stream (depth) so that the owner may free it inside any callback.
 *
 * Loop's thread only.
 */
#include "relay/io/stream.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "relay/io/stream_int.h"

enum {
    READS_PER_TURN = 4, /* of one stream, before others have their turn */
    KEPT_SMALL = 16384, /* kept input up to this is moved in front of the next read */
    KEPT_GROW = 32768,  /* beyond, the kept buffer grows by this and is read into */
    PRINTF_STACK = 512,
};

static bool is_alive(const struct stream *s)
{
    return !s->dead && !s->ended;
}

static bool can_read(const struct stream *s)
{
    return is_alive(s) && !s->eof && !s->paused;
}

static void hold(struct stream *s)
{
    s->depth++;
}

static void release(struct stream *s)
{
    if (--s->depth == 0 && s->dead)
        mem_free(s);
}

void stream_want(struct stream *s, unsigned events)
{
    if (s->want != events) {
        s->be->want(s, events);
        s->want = (uint8_t)events;
    }
}

static void want_more(struct stream *s, unsigned events)
{
    stream_want(s, s->want | events);
}

static void want_less(struct stream *s, unsigned events)
{
    stream_want(s, s->want & ~events);
}

/* ---- life ---- */

static void on_task(struct loop_task *t);
static void on_timer(struct loop_timer *t);

struct stream *stream_create(struct loop *l, const struct stream_backend *be, void *be_data, int fd,
                             const struct stream_limits *limits, const struct stream_events *ev,
                             void *arg)
{
    struct stream *s = NEW(struct stream);

    s->loop = l;
    s->be = be;
    s->be_data = be_data;
    s->fd = fd;
    s->ev = ev;
    s->arg = arg;
    s->max_in = limits->max_in < UINT32_MAX / 2 ? (uint32_t)limits->max_in : UINT32_MAX / 2;
    s->max_out = limits->max_out < UINT32_MAX / 2 ? (uint32_t)limits->max_out : UINT32_MAX / 2;
    s->task.fn = on_task;
    loop_timer_init(&s->timer, l, on_timer);
    return s;
}

static void drop_input(struct stream *s)
{
    mem_free(s->in);
    s->in = NULL;
    s->in_n = s->in_cap = 0;
}

void stream_free(struct stream **sp)
{
    struct stream *s = *sp;

    if (s == NULL)
        return;
    *sp = NULL;
    ASSERT(!s->dead);
    s->dead = true;
    stream_want(s, 0);
    s->be->close(s);
    loop_task_cancel(&s->task);
    loop_timer_clear(&s->timer);
    list_remove(&s->linger);
    out_clear(s);
    if (!s->delivering)
        drop_input(s);
    mem_free(s->addrs);
    mem_free(s->failed);
    s->addrs = NULL;
    s->failed = NULL;
    if (s->depth == 0)
        mem_free(s);
}

/* The stream is over; on_error() is the last callback. */
static void end_with(struct stream *s, const struct err *e)
{
    s->ended = true;
    stream_want(s, 0);
    s->deadline = 0;
    s->drain_due = s->deliver_due = false;
    out_clear(s);
    s->ev->on_error(s->arg, e);
}

static void end_with_errno(struct stream *s, int errnum, const char *what)
{
    struct err e;

    err_set(&e, errnum == ETIMEDOUT ? ERR_TIMEOUT : ERR_SYSTEM, errnum, "%s", what);
    end_with(s, &e);
}

/* ---- input ---- */

/* Keeps what the owner did not take: p[0..n), which may lie in s->in. */
static void keep_input(struct stream *s, const char *p, size_t n)
{
    if (n == 0) {
        drop_input(s);
        return;
    }
    if (n > s->in_cap) {
        mem_free(s->in);
        s->in_cap = (uint32_t)(n + 63) / 64 * 64;
        s->in = mem_alloc(s->in_cap);
    }
    memmove(s->in, p, n);
    s->in_n = (uint32_t)n;
}

static void deliver(struct stream *s, char *p, size_t n)
{
    size_t taken;

    s->discard = false;
    s->delivering = true;
    taken = s->ev->on_data(s->arg, p, n);
    s->delivering = false;
    ASSERT(taken <= n);
    if (s->dead || s->discard || s->lingering)
        drop_input(s);
    else
        keep_input(s, p + taken, n - taken);
}

/* Where the next read goes: behind the kept input, either moved to the front of the shared buffer
 * or, when it is much, in its own. */
static char *input_room(struct stream *s, size_t *room)
{
    char *shared = stream_pool_of(s->loop)->read_buf;
    size_t left = s->max_in - s->in_n, grown;

    if (s->in_n <= KEPT_SMALL) {
        if (s->in_n != 0)
            memcpy(shared, s->in, s->in_n);
        *room = left < STREAM_READ_BUF - s->in_n ? left : STREAM_READ_BUF - s->in_n;
        return shared;
    }
    grown = s->in_n + (left < KEPT_GROW ? left : KEPT_GROW);
    if (grown > s->in_cap) {
        grown = grown > 2 * (size_t)s->in_cap ? grown : 2 * (size_t)s->in_cap;
        if (grown > s->max_in)
            grown = s->max_in;
        s->in = mem_realloc(s->in, grown);
        s->in_cap = (uint32_t)grown;
    }
    *room = (s->in_cap < s->max_in ? s->in_cap : s->max_in) - s->in_n;
    return s->in;
}

static void on_input_end(struct stream *s, ssize_t got, int errnum)
{
    if (got < 0 && (errnum == EAGAIN || errnum == EWOULDBLOCK || errnum == EINTR))
        return;
    if (s->failed != NULL) /* it is this that will be reported */
        return;
    if (got < 0) {
        end_with_errno(s, errnum, "connection lost");
        return;
    }
    s->eof = true;
    want_less(s, LOOP_READ);
    s->ev->on_eof(s->arg);
}

/* The kept input is as much as may be kept: either the peer has ended, or it passes the cap. */
static void read_past_cap(struct stream *s)
{
    char probe;
    ssize_t got = s->be->read(s, &probe, 1);
    struct err e;

    if (got <= 0) {
        on_input_end(s, got, errno);
        return;
    }
    err_set(&e, ERR_LIMIT, 0, "more than %u bytes of input without an end", s->max_in);
    end_with(s, &e);
}

/* One read, handed over. True if there may be more at once. */
static bool read_once(struct stream *s)
{
    size_t room;
    char *p;
    ssize_t got;

    if (s->in_n >= s->max_in) {
        read_past_cap(s);
        return false;
    }
    p = input_room(s, &room);
    got = s->be->read(s, p + s->in_n, room);
    if (got <= 0) {
        on_input_end(s, got, errno);
        return false;
    }
    s->bytes_in += (uint64_t)got;
    deliver(s, p, s->in_n + (size_t)got);
    return (size_t)got == room;
}

void stream_on_readable(struct stream *s)
{
    hold(s);
    if (!can_read(s))
        want_less(s, LOOP_READ); /* a pause that lasts: until stream_resume() */
    for (int i = 0; i < READS_PER_TURN && can_read(s) && read_once(s); i++)
        ;
    release(s);
}

void stream_pause(struct stream *s)
{
    s->paused = true;
}

void stream_resume(struct stream *s)
{
    if (!s->paused || s->ended)
        return;
    s->paused = false;
    if (!s->eof)
        want_more(s, LOOP_READ);
    s->deliver_due = true;
    loop_task_add(s->loop, &s->task);
}

size_t stream_discard_input(struct stream *s)
{
    size_t n = s->in_n;

    if (s->delivering) {
        s->discard = true;
        return 0;
    }
    drop_input(s);
    return n;
}

bool stream_input_waits(const struct stream *s)
{
    return s->in_n != 0 || s->be->input_waits(s);
}

/* ---- output ---- */

/* Writes what the kernel takes. False: s->failed says why. */
static bool flush_now(struct stream *s)
{
    while (s->out_n != 0) {
        struct iovec iov[STREAM_IOV];
        size_t total;
        int k = out_iov(s, iov, &total);
        ssize_t put = s->be->write(s, iov, k);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            s->failed = NEW(struct err);
            err_set(s->failed, errno == ETIMEDOUT ? ERR_TIMEOUT : ERR_SYSTEM, errno,
                    "connection lost");
            out_clear(s);
            want_less(s, LOOP_WRITE);
            return false;
        }
        if (put > 0) {
            s->bytes_out += (uint64_t)put;
            out_consume(s, (size_t)put);
        }
        if (put < (ssize_t)total) {
            want_more(s, LOOP_WRITE);
            return true;
        }
    }
    want_less(s, LOOP_WRITE);
    return true;
}

/* What the peer said before it went away (421 and why) is worth more than the error. */
static void report_failure(struct stream *s)
{
    struct err e = *s->failed;

    for (int i = 0; i < READS_PER_TURN && can_read(s) && read_once(s); i++)
        ;
    if (is_alive(s))
        end_with(s, &e);
}

static void flush_and_report(struct stream *s)
{
    if (s->failed == NULL && s->out_n != 0)
        flush_now(s);
    if (s->failed != NULL) {
        report_failure(s);
        return;
    }
    if (s->drain_due && s->out_n == 0) {
        s->drain_due = false;
        if (s->ev->on_drain != NULL)
            s->ev->on_drain(s->arg);
    }
}

static void on_task(struct loop_task *t)
{
    struct stream *s = CONTAINER_OF(t, struct stream, task);

    hold(s);
    if (s->deliver_due) {
        s->deliver_due = false;
        if (is_alive(s) && !s->paused && s->in_n != 0)
            deliver(s, s->in, s->in_n);
    }
    if (is_alive(s)) {
        loop_task_cancel(t); /* what on_data() wrote goes out right here */
        if (s->deliver_due)
            loop_task_add(s->loop, t);
        if (!(s->want & LOOP_WRITE) || s->failed != NULL)
            flush_and_report(s);
    }
    release(s);
}

void stream_on_writable(struct stream *s)
{
    hold(s);
    if (is_alive(s))
        flush_and_report(s);
    release(s);
}

static void note_output(struct stream *s)
{
    s->drain_due = true;
    if (!(s->want & LOOP_WRITE))
        loop_task_add(s->loop, &s->task);
}

static bool out_fits(const struct stream *s, size_t n)
{
    return !s->ended && n <= s->max_out && s->out_n <= s->max_out - n;
}

bool stream_write(struct stream *s, const void *p, size_t n)
{
    if (!out_fits(s, n))
        return false;
    if (n != 0) {
        out_append(s, p, n);
        note_output(s);
    }
    return true;
}

bool stream_printf(struct stream *s, const char *fmt, ...)
{
    char small[PRINTF_STACK], *big;
    va_list ap;
    int n;
    bool ok;

    va_start(ap, fmt);
    n = vsnprintf(small, sizeof(small), fmt, ap);
    va_end(ap);
    if (n < 0)
        return false;
    if ((size_t)n < sizeof(small))
        return stream_write(s, small, (size_t)n);
    if (!out_fits(s, (size_t)n))
        return false;
    big = mem_alloc((size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(big, (size_t)n + 1, fmt, ap);
    va_end(ap);
    ok = stream_write(s, big, (size_t)n);
    mem_free(big);
    return ok;
}

char *stream_reserve(struct stream *s, size_t n)
{
    return out_fits(s, n) ? out_reserve(s, n) : NULL;
}

void stream_commit(struct stream *s, size_t n)
{
    struct out_block *b = s->out_tail;

    if (s->ended)
        return;
    ASSERT(b != NULL && n <= b->cap - b->n);
    b->n += (uint32_t)n;
    s->out_n += n;
    if (n != 0)
        note_output(s);
    else if (s->out_n == 0)
        out_consume(s, 0);
}

size_t stream_pending(const struct stream *s)
{
    return s->out_n;
}

void stream_flush(struct stream *s)
{
    if (s->ended || s->failed != NULL || s->out_n == 0)
        return;
    flush_now(s);
    loop_task_add(s->loop, &s->task); /* on_drain() or on_error() */
}

/* ---- deadline ---- */

static void on_timer(struct loop_timer *t)
{
    struct stream *s = CONTAINER_OF(t, struct stream, timer);
    int64_t now = loop_now_ms(s->loop);

    if (s->deadline == 0)
        return;
    if (s->deadline > now) {
        loop_timer_set(t, s->deadline - now);
        return;
    }
    s->deadline = 0;
    hold(s);
    s->ev->on_timeout(s->arg);
    release(s);
}

/* Deadlines mostly move later: the timer stays where it is and looks again when it fires. */
void stream_deadline(struct stream *s, int64_t ms)
{
    if (ms <= 0 || s->ended) {
        s->deadline = 0;
        return;
    }
    s->deadline = loop_now_ms(s->loop) + ms;
    if (!loop_timer_is_set(&s->timer) || s->timer.node.key > s->deadline)
        loop_timer_set(&s->timer, ms);
}

/* ---- saying goodbye ---- */

static size_t linger_data(void *arg, char *data, size_t n)
{
    (void)arg;
    (void)data;
    return n;
}

static void linger_end(void *arg)
{
    struct stream *s = arg;
    stream_gone_fn *gone = s->gone;
    void *gone_arg = s->gone_arg;

    stream_free(&s);
    if (gone != NULL)
        gone(gone_arg);
}

static void linger_eof(void *arg)
{
    struct stream *s = arg;

    if (s->shut)
        linger_end(s);
}

static void linger_error(void *arg, const struct err *e)
{
    (void)e;
    linger_end(arg);
}

static void linger_drain(void *arg)
{
    struct stream *s = arg;

    s->be->shutdown(s);
    s->shut = true;
    if (s->eof)
        linger_end(s);
}

static const struct stream_events linger_events = {
    .on_data = linger_data,
    .on_eof = linger_eof,
    .on_error = linger_error,
    .on_drain = linger_drain,
    .on_timeout = linger_end,
};

bool stream_linger(struct stream **sp, int timeout_ms, stream_gone_fn *gone, void *arg)
{
    struct stream *s = *sp;

    if (s->ended || s->failed != NULL || (s->eof && s->out_n == 0)) {
        stream_free(sp);
        return false;
    }
    s->gone = gone;
    s->gone_arg = arg;
    s->ev = &linger_events;
    s->arg = s;
    s->lingering = true;
    s->deliver_due = false;
    list_push_back(&stream_pool_of(s->loop)->lingering, &s->linger);
    if (!s->delivering)
        drop_input(s);
    s->paused = false;
    if (!s->eof)
        want_more(s, LOOP_READ);
    stream_deadline(s, timeout_ms > 0 ? timeout_ms : 1);
    note_output(s); /* linger_drain() comes even if there is nothing to write */
    return true;
}

void stream_finish(struct stream **sp, int timeout_ms)
{
    if (*sp != NULL)
        (void)stream_linger(sp, timeout_ms, NULL, NULL);
    *sp = NULL;
}

/* ---- who and how much ---- */

static const struct stream_peer *addrs(const struct stream *cs, int which)
{
    struct stream *s = (struct stream *)cs; /* a cache; the stream does not change */

    if (s->addrs == NULL) {
        s->addrs = mem_array(2, sizeof(*s->addrs));
        s->be->addr(s, true, &s->addrs[0]);
        s->be->addr(s, false, &s->addrs[1]);
    }
    return &s->addrs[which];
}

const struct stream_peer *stream_peer(const struct stream *s)
{
    return addrs(s, 0);
}

const struct stream_peer *stream_local(const struct stream *s)
{
    return addrs(s, 1);
}

uint64_t stream_bytes_in(const struct stream *s)
{
    return s->bytes_in;
}

uint64_t stream_bytes_out(const struct stream *s)
{
    return s->bytes_out;
}
