/*
 * source.c - see source.h. The thread starts in source_main(): first a large snapshot is verified,
 * then the kind's own loop runs. A replica whose snapshot is not verified yet is not complete:
 * it answers what it knows, and 451 instead of 550 for what it does not.
 */
#include "directory/source.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/stats.h"
#include "directory/file/manual.h"

#define GATHER_NS        500000  /* a fast server sends a hundred entries in it */
#define NOTE_EVERY_MS    300000  /* how much age a crash may add to a source */
#define REPEAT_LOG_MS    3600000 /* the same failure is said again */
#define BAD_VALUES_EVERY 10000
#define CLOCK_SLACK_MS   5000 /* how far a clock is set back without being called wrong */

/* The kinds of sources. run NULL: this build has none of that kind. */
static const struct {
    const char *type;
    void (*run)(struct source *s);
} kind[CONF_SOURCE_TYPES] = {
    [CONF_SOURCE_LDIF] = {"ldif", ldif_source_run},
    [CONF_SOURCE_CSV] = {"csv", csv_source_run},
    [CONF_SOURCE_OPENLDAP] = {"openldap", openldap_source_run},
    [CONF_SOURCE_ACTIVE_DIRECTORY] = {"active-directory", active_directory_source_run},
    [CONF_SOURCE_MANUAL] = {"manual", manual_source_run},
};

const char *dir_source_state_text(enum dir_source_state s)
{
    static const char *const text[] = {
        [DIR_SOURCE_STARTING] = "starting", [DIR_SOURCE_SYNCING] = "syncing",
        [DIR_SOURCE_CURRENT] = "current",   [DIR_SOURCE_FAILING] = "failing",
        [DIR_SOURCE_STALE] = "stale",       [DIR_SOURCE_HELD] = "held"};
    return (unsigned)s < ARRAY_LEN(text) ? text[s] : "unknown";
}

/* ---- status ---- */

static void status_measure(struct source *s)
{
    const struct replica *r = s->replica;
    s->status.entries = replica_entries(r);
    s->status.addresses = replica_addresses(r);
    s->status.vanished = replica_vanished(r);
    s->status.accepts_next = replica_accepts_next(r);
    s->status.last_complete_ms = replica_complete_wall_ms(r);
    s->status.complete_once = replica_is_complete(r);
    s->status.snapshot_bytes = replica_bytes(r);
    s->status.overlay_entries = stack_overlay_entries(replica_stack(r));
}

static void publish(void *arg, const struct replica_commit *c)
{
    struct source *s = arg;
    directory_publish(s->directory, s, c);
    pthread_mutex_lock(&s->lock);
    status_measure(s);
    if (c->n_entries != 0) {
        s->status.generation = directory_generation(s->directory);
        s->status.last_change_ms = clock_wall_ms();
    }
    pthread_mutex_unlock(&s->lock);
    stats_add(STAT_directory_changes, c->n_entries);
}

void source_status(struct source *s, struct dir_source_status *out)
{
    pthread_mutex_lock(&s->lock);
    *out = s->status;
    int64_t limit = s->stale_after_ms;
    pthread_mutex_unlock(&s->lock);
    bool once = atomic_load_explicit(&s->fresh->complete_once, memory_order_acquire);
    int64_t last = atomic_load_explicit(&s->fresh->complete_ms, memory_order_relaxed);
    out->is_stale = once && limit != 0 && clock_mono_ms() - last > limit;
    if (out->is_stale)
        out->state = DIR_SOURCE_STALE;
    if (out->held_since_ms != 0)
        source_hold_status(out);
}

void source_set_state(struct source *s, enum dir_source_state state)
{
    pthread_mutex_lock(&s->lock);
    bool changed = s->status.state != state;
    s->status.state = state;
    if (state == DIR_SOURCE_CURRENT || state == DIR_SOURCE_HELD)
        s->status.last_error[0] = '\0';
    pthread_mutex_unlock(&s->lock);
    if (changed)
        LOG(INFO, s->c->name, "directory-source", LC("state", dir_source_state_text(state)),
            LU("entries", replica_entries(s->replica)),
            LU("addresses", replica_addresses(s->replica)));
}

void source_failed(struct source *s, const char *fmt, ...)
{
    char reason[sizeof(s->status.last_error)] = "";
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reason, sizeof(reason), fmt, ap);
    va_end(ap);
    pthread_mutex_lock(&s->lock);
    bool new = strcmp(s->status.last_error, reason) != 0 || s->said_ms == 0 ||
               clock_mono_ms() - s->said_ms > REPEAT_LOG_MS;
    s->status.state = DIR_SOURCE_FAILING;
    memcpy(s->status.last_error, reason, sizeof(reason));
    if (new)
        s->said_ms = clock_mono_ms();
    pthread_mutex_unlock(&s->lock);
    if (new)
        LOG(WARN, s->c->name, "directory-source-failed", LC("error", reason),
            LC("effect", replica_is_complete(s->replica) ? "the last complete state is used"
                                                         : "unknown recipients get 451"));
}

