/*
 * base_test.c - the pure parts of base/: strings, buffers, arena, heap, list, hash, err, clock.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/base64.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/random.h"

#define assert_str(s, literal) assert_true(str_eq((s), str_c(literal)))

static void str_numbers(void **state)
{
    static const struct {
        const char *in;
        uint64_t max;
        bool ok;
        uint64_t value;
    } cases[] = {
        {"0", 10, true, 0},
        {"10", 10, true, 10},
        {"11", 10, false, 0},
        {"", 10, false, 0},
        {"1x", 10, false, 0},
        {"-1", 10, false, 0},
        {"+1", 10, false, 0},
        {" 1", 10, false, 0},
        {"007", 10, true, 7},
        {"5", 3, false, 0},
        {"0", 0, true, 0},
        {"18446744073709551615", UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", UINT64_MAX, false, 0},
        {"99999999999999999999999", UINT64_MAX, false, 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t v = 77;
        assert_int_equal(str_to_u64(str_c(cases[i].in), cases[i].max, &v), cases[i].ok);
        assert_true(v == (cases[i].ok ? cases[i].value : 77));
    }
}

static void str_comparing(void **state)
{
    (void)state;
    assert_true(str_eq(STR_NULL, STR("")));
    assert_true(str_eq_nocase(STR("Zoe@Example.COM"), STR("zOE@eXAMPLE.com")));
    assert_false(str_eq_nocase(STR("a"), STR("b")));
    assert_false(str_eq_nocase(STR("a"), STR("ab")));
    char one[20] = "aZ@[`{9_\x80\xc1\xda-Qq.zA", two[20];
    for (size_t n = 1; n <= 17; n++) /* every octet at every place, compared as one by one */
        for (size_t at = 0; at < n; at++)
            for (unsigned c = 0; c < 256; c++) {
                memcpy(two, one, sizeof(two));
                two[at] = (char)c;
                assert_int_equal(str_eq_nocase(str_n(one, n), str_n(two, n)),
                                 ascii_lower(one[at]) == ascii_lower((char)c));
            }
    /* Only ASCII letters have a case: '@' and '`', '[' and '{' are 32 apart too. */
    assert_false(str_eq_nocase(STR("@["), STR("`{")));
    assert_false(str_eq_nocase(STR("\xc3\x84"), STR("\xc3\xa4")));
    assert_true(str_starts(STR("MAIL FROM"), STR("MAIL")));
    assert_false(str_starts(STR("MAIL"), STR("MAIL FROM")));
    assert_false(str_starts(STR("mail"), STR("MAIL")));
    assert_true(str_starts_nocase(STR("mail from"), STR("MAIL")));
    assert_true(str_starts(STR("x"), STR_NULL));
    assert_true(str_ends_nocase(STR("a@Example.Com"), STR("@example.com")));
    assert_false(str_ends_nocase(STR("com"), STR("example.com")));
    assert_true(str_ends_nocase(STR_NULL, STR("")));
}

static void str_cutting(void **state)
{
    (void)state;
    assert_str(str_trim(STR(" \t a b\r\n")), "a b");
    assert_str(str_trim(STR(" \t ")), "");
    assert_int_equal(str_find(STR("a@b@c"), '@'), 1);
    assert_int_equal(str_rfind(STR("a@b@c"), '@'), 3);
    assert_int_equal(str_find(STR("abc"), '@'), -1);
    assert_int_equal(str_rfind(STR_NULL, '@'), -1);
    assert_int_equal(str_find(STR_NULL, '@'), -1);
    assert_str(str_from(STR("abc"), 1), "bc");
    assert_str(str_from(STR("abc"), 9), "");
    assert_str(str_upto(STR("abc"), 2), "ab");
    assert_str(str_upto(STR("abc"), 9), "abc");

    struct str rest = STR("one,,two");
    assert_str(str_split(&rest, ','), "one");
    assert_str(str_split(&rest, ','), "");
    assert_str(str_split(&rest, ','), "two");
    assert_int_equal(rest.n, 0);
    assert_str(str_split(&rest, ','), "");

    struct str one = str_n("a\0b,c", 5); /* NUL is a byte like any other */
    assert_int_equal(str_split(&one, ',').n, 3);
    assert_str(one, "c");
}

