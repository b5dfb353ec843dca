/*
 * stats.c - counters without contention. A thread gets a slot on first use; only it writes there
 * (relaxed loads and stores, no locked instruction); readers add up all slots. A slot outlives its
 * thread, because what was counted stays counted, and is handed to the next new thread.
 */
#include "base/stats.h"

#include <pthread.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/assert.h"

#define CACHE_LINE 64

const struct stat_info stat_info[STAT_COUNT] = {
#define STAT(id, kind, unit, help) {#id, kind, unit, help},
#include "base/stats.def"
#undef STAT
};

struct slot {
    alignas(CACHE_LINE) _Atomic int64_t value[STAT_COUNT];
    atomic_bool taken;
    struct slot *next; /* set before the slot is published, then constant */
};

static _Atomic(struct slot *) slots;
static _Thread_local struct slot *mine;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void release_slot(void *slot)
{
    mine = NULL;
    atomic_store_explicit(&((struct slot *)slot)->taken, false, memory_order_release);
}

static void make_key(void)
{
    int rc = pthread_key_create(&key, release_slot);
    ASSERT(rc == 0);
}

static struct slot *slot_new(void)
{
    struct slot *s = aligned_alloc(CACHE_LINE, sizeof(*s));
    ASSERT(s != NULL);
    for (int i = 0; i < STAT_COUNT; i++)
        atomic_init(&s->value[i], 0);
    atomic_init(&s->taken, true);
    s->next = atomic_load(&slots);
    while (!atomic_compare_exchange_weak(&slots, &s->next, s)) {
    }
    return s;
}

static struct slot *slot_get(void)
{
    pthread_once(&once, make_key);
    struct slot *s = atomic_load(&slots);
    for (; s != NULL; s = s->next) {
        bool expected = false;
        if (atomic_compare_exchange_strong(&s->taken, &expected, true))
            break;
    }
    if (s == NULL)
        s = slot_new();
    pthread_setspecific(key, s);
    mine = s;
    return s;
}

void stats_add(enum stat_id id, int64_t n)
{
    struct slot *s = mine != NULL ? mine : slot_get();
    int64_t v = atomic_load_explicit(&s->value[id], memory_order_relaxed);
    atomic_store_explicit(&s->value[id], v + n, memory_order_relaxed);
}

int64_t stats_read(enum stat_id id)
{
    int64_t sum = 0;
    for (struct slot *s = atomic_load(&slots); s != NULL; s = s->next)
        sum += atomic_load_explicit(&s->value[id], memory_order_relaxed);
    return sum;
}
