/*
 * map.c - see map.h. Values are copied into an arena that the next object resets; what is longer
 * than an address can be is left out and remembered for the log.
 */
#include "directory/map.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "rewrite/address.h"

#define ARENA_MAX ((size_t)8 << 20)

enum attribute {
    A_MAIL,
    A_PROXY,
    A_TARGET,
    A_ALIAS,
    A_LEGACY_DN,
    A_HOME_MDB,
    A_HOME_SERVER,
    A_DETAILS,
    A_CLASS,
    A_FLAG,
    A_ROUTING,
    A_COUNT
};
static const char *const attribute_name[A_FLAG] = {"mail",
                                                   "proxyAddresses",
                                                   "targetAddress",
                                                   "mailNickname",
                                                   "legacyExchangeDN",
                                                   "homeMDB",
                                                   "msExchHomeServerName",
                                                   "msExchRecipientTypeDetails",
                                                   "objectClass"};

struct map {
    char *flag_attribute, *routing_attribute;
    char *attributes[A_COUNT + 1];
    struct arena arena;
    struct dir_entry_room room;
    unsigned n_address, n_other;
    bool has_smtp_proxy;
    long primary;                /* index of the "SMTP:" proxy, or -1 */
    unsigned first_mail, n_mail; /* where the values of mail are in mail[] */
    struct dir_address mail[16];
    struct dir_address target, routing;
    struct str alias, flag, bad;
    bool home_mdb, home_server, is_group, is_contact;
    uint64_t details; /* 0 = not said */
};

struct map *map_new(const char *flag_attribute, const char *routing_attribute)
{
    struct map *m = NEW(struct map);
    unsigned n = 0;
    m->flag_attribute = str_dup(str_c(flag_attribute));
    m->routing_attribute = str_dup(str_c(routing_attribute));
    for (; n < A_FLAG; n++)
        m->attributes[n] = (char *)attribute_name[n];
    if (*m->flag_attribute != '\0')
        m->attributes[n++] = m->flag_attribute;
    if (*m->routing_attribute != '\0')
        m->attributes[n++] = m->routing_attribute;
    arena_init(&m->arena, 8192, ARENA_MAX);
    return m;
}

void map_free(struct map **mp)
{
    struct map *m = *mp;
    *mp = NULL;
    if (m == NULL)
        return;
    mem_free(m->flag_attribute);
    mem_free(m->routing_attribute);
    arena_free(&m->arena);
    mem_free(m);
}

char **map_attributes(const struct map *m)
{
    return (char **)m->attributes;
}

struct str map_bad_value(const struct map *m)
{
    return m->bad;
}

void map_begin(struct map *m)
{
    arena_reset(&m->arena);
    m->n_address = m->n_other = m->n_mail = 0;
    m->has_smtp_proxy = m->home_mdb = m->home_server = m->is_group = m->is_contact = false;
    m->primary = -1;
    m->target = m->routing = (struct dir_address){0};
    m->alias = m->flag = m->bad = STR_NULL;
    m->details = 0;
}

/* ---- values ---- */

static void bad_value(struct map *m, struct str value)
{
    if (m->bad.n == 0)
        m->bad = arena_str(&m->arena, str_upto(value, value.n < 200 ? value.n : 200));
}

static bool address(struct map *m, struct str text, struct dir_address *out)
{
    char local[ADDRESS_MAX], domain[ADDRESS_MAX];
    struct dir_address a;
    if (!dir_address_split(str_trim(text), local, domain, &a)) {
        bad_value(m, text);
        return false;
    }
    a.local = arena_str(&m->arena, a.local);
    a.domain = arena_str(&m->arena, a.domain);
    if (a.local.p == NULL || a.domain.p == NULL)
        return false;
    *out = a;
    return true;
}

static void other_key(struct map *m, enum dir_key_type type, struct str value)
{
    if (value.n == 0 || value.n > DIR_OTHER_MAX || m->n_other == DIR_OTHERS_MAX) {
        bad_value(m, value);
        return;
    }
    struct str key = arena_str(&m->arena, value);
    if (key.p == NULL)
        return;
    str_lower(key, (char *)key.p);
    for (unsigned i = 0; i < m->n_other; i++)
        if (m->room.other[i].type == type && str_eq(m->room.other[i].key, key))
            return;
    m->room.other[m->n_other++] = (struct dir_other_key){.type = type, .key = key};
}

