/*
 * ad_dirsync.c - reading by the DirSync control (MS-ADTS 3.1.1.3.4.1.3).
 *
 * An empty cookie brings everything, round after round, and a cookie with which the next call
 * brings what changed since: objects with a change in an attribute that we ask for, deleted ones
 * included. Which objects, that is; of them only the changed attributes come, so they are read
 * again (ad_read.c). The filter of the configuration is for the full reading and for reading again,
 * never for changes: an object that no longer passes it would be missed.
 *
 * Without the flag OBJECT_SECURITY an account needs the right to replicate, and sees deletions
 * whatever it may read. With it no right is needed, and deletions are seen only by an account that
 * may read Deleted Objects. So it is left out just for an account that may not.
 */
#include "directory/ad/ad_int.h"

#include "directory/ad/dirsync.h"
#include "directory/ldap/ldap_link.h"

#define ROUND_BYTES (4u << 20) /* a wish: servers give less */

/* Does the code say that our cookie is no good? Servers differ in it; what is left out is trouble
 * of the moment or of the connection. */
static bool is_refusal(int code)
{
    switch (code) {
    case LDAP_OPERATIONS_ERROR:
    case LDAP_PROTOCOL_ERROR:
    case LDAP_UNAVAILABLE_CRITICAL_EXTENSION:
    case LDAP_CONSTRAINT_VIOLATION:
    case LDAP_INVALID_SYNTAX:
    case LDAP_UNWILLING_TO_PERFORM:
    case LDAP_OTHER:
        return true;
    default:
        return false;
    }
}

static enum follow refused(struct ad *x, const struct ad_search *q, struct err *e)
{
    if (q->code != LDAP_INSUFFICIENT_ACCESS && !is_refusal(q->code))
        return ad_search_refused(x, q, e), FOLLOW_LOST;
    if (q->code != LDAP_INSUFFICIENT_ACCESS && x->dirsync.n != 0)
        return FOLLOW_RELOAD;
    x->may_dirsync = false;
    if (x->c->sync != CONF_SYNC_DIRSYNC)
        return FOLLOW_RELOAD;
    err_set(e, ERR_CONFIG, 0,
            "the server refuses DirSync (%s); give the account \"Replicating Directory Changes\" "
            "on %s, or write sync = auto",
            ldap_err2string(q->code), x->server.root);
    return FOLLOW_LOST;
}

static enum follow take_answer(struct ad *x, const struct ad_search *q, bool *more, struct err *e)
{
    struct dirsync_answer answer;
    LDAPControl *c = ldap_control_find(DIRSYNC_OID, q->controls, NULL);
    if (c == NULL || !dirsync_read_answer(ldap_berval_str(&c->ldctl_value), &answer))
        return err_set(e, ERR_PROTOCOL, 0, "%s: the answer has no DirSync cookie", q->what),
               FOLLOW_LOST;
    buf_clear(&x->dirsync);
    if (!buf_append_str(&x->dirsync, answer.cookie))
        return err_set(e, ERR_LIMIT, 0, "%s: the DirSync cookie has more than %zu octets", q->what,
                       x->dirsync.max),
               FOLLOW_LOST;
    *more = answer.more;
    return FOLLOW_ON;
}

static enum follow one_round(struct ad *x, struct ad_search *q, struct ad_ask *ask, bool *more,
                             struct err *e)
{
    struct buf value = BUF_INIT(TABLE_COOKIE_MAX + 64);
    dirsync_request(&value, x->flags, ROUND_BYTES, buf_str(&x->dirsync));
    LDAPControl control = {.ldctl_oid = (char *)DIRSYNC_OID,
                           .ldctl_value = {.bv_len = value.n, .bv_val = value.p},
                           .ldctl_iscritical = 1};
    ask->control[0] = &control;
    enum follow o = ad_search_start(x, q, ask, e) ? ad_search_wait(x, q, e) : FOLLOW_LOST;
    if (o == FOLLOW_ON)
        o = q->code == LDAP_SUCCESS ? take_answer(x, q, more, e) : refused(x, q, e);
    buf_free(&value);
    ad_search_end(x, q);
    return o;
}

/* An account without the right to replicate is asked for again with the flag that needs none. */
static enum follow round_by_flags(struct ad *x, struct ad_search *q, struct ad_ask *ask, bool *more,
                                  struct err *e)
{
    enum follow o = one_round(x, q, ask, more, e);
    if (x->may_dirsync || x->flags != 0 || o == FOLLOW_ON || o == FOLLOW_STOPPED)
        return o;
    x->may_dirsync = true;
    x->flags = DIRSYNC_OBJECT_SECURITY;
    return one_round(x, q, ask, more, e);
}

