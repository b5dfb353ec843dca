/*
 * entry.h - one recipient as one source describes it: what a source hands over, what a table packs.
 *
 * An entry holds evidence, not conclusions: the raw flag value and the target address, never the
 * forest that follows from them. So a reload that changes what a flag value or a domain means takes
 * effect at the next lookup, without a new sync.
 */
#ifndef DIRECTORY_ENTRY_H
#define DIRECTORY_ENTRY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "directory/view.h"

#define DIR_UUID_SIZE     16
#define DIR_ADDRESSES_MAX 1024 /* SMTP addresses of one entry */
#define DIR_OTHERS_MAX    64   /* keys of other kinds */
#define DIR_FLAG_MAX      64   /* octets of a flag value */
#define DIR_TEXT_MAX      256  /* octets of an alias or a name */
#define DIR_OTHER_MAX     1024 /* octets of a key of another kind */

/* Why an entry is of its kind. Stored; numbers stay. */
enum dir_evidence {
    DIR_EVIDENCE_SOURCE = 0,      /* nothing but being in the source */
    DIR_EVIDENCE_HOME_MDB = 1,    /* homeMDB */
    DIR_EVIDENCE_HOME_SERVER = 2, /* msExchHomeServerName */
    DIR_EVIDENCE_TYPE = 3,        /* msExchRecipientTypeDetails */
    DIR_EVIDENCE_TARGET = 4,      /* targetAddress */
    DIR_EVIDENCE_CLASS = 5,       /* objectClass */
    DIR_EVIDENCE_OVERRIDE = 6,
    DIR_EVIDENCE_COUNT
};
const char *dir_evidence_text(enum dir_evidence e);

struct dir_address {
    struct str local;  /* as written, quotes only where needed; empty = no address */
    struct str domain; /* lower case */
};
struct dir_other_key {
    enum dir_key_type type;
    struct str key;
};

struct dir_entry {
    unsigned char uuid[DIR_UUID_SIZE];
    bool tombstone; /* the entry is gone; nothing else below counts */
    enum dir_kind kind;
    enum dir_evidence evidence;
    struct str flag; /* value of the flag attribute; empty = it has none */
    unsigned n_address;
    struct dir_address *address; /* the first is the primary */
    unsigned n_other;
    struct dir_other_key *other;
    struct dir_address routing;      /* from the configured attribute */
    struct dir_address target;       /* targetAddress */
    struct str alias;                /* mailNickname */
    struct str name[DIR_NAME_COUNT]; /* kept only where some forest's routing_template asks */
    uint8_t recipient_type; /* 1 + log2(msExchRecipientTypeDetails); 0 = not said or not one bit */
    bool require_auth;      /* msExchRequireAuthToSendTo is TRUE */
    int64_t vanished_ms; /* wall clock; 0 = present. Its source no longer has it, and it routes on
                            through the grace period */
    struct str dn;       /* as its server writes it; empty where the source has none */
};

/* Room for the lists of one entry, and for texts that are put together. 120 KB: never on a stack.
 */
struct dir_entry_room {
    struct dir_address address[DIR_ADDRESSES_MAX];
    struct dir_other_key other[DIR_OTHERS_MAX];
    char other_text[DIR_OTHERS_MAX][DIR_OTHER_MAX];
    char dn[DIR_DN_MAX];
};

bool dir_entry_equal(const struct dir_entry *a, const struct dir_entry *b);
/* Do both say the same to a lookup? An object that is renamed or moved takes no mail along. */
bool dir_entry_equal_but_dn(const struct dir_entry *a, const struct dir_entry *b);
/* The first address of `from` that `to` does not have, or NULL. */
const struct dir_address *dir_entry_dropped(const struct dir_entry *from,
                                            const struct dir_entry *to);
/* Would mail for it take another way: flag, kind, target or routing differ? */
bool dir_entry_moved(const struct dir_entry *from, const struct dir_entry *to);

/* The address key of an address (rewrite/address.h) and its hash; cap ADDRESS_MAX + 1. */
struct str dir_address_key(const struct dir_address *a, char *dst);
uint64_t dir_address_hash(const struct dir_address *a);
bool dir_address_equal(const struct dir_address *a, const struct dir_address *b);
/* The hash of a key that is no SMTP address. Keys that can be equal to each other have one hash:
 * legacyExchangeDN and X500: addresses. */
uint64_t dir_other_hash(enum dir_key_type type, struct str key);
uint64_t dir_uuid_hash(const unsigned char *uuid);
/* Splits what address_parse() accepts into the two halves; the domain is put in lower case in
 * `domain` (cap ADDRESS_MAX), the local part without needless quotes in `local`. */
bool dir_address_split(struct str text, char *local, char *domain, struct dir_address *out);

#endif
