/*
 * directory_doctor_test.c - the doctor on small directories: one fault in each, or none; then the
 * mends to the letter, the limits of a pass, and what its options narrow.
 *
 * Two sources, "s1" of forest old (believed first) and "s2" of forest new; a finding is shown as
 * "check source/entry".
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "base/random.h"
#include "base/stats.h"
#include "directory/doctor/doctor.h"
#include "tests/unit/directory_model.h"
#include "tests/unit/directory_world.h"

#define TWO_SOURCES                                                                                \
    WORLD_BASE WORLD_SOURCE("s1", "old", "1", "join_attribute = \"employeeID\"")                   \
        WORLD_SOURCE("s2", "new", "2", "join_attribute = \"employeeID\"")

struct heard {
    struct buf text, mends;
    unsigned stop_after; /* 0: never */
    unsigned n;
};

static bool hear(void *arg, const struct doctor_finding *f)
{
    struct heard *h = arg;
    /* the tests' entries have the DN cn=ID or, without one, a UUID that begins with the ID */
    struct str object = f->object;
    if (str_starts(object, STR("0000000")))
        object = str_n(f->object.p + 7, 1);
    buf_printf(&h->text, "%s%s %s/%.*s", h->text.n != 0 ? "; " : "",
               doctor_check_info[f->check].name, f->source, STR_ARG(object));
    assert_true(f->text.n != 0);
    assert_true(f->n_mends != 0);
    for (unsigned i = 0; i < f->n_mends; i++)
        buf_printf(&h->mends, "%s %s|%.*s\n", doctor_means_text(f->mend[i].means),
                   f->mend[i].source, STR_ARG(f->mend[i].text));
    return ++h->n != h->stop_after;
}

static void heard_begin(struct heard *h)
{
    *h = (struct heard){.text = BUF_INIT(100000), .mends = BUF_INIT(100000)};
}

static void heard_end(struct heard *h)
{
    buf_free(&h->text);
    buf_free(&h->mends);
}

static void examine(struct world *w, struct doctor_options o, struct heard *h)
{
    o.source = o.source != NULL ? o.source : "";
    o.domain = o.domain != NULL ? o.domain : "";
    o.now_ms = 2000;
    struct doctor *d = doctor_new(w->view, &o);
    unsigned steps = 0;
    int64_t lookups = stats_read(STAT_directory_lookups);
    while (doctor_step(d, 1 + steps % 3, hear, h))
        assert_true(++steps < 1000);
    assert_int_equal(stats_read(STAT_directory_lookups), lookups); /* these are the mail flow's */
    doctor_free(&d);
}

/* "1 mailbox ..." of source 1, "2 ..." of source 2; "set ADDRESS FOREST": an override. The entry's
 * number is its place in the list. */
static void put(struct world *w, unsigned id, const char *text)
{
    char key[100], forest[40];
    if (sscanf(text, "set %99s %39s", key, forest) == 2)
        world_override(w, key, forest);
    else
        world_put(w, (unsigned)(text[0] - '1'), id, text + 2);
}

struct example {
    const char *entries[5];
    const char *found;
};

static void check_examples(const char *conf, const struct example *e, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct world w;
        struct heard h;
        world_begin(&w, conf);
        for (unsigned k = 0; k < ARRAY_LEN(e[i].entries) && e[i].entries[k] != NULL; k++)
            put(&w, k + 1, e[i].entries[k]);
        world_view(&w);
        heard_begin(&h);
        examine(&w, (struct doctor_options){0}, &h);
        if (!str_eq(buf_str(&h.text), str_c(e[i].found)))
            fail_msg("example %zu (%s, %s): \"%s\" instead of \"%s\"", i, e[i].entries[0],
                     e[i].entries[1] != NULL ? e[i].entries[1] : "", buf_cstr(&h.text), e[i].found);
        heard_end(&h);
        world_end(&w);
    }
}

#define OLD_BOX  "1 mailbox a@x.test a@old.local mdb"
#define OLD_USER "1 mailuser a@x.test a@old.local target=a@new.local"
#define NEW_BOX  "2 mailbox a@x.test a@new.local mdb"
#define NEW_USER "2 mailuser a@x.test a@new.local target=a@old.local"

