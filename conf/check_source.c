/*
 * check_source.c - do the options of one directory source fit its type, and each other?
 */
#include "conf/load.h"

#include "base/assert.h"
#include "base/mem.h"

static bool fail_source(struct conf_load *l, const struct conf_source *s, const char *option,
                        const char *why)
{
    return conf_fail_in(l, s, "source", s->name, option, "%s", why);
}

/* Has an option another value than its default? The default itself says nothing: the sample shows
 * it for every option. */
static bool is_changed(const struct conf_option *o, const struct conf_source *s)
{
    struct conf_source plain = {0};
    char why[300];
    ASSERT(conf_type_is_list(o->type) || conf_value_read(o, o->def, &plain, why, sizeof(why)));
    bool changed = !conf_value_eq(o, s, &plain);
    conf_value_free(o, &plain);
    return changed;
}

static bool check_types(struct conf_load *l, const struct conf_source *s)
{
    for (unsigned i = 0; i < conf_option_count; i++) {
        const struct conf_option *o = &conf_option[i];
        if (o->section != CONF_S_source || o->types == 0 || (o->types >> s->type & 1) ||
            !is_changed(o, s))
            continue;
        struct buf types = BUF_INIT(100);
        conf_option_types(o, &types);
        conf_fail_in(l, s, "source", s->name, o->name, "is for type = %s; remove it",
                     buf_cstr(&types));
        buf_free(&types);
        return false;
    }
    return true;
}

static bool check_ldap(struct conf_load *l, const struct conf_source *s)
{
    if (s->n_uri == 0)
        return fail_source(l, s, "uri",
                           "is missing; write uri = { \"ldap://server.example.org\" }");
    if (s->base[0] == '\0' && s->type == CONF_SOURCE_OPENLDAP)
        return fail_source(l, s, "base",
                           "is missing; write the DN below which recipients are, like "
                           "\"dc=example,dc=org\"");
    if (s->bind != CONF_BIND_SIMPLE && s->password_file[0] != '\0')
        return fail_source(l, s, "password_file", "is for bind = simple; remove it");
    if (s->bind == CONF_BIND_SIMPLE && (s->bind_dn[0] == '\0') != (s->password_file[0] == '\0'))
        return fail_source(l, s, s->bind_dn[0] == '\0' ? "bind_dn" : "password_file",
                           "is missing; bind_dn and password_file go together");
    if ((s->tls_cert_file[0] == '\0') != (s->tls_key_file[0] == '\0'))
        return fail_source(l, s, s->tls_cert_file[0] == '\0' ? "tls_cert_file" : "tls_key_file",
                           "is missing; tls_cert_file and tls_key_file go together");
    if (s->bind == CONF_BIND_EXTERNAL && s->tls != CONF_TLS_NONE && s->tls_cert_file[0] == '\0')
        return fail_source(l, s, "tls_cert_file",
                           "is missing; with bind = external it says who we are");
    for (unsigned i = 0; i < s->n_uri; i++) {
        struct str uri = str_c(s->uri[i]);
        if (str_starts_nocase(uri, STR("ldaps:")) && s->tls != CONF_TLS_LDAPS)
            return fail_source(l, s, "tls", "does not fit an ldaps:// URI; write tls = ldaps");
        if (str_starts_nocase(uri, STR("ldap:")) && s->tls == CONF_TLS_LDAPS)
            return fail_source(l, s, "tls",
                               "does not fit an ldap:// URI; write tls = starttls, or ldaps:// in "
                               "the URI");
        if (str_starts_nocase(uri, STR("ldapi:")) && s->tls != CONF_TLS_NONE)
            return fail_source(l, s, "tls", "does not fit an ldapi:// URI; write tls = none");
    }
    return true;
}

static bool is_global_catalog(const char *uri)
{
    struct str u = str_c(uri);
    if (u.n != 0 && u.p[u.n - 1] == '/')
        u.n--;
    return str_ends_nocase(u, STR(":3268")) || str_ends_nocase(u, STR(":3269"));
}

/* A global catalog shows a forest, a domain controller a domain: to change from one to the other
 * would look as if everybody else had been deleted. */
