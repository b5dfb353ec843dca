/*
 * cutover.c - see cutover.h. One timer, set for the next step; but it looks at the wall clock at
 * least twice a minute, so that a clock that is put right, forwards or backwards, is noticed. What
 * has been done is in the journal: a clock that jumps back does not do it again.
 *
 * A journal that cannot be written leaves things as they are, and is tried again.
 */
#include "relay/daemon/cutover.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/moment.h"
#include "conf/blackout.h"

#define LOOK_MS  30000 /* between two looks at the wall clock */
#define RETRY_MS 10000 /* after a failure */
#define LATE_MS  60000 /* is worth a warning */

struct cutover {
    struct daemon *d;
    struct loop_timer timer;
};

bool cutover_next(const struct overrides *o, struct cutover_step *out)
{
    const struct wave *w;
    bool found = false;
    for (unsigned i = 0; (w = overrides_wave(o, i)) != NULL; i++) {
        struct cutover_step s = {.wave = w->id, .begins = w->state == WAVE_PENDING};
        s.due_ms = s.begins ? w->at_ms : w->state == WAVE_ACTIVE ? w->until_ms : 0;
        if (s.due_ms != 0 && (!found || s.due_ms < out->due_ms)) {
            *out = s;
            found = true;
        }
    }
    return found;
}

static bool do_step(struct daemon *d, const struct cutover_step *s, int64_t now_ms)
{
    const struct wave *w = overrides_find(directory_overrides(d->directory), s->wave);
    int64_t late_ms = now_ms - s->due_ms;
    unsigned n = w->n_made; /* w may be forgotten below */
    bool missed = s->begins && w->until_ms != 0 && w->until_ms <= now_ms;
    struct err e;
    bool ok = s->begins && !missed ? directory_begin_wave(d->directory, s->wave, &e)
                                   : directory_expire_wave(d->directory, s->wave, &e);
    const char *what = missed ? "wave-missed" : s->begins ? "wave-begun" : "wave-over";
    if (!ok)
        LOG(ERROR, NULL, "wave-failed", LU("wave", s->wave), LC("what", what), LC("why", e.text));
    else if (late_ms > LATE_MS || missed)
        LOG(WARN, NULL, what, LU("wave", s->wave), LU("addresses", n), LI("late_ms", late_ms),
            LU("generation", directory_generation(d->directory)),
            LC("why", missed ? "the relay was down, or a blackout lasted, for its whole time"
                             : "the relay was down, or a blackout lasted"));
    else
        LOG(INFO, NULL, what, LU("wave", s->wave), LU("addresses", n),
            LU("generation", directory_generation(d->directory)));
    return ok;
}

void cutover_look(struct cutover *c)
{
    struct cutover_step s;
    struct daemon *d = c->d;
    while (cutover_next(directory_overrides(d->directory), &s)) {
        int64_t now_ms = clock_wall_ms(), wait = s.due_ms - now_ms;
        if (wait <= 0) {
            int64_t end = blackout_end(d->conf->blackout, d->conf->n_blackout, now_ms, NULL);
            wait = end != 0 ? end - now_ms : 0;
        }
        if (wait <= 0 && !do_step(d, &s, now_ms))
            wait = RETRY_MS;
        if (wait > 0) {
            loop_timer_set(&c->timer, wait < LOOK_MS ? wait : LOOK_MS);
            return;
        }
    }
    loop_timer_clear(&c->timer);
}

static void on_timer(struct loop_timer *t)
{
    cutover_look(CONTAINER_OF(t, struct cutover, timer));
}

struct cutover *cutover_start(struct daemon *d)
{
    struct cutover *c = NEW(struct cutover);
    c->d = d;
    loop_timer_init(&c->timer, d->loop, on_timer);
    cutover_look(c);
    return c;
}

void cutover_stop(struct cutover **cp)
{
    struct cutover *c = *cp;
    *cp = NULL;
    if (c == NULL)
        return;
    loop_timer_clear(&c->timer);
    mem_free(c);
}
