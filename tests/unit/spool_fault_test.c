/*
 * spool_fault_test.c - what PROMISES.md says of failing disks: a sync that fails, an operation that
 * fails anywhere in a fixed story. A disk that is full: spool_full_test.c.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "relay/spool/spool_int.h"
#include "tests/unit/spool_sim.h"

/* The batch is refused, the sync is never retried, what was acknowledged stays, marks are kept. */
static void test_failed_sync(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct spool_status st;
    sim_rig_begin(&r);
    rig_open(&r);
    rig_recover(&r, &l);
    seen_free(&l);
    uint64_t a = spool_next_id(r.s), b = spool_next_id(r.s), c = spool_next_id(r.s),
             d = spool_next_id(r.s);
    assert_int_equal(append(&r, a, 1, 300), SPOOL_OK);
    assert_int_equal(append(&r, b, 1, 300), SPOOL_OK);
    assert_true(wait_for_free(&r, 2));
    mark(&r, b, 0, SPOOL_MARK_DELIVERED);
    while (read_back(&r, b, 300, 1) == 0) { /* until the mark was taken */
    }
    uint64_t ops = sim_ops_done();
    while (sim_ops_done() == ops) { /* ... and written, without a sync */
    }
    sim_fail_at(2, EIO);
    assert_int_equal(append(&r, c, 1, 300), SPOOL_IO_ERROR);
    spool_status(r.s, &st);
    assert_non_null(strstr(st.last_error, "Input/output error"));
    assert_int_equal(read_back(&r, a, 300, 1), 0);
    assert_int_equal(read_back(&r, c, 300, 1), 1);
    int shown = atomic_exchange(&spool_fault_shown_ms, 0);
    assert_int_equal(append(&r, d, 1, 300), SPOOL_OK);
    spool_status(r.s, &st);
    for (int i = 0; i < 20 && st.last_error[0] != '\0'; i++) {
        settle(&r); /* the keeper, who frees that segment, may have been told of the error, too */
        spool_status(r.s, &st);
    }
    assert_string_equal(st.last_error, "");
    atomic_store(&spool_fault_shown_ms, shown);
    spool_status(r.s, &st);
    assert_non_null(strstr(st.last_error, "Input/output error")); /* not long enough ago */
    rig_reopen(&r, &l);
    assert_int_equal(l.n, 2);
    assert_true(l.v[0].id == a && l.v[1].id == d);
    seen_free(&l);
    sim_rig_end(&r);
}

/* ---- a broken segment that is being freed ---- */

/* The next record is written, and yet that fails. Then the header of its segment as a free one
 * waits; the first replacement fails when that has begun, and nothing of it is written. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum {
        PLAIN,
        FAIL_RECORD,
        FAIL_REPLACEMENT,
        HOLD_FREE,
        FAIL_ALL,
        FAIL_ONE,   /* record, and nothing else */
        KILL_AT_USE /* the disk is laid down before the next segment is taken into use */
    } phase;
    bool freeing;
    char laid[256];
} broken = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* And not only marks. */
static bool holds_message(const struct iovec *v)
{
    struct disk_record h;
    for (size_t at = 0; at + sizeof(h) <= v->iov_len; at += DISK_ALIGN) {
        memcpy(&h, (const char *)v->iov_base + at, sizeof(h));
        if (h.magic == DISK_RECORD_MAGIC && (h.type == DISK_MESSAGE || h.type == DISK_LARGE))
            return true;
    }
    return false;
}

static bool record_fails(const struct iovec *v)
{
    if ((broken.phase != FAIL_RECORD && broken.phase != FAIL_ONE && broken.phase != FAIL_ALL) ||
        !holds_message(v))
        return false;
    if (broken.phase == FAIL_ONE)
        broken.phase = PLAIN;
    if (broken.phase == FAIL_RECORD)
        broken.phase = FAIL_REPLACEMENT;
    return true;
}

static void lay_down(void *arg)
{
    sim_lay_down(arg, false);
}

