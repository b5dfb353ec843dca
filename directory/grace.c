/*
 * grace.c - entries that their source no longer has: they stay, marked with the time, and mail for
 * them goes on until the grace period is over, in case somebody was deleted by mistake or is on the
 * way to another forest. Then they go. On the source's thread.
 *
 * They wait in a list in the order they vanished, so that finding what is over costs nothing. Time
 * passes on the monotonic clock; the wall clock is only asked how long ago something vanished
 * before this process began. It may have jumped while nobody looked, so an entry never counts as
 * older than leaves it a while (as the queue does with its messages).
 */
#include "directory/replica_int.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/mem.h"

#define EXPIRE_MAX 4096 /* entries removed by one commit */
#define NAMED_MAX  10   /* in a log line */
#define NAMES_SIZE 2048
#define SAY_EVERY  1000
#define SLACK_MS   3600000

void grace_init(struct replica *r)
{
    buf_init(&r->grace.names, NAMES_SIZE);
}

void grace_free(struct replica *r)
{
    mem_free(r->grace.v);
    buf_free(&r->grace.names);
}

static void list_add(struct grace *g, const unsigned char *uuid, int64_t vanished_ms,
                     int64_t since_ms)
{
    if (g->first > 1024 && g->first * 2 > g->n) {
        memmove(g->v, g->v + g->first, (g->n - g->first) * sizeof(*g->v));
        g->n -= g->first;
        g->first = 0;
    }
    if (g->n == g->cap) {
        g->cap = g->cap == 0 ? 64 : g->cap * 2;
        g->v = mem_realloc(g->v, g->cap * sizeof(*g->v));
    }
    g->v[g->n] = (struct leaving){.vanished_ms = vanished_ms, .since_ms = since_ms};
    memcpy(g->v[g->n++].uuid, uuid, DIR_UUID_SIZE);
}

/* ---- vanishing ---- */

static void name(struct grace *g, const struct dir_entry *e)
{
    char key[ADDRESS_MAX + 1];
    struct str k = dir_address_key(&e->address[0], key);
    bool fits = g->named < NAMED_MAX && g->names.n + k.n + 1 < NAMES_SIZE;
    g->named += fits;
    g->unnamed += !fits;
    if (!fits)
        return;
    if (g->names.n != 0)
        buf_append_char(&g->names, ' ');
    buf_append_str(&g->names, k);
}

void grace_note(struct replica *r, const struct dir_entry *e, int64_t vanished_ms)
{
    name(&r->grace, e);
    if (r->grace.known)
        list_add(&r->grace, e->uuid, vanished_ms, clock_mono_ms());
}

void grace_say(struct replica *r)
{
    struct grace *g = &r->grace;
    int64_t suppressed;
    char until[32];
    if (g->named == 0)
        return;
    clock_rfc3339(clock_wall_ms() + r->o.grace_ms, until, sizeof(until));
    if (log_limit_pass(&g->said, SAY_EVERY, &suppressed))
        LOG(WARN, r->name, "directory-vanished", LU("entries", g->named + g->unnamed),
            LS("addresses", buf_str(&g->names)), LU("more_not_named", g->unnamed),
            LC("routes_until", until), LI("more_not_logged", suppressed));
    buf_clear(&g->names);
    g->named = g->unnamed = 0;
}

/* ---- going ---- */

/* How long ago it vanished, for one from before this process. */
static int64_t recovered_age(const struct replica *r, int64_t vanished_ms)
{
    int64_t age = clock_wall_ms() - vanished_ms, grace = r->o.grace_ms;
    int64_t slack = grace / 8 < SLACK_MS ? grace / 8 : SLACK_MS;
    if (age < 0)
        return 0;
    return age < grace - slack ? age : grace - slack;
}

static int by_age(const void *va, const void *vb)
{
    const struct leaving *a = va, *b = vb;
    return a->since_ms < b->since_ms ? -1 : a->since_ms > b->since_ms;
}

/* Finds those from before this process: the one walk over everything. */
static void list_load(struct replica *r)
{
    struct stack_cursor c = {0};
    struct table_record rec;
    int64_t now = clock_mono_ms();
    uint64_t left = r->vanished;
    r->grace.known = true;
    while (left != 0 && stack_next(r->stack, &c, &rec)) {
        struct dir_entry e;
        struct dir_address first;
        if (!table_record_head(&rec, &e, &first) || e.vanished_ms == 0)
            continue;
        list_add(&r->grace, table_record_uuid(&rec), e.vanished_ms, now - recovered_age(r, e.vanished_ms));
        left--;
    }
    if (r->grace.n != 0)
        qsort(r->grace.v, r->grace.n, sizeof(*r->grace.v), by_age);
}

/* It may have come back since, or vanished again. */
static bool is_still_gone(const struct replica *r, const struct leaving *l)
{
    struct dir_entry e;
    return replica_find(r, l->uuid, &e) && e.vanished_ms == l->vanished_ms;
}

void grace_tick(struct replica *r)
{
    struct grace *g = &r->grace;
    if (!g->known)
        list_load(r);
    if (g->first == g->n || replica_hold(r) != NULL || r->refreshing || r->n_batch != 0 ||
        r->over.class != ERR_NONE)
        return;
    int64_t now = clock_mono_ms();
    for (; g->first < g->n && r->n_batch < EXPIRE_MAX; g->first++) {
        const struct leaving *l = &g->v[g->first];
        if (now - l->since_ms < r->o.grace_ms)
            break;
        struct dir_entry gone = {.tombstone = true};
        memcpy(gone.uuid, l->uuid, DIR_UUID_SIZE);
        if (is_still_gone(r, l))
            replica_batch_add(r, &gone);
    }
    if (r->n_batch == 0)
        return;
    LOG(INFO, r->name, "directory-grace-over", LU("entries", r->n_batch),
        LU("vanished_left", r->vanished - r->n_batch));
    replica_commit_batch(r, STR_NULL, false);
}
