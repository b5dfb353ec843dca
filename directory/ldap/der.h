/*
 * der.h - the few ASN.1 elements that LDAP controls and certificates are made of, read and written
 * with definite lengths. Pure: slices point into the input, nothing is allocated, and every length
 * is checked against what encloses it.
 */
#ifndef DIRECTORY_DER_H
#define DIRECTORY_DER_H

#include "base/buf.h"
#include "base/str.h"

enum der_tag {
    DER_BOOLEAN = 0x01,
    DER_INTEGER = 0x02,
    DER_OCTETS = 0x04,
    DER_ENUM = 0x0a,
    DER_UTC_TIME = 0x17,
    DER_GENERAL_TIME = 0x18,
    DER_SEQUENCE = 0x30,
    DER_SET = 0x31,
    DER_COMPOUND = 0x20, /* added to a context tag */
    DER_CONTEXT = 0x80
};

/* Takes one element off the front of *in. False: damaged, and *in is as it was. */
bool der_take(struct str *in, unsigned *tag, struct str *content);
bool der_take_as(struct str *in, unsigned tag, struct str *content);
/* An integer of up to four octets. */
bool der_take_int(struct str *in, int32_t *out);
/* OPTIONAL and DEFAULT: absent leaves *out as it is. False: there, and wrong. */
bool der_optional_bool(struct str *in, bool *out);
/* Absent: *out is STR_NULL. */
bool der_optional_octets(struct str *in, struct str *out);

/* What der_put_head() writes for a content of n octets. */
size_t der_head_size(size_t n);
/* What der_put_int() writes. */
size_t der_int_size(int32_t v);
bool der_put_head(struct buf *out, unsigned tag, size_t n);
bool der_put_int(struct buf *out, int32_t v);
bool der_put_octets(struct buf *out, struct str s);

#endif
