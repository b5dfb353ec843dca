/*
 * peer.h - the names of those who use the control socket, for the log and the journal of moves.
 * Main thread.
 */
#ifndef RELAY_CONTROL_PEER_H
#define RELAY_CONTROL_PEER_H

#include <stddef.h>
#include <sys/types.h>

struct peer_names;
struct peer_names *peer_names_new(void);
/* A lookup that is under way ends by itself. */
void peer_names_free(struct peer_names **p);
/* The user's name, or "uid N" where there is none, or none in time. */
void peer_names_get(struct peer_names *p, uid_t uid, char *dst, size_t cap);

#endif
