/*
 * doctor_int.h - what the files of the doctor share: an object with what it says about a recipient,
 * the recipient with all its objects, and the making of a finding.
 */
#ifndef DIRECTORY_DOCTOR_INT_H
#define DIRECTORY_DOCTOR_INT_H

#include "base/arena.h"
#include "directory/doctor/doctor.h"
#include "directory/entry.h"
#include "directory/view_int.h"
#include "directory/walk.h"

#define PERSON_OBJECTS_MAX 16

/* One object of a source, and the three forests it has to do with; each may be CONF_NONE. */
struct doctor_object {
    unsigned slot; /* of the view */
    const struct rules_source *s;
    int home;           /* whose directory it is in */
    int flag;           /* that its flag names */
    int place;          /* where its other attributes put the recipient, */
    enum rules_why why; /* and by what */
    bool by_target;     /* only the target address of the object looked at leads here */
    struct dir_entry e;
    struct dir_entry_room *room; /* of the person; object[0] has its room in the walk */
};

/* An object that is looked at, object[0], and those of the same recipient: in all sources, whatever
 * has an address or another key of it, and what its target address leads to. Of its own source
 * too: there they are a fault. What has vanished is not among them. */
struct doctor_person {
    unsigned n;
    struct doctor_object object[PERSON_OBJECTS_MAX];
    char key_text[ADDRESS_MAX + 1];
    struct str key;    /* of its address in a shared domain */
    bool is_looked_up; /* result holds what routing says about `key` */
    struct dir_result result;
};

struct doctor {
    struct doctor_options o;
    struct dir_view *view;
    struct dir_view *bare; /* the same without overrides: what the directories say */
    int only_slot;         /* -1 = all */
    int stage;
    struct stack_cursor override_at;
    struct dir_cursor at;
    struct dir_walk *walk;
    uint64_t entries;
    struct doctor_person person;
    struct dir_entry override; /* with its room */
    struct dir_entry_room *override_room;
    struct dir_result bare_result;

    /* the finding being made */
    struct doctor_finding finding;
    struct arena texts;
    bool is_unsafe; /* a text for a mend cannot be said safely: that mend is left out */
    bool is_enough;
    doctor_found_fn *fn;
    void *arg;
};

/* ---- objects and persons (doctor_gather.c) ---- */

static inline const struct dir_rules *doctor_rules(const struct doctor *d)
{
    return d->view->rules;
}
/* What o->e of this source says about places. */
void doctor_place(struct doctor *d, unsigned slot, struct doctor_object *o);
/* Completes d->person around object[0]. */
void doctor_gather(struct doctor *d);
/* Fills in what the record says, in o->room. False: damaged, or vanished. */
bool doctor_object_read(struct doctor *d, unsigned slot, const struct table_record *r,
                        struct doctor_object *o);
/* An account or contact of Active Directory that has a mail attribute and nothing of Exchange, as
 * accounts have long before their mailbox: it takes no mail (locate.c thinks so, too). */
static inline bool doctor_is_weak(const struct doctor_object *o)
{
    bool is_plain = o->e.kind == DIR_MAILBOX ? o->e.evidence == DIR_EVIDENCE_SOURCE
                                             : o->e.kind == DIR_CONTACT && o->e.recipient_type == 0;
    return is_plain && o->s->conf->type == CONF_SOURCE_ACTIVE_DIRECTORY && o->e.target.local.n == 0;
}
/* Mail for the recipient ends at this object: it does not say "elsewhere". */
static inline bool doctor_is_home(const struct doctor_object *o)
{
    return o->home != CONF_NONE && o->place == o->home && !doctor_is_weak(o);
}
/* A mailbox that its directory shows by Exchange's own attributes. */
bool doctor_is_mailbox(const struct doctor_object *o);
bool doctor_has_address(const struct doctor_object *o, const struct dir_address *a);
bool doctor_has_x500(const struct doctor_object *o, struct str x500);
struct str doctor_legacy_dn(const struct doctor_object *o); /* empty: none */
bool doctor_is_shared_domain(const struct doctor *d, struct str domain);
/* A source of the forest's own is complete: what it does not know is not there. */
bool doctor_knows_forest(const struct doctor *d, int forest);
/* A source of the forest's own is not complete yet. */
bool doctor_is_incomplete(const struct doctor *d, int forest);
const char *doctor_forest_name(const struct doctor *d, int forest); /* "nowhere" for CONF_NONE */
/* What routing says about the person; looked up once. */
const struct dir_result *doctor_result(struct doctor *d);
/* The object of the person where the mailbox (group, ...) is, in another forest than `not_forest`;
 * NULL if none says so. */
const struct doctor_object *doctor_find_home(const struct doctor_person *p, int not_forest);
/* The address by which the forest of `home` knows the recipient, for a target address that leads
 * there; empty: none that is that forest's alone. */
struct str doctor_address_at(struct doctor *d, const struct doctor_object *home);
/* Does any object of the source have this address? */
bool doctor_find_in_source(const struct doctor *d, unsigned slot, const struct dir_address *a);

/* ---- the checks ---- */

void doctor_check_object(struct doctor *d); /* doctor_object.c: on d->person.object[0] */
void doctor_check_vanished(struct doctor *d);
void doctor_check_person(struct doctor *d); /* doctor_person.c: once per recipient */
/* Nobody has the mailbox: then a target address that is wrong is only part of it. */
bool doctor_nobody_has_it(struct doctor *d);
void doctor_check_target(struct doctor *d); /* doctor_target.c: object[0]'s target address */
void doctor_check_source(struct doctor *d,
                         const struct dir_source_status *s); /* doctor_setting.c */
void doctor_check_override(struct doctor *d, const struct dir_entry *e);

/* ---- a finding (doctor_finding.c) ---- */

/* False: this check is not asked for. o NULL: not about an object. */
bool doctor_begin(struct doctor *d, enum doctor_check c, const struct doctor_object *o);
void doctor_say(struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void doctor_evidence(struct doctor *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void doctor_evidence_of(struct doctor *d, const struct doctor_object *o);
/* Of every object of the person. */
void doctor_evidence_of_all(struct doctor *d);
/* Without a mend of its own it gets the check's, in words. */
void doctor_end(struct doctor *d);

/* Texts that live as long as the finding. */
const char *doctor_name(struct doctor *d, const struct doctor_object *o); /* DN or UUID, escaped */
const char *doctor_shown(struct doctor *d, struct str s);                 /* escaped, for people */
const char *doctor_quoted(struct doctor *d, struct str s); /* for the Exchange shell */
const char *doctor_word(struct doctor *d, struct str s);   /* for a shell's command line */
struct str doctor_text(struct doctor *d, const struct dir_address *a); /* local@domain */

void doctor_mend(struct doctor *d, enum doctor_means means, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* "Set-MailUser -Identity '...' " and so on, by what kind of object it is. */
void doctor_mend_exchange(struct doctor *d, const struct doctor_object *o, const char *verb,
                          const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* One attribute of an object, as LDIF, or in words where its source is no LDAP directory. verb:
 * "add", "delete", "replace"; value empty: none. */
void doctor_mend_attribute(struct doctor *d, const struct doctor_object *o, const char *verb,
                           const char *attribute, struct str value);
/* The flag of an object to the value that means this forest, if there is one. */
void doctor_mend_flag(struct doctor *d, const struct doctor_object *o, int forest);
void doctor_mend_delete(struct doctor *d, const struct doctor_object *o);
/* prefix + address */
struct str doctor_value(struct doctor *d, const char *prefix, struct str s);

#endif
