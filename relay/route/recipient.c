/*
 * recipient.c - whom an address of a shared domain means. First the entry that the directory has
 * for it as it is written; else, for an encapsulated address (IMCEAEX, rewrite/imceaex.h), the
 * entry whose legacyExchangeDN it carries, or that has it as an X500: proxy address; else, where
 * the domain allows it, the entry of a plus address's base.
 *
 * Whatever found the entry, what follows goes by an SMTP address of it: `key`. What the answer
 * depends on besides the address as it is written is said in out->key_hash.
 */
#include "relay/route/route_int.h"

#include "base/escape.h"
#include "base/hash.h"
#include "directory/entry.h"
#include "rewrite/imceaex.h"

static void lookup(const struct route_work *w, struct str key, struct dir_result *r)
{
    dir_view_lookup(w->q->view, key, w->q->now_ms, r);
}

/* From now on the entry goes by this address. */
static void goes_by(struct route_work *w, struct str key)
{
    w->key = key;
    w->domain = str_from(key, (size_t)(str_rfind(key, '@') + 1));
}

/* ---- old Exchange addresses ---- */

/* Without its quotes, if these were not needed: they hide nothing. */
static struct str local_part(const struct route_work *w)
{
    return w->rcpt.quoted ? str_upto(w->key, (size_t)str_rfind(w->key, '@')) : w->rcpt.local;
}

const char *route_unwrap(struct route_work *w)
{
    struct str encoded;
    enum imcea_kind kind = imcea_parse(local_part(w), &encoded);
    if (kind == IMCEA_NONE)
        return NULL;
    if (kind == IMCEA_TRICK)
        return "encapsulated addresses of the types SMTP and X500 are not taken";
    struct buf plain = BUF_INIT(ADDRESS_LOCAL_MAX);
    bool ok = imcea_decode(encoded, &plain);
    if (ok) {
        memcpy(w->other_text, plain.p, plain.n);
        w->old = str_n(w->other_text, plain.n);
    }
    buf_free(&plain);
    return ok ? NULL : "nothing that could be an address is encapsulated in this one";
}

/* An SMTP address of what was found. */
static struct str primary_of(const struct dir_result *r)
{
    struct str primary = r->best != NULL ? r->best->primary : STR_NULL;
    for (unsigned i = 0; i < r->n_claims && primary.n == 0; i++)
        primary = r->claim[i].primary;
    return primary;
}

static void find_by_old(struct route_work *w, struct dir_result *r)
{
    char lower[ADDRESS_LOCAL_MAX], shown[400];
    struct address primary;
    str_lower(w->old, lower);
    escape_cstr(w->old, shown, sizeof(shown));
    route_say(w, "it stands for the old Exchange address %s", shown);
    /* Whoever gets or loses it: the directory's changes name all keys of an entry. */
    w->out->key_hash = dir_other_hash(DIR_KEY_X500, str_n(lower, w->old.n));
    dir_view_lookup_other(w->q->view, DIR_KEY_X500, str_n(lower, w->old.n), w->q->now_ms, r);
    if (r->found == DIR_NOT_FOUND)
        lookup(w, w->key, r); /* is that final, in this domain, too? */
    if (r->best == NULL)
        return;
    w->found_by_old = true;
    if (address_parse(primary_of(r), ADDRESS_ALLOW_UTF8, &primary) == ADDRESS_OK)
        goes_by(w, str_n(w->key_text, address_key(&primary, w->key_text, sizeof(w->key_text))));
}

/* ---- plus addresses ---- */

/* Where the detail begins in the local part of the key; 0: it has none. */
static size_t detail_at(const struct route_work *w, struct str separator)
{
    size_t end = (size_t)str_rfind(w->key, '@');
    if (w->key.p[0] == '"')
        return 0;
    for (size_t i = 1; i + separator.n <= end; i++)
        if (str_starts(str_from(w->key, i), separator))
            return i;
    return 0;
}

static void find_by_base(struct route_work *w, const struct conf_domain *d, struct dir_result *r)
{
    size_t at = detail_at(w, str_c(d->plus_separator));
    size_t end = (size_t)str_rfind(w->key, '@'), rest = w->key.n - end;
    bool maybe_soon = r->found == DIR_NOT_FOUND_YET;
    struct str own = w->key;
    if (at == 0)
        return;
    w->detail = str_from(local_part(w), at);
    memcpy(w->other_text, w->key.p, at);
    memcpy(w->other_text + at, w->key.p + end, rest);
    goes_by(w, str_n(w->other_text, at + rest));
    w->out->key_hash = hash64(w->key.p, w->key.n);
    lookup(w, w->key, r);
    route_say(w, "the directory has no such entry; without its detail it is %.*s",
              STR_ARG(str_upto(w->key, w->key.n < 200 ? w->key.n : 200)));
    if (r->n_claims == 0 && maybe_soon)
        lookup(w, own, r); /* an entry of its own may come: nothing is final */
}

void route_find(struct route_work *w, const struct conf_domain *d, struct dir_result *r)
{
    lookup(w, w->key, r);
    if (r->n_claims != 0)
        return;
    if (w->old.n != 0)
        find_by_old(w, r);
    else if (d->plus_addresses)
        find_by_base(w, d, r);
}
