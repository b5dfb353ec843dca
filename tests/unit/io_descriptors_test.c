/*
 * io_descriptors_test.c - clients and deliveries together leave descriptors for everything else.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/assert.h"
#include "relay/io/descriptors.h"

static void test_shares_leave_a_reserve(void **state)
{
    static const struct {
        uint64_t limit;
        unsigned workers, clients, outbound, reserve;
    } row[] = {
        {160, 2, 80, 20, 40},
        {256, 1, 160, 64, 32},
        {1024, 2, 640, 128, 128},
        {1024, 64, 512, 4, 256},
        {4096, 16, 2560, 64, 512},
        {65536, 8, 40960, 2048, 8192},
        {1 << 20, 4, 655360, 4096, 376832},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct descriptor_shares s = descriptor_shares(row[i].limit, row[i].workers);
        assert_int_equal(s.clients, row[i].clients);
        assert_int_equal(s.outbound, row[i].outbound);
        assert_int_equal(row[i].limit - s.clients - (uint64_t)s.outbound * row[i].workers,
                         row[i].reserve);
        assert_true(row[i].reserve >= row[i].limit / 8);
    }
}

static void test_no_limit(void **state)
{
    (void)state;
    assert_int_equal(descriptor_shares(0, 4).clients, 0);
    assert_int_equal(descriptor_shares(0, 4).outbound, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shares_leave_a_reserve),
        cmocka_unit_test(test_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
