/*
 * control_doctor.c - see control_doctor.h.
 *
 * The pass is cut in slices: a job on the background thread looks at entries for a quarter of a
 * second or until it has a page of findings, the main thread sends these and, when the client has
 * taken them, gives the next slice. So other jobs get their turn, and a client that does not read
 * stops the pass and fills nobody's memory. After the limit findings are only counted. The view of
 * the beginning is held to the end: what changes meanwhile is not seen.
 */
#include "relay/daemon/control_doctor.h"

#include "base/clock.h"
#include "base/mem.h"
#include "relay/control/facts.h"
#include "relay/daemon/daemon.h"
#include "relay/daemon/job.h"
#include "relay/route/route.h"

#define SLICE_MS     250
#define SLICE_PAGE   200  /* findings */
#define STEP_ENTRIES 1000 /* between two looks at the clock */

struct examination {
    struct daemon *d;
    struct control_req *r;
    struct dir_view *view;
    struct doctor *doctor;
    struct dir_source_status *status;
    int64_t began_ms;
    uint64_t limit, shown, found, to_mend, by_check[DOCTOR_CHECKS];
    json_t *page; /* made on the background thread, given to the main thread with the slice */
    bool more;
};

/* ---- on the background thread ---- */

static bool take_finding(void *arg, const struct doctor_finding *f)
{
    struct examination *x = arg;
    x->found++;
    x->by_check[f->check]++;
    x->to_mend += doctor_check_info[f->check].severity != DOCTOR_NOTE;
    if (x->limit != 0 && x->shown == x->limit)
        return true;
    x->shown++;
    (void)json_array_append_new(x->page, fact_finding(f));
    return json_array_size(x->page) < SLICE_PAGE;
}

static void run_slice(struct jobs *j, void *arg)
{
    struct examination *x = arg;
    int64_t until = clock_mono_ms() + SLICE_MS;
    do
        x->more = doctor_step(x->doctor, STEP_ENTRIES, take_finding, x);
    while (x->more && json_array_size(x->page) < SLICE_PAGE && clock_mono_ms() < until &&
           !jobs_must_stop(j));
}

/* What the hosting forest would be told, as mail flow decides it. */
static bool is_readdressed(const struct dir_view *v, struct str key, int64_t now_ms)
{
    struct arena a;
    struct decision decision;
    struct route_query q = {.conf = dir_view_conf(v),
                            .view = v,
                            .now_ms = now_ms,
                            .recipient = key,
                            .origin = MAIL_FROM_LOCAL};
    arena_init(&a, 4096, 0);
    route_decide(&q, &a, NULL, &decision);
    bool is = decision.kind == DECISION_DELIVER && !str_eq_nocase(decision.address, key);
    arena_free(&a);
    return is;
}

/* ---- on the main thread ---- */

static void put(json_t *o, const char *key, json_t *value)
{
    (void)json_object_set_new(o, key, value);
}

static void put_count(json_t *o, const char *key, uint64_t n)
{
    put(o, key, json_integer((json_int_t)n));
}

static void examination_free(struct examination *x)
{
    doctor_free(&x->doctor);
    dir_view_unref(&x->view);
    json_decref(x->page);
    mem_free(x->status);
    mem_free(x);
}

static void finish(struct examination *x)
{
    json_t *o = json_object(), *checks = json_object();
    for (int i = 0; i < DOCTOR_CHECKS; i++)
        if (x->by_check[i] != 0)
            put_count(checks, doctor_check_info[i].name, x->by_check[i]);
    put_count(o, "count", x->shown);
    put(o, "complete", json_boolean(x->shown == x->found));
    put_count(o, "found", x->found);
    put_count(o, "to_mend", x->to_mend);
    put(o, "checks", checks);
    put_count(o, "entries", doctor_entries(x->doctor));
    put_count(o, "generation", dir_view_generation(x->view));
    put_count(o, "ms", (uint64_t)(clock_mono_ms() - x->began_ms));
    control_reply(x->r, o);
}

static void slice_done(void *arg, bool ran);

static void next_slice(struct examination *x)
{
    struct err e;
    if (!job_run(x->d->jobs, run_slice, slice_done, x, &e)) {
        control_error(x->r, CONTROL_ERR_UNAVAILABLE, "%s", e.text);
        examination_free(x);
    }
}

static void client_ready(void *arg, struct control_req *r)
{
    struct examination *x = arg;
    if (x->d->stopping || control_is_gone(r)) {
        control_error(r, CONTROL_ERR_UNAVAILABLE, "the relay is stopping");
        examination_free(x);
        return;
    }
    next_slice(x);
}

static void slice_done(void *arg, bool ran)
{
    struct examination *x = arg;
    bool has_room = true;
    size_t i;
    json_t *finding;
    if (!ran || (x->more && (x->d->stopping || control_is_gone(x->r)))) {
        control_error(x->r, CONTROL_ERR_UNAVAILABLE, "the relay is stopping");
        examination_free(x);
        return;
    }
    json_array_foreach(x->page, i, finding)
    {
        has_room = control_item(x->r, json_incref(finding));
    }
    (void)json_array_clear(x->page);
    if (!x->more) {
        finish(x);
        examination_free(x);
    } else if (has_room) {
        next_slice(x);
    } else {
        control_wait(x->r, client_ready, x);
    }
}

static bool has_source(const struct conf *c, const char *name)
{
    bool has = name[0] == '\0';
    for (unsigned i = 0; i < c->n_source; i++)
        has = has || str_eq_nocase(str_c(c->source[i].name), str_c(name));
    return has;
}

static bool has_domain(const struct conf *c, const char *name)
{
    char lower[256];
    if (strlen(name) >= sizeof(lower))
        return false;
    str_lower(str_c(name), lower);
    int i = conf_find_domain(c, str_n(lower, strlen(name)));
    return name[0] == '\0' || (i != CONF_NONE && c->domain[i].type == CONF_DOMAIN_SHARED);
}

void control_doctor(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct daemon *d = ctx;
    struct dir_view *view = directory_view(d->directory);
    const struct conf *c = dir_view_conf(view);
    if (!has_source(c, a->source) || !has_domain(c, a->domain)) {
        if (!has_source(c, a->source))
            control_error(r, CONTROL_ERR_ARGUMENT, "there is no source \"%s\" in the configuration",
                          a->source);
        else
            control_error(r, CONTROL_ERR_ARGUMENT,
                          "\"%s\" is no shared domain of the configuration", a->domain);
        dir_view_unref(&view);
        return;
    }
    struct examination *x = NEW(struct examination);
    *x = (struct examination){.d = d,
                              .r = r,
                              .view = view,
                              .status = mem_array(CONF_SOURCES_MAX, sizeof(*x->status)),
                              .limit = a->limit,
                              .began_ms = clock_mono_ms(),
                              .page = json_array()};
    unsigned n = directory_status(d->directory, x->status, CONF_SOURCES_MAX);
    struct doctor_options o = {.checks = a->checks,
                               .source = a->source,
                               .domain = a->domain,
                               .now_ms = clock_mono_ms(),
                               .wall_ms = clock_wall_ms(),
                               .n_status = n,
                               .status = x->status,
                               .is_readdressed = is_readdressed};
    x->doctor = doctor_new(view, &o);
    next_slice(x);
}
