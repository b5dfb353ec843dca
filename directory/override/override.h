/*
 * override.h - what administrators moved by hand: which forest an address belongs to, whatever the
 * directories say; who did it, when and why; what is to happen later. Main thread, under the
 * directory's lock; the stack may be read by others.
 *
 * One order is a wave: addresses that move together, now or at a time, for good or until a time. A
 * wave that has begun lies on what was there before: of the waves that name an address, the one
 * that began last counts. When a wave ends, by its time or by undo, it is taken away, and what lies
 * below counts again, so the order in which waves end does not matter.
 *
 * Kept as a journal of lines (override_line.h), synced before it counts. The lines of a wave are
 * written at once and count from its commit line on: after a crash a wave is there whole or not at
 * all. A wave written to a directory (--write) is kept for its history and for undo; it overrides
 * nothing, since what it wrote comes back with the directory's next change.
 */
#ifndef DIRECTORY_OVERRIDE_H
#define DIRECTORY_OVERRIDE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/file.h"
#include "directory/stack.h"

struct overrides;

/* An absent file is no override. A damaged line is logged and skipped. */
struct overrides *overrides_open(const char *state_dir, const struct file_ops *ops, struct err *e);
void overrides_close(struct overrides **o);
/* As a stack of entries of kind DIR_OVERRIDE, flag = forest. Borrowed. */
struct dir_stack *overrides_stack(const struct overrides *o);

/* ---- reading ---- */

enum wave_state {
    WAVE_PENDING, /* its time has not come */
    WAVE_ACTIVE,
    WAVE_EXPIRED, /* its time is over */
    WAVE_UNDONE,
    WAVE_REPLACED /* its addresses were moved again so often that nothing of it can come back */
};
const char *wave_state_text(enum wave_state s);

/* One address in one wave. */
struct wave_address {
    struct wave *wave;
    struct wave_address *below; /* in the wave that was there before it, or is still to come */
    struct str key, forest;     /* no forest: as the directories say */
    struct str previous;        /* the override before; of a written wave, the flag */
    bool undone;                /* by itself */
};
struct wave {
    uint32_t id;
    enum wave_state state;
    bool written;                        /* to a directory */
    int64_t made_ms, begun_ms, ended_ms; /* wall clock */
    int64_t at_ms;                       /* when it is to begin; 0 = at once */
    int64_t until_ms;                    /* 0 = for good */
    uint64_t generation;                 /* of the directory, of its last change */
    struct str who, why, ended_by;       /* escaped; ended_by is empty when its time was over */
    struct str forest;                   /* of its first address */
    unsigned n_made;                     /* addresses as ordered */
    unsigned n;                          /* of which are known; 0: it ended long ago */
    unsigned n_left;                     /* of these, the ones that were not taken away */
    struct wave_address *address;
    uint64_t order; /* private, like the next: of planning or, later, of beginning */
    struct arena arena;
};

/* Oldest first; NULL past the end. */
const struct wave *overrides_wave(const struct overrides *o, unsigned i);
const struct wave *overrides_find(const struct overrides *o, uint32_t id);
/* The newest that names the address and has not ended; go on by `below`. NULL if there is none. */
const struct wave_address *overrides_find_key(const struct overrides *o, struct str key);
/* Of those, the one that counts now; NULL if there is none. */
const struct wave_address *overrides_effective(const struct overrides *o, struct str key);

/* ---- changing ---- */

struct wave_move {
    struct str key, forest;
    struct str previous; /* of a written wave */
};
struct wave_order {
    unsigned n;
    const struct wave_move *move; /* each address once */
    struct str who, why;
    int64_t at_ms, until_ms;
    bool written;
};

/* Each of these writes to the journal, syncs it, and then changes what counts; on failure nothing
 * is changed: the journal is written anew without what failed, and until that has succeeded nothing
 * else is taken. `generation`: of the view that will show it. */
bool overrides_order(struct overrides *o, const struct wave_order *order, uint64_t generation,
                     uint32_t *id, struct err *e);
bool overrides_begin(struct overrides *o, uint32_t id, uint64_t generation, struct err *e);
/* Its time is over. */
bool overrides_expire(struct overrides *o, uint32_t id, uint64_t generation, struct err *e);
/* key empty: the whole wave. ERR_INPUT if there is nothing to undo. */
bool overrides_undo(struct overrides *o, uint32_t id, struct str key, struct str who,
                    uint64_t generation, struct err *e);
/* These addresses of it, each named once; all or none of them, unless the power fails meanwhile:
 * then it may be some. */
bool overrides_undo_keys(struct overrides *o, uint32_t id, const struct str *key, unsigned n,
                         struct str who, uint64_t generation, struct err *e);
/* The addresses for which the last of these changed what counts; valid until the next, or: */
unsigned overrides_changed(const struct overrides *o, struct wave_address *const **list);
/* Writes a journal that has become long anew. After each change. */
void overrides_tidy(struct overrides *o);

#endif
