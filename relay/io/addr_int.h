/*
 * addr_int.h - socket addresses as text, for relay/io/ alone.
 */
#ifndef RELAY_IO_ADDR_INT_H
#define RELAY_IO_ADDR_INT_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/str.h"
#include "relay/io/stream.h"

enum {
    ADDR_TEXT_MAX = 64
};
/* "192.0.2.1:25", "[2001:db8::1]:25", "unix". */
const char *addr_text(const struct sockaddr *addr, socklen_t len, char dst[ADDR_TEXT_MAX]);

/* "192.0.2.1", "2001:db8::1" or the latter in brackets; port 0. False: not a literal. */
bool addr_parse_literal(struct str text, struct sockaddr_storage *out, socklen_t *len);

/* A reply is one small segment that must not wait for the peer's acknowledgement. No-op on sockets
 * that are not TCP. */
void addr_set_nodelay(int fd);

#endif
