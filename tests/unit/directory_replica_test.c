/*
 * directory_replica_test.c - replicas against a simple model: random changes, refreshes, restarts
 * and crashes; the journal cut at every octet; every file operation failing in turn; what a commit
 * says has changed; mass changes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "directory/replica.h"
#include "tests/unit/directory_model.h"

#define IDS    60
#define LOCALS 40

static uint64_t dice_state = 88172645463325252u;

static unsigned dice(unsigned below)
{
    dice_state ^= dice_state << 13;
    dice_state ^= dice_state >> 7;
    dice_state ^= dice_state << 17;
    return (unsigned)(dice_state >> 33) % below;
}

/* ---- what is published ---- */

struct heard {
    unsigned commits, entries, keys;
    bool everything;
    uint64_t key[512];
};

static void hear(void *arg, const struct replica_commit *c)
{
    struct heard *h = arg;
    h->commits += c->n_entries != 0;
    h->entries += c->n_entries;
    h->everything = h->everything || c->everything;
    for (unsigned i = 0; i < c->n_keys && h->keys < 512; i++)
        h->key[h->keys++] = c->key_hash[i];
}

static bool heard_key(const struct heard *h, const char *key)
{
    for (unsigned i = 0; i < h->keys; i++)
        if (h->key[i] == hash64(key, strlen(key)))
            return true;
    return false;
}

static struct replica *open_with(const char *folder, struct heard *h, const struct file_ops *ops,
                                 uint64_t id)
{
    struct replica_options o = {.folder = folder,
                                .name = "t",
                                .ops = ops,
                                .source_id = id,
                                .mass_change_percent = 25,
                                .publish = hear,
                                .arg = h};
    struct err e;
    return replica_open(&o, &e);
}

/* ---- the model ---- */

struct model {
    char text[IDS][200]; /* "" = no such entry */
};

static void random_text(char *out, size_t cap)
{
    static const char *const kind[] = {"mailbox", "mailuser", "contact", "group"};
    static const char *const more[] = {"", " flag=target", " target=t@new.test", " alias=al"};
    unsigned used[4], n = 1 + dice(3);
    size_t at = (size_t)snprintf(out, cap, "%s", kind[dice(4)]);
    for (unsigned i = 0; i < n; i++) {
        used[i] = dice(LOCALS);
        bool twice = false;
        for (unsigned k = 0; k < i; k++)
            twice = twice || used[k] == used[i];
        if (!twice)
            at += (size_t)snprintf(out + at, cap - at, " l%u@d%u.test", used[i], used[i] % 3);
    }
    snprintf(out + at, cap - at, "%s", more[dice(4)]);
}

static bool text_has_key(const char *text, const char *key)
{
    struct dir_entry *e = text[0] != '\0' ? model_entry(0, text) : NULL;
    char have[600];
    for (unsigned i = 0; e != NULL && i < e->n_address; i++)
        if (str_eq(dir_address_key(&e->address[i], have), str_c(key)))
            return true;
    return false;
}

static void compare(const struct replica *r, const struct model *m)
{
    struct dir_entry_room *room = mem_alloc(sizeof(*room));
    const struct dir_stack *s = replica_stack(r);
    uint64_t entries = 0, addresses = 0;
    for (unsigned id = 0; id < IDS; id++) {
        struct table_record rec;
        struct dir_entry e;
        unsigned char uuid[DIR_UUID_SIZE];
        model_uuid(id, uuid);
        assert_int_equal(stack_find_uuid(s, uuid, &rec), m->text[id][0] != '\0');
        if (m->text[id][0] == '\0')
            continue;
        assert_true(table_record_decode(&rec, room, &e));
        assert_true(dir_entry_equal(&e, model_entry(id, m->text[id])));
        entries++;
        addresses += e.n_address;
    }
    assert_int_equal(replica_entries(r), entries);
    assert_int_equal(replica_addresses(r), addresses);
    for (unsigned l = 0; l < LOCALS; l++) {
        char key[40];
        struct table_record found[IDS];
        snprintf(key, sizeof(key), "l%u@d%u.test", l, l % 3);
        unsigned n = stack_find_key(s, str_c(key), hash64(key, strlen(key)), found, IDS), want = 0;
        for (unsigned id = 0; id < IDS; id++)
            if (text_has_key(m->text[id], key)) {
                assert_true(want < n); /* both are in the order of the UUIDs */
                assert_int_equal(table_record_uuid(&found[want++])[3], id);
            }
        assert_int_equal(n, want);
    }
    mem_free(room);
}

