/*
 * underway.c - see underway.h. Entries are found by the mailbox's hash; a shard has as many as
 * there are mailboxes with an unanswered RCPT in it, which is a few, so they are simply gone
 * through.
 */
#include "relay/queue/underway.h"

#include <pthread.h>

#include "base/assert.h"
#include "base/mem.h"

#define SHARDS 256

/* All commands for one mailbox to one destination. */
struct entry {
    uint64_t mailbox, dest;
    uint64_t generation; /* the newest of them */
    int64_t since_ms;    /* when the first began to wait for it */
    unsigned n;
    bool waited_for;
};

struct shard {
    _Alignas(64) pthread_mutex_t lock;
    unsigned n, cap;
    struct entry *v;
};

struct underway {
    struct shard shard[SHARDS];
};

struct underway *underway_new(void)
{
    struct underway *u = NEW(struct underway);
    for (unsigned i = 0; i < SHARDS; i++)
        pthread_mutex_init(&u->shard[i].lock, NULL);
    return u;
}

void underway_free(struct underway **up)
{
    struct underway *u = *up;
    if (u == NULL)
        return;
    for (unsigned i = 0; i < SHARDS; i++) {
        ASSERT(u->shard[i].n == 0);
        pthread_mutex_destroy(&u->shard[i].lock);
        mem_free(u->shard[i].v);
    }
    mem_free(u);
    *up = NULL;
}

static struct shard *lock(struct underway *u, const struct underway_rcpt *r)
{
    struct shard *s = &u->shard[r->mailbox % SHARDS];
    pthread_mutex_lock(&s->lock);
    return s;
}

static void unlock(struct shard *s)
{
    pthread_mutex_unlock(&s->lock);
}

/* Each command in the way is waited for from now on. */
static bool must_wait(struct shard *s, const struct underway_rcpt *r, int64_t now_ms)
{
    bool result = false;
    for (unsigned i = 0; i < s->n; i++) {
        struct entry *e = &s->v[i];
        if (e->mailbox != r->mailbox || e->dest == r->dest || e->generation >= r->generation)
            continue;
        if (!e->waited_for)
            e->since_ms = now_ms;
        e->waited_for = true;
        result = result || now_ms - e->since_ms < UNDERWAY_WAIT_MS;
    }
    return result;
}

static struct entry *find(struct shard *s, const struct underway_rcpt *r)
{
    for (unsigned i = 0; i < s->n; i++)
        if (s->v[i].mailbox == r->mailbox && s->v[i].dest == r->dest)
            return &s->v[i];
    return NULL;
}

static struct entry *add(struct shard *s, const struct underway_rcpt *r)
{
    if (s->n == s->cap) {
        s->cap = s->cap == 0 ? 4 : 2 * s->cap;
        s->v = mem_realloc(s->v, s->cap * sizeof(*s->v));
    }
    s->v[s->n] = (struct entry){.mailbox = r->mailbox, .dest = r->dest};
    return &s->v[s->n++];
}

bool underway_enter(struct underway *u, const struct underway_rcpt *r, bool patient, int64_t now_ms)
{
    struct shard *s = lock(u, r);
    bool ok = !patient || !must_wait(s, r, now_ms);
    if (ok) {
        struct entry *e = find(s, r);
        if (e == NULL)
            e = add(s, r);
        e->n++;
        if (r->generation > e->generation)
            e->generation = r->generation;
    }
    unlock(s);
    return ok;
}

bool underway_must_wait(struct underway *u, const struct underway_rcpt *r, int64_t now_ms)
{
    struct shard *s = lock(u, r);
    bool result = must_wait(s, r, now_ms);
    unlock(s);
    return result;
}

void underway_leave(struct underway *u, const struct underway_rcpt *r)
{
    struct shard *s = lock(u, r);
    struct entry *e = find(s, r);
    ASSERT(e != NULL);
    if (--e->n == 0)
        *e = s->v[--s->n];
    unlock(s);
}
