/*
 * client.h - one request to the daemon and its answer, blocking.
 */
#ifndef RELAY_CTL_CLIENT_H
#define RELAY_CTL_CLIENT_H

#include <jansson.h>

#include "base/err.h"

/* An item, borrowed. False: enough, the rest is not wanted. */
typedef bool client_item_fn(void *arg, json_t *item);

/* True: *result is the answer (a new reference; NULL if an item was not wanted). False: *e says
 * why, `refused` whether it was the daemon that said no. */
bool client_call(const char *path, const char *command, json_t *args, client_item_fn *item,
                 void *arg, json_t **result, bool *refused, struct err *e);

#endif
