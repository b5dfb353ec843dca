/*
 * override_int.h - the waves in memory, as override.c (the journal) and override_wave.c (what its
 * lines mean) share them.
 */
#ifndef DIRECTORY_OVERRIDE_INT_H
#define DIRECTORY_OVERRIDE_INT_H

#include "directory/hashmap.h"
#include "directory/override/override.h"
#include "directory/override/override_line.h"

#define OVERRIDE_KEPT_BELOW 8     /* moves of one address that undo can go back */
#define OVERRIDE_PAST_MAX   10000 /* waves that have ended, of which the headline is kept */

struct waves {
    unsigned n, cap;
    struct wave **wave; /* by number, which is the order of their making */
    uint32_t last_id;
    uint64_t last_order;
    struct hashmap top; /* hash of an address key -> the newest struct wave_address of it */
    struct wave *open;  /* not yet committed: its lines are being read */
    struct wave_address **changed; /* by the lines since n_changed was set to 0 */
    unsigned n_changed, cap_changed;
};

void waves_init(struct waves *w);
void waves_free(struct waves *w);
/* False: a line that means nothing here, or the commit of a wave that is not whole. */
bool waves_apply(struct waves *w, const struct override_line *l);
/* The open wave is given up. */
void waves_drop_open(struct waves *w);
struct wave *waves_find(const struct waves *w, uint32_t id);
struct wave_address *waves_find_key(const struct waves *w, struct str key);
/* Has the wave this address, and was it not taken away? */
bool waves_names(const struct waves *w, const struct wave *one, struct str key);
struct wave_address *waves_effective(const struct waves *w, struct str key);
/* Forgets what neither counts nor can count again: waves that have ended (but for their headline)
 * and what lies deep below others. */
void waves_prune(struct waves *w);
/* The lines that make these waves again. False: too long. */
bool waves_write(const struct waves *w, struct buf *out);

/* "local@domain" as a key is written; false: not such a key. */
bool wave_key_split(struct str key, struct dir_address *out);

#endif
