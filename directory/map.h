/*
 * map.h - from a directory object's attributes to an entry: which addresses, what kind, by what
 * evidence (RULES: where a mailbox lives). Pure; one mapper per source, one thread.
 *
 * Understood: mail, proxyAddresses, targetAddress, mailNickname, legacyExchangeDN, homeMDB,
 * msExchHomeServerName, msExchRecipientTypeDetails, objectClass, and the configured flag and
 * routing attributes. Names are compared without case and without options (";lang-en").
 */
#ifndef DIRECTORY_MAP_H
#define DIRECTORY_MAP_H

#include "directory/entry.h"

/* Changes when the same attributes would map to another entry: part of a source's identity. */
#define MAP_VERSION 1

struct map;

/* Empty names: none. */
struct map *map_new(const char *flag_attribute, const char *routing_attribute);
void map_free(struct map **m);

/* For one object: begin, a value at a time, end. */
void map_begin(struct map *m);
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
/* For objects without one: from the DN. */
void map_uuid_from_dn(struct str dn, unsigned char *uuid);

#endif