static void test_healthy(void **state)
{
    static const struct example examples[] = {
        {{OLD_BOX}, ""},
        {{NEW_BOX}, ""},
        {{OLD_BOX, NEW_USER}, ""},
        {{OLD_USER, NEW_BOX}, ""},
        /* mailboxes on both sides, and a flag or an administrator decides */
        {{OLD_BOX " flag=source", NEW_BOX}, ""},
        {{OLD_BOX " flag=target", NEW_BOX}, ""},
        {{OLD_BOX, NEW_BOX, "set a@x.test new"}, ""},
        /* contacts, groups, recipients outside */
        {{OLD_BOX, "2 contact a@x.test target=a@old.local"}, ""},
        {{"1 group g@x.test g@old.local", "2 contact g@x.test target=g@old.local"}, ""},
        {{"1 mailuser a@x.test a@old.local target=a@else.where"}, ""},
        {{"1 mailuser a@x.test a@old.local target=a@else.where",
          "2 mailuser a@x.test a@new.local target=a@else.where"},
         ""},
        {{"1 contact a@else.where", "2 contact a@else.where"}, ""},
        /* the target is an address of the mailbox, in a domain that no section names */
        {{"1 mailuser a@x.test target=a@third.test", NEW_BOX " a@third.test"}, ""},
        /* the new forest knows it by another address only */
        {{OLD_USER, "2 mailbox a@new.local mdb"}, ""},
        /* X.500: each has the other's */
        {{OLD_USER " legacy=/o=1", NEW_BOX " legacy=/o=2 x500=/o=1"}, ""},
        {{OLD_USER " legacy=/o=1", NEW_BOX " legacy=/o=1"}, ""},
        /* the first object has no address of ours: the other one is judged */
        {{"1 mailbox a@old.local legacy=/o=1 mdb",
          "2 mailuser a@x.test x500=/o=1 target=a@old.local"},
         ""},
        /* joined by a key, with nothing else in common */
        {{"1 mailuser b@x.test key=7 target=a@new.local", NEW_BOX " key=7"}, ""},
        {{OLD_BOX " vanished=5", NEW_BOX}, ""},
        /* two objects of the same name in two domains of ours */
        {{OLD_BOX, "1 mailbox a@any.test b@old.local mdb"}, ""},
    };
    (void)state;
    check_examples(TWO_SOURCES, examples, ARRAY_LEN(examples));
}

