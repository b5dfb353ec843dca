/*
 * spool_recover_test.c - what recovery keeps where it cannot see all of the log, or where the disk
 * fails it: acknowledged mail, the files of large messages, and damaged bytes for a person.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "relay/spool/spool_int.h"
#include "tests/unit/spool_sim.h"

static void begin_recovered(struct rig *r)
{
    struct seen_list l;
    sim_rig_begin(r);
    atomic_store(&keeper_retry_ms, 20);
    rig_open(r);
    rig_recover(r, &l);
    seen_free(&l);
}

static void poke(const struct rig *r, const char *name, uint64_t off, const void *p, size_t n)
{
    char path[400];
    snprintf(path, sizeof(path), "%s/%s", r->dir, name);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, p, n, (off_t)off), n);
    close(fd);
}

/* ---- files of large messages ---- */

/* A large message between two others. Closed afterwards. */
static uint64_t one_large(struct rig *r, char name[32], uint64_t *off)
{
    uint64_t id = spool_next_id(r->s);
    assert_int_equal(append(r, spool_next_id(r->s), 1, 300), SPOOL_OK);
    assert_int_equal(append_large(r, id, 1, 40000), SPOOL_OK);
    assert_int_equal(append(r, spool_next_id(r->s), 1, 300), SPOOL_OK);
    *off = place_of(r, id, name);
    rig_close(r);
    return id;
}

/* Its record cannot be read at one start, and can at the next. */
static void test_file_of_a_record_that_cannot_be_read(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    char name[32];
    uint64_t off;
    begin_recovered(&r);
    uint64_t id = one_large(&r, name, &off);
    sim_fail_reads_at(name, off, UINT_MAX);
    rig_open(&r);
    rig_recover(&r, &l);
    assert_null(seen_find(&l, id));
    seen_free(&l);
    assert_int_equal(entries_in(&r, "large"), 1);
    rig_close(&r);
    sim_fail_reads_at(name, off, 0);
    rig_open(&r);
    rig_recover(&r, &l);
    assert_non_null(seen_find(&l, id));
    assert_int_equal(read_back(&r, id, 40000, 1), 0);
    seen_free(&l);
    sim_rig_end(&r);
}

/* Its record is damaged and goes to quarantine/: the content is whole, and stays for who mends it.
 */
static void test_file_of_a_damaged_record(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    char name[32];
    uint64_t off;
    begin_recovered(&r);
    one_large(&r, name, &off);
    poke(&r, name, off + sizeof(struct disk_record), "x", 1);
    for (int i = 0; i < 3; i++) {
        rig_reopen(&r, &l);
        assert_int_equal(l.n, 2);
        seen_free(&l);
        assert_int_equal(entries_in(&r, "large"), 1);
    }
    sim_rig_end(&r);
}

/* The segment is set aside for its header. */
static void test_file_of_a_segment_set_aside(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    char name[32];
    uint64_t off;
    begin_recovered(&r);
    one_large(&r, name, &off);
    poke(&r, name, 16, "damage", 6);
    poke(&r, name, DISK_COPY_AT + 16, "damage", 6);
    for (int i = 0; i < 2; i++) {
        rig_reopen(&r, &l);
        assert_int_equal(l.n, 0);
        seen_free(&l);
        assert_int_equal(entries_in(&r, "large"), 1);
    }
    sim_rig_end(&r);
}

/* Syncs of segments wait while this is set. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed;
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void gate_close(bool closed)
{
    pthread_mutex_lock(&gate.lock);
    gate.closed = closed;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static int gated_sync(int fd)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.closed)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
    return sim_ops.fdatasync(fd);
}

static void deliver_at_once(void *arg, const struct spool_recovered *m)
{
    struct rig *r = arg;
    gate_close(true);
    mark(r, m->id, 0, SPOOL_MARK_DELIVERED);
    while (read_back(r, m->id, m->content_size, 1) == 0) { /* until the mark was taken */
    }
}

