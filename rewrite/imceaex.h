/*
 * imceaex.h - encapsulated addresses: how Exchange writes an address that is none of SMTP's into a
 * local part, `IMCEA` type `-` encoded `@` domain. Type EX carries a legacyExchangeDN: it is what
 * a reply to an old message is addressed to. Pure.
 *
 * The encoding works octet by octet: letters, digits, `-` and `=` stay; `/` becomes `_`; everything
 * else becomes `+HH`.
 */
#ifndef REWRITE_IMCEAEX_H
#define REWRITE_IMCEAEX_H

#include "base/buf.h"
#include "base/str.h"

enum imcea_kind {
    IMCEA_NONE,  /* an ordinary local part, also one of a type that means nothing here */
    IMCEA_EX,    /* a legacyExchangeDN */
    IMCEA_TRICK, /* SMTP or X500: would make us look up, or relay to, an address of the sender's */
};

/* What is this local part (without quotes)? *encoded is what follows the first `-`. */
enum imcea_kind imcea_parse(struct str local, struct str *encoded);

/* Appends the decoded address. False, and nothing is appended, if it is empty, holds a control
 * octet, or does not fit. */
bool imcea_decode(struct str encoded, struct buf *out);
/* Appends the encoding of the address, without "IMCEAEX-". False if it does not fit. */
bool imcea_encode(struct str address, struct buf *out);

#endif
