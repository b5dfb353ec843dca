/*
 * format.h - the spool's disk layout, version 1. The rules that make it safe are in
 * doc/spool-format.md. Structures are written as they lie in memory: little-endian only, no holes
 * (asserted below).
 */
#ifndef RELAY_SPOOL_FORMAT_H
#define RELAY_SPOOL_FORMAT_H

#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the spool's disk format is little-endian"
#endif

#define DISK_VERSION   1u
#define DISK_PAGE      4096u /* a page that was synced is never written again */
#define DISK_ALIGN     64u   /* of records */
#define DISK_COPY_AT   2048u /* second copy of a segment's header */
#define DISK_ENDED_MAX 24u

#define DISK_SEGMENT_MAGIC UINT64_C(0x314c4f4f50535743) /* "CWSPOOL1" */
#define DISK_STATE_MAGIC   UINT64_C(0x3154415453535743) /* "CWSSTAT1" */
#define DISK_RECORD_MAGIC  UINT32_C(0x43525743)         /* "CWRC" */

/* Bounds that a reader checks before it believes a length. */
#define DISK_SEGMENT_MIN   (64u * 1024)
#define DISK_SEGMENT_MAX   (1024u * 1024 * 1024)
#define DISK_ENVELOPE_MAX  (32u * 1024 * 1024)
#define DISK_MARKS_MAX     1024u /* in a MARKS record; a MESSAGE may have more */
#define DISK_RCPT_MAX      10000u
#define DISK_EMBEDDED_MAX  (4u * DISK_RCPT_MAX)
#define DISK_CONTENT_MAX   (UINT64_C(1) << 40)
#define DISK_RECORDS_BEGIN DISK_PAGE

enum disk_segment_state {
    DISK_FREE = 1,
    DISK_IN_USE = 2
};

struct disk_ended {
    uint64_t seq, end;
};

struct disk_segment {
    uint64_t magic;
    uint32_t version;
    uint32_t state;
    uint64_t use;
    uint64_t seq;
    uint64_t salt;
    uint64_t size;
    uint64_t epoch;
    uint32_t n_ended;
    uint32_t first_broken; /* ended[0] is a broken segment; the others always are */
    struct disk_ended ended[DISK_ENDED_MAX];
    uint64_t zero2[7];
    uint64_t sum;
};
STATIC_ASSERT(sizeof(struct disk_segment) == 512, "a segment header is one sector");
STATIC_ASSERT(offsetof(struct disk_segment, ended) == 64, "layout");
STATIC_ASSERT(offsetof(struct disk_segment, sum) == 504, "layout");

enum disk_type {
    DISK_MESSAGE = 1,
    DISK_LARGE = 2,
    DISK_MARKS = 3,
    DISK_PAD = 4,
    DISK_SEAL = 5,
};
enum disk_flag {
    DISK_8BIT = 1,
    DISK_COPY = 2,
    DISK_HELD = 4,    /* of a copy */
    DISK_DELAYED = 8, /* of a copy: a delay notice was sent */
};
#define DISK_FLAGS_KNOWN 15u

struct disk_record {
    uint64_t sum; /* first, so that the rest and the meta part are one run of bytes */
    uint32_t magic;
    uint16_t type;
    uint16_t flags;
    uint64_t id;
    uint32_t length;
    uint32_t envelope_len;
    uint32_t n_marks;
    uint32_t n_rcpt;
    uint64_t content_len;
    uint64_t content_sum;
    uint32_t synced_upto;
    uint32_t batch;
};
STATIC_ASSERT(sizeof(struct disk_record) == DISK_ALIGN, "a record header is one unit");
STATIC_ASSERT(offsetof(struct disk_record, magic) == 8, "layout");
STATIC_ASSERT(offsetof(struct disk_record, id) == 16, "layout");
STATIC_ASSERT(offsetof(struct disk_record, content_len) == 40, "layout");
STATIC_ASSERT(offsetof(struct disk_record, batch) == 60, "layout");

struct disk_mark {
    uint64_t id;
    uint64_t seq;
    uint32_t rcpt;
    uint16_t kind;
    uint16_t zero;
};
STATIC_ASSERT(sizeof(struct disk_mark) == 24, "layout");

struct disk_state {
    uint64_t magic;
    uint32_t version;
    uint32_t zero;
    uint64_t epoch;
    uint64_t sum;
};
STATIC_ASSERT(sizeof(struct disk_state) == 32, "layout");

/* Ids: epoch above, counter below. */
#define ID_COUNTER_BITS 40
#define ID_EPOCH_MAX    ((UINT64_C(1) << (64 - ID_COUNTER_BITS)) - 1)
static inline uint64_t id_epoch(uint64_t id)
{
    return id >> ID_COUNTER_BITS;
}

static inline uint64_t align_up(uint64_t n, uint64_t to)
{
    return (n + to - 1) / to * to;
}

#endif
