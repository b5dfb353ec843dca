/*
 * ldif.h - reading LDIF content records (RFC 2849) as a stream: version line, comments, folded
 * lines, base64 values, LF or CRLF. Refused: change records, values by URL. Pure; bytes may come in
 * any portions.
 */
#ifndef DIRECTORY_LDIF_H
#define DIRECTORY_LDIF_H

#include "base/err.h"
#include "base/str.h"

#define LDIF_ATTRIBUTES_MAX 100000 /* values of one record */

struct ldif_value {
    struct str name, value;
    unsigned line;
};
struct ldif_record {
    unsigned line; /* of its dn */
    struct str dn;
    unsigned n;
    const struct ldif_value *value;
};
/* Slices live for the call. False stops the reading; *e says why, without the line. */
typedef bool ldif_record_fn(void *arg, const struct ldif_record *r, struct err *e);

struct ldif;

/* line_max: octets of a value, unfolded. */
struct ldif *ldif_new(size_t line_max, ldif_record_fn *fn, void *arg);
void ldif_free(struct ldif **l);
/* False: "line N: what is wrong; what would be right". Nothing more may be fed then. */
bool ldif_feed(struct ldif *l, const char *p, size_t n, struct err *e);
/* The end of the file: the last record. */
bool ldif_end(struct ldif *l, struct err *e);

#endif
