/*
 * spool_help.c - see the header. Blocking: submits and waits on a channel of its own.
 */
#include "tests/unit/spool_help.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "relay/spool/spool_int.h"

void rig_init(struct rig *r)
{
    memset(r, 0, sizeof(*r));
    const char *tmp = getenv("TMPDIR");
    snprintf(r->dir, sizeof(r->dir), "%.200s/spool-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
    ASSERT(mkdtemp(r->dir) != NULL);
    r->conf = (struct spool_conf){.dir = r->dir,
                                  .segment_bytes = 256 * 1024,
                                  .segments_ready = 2,
                                  .large_bytes = 32 * 1024,
                                  .reserve_bytes = 1,
                                  .compact_below = 0.25};
    r->ops = &file_real;
    r->reply = chan_new();
}

void rig_free(struct rig *r)
{
    char cmd[300];
    rig_close(r);
    chan_free(&r->reply);
    snprintf(cmd, sizeof(cmd), "rm -rf '%s'", r->dir);
    ASSERT(system(cmd) == 0);
}

void rig_open(struct rig *r)
{
    struct err e = {0};
    r->s = spool_open(&r->conf, r->ops, &e);
    if (r->s == NULL)
        fprintf(stderr, "%s\n", e.text);
    ASSERT(r->s != NULL);
}

void rig_close(struct rig *r)
{
    if (r->s != NULL)
        spool_close(&r->s);
}

static void saw(void *arg, const struct spool_recovered *m)
{
    struct seen_list *l = arg;
    if ((l->n & (l->n - 1)) == 0) {
        size_t cap = l->n == 0 ? 1 : l->n * 2;
        l->v = mem_realloc(l->v, cap * sizeof(*l->v));
    }
    struct seen *x = &l->v[l->n++];
    memset(x, 0, sizeof(*x));
    x->id = m->id;
    x->size = m->content_size;
    x->held = m->held;
    x->delayed = m->delay_notified;
    x->bit8 = m->content_8bit;
    char want[64];
    ASSERT(m->envelope.n >= 4 && m->envelope.n <= 64);
    memcpy(&x->n_rcpt, m->envelope.p, 4);
    ASSERT(envelope_fill(m->id, x->n_rcpt, want) == m->envelope.n);
    ASSERT(memcmp(want, m->envelope.p, m->envelope.n) == 0);
    ASSERT(m->n_rcpt == x->n_rcpt);
    size_t bytes = (x->n_rcpt + 7) / 8;
    memcpy(x->done, m->rcpt_done, bytes < sizeof(x->done) ? bytes : sizeof(x->done));
}

void rig_recover(struct rig *r, struct seen_list *l)
{
    struct err e;
    memset(l, 0, sizeof(*l));
    ASSERT(spool_recover(r->s, saw, l, &l->stats, &e));
}

void rig_reopen(struct rig *r, struct seen_list *l)
{
    rig_close(r);
    rig_open(r);
    rig_recover(r, l);
}

void seen_free(struct seen_list *l)
{
    mem_free(l->v);
    memset(l, 0, sizeof(*l));
}

const struct seen *seen_find(const struct seen_list *l, uint64_t id)
{
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i].id == id)
            return &l->v[i];
    return NULL;
}

void content_fill(uint64_t id, uint64_t off, void *p, size_t n)
{
    unsigned char *c = p;
    for (size_t i = 0; i < n; i++, off++)
        c[i] = (unsigned char)((id * 131 + off * 7 + (off >> 8) * 13) >> 1);
}

size_t envelope_fill(uint64_t id, uint32_t n_rcpt, char *p)
{
    size_t n = 20 + (size_t)(id % 40);
    memcpy(p, &n_rcpt, 4);
    for (size_t i = 4; i < n; i++)
        p[i] = (char)(id * 31 + i);
    return n;
}

static void submitted(struct chan_node *node)
{
    CONTAINER_OF(node, struct submit, a.node)->done = true;
}

void submit_send(struct submit *m, struct rig *r, uint64_t id, uint32_t n_rcpt, size_t size,
                 const struct spool_mark *marks, unsigned n_marks)
{
    memset(m, 0, sizeof(*m));
    m->r = r;
    m->content = mem_alloc(size + 1);
    content_fill(id, 0, m->content, size);
    m->iov[0] = (struct iovec){m->content, size / 3};
    m->iov[1] = (struct iovec){m->content + size / 3, size - size / 3};
    m->a = (struct spool_append){.node.run = submitted,
                                 .reply_to = r->reply,
                                 .id = id,
                                 .envelope = {m->envelope, envelope_fill(id, n_rcpt, m->envelope)},
                                 .content = m->iov,
                                 .n_content = 2,
                                 .content_size = size,
                                 .content_8bit = (id & 1) != 0,
                                 .n_rcpt = n_rcpt,
                                 .marks = marks,
                                 .n_marks = n_marks};
    spool_submit(r->s, &m->a);
}

void submit_wait(struct submit *m)
{
    while (!m->done) {
        chan_wait(m->r->reply, -1);
        chan_drain(m->r->reply);
    }
    mem_free(m->content);
    m->content = NULL;
}

