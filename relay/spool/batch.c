/*
 * batch.c - plans, lays out and writes one commit. Order in the log: marks, then messages, then a
 * PAD to the end of the page if it is synced. Marks come first because a copy's state must hold
 * them (doc/spool-format.md, Recycling). A copy and an append with marks never share a batch: such
 * marks take effect only when the batch has succeeded, too late for the copy's state.
 *
 * Large pieces (content) are written from where they are; small ones are gathered in one buffer.
 */
#include "relay/spool/batch.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/stats.h"
#include "relay/spool/flight.h"

#define BATCH_BYTES_MAX (8u * 1024 * 1024)
#define BATCH_ITEMS_MAX 1024u

struct batch *batch_new(void)
{
    return NEW(struct batch);
}

void batch_free(struct batch **b)
{
    if (*b == NULL)
        return;
    mem_free((*b)->item);
    mem_free((*b)->iov);
    mem_free((*b)->meta);
    mem_free(*b);
    *b = NULL;
}

/* The last page stays free for the SEAL record, and bounds the PAD. */
static uint64_t usable_end(const struct segment *g)
{
    return g->size - DISK_PAGE;
}

void batch_begin(struct batch *b, const struct segment *g)
{
    b->n_item = 0;
    b->n_iov = 0;
    b->meta_n = 0;
    b->meta_need = 2 * DISK_PAGE; /* segment header; PAD and last padding */
    b->begin = b->end = g->pos;
    b->n_marks = 0;
    b->embedded = b->copies = b->sync = false;
}

static size_t marks_record_len(size_t n)
{
    return align_up(sizeof(struct disk_record) + n * sizeof(struct disk_mark), DISK_ALIGN);
}

bool batch_take_marks(struct batch *b, const struct segment *g, size_t n)
{
    while (n > 0) {
        size_t take = n < DISK_MARKS_MAX ? n : DISK_MARKS_MAX;
        uint64_t room = usable_end(g) - b->end;
        if (marks_record_len(take) > room) {
            if (room < marks_record_len(1))
                return false;
            take = (size_t)(room - sizeof(struct disk_record)) / sizeof(struct disk_mark);
            if (marks_record_len(take) > room)
                take--;
        }
        b->n_marks += take;
        b->meta_need += marks_record_len(take);
        b->end += marks_record_len(take);
        n -= take;
    }
    return true;
}

static enum batch_fit take(struct batch *b, const struct segment *g, const struct disk_record *h,
                           struct batch_item **out)
{
    uint64_t length = record_length(h);
    if (length > usable_end(g) - DISK_RECORDS_BEGIN)
        return BATCH_TOO_BIG;
    if (length > usable_end(g) - b->end || b->n_item == BATCH_ITEMS_MAX ||
        (b->n_item != 0 && b->end - b->begin + length > BATCH_BYTES_MAX))
        return BATCH_FULL;
    if (b->n_item == b->cap_item) {
        b->cap_item = b->cap_item < 64 ? 64 : b->cap_item * 2;
        b->item = mem_realloc(b->item, b->cap_item * sizeof(*b->item));
    }
    struct batch_item *it = &b->item[b->n_item++];
    *it = (struct batch_item){.h = *h, .off = b->end};
    it->h.magic = DISK_RECORD_MAGIC;
    it->h.length = (uint32_t)length;
    b->end += length;
    b->meta_need += sizeof(*h) + record_meta_len(h) + DISK_ALIGN;
    b->sync = true;
    *out = it;
    return BATCH_TAKEN;
}

enum batch_fit batch_take_append(struct batch *b, const struct segment *g, struct spool_append *a)
{
    struct disk_record h = {.type = a->is_large ? DISK_LARGE : DISK_MESSAGE,
                            .flags = a->content_8bit ? DISK_8BIT : 0,
                            .id = a->id,
                            .envelope_len = (uint32_t)a->envelope.n,
                            .n_marks = a->n_marks,
                            .n_rcpt = a->n_rcpt,
                            .content_len = a->content_size,
                            .content_sum = a->content_sum};
    struct batch_item *it;
    if (a->envelope.n > DISK_ENVELOPE_MAX || a->n_marks > DISK_EMBEDDED_MAX ||
        a->n_rcpt > DISK_RCPT_MAX || a->content_size > DISK_CONTENT_MAX)
        return BATCH_TOO_BIG;
    if (a->n_marks != 0 && b->copies)
        return BATCH_FULL;
    enum batch_fit fit = take(b, g, &h, &it);
    if (fit != BATCH_TAKEN)
        return fit;
    it->append = a;
    b->embedded |= a->n_marks != 0;
    return BATCH_TAKEN;
}

