/*
 * openldap.c - follows an OpenLDAP server by RFC 4533 refreshAndPersist.
 *
 * A session: connect, search with the cookie we have, refresh stage, persist stage until the
 * connection ends. The refresh stage may be a present phase (what is not named is gone), a delete
 * phase (only what is named is gone) or both, one after the other (3.3.1); without a cookie it is
 * everything, and what we hold besides is gone. Nothing of a refresh that does not reach its end is
 * kept as a deletion. In the persist stage changes that lie ready together make one commit, with
 * the cookie that covers them.
 *
 * On failure: as ldap_follow.h says. e-syncRefreshRequired (4096): the cookie is dropped and
 * everything loaded anew. Runs on its source's thread.
 */
#include "directory/source.h"

#include "base/clock.h"
#include "directory/ldap/ldap_entry.h"
#include "directory/ldap/ldap_follow.h"
#include "directory/ldap/ldap_link.h"
#include "directory/ldap/syncrepl.h"

#define TICK_MS        250   /* how often it is looked whether a probe is due */
#define PROBE_MS       10000 /* how often a quiet server is asked for a sign of life */
#define PROBE_LULL_MS  60000 /* one that gives none for so long is as good as gone */
#define REFRESH_LULL_S 60    /* a refresh in which nothing arrives so long has failed */
#define COALESCE_MS    5     /* persist stage: changes this close make one commit */
#define STOP_EVERY     256   /* messages between two looks at the stop flag */

struct session {
    struct source *s;
    struct map *map;
    LDAP *ld;
    int msgid;
    bool refreshing;
    bool delete_absent;
    bool got_done; /* the refresh of this session reached its end */
    struct buf cookie;
    bool new_cookie;
    int64_t last_message_ms;
    int probe; /* message id of the question that is out; 0: none */
    int64_t probed_ms;
};

static bool protocol_error(struct err *e, const char *what)
{
    return err_set(e, ERR_PROTOCOL, 0, "the server's answer is not RFC 4533: %s", what);
}

static void take_cookie(struct session *x, struct str cookie)
{
    if (cookie.p == NULL)
        return;
    buf_clear(&x->cookie);
    x->new_cookie = buf_append_str(&x->cookie, cookie);
}

static struct str cookie_for_commit(struct session *x)
{
    return x->new_cookie ? buf_str(&x->cookie) : STR_NULL;
}

/* ---- entries ---- */

static bool entry_state(LDAP *ld, LDAPMessage *m, LDAPControl ***controls,
                        enum syncrepl_state *state, const unsigned char **uuid, struct str *cookie)
{
    if (ldap_get_entry_controls(ld, m, controls) != LDAP_SUCCESS)
        return false;
    LDAPControl *c = ldap_control_find(SYNCREPL_STATE_OID, *controls, NULL);
    return c != NULL && syncrepl_read_state(ldap_berval_str(&c->ldctl_value), state, uuid, cookie);
}

/* Maps the attributes; *out lives until the next entry. 1: an entry; 0: not mail-enabled; -1: the
 * message is damaged. */
static int entry_map(struct session *x, LDAPMessage *m, const unsigned char *uuid,
                     struct dir_entry *out)
{
    struct ldap_entry it;
    map_begin(x->map);
    if (ldap_entry_begin(&it, x->ld, m)) {
        map_dn(x->map, it.dn);
        while (ldap_entry_next(&it))
            ldap_entry_map(&it, x->map, it.name);
    }
    if (!it.damaged && map_bad_value(x->map).n != 0)
        source_bad_value(x->s, it.dn, map_bad_value(x->map));
    return !ldap_entry_end(&it) ? -1 : map_end(x->map, uuid, out);
}

