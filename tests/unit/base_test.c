/*
 * base_test.c - strings, buffers, arena, heap and hash of base/.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/heap.h"
#include "base/random.h"

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

static void buf_caps(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(10);
    assert_true(buf_append_c(&b, "0123456789"));
    assert_false(buf_append_char(&b, 'x'));
    assert_string_equal(buf_cstr(&b), "0123456789");
    buf_consume(&b, 4);
    assert_string_equal(buf_cstr(&b), "456789");
    assert_true(buf_printf(&b, "%d", 1234));
    assert_false(buf_printf(&b, "%d", 1));
    assert_string_equal(buf_cstr(&b), "4567891234");
    buf_free(&b);
    assert_string_equal(buf_cstr(&b), "");
    buf_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(str_numbers),
        cmocka_unit_test(buf_caps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
