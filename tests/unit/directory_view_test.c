/*
 * directory_view_test.c - what a lookup answers: each location rule, conflicts, routing addresses,
 * overrides, staleness; then the directory as a whole with LDIF files that change.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "directory/directory.h"
#include "directory/source.h"
#include "tests/unit/directory_model.h"
#include "tests/unit/directory_world.h"

#define BASE   WORLD_BASE
#define SOURCE WORLD_SOURCE

static const char *show(const struct dir_result *r)
{
    static const char *const found[] = {"found", "none", "unknown", "conflict"};
    static char text[1000];
    const struct dir_claim *b = r->best;
    snprintf(text, sizeof(text), "%s %.*s %s %.*s", found[r->found],
             b != NULL ? (int)b->forest.n : 1, b != NULL ? b->forest.p : "-",
             b != NULL ? b->evidence : "-", b != NULL && b->routing.n != 0 ? (int)b->routing.n : 1,
             b != NULL && b->routing.n != 0 ? b->routing.p : "-");
    return text;
}

static void test_rules(void **state)
{
    (void)state;
    static const struct {
        const char *old, *new; /* what the sources of the two forests say */
        const char *expected;
    } row[] = {
        {"", "", "none - - -"},
        {"mailbox a@x.test", "", "found old entry without a flag -"},
        {"mailbox a@x.test flag=TARGET", "", "found new flag ext1 -"},
        {"mailbox a@x.test flag=tarrget", "", "found old entry without a flag -"},
        /* the flag decides over mailbox evidence, wherever it is said */
        {"mailbox a@x.test", "mailbox a@x.test flag=source", "found old flag ext1 -"},
        {"mailbox a@x.test flag=target", "mailbox a@x.test", "found new flag ext1 -"},
        {"mailbox a@x.test flag=target", "mailbox a@x.test flag=source",
         "conflict new flag ext1 -"},
        {"mailbox a@x.test flag=target", "mailbox a@x.test flag=target", "found new flag ext1 -"},
        /* two mailboxes: the first source has the better priority */
        {"mailbox a@x.test", "mailbox a@x.test", "conflict old entry without a flag -"},
        {"group a@x.test", "", "found old entry without a flag -"},
        {"mailbox a@x.test", "group a@x.test", "conflict new entry without a flag -"},
        /* a mail user points to the other side, where the mailbox is */
        {"mailuser a@x.test target=a@new.local", "mailbox a@x.test a@new.local",
         "found new entry without a flag a@new.local"},
        {"mailuser a@x.test target=a@new.local", "", "found new targetAddress a@new.local"},
        {"contact a@x.test target=a@new.local", "mailuser a@x.test target=a@old.local",
         "found old targetAddress a@old.local"},
        {"mailuser a@x.test target=a@new.local", "mailuser a@x.test target=a@old.local",
         "conflict new targetAddress a@new.local"},
        /* a target outside: who holds the object sends it on */
        {"contact a@x.test target=a@gmail.test", "", "found old entry without a flag -"},
        {"mailuser a@x.test", "", "unknown - - -"},
        /* a mailbox with a target redirects all its mail */
        {"mailbox a@x.test target=b@new.local", "", "found new targetAddress b@new.local"},
        /* where the routing address comes from */
        {"mailbox a@x.test flag=target routing=z@r.test b@new.local", "",
         "found new flag ext1 z@r.test"},
        {"mailbox a@x.test b@new.local c@old.local", "",
         "found old entry without a flag c@old.local"},
        {"mailbox a@x.test flag=target", "mailuser a@x.test b@new.local",
         "found new flag ext1 b@new.local"},
        {"mailbox a@x.test flag=target target=q@new.local", "", "found new flag ext1 q@new.local"},
        /* other spellings and secondary addresses */
        {"mailbox A@x.test", "", "found old entry without a flag -"},
        {"mailbox z@x.test a@x.test", "", "found old entry without a flag -"},
        {"mailbox a@y.test", "", "none - - -"},
        {"mailbox aa@x.test", "", "none - - -"},
    };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct world w;
        world_begin(&w, BASE SOURCE("s1", "old", "1", "") SOURCE("s2", "new", "2", ""));
        if (row[i].old[0] != '\0')
            assert_true(replica_upsert(w.replica[0], model_entry(1, row[i].old)));
        if (row[i].new[0] != '\0')
            assert_true(replica_upsert(w.replica[1], model_entry(2, row[i].new)));
        world_view(&w);
        struct dir_result *r = NEW(struct dir_result);
        dir_view_lookup(w.view, STR("a@x.test"), 2000, r);
        if (strcmp(show(r), row[i].expected) != 0)
            fail_msg("row %u: \"%s\" and \"%s\": %s, not %s", i, row[i].old, row[i].new, show(r),
                     row[i].expected);
        mem_free(r);
        world_end(&w);
    }
}

