/*
 * spool_full_test.c - what PROMISES.md says of a full disk: intake stops, marks and reports go on,
 * and intake resumes by itself.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/clock.h"
#include "relay/spool/spool_int.h"
#include "tests/unit/spool_sim.h"

static enum spool_result append_report(struct rig *r, uint64_t about, size_t size)
{
    struct submit m;
    struct spool_mark ends = {.id = about, .rcpt = 0, .kind = SPOOL_MARK_FAILED};
    submit_send(&m, r, spool_next_id(r->s), 1, size, &ends, 1);
    submit_wait(&m);
    return m.a.result;
}

static void test_full_disk(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    uint64_t id[200], refused;
    size_t n = 0;
    sim_rig_begin(&r);
    r.conf.compact_below = 0.01;
    rig_open(&r);
    rig_recover(&r, &l);
    seen_free(&l);
    assert_true(wait_for_free(&r, 2));
    assert_false(spool_is_full(r.s));
    sim_disk_full(true);
    for (; n < ARRAY_LEN(id); n++)
        if (append(&r, id[n] = spool_next_id(r.s), 1, 3000) != SPOOL_OK)
            break;
    assert_true(n > 2 && n < ARRAY_LEN(id));
    assert_true(spool_is_full(r.s));
    refused = id[n];
    assert_int_equal(append(&r, refused = spool_next_id(r.s), 1, 3000), SPOOL_NO_SPACE);
    assert_int_equal(append_large(&r, spool_next_id(r.s), 1, 50000), SPOOL_NO_SPACE);
    assert_int_equal(entries_in(&r, "large"), 0);
    /* deliveries and reports go on */
    assert_int_equal(append_report(&r, id[0], 500), SPOOL_OK);
    assert_int_equal(append_report(&r, id[1], 500), SPOOL_OK);
    assert_int_equal(read_back(&r, id[0], 3000, 1), 1);
    /* delivering makes room: intake resumes by itself, though the disk gives nothing */
    for (size_t i = 2; i < n; i++)
        mark(&r, id[i], 0, SPOOL_MARK_DELIVERED);
    assert_true(wait_for_free(&r, 1));
    int64_t until = clock_mono_ms() + 5000;
    while (spool_is_full(r.s) && clock_mono_ms() < until)
        chan_wait(r.reply, 2);
    assert_false(spool_is_full(r.s));
    assert_int_equal(append(&r, spool_next_id(r.s), 1, 3000), SPOOL_OK);
    sim_disk_full(false);
    rig_reopen(&r, &l);
    assert_int_equal(l.n, 3); /* two reports and the last */
    assert_null(seen_find(&l, refused));
    seen_free(&l);
    sim_rig_end(&r);
}

/* Messages of two recipients until there is no room. Returns how many. */
static size_t fill_the_disk(struct rig *r, uint64_t *id, size_t most)
{
    size_t n = 0;
    assert_true(wait_for_free(r, 2));
    sim_disk_full(true);
    while (n < most && append(r, id[n] = spool_next_id(r->s), 2, 14000) == SPOOL_OK)
        n++;
    assert_true(n > 2 && n < most);
    return n;
}

/* The last segment is not given up for a report that does not fit: marks need it. */
static void test_report_too_big_for_the_last_segment(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    uint64_t id[100];
    sim_rig_begin(&r);
    r.conf.compact_below = 0;
    rig_reopen(&r, &l);
    seen_free(&l);
    fill_the_disk(&r, id, ARRAY_LEN(id));
    assert_int_equal(append_report(&r, id[0], 40000), SPOOL_OK);
    assert_int_equal(append_report(&r, id[1], 40000), SPOOL_NO_SPACE);
    assert_int_equal(append_report(&r, id[1], 500), SPOOL_OK);
    sim_disk_full(false);
    sim_rig_end(&r);
}

/* What was written and read. */
static struct {
    _Atomic uint64_t about; /* marks of this message are counted */
    _Atomic unsigned marks, seals, reads;
} counted;