void source_linked(struct source *s, const struct source_link *l)
{
    struct dir_source_status *t = &s->status;
    pthread_mutex_lock(&s->lock);
    bool new = strcmp(t->notice, l->notice) != 0 && l->notice[0] != '\0';
    snprintf(t->server, sizeof(t->server), "%s", l->server);
    snprintf(t->method, sizeof(t->method), "%s", l->method);
    memcpy(t->notice, l->notice, sizeof(t->notice));
    t->certificate_expires_ms = l->certificate_expires_ms;
    t->password_expires_ms = l->password_expires_ms;
    pthread_mutex_unlock(&s->lock);
    LOG(INFO, s->c->name, "directory-server", LC("uri", l->server), LC("method", l->method));
    if (new)
        LOG(WARN, s->c->name, "directory-notice", LC("notice", l->notice));
}

/* Views from before that moment do not know what the source knows now. Later changes one by one do
 * not age them: a reader is always a moment behind. */
static void fresh_from(struct source *s, int64_t now)
{
    struct dir_fresh *f = s->fresh;
    int64_t age = now - atomic_load_explicit(&f->complete_ms, memory_order_relaxed);
    pthread_mutex_lock(&s->lock);
    int64_t limit = s->stale_after_ms;
    pthread_mutex_unlock(&s->lock);
    if (!atomic_load_explicit(&f->complete_once, memory_order_relaxed) ||
        (limit != 0 && age > limit))
        atomic_store_explicit(&f->since, s->published, memory_order_relaxed);
    atomic_store_explicit(&f->complete_ms, now, memory_order_release);
    atomic_store_explicit(&f->complete_once, true, memory_order_release);
}

void source_is_current(struct source *s)
{
    int64_t now = clock_mono_ms();
    if (replica_hold(s->replica) != NULL) { /* what it says is known, and not believed */
        source_set_state(s, DIR_SOURCE_HELD);
        return;
    }
    replica_alive(s->replica, clock_wall_ms());
    fresh_from(s, now);
    pthread_mutex_lock(&s->lock);
    status_measure(s);
    bool first = s->status.state != DIR_SOURCE_CURRENT;
    pthread_mutex_unlock(&s->lock);
    if (first)
        source_set_state(s, DIR_SOURCE_CURRENT);
    if (now - s->noted_ms > NOTE_EVERY_MS) {
        s->noted_ms = now;
        replica_note_alive(s->replica);
    }
}

void source_bad_value(struct source *s, struct str object, struct str value)
{
    int64_t suppressed;
    if (log_limit_pass(&s->bad_values, BAD_VALUES_EVERY, &suppressed))
        LOG(WARN, s->c->name, "directory-bad-value", LS("object", object), LS("value", value),
            LC("why", "not a usable address or too long; left out"),
            LI("more_not_logged", suppressed));
}

/* ---- waiting ---- */

