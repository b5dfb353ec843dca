/*
 * ended.c - what segments' headers say about where others ended (doc/spool-format.md, Failed
 * writes).
 *
 * Behind the end of a broken segment lies what was refused. Nothing in that segment says so, only
 * the headers of later ones: so each names all that are broken, and the last one that does is not
 * freed while they are in use. Names, states and ends are under the spool's lock.
 */
#include "relay/spool/spool_int.h"

/* What other headers say about where g ended. A broken one has refused bytes behind it. */
void ended_learn(struct spool *s, const struct disk_segment *h)
{
    struct segment *by = segment_by_seq(s, h->seq);
    for (uint32_t i = 0; i < h->n_ended; i++) {
        struct segment *g = segment_by_seq(s, h->ended[i].seq);
        if (g != NULL && h->ended[i].end <= g->size && h->ended[i].end >= DISK_RECORDS_BEGIN) {
            g->end = h->ended[i].end;
            bool broken = i != 0 || h->first_broken != 0;
            g->broken |= broken;
            if (broken && by != NULL)
                seq_set_add(&by->names, g->seq);
        }
    }
}

/* Its end is known and may be needed: while its header as a free one is not on disk, it counts. Of
 * one that could not be synced nobody knows where it will end. */
static bool is_ended(const struct segment *g)
{
    return g != NULL && g->end != 0 && (g->broken || !g->unsure) &&
           (g->state == SEGMENT_SEALED || g->state == SEGMENT_FREEING);
}

/* The latest that has ended before seq; of broken ones only. */
static struct segment *ended_before(struct spool *s, uint64_t seq, bool broken)
{
    struct segment *latest = NULL;
    for (unsigned i = 0; i < s->n_segment; i++) {
        struct segment *g = s->segment[i];
        if (is_ended(g) && g->seq < seq && (g->broken || !broken) &&
            (latest == NULL || g->seq > latest->seq))
            latest = g;
    }
    return latest;
}

/* First the segment before, then the broken ones, latest first: what older ones there is no room
 * for stay named where they are. */
void segment_use_page(struct spool *s, struct segment *g, unsigned char *page)
{
    struct disk_segment h = {.state = DISK_IN_USE,
                             .use = g->use,
                             .seq = g->seq,
                             .salt = g->salt,
                             .size = g->size,
                             .epoch = s->epoch};
    spool_lock(s);
    g->names.n = 0;
    struct segment *o = ended_before(s, g->seq, false);
    h.first_broken = o != NULL && o->broken;
    while (o != NULL && h.n_ended < DISK_ENDED_MAX) {
        h.ended[h.n_ended++] = (struct disk_ended){o->seq, o->end};
        if (o->broken)
            seq_set_add(&g->names, o->seq);
        o = ended_before(s, o->seq, true);
    }
    spool_unlock(s);
    header_write(&h, page);
}

bool segment_is_last_witness(struct spool *s, const struct segment *g)
{
    for (unsigned i = 0; i < g->names.n; i++) {
        uint64_t seq = g->names.v[i];
        const struct segment *broken = segment_by_seq(s, seq);
        bool another = broken == NULL || broken == g;
        for (unsigned k = 0; k < s->n_segment && !another; k++) {
            const struct segment *o = s->segment[k];
            another = o != NULL && o != g && o->state != SEGMENT_FREEING && segment_is_in_use(o) &&
                      atomic_load(&o->on_disk) && seq_set_has(&o->names, seq);
        }
        if (!another)
            return true;
    }
    return false;
}
