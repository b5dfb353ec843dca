/*
 * map.h - from a directory object's attributes to an entry: which addresses, what kind, by what
 * evidence (RULES: where a mailbox lives). Pure; one mapper per source, one thread.
 *
 * Understood are the attributes of conf/attributes.def, under the names that this source has for
 * them, and the configured flag, routing and join attributes. Names are compared without case and
 * without options (";lang-en"). What is not asked for proves nothing: msExchMailboxGuid is stamped
 * on a mail user before its mailbox moves, and a disabled account may have a mailbox.
 */
#ifndef DIRECTORY_MAP_H
#define DIRECTORY_MAP_H

#include "conf/conf.h"
#include "directory/entry.h"

/* Changes when the same attributes would map to another entry: part of a source's identity. */
#define MAP_VERSION 2

struct map;

/* All strings are copied. NULL or "": none. */
struct map_options {
    const char *flag_attribute, *routing_attribute, *join_attribute;
    const char *names; /* of "gsid": which pieces of a name to keep */
    unsigned n_attribute;
    const struct conf_pair *attribute; /* "ours = theirs" */
};
/* What a source's section says. */
struct map_options map_options_of(const struct conf_source *s);
struct map *map_new(const struct map_options *o);
void map_free(struct map **m);

/* For one object: begin, its DN if it has one, a value at a time, end. */
void map_begin(struct map *m);
void map_dn(struct map *m, struct str dn);
void map_value(struct map *m, struct str attribute, struct str value);
/* False: not mail-enabled, no entry. *out lives until the next map_begin(). The UUID is the
 * caller's. */
bool map_end(struct map *m, const unsigned char *uuid, struct dir_entry *out);
/* A value of this object that was left out because it is no address; empty if none. */
struct str map_bad_value(const struct map *m);

/* The attributes to ask a server for; NULL-terminated, lives as long as m. */
char **map_attributes(const struct map *m);

/* "f81d4fae-7dec-11d0-a765-00a0c91e6bf6" */
bool map_uuid_parse(struct str text, unsigned char *uuid);
#define MAP_UUID_TEXT 37
void map_uuid_text(const unsigned char *uuid, char dst[MAP_UUID_TEXT]);
/* For objects without one: from the DN. */
void map_uuid_from_dn(struct str dn, unsigned char *uuid);

#endif