static void str_copying(void **state)
{
    (void)state;
    char small[4] = "zzz";
    assert_true(str_copy(STR("abc"), small, sizeof(small)));
    assert_string_equal(small, "abc");
    assert_false(str_copy(STR("abcd"), small, sizeof(small)));
    assert_string_equal(small, "");
    assert_false(str_copy(str_n("a\0b", 3), small, sizeof(small)));
    assert_true(str_copy(STR_NULL, small, sizeof(small)));
    char mixed[] = "AbZ\xc3[";
    str_lower(str_c(mixed), mixed);
    assert_string_equal(mixed, "abz\xc3[");
    char *dup = str_dup(str_n("xyz", 2));
    assert_string_equal(dup, "xy");
    mem_free(dup);
}

static void buf_caps(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(10);
    assert_true(buf_append_c(&b, "0123456789"));
    assert_false(buf_append_char(&b, 'x'));
    assert_false(buf_reserve(&b, SIZE_MAX));
    assert_true(buf_reserve(&b, 0));
    assert_string_equal(buf_cstr(&b), "0123456789");
    buf_consume(&b, 4);
    assert_string_equal(buf_cstr(&b), "456789");
    assert_true(buf_printf(&b, "%d", 1234));
    assert_false(buf_printf(&b, "%d", 1)); /* the allocation has room, the cap has not */
    assert_string_equal(buf_cstr(&b), "4567891234");
    buf_consume(&b, 99);
    assert_int_equal(b.n, 0);
    buf_free(&b);
    assert_string_equal(buf_cstr(&b), "");
    buf_free(&b);
}

static void buf_growing(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1000);
    for (int i = 0; i < 1000; i++)
        assert_true(buf_append_char(&b, (char)('a' + i % 26)));
    assert_false(buf_append_char(&b, 'x'));
    assert_int_equal(b.n, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(b.p[i], 'a' + i % 26);
    assert_true(b.cap <= 1001);
    buf_clear(&b);
    assert_false(buf_printf(&b, "%1001d", 1)); /* needs to grow, must not */
    assert_int_equal(b.n, 0);
    assert_true(buf_printf(&b, "%1000d", 1));
    assert_int_equal(b.p[999], '1');
    buf_free(&b);
}

static void arena_life(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a, 256, 4096);
    char *p[8];
    for (int i = 0; i < 8; i++) {
        p[i] = arena_alloc(&a, 100);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % _Alignof(max_align_t), 0);
        for (int j = 0; j < 100; j++)
            assert_int_equal(p[i][j], 0);
        memset(p[i], 'A' + i, 100);
    }
    char *big = arena_alloc(&a, 1000); /* larger than a block */
    assert_non_null(big);
    memset(big, 'z', 1000);
    for (int i = 0; i < 8; i++)
        assert_int_equal(p[i][99], 'A' + i);
    assert_string_equal(arena_printf(&a, "%s-%d", "x", 7), "x-7");
    struct str s = arena_str(&a, STR("slice"));
    assert_string_equal(s.p, "slice");
    assert_null(arena_alloc(&a, 4096));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_non_null(arena_str(&a, STR_NULL).p);

    while (arena_alloc(&a, 16) != NULL) {
    }
    assert_null(arena_str(&a, STR("x")).p);
    assert_null(arena_printf(&a, "x"));
    assert_true(a.used <= 4096);
    arena_reset(&a);
    assert_int_equal(a.used, 0);
    char *again = arena_alloc(&a, 200);
    for (int j = 0; j < 200; j++)
        assert_int_equal(again[j], 0); /* zeroed although the memory was used before */
    arena_free(&a);
    assert_non_null(arena_alloc(&a, 1));
    arena_free(&a);
}

static void heap_is_valid(const struct heap *h)
{
    for (uint32_t i = 0; i < h->n; i++) {
        assert_int_equal(h->v[i]->index, i + 1);
        if (i > 0)
            assert_true(h->v[(i - 1) / 2]->key <= h->v[i]->key);
    }
}