static void test_claims(void **state)
{
    (void)state;
    struct world w;
    struct dir_result *r = NEW(struct dir_result);
    world_begin(&w, BASE SOURCE("s1", "old", "1", "") SOURCE("s2", "new", "2", ""));
    replica_upsert(w.replica[0], model_entry(9, "mailbox Ann@x.test a@x.test alias=ann"));
    replica_upsert(w.replica[0], model_entry(3, "contact a@x.test target=o@other.test"));
    replica_upsert(w.replica[1],
                   model_entry(2, "mailuser Ann@x.test a@x.test target=Ann@old.local alias=Ann"));
    world_view(&w);
    assert_ptr_equal(dir_view_conf(w.view), w.conf);
    dir_view_lookup(w.view, STR("a@x.test"), 2000, r);
    assert_int_equal(r->n_claims, 3);
    /* one address on two objects of one source: reported; the lower UUID first */
    assert_int_equal(r->found, DIR_CONFLICT);
    assert_non_null(strstr(r->conflict, "two objects"));
    assert_int_equal(r->claim[0].kind, DIR_CONTACT);
    assert_true(str_eq(r->claim[0].target, STR("o@other.test")));
    assert_ptr_equal(r->best, &r->claim[1]);
    assert_true(str_eq(r->best->primary, STR("Ann@x.test")));
    assert_true(str_eq(r->best->alias, STR("ann")));
    assert_true(str_eq(r->best->routing, STR("Ann@old.local")));
    assert_int_equal(r->claim[2].source, 1);
    assert_string_equal(dir_view_source_name(w.view, 1), "s2");
    assert_int_equal(dir_view_generation(w.view), 7);
    mem_free(r);
    world_end(&w);
}

static void test_override(void **state)
{
    (void)state;
    struct world w;
    struct dir_result *r = NEW(struct dir_result);
    world_begin(&w, BASE SOURCE("s1", "old", "1", "") SOURCE("s2", "new", "2", ""));
    replica_upsert(w.replica[0], model_entry(1, "mailbox a@x.test b@x.test c@new.local"));
    replica_upsert(w.replica[0], model_entry(2, "mailbox two@x.test"));
    replica_upsert(w.replica[0], model_entry(3, "contact q@x.test two@x.test q@new.local"));
    world_override(&w, "two@x.test", "new");
    world_override(&w, "a@x.test", "new");
    world_override(&w, "gone@x.test", "nowhere");
    world_override(&w, "only@x.test", "new");
    world_view(&w);
    dir_view_lookup(w.view, STR("a@x.test"), 2000, r);
    assert_string_equal(show(r), "found new override c@new.local");
    assert_int_equal(r->claim[0].source, DIR_SOURCE_OVERRIDES);
    assert_int_equal(r->n_claims, 2);
    dir_view_lookup(w.view, STR("b@x.test"), 2000, r); /* the person, not only the address */
    assert_string_equal(show(r), "found new override c@new.local");
    dir_view_lookup(w.view, STR("only@x.test"), 2000, r); /* in no directory */
    assert_string_equal(show(r), "found new override -");
    dir_view_lookup(w.view, STR("two@x.test"), 2000, r); /* not by another's routing address */
    assert_string_equal(show(r), "found new override -");
    dir_view_lookup(w.view, STR("gone@x.test"), 2000, r); /* a forest that is no more */
    assert_int_equal(r->found, DIR_NOT_FOUND_YET);
    mem_free(r);
    world_end(&w);
}

