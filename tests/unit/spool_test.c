/*
 * spool_test.c - the spool as its users see it: append, read, mark, recover, recycle, compact,
 * refuse.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "relay/spool/spool_int.h"
#include "tests/unit/spool_help.h"

static void test_id_text(void **state)
{
    (void)state;
    static const uint64_t ids[] = {0, 1, 31, 32, UINT64_C(1) << 40, UINT64_MAX};
    char text[14];
    uint64_t back;
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        spool_id_text(ids[i], text);
        assert_int_equal(strlen(text), 13);
        assert_true(spool_id_parse(str_c(text), &back));
        assert_true(back == ids[i]);
    }
    assert_true(spool_id_parse(STR("0000000000oil"), &back));
    assert_true(back == 33);
    static const char *const bad[] = {
        "", "000000000000", "00000000000000", "000000000000U", "Z000000000000", "00000 0000000"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(spool_id_parse(str_c(bad[i]), &back));
}

static void test_append_and_read(void **state)
{
    (void)state;
    struct rig r;
    uint64_t id[50];
    rig_init(&r);
    rig_open(&r);
    for (size_t i = 0; i < ARRAY_LEN(id); i++) {
        id[i] = spool_next_id(r.s);
        assert_int_equal(append(&r, id[i], 1 + i % 3, i * 997), SPOOL_OK);
    }
    for (size_t i = 0; i < ARRAY_LEN(id); i++)
        assert_int_equal(read_back(&r, id[i], i * 997, 1 + i % 3), 0);
    assert_int_equal(read_back(&r, id[0] + 1000, 0, 1), 1);
    rig_free(&r);
}

static void test_recover_with_marks(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    uint64_t id[6];
    rig_init(&r);
    rig_open(&r);
    for (size_t i = 0; i < ARRAY_LEN(id); i++)
        assert_int_equal(append(&r, id[i] = spool_next_id(r.s), 3, 3000), SPOOL_OK);
    mark(&r, id[0], 1, SPOOL_MARK_DELIVERED);
    for (uint32_t k = 0; k < 3; k++)
        mark(&r, id[1], k, k == 1 ? SPOOL_MARK_FAILED : SPOOL_MARK_DELIVERED);
    mark(&r, id[2], SPOOL_RCPT_ALL, SPOOL_MARK_HELD);
    mark(&r, id[2], SPOOL_RCPT_ALL, SPOOL_MARK_DELAY_NOTIFIED);
    mark(&r, id[3], SPOOL_RCPT_ALL, SPOOL_MARK_HELD);
    mark(&r, id[3], SPOOL_RCPT_ALL, SPOOL_MARK_RELEASED);
    mark(&r, id[4], SPOOL_RCPT_ALL, SPOOL_MARK_REMOVED);
    mark(&r, id[5], 77, SPOOL_MARK_DELIVERED); /* no such recipient */
    settle(&r);
    for (int round = 0; round < 3; round++) {
        rig_reopen(&r, &l);
        assert_int_equal(l.n, 4);
        assert_true(l.v[0].id == id[0] && l.v[1].id == id[2] && l.v[2].id == id[3]);
        assert_int_equal(l.v[0].done[0], 2);
        assert_true(l.v[1].held && l.v[1].delayed && l.v[1].done[0] == 0);
        assert_true(!l.v[2].held && !l.v[2].delayed);
        assert_int_equal(seen_find(&l, id[5])->done[0], 0);
        assert_int_equal(read_back(&r, id[0], 3000, 3), 0);
        assert_int_equal(read_back(&r, id[1], 3000, 3), 1);
        assert_int_equal(l.stats.quarantined + l.stats.torn, 0);
        seen_free(&l);
    }
    assert_true(spool_next_id(r.s) > id[5]);
    rig_free(&r);
}

/* A report and the end of what it reports are one step. */
static void test_embedded_marks(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct submit m;
    rig_init(&r);
    rig_open(&r);
    uint64_t a = spool_next_id(r.s), b = spool_next_id(r.s);
    assert_int_equal(append(&r, a, 1, 100), SPOOL_OK);
    struct spool_mark ends = {.id = a, .rcpt = 0, .kind = SPOOL_MARK_FAILED};
    submit_send(&m, &r, b, 1, 200, &ends, 1);
    submit_wait(&m);
    assert_int_equal(m.a.result, SPOOL_OK);
    assert_int_equal(read_back(&r, a, 100, 1), 1);
    rig_reopen(&r, &l);
    assert_int_equal(l.n, 1);
    assert_true(l.v[0].id == b);
    seen_free(&l);
    rig_free(&r);
}