static void heap_random(void **state)
{
    enum {
        NODES = 200
    };
    (void)state;
    struct heap h;
    struct heap_node nodes[NODES] = {{0}};
    heap_init(&h);
    random_jitter_seed(42);
    assert_null(heap_min(&h));
    uint32_t linked = 0;
    for (int step = 0; step < 5000; step++) {
        struct heap_node *n = &nodes[random_jitter(NODES)];
        bool was = heap_node_is_linked(n);
        if (random_jitter(3) == 0) {
            heap_remove(&h, n);
            linked -= was;
        } else {
            heap_set(&h, n, (int64_t)random_jitter(1000) - 500);
            linked += !was;
        }
        assert_int_equal(h.n, linked);
        if (step % 50 == 0)
            heap_is_valid(&h);
    }
    int64_t last = INT64_MIN;
    while (heap_min(&h) != NULL) {
        struct heap_node *n = heap_min(&h);
        assert_true(n->key >= last);
        last = n->key;
        heap_remove(&h, n);
        assert_false(heap_node_is_linked(n));
        linked--;
    }
    assert_int_equal(linked, 0);
    heap_free(&h);
}

static void list_order(void **state)
{
    (void)state;
    struct list l;
    struct list_node n[3] = {{0}};
    list_init(&l);
    assert_null(list_pop_front(&l));
    list_push_back(&l, &n[1]);
    list_push_back(&l, &n[2]);
    list_push_front(&l, &n[0]);
    int i = 0;
    LIST_FOREACH_SAFE (at, tmp, &l) {
        assert_ptr_equal(at, &n[i]);
        i++;
        if (at == &n[1])
            list_remove(at);
    }
    assert_int_equal(i, 3);
    list_remove(&n[1]); /* already out */
    assert_ptr_equal(list_pop_front(&l), &n[0]);
    assert_ptr_equal(list_pop_front(&l), &n[2]);
    assert_true(list_is_empty(&l));
    assert_false(list_node_is_linked(&n[2]));
}

static void hash_forms_agree(void **state)
{
    static const size_t sizes[] = {0, 1, 3, 16, 17, 128, 240, 241, 1023, 1024, 1025, 5000};
    (void)state;
    char text[5000], lower[5000];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)('A' + i * 7 % 60);
    str_lower(str_n(text, sizeof(text)), lower);
    struct hash_state *s = hash_state_new();
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t n = sizes[i];
        assert_true(hash64(text, n) == hash64_seed(text, n, 0));
        assert_true(hash64_nocase(str_n(text, n)) == hash64(lower, n));
        hash_state_reset(s, 99);
        for (size_t at = 0; at < n; at += 37)
            hash_state_add(s, text + at, n - at < 37 ? n - at : 37);
        assert_true(hash_state_end(s) == hash64_seed(text, n, 99));
        assert_true(n == 0 || hash64_seed(text, n, 99) != hash64_seed(text, n, 98));
    }
    hash_state_free(&s);
    assert_null(s);
    hash_state_free(&s);
    /* A value of the published algorithm: the spool's format depends on it. */
    assert_true(hash64("", 0) == 0x2d06800538d394c2u);
}

static void err_texts(void **state)
{
    (void)state;
    struct err e;
    assert_false(err_set(&e, ERR_SYSTEM, ENOENT, "cannot open %s", "/x\ny"));
    assert_string_equal(e.text, "cannot open /x y: No such file or directory");
    assert_int_equal(e.class, ERR_SYSTEM);
    assert_int_equal(e.errnum, ENOENT);
    assert_false(err_wrap(&e, "source %d", 3));
    assert_string_equal(e.text, "source 3: cannot open /x y: No such file or directory");
    err_set(&e, ERR_INPUT, 0, "again: %.10s", e.text); /* its own text as an argument */
    assert_string_equal(e.text, "again: source 3: ");
    err_set(&e, ERR_INPUT, EIO, "%900d", 1);
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    err_wrap(&e, "outer");
    assert_int_equal(strlen(e.text), sizeof(e.text) - 1);
    assert_memory_equal(e.text, "outer: ", 7);
    err_clear(&e);
    assert_int_equal(e.class, ERR_NONE);
    assert_string_equal(e.text, "");
    assert_false(err_set(NULL, ERR_INPUT, 0, "x"));
    assert_false(err_wrap(NULL, "x"));
}

