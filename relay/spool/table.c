/*
 * table.c - linear probing with deletion by shifting back, filled to 80 % and grown by a quarter,
 * so the memory per message stays between 30 and 38 bytes; table_trim() shrinks it again. The
 * caller's lock covers it; memory exhaustion ends the process (base/mem.h).
 */
#include "relay/spool/table.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

#define PART_MIN 16u

void table_init(struct table *t)
{
    memset(t, 0, sizeof(*t));
    t->side_n = 1;
}

void table_free(struct table *t)
{
    for (unsigned i = 0; i < TABLE_PARTS; i++)
        mem_free(t->part[i].v);
    for (uint32_t i = 1; i < t->side_n; i++)
        if (((uintptr_t)t->side[i] & 1) == 0) /* odd: link of the free list */
            mem_free(t->side[i]);
    mem_free(t->side);
    memset(t, 0, sizeof(*t));
}

static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static struct table_part *part_of(struct table *t, uint64_t hash)
{
    return &t->part[hash >> 58];
}

static uint32_t home_of(const struct table_part *p, uint64_t hash)
{
    return (uint32_t)(((hash & UINT32_MAX) * p->cap) >> 32);
}

static struct entry *part_slot(const struct table_part *p, uint64_t id, uint64_t hash)
{
    uint32_t i = home_of(p, hash);
    while (p->v[i].id != 0 && p->v[i].id != id)
        i = i + 1 == p->cap ? 0 : i + 1;
    return &p->v[i];
}

static void part_resize(struct table *t, struct table_part *p, uint32_t cap)
{
    struct table_part old = *p;
    p->cap = cap;
    p->v = mem_array(cap, sizeof(*p->v));
    for (uint32_t i = 0; i < old.cap; i++)
        if (old.v[i].id != 0)
            *part_slot(p, old.v[i].id, mix(old.v[i].id)) = old.v[i];
    mem_free(old.v);
    t->bytes += ((size_t)cap - old.cap) * sizeof(*p->v);
}

struct entry *table_find(struct table *t, uint64_t id)
{
    uint64_t hash = mix(id);
    struct table_part *p = part_of(t, hash);
    if (p->cap == 0 || id == 0)
        return NULL;
    struct entry *e = part_slot(p, id, hash);
    return e->id == id ? e : NULL;
}

static uint32_t side_new(struct table *t, uint32_t n_rcpt)
{
    uint32_t at = t->side_free;
    if (at != 0) {
        t->side_free = (uint32_t)((uintptr_t)t->side[at] >> 1);
    } else {
        if (t->side_n >= t->side_cap) {
            uint32_t cap = t->side_cap < 64 ? 64 : t->side_cap + t->side_cap / 2;
            t->side = mem_realloc(t->side, cap * sizeof(*t->side));
            t->bytes += (cap - t->side_cap) * sizeof(*t->side);
            t->side_cap = cap;
        }
        at = t->side_n++;
    }
    ASSERT(at < UINT32_MAX >> ENTRY_SIDE_SHIFT);
    size_t bytes = sizeof(struct rcpts) + (n_rcpt + 7) / 8;
    t->side[at] = mem_zalloc(bytes);
    t->side[at]->n = t->side[at]->left = n_rcpt;
    t->bytes += bytes;
    return at;
}

static void side_drop(struct table *t, uint32_t at)
{
    t->bytes -= sizeof(struct rcpts) + (t->side[at]->n + 7) / 8;
    mem_free(t->side[at]);
    t->side[at] = (struct rcpts *)(((uintptr_t)t->side_free << 1) | 1);
    t->side_free = at;
}

struct entry *table_insert(struct table *t, uint64_t id, uint32_t n_rcpt)
{
    uint64_t hash = mix(id);
    struct table_part *p = part_of(t, hash);
    ASSERT(id != 0);
    if (p->n + 1 > p->cap / 5 * 4)
        part_resize(t, p, p->cap < PART_MIN ? PART_MIN : p->cap + p->cap / 4);
    struct entry *e = part_slot(p, id, hash);
    ASSERT(e->id == 0);
    *e = (struct entry){.id = id};
    if (n_rcpt > 1)
        e->more = side_new(t, n_rcpt) << ENTRY_SIDE_SHIFT;
    p->n++;
    t->n++;
    return e;
}

void table_remove(struct table *t, struct entry *e)
{
    struct table_part *p = part_of(t, mix(e->id));
    uint32_t hole = (uint32_t)(e - p->v), i = hole;
    if (e->more >> ENTRY_SIDE_SHIFT != 0)
        side_drop(t, e->more >> ENTRY_SIDE_SHIFT);
    for (;;) {
        i = i + 1 == p->cap ? 0 : i + 1;
        if (p->v[i].id == 0)
            break;
        uint32_t home = home_of(p, mix(p->v[i].id));
        /* may move to the hole unless its home lies cyclically in (hole, i] */
        bool between = hole < i ? home > hole && home <= i : home > hole || home <= i;
        if (!between) {
            p->v[hole] = p->v[i];
            hole = i;
        }
    }
    p->v[hole].id = 0;
    p->n--;
    t->n--;
}

void table_trim(struct table *t)
{
    for (unsigned i = 0; i < TABLE_PARTS; i++) {
        struct table_part *p = &t->part[i];
        if (p->cap > 8 * PART_MIN && p->n < p->cap / 4)
            part_resize(t, p, p->n + p->n / 2 + PART_MIN);
    }
}

struct rcpts *table_rcpts(struct table *t, const struct entry *e)
{
    uint32_t at = e->more >> ENTRY_SIDE_SHIFT;
    return at == 0 ? NULL : t->side[at];
}

bool table_rcpt_done(struct table *t, struct entry *e, uint32_t rcpt)
{
    struct rcpts *r = table_rcpts(t, e);
    if (r == NULL)
        return rcpt == 0;
    if (rcpt >= r->n || (r->done[rcpt / 8] & (1u << (rcpt % 8))) != 0)
        return r->left == 0;
    r->done[rcpt / 8] |= (uint8_t)(1u << (rcpt % 8));
    return --r->left == 0;
}