static bool replacement_fails(const struct disk_segment *h)
{
    if (broken.phase == PLAIN || broken.phase == FAIL_RECORD || broken.phase == FAIL_ONE ||
        h->magic != DISK_SEGMENT_MAGIC)
        return false;
    if (broken.phase == KILL_AT_USE && h->state == DISK_IN_USE) {
        sim_hook_at(1, lay_down, broken.laid);
        broken.phase = PLAIN;
    }
    if (broken.phase == KILL_AT_USE || broken.phase == PLAIN)
        return false;
    if (broken.phase == FAIL_ALL)
        return h->state == DISK_IN_USE;
    if (h->state == DISK_FREE) {
        broken.freeing = true;
        pthread_cond_broadcast(&broken.changed);
        while (broken.phase != PLAIN)
            pthread_cond_wait(&broken.changed, &broken.lock);
    } else if (broken.phase == FAIL_REPLACEMENT) {
        while (!broken.freeing)
            pthread_cond_wait(&broken.changed, &broken.lock);
        broken.phase = HOLD_FREE;
        return true;
    }
    return false;
}

static ssize_t broken_pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
    struct disk_segment h = {0};
    if (off == 0 && iov[0].iov_len >= sizeof(h))
        memcpy(&h, iov[0].iov_base, sizeof(h));
    pthread_mutex_lock(&broken.lock);
    bool nothing = replacement_fails(&h), all = !nothing && record_fails(iov);
    pthread_mutex_unlock(&broken.lock);
    ssize_t r = nothing ? -1 : sim_ops.pwritev(fd, iov, n, off);
    if (!nothing && !all)
        return r;
    errno = EIO;
    return -1;
}

static void broken_phase(int phase)
{
    pthread_mutex_lock(&broken.lock);
    broken.freeing = false;
    broken.phase = phase;
    pthread_cond_broadcast(&broken.changed);
    pthread_mutex_unlock(&broken.lock);
}

/* An empty spool on a disk that fails as told by `broken`. */
static void begin_broken(struct rig *r, struct file_ops *ops, char base[256])
{
    struct seen_list l;
    sim_rig_begin(r);
    sim_end();
    snprintf(base, 256, "%s", r->dir);
    snprintf(r->dir, sizeof(r->dir), "%.240s/0", base);
    snprintf(broken.laid, sizeof(broken.laid), "%.240s/1", base);
    sim_begin(r->dir, 1);
    *ops = sim_ops;
    ops->pwritev = broken_pwritev;
    r->ops = ops;
    r->conf.segments_ready = 4;
    rig_open(r);
    rig_recover(r, &l);
    seen_free(&l);
}

/* Goes on, as after a kill, with what was laid down. */
static void reopen_laid(struct rig *r, struct seen_list *l)
{
    broken_phase(PLAIN);
    rig_close(r);
    sim_end();
    r->ops = &sim_ops;
    snprintf(r->dir, sizeof(r->dir), "%s", broken.laid);
    sim_begin(r->dir, 1);
    rig_open(r);
    rig_recover(r, l);
}

static void end_broken(struct rig *r, struct seen_list *l, const char *base)
{
    seen_free(l);
    rig_close(r);
    snprintf(r->dir, sizeof(r->dir), "%s", base);
    sim_rig_end(r);
}

/* Nothing lives in the segment whose write fails, so the keeper frees it at once. Until its header
 * is on disk, the segment that takes its place must say where it ended: what was refused must not
 * come back. */
static void test_broken_segment_that_is_being_freed(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct file_ops ops;
    char base[256];
    begin_broken(&r, &ops, base);
    uint64_t a = spool_next_id(r.s), refused = spool_next_id(r.s), c = spool_next_id(r.s);
    assert_int_equal(append(&r, a, 1, 300), SPOOL_OK);
    mark(&r, a, 0, SPOOL_MARK_DELIVERED);
    settle(&r);
    assert_true(wait_for_free(&r, 4));
    broken_phase(FAIL_RECORD);
    assert_int_equal(append(&r, refused, 1, 300), SPOOL_IO_ERROR);
    sim_hook_at(1, lay_down, broken.laid);
    assert_int_equal(append(&r, c, 1, 300), SPOOL_OK);
    reopen_laid(&r, &l);
    assert_null(seen_find(&l, refused)); /* others may be there: not all marks are written yet */
    end_broken(&r, &l, base);
}

