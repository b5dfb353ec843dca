/*
 * commit.c - the commit thread: takes what is ready, writes it as batches (batch.c), answers, and
 * begins again at once. No timer: while one sync runs the next batch gathers by itself. Marks alone
 * are written without a sync; a sync follows within a second if no commit brings one. Where a sync
 * takes long two batches are under way at a time (flight.c).
 *
 * On failure: the segment is broken from its last good sync on, whatever lies behind it. A new one
 * is begun and synced whose header says so, only then do the submitters hear of it. Marks that were
 * in the broken part are written again. If there is no segment to begin, messages are refused and
 * marks wait in memory until there is one; the last free segment serves marks and reports only.
 */
#include "relay/spool/flight.h"

#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"

#define SYNC_WITHIN_MS   1000
#define UNSYNCED_MAX     16384u
#define REPLACEMENTS_MAX 3
#define CROWD            3 /* messages in a batch */

void mark_vec_add(struct mark_vec *m, const struct disk_mark *v, size_t n)
{
    if (n == 0)
        return;
    if (m->n + n > m->cap) {
        m->cap = (m->n + n) * 2;
        m->v = mem_realloc(m->v, m->cap * sizeof(*m->v));
    }
    memcpy(m->v + m->n, v, n * sizeof(*v));
    m->n += n;
}

/* The type of an internal node is the address of its run function; none of them is ever called. */
void node_is_marks(struct chan_node *n)
{
    ASSERT(n == NULL);
}
void node_is_copy(struct chan_node *n)
{
    ASSERT(n == NULL);
}
void node_is_forward(struct chan_node *n)
{
    ASSERT(n == NULL);
}
void node_is_stop(struct chan_node *n)
{
    ASSERT(n == NULL);
}

void commit_send(struct spool *s, struct chan_node *n)
{
    chan_send(s->commit.in, n);
}

/* ---- answers ---- */

static void answer_append(struct spool_append *a, enum spool_result result, const struct err *e)
{
    a->result = result;
    if (e != NULL)
        a->err = *e;
    else
        err_clear(&a->err);
    chan_send(a->reply_to, &a->node);
}

/* A failed write may have left the record that names it: it goes when that is void on disk. */
static void drop_refused_file(struct spool *s, uint64_t id)
{
    if (s->commit.end_unsaid) {
        spool_lock(s);
        state_large_gone(s, id);
        spool_unlock(s);
        return;
    }
    uint64_t *ids = mem_alloc(sizeof(*ids));
    *ids = id;
    large_remove(s, ids, 1);
}

static void refuse_append(struct spool *s, struct spool_append *a, const struct err *e)
{
    bool space = is_no_space(e);
    if (a->is_large)
        drop_refused_file(s, a->id);
    if (space) {
        atomic_store(&s->full, true);
        spool_lock(s);
        s->no_space = true;
        spool_unlock(s);
        keeper_wake(s);
    }
    answer_append(a, space ? SPOOL_NO_SPACE : SPOOL_IO_ERROR, e);
}

static void answer_copy(struct spool *s, struct copy_node *c, bool ok)
{
    c->ok = ok;
    c->node.run = compact_copy_done;
    chan_send(s->keeper_in, &c->node);
}

static void answer_forwards(struct spool *s, bool ok)
{
    struct commit *c = &s->commit;
    for (struct chan_node *n = c->forwards, *next; n != NULL; n = next) {
        next = n->next;
        struct forward_node *f = CONTAINER_OF(n, struct forward_node, node);
        f->ok = ok;
        n->run = keeper_forward_done;
        chan_send(s->keeper_in, n);
    }
    c->forwards = NULL;
}

static void refuse_node(struct spool *s, struct chan_node *n, const struct err *e)
{
    if (n->run == node_is_copy)
        answer_copy(s, CONTAINER_OF(n, struct copy_node, node), false);
    else
        refuse_append(s, CONTAINER_OF(n, struct spool_append, node), e);
}

/* ---- gathering ---- */

static void take_marks(struct spool *s, struct marks_node *m)
{
    spool_lock(s);
    for (unsigned i = 0; i < m->n; i++) {
        struct disk_mark d = {
            .id = m->v[i].id, .rcpt = m->v[i].rcpt, .kind = (uint16_t)m->v[i].kind};
        if (state_mark(s, d.id, d.rcpt, d.kind, &d.seq))
            mark_vec_add(&s->commit.fresh, &d, 1);
    }
    spool_unlock(s);
    stats_add(STAT_spool_marks, m->n);
    mem_free(m);
}

