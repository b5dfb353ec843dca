/*
 * hash.c - XXH3 (64 bits) from libxxhash under our names. Any thread; only the streaming state is
 * allocated. The streaming form gives the same value as the one-shot form, which the spool's
 * checksums rely on.
 */
#include "base/hash.h"

#include <xxhash.h>

#include "base/assert.h"
#include "base/mem.h"

#define PIECE 1024

uint64_t hash64(const void *p, size_t n)
{
    return XXH3_64bits(p, n);
}

uint64_t hash64_seed(const void *p, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(p, n, seed);
}

uint64_t hash64_nocase(struct str s)
{
    char lower[PIECE];
    if (s.n <= sizeof(lower)) {
        str_lower(s, lower);
        return hash64(lower, s.n);
    }
    struct hash_state *state = hash_state_new();
    while (s.n != 0) {
        struct str piece = str_upto(s, sizeof(lower));
        str_lower(piece, lower);
        hash_state_add(state, lower, piece.n);
        s = str_from(s, piece.n);
    }
    uint64_t h = hash_state_end(state);
    hash_state_free(&state);
    return h;
}

struct hash_state {
    XXH3_state_t *xxh;
};

struct hash_state *hash_state_new(void)
{
    struct hash_state *s = NEW(struct hash_state);
    s->xxh = XXH3_createState();
    ASSERT(s->xxh != NULL);
    hash_state_reset(s, 0);
    return s;
}

void hash_state_free(struct hash_state **s)
{
    if (*s == NULL)
        return;
    XXH3_freeState((*s)->xxh);
    mem_free(*s);
    *s = NULL;
}

void hash_state_reset(struct hash_state *s, uint64_t seed)
{
    XXH3_64bits_reset_withSeed(s->xxh, seed);
}

void hash_state_add(struct hash_state *s, const void *p, size_t n)
{
    if (n != 0)
        XXH3_64bits_update(s->xxh, p, n);
}

uint64_t hash_state_end(const struct hash_state *s)
{
    return XXH3_64bits_digest(s->xxh);
}
