/*
 * arena.h - memory with one end of life. Small blocks are chained; nothing is freed by itself.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include "base/str.h"

struct arena_block;

struct arena {
    struct arena_block *head;
    size_t used;  /* bytes handed out since the last reset */
    size_t max;   /* 0 = no cap */
    size_t block; /* size of a normal block */
};

void arena_init(struct arena *a, size_t block, size_t max);
/* Aligned for any type, zeroed. NULL only when `max` would be passed. */
void *arena_alloc(struct arena *a, size_t n);
/* NUL-terminated copy; a slice whose p is NULL when the cap is reached. */
struct str arena_str(struct arena *a, struct str s);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Everything handed out becomes invalid; keeps at most one block for reuse. */
void arena_reset(struct arena *a);
void arena_free(struct arena *a);

#endif