static void test_faults(void **state)
{
    static const struct example examples[] = {
        {{OLD_BOX, NEW_BOX}, "two-mailboxes s1/1"},
        {{"1 mailbox a@x.test a@old.local", NEW_BOX}, "two-mailboxes s1/1"},
        {{OLD_BOX " flag=source", NEW_BOX " flag=target"}, "flags-disagree s1/1"},
        {{OLD_USER, NEW_USER}, "no-mailbox s1/1"},
        {{OLD_USER, "2 mailbox a@x.test a@new.local mdb target=a@old.local"}, "no-mailbox s1/1"},
        {{"1 mailuser a@x.test a@old.local", NEW_USER}, "no-mailbox s1/1"},
        {{"1 mailuser a@x.test", "2 mailuser a@x.test"}, "no-mailbox s1/1"},
        {{"1 mailuser a@x.test", NEW_BOX}, "missing-target s1/1"},
        {{"1 mailuser a@x.test"}, "missing-target s1/1"},
        {{"2 mailuser a@x.test"}, "missing-target s2/1"},
        {{"1 mailuser a@x.test target=b@new.local", NEW_BOX}, "wrong-target s1/1"},
        {{"1 mailuser a@x.test target=b@new.local"}, "wrong-target s1/1"},
        {{"1 mailuser a@x.test target=b@new.local", NEW_BOX, "2 mailbox b@x.test b@new.local mdb",
          "1 mailuser b@x.test target=b@new.local"},
         "wrong-target s1/1"},
        {{"1 mailuser a@x.test target=a@else.where", NEW_BOX}, "wrong-target s1/1"},
        {{"1 mailuser a@x.test target=a@x.test", NEW_BOX}, "target-loop s1/1"},
        {{"1 mailuser a@x.test target=b@any.test", NEW_BOX}, "target-loop s1/1"},
        {{"1 mailuser a@x.test target=a@old.local", NEW_BOX}, "target-loop s1/1"},
        {{OLD_BOX " flag=sauce"}, "flag-unknown s1/1"},
        {{OLD_BOX " flag=target", NEW_USER}, "flag-contradicts s1/1"},
        {{"1 mailbox a@x.test mdb", NEW_USER}, "wrong-target s2/2"},
        {{"1 mailbox a@x.test mdb"}, "no-routing-address s1/1"},
        {{"1 group a@x.test"}, "no-routing-address s1/1"},
        {{OLD_BOX, "1 mailbox b@x.test b@old.local a@x.test mdb"}, "duplicate-address s1/1"},
        {{OLD_BOX, NEW_USER, "2 mailuser b@x.test b@new.local a@new.local target=b@old.local",
          "1 mailbox b@x.test b@old.local"},
         "duplicate-address s2/2"},
        {{OLD_BOX, "2 group a@x.test a@new.local"}, "duplicate-address s1/1"},
        {{"1 group a@x.test a@old.local", "2 group a@x.test a@new.local"},
         "duplicate-address s1/1"},
        {{OLD_BOX " x500=/o=1", "1 mailbox b@x.test b@old.local mdb legacy=/o=1"},
         "duplicate-address s1/1"},
        {{OLD_BOX " key=1", NEW_USER " key=2"}, "duplicate-address s1/1"},
        {{OLD_USER " legacy=/o=1", NEW_BOX " legacy=/o=2"}, "x500-lost s2/2"},
        {{"1 mailbox a@old.local legacy=/o=1 mdb", "2 mailbox a@x.test x500=/o=1 mdb a@new.local"},
         "two-mailboxes s2/2"},
        {{OLD_BOX, "1 contact a@x.test target=a@new.local", NEW_USER}, "contact-shadow s1/2"},
        {{OLD_BOX, "2 contact a@x.test target=a@else.where"}, "contact-shadow s2/2"},
        {{"1 group g@x.test g@old.local auth"}, "auth-only-group s1/1"},
        {{OLD_BOX " vanished=5"}, "vanished s1/1"},
        {{OLD_BOX, NEW_USER, "set a@x.test new"}, "override-contradicts /"},
        {{OLD_BOX, "set nobody@x.test new"}, "override-contradicts /"},
        {{OLD_BOX, "set a@x.test old"}, "override-unneeded /"},
        {{OLD_BOX, "set a@x.test moon"}, "override-forest /"},
    };
    (void)state;
    check_examples(TWO_SOURCES, examples, ARRAY_LEN(examples));
}

/* A third forest without a directory: what is said to be there cannot be judged. And a source that
 * belongs to no forest, with flags only. */