static void test_not_found(void **state)
{
    (void)state;
    struct world w;
    struct dir_result *r = NEW(struct dir_result);
    world_begin(&w, BASE SOURCE("s1", "old", "1", "stale_after = 10s")
                        SOURCE("s2", "new", "2", "stale_after = 0 domains = {\"x.test\"}"));
    world_view(&w);
    static const struct {
        const char *key;
        bool once[2];
        int64_t now;
        enum dir_found expected;
        const char *stale;
    } row[] = {
        {"a@x.test", {true, true}, 11000, DIR_NOT_FOUND, NULL},
        {"a@x.test", {true, true}, 11001, DIR_NOT_FOUND_YET, "s1"},
        {"a@x.test", {true, false}, 2000, DIR_NOT_FOUND_YET, "s2"},
        {"a@x.test", {false, true}, 2000, DIR_NOT_FOUND_YET, "s1"},
        {"a@y.test", {true, false}, 2000, DIR_NOT_FOUND, NULL}, /* s2 could not know it */
        {"a@y.test", {false, true}, 2000, DIR_NOT_FOUND_YET, "s1"},
    };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        atomic_store(&w.fresh[0]->since, 7); /* the view's generation */
        atomic_store(&w.fresh[0]->complete_once, row[i].once[0]);
        atomic_store(&w.fresh[1]->complete_once, row[i].once[1]);
        dir_view_lookup(w.view, str_c(row[i].key), row[i].now, r);
        assert_int_equal(r->found, row[i].expected);
        if (row[i].stale != NULL)
            assert_string_equal(r->stale_source, row[i].stale);
        assert_non_null(r->why);
        /* the same question about somebody who was found */
        r->n_claims = 0;
        r->stale_source = NULL;
        assert_int_equal(dir_view_is_current(w.view, str_c(row[i].key), row[i].now, r),
                         row[i].stale == NULL);
        assert_true(row[i].stale == NULL || strcmp(r->stale_source, row[i].stale) == 0);
    }
    atomic_store(&w.fresh[0]->since, 8); /* what became complete later is not in this view */
    atomic_store(&w.fresh[0]->complete_once, true);
    atomic_store(&w.fresh[1]->complete_once, true);
    dir_view_lookup(w.view, STR("a@x.test"), 2000, r);
    assert_int_equal(r->found, DIR_NOT_FOUND_YET);
    assert_string_equal(r->stale_source, "s1");
    atomic_store(&w.fresh[0]->since, 0);
    r->n_claims = 1; /* a source counts for what it says, whichever domains it is for */
    r->claim[0].source = 1;
    assert_true(dir_view_is_current(w.view, STR("a@y.test"), 2000, r));
    atomic_store(&w.fresh[1]->complete_once, false);
    assert_false(dir_view_is_current(w.view, STR("a@y.test"), 2000, r));
    world_end(&w);
    /* a domain that no source covers: 451, unless unknown recipients are forwarded anyway */
    world_begin(&w, BASE SOURCE("s1", "old", "1", "domains = {\"x.test\"}"));
    world_view(&w);
    dir_view_lookup(w.view, STR("a@y.test"), 2000, r);
    assert_int_equal(r->found, DIR_NOT_FOUND_YET);
    dir_view_lookup(w.view, STR("a@any.test"), 2000, r);
    assert_int_equal(r->found, DIR_NOT_FOUND);
    mem_free(r);
    world_end(&w);
}

/* Somebody new in a change that is held is not unknown, by whatever key one asks. */
static void test_held(void **state)
{
    (void)state;
    struct world w;
    static const struct {
        enum dir_key_type type;
        const char *key;
        enum dir_found expected;
    } row[] = {{DIR_KEY_X500, "/o=x/cn=a", DIR_NOT_FOUND_YET},
               {DIR_KEY_X500, "/o=x/cn=old", DIR_NOT_FOUND_YET},
               {DIR_KEY_CUSTOM, "7", DIR_NOT_FOUND_YET},
               {DIR_KEY_CUSTOM, "/o=x/cn=a", DIR_NOT_FOUND},
               {DIR_KEY_X500, "/o=x/cn=b", DIR_NOT_FOUND}};
    struct dir_result *r = NEW(struct dir_result);
    world_begin(&w, BASE SOURCE("s1", "old", "1", "") SOURCE("s2", "new", "2", ""));
    world_view(&w);
    world_put(&w, 1, 1, "mailbox a@x.test legacy=/o=x/cn=a x500=/o=x/cn=old key=7");
    replica_commit(w.replica[1], STR_NULL);
    w.view->source[1].held = stack_ref(replica_stack(w.replica[1]));
    dir_view_lookup(w.view, STR("a@x.test"), 2000, r);
    assert_int_equal(r->found, DIR_NOT_FOUND_YET);
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        dir_view_lookup_other(w.view, row[i].type, str_c(row[i].key), 2000, r);
        assert_int_equal(r->found, row[i].expected);
        if (r->found == DIR_NOT_FOUND_YET)
            assert_string_equal(r->stale_source, "s2");
    }
    mem_free(r);
    world_end(&w);
}

