/*
 * doctor_person.c - what can be wrong with a recipient as a whole: who has the mailbox, which flag
 * counts, by which address the hosting forest is to be told. Judged by what routing says about it,
 * so that the doctor and the mail flow are never of two opinions.
 */
#include "directory/doctor/doctor_int.h"

#include "base/hash.h"
#include "base/mem.h"
#include "rewrite/address.h"

static bool is_by_flag(const struct dir_claim *c)
{
    return c != NULL && str_starts(str_c(c->evidence), STR("flag "));
}

static bool is_decided_by_hand(const struct dir_result *r)
{
    return r->best != NULL && (r->best->kind == DIR_OVERRIDE || is_by_flag(r->best));
}

static int best_forest(const struct doctor *d, const struct dir_result *r)
{
    return r->best != NULL ? conf_find_forest(doctor_rules(d)->conf, r->best->forest) : CONF_NONE;
}

/* ---- nobody has it ---- */

static bool has_object_in(const struct doctor_person *p, int forest)
{
    for (unsigned i = 0; i < p->n; i++)
        if (p->object[i].home == forest)
            return true;
    return false;
}

/* Nothing names a forest. A lone mail user without a target address is a fault of its own, as is a
 * flag that means nothing. */
static bool nothing_places(const struct doctor_person *p)
{
    int home = p->object[0].home;
    for (unsigned i = 0; i < p->n; i++) {
        const struct doctor_object *o = &p->object[i];
        if (o->place != CONF_NONE || o->e.flag.n != 0)
            return false;
        if (o->e.kind != DIR_MAIL_USER || o->home != home)
            home = CONF_NONE;
    }
    return home == CONF_NONE;
}

static bool are_all_weak(const struct doctor_person *p)
{
    for (unsigned i = 0; i < p->n; i++)
        if (!doctor_is_weak(&p->object[i]))
            return false;
    return true;
}

bool doctor_nobody_has_it(struct doctor *d)
{
    const struct doctor_person *p = &d->person;
    bool goes_round = false;
    if (doctor_find_home(p, CONF_NONE) != NULL || is_decided_by_hand(doctor_result(d)))
        return false;
    for (unsigned i = 0; i < p->n; i++) {
        int forest = p->object[i].place;
        if (forest != CONF_NONE && !doctor_knows_forest(d, forest))
            return false;
        goes_round = goes_round || (forest != CONF_NONE && has_object_in(p, forest));
    }
    return !are_all_weak(p) && (goes_round || nothing_places(p));
}

/* A mailbox that is there and is redirected by a target address, left over from before its move. */
static void mend_nobody(struct doctor *d)
{
    const struct doctor_person *p = &d->person;
    unsigned mends = 0;
    for (unsigned i = 0; i < p->n; i++) {
        const struct doctor_object *o = &p->object[i];
        if (o->e.kind == DIR_MAILBOX && o->e.evidence != DIR_EVIDENCE_SOURCE &&
            o->e.target.local.n != 0) {
            doctor_mend_attribute(d, o, "delete", "targetAddress", STR_NULL);
            mends++;
        } else if (o->home == CONF_NONE && o->s->conf->n_flag != 0) {
            doctor_mend(d, DOCTOR_BY_HAND, "set %s of %s to a value that flag_values names",
                        o->s->conf->flag_attribute, doctor_name(d, o));
            mends++;
        }
    }
    if (mends == 0)
        doctor_mend(
            d, DOCTOR_BY_HAND,
            "find the mailbox (Get-Mailbox -Identity %s in each forest); in the forest that "
            "has it make the object a mailbox again, without a target address",
            doctor_shown(d, p->key));
}

static bool check_nobody(struct doctor *d)
{
    if (!doctor_nobody_has_it(d))
        return false;
    if (!doctor_begin(d, DOCTOR_no_mailbox, &d->person.object[0]))
        return true;
    doctor_say(d, "no directory shows the mailbox of %s: %s", doctor_shown(d, d->person.key),
               d->person.n > 1 ? "they point at each other, or nowhere" : "it points nowhere");
    doctor_evidence_of_all(d);
    mend_nobody(d);
    doctor_end(d);
    return true;
}

/* ---- several have it ---- */

