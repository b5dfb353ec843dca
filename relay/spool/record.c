/*
 * record.c - sizes, checksums and sanity of records and segment headers. Nothing here believes a
 * length before it is bounded, or a field before its checksum is right. Pure.
 */
#include "relay/spool/record.h"

#include <string.h>

#include "base/hash.h"

#define HEADER_SEED UINT64_C(0x5e6d656e74)

size_t record_meta_len(const struct disk_record *h)
{
    size_t n = (size_t)h->envelope_len + (size_t)h->n_marks * sizeof(struct disk_mark);
    if (h->flags & DISK_COPY)
        n += sizeof(uint64_t) + record_bitmap_len(h->n_rcpt);
    return n;
}

uint64_t record_length(const struct disk_record *h)
{
    uint64_t n = sizeof(*h) + record_meta_len(h);
    if (h->type == DISK_MESSAGE)
        n += h->content_len;
    return align_up(n, DISK_ALIGN);
}

static bool shape_is_sane(const struct disk_record *h)
{
    bool empty = h->envelope_len == 0 && h->n_rcpt == 0 && h->content_len == 0 && h->flags == 0;
    switch (h->type) {
    case DISK_MESSAGE:
    case DISK_LARGE:
        return h->id != 0 && h->n_rcpt <= DISK_RCPT_MAX && h->n_marks <= DISK_EMBEDDED_MAX &&
               h->envelope_len <= DISK_ENVELOPE_MAX && h->content_len <= DISK_CONTENT_MAX &&
               (h->flags & ~DISK_FLAGS_KNOWN) == 0;
    case DISK_MARKS:
        return empty && h->n_marks != 0 && h->n_marks <= DISK_MARKS_MAX;
    case DISK_PAD:
    case DISK_SEAL:
        return empty && h->n_marks == 0;
    default:
        return false;
    }
}

bool record_is_sane(const struct disk_record *h, uint64_t room)
{
    if (h->magic != DISK_RECORD_MAGIC || !shape_is_sane(h))
        return false;
    if (h->length < DISK_ALIGN || h->length % DISK_ALIGN != 0 || h->length > room)
        return false;
    return h->type == DISK_PAD ? h->length <= DISK_PAGE : h->length == record_length(h);
}

uint64_t record_sum(const unsigned char *p, size_t meta_len, uint64_t salt, uint64_t off)
{
    return hash64_seed(p + sizeof(uint64_t),
                       sizeof(struct disk_record) - sizeof(uint64_t) + meta_len, salt + off);
}

void record_seal(unsigned char *p, uint64_t salt, uint64_t off)
{
    struct disk_record h;
    memcpy(&h, p, sizeof(h));
    uint64_t sum = record_sum(p, record_meta_len(&h), salt, off);
    memcpy(p, &sum, sizeof(sum));
}

struct disk_mark record_mark(const struct record *r, uint32_t i)
{
    struct disk_mark m;
    memcpy(&m, r->marks + (size_t)i * sizeof(m), sizeof(m));
    return m;
}

static uint64_t header_sum(const struct disk_segment *h)
{
    return hash64_seed(h, offsetof(struct disk_segment, sum), HEADER_SEED);
}

static bool header_is_valid(const struct disk_segment *h)
{
    return h->magic == DISK_SEGMENT_MAGIC && h->version == DISK_VERSION &&
           h->sum == header_sum(h) && (h->state == DISK_FREE || h->state == DISK_IN_USE) &&
           h->n_ended <= DISK_ENDED_MAX && h->size >= DISK_SEGMENT_MIN &&
           h->size <= DISK_SEGMENT_MAX && h->size % DISK_PAGE == 0;
}

static bool is_blank(const unsigned char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0)
            return false;
    return true;
}

enum header_verdict header_read(const unsigned char *page, struct disk_segment *out)
{
    struct disk_segment copy[2];
    memcpy(&copy[0], page, sizeof(copy[0]));
    memcpy(&copy[1], page + DISK_COPY_AT, sizeof(copy[1]));
    bool good[2] = {header_is_valid(&copy[0]), header_is_valid(&copy[1])};
    if (good[0] || good[1]) {
        *out = good[1] && (!good[0] || copy[1].use > copy[0].use) ? copy[1] : copy[0];
        return HEADER_VALID;
    }
    for (int i = 0; i < 2; i++) {
        if (copy[i].magic == DISK_SEGMENT_MAGIC && copy[i].version != DISK_VERSION) {
            *out = copy[i];
            return HEADER_VERSION;
        }
    }
    return is_blank(page, DISK_PAGE) ? HEADER_BLANK : HEADER_BAD;
}

void header_write(struct disk_segment *h, unsigned char *page)
{
    h->magic = DISK_SEGMENT_MAGIC;
    h->version = DISK_VERSION;
    h->sum = header_sum(h);
    memset(page, 0, DISK_PAGE);
    memcpy(page, h, sizeof(*h));
    memcpy(page + DISK_COPY_AT, h, sizeof(*h));
}