/* ---- the whole, with files ---- */

struct heard {
    pthread_mutex_t lock;
    pthread_cond_t more;
    unsigned n, n_keys;
    bool everything;
    uint64_t key[64];
};

static void hear(void *arg, const struct dir_change *c)
{
    struct heard *h = arg;
    pthread_mutex_lock(&h->lock);
    h->n++;
    h->everything = h->everything || c->everything;
    for (unsigned i = 0; i < c->n && h->n_keys < 64; i++)
        h->key[h->n_keys++] = c->key_hash[i];
    pthread_cond_signal(&h->more);
    pthread_mutex_unlock(&h->lock);
}

/* Under the lock. */
static bool has_key(const struct heard *h, const char *key)
{
    bool found = key == NULL;
    for (unsigned i = 0; i < h->n_keys; i++)
        found = found || h->key[i] == hash64(key, strlen(key));
    return found;
}

/* For so many times, and for the key if there is one. */
static void wait_for(struct heard *h, unsigned n, const char *key)
{
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 20;
    pthread_mutex_lock(&h->lock);
    while (h->n < n || !has_key(h, key))
        if (pthread_cond_timedwait(&h->more, &h->lock, &end) != 0)
            fail_msg("no change was heard of");
    pthread_mutex_unlock(&h->lock);
}

static void wait_heard(struct heard *h, unsigned n)
{
    wait_for(h, n, NULL);
}

/* One reading may be told of more than once: then the number of times says nothing. */
static void wait_key(struct heard *h, const char *key)
{
    wait_for(h, 0, key);
}

static bool heard_key(struct heard *h, const char *key)
{
    pthread_mutex_lock(&h->lock);
    bool found = has_key(h, key);
    pthread_mutex_unlock(&h->lock);
    return found;
}

static void forget(struct heard *h)
{
    pthread_mutex_lock(&h->lock);
    h->n_keys = 0;
    pthread_mutex_unlock(&h->lock);
}

static void put(const char *folder, const char *name, const char *text)
{
    char path[400];
    struct err e;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_true(file_replace(&file_real, path, text, strlen(text), 0600, &e));
}

static struct conf *file_conf(const char *folder, const char *more)
{
    char *text =
        mem_printf(BASE "source \"hr\" { type = ldif path = \"%s/hr.ldif\" forest = \"old\" "
                        "flag_attribute = \"ext1\" flag_values = {\"target = new\"} "
                        "mass_change_percent = 100 grace = 0 %s }\n",
                   folder, more);
    struct conf *c = world_conf(text);
    mem_free(text);
    return c;
}

/* What the source says of 100 people: some are missing, some are said otherwise. */
struct said {
    unsigned gone_from, gone_to, other_from, other_to;
    const char *other;
};

static void say(struct source *s, const struct said *x)
{
    struct err e;
    char text[200];
    replica_refresh_begin(s->replica);
    for (unsigned i = 0; i < 100; i++) {
        bool other = i >= x->other_from && i < x->other_to;
        snprintf(text, sizeof(text), "mailbox u%u@x.test%s", i, other ? x->other : " b@x.test");
        if (i < x->gone_from || i >= x->gone_to)
            assert_true(replica_upsert(s->replica, model_entry(i, text)));
    }
    assert_true(replica_refresh_end(s->replica, true, STR("c"), &e));
}

