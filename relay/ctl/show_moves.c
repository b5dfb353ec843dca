/*
 * show_moves.c - what causewayctl prints about moves: what would change, what was done, the
 * journal. Times are local, as --at takes them.
 */
#include "relay/ctl/show_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/moment.h"

static const struct grid_column plan_column[] = {
    {"ADDRESS", false, true, false}, {"NOW", false, false, false},
    {"THEN", false, false, false},   {"", false, false, false},
    {"BECAUSE", false, true, false}, {"WARNING", false, true, false},
};
static const struct grid_column write_column[] = {
    {"ADDRESS", false, true, false}, {"NOW", false, false, false},
    {"THEN", false, false, false},   {"", false, false, false},
    {"BECAUSE", false, true, false}, {"WRITES", false, true, false},
    {"WARNING", false, true, false},
};
static const struct grid_column wave_column[] = {
    {"WAVE", true, false, false},      {"STATE", false, false, false},
    {"ADDRESSES", true, false, false}, {"TO", false, false, false},
    {"SINCE", false, false, false},    {"UNTIL", false, false, false},
    {"WHO", false, false, false},      {"GENERATION", true, false, true},
    {"WHY", false, true, false},
};
static const struct grid_column address_column[] = {
    {"ADDRESS", false, true, false},
    {"TO", false, false, false},
    {"BEFORE", false, false, false},
    {"STATE", false, false, false},
};

/* Local time; "" for never. */
static const char *local(json_t *o, const char *key, char dst[24])
{
    int64_t ms = text_time(text_of(o, key));
    dst[0] = '\0';
    if (ms != 0)
        moment_print(ms, dst, 24);
    return dst;
}

/* ---- items ---- */

static void columns(struct show *s, const struct grid_column *c, unsigned n)
{
    if (s->items != 0)
        return;
    unsigned width = s->grid.width;
    grid_free(&s->grid);
    grid_init(&s->grid, c, n, width);
}

/* "extensionAttribute1 = new in corp, ..." */
static void add_writes(struct show *s, json_t *writes)
{
    struct buf b = BUF_INIT(2000);
    json_t *w;
    size_t i;
    json_array_foreach(writes, i, w)
    {
        buf_printf(&b, "%s%s = %s in %s", i != 0 ? ", " : "", text_of(w, "attribute"),
                   text_of(w, "value"), text_of(w, "source"));
    }
    grid_add(&s->grid, b.n != 0 ? buf_cstr(&b) : "nothing: no source has a flag for it");
    buf_free(&b);
}

static void plan_row(struct show *s, json_t *i)
{
    const char *state = text_of(i, "state");
    json_t *writes = json_object_get(i, "writes");
    if (writes != NULL)
        columns(s, write_column, ARRAY_LEN(write_column));
    else
        columns(s, plan_column, ARRAY_LEN(plan_column));
    grid_add(&s->grid, text_of(i, "address"));
    grid_add(&s->grid, dash(text_of(i, "now")));
    grid_add(&s->grid, dash(text_of(i, "then")));
    grid_add(&s->grid, strcmp(state, "moves") == 0    ? ""
                       : strcmp(state, "there") == 0  ? "is there already"
                       : strcmp(state, "failed") == 0 ? "not written"
                                                      : "not known");
    grid_add(&s->grid, dash(text_of(i, "why")));
    if (writes != NULL)
        add_writes(s, writes);
    grid_add(&s->grid, dash(text_of(i, "warning")));
}

static void wave_row(struct show *s, json_t *w)
{
    char number[24], since[24], until[64], state[64];
    const char *waits = local(w, "waits_until", until);
    columns(s, wave_column, ARRAY_LEN(wave_column));
    (void)snprintf(number, sizeof(number), "%" PRId64, number_of(w, "wave"));
    grid_add(&s->grid, number);
    if (waits[0] != '\0')
        (void)snprintf(state, sizeof(state), "%.12s (blackout until %.20s)", text_of(w, "state"),
                       waits);
    else
        (void)snprintf(state, sizeof(state), "%.30s%s", text_of(w, "state"),
                       json_is_true(json_object_get(w, "written")) ? " (written)" : "");
    grid_add(&s->grid, state);
    (void)snprintf(number, sizeof(number), "%" PRId64, number_of(w, "addresses"));
    grid_add(&s->grid, number);
    grid_add(&s->grid, dash(text_of(w, "forest")));
    bool pending = strcmp(text_of(w, "state"), "pending") == 0;
    grid_add(&s->grid, dash(local(w, pending ? "at" : "begun", since)));
    const char *ended = local(w, "ended", until);
    grid_add(&s->grid, dash(ended[0] != '\0' ? ended : local(w, "until", until)));
    grid_add(&s->grid, dash(text_of(w, "who")));
    (void)snprintf(number, sizeof(number), "%" PRId64, number_of(w, "generation"));
    grid_add(&s->grid, number);
    grid_add(&s->grid, dash(text_of(w, "why")));
}

static void address_row(struct show *s, json_t *a)
{
    columns(s, address_column, ARRAY_LEN(address_column));
    grid_add(&s->grid, text_of(a, "address"));
    grid_add(&s->grid, dash(text_of(a, "forest")));
    grid_add(&s->grid, dash(text_of(a, "previous")));
    grid_add(&s->grid, text_of(a, "state"));
}

const char *show_moves_items(json_t *item)
{
    return json_object_get(item, "address") != NULL ? "addresses" : "waves";
}

void show_move_item(struct show *s, json_t *item)
{
    if (s->command == CONTROL_move)
        plan_row(s, item);
    else if (json_object_get(item, "address") != NULL)
        address_row(s, item);
    else
        wave_row(s, item);
}

/* ---- results ---- */

