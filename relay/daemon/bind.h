/*
 * bind.h - the listening sockets: all bound before privileges are dropped, one per worker and
 * address.
 */
#ifndef RELAY_DAEMON_BIND_H
#define RELAY_DAEMON_BIND_H

#include "conf/conf.h"
#include "relay/daemon/worker.h"

/* sockets[worker] has *per_worker entries each. False: none is open. */
bool bind_all(const struct conf *c, unsigned n_worker, struct worker_socket ***sockets,
              unsigned *per_worker, struct err *e);
void bind_free(struct worker_socket **sockets, unsigned n_worker); /* the arrays, not the sockets */

/* Gives up root for conf's user and group, if there are any and we are root. */
bool privileges_drop(const struct conf *c, struct err *e);
/* Hands the directory to that user (spool, state, socket), while we are still root. */
bool privileges_own(const struct conf *c, const char *path, struct err *e);
/* The group that control.socket_group names. False and *e: there is none of that name. */
bool privileges_socket_group(const struct conf *c, gid_t *gid, struct err *e);
/* May we give it what is ours? Root may, and who is in it. */
bool privileges_may_give(gid_t gid);

#endif
