/*
 * directory_hold_test.c - mass changes that wait for a person, over restarts, damage and failing
 * files; and the grace period of what vanished, on a clock of our own.
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
#include "base/mem.h"
#include "directory/hold.h"
#include "directory/replica.h"
#include "tests/unit/directory_model.h"

#define MINUTE 60000
#define HOUR   (60 * (int64_t)MINUTE)
#define START  ((int64_t)1800000000000) /* wall */

/* ---- the stage ---- */

struct stage {
    const char *folder;
    struct replica_options o;
    struct replica *r;
    unsigned commits, entries, told; /* heard */
    bool held;
};

static void hear(void *arg, const struct replica_commit *c)
{
    struct stage *s = arg;
    s->commits += c->n_entries != 0;
    s->entries += c->n_entries;
    assert_int_equal(c->change != NULL, c->n_entries != 0);
}

static void hear_held(void *arg, struct hold *h)
{
    struct stage *s = arg;
    s->told++;
    s->held = h != NULL;
}

static void start(struct stage *s)
{
    struct err e = {0};
    s->held = false;
    s->commits = s->entries = s->told = 0;
    s->r = replica_open(&s->o, &e);
    if (s->r == NULL)
        fail_msg("%s", e.text);
}

static void restart(struct stage *s)
{
    replica_close(&s->r);
    start(s);
}

static void begin(struct stage *s)
{
    clock_fake_start(1000000, START);
    *s = (struct stage){.folder = model_folder()};
    s->o = (struct replica_options){.folder = s->folder,
                                    .name = "t",
                                    .source_id = 1,
                                    .mass_change_percent = 25,
                                    .publish = hear,
                                    .held = hear_held,
                                    .arg = s};
    start(s);
}

static void end(struct stage *s)
{
    replica_close(&s->r);
    model_remove_folder(s->folder);
    clock_fake_stop();
}

static void put(struct stage *s, unsigned from, unsigned to, const char *more)
{
    char text[100];
    for (unsigned i = from; i < to; i++) {
        snprintf(text, sizeof(text), "mailbox u%u@x.test%s", i, more);
        assert_true(replica_upsert(s->r, model_entry(i, text)));
    }
}

/* The directory is entries `from` to `to` now. */
static void refresh(struct stage *s, unsigned from, unsigned to, const char *cookie)
{
    struct err e = {0};
    replica_refresh_begin(s->r);
    put(s, from, to, "");
    if (!replica_refresh_end(s->r, true, str_c(cookie), &e))
        fail_msg("%s", e.text);
}

static void delete_one(struct stage *s, unsigned id)
{
    unsigned char uuid[DIR_UUID_SIZE];
    model_uuid(id, uuid);
    replica_delete(s->r, uuid);
    replica_commit_checked(s->r, STR_NULL);
}

static bool find(const struct stage *s, unsigned id, struct dir_entry *out)
{
    static struct dir_entry_room room;
    unsigned char uuid[DIR_UUID_SIZE];
    struct table_record rec;
    model_uuid(id, uuid);
    return stack_find_uuid(replica_stack(s->r), uuid, &rec) &&
           table_record_decode(&rec, &room, out);
}

/* 1: there; 0: gone; -1: vanished, and routes on. */
static int is_there(const struct stage *s, unsigned id)
{
    struct dir_entry e;
    if (!find(s, id, &e))
        return 0;
    return e.vanished_ms == 0 ? 1 : -1;
}

static void expect_held(const struct stage *s, uint64_t vanish, uint64_t move)
{
    const struct hold *h = replica_hold(s->r);
    assert_non_null(h);
    assert_true(s->held);
    assert_non_null(h->change);
    assert_int_equal(h->counts.vanish, vanish);
    assert_int_equal(h->counts.move, move);
}

