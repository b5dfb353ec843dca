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
    {"postmaster@contoso.com", DIR_FOUND, 1, {{1, DIR_MAILBOX, "old", "", "", "", "homeMDB"}}, 0},
};

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
        for (unsigned k = 0; k < p->n; k++)
            out->claim[k] = (struct dir_claim){.source = p->claim[k].source,
                                               .kind = p->claim[k].kind,
                                               .forest = str_c(p->claim[k].forest),
                                               .primary = str_c(p->key),
                                               .routing = str_c(p->claim[k].routing),
                                               .target = str_c(p->claim[k].target),
                                               .alias = str_c(p->claim[k].alias),
                                               .evidence = p->claim[k].evidence};
    }
}
/* People whose name begins with "m" are being moved, and a source does not know about it. */
bool dir_view_is_current(const struct dir_view *v, struct str key, int64_t now_ms,
                         struct dir_result *out)
{
    assert_ptr_equal(v, &view);
    assert_int_equal(now_ms, 1234);
    if (key.p[0] != 'm')
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
                           "domain contoso.com {}\n"
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
    {NET, "odd@contoso.com", "directory", "forest:new", "odd@contoso.com"},
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
    static const char *const to[] = {"anna@contoso.com", "x@example.net", "postmaster"};
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

static void explain(enum from from, const char *recipient, const char *const *lines, size_t n)
{
    struct arena a;
    struct route_trace trace = {0};
    struct decision d;
    arena_init(&a, 4096, 0);
    struct route_query q = query(from, recipient);
    route_decide(&q, &a, &trace, &d);
    for (size_t i = 0; i < trace.n || i < n; i++) {
        const char *got = i < trace.n ? trace.line[i].p : "(nothing)";
        const char *want = i < n ? lines[i] : "(nothing)";
        if (strcmp(got, want) != 0)
            fail_msg("%s, line %zu:\n got  %s\n want %s", recipient, i, got, want);
    }
    arena_free(&a);
}
#define EXPLAIN(from, recipient, ...)                                                              \
    do {                                                                                           \
        static const char *const lines_[] = {__VA_ARGS__};                                         \
        explain((from), (recipient), lines_, ARRAY_LEN(lines_));                                   \
    } while (0)

static void test_explanations(void **state)
{
    (void)state;
    EXPLAIN(NET, "ruth@contoso.com", "from the internet to <ruth@contoso.com>",
            "contoso.com is a shared domain; the directory, at generation 17, decides",
            "source \"new_ad\" has it as a mailbox with primary address ruth@contoso.com; it lives "
            "in forest \"new\" (homeMDB)",
            "source \"old_ad\" has it as a mail user with primary address ruth@contoso.com and "
            "target address ruth@new.local; it lives in forest \"new\" (targetAddress)",
            "decided by: the test's rule",
            "the forest is given ruth@new.local, the address by which the directory says it knows "
            "the recipient",
            "goes to forest:new");
    EXPLAIN(OLD, "anna@contoso.com", "from forest \"old\" to <anna@contoso.com>",
            "contoso.com is a shared domain; the directory, at generation 17, decides",
            "source \"new_ad\" has it as a mailbox with primary address anna@contoso.com; it lives "
            "in forest \"new\" (homeMDB)",
            "decided by: the test's rule",
            "the forest is given anna@new.local, by its template \"%m@new.local\" and the entry of "
            "\"new_ad\"",
            "goes to forest:new");
    EXPLAIN(NET, "noal@contoso.com", "from the internet to <noal@contoso.com>",
            "contoso.com is a shared domain; the directory, at generation 17, decides",
            "source \"new_ad\" has it as a mailbox with primary address noal@contoso.com; it lives "
            "in forest \"new\" (homeMDB)",
            "decided by: the test's rule",
            "the address stays as it is: the template \"%m@new.local\" needs %m, which no source "
            "offers",
            "goes to forest:new");
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

static void test_template(void **state)
{
    (void)state;
    static const struct {
        const char *template, *alias;
        size_t max;
        const char *result, *missing; /* result NULL: it fails */
    } t[] = {
        {"%m@a.b", "anna", 100, "anna@a.b", ""},
        {"%1m.x@a.b", "anna", 100, "a.x@a.b", ""},
        {"%9m@a.b", "anna", 100, "anna@a.b", ""},
        {"%1m%2m@a.b", "\xc3\x84nne", 100, "\xc3\x84\xc3\x84n@a.b", ""},
        {"x@a.b", "", 100, "x@a.b", ""},
        {"%m@a.b", "", 100, NULL, "%m"},
        {"%1g.%s@a.b", "anna", 100, NULL, "%1g"},
        {"%m.%s@a.b", "anna", 100, NULL, "%s"},
        {"x%m@a.b", "anna", 4, NULL, ""},
        {"x%", "anna", 100, NULL, "%"},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct dir_claim c = {.alias = str_c(t[i].alias)};
        struct buf out = BUF_INIT(t[i].max);
        char missing[4];
        assert_int_equal(route_template(t[i].template, &c, &out, missing), t[i].result != NULL);
        if (t[i].result != NULL)
            assert_true(str_eq(buf_str(&out), str_c(t[i].result)));
        assert_string_equal(missing, t[i].missing);
        buf_free(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decisions),  cmocka_unit_test(test_lifetime),
        cmocka_unit_test(test_full_arena), cmocka_unit_test(test_explanations),
        cmocka_unit_test(test_template),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