static void test_other_worlds(void **state)
{
    static const struct example cloud[] = {
        {{"1 mailuser a@x.test target=a@cloud.test"}, ""},
        {{"1 mailuser a@x.test target=a@cloud.test", "2 mailuser a@x.test target=a@cloud.test"},
         ""},
        {{OLD_BOX, "set a@x.test cloud"}, "no-routing-address s1/1"},
        {{OLD_BOX " a@cloud.test", "set a@x.test cloud"}, ""},
        {{OLD_BOX " flag=cloud"}, "flag-unknown s1/1"},
    };
    /* in this domain nobody asks the flag */
    static const struct example exchange[] = {
        {{"1 mailbox e@e.test e@old.local flag=sauce mdb"}, ""},
        {{"1 mailbox e@e.test e@old.local flag=target mdb",
          "2 mailuser e@e.test target=e@old.local"},
         ""},
        {{OLD_BOX " flag=sauce"}, "flag-unknown s1/1"},
    };
    /* three forests: objects that lead to the mailbox over another object */
    static const struct example three[] = {
        {{OLD_USER, NEW_BOX, "3 contact a@x.test target=a@new.local"}, ""},
        {{OLD_USER, NEW_BOX, "3 mailuser a@x.test target=a@old.local"}, ""},
        {{OLD_USER, NEW_BOX, "3 mailuser a@x.test target=b@old.local"}, "wrong-target s3/3"},
        {{OLD_USER, "2 mailuser a@x.test a@new.local target=a@third.local",
          "3 mailuser a@x.test a@third.local target=a@old.local"},
         "no-mailbox s1/1"},
        {{OLD_BOX, NEW_USER, "3 mailbox a@x.test a@third.local mdb"}, "two-mailboxes s1/1"},
        {{OLD_BOX, "3 contact a@x.test target=a@else.where"}, "contact-shadow s3/2"},
    };
    /* in Active Directory an account with a mail attribute is no mailbox yet */
    static const struct example accounts[] = {
        {{OLD_BOX, "2 mailbox a@x.test"}, ""},
        {{"2 mailbox a@x.test a@new.local"}, ""},
        {{"2 mailbox a@x.test"}, ""},
        {{NEW_BOX, "2 mailbox b@x.test a@x.test"}, ""},
        {{NEW_BOX, "2 contact a@x.test"}, ""},
        {{NEW_BOX, "2 contact a@x.test type=7"}, "contact-shadow s2/2"},
        {{NEW_BOX, "2 mailbox b@new.local b@x.test a@x.test mdb"}, "duplicate-address s2/1"},
        {{OLD_USER, "2 mailbox a@x.test a@new.local"}, "no-mailbox s1/1"},
    };
    static const struct example flags[] = {
        {{"1 mailbox a@x.test flag=source a@old.local"}, ""},
        {{"1 mailbox a@x.test"}, "no-mailbox hr/1"},
        {{"1 mailbox a@x.test flag=sauce"}, "flag-unknown hr/1"},
        {{"1 mailbox a@x.test", "2 mailbox a@x.test a@new.local mdb"}, ""},
    };
    (void)state;
    check_examples(TWO_SOURCES
                   "forest \"cloud\" { host \"mx.cloud\" {} routing_domain = \"cloud.test\" }\n",
                   cloud, ARRAY_LEN(cloud));
    check_examples(
        WORLD_BASE WORLD_SOURCE("s1", "old", "1",
                                "") "source \"s2\" { type = active-directory uri = {\"ldap://dc\"} "
                                    "base = \"dc=x\" forest = \"new\" priority = 2 }",
        accounts, ARRAY_LEN(accounts));
    check_examples(TWO_SOURCES "domain \"e.test\" { evidence = exchange }\n", exchange,
                   ARRAY_LEN(exchange));
    check_examples(TWO_SOURCES "forest \"third\" { host \"mx.third\" {} routing_domain = "
                               "\"third.local\" }\n" WORLD_SOURCE("s3", "third", "3", ""),
                   three, ARRAY_LEN(three));
    check_examples(WORLD_BASE WORLD_SOURCE("hr", "", "1", "") WORLD_SOURCE("s2", "new", "2", ""),
                   flags, ARRAY_LEN(flags));
}

/* What a source that was never complete does not know may well be there. */
static void test_incomplete(void **state)
{
    (void)state;
    struct world w;
    struct heard h;
    world_begin(&w, TWO_SOURCES);
    atomic_store(&w.fresh[1]->complete_once, false);
    put(&w, 1, "1 mailuser a@x.test target=b@new.local");
    put(&w, 2, "1 mailbox c@x.test c@old.local flag=target mdb");
    world_override(&w, "nobody@x.test", "new");
    world_view(&w);
    heard_begin(&h);
    struct dir_source_status status = {.name = "s2", .state = DIR_SOURCE_SYNCING};
    examine(&w, (struct doctor_options){.status = &status, .n_status = 1}, &h);
    assert_string_equal(buf_cstr(&h.text), "source-incomplete s2/");
    heard_end(&h);
    world_end(&w);
}

/* What a source tells about itself; at wall clock 0. */
static void test_sources(void **state)
{
    static const struct {
        struct dir_source_status s;
        const char *found;
    } cases[] = {
        {{.state = DIR_SOURCE_CURRENT}, ""},
        {{.state = DIR_SOURCE_STALE, .last_error = "no answer"}, "source-stale s1/"},
        {{.state = DIR_SOURCE_FAILING}, "source-failing s1/"},
        {{.state = DIR_SOURCE_FAILING, .is_stale = true}, "source-stale s1/"},
        {{.state = DIR_SOURCE_HELD, .held_since_ms = 5}, "source-held s1/"},
        {{.state = DIR_SOURCE_HELD, .is_stale = true}, "source-stale s1/; source-held s1/"},
        {{.state = DIR_SOURCE_CURRENT, .notice = "no right"}, "source-notice s1/"},
        {{.certificate_expires_ms = INT64_C(29) * 86400000}, "certificate-expires s1/"},
        {{.certificate_expires_ms = INT64_C(31) * 86400000}, ""},
        {{.certificate_expires_ms = -1}, "certificate-expires s1/"},
        {{.password_expires_ms = INT64_C(13) * 86400000}, "password-expires s1/"},
        {{.password_expires_ms = INT64_C(15) * 86400000}, ""},
    };
    (void)state;
    struct world w;
    world_begin(&w, TWO_SOURCES);
    world_view(&w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct heard h;
        struct dir_source_status s = cases[i].s;
        s.complete_once = true;
        str_copy(STR("s1"), s.name, sizeof(s.name));
        heard_begin(&h);
        examine(&w, (struct doctor_options){.status = &s, .n_status = 1}, &h);
        assert_string_equal(h.text.n != 0 ? buf_cstr(&h.text) : "", cases[i].found);
        heard_end(&h);
    }
    world_end(&w);
}