/* It is delivered while recovery runs: its file goes when the mark is on disk. */
static void test_file_of_a_message_delivered_in_recovery(void **state)
{
    (void)state;
    struct rig r;
    struct err e;
    struct file_ops ops = sim_ops;
    begin_recovered(&r);
    assert_int_equal(append_large(&r, spool_next_id(r.s), 1, 40000), SPOOL_OK);
    rig_close(&r);
    ops.fdatasync = gated_sync;
    r.ops = &ops;
    rig_open(&r);
    assert_true(wait_for_free(&r, 2));
    assert_true(spool_recover(r.s, deliver_at_once, &r, NULL, &e));
    assert_int_equal(entries_in(&r, "large"), 1);
    gate_close(false);
    settle(&r);
    rig_close(&r);
    assert_int_equal(entries_in(&r, "large"), 0);
    sim_rig_end(&r);
}

/* ---- a start over quota ---- */

static int open_over_quota(const char *path, int flags, mode_t mode)
{
    if (strstr(path, "/state.tmp") == NULL)
        return sim_ops.open(path, flags, mode);
    errno = EDQUOT;
    return -1;
}

static void test_start_over_quota(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct file_ops ops = sim_ops;
    begin_recovered(&r);
    uint64_t id = spool_next_id(r.s);
    assert_int_equal(append(&r, id, 1, 300), SPOOL_OK);
    rig_close(&r);
    ops.open = open_over_quota;
    r.ops = &ops;
    rig_reopen(&r, &l);
    assert_int_equal(l.n, 1);
    assert_true(spool_next_id(r.s) > id);
    seen_free(&l);
    sim_rig_end(&r);
}

/* ---- reads that fail in recovery ---- */

/* A segment that is over and one after it, which says so. Closed afterwards. */
static void two_segments(struct rig *r, uint64_t id[6])
{
    for (size_t i = 0; i < 6; i++) {
        id[i] = spool_next_id(r->s);
        assert_int_equal(append(r, id[i], 1, i == 2 ? 300 : 14000), SPOOL_OK);
    }
}

/* Once: nothing comes of it. */
static void test_read_that_fails_once(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    char name[32];
    uint64_t id[6], n;
    begin_recovered(&r);
    two_segments(&r, id);
    uint64_t off = place_of(&r, id[2], name);
    for (n = 1; n < 60; n++) {
        rig_close(&r);
        rig_open(&r);
        if (n % 4 == 0)
            sim_fail_reads_at(name, off, 2);
        else
            sim_fail_read(n);
        rig_recover(&r, &l);
        assert_int_equal(l.n, 6);
        assert_int_equal(l.stats.quarantined, 0);
        seen_free(&l);
        sim_fail_read(0);
    }
    assert_int_equal(entries_in(&r, "quarantine"), 0);
    sim_rig_end(&r);
}

/* For the whole time: what could not be read is there at the next start, and what ended is over. */
static void test_reads_that_fail_in_one_run(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct spool_status st;
    char name[32];
    uint64_t id[6];
    begin_recovered(&r);
    two_segments(&r, id);
    uint64_t off = place_of(&r, id[2], name);
    rig_close(&r);
    sim_fail_reads_at(name, off, UINT_MAX);
    rig_open(&r);
    rig_recover(&r, &l);
    assert_null(seen_find(&l, id[2]));
    assert_int_equal(l.stats.quarantined, 0);
    spool_status(r.s, &st);
    assert_non_null(strstr(st.last_error, "for the next start"));
    for (size_t i = 0; i < l.n; i++)
        mark(&r, l.v[i].id, 0, SPOOL_MARK_DELIVERED);
    assert_true(l.n == 5); /* the bytes behind it are read */
    seen_free(&l);
    settle(&r);
    rig_close(&r);
    sim_fail_reads_at(name, off, 0);
    rig_open(&r);
    rig_recover(&r, &l);
    assert_int_equal(l.n, 1);
    assert_int_equal(read_back(&r, id[2], 300, 1), 0);
    assert_int_equal(entries_in(&r, "quarantine"), 0);
    seen_free(&l);
    sim_rig_end(&r);
}

