/*
 * spool_crash_test.c - a chain of crashes. In each round the spool is opened on what the last crash
 * left, recovered and compared with what its user knew at that moment; then it works (appends,
 * marks, reports, large messages, with compaction always eager) until an operation chosen at
 * random, at which the disk is laid down as after kill -9 or a power failure, and the next round
 * begins from there. That includes crashes in recovery and in closing. In half of the rounds one
 * operation fails as well, and in half of them one read.
 *
 * SPOOL_CRASH_ROUNDS and SPOOL_CRASH_SEED make it longer or different.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "relay/spool/spool_int.h"
#include "tests/unit/simdisk.h"
#include "tests/unit/spool_help.h"

#define RCPTS 5u
#define MOST  4000u

enum fate {
    SENT,
    ACKED,
    REFUSED
};
/* What the user knows of one message. */
struct known {
    uint64_t id;
    enum fate fate;
    uint32_t n_rcpt;
    size_t size;
    uint64_t done[RCPTS]; /* number of the mark that was sent, 0 = none */
    uint64_t about;       /* a report: the message and recipient it ends */
    uint32_t about_rcpt;
    uint64_t hold_mark; /* number of the last hold or release */
    bool held;          /* by the last one */
    bool held_before;   /* as of the last that was surely on disk */
};
struct knowledge {
    struct known v[MOST];
    size_t n;
    uint64_t marks;   /* sent */
    uint64_t on_disk; /* marks up to this are on disk for sure */
};

static struct knowledge now, then; /* `then` is as of the crash */
static pthread_mutex_t know = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool crashed;
static bool power;
static char next_dir[300];
static uint64_t rng;

static uint64_t rnd(uint64_t below)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (rng >> 11) % below;
}

static struct known *known_find(struct knowledge *k, uint64_t id)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->v[i].id == id)
            return &k->v[i];
    return NULL;
}

/* Inside an operation of the disk. */
static void crash(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&know);
    then = now;
    pthread_mutex_unlock(&know);
    sim_lay_down(next_dir, power);
    atomic_store(&crashed, true);
}

#define CHECK(cond, m)                                                                             \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "broken: %s (message %llx)\n", #cond, (unsigned long long)(m)->id);    \
            return false;                                                                          \
        }                                                                                          \
    } while (0)

static bool check_one(struct rig *r, struct known *m, const struct seen *x, uint64_t on_disk)
{
    bool all_sent = true, all_on_disk = true;
    if (m->fate == REFUSED) {
        CHECK(x == NULL, m);
        return true;
    }
    for (uint32_t i = 0; i < m->n_rcpt; i++) {
        bool done = x != NULL && (x->done[0] >> i & 1) != 0;
        bool sure = m->done[i] != 0 && m->done[i] <= on_disk;
        CHECK(!done || m->done[i] != 0, m);
        CHECK(x == NULL || !sure || done || m->n_rcpt == 1, m);
        all_sent &= m->done[i] != 0;
        all_on_disk &= sure;
    }
    if (m->fate == ACKED)
        CHECK(x != NULL || all_sent, m);
    CHECK(x == NULL || !all_on_disk, m);
    if (x == NULL)
        return true;
    CHECK(x->n_rcpt == m->n_rcpt && x->size == m->size, m);
    if (m->hold_mark <= on_disk)
        CHECK(x->held == m->held, m);
    int read = 3;
    for (int tries = 0; tries < 3 && read == 3; tries++) /* an operation and a read may fail */
        read = read_back(r, m->id, m->size, m->n_rcpt);
    if (read != 0)
        fprintf(stderr, "read back: %d\n", read);
    CHECK(read == 0, m);
    return true;
}

/* What recovery found became the new truth: it is on disk. */
static void learn_found(struct knowledge *k, const struct seen_list *l)
{
    size_t left = 0;
    for (size_t i = 0; i < k->n; i++) {
        const struct seen *x = seen_find(l, k->v[i].id);
        struct known m = k->v[i];
        if (x == NULL && m.fate != REFUSED)
            continue; /* over */
        if (x != NULL) {
            m.fate = ACKED;
            m.about = 0;
            m.held = x->held;
            m.hold_mark = 0;
            for (uint32_t b = 0; b < m.n_rcpt; b++)
                m.done[b] = (x->done[0] >> b & 1) != 0 ? k->on_disk : 0;
        }
        k->v[left++] = m;
    }
    k->n = left;
}

/* An operation failed, perhaps the sync of what recovery found: what was not sure before is not
 * now, nor will it be when marks that come later are. */
static void learn_unsure(struct knowledge *k)
{
    for (size_t i = 0; i < k->n; i++) {
        struct known *m = &k->v[i];
        for (uint32_t b = 0; b < m->n_rcpt; b++)
            if (m->done[b] > k->on_disk)
                m->done[b] = UINT64_MAX;
        if (m->hold_mark > k->on_disk)
            m->hold_mark = UINT64_MAX;
        m->about = 0;
    }
}

