/*
 * simdisk.c - see the header. All state is global and under one lock; the real files are written as
 * well, because reads go to them.
 */
#include "tests/unit/simdisk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

#define SECTOR 512u
#define PAGE   4096u
#define FDS    4096
#define PATHS  200

struct written {
    uint64_t off;
    size_t n;
    unsigned char *bytes;
    bool truncates; /* to off */
    bool limbo;
};
struct file {
    unsigned char *bytes; /* synced */
    size_t n;
    struct written *w;
    size_t n_w;
    unsigned errors; /* of syncs */
};
struct name {
    char path[PATHS]; /* below the root */
    struct file *f;
};
struct names {
    struct name *v;
    size_t n;
};
enum change_kind {
    LINK,
    UNLINK,
    RENAME
};
struct change {
    enum change_kind kind;
    char path[PATHS], to[PATHS];
    struct file *f;
};
struct open_fd {
    struct file *f;
    char dir[PATHS];
    bool is_dir;
    unsigned told; /* errors of f that it was told of, or that came before it */
};

/* Reads of the page fail, so many times. */
struct bad_spot {
    char path[PATHS];
    uint64_t off;
    unsigned times;
};

struct content {
    struct names now, synced;
    struct change *change;
    size_t n_change;
    struct file **all;
    size_t n_all;
};

static struct {
    pthread_mutex_t lock;
    char root[300];
    struct content c;
    struct content kept; /* as of the last kill; kept.all == NULL: none */
    struct open_fd fd[FDS];
    uint64_t ops, hook_at, fail_at, rng;
    int fail_errno;
    uint64_t reads, fail_read;
    struct bad_spot bad; /* times == 0: none */
    bool full;
    void (*hook)(void *arg);
    void *hook_arg;
} sim = {.lock = PTHREAD_MUTEX_INITIALIZER};

uint64_t sim_random(uint64_t below)
{
    sim.rng ^= sim.rng << 13;
    sim.rng ^= sim.rng >> 7;
    sim.rng ^= sim.rng << 17;
    return below == 0 ? 0 : (sim.rng >> 11) % below;
}

static const char *below_root(const char *path)
{
    size_t n = strlen(sim.root);
    ASSERT(strncmp(path, sim.root, n) == 0);
    path += n;
    while (*path == '/')
        path++;
    return path;
}

static void dir_of(const char *path, char dst[PATHS])
{
    snprintf(dst, PATHS, "%s", path);
    char *slash = strrchr(dst, '/');
    *(slash != NULL ? slash : dst) = '\0';
}

static struct name *name_find(struct names *v, const char *path)
{
    for (size_t i = 0; i < v->n; i++)
        if (strcmp(v->v[i].path, path) == 0)
            return &v->v[i];
    return NULL;
}

static void name_set(struct names *v, const char *path, struct file *f)
{
    struct name *at = name_find(v, path);
    if (at == NULL) {
        v->v = mem_realloc(v->v, (v->n + 1) * sizeof(*v->v));
        at = &v->v[v->n++];
        snprintf(at->path, sizeof(at->path), "%s", path);
    }
    at->f = f;
}

static void name_drop(struct names *v, const char *path)
{
    struct name *at = name_find(v, path);
    if (at != NULL)
        *at = v->v[--v->n];
}

static void names_change(struct names *v, const struct change *c)
{
    if (c->kind == LINK) {
        name_set(v, c->path, c->f);
        return;
    }
    struct name *at = name_find(v, c->path);
    struct file *f = at != NULL ? at->f : c->f;
    name_drop(v, c->path);
    if (c->kind == RENAME)
        name_set(v, c->to, f);
}

static void change_add(enum change_kind kind, const char *path, const char *to, struct file *f)
{
    sim.c.change = mem_realloc(sim.c.change, (sim.c.n_change + 1) * sizeof(*sim.c.change));
    struct change *c = &sim.c.change[sim.c.n_change++];
    memset(c, 0, sizeof(*c));
    c->kind = kind;
    c->f = f;
    snprintf(c->path, sizeof(c->path), "%s", path);
    snprintf(c->to, sizeof(c->to), "%s", to);
    names_change(&sim.c.now, c);
}