/* The record is read well with the log and badly for the report. */
static struct {
    off_t off;
    unsigned seen; /* reads of it */
    unsigned from; /* these fail, from 1 */
} spot;

static ssize_t pread_report(int fd, void *p, size_t n, off_t off)
{
    if (off <= spot.off && spot.off < off + (off_t)n && ++spot.seen >= spot.from) {
        errno = EIO;
        return -1;
    }
    return sim_ops.pread(fd, p, n, off);
}

static void test_report_that_cannot_be_read(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct file_ops ops = sim_ops;
    char name[32];
    begin_recovered(&r);
    r.conf.compact_below = 0; /* it stays where it is */
    uint64_t id = spool_next_id(r.s);
    assert_int_equal(append(&r, id, 1, 300), SPOOL_OK);
    spot.off = (off_t)place_of(&r, id, name);
    rig_close(&r);
    ops.pread = pread_report;
    r.ops = &ops;
    spot.from = UINT_MAX;
    for (int round = 0; round < 2; round++) { /* the first only counts */
        spot.seen = 0;
        rig_open(&r);
        rig_recover(&r, &l);
        assert_int_equal(l.n, round == 0 ? 1 : 0);
        assert_int_equal(l.stats.quarantined, 0);
        seen_free(&l);
        rig_close(&r);
        spot.from = spot.seen; /* the last is the report's */
    }
    r.ops = &sim_ops;
    rig_open(&r);
    rig_recover(&r, &l);
    assert_int_equal(l.n, 1);
    assert_int_equal(read_back(&r, id, 300, 1), 0);
    seen_free(&l);
    sim_rig_end(&r);
}

/* ---- reads and syncs that fail while a segment is freed ---- */

/* A segment with nothing but the mark of one recipient in the segment before it. Returns that
 * message; `seq` is the segment's number. */
static uint64_t mark_to_forward(struct rig *r, char name[32], uint64_t *seq)
{
    uint64_t first = spool_next_id(r->s), id = 0;
    assert_int_equal(append(r, first, 2, 14000), SPOOL_OK);
    for (int i = 0; i < 3; i++)
        assert_int_equal(append(r, spool_next_id(r->s), 1, 14000), SPOOL_OK);
    assert_int_equal(append(r, id = spool_next_id(r->s), 1, 14000), SPOOL_OK);
    *seq = seq_of(r, id);
    assert_true(seq_of(r, first) != *seq);
    place_of(r, id, name);
    mark(r, first, 1, SPOOL_MARK_DELIVERED);
    mark(r, id, 0, SPOOL_MARK_DELIVERED);
    settle(r);
    return first;
}

/* Until it is over, with nothing that lives. */
static void end_segment(struct rig *r, uint64_t seq)
{
    uint64_t id[4];
    for (size_t i = 0; i < ARRAY_LEN(id); i++)
        assert_int_equal(append(r, id[i] = spool_next_id(r->s), 1, 14000), SPOOL_OK);
    assert_true(seq_of(r, id[3]) != seq);
    for (size_t i = 0; i < ARRAY_LEN(id); i++)
        mark(r, id[i], 0, SPOOL_MARK_DELIVERED);
}

/* One read fails when marks are written again: it is done once more. */
static void test_read_that_fails_while_marks_are_forwarded(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    char name[32];
    uint64_t seq;
    begin_recovered(&r);
    uint64_t id = mark_to_forward(&r, name, &seq);
    sim_fail_reads_at(name, DISK_RECORDS_BEGIN, 1);
    end_segment(&r, seq);
    assert_true(wait_until_free(&r, seq));
    assert_int_equal(entries_in(&r, "quarantine"), 0);
    rig_reopen(&r, &l);
    assert_int_equal(seen_find(&l, id)->done[0], 2);
    seen_free(&l);
    sim_rig_end(&r);
}

