/*
 * recover.c - rebuilds the table from the segments of earlier processes, then reports what lives.
 *
 * Runs once, on a thread that may block, while new messages are already being appended to new
 * segments. First all segments are read in order of the log (headers and envelopes only, content
 * only in an unproven tail); then done messages are dropped; then the living ones are reported,
 * oldest first. Nothing is changed on disk before that is over, so it may be cut off at any point.
 */
#include "relay/spool/spool_int.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"

/* A living message to be reported. */
struct found {
    uint64_t id;
    struct segment *g;
    uint32_t unit, more;
};

struct recovery {
    struct spool *s;
    struct segment *g;
    struct spool_recovery_stats *stats;
    struct found *found;
    size_t n_found;
    int64_t began_ms;
};

static void note_marks(struct recovery *k, const struct record *r)
{
    uint64_t last = k->g->seq;
    for (uint32_t i = 0; i < r->h.n_marks; i++) {
        uint64_t seq = record_mark(r, i).seq;
        if (seq != last && seq != k->g->seq && seq != 0)
            seq_set_add(&k->g->targets, seq);
        last = seq;
    }
}

static bool read_record(void *arg, const struct record *r)
{
    struct recovery *k = arg;
    spool_lock(k->s);
    state_replay(&k->s->table, k->g->slot, r);
    note_marks(k, r);
    if (r->h.flags & DISK_COPY)
        seq_set_add(&k->g->sources, r->source);
    spool_unlock(k->s);
    return true;
}

static void read_damage(void *arg, uint64_t from, uint64_t to)
{
    struct recovery *k = arg;
    char name[64];
    struct err alarm;
    snprintf(name, sizeof(name), "log-%" PRIu64 "-%" PRIu64, k->g->seq, from);
    quarantine_bytes(k->s, k->g, from, to, name);
    err_set(&alarm, ERR_CORRUPT, 0,
            "segment %08u is damaged from %" PRIu64 " to %" PRIu64
            "; the bytes are in quarantine/%s",
            k->g->slot, from, to, name);
    spool_alarm(k->s, "spool-log-damaged", NULL, &alarm);
    stats_inc(STAT_spool_quarantined);
    spool_lock(k->s);
    k->s->quarantined++;
    k->g->damaged = true;
    spool_unlock(k->s);
    k->stats->quarantined++;
}

static void read_segment(struct recovery *k)
{
    struct scan sc;
    struct walk_result result;
    struct walk w = {.arg = k, .record = read_record, .damage = read_damage};
    struct segment *g = k->g;
    segment_scan(k->s, g, &sc);
    scan_walk(&sc, g->end, &w, &result);
    k->stats->segments++;
    k->stats->records += result.records;
    k->stats->torn += result.torn;
    if (g->end ==
        0) { /* what was found must not vanish in a power failure after it was passed on */
        if (k->s->ops->fdatasync(g->fd) != 0) {
            struct err alarm;
            err_set(&alarm, ERR_SYSTEM, errno, "cannot sync segment %08u", g->slot);
            spool_alarm(k->s, "spool-write-failed", NULL, &alarm);
        }
        spool_lock(k->s);
        g->end = result.end;
        spool_unlock(k->s);
    }
    g->unread |= sc.io_error;
    scan_free(&sc);
}

static int by_seq(const void *a, const void *b)
{
    const struct segment *x = *(struct segment *const *)a, *y = *(struct segment *const *)b;
    return x->seq < y->seq ? -1 : x->seq > y->seq;
}

static void read_all(struct recovery *k)
{
    struct spool *s = k->s;
    struct segment **v = NULL;
    size_t n = 0;
    spool_lock(s);
    for (unsigned i = 0; i < s->n_segment; i++) {
        if (s->segment[i] == NULL || !s->segment[i]->old)
            continue;
        v = mem_realloc(v, (n + 1) * sizeof(struct segment *));
        v[n++] = s->segment[i];
    }
    spool_unlock(s);
    if (n != 0)
        qsort(v, n, sizeof(*v), by_seq);
    for (size_t i = 0; i < n; i++) {
        k->g = v[i];
        read_segment(k);
    }
    mem_free(v);
}

/* ---- what lives ---- */

static void settle_part(struct recovery *k, struct table_part *p)
{
    struct spool *s = k->s;
    k->found = mem_realloc(k->found, (k->n_found + p->n + 1) * sizeof(*k->found));
    for (uint32_t i = 0; i < p->cap;) {
        struct entry *e = &p->v[i];
        if (e->id == 0 || (e->more & ENTRY_FOUND) == 0) {
            i++;
            continue;
        }
        if (e->more & ENTRY_DEAD) {
            table_remove(&s->table, e); /* another may have moved here: look again */
            continue;
        }
        e->more &= ~(uint32_t)ENTRY_FOUND;
        struct segment *g = s->segment[e->slot];
        g->living++;
        g->changed_ms = k->began_ms; /* mail that is about to drain need not be copied first */
        g->living_bytes += (uint64_t)e->units * DISK_ALIGN;
        k->found[k->n_found++] =
            (struct found){.id = e->id, .g = g, .unit = e->unit, .more = e->more};
        i++;
    }
}

