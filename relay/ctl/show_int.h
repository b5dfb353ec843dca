/*
 * show_int.h - what the files that print answers share. Every member of an answer is optional.
 */
#ifndef RELAY_CTL_SHOW_INT_H
#define RELAY_CTL_SHOW_INT_H

#include "relay/ctl/show.h"

static inline const char *string(json_t *v)
{
    const char *z = json_string_value(v);
    return z != NULL ? z : "";
}
static inline const char *text_of(json_t *o, const char *key)
{
    return string(json_object_get(o, key));
}
static inline int64_t number_of(json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}
static inline const char *dash(const char *z)
{
    return z[0] != '\0' ? z : "-";
}

/* show_moves.c: the answers of move, undo, moves, set and unset. */
void show_move_item(struct show *s, json_t *item);
int show_move_result(struct show *s, json_t *result, struct buf *out);
/* What the items of `moves` are, by the first of them: waves, or the addresses of one. */
const char *show_moves_items(json_t *item);

#endif
