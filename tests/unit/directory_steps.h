/*
 * directory_steps.h - the steps of directory_random_test.c: what can happen to three directories,
 * made by chance from a seed, and printed for a person.
 */
#ifndef TESTS_UNIT_DIRECTORY_STEPS_H
#define TESTS_UNIT_DIRECTORY_STEPS_H

#include <stdint.h>

#include "tests/unit/directory_oracle.h"

enum verb {
    PUT,      /* an object is created, or is another one from now on */
    CHANGE,   /* one attribute of an object changes */
    DELETE,   /* and is committed like those above */
    LOSE,     /* objects change, and the process ends before the commit */
    REFRESH,  /* the server tells everything again */
    PART,     /* it begins to, and breaks off */
    SNAPSHOT, /* the journal is folded */
    RESTART,
    RELOAD,
    OVERRIDE,
    VERBS
};
/* What a reload can change. */
struct settings {
    bool configured[SOURCES];
    int priority[SOURCES], forest[SOURCES];
    bool swapped[SOURCES];  /* what the flag values mean */
    unsigned asks[SOURCES]; /* variants of what the source is asked for: others need a refresh */
    enum oracle_evidence evidence[DOMAINS];
    bool join_smtp, join_x500, join_key;
};
/* All that a step does is in it, so that it is the same when others are left out. */
struct step {
    enum verb verb;
    int source, id;
    unsigned attribute; /* CHANGE */
    struct object o[OBJECTS];
    bool told[OBJECTS], present[OBJECTS]; /* REFRESH: told anew, or said to be as before */
    bool delete_absent;
    int address, forest; /* OVERRIDE; forest NOBODY: unset */
    struct settings settings;
};

/* The same seed makes the same chances. */
void steps_seed(uint64_t seed);
unsigned chance(unsigned below);

struct step random_step(void);
void print_step(const struct step *s);

#endif
