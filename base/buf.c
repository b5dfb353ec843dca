/*
 * buf.c - a growing byte buffer that refuses to grow past its cap. One owner, no locks. `max`
 * counts content only: one byte more is always allocated, so that buf_cstr() works on a full
 * buffer.
 */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

#define SMALLEST 64

void buf_init(struct buf *b, size_t max)
{
    *b = BUF_INIT(max);
}

void buf_free(struct buf *b)
{
    mem_free(b->p);
    b->p = NULL;
    b->n = b->cap = 0;
}

bool buf_reserve(struct buf *b, size_t n)
{
    if (b->n > b->max || n > b->max - b->n || b->max == SIZE_MAX)
        return false;
    size_t need = b->n + n;
    if (need + 1 <= b->cap)
        return true;
    size_t cap = b->cap > b->max / 2 ? b->max + 1 : b->cap * 2;
    if (cap < SMALLEST)
        cap = SMALLEST;
    if (cap < need + 1)
        cap = need + 1;
    b->p = mem_realloc(b->p, cap);
    b->cap = cap;
    return true;
}

bool buf_append(struct buf *b, const void *p, size_t n)
{
    if (!buf_reserve(b, n))
        return false;
    if (n != 0)
        memcpy(b->p + b->n, p, n);
    b->n += n;
    return true;
}

bool buf_append_str(struct buf *b, struct str s)
{
    return buf_append(b, s.p, s.n);
}

bool buf_append_c(struct buf *b, const char *z)
{
    return buf_append_str(b, str_c(z));
}

bool buf_append_char(struct buf *b, char c)
{
    return buf_append(b, &c, 1);
}

bool buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    size_t room = b->cap > b->n ? b->cap - b->n : 0;
    va_start(ap, fmt);
    int n = vsnprintf(room != 0 ? b->p + b->n : NULL, room, fmt, ap);
    va_end(ap);
    if (n < 0)
        return false;
    if ((size_t)n >= room) {
        if (!buf_reserve(b, (size_t)n))
            return false;
        va_start(ap, fmt);
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, ap);
        va_end(ap);
    } else if ((size_t)n > b->max - b->n) {
        return false;
    }
    b->n += (size_t)n;
    return true;
}

void buf_consume(struct buf *b, size_t n)
{
    if (n >= b->n) {
        b->n = 0;
        return;
    }
    if (n == 0)
        return;
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

const char *buf_cstr(struct buf *b)
{
    if (b->cap == 0 || b->n >= b->cap) {
        b->cap = b->n + 1;
        b->p = mem_realloc(b->p, b->cap);
    }
    b->p[b->n] = '\0';
    return b->p;
}
