/*
 * route_test.c - decisions: every class of domain, every origin, every answer of a directory that
 * the test plays itself; and the reasons given.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "directory/entry.h"
#include "relay/route/route_int.h"

/* ---- a directory of our own ---- */

struct dir_view {
    uint64_t generation;
};
static struct dir_view view = {.generation = 17};

struct person {
    const char *key;
    enum dir_found found;
    unsigned n;
    struct {
        unsigned source;
        enum dir_kind kind;
        const char *forest, *routing, *alias, *target, *evidence;
    } claim[3];
    unsigned best;
};
static const struct person people[] = {
    {"anna@contoso.com", DIR_FOUND, 1, {{0, DIR_MAILBOX, "new", "", "anna", "", "homeMDB"}}, 0},
    {"otto@contoso.com", DIR_FOUND, 1, {{1, DIR_MAILBOX, "old", "", "otto", "", "homeMDB"}}, 0},
    {"ruth@contoso.com",
     DIR_FOUND,
     2,
     {{0, DIR_MAILBOX, "new", "ruth@new.local", "ruth", "", "homeMDB"},
      {1, DIR_MAIL_USER, "new", "", "", "ruth@new.local", "targetAddress"}},
     0},
    {"badr@contoso.com",
     DIR_FOUND,
     1,
     {{1, DIR_MAILBOX, "old", "no address", "", "", "flag f"}},
     0},
    {"noal@contoso.com", DIR_FOUND, 1, {{0, DIR_MAILBOX, "new", "", "", "", "homeMDB"}}, 0},
    {"odd@contoso.com", DIR_FOUND, 1, {{0, DIR_MAILBOX, "new", "", "a b", "", "homeMDB"}}, 0},
    {"jose@contoso.com",
     DIR_FOUND,
     1,
     {{0, DIR_MAILBOX, "new", "jos\xc3\xa9@new.local", "jose", "", "homeMDB"}},
     0},
    {"zoe@contoso.com",
     DIR_FOUND,
     1,
     {{0, DIR_MAILBOX, "new", "", "zo\xc3\xab", "", "homeMDB"}},
     0},
    {"zo\xc3\xab@contoso.com",
     DIR_FOUND,
     1,
     {{0, DIR_MAILBOX, "new", "", "zo\xc3\xab.m", "", "homeMDB"}},
     0},
    {"over@contoso.com",
     DIR_FOUND,
     3,
     {{0xffff, DIR_OVERRIDE, "new", "", "", "", "override"},
      {1, DIR_MAILBOX, "old", "", "over.old", "", "homeMDB"},
      {0, DIR_MAILBOX, "new", "", "over.new", "", "homeMDB"}},
     0},
    {"both@contoso.com",
     DIR_CONFLICT,
     2,
     {{0, DIR_MAILBOX, "new", "", "both", "", "homeMDB"},
      {1, DIR_MAILBOX, "old", "", "both", "", "homeMDB"}},
     0},
    {"gone@contoso.com", DIR_FOUND, 1, {{0, DIR_MAILBOX, "closed", "", "", "", "flag f"}}, 0},
    {"late@contoso.com", DIR_NOT_FOUND_YET, 0, {{0}}, 0},
    {"moved@contoso.com", DIR_FOUND, 1, {{1, DIR_MAILBOX, "old", "", "", "", "homeMDB"}}, 0},
    {"mover@contoso.com", DIR_FOUND, 1, {{0xffff, DIR_OVERRIDE, "old", "", "", "", "override"}}, 0},
    /* groups for our own people only: the owner's word counts */
    {"all@contoso.com", DIR_FOUND, 1, {{1, DIR_GROUP, "old", "", "", "", "class"}}, 0},
    {"some@contoso.com",
     DIR_FOUND,
     2,
     {{0, DIR_CONTACT, "old", "", "", "", "class"}, {1, DIR_GROUP, "old", "", "", "", "class"}},
     1},
    {"few@contoso.com",
     DIR_FOUND,
     2,
     {{0xffff, DIR_OVERRIDE, "old", "", "", "", "override"},
      {1, DIR_GROUP, "old", "", "", "", "class"}},
     0},
    {"mine@contoso.com", DIR_FOUND, 1, {{0, DIR_MAILBOX, "old", "", "", "", "flag f"}}, 0},
    /* names */
    {"greta@contoso.com",
     DIR_FOUND,
     2,
     {{1, DIR_MAIL_USER, "made", "", "", "", "homeMDB"},
      {0, DIR_MAILBOX, "made", "", "", "", "homeMDB"}},
     1},
    /* plus addresses, and one that only looks like it */
    {"pia@plus.com", DIR_FOUND, 1, {{1, DIR_MAILBOX, "old", "", "pia", "", "homeMDB"}}, 0},
    {"pit@plus.com", DIR_FOUND, 1, {{0, DIR_MAILBOX, "new", "", "pitk", "", "homeMDB"}}, 0},
    {"pat@plus.com",
     DIR_FOUND,
     1,
     {{1, DIR_MAILBOX, "old", "\"p t\"@old.local", "", "", "homeMDB"}},
     0},
    {"c+c@plus.com", DIR_FOUND, 1, {{1, DIR_MAILBOX, "old", "", "", "", "homeMDB"}}, 0},
    {"c@plus.com", DIR_FOUND, 1, {{0, DIR_MAILBOX, "new", "", "c", "", "homeMDB"}}, 0},
    {"dash@dash.com", DIR_FOUND, 1, {{1, DIR_MAILBOX, "old", "", "", "", "homeMDB"}}, 0},
    {"imceaex-_o=c_cn=late@contoso.com", DIR_NOT_FOUND_YET, 0, {{0}}, 0},
    {"late.pia@plus.com", DIR_NOT_FOUND_YET, 0, {{0}}, 0},
    {"own+soon@plus.com", DIR_NOT_FOUND_YET, 0, {{0}}, 0}, /* new in a change that is held */
    {"pia+soon@plus.com", DIR_NOT_FOUND_YET, 0, {{0}}, 0},
    /* claimed by two */
    {"half@contoso.com",
     DIR_FOUND,
     1,
     {{1, DIR_MAILBOX, "new", "", "half", "", "flag f"}}, /* its source is the old forest's */
     0},
    {"user@contoso.com",
     DIR_FOUND,
     2,
     {{0, DIR_MAILBOX, "new", "", "user", "", "homeMDB"},
      {1, DIR_MAIL_USER, "new", "", "", "", "targetAddress"}},
     0},
    {"postmaster@contoso.com", DIR_FOUND, 1, {{1, DIR_MAILBOX, "old", "", "", "", "homeMDB"}}, 0},
};

