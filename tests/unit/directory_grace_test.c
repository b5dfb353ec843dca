/*
 * directory_grace_test.c - what vanished routes on through its grace period: over restarts, clocks
 * that jump, and together with mass changes that are held.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "tests/unit/directory_model.h"
#include "tests/unit/directory_stage.h"

static void begin_with_grace(struct stage *s)
{
    stage_begin(s);
    s->o.grace_ms = 7 * 24 * HOUR;
    stage_restart(s);
    stage_refresh(s, 0, 100, "whole");
    s->commits = s->entries = 0;
}

static void test_grace(void **state)
{
    (void)state;
    struct stage s;
    struct dir_entry e;
    begin_with_grace(&s);
    stage_refresh(&s, 0, 90, "less");
    assert_int_equal(s.entries, 10);
    assert_int_equal(replica_entries(s.r), 90);
    assert_int_equal(replica_addresses(s.r), 90);
    assert_int_equal(replica_vanished(s.r), 10);
    assert_true(stage_find(&s, 95, &e));
    assert_int_equal(e.vanished_ms, START);
    assert_true(str_eq(e.address[0].local, STR("u95")));
    stage_refresh(&s, 0, 90, "the same"); /* what is gone already is not news */
    assert_int_equal(s.entries, 10);
    stage_refresh(&s, 0, 95, "some are back");
    assert_int_equal(s.entries, 15);
    assert_int_equal(replica_vanished(s.r), 5);
    assert_int_equal(stage_is_there(&s, 94), 1);
    assert_int_equal(stage_is_there(&s, 95), -1);

    clock_fake_advance(s.o.grace_ms - 1);
    replica_tick(s.r);
    assert_int_equal(stage_is_there(&s, 95), -1);
    clock_fake_advance(1);
    replica_tick(s.r);
    assert_int_equal(stage_is_there(&s, 95), 0);
    assert_int_equal(stage_is_there(&s, 94), 1);
    assert_int_equal(replica_vanished(s.r), 0);
    assert_int_equal(replica_entries(s.r), 95);
    assert_true(str_eq(replica_cookie(s.r), STR("some are back")));
    stage_restart(&s);
    assert_int_equal(stage_is_there(&s, 95), 0);
    stage_end(&s);
}

/* Gone, back and gone again: the last time counts. */
static void test_grace_again(void **state)
{
    (void)state;
    struct stage s;
    begin_with_grace(&s);
    stage_delete(&s, 5);
    clock_fake_advance(HOUR);
    stage_put(&s, 5, 6, "");
    assert_true(replica_commit_checked(s.r, STR_NULL, NULL));
    stage_delete(&s, 5);
    clock_fake_advance(s.o.grace_ms - HOUR / 2);
    replica_tick(s.r);
    assert_int_equal(stage_is_there(&s, 5), -1);
    clock_fake_advance(HOUR);
    replica_tick(s.r);
    assert_int_equal(stage_is_there(&s, 5), 0);
    stage_end(&s);
}

/* Named as present (RFC 4533): it is back as it was. */
static void test_grace_present(void **state)
{
    (void)state;
    struct stage s;
    struct err e;
    unsigned char uuid[DIR_UUID_SIZE];
    begin_with_grace(&s);
    stage_delete(&s, 5);
    replica_refresh_begin(s.r);
    for (unsigned i = 0; i < 100; i++) {
        model_uuid(i, uuid);
        replica_present(s.r, uuid);
    }
    assert_true(replica_refresh_end(s.r, true, STR("p"), &e));
    assert_int_equal(stage_is_there(&s, 5), 1);
    assert_int_equal(replica_vanished(s.r), 0);
    stage_end(&s);
}

