/*
 * stream_out.c - unwritten output: a chain of blocks out of a pool that the loop owns.
 *
 * A block is on loan only while there is output, so an idle connection has none; the pool is last
 * in, first out, so that the same few blocks stay in the processor's cache. Caps are the caller's
 * business (stream.c). Loop's thread only.
 */
#include "relay/io/stream_int.h"

#include <string.h>

#include "base/assert.h"
#include "base/mem.h"

enum {
    BLOCK_SMALL = 16384 - sizeof(struct out_block),
    BLOCK_LARGE = 65536,
    POOL_SMALL = 256, /* blocks kept for reuse: 4 MB each way */
    POOL_LARGE = 64,
};

struct stream_pool *stream_pool_of(struct loop *l)
{
    if (l->pool == NULL) {
        l->pool = NEW(struct stream_pool);
        l->pool->read_buf = mem_alloc(STREAM_READ_BUF);
        list_init(&l->pool->lingering);
    }
    return l->pool;
}

static void free_chain(struct out_block *b)
{
    while (b != NULL) {
        struct out_block *next = b->next;
        mem_free(b);
        b = next;
    }
}

void stream_pool_free(struct loop *l)
{
    struct stream_pool *pool = l->pool;
    struct list_node *n;

    if (pool == NULL)
        return;
    while ((n = list_first(&pool->lingering)) != NULL) {
        struct stream *s = CONTAINER_OF(n, struct stream, linger);
        stream_free(&s);
    }
    free_chain(pool->small);
    free_chain(pool->large);
    mem_free(pool->read_buf);
    mem_free(pool);
    l->pool = NULL;
}

static struct out_block *block_get(struct stream_pool *pool, size_t n)
{
    bool large = n > BLOCK_SMALL;
    struct out_block **list = large ? &pool->large : &pool->small;
    struct out_block *b = *list;
    size_t cap = large ? BLOCK_LARGE : BLOCK_SMALL;

    if (b != NULL && n <= cap) {
        *list = b->next;
        large ? pool->n_large-- : pool->n_small--;
    } else {
        if (n > cap)
            cap = n;
        b = mem_alloc(sizeof(*b) + cap);
        b->cap = (uint32_t)cap;
    }
    b->next = NULL;
    b->off = b->n = 0;
    return b;
}

static void block_put(struct stream_pool *pool, struct out_block *b)
{
    if (b->cap == BLOCK_SMALL && pool->n_small < POOL_SMALL) {
        b->next = pool->small;
        pool->small = b;
        pool->n_small++;
    } else if (b->cap == BLOCK_LARGE && pool->n_large < POOL_LARGE) {
        b->next = pool->large;
        pool->large = b;
        pool->n_large++;
    } else {
        mem_free(b);
    }
}

static struct out_block *add_block(struct stream *s, size_t n)
{
    struct out_block *b = block_get(stream_pool_of(s->loop), n);

    if (s->out_tail != NULL)
        s->out_tail->next = b;
    else
        s->out_head = b;
    s->out_tail = b;
    return b;
}

void out_append(struct stream *s, const char *p, size_t n)
{
    struct out_block *b = s->out_tail;

    s->out_n += n;
    while (n > 0) {
        size_t room = b != NULL ? b->cap - b->n : 0;
        if (room == 0) {
            b = add_block(s, n < BLOCK_LARGE ? n : BLOCK_LARGE);
            room = b->cap;
        }
        if (room > n)
            room = n;
        memcpy(b->data + b->n, p, room);
        b->n += (uint32_t)room;
        p += room;
        n -= room;
    }
}

char *out_reserve(struct stream *s, size_t n)
{
    struct out_block *b = s->out_tail;

    if (b == NULL || b->cap - b->n < n)
        b = add_block(s, n);
    return b->data + b->n;
}

int out_iov(const struct stream *s, struct iovec *iov, size_t *total)
{
    int k = 0;

    *total = 0;
    for (struct out_block *b = s->out_head; b != NULL && k < STREAM_IOV; b = b->next) {
        if (b->n == b->off)
            continue;
        iov[k].iov_base = b->data + b->off;
        iov[k].iov_len = b->n - b->off;
        *total += iov[k++].iov_len;
    }
    return k;
}

void out_consume(struct stream *s, size_t n)
{
    ASSERT(n <= s->out_n);
    s->out_n -= n;
    for (struct out_block *b = s->out_head; b != NULL; b = s->out_head) {
        size_t part = b->n - b->off;
        if (part > n) {
            b->off += (uint32_t)n;
            return;
        }
        n -= part;
        s->out_head = b->next;
        if (s->out_head == NULL)
            s->out_tail = NULL;
        block_put(s->loop->pool, b);
    }
}

void out_clear(struct stream *s)
{
    if (s->out_head != NULL)
        out_consume(s, s->out_n);
}
