/*
 * segment.c - the segment files: listing them at start, making new ones, headers, pins.
 *
 * A segment is written through with zeros and synced before it is ever used, so that the commit
 * thread's fdatasync finds no metadata to journal. Making is slow and is the keeper's work; it goes
 * past the page cache where the file system can do that, or a queue that grows would copy as many
 * zeros as mail. A file whose header was never finished is removed at start; a header of another
 * version ends the start.
 */
#include "relay/spool/spool_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"

#define ZEROS (256u * 1024)

bool seq_set_has(const struct seq_set *s, uint64_t seq)
{
    for (unsigned i = s->n; i-- > 0;)
        if (s->v[i] == seq)
            return true;
    return false;
}

void seq_set_add(struct seq_set *s, uint64_t seq)
{
    if (seq_set_has(s, seq))
        return;
    if (s->n == s->cap) {
        s->cap = s->cap < 4 ? 4 : s->cap * 2;
        s->v = mem_realloc(s->v, s->cap * sizeof(*s->v));
    }
    s->v[s->n++] = seq;
}

void seq_set_free(struct seq_set *s)
{
    mem_free(s->v);
    *s = (struct seq_set){0};
}

char *segment_path(const struct spool *s, char dst[PATH_MAX], unsigned slot)
{
    char name[16];
    snprintf(name, sizeof(name), "%08u", slot);
    return spool_path(s, dst, "segment", name);
}

static bool write_header(struct spool *s, int fd, struct disk_segment *h, struct err *e)
{
    unsigned char page[DISK_PAGE];
    header_write(h, page);
    struct iovec iov = {.iov_base = page, .iov_len = sizeof(page)};
    if (!file_write_all(s->ops, fd, &iov, 1, 0, e))
        return false;
    if (s->ops->fdatasync(fd) != 0)
        return err_set(e, ERR_SYSTEM, errno, "cannot sync a segment's header");
    return true;
}

/* Under the lock (or before threads run): puts a segment into its slot. */
static struct segment *segment_add(struct spool *s, unsigned slot, int fd)
{
    if (slot >= s->n_segment) {
        unsigned n = slot + 16;
        s->segment = mem_realloc(s->segment, n * sizeof(*s->segment));
        memset(s->segment + s->n_segment, 0, (n - s->n_segment) * sizeof(*s->segment));
        s->n_segment = n;
    }
    struct segment *g = NEW(struct segment);
    g->slot = slot;
    g->fd = fd;
    s->segment[slot] = g;
    return g;
}

static void segment_free(struct segment *g)
{
    seq_set_free(&g->targets);
    seq_set_free(&g->sources);
    seq_set_free(&g->names);
    mem_free(g);
}

static void segment_adopt(struct spool *s, unsigned slot, int fd, const struct disk_segment *h)
{
    struct segment *g = segment_add(s, slot, fd);
    g->use = h->use;
    g->size = h->size;
    if (h->state == DISK_FREE) {
        g->state = SEGMENT_READY;
        s->ready++;
        return;
    }
    g->state = SEGMENT_SEALED;
    g->old = true;
    g->seq = h->seq;
    g->salt = h->salt;
    g->epoch = h->epoch;
    atomic_store(&g->on_disk, true);
    if (h->seq >= s->next_seq)
        s->next_seq = h->seq + 1;
}

/* What was written as free may not be on disk yet, if the last process was killed just then. If
 * that cannot be synced it is written again: the next sync would say nothing of what was lost. */
static bool free_for_sure(struct spool *s, int fd, struct disk_segment *h, struct err *e)
{
    if (s->ops->fdatasync(fd) == 0)
        return true;
    h->use++;
    return write_header(s, fd, h, e);
}

