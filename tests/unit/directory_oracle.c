/*
 * directory_oracle.c - see directory_oracle.h.
 */
#include "tests/unit/directory_oracle.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define MEMBERS (SOURCES * OBJECTS)

const char *const oracle_forest[FORESTS] = {"old", "new", "cloud"};
const char *const oracle_routing_domain[FORESTS] = {"old.local", "new.local", "cloud.local"};
const char *const oracle_domain[DOMAINS] = {"x.test", "y.test", "z.test", "w.test"};
const char *const oracle_address[ADDRESSES] = {
    "a@x.test", "b@x.test",    "c@x.test",    "d@x.test",    "a@y.test",
    "b@y.test", "c@y.test",    "a@z.test",    "b@z.test",    "a@w.test",
    "b@w.test", "a@old.local", "b@old.local", "a@new.local", "b@cloud.local"};
const char *const oracle_target[TARGETS] = {"t@old.local",   "t@new.local",    "a@new.local",
                                            "t@cloud.local", "t@outside.test", "t@x.test"};
const char *const oracle_x500[X500_NAMES] = {"/o=One/cn=A", "/o=One, Inc./cn=B", "/o=two/cn=c"};

/* ---- one object by itself ---- */

enum says { /* location rules, strongest first */
    SAYS_OVERRIDE,
    SAYS_FLAG,
    SAYS_GROUP,
    SAYS_MAILBOX,
    SAYS_MAIL_USER,
    SAYS_FLAG_AT_LAST,
    SAYS_OUTSIDE, /* a mail user of somebody else's domain */
    SAYS_ENTRY,
    SAYS_CONTACT,
    SAYS_LITTLE, /* it points to no forest, or back to us */
    SAYS_NOTHING
};
struct member {
    const struct oracle_source *source;
    const struct oracle_slot *slot;
    int s, id;
    bool direct; /* it has what was asked for */
    int person;
    enum says says;
    int forest;
};

static const char *domain_of(const char *address)
{
    return strchr(address, '@') + 1;
}

static int owner_of(int target)
{
    for (int f = 0; target != NOBODY && f < FORESTS; f++)
        if (strcmp(domain_of(oracle_target[target]), oracle_routing_domain[f]) == 0)
            return f;
    return NOBODY;
}

/* A shared domain: mail for it comes back to us. */
static bool is_circle(int target)
{
    bool result = false;
    for (int d = 0; target != NOBODY && d < DOMAINS; d++)
        result = result || strcmp(domain_of(oracle_target[target]), oracle_domain[d]) == 0;
    return result;
}

static void says_exchange(struct member *m, bool plain_is_weak)
{
    const struct object *o = &m->slot->o;
    int owner = owner_of(o->target);
    bool is_mailbox = o->home_mdb || o->type == TYPE_MAILBOX || o->type == TYPE_SHARED;
    bool is_mail_user = o->type == TYPE_MAIL_USER || o->type == TYPE_REMOTE;
    bool is_contact = o->type == TYPE_CONTACT || o->class == CLASS_CONTACT;
    m->forest = m->source->forest;
    if (o->class == CLASS_GROUP || o->type == TYPE_GROUP) { /* rule 4 */
        m->says = SAYS_GROUP;
    } else if (is_mailbox) { /* rule 5 */
        m->says = SAYS_MAILBOX;
        m->forest = owner != NOBODY ? owner : m->source->forest;
    } else if (is_mail_user || (!is_contact && o->target != NOBODY)) { /* rule 6 */
        m->says = owner != NOBODY        ? SAYS_MAIL_USER
                  : is_circle(o->target) ? SAYS_LITTLE
                                         : SAYS_OUTSIDE;
        if (owner != NOBODY)
            m->forest = owner;
        else if (o->target == NOBODY)
            m->forest = NOBODY;
    } else if (is_contact) { /* rule 7 */
        m->says = owner != NOBODY ? SAYS_CONTACT : SAYS_LITTLE;
        m->forest = owner != NOBODY ? owner : m->source->forest;
    } else {
        m->says = plain_is_weak ? SAYS_ENTRY : SAYS_MAILBOX;
    }
    if (m->forest == NOBODY)
        m->says = SAYS_NOTHING;
}

