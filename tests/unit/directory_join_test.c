/*
 * directory_join_test.c - one person in several directories: who is joined with whom, which forest
 * that means under which evidence, what is reported as a contradiction, who is told of a change;
 * and walking over all of them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "directory/directory.h"
#include "directory/walk.h"
#include "tests/unit/directory_model.h"
#include "tests/unit/directory_world.h"

static void walk_text(const struct dir_view *v, struct buf *out)
{
    struct dir_walk *w = NEW(struct dir_walk);
    struct dir_cursor c = {0};
    buf_clear(out);
    while (dir_view_walk(v, &c, w)) {
        buf_printf(out, "%s %u:", dir_view_source_name(v, w->source), w->entry.uuid[3]);
        for (unsigned i = 0; i < w->entry.n_address; i++)
            buf_printf(out, " %.*s", STR_ARG(w->entry.address[i].local));
        buf_printf(out, " %.*s|", STR_ARG(w->entry.dn));
    }
    assert_false(dir_view_walk(v, &c, w));
    mem_free(w);
}

static void test_walk(void **state)
{
    (void)state;
    struct world w;
    struct buf text = BUF_INIT(10000);
    world_begin(&w, WORLD_BASE WORLD_SOURCE("s1", "old", "2", "") WORLD_SOURCE("s2", "new", "1", "")
                        WORLD_SOURCE("s3", "new", "3", ""));
    world_view(&w);
    walk_text(w.view, &text);
    assert_string_equal(buf_cstr(&text), "");
    world_put(&w, 0, 1, "mailbox a@x.test");
    world_put(&w, 0, 2, "mailbox b@x.test bb@x.test dn=cn=b,ou=x");
    world_put(&w, 2, 2, "contact b@x.test");
    world_view(&w);
    world_put(&w, 0, 1, "mailbox c@x.test vanished=1");
    world_put(&w, 0, 3, "mailbox d@x.test");
    world_view(&w);
    unsigned char gone[DIR_UUID_SIZE];
    model_uuid(3, gone);
    replica_delete(w.replica[0], gone);
    world_put(&w, 1, 1, "mailbox z@x.test");
    world_view(&w);
    walk_text(w.view, &text);
    assert_string_equal(buf_cstr(&text), "s2 1: z |s1 1: c |s1 2: b bb cn=b,ou=x|s3 2: b |");
    buf_free(&text);
    world_end(&w);
}

/* ---- who is one person, and where ---- */

#define TWO                                                                                        \
    WORLD_SOURCE("s1", "old", "1", "join_attribute = id")                                          \
    WORLD_SOURCE("s2", "new", "2", "join_attribute = id")

static const char *show(const struct dir_result *r)
{
    static const char *const found[] = {"found", "none", "unknown", "conflict", "ambiguous"};
    static char text[1000];
    const struct dir_claim *b = r->best;
    snprintf(text, sizeof(text), "%s %.*s %.*s %u%s%s", found[r->found],
             b != NULL ? (int)b->forest.n : 1, b != NULL ? b->forest.p : "-",
             b != NULL && b->routing.n != 0 ? (int)b->routing.n : 1,
             b != NULL && b->routing.n != 0 ? b->routing.p : "-", r->n_claims,
             r->conflict != NULL ? " " : "", r->conflict != NULL ? r->conflict : "");
    return text;
}

#define TWO_OBJECTS " the address is on two objects that are not one person"
#define AMBIGUOUS   " several objects that are not one person have this key"
#define TWO_FORESTS " two forests claim it"

struct joined_row {
    const char *entry[4]; /* "source number, blank, entry" */
    const char *key;      /* with '@': an address; "key:...": join key; else X.500 */
    const char *expected; /* found, forest, routing, claims, conflict */
};