/* "SMTP:" primary, "smtp:" secondary, "X500:" a key of its own; other types are not ours. */
static void proxy(struct map *m, struct str value)
{
    long colon = str_find(value, ':');
    struct str type = colon > 0 ? str_upto(value, (size_t)colon) : STR_NULL;
    struct str rest = str_from(value, (size_t)(colon + 1));
    struct dir_address a;
    if (str_eq_nocase(type, STR("x500"))) {
        other_key(m, DIR_KEY_X500, rest);
        return;
    }
    if (!str_eq_nocase(type, STR("smtp")) && !(colon < 0 && str_find(value, '@') > 0))
        return;
    if (m->n_address == DIR_ADDRESSES_MAX) {
        bad_value(m, value);
        return;
    }
    if (!address(m, rest, &a))
        return;
    m->has_smtp_proxy = true;
    if (m->primary < 0 && str_eq(type, STR("SMTP")))
        m->primary = (long)m->n_address;
    m->room.address[m->n_address++] = a;
}

static void target(struct map *m, struct str value, struct dir_address *out)
{
    struct str type = str_upto(value, value.n < 5 ? value.n : 5);
    if (str_eq_nocase(type, STR("smtp:")))
        value = str_from(value, 5);
    address(m, value, out);
}

static void object_class(struct map *m, struct str value)
{
    static const char *const group[] = {"group",
                                        "groupOfNames",
                                        "groupOfUniqueNames",
                                        "groupOfMembers",
                                        "msExchDynamicDistributionList",
                                        "nisMailAlias",
                                        "rfc822MailGroup"};
    for (unsigned i = 0; i < ARRAY_LEN(group); i++)
        m->is_group = m->is_group || str_eq_nocase(value, str_c(group[i]));
    m->is_contact = m->is_contact || str_eq_nocase(value, STR("contact"));
}

static struct str short_text(struct map *m, struct str value, size_t max)
{
    value = str_trim(value);
    if (value.n > max) {
        bad_value(m, value);
        return STR_NULL;
    }
    return arena_str(&m->arena, value);
}

static enum attribute attribute_find(struct str name)
{
    long options = str_find(name, ';');
    if (options >= 0)
        name = str_upto(name, (size_t)options);
    for (unsigned i = 0; i < A_FLAG; i++)
        if (str_eq_nocase(name, str_c(attribute_name[i])))
            return (enum attribute)i;
    return A_COUNT;
}

static bool is_named(struct str name, const char *configured)
{
    return *configured != '\0' && str_eq_nocase(name, str_c(configured));
}

void map_value(struct map *m, struct str name, struct str value)
{
    /* the configured ones first: an admin may use any attribute, also one of those below */
    if (is_named(name, m->flag_attribute) && m->flag.n == 0)
        m->flag = short_text(m, value, DIR_FLAG_MAX);
    if (is_named(name, m->routing_attribute) && m->routing.local.n == 0)
        target(m, value, &m->routing);
    switch (attribute_find(name)) {
    case A_MAIL:
        if (m->n_mail < ARRAY_LEN(m->mail) && address(m, value, &m->mail[m->n_mail]))
            m->n_mail++;
        break;
    case A_PROXY:
        proxy(m, value);
        break;
    case A_TARGET:
        if (m->target.local.n == 0)
            target(m, value, &m->target);
        break;
    case A_ALIAS:
        m->alias = short_text(m, value, DIR_TEXT_MAX);
        break;
    case A_LEGACY_DN:
        other_key(m, DIR_KEY_X500, value);
        break;
    case A_HOME_MDB:
        m->home_mdb = m->home_mdb || value.n != 0;
        break;
    case A_HOME_SERVER:
        m->home_server = m->home_server || value.n != 0;
        break;
    case A_DETAILS:
        if (!str_to_u64(value, UINT64_MAX, &m->details))
            m->details = 0;
        break;
    case A_CLASS:
        object_class(m, value);
        break;
    default:
        break;
    }
}

/* ---- the entry ---- */

/* msExchRecipientTypeDetails -> kind, or -1: the other attributes decide. */
static int kind_of_details(uint64_t d)
{
    static const struct {
        uint64_t value;
        enum dir_kind kind;
    } known[] = {{1, DIR_MAILBOX},
                 {2, DIR_MAILBOX},
                 {4, DIR_MAILBOX},
                 {8, DIR_MAILBOX},
                 {16, DIR_MAILBOX},
                 {32, DIR_MAILBOX},
                 {64, DIR_CONTACT},
                 {128, DIR_MAIL_USER},
                 {256, DIR_GROUP},
                 {512, DIR_GROUP},
                 {1024, DIR_GROUP},
                 {2048, DIR_GROUP},
                 {2147483648u, DIR_MAIL_USER},
                 {8589934592u, DIR_MAIL_USER},
                 {17179869184u, DIR_MAIL_USER},
                 {34359738368u, DIR_MAIL_USER}};
    for (unsigned i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].value == d)
            return (int)known[i].kind;
    return -1;
}

