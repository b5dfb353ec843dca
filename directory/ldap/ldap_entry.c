/*
 * ldap_entry.c - see ldap_entry.h.
 */
#include "directory/ldap/ldap_entry.h"

struct str ldap_berval_str(const struct berval *b)
{
    return b != NULL ? str_n(b->bv_val, b->bv_len) : STR_NULL;
}

bool ldap_entry_begin(struct ldap_entry *it, LDAP *ld, LDAPMessage *m)
{
    struct berval dn = {0};
    *it = (struct ldap_entry){.ld = ld, .m = m};
    it->damaged = ldap_get_dn_ber(ld, m, &it->ber, &dn) != LDAP_SUCCESS;
    it->dn = ldap_berval_str(&dn);
    return !it->damaged;
}

bool ldap_entry_next(struct ldap_entry *it)
{
    struct berval name = {0};
    ldap_memfree(it->value);
    it->value = NULL;
    it->damaged = it->damaged ||
                  ldap_get_attribute_ber(it->ld, it->m, it->ber, &name, &it->value) != LDAP_SUCCESS;
    it->name = ldap_berval_str(&name);
    return !it->damaged && name.bv_val != NULL;
}

bool ldap_entry_end(struct ldap_entry *it)
{
    ldap_memfree(it->value);
    it->value = NULL;
    ber_free(it->ber, 0);
    it->ber = NULL;
    return !it->damaged;
}

struct str ldap_entry_value(const struct ldap_entry *it)
{
    return ldap_berval_str(it->value);
}

void ldap_entry_map(const struct ldap_entry *it, struct map *m, struct str name)
{
    for (const struct berval *v = it->value; v != NULL && v->bv_val != NULL; v++)
        map_value(m, name, ldap_berval_str(v));
}
