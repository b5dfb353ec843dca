/*
 * csv_map.c - see csv_map.h. The header has decided what is done with each column (csv_column.c); a
 * row then gives its cells to the mapper (map.h) under the names of attributes.
 */
#include "directory/file/csv_map_int.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/escape.h"
#include "base/hash.h"
#include "base/mem.h"
#include "directory/map.h"
#include "directory/recipient_type.h"

/* ---- words ---- */

static const struct {
    const char *word;
    uint64_t value;
} kind_word[] = {{"mailbox", 1}, {"mail-user", 128}, {"contact", 64}, {"group", 256}};

uint64_t csv_map_type(struct str word)
{
    for (unsigned i = 0; i < ARRAY_LEN(kind_word); i++)
        if (str_eq_nocase(word, str_c(kind_word[i].word)))
            return kind_word[i].value;
    return recipient_type_value(word);
}

/* ---- values ---- */

static bool bad(const struct csv_map *m, unsigned i, struct str value, const char *why,
                struct err *e)
{
    char title[80], shown[120];
    escape_cstr(str_c(m->column[i].title), title, sizeof(title));
    escape_cstr(value, shown, sizeof(shown));
    return err_set(e, ERR_INPUT, 0, "column %u (%s): \"%s\" %s", i + 1, title, shown, why);
}

static bool give(struct csv_map *m, unsigned i, struct str value, struct err *e)
{
    map_value(m->map, str_c(m->column[i].name), value);
    if (map_bad_value(m->map).n == 0)
        return true;
    return bad(m, i, map_bad_value(m->map),
               "is no usable address, or is too long; write one like user@example.org", e);
}

static bool is_separator(const struct csv_map *m, char c)
{
    const char *one = m->c->csv_separator;
    return *one != '\0' ? c == *one : c == ';' || c == ',' || c == '|' || c == '\n' || c == '\r';
}

/* "SMTP:", "x500:", "EUM:": letters and digits before a colon. */
static struct str type_of(struct str s)
{
    size_t i = 0;
    for (; i < s.n && s.p[i] != ':'; i++) {
        char c = ascii_lower(s.p[i]);
        if (!(c >= 'a' && c <= 'z') && !ascii_is_digit(c))
            return STR_NULL;
    }
    return i != 0 && i < s.n ? str_upto(s, i) : STR_NULL;
}

/* A blank parts addresses only where the next one begins with a type: what PowerShell's remoting
 * makes of a list. */
static bool is_parting_blank(const struct csv_map *m, struct str s, size_t at)
{
    static const char *const known[] = {"smtp", "x500", "sip", "x400", "spo", "eum"};
    if (s.p[at] != ' ' || m->c->csv_separator[0] != '\0')
        return false;
    struct str type = type_of(str_from(s, at + 1));
    for (unsigned i = 0; i < ARRAY_LEN(known); i++)
        if (str_eq_nocase(type, str_c(known[i])))
            return true;
    return false;
}

static size_t piece_end(const struct csv_map *m, struct str s, size_t at)
{
    while (at < s.n && !is_separator(m, s.p[at]) && !is_parting_blank(m, s, at))
        at++;
    return at;
}

/* The next address of a cell, off *rest: a piece, with those after it that begin none themselves.
 */
static struct str next_address(const struct csv_map *m, struct str *rest)
{
    size_t end = piece_end(m, *rest, 0);
    struct str type = type_of(str_trim(str_upto(*rest, end)));
    bool smtp = type.n == 0 || str_eq_nocase(type, STR("smtp"));
    while (!smtp && m->c->csv_separator[0] == '\0' && end < rest->n) {
        size_t next = piece_end(m, *rest, end + 1);
        struct str piece = str_trim(str_n(rest->p + end + 1, next - end - 1));
        if (type_of(piece).n != 0)
            break;
        end = next;
    }
    struct str result = str_trim(str_upto(*rest, end));
    *rest = str_from(*rest, end < rest->n ? end + 1 : end);
    return result;
}

/* What PowerShell writes instead of the values if it is not told how to join them. */
static bool is_type_name(struct str s)
{
    return str_starts(s, STR("System.")) || str_starts(s, STR("Microsoft.Exchange.")) ||
           str_starts(s, STR("Deserialized."));
}

static bool addresses(struct csv_map *m, unsigned i, struct str cell, struct err *e)
{
    if (is_type_name(cell))
        return bad(m, i, cell,
                   "is what PowerShell calls the list, not the list; export it with Select-Object "
                   "*,@{n='proxyAddresses';e={$_.EmailAddresses -join ';'}} -ExcludeProperty "
                   "EmailAddresses",
                   e);
    while (cell.n != 0) {
        struct str one = next_address(m, &cell);
        if (one.n == 0)
            continue;
        if (type_of(one).n == 0 && str_find(one, '@') < 0)
            return bad(m, i, one, "is no address; write one like smtp:user@example.org", e);
        if (!give(m, i, one, e))
            return false;
    }
    return true;
}

