/*
 * ldif_source.c - a directory from an LDIF file that is watched and swapped whole.
 *
 * The folder is watched by inotify (a file moved there, or closed by a writer) and the file
 * looked at every two seconds besides, for file systems that notify nobody. A changed file is read
 * twice: once to see that all of it is good, then to take the differences over. A bad file changes
 * nothing and is reported with its line. The cookie is the hash of the content, so a restart reads
 * an unchanged file only once.
 */
#include "directory/source.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "directory/hashmap.h"
#include "directory/ldif.h"
#include "directory/map.h"

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
struct ldif_watch {
    struct source *s;
    struct map *map;
    int inotify; /* -1: only polling */
    char *folder;
    const char *file;
    struct stamp stamp; /* of the file last read, good or bad */
    bool good;          /* that one was taken over */
    bool seen;          /* there was one */
    bool whole;         /* the writer has closed it or moved it there */
    /* of the reading in hand */
    bool apply;
    struct hashmap uuids;
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

/* ---- records ---- */

static void record_uuid(const struct ldif_record *r, unsigned char *uuid)
{
    for (unsigned i = 0; i < r->n; i++) {
        if (str_eq_nocase(r->value[i].name, STR("entryUUID")) &&
            map_uuid_parse(r->value[i].value, uuid))
            return;
        if (str_eq_nocase(r->value[i].name, STR("objectGUID")) &&
            r->value[i].value.n == DIR_UUID_SIZE) {
            memcpy(uuid, r->value[i].value.p, DIR_UUID_SIZE);
            return;
        }
    }
    map_uuid_from_dn(r->dn, uuid);
}

static bool on_record(void *arg, const struct ldif_record *r, struct err *e)
{
    struct ldif_watch *w = arg;
    struct dir_entry entry;
    unsigned char uuid[DIR_UUID_SIZE];
    record_uuid(r, uuid);
    if (!w->apply) {
        uint64_t hash = dir_uuid_hash(uuid);
        if (hashmap_has(&w->uuids, hash))
            return err_set(e, ERR_INPUT, 0,
                           "this entry is in the file twice (same DN, entryUUID or objectGUID); "
                           "each must be there once");
        hashmap_set(&w->uuids, hash, 0);
        return true;
    }
    map_begin(w->map);
    map_dn(w->map, r->dn);
    for (unsigned i = 0; i < r->n; i++)
        map_value(w->map, r->value[i].name, r->value[i].value);
    bool is_entry = map_end(w->map, uuid, &entry);
    if (map_bad_value(w->map).n != 0)
        source_bad_value(w->s, r->dn, map_bad_value(w->map));
    if (is_entry && !replica_upsert(w->s->replica, &entry))
        source_bad_value(w->s, r->dn, STR("(the whole entry is too long)"));
    return true;
}

/* Reads the file from its beginning; *hash of all its octets. */
static bool read_through(struct ldif_watch *w, int fd, bool apply, uint64_t *hash, struct err *e)
{
    struct ldif *l = ldif_new(on_record, w);
    struct hash_state *sum = hash_state_new();
    char *p = mem_alloc(READ_SIZE);
    size_t got = 0;
    bool ok = true;
    w->apply = apply;
    hash_state_reset(sum, 1);
    for (off_t at = 0; ok; at += (off_t)got) {
        ok = file_read_at(&file_real, fd, p, READ_SIZE, at, &got, e) && ldif_feed(l, p, got, e);
        hash_state_add(sum, p, ok ? got : 0);
        w->stopped = ok && source_must_stop(w->s);
        if (w->stopped)
            ok = err_set(e, ERR_BUSY, 0, "stopping");
        if (got < READ_SIZE)
            break;
    }
    ok = ok && ldif_end(l, e);
    *hash = hash_state_end(sum);
    mem_free(p);
    hash_state_free(&sum);
    ldif_free(&l);
    hashmap_free(&w->uuids);
    return ok;
}

/* ---- the file ---- */

static bool take_over(struct ldif_watch *w, int fd, struct err *e)
{
    struct replica *r = w->s->replica;
    uint64_t hash, again;
    if (!read_through(w, fd, false, &hash, e))
        return false;
    struct str cookie = str_n((const char *)&hash, sizeof(hash));
    if (replica_is_complete(r) && str_eq(cookie, replica_cookie(r)))
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
 * unknown. Whole is what its writer closed or moved there, and what nobody has touched for a while.
 */
static bool is_settled(const struct ldif_watch *w, int fd, const struct stamp *st)
{
    int64_t age_ms = clock_wall_ms() - st->mtime_ns / 1000000;
    return w->whole || age_ms < 0 || age_ms > SETTLE_MS || has_no_writer(fd);
}

static void look(struct ldif_watch *w)
{
    struct stamp st;
    struct err e;
    int fd = open(w->s->c->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || !stamp_of(fd, &st)) {
        source_failed(w->s, "%s: %s", w->s->c->path, strerror(errno));
        w->seen = false;
    } else if (!w->seen || !stamp_equal(&st, &w->stamp)) {
        bool settled = is_settled(w, fd, &st);
        w->good = settled && take_over(w, fd, &e);
        w->seen = settled;
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

static void watch_start(struct ldif_watch *w)
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
static bool watch_read(struct ldif_watch *w)
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
static bool wait_for_change(struct ldif_watch *w)
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

void ldif_source_run(struct source *s)
{
    struct ldif_watch w = {.s = s};
    struct map_options o = map_options_of(s->c);
    w.map = map_new(&o);
    hashmap_init(&w.uuids, true);
    watch_start(&w);
    do
        look(&w);
    while (!w.stopped && wait_for_change(&w));
    if (w.inotify >= 0)
        close(w.inotify);
    mem_free(w.folder);
    map_free(&w.map);
}
