/*
 * control_queue.h - the control commands that ask the workers' queues. Main thread.
 *
 * Answers: queue.hold, release, retry and remove: {matched, done, not_found: [ids]}; queue.list:
 * items are messages (facts.h), then {count, complete}, both with recovering if so; queue.dests:
 * items are destinations, then {count}; queue.show: a message; queue.export: items {data: base64},
 * then {id, size}.
 */
#ifndef RELAY_DAEMON_CONTROL_QUEUE_H
#define RELAY_DAEMON_CONTROL_QUEUE_H

#include "relay/control/control.h"
#include "relay/daemon/daemon.h"

/* Adds "queue" to the status and answers with it. Takes over `status`. */
void control_queue_status(struct daemon *d, struct control_req *r, json_t *status);

/* Ends the request about a message that is not there (ERR_INPUT; recovering: when it was looked
 * for) or cannot be read. */
void control_not_read(struct control_req *r, uint64_t id, bool recovering, const struct err *e);

control_fn control_queue_list, control_queue_show, control_queue_act, control_queue_export,
    control_queue_dests;

#endif