static bool words(struct csv_map *m, unsigned i, struct str cell, struct err *e)
{
    while (cell.n != 0) {
        size_t end = piece_end(m, cell, 0);
        struct str one = str_trim(str_upto(cell, end));
        cell = str_from(cell, end < cell.n ? end + 1 : end);
        if (one.n != 0 && !give(m, i, one, e))
            return false;
    }
    return true;
}

static bool type_cell(struct csv_map *m, unsigned i, struct str cell, struct err *e)
{
    char number[24];
    uint64_t value = csv_map_type(cell);
    if (m->column[i].how == HOW_KIND && (value == 0 || value > 256))
        return bad(m, i, cell, "is no kind; write mailbox, mail-user, contact or group", e);
    if (value == 0) /* a number; or a word of a later Exchange: the other columns decide */
        return give(m, i, cell, e);
    snprintf(number, sizeof(number), "%llu", (unsigned long long)value);
    return give(m, i, str_c(number), e);
}

static bool take_cell(struct csv_map *m, unsigned i, struct str value, struct err *e)
{
    struct str type;
    switch (m->column[i].how) {
    case HOW_ADDRESSES:
        return addresses(m, i, value, e);
    case HOW_LIST:
        return words(m, i, value, e);
    case HOW_TYPE:
    case HOW_KIND:
        return type_cell(m, i, value, e);
    case HOW_TARGET: /* one of another kind than SMTP is no way out for mail */
        type = type_of(value);
        return (type.n != 0 && !str_eq_nocase(type, STR("smtp"))) || give(m, i, value, e);
    case HOW_DN:
        map_dn(m->map, value);
        return true;
    case HOW_BOOL:
        return give(m, i, str_eq_nocase(value, STR("true")) ? STR("TRUE") : STR("FALSE"), e);
    case HOW_TEXT:
        return give(m, i, value, e);
    default:
        return true;
    }
}

/* ---- rows ---- */

static void uuid_of(struct str text, uint64_t seed, unsigned char *uuid)
{
    char *lower = str_dup(text);
    struct str s = str_c(lower);
    str_lower(s, lower);
    uint64_t h[2] = {hash64_seed(s.p, s.n, seed), hash64_seed(s.p, s.n, seed + 1)};
    memcpy(uuid, h, DIR_UUID_SIZE);
    mem_free(lower);
}

void csv_map_address_uuid(const struct dir_address *primary, unsigned char *uuid)
{
    char key[ADDRESS_MAX + 1];
    uuid_of(dir_address_key(primary, key), 201, uuid);
}

static bool identify(const struct csv_map *m, const struct csv_row *row, struct dir_entry *out,
                     struct err *e)
{
    if (m->key < 0) {
        csv_map_address_uuid(&out->address[0], out->uuid);
        return true;
    }
    struct str value = str_trim(row->value[m->key]);
    if (value.n == 0)
        return bad(m, (unsigned)m->key, value, "is empty; each row needs a value of its own there",
                   e);
    if (!map_uuid_parse(value, out->uuid))
        uuid_of(value, 203, out->uuid);
    return true;
}

bool csv_map_row(struct csv_map *m, const struct csv_row *row, struct dir_entry *out,
                 bool *is_entry, struct err *e)
{
    static const unsigned char none[DIR_UUID_SIZE];
    ASSERT(row->n == m->n);
    map_begin(m->map);
    for (unsigned i = 0; i < m->n; i++) {
        struct str value = str_trim(row->value[i]);
        if (value.n != 0 && !take_cell(m, i, value, e))
            return false;
    }
    *is_entry = map_end(m->map, none, out);
    return !*is_entry || identify(m, row, out, e);
}

const char *csv_map_key(const struct csv_map *m)
{
    return m->key < 0 ? "same primary address" : "same value in the column that tells rows apart";
}

/* ---- life ---- */

struct csv_map *csv_map_new(const struct conf_source *c, bool by_address)
{
    struct csv_map *m = NEW(struct csv_map);
    struct map_options o = map_options_of(c);
    if (c->type == CONF_SOURCE_MANUAL) /* nobody says it again when a template begins to ask */
        o.names = "gsid";
    m->c = c;
    m->by_address = by_address;
    m->map = map_new(&o);
    return m;
}

void csv_map_free(struct csv_map **mp)
{
    struct csv_map *m = *mp;
    *mp = NULL;
    if (m == NULL)
        return;
    for (unsigned i = 0; i < m->n; i++) {
        mem_free(m->column[i].title);
        mem_free(m->column[i].name);
    }
    mem_free(m->column);
    map_free(&m->map);
    mem_free(m);
}