/* What further the claim k of a person says. */
static const struct more {
    const char *key;
    unsigned k;
    bool require_auth;
    const char *given, *surname;
} more[] = {
    {"all@contoso.com", 0, true, "", ""},
    {"some@contoso.com", 0, true, "", ""},
    {"few@contoso.com", 1, true, "", ""},
    {"mine@contoso.com", 0, true, "", ""},
    {"greta@contoso.com", 0, false, "Gr\xc3\xa9ta", "X"}, /* not without SMTPUTF8 */
    {"greta@contoso.com", 1, false, "Greta M.", "von (Ort)"},
};

static void add_more(struct dir_claim *c, const char *key, unsigned k)
{
    for (size_t i = 0; i < ARRAY_LEN(more); i++)
        if (strcmp(more[i].key, key) == 0 && more[i].k == k) {
            c->require_auth = more[i].require_auth;
            c->name[DIR_NAME_GIVEN] = str_c(more[i].given);
            c->name[DIR_NAME_SURNAME] = str_c(more[i].surname);
        }
}

/* Old Exchange addresses: whose they are. */
static const struct {
    const char *old, *key;
} old_address[] = {
    {"/o=c/cn=anna", "anna@contoso.com"}, {"/o=c/cn=otto b.", "otto@contoso.com"},
    {"/o=c/cn=ruth", "ruth@contoso.com"}, {"/o=c/cn=over", "over@contoso.com"},
    {"/o=c/cn=late", "late@contoso.com"}, {"/o=c/cn=two", "several"},
    {"/o=c/cn=twoold", "several"},        {"/o=c/cn=greta+x", "greta@contoso.com"},
    {"/o=c/cn=noal", "noal@contoso.com"}, {"/o=c/cn=all", "all@contoso.com"},
    {"/o=c/cn=far", "pit@plus.com"},
};

uint64_t dir_other_hash(enum dir_key_type type, struct str key)
{
    return hash64_seed(key.p, key.n, type == DIR_KEY_X500 ? 0 : type);
}

static bool old_is_stale; /* the last one found: a source of several is behind */

void dir_view_lookup_other(const struct dir_view *v, enum dir_key_type type, struct str key,
                           int64_t now_ms, struct dir_result *out)
{
    assert_int_equal(type, DIR_KEY_X500);
    memset(out, 0, sizeof(*out));
    out->found = DIR_NOT_FOUND;
    if (str_eq(key, STR("/o=c/cn=notyet"))) {
        out->found = DIR_NOT_FOUND_YET; /* by a source of another domain than the one written to */
        out->stale_source = "new_ad";
    }
    old_is_stale = str_eq(key, STR("/o=c/cn=twoold"));
    for (size_t i = 0; i < ARRAY_LEN(old_address); i++)
        if (str_eq(key, str_c(old_address[i].old))) {
            dir_view_lookup(v, str_c(old_address[i].key), now_ms, out);
            if (str_eq(str_c(old_address[i].key), STR("several"))) {
                out->found = DIR_AMBIGUOUS;
                out->n_claims = 2;
            }
            return;
        }
}

void dir_view_lookup(const struct dir_view *v, struct str key, int64_t now_ms,
                     struct dir_result *out)
{
    assert_ptr_equal(v, &view);
    assert_int_equal(now_ms, 1234);
    memset(out, 0, sizeof(*out));
    out->found = DIR_NOT_FOUND;
    out->why = "all sources are complete";
    for (size_t i = 0; i < ARRAY_LEN(people); i++) {
        const struct person *p = &people[i];
        if (!str_eq(key, str_c(p->key)))
            continue;
        out->found = p->found;
        out->why = p->found == DIR_NOT_FOUND_YET ? "it was never synchronised to the end"
                                                 : "the test's rule";
        out->stale_source = p->found == DIR_NOT_FOUND_YET ? "new_ad" : NULL;
        out->n_claims = p->n;
        out->best = p->n != 0 ? &out->claim[p->best] : NULL;
        for (unsigned k = 0; k < p->n; k++) {
            out->claim[k] = (struct dir_claim){.source = p->claim[k].source,
                                               .kind = p->claim[k].kind,
                                               .forest = str_c(p->claim[k].forest),
                                               .primary = str_c(p->key),
                                               .routing = str_c(p->claim[k].routing),
                                               .target = str_c(p->claim[k].target),
                                               .alias = str_c(p->claim[k].alias),
                                               .evidence = p->claim[k].evidence};
            add_more(&out->claim[k], p->key, k);
        }
    }
}
/* People whose name begins with "m" are being moved, and a source does not know about it. */
bool dir_view_is_current(const struct dir_view *v, struct str key, int64_t now_ms,
                         struct dir_result *out)
{
    assert_ptr_equal(v, &view);
    assert_int_equal(now_ms, 1234);
    if (key.n == 0 ? !old_is_stale : key.p[0] != 'm')
        return true;
    out->why = "it is old";
    out->stale_source = "old_ad";
    return false;
}
uint64_t dir_view_generation(const struct dir_view *v)
{
    return v->generation;
}
const char *dir_view_source_name(const struct dir_view *v, unsigned source)
{
    (void)v;
    return source == 0 ? "new_ad" : source == 1 ? "old_ad" : "override";
}
const char *dir_kind_text(enum dir_kind k)
{
    return k == DIR_MAILBOX ? "mailbox" : k == DIR_MAIL_USER ? "mail user" : "other";
}

