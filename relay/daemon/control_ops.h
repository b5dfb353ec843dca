/*
 * control_ops.h - the control socket's commands, as the daemon carries them out. Main thread.
 */
#ifndef RELAY_DAEMON_CONTROL_OPS_H
#define RELAY_DAEMON_CONTROL_OPS_H

#include "relay/daemon/daemon.h"

/* While still root: the socket's directory and the socket itself. */
bool control_ops_bind(struct daemon *d, struct err *e);
bool control_ops_start(struct daemon *d, struct err *e);
void control_ops_stop(struct daemon *d);

#endif