/* "" or why not */
static const char *accept_held(struct source *s)
{
    static struct err e;
    struct hold *h = source_accept(s, &e);
    if (h == NULL)
        return e.text;
    source_obey(s);
    bool applied = hold_is_applied(h);
    hold_unref(&h);
    return applied ? "" : "not applied";
}

/* What is accepted is what a person has seen, or less; the numbers alone do not tell. */
static void test_accept_what_was_shown(void **state)
{
    (void)state;
#define MOVED  " b@x.test flag=target"
#define MOVED2 " b@x.test flag=other"
    static const char changed[] = "it has changed since it was shown";
    static const struct {
        struct said shown, now;
        const char *expected;
    } row[] = {
        {{0, 40, 0, 0, ""}, {0, 40, 0, 0, ""}, ""},
        {{0, 40, 0, 0, ""}, {10, 40, 0, 0, ""}, ""},
        {{0, 40, 0, 0, ""}, {0, 41, 0, 0, ""}, "it has grown"},
        {{0, 40, 0, 0, ""}, {20, 60, 0, 0, ""}, changed},
        {{0, 40, 0, 0, ""}, {39, 41, 0, 0, ""}, changed},
        {{0, 0, 0, 40, MOVED}, {0, 0, 10, 40, MOVED}, ""},
        {{0, 0, 0, 40, MOVED}, {0, 0, 0, 40, MOVED2}, changed},
        {{0, 0, 0, 40, MOVED}, {0, 0, 0, 40, " flag=target"}, changed},
        {{0, 0, 0, 40, " flag=target"}, {0, 0, 0, 40, MOVED}, ""},
        {{0, 0, 0, 40, ""}, {0, 0, 1, 20, ""}, ""},
        {{0, 0, 0, 40, ""}, {0, 0, 20, 60, ""}, changed},
        {{0, 40, 40, 60, MOVED}, {0, 39, 39, 59, MOVED}, changed},
    };
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        const char *folder = model_folder();
        struct err e;
        struct conf *c = file_conf(folder, "mass_change_count = 5");
        struct directory *d = directory_open(c, folder, &e);
        assert_non_null(d);
        struct source *s = directory_source(d, STR("hr"));
        say(s, &(struct said){0});
        say(s, &row[i].shown);
        struct dir_pending *p = directory_pending(d, STR("hr"), &e);
        assert_non_null(p);
        dir_pending_free(&p);
        say(s, &row[i].now);
        const char *have = accept_held(s);
        if (row[i].expected[0] == 0 ? have[0] != 0 : strstr(have, row[i].expected) == NULL)
            fail_msg("row %u: %s", i, have);
        directory_close(&d);
        conf_unref(&c);
        model_remove_folder(folder);
    }
}

static enum dir_found look_in(const struct dir_view *v, const char *key, char *forest)
{
    struct dir_result *r = NEW(struct dir_result);
    dir_view_lookup(v, str_c(key), clock_mono_ms(), r);
    enum dir_found found = r->found;
    str_copy(r->best != NULL ? r->best->forest : STR("-"), forest, 64);
    mem_free(r);
    return found;
}

static enum dir_found look(struct directory *d, const char *key, char *forest)
{
    struct dir_view *v = directory_view(d);
    enum dir_found found = look_in(v, key, forest);
    dir_view_unref(&v);
    return found;
}

#define ANN "dn: cn=ann\nobjectClass: person\nmail: ann@x.test\n"
#define BOB "dn: cn=bob\nobjectClass: person\nmail: bob@x.test\n"

static void wait_state(struct directory *d, enum dir_source_state state)
{
    struct dir_source_status s;
    int64_t end = clock_mono_ms() + 20000;
    do {
        usleep(2000);
        assert_int_equal(directory_status(d, &s, 1), 1);
        if (clock_mono_ms() > end)
            fail_msg("state %s, not %s: %s", dir_source_state_text(s.state),
                     dir_source_state_text(state), s.last_error);
    } while (s.state != state);
}

