/*
 * clock.h - the one clock. Intervals and retries use the monotonic clock; dates that people read
 * and message ages over a restart use the wall clock. Pure code takes time as a parameter. Tests
 * may replace both (any thread; atomic).
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

int64_t clock_mono_ns(void);
int64_t clock_mono_ms(void);
int64_t clock_wall_ms(void); /* since 1970, UTC */

/* From now on the clocks stand still at these values until advanced. */
void clock_fake_start(int64_t mono_ms, int64_t wall_ms);
void clock_fake_advance(int64_t ms);
void clock_fake_stop(void);

/* RFC 5322 3.3 date-time in the local zone, "Fri, 20 Nov 2026 05:22:25 +0000"; cap >= 40. */
void clock_rfc5322(int64_t wall_ms, char *dst, size_t cap);
/* RFC 3339 UTC with milliseconds; cap >= 32. */
void clock_rfc3339(int64_t wall_ms, char *dst, size_t cap);

#endif