static _Atomic bool dir_sync_fails;

static int fsync_dir(int fd)
{
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISDIR(st.st_mode) || !atomic_exchange(&dir_sync_fails, false))
        return sim_ops.fsync(fd);
    errno = EIO;
    return -1;
}

static int rename_unsynced(const char *from, const char *to)
{
    int r = sim_ops.rename(from, to);
    atomic_store(&dir_sync_fails, r == 0 && strstr(to, "quarantine") != NULL);
    return r;
}

/* A segment that cannot be read is moved to quarantine/, which is not synced at the first try. */
static void test_sync_that_fails_after_a_segment_was_moved(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct file_ops ops = sim_ops;
    char name[32];
    uint64_t seq;
    sim_rig_begin(&r);
    atomic_store(&keeper_retry_ms, 20);
    ops.fsync = fsync_dir;
    ops.rename = rename_unsynced;
    r.ops = &ops;
    rig_reopen(&r, &l);
    seen_free(&l);
    mark_to_forward(&r, name, &seq);
    sim_fail_reads_at(name, DISK_RECORDS_BEGIN, UINT_MAX);
    end_segment(&r, seq);
    assert_true(wait_until_free(&r, seq));
    assert_true(entries_in(&r, "quarantine") >= 1); /* the next file of that name is as bad */
    sim_rig_end(&r);
}

/* ---- a sync that fails in recovery ---- */

#define LAID 8 /* ways in which a power failure may leave the disk */

/* A disk that is killed when a copy was written and before it is synced. */
static struct {
    _Atomic bool armed, done;
    char base[256];
    unsigned n; /* folders laid down */
} crash;

static void lay_down_killed(void *arg)
{
    (void)arg;
    char to[300];
    snprintf(to, sizeof(to), "%s/%u", crash.base, ++crash.n);
    sim_lay_down(to, false);
    atomic_store(&crash.done, true);
}

static void lay_down_powerless(void *arg)
{
    (void)arg;
    char to[300];
    for (unsigned i = 0; i < LAID; i++) {
        snprintf(to, sizeof(to), "%s/%u", crash.base, ++crash.n);
        sim_lay_down(to, true);
    }
    atomic_store(&crash.done, true);
}

static bool holds_copy(const struct iovec *v)
{
    struct disk_record h;
    for (size_t at = 0; at + sizeof(h) <= v->iov_len; at += DISK_ALIGN) {
        memcpy(&h, (const char *)v->iov_base + at, sizeof(h));
        if (h.magic == DISK_RECORD_MAGIC && (h.flags & DISK_COPY) != 0)
            return true;
    }
    return false;
}

static ssize_t pwritev_kill_at_copy(int fd, const struct iovec *iov, int n, off_t off)
{
    bool copy = holds_copy(&iov[0]);
    ssize_t r = sim_ops.pwritev(fd, iov, n, off);
    if (copy && atomic_exchange(&crash.armed, false))
        sim_hook_at(1, lay_down_killed, NULL);
    return r;
}

/* The disk of `r` becomes the n-th folder below where it began, from 0. */
static void use_folder(struct rig *r, unsigned n)
{
    rig_close(r);
    sim_end();
    snprintf(r->dir, sizeof(r->dir), "%.240s/%u", crash.base, n);
    sim_begin(r->dir, n);
}

static void begin_in_folders(struct rig *r)
{
    sim_rig_begin(r);
    snprintf(crash.base, sizeof(crash.base), "%s", r->dir);
    crash.n = 0;
    atomic_store(&crash.done, false);
    use_folder(r, 0);
}

static void end_in_folders(struct rig *r)
{
    rig_close(r);
    snprintf(r->dir, sizeof(r->dir), "%s", crash.base);
    sim_forget();
    sim_rig_end(r);
}

static void wait_for_crash(struct rig *r)
{
    while (!atomic_load(&crash.done))
        chan_wait(r->reply, 2);
    atomic_store(&crash.done, false);
}

