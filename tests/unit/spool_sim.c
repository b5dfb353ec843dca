/*
 * spool_sim.c - see the header.
 */
#include "tests/unit/spool_sim.h"

#include "relay/spool/spool_int.h"

void sim_rig_begin(struct rig *r)
{
    rig_init(r);
    r->ops = &sim_ops;
    r->conf.segment_bytes = DISK_SEGMENT_MIN;
    atomic_store(&keeper_poll_ms, 10);
    atomic_store(&compact_quiet_ms, 0);
    sim_begin(r->dir, 1);
}

void sim_rig_end(struct rig *r)
{
    rig_free(r);
    sim_end();
}
