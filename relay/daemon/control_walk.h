/*
 * control_walk.h - every message of every worker's queue that passes a filter, in steps, so that
 * neither a worker nor the socket's buffer has to take a million messages at once. Main thread.
 */
#ifndef RELAY_DAEMON_CONTROL_WALK_H
#define RELAY_DAEMON_CONTROL_WALK_H

#include "relay/control/control.h"
#include "relay/daemon/daemon.h"

#define WALK_PLACES 1024 /* looked at in a step */

struct seen {
    struct queue_msg_info info;
    char last_reply[300];
    uint32_t *left; /* numbers of the recipients that are left; only if the filter asks for one */
    unsigned n_left;
};

struct walk {
    struct daemon *d;
    struct control_req *r;
    const struct control_args *args;
    int64_t now_ms; /* wall */
    /* One message that passes the filter; env may be NULL. False: enough. */
    bool (*take)(struct walk *w, const struct seen *m, const struct envelope *env);
    void (*finish)(struct walk *w, bool complete);
    bool wants_envelope;
    bool recovering; /* when it began: messages may come that it passed by */
    bool must_wait;  /* set by take: the client's buffer is full */
    uint64_t count, limit;
    uint64_t
        unreadable; /* their envelopes; with a filter that asks for those they were passed by */
    uint64_t *id;   /* collected, for actions */
    size_t n_id, cap_id;
    /* private */
    unsigned worker;
    struct queue *queue; /* while its worker is asked */
    uint32_t cursor;
    bool at_end; /* of this worker */
    unsigned n_seen;
    struct seen seen[WALK_PLACES];
};

struct walk *walk_new(struct daemon *d, struct control_req *r, const struct control_args *args);
/* Set take and finish, then start: finish is called once, after which the walk is freed. */
void walk_start(struct walk *w);

#endif
