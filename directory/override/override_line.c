/*
 * override_line.c - see override_line.h.
 */
#include "directory/override/override_line.h"

#include <inttypes.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/moment.h"

static const struct str action_text[] = {
    [OVERRIDE_SET] = STR("set"),       [OVERRIDE_UNSET] = STR("unset"),
    [OVERRIDE_PLAN] = STR("plan"),     [OVERRIDE_WRITE] = STR("write"),
    [OVERRIDE_COMMIT] = STR("commit"), [OVERRIDE_BEGIN] = STR("begin"),
    [OVERRIDE_EXPIRE] = STR("expire"), [OVERRIDE_UNDO] = STR("undo"),
    [OVERRIDE_PAST] = STR("past")};

static struct str take(struct str *line)
{
    struct str s = str_split(line, '\t');
    return str_eq(s, STR("-")) ? STR_NULL : s;
}

static bool take_number(struct str *line, uint64_t max, uint64_t *out)
{
    struct str s = take(line);
    *out = 0;
    return s.n == 0 || str_to_u64(s, max, out);
}

static bool take_moment(struct str *line, int64_t *out)
{
    struct str s = take(line);
    *out = 0;
    return s.n == 0 || moment_parse(s, 0, out);
}

static bool action_read(struct str s, enum override_action *out)
{
    for (unsigned i = 0; i < ARRAY_LEN(action_text); i++) {
        if (str_eq(s, action_text[i])) {
            *out = (enum override_action)i;
            return true;
        }
    }
    return false;
}

bool override_line_read(struct str text, struct override_line *out)
{
    uint64_t wave;
    *out = (struct override_line){0};
    if (text.n != 0 && memchr(text.p, '\0', text.n) != NULL)
        return false; /* a page that never reached the disk */
    if (!moment_parse(str_split(&text, '\t'), 0, &out->time_ms))
        out->time_ms = 0; /* nothing depends on it */
    if (!action_read(take(&text), &out->action))
        return false;
    out->key = take(&text);
    out->forest = take(&text);
    out->who = take(&text);
    out->why = take(&text);
    bool has_wave = text.n != 0;
    bool ok = take_number(&text, UINT64_MAX, &out->generation);
    out->previous = take(&text);
    ok = ok && take_number(&text, UINT32_MAX - 1, &wave) && take_moment(&text, &out->until_ms) &&
         take_moment(&text, &out->at_ms);
    out->wave = ok ? (uint32_t)wave : 0;
    return ok && (wave != 0 || !has_wave);
}

static void put(struct buf *b, struct str s)
{
    buf_append_char(b, '\t');
    buf_append_str(b, s.n != 0 ? s : STR("-"));
}

static void put_moment(struct buf *b, int64_t ms)
{
    char text[40] = "";
    if (ms != 0)
        clock_rfc3339(ms, text, sizeof(text));
    put(b, str_c(text));
}

bool override_line_write(struct buf *out, const struct override_line *l)
{
    char when[40];
    clock_rfc3339(l->time_ms, when, sizeof(when));
    buf_append_c(out, when);
    put(out, action_text[l->action]);
    put(out, l->key);
    put(out, l->forest);
    put(out, l->who);
    put(out, l->why);
    buf_printf(out, "\t%" PRIu64, l->generation);
    put(out, l->previous);
    buf_printf(out, "\t%" PRIu32, l->wave);
    put_moment(out, l->until_ms);
    put_moment(out, l->at_ms);
    return buf_append_char(out, '\n');
}
