/*
 * doctor_object.c - what can be wrong with one object: an address that another object has, a lost
 * X.500 address, a flag that means nothing, a contact in somebody's place, a group for insiders, an
 * entry that its source no longer has.
 */
#include "directory/doctor/doctor_int.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"

/* ---- an address on two objects ---- */

static bool is_our_domain(const struct doctor *d, struct str domain)
{
    return conf_find_domain(doctor_rules(d)->conf, domain) != CONF_NONE ||
           rules_domain_owner(doctor_rules(d), domain) != CONF_NONE;
}

/* The first address of ours that both have; NULL if none. */
static const struct dir_address *
common_address(const struct doctor *d, const struct doctor_object *a, const struct doctor_object *b)
{
    for (unsigned i = 0; i < a->e.n_address; i++)
        if (is_our_domain(d, a->e.address[i].domain) && doctor_has_address(b, &a->e.address[i]))
            return &a->e.address[i];
    return NULL;
}

static struct str common_x500(const struct doctor_object *a, const struct doctor_object *b)
{
    for (unsigned i = 0; i < a->e.n_other; i++)
        if ((a->e.other[i].type == DIR_KEY_X500 || a->e.other[i].type == DIR_KEY_LEGACY_DN) &&
            doctor_has_x500(b, a->e.other[i].key))
            return a->e.other[i].key;
    return STR_NULL;
}

static struct str join_key(const struct doctor_object *o)
{
    for (unsigned i = 0; i < o->e.n_other; i++)
        if (o->e.other[i].type == DIR_KEY_CUSTOM)
            return o->e.other[i].key;
    return STR_NULL;
}

static bool has_ldap(const struct doctor_object *o)
{
    return o->s->conf->type == CONF_SOURCE_OPENLDAP ||
           o->s->conf->type == CONF_SOURCE_ACTIVE_DIRECTORY;
}

/* Can objects of two sources that have an address in common not be one recipient? A group is no
 * person, two values of the join attribute are two people, and so are two mailboxes in two domains
 * of one forest. */
static bool are_strangers(const struct doctor_object *a, const struct doctor_object *b)
{
    bool a_group = a->e.kind == DIR_GROUP, b_group = b->e.kind == DIR_GROUP;
    struct str key_a = join_key(a), key_b = join_key(b);
    if (key_a.n != 0 && key_b.n != 0 && !str_eq(key_a, key_b))
        return true;
    if (a->home == b->home)
        return doctor_is_mailbox(a) && doctor_is_mailbox(b) && has_ldap(a) && has_ldap(b) &&
               memcmp(a->e.uuid, b->e.uuid, DIR_UUID_SIZE) != 0;
    return (a_group || b_group) && doctor_is_home(a) && doctor_is_home(b);
}

static bool is_primary(const struct doctor_object *o, const struct dir_address *a)
{
    return o->e.n_address != 0 && str_eq(o->e.address[0].domain, a->domain) &&
           str_eq_nocase(o->e.address[0].local, a->local);
}

/* Whose main address it is keeps it; if it is of both, a person must decide. */
static void mend_duplicate(struct doctor *d, const struct doctor_object *a,
                           const struct doctor_object *b, bool a_keeps, bool b_keeps,
                           struct str value)
{
    const struct doctor_object *from = !b_keeps ? b : a;
    if (!a_keeps || !b_keeps) {
        doctor_mend_attribute(d, from, "delete", "proxyAddresses", value);
        doctor_mend_exchange(d, from, "Set", "-EmailAddresses @{Remove=%s}",
                             doctor_quoted(d, value));
    }
    doctor_mend(d, DOCTOR_BY_HAND, "decide who keeps it, and take it away from the other one");
}

static void report_duplicate(struct doctor *d, const struct doctor_object *a,
                             const struct doctor_object *b)
{
    const struct dir_address *address = common_address(d, a, b);
    struct str x500 = address == NULL ? common_x500(a, b) : STR_NULL;
    if ((address == NULL && x500.n == 0) || !doctor_begin(d, DOCTOR_duplicate_address, a))
        return;
    if (address != NULL)
        d->finding.address = doctor_text(d, address);
    doctor_say(d, "%s belongs to %s in source %s and to %s in source %s",
               doctor_shown(d, address != NULL ? d->finding.address : x500), doctor_name(d, a),
               a->s->conf->name, doctor_name(d, b), b->s->conf->name);
    doctor_evidence_of(d, a);
    doctor_evidence_of(d, b);
    if (address != NULL)
        mend_duplicate(d, a, b, is_primary(a, address), is_primary(b, address),
                       doctor_value(d, "smtp:", d->finding.address));
    else
        mend_duplicate(d, a, b, str_eq_nocase(doctor_legacy_dn(a), x500),
                       str_eq_nocase(doctor_legacy_dn(b), x500), doctor_value(d, "X500:", x500));
    doctor_end(d);
}

/* ---- contacts ---- */

static void report_contact(struct doctor *d, const struct doctor_object *contact,
                           const struct doctor_object *of)
{
    if (!doctor_begin(d, DOCTOR_contact_shadow, contact))
        return;
    doctor_say(d, "the contact %s has an address of the %s %s", doctor_name(d, contact),
               dir_kind_text(of->e.kind), doctor_name(d, of));
    doctor_evidence_of(d, contact);
    doctor_evidence_of(d, of);
    doctor_mend_delete(d, contact);
    doctor_mend_exchange(d, contact, "Remove", "%s", "");
    doctor_end(d);
}