static void take_forward(struct spool *s, struct forward_node *f)
{
    f->node.next = s->commit.forwards;
    s->commit.forwards = &f->node;
}

void commit_gather(struct spool *s)
{
    struct commit *c = &s->commit;
    for (struct chan_node *n = chan_take(c->in), *next; n != NULL; n = next) {
        next = n->next;
        if (n->run == node_is_marks) {
            take_marks(s, CONTAINER_OF(n, struct marks_node, node));
        } else if (n->run == node_is_forward) {
            take_forward(s, CONTAINER_OF(n, struct forward_node, node));
        } else if (n->run == node_is_flight) {
            flight_back(n);
        } else if (n->run == node_is_stop) {
            c->stopping = true;
        } else {
            n->next = NULL;
            *c->tail = n;
            c->tail = &n->next;
        }
    }
}

static struct chan_node *backlog_pop(struct commit *c)
{
    struct chan_node *n = c->head;
    c->head = n->next;
    if (c->head == NULL)
        c->tail = &c->head;
    return n;
}

/* ---- segments ---- */

/* Waits for the keeper where that helps. `last_too`: the last free segment may be taken. */
static bool begin_segment(struct spool *s, bool last_too)
{
    struct commit *c = &s->commit;
    spool_lock(s);
    for (;;) {
        if (s->ready >= 2 || (s->ready == 1 && (last_too || !s->filled_once)))
            break;
        if (s->make_failed)
            break;
        spool_unlock(s);
        keeper_wake(s);
        spool_lock(s);
        if (s->ready < 2 && !s->make_failed && !(s->ready == 1 && last_too))
            pthread_cond_wait(&s->ready_changed, &s->lock);
    }
    if (s->ready >= 2 || (s->ready == 1 && (last_too || !s->filled_once)))
        c->active = segment_take(s);
    c->emergency = c->active != NULL && s->ready == 0 && s->filled_once;
    spool_unlock(s);
    keeper_wake(s);
    return c->active != NULL;
}

/* With the last segment in use: waits until there is another, or for the news that there is none.
 */
static bool ordinary_may_enter(struct spool *s)
{
    struct commit *c = &s->commit;
    if (!c->emergency)
        return true;
    spool_lock(s);
    while (s->ready == 0 && !s->make_failed) {
        spool_unlock(s);
        keeper_wake(s);
        spool_lock(s);
        if (s->ready == 0 && !s->make_failed)
            pthread_cond_wait(&s->ready_changed, &s->lock);
    }
    c->emergency = s->ready == 0;
    spool_unlock(s);
    return !c->emergency;
}

static void end_segment(struct spool *s, struct segment *g, uint64_t end, bool broken)
{
    spool_lock(s);
    g->end = end;
    g->broken = broken;
    g->state = SEGMENT_SEALED;
    g->changed_ms = clock_mono_ms();
    spool_unlock(s);
    flights_leave_segment(s);
    s->commit.active = NULL;
    keeper_wake(s);
}

/* Marks behind the last sync are void now; they go first into what comes next. */
static void marks_again(struct commit *c)
{
    struct mark_vec both = {0};
    mark_vec_add(&both, c->unsynced.v, c->unsynced.n);
    mark_vec_add(&both, c->fresh.v, c->fresh.n);
    mem_free(c->fresh.v);
    c->fresh = both;
    c->unsynced.n = 0;
    c->dirty_since_ms = 0;
}

/* After a failed write or sync. Ends with a new segment that is good, or with none. */
void commit_segment_failed(struct spool *s, const struct err *e)
{
    struct commit *c = &s->commit;
    spool_fault(s, "spool-write-failed", e);
    stats_inc(STAT_spool_sync_errors);
    marks_again(c);
    end_segment(s, c->active, c->active->synced, true);
    c->end_unsaid = true;
    for (int i = 0; i < REPLACEMENTS_MAX && begin_segment(s, true); i++) {
        struct err again;
        batch_begin(c->batch, c->active);
        c->batch->sync = true;
        if (batch_write(s, c->batch, c->active, &again))
            return;
        spool_fault(s, "spool-write-failed", &again);
        stats_inc(STAT_spool_sync_errors);
        end_segment(s, c->active, DISK_RECORDS_BEGIN, false); /* nothing was behind its header */
    }
}

