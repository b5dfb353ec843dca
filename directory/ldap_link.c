/*
 * ldap_link.c - see ldap_link.h. Options are set on the handle, every one that matters, so that an
 * ldap.conf or the environment cannot weaken them: the certificate is checked, with its name.
 */
#include "directory/ldap_link.h"

#include <errno.h>
#include <sasl/sasl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/escape.h"
#include "base/file.h"
#include "base/mem.h"
#include "directory/ldap_probe.h"
#include "directory/x509.h"

#define SYSTEM_CAS     "/etc/ssl/certs/ca-certificates.crt"
#define PASSWORD_MAX   4096
#define KEEPALIVE_IDLE 30 /* a silent peer is noticed after a minute */

bool ldap_link_error(LDAP *ld, int rc, const char *what, struct err *e)
{
    char *said = NULL, text[200] = "";
    if (ld != NULL)
        ldap_get_option(ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &said);
    if (said != NULL && *said != '\0')
        escape_cstr(str_c(said), text, sizeof(text));
    ldap_memfree(said);
    return err_set(e, ERR_PROTOCOL, 0, "%s: %s%s%s%s", what, ldap_err2string(rc),
                   *text != '\0' ? " (" : "", text, *text != '\0' ? ")" : "");
}

static void set_int(LDAP *ld, int option, int value)
{
    ldap_set_option(ld, option, &value);
}

/* Who we are, for servers that ask for a certificate, and for SASL EXTERNAL. */
static bool set_own_certificate(LDAP *ld, const struct conf_source *c, struct err *e)
{
    const struct {
        const char *name, *path;
        int option;
    } file[] = {{"tls_cert_file", c->tls_cert_file, LDAP_OPT_X_TLS_CERTFILE},
                {"tls_key_file", c->tls_key_file, LDAP_OPT_X_TLS_KEYFILE}};
    for (unsigned i = 0; i < 2; i++) {
        if (*file[i].path == '\0')
            continue;
        if (access(file[i].path, R_OK) != 0)
            return err_set(e, ERR_CONFIG, errno, "%s %s cannot be read", file[i].name,
                           file[i].path);
        ldap_set_option(ld, file[i].option, file[i].path);
    }
    return true;
}

