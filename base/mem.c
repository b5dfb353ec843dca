/*
 * mem.c - allocation that ends the process instead of returning NULL. Any thread. A request of zero
 * bytes still gives a pointer that can be freed.
 */
#include "base/mem.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static _Noreturn void exhausted(void)
{
    static const char text[] = "out of memory\n";
    ssize_t ignored = write(STDERR_FILENO, text, sizeof(text) - 1);
    (void)ignored;
    abort();
}

void *mem_alloc(size_t n)
{
    void *p = malloc(n != 0 ? n : 1);
    if (p == NULL)
        exhausted();
    return p;
}

void *mem_zalloc(size_t n)
{
    void *p = calloc(1, n != 0 ? n : 1);
    if (p == NULL)
        exhausted();
    return p;
}

void *mem_realloc(void *p, size_t n)
{
    void *q = realloc(p, n != 0 ? n : 1);
    if (q == NULL)
        exhausted();
    return q;
}

void *mem_array(size_t count, size_t size)
{
    if (count == 0 || size == 0)
        return mem_zalloc(1);
    void *p = calloc(count, size); /* checks the product */
    if (p == NULL)
        exhausted();
    return p;
}

void mem_free(void *p)
{
    free(p);
}

char *mem_printf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0)
        exhausted();
    char *p = mem_alloc((size_t)n + 1);
    va_start(ap, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, ap);
    va_end(ap);
    return p;
}