static void check_rows(const char *conf, const struct joined_row *row, unsigned n)
{
    struct dir_result *r = NEW(struct dir_result);
    for (unsigned i = 0; i < n; i++) {
        struct world w;
        struct str key = str_c(row[i].key);
        world_begin(&w, conf);
        for (unsigned k = 0; k < 4 && row[i].entry[k] != NULL; k++)
            world_put(&w, (unsigned)(row[i].entry[k][0] - '1'), k + 1, row[i].entry[k] + 2);
        world_view(&w);
        if (str_starts(key, STR("key:")))
            dir_view_lookup_other(w.view, DIR_KEY_CUSTOM, str_from(key, 4), 2000, r);
        else if (str_find(key, '@') > 0)
            dir_view_lookup(w.view, key, 2000, r);
        else
            dir_view_lookup_other(w.view, DIR_KEY_X500, key, 2000, r);
        if (strcmp(show(r), row[i].expected) != 0)
            fail_msg("row %u, \"%s\": \"%s\", not \"%s\"", i, row[i].key, show(r), row[i].expected);
        world_end(&w);
    }
    mem_free(r);
}

static void test_joins(void **state)
{
    (void)state;
    static const struct joined_row row[] = {
        /* the address asked for: one person, and the flag of either counts */
        {{"1 mailbox a@x.test", "2 mailuser a@x.test flag=target"}, "a@x.test", "found new - 2"},
        /* an address that only one of them has: joined, for both have the same primary one */
        {{"1 mailbox a@x.test aa@x.test", "2 mailuser a@x.test flag=target"},
         "aa@x.test",
         "found new - 2"},
        {{"1 mailbox a@x.test", "2 mailuser a@x.test b@x.test flag=target"},
         "b@x.test",
         "found new - 2"},
        /* a new primary address in one forest, when each has the other's */
        {{"1 mailbox old@x.test n@x.test s@x.test", "2 mailuser n@x.test old@x.test flag=target"},
         "s@x.test",
         "found new - 2"},
        /* a shared secondary address makes no person of two */
        {{"1 mailbox p1@x.test info@x.test", "2 mailbox p2@x.test info@x.test flag=target"},
         "p1@x.test",
         "found old - 1"},
        {{"1 mailbox p1@x.test p2@x.test", "2 mailbox p2@x.test flag=target"},
         "p1@x.test",
         "found old - 1"},
        /* two objects of the other source could be meant: none is */
        {{"1 mailbox a@x.test aa@x.test", "2 mailuser a@x.test flag=target",
          "2 contact a@x.test flag=target"},
         "aa@x.test",
         "found old - 1"},
        {{"1 mailbox a@x.test aa@x.test", "1 mailbox a@x.test", "2 mailuser a@x.test flag=target"},
         "aa@x.test",
         "found old - 1"},
        /* nor on the side of the object that was found by another key */
        {{"1 mailbox a@x.test legacy=/o=x/cn=a", "1 mailbox a@x.test b@x.test legacy=/o=x/cn=a",
          "2 mailuser a@x.test flag=target"},
         "/o=x/cn=a",
         "ambiguous - - 2" AMBIGUOUS},
        /* whichever address is asked for */
        {{"1 mailbox d@x.test b@x.test c@x.test", "1 mailbox b@x.test",
          "2 mailbox b@x.test d@x.test z@x.test flag=target"},
         "c@x.test",
         "found old - 1"},
        {{"1 mailbox d@x.test b@x.test c@x.test", "1 mailbox b@x.test",
          "2 mailbox b@x.test d@x.test z@x.test flag=target"},
         "z@x.test",
         "found new - 1"},
        /* X.500 addresses: legacyExchangeDN or X500: of either */
        {{"1 mailbox a@x.test legacy=/o=x/cn=a", "2 mailuser b@x.test x500=/o=x/cn=a flag=target"},
         "a@x.test",
         "found new - 2"},
        {{"1 mailbox a@x.test legacy=/o=x/cn=a", "2 mailuser b@x.test x500=/o=x/cn=a flag=target"},
         "b@x.test",
         "found new - 2"},
        {{"1 mailbox a@x.test x500=/o=x/cn=a", "2 mailuser b@x.test x500=/o=x/cn=a flag=target"},
         "a@x.test",
         "found new - 2"},
        {{"1 mailbox a@x.test legacy=/o=x/cn=a",
          "2 mailuser b@x.test legacy=/o=x/cn=a flag=target"},
         "a@x.test",
         "found new - 2"},
        {{"1 mailbox a@x.test legacy=/o=x/cn=a",
          "2 mailuser b@x.test legacy=/o=x/cn=b flag=target"},
         "a@x.test",
         "found old - 1"},
        /* on two objects, there or here: it proves nothing */
        {{"1 mailbox a@x.test legacy=/o=x/cn=a", "2 mailuser b@x.test x500=/o=x/cn=a flag=target",
          "2 mailuser c@x.test x500=/o=x/cn=a flag=target"},
         "a@x.test",
         "found old - 1"},
        {{"1 mailbox a@x.test legacy=/o=x/cn=a", "2 mailuser b@x.test x500=/o=x/cn=a flag=target",
          "1 mailbox c@x.test x500=/o=x/cn=a"},
         "a@x.test",
         "found old - 1"},
        /* unless all but one have vanished: deleted and created again */
        {{"1 mailbox a@x.test legacy=/o=x/cn=a", "2 mailuser b@x.test x500=/o=x/cn=a vanished=5",
          "2 mailuser c@x.test x500=/o=x/cn=a flag=target"},
         "a@x.test",
         "found new - 2"},
        {{"1 mailbox a@x.test aa@x.test vanished=5", "1 mailbox a@x.test aa@x.test",
          "2 mailuser a@x.test flag=target", "2 mailuser a@x.test flag=source vanished=5"},
         "aa@x.test",
         "found new - 3"},
        {{"1 mailbox a@x.test vanished=5", "1 mailbox a@x.test",
          "2 mailuser a@x.test a@new.local flag=target"},
         "a@x.test",
         "found new a@new.local 3"},
        /* what has vanished does not stand in the way of who is there */
        {{"1 mailbox a@x.test d@x.test x500=/o=x/cn=a",
          "2 mailbox a@x.test legacy=/o=x/cn=a vanished=1",
          "2 mailbox b@x.test legacy=/o=x/cn=a flag=target"},
         "d@x.test",
         "found new - 3"},
        /* not within one source */
        {{"1 mailbox a@x.test legacy=/o=x/cn=a", "1 mailuser b@x.test x500=/o=x/cn=a flag=target"},
         "a@x.test",
         "found old - 1"},
        /* the configured key, and no other kind of key that looks the same */
        {{"1 mailbox a@x.test key=7", "2 mailuser b@x.test key=7 flag=target"},
         "a@x.test",
         "found new - 2"},
        {{"1 mailbox a@x.test key=7", "2 mailuser b@x.test x500=7 flag=target"},
         "a@x.test",
         "found old - 1"},
        /* from object to object: by X.500 there, by the key back */
        {{"1 mailbox a@x.test legacy=/o=x/cn=a", "2 mailuser b@x.test x500=/o=x/cn=a key=7",
          "3 contact c@x.test key=7 flag=target"},
         "a@x.test",
         "found new - 3"},
        /* the routing address comes from any object of the person, and of nobody else */
        {{"1 mailbox a@x.test legacy=/o=x/cn=a flag=target",
          "2 mailuser b@x.test b@new.local x500=/o=x/cn=a"},
         "a@x.test",
         "found new b@new.local 2"},
        {{"1 mailbox a@x.test flag=target", "1 mailbox z@x.test a@x.test z@new.local flag=target"},
         "a@x.test",
         "conflict new - 2" TWO_OBJECTS},
    };
    check_rows(WORLD_BASE TWO WORLD_SOURCE("s3", "new", "3", "join_attribute = id"), row,
               ARRAY_LEN(row));
}