static const char *plural(int64_t n)
{
    return n == 1 ? "" : "es";
}

static void write_times(json_t *o, struct buf *out)
{
    char text[24];
    if (local(o, "at", text)[0] != '\0')
        buf_printf(out, " at %s", text);
    if (local(o, "until", text)[0] != '\0')
        buf_printf(out, ", until %s", text);
    buf_append_char(out, '\n');
}

static void show_written(json_t *o, struct buf *out)
{
    int64_t written = number_of(o, "written"), failed = number_of(o, "failed"),
            there = number_of(o, "there"), overridden = number_of(o, "overridden");
    if (there != 0)
        buf_printf(out, "%" PRId64 " ha%s the flag already\n", there, there == 1 ? "s" : "ve");
    if (overridden != 0)
        buf_printf(out,
                   "%" PRId64 " %s an override to another forest, which decides first: see "
                   "`causewayctl moves`\n",
                   overridden, overridden == 1 ? "has" : "have");
    if (written == 0) {
        buf_append_c(out, "nothing to write\n");
        return;
    }
    buf_printf(out, "wave %" PRId64 ": the flag of %" PRId64 " object%s was written",
               number_of(o, "wave"), written, written == 1 ? "" : "s");
    if (failed != 0)
        buf_printf(out, ", of %" PRId64 " not", failed);
    buf_printf(out,
               "; mail follows when the directory tells of it\n`causewayctl undo %" PRId64
               "` takes it back\n",
               number_of(o, "wave"));
}

static void show_move(json_t *o, struct buf *out)
{
    char text[24];
    int64_t moved = number_of(o, "moved"), there = number_of(o, "there");
    bool dry = json_is_true(json_object_get(o, "dry_run"));
    bool later = text_of(o, "at")[0] != '\0';
    if (json_object_get(o, "written") != NULL) {
        show_written(o, out);
        return;
    }
    if (dry)
        buf_printf(out, "%" PRId64 " address%s would move", moved, plural(moved));
    else if (moved == 0)
        buf_append_c(out, "nothing to move");
    else
        buf_printf(out, "wave %" PRId64 ": %" PRId64 " address%s %s", number_of(o, "wave"), moved,
                   plural(moved), later ? "will move" : "moved");
    write_times(o, out);
    if (there != 0)
        buf_printf(out, "%" PRId64 " %s there already\n", there, there == 1 ? "is" : "are");
    if (number_of(o, "unknown") != 0)
        buf_printf(out, "%" PRId64 " not known to any directory%s\n", number_of(o, "unknown"),
                   dry ? ": without --force nothing would be done" : "");
    if (number_of(o, "warnings") != 0)
        buf_printf(out, "%" PRId64 " with a warning\n", number_of(o, "warnings"));
    if (local(o, "waits_until", text)[0] != '\0' && (dry || later))
        buf_printf(out, "a blackout holds that up until %s\n", text);
    if (dry)
        buf_append_c(out, "nothing was changed (--dry-run)\n");
    else if (moved != 0)
        buf_printf(out, "`causewayctl undo %" PRId64 "` takes it back\n", number_of(o, "wave"));
}

static void show_undo(json_t *o, struct buf *out)
{
    int64_t n = number_of(o, "addresses"), changed = number_of(o, "changed");
    const char *address = text_of(o, "address");
    buf_printf(out, "wave %" PRId64 "%s%s: ", number_of(o, "wave"), address[0] != '\0' ? ", " : "",
               address);
    if (json_is_true(json_object_get(o, "pending"))) {
        buf_printf(out, "dropped before its time, %" PRId64 " address%s\n", n, plural(n));
        return;
    }
    buf_printf(out, "%" PRId64 " address%s taken back", changed, plural(changed));
    if (changed < n)
        buf_printf(out, "; %" PRId64 " had been moved again since and stay where they are",
                   n - changed);
    buf_append_char(out, '\n');
}

static void show_wave(json_t *w, struct buf *out)
{
    char text[24];
    buf_printf(out, "\nwave %" PRId64 ": %s, by %s%s%s, made %s", number_of(w, "wave"),
               text_of(w, "state"), dash(text_of(w, "who")),
               text_of(w, "why")[0] != '\0' ? ", " : "", text_of(w, "why"), local(w, "made", text));
    write_times(w, out);
    if (local(w, "waits_until", text)[0] != '\0')
        buf_printf(out, "a blackout holds it up until %s\n", text);
    if (local(w, "ended", text)[0] != '\0')
        buf_printf(out, "ended %s%s%s\n", text, text_of(w, "ended_by")[0] != '\0' ? " by " : "",
                   text_of(w, "ended_by"));
}

static void show_moves(struct show *s, json_t *o, struct buf *out)
{
    json_t *wave = json_object_get(o, "wave");
    if (s->items == 0 && wave == NULL)
        buf_append_c(out, "no such moves\n");
    if (json_is_false(json_object_get(o, "complete")))
        buf_printf(out, "... and more: the %s %" PRIu64 " are shown (--limit 0 shows all)\n",
                   json_is_object(wave) ? "first" : "newest", s->items);
    if (json_is_object(wave))
        show_wave(wave, out);
}

int show_move_result(struct show *s, json_t *o, struct buf *out)
{
    grid_print(&s->grid, out);
    if (s->command == CONTROL_move)
        show_move(o, out);
    else if (s->command == CONTROL_undo)
        show_undo(o, out);
    else if (s->command == CONTROL_moves)
        show_moves(s, o, out);
    else if (s->command == CONTROL_set)
        buf_printf(out, "%s is in forest %s now, whatever the directories say\n",
                   text_of(o, "address"), text_of(o, "forest"));
    else
        buf_printf(out, "%s is where the directories say\n", text_of(o, "address"));
    return 0;
}
