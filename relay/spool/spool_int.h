/*
 * spool_int.h - what the files of this folder share.
 *
 * Threads
 *   commit   owns struct commit and the active segment's pos and synced; the only writer of records
 *   large    writes and removes files in large/
 *   keeper   makes, frees, compacts segments; watches the disk; sets damaged mail aside
 *   any      submits, marks, reads
 * `lock` covers the table, the list of segments with their counts, sets and states, and the facts
 * for status. It is held for moments only, never over a system call that may block.
 */
#ifndef RELAY_SPOOL_INT_H
#define RELAY_SPOOL_INT_H

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/hash.h"
#include "relay/spool/format.h"
#include "relay/spool/record.h"
#include "relay/spool/spool.h"
#include "relay/spool/table.h"

/* ---- segments (segment.c) ---- */

enum segment_state {
    SEGMENT_READY,   /* free, written through, header on disk says so */
    SEGMENT_ACTIVE,  /* the commit thread appends to it */
    SEGMENT_SEALED,  /* complete */
    SEGMENT_FREEING, /* nothing living; the header is being rewritten */
    SEGMENT_LEAVING, /* free on disk, but readers still hold it */
};

/* A small set of segment sequence numbers. */
struct seq_set {
    uint64_t *v;
    unsigned n, cap;
};
void seq_set_add(struct seq_set *s, uint64_t seq);
bool seq_set_has(const struct seq_set *s, uint64_t seq);
void seq_set_free(struct seq_set *s);

struct segment {
    unsigned slot; /* index in spool.segment and name of the file */
    int fd;
    enum segment_state state;
    uint64_t use, seq, salt, size;
    uint64_t epoch; /* of the process that took it into use: with seq, a name that is used once */
    uint64_t end;   /* of a sealed segment; 0 = not known yet (recovery tells) */
    bool broken;    /* bytes behind `end` were refused and must stay void */
    bool old;       /* of an earlier process */
    bool damaged;   /* recovery found damage in it: emptied soon, so that the alarm comes once */
    bool unread;    /* a read failed in it: kept aside instead of being used again */
    bool kept;      /* for the next start: neither freed nor compacted before */
    bool unsure;    /* what recovery saw in it may not be on disk: older segments stay until nothing
                       lives in it */
    unsigned pins;
    uint64_t living, living_bytes;
    int64_t changed_ms;     /* when `living` last fell */
    int64_t retry_ms;       /* the keeper leaves it alone until then */
    unsigned read_errors;   /* of the keeper */
    struct seq_set targets; /* segments that marks in it are about, itself excepted */
    struct seq_set sources; /* segments that copies in it came from */
    struct seq_set names;   /* broken segments that its header says the end of */
    _Atomic bool on_disk;   /* its header is, as one in use */
    /* commit thread only, while active */
    uint64_t pos, synced;
    uint32_t batch;
    bool begun; /* header written */
};

static inline bool segment_is_in_use(const struct segment *g)
{
    return g->state != SEGMENT_READY && g->state != SEGMENT_LEAVING;
}

/* ---- commit thread (commit.c, batch.c) ---- */

struct mark_vec {
    struct disk_mark *v;
    size_t n, cap;
};
void mark_vec_add(struct mark_vec *m, const struct disk_mark *v, size_t n);

/* Nodes on the commit channel; what is none of these is a caller's struct spool_append. */
struct marks_node {
    struct chan_node node;
    unsigned n;
    struct spool_mark v[];
};
/* What the keeper waits for: counted down on its own thread. */
struct keeper_wait {
    unsigned outstanding;
    bool failed;
};
/* A living message to be written again (compaction). Content is `bytes` behind the envelope. */
struct copy_node {
    struct chan_node node;
    struct keeper_wait *wait;
    struct segment *from;
    uint64_t from_off;
    struct disk_record h; /* of the old record */
    unsigned char *bytes; /* envelope, then content unless LARGE */
    bool ok;
};
/* Marks of a segment that is to be freed. */
struct forward_node {
    struct chan_node node;
    struct keeper_wait *wait;
    struct mark_vec marks;
    bool ok;
};
void node_is_marks(struct chan_node *n);
void node_is_copy(struct chan_node *n);
void node_is_forward(struct chan_node *n);
void node_is_stop(struct chan_node *n);