/* Compares what recovery found with `now`, and makes it the new truth if it is `sure`. */
static bool check_all(struct rig *r, const struct seen_list *l, bool sure)
{
    struct knowledge *k = &now;
    for (size_t i = 0; i < l->n; i++)
        CHECK(known_find(k, l->v[i].id) != NULL, &l->v[i]);
    for (size_t i = 0; i < k->n;
         i++) { /* a report that was not answered ended its message or not */
        struct known *d = &k->v[i], *m;
        if (d->about == 0 || d->fate != SENT || (m = known_find(k, d->about)) == NULL)
            continue;
        if (seen_find(l, d->id) != NULL)
            m->done[d->about_rcpt] = sure ? k->on_disk : UINT64_MAX;
    }
    for (size_t i = 0; i < k->n; i++)
        if (!check_one(r, &k->v[i], seen_find(l, k->v[i].id), k->on_disk))
            return false;
    if (l->stats.quarantined != 0) {
        fprintf(stderr, "broken: something was quarantined\n");
        return false;
    }
    pthread_mutex_lock(&know);
    if (sure)
        learn_found(k, l);
    else
        learn_unsure(k);
    pthread_mutex_unlock(&know);
    return true;
}

/* ---- work ---- */

static struct known *learn(uint64_t id, uint32_t n_rcpt, size_t size)
{
    ASSERT(now.n < MOST);
    struct known *m = &now.v[now.n++];
    *m = (struct known){.id = id, .fate = SENT, .n_rcpt = n_rcpt, .size = size};
    return m;
}

static void learn_result(uint64_t id, enum spool_result result, uint64_t marks_before)
{
    pthread_mutex_lock(&know);
    struct known *m = known_find(&now, id);
    m->fate = result == SPOOL_OK ? ACKED : REFUSED;
    if (result == SPOOL_OK && marks_before > now.on_disk)
        now.on_disk = marks_before;
    struct known *about = m->about != 0 ? known_find(&now, m->about) : NULL;
    if (about != NULL && result == SPOOL_OK)
        about->done[m->about_rcpt] = 1; /* in the same record, so on disk */
    m->about = 0;
    pthread_mutex_unlock(&know);
}

static void do_appends(struct rig *r)
{
    struct submit v[6];
    size_t n = 1 + rnd(ARRAY_LEN(v));
    uint64_t marks = now.marks;
    for (size_t i = 0; i < n; i++) {
        uint64_t id = spool_next_id(r->s);
        uint32_t n_rcpt = 1 + (uint32_t)rnd(RCPTS);
        size_t size = rnd(8) == 0 ? rnd(9000) : rnd(900);
        pthread_mutex_lock(&know);
        learn(id, n_rcpt, size);
        pthread_mutex_unlock(&know);
        submit_send(&v[i], r, id, n_rcpt, size, NULL, 0);
    }
    for (size_t i = 0; i < n; i++) {
        submit_wait(&v[i]);
        learn_result(v[i].a.id, v[i].a.result, marks);
    }
}

static void do_large(struct rig *r)
{
    uint64_t id = spool_next_id(r->s), marks = now.marks;
    size_t size = 30000 + rnd(20000);
    pthread_mutex_lock(&know);
    learn(id, 1, size);
    pthread_mutex_unlock(&know);
    learn_result(id, append_large(r, id, 1, size), marks);
}

static struct known *pick_acked(void)
{
    for (int tries = 0; now.n != 0 && tries < 10; tries++) {
        struct known *m = &now.v[rnd(now.n)];
        if (m->fate == ACKED &&
            m->id % 16 != 0) /* some are never touched: they must be carried on */
            return m;
    }
    return NULL;
}

static void do_mark(struct rig *r)
{
    struct known *m = pick_acked();
    if (m == NULL)
        return;
    uint32_t from = (uint32_t)rnd(m->n_rcpt), n = 1 + (uint32_t)rnd(m->n_rcpt);
    for (uint32_t i = 0; i < n; i++) {
        uint32_t rcpt = (from + i) % m->n_rcpt;
        pthread_mutex_lock(&know);
        now.marks++;
        if (m->done[rcpt] == 0)
            m->done[rcpt] = now.marks;
        pthread_mutex_unlock(&know);
        mark(r, m->id, rcpt, rnd(2) != 0 ? SPOOL_MARK_DELIVERED : SPOOL_MARK_FAILED);
    }
}

static void do_hold(struct rig *r)
{
    struct known *m = pick_acked();
    if (m == NULL)
        return;
    bool hold = rnd(2) != 0;
    pthread_mutex_lock(&know);
    m->hold_mark = ++now.marks;
    m->held = hold;
    pthread_mutex_unlock(&know);
    mark(r, m->id, SPOOL_RCPT_ALL, hold ? SPOOL_MARK_HELD : SPOOL_MARK_RELEASED);
}

