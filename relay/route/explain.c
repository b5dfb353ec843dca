/*
 * explain.c - the reasons of a decision in words, for `causewayctl explain` and for the text of a
 * loop's refusal.
 *
 * Texts come from the arena of the query; when that is full, or all lines of the trace are used,
 * the rest is left out. What comes from a directory is escaped here.
 */
#include "relay/route/route_int.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/escape.h"

void route_say(struct route_work *w, const char *fmt, ...)
{
    char line[700];
    va_list ap;
    if (w->trace == NULL || w->trace->n == ARRAY_LEN(w->trace->line))
        return;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    struct str copy = arena_str(w->a, str_c(line));
    if (copy.p != NULL)
        w->trace->line[w->trace->n++] = copy;
}

static const char *who(struct route_work *w, const struct dir_claim *c, char *dst, size_t cap)
{
    if (c->kind == DIR_OVERRIDE)
        snprintf(dst, cap, "an administrator");
    else
        snprintf(dst, cap, "source \"%.60s\"", dir_view_source_name(w->q->view, c->source));
    return dst;
}

/* By the wall clock: the time of grace itself passes on the other one. */
static void say_vanished(struct route_work *w, const struct dir_claim *c, const char *source)
{
    char at[32], until[32];
    clock_rfc3339(c->vanished_ms, at, sizeof(at));
    clock_rfc3339(c->routes_until_ms, until, sizeof(until));
    route_say(w, "%s no longer has it: vanished at %s, routes until %s", source, at, until);
}

void route_say_vanished(struct route_work *w, const struct dir_result *r)
{
    char source[80];
    for (unsigned i = 0; i < r->n_claims; i++)
        if (r->claim[i].vanished_ms != 0)
            say_vanished(w, &r->claim[i], who(w, &r->claim[i], source, sizeof(source)));
}

void route_claims_text(struct route_work *w, const struct dir_result *r, struct buf *out)
{
    char source[80], forest[80];
    for (unsigned i = 0; i < r->n_claims; i++) {
        const struct dir_claim *c = &r->claim[i];
        escape_cstr(c->forest, forest, sizeof(forest));
        buf_printf(out, "%s%s says %s (%s)", i == 0 ? "" : ", ", who(w, c, source, sizeof(source)),
                   forest[0] ? forest : "nothing", c->evidence != NULL ? c->evidence : "");
    }
}
