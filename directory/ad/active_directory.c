/*
 * active_directory.c - follows a domain, or by a global catalog a forest, of Active Directory.
 *
 * A session: connect to a domain controller, learn what it is (ad_server.c), read everything or,
 * with a cookie, what changed, and then look for changes every poll_interval. Such a look is one
 * question about the server's highest update sequence number, and only if that has moved, a search.
 * The server's change notification names changed objects sooner, which are read at once; but it
 * proves nothing by its silence.
 *
 * By which means: DirSync (ad_dirsync.c), or update sequence numbers (ad_usn.c) where DirSync is
 * not to be had or not wanted. What is kept with the data is ad_value.h's cookie:
 *
 *   - of the other means, or refused by the server: everything is read anew. That is a refresh of
 *     the replica; what it does not name is gone when it has reached its end, not before.
 *   - too old: servers forget after a time what was deleted. Anew.
 *   - USN: numbers of another server, or of the same after it was restored, mean nothing: anew.
 *   - DirSync: good at every server of the domain. But a server that is behind in replication may
 *     show an object older than we have it, and what it lacks will not be announced again, as the
 *     cookie says that we know. So some time after a change of servers everything is read once
 *     more.
 *
 * Deletions that the account cannot see are found by reading everything once an hour.
 *
 * On failure: as ldap_follow.h says; nothing of an unfinished round is kept. Runs on its source's
 * thread.
 */
#include "directory/ad/ad_int.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/mem.h"
#include "directory/ldap/ldap_link.h"

#define FORGET_MS   2592000000 /* 30 days; servers forget what was deleted after 60 or 180 */
#define KEEP_MS     60000      /* a cookie that covers no change of ours is kept so often */
#define ANEW_MS     3600000    /* how often everything is read while deletions are not visible */
#define NOTICED_MAX 10000      /* notifications at a time; more are left to the next look */
#define RELOAD_MAX  2          /* in one session: a refused cookie, and DirSync refused */

/* ---- the cookie ---- */

static bool write_cookie(struct ad *x, struct buf *out)
{
    struct ad_cookie c = {.method = x->method,
                          .again_ms = x->again_ms,
                          .dirsync = buf_str(&x->dirsync),
                          .usn = x->usn};
    memcpy(c.invocation, x->server.invocation, DIR_UUID_SIZE);
    buf_init(out, TABLE_COOKIE_MAX);
    return ad_cookie_write(out, &c);
}

enum follow ad_commit(struct ad *x, struct err *e)
{
    struct buf cookie;
    int64_t now = clock_mono_ms();
    if (replica_batch(x->s->replica) == 0 && replica_keeps_limits(x->s->replica, e) &&
        now - x->kept_ms < KEEP_MS)
        return FOLLOW_ON; /* from the cookie before, a little is read once more */
    bool fits = write_cookie(x, &cookie);
    bool ok = replica_commit_checked(x->s->replica, fits ? buf_str(&cookie) : STR_NULL, e);
    buf_free(&cookie);
    x->kept_ms = now;
    return ok ? FOLLOW_ON : FOLLOW_LOST;
}

/* Goes on from what the replica keeps. False: everything must be read. */
static bool resume(struct ad *x)
{
    struct ad_cookie c;
    buf_clear(&x->dirsync);
    x->usn = 0;
    x->again_ms = 0;
    if (!ad_cookie_read(replica_cookie(x->s->replica), &c) || c.method != x->method ||
        clock_wall_ms() - replica_complete_wall_ms(x->s->replica) > FORGET_MS)
        return false;
    bool same = memcmp(c.invocation, x->server.invocation, DIR_UUID_SIZE) == 0;
    if (c.method == AD_USN && !same)
        return false;
    x->again_ms = same ? c.again_ms : ad_again_ms(c.again_ms, clock_wall_ms());
    x->usn = c.usn;
    return buf_append_str(&x->dirsync, c.dirsync);
}

/* ---- reading ---- */

static enum follow read_all(struct ad *x, struct err *e)
{
    struct replica *r = x->s->replica;
    struct buf cookie;
    uint64_t usn;
    enum follow o = ad_server_usn(x, &usn, e);
    if (!replica_is_complete(r))
        source_set_state(x->s, DIR_SOURCE_SYNCING);
    replica_refresh_begin(r);
    x->again_ms = 0;
    if (o == FOLLOW_ON)
        o = x->method == AD_DIRSYNC ? ad_dirsync_full(x, usn, e) : ad_usn_full(x, e);
    if (o == FOLLOW_ON)
        o = ad_read_ranged(x, e);
    if (o != FOLLOW_ON)
        return o;
    x->usn = usn;
    bool fits = write_cookie(x, &cookie);
    if (!replica_refresh_end(r, true, fits ? buf_str(&cookie) : STR_NULL, e))
        o = FOLLOW_LOST;
    buf_free(&cookie);
    x->kept_ms = x->anew_ms = clock_mono_ms();
    return o;
}

