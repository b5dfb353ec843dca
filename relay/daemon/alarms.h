/*
 * alarms.h - what needs a person, in one list, worst first: for `causewayctl status`. Main thread.
 */
#ifndef RELAY_DAEMON_ALARMS_H
#define RELAY_DAEMON_ALARMS_H

#include <jansson.h>

#include "relay/daemon/daemon.h"

/* [{what, about, text, command}]: a word for programs, the source or "" that it is about, a
 * sentence, and the command that helps or shows more ("" = none). */
json_t *alarms_fact(const struct daemon *d);

#endif