static void change_one(struct replica *r, struct model *m, unsigned id)
{
    if (dice(4) == 0) {
        unsigned char uuid[DIR_UUID_SIZE];
        model_uuid(id, uuid);
        replica_delete(r, uuid);
        m->text[id][0] = '\0';
    } else {
        random_text(m->text[id], sizeof(m->text[id]));
        assert_true(replica_upsert(r, model_entry(id, m->text[id])));
    }
}

/* A refresh that names what is there, changed or not; `named` ends it without deletions. */
static void refresh(struct replica *r, struct model *m, struct str cookie)
{
    struct err e;
    replica_refresh_begin(r);
    for (unsigned id = 0; id < IDS; id++) {
        unsigned char uuid[DIR_UUID_SIZE];
        model_uuid(id, uuid);
        if (dice(12) == 0)
            m->text[id][0] = '\0';
        else if (dice(10) == 0)
            random_text(m->text[id], sizeof(m->text[id]));
        else if (m->text[id][0] != '\0' && dice(2) == 0) {
            replica_present(r, uuid);
            continue;
        }
        if (m->text[id][0] != '\0')
            replica_upsert(r, model_entry(id, m->text[id]));
    }
    assert_true(replica_refresh_end(r, true, cookie, &e));
}

static void test_model(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 8; round++) {
        const char *folder = model_folder();
        struct model committed = {0}, now;
        struct heard h = {0};
        struct replica_options o = {
            .folder = folder, .name = "t", .mass_change_percent = 100, .publish = hear, .arg = &h};
        struct err e;
        char cookie[20] = "";
        struct replica *r = replica_open(&o, &e);
        now = committed;
        for (unsigned step = 0; step < 300; step++) {
            unsigned what = dice(100);
            if (what < 70) {
                change_one(r, &now, dice(IDS));
            } else if (what < 90) {
                snprintf(cookie, sizeof(cookie), "c%u", step);
                replica_commit(r, str_c(cookie));
                committed = now;
            } else if (what < 94) {
                now = committed;
                snprintf(cookie, sizeof(cookie), "r%u", step);
                refresh(r, &now, str_c(cookie));
                committed = now;
            } else if (what < 97) {
                replica_abort(r);
                now = committed;
            } else { /* as after a crash: what was not committed is gone */
                replica_close(&r);
                r = replica_open(&o, &e);
                assert_non_null(r);
                now = committed;
                assert_true(str_eq(replica_cookie(r), str_c(cookie)));
            }
            if (what >= 70)
                compare(r, &committed);
        }
        replica_close(&r);
        model_remove_folder(folder);
    }
}

/* ---- what a commit says ---- */

static void test_changes(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct heard h = {0};
    struct replica *r = open_with(folder, &h, NULL, 1);
    unsigned char uuid[DIR_UUID_SIZE];
    replica_upsert(r, model_entry(1, "mailbox a@x.test b@x.test"));
    replica_upsert(r, model_entry(2, "mailbox c@x.test"));
    replica_commit(r, STR("1"));
    assert_int_equal(h.keys, 3);
    h = (struct heard){0};
    replica_upsert(r, model_entry(1, "mailbox a@x.test b@x.test")); /* nothing new */
    replica_upsert(r, model_entry(2, "mailbox c@x.test flag=x"));   /* there */
    replica_upsert(r, model_entry(2, "mailbox c@x.test"));          /* and back */
    model_uuid(3, uuid);
    replica_delete(r, uuid); /* was never there */
    assert_int_equal(replica_batch(r), 0);
    replica_commit(r, STR("2"));
    assert_int_equal(h.commits, 0);
    assert_true(str_eq(replica_cookie(r), STR("2"))); /* the cookie is kept all the same */
    replica_upsert(r, model_entry(1, "mailbox a@x.test z@x.test"));
    replica_commit(r, STR_NULL);
    assert_int_equal(h.commits, 1);
    assert_int_equal(h.entries, 1);
    assert_true(heard_key(&h, "b@x.test") && heard_key(&h, "z@x.test"));
    assert_false(heard_key(&h, "c@x.test"));
    h = (struct heard){0};
    model_uuid(2, uuid);
    replica_delete(r, uuid);
    replica_commit(r, STR_NULL);
    assert_int_equal(h.keys, 1);
    assert_true(heard_key(&h, "c@x.test"));
    replica_close(&r);
    model_remove_folder(folder);
}

