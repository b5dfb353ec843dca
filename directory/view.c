/*
 * view.c - looking an address up: what each source says, and which location rule decides (RULES:
 * where a mailbox lives). Any thread; a view never changes.
 *
 * First match wins: override; flag; group; mailbox; mail user; contact. Within a rule the
 * source with the better priority, then the lower UUID. Two claims of the deciding kind that name
 * different forests are a conflict: decided all the same, and reported.
 */
#include "directory/view_int.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/stats.h"

enum rank {
    RANK_OVERRIDE,
    RANK_FLAG,
    RANK_GROUP,
    RANK_MAILBOX,
    RANK_MAIL_USER,
    RANK_CONTACT,
    RANK_NONE /* says nothing about where */
};

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

/* ---- claims ---- */

struct str dir_claim_dn(const struct dir_claim *c, char *dst)
{
    return c->table != NULL ? table_record_dn(c->table, c->uuid, dst) : STR_NULL;
}

struct match {
    struct table_record record;
    struct dir_entry entry; /* address[0] only */
    struct dir_address first;
    int forest;
    enum rank rank;
};
struct lookup {
    const struct dir_view *v;
    struct dir_result *out;
    struct match match[DIR_CLAIMS_MAX];
};

static struct str put_address(struct dir_result *out, const struct dir_address *a)
{
    size_t n = a->local.n + 1 + a->domain.n;
    if (a->local.n == 0 || n > sizeof(out->text) - out->text_used)
        return STR_NULL;
    char *p = out->text + out->text_used;
    memcpy(p, a->local.p, a->local.n);
    p[a->local.n] = '@';
    memcpy(p + a->local.n + 1, a->domain.p, a->domain.n);
    out->text_used += (unsigned)n;
    return str_n(p, n);
}

/* Location rules 4 to 7 for one entry of one source. */
static void locate(const struct dir_rules *rules, const struct rules_source *s, struct match *m,
                   struct dir_claim *c)
{
    static const enum rank rank[] = {[DIR_MAILBOX] = RANK_MAILBOX,
                                     [DIR_MAIL_USER] = RANK_MAIL_USER,
                                     [DIR_CONTACT] = RANK_CONTACT,
                                     [DIR_GROUP] = RANK_GROUP,
                                     [DIR_OVERRIDE] = RANK_NONE};
    enum rules_why why;
    m->rank = rank[m->entry.kind];
    m->forest = rules_place(rules, s, &m->entry, &why);
    c->evidence = why == RULES_BY_TARGET    ? "targetAddress"
                  : why == RULES_BY_NOTHING ? "mail user without a targetAddress"
                                            : dir_evidence_text(m->entry.evidence);
}

static void claim_fill(struct lookup *l, unsigned slot, unsigned i)
{
    const struct dir_rules *rules = l->v->rules;
    const struct rules_source *s = &rules->source[l->v->source[slot].index];
    struct match *m = &l->match[i];
    struct dir_claim *c = &l->out->claim[i];
    *c = (struct dir_claim){.source = slot,
                            .kind = m->entry.kind,
                            .alias = m->entry.alias,
                            .recipient_type = m->entry.recipient_type,
                            .require_auth = m->entry.require_auth,
                            .vanished_ms = m->entry.vanished_ms,
                            .uuid = table_record_uuid(&m->record),
                            .table = m->record.t};
    memcpy(c->name, m->entry.name, sizeof(c->name));
    int flagged = m->entry.flag.n != 0 ? rules_flag_forest(s, m->entry.flag) : CONF_NONE;
    if (flagged != CONF_NONE) {
        m->rank = RANK_FLAG;
        m->forest = flagged;
        c->evidence = s->flag_text;
    } else {
        locate(rules, s, m, c);
    }
    if (m->forest == CONF_NONE)
        m->rank = RANK_NONE;
    c->forest = rules_forest_name(rules, m->forest);
    c->primary = put_address(l->out, &m->first);
    c->routing = put_address(l->out, &m->entry.routing);
    c->target = put_address(l->out, &m->entry.target);
}

