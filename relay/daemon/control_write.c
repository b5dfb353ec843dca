/*
 * control_write.c - see control_write.h.
 *
 * A move goes in three steps: a job reads what the objects have now; that is journalled as a wave;
 * a job writes. So a crash at any moment leaves a wave that undo can take back: it writes only
 * where the flag still is what the wave made it. Jobs are cut in slices, so that others get their
 * turn.
 *
 * What fails for single objects is told for each of them; the others are done.
 */
#include "relay/daemon/control_write.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "directory/ldap/flag_write.h"
#include "relay/control/facts.h"
#include "relay/daemon/job.h"

#define SLICE_MS      250
#define NOTED_MAX     1000 /* failures told one by one */
#define WITHOUT_NAMED 5

struct writing {
    struct daemon *d;
    struct control_req *r;
    struct arena arena; /* keys, DNs, values */
    struct conf *conf;
    unsigned n, cap, n_without;
    unsigned n_there, n_overridden; /* addresses; a move's */
    struct flag_change *change;
    struct wave_move *move; /* of each change; previous as it is journalled */
    struct flag_writer *writer;
    bool reads, more;
    struct str why;
    uint32_t wave;
    bool undo, force;
    struct str key;      /* undo: of the one address */
    const char *without; /* undo: the first of those that no source has any more */
};

static void put(json_t *o, const char *key, json_t *value)
{
    (void)json_object_set_new(o, key, value);
}

/* ---- which objects ---- */

static int source_by_name(const struct conf *c, struct str name)
{
    for (unsigned i = 0; i < c->n_source; i++)
        if (str_eq(str_c(c->source[i].name), name))
            return (int)i;
    return CONF_NONE;
}

STATIC_ASSERT(CONF_SOURCES_MAX <= 64, "a bit for each source");

/* The objects whose flag decides: in every source that has a flag value for the forest, the first
 * object of the address. */
typedef void target_fn(void *arg, unsigned source, const char *value, const struct dir_claim *c);

static void each_target(const struct dir_view *v, struct str key, int forest, target_fn *fn,
                        void *arg)
{
    const struct conf *conf = dir_view_conf(v);
    struct dir_result *r = mem_alloc(sizeof(*r));
    uint64_t done = 0;
    dir_view_lookup(v, key, clock_mono_ms(), r);
    for (unsigned i = 0; i < r->n_claims; i++) {
        const struct dir_claim *c = &r->claim[i];
        int source = c->source != DIR_SOURCE_OVERRIDES && c->vanished_ms == 0
                         ? source_by_name(conf, str_c(dir_view_source_name(v, c->source)))
                         : CONF_NONE;
        const char *value =
            source != CONF_NONE ? flag_value_of(conf, (unsigned)source, forest) : NULL;
        if (value == NULL || (done >> source & 1))
            continue;
        done |= UINT64_C(1) << source;
        fn(arg, (unsigned)source, value, c);
    }
    mem_free(r);
}

struct facts {
    const struct conf *conf;
    json_t *all;
};

static void add_fact(void *arg, unsigned source, const char *value, const struct dir_claim *c)
{
    struct facts *f = arg;
    char dn[DIR_DN_MAX];
    json_t *o = json_object();
    put(o, "source", json_string(f->conf->source[source].name));
    put(o, "attribute", json_string(f->conf->source[source].flag_attribute));
    put(o, "value", json_string(value));
    put(o, "object", fact_text(dir_claim_dn(c, dn)));
    (void)json_array_append_new(f->all, o);
}

json_t *control_write_fact(const struct dir_view *v, struct str key, int forest)
{
    struct facts f = {.conf = dir_view_conf(v), .all = json_array()};
    each_target(v, key, forest, add_fact, &f);
    return f.all;
}

static struct writing *writing_new(struct daemon *d, struct control_req *r,
                                   const struct dir_view *v)
{
    struct writing *w = NEW(struct writing);
    *w = (struct writing){.d = d, .r = r, .without = ""};
    w->conf = conf_ref((struct conf *)dir_view_conf(v));
    arena_init(&w->arena, 65536, 0);
    return w;
}

static void writing_free(struct writing *w)
{
    flag_writer_free(&w->writer);
    for (unsigned i = 0; i < w->n; i++)
        flag_change_free(&w->change[i]);
    mem_free(w->change);
    mem_free(w->move);
    arena_free(&w->arena);
    conf_unref(&w->conf);
    mem_free(w);
}

