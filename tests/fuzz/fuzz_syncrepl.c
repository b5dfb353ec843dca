/*
 * fuzz_syncrepl.c - any octets as RFC 4533's values.
 */
#include "base/assert.h"
#include "directory/ldap/syncrepl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool inside(struct str part, struct str whole)
{
    return part.p == NULL || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str in = str_n((const char *)data, n), cookie;
    enum syncrepl_state state;
    const unsigned char *uuid;
    struct syncrepl_info info;
    if (syncrepl_read_state(in, &state, &uuid, &cookie))
        ASSERT(inside(cookie, in) && inside(str_n((const char *)uuid, DIR_UUID_SIZE), in));
    if (syncrepl_read_info(in, &info)) {
        ASSERT(inside(info.cookie, in) && inside(info.uuids, in));
        while (syncrepl_next_uuid(&info.uuids, &uuid))
            ASSERT(inside(str_n((const char *)uuid, DIR_UUID_SIZE), in));
        ASSERT(info.uuids.n == 0);
    }
    return 0;
}
