/*
 * buf.h - a growing byte buffer with a cap that is set in its constructor. Appends past the cap
 * fail and leave the buffer as it was.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include "base/str.h"

struct buf {
    char *p;    /* content; not NUL-terminated unless buf_cstr() was called */
    size_t n;   /* bytes of content */
    size_t cap; /* bytes allocated */
    size_t max; /* never grows past this */
};

#define BUF_INIT(max_bytes) ((struct buf){.p = NULL, .n = 0, .cap = 0, .max = (max_bytes)})

void buf_init(struct buf *b, size_t max);
/* Releases the memory; the buffer is empty and usable again. */
void buf_free(struct buf *b);
static inline void buf_clear(struct buf *b)
{
    b->n = 0;
}
/* Room for `n` more bytes at b->p + b->n; false if the cap forbids it. */
bool buf_reserve(struct buf *b, size_t n);
bool buf_append(struct buf *b, const void *p, size_t n);
bool buf_append_str(struct buf *b, struct str s);
bool buf_append_c(struct buf *b, const char *z);
bool buf_append_char(struct buf *b, char c);
bool buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Drops the first n bytes. */
void buf_consume(struct buf *b, size_t n);
/* Content with a NUL behind it (not counted in n). The cap leaves room for it. */
const char *buf_cstr(struct buf *b);
static inline struct str buf_str(const struct buf *b)
{
    return str_n(b->p, b->n);
}

#endif
