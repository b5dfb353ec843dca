/*
 * ad_search.c - searches under way on the source's connection. Messages come in any order of
 * searches; each is handed to the one it belongs to, an entry at a time, so that a result is never
 * held in memory. Code that needs a result waits for it here, and the others go on meanwhile.
 */
#include "directory/ad/ad_int.h"

#include "base/assert.h"
#include "base/clock.h"
#include "directory/ldap/ldap_link.h"

#define TICK_MS    250
#define LULL_S     60   /* a search in which nothing arrives for so long has failed */
#define STOP_EVERY 256  /* messages between two looks at the stop flag */
#define LISTEN_MAX 4096 /* messages at a time, before a look at the clock */

static struct ad_search *find(struct ad *x, int msgid)
{
    for (unsigned i = 0; i < AD_SEARCHES_MAX; i++)
        if (x->under_way[i] != NULL && x->under_way[i]->msgid == msgid)
            return x->under_way[i];
    return NULL;
}

static void replace(struct ad *x, const struct ad_search *from, struct ad_search *to)
{
    unsigned i = 0;
    while (i < AD_SEARCHES_MAX && x->under_way[i] != from)
        i++;
    ASSERT(i < AD_SEARCHES_MAX);
    x->under_way[i] = to;
}

bool ad_search_start(struct ad *x, struct ad_search *q, const struct ad_ask *a, struct err *e)
{
    LDAPControl *control[] = {a->control[0], a->control[1], NULL};
    ASSERT(q->msgid == 0 && q->controls == NULL);
    q->done = false;
    q->code = LDAP_SUCCESS;
    int rc =
        ldap_search_ext(x->ld, a->base, a->scope, a->filter, a->attributes, 0,
                        control[0] != NULL ? control : NULL, NULL, NULL, LDAP_NO_LIMIT, &q->msgid);
    if (rc != LDAP_SUCCESS) {
        q->msgid = 0;
        return ldap_link_error(x->ld, rc, q->what, e);
    }
    replace(x, NULL, q);
    q->heard_ms = clock_mono_ms();
    return true;
}

void ad_search_end(struct ad *x, struct ad_search *q)
{
    if (q->msgid != 0) {
        replace(x, q, NULL);
        if (!q->done)
            ldap_abandon_ext(x->ld, q->msgid, NULL, NULL);
    }
    ldap_controls_free(q->controls);
    q->controls = NULL;
    q->msgid = 0;
}

/* ---- messages ---- */

static bool dispatch(struct ad *x, int type, LDAPMessage *m, struct err *e)
{
    struct ad_search *q = find(x, ldap_msgid(m));
    if (q == NULL || q->done)
        return true; /* of one that was abandoned */
    q->heard_ms = clock_mono_ms();
    if (type == LDAP_RES_SEARCH_ENTRY)
        return q->entry == NULL || q->entry(x, q, m, e);
    if (type != LDAP_RES_SEARCH_RESULT)
        return true; /* references lead to other naming contexts: not ours to follow */
    q->done = true;
    int rc = ldap_parse_result(x->ld, m, &q->code, NULL, NULL, NULL, &q->controls, 0);
    return rc == LDAP_SUCCESS || ldap_link_error(x->ld, rc, q->what, e);
}

/* What lies ready, or a part of it; *n counts. */
static enum follow drain(struct ad *x, const struct ad_search *until, unsigned *n, struct err *e)
{
    for (*n = 0; *n < LISTEN_MAX && (until == NULL || !until->done); ++*n) {
        struct timeval now = {0};
        LDAPMessage *m = NULL;
        int type = ldap_result(x->ld, LDAP_RES_ANY, LDAP_MSG_ONE, &now, &m);
        if (type == 0)
            break;
        if (type < 0) {
            int rc = LDAP_SERVER_DOWN;
            ldap_get_option(x->ld, LDAP_OPT_RESULT_CODE, &rc);
            ldap_link_error(x->ld, rc, "connection lost", e);
            return FOLLOW_LOST;
        }
        bool ok = dispatch(x, type, m, e);
        ldap_msgfree(m);
        if (!ok)
            return FOLLOW_LOST;
        if (*n % STOP_EVERY == 0 && source_must_stop(x->s))
            return FOLLOW_STOPPED;
    }
    return FOLLOW_ON;
}

enum follow ad_listen(struct ad *x, int ms, struct err *e)
{
    unsigned n;
    enum follow o = drain(x, NULL, &n, e);
    if (o != FOLLOW_ON || n != 0 || ms <= 0)
        return o;
    if (!source_wait(x->s, ldap_link_fd(x->ld), ms, NULL))
        return FOLLOW_STOPPED;
    return drain(x, NULL, &n, e);
}

/* Messages of the others, which may never end, are no sign of it. But what was started long ago may
 * have stood in line behind those that were waited for before. */
