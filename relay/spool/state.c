/*
 * state.c - the table of living messages together with the counts of the segments they lie in. All
 * under the spool's lock; changed by the commit thread and by recovery.
 */
#include "relay/spool/spool_int.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/stats.h"

bool kind_is_final(unsigned kind)
{
    return kind == SPOOL_MARK_DELIVERED || kind == SPOOL_MARK_FAILED || kind == SPOOL_MARK_REMOVED;
}

static void entry_place(struct entry *e, const struct segment *g, uint64_t off, uint64_t len)
{
    e->slot = g->slot;
    e->unit = (uint32_t)(off / DISK_ALIGN);
    e->units = (uint32_t)(len / DISK_ALIGN);
}

void state_add(struct spool *s, struct segment *g, uint64_t off, const struct disk_record *h)
{
    struct entry *e = table_insert(&s->table, h->id, h->n_rcpt);
    entry_place(e, g, off, h->length);
    if (h->type == DISK_LARGE)
        e->more |= ENTRY_LARGE;
    g->living++;
    g->living_bytes += h->length;
    stats_inc(STAT_spool_messages);
}

static void segment_lost_one(struct spool *s, struct segment *g, const struct entry *e)
{
    g->living--;
    g->living_bytes -= (uint64_t)e->units * DISK_ALIGN;
    g->changed_ms = clock_mono_ms();
    if (g->living == 0 && g->state == SEGMENT_SEALED)
        keeper_wake(s);
}

void state_move(struct spool *s, struct entry *e, struct segment *to, uint64_t off, uint64_t len)
{
    segment_lost_one(s, s->segment[e->slot], e);
    entry_place(e, to, off, len);
    to->living++;
    to->living_bytes += len;
}

void state_large_gone(struct spool *s, uint64_t id)
{
    if (s->n_gone == s->cap_gone) {
        s->cap_gone = s->cap_gone < 16 ? 16 : s->cap_gone * 2;
        s->gone = mem_realloc(s->gone, s->cap_gone * sizeof(*s->gone));
    }
    s->gone[s->n_gone++] = id;
}

void state_drop(struct spool *s, struct entry *e)
{
    if (e->more & ENTRY_LARGE)
        state_large_gone(s, e->id);
    segment_lost_one(s, s->segment[e->slot], e);
    table_remove(&s->table, e);
    stats_add(STAT_spool_messages, -1);
}

bool state_apply(struct table *t, struct entry *e, uint32_t rcpt, unsigned kind)
{
    if (kind_is_final(kind))
        return rcpt == SPOOL_RCPT_ALL || table_rcpt_done(t, e, rcpt);
    if (kind == SPOOL_MARK_HELD)
        e->more |= ENTRY_HELD;
    else if (kind == SPOOL_MARK_RELEASED)
        e->more &= ~(uint32_t)ENTRY_HELD;
    else if (kind == SPOOL_MARK_DELAY_NOTIFIED)
        e->more |= ENTRY_DELAYED;
    return false;
}

bool state_mark(struct spool *s, uint64_t id, uint32_t rcpt, unsigned kind, uint64_t *seq)
{
    struct entry *e = table_find(&s->table, id);
    if (e == NULL || (e->more & ENTRY_FOUND) != 0)
        return false;
    *seq = s->segment[e->slot]->seq;
    if (state_apply(&s->table, e, rcpt, kind))
        state_drop(s, e);
    return true;
}

static void replay_mark(struct table *t, const struct disk_mark *m)
{
    struct entry *e = table_find(t, m->id);
    if (e != NULL && (e->more & ENTRY_FOUND) != 0 && state_apply(t, e, m->rcpt, m->kind))
        e->more |= ENTRY_DEAD; /* stays until the last segment is read: it may appear again */
}

static void replay_message(struct table *t, uint32_t slot, const struct record *r)
{
    struct entry *e = table_find(t, r->h.id);
    if (e == NULL) {
        e = table_insert(t, r->h.id, r->h.n_rcpt);
        e->more |= ENTRY_FOUND;
        if (r->h.type == DISK_LARGE)
            e->more |= ENTRY_LARGE;
    } else if ((e->more & ENTRY_FOUND) == 0) {
        return; /* cannot be: ids are not used twice */
    }
    e->slot = slot;
    e->unit = (uint32_t)(r->off / DISK_ALIGN);
    e->units = r->h.length / DISK_ALIGN;
    if ((r->h.flags & DISK_COPY) == 0)
        return;
    e->more &= ~(uint32_t)ENTRY_HELD;
    e->more |= r->h.flags & DISK_HELD ? ENTRY_HELD : 0;
    e->more |= r->h.flags & DISK_DELAYED ? ENTRY_DELAYED : 0;
    for (uint32_t i = 0; i < r->h.n_rcpt && r->h.n_rcpt > 1; i++)
        if ((r->done[i / 8] & (1u << (i % 8))) != 0 && table_rcpt_done(t, e, i))
            e->more |= ENTRY_DEAD;
}

void state_replay(struct table *t, uint32_t slot, const struct record *r)
{
    if (r->h.type == DISK_MESSAGE || r->h.type == DISK_LARGE)
        replay_message(t, slot, r);
    for (uint32_t i = 0; i < r->h.n_marks; i++) {
        struct disk_mark m = record_mark(r, i);
        replay_mark(t, &m);
    }
}
