/*
 * file.h - file operations behind one small table, so that a test can make any of them fail, and
 * the two idioms that are easy to get wrong: read a whole small file, replace a file atomically.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/buf.h"
#include "base/err.h"

/* As the system calls of the same name: -1 and errno. pwritev and pread may be short. */
struct file_ops {
    int (*open)(const char *path, int flags, mode_t mode);
    int (*close)(int fd);
    ssize_t (*pwritev)(int fd, const struct iovec *iov, int n, off_t off);
    ssize_t (*pread)(int fd, void *p, size_t n, off_t off);
    int (*fdatasync)(int fd);
    int (*fsync)(int fd);
    int (*ftruncate)(int fd, off_t size);
    int (*rename)(const char *from, const char *to);
    int (*unlink)(const char *path);
};
extern const struct file_ops file_real;

/* Writes all of iov at off (retries short writes and EINTR). iov is changed. */
bool file_write_all(const struct file_ops *ops, int fd, struct iovec *iov, int n, off_t off,
                    struct err *e);
/* Reads up to n bytes; *got < n only at the end of the file. */
bool file_read_at(const struct file_ops *ops, int fd, void *p, size_t n, off_t off, size_t *got,
                  struct err *e);
/* Appends the whole file to out; ERR_LIMIT if it is longer than out's cap allows. */
bool file_read_all(const char *path, struct buf *out, struct err *e);
/* path.tmp written, synced, renamed over path, directory synced. */
bool file_replace(const struct file_ops *ops, const char *path, const void *p, size_t n,
                  mode_t mode, struct err *e);
/* The same from several pieces. iov is changed. */
bool file_replace_pieces(const struct file_ops *ops, const char *path, struct iovec *iov, int n,
                         mode_t mode, struct err *e);
bool file_sync_dir(const struct file_ops *ops, const char *dir, struct err *e);
/* mkdir -p for one path, mode for the last part. */
bool file_make_dir(const char *path, mode_t mode, struct err *e);

#endif
