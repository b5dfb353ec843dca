/*
 * control_directory.c - the control commands about mass changes: directory.pending shows what is
 * held, at the client's pace; directory.accept agrees and answers when it is applied (or says that
 * it will be: the source's thread may be waiting for its server). Main thread.
 */
#include "relay/daemon/control_directory.h"

#include <time.h>

#include "base/clock.h"
#include "base/mem.h"
#include "directory/hold.h"
#include "relay/control/facts.h"

#define SHOWN       20   /* addresses, where the request does not say how many */
#define ACCEPT_LOOK 10   /* ms between two looks whether it is done */
#define ACCEPT_WAIT 3000 /* then the answer is that it will be */

static enum control_error error_of(const struct err *e)
{
    return e->class == ERR_INPUT  ? CONTROL_ERR_NOT_FOUND
           : e->class == ERR_BUSY ? CONTROL_ERR_UNAVAILABLE
                                  : CONTROL_ERR_FAILED;
}

/* ---- pending ---- */

struct pending {
    struct dir_pending *p;
    const char *source;
    uint64_t limit, shown;
};

static void pending_end(struct pending *x, struct control_req *r, bool complete)
{
    json_t *o = fact_step(dir_pending_counts(x->p));
    (void)json_object_set_new(o, "source", json_string(x->source));
    (void)json_object_set_new(o, "since", fact_time(dir_pending_since_ms(x->p)));
    (void)json_object_set_new(o, "count", json_integer((json_int_t)x->shown));
    (void)json_object_set_new(o, "complete", json_boolean(complete));
    control_reply(r, o);
    dir_pending_free(&x->p);
    mem_free(x);
}

static void pending_step(void *arg, struct control_req *r)
{
    struct pending *x = arg;
    const struct dir_step *n = dir_pending_counts(x->p);
    uint64_t all = n->vanish + n->move + n->drop;
    struct dir_pending_item item;
    bool end = false;
    while (!end && x->shown < all && !control_is_gone(r)) {
        if (x->limit != 0 && x->shown == x->limit)
            break;
        bool more = dir_pending_next(x->p, &item, &end);
        if (more)
            x->shown++;
        if (more ? !control_item(r, fact_pending(&item)) : !end) {
            control_wait(r, pending_step, x);
            return;
        }
    }
    pending_end(x, r, x->shown == all);
}

void control_directory_pending(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct daemon *d = ctx;
    struct err e;
    struct dir_pending *p = directory_pending(d->directory, str_c(a->source), &e);
    if (p == NULL) {
        control_error(r, error_of(&e), "%s", e.text);
        return;
    }
    struct pending *x = NEW(struct pending);
    *x = (struct pending){.p = p, .source = a->source, .limit = a->has_limit ? a->limit : SHOWN};
    pending_step(x, r);
}

/* ---- accept ---- */

struct accept {
    struct daemon *d;
    struct control_req *r;
    char *source;
    struct hold *hold;
};

/* On the background thread. */
static void accept_wait(struct jobs *j, void *arg)
{
    const struct accept *x = arg;
    const struct timespec nap = {.tv_nsec = ACCEPT_LOOK * 1000000};
    int64_t end = clock_mono_ms() + ACCEPT_WAIT;
    while (!hold_is_applied(x->hold) && clock_mono_ms() < end && !jobs_must_stop(j))
        nanosleep(&nap, NULL);
}

static void accept_done(void *arg, bool ran)
{
    struct accept *x = arg;
    json_t *o = fact_step(&x->hold->counts);
    (void)ran;
    (void)json_object_set_new(o, "source", json_string(x->source));
    (void)json_object_set_new(o, "applied", json_boolean(hold_is_applied(x->hold)));
    (void)json_object_set_new(o, "generation",
                              json_integer((json_int_t)directory_generation(x->d->directory)));
    control_reply(x->r, o);
    hold_unref(&x->hold);
    mem_free(x->source);
    mem_free(x);
}

static void accept_next(struct daemon *d, struct control_req *r, const char *source)
{
    struct err e;
    if (!directory_accept_next(d->directory, str_c(source), str_c(control_who(r)), &e)) {
        control_error(r, error_of(&e), "%s", e.text);
        return;
    }
    json_t *o = json_object();
    (void)json_object_set_new(o, "source", json_string(source));
    (void)json_object_set_new(o, "next", json_true());
    control_reply(r, o);
}

void control_directory_accept(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct daemon *d = ctx;
    struct err e;
    if (a->next) {
        accept_next(d, r, a->source);
        return;
    }
    struct hold *h = directory_accept(d->directory, str_c(a->source), str_c(control_who(r)), &e);
    if (h == NULL) {
        control_error(r, error_of(&e), "%s", e.text);
        return;
    }
    struct accept *x = NEW(struct accept);
    *x = (struct accept){.d = d, .r = r, .source = str_dup(str_c(a->source)), .hold = h};
    if (!job_run(d->jobs, accept_wait, accept_done, x, &e))
        accept_done(x, false); /* it is applied all the same */
}
