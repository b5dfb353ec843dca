/*
 * conflict.c - tells of contradictions between the directories when a change brings them: an
 * address that two forests claim from now on, or that is on two objects which are not one person.
 * Mail for it is decided all the same (locate.c); somebody should know. Only the addresses of
 * changed entries are looked at, on the source's thread and under no lock; what was there already,
 * or came with a first sync, is the doctor's to find.
 */
#include "directory/source.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/stats.h"

#define SAY_EVERY  1000
#define CLAIMS_MAX 512

struct conflicts {
    struct source *s;
    const struct dir_view *before, *after;
    struct dir_result *result;
    uint64_t n;
};

static const char *conflict_in(struct conflicts *x, const struct dir_view *v, struct str key)
{
    view_lookup(v, key, clock_mono_ms(), x->result);
    return x->result->conflict;
}

/* x->result has the claims. */
static void say(struct conflicts *x, struct str key, const char *why)
{
    const struct dir_result *r = x->result;
    struct buf claims = BUF_INIT(CLAIMS_MAX);
    int64_t suppressed;
    if (!log_limit_pass(&x->s->conflicts, SAY_EVERY, &suppressed))
        return;
    for (unsigned i = 0; i < r->n_claims; i++)
        buf_printf(&claims, "%s%s: %.*s (%s)", i == 0 ? "" : ", ",
                   dir_view_source_name(x->after, r->claim[i].source), STR_ARG(r->claim[i].forest),
                   r->claim[i].evidence);
    LOG(WARN, x->s->c->name, "directory-conflict", LS("address", key), LC("why", why),
        LS("goes_to", r->best != NULL ? r->best->forest : STR_NULL), LS("claims", buf_str(&claims)),
        LI("more_not_logged", suppressed));
    buf_free(&claims);
}

static bool look_at(void *arg, const struct dir_address *a)
{
    struct conflicts *x = arg;
    char text[ADDRESS_MAX + 1];
    struct str key = dir_address_key(a, text);
    const char *why = conflict_in(x, x->after, key);
    if (why == NULL || conflict_in(x, x->before, key) != NULL)
        return true;
    x->n++;
    conflict_in(x, x->after, key);
    say(x, key, why);
    return true;
}

void source_conflicts(struct source *s, const struct dir_view *before, const struct dir_view *after,
                      const struct dir_table *change)
{
    struct conflicts x = {s, before, after, NEW(struct dir_result), 0};
    struct table_record rec;
    for (uint64_t at = 0; table_next(change, &at, &rec);)
        table_record_addresses(&rec, look_at, &x);
    mem_free(x.result);
    if (x.n == 0)
        return;
    stats_add(STAT_directory_conflicts_new, (int64_t)x.n);
    pthread_mutex_lock(&s->lock);
    s->status.conflicts += x.n;
    pthread_mutex_unlock(&s->lock);
}
