/*
 * content.c - message content between the wire and the spool.
 *
 * Chunks from a pool of the worker, so that a message is decoded straight into the memory that the
 * commit thread writes from. Past spool.large_bytes the content goes to a file of its own through
 * the spool's large thread, and only one chunk at a time stays here: memory per session is bounded
 * however big the message.
 */
#include "relay/smtpd/smtpd_int.h"

#include "base/assert.h"
#include "base/mem.h"

#define POOL_MAX 1024 /* chunks kept for reuse per worker: 16 MB */

void content_init(struct content *c, struct smtpd *owner)
{
    *c = (struct content){.owner = owner};
}

static struct chunk *chunk_new(struct smtpd *d)
{
    struct chunk *k = d->free_chunk;
    if (k != NULL) {
        d->free_chunk = k->next;
        d->n_free_chunk--;
    } else {
        k = mem_alloc(sizeof(*k));
    }
    k->next = NULL;
    k->n = 0;
    smtpd_clients_memory(d->clients, sizeof(*k));
    return k;
}

static void chunks_free(struct content *c)
{
    struct smtpd *d = c->owner;
    for (struct chunk *k = c->first, *next; k != NULL; k = next) {
        next = k->next;
        smtpd_clients_memory(d->clients, -(int64_t)sizeof(*k));
        if (d->n_free_chunk < POOL_MAX) {
            k->next = d->free_chunk;
            d->free_chunk = k;
            d->n_free_chunk++;
        } else {
            mem_free(k);
        }
    }
    c->first = c->last = NULL;
    c->n_chunks = 0;
}

char *content_reserve(struct content *c, size_t need, size_t *room)
{
    ASSERT(need <= SMTPD_CHUNK_BYTES);
    if (c->last == NULL || SMTPD_CHUNK_BYTES - c->last->n < need) {
        struct chunk *k = chunk_new(c->owner);
        if (c->last != NULL)
            c->last->next = k;
        else
            c->first = k;
        c->last = k;
        c->n_chunks++;
    }
    *room = SMTPD_CHUNK_BYTES - c->last->n;
    return c->last->bytes + c->last->n;
}

void content_commit(struct content *c, size_t n)
{
    c->last->n += n;
    c->size += n;
}

void content_spill(struct content *c, uint64_t id, spool_large_ready_fn *ready, void *arg)
{
    ASSERT(c->large == NULL);
    c->large = spool_large_new(c->owner->spool, id, loop_chan(c->owner->loop), ready, arg);
    content_push(c);
}

void content_push(struct content *c)
{
    for (struct chunk *k = c->first; k != NULL; k = k->next)
        if (k->n != 0 && !spool_large_write(c->large, k->bytes, k->n))
            c->blocked = true;
    chunks_free(c);
}

void content_free(struct content *c)
{
    if (c->large != NULL)
        spool_large_abort(&c->large);
    c->blocked = false;
    chunks_free(c);
}

void content_pool_free(struct smtpd *d)
{
    for (struct chunk *k = d->free_chunk, *next; k != NULL; k = next) {
        next = k->next;
        mem_free(k);
    }
    d->free_chunk = NULL;
    d->n_free_chunk = 0;
}
