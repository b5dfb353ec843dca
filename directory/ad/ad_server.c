/*
 * ad_server.c - what the source must know about a domain controller before it reads from it: which
 * naming context holds the recipients, which copy of the database this is (invocationId, which
 * changes when the server is restored), and whether the account can see what is deleted. Asked anew
 * in each session, as an address may stand for many servers.
 */
#include "directory/ad/ad_int.h"

#include "base/mem.h"
#include "directory/ldap/ldap_link.h"

/* Under every naming context, whatever its name there (MS-ADTS 6.1.1.4). */
#define DELETED_OBJECTS "<WKGUID=18E2EA80684F11D2B9AA00C04F79F805,%s>"

/* An attribute of the root DSE, and where its first value goes. */
struct want {
    const char *name;
    char **value;
};

struct root_dse {
    char *default_context, *service, *usn, *synchronized;
    char *context[32];
    unsigned n_context;
};

static void root_dse_free(struct root_dse *d)
{
    mem_free(d->default_context);
    mem_free(d->service);
    mem_free(d->usn);
    mem_free(d->synchronized);
    for (unsigned i = 0; i < d->n_context; i++)
        mem_free(d->context[i]);
}

static void root_dse_take(struct root_dse *d, const struct ldap_entry *it)
{
    const struct want want[] = {{"defaultNamingContext", &d->default_context},
                                {"dsServiceName", &d->service},
                                {"highestCommittedUSN", &d->usn},
                                {"isSynchronized", &d->synchronized}};
    for (unsigned i = 0; i < sizeof(want) / sizeof(want[0]); i++)
        if (str_eq_nocase(it->name, str_c(want[i].name)) && *want[i].value == NULL)
            *want[i].value = str_dup(ldap_entry_value(it));
    if (!str_eq_nocase(it->name, STR("namingContexts")))
        return;
    struct str value;
    for (struct str values = it->values; ldap_entry_next_value(&values, &value);)
        if (d->n_context < sizeof(d->context) / sizeof(d->context[0]))
            d->context[d->n_context++] = str_dup(value);
}

static bool take_root_dse(struct ad *x, struct ad_search *q, LDAPMessage *m, struct err *e)
{
    struct ldap_entry it;
    if (ldap_entry_begin(&it, x->ld, m))
        while (ldap_entry_next(&it))
            root_dse_take(q->arg, &it);
    return ldap_entry_end(&it) || err_set(e, ERR_PROTOCOL, 0, "%s: a damaged entry", q->what);
}

static enum follow read_root_dse(struct ad *x, struct root_dse *d, char **attributes, struct err *e)
{
    struct ad_search q = {.what = "the root DSE", .entry = take_root_dse, .arg = d};
    return ad_search_run(x, &q,
                         &(struct ad_ask){.base = "",
                                          .scope = LDAP_SCOPE_BASE,
                                          .filter = "(objectClass=*)",
                                          .attributes = attributes},
                         e);
}

enum follow ad_server_usn(struct ad *x, uint64_t *usn, struct err *e)
{
    char name[] = "highestCommittedUSN", *attributes[] = {name, NULL};
    struct root_dse d = {0};
    enum follow o = read_root_dse(x, &d, attributes, e);
    if (o == FOLLOW_ON && !str_to_u64(str_c(d.usn), INT64_MAX, usn)) {
        err_set(e, ERR_PROTOCOL, 0,
                "the server does not tell its highestCommittedUSN; is it Active "
                "Directory?");
        o = FOLLOW_LOST;
    }
    root_dse_free(&d);
    return o;
}

/* ---- single objects ---- */

static bool take_one(struct ad *x, struct ad_search *q, LDAPMessage *m, struct err *e)
{
    struct ad_one *one = q->arg;
    struct ldap_entry it;
    if (ldap_entry_begin(&it, x->ld, m)) {
        mem_free(one->dn);
        one->dn = str_dup(it.dn);
        while (ldap_entry_next(&it))
            if (str_eq_nocase(it.name, str_c(one->attribute)) && one->value.n == 0)
                buf_append_str(&one->value, ldap_entry_value(&it));
    }
    return ldap_entry_end(&it) || err_set(e, ERR_PROTOCOL, 0, "%s: a damaged entry", q->what);
}

