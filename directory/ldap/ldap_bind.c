/*
 * ldap_bind.c - see ldap_bind.h. A password is in memory for the time of the bind, and overwritten.
 */
#include "directory/ldap/ldap_bind.h"

#include <sasl/sasl.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/file.h"
#include "directory/ldap/ldap_link.h"

#define PASSWORD_MAX 4096

/* Must be there before a password is sent; an empty one would be an anonymous bind. */
static bool read_password(const struct conf_source *c, struct buf *out, struct err *e)
{
    if (c->password_file == NULL || *c->password_file == '\0')
        return err_set(e, ERR_CONFIG, 0, "bind_dn needs a password_file");
    if (!file_read_all(c->password_file, out, e))
        return false;
    const char *end = out->n != 0 ? memchr(out->p, '\n', out->n) : NULL;
    if (end != NULL)
        out->n = (size_t)(end - out->p);
    while (out->n != 0 && out->p[out->n - 1] == '\r')
        out->n--;
    return out->n != 0 ||
           err_set(e, ERR_CONFIG, 0, "password_file %s has nothing in its first line",
                   c->password_file);
}

/* Active Directory says more in its diagnostic message: "..., data 532, v4563". */
static const char *why_refused(LDAP *ld)
{
    static const struct {
        const char *code, *text;
    } known[] = {{"data 525", ": it knows no such account"},
                 {"data 52e", ": the password is wrong"},
                 {"data 530", ": the account may not log on at this time"},
                 {"data 532", ": the password has expired"},
                 {"data 533", ": the account is disabled"},
                 {"data 701", ": the account has expired"},
                 {"data 773", ": the password must be changed first"},
                 {"data 775", ": the account is locked"}};
    const char *why = "";
    char *said = NULL;
    ldap_get_option(ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &said);
    for (unsigned i = 0; said != NULL && i < ARRAY_LEN(known); i++)
        if (strstr(said, known[i].code) != NULL)
            why = known[i].text;
    ldap_memfree(said);
    return why;
}

static bool bind_simple(LDAP *ld, const struct conf_source *c, struct err *e)
{
    struct buf password = BUF_INIT(PASSWORD_MAX);
    if (c->bind_dn == NULL || *c->bind_dn == '\0')
        return true;
    bool ok = read_password(c, &password, e);
    struct berval cred = {.bv_len = password.n, .bv_val = password.p};
    int rc = ok ? ldap_sasl_bind_s(ld, c->bind_dn, LDAP_SASL_SIMPLE, &cred, NULL, NULL, NULL) : 0;
    if (password.p != NULL)
        explicit_bzero(password.p, password.cap);
    buf_free(&password);
    if (!ok)
        return false;
    if (rc == LDAP_INVALID_CREDENTIALS)
        return err_set(e, ERR_CONFIG, 0,
                       "the server refused bind_dn \"%s\" with the password in %s%s", c->bind_dn,
                       c->password_file, why_refused(ld));
    return rc == LDAP_SUCCESS || ldap_link_error(ld, rc, "bind", e);
}

/* Who the client certificate says, or on ldapi the system. The name to act as is empty, and not
 * left out, for which the server would ask. */
static bool bind_external(LDAP *ld, struct err *e)
{
    char empty[] = "";
    struct berval name = {.bv_val = empty};
    int rc = ldap_sasl_bind_s(ld, NULL, "EXTERNAL", &name, NULL, NULL, NULL);
    return rc == LDAP_SUCCESS ||
           ldap_link_error(ld, rc, "bind (SASL EXTERNAL, see tls_cert_file)", e);
}

/* The library asks for an authorisation name and the like: the default will do. */
static int answer_sasl(LDAP *ld, unsigned flags, void *defaults, void *in)
{
    (void)ld;
    (void)flags;
    (void)defaults;
    for (sasl_interact_t *q = in; q->id != SASL_CB_LIST_END; q++) {
        q->result = q->defresult != NULL ? q->defresult : "";
        q->len = (unsigned)strlen(q->result);
    }
    return LDAP_SUCCESS;
}

/* With the Kerberos ticket or keytab of the environment. The ticket is for the host's name as it
 * stands in the URI, not for what DNS makes of its address. Inside of TLS a server of Active
 * Directory wants no protection layer of Kerberos, and the binding to the TLS channel. (Cyrus SASL
 * 2.1.28 then forgets 17 KB at each bind.) */
static bool bind_gssapi(LDAP *ld, const struct conf_source *c, struct err *e)
{
    const int endpoint = LDAP_OPT_X_SASL_CBINDING_TLS_ENDPOINT;
    ldap_set_option(ld, LDAP_OPT_X_SASL_NOCANON, LDAP_OPT_ON);
    ldap_set_option(ld, LDAP_OPT_X_SASL_SECPROPS,
                    c->tls == CONF_TLS_NONE ? "minssf=56" : "maxssf=0");
    if (c->tls != CONF_TLS_NONE)
        ldap_set_option(ld, LDAP_OPT_X_SASL_CBINDING, &endpoint);
    int rc = ldap_sasl_interactive_bind_s(ld, NULL, "GSSAPI", NULL, NULL, LDAP_SASL_QUIET,
                                          answer_sasl, NULL);
    return rc == LDAP_SUCCESS ||
           ldap_link_error(ld, rc,
                           "bind (SASL GSSAPI; see KRB5_CLIENT_KTNAME or KRB5CCNAME in the "
                           "service's environment, and the host name in uri)",
                           e);
}

bool ldap_bind_as(LDAP *ld, const struct conf_source *c, struct err *e)
{
    switch (c->bind) {
    case CONF_BIND_GSSAPI:
        return bind_gssapi(ld, c, e);
    case CONF_BIND_EXTERNAL:
        return bind_external(ld, e);
    default:
        return bind_simple(ld, c, e);
    }
}
