/*
 * file_source.c - see file_source.h.
 *
 * The folder is watched by inotify (a file moved there, or closed by a writer) and the file
 * looked at every two seconds besides, for file systems that notify nobody. A changed file is read
 * twice: once to see that all of it is good, then to take the differences over. A bad file changes
 * nothing and is reported with its line. The cookie is the hash of the content, so a restart reads
 * an unchanged file only once.
 */
#include "directory/file/file_source.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"

#define POLL_MS   2000 /* the fallback, and how often the file is seen to be there */
#define SETTLE_MS 2000 /* a file written in place and not closed yet must have rested so long */
#define RETRY_MS  200  /* until a file that was not whole is looked at again */
#define READ_SIZE ((size_t)1 << 20)

struct stamp {
    dev_t dev;
    ino_t ino;
    off_t size;
    int64_t mtime_ns, ctime_ns;
};
struct file_watch {
    struct source *s;
    const struct file_format *format;
    int inotify; /* -1: only polling */
    char *folder;
    const char *file;
    struct stamp stamp; /* of the file last looked at, good or bad */
    int64_t stamp_ms;   /* monotonic: when it was seen with that stamp first */
    bool good;          /* that one was taken over */
    bool seen;          /* there was one */
    bool whole;         /* the writer has closed it or moved it there */
    bool stopped;
};

static bool stamp_of(int fd, struct stamp *out)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return false;
    memset(out, 0, sizeof(*out));
    out->dev = st.st_dev;
    out->ino = st.st_ino;
    out->size = st.st_size;
    out->mtime_ns = st.st_mtim.tv_sec * (int64_t)1000000000 + st.st_mtim.tv_nsec;
    out->ctime_ns = st.st_ctim.tv_sec * (int64_t)1000000000 + st.st_ctim.tv_nsec;
    return true;
}

static bool stamp_equal(const struct stamp *a, const struct stamp *b)
{
    return a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           a->mtime_ns == b->mtime_ns && a->ctime_ns == b->ctime_ns;
}

/* ---- reading ---- */

bool file_load_note(struct file_load *l, const unsigned char *uuid, const char *twice,
                    struct err *e)
{
    uint64_t hash = dir_uuid_hash(uuid);
    if (hashmap_has(&l->uuids, hash))
        return err_set(e, ERR_INPUT, 0,
                       "this entry is in the file twice (%s); each must be there once", twice);
    if (l->uuids.n == l->s->c->entries_max)
        return err_set(e, ERR_LIMIT, 0, "more entries than entries_max = %u allows",
                       l->s->c->entries_max);
    hashmap_set(&l->uuids, hash, 0);
    return true;
}

void file_load_take(struct file_load *l, const struct dir_entry *e, struct str name)
{
    if (!replica_upsert(l->s->replica, e))
        source_bad_value(l->s, name, STR("(the whole entry is too long)"));
}

static bool feed(struct file_watch *w, void *parser, off_t at, const char *p, size_t n,
                 struct err *e)
{
    if ((uint64_t)at + n > w->s->c->file_bytes_max)
        return err_set(e, ERR_LIMIT, 0, "longer than file_max = %llu octets allow",
                       (unsigned long long)w->s->c->file_bytes_max);
    return w->format->feed(parser, p, n, e);
}

/* Reads the file from its beginning; *hash of all its octets. */
static bool read_through(struct file_watch *w, int fd, bool apply, uint64_t *hash, struct err *e)
{
    struct file_load load = {.s = w->s, .apply = apply};
    void *parser = w->format->begin(&load);
    struct hash_state *sum = hash_state_new();
    char *p = mem_alloc(READ_SIZE);
    size_t got = 0;
    bool ok = true;
    hashmap_init(&load.uuids, true);
    hash_state_reset(sum, 1);
    for (off_t at = 0; ok; at += (off_t)got) {
        ok = file_read_at(&file_real, fd, p, READ_SIZE, at, &got, e) &&
             feed(w, parser, at, p, got, e);
        hash_state_add(sum, p, ok ? got : 0);
        w->stopped = ok && source_must_stop(w->s);
        if (w->stopped)
            ok = err_set(e, ERR_BUSY, 0, "stopping");
        if (got < READ_SIZE)
            break;
    }
    ok = ok && w->format->end(parser, e);
    *hash = hash_state_end(sum);
    mem_free(p);
    hash_state_free(&sum);
    w->format->free(parser);
    hashmap_free(&load.uuids);
    return ok;
}

/* ---- the file ---- */