enum follow ad_one_read(struct ad *x, const char *what, struct ad_ask *ask, struct ad_one *one,
                        struct err *e)
{
    struct ad_search q = {.what = what, .entry = take_one, .arg = one};
    char *attributes[] = {(char *)one->attribute, NULL};
    ask->attributes = attributes;
    buf_init(&one->value, 256);
    enum follow o = ad_search_start(x, &q, ask, e) ? ad_search_wait(x, &q, e) : FOLLOW_LOST;
    if (o == FOLLOW_ON && q.code < 0) /* the library's own codes: the connection */
        o = (ldap_link_error(x->ld, q.code, what, e), FOLLOW_LOST);
    ad_search_end(x, &q);
    return o;
}

void ad_one_free(struct ad_one *one)
{
    mem_free(one->dn);
    buf_free(&one->value);
    one->dn = NULL;
}

static enum follow read_object(struct ad *x, const char *what, const char *dn, struct ad_one *one,
                               LDAPControl *control, struct err *e)
{
    struct ad_ask ask = {
        .base = dn, .scope = LDAP_SCOPE_BASE, .filter = "(objectClass=*)", .control = {control}};
    return ad_one_read(x, what, &ask, one, e);
}

/* ---- the steps ---- */

/* A global catalog holds a part of every object of the forest, and answers on ports of its own. */
static bool is_global_catalog(const char *uri)
{
    LDAPURLDesc *u = NULL;
    bool yes =
        ldap_url_parse(uri, &u) == LDAP_URL_SUCCESS && (u->lud_port == 3268 || u->lud_port == 3269);
    ldap_free_urldesc(u);
    return yes;
}

/* The server's spelling of the configured base. */
static enum follow find_scope(struct ad *x, const struct root_dse *d, struct err *e)
{
    struct ad_server *v = &x->server;
    const char *base = x->c->base;
    if (*base == '\0') {
        if (!v->global_catalog && d->default_context == NULL)
            return err_set(e, ERR_PROTOCOL, 0,
                           "the server does not tell its defaultNamingContext; "
                           "is it Active Directory?"),
                   FOLLOW_LOST;
        v->scope = str_dup(v->global_catalog ? STR("") : str_c(d->default_context));
        return FOLLOW_ON;
    }
    struct ad_one one = {.attribute = "objectGUID"};
    enum follow o = read_object(x, "base", base, &one, NULL, e);
    if (o == FOLLOW_ON && one.dn == NULL)
        o = (err_set(e, ERR_CONFIG, 0,
                     "base \"%s\" does not exist on this server, or bind_dn may not see it; its "
                     "own is \"%s\"",
                     base, d->default_context != NULL ? d->default_context : ""),
             FOLLOW_LOST);
    if (o == FOLLOW_ON)
        v->scope = str_dup(str_c(one.dn));
    ad_one_free(&one);
    return o;
}

/* The naming context that the scope is in: the longest that fits. */
static enum follow find_root(struct ad *x, const struct root_dse *d, struct err *e)
{
    struct ad_server *v = &x->server;
    struct str best = STR_NULL;
    for (unsigned i = 0; i < d->n_context; i++) {
        struct str context = str_c(d->context[i]);
        if (context.n > best.n && ad_dn_is_below(str_c(v->scope), context))
            best = context;
    }
    if (v->global_catalog) /* names its own domain's contexts only, and has parts of all */
        best = STR("");
    else if (best.n == 0)
        return err_set(e, ERR_CONFIG, 0,
                       "base \"%s\" is in none of the server's naming contexts; name a server of "
                       "that domain, or a global catalog (port 3268, 3269)",
                       v->scope),
               FOLLOW_LOST;
    v->root = str_dup(best);
    return FOLLOW_ON;
}