static bool check_active_directory(struct conf_load *l, const struct conf_source *s)
{
    if (!check_ldap(l, s))
        return false;
    bool catalog = is_global_catalog(s->uri[0]);
    for (unsigned i = 1; i < s->n_uri; i++)
        if (is_global_catalog(s->uri[i]) != catalog)
            return fail_source(l, s, "uri",
                               "mixes global catalogs (ports 3268 and 3269) with other servers; "
                               "write a source for each");
    if (catalog && s->sync == CONF_SYNC_DIRSYNC)
        return fail_source(l, s, "sync",
                           "cannot be dirsync with a global catalog (ports 3268 and 3269), which "
                           "does not offer it; write sync = usn or auto");
    return true;
}

static bool check_file(struct conf_load *l, const struct conf_source *s)
{
    if (s->path[0] == '\0')
        return fail_source(l, s, "path",
                           "is missing; write path = \"/etc/causeway/recipients.ldif\"");
    return true;
}

static bool check_kind(struct conf_load *l, const struct conf_source *s)
{
    switch (s->type) {
    case CONF_SOURCE_LDIF:
    case CONF_SOURCE_CSV:
        return check_file(l, s);
    case CONF_SOURCE_OPENLDAP:
        return check_ldap(l, s);
    case CONF_SOURCE_ACTIVE_DIRECTORY:
        return check_active_directory(l, s);
    default:
        return true;
    }
}

static bool check_flags(struct conf_load *l, struct conf_source *s)
{
    if (s->n_flag != 0 && s->flag_attribute[0] == '\0')
        return fail_source(l, s, "flag_attribute",
                           "is missing; name the attribute that flag_values is about");
    if (s->n_flag == 0 && s->flag_attribute[0] != '\0')
        return fail_source(l, s, "flag_values",
                           "is missing; say which forest each value of flag_attribute means");
    for (unsigned i = 0; i < s->n_flag; i++) {
        if (!conf_check_forest(l, s, "source", s->name, "flag_values", &s->flag[i].right))
            return false;
        for (unsigned k = 0; k < i; k++)
            if (str_eq_nocase(str_c(s->flag[i].left), str_c(s->flag[k].left)))
                return conf_fail_in(l, s, "source", s->name, "flag_values",
                                    "\"%.60s\" is there twice; give each value one meaning",
                                    s->flag[i].left);
    }
    return true;
}

/* Where no server has names of its own for them, the attributes that an admin chooses have plain
 * ones: columns of a CSV file, options of `causewayctl directory upsert`. */
static void name_plainly(char **attribute, const char *name)
{
    if ((*attribute)[0] != '\0')
        return;
    mem_free(*attribute);
    *attribute = str_dup(str_c(name));
}

bool conf_check_source(struct conf_load *l, struct conf_source *s)
{
    if (s->type == CONF_SOURCE_CSV || s->type == CONF_SOURCE_MANUAL) {
        name_plainly(&s->routing_attribute, "routing");
        name_plainly(&s->join_attribute, "key");
        if (s->n_flag != 0)
            name_plainly(&s->flag_attribute, "flag");
    }
    if (s->forest[0] != '\0' && !conf_check_forest(l, s, "source", s->name, "forest", &s->forest))
        return false;
    if (!check_types(l, s) || !check_kind(l, s) || !check_flags(l, s))
        return false;
    if (s->forest[0] == '\0' && s->n_flag == 0)
        return fail_source(l, s, "forest",
                           "is missing; name the forest whose directory this is, or a "
                           "flag_attribute");
    if (s->backoff_min_ms > s->backoff_max_ms)
        return fail_source(l, s, "backoff_min",
                           "is more than backoff_max; write a shorter time or raise backoff_max");
    for (unsigned i = 0; i < s->domains_n; i++) {
        bool shared = false;
        str_lower(str_c(s->domains[i]), s->domains[i]);
        for (unsigned k = 0; k < l->conf->n_domain; k++)
            shared = shared || (l->conf->domain[k].type == CONF_DOMAIN_SHARED &&
                                strcmp(l->conf->domain[k].name, s->domains[i]) == 0);
        if (!shared)
            return conf_fail_in(
                l, s, "source", s->name, "domains",
                "%s is not a shared domain; write one that has a domain section with "
                "type = shared",
                s->domains[i]);
    }
    return true;
}
