/*
 * source_hold.c - a source whose mass change waits for a person, as others see it, and the way of
 * that person's word to the source's thread: the kind's run() is ended, the change applied between
 * two runs, and the next run goes on from the cookie that came with it. No kind needs to know.
 */
#include "directory/source.h"

#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/stats.h"

/* Under the lock. */
static void set_shown(struct source *s, struct hold *h)
{
    hold_unref(&s->shown);
    s->shown = h != NULL ? hold_ref(h) : NULL;
}

void source_held(void *arg, struct hold *h)
{
    struct source *s = arg;
    pthread_mutex_lock(&s->lock);
    bool was = s->held != NULL;
    hold_unref(&s->held);
    s->held = h != NULL ? hold_ref(h) : NULL;
    s->status.held_since_ms = h != NULL ? h->since_ms : 0;
    s->status.held = h != NULL ? h->counts : (struct dir_step){0};
    if (h == NULL && s->status.state == DIR_SOURCE_HELD)
        s->status.state = DIR_SOURCE_SYNCING;
    if (h == NULL || !was) /* of the first one the log and the status tell */
        set_shown(s, h);
    pthread_mutex_unlock(&s->lock);
    if (s->replica != NULL) /* else it is being opened or closed */
        directory_held(s->directory, s, h != NULL ? h->after : NULL);
    stats_add(STAT_directory_held, (h != NULL) - was);
    if (h != NULL && !was)
        stats_inc(STAT_directory_mass_changes);
}

struct dir_stack *source_held_stack(struct source *s)
{
    pthread_mutex_lock(&s->lock);
    bool known = s->held != NULL && s->held->after != NULL;
    struct dir_stack *result = known ? stack_ref(s->held->after) : NULL;
    pthread_mutex_unlock(&s->lock);
    return result;
}

void source_hold_status(struct dir_source_status *out)
{
    const struct dir_step *n = &out->held;
    out->state = DIR_SOURCE_HELD;
    if (out->last_error[0] == '\0')
        snprintf(out->last_error, sizeof(out->last_error),
                 "%llu of %llu entries would vanish, %llu move and %llu drop addresses, more than "
                 "mass_change_percent or mass_change_count allow; nothing is applied. `causewayctl "
                 "directory pending %s` shows them",
                 (unsigned long long)(n->vanish + n->lately),
                 (unsigned long long)(n->entries + n->lately), (unsigned long long)n->move,
                 (unsigned long long)n->drop, out->name);
}

/* Under the lock. */
static bool is_known(const struct source *s, struct err *e)
{
    if (s->held == NULL)
        return err_set(e, ERR_INPUT, 0, "source \"%s\" is not held: no change of it waits",
                       s->c->name);
    if (s->held->change == NULL)
        return err_set(e, ERR_BUSY, 0,
                       "what source \"%s\" would change is not known before it was read to the end "
                       "once more; its state says what is in the way",
                       s->c->name);
    return true;
}

struct hold *source_hold(struct source *s, bool seen, struct err *e)
{
    struct hold *h = NULL;
    pthread_mutex_lock(&s->lock);
    if (is_known(s, e)) {
        h = hold_ref(s->held);
        if (seen)
            set_shown(s, h);
    }
    pthread_mutex_unlock(&s->lock);
    return h;
}

/* ---- is it what was shown? ---- */

static bool has_grown(const struct dir_step *now, const struct dir_step *shown)
{
    return now->vanish > shown->vanish || now->move > shown->move || now->drop > shown->drop;
}

struct comparison {
    const struct hold *now, *shown;
    struct dir_entry_room room[3];
};

/* A record of what is held now: if it makes its entry vanish, move or lose an address, was that
 * shown, of this entry and no less? */
