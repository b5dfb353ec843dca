/*
 * view.h - reading the directory: one immutable generation of everything the sources say.
 *
 * A view is a stack, per source, of immutable tables: the memory-mapped snapshot and a few small
 * tables of later changes (table.h). Readers never wait for writers: each worker holds a reference
 * and looks at one atomic generation number to learn that there is a newer one.
 *
 * A lookup joins what the sources say about one person (person.h, locate.c). No allocation; results
 * point into the view (alive as long as the reference) and, because addresses are stored in two
 * halves, into a text area of the result itself: a struct dir_result is never copied by value, and
 * what must outlive it is copied out.
 */
#ifndef DIRECTORY_VIEW_H
#define DIRECTORY_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "rewrite/address.h"

struct conf;
struct dir_table;
struct dir_view;
struct directory;

enum dir_kind {
    DIR_MAILBOX,
    DIR_MAIL_USER, /* mail user, remote mailbox: lives elsewhere, targetAddress says where */
    DIR_CONTACT,
    DIR_GROUP,
    DIR_OVERRIDE, /* set by an admin with `causewayctl set` */
};
const char *dir_kind_text(enum dir_kind k);

/* Keys that are not SMTP addresses. Stored; numbers stay. */
enum dir_key_type {
    DIR_KEY_UUID = 1,
    DIR_KEY_X500 = 2,     /* an X500: proxy address, lower case */
    DIR_KEY_CUSTOM = 3,   /* value of the configured join_attribute, lower case */
    DIR_KEY_LEGACY_DN = 4 /* legacyExchangeDN, lower case */
};

/* The pieces of a person's name that a routing template may ask for. */
enum dir_name {
    DIR_NAME_GIVEN,    /* %g givenName */
    DIR_NAME_SURNAME,  /* %s sn */
    DIR_NAME_INITIALS, /* %i initials */
    DIR_NAME_DISPLAY,  /* %d displayName */
    DIR_NAME_COUNT
};

/* `source` of a claim that an override makes. */
#define DIR_SOURCE_OVERRIDES 0xffffu

/* What one object of one source says about a person. Slices point into the view or into the dir_result that
 * holds the claim: copy what must outlive either. */
struct dir_claim {
    unsigned source; /* index by priority, or DIR_SOURCE_OVERRIDES; dir_view_source_name() */
    enum dir_kind kind;
    struct str
        forest; /* hosting forest's name by this source's evidence; empty = it does not say */
    struct str primary;   /* primary SMTP address */
    struct str routing;   /* address to give the hosting forest; empty = unchanged. Of `best` the
                             whole answer: the routing attribute, else the entry's own address in
                             that forest's routing domain, else a target there, over all claims */
    struct str target;    /* targetAddress without "SMTP:", or empty */
    struct str alias;     /* mailNickname, or empty */
    const char *evidence; /* static text: "flag extensionAttribute1", "homeMDB", "targetAddress",
                             "override" */
    struct str name[DIR_NAME_COUNT]; /* empty unless some forest's routing_template asks for it */
    uint8_t recipient_type;          /* 1 + log2(msExchRecipientTypeDetails), or 0 */
    bool require_auth;               /* only authenticated senders may reach it */
    int64_t vanished_ms;             /* wall clock; 0 = its source has it */
    int64_t routes_until_ms;         /* if it vanished: the end of its grace period */
    const unsigned char *uuid;       /* 16 octets; objectGUID or entryUUID */
    const struct dir_table *table;   /* for dir_claim_dn() */
};
/* The DN of the object behind a claim, put together in dst (cap DIR_DN_MAX); empty for an override
 * and where the source has none. Apart from the rest because mail is routed without it. */
#define DIR_DN_MAX 1024
struct str dir_claim_dn(const struct dir_claim *c, char *dst);

#define DIR_CLAIMS_MAX  8
#define DIR_RESULT_TEXT ((DIR_CLAIMS_MAX * 3 + 2) * ADDRESS_MAX)

enum dir_found {
    DIR_FOUND,     /* `best` says where */
    DIR_NOT_FOUND, /* every source that could know it is complete and fresh: it does not exist */
    DIR_NOT_FOUND_YET, /* some source was never fully synced or is stale: answer 451 */
    DIR_CONFLICT, /* found; the directories contradict each other; `best` was chosen by priority */
    DIR_AMBIGUOUS /* by another key only: several people have it and none was chosen */
};

struct dir_result {
    enum dir_found found;
    unsigned n_claims;
    struct dir_claim claim[DIR_CLAIMS_MAX]; /* overrides first, then by source priority */
    const struct dir_claim *best;           /* NULL when not found */
    const char
        *why; /* static text: the location rule that decided, or which state stands in the way */
    const char *stale_source; /* for DIR_NOT_FOUND_YET */
    const char *conflict;     /* what contradicts, one of those below; NULL = nothing does */
    unsigned text_used;
    char text[DIR_RESULT_TEXT]; /* primary, routing and target addresses, put together; not
                                   initialised beyond text_used */
};

extern const char dir_conflict_forests[], dir_conflict_objects[];

/* `key` is an address key (rewrite/address.h: address_key()). now_ms: monotonic, for staleness. */
void dir_view_lookup(const struct dir_view *v, struct str key, int64_t now_ms,
                     struct dir_result *out);

/* The same for the person with a key of another kind, in lower case: with DIR_KEY_X500 by
 * legacyExchangeDN and, where nobody has it as that, by X500: address; with DIR_KEY_CUSTOM by the
 * join attribute. Nobody is the right one if several have it: DIR_AMBIGUOUS, with their claims. */
void dir_view_lookup_other(const struct dir_view *v, enum dir_key_type type, struct str key,
                           int64_t now_ms, struct dir_result *out);

/* Of an entry that was found (key empty: by another key): do all sources that could say something
 * about it say what is true now? If not, false, and why and stale_source of `out` name the first
 * that does not. */
bool dir_view_is_current(const struct dir_view *v, struct str key, int64_t now_ms,
                         struct dir_result *out);

uint64_t dir_view_generation(const struct dir_view *v);
/* The configuration the view was made for, as long as the view lives: decide with this one. What
 * another one says about sources and forests does not fit. */
const struct conf *dir_view_conf(const struct dir_view *v);
const char *dir_view_source_name(const struct dir_view *v, unsigned source);

/* ---- references ---- */

/* The newest generation's number: one atomic load. */
uint64_t directory_generation(const struct directory *d);
/* A reference to the newest view; any thread; a short lock. */
struct dir_view *directory_view(struct directory *d);
struct dir_view *dir_view_ref(struct dir_view *v);
void dir_view_unref(struct dir_view **v);

#endif