static void add_many(struct replica *r, unsigned from, unsigned to, const char *more)
{
    char text[100];
    for (unsigned i = from; i < to; i++) {
        snprintf(text, sizeof(text), "mailbox u%u@x.test%s", i, more);
        assert_true(replica_upsert(r, model_entry(i, text)));
    }
}

static void test_mass_change(void **state)
{
    (void)state;
    static const struct {
        unsigned keep, moved; /* of 100 */
        bool applied;
    } row[] = {{100, 0, true},   {75, 0, true},   {74, 0, false}, {100, 25, true},
               {100, 26, false}, {80, 10, false}, {0, 0, false}};
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        const char *folder = model_folder();
        struct heard h = {0};
        struct err e;
        struct replica *r = open_with(folder, &h, NULL, 1);
        replica_refresh_begin(r);
        add_many(r, 0, 100, "");
        assert_true(replica_refresh_end(r, true, STR("1"), &e));
        assert_true(replica_is_complete(r));
        h = (struct heard){0};
        replica_refresh_begin(r);
        add_many(r, 0, row[i].moved, " flag=target");
        add_many(r, row[i].moved, row[i].keep, "");
        bool ended = replica_refresh_end(r, true, STR("2"), &e);
        bool applied = ended && replica_hold(r) == NULL;
        assert_int_equal(applied, row[i].applied);
        assert_true(str_eq(replica_cookie(r), applied ? STR("2") : STR("1")));
        if (!applied) {
            assert_true(ended);
            assert_int_equal(h.commits, 0);
            assert_int_equal(replica_entries(r), 100);
        }
        replica_close(&r);
        model_remove_folder(folder);
    }
}

/* An interrupted refresh deletes nothing; without a cookie and complete only at the end. */
static void test_partial(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct heard h = {0};
    struct err e;
    struct replica *r = open_with(folder, &h, NULL, 1);
    replica_refresh_begin(r);
    add_many(r, 0, 9000, "");
    assert_int_equal(replica_entries(r), 8192); /* usable before the end */
    assert_false(replica_is_complete(r));
    replica_close(&r);
    r = open_with(folder, &h, NULL, 1);
    assert_int_equal(replica_entries(r), 8192);
    assert_false(replica_is_complete(r));
    assert_int_equal(replica_cookie(r).n, 0);
    replica_refresh_begin(r);
    add_many(r, 5, 9000, "");
    assert_true(replica_refresh_end(r, true, STR("c"), &e));
    assert_int_equal(replica_entries(r), 8995);
    replica_refresh_begin(r); /* later ones are all or nothing */
    add_many(r, 5, 10, " flag=x");
    replica_abort(r);
    assert_int_equal(replica_entries(r), 8995);
    assert_true(str_eq(replica_cookie(r), STR("c")));
    replica_close(&r);
    r = open_with(folder, &h, NULL, 2); /* asks for something else now */
    assert_false(replica_is_complete(r));
    assert_int_equal(replica_cookie(r).n, 0);
    assert_int_equal(replica_entries(r), 8995); /* and serves on */
    replica_refresh_begin(r);
    add_many(r, 5, 9000, "");
    assert_true(replica_refresh_end(r, true, STR("d"), &e));
    assert_true(replica_is_complete(r));
    replica_close(&r);
    model_remove_folder(folder);
}

/* ---- files ---- */

static size_t slurp(const char *path, unsigned char *out, size_t cap)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t n = read(fd, out, cap);
    close(fd);
    assert_true(n >= 0 && (size_t)n < cap);
    return (size_t)n;
}

static void spill(const char *path, const unsigned char *p, size_t n)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), (ssize_t)n);
    close(fd);
}

