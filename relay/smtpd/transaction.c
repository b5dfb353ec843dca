/*
 * transaction.c - the life of a mail transaction: from MAIL until its one terminal reply.
 *
 * Kept in a small pool per worker. While the commit thread has the append, the transaction belongs
 * to it: the session may go away (session = NULL), the transaction may not.
 */
#include "relay/smtpd/smtpd_int.h"

#include "base/assert.h"
#include "base/mem.h"

#define POOL_MAX            256
#define ARENA_BLOCK         2048
#define ENVELOPE_BYTES_MAX  (16u << 20)
#define ENVELOPE_BYTES_KEPT 65536

struct transaction *smtpd_transaction_new(struct smtpd_session *s)
{
    struct smtpd *d = s->d;
    struct transaction *t = d->free_txn;
    ASSERT(s->txn == NULL);
    if (t != NULL) {
        d->free_txn = t->next_free;
        d->n_free_txn--;
    } else {
        t = NEW(struct transaction);
        arena_init(&t->arena, ARENA_BLOCK, 0);
        buf_init(&t->envelope, ENVELOPE_BYTES_MAX);
    }
    t->owner = d;
    t->session = s;
    t->next_free = NULL;
    t->append.reply_to = NULL;
    t->env = (struct envelope){0};
    t->rcpt_cap = 0;
    t->counted = 0;
    t->id = 0;
    t->id_text[0] = '\0';
    t->iov_more = NULL;
    t->too_large = t->failed = false;
    t->began_ms = loop_now_ms(d->loop);
    content_init(&t->content, d);
    s->txn = t;
    return t;
}

/* ---- memory ---- */

static size_t envelope_bytes(const struct transaction *t)
{
    return t->arena.used + t->envelope.n;
}

/* An ordinary envelope is smaller than a step and never counted: no atomic operation. */
static bool step_is_due(const struct transaction *t)
{
    return envelope_bytes(t) >= t->counted + SMTPD_COUNT_STEP;
}

void smtpd_transaction_count(struct transaction *t)
{
    if (!step_is_due(t))
        return;
    size_t n = envelope_bytes(t);
    smtpd_clients_memory(t->owner->clients, (int64_t)(n - t->counted));
    t->counted = n;
}

bool smtpd_transaction_may_grow(struct transaction *t)
{
    if (!step_is_due(t))
        return true;
    if (smtpd_clients_memory_used(t->owner->clients) > t->session->conf->smtpd.memory_max)
        return false;
    smtpd_transaction_count(t);
    return true;
}

static void forget_memory(struct transaction *t)
{
    if (t->counted != 0)
        smtpd_clients_memory(t->owner->clients, -(int64_t)t->counted);
    t->counted = 0;
    arena_reset(&t->arena);
    buf_clear(&t->envelope);
    if (t->envelope.cap > ENVELOPE_BYTES_KEPT)
        buf_free(&t->envelope);
}

/* ---- the end ---- */

void smtpd_transaction_end(struct transaction *t)
{
    struct smtpd *d = t->owner;
    if (t->session != NULL)
        t->session->txn = NULL;
    t->session = NULL;
    content_free(&t->content);
    mem_free(t->iov_more);
    t->iov_more = NULL;
    forget_memory(t);
    if (d->n_free_txn < POOL_MAX) {
        t->next_free = d->free_txn;
        d->free_txn = t;
        d->n_free_txn++;
        return;
    }
    arena_free(&t->arena);
    buf_free(&t->envelope);
    mem_free(t);
}

void smtpd_transactions_free(struct smtpd *d)
{
    for (struct transaction *t = d->free_txn, *next; t != NULL; t = next) {
        next = t->next_free;
        arena_free(&t->arena);
        buf_free(&t->envelope);
        mem_free(t);
    }
    d->free_txn = NULL;
    d->n_free_txn = 0;
}