void doctor_mend_flag(struct doctor *d, const struct doctor_object *o, int forest)
{
    const struct conf_source *c = o->s->conf;
    for (unsigned i = 0; i < c->n_flag && forest != CONF_NONE; i++)
        if (o->s->flag_forest[i] == forest) {
            doctor_mend_attribute(d, o, "replace", c->flag_attribute, str_c(c->flag[i].left));
            return;
        }
}

static void mend_set(struct doctor *d, int forest)
{
    doctor_mend(d, DOCTOR_BY_CAUSEWAYCTL, "causewayctl set %s %s", doctor_word(d, d->person.key),
                doctor_forest_name(d, forest));
}

static bool is_home_box(const struct doctor_object *o)
{
    return o->e.kind == DIR_MAILBOX && doctor_is_home(o);
}

/* The one that is not believed: believe it, or make a mail user of it. */
static void mend_other_mailbox(struct doctor *d, const struct doctor_object *o, int believed)
{
    struct str target = STR_NULL;
    for (unsigned i = 0; i < d->person.n && target.n == 0; i++)
        if (is_home_box(&d->person.object[i]) && d->person.object[i].home == believed)
            target = doctor_address_at(d, &d->person.object[i]);
    mend_set(d, o->home);
    if (target.n != 0)
        doctor_mend_exchange(d, o, "Disable",
                             "; Enable-MailUser -Identity %s "
                             "-ExternalEmailAddress %s",
                             doctor_quoted(d, o->e.dn),
                             doctor_quoted(d, doctor_value(d, "SMTP:", target)));
}

static void check_mailboxes(struct doctor *d, int believed)
{
    const struct doctor_person *p = &d->person;
    unsigned there = 0, others = 0;
    for (unsigned i = 0; i < p->n; i++) {
        there += is_home_box(&p->object[i]) && p->object[i].home == believed;
        others += is_home_box(&p->object[i]) && p->object[i].home != believed;
    }
    if (there == 0 || others == 0 || !doctor_begin(d, DOCTOR_two_mailboxes, &p->object[0]))
        return;
    doctor_say(d,
               "%s has a mailbox in several forests; mail goes to forest %s, whose source has "
               "the better priority",
               doctor_shown(d, p->key), doctor_forest_name(d, believed));
    doctor_evidence_of_all(d);
    mend_set(d, believed);
    for (unsigned i = 0; i < p->n; i++)
        if (is_home_box(&p->object[i]) && p->object[i].home != believed)
            mend_other_mailbox(d, &p->object[i], believed);
    doctor_end(d);
}

static void check_flags(struct doctor *d, int believed)
{
    const struct doctor_person *p = &d->person;
    if (!doctor_begin(d, DOCTOR_flags_disagree, &p->object[0]))
        return;
    doctor_say(d,
               "the flags for %s disagree; mail goes to forest %s, whose source has the better "
               "priority",
               doctor_shown(d, p->key), doctor_forest_name(d, believed));
    doctor_evidence_of_all(d);
    for (unsigned i = 0; i < p->n; i++)
        if (p->object[i].flag != CONF_NONE && p->object[i].flag != believed)
            doctor_mend_flag(d, &p->object[i], believed);
    doctor_end(d);
}

/* ---- a flag against the mailbox ---- */

static void check_flag_against(struct doctor *d, int flagged)
{
    const struct doctor_person *p = &d->person;
    const struct doctor_object *mailbox = NULL;
    if (!doctor_knows_forest(d, flagged))
        return;
    for (unsigned i = 0; i < p->n; i++) {
        if (doctor_is_home(&p->object[i]) && p->object[i].home == flagged)
            return;
        if (doctor_is_mailbox(&p->object[i]))
            mailbox = &p->object[i];
    }
    if (mailbox == NULL || !doctor_begin(d, DOCTOR_flag_contradicts, &p->object[0]))
        return;
    doctor_say(d, "the flag sends mail for %s to forest %s, which shows no mailbox; forest %s does",
               doctor_shown(d, p->key), doctor_forest_name(d, flagged),
               doctor_forest_name(d, mailbox->home));
    doctor_evidence_of_all(d);
    for (unsigned i = 0; i < p->n; i++)
        if (p->object[i].flag == flagged)
            doctor_mend_flag(d, &p->object[i], mailbox->home);
    doctor_end(d);
}

