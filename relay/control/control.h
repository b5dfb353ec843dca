/*
 * control.h - the control socket: newline-delimited JSON over a Unix socket, one request at a time
 * per connection. Runs on one loop (the main thread's); what the commands do comes through struct
 * control_ops. doc/control-protocol.md is the protocol, commands.def the commands.
 *
 * A client that sends nonsense (no JSON, a line that is too long, nesting that is too deep, no
 * request) is told so, closed and counted; nobody else notices. A request with an unknown command
 * or a wrong argument gets an error, and the connection stays.
 *
 * A handler is called with a request in hand and answers when it can: at once or later, from this
 * loop's thread. It ends the request with exactly one control_reply() or control_error(), also when
 * the client has gone meanwhile (then nothing is sent). Until then `args` and the handle are valid.
 */
#ifndef RELAY_CONTROL_CONTROL_H
#define RELAY_CONTROL_CONTROL_H

#include <jansson.h>
#include <stdbool.h>

#include "relay/control/commands.h"
#include "relay/io/loop.h"

struct control;
struct control_req;

typedef void control_fn(void *ctx, struct control_req *r, const struct control_args *args);

/* One function for each command of commands.def, named by its id:
 * status, queue_list, queue_show, queue_hold, queue_release, queue_retry, queue_remove,
 * queue_export, queue_dests, explain, directory_status, directory_lookup,
 * directory_upsert, directory_delete, directory_load, directory_pending, directory_accept,
 * doctor, move, undo, moves, set, unset, reload, stop,
 * version. NULL: the command answers "not available". */
struct control_ops {
    void *ctx;
#define COMMAND(id, name, streams, change, summary, detail) control_fn *id;
#define ARG(id, name, type, member, flags, value, help)
#define FILTER_ARGS(id)
#include "relay/control/commands.def"
#undef COMMAND
#undef ARG
#undef FILTER_ARGS
};

/* Takes over the listening descriptor (relay/io/listener.h: listen_unix()). */
struct control *control_new(struct loop *l, int listen_fd, unsigned clients_max,
                            const struct control_ops *ops);
/* A connected descriptor as a client of its own, as if it had been accepted (tests). */
void control_attach(struct control *c, int fd);
/* Stops listening and closes the clients after what is pending for them was written, or after half
 * a second. Requests in hand stay valid and must still be ended. */
void control_free(struct control **c);

/* ---- answering ---- */

/* Ends the request. Takes over `result` (an object; NULL = {}). */
void control_reply(struct control_req *r, json_t *result);

enum control_error {
    CONTROL_ERR_REQUEST,     /* not a request */
    CONTROL_ERR_COMMAND,     /* no such command */
    CONTROL_ERR_ARGUMENT,    /* missing, unknown or malformed argument */
    CONTROL_ERR_NOT_FOUND,   /* no such message, address, override ... */
    CONTROL_ERR_UNAVAILABLE, /* not now: starting, stopping, too busy */
    CONTROL_ERR_FAILED,      /* it was tried and failed; the message says why */
};
/* "not-found" */
const char *control_error_code(enum control_error e);
void control_error(struct control_req *r, enum control_error e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* An item before the result, of commands that stream. Takes over `item`. False: enough is
 * buffered for this client, stop and go on in the function given to control_wait(). (Items are
 * never lost, but a handler that goes on for ever without waiting loses its client.) */
bool control_item(struct control_req *r, json_t *item);
/* Calls fn once when the client has taken what was buffered, or has gone; not before this returns.
 */
typedef void control_ready_fn(void *arg, struct control_req *r);
void control_wait(struct control_req *r, control_ready_fn *fn, void *arg);
/* The client has closed: work that only produces items may stop. */
bool control_is_gone(const struct control_req *r);
/* Who asks, for logs and journals: "root", "alice", "uid 1000" where the user has no name (by the
 * kernel's word, SO_PEERCRED). Valid
 * until the request is ended. */
const char *control_who(const struct control_req *r);
enum control_command control_command_of(const struct control_req *r);

#endif
