/*
 * mem.h - allocation that does not return NULL: it ends the process, which is safe at any time
 * (the spool is crash-proof) and simpler to reason about than half-built objects. Everything that a
 * peer can make grow is capped long before this.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t n);  /* uninitialised */
void *mem_zalloc(size_t n); /* zeroed */
void *mem_realloc(void *p, size_t n);
void *mem_array(size_t count, size_t size); /* zeroed, overflow checked */
void mem_free(void *p);
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define NEW(type) ((type *)mem_zalloc(sizeof(type)))

#endif
