/*
 * entry.c - comparing entries, and the two halves of an address. Pure; any thread.
 */
#include "directory/entry.h"

#include "base/hash.h"
#include "rewrite/address.h"

const char *dir_evidence_text(enum dir_evidence e)
{
    static const char *const text[DIR_EVIDENCE_COUNT] = {
        [DIR_EVIDENCE_SOURCE] = "entry without a flag",
        [DIR_EVIDENCE_HOME_MDB] = "homeMDB",
        [DIR_EVIDENCE_HOME_SERVER] = "msExchHomeServerName",
        [DIR_EVIDENCE_TYPE] = "msExchRecipientTypeDetails",
        [DIR_EVIDENCE_TARGET] = "targetAddress",
        [DIR_EVIDENCE_CLASS] = "objectClass",
        [DIR_EVIDENCE_OVERRIDE] = "override"};
    return (unsigned)e < DIR_EVIDENCE_COUNT ? text[e] : "unknown";
}

bool dir_address_equal(const struct dir_address *a, const struct dir_address *b)
{
    return str_eq(a->local, b->local) && str_eq(a->domain, b->domain);
}

bool dir_entry_moved(const struct dir_entry *from, const struct dir_entry *to)
{
    return from->kind != to->kind || !str_eq_nocase(from->flag, to->flag) ||
           !dir_address_equal(&from->target, &to->target) ||
           !dir_address_equal(&from->routing, &to->routing);
}

static bool has_address(const struct dir_entry *e, const struct dir_address *a)
{
    for (unsigned i = 0; i < e->n_address; i++)
        if (str_eq(e->address[i].domain, a->domain) && str_eq_nocase(e->address[i].local, a->local))
            return true;
    return false;
}

const struct dir_address *dir_entry_dropped(const struct dir_entry *from,
                                            const struct dir_entry *to)
{
    for (unsigned i = 0; i < from->n_address; i++) {
        bool same_place =
            i < to->n_address && dir_address_equal(&from->address[i], &to->address[i]);
        if (!same_place && !has_address(to, &from->address[i]))
            return &from->address[i];
    }
    return NULL;
}

bool dir_entry_equal(const struct dir_entry *a, const struct dir_entry *b)
{
    return dir_entry_equal_but_dn(a, b) && (a->tombstone || str_eq(a->dn, b->dn));
}

bool dir_entry_equal_but_dn(const struct dir_entry *a, const struct dir_entry *b)
{
    if (a->tombstone != b->tombstone)
        return false;
    if (a->tombstone)
        return true;
    if (dir_entry_moved(a, b) || a->evidence != b->evidence || !str_eq(a->flag, b->flag) ||
        !str_eq(a->alias, b->alias) || a->n_address != b->n_address || a->n_other != b->n_other ||
        a->recipient_type != b->recipient_type || a->require_auth != b->require_auth ||
        a->vanished_ms != b->vanished_ms)
        return false;
    for (unsigned i = 0; i < DIR_NAME_COUNT; i++)
        if (!str_eq(a->name[i], b->name[i]))
            return false;
    for (unsigned i = 0; i < a->n_address; i++)
        if (!dir_address_equal(&a->address[i], &b->address[i]))
            return false;
    for (unsigned i = 0; i < a->n_other; i++)
        if (a->other[i].type != b->other[i].type || !str_eq(a->other[i].key, b->other[i].key))
            return false;
    return true;
}

struct str dir_address_key(const struct dir_address *a, char *dst)
{
    if (a->local.n + 1 + a->domain.n > ADDRESS_MAX)
        return STR_NULL;
    str_lower(a->local, dst);
    dst[a->local.n] = '@';
    if (a->domain.n != 0) /* of a damaged table it may be */
        memcpy(dst + a->local.n + 1, a->domain.p, a->domain.n);
    return str_n(dst, a->local.n + 1 + a->domain.n);
}

uint64_t dir_address_hash(const struct dir_address *a)
{
    char key[ADDRESS_MAX + 1];
    struct str k = dir_address_key(a, key);
    return hash64(k.p, k.n);
}

uint64_t dir_other_hash(enum dir_key_type type, struct str key)
{
    return hash64_seed(key.p, key.n, type == DIR_KEY_LEGACY_DN ? DIR_KEY_X500 : type);
}

uint64_t dir_uuid_hash(const unsigned char *uuid)
{
    return hash64_seed(uuid, DIR_UUID_SIZE, DIR_KEY_UUID);
}

bool dir_address_split(struct str text, char *local, char *domain, struct dir_address *out)
{
    struct address a;
    char key[ADDRESS_MAX + 1];
    if (address_parse(text, ADDRESS_ALLOW_UTF8, &a) != ADDRESS_OK || a.all.n == 0 ||
        a.domain.n == 0)
        return false;
    if (!a.quoted) { /* by far the most; the grammar allows no dot at the end of the domain */
        memcpy(local, a.local.p, a.local.n);
        str_lower(a.domain, domain);
        out->local = str_n(local, a.local.n);
        out->domain = str_n(domain, a.domain.n);
        return true;
    }
    size_t n = address_key(&a, key, sizeof(key));
    long at = str_rfind(str_n(key, n), '@');
    if (at <= 0)
        return false;
    memcpy(local, key, (size_t)at);
    out->local = str_n(local, (size_t)at);
    out->domain = str_n(domain, n - (size_t)at - 1);
    memcpy(domain, key + at + 1, out->domain.n);
    return true;
}
