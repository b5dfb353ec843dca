/*
 * csv_map.h - from rows of CSV to entries: which column is which attribute, how a cell with several
 * values is taken apart, what tells one row from another. Pure; one mapper per reading, one thread.
 *
 * Columns are known by the names of Active Directory's attributes, by the names that the source's
 * `attributes` gives them, and by those that Exchange's and Office 365's cmdlets write
 * (Get-Recipient, Get-Mailbox, Get-MailUser, Get-RemoteMailbox | Export-Csv). Besides, for files
 * made by hand: address, proxies, target, kind, and by default flag, routing and key
 * (conf/check.c). Others are ignored.
 *
 * A cell with several addresses has ";", "," "|" or a line end between them (the configured
 * csv_separator alone, if there is one), or a blank before "smtp:" and the like. A piece that does
 * not begin an address belongs to the one before it, so that the comma in "X500:/o=A&B, Inc./cn=x"
 * parts nothing.
 *
 * What tells a row from the others over time: csv_key's column, else objectGUID, entryUUID or Guid,
 * else the primary address.
 */
#ifndef DIRECTORY_CSV_MAP_H
#define DIRECTORY_CSV_MAP_H

#include "conf/conf.h"
#include "directory/file/csv.h"
#include "directory/entry.h"

struct csv_map;

/* c must outlive it. by_address: rows are told apart by their primary addresses, whatever other
 * columns there are. */
struct csv_map *csv_map_new(const struct conf_source *c, bool by_address);
void csv_map_free(struct csv_map **m);
/* False: a column twice, or none that holds addresses. */
bool csv_map_header(struct csv_map *m, const struct csv_row *header, struct err *e);
/* After the header. False: a value that cannot be used, "column 3 (EmailAddresses): ...".
 * *is_entry false: the row has no address, so it is no recipient. *out lives until the next row. */
bool csv_map_row(struct csv_map *m, const struct csv_row *row, struct dir_entry *out,
                 bool *is_entry, struct err *e);

/* The UUID of a row that is known by its primary address. */
void csv_map_address_uuid(const struct dir_address *primary, unsigned char *uuid);
/* By what rows are told apart, for a message about two that are not. */
const char *csv_map_key(const struct csv_map *m);

/* The value of msExchRecipientTypeDetails for "UserMailbox", "mail-user" and the like; 0: not
 * known. */
uint64_t csv_map_type(struct str word);

#endif
