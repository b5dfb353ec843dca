/*
 * directory_damage_test.c - what a source keeps on disk, damaged in every way: cut at each section,
 * flipped in each, of another version or byte order. It is refused with a word that says what is
 * wrong, nothing of it is believed, and what the source tells again makes it whole.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "directory/replica.h"
#include "directory/table.h"
#include "tests/unit/directory_model.h"

#define ENTRIES 60

struct place {
    const char *folder;
    char snapshot[300], journal[300];
    struct buf good; /* the snapshot as it should be */
    unsigned changes;
};

static void published(void *arg, const struct replica_commit *c)
{
    struct place *p = arg;
    p->changes += c->n_entries != 0;
}

static struct replica *open_in(struct place *p, uint64_t verify_max)
{
    struct replica_options o = {.folder = p->folder,
                                .name = "t",
                                .verify_max = verify_max,
                                .mass_change_percent = 100,
                                .publish = published,
                                .arg = p};
    struct err e;
    struct replica *r = replica_open(&o, &e);
    if (r == NULL)
        fail_msg("%s", e.text);
    return r;
}

/* All that the source has. */
static void tell_all(struct replica *r)
{
    struct err e;
    char text[300];
    replica_refresh_begin(r);
    for (unsigned i = 0; i < ENTRIES; i++) {
        snprintf(text, sizeof(text),
                 "mailuser u%u@x.test v%u@d%u.test target=u%u@new.local alias=u%u flag=f%u "
                 "legacy=/o=x/cn=%u key=%u type=8 given=g display=d%u dn=cn=u%u,ou=%u,dc=x",
                 i, i, i % 7, i, i, i % 3, i, i, i, i, i % 5);
        assert_true(replica_upsert(r, model_entry(i + 1, text)));
    }
    assert_true(replica_refresh_end(r, true, STR("the cookie"), &e));
}

static bool finds_one(const struct replica *r)
{
    struct table_record rec[2];
    return stack_find_key(replica_stack(r), STR("v3@d3.test"), hash64("v3@d3.test", 10), rec, 2) ==
           1;
}

static bool is_whole(const struct replica *r)
{
    return replica_is_complete(r) && replica_entries(r) == ENTRIES &&
           str_eq(replica_cookie(r), STR("the cookie")) && finds_one(r);
}

static bool is_empty(const struct replica *r)
{
    return !replica_is_complete(r) && replica_entries(r) == 0 && replica_cookie(r).n == 0 &&
           replica_stack(r)->n == 0;
}

static void place_begin(struct place *p)
{
    struct err e;
    *p = (struct place){.folder = model_folder(), .good = BUF_INIT(1 << 20)};
    snprintf(p->snapshot, sizeof(p->snapshot), "%s/directory-t.snapshot", p->folder);
    snprintf(p->journal, sizeof(p->journal), "%s/directory-t.journal", p->folder);
    struct replica *r = open_in(p, 0);
    tell_all(r);
    replica_snapshot(r);
    replica_close(&r);
    assert_true(file_read_all(p->snapshot, &p->good, &e));
}

static void place_end(struct place *p)
{
    buf_free(&p->good);
    model_remove_folder(p->folder);
}

static void spill(const char *path, const void *data, size_t n)
{
    struct err e;
    assert_true(file_replace(&file_real, path, data, n, 0600, &e));
}

/* The damaged file is in place: it is refused with this word, and made whole again. */
static void check_refused(struct place *p, const char *word, const char *what, size_t at)
{
    struct err e;
    bool mapped = false;
    struct dir_table *t = table_open(p->snapshot, &e);
    if (t != NULL) { /* the damage is in a block, which is verified later */
        mapped = true;
        assert_false(table_verify(t, &e));
        table_unref(&t);
    }
    if (strstr(e.text, word) == NULL || e.class != ERR_CORRUPT)
        fail_msg("%s at %zu: \"%s\", without \"%s\"", what, at, e.text, word);
    p->changes = 0;
    struct replica *r = open_in(p, at % 2 == 0 ? 1 : 0); /* verified at once, or later */
    bool later = replica_is_unverified(r);
    assert_true(!later || mapped);
    if (later) {
        assert_false(finds_one(r)); /* not even before: each block is verified when it is read */
        assert_false(replica_settle(r));
        assert_int_equal(p->changes, 1); /* whoever believed it is told */
    }
    assert_true(is_empty(r));
    assert_int_not_equal(access(p->snapshot, F_OK), 0);
    tell_all(r);
    replica_snapshot(r);
    assert_true(is_whole(r));
    replica_close(&r);
    r = open_in(p, 0);
    assert_true(is_whole(r));
    replica_close(&r);
}

struct section {
    const char *name;
    uint64_t at, size;
};

