/*
 * control_write.h - move --write: the cutover flag is written to the directories, from where it
 * comes back with their next change; and undo of that.
 */
#ifndef RELAY_DAEMON_CONTROL_WRITE_H
#define RELAY_DAEMON_CONTROL_WRITE_H

#include "relay/control/control.h"
#include "relay/daemon/daemon.h"
#include "relay/daemon/move_plan.h"

/* What would be written for an address: an array of {"source", "attribute", "value", "object"}. */
json_t *control_write_fact(const struct dir_view *v, struct str key, int forest);
/* Both end the request, now or later. */
void control_write_move(struct daemon *d, struct control_req *r, const struct move_plan *p,
                        const struct control_args *a);
/* key empty: the whole wave. While there is an object that no source has any more the wave stays
 * active, unless forced. */
void control_write_undo(struct daemon *d, struct control_req *r, const struct wave *w,
                        struct str key, bool force);

#endif