static bool by_template(const struct dir_view *v, struct str key, int64_t now_ms)
{
    assert_int_equal(dir_view_generation(v), 7);
    assert_int_equal(now_ms, 2000);
    return str_eq(key, STR("a@x.test"));
}

static void test_template(void **state)
{
    (void)state;
    struct world w;
    struct heard h;
    world_begin(&w, TWO_SOURCES);
    put(&w, 1, "1 mailbox a@x.test mdb");
    put(&w, 2, "1 mailbox b@x.test mdb");
    put(&w, 3, "2 mailbox c@x.test c@new.local mdb");
    world_view(&w);
    heard_begin(&h);
    examine(&w, (struct doctor_options){.is_readdressed = by_template}, &h);
    assert_string_equal(buf_cstr(&h.text), "no-routing-address s1/2");
    heard_end(&h);
    world_end(&w);
}

/* ---- mends ---- */

static void test_mends(void **state)
{
    static const struct {
        const char *entries[4], *mends;
    } cases[] = {
        {{"1 mailuser a@x.test target=a@x.test dn=cn=a,ou=x legacy=/o=1",
          NEW_BOX " dn=cn=b legacy=/o=1"},
         "ldif s1|dn: cn=a,ou=x\nchangetype: modify\nreplace: targetAddress\n"
         "targetAddress: SMTP:a@new.local\n-\n\n"
         "exchange s1|Set-MailUser -Identity 'cn=a,ou=x' -ExternalEmailAddress "
         "'SMTP:a@new.local'\n"},
        {{OLD_USER " legacy=/o=1/cn=o'k", NEW_BOX " dn=cn=b legacy=/o=2"},
         "ldif s2|dn: cn=b\nchangetype: modify\nadd: proxyAddresses\n"
         "proxyAddresses: X500:/o=1/cn=o'k\n-\n\n"
         "exchange s2|Set-Mailbox -Identity 'cn=b' -EmailAddresses "
         "@{Add='X500:/o=1/cn=o''k'}\n"},
        {{"1 group g@x.test g@old.local auth type=9 dn=cn=g\xc3\xa4"},
         "ldif s1|dn:: Y249Z8Ok\nchangetype: modify\nreplace: msExchRequireAuthToSendTo\n"
         "msExchRequireAuthToSendTo: FALSE\n-\n\n"
         "exchange s1|Set-DistributionGroup -Identity 'cn=g\xc3\xa4' "
         "-RequireSenderAuthenticationEnabled $false\n"},
        /* nothing that would break out of a quoted text is offered */
        {{"1 group g@x.test g@old.local auth type=9 dn=cn=g\n"},
         "ldif s1|dn:: Y249Zwo=\nchangetype: modify\nreplace: msExchRequireAuthToSendTo\n"
         "msExchRequireAuthToSendTo: FALSE\n-\n\n"},
        {{"1 group g@x.test g@old.local auth type=9 dn=cn=g\xe2\x80\x99"},
         "ldif s1|dn:: Y249Z+KAmQ==\nchangetype: modify\nreplace: msExchRequireAuthToSendTo\n"
         "msExchRequireAuthToSendTo: FALSE\n-\n\n"},
        {{OLD_BOX " flag=sauce dn=cn=a"},
         "ldif s1|dn: cn=a\nchangetype: modify\nreplace: ext1\next1: source\n-\n\n"
         "configuration |in source \"s1\", add to flag_values: \"sauce = old\"\n"},
        {{OLD_BOX, "set o'a@x.test old", "1 mailbox o'a@x.test o@old.local"},
         "causewayctl |causewayctl unset 'o'\\''a@x.test'\n"},
        {{OLD_BOX, "set -a@x.test old", "1 mailbox -a@x.test o@old.local"},
         "causewayctl |causewayctl unset -- '-a@x.test'\n"},
        {{"1 mailbox a@x.test mdb alias=al dn=cn=a type=1", "1 mailbox b@x.test al@old.local"},
         "ldif s1|dn: cn=a\nchangetype: modify\nadd: proxyAddresses\n"
         "proxyAddresses: smtp:a@old.local\n-\n\n"
         "exchange s1|Set-Mailbox -Identity 'cn=a' -EmailAddresses @{Add='smtp:a@old.local'}\n"
         "configuration |in forest \"old\": routing_template = \"%m@old.local\"\n"},
        {{OLD_BOX " dn=cn=a", "1 contact a@x.test target=a@new.local dn=cn=c", NEW_USER},
         "ldif s1|dn: cn=c\nchangetype: delete\n\n"},
        {{OLD_USER, "2 mailbox a@x.test a@new.local mdb target=a@old.local dn=cn=m"},
         "ldif s2|dn: cn=m\nchangetype: modify\ndelete: targetAddress\n-\n\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct world w;
        struct heard h;
        world_begin(&w, TWO_SOURCES);
        for (unsigned k = 0; k < ARRAY_LEN(cases[i].entries) && cases[i].entries[k] != NULL; k++)
            put(&w, k + 1, cases[i].entries[k]);
        world_view(&w);
        heard_begin(&h);
        examine(&w, (struct doctor_options){0}, &h);
        assert_string_equal(buf_cstr(&h.mends), cases[i].mends);
        heard_end(&h);
        world_end(&w);
    }
}

/* Sources without DNs. */
static void test_mends_without_ldap(void **state)
{
    (void)state;
    struct world w;
    struct heard h;
    world_begin(
        &w, WORLD_BASE
        "source \"m\" { type = manual forest = \"old\" priority = 1 }\n"
        "source \"c\" { type = csv path = \"/nowhere/c\" forest = \"new\" priority = 2 }\n");
    put(&w, 1, "1 mailuser a@x.test");
    put(&w, 2, "2 mailbox a@x.test a@new.local mdb");
    put(&w, 3, "1 mailbox b@x.test b@old.local mdb");
    put(&w, 4, "1 contact b@x.test target=b@else.where");
    put(&w, 5, "2 mailbox c@x.test c@new.local mdb");
    put(&w, 6, "2 contact c@x.test target=c@else.where");
    world_view(&w);
    heard_begin(&h);
    examine(&w, (struct doctor_options){0}, &h);
    assert_string_equal(
        buf_cstr(&h.mends),
        "by hand |in source m, replace targetAddress of a@x.test: SMTP:a@new.local\n"
        "causewayctl |causewayctl directory delete m b@x.test\n"
        "by hand |take c@x.test out of source c\n");
    heard_end(&h);
    world_end(&w);
}

/* ---- the pass ---- */

static void fill(struct world *w)
{
    world_begin(w, TWO_SOURCES);
    put(w, 1, "1 mailuser a@x.test");
    put(w, 2, "1 mailuser b@any.test");
    put(w, 3, "2 mailuser c@x.test");
    put(w, 4, "2 group d@x.test auth d@new.local");
    put(w, 5, "2 mailuser e@elsewhere.test");
    world_override(w, "z@x.test", "moon");
    world_view(w);
}

static void test_options(void **state)
{
    static const struct {
        struct doctor_options o;
        const char *found;
    } cases[] = {
        {{0},
         "override-forest /; missing-target s1/1; missing-target s1/2; missing-target s2/3; "
         "auth-only-group s2/4"},
        {{.source = "S2"}, "missing-target s2/3; auth-only-group s2/4"},
        {{.source = "s1"}, "missing-target s1/1; missing-target s1/2"},
        {{.domain = "any.test"}, "missing-target s1/2"},
        {{.checks = 1ull << DOCTOR_auth_only_group | 1ull << DOCTOR_override_forest},
         "override-forest /; auth-only-group s2/4"},
    };
    (void)state;
    struct world w;
    fill(&w);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct heard h;
        heard_begin(&h);
        examine(&w, cases[i].o, &h);
        assert_string_equal(buf_cstr(&h.text), cases[i].found);
        heard_end(&h);
    }
    world_end(&w);
}