static void agree(struct stage *s)
{
    struct err e = {0};
    struct hold *h = hold_ref((struct hold *)replica_hold(s->r));
    assert_true(replica_accept(s->r, h, &e));
    assert_true(hold_is_applied(h));
    assert_false(replica_accept(s->r, h, &e)); /* not twice */
    assert_null(replica_hold(s->r));
    assert_false(s->held);
    hold_unref(&h);
}

static void path_of(const struct stage *s, const char *what, char out[300])
{
    snprintf(out, 300, "%s/directory-t.%s", s->folder, what);
}

/* ---- holding ---- */

static void test_held_and_accepted(void **state)
{
    (void)state;
    struct stage s;
    char path[300];
    begin(&s);
    refresh(&s, 0, 100, "whole");
    s.commits = 0;
    refresh(&s, 0, 40, "part");
    expect_held(&s, 60, 0);
    assert_int_equal(s.commits, 0);
    assert_int_equal(replica_entries(s.r), 100);
    assert_true(str_eq(replica_cookie(s.r), STR("whole")));
    assert_int_equal(is_there(&s, 99), 1);

    refresh(&s, 0, 50,
            "other"); /* the file is swapped again: still held, and what is shown is new */
    expect_held(&s, 50, 0);
    restart(&s);
    expect_held(&s, 50, 0);
    assert_int_equal(replica_hold(s.r)->counts.entries, 100);
    refresh(&s, 0, 50, "other"); /* read again */
    expect_held(&s, 50, 0);
    put(&s, 200, 210, ""); /* nothing else comes through meanwhile, however small */
    replica_commit_checked(s.r, STR("more"));
    assert_int_equal(is_there(&s, 200), 0);
    assert_int_equal(s.commits, 0);
    expect_held(&s, 50, 0);

    agree(&s); /* what was shown, with its cookie: the rest will be told again */
    assert_int_equal(s.entries, 50);
    assert_int_equal(replica_entries(s.r), 50);
    assert_int_equal(is_there(&s, 99), 0);
    assert_int_equal(is_there(&s, 200), 0);
    assert_true(str_eq(replica_cookie(s.r), STR("other")));
    path_of(&s, "held", path);
    assert_int_not_equal(access(path, F_OK), 0);
    restart(&s);
    assert_null(replica_hold(s.r));
    assert_int_equal(replica_entries(s.r), 50);
    end(&s);
}

static void test_taken_back(void **state)
{
    (void)state;
    struct stage s;
    begin(&s);
    refresh(&s, 0, 100, "whole");
    refresh(&s, 0, 40, "part");
    expect_held(&s, 60, 0);
    refresh(&s, 0, 99, "nearly"); /* one is missing: a person decides */
    expect_held(&s, 1, 0);
    refresh(&s, 0, 110, "again");
    assert_null(replica_hold(s.r));
    assert_int_equal(replica_entries(s.r), 110);
    assert_true(str_eq(replica_cookie(s.r), STR("again")));
    restart(&s);
    assert_null(replica_hold(s.r));
    end(&s);
}

/* Nothing is left: never taken for granted in one step, whatever the limits. */
static void test_empty(void **state)
{
    (void)state;
    struct stage s;
    struct err e;
    begin(&s);
    s.o.mass_change_percent = 100;
    restart(&s);
    replica_refresh_begin(s.r);
    assert_false(replica_refresh_end(s.r, true, STR("c"), &e)); /* the first sync */
    refresh(&s, 0, 3, "three");
    refresh(&s, 0, 0, "none");
    expect_held(&s, 3, 0);
    restart(&s);
    expect_held(&s, 3, 0);
    agree(&s);
    assert_int_equal(replica_entries(s.r), 0);
    end(&s);
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
        begin(&s);
        s.o.mass_change_percent = row[i].percent;
        s.o.mass_change_count = row[i].count;
        restart(&s);
        refresh(&s, 0, 100, "1");
        put(&s, 0, row[i].move, " flag=target"); /* in one batch, as in one refresh */
        for (unsigned k = 0; k < row[i].vanish; k++) {
            unsigned char uuid[DIR_UUID_SIZE];
            model_uuid(99 - k, uuid);
            replica_delete(s.r, uuid);
        }
        replica_commit_checked(s.r, STR("2"));
        assert_int_equal(replica_hold(s.r) != NULL, row[i].held);
        end(&s);
    }
}

