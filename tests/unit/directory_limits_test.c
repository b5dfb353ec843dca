/*
 * directory_limits_test.c - a source with more entries, or an entry with more addresses, than the
 * limits allow: nothing of it is applied, the error names the limit, and the source goes on when it
 * is back within them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/clock.h"
#include "directory/replica.h"
#include "tests/unit/directory_model.h"

struct limited {
    const char *folder;
    struct replica *r;
    unsigned published;
};

static void count(void *arg, const struct replica_commit *c)
{
    struct limited *l = arg;
    l->published += c->n_entries != 0;
}

static void begin_with(struct limited *l, unsigned entries_max, int64_t grace_ms)
{
    struct err e;
    *l = (struct limited){.folder = model_folder()};
    struct replica_options o = {.folder = l->folder,
                                .name = "s",
                                .mass_change_percent = 100,
                                .grace_ms = grace_ms,
                                .entries_max = entries_max,
                                .addresses_max = 2,
                                .publish = count,
                                .arg = l};
    l->r = replica_open(&o, &e);
    assert_non_null(l->r);
}

static void begin(struct limited *l)
{
    begin_with(l, 3, 0);
}

static void end(struct limited *l)
{
    replica_close(&l->r);
    model_remove_folder(l->folder);
}

static void put(struct limited *l, unsigned id, const char *text)
{
    assert_true(replica_upsert(l->r, model_entry(id, text)));
}

static const char *const person[] = {"mailbox a@x.test", "mailbox b@x.test", "mailbox c@x.test",
                                     "mailbox d@x.test", "mailbox e@x.test"};

/* A whole refresh with the first n people; "" or why it was refused. */
static const char *refresh(struct limited *l, unsigned n)
{
    static struct err e;
    replica_refresh_begin(l->r);
    for (unsigned i = 0; i < n; i++)
        put(l, i, person[i]);
    return replica_refresh_end(l->r, true, STR("whole"), &e) ? "" : e.text;
}

static void test_entries(void **state)
{
    struct limited l;
    struct err e;
    (void)state;
    begin(&l);
    const char *more = "there are more entries than entries_max = 3 allows; nothing was applied";
    assert_string_equal(refresh(&l, 5), more);
    assert_int_equal(replica_entries(l.r), 0);
    assert_false(replica_is_complete(l.r));
    assert_int_equal(l.published, 0);
    assert_string_equal(refresh(&l, 3), "");
    assert_int_equal(replica_entries(l.r), 3);
    assert_string_equal(refresh(&l, 4), more);
    assert_string_equal(refresh(&l, 2), ""); /* it is smaller again */

    put(&l, 2, person[2]);
    assert_true(replica_commit_checked(l.r, STR("1"), &e));
    put(&l, 3, person[3]);
    put(&l, 0, "group a@x.test");
    assert_false(replica_commit_checked(l.r, STR("2"), &e));
    assert_string_equal(e.text, "there would be 4 entries, more than entries_max = 3 allows; "
                                "nothing was applied");
    assert_int_equal(replica_batch(l.r), 0);
    assert_true(str_eq(replica_cookie(l.r), STR("1")));
    unsigned char uuid[DIR_UUID_SIZE]; /* one goes, one comes */
    model_uuid(1, uuid);
    replica_delete(l.r, uuid);
    put(&l, 3, person[3]);
    assert_true(replica_commit_checked(l.r, STR("2"), &e));
    assert_int_equal(replica_entries(l.r), 3);
    end(&l);
}

static void test_addresses(void **state)
{
    struct limited l;
    struct err e;
    (void)state;
    begin(&l);
    assert_string_equal(refresh(&l, 2), "");
    put(&l, 0, "mailbox a@x.test a2@x.test");
    assert_true(replica_commit_checked(l.r, STR("1"), &e));
    put(&l, 1, "group b@x.test");
    put(&l, 0, "mailbox a@x.test a2@x.test a3@x.test");
    assert_false(replica_commit_checked(l.r, STR("2"), &e));
    assert_string_equal(e.text, "a@x.test has 3 addresses, more than addresses_max = 2 allows; "
                                "nothing was applied");
    assert_true(str_eq(replica_cookie(l.r), STR("1")));
    replica_refresh_begin(l.r);
    put(&l, 0, "mailbox a@x.test a2@x.test a3@x.test");
    put(&l, 1, "group b@x.test");
    assert_false(replica_refresh_end(l.r, true, STR("2"), &e));
    assert_non_null(strstr(e.text, "a@x.test has 3 addresses"));
    assert_true(replica_commit_checked(l.r, STR("3"), &e)); /* nothing of it is left */
    assert_int_equal(l.published, 2);
    end(&l);
}

/* What is committed in between does not make anybody forget that something was left out. */
static void test_commits_between(void **state)
{
    struct limited l;
    struct err e;
    char text[60];
    (void)state;
    begin_with(&l, 10000, 0);
    replica_refresh_begin(l.r); /* a first sync that breaks off */
    for (unsigned i = 0; i < 6000; i++) {
        snprintf(text, sizeof(text), "mailbox u%u@x.test", i);
        put(&l, i, text);
    }
    replica_commit(l.r, STR_NULL);
    replica_refresh_begin(l.r);
    put(&l, 7000, "mailbox a@x.test a2@x.test a3@x.test");
    assert_false(replica_refresh_end(l.r, true, STR("1"), &e));
    assert_false(replica_is_complete(l.r));
    assert_int_equal(replica_entries(l.r), 6000);
    assert_int_equal(replica_cookie(l.r).n, 0);
    end(&l);

    clock_fake_start(1000000, 1000000000);
    begin_with(&l, 3, 1000);
    assert_string_equal(refresh(&l, 3), "");
    assert_string_equal(refresh(&l, 2), "");
    put(&l, 0, "mailbox a@x.test a2@x.test a3@x.test");
    clock_fake_advance(1000);
    replica_tick(l.r); /* the third one's time is over */
    assert_false(replica_commit_checked(l.r, STR("2"), &e));
    assert_true(str_eq(replica_cookie(l.r), STR("whole")));
    replica_tick(l.r);
    assert_int_equal(replica_vanished(l.r), 0);
    end(&l);
    clock_fake_stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_entries),
                                       cmocka_unit_test(test_addresses),
                                       cmocka_unit_test(test_commits_between)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
