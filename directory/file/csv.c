/*
 * csv.c - see csv.h. One octet moves the state; the values of a row lie one after the other in one
 * buffer, and are given out when the row ends.
 */
#include "directory/file/csv.h"

#include "base/buf.h"
#include "base/escape.h"
#include "base/mem.h"

enum state {
    BEGIN,  /* of a row */
    VALUE,  /* of a value, before its first octet */
    PLAIN,  /* in an unquoted value */
    QUOTED, /* in a quoted value */
    CLOSED, /* after a quote in one: its end, or the first of two */
    CR,     /* after the CR of a line end */
    COMMENT /* in the first line, which began with # */
};

struct csv {
    csv_row_fn *fn;
    void *arg;
    enum state state;
    bool has_header;
    char delimiter;     /* 0: not known yet */
    unsigned bom;       /* octets of a byte order mark that were skipped */
    unsigned line;      /* being read */
    struct csv_row row; /* .line: where it began */
    struct buf text;    /* of the row's values */
    unsigned columns;   /* of the header */
    size_t *end;        /* of each value in `text` */
    struct str *value;
};

static const char bom[] = "\xef\xbb\xbf";

struct csv *csv_new(size_t line_max, csv_row_fn *fn, void *arg)
{
    struct csv *c = NEW(struct csv);
    c->fn = fn;
    c->arg = arg;
    c->line = 1;
    c->end = mem_array(CSV_COLUMNS_MAX, sizeof(*c->end));
    c->value = mem_array(CSV_COLUMNS_MAX, sizeof(*c->value));
    buf_init(&c->text, line_max);
    buf_reserve(&c->text, 1); /* so that even empty values are somewhere */
    return c;
}

void csv_free(struct csv **cp)
{
    struct csv *c = *cp;
    *cp = NULL;
    if (c == NULL)
        return;
    buf_free(&c->text);
    mem_free(c->end);
    mem_free(c->value);
    mem_free(c);
}

void csv_skip(struct csv *c, unsigned lines)
{
    c->line += lines;
}

static bool fail(const struct csv *c, struct err *e, const char *what)
{
    return err_set(e, ERR_INPUT, 0, "line %u, column %u: %s", c->line, c->row.n + 1, what);
}

/* ---- rows ---- */

static bool is_utf8(struct str s)
{
    for (size_t at = 0; at < s.n;) {
        size_t n = escape_utf8_len(s.p + at, s.n - at);
        if (n == 0 || s.p[at] == '\0')
            return false;
        at += n;
    }
    return true;
}

static bool value_end(struct csv *c, struct err *e)
{
    size_t from = c->row.n != 0 ? c->end[c->row.n - 1] : 0;
    if (c->row.n == CSV_COLUMNS_MAX)
        return fail(c, e, "more than 1000 columns");
    if (!is_utf8(str_n(c->text.p + from, c->text.n - from)))
        return fail(c, e, "not UTF-8; export the file with -Encoding UTF8");
    c->end[c->row.n++] = c->text.n;
    c->state = VALUE;
    return true;
}

static bool row_end(struct csv *c, struct err *e)
{
    if (!value_end(c, e))
        return false;
    c->state = BEGIN;
    c->row.is_header = !c->has_header;
    if (c->row.is_header) {
        c->columns = c->row.n;
        c->has_header = true;
        c->delimiter = c->delimiter != 0 ? c->delimiter : ',';
    } else if (c->row.n != c->columns) {
        return err_set(e, ERR_INPUT, 0,
                       "line %u: %u values, but the header has %u columns; a value that contains "
                       "the delimiter must stand in quotes",
                       c->row.line, c->row.n, c->columns);
    }
    for (unsigned i = 0; i < c->row.n; i++) {
        size_t from = i != 0 ? c->end[i - 1] : 0;
        c->value[i] = str_n(c->text.p + from, c->end[i] - from);
    }
    c->row.value = c->value;
    return c->fn(c->arg, &c->row, e) || err_wrap(e, "line %u", c->row.line);
}

/* ---- octets ---- */

static bool put(struct csv *c, char byte, struct err *e)
{
    return buf_append_char(&c->text, byte) ||
           err_set(e, ERR_LIMIT, 0, "line %u: longer than line_max = %zu octets allow", c->row.line,
                   c->text.max);
}

static bool is_delimiter(struct csv *c, char byte)
{
    if (c->delimiter == 0 && (byte == ',' || byte == ';' || byte == '\t'))
        c->delimiter = byte;
    return byte == c->delimiter;
}

/* The end of a value, outside of quotes; true if `byte` is one. */
static bool ends_value(struct csv *c, char byte, bool *ok, struct err *e)
{
    if (byte == '\n')
        *ok = row_end(c, e);
    else if (byte == '\r')
        c->state = CR;
    else if (is_delimiter(c, byte))
        *ok = value_end(c, e);
    else
        return false;
    return true;
}

static bool row_begin(struct csv *c, char byte)
{
    if (byte == '\n' || byte == '\r')
        return false;
    if (c->bom < 3 && !c->has_header && byte == bom[c->bom]) {
        c->bom++;
        return false;
    }
    c->row.n = 0;
    c->row.line = c->line;
    buf_clear(&c->text);
    c->state = byte == '#' && !c->has_header ? COMMENT : VALUE;
    return c->state == VALUE;
}

static bool octet(struct csv *c, char byte, struct err *e)
{
    bool ok = true;
    if (c->state == BEGIN && !row_begin(c, byte))
        return true;
    switch (c->state) {
    case COMMENT:
        if (byte == '\n')
            c->state = BEGIN;
        return true;
    case VALUE:
        if (byte == '"') {
            c->state = QUOTED;
            return true;
        }
        c->state = PLAIN;
        return ends_value(c, byte, &ok, e) ? ok : put(c, byte, e);
    case PLAIN:
        if (byte == '"')
            return fail(c, e,
                        "a quote inside a value; put the whole value in quotes, and each quote "
                        "within it twice");
        return ends_value(c, byte, &ok, e) ? ok : put(c, byte, e);
    case QUOTED:
        if (byte == '"') {
            c->state = CLOSED;
            return true;
        }
        return put(c, byte, e);
    case CLOSED:
        if (byte == '"') {
            c->state = QUOTED;
            return put(c, byte, e);
        }
        return ends_value(c, byte, &ok, e)
                   ? ok
                   : fail(c, e,
                          "text after a closing quote; a quote within a value must stand twice");
    default: /* CR */
        return byte == '\n' ? row_end(c, e) : fail(c, e, "a CR that no LF follows");
    }
}

bool csv_feed(struct csv *c, const char *p, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++) {
        if (!octet(c, p[i], e))
            return false;
        c->line += p[i] == '\n';
    }
    return true;
}

bool csv_end(struct csv *c, struct err *e)
{
    if (c->state == QUOTED)
        return err_set(e, ERR_INPUT, 0,
                       "line %u, column %u: a quoted value without an end; the closing quote is "
                       "missing, or the file is cut off",
                       c->row.line, c->row.n + 1);
    bool open = c->state != BEGIN && c->state != COMMENT;
    if (open && !row_end(c, e))
        return false;
    return c->has_header || err_set(e, ERR_INPUT, 0,
                                    "line 1: no header; the first line must name the columns, such "
                                    "as \"mail,proxyAddresses,targetAddress\"");
}
