/*
 * ad_read.c - reading objects whole.
 *
 * DirSync and USNs tell which objects changed, not what they are now: those are read again, by
 * objectGUID, many in one search and several searches at a time. Reading something newer than what
 * the cookie stands for does no harm, as it is only read once more. An object that is not found, or
 * is outside the configured filter or base by now, is deleted here.
 *
 * When a container is renamed or moved, nothing is said about the objects in it, though their
 * names, and perhaps their being below the base, have changed with it: what is below such a
 * container is read anew.
 *
 * A server gives long lists of values in pieces ("proxyAddresses;range=0-1499"). The object then is
 * read by itself, piece after piece.
 */
#include "directory/ad/ad_int.h"

#include "base/mem.h"

#define READS_MAX  4  /* searches for changed objects at a time */
#define RANGES_MAX 64 /* pieces of one object; more than a mapper takes of any list */

/* ---- lists ---- */

void ad_guids_add(struct ad_guids *g, const unsigned char *guid)
{
    if (g->n == g->cap) {
        g->cap = g->cap == 0 ? 64 : g->cap * 2;
        g->v = mem_realloc(g->v, g->cap * DIR_UUID_SIZE);
    }
    memcpy(g->v + g->n++ * DIR_UUID_SIZE, guid, DIR_UUID_SIZE);
}

void ad_guids_free(struct ad_guids *g)
{
    mem_free(g->v);
    *g = (struct ad_guids){0};
}

/* ---- entries ---- */

/* What matters of an entry besides its mail attributes. */
struct head {
    unsigned char guid[DIR_UUID_SIZE];
    bool has_guid, deleted;
    bool named; /* its name came: it is new, was renamed or moved */
    bool has_class, is_container;
};

static void take_class(struct head *h, const struct ldap_entry *it)
{
    struct str class;
    for (struct str values = it->values; ldap_entry_next_value(&values, &class);) {
        h->has_class = true;
        h->is_container = h->is_container || str_eq_nocase(class, STR("organizationalUnit")) ||
                          str_eq_nocase(class, STR("container"));
    }
}

static void take_head(struct head *h, const struct ldap_entry *it)
{
    struct str value = ldap_entry_value(it);
    if (str_eq_nocase(it->name, STR("objectGUID")) && value.n == DIR_UUID_SIZE) {
        memcpy(h->guid, value.p, DIR_UUID_SIZE);
        h->has_guid = true;
    } else if (str_eq_nocase(it->name, STR("isDeleted"))) {
        h->deleted = str_eq_nocase(value, STR("TRUE"));
    } else if (str_eq_nocase(it->name, STR("name"))) {
        h->named = value.n != 0;
    } else if (str_eq_nocase(it->name, STR("objectClass"))) {
        take_class(h, it);
    }
}

static bool damaged(const struct ad_search *q, struct err *e)
{
    return err_set(e, ERR_PROTOCOL, 0, "%s: a damaged entry", q->what);
}

bool ad_take_changed(struct ad *x, struct ad_search *q, LDAPMessage *m, struct err *e)
{
    struct head h = {0};
    struct ldap_entry it;
    if (ldap_entry_begin(&it, x->ld, m))
        while (ldap_entry_next(&it))
            take_head(&h, &it);
    if (!ldap_entry_end(&it))
        return damaged(q, e);
    if (!h.has_guid)
        return true; /* an object that the account may not read */
    if (h.deleted)
        replica_delete(x->s->replica, h.guid);
    else
        ad_guids_add(&x->changed, h.guid);
    if (!h.deleted && (h.has_class ? h.is_container : h.named))
        ad_guids_add(&x->containers, h.guid);
    return true;
}

/* The attribute at hand goes to the mapper. False: more of its values must be asked for. */
static bool take_values(struct ad *x, const struct ldap_entry *it)
{
    struct ad_range range;
    if (!ad_range_parse(it->name, &range))
        range = (struct ad_range){.name = it->name, .to_end = true};
    ldap_entry_map(it, x->map, range.name);
    return range.to_end;
}

/* The mapper's object goes to the replica. */
static bool store(struct ad *x, struct str dn, const struct head *h, struct err *e)
{
    struct replica *r = x->s->replica;
    struct dir_entry entry;
    bool keep = !h->deleted && ad_dn_is_below(dn, str_c(x->server.scope)) &&
                map_end(x->map, h->guid, &entry);
    if (keep && !h->has_guid)
        return err_set(e, ERR_CONFIG, 0,
                       "%.*s came without objectGUID; let bind_dn read that attribute",
                       STR_ARG(dn));
    if (map_bad_value(x->map).n != 0)
        source_bad_value(x->s, dn, map_bad_value(x->map));
    if (!keep && h->has_guid)
        replica_delete(r, h->guid);
    if (!keep)
        return true;
    if (!replica_upsert(r, &entry))
        source_bad_value(x->s, dn, STR("(the whole entry is too long)"));
    return true;
}

