/*
 * manual.h - a source that is told its entries by hand, through the control socket, for mail
 * systems that have no directory to ask. What it was told is on disk before it says so.
 *
 * The source's thread owns the entries; whoever wants a change puts it into the source's box and
 * waits. A box outlives its source: after a reload that removed it, it answers that it is closed.
 *
 * A source that was never filled is not complete: unknown recipients get 451. It is complete from
 * the end of its first load on, or from its first single upsert.
 */
#ifndef DIRECTORY_MANUAL_H
#define DIRECTORY_MANUAL_H

#include "base/err.h"
#include "base/str.h"

struct manual_box;
struct source;

struct manual_change {
    /* One of the two: rows of CSV with a header (csv_map.h), each a recipient as it shall be from
     * now on, known again by its primary address; or the primary address of one to be forgotten.
     * All of the rows are taken or none. */
    struct str csv, forget;
    unsigned skip; /* lines of the file between csv's header and its first row, for messages */
    bool check;    /* only look whether it could be done */
    bool more;     /* the load goes on: the source does not become complete by this part */
    /* The answer. */
    unsigned rows, changed; /* recipients named; of these, entries that are not as before */
    uint64_t generation;
};

/* Any thread but the source's own; blocks until it is done. False: ERR_INPUT, and what would be
 * right; ERR_BUSY: the source is closed or closing; ERR_SYSTEM: done, but it could not be written
 * to disk and ends with this process. */
bool manual_ask(struct manual_box *b, struct manual_change *c, struct err *e);

struct manual_box *manual_box_new(void);
struct manual_box *manual_box_ref(struct manual_box *b);
void manual_box_unref(struct manual_box **b);
/* Nothing is taken any more; who waits is answered. On the source's thread, or after it. */
void manual_box_close(struct manual_box *b);

/* The source's thread lives here (source.h). */
void manual_source_run(struct source *s);

#endif
