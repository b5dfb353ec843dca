/*
 * file.c - file operations behind a table, and the idioms built on it: write all of it, read all of
 * it, replace a file so that a crash leaves the old or the new content and nothing else. Blocking;
 * never called on a worker's path but by threads made for it. Failures fill a struct err that names
 * the path where there is one.
 */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MOST_VECTORS 1024 /* IOV_MAX on Linux */
#define PIECE        65536

static int real_open(const char *path, int flags, mode_t mode)
{
    return open(path, flags | O_CLOEXEC, mode);
}

static ssize_t real_pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
    return pwritev(fd, iov, n, off);
}

const struct file_ops file_real = {
    .open = real_open,
    .close = close,
    .pwritev = real_pwritev,
    .pread = pread,
    .fdatasync = fdatasync,
    .fsync = fsync,
    .ftruncate = ftruncate,
    .rename = rename,
    .unlink = unlink,
};

/* Takes `done` bytes off the front of the vector. */
static void iov_advance(struct iovec **iov, int *n, size_t done)
{
    while (*n > 0 && done >= (*iov)->iov_len) {
        done -= (*iov)->iov_len;
        (*iov)++;
        (*n)--;
    }
    if (*n > 0 && done != 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + done;
        (*iov)->iov_len -= done;
    }
}

bool file_write_all(const struct file_ops *ops, int fd, struct iovec *iov, int n, off_t off,
                    struct err *e)
{
    iov_advance(&iov, &n, 0);
    while (n > 0) {
        ssize_t done = ops->pwritev(fd, iov, n < MOST_VECTORS ? n : MOST_VECTORS, off);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_set(e, ERR_SYSTEM, errno, "cannot write at %lld", (long long)off);
        if (done == 0) /* would go on for ever */
            return err_set(e, ERR_SYSTEM, ENOSPC, "cannot write at %lld", (long long)off);
        off += done;
        iov_advance(&iov, &n, (size_t)done);
    }
    return true;
}

bool file_read_at(const struct file_ops *ops, int fd, void *p, size_t n, off_t off, size_t *got,
                  struct err *e)
{
    *got = 0;
    while (*got < n) {
        ssize_t done = ops->pread(fd, (char *)p + *got, n - *got, off + (off_t)*got);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_set(e, ERR_SYSTEM, errno, "cannot read at %lld",
                           (long long)off + (long long)*got);
        if (done == 0)
            break;
        *got += (size_t)done;
    }
    return true;
}

/* Reads fd to its end into out. */
static bool read_to_end(int fd, const char *path, struct buf *out, struct err *e)
{
    for (;;) {
        size_t room = out->max - out->n;
        char extra; /* tells a file that fills the buffer exactly from one that is too long */
        char *to = &extra;
        size_t want = room < PIECE ? room : PIECE;
        if (want != 0 && buf_reserve(out, want))
            to = out->p + out->n;
        else
            want = 1;
        ssize_t done = read(fd, to, want);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return err_set(e, ERR_SYSTEM, errno, "cannot read %s", path);
        if (done == 0)
            return true;
        if (to == &extra)
            return err_set(e, ERR_LIMIT, 0, "%s is longer than %zu bytes", path, out->max);
        out->n += (size_t)done;
    }
}

bool file_read_all(const char *path, struct buf *out, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(e, ERR_SYSTEM, errno, "cannot open %s", path);
    size_t before = out->n;
    bool ok = read_to_end(fd, path, out, e);
    if (!ok)
        out->n = before;
    close(fd);
    return ok;
}

bool file_sync_dir(const struct file_ops *ops, const char *dir, struct err *e)
{
    int fd = ops->open(dir, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return err_set(e, ERR_SYSTEM, errno, "cannot open directory %s", dir);
    bool ok = ops->fsync(fd) == 0;
    if (!ok)
        err_set(e, ERR_SYSTEM, errno, "cannot sync directory %s", dir);
    ops->close(fd);
    return ok;
}

/* Writes a new file at path and syncs it; removes it again if that fails. */
static bool write_new(const struct file_ops *ops, const char *path, struct iovec *iov, int n,
                      mode_t mode, struct err *e)
{
    int fd = ops->open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (fd < 0)
        return err_set(e, ERR_SYSTEM, errno, "cannot create %s", path);
    bool ok = file_write_all(ops, fd, iov, n, 0, e);
    if (!ok)
        err_wrap(e, "%s", path);
    if (ok && ops->fsync(fd) != 0)
        ok = err_set(e, ERR_SYSTEM, errno, "cannot sync %s", path);
    if (ops->close(fd) != 0 && ok)
        ok = err_set(e, ERR_SYSTEM, errno, "cannot close %s", path);
    if (!ok)
        ops->unlink(path);
    return ok;
}

bool file_replace(const struct file_ops *ops, const char *path, const void *p, size_t n,
                  mode_t mode, struct err *e)
{
    struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};
    return file_replace_pieces(ops, path, &iov, 1, mode, e);
}

bool file_replace_pieces(const struct file_ops *ops, const char *path, struct iovec *iov, int n,
                         mode_t mode, struct err *e)
{
    char tmp[PATH_MAX], dir[PATH_MAX];
    int len = snprintf(tmp, sizeof(tmp), "%s.tmp", path);
    if (len < 0 || (size_t)len >= sizeof(tmp))
        return err_set(e, ERR_SYSTEM, ENAMETOOLONG, "cannot create %.100s...", path);
    if (!write_new(ops, tmp, iov, n, mode, e))
        return false;
    if (ops->rename(tmp, path) != 0) {
        err_set(e, ERR_SYSTEM, errno, "cannot rename %s to %s", tmp, path);
        ops->unlink(tmp);
        return false;
    }
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return file_sync_dir(ops, ".", e);
    size_t dir_n = slash == path ? 1 : (size_t)(slash - path);
    memcpy(dir, path, dir_n);
    dir[dir_n] = '\0';
    return file_sync_dir(ops, dir, e);
}

static bool make_one(const char *path, mode_t mode, struct err *e)
{
    if (mkdir(path, mode) == 0)
        return true;
    int why = errno;
    struct stat st;
    if (why == EEXIST && stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return true;
        why = ENOTDIR;
    }
    return err_set(e, ERR_SYSTEM, why, "cannot make directory %s", path);
}

bool file_make_dir(const char *path, mode_t mode, struct err *e)
{
    char part[PATH_MAX];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof(part))
        return err_set(e, ERR_SYSTEM, n == 0 ? ENOENT : ENAMETOOLONG,
                       "cannot make directory %.100s", path);
    memcpy(part, path, n + 1);
    while (n > 1 && part[n - 1] == '/')
        part[--n] = '\0';
    for (size_t i = 1; i < n; i++) {
        if (part[i] != '/' || part[i - 1] == '/')
            continue;
        part[i] = '\0';
        if (!make_one(part, 0755, e))
            return false;
        part[i] = '/';
    }
    return make_one(part, mode, e);
}
