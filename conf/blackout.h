/*
 * blackout.h - times in which no mailbox is moved, as the option `blackout` lists them. Pure, but
 * for the local time zone, which all of them are in.
 *
 *     Mon-Fri 08:00-18:00                     on these days
 *     Sat,Sun 00:00-24:00
 *     daily 22:00-06:00                       to the next day; named by the day it begins
 *     2026-12-24 00:00 - 2026-12-27 00:00     once
 */
#ifndef CONF_BLACKOUT_H
#define CONF_BLACKOUT_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/str.h"

struct blackout {
    unsigned days;      /* bit 0 = Sunday; 0 = once */
    struct tm from, to; /* on days: hour, minute, second only */
};

bool blackout_parse(struct str s, struct blackout *out);
/* The moment when moving is allowed again: the end of the blackout that now_ms lies in, and of
 * those that begin before it has ended. 0: none is on. A text that does not parse is passed over.
 * *which: the first that is on. */
int64_t blackout_end(char *const *text, unsigned n, int64_t now_ms, const char **which);

#endif