static void test_join_by(void **state)
{
    (void)state;
    static const char *const only[] = {"smtp", "x500", "key"};
    static const struct joined_row row[3] = {
        {{"1 mailbox a@x.test aa@x.test", "2 mailuser a@x.test flag=target"}, "aa@x.test", NULL},
        {{"1 mailbox a@x.test legacy=/a", "2 mailuser b@x.test x500=/a flag=target"},
         "a@x.test",
         NULL},
        {{"1 mailbox a@x.test key=7", "2 mailuser b@x.test key=7 flag=target"}, "a@x.test", NULL},
    };
    for (unsigned i = 0; i < 3; i++) {
        char *conf = mem_printf("join = { %s }\n" WORLD_BASE TWO, only[i]);
        for (unsigned k = 0; k < 3; k++) {
            struct joined_row one = row[k];
            one.expected = i == k ? "found new - 2" : "found old - 1";
            check_rows(conf, &one, 1);
        }
        mem_free(conf);
    }
    /* an address alone is then no proof: two people have it */
    static const struct joined_row apart[] = {
        {{"1 mailbox a@x.test", "2 mailbox a@x.test"}, "a@x.test", "conflict old - 2" TWO_OBJECTS},
        {{"1 mailbox a@x.test a@new.local", "2 mailbox a@x.test flag=target"},
         "a@x.test",
         "conflict new - 2" TWO_OBJECTS},
        {{"1 mailbox a@x.test x500=/a b@new.local", "2 mailbox a@x.test x500=/a flag=target"},
         "a@x.test",
         "found new b@new.local 2"},
    };
    check_rows("join = { x500, key }\n" WORLD_BASE TWO, apart, ARRAY_LEN(apart));
}

