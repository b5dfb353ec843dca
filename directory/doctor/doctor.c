/*
 * doctor.c - the pass: every source, every override, every entry once, in steps.
 *
 * A recipient is judged as a whole once, when the pass comes to its object in the first source that
 * has one; what is wrong with a single object is said when the pass comes to that object.
 */
#include "directory/doctor/doctor_int.h"

#include "base/mem.h"

enum stage {
    STAGE_SOURCES,
    STAGE_OVERRIDES,
    STAGE_ENTRIES,
    STAGE_END
};

/* ---- life ---- */

static struct dir_view *without_overrides(const struct dir_view *v)
{
    struct dir_view *b = view_new(v->generation, rules_ref(v->rules), NULL, v->n);
    for (unsigned i = 0; i < v->n; i++)
        b->source[i] = view_source_copy(&v->source[i]);
    return b;
}

struct doctor *doctor_new(struct dir_view *v, const struct doctor_options *o)
{
    struct doctor *d = NEW(struct doctor);
    d->o = *o;
    d->view = dir_view_ref(v);
    d->bare = without_overrides(v);
    d->only_slot = -1;
    for (unsigned i = 0; i < v->n; i++)
        if (o->source[0] != '\0' &&
            str_eq_nocase(v->rules->source[v->source[i].index].name, str_c(o->source)))
            d->only_slot = (int)i;
    d->at.source = d->only_slot >= 0 ? (unsigned)d->only_slot : 0;
    d->walk = NEW(struct dir_walk);
    for (unsigned i = 1; i < PERSON_OBJECTS_MAX; i++)
        d->person.object[i].room = mem_alloc(sizeof(struct dir_entry_room));
    d->override_room = mem_alloc(sizeof(struct dir_entry_room));
    arena_init(&d->texts, 16384, (size_t)1 << 20);
    return d;
}

void doctor_free(struct doctor **dp)
{
    struct doctor *d = *dp;
    *dp = NULL;
    if (d == NULL)
        return;
    mem_free(d->walk);
    for (unsigned i = 1; i < PERSON_OBJECTS_MAX; i++)
        mem_free(d->person.object[i].room);
    mem_free(d->override_room);
    arena_free(&d->texts);
    dir_view_unref(&d->bare);
    dir_view_unref(&d->view);
    mem_free(d);
}

uint64_t doctor_entries(const struct doctor *d)
{
    return d->entries;
}

/* ---- one entry ---- */

/* The address by which it is ours to judge: in a shared domain (or the domain asked for), the
 * primary one before others; NULL if none. */
static const struct dir_address *our_address(const struct doctor *d, const struct dir_entry *e)
{
    for (unsigned i = 0; i < e->n_address; i++) {
        struct str domain = e->address[i].domain;
        if (d->o.domain[0] != '\0' ? str_eq_nocase(domain, str_c(d->o.domain))
                                   : doctor_is_shared_domain(d, domain))
            return &e->address[i];
    }
    return NULL;
}

/* Will the pass come to this one, and judge the recipient of `first` there? */
static bool is_before(const struct doctor *d, const struct doctor_object *o,
                      const struct doctor_object *first)
{
    if (o->by_target || (d->only_slot >= 0 && o->slot != first->slot) ||
        our_address(d, &o->e) == NULL)
        return false;
    return o->slot < first->slot ||
           (o->slot == first->slot && memcmp(o->e.uuid, first->e.uuid, DIR_UUID_SIZE) < 0 &&
            doctor_has_address(o, &first->e.address[0]));
}

static bool is_first_of_person(const struct doctor *d)
{
    for (unsigned i = 1; i < d->person.n; i++)
        if (is_before(d, &d->person.object[i], &d->person.object[0]))
            return false;
    return true;
}

static void look_at_entry(struct doctor *d)
{
    struct doctor_person *p = &d->person;
    p->n = 1;
    p->is_looked_up = false;
    p->object[0].e = d->walk->entry;
    doctor_place(d, d->walk->source, &p->object[0]);
    const struct dir_address *ours = our_address(d, &p->object[0].e);
    if (ours == NULL)
        return;
    p->key = dir_address_key(ours, p->key_text);
    if (p->object[0].e.vanished_ms != 0) {
        doctor_check_vanished(d);
        return;
    }
    doctor_gather(d);
    doctor_check_object(d);
    doctor_check_target(d);
    if (is_first_of_person(d))
        doctor_check_person(d);
}

/* ---- the pass ---- */

static void look_at_sources(struct doctor *d)
{
    for (unsigned i = 0; i < d->o.n_status; i++)
        if (d->o.source[0] == '\0' || str_eq_nocase(str_c(d->o.status[i].name), str_c(d->o.source)))
            doctor_check_source(d, &d->o.status[i]);
    d->stage = STAGE_OVERRIDES;
}

/* With a source named, overrides are not looked at: they belong to none. */
static void look_at_overrides(struct doctor *d, unsigned *left)
{
    struct table_record r;
    const struct dir_stack *s = d->view->overrides;
    bool more = s != NULL && d->only_slot < 0;
    while (more && *left > 0 && !d->is_enough) {
        more = stack_next(s, &d->override_at, &r);
        --*left;
        if (more && table_record_decode(&r, d->override_room, &d->override))
            doctor_check_override(d, &d->override);
    }
    if (!more)
        d->stage = STAGE_ENTRIES;
}

static bool is_past(const struct doctor *d)
{
    return d->only_slot >= 0 && d->walk->source != (unsigned)d->only_slot;
}

static void look_at_entries(struct doctor *d, unsigned *left)
{
    for (; *left > 0 && !d->is_enough; --*left) {
        if (!dir_view_walk(d->view, &d->at, d->walk) || is_past(d)) {
            d->stage = STAGE_END;
            return;
        }
        d->entries++;
        look_at_entry(d);
    }
}

bool doctor_step(struct doctor *d, unsigned entries, doctor_found_fn *fn, void *arg)
{
    d->fn = fn;
    d->arg = arg;
    d->is_enough = false;
    if (d->stage == STAGE_SOURCES)
        look_at_sources(d);
    if (d->stage == STAGE_OVERRIDES && !d->is_enough)
        look_at_overrides(d, &entries);
    if (d->stage == STAGE_ENTRIES && !d->is_enough)
        look_at_entries(d, &entries);
    return d->stage != STAGE_END;
}