static struct flag_change *writing_add(struct writing *w, unsigned source,
                                       const struct dir_claim *c)
{
    char dn[DIR_DN_MAX];
    if (w->n == w->cap) {
        w->cap = w->cap == 0 ? 64 : w->cap * 2;
        w->change = mem_realloc(w->change, w->cap * sizeof(*w->change));
        w->move = mem_realloc(w->move, w->cap * sizeof(*w->move));
    }
    struct flag_change *change = &w->change[w->n];
    *change =
        (struct flag_change){.source = source, .dn = arena_str(&w->arena, dir_claim_dn(c, dn)).p};
    memcpy(change->uuid, c->uuid, DIR_UUID_SIZE);
    w->move[w->n++] = (struct wave_move){0};
    return change;
}

/* ---- the end ---- */

static json_t *failure_fact(const struct writing *w, unsigned i)
{
    const struct flag_change *c = &w->change[i];
    json_t *o = json_object();
    put(o, "address", fact_text(w->move[i].key));
    put(o, "state", json_string(c->state == FLAG_OTHER ? "changed-since" : "failed"));
    put(o, "now", json_string(""));
    put(o, "then", fact_text(w->move[i].forest));
    put(o, "why", json_string(""));
    put(o, "warning",
        fact_text(
            str_c(c->state == FLAG_OTHER ? "its flag was changed since; left alone" : c->why)));
    return o;
}

struct tally {
    unsigned written, same, other, failed;
    const char *why; /* of the first that failed */
};

/* Counts, and tells of those that were not written. */
static struct tally tell(struct writing *w)
{
    struct tally o = {0};
    for (unsigned i = 0; i < w->n; i++) {
        const struct flag_change *c = &w->change[i];
        o.written += c->state == FLAG_WRITTEN;
        o.same += c->state == FLAG_SAME;
        o.other += c->state == FLAG_OTHER;
        o.failed += c->state == FLAG_FAILED;
        if (c->state == FLAG_FAILED && o.why == NULL)
            o.why = c->why;
        /* an undo has no items in its answer */
        if (!w->undo && (c->state == FLAG_OTHER || c->state == FLAG_FAILED) &&
            o.other + o.failed <= NOTED_MAX)
            (void)control_item(w->r, failure_fact(w, i));
    }
    return o;
}

static bool is_stopped(struct writing *w, bool ran)
{
    bool all_done = !w->more && !w->reads;
    if (ran && (all_done || !w->d->stopping))
        return false;
    LOG(WARN, NULL, "write-stopped", LU("wave", w->wave), LC("why", "the relay is stopping"));
    control_error(w->r, CONTROL_ERR_UNAVAILABLE,
                  "the relay is stopping; not all was written (wave %u)", w->wave);
    writing_free(w);
    return true;
}

static void next_slice(struct writing *w);

/* ---- a move ---- */

/* A wave holds what it changed: undo need not ask for the others. An address stays in it when its
 * flag was written in any source; the changes of one address stand together. */
static bool drop_failed(struct writing *w, struct err *e)
{
    struct str *key = mem_array(w->n + 1, sizeof(*key));
    unsigned n = 0;
    for (unsigned i = 0, next; i < w->n; i = next) {
        bool written = false, failed = false;
        for (next = i; next < w->n && str_eq(w->move[next].key, w->move[i].key); next++) {
            written = written || w->change[next].state == FLAG_WRITTEN;
            failed = failed || (w->change[next].state == FLAG_FAILED &&
                                w->move[next].previous.n != 0); /* it is in the journal */
        }
        if (failed && !written)
            key[n++] = w->move[i].key;
    }
    bool ok = n == 0 || directory_undo_keys(w->d->directory, w->wave, key, n, STR("(failed)"), e);
    mem_free(key);
    return ok;
}

static void finish_move(struct writing *w)
{
    struct tally o = tell(w);
    struct err e;
    bool ok = w->wave == 0 || (o.written != 0 ? drop_failed(w, &e)
                                              : directory_undo_wave(w->d->directory, w->wave,
                                                                    STR_NULL, STR("(failed)"), &e));
    if (!ok) /* undo finds them unchanged and leaves them alone */
        LOG(WARN, NULL, "wave-not-reduced", LU("wave", w->wave), LC("why", e.text));
    LOG(INFO, NULL, "wave-written", LU("wave", w->wave), LU("objects", o.written),
        LU("failed", o.failed), LC("by", control_who(w->r)), LC("why", o.why != NULL ? o.why : ""));
    if (o.written == 0 && o.failed + o.other != 0) {
        control_error(w->r, CONTROL_ERR_FAILED, "nothing could be written: %s",
                      o.why != NULL ? o.why : "the flags were changed meanwhile");
    } else {
        json_t *out = json_object();
        put(out, "wave", json_integer(o.written != 0 ? w->wave : 0));
        put(out, "written", json_integer(o.written));
        put(out, "there", json_integer(o.same + w->n_there));
        put(out, "overridden", json_integer(w->n_overridden));
        put(out, "failed", json_integer(o.failed));
        put(out, "dry_run", json_false());
        put(out, "generation", json_integer((json_int_t)directory_generation(w->d->directory)));
        control_reply(w->r, out);
    }
    writing_free(w);
}

