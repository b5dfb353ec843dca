/*
 * hash.h - xxHash under our own names: XXH3, 64 bits. Not for secrets.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

uint64_t hash64(const void *p, size_t n);
uint64_t hash64_seed(const void *p, size_t n, uint64_t seed);
/* Hash of the ASCII lower-case form; n <= 1024 is hashed without allocation. */
uint64_t hash64_nocase(struct str s);

/* Streaming form, for checksums over several pieces; equal to hash64_seed over their concatenation.
 */
struct hash_state;
struct hash_state *hash_state_new(void);
void hash_state_free(struct hash_state **s);
void hash_state_reset(struct hash_state *s, uint64_t seed);
void hash_state_add(struct hash_state *s, const void *p, size_t n);
uint64_t hash_state_end(const struct hash_state *s);

#endif