static bool take_whole(struct ad *x, struct ad_search *q, LDAPMessage *m, struct head *h,
                       struct err *e)
{
    struct ldap_entry it;
    bool complete = true, ok = true;
    map_begin(x->map);
    if (ldap_entry_begin(&it, x->ld, m)) {
        map_dn(x->map, it.dn);
        while (ldap_entry_next(&it)) {
            take_head(h, &it);
            complete = take_values(x, &it) && complete;
        }
    }
    if (!it.damaged && (complete || !h->has_guid))
        ok = store(x, it.dn, h, e);
    else if (!it.damaged)
        ad_guids_add(&x->ranged, h->guid);
    return ldap_entry_end(&it) ? ok : damaged(q, e);
}

bool ad_take_whole(struct ad *x, struct ad_search *q, LDAPMessage *m, struct err *e)
{
    struct head h = {0};
    return take_whole(x, q, m, &h, e);
}

/* ---- by objectGUID ---- */

struct batch {
    struct ad_search search;
    const unsigned char *guid;
    unsigned n;
    bool found[AD_BATCH_MAX];
};

static bool take_of_batch(struct ad *x, struct ad_search *q, LDAPMessage *m, struct err *e)
{
    struct batch *b = q->arg;
    struct head h = {0};
    if (!take_whole(x, q, m, &h, e))
        return false;
    for (unsigned i = 0; i < b->n; i++)
        b->found[i] =
            b->found[i] || memcmp(b->guid + i * DIR_UUID_SIZE, h.guid, DIR_UUID_SIZE) == 0;
    return true;
}

static bool search_by_guid(struct ad *x, struct ad_search *q, const char *filter, char **attributes,
                           const unsigned char *guid, unsigned n, struct err *e)
{
    struct buf text = BUF_INIT(strlen(filter) + 16 + AD_BATCH_MAX * 64);
    ad_guid_filter(&text, filter, guid, n);
    bool ok = ad_search_start(x, q,
                              &(struct ad_ask){.base = x->server.root,
                                               .scope = LDAP_SCOPE_SUBTREE,
                                               .filter = buf_cstr(&text),
                                               .attributes = attributes},
                              e);
    buf_free(&text);
    return ok;
}

static enum follow batch_finish(struct ad *x, struct batch *b, struct err *e)
{
    if (b->search.msgid == 0)
        return FOLLOW_ON;
    enum follow o = ad_search_wait(x, &b->search, e);
    if (o == FOLLOW_ON && b->search.code != LDAP_SUCCESS)
        o = (ad_search_refused(x, &b->search, e), FOLLOW_LOST);
    for (unsigned i = 0; o == FOLLOW_ON && i < b->n; i++)
        if (!b->found[i])
            replica_delete(x->s->replica, b->guid + i * DIR_UUID_SIZE);
    ad_search_end(x, &b->search);
    return o;
}

static unsigned batch_size(const struct ad *x, size_t left)
{
    unsigned max = x->c->page_size < AD_BATCH_MAX ? x->c->page_size : AD_BATCH_MAX;
    return left < max ? (unsigned)left : max;
}

static enum follow read_objects(struct ad *x, struct err *e)
{
    struct batch *b = mem_array(READS_MAX, sizeof(*b));
    enum follow o = FOLLOW_ON;
    size_t at = 0;
    unsigned turn = 0;
    for (; o == FOLLOW_ON && at < x->changed.n; turn = (turn + 1) % READS_MAX) {
        struct batch *next = &b[turn];
        if ((o = batch_finish(x, next, e)) != FOLLOW_ON)
            break;
        *next = (struct batch){.guid = x->changed.v + at * DIR_UUID_SIZE,
                               .n = batch_size(x, x->changed.n - at)};
        next->search =
            (struct ad_search){.what = "reading what changed", .entry = take_of_batch, .arg = next};
        at += next->n;
        if (!search_by_guid(x, &next->search, x->c->filter, x->whole, next->guid, next->n, e))
            o = FOLLOW_LOST;
    }
    for (unsigned i = 0; i < READS_MAX; i++, turn = (turn + 1) % READS_MAX)
        if (o == FOLLOW_ON)
            o = batch_finish(x, &b[turn], e);
    for (unsigned i = 0; i < READS_MAX; i++)
        ad_search_end(x, &b[i].search);
    mem_free(b);
    x->changed.n = 0;
    return o;
}

/* ---- below containers ---- */

/* The names of the containers among the objects of one search. */
struct names {
    char *dn[AD_BATCH_MAX];
    unsigned n;
};

static bool take_name(struct ad *x, struct ad_search *q, LDAPMessage *m, struct err *e)
{
    struct names *names = q->arg;
    struct ldap_entry it;
    if (ldap_entry_begin(&it, x->ld, m) && names->n < AD_BATCH_MAX)
        names->dn[names->n++] = str_dup(it.dn);
    return ldap_entry_end(&it) || damaged(q, e);
}

