/*
 * directory_override_test.c - moves by hand: waves that lie on each other, begin and end in any
 * order, and are found again after a restart, a torn end, or beside nonsense.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/log.h"
#include "directory/override/override.h"
#include "directory/override/override_line.h"
#include "tests/unit/directory_model.h"

static struct err e;

static const char *forest_of(const struct overrides *o, const char *key)
{
    static char text[80];
    struct table_record r;
    struct dir_entry entry;
    struct dir_address first;
    if (stack_find_key(overrides_stack(o), str_c(key), hash64(key, strlen(key)), &r, 1) == 0)
        return "none";
    assert_true(table_record_head(&r, &entry, &first));
    str_copy(entry.flag, text, sizeof(text));
    return text;
}

/* "a@x.test=new b@x.test=old"; nothing behind the "=": unset. */
static uint32_t order_at(struct overrides *o, const char *moves, int64_t at_ms, int64_t until_ms)
{
    struct wave_move m[20];
    struct str rest = str_c(moves);
    uint32_t id = 0;
    unsigned n = 0;
    while (rest.n != 0) {
        struct str one = str_split(&rest, ' ');
        m[n].key = str_split(&one, '=');
        m[n++].forest = one;
    }
    const struct wave_order w = {.n = n,
                                 .move = m,
                                 .who = STR("me"),
                                 .why = STR("a test"),
                                 .at_ms = at_ms,
                                 .until_ms = until_ms};
    return overrides_order(o, &w, 7, &id, &e) ? id : 0;
}

static uint32_t order(struct overrides *o, const char *moves)
{
    return order_at(o, moves, 0, 0);
}

static void undo(struct overrides *o, uint32_t id)
{
    assert_true(overrides_undo(o, id, STR_NULL, STR("you"), 8, &e));
}

static const char *path_of(const char *folder)
{
    static char path[300];
    snprintf(path, sizeof(path), "%s/overrides.journal", folder);
    return path;
}