static void count_records(const unsigned char *p, size_t n)
{
    struct disk_record h;
    struct disk_mark m;
    for (size_t at = 0; at + sizeof(h) <= n; at += DISK_ALIGN) {
        memcpy(&h, p + at, sizeof(h));
        if (h.magic != DISK_RECORD_MAGIC)
            continue;
        counted.seals += h.type == DISK_SEAL;
        for (uint32_t i = 0; i < h.n_marks && h.type == DISK_MARKS; i++) {
            memcpy(&m, p + at + sizeof(h) + i * sizeof(m), sizeof(m));
            counted.marks += m.id == atomic_load(&counted.about) && m.kind == SPOOL_MARK_DELIVERED;
        }
    }
}

static ssize_t counted_pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
    for (int i = 0; i < n; i++)
        count_records(iov[i].iov_base, iov[i].iov_len);
    return sim_ops.pwritev(fd, iov, n, off);
}

static ssize_t counted_pread(int fd, void *p, size_t n, off_t off)
{
    counted.reads++;
    return sim_ops.pread(fd, p, n, off);
}

/* Marks of a segment that is to be freed, while there is none to write them to: they are not
 * gathered each time it is tried. */
static void test_marks_that_cannot_be_forwarded(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct file_ops ops = sim_ops;
    uint64_t id[100];
    sim_rig_begin(&r);
    ops.pwritev = counted_pwritev;
    ops.pread = counted_pread;
    r.ops = &ops;
    r.conf.compact_below = 0;
    atomic_store(&keeper_retry_ms, 1);
    rig_reopen(&r, &l);
    seen_free(&l);
    uint64_t first = spool_next_id(r.s);
    atomic_store(&counted.about, first);
    assert_int_equal(append(&r, first, 2, 14000), SPOOL_OK);
    for (int i = 0; i < 2; i++) /* three to a segment */
        assert_int_equal(append(&r, spool_next_id(r.s), 1, 14000), SPOOL_OK);
    assert_int_equal(append(&r, id[0] = spool_next_id(r.s), 2, 14000), SPOOL_OK);
    uint64_t seq = seq_of(&r, id[0]);
    mark(&r, first, 0, SPOOL_MARK_DELIVERED);
    settle(&r);
    size_t n = 1 + fill_the_disk(&r, id + 1, ARRAY_LEN(id) - 1);
    assert_int_equal(append_report(&r, id[n - 1], 50000), SPOOL_OK);
    counted.seals = counted.marks = 0;
    for (int i = 0; counted.seals == 0; i++) { /* until the last segment is full */
        mark(&r, first, SPOOL_RCPT_ALL, i % 2 != 0 ? SPOOL_MARK_HELD : SPOOL_MARK_RELEASED);
        if (i % 100 == 0)
            chan_wait(r.reply, 1);
    }
    counted.reads = 0;
    for (size_t i = 0; i < n && seq_of(&r, id[i]) == seq; i++)
        for (uint32_t k = 0; k < 2; k++)
            mark(&r, id[i], k, SPOOL_MARK_DELIVERED);
    while (counted.reads < 200) /* many tries to free it */
        chan_wait(r.reply, 2);
    sim_disk_full(false);
    assert_true(wait_until_free(&r, seq));
    assert_true(counted.marks >= 1 && counted.marks <= 2);
    atomic_store(&keeper_retry_ms, 5000);
    sim_rig_end(&r);
}

static void test_reserve(void **state)
{
    (void)state;
    struct rig r;
    sim_rig_begin(&r);
    r.conf.reserve_bytes = UINT64_C(1) << 60;
    rig_open(&r);
    assert_true(spool_is_full(r.s));
    rig_close(&r);
    r.conf.reserve_bytes = 1;
    r.conf.reserve_resume_bytes = 1;
    rig_open(&r);
    assert_false(spool_is_full(r.s));
    sim_rig_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_report_too_big_for_the_last_segment),
        cmocka_unit_test(test_marks_that_cannot_be_forwarded),
        cmocka_unit_test(test_reserve),
    };
    return cmocka_run_group_tests_name("one sync at a time", tests, NULL, NULL) +
           cmocka_run_group_tests_name("several at a time", tests, rig_slow_disk, NULL);
}
