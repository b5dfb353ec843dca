/*
 * ldap_link.c - see ldap_link.h. Options are set on the handle, every one that matters, so that an
 * ldap.conf or the environment cannot weaken them: the certificate is checked, with its name.
 */
#include "directory/ldap_link.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/escape.h"
#include "base/file.h"
#include "base/mem.h"

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
    int rc;
    int is_server = 0;
    if ((rc = ldap_set_option(ld, LDAP_OPT_X_TLS_NEWCTX, &is_server)) != LDAP_OPT_SUCCESS)
        return err_set(e, ERR_CONFIG, 0, "TLS cannot be set up with ca_file %s; is it PEM?", ca);
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
                       "the server refused bind_dn \"%s\" with the password in %s", c->bind_dn,
                       c->password_file);
    return rc == LDAP_SUCCESS || ldap_link_error(ld, rc, "bind", e);
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
    return rc == LDAP_SUCCESS ||
           ldap_link_error(ld, rc, "StartTLS (see ca_file and the certificate's names)", e);
}

LDAP *ldap_link_open(const struct conf_source *c, const char *uri, struct err *e)
{
    LDAP *ld = NULL;
    int rc = ldap_initialize(&ld, uri);
    if (rc != LDAP_SUCCESS) {
        err_set(e, ERR_CONFIG, 0, "%s: %s", uri, ldap_err2string(rc));
        return NULL;
    }
    bool ok = set_options(ld, c, e);
    if (ok && (rc = ldap_connect(ld)) != LDAP_SUCCESS)
        ok = ldap_link_error(ld, rc,
                             is_scheme(uri, "ldaps:")
                                 ? "connect with TLS (see ca_file and the certificate's names)"
                                 : "connect",
                             e);
    ok = ok && secure(ld, c, uri, e) && bind_simple(ld, c, e);
    if (ok)
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

int ldap_link_fd(LDAP *ld)
{
    int fd = -1;
    return ldap_get_option(ld, LDAP_OPT_DESC, &fd) == LDAP_OPT_SUCCESS ? fd : -1;
}