/* A receiver that has had enough ends the step, and nothing is lost or told twice. */
static void test_steps(void **state)
{
    (void)state;
    struct world w;
    struct heard h;
    fill(&w);
    heard_begin(&h);
    struct doctor_options o = {.source = "", .domain = ""};
    struct doctor *d = doctor_new(w.view, &o);
    unsigned steps = 0;
    do {
        h.stop_after = h.n + 1;
        steps++;
    } while (doctor_step(d, 1000, hear, &h));
    assert_int_equal(h.n, 5);
    assert_in_range(steps, 5, 7);
    assert_int_equal(doctor_entries(d), 5);
    assert_false(doctor_step(d, 1000, hear, &h));
    assert_int_equal(h.n, 5);
    doctor_free(&d);
    heard_end(&h);
    world_end(&w);
}

/* ---- random directories ---- */

static void append_random(struct buf *b, const char *const *from, unsigned n)
{
    buf_append_c(b, from[random_jitter(n)]);
}

static void random_entry(struct buf *b)
{
    static const char *const kind[] = {"mailbox", "mailbox", "mailuser", "contact", "group"};
    static const char *const address[] = {" a@x.test",    " b@x.test",    " c@x.test",
                                          " a@any.test",  " a@old.local", " b@old.local",
                                          " a@new.local", " b@new.local", " a@else.where"};
    static const char *const more[] = {"",
                                       "",
                                       " mdb",
                                       " target=a@new.local",
                                       " target=a@old.local",
                                       " target=b@new.local",
                                       " target=a@x.test",
                                       " target=c@else.where",
                                       " flag=source",
                                       " flag=target",
                                       " flag=sauce",
                                       " legacy=/o=1",
                                       " x500=/o=1",
                                       " key=1",
                                       " key=2",
                                       " auth",
                                       " type=8",
                                       " vanished=9"};
    buf_clear(b);
    append_random(b, kind, ARRAY_LEN(kind));
    for (uint64_t n = 1 + random_jitter(3); n > 0; n--)
        append_random(b, address, ARRAY_LEN(address));
    for (uint64_t n = random_jitter(4); n > 0; n--)
        append_random(b, more, ARRAY_LEN(more));
}

