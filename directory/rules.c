/*
 * rules.c - see rules.h. Made on the main thread; read by any.
 */
#include "directory/rules.h"

#include <stdatomic.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "directory/map.h"

static void source_init(struct rules_source *r, const struct conf *c, const struct conf_source *s)
{
    r->conf = s;
    r->name = str_c(s->name);
    r->forest = conf_find_forest(c, str_c(s->forest));
    r->flag_text = mem_printf("flag %s", s->flag_attribute != NULL ? s->flag_attribute : "");
    r->flag_forest = mem_array(s->n_flag + 1, sizeof(*r->flag_forest));
    r->flag_value = mem_array(s->n_flag + 1, sizeof(*r->flag_value));
    for (unsigned i = 0; i < s->n_flag; i++) {
        r->flag_value[i] = str_c(s->flag[i].left);
        r->flag_forest[i] = conf_find_forest(c, str_c(s->flag[i].right));
    }
}

static unsigned joins_of(const struct conf *c)
{
    static const char *const word[] = {
        [RULES_JOIN_SMTP] = "smtp", [RULES_JOIN_X500] = "x500", [RULES_JOIN_KEY] = "key"};
    unsigned joins = 0;
    for (unsigned i = 0; i < ARRAY_LEN(word); i++) {
        bool named = c->n_join == 0;
        for (unsigned k = 0; k < c->n_join; k++)
            named = named || strcmp(c->join[k], word[i]) == 0;
        joins |= (unsigned)named << i;
    }
    return joins;
}

static void evidence_init(struct dir_rules *r, const struct conf *c)
{
    bool first = true;
    r->one_evidence = true;
    for (unsigned i = 0; i < c->n_domain; i++) {
        const struct conf_domain *d = &c->domain[i];
        if (d->type != CONF_DOMAIN_SHARED)
            continue;
        if (first)
            r->evidence = d->evidence;
        first = false;
        r->one_evidence = r->one_evidence && d->evidence == r->evidence;
    }
}

struct dir_rules *rules_new(struct conf *c)
{
    struct dir_rules *r = NEW(struct dir_rules);
    atomic_init(&r->refs, 1);
    r->conf = conf_ref(c);
    r->joins = joins_of(c);
    evidence_init(r, c);
    r->n = c->n_source;
    r->source = mem_array(r->n + 1, sizeof(*r->source));
    r->forest = mem_array(c->n_forest + 1, sizeof(*r->forest));
    r->routing = mem_array(c->n_forest + 1, sizeof(*r->routing));
    for (unsigned i = 0; i < c->n_forest; i++) {
        r->forest[i] = str_c(c->forest[i].name);
        r->routing[i] = str_c(c->forest[i].routing_domain);
    }
    for (unsigned i = 0; i < r->n; i++)
        source_init(&r->source[i], c, &c->source[i]);
    return r;
}

struct dir_rules *rules_ref(struct dir_rules *r)
{
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
    return r;
}

void rules_unref(struct dir_rules **rp)
{
    struct dir_rules *r = *rp;
    *rp = NULL;
    if (r == NULL || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) != 1)
        return;
    for (unsigned i = 0; i < r->n; i++) {
        mem_free(r->source[i].flag_value);
        mem_free(r->source[i].flag_forest);
        mem_free(r->source[i].flag_text);
    }
    mem_free(r->source);
    mem_free(r->forest);
    mem_free(r->routing);
    conf_unref(&r->conf);
    mem_free(r);
}

enum conf_evidence rules_evidence(const struct dir_rules *r, struct str domain)
{
    int d = r->one_evidence ? CONF_NONE : conf_find_domain(r->conf, domain);
    return d != CONF_NONE ? r->conf->domain[d].evidence : r->evidence;
}

int rules_flag_forest(const struct rules_source *s, struct str value)
{
    for (unsigned i = 0; i < s->conf->n_flag; i++)
        if (str_eq_nocase(value, s->flag_value[i]))
            return s->flag_forest[i];
    return CONF_NONE;
}

int rules_domain_owner(const struct dir_rules *r, struct str domain)
{
    const struct conf *c = r->conf;
    int d = conf_find_domain(c, domain);
    if (d != CONF_NONE && c->domain[d].type == CONF_DOMAIN_ROUTING)
        return c->domain[d].forest_index;
    for (unsigned i = 0; i < c->n_forest; i++)
        if (domain.n != 0 && str_eq_nocase(domain, r->routing[i]))
            return (int)i;
    return CONF_NONE;
}