static enum follow read_changes(struct ad *x, struct err *e)
{
    uint64_t now;
    enum follow o = ad_server_usn(x, &now, e);
    if (o != FOLLOW_ON || now == x->usn)
        return o;
    if (x->method == AD_USN && now < x->usn)
        return FOLLOW_RELOAD; /* an older copy of its database was put back */
    if (x->method == AD_USN)
        return ad_usn_changes(x, now, e);
    o = ad_dirsync_changes(x, e);
    if (o == FOLLOW_ON)
        x->usn = now;
    return o;
}

static bool deletions_are_hidden(const struct ad *x)
{
    return !x->server.sees_deleted && (x->method == AD_USN || x->flags != 0);
}

static bool is_due_anew(const struct ad *x)
{
    return ad_again_is_due(x->again_ms, clock_wall_ms()) ||
           (deletions_are_hidden(x) && clock_mono_ms() - x->anew_ms >= ANEW_MS);
}

/* The server refused the cookie, or DirSync as such. *all: everything is to be read. */
static bool reload(struct ad *x, bool *all, struct err *e)
{
    const char *why = "the server cannot go on from our cookie; everything is read anew";
    replica_abort(x->s->replica);
    if (++x->reloads > RELOAD_MAX)
        return err_set(e, ERR_PROTOCOL, 0,
                       "the server refuses what it has just given, again and again");
    if (x->method == AD_DIRSYNC && !x->may_dirsync) {
        x->method = AD_USN;
        why = "the server refuses DirSync; update sequence numbers are used";
    } else {
        replica_forget_cookie(x->s->replica);
    }
    LOG(WARN, x->c->name, "directory-reload", LC("why", why));
    *all = !resume(x);
    return true;
}

/* ---- what a person should know ---- */

static bool looks_at_member_of(const char *filter)
{
    struct str rest = str_c(filter), name;
    while (ad_filter_attribute(&rest, &name))
        if (str_eq_nocase(name, STR("memberOf")))
            return true;
    return false;
}

static void write_notice(const struct ad *x, char *dst, size_t cap)
{
    const char *account = *x->c->bind_dn != '\0' ? x->c->bind_dn : "the account";
    dst[0] = '\0';
    if (deletions_are_hidden(x) && x->server.domain == NULL)
        snprintf(dst, cap,
                 "whether %s sees the deletions of all domains is not known; everything is read "
                 "again every hour instead. A source for each domain, with a base in it, needs no "
                 "such reading",
                 account);
    else if (deletions_are_hidden(x))
        snprintf(dst, cap,
                 "%s cannot see deletions; everything is read again every hour instead. Let it "
                 "list and read CN=Deleted Objects: dsacls \"CN=Deleted Objects,%s\" "
                 "/takeownership, then the same with /g ACCOUNT:LCRP",
                 account, x->server.domain);
    else if (x->method == AD_USN && !x->server.global_catalog && x->c->sync != CONF_SYNC_USN)
        snprintf(dst, cap,
                 "the server refuses DirSync to %s; update sequence numbers are used, and after a "
                 "change of servers everything is read anew",
                 account);
    else if (looks_at_member_of(x->c->filter))
        snprintf(dst, cap,
                 "filter looks at memberOf, whose changes no server announces; let it look at an "
                 "attribute of the object itself");
}

static void tell(struct ad *x)
{
    struct source_link l = {.server = x->uri,
                            .method = x->method == AD_DIRSYNC ? "DirSync" : "USN",
                            .certificate_expires_ms = ldap_link_certificate_ends(x->ld),
                            .password_expires_ms = x->password_ends_ms};
    write_notice(x, l.notice, sizeof(l.notice));
    source_linked(x->s, &l);
}

/* ---- between two readings ---- */

static bool take_notification(struct ad *x, struct ad_search *q, LDAPMessage *m, struct err *e)
{
    struct ldap_entry it;
    if (ldap_entry_begin(&it, x->ld, m))
        while (ldap_entry_next(&it)) {
            struct str guid = ldap_entry_value(&it);
            if (guid.n == DIR_UUID_SIZE && x->noticed.n < NOTICED_MAX)
                ad_guids_add(&x->noticed, (const unsigned char *)guid.p);
        }
    return ldap_entry_end(&it) || err_set(e, ERR_PROTOCOL, 0, "%s: a damaged entry", q->what);
}

/* It may come late or be missed. A server that refuses is just polled. */
static bool start_notification(struct ad *x, struct err *e)
{
    static const char *const wanted[] = {"objectGUID", NULL};
    LDAPControl notify = {.ldctl_oid = (char *)AD_NOTIFY_OID, .ldctl_iscritical = 1};
    LDAPControl deleted = {.ldctl_oid = (char *)AD_SHOW_DELETED_OID, .ldctl_iscritical = 1};
    struct ad_ask ask = {.base = x->server.root,
                         .scope = LDAP_SCOPE_SUBTREE,
                         .filter = "(objectClass=*)",
                         .attributes = (char **)wanted,
                         .control = {&notify, &deleted}};
    x->notify = (struct ad_search){.what = "change notification", .entry = take_notification};
    return x->server.global_catalog || ad_search_start(x, &x->notify, &ask, e);
}

