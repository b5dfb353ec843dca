/*
 * conflict.c - tells of contradictions between the directories when a change brings them: an
 * address that two forests claim from now on, or that is on two objects which are not one person.
 * Mail for it is decided all the same (locate.c); somebody should know. Only the addresses of
 * changed entries are looked at, on the source's thread and under no lock; what was there already,
 * or came with a first sync, is the doctor's to find.
 *
 * The latest of them are remembered until they end, which any source's change may bring about: they
 * are looked up again when somebody asks how many there are.
 */
#include "directory/source.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/stats.h"

#define SAY_EVERY  1000
#define CLAIMS_MAX 512
#define KEPT_MAX   1000

/* Addresses that began to be claimed twice, in no order. */
struct contested {
    pthread_mutex_t lock;
    unsigned n, oldest; /* the next to go when there are KEPT_MAX */
    char *key[KEPT_MAX];
};

struct contested *contested_new(void)
{
    struct contested *c = NEW(struct contested);
    pthread_mutex_init(&c->lock, NULL);
    return c;
}

void contested_free(struct contested **cp)
{
    struct contested *c = *cp;
    *cp = NULL;
    if (c == NULL)
        return;
    for (unsigned i = 0; i < c->n; i++)
        mem_free(c->key[i]);
    pthread_mutex_destroy(&c->lock);
    mem_free(c);
}

static void contested_add(struct contested *c, struct str key)
{
    bool known = false;
    pthread_mutex_lock(&c->lock);
    for (unsigned i = 0; i < c->n && !known; i++)
        known = str_eq(key, str_c(c->key[i]));
    unsigned at = c->n;
    if (!known && c->n == KEPT_MAX) {
        at = c->oldest++ % KEPT_MAX;
        mem_free(c->key[at]);
    } else if (!known) {
        c->n++;
    }
    if (!known)
        c->key[at] = str_dup(key);
    pthread_mutex_unlock(&c->lock);
}

unsigned contested_look(struct contested *c, const struct dir_view *v, char *one, size_t cap)
{
    struct dir_result *r = NEW(struct dir_result);
    unsigned kept = 0;
    one[0] = '\0';
    pthread_mutex_lock(&c->lock);
    for (unsigned i = 0; i < c->n; i++) {
        view_lookup(v, str_c(c->key[i]), clock_mono_ms(), r);
        if (r->conflict == NULL) {
            mem_free(c->key[i]);
            continue;
        }
        (void)str_copy(str_c(c->key[i]), one, cap);
        c->key[kept++] = c->key[i];
    }
    c->n = kept;
    pthread_mutex_unlock(&c->lock);
    mem_free(r);
    return kept;
}

struct conflicts {
    struct source *s;
    const struct dir_view *before, *after;
    struct contested *contested;
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
    contested_add(x->contested, key);
    conflict_in(x, x->after, key);
    say(x, key, why);
    return true;
}

void source_conflicts(struct source *s, const struct dir_view *before, const struct dir_view *after,
                      const struct dir_table *change, struct contested *contested)
{
    struct conflicts x = {s, before, after, contested, NEW(struct dir_result), 0};
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