static bool on_entry(struct session *x, LDAPMessage *m, struct err *e)
{
    LDAPControl **controls = NULL;
    enum syncrepl_state state;
    const unsigned char *uuid;
    struct str cookie;
    struct dir_entry entry;
    struct replica *r = x->s->replica;
    bool ok = entry_state(x->ld, m, &controls, &state, &uuid, &cookie) ||
              protocol_error(e, "an entry without a sync state");
    int mapped = 0;
    if (ok && (state == SYNCREPL_ADD || state == SYNCREPL_MODIFY))
        mapped = entry_map(x, m, uuid, &entry);
    if (mapped < 0)
        ok = protocol_error(e, "a damaged entry");
    if (ok && state == SYNCREPL_PRESENT)
        replica_present(r, uuid);
    else if (ok && mapped == 0)
        replica_delete(r, uuid); /* deleted, or no longer mail-enabled */
    else if (ok && !replica_upsert(r, &entry))
        source_bad_value(x->s, STR("an entry"), STR("(the whole entry is too long)"));
    if (ok)
        take_cookie(x, cookie);
    ldap_controls_free(controls);
    return ok;
}

/* ---- what comes between entries ---- */

static bool refresh_over(struct session *x, struct err *e)
{
    /* refused: still in the refresh, so that its cookie is never committed */
    if (!replica_refresh_end(x->s->replica, x->delete_absent, cookie_for_commit(x), e))
        return false;
    x->refreshing = x->new_cookie = false;
    x->got_done = true;
    source_is_current(x->s);
    return true;
}

static bool on_info_value(struct session *x, struct str value, struct err *e)
{
    struct syncrepl_info info;
    const unsigned char *uuid;
    if (!syncrepl_read_info(value, &info))
        return protocol_error(e, "a damaged sync info message");
    take_cookie(x, info.cookie);
    switch (info.kind) {
    case SYNCREPL_NEW_COOKIE:
        return true;
    case SYNCREPL_ID_SET:
        while (syncrepl_next_uuid(&info.uuids, &uuid))
            if (info.refresh_deletes)
                replica_delete(x->s->replica, uuid);
            else
                replica_present(x->s->replica, uuid);
        return true;
    case SYNCREPL_REFRESH_PRESENT:
    case SYNCREPL_REFRESH_DELETE:
        break;
    }
    if (!x->refreshing)
        return protocol_error(e, "a refresh ended that had not begun");
    x->delete_absent = x->delete_absent || info.kind == SYNCREPL_REFRESH_PRESENT;
    return !info.refresh_done || refresh_over(x, e);
}

static bool on_info(struct session *x, LDAPMessage *m, struct err *e)
{
    char *oid = NULL;
    struct berval *value = NULL;
    bool ok = ldap_parse_intermediate(x->ld, m, &oid, &value, NULL, 0) == LDAP_SUCCESS ||
              protocol_error(e, "a damaged intermediate message");
    if (ok && oid != NULL && strcmp(oid, SYNCREPL_INFO_OID) == 0)
        ok = on_info_value(x, ldap_berval_str(value), e);
    ldap_memfree(oid);
    ber_bvfree(value);
    return ok;
}

/* The search ended, which persist never does by itself. */
static enum follow on_result(struct session *x, LDAPMessage *m, struct err *e)
{
    int code = LDAP_OTHER;
    int rc = ldap_parse_result(x->ld, m, &code, NULL, NULL, NULL, NULL, 0);
    const struct conf_source *c = x->s->c;
    if (rc != LDAP_SUCCESS)
        code = rc;
    switch (code) {
    case SYNCREPL_REFRESH_REQUIRED:
        return FOLLOW_RELOAD;
    case LDAP_UNAVAILABLE_CRITICAL_EXTENSION:
        err_set(e, ERR_CONFIG, 0,
                "the server does not offer RFC 4533 for base \"%s\"; it needs the "
                "syncprov overlay",
                c->base);
        return FOLLOW_LOST;
    case LDAP_NO_SUCH_OBJECT:
        err_set(e, ERR_CONFIG, 0, "base \"%s\" does not exist, or bind_dn may not see it", c->base);
        return FOLLOW_LOST;
    case LDAP_SIZELIMIT_EXCEEDED:
    case LDAP_TIMELIMIT_EXCEEDED:
    case LDAP_ADMINLIMIT_EXCEEDED:
        err_set(e, ERR_CONFIG, 0,
                "the server cut the answer short (%s); give bind_dn size=unlimited "
                "and time=unlimited there (\"limits\")",
                ldap_err2string(code));
        return FOLLOW_LOST;
    default:
        ldap_link_error(x->ld, code, "the server ended the search", e);
        return FOLLOW_LOST;
    }
}