/* Reads what notifications named, ahead of the next look. */
static enum follow read_noticed(struct ad *x, struct err *e)
{
    struct ad_guids noticed = x->noticed;
    x->noticed = x->changed; /* it is empty */
    x->changed = noticed;
    enum follow o = ad_read_changed(x, e);
    return o == FOLLOW_ON ? ad_commit(x, e) : o;
}

/* Until it is time to look for changes; what notifications name is read as they come. Never so soon
 * that a server to which a look is hard work does nothing else. */
static enum follow idle(struct ad *x, struct err *e)
{
    int64_t wait = x->c->poll_interval_ms;
    int64_t end = x->looked_ms + (wait > x->look_took_ms ? wait : x->look_took_ms);
    enum follow o = FOLLOW_ON;
    for (int64_t left; o == FOLLOW_ON && (left = end - clock_mono_ms()) > 0;) {
        o = ad_listen(x, (int)left, e);
        if (o == FOLLOW_ON && x->noticed.n != 0)
            o = read_noticed(x, e);
    }
    if (x->notify.done)
        ad_search_end(x, &x->notify);
    return o;
}

/* Everything, or what changed; and how long the latter took. */
static enum follow look(struct ad *x, bool all, struct err *e)
{
    int64_t began = clock_mono_ms();
    all = all || is_due_anew(x);
    enum follow o = all ? read_all(x, e) : read_changes(x, e);
    x->looked_ms = clock_mono_ms();
    x->look_took_ms = all ? 0 : x->looked_ms - began;
    return o;
}

static enum follow keep_up(struct ad *x, bool *synced, struct err *e)
{
    bool all = !resume(x), told = false;
    enum follow o = start_notification(x, e) ? FOLLOW_ON : FOLLOW_LOST;
    while (o == FOLLOW_ON) {
        o = look(x, all, e);
        if (o == FOLLOW_RELOAD) {
            told = false;
            o = reload(x, &all, e) ? FOLLOW_ON : FOLLOW_LOST;
            continue;
        }
        if (o != FOLLOW_ON)
            break;
        if (!told)
            tell(x); /* only now is it clear by which means */
        *synced = told = true;
        all = false;
        source_is_current(x->s);
        o = idle(x, e);
    }
    return o;
}

/* ---- the session ---- */

static void choose_method(struct ad *x)
{
    bool dirsync = x->c->sync != CONF_SYNC_USN && !x->server.global_catalog;
    x->method = dirsync ? AD_DIRSYNC : AD_USN;
    x->may_dirsync = dirsync;
    x->flags = 0;
    x->reloads = 0;
}

static enum follow session(void *arg, const char *uri, bool *synced, struct err *e)
{
    struct ad *x = arg;
    x->ld = ldap_link_open(x->c, uri, e);
    if (x->ld == NULL)
        return FOLLOW_LOST;
    x->uri = uri;
    enum follow o = ad_server_learn(x, uri, e);
    if (o == FOLLOW_ON)
        o = ad_account_password_ends(x, &x->password_ends_ms, e);
    if (o == FOLLOW_ON) {
        choose_method(x);
        o = keep_up(x, synced, e);
    }
    replica_abort(x->s->replica);
    ad_search_end(x, &x->notify);
    x->changed.n = x->containers.n = x->ranged.n = x->noticed.n = 0;
    if (o == FOLLOW_LOST)
        err_wrap(e, "%s", uri);
    ldap_link_close(&x->ld);
    return o;
}

void active_directory_source_run(struct source *s)
{
    static const char *const whole[] = {"objectGUID", "isDeleted", NULL};
    static const char *const watch[] = {"objectGUID", "isDeleted", "name", "objectClass", NULL};
    struct map_options wanted = map_options_of(s->c);
    struct ad *x = NEW(struct ad);
    x->s = s;
    x->c = s->c;
    x->anew_ms = clock_mono_ms();
    x->map = map_new(&wanted);
    x->whole = ad_attributes_new(map_attributes(x->map), whole, "");
    x->watch = ad_attributes_new(map_attributes(x->map), watch, s->c->filter);
    buf_init(&x->dirsync, TABLE_COOKIE_MAX);
    ldap_follow(s, session, x);
    ad_attributes_free(&x->whole);
    ad_attributes_free(&x->watch);
    ad_server_forget(&x->server);
    ad_guids_free(&x->changed);
    ad_guids_free(&x->containers);
    ad_guids_free(&x->ranged);
    ad_guids_free(&x->noticed);
    buf_free(&x->dirsync);
    map_free(&x->map);
    mem_free(x);
}
