/*
 * base64.h - RFC 4648 4: base64 with padding, no line breaks.
 */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/buf.h"

/* Appends s encoded; false (and nothing appended) if the buffer's cap forbids it. */
bool base64_append(struct buf *out, struct str s);

#endif
