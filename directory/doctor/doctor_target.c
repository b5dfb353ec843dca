/*
 * doctor_target.c - does the target address of an object lead to the recipient's mailbox? It is
 * what the object's own forest sends by, whatever the relay knows from elsewhere.
 *
 *   none, on a mail user                      missing-target
 *   in a shared domain, or in its own forest  target-loop
 *   in another forest's domain                that forest must know the address, as this
 * recipient's outside                                   right only if no forest has the mailbox
 *
 * When nobody has the mailbox at all, that is said instead (doctor_person.c).
 */
#include "directory/doctor/doctor_int.h"

struct str doctor_address_at(struct doctor *d, const struct doctor_object *home)
{
    const struct dir_entry *e = &home->e;
    for (unsigned i = 0; i < e->n_address; i++)
        if (rules_domain_owner(doctor_rules(d), e->address[i].domain) == home->home)
            return doctor_text(d, &e->address[i]);
    if (e->routing.local.n != 0)
        return doctor_text(d, &e->routing);
    for (unsigned i = 0; i < e->n_address; i++)
        if (!doctor_is_shared_domain(d, e->address[i].domain))
            return doctor_text(d, &e->address[i]);
    return STR_NULL;
}

static void mend_target(struct doctor *d, const struct doctor_object *o)
{
    const struct doctor_object *home = doctor_find_home(&d->person, o->home);
    struct str right = home != NULL ? doctor_address_at(d, home) : STR_NULL;
    if (o->e.kind == DIR_MAILBOX && home == NULL) {
        doctor_mend_attribute(d, o, "delete", "targetAddress", STR_NULL);
        return;
    }
    if (home == NULL) {
        doctor_mend(d, DOCTOR_BY_HAND,
                    "find out where the mailbox is, and set targetAddress to the address by which "
                    "that forest knows it; if there is none, remove the object");
        return;
    }
    if (right.n == 0) {
        doctor_mend(d, DOCTOR_BY_HAND,
                    "give %s in source %s an address in a domain of forest %s alone, and set "
                    "targetAddress to it",
                    doctor_name(d, home), home->s->conf->name, doctor_forest_name(d, home->home));
        return;
    }
    struct str value = doctor_value(d, "SMTP:", right);
    doctor_mend_attribute(d, o, "replace", "targetAddress", value);
    if (o->e.kind != DIR_MAILBOX) /* Set-Mailbox has no such parameter */
        doctor_mend_exchange(d, o, "Set", "-%s %s",
                             o->e.recipient_type > 31 ? "RemoteRoutingAddress"
                                                      : "ExternalEmailAddress",
                             doctor_quoted(d, value));
}

static void report(struct doctor *d, enum doctor_check c, const char *what)
{
    const struct doctor_object *o = &d->person.object[0];
    if (doctor_nobody_has_it(d) || !doctor_begin(d, c, o))
        return;
    doctor_say(d, "the %s %s in source %s %s", dir_kind_text(o->e.kind), doctor_name(d, o),
               o->s->conf->name, what);
    doctor_evidence_of_all(d);
    mend_target(d, o);
    doctor_end(d);
}

static void report_target(struct doctor *d, enum doctor_check c, const char *what)
{
    struct buf b = BUF_INIT(2048);
    buf_printf(&b, "has the target address %s, %s",
               doctor_shown(d, doctor_text(d, &d->person.object[0].e.target)), what);
    report(d, c, buf_cstr(&b));
    buf_free(&b);
}

/* The object in the target's forest that has the target address, of the same person by another
 * address, too, or at least of nobody else in this source. */
static const struct doctor_object *find_owner(struct doctor *d, int forest, bool *is_others)
{
    const struct doctor_person *p = &d->person;
    const struct doctor_object *o = &p->object[0];
    *is_others = false;
    for (unsigned i = 1; i < p->n; i++) {
        const struct doctor_object *there = &p->object[i];
        if (there->home != forest || !doctor_has_address(there, &o->e.target))
            continue;
        for (unsigned k = 0; there->by_target && k < there->e.n_address; k++)
            if (!doctor_has_address(o, &there->e.address[k]) &&
                doctor_find_in_source(d, o->slot, &there->e.address[k]))
                *is_others = true;
        return there;
    }
    return NULL;
}

static void check_known(struct doctor *d, int owner)
{
    bool is_others;
    const struct doctor_object *there = find_owner(d, owner, &is_others);
    if (there == NULL && doctor_knows_forest(d, owner))
        report_target(d, DOCTOR_wrong_target, "which the directory of that forest does not know");
    else if (there != NULL && is_others)
        report_target(d, DOCTOR_wrong_target, "which is another recipient's in that forest");
}

static void check_outside(struct doctor *d)
{
    const struct doctor_object *o = &d->person.object[0];
    const struct doctor_object *home = doctor_find_home(&d->person, o->home);
    if (home == NULL || home->home == CONF_NONE || !doctor_is_mailbox(home) ||
        doctor_has_address(home, &o->e.target))
        return;
    report_target(d, o->e.kind == DIR_CONTACT ? DOCTOR_contact_shadow : DOCTOR_wrong_target,
                  "outside all forests, and one has the mailbox");
}

void doctor_check_target(struct doctor *d)
{
    const struct doctor_object *o = &d->person.object[0];
    struct str domain = o->e.target.domain;
    if (o->e.kind == DIR_GROUP)
        return;
    if (o->e.target.local.n == 0) {
        if (o->e.kind == DIR_MAIL_USER)
            report(d, DOCTOR_missing_target, "has no target address");
        return;
    }
    int owner = rules_domain_owner(doctor_rules(d), domain);
    if (doctor_is_shared_domain(d, domain))
        report_target(d, DOCTOR_target_loop, "in a domain that is shared");
    else if (owner != CONF_NONE && owner == o->home)
        report_target(d, DOCTOR_target_loop, "in a domain of its own forest");
    else if (owner != CONF_NONE)
        check_known(d, owner);
    else
        check_outside(d);
}