static void test_conflicts(void **state)
{
    (void)state;
    static const struct joined_row row[] = {
        {{"1 mailbox a@x.test mdb", "2 mailbox a@x.test mdb"},
         "a@x.test",
         "conflict old - 2" TWO_FORESTS},
        {{"1 mailbox a@x.test legacy=/a mdb", "2 mailbox b@x.test x500=/a mdb"},
         "b@x.test",
         "conflict old - 2" TWO_FORESTS},
        {{"1 mailbox a@x.test mdb", "2 mailbox a@x.test mdb target=a@old.local"},
         "a@x.test",
         "found old a@old.local 2"},
        /* two objects of one source: whatever they say, and the same each time */
        {{"1 mailbox a@x.test mdb", "1 contact b@x.test a@x.test target=q@new.local"},
         "a@x.test",
         "conflict old - 2" TWO_OBJECTS},
        {{"1 mailbox a@x.test mdb", "1 mailbox a@x.test mdb"},
         "a@x.test",
         "conflict old - 2" TWO_OBJECTS},
        /* a mail user of somebody else's domain before who has less to say */
        {{"1 contact a@x.test", "2 mailuser a@x.test target=a@gmail.test"},
         "a@x.test",
         "found new - 2"},
        {{"1 contact a@x.test target=a@old.local", "2 mailuser a@x.test target=a@x.test"},
         "a@x.test",
         "found old a@old.local 2"},
        /* vanished: routes on, contradicts nobody, and what is alive decides before it */
        {{"1 mailbox a@x.test mdb vanished=5"}, "a@x.test", "found old - 1"},
        {{"1 mailbox a@x.test mdb vanished=5", "2 mailbox a@x.test mdb"},
         "a@x.test",
         "found new - 2"},
        {{"1 mailbox a@x.test mdb vanished=5", "1 mailbox a@x.test mdb"},
         "a@x.test",
         "found old - 2"},
        {{"1 mailbox a@x.test mdb vanished=5", "2 mailuser a@x.test target=a@new.local"},
         "a@x.test",
         "found new a@new.local 2"},
        {{"1 mailbox a@x.test mdb vanished=5", "2 mailuser a@x.test"}, "a@x.test", "found old - 2"},
        {{"1 mailbox a@x.test mdb vanished=5", "2 contact a@x.test target=a@x.test"},
         "a@x.test",
         "found old - 2"},
        {{"1 contact a@x.test vanished=5", "2 contact a@x.test"}, "a@x.test", "found new - 2"},
        {{"1 mailbox a@x.test mdb vanished=5", "2 mailbox a@x.test mdb vanished=5"},
         "a@x.test",
         "found old - 2"},
    };
    check_rows(WORLD_BASE TWO, row, ARRAY_LEN(row));
}

