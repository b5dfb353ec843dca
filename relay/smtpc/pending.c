/*
 * pending.c - the clock of what waits for a connection. A host may take minutes to greet (RFC 5321
 * 4.5.3.2) and gets them, but the mail need not wait with it while there are other hosts. As long
 * as something is pending for a destination, once a second:
 *
 * - A session that is not ready within some seconds is *slow*: it stays where it is for as long as
 *   the RFC allows and may still get its share of the mail, but the search for a host that works
 *   goes on in another session, at the next endpoint, then at the next cost (the idea of RFC 8305).
 *   No second session waits at an endpoint where a slow one does.
 * - What is not to be delivered there any more is given back: the directory has changed, or an
 *   admin holds or removes it.
 * - What has waited too long is deferred: so long that less of total_timeout is left than an answer
 *   to the final dot may take (or than half of it, whatever is shorter); and where nothing works at
 *   all, the time that one host may take to connect, to greet and to answer EHLO.
 */
#include "base/assert.h"
#include "relay/smtpc/smtpc_int.h"

#define TICK_MS       1000
#define PATIENCE_MS   7000 /* the usual pauses before a greeting, against spam, are 5 or 6 s */
#define IMPATIENCE_MS 2000 /* the same when another host is slow already */
#define SLOW_MAX      8    /* slow sessions of a destination */

static bool session_takes_long(const struct session *s, int64_t now)
{
    int64_t patience = s->dest->n_slow == 0 ? PATIENCE_MS : IMPATIENCE_MS;
    return s->state > SESSION_RESOLVE && s->state < SESSION_READY && !s->slow &&
           now - s->attempt_ms >= patience;
}

static void pending_pass_slow_hosts(struct dest *d, int64_t now)
{
    unsigned before = d->n_slow;
    LIST_FOREACH (n, &d->sessions) {
        struct session *s = CONTAINER_OF(n, struct session, node);
        if (d->n_slow < SLOW_MAX && session_takes_long(s, now))
            session_set_slow(s);
    }
    /* At once, so that it is known whether there is another host when the slow one fails. */
    if (d->n_slow != before && d->n_idle == 0)
        dest_open_more(d);
}

bool pending_is_too_late(const struct dest *d, const struct job *j, int64_t now)
{
    const struct conf *conf = d->client->conf;
    int64_t total = conf->smtp_client.total_timeout_ms, need = conf->smtp_client.dot_timeout_ms;
    if (need > total / 2)
        need = total / 2;
    return total > 0 && now - j->started_ms >= total - need;
}

static bool pending_is_overdue(const struct dest *d, const struct job *j, int64_t now)
{
    const struct conf *conf = d->client->conf;
    int64_t one_host =
        conf->smtp_client.connect_timeout_ms + 2 * conf->smtp_client.banner_timeout_ms;
    int64_t from = j->started_ms > d->worked_ms ? j->started_ms : d->worked_ms;
    if (pending_is_too_late(d, j, now))
        return true;
    return dest_working(d) == 0 && now - from >= one_host;
}

static void pending_end_some(struct dest *d, int64_t now)
{
    LIST_FOREACH_SAFE (n, tmp, &d->pending) {
        struct delivery *dl = CONTAINER_OF(n, struct delivery, node);
        struct job *j = dl->transport;
        if (!dl->wanted(dl)) {
            result_reroute(j);
            dest_end_pending(d, j, DEST_OK);
        } else if (pending_is_overdue(d, j, now)) {
            result_too_late(j);
            dest_end_pending(d, j, dest_working(d) != 0 ? DEST_BUSY : DEST_UNREACHABLE);
        }
    }
}

static void pending_tick(struct loop_timer *t)
{
    struct dest *d = CONTAINER_OF(t, struct dest, pending_tick);
    int64_t now = loop_now_ms(d->client->loop);
    pending_end_some(d, now);
    if (d->n_pending == 0)
        return;
    pending_pass_slow_hosts(d, now);
    pending_watch(d);
}

void pending_init(struct dest *d)
{
    loop_timer_init(&d->pending_tick, d->client->loop, pending_tick);
}

void pending_watch(struct dest *d)
{
    if (!loop_timer_is_set(&d->pending_tick))
        loop_timer_set(&d->pending_tick, TICK_MS);
}

void pending_clear(struct dest *d)
{
    loop_timer_clear(&d->pending_tick);
}
