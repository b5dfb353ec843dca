/*
 * arena.c - memory with one end of life. Blocks are chained, newest first; a request larger than a
 * block gets one of its own behind the head, so the head's free space is not given up. One owner,
 * no locks. Only the cap makes an allocation fail. AddressSanitizer is told what was handed out,
 * and sees a gap between any two pieces.
 */
#include "base/arena.h"

#include <stdarg.h>
#include <stdalign.h>
#include <stdio.h>

#include "base/mem.h"

struct arena_block {
    struct arena_block *next;
    size_t size, used;
    alignas(max_align_t) char data[];
};

#define ALIGN alignof(max_align_t)

#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define ARENA_ASAN
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define ARENA_ASAN
#endif

#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define GAP            ALIGN
#define POISON(p, n)   __asan_poison_memory_region((p), (n))
#define UNPOISON(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define GAP            0
#define POISON(p, n)   ((void)0)
#define UNPOISON(p, n) ((void)0)
#endif

void arena_init(struct arena *a, size_t block, size_t max)
{
    *a = (struct arena){.head = NULL, .used = 0, .max = max, .block = block != 0 ? block : 4096};
}

static struct arena_block *block_new(size_t size)
{
    struct arena_block *b = mem_alloc(sizeof(*b) + size);
    b->next = NULL;
    b->size = size;
    b->used = 0;
    POISON(b->data, size);
    return b;
}

/* The block that has room for n bytes. */
static struct arena_block *block_for(struct arena *a, size_t n)
{
    struct arena_block *head = a->head;
    if (head != NULL && n <= head->size - head->used)
        return head;
    if (n > a->block && head != NULL) {
        struct arena_block *own = block_new(n);
        own->next = head->next;
        head->next = own;
        return own;
    }
    struct arena_block *b = block_new(n > a->block ? n : a->block);
    b->next = head;
    a->head = b;
    return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX / 2)
        return NULL;
    size_t take = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (take == 0)
        take = ALIGN;
    if (a->max != 0 && (a->used > a->max || take > a->max - a->used))
        return NULL;
    struct arena_block *b = block_for(a, take + GAP);
    char *p = b->data + b->used;
    b->used += take + GAP;
    a->used += take;
    UNPOISON(p, n);
    memset(p, 0, n);
    return p;
}

struct str arena_str(struct arena *a, struct str s)
{
    char *p = s.n < SIZE_MAX ? arena_alloc(a, s.n + 1) : NULL;
    if (p == NULL)
        return STR_NULL;
    if (s.n != 0)
        memcpy(p, s.p, s.n);
    return str_n(p, s.n);
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n >= 0 ? arena_alloc(a, (size_t)n + 1) : NULL;
    if (p == NULL)
        return NULL;
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}

static void free_chain(struct arena_block *b)
{
    while (b != NULL) {
        struct arena_block *next = b->next;
        mem_free(b);
        b = next;
    }
}

void arena_reset(struct arena *a)
{
    struct arena_block *keep = a->head;
    a->used = 0;
    if (keep == NULL)
        return;
    free_chain(keep->next);
    keep->next = NULL;
    keep->used = 0;
    POISON(keep->data, keep->size);
    if (keep->size > a->block) { /* an oversize block would pin its memory for good */
        mem_free(keep);
        a->head = NULL;
    }
}

void arena_free(struct arena *a)
{
    free_chain(a->head);
    a->head = NULL;
    a->used = 0;
}
