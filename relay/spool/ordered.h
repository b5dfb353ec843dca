/*
 * ordered.h - work that may be done side by side, used in order. For recovery, where reading takes
 * the time and the log's order must be kept.
 */
#ifndef RELAY_SPOOL_ORDERED_H
#define RELAY_SPOOL_ORDERED_H

#include <stddef.h>

typedef void ordered_fn(void *arg, size_t i);

/* Calls run(arg, i) for all i < n, on helper threads and on the caller's, never more than `ahead`
 * before what was consumed; calls consume(arg, i) on the caller's thread, in order, each after its
 * run. Returns when all is consumed. */
void ordered_run(size_t n, size_t ahead, ordered_fn *run, ordered_fn *consume, void *arg);

#endif