/* A batch that a syncer has (flight.c). */
#define FLIGHTS 3
struct flight {
    struct chan_node node; /* to the syncer, and back to the commit thread */
    struct spool *spool;
    struct batch *batch;
    const struct segment *g;
    size_t marks; /* of commit.unsynced, that its sync covers */
    bool back;
    bool ok;
    struct err err;
    int64_t took_us;
    /* its syncer */
    struct chan *in;
    struct chan_node stop;
    pthread_t thread;
    bool has_thread;
    int fd; /* of the active segment; -1: none */
};

struct commit {
    struct chan *in;
    struct chan_node *head, **tail; /* taken from `in`, not yet written */
    struct chan_node *forwards;     /* marks of them are in fresh or written, not synced */
    struct chan_node stop_node;
    bool stopping;
    bool crowded; /* the last batch was of several messages */
    struct segment *active;
    bool emergency;           /* active is the last segment: marks and reports only */
    struct mark_vec fresh;    /* applied in memory, not written */
    struct mark_vec unsynced; /* written behind the last sync of `active` */
    int64_t dirty_since_ms;   /* 0 = all is synced */
    bool end_unsaid;          /* a segment broke, and no header on disk says where it ended */
    struct batch *batch;
    int64_t sync_us; /* how long syncs take, smoothed */
    bool slow;       /* so long that a second batch leaves before the first is back */
    struct flight flight[FLIGHTS];
    unsigned first_flight, n_flight; /* under way: a ring */
};

/* ---- the spool ---- */

struct spool {
    struct spool_conf conf;
    const struct file_ops *ops;
    char dir[PATH_MAX - 300];
    int lock_fd;
    uint64_t epoch;
    _Atomic uint64_t next_counter;
    _Atomic bool full;
    _Atomic uint64_t large_backlog; /* bytes on their way to the large thread */
    _Atomic bool stopping;          /* the keeper drops what it is at */
    _Atomic bool recovered;

    pthread_mutex_t lock;
    struct table table;
    struct segment **segment; /* by slot; NULL = no such file */
    unsigned n_segment;
    unsigned ready;       /* segments in SEGMENT_READY */
    uint64_t active_room; /* left in the active segment, as of the last batch */
    uint64_t next_seq;
    bool make_failed;      /* the last try to make a segment failed */
    int64_t make_retry_ms; /* keeper only */
    bool filled_once;      /* the keeper has made its first round */
    pthread_cond_t ready_changed;
    uint64_t *gone; /* large files to be removed after the next sync */
    size_t n_gone, cap_gone;
    uint64_t syncs, appended, quarantined, disk_free;
    _Atomic bool no_space; /* something was refused for want of space */
    char last_error[200];
    char fault[200]; /* of writing */
    bool fault_of_space;
    int64_t fault_ms;
    uint64_t fault_syncs; /* syncs that had succeeded when it came */

    struct commit commit;
    struct chan *large_in, *keeper_in;
    struct chan_node large_stop;
    _Atomic bool large_ended;
    struct chan_node keeper_wake;
    _Atomic bool keeper_awake; /* keeper_wake is on its way */
    bool keeper_look;          /* keeper only: it has come since the keeper last looked */
    pthread_t commit_thread, large_thread, keeper_thread;
};

static inline void spool_lock(struct spool *s)
{
    pthread_mutex_lock(&s->lock);
}
static inline void spool_unlock(struct spool *s)
{
    pthread_mutex_unlock(&s->lock);
}

/* Logs an alarm, keeps it for status. Not under the lock. */
void spool_alarm(struct spool *s, const char *event, const char *id, const struct err *e);
/* The same for a disk that does not take what is written. It is over some time after the last one,
 * if something was synced since; one for want of space when there is room. */
extern _Atomic int spool_fault_shown_ms;
void spool_fault(struct spool *s, const char *event, const struct err *e);

static inline bool is_no_space(const struct err *e)
{
    return e->errnum == ENOSPC || e->errnum == EDQUOT;
}

/* A thread with all signals blocked. */
bool thread_start(pthread_t *t, void *(*main_fn)(void *), void *arg);

/* Path of DIR/sub/name; returns dst. */
char *spool_path(const struct spool *s, char dst[PATH_MAX], const char *sub, const char *name);
char *spool_large_path(const struct spool *s, char dst[PATH_MAX], uint64_t id);

/* scan of one segment's records */
void segment_scan(struct spool *s, const struct segment *g, struct scan *sc);