static void append(const char *folder, const char *text)
{
    int fd = open(path_of(folder), O_WRONLY | O_APPEND);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static struct overrides *again(struct overrides *o, const char *folder)
{
    overrides_close(&o);
    o = overrides_open(folder, &file_real, &e);
    assert_non_null(o);
    return o;
}

static off_t length(const char *folder)
{
    struct stat st;
    assert_int_equal(stat(path_of(folder), &st), 0);
    return st.st_size;
}

static void make_long(const char *folder)
{
    static char line[17 << 20];
    memset(line, 'x', sizeof(line) - 1);
    memcpy(line, "t\tset\tl@x.test\tnew\t", 19);
    line[sizeof(line) - 2] = '\n';
    append(folder, line);
}

/* ---- one after the other ---- */

static void test_life(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct overrides *o = overrides_open(folder, &file_real, &e);
    assert_non_null(o);
    assert_int_equal(order(o, "a@x.test=new b@x.test=new"), 1);
    assert_int_equal(order(o, "\"b\tc\"@x.test=new"), 0);
    assert_int_equal(order(o, "c@x.test=new nobody=new"), 0); /* all or nothing */
    assert_string_equal(forest_of(o, "c@x.test"), "none");
    assert_int_equal(order(o, "a@=new"), 0);
    assert_int_equal(order(o, ""), 0);
    assert_int_equal(order(o, "a@x.test=old"), 2);
    assert_int_equal(order(o, "b@x.test="), 3);
    for (unsigned i = 0; i < 300; i++) {
        char key[40];
        snprintf(key, sizeof(key), "u%u@x.test=new", i);
        assert_int_equal(order(o, key), 4 + i);
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
    assert_string_equal(forest_of(o, "z@x.test"), "new"); /* as older versions wrote it */
    assert_int_equal(overrides_find_key(o, STR("z@x.test"))->wave->id, 304);
    assert_int_equal(order(o, "y@x.test=new"), 305);
    o = again(o, folder);
    const struct wave *w = overrides_find(o, 305);
    assert_int_equal(w->state, WAVE_ACTIVE);
    assert_int_equal(w->generation, 7);
    assert_true(str_eq(w->who, STR("me")) && str_eq(w->why, STR("a test")));
    assert_null(overrides_find(o, 306));
    overrides_close(&o);
    model_remove_folder(folder);
    assert_null(overrides_open("/nonexistent", &file_real, &e));
}

/* Waves end in another order than they began; each address shows the newest that is left. */
static void test_layers(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct overrides *o = overrides_open(folder, &file_real, &e);
    struct wave_address *const *changed;
    assert_int_equal(order(o, "a@x.test=one b@x.test=one"), 1);
    assert_int_equal(order(o, "a@x.test=two"), 2);
    assert_int_equal(order_at(o, "a@x.test=three b@x.test=three", 5000, 9000), 3);
    assert_int_equal(overrides_changed(o, &changed), 0);
    assert_string_equal(forest_of(o, "a@x.test"), "two");
    assert_int_equal(overrides_find_key(o, STR("a@x.test"))->wave->id, 3);
    assert_int_equal(overrides_effective(o, STR("a@x.test"))->wave->id, 2);
    undo(o, 1); /* under the second: only b changes */
    assert_int_equal(overrides_changed(o, &changed), 1);
    assert_true(str_eq(changed[0]->key, STR("b@x.test")));
    assert_string_equal(forest_of(o, "a@x.test"), "two");
    assert_string_equal(forest_of(o, "b@x.test"), "none");
    assert_int_equal(order(o, "b@x.test=four"), 4);
    assert_true(overrides_begin(o, 3, 9, &e)); /* planned earlier, begins later: it counts */
    assert_false(overrides_begin(o, 3, 9, &e));
    assert_string_equal(forest_of(o, "b@x.test"), "three");
    o = again(o, folder);
    assert_string_equal(forest_of(o, "b@x.test"), "three");
    assert_true(overrides_undo(o, 3, STR("b@x.test"), STR("you"), 10, &e));
    assert_false(overrides_undo(o, 3, STR("b@x.test"), STR("you"), 10, &e));
    assert_false(overrides_undo(o, 4, STR("a@x.test"), STR("you"), 10, &e));
    assert_string_equal(forest_of(o, "b@x.test"), "four");
    assert_string_equal(forest_of(o, "a@x.test"), "three");
    assert_true(overrides_expire(o, 3, 11, &e));
    assert_false(overrides_expire(o, 3, 11, &e));
    assert_false(overrides_undo(o, 3, STR_NULL, STR("you"), 11, &e));
    assert_string_equal(e.text, "wave 3 is expired already");
    o = again(o, folder);
    assert_string_equal(forest_of(o, "a@x.test"), "two");
    assert_int_equal(overrides_find(o, 3)->state, WAVE_EXPIRED);
    assert_int_equal(overrides_find(o, 1)->state, WAVE_UNDONE);
    assert_true(str_eq(overrides_find(o, 1)->ended_by, STR("you")));
    assert_int_equal(order(o, "a@x.test="), 5);
    assert_string_equal(forest_of(o, "a@x.test"), "none");
    undo(o, 5); /* unset is a move like any other */
    assert_string_equal(forest_of(o, "a@x.test"), "two");
    undo(o, 2);
    undo(o, 4);
    assert_string_equal(forest_of(o, "a@x.test"), "none");
    assert_null(overrides_find_key(o, STR("a@x.test")));
    overrides_close(&o);
    model_remove_folder(folder);
}

/* A wave written to a directory overrides nothing. */
static void test_written(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct overrides *o = overrides_open(folder, &file_real, &e);
    const struct wave_move m = {STR("a@x.test"), STR("new"), STR("source")};
    const struct wave_order w = {.n = 1, .move = &m, .who = STR("me"), .written = true};
    uint32_t id;
    assert_true(overrides_order(o, &w, 0, &id, &e));
    for (unsigned round = 0; round < 2; round++) {
        const struct wave_address *a = overrides_find_key(o, STR("a@x.test"));
        assert_true(a->wave->written && str_eq(a->previous, STR("source")));
        assert_string_equal(forest_of(o, "a@x.test"), "none");
        assert_null(overrides_effective(o, STR("a@x.test")));
        o = again(o, folder);
    }
    undo(o, id);
    assert_int_equal(overrides_find(o, id)->state, WAVE_UNDONE);
    overrides_close(&o);
    model_remove_folder(folder);
}

/* ---- crashes ---- */

/* Cut anywhere, the journal gives what was acknowledged before the cut, and no half of a wave. */
static void test_cut_anywhere(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct overrides *o = overrides_open(folder, &file_real, &e);
    assert_int_equal(order(o, "a@x.test=one b@x.test=one c@x.test=one"), 1);
    off_t first = length(folder);
    assert_int_equal(order_at(o, "a@x.test=two b@x.test=two", 5000, 0), 2);
    off_t second = length(folder);
    assert_true(overrides_begin(o, 2, 8, &e));
    off_t third = length(folder);
    undo(o, 1);
    off_t all = length(folder);
    overrides_close(&o);
    struct buf journal = BUF_INIT(1 << 20);
    assert_true(file_read_all(path_of(folder), &journal, &e));
    for (off_t cut = 0; cut <= all; cut++) {
        assert_true(file_replace(&file_real, path_of(folder), journal.p, (size_t)cut, 0600, &e));
        o = overrides_open(folder, &file_real, &e);
        assert_non_null(o);
        assert_string_equal(forest_of(o, "a@x.test"), cut < first   ? "none"
                                                      : cut < third ? "one"
                                                                    : "two");
        assert_string_equal(forest_of(o, "c@x.test"), cut < first ? "none"
                                                      : cut < all ? "one"
                                                                  : "none");
        assert_int_equal(length(folder), cut < first    ? 0
                                         : cut < second ? first
                                         : cut < third  ? second
                                         : cut < all    ? third
                                                        : all);
        uint32_t next = cut < first ? 1 : cut < second ? 2 : 3;
        assert_int_equal(order(o, "d@x.test=one"), next);
        o = again(o, folder);
        assert_string_equal(forest_of(o, "d@x.test"), "one");
        overrides_close(&o);
    }
    buf_free(&journal);
    model_remove_folder(folder);
}

static bool sync_fails;

static int f_fdatasync(int fd)
{
    if (!sync_fails)
        return file_real.fdatasync(fd);
    errno = EIO;
    return -1;
}

/* What is not on the disk does not count, nor after the next start. */
static void test_sync_fails(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct file_ops ops = file_real;
    ops.fdatasync = f_fdatasync;
    struct overrides *o = overrides_open(folder, &ops, &e);
    assert_int_equal(order(o, "a@x.test=one"), 1);
    sync_fails = true;
    assert_int_equal(order(o, "a@x.test=two b@x.test=two"), 0);
    assert_false(overrides_undo(o, 1, STR_NULL, STR("you"), 8, &e));
    sync_fails = false;
    for (unsigned round = 0; round < 2; round++) {
        assert_string_equal(forest_of(o, "a@x.test"), "one");
        assert_string_equal(forest_of(o, "b@x.test"), "none");
        assert_null(overrides_find(o, 2));
        o = again(o, folder);
    }
    overrides_close(&o);
    model_remove_folder(folder);
}

static bool replace_fails;

static int f_ftruncate(int fd, off_t size)
{
    if (!sync_fails)
        return file_real.ftruncate(fd, size);
    errno = EIO;
    return -1;
}

static int f_rename(const char *from, const char *to)
{
    if (!replace_fails)
        return file_real.rename(from, to);
    errno = EIO;
    return -1;
}

/* A refused order is not in the file that the next start finds; and while it may be in there,
 * nothing else is taken. */
static void test_refused_stays_refused(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 2; kind++) {
        const char *folder = model_folder();
        struct file_ops ops = file_real;
        ops.fdatasync = f_fdatasync;
        ops.ftruncate = f_ftruncate;
        ops.rename = f_rename;
        struct overrides *o = overrides_open(folder, &ops, &e);
        assert_int_equal(order(o, "a@x.test=one"), 1);
        sync_fails = true;
        replace_fails = kind == 1;
        assert_int_equal(order(o, "a@x.test=two b@x.test=two"), 0);
        sync_fails = false;
        if (replace_fails) {
            assert_int_equal(order(o, "c@x.test=one"), 0);
            assert_int_equal(e.errnum, EIO);
            assert_false(overrides_undo(o, 1, STR_NULL, STR("you"), 8, &e));
            assert_string_equal(forest_of(o, "a@x.test"), "one");
            replace_fails = false;
            assert_int_equal(order(o, "c@x.test=one"), 2);
        }
        struct overrides *crashed = o;
        o = overrides_open(folder, &file_real, &e);
        assert_non_null(o);
        assert_string_equal(forest_of(o, "a@x.test"), "one");
        assert_string_equal(forest_of(o, "b@x.test"), "none");
        assert_string_equal(forest_of(o, "c@x.test"), kind == 1 ? "one" : "none");
        overrides_close(&o);
        overrides_close(&crashed);
        model_remove_folder(folder);
    }
}

/* A part of the last wave never reached the disk, though its end did: none of it counts. */
static void test_hole(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct overrides *o = overrides_open(folder, &file_real, &e);
    assert_int_equal(order(o, "a@x.test=one b@x.test=one"), 1);
    off_t first = length(folder);
    assert_int_equal(order(o, "a@x.test=two b@x.test=two c@x.test=two d@x.test=two"), 2);
    off_t all = length(folder);
    overrides_close(&o);
    struct buf journal = BUF_INIT(1 << 20);
    assert_true(file_read_all(path_of(folder), &journal, &e));
    size_t hole = (size_t)(all - first) / 3; /* longer than a line */
    for (size_t at = (size_t)first; at + hole <= (size_t)all; at++) {
        for (unsigned kind = 0; kind < 2; kind++) {
            char *text = malloc(journal.n);
            memcpy(text, journal.p, journal.n);
            memset(text + at, kind == 0 ? '\0' : 'x', hole);
            assert_true(file_replace(&file_real, path_of(folder), text, journal.n, 0600, &e));
            free(text);
            o = overrides_open(folder, &file_real, &e);
            for (unsigned round = 0; round < 2; round++) {
                assert_string_equal(forest_of(o, "a@x.test"), "one");
                assert_string_equal(forest_of(o, "b@x.test"), "one");
                assert_string_equal(forest_of(o, "c@x.test"), "none");
                assert_string_equal(forest_of(o, "d@x.test"), round == 0 ? "none" : "three");
                if (round == 0)
                    assert_true(order(o, "d@x.test=three"));
                o = again(o, folder);
            }
            overrides_close(&o);
        }
    }
    buf_free(&journal);
    model_remove_folder(folder);
}

/* Commit lines of older versions say only how many addresses were ordered. */
static void test_older_commit(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct overrides *o = overrides_open(folder, &file_real, &e);
    overrides_close(&o);
    append(folder, "t\tset\ta@x.test\tnew\tme\t-\t1\t-\t1\t-\t-\n"
                   "t\tset\tb@x.test\tnew\tme\t-\t1\t-\t1\t-\t-\n"
                   "t\tcommit\t-\t-\tme\t-\t1\t5\t1\t-\t-\n"
                   "t\tset\tc@x.test\tnew\tme\t-\t1\t-\t2\t-\t-\n"
                   "t\tset\td@x.test\tnew\tme\t-\t1\t-\t2\t-\t-\n"
                   "t\tcommit\t-\t-\tme\t-\t1\t1\t2\t-\t-\n");
    make_long(folder);
    o = overrides_open(folder, &file_real, &e);
    for (unsigned round = 0; round < 3; round++) {
        assert_string_equal(forest_of(o, "a@x.test"), "new");
        assert_string_equal(forest_of(o, "b@x.test"), round == 0 ? "new" : "none");
        assert_string_equal(forest_of(o, "c@x.test"), "none");
        assert_int_equal(overrides_find(o, 1)->n_made, 5);
        if (round == 0) {
            assert_true(overrides_undo(o, 1, STR("b@x.test"), STR("you"), 8, &e));
            overrides_tidy(o);
            assert_true(length(folder) < 2000);
        }
        o = again(o, folder);
    }
    overrides_close(&o);
    model_remove_folder(folder);
}

/* ---- much at once ---- */

static unsigned n_syncs;

static int counting_fdatasync(int fd)
{
    n_syncs++;
    return file_real.fdatasync(fd);
}

enum {
    MANY = 40000
};

/* Many addresses of a wave are taken back with one sync, and in no time. */
static void test_undo_keys(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct file_ops ops = file_real;
    ops.fdatasync = counting_fdatasync;
    struct overrides *o = overrides_open(folder, &ops, &e);
    struct wave_move *m = calloc(MANY, sizeof(*m));
    struct str *key = calloc(MANY, sizeof(*key));
    char(*text)[24] = calloc(MANY, sizeof(*text));
    struct wave_address *const *changed;
    uint32_t id;
    for (unsigned i = 0; i < MANY; i++) {
        snprintf(text[i], sizeof(text[i]), "u%u@x.test", i);
        key[i] = str_c(text[i]);
        m[i] = (struct wave_move){.key = key[i], .forest = STR("new")};
    }
    const struct wave_order w = {.n = MANY, .move = m, .who = STR("me")};
    assert_true(overrides_order(o, &w, 7, &id, &e));
    key[MANY - 1] = STR("nobody@x.test");
    assert_false(overrides_undo_keys(o, id, key, MANY, STR("you"), 8, &e));
    assert_string_equal(forest_of(o, "u0@x.test"), "new");
    n_syncs = 0;
    assert_true(overrides_undo_keys(o, id, key, MANY - 1, STR("you"), 8, &e));
    assert_int_equal(n_syncs, 1);
    assert_int_equal(overrides_changed(o, &changed), MANY - 1);
    for (unsigned round = 0; round < 2; round++) {
        assert_string_equal(forest_of(o, "u0@x.test"), "none");
        assert_string_equal(forest_of(o, "u39998@x.test"), "none");
        assert_string_equal(forest_of(o, "u39999@x.test"), "new");
        assert_int_equal(overrides_find(o, id)->state, WAVE_ACTIVE);
        o = again(o, folder);
    }
    const struct str last = STR("u39999@x.test");
    assert_true(overrides_undo_keys(o, id, &last, 1, STR("you"), 8, &e));
    assert_int_equal(overrides_find(o, id)->state, WAVE_UNDONE);
    overrides_close(&o);
    free(text);
    free(key);
    free(m);
    model_remove_folder(folder);
}

/* The longest address is one like any other. */
static void test_long_key(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct overrides *o = overrides_open(folder, &file_real, &e);
    char move[ADDRESS_MAX + 8], key[ADDRESS_MAX + 1];
    memset(key, 'k', ADDRESS_MAX);
    memcpy(key + ADDRESS_MAX - 7, "@x.test", 8);
    snprintf(move, sizeof(move), "%s=new", key);
    assert_int_equal(order(o, move), 1);
    for (unsigned round = 0; round < 2; round++) {
        assert_string_equal(forest_of(o, key), "new");
        assert_non_null(overrides_find_key(o, str_c(key)));
        o = again(o, folder);
    }
    assert_true(overrides_undo(o, 1, str_c(key), STR("you"), 8, &e));
    assert_string_equal(forest_of(o, key), "none");
    overrides_close(&o);
    model_remove_folder(folder);
}

/* A journal that could not be read at the next start is never made. */
static void test_full(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct overrides *o = overrides_open(folder, &file_real, &e);
    assert_int_equal(order(o, "a@x.test=one"), 1);
    overrides_close(&o);
    assert_int_equal(truncate(path_of(folder), (256 << 20) - 300), 0);
    append(folder, "\n");
    o = overrides_open(folder, &file_real, &e);
    assert_non_null(o);
    assert_int_equal(order(o, "b@x.test=one c@x.test=one d@x.test=one"), 0);
    assert_int_equal(e.class, ERR_LIMIT);
    assert_true(overrides_undo(o, 1, STR_NULL, STR("you"), 8, &e)); /* there is room for that */
    o = again(o, folder);
    assert_int_equal(overrides_find(o, 1)->state, WAVE_UNDONE);
    overrides_tidy(o);
    assert_true(order(o, "b@x.test=one c@x.test=one d@x.test=one"));
    assert_true(length(folder) < 2000);
    overrides_close(&o);
    model_remove_folder(folder);
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

/* The journal is rewritten and cannot be opened again, or the rewriting ends with an error after
 * the new file is in place: what is acknowledged is kept all the same. */
static void test_compaction(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) {
        const char *folder = model_folder();
        struct file_ops ops = file_real;
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
        assert_true(order(o, "a@x.test=new"));
        overrides_tidy(o);
        if (kind == 1) {
            assert_false(order(o, "b@x.test=new"));
            assert_int_equal(e.errnum, EMFILE);
            assert_string_equal(forest_of(o, "b@x.test"), "none");
        }
        no_journal = false;
        assert_true(length(folder) < 2000);
        assert_true(order(o, "c@x.test=new"));
        assert_true(order(o, "l@x.test="));
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

/* ---- at random ---- */

enum {
    KEYS = 6,
    WAVES = 40
};

static void one_random_change(struct overrides *o, unsigned r, uint32_t n)
{
    char moves[200] = "";
    uint32_t id = n != 0 ? 1 + r / 64 % n : 1;
    if (r % 8 < 4) {
        for (unsigned k = 0; k < KEYS; k++)
            if (r >> (8 + k) & 1)
                snprintf(moves + strlen(moves), sizeof(moves) - strlen(moves), "%sk%u@x.test=%s",
                         moves[0] != '\0' ? " " : "", k,
                         r >> 16 & 1 && r % 8 < 3 ? ""
                         : r >> 17 & 1            ? "old"
                                                  : "new");
        (void)order_at(o, moves, r % 8 == 3 ? 5000 : 0, r >> 18 & 1 ? 9000 : 0);
    } else if (r % 8 == 4) {
        (void)overrides_begin(o, id, 3, &e);
    } else if (r % 8 == 5) {
        (void)overrides_expire(o, id, 4, &e);
    } else if (r % 8 == 6) {
        char key[40];
        snprintf(key, sizeof(key), "k%u@x.test", r >> 8 & 3);
        (void)overrides_undo(o, id, str_c(key), STR("you"), 5, &e);
    } else {
        (void)overrides_undo(o, id, STR_NULL, STR("you"), 5, &e);
    }
}

static void describe(const struct overrides *o, struct buf *out)
{
    buf_clear(out);
    for (unsigned k = 0; k < KEYS; k++) {
        char key[40];
        snprintf(key, sizeof(key), "k%u@x.test", k);
        buf_printf(out, "%s %s:", key, forest_of(o, key));
        const struct wave_address *a = overrides_find_key(o, str_c(key));
        for (; a != NULL; a = a->below)
            buf_printf(out, " %u%s", a->wave->id, a->wave->state == WAVE_PENDING ? "?" : "");
        buf_append_char(out, '\n');
    }
    const struct wave *w;
    for (unsigned i = 0; (w = overrides_wave(o, i)) != NULL; i++)
        buf_printf(out, "%u %s %u\n", w->id, wave_state_text(w->state), w->n_made);
}

/* Whatever happened: read again, and written anew and read again, it is the same. */
static void test_random(void **state)
{
    (void)state;
    struct buf was = BUF_INIT(1 << 20), is = BUF_INIT(1 << 20);
    for (unsigned seed = 1; seed < 30; seed++) {
        const char *folder = model_folder();
        struct overrides *o = overrides_open(folder, &file_real, &e);
        unsigned r = seed * 2654435761u;
        uint32_t n = 0;
        for (unsigned i = 0; i < WAVES; i++) {
            r = r * 1103515245u + 12345u;
            one_random_change(o, r >> 4, n);
            for (n = 0; overrides_wave(o, n) != NULL;)
                n++;
        }
        describe(o, &was);
        o = again(o, folder);
        describe(o, &is);
        assert_string_equal(buf_cstr(&was), buf_cstr(&is));
        overrides_close(&o);
        make_long(folder);
        o = overrides_open(folder, &file_real, &e);
        overrides_tidy(o);
        assert_true(length(folder) < 200000);
        assert_true(order(o, "l@x.test="));
        describe(o, &was);
        o = again(o, folder);
        describe(o, &is);
        assert_string_equal(buf_cstr(&was), buf_cstr(&is));
        overrides_close(&o);
        model_remove_folder(folder);
    }
    buf_free(&was);
    buf_free(&is);
}

/* One address moved again and again does not grow for ever, and undo still goes back. */
static void test_deep(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct overrides *o = overrides_open(folder, &file_real, &e);
    for (unsigned i = 1; i <= 100; i++)
        assert_int_equal(order(o, i % 2 ? "a@x.test=odd" : "a@x.test=even"), i);
    overrides_close(&o);
    make_long(folder);
    o = overrides_open(folder, &file_real, &e);
    overrides_tidy(o);
    assert_int_equal(overrides_find(o, 50)->state, WAVE_REPLACED);
    assert_false(overrides_undo(o, 50, STR_NULL, STR("you"), 8, &e));
    assert_int_equal(overrides_find(o, 100)->state, WAVE_ACTIVE);
    o = again(o, folder);
    assert_string_equal(forest_of(o, "a@x.test"), "even");
    undo(o, 100);
    assert_string_equal(forest_of(o, "a@x.test"), "odd");
    undo(o, 99);
    assert_string_equal(forest_of(o, "a@x.test"), "even");
    overrides_close(&o);
    model_remove_folder(folder);
}

/* ---- lines ---- */

static void test_lines(void **state)
{
    static const char *const wrong[] = {
        "",
        "t",
        "t\tmove\ta@x.test\tnew",
        "t\tset\ta@x.test\tnew\tme\twhy\tmany",
        "t\tset\ta@x.test\tnew\tme\twhy\t1\t-\t4294967295", /* the number after it must exist */
        "t\tset\ta@x.test\tnew\tme\twhy\t1\t-\t1\tlater",
        "t\tset\ta@x.test\tnew\tme\twhy\t1\t-\t1\t-\tlater"};
    const struct override_line l = {.time_ms = 1000,
                                    .action = OVERRIDE_PLAN,
                                    .key = STR("a@x.test"),
                                    .forest = STR("new"),
                                    .who = STR("me"),
                                    .generation = 5,
                                    .wave = 6,
                                    .until_ms = 9000,
                                    .at_ms = 8000};
    struct override_line r;
    struct buf b = BUF_INIT(1000);
    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(override_line_read(str_c(wrong[i]), &r));
    assert_true(override_line_write(&b, &l));
    assert_string_equal(buf_cstr(&b),
                        "1970-01-01T00:00:01.000Z\tplan\ta@x.test\tnew\tme\t-\t5\t-\t6\t"
                        "1970-01-01T00:00:09.000Z\t1970-01-01T00:00:08.000Z\n");
    for (size_t n = 0; n < b.n;
         n++) { /* any damage is taken or refused, and never more than that */
        for (unsigned c = 0; c < 256; c++) {
            char *copy = malloc(b.n);
            memcpy(copy, b.p, b.n);
            copy[n] = (char)c;
            (void)override_line_read(str_n(copy, c % 2 ? n : b.n - 1), &r);
            free(copy);
        }
    }
    assert_true(override_line_read(str_n(b.p, b.n - 1), &r));
    assert_true(r.wave == 6 && r.at_ms == 8000 && r.until_ms == 9000 && r.generation == 5 &&
                r.time_ms == 1000 && str_eq(r.key, l.key) && r.why.n == 0 &&
                r.action == OVERRIDE_PLAN);
    buf_free(&b);
}

int main(void)
{
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_ + 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),       cmocka_unit_test(test_layers),
        cmocka_unit_test(test_written),    cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_sync_fails), cmocka_unit_test(test_refused_stays_refused),
        cmocka_unit_test(test_hole),       cmocka_unit_test(test_older_commit),
        cmocka_unit_test(test_undo_keys),  cmocka_unit_test(test_long_key),
        cmocka_unit_test(test_full),       cmocka_unit_test(test_compaction),
        cmocka_unit_test(test_random),     cmocka_unit_test(test_deep),
        cmocka_unit_test(test_lines)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
