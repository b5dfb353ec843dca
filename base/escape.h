/*
 * escape.h - making foreign bytes harmless: control octets, DEL, and what is not UTF-8 become \xHH,
 * backslash becomes \\. Used for every text of a peer that is logged, stored or sent on.
 */
#ifndef BASE_ESCAPE_H
#define BASE_ESCAPE_H

#include "base/buf.h"

/* Appends s escaped, at most `max` octets of output, "..." at the end if cut. */
bool escape_append(struct buf *out, struct str s, size_t max);
/* The same into dst, NUL-terminated; cap >= 8. */
void escape_cstr(struct str s, char *dst, size_t cap);

/* Octets of the valid UTF-8 character at p (1 to 4); 0 if the bytes are not UTF-8. */
size_t escape_utf8_len(const char *p, size_t n);

#endif
