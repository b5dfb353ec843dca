/*
 * override_line.h - one line of the journal of moves (override.h). Pure.
 *
 *     time action key forest who why generation previous wave until at
 *
 * separated by tabs; "-" is an empty member, and members may be missing at the end: the first five
 * are all that older versions wrote, each line a wave of its own.
 *
 *     set, unset   an address of the wave: its forest; previous is the override it had before
 *     plan         the same, of a wave that is to begin at `at`
 *     write        the same, of a wave written to a directory; previous is the flag it had there,
 *                  at is not used, and generation is 0
 *     commit       the wave is complete: what stands before it counts from here, if it is as many
 *                  lines as previous says. key: how many addresses were ordered; missing in older
 *                  versions, where previous said that
 *     begin        a planned wave took effect
 *     expire       its time was over
 *     undo         taken back by who: the whole wave, or the one address `key`
 *     past         of a wave whose addresses are forgotten. previous: how many were ordered
 */
#ifndef DIRECTORY_OVERRIDE_LINE_H
#define DIRECTORY_OVERRIDE_LINE_H

#include "base/buf.h"
#include "base/str.h"

enum override_action {
    OVERRIDE_SET,
    OVERRIDE_UNSET,
    OVERRIDE_PLAN,
    OVERRIDE_WRITE,
    OVERRIDE_COMMIT,
    OVERRIDE_BEGIN,
    OVERRIDE_EXPIRE,
    OVERRIDE_UNDO,
    OVERRIDE_PAST
};

struct override_line {
    int64_t time_ms; /* wall clock; 0 = not said */
    enum override_action action;
    struct str key, forest, who, why; /* who and why are escaped (base/escape.h) */
    uint64_t generation;
    struct str previous;
    uint32_t wave; /* 0: of an older version */
    int64_t until_ms, at_ms;
};

/* `text` without its newline. False: not of this form. */
bool override_line_read(struct str text, struct override_line *out);
/* With its newline. */
bool override_line_write(struct buf *out, const struct override_line *l);

#endif
