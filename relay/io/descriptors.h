/*
 * descriptors.h - how the descriptors of the process are shared out.
 *
 * Clients and deliveries each take as many as they are let, so each has a share, and the shares
 * leave a reserve: log, spool, directory, DNS and control never wait for a client to go away.
 * Any thread.
 */
#ifndef RELAY_IO_DESCRIPTORS_H
#define RELAY_IO_DESCRIPTORS_H

#include <stdint.h>

struct descriptor_shares {
    unsigned clients;  /* connections that all workers together take; 0: no limit */
    unsigned outbound; /* connections that each worker opens to next hops */
};

/* limit: descriptors of the process, 0: no limit. workers: 1 or more. */
struct descriptor_shares descriptor_shares(uint64_t limit, unsigned workers);

/* What the process may open now (RLIMIT_NOFILE); 0: no limit. */
uint64_t descriptor_limit(void);

#endif
