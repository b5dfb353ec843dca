/*
 * control_int.h - inside the control server: arguments and request lines.
 */
#ifndef RELAY_CONTROL_CONTROL_INT_H
#define RELAY_CONTROL_CONTROL_INT_H

#include <jansson.h>

#include "base/err.h"
#include "relay/control/commands.h"

void control_args_init(struct control_args *out);
void control_args_free(struct control_args *out);
/* args: an object, or NULL for none. Strings point into it. Free also after a failure. */
bool control_args_read(enum control_command c, json_t *args, struct control_args *out,
                       struct err *e);

/* A line as a request. */
enum control_parse {
    CONTROL_PARSE_OK,
    CONTROL_PARSE_NONSENSE, /* not a request: the client goes */
    CONTROL_PARSE_COMMAND,  /* no such command */
};
struct control_line {
    json_t *root; /* to be released with json_decref() */
    json_t *args; /* borrowed from root; NULL = none */
    json_t *tag; /* the request's "id", likewise: a string or an integer, given back with answers */
    enum control_command command;
};
enum control_parse control_line_parse(struct str line, struct control_line *out, struct err *e);

#endif