/* A person raises the limits: what was held is judged by the new ones. */
static void test_raised_limits(void **state)
{
    (void)state;
    struct stage s;
    begin(&s);
    refresh(&s, 0, 100, "whole");
    refresh(&s, 0, 60, "part");
    s.o.mass_change_percent = 39;
    restart(&s);
    expect_held(&s, 40, 0);
    s.o.mass_change_percent = 40;
    restart(&s);
    assert_null(replica_hold(s.r));
    assert_int_equal(replica_entries(s.r), 100);
    refresh(&s, 0, 60, "part");
    assert_int_equal(replica_entries(s.r), 60);
    end(&s);
}

static void test_accept_next(void **state)
{
    (void)state;
    struct stage s;
    begin(&s);
    refresh(&s, 0, 100, "whole");
    replica_accept_next(s.r);
    refresh(&s, 0, 90, "small"); /* does not use it up */
    assert_true(replica_accepts_next(s.r));
    refresh(&s, 0, 40, "part");
    assert_null(replica_hold(s.r));
    assert_false(replica_accepts_next(s.r));
    assert_int_equal(replica_entries(s.r), 40);
    refresh(&s, 0, 20, "once only");
    expect_held(&s, 20, 0);
    agree(&s);
    replica_accept_next(s.r);
    clock_fake_advance(25 * HOUR);
    refresh(&s, 0, 5, "too late");
    expect_held(&s, 15, 0);
    end(&s);
}

/* ---- one by one ---- */

static void test_one_by_one(void **state)
{
    (void)state;
    struct stage s;
    begin(&s);
    refresh(&s, 0, 100, "whole");
    for (unsigned i = 0; i < 80; i++) { /* moves are what an administrator is here for */
        put(&s, i, i + 1, " flag=target");
        replica_commit_checked(s.r, STR_NULL);
    }
    for (unsigned i = 0; i < 25; i++)
        delete_one(&s, i);
    assert_null(replica_hold(s.r));
    for (unsigned i = 25; i < 60; i++) {
        delete_one(&s, i);
        clock_fake_advance(100);
    }
    assert_non_null(replica_hold(s.r));
    assert_int_equal(replica_entries(s.r), 75);
    assert_int_equal(replica_hold(s.r)->counts.lately, 25);
    clock_fake_advance(2000); /* what is shown follows */
    replica_commit_checked(s.r, STR("seen"));
    expect_held(&s, 35, 0);
    agree(&s);
    assert_int_equal(replica_entries(s.r), 40);
    assert_true(str_eq(replica_cookie(s.r), STR("seen")));
    end(&s);
}

/* They come back while they are held: nothing is left to decide. */
static void test_one_by_one_taken_back(void **state)
{
    (void)state;
    struct stage s;
    begin(&s);
    refresh(&s, 0, 100, "whole");
    for (unsigned i = 0; i < 30; i++)
        delete_one(&s, i);
    expect_held(&s, 1, 0); /* of 5, as it was at first */
    put(&s, 25, 30, "");
    clock_fake_advance(2000);
    replica_commit_checked(s.r, STR("back"));
    assert_null(replica_hold(s.r));
    assert_true(str_eq(replica_cookie(s.r), STR("back")));
    assert_int_equal(replica_entries(s.r), 75);
    end(&s);
}