enum batch_fit batch_take_copy(struct batch *b, const struct segment *g, struct copy_node *c)
{
    struct disk_record h = c->h;
    struct batch_item *it;
    h.n_marks = 0; /* those it brought with it are forwarded when its segment is freed */
    h.flags = (uint16_t)((h.flags & DISK_8BIT) | DISK_COPY);
    if (b->embedded)
        return BATCH_FULL;
    enum batch_fit fit = take(b, g, &h, &it);
    if (fit != BATCH_TAKEN)
        return fit;
    it->copy = c;
    b->copies = true;
    return BATCH_TAKEN;
}

/* ---- layout ---- */

static void put(struct batch *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    if (b->n_iov != 0) {
        struct iovec *last = &b->iov[b->n_iov - 1];
        if ((const char *)last->iov_base + last->iov_len == (const char *)p) {
            last->iov_len += n;
            return;
        }
    }
    if (b->n_iov == b->cap_iov) {
        b->cap_iov = b->cap_iov < 256 ? 256 : b->cap_iov * 2;
        b->iov = mem_realloc(b->iov, (size_t)b->cap_iov * sizeof(*b->iov));
    }
    b->iov[b->n_iov++] = (struct iovec){.iov_base = (void *)(uintptr_t)p, .iov_len = n};
}

/* n bytes of the gathering buffer, already part of what is written. */
static unsigned char *meta_room(struct batch *b, size_t n)
{
    unsigned char *p = b->meta + b->meta_n;
    ASSERT(b->meta_n + n <= b->meta_cap);
    b->meta_n += n;
    put(b, p, n);
    return p;
}

static void meta_zeros(struct batch *b, uint64_t n)
{
    memset(meta_room(b, (size_t)n), 0, (size_t)n);
}

static void lay_marks(struct spool *s, struct batch *b, struct segment *g)
{
    const struct disk_mark *v = s->commit.fresh.v;
    uint64_t off = b->begin;
    for (size_t left = b->n_marks; left > 0;) {
        size_t n = left < DISK_MARKS_MAX ? left : DISK_MARKS_MAX;
        size_t len = marks_record_len(n);
        struct disk_record h = {.magic = DISK_RECORD_MAGIC,
                                .type = DISK_MARKS,
                                .length = (uint32_t)len,
                                .n_marks = (uint32_t)n,
                                .synced_upto = (uint32_t)g->synced,
                                .batch = g->batch};
        unsigned char *p = meta_room(b, len);
        memset(p, 0, len);
        memcpy(p, &h, sizeof(h));
        memcpy(p + sizeof(h), v, n * sizeof(*v));
        record_seal(p, g->salt, off);
        off += len;
        v += n;
        left -= n;
    }
}

/* The marks of an append, with the places of the messages they are about. */
static void lay_embedded(struct spool *s, struct segment *g, const struct spool_append *a,
                         unsigned char *p)
{
    spool_lock(s);
    for (unsigned i = 0; i < a->n_marks; i++) {
        const struct entry *e = table_find(&s->table, a->marks[i].id);
        struct disk_mark m = {
            .id = a->marks[i].id, .rcpt = a->marks[i].rcpt, .kind = (uint16_t)a->marks[i].kind};
        if (e != NULL) { /* a message that is gone needs none; seq 0 is never in use */
            m.seq = s->segment[e->slot]->seq;
            if (m.seq != g->seq)
                seq_set_add(&g->targets, m.seq);
        }
        memcpy(p + i * sizeof(m), &m, sizeof(m));
    }
    spool_unlock(s);
}

static void lay_copy_state(struct spool *s, struct segment *g, struct batch_item *it,
                           unsigned char *p)
{
    uint64_t source = it->copy->from->seq;
    memcpy(p, &source, sizeof(source));
    p += sizeof(source);
    size_t bytes = record_bitmap_len(it->h.n_rcpt);
    memset(p, 0, bytes);
    spool_lock(s);
    struct entry *e = table_find(&s->table, it->h.id);
    ASSERT(e != NULL); /* checked when taken, and only this thread removes */
    struct rcpts *r = table_rcpts(&s->table, e);
    if (r != NULL)
        memcpy(p, r->done, bytes);
    if (e->more & ENTRY_HELD)
        it->h.flags |= DISK_HELD;
    if (e->more & ENTRY_DELAYED)
        it->h.flags |= DISK_DELAYED;
    seq_set_add(&g->sources, source);
    spool_unlock(s);
}

