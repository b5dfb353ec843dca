/*
 * keeper.c - the thread that keeps house: makes segments ahead of need, frees those in which
 * nothing lives, has others compacted (compact.c), watches the disk, sets damaged mail aside.
 * Nothing waits for it but a commit that has run out of segments.
 *
 * Freeing follows the three steps of doc/spool-format.md (Recycling). If one fails the segment
 * stays as it is and is tried again later.
 */
#include "relay/spool/spool_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"

#define READ_ERRORS_MAX 10 /* then a person has to look */
#define SURPLUS_KEPT                                                                               \
    16u /* free segments kept beyond those wanted: unlinking 64 MB makes a sync wait */

_Atomic int keeper_poll_ms = 1000;
_Atomic int keeper_retry_ms = 5000;

static void run_wake(struct chan_node *n)
{
    struct spool *s = CONTAINER_OF(n, struct spool, keeper_wake);
    atomic_store(&s->keeper_awake, false);
    s->keeper_look = true;
}

void keeper_wake(struct spool *s)
{
    if (atomic_exchange(&s->keeper_awake, true))
        return;
    s->keeper_wake.run = run_wake;
    chan_send(s->keeper_in, &s->keeper_wake);
}

/* ---- the disk ---- */

void keeper_poll_space(struct spool *s)
{
    struct statvfs v;
    if (statvfs(s->dir, &v) != 0)
        return;
    uint64_t free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
    bool full = atomic_load(&s->full);
    bool inodes_out = v.f_files != 0 && v.f_favail < 16;
    spool_lock(s);
    s->disk_free = free_bytes;
    bool room = s->ready >= 2 || (s->ready == 1 && s->active_room > s->conf.segment_bytes / 4);
    if (room)
        s->no_space = false;
    bool low = free_bytes < (full ? s->conf.reserve_resume_bytes : s->conf.reserve_bytes);
    bool now = low || inodes_out || s->no_space;
    if (full && !now && s->fault_of_space)
        s->fault[0] = '\0';
    spool_unlock(s);
    if (now == full)
        return;
    atomic_store(&s->full, now);
    if (now)
        LOG(ERROR, NULL, "spool-full", LU("free", free_bytes), LC("dir", s->dir));
    else
        LOG(WARN, NULL, "spool-has-room", LU("free", free_bytes), LC("dir", s->dir));
}

/* ---- making ---- */

static bool wants_more(struct spool *s)
{
    spool_lock(s);
    unsigned want = atomic_load(&s->full) ? 2 : s->conf.segments_ready;
    bool more = s->ready < want;
    spool_unlock(s);
    return more;
}

static void made(struct spool *s, bool ok)
{
    spool_lock(s);
    s->make_failed = !ok;
    s->filled_once = true;
    pthread_cond_broadcast(&s->ready_changed);
    spool_unlock(s);
}

void keeper_make_segments(struct spool *s)
{
    struct err e;
    while (wants_more(s)) {
        int64_t now = clock_mono_ms();
        if (now < s->make_retry_ms && s->make_failed)
            return;
        if (atomic_load(&s->stopping) || !segment_make(s, &e)) {
            s->make_retry_ms = now + atomic_load(&keeper_poll_ms);
            if (!atomic_load(&s->stopping) && !s->make_failed)
                spool_fault(s, "spool-no-segment", &e);
            made(s, false);
            return;
        }
    }
    made(s, true);
}

/* ---- freeing ---- */

/* Under the lock. */
static bool is_freeable(struct spool *s, const struct segment *g, int64_t now)
{
    if (g->state != SEGMENT_SEALED || g->living != 0 || g->end == 0 || g->kept || now < g->retry_ms)
        return false;
    for (unsigned i = 0; i < g->sources.n; i++)
        if (segment_by_seq(s, g->sources.v[i]) != NULL)
            return false;
    return !segment_is_last_witness(s, g);
}

/* Under the lock: nothing older may be freed, for what lives there may be a copy of what was older,
 * and not be on disk. */