/* With evidence = flag, an object says by its being there what its flag does not. */
static void says_by_being_there(struct member *m)
{
    struct member asked = *m;
    says_exchange(&asked, true);
    const struct object *o = &m->slot->o;
    bool elsewhere = !o->home_mdb && o->type != TYPE_MAILBOX && o->type != TYPE_SHARED &&
                     (o->type == TYPE_MAIL_USER || o->type == TYPE_REMOTE ||
                      o->type == TYPE_CONTACT || o->class == CLASS_CONTACT || o->target != NOBODY);
    bool group = o->class == CLASS_GROUP || o->type == TYPE_GROUP;
    m->forest = m->source->forest;
    m->says = group ? SAYS_GROUP : SAYS_ENTRY;
    if (m->forest == NOBODY || (elsewhere && !group)) {
        m->says = SAYS_NOTHING;
        m->forest = NOBODY;
    }
}

static void says(struct member *m, enum oracle_evidence evidence)
{
    const struct object *o = &m->slot->o;
    int flagged = o->flag == 0 || o->flag == 1 ? m->source->flag_forest[o->flag] : NOBODY;
    if (evidence == EXCHANGE_ONLY)
        flagged = NOBODY;
    if (evidence == FLAG_ONLY)
        says_by_being_there(m);
    else
        says_exchange(m, m->source->active_directory || evidence == EXCHANGE_FLAG);
    enum says flag = evidence == EXCHANGE_FLAG ? SAYS_FLAG_AT_LAST : SAYS_FLAG;
    if (flagged != NOBODY && (flag == SAYS_FLAG || m->says > flag)) {
        m->says = flag;
        m->forest = flagged;
    }
}

static bool has_address(const struct object *o, int address)
{
    return o->primary != NOBODY && (o->primary == address || (o->others >> address & 1) != 0);
}

static bool has_x500(const struct object *o, int name)
{
    return o->legacy == name || (o->x500 >> name & 1) != 0;
}

/* ---- who is one person ---- */

struct people {
    const struct oracle *o;
    int n;
    struct member m[MEMBERS]; /* by priority */
    bool in[MEMBERS];         /* joined with what was asked for */
};

static void people_init(struct people *p, const struct oracle *o)
{
    *p = (struct people){.o = o};
    for (int priority = 0; priority < 10; priority++)
        for (int s = 0; s < SOURCES; s++) {
            const struct oracle_source *src = &o->source[s];
            for (int id = 0; id < OBJECTS && src->configured && src->priority == priority; id++)
                if (src->slot[id].there && src->slot[id].o.primary != NOBODY) {
                    p->m[p->n] = (struct member){
                        .source = src, .slot = &src->slot[id], .s = s, .id = id, .person = p->n};
                    p->n++;
                }
        }
}

typedef bool has_fn(const struct object *o, int what);

/* The one object of source s that has it, or the one that is alive; NOBODY if none is the one. */
static int the_one(const struct people *p, int s, has_fn *has, int what)
{
    int n = 0, living = 0, any = NOBODY, alive = NOBODY;
    for (int i = 0; i < p->n; i++) {
        if (p->m[i].s != s || !has(&p->m[i].slot->o, what))
            continue;
        any = i;
        n++;
        if (!p->m[i].slot->vanished) {
            alive = i;
            living++;
        }
    }
    return n == 1 ? any : living == 1 ? alive : NOBODY;
}

/* Both have it, each as the one of its source: then it proves that they are one person. */
static bool proves(const struct people *p, int a, int b, has_fn *has, int what)
{
    return what != NOBODY && the_one(p, p->m[a].s, has, what) == a &&
           the_one(p, p->m[b].s, has, what) == b;
}

