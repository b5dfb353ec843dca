/*
 * stream_int.h - the inside of a stream, for relay/io/ alone.
 *
 * stream.c     callbacks, input, deadlines, life and death; knows no descriptor
 * stream_out.c output blocks and their pool
 * a backend    moves bytes: sockets (stream_sock.c), the fake pair (stream_fake.c). TLS becomes one
 *              more: it reads and writes through the library and borrows the rest from the
 * sockets'.
 */
#ifndef RELAY_IO_STREAM_INT_H
#define RELAY_IO_STREAM_INT_H

#include <event2/event_struct.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "relay/io/loop_int.h"
#include "relay/io/stream.h"

/* read and write as the system calls: -1 and errno, EAGAIN when it would block; read 0 = EOF. */
struct stream_backend {
    ssize_t (*read)(struct stream *s, void *p, size_t n);
    ssize_t (*write)(struct stream *s, const struct iovec *iov, int n);
    /* From now on report readiness (LOOP_READ, LOOP_WRITE) by stream_on_readable/_writable(), again
     * and again as long as it lasts. `s->want` still holds the old value. */
    void (*want)(struct stream *s, unsigned events);
    bool (*input_waits)(const struct stream *s);
    void (*shutdown)(struct stream *s);
    void (*close)(struct stream *s);
    void (*addr)(const struct stream *s, bool peer, struct stream_peer *out);
};

struct out_block {
    struct out_block *next;
    uint32_t cap, off, n; /* content is data[off..n) */
    char data[];
};

struct stream {
    struct loop *loop;
    const struct stream_backend *be;
    void *be_data;
    const struct stream_events *ev;
    void *arg;
    struct out_block *out_head, *out_tail;
    size_t out_n;
    char *in; /* kept input; NULL when there is none */
    uint32_t in_n, in_cap;
    uint32_t max_in, max_out;
    struct loop_timer timer; /* armed at or before the deadline */
    int64_t deadline;        /* 0 = none */
    struct loop_task task;   /* flush, hand over, report: at the end of the turn */
    struct list_node linger; /* in pool->lingering after stream_finish() */
    stream_gone_fn *gone;    /* of stream_linger() */
    void *gone_arg;
    uint64_t bytes_in, bytes_out;
    struct stream_peer *addrs; /* [0] peer, [1] local; made on demand */
    struct err *failed;        /* to be reported at the end of the turn */
    struct event *wr;          /* sockets: made when output had to wait */
    int fd;
    uint8_t want;
    uint8_t depth; /* of calls that still hold s */
    bool paused : 1;
    bool eof : 1;         /* the peer will send no more */
    bool ended : 1;       /* on_error was called */
    bool dead : 1;        /* freed; the memory goes when depth is 0 */
    bool delivering : 1;  /* inside on_data() */
    bool discard : 1;     /* on_data()'s rest is to be thrown away */
    bool deliver_due : 1; /* resumed with kept input */
    bool drain_due : 1;   /* something was written since the last on_drain() */
    bool lingering : 1;
    bool shut : 1;
    struct event rd; /* sockets */
};

struct stream_pool {
    char *read_buf; /* READ_BUF bytes, used by one on_data() at a time */
    struct out_block *small, *large;
    unsigned n_small, n_large;
    struct list lingering;
};

enum {
    STREAM_READ_BUF = 65536,
    STREAM_IOV = 16,
};

struct stream_pool *stream_pool_of(struct loop *l);
/* Ends lingering streams, frees buffers. Called by loop_free(). */
void stream_pool_free(struct loop *l);

/* A stream on any backend. When that is ready, stream_want(s, LOOP_READ) starts it. */
struct stream *stream_create(struct loop *l, const struct stream_backend *be, void *be_data, int fd,
                             const struct stream_limits *limits, const struct stream_events *ev,
                             void *arg);
void stream_want(struct stream *s, unsigned events);
void stream_on_readable(struct stream *s);
void stream_on_writable(struct stream *s);

/* ---- output blocks ---- */

void out_append(struct stream *s, const char *p, size_t n);
char *out_reserve(struct stream *s, size_t n);
int out_iov(const struct stream *s, struct iovec *iov, size_t *total);
void out_consume(struct stream *s, size_t n);
void out_clear(struct stream *s);

#endif
