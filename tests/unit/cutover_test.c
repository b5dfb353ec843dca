/*
 * cutover_test.c - what is due when: waves that begin and come back, on a clock that the test owns,
 * which also jumps; within blackouts, over restarts, and with a journal that cannot be written.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/moment.h"
#include "relay/daemon/cutover.h"
#include "tests/unit/directory_model.h"

#define MINUTE 60000
#define CONF                                                                                       \
    "listener \"i\" { address = \"*:25\" }\nforest \"old\" { host \"a\" {} }\n"                    \
    "forest \"new\" { host \"b\" {} }\ndomain \"x.test\" {}\n"

static int64_t mono = 1000000;

struct world {
    struct daemon d;
    const char *folder;
};

static int64_t at(const char *text)
{
    int64_t ms = 0;
    assert_true(moment_parse(str_c(text), 0, &ms));
    return ms;
}

static void up(struct world *w)
{
    struct err e;
    w->d.loop = loop_new(&e);
    w->d.directory = directory_open(w->d.conf, w->folder, &e);
    assert_non_null(w->d.directory);
    w->d.cutover = cutover_start(&w->d);
}

static void down(struct world *w)
{
    cutover_stop(&w->d.cutover);
    directory_close(&w->d.directory);
    loop_free(&w->d.loop);
}

/* now: local time. */
static void open_world(struct world *w, const char *now, const char *more)
{
    struct err e;
    char text[1000];
    *w = (struct world){.folder = model_folder()};
    snprintf(text, sizeof(text), "%s%s", more, CONF);
    clock_fake_start(mono, at(now));
    w->d.conf = conf_parse(text, "t.conf", &e);
    assert_non_null(w->d.conf);
    up(w);
}

static void close_world(struct world *w)
{
    down(w);
    conf_unref(&w->d.conf);
    model_remove_folder(w->folder);
    clock_fake_stop();
}

static uint32_t order(struct world *w, const char *key, int64_t at_ms, int64_t until_ms)
{
    uint32_t id;
    struct err e;
    const struct wave_move m = {.key = str_c(key), .forest = STR("new")};
    const struct wave_order o = {
        .n = 1, .move = &m, .who = STR("me"), .at_ms = at_ms, .until_ms = until_ms};
    assert_true(directory_move(w->d.directory, &o, &id, &e));
    cutover_look(w->d.cutover);
    return id;
}

static enum wave_state state_of(const struct world *w, uint32_t id)
{
    return overrides_find(directory_overrides(w->d.directory), id)->state;
}

/* In steps, as a loop sleeps: no timer is set for longer than that. */
static void pass(struct world *w, int64_t ms)
{
    for (; ms > 0; ms -= 1000) {
        clock_fake_advance(ms < 1000 ? ms : 1000);
        mono += 1000;
        loop_turn(w->d.loop, 0);
    }
}

static void begins_and_comes_back(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, "2026-11-20 12:00", "");
    uint32_t a = order(&w, "a@x.test", at("2026-11-20 12:10"), at("2026-11-20 12:20"));
    uint32_t b = order(&w, "b@x.test", 0, at("2026-11-20 12:05"));
    uint32_t c = order(&w, "c@x.test", 0, 0);
    struct cutover_step s;
    assert_true(cutover_next(directory_overrides(w.d.directory), &s));
    assert_true(s.wave == b && !s.begins && s.due_ms == at("2026-11-20 12:05"));
    pass(&w, 5 * MINUTE - 1000);
    assert_int_equal(state_of(&w, b), WAVE_ACTIVE);
    pass(&w, 1000);
    assert_int_equal(state_of(&w, b), WAVE_EXPIRED);
    assert_int_equal(state_of(&w, a), WAVE_PENDING);
    pass(&w, 5 * MINUTE);
    assert_int_equal(state_of(&w, a), WAVE_ACTIVE);
    pass(&w, 10 * MINUTE);
    assert_int_equal(state_of(&w, a), WAVE_EXPIRED);
    assert_int_equal(state_of(&w, c), WAVE_ACTIVE);
    assert_false(cutover_next(directory_overrides(w.d.directory), &s));
    close_world(&w);
}

