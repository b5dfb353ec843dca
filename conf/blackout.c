/*
 * blackout.c - see blackout.h.
 */
#include "conf/blackout.h"

#include "base/assert.h"
#include "base/moment.h"

#define EVERY_DAY 0x7fu
#define CHAIN_MAX 1000 /* windows that follow each other; "daily 00:00-24:00" never ends */

static bool take_text(struct str *s, struct str text)
{
    if (!str_starts_nocase(*s, text))
        return false;
    *s = str_from(*s, text.n);
    return true;
}

static void skip_blanks(struct str *s)
{
    while (s->n != 0 && (s->p[0] == ' ' || s->p[0] == '\t'))
        *s = str_from(*s, 1);
}

/* ---- days ---- */

static bool take_day(struct str *s, unsigned *day)
{
    static const struct str name[] = {STR("Sun"), STR("Mon"), STR("Tue"), STR("Wed"),
                                      STR("Thu"), STR("Fri"), STR("Sat")};
    for (unsigned i = 0; i < ARRAY_LEN(name); i++) {
        if (take_text(s, name[i])) {
            *day = i;
            return true;
        }
    }
    return false;
}

/* "Mon-Fri,Sun" or "daily". A range may go over the end of the week. */
static bool take_days(struct str *s, unsigned *days)
{
    *days = EVERY_DAY;
    if (take_text(s, STR("daily")))
        return true;
    *days = 0;
    do {
        unsigned first, last;
        if (!take_day(s, &first))
            return false;
        last = first;
        if (take_text(s, STR("-")) && !take_day(s, &last))
            return false;
        for (unsigned d = first;; d = (d + 1) % 7) {
            *days |= 1u << d;
            if (d == last)
                break;
        }
    } while (take_text(s, STR(",")));
    return true;
}

/* ---- one window ---- */

static bool parse_weekly(struct str s, struct blackout *b)
{
    if (!take_days(&s, &b->days) || s.n == 0 || s.p[0] != ' ')
        return false;
    skip_blanks(&s);
    if (!moment_take_clock(&s, &b->from))
        return false;
    skip_blanks(&s);
    if (!take_text(&s, STR("-")))
        return false;
    skip_blanks(&s);
    return moment_take_clock(&s, &b->to) && s.n == 0 && b->from.tm_hour != 24;
}

static bool take_moment(struct str *s, struct tm *tm)
{
    if (!moment_take_date(s, tm) || s->n == 0 || s->p[0] != ' ')
        return false;
    skip_blanks(s);
    return moment_take_clock(s, tm);
}

static bool parse_once(struct str s, struct blackout *b)
{
    if (!take_moment(&s, &b->from))
        return false;
    skip_blanks(&s);
    if (!take_text(&s, STR("-")))
        return false;
    skip_blanks(&s);
    return take_moment(&s, &b->to) && s.n == 0 &&
           moment_of_local(&b->from) < moment_of_local(&b->to);
}

bool blackout_parse(struct str s, struct blackout *out)
{
    *out = (struct blackout){0};
    s = str_trim(s);
    if (s.n != 0 && ascii_is_digit(s.p[0]))
        return parse_once(s, out);
    return parse_weekly(s, out);
}

/* ---- when it ends ---- */

static int64_t clock_on(struct tm day, const struct tm *clock)
{
    day.tm_hour = clock->tm_hour;
    day.tm_min = clock->tm_min;
    day.tm_sec = clock->tm_sec;
    return moment_of_local(&day);
}

/* The window that begins on `day`, if it begins on such days and now is in it; its end, or 0. */
static int64_t end_of_day(const struct blackout *b, struct tm day, int64_t now_ms)
{
    int64_t from = clock_on(day, &b->from);
    time_t t = (time_t)(from / 1000);
    struct tm local = {0};
    localtime_r(&t, &local);
    if (!(b->days >> local.tm_wday & 1))
        return 0;
    int64_t to = clock_on(day, &b->to);
    if (to <= from) {
        day.tm_mday++;
        to = clock_on(day, &b->to);
    }
    return now_ms >= from && now_ms < to ? to : 0;
}

static int64_t end_of(const struct blackout *b, int64_t now_ms)
{
    if (b->days == 0) {
        int64_t to = moment_of_local(&b->to);
        return now_ms >= moment_of_local(&b->from) && now_ms < to ? to : 0;
    }
    struct tm today, yesterday;
    moment_local_day(now_ms, &today);
    yesterday = today;
    yesterday.tm_mday--;
    int64_t a = end_of_day(b, yesterday, now_ms), c = end_of_day(b, today, now_ms);
    return a > c ? a : c;
}

int64_t blackout_end(char *const *text, unsigned n, int64_t now_ms, const char **which)
{
    int64_t end = 0, at = now_ms;
    for (unsigned round = 0; round < CHAIN_MAX; round++) {
        int64_t next = 0;
        for (unsigned i = 0; i < n; i++) {
            struct blackout b;
            int64_t e = blackout_parse(str_c(text[i]), &b) ? end_of(&b, at) : 0;
            if (e > next && round == 0 && which != NULL)
                *which = text[i];
            next = e > next ? e : next;
        }
        if (next == 0)
            break;
        end = at = next;
    }
    return end;
}
