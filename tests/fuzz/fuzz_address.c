/*
 * fuzz_address.c - any octets through the address grammar; what is accepted must be what the
 * grammar promises.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "rewrite/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct address *a, unsigned flags)
{
    char key[ADDRESS_MAX + 1], again[ADDRESS_MAX + 1];
    for (size_t i = 0; i < a->all.n; i++) {
        unsigned char c = (unsigned char)a->all.p[i];
        ASSERT(c >= 32 && c != 127 && (c < 128 || (flags & ADDRESS_ALLOW_UTF8) != 0));
    }
    ASSERT(a->all.n <= ADDRESS_MAX && a->local.n <= ADDRESS_LOCAL_MAX);
    size_t n = address_key(a, key, sizeof(key));
    ASSERT((n == 0) == (a->all.n == 0));
    struct address b;
    if (n == 0)
        return;
    /* A key is an address of the same kind, and its own key. */
    ASSERT(address_parse(str_n(key, n), flags, &b) == ADDRESS_OK);
    ASSERT(address_key(&b, again, sizeof(again)) == n && memcmp(key, again, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    unsigned flags = data[0] & 15;
    struct str in = str_n((const char *)data + 1, size - 1), rest;
    struct address a;
    if (address_parse(in, flags, &a) == ADDRESS_OK)
        check(&a, flags);
    if (address_parse_path(in, flags, &a, &rest) == ADDRESS_OK) {
        ASSERT(rest.n < in.n && (rest.n == 0 || rest.p + rest.n == in.p + in.n));
        check(&a, flags);
    }
    (void)domain_is_valid(in, (flags & 1) != 0);
    return 0;
}