static bool set_options(LDAP *ld, const struct conf_source *c, struct err *e)
{
    struct timeval limit = {.tv_sec = LDAP_LINK_TIMEOUT_S};
    set_int(ld, LDAP_OPT_PROTOCOL_VERSION, LDAP_VERSION3);
    set_int(ld, LDAP_OPT_DEREF, LDAP_DEREF_NEVER);
    set_int(ld, LDAP_OPT_SIZELIMIT, LDAP_NO_LIMIT);
    set_int(ld, LDAP_OPT_TIMELIMIT, LDAP_NO_LIMIT);
    set_int(ld, LDAP_OPT_X_KEEPALIVE_IDLE, KEEPALIVE_IDLE);
    set_int(ld, LDAP_OPT_X_KEEPALIVE_PROBES, 3);
    set_int(ld, LDAP_OPT_X_KEEPALIVE_INTERVAL, 10);
    ldap_set_option(ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
    ldap_set_option(ld, LDAP_OPT_RESTART, LDAP_OPT_ON);
    ldap_set_option(ld, LDAP_OPT_NETWORK_TIMEOUT, &limit);
    ldap_set_option(ld, LDAP_OPT_TIMEOUT, &limit);
    if (c->tls == CONF_TLS_NONE)
        return true;
    const char *ca = c->ca_file != NULL && *c->ca_file != '\0' ? c->ca_file : SYSTEM_CAS;
    if (access(ca, R_OK) != 0)
        return err_set(e, ERR_CONFIG, 0,
                       "ca_file %s cannot be read; it must hold the CA of the server's certificate",
                       ca);
    ldap_set_option(ld, LDAP_OPT_X_TLS_CACERTFILE, ca);
    set_int(ld, LDAP_OPT_X_TLS_REQUIRE_CERT, LDAP_OPT_X_TLS_DEMAND);
    set_int(ld, LDAP_OPT_X_TLS_PROTOCOL_MIN, LDAP_OPT_X_TLS_PROTOCOL_TLS1_2);
    if (!set_own_certificate(ld, c, e))
        return false;
    int rc;
    int is_server = 0;
    if ((rc = ldap_set_option(ld, LDAP_OPT_X_TLS_NEWCTX, &is_server)) != LDAP_OPT_SUCCESS)
        return err_set(e, ERR_CONFIG, 0, "TLS cannot be set up with ca_file %s%s%s; are they PEM?",
                       ca, *c->tls_cert_file != '\0' ? " and tls_cert_file " : "",
                       c->tls_cert_file);
    return true;
}

/* Must be there before a password is sent; an empty one would be an anonymous bind. */
static bool read_password(const struct conf_source *c, struct buf *out, struct err *e)
{
    if (c->password_file == NULL || *c->password_file == '\0')
        return err_set(e, ERR_CONFIG, 0, "bind_dn needs a password_file");
    if (!file_read_all(c->password_file, out, e))
        return false;
    while (out->n != 0 && (out->p[out->n - 1] == '\n' || out->p[out->n - 1] == '\r'))
        out->n--;
    return out->n != 0 || err_set(e, ERR_CONFIG, 0, "password_file %s is empty", c->password_file);
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
 * Directory wants no protection layer of Kerberos, and the binding to the TLS channel. */
static bool bind_gssapi(LDAP *ld, const struct conf_source *c, struct err *e)
{
    ldap_set_option(ld, LDAP_OPT_X_SASL_NOCANON, LDAP_OPT_ON);
    ldap_set_option(ld, LDAP_OPT_X_SASL_SECPROPS,
                    c->tls == CONF_TLS_NONE ? "minssf=56" : "maxssf=0");
    if (c->tls != CONF_TLS_NONE)
        set_int(ld, LDAP_OPT_X_SASL_CBINDING, LDAP_OPT_X_SASL_CBINDING_TLS_ENDPOINT);
    int rc = ldap_sasl_interactive_bind_s(ld, NULL, "GSSAPI", NULL, NULL, LDAP_SASL_QUIET,
                                          answer_sasl, NULL);
    return rc == LDAP_SUCCESS ||
           ldap_link_error(ld, rc,
                           "bind (SASL GSSAPI; see KRB5_CLIENT_KTNAME or KRB5CCNAME in the "
                           "service's environment, and the host name in uri)",
                           e);
}

static bool bind_as(LDAP *ld, const struct conf_source *c, struct err *e)
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

static bool is_scheme(const char *uri, const char *scheme)
{
    return str_starts_nocase(str_c(uri), str_c(scheme));
}

static bool secure(LDAP *ld, const struct conf_source *c, const char *uri, struct err *e)
{
    if (c->tls != CONF_TLS_STARTTLS || is_scheme(uri, "ldaps:") || is_scheme(uri, "ldapi:"))
        return true;
    int rc = ldap_start_tls_s(ld, NULL, NULL);
    return rc == LDAP_SUCCESS || ldap_link_error(ld, rc, "StartTLS", e) || ldap_probe(c, uri, e);
}

static bool reach(LDAP *ld, const struct conf_source *c, const char *uri, struct err *e)
{
    int rc = ldap_connect(ld);
    return rc == LDAP_SUCCESS || ldap_link_error(ld, rc, "connect", e) || ldap_probe(c, uri, e);
}

LDAP *ldap_link_open(const struct conf_source *c, const char *uri, struct err *e)
{
    LDAP *ld = NULL;
    int rc = ldap_initialize(&ld, uri);
    if (rc != LDAP_SUCCESS) {
        err_set(e, ERR_CONFIG, 0, "%s: %s", uri, ldap_err2string(rc));
        return NULL;
    }
    if (set_options(ld, c, e) && reach(ld, c, uri, e) && secure(ld, c, uri, e) && bind_as(ld, c, e))
        return ld;
    err_wrap(e, "%s", uri);
    ldap_link_close(&ld);
    return NULL;
}

void ldap_link_close(LDAP **ld)
{
    if (*ld != NULL)
        ldap_unbind_ext(*ld, NULL, NULL);
    *ld = NULL;
}

int64_t ldap_link_certificate_ends(LDAP *ld)
{
    struct berval der = {0};
    int64_t ends = 0;
    if (ldap_get_option(ld, LDAP_OPT_X_TLS_PEERCERT, &der) == LDAP_OPT_SUCCESS &&
        der.bv_val != NULL)
        x509_not_after(str_n(der.bv_val, der.bv_len), &ends);
    ldap_memfree(der.bv_val);
    return ends;
}

int ldap_link_fd(LDAP *ld)
{
    int fd = -1;
    return ldap_get_option(ld, LDAP_OPT_DESC, &fd) == LDAP_OPT_SUCCESS ? fd : -1;
}
