/*
 * directory_manual_test.c - a source that is told its entries by hand: what is taken, what is
 * refused whole, when it is complete, that it is on disk when it says so, and its end.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "directory/directory.h"
#include "tests/unit/directory_model.h"
#include "tests/unit/directory_world.h"

#define TENANT(more) WORLD_BASE "source \"tenant\" { type = manual forest = \"new\" " more " }\n"
#define FLAGS        "flag_values = {\"source = old\", \"target = new\"}"

struct office {
    const char *folder;
    struct conf *conf;
    struct directory *directory;
    struct manual_box *box;
};

static void office_open(struct office *o, const char *conf)
{
    struct err e;
    o->conf = world_conf(conf);
    o->directory = directory_open(o->conf, o->folder, &e);
    assert_non_null(o->directory);
    directory_start(o->directory);
    o->box = directory_manual_box(o->directory, STR("tenant"), &e);
    assert_non_null(o->box);
}

static void office_close(struct office *o)
{
    manual_box_unref(&o->box);
    directory_close(&o->directory);
    conf_unref(&o->conf);
}

/* "found new", "not found", "not found yet" */
static const char *look(const struct office *o, const char *key)
{
    static char text[100];
    struct dir_result *r = mem_alloc(sizeof(*r));
    struct dir_view *v = directory_view(o->directory);
    dir_view_lookup(v, str_c(key), clock_mono_ms(), r);
    if (r->best != NULL)
        snprintf(text, sizeof(text), "found %.*s", STR_ARG(r->best->forest));
    else
        snprintf(text, sizeof(text), r->found == DIR_NOT_FOUND ? "not found" : "not found yet");
    dir_view_unref(&v);
    mem_free(r);
    return text;
}

/* "2 of 3", or what was wrong */
static const char *ask(const struct office *o, struct manual_change c)
{
    static struct err e;
    static char text[64];
    if (!manual_ask(o->box, &c, &e))
        return e.text;
    snprintf(text, sizeof(text), "%u of %u", c.changed, c.rows);
    return text;
}

static const char *load(const struct office *o, const char *csv)
{
    return ask(o, (struct manual_change){.csv = str_c(csv)});
}

static const char *forget(const struct office *o, const char *address)
{
    return ask(o, (struct manual_change){.forget = str_c(address)});
}

static void test_changes(void **state)
{
    struct office o = {.folder = model_folder()};
    (void)state;
    office_open(&o, TENANT(FLAGS));
    assert_string_equal(look(&o, "ann@x.test"), "not found yet");
    assert_string_equal(load(&o, "address,flag\nann@x.test,\nbob@x.test,source\n"), "2 of 2");
    assert_string_equal(look(&o, "ann@x.test"), "found new");
    assert_string_equal(look(&o, "bob@x.test"), "found old");
    assert_string_equal(load(&o, "address,flag\nANN@x.test,\nbob@x.test,target\n"), "2 of 2");
    assert_string_equal(load(&o, "address,flag\nANN@x.test,\nbob@x.test,target\n"), "0 of 2");
    assert_string_equal(look(&o, "bob@x.test"), "found new");
    assert_string_equal(look(&o, "eve@x.test"), "not found");
    /* the whole recipient is said each time */
    assert_string_equal(load(&o, "address,proxies\nbob@x.test,b@x.test\n"), "1 of 1");
    assert_string_equal(look(&o, "b@x.test"), "found new");
    assert_non_null(strstr(forget(&o, "b@x.test"), "b@x.test is an address of bob@x.test; delete"));
    assert_string_equal(load(&o, "address\nbob@x.test\n"), "1 of 1");
    assert_string_equal(look(&o, "b@x.test"), "not found");
    assert_string_equal(forget(&o, "Bob@X.test"), "1 of 1");
    assert_string_equal(look(&o, "bob@x.test"), "not found");
    assert_string_equal(forget(&o, "bob@x.test"), "source \"tenant\" has no recipient bob@x.test");
    office_close(&o);
    model_remove_folder(o.folder);
}

