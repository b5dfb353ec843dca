/*
 * file_source.h - a source from a file that is watched and swapped whole, whatever its format. A
 * format (ldif_source.c, csv_source.c) is a parser and what it makes of each object.
 */
#ifndef DIRECTORY_FILE_SOURCE_H
#define DIRECTORY_FILE_SOURCE_H

#include "directory/hashmap.h"
#include "directory/source.h"

/* One reading of the file. Each file is read twice: to see that all of it is good, then to take it
 * over (`apply`). */
struct file_load {
    struct source *s;
    bool apply;
    struct hashmap uuids;
};
struct file_format {
    /* A parser at the beginning of the file, for this reading. */
    void *(*begin)(struct file_load *l);
    /* As ldif_feed(), ldif_end(): on failure *e says where and what. */
    bool (*feed)(void *parser, const char *p, size_t n, struct err *e);
    bool (*end)(void *parser, struct err *e);
    void (*free)(void *parser);
};

/* The source's thread lives here. */
void file_source_run(struct source *s, const struct file_format *f);

/* ---- for the formats ---- */

/* Of the first reading: notes an object. False: the file has it twice (`twice` says by what it was
 * told apart), or more than entries_max. */
bool file_load_note(struct file_load *l, const unsigned char *uuid, const char *twice,
                    struct err *e);
/* Of the second: takes an entry over. `name` is for the log. */
void file_load_take(struct file_load *l, const struct dir_entry *e, struct str name);

#endif
