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
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "relay/spool/spool_int.h"
#include "tests/unit/simdisk.h"
#include "tests/unit/spool_help.h"

static void begin(struct rig *r)
{
    rig_init(r);
    r->ops = &sim_ops;
    r->conf.segment_bytes = DISK_SEGMENT_MIN;
    atomic_store(&keeper_poll_ms, 10);
    atomic_store(&compact_quiet_ms, 0);
    sim_begin(r->dir, 1);
}

static void end(struct rig *r)
{
    rig_free(r);
    sim_end();
}

static void begin_recovered(struct rig *r)
{
    struct seen_list l;
    begin(r);
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
    end(&r);
}

/* Its record is damaged and goes to quarantine/: the content is whole, and stays for who mends it. */
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
    end(&r);
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
    end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_file_of_a_record_that_cannot_be_read),
        cmocka_unit_test(test_file_of_a_damaged_record),
        cmocka_unit_test(test_file_of_a_segment_set_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
