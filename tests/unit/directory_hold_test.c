/*
 * directory_hold_test.c - mass changes that wait for a person, over restarts, damage and failing
 * files.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "directory/replica_int.h"
#include "tests/unit/directory_model.h"
#include "tests/unit/directory_stage.h"

/* ---- holding ---- */

static void test_held_and_accepted(void **state)
{
    (void)state;
    struct stage s;
    char path[300];
    stage_begin(&s);
    stage_refresh(&s, 0, 100, "whole");
    s.commits = 0;
    stage_refresh(&s, 0, 40, "part");
    stage_expect_held(&s, 60, 0);
    assert_int_equal(s.commits, 0);
    assert_int_equal(replica_entries(s.r), 100);
    assert_true(str_eq(replica_cookie(s.r), STR("whole")));
    assert_int_equal(stage_is_there(&s, 99), 1);

    stage_refresh(&s, 0, 50,
                  "other"); /* the file is swapped again: still held, and what is shown is new */
    stage_expect_held(&s, 50, 0);
    stage_restart(&s);
    stage_expect_held(&s, 50, 0);
    assert_int_equal(replica_hold(s.r)->counts.entries, 100);
    stage_refresh(&s, 0, 50, "other"); /* read again */
    stage_expect_held(&s, 50, 0);
    stage_put(&s, 200, 210, ""); /* nothing else comes through meanwhile, however small */
    assert_true(replica_commit_checked(s.r, STR("more"), NULL));
    assert_int_equal(stage_is_there(&s, 200), 0);
    assert_int_equal(s.commits, 0);
    stage_expect_held(&s, 50, 0);

    stage_agree(&s); /* what was shown, with its cookie: the rest will be told again */
    assert_int_equal(s.entries, 50);
    assert_int_equal(replica_entries(s.r), 50);
    assert_int_equal(stage_is_there(&s, 99), 0);
    assert_int_equal(stage_is_there(&s, 200), 0);
    assert_true(str_eq(replica_cookie(s.r), STR("other")));
    stage_path(&s, "held", path);
    assert_int_not_equal(access(path, F_OK), 0);
    stage_restart(&s);
    assert_null(replica_hold(s.r));
    assert_int_equal(replica_entries(s.r), 50);
    stage_end(&s);
}

static void test_taken_back(void **state)
{
    (void)state;
    struct stage s;
    stage_begin(&s);
    stage_refresh(&s, 0, 100, "whole");
    stage_refresh(&s, 0, 40, "part");
    stage_expect_held(&s, 60, 0);
    stage_refresh(&s, 0, 99, "nearly"); /* one is missing: a person decides */
    stage_expect_held(&s, 1, 0);
    stage_refresh(&s, 0, 110, "again");
    assert_null(replica_hold(s.r));
    assert_int_equal(replica_entries(s.r), 110);
    assert_true(str_eq(replica_cookie(s.r), STR("again")));
    stage_restart(&s);
    assert_null(replica_hold(s.r));
    stage_end(&s);
}

/* Refreshes that break off delete nothing and decide nothing, held or not. */
static void test_partial(void **state)
{
    (void)state;
    struct stage s;
    stage_begin(&s);
    stage_refresh(&s, 0, 100, "whole");
    for (unsigned held = 0; held < 2; held++) {
        for (unsigned named = 0; named <= 100; named += 20) {
            replica_refresh_begin(s.r);
            stage_put(&s, 0, named, "");
            clock_fake_advance(5000);
            replica_tick(s.r);
            replica_abort(s.r);
            replica_tick(s.r);
            assert_int_equal(replica_entries(s.r), 100);
            assert_true(str_eq(replica_cookie(s.r), STR("whole")));
            assert_int_equal(replica_hold(s.r) != NULL, held);
        }
        stage_refresh(&s, 0, 40, "part");
        stage_expect_held(&s, 60, 0);
    }
    replica_refresh_begin(s.r); /* agreed to in the middle of one */
    stage_put(&s, 0, 90, "");
    stage_agree(&s);
    assert_int_equal(replica_entries(s.r), 40);
    assert_true(str_eq(replica_cookie(s.r), STR("part")));
    stage_end(&s);
}