/* A word from a person makes the source begin anew; who tells it something need not notice. */
static void test_interrupted(void **state)
{
    struct office o = {.folder = model_folder()};
    struct err e;
    (void)state;
    office_open(&o, TENANT(""));
    for (unsigned i = 0; i < 20; i++) {
        assert_true(directory_accept_next(o.directory, STR("tenant"), STR("me"), &e));
        assert_string_equal(
            load(&o, i % 2 == 0 ? "address,kind\nann@x.test,group\n" : "address\nann@x.test\n"),
            "1 of 1");
    }
    office_close(&o);
    model_remove_folder(o.folder);
}

static void test_refusals(void **state)
{
    struct office o = {.folder = model_folder()};
    struct err e;
    (void)state;
    office_open(&o, TENANT(FLAGS));
    assert_string_equal(load(&o, "address\nann@x.test\nnobody\n"),
                        "line 3: column 1 (address): \"nobody\" is no usable address, or is too "
                        "long; write one like user@example.org");
    assert_string_equal(look(&o, "ann@x.test"), "not found yet");
    assert_string_equal(
        ask(&o, (struct manual_change){.csv = STR("address\nnobody\n"), .skip = 70}),
        "line 72: column 1 (address): \"nobody\" is no usable address, or is too "
        "long; write one like user@example.org");
    assert_string_equal(load(&o, "address,kind\n,mailbox\n"),
                        "line 2: no address; each row needs one");
    assert_string_equal(
        ask(&o, (struct manual_change){.csv = STR("address\nann@x.test\n"), .check = true}),
        "0 of 1");
    assert_string_equal(look(&o, "ann@x.test"), "not found yet");
    assert_null(directory_manual_box(o.directory, STR("nobody"), &e));
    assert_string_equal(e.text, "there is no source \"nobody\", or its files cannot be opened");
    office_close(&o);
    model_remove_folder(o.folder);
}

/* The parts of a load do not make the recipients of the later ones unknown. */
static void test_complete_at_the_end(void **state)
{
    struct office o = {.folder = model_folder()};
    (void)state;
    office_open(&o, TENANT(""));
    struct manual_change part = {.csv = STR("address\nann@x.test\n"), .more = true};
    assert_string_equal(ask(&o, part), "1 of 1");
    assert_string_equal(look(&o, "ann@x.test"), "found new");
    assert_string_equal(look(&o, "bob@x.test"), "not found yet");
    office_close(&o); /* and a part is kept, too */
    office_open(&o, TENANT(""));
    assert_string_equal(look(&o, "ann@x.test"), "found new");
    assert_string_equal(look(&o, "bob@x.test"), "not found yet");
    part.more = false;
    assert_string_equal(ask(&o, part), "0 of 1");
    assert_string_equal(look(&o, "bob@x.test"), "not found");
    office_close(&o);
    model_remove_folder(o.folder);
}

static void test_restart(void **state)
{
    struct office o = {.folder = model_folder()};
    (void)state;
    office_open(&o, TENANT(""));
    assert_string_equal(load(&o, "address,x\nann@x.test,\nbob@x.test,\n"), "2 of 2");
    assert_string_equal(forget(&o, "bob@x.test"), "1 of 1");
    office_close(&o);
    office_open(&o, TENANT(FLAGS " routing_attribute = \"r\"")); /* nobody would tell it again */
    assert_string_equal(look(&o, "ann@x.test"), "found new");
    assert_string_equal(look(&o, "bob@x.test"), "not found");
    office_close(&o);
    model_remove_folder(o.folder);
}

/* How old is what was kept? With a clock that is behind at the start nobody knows, so nobody is
 * called unknown until the source itself has spoken. */
