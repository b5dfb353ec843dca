/*
 * index.c - the memory of the queue: slabs, linear hash tables, and the records of messages and
 * recipients in them.
 *
 * Linear hashing (Litwin 1980) grows by one bucket per insertion, so that a queue of a million
 * messages never stops to rehash. Recipients with the same address key hang on the first of them:
 * a mailbox with a hundred thousand queued messages is one entry of its chain, and any of them
 * leaves in constant time. A recipient that depends on a second key, too, has an alias there: an
 * item of the same slab that stands for it.
 *
 * Owner: the queue's worker. Slabs never shrink; freed items are used again first.
 */
#include "relay/queue/queue_int.h"

#include "base/hash.h"
#include "base/mem.h"
#include "rewrite/address.h"

/* ---- slab ---- */

void slab_init(struct slab *s, size_t item)
{
    *s = (struct slab){.item = (uint32_t)item, .used = 1};
}

void slab_free_all(struct slab *s)
{
    for (uint32_t i = 0; i < s->n_chunk; i++)
        mem_free(s->chunk[i]);
    mem_free(s->chunk);
    *s = (struct slab){.item = s->item, .used = 1};
}

uint32_t slab_get(struct slab *s)
{
    uint32_t i = s->free;
    s->live++;
    if (i != 0) {
        void *item = slab_at(s, i);
        memcpy(&s->free, item, sizeof(s->free));
        memset(item, 0, s->item);
        return i;
    }
    i = s->used++;
    ASSERT(i != UINT32_MAX);
    uint32_t c = i >> SLAB_SHIFT;
    if (c >= s->n_chunk) {
        if ((s->n_chunk & (s->n_chunk - 1)) == 0)
            s->chunk = mem_realloc(s->chunk, sizeof(*s->chunk) *
                                                 (s->n_chunk == 0 ? 1 : 2 * (size_t)s->n_chunk));
        s->chunk[s->n_chunk++] = mem_array(SLAB_CHUNK, s->item);
    }
    return i;
}

void slab_put(struct slab *s, uint32_t i)
{
    void *item = slab_at(s, i);
    memset(item, 0, s->item);
    memcpy(item, &s->free, sizeof(s->free));
    s->free = i;
    s->live--;
}

size_t slab_memory(const struct slab *s)
{
    return (size_t)s->n_chunk * ((size_t)SLAB_CHUNK * s->item + sizeof(*s->chunk));
}

/* ---- linear hashing ---- */

#define LHASH_MIN 64

void lhash_init(struct lhash *h, const struct lhash_type *type)
{
    *h = (struct lhash){.type = type, .cap = LHASH_MIN, .n = LHASH_MIN, .low = LHASH_MIN};
    h->bucket = mem_array(h->cap, sizeof(*h->bucket));
}

void lhash_free(struct lhash *h)
{
    mem_free(h->bucket);
    *h = (struct lhash){0};
}

uint32_t *lhash_chain(const struct lhash *h, uint64_t hash)
{
    uint32_t b = (uint32_t)hash & (2 * h->low - 1);
    if (b >= h->n)
        b &= h->low - 1;
    return &h->bucket[b];
}

/* One more bucket: it takes its share of the items of bucket n - low. */
static void lhash_split(struct queue *q, struct lhash *h)
{
    if (h->n == h->cap) {
        h->bucket = mem_realloc(h->bucket, 2 * (size_t)h->cap * sizeof(*h->bucket));
        h->cap *= 2;
    }
    uint32_t to = h->n, from = h->n - h->low, mask = 2 * h->low - 1;
    uint32_t i = h->bucket[from], stay = 0, move = 0;
    while (i != 0) {
        uint32_t *link = h->type->link(q, i), next = *link;
        uint32_t *head = ((uint32_t)h->type->hash(q, i) & mask) == to ? &move : &stay;
        *link = *head;
        *head = i;
        i = next;
    }
    h->bucket[from] = stay;
    h->bucket[to] = move;
    if (++h->n == 2 * h->low)
        h->low *= 2;
}

void lhash_add(struct queue *q, struct lhash *h, uint32_t item)
{
    if (++h->count > h->n && h->n < (1u << 31))
        lhash_split(q, h);
    uint32_t *b = lhash_chain(h, h->type->hash(q, item));
    *h->type->link(q, item) = *b;
    *b = item;
}

void lhash_remove(struct queue *q, struct lhash *h, uint32_t item)
{
    uint32_t *at = lhash_chain(h, h->type->hash(q, item));
    while (*at != item) {
        ASSERT(*at != 0);
        at = h->type->link(q, *at);
    }
    uint32_t *link = h->type->link(q, item);
    *at = *link;
    *link = 0;
    h->count--;
}