/* Nothing is left: never taken for granted in one step, whatever the limits. */
static void test_empty(void **state)
{
    (void)state;
    struct stage s;
    struct err e;
    stage_begin(&s);
    s.o.mass_change_percent = 100;
    stage_restart(&s);
    replica_refresh_begin(s.r);
    assert_false(replica_refresh_end(s.r, true, STR("c"), &e)); /* the first sync */
    stage_refresh(&s, 0, 3, "three");
    stage_refresh(&s, 0, 0, "none");
    stage_expect_held(&s, 3, 0);
    stage_restart(&s);
    stage_expect_held(&s, 3, 0);
    stage_agree(&s);
    assert_int_equal(replica_entries(s.r), 0);
    stage_end(&s);
}

static void test_limits(void **state)
{
    (void)state;
    static const struct {
        unsigned percent, count, vanish, move; /* of 100 */
        bool held;
    } row[] =
        {
            {25, 0, 25, 0, false}, {25, 0, 26, 0, true},   {25, 0, 13, 13, true},
            {25, 0, 0, 26, true},  {100, 0, 90, 0, false}, {100, 5, 6, 0, true},
            {100, 5, 0, 6, true},  {100, 5, 3, 2, false},  {25, 5, 0, 6, true},
            {1, 0, 10, 0, false},  {1, 0, 11, 0, true}, /* so few are never a share */
        };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct stage s;
        stage_begin(&s);
        s.o.mass_change_percent = row[i].percent;
        s.o.mass_change_count = row[i].count;
        stage_restart(&s);
        stage_refresh(&s, 0, 100, "1");
        stage_put(&s, 0, row[i].move, " flag=target"); /* in one batch, as in one refresh */
        for (unsigned k = 0; k < row[i].vanish; k++) {
            unsigned char uuid[DIR_UUID_SIZE];
            model_uuid(99 - k, uuid);
            replica_delete(s.r, uuid);
        }
        assert_true(replica_commit_checked(s.r, STR("2"), NULL));
        assert_int_equal(replica_hold(s.r) != NULL, row[i].held);
        stage_end(&s);
    }
}

/* An attribute that can no longer be read: everybody is there, and loses an address. */
static void test_dropped_addresses(void **state)
{
    (void)state;
    struct stage s;
    struct err e;
    stage_begin(&s);
    replica_refresh_begin(s.r);
    stage_put(&s, 0, 100, " alias.of@x.test");
    assert_true(replica_refresh_end(s.r, true, STR("1"), &e));
    replica_refresh_begin(s.r);
    stage_put(&s, 0, 20,
              " ALIAS.of@x.test more@x.test"); /* spelt in another way, and more: no loss */
    stage_put(&s, 20, 100, " alias.of@x.test");
    assert_true(replica_refresh_end(s.r, true, STR("2"), &e));
    assert_null(replica_hold(s.r));
    stage_refresh(&s, 0, 100, "3");
    stage_expect_held(&s, 0, 0);
    assert_int_equal(replica_hold(s.r)->counts.drop, 100);
    stage_restart(&s);
    assert_int_equal(replica_hold(s.r)->counts.drop, 100);
    assert_int_equal(replica_hold(s.r)->counts.change, 0);
    stage_end(&s);
}

/* A person raises the limits: what was held is judged by the new ones. */
static void test_raised_limits(void **state)
{
    (void)state;
    struct stage s;
    stage_begin(&s);
    stage_refresh(&s, 0, 100, "whole");
    stage_refresh(&s, 0, 60, "part");
    s.o.mass_change_percent = 39;
    stage_restart(&s);
    stage_expect_held(&s, 40, 0);
    s.o.mass_change_percent = 40;
    stage_restart(&s);
    assert_null(replica_hold(s.r));
    assert_int_equal(replica_entries(s.r), 100);
    stage_refresh(&s, 0, 60, "part");
    assert_int_equal(replica_entries(s.r), 60);
    stage_end(&s);
}