static void collect(struct lookup *l, struct str key, uint64_t hash)
{
    struct table_record found[DIR_CLAIMS_MAX];
    for (unsigned slot = 0; slot < l->v->n; slot++) {
        unsigned n = stack_find_key(l->v->source[slot].stack, key, hash, found,
                                    DIR_CLAIMS_MAX - l->out->n_claims);
        for (unsigned i = 0; i < n; i++) {
            struct match *m = &l->match[l->out->n_claims];
            m->record = found[i];
            if (table_record_head(&m->record, &m->entry, &m->first))
                claim_fill(l, slot, l->out->n_claims++);
        }
    }
}

/* ---- overrides ---- */

struct override_search {
    const struct dir_stack *overrides;
    struct table_record found;
    bool has;
};

static bool override_find(struct override_search *o, struct str key)
{
    o->has =
        key.n != 0 && stack_find_key(o->overrides, key, hash64(key.p, key.n), &o->found, 1) != 0;
    return o->has;
}

static bool override_step(void *arg, const struct dir_address *a)
{
    char key[ADDRESS_MAX + 1];
    return !override_find(arg, dir_address_key(a, key));
}

/* An override counts for the person: any address of an entry that the key leads to. */
static void apply_override(struct lookup *l, struct str key)
{
    struct dir_result *out = l->out;
    struct override_search o = {.overrides = l->v->overrides};
    if (o.overrides == NULL || o.overrides->n == 0)
        return;
    override_find(&o, key);
    for (unsigned i = 0; !o.has && i < out->n_claims; i++)
        table_record_addresses(&l->match[i].record, override_step, &o);
    struct match m = {.record = o.found, .rank = RANK_OVERRIDE};
    if (!o.has || !table_record_head(&m.record, &m.entry, &m.first))
        return;
    m.forest = conf_find_forest(l->v->rules->conf, m.entry.flag);
    if (m.forest == CONF_NONE)
        m.rank = RANK_NONE; /* that forest is no longer configured */
    unsigned n = out->n_claims < DIR_CLAIMS_MAX ? out->n_claims : DIR_CLAIMS_MAX - 1;
    memmove(out->claim + 1, out->claim, n * sizeof(out->claim[0]));
    for (unsigned i = n; i > 0; i--) {
        l->match[i] = l->match[i - 1];
        l->match[i].entry.address = &l->match[i].first;
    }
    out->n_claims = n + 1;
    l->match[0] = m;
    out->claim[0] = (struct dir_claim){.source = DIR_SOURCE_OVERRIDES,
                                       .kind = DIR_OVERRIDE,
                                       .forest = rules_forest_name(l->v->rules, m.forest),
                                       .evidence = "override"};
    out->claim[0].primary = put_address(out, &m.first);
}

/* ---- deciding ---- */

static const char *const why_text[] = {
    [RANK_OVERRIDE] = "override: set by an administrator",
    [RANK_FLAG] = "flag: the cutover flag names the forest",
    [RANK_GROUP] = "group: owned by the forest it is in",
    [RANK_MAILBOX] = "mailbox: the forest whose directory shows it",
    [RANK_MAIL_USER] = "mail user: the forest that owns the target address",
    [RANK_CONTACT] = "contact: the forest that owns the target address, or that holds the contact"};

static bool contradicts(const struct match *best, const struct match *m)
{
    if (m->rank == RANK_NONE || m->forest == best->forest)
        return false;
    /* a group and a mailbox with one address are as much a conflict as two mailboxes */
    if (best->rank == RANK_GROUP)
        return m->rank == RANK_GROUP || m->rank == RANK_MAILBOX;
    return best->rank != RANK_OVERRIDE && m->rank == best->rank;
}

struct domain_search {
    struct str domain;
    struct dir_address found;
};

static bool domain_step(void *arg, const struct dir_address *a)
{
    struct domain_search *s = arg;
    if (!str_eq_nocase(a->domain, s->domain))
        return true;
    s->found = *a;
    return false;
}

