/*
 * ldap_probe.c - see ldap_probe.h.
 */
#include "directory/ldap/ldap_probe.h"

#include <errno.h>
#include <ldap.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "directory/ldap/ldap_link.h"

/* errno of a connection to the first address that answers, or else of the last. */
static int connect_error(const struct addrinfo *list)
{
    int error = EADDRNOTAVAIL;
    const struct timeval limit = {.tv_sec = LDAP_LINK_TIMEOUT_S};
    for (const struct addrinfo *a = list; a != NULL && error != 0; a = a->ai_next) {
        int fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        error = connect(fd, a->ai_addr, a->ai_addrlen) == 0 ? 0 : errno;
        error = error == EINPROGRESS ? ETIMEDOUT : error;
        close(fd);
    }
    return error;
}

static bool probe_tcp(const LDAPURLDesc *u, struct err *e)
{
    char port[16];
    struct addrinfo *list = NULL, hints = {.ai_socktype = SOCK_STREAM};
    snprintf(port, sizeof(port), "%d", u->lud_port);
    int rc = getaddrinfo(u->lud_host, port, &hints, &list);
    if (rc != 0)
        return err_set(e, ERR_CONFIG, 0, "the name %s cannot be resolved (%s)", u->lud_host,
                       gai_strerror(rc));
    int error = connect_error(list);
    freeaddrinfo(list);
    return error == 0 ||
           err_set(e, ERR_SYSTEM, error, "cannot connect to %s port %s", u->lud_host, port);
}

/* With a server whose certificate is not looked at. */
static LDAP *open_unchecked(const char *uri, bool starttls)
{
    LDAP *ld = NULL;
    int version = LDAP_VERSION3, never = LDAP_OPT_X_TLS_NEVER, is_server = 0;
    const struct timeval limit = {.tv_sec = LDAP_LINK_TIMEOUT_S};
    if (ldap_initialize(&ld, uri) != LDAP_SUCCESS)
        return NULL;
    ldap_set_option(ld, LDAP_OPT_PROTOCOL_VERSION, &version);
    ldap_set_option(ld, LDAP_OPT_NETWORK_TIMEOUT, &limit);
    ldap_set_option(ld, LDAP_OPT_TIMEOUT, &limit);
    ldap_set_option(ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &never);
    ldap_set_option(ld, LDAP_OPT_X_TLS_NEWCTX, &is_server);
    if (ldap_connect(ld) != LDAP_SUCCESS ||
        (starttls && ldap_start_tls_s(ld, NULL, NULL) != LDAP_SUCCESS))
        ldap_link_close(&ld);
    return ld;
}

static bool probe_tls(const struct conf_source *c, const char *uri, const char *host, struct err *e)
{
    const char *step = c->tls == CONF_TLS_STARTTLS ? "StartTLS" : "TLS";
    LDAP *ld = open_unchecked(uri, c->tls == CONF_TLS_STARTTLS);
    if (ld == NULL)
        return err_set(e, ERR_CONFIG, 0,
                       "%s: the server does not offer it on this port; has it a certificate?",
                       step);
    int64_t ends = ldap_link_certificate_ends(ld);
    ldap_link_close(&ld);
    if (ends != 0 && ends < clock_wall_ms()) {
        time_t t = (time_t)(ends / 1000);
        struct tm tm;
        char when[32];
        strftime(when, sizeof(when), "%Y-%m-%d", gmtime_r(&t, &tm));
        return err_set(e, ERR_CONFIG, 0,
                       "%s: the server's certificate expired on %s; renew it there", step, when);
    }
    return err_set(e, ERR_CONFIG, 0,
                   "%s: the server's certificate is not accepted; it must name %s, as uri does, "
                   "and come from an authority in %s",
                   step, host, *c->ca_file != '\0' ? c->ca_file : "ca_file, which is not set");
}

bool ldap_probe(const struct conf_source *c, const char *uri, struct err *e)
{
    LDAPURLDesc *u = NULL;
    if (ldap_url_parse(uri, &u) != LDAP_URL_SUCCESS)
        return false;
    if (strcmp(u->lud_scheme, "ldapi") != 0 && probe_tcp(u, e) && c->tls != CONF_TLS_NONE)
        probe_tls(c, uri, u->lud_host, e);
    ldap_free_urldesc(u);
    return false;
}