/* ---- the configuration ---- */

static struct conf *conf;

static const char text[] = "hostname = relay.contoso.com\n"
                           "listener i { address = '*:25' }\n"
                           "forest old { host mx.old {} }\n"
                           "forest new { host mx.new {} routing_domain = new.local\n"
                           "             routing_template = '%m@new.local' }\n"
                           "forest made { host mx.made {} peers = { 192.0.2.7 }\n"
                           "              routing_template = '%g.%3s@made.local' }\n"
                           "source new_ad { type = ldif path = '/n' forest = new }\n"
                           "source old_ad { type = ldif path = '/o' forest = old }\n"
                           "domain contoso.com {}\n"
                           "domain plus.com { plus_addresses = yes }\n"
                           "domain dash.com { plus_addresses = yes plus_separator = '--' }\n"
                           "domain fabrikam.com { unknown = forward forest = old }\n"
                           "domain old.local { type = routing forest = old }\n"
                           "route smart { domains = { '*.example.org' } host smart {} }\n"
                           "route direct { domains = { 'mx.example.org' } mx = yes }\n";

static int setup(void **state)
{
    struct err e = {0};
    (void)state;
    conf = conf_parse(text, "t.conf", &e);
    if (conf == NULL)
        fprintf(stderr, "%s\n", e.text);
    return conf == NULL;
}

static int teardown(void **state)
{
    (void)state;
    conf_unref(&conf);
    return 0;
}

/* ---- decisions ---- */

enum from {
    NET,
    OLD,
    NEW,
    EX,
    APP,
    DSN
};

static struct route_query query(enum from from, const char *recipient)
{
    static const char *const name[] = {"", "old", "NEW", "exforest", "", ""};
    struct route_query q = {.conf = conf,
                            .view = &view,
                            .now_ms = 1234,
                            .recipient = str_c(recipient),
                            .sender = STR("s@sender.example"),
                            .origin = from == NET   ? MAIL_FROM_INTERNET
                                      : from == APP ? MAIL_FROM_APPLICATION
                                      : from == DSN ? MAIL_FROM_LOCAL
                                                    : MAIL_FROM_FOREST,
                            .origin_name = str_c(name[from])};
    return q;
}

#define A16 "aaaaaaaaaaaaaaaa"
#define A64 A16 A16 A16 A16

