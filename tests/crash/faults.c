/*
 * faults.c - a preloaded library that makes system calls of causewayd fail, or kills it at one of
 * them. The environment says which and how:
 *
 * FAULT_CALLS: comma separated: write,sync,rename,unlink,send,open (groups, see below)
 *
 * FAULT_AT: the N-th call of these, counted over all threads and from the start, is the one; 0 =
 * none
 *
 * FAULT_DO: kill (before the call), kill-after, kill-half (a write or send of half the bytes, then
 * death), errno:EIO / errno:ENOSPC (the call fails; with FAULT_MORE=n that many times, -1 = for
 * ever), or wait (the call is made when FAULT_ARM's file is gone)
 *
 * FAULT_PATH: only calls on a descriptor or path whose name contains this
 *
 * FAULT_ARM: nothing is counted before a file of this name exists
 *
 * FAULT_COUNT: a file that holds the number of counted calls, as 8 bytes, kept up to date
 *
 * Counting is global over threads, which strace's injection is not: so every call can be hit in
 * turn.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum group {
    G_WRITE = 1,
    G_SYNC = 2,
    G_RENAME = 4,
    G_UNLINK = 8,
    G_SEND = 16,
    G_OPEN = 32
};
enum action {
    A_NONE,
    A_KILL,
    A_KILL_AFTER,
    A_KILL_HALF,
    A_ERRNO,
    A_WAIT
};

static unsigned groups;
static enum action action;
static int fail_errno;
static long at, more = 1;
static const char *only_path, *arm;
static _Atomic long private_count;
static _Atomic long *count = &private_count;

static int errno_of(const char *name)
{
    if (strcmp(name, "EIO") == 0)
        return EIO;
    if (strcmp(name, "ENOSPC") == 0)
        return ENOSPC;
    if (strcmp(name, "EMFILE") == 0)
        return EMFILE;
    fprintf(stderr, "faults: unknown errno %s\n", name);
    abort();
}

__attribute__((constructor)) static void setup(void)
{
    static const struct {
        const char *name;
        unsigned group;
    } known[] = {{"write", G_WRITE},   {"sync", G_SYNC}, {"rename", G_RENAME},
                 {"unlink", G_UNLINK}, {"send", G_SEND}, {"open", G_OPEN}};
    const char *calls = getenv("FAULT_CALLS"), *todo = getenv("FAULT_DO"),
               *file = getenv("FAULT_COUNT");
    for (size_t i = 0; calls != NULL && i < sizeof(known) / sizeof(known[0]); i++)
        if (strstr(calls, known[i].name) != NULL)
            groups |= known[i].group;
    at = getenv("FAULT_AT") != NULL ? atol(getenv("FAULT_AT")) : 0;
    more = getenv("FAULT_MORE") != NULL ? atol(getenv("FAULT_MORE")) : 1;
    only_path = getenv("FAULT_PATH");
    arm = getenv("FAULT_ARM");
    if (todo == NULL)
        action = A_NONE;
    else if (strcmp(todo, "kill") == 0)
        action = A_KILL;
    else if (strcmp(todo, "kill-after") == 0)
        action = A_KILL_AFTER;
    else if (strcmp(todo, "kill-half") == 0)
        action = A_KILL_HALF;
    else if (strncmp(todo, "errno:", 6) == 0)
        action = A_ERRNO, fail_errno = errno_of(todo + 6);
    else if (strcmp(todo, "wait") == 0)
        action = A_WAIT;
    if (file != NULL) {
        int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        /* By number: our own calls do not count. */
        if (fd >= 0 && syscall(SYS_ftruncate, fd, sizeof(long)) == 0) {
            void *p = mmap(NULL, sizeof(long), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
            if (p != MAP_FAILED)
                count = p;
        }
        if (fd >= 0)
            close(fd);
    }
}

static int path_matches(int fd, const char *path)
{
    char link[64], name[512];
    if (only_path == NULL)
        return 1;
    if (path == NULL) {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
        ssize_t n = readlink(link, name, sizeof(name) - 1);
        if (n < 0)
            return 0;
        name[n] = '\0';
        path = name;
    }
    return strstr(path, only_path) != NULL;
}

static _Noreturn void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

/* What is to happen with this call; A_KILL does not come back. */
static enum action hit(unsigned group, int fd, const char *path)
{
    if ((groups & group) == 0 || !path_matches(fd, path) || (arm != NULL && access(arm, F_OK) != 0))
        return A_NONE;
    long n = atomic_fetch_add(count, 1) + 1;
    if (at == 0 || n < at)
        return A_NONE;
    if (action == A_ERRNO)
        return more < 0 || n < at + more ? A_ERRNO : A_NONE;
    if (n > at)
        return A_NONE;
    if (action == A_KILL)
        die();
    if (action == A_WAIT) {
        while (arm != NULL && access(arm, F_OK) == 0)
            usleep(1000);
        return A_NONE;
    }
    return action;
}

#define REAL(ret, name, ...)                                                                       \
    static ret (*real)(__VA_ARGS__);                                                               \
    if (real == NULL)                                                                              \
    *(void **)&real = dlsym(RTLD_NEXT, name)