static enum follow on_message(struct session *x, int type, LDAPMessage *m, struct err *e)
{
    x->last_message_ms = clock_mono_ms();
    switch (type) {
    case LDAP_RES_SEARCH_ENTRY:
        return on_entry(x, m, e) ? FOLLOW_ON : FOLLOW_LOST;
    case LDAP_RES_INTERMEDIATE:
        return on_info(x, m, e) ? FOLLOW_ON : FOLLOW_LOST;
    case LDAP_RES_SEARCH_RESULT:
        return on_result(x, m, e);
    default:
        return FOLLOW_ON; /* references lead elsewhere: not ours to follow */
    }
}

/* ---- the session ---- */

static bool commit_changes(struct session *x, struct err *e)
{
    bool ok = replica_commit_checked(x->s->replica, cookie_for_commit(x), e);
    x->new_cookie = false;
    return ok;
}

/* All that lies ready; *n counts. */
static enum follow drain(struct session *x, unsigned *n, struct err *e)
{
    int64_t began = clock_mono_ms();
    for (*n = 0;;) {
        struct timeval now = {0};
        LDAPMessage *m = NULL;
        int type = ldap_result(x->ld, x->msgid, LDAP_MSG_ONE, &now, &m);
        if (type == 0)
            return FOLLOW_ON;
        if (type < 0) {
            int rc = LDAP_SERVER_DOWN;
            ldap_get_option(x->ld, LDAP_OPT_RESULT_CODE, &rc);
            ldap_link_error(x->ld, rc, "connection lost", e);
            return FOLLOW_LOST;
        }
        enum follow o = on_message(x, type, m, e);
        ldap_msgfree(m);
        if (o != FOLLOW_ON)
            return o;
        if (++*n % STOP_EVERY == 0 && source_must_stop(x->s))
            return FOLLOW_STOPPED;
        if (!x->refreshing && clock_mono_ms() - began >= COALESCE_MS) {
            if (!commit_changes(x, e))
                return FOLLOW_LOST;
            began = clock_mono_ms();
        }
    }
}

/* ---- is it still there ---- */

/* A connection that is merely open proves nothing: the server may hang. Often enough that a source
 * does not grow stale between two answers. */
static int64_t probe_every(struct source *s)
{
    pthread_mutex_lock(&s->lock);
    int64_t stale = s->stale_after_ms;
    pthread_mutex_unlock(&s->lock);
    return stale != 0 && stale / 4 < PROBE_MS ? stale / 4 : PROBE_MS;
}

/* Asks for the root DSE, without any attribute of it. Any answer will do. */
static bool probe_send(struct session *x, struct err *e)
{
    char none[] = LDAP_NO_ATTRS;
    char *attributes[] = {none, NULL};
    int rc = ldap_search_ext(x->ld, "", LDAP_SCOPE_BASE, "(objectClass=*)", attributes, 0, NULL,
                             NULL, NULL, LDAP_NO_LIMIT, &x->probe);
    x->probed_ms = clock_mono_ms();
    return rc == LDAP_SUCCESS || ldap_link_error(x->ld, rc, "connection lost", e);
}

