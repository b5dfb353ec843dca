/*
 * control_dests.c - queue.dests: the destinations of all workers, each once with the sum of what
 * they know of it. There may be very many, when the DNS is away: so they are brought together by
 * sorting, and sent at the client's pace.
 */
#include "relay/daemon/control_queue.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "relay/control/facts.h"
#include "relay/daemon/control_round.h"

/* What workers said: of one, then of all. */
struct found {
    unsigned n, cap;
    struct queue_dest_info *dest;
    unsigned n_host, cap_host;
    struct smtpc_dest_info *host;
};
struct dests {
    struct control_req *r;
    const char *only; /* this one, or NULL */
    struct found all; /* sorted by name */
    unsigned at, said;
};

/* ---- asking: a worker's thread ---- */

static void note_dest(void *arg, const struct queue_dest_info *d)
{
    struct found *f = arg;
    if (f->n == f->cap) {
        f->cap = f->cap == 0 ? 64 : f->cap * 2;
        f->dest = mem_realloc(f->dest, f->cap * sizeof(*f->dest));
    }
    f->dest[f->n++] = *d;
}

static void note_host(void *arg, const struct smtpc_dest_info *d)
{
    struct found *f = arg;
    if (f->n_host == f->cap_host) {
        f->cap_host = f->cap_host == 0 ? 64 : f->cap_host * 2;
        f->host = mem_realloc(f->host, f->cap_host * sizeof(*f->host));
    }
    f->host[f->n_host++] = *d;
}

static void ask_dests(struct worker *w, void *data)
{
    queue_list_dests(worker_queue(w), note_dest, data);
    smtpc_list_dests(worker_smtpc(w), note_host, data);
}

/* ---- bringing together ---- */

static int by_name(const void *a, const void *b)
{
    const struct queue_dest_info *x = a, *y = b;
    return strcmp(x->dest, y->dest);
}

static int host_by_name(const void *a, const void *b)
{
    const struct smtpc_dest_info *x = a, *y = b;
    return strcmp(x->dest, y->dest);
}

static void gather(struct dests *c, const struct found *f)
{
    for (unsigned i = 0; i < f->n; i++)
        if (c->only == NULL || str_eq_nocase(str_c(c->only), str_c(f->dest[i].dest)))
            note_dest(&c->all, &f->dest[i]);
    for (unsigned i = 0; i < f->n_host; i++)
        if (f->host[i].hosts[0] != '\0')
            note_host(&c->all, &f->host[i]);
}

/* What one of the workers knows of its hosts. */
static const char *hosts_of(const struct found *f, const char *dest)
{
    struct smtpc_dest_info key;
    memcpy(key.dest, dest, sizeof(key.dest));
    const struct smtpc_dest_info *h =
        f->n_host != 0 ? bsearch(&key, f->host, f->n_host, sizeof(key), host_by_name) : NULL;
    return h != NULL ? h->hosts : "";
}

/* ---- answering ---- */

static void finish(struct dests *c)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "count", json_integer(c->said));
    control_reply(c->r, o);
    mem_free(c->all.dest);
    mem_free(c->all.host);
    mem_free(c);
}

static void say_some(void *arg, struct control_req *r)
{
    struct dests *c = arg;
    const struct found *f = &c->all;
    while (c->at < f->n && !control_is_gone(r)) {
        struct queue_dest_info sum = f->dest[c->at++];
        while (c->at < f->n && strcmp(sum.dest, f->dest[c->at].dest) == 0)
            fact_dest_add(&sum, &f->dest[c->at++]);
        c->said++;
        if (!control_item(r, fact_dest(&sum, hosts_of(f, sum.dest)))) {
            control_wait(r, say_some, c);
            return;
        }
    }
    finish(c);
}

static void finish_dests(struct round *round, void *ctx)
{
    struct dests *c = ctx;
    for (unsigned w = 0; w < round->d->n_worker; w++) {
        struct found *f = round->part[w].data;
        gather(c, f);
        mem_free(f->dest);
        mem_free(f->host);
    }
    if (c->all.n != 0)
        qsort(c->all.dest, c->all.n, sizeof(*c->all.dest), by_name);
    if (c->all.n_host != 0)
        qsort(c->all.host, c->all.n_host, sizeof(*c->all.host), host_by_name);
    say_some(c, c->r);
}

void control_queue_dests(void *ctx, struct control_req *r, const struct control_args *args)
{
    struct dests *c = NEW(struct dests);
    *c = (struct dests){.r = r, .only = args->filter.dest};
    round_start(ctx, sizeof(struct found), NULL, ask_dests, finish_dests, c);
}