static bool has_key(const struct object *o, int key)
{
    return o->key == key;
}

static bool linked(const struct people *p, int a, int b, has_fn *asked_has, int asked)
{
    const struct oracle *o = p->o;
    const struct object *x = &p->m[a].slot->o, *y = &p->m[b].slot->o;
    bool result = false;
    if (p->m[a].s == p->m[b].s)
        return false;
    /* both have what was asked for */
    if (asked_has == has_address ? o->join_smtp : o->join_x500)
        result = proves(p, a, b, asked_has, asked);
    if (o->join_smtp) /* each has the other's primary address */
        result = result || (proves(p, a, b, has_address, x->primary) &&
                            proves(p, a, b, has_address, y->primary));
    for (int name = 0; o->join_x500 && name < X500_NAMES; name++)
        result = result || proves(p, a, b, has_x500, name);
    for (int key = 0; o->join_key && key < 2; key++)
        result = result || proves(p, a, b, has_key, key);
    return result;
}

/* From the objects that have it to all that are joined with them, step by step. */
static void people_gather(struct people *p, has_fn *has, int what)
{
    bool more = true;
    for (int i = 0; i < p->n; i++)
        p->in[i] = p->m[i].direct = has(&p->m[i].slot->o, what);
    while (more) {
        more = false;
        for (int a = 0; a < p->n; a++)
            for (int b = 0; b < p->n; b++) {
                if (!p->in[a] || !linked(p, a, b, has, what) ||
                    (p->in[b] && p->m[a].person == p->m[b].person))
                    continue;
                int from = p->m[b].person, to = p->m[a].person;
                for (int i = 0; i < p->n; i++)
                    if (p->m[i].person == from)
                        p->m[i].person = to;
                p->in[b] = more = true;
            }
    }
    int n = 0;
    for (int i = 0; i < p->n; i++)
        if (p->in[i])
            p->m[n++] = p->m[i];
    p->n = n;
}

/* ---- deciding ---- */

/* An override for what was asked for, else for any address of the objects found. */
static int override_of(const struct people *p, int asked, struct verdict *out)
{
    int result = NOBODY;
    if (asked != NOBODY && p->o->override[asked] != NOBODY)
        return p->o->override[asked];
    for (int i = 0; i < p->n; i++)
        for (int a = 0; a < ADDRESSES; a++) {
            int forest = has_address(&p->m[i].slot->o, a) ? p->o->override[a] : NOBODY;
            if (forest == NOBODY)
                continue;
            out->open = out->open || (result != NOBODY && result != forest);
            result = forest;
        }
    return result;
}

/* What is alive goes before what has vanished, and both before a living object that proves little:
 * an account, a contact, a target outside. Lower is stronger. */
static int strength(const struct member *m)
{
    bool weak = m->says >= SAYS_ENTRY;
    return (int)m->says + (weak ? 200 : 0) + (m->slot->vanished ? 100 : 0);
}

static const struct member *best_of(const struct people *p)
{
    const struct member *best = NULL;
    for (int i = 0; i < p->n; i++)
        if (p->m[i].says != SAYS_NOTHING && (best == NULL || strength(&p->m[i]) < strength(best)))
            best = &p->m[i];
    return best;
}

static bool contradicts(const struct member *best, const struct member *m)
{
    if (m == best || m->slot->vanished)
        return false;
    if (m->direct && m->person != best->person) /* one address, two people */
        return true;
    if (m->says == SAYS_NOTHING || m->forest == best->forest)
        return false;
    return m->says == best->says ||
           (best->says == SAYS_GROUP && (m->says == SAYS_MAILBOX || m->says == SAYS_ENTRY));
}

/* The first address by which the forest knows the object: its primary one, else by the alphabet. */
static int own_address_in(const struct object *o, int forest)
{
    if (strcmp(domain_of(oracle_address[o->primary]), oracle_routing_domain[forest]) == 0)
        return o->primary;
    for (int a = 0; a < ADDRESSES; a++) /* they are in the order of the alphabet */
        if (has_address(o, a) &&
            strcmp(domain_of(oracle_address[a]), oracle_routing_domain[forest]) == 0)
            return a;
    return NOBODY;
}