/* Whatever the journal is cut to: one of the commits, with its own cookie, and work goes on. */
static void test_journal_cuts(void **state)
{
    (void)state;
    const char *folder = model_folder();
    static unsigned char file[65536];
    struct heard h = {0};
    char path[300], text[60], cookie[8];
    struct replica *r = open_with(folder, &h, NULL, 1);
    for (unsigned i = 1; i <= 4; i++) {
        snprintf(text, sizeof(text), "mailbox a%u@x.test", i);
        snprintf(cookie, sizeof(cookie), "%u", i);
        replica_upsert(r, model_entry(i, text));
        replica_commit(r, str_c(cookie));
    }
    replica_close(&r);
    snprintf(path, sizeof(path), "%s/directory-t.journal", folder);
    size_t n = slurp(path, file, sizeof(file));
    uint64_t before = 0;
    for (size_t cut = 0; cut < n; cut += cut % 7 == 0 ? 1 : 3) {
        spill(path, file, cut);
        r = open_with(folder, &h, NULL, 1);
        assert_non_null(r);
        uint64_t have = replica_entries(r);
        assert_true(have >= before && have <= 4);
        before = have;
        snprintf(cookie, sizeof(cookie), "%llu", (unsigned long long)have);
        assert_true(str_eq(replica_cookie(r), have != 0 ? str_c(cookie) : STR("")));
        replica_upsert(r, model_entry(9, "mailbox z@x.test"));
        replica_commit(r, STR("z"));
        replica_close(&r);
        r = open_with(folder, &h, NULL, 1);
        assert_int_equal(replica_entries(r), have + 1);
        replica_close(&r);
    }
    assert_int_equal(before, 3);
    for (size_t at = 0; at < n; at += 5) { /* a flipped bit ends it there */
        file[at] ^= 1;
        spill(path, file, n);
        r = open_with(folder, &h, NULL, 1);
        assert_true(replica_entries(r) <= 4);
        replica_close(&r);
        file[at] ^= 1;
    }
    model_remove_folder(folder);
}

/* A journal never applies to another snapshot than its own. */
static void test_foreign_journal(void **state)
{
    (void)state;
    const char *folder = model_folder();
    static unsigned char file[65536];
    struct heard h = {0};
    char path[300], snapshot[300];
    struct err e;
    snprintf(path, sizeof(path), "%s/directory-t.journal", folder);
    snprintf(snapshot, sizeof(snapshot), "%s/directory-t.snapshot", folder);
    struct replica *r = open_with(folder, &h, NULL, 1);
    replica_refresh_begin(r);
    replica_upsert(r, model_entry(1, "mailbox a@x.test"));
    assert_true(replica_refresh_end(r, true, STR("1"), &e));
    size_t n = slurp(path, file, sizeof(file));
    replica_refresh_begin(r);
    add_many(r, 100, 66000, ""); /* one commit, enough for a snapshot */
    assert_true(replica_refresh_end(r, true, STR("2"), &e));
    assert_int_equal(access(snapshot, F_OK), 0);
    assert_true(replica_stack(r)->has_base);
    replica_close(&r);
    r = open_with(folder, &h, NULL, 1);
    assert_int_equal(replica_entries(r), 65900);
    assert_true(str_eq(replica_cookie(r), STR("2")));
    replica_close(&r);
    spill(path, file, n); /* as if we had died between snapshot and emptying the journal */
    r = open_with(folder, &h, NULL, 1);
    assert_int_equal(replica_entries(r), 65900);
    replica_close(&r);
    unlink(snapshot);
    r = open_with(folder, &h, NULL, 1);
    assert_int_equal(replica_entries(r), 0);
    assert_false(replica_is_complete(r));
    replica_close(&r);
    model_remove_folder(folder);
}

static void test_damaged_snapshot(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct heard h = {0};
    struct err e;
    char snapshot[300];
    unsigned char octet;
    snprintf(snapshot, sizeof(snapshot), "%s/directory-t.snapshot", folder);
    for (unsigned large = 0; large < 2; large++) {
        struct replica_options o = {.folder = folder,
                                    .name = "t",
                                    .verify_max = large ? 1 : 0,
                                    .mass_change_percent = 25,
                                    .publish = hear,
                                    .arg = &h};
        struct replica *r = replica_open(&o, &e);
        replica_refresh_begin(r);
        add_many(r, 0, 66000, "");
        assert_true(replica_refresh_end(r, true, STR("2"), &e));
        replica_tick(r); /* writes the snapshot */
        replica_close(&r);
        int fd = open(snapshot, O_RDWR);
        off_t at = lseek(fd, 0, SEEK_END) / 2;
        assert_int_equal(pread(fd, &octet, 1, at), 1);
        octet ^= 0x40;
        assert_int_equal(pwrite(fd, &octet, 1, at), 1);
        close(fd);
        h = (struct heard){0};
        r = replica_open(&o, &e);
        assert_non_null(r);
        assert_int_equal(replica_is_unverified(r), large);
        assert_int_equal(replica_settle(r), !large); /* a small one was refused on opening */
        assert_int_equal(h.everything, large);
        assert_int_equal(replica_entries(r), 0);
        assert_false(replica_is_complete(r));
        assert_int_equal(replica_cookie(r).n, 0);
        replica_close(&r);
    }
    model_remove_folder(folder);
}

