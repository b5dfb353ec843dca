/*
 * random.h - random numbers: getrandom() for what must not be guessed, a small generator per thread
 * for jitter (seedable by tests).
 */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *p, size_t n);   /* getrandom(); aborts if the kernel refuses */
uint64_t random_jitter(uint64_t below); /* 0 .. below-1; below > 0 */
void random_jitter_seed(uint64_t seed); /* this thread's generator */

#endif
