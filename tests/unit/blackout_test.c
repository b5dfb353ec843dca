/*
 * blackout_test.c - moments and blackout windows as people write them, in a zone with summer time.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/moment.h"
#include "conf/blackout.h"

/* A UTC moment, for the tables. */
static int64_t utc(const char *text)
{
    int64_t ms = 0;
    assert_true(moment_parse(str_c(text), 0, &ms));
    return ms;
}

static void assert_moment(int64_t ms, const char *expected)
{
    char text[40];
    clock_rfc3339(ms, text, sizeof(text));
    assert_string_equal(text, expected);
}

/* Friday, 13:00 in Berlin. */
#define NOW "2026-11-20T12:00:00Z"

static void moments(void **state)
{
    static const struct {
        const char *text, *expected; /* NULL: refused */
    } t[] = {
        {"2026-11-21T18:00:00Z", "2026-11-21T18:00:00.000Z"},
        {"2026-11-21t18:00:00z", "2026-11-21T18:00:00.000Z"},
        {"2026-11-21 18:00:00Z", "2026-11-21T18:00:00.000Z"},
        {"2026-11-21T18:00:00.25Z", "2026-11-21T18:00:00.250Z"},
        {"2026-11-21T18:00:00.123456789Z", "2026-11-21T18:00:00.123Z"},
        {"2026-11-21T18:00:00+01:30", "2026-11-21T16:30:00.000Z"},
        {"2026-11-21T18:00-05:00", "2026-11-21T23:00:00.000Z"},
        {"2026-11-21 18:00", "2026-11-21T17:00:00.000Z"},
        {"2026-07-21 18:00:30", "2026-07-21T16:00:30.000Z"},
        {"2026-11-21 24:00", "2026-11-21T23:00:00.000Z"},
        {"2026-03-29 02:30", "2026-03-29T01:30:00.000Z"}, /* not on the clocks of that day */
        {"18:00", "2026-11-20T17:00:00.000Z"},
        {"13:00", "2026-11-21T12:00:00.000Z"}, /* now is not the next */
        {"08:00", "2026-11-21T07:00:00.000Z"},
        {"13:00:01", "2026-11-20T12:00:01.000Z"},
        {"", NULL},
        {"18", NULL},
        {"1800", NULL},
        {"8:00", NULL},
        {"18:00 ", NULL},
        {"24:01", NULL},
        {"18:60", NULL},
        {"tomorrow", NULL},
        {"2026-11-21", NULL},
        {"2026-11-21T18:00", NULL}, /* RFC 3339 names the zone */
        {"2026-11-31 18:00", NULL},
        {"2026-02-29 18:00", NULL},
        {"2026-13-01 18:00", NULL},
        {"1969-01-01 18:00", NULL},
        {"2026-11-21T18:00:00.Z", NULL},
        {"2026-11-21T18:00:00+1:30", NULL},
        {"2026-11-21T18:00:00+24:00", NULL},
        {"2026-11-21T18:00:00Zx", NULL},
        {"2026-11-21 18:00 x", NULL},
        {"2026-11-21  18:00", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        int64_t ms = 0;
        bool ok = moment_parse(str_c(t[i].text), utc(NOW), &ms);
        if (ok != (t[i].expected != NULL))
            fail_msg("\"%s\" was %s", t[i].text, ok ? "taken" : "refused");
        if (ok)
            assert_moment(ms, t[i].expected);
    }
    char text[24];
    moment_print(utc("2026-11-21T17:00:00Z"), text, sizeof(text));
    assert_string_equal(text, "2026-11-21 18:00");
    moment_print(utc("2026-11-21T17:00:07Z"), text, sizeof(text));
    assert_string_equal(text, "2026-11-21 18:00:07");
}

static void forms(void **state)
{
    static const char *const right[] = {"Mon-Fri 08:00-18:00",
                                        "mon-fri 08:00 - 18:00",
                                        "Sat,Sun 00:00-24:00",
                                        "Fri-Mon,Wed 22:00-06:00",
                                        "daily 22:00-06:00",
                                        " daily  08:00:30-09:00 ",
                                        "2026-12-24 00:00 - 2026-12-27 00:00",
                                        "2026-12-24 00:00-2026-12-27 24:00"};
    static const char *const wrong[] = {"",
                                        "Mon",
                                        "Monday 08:00-18:00",
                                        "Mon-Fri",
                                        "Mon-Fri 08:00",
                                        "Mon-Fri 8:00-18:00",
                                        "Mon-Fri 08:00-18:00x",
                                        "Mon- 08:00-18:00",
                                        "Mon,, 08:00-18:00",
                                        "Mon-Fri08:00-18:00",
                                        "Mon 24:00-24:00",
                                        "never 08:00-18:00",
                                        "08:00-18:00",
                                        "2026-12-24 - 2026-12-27",
                                        "2026-12-24 00:00",
                                        "2026-12-27 00:00 - 2026-12-24 00:00",
                                        "2026-12-24 00:00 - 2026-12-24 00:00"};
    struct blackout b;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(right); i++)
        if (!blackout_parse(str_c(right[i]), &b))
            fail_msg("\"%s\" was refused", right[i]);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
        if (blackout_parse(str_c(wrong[i]), &b))
            fail_msg("\"%s\" was taken", wrong[i]);
}

