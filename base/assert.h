/*
 * assert.h - ASSERT for bugs only: always on, never for input, network or disk.
 */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#define ASSERT(cond)             ((cond) ? (void)0 : assert_failed(#cond, __FILE__, __LINE__, __func__))
#define STATIC_ASSERT(cond, why) _Static_assert(cond, why)
#define ARRAY_LEN(a)             (sizeof(a) / sizeof((a)[0]))

/* The structure of type `type` whose member `member` is at `ptr`. */
#define CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Writes file, line and condition to standard error and aborts. */
_Noreturn void assert_failed(const char *cond, const char *file, int line, const char *func);

#endif