/* Restarts, and a wall clock that goes back, do not empty the window; ten minutes do. */
static void test_window_over_restarts(void **state)
{
    (void)state;
    struct stage s;
    begin(&s);
    refresh(&s, 0, 100, "whole");
    for (unsigned i = 0; i < 25; i++) {
        delete_one(&s, i);
        restart(&s);
        if (i == 10)
            clock_fake_start(clock_mono_ms(), START - 5 * HOUR);
    }
    assert_null(replica_hold(s.r));
    delete_one(&s, 25);
    expect_held(&s, 1, 0);
    agree(&s);
    for (unsigned i = 26; i < 74; i++) {
        delete_one(&s, i);
        clock_fake_advance(2 * MINUTE);
        restart(&s);
        assert_null(replica_hold(s.r));
    }
    end(&s);
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
    begin(&s);
    refresh(&s, 0, 100, "whole");
    refresh(&s, 0, 40, "part");
    path_of(&s, "held", path);
    size_t n = slurp(path, file, sizeof(file));
    replica_close(&s.r);
    for (size_t at = 0; at < n; at += 7) {
        file[at] ^= 4;
        spill(path, file, at % 2 == 0 ? n : at);
        start(&s);
        struct hold *h = (struct hold *)replica_hold(s.r);
        assert_non_null(h);
        assert_int_equal(replica_entries(s.r), 100);
        if (h->change == NULL)
            assert_false(replica_accept(s.r, h, &e));
        refresh(&s, 0, 40, "part");
        expect_held(&s, 60, 0);
        replica_close(&s.r);
        file[at] ^= 4;
    }
    start(&s);
    end(&s);
}

/* We died after it was accepted and before its file was gone. */
static void test_decided_before_a_crash(void **state)
{
    (void)state;
    static unsigned char file[65536];
    struct stage s;
    char path[300];
    begin(&s);
    refresh(&s, 0, 100, "whole");
    refresh(&s, 0, 40, "part");
    path_of(&s, "held", path);
    size_t n = slurp(path, file, sizeof(file));
    agree(&s);
    spill(path, file, n);
    restart(&s);
    assert_null(replica_hold(s.r));
    assert_int_equal(replica_entries(s.r), 40);
    assert_int_not_equal(access(path, F_OK), 0);
    end(&s);
}

/* What was held by another question to the server says nothing now; the hold stands. */
static void test_other_question(void **state)
{
    (void)state;
    struct stage s;
    begin(&s);
    refresh(&s, 0, 100, "whole");
    refresh(&s, 0, 40, "part");
    s.o.source_id = 2;
    restart(&s);
    assert_non_null(replica_hold(s.r));
    assert_null(replica_hold(s.r)->change);
    refresh(&s, 0, 50, "other filter");
    expect_held(&s, 50, 0);
    agree(&s);
    assert_true(replica_is_complete(s.r)); /* with what is asked for now */
    restart(&s);
    assert_true(replica_is_complete(s.r));
    assert_int_equal(replica_entries(s.r), 50);
    end(&s);
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
            begin(&s);
            refresh(&s, 0, 100, "whole");
            s.o.ops = &ops;
            restart(&s);
            ops_left = fail_at;
            refresh(&s, 0, 40, "part");
            expect_held(&s, 60, 0);
            if (accepts)
                agree(&s);
            ops_left = 0;
            restart(&s);
            uint64_t n = replica_entries(s.r);
            assert_true(n == 100 || (accepts && n == 40));
            assert_true(str_eq(replica_cookie(s.r), n == 100 ? STR("whole") : STR("part")));
            if (replica_hold(s.r) != NULL && n == 40)
                fail_msg("held, and applied");
            refresh(&s, 0, 40, "part");
            assert_int_equal(replica_entries(s.r), n);
            assert_int_equal(replica_hold(s.r) != NULL, n == 100);
            end(&s);
        }
}

/* ---- grace ---- */

static void begin_with_grace(struct stage *s)
{
    begin(s);
    s->o.grace_ms = 7 * 24 * HOUR;
    restart(s);
    refresh(s, 0, 100, "whole");
    s->commits = s->entries = 0;
}