static const char *routing_by(const struct member *m, int forest)
{
    const struct object *o = &m->slot->o;
    if (o->routing != NOBODY && m->forest == forest)
        return oracle_address[o->routing];
    int own = own_address_in(o, forest);
    if (own != NOBODY)
        return oracle_address[own];
    return owner_of(o->target) == forest ? oracle_target[o->target] : "";
}

static void routing_of(const struct people *p, const struct member *best, int forest,
                       struct verdict *out)
{
    const char *routing = best != NULL ? routing_by(best, forest) : "";
    int person = best != NULL ? best->person : p->n != 0 ? p->m[0].person : NOBODY;
    for (int i = 0; i < p->n && *routing == '\0'; i++)
        if (p->m[i].person == person)
            routing = routing_by(&p->m[i], forest);
    snprintf(out->routing, sizeof(out->routing), "%s", routing);
}

static void decide(struct people *p, int asked, struct verdict *out)
{
    out->open = false;
    out->forest = override_of(p, asked, out);
    out->found = ORACLE_FOUND;
    out->routing[0] = '\0';
    if (out->forest != NOBODY) {
        routing_of(p, NULL, out->forest, out);
        return;
    }
    const struct member *best = best_of(p);
    if (best == NULL) {
        out->found = p->n != 0 ? ORACLE_NOT_YET : ORACLE_NOT_FOUND;
        for (int s = 0; s < SOURCES; s++)
            if (p->o->source[s].configured && !p->o->source[s].complete)
                out->found = ORACLE_NOT_YET;
        return;
    }
    out->forest = best->forest;
    for (int i = 0; i < p->n; i++)
        if (contradicts(best, &p->m[i]))
            out->found = ORACLE_CONFLICT;
    routing_of(p, best, best->forest, out);
}

static enum oracle_evidence evidence_for(const struct oracle *o, const char *domain,
                                         struct verdict *out)
{
    for (int d = 0; d < DOMAINS; d++)
        if (strcmp(domain, oracle_domain[d]) == 0)
            return o->evidence[d];
    out->open = true;
    return FLAG_EXCHANGE;
}

static void judge(struct people *p, int asked, struct verdict *out)
{
    struct verdict other = {0};
    const char *domain = asked != NOBODY ? domain_of(oracle_address[asked])
                         : p->n != 0     ? domain_of(oracle_address[p->m[0].slot->o.primary])
                                         : oracle_domain[0];
    enum oracle_evidence evidence = evidence_for(p->o, domain, &other);
    for (int i = 0; i < p->n; i++)
        says(&p->m[i], evidence);
    decide(p, asked, out);
    out->open = out->open || other.open;
}

void oracle_ask(const struct oracle *o, int address, struct verdict *out)
{
    struct people p;
    people_init(&p, o);
    people_gather(&p, has_address, address);
    judge(&p, address, out);
}

static bool has_legacy(const struct object *o, int name)
{
    return o->legacy == name;
}

void oracle_ask_x500(const struct oracle *o, int name, struct verdict *out)
{
    struct people p;
    int persons = 0, first = NOBODY;
    bool legacy = false;
    people_init(&p, o);
    for (int i = 0; i < p.n; i++)
        legacy = legacy || has_legacy(&p.m[i].slot->o, name);
    people_gather(&p, legacy ? has_legacy : has_x500, name);
    judge(&p, NOBODY, out);
    for (int i = 0; i < p.n; i++)
        if (!p.m[i].slot->vanished && p.m[i].person != first) {
            first = p.m[i].person;
            persons++;
        }
    if (persons > 1) {
        out->found = ORACLE_AMBIGUOUS;
        out->forest = NOBODY;
        out->routing[0] = '\0';
    }
}
