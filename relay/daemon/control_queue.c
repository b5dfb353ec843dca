/*
 * control_queue.c - commands over the queues of all workers.
 *
 * A round (control_round.h) asks all workers the same thing at once and joins the answers; a walk
 * (control_walk.h) goes through their messages one worker after the other.
 */
#include "relay/daemon/control_queue.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "relay/control/facts.h"
#include "relay/daemon/control_round.h"
#include "relay/daemon/control_walk.h"

#define LIST_DEFAULT  1000
#define NOT_FOUND_MAX 100
#define ACT_SLICE     256 /* a third of a millisecond of a worker */

static void put(json_t *o, const char *key, json_t *value)
{
    (void)json_object_set_new(o, key, value);
}

static void put_count(json_t *o, const char *key, uint64_t n)
{
    put(o, key, json_integer((json_int_t)n));
}

/* The spool is still being read: what is not in a queue may be yet to come. */
static void put_recovering(json_t *o, bool recovering)
{
    if (recovering)
        put(o, "recovering", json_true());
}

/* ---- status ---- */

struct status_ctx {
    struct control_req *r;
    json_t *status;
};

static void ask_status(struct worker *w, void *data)
{
    queue_status(worker_queue(w), data);
}

static void finish_status(struct round *round, void *ctx)
{
    struct status_ctx *s = ctx;
    struct queue_status sum = {0};
    for (unsigned i = 0; i < round->d->n_worker; i++)
        fact_queue_add(&sum, round->part[i].data);
    put(s->status, "queue", fact_queue(&sum));
    control_reply(s->r, s->status);
    mem_free(s);
}

void control_queue_status(struct daemon *d, struct control_req *r, json_t *status)
{
    struct status_ctx *s = NEW(struct status_ctx);
    *s = (struct status_ctx){.r = r, .status = status};
    round_start(d, sizeof(struct queue_status), NULL, ask_status, finish_status, s);
}

/* ---- queue.list ---- */

static bool list_take(struct walk *w, const struct seen *m, const struct envelope *env)
{
    if (w->limit != 0 && w->count == w->limit)
        return false;
    w->count++;
    if (!control_item(w->r, fact_message(&m->info, env, w->now_ms)))
        w->must_wait = true;
    return true;
}

static void list_finish(struct walk *w, bool complete)
{
    json_t *o = json_object();
    put_count(o, "count", w->count);
    put(o, "complete", json_boolean(complete));
    put_count(o, "unreadable", w->unreadable);
    put_recovering(o, w->recovering);
    control_reply(w->r, o);
}

void control_queue_list(void *ctx, struct control_req *r, const struct control_args *args)
{
    struct walk *w = walk_new(ctx, r, args);
    w->limit = args->has_limit ? args->limit : LIST_DEFAULT;
    w->wants_envelope = true;
    w->take = list_take;
    w->finish = list_finish;
    walk_start(w);
}

/* ---- hold, release, retry, remove ---- */

/* IDs are handed to the workers in slices, so that no worker stops for a hundred thousand of them.
 */
struct act_ctx {
    struct daemon *d;
    struct control_req *r;
    enum queue_action action;
    const char *dest; /* of the filter, or NULL; a removal is of the recipients that go there */
    bool reopen;      /* a retry by "all" or destination reopens this one, or all; not done yet */
    uint64_t *id;
    size_t n, from; /* the slice in hand begins at `from` */
    uint64_t done, left, unreadable;
    bool recovering; /* when it began */
    bool by_name;    /* few, given one by one: each is logged */
    json_t *missing;
};

struct act_part {
    const struct act_ctx *c;
    uint8_t acted[ACT_SLICE]; /* enum queue_acted */
};

static const char *const action_name[] = {
    [QUEUE_HOLD] = "hold",     [QUEUE_RELEASE] = "release",
    [QUEUE_RETRY] = "retry",   [QUEUE_RETRY_FIRST] = "retry",
    [QUEUE_REMOVE] = "remove", [QUEUE_REMOVE_WITH_DSN] = "remove-with-dsn",
};

static size_t slice_end(const struct act_ctx *c)
{
    return c->n - c->from > ACT_SLICE ? c->from + ACT_SLICE : c->n;
}

static enum queue_acted act_one(const struct act_ctx *c, struct queue *q, uint64_t id)
{
    if (c->dest != NULL && (c->action == QUEUE_REMOVE || c->action == QUEUE_REMOVE_WITH_DSN))
        return queue_remove_at(q, id, c->dest, c->action == QUEUE_REMOVE_WITH_DSN)
                   ? QUEUE_ACTED
                   : QUEUE_NOT_THERE;
    return queue_act(q, id, c->action);
}

