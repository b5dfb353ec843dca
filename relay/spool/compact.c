/*
 * compact.c - copies the living messages of a segment forward, so that it can be freed. The keeper
 * reads and checks, the commit thread writes them among its batches; a slice of 256 KB waits for
 * its answer before the next is read, so intake is never behind more than that. A segment is chosen
 * when little lives in it and nothing has ended in it for a while (mail that drains by itself need
 * not be copied), or when it is broken or damaged. A message that cannot be read, or is damaged, is
 * quarantined.
 */
#include "relay/spool/spool_int.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"

#define SLICE_BYTES (256u * 1024)

_Atomic int compact_quiet_ms = 5000;

struct compaction {
    struct spool *s;
    struct segment *g;
    struct keeper_wait wait;
    size_t slice;
};

void compact_copy_done(struct chan_node *n)
{
    struct copy_node *c = CONTAINER_OF(n, struct copy_node, node);
    c->wait->failed |= !c->ok;
    c->wait->outstanding--;
    mem_free(c->bytes);
    mem_free(c);
}

/* Under the lock. */
static bool is_worth_it(struct spool *s, const struct segment *g, int64_t now)
{
    if (g->state != SEGMENT_SEALED || g->living == 0 || g->end == 0 || g->kept || now < g->retry_ms)
        return false;
    if (s->ready == 0 && g->living_bytes > s->active_room / 2)
        return false; /* the last segment is for marks and reports, unless this surely frees one */
    if (g->broken || g->damaged)
        return true;
    bool quiet = now - g->changed_ms >= atomic_load(&compact_quiet_ms);
    return (quiet || atomic_load(&s->full)) &&
           (double)g->living_bytes < s->conf.compact_below * (double)g->size;
}

static struct segment *pick(struct spool *s)
{
    struct segment *best = NULL;
    int64_t now = clock_mono_ms();
    spool_lock(s);
    for (unsigned i = 0; i < s->n_segment; i++) {
        struct segment *g = s->segment[i];
        if (g != NULL && is_worth_it(s, g, now) &&
            (best == NULL || g->living_bytes < best->living_bytes))
            best = g;
    }
    spool_unlock(s);
    return best;
}

static bool lives_here(struct compaction *k, const struct record *r)
{
    spool_lock(k->s);
    const struct entry *e = table_find(&k->s->table, r->h.id);
    bool yes = e != NULL && e->slot == k->g->slot && e->unit == r->off / DISK_ALIGN &&
               (e->more & ENTRY_BAD) == 0;
    spool_unlock(k->s);
    return yes;
}

/* The content behind the envelope in c->bytes. */
static bool load_content(struct compaction *k, const struct record *r, struct copy_node *c)
{
    size_t got = 0, n = (size_t)r->content_inline;
    unsigned char *to = c->bytes + r->h.envelope_len;
    if (!file_read_at(k->s->ops, k->g->fd, to, n, (off_t)r->content_off, &got, NULL)) {
        if (keeper_reads_again(k->g)) {
            k->wait.failed = true;
            return false;
        }
        quarantine_message(k->s, r->h.id, "cannot be read");
        return false;
    }
    if (r->h.type == DISK_MESSAGE && (got < n || hash64_seed(to, n, r->h.id) != r->h.content_sum)) {
        quarantine_message(k->s, r->h.id, "content");
        return false;
    }
    return true;
}

static bool copy_record(void *arg, const struct record *r)
{
    struct compaction *k = arg;
    if (r->h.type == DISK_MARKS || !lives_here(k, r))
        return !atomic_load(&k->s->stopping);
    struct copy_node *c = NEW(struct copy_node);
    c->bytes = mem_alloc(r->h.envelope_len + (size_t)r->content_inline + 1);
    if (r->envelope.n != 0)
        memcpy(c->bytes, r->envelope.p, r->envelope.n);
    if (!load_content(k, r, c)) {
        mem_free(c->bytes);
        mem_free(c);
        return true;
    }
    c->node.run = node_is_copy;
    c->wait = &k->wait;
    c->from = k->g;
    c->from_off = r->off;
    c->h = r->h;
    k->wait.outstanding++;
    k->slice += r->h.length;
    commit_send(k->s, &c->node);
    if (k->slice >= SLICE_BYTES) {
        keeper_wait_for(k->s, &k->wait);
        k->slice = 0;
    }
    return !k->wait.failed && !atomic_load(&k->s->stopping);
}

/* Living by the table, but no valid record was met: the segment was damaged since. */
static void give_up_the_rest(struct compaction *k)
{
    uint64_t *ids = NULL;
    size_t n = 0;
    spool_lock(k->s);
    for (unsigned p = 0; p < TABLE_PARTS; p++) {
        const struct table_part *part = &k->s->table.part[p];
        for (uint32_t i = 0; i < part->cap; i++) {
            const struct entry *e = &part->v[i];
            if (e->id == 0 || e->slot != k->g->slot || (e->more & ENTRY_BAD) != 0)
                continue;
            ids = mem_realloc(ids, (n + 1) * sizeof(*ids));
            ids[n++] = e->id;
        }
    }
    spool_unlock(k->s);
    for (size_t i = 0; i < n; i++)
        quarantine_message(k->s, ids[i], "record header");
    mem_free(ids);
}

bool compact_one(struct spool *s)
{
    struct compaction k = {.s = s, .g = pick(s)};
    struct scan sc;
    struct walk_result result;
    struct walk w = {.arg = &k, .record = copy_record};
    if (k.g == NULL)
        return false;
    segment_scan(s, k.g, &sc);
    scan_walk(&sc, k.g->end, &w, &result);
    bool io_error = sc.io_error;
    scan_free(&sc);
    keeper_wait_for(s, &k.wait);
    if (atomic_load(&s->stopping))
        return false;
    spool_lock(s);
    bool left = k.g->living != 0;
    if (io_error && keeper_reads_again(k.g))
        k.wait.failed = true;
    k.g->retry_ms = left ? clock_mono_ms() + atomic_load(&keeper_retry_ms) : 0;
    spool_unlock(s);
    if (left && !k.wait.failed)
        give_up_the_rest(&k);
    return !k.wait.failed;
}
