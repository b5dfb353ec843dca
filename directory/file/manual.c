/*
 * manual.c - see manual.h. The box: a list of changes under a lock, an eventfd that wakes the
 * source, a condition that wakes who waits. The source: one change after the other is read, applied
 * as one commit, synced, answered.
 */
#include "directory/file/manual.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "directory/file/csv_map.h"
#include "directory/source.h"

#define ALIVE_MS 10000 /* how often it says that it is as current as ever */

struct asked {
    struct asked *next;
    struct manual_change *change;
    struct err *e;
    bool done, ok;
};
struct manual_box {
    _Atomic uint32_t refs;
    int fd; /* eventfd; readable = something was put in */
    pthread_mutex_t lock;
    pthread_cond_t answered;
    struct asked *first, **last;
    bool open;
};

/* ---- the box ---- */

struct manual_box *manual_box_new(void)
{
    struct manual_box *b = NEW(struct manual_box);
    atomic_init(&b->refs, 1);
    b->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(b->fd >= 0);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->answered, NULL);
    b->last = &b->first;
    b->open = true;
    return b;
}

struct manual_box *manual_box_ref(struct manual_box *b)
{
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void manual_box_unref(struct manual_box **bp)
{
    struct manual_box *b = *bp;
    *bp = NULL;
    if (b == NULL || atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) != 1)
        return;
    close(b->fd);
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->answered);
    mem_free(b);
}

static bool closed(struct err *e)
{
    return err_set(e, ERR_BUSY, 0, "the source was removed or the relay is stopping");
}

bool manual_ask(struct manual_box *b, struct manual_change *c, struct err *e)
{
    struct asked a = {.change = c, .e = e};
    uint64_t one = 1;
    pthread_mutex_lock(&b->lock);
    if (b->open) {
        *b->last = &a;
        b->last = &a.next;
        ssize_t n = write(b->fd, &one, sizeof(one));
        ASSERT(n == (ssize_t)sizeof(one));
        while (!a.done)
            pthread_cond_wait(&b->answered, &b->lock);
    } else {
        a.ok = closed(e);
    }
    pthread_mutex_unlock(&b->lock);
    return a.ok;
}

static struct asked *box_take(struct manual_box *b)
{
    pthread_mutex_lock(&b->lock);
    struct asked *a = b->first;
    if (a != NULL && (b->first = a->next) == NULL)
        b->last = &b->first;
    pthread_mutex_unlock(&b->lock);
    return a;
}

static void box_answer(struct manual_box *b, struct asked *a, bool ok)
{
    pthread_mutex_lock(&b->lock);
    a->ok = ok;
    a->done = true;
    pthread_cond_broadcast(&b->answered);
    pthread_mutex_unlock(&b->lock);
}

void manual_box_close(struct manual_box *b)
{
    struct asked *a;
    pthread_mutex_lock(&b->lock);
    b->open = false;
    pthread_mutex_unlock(&b->lock);
    while ((a = box_take(b)) != NULL)
        box_answer(b, a, closed(a->e));
}

/* ---- changes ---- */

struct reading {
    struct source *s;
    struct csv *csv;
    struct csv_map *map;
    struct manual_change *change;
    bool apply;
};

static bool on_row(void *arg, const struct csv_row *row, struct err *e)
{
    struct reading *x = arg;
    struct dir_entry entry;
    bool is_entry;
    if (row->is_header) {
        csv_skip(x->csv, x->change->skip);
        return csv_map_header(x->map, row, e);
    }
    if (!csv_map_row(x->map, row, &entry, &is_entry, e))
        return false;
    if (!is_entry)
        return err_set(e, ERR_INPUT, 0, "no address; each row needs one");
    x->change->rows += !x->apply;
    return !x->apply || replica_upsert(x->s->replica, &entry) ||
           err_set(e, ERR_LIMIT, 0, "the whole entry is too long");
}

