/*
 * x509.h - when does a certificate end? (RFC 5280 4.1.2.5) Pure.
 */
#ifndef DIRECTORY_X509_H
#define DIRECTORY_X509_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* notAfter of a certificate in DER, as wall clock. False: that is no certificate. */
bool x509_not_after(struct str certificate, int64_t *wall_ms);

#endif
