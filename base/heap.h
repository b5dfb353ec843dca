/*
 * heap.h - intrusive binary min-heap on a signed 64-bit key (usually a monotonic time). Nodes do
 * not move in memory; the heap holds pointers to them.
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
    int64_t key;
    uint32_t index; /* position + 1; 0 = in no heap */
};
struct heap {
    struct heap_node **v;
    uint32_t n, cap;
};

void heap_init(struct heap *h);
void heap_free(struct heap *h); /* frees the array, not the nodes */
static inline bool heap_node_is_linked(const struct heap_node *n)
{
    return n->index != 0;
}
/* Inserts, or moves a node that is already in. */
void heap_set(struct heap *h, struct heap_node *n, int64_t key);
/* No-op for a node that is in no heap. */
void heap_remove(struct heap *h, struct heap_node *n);
static inline struct heap_node *heap_min(const struct heap *h)
{
    return h->n != 0 ? h->v[0] : NULL;
}

#endif
