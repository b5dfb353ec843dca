/*
 * csv.h - reading CSV (RFC 4180) as a stream of rows. Beyond the RFC, because exports have it: LF
 * alone ends a row, too; empty lines are skipped, also a first line that begins with "#" (what
 * PowerShell's Export-Csv puts there); a byte order mark is skipped; and the delimiter is the
 * first of comma, semicolon and tab that follows a name of the header. Pure; bytes may come in any
 * portions.
 *
 * Refused, with the line: a row with more or fewer values than the header, a quote inside an
 * unquoted value, text after a closing quote, a quoted value without an end, what is not UTF-8.
 */
#ifndef DIRECTORY_CSV_H
#define DIRECTORY_CSV_H

#include "base/err.h"
#include "base/str.h"

#define CSV_COLUMNS_MAX 1000

struct csv_row {
    unsigned line; /* where it begins; a quoted value may have several */
    bool is_header;
    unsigned n; /* as many as the header has */
    const struct str *value;
};
/* Slices live for the call. False stops the reading; *e says why, without the line. */
typedef bool csv_row_fn(void *arg, const struct csv_row *row, struct err *e);

struct csv;

/* line_max: octets of one row. */
struct csv *csv_new(size_t line_max, csv_row_fn *fn, void *arg);
void csv_free(struct csv **c);
/* What comes next stands that many lines further down in the whole file: for a part of one under
 * the same header. */
void csv_skip(struct csv *c, unsigned lines);
/* False: "line N: what is wrong; what would be right". Nothing more may be fed then. */
bool csv_feed(struct csv *c, const char *p, size_t n, struct err *e);
/* The end of the file: the last row may lack its line end. */
bool csv_end(struct csv *c, struct err *e);

#endif