static void test_by_x500(void **state)
{
    (void)state;
    static const struct joined_row row[] = {
        {{"1 mailbox a@x.test legacy=/o=x/cn=a"}, "/o=x/cn=a", "found old - 1"},
        {{"1 mailbox a@x.test x500=/o=x/cn=a"}, "/o=x/cn=a", "found old - 1"},
        {{"1 mailbox a@x.test x500=/o=x/cn=a"}, "/o=x/cn=b", "none - - 0"},
        /* the person, wherever the mailbox is now */
        {{"1 mailuser a@x.test target=a@new.local legacy=/a", "2 mailbox a@x.test legacy=/b"},
         "/a",
         "found new a@new.local 2"},
        /* legacyExchangeDN before X500: */
        {{"1 mailbox a@x.test legacy=/a", "1 mailbox b@x.test x500=/a flag=target"},
         "/a",
         "found old - 1"},
        {{"1 mailbox a@x.test x500=/a", "1 mailbox b@x.test x500=/a"},
         "/a",
         "ambiguous - - 2" AMBIGUOUS},
        {{"1 mailbox a@x.test legacy=/a", "1 mailbox b@x.test legacy=/a"},
         "/a",
         "ambiguous - - 2" AMBIGUOUS},
        {{"1 mailbox a@x.test x500=/a", "2 mailuser b@x.test x500=/a flag=target"},
         "/a",
         "found new - 2"},
        {{"1 mailbox a@x.test x500=/a vanished=1", "1 mailbox b@x.test x500=/a"},
         "/a",
         "found old - 2"},
        {{"1 mailbox a@x.test key=7"}, "key:7", "found old - 1"},
        {{"1 mailbox a@x.test key=7"}, "7", "none - - 0"},
    };
    check_rows(WORLD_BASE TWO, row, ARRAY_LEN(row));
    static const struct joined_row apart[] = {
        {{"1 mailbox a@x.test x500=/a", "2 mailuser b@x.test x500=/a flag=target"},
         "/a",
         "ambiguous - - 2" AMBIGUOUS},
        {{"1 mailbox a@x.test x500=/a", "2 mailuser a@x.test x500=/a flag=target"},
         "/a",
         "found new - 2"},
    };
    check_rows("join = { smtp }\n" WORLD_BASE TWO, apart, ARRAY_LEN(apart));
}

static void test_evidence(void **state)
{
    (void)state;
    static const char *const mode[] = {"flag-exchange", "exchange-flag", "flag", "exchange"};
    static const struct {
        const char *entry[2];
        const char *expected[4];
    } row[] = {
        {{"1 mailbox a@x.test mdb flag=target"},
         {"found new - 1", "found old - 1", "found new - 1", "found old - 1"}},
        {{"1 mailbox a@x.test flag=target"},
         {"found new - 1", "found new - 1", "found new - 1", "found old - 1"}},
        {{"1 mailbox a@x.test mdb"},
         {"found old - 1", "found old - 1", "found old - 1", "found old - 1"}},
        {{"1 mailuser a@x.test target=a@new.local flag=source"},
         {"found old - 1", "found new a@new.local 1", "found old - 1", "found new a@new.local 1"}},
        {{"1 mailuser a@x.test flag=target"}, /* without a target: a fault, unless the flag says */
         {"found new - 1", "found new - 1", "found new - 1", "unknown - - 1"}},
        {{"1 mailuser a@x.test"},
         {"unknown - - 1", "unknown - - 1", "unknown - - 1", "unknown - - 1"}},
        {{"1 mailuser a@x.test target=a@new.local"},
         {"found new a@new.local 1", "found new a@new.local 1", "unknown - - 1",
          "found new a@new.local 1"}},
        /* one has the mailbox, the other the flag */
        {{"1 mailbox a@x.test mdb", "2 mailuser a@x.test flag=target"},
         {"found new - 2", "found old - 2", "found new - 2", "found old - 2"}},
        {{"1 group a@x.test flag=target"},
         {"found new - 1", "found old - 1", "found new - 1", "found old - 1"}},
        {{"1 contact a@x.test target=a@new.local flag=source"},
         {"found old - 1", "found old - 1", "found old - 1", "found new a@new.local 1"}},
    };
    for (unsigned k = 0; k < 4; k++) {
        char *conf = mem_printf(
            "domain \"y.test\" { }\ndomain \"z.test\" { evidence = %s }\n" WORLD_BASE TWO, mode[k]);
        char *only = mem_printf(TWO "listener \"i\" { address = \"*:25\" }\n"
                                    "forest old { host o {} routing_domain = old.local }\n"
                                    "forest new { host n {} routing_domain = new.local }\n"
                                    "domain \"x.test\" { evidence = %s }\n",
                                mode[k]);
        for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
            struct joined_row one = {{row[i].entry[0], row[i].entry[1]}, "a@x.test", NULL};
            one.expected = row[i].expected[k];
            check_rows(only, &one, 1);
            one.expected = row[i].expected[0]; /* x.test has the default */
            check_rows(conf, &one, 1);
        }
        mem_free(conf);
        mem_free(only);
    }
}

