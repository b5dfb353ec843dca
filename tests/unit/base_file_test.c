/*
 * base_file_test.c - file idioms of base/, with the real operations and with ones that fail.
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
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/file.h"

static char dir[] = "/tmp/base_file_test.XXXXXX";

static const char *path_of(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static int make_temp(void **state)
{
    (void)state;
    return mkdtemp(dir) != NULL ? 0 : -1;
}

static int remove_temp(void **state)
{
    (void)state;
    rmdir(path_of("a/b/c"));
    rmdir(path_of("a/b"));
    rmdir(path_of("a"));
    unlink(path_of("file"));
    return rmdir(dir);
}

static void assert_content(const char *path, const char *want)
{
    struct buf b = BUF_INIT(1000);
    assert_true(file_read_all(path, &b, NULL));
    assert_string_equal(buf_cstr(&b), want);
    buf_free(&b);
}

/* Which operation fails next, and how often each was called. */
enum op {
    OP_NONE,
    OP_OPEN,
    OP_PWRITEV,
    OP_FSYNC,
    OP_RENAME,
    OP_OPEN_DIR,
    OP_FSYNC_DIR,
};
static enum op failing;
static int interrupts;
static int unlinks;

static int try_open(const char *path, int flags, mode_t mode)
{
    if (failing == ((flags & O_DIRECTORY) ? OP_OPEN_DIR : OP_OPEN)) {
        errno = EACCES;
        return -1;
    }
    return file_real.open(path, flags, mode);
}

/* Writes at most three bytes of the first piece, and is interrupted now and then. */
static ssize_t try_pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
    (void)n;
    if (failing == OP_PWRITEV) {
        errno = ENOSPC;
        return -1;
    }
    if (interrupts > 0 && interrupts-- % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return pwrite(fd, iov->iov_base, iov->iov_len < 3 ? iov->iov_len : 3, off);
}

static ssize_t write_nothing(int fd, const struct iovec *iov, int n, off_t off)
{
    (void)fd, (void)iov, (void)n, (void)off;
    return 0;
}

static ssize_t try_pread(int fd, void *p, size_t n, off_t off)
{
    if (interrupts > 0 && interrupts-- % 2 == 0) {
        errno = EINTR;
        return -1;
    }
    return pread(fd, p, n < 2 ? n : 2, off);
}

static ssize_t fail_pread(int fd, void *p, size_t n, off_t off)
{
    (void)fd, (void)p, (void)n, (void)off;
    errno = EIO;
    return -1;
}

static int try_fsync(int fd)
{
    struct stat st;
    bool is_dir = fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
    if (failing == (is_dir ? OP_FSYNC_DIR : OP_FSYNC)) {
        errno = EIO;
        return -1;
    }
    return file_real.fsync(fd);
}

static int try_rename(const char *from, const char *to)
{
    if (failing == OP_RENAME) {
        errno = EXDEV;
        return -1;
    }
    return file_real.rename(from, to);
}

static int count_unlink(const char *path)
{
    unlinks++;
    return file_real.unlink(path);
}

static struct file_ops test_ops(void)
{
    struct file_ops ops = file_real;
    ops.open = try_open;
    ops.pwritev = try_pwritev;
    ops.pread = try_pread;
    ops.fsync = try_fsync;
    ops.rename = try_rename;
    ops.unlink = count_unlink;
    failing = OP_NONE;
    interrupts = 0;
    unlinks = 0;
    return ops;
}