enum spool_result append(struct rig *r, uint64_t id, uint32_t n_rcpt, size_t size)
{
    struct submit m;
    submit_send(&m, r, id, n_rcpt, size, NULL, 0);
    submit_wait(&m);
    return m.a.result;
}

static void be_ready(void *arg)
{
    *(volatile bool *)arg = true;
}

enum spool_result append_large(struct rig *r, uint64_t id, uint32_t n_rcpt, size_t size)
{
    volatile bool ready = false;
    char piece[8192];
    struct submit m = {.r = r};
    struct spool_large *l =
        spool_large_new(r->s, id, r->reply, be_ready, (void *)(uintptr_t)&ready);
    for (size_t off = 0; off < size;) {
        size_t n = size - off < sizeof(piece) ? size - off : sizeof(piece);
        content_fill(id, off, piece, n);
        off += n;
        if (spool_large_write(l, piece, n))
            continue;
        ready = false;
        while (!ready) {
            chan_wait(r->reply, -1);
            chan_drain(r->reply);
        }
    }
    m.a = (struct spool_append){.node.run = submitted,
                                .reply_to = r->reply,
                                .id = id,
                                .envelope = {m.envelope, envelope_fill(id, n_rcpt, m.envelope)},
                                .content_size = size,
                                .content_8bit = (id & 1) != 0,
                                .n_rcpt = n_rcpt,
                                .large = l};
    spool_submit(r->s, &m.a);
    submit_wait(&m);
    return m.a.result;
}

void mark(struct rig *r, uint64_t id, uint32_t rcpt, enum spool_mark_kind kind)
{
    struct spool_mark m = {.id = id, .rcpt = rcpt, .kind = kind};
    spool_mark(r->s, &m, 1);
}

void settle(struct rig *r)
{
    /* A message that ends at once: its answer comes after all that was sent before. */
    uint64_t id = spool_next_id(r->s);
    append(r, id, 1, 0);
    mark(r, id, SPOOL_RCPT_ALL, SPOOL_MARK_REMOVED);
    append(r, id = spool_next_id(r->s), 1, 0);
    mark(r, id, SPOOL_RCPT_ALL, SPOOL_MARK_REMOVED);
}

int read_back(struct rig *r, uint64_t id, uint64_t size, uint32_t n_rcpt)
{
    struct err e = {0};
    char want[8192], have[8192], envelope[64];
    struct spool_reader *rd = spool_reader_open(r->s, id, &e);
    if (rd == NULL)
        return e.class == ERR_CORRUPT ? 2 : e.class == ERR_INPUT ? 1 : 3;
    struct str env = spool_reader_envelope(rd);
    bool ok = spool_reader_size(rd) == size && spool_reader_8bit(rd) == ((id & 1) != 0) &&
              env.n == envelope_fill(id, n_rcpt, envelope) && memcmp(env.p, envelope, env.n) == 0;
    uint64_t off = 0;
    while (ok && off < size) {
        size_t got = 0;
        ok = spool_reader_read(rd, off, have, sizeof(have), &got, &e) && got > 0;
        content_fill(id, off, want, got);
        ok = ok && memcmp(want, have, got) == 0;
        off += got;
    }
    spool_reader_close(&rd);
    return ok ? 0 : e.class == ERR_SYSTEM ? 3 : 2;
}

bool wait_for_free(struct rig *r, uint64_t n)
{
    struct spool_status st;
    int64_t until = clock_mono_ms() + 5000;
    do {
        spool_status(r->s, &st);
        if (st.segments_free >= n)
            return true;
        chan_wait(r->reply, 2);
    } while (clock_mono_ms() < until);
    return false;
}

size_t entries_in(const struct rig *r, const char *sub)
{
    char path[400];
    size_t n = 0;
    snprintf(path, sizeof(path), "%s/%s", r->dir, sub);
    DIR *d = opendir(path);
    ASSERT(d != NULL);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

uint64_t place_of(struct rig *r, uint64_t id, char name[32])
{
    spool_lock(r->s);
    const struct entry *e = table_find(&r->s->table, id);
    ASSERT(e != NULL);
    uint64_t off = (uint64_t)e->unit * DISK_ALIGN;
    snprintf(name, 32, "segment/%08u", (unsigned)e->slot);
    spool_unlock(r->s);
    return off;
}

uint64_t seq_of(struct rig *r, uint64_t id)
{
    spool_lock(r->s);
    const struct entry *e = table_find(&r->s->table, id);
    ASSERT(e != NULL);
    uint64_t seq = r->s->segment[e->slot]->seq;
    spool_unlock(r->s);
    return seq;
}

bool wait_until_free(struct rig *r, uint64_t seq)
{
    int64_t until = clock_mono_ms() + 5000;
    bool used = true;
    while (used && clock_mono_ms() < until) {
        chan_wait(r->reply, 2);
        spool_lock(r->s);
        used = segment_by_seq(r->s, seq) != NULL;
        spool_unlock(r->s);
    }
    return !used;
}

int rig_slow_disk(void **state)
{
    (void)state;
    atomic_store(&flight_slow_us, 0);
    return 0;
}