static void do_report(struct rig *r)
{
    struct known *m = pick_acked();
    struct submit v;
    if (m == NULL)
        return;
    uint32_t rcpt = (uint32_t)rnd(m->n_rcpt);
    uint64_t id = spool_next_id(r->s), marks = now.marks;
    struct spool_mark end = {.id = m->id, .rcpt = rcpt, .kind = SPOOL_MARK_FAILED};
    if (m->done[rcpt] != 0)
        return;
    pthread_mutex_lock(&know);
    struct known *d = learn(id, 1, 500);
    d->about = end.id;
    d->about_rcpt = rcpt;
    pthread_mutex_unlock(&know);
    submit_send(&v, r, id, 1, 500, &end, 1);
    submit_wait(&v);
    learn_result(id, v.a.result, marks);
}

static void work(struct rig *r)
{
    for (int step = 0; step < 1500 && !atomic_load(&crashed) && now.n < MOST - 10; step++) {
        uint64_t what = rnd(20);
        if (what < 4 && now.n < 150)
            do_appends(r);
        else if (what < 16)
            do_mark(r);
        else if (what < 18)
            do_hold(r);
        else if (what < 19)
            do_report(r);
        else
            do_large(r);
    }
}

static bool open_and_check(struct rig *r, bool after_kill)
{
    struct seen_list l;
    struct err e;
    for (int tries = 0; r->s == NULL && tries < 3; tries++) /* one operation may fail */
        r->s = spool_open(&r->conf, r->ops, &e);
    if (r->s == NULL)
        fprintf(stderr, "broken: %s\n", e.text);
    if (r->s == NULL)
        return false;
    rig_recover(r, &l);
    bool ok = check_all(r, &l, !after_kill || !sim_has_failed());
    seen_free(&l);
    return ok;
}

static void test_chain_of_crashes(void **state)
{
    (void)state;
    const char *env = getenv("SPOOL_CRASH_ROUNDS"), *env_seed = getenv("SPOOL_CRASH_SEED");
    int rounds = env != NULL ? atoi(env) : 40;
    uint64_t seed = env_seed != NULL ? strtoull(env_seed, NULL, 10) : 20261120;
    struct rig r;
    char base[200], cmd[700];
    rig_init(&r);
    snprintf(base, sizeof(base), "%.199s", r.dir);
    r.ops = &sim_ops;
    r.conf.segment_bytes = DISK_SEGMENT_MIN;
    r.conf.compact_below = 0.6;
    atomic_store(&compact_quiet_ms, 0);
    snprintf(r.dir, sizeof(r.dir), "%s/0", base);
    rng = seed * 2654435761u + 1;
    now = (struct knowledge){0};
    power = false;
    for (int i = 0; i < rounds; i++) {
        snprintf(next_dir, sizeof(next_dir), "%s/%d", base, i + 1);
        atomic_store(&crashed, false);
        bool power_before = power;
        power = rnd(3) != 0;
        sim_begin(r.dir, seed + (uint64_t)i);
        static const uint64_t within[] = {60, 400, 2000};
        uint64_t crash_at = 1 + rnd(within[rnd(ARRAY_LEN(within))]);
        sim_hook_at(crash_at, crash, NULL);
        /* Not between two kills: if recovery's sync of what it found failed, and it is killed
         * before it was copied, nobody knows of it any more: the system tells it once. */
        if ((power_before || power || i == 0) &&
            rnd(2) != 0) /* often just before the crash: what was refused must stay away */
            sim_fail_at(rnd(2) != 0 && crash_at > 20 ? crash_at - rnd(20) : 1 + rnd(300),
                        rnd(3) != 0 ? EIO : ENOSPC);
        if (rnd(2) != 0)
            sim_fail_read(1 + rnd(300));
        bool ok = open_and_check(&r, !power_before && i != 0);
        if (!ok)
            fprintf(stderr, "seed %llu round %d\n", (unsigned long long)seed, i);
        assert_true(ok);
        work(&r);
        sim_fail_at(0, 0);
        rig_close(&r);
        if (!atomic_load(&crashed)) /* closed in peace: nothing at all may be lost */
            crash(NULL);
        sim_end();
        now = then;
        snprintf(cmd, sizeof(cmd), "rm -rf '%s'", r.dir);
        assert_int_equal(system(cmd), 0);
        snprintf(r.dir, sizeof(r.dir), "%.250s", next_dir);
    }
    sim_forget();
    snprintf(r.dir, sizeof(r.dir), "%s", base);
    rig_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chain_of_crashes),
    };
    return cmocka_run_group_tests_name("one sync at a time", tests, NULL, NULL) +
           cmocka_run_group_tests_name("several at a time", tests, rig_slow_disk, NULL);
}