/* segment.c */
char *segment_path(const struct spool *s, char dst[PATH_MAX], unsigned slot);
bool segments_load(struct spool *s, uint64_t *max_epoch, struct err *e);
void segments_free(struct spool *s);
/* Makes one free segment (slow). Keeper. */
bool segment_make(struct spool *s, struct err *e);
/* Under the lock: a READY segment for use, or NULL. */
struct segment *segment_take(struct spool *s);
/* Writes the header as free and syncs it. */
bool segment_write_free(struct spool *s, struct segment *g, struct err *e);
/* Under the lock. */
struct segment *segment_by_seq(struct spool *s, uint64_t seq);
void segment_pin(struct segment *g);
/* Takes the lock itself. */
void segment_unpin(struct spool *s, struct segment *g);
/* Closes and removes a segment that is free. Takes the lock itself. */
void segment_remove(struct spool *s, struct segment *g);

/* ended.c */
/* At start: takes what this header says about others. */
void ended_learn(struct spool *s, const struct disk_segment *h);
/* Fills `page` with the header for the use that g was taken for. */
void segment_use_page(struct spool *s, struct segment *g, unsigned char *page);
/* Under the lock: nothing else on disk says where some broken segment in use ended, which would
 * then be thought to go on. */
bool segment_is_last_witness(struct spool *s, const struct segment *g);

/* state.c: the table and the counts that belong to it; all under the lock. */
void state_add(struct spool *s, struct segment *g, uint64_t off, const struct disk_record *h);
/* Applies a mark; *seq = where its message lies. False: no such message. */
bool state_mark(struct spool *s, uint64_t id, uint32_t rcpt, unsigned kind, uint64_t *seq);
void state_move(struct spool *s, struct entry *e, struct segment *to, uint64_t off, uint64_t len);
void state_drop(struct spool *s, struct entry *e);
/* The large file of a message that is no more: removed when all is synced. */
void state_large_gone(struct spool *s, uint64_t id);
bool kind_is_final(unsigned kind);
/* True when nothing is left to do for the message. */
bool state_apply(struct table *t, struct entry *e, uint32_t rcpt, unsigned kind);
/* Recovery and verify: takes one record in the order of the log. Entries it makes are ENTRY_FOUND,
 * those that are done ENTRY_DEAD; nothing is counted. */
void state_replay(struct table *t, uint32_t slot, const struct record *r);

/* commit.c */
void *commit_main(void *spool);
void commit_send(struct spool *s, struct chan_node *n);

/* batch.c: see there */
struct batch *batch_new(void);
void batch_free(struct batch **b);

/* large.c */
void *large_main(void *spool);
/* Takes an append with a->large; passes it on to the commit thread or completes it with an error.
 */
void large_submit(struct spool *s, struct spool_append *a);
/* Removes files of ended messages; takes over `ids`. */
void large_remove(struct spool *s, uint64_t *ids, size_t n);

/* keeper.c, compact.c */
void *keeper_main(void *spool);
void keeper_wake(struct spool *s);
/* Runs the keeper's channel until the count is 0; makes segments meanwhile. */
void keeper_wait_for(struct spool *s, struct keeper_wait *w);
void keeper_make_segments(struct spool *s);
/* A read failed in g. True: do it again later; false: that was often enough, do without. */
bool keeper_reads_again(struct segment *g);
void keeper_poll_space(struct spool *s);
void compact_copy_done(struct chan_node *n);
void keeper_forward_done(struct chan_node *n);
/* Compacts the segment that gains most, if any is worth it. False: nothing was done. */
bool compact_one(struct spool *s);

/* quarantine.c */
/* Marks the message as bad at once, sets its bytes aside and removes it (on the keeper). Any
 * thread.
 */
void quarantine_message(struct spool *s, uint64_t id, const char *why);
/* Copies [from, to) of the segment to quarantine/ and syncs it. Keeper or recovery. */
bool quarantine_bytes(struct spool *s, const struct segment *g, uint64_t from, uint64_t to,
                      const char *name, struct err *e);
/* ... what to do if that fails: tells, and keeps the segment. */
void quarantine_failed(struct spool *s, struct segment *g, struct err *e);

/* Recovery: what was read of a segment is read so often if the disk fails. */
#define READ_TRIES 3

/* How often the keeper looks at the disk and tries again; tests set less. */
extern _Atomic int keeper_poll_ms;
/* When a segment is tried again that could not be freed or compacted. */
extern _Atomic int keeper_retry_ms;
/* Syncs that take longer run several at a time; tests set 0. */
extern _Atomic int flight_slow_us;
/* A segment is compacted when this long nothing ended in it; tests set 0. */
extern _Atomic int compact_quiet_ms;

#endif
