/*
 * replay.c - the first half of recovery: all segments of earlier processes are read (headers and
 * envelopes only, content only in an unproven tail) by several threads, and what they found is
 * replayed in the order of the log.
 */
#include "relay/spool/recover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/stats.h"
#include "relay/spool/ordered.h"

#define SEGMENTS_AHEAD 6u  /* parsed and not yet replayed */
#define LOCKED_RECORDS 64u /* replayed under one lock: the commit thread waits for it */

/* A record without its envelope, followed by its marks and, of a copy, the bitmap. */
struct parsed_record {
    struct disk_record h;
    uint64_t off, source;
    size_t bytes; /* of what follows, padded */
};
struct range {
    uint64_t from, to;
};
/* What one segment holds. */
struct parsed {
    struct segment *g;
    unsigned char *bytes;
    size_t n, cap;
    struct range *damage;
    size_t n_damage;
    struct walk_result result;
    bool io_error;
};

/* ---- reading: any thread ---- */

static bool parse_record(void *arg, const struct record *r)
{
    struct parsed *p = arg;
    struct parsed_record head = {.h = r->h, .off = r->off, .source = r->source};
    size_t marks = (size_t)r->h.n_marks * sizeof(struct disk_mark);
    size_t done = r->done != NULL ? record_bitmap_len(r->h.n_rcpt) : 0;
    head.bytes = (size_t)align_up(marks + done, sizeof(uint64_t));
    size_t need = p->n + sizeof(head) + head.bytes;
    if (need > p->cap) {
        p->cap = need + need / 2 + 65536;
        p->bytes = mem_realloc(p->bytes, p->cap);
    }
    unsigned char *to = p->bytes + p->n;
    memcpy(to, &head, sizeof(head));
    if (marks != 0)
        memcpy(to + sizeof(head), r->marks, marks);
    if (done != 0)
        memcpy(to + sizeof(head) + marks, r->done, done);
    p->n = need;
    return true;
}

static void parse_damage(void *arg, uint64_t from, uint64_t to)
{
    struct parsed *p = arg;
    p->damage = mem_realloc(p->damage, (p->n_damage + 1) * sizeof(*p->damage));
    p->damage[p->n_damage++] = (struct range){from, to};
}

static void parse_segment(void *arg, size_t i)
{
    struct recovery *k = arg;
    struct parsed *p = &k->parsed[i];
    struct scan sc;
    struct walk w = {.arg = p, .record = parse_record, .damage = parse_damage};
    for (int tries = 0; tries == 0 || (p->io_error && tries < READ_TRIES); tries++) {
        p->n = p->n_damage = 0;
        segment_scan(k->s, p->g, &sc);
        scan_walk(&sc, p->g->end, &w, &p->result);
        p->io_error = sc.io_error;
        scan_free(&sc);
    }
}

/* ---- replaying: in order ---- */

static void note_places(struct segment *g, const struct record *r)
{
    uint64_t last = g->seq;
    for (uint32_t i = 0; i < r->h.n_marks; i++) {
        uint64_t seq = record_mark(r, i).seq;
        if (seq != last && seq != g->seq && seq != 0)
            seq_set_add(&g->targets, seq);
        last = seq;
    }
    if (r->h.flags & DISK_COPY)
        seq_set_add(&g->sources, r->source);
}

static size_t replay_one(struct spool *s, const struct parsed *p, size_t at)
{
    struct parsed_record head;
    memcpy(&head, p->bytes + at, sizeof(head));
    const unsigned char *tail = p->bytes + at + sizeof(head);
    struct record r = {.h = head.h, .off = head.off, .source = head.source, .marks = tail};
    if (head.h.flags & DISK_COPY)
        r.done = tail + (size_t)head.h.n_marks * sizeof(struct disk_mark);
    state_replay(&s->table, p->g->slot, &r);
    note_places(p->g, &r);
    return at + sizeof(head) + head.bytes;
}