static void test_clock_behind(void **state)
{
    static const struct {
        int64_t ahead_ms;
        const char *eve;
    } row[] = {{7200000, "not found"},
               {25 * INT64_C(3600000), "not found yet"},
               {-1000, "not found"},
               {-7200000, "not found yet"}};
    struct office o = {.folder = model_folder()};
    (void)state;
    office_open(&o, TENANT(""));
    assert_string_equal(load(&o, "address\nann@x.test\n"), "1 of 1");
    office_close(&o);
    for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
        struct err e;
        o.conf = world_conf(TENANT(""));
        clock_fake_start(clock_mono_ms(), clock_wall_ms() + row[i].ahead_ms);
        o.directory = directory_open(o.conf, o.folder, &e);
        assert_non_null(o.directory);
        assert_string_equal(look(&o, "ann@x.test"), "found new");
        assert_string_equal(look(&o, "eve@x.test"), row[i].eve);
        clock_fake_stop();
        office_close(&o);
    }
    office_open(&o, TENANT(""));
    assert_string_equal(look(&o, "eve@x.test"), "not found");
    office_close(&o);
    model_remove_folder(o.folder);
}

/* Its files cannot be opened at a reload: what it said last is used until they can. */
static void test_not_reopened(void **state)
{
    struct office o = {.folder = model_folder()};
    struct dir_source_status s;
    char journal[300], away[300];
    (void)state;
    snprintf(journal, sizeof(journal), "%s/directory-tenant.journal", o.folder);
    snprintf(away, sizeof(away), "%s/away", o.folder);
    office_open(&o, TENANT(""));
    assert_string_equal(load(&o, "address\nann@x.test\n"), "1 of 1");
    manual_box_unref(&o.box);
    assert_int_equal(rename(journal, away), 0);
    assert_int_equal(mkdir(journal, 0700), 0);
    struct conf *c = world_conf(TENANT("entries_max = 7"));
    for (unsigned i = 0; i < 3; i++) {
        if (i < 2)
            directory_reload(o.directory, c);
        else
            assert_false(directory_reopen(o.directory));
        assert_int_equal(directory_status(o.directory, &s, 1), 1);
        assert_int_equal(s.state, DIR_SOURCE_FAILING);
        assert_string_equal(look(&o, "ann@x.test"), "found new");
        assert_string_equal(look(&o, "eve@x.test"), "not found yet");
    }
    assert_int_equal(rmdir(journal), 0);
    assert_int_equal(rename(away, journal), 0);
    assert_true(directory_reopen(o.directory));
    assert_true(directory_reopen(o.directory)); /* nothing is missing */
    assert_string_equal(look(&o, "ann@x.test"), "found new");
    struct err e;
    o.box = directory_manual_box(o.directory, STR("tenant"), &e);
    assert_non_null(o.box);
    assert_string_equal(load(&o, "address\nbob@x.test\n"), "1 of 1"); /* it is at work */
    conf_unref(&c);
    office_close(&o);
    model_remove_folder(o.folder);
}

static void *ask_until_closed(void *arg)
{
    struct manual_box *box = arg;
    struct manual_change c = {.csv = STR("address\nann@x.test\n")};
    struct err e;
    while (manual_ask(box, &c, &e))
        ;
    assert_int_equal(e.class, ERR_BUSY);
    manual_box_unref(&box);
    return NULL;
}

static void test_end(void **state)
{
    struct office o = {.folder = model_folder()};
    pthread_t thread[3];
    (void)state;
    office_open(&o, TENANT(""));
    for (unsigned i = 0; i < 3; i++)
        pthread_create(&thread[i], NULL, ask_until_closed, manual_box_ref(o.box));
    for (unsigned i = 0; i < 50; i++)
        load(&o, i % 2 == 0 ? "address,kind\nann@x.test,group\n" : "address\nann@x.test\n");
    struct conf *c = world_conf(WORLD_BASE WORLD_SOURCE("hr", "old", "1", ""));
    directory_reload(o.directory, c);
    for (unsigned i = 0; i < 3; i++)
        pthread_join(thread[i], NULL);
    assert_non_null(strstr(forget(&o, "ann@x.test"), "the source was removed"));
    office_close(&o);
    conf_unref(&c);
    model_remove_folder(o.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes),      cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_complete_at_the_end),
        cmocka_unit_test(test_restart),      cmocka_unit_test(test_clock_behind),
        cmocka_unit_test(test_not_reopened), cmocka_unit_test(test_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
