/*
 * csv_map.c - see csv_map.h. The header decides once what is done with each column; a row then
 * gives its cells to the mapper (map.h) under the names of attributes.
 */
#include "directory/csv_map.h"

#include <stdio.h>

#include "base/assert.h"
#include "base/escape.h"
#include "base/hash.h"
#include "base/mem.h"
#include "directory/map.h"
#include "directory/recipient_type.h"

/* How a cell becomes values. */
enum how {
    HOW_IGNORED,
    HOW_TEXT,
    HOW_ADDRESSES, /* several */
    HOW_LIST,      /* several words */
    HOW_TYPE,      /* a word of Exchange, or its number */
    HOW_KIND,      /* one of our words */
    HOW_TARGET,
    HOW_BOOL,
    HOW_DN
};

struct column {
    char *title; /* as in the header */
    char *name;  /* of the attribute, for the mapper */
    enum how how;
};

struct csv_map {
    const struct conf_source *c;
    struct map *map;
    bool by_address;
    unsigned n;
    struct column *column;
    int key; /* the column that tells rows apart; -1: the primary address */
};

/* ---- columns ---- */

/* The attributes by their other names. */
static const struct {
    const char *title, *attribute;
} other_name[] = {
    {"address", "mail"},
    {"PrimarySmtpAddress", "mail"},
    {"EmailAddresses", "proxyAddresses"},
    {"proxies", "proxyAddresses"},
    {"target", "targetAddress"},
    {"ExternalEmailAddress", "targetAddress"},
    {"RemoteRoutingAddress", "targetAddress"},
    {"Alias", "mailNickname"},
    {"RecipientTypeDetails", "msExchRecipientTypeDetails"},
    {"RecipientType", "msExchRecipientTypeDetails"},
    {"kind", "msExchRecipientTypeDetails"},
    {"Database", "homeMDB"},
    {"ServerLegacyDN", "msExchHomeServerName"},
    {"RequireSenderAuthenticationEnabled", "msExchRequireAuthToSendTo"},
    {"DistinguishedName", "DN"},
    {"FirstName", "givenName"},
    {"LastName", "sn"},
};

static const char *const guid_title[] = {"objectGUID", "entryUUID", "Guid", "ExchangeObjectId"};

static bool named(struct str title, const char *name)
{
    return name != NULL && *name != '\0' && str_eq_nocase(title, str_c(name));
}

/* Did the admin say what this column is? Then nothing else counts. */
static bool is_configured(const struct conf_source *c, struct str title)
{
    bool is = named(title, c->flag_attribute) || named(title, c->routing_attribute) ||
              named(title, c->join_attribute);
    for (unsigned i = 0; i < c->n_attribute; i++)
        is = is || named(title, c->attribute[i].right);
    return is;
}

/* Our name for a column that the admin did not name; the mapper's own if it is not ours. */
static char *attribute_of(struct str title)
{
    static const char custom[] = "CustomAttribute";
    if (str_starts_nocase(title, STR("CustomAttribute")))
        return mem_printf("extensionAttribute%.*s", STR_ARG(str_from(title, sizeof(custom) - 1)));
    for (unsigned i = 0; i < ARRAY_LEN(other_name); i++)
        if (named(title, other_name[i].title))
            return str_dup(str_c(other_name[i].attribute));
    return str_dup(title);
}

/* The attribute of ours that the mapper takes values of this name for. */
static enum conf_attribute meaning(const struct conf_source *c, struct str name)
{
    for (unsigned i = 0; i < c->n_attribute; i++)
        if (named(name, c->attribute[i].right))
            return conf_attribute_find(str_c(c->attribute[i].left));
    return conf_attribute_find(name);
}

static enum how how_of(const struct conf_source *c, const struct column *col)
{
    if (named(str_c(col->title), "kind") && !is_configured(c, str_c(col->title)))
        return HOW_KIND;
    if (named(str_c(col->name), "DN"))
        return HOW_DN;
    switch (meaning(c, str_c(col->name))) {
    case CONF_A_TARGET:
        return HOW_TARGET;
    case CONF_A_PROXY:
        return HOW_ADDRESSES;
    case CONF_A_DETAILS:
        return HOW_TYPE;
    case CONF_A_CLASS:
        return HOW_LIST;
    case CONF_A_REQUIRE_AUTH:
        return HOW_BOOL;
    default:
        return HOW_TEXT;
    }
}

static int find_title(const struct csv_map *m, const char *title)
{
    for (unsigned i = 0; i < m->n; i++)
        if (named(str_c(m->column[i].title), title))
            return (int)i;
    return -1;
}

/* RecipientType is the coarser of the two. */
static void choose_type(struct csv_map *m)
{
    int coarse = find_title(m, "RecipientType");
    for (unsigned i = 0; coarse >= 0 && i < m->n; i++)
        if ((int)i != coarse && (m->column[i].how == HOW_TYPE || m->column[i].how == HOW_KIND))
            m->column[coarse].how = HOW_IGNORED;
}

static bool find_key(struct csv_map *m, struct err *e)
{
    m->key = -1;
    if (m->by_address)
        return true;
    if (m->c->csv_key[0] != '\0') {
        m->key = find_title(m, m->c->csv_key);
        return m->key >= 0 || err_set(e, ERR_INPUT, 0,
                                      "there is no column \"%s\", which csv_key names; the header "
                                      "must have it",
                                      m->c->csv_key);
    }
    for (unsigned i = 0; i < ARRAY_LEN(guid_title) && m->key < 0; i++)
        m->key = find_title(m, guid_title[i]);
    return true;
}

static bool has_addresses(const struct csv_map *m)
{
    for (unsigned i = 0; i < m->n; i++) {
        enum conf_attribute a = meaning(m->c, str_c(m->column[i].name));
        if (a == CONF_A_MAIL || a == CONF_A_PROXY)
            return true;
    }
    return false;
}

static void column_init(const struct csv_map *m, struct column *col, struct str title)
{
    col->title = str_dup(title);
    col->name = is_configured(m->c, title) ? str_dup(title) : attribute_of(title);
    col->how = how_of(m->c, col);
}

bool csv_map_header(struct csv_map *m, const struct csv_row *header, struct err *e)
{
    m->column = mem_array(header->n, sizeof(*m->column));
    for (m->n = 0; m->n < header->n; m->n++) {
        char shown[80];
        struct str title = str_trim(header->value[m->n]);
        char *copy = str_dup(title);
        int before = find_title(m, copy);
        mem_free(copy);
        escape_cstr(title, shown, sizeof(shown));
        if (before >= 0)
            return err_set(e, ERR_INPUT, 0, "columns %d and %u have one name, \"%s\"", before + 1,
                           m->n + 1, shown);
        column_init(m, &m->column[m->n], title);
    }
    choose_type(m);
    return find_key(m, e) &&
           (has_addresses(m) ||
            err_set(e, ERR_INPUT, 0,
                    "no column has addresses; the header must name mail, proxyAddresses, "
                    "PrimarySmtpAddress or EmailAddresses, or a column that the source's "
                    "`attributes` names for one of them"));
}

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

static size_t piece_end(const struct csv_map *m, struct str s, size_t at)
{
    while (at < s.n && !is_separator(m, s.p[at]))
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
                   "*,@{n='proxyAddresses';e={$_.EmailAddresses -join ';'}}",
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