/* Journals what was read. False: the request was ended. */
static bool journal(struct writing *w)
{
    struct wave_move *m = mem_array(w->n + 1, sizeof(*m));
    struct wave_order o = {
        .move = m, .who = str_c(control_who(w->r)), .why = w->why, .written = true};
    struct err e = {0};
    for (unsigned i = 0; i < w->n; i++) {
        struct flag_change *c = &w->change[i];
        if (c->state == FLAG_READ && str_eq_nocase(str_c(c->previous), str_c(c->value)))
            c->state = FLAG_SAME;
        if (c->state != FLAG_READ)
            continue;
        w->move[i].previous =
            str_c(arena_printf(&w->arena, "%s:%s", w->conf->source[c->source].name, c->previous));
        m[o.n++] = w->move[i];
    }
    bool ok = o.n == 0 || directory_move(w->d->directory, &o, &w->wave, &e);
    mem_free(m);
    if (!ok) {
        control_error(w->r, CONTROL_ERR_FAILED, "%s; nothing was written", e.text);
        writing_free(w);
    }
    return ok;
}

static void collect_target(void *arg, unsigned source, const char *value, const struct dir_claim *c)
{
    struct writing *w = arg;
    writing_add(w, source, c)->value = value; /* of the configuration, which w holds */
}

static void collect(struct writing *w, const struct move_plan *p, const struct move_item *i)
{
    unsigned from = w->n;
    each_target(p->view, i->key, i->forest, collect_target, w);
    w->n_without += w->n == from;
    for (unsigned k = from; k < w->n; k++)
        w->move[k] = (struct wave_move){.key = arena_str(&w->arena, i->key),
                                        .forest = str_c(w->conf->forest[i->forest].name)};
}

void control_write_move(struct daemon *d, struct control_req *r, const struct move_plan *p,
                        const struct control_args *a)
{
    struct writing *w = writing_new(d, r, p->view);
    w->why = str_c(a->why);
    w->reads = true;
    for (unsigned i = 0; i < p->n; i++) {
        bool there = p->item[i].kind == MOVE_THERE;
        w->n_overridden += p->item[i].by_override && !there;
        if (there && !p->item[i].by_override)
            w->n_there++;
        else /* what an override says is written behind it, to be there when it ends */
            collect(w, p, &p->item[i]);
    }
    if (w->n_without != 0 && !a->force) {
        control_error(r, CONTROL_ERR_NOT_FOUND,
                      "%u of %u addresses have no object in a source with a flag_attribute and a "
                      "value for the forest; nothing was done. --force leaves these out, --dry-run "
                      "shows them",
                      w->n_without, p->n);
        writing_free(w);
        return;
    }
    w->writer = flag_writer_new(w->conf, w->change, w->n);
    next_slice(w);
}

/* ---- undo ---- */

static void finish_undo(struct writing *w)
{
    struct tally o = tell(w);
    struct err e;
    if (o.failed != 0) {
        control_error(w->r, CONTROL_ERR_FAILED,
                      "%u of %u objects could not be written; the first: %s. The wave is active "
                      "still: undo it again",
                      o.failed, w->n, o.why);
    } else if (w->n_without != 0 && !w->force) {
        control_error(
            w->r, CONTROL_ERR_FAILED,
            "%u of %u objects are not in the directories any more, or their source has "
            "no flag_values entry for the forest. The others were taken back; the wave is "
            "active still: undo it again when that is mended, or with --force, which "
            "leaves these out for good: %s",
            w->n_without, w->n_without + w->n, w->without);
    } else if (!directory_undo_wave(w->d->directory, w->wave, w->key, str_c(control_who(w->r)),
                                    &e)) {
        control_error(w->r, CONTROL_ERR_FAILED, "%s", e.text);
    } else {
        LOG(INFO, NULL, "wave-undone", LU("wave", w->wave), LS("address", w->key),
            LU("addresses", w->n), LU("changed", o.written), LC("by", control_who(w->r)));
        json_t *out = json_object();
        put(out, "wave", json_integer(w->wave));
        put(out, "address", fact_text(w->key));
        put(out, "pending", json_false());
        put(out, "addresses", json_integer(w->n));
        put(out, "changed", json_integer(o.written));
        put(out, "generation", json_integer((json_int_t)directory_generation(w->d->directory)));
        control_reply(w->r, out);
    }
    writing_free(w);
}

