/*
 * spool_help.h - what the spool's tests share: a spool in a folder of its own, messages whose bytes
 * follow from their id, and recovery into an array.
 */
#ifndef TESTS_SPOOL_HELP_H
#define TESTS_SPOOL_HELP_H

#include "base/chan.h"
#include "relay/spool/spool.h"

struct rig {
    char dir[256];
    struct spool_conf conf;
    const struct file_ops *ops;
    struct spool *s;
    struct chan *reply;
};
/* What recovery reported. */
struct seen {
    uint64_t id;
    uint64_t size;
    bool held, delayed, bit8;
    uint8_t done[16];
    uint32_t n_rcpt;
};
struct seen_list {
    struct seen *v;
    size_t n;
    struct spool_recovery_stats stats;
};

void rig_init(struct rig *r); /* new folder, small segments */
void rig_free(struct rig *r); /* closes, removes the folder */
void rig_open(struct rig *r); /* must succeed */
void rig_close(struct rig *r);
/* Recovers an open one; must succeed. */
void rig_recover(struct rig *r, struct seen_list *l);
/* Closes, opens and recovers. */
void rig_reopen(struct rig *r, struct seen_list *l);
void seen_free(struct seen_list *l);
const struct seen *seen_find(const struct seen_list *l, uint64_t id);

/* The bytes of message `id`. */
void content_fill(uint64_t id, uint64_t off, void *p, size_t n);
size_t envelope_fill(uint64_t id, uint32_t n_rcpt, char *p); /* at most 64 bytes */

struct submit {
    struct spool_append a;
    struct rig *r;
    char envelope[64];
    char *content;
    struct iovec iov[2];
    bool done;
};
/* Sent, not waited for. */
void submit_send(struct submit *m, struct rig *r, uint64_t id, uint32_t n_rcpt, size_t size,
                 const struct spool_mark *marks, unsigned n_marks);
void submit_wait(struct submit *m); /* and frees what it holds */
enum spool_result append(struct rig *r, uint64_t id, uint32_t n_rcpt, size_t size);
enum spool_result append_large(struct rig *r, uint64_t id, uint32_t n_rcpt, size_t size);
void mark(struct rig *r, uint64_t id, uint32_t rcpt, enum spool_mark_kind kind);
/* Everything sent so far has been written (and the marks applied). */
void settle(struct rig *r);
/* Reads the message back: 0 right, 1 not there, 2 wrong or damaged, 3 not now. */
int read_back(struct rig *r, uint64_t id, uint64_t size, uint32_t n_rcpt);
/* Waits until so many segments are free; false: not within 5 s. */
bool wait_for_free(struct rig *r, uint64_t n);
/* Files in a folder of the spool. */
size_t entries_in(const struct rig *r, const char *sub);
/* Where the record of a living message lies; the name of its segment's file, below the folder. */
uint64_t place_of(struct rig *r, uint64_t id, char name[32]);
/* The number of its segment in the log. */
uint64_t seq_of(struct rig *r, uint64_t id);
/* Waits until that segment is free; false: not within 5 s. */
bool wait_until_free(struct rig *r, uint64_t seq);
/* Setup of a group of tests: several commits are under way at a time, as on a slow disk (flight.c).
 */
int rig_slow_disk(void **state);

#endif
