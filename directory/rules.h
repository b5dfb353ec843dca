/*
 * rules.h - the configuration as a lookup needs it: what each source's flag values mean, which
 * forest owns which domain. Immutable, reference counted; holds the configuration it came from.
 */
#ifndef DIRECTORY_RULES_H
#define DIRECTORY_RULES_H

#include "conf/conf.h"
#include "directory/entry.h"

struct rules_source {
    const struct conf_source *conf;
    struct str name;
    int forest; /* index, or CONF_NONE */
    struct str *flag_value; /* as in conf->flag, and the forest of each */
    int *flag_forest;
    char *flag_text; /* "flag extensionAttribute1" */
};
struct dir_rules {
    _Atomic uint32_t refs;
    struct conf *conf;
    unsigned joins;              /* a bit for each enum rules_join */
    bool one_evidence;           /* all shared domains have the same: */
    enum conf_evidence evidence; /* of the first */
    unsigned n;
    struct rules_source *source;  /* as in conf->source */
    struct str *forest, *routing; /* as in conf->forest: name, routing domain */
};

/* By what objects of several sources may be one person (person.h). */
enum rules_join {
    RULES_JOIN_SMTP,
    RULES_JOIN_X500,
    RULES_JOIN_KEY
};

struct dir_rules *rules_new(struct conf *c); /* takes its own reference to c */
struct dir_rules *rules_ref(struct dir_rules *r);
void rules_unref(struct dir_rules **r);

static inline bool rules_joins(const struct dir_rules *r, enum rules_join by)
{
    return r->joins >> by & 1;
}
/* What is believed about recipients of the domain. */
enum conf_evidence rules_evidence(const struct dir_rules *r, struct str lower_domain);
/* The forest that a flag value means, or CONF_NONE. */
int rules_flag_forest(const struct rules_source *s, struct str value);
/* The forest that owns a domain (a routing domain), or CONF_NONE. */
int rules_domain_owner(const struct dir_rules *r, struct str lower_domain);
/* Where an entry places its recipient by all but the flag (RULES: location, 4 to 7): a forest or
 * CONF_NONE, and by what. */
enum rules_why {
    RULES_BY_ENTRY,  /* in the forest whose directory holds it, by its evidence */
    RULES_BY_TARGET, /* in the forest that owns the target address */
    RULES_BY_NOTHING /* a mail user without a target address: elsewhere, and nobody says where */
};
int rules_place(const struct dir_rules *r, const struct rules_source *s, const struct dir_entry *e,
                enum rules_why *why);
/* Could this source know recipients of the domain? */
bool rules_covers(const struct rules_source *s, struct str lower_domain);
struct str rules_forest_name(const struct dir_rules *r, int forest); /* empty for CONF_NONE */
struct str rules_routing_domain(const struct dir_rules *r, int forest);

/* Do both configurations ask the same of a source, so that its thread need not notice? */
bool rules_source_same(const struct conf_source *a, const struct conf_source *b);
/* Hash of what a source asks its server or file for. */
uint64_t rules_source_id(const struct conf_source *s);

#endif