/* An account of Active Directory has a mail attribute long before it has a mailbox. */
static void test_plain_accounts(void **state)
{
    (void)state;
    static const struct joined_row row[] = {
        {{"1 mailbox a@x.test"}, "a@x.test", "found new - 1"},
        {{"1 mailbox a@x.test", "2 mailbox a@x.test mdb"}, "a@x.test", "found old - 2"},
        {{"1 mailbox a@x.test", "2 mailuser a@x.test target=a@old.local"},
         "a@x.test",
         "found old a@old.local 2"},
        {{"1 mailbox a@x.test", "2 contact a@x.test target=a@x.test"}, "a@x.test", "found new - 2"},
        {{"1 mailbox a@x.test", "2 mailbox a@x.test"}, "a@x.test", "conflict new - 2" TWO_FORESTS},
    };
    check_rows(
        WORLD_BASE
        "source ad1 { type = active-directory uri = 'ldap://a' forest = new priority = 1 }\n"
        "source ad2 { type = active-directory uri = 'ldap://b' forest = old priority = 2 }\n",
        row, ARRAY_LEN(row));
}

/* ---- never at random ---- */

enum {
    OBJECTS = 3, /* in each of three sources */
    VERSIONS = 2
};

/* An object with a few of few possible keys, so that many meet. */
static void random_object(char *dst, size_t cap)
{
    static const char *const kind[] = {"mailbox", "mailuser", "contact", "group"};
    static const char *const extra[] = {"",
                                        " flag=target",
                                        " flag=source",
                                        " mdb",
                                        " vanished=5",
                                        " target=t@new.local",
                                        " target=t@old.local"};
    size_t n = (size_t)snprintf(dst, cap, "%s a%u@x.test", kind[random_jitter(4)],
                                (unsigned)random_jitter(4));
    if (random_jitter(2) == 0)
        n += (size_t)snprintf(dst + n, cap - n, " b%u@x.test", (unsigned)random_jitter(3));
    if (random_jitter(3) == 0)
        n += (size_t)snprintf(dst + n, cap - n, " r%u@new.local", (unsigned)random_jitter(9));
    if (random_jitter(2) == 0)
        n += (size_t)snprintf(dst + n, cap - n, " legacy=/o=x/cn=%u", (unsigned)random_jitter(4));
    if (random_jitter(2) == 0)
        n += (size_t)snprintf(dst + n, cap - n, " x500=/o=x/cn=%u", (unsigned)random_jitter(4));
    if (random_jitter(3) == 0)
        n += (size_t)snprintf(dst + n, cap - n, " key=%u", (unsigned)random_jitter(3));
    snprintf(dst + n, cap - n, "%s", extra[random_jitter(ARRAY_LEN(extra))]);
}