static void report_damage(struct recovery *k, struct segment *g, const struct range *d)
{
    char name[80];
    struct err alarm, e;
    snprintf(name, sizeof(name), "log-%" PRIu64 "-%" PRIu64 "-%" PRIu64, g->epoch, g->seq, d->from);
    bool safe = quarantine_bytes(k->s, g, d->from, d->to, name, &e);
    err_set(&alarm, ERR_CORRUPT, 0,
            "segment %08u is damaged from %" PRIu64 " to %" PRIu64 "; the bytes %s quarantine/%s",
            g->slot, d->from, d->to, safe ? "are in" : "could not be copied to", name);
    spool_alarm(k->s, "spool-log-damaged", NULL, &alarm);
    stats_inc(STAT_spool_quarantined);
    spool_lock(k->s);
    k->s->quarantined++;
    g->damaged = true;
    spool_unlock(k->s);
    k->unsure = true;
    if (!safe)
        quarantine_failed(k->s, g, &e);
    k->stats->quarantined++;
}

/* What was found behind an unknown end must not vanish in a power failure after it was passed on.
 * If it may, it is copied forward soon, and what it is a copy of stays until then. */
static void fix_end(struct recovery *k, struct parsed *p)
{
    struct segment *g = p->g;
    bool synced = k->s->ops->fdatasync(g->fd) == 0;
    if (!synced) {
        struct err alarm;
        err_set(&alarm, ERR_SYSTEM, errno, "cannot sync segment %08u", g->slot);
        spool_alarm(k->s, "spool-write-failed", NULL, &alarm);
        k->unsure = true;
    }
    spool_lock(k->s);
    if (!p->io_error)
        g->end = p->result.end;
    g->unsure |= !synced;
    g->damaged |= !synced;
    spool_unlock(k->s);
}

void leave_unread(struct recovery *k, struct segment *g, uint64_t id)
{
    struct err alarm;
    char text[14];
    spool_id_text(id, text);
    err_set(&alarm, ERR_SYSTEM, EIO,
            id != 0 ? "the message cannot be read; it waits in segment %08u for the next start"
                    : "segment %08u cannot be read in full; what is missing waits in it for the "
                      "next start",
            g->slot);
    spool_alarm(k->s, "spool-read-failed", id != 0 ? text : NULL, &alarm);
    spool_lock(k->s);
    g->kept = g->unsure = true;
    spool_unlock(k->s);
    k->unsure = true;
}

static void replay_segment(void *arg, size_t i)
{
    struct recovery *k = arg;
    struct parsed *p = &k->parsed[i];
    for (size_t at = 0; at < p->n;) {
        spool_lock(k->s);
        for (unsigned n = 0; n < LOCKED_RECORDS && at < p->n; n++)
            at = replay_one(k->s, p, at);
        spool_unlock(k->s);
    }
    if (p->io_error)
        leave_unread(k, p->g, 0);
    for (size_t d = 0; d < p->n_damage && !p->io_error; d++)
        report_damage(k, p->g, &p->damage[d]);
    k->stats->segments++;
    k->stats->records += p->result.records;
    k->stats->torn += p->result.torn;
    if (p->g->end == 0)
        fix_end(k, p);
    mem_free(p->bytes);
    mem_free(p->damage);
}

static int by_seq(const void *a, const void *b)
{
    const struct parsed *x = a, *y = b;
    return x->g->seq < y->g->seq ? -1 : x->g->seq > y->g->seq;
}

void replay_log(struct recovery *k)
{
    struct spool *s = k->s;
    size_t n = 0;
    spool_lock(s);
    k->parsed = mem_array(s->n_segment + 1, sizeof(*k->parsed));
    for (unsigned i = 0; i < s->n_segment; i++)
        if (s->segment[i] != NULL && s->segment[i]->old)
            k->parsed[n++].g = s->segment[i];
    spool_unlock(s);
    qsort(k->parsed, n, sizeof(*k->parsed), by_seq);
    ordered_run(n, SEGMENTS_AHEAD, parse_segment, replay_segment, k);
    mem_free(k->parsed);
}
