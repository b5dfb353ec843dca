/*
 * ldap_entry.c - see ldap_entry.h. The library finds the list of attributes (RFC 4511 4.5.2); the
 * list itself is read here, as the library's own walk allocates an array for each attribute:
 *
 *   PartialAttributeList ::= SEQUENCE OF SEQUENCE { type OCTET STRING, vals SET OF OCTET STRING }
 */
#include "directory/ldap/ldap_entry.h"

#include "directory/ldap/der.h"

struct str ldap_berval_str(const struct berval *b)
{
    return b != NULL ? str_n(b->bv_val, b->bv_len) : STR_NULL;
}

/* All that is left in `ber`, which stands at the first attribute. */
static struct str list_of(BerElement *ber)
{
    ber_len_t left = 0;
    struct berval first = {0};
    if (ber_get_option(ber, LBER_OPT_BER_REMAINING_BYTES, &left) != LBER_OPT_SUCCESS || left == 0 ||
        ber_skip_raw(ber, &first) == LBER_DEFAULT)
        return str_n("", left != 0);
    return str_n(first.bv_val, left);
}

bool ldap_entry_begin(struct ldap_entry *it, LDAP *ld, LDAPMessage *m)
{
    struct berval dn = {0};
    BerElement *ber = NULL;
    *it = (struct ldap_entry){0};
    it->damaged = ldap_get_dn_ber(ld, m, &ber, &dn) != LDAP_SUCCESS;
    it->dn = ldap_berval_str(&dn);
    if (!it->damaged)
        it->left = list_of(ber);
    ber_free(ber, 0);
    return !it->damaged;
}

bool ldap_entry_next(struct ldap_entry *it)
{
    struct str one, value;
    if (it->damaged || it->left.n == 0)
        return false;
    it->damaged = !der_take_as(&it->left, DER_SEQUENCE, &one) ||
                  !der_take_as(&one, DER_OCTETS, &it->name) ||
                  !der_take_as(&one, DER_SET, &it->values) || one.n != 0;
    for (struct str all = it->values; !it->damaged && all.n != 0;)
        it->damaged = !der_take_as(&all, DER_OCTETS, &value);
    return !it->damaged;
}

bool ldap_entry_end(const struct ldap_entry *it)
{
    return !it->damaged;
}

bool ldap_entry_next_value(struct str *values, struct str *value)
{
    return values->n != 0 && der_take_as(values, DER_OCTETS, value);
}

struct str ldap_entry_value(const struct ldap_entry *it)
{
    struct str values = it->values, value;
    return ldap_entry_next_value(&values, &value) ? value : STR_NULL;
}

void ldap_entry_map(const struct ldap_entry *it, struct map *m, struct str name)
{
    struct str value;
    for (struct str values = it->values; ldap_entry_next_value(&values, &value);)
        map_value(m, name, value);
}