static enum follow read_below(struct ad *x, const char *dn, struct err *e)
{
    struct ad_search q = {.what = "reading a container anew", .entry = ad_take_whole};
    return ad_search_paged(x, &q,
                           &(struct ad_ask){.base = dn,
                                            .scope = LDAP_SCOPE_SUBTREE,
                                            .filter = x->c->filter,
                                            .attributes = x->whole},
                           NULL, e);
}

static enum follow read_some_containers(struct ad *x, const unsigned char *guid, unsigned n,
                                        struct err *e)
{
    static const char *const none[] = {LDAP_NO_ATTRS, NULL};
    struct names names = {.n = 0};
    struct ad_search q = {.what = "looking for containers", .entry = take_name, .arg = &names};
    enum follow o = FOLLOW_LOST;
    if (search_by_guid(x, &q, "(|(objectClass=organizationalUnit)(objectClass=container))",
                       (char **)none, guid, n, e))
        o = ad_search_wait(x, &q, e);
    if (o == FOLLOW_ON && q.code != LDAP_SUCCESS)
        o = (ad_search_refused(x, &q, e), FOLLOW_LOST);
    ad_search_end(x, &q);
    for (unsigned i = 0; i < names.n; i++) {
        if (o == FOLLOW_ON)
            o = read_below(x, names.dn[i], e);
        mem_free(names.dn[i]);
    }
    return o;
}

static enum follow read_containers(struct ad *x, struct err *e)
{
    enum follow o = FOLLOW_ON;
    unsigned n;
    for (size_t at = 0; o == FOLLOW_ON && at < x->containers.n; at += n) {
        n = batch_size(x, x->containers.n - at);
        o = read_some_containers(x, x->containers.v + at * DIR_UUID_SIZE, n, e);
    }
    x->containers.n = 0;
    return o;
}

enum follow ad_read_changed(struct ad *x, struct err *e)
{
    enum follow o = read_objects(x, e);
    if (o == FOLLOW_ON)
        o = read_containers(x, e);
    return o == FOLLOW_ON ? ad_read_ranged(x, e) : o;
}

/* ---- range by range ---- */

/* One object whose value lists come in pieces. */
struct pieces {
    struct head head;
    char *dn;
    char *next[RANGES_MAX]; /* what to ask for: "member;range=1500-*" */
    unsigned n, asked;
};

static bool take_piece(struct ad *x, struct ad_search *q, LDAPMessage *m, struct err *e)
{
    struct pieces *p = q->arg;
    struct ldap_entry it;
    struct ad_range range;
    if (ldap_entry_begin(&it, x->ld, m)) {
        mem_free(p->dn);
        p->dn = str_dup(it.dn);
        map_dn(x->map, it.dn);
        while (ldap_entry_next(&it)) {
            take_head(&p->head, &it);
            if (!take_values(x, &it) && ad_range_parse(it.name, &range) && p->n < RANGES_MAX)
                p->next[p->n++] =
                    mem_printf("%.*s;range=%u-*", STR_ARG(range.name), range.last + 1);
        }
    }
    return ldap_entry_end(&it) || damaged(q, e);
}

static enum follow read_pieces(struct ad *x, const unsigned char *guid, struct pieces *p,
                               struct err *e)
{
    char dn[AD_GUID_DN_SIZE], *attributes[] = {NULL, NULL};
    struct ad_search q = {.what = "reading a long list of values", .entry = take_piece, .arg = p};
    struct ad_ask ask = {.base = dn,
                         .scope = LDAP_SCOPE_BASE,
                         .filter = x->c->filter,
                         .attributes = x->whole,
                         .may_be_gone = true};
    ad_guid_dn(guid, dn);
    enum follow o = ad_search_run(x, &q, &ask, e);
    for (ask.attributes = attributes; o == FOLLOW_ON && p->asked < p->n; p->asked++) {
        attributes[0] = p->next[p->asked];
        o = ad_search_run(x, &q, &ask, e);
    }
    return o;
}

static enum follow read_one_ranged(struct ad *x, const unsigned char *guid, struct err *e)
{
    struct pieces p = {.dn = NULL};
    map_begin(x->map);
    enum follow o = read_pieces(x, guid, &p, e);
    if (o == FOLLOW_ON && p.head.has_guid)
        o = store(x, str_c(p.dn), &p.head, e) ? FOLLOW_ON : FOLLOW_LOST;
    else if (o == FOLLOW_ON)
        replica_delete(x->s->replica, guid);
    for (unsigned i = 0; i < p.n; i++)
        mem_free(p.next[i]);
    mem_free(p.dn);
    return o;
}

enum follow ad_read_ranged(struct ad *x, struct err *e)
{
    enum follow o = FOLLOW_ON;
    for (size_t i = 0; o == FOLLOW_ON && i < x->ranged.n; i++)
        o = read_one_ranged(x, x->ranged.v + i * DIR_UUID_SIZE, e);
    x->ranged.n = 0;
    return o;
}