static uint64_t newest_unsure(const struct spool *s)
{
    uint64_t seq = 0;
    for (unsigned i = 0; i < s->n_segment; i++) {
        const struct segment *g = s->segment[i];
        if (g != NULL && g->unsure && (g->living != 0 || g->kept) && g->seq > seq)
            seq = g->seq;
    }
    return seq;
}

static struct segment *pick_freeable(struct spool *s)
{
    struct segment *best = NULL;
    int64_t now = clock_mono_ms();
    spool_lock(s);
    uint64_t unsure = newest_unsure(s);
    for (unsigned i = 0; i < s->n_segment; i++) {
        struct segment *g = s->segment[i];
        if (g != NULL && g->seq >= unsure && is_freeable(s, g, now) &&
            (best == NULL || g->seq < best->seq))
            best = g;
    }
    spool_unlock(s);
    return best;
}

struct forwarding {
    struct seq_set needed; /* segments in use that marks in this one are about */
    struct mark_vec marks;
};

static bool collect_marks(void *arg, const struct record *r)
{
    struct forwarding *f = arg;
    for (uint32_t i = 0; i < r->h.n_marks; i++) {
        struct disk_mark m = record_mark(r, i);
        for (unsigned k = 0; k < f->needed.n; k++)
            if (f->needed.v[k] == m.seq)
                mark_vec_add(&f->marks, &m, 1);
    }
    return true;
}

void keeper_forward_done(struct chan_node *n)
{
    struct forward_node *f = CONTAINER_OF(n, struct forward_node, node);
    f->wait->failed |= !f->ok;
    f->wait->outstanding--;
    mem_free(f->marks.v);
    mem_free(f);
}

void keeper_wait_for(struct spool *s, struct keeper_wait *w)
{
    chan_drain(s->keeper_in);
    while (w->outstanding != 0) {
        keeper_make_segments(s); /* the commit thread may be waiting for one */
        chan_wait(s->keeper_in, atomic_load(&keeper_poll_ms));
        chan_drain(s->keeper_in);
    }
}

static bool write_marks_again(struct spool *s, struct mark_vec *marks)
{
    struct keeper_wait w = {.outstanding = 1};
    struct forward_node *f = NEW(struct forward_node);
    f->node.run = node_is_forward;
    f->wait = &w;
    f->marks = *marks;
    commit_send(s, &f->node);
    keeper_wait_for(s, &w);
    return !w.failed;
}

bool keeper_reads_again(struct segment *g)
{
    g->unread = ++g->read_errors >= READ_ERRORS_MAX;
    return !g->unread;
}

static bool forward_marks(struct spool *s, struct segment *g)
{
    struct forwarding f = {0};
    struct scan sc;
    struct walk_result result;
    spool_lock(s);
    for (unsigned i = 0; i < g->targets.n; i++)
        if (g->targets.v[i] != g->seq && segment_by_seq(s, g->targets.v[i]) != NULL)
            seq_set_add(&f.needed, g->targets.v[i]);
    spool_unlock(s);
    if (f.needed.n == 0)
        return true;
    struct walk w = {.arg = &f, .record = collect_marks};
    segment_scan(s, g, &sc);
    scan_walk(&sc, g->end, &w, &result);
    bool again = sc.io_error && keeper_reads_again(g);
    scan_free(&sc);
    seq_set_free(&f.needed);
    if (again) {
        mem_free(f.marks.v);
        return false;
    }
    return f.marks.n == 0 || write_marks_again(s, &f.marks);
}

/* A segment that could not be read in full goes to quarantine/ as a whole. What was moved there and
 * not synced is only synced at the next try. */
