/*
 * load.h - `causewayctl directory load`: a CSV file to a manual source. A file may be longer than a
 * request, so it goes in parts, each with the header in front; all parts are checked first, so that
 * an error in the last one comes before the first one changed anything.
 */
#ifndef RELAY_CTL_LOAD_H
#define RELAY_CTL_LOAD_H

#include <jansson.h>

#include "relay/ctl/cmdline.h"

/* True: *result is as one request would have it. Otherwise *e. */
bool load_send(const struct cmdline *c, json_t **result, struct err *e);

/* The end of the part of `text` that begins at `from`: after a row, at most `max` octets on; a row
 * that is longer is a part of its own. For tests. */
size_t load_part_end(struct str text, size_t from, size_t max);

#endif
