/*
 * person.h - which objects of which sources are one person, found anew for each lookup: nothing
 * that is joined is kept anywhere, so nothing can be out of date. Any thread; no allocation.
 *
 * Objects of different sources are one person if
 *   smtp  they have the address that was asked for, or each has the other's primary address;
 *   x500  a legacyExchangeDN or X500: address of one is one of the other;
 *   key   they have the same value of the configured join attribute.
 * and so on from object to object. A key that leads to several living objects of one source, on
 * either side, proves nothing and joins none; two objects of one source are one person only by way
 * of an object of another. Objects that have vanished count where there is no living one.
 */
#ifndef DIRECTORY_PERSON_H
#define DIRECTORY_PERSON_H

#include "directory/view_int.h"

struct member {
    unsigned slot; /* in view->source */
    struct table_record record;
    struct dir_entry entry; /* without its lists: address[0] only */
    struct dir_address first;
    unsigned person; /* members with one number are one person */
    bool direct;     /* has the key that was asked for */
};
struct person {
    const struct dir_view *v;
    unsigned n;
    uint8_t order[DIR_CLAIMS_MAX]; /* the members by source priority, then UUID */
    struct member m[DIR_CLAIMS_MAX];
};

/* All with this SMTP address key, and who is joined with them. */
void person_find(const struct dir_view *v, struct str key, uint64_t hash, struct person *p);
/* The same by a key of another kind (view.h: dir_view_lookup_other). */
void person_find_other(const struct dir_view *v, enum dir_key_type type, struct str key,
                       struct person *p);

/* The types of keys, a bit each, that are looked for together with this one. */
unsigned person_key_family(enum dir_key_type type);

/* For a change: calls fn with the hash of every key of every object that has a key with this hash.
 * A key can join those, or have joined them; too many is harmless. */
void person_spread(const struct dir_view *v, uint64_t hash, view_key_fn *fn, void *arg);

#endif