static const char *found(struct world *w, uint64_t checks, const char *source, struct heard *h)
{
    buf_clear(&h->text);
    examine(w, (struct doctor_options){.checks = checks, .source = source}, h);
    return h->text.n != 0 ? buf_cstr(&h->text) : "";
}

/* Whatever the entries: a pass ends, and each check finds by itself what it finds among all. */
static void test_random(void **state)
{
    (void)state;
    random_jitter_seed(7);
    for (unsigned round = 0; round < 300; round++) {
        struct world w;
        struct heard all, one;
        struct buf entry = BUF_INIT(4000);
        size_t together = 0;
        world_begin(&w, TWO_SOURCES);
        for (unsigned id = 1; id <= 8; id++) {
            random_entry(&entry);
            world_put(&w, (unsigned)random_jitter(2), id, buf_cstr(&entry));
        }
        world_view(&w);
        heard_begin(&all);
        heard_begin(&one);
        const char *text = found(&w, 0, "", &all);
        unsigned n = all.n;
        for (unsigned i = 0; i < DOCTOR_CHECKS; i++) {
            one.n = 0;
            found(&w, UINT64_C(1) << i, "", &one);
            together += one.n;
        }
        if (together != n)
            fail_msg("round %u: %u findings, one by one %zu: %s", round, n, together, text);
        heard_end(&all);
        heard_end(&one);
        buf_free(&entry);
        world_end(&w);
    }
}

static void test_table(void **state)
{
    (void)state;
    for (int i = 0; i < DOCTOR_CHECKS; i++) {
        const struct doctor_check_info *c = &doctor_check_info[i];
        assert_int_equal(doctor_check_find(str_c(c->name)), i);
        assert_true(strlen(c->title) > 10 && strlen(c->explanation) > 40 && strlen(c->mend) > 8);
        for (const char *p = c->name; *p != '\0'; p++)
            assert_true((*p >= 'a' && *p <= 'z') || ascii_is_digit(*p) || *p == '-');
    }
    assert_int_equal(doctor_check_find(STR("two-mailbox")), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_healthy),      cmocka_unit_test(test_faults),
        cmocka_unit_test(test_other_worlds), cmocka_unit_test(test_incomplete),
        cmocka_unit_test(test_template),     cmocka_unit_test(test_sources),
        cmocka_unit_test(test_mends),        cmocka_unit_test(test_options),
        cmocka_unit_test(test_steps),        cmocka_unit_test(test_mends_without_ldap),
        cmocka_unit_test(test_random),       cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
