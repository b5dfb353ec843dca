/*
 * ad_value.h - the small notations of Active Directory: our cookie, ranges of values, filters by
 * objectGUID, times. Pure; slices point into the input.
 */
#ifndef DIRECTORY_AD_VALUE_H
#define DIRECTORY_AD_VALUE_H

#include "base/buf.h"
#include "directory/entry.h"

/* ---- the cookie that a replica keeps ----
 *
 *   octet  0     1, the version of this layout
 *          1     'D': by DirSync; 'U': by update sequence numbers
 *          2-17  invocationId: which database of which server it came from
 *         18-25  again_ms, little endian
 *         26-    'D': the server's own cookie; 'U': the number, 8 octets, little endian
 */
enum ad_method {
    AD_DIRSYNC = 'D',
    AD_USN = 'U'
};
struct ad_cookie {
    enum ad_method method;
    unsigned char invocation[DIR_UUID_SIZE];
    int64_t again_ms;   /* wall clock: everything is to be read once more then; 0 = no need */
    struct str dirsync; /* AD_DIRSYNC */
    uint64_t usn;       /* AD_USN: changes up to this one are known */
};
bool ad_cookie_write(struct buf *out, const struct ad_cookie *c);
/* False: not one of ours. */
bool ad_cookie_read(struct str in, struct ad_cookie *out);

#define AD_SETTLE_MS 900000 /* replication between servers has long been done */
/* again_ms after a change of servers: one after the other does not put it off. */
int64_t ad_again_ms(int64_t again_ms, int64_t now_ms);
/* Also if it is so far ahead that a clock that was wrong must have set it, by more than a
 * correction: reading too early is from a server that may be behind. */
bool ad_again_is_due(int64_t again_ms, int64_t now_ms);

/* ---- ranges ---- */

/* "member;range=0-1499" -> name "member", the values 0 to 1499. */
struct ad_range {
    struct str name;
    uint32_t first, last;
    bool to_end; /* "range=1500-*": nothing follows */
};
/* False: the attribute comes without a range. */
bool ad_range_parse(struct str attribute, struct ad_range *out);

/* ---- filters and names ---- */

/* "(&FILTER(|(objectGUID=\0a...)(objectGUID=...)))"; n > 0. */
bool ad_guid_filter(struct buf *out, const char *filter, const unsigned char *guid, unsigned n);
/* "<GUID=0a1b...>", which stands for the object's DN. */
#define AD_GUID_DN_SIZE 40
void ad_guid_dn(const unsigned char *guid, char dst[AD_GUID_DN_SIZE]);
/* The attributes that a filter looks at, one after the other. False: no more. */
bool ad_filter_attribute(struct str *rest, struct str *name);
/* A list for a search: copies of all names, each once, and of what the filter looks at. Ends with
 * NULL. */
char **ad_attributes_new(char *const *names, const char *const *more, const char *filter);
void ad_attributes_free(char ***list);
/* Is `dn` the object `base` or one below it? Both as the server writes them. An empty base: yes. */
bool ad_dn_is_below(struct str dn, struct str base);
/* The part of `dn` that names its domain: the "DC=" at its end. Empty: there is none. */
struct str ad_dn_domain(struct str dn);

/* ---- times ---- */

/* From 100 ns since 1601 to the wall clock. 0: never, or not a time. */
int64_t ad_time_ms(struct str value);

#endif