/* A message and what fills its segment; then only the message lives there, and is copied. A kill
 * comes before the copy is synced. */
static uint64_t killed_at_copy(struct rig *r)
{
    struct seen_list l;
    struct file_ops ops = sim_ops;
    uint64_t id[5];
    ops.pwritev = pwritev_kill_at_copy;
    r->ops = &ops;
    rig_open(r);
    rig_recover(r, &l);
    seen_free(&l);
    for (size_t i = 0; i < ARRAY_LEN(id); i++)
        assert_int_equal(append(r, id[i] = spool_next_id(r->s), 1, i == 0 ? 300 : 14000), SPOOL_OK);
    settle(r);
    atomic_store(&crash.armed, true);
    for (size_t i = 1; i < ARRAY_LEN(id); i++)
        mark(r, id[i], 0, SPOOL_MARK_DELIVERED);
    settle(r);
    wait_for_crash(r);
    rig_close(r);
    r->ops = &sim_ops;
    return id[0];
}

/* The copy's sync fails: the older segment may be freed when the message was copied once more, and
 * not before. */
static void test_source_of_a_copy_that_cannot_be_synced(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    begin_in_folders(&r);
    uint64_t id = killed_at_copy(&r);
    use_folder(&r, 1);
    r.conf.compact_below = 0; /* no other reason to copy it */
    rig_open(&r);
    assert_true(wait_for_free(&r, 2));
    sim_fail_at(1, EIO);
    rig_recover(&r, &l);
    assert_true(sim_has_failed());
    assert_non_null(seen_find(&l, id));
    seen_free(&l);
    assert_true(wait_for_free(&r, 3));
    sim_hook_at(1, lay_down_powerless, NULL);
    settle(&r);
    wait_for_crash(&r);
    for (unsigned i = 0; i < LAID; i++) {
        use_folder(&r, 2 + i);
        rig_open(&r);
        rig_recover(&r, &l);
        assert_non_null(seen_find(&l, id));
        assert_int_equal(read_back(&r, id, 300, 1), 0);
        seen_free(&l);
    }
    end_in_folders(&r);
}

/* ---- what is damaged is kept for a person ---- */

static void damage(struct rig *r, uint64_t id)
{
    char name[32];
    uint64_t off = place_of(r, id, name);
    poke(r, name, off + sizeof(struct disk_record), "x", 1);
}

/* There is no room in quarantine/: the segment is not used again before there was; a younger one
 * is.
 */
static void test_no_room_in_quarantine(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    uint64_t id[6];
    begin_recovered(&r);
    r.conf.compact_below = 0;
    two_segments(&r, id);
    uint64_t seq = seq_of(&r, id[5]);
    damage(&r, id[1]);
    assert_true(wait_for_free(&r, 2)); /* for marks, which are written again */
    rig_close(&r);
    sim_disk_full(true);
    rig_open(&r);
    rig_recover(&r, &l);
    seen_free(&l);
    for (size_t i = 0; i < ARRAY_LEN(id); i++)
        mark(&r, id[i], 0, SPOOL_MARK_DELIVERED);
    assert_true(wait_until_free(&r, seq));
    rig_close(&r);
    sim_disk_full(false);
    assert_int_equal(entries_in(&r, "quarantine"), 0);
    rig_open(&r);
    rig_recover(&r, &l);
    assert_int_equal(l.stats.quarantined, 1);
    seen_free(&l);
    assert_int_equal(entries_in(&r, "quarantine"), 1);
    sim_rig_end(&r);
}

static void wait_until_all_is_free(struct rig *r)
{
    struct spool_status st;
    do {
        chan_wait(r->reply, 2);
        spool_status(r->s, &st);
    } while (st.segments == 0 || st.segments != st.segments_free);
}