static struct file *file_new(void)
{
    struct file *f = NEW(struct file);
    sim.c.all = mem_realloc(sim.c.all, (sim.c.n_all + 1) * sizeof(struct file *));
    sim.c.all[sim.c.n_all++] = f;
    return f;
}

static void written_add(struct file *f, uint64_t off, const void *p, size_t n, bool truncates)
{
    f->w = mem_realloc(f->w, (f->n_w + 1) * sizeof(*f->w));
    struct written *w = &f->w[f->n_w++];
    *w = (struct written){.off = off, .n = n, .truncates = truncates};
    w->bytes = mem_alloc(n + 1);
    memcpy(w->bytes, p, n);
}

static void grow(unsigned char **bytes, size_t *have, size_t n)
{
    if (n <= *have)
        return;
    *bytes = mem_realloc(*bytes, n);
    memset(*bytes + *have, 0, n - *have);
    *have = n;
}

static void apply(unsigned char **bytes, size_t *have, const struct written *w)
{
    if (w->truncates) {
        grow(bytes, have, (size_t)w->off);
        *have = (size_t)w->off;
        return;
    }
    grow(bytes, have, (size_t)w->off + w->n);
    memcpy(*bytes + w->off, w->bytes, w->n);
}

/* What is in limbo below bytes that are synced now can only show these. */
static void cover_limbo(struct file *f, const struct written *w)
{
    for (size_t i = 0; i < f->n_w; i++) {
        struct written *l = &f->w[i];
        uint64_t from = l->off > w->off ? l->off : w->off;
        uint64_t to = l->off + l->n < w->off + w->n ? l->off + l->n : w->off + w->n;
        if (l->limbo && from < to)
            memcpy(l->bytes + (from - l->off), w->bytes + (from - w->off), (size_t)(to - from));
    }
}

/* A failed sync: nothing of it is certain, now or later. */
static void file_sync(struct file *f, bool fails)
{
    size_t left = 0;
    for (size_t i = 0; i < f->n_w; i++) {
        struct written *w = &f->w[i];
        if (fails || w->limbo) {
            w->limbo = true;
            f->w[left++] = *w;
            continue;
        }
        struct written kept = *w;
        struct file limbo_only = {.w = f->w, .n_w = left};
        cover_limbo(&limbo_only, &kept);
        apply(&f->bytes, &f->n, &kept);
        mem_free(kept.bytes);
    }
    f->n_w = left;
}

static void dir_sync(const char *dir)
{
    size_t left = 0;
    for (size_t i = 0; i < sim.c.n_change; i++) {
        char a[PATHS], b[PATHS];
        struct change *c = &sim.c.change[i];
        dir_of(c->path, a);
        dir_of(c->to, b);
        if (strcmp(a, dir) == 0 || (c->kind == RENAME && strcmp(b, dir) == 0))
            names_change(&sim.c.synced, c);
        else
            sim.c.change[left++] = *c;
    }
    sim.c.n_change = left;
}

/* ---- laying down ---- */

/* Sector by sector: of the writes that touch it, the first so many. */
static void tear(unsigned char **bytes, size_t *n, const struct written *w)
{
    if (w->truncates) {
        if (sim_random(2) != 0)
            apply(bytes, n, w);
        return;
    }
    uint64_t mode = sim_random(4); /* all, none, or sectors at random */
    for (uint64_t at = w->off; at < w->off + w->n;) {
        uint64_t to = (at / SECTOR + 1) * SECTOR;
        if (to > w->off + w->n)
            to = w->off + w->n;
        if (mode == 0 || (mode != 1 && sim_random(2) != 0)) {
            struct written part = {
                .off = at, .n = (size_t)(to - at), .bytes = w->bytes + (at - w->off)};
            apply(bytes, n, &part);
        }
        at = to;
    }
}

