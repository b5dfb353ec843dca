/*
 * hold.h - a mass change that waits for a person.
 *
 * A step (one refresh or one commit) in which more entries vanish, move or lose an address than the
 * limits allow is not applied, and neither is anything after it: the source keeps serving its last
 * good generation. The same goes for entries that vanish step by step within ten minutes. (Moves
 * step by step are what an administrator is here for, and pass.) What the source says meanwhile is
 * gathered and compared with that generation, never applied; a struct hold is what it would change,
 * as of one moment.
 *
 * It ends in one of three ways: somebody accepts what was shown, and exactly that is applied; the
 * source takes it back, so that nothing of it is left; or the limits are raised.
 * It is kept on disk with the sync cookie that belongs to it, so neither a restart nor a server
 * that is away applies or forgets it.
 */
#ifndef DIRECTORY_HOLD_H
#define DIRECTORY_HOLD_H

#include "directory/directory.h"
#include "directory/stack.h"

/* A smaller change is never a mass change by its share. */
#define HOLD_FLOOR 10

/* Immutable, atomic reference count; any thread. */
struct hold {
    _Atomic uint32_t refs;
    _Atomic bool applied; /* somebody accepted it, and it is published */
    int64_t since_ms;     /* wall */
    uint64_t sequence;    /* of the generation that it would change */
    struct dir_step counts;
    struct dir_table *change;         /* NULL: it could not be read back after a restart, and is not
                                         known before the source was read again */
    struct dir_stack *before, *after; /* NULL likewise */
};

struct hold *hold_ref(struct hold *h);
void hold_unref(struct hold **h);
bool hold_is_applied(const struct hold *h);

#endif
