/*
 * report.c - the second half of recovery: the living messages' envelopes are read again, in chunks
 * and ahead of the caller, and handed over oldest first.
 */
#include "relay/spool/recover.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "relay/spool/ordered.h"

#define CHUNK        256u
#define CHUNKS_AHEAD 8u
#define DIGIT_BITS   11u

enum loaded_state {
    LOADED,
    NO_RECORD,
    NO_FILE,
    UNREAD
};
/* One message of a chunk; the envelope is at `at` in the chunk's bytes. */
struct loaded {
    enum loaded_state state;
    struct disk_record h;
    size_t at;
};
struct chunk {
    unsigned char *bytes;
    size_t n, cap;
    struct loaded m[CHUNK];
};
struct reporting {
    struct recovery *k;
    spool_recover_fn *fn;
    void *arg;
    struct chunk *chunk[CHUNKS_AHEAD]; /* by number modulo */
};

/* By id: the digits in which any two differ, lowest first. */
static void sort_found(struct recovery *k)
{
    struct found *from = k->found, *to = mem_alloc((k->n_found + 1) * sizeof(*to));
    uint64_t differ = 0;
    for (size_t i = 1; i < k->n_found; i++)
        differ |= from[i].id ^ from[0].id;
    for (unsigned shift = 0; shift < 64; shift += DIGIT_BITS) {
        size_t count[1u << DIGIT_BITS] = {0}, sum = 0;
        uint64_t mask = (1u << DIGIT_BITS) - 1;
        if ((differ >> shift & mask) == 0)
            continue;
        for (size_t i = 0; i < k->n_found; i++)
            count[from[i].id >> shift & mask]++;
        for (size_t d = 0; d <= mask; d++) {
            size_t n = count[d];
            count[d] = sum;
            sum += n;
        }
        for (size_t i = 0; i < k->n_found; i++)
            to[count[from[i].id >> shift & mask]++] = from[i];
        struct found *was = from;
        from = to;
        to = was;
    }
    k->found = from;
    mem_free(to);
}

/* ---- reading: any thread ---- */

static bool large_file_is_whole(struct spool *s, const struct disk_record *h)
{
    char path[PATH_MAX];
    struct stat st;
    if (h->type != DISK_LARGE)
        return true;
    if (stat(spool_large_path(s, path, h->id), &st) != 0)
        return errno != ENOENT; /* else it may be readable when it is delivered */
    return (uint64_t)st.st_size == h->content_len;
}

static bool load_record(struct spool *s, struct scan *sc, const struct found *f, struct record *r)
{
    bool ok = false;
    for (int tries = 0; tries == 0 || (!ok && sc->io_error && tries < READ_TRIES); tries++) {
        if (sc->fd != f->g->fd || sc->io_error) {
            scan_free(sc);
            segment_scan(s, f->g, sc);
        }
        ok = scan_record(sc, (uint64_t)f->unit * DISK_ALIGN, f->g->size, r) && r->h.id == f->id;
    }
    return ok;
}

static void load_one(struct spool *s, struct scan *sc, const struct found *f, struct chunk *c,
                     struct loaded *m)
{
    struct record r;
    if (!load_record(s, sc, f, &r)) {
        m->state = sc->io_error ? UNREAD : NO_RECORD;
        return;
    }
    m->state = large_file_is_whole(s, &r.h) ? LOADED : NO_FILE;
    m->h = r.h;
    m->at = c->n;
    if (c->n + r.envelope.n > c->cap) {
        c->cap = (c->n + r.envelope.n) * 2;
        c->bytes = mem_realloc(c->bytes, c->cap);
    }
    if (r.envelope.n != 0)
        memcpy(c->bytes + c->n, r.envelope.p, r.envelope.n);
    c->n += r.envelope.n;
}

static size_t chunk_size(const struct recovery *k, size_t i)
{
    size_t left = k->n_found - i * CHUNK;
    return left < CHUNK ? left : CHUNK;
}

static void load_chunk(void *arg, size_t i)
{
    struct reporting *p = arg;
    struct chunk *c = mem_zalloc(sizeof(*c));
    struct scan sc = {.fd = -1};
    for (size_t m = 0; m < chunk_size(p->k, i); m++)
        load_one(p->k->s, &sc, &p->k->found[i * CHUNK + m], c, &c->m[m]);
    scan_free(&sc);
    p->chunk[i % CHUNKS_AHEAD] = c;
}

/* ---- handing over: in order ---- */

/* The bitmap of recipients that are done; false: the message was removed meanwhile. */
static bool load_done(struct spool *s, const struct found *f, uint8_t *done)
{
    bool there = true;
    done[0] = 0;
    if (f->more >> ENTRY_SIDE_SHIFT == 0)
        return true;
    spool_lock(s);
    const struct entry *e = table_find(&s->table, f->id);
    struct rcpts *rcpts = e != NULL ? table_rcpts(&s->table, e) : NULL;
    there = rcpts != NULL;
    if (there)
        memcpy(done, rcpts->done, record_bitmap_len(rcpts->n));
    spool_unlock(s);
    return there;
}

static void hand_over(struct reporting *p, const struct found *f, const struct chunk *c,
                      const struct loaded *m)
{
    uint8_t done[(DISK_RCPT_MAX + 7) / 8 + 1];
    if (m->state == UNREAD) {
        leave_unread(p->k, f->g, f->id);
        return;
    }
    if (m->state != LOADED) {
        quarantine_message(p->k->s, f->id,
                           m->state == NO_RECORD ? "record header"
                                                 : "its file is missing or of another size");
        p->k->stats->quarantined++;
        return;
    }
    if (!load_done(p->k->s, f, done))
        return;
    struct spool_recovered msg = {.id = f->id,
                                  .envelope =
                                      str_n((const char *)c->bytes + m->at, m->h.envelope_len),
                                  .n_rcpt = m->h.n_rcpt,
                                  .content_size = m->h.content_len,
                                  .held = (f->more & ENTRY_HELD) != 0,
                                  .delay_notified = (f->more & ENTRY_DELAYED) != 0,
                                  .content_8bit = (m->h.flags & DISK_8BIT) != 0,
                                  .rcpt_done = done};
    p->k->stats->messages++;
    p->fn(p->arg, &msg);
}

static void hand_over_chunk(void *arg, size_t i)
{
    struct reporting *p = arg;
    struct chunk *c = p->chunk[i % CHUNKS_AHEAD];
    for (size_t m = 0; m < chunk_size(p->k, i); m++)
        hand_over(p, &p->k->found[i * CHUNK + m], c, &c->m[m]);
    mem_free(c->bytes);
    mem_free(c);
}

void report_living(struct recovery *k, spool_recover_fn *fn, void *arg)
{
    struct reporting p = {.k = k, .fn = fn, .arg = arg};
    sort_found(k);
    ordered_run((k->n_found + CHUNK - 1) / CHUNK, CHUNKS_AHEAD, load_chunk, hand_over_chunk, &p);
}