static void decide(const struct map *m, struct dir_entry *out)
{
    static const struct {
        enum dir_kind kind;
        enum dir_evidence evidence;
    } as[] = {{DIR_GROUP, DIR_EVIDENCE_CLASS},      {DIR_GROUP, DIR_EVIDENCE_TYPE},
              {DIR_MAILBOX, DIR_EVIDENCE_HOME_MDB}, {DIR_MAILBOX, DIR_EVIDENCE_HOME_SERVER},
              {DIR_MAILBOX, DIR_EVIDENCE_TYPE},     {DIR_MAIL_USER, DIR_EVIDENCE_TYPE},
              {DIR_CONTACT, DIR_EVIDENCE_TYPE},     {DIR_CONTACT, DIR_EVIDENCE_CLASS},
              {DIR_MAIL_USER, DIR_EVIDENCE_TARGET}, {DIR_MAILBOX, DIR_EVIDENCE_SOURCE}};
    int details = kind_of_details(m->details);
    const bool is[] = {m->is_group,
                       details == DIR_GROUP,
                       m->home_mdb,
                       m->home_server,
                       details == DIR_MAILBOX,
                       details == DIR_MAIL_USER,
                       details == DIR_CONTACT,
                       m->is_contact,
                       m->target.local.n != 0,
                       true};
    STATIC_ASSERT(ARRAY_LEN(as) == ARRAY_LEN(is), "one condition each");
    unsigned i = 0;
    while (!is[i])
        i++;
    out->kind = as[i].kind;
    out->evidence = as[i].evidence;
}

static bool same_key(const struct dir_address *a, const struct dir_address *b)
{
    return str_eq(a->domain, b->domain) && str_eq_nocase(a->local, b->local);
}

static int compare(struct str a, struct str b)
{
    int c = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return c != 0 ? c : (a.n > b.n) - (a.n < b.n);
}

static int by_address(const void *va, const void *vb)
{
    const struct dir_address *a = va, *b = vb;
    int c = compare(a->domain, b->domain);
    return c != 0 ? c : compare(a->local, b->local);
}

/* Primary first, the others sorted (a server may change their order at will), each once. */
static unsigned arrange(struct dir_address *v, unsigned n, unsigned primary)
{
    struct dir_address first = v[primary];
    v[primary] = v[0];
    v[0] = first;
    qsort(v + 1, n - 1, sizeof(*v), by_address);
    unsigned to = 1;
    for (unsigned i = 1; i < n; i++) {
        bool seen = same_key(&v[0], &v[i]);
        /* spellings that differ only in case need not be neighbours; lists are short */
        for (unsigned k = to; !seen && k > 1 && str_eq(v[k - 1].domain, v[i].domain); k--)
            seen = same_key(&v[k - 1], &v[i]);
        if (!seen)
            v[to++] = v[i];
    }
    return to;
}

bool map_end(struct map *m, const unsigned char *uuid, struct dir_entry *out)
{
    struct dir_address *v = m->room.address;
    /* `mail` counts where no proxy address says which one is the primary */
    if (m->primary < 0)
        for (unsigned i = 0; i < m->n_mail && m->n_address < DIR_ADDRESSES_MAX; i++) {
            if (i == 0)
                m->primary = (long)m->n_address;
            v[m->n_address++] = m->mail[i];
        }
    if (m->n_address == 0)
        return false;
    m->n_address = arrange(v, m->n_address, m->primary < 0 ? 0 : (unsigned)m->primary);
    *out = (struct dir_entry){.flag = m->flag,
                              .n_address = m->n_address,
                              .address = v,
                              .n_other = m->n_other,
                              .other = m->room.other,
                              .routing = m->routing,
                              .target = m->target,
                              .alias = m->alias};
    memcpy(out->uuid, uuid, DIR_UUID_SIZE);
    decide(m, out);
    return true;
}

/* ---- UUIDs ---- */

static int hex(char c)
{
    c = ascii_lower(c);
    return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool map_uuid_parse(struct str s, unsigned char *uuid)
{
    unsigned n = 0;
    s = str_trim(s);
    for (size_t i = 0; i < s.n; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (s.p[i] != '-')
                return false;
            continue;
        }
        int high = hex(s.p[i]), low = i + 1 < s.n ? hex(s.p[i + 1]) : -1;
        if (high < 0 || low < 0 || n == DIR_UUID_SIZE)
            return false;
        uuid[n++] = (unsigned char)(high << 4 | low);
        i++;
    }
    return n == DIR_UUID_SIZE;
}

void map_uuid_from_dn(struct str dn, unsigned char *uuid)
{
    char *lower = str_dup(str_trim(dn));
    struct str s = str_c(lower);
    str_lower(s, lower);
    uint64_t h[2] = {hash64_seed(s.p, s.n, 101), hash64_seed(s.p, s.n, 102)};
    memcpy(uuid, h, DIR_UUID_SIZE);
    mem_free(lower);
}
