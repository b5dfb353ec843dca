/*
 * scan.c - reads records of one segment through a window of bytes, and walks a whole segment by the
 * rules of doc/spool-format.md (proven, damaged, torn). Changes nothing. Any thread; a scanner
 * belongs to one. A read error makes the bytes unknown, which is treated as invalid and remembered.
 */
#include "relay/spool/record.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"

#define WINDOW      512u          /* holds most records' header and envelope */
#define WINDOW_RUN  8192u         /* in a run of small records: marks */
#define WINDOW_FIND (256u * 1024) /* when looking for any record at all */

void scan_init(struct scan *sc, const struct file_ops *ops, int fd, uint64_t salt, uint64_t size)
{
    *sc = (struct scan){.ops = ops, .fd = fd, .salt = salt, .size = size, .ahead = WINDOW};
}

void scan_free(struct scan *sc)
{
    mem_free(sc->window);
    sc->window = NULL;
}

/* The n bytes at off, or NULL. */
static const unsigned char *scan_bytes(struct scan *sc, uint64_t off, size_t n)
{
    if (off + n > sc->size)
        return NULL;
    if (off >= sc->window_off && off + n <= sc->window_off + sc->window_n)
        return sc->window + (off - sc->window_off);
    if (off < sc->bad_end && off + n > sc->bad)
        return NULL;
    size_t want = n > sc->ahead ? n : sc->ahead;
    if (want > sc->size - off)
        want = (size_t)(sc->size - off);
    if (want > sc->window_cap) {
        mem_free(sc->window);
        sc->window = mem_alloc(want);
        sc->window_cap = want;
    }
    size_t got = 0;
    sc->window_off = off;
    sc->window_n = 0;
    if (!file_read_at(sc->ops, sc->fd, sc->window, want, (off_t)off, &got, NULL)) {
        sc->io_error = true;
        sc->bad = off + got;
        sc->bad_end = sc->bad / DISK_PAGE * DISK_PAGE + DISK_PAGE;
    }
    sc->window_n = got;
    return got >= n ? sc->window : NULL;
}

bool scan_record(struct scan *sc, uint64_t off, uint64_t limit, struct record *out)
{
    struct disk_record *h = &out->h;
    if (limit > sc->size)
        limit = sc->size;
    if (off + sizeof(*h) > limit)
        return false;
    const unsigned char *p = scan_bytes(sc, off, sizeof(*h));
    if (p == NULL)
        return false;
    memcpy(h, p, sizeof(*h));
    if (!record_is_sane(h, limit - off) || h->synced_upto > off)
        return false;
    size_t meta = record_meta_len(h);
    p = scan_bytes(sc, off, sizeof(*h) + meta);
    if (p == NULL || h->sum != record_sum(p, meta, sc->salt, off))
        return false;
    p += sizeof(*h);
    if (sc->ahead != WINDOW_FIND)
        sc->ahead = h->length <= WINDOW ? WINDOW_RUN : WINDOW;
    out->off = off;
    out->next = off + h->length;
    out->envelope = str_n((const char *)p, h->envelope_len);
    out->marks = p + h->envelope_len;
    out->source = 0;
    out->done = NULL;
    if (h->flags & DISK_COPY) {
        const unsigned char *tail = out->marks + (size_t)h->n_marks * sizeof(struct disk_mark);
        memcpy(&out->source, tail, sizeof(out->source));
        out->done = tail + sizeof(out->source);
    }
    out->content_off = off + sizeof(*h) + meta;
    out->content_inline = h->type == DISK_MESSAGE ? h->content_len : 0;
    return true;
}

