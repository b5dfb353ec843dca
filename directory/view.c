/*
 * view.c - one generation of the directory: its references, and whether what it does not know does
 * not exist. Where a recipient is, is found in locate.c. Any thread; a view never changes.
 */
#include "directory/view_int.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "directory/person.h"

const char *dir_kind_text(enum dir_kind k)
{
    static const char *const text[] = {[DIR_MAILBOX] = "mailbox",
                                       [DIR_MAIL_USER] = "mail user",
                                       [DIR_CONTACT] = "contact",
                                       [DIR_GROUP] = "group",
                                       [DIR_OVERRIDE] = "override"};
    return (unsigned)k < ARRAY_LEN(text) ? text[k] : "unknown";
}

/* ---- lifetime ---- */

struct dir_fresh *fresh_new(void)
{
    struct dir_fresh *f = NEW(struct dir_fresh);
    atomic_init(&f->refs, 1);
    return f;
}

struct dir_fresh *fresh_ref(struct dir_fresh *f)
{
    atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
    return f;
}

void fresh_unref(struct dir_fresh **fp)
{
    struct dir_fresh *f = *fp;
    *fp = NULL;
    if (f != NULL && atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) == 1)
        mem_free(f);
}

struct view_source view_source_copy(const struct view_source *s)
{
    struct view_source copy = *s;
    copy.stack = stack_ref(s->stack);
    copy.held = s->held != NULL ? stack_ref(s->held) : NULL;
    copy.fresh = fresh_ref(s->fresh);
    return copy;
}

struct dir_view *view_new(uint64_t generation, struct dir_rules *rules, struct dir_stack *overrides,
                          unsigned n)
{
    struct dir_view *v = mem_zalloc(sizeof(*v) + n * sizeof(v->source[0]));
    atomic_init(&v->refs, 1);
    v->generation = generation;
    v->rules = rules;
    v->overrides = overrides;
    v->n = n;
    return v;
}

struct dir_view *dir_view_ref(struct dir_view *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    return v;
}

void dir_view_unref(struct dir_view **vp)
{
    struct dir_view *v = *vp;
    *vp = NULL;
    if (v == NULL || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < v->n; i++) {
        stack_unref(&v->source[i].stack);
        stack_unref(&v->source[i].held);
        fresh_unref(&v->source[i].fresh);
    }
    stack_unref(&v->overrides);
    rules_unref(&v->rules);
    mem_free(v);
}

uint64_t dir_view_generation(const struct dir_view *v)
{
    return v->generation;
}

const struct conf *dir_view_conf(const struct dir_view *v)
{
    return v->rules->conf;
}

const char *dir_view_source_name(const struct dir_view *v, unsigned source)
{
    if (source >= v->n)
        return source == DIR_SOURCE_OVERRIDES ? "override" : "";
    return v->rules->source[v->source[source].index].conf->name;
}

struct str dir_claim_dn(const struct dir_claim *c, char *dst)
{
    return c->table != NULL ? table_record_dn(c->table, c->uuid, dst) : STR_NULL;
}

/* ---- freshness ---- */

static struct str domain_of(struct str key)
{
    return str_from(key, (size_t)(str_rfind(key, '@') + 1));
}

static bool is_claimant(const struct dir_result *r, unsigned slot)
{
    bool result = false;
    for (unsigned i = 0; i < r->n_claims; i++)
        result = result || r->claim[i].source == slot;
    return result;
}

static bool source_is_fresh(const struct dir_view *v, unsigned slot, int64_t now_ms,
                            const char **why)
{
    struct dir_fresh *f = v->source[slot].fresh;
    int64_t limit = v->rules->source[v->source[slot].index].conf->stale_after_ms;
    *why = "a source was never synchronised to the end";
    if (!atomic_load_explicit(&f->complete_once, memory_order_acquire))
        return false;
    int64_t last = atomic_load_explicit(&f->complete_ms, memory_order_acquire);
    *why = "a source is older than its limit";
    if (limit != 0 && now_ms - last > limit)
        return false;
    *why = "a source has just become complete";
    return v->generation >= atomic_load_explicit(&f->since, memory_order_relaxed);
}

bool dir_view_is_current(const struct dir_view *v, struct str key, int64_t now_ms,
                         struct dir_result *out)
{
    struct str domain = domain_of(key);
    for (unsigned i = 0; i < v->n; i++) {
        const struct rules_source *s = &v->rules->source[v->source[i].index];
        const char *why;
        if ((key.n != 0 && !rules_covers(s, domain) && !is_claimant(out, i)) ||
            source_is_fresh(v, i, now_ms, &why))
            continue;
        out->stale_source = s->conf->name;
        out->why = why;
        return false;
    }
    return true;
}

static bool is_covered(const struct dir_view *v, struct str domain)
{
    for (unsigned i = 0; i < v->n; i++)
        if (rules_covers(&v->rules->source[v->source[i].index], domain))
            return true;
    int d = conf_find_domain(v->rules->conf, domain);
    return d != CONF_NONE && v->rules->conf->domain[d].unknown == CONF_UNKNOWN_FORWARD;
}

/* A source says that there is somebody, and waits for a person's word before it is believed. */
static void not_found_yet(const struct dir_view *v, unsigned slot, struct dir_result *out)
{
    out->found = DIR_NOT_FOUND_YET;
    out->stale_source = dir_view_source_name(v, slot);
    out->why = "it is new in a change that waits for `causewayctl directory accept`";
}

static bool is_held(const struct dir_view *v, struct str key, struct dir_result *out)
{
    struct table_record r;
    uint64_t hash = hash64(key.p, key.n);
    for (unsigned i = 0; i < v->n && key.n != 0; i++)
        if (v->source[i].held != NULL && stack_find_key(v->source[i].held, key, hash, &r, 1) != 0) {
            not_found_yet(v, i, out);
            return true;
        }
    return false;
}

void view_look_in_held(const struct dir_view *v, enum dir_key_type type, struct str key,
                       struct dir_result *out)
{
    struct table_record r;
    unsigned types = person_key_family(type);
    uint64_t hash = dir_other_hash(type, key);
    for (unsigned i = 0; i < v->n && out->found == DIR_NOT_FOUND; i++)
        if (v->source[i].held != NULL &&
            stack_find_other(v->source[i].held, types, key, hash, &r, 1) != 0)
            not_found_yet(v, i, out);
}

void view_not_found(const struct dir_view *v, struct str key, int64_t now_ms,
                    struct dir_result *out)
{
    out->found = DIR_NOT_FOUND_YET;
    if (out->n_claims != 0) {
        out->why = out->claim[0].evidence;
        out->stale_source = dir_view_source_name(v, out->claim[0].source);
        return;
    }
    if (!dir_view_is_current(v, key, now_ms, out) || is_held(v, key, out))
        return;
    out->why = "no source is configured for this domain";
    if (key.n != 0 && !is_covered(v, domain_of(key)))
        return;
    out->found = DIR_NOT_FOUND;
    out->why = "no source has it, and all are complete and fresh";
}

/* ---- related keys ---- */

void view_related_keys(const struct dir_view *v, struct str key, view_key_fn *fn, void *arg)
{
    struct person p;
    uint64_t hash = hash64(key.p, key.n);
    person_find(v, key, hash, &p);
    fn(arg, hash);
    for (unsigned i = 0; i < p.n; i++)
        table_record_hashes(&p.m[i].record, fn, arg);
}
