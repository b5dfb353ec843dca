/*
 * spool.h - the durable log of accepted messages.
 *
 * Roles
 *   workers        submit appends and marks, read messages back
 *   commit thread  the only writer of segments: gathers what is ready, writes it, one fdatasync for
 * all, answers; when only marks are ready it writes without a sync large thread   streams big
 * messages into files of their own and syncs them before the commit thread logs the record that
 * names them
 *
 * A message is known by its id, which is never used twice. Where its bytes lie is the spool's
 * secret: compaction may move them. Open readers pin what they read.
 *
 * The disk format is doc/spool-format.md and relay/spool/format.h.
 */
#ifndef RELAY_SPOOL_SPOOL_H
#define RELAY_SPOOL_SPOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/chan.h"
#include "base/err.h"
#include "base/file.h"
#include "base/str.h"
#include "relay/mail/envelope.h"

struct spool;

struct spool_conf {
    const char *dir;
    uint64_t segment_bytes;  /* default 64 MB */
    unsigned segments_ready; /* pre-written free segments kept, default 2 */
    uint64_t large_bytes;    /* a message above this gets a file of its own, default 1 MB */
    uint64_t reserve_bytes;  /* free disk space below which intake stops (452), default 256 MB */
    uint64_t reserve_resume_bytes; /* ... and above which it resumes (hysteresis) */
    double
        compact_below; /* a segment whose living share is below this is compacted, default 0.25 */
    int test_sync_delay_us; /* bench slow-disk: added to every sync */
};

/* Takes the lock (ERR_BUSY: another daemon holds it), reads or creates the spool. Does not recover
 * yet; starts the commit and large threads: appends are possible at once, while recovery runs. */
struct spool *spool_open(const struct spool_conf *c, const struct file_ops *ops, struct err *e);
/* After the last worker stopped: everything submitted is written, threads end, lock released. */
void spool_close(struct spool **s);

/* ---- recovery ---- */

/* What a recipient of a recovered message went through. */
enum spool_mark_kind {
    SPOOL_MARK_NONE = 0,
    SPOOL_MARK_DELIVERED = 1,
    SPOOL_MARK_FAILED = 2,  /* reported to the sender, or rightly not reported */
    SPOOL_MARK_REMOVED = 3, /* by an admin */
    /* whole-message states; rcpt = SPOOL_RCPT_ALL */
    SPOOL_MARK_HELD = 16,
    SPOOL_MARK_RELEASED = 17,
    SPOOL_MARK_DELAY_NOTIFIED = 18,
};
#define SPOOL_RCPT_ALL UINT32_MAX

struct spool_recovered {
    uint64_t id;
    struct str envelope; /* encoded; valid during the callback */
    uint64_t content_size;
    bool held, delay_notified;
    bool content_8bit;
    uint32_t n_rcpt;
    const uint8_t *rcpt_done; /* bitmap, bit i = recipient i needs nothing more */
};
/* Called for every living message, oldest first, on the calling thread. Run it once, after
 * spool_open(), on a thread that may block. Messages appended since spool_open() are not included.
 */
typedef void spool_recover_fn(void *arg, const struct spool_recovered *m);
struct spool_recovery_stats {
    uint64_t messages, records, segments, quarantined, torn;
    int64_t took_ms;
};
bool spool_recover(struct spool *s, spool_recover_fn *fn, void *arg,
                   struct spool_recovery_stats *stats, struct err *e);

/* ---- writing ---- */

struct spool_mark {
    uint64_t id;
    uint32_t rcpt; /* index into the envelope, or SPOOL_RCPT_ALL */
    enum spool_mark_kind kind;
};

enum spool_result {
    SPOOL_OK,       /* on disk */
    SPOOL_NO_SPACE, /* answer 452 */
    SPOOL_IO_ERROR, /* answer 451; alarm was raised */
};

/* One message to be made durable. The caller owns everything and must not touch it until `node.run`
 * runs on the thread of `reply_to`. `marks` take effect in the same atomic step (a DSN and the
 * removal of what it reports). */
