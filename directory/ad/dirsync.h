/*
 * dirsync.h - the values of Active Directory's DirSync control (MS-ADTS 3.1.1.3.4.1.3), encoded and
 * decoded. Pure; slices point into the input.
 *
 *   request   SEQUENCE { flags INTEGER, maxBytes INTEGER, cookie OCTET STRING }
 *   answer    SEQUENCE { moreResults INTEGER, unused INTEGER, cookie OCTET STRING }
 */
#ifndef DIRECTORY_DIRSYNC_H
#define DIRECTORY_DIRSYNC_H

#include "base/buf.h"
#include "base/str.h"

#define DIRSYNC_OID "1.2.840.113556.1.4.841"

/* Only what the account may read comes, and the right to replicate is not needed. */
#define DIRSYNC_OBJECT_SECURITY 0x1u

/* The flags are 32 bits in a signed INTEGER: those with the highest bit are a negative number. */
bool dirsync_request(struct buf *out, uint32_t flags, uint32_t max_bytes, struct str cookie);

struct dirsync_answer {
    bool more; /* ask again at once, with the new cookie */
    struct str cookie;
};
/* False: not one, or one whose cookie is empty. */
bool dirsync_read_answer(struct str in, struct dirsync_answer *out);

#endif
