/*
 * clock.c - the monotonic and the wall clock, and the fake that tests put in their place. The
 * fake's values are atomics, because worker threads read the clock while the test advances it.
 */
#include "base/clock.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

static atomic_bool faked;
static _Atomic int64_t fake_mono_ms;
static _Atomic int64_t fake_wall_ms;

static int64_t read_ns(clockid_t id)
{
    struct timespec ts = {0};
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t clock_mono_ns(void)
{
    if (atomic_load_explicit(&faked, memory_order_acquire))
        return atomic_load(&fake_mono_ms) * 1000000;
    return read_ns(CLOCK_MONOTONIC);
}

int64_t clock_mono_ms(void)
{
    return clock_mono_ns() / 1000000;
}

int64_t clock_wall_ms(void)
{
    if (atomic_load_explicit(&faked, memory_order_acquire))
        return atomic_load(&fake_wall_ms);
    return read_ns(CLOCK_REALTIME) / 1000000;
}

void clock_fake_start(int64_t mono_ms, int64_t wall_ms)
{
    atomic_store(&fake_mono_ms, mono_ms);
    atomic_store(&fake_wall_ms, wall_ms);
    atomic_store_explicit(&faked, true, memory_order_release);
}

void clock_fake_advance(int64_t ms)
{
    atomic_fetch_add(&fake_mono_ms, ms);
    atomic_fetch_add(&fake_wall_ms, ms);
}

void clock_fake_stop(void)
{
    atomic_store_explicit(&faked, false, memory_order_release);
}

/* Whole seconds and the milliseconds behind them, also for times before 1970. */
static time_t split_ms(int64_t wall_ms, int *ms)
{
    int64_t s = wall_ms / 1000, rest = wall_ms % 1000;
    if (rest < 0) {
        rest += 1000;
        s--;
    }
    *ms = (int)rest;
    return (time_t)s;
}

void clock_rfc5322(int64_t wall_ms, char *dst, size_t cap)
{
    /* Not strftime: names of days and months must not follow the locale. */
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    int ms;
    time_t t = split_ms(wall_ms, &ms);
    struct tm tm = {0};
    localtime_r(&t, &tm);
    long offset = tm.tm_gmtoff / 60;
    char sign = '+';
    if (offset < 0) {
        sign = '-';
        offset = -offset;
    }
    snprintf(dst, cap, "%s, %02d %s %04d %02d:%02d:%02d %c%02ld%02ld", days[tm.tm_wday % 7],
             tm.tm_mday, months[tm.tm_mon % 12], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
             tm.tm_sec, sign, offset / 60, offset % 60);
}

void clock_rfc3339(int64_t wall_ms, char *dst, size_t cap)
{
    int ms;
    time_t t = split_ms(wall_ms, &ms);
    struct tm tm = {0};
    gmtime_r(&t, &tm);
    snprintf(dst, cap, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1,
             tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, ms);
}