static void choose_flags(struct ad *x)
{
    if (x->server.sees_deleted)
        x->flags = DIRSYNC_OBJECT_SECURITY;
}

/* ---- everything ---- */

static enum follow from_nothing(struct ad *x, struct ad_search *q, struct ad_ask *ask,
                                struct err *e)
{
    enum follow o = FOLLOW_ON;
    buf_clear(&x->dirsync);
    for (bool more = true; o == FOLLOW_ON && more;)
        o = round_by_flags(x, q, ask, &more, e);
    return o;
}

/* The cookie stays what it was. */
static enum follow by_rounds(struct ad *x, struct err *e)
{
    struct ad_search q = {.what = "DirSync", .entry = ad_take_whole};
    struct ad_ask ask = {.base = x->server.root,
                         .scope = LDAP_SCOPE_SUBTREE,
                         .filter = x->c->filter,
                         .attributes = x->whole};
    struct buf before = x->dirsync;
    buf_init(&x->dirsync, before.max);
    enum follow o = from_nothing(x, &q, &ask, e);
    buf_free(&x->dirsync);
    x->dirsync = before;
    return o;
}

/* By an ordinary search, in one go. *all false: the server gives only so many entries at a time. */
static enum follow plainly(struct ad *x, bool *all, struct err *e)
{
    struct ad_search q = {.what = "reading all recipients", .entry = ad_take_whole};
    struct ad_ask ask = {.base = x->server.scope,
                         .scope = LDAP_SCOPE_SUBTREE,
                         .filter = x->c->filter,
                         .attributes = x->whole};
    enum follow o = ad_search_start(x, &q, &ask, e) ? ad_search_wait(x, &q, e) : FOLLOW_LOST;
    bool limited = q.code == LDAP_SIZELIMIT_EXCEEDED || q.code == LDAP_TIMELIMIT_EXCEEDED ||
                   q.code == LDAP_ADMINLIMIT_EXCEEDED;
    *all = !limited;
    if (o == FOLLOW_ON && !limited && q.code != LDAP_SUCCESS)
        o = (ad_search_refused(x, &q, e), FOLLOW_LOST);
    ad_search_end(x, &q);
    return o;
}

/* The cookie of this moment, by asking for what nothing is. */
static enum follow cookie_only(struct ad *x, struct err *e)
{
    static const char *const none[] = {LDAP_NO_ATTRS, NULL};
    static const unsigned char nobody[DIR_UUID_SIZE];
    struct buf filter = BUF_INIT(256);
    ad_guid_filter(&filter, "(objectClass=*)", nobody, 1);
    struct ad_search q = {.what = "DirSync"};
    struct ad_ask ask = {.base = x->server.root,
                         .scope = LDAP_SCOPE_SUBTREE,
                         .filter = buf_cstr(&filter),
                         .attributes = (char **)none};
    enum follow o = from_nothing(x, &q, &ask, e);
    buf_free(&filter);
    return o;
}

static enum follow read_changes(struct ad *x, struct err *e)
{
    struct ad_search q = {.what = "DirSync", .entry = ad_take_changed};
    struct ad_ask ask = {.base = x->server.root,
                         .scope = LDAP_SCOPE_SUBTREE,
                         .filter = "(objectClass=*)",
                         .attributes = x->watch};
    enum follow o = FOLLOW_ON;
    for (bool more = true; o == FOLLOW_ON && more;) {
        o = round_by_flags(x, &q, &ask, &more, e);
        if (o == FOLLOW_ON)
            o = ad_read_changed(x, e);
    }
    return o;
}

/* To some servers (Samba) a full DirSync is twice the work of a search, which brings the same;
 * others (Windows) cut a search off early, and then it is DirSync. Neither tells of those who are
 * deleted or leave the filter after it has passed them. So the cookie is from before all that, and
 * what changed since is read at the end. */
enum follow ad_dirsync_full(struct ad *x, uint64_t usn, struct err *e)
{
    bool all;
    uint64_t now;
    choose_flags(x);
    enum follow o = cookie_only(x, e);
    if (o == FOLLOW_ON)
        o = plainly(x, &all, e);
    if (o == FOLLOW_ON && !all)
        o = by_rounds(x, e);
    if (o == FOLLOW_ON)
        o = ad_server_usn(x, &now, e);
    return o == FOLLOW_ON && now != usn ? read_changes(x, e) : o;
}

/* ---- what changed ---- */

enum follow ad_dirsync_changes(struct ad *x, struct err *e)
{
    choose_flags(x);
    enum follow o = read_changes(x, e);
    /* one step, however many pages it takes: hold.h counts by steps */
    return o == FOLLOW_ON ? ad_commit(x, e) : o;
}
