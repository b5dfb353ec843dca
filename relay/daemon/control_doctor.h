/*
 * control_doctor.h - the command `doctor`: a pass over the directories on the background thread,
 * its findings at the client's pace.
 */
#ifndef RELAY_DAEMON_CONTROL_DOCTOR_H
#define RELAY_DAEMON_CONTROL_DOCTOR_H

#include "relay/control/control.h"

void control_doctor(void *ctx, struct control_req *r, const struct control_args *args);

#endif
