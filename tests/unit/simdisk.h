/*
 * simdisk.h - a disk that can lose power. A struct file_ops over real files that remembers what was
 * synced and what was only written, in files and in folders, and can lay down in another folder
 * what a disk might hold after a power failure now: each 512-byte sector of an unsynced write there
 * or not, of unsynced creations, renames and removals the first few. It can also make one operation
 * fail.
 *
 * A failed sync leaves what it should have synced in limbo for ever: a later sync that succeeds
 * does not save it. As in Linux each descriptor that was open then is told of it once, by its next
 * sync. One disk per process; any thread.
 */
#ifndef TESTS_SIMDISK_H
#define TESTS_SIMDISK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/file.h"

extern const struct file_ops sim_ops;

/* From now on `root` (with its folders segment, large, quarantine) is the disk. What is in it is
 * synced; but if it was laid down as after a kill, what was not synced then still is not. */
void sim_begin(const char *root, uint64_t seed);
void sim_end(void);    /* keeps what a kill laid down for the next sim_begin() */
void sim_forget(void); /* ... does not */
/* Calls hook(arg) inside the operation with this number, from 1; 0 = never. */
void sim_hook_at(uint64_t op, void (*hook)(void *arg), void *arg);
/* The operation with this number fails with this errno; of writes, a part may have been done. Reads
 * do not count: they have numbers of their own. */
void sim_fail_at(uint64_t op, int errnum);
bool sim_has_failed(void); /* that operation is over */
/* The read with this number, from 1, fails with EIO; 0 = none. */
void sim_fail_read(uint64_t n);
/* The next `times` reads of the page with off of the file `name`, below the root, fail; a read that
 * begins before it ends there. */
void sim_fail_reads_at(const char *name, uint64_t off, unsigned times);
/* Writes that make a file longer, and creations, fail with ENOSPC while this is set. */
void sim_disk_full(bool full);
uint64_t sim_ops_done(void);
/* Only inside a hook. power: as after a power failure; else as after kill -9. */
void sim_lay_down(const char *to, bool power);
uint64_t sim_random(uint64_t below); /* only inside a hook */

#endif
