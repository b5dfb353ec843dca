/*
 * address.h - the grammar of mail addresses: RFC 5321 4.1.2 (Path, Mailbox) with RFC 6531's UTF-8
 * where allowed, and nothing more. `%`, `!` and encoded words are plain characters. Pure.
 *
 * Stricter than the grammar in two points: IPv4 literals have no leading zeros (some read them as
 * octal), and literals with another tag than IPv6 are refused.
 *
 * Limits: local part 315, address 571 octets (Exchange's, longer than RFC 5321's, for IMCEAEX
 * addresses); domain 255; label 63.
 */
#ifndef REWRITE_ADDRESS_H
#define REWRITE_ADDRESS_H

#include <stdbool.h>

#include "base/str.h"

#define ADDRESS_LOCAL_MAX 315
#define ADDRESS_MAX       571
/* RFC 5321 4.5.3.1: a path of 256 octets with its angle brackets. */
#define ADDRESS_RFC_LOCAL_MAX 64
#define ADDRESS_RFC_MAX       254

enum address_status {
    ADDRESS_OK,
    ADDRESS_SYNTAX,
    ADDRESS_TOO_LONG,   /* correct otherwise */
    ADDRESS_NEEDS_UTF8, /* correct with SMTPUTF8, which was not asked for */
};
const char *address_status_text(enum address_status s);

enum {
    ADDRESS_ALLOW_EMPTY = 1, /* <> */
    ADDRESS_ALLOW_UTF8 = 2,
    ADDRESS_ALLOW_ROUTE = 4,      /* "@a,@b:" before the address: accepted and stripped */
    ADDRESS_ALLOW_POSTMASTER = 8, /* <postmaster> without a domain */
};

struct address {
    struct str all;    /* local@domain as written (source route stripped); empty = null */
    struct str local;  /* with its quotes, if quoted */
    struct str domain; /* as written; with brackets if a literal; empty for <postmaster> */
    bool quoted;
    bool literal;
};

/* Parses "<...>" at the start of `in`; *rest is what follows ">". Slices point into `in`. */
enum address_status address_parse_path(struct str in, unsigned flags, struct address *out,
                                       struct str *rest);
/* Parses a bare local@domain (configuration, directory values, control requests). */
enum address_status address_parse(struct str in, unsigned flags, struct address *out);

/* The form that directories are keyed by: local part unquoted if it was quoted without need, ASCII
 * lower case; domain lower case without a dot at the end. `<postmaster>` keeps no domain. Returns
 * the length, or 0 if it does not fit. cap >= ADDRESS_MAX + 1 always fits. */
size_t address_key(const struct address *a, char *dst, size_t cap);

/* May this octet stand in an unquoted local part, dots apart (RFC 5321 4.1.2, atext)? */
bool address_is_atext(unsigned char c);

/* One or more labels of letters, digits and hyphens (and UTF-8 if allowed), no dot at the end,
 * within the limits above. Not a literal. */
bool domain_is_valid(struct str d, bool allow_utf8);

#endif