static void clock_dates(void **state)
{
    static const struct {
        const char *zone;
        int64_t ms;
        const char *rfc5322, *rfc3339;
    } cases[] = {
        {"UTC", 1795152145123, "Fri, 20 Nov 2026 05:22:25 +0000", "2026-11-20T05:22:25.123Z"},
        {"XXX-05:30", 1795152145000, "Fri, 20 Nov 2026 10:52:25 +0530", "2026-11-20T05:22:25.000Z"},
        {"XXX3:30", 0, "Wed, 31 Dec 1969 20:30:00 -0330", "1970-01-01T00:00:00.000Z"},
        {"UTC", -1, "Wed, 31 Dec 1969 23:59:59 +0000", "1969-12-31T23:59:59.999Z"},
        {"UTC", 951782400000, "Tue, 29 Feb 2000 00:00:00 +0000", "2000-02-29T00:00:00.000Z"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[40];
        setenv("TZ", cases[i].zone, 1);
        tzset();
        clock_rfc5322(cases[i].ms, text, sizeof(text));
        assert_string_equal(text, cases[i].rfc5322);
        clock_rfc3339(cases[i].ms, text, 32);
        assert_string_equal(text, cases[i].rfc3339);
    }
    unsetenv("TZ");
    tzset();
}

static void clock_fake(void **state)
{
    (void)state;
    int64_t before = clock_mono_ns();
    assert_true(clock_mono_ns() >= before);
    assert_true(clock_wall_ms() > 1600000000000);
    clock_fake_start(1000, 5000);
    assert_int_equal(clock_mono_ms(), 1000);
    clock_fake_advance(250);
    assert_int_equal(clock_mono_ms(), 1250);
    assert_int_equal(clock_mono_ns(), 1250000000);
    assert_int_equal(clock_wall_ms(), 5250);
    clock_fake_stop();
    assert_true(clock_wall_ms() > 1600000000000);
    assert_true(clock_mono_ns() >= before);
}

static void random_jitter_range(void **state)
{
    (void)state;
    unsigned seen[7] = {0};
    random_jitter_seed(1);
    uint64_t first = random_jitter(UINT64_MAX);
    for (int i = 0; i < 7000; i++)
        seen[random_jitter(7)]++;
    for (size_t i = 0; i < ARRAY_LEN(seen); i++)
        assert_in_range(seen[i], 700, 1300);
    random_jitter_seed(1);
    assert_true(random_jitter(UINT64_MAX) == first);
    uint64_t a = 0, b = 0;
    random_bytes(&a, sizeof(a));
    random_bytes(&b, sizeof(b));
    assert_true(a != b);
}

static void mem_forms(void **state)
{
    (void)state;
    char *z = mem_printf("%s=%d", "n", 5);
    assert_string_equal(z, "n=5");
    z = mem_realloc(z, 100);
    assert_string_equal(z, "n=5");
    mem_free(z);
    int *v = mem_array(10, sizeof(int));
    assert_int_equal(v[9], 0);
    mem_free(v);
    mem_free(mem_array(0, 8));
    mem_free(mem_alloc(0));
}

static void base64_vectors(void **state)
{
    /* RFC 4648 10 */
    static const char *const cases[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"},
                                           {"\xff\xfe\xfd", "//79"}};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b = BUF_INIT(64);
        assert_true(base64_append(&b, str_c(cases[i][0])));
        assert_str(buf_str(&b), cases[i][1]);
        buf_free(&b);
    }
    struct buf small = BUF_INIT(7);
    assert_false(base64_append(&small, STR("foob")));
    assert_int_equal(small.n, 0);
    buf_free(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(str_numbers), cmocka_unit_test(str_comparing),
        cmocka_unit_test(str_cutting), cmocka_unit_test(str_copying),
        cmocka_unit_test(buf_caps),    cmocka_unit_test(buf_growing),
        cmocka_unit_test(arena_life),  cmocka_unit_test(heap_random),
        cmocka_unit_test(list_order),  cmocka_unit_test(hash_forms_agree),
        cmocka_unit_test(err_texts),   cmocka_unit_test(clock_dates),
        cmocka_unit_test(clock_fake),  cmocka_unit_test(random_jitter_range),
        cmocka_unit_test(mem_forms),   cmocka_unit_test(base64_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