static void test_large(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    char path[300], text[14];
    rig_init(&r);
    rig_open(&r);
    uint64_t a = spool_next_id(r.s), b = spool_next_id(r.s), c = spool_next_id(r.s);
    assert_int_equal(append_large(&r, a, 2, 3000000), SPOOL_OK);
    assert_int_equal(append_large(&r, b, 1, 100000), SPOOL_OK);
    struct spool_large *drop = spool_large_new(r.s, c, r.reply, NULL, NULL);
    assert_true(spool_large_write(drop, "x", 1));
    spool_large_abort(&drop);
    assert_int_equal(read_back(&r, a, 3000000, 2), 0);
    mark(&r, b, 0, SPOOL_MARK_DELIVERED);
    settle(&r);
    rig_reopen(&r, &l);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.v[0].size, 3000000);
    seen_free(&l);
    assert_int_equal(read_back(&r, a, 3000000, 2), 0);
    uint64_t gone[] = {b, c};
    for (int i = 0; i < 2; i++) {
        spool_id_text(gone[i], text);
        snprintf(path, sizeof(path), "%s/large/%s", r.dir, text);
        assert_int_not_equal(access(path, F_OK), 0);
    }
    rig_free(&r);
}

static void count_ready(void *arg)
{
    ++*(unsigned *)arg;
}

static void wait_for_large(struct rig *r)
{
    while (atomic_load(&r->s->large_backlog) != 0)
        chan_wait(r->reply, 1); /* what is in it stays there */
}

/* All that was gathered is given at once, and the disk keeps pace: it has nothing left before the
 * caller has seen the first word of that. */
static void test_large_without_waiting(void **state)
{
    (void)state;
    struct rig r;
    unsigned ready = 0;
    static char piece[1100000];
    rig_init(&r);
    rig_open(&r);
    struct spool_large *l = spool_large_new(r.s, spool_next_id(r.s), r.reply, count_ready, &ready);
    for (int i = 0; i < 3; i++) {
        assert_false(spool_large_write(l, piece, sizeof(piece)));
        wait_for_large(&r);
    }
    while (ready == 0) {
        chan_wait(r.reply, -1);
        chan_drain(r.reply);
    }
    assert_int_equal(ready, 1);
    assert_true(spool_large_write(l, piece, 1));
    spool_large_abort(&l);
    rig_free(&r);
}

static void test_lock(void **state)
{
    (void)state;
    struct rig r;
    struct err e;
    rig_init(&r);
    rig_open(&r);
    assert_null(spool_open(&r.conf, &file_real, &e));
    assert_int_equal(e.class, ERR_BUSY);
    rig_close(&r);
    rig_open(&r);
    rig_free(&r);
}

static void poke(const struct rig *r, const char *name, long off, const void *p, size_t n)
{
    char path[400];
    snprintf(path, sizeof(path), "%s/%s", r->dir, name);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, p, n, off), n);
    close(fd);
}

static void test_old_version_is_refused(void **state)
{
    (void)state;
    struct rig r;
    struct err e;
    uint32_t seven = 7, one = 1;
    rig_init(&r);
    rig_open(&r);
    assert_int_equal(append(&r, spool_next_id(r.s), 1, 10), SPOOL_OK);
    rig_close(&r);
    poke(&r, "state", 8, &seven, 4);
    assert_null(spool_open(&r.conf, &file_real, &e));
    assert_non_null(strstr(e.text, "format 7"));
    poke(&r, "state", 8, &one, 4);
    poke(&r, "segment/00000000", 8, &seven, 4);
    poke(&r, "segment/00000000", DISK_COPY_AT + 8, &seven, 4);
    assert_null(spool_open(&r.conf, &file_real, &e));
    assert_non_null(strstr(e.text, "format 7"));
    rig_free(&r);
}

static void count_line(void *arg, const char *line)
{
    (void)line;
    ++*(int *)arg;
}

