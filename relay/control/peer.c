/*
 * peer.c - see peer.h. A user's name may come from a server (LDAP, sssd) that does not answer, and
 * getpwuid_r() then waits; the main thread must not. So a thread of its own asks for each user that
 * is not known yet, and the main thread gives it a moment. Who is named too late is "uid N" until
 * then. Names are asked for anew after a while.
 *
 * A thread that hangs cannot be joined. It is detached, and shares what it writes to by counting.
 */
#include "relay/control/peer.h"

#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/mem.h"

#define NAMES_MAX   64
#define NAME_SIZE   64
#define ENTRY_FIRST 4096
#define ENTRY_MAX   (1u << 20) /* of a user's entry in the database */
#define MOMENT_MS   250
#define VALID_MS    600000

struct name {
    uid_t uid;
    bool used, asked; /* asked: a thread will fill it in */
    int64_t known_ms; /* since when; the monotonic clock's */
    char text[NAME_SIZE];
};

struct peer_names {
    pthread_mutex_t lock; /* over all */
    pthread_cond_t filled;
    unsigned refs;
    struct name name[NAMES_MAX];
};

struct question {
    struct peer_names *p;
    uid_t uid;
};

static void unref(struct peer_names *p)
{
    pthread_mutex_lock(&p->lock);
    bool last = --p->refs == 0;
    pthread_mutex_unlock(&p->lock);
    if (!last)
        return;
    pthread_cond_destroy(&p->filled);
    pthread_mutex_destroy(&p->lock);
    mem_free(p);
}

static struct name *find(struct peer_names *p, uid_t uid)
{
    for (unsigned i = 0; i < NAMES_MAX; i++)
        if (p->name[i].used && p->name[i].uid == uid)
            return &p->name[i];
    return NULL;
}

/* ---- asking, on a thread of its own ---- */

static void say_number(uid_t uid, char *dst, size_t cap)
{
    (void)snprintf(dst, cap, "uid %u", (unsigned)uid);
}

static void ask(uid_t uid, char dst[NAME_SIZE])
{
    size_t cap = ENTRY_FIRST;
    struct passwd entry, *found = NULL;
    char *text = mem_alloc(cap);
    while (getpwuid_r(uid, &entry, text, cap, &found) == ERANGE && cap < ENTRY_MAX)
        text = mem_realloc(text, cap *= 2);
    say_number(uid, dst, NAME_SIZE);
    if (found != NULL)
        (void)snprintf(dst, NAME_SIZE, "%s", entry.pw_name);
    mem_free(text);
}

static void *run(void *arg)
{
    struct question q = *(struct question *)arg;
    char text[NAME_SIZE];
    mem_free(arg);
    ask(q.uid, text);
    pthread_mutex_lock(&q.p->lock);
    struct name *n = find(q.p, q.uid); /* what is asked for stays in its place */
    memcpy(n->text, text, sizeof(text));
    n->known_ms = clock_mono_ms();
    n->asked = false;
    pthread_cond_broadcast(&q.p->filled);
    pthread_mutex_unlock(&q.p->lock);
    unref(q.p);
    return NULL;
}

static bool start(struct peer_names *p, uid_t uid)
{
    sigset_t all, old;
    pthread_t thread;
    struct question *q = NEW(struct question);
    *q = (struct question){.p = p, .uid = uid};
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the main thread's */
    bool ok = pthread_create(&thread, NULL, run, q) == 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (ok)
        pthread_detach(thread);
    else
        mem_free(q);
    return ok;
}

/* ---- main thread ---- */

/* An empty place, or that of the name that has been known longest; NULL: all are asked for. */
static struct name *place(struct peer_names *p)
{
    struct name *best = NULL;
    for (unsigned i = 0; i < NAMES_MAX; i++) {
        struct name *n = &p->name[i];
        if (!n->used)
            return n;
        if (!n->asked && (best == NULL || n->known_ms < best->known_ms))
            best = n;
    }
    return best;
}

static void wait_a_moment(struct peer_names *p, const struct name *n)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    end.tv_nsec += MOMENT_MS * 1000000L;
    end.tv_sec += end.tv_nsec / 1000000000;
    end.tv_nsec %= 1000000000;
    while (n->asked && pthread_cond_timedwait(&p->filled, &p->lock, &end) == 0)
        ;
}

/* The user's place, asked for if need be; NULL: it cannot be asked for. Under the lock. */
static struct name *known(struct peer_names *p, uid_t uid)
{
    struct name *n = find(p, uid);
    if (n != NULL && (n->asked || clock_mono_ms() - n->known_ms < VALID_MS))
        return n;
    if (n == NULL)
        n = place(p);
    if (n == NULL || !start(p, uid))
        return NULL;
    p->refs++;
    *n = (struct name){.uid = uid, .used = true, .asked = true};
    wait_a_moment(p, n);
    return n;
}

struct peer_names *peer_names_new(void)
{
    struct peer_names *p = NEW(struct peer_names);
    pthread_condattr_t a;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->filled, &a);
    pthread_condattr_destroy(&a);
    p->refs = 1;
    return p;
}

void peer_names_free(struct peer_names **pp)
{
    struct peer_names *p = *pp;
    *pp = NULL;
    if (p != NULL)
        unref(p);
}

void peer_names_get(struct peer_names *p, uid_t uid, char *dst, size_t cap)
{
    pthread_mutex_lock(&p->lock);
    const struct name *n = known(p, uid);
    if (n != NULL && !n->asked)
        (void)snprintf(dst, cap, "%s", n->text);
    else
        say_number(uid, dst, cap);
    pthread_mutex_unlock(&p->lock);
}