static void lay_file(const char *path, const struct file *f, bool power)
{
    size_t n = f->n;
    unsigned char *bytes = mem_alloc(n + 1);
    if (n != 0)
        memcpy(bytes, f->bytes, n);
    for (size_t i = 0; i < f->n_w; i++) {
        if (power)
            tear(&bytes, &n, &f->w[i]);
        else
            apply(&bytes, &n, &f->w[i]);
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ASSERT(fd >= 0);
    ASSERT(write(fd, bytes, n) == (ssize_t)n);
    close(fd);
    mem_free(bytes);
}

static void content_free(struct content *c)
{
    for (size_t i = 0; i < c->n_all; i++) {
        struct file *f = c->all[i];
        for (size_t k = 0; k < f->n_w; k++)
            mem_free(f->w[k].bytes);
        mem_free(f->w);
        mem_free(f->bytes);
        mem_free(f);
    }
    mem_free(c->all);
    mem_free(c->now.v);
    mem_free(c->synced.v);
    mem_free(c->change);
    *c = (struct content){0};
}

static struct file *copy_of(const struct content *from, const struct content *to, struct file *f)
{
    for (size_t i = 0; i < from->n_all; i++)
        if (from->all[i] == f)
            return to->all[i];
    return NULL;
}

static void *dup_bytes(const void *p, size_t n)
{
    void *q = mem_alloc(n + 1);
    if (n != 0)
        memcpy(q, p, n);
    return q;
}

static void content_copy(const struct content *from, struct content *to)
{
    content_free(to);
    to->n_all = from->n_all;
    to->all = mem_array(from->n_all + 1, sizeof(struct file *));
    for (size_t i = 0; i < from->n_all; i++) {
        const struct file *f = from->all[i];
        struct file *g = to->all[i] = NEW(struct file);
        g->n = f->n;
        g->bytes = dup_bytes(f->bytes, f->n);
        g->n_w = f->n_w;
        g->w = dup_bytes(f->w, f->n_w * sizeof(*f->w));
        for (size_t k = 0; k < f->n_w; k++)
            g->w[k].bytes = dup_bytes(f->w[k].bytes, f->w[k].n);
    }
    for (size_t i = 0; i < from->now.n; i++)
        name_set(&to->now, from->now.v[i].path, copy_of(from, to, from->now.v[i].f));
    for (size_t i = 0; i < from->synced.n; i++)
        name_set(&to->synced, from->synced.v[i].path, copy_of(from, to, from->synced.v[i].f));
    to->n_change = from->n_change;
    to->change = dup_bytes(from->change, from->n_change * sizeof(*from->change));
    for (size_t i = 0; i < to->n_change; i++)
        to->change[i].f = copy_of(from, to, from->change[i].f);
}

void sim_lay_down(const char *to, bool power)
{
    if (power)
        content_free(&sim.kept);
    else
        content_copy(&sim.c, &sim.kept);
    static const char *const sub[] = {"", "/segment", "/large", "/quarantine"};
    char path[600];
    struct names v = {0};
    for (size_t i = 0; i < ARRAY_LEN(sub); i++) {
        snprintf(path, sizeof(path), "%.300s%s", to, sub[i]);
        ASSERT(mkdir(path, 0700) == 0 || errno == EEXIST);
    }
    for (size_t i = 0; i < sim.c.synced.n; i++)
        name_set(&v, sim.c.synced.v[i].path, sim.c.synced.v[i].f);
    size_t most = power ? (size_t)sim_random(sim.c.n_change + 1) : sim.c.n_change;
    for (size_t i = 0; i < most; i++)
        names_change(&v, &sim.c.change[i]);
    for (size_t i = 0; i < v.n; i++) {
        snprintf(path, sizeof(path), "%.300s/%s", to, v.v[i].path);
        lay_file(path, v.v[i].f, power);
    }
    mem_free(v.v);
}

/* ---- begin and end ---- */

static void load_dir(const char *sub)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", sim.root, sub);
    DIR *d = opendir(path);
    if (d == NULL)
        return;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        struct stat st;
        char name[PATHS];
        snprintf(name, sizeof(name), "%s%s%.100s", sub, *sub != '\0' ? "/" : "", e->d_name);
        snprintf(path, sizeof(path), "%s/%s", sim.root, name);
        if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
            continue;
        struct file *f = file_new();
        grow(&f->bytes, &f->n, (size_t)st.st_size);
        int fd = open(path, O_RDONLY);
        ASSERT(fd >= 0 && read(fd, f->bytes, f->n) == (ssize_t)f->n);
        close(fd);
        name_set(&sim.c.now, name, f);
        name_set(&sim.c.synced, name, f);
    }
    closedir(d);
}