static int by_id(const void *a, const void *b)
{
    const struct found *x = a, *y = b;
    return x->id < y->id ? -1 : x->id > y->id;
}

static void settle(struct recovery *k)
{
    for (unsigned i = 0; i < TABLE_PARTS; i++) {
        spool_lock(k->s);
        settle_part(k, &k->s->table.part[i]);
        spool_unlock(k->s);
    }
    if (k->n_found != 0)
        qsort(k->found, k->n_found, sizeof(*k->found), by_id);
    stats_add(STAT_spool_messages, (int64_t)k->n_found);
}

static bool large_file_is_whole(struct spool *s, const struct disk_record *h)
{
    char path[PATH_MAX];
    struct stat st;
    return h->type != DISK_LARGE || (stat(spool_large_path(s, path, h->id), &st) == 0 &&
                                     (uint64_t)st.st_size == h->content_len);
}

static void report_one(struct recovery *k, const struct found *f, struct scan *sc,
                       spool_recover_fn *fn, void *arg)
{
    struct spool *s = k->s;
    uint8_t done[(DISK_RCPT_MAX + 7) / 8 + 1];
    struct record r;
    struct segment *g = f->g;
    done[0] = 0;
    if (f->more >> ENTRY_SIDE_SHIFT != 0) {
        spool_lock(s);
        const struct entry *e = table_find(&s->table, f->id);
        struct rcpts *rcpts = e != NULL ? table_rcpts(&s->table, e) : NULL;
        if (rcpts != NULL)
            memcpy(done, rcpts->done, record_bitmap_len(rcpts->n));
        spool_unlock(s);
        if (rcpts == NULL)
            return; /* removed meanwhile */
    }
    if (sc->fd != g->fd) {
        scan_free(sc);
        segment_scan(s, g, sc);
    }
    if (!scan_record(sc, (uint64_t)f->unit * DISK_ALIGN, g->size, &r) || r.h.id != f->id) {
        quarantine_message(s, f->id, "record header");
        k->stats->quarantined++;
        return;
    }
    if (!large_file_is_whole(s, &r.h)) {
        quarantine_message(s, f->id, "its file is missing or of another size");
        k->stats->quarantined++;
        return;
    }
    struct spool_recovered m = {.id = f->id,
                                .envelope = r.envelope,
                                .content_size = r.h.content_len,
                                .held = (f->more & ENTRY_HELD) != 0,
                                .delay_notified = (f->more & ENTRY_DELAYED) != 0,
                                .content_8bit = (r.h.flags & DISK_8BIT) != 0,
                                .n_rcpt = r.h.n_rcpt,
                                .rcpt_done = done};
    k->stats->messages++;
    fn(arg, &m);
}

/* Files that no living message names, of earlier processes only. */
static void remove_orphans(struct spool *s)
{
    char path[PATH_MAX];
    uint64_t id;
    DIR *d = opendir(spool_path(s, path, "large", ""));
    if (d == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (!spool_id_parse(str_c(entry->d_name), &id) || id_epoch(id) >= s->epoch)
            continue;
        spool_lock(s);
        bool lives = table_find(&s->table, id) != NULL;
        spool_unlock(s);
        if (!lives)
            s->ops->unlink(spool_large_path(s, path, id));
    }
    closedir(d);
}

bool spool_recover(struct spool *s, spool_recover_fn *fn, void *arg,
                   struct spool_recovery_stats *stats, struct err *e)
{
    struct spool_recovery_stats mine;
    int64_t began = clock_mono_ms();
    struct recovery k = {.s = s, .stats = stats != NULL ? stats : &mine, .began_ms = began};
    struct scan sc = {.fd = -1};
    *k.stats = (struct spool_recovery_stats){0};
    if (atomic_load(&s->recovered))
        return err_set(e, ERR_BUSY, 0, "the spool has been recovered already");
    read_all(&k);
    settle(&k);
    for (size_t i = 0; i < k.n_found; i++)
        report_one(&k, &k.found[i], &sc, fn, arg);
    scan_free(&sc);
    mem_free(k.found);
    remove_orphans(s);
    k.stats->took_ms = clock_mono_ms() - began;
    LOG(INFO, NULL, "spool-recovered", LU("messages", k.stats->messages),
        LU("records", k.stats->records), LU("segments", k.stats->segments),
        LU("quarantined", k.stats->quarantined), LU("torn", k.stats->torn),
        LI("ms", k.stats->took_ms));
    log_flush();
    atomic_store(&s->recovered, true);
    keeper_wake(s);
    return true;
}