/* All that the active segment holds is on disk afterwards, or it has failed. */
static bool sync_active(struct spool *s)
{
    struct commit *c = &s->commit;
    struct err e;
    if (!flights_land(s))
        return false;
    if (c->active == NULL || c->dirty_since_ms == 0)
        return true;
    batch_begin(c->batch, c->active);
    c->batch->sync = true;
    if (!batch_write(s, c->batch, c->active, &e)) {
        commit_segment_failed(s, &e);
        return false;
    }
    c->unsynced.n = 0;
    c->dirty_since_ms = 0;
    return true;
}

static void remove_gone(struct spool *s)
{
    uint64_t *ids = NULL;
    spool_lock(s);
    size_t n = s->n_gone;
    const struct commit *c = &s->commit;
    if (n != 0 && c->dirty_since_ms == 0 && c->fresh.n == 0 && !c->end_unsaid) {
        ids = s->gone;
        s->gone = NULL;
        s->n_gone = s->cap_gone = 0;
    }
    spool_unlock(s);
    if (ids != NULL)
        large_remove(s, ids, n);
}

/* Full, or the spool is closed. */
static void seal(struct spool *s)
{
    struct commit *c = &s->commit;
    struct segment *g = c->active;
    if (!sync_active(s))
        return;
    struct disk_record h = {.magic = DISK_RECORD_MAGIC,
                            .type = DISK_SEAL,
                            .length = sizeof(h),
                            .synced_upto = (uint32_t)g->pos,
                            .batch = ++g->batch};
    record_seal((unsigned char *)&h, g->salt, g->pos);
    struct iovec iov = {.iov_base = &h, .iov_len = sizeof(h)};
    if (g->begun) /* only a help for recovery: nothing hangs on it */
        file_write_all(s->ops, g->fd, &iov, 1, (off_t)g->pos, NULL);
    end_segment(s, g, g->pos, false);
}

/* ---- rounds ---- */

/* True when the copy is still wanted. */
static bool copy_is_wanted(struct spool *s, const struct copy_node *c)
{
    spool_lock(s);
    const struct entry *e = table_find(&s->table, c->h.id);
    bool yes = e != NULL && e->slot == c->from->slot && e->unit == c->from_off / DISK_ALIGN &&
               (e->more & ENTRY_BAD) == 0;
    spool_unlock(s);
    return yes;
}

static const struct err no_space = {
    .class = ERR_SYSTEM, .errnum = ENOSPC, .text = "no free segment and no room for another"};

/* Takes the first of the backlog into the batch, or answers it; false: write the batch first. */
static bool plan_one(struct spool *s)
{
    static const struct err too_big = {
        .class = ERR_LIMIT, .text = "the message does not fit in a segment of the spool"};
    struct commit *c = &s->commit;
    enum batch_fit fit;
    if (c->head->run == node_is_copy) {
        struct copy_node *copy = CONTAINER_OF(c->head, struct copy_node, node);
        if (!copy_is_wanted(s, copy)) {
            backlog_pop(c);
            answer_copy(s, copy, true);
            return true;
        }
        fit = batch_take_copy(c->batch, c->active, copy);
    } else {
        struct spool_append *a = CONTAINER_OF(c->head, struct spool_append, node);
        if (a->n_marks == 0 && !ordinary_may_enter(s)) {
            refuse_node(s, backlog_pop(c), &no_space);
            return true;
        }
        fit = batch_take_append(c->batch, c->active, a);
    }
    if (fit == BATCH_FULL)
        return false;
    struct chan_node *n = backlog_pop(c);
    if (fit == BATCH_TOO_BIG)
        refuse_node(s, n, &too_big);
    return true;
}