struct spool_append {
    struct chan_node node; /* first: cast from chan_node; .run is the caller's completion */
    struct chan *reply_to;
    /* in */
    uint64_t id; /* from spool_next_id() */
    struct str envelope;
    const struct iovec *content; /* trace fields and body, canonical CRLF, not dot-stuffed */
    int n_content;
    uint64_t content_size;
    bool content_8bit;
    uint32_t n_rcpt;
    struct spool_large *large; /* instead of content; consumed */
    const struct spool_mark *marks;
    unsigned n_marks;
    /* out */
    enum spool_result result;
    struct err err;
    /* private */
    uint64_t content_sum;
    bool is_large;
};
uint64_t spool_next_id(struct spool *s); /* any thread */
/* Fixed-width text form, e.g. "4JKQ2T9M0B3Z7" (Crockford base 32, 13 characters + NUL). */
void spool_id_text(uint64_t id, char dst[14]);
bool spool_id_parse(struct str text, uint64_t *id);

void spool_submit(struct spool *s, struct spool_append *a);

/* Marks without a sync of their own. Copied. A message all of whose recipients are done is gone. */
void spool_mark(struct spool *s, const struct spool_mark *marks, unsigned n);

/* As the spool was opened: a reload does not change them. A report must fit in a segment with room
 * to spare. */
uint64_t spool_large_bytes(const struct spool *s);
uint64_t spool_segment_bytes(const struct spool *s);

/* True while intake must be refused with 452 (reserve reached, or the last write failed for want of
 * space). Any thread, one atomic load. */
bool spool_is_full(const struct spool *s);

/* ---- large messages: content streamed to a file of its own ---- */

struct spool_large;
/* Called on reply_to's thread when the chunks given so far have been written: produce more. */
typedef void spool_large_ready_fn(void *arg);
/* Nothing touches the disk on the caller's thread. */
struct spool_large *spool_large_new(struct spool *s, uint64_t id, struct chan *reply_to,
                                    spool_large_ready_fn *ready, void *arg);
/* Takes a copy. Returns false when the backlog (4 chunks of up to 256 KB) is full after this one:
 * wait for ready(). */
bool spool_large_write(struct spool_large *l, const void *p, size_t n);
/* Drops it; the file is removed; ready() never runs again. Write errors show at the append's
 * result. */
void spool_large_abort(struct spool_large **l);

/* ---- reading ---- */

struct spool_reader;
/* NULL: ERR_INPUT no such message (any more), ERR_CORRUPT damaged (and set aside), ERR_SYSTEM it
 * cannot be read now. Any thread; may read the disk (page cache in the normal case). */
struct spool_reader *spool_reader_open(struct spool *s, uint64_t id, struct err *e);
struct str spool_reader_envelope(const struct spool_reader *r); /* encoded; valid until close */
uint64_t spool_reader_size(const struct spool_reader *r);       /* content octets */
bool spool_reader_8bit(const struct spool_reader *r);
/* Reads content at off into p; false on a read error, or when the last byte was read and the
 * checksum over a sequential read is wrong (ERR_CORRUPT: the message is quarantined, nothing more
 * may be sent). */
bool spool_reader_read(struct spool_reader *r, uint64_t off, void *p, size_t n, size_t *got,
                       struct err *e);
void spool_reader_close(struct spool_reader **r);

/* ---- facts for status ---- */

struct spool_status {
    uint64_t messages, segments, segments_free, bytes_living, disk_free, syncs, appended,
        quarantined;
    bool full;
    char last_error[200]; /* "" = none */
};
void spool_status(struct spool *s, struct spool_status *out);

/* Offline check (causewayctl spool verify DIR): reads everything, changes nothing; one line per
 * finding. */
struct spool_verify_report {
    uint64_t segments, records, messages, living, marks, bad_records, torn_tails, orphan_files;
};
bool spool_verify(const char *dir, void (*say)(void *arg, const char *line), void *arg,
                  struct spool_verify_report *out, struct err *e);

#endif