/* While there is no refresh, which has a limit of its own. */
static bool probe(struct session *x, struct err *e)
{
    struct timeval now = {0};
    LDAPMessage *m = NULL;
    if (x->probe != 0 && ldap_result(x->ld, x->probe, LDAP_MSG_ALL, &now, &m) > 0) {
        x->probe = 0;
        source_is_current(x->s);
    }
    ldap_msgfree(m);
    int64_t waited = clock_mono_ms() - x->probed_ms;
    if (x->probe == 0)
        return waited < probe_every(x->s) || probe_send(x, e);
    return waited < PROBE_LULL_MS ||
           err_set(e, ERR_TIMEOUT, 0, "the server does not answer any more");
}

static enum follow keep_up(struct session *x, struct err *e)
{
    int fd = ldap_link_fd(x->ld);
    for (;;) {
        /* first: what it reads for others, drain() finds */
        if (!x->refreshing && !probe(x, e))
            return FOLLOW_LOST;
        unsigned n;
        enum follow o = drain(x, &n, e);
        if (!x->refreshing && !commit_changes(x, e)) /* also before a loss: what arrived is whole */
            return FOLLOW_LOST;
        if (o != FOLLOW_ON)
            return o;
        if (x->refreshing && clock_mono_ms() - x->last_message_ms > REFRESH_LULL_S * 1000)
            return err_set(e, ERR_TIMEOUT, 0, "nothing arrived for %d s in the middle of a refresh",
                           REFRESH_LULL_S),
                   FOLLOW_LOST;
        if (x->refreshing && n != 0)
            source_let_gather(x->s);
        if (!source_wait(x->s, fd, TICK_MS, NULL))
            return FOLLOW_STOPPED;
    }
}

static bool search(struct session *x, struct err *e)
{
    struct buf request = BUF_INIT(TABLE_COOKIE_MAX + 64);
    struct str cookie = replica_cookie(x->s->replica);
    const struct conf_source *c = x->s->c;
    bool ok = syncrepl_request(&request, cookie);
    LDAPControl sync = {.ldctl_oid = (char *)SYNCREPL_REQUEST_OID,
                        .ldctl_value = {.bv_len = request.n, .bv_val = request.p},
                        .ldctl_iscritical = 1};
    LDAPControl *controls[] = {&sync, NULL};
    int rc =
        ok ? ldap_search_ext(x->ld, c->base, LDAP_SCOPE_SUBTREE, c->filter, map_attributes(x->map),
                             0, controls, NULL, NULL, LDAP_NO_LIMIT, &x->msgid)
           : LDAP_ENCODING_ERROR;
    buf_free(&request);
    x->delete_absent = cookie.n == 0;
    return rc == LDAP_SUCCESS || ldap_link_error(x->ld, rc, "search", e);
}

static enum follow session(void *arg, const char *uri, bool *synced, struct err *e)
{
    struct session *x = arg;
    struct replica *r = x->s->replica;
    x->got_done = x->new_cookie = false;
    x->probe = 0;
    x->probed_ms = 0;
    x->ld = ldap_link_open(x->s->c, uri, e);
    if (x->ld == NULL)
        return FOLLOW_LOST;
    enum follow o = FOLLOW_LOST;
    if (search(x, e)) {
        if (!replica_is_complete(r))
            source_set_state(x->s, DIR_SOURCE_SYNCING);
        x->refreshing = true;
        x->last_message_ms = clock_mono_ms();
        replica_refresh_begin(r);
        source_linked(x->s, &(struct source_link){.server = uri,
                                                  .method = "refreshAndPersist",
                                                  .certificate_expires_ms =
                                                      ldap_link_certificate_ends(x->ld)});
        o = keep_up(x, e);
        replica_abort(r);
        x->refreshing = false;
    }
    *synced = x->got_done;
    if (o == FOLLOW_LOST)
        err_wrap(e, "%s", uri);
    ldap_link_close(&x->ld);
    return o;
}

void openldap_source_run(struct source *s)
{
    struct map_options wanted = map_options_of(s->c);
    struct session x = {.s = s, .map = map_new(&wanted)};
    buf_init(&x.cookie, TABLE_COOKIE_MAX);
    ldap_follow(s, session, &x);
    buf_free(&x.cookie);
    map_free(&x.map);
}
