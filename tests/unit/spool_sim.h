/*
 * spool_sim.h - a spool of small segments on a simulated disk, with a keeper that does not wait.
 */
#ifndef TESTS_SPOOL_SIM_H
#define TESTS_SPOOL_SIM_H

#include "tests/unit/simdisk.h"
#include "tests/unit/spool_help.h"

void sim_rig_begin(struct rig *r); /* not open yet */
void sim_rig_end(struct rig *r);

#endif