static const struct {
    enum from from;
    const char *recipient;
    const char *rule;
    const char *to;    /* destination, or the code of the refusal */
    const char *value; /* address, or what the reply's text holds */
} row[] = {
    /* shared domain */
    {NET, "Anna@Contoso.COM", "directory", "forest:new", "anna@new.local"},
    {NET, "otto@contoso.com", "directory", "forest:old", "otto@contoso.com"},
    {NET, "\"Otto\"@contoso.com", "directory", "forest:old", "\"Otto\"@contoso.com"},
    {APP, "anna@contoso.com", "directory", "forest:new", "anna@new.local"},
    {DSN, "anna@contoso.com", "directory", "forest:new", "anna@new.local"},
    {OLD, "anna@contoso.com", "directory", "forest:new", "anna@new.local"},
    {EX, "anna@contoso.com", "directory", "forest:new", "anna@new.local"},
    {NET, "nobody@contoso.com", "unknown-refuse", "550 5.1.1", "<nobody@contoso.com>: no such"},
    {OLD, "nobody@contoso.com", "unknown-refuse", "550 5.1.1", "no such recipient here"},
    {NET, "late@contoso.com", "directory-incomplete", "451 4.3.0",
     "directory new_ad: it was never synchronised to the end"},
    {NET, "gone@contoso.com", "forest-unknown", "451 4.3.5", "not configured here"},
    /* the address for the hosting forest */
    {NET, "ruth@contoso.com", "directory", "forest:new", "ruth@new.local"},
    {NET, "badr@contoso.com", "directory", "forest:old", "badr@contoso.com"},
    {NET, "NoAl@contoso.com", "directory", "forest:new", "NoAl@contoso.com"},
    {NET, "odd@contoso.com", "directory", "forest:new", "ab@new.local"},
    {NET, "greta@contoso.com", "directory", "forest:made", "GretaM.von@made.local"},
    {NET, "jose@contoso.com", "directory", "forest:new", "jose@new.local"},
    {NET, "zoe@contoso.com", "directory", "forest:new", "zoe@contoso.com"},
    {NET, "zo\xc3\xab@contoso.com", "directory", "forest:new", "zo\xc3\xab.m@new.local"},
    {NET, "over@contoso.com", "override", "forest:new", "over.new@new.local"},
    {NET, "both@contoso.com", "conflict", "forest:new", "both@new.local"},
    /* loops */
    {NEW, "anna@contoso.com", "loop", "550 5.4.6",
     "it came from forest new, which hosts this recipient: source \"new_ad\" says new (homeMDB)"},
    {OLD, "otto@contoso.com", "loop", "550 5.4.6", "says old (homeMDB)"},
    {NEW, "over@contoso.com", "loop", "550 5.4.6",
     "an administrator says new (override), source \"old_ad\" says old (homeMDB)"},
    {NEW, "both@contoso.com", "loop", "550 5.4.6",
     "\"new_ad\" says new (homeMDB), source \"old_ad\""},
    {OLD, "x@old.local", "loop", "550 5.4.6", "came from forest old"},
    /* no loop for good by a directory that may be wrong; an administrator is not */
    {OLD, "moved@contoso.com", "directory-incomplete", "451 4.3.0",
     "it came from forest old, which may not host this recipient now: directory old_ad: it is old"},
    {NEW, "moved@contoso.com", "directory", "forest:old", "moved@contoso.com"},
    {OLD, "mover@contoso.com", "loop", "550 5.4.6", "an administrator says old"},
    /* internal relay */
    {NET, "any@fabrikam.com", "unknown-forward", "forest:old", "any@fabrikam.com"},
    {NEW, "any@fabrikam.com", "unknown-forward", "forest:old", "any@fabrikam.com"},
    {OLD, "any@fabrikam.com", "unknown-forward", "550 5.1.1", "neither here nor in the forest"},
    /* routing domains: nothing is looked up */
    {NET, "x@OLD.local", "routing-domain", "forest:old", "x@OLD.local"},
    {NET, "late@new.local", "routing-domain", "forest:new", "late@new.local"},
    {OLD, "x@new.local", "routing-domain", "forest:new", "x@new.local"},
    /* old Exchange addresses */
    {NET, "IMCEAEX-_o=C_cn=Anna@contoso.com", "directory", "forest:new", "anna@new.local"},
    {NET, "imceaex-_o+3dc_cn+3dotto+20b+2E@contoso.com", "directory", "forest:old",
     "otto@contoso.com"},
    {NET, "\"IMCEAEX-_o=C_cn=Anna\"@contoso.com", "directory", "forest:new", "anna@new.local"},
    {NET, "IMCEAEX-_o=C_cn=Ruth@contoso.com", "directory", "forest:new", "ruth@new.local"},
    {NET, "IMCEAEX-_o=C_cn=noal@contoso.com", "directory", "forest:new", "noal@contoso.com"},
    {NET, "IMCEAEX-_o=C_cn=over@contoso.com", "override", "forest:new", "over.new@new.local"},
    {NET, "IMCEAEX-_o=C_cn=greta+2Bx@plus.com", "directory", "forest:made",
     "GretaM.von@made.local"},
    {NET, "IMCEAEX-_o=C_cn=far@contoso.com", "directory", "forest:new", "pitk@new.local"},
    {NET, "IMCEAEX-_o=C_cn=late@contoso.com", "directory-incomplete", "451 4.3.0",
     "directory new_ad"},
    {NEW, "IMCEAEX-_o=C_cn=anna@contoso.com", "loop", "550 5.4.6", "it came from forest new"},
    {NET, "IMCEAEX-_o=C_cn=all@contoso.com", "directory", "forest:old", "all@contoso.com"},
    {NET, "IMCEAEX-_o=C_cn=nobody+20x@contoso.com", "old-address-unknown", "550 5.1.1",
     "<IMCEAEX-_o=C_cn=nobody+20x@contoso.com>: this old Exchange address belongs to nobody; to "
     "mend that, give the recipient the proxy address X500:/o=C/cn=nobody x"},
    {NET, "IMCEAEX-_o=C_cn=notyet@contoso.com", "directory-incomplete", "451 4.3.0", ""},
    {NET, "IMCEAEX-_o=C_cn=twoold@contoso.com", "directory-incomplete", "451 4.3.0", "it is old"},
    {NET, "IMCEAEX-_o=C_cn=two@contoso.com", "old-address-ambiguous", "550 5.1.4",
     "several recipients have this old Exchange address; take away from all but one of them "
     "X500:/o=C/cn=two"},
    {NET, "IMCEAEX-_o=C_cn=nobody@fabrikam.com", "unknown-forward", "forest:old",
     "IMCEAEX-_o=C_cn=nobody@fabrikam.com"},
    {NET, "IMCEAEX-_o=C_cn=nobody@old.local", "routing-domain", "forest:old",
     "IMCEAEX-_o=C_cn=nobody@old.local"},
    {NET, "IMCEAEX-_o=C+0D+0A@contoso.com", "encapsulated-denied", "550 5.7.1", "nothing that"},
    {NET, "IMCEAEX-_o=C+00@fabrikam.com", "encapsulated-denied", "550 5.7.1", "nothing that"},
    {NET, "IMCEAEX-@old.local", "encapsulated-denied", "550 5.7.1", "nothing that"},
    {APP, "IMCEASMTP-a+40example+2Eorg@contoso.com", "encapsulated-denied", "550 5.7.1", "SMTP"},
    {NET, "imceaX500-_o=C_cn=anna@contoso.com", "encapsulated-denied", "550 5.7.1", "X500"},
    {NET, "\"IMCEASMTP-a+40example+2Eorg\"@fabrikam.com", "encapsulated-denied", "550 5.7.1", ""},
    {NET, "IMCEASMTP-a+40example+2Eorg@old.local", "encapsulated-denied", "550 5.7.1", ""},
    {NET, "IMCEAFAX-12345@contoso.com", "unknown-refuse", "550 5.1.1", "no such recipient"},
    {APP, "IMCEASMTP-a+40b@example.net", "mx", "mx:example.net", "IMCEASMTP-a+40b@example.net"},
    {NET, "IMCEAEX-_o=C_cn=anna@example.net", "relay-denied", "550 5.7.1", "relaying denied"},
    /* limits: RFC 5321's for us, but for old Exchange addresses; elsewhere others judge */
    {NET, A64 "@contoso.com", "unknown-refuse", "550 5.1.1", "no such"},
    {NET, A64 "a@contoso.com", "too-long", "553 5.1.3", "at most 254 octets"},
    {NET, A64 "a@old.local", "too-long", "553 5.1.3", "64 before the @"},
    {NET, "IMCEAEX-_o=" A64 A64 A64 A64 "@contoso.com", "old-address-unknown", "550 5.1.1",
     A64 A64 A64 A64},
    {NET, "IMCEASMTP-" A64 "@contoso.com", "encapsulated-denied", "550 5.7.1", ""},
    {NET, "IMCEAX400-" A64 "@contoso.com", "too-long", "553 5.1.3", ""},
    {OLD, A64 "a@example.net", "mx", "mx:example.net", A64 "a@example.net"},
    /* plus addresses */
    {NET, "pia+Lists@Plus.COM", "directory", "forest:old", "pia+Lists@Plus.COM"},
    {NET, "\"pia+Lists\"@plus.com", "directory", "forest:old", "\"pia+Lists\"@plus.com"},
    {NET, "Pit+Lists+2@plus.com", "directory", "forest:new", "pitk+Lists+2@new.local"},
    {NET, "pit+@plus.com", "directory", "forest:new", "pitk+@new.local"},
    {NET, "pat+x@plus.com", "directory", "forest:old", "\"p t+x\"@old.local"},
    {NET, "c+c@plus.com", "directory", "forest:old", "c+c@plus.com"},
    {NET, "c+c+c@plus.com", "directory", "forest:new", "c+c+c@new.local"},
    {NET, "+pia@plus.com", "unknown-refuse", "550 5.1.1", "<+pia@plus.com>"},
    {NET, "nobody+pia@plus.com", "unknown-refuse", "550 5.1.1", "<nobody+pia@plus.com>"},
    {NET, "late.pia+x@plus.com", "directory-incomplete", "451 4.3.0", "new_ad"},
    {NET, "own+soon@plus.com", "directory-incomplete", "451 4.3.0", "new_ad"},
    {NET, "pia+soon@plus.com", "directory", "forest:old", "pia+soon@plus.com"},
    {NET, "\"pia+a b\"@plus.com", "unknown-refuse", "550 5.1.1", "no such"},
    {OLD, "pia+x@plus.com", "loop", "550 5.4.6", "it came from forest old"},
    {NET, "anna+x@contoso.com", "unknown-refuse", "550 5.1.1", "no such"},
    {NET, "dash--x-y@dash.com", "directory", "forest:old", "dash--x-y@dash.com"},
    {NET, "dash-x@dash.com", "unknown-refuse", "550 5.1.1", "no such"},
    {NET, "dash+x@dash.com", "unknown-refuse", "550 5.1.1", "no such"},
    /* other domains: who may relay, and where to */
    {NET, "x@example.net", "relay-denied", "550 5.7.1", "relaying denied"},
    {NET, "x@a.example.org", "relay-denied", "550 5.7.1", "relaying denied"},
    {NET, "x@sub.contoso.com", "relay-denied", "550 5.7.1", "relaying denied"},
    {NET, "contoso.com@example.net", "relay-denied", "550 5.7.1", "relaying denied"},
    {NET, "a%contoso.com@example.net", "relay-denied", "550 5.7.1", "relaying denied"},
    {NET, "\"a@contoso.com\"@example.net", "relay-denied", "550 5.7.1", "relaying denied"},
    {NET, "x@[192.0.2.1]", "relay-denied", "550 5.7.1", "relaying denied"},
    {NET, "a%example.net@contoso.com", "unknown-refuse", "550 5.1.1", "no such recipient"},
    {OLD, "x@Example.Net", "mx", "mx:example.net", "x@Example.Net"},
    {APP, "x@example.net", "mx", "mx:example.net", "x@example.net"},
    {DSN, "x@example.net", "mx", "mx:example.net", "x@example.net"},
    {EX, "x@example.net", "mx", "mx:example.net", "x@example.net"},
    {OLD, "x@b.example.org", "route", "route:smart", "x@b.example.org"},
    {OLD, "x@mx.example.org", "route", "mx:mx.example.org", "x@mx.example.org"},
    {OLD, "x@example.org", "mx", "mx:example.org", "x@example.org"},
    {APP, "x@[192.0.2.1]", "mx", "mx:[192.0.2.1]", "x@[192.0.2.1]"},
    /* addresses */
    {NET, "PostMaster", "directory", "forest:old", "postmaster@contoso.com"},
    {OLD, "no at sign", "syntax", "553 5.1.3", "not a valid address"},
    {OLD, "", "syntax", "553 5.1.3", "not a valid address"},
    {OLD, "a@b.example.", "syntax", "553 5.1.3", "not a valid address"},
    {OLD, "a@b@c", "syntax", "553 5.1.3", "not a valid address"},
    {OLD,
     "gr\xc3\xbc\xc3\x9f"
     "e@example.net",
     "mx", "mx:example.net", NULL},
};

