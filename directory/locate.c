/*
 * locate.c - where a recipient is: what each object of the person says, and which location rule
 * decides (RULES: where a mailbox lives). Any thread; no allocation.
 *
 * First match wins: override; flag; group; mailbox; mail user; contact; who holds an object that
 * points to no forest. An object without any of Exchange's attributes is a mailbox in a directory
 * that has none of them, and counts for little in Active Directory: accounts get a mail attribute
 * long before they get a mailbox. Which of flag and Exchange's attributes is believed first is the
 * domain's choice (place_of). What is alive decides before what has vanished (order_of); within a
 * rule the source with the better priority, then the lower UUID.
 *
 * Two claims of the deciding rule that name different forests are a conflict, and so is one address
 * on two objects that are not one person: decided all the same, and reported.
 */
#include "directory/person.h"

#include "base/assert.h"
#include "base/hash.h"
#include "base/stats.h"

enum rank {
    RANK_OVERRIDE,
    RANK_FLAG,
    RANK_GROUP,
    RANK_MAILBOX,
    RANK_MAIL_USER,
    RANK_LATE_FLAG, /* Exchange's attributes come first in this domain, and do not say */
    RANK_HOLDER,    /* a mail user of somebody else's domain: who holds it sends the mail on */
    RANK_ENTRY,     /* a plain object where mailboxes have more to show */
    RANK_CONTACT,
    RANK_LAST, /* a contact or a circle that points to no forest: who holds it may know more */
    RANK_NONE  /* says nothing about where */
};

static const char *const why_text[] = {
    [RANK_OVERRIDE] = "override: set by an administrator",
    [RANK_FLAG] = "flag: the cutover flag names the forest",
    [RANK_GROUP] = "group: owned by the forest it is in",
    [RANK_MAILBOX] = "mailbox: the forest whose directory shows it",
    [RANK_MAIL_USER] = "mail user: the forest that owns the target address",
    [RANK_LATE_FLAG] = "flag: Exchange's attributes do not say, and the flag names the forest",
    [RANK_ENTRY] = "entry: the forest whose directory has it",
    [RANK_CONTACT] = "contact: the forest that owns the target address",
    [RANK_HOLDER] = "mail user: its target is outside, and the forest that holds it sends mail on",
    [RANK_LAST] = "last resort: the forest that holds the object, which points nowhere else"};

/* What one object says. */
struct place {
    enum rank rank;
    int forest;
    const char *evidence;
};
struct lookup {
    const struct dir_view *v;
    struct dir_result *out;
    enum conf_evidence evidence;
    unsigned overrides; /* 0 or 1 claims before those of the members */
    struct place place[DIR_CLAIMS_MAX];
    const struct member *member[DIR_CLAIMS_MAX]; /* NULL: an override */
    struct person person;
};

/* ---- one object ---- */

/* `plain_is_weak`: an object without any evidence is no mailbox where real ones have some.
 * `circles`: its target is in a shared domain, which brings the mail back to us. */
static enum rank rank_object(const struct dir_entry *e, enum rules_why why, bool plain_is_weak,
                             bool circles)
{
    bool plain = e->evidence == DIR_EVIDENCE_SOURCE && why != RULES_BY_TARGET;
    switch (e->kind) {
    case DIR_GROUP:
        return RANK_GROUP;
    case DIR_MAILBOX:
        return plain && plain_is_weak ? RANK_ENTRY : RANK_MAILBOX;
    case DIR_MAIL_USER:
        return why == RULES_BY_TARGET ? RANK_MAIL_USER : circles ? RANK_LAST : RANK_HOLDER;
    case DIR_CONTACT:
        return why == RULES_BY_TARGET ? RANK_CONTACT : RANK_LAST;
    case DIR_OVERRIDE:
        break;
    }
    return RANK_NONE;
}

