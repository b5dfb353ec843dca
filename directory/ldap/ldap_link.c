/*
 * ldap_link.c - see ldap_link.h. Options are set on the handle, every one that matters, so that an
 * ldap.conf or the environment cannot weaken them: the certificate is checked, with its name.
 */
#include "directory/ldap/ldap_link.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/escape.h"
#include "directory/ldap/ldap_bind.h"
#include "directory/ldap/ldap_probe.h"
#include "directory/ldap/x509.h"

#define SYSTEM_CAS     "/etc/ssl/certs/ca-certificates.crt"
#define KEEPALIVE_IDLE 30 /* a silent peer is noticed after a minute */
#define READ_AHEAD     65536
#define RECEIVE_MIN                                                                                \
    (1 << 20) /* octets of the system's own, each small message taking 1,280 or so */

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

/* By itself the library asks the system twice for each message, for its length and for the rest of
 * it, and for whether there is one. This goes above TLS and what SASL added, so it comes last. */
static void read_ahead(LDAP *ld)
{
    Sockbuf *sb = NULL;
    int n = READ_AHEAD;
    if (ldap_get_option(ld, LDAP_OPT_SOCKBUF, &sb) == LDAP_OPT_SUCCESS && sb != NULL)
        ber_sockbuf_add_io(sb, &ber_sockbuf_io_readahead, LBER_SBIOD_LEVEL_APPLICATION, &n);
}

/* The system begins with room for a hundred small messages, and a server that sends more before we
 * look is slowed down for as long as the connection lasts. To ask for half a megabyte at a time,
 * for a moment, makes room for twice that (tcp(7), SO_RCVLOWAT); unlike SO_RCVBUF it leaves the
 * system free to give more. */
static void make_room(int fd)
{
    const int half = RECEIVE_MIN / 2, one = 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &half, sizeof(half));
    setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
}

void ldap_link_init(void)
{
    int version;
    ldap_get_option(NULL, LDAP_OPT_PROTOCOL_VERSION, &version);
}

LDAP *ldap_link_open(const struct conf_source *c, const char *uri, struct err *e)
{
    LDAP *ld = NULL;
    int rc = ldap_initialize(&ld, uri);
    if (rc != LDAP_SUCCESS) {
        err_set(e, ERR_CONFIG, 0, "%s: %s", uri, ldap_err2string(rc));
        return NULL;
    }
    if (set_options(ld, c, e) && reach(ld, c, uri, e) && secure(ld, c, uri, e) &&
        ldap_bind_as(ld, c, e)) {
        read_ahead(ld);
        make_room(ldap_link_fd(ld));
        return ld;
    }
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
