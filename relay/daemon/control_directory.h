/*
 * control_directory.h - the control commands about mass changes of directory sources. Main thread.
 */
#ifndef RELAY_DAEMON_CONTROL_DIRECTORY_H
#define RELAY_DAEMON_CONTROL_DIRECTORY_H

#include "relay/control/control.h"
#include "relay/daemon/daemon.h"

control_fn control_directory_pending, control_directory_accept;

#endif
