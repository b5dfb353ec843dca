/*
 * hashmap.h - 64-bit hashes to 64-bit values, open addressing. The hash is the key: whoever needs
 * certainty compares what the value refers to. One thread.
 */
#ifndef DIRECTORY_HASHMAP_H
#define DIRECTORY_HASHMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hashmap {
    uint64_t *key; /* 0 = free */
    uint64_t *value;
    size_t n, cap;
    bool only_keys;
};

void hashmap_init(struct hashmap *m, bool only_keys);
void hashmap_free(struct hashmap *m); /* empty and usable again */
/* The value's place; NULL if absent. */
uint64_t *hashmap_find(const struct hashmap *m, uint64_t hash);
bool hashmap_has(const struct hashmap *m, uint64_t hash);
/* Adds or replaces. True: it was not there. */
bool hashmap_set(struct hashmap *m, uint64_t hash, uint64_t value);

#endif