static void test_grace(void **state)
{
    (void)state;
    struct stage s;
    struct dir_entry e;
    begin_with_grace(&s);
    refresh(&s, 0, 90, "less");
    assert_int_equal(s.entries, 10);
    assert_int_equal(replica_entries(s.r), 90);
    assert_int_equal(replica_addresses(s.r), 90);
    assert_int_equal(replica_vanished(s.r), 10);
    assert_true(find(&s, 95, &e));
    assert_int_equal(e.vanished_ms, START);
    assert_true(str_eq(e.address[0].local, STR("u95")));
    refresh(&s, 0, 90, "the same"); /* what is gone already is not news */
    assert_int_equal(s.entries, 10);
    refresh(&s, 0, 95, "some are back");
    assert_int_equal(s.entries, 15);
    assert_int_equal(replica_vanished(s.r), 5);
    assert_int_equal(is_there(&s, 94), 1);
    assert_int_equal(is_there(&s, 95), -1);

    clock_fake_advance(s.o.grace_ms - 1);
    replica_expire(s.r);
    assert_int_equal(is_there(&s, 95), -1);
    clock_fake_advance(1);
    replica_expire(s.r);
    assert_int_equal(is_there(&s, 95), 0);
    assert_int_equal(is_there(&s, 94), 1);
    assert_int_equal(replica_vanished(s.r), 0);
    assert_int_equal(replica_entries(s.r), 95);
    assert_true(str_eq(replica_cookie(s.r), STR("some are back")));
    restart(&s);
    assert_int_equal(is_there(&s, 95), 0);
    end(&s);
}

/* Gone, back and gone again: the last time counts. */
static void test_grace_again(void **state)
{
    (void)state;
    struct stage s;
    begin_with_grace(&s);
    delete_one(&s, 5);
    clock_fake_advance(HOUR);
    put(&s, 5, 6, "");
    replica_commit_checked(s.r, STR_NULL);
    delete_one(&s, 5);
    clock_fake_advance(s.o.grace_ms - HOUR / 2);
    replica_expire(s.r);
    assert_int_equal(is_there(&s, 5), -1);
    clock_fake_advance(HOUR);
    replica_expire(s.r);
    assert_int_equal(is_there(&s, 5), 0);
    end(&s);
}

/* Named as present (RFC 4533): it is back as it was. */
static void test_grace_present(void **state)
{
    (void)state;
    struct stage s;
    struct err e;
    unsigned char uuid[DIR_UUID_SIZE];
    begin_with_grace(&s);
    delete_one(&s, 5);
    replica_refresh_begin(s.r);
    for (unsigned i = 0; i < 100; i++) {
        model_uuid(i, uuid);
        replica_present(s.r, uuid);
    }
    assert_true(replica_refresh_end(s.r, true, STR("p"), &e));
    assert_int_equal(is_there(&s, 5), 1);
    assert_int_equal(replica_vanished(s.r), 0);
    end(&s);
}

/* Neither a restart nor a clock that jumps makes it shorter than it should be. */
static void test_grace_and_clocks(void **state)
{
    (void)state;
    struct stage s;
    begin_with_grace(&s);
    int64_t grace = s.o.grace_ms;
    delete_one(&s, 5);
    clock_fake_start(clock_mono_ms(), START + 400 * 24 * HOUR); /* jumps forward while we run */
    replica_expire(s.r);
    assert_int_equal(is_there(&s, 5), -1);
    restart(&s); /* and over a restart: an hour is left to set it right */
    replica_expire(s.r);
    assert_int_equal(is_there(&s, 5), -1);
    clock_fake_advance(HOUR - 1);
    replica_expire(s.r);
    assert_int_equal(is_there(&s, 5), -1);
    clock_fake_start(clock_mono_ms(), START - 24 * HOUR); /* back, over a restart: begins anew */
    restart(&s);
    replica_expire(s.r);
    clock_fake_advance(grace - 1);
    replica_expire(s.r);
    assert_int_equal(is_there(&s, 5), -1);
    clock_fake_advance(1);
    replica_expire(s.r);
    assert_int_equal(is_there(&s, 5), 0);

    delete_one(&s, 6); /* an honest restart half way */
    clock_fake_advance(grace / 2);
    restart(&s);
    replica_expire(s.r);
    clock_fake_advance(grace / 2 - 1);
    replica_expire(s.r);
    assert_int_equal(is_there(&s, 6), -1);
    clock_fake_advance(1);
    replica_expire(s.r);
    assert_int_equal(is_there(&s, 6), 0);
    end(&s);
}