static bool put_aside(struct spool *s, struct segment *g, struct err *e)
{
    char from[PATH_MAX], to[PATH_MAX], name[64], dir[PATH_MAX];
    snprintf(name, sizeof(name), "%08u", g->slot);
    spool_path(s, from, "segment", name);
    snprintf(name, sizeof(name), "segment-%" PRIu64 "-%" PRIu64, g->epoch, g->seq);
    if (s->ops->rename(from, spool_path(s, to, "quarantine", name)) != 0 && errno != ENOENT)
        return err_set(e, ERR_SYSTEM, errno, "cannot move %s to %s", from, to);
    if (!file_sync_dir(s->ops, spool_path(s, dir, "quarantine", ""), e) ||
        !file_sync_dir(s->ops, spool_path(s, dir, "segment", ""), e))
        return false;
    struct err alarm;
    err_set(&alarm, ERR_SYSTEM, EIO, "%s could not be read in full; the file is now %s", from, to);
    spool_alarm(s, "spool-segment-unreadable", NULL, &alarm);
    return true;
}

static void free_segment(struct spool *s, struct segment *g)
{
    struct err e;
    bool ok = forward_marks(s, g);
    if (ok) {
        spool_lock(s);
        g->state = SEGMENT_FREEING;
        spool_unlock(s);
        ok = g->unread ? put_aside(s, g, &e) : segment_write_free(s, g, &e);
        if (!ok)
            spool_fault(s, "spool-recycle-failed", &e);
    }
    spool_lock(s);
    g->state = ok ? SEGMENT_LEAVING : SEGMENT_SEALED;
    g->retry_ms = clock_mono_ms() + atomic_load(&keeper_retry_ms);
    spool_unlock(s);
    if (ok)
        stats_inc(STAT_spool_segments_recycled);
}

/* A freed segment that no reader holds: ready for use, or removed. */
static bool let_one_go(struct spool *s)
{
    struct segment *g = NULL;
    bool remove = false;
    spool_lock(s);
    for (unsigned i = 0; i < s->n_segment && g == NULL; i++)
        if (s->segment[i] != NULL && s->segment[i]->state == SEGMENT_LEAVING &&
            s->segment[i]->pins == 0)
            g = s->segment[i];
    if (g != NULL) {
        unsigned most = s->conf.segments_ready + (atomic_load(&s->full) ? 0 : SURPLUS_KEPT);
        remove = g->unread || g->size != s->conf.segment_bytes || s->ready >= most;
        if (!remove) {
            g->state = SEGMENT_READY;
            s->ready++;
            s->make_failed = false;
            pthread_cond_broadcast(&s->ready_changed);
        }
    }
    spool_unlock(s);
    if (remove)
        segment_remove(s, g);
    return g != NULL;
}

static void free_segments(struct spool *s)
{
    struct segment *g;
    while (!atomic_load(&s->stopping) && (g = pick_freeable(s)) != NULL)
        free_segment(s, g);
    while (let_one_go(s)) {
    }
}

void *keeper_main(void *arg)
{
    struct spool *s = arg;
    int64_t next_poll = 0;
    while (!atomic_load(&s->stopping)) {
        chan_drain(s->keeper_in); /* before looking: a wake from here on is not lost */
        s->keeper_look = false;
        if (atomic_load(&s->stopping))
            break;
        bool tidy = atomic_load(&s->recovered);
        if (tidy)
            free_segments(s); /* before making: what is freed need not be made */
        keeper_make_segments(s);
        while (tidy && !atomic_load(&s->stopping) && compact_one(s))
            free_segments(s);
        if (clock_mono_ms() >= next_poll || atomic_load(&s->no_space)) {
            keeper_poll_space(s);
            spool_lock(s);
            table_trim(&s->table);
            spool_unlock(s);
            next_poll = clock_mono_ms() + atomic_load(&keeper_poll_ms);
        }
        log_flush();
        if (!s->keeper_look && !atomic_load(&s->stopping)) /* else one came while waiting inside */
            chan_wait(s->keeper_in, atomic_load(&keeper_poll_ms));
    }
    chan_drain(s->keeper_in);
    made(s, false); /* nobody waits for segments any more */
    log_flush();
    return NULL;
}