void commit_succeeded(struct spool *s, struct batch *b)
{
    struct commit *c = &s->commit;
    uint64_t seq;
    spool_lock(s);
    for (unsigned i = 0; i < b->n_item; i++) {
        struct batch_item *it = &b->item[i];
        if (it->append != NULL) {
            const struct spool_append *a = it->append;
            state_add(s, c->active, it->off, &it->h);
            for (unsigned k = 0; k < a->n_marks; k++)
                state_mark(s, a->marks[k].id, a->marks[k].rcpt, a->marks[k].kind, &seq);
            s->appended++;
        } else {
            struct entry *e = table_find(&s->table, it->h.id);
            if (e != NULL)
                state_move(s, e, c->active, it->off, it->h.length);
        }
    }
    s->syncs += b->sync;
    s->active_room = c->active->size - c->active->pos;
    spool_unlock(s);
    for (unsigned i = 0; i < b->n_item; i++) {
        struct batch_item *it = &b->item[i];
        if (it->append != NULL) {
            stats_inc(STAT_spool_appended);
            answer_append(it->append, SPOOL_OK, NULL);
        } else {
            stats_inc(STAT_spool_compacted);
            answer_copy(s, it->copy, true);
        }
    }
}

void commit_refuse(struct spool *s, struct batch *b, const struct err *e)
{
    for (unsigned i = 0; i < b->n_item; i++) {
        struct batch_item *it = &b->item[i];
        refuse_node(s, it->append != NULL ? &it->append->node : &it->copy->node, e);
    }
    b->n_item = 0;
}

static void batch_failed(struct spool *s, const struct err *e)
{
    struct commit *c = &s->commit;
    struct batch *failed = c->batch;
    c->batch = batch_new(); /* in use while the segment is replaced */
    if (flights_land(s))
        commit_segment_failed(s, e);
    commit_refuse(s, failed, e);
    batch_free(&failed);
    answer_forwards(s, false);
}

static void marks_written(struct commit *c)
{
    size_t n = c->batch->n_marks;
    mark_vec_add(&c->unsynced, c->fresh.v, n);
    if (c->dirty_since_ms == 0 && c->unsynced.n != 0)
        c->dirty_since_ms = clock_mono_ms() | 1;
    c->fresh.n -= n;
    if (c->fresh.n != 0)
        memmove(c->fresh.v, c->fresh.v + n, c->fresh.n * sizeof(*c->fresh.v));
}

static void write_planned(struct spool *s, bool all_marks)
{
    struct commit *c = &s->commit;
    struct batch *b = c->batch;
    struct err e;
    b->sync |= c->forwards != NULL && all_marks;
    if (!batch_write(s, b, c->active, &e)) {
        batch_failed(s, &e);
        return;
    }
    c->crowded = b->n_item >= CROWD;
    marks_written(c);
    if (b->sync) {
        c->unsynced.n = 0;
        c->dirty_since_ms = 0;
    }
    commit_succeeded(s, b);
    if (b->sync && c->fresh.n == 0)
        answer_forwards(s, true);
}

static void write_flight(struct spool *s)
{
    struct commit *c = &s->commit;
    struct err e;
    if (!batch_put(s, c->batch, c->active, &e)) {
        batch_failed(s, &e);
        return;
    }
    c->crowded = c->batch->n_item >= CROWD;
    marks_written(c);
    flight_start(s);
}

static bool wants_last_segment(const struct commit *c)
{
    if (c->fresh.n != 0 || c->forwards != NULL || c->head == NULL || c->head->run == node_is_copy)
        return true;
    return CONTAINER_OF(c->head, struct spool_append, node)->n_marks != 0;
}

/* There is no segment to write to. */
static void refuse_backlog(struct spool *s)
{
    struct commit *c = &s->commit;
    while (c->head != NULL)
        refuse_node(s, backlog_pop(c), &no_space);
    answer_forwards(s, false);
}

/* Marks of a segment that is to be freed, about segments that are not: they join the others when
 * there is a segment to write them to, or they would wait and come again. Of a hold only the
 * present state is worth writing: the old mark would come after newer ones. */
static void load_forward(struct spool *s, struct forward_node *f)
{
    spool_lock(s);
    for (size_t i = 0; i < f->marks.n; i++) {
        struct disk_mark d = f->marks.v[i];
        if (d.kind == SPOOL_MARK_HELD || d.kind == SPOOL_MARK_RELEASED) {
            const struct entry *e = table_find(&s->table, d.id);
            if (e == NULL)
                continue;
            d.seq = s->segment[e->slot]->seq;
            d.kind = e->more & ENTRY_HELD ? SPOOL_MARK_HELD : SPOOL_MARK_RELEASED;
        }
        mark_vec_add(&s->commit.fresh, &d, 1);
    }
    spool_unlock(s);
    f->marks.n = 0;
}