/* A message lives in a segment that is broken, nothing in the one whose header says so. That one is
 * not freed before another says it, too. */
static void test_only_witness_of_a_broken_segment(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct file_ops ops;
    char base[256];
    begin_broken(&r, &ops, base);
    rig_close(&r);
    rig_open(&r); /* not recovered, so that the keeper does nothing about it */
    uint64_t a = spool_next_id(r.s), refused = spool_next_id(r.s);
    assert_int_equal(append(&r, a, 1, 300), SPOOL_OK);
    uint64_t seq = seq_of(&r, a);
    broken_phase(FAIL_ONE);
    assert_int_equal(append(&r, refused, 1, 300), SPOOL_IO_ERROR);
    rig_close(&r);
    rig_open(&r);
    assert_true(wait_for_free(&r, 4));
    broken_phase(KILL_AT_USE);
    rig_recover(&r, &l);
    assert_non_null(seen_find(&l, a));
    seen_free(&l);
    assert_true(wait_until_free(&r, seq)); /* it was copied */
    reopen_laid(&r, &l);
    assert_non_null(seen_find(&l, a));
    assert_null(seen_find(&l, refused));
    end_broken(&r, &l, base);
}

/* More segments fail than a header has room for: the latest are in it. */
static void test_many_broken_segments(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct file_ops ops;
    struct disk_segment h;
    unsigned char page[DISK_PAGE] = {0};
    char base[256], name[32], path[400];
    bool named = false;
    begin_broken(&r, &ops, base);
    rig_close(&r);
    rig_open(&r);
    broken_phase(FAIL_ALL);
    for (int i = 0; i < 30; i++)
        assert_int_equal(append(&r, spool_next_id(r.s), 1, 300), SPOOL_IO_ERROR);
    broken_phase(PLAIN);
    uint64_t a = spool_next_id(r.s), b = spool_next_id(r.s);
    assert_int_equal(append(&r, a, 1, 300), SPOOL_OK);
    uint64_t seq = seq_of(&r, a);
    broken_phase(FAIL_ONE);
    assert_int_equal(append(&r, spool_next_id(r.s), 1, 300), SPOOL_IO_ERROR);
    for (int i = 0; i < 5; i++) /* into the segment after the next */
        assert_int_equal(append(&r, b = spool_next_id(r.s), 1, 14000), SPOOL_OK);
    place_of(&r, b, name);
    snprintf(path, sizeof(path), "%s/%s", r.dir, name);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fread(page, 1, sizeof(page), f), sizeof(page));
    fclose(f);
    assert_int_equal(header_read(page, &h), HEADER_VALID);
    for (uint32_t i = 0; i < h.n_ended; i++)
        named |= h.ended[i].seq == seq;
    assert_true(named);
    memset(&l, 0, sizeof(l));
    end_broken(&r, &l, base);
}

/* No segment can be begun, so nothing says where the broken one ended: what was refused may come
 * back after a crash, but then it must be whole. */
static void test_large_one_refused_with_no_segment(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct file_ops ops;
    char base[256];
    begin_broken(&r, &ops, base);
    uint64_t a = spool_next_id(r.s), refused = spool_next_id(r.s);
    assert_int_equal(append(&r, a, 1, 300), SPOOL_OK);
    assert_true(wait_for_free(&r, 4));
    broken_phase(FAIL_ALL);
    assert_int_equal(append_large(&r, refused, 1, 40000), SPOOL_IO_ERROR);
    assert_int_equal(append_large(&r, spool_next_id(r.s), 1, 40000), SPOOL_IO_ERROR);
    sim_hook_at(1, lay_down, broken.laid);
    sim_ops.close(sim_ops.open(r.dir, O_RDONLY, 0)); /* any operation */
    reopen_laid(&r, &l);
    assert_int_equal(l.stats.quarantined, 0);
    assert_non_null(seen_find(&l, refused));
    assert_int_equal(read_back(&r, refused, 40000, 1), 0);
    end_broken(&r, &l, base);
}