static unsigned sections_of(const struct buf *image, struct section *out)
{
    struct table_header h;
    memcpy(&h, image->p, sizeof(h));
    const struct section all[] = {{"header", 0, sizeof(h)},
                                  {"strings", h.strings.at, h.strings.size},
                                  {"cookie", h.cookie.at, h.cookie.size},
                                  {"groups", h.groups.at, h.groups.size},
                                  {"keys", h.keys.at, h.keys.size},
                                  {"uuids", h.uuids.at, h.uuids.size},
                                  {"entries", h.entries.at, h.entries.size},
                                  {"sums", h.sums.at, h.sums.size}};
    memcpy(out, all, sizeof(all));
    for (unsigned i = 0; i < ARRAY_LEN(all); i++)
        assert_true(all[i].size != 0);
    return ARRAY_LEN(all);
}

static void test_cut(void **state)
{
    (void)state;
    struct place p;
    struct section s[8];
    place_begin(&p);
    unsigned n = sections_of(&p.good, s);
    for (unsigned i = 0; i < n; i++) {
        const size_t cut[] = {s[i].at, s[i].at + 1, s[i].at + s[i].size / 2,
                              s[i].at + s[i].size - 1};
        for (unsigned k = 0; k < ARRAY_LEN(cut); k++) {
            spill(p.snapshot, p.good.p, cut[k]);
            check_refused(&p, "cut short", s[i].name, cut[k]);
        }
    }
    struct buf longer = BUF_INIT(1 << 20);
    assert_true(buf_append(&longer, p.good.p, p.good.n) && buf_append_c(&longer, "more"));
    spill(p.snapshot, longer.p, longer.n);
    check_refused(&p, "too long", "end", longer.n);
    buf_free(&longer);
    place_end(&p);
}

static void test_flipped(void **state)
{
    (void)state;
    struct place p;
    struct section s[8];
    place_begin(&p);
    unsigned n = sections_of(&p.good, s);
    char *bad = mem_alloc(p.good.n);
    for (unsigned i = 0; i < n; i++)
        for (unsigned k = 0; k < 5; k++) {
            size_t at = s[i].at + (s[i].size - 1) * k / 4;
            memcpy(bad, p.good.p, p.good.n);
            bad[at] = (char)(bad[at] ^ 1 << k);
            spill(p.snapshot, bad, p.good.n);
            check_refused(&p, at < 8 ? "not a directory table" : "", s[i].name, at);
        }
    mem_free(bad);
    place_end(&p);
}

static void test_other_origin(void **state)
{
    (void)state;
    struct place p;
    struct table_header h;
    place_begin(&p);
    memcpy(&h, p.good.p, sizeof(h));
    const struct {
        uint32_t version, byte_order;
        const char *word;
    } row[] = {
        {2, h.byte_order, "in format version 2; this program reads version 3"},
        {4, h.byte_order, "in format version 4; this program reads version 3"},
        {__builtin_bswap32(3), __builtin_bswap32(h.byte_order), "another byte order"},
    };
    for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
        h.version = row[i].version;
        h.byte_order = row[i].byte_order;
        memcpy(p.good.p, &h, sizeof(h));
        spill(p.snapshot, p.good.p, p.good.n);
        check_refused(&p, row[i].word, "origin", i);
    }
    place_end(&p);
}

/* A journal: whatever of it is not whole is dropped, and the rest counts. */
static void test_journal(void **state)
{
    (void)state;
    struct place p;
    struct err e;
    struct buf good = BUF_INIT(1 << 20);
    place_begin(&p);
    struct replica *r = open_in(&p, 0);
    for (unsigned i = 0; i < 3; i++) {
        char text[40];
        snprintf(text, sizeof(text), "mailbox new%u@x.test", i);
        replica_upsert(r, model_entry(100 + i, text));
        replica_commit(r, i < 2 ? STR("a later cookie") : STR("the last cookie"));
    }
    replica_close(&r);
    assert_true(file_read_all(p.journal, &good, &e));
    for (size_t at = 0; at < good.n; at += good.n / 61) {
        good.p[at] = (char)(good.p[at] ^ 0x10);
        spill(p.journal, good.p, good.n);
        good.p[at] = (char)(good.p[at] ^ 0x10);
        r = open_in(&p, 0);
        uint64_t have = replica_entries(r);
        assert_true(have >= ENTRIES && have < ENTRIES + 3);
        assert_false(str_eq(replica_cookie(r), STR("the last cookie")));
        assert_true(replica_is_complete(r));
        replica_upsert(r, model_entry(102, "mailbox new2@x.test"));
        replica_commit(r, STR("asked again"));
        replica_close(&r);
        r = open_in(&p, 0);
        assert_int_equal(replica_entries(r), have + 1);
        assert_true(str_eq(replica_cookie(r), STR("asked again")));
        replica_close(&r);
    }
    buf_free(&good);
    place_end(&p);
}

int main(void)
{
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_ + 1); /* the files are damaged on purpose */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_flipped),
        cmocka_unit_test(test_other_origin),
        cmocka_unit_test(test_journal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
