/*
 * control_round.c - see control_round.h. The last answer ends the round.
 */
#include "relay/daemon/control_round.h"

#include "base/mem.h"

static void part_ask(struct worker *w, void *arg)
{
    struct part *p = arg;
    p->round->ask(w, p->data);
}

static void part_done(void *arg)
{
    struct round *round = ((struct part *)arg)->round;
    if (--round->left != 0)
        return;
    round->finish(round, round->ctx);
    for (unsigned i = 0; i < round->d->n_worker; i++)
        mem_free(round->part[i].data);
    mem_free(round->part);
    mem_free(round);
}

void round_start(struct daemon *d, size_t size, void (*init)(void *data, void *ctx),
                 void (*ask)(struct worker *, void *), void (*finish)(struct round *, void *),
                 void *ctx)
{
    struct round *round = NEW(struct round);
    *round = (struct round){.d = d, .left = d->n_worker, .ask = ask, .finish = finish, .ctx = ctx};
    round->part = mem_array(d->n_worker, sizeof(*round->part));
    for (unsigned i = 0; i < d->n_worker; i++) {
        round->part[i] = (struct part){.round = round, .worker = i, .data = mem_zalloc(size)};
        if (init != NULL)
            init(round->part[i].data, ctx);
    }
    for (unsigned i = 0; i < d->n_worker; i++)
        worker_call(d->worker[i], part_ask, &round->part[i], loop_chan(d->loop), part_done);
}