/* ---- closing ---- */

/* The next sync of a file fails when this is set. */
static _Atomic bool sync_fails;

static int fdatasync_once(int fd)
{
    if (!atomic_exchange(&sync_fails, false))
        return sim_ops.fdatasync(fd);
    errno = EIO;
    return -1;
}

/* Marks were written, and the last sync of all fails: they go into another segment. */
static void test_last_sync_fails(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct file_ops ops = sim_ops;
    sim_rig_begin(&r);
    ops.fdatasync = fdatasync_once;
    r.ops = &ops;
    rig_reopen(&r, &l);
    seen_free(&l);
    uint64_t id = spool_next_id(r.s);
    assert_int_equal(append(&r, id, 1, 300), SPOOL_OK);
    assert_true(wait_for_free(&r, 2));
    mark(&r, id, 0, SPOOL_MARK_DELIVERED);
    while (read_back(&r, id, 300, 1) == 0) { /* until the mark was taken */
    }
    atomic_store(&sync_fails, true);
    rig_reopen(&r, &l);
    assert_false(atomic_load(&sync_fails));
    assert_int_equal(l.n, 0);
    seen_free(&l);
    sim_rig_end(&r);
}

/* ---- two syncs at a time ---- */

/* What syncs do from when the gate is armed. */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool armed, open;
    bool second_fails; /* which opens the gate for the first */
    unsigned syncs;    /* that came to it */
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static int gated_sync(int fd)
{
    pthread_mutex_lock(&gate.lock);
    unsigned turn = gate.armed ? ++gate.syncs : 0;
    bool fails = turn == 2 && gate.second_fails;
    pthread_cond_broadcast(&gate.changed);
    while (turn != 0 && !gate.open && !fails)
        pthread_cond_wait(&gate.changed, &gate.lock);
    if (fails)
        sim_fail_at(1, EIO);
    int r = sim_ops.fdatasync(fd), why = errno;
    gate.open |= fails;
    gate.armed &= !gate.open;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
    errno = why;
    return r;
}

static void gate_arm(bool second_fails)
{
    pthread_mutex_lock(&gate.lock);
    gate.armed = true;
    gate.open = false;
    gate.second_fails = second_fails;
    gate.syncs = 0;
    pthread_mutex_unlock(&gate.lock);
}

static void gate_open(void)
{
    pthread_mutex_lock(&gate.lock);
    gate.open = true;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void gate_wait(unsigned syncs)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.syncs < syncs)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

/* Two messages are in, the second by a flight. Returns its id. */
static uint64_t begin_gated(struct rig *r, struct file_ops *ops)
{
    struct seen_list l;
    sim_rig_begin(r);
    *ops = sim_ops;
    ops->fdatasync = gated_sync;
    r->ops = ops;
    rig_open(r);
    rig_recover(r, &l);
    seen_free(&l);
    uint64_t id = 0;
    for (int i = 0; i < 2; i++) {
        id = spool_next_id(r->s);
        assert_int_equal(append(r, id, 1, 300), SPOOL_OK);
    }
    assert_true(wait_for_free(r, 2));
    return id;
}

/* The kernel tells the error to whoever asks first; what the other sync covers is as uncertain, and
 * it must be told, too: neither message was kept. */
