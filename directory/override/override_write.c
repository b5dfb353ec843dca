/*
 * override_write.c - waves as the lines that make them again, for a journal that has become long.
 *
 * The lines of a wave stand together, and waves in the order in which they lie on each other. Of a
 * wave whose addresses are forgotten there is a headline, and how it ended.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "directory/override/override_int.h"

static bool write_addresses(const struct wave *one, struct override_line l, struct buf *out)
{
    bool ok = true;
    for (unsigned i = 0; ok && i < one->n; i++) {
        const struct wave_address *a = &one->address[i];
        if (a->undone)
            continue;
        l.action = one->written       ? OVERRIDE_WRITE
                   : a->forest.n == 0 ? OVERRIDE_UNSET
                   : one->at_ms != 0  ? OVERRIDE_PLAN
                                      : OVERRIDE_SET;
        l.key = a->key;
        l.forest = a->forest;
        l.previous = a->previous;
        ok = override_line_write(out, &l);
    }
    return ok;
}

static bool write_wave(const struct wave *one, struct buf *out)
{
    char made[24], left[24];
    (void)snprintf(made, sizeof(made), "%u", one->n_made);
    (void)snprintf(left, sizeof(left), "%u", one->n_left);
    struct override_line l = {.time_ms = one->made_ms,
                              .action = OVERRIDE_PAST,
                              .forest = one->forest,
                              .who = one->who,
                              .why = one->why,
                              .generation = one->generation,
                              .previous = str_c(made),
                              .wave = one->id,
                              .until_ms = one->until_ms,
                              .at_ms = one->at_ms};
    bool ok = write_addresses(one, l, out);
    if (one->n_left != 0) {
        l.action = OVERRIDE_COMMIT;
        l.key = l.previous;
        l.previous = str_c(left);
    }
    ok = ok && override_line_write(out, &l);
    l = (struct override_line){.wave = one->id, .generation = one->generation};
    if (one->n_left != 0 && one->at_ms != 0 && one->state == WAVE_ACTIVE) {
        l.action = OVERRIDE_BEGIN;
        l.time_ms = one->begun_ms;
        ok = ok && override_line_write(out, &l);
    }
    if (one->state == WAVE_EXPIRED || one->state == WAVE_UNDONE) {
        l.action = one->state == WAVE_EXPIRED ? OVERRIDE_EXPIRE : OVERRIDE_UNDO;
        l.time_ms = one->ended_ms;
        l.who = one->ended_by;
        ok = ok && override_line_write(out, &l);
    }
    return ok;
}

/* As they lie on each other in the chains. */
static int by_order(const void *va, const void *vb)
{
    const struct wave *a = *(struct wave *const *)va, *b = *(struct wave *const *)vb;
    if (a->order != b->order)
        return a->order < b->order ? -1 : 1;
    return a->id < b->id ? -1 : 1;
}

bool waves_write(const struct waves *w, struct buf *out)
{
    bool ok = true;
    struct wave **order = mem_array(w->n + 1, sizeof(struct wave *));
    if (w->n != 0)
        memcpy(order, w->wave, w->n * sizeof(struct wave *));
    qsort(order, w->n, sizeof(struct wave *), by_order);
    for (unsigned i = 0; ok && i < w->n; i++)
        ok = write_wave(order[i], out);
    mem_free(order);
    return ok;
}
