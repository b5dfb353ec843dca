/*
 * directory_override_test.c - overrides: set, changed, unset, read again, after a torn line and
 * beside nonsense.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "directory/override.h"
#include "tests/unit/directory_model.h"

static const char *forest_of(const struct overrides *o, const char *key)
{
    static char text[80];
    struct table_record r;
    struct dir_entry e;
    struct dir_address first;
    if (stack_find_key(overrides_stack(o), str_c(key), hash64(key, strlen(key)), &r, 1) == 0)
        return "none";
    assert_true(table_record_head(&r, &e, &first));
    str_copy(e.flag, text, sizeof(text));
    return text;
}

static void append(const char *folder, const char *text)
{
    char path[300];
    snprintf(path, sizeof(path), "%s/overrides.journal", folder);
    int fd = open(path, O_WRONLY | O_APPEND);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static void test_life(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct err e;
    struct overrides *o = overrides_open(folder, &file_real, &e);
    assert_non_null(o);
    assert_true(overrides_set(o, STR("a@x.test"), STR("new"), STR("me"), &e));
    assert_true(overrides_set(o, STR("\"b\tc\"@x.test"), STR("new"), STR("me"), &e) == false);
    assert_true(overrides_set(o, STR("b@x.test"), STR("new"), STR("tab\tnewline\nname"), &e));
    assert_true(overrides_set(o, STR("a@x.test"), STR("old"), STR("me"), &e));
    assert_true(overrides_unset(o, STR("b@x.test"), STR("me"), &e));
    assert_false(overrides_unset(o, STR("b@x.test"), STR("me"), &e));
    assert_int_equal(e.class, ERR_INPUT);
    assert_false(overrides_unset(o, STR("never@x.test"), STR("me"), &e));
    assert_false(overrides_set(o, STR("nobody"), STR("old"), STR("me"), &e));
    assert_false(overrides_set(o, STR("a@"), STR("old"), STR("me"), &e));
    for (unsigned i = 0; i < 300; i++) {
        char key[40];
        snprintf(key, sizeof(key), "u%u@x.test", i);
        assert_true(overrides_set(o, str_c(key), STR("new"), STR("wave"), &e));
    }
    for (unsigned round = 0; round < 4; round++) {
        assert_string_equal(forest_of(o, "a@x.test"), "old");
        assert_string_equal(forest_of(o, "b@x.test"), "none");
        assert_string_equal(forest_of(o, "u299@x.test"), "new");
        overrides_close(&o);
        if (round == 1)
            append(folder, "2026-01-01T00:00:00Z\tunset\ta@x.test\t-\tme"); /* torn: not counted */
        if (round == 2)
            append(folder, "nonsense\n\tset\t\t\t\n\tset\tz@x.test\tnew\tme\n");
        o = overrides_open(folder, &file_real, &e);
        assert_non_null(o);
    }
    assert_string_equal(forest_of(o, "z@x.test"), "new"); /* good lines beside bad ones count */
    overrides_close(&o);
    model_remove_folder(folder);
    assert_null(overrides_open("/nonexistent", &file_real, &e));
}

/* ---- compaction ---- */

static bool no_journal;

static int f_open(const char *path, int flags, mode_t mode)
{
    size_t n = strlen(path), m = strlen(".journal");
    if (no_journal && n > m && strcmp(path + n - m, ".journal") == 0) {
        errno = EMFILE;
        return -1;
    }
    return file_real.open(path, flags, mode);
}

static int f_fsync(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    if (!no_journal || !S_ISDIR(st.st_mode))
        return file_real.fsync(fd);
    errno = EIO; /* the new file has its name already */
    return -1;
}

static void make_long(const char *folder)
{
    static char line[17 << 20];
    memset(line, 'x', sizeof(line) - 1);
    memcpy(line, "t\tset\tl@x.test\tnew\t", 19);
    line[sizeof(line) - 2] = '\n';
    append(folder, line);
}

static off_t length(const char *folder)
{
    char path[300];
    struct stat st;
    snprintf(path, sizeof(path), "%s/overrides.journal", folder);
    assert_int_equal(stat(path, &st), 0);
    return st.st_size;
}

/* The journal is rewritten and cannot be opened again, or the rewriting ends with an error after
 * the new file is in place: what is acknowledged is kept all the same. */
static void test_compaction(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        const char *folder = model_folder();
        struct file_ops ops = file_real;
        struct err e;
        if (kind == 1)
            ops.open = f_open;
        if (kind == 2)
            ops.fsync = f_fsync;
        struct overrides *o = overrides_open(folder, &ops, &e);
        assert_non_null(o);
        make_long(folder);
        assert_true(length(folder) > 17000000);
        overrides_close(&o);
        o = overrides_open(folder, &ops, &e);
        assert_non_null(o);
        no_journal = true;
        assert_true(overrides_set(o, STR("a@x.test"), STR("new"), STR("me"), &e));
        if (kind == 1) {
            assert_false(overrides_set(o, STR("b@x.test"), STR("new"), STR("me"), &e));
            assert_int_equal(e.errnum, EMFILE);
            assert_string_equal(forest_of(o, "b@x.test"), "none");
        }
        no_journal = false;
        assert_true(length(folder) < 1000);
        assert_true(overrides_set(o, STR("c@x.test"), STR("new"), STR("me"), &e));
        assert_true(overrides_unset(o, STR("l@x.test"), STR("me"), &e));
        overrides_close(&o);
        o = overrides_open(folder, &ops, &e);
        assert_non_null(o);
        assert_string_equal(forest_of(o, "a@x.test"), "new");
        assert_string_equal(forest_of(o, "b@x.test"), "none");
        assert_string_equal(forest_of(o, "c@x.test"), "new");
        assert_string_equal(forest_of(o, "l@x.test"), "none");
        overrides_close(&o);
        model_remove_folder(folder);
    }
}

int main(void)
{
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_ + 1);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_life),
                                       cmocka_unit_test(test_compaction)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
