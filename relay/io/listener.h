/*
 * listener.h - accepting connections. Sockets are bound once (as root, before privileges are
 * dropped) and each worker gets a socket of its own on the same address (SO_REUSEPORT).
 */
#ifndef RELAY_IO_LISTENER_H
#define RELAY_IO_LISTENER_H

#include <stdbool.h>
#include <sys/socket.h>

#include "base/err.h"
#include "base/str.h"
#include "relay/io/loop.h"

/* "127.0.0.1:25", "[::1]:25", "*:25" (the same as "[::]:25": all IPv4 and IPv6), port 0 = any free.
 * ERR_CONFIG names what would be right. */
bool listen_parse(struct str text, struct sockaddr_storage *out, socklen_t *len, struct err *e);
/* Bound, listening, non-blocking, close-on-exec; -1 and e. */
int listen_tcp(const struct sockaddr *addr, socklen_t len, int backlog, bool reuseport,
               struct err *e);
/* Removes a stale socket file first if nobody answers on it; ERR_BUSY if somebody does. */
int listen_unix(const char *path, mode_t mode, int backlog, struct err *e);

struct listener;
/* fd: connected, non-blocking, TCP_NODELAY set; the callee owns it. */
typedef void listener_accept_fn(void *arg, int fd, const struct sockaddr_storage *peer);
/* Takes over the listening fd. Accepts at most 64 a turn. When descriptors run out it pauses for a
 * second and logs once. */
struct listener *listener_new(struct loop *l, int fd, listener_accept_fn *fn, void *arg);
void listener_pause(struct listener *li, bool paused);
void listener_free(struct listener **li); /* closes the socket */

#endif