/* An acknowledged record that is damaged is set aside; what is before and behind it is not. */
static void test_damage_is_quarantined(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct spool_verify_report report;
    struct err e;
    uint64_t id[5], off[5];
    int lines = 0;
    rig_init(&r);
    rig_open(&r);
    for (size_t i = 0; i < ARRAY_LEN(id); i++) {
        assert_int_equal(append(&r, id[i] = spool_next_id(r.s), 1, 2000), SPOOL_OK);
        off[i] = (uint64_t)table_find(&r.s->table, id[i])->unit * DISK_ALIGN;
    }
    rig_close(&r);
    assert_true(spool_verify(r.dir, count_line, &lines, &report, &e));
    assert_int_equal(report.bad_records, 0);
    assert_int_equal(report.living, 5);
    assert_int_equal(lines, 0);
    poke(&r, "segment/00000000", (long)off[1] + 70, "damage", 6);   /* envelope */
    poke(&r, "segment/00000000", (long)off[3] + 1000, "damage", 6); /* content */
    assert_true(spool_verify(r.dir, count_line, &lines, &report, &e));
    assert_int_equal(report.bad_records, 2);
    assert_int_equal(lines, 2);
    rig_reopen(&r, &l);
    assert_int_equal(l.n, 4);
    assert_int_equal(l.stats.quarantined, 1);
    assert_null(seen_find(&l, id[1]));
    seen_free(&l);
    assert_int_equal(read_back(&r, id[2], 2000, 1), 0);
    assert_int_equal(read_back(&r, id[3], 2000, 1), 2);
    assert_int_equal(read_back(&r, id[4], 2000, 1), 0);
    settle(&r);
    rig_reopen(&r, &l); /* the damaged content was marked as removed */
    assert_null(seen_find(&l, id[3]));
    assert_int_equal(l.n, 3);
    seen_free(&l);
    rig_free(&r);
}

static void test_segments_are_used_again(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct spool_status st;
    rig_init(&r);
    rig_reopen(&r, &l);
    seen_free(&l);
    for (int i = 0; i < 400; i++) { /* about 40 segments full */
        uint64_t id = spool_next_id(r.s);
        assert_int_equal(append(&r, id, 1, 25000), SPOOL_OK);
        mark(&r, id, 0, SPOOL_MARK_DELIVERED);
    }
    settle(&r);
    spool_status(r.s, &st);
    assert_true(st.segments < 20);
    assert_true(st.messages <= 1);
    rig_reopen(&r, &l);
    assert_int_equal(l.n, 0);
    seen_free(&l);
    rig_free(&r);
}

/* ---- compaction, readers and writers together ---- */

static bool wait_until_segments(struct rig *r, uint64_t most)
{
    struct spool_status st;
    int64_t until = clock_mono_ms() + 10000;
    do {
        spool_status(r->s, &st);
        if (st.segments <= most)
            return true;
        chan_wait(r->reply, 2);
    } while (clock_mono_ms() < until);
    return false;
}

static void test_compaction(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct spool_status st;
    uint64_t id[800];
    rig_init(&r);
    rig_reopen(&r, &l);
    seen_free(&l);
    for (size_t i = 0; i < ARRAY_LEN(id); i++)
        assert_int_equal(append(&r, id[i] = spool_next_id(r.s), 3, 12000), SPOOL_OK);
    spool_status(r.s, &st);
    assert_true(st.segments >= 32);
    /* a reader keeps its bytes whatever moves */
    struct err e;
    struct spool_reader *rd = spool_reader_open(r.s, id[37], &e);
    assert_non_null(rd);
    for (size_t i = 0; i < ARRAY_LEN(id); i++) {
        mark(&r, id[i], 1, SPOOL_MARK_DELIVERED);
        if (i % 30 == 7) {
            mark(&r, id[i], SPOOL_RCPT_ALL, SPOOL_MARK_HELD);
            mark(&r, id[i], SPOOL_RCPT_ALL, SPOOL_MARK_DELAY_NOTIFIED);
            continue;
        }
        mark(&r, id[i], SPOOL_RCPT_ALL, SPOOL_MARK_DELIVERED);
    }
    settle(&r);
    assert_true(wait_until_segments(&r, 24)); /* active, its like, the wanted, the kept */
    char have[12000], want[12000];
    size_t got = 0;
    assert_true(spool_reader_read(rd, 0, have, sizeof(have), &got, &e));
    content_fill(id[37], 0, want, sizeof(want));
    assert_int_equal(got, sizeof(want));
    assert_memory_equal(have, want, sizeof(want));
    spool_reader_close(&rd);
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < ARRAY_LEN(id); i++)
            assert_int_equal(read_back(&r, id[i], 12000, 3), i % 30 == 7 ? 0 : 1);
        rig_reopen(&r, &l);
        assert_int_equal(l.n, (ARRAY_LEN(id) + 22) / 30);
        for (size_t i = 0; i < l.n; i++)
            assert_true(l.v[i].id == id[i * 30 + 7] && l.v[i].held && l.v[i].delayed &&
                        l.v[i].done[0] == 2);
        seen_free(&l);
    }
    rig_free(&r);
}