static void write_and_read_in_pieces(void **state)
{
    (void)state;
    struct file_ops ops = test_ops();
    struct err e;
    int fd = ops.open(path_of("file"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    interrupts = 6;
    struct iovec iov[] = {
        {.iov_base = (char[]){"hello "}, .iov_len = 6},
        {.iov_base = NULL, .iov_len = 0},
        {.iov_base = (char[]){"wide "}, .iov_len = 5},
        {.iov_base = (char[]){"world"}, .iov_len = 5},
    };
    assert_true(file_write_all(&ops, fd, iov, 4, 2, &e));
    char text[32] = "";
    size_t got = 0;
    interrupts = 6;
    assert_true(file_read_at(&ops, fd, text, 16, 2, &got, &e));
    assert_int_equal(got, 16);
    assert_memory_equal(text, "hello wide world", 16);
    assert_true(file_read_at(&ops, fd, text, 16, 10, &got, &e)); /* past the end: short */
    assert_int_equal(got, 8);
    assert_memory_equal(text, "de world", 8);

    ops.pread = fail_pread;
    assert_false(file_read_at(&ops, fd, text, 16, 0, &got, &e));
    assert_int_equal(e.errnum, EIO);
    failing = OP_PWRITEV;
    struct iovec more = {.iov_base = text, .iov_len = 4};
    assert_false(file_write_all(&ops, fd, &more, 1, 0, &e));
    assert_int_equal(e.class, ERR_SYSTEM);
    assert_int_equal(e.errnum, ENOSPC);
    ops.pwritev = write_nothing; /* must not turn for ever */
    assert_false(file_write_all(&ops, fd, &more, 1, 0, &e));
    assert_int_equal(e.errnum, ENOSPC);
    assert_true(file_write_all(&ops, fd, &more, 0, 0, &e));
    close(fd);
}

static void many_vectors(void **state)
{
    enum {
        MANY = 2500
    };
    (void)state;
    static struct iovec iov[MANY];
    static char byte[MANY], back[MANY];
    for (int i = 0; i < MANY; i++) {
        byte[i] = (char)('a' + i % 26);
        iov[i] = (struct iovec){.iov_base = &byte[i], .iov_len = 1};
    }
    int fd = file_real.open(path_of("file"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    size_t got;
    assert_true(file_write_all(&file_real, fd, iov, MANY, 0, NULL));
    assert_true(file_read_at(&file_real, fd, back, MANY, 0, &got, NULL));
    assert_int_equal(got, MANY);
    assert_memory_equal(back, byte, MANY);
    close(fd);
}

/* Whatever fails, the old content stays whole (or the new is whole) and no .tmp is left. */
static void replace_is_atomic(void **state)
{
    static const struct {
        enum op fails;
        int errnum;
        const char *content;
    } cases[] = {
        {OP_NONE, 0, "new text"},         {OP_OPEN, EACCES, "old text"},
        {OP_PWRITEV, ENOSPC, "old text"}, {OP_FSYNC, EIO, "old text"},
        {OP_RENAME, EXDEV, "old text"},   {OP_OPEN_DIR, EACCES, "new text"},
        {OP_FSYNC_DIR, EIO, "new text"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct file_ops ops = test_ops();
        struct err e;
        assert_true(file_replace(&file_real, path_of("file"), "old text", 8, 0640, &e));
        failing = cases[i].fails;
        err_clear(&e);
        assert_int_equal(file_replace(&ops, path_of("file"), "new text", 8, 0640, &e),
                         cases[i].fails == OP_NONE);
        assert_int_equal(e.errnum, cases[i].errnum);
        assert_content(path_of("file"), cases[i].content);
        assert_int_not_equal(access(path_of("file.tmp"), F_OK), 0);
        bool cleans = cases[i].fails >= OP_PWRITEV && cases[i].fails <= OP_RENAME;
        assert_int_equal(unlinks, cleans ? 1 : 0);
    }
}

static void read_all_has_a_cap(void **state)
{
    (void)state;
    struct err e;
    assert_true(file_replace(&file_real, path_of("file"), "0123456789", 10, 0600, &e));
    struct buf exact = BUF_INIT(12), small = BUF_INIT(11);
    buf_append_c(&exact, "->");
    buf_append_c(&small, "->");
    assert_true(file_read_all(path_of("file"), &exact, &e));
    assert_string_equal(buf_cstr(&exact), "->0123456789");
    assert_false(file_read_all(path_of("file"), &small, &e));
    assert_int_equal(e.class, ERR_LIMIT);
    assert_string_equal(buf_cstr(&small), "->");
    assert_false(file_read_all(path_of("nothing"), &small, &e));
    assert_int_equal(e.errnum, ENOENT);
    assert_non_null(strstr(e.text, "/nothing"));
    buf_free(&exact);
    buf_free(&small);
}

static void make_dirs(void **state)
{
    (void)state;
    struct err e;
    struct stat st;
    mode_t old = umask(0);
    assert_true(file_make_dir(path_of("a//b/c/"), 0700, &e));
    umask(old);
    assert_int_equal(stat(path_of("a/b/c"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(path_of("a/b"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_true(file_make_dir(path_of("a/b/c"), 0700, &e)); /* again is fine */
    assert_true(file_replace(&file_real, path_of("file"), "x", 1, 0600, &e));
    assert_false(file_make_dir(path_of("file"), 0700, &e));
    assert_int_equal(e.errnum, ENOTDIR);
    assert_false(file_make_dir(path_of("file/sub"), 0700, &e));
    assert_false(file_make_dir("", 0700, &e));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(write_and_read_in_pieces),
        cmocka_unit_test(many_vectors),
        cmocka_unit_test(replace_is_atomic),
        cmocka_unit_test(read_all_has_a_cap),
        cmocka_unit_test(make_dirs),
    };
    return cmocka_run_group_tests(tests, make_temp, remove_temp);
}
