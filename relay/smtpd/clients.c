/*
 * clients.c - what all workers count together: open connections per client address and in all, and
 * the memory that clients can make us take: content on its way to the spool, large envelopes,
 * input and replies that wait.
 *
 * A fixed array of lists of entries under one mutex; an entry lives only while its client has a
 * connection, so the table is bounded by connections_max. Touched twice per connection, never per
 * message (memory counts are one relaxed atomic). Any thread.
 */
#include "relay/smtpd/smtpd_int.h"

#include <pthread.h>
#include <stdatomic.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"

#define BUCKETS 4096

struct client {
    struct client *next;
    unsigned connections;
    char ip[48];
};

struct smtpd_clients {
    pthread_mutex_t lock;
    unsigned total, most;
    _Atomic int64_t memory;
    struct client *bucket[BUCKETS];
};

struct smtpd_clients *smtpd_clients_new(unsigned most)
{
    struct smtpd_clients *c = NEW(struct smtpd_clients);
    c->most = most;
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void smtpd_clients_free(struct smtpd_clients **cp)
{
    struct smtpd_clients *c = *cp;
    if (c == NULL)
        return;
    ASSERT(c->total == 0);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
    *cp = NULL;
}

static struct client **find(struct smtpd_clients *c, const char *ip)
{
    struct client **at = &c->bucket[hash64(ip, strlen(ip)) % BUCKETS];
    while (*at != NULL && strcmp((*at)->ip, ip) != 0)
        at = &(*at)->next;
    return at;
}

enum client_verdict smtpd_clients_enter(struct smtpd_clients *c, const char *ip, unsigned limit,
                                        unsigned limit_all)
{
    enum client_verdict verdict = CLIENT_OK;
    pthread_mutex_lock(&c->lock);
    struct client **at = find(c, ip);
    if ((limit_all != 0 && c->total >= limit_all) || (c->most != 0 && c->total >= c->most)) {
        verdict = CLIENT_ALL_FULL;
    } else if (limit != 0 && *at != NULL && (*at)->connections >= limit) {
        verdict = CLIENT_TOO_MANY;
    } else {
        if (*at == NULL) {
            *at = NEW(struct client);
            str_copy(str_c(ip), (*at)->ip, sizeof((*at)->ip));
        }
        (*at)->connections++;
        c->total++;
    }
    pthread_mutex_unlock(&c->lock);
    return verdict;
}

void smtpd_clients_leave(struct smtpd_clients *c, const char *ip)
{
    pthread_mutex_lock(&c->lock);
    struct client **at = find(c, ip);
    ASSERT(*at != NULL && (*at)->connections > 0 && c->total > 0);
    c->total--;
    if (--(*at)->connections == 0) {
        struct client *gone = *at;
        *at = gone->next;
        mem_free(gone);
    }
    pthread_mutex_unlock(&c->lock);
}

void smtpd_clients_memory(struct smtpd_clients *c, int64_t delta)
{
    atomic_fetch_add_explicit(&c->memory, delta, memory_order_relaxed);
}

uint64_t smtpd_clients_memory_used(const struct smtpd_clients *c)
{
    int64_t n = atomic_load_explicit(&c->memory, memory_order_relaxed);
    return n > 0 ? (uint64_t)n : 0;
}