/* Forwards: noticed within half a minute. Backwards: what is done is not done again, and what is
 * not due any more waits for its time. */
static void clock_jumps(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, "2026-11-20 12:00", "");
    uint32_t a = order(&w, "a@x.test", at("2026-11-20 18:00"), at("2026-11-20 20:00"));
    clock_fake_start(mono, at("2026-11-20 18:30"));
    pass(&w, 31000);
    assert_int_equal(state_of(&w, a), WAVE_ACTIVE);
    int64_t begun = overrides_find(directory_overrides(w.d.directory), a)->begun_ms;
    clock_fake_start(mono, at("2026-11-20 17:00"));
    pass(&w, 5 * MINUTE);
    assert_int_equal(state_of(&w, a), WAVE_ACTIVE);
    assert_int_equal(overrides_find(directory_overrides(w.d.directory), a)->begun_ms, begun);
    uint32_t b = order(&w, "b@x.test", at("2026-11-20 17:10"), 0);
    clock_fake_start(mono, at("2026-11-20 16:00"));
    pass(&w, 30 * MINUTE);
    assert_int_equal(state_of(&w, b), WAVE_PENDING);
    pass(&w, 41 * MINUTE);
    assert_int_equal(state_of(&w, b), WAVE_ACTIVE);
    close_world(&w);
}

static void while_it_was_down(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, "2026-11-20 12:00", "");
    uint32_t a = order(&w, "a@x.test", at("2026-11-20 13:00"), 0);
    uint32_t b = order(&w, "b@x.test", 0, at("2026-11-20 13:00"));
    uint32_t c = order(&w, "c@x.test", at("2026-11-20 13:00"), at("2026-11-20 13:30"));
    uint32_t d = order(&w, "d@x.test", at("2026-11-20 15:00"), 0);
    down(&w);
    clock_fake_start(mono, at("2026-11-20 14:00"));
    up(&w);
    assert_int_equal(state_of(&w, a), WAVE_ACTIVE); /* at once, before anything is routed */
    assert_int_equal(state_of(&w, b), WAVE_EXPIRED);
    assert_int_equal(state_of(&w, c), WAVE_EXPIRED);
    assert_int_equal(overrides_find(directory_overrides(w.d.directory), c)->begun_ms, 0);
    assert_int_equal(state_of(&w, d), WAVE_PENDING);
    pass(&w, 60 * MINUTE);
    assert_int_equal(state_of(&w, d), WAVE_ACTIVE);
    close_world(&w);
}

static void blackouts(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, "2026-11-20 12:00", "blackout = { \"Fri 12:30-13:00\", \"Fri 13:00-13:20\" }\n");
    uint32_t a = order(&w, "a@x.test", at("2026-11-20 12:45"), 0);
    uint32_t b = order(&w, "b@x.test", 0, at("2026-11-20 12:40"));
    uint32_t c = order(&w, "c@x.test", at("2026-11-20 12:29"), at("2026-11-20 13:10"));
    uint32_t d = order(&w, "d@x.test", at("2026-11-20 12:50"), at("2026-11-20 13:15"));
    pass(&w, 29 * MINUTE);
    assert_int_equal(state_of(&w, c), WAVE_ACTIVE);
    pass(&w, 50 * MINUTE);
    assert_int_equal(state_of(&w, a), WAVE_PENDING);
    assert_int_equal(state_of(&w, b), WAVE_ACTIVE);
    assert_int_equal(state_of(&w, c), WAVE_ACTIVE);
    pass(&w, 1 * MINUTE);
    assert_int_equal(state_of(&w, a), WAVE_ACTIVE);
    assert_int_equal(state_of(&w, b), WAVE_EXPIRED);
    assert_int_equal(state_of(&w, c), WAVE_EXPIRED);
    assert_int_equal(state_of(&w, d), WAVE_EXPIRED); /* the blackout lasted for its whole time */
    close_world(&w);
}

int main(void)
{
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_ + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(begins_and_comes_back), cmocka_unit_test(clock_jumps),
        cmocka_unit_test(while_it_was_down), cmocka_unit_test(blackouts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
