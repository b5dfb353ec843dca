/*
 * stats.h - counters and gauges, declared once in base/stats.def with unit and help text; metrics,
 * `causewayctl status` and the checks are made from that table.
 *
 * Each thread adds to its own cache-line-aligned slot; stats_read() sums. Adding never blocks.
 */
#ifndef BASE_STATS_H
#define BASE_STATS_H

#include <stddef.h>
#include <stdint.h>

enum stat_kind {
    STAT_COUNTER,
    STAT_GAUGE
};

enum stat_id {
#define STAT(id, kind, unit, help) STAT_##id,
#include "base/stats.def"
#undef STAT
    STAT_COUNT
};

struct stat_info {
    const char *name; /* lower case, Prometheus style */
    enum stat_kind kind;
    const char *unit;
    const char *help;
};

extern const struct stat_info stat_info[STAT_COUNT];

void stats_add(enum stat_id id, int64_t n);
static inline void stats_inc(enum stat_id id)
{
    stats_add(id, 1);
}
/* For gauges: a thread adds and takes away; the sum over threads is the value. */
int64_t stats_read(enum stat_id id);

#endif