/* Location rules 4 to 7. */
static struct place place_by_object(const struct dir_rules *rules, const struct rules_source *s,
                                    const struct dir_entry *e, enum conf_evidence evidence)
{
    enum rules_why why;
    struct place p = {.forest = rules_place(rules, s, e, &why)};
    bool plain_is_weak =
        s->conf->type == CONF_SOURCE_ACTIVE_DIRECTORY || evidence == CONF_EVIDENCE_EXCHANGE_FLAG;
    bool circles = why == RULES_BY_ENTRY && e->target.local.n != 0 &&
                   conf_find_domain(rules->conf, e->target.domain) != CONF_NONE;
    p.rank = rank_object(e, why, plain_is_weak, circles);
    p.evidence = why == RULES_BY_TARGET    ? "targetAddress"
                 : why == RULES_BY_NOTHING ? "mail user without a targetAddress"
                                           : dir_evidence_text(e->evidence);
    return p;
}

/* The object's kind is all that counts besides the flag. */
static struct place place_without_flag(const struct rules_source *s, const struct dir_entry *e)
{
    struct place p = {.rank = RANK_ENTRY, .forest = s->forest, .evidence = "entry without a flag"};
    if (e->kind == DIR_GROUP)
        p.rank = RANK_GROUP;
    else if (e->kind != DIR_MAILBOX) /* it is elsewhere, and only the flag could say where */
        p = (struct place){RANK_NONE, CONF_NONE, "no flag, and its mailbox is elsewhere"};
    return p;
}

static struct place place_of(const struct dir_rules *rules, const struct rules_source *s,
                             const struct dir_entry *e, enum conf_evidence evidence)
{
    int forest = e->flag.n != 0 && evidence != CONF_EVIDENCE_EXCHANGE
                     ? rules_flag_forest(s, e->flag)
                     : CONF_NONE;
    struct place flag = {RANK_FLAG, forest, s->flag_text}, p;
    if (forest != CONF_NONE && evidence != CONF_EVIDENCE_EXCHANGE_FLAG)
        return flag;
    p = evidence == CONF_EVIDENCE_FLAG ? place_without_flag(s, e)
                                       : place_by_object(rules, s, e, evidence);
    if (p.forest == CONF_NONE)
        p.rank = RANK_NONE;
    flag.rank = RANK_LATE_FLAG;
    return forest != CONF_NONE && p.rank > RANK_LATE_FLAG ? flag : p;
}

/* ---- claims ---- */

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