static void test_accept_next(void **state)
{
    (void)state;
    struct stage s;
    stage_begin(&s);
    stage_refresh(&s, 0, 100, "whole");
    replica_accept_next(s.r);
    stage_refresh(&s, 0, 90, "small"); /* does not use it up */
    assert_true(replica_accepts_next(s.r));
    stage_refresh(&s, 0, 40, "part");
    assert_null(replica_hold(s.r));
    assert_false(replica_accepts_next(s.r));
    assert_int_equal(replica_entries(s.r), 40);
    stage_refresh(&s, 0, 20, "once only");
    stage_expect_held(&s, 20, 0);
    stage_agree(&s);
    replica_accept_next(s.r);
    clock_fake_advance(25 * HOUR);
    stage_refresh(&s, 0, 5, "too late");
    stage_expect_held(&s, 15, 0);
    stage_end(&s);
}

/* ---- one by one ---- */

static void test_one_by_one(void **state)
{
    (void)state;
    struct stage s;
    stage_begin(&s);
    stage_refresh(&s, 0, 100, "whole");
    for (unsigned i = 0; i < 80; i++) { /* moves are what an administrator is here for */
        stage_put(&s, i, i + 1, " flag=target");
        assert_true(replica_commit_checked(s.r, STR_NULL, NULL));
    }
    for (unsigned i = 0; i < 25; i++)
        stage_delete(&s, i);
    assert_null(replica_hold(s.r));
    for (unsigned i = 25; i < 60; i++) {
        stage_delete(&s, i);
        clock_fake_advance(100);
    }
    assert_non_null(replica_hold(s.r));
    assert_int_equal(replica_entries(s.r), 75);
    assert_int_equal(replica_hold(s.r)->counts.lately, 25);
    clock_fake_advance(2000); /* what is shown follows */
    assert_true(replica_commit_checked(s.r, STR("seen"), NULL));
    stage_expect_held(&s, 35, 0);
    stage_agree(&s);
    assert_int_equal(replica_entries(s.r), 40);
    assert_true(str_eq(replica_cookie(s.r), STR("seen")));
    stage_end(&s);
}

/* A source that has nothing more to say (Active Directory's), and one that is in the middle of it.
 */
static void test_shown_without_a_commit(void **state)
{
    (void)state;
    struct stage s;
    stage_begin(&s);
    stage_refresh(&s, 0, 100, "whole");
    for (unsigned i = 0; i < 40; i++)
        stage_delete(&s, i);
    stage_expect_held(&s, 1, 0);
    clock_fake_advance(2000);
    replica_tick(s.r);
    stage_expect_held(&s, 15, 0);
    stage_put(&s, 25, 40, ""); /* they are back, but the answer is not over */
    clock_fake_advance(2000);
    replica_tick(s.r);
    stage_expect_held(&s, 15, 0);
    replica_abort(s.r); /* and breaks off: nothing is known of it */
    clock_fake_advance(2000);
    replica_tick(s.r);
    stage_expect_held(&s, 15, 0);
    stage_put(&s, 25, 40, "");
    clock_fake_advance(500);
    assert_true(replica_commit_checked(s.r, STR("back"), NULL));
    clock_fake_advance(2000);
    replica_tick(s.r);
    assert_null(replica_hold(s.r));
    assert_true(str_eq(replica_cookie(s.r), STR("back")));
    stage_end(&s);
}

/* Held for long, while the source says ever the same people anew: what is superseded goes. */
static void test_memory(void **state)
{
    (void)state;
    struct stage s;
    struct dir_entry e;
    char more[100];
    stage_begin(&s);
    stage_refresh(&s, 0, 100, "whole");
    for (unsigned i = 0; i < 40; i++)
        stage_delete(&s, i);
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(more, sizeof(more), " flag=%u second.address.of.%u@x.test", i, i);
        stage_put(&s, 40, 100, more);
        assert_true(replica_commit_checked(s.r, STR_NULL, NULL));
    }
    assert_true(table_builder_bytes(s.r->batch) < (size_t)2 << 20);
    clock_fake_advance(2000);
    assert_true(replica_commit_checked(s.r, STR("seen"), NULL));
    stage_expect_held(&s, 15, 60);
    stage_agree(&s);
    assert_int_equal(replica_entries(s.r), 60);
    assert_int_equal(stage_is_there(&s, 39), 0);
    assert_true(stage_find(&s, 99, &e));
    assert_true(str_eq(e.flag, STR("999")));
    stage_end(&s);
}

