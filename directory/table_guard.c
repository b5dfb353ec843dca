/*
 * table_guard.c - verifying a table. A large one that was mapped from its file answers before it
 * was read from end to end: until then each block that a lookup touches is verified first. What
 * lies in a damaged block is not found, which is no answer for a source that has not settled: its
 * mail waits. Any thread.
 */
#include "directory/table_int.h"

#include "base/hash.h"
#include "base/mem.h"

static size_t block_size(const struct dir_table *t, uint64_t i)
{
    uint64_t left = t->h->sums.at - t->h->groups.at - i * TABLE_BLOCK;
    return left < TABLE_BLOCK ? (size_t)left : TABLE_BLOCK;
}

static bool block_is_good(const struct dir_table *t, uint64_t i)
{
    const uint64_t *sum = (const uint64_t *)(t->base + t->h->sums.at);
    const unsigned char *p = t->base + t->h->groups.at + i * TABLE_BLOCK;
    return hash64_seed(p, block_size(t, i), i) == sum[i];
}

bool table_verify(const struct dir_table *t, struct err *e)
{
    uint64_t n = t->h->sums.size / sizeof(uint64_t);
    for (uint64_t i = 0; i < n; i++) {
        size_t from = t->h->groups.at + i * TABLE_BLOCK;
        if (!block_is_good(t, i))
            return err_set(e, ERR_CORRUPT, 0, "block %u (octets %zu to %zu) is damaged",
                           (unsigned)i, from, from + block_size(t, i) - 1);
    }
    return true;
}

void table_guard(struct dir_table *t)
{
    uint64_t n = t->h->sums.size / sizeof(uint64_t);
    if (n != 0)
        t->passed = mem_array((size_t)(n + 63) / 64, sizeof(*t->passed));
}

bool table_guard_passes(const struct dir_table *t, const void *p, size_t n)
{
    uint64_t at = (uint64_t)((const unsigned char *)p - t->base) - t->h->groups.at;
    for (uint64_t i = at / TABLE_BLOCK; i <= (at + n - 1) / TABLE_BLOCK; i++) {
        uint64_t bit = (uint64_t)1 << (i % 64);
        if ((atomic_load_explicit(&t->passed[i / 64], memory_order_relaxed) & bit) != 0)
            continue;
        if (!block_is_good(t, i))
            return false;
        atomic_fetch_or_explicit(&t->passed[i / 64], bit, memory_order_relaxed);
    }
    return true;
}