static void ask_act(struct worker *w, void *data)
{
    struct act_part *p = data;
    size_t end = slice_end(p->c);
    if (p->c->reopen)
        queue_retry_dest(worker_queue(w), p->c->dest);
    for (size_t i = p->c->from; i < end; i++)
        p->acted[i - p->c->from] = (uint8_t)act_one(p->c, worker_queue(w), p->c->id[i]);
}

static void act_next(struct act_ctx *c);

/* What a filter found and is gone by now was delivered meanwhile: nobody asked for it by name. */
static void act_note(struct act_ctx *c, uint64_t id, unsigned acted)
{
    char text[14];
    spool_id_text(id, text);
    c->done += acted == QUEUE_ACTED;
    c->left += acted == QUEUE_LEFT;
    if (acted == QUEUE_ACTED && c->by_name)
        LOG(INFO, text, "admin", LC("action", action_name[c->action]), LC("by", control_who(c->r)));
    else if (acted == QUEUE_NOT_THERE && c->by_name && json_array_size(c->missing) < NOT_FOUND_MAX)
        (void)json_array_append_new(c->missing, json_string(text));
}

static void finish_act(struct round *round, void *ctx)
{
    struct act_ctx *c = ctx;
    size_t end = slice_end(c);
    for (size_t i = c->from; i < end; i++) {
        unsigned acted = QUEUE_NOT_THERE; /* but with the one worker that has it */
        for (unsigned w = 0; w < round->d->n_worker; w++)
            acted |= ((struct act_part *)round->part[w].data)->acted[i - c->from];
        act_note(c, c->id[i], acted);
    }
    c->from = end;
    c->reopen = false;
    act_next(c);
}

static void init_act(void *data, void *ctx)
{
    ((struct act_part *)data)->c = ctx;
}

static enum queue_action action_of(struct control_req *r, const struct control_args *a)
{
    switch (control_command_of(r)) {
    case CONTROL_queue_hold:
        return QUEUE_HOLD;
    case CONTROL_queue_release:
        return QUEUE_RELEASE;
    case CONTROL_queue_remove:
        return a->dsn ? QUEUE_REMOVE_WITH_DSN : QUEUE_REMOVE;
    default:
        return a->n_id != 0 ? QUEUE_RETRY_FIRST : QUEUE_RETRY;
    }
}

static void act_next(struct act_ctx *c)
{
    /* Without a main loop there are no workers to ask any more: the daemon stops. */
    if ((c->from < c->n || c->reopen) && !c->d->stopping) {
        round_start(c->d, sizeof(struct act_part), init_act, ask_act, finish_act, c);
        return;
    }
    if (!c->by_name)
        LOG(INFO, NULL, "admin", LC("action", action_name[c->action]), LU("messages", c->done),
            LC("by", control_who(c->r)));
    json_t *o = json_object();
    put_count(o, "matched", c->n);
    put_count(o, "done", c->done);
    put_count(o, "left", c->left);
    put_count(o, "unreadable", c->unreadable);
    put(o, "not_found", c->missing);
    put_recovering(o, c->recovering);
    control_reply(c->r, o);
    mem_free(c->id);
    mem_free(c);
}

static void act_on(struct daemon *d, struct control_req *r, const struct control_args *args,
                   const uint64_t *id, size_t n, bool recovering, uint64_t unreadable)
{
    struct act_ctx *c = NEW(struct act_ctx);
    *c = (struct act_ctx){.d = d,
                          .r = r,
                          .action = action_of(r, args),
                          .dest = args->filter.dest,
                          .n = n,
                          .recovering = recovering,
                          .unreadable = unreadable,
                          .by_name = args->n_id != 0,
                          .missing = json_array()};
    c->reopen = c->action == QUEUE_RETRY && (args->all || c->dest != NULL);
    c->id = mem_array(n + 1, sizeof(*c->id));
    for (size_t i = 0; i < n; i++) /* of those that are to be tried first the first one last */
        c->id[i] = c->action == QUEUE_RETRY_FIRST ? id[n - 1 - i] : id[i];
    act_next(c);
}

static bool collect_take(struct walk *w, const struct seen *m, const struct envelope *env)
{
    (void)env;
    if (w->n_id == w->cap_id) {
        w->cap_id = w->cap_id == 0 ? 1024 : w->cap_id * 2;
        w->id = mem_realloc(w->id, w->cap_id * sizeof(*w->id));
    }
    w->id[w->n_id++] = m->info.id;
    return true;
}

