/*
 * reply.c - the last reply that each recipient got, kept small: equal replies are stored once and
 * counted, texts are cut, and past REPLY_BYTES_MAX only the codes are kept. So a next hop that puts
 * a different number into each of a million refusals costs no more than one that does not.
 */
#include "relay/queue/queue_int.h"

#include <stdio.h>

#include "base/hash.h"
#include "base/mem.h"

static bool reply_same(const struct qreply *p, const struct smtp_reply *r, struct str host,
                       struct str text)
{
    return p->code == r->code && strcmp(p->enhanced, r->enhanced) == 0 && p->host_n == host.n &&
           p->text_n == text.n && (host.n == 0 || memcmp(p->bytes, host.p, host.n) == 0) &&
           (text.n == 0 || memcmp(p->bytes + p->host_n, text.p, text.n) == 0);
}

/* A cut never falls into a UTF-8 sequence. */
static struct str text_cut(const char *z, size_t max)
{
    size_t n = strlen(z);
    if (n > max) {
        n = max;
        while (n > 0 && ((unsigned char)z[n] & 0xc0) == 0x80)
            n--;
    }
    return str_n(z, n);
}

static uint32_t reply_find(struct queue *q, uint64_t hash, const struct smtp_reply *r,
                           struct str host, struct str text)
{
    uint32_t i = *lhash_chain(&q->by_reply, hash);
    while (i != 0) {
        struct qreply *p = reply_at(q, i);
        if (p->hash == hash && reply_same(p, r, host, text)) {
            p->refs++;
            return i;
        }
        i = p->hash_next;
    }
    return 0;
}

static uint64_t reply_hash_of(const struct smtp_reply *r, struct str host, struct str text)
{
    uint64_t h = hash64_seed(r->enhanced, strlen(r->enhanced), (uint64_t)r->code);
    h = hash64_seed(host.p, host.n, h);
    return hash64_seed(text.p, text.n, h);
}

uint32_t reply_ref(struct queue *q, const struct smtp_reply *r, const char *host_z)
{
    struct str host = text_cut(host_z, 255), text = text_cut(r->text, REPLY_TEXT_KEPT);
    uint64_t hash = reply_hash_of(r, host, text);
    uint32_t i = reply_find(q, hash, r, host, text);
    if (i != 0)
        return i;
    if (q->reply_bytes + sizeof(struct qreply) + host.n + text.n > REPLY_BYTES_MAX) {
        host = text = STR("");
        hash = reply_hash_of(r, host, text);
        i = reply_find(q, hash, r, host, text);
        if (i != 0)
            return i;
    }
    i = slab_get(&q->replies);
    struct qreply *p = reply_at(q, i);
    p->hash = hash;
    p->self = i;
    p->refs = 1;
    p->code = r->code;
    memcpy(p->enhanced, r->enhanced, sizeof(p->enhanced));
    p->enhanced[sizeof(p->enhanced) - 1] = '\0';
    p->host_n = (uint16_t)host.n;
    p->text_n = (uint16_t)text.n;
    if (host.n + text.n > 0) {
        p->bytes = mem_alloc(host.n + text.n);
        if (host.n > 0)
            memcpy(p->bytes, host.p, host.n);
        if (text.n > 0)
            memcpy(p->bytes + host.n, text.p, text.n);
    }
    q->reply_bytes += sizeof(*p) + host.n + text.n;
    lhash_add(q, &q->by_reply, i);
    return i;
}

void reply_unref(struct queue *q, uint32_t *reply)
{
    uint32_t i = *reply;
    *reply = 0;
    if (i == 0)
        return;
    struct qreply *p = reply_at(q, i);
    if (--p->refs > 0)
        return;
    q->reply_bytes -= sizeof(*p) + p->host_n + p->text_n;
    lhash_remove(q, &q->by_reply, i);
    mem_free(p->bytes);
    slab_put(&q->replies, i);
}

void reply_get(const struct queue *q, uint32_t reply, struct smtp_reply *out, char *host,
               size_t host_cap)
{
    *out = (struct smtp_reply){0};
    host[0] = '\0';
    if (reply == 0)
        return;
    const struct qreply *p = reply_at(q, reply);
    out->code = p->code;
    memcpy(out->enhanced, p->enhanced, sizeof(out->enhanced));
    memcpy(out->text, p->bytes != NULL ? p->bytes + p->host_n : "", p->text_n);
    out->text[p->text_n] = '\0';
    (void)str_copy(str_n(p->bytes, p->host_n), host, host_cap);
}

void reply_print(const struct queue *q, uint32_t reply, char *dst, size_t cap)
{
    dst[0] = '\0';
    if (reply == 0)
        return;
    const struct qreply *p = reply_at(q, reply);
    (void)snprintf(dst, cap, "%d%s%s%s%.*s", p->code, p->enhanced[0] != '\0' ? " " : "",
                   p->enhanced, p->text_n > 0 ? " " : "", (int)p->text_n,
                   p->bytes != NULL ? p->bytes + p->host_n : "");
}

void reply_free_all(struct queue *q)
{
    for (uint32_t i = 1; i < q->replies.used; i++) {
        struct qreply *p = reply_at(q, i);
        if (p->refs > 0)
            mem_free(p->bytes);
    }
}
