/*
 * walk.h - every entry of every source, one after the other, as `causewayctl doctor` reads them.
 * Safe on any thread that holds a reference to the view; changes nothing, waits for nobody.
 */
#ifndef DIRECTORY_WALK_H
#define DIRECTORY_WALK_H

#include "directory/entry.h"

/* Where a walk is. Begins as all zero. */
struct dir_cursor {
    unsigned source, table;
    uint64_t at;
};

/* One entry, decoded. 120 KB: never on a stack. */
struct dir_walk {
    unsigned source; /* as in a claim: dir_view_source_name() */
    struct dir_entry entry;
    struct dir_entry_room room;
};

/* The next living entry (those in their grace period too); false at the end. Sources in order of
 * priority; the order within one is that of its tables. Slices of *out live as long as both the
 * view and *out, until the next call. */
bool dir_view_walk(const struct dir_view *v, struct dir_cursor *c, struct dir_walk *out);

#endif