/* ---- by which address ---- */

static bool is_free(struct doctor *d, struct str text)
{
    struct dir_address a;
    char local[ADDRESS_MAX], domain[ADDRESS_MAX];
    if (!dir_address_split(text, local, domain, &a))
        return false;
    for (unsigned slot = 0; slot < d->view->n; slot++)
        if (doctor_find_in_source(d, slot, &a))
            return false;
    return true;
}

/* An address in the forest's routing domain that nobody has: the alias there, else the local part.
 */
static struct str new_address(struct doctor *d, const struct doctor_object *o, const char *domain)
{
    struct str local = str_upto(d->person.key, (size_t)str_rfind(d->person.key, '@'));
    struct str name[] = {o->e.alias, local};
    for (unsigned i = 0; i < 2; i++) {
        struct str text = str_c(arena_printf(&d->texts, "%.*s@%s", STR_ARG(name[i]), domain));
        if (name[i].n != 0 && is_free(d, text))
            return text;
    }
    return STR_NULL;
}

/* The object to give it to: the hosting forest's own, else one of a directory of no forest. */
static const struct doctor_object *object_of(const struct doctor_person *p, int forest)
{
    const struct doctor_object *found = NULL;
    for (unsigned i = 0; i < p->n; i++) {
        const struct doctor_object *o = &p->object[i];
        if (o->home == forest && !o->by_target)
            return o;
        if (o->home == CONF_NONE && found == NULL)
            found = o;
    }
    return found;
}

static void mend_routing(struct doctor *d, int forest)
{
    const char *domain = doctor_rules(d)->conf->forest[forest].routing_domain;
    const struct doctor_object *o = object_of(&d->person, forest);
    struct str address = o != NULL ? new_address(d, o, domain) : STR_NULL;
    if (address.n != 0) {
        struct str value = doctor_value(d, "smtp:", address);
        doctor_mend_attribute(d, o, "add", "proxyAddresses", value);
        doctor_mend_exchange(d, o, "Set", "-EmailAddresses @{Add=%s}", doctor_quoted(d, value));
    }
    doctor_mend(d, DOCTOR_BY_CONFIGURATION, "in forest \"%s\": routing_template = \"%%m@%s\"",
                doctor_forest_name(d, forest), domain);
}

static bool is_weak(const struct doctor_person *p, const struct dir_claim *c)
{
    for (unsigned i = 0; i < p->n; i++)
        if (p->object[i].slot == c->source &&
            memcmp(p->object[i].e.uuid, c->uuid, DIR_UUID_SIZE) == 0)
            return doctor_is_weak(&p->object[i]);
    return false;
}

static void check_routing(struct doctor *d, const struct dir_result *r, int forest)
{
    const struct conf *c = doctor_rules(d)->conf;
    const struct doctor_object *o = &d->person.object[0];
    if (c->forest[forest].routing_domain[0] == '\0' || r->best->routing.n != 0 ||
        doctor_is_incomplete(d, forest) || is_weak(&d->person, r->best) ||
        (d->o.is_readdressed != NULL && d->o.is_readdressed(d->view, d->person.key, d->o.now_ms)) ||
        !doctor_begin(d, DOCTOR_no_routing_address, o))
        return;
    doctor_say(d, "nothing says by which address in %s forest %s knows %s",
               c->forest[forest].routing_domain, doctor_forest_name(d, forest),
               doctor_shown(d, d->person.key));
    doctor_evidence_of_all(d);
    mend_routing(d, forest);
    doctor_end(d);
}

/* ---- all of it ---- */

void doctor_check_person(struct doctor *d)
{
    const struct dir_result *r = doctor_result(d);
    int forest = best_forest(d, r);
    if (check_nobody(d) || forest == CONF_NONE)
        return;
    if (is_by_flag(r->best) && r->conflict == dir_conflict_forests)
        check_flags(d, forest);
    else if (is_by_flag(r->best))
        check_flag_against(d, forest);
    else if (r->conflict == dir_conflict_forests)
        check_mailboxes(d, forest);
    check_routing(d, r, forest);
}
