/*
 * claims.c - what the claims of a joined entry say besides where it lives: may a stranger send to
 * it, who else shows the mailbox, and what stands for it. Pure.
 */
#include "relay/route/route_int.h"

#include "base/hash.h"

struct str route_home_of(const struct route_work *w, const struct dir_claim *c)
{
    const struct conf *conf = w->q->conf;
    struct str source = str_c(dir_view_source_name(w->q->view, c->source));
    for (unsigned i = 0; i < conf->n_source; i++)
        if (str_eq(source, str_c(conf->source[i].name)))
            return str_c(conf->source[i].forest);
    return STR_NULL;
}

bool route_wants_auth(const struct route_work *w, const struct dir_result *r)
{
    bool any = false;
    for (unsigned i = 0; i < r->n_claims; i++)
        any = any || r->claim[i].require_auth;
    /* Where the hosting forest has a word of its own, that counts. */
    for (unsigned i = 0; i < r->n_claims && any; i++) {
        const struct dir_claim *c = &r->claim[i];
        if (c->kind != DIR_OVERRIDE && str_eq_nocase(route_home_of(w, c), r->best->forest))
            return c->require_auth;
    }
    return any;
}

int route_other_claimant(const struct route_work *w, const struct dir_result *r,
                         struct str not_this, const struct dir_claim **claim)
{
    for (unsigned i = 0; i < r->n_claims; i++) {
        const struct dir_claim *c = &r->claim[i];
        if (c->kind != DIR_MAILBOX && c->kind != DIR_GROUP)
            continue;
        /* A flag may name one forest while the mailbox still shows in the directory of another. */
        const struct str name[] = {c->forest, route_home_of(w, c)};
        for (unsigned k = 0; k < 2; k++) {
            int f = name[k].n != 0 && !str_eq_nocase(name[k], not_this)
                        ? conf_find_forest(w->q->conf, name[k])
                        : CONF_NONE;
            if (f == CONF_NONE || f == w->origin_forest)
                continue;
            *claim = c;
            return f;
        }
    }
    return CONF_NONE;
}

uint64_t route_mailbox(const struct dir_result *r)
{
    for (unsigned i = 0; i < r->n_claims; i++)
        if (r->claim[i].kind != DIR_OVERRIDE && r->claim[i].primary.n != 0)
            return hash64_nocase(r->claim[i].primary);
    return 0;
}
