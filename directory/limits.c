/*
 * limits.c - how many entries a source may have, and an entry addresses. A directory that is larger
 * is more likely a mistake (a filter, a base, a script that ran away) than a directory, so it is
 * not applied in part: what has gathered is dropped, and the source says which limit and what goes
 * beyond it. On the source's thread.
 */
#include "directory/replica_int.h"

static bool too_many_addresses(const struct dir_entry *e, unsigned max, struct err *over)
{
    char key[ADDRESS_MAX + 1];
    struct str first = dir_address_key(&e->address[0], key);
    return err_set(over, ERR_LIMIT, 0,
                   "%.*s has %u addresses, more than addresses_max = %u allows; nothing was "
                   "applied",
                   STR_ARG(first), e->n_address, max);
}

bool limits_allow(struct replica *r, const struct dir_entry *e)
{
    unsigned entries = r->o.entries_max, addresses = r->o.addresses_max;
    if (r->over.class != ERR_NONE)
        return false;
    if (addresses != 0 && e->n_address > addresses)
        return too_many_addresses(e, addresses, &r->over);
    if (entries != 0 && r->refreshing && r->present.n > entries) /* no need to gather the rest */
        return err_set(&r->over, ERR_LIMIT, 0,
                       "there are more entries than entries_max = %u allows; nothing was applied",
                       entries);
    return true;
}

bool replica_keeps_limits(struct replica *r, struct err *e)
{
    uint64_t entries = r->entries;
    struct dir_entry old, new;
    if (r->over.class != ERR_NONE)
        return err_set(e, r->over.class, 0, "%s", r->over.text);
    if (r->o.entries_max == 0 || entries + r->n_batch <= r->o.entries_max)
        return true;
    for (uint64_t at = 0; replica_batch_next(r, &at, &new) != TABLE_NO_ENTRY;) {
        bool had = replica_find(r, new.uuid, &old) && old.vanished_ms == 0;
        entries += !new.tombstone && !had;
        entries -= new.tombstone &&had;
    }
    return entries <= r->o.entries_max ||
           err_set(e, ERR_LIMIT, 0,
                   "there would be %llu entries, more than entries_max = %u allows; nothing was "
                   "applied",
                   (unsigned long long)entries, r->o.entries_max);
}
