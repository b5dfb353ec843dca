/*
 * ldap_follow.c - see ldap_follow.h.
 */
#include "directory/ldap/ldap_follow.h"

#include "base/random.h"

/* Half to whole of the present wait. */
static int jittered(int64_t ms)
{
    return (int)(ms / 2 + (int64_t)random_jitter((uint64_t)(ms / 2) + 1));
}

/* Does the next session begin at once, because it begins anew? */
static bool reload(struct source *s, const char *uri, bool *reloaded, struct err *e)
{
    if (*reloaded)
        return err_set(e, ERR_PROTOCOL, 0, "%s: asks for a reload again and again", uri);
    LOG(WARN, s->c->name, "directory-reload", LC("uri", uri),
        LC("why", "the server cannot go on from our cookie; everything is read anew"));
    replica_forget_cookie(s->replica);
    *reloaded = true;
    return true;
}

void ldap_follow(struct source *s, ldap_session_fn *session, void *arg)
{
    const struct conf_source *c = s->c;
    int64_t wait = c->backoff_min_ms;
    unsigned uri = 0, failed = 0;
    bool reloaded = false;
    while (!source_must_stop(s)) {
        struct err e;
        bool synced = false;
        err_clear(&e);
        enum follow o = session(arg, c->uri[uri], &synced, &e);
        if (synced) {
            wait = c->backoff_min_ms;
            failed = 0;
            reloaded = false;
        }
        if (o == FOLLOW_STOPPED)
            break;
        if (o == FOLLOW_RELOAD && reload(s, c->uri[uri], &reloaded, &e))
            continue;
        source_failed(s, "%s", e.text);
        uri = (uri + 1) % c->n_uri;
        if (++failed % c->n_uri != 0)
            continue;
        if (!source_wait(s, -1, jittered(wait), NULL))
            break;
        wait = wait * 2 < c->backoff_max_ms ? wait * 2 : c->backoff_max_ms;
    }
}
