/*
 * random.c - getrandom() for secrets and names, xoshiro256** per thread for jitter. The jitter
 * generator seeds itself from the kernel on first use, unless a test has seeded it.
 */
#include "base/random.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/random.h>

#include "base/assert.h"

void random_bytes(void *p, size_t n)
{
    char *at = p;
    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        ASSERT(got > 0); /* a relay with guessable names must not run */
        at += got;
        n -= (size_t)got;
    }
}

static _Thread_local uint64_t state[4];
static _Thread_local bool seeded;

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

void random_jitter_seed(uint64_t seed)
{
    for (int i = 0; i < 4; i++) { /* splitmix64, so that no seed gives the all-zero state */
        uint64_t z = (seed += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        state[i] = z ^ (z >> 31);
    }
    seeded = true;
}

static uint64_t next(void)
{
    uint64_t result = rotl(state[1] * 5, 7) * 9;
    uint64_t t = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= t;
    state[3] = rotl(state[3], 45);
    return result;
}

uint64_t random_jitter(uint64_t below)
{
    ASSERT(below > 0);
    if (!seeded) {
        uint64_t seed;
        random_bytes(&seed, sizeof(seed));
        random_jitter_seed(seed);
    }
    return next() % below; /* the bias does not matter for jitter */
}