bool content_sum_file(const struct file_ops *ops, int fd, uint64_t off, uint64_t n, uint64_t id,
                      uint64_t *sum, struct err *e)
{
    enum {
        PIECE = 256 * 1024
    };
    struct hash_state *hs = hash_state_new();
    char *piece = mem_alloc(PIECE);
    bool ok = true;
    hash_state_reset(hs, id);
    while (ok && n > 0) {
        size_t want = n < PIECE ? (size_t)n : PIECE, got = 0;
        ok = file_read_at(ops, fd, piece, want, (off_t)off, &got, e);
        if (ok && got < want)
            ok = err_set(e, ERR_CORRUPT, 0, "the file ends too early");
        if (ok)
            hash_state_add(hs, piece, got);
        off += want;
        n -= want;
    }
    *sum = hash_state_end(hs);
    mem_free(piece);
    hash_state_free(&hs);
    return ok;
}

bool scan_content_is_good(struct scan *sc, const struct disk_record *h, uint64_t content_off)
{
    uint64_t sum;
    struct err e = {0};
    if (h->type != DISK_MESSAGE)
        return true;
    if (!content_sum_file(sc->ops, sc->fd, content_off, h->content_len, h->id, &sum, &e)) {
        sc->io_error |= e.class == ERR_SYSTEM;
        return false;
    }
    return sum == h->content_sum;
}

/* The first valid record at or after off, below limit. */
static bool scan_find(struct scan *sc, uint64_t off, uint64_t limit, struct record *out)
{
    bool found = false;
    sc->ahead = WINDOW_FIND;
    for (; !found && off + DISK_ALIGN <= limit; off += DISK_ALIGN) {
        const unsigned char *p = scan_bytes(sc, off, DISK_ALIGN);
        uint32_t magic = 0;
        if (p != NULL)
            memcpy(&magic, p + offsetof(struct disk_record, magic), sizeof(magic));
        found = magic == DISK_RECORD_MAGIC && scan_record(sc, off, limit, out);
    }
    sc->ahead = WINDOW;
    return found;
}

/* The highest offset that any valid record says was synced. */
static uint64_t find_proven(struct scan *sc)
{
    uint64_t proven = DISK_RECORDS_BEGIN, off = DISK_RECORDS_BEGIN;
    struct record r;
    while (scan_record(sc, off, sc->size, &r) || scan_find(sc, off, sc->size, &r)) {
        if (r.h.synced_upto > proven)
            proven = r.h.synced_upto;
        if (r.h.type == DISK_SEAL)
            break;
        off = r.next;
    }
    return proven;
}

static bool something_begins(struct scan *sc, uint64_t off)
{
    const unsigned char *p = scan_bytes(sc, off, DISK_ALIGN);
    uint32_t magic = 0;
    if (p != NULL)
        memcpy(&magic, p + offsetof(struct disk_record, magic), sizeof(magic));
    return magic == DISK_RECORD_MAGIC;
}

void scan_walk(struct scan *sc, uint64_t hard_end, const struct walk *w, struct walk_result *out)
{
    *out = (struct walk_result){.end = DISK_RECORDS_BEGIN};
    uint64_t limit = hard_end != 0 && hard_end < sc->size ? hard_end : sc->size;
    out->proven = hard_end != 0 ? limit : find_proven(sc);
    uint64_t off = DISK_RECORDS_BEGIN;
    struct record r;
    while (off < limit) {
        if (scan_record(sc, off, limit, &r)) {
            out->records++;
            bool trusted = off < out->proven;
            if (r.h.type == DISK_SEAL) {
                out->sealed = true;
                break;
            }
            if (!trusted && !scan_content_is_good(sc, &r.h, r.content_off)) {
                out->torn = true;
                break;
            }
            /* the check of the content may have moved the window */
            if (!trusted && !scan_record(sc, off, limit, &r))
                break;
            if (r.h.type != DISK_PAD && !w->record(w->arg, &r))
                break;
            off = r.next;
        } else if (off < out->proven) {
            uint64_t to = scan_find(sc, off + DISK_ALIGN, out->proven, &r) ? r.off : out->proven;
            out->damaged++;
            if (w->damage != NULL)
                w->damage(w->arg, off, to);
            off = to;
        } else {
            out->torn = something_begins(sc, off);
            break;
        }
    }
    out->end = off;
}
