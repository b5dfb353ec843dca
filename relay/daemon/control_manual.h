/*
 * control_manual.h - the control commands that tell a manual source of recipients:
 * directory.upsert, directory.delete, directory.load. Main thread; the waiting is a job (job.h).
 */
#ifndef RELAY_DAEMON_CONTROL_MANUAL_H
#define RELAY_DAEMON_CONTROL_MANUAL_H

#include "relay/control/control.h"

/* ctx: struct daemon. */
control_fn control_directory_upsert, control_directory_delete, control_directory_load;

#endif
