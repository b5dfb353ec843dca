/*
 * flag_write.c - see flag_write.h. The sources are done one after the other, each over one
 * connection with the rights of its bind_dn. When a source cannot be reached at all, every change
 * of it fails with that reason, and the others go on.
 */
#include "directory/ldap/flag_write.h"

#include "base/clock.h"
#include "base/escape.h"
#include "base/mem.h"
#include "directory/ldap/ldap_entry.h"
#include "directory/ldap/ldap_link.h"
#include "directory/map.h"

struct flag_writer {
    struct conf *conf;
    struct flag_change *change;
    unsigned n, at;
    unsigned source; /* that is being done: at is within its changes */
    LDAP *ld;
    bool was_open;  /* to this source, before it was lost */
    bool is_broken; /* it cannot be reached; `broken` says why */
    struct err broken;
    bool writing;
    bool (*stop)(const void *arg);
    const void *stop_arg;
};

void flag_change_free(struct flag_change *c)
{
    mem_free(c->previous);
    mem_free(c->why);
    c->previous = c->why = NULL;
}

const char *flag_value_of(const struct conf *c, unsigned source, int forest)
{
    const struct conf_source *s = &c->source[source];
    bool is_ldap = s->type == CONF_SOURCE_OPENLDAP || s->type == CONF_SOURCE_ACTIVE_DIRECTORY;
    for (unsigned i = 0; is_ldap && str_c(s->flag_attribute).n != 0 && i < s->n_flag; i++)
        if (conf_find_forest(c, str_c(s->flag[i].right)) == forest)
            return s->flag[i].left;
    return NULL;
}

struct flag_writer *flag_writer_new(struct conf *c, struct flag_change *change, unsigned n)
{
    struct flag_writer *w = NEW(struct flag_writer);
    *w = (struct flag_writer){.conf = conf_ref(c), .change = change, .n = n};
    return w;
}

void flag_writer_stop_when(struct flag_writer *w, bool (*stop)(const void *arg), const void *arg)
{
    w->stop = stop;
    w->stop_arg = arg;
}

void flag_writer_free(struct flag_writer **wp)
{
    struct flag_writer *w = *wp;
    *wp = NULL;
    if (w == NULL)
        return;
    ldap_link_close(&w->ld);
    conf_unref(&w->conf);
    mem_free(w);
}

static const struct conf_source *source_of(const struct flag_writer *w)
{
    return &w->conf->source[w->source];
}

static bool failed(struct flag_change *c, const struct err *e)
{
    c->state = FLAG_FAILED;
    mem_free(c->why);
    c->why = str_dup(str_c(e->text));
    return false;
}

/* ---- the connection ---- */

static bool must_stop(const struct flag_writer *w)
{
    return w->stop != NULL && w->stop(w->stop_arg);
}

/* Tries every URI, once; what was open and was lost is opened once more. */
static bool connect_source(struct flag_writer *w)
{
    const struct conf_source *s = source_of(w);
    bool lost = w->was_open;
    if (w->ld != NULL || w->is_broken)
        return w->ld != NULL;
    err_set(&w->broken, ERR_BUSY, 0, "the relay is stopping");
    for (unsigned i = 0; i < s->n_uri && w->ld == NULL && !must_stop(w); i++)
        w->ld = ldap_link_open(s, s->uri[i], &w->broken);
    w->was_open = true;
    w->is_broken = w->ld == NULL;
    if (w->is_broken)
        err_wrap(&w->broken, "source \"%s\"%s", s->name, lost ? ", lost and opened again" : "");
    return w->ld != NULL;
}

static bool is_lost(int rc)
{
    return rc == LDAP_SERVER_DOWN || rc == LDAP_CONNECT_ERROR || rc == LDAP_UNAVAILABLE ||
           rc == LDAP_TIMEOUT || rc == LDAP_BUSY;
}

/* ---- one object ---- */

struct object {
    char dn[DIR_DN_MAX];
    unsigned char uuid[DIR_UUID_SIZE];
    bool has_uuid;
    unsigned n_values;
    char *value; /* the flag's; NULL = it has none */
};

static const char *uuid_attribute(const struct conf_source *s)
{
    return s->type == CONF_SOURCE_ACTIVE_DIRECTORY ? "objectGUID" : "entryUUID";
}