static bool read_rows(struct source *s, struct manual_change *c, bool apply, struct err *e)
{
    struct reading x = {.s = s, .change = c, .apply = apply};
    x.csv = csv_new(s->c->line_bytes_max, on_row, &x);
    x.map = csv_map_new(s->c, true);
    bool ok = csv_feed(x.csv, c->csv.p, c->csv.n, e) && csv_end(x.csv, e);
    csv_free(&x.csv);
    csv_map_free(&x.map);
    return ok;
}

/* The entry whose primary address this is. */
static bool find_primary(struct source *s, struct str address, unsigned char *uuid, struct err *e)
{
    char local[ADDRESS_MAX], domain[ADDRESS_MAX], key[ADDRESS_MAX + 1];
    const struct dir_stack *stack = replica_stack(s->replica);
    struct dir_address a, first;
    struct table_record r;
    struct dir_entry entry;
    if (!dir_address_split(address, local, domain, &a))
        return err_set(e, ERR_INPUT, 0, "%.*s is no address", STR_ARG(address));
    csv_map_address_uuid(&a, uuid);
    if (stack_find_uuid(stack, uuid, &r))
        return true;
    if (stack_find_key(stack, dir_address_key(&a, key), dir_address_hash(&a), &r, 1) != 0 &&
        table_record_head(&r, &entry, &first))
        return err_set(
            e, ERR_INPUT, 0,
            "%.*s is an address of %.*s@%.*s; delete that one, or upsert it without this "
            "address",
            STR_ARG(address), STR_ARG(first.local), STR_ARG(first.domain));
    return err_set(e, ERR_INPUT, 0, "source \"%s\" has no recipient %.*s", s->c->name,
                   STR_ARG(address));
}

/* Puts the change into the replica's batch. */
static bool gather(struct source *s, struct manual_change *c, struct err *e)
{
    unsigned char uuid[DIR_UUID_SIZE];
    if (c->csv.p != NULL)
        return read_rows(s, c, false, e) && (c->check || read_rows(s, c, true, e));
    if (!find_primary(s, c->forget, uuid, e))
        return false;
    c->rows = 1;
    if (!c->check)
        replica_delete(s->replica, uuid);
    return true;
}

/* Whoever asks knows what it does: no change is too big. Only the first one, which makes the source
 * complete, is a refresh. */
static bool apply(struct source *s, struct manual_change *c, struct err *e)
{
    struct replica *r = s->replica;
    bool completes = !replica_is_complete(r) && !c->more && !c->check && c->csv.p != NULL;
    if (completes)
        replica_refresh_begin(r);
    if (!gather(s, c, e) || !replica_keeps_limits(r, e)) {
        replica_abort(r);
        return false;
    }
    c->changed = replica_batch(r);
    if (completes && !replica_refresh_end(r, false, STR("manual"), e))
        return false;
    if (!completes)
        replica_commit(r, STR_NULL);
    if (replica_is_complete(r))
        source_is_current(s);
    c->generation = directory_generation(s->directory);
    return replica_sync(r) ||
           err_set(
               e, ERR_SYSTEM, 0,
               "done, but it cannot be written to disk and ends with this process; see the log, "
               "mend that and say it again");
}

/* What is in the box, also what was left there when the run before was interrupted. */
static void empty_box(struct source *s)
{
    struct asked *a;
    uint64_t rung;
    if (read(s->box->fd, &rung, sizeof(rung)) < 0)
        ASSERT(errno == EAGAIN || errno == EINTR);
    while (!source_must_stop(s) && (a = box_take(s->box)) != NULL)
        box_answer(s->box, a, apply(s, a->change, a->e));
}

void manual_source_run(struct source *s)
{
    if (!replica_is_complete(s->replica))
        source_failed(s, "nothing was loaded yet; `causewayctl directory load %s FILE` does that",
                      s->c->name);
    do {
        empty_box(s);
        if (replica_is_complete(s->replica))
            source_is_current(s);
    } while (source_wait(s, s->box->fd, ALIVE_MS, NULL));
}
