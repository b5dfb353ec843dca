/*
 * ldap_bind.h - logging on to a directory server: anonymously, with a password, a Kerberos ticket
 * or a client certificate. Blocks.
 */
#ifndef DIRECTORY_LDAP_BIND_H
#define DIRECTORY_LDAP_BIND_H

#include <ldap.h>

#include "base/err.h"
#include "conf/conf.h"

/* As the source's configuration says. False: *e says why, and what to look at. */
bool ldap_bind_as(LDAP *ld, const struct conf_source *c, struct err *e);

#endif
