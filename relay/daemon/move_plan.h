/*
 * move_plan.h - what an order to move would change: for each address where it is now, by what rule,
 * and what an administrator should know before it is moved. Reads a view; changes nothing.
 */
#ifndef RELAY_DAEMON_MOVE_PLAN_H
#define RELAY_DAEMON_MOVE_PLAN_H

#include <jansson.h>

#include "directory/directory.h"
#include "relay/control/commands.h"

enum move_kind {
    MOVE_GOES,    /* will be somewhere else */
    MOVE_THERE,   /* is there already */
    MOVE_UNKNOWN, /* no directory knows it */
    MOVE_UNSURE   /* the same, but a source is not complete and fresh */
};

struct move_item {
    struct str key;
    int forest; /* index: where it is to be */
    enum move_kind kind;
    struct str now;      /* forest; empty = none */
    const char *why;     /* static: the rule that says where it is now */
    const char *warning; /* static; NULL = none */
    bool by_override;    /* which says where it is now, whatever the directories say */
};

struct move_plan {
    struct dir_view *view; /* what the texts point into */
    unsigned n, count[MOVE_UNSURE + 1], n_warnings;
    struct move_item *item; /* each address once */
    char *keys;
};

/* False: *e says which address or forest is wrong, and nothing else was looked at. Free also then.
 */
bool move_plan_make(struct directory *d, const struct control_args *a, struct move_plan *out,
                    struct err *e);
void move_plan_free(struct move_plan *p);

/* {"address", "now", "then", "state", "why", "warning"} */
json_t *move_plan_fact(const struct move_plan *p, const struct move_item *i);

#endif
