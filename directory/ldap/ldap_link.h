/*
 * ldap_link.h - one connection to a directory server: connected, secured and bound as a source's
 * configuration says. Owned by the source's thread. Opening blocks, each step for at most
 * LDAP_LINK_TIMEOUT_S; everything afterwards is asynchronous.
 */
#ifndef DIRECTORY_LDAP_LINK_H
#define DIRECTORY_LDAP_LINK_H

#include <ldap.h>

#include "base/err.h"
#include "conf/conf.h"

#define LDAP_LINK_TIMEOUT_S 5

/* Before any thread uses the library: it sets its global options up when first used, and two
 * threads that come first together race. */
void ldap_link_init(void);
/* NULL: *e says which step failed, why, and what to look at. */
LDAP *ldap_link_open(const struct conf_source *c, const char *uri, struct err *e);
void ldap_link_close(LDAP **ld);
/* The descriptor to wait on, or -1. */
int ldap_link_fd(LDAP *ld);
/* When the server's certificate expires (wall clock); 0: no TLS, or it cannot be told. */
int64_t ldap_link_certificate_ends(LDAP *ld);
/* "what: error text (the server's own words)" */
bool ldap_link_error(LDAP *ld, int rc, const char *what, struct err *e);

#endif