static void test_files(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct heard h = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
    struct err e;
    char forest[64];
    struct conf *c = file_conf(folder, "");
    put(folder, "hr.ldif", ANN "\n" BOB);
    struct directory *d = directory_open(c, folder, &e);
    assert_non_null(d);
    directory_listen(d, hear, &h);
    assert_int_equal(look(d, "ann@x.test", forest), DIR_NOT_FOUND_YET);
    struct dir_view *before = directory_view(d);
    directory_start(d);
    wait_heard(&h, 1);
    wait_state(d, DIR_SOURCE_CURRENT);
    assert_int_equal(look_in(before, "ann@x.test", forest), DIR_NOT_FOUND_YET); /* still */
    dir_view_unref(&before);
    assert_int_equal(look(d, "ann@x.test", forest), DIR_FOUND);
    assert_int_equal(look(d, "eve@x.test", forest), DIR_NOT_FOUND);
    assert_true(heard_key(&h, "ann@x.test") && heard_key(&h, "bob@x.test"));

    forget(&h); /* a flip: only Ann is named */
    put(folder, "hr.ldif", ANN "ext1: target\n\n" BOB);
    wait_key(&h, "ann@x.test");
    assert_int_equal(look(d, "ann@x.test", forest), DIR_FOUND);
    assert_string_equal(forest, "new");
    assert_true(!heard_key(&h, "bob@x.test"));

    uint64_t generation = directory_generation(d);
    put(folder, "hr.ldif", ANN "ext1: target\n\n" BOB "oops\n"); /* changes nothing, in time */
    wait_state(d, DIR_SOURCE_FAILING);
    struct dir_source_status s;
    directory_status(d, &s, 1);
    assert_non_null(strstr(s.last_error, "hr.ldif: line 9: "));
    assert_int_equal(directory_generation(d), generation);
    assert_int_equal(look(d, "bob@x.test", forest), DIR_FOUND);

    forget(&h);
    put(folder, "hr.ldif", ANN "ext1: target\n"); /* good again; Bob is gone */
    wait_key(&h, "bob@x.test");
    assert_true(!heard_key(&h, "ann@x.test"));
    wait_state(d, DIR_SOURCE_CURRENT);
    assert_int_equal(look(d, "bob@x.test", forest), DIR_NOT_FOUND);

    assert_true(directory_set_override(d, STR("ann@x.test"), STR("old"), STR("me"), &e));
    look(d, "ann@x.test", forest);
    assert_string_equal(forest, "old");
    directory_close(&d);

    char path[400]; /* the next start: no file */
    snprintf(path, sizeof(path), "%s/hr.ldif", folder);
    unlink(path);
    d = directory_open(c, folder, &e);
    assert_non_null(d);
    assert_int_equal(look(d, "ann@x.test", forest), DIR_FOUND);
    assert_string_equal(forest, "old");
    assert_int_equal(look(d, "eve@x.test", forest), DIR_NOT_FOUND);
    assert_true(directory_unset_override(d, STR("ann@x.test"), STR("me"), &e));
    assert_false(directory_unset_override(d, STR("ann@x.test"), STR("me"), &e));
    look(d, "ann@x.test", forest);
    assert_string_equal(forest, "new");
    directory_close(&d);
    conf_unref(&c);
    model_remove_folder(folder);
}

/* Half a file at the first start: what it does not name yet is not unknown for good. */
static void test_half_file(void **state)
{
    (void)state;
    const char *folder = model_folder();
    char path[400], forest[64];
    struct err e;
    struct dir_source_status s;
    struct conf *c = file_conf(folder, "");
    snprintf(path, sizeof(path), "%s/hr.ldif", folder);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, ANN, strlen(ANN)), (ssize_t)strlen(ANN));
    struct directory *d = directory_open(c, folder, &e);
    assert_non_null(d);
    directory_start(d);
    for (int64_t end = clock_mono_ms() + 300; clock_mono_ms() < end; usleep(5000)) {
        directory_status(d, &s, 1);
        assert_int_equal(s.state, DIR_SOURCE_STARTING);
    }
    assert_int_equal(look(d, "bob@x.test", forest), DIR_NOT_FOUND_YET);
    assert_int_equal(write(fd, "\n" BOB, strlen("\n" BOB)), (ssize_t)strlen("\n" BOB));
    close(fd);
    wait_state(d, DIR_SOURCE_CURRENT);
    assert_int_equal(look(d, "bob@x.test", forest), DIR_FOUND);
    directory_close(&d);
    conf_unref(&c);
    model_remove_folder(folder);
}