static void test_decisions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct arena a;
        struct route_trace trace = {0};
        struct decision d, same;
        char got[320];
        arena_init(&a, 4096, 0);
        struct route_query q = query(row[i].from, row[i].recipient);
        route_decide(&q, &a, &trace, &d);
        bool delivers = d.kind == DECISION_DELIVER;
        if (delivers)
            dest_key_print(&d.dest, got, sizeof(got));
        else
            snprintf(got, sizeof(got), "%d %s", d.reply.code, d.reply.enhanced);
        char *address = delivers ? str_dup(d.address) : NULL;
        if (strcmp(d.rule, row[i].rule) != 0 || strcmp(got, row[i].to) != 0)
            fail_msg("row %zu (%s): %s %s, not %s %s", i, row[i].recipient, d.rule, got,
                     row[i].rule, row[i].to);
        if (delivers && row[i].value != NULL)
            assert_string_equal(address, row[i].value);
        if (!delivers && strstr(d.reply.text, row[i].value) == NULL)
            fail_msg("row %zu: %s lacks %s", i, d.reply.text, row[i].value);
        assert_int_equal(d.generation, 17);
        assert_true(delivers == (d.reply.code == 0));
        assert_true((d.kind == DECISION_DEFER) == (d.reply.code >= 400 && d.reply.code < 500));
        /* Somebody who asks why gets at least where from and where to. */
        assert_true(trace.n >= 2 && trace.n < ARRAY_LEN(trace.line));

        /* The same when nobody asks, at RCPT, and when the query is gone. */
        route_admit(&q, &a, NULL, &same);
        if (same.rule[0] == 'a') /* auth-required, below */
            same = d;
        assert_int_equal(same.kind, d.kind);
        assert_string_equal(same.rule, d.rule);
        assert_int_equal(same.reply.code, d.reply.code);
        free(address);
        arena_free(&a);
    }
}

