/*
 * walk.c - see walk.h. Any thread; a view never changes. A damaged entry is passed over, as a
 * lookup does.
 */
#include "directory/walk.h"

#include "directory/view_int.h"

bool dir_view_walk(const struct dir_view *v, struct dir_cursor *c, struct dir_walk *out)
{
    struct table_record r;
    for (; c->source < v->n; *c = (struct dir_cursor){.source = c->source + 1}) {
        struct stack_cursor at = {.table = c->table, .at = c->at};
        bool found = false;
        while (!found && stack_next(v->source[c->source].stack, &at, &r))
            found = table_record_decode(&r, &out->room, &out->entry);
        c->table = at.table;
        c->at = at.at;
        out->source = c->source;
        if (found)
            return true;
    }
    return false;
}