static unsigned count_living(const struct replica *r)
{
    struct stack_cursor c = {0};
    struct table_record rec;
    unsigned n = 0;
    while (stack_next(replica_stack(r), &c, &rec))
        n++;
    return n;
}

static bool has_address_of(const struct replica *r, const char *key)
{
    struct table_record rec;
    return stack_find_key(replica_stack(r), str_c(key), hash64(key, strlen(key)), &rec, 1) != 0;
}

/* A first sync is published in parts, each as large as all before it, and nothing older is looked
 * for, until something comes that was there before: in a part, or not yet published. */
static void test_first_sync_in_parts(void **state)
{
    (void)state;
    for (unsigned again = 0; again < 2; again++) {
        const char *folder = model_folder();
        struct heard h = {0};
        struct err e;
        unsigned char uuid[DIR_UUID_SIZE];
        struct replica *r = open_with(folder, &h, NULL, 1);
        replica_refresh_begin(r);
        model_uuid(30000, uuid);
        replica_delete(r, uuid); /* an object without an address */
        add_many(r, 0, 20000, "");
        assert_int_equal(h.commits, 3); /* 4096, 4096 more, 8192 more */
        assert_int_equal(replica_entries(r), 16384);
        assert_int_equal(replica_batch(r), 20000 - 16384);
        assert_false(replica_is_complete(r));
        if (again) {
            replica_upsert(r, model_entry(5, "mailbox new5@x.test"));
            replica_upsert(r, model_entry(19000, "mailbox new19000@x.test"));
            replica_upsert(r, model_entry(6, "mailbox u6@x.test"));
            model_uuid(7, uuid);
            replica_delete(r, uuid);
            model_uuid(19001, uuid);
            replica_delete(r, uuid);
        }
        add_many(r, 20000, 21000, "");
        assert_true(replica_refresh_end(r, true, STR("1"), &e));
        assert_true(replica_is_complete(r));
        for (unsigned opened = 0; opened < 2; opened++) {
            unsigned want = again ? 20998 : 21000;
            assert_int_equal(replica_entries(r), want);
            assert_int_equal(replica_addresses(r), want);
            assert_int_equal(count_living(r), want);
            assert_int_equal(has_address_of(r, "new5@x.test"), again);
            assert_int_equal(has_address_of(r, "new19000@x.test"), again);
            assert_int_equal(has_address_of(r, "u5@x.test"), !again);
            assert_int_equal(has_address_of(r, "u7@x.test"), !again);
            assert_int_equal(has_address_of(r, "u19000@x.test"), !again);
            assert_int_equal(has_address_of(r, "u19001@x.test"), !again);
            assert_true(has_address_of(r, "u6@x.test"));
            assert_true(has_address_of(r, "u20999@x.test"));
            if (opened == 0 && again)
                replica_tick(r); /* once by its snapshot, once by the journal alone */
            replica_close(&r);
            r = open_with(folder, &h, NULL, 1);
            assert_int_equal(replica_stack(r)->has_base, again);
        }
        replica_close(&r);
        model_remove_folder(folder);
    }
}

/* What cannot be read now is not damaged: opening fails and touches nothing. */
static void test_no_descriptors(void **state)
{
    (void)state;
    const char *folder = model_folder();
    struct heard h = {0};
    struct err e;
    struct rlimit old, none;
    struct replica *r = open_with(folder, &h, NULL, 1);
    replica_refresh_begin(r);
    add_many(r, 0, 66000, "");
    assert_true(replica_refresh_end(r, true, STR("2"), &e));
    replica_close(&r);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    r = open_with(folder, &h, NULL, 1);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_null(r);
    r = open_with(folder, &h, NULL, 1);
    assert_non_null(r);
    assert_int_equal(replica_entries(r), 66000);
    assert_true(replica_is_complete(r));
    replica_close(&r);
    model_remove_folder(folder);
}

/* ---- failing file operations ---- */

static unsigned ops_left;