/* Object[0] and another one of the same source with an address in common: each pair once. */
static void check_pair(struct doctor *d, const struct doctor_object *a,
                       const struct doctor_object *b)
{
    bool a_contact = a->e.kind == DIR_CONTACT, b_contact = b->e.kind == DIR_CONTACT;
    if (a_contact != b_contact && common_address(d, a, b) != NULL) {
        if (a_contact)
            report_contact(d, a, b);
    } else if (memcmp(a->e.uuid, b->e.uuid, DIR_UUID_SIZE) < 0) {
        report_duplicate(d, a, b);
    }
}

static void check_pairs(struct doctor *d)
{
    const struct doctor_object *a = &d->person.object[0];
    for (unsigned i = 1; i < d->person.n; i++) {
        const struct doctor_object *b = &d->person.object[i];
        if (b->by_target || doctor_is_weak(a) != doctor_is_weak(b))
            continue;
        if (b->slot == a->slot)
            check_pair(d, a, b);
        else if ((a->slot < b->slot || d->only_slot >= 0) && are_strangers(a, b))
            report_duplicate(d, a, b);
    }
}

/* ---- X.500 ---- */

static void check_x500(struct doctor *d)
{
    const struct doctor_object *user = &d->person.object[0];
    struct str dn = doctor_legacy_dn(user);
    const struct doctor_object *mailbox = doctor_find_home(&d->person, user->home);
    if (user->e.kind != DIR_MAIL_USER || dn.n == 0 || mailbox == NULL ||
        !doctor_is_mailbox(mailbox) || doctor_legacy_dn(mailbox).n == 0 ||
        doctor_has_x500(mailbox, dn) || !doctor_begin(d, DOCTOR_x500_lost, mailbox))
        return;
    struct str value = doctor_value(d, "X500:", dn);
    doctor_say(d, "%s in source %s lacks the address X500:%s of the mail user in source %s",
               doctor_name(d, mailbox), mailbox->s->conf->name, doctor_shown(d, dn),
               user->s->conf->name);
    doctor_evidence_of(d, user);
    doctor_evidence_of(d, mailbox);
    doctor_mend_attribute(d, mailbox, "add", "proxyAddresses", value);
    doctor_mend_exchange(d, mailbox, "Set", "-EmailAddresses @{Add=%s}", doctor_quoted(d, value));
    doctor_end(d);
}

/* ---- flags, groups, what has gone ---- */

static void check_flag(struct doctor *d)
{
    const struct doctor_object *o = &d->person.object[0];
    struct str domain = str_from(d->person.key, (size_t)str_rfind(d->person.key, '@') + 1);
    if (o->e.flag.n == 0 || o->flag != CONF_NONE ||
        rules_evidence(doctor_rules(d), domain) == CONF_EVIDENCE_EXCHANGE ||
        !doctor_begin(d, DOCTOR_flag_unknown, o))
        return;
    const char *attribute = o->s->conf->flag_attribute, *flag = doctor_shown(d, o->e.flag);
    doctor_say(d, "%s of %s is \"%s\", which flag_values of source %s does not name", attribute,
               doctor_name(d, o), flag, o->s->conf->name);
    doctor_evidence_of_all(d);
    const struct dir_result *r = doctor_result(d);
    int now =
        r->best != NULL ? conf_find_forest(doctor_rules(d)->conf, r->best->forest) : CONF_NONE;
    doctor_mend_flag(d, o, now);
    doctor_mend(d, DOCTOR_BY_CONFIGURATION, "in source \"%s\", add to flag_values: \"%s = %s\"",
                o->s->conf->name, flag, now != CONF_NONE ? doctor_forest_name(d, now) : "FOREST");
    doctor_end(d);
}

static void check_group(struct doctor *d)
{
    const struct doctor_object *o = &d->person.object[0];
    if (o->e.kind != DIR_GROUP || !o->e.require_auth || !doctor_begin(d, DOCTOR_auth_only_group, o))
        return;
    doctor_say(d, "the group %s takes mail from authenticated senders only", doctor_name(d, o));
    doctor_evidence(d, "source %s: msExchRequireAuthToSendTo is TRUE", o->s->conf->name);
    doctor_mend_attribute(d, o, "replace", "msExchRequireAuthToSendTo", STR("FALSE"));
    doctor_mend_exchange(d, o, "Set", "-RequireSenderAuthenticationEnabled $false");
    doctor_end(d);
}

void doctor_check_vanished(struct doctor *d)
{
    const struct doctor_object *o = &d->person.object[0];
    const struct dir_result *r = doctor_result(d);
    char since[40], until[40];
    /* somebody living has its address: mail goes there */
    if (r->best != NULL && r->best->vanished_ms == 0)
        return;
    if (!doctor_begin(d, DOCTOR_vanished, o))
        return;
    clock_rfc3339(o->e.vanished_ms, since, sizeof(since));
    clock_rfc3339(o->e.vanished_ms + o->s->conf->grace_ms, until, sizeof(until));
    doctor_say(d, "%s has vanished from source %s and is routed as before until %s",
               doctor_name(d, o), o->s->conf->name, until);
    doctor_evidence(d, "source %s does not have it since %s", o->s->conf->name, since);
    doctor_mend(d, DOCTOR_BY_HAND,
                "restore the object, or its place within base and filter; if the recipient has "
                "left, nothing: the entry ends by itself");
    doctor_end(d);
}

void doctor_check_object(struct doctor *d)
{
    check_pairs(d);
    check_x500(d);
    check_flag(d);
    check_group(d);
}