void sim_begin(const char *root, uint64_t seed)
{
    snprintf(sim.root, sizeof(sim.root), "%s", root);
    sim.rng = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    sim.ops = sim.hook_at = sim.fail_at = 0;
    sim.reads = sim.fail_read = 0;
    sim.bad.times = 0;
    sim.full = false;
    if (sim.kept.all != NULL) {
        sim.c = sim.kept;
        sim.kept = (struct content){0};
        return;
    }
    load_dir("");
    load_dir("segment");
    load_dir("large");
    load_dir("quarantine");
}

void sim_end(void)
{
    content_free(&sim.c);
}

void sim_forget(void)
{
    content_free(&sim.kept);
}

void sim_hook_at(uint64_t op, void (*hook)(void *arg), void *arg)
{
    pthread_mutex_lock(&sim.lock);
    sim.hook_at = op == 0 ? 0 : sim.ops + op;
    sim.hook = hook;
    sim.hook_arg = arg;
    pthread_mutex_unlock(&sim.lock);
}

void sim_fail_at(uint64_t op, int errnum)
{
    pthread_mutex_lock(&sim.lock);
    sim.fail_at = op == 0 ? 0 : sim.ops + op;
    sim.fail_errno = errnum;
    pthread_mutex_unlock(&sim.lock);
}

bool sim_has_failed(void)
{
    pthread_mutex_lock(&sim.lock);
    bool yes = sim.fail_at != 0 && sim.ops >= sim.fail_at;
    pthread_mutex_unlock(&sim.lock);
    return yes;
}

void sim_fail_read(uint64_t n)
{
    pthread_mutex_lock(&sim.lock);
    sim.fail_read = n == 0 ? 0 : sim.reads + n;
    pthread_mutex_unlock(&sim.lock);
}

void sim_fail_reads_at(const char *name, uint64_t off, unsigned times)
{
    pthread_mutex_lock(&sim.lock);
    snprintf(sim.bad.path, sizeof(sim.bad.path), "%s", name);
    sim.bad.off = off;
    sim.bad.times = times;
    pthread_mutex_unlock(&sim.lock);
}

void sim_disk_full(bool full)
{
    pthread_mutex_lock(&sim.lock);
    sim.full = full;
    pthread_mutex_unlock(&sim.lock);
}

uint64_t sim_ops_done(void)
{
    pthread_mutex_lock(&sim.lock);
    uint64_t n = sim.ops;
    pthread_mutex_unlock(&sim.lock);
    return n;
}

/* ---- the operations; each takes the lock, counts, and gives it back ---- */

static bool begin_op(bool needs_space)
{
    pthread_mutex_lock(&sim.lock);
    sim.ops++;
    if (sim.ops == sim.hook_at)
        sim.hook(sim.hook_arg);
    bool fails = sim.ops == sim.fail_at;
    if (fails)
        errno = sim.fail_errno;
    if (needs_space && sim.full) {
        errno = ENOSPC;
        fails = true;
    }
    return !fails;
}

static int end_op(int r)
{
    int why = errno;
    pthread_mutex_unlock(&sim.lock);
    errno = why;
    return r;
}

static int sim_open(const char *path, int flags, mode_t mode)
{
    if (!begin_op((flags & O_CREAT) != 0 && access(path, F_OK) != 0))
        return end_op(-1);
    const char *name = below_root(path);
    /* what reaches the disk when is decided here; O_DIRECT would only forbid torn writes */
    int fd = open(path, (flags & ~O_DIRECT) | O_CLOEXEC, mode);
    if (fd < 0)
        return end_op(fd);
    ASSERT(fd < FDS);
    struct open_fd *o = &sim.fd[fd];
    memset(o, 0, sizeof(*o));
    struct stat st;
    ASSERT(fstat(fd, &st) == 0);
    o->is_dir = S_ISDIR(st.st_mode);
    if (o->is_dir) {
        snprintf(o->dir, sizeof(o->dir), "%s", name);
        size_t n = strlen(o->dir);
        while (n > 0 && o->dir[n - 1] == '/')
            o->dir[--n] = '\0';
        return end_op(fd);
    }
    struct name *at = name_find(&sim.c.now, name);
    if (at == NULL) {
        o->f = file_new();
        change_add(LINK, name, "", o->f);
    } else {
        o->f = at->f;
        if (flags & O_TRUNC)
            written_add(o->f, 0, "", 0, true);
    }
    o->told = o->f->errors;
    return end_op(fd);
}