/* The decision outlives the recipient it was made for. */
static void test_lifetime(void **state)
{
    (void)state;
    struct arena a;
    struct decision d;
    char *recipient = str_dup(STR("x@example.net"));
    arena_init(&a, 4096, 0);
    struct route_query q = query(APP, recipient);
    route_decide(&q, &a, NULL, &d);
    memset(recipient, 'z', strlen(recipient));
    free(recipient);
    assert_true(str_eq(d.address, STR("x@example.net")));
    assert_true(str_eq(d.dest.name, STR("example.net")));
    arena_free(&a);
}

/* A full arena puts the recipient off; it is never refused for that. */
static void test_full_arena(void **state)
{
    (void)state;
    static const char *const to[] = {"anna@contoso.com", "x@example.net", "postmaster",
                                     "IMCEAEX-_o=C_cn=noal@contoso.com", "pit+x@plus.com"};
    for (size_t i = 0; i < ARRAY_LEN(to); i++)
        for (size_t max = 1; max < 400; max += 3) {
            struct arena a;
            struct decision d;
            struct route_trace trace = {0};
            arena_init(&a, 64, max);
            struct route_query q = query(APP, to[i]);
            route_decide(&q, &a, &trace, &d);
            if (d.kind == DECISION_DELIVER)
                assert_true(d.address.n != 0 && d.dest.name.n != 0);
            else
                assert_int_equal(d.kind, DECISION_DEFER);
            arena_free(&a);
        }
}

static void explain(enum from from, const char *sender, const char *recipient,
                    const char *const *lines, size_t n)
{
    struct arena a;
    struct route_trace trace = {0};
    struct decision d;
    arena_init(&a, 4096, 0);
    struct route_query q = query(from, recipient);
    q.sender = str_c(sender);
    route_decide(&q, &a, &trace, &d);
    for (size_t i = 0; i < trace.n || i < n; i++) {
        const char *got = i < trace.n ? trace.line[i].p : "(nothing)";
        const char *want = i < n ? lines[i] : "(nothing)";
        if (strcmp(got, want) != 0)
            fail_msg("%s, line %zu:\n got  %s\n want %s", recipient, i, got, want);
    }
    arena_free(&a);
}
#define EXPLAIN(from, recipient, ...) EXPLAIN_FROM(from, "", recipient, __VA_ARGS__)
#define EXPLAIN_FROM(from, sender, recipient, ...)                                                 \
    do {                                                                                           \
        static const char *const lines_[] = {__VA_ARGS__};                                         \
        explain((from), (sender), (recipient), lines_, ARRAY_LEN(lines_));                         \
    } while (0)

