/*
 * pending.c - what a held change would do, address by address: the change is walked, and each
 * address looked up in the view of now and in the view that would be. Immutable things only; used
 * on the thread that asks.
 */
#include "directory/source.h"

#include "base/clock.h"
#include "base/mem.h"

#define STEP 4096 /* entries looked at by one call */

struct dir_pending {
    struct hold *hold;
    struct dir_view *before, *after;
    uint64_t at;
    struct dir_result *result;
    struct dir_entry_room *room, *room_new;
    char key[ADDRESS_MAX + 1], from[64], to[64];
};

struct dir_pending *pending_new(struct hold *h, struct dir_view *before, struct dir_view *after)
{
    struct dir_pending *p = NEW(struct dir_pending);
    p->hold = h;
    p->before = before;
    p->after = after;
    p->result = NEW(struct dir_result);
    p->room = NEW(struct dir_entry_room);
    p->room_new = NEW(struct dir_entry_room);
    return p;
}

void dir_pending_free(struct dir_pending **pp)
{
    struct dir_pending *p = *pp;
    *pp = NULL;
    if (p == NULL)
        return;
    hold_unref(&p->hold);
    dir_view_unref(&p->before);
    dir_view_unref(&p->after);
    mem_free(p->result);
    mem_free(p->room);
    mem_free(p->room_new);
    mem_free(p);
}

const struct dir_step *dir_pending_counts(const struct dir_pending *p)
{
    return &p->hold->counts;
}

int64_t dir_pending_since_ms(const struct dir_pending *p)
{
    return p->hold->since_ms;
}

static struct str forest_in(struct dir_pending *p, const struct dir_view *v, struct str key,
                            char dst[64])
{
    view_lookup(v, key, clock_mono_ms(), p->result);
    const struct dir_claim *best = p->result->best;
    str_copy(best != NULL ? best->forest : STR(""), dst, 64);
    return str_c(dst);
}

/* Does this record of the change make its entry vanish, move or drop an address? */
static bool item_of(struct dir_pending *p, const struct table_record *rec,
                    struct dir_pending_item *out)
{
    struct table_record had;
    struct dir_entry old, new;
    if (!stack_find_uuid(p->hold->before, table_record_uuid(rec), &had) ||
        !table_record_decode(&had, p->room, &old) || old.vanished_ms != 0)
        return false;
    const struct dir_address *address = &old.address[0];
    if (table_record_is_tombstone(rec)) {
        out->what = DIR_PENDING_VANISHES;
    } else if (!table_record_decode(rec, p->room_new, &new)) {
        return false;
    } else if (dir_entry_moved(&old, &new)) {
        out->what = DIR_PENDING_MOVES;
    } else {
        out->what = DIR_PENDING_DROPS;
        address = dir_entry_dropped(&old, &new);
        if (address == NULL)
            return false;
    }
    out->address = dir_address_key(address, p->key);
    out->from = forest_in(p, p->before, out->address, p->from);
    out->to = forest_in(p, p->after, out->address, p->to);
    return true;
}

bool dir_pending_next(struct dir_pending *p, struct dir_pending_item *out, bool *end)
{
    struct table_record rec;
    for (unsigned n = 0; n < STEP; n++) {
        *end = !table_next(p->hold->change, &p->at, &rec);
        if (*end)
            return false;
        if (item_of(p, &rec, out))
            return true;
    }
    return false;
}