static bool is_silent(const struct ad_search *q, int64_t waited_since_ms)
{
    int64_t since = q->heard_ms > waited_since_ms ? q->heard_ms : waited_since_ms;
    return clock_mono_ms() - since > LULL_S * 1000;
}

enum follow ad_search_wait(struct ad *x, struct ad_search *q, struct err *e)
{
    int64_t began = clock_mono_ms();
    for (;;) {
        unsigned n;
        enum follow o = drain(x, q, &n, e);
        if (o != FOLLOW_ON || q->done)
            return o;
        if (is_silent(q, began)) {
            err_set(e, ERR_TIMEOUT, 0, "%s: nothing arrived for %d s", q->what, LULL_S);
            return FOLLOW_LOST;
        }
        if (n != 0 && n < LISTEN_MAX)
            source_let_gather(x->s);
        if (n < LISTEN_MAX && !source_wait(x->s, ldap_link_fd(x->ld), TICK_MS, NULL))
            return FOLLOW_STOPPED;
    }
}

/* ---- the usual ways ---- */

static bool is_good(const struct ad_search *q, const struct ad_ask *a)
{
    return q->code == LDAP_SUCCESS || (a->may_be_gone && q->code == LDAP_NO_SUCH_OBJECT);
}

bool ad_search_refused(struct ad *x, const struct ad_search *q, struct err *e)
{
    switch (q->code) {
    case LDAP_SIZELIMIT_EXCEEDED:
    case LDAP_TIMELIMIT_EXCEEDED:
    case LDAP_ADMINLIMIT_EXCEEDED:
        return err_set(
            e, ERR_CONFIG, 0,
            "%s: the server cut the answer short (%s); nothing of it was used. page_size "
            "= %u may be more than it allows",
            q->what, ldap_err2string(q->code), x->c->page_size);
    case LDAP_INSUFFICIENT_ACCESS:
        return err_set(e, ERR_CONFIG, 0, "%s: the account may not do that (bind_dn \"%s\")",
                       q->what, x->c->bind_dn);
    default:
        return ldap_link_error(x->ld, q->code, q->what, e);
    }
}

enum follow ad_search_run(struct ad *x, struct ad_search *q, const struct ad_ask *a, struct err *e)
{
    enum follow o = ad_search_start(x, q, a, e) ? ad_search_wait(x, q, e) : FOLLOW_LOST;
    if (o == FOLLOW_ON && !is_good(q, a))
        o = (ad_search_refused(x, q, e), FOLLOW_LOST);
    ad_search_end(x, q);
    return o;
}

/* Where the next page begins; empty: there is none. Without the control nobody knows. */
static bool take_page_cookie(struct ad *x, const struct ad_search *q, struct berval *cookie,
                             struct err *e)
{
    ber_int_t estimate;
    LDAPControl *c = ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, q->controls, NULL);
    if (q->code != LDAP_SUCCESS) /* an absent base */
        return true;
    return (c != NULL &&
            ldap_parse_pageresponse_control(x->ld, c, &estimate, cookie) == LDAP_SUCCESS) ||
           err_set(e, ERR_PROTOCOL, 0, "%s: the answer has no paging control", q->what);
}

/* Asks for one page; *cookie, which tells where it begins, becomes the next one's. */
static enum follow one_page(struct ad *x, struct ad_search *q, const struct ad_ask *a,
                            struct berval *cookie, struct err *e)
{
    struct ad_ask ask = *a;
    LDAPControl *page = NULL;
    int rc = ldap_create_page_control(x->ld, (ber_int_t)x->c->page_size, cookie, 1, &page);
    ber_memfree(cookie->bv_val);
    *cookie = (struct berval){0};
    if (rc != LDAP_SUCCESS)
        return ldap_link_error(x->ld, rc, q->what, e), FOLLOW_LOST;
    ask.control[ask.control[0] != NULL] = page;
    enum follow o = ad_search_start(x, q, &ask, e) ? ad_search_wait(x, q, e) : FOLLOW_LOST;
    ldap_control_free(page);
    if (o == FOLLOW_ON && !is_good(q, a))
        return ad_search_refused(x, q, e), FOLLOW_LOST;
    if (o == FOLLOW_ON && !take_page_cookie(x, q, cookie, e))
        return FOLLOW_LOST;
    return o;
}

enum follow ad_search_paged(struct ad *x, struct ad_search *q, const struct ad_ask *a,
                            enum follow (*page_fn)(struct ad *x, struct err *e), struct err *e)
{
    struct berval cookie = {0};
    enum follow o;
    do {
        o = one_page(x, q, a, &cookie, e);
        ad_search_end(x, q);
        if (o == FOLLOW_ON && page_fn != NULL)
            o = page_fn(x, e);
    } while (o == FOLLOW_ON && cookie.bv_len != 0);
    ber_memfree(cookie.bv_val);
    return o;
}