static void answers(const struct dir_view *v, struct buf *out)
{
    static const char *const keys[] = {"a0@x.test", "a1@x.test", "a2@x.test", "a3@x.test",
                                       "b0@x.test", "b1@x.test", "b2@x.test", "/o=x/cn=0",
                                       "/o=x/cn=1", "/o=x/cn=2", "/o=x/cn=3", "nobody@x.test"};
    struct dir_result *r = NEW(struct dir_result);
    buf_clear(out);
    for (unsigned i = 0; i < ARRAY_LEN(keys); i++) {
        if (keys[i][0] == '/')
            dir_view_lookup_other(v, DIR_KEY_X500, str_c(keys[i]), 2000, r);
        else
            dir_view_lookup(v, str_c(keys[i]), 2000, r);
        buf_printf(out, "%s: %s;", keys[i], show(r));
        for (unsigned k = 0; k < r->n_claims; k++)
            buf_printf(out, " %u.%u", r->claim[k].source, r->claim[k].uuid[3]);
        buf_append_c(out, "\n");
    }
    mem_free(r);
}

/* What is said now counts, however it came to be: in another order, in one piece or many, over
 * something else that was there before. */
static void test_history(void **state)
{
    (void)state;
    static const char conf[] = WORLD_BASE TWO WORLD_SOURCE("s3", "new", "3", "join_attribute = id");
    struct buf once = BUF_INIT(100000), later = BUF_INIT(100000);
    for (unsigned round = 0; round < 300; round++) {
        char text[VERSIONS][3][OBJECTS][200];
        struct world w;
        random_jitter_seed(round + 1);
        for (unsigned i = 0; i < VERSIONS * 3 * OBJECTS; i++)
            random_object(text[i / 9][i / 3 % 3][i % 3], sizeof(text[0][0][0]));
        world_begin(&w, conf);
        for (unsigned i = 0; i < 3 * OBJECTS; i++)
            world_put(&w, i / 3, i % 3 + 1, text[VERSIONS - 1][i / 3][i % 3]);
        world_view(&w);
        answers(w.view, &once);
        world_end(&w);
        world_begin(&w, conf);
        for (unsigned version = 0; version < VERSIONS; version++)
            for (unsigned i = 3 * OBJECTS; i-- > 0;) {
                world_put(&w, i / 3, i % 3 + 1, text[version][i / 3][i % 3]);
                if (random_jitter(2) == 0)
                    world_view(&w);
                if (random_jitter(9) == 0)
                    replica_snapshot(w.replica[i / 3]);
            }
        world_view(&w);
        answers(w.view, &later);
        if (!str_eq(buf_str(&once), buf_str(&later)))
            fail_msg("round %u:\n%s\n%s", round, buf_cstr(&once), buf_cstr(&later));
        world_end(&w);
    }
    buf_free(&once);
    buf_free(&later);
}

/* ---- who is told ---- */

struct heard {
    pthread_mutex_t lock;
    unsigned n;
    uint64_t key[256];
};

static void hear(void *arg, const struct dir_change *c)
{
    struct heard *h = arg;
    pthread_mutex_lock(&h->lock);
    for (unsigned i = 0; i < c->n && h->n < ARRAY_LEN(h->key); i++)
        h->key[h->n++] = c->key_hash[i];
    pthread_mutex_unlock(&h->lock);
}

static bool heard_hash(struct heard *h, uint64_t hash)
{
    bool found = false;
    pthread_mutex_lock(&h->lock);
    for (unsigned i = 0; i < h->n; i++)
        found = found || h->key[i] == hash;
    pthread_mutex_unlock(&h->lock);
    return found;
}

static bool heard_key(struct heard *h, const char *key)
{
    return heard_hash(h, hash64(key, strlen(key)));
}

static void put_file(const char *folder, const char *name, const char *text)
{
    struct err e;
    char *path = mem_printf("%s/%s.ldif", folder, name);
    assert_true(file_replace(&file_real, path, text, strlen(text), 0600, &e));
    mem_free(path);
}

