/*
 * control_peer_test.c - names of users, from a database of ours that may hang.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>

#include "relay/control/peer.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool hangs;
static unsigned asked;
static size_t entry_size;
static char name[20] = "ann";

/* Instead of the C library's. */
int getpwuid_r(uid_t uid, struct passwd *entry, char *text, size_t cap, struct passwd **found)
{
    pthread_mutex_lock(&lock);
    asked++;
    while (hangs)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    *found = NULL;
    if (uid == 99)
        return 0; /* nobody */
    if (cap < entry_size)
        return ERANGE;
    memset(entry, 0, sizeof(*entry));
    memset(text, 'x', entry_size);
    entry->pw_name = name;
    *found = entry;
    return 0;
}

static void set_hangs(bool on)
{
    pthread_mutex_lock(&lock);
    hangs = on;
    asked = on ? 0 : asked;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static unsigned times_asked(void)
{
    pthread_mutex_lock(&lock);
    unsigned n = asked;
    pthread_mutex_unlock(&lock);
    return n;
}

static const char *get(struct peer_names *p, uid_t uid)
{
    static char text[64];
    peer_names_get(p, uid, text, sizeof(text));
    return text;
}

static void wait_for(struct peer_names *p, uid_t uid, const char *text)
{
    while (strcmp(get(p, uid), text) != 0)
        sched_yield();
}

static void test_names(void **state)
{
    struct peer_names *p = peer_names_new();
    (void)state;
    wait_for(p, 5, "ann");
    unsigned n = times_asked();
    wait_for(p, 5, "ann"); /* is known */
    assert_int_equal(times_asked(), n);
    assert_string_equal(get(p, 99), "uid 99");
    entry_size = 30000; /* a user of many words */
    wait_for(p, 6, "ann");
    entry_size = 0;
    for (uid_t u = 1000; u < 1200; u++) /* more than are kept */
        wait_for(p, u, "ann");
    wait_for(p, 5, "ann");
    peer_names_free(&p);
    assert_null(p);
}

/* Nobody waits for the database more than once, and what it says late is taken. */
static void test_database_hangs(void **state)
{
    struct peer_names *p = peer_names_new();
    (void)state;
    set_hangs(true);
    for (unsigned i = 0; i < 100; i++)
        assert_string_equal(get(p, 7), "uid 7");
    while (times_asked() == 0)
        sched_yield();
    assert_int_equal(times_asked(), 1);
    set_hangs(false);
    wait_for(p, 7, "ann");
    set_hangs(true);
    assert_string_equal(get(p, 8), "uid 8");
    while (times_asked() == 0)
        sched_yield();
    peer_names_free(&p); /* in the middle */
    set_hangs(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_database_hangs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