/* They come back while they are held: nothing is left to decide. */
static void test_one_by_one_taken_back(void **state)
{
    (void)state;
    struct stage s;
    stage_begin(&s);
    stage_refresh(&s, 0, 100, "whole");
    for (unsigned i = 0; i < 30; i++)
        stage_delete(&s, i);
    stage_expect_held(&s, 1, 0); /* of 5, as it was at first */
    stage_put(&s, 25, 30, "");
    clock_fake_advance(2000);
    assert_true(replica_commit_checked(s.r, STR("back"), NULL));
    assert_null(replica_hold(s.r));
    assert_true(str_eq(replica_cookie(s.r), STR("back")));
    assert_int_equal(replica_entries(s.r), 75);
    stage_end(&s);
}

/* Restarts, and a wall clock that goes back, do not empty the window; ten minutes do. */
static void test_window_over_restarts(void **state)
{
    (void)state;
    struct stage s;
    stage_begin(&s);
    stage_refresh(&s, 0, 100, "whole");
    for (unsigned i = 0; i < 25; i++) {
        stage_delete(&s, i);
        stage_restart(&s);
        if (i == 10)
            clock_fake_start(clock_mono_ms(), START - 5 * HOUR);
    }
    assert_null(replica_hold(s.r));
    stage_delete(&s, 25);
    stage_expect_held(&s, 1, 0);
    stage_agree(&s);
    for (unsigned i = 26; i < 74; i++) {
        stage_delete(&s, i);
        clock_fake_advance(2 * MINUTE);
        stage_restart(&s);
        assert_null(replica_hold(s.r));
    }
    stage_end(&s);
}

/* ---- files ---- */

static size_t slurp(const char *path, unsigned char *out, size_t cap)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, out, cap);
    close(fd);
    assert_true(n > 0 && (size_t)n < cap);
    return (size_t)n;
}

static void spill(const char *path, const unsigned char *p, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), (ssize_t)n);
    close(fd);
}

/* Whatever becomes of the file: still held, what it would change perhaps unknown until the source
 * was read again; never applied. */
static void test_damaged_held(void **state)
{
    (void)state;
    static unsigned char file[65536];
    struct stage s;
    struct err e;
    char path[300];
    stage_begin(&s);
    stage_refresh(&s, 0, 100, "whole");
    stage_refresh(&s, 0, 40, "part");
    stage_path(&s, "held", path);
    size_t n = slurp(path, file, sizeof(file));
    replica_close(&s.r);
    for (size_t at = 0; at < n; at += 7) {
        file[at] ^= 4;
        spill(path, file, at % 2 == 0 ? n : at);
        stage_start(&s);
        struct hold *h = (struct hold *)replica_hold(s.r);
        assert_non_null(h);
        assert_int_equal(replica_entries(s.r), 100);
        if (h->change == NULL)
            assert_false(replica_accept(s.r, h, &e));
        stage_refresh(&s, 0, 40, "part");
        stage_expect_held(&s, 60, 0);
        replica_close(&s.r);
        file[at] ^= 4;
    }
    stage_start(&s);
    stage_end(&s);
}

/* We died after it was accepted and before its file was gone. */
static void test_decided_before_a_crash(void **state)
{
    (void)state;
    static unsigned char file[65536];
    struct stage s;
    char path[300];
    stage_begin(&s);
    stage_refresh(&s, 0, 100, "whole");
    stage_refresh(&s, 0, 40, "part");
    stage_path(&s, "held", path);
    size_t n = slurp(path, file, sizeof(file));
    stage_agree(&s);
    spill(path, file, n);
    stage_restart(&s);
    assert_null(replica_hold(s.r));
    assert_int_equal(replica_entries(s.r), 40);
    assert_int_not_equal(access(path, F_OK), 0);
    stage_end(&s);
}