/* Their time runs while a mass change is held, and nothing is applied before a person decides; what
 * is accepted then vanishes with a whole grace period before it. */
static void test_grace_and_hold(void **state)
{
    (void)state;
    struct stage s;
    begin_with_grace(&s);
    delete_one(&s, 5);
    refresh(&s, 50, 100, "half");
    expect_held(&s, 49, 0);
    assert_int_equal(is_there(&s, 6), 1);
    clock_fake_advance(s.o.grace_ms + 1);
    replica_expire(s.r);
    assert_int_equal(is_there(&s, 5), -1);
    agree(&s);
    replica_expire(s.r);
    assert_int_equal(is_there(&s, 5), 0);
    assert_int_equal(is_there(&s, 6), -1);
    assert_int_equal(replica_vanished(s.r), 49);
    restart(&s);
    assert_int_equal(replica_vanished(s.r), 49);
    replica_expire(s.r);
    clock_fake_advance(s.o.grace_ms);
    replica_expire(s.r);
    assert_int_equal(is_there(&s, 6), 0);
    assert_int_equal(replica_entries(s.r), 50);
    end(&s);
}

/* Many at once, some in the snapshot and some in the journal; and none when grace is taken away. */
static void test_grace_of_many(void **state)
{
    (void)state;
    struct stage s;
    begin(&s);
    s.o.grace_ms = HOUR;
    s.o.mass_change_percent = 100;
    restart(&s);
    refresh(&s, 0, 20000, "1");
    refresh(&s, 0, 12000, "2");
    replica_snapshot(s.r);
    refresh(&s, 0, 10000, "3");
    restart(&s);
    assert_int_equal(replica_vanished(s.r), 10000);
    replica_expire(s.r);
    clock_fake_advance(HOUR);
    for (unsigned i = 0; i < 3; i++)
        replica_expire(s.r);
    assert_int_equal(replica_vanished(s.r), 0);
    assert_int_equal(is_there(&s, 11999), 0);
    assert_int_equal(is_there(&s, 19999), 0);
    assert_int_equal(is_there(&s, 9999), 1);
    refresh(&s, 0, 9000, "4");
    assert_int_equal(replica_vanished(s.r), 1000);
    s.o.grace_ms = 0;
    restart(&s);
    replica_expire(s.r);
    assert_int_equal(replica_vanished(s.r), 0);
    end(&s);
}

int main(void)
{
    /* alarms are what is tested here */
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_ + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_held_and_accepted),
        cmocka_unit_test(test_taken_back),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_raised_limits),
        cmocka_unit_test(test_accept_next),
        cmocka_unit_test(test_one_by_one),
        cmocka_unit_test(test_one_by_one_taken_back),
        cmocka_unit_test(test_window_over_restarts),
        cmocka_unit_test(test_damaged_held),
        cmocka_unit_test(test_decided_before_a_crash),
        cmocka_unit_test(test_other_question),
        cmocka_unit_test(test_failing_files),
        cmocka_unit_test(test_grace),
        cmocka_unit_test(test_grace_again),
        cmocka_unit_test(test_grace_present),
        cmocka_unit_test(test_grace_and_clocks),
        cmocka_unit_test(test_grace_and_hold),
        cmocka_unit_test(test_grace_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
