/*
 * control_move.h - the control commands that move mailboxes by hand, and the journal of them.
 */
#ifndef RELAY_DAEMON_CONTROL_MOVE_H
#define RELAY_DAEMON_CONTROL_MOVE_H

#include "relay/control/control.h"
#include "relay/daemon/daemon.h"
#include "rewrite/address.h"

control_fn control_move, control_undo, control_moves, control_set, control_unset;

/* The directory's key of a request's address, whose form the protocol has checked; its length. */
size_t control_key(const char *text, char key[ADDRESS_MAX + 1]);
/* Adds to the reasons of an explanation what was or will be done by hand to the address. */
void control_moves_explain(struct daemon *d, const char *address, json_t *reasons);

#endif