/* What was held by another question to the server says nothing now; the hold stands. */
static void test_other_question(void **state)
{
    (void)state;
    struct stage s;
    stage_begin(&s);
    stage_refresh(&s, 0, 100, "whole");
    stage_refresh(&s, 0, 40, "part");
    s.o.source_id = 2;
    stage_restart(&s);
    assert_non_null(replica_hold(s.r));
    assert_null(replica_hold(s.r)->change);
    stage_refresh(&s, 0, 50, "other filter");
    stage_expect_held(&s, 50, 0);
    stage_agree(&s);
    assert_true(replica_is_complete(s.r)); /* with what is asked for now */
    stage_restart(&s);
    assert_true(replica_is_complete(s.r));
    assert_int_equal(replica_entries(s.r), 50);
    stage_end(&s);
}

static unsigned ops_left;

static bool op_fails(void)
{
    if (ops_left == 0 || --ops_left != 0)
        return false;
    errno = EIO;
    return true;
}
static int f_open(const char *path, int flags, mode_t mode)
{
    return op_fails() ? -1 : file_real.open(path, flags, mode);
}
static ssize_t f_pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
    return op_fails() ? -1 : file_real.pwritev(fd, iov, n, off);
}
static int f_fdatasync(int fd)
{
    return op_fails() ? -1 : file_real.fdatasync(fd);
}
static int f_fsync(int fd)
{
    return op_fails() ? -1 : file_real.fsync(fd);
}
static int f_rename(const char *from, const char *to)
{
    return op_fails() ? -1 : file_real.rename(from, to);
}
static int f_unlink(const char *path)
{
    return op_fails() ? -1 : file_real.unlink(path);
}

/* Each operation fails once. After a restart: the generation before, or the one that was accepted;
 * never a mixture, and never the new one without an accept. */
static void test_failing_files(void **state)
{
    (void)state;
    static struct file_ops ops;
    ops = file_real;
    ops.open = f_open;
    ops.pwritev = f_pwritev;
    ops.fdatasync = f_fdatasync;
    ops.fsync = f_fsync;
    ops.rename = f_rename;
    ops.unlink = f_unlink;
    for (unsigned accepts = 0; accepts < 2; accepts++)
        for (unsigned fail_at = 1; fail_at < 20; fail_at++) {
            struct stage s;
            stage_begin(&s);
            stage_refresh(&s, 0, 100, "whole");
            s.o.ops = &ops;
            stage_restart(&s);
            ops_left = fail_at;
            stage_refresh(&s, 0, 40, "part");
            stage_expect_held(&s, 60, 0);
            if (accepts)
                stage_agree(&s);
            ops_left = 0;
            stage_restart(&s);
            uint64_t n = replica_entries(s.r);
            assert_true(n == 100 || (accepts && n == 40));
            assert_true(str_eq(replica_cookie(s.r), n == 100 ? STR("whole") : STR("part")));
            if (replica_hold(s.r) != NULL && n == 40)
                fail_msg("held, and applied");
            stage_refresh(&s, 0, 40, "part");
            assert_int_equal(replica_entries(s.r), n);
            assert_int_equal(replica_hold(s.r) != NULL, n == 100);
            stage_end(&s);
        }
}

int main(void)
{
    /* alarms are what is tested here */
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_ + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held_and_accepted),
        cmocka_unit_test(test_taken_back),
        cmocka_unit_test(test_partial),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_dropped_addresses),
        cmocka_unit_test(test_raised_limits),
        cmocka_unit_test(test_accept_next),
        cmocka_unit_test(test_one_by_one),
        cmocka_unit_test(test_shown_without_a_commit),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_one_by_one_taken_back),
        cmocka_unit_test(test_window_over_restarts),
        cmocka_unit_test(test_damaged_held),
        cmocka_unit_test(test_decided_before_a_crash),
        cmocka_unit_test(test_other_question),
        cmocka_unit_test(test_failing_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