int rules_place(const struct dir_rules *r, const struct rules_source *s, const struct dir_entry *e,
                enum rules_why *why)
{
    bool has_target = e->target.local.n != 0;
    int owner =
        has_target && e->kind != DIR_GROUP ? rules_domain_owner(r, e->target.domain) : CONF_NONE;
    *why = RULES_BY_TARGET;
    if (owner != CONF_NONE)
        return owner;
    *why = RULES_BY_NOTHING;
    if (e->kind == DIR_MAIL_USER && !has_target)
        return CONF_NONE;
    /* with a target outside: who holds the object sends it on */
    *why = RULES_BY_ENTRY;
    return s->forest;
}

bool rules_covers(const struct rules_source *s, struct str domain)
{
    for (unsigned i = 0; i < s->conf->domains_n; i++)
        if (str_eq_nocase(domain, str_c(s->conf->domains[i])))
            return true;
    return s->conf->domains_n == 0;
}

struct str rules_forest_name(const struct dir_rules *r, int forest)
{
    return forest != CONF_NONE ? r->forest[forest] : STR_NULL;
}

struct str rules_routing_domain(const struct dir_rules *r, int forest)
{
    return forest != CONF_NONE ? r->routing[forest] : STR_NULL;
}

static bool same(const char *a, const char *b)
{
    return str_eq(str_c(a), str_c(b));
}

static bool same_list(char **a, unsigned n_a, char **b, unsigned n_b)
{
    for (unsigned i = 0; n_a == n_b && i < n_a; i++)
        if (!same(a[i], b[i]))
            return false;
    return n_a == n_b;
}

static bool same_pairs(const struct conf_pair *a, unsigned n_a, const struct conf_pair *b,
                       unsigned n_b)
{
    for (unsigned i = 0; n_a == n_b && i < n_a; i++)
        if (!same(a[i].left, b[i].left) || !same(a[i].right, b[i].right))
            return false;
    return n_a == n_b;
}

bool rules_source_same(const struct conf_source *a, const struct conf_source *b)
{
    return a->type == b->type && same(a->name, b->name) && same(a->path, b->path) &&
           same_list(a->uri, a->n_uri, b->uri, b->n_uri) && a->tls == b->tls &&
           same(a->ca_file, b->ca_file) && same(a->bind_dn, b->bind_dn) &&
           same(a->password_file, b->password_file) && a->bind == b->bind &&
           same(a->tls_cert_file, b->tls_cert_file) && same(a->tls_key_file, b->tls_key_file) &&
           same(a->base, b->base) && same(a->filter, b->filter) &&
           same(a->flag_attribute, b->flag_attribute) &&
           same(a->routing_attribute, b->routing_attribute) &&
           same(a->join_attribute, b->join_attribute) && same(a->names, b->names) &&
           same_pairs(a->attribute, a->n_attribute, b->attribute, b->n_attribute) &&
           same(a->csv_key, b->csv_key) && same(a->csv_separator, b->csv_separator) &&
           a->entries_max == b->entries_max && a->addresses_max == b->addresses_max &&
           a->file_bytes_max == b->file_bytes_max && a->line_bytes_max == b->line_bytes_max &&
           a->backoff_min_ms == b->backoff_min_ms && a->backoff_max_ms == b->backoff_max_ms &&
           a->sync == b->sync && a->poll_interval_ms == b->poll_interval_ms &&
           a->page_size == b->page_size && a->mass_change_percent == b->mass_change_percent &&
           a->mass_change_count == b->mass_change_count && a->grace_ms == b->grace_ms;
}

static uint64_t mix(uint64_t h, const char *text)
{
    struct str s = str_c(text != NULL ? text : "");
    return hash64_seed(s.p, s.n, h + 1);
}

uint64_t rules_source_id(const struct conf_source *s)
{
    if (s->type == CONF_SOURCE_MANUAL) /* nobody tells it again: what it has is good for ever */
        return hash64("manual", 6);
    uint64_t h = hash64_seed(&s->type, sizeof(s->type), MAP_VERSION);
    const char *part[] = {
        s->path,           s->base,  s->filter,  s->flag_attribute, s->routing_attribute,
        s->join_attribute, s->names, s->csv_key, s->csv_separator};
    for (unsigned i = 0; i < ARRAY_LEN(part); i++)
        h = mix(h, part[i]);
    for (unsigned i = 0; i < s->n_attribute; i++)
        h = mix(mix(h, s->attribute[i].left), s->attribute[i].right);
    for (unsigned i = 0; i < s->n_uri; i++)
        h = mix(h, s->uri[i]);
    return h;
}