static int sim_close(int fd)
{
    pthread_mutex_lock(&sim.lock);
    return end_op(close(fd));
}

static ssize_t sim_pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
    struct stat st;
    size_t total = 0, left;
    for (int i = 0; i < n; i++)
        total += iov[i].iov_len;
    bool grows = fstat(fd, &st) != 0 || (uint64_t)off + total > (uint64_t)st.st_size;
    bool ok = begin_op(grows);
    struct file *f = sim.fd[fd].f;
    left = ok ? total : (size_t)sim_random(total + 1);
    int why = errno;
    for (int i = 0; i < n && left > 0; i++) {
        size_t part = iov[i].iov_len < left ? iov[i].iov_len : left;
        ASSERT(pwrite(fd, iov[i].iov_base, part, off) == (ssize_t)part);
        written_add(f, (uint64_t)off, iov[i].iov_base, part, false);
        off += (off_t)part;
        left -= part;
    }
    errno = why;
    pthread_mutex_unlock(&sim.lock);
    errno = why;
    return ok ? (ssize_t)total : -1;
}

/* How many of n bytes can be read, as far as the first page that cannot. Under the lock. */
static size_t readable(int fd, size_t n, uint64_t off)
{
    uint64_t page = sim.bad.off / PAGE * PAGE;
    if (++sim.reads == sim.fail_read)
        return 0;
    if (sim.bad.times == 0 || page + PAGE <= off || page >= off + n)
        return n;
    const struct name *at = name_find(&sim.c.now, sim.bad.path);
    if (at == NULL || at->f != sim.fd[fd].f)
        return n;
    if (page > off)
        return (size_t)(page - off);
    sim.bad.times--;
    return 0;
}

static ssize_t sim_pread(int fd, void *p, size_t n, off_t off)
{
    pthread_mutex_lock(&sim.lock);
    size_t can = readable(fd, n, (uint64_t)off);
    pthread_mutex_unlock(&sim.lock);
    if (can != 0 || n == 0)
        return pread(fd, p, can, off);
    errno = EIO;
    return -1;
}

static int sim_sync(int fd)
{
    bool ok = begin_op(false);
    struct open_fd *o = &sim.fd[fd];
    if (o->is_dir) {
        if (ok)
            dir_sync(o->dir);
        return end_op(ok ? 0 : -1);
    }
    o->f->errors += !ok;
    if (ok && o->told != o->f->errors) {
        ok = false;
        errno = EIO;
    }
    o->told = o->f->errors;
    file_sync(o->f, !ok);
    return end_op(ok ? 0 : -1);
}

static int sim_ftruncate(int fd, off_t size)
{
    if (!begin_op(false))
        return end_op(-1);
    written_add(sim.fd[fd].f, (uint64_t)size, "", 0, true);
    return end_op(ftruncate(fd, size));
}

static int sim_rename(const char *from, const char *to)
{
    if (!begin_op(false))
        return end_op(-1);
    int r = rename(from, to);
    if (r == 0) {
        struct name *at = name_find(&sim.c.now, below_root(from));
        change_add(RENAME, below_root(from), below_root(to), at != NULL ? at->f : NULL);
    }
    return end_op(r);
}

static int sim_unlink(const char *path)
{
    if (!begin_op(false))
        return end_op(-1);
    int r = unlink(path);
    if (r == 0) {
        struct name *at = name_find(&sim.c.now, below_root(path));
        change_add(UNLINK, below_root(path), "", at != NULL ? at->f : NULL);
    }
    return end_op(r);
}

const struct file_ops sim_ops = {
    .open = sim_open,
    .close = sim_close,
    .pwritev = sim_pwritev,
    .pread = sim_pread,
    .fdatasync = sim_sync,
    .fsync = sim_sync,
    .ftruncate = sim_ftruncate,
    .rename = sim_rename,
    .unlink = sim_unlink,
};
