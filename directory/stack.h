/*
 * stack.h - all that one source says at one moment: a snapshot at the bottom and a few tables of
 * later changes on it, newest first. Immutable and reference counted like its tables.
 *
 * An entry in a newer table hides every older entry with the same UUID, whole: its old addresses
 * are gone. A tombstone hides and is nothing itself. Tables of changes are merged when the next
 * older one is not at least eight times as large, which keeps them at six or so for half a million
 * changes.
 */
#ifndef DIRECTORY_STACK_H
#define DIRECTORY_STACK_H

#include "directory/table.h"

#define STACK_MAX 16

struct dir_stack {
    _Atomic uint32_t refs;
    unsigned n;
    bool has_base;      /* t[n - 1] is the snapshot */
    uint64_t key_types; /* of all tables: struct table_header */
    struct dir_table *t[STACK_MAX];
};

/* Takes over the reference to `base`, which may be NULL. */
struct dir_stack *stack_new(struct dir_table *base);
struct dir_stack *stack_ref(struct dir_stack *s);
void stack_unref(struct dir_stack **s);

/* A new stack with `t` (reference taken over) on top of `s` (untouched), merged as needed. */
struct dir_stack *stack_push(const struct dir_stack *s, struct dir_table *t);
/* The same, with nothing merged; `s` must not be full. For a load in ever larger parts, which one
 * merging at its end serves better than many on the way. */
struct dir_stack *stack_put(const struct dir_stack *s, struct dir_table *t);
/* One table that says what `n` (not 0) tables say together, oldest first; in one walk, for a
 * journal with many. Tombstones stay. */
struct dir_table *stack_merge(struct dir_table *const *t, size_t n);
/* A new stack, with another base that says the same (reference taken over). */
struct dir_stack *stack_rebase(const struct dir_stack *s, struct dir_table *base);
/* Adds every living entry to b, for a new snapshot. */
void stack_flatten(const struct dir_stack *s, struct table_builder *b);
/* Entries in the tables above the snapshot. */
uint64_t stack_overlay_entries(const struct dir_stack *s);

/* The newest living record; false if there is none. */
bool stack_find_uuid(const struct dir_stack *s, const unsigned char *uuid,
                     struct table_record *out);
/* Living records with this SMTP address key (hash = hash64(key)), at most `max`, the lowest UUID
 * first; returns how many. More than one: the address is on several objects. */
unsigned stack_find_key(const struct dir_stack *s, struct str key, uint64_t hash,
                        struct table_record *out, unsigned max);
/* The same for keys of other kinds: `types` has a bit (1 << type) for each that will do, all with
 * the hash dir_other_hash(). */
unsigned stack_find_other(const struct dir_stack *s, unsigned types, struct str key, uint64_t hash,
                          struct table_record *out, unsigned max);
/* Living records that have a key of any kind with this hash. */
unsigned stack_find_hash(const struct dir_stack *s, uint64_t hash, struct table_record *out,
                         unsigned max);
/* Asks for the memory that stack_find_key() will look at first. */
void stack_prefetch_key(const struct dir_stack *s, uint64_t hash);

/* Walks all living records. */
struct stack_cursor {
    unsigned table;
    uint64_t at;
};
bool stack_next(const struct dir_stack *s, struct stack_cursor *c, struct table_record *out);

#endif
