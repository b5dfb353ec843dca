/*
 * ad_usn.c - reading by update sequence numbers, for accounts that may not use DirSync and for
 * global catalogs, which do not offer it.
 *
 * Every change that a server commits gets the next number of that server's own, also one that came
 * by replication; uSNChanged has an object's last. The highest number is asked for *before* a
 * search: what happens during it is found once more by the next. Deleted objects are found by a
 * second search. The numbers mean nothing to another server, nor to the same one after it was
 * restored: then everything is read anew (active_directory.c).
 */
#include "directory/ad/ad_int.h"

#include <inttypes.h>

#include "base/mem.h"

enum follow ad_usn_full(struct ad *x, struct err *e)
{
    struct ad_search q = {.what = "reading all recipients", .entry = ad_take_whole};
    return ad_search_paged(x, &q,
                           &(struct ad_ask){.base = x->server.scope,
                                            .scope = LDAP_SCOPE_SUBTREE,
                                            .filter = x->c->filter,
                                            .attributes = x->whole},
                           NULL, e);
}

static enum follow find(struct ad *x, const char *what, const char *format, LDAPControl *control,
                        struct err *e)
{
    static const char *const wanted[] = {"objectGUID", "objectClass", "isDeleted", NULL};
    struct ad_search q = {.what = what, .entry = ad_take_changed};
    char *filter = mem_printf("(&(uSNChanged>=%" PRIu64 ")%s)", x->usn + 1, format);
    enum follow o = ad_search_paged(x, &q,
                                    &(struct ad_ask){.base = x->server.root,
                                                     .scope = LDAP_SCOPE_SUBTREE,
                                                     .filter = filter,
                                                     .attributes = (char **)wanted,
                                                     .control = {control}},
                                    ad_read_changed, e);
    mem_free(filter);
    return o;
}

enum follow ad_usn_changes(struct ad *x, uint64_t now, struct err *e)
{
    LDAPControl show = {.ldctl_oid = (char *)AD_SHOW_DELETED_OID, .ldctl_iscritical = 1};
    enum follow o = find(x, "the search for changes", "(objectClass=*)", NULL, e);
    if (o == FOLLOW_ON)
        o = find(x, "the search for deletions", "(isDeleted=TRUE)", &show, e);
    if (o != FOLLOW_ON)
        return o;
    x->usn = now;
    return ad_commit(x, e);
}