static void wait_current(struct directory *d, unsigned n)
{
    struct dir_source_status s[WORLD_SOURCES];
    int64_t end = clock_mono_ms() + 20000;
    for (unsigned current = 0; current < n; usleep(2000)) {
        assert_true(clock_mono_ms() < end);
        current = 0;
        assert_int_equal(directory_status(d, s, WORLD_SOURCES), n);
        for (unsigned i = 0; i < n; i++)
            current += s[i].state == DIR_SOURCE_CURRENT;
    }
}

static void wait_heard(struct heard *h, const char *key)
{
    int64_t end = clock_mono_ms() + 20000;
    for (; !heard_key(h, key); usleep(2000))
        assert_true(clock_mono_ms() < end);
}

static char *three_files(const char *folder)
{
    return mem_printf(
        WORLD_BASE "source a { type = ldif path = '%s/a.ldif' forest = old join_attribute = id\n"
                   "  flag_attribute = f flag_values = 'moved = new' }\n"
                   "source b { type = ldif path = '%s/b.ldif' forest = new join_attribute = id }\n"
                   "source c { type = ldif path = '%s/c.ldif' forest = new join_attribute = id }\n",
        folder, folder, folder);
}

/* Mail that waits for an address of one object follows a flip of another. */
static void test_told(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct heard h = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct err e;
    char *text = three_files(folder);
    struct conf *c = world_conf(text);
    put_file(folder, "a", "dn: cn=a\nmail: a@x.test\nlegacyExchangeDN: /O=X/cn=A\n");
    put_file(folder, "b", "dn: cn=b\nmail: b@x.test\nproxyAddresses: X500:/o=x/cn=a\nid: 7\n");
    put_file(folder, "c", "dn: cn=c\nmail: c@x.test\nid: 7\n\ndn: cn=d\nmail: d@x.test\nid: 8\n");
    struct directory *d = directory_open(c, folder, &e);
    assert_non_null(d);
    directory_listen(d, hear, &h);
    directory_start(d);
    wait_current(d, 3);
    pthread_mutex_lock(&h.lock);
    h.n = 0;
    pthread_mutex_unlock(&h.lock);
    put_file(folder, "a", "dn: cn=a\nmail: a@x.test\nlegacyExchangeDN: /O=X/cn=A\nf: moved\n");
    wait_heard(&h, "a@x.test");
    assert_true(heard_key(&h, "b@x.test"));
    assert_true(heard_key(&h, "c@x.test")); /* by way of b */
    assert_false(heard_key(&h, "d@x.test"));
    assert_true(heard_hash(&h, dir_other_hash(DIR_KEY_X500, STR("/o=x/cn=a"))));

    pthread_mutex_lock(&h.lock);
    h.n = 0;
    pthread_mutex_unlock(&h.lock);
    assert_true(directory_set_override(d, STR("c@x.test"), STR("old"), STR("me"), &e));
    assert_true(heard_key(&h, "a@x.test") && heard_key(&h, "b@x.test") &&
                heard_key(&h, "c@x.test"));
    struct dir_result *r = NEW(struct dir_result);
    struct dir_view *v = directory_view(d);
    dir_view_lookup(v, STR("a@x.test"), clock_mono_ms(), r);
    assert_true(str_eq(r->best->forest, STR("old")));
    assert_int_equal(r->best->kind, DIR_OVERRIDE);
    assert_int_equal(r->n_claims, 4);
    dir_view_unref(&v);
    directory_close(&d);
    conf_unref(&c);
    mem_free(r);
    mem_free(text);
    model_remove_folder(folder);
}

int main(void)
{
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_joins),     cmocka_unit_test(test_join_by),
        cmocka_unit_test(test_conflicts), cmocka_unit_test(test_by_x500),
        cmocka_unit_test(test_evidence),  cmocka_unit_test(test_plain_accounts),
        cmocka_unit_test(test_history),   cmocka_unit_test(test_told),
        cmocka_unit_test(test_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