static enum follow find_invocation(struct ad *x, struct err *e)
{
    struct ad_server *v = &x->server;
    struct ad_one one = {.attribute = "invocationId"};
    if (v->service == NULL)
        return FOLLOW_ON;
    enum follow o = read_object(x, "the server's NTDS settings", v->service, &one, NULL, e);
    if (o == FOLLOW_ON && one.value.n == DIR_UUID_SIZE)
        memcpy(v->invocation, one.value.p, DIR_UUID_SIZE);
    else /* an account that may not read it: at least one server is not taken for another */
        map_uuid_from_dn(str_c(v->service), v->invocation);
    ad_one_free(&one);
    return o;
}

/* An account without the right gets the container's name at most, and nothing of what is in it. */
static enum follow look_at_deleted(struct ad *x, struct str domain, struct err *e)
{
    struct ad_server *v = &x->server;
    struct ad_one one = {.attribute = "objectGUID"};
    LDAPControl show = {.ldctl_oid = (char *)AD_SHOW_DELETED_OID, .ldctl_iscritical = 1};
    v->domain = str_dup(domain);
    char *base = mem_printf(DELETED_OBJECTS, v->domain);
    enum follow o = read_object(x, "Deleted Objects", base, &one, &show, e);
    v->sees_deleted = one.value.n == DIR_UUID_SIZE;
    ad_one_free(&one);
    mem_free(base);
    return o;
}

/* Each domain has its own Deleted Objects. At a global catalog those of one can be looked at if the
 * scope is in it and no other domain is below; else the account counts as not seeing them. */
static enum follow look_at_deletions(struct ad *x, struct err *e)
{
    struct ad_server *v = &x->server;
    if (!v->global_catalog)
        return look_at_deleted(x, str_c(v->root), e);
    struct str domain = ad_dn_domain(str_c(v->scope));
    struct ad_one below = {.attribute = "objectGUID"};
    enum follow o = FOLLOW_ON;
    if (domain.n == strlen(v->scope) && domain.n != 0)
        o = ad_one_read(x, "domains below the base",
                        &(struct ad_ask){.base = v->scope,
                                         .scope = LDAP_SCOPE_ONELEVEL,
                                         .filter = "(objectClass=domainDNS)"},
                        &below, e);
    if (o == FOLLOW_ON && domain.n != 0 && below.dn == NULL)
        o = look_at_deleted(x, domain, e);
    ad_one_free(&below);
    return o;
}

enum follow ad_server_learn(struct ad *x, const char *uri, struct err *e)
{
    static const char *const wanted[] = {"defaultNamingContext", "namingContexts", "dsServiceName",
                                         "isSynchronized", NULL};
    struct ad_server *v = &x->server;
    struct root_dse d = {0};
    ad_server_forget(v);
    v->global_catalog = is_global_catalog(uri);
    enum follow o = read_root_dse(x, &d, (char **)wanted, e);
    if (o == FOLLOW_ON && d.synchronized != NULL &&
        !str_eq_nocase(str_c(d.synchronized), STR("TRUE")))
        o = (err_set(e, ERR_PROTOCOL, 0,
                     "the server has not finished its own first replication (isSynchronized)"),
             FOLLOW_LOST);
    if (o == FOLLOW_ON)
        o = find_scope(x, &d, e);
    if (o == FOLLOW_ON)
        o = find_root(x, &d, e);
    v->service = d.service;
    d.service = NULL;
    if (o == FOLLOW_ON)
        o = find_invocation(x, e);
    if (o == FOLLOW_ON)
        o = look_at_deletions(x, e);
    root_dse_free(&d);
    return o;
}

void ad_server_forget(struct ad_server *v)
{
    mem_free(v->root);
    mem_free(v->scope);
    mem_free(v->service);
    mem_free(v->domain);
    *v = (struct ad_server){0};
}