static void ends(void **state)
{
    static const struct {
        const char *windows[3], *now, *end; /* NULL: none is on */
    } t[] = {
        {{NULL}, NOW, NULL},
        {{"Mon-Fri 08:00-18:00"}, NOW, "2026-11-20T17:00:00.000Z"},
        {{"Mon-Fri 08:00-18:00"}, "2026-11-20T17:00:00Z", NULL}, /* the end is not in it */
        {{"Mon-Fri 08:00-18:00"}, "2026-11-20T07:00:00Z", "2026-11-20T17:00:00.000Z"},
        {{"Mon-Fri 08:00-18:00"}, "2026-11-21T12:00:00Z", NULL}, /* a Saturday */
        {{"daily 22:00-06:00"}, "2026-11-20T21:30:00Z", "2026-11-21T05:00:00.000Z"},
        {{"daily 22:00-06:00"}, "2026-11-21T04:59:59Z", "2026-11-21T05:00:00.000Z"},
        {{"Fri 22:00-06:00"}, "2026-11-21T04:00:00Z", "2026-11-21T05:00:00.000Z"},
        {{"Sat 22:00-06:00"}, "2026-11-21T04:00:00Z", NULL}, /* Friday night is not Saturday's */
        {{"Sat,Sun 00:00-24:00"}, "2026-11-21T12:00:00Z", "2026-11-22T23:00:00.000Z"},
        {{"2026-12-24 00:00 - 2026-12-27 00:00"},
         "2026-12-24T00:00:00Z",
         "2026-12-26T23:00:00.000Z"},
        {{"2026-12-24 00:00 - 2026-12-27 00:00"}, "2026-12-23T22:59:59Z", NULL},
        /* one goes on where another ends */
        {{"Fri 08:00-14:00", "Fri 13:30-20:00", "Fri 20:00-24:00"},
         NOW,
         "2026-11-20T23:00:00.000Z"},
        {{"Fri 08:00-14:00", "Fri 14:30-20:00"}, NOW, "2026-11-20T13:00:00.000Z"},
        {{"nonsense", "Fri 08:00-14:00"}, NOW, "2026-11-20T13:00:00.000Z"},
        /* the night in which the clocks go back is an hour longer */
        {{"Sat 22:00-06:00"}, "2026-10-24T20:00:00Z", "2026-10-25T05:00:00.000Z"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        char *text[3];
        unsigned n = 0;
        for (; n < 3 && t[i].windows[n] != NULL; n++)
            text[n] = (char *)t[i].windows[n];
        int64_t end = blackout_end(text, n, utc(t[i].now), NULL);
        if (t[i].end == NULL)
            assert_int_equal(end, 0);
        else
            assert_moment(end, t[i].end);
    }
    char *always[] = {(char *)"daily 00:00-24:00"};
    const char *which = NULL;
    assert_true(blackout_end(always, 1, utc(NOW), &which) > utc("2028-01-01T00:00:00Z"));
    assert_string_equal(which, always[0]);
}

/* Every text one octet away from a right one: taken or refused, and never more than that. */
static void damaged(void **state)
{
    static const char *const right[] = {"Mon-Fri 08:00-18:00",
                                        "2026-12-24 00:00 - 2026-12-27 00:00",
                                        "2026-11-21T18:00:00.250+01:00"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(right); i++) {
        size_t n = strlen(right[i]);
        for (size_t at = 0; at <= n; at++) {
            for (unsigned c = 0; c < 256; c++) {
                struct blackout b;
                int64_t ms;
                char *copy = malloc(n); /* exact: a sanitizer sees a step too far */
                memcpy(copy, right[i], n);
                if (at < n)
                    copy[at] = (char)c;
                (void)blackout_parse(str_n(copy, at < n ? n : c % n), &b);
                (void)moment_parse(str_n(copy, at < n ? n : c % n), 0, &ms);
                free(copy);
            }
        }
    }
}

int main(void)
{
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1); /* Berlin's, without its files */
    tzset();
    const struct CMUnitTest tests[] = {cmocka_unit_test(moments), cmocka_unit_test(forms),
                                       cmocka_unit_test(ends), cmocka_unit_test(damaged)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
