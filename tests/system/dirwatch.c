/*
 * dirwatch.c - runs the directory of a configuration file by itself, for tests: prints one line per
 * change of generation or of a source's state, and answers lines on standard input.
 *
 *   dirwatch CONF STATE-DIRECTORY
 *   > lookup KEY | set KEY FOREST | unset KEY | pending SOURCE | accept SOURCE
 *   > status | reload CONF | quit
 *   < change GENERATION KEYS EVERYTHING      < source NAME STATE ENTRIES ADDRESSES COMPLETE ERROR
 * METHOD NOTICE < KEY FOUND FOREST EVIDENCE ROUTING CLAIMS WHY < pending VANISH MOVE ERROR
 * < accept ACCEPTED ERROR
 *
 * Fields are separated by tabs.
 */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "directory/directory.h"
#include "directory/hold.h"

#define SOURCES_MAX 16

static pthread_mutex_t output = PTHREAD_MUTEX_INITIALIZER;

#define SAY(...)                                                                                   \
    do {                                                                                           \
        pthread_mutex_lock(&output);                                                               \
        printf(__VA_ARGS__);                                                                       \
        fflush(stdout);                                                                            \
        pthread_mutex_unlock(&output);                                                             \
    } while (0)

static void changed(void *arg, const struct dir_change *c)
{
    (void)arg;
    SAY("change\t%llu\t%u\t%d\n", (unsigned long long)c->generation, c->n, c->everything);
}

static void say_source(const struct dir_source_status *s)
{
    SAY("source\t%s\t%s\t%llu\t%llu\t%d\t%s\t%s\t%s\n", s->name, dir_source_state_text(s->state),
        (unsigned long long)s->entries, (unsigned long long)s->addresses, s->complete_once,
        s->last_error, s->method, s->notice);
}

/* Says what is new since the last call; everything if `all`. */
static void say_sources(struct directory *d, bool all)
{
    static struct dir_source_status before[SOURCES_MAX], now[SOURCES_MAX];
    unsigned n = directory_status(d, now, SOURCES_MAX);
    for (unsigned i = 0; i < n && i < SOURCES_MAX; i++)
        if (all || now[i].state != before[i].state ||
            strcmp(now[i].last_error, before[i].last_error) != 0 ||
            strcmp(now[i].method, before[i].method) != 0 ||
            strcmp(now[i].notice, before[i].notice) != 0)
            say_source(&now[i]);
    memcpy(before, now, sizeof(before));
}

static void lookup(struct directory *d, struct str key)
{
    static const char *const found[] = {
        [DIR_FOUND] = "found",
        [DIR_NOT_FOUND] = "not-found",
        [DIR_NOT_FOUND_YET] = "not-found-yet",
        [DIR_CONFLICT] = "conflict",
        [DIR_AMBIGUOUS] = "ambiguous",
    };
    struct dir_result *r = NEW(struct dir_result);
    struct dir_view *v = directory_view(d);
    dir_view_lookup(v, key, clock_mono_ms(), r);
    const struct dir_claim none = {.evidence = "-"};
    const struct dir_claim *b = r->best != NULL ? r->best : &none;
    SAY("%.*s\t%s\t%.*s\t%s\t%.*s\t%u\t%s\n", STR_ARG(key), found[r->found], STR_ARG(b->forest),
        b->evidence, STR_ARG(b->routing), r->n_claims, r->why);
    dir_view_unref(&v);
    mem_free(r);
}

static void pending(struct directory *d, struct str source)
{
    struct err e;
    struct dir_pending *p = directory_pending(d, source, &e);
    const struct dir_step none = {0}, *n = p != NULL ? dir_pending_counts(p) : &none;
    SAY("pending\t%llu\t%llu\t%s\n", (unsigned long long)n->vanish, (unsigned long long)n->move,
        p != NULL ? "" : e.text);
    dir_pending_free(&p);
}

static void accept_held(struct directory *d, struct str source)
{
    struct err e = {0};
    struct hold *h = directory_accept(d, source, STR("dirwatch"), &e);
    SAY("accept\t%d\t%s\n", h != NULL, e.text);
    hold_unref(&h);
}

static void reload(struct directory *d, const char *path)
{
    struct err e;
    struct conf *c = conf_load(path, &e);
    if (c == NULL) {
        SAY("bad\t%s\n", e.text);
        return;
    }
    directory_reload(d, c);
    while (directory_waits(d)) {
        poll(NULL, 0, 10);
        directory_reopen(d);
    }
    conf_unref(&c);
    SAY("reloaded\n");
}

/* False: quit. */
static bool command(struct directory *d, struct str line)
{
    struct str verb = str_split(&line, ' ');
    struct err e = {0};
    if (str_eq(verb, STR("lookup"))) {
        lookup(d, line);
    } else if (str_eq(verb, STR("set"))) {
        struct str key = str_split(&line, ' ');
        SAY("set\t%d\n", directory_set_override(d, key, line, STR("dirwatch"), &e));
    } else if (str_eq(verb, STR("unset"))) {
        SAY("unset\t%d\n", directory_unset_override(d, line, STR("dirwatch"), &e));
    } else if (str_eq(verb, STR("pending"))) {
        pending(d, line);
    } else if (str_eq(verb, STR("accept"))) {
        accept_held(d, line);
    } else if (str_eq(verb, STR("status"))) {
        say_sources(d, true);
        SAY("end\n");
    } else if (str_eq(verb, STR("reload"))) {
        char *path = str_dup(line);
        reload(d, path);
        mem_free(path);
    } else {
        return false;
    }
    return true;
}

static void serve(struct directory *d)
{
    static char text[65536];
    size_t n = 0;
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    for (;;) {
        int ready = poll(&p, 1, 20);
        say_sources(d, false);
        log_flush();
        if (ready <= 0)
            continue;
        ssize_t got = read(STDIN_FILENO, text + n, sizeof(text) - n);
        if (got <= 0)
            return;
        n += (size_t)got;
        for (char *lf; (lf = memchr(text, '\n', n)) != NULL;) {
            size_t line = (size_t)(lf - text);
            if (!command(d, str_n(text, line)))
                return;
            n -= line + 1;
            memmove(text, lf + 1, n);
        }
    }
}

int main(int argc, char **argv)
{
    struct err e;
    struct conf *c = argc == 3 ? conf_load(argv[1], &e) : NULL;
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_INFO_);
    if (c == NULL) {
        fprintf(stderr, "%s\n", argc == 3 ? e.text : "usage: dirwatch CONF STATE-DIRECTORY");
        return 2;
    }
    struct directory *d = directory_open(c, argv[2], &e);
    if (d == NULL) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    directory_listen(d, changed, NULL);
    directory_start(d);
    serve(d);
    directory_close(&d);
    conf_unref(&c);
    SAY("bye\n");
    return 0;
}