static bool load_one(struct spool *s, const char *name, struct disk_segment *h, bool *keep,
                     struct err *e)
{
    char path[PATH_MAX];
    unsigned char page[DISK_PAGE];
    struct stat st;
    size_t got = 0;
    uint64_t slot;
    *keep = false;
    if (!str_to_u64(str_c(name), 99999999, &slot) || strlen(name) != 8)
        return true; /* not ours */
    spool_path(s, path, "segment", name);
    int fd = s->ops->open(path, O_RDWR | O_CLOEXEC, 0);
    if (fd < 0)
        return err_set(e, ERR_SYSTEM, errno, "cannot open %s", path);
    memset(page, 0, sizeof(page));
    bool ok = file_read_at(s->ops, fd, page, sizeof(page), 0, &got, e);
    if (!ok) {
        s->ops->close(fd);
        return err_wrap(e, "%s", path);
    }
    enum header_verdict v = header_read(page, h);
    if (v == HEADER_VERSION) {
        s->ops->close(fd);
        return err_set(
            e, ERR_CONFIG, 0,
            "%s was written in spool format %u and this program reads format %u: use the "
            "program that wrote it to empty the spool first",
            path, h->version, DISK_VERSION);
    }
    bool right_size = fstat(fd, &st) == 0 && v == HEADER_VALID && (uint64_t)st.st_size == h->size;
    bool useful = right_size && (h->state == DISK_IN_USE || h->size == s->conf.segment_bytes);
    if (useful && h->state == DISK_FREE && !free_for_sure(s, fd, h, e)) {
        s->ops->close(fd);
        return err_wrap(e, "%s", path);
    }
    if (useful) {
        segment_adopt(s, (unsigned)slot, fd, h);
        *keep = h->state == DISK_IN_USE;
        return true;
    }
    s->ops->close(fd);
    if (v == HEADER_BLANK || (v == HEADER_VALID && h->state == DISK_FREE)) {
        s->ops->unlink(path); /* never finished, or of another size and empty */
        return true;
    }
    /* A header that is neither: no crash leaves that. The file is kept for a person. */
    char aside[PATH_MAX], aside_name[64];
    struct err alarm;
    snprintf(aside_name, sizeof(aside_name), "segment-%.8s-%lld", name, (long long)st.st_ino);
    if (s->ops->rename(path, spool_path(s, aside, "quarantine", aside_name)) != 0)
        return err_set(e, ERR_SYSTEM, errno,
                       "the header of %s is damaged, and the file cannot be moved to %s", path,
                       aside);
    err_set(&alarm, ERR_CORRUPT, 0, "the header of %s is damaged; the file is now %s", path, aside);
    spool_alarm(s, "spool-segment-damaged", NULL, &alarm);
    s->quarantined++;
    return true;
}

bool segments_load(struct spool *s, uint64_t *max_epoch, struct err *e)
{
    char path[PATH_MAX];
    struct disk_segment *heads = NULL;
    size_t n = 0;
    bool ok = true, keep;
    DIR *d = opendir(spool_path(s, path, "segment", ""));
    if (d == NULL)
        return err_set(e, ERR_SYSTEM, errno, "cannot read %s", path);
    for (struct dirent *entry; ok && (entry = readdir(d)) != NULL;) {
        struct disk_segment h = {0};
        ok = load_one(s, entry->d_name, &h, &keep, e);
        if (h.epoch > *max_epoch && h.magic == DISK_SEGMENT_MAGIC)
            *max_epoch = h.epoch;
        if (ok && keep) {
            heads = mem_realloc(heads, (n + 1) * sizeof(*heads));
            heads[n++] = h;
        }
    }
    closedir(d);
    for (size_t i = 0; i < n; i++)
        ended_learn(s, &heads[i]);
    mem_free(heads);
    /* ... and a segment that was put aside must stay there */
    return ok && file_sync_dir(s->ops, spool_path(s, path, "quarantine", ""), e) &&
           file_sync_dir(s->ops, spool_path(s, path, "segment", ""), e);
}

void segments_free(struct spool *s)
{
    for (unsigned i = 0; i < s->n_segment; i++) {
        struct segment *g = s->segment[i];
        if (g == NULL)
            continue;
        s->ops->close(g->fd);
        segment_free(g);
    }
    mem_free(s->segment);
    s->segment = NULL;
    s->n_segment = 0;
}

static bool write_zeros(struct spool *s, int fd, struct err *e)
{
    void *zeros = aligned_alloc(DISK_PAGE, ZEROS);
    if (zeros == NULL)
        return err_set(e, ERR_SYSTEM, ENOMEM, "cannot make a new segment");
    memset(zeros, 0, ZEROS);
    bool ok = true;
    for (uint64_t off = 0; ok && off < s->conf.segment_bytes;) {
        uint64_t left = s->conf.segment_bytes - off;
        size_t n = left < ZEROS ? (size_t)left : ZEROS;
        struct iovec iov = {.iov_base = zeros, .iov_len = n};
        ok = file_write_all(s->ops, fd, &iov, 1, (off_t)off, e);
        off += n;
        /* in small helpings, so that the commit thread's syncs do not wait behind all of it */
        if (ok && off % (8 * ZEROS) == 0 && s->ops->fdatasync(fd) != 0)
            ok = err_set(e, ERR_SYSTEM, errno, "cannot sync a new segment");
        if (ok && atomic_load(&s->stopping))
            ok = err_set(e, ERR_BUSY, 0, "stopping");
    }
    free(zeros);
    if (ok && s->ops->fsync(fd) != 0)
        ok = err_set(e, ERR_SYSTEM, errno, "cannot sync a new segment");
    return ok;
}

