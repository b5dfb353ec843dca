/*
 * batch.h - one gathered write to the active segment: planned piece by piece, then laid out,
 * written and, if anything in it must be durable, synced once. Commit thread only.
 */
#ifndef RELAY_SPOOL_BATCH_H
#define RELAY_SPOOL_BATCH_H

#include "relay/spool/spool_int.h"

struct batch_item {
    struct spool_append *append; /* or */
    struct copy_node *copy;
    struct disk_record h;
    uint64_t off;
};

struct batch {
    struct batch_item *item;
    unsigned n_item, cap_item;
    struct iovec *iov;
    int n_iov, cap_iov;
    unsigned char *meta; /* headers, envelopes, marks, padding */
    size_t meta_n, meta_need, meta_cap;
    uint64_t begin, end; /* in the file, without the segment's header */
    size_t n_marks;      /* of commit.fresh */
    bool embedded;       /* an append with marks is in it */
    bool copies;
    bool sync;
};

enum batch_fit {
    BATCH_TAKEN,
    BATCH_FULL,    /* write this one first */
    BATCH_TOO_BIG, /* does not fit in any segment */
};

void batch_begin(struct batch *b, const struct segment *g);
static inline bool batch_is_empty(const struct batch *b)
{
    return b->n_item == 0 && b->n_marks == 0;
}
/* Takes as many as fit; false if some did not. */
bool batch_take_marks(struct batch *b, const struct segment *g, size_t n);
enum batch_fit batch_take_append(struct batch *b, const struct segment *g, struct spool_append *a);
/* `h` of the copy says what it is; the state is taken when it is laid out. */
enum batch_fit batch_take_copy(struct batch *b, const struct segment *g, struct copy_node *c);
/* Lays out and writes. On success the segment's pos has moved. */
bool batch_put(struct spool *s, struct batch *b, struct segment *g, struct err *e);
/* What was written to the segment before is on disk. fd: one of the segment's. Any thread. */
bool batch_sync(struct spool *s, const struct segment *g, int fd, struct err *e);
/* The two, the sync only if b->sync. On success the segment's synced has moved, too. */
bool batch_write(struct spool *s, struct batch *b, struct segment *g, struct err *e);
/* All of g before `end` is on disk. */
void batch_synced(struct spool *s, struct segment *g, uint64_t end);

#endif