static void test_explanations(void **state)
{
    (void)state;
    EXPLAIN(NET, "ruth@contoso.com", "from the internet to <ruth@contoso.com>",
            "contoso.com is a shared domain; the directory, at generation 17, decides",
            "decided by: the test's rule",
            "the forest is given ruth@new.local, the address by which the directory says it knows "
            "the recipient",
            "goes to forest:new");
    EXPLAIN_FROM(
        NET, "s\r\n@sender.example", "x@old.local", "from the internet to <x@old.local>",
        "the sender <s\\x0D\\x0A@sender.example> makes no difference: no rule looks at "
        "senders, only at where the mail comes from",
        "old.local is the routing domain of forest \"old\": its mail goes there or nowhere",
        "goes to forest:old");
    EXPLAIN(OLD, "anna@contoso.com", "from forest \"old\" to <anna@contoso.com>",
            "contoso.com is a shared domain; the directory, at generation 17, decides",
            "decided by: the test's rule",
            "the forest is given anna@new.local, by its template \"%m@new.local\" and the entry of "
            "\"new_ad\"",
            "goes to forest:new");
    EXPLAIN(NET, "noal@contoso.com", "from the internet to <noal@contoso.com>",
            "contoso.com is a shared domain; the directory, at generation 17, decides",
            "decided by: the test's rule",
            "the template \"%m@new.local\" needs %m, which the entry of \"new_ad\" does not offer",
            "the forest is given the address as it is", "goes to forest:new");
    EXPLAIN(NET, "IMCEAEX-_o=C_cn=noal@contoso.com",
            "from the internet to <IMCEAEX-_o=C_cn=noal@contoso.com>",
            "contoso.com is a shared domain; the directory, at generation 17, decides",
            "it stands for the old Exchange address /o=C/cn=noal", "decided by: the test's rule",
            "the template \"%m@new.local\" needs %m, which the entry of \"new_ad\" does not offer",
            "the forest is given noal@contoso.com, the primary address", "goes to forest:new");
    EXPLAIN(NET, "pit+x@plus.com", "from the internet to <pit+x@plus.com>",
            "plus.com is a shared domain; the directory, at generation 17, decides",
            "the directory has no such entry; without its detail it is pit@plus.com",
            "decided by: the test's rule",
            "the forest is given pitk+x@new.local, by its template \"%m@new.local\" and the entry "
            "of \"new_ad\"",
            "goes to forest:new");
    EXPLAIN(NET, "half@contoso.com", "from the internet to <half@contoso.com>",
            "contoso.com is a shared domain; the directory, at generation 17, decides",
            "decided by: the test's rule",
            "the forest is given half@new.local, by its template \"%m@new.local\" and the entry of "
            "\"old_ad\"",
            "goes to forest:new",
            "if forest \"new\" refuses it as unknown, forest \"old\", whose directory shows it "
            "too, is tried once");
    EXPLAIN(EX, "any@fabrikam.com",
            "from forest \"exforest\" (not configured any more) to "
            "<any@fabrikam.com>",
            "fabrikam.com is a shared domain; the directory, at generation 17, decides",
            "the directory does not know it: all sources are complete",
            "fabrikam.com forwards unknown recipients to forest \"old\"", "goes to forest:old");
    EXPLAIN(NET, "x@example.net", "from the internet to <x@example.net>",
            "example.net is not a domain of ours", "refused with 550 5.7.1: relaying denied");
    EXPLAIN(APP, "x@b.example.org", "from an application host to <x@b.example.org>",
            "b.example.org is not a domain of ours",
            "route \"smart\" is the longest match: to its hosts", "goes to route:smart");
    EXPLAIN(DSN, "x@example.net", "from this relay (a notice) to <x@example.net>",
            "example.net is not a domain of ours", "no route matches: by MX",
            "goes to mx:example.net");
}

/* Strangers and those who authenticate: at RCPT only. */
static void test_authenticated_senders_only(void **state)
{
    static const struct {
        enum from from;
        const char *recipient;
        bool refused;
    } t[] = {
        {NET, "all@contoso.com", true},   {APP, "all@contoso.com", false},
        {NEW, "all@contoso.com", false},  {DSN, "all@contoso.com", false},
        {NET, "some@contoso.com", false}, /* a contact of another forest says so, the owner not */
        {NET, "few@contoso.com", true},   {NET, "mine@contoso.com", true},
        {NET, "anna@contoso.com", false}, {NET, "IMCEAEX-_o=C_cn=all@contoso.com", true},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct arena a;
        struct decision d;
        arena_init(&a, 4096, 0);
        struct route_query q = query(t[i].from, t[i].recipient);
        route_decide(&q, &a, NULL, &d);
        assert_int_equal(d.kind, DECISION_DELIVER); /* what was accepted is not bounced */
        route_admit(&q, &a, NULL, &d);
        assert_int_equal(d.kind, t[i].refused ? DECISION_REFUSE : DECISION_DELIVER);
        if (t[i].refused) {
            assert_string_equal(d.rule, "auth-required");
            assert_int_equal(d.reply.code, 550);
            assert_string_equal(d.reply.enhanced, "5.7.1");
            assert_non_null(strstr(d.reply.text, "authenticated senders only"));
        }
        arena_free(&a);
    }
}

