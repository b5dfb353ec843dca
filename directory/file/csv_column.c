/*
 * csv_column.c - the header of a CSV file of recipients: which column is which attribute, under
 * whose name for it, and how its cells are to be read.
 */
#include "directory/file/csv_map_int.h"

#include "base/assert.h"
#include "base/escape.h"
#include "base/mem.h"

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
        if (named(title, "flag") && m->c->flag_attribute[0] == '\0')
            return err_set(e, ERR_INPUT, 0,
                           "column %u (flag): the source has no flag_values, which would say what "
                           "a flag means",
                           m->n + 1);
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
