/*
 * descriptors.c - how the descriptors of the process are shared out: a quarter for deliveries, an
 * eighth or more in reserve, what is left for clients.
 *
 * Where there are few, what the process itself needs counts more than the shares: clients then have
 * half.
 */
#include "relay/io/descriptors.h"

#include <limits.h>
#include <sys/resource.h>

enum {
    OWN = 64,          /* log, spool, directory, control */
    OWN_OF_WORKER = 8, /* loop, listeners, DNS */
    OUTBOUND_MIN = 2,  /* of one worker: mail moves, however few there are */
    OUTBOUND_MAX = 4096,
};

struct descriptor_shares descriptor_shares(uint64_t limit, unsigned workers)
{
    struct descriptor_shares s = {.clients = 0, .outbound = OUTBOUND_MAX};
    if (limit == 0)
        return s;
    uint64_t kept = limit / 4 + limit / 8, own = OWN + (uint64_t)OWN_OF_WORKER * workers;
    if (kept < own)
        kept = own;
    if (kept > limit / 2)
        kept = limit / 2;
    s.clients = limit - kept < UINT_MAX ? (unsigned)(limit - kept) : UINT_MAX;
    uint64_t each = limit / 4 / workers;
    s.outbound = each < OUTBOUND_MIN   ? OUTBOUND_MIN
                 : each > OUTBOUND_MAX ? OUTBOUND_MAX
                                       : (unsigned)each;
    return s;
}

uint64_t descriptor_limit(void)
{
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r) != 0 || r.rlim_cur == RLIM_INFINITY)
        return 0;
    return r.rlim_cur;
}