static void lay_item(struct spool *s, struct batch *b, struct segment *g, struct batch_item *it)
{
    size_t meta_len = record_meta_len(&it->h);
    unsigned char *p = meta_room(b, sizeof(it->h) + meta_len);
    unsigned char *tail = p + sizeof(it->h) + it->h.envelope_len;
    uint64_t written = sizeof(it->h) + meta_len;
    it->h.synced_upto = (uint32_t)g->synced;
    it->h.batch = g->batch;
    if (it->append != NULL) {
        const struct spool_append *a = it->append;
        if (a->envelope.n != 0)
            memcpy(p + sizeof(it->h), a->envelope.p, a->envelope.n);
        lay_embedded(s, g, a, tail);
        for (int i = 0; i < a->n_content && !a->is_large; i++)
            put(b, a->content[i].iov_base, a->content[i].iov_len);
    } else {
        memcpy(p + sizeof(it->h), it->copy->bytes, it->h.envelope_len);
        lay_copy_state(s, g, it, tail);
        if (it->h.type == DISK_MESSAGE)
            put(b, it->copy->bytes + it->h.envelope_len, (size_t)it->h.content_len);
    }
    if (it->h.type == DISK_MESSAGE)
        written += it->h.content_len;
    memcpy(p, &it->h, sizeof(it->h));
    record_seal(p, g->salt, it->off);
    meta_zeros(b, it->h.length - written);
}

/* The end of a page that is written only in part would have to be read first: new segments are
 * written past the page cache. */
static void lay_page_end(struct batch *b, uint64_t from)
{
    static const unsigned char zeros[DISK_PAGE];
    put(b, zeros, (size_t)(align_up(from, DISK_PAGE) - from));
}

static void lay_pad(struct batch *b, struct segment *g)
{
    uint64_t to = align_up(b->end, DISK_PAGE);
    if (to == b->end)
        return;
    struct disk_record h = {.magic = DISK_RECORD_MAGIC,
                            .type = DISK_PAD,
                            .length = (uint32_t)(to - b->end),
                            .synced_upto = (uint32_t)g->synced,
                            .batch = g->batch};
    unsigned char *p = meta_room(b, sizeof(h));
    memcpy(p, &h, sizeof(h));
    record_seal(p, g->salt, b->end);
    lay_page_end(b, b->end + sizeof(h));
    b->end = to;
}

bool batch_sync(struct spool *s, const struct segment *g, int fd, struct err *e)
{
    int r = s->ops->fdatasync(fd);
    int why = errno;
    if (s->conf.test_sync_delay_us > 0) {
        struct timespec ts = {.tv_sec = s->conf.test_sync_delay_us / 1000000,
                              .tv_nsec = (long)(s->conf.test_sync_delay_us % 1000000) * 1000};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &ts, NULL);
    }
    stats_inc(STAT_spool_syncs);
    return r == 0 ? true : err_set(e, ERR_SYSTEM, why, "cannot sync segment %08u", g->slot);
}

static void add_targets(struct spool *s, struct batch *b, struct segment *g)
{
    const struct disk_mark *v = s->commit.fresh.v;
    uint64_t last = g->seq;
    spool_lock(s);
    for (size_t i = 0; i < b->n_marks; i++) {
        if (v[i].seq == last || v[i].seq == g->seq)
            continue;
        last = v[i].seq;
        seq_set_add(&g->targets, last);
    }
    spool_unlock(s);
}

bool batch_put(struct spool *s, struct batch *b, struct segment *g, struct err *e)
{
    off_t at = (off_t)b->begin;
    if (b->meta_need > b->meta_cap) {
        mem_free(b->meta);
        b->meta_cap = b->meta_need + b->meta_need / 4;
        b->meta = mem_alloc(b->meta_cap);
    }
    g->batch++;
    if (!g->begun) {
        segment_use_page(s, g, meta_room(b, DISK_PAGE));
        at = 0;
    }
    lay_marks(s, b, g);
    add_targets(s, b, g);
    for (unsigned i = 0; i < b->n_item; i++)
        lay_item(s, b, g, &b->item[i]);
    if (b->sync)
        lay_pad(b, g);
    else
        lay_page_end(b, b->end);
    if (!file_write_all(s->ops, g->fd, b->iov, b->n_iov, at, e))
        return err_wrap(e, "segment %08u", g->slot);
    g->begun = true;
    g->pos = b->end;
    return true;
}

void batch_synced(struct spool *s, struct segment *g, uint64_t end)
{
    g->synced = end;
    s->commit.end_unsaid = false;
    if (!atomic_load_explicit(&g->on_disk, memory_order_relaxed))
        atomic_store(&g->on_disk, true);
}

bool batch_write(struct spool *s, struct batch *b, struct segment *g, struct err *e)
{
    if (!batch_put(s, b, g, e))
        return false;
    if (!b->sync)
        return true;
    int64_t began = clock_mono_ns();
    if (!batch_sync(s, g, g->fd, e))
        return false;
    flight_note_sync(&s->commit, (clock_mono_ns() - began) / 1000);
    batch_synced(s, g, b->end);
    return true;
}