static void load_forwards(struct spool *s)
{
    for (struct chan_node *n = s->commit.forwards; n != NULL; n = n->next)
        load_forward(s, CONTAINER_OF(n, struct forward_node, node));
}

/* The first of the backlog does not fit in the last segment, which stays for what does. */
static bool refuse_what_does_not_fit(struct spool *s)
{
    if (s->commit.head == NULL || ordinary_may_enter(s))
        return false;
    refuse_node(s, backlog_pop(&s->commit), &no_space);
    return true;
}

/* Plans the next batch and writes it, or ends the segment that it does not fit in. `flight`: of
 * plain messages only. */
static void commit_one(struct spool *s, bool flight)
{
    struct commit *c = &s->commit;
    batch_begin(c->batch, c->active);
    bool all_marks = batch_take_marks(c->batch, c->active, c->fresh.n);
    bool room = all_marks;
    while (room && c->head != NULL && (!flight || node_is_plain(c->head)))
        room = plan_one(s);
    if (flight && c->batch->n_item != 0)
        write_flight(s);
    else if (!batch_is_empty(c->batch) || (all_marks && c->forwards != NULL))
        write_planned(s, all_marks);
    else if (!room && !(all_marks && refuse_what_does_not_fit(s)))
        seal(s);
}

/* Writes all that was gathered; with a full sky, what it can. */
static void commit_all(struct spool *s)
{
    struct commit *c = &s->commit;
    while (c->head != NULL || c->fresh.n != 0 || c->forwards != NULL) {
        bool flight = flight_is_wanted(s);
        if (c->n_flight != 0 && (flights_are_full(c) || (c->head == NULL && c->forwards == NULL)))
            return; /* marks alone can wait for company */
        if (!flight)
            flights_land(s);
        if (c->active == NULL && !begin_segment(s, wants_last_segment(c))) {
            if (c->head != NULL && !wants_last_segment(c)) { /* others may still be served */
                refuse_node(s, backlog_pop(c), &no_space);
                continue;
            }
            refuse_backlog(s);
            return; /* marks wait */
        }
        load_forwards(s);
        commit_one(s, flight);
    }
}

/* Marks that were written without a sync: how long they may go on so. */
static int marks_wait_ms(const struct commit *c)
{
    int64_t left = c->dirty_since_ms + SYNC_WITHIN_MS - clock_mono_ms();
    return left < 0 ? 0 : left > SYNC_WITHIN_MS ? SYNC_WITHIN_MS : (int)left;
}

static bool marks_are_due(const struct commit *c)
{
    return c->dirty_since_ms != 0 && marks_wait_ms(c) == 0;
}

/* How long to wait for more: until marks must be synced, or tried again. */
static int wait_ms(const struct commit *c)
{
    if ((c->head != NULL || c->forwards != NULL) && c->n_flight == 0)
        return 0; /* it came while flights landed, and so did what would have told of it */
    if (c->fresh.n != 0)
        return SYNC_WITHIN_MS;
    return c->dirty_since_ms != 0 ? marks_wait_ms(c) : -1;
}

/* Closing. If the last sync fails marks are left again, for the segment that was begun then. */
static void write_the_rest(struct spool *s)
{
    struct commit *c = &s->commit;
    do {
        do {
            flights_land(s);
            commit_all(s);
        } while (c->head != NULL || c->n_flight != 0);
        if (c->active == NULL)
            return;
        int fd = c->active->fd;
        seal(s);
        if (c->active == NULL)
            s->ops->fdatasync(fd); /* the SEAL record; nothing hangs on it */
    } while (c->fresh.n != 0);
}

void *commit_main(void *arg)
{
    struct spool *s = arg;
    struct commit *c = &s->commit;
    while (!c->stopping) {
        chan_wait(c->in, wait_ms(c));
        if (c->crowded)
            sched_yield(); /* the workers that were answered have more in a moment */
        commit_gather(s);
        flights_settle(s);
        commit_all(s);
        if (c->unsynced.n >= UNSYNCED_MAX || marks_are_due(c))
            sync_active(s);
        if (c->dirty_since_ms == 0)
            remove_gone(s);
        log_flush();
    }
    commit_gather(s);
    write_the_rest(s);
    remove_gone(s);
    log_flush();
    return NULL;
}