static bool take_over(struct file_watch *w, int fd, struct err *e)
{
    struct replica *r = w->s->replica;
    uint64_t hash, again;
    if (!read_through(w, fd, false, &hash, e))
        return false;
    struct str cookie = str_n((const char *)&hash, sizeof(hash));
    if (replica_is_complete(r) && replica_hold(r) == NULL && str_eq(cookie, replica_cookie(r)))
        return true;
    source_set_state(w->s, DIR_SOURCE_SYNCING);
    replica_refresh_begin(r);
    if (read_through(w, fd, true, &again, e) && again == hash)
        return replica_refresh_end(r, true, cookie, e);
    replica_abort(r);
    if (again != hash && !w->stopped)
        return err_set(e, ERR_INPUT, 0, "the file changed while it was read");
    return false;
}

/* Has nobody opened it for writing? The kernel gives a read lease only then; it is given back at
 * once. False as well where there are no leases, and for a file of somebody else's. */
static bool has_no_writer(int fd)
{
    /* who opens it just now interrupts the lease: with a signal that does nothing */
    if (fcntl(fd, F_SETSIG, SIGURG) != 0 || fcntl(fd, F_SETLEASE, F_RDLCK) != 0)
        return false;
    fcntl(fd, F_SETLEASE, F_UNLCK);
    return true;
}

/* Half a file can be a good one: it would delete the other half, or, at the first start, make it
 * unknown. Whole is what its writer closed or moved there, and what nobody has touched for a while:
 * by its time or, where that is in the future (another machine's clock), by ours.
 */
static bool is_settled(struct file_watch *w, int fd, const struct stamp *st)
{
    int64_t now = clock_mono_ms(), age_ms = clock_wall_ms() - st->mtime_ns / 1000000;
    if (!stamp_equal(st, &w->stamp))
        w->stamp_ms = now;
    if (age_ms < 0)
        age_ms = now - w->stamp_ms;
    return w->whole || age_ms > SETTLE_MS || has_no_writer(fd);
}

static void look(struct file_watch *w)
{
    struct stamp st;
    struct err e = {0};
    int fd = open(w->s->c->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || !stamp_of(fd, &st)) {
        source_failed(w->s, "%s: %s", w->s->c->path, strerror(errno));
        w->seen = false;
    } else if (!w->seen || !stamp_equal(&st, &w->stamp)) {
        bool settled = is_settled(w, fd, &st);
        w->good = settled && take_over(w, fd, &e);
        w->seen = settled && e.class != ERR_SYSTEM; /* what could not be read may be, soon */
        w->stamp = st;
        if (!w->good && settled && !w->stopped)
            source_failed(w->s, "%s: %s", w->s->c->path, e.text);
    }
    if (fd >= 0)
        close(fd);
    if (fd >= 0 && w->seen && w->good)
        source_is_current(w->s);
}

/* ---- waiting for a change ---- */

static void watch_start(struct file_watch *w)
{
    const char *path = w->s->c->path;
    const char *slash = strrchr(path, '/');
    w->folder = slash == NULL   ? str_dup(STR("."))
                : slash == path ? str_dup(STR("/"))
                                : str_dup(str_n(path, (size_t)(slash - path)));
    w->file = slash != NULL ? slash + 1 : path;
    w->inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (w->inotify >= 0 &&
        inotify_add_watch(w->inotify, w->folder, IN_CLOSE_WRITE | IN_MOVED_TO) < 0) {
        close(w->inotify);
        w->inotify = -1;
    }
}

/* Reads all that inotify has. True: our file was closed by a writer or moved to its place. */
static bool watch_read(struct file_watch *w)
{
    char p[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool result = false;
    for (;;) {
        ssize_t n = read(w->inotify, p, sizeof(p));
        if (n <= 0)
            return result;
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *ev = (const struct inotify_event *)(p + at);
            at += (ssize_t)sizeof(*ev) + ev->len;
            result = result || (ev->len != 0 && strcmp(ev->name, w->file) == 0);
        }
    }
}

/* Until there may be something to look at. False: the source ends. */
static bool wait_for_change(struct file_watch *w)
{
    int64_t end = clock_mono_ms() + (w->seen ? POLL_MS : RETRY_MS);
    w->whole = false;
    for (;;) {
        int64_t left = end - clock_mono_ms();
        bool ready;
        if (left <= 0)
            return !source_must_stop(w->s);
        if (!source_wait(w->s, w->inotify, (int)left, &ready))
            return false;
        if (ready && watch_read(w))
            return w->whole = true;
    }
}

void file_source_run(struct source *s, const struct file_format *f)
{
    struct file_watch w = {.s = s, .format = f};
    watch_start(&w);
    do
        look(&w);
    while (!w.stopped && wait_for_change(&w));
    if (w.inotify >= 0)
        close(w.inotify);
    mem_free(w.folder);
}
