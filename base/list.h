/*
 * list.h - intrusive doubly linked list. A node is in at most one list; a node not in a list has
 * next == NULL.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
    struct list_node *prev, *next;
};
struct list {
    struct list_node head; /* circular */
};

static inline void list_init(struct list *l)
{
    l->head.prev = l->head.next = &l->head;
}
static inline bool list_is_empty(const struct list *l)
{
    return l->head.next == &l->head;
}
static inline bool list_node_is_linked(const struct list_node *n)
{
    return n->next != NULL;
}
static inline void list_insert_after(struct list_node *at, struct list_node *n)
{
    n->prev = at;
    n->next = at->next;
    at->next->prev = n;
    at->next = n;
}
static inline void list_push_back(struct list *l, struct list_node *n)
{
    list_insert_after(l->head.prev, n);
}
static inline void list_push_front(struct list *l, struct list_node *n)
{
    list_insert_after(&l->head, n);
}
/* No-op for a node that is in no list. */
static inline void list_remove(struct list_node *n)
{
    if (n->next == NULL)
        return;
    n->prev->next = n->next;
    n->next->prev = n->prev;
    n->next = n->prev = NULL;
}
static inline struct list_node *list_first(const struct list *l)
{
    return list_is_empty(l) ? NULL : l->head.next;
}
static inline struct list_node *list_pop_front(struct list *l)
{
    struct list_node *n = list_first(l);
    if (n != NULL)
        list_remove(n);
    return n;
}

#define LIST_FOREACH(n, l) for (struct list_node *n = (l)->head.next; n != &(l)->head; n = n->next)
/* `n` may be removed in the body. */
#define LIST_FOREACH_SAFE(n, tmp, l)                                                               \
    for (struct list_node *n = (l)->head.next, *tmp = n->next; n != &(l)->head;                    \
         n = tmp, tmp = n->next)

#endif