/* What is decided when a forest does not know whom it hosts. */
static void test_refused_as_unknown(void **state)
{
    static const struct {
        enum from from;
        const char *recipient, *refused_by, *rule, *dest, *address;
    } t[] = {
        {NET, "both@contoso.com", "new", "other-claimant", "forest:old", "both@contoso.com"},
        {NET, "both@contoso.com", "NEW", "other-claimant", "forest:old", "both@contoso.com"},
        {NET, "both@contoso.com", "old", "conflict", "forest:new", "both@new.local"},
        {NET, "both@contoso.com", "", "conflict", "forest:new", "both@new.local"},
        {OLD, "both@contoso.com", "new", "conflict", "forest:new", "both@new.local"}, /* no loop */
        {NET, "over@contoso.com", "new", "other-claimant", "forest:old", "over@contoso.com"},
        {NET, "half@contoso.com", "new", "other-claimant", "forest:old", "half@contoso.com"},
        {NET, "anna@contoso.com", "new", "directory", "forest:new", "anna@new.local"},
        {NET, "user@contoso.com", "new", "directory", "forest:new", "user@new.local"},
        {NET, "ruth@contoso.com", "new", "directory", "forest:new", "ruth@new.local"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct arena a;
        struct decision d;
        char dest[64];
        arena_init(&a, 4096, 0);
        struct route_query q = query(t[i].from, t[i].recipient);
        q.refused_by = str_c(t[i].refused_by);
        route_decide(&q, &a, NULL, &d);
        dest_key_print(&d.dest, dest, sizeof(dest));
        if (strcmp(d.rule, t[i].rule) != 0 || strcmp(dest, t[i].dest) != 0 ||
            !str_eq(d.address, str_c(t[i].address)))
            fail_msg("row %zu: %s %s %.*s", i, d.rule, dest, STR_ARG(d.address));
        arena_free(&a);
    }
}

/* What it depends on besides the address that was written; and the mailbox, the same for each. */
static void test_key_and_mailbox(void **state)
{
    static const char *const t[][3] = {
        {"PostMaster", "postmaster@contoso.com", "postmaster@contoso.com"},
        {"pit+x@plus.com", "pit@plus.com", "pit@plus.com"},
        {"nobody+x@plus.com", "nobody@plus.com", NULL},
        {"c+c@plus.com", NULL, "c+c@plus.com"},
        {"IMCEAEX-_o=C_cn=Anna@contoso.com", "/o=c/cn=anna", "anna@contoso.com"},
        {"IMCEAEX-_o=C_cn=nobody@fabrikam.com", "/o=c/cn=nobody", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct arena a;
        struct decision d;
        arena_init(&a, 4096, 0);
        struct route_query q = query(NET, t[i][0]);
        route_decide(&q, &a, NULL, &d);
        assert_true(d.key_hash == (t[i][1] != NULL ? hash64(t[i][1], strlen(t[i][1])) : 0));
        assert_true(d.mailbox == (t[i][2] != NULL ? hash64(t[i][2], strlen(t[i][2])) : 0));
        arena_free(&a);
    }
}

static void test_template(void **state)
{
    (void)state;
    static const struct {
        const char *template, *alias, *given, *surname, *initials, *display;
        size_t max;
        const char *result, *missing; /* result NULL: it fails */
    } t[] = {
        {"%m@a.b", "anna", "", "", "", "", 100, "anna@a.b", ""},
        {"%1m.x@a.b", "anna", "", "", "", "", 100, "a.x@a.b", ""},
        {"%9m@a.b", "anna", "", "", "", "", 100, "anna@a.b", ""},
        {"%1m%2m@a.b", "\xc3\x84nne", "", "", "", "", 100, "\xc3\x84\xc3\x84n@a.b", ""},
        {"x@a.b", "", "", "", "", "", 100, "x@a.b", ""},
        {"%g.%s@a.b", "", "Anna", "Kern", "", "", 100, "Anna.Kern@a.b", ""},
        {"%1g%s@a.b", "", "Anna", "Kern", "", "", 100, "AKern@a.b", ""},
        {"%3s%i@a.b", "", "", "Kern", "M", "", 100, "KerM@a.b", ""},
        {"%d@a.b", "", "", "", "", "Kern, Anna (Ext)", 100, "KernAnnaExt@a.b", ""},
        {"%3s@a.b", "", "", "de la Cruz", "", "", 100, "del@a.b", ""},
        {"%s@a.b", "", "", "O'Neil-\"X\" <a@b>\\;:,[]\t\x01\x7f", "", "", 100, "O'Neil-Xab@a.b",
         ""},
        {"%g.%s@a.b", "", "J. ", ".K.", "", "", 100, "J.K@a.b", ""},
        {"%d@a.b", "", "", "", "", "..a...b..", 100, "a.b@a.b", ""},
        {"%d@a.b", "", "", "", "", "a\xff\xc3\x62", 100, "ab@a.b", ""},
        {"%m@a.b", "", "", "", "", "", 100, NULL, "%m"},
        {"%m@a.b", " ()", "", "", "", "", 100, NULL, "%m"},
        {"%m@a.b", "...", "", "", "", "", 100, NULL, "%m"},
        {"%1g.%s@a.b", "anna", "", "Kern", "", "", 100, NULL, "%1g"},
        {"%m.%s@a.b", "anna", "", "", "", "", 100, NULL, "%s"},
        {"%m.%i@a.b", "anna", "", "", "", "", 100, NULL, "%i"},
        {"%2d@a.b", "anna", "", "", "", "", 100, NULL, "%2d"},
        {"x%m@a.b", "anna", "", "", "", "", 4, NULL, ""},
        {"x%", "anna", "", "", "", "", 100, NULL, "%"},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct dir_claim c = {.alias = str_c(t[i].alias),
                              .name = {[DIR_NAME_GIVEN] = str_c(t[i].given),
                                       [DIR_NAME_SURNAME] = str_c(t[i].surname),
                                       [DIR_NAME_INITIALS] = str_c(t[i].initials),
                                       [DIR_NAME_DISPLAY] = str_c(t[i].display)}};
        struct buf out = BUF_INIT(t[i].max);
        char missing[4];
        bool ok = route_template(t[i].template, &c, &out, missing);
        if (ok != (t[i].result != NULL) || (ok && !str_eq(buf_str(&out), str_c(t[i].result))))
            fail_msg("row %zu: %d \"%.*s\"", i, ok, STR_ARG(buf_str(&out)));
        assert_string_equal(missing, t[i].missing);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_lifetime),
        cmocka_unit_test(test_full_arena),
        cmocka_unit_test(test_explanations),
        cmocka_unit_test(test_authenticated_senders_only),
        cmocka_unit_test(test_refused_as_unknown),
        cmocka_unit_test(test_key_and_mailbox),
        cmocka_unit_test(test_template),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
