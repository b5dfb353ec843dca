/*
 * stream.h - a connected byte stream with buffered output, deadlines and (later) TLS.
 *
 * Contract
 * - Callbacks run on the loop's thread, never before the call that created the stream returns, and
 *   never after stream_free(). Freeing the stream inside its own callback is legal.
 * - An idle stream owns no buffer: input is read into a buffer of the loop; what on_data() leaves
 *   unconsumed is kept, at most max_in bytes. A read asks for no more than that has room for, so
 *   max_in is also the largest piece handed over, and pausing in the middle of one is always safe:
 *   the rest waits in the kernel. A peer that sends more while max_in bytes are kept and the stream
 *   is not paused is an error (ERR_LIMIT).
 * - Output is gathered during a turn and written at its end in one call. What the kernel does not
 *   take stays buffered; stream_pending() tells how much; on_drain() says that it is all gone (also
 *   when it went at once). The caller watches stream_pending() and stops producing: the stream
 *   itself takes no more than max_out.
 * - Exactly one of on_error/on_eof ends the input; after on_error only stream_free() is legal.
 * After on_eof (peer closed its sending side) output still works; should it fail, on_error says so.
 * - When output fails, input that is already there is handed over before on_error().
 */
#ifndef RELAY_IO_STREAM_H
#define RELAY_IO_STREAM_H

#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "relay/io/loop.h"

struct stream;

struct stream_events {
    /* n bytes are there; returns how many were consumed (0..n). Called again only with more bytes,
     * or after stream_resume(). The bytes may be changed in place; they are gone after the call. */
    size_t (*on_data)(void *arg, char *data, size_t n);
    void (*on_eof)(void *arg);
    void (*on_error)(void *arg, const struct err *e);
    void (*on_drain)(void *arg);
    /* The deadline set by stream_deadline() passed. The stream is as it was. */
    void (*on_timeout)(void *arg);
};

struct stream_limits {
    size_t max_in;  /* unconsumed input, bytes */
    size_t max_out; /* unwritten output, bytes */
};

/* Takes over a connected, non-blocking descriptor (TCP or Unix). */
struct stream *stream_new(struct loop *l, int fd, const struct stream_limits *limits,
                          const struct stream_events *ev, void *arg);
/* Closes at once; unwritten output is lost. Sets *s to NULL. */
void stream_free(struct stream **s);
/* Writes out what is pending, then shuts down the sending side and closes; at most timeout_ms. The
 * caller has no more callbacks and no stream: *s is NULL. Input is read and thrown away meanwhile,
 * so that the last reply is not lost to a reset. */
void stream_finish(struct stream **s, int timeout_ms);
/* The same for an owner that counts what lingers, or wants to cut it. True: only stream_free() is
 * legal until gone() is called, which comes once and not after stream_free(). False: it was closed
 * at once, *s is NULL, and gone() is not called. */
typedef void stream_gone_fn(void *arg);
bool stream_linger(struct stream **s, int timeout_ms, stream_gone_fn *gone, void *arg);

/* Appends to the output. False when max_out would be passed (nothing is appended). */
bool stream_write(struct stream *s, const void *p, size_t n);
bool stream_printf(struct stream *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for n bytes directly in the output buffer, so that content is read from disk into it without
 * a copy; NULL if the cap forbids it. Then stream_commit() what was really written (<= n). */
char *stream_reserve(struct stream *s, size_t n);
void stream_commit(struct stream *s, size_t n);
size_t stream_pending(const struct stream *s);
/* Writes now instead of at the end of the turn. */
void stream_flush(struct stream *s);

/* No on_data until resumed; resume hands over kept input at the end of this turn. */
void stream_pause(struct stream *s);
void stream_resume(struct stream *s);
/* Throws away input that was received but not consumed (after STARTTLS); returns how many bytes.
 * Inside on_data() it concerns what that call does not consume, and returns 0. */
size_t stream_discard_input(struct stream *s);

/* Has the peer said anything that was not yet handed over? Asks the system once, and reads nothing.
 */
bool stream_input_waits(const struct stream *s);

/* One deadline per stream, ms from now; 0 clears it. Cheap: rearming does not touch the heap unless
 * it moves earlier. */
void stream_deadline(struct stream *s, int64_t ms);

/* Numeric "192.0.2.1" or "2001:db8::1" or "unix"; port 0 for unix. "unknown" if the connection was
 * gone before anyone asked. */
struct stream_peer {
    struct sockaddr_storage addr;
    char ip[48];
    unsigned port;
};
/* From an address; an IPv4 address mapped into IPv6 becomes plain IPv4. */
void stream_peer_set(struct stream_peer *p, const struct sockaddr *addr, socklen_t len);
const struct stream_peer *stream_peer(const struct stream *s);
const struct stream_peer *stream_local(const struct stream *s);

/* Bytes in and out so far. */
uint64_t stream_bytes_in(const struct stream *s);
uint64_t stream_bytes_out(const struct stream *s);

/* ---- outbound ---- */

/* A TCP connection in the making. Exactly one callback, not before connect_start() returned, none
 * after connect_cancel(). */
struct connect;
typedef void connect_done_fn(void *arg, int fd, const struct err *e); /* fd >= 0, or -1 and e */
struct connect *connect_start(struct loop *l, const struct sockaddr *to, socklen_t tolen,
                              const struct sockaddr *bind_to, socklen_t bindlen, int64_t timeout_ms,
                              connect_done_fn *done, void *arg);
void connect_cancel(struct connect **c);

/* ---- tests ---- */

/* Two connected streams inside one loop without sockets: what is written to one is read by the
 * other at the next turn. chunk = hand over at most so many bytes at a time (1 = byte at a time; 0
 * = all). At most 64 KB are on the way in each direction. Their addresses are 127.0.0.1, ports
 * 10001 (a) and 10002 (b). */
void stream_pair_fake(struct loop *l, size_t chunk, const struct stream_limits *limits,
                      const struct stream_events *ev_a, void *arg_a, struct stream **a,
                      const struct stream_events *ev_b, void *arg_b, struct stream **b);

#endif