/* The same with a time in the future, as another machine's clock may give it. */
static void test_half_file_of_tomorrow(void **state)
{
    (void)state;
    const char *folder = model_folder();
    char path[400], forest[64];
    struct err e;
    struct dir_source_status s;
    struct conf *c = file_conf(folder, "");
    snprintf(path, sizeof(path), "%s/hr.ldif", folder);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    const struct timespec tomorrow = {time(NULL) + 86400, 0}, times[2] = {tomorrow, tomorrow};
    assert_int_equal(write(fd, ANN "\n" BOB, strlen(ANN "\n" BOB)), (ssize_t)strlen(ANN "\n" BOB));
    assert_int_equal(futimens(fd, times), 0);
    struct directory *d = directory_open(c, folder, &e);
    assert_non_null(d);
    directory_start(d);
    for (int64_t end = clock_mono_ms() + 300; clock_mono_ms() < end; usleep(5000)) {
        directory_status(d, &s, 1);
        assert_int_equal(s.state, DIR_SOURCE_STARTING);
    }
    wait_state(d, DIR_SOURCE_CURRENT); /* nobody touches it for a while, though it is open */
    assert_int_equal(look(d, "bob@x.test", forest), DIR_FOUND);
    close(fd);
    directory_close(&d);
    conf_unref(&c);
    model_remove_folder(folder);
}

/* A disk or a file server that fails for a while. */
static _Atomic ino_t unreadable;

ssize_t pread(int fd, void *p, size_t n, off_t at)
{
    struct stat st;
    if (unreadable != 0 && fstat(fd, &st) == 0 && st.st_ino == unreadable) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, p, n, at);
}

static void test_unreadable_file(void **state)
{
    (void)state;
    const char *folder = model_folder();
    char path[400], forest[64];
    struct err e;
    struct stat st;
    struct conf *c = file_conf(folder, "");
    put(folder, "hr.ldif", ANN);
    snprintf(path, sizeof(path), "%s/hr.ldif", folder);
    assert_int_equal(stat(path, &st), 0);
    unreadable = st.st_ino;
    struct directory *d = directory_open(c, folder, &e);
    assert_non_null(d);
    directory_start(d);
    wait_state(d, DIR_SOURCE_FAILING);
    assert_int_equal(look(d, "bob@x.test", forest), DIR_NOT_FOUND_YET);
    unreadable = 0;
    wait_state(d, DIR_SOURCE_CURRENT); /* the file itself has not changed */
    assert_int_equal(look(d, "ann@x.test", forest), DIR_FOUND);
    directory_close(&d);
    conf_unref(&c);
    model_remove_folder(folder);
}

static void test_reload(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct heard h = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
    struct err e;
    char forest[64];
    struct conf *c = file_conf(folder, "");
    put(folder, "hr.ldif", ANN "ext1: target\n\n" BOB);
    struct directory *d = directory_open(c, folder, &e);
    directory_listen(d, hear, &h);
    directory_start(d);
    wait_state(d, DIR_SOURCE_CURRENT);
    conf_unref(&c);

    char *text =
        mem_printf(/* the flag means something else, the file is not read again for it */
                   BASE "source \"hr\" { type = ldif path = \"%s/hr.ldif\" forest = \"new\" "
                        "flag_attribute = \"ext1\" flag_values = {\"target = old\"} "
                        "mass_change_percent = 100 grace = 0 }\n",
                   folder);
    h.everything = false;
    c = world_conf(text);
    mem_free(text);
    directory_reload(d, c);
    conf_unref(&c);
    assert_true(h.everything);
    struct dir_source_status s[4];
    assert_int_equal(directory_status(d, s, 4), 1);
    assert_int_equal(s[0].state, DIR_SOURCE_CURRENT);
    assert_string_equal(s[0].forest, "new");
    look(d, "ann@x.test", forest);
    assert_string_equal(forest, "old");
    look(d, "bob@x.test", forest);
    assert_string_equal(forest, "new");

    put(folder, "more.ldif", "dn: cn=eve\nmail: eve@x.test\n"); /* one more, and one that changes */
    text = mem_printf(BASE
                      "source \"hr\" { type = ldif path = \"%s/hr.ldif\" forest = \"old\" "
                      "flag_attribute = \"ext2\" flag_values = {\"target = old\"} }\n"
                      "source \"more\" { type = ldif path = \"%s/more.ldif\" forest = \"new\" }\n",
                      folder, folder);
    c = world_conf(text);
    directory_reload(d, c);
    assert_int_equal(look(d, "bob@x.test", forest), DIR_FOUND); /* served all the time */
    int64_t end = clock_mono_ms() + 20000;
    do
        assert_true(directory_status(d, s, 4) == 2 && clock_mono_ms() < end);
    while (s[0].state != DIR_SOURCE_CURRENT || s[1].state != DIR_SOURCE_CURRENT);
    assert_int_equal(look(d, "eve@x.test", forest), DIR_FOUND);
    look(d, "ann@x.test", forest);
    assert_string_equal(forest, "old");
    conf_unref(&c);

    c = file_conf(folder, ""); /* and gone again */
    directory_reload(d, c);
    assert_int_equal(directory_status(d, s, 4), 1);
    wait_state(d, DIR_SOURCE_CURRENT);
    assert_int_equal(look(d, "eve@x.test", forest), DIR_NOT_FOUND);
    directory_close(&d);
    conf_unref(&c);
    mem_free(text);
    model_remove_folder(folder);
}