bool source_must_stop(struct source *s)
{
    struct pollfd p = {.fd = s->stop_fd, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

bool source_wait(struct source *s, int fd, int ms, bool *ready)
{
    struct pollfd p[2] = {{.fd = s->stop_fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    replica_tick(s->replica);
    log_flush();
    int n = poll(p, fd >= 0 ? 2 : 1, ms);
    if (ready != NULL)
        *ready = n > 0 && fd >= 0 && p[1].revents != 0;
    return p[0].revents == 0 || n <= 0;
}

void source_let_gather(struct source *s)
{
    struct pollfd p = {.fd = s->stop_fd, .events = POLLIN};
    const struct timespec t = {.tv_nsec = GATHER_NS};
    ppoll(&p, 1, &t, NULL);
}

/* ---- life ---- */

/* The monotonic time of a moment that was kept as wall clock. One that is still to come was kept,
 * or is read, by a clock that is wrong: how long ago it was nobody knows. */
static int64_t mono_of_wall(int64_t wall_ms)
{
    int64_t age = clock_wall_ms() - wall_ms;
    if (age < -CLOCK_SLACK_MS)
        return INT64_MIN / 2;
    return clock_mono_ms() - (age > 0 ? age : 0);
}

static void freshen(struct source *s)
{
    const struct replica *r = s->replica;
    bool complete = replica_is_complete(r) && !replica_is_unverified(r);
    if (complete)
        atomic_store_explicit(&s->fresh->complete_ms, mono_of_wall(replica_complete_wall_ms(r)),
                              memory_order_relaxed);
    atomic_store_explicit(&s->fresh->complete_once, complete, memory_order_release);
}

struct source *source_open(struct directory *d, struct conf *conf, const struct conf_source *c,
                           const char *state_dir, struct err *e)
{
    if (kind[c->type].run == NULL) {
        err_set(e, ERR_CONFIG, 0,
                "directory source \"%s\": type = %s is not available in this build", c->name,
                kind[c->type].type);
        return NULL;
    }
    struct source *s = NEW(struct source);
    struct replica_options o = {.folder = state_dir,
                                .name = c->name,
                                .source_id = rules_source_id(c),
                                .mass_change_percent = 100,
                                .publish = publish,
                                .entries_max = c->entries_max,
                                .addresses_max = c->addresses_max,
                                .held = source_held,
                                .arg = s};
    pthread_mutex_init(&s->lock, NULL);
    s->c = c;
    if (c->type != CONF_SOURCE_MANUAL) { /* what a person does by hand is meant */
        o.mass_change_percent = c->mass_change_percent;
        o.mass_change_count = c->mass_change_count;
        o.grace_ms = c->grace_ms;
    }
    s->replica = replica_open(&o, e);
    if (s->replica == NULL) {
        err_wrap(e, "directory source \"%s\"", c->name);
        pthread_mutex_destroy(&s->lock);
        mem_free(s);
        return NULL;
    }
    static _Atomic uint64_t last_id;
    s->id = atomic_fetch_add(&last_id, 1) + 1;
    s->directory = d;
    s->conf = conf_ref(conf);
    s->fresh = fresh_new();
    s->box = c->type == CONF_SOURCE_MANUAL ? manual_box_new() : NULL;
    s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ASSERT(s->stop_fd >= 0);
    snprintf(s->status.name, sizeof(s->status.name), "%s", c->name);
    snprintf(s->status.type, sizeof(s->status.type), "%s", kind[c->type].type);
    source_retouch(s, c);
    freshen(s);
    status_measure(s);
    return s;
}

void source_retouch(struct source *s, const struct conf_source *c)
{
    pthread_mutex_lock(&s->lock);
    s->stale_after_ms = c->stale_after_ms;
    snprintf(s->status.forest, sizeof(s->status.forest), "%s", c->forest != NULL ? c->forest : "");
    pthread_mutex_unlock(&s->lock);
}

static void *source_main(void *arg)
{
    struct source *s = arg;
    if (replica_is_unverified(s->replica)) {
        replica_settle(s->replica);
        freshen(s);
    }
    s->noted_ms = clock_mono_ms();
    replica_tick(s->replica); /* finds what is to be expired, while nobody waits */
    do
        kind[s->c->type].run(s);
    while (source_obey(s));
    if (s->box != NULL)
        manual_box_close(s->box);
    struct dir_source_status end;
    source_status(s, &end);
    if (end.state == DIR_SOURCE_CURRENT)
        replica_note_alive(s->replica);
    log_flush();
    return NULL;
}

void source_start(struct source *s)
{
    sigset_t all, old;
    ASSERT(!s->running);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* signals are the main thread's */
    int rc = pthread_create(&s->thread, NULL, source_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    ASSERT(rc == 0);
    s->running = true;
}

void source_ask_stop(struct source *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    pthread_mutex_unlock(&s->lock);
    source_interrupt(s);
}

void source_interrupt(struct source *s)
{
    uint64_t one = 1;
    ssize_t n = write(s->stop_fd, &one, sizeof(one));
    ASSERT(n == (ssize_t)sizeof(one));
}

bool source_has_ended(struct source *s, int64_t ms)
{
    struct timespec until;
    if (!s->running)
        return true;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (ms > 0 ? ms : 0) * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (pthread_timedjoin_np(s->thread, NULL, &until) != 0)
        return false;
    s->running = false;
    return true;
}

void source_stop(struct source *s)
{
    if (!s->running)
        return;
    source_ask_stop(s);
    pthread_join(s->thread, NULL);
    s->running = false;
}

void source_close(struct source **sp)
{
    struct source *s = *sp;
    *sp = NULL;
    if (s == NULL)
        return;
    source_stop(s);
    replica_close(&s->replica);
    source_held(s, NULL);
    hold_unref(&s->accepted);
    fresh_unref(&s->fresh);
    if (s->box != NULL)
        manual_box_close(s->box);
    manual_box_unref(&s->box);
    close(s->stop_fd);
    pthread_mutex_destroy(&s->lock);
    conf_unref(&s->conf);
    mem_free(s);
}
