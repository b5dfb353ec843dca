/*
 * record.h - building and believing records, and walking through a segment. Pure but for reading
 * through struct file_ops; used by commit, recovery, recycling, verify and the fuzzer alike, so
 * that there is one opinion of what is valid.
 */
#ifndef RELAY_SPOOL_RECORD_H
#define RELAY_SPOOL_RECORD_H

#include <stdbool.h>

#include "base/file.h"
#include "base/str.h"
#include "relay/spool/format.h"

/* A valid record; the pointers are into the scanner's window and die with its next call. */
struct record {
    struct disk_record h;
    uint64_t off, next;
    struct str envelope;
    const unsigned char *marks; /* h.n_marks of struct disk_mark, not aligned */
    uint64_t source;            /* of a COPY: where it came from */
    const unsigned char *done;  /* of a COPY: bitmap of n_rcpt */
    uint64_t content_off;
    uint64_t content_inline; /* octets of content in the log: 0 for LARGE */
};

static inline size_t record_bitmap_len(uint32_t n_rcpt)
{
    return (n_rcpt + 7u) / 8u;
}
size_t record_meta_len(const struct disk_record *h);
/* What h->length must be for the sizes in h (not for PAD). */
uint64_t record_length(const struct disk_record *h);
/* Magic, type and all sizes agree and the record ends at or before `room` bytes from its start. */
bool record_is_sane(const struct disk_record *h, uint64_t room);
/* Over header and meta part at p, without the field `sum`. */
uint64_t record_sum(const unsigned char *p, size_t meta_len, uint64_t salt, uint64_t off);
/* Sets the checksum; header and meta part lie at p in one piece. */
void record_seal(unsigned char *p, uint64_t salt, uint64_t off);
struct disk_mark record_mark(const struct record *r, uint32_t i);

/* Header of a segment. */
enum header_verdict {
    HEADER_VALID,
    HEADER_BLANK,   /* zeros: never finished */
    HEADER_VERSION, /* of another version; out->version says which */
    HEADER_BAD
};
/* page: DISK_PAGE bytes. */
enum header_verdict header_read(const unsigned char *page, struct disk_segment *out);
void header_write(struct disk_segment *h, unsigned char *page);

/* ---- scanner ---- */

struct scan {
    const struct file_ops *ops;
    int fd;
    uint64_t salt, size;
    unsigned char *window;
    size_t window_cap, window_n, ahead;
    uint64_t window_off;
    bool io_error;         /* some read failed since scan_init */
    uint64_t bad, bad_end; /* the last page where one did: not tried again */
};
void scan_init(struct scan *sc, const struct file_ops *ops, int fd, uint64_t salt, uint64_t size);
void scan_free(struct scan *sc);
/* The valid record at off that ends at or before limit. */
bool scan_record(struct scan *sc, uint64_t off, uint64_t limit, struct record *out);
/* True if the content in the log has the right checksum (always for LARGE). Ends the pointers of r.
 */
bool scan_content_is_good(struct scan *sc, const struct disk_record *h, uint64_t content_off);

/* Checksum of n octets at off of fd, in pieces; false on a read error or a short file. */
bool content_sum_file(const struct file_ops *ops, int fd, uint64_t off, uint64_t n, uint64_t id,
                      uint64_t *sum, struct err *e);

struct walk {
    void *arg;
    /* False ends the walk. MESSAGE, LARGE and MARKS only. */
    bool (*record)(void *arg, const struct record *r);
    /* Bytes [from, to) were synced and are damaged. May be NULL. */
    void (*damage)(void *arg, uint64_t from, uint64_t to);
};
struct walk_result {
    uint64_t end;     /* after the last valid record */
    uint64_t proven;  /* see doc/spool-format.md */
    uint64_t records; /* all types */
    uint32_t damaged;
    bool torn;   /* something began at end and is not valid */
    bool sealed; /* a SEAL record was met */
};
/* hard_end: the offset at which the segment is known to end, or 0. */
void scan_walk(struct scan *sc, uint64_t hard_end, const struct walk *w, struct walk_result *out);

#endif