/* ---- what is hashed ---- */

static uint64_t mix(uint64_t x)
{
    x ^= x >> 32;
    x *= 0x9e3779b97f4a7c15u;
    return x ^ (x >> 29);
}
static uint64_t id_hash(const struct queue *q, uint32_t i)
{
    return mix(msg_at(q, i)->id);
}
static uint32_t *id_link(struct queue *q, uint32_t i)
{
    return &msg_at(q, i)->hash_next;
}
static uint64_t rcpt_hash(const struct qrcpt *r)
{
    return (uint64_t)r->hash_hi << 32 | r->hash_lo;
}
static uint64_t key_hash(const struct queue *q, uint32_t i)
{
    return rcpt_hash(rcpt_at(q, i));
}
static uint32_t *key_link(struct queue *q, uint32_t i)
{
    return &rcpt_at(q, i)->bucket_next;
}
static uint64_t alias_hash(const struct queue *q, uint32_t i)
{
    return mix(rcpt_at(q, i)->alias_of);
}
static uint32_t *alias_link(struct queue *q, uint32_t i)
{
    return &rcpt_at(q, i)->alias_next;
}
static uint64_t dest_hash(const struct queue *q, uint32_t i)
{
    return dest_at(q, i)->hash;
}
static uint32_t *dest_link(struct queue *q, uint32_t i)
{
    return &dest_at(q, i)->hash_next;
}
static uint64_t reply_hash(const struct queue *q, uint32_t i)
{
    return reply_at(q, i)->hash;
}
static uint32_t *reply_link(struct queue *q, uint32_t i)
{
    return &reply_at(q, i)->hash_next;
}

static const struct lhash_type type_id = {id_hash, id_link}, type_key = {key_hash, key_link},
                               type_alias = {alias_hash, alias_link},
                               type_dest = {dest_hash, dest_link},
                               type_reply = {reply_hash, reply_link};

void index_init(struct queue *q)
{
    slab_init(&q->msgs, sizeof(struct qmsg));
    slab_init(&q->rcpts, sizeof(struct qrcpt));
    slab_init(&q->dests, sizeof(struct qdest));
    slab_init(&q->replies, sizeof(struct qreply));
    lhash_init(&q->by_id, &type_id);
    lhash_init(&q->by_key, &type_key);
    lhash_init(&q->by_alias, &type_alias);
    lhash_init(&q->by_dest, &type_dest);
    lhash_init(&q->by_reply, &type_reply);
}

void index_free(struct queue *q)
{
    lhash_free(&q->by_id);
    lhash_free(&q->by_key);
    lhash_free(&q->by_alias);
    lhash_free(&q->by_dest);
    lhash_free(&q->by_reply);
    slab_free_all(&q->msgs);
    slab_free_all(&q->rcpts);
    slab_free_all(&q->dests);
    slab_free_all(&q->replies);
}

/* ---- messages ---- */

struct qmsg *msg_find(const struct queue *q, uint64_t id)
{
    for (uint32_t i = *lhash_chain(&q->by_id, mix(id)); i != 0; i = msg_at(q, i)->hash_next) {
        if (msg_at(q, i)->id == id)
            return msg_at(q, i);
    }
    return NULL;
}

struct qmsg *msg_new(struct queue *q, uint64_t id)
{
    uint32_t i = slab_get(&q->msgs);
    struct qmsg *m = msg_at(q, i);
    m->id = id;
    m->self = i;
    m->flags = MSG_LIVE;
    lhash_add(q, &q->by_id, i);
    return m;
}

void msg_delete(struct queue *q, struct qmsg *m)
{
    ASSERT(m->active == NULL);
    while (m->first != 0)
        rcpt_done(q, m->first);
    if (m->counted != 0)
        q->n_in_state[m->counted - 1]--;
    heap_remove(&q->due, &m->due);
    lhash_remove(q, &q->by_id, m->self);
    slab_put(&q->msgs, m->self);
}

/* ---- recipients ---- */

uint64_t rcpt_key_hash(struct str address)
{
    struct address a;
    char key[ADDRESS_MAX + 1];
    /* What was accepted once is found again even if the grammar has become stricter since. */
    if (address_parse(address, ADDRESS_ALLOW_UTF8 | ADDRESS_ALLOW_POSTMASTER, &a) != ADDRESS_OK)
        return hash64_nocase(address);
    size_t n = address_key(&a, key, sizeof(key));
    return n != 0 ? hash64(key, n) : hash64_nocase(address);
}

