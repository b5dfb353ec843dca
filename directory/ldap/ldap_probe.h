/*
 * ldap_probe.h - why could the server not be reached? The LDAP library says "Can't contact LDAP
 * server" to everything from a misspelt name to an expired certificate; after such a failure the
 * steps are tried again here one by one. Blocks, each step for at most LDAP_LINK_TIMEOUT_S; sends
 * no name and no password.
 */
#ifndef DIRECTORY_LDAP_PROBE_H
#define DIRECTORY_LDAP_PROBE_H

#include <stdbool.h>

#include "base/err.h"
#include "conf/conf.h"

/* Puts the step that fails, and what to look at, into *e; leaves it as it is if all goes well now.
 * Returns false. */
bool ldap_probe(const struct conf_source *c, const char *uri, struct err *e);

#endif