static void test_error_of_the_second_sync(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct submit first, second;
    struct file_ops ops;
    uint64_t a = begin_gated(&r, &ops);
    uint64_t b = spool_next_id(r.s), c = spool_next_id(r.s), d = spool_next_id(r.s);
    gate_arm(true);
    submit_send(&first, &r, b, 1, 300, NULL, 0);
    gate_wait(1);
    submit_send(&second, &r, c, 1, 300, NULL, 0);
    gate_wait(2);
    submit_wait(&first);
    submit_wait(&second);
    assert_int_equal(first.a.result, SPOOL_IO_ERROR);
    assert_int_equal(second.a.result, SPOOL_IO_ERROR);
    assert_int_equal(append(&r, d, 1, 300), SPOOL_OK);
    rig_reopen(&r, &l);
    assert_int_equal(l.n, 3);
    assert_true(l.v[1].id == a && l.v[2].id == d);
    seen_free(&l);
    sim_rig_end(&r);
}

/* Marks are due while all syncers are busy and a message waits for one of them to end: the
 * thread that waits for them takes their news out of its channel, and must not wait for more. */
static void test_message_behind_marks_that_are_due(void **state)
{
    (void)state;
    struct rig r;
    struct submit v[FLIGHTS + 1];
    struct file_ops ops;
    uint64_t a = begin_gated(&r, &ops);
    gate_arm(false);
    mark(&r, a, 0, SPOOL_MARK_DELIVERED);
    for (unsigned i = 0; i <= FLIGHTS; i++) {
        submit_send(&v[i], &r, spool_next_id(r.s), 1, 300, NULL, 0);
        gate_wait(i < FLIGHTS ? i + 1 : FLIGHTS);
    }
    int64_t until = clock_mono_ms() + 1500; /* marks are due after a second */
    while (clock_mono_ms() < until)
        chan_wait(r.reply, 100);
    gate_open();
    for (unsigned i = 0; i <= FLIGHTS; i++) {
        submit_wait(&v[i]);
        assert_int_equal(v[i].a.result, SPOOL_OK);
    }
    sim_rig_end(&r);
}

/* The keeper wants marks written again while the commit thread waits for syncs, and of those marks
 * none is needed any more. That thread must not forget the keeper, who would wait for ever. */
static void test_nothing_to_forward_behind_flights(void **state)
{
    (void)state;
    struct rig r;
    struct submit v[2];
    struct file_ops ops;
    char name[32];
    uint64_t dead = 0, id[3];
    begin_gated(&r, &ops);
    r.conf.compact_below = 0;
    atomic_store(&keeper_retry_ms, 1500);
    for (int i = 0; i < 3; i++)
        assert_int_equal(append(&r, dead = spool_next_id(r.s), 1, 14000), SPOOL_OK);
    for (size_t i = 0; i < ARRAY_LEN(id); i++) {
        assert_int_equal(append(&r, id[i] = spool_next_id(r.s), 1, 14000), SPOOL_OK);
        if (i == 0)
            mark(&r, dead, SPOOL_RCPT_ALL, SPOOL_MARK_HELD);
    }
    uint64_t seq = seq_of(&r, id[0]);
    assert_true(seq_of(&r, dead) != seq && seq_of(&r, id[2]) == seq);
    place_of(&r, id[0], name);
    for (int i = 0; i < 2; i++) /* the segment after it */
        assert_int_equal(append(&r, spool_next_id(r.s), 1, 14000), SPOOL_OK);
    mark(&r, dead, 0, SPOOL_MARK_DELIVERED);
    settle(&r);
    sim_fail_reads_at(name, DISK_RECORDS_BEGIN, 1); /* so that it is tried once more */
    for (size_t i = 0; i < ARRAY_LEN(id); i++)
        mark(&r, id[i], 0, SPOOL_MARK_DELIVERED);
    settle(&r);
    gate_arm(false);
    mark(&r, spool_next_id(r.s), 0, SPOOL_MARK_DELIVERED);
    for (unsigned i = 0; i < ARRAY_LEN(v); i++) {
        submit_send(&v[i], &r, spool_next_id(r.s), 1, 300, NULL, 0);
        gate_wait(i + 1);
    }
    int64_t until = clock_mono_ms() + 2000; /* marks are due after a second */
    while (clock_mono_ms() < until)
        chan_wait(r.reply, 100);
    gate_open();
    for (unsigned i = 0; i < ARRAY_LEN(v); i++)
        submit_wait(&v[i]);
    assert_true(wait_until_free(&r, seq));
    atomic_store(&keeper_retry_ms, 5000);
    sim_rig_end(&r);
}

