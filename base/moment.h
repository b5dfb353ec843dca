/*
 * moment.h - moments as people and programs write them. Pure, but for the local time zone.
 *
 *     2026-11-21T18:00:00Z   2026-11-21T18:00:00.250+01:00   RFC 3339
 *     2026-11-21 18:00       2026-11-21 18:00:30             local time
 *     18:00                  18:00:30                        local time, the next one
 *
 * A local time that the clocks skip in spring is taken as the one an hour later; of one that they
 * show twice in autumn, the C library chooses.
 */
#ifndef BASE_MOMENT_H
#define BASE_MOMENT_H

#include <stdint.h>
#include <time.h>

#include "base/str.h"

/* False: of none of these forms, or no such day. now_ms and *wall_ms: since 1970, UTC. */
bool moment_parse(struct str s, int64_t now_ms, int64_t *wall_ms);

/* Pieces, for other forms: each takes itself off the front of *rest, or leaves all as it was. */
bool moment_take_date(struct str *rest, struct tm *tm); /* "2026-11-21" */
/* "18:00" or "18:00:30"; 24:00 is allowed. */
bool moment_take_clock(struct str *rest, struct tm *tm);
/* The local moment that the members of tm say, also past the end of a day or month. */
int64_t moment_of_local(const struct tm *tm);
/* Year, month and day of a moment in local time; the clock is 0:00. */
void moment_local_day(int64_t wall_ms, struct tm *tm);
/* "2026-11-21 18:00", local time; with seconds if there are any. cap >= 24. */
void moment_print(int64_t wall_ms, char *dst, size_t cap);

#endif