/* ---- readers beside writers ---- */

struct reader {
    struct directory *d;
    pthread_t thread;
    _Atomic bool stop;
    _Atomic unsigned lookups;
    unsigned wrong;
};

static void *read_on(void *arg)
{
    struct reader *x = arg;
    struct dir_result *r = NEW(struct dir_result);
    uint64_t newest = 0;
    while (!atomic_load(&x->stop)) {
        uint64_t before = directory_generation(x->d);
        struct dir_view *v = directory_view(x->d);
        x->wrong += dir_view_generation(v) < before || dir_view_generation(v) < newest;
        newest = dir_view_generation(v);
        dir_view_lookup(v, STR("ann@x.test"), clock_mono_ms(), r);
        x->wrong += r->found != DIR_FOUND; /* at no moment is she not there */
        dir_view_lookup(v, STR("bob@x.test"), clock_mono_ms(), r);
        dir_view_unref(&v);
        x->lookups++;
    }
    mem_free(r);
    return NULL;
}

static void test_readers(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct heard h = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};
    struct reader reader[2] = {0};
    struct err e;
    struct conf *c = file_conf(folder, ""), *other = file_conf(folder, "priority = 7");
    put(folder, "hr.ldif", ANN);
    struct directory *d = directory_open(c, folder, &e);
    directory_listen(d, hear, &h);
    directory_start(d);
    wait_heard(&h, 1);
    for (unsigned i = 0; i < 2; i++) {
        reader[i].d = d;
        assert_int_equal(pthread_create(&reader[i].thread, NULL, read_on, &reader[i]), 0);
    }
    for (unsigned i = 0; i < 30; i++) {
        pthread_mutex_lock(&h.lock);
        unsigned n = h.n;
        pthread_mutex_unlock(&h.lock);
        put(folder, "hr.ldif", i % 2 == 0 ? ANN "\n" BOB : ANN "ext1: target\n");
        assert_true(directory_set_override(d, STR("bob@x.test"), STR("new"), STR("t"), &e));
        if (i % 5 == 0)
            directory_reload(d, i % 10 == 0 ? other : c);
        wait_heard(&h, n + 2 + (i % 5 == 0));
    }
    for (unsigned i = 0; i < 2; i++) {
        while (atomic_load(&reader[i].lookups) == 0)
            sched_yield();
        atomic_store(&reader[i].stop, true);
        pthread_join(reader[i].thread, NULL);
        assert_int_equal(reader[i].wrong, 0);
    }
    directory_close(&d);
    conf_unref(&c);
    conf_unref(&other);
    model_remove_folder(folder);
}

int main(void)
{
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_ + 1); /* alarms are expected */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_override),
        cmocka_unit_test(test_not_found),
        cmocka_unit_test(test_held),
        cmocka_unit_test(test_accept_what_was_shown),
        cmocka_unit_test(test_half_file_of_tomorrow),
        cmocka_unit_test(test_unreadable_file),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_readers),
        cmocka_unit_test(test_half_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