static bool op_fails(void)
{
    if (ops_left == 0)
        return false;
    if (--ops_left != 0)
        return false;
    errno = EIO;
    return true;
}
static int f_open(const char *path, int flags, mode_t mode)
{
    return op_fails() ? -1 : file_real.open(path, flags, mode);
}
static ssize_t f_pwritev(int fd, const struct iovec *iov, int n, off_t off)
{
    return op_fails() ? -1 : file_real.pwritev(fd, iov, n, off);
}
static ssize_t f_pread(int fd, void *p, size_t n, off_t off)
{
    return op_fails() ? -1 : file_real.pread(fd, p, n, off);
}
static int f_fdatasync(int fd)
{
    return op_fails() ? -1 : file_real.fdatasync(fd);
}
static int f_fsync(int fd)
{
    return op_fails() ? -1 : file_real.fsync(fd);
}
static int f_ftruncate(int fd, off_t size)
{
    return op_fails() ? -1 : file_real.ftruncate(fd, size);
}
static int f_rename(const char *from, const char *to)
{
    return op_fails() ? -1 : file_real.rename(from, to);
}

/* Each operation fails once: what is published is right at once, and after a restart there is some
 * earlier commit with its own cookie. */
static void test_failing_files(void **state)
{
    (void)state;
    struct file_ops ops = file_real;
    ops.open = f_open;
    ops.pwritev = f_pwritev;
    ops.fdatasync = f_fdatasync;
    ops.fsync = f_fsync;
    ops.ftruncate = f_ftruncate;
    ops.rename = f_rename;
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_ + 1);
    for (unsigned fail_at = 1; fail_at < 24; fail_at++) {
        const char *folder = model_folder();
        struct heard h = {0};
        char text[40], cookie[8];
        ops_left = fail_at;
        struct replica *r = open_with(folder, &h, &ops, 1);
        for (unsigned i = 1; r != NULL && i <= 6; i++) {
            snprintf(text, sizeof(text), "mailbox a%u@x.test", i);
            snprintf(cookie, sizeof(cookie), "%u", i);
            replica_upsert(r, model_entry(i, text));
            replica_commit(r, str_c(cookie));
            assert_int_equal(replica_entries(r), i);
        }
        ops_left = 0;
        replica_close(&r);
        r = open_with(folder, &h, NULL, 1);
        assert_non_null(r);
        snprintf(cookie, sizeof(cookie), "%llu", (unsigned long long)replica_entries(r));
        assert_true(replica_entries(r) == 0 || str_eq(replica_cookie(r), str_c(cookie)));
        for (unsigned i = 1; i <= replica_entries(r); i++) {
            struct table_record rec;
            unsigned char uuid[DIR_UUID_SIZE];
            model_uuid(i, uuid);
            assert_true(stack_find_uuid(replica_stack(r), uuid, &rec));
        }
        replica_close(&r);
        model_remove_folder(folder);
    }
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_);
}

/* A journal that cannot be read is not cut: each reading fails once. */
static void test_failing_reads(void **state)
{
    (void)state;
    struct file_ops ops = file_real;
    ops.pread = f_pread;
    const char *folder = model_folder();
    struct heard h = {0};
    char text[40];
    struct replica *r = open_with(folder, &h, NULL, 1);
    for (unsigned i = 1; i <= 6; i++) {
        snprintf(text, sizeof(text), "mailbox a%u@x.test", i);
        replica_upsert(r, model_entry(i, text));
        replica_commit(r, STR("c"));
    }
    replica_close(&r);
    unsigned failed = 0;
    for (unsigned fail_at = 1; fail_at < 30; fail_at++) {
        ops_left = fail_at;
        r = open_with(folder, &h, &ops, 1);
        failed += r == NULL;
        ops_left = 0;
        replica_close(&r);
        r = open_with(folder, &h, NULL, 1);
        assert_non_null(r);
        assert_int_equal(replica_entries(r), 6);
        replica_close(&r);
    }
    assert_true(failed > 6 && failed < 29); /* the loop saw every reading */
    model_remove_folder(folder);
}

int main(void)
{
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_changes),
        cmocka_unit_test(test_mass_change),
        cmocka_unit_test(test_partial),
        cmocka_unit_test(test_journal_cuts),
        cmocka_unit_test(test_foreign_journal),
        cmocka_unit_test(test_damaged_snapshot),
        cmocka_unit_test(test_first_sync_in_parts),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_failing_files),
        cmocka_unit_test(test_failing_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
