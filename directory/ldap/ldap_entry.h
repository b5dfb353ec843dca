/*
 * ldap_entry.h - walks over the attributes of an entry in a message, where they lie: nothing is
 * copied, and what it hands out lives as long as the message.
 *
 *   if (ldap_entry_begin(&it, ld, m))
 *       while (ldap_entry_next(&it))
 *           for (struct str values = it.values; ldap_entry_next_value(&values, &value);)
 *               ... it.name, value ...
 *   ok = ldap_entry_end(&it);
 */
#ifndef DIRECTORY_LDAP_ENTRY_H
#define DIRECTORY_LDAP_ENTRY_H

#include <ldap.h>

#include "base/str.h"
#include "directory/map.h"
#include "directory/source.h"

struct ldap_entry {
    struct str dn, name;
    struct str values; /* of the attribute at hand, checked; for ldap_entry_next_value() */
    struct str left;   /* the attributes to come */
    bool damaged;
};

bool ldap_entry_begin(struct ldap_entry *it, LDAP *ld, LDAPMessage *m);
bool ldap_entry_next(struct ldap_entry *it);
/* False: the message is damaged; what came before the damage is worth nothing. */
bool ldap_entry_end(const struct ldap_entry *it);
/* Takes the first value off *values; false: there is none. */
bool ldap_entry_next_value(struct str *values, struct str *value);

struct str ldap_berval_str(const struct berval *b);
/* The first value of the attribute at hand; STR_NULL: it has none. */
struct str ldap_entry_value(const struct ldap_entry *it);
/* Gives all values of the attribute at hand to the mapper, under this name. */
void ldap_entry_map(const struct ldap_entry *it, struct map *m, struct str name);

#endif