static void collect_finish(struct walk *w, bool complete)
{
    if (complete)
        act_on(w->d, w->r, w->args, w->id, w->n_id, w->recovering, w->unreadable);
    else
        control_reply(w->r, NULL); /* nobody listens any more: nothing is done */
}

void control_queue_act(void *ctx, struct control_req *r, const struct control_args *args)
{
    struct daemon *d = ctx;
    bool by_filter = args->all || !control_filter_is_empty(&args->filter);
    if (args->n_id != 0 && by_filter) {
        control_error(r, CONTROL_ERR_ARGUMENT, "give queue IDs, or a filter, not both");
    } else if (args->n_id != 0) {
        act_on(d, r, args, args->id, args->n_id, recovery_is_running(d->recovery), 0);
    } else if (by_filter) {
        struct walk *w = walk_new(d, r, args);
        w->take = collect_take;
        w->finish = collect_finish;
        walk_start(w);
    } else {
        control_error(r, CONTROL_ERR_ARGUMENT, "give queue IDs, a filter, or \"all\"");
    }
}

/* ---- queue.show ---- */

struct show_ctx {
    struct control_req *r;
    uint64_t id;
    bool recovering; /* when it was asked */
};
struct show_part {
    uint64_t id;
    bool found;
    struct seen seen;
    unsigned n;
    struct queue_rcpt_info *rcpt;
};

static void init_show(void *data, void *ctx)
{
    ((struct show_part *)data)->id = ((struct show_ctx *)ctx)->id;
}

static void ask_show(struct worker *w, void *data)
{
    struct show_part *p = data;
    struct queue_msg_info *m = &p->seen.info;
    p->found = queue_info(worker_queue(w), p->id, m);
    if (!p->found)
        return;
    str_copy(str_c(m->last_reply != NULL ? m->last_reply : ""), p->seen.last_reply,
             sizeof(p->seen.last_reply));
    m->last_reply = p->seen.last_reply;
    p->rcpt = mem_array(m->n_rcpt_left + 1, sizeof(*p->rcpt));
    p->n = queue_rcpts(worker_queue(w), p->id, p->rcpt, m->n_rcpt_left);
}

/* NULL: *e says why. */
static json_t *show(struct daemon *d, const struct show_part *p, struct err *e)
{
    struct envelope env;
    struct arena a;
    struct spool_reader *r = spool_reader_open(d->spool, p->id, e);
    json_t *o = NULL;
    if (r == NULL)
        return NULL;
    arena_init(&a, 2048, 0);
    if (envelope_decode(spool_reader_envelope(r), &a, &env, e)) {
        o = fact_message(&p->seen.info, &env, clock_wall_ms());
        fact_message_rcpts(o, &env, p->rcpt, p->n);
    }
    arena_free(&a);
    spool_reader_close(&r);
    return o;
}

void control_not_read(struct control_req *r, uint64_t id, bool recovering, const struct err *e)
{
    char text[14];
    spool_id_text(id, text);
    if (e->class != ERR_INPUT)
        control_error(r, CONTROL_ERR_FAILED, "message %s cannot be read: %s", text, e->text);
    else if (recovering)
        control_error(r, CONTROL_ERR_UNAVAILABLE,
                      "message %s was not found so far: the spool is still being read", text);
    else
        control_error(r, CONTROL_ERR_NOT_FOUND, "there is no message %s in the queue", text);
}

static void finish_show(struct round *round, void *ctx)
{
    struct show_ctx *c = ctx;
    struct err e = {.class = ERR_INPUT};
    json_t *o = NULL;
    for (unsigned i = 0; i < round->d->n_worker; i++) {
        struct show_part *p = round->part[i].data;
        if (p->found && o == NULL)
            o = show(round->d, p, &e);
        mem_free(p->rcpt);
    }
    if (o != NULL)
        control_reply(c->r, o);
    else
        control_not_read(c->r, c->id, c->recovering, &e);
    mem_free(c);
}

void control_queue_show(void *ctx, struct control_req *r, const struct control_args *args)
{
    struct daemon *d = ctx;
    struct show_ctx *c = NEW(struct show_ctx);
    *c = (struct show_ctx){
        .r = r, .id = args->id[0], .recovering = recovery_is_running(d->recovery)};
    round_start(d, sizeof(struct show_part), init_show, ask_show, finish_show, c);
}