struct undone {
    struct writing *w;
    const struct wave_address *a;
    struct str source, previous;
    bool found;
};

static void collect_undone(void *arg, unsigned source, const char *value, const struct dir_claim *c)
{
    struct undone *u = arg;
    struct writing *w = u->w;
    if (!str_eq(str_c(w->conf->source[source].name), u->source))
        return;
    struct flag_change *change = writing_add(w, source, c);
    change->value = u->previous.n != 0 ? arena_str(&w->arena, u->previous).p : "";
    change->expected = value;
    w->move[w->n - 1] = (struct wave_move){.key = arena_str(&w->arena, u->a->key),
                                           .forest = arena_str(&w->arena, u->a->forest)};
    u->found = true;
}

/* "anna@example.org (source corp), ..." */
static void note_without(struct writing *w, const struct wave_address *a, struct str source)
{
    if (w->n_without++ < WITHOUT_NAMED)
        w->without =
            arena_printf(&w->arena, "%s%s%.*s (source %.*s)", w->without,
                         w->without[0] != '\0' ? ", " : "", STR_ARG(a->key), STR_ARG(source));
    else if (w->n_without == WITHOUT_NAMED + 1)
        w->without = arena_printf(&w->arena, "%s, ...", w->without);
}

void control_write_undo(struct daemon *d, struct control_req *r, const struct wave *wave,
                        struct str key, bool force)
{
    struct dir_view *v = directory_view(d->directory);
    struct writing *w = writing_new(d, r, v);
    w->undo = true;
    w->force = force;
    w->wave = wave->id;
    w->key = key.n != 0 ? arena_str(&w->arena, key) : STR_NULL;
    for (unsigned i = 0; i < wave->n; i++) {
        const struct wave_address *a = &wave->address[i];
        int forest = conf_find_forest(w->conf, a->forest);
        struct undone u = {.w = w, .a = a, .previous = a->previous};
        if (a->undone || (key.n != 0 && !str_eq(key, a->key)))
            continue;
        u.source = str_split(&u.previous, ':');
        if (forest != CONF_NONE)
            each_target(v, a->key, forest, collect_undone, &u);
        if (!u.found)
            note_without(w, a, u.source);
    }
    dir_view_unref(&v);
    if (w->n_without != 0)
        LOG(WARN, NULL, "undo-incomplete", LU("wave", w->wave), LU("objects", w->n_without),
            LC("which", w->without));
    w->writer = flag_writer_new(w->conf, w->change, w->n);
    next_slice(w);
}

/* ---- slices ---- */

static bool must_stop(const void *jobs)
{
    return jobs_must_stop(jobs);
}

static void run_slice(struct jobs *j, void *arg)
{
    struct writing *w = arg;
    flag_writer_stop_when(w->writer, must_stop, j);
    w->more =
        w->reads ? flag_writer_read(w->writer, SLICE_MS) : flag_writer_write(w->writer, SLICE_MS);
}

static void slice_done(void *arg, bool ran)
{
    struct writing *w = arg;
    if (is_stopped(w, ran))
        return;
    if (w->more) {
        next_slice(w);
    } else if (w->reads) {
        w->reads = false;
        if (journal(w))
            next_slice(w);
    } else if (w->undo) {
        finish_undo(w);
    } else {
        finish_move(w);
    }
}

static void next_slice(struct writing *w)
{
    struct err e;
    if (job_run(w->d->jobs, run_slice, slice_done, w, &e))
        return;
    if (w->wave == 0) {
        control_error(w->r, CONTROL_ERR_UNAVAILABLE, "%s; nothing was written", e.text);
    } else {
        LOG(WARN, NULL, "write-stopped", LU("wave", w->wave), LC("why", e.text));
        control_error(w->r, CONTROL_ERR_UNAVAILABLE,
                      "%s; not all was written. `causewayctl undo %u` takes back what was", e.text,
                      w->wave);
    }
    writing_free(w);
}