/* A call without a half: half means after. */
#define SIMPLE(group, fd, path, call)                                                              \
    do {                                                                                           \
        enum action act_ = hit(group, fd, path);                                                   \
        if (act_ == A_ERRNO) {                                                                     \
            errno = fail_errno;                                                                    \
            return -1;                                                                             \
        }                                                                                          \
        int r_ = call;                                                                             \
        if (act_ == A_KILL_AFTER || act_ == A_KILL_HALF)                                           \
            die();                                                                                 \
        return r_;                                                                                 \
    } while (0)

static size_t total(const struct iovec *iov, int n)
{
    size_t sum = 0;
    for (int i = 0; i < n; i++)
        sum += iov[i].iov_len;
    return sum;
}

/* Copies the first half of what is to be written. */
static char *half_of(const struct iovec *iov, int n, size_t *len)
{
    size_t want = total(iov, n) / 2, at_ = 0;
    char *p = malloc(want + 1);
    for (int i = 0; i < n && at_ < want; i++) {
        size_t k = iov[i].iov_len < want - at_ ? iov[i].iov_len : want - at_;
        memcpy(p + at_, iov[i].iov_base, k);
        at_ += k;
    }
    *len = want;
    return p;
}

ssize_t pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
    REAL(ssize_t, "pwritev", int, const struct iovec *, int, off_t);
    enum action a = hit(G_WRITE, fd, NULL);
    if (a == A_ERRNO) {
        errno = fail_errno;
        return -1;
    }
    if (a == A_KILL_HALF) {
        size_t len;
        char *p = half_of(iov, n, &len);
        if (pwrite(fd, p, len, off) >= 0)
            die();
        die();
    }
    ssize_t r = real(fd, iov, n, off);
    if (a == A_KILL_AFTER)
        die();
    return r;
}

ssize_t pwritev64(int fd, const struct iovec *iov, int n, off_t off)
{
    return pwritev(fd, iov, n, off);
}

ssize_t write(int fd, const void *p, size_t n)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    enum action a =
        fd > 2 && n != 8 ? hit(G_WRITE, fd, NULL) : A_NONE; /* not the log, not eventfds */
    if (a == A_ERRNO) {
        errno = fail_errno;
        return -1;
    }
    ssize_t r = real(fd, p, a == A_KILL_HALF ? n / 2 : n);
    if (a != A_NONE)
        die();
    return r;
}

ssize_t send(int fd, const void *p, size_t n, int flags)
{
    REAL(ssize_t, "send", int, const void *, size_t, int);
    enum action a = hit(G_SEND, fd, NULL);
    if (a == A_ERRNO) {
        errno = fail_errno;
        return -1;
    }
    ssize_t r = real(fd, p, a == A_KILL_HALF ? n / 2 : n, flags);
    if (a != A_NONE)
        die();
    return r;
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
    REAL(ssize_t, "sendmsg", int, const struct msghdr *, int);
    enum action a = hit(G_SEND, fd, NULL);
    if (a == A_ERRNO) {
        errno = fail_errno;
        return -1;
    }
    if (a == A_KILL_HALF) {
        size_t len;
        char *p = half_of(m->msg_iov, (int)m->msg_iovlen, &len);
        struct iovec iov = {.iov_base = p, .iov_len = len};
        struct msghdr h = *m;
        h.msg_iov = &iov;
        h.msg_iovlen = 1;
        if (real(fd, &h, flags) >= 0)
            die();
        die();
    }
    ssize_t r = real(fd, m, flags);
    if (a == A_KILL_AFTER)
        die();
    return r;
}

ssize_t writev(int fd, const struct iovec *iov, int n)
{
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    enum action a = hit(G_SEND | G_WRITE, fd, NULL);
    if (a == A_ERRNO) {
        errno = fail_errno;
        return -1;
    }
    ssize_t r = real(fd, iov, n);
    if (a != A_NONE)
        die();
    return r;
}

int fdatasync(int fd)
{
    REAL(int, "fdatasync", int);
    SIMPLE(G_SYNC, fd, NULL, real(fd));
}

int fsync(int fd)
{
    REAL(int, "fsync", int);
    SIMPLE(G_SYNC, fd, NULL, real(fd));
}

int rename(const char *from, const char *to)
{
    REAL(int, "rename", const char *, const char *);
    SIMPLE(G_RENAME, -1, from, real(from, to));
}

int unlink(const char *path)
{
    REAL(int, "unlink", const char *);
    SIMPLE(G_UNLINK, -1, path, real(path));
}

int ftruncate(int fd, off_t size)
{
    REAL(int, "ftruncate", int, off_t);
    SIMPLE(G_WRITE, fd, NULL, real(fd, size));
}

int posix_fallocate(int fd, off_t off, off_t len)
{
    REAL(int, "posix_fallocate", int, off_t, off_t);
    enum action a = hit(G_WRITE, fd, NULL);
    if (a == A_ERRNO)
        return fail_errno; /* this one does not use errno */
    int r = real(fd, off, len);
    if (a != A_NONE)
        die();
    return r;
}