static bool take_uuid(const struct conf_source *s, struct str v, unsigned char *uuid)
{
    if (s->type != CONF_SOURCE_ACTIVE_DIRECTORY)
        return map_uuid_parse(v, uuid);
    if (v.n == DIR_UUID_SIZE)
        memcpy(uuid, v.p, v.n);
    return v.n == DIR_UUID_SIZE;
}

static bool take_object(struct flag_writer *w, LDAPMessage *m, struct object *o)
{
    const struct conf_source *s = source_of(w);
    struct ldap_entry it;
    struct str value;
    bool ok = ldap_entry_begin(&it, w->ld, m) && str_copy(it.dn, o->dn, sizeof(o->dn));
    while (ok && ldap_entry_next(&it)) {
        if (str_eq_nocase(it.name, str_c(uuid_attribute(s))))
            o->has_uuid = take_uuid(s, ldap_entry_value(&it), o->uuid);
        if (!str_eq_nocase(it.name, str_c(s->flag_attribute)))
            continue;
        for (struct str values = it.values; ldap_entry_next_value(&values, &value);)
            o->n_values++;
        if (o->n_values != 0 && o->value == NULL)
            o->value = str_dup(ldap_entry_value(&it));
    }
    return ldap_entry_end(&it) && ok;
}

/* Looks for one object; *found false and LDAP_SUCCESS: there is none. */
static int search(struct flag_writer *w, const char *base, int scope, const char *filter,
                  struct object *o, bool *found)
{
    const struct conf_source *s = source_of(w);
    char *attributes[] = {(char *)uuid_attribute(s), s->flag_attribute, NULL};
    struct timeval limit = {.tv_sec = LDAP_LINK_TIMEOUT_S};
    LDAPMessage *result = NULL, *first;
    int rc = ldap_search_ext_s(w->ld, base, scope, filter, attributes, 0, NULL, NULL, &limit, 2,
                               &result);
    *found = false;
    if (rc == LDAP_NO_SUCH_OBJECT)
        rc = LDAP_SUCCESS;
    else if (rc == LDAP_SUCCESS && (first = ldap_first_entry(w->ld, result)) != NULL)
        *found = take_object(w, first, o);
    ldap_msgfree(result);
    return rc;
}

static void uuid_filter(const struct conf_source *s, const unsigned char *u, struct buf *out)
{
    bool ad = s->type == CONF_SOURCE_ACTIVE_DIRECTORY;
    buf_printf(out, "(%s=", uuid_attribute(s));
    for (unsigned i = 0; i < DIR_UUID_SIZE; i++)
        buf_printf(out, "%s%02x",
                   ad                                      ? "\\"
                   : i == 4 || i == 6 || i == 8 || i == 10 ? "-"
                                                           : "",
                   u[i]);
    buf_append_char(out, ')');
}

/* By its DN, else by its UUID. */
static int find(struct flag_writer *w, const struct flag_change *c, struct object *o, bool *found)
{
    int rc = LDAP_SUCCESS;
    *found = false;
    if (c->dn[0] != '\0')
        rc = search(w, c->dn, LDAP_SCOPE_BASE, "(objectClass=*)", o, found);
    if (rc != LDAP_SUCCESS ||
        (*found && o->has_uuid && memcmp(o->uuid, c->uuid, DIR_UUID_SIZE) == 0))
        return rc;
    struct buf filter = BUF_INIT(200);
    uuid_filter(source_of(w), c->uuid, &filter);
    mem_free(o->value);
    *o = (struct object){0};
    rc = search(w, source_of(w)->base, LDAP_SCOPE_SUBTREE, buf_cstr(&filter), o, found);
    buf_free(&filter);
    return rc;
}

/* Can this value be written to the journal and read back? */
static bool is_plain(struct str s)
{
    bool plain = s.n <= DIR_FLAG_MAX;
    for (size_t i = 0; plain && i < s.n; i++)
        plain = (unsigned char)s.p[i] >= ' ' && s.p[i] != 0x7f;
    for (size_t i = 0, n; plain && i < s.n; i += n)
        plain = (n = escape_utf8_len(s.p + i, s.n - i)) != 0;
    return plain;
}

