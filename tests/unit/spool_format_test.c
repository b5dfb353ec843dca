/*
 * spool_format_test.c - the table against a naive one, and the scanner on images damaged byte by
 * byte and cut at every length: it may find less, never anything else.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "relay/spool/record.h"
#include "relay/spool/spool_int.h"

/* ---- table ---- */

static uint64_t rng = 88172645463325252u;
static uint64_t rnd(uint64_t below)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (rng >> 11) % below;
}

static void test_table_against_a_list(void **state)
{
    (void)state;
    enum {
        IDS = 3000
    };
    struct table t;
    static uint8_t left[IDS]; /* recipients left; 0 = not in it */
    memset(left, 0, sizeof(left));
    table_init(&t);
    for (int step = 0; step < 200000; step++) {
        uint64_t i = rnd(IDS), id = (i + 1) * 7;
        struct entry *e = table_find(&t, id);
        assert_true((e != NULL) == (left[i] != 0));
        if (e == NULL) {
            left[i] = (uint8_t)(1 + rnd(12));
            e = table_insert(&t, id, left[i]);
            e->unit = (uint32_t)i;
        } else if (left[i] == 1 || rnd(3) == 0) {
            assert_int_equal(e->unit, i);
            table_remove(&t, e);
            left[i] = 0;
        } else {
            struct rcpts *r = table_rcpts(&t, e);
            assert_int_equal(r->left, left[i]);
            uint32_t k = (uint32_t)rnd(r->n);
            bool was = (r->done[k / 8] >> (k % 8) & 1) != 0;
            left[i] -= !was;
            assert_true(table_rcpt_done(&t, e, k) == (left[i] == 0));
            assert_true(table_rcpt_done(&t, e, r->n + 5) == (left[i] == 0));
            if (left[i] == 0)
                table_remove(&t, e);
        }
        if (step % 20000 == 0)
            table_trim(&t);
    }
    uint64_t n = 0;
    for (size_t i = 0; i < IDS; i++)
        n += left[i] != 0;
    assert_int_equal(t.n, n);
    table_free(&t);
}

static void test_table_memory(void **state)
{
    (void)state;
    struct table t;
    table_init(&t);
    for (uint64_t id = 1; id <= 200000; id++) {
        table_insert(&t, (UINT64_C(3) << ID_COUNTER_BITS) + id, 1);
        if (id > 20000)
            assert_true(t.bytes <= 40 * id);
    }
    for (uint64_t id = 1; id <= 200000; id++)
        table_remove(&t, table_find(&t, (UINT64_C(3) << ID_COUNTER_BITS) + id));
    table_trim(&t);
    assert_true(t.n == 0 && t.bytes < 64 * 1024);
    table_free(&t);
}

/* ---- scanner ---- */

#define SALT UINT64_C(0x1234567890abcdef)
#define SIZE DISK_SEGMENT_MIN

static unsigned char image[SIZE];
static size_t image_n;

static ssize_t mem_pread(int fd, void *p, size_t n, off_t off)
{
    (void)fd;
    if ((size_t)off >= image_n)
        return 0;
    if (n > image_n - (size_t)off)
        n = image_n - (size_t)off;
    memcpy(p, image + off, n);
    return (ssize_t)n;
}
static const struct file_ops mem_ops = {.pread = mem_pread};

static uint64_t put(uint64_t off, struct disk_record h, uint32_t synced_upto)
{
    unsigned char *p = image + off;
    h.magic = DISK_RECORD_MAGIC;
    h.synced_upto = synced_upto;
    if (h.type != DISK_PAD)
        h.length = (uint32_t)record_length(&h);
    for (size_t i = sizeof(h); i < h.length; i++)
        p[i] = (unsigned char)(i * 31 + off);
    if (h.type == DISK_MESSAGE)
        h.content_sum =
            hash64_seed(p + sizeof(h) + record_meta_len(&h), (size_t)h.content_len, h.id);
    memcpy(p, &h, sizeof(h));
    record_seal(p, SALT, off);
    return off + h.length;
}

static uint64_t first_end, second_end; /* synced, and then not */

static void make_image(void)
{
    memset(image, 0, sizeof(image));
    image_n = SIZE;
    uint64_t off = DISK_RECORDS_BEGIN;
    off = put(off, (struct disk_record){.type = DISK_MARKS, .n_marks = 3}, DISK_RECORDS_BEGIN);
    off =
        put(off,
            (struct disk_record){
                .type = DISK_MESSAGE, .id = 5, .envelope_len = 50, .n_rcpt = 2, .content_len = 200},
            DISK_RECORDS_BEGIN);
    off = put(off,
              (struct disk_record){.type = DISK_MESSAGE,
                                   .flags = DISK_COPY | DISK_HELD,
                                   .id = 6,
                                   .envelope_len = 33,
                                   .n_rcpt = 20,
                                   .n_marks = 2,
                                   .content_len = 10},
              DISK_RECORDS_BEGIN);
    uint64_t to = align_up(off, DISK_PAGE);
    off = put(off, (struct disk_record){.type = DISK_PAD, .length = (uint32_t)(to - off)},
              DISK_RECORDS_BEGIN);
    first_end = off;
    off =
        put(off,
            (struct disk_record){
                .type = DISK_LARGE, .id = 7, .envelope_len = 9, .n_rcpt = 1, .content_len = 99999},
            (uint32_t)first_end);
    second_end =
        put(off,
            (struct disk_record){
                .type = DISK_MESSAGE, .id = 8, .envelope_len = 10, .n_rcpt = 1, .content_len = 300},
            (uint32_t)first_end);
}