struct busy {
    pthread_t thread;
    struct rig r; /* its own channel on the shared spool */
    unsigned n;
    bool ok;
};

static void *be_busy(void *arg)
{
    struct busy *b = arg;
    uint64_t old = 0;
    b->ok = true;
    for (unsigned i = 0; i < b->n && b->ok; i++) {
        uint64_t id = spool_next_id(b->r.s);
        size_t size = 500 + (i * 977) % 20000;
        b->ok = append(&b->r, id, 2, size) == SPOOL_OK && read_back(&b->r, id, size, 2) == 0;
        mark(&b->r, id, 0, SPOOL_MARK_DELIVERED);
        if (i % 20 == 0) {
            old = id;
            continue; /* stays, and is compacted again and again */
        }
        mark(&b->r, id, 1, SPOOL_MARK_DELIVERED);
        size_t old_size = 500 + (i / 20 * 20 * 977) % 20000;
        b->ok = b->ok && (i % 7 != 0 || read_back(&b->r, old, old_size, 2) == 0);
    }
    return NULL;
}

static void test_all_at_once(void **state)
{
    (void)state;
    struct rig r;
    struct seen_list l;
    struct busy b[4] = {0};
    rig_init(&r);
    r.conf.compact_below = 0.7;
    rig_reopen(&r, &l);
    seen_free(&l);
    for (size_t i = 0; i < ARRAY_LEN(b); i++) {
        b[i].r = r;
        b[i].r.reply = chan_new();
        b[i].n = 160;
        assert_int_equal(pthread_create(&b[i].thread, NULL, be_busy, &b[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(b); i++) {
        pthread_join(b[i].thread, NULL);
        assert_true(b[i].ok);
        chan_free(&b[i].r.reply);
    }
    rig_reopen(&r, &l);
    assert_int_equal(l.n, ARRAY_LEN(b) * 8);
    for (size_t i = 0; i < l.n; i++) {
        assert_int_equal(l.v[i].done[0], 1);
        assert_int_equal(read_back(&r, l.v[i].id, l.v[i].size, 2), 0);
    }
    seen_free(&l);
    rig_free(&r);
}

/* What a reader must not be given: the last byte of damaged content. */
static void test_damage_in_a_long_content(void **state)
{
    (void)state;
    struct rig r;
    struct err e;
    char piece[5000];
    rig_init(&r);
    rig_open(&r);
    uint64_t id = spool_next_id(r.s);
    assert_int_equal(append(&r, id, 1, 60000), SPOOL_OK);
    poke(&r, "segment/00000000", (long)table_find(&r.s->table, id)->unit * (long)DISK_ALIGN + 1000,
         "x", 1);
    struct spool_reader *rd = spool_reader_open(r.s, id, &e);
    assert_non_null(rd);
    uint64_t off = 0;
    for (;;) {
        size_t got = 0;
        if (!spool_reader_read(rd, off, piece, sizeof(piece), &got, &e))
            break;
        assert_true(got != 0);
        off += got;
    }
    assert_int_equal(e.class, ERR_CORRUPT);
    assert_int_equal(off, 55000);
    spool_reader_close(&rd);
    int read = read_back(&r, id, 60000, 1);
    assert_true(read == 2 || read == 1); /* damaged, or set aside by now */
    rig_free(&r);
}

int main(void)
{
    atomic_store(&compact_quiet_ms, 0);
    atomic_store(&keeper_poll_ms, 20);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id_text),
        cmocka_unit_test(test_append_and_read),
        cmocka_unit_test(test_recover_with_marks),
        cmocka_unit_test(test_embedded_marks),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_large_without_waiting),
        cmocka_unit_test(test_lock),
        cmocka_unit_test(test_old_version_is_refused),
        cmocka_unit_test(test_damage_is_quarantined),
        cmocka_unit_test(test_segments_are_used_again),
        cmocka_unit_test(test_compaction),
        cmocka_unit_test(test_all_at_once),
        cmocka_unit_test(test_damage_in_a_long_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