static bool judge(const struct flag_writer *w, const struct object *o, bool found, struct err *e)
{
    const struct conf_source *s = source_of(w);
    if (!found)
        return err_set(e, ERR_INPUT, 0,
                       "source \"%s\": its server does not have the object any more", s->name);
    if (o->n_values > 1)
        return err_set(e, ERR_INPUT, 0, "source \"%s\": %s has %u values; it must have one",
                       s->name, s->flag_attribute, o->n_values);
    return is_plain(str_c(o->value)) ||
           err_set(e, ERR_INPUT, 0,
                   "source \"%s\": %s has a value that cannot be journalled; remove it by hand",
                   s->name, s->flag_attribute);
}

static int modify(struct flag_writer *w, const char *dn, const char *value)
{
    char *values[] = {(char *)value, NULL};
    LDAPMod flag = {.mod_op = LDAP_MOD_REPLACE,
                    .mod_type = source_of(w)->flag_attribute,
                    .mod_values = value[0] != '\0' ? values : NULL};
    LDAPMod *all[] = {&flag, NULL};
    return ldap_modify_ext_s(w->ld, dn, all, NULL, NULL);
}

/* Reads one and, when writing, writes it. LDAP's result. */
static int do_object(struct flag_writer *w, struct flag_change *c)
{
    struct object o = {0};
    struct err e = {0};
    bool found;
    int rc = find(w, c, &o, &found);
    const char *now = o.value != NULL ? o.value : "";
    if (rc == LDAP_SUCCESS && !judge(w, &o, found, &e)) {
        failed(c, &e);
    } else if (rc == LDAP_SUCCESS && !w->writing) {
        mem_free(c->previous);
        c->previous = str_dup(str_c(now));
        c->state = FLAG_READ;
    } else if (rc == LDAP_SUCCESS && str_eq_nocase(str_c(now), str_c(c->value))) {
        c->state = FLAG_WRITTEN;
    } else if (rc == LDAP_SUCCESS && c->expected != NULL &&
               !str_eq_nocase(str_c(now), str_c(c->expected))) {
        c->state = FLAG_OTHER;
    } else if (rc == LDAP_SUCCESS && (rc = modify(w, o.dn, c->value)) == LDAP_SUCCESS) {
        c->state = FLAG_WRITTEN;
    }
    mem_free(o.value);
    return rc;
}

static void do_change(struct flag_writer *w, struct flag_change *c)
{
    struct err e = {0};
    for (unsigned tries = 0; tries < 2; tries++) {
        if (!connect_source(w)) {
            failed(c, &w->broken);
            return;
        }
        int rc = do_object(w, c);
        if (rc == LDAP_SUCCESS)
            return;
        ldap_link_error(w->ld, rc, c->dn, &e);
        if (rc == LDAP_INSUFFICIENT_ACCESS)
            err_wrap(&e, "bind_dn of source \"%s\" may not write %s", source_of(w)->name,
                     source_of(w)->flag_attribute);
        if (!is_lost(rc))
            break;
        ldap_link_close(&w->ld);
    }
    failed(c, &e);
}

/* ---- all of them ---- */

static bool wants(const struct flag_writer *w, const struct flag_change *c)
{
    return c->source == w->source && (w->writing ? c->state == FLAG_PENDING || c->state == FLAG_READ
                                                 : c->state == FLAG_PENDING);
}

static struct flag_change *next(struct flag_writer *w)
{
    for (; w->source < w->conf->n_source; w->source++, w->at = 0) {
        for (; w->at < w->n; w->at++)
            if (wants(w, &w->change[w->at]))
                return &w->change[w->at];
        ldap_link_close(&w->ld);
        w->was_open = w->is_broken = false;
    }
    return NULL;
}

static bool run(struct flag_writer *w, int64_t max_ms)
{
    int64_t until = clock_mono_ms() + max_ms;
    struct flag_change *c = next(w);
    for (; c != NULL && clock_mono_ms() < until; c = next(w)) {
        do_change(w, c);
        w->at++;
    }
    return c != NULL;
}

bool flag_writer_read(struct flag_writer *w, int64_t max_ms)
{
    return run(w, max_ms);
}

bool flag_writer_write(struct flag_writer *w, int64_t max_ms)
{
    if (!w->writing) {
        w->writing = true;
        w->source = w->at = 0;
        ldap_link_close(&w->ld);
        w->was_open = w->is_broken = false;
    }
    return run(w, max_ms);
}
