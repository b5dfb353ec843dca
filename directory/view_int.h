/*
 * view_int.h - how a view is made: only directory.c makes them.
 */
#ifndef DIRECTORY_VIEW_INT_H
#define DIRECTORY_VIEW_INT_H

#include "directory/rules.h"
#include "directory/stack.h"
#include "directory/view.h"

/* What a source tells all views about its age, from its own thread. */
struct dir_fresh {
    _Atomic uint32_t refs;
    _Atomic bool complete_once;
    _Atomic int64_t complete_ms; /* monotonic; last moment it was known complete */
    /* The generation that holds what made it complete, or fresh again: older views hold less. Set
       before the two others, which are then released. */
    _Atomic uint64_t since;
};
struct dir_fresh *fresh_new(void);
struct dir_fresh *fresh_ref(struct dir_fresh *f);
void fresh_unref(struct dir_fresh **f);

struct view_source {
    unsigned index; /* in rules->source */
    uint64_t owner; /* struct source: id; 0 = none */
    struct dir_stack *stack;
    struct dir_stack *held; /* what the source says while that waits for a person (hold.h), or NULL:
                               whoever is in it is not unknown */
    struct dir_fresh *fresh;
};
/* The same with references of its own, for another view. */
struct view_source view_source_copy(const struct view_source *s);
struct dir_view {
    _Atomic uint32_t refs;
    uint64_t generation;
    struct dir_rules *rules;
    struct dir_stack *overrides;
    unsigned n;
    struct view_source source[]; /* by priority */
};

/* Empty slots to be filled in; takes over the references to rules and overrides. */
struct dir_view *view_new(uint64_t generation, struct dir_rules *rules, struct dir_stack *overrides,
                          unsigned n);
/* dir_view_lookup() without its counters: for those who ask about many and route no mail. */
void view_lookup(const struct dir_view *v, struct str key, int64_t now_ms, struct dir_result *out);
/* Nothing says where it is: does it not exist, or do we not know? Without a key (it was another
 * one) every source counts. */
void view_not_found(const struct dir_view *v, struct str key, int64_t now_ms,
                    struct dir_result *out);
/* Of a key of another kind that nobody has: somebody whom a source holds back may have it. */
void view_look_in_held(const struct dir_view *v, enum dir_key_type type, struct str key,
                       struct dir_result *out);
/* Calls fn with the hash of every key of the person with this address key. */
typedef void view_key_fn(void *arg, uint64_t hash);
void view_related_keys(const struct dir_view *v, struct str key, view_key_fn *fn, void *arg);

#endif