/* A segment of another life, with the same place in the log, is damaged at the same place. */
static void test_names_in_quarantine(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    begin_recovered(&r);
    for (size_t n = 1; n <= 3; n++) {
        uint64_t id = spool_next_id(r.s);
        assert_int_equal(append(&r, id, 1, 300), SPOOL_OK);
        assert_int_equal(append(&r, spool_next_id(r.s), 1, 300), SPOOL_OK);
        damage(&r, id);
        rig_reopen(&r, &l);
        assert_int_equal(l.n, 1);
        mark(&r, l.v[0].id, 0, SPOOL_MARK_DELIVERED);
        settle(&r);
        seen_free(&l);
        assert_int_equal(entries_in(&r, "quarantine"), n);
        rig_reopen(&r, &l);
        assert_int_equal(l.n, 0);
        seen_free(&l);
        wait_until_all_is_free(&r);
        rig_reopen(&r, &l); /* all are free: the numbers begin again */
        seen_free(&l);
    }
    sim_rig_end(&r);
}

static int rename_fails(const char *from, const char *to)
{
    if (strstr(to, "quarantine") == NULL)
        return sim_ops.rename(from, to);
    errno = EIO;
    return -1;
}

/* A segment with a damaged header that cannot be moved is not written over. */
static void test_segment_that_cannot_be_set_aside(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct err e;
    struct file_ops ops = sim_ops;
    char name[32];
    uint64_t off;
    begin_recovered(&r);
    one_large(&r, name, &off);
    poke(&r, name, 16, "damage", 6);
    poke(&r, name, DISK_COPY_AT + 16, "damage", 6);
    ops.rename = rename_fails;
    assert_null(spool_open(&r.conf, &ops, &e));
    assert_non_null(strstr(e.text, "cannot be moved"));
    rig_open(&r);
    rig_recover(&r, &l);
    seen_free(&l);
    assert_int_equal(entries_in(&r, "quarantine"), 1);
    sim_rig_end(&r);
}

/* The log lets go of a message only when its bytes are on disk in quarantine/. */
static void test_quarantine_after_a_power_failure(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    char name[32];
    uint64_t off;
    begin_in_folders(&r);
    rig_open(&r);
    rig_recover(&r, &l);
    seen_free(&l);
    uint64_t id = spool_next_id(r.s);
    assert_int_equal(append_large(&r, id, 1, 40000), SPOOL_OK);
    off = place_of(&r, id, name);
    poke(&r, name, off + sizeof(struct disk_record), "x", 1);
    assert_int_equal(read_back(&r, id, 40000, 1), 2);
    while (entries_in(&r, "large") != 0) /* until it was moved */
        chan_wait(r.reply, 1);
    struct spool_status st;
    do { /* ... and its mark was taken */
        chan_wait(r.reply, 1);
        spool_status(r.s, &st);
    } while (st.messages != 0);
    settle(&r);
    settle(&r);
    sim_hook_at(1, lay_down_powerless, NULL);
    settle(&r);
    wait_for_crash(&r);
    for (unsigned i = 0; i < LAID; i++) {
        use_folder(&r, 1 + i);
        assert_int_equal(entries_in(&r, "quarantine"), 2);
    }
    end_in_folders(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_of_a_message_delivered_in_recovery),
        cmocka_unit_test(test_start_over_quota),
        cmocka_unit_test(test_read_that_fails_once),
        cmocka_unit_test(test_reads_that_fail_in_one_run),
        cmocka_unit_test(test_report_that_cannot_be_read),
        cmocka_unit_test(test_read_that_fails_while_marks_are_forwarded),
        cmocka_unit_test(test_sync_that_fails_after_a_segment_was_moved),
        cmocka_unit_test(test_no_room_in_quarantine),
        cmocka_unit_test(test_names_in_quarantine),
        cmocka_unit_test(test_segment_that_cannot_be_set_aside),
        cmocka_unit_test(test_quarantine_after_a_power_failure),
        cmocka_unit_test(test_source_of_a_copy_that_cannot_be_synced),
        cmocka_unit_test(test_file_of_a_record_that_cannot_be_read),
        cmocka_unit_test(test_file_of_a_damaged_record),
        cmocka_unit_test(test_file_of_a_segment_set_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
