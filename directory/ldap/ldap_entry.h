/*
 * ldap_entry.h - walks over the attributes of an entry in a message, where they lie: nothing is
 * copied, and what it hands out lives until ldap_entry_end().
 *
 *   if (ldap_entry_begin(&it, ld, m))
 *       while (ldap_entry_next(&it))
 *           ... it.name, it.value ...
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
    struct berval *value; /* the last has a NULL bv_val; NULL: there are none */
    LDAP *ld;
    LDAPMessage *m;
    BerElement *ber;
    bool damaged;
};

bool ldap_entry_begin(struct ldap_entry *it, LDAP *ld, LDAPMessage *m);
bool ldap_entry_next(struct ldap_entry *it);
/* False: the message is damaged; what came before the damage is worth nothing. */
bool ldap_entry_end(struct ldap_entry *it);

struct str ldap_berval_str(const struct berval *b);
/* The first value of the attribute at hand. */
struct str ldap_entry_value(const struct ldap_entry *it);
/* Gives all values of the attribute at hand to the mapper, under this name. */
void ldap_entry_map(const struct ldap_entry *it, struct map *m, struct str name);

#endif
