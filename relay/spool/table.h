/*
 * table.h - id -> where the message lies and how far it is. Open addressing in parts, so that
 * growing never takes long and about 33 bytes serve a message. Recipients' bits exist only for
 * messages with more than one recipient. Not locked: the spool's lock covers it.
 */
#ifndef RELAY_SPOOL_TABLE_H
#define RELAY_SPOOL_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TABLE_PARTS 64u

enum entry_flag {
    ENTRY_HELD = 1,
    ENTRY_DELAYED = 2,
    ENTRY_LARGE = 4,
    ENTRY_DEAD = 8,   /* recovery: done, kept until all segments are read */
    ENTRY_BAD = 16,   /* damaged: nothing more may be read */
    ENTRY_FOUND = 32, /* recovery: not counted yet */
    ENTRY_FLAGS = 63,
    ENTRY_SIDE_SHIFT = 6
};

struct entry {
    uint64_t id;    /* 0 = empty */
    uint32_t slot;  /* of the segment */
    uint32_t unit;  /* offset / DISK_ALIGN */
    uint32_t units; /* length / DISK_ALIGN */
    uint32_t more;  /* flags | side index << ENTRY_SIDE_SHIFT; 0 = one recipient */
};

struct table_part {
    struct entry *v;
    uint32_t cap, n;
};
/* Recipients of one message. */
struct rcpts {
    uint32_t n, left;
    uint8_t done[];
};
struct table {
    struct table_part part[TABLE_PARTS];
    struct rcpts **side; /* index 0 unused */
    uint32_t side_n, side_cap, side_free;
    uint64_t n;
    size_t bytes; /* memory in use */
};

void table_init(struct table *t);
void table_free(struct table *t);
/* Pointers to entries live until the next insert or remove. */
struct entry *table_find(struct table *t, uint64_t id);
/* The id must not be in it. */
struct entry *table_insert(struct table *t, uint64_t id, uint32_t n_rcpt);
void table_remove(struct table *t, struct entry *e);
/* Gives memory back where most of it is empty. */
void table_trim(struct table *t);
/* NULL for a message with one recipient. */
struct rcpts *table_rcpts(struct table *t, const struct entry *e);
/* True when no recipient is left. Past the end: ignored. */
bool table_rcpt_done(struct table *t, struct entry *e, uint32_t rcpt);

#endif
