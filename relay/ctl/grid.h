/*
 * grid.h - tables for people: columns as wide as their content, cut where the terminal ends.
 */
#ifndef RELAY_CTL_GRID_H
#define RELAY_CTL_GRID_H

#include "base/arena.h"
#include "base/buf.h"

#define GRID_COLUMNS_MAX 12

struct grid_column {
    const char *title;
    bool right; /* numbers */
    bool cut;   /* may be made narrower to fit, down to GRID_CUT_MIN */
    bool spare; /* left out if that is not enough */
};
#define GRID_CUT_MIN 11

struct grid {
    const struct grid_column *column;
    unsigned n_column;
    unsigned n_rows, cell; /* rows that are complete; cells of the one that is not */
    unsigned cap;
    const char **cells;
    struct arena texts;
    bool headed;    /* the titles were printed */
    unsigned width; /* of the terminal; 0 = as wide as need be */
};

void grid_init(struct grid *t, const struct grid_column *column, unsigned n, unsigned width);
void grid_free(struct grid *t);
/* The next cell, row by row. Control characters become '?'. */
void grid_add(struct grid *t, const char *text);
/* Prints the rows there are and forgets them; titles only the first time. */
void grid_print(struct grid *t, struct buf *out);

/* Appends z and a line end, broken between words into lines of at most `width` characters that
 * begin at column `indent` (where the first one is already); a word that is longer than a line,
 * such as a DN, is broken where the line ends. */
void text_wrap(struct buf *out, const char *z, unsigned indent, unsigned width);
/* Characters, not bytes. */
size_t text_width(const char *z);
/* "45s", "12m", "3h20m", "5d4h". dst: 24 octets. */
void text_duration(int64_t ms, char *dst);
/* "512", "4.0K", "1.2M", "20G". dst: 16 octets. */
void text_size(uint64_t bytes, char *dst);
/* Milliseconds since 1970 of RFC 3339 UTC text; 0 if it is none. */
int64_t text_time(const char *z);

#endif