/* ---- one failure anywhere ---- */

struct story {
    uint64_t id[12];
    enum spool_result result[12];
    bool ended[12];
};

/* Enough to fill segments, compact, recycle, use a large file and a report. */
static void tell(struct rig *r, struct story *s)
{
    for (size_t i = 0; i < ARRAY_LEN(s->id); i++) {
        struct submit m;
        uint64_t id = s->id[i] = spool_next_id(r->s);
        if (i == 3) {
            s->result[i] = append_large(r, id, 1, 40000);
        } else if (i == 7) { /* a report that ends number 2 */
            struct spool_mark end_2 = {.id = s->id[2], .rcpt = 0, .kind = SPOOL_MARK_FAILED};
            submit_send(&m, r, id, 1, 900, &end_2, 1);
            submit_wait(&m);
            s->result[i] = m.a.result;
            s->ended[2] = m.a.result == SPOOL_OK && s->result[2] == SPOOL_OK;
        } else {
            s->result[i] = append(r, id, 1, 20000);
        }
        if (i % 3 == 1 && s->result[i] == SPOOL_OK) {
            mark(r, id, 0, SPOOL_MARK_DELIVERED);
            s->ended[i] = true;
        }
    }
    settle(r);
}

static void check_story(struct rig *r, const struct story *s)
{
    struct seen_list l;
    size_t living = 0;
    rig_reopen(r, &l);
    assert_int_equal(l.stats.quarantined, 0);
    for (size_t i = 0; i < ARRAY_LEN(s->id); i++) {
        const struct seen *x = seen_find(&l, s->id[i]);
        bool must = s->result[i] == SPOOL_OK && !s->ended[i];
        if (must != (x != NULL))
            fprintf(stderr, "message %zu: result %d\n", i, s->result[i]);
        assert_true(must == (x != NULL));
        if (x != NULL)
            assert_int_equal(read_back(r, x->id, x->size, 1), 0);
        living += must;
    }
    assert_int_equal(l.n, living);
    assert_int_equal(entries_in(r, "large"), s->result[3] == SPOOL_OK ? 1 : 0);
    seen_free(&l);
}

static void test_one_failure_anywhere(void **state)
{
    (void)state;
    const char *env = getenv("SPOOL_FAULT_STEP");
    unsigned step = env != NULL ? (unsigned)atoi(env) : 5;
    for (unsigned k = 1; k < 160; k += step == 0 ? 1 : step) {
        struct rig r;
        struct seen_list l;
        struct story s = {0};
        struct err e;
        sim_rig_begin(&r);
        sim_fail_at(k, k % 2 != 0 ? EIO : ENOSPC);
        r.s = spool_open(&r.conf, r.ops, &e);
        if (r.s == NULL)
            rig_open(&r);
        rig_recover(&r, &l);
        seen_free(&l);
        tell(&r, &s);
        sim_fail_at(0, 0);
        check_story(&r, &s);
        sim_rig_end(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failed_sync),
        cmocka_unit_test(test_broken_segment_that_is_being_freed),
        cmocka_unit_test(test_only_witness_of_a_broken_segment),
        cmocka_unit_test(test_many_broken_segments),
        cmocka_unit_test(test_large_one_refused_with_no_segment),
        cmocka_unit_test(test_last_sync_fails),
        cmocka_unit_test(test_one_failure_anywhere),
    };
    const struct CMUnitTest more[] = {
        cmocka_unit_test(test_error_of_the_second_sync),
        cmocka_unit_test(test_message_behind_marks_that_are_due),
        cmocka_unit_test(test_nothing_to_forward_behind_flights),
    };
    return cmocka_run_group_tests_name("one sync at a time", tests, NULL, NULL) +
           cmocka_run_group_tests_name("several at a time", tests, rig_slow_disk, NULL) +
           cmocka_run_group_tests_name("several under way", more, rig_slow_disk, NULL);
}
