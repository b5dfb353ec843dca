/*
 * directory_oracle.h - where mail must go, worked out the slow way: plain lists of what each source
 * has, gone through from end to end for each question. Written from RULES and the manuals of the
 * options, not from the directory's code, which is compared with it (directory_random_test.c).
 *
 * The world is small so that things meet: a few addresses, three forests, three sources with a few
 * objects each.
 */
#ifndef TESTS_UNIT_DIRECTORY_ORACLE_H
#define TESTS_UNIT_DIRECTORY_ORACLE_H

#include <stdbool.h>
#include <stddef.h>

#define FORESTS       3
#define SOURCES       3
#define OBJECTS       3 /* of the first source; the others have one less: 7 in all, and an override */
#define DOMAINS       4 /* shared ones */
#define ADDRESSES     15
#define SHARED        11 /* of these: the first ones, in shared domains */
#define TARGETS       6
#define X500_NAMES    3
#define NOBODY        (-1)
#define OBJECTS_OF(s) ((s) == 0 ? OBJECTS : OBJECTS - 1)

extern const char *const oracle_forest[FORESTS]; /* name */
extern const char *const oracle_routing_domain[FORESTS];
extern const char *const oracle_domain[DOMAINS];
extern const char *const oracle_address[ADDRESSES];
extern const char *const oracle_target[TARGETS];
extern const char *const oracle_x500[X500_NAMES];

enum oracle_evidence { /* as the option `evidence` has it */
    FLAG_EXCHANGE,
    EXCHANGE_FLAG,
    FLAG_ONLY,
    EXCHANGE_ONLY,
    EVIDENCES
};
enum oracle_type { /* what msExchRecipientTypeDetails says */
    TYPE_NONE,
    TYPE_MAILBOX,
    TYPE_SHARED,
    TYPE_MAIL_USER,
    TYPE_REMOTE,
    TYPE_CONTACT,
    TYPE_GROUP,
    TYPE_ODD, /* a number that nobody knows */
    TYPES
};
enum oracle_class {
    CLASS_PERSON,
    CLASS_GROUP,
    CLASS_CONTACT,
    CLASSES
};

/* An object as a directory has it. NOBODY: no such attribute. */
struct object {
    int primary;     /* an address; NOBODY: not mail-enabled */
    bool by_mail;    /* the primary is the value of mail, and no proxy address says "SMTP:" */
    unsigned others; /* further addresses, a bit for each */
    bool capitals;   /* its local parts are written in them */
    bool home_mdb;
    enum oracle_type type;
    enum oracle_class class;
    int target;
    int flag;      /* 0, 1: a value with a meaning; 2: one without */
    int routing;   /* value of the routing attribute, an address */
    int legacy;    /* legacyExchangeDN, an X.500 name */
    unsigned x500; /* X500: proxies, a bit for each name */
    int key;       /* join attribute: 0 or 1 */
    unsigned dn;   /* changes with a rename, and means nothing */
};
struct oracle_slot {
    bool there, vanished; /* vanished: gone from the directory, and in its grace period */
    struct object o;
};
struct oracle_source {
    bool configured;
    int priority, forest;  /* NOBODY: of no forest */
    bool active_directory; /* whose accounts have a mail attribute without having a mailbox */
    bool grace;
    int flag_forest[2]; /* what the flag values mean */
    bool complete;
    struct oracle_slot slot[OBJECTS];
};
struct oracle {
    struct oracle_source source[SOURCES];
    enum oracle_evidence evidence[DOMAINS];
    bool join_smtp, join_x500, join_key;
    int override[ADDRESSES]; /* a forest, or NOBODY */
};

enum oracle_found {
    ORACLE_FOUND,
    ORACLE_NOT_FOUND,
    ORACLE_NOT_YET,
    ORACLE_CONFLICT,
    ORACLE_AMBIGUOUS
};
struct verdict {
    enum oracle_found found;
    int forest;
    char routing[80]; /* lower case; "" = the address as it is */
    bool open;        /* the rules do not say: two overrides, a domain that is nobody's */
};

void oracle_ask(const struct oracle *o, int address, struct verdict *out);
void oracle_ask_x500(const struct oracle *o, int name, struct verdict *out);

#endif