static void claim_member(struct lookup *l, const struct member *m)
{
    const struct dir_rules *rules = l->v->rules;
    const struct rules_source *s = &rules->source[l->v->source[m->slot].index];
    struct dir_claim *c = &l->out->claim[l->out->n_claims];
    struct place *p = &l->place[l->out->n_claims];
    l->member[l->out->n_claims++] = m;
    *p = place_of(rules, s, &m->entry, l->evidence);
    c->source = m->slot;
    c->kind = m->entry.kind;
    c->forest = rules_forest_name(rules, p->forest);
    c->primary = put_address(l->out, &m->first);
    c->routing = put_address(l->out, &m->entry.routing);
    c->target = put_address(l->out, &m->entry.target);
    c->alias = m->entry.alias;
    c->evidence = p->evidence;
    memcpy(c->name, m->entry.name, sizeof(c->name));
    c->recipient_type = m->entry.recipient_type;
    c->require_auth = m->entry.require_auth;
    c->vanished_ms = m->entry.vanished_ms;
    c->routes_until_ms = c->vanished_ms != 0 ? c->vanished_ms + s->conf->grace_ms : 0;
    c->uuid = table_record_uuid(&m->record);
    c->table = m->record.t;
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

/* An override counts for the person: any address of any of its objects. */
static void claim_override(struct lookup *l, struct str key)
{
    struct override_search o = {.overrides = l->v->overrides};
    struct dir_entry e;
    struct dir_address first;
    override_find(&o, key);
    for (unsigned i = 0; !o.has && i < l->person.n; i++)
        table_record_addresses(&l->person.m[l->person.order[i]].record, override_step, &o);
    if (!o.has || !table_record_head(&o.found, &e, &first))
        return;
    int forest = conf_find_forest(l->v->rules->conf, e.flag);
    l->place[0] = (struct place){.rank = forest != CONF_NONE ? RANK_OVERRIDE : RANK_NONE,
                                 .forest = forest, /* NONE: it is no longer configured */
                                 .evidence = "override"};
    l->member[0] = NULL;
    l->out->claim[0] = (struct dir_claim){.source = DIR_SOURCE_OVERRIDES,
                                          .kind = DIR_OVERRIDE,
                                          .forest = rules_forest_name(l->v->rules, forest),
                                          .primary = put_address(l->out, &first),
                                          .evidence = "override"};
    l->out->n_claims = 1;
}

/* ---- the address by which the hosting forest knows it ---- */

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

/* What one object offers. */
static struct str routing_from(struct lookup *l, unsigned i, int forest)
{
    const struct dir_rules *rules = l->v->rules;
    const struct member *m = l->member[i];
    struct str domain = rules_routing_domain(rules, forest);
    if (m == NULL)
        return STR_NULL;
    if (l->out->claim[i].routing.n != 0 && l->place[i].forest == forest)
        return l->out->claim[i].routing;
    if (domain.n != 0) {
        struct domain_search s = {.domain = domain};
        table_record_addresses(&m->record, domain_step, &s);
        if (s.found.local.n != 0)
            return put_address(l->out, &s.found);
    }
    if (m->entry.target.local.n != 0 && rules_domain_owner(rules, m->entry.target.domain) == forest)
        return l->out->claim[i].target;
    return STR_NULL;
}

/* An override is about the person whose object has the best priority. */
static unsigned person_of(const struct lookup *l, unsigned i)
{
    if (l->member[i] == NULL && l->out->n_claims > 1)
        i = 1;
    return l->member[i] != NULL ? l->member[i]->person : 0;
}

/* Only the person's own objects may name it: another's would send the mail to somebody else. */
static bool is_same_person(const struct lookup *l, unsigned a, unsigned b)
{
    return person_of(l, a) == person_of(l, b);
}

static struct str routing_of(struct lookup *l, unsigned best)
{
    int forest = l->place[best].forest;
    struct str routing = routing_from(l, best, forest);
    for (unsigned i = 0; i < l->out->n_claims && routing.n == 0; i++)
        if (i != best && is_same_person(l, best, i))
            routing = routing_from(l, i, forest);
    return routing;
}

/* ---- deciding ---- */

static bool has_vanished(const struct lookup *l, unsigned i)
{
    return l->member[i] != NULL && l->member[i]->entry.vanished_ms != 0;
}

const char dir_conflict_forests[] = "two forests claim it";
const char dir_conflict_objects[] = "the address is on two objects that are not one person";

/* What the claim `i` has against the best one, or NULL. */
static const char *contradiction(const struct lookup *l, unsigned best, unsigned i)
{
    const struct place *b = &l->place[best], *p = &l->place[i];
    if (b->rank == RANK_OVERRIDE || has_vanished(l, i) || l->member[i] == NULL)
        return NULL;
    if (!is_same_person(l, best, i) && l->member[i]->direct)
        return dir_conflict_objects;
    if (p->rank == RANK_NONE || p->forest == b->forest)
        return NULL;
    /* a group and a mailbox with one address are as much a conflict as two mailboxes */
    bool equal = p->rank == b->rank ||
                 (b->rank == RANK_GROUP && (p->rank == RANK_MAILBOX || p->rank == RANK_ENTRY));
    return equal ? dir_conflict_forests : NULL;
}

/* By rank, but the living before what has vanished: a mailbox that went to another forest is there,
 * however it was described here. Except what is alive and weak: a contact must not take the mail of
 * a mailbox that was deleted by mistake. */
static unsigned order_of(const struct lookup *l, unsigned i)
{
    enum rank rank = l->place[i].rank;
    bool weak = rank >= RANK_ENTRY;
    if (rank == RANK_NONE)
        return 4 * RANK_NONE;
    return rank + (weak ? 2 * RANK_NONE : 0) + (has_vanished(l, i) ? RANK_NONE : 0);
}

static unsigned best_claim(const struct lookup *l)
{
    unsigned best = 0;
    for (unsigned i = 1; i < l->out->n_claims; i++)
        if (order_of(l, i) < order_of(l, best))
            best = i;
    return best;
}

static bool decide(struct lookup *l)
{
    struct dir_result *out = l->out;
    unsigned best = best_claim(l);
    if (out->n_claims == 0 || l->place[best].rank == RANK_NONE)
        return false;
    out->best = &out->claim[best];
    out->why = has_vanished(l, best)
                   ? "vanished: where its source had it last, for the grace period"
                   : why_text[l->place[best].rank];
    for (unsigned i = 0; i < out->n_claims && out->conflict == NULL; i++)
        if (i != best)
            out->conflict = contradiction(l, best, i);
    out->found = out->conflict != NULL ? DIR_CONFLICT : DIR_FOUND;
    out->claim[best].routing = routing_of(l, best);
    return true;
}

/* ---- lookups ---- */

static void lookup_begin(struct lookup *l, const struct dir_view *v, struct dir_result *out)
{
    l->v = v;
    l->out = out;
    out->n_claims = out->text_used = 0;
    out->best = NULL;
    out->stale_source = out->conflict = NULL;
}

static void count(const struct dir_result *out)
{
    stats_inc(STAT_directory_lookups);
    if (out->conflict != NULL)
        stats_inc(STAT_directory_conflicts);
}

/* Of the domain that was asked for, else of the person's primary address. */
static enum conf_evidence evidence_for(const struct lookup *l, struct str key)
{
    const struct dir_rules *rules = l->v->rules;
    if (rules->one_evidence)
        return rules->evidence;
    return rules_evidence(rules, key.n != 0 ? str_from(key, (size_t)(str_rfind(key, '@') + 1))
                                            : l->person.m[l->person.order[0]].first.domain);
}

/* l->person is found. */
static void judge(struct lookup *l, struct str key, int64_t now_ms)
{
    struct person *p = &l->person;
    struct dir_result *out = l->out;
    if (l->v->overrides != NULL && l->v->overrides->n != 0)
        claim_override(l, key);
    if (p->n != 0)
        l->evidence = evidence_for(l, key);
    for (unsigned i = 0; i < p->n && out->n_claims < DIR_CLAIMS_MAX; i++)
        claim_member(l, &p->m[p->order[i]]);
    if (!decide(l))
        view_not_found(l->v, key, now_ms, out);
}

void view_lookup(const struct dir_view *v, struct str key, int64_t now_ms, struct dir_result *out)
{
    struct lookup l;
    lookup_begin(&l, v, out);
    person_find(v, key, hash64(key.p, key.n), &l.person);
    judge(&l, key, now_ms);
}

void dir_view_lookup(const struct dir_view *v, struct str key, int64_t now_ms,
                     struct dir_result *out)
{
    view_lookup(v, key, now_ms, out);
    count(out);
}

/* Living objects of more than one person? */
static bool is_ambiguous(const struct person *p)
{
    unsigned person[2], n = 0;
    for (unsigned i = 0; i < p->n && n < 2; i++)
        if (p->m[i].entry.vanished_ms == 0 && (n == 0 || p->m[i].person != person[0]))
            person[n++] = p->m[i].person;
    return n > 1;
}

void dir_view_lookup_other(const struct dir_view *v, enum dir_key_type type, struct str key,
                           int64_t now_ms, struct dir_result *out)
{
    struct lookup l;
    lookup_begin(&l, v, out);
    person_find_other(v, type, key, &l.person);
    judge(&l, STR_NULL, now_ms);
    view_look_in_held(v, type, key, out);
    count(out);
    if (!is_ambiguous(&l.person))
        return;
    out->found = DIR_AMBIGUOUS;
    out->best = NULL;
    out->why = out->conflict = "several objects that are not one person have this key";
}
