/*
 * recover.c - rebuilds the table from the segments of earlier processes, then reports what lives.
 *
 * Runs once, on a thread that may block, while new messages are already being appended to new
 * segments. First the log is read and replayed (replay.c); then done messages are dropped; then the
 * living ones are reported, oldest first (report.c); then files in large/ that none of them names
 * go (orphans.c). Nothing is changed on disk before that is over, so it may be cut off at any
 * point.
 */
#include "relay/spool/recover.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"

static void settle_part(struct recovery *k, struct table_part *p)
{
    struct spool *s = k->s;
    k->found = mem_realloc(k->found, (k->n_found + p->n + 1) * sizeof(*k->found));
    for (uint32_t i = 0; i < p->cap;) {
        struct entry *e = &p->v[i];
        if (e->id == 0 || (e->more & ENTRY_FOUND) == 0) {
            i++;
            continue;
        }
        if (e->more & ENTRY_DEAD) {
            table_remove(&s->table, e); /* another may have moved here: look again */
            continue;
        }
        e->more &= ~(uint32_t)ENTRY_FOUND;
        struct segment *g = s->segment[e->slot];
        g->living++;
        g->changed_ms = k->began_ms; /* mail that is about to drain need not be copied first */
        g->living_bytes += (uint64_t)e->units * DISK_ALIGN;
        k->found[k->n_found++] =
            (struct found){.id = e->id, .g = g, .unit = e->unit, .more = e->more};
        i++;
    }
}

static void settle(struct recovery *k)
{
    for (unsigned i = 0; i < TABLE_PARTS; i++) {
        spool_lock(k->s);
        settle_part(k, &k->s->table.part[i]);
        spool_unlock(k->s);
    }
    stats_add(STAT_spool_messages, (int64_t)k->n_found);
}

bool spool_recover(struct spool *s, spool_recover_fn *fn, void *arg,
                   struct spool_recovery_stats *stats, struct err *e)
{
    struct spool_recovery_stats mine;
    struct recovery k = {
        .s = s, .stats = stats != NULL ? stats : &mine, .began_ms = clock_mono_ms()};
    *k.stats = (struct spool_recovery_stats){0};
    if (atomic_load(&s->recovered))
        return err_set(e, ERR_BUSY, 0, "the spool has been recovered already");
    replay_log(&k);
    settle(&k);
    report_living(&k, fn, arg);
    mem_free(k.found);
    orphans_remove(&k);
    k.stats->took_ms = clock_mono_ms() - k.began_ms;
    LOG(INFO, NULL, "spool-recovered", LU("messages", k.stats->messages),
        LU("records", k.stats->records), LU("segments", k.stats->segments),
        LU("quarantined", k.stats->quarantined), LU("torn", k.stats->torn),
        LI("ms", k.stats->took_ms));
    log_flush();
    atomic_store(&s->recovered, true);
    keeper_wake(s);
    return true;
}
