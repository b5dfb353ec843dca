/*
 * store.h - what one source keeps on disk: directory-NAME.snapshot, a table, and
 * directory-NAME.journal, the tables of later changes. Both carry the sync cookie of the moment
 * they describe. While a mass change waits for a person there is also directory-NAME.held, with
 * that change (hold.h).
 *
 * The journal: a header {magic, version, byte order, salt, checksum}, then records {mark, size,
 * checksum, table}. The held change is a file of the same format with one record. A journal belongs
 * to the snapshot with the same salt (0: to the empty directory) and is ignored beside any other,
 * so a crash between writing a snapshot and emptying the journal is harmless. Its first record that
 * does not check ends it: what follows was never acknowledged by anyone, and the cookie of the
 * record before makes the server tell it again.
 *
 * A snapshot that does not check is refused, with its journal; the source then syncs from scratch.
 * A journal that cannot be written is given up until the next snapshot: after a restart the old
 * cookie brings the missing changes back, so nothing is lost but time. One thread.
 */
#ifndef DIRECTORY_STORE_H
#define DIRECTORY_STORE_H

#include <sys/types.h>

#include "base/file.h"
#include "directory/stack.h"

struct store {
    const struct file_ops *ops;
    char *name, *snapshot_path, *journal_path, *held_path;
    int fd;          /* the journal; -1 = given up */
    off_t end;       /* of its last good record */
    uint64_t salt;   /* of the snapshot */
    bool unverified; /* the snapshot's sums were not looked at yet */
};

/* Opens what there is; *out is the stack it makes (perhaps empty). False when the folder cannot be
 * written, or a file cannot be read for a reason that is not its content (descriptors, memory,
 * permissions, the disk): nothing is deleted then. A snapshot of up to `verify_max` octets is
 * verified and brought into memory here; a larger one is mapped, which takes no time, and leaves
 * `unverified` set for store_settle(). */
bool store_open(struct store *s, const char *folder, const char *name, const struct file_ops *ops,
                uint64_t verify_max, struct dir_stack **out, struct err *e);
void store_close(struct store *s);
/* Brings the base of *stack into memory and verifies it there. False: it is damaged; both files are
 * gone, begin anew. */
bool store_settle(struct store *s, struct dir_stack **stack);
/* Appends without a sync; then store_sync(). Failures are logged and the journal given up. */
void store_append(struct store *s, const struct dir_table *t);
void store_sync(struct store *s);
static inline bool store_is_journalling(const struct store *s)
{
    return s->fd >= 0;
}
/* Writes a snapshot and empties the journal; NULL when that failed (the old files stand). m->salt
 * is chosen here. */
struct dir_table *store_snapshot(struct store *s, struct table_builder *b, struct table_meta *m,
                                 struct err *e);
static inline uint64_t store_journal_bytes(const struct store *s)
{
    return s->fd >= 0 ? (uint64_t)s->end : 0;
}
/* The held change: *there if there is a file, *out NULL if it is damaged or of other data. False:
 * it cannot be read now. */
bool store_held_read(struct store *s, bool *there, struct dir_table **out, struct err *e);
/* Failures are logged: a restart then finds the change anew. */
void store_held_write(struct store *s, const struct dir_table *t);
void store_held_drop(struct store *s);
uint64_t store_bytes(const struct store *s, const struct dir_stack *stack);

#endif