static bool record_was_shown(struct comparison *c, const struct table_record *rec)
{
    const unsigned char *uuid = table_record_uuid(rec);
    struct table_record had, said;
    struct dir_entry old, new, shown;
    bool gone = table_record_is_tombstone(rec);
    if (!stack_find_uuid(c->now->before, uuid, &had))
        return true;
    if (!table_record_decode(&had, &c->room[0], &old) ||
        (!gone && !table_record_decode(rec, &c->room[1], &new)))
        return false;
    if (old.vanished_ms != 0 ||
        (!gone && !dir_entry_moved(&old, &new) && dir_entry_dropped(&old, &new) == NULL))
        return true;
    if (!table_find_uuid(c->shown->change, uuid, dir_uuid_hash(uuid), &said) ||
        table_record_is_tombstone(&said) != gone)
        return false;
    return gone || (table_record_decode(&said, &c->room[2], &shown) &&
                    !dir_entry_moved(&shown, &new) && dir_entry_dropped(&shown, &new) == NULL);
}

/* Numbers may stay the same while the people behind them change. */
static bool was_shown(const struct hold *now, const struct hold *shown)
{
    struct table_record rec;
    if (now == shown)
        return true;
    if (shown->change == NULL || shown->sequence != now->sequence)
        return false;
    struct comparison *c = NEW(struct comparison);
    c->now = now;
    c->shown = shown;
    bool ok = true;
    for (uint64_t at = 0; ok && table_next(now->change, &at, &rec);)
        ok = record_was_shown(c, &rec);
    mem_free(c);
    return ok;
}

static bool may_be_accepted(const struct source *s, const struct hold *now,
                            const struct hold *shown, struct err *e)
{
    const struct dir_step *n = &now->counts, *was = &shown->counts;
    if (has_grown(n, was))
        return err_set(
            e, ERR_LIMIT, 0,
            "it has grown since it was shown: it makes %llu vanish, %llu move and %llu drop "
            "addresses now, and was %llu, %llu and %llu. Look at it again with `causewayctl "
            "directory pending %s`",
            (unsigned long long)n->vanish, (unsigned long long)n->move, (unsigned long long)n->drop,
            (unsigned long long)was->vanish, (unsigned long long)was->move,
            (unsigned long long)was->drop, s->c->name);
    return was_shown(now, shown) ||
           err_set(e, ERR_LIMIT, 0,
                   "it has changed since it was shown: others vanish, move or lose addresses now. "
                   "Look at it again with `causewayctl directory pending %s`",
                   s->c->name);
}

struct hold *source_accept(struct source *s, struct err *e)
{
    struct hold *h = NULL, *shown = NULL;
    pthread_mutex_lock(&s->lock);
    if (is_known(s, e)) {
        h = hold_ref(s->held);
        shown = hold_ref(s->shown);
    }
    pthread_mutex_unlock(&s->lock);
    bool ok = h != NULL && may_be_accepted(s, h, shown, e); /* takes a while: without the lock */
    hold_unref(&shown);
    if (!ok) {
        hold_unref(&h);
        return NULL;
    }
    pthread_mutex_lock(&s->lock);
    hold_unref(&s->accepted);
    s->accepted = hold_ref(h);
    pthread_mutex_unlock(&s->lock);
    source_interrupt(s);
    return h;
}

bool source_accept_next(struct source *s, struct err *e)
{
    pthread_mutex_lock(&s->lock);
    bool ok = s->held == NULL ||
              err_set(e, ERR_INPUT, 0, "a change of source \"%s\" is held already: accept that one",
                      s->c->name);
    s->accept_next = s->accept_next || ok;
    pthread_mutex_unlock(&s->lock);
    if (ok)
        source_interrupt(s);
    return ok;
}

bool source_obey(struct source *s)
{
    struct err e;
    uint64_t rung;
    ssize_t n = read(s->stop_fd, &rung, sizeof(rung));
    pthread_mutex_lock(&s->lock);
    struct hold *h = s->accepted;
    bool next = s->accept_next, stopping = s->stopping;
    s->accept_next = false;
    if (h != NULL)
        hold_ref(h);
    pthread_mutex_unlock(&s->lock);
    if (next)
        replica_accept_next(s->replica);
    if (h != NULL && !replica_accept(s->replica, h, &e))
        LOG(WARN, s->c->name, "directory-accept-failed", LC("error", e.text));
    pthread_mutex_lock(&s->lock);
    hold_unref(&s->accepted);
    pthread_mutex_unlock(&s->lock);
    hold_unref(&h);
    return n > 0 && !stopping;
}
