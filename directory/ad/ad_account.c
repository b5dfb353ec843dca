/*
 * ad_account.c - when does the password of the account expire that we read the directory with? So
 * that a person learns it while the directory can still be read.
 *
 * The name that it binds with is in one of three forms: a DN, DOMAIN\\name, or name@domain, which
 * is its user principal name or, if it has no such one, made of its short name.
 */
#include "directory/ad/ad_int.h"

#include "base/mem.h"

/* The short name of DOMAIN\\name and name@domain. */
static struct str short_name(struct str name)
{
    long slash = str_rfind(name, '\\');
    if (slash >= 0)
        return str_from(name, (size_t)slash + 1);
    long at = str_find(name, '@');
    return at > 0 ? str_upto(name, (size_t)at) : name;
}

/* The filter for the account; free with mem_free(). */
static char *account_filter(struct str name)
{
    struct str brief = short_name(name);
    struct berval whole_in = {.bv_len = name.n, .bv_val = (char *)name.p}, whole = {0};
    struct berval brief_in = {.bv_len = brief.n, .bv_val = (char *)brief.p}, part = {0};
    char *filter = NULL;
    if (ldap_bv2escaped_filter_value(&whole_in, &whole) == 0 &&
        ldap_bv2escaped_filter_value(&brief_in, &part) == 0)
        filter =
            mem_printf("(|(userPrincipalName=%s)(sAMAccountName=%s))", whole.bv_val, part.bv_val);
    ber_memfree(whole.bv_val);
    ber_memfree(part.bv_val);
    return filter;
}

enum follow ad_account_password_ends(struct ad *x, int64_t *wall_ms, struct err *e)
{
    const char *name = x->c->bind_dn;
    struct ad_one one = {.attribute = "msDS-UserPasswordExpiryTimeComputed"};
    struct ad_ask ask = {.base = name, .scope = LDAP_SCOPE_BASE, .filter = "(objectClass=*)"};
    char *filter = NULL;
    *wall_ms = 0;
    if (*name == '\0' || x->server.global_catalog)
        return FOLLOW_ON;
    if (str_find(str_c(name), '=') < 0) {
        filter = account_filter(str_c(name));
        if (filter == NULL)
            return FOLLOW_ON;
        ask =
            (struct ad_ask){.base = x->server.root, .scope = LDAP_SCOPE_SUBTREE, .filter = filter};
    }
    enum follow o = ad_one_read(x, "the account's password", &ask, &one, e);
    if (o == FOLLOW_ON)
        *wall_ms = ad_time_ms(buf_str(&one.value));
    ad_one_free(&one);
    mem_free(filter);
    return o;
}