/* Neither a restart nor a clock that jumps makes it shorter than it should be. */
static void test_grace_and_clocks(void **state)
{
    (void)state;
    struct stage s;
    begin_with_grace(&s);
    int64_t grace = s.o.grace_ms;
    stage_delete(&s, 5);
    clock_fake_start(clock_mono_ms(), START + 400 * 24 * HOUR); /* jumps forward while we run */
    replica_tick(s.r);
    assert_int_equal(stage_is_there(&s, 5), -1);
    stage_restart(&s); /* and over a restart: an hour is left to set it right */
    replica_tick(s.r);
    assert_int_equal(stage_is_there(&s, 5), -1);
    clock_fake_advance(HOUR - 1);
    replica_tick(s.r);
    assert_int_equal(stage_is_there(&s, 5), -1);
    clock_fake_start(clock_mono_ms(), START - 24 * HOUR); /* back, over a restart: begins anew */
    stage_restart(&s);
    replica_tick(s.r);
    clock_fake_advance(grace - 1);
    replica_tick(s.r);
    assert_int_equal(stage_is_there(&s, 5), -1);
    clock_fake_advance(1);
    replica_tick(s.r);
    assert_int_equal(stage_is_there(&s, 5), 0);

    stage_delete(&s, 6); /* an honest restart half way */
    clock_fake_advance(grace / 2);
    stage_restart(&s);
    replica_tick(s.r);
    clock_fake_advance(grace / 2 - 1);
    replica_tick(s.r);
    assert_int_equal(stage_is_there(&s, 6), -1);
    clock_fake_advance(1);
    replica_tick(s.r);
    assert_int_equal(stage_is_there(&s, 6), 0);
    stage_end(&s);
}

/* Their time runs while a mass change is held, and nothing is applied before a person decides; what
 * is accepted then vanishes with a whole grace period before it. */
static void test_grace_and_hold(void **state)
{
    (void)state;
    struct stage s;
    begin_with_grace(&s);
    stage_delete(&s, 5);
    stage_refresh(&s, 50, 100, "half");
    stage_expect_held(&s, 49, 0);
    assert_int_equal(stage_is_there(&s, 6), 1);
    clock_fake_advance(s.o.grace_ms + 1);
    replica_tick(s.r);
    assert_int_equal(stage_is_there(&s, 5), -1);
    stage_agree(&s);
    replica_tick(s.r);
    assert_int_equal(stage_is_there(&s, 5), 0);
    assert_int_equal(stage_is_there(&s, 6), -1);
    assert_int_equal(replica_vanished(s.r), 49);
    stage_restart(&s);
    assert_int_equal(replica_vanished(s.r), 49);
    replica_tick(s.r);
    clock_fake_advance(s.o.grace_ms);
    replica_tick(s.r);
    assert_int_equal(stage_is_there(&s, 6), 0);
    assert_int_equal(replica_entries(s.r), 50);
    stage_end(&s);
}

/* Many at once, some in the snapshot and some in the journal; and none when grace is taken away. */
static void test_grace_of_many(void **state)
{
    (void)state;
    struct stage s;
    stage_begin(&s);
    s.o.grace_ms = HOUR;
    s.o.mass_change_percent = 100;
    stage_restart(&s);
    stage_refresh(&s, 0, 20000, "1");
    stage_refresh(&s, 0, 12000, "2");
    replica_snapshot(s.r);
    stage_refresh(&s, 0, 10000, "3");
    stage_restart(&s);
    assert_int_equal(replica_vanished(s.r), 10000);
    replica_tick(s.r);
    clock_fake_advance(HOUR);
    for (unsigned i = 0; i < 3; i++)
        replica_tick(s.r);
    assert_int_equal(replica_vanished(s.r), 0);
    assert_int_equal(stage_is_there(&s, 11999), 0);
    assert_int_equal(stage_is_there(&s, 19999), 0);
    assert_int_equal(stage_is_there(&s, 9999), 1);
    stage_refresh(&s, 0, 9000, "4");
    assert_int_equal(replica_vanished(s.r), 1000);
    s.o.grace_ms = 0;
    stage_restart(&s);
    replica_tick(s.r);
    assert_int_equal(replica_vanished(s.r), 0);
    stage_end(&s);
}

int main(void)
{
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_ + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grace),          cmocka_unit_test(test_grace_again),
        cmocka_unit_test(test_grace_present),  cmocka_unit_test(test_grace_and_clocks),
        cmocka_unit_test(test_grace_and_hold), cmocka_unit_test(test_grace_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
