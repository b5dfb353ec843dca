/*
 * directory_stage.h - one replica on a clock of the test's own, with up to a few thousand entries
 * u0@x.test, u1@x.test ...: what the tests of mass changes and of the grace period share.
 */
#ifndef TESTS_UNIT_DIRECTORY_STAGE_H
#define TESTS_UNIT_DIRECTORY_STAGE_H

#include "directory/hold.h"
#include "directory/replica.h"

#define MINUTE 60000
#define HOUR   (60 * (int64_t)MINUTE)
#define START  ((int64_t)1800000000000) /* wall */

struct stage {
    const char *folder;
    struct replica_options o;
    struct replica *r;
    unsigned commits, entries, told; /* heard */
    bool held;
};

/* On a new folder, at START; percent 25, no grace. Change s->o, then restart. */
void stage_begin(struct stage *s);
void stage_start(struct stage *s);
void stage_restart(struct stage *s);
void stage_end(struct stage *s);

/* Upserts these; `more` follows the address. */
void stage_put(struct stage *s, unsigned from, unsigned to, const char *more);
/* The directory is entries `from` to `to` now. */
void stage_refresh(struct stage *s, unsigned from, unsigned to, const char *cookie);
/* One change by itself. */
void stage_delete(struct stage *s, unsigned id);
/* Accepts what is held. */
void stage_agree(struct stage *s);

/* Until the next call. */
bool stage_find(const struct stage *s, unsigned id, struct dir_entry *out);
/* 1: there; 0: gone; -1: vanished, and routes on. */
int stage_is_there(const struct stage *s, unsigned id);
void stage_expect_held(const struct stage *s, uint64_t vanish, uint64_t move);
void stage_path(const struct stage *s, const char *what, char out[300]);

#endif
