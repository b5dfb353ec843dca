/*
 * moment.c - see moment.h.
 */
#include "base/moment.h"

#include <stdio.h>

/* Exactly n digits. */
static bool take_digits(struct str *s, unsigned n, int *out)
{
    int v = 0;
    if (s->n < n)
        return false;
    for (unsigned i = 0; i < n; i++) {
        if (!ascii_is_digit(s->p[i]))
            return false;
        v = v * 10 + (s->p[i] - '0');
    }
    *s = str_from(*s, n);
    *out = v;
    return true;
}

static bool take_char(struct str *s, const char *one_of)
{
    if (s->n == 0 || s->p[0] == '\0' || strchr(one_of, s->p[0]) == NULL)
        return false;
    *s = str_from(*s, 1);
    return true;
}

static bool day_exists(const struct tm *tm)
{
    struct tm t = {.tm_year = tm->tm_year, .tm_mon = tm->tm_mon, .tm_mday = tm->tm_mday};
    (void)timegm(&t); /* puts a 31st of November right */
    return t.tm_mday == tm->tm_mday && t.tm_mon == tm->tm_mon;
}

bool moment_take_date(struct str *rest, struct tm *tm)
{
    struct str s = *rest;
    struct tm t = *tm;
    if (!take_digits(&s, 4, &t.tm_year) || !take_char(&s, "-") || !take_digits(&s, 2, &t.tm_mon) ||
        !take_char(&s, "-") || !take_digits(&s, 2, &t.tm_mday) || t.tm_year < 1970)
        return false;
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    if (!day_exists(&t))
        return false;
    *tm = t;
    *rest = s;
    return true;
}

bool moment_take_clock(struct str *rest, struct tm *tm)
{
    struct str s = *rest;
    struct tm t = *tm;
    t.tm_sec = 0;
    if (!take_digits(&s, 2, &t.tm_hour) || !take_char(&s, ":") || !take_digits(&s, 2, &t.tm_min))
        return false;
    if (take_char(&s, ":") && !take_digits(&s, 2, &t.tm_sec))
        return false;
    bool midnight = t.tm_hour == 24 && t.tm_min == 0 && t.tm_sec == 0;
    if ((t.tm_hour > 23 && !midnight) || t.tm_min > 59 || t.tm_sec > 59)
        return false;
    *tm = t;
    *rest = s;
    return true;
}

int64_t moment_of_local(const struct tm *tm)
{
    struct tm t = *tm;
    t.tm_isdst = -1;
    return (int64_t)mktime(&t) * 1000;
}

void moment_local_day(int64_t wall_ms, struct tm *tm)
{
    time_t t = (time_t)(wall_ms / 1000);
    struct tm local = {0};
    localtime_r(&t, &local);
    *tm = (struct tm){.tm_year = local.tm_year, .tm_mon = local.tm_mon, .tm_mday = local.tm_mday};
}

/* ".250" */
static bool take_fraction(struct str *s, int *ms)
{
    int scale = 100;
    *ms = 0;
    if (!take_char(s, "."))
        return true;
    if (s->n == 0 || !ascii_is_digit(s->p[0]))
        return false;
    for (; s->n != 0 && ascii_is_digit(s->p[0]); *s = str_from(*s, 1), scale /= 10)
        *ms += (s->p[0] - '0') * scale;
    return true;
}

/* "Z", "+01:00", to the end. */
static bool take_offset(struct str *s, int *minutes)
{
    int hour = 0, minute = 0;
    bool west = s->n != 0 && s->p[0] == '-';
    *minutes = 0;
    if (take_char(s, "Zz"))
        return s->n == 0;
    if (!take_char(s, "+-") || !take_digits(s, 2, &hour) || !take_char(s, ":") ||
        !take_digits(s, 2, &minute) || hour > 23 || minute > 59)
        return false;
    *minutes = (hour * 60 + minute) * (west ? -1 : 1);
    return s->n == 0;
}

static bool parse_rfc3339(struct str s, struct tm tm, int64_t *wall_ms)
{
    int ms, offset;
    if (!take_fraction(&s, &ms) || !take_offset(&s, &offset))
        return false;
    *wall_ms = ((int64_t)timegm(&tm) - offset * 60) * 1000 + ms;
    return true;
}

static bool parse_next(struct str s, int64_t now_ms, int64_t *wall_ms)
{
    struct tm tm;
    moment_local_day(now_ms, &tm);
    if (!moment_take_clock(&s, &tm) || s.n != 0)
        return false;
    *wall_ms = moment_of_local(&tm);
    if (*wall_ms <= now_ms) {
        tm.tm_mday++;
        *wall_ms = moment_of_local(&tm);
    }
    return true;
}

bool moment_parse(struct str s, int64_t now_ms, int64_t *wall_ms)
{
    struct tm tm = {0};
    if (!moment_take_date(&s, &tm))
        return parse_next(s, now_ms, wall_ms);
    bool t = s.n != 0 && ascii_lower(s.p[0]) == 't';
    if (!take_char(&s, "Tt ") || !moment_take_clock(&s, &tm))
        return false;
    if (s.n == 0 && !t) {
        *wall_ms = moment_of_local(&tm);
        return true;
    }
    return parse_rfc3339(s, tm, wall_ms);
}

void moment_print(int64_t wall_ms, char *dst, size_t cap)
{
    time_t t = (time_t)(wall_ms / 1000);
    struct tm tm = {0};
    localtime_r(&t, &tm);
    int n = snprintf(dst, cap, "%04d-%02d-%02d %02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1,
                     tm.tm_mday, tm.tm_hour, tm.tm_min);
    if (tm.tm_sec != 0 && n > 0 && (size_t)n < cap)
        (void)snprintf(dst + n, cap - (size_t)n, ":%02d", tm.tm_sec);
}
