/*
 * heap.c - intrusive binary min-heap on int64 keys. Owns the array of pointers, never the nodes. A
 * node knows its position, so moving and removing cost O(log n). One owner, no locks.
 */
#include "base/heap.h"

#include "base/assert.h"
#include "base/mem.h"

void heap_init(struct heap *h)
{
    *h = (struct heap){.v = NULL, .n = 0, .cap = 0};
}

void heap_free(struct heap *h)
{
    mem_free(h->v);
    heap_init(h);
}

static void put(struct heap *h, uint32_t at, struct heap_node *n)
{
    h->v[at] = n;
    n->index = at + 1;
}

static void sift_up(struct heap *h, uint32_t at, struct heap_node *n)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 2;
        if (h->v[parent]->key <= n->key)
            break;
        put(h, at, h->v[parent]);
        at = parent;
    }
    put(h, at, n);
}

static void sift_down(struct heap *h, uint32_t at, struct heap_node *n)
{
    for (;;) {
        uint64_t child = 2 * (uint64_t)at + 1;
        if (child >= h->n)
            break;
        if (child + 1 < h->n && h->v[child + 1]->key < h->v[child]->key)
            child++;
        if (h->v[child]->key >= n->key)
            break;
        put(h, at, h->v[child]);
        at = (uint32_t)child;
    }
    put(h, at, n);
}

/* Puts n at `at`, or where its key belongs from there. */
static void settle(struct heap *h, uint32_t at, struct heap_node *n)
{
    if (at > 0 && h->v[(at - 1) / 2]->key > n->key)
        sift_up(h, at, n);
    else
        sift_down(h, at, n);
}

void heap_set(struct heap *h, struct heap_node *n, int64_t key)
{
    n->key = key;
    if (n->index != 0) {
        ASSERT(n->index <= h->n && h->v[n->index - 1] == n);
        settle(h, n->index - 1, n);
        return;
    }
    if (h->n == h->cap) {
        ASSERT(h->cap < UINT32_MAX / 2);
        h->cap = h->cap != 0 ? h->cap * 2 : 16;
        h->v = mem_realloc(h->v, (size_t)h->cap * sizeof(struct heap_node *));
    }
    sift_up(h, h->n++, n);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
    if (n->index == 0)
        return;
    uint32_t at = n->index - 1;
    ASSERT(at < h->n && h->v[at] == n);
    n->index = 0;
    struct heap_node *last = h->v[--h->n];
    if (last != n)
        settle(h, at, last);
}