static bool fill_with(struct spool *s, const char *path, int flags, struct err *e)
{
    int fd = s->ops->open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | flags, 0600);
    if (fd < 0)
        return err_set(e, ERR_SYSTEM, errno, "cannot create");
    bool ok = write_zeros(s, fd, e);
    s->ops->close(fd);
    return ok;
}

/* Makes the file and fills it. Not every file system knows O_DIRECT, nor does every size fit it:
 * both say EINVAL. */
static bool fill_new(struct spool *s, const char *path, struct err *e)
{
    if (fill_with(s, path, O_DIRECT, e))
        return true;
    return e->errnum == EINVAL && fill_with(s, path, 0, e);
}

bool segment_make(struct spool *s, struct err *e)
{
    char path[PATH_MAX], dir[PATH_MAX];
    unsigned slot = 0;
    spool_lock(s);
    while (slot < s->n_segment && s->segment[slot] != NULL)
        slot++;
    spool_unlock(s);
    segment_path(s, path, slot);
    struct disk_segment h = {
        .state = DISK_FREE, .use = 1, .size = s->conf.segment_bytes, .epoch = s->epoch};
    bool ok = fill_new(s, path, e);
    int fd = ok ? s->ops->open(path, O_RDWR | O_CLOEXEC, 0) : -1;
    if (ok && fd < 0)
        ok = err_set(e, ERR_SYSTEM, errno, "cannot open");
    ok = ok && write_header(s, fd, &h, e) &&
         file_sync_dir(s->ops, spool_path(s, dir, "segment", ""), e);
    if (!ok) {
        err_wrap(e, "%s", path);
        if (fd >= 0)
            s->ops->close(fd);
        s->ops->unlink(path);
        return false;
    }
    spool_lock(s);
    struct segment *g = segment_add(s, slot, fd);
    g->state = SEGMENT_READY;
    g->use = 1;
    g->size = h.size;
    s->ready++;
    pthread_cond_broadcast(&s->ready_changed);
    spool_unlock(s);
    return true;
}

struct segment *segment_take(struct spool *s)
{
    for (unsigned i = 0; i < s->n_segment; i++) {
        struct segment *g = s->segment[i];
        if (g == NULL || g->state != SEGMENT_READY)
            continue;
        s->ready--;
        g->state = SEGMENT_ACTIVE;
        g->use++;
        g->seq = s->next_seq++;
        g->epoch = s->epoch;
        random_bytes(&g->salt, sizeof(g->salt));
        g->end = 0;
        g->broken = g->damaged = g->old = g->unread = g->begun = false;
        g->kept = g->unsure = false;
        atomic_store(&g->on_disk, false);
        g->living = g->living_bytes = 0;
        g->retry_ms = 0;
        g->read_errors = 0;
        g->pos = g->synced = DISK_RECORDS_BEGIN;
        g->batch = 0;
        g->targets.n = g->sources.n = g->names.n = 0;
        return g;
    }
    return NULL;
}

bool segment_write_free(struct spool *s, struct segment *g, struct err *e)
{
    struct disk_segment h = {
        .state = DISK_FREE, .use = ++g->use, .size = g->size, .epoch = s->epoch};
    return write_header(s, g->fd, &h, e);
}

struct segment *segment_by_seq(struct spool *s, uint64_t seq)
{
    for (unsigned i = 0; i < s->n_segment; i++) {
        struct segment *g = s->segment[i];
        if (g != NULL && g->seq == seq && segment_is_in_use(g))
            return g;
    }
    return NULL;
}

void segment_scan(struct spool *s, const struct segment *g, struct scan *sc)
{
    scan_init(sc, s->ops, g->fd, g->salt, g->size);
}

void segment_pin(struct segment *g)
{
    g->pins++;
}

void segment_unpin(struct spool *s, struct segment *g)
{
    spool_lock(s);
    bool last = --g->pins == 0 && g->state == SEGMENT_LEAVING;
    spool_unlock(s);
    if (last)
        keeper_wake(s);
}

void segment_remove(struct spool *s, struct segment *g)
{
    char path[PATH_MAX];
    s->ops->unlink(segment_path(s, path, g->slot));
    s->ops->close(g->fd);
    spool_lock(s);
    s->segment[g->slot] = NULL;
    spool_unlock(s);
    segment_free(g);
}