struct heard {
    uint64_t id[16];
    unsigned n, damage;
};
static bool hear(void *arg, const struct record *r)
{
    struct heard *h = arg;
    h->id[h->n++] = r->h.id;
    return true;
}
static void hear_damage(void *arg, uint64_t from, uint64_t to)
{
    assert_true(from < to && from >= DISK_RECORDS_BEGIN);
    ((struct heard *)arg)->damage++;
}
static struct heard walk_image(uint64_t hard_end, struct walk_result *out)
{
    struct heard h = {0};
    struct scan sc;
    struct walk w = {.arg = &h, .record = hear, .damage = hear_damage};
    scan_init(&sc, &mem_ops, 3, SALT, SIZE);
    scan_walk(&sc, hard_end, &w, out);
    scan_free(&sc);
    return h;
}

static void test_walk(void **state)
{
    (void)state;
    struct walk_result out;
    make_image();
    struct heard h = walk_image(0, &out);
    assert_int_equal(h.n, 5);
    assert_true(h.id[0] == 0 && h.id[1] == 5 && h.id[2] == 6 && h.id[3] == 7 && h.id[4] == 8);
    assert_true(out.proven == first_end && out.end == second_end && !out.torn);
    h = walk_image(first_end, &out);
    assert_int_equal(h.n, 3);
}

/* Every byte changed in turn: before what is proven that is damage, behind it the silent end. */
static void test_walk_damaged_byte_by_byte(void **state)
{
    (void)state;
    static const uint64_t whole[] = {0, 5, 6, 7, 8};
    struct walk_result out;
    for (uint64_t at = DISK_RECORDS_BEGIN; at < second_end; at++) {
        make_image();
        image[at] ^= 0x55;
        struct heard h = walk_image(0, &out);
        unsigned k = 0;
        for (unsigned i = 0; i < h.n; i++) { /* a subset, in order */
            while (k < ARRAY_LEN(whole) && whole[k] != h.id[i])
                k++;
            assert_true(k++ < ARRAY_LEN(whole));
        }
        if (at < first_end) {
            assert_true(h.n >= 4 && h.damage <= 1);
            assert_true(h.n + h.damage >= 5);
        } else {
            assert_true(h.n >= 3 && h.damage == 0);
        }
    }
}

static void test_walk_cut_at_every_length(void **state)
{
    (void)state;
    struct walk_result out;
    for (size_t n = 0; n <= second_end; n++) {
        make_image();
        image_n = n;
        struct heard h = walk_image(0, &out);
        assert_true(h.n <= 5);
        assert_true(n < second_end || h.n == 5);
    }
}

/* Records of an earlier use of the file, or at another place, are nothing. */
static void test_stale_and_moved_records(void **state)
{
    (void)state;
    struct walk_result out;
    struct scan sc;
    struct record r;
    make_image();
    scan_init(&sc, &mem_ops, 3, SALT + 1, SIZE);
    assert_false(scan_record(&sc, DISK_RECORDS_BEGIN, SIZE, &r));
    scan_free(&sc);
    memmove(image + second_end, image + DISK_RECORDS_BEGIN, 192);
    struct heard h = walk_image(0, &out);
    assert_int_equal(h.n, 5);
}

static void test_header(void **state)
{
    (void)state;
    unsigned char page[DISK_PAGE];
    struct disk_segment a = {.state = DISK_IN_USE, .use = 4, .seq = 9, .size = SIZE}, b = {0};
    header_write(&a, page);
    assert_int_equal(header_read(page, &b), HEADER_VALID);
    assert_int_equal(b.seq, 9);
    for (size_t i = 0; i < sizeof(a); i++) { /* either copy alone is enough */
        page[i] ^= 0xff;
        assert_int_equal(header_read(page, &b), HEADER_VALID);
        page[i] ^= 0xff;
        page[DISK_COPY_AT + i] ^= 0xff;
        assert_int_equal(header_read(page, &b), HEADER_VALID);
        page[DISK_COPY_AT + i] ^= 0xff;
    }
    unsigned char newer[DISK_PAGE];
    struct disk_segment c = {.state = DISK_FREE, .use = 5, .size = SIZE};
    header_write(&c, newer);
    memcpy(page + DISK_COPY_AT, newer + DISK_COPY_AT, sizeof(c)); /* torn between the two */
    assert_int_equal(header_read(page, &b), HEADER_VALID);
    assert_int_equal(b.state, DISK_FREE);
    memset(page, 0, sizeof(page));
    assert_int_equal(header_read(page, &b), HEADER_BLANK);
    page[7] = 1;
    assert_int_equal(header_read(page, &b), HEADER_BAD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_against_a_list),
        cmocka_unit_test(test_table_memory),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_walk_damaged_byte_by_byte),
        cmocka_unit_test(test_walk_cut_at_every_length),
        cmocka_unit_test(test_stale_and_moved_records),
        cmocka_unit_test(test_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