/* The address by which the hosting forest knows it, from one entry. */
static struct str routing_from(struct lookup *l, unsigned i, int forest)
{
    const struct dir_rules *rules = l->v->rules;
    const struct match *m = &l->match[i];
    struct domain_search s = {.domain = rules_routing_domain(rules, forest)};
    if (m->rank == RANK_OVERRIDE)
        return STR_NULL;
    if (l->out->claim[i].routing.n != 0 && m->forest == forest)
        return l->out->claim[i].routing;
    if (s.domain.n != 0)
        table_record_addresses(&m->record, domain_step, &s);
    if (s.found.local.n != 0)
        return put_address(l->out, &s.found);
    if (m->entry.target.local.n != 0 && rules_domain_owner(rules, m->entry.target.domain) == forest)
        return l->out->claim[i].target;
    return STR_NULL;
}

static bool decide(struct lookup *l)
{
    struct dir_result *out = l->out;
    unsigned best = 0;
    for (unsigned i = 1; i < out->n_claims; i++)
        if (l->match[i].rank < l->match[best].rank)
            best = i;
    struct match *b = &l->match[best];
    if (out->n_claims == 0 || b->rank == RANK_NONE)
        return false;
    out->best = &out->claim[best];
    out->found = DIR_FOUND;
    out->why = why_text[b->rank];
    for (unsigned i = 0; i < out->n_claims; i++)
        if (i != best && contradicts(b, &l->match[i]))
            out->found = DIR_CONFLICT;
    struct str routing = routing_from(l, best, b->forest);
    for (unsigned i = 0; i < out->n_claims && routing.n == 0; i++)
        if (i != best)
            routing = routing_from(l, i, b->forest);
    out->claim[best].routing = routing;
    return true;
}

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
        if ((!rules_covers(s, domain) && !is_claimant(out, i)) ||
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

/* Nothing says where it is: does it not exist, or do we not know? */
static void not_found(const struct dir_view *v, struct str key, int64_t now_ms,
                      struct dir_result *out)
{
    out->found = DIR_NOT_FOUND_YET;
    if (out->n_claims != 0) {
        out->why = out->claim[0].evidence;
        out->stale_source = dir_view_source_name(v, out->claim[0].source);
        return;
    }
    if (!dir_view_is_current(v, key, now_ms, out))
        return;
    out->why = "no source is configured for this domain";
    if (!is_covered(v, domain_of(key)))
        return;
    out->found = DIR_NOT_FOUND;
    out->why = "no source has it, and all are complete and fresh";
}

void dir_view_lookup(const struct dir_view *v, struct str key, int64_t now_ms,
                     struct dir_result *out)
{
    struct lookup l;
    l.v = v;
    l.out = out;
    out->n_claims = out->text_used = 0;
    out->best = NULL;
    out->stale_source = NULL;
    stats_inc(STAT_directory_lookups);
    collect(&l, key, hash64(key.p, key.n));
    apply_override(&l, key);
    if (!decide(&l))
        not_found(v, key, now_ms, out);
}

/* ---- related keys ---- */

struct related {
    view_key_fn *fn;
    void *arg;
};

static bool related_step(void *arg, const struct dir_address *a)
{
    struct related *r = arg;
    r->fn(r->arg, dir_address_hash(a));
    return true;
}

void view_related_keys(const struct dir_view *v, struct str key, view_key_fn *fn, void *arg)
{
    struct related r = {fn, arg};
    struct table_record found[DIR_CLAIMS_MAX];
    uint64_t hash = hash64(key.p, key.n);
    fn(arg, hash);
    for (unsigned slot = 0; slot < v->n; slot++) {
        unsigned n = stack_find_key(v->source[slot].stack, key, hash, found, DIR_CLAIMS_MAX);
        for (unsigned i = 0; i < n; i++)
            table_record_addresses(&found[i], related_step, &r);
    }
}
