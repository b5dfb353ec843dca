/*
 * doctor_gather.c - the objects of one recipient, and what can be asked about them.
 *
 * Whatever has an address or another key of the object in hand is gathered, in all sources; wider
 * than a lookup joins (person.h), because what is joined by half is what the doctor looks for.
 */
#include "directory/doctor/doctor_int.h"

#include "base/hash.h"

/* ---- objects ---- */

void doctor_place(struct doctor *d, unsigned slot, struct doctor_object *o)
{
    const struct dir_rules *rules = doctor_rules(d);
    o->slot = slot;
    o->s = &rules->source[d->view->source[slot].index];
    o->by_target = false;
    o->home = o->s->forest;
    o->flag = o->e.flag.n != 0 ? rules_flag_forest(o->s, o->e.flag) : CONF_NONE;
    o->place = rules_place(rules, o->s, &o->e, &o->why);
}

bool doctor_object_read(struct doctor *d, unsigned slot, const struct table_record *r,
                        struct doctor_object *o)
{
    if (!table_record_decode(r, o->room, &o->e) || o->e.vanished_ms != 0)
        return false;
    doctor_place(d, slot, o);
    return true;
}

bool doctor_is_mailbox(const struct doctor_object *o)
{
    return o->e.kind == DIR_MAILBOX && o->e.evidence != DIR_EVIDENCE_SOURCE && doctor_is_home(o);
}

bool doctor_has_address(const struct doctor_object *o, const struct dir_address *a)
{
    for (unsigned i = 0; i < o->e.n_address; i++)
        if (str_eq(o->e.address[i].domain, a->domain) &&
            str_eq_nocase(o->e.address[i].local, a->local))
            return true;
    return false;
}

static bool is_x500(enum dir_key_type t)
{
    return t == DIR_KEY_X500 || t == DIR_KEY_LEGACY_DN;
}

bool doctor_has_x500(const struct doctor_object *o, struct str x500)
{
    for (unsigned i = 0; i < o->e.n_other; i++)
        if (is_x500(o->e.other[i].type) && str_eq_nocase(o->e.other[i].key, x500))
            return true;
    return false;
}

struct str doctor_legacy_dn(const struct doctor_object *o)
{
    for (unsigned i = 0; i < o->e.n_other; i++)
        if (o->e.other[i].type == DIR_KEY_LEGACY_DN)
            return o->e.other[i].key;
    return STR_NULL;
}

/* ---- forests and domains ---- */

bool doctor_is_shared_domain(const struct doctor *d, struct str domain)
{
    const struct conf *c = doctor_rules(d)->conf;
    int i = conf_find_domain(c, domain);
    return i != CONF_NONE && c->domain[i].type == CONF_DOMAIN_SHARED;
}

static unsigned count_sources(const struct doctor *d, int forest, bool complete)
{
    unsigned n = 0;
    for (unsigned i = 0; i < d->view->n; i++) {
        const struct view_source *s = &d->view->source[i];
        if (doctor_rules(d)->source[s->index].forest == forest)
            n += atomic_load_explicit(&s->fresh->complete_once, memory_order_acquire) == complete;
    }
    return n;
}

bool doctor_is_incomplete(const struct doctor *d, int forest)
{
    return forest != CONF_NONE && count_sources(d, forest, false) != 0;
}

bool doctor_knows_forest(const struct doctor *d, int forest)
{
    return forest != CONF_NONE && count_sources(d, forest, false) == 0 &&
           count_sources(d, forest, true) != 0;
}

const char *doctor_forest_name(const struct doctor *d, int forest)
{
    return forest != CONF_NONE ? doctor_rules(d)->conf->forest[forest].name : "nowhere";
}

/* ---- the objects of one recipient ---- */

static bool is_in(const struct doctor_person *p, unsigned slot, const unsigned char *uuid)
{
    for (unsigned i = 0; i < p->n; i++)
        if (p->object[i].slot == slot && memcmp(p->object[i].e.uuid, uuid, DIR_UUID_SIZE) == 0)
            return true;
    return false;
}

static void add_records(struct doctor *d, unsigned slot, const struct table_record *r, unsigned n,
                        bool by_target)
{
    struct doctor_person *p = &d->person;
    for (unsigned i = 0; i < n && p->n < PERSON_OBJECTS_MAX; i++) {
        struct doctor_object *o = &p->object[p->n];
        if (is_in(p, slot, table_record_uuid(&r[i])) || !doctor_object_read(d, slot, &r[i], o))
            continue;
        o->by_target = by_target;
        p->n++;
    }
}

/* The objects with this address; in sources of `forest` only, if it is one. */
static void add_address(struct doctor *d, const struct dir_address *a, int forest)
{
    struct table_record found[PERSON_OBJECTS_MAX];
    char text[ADDRESS_MAX + 1];
    struct str key = dir_address_key(a, text);
    uint64_t hash = hash64(key.p, key.n);
    for (unsigned slot = 0; slot < d->view->n; slot++) {
        const struct view_source *s = &d->view->source[slot];
        if (forest != CONF_NONE && doctor_rules(d)->source[s->index].forest != forest)
            continue;
        unsigned n = stack_find_key(s->stack, key, hash, found, PERSON_OBJECTS_MAX);
        add_records(d, slot, found, n, forest != CONF_NONE);
    }
}

/* A legacyExchangeDN of one object can be an X500: address of the other. */
static void add_other_key(struct doctor *d, const struct dir_other_key *k)
{
    struct table_record found[PERSON_OBJECTS_MAX];
    unsigned types =
        is_x500(k->type) ? 1u << DIR_KEY_X500 | 1u << DIR_KEY_LEGACY_DN : 1u << k->type;
    uint64_t hash = dir_other_hash(k->type, k->key);
    for (unsigned slot = 0; slot < d->view->n; slot++) {
        const struct dir_stack *s = d->view->source[slot].stack;
        if (s->key_types & types)
            add_records(d, slot, found,
                        stack_find_other(s, types, k->key, hash, found, PERSON_OBJECTS_MAX), false);
    }
}

void doctor_gather(struct doctor *d)
{
    const struct dir_entry *e = &d->person.object[0].e;
    for (unsigned i = 0; i < e->n_address; i++)
        add_address(d, &e->address[i], CONF_NONE);
    for (unsigned i = 0; i < e->n_other; i++)
        add_other_key(d, &e->other[i]);
    if (e->target.local.n != 0) {
        int owner = rules_domain_owner(doctor_rules(d), e->target.domain);
        if (owner != CONF_NONE)
            add_address(d, &e->target, owner);
    }
}

const struct dir_result *doctor_result(struct doctor *d)
{
    struct doctor_person *p = &d->person;
    if (!p->is_looked_up)
        view_lookup(d->view, p->key, d->o.now_ms, &p->result);
    p->is_looked_up = true;
    return &p->result;
}

const struct doctor_object *doctor_find_home(const struct doctor_person *p, int not_forest)
{
    const struct doctor_object *found = NULL;
    for (unsigned i = 0; i < p->n; i++) {
        const struct doctor_object *o = &p->object[i];
        if (doctor_is_home(o) && o->home != not_forest &&
            (found == NULL || (doctor_is_mailbox(o) && !doctor_is_mailbox(found))))
            found = o;
    }
    return found;
}

bool doctor_find_in_source(const struct doctor *d, unsigned slot, const struct dir_address *a)
{
    struct table_record found;
    char text[ADDRESS_MAX + 1];
    struct str key = dir_address_key(a, text);
    return stack_find_key(d->view->source[slot].stack, key, hash64(key.p, key.n), &found, 1) != 0;
}