uint32_t rcpt_by_key(const struct queue *q, uint64_t hash)
{
    uint32_t i = *lhash_chain(&q->by_key, hash);
    while (i != 0 && key_hash(q, i) != hash)
        i = rcpt_at(q, i)->bucket_next;
    return i;
}

static void key_enter(struct queue *q, struct qrcpt *r, uint32_t number)
{
    uint32_t first = rcpt_by_key(q, rcpt_hash(r));
    r->same_prev = first;
    r->same_next = 0;
    if (first == 0) {
        lhash_add(q, &q->by_key, number);
        return;
    }
    struct qrcpt *f = rcpt_at(q, first);
    r->same_next = f->same_next;
    if (r->same_next != 0)
        rcpt_at(q, r->same_next)->same_prev = number;
    f->same_next = number;
}

static void key_leave(struct queue *q, struct qrcpt *r, uint32_t number)
{
    if (r->same_prev != 0) {
        rcpt_at(q, r->same_prev)->same_next = r->same_next;
        if (r->same_next != 0)
            rcpt_at(q, r->same_next)->same_prev = r->same_prev;
        return;
    }
    uint32_t heir = r->same_next;
    lhash_remove(q, &q->by_key, number);
    if (heir != 0) {
        rcpt_at(q, heir)->same_prev = 0;
        lhash_add(q, &q->by_key, heir);
    }
}

/* ---- a second key ---- */

static uint32_t alias_find(const struct queue *q, uint32_t number)
{
    uint32_t i = *lhash_chain(&q->by_alias, mix(number));
    while (rcpt_at(q, i)->alias_of != number) {
        i = rcpt_at(q, i)->alias_next;
        ASSERT(i != 0);
    }
    return i;
}

static void alias_drop(struct queue *q, struct qrcpt *r, uint32_t number)
{
    if (!(r->flags & RCPT_ALIASED))
        return;
    uint32_t i = alias_find(q, number);
    r->flags &= (uint8_t)~RCPT_ALIASED;
    lhash_remove(q, &q->by_alias, i);
    key_leave(q, rcpt_at(q, i), i);
    slab_put(&q->rcpts, i);
}

static void alias_add(struct queue *q, struct qrcpt *r, uint32_t number, uint64_t hash)
{
    uint32_t i = slab_get(&q->rcpts);
    struct qrcpt *a = rcpt_at(q, i);
    a->hash_lo = (uint32_t)hash;
    a->hash_hi = (uint32_t)(hash >> 32);
    a->msg = r->msg;
    a->flags = RCPT_ALIAS;
    a->alias_of = number;
    key_enter(q, a, i);
    lhash_add(q, &q->by_alias, i);
    r->flags |= RCPT_ALIASED;
}

void rcpt_also_by(struct queue *q, uint32_t number, uint64_t hash)
{
    struct qrcpt *r = rcpt_at(q, number);
    if (hash == 0 && !(r->flags & RCPT_ALIASED))
        return; /* nearly always */
    if (r->flags & RCPT_ALIASED && rcpt_hash(rcpt_at(q, alias_find(q, number))) == hash)
        return;
    alias_drop(q, r, number);
    if (hash != 0 && hash != rcpt_hash(r))
        alias_add(q, r, number, hash);
}

uint32_t rcpt_add(struct queue *q, struct qmsg *m, uint32_t *last, unsigned index,
                  struct str address)
{
    uint64_t hash = rcpt_key_hash(address);
    uint32_t i = slab_get(&q->rcpts);
    struct qrcpt *r = rcpt_at(q, i);
    r->hash_lo = (uint32_t)hash;
    r->hash_hi = (uint32_t)(hash >> 32);
    r->msg = m->self;
    r->index = (uint16_t)index;
    r->state = RCPT_DUE;
    if (*last == 0)
        m->first = i;
    else
        rcpt_at(q, *last)->next = i;
    *last = i;
    m->n_left++;
    key_enter(q, r, i);
    return i;
}

void rcpt_done(struct queue *q, uint32_t number)
{
    struct qrcpt *r = rcpt_at(q, number);
    struct qmsg *m = msg_at(q, r->msg);
    if (r->state == RCPT_PARKED)
        rcpt_unpark(q, number);
    rcpt_set_dest(q, r, NULL);
    dest_refer(q, &r->refused, NULL);
    reply_unref(q, &r->reply);
    alias_drop(q, r, number);
    key_leave(q, r, number);

    uint32_t *at = &m->first;
    while (*at != number)
        at = &rcpt_at(q, *at)->next;
    *at = r->next;
    m->n_left--;
    slab_put(&q->rcpts, number);
}
