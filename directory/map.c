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

/* What a value can be besides an attribute of conf/attributes.def. */
enum {
    A_FLAG = CONF_ATTRIBUTES,
    A_ROUTING,
    A_JOIN,
    A_COUNT
};
STATIC_ASSERT(A_COUNT <= 32, "a bit for each in struct name");

/* One attribute as this source names it, and all that its values mean to us. */
struct name {
    struct str text;
    uint32_t what;
};

struct map {
    unsigned n_name;
    struct name *name;
    char **attributes; /* the texts of name[], and NULL */
    struct arena arena;
    struct dir_entry_room room;
    unsigned n_address, n_other;
    bool has_smtp_proxy;
    long primary;                /* index of the "SMTP:" proxy, or -1 */
    unsigned first_mail, n_mail; /* where the values of mail are in mail[] */
    struct dir_address mail[DIR_ADDRESSES_MAX];
    struct dir_address target, routing;
    struct str alias, flag, bad, dn;
    struct str person[DIR_NAME_COUNT];
    bool home_mdb, home_server, is_group, is_contact, require_auth;
    uint64_t details; /* 0 = not said */
};

/* ---- names ---- */

static void name_add(struct map *m, const char *theirs, unsigned what)
{
    unsigned i = 0;
    if (theirs == NULL || *theirs == '\0')
        return;
    while (i < m->n_name && !str_eq_nocase(m->name[i].text, str_c(theirs)))
        i++;
    if (i == m->n_name) {
        char *copy = str_dup(str_c(theirs));
        m->name = mem_realloc(m->name, (i + 1) * sizeof(*m->name));
        m->attributes = mem_realloc(m->attributes, (i + 2) * sizeof(*m->attributes));
        m->name[m->n_name++] = (struct name){.text = str_c(copy)};
        m->attributes[i] = copy;
        m->attributes[i + 1] = NULL;
    }
    m->name[i].what |= 1u << what;
}

static bool is_wanted(const struct map_options *o, unsigned a)
{
    static const char letter[] = {[CONF_A_GIVEN] = 'g',
                                  [CONF_A_SURNAME] = 's',
                                  [CONF_A_INITIALS] = 'i',
                                  [CONF_A_DISPLAY] = 'd'};
    return a >= ARRAY_LEN(letter) || letter[a] == '\0' ||
           (o->names != NULL && strchr(o->names, letter[a]) != NULL);
}

struct map *map_new(const struct map_options *o)
{
    struct map *m = NEW(struct map);
    for (unsigned a = 0; a < CONF_ATTRIBUTES; a++) {
        bool renamed = false;
        for (unsigned i = 0; i < o->n_attribute && is_wanted(o, a); i++)
            if (conf_attribute_find(str_c(o->attribute[i].left)) == (enum conf_attribute)a) {
                name_add(m, o->attribute[i].right, a);
                renamed = true;
            }
        if (!renamed && is_wanted(o, a))
            name_add(m, conf_attribute_name[a], a);
    }
    name_add(m, o->flag_attribute, A_FLAG);
    name_add(m, o->routing_attribute, A_ROUTING);
    name_add(m, o->join_attribute, A_JOIN);
    arena_init(&m->arena, 8192, ARENA_MAX);
    return m;
}

struct map_options map_options_of(const struct conf_source *s)
{
    return (struct map_options){.flag_attribute = s->flag_attribute,
                                .routing_attribute = s->routing_attribute,
                                .join_attribute = s->join_attribute,
                                .names = s->names,
                                .n_attribute = s->n_attribute,
                                .attribute = s->attribute};
}

void map_free(struct map **mp)
{
    struct map *m = *mp;
    *mp = NULL;
    if (m == NULL)
        return;
    for (unsigned i = 0; i < m->n_name; i++)
        mem_free(m->attributes[i]);
    mem_free(m->attributes);
    mem_free(m->name);
    arena_free(&m->arena);
    mem_free(m);
}

char **map_attributes(const struct map *m)
{
    return m->attributes;
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
    m->alias = m->flag = m->bad = m->dn = STR_NULL;
    memset(m->person, 0, sizeof(m->person));
    m->require_auth = false;
    m->details = 0;
}

void map_dn(struct map *m, struct str dn)
{
    m->dn = dn.n <= DIR_DN_MAX ? arena_str(&m->arena, dn) : STR_NULL;
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
    const struct str group[] = {STR("group"),
                                STR("groupOfNames"),
                                STR("groupOfUniqueNames"),
                                STR("groupOfMembers"),
                                STR("msExchDynamicDistributionList"),
                                STR("nisMailAlias"),
                                STR("rfc822MailGroup")};
    for (unsigned i = 0; i < ARRAY_LEN(group); i++)
        m->is_group = m->is_group || str_eq_nocase(value, group[i]);
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

/* The first value counts. */
static void first_text(struct map *m, struct str value, size_t max, struct str *out)
{
    if (out->n == 0)
        *out = short_text(m, value, max);
}

static void take(struct map *m, unsigned what, struct str value)
{
    switch (what) {
    case CONF_A_MAIL:
        if (m->n_mail == ARRAY_LEN(m->mail))
            bad_value(m, value);
        else
            m->n_mail += address(m, value, &m->mail[m->n_mail]);
        break;
    case CONF_A_PROXY:
        proxy(m, value);
        break;
    case CONF_A_TARGET:
        if (m->target.local.n == 0)
            target(m, value, &m->target);
        break;
    case CONF_A_ALIAS:
        m->alias = short_text(m, value, DIR_TEXT_MAX);
        break;
    case CONF_A_LEGACY_DN:
        other_key(m, DIR_KEY_LEGACY_DN, value);
        break;
    case CONF_A_HOME_MDB:
        m->home_mdb = m->home_mdb || value.n != 0;
        break;
    case CONF_A_HOME_SERVER:
        m->home_server = m->home_server || value.n != 0;
        break;
    case CONF_A_DETAILS:
        if (!str_to_u64(value, UINT64_MAX, &m->details))
            m->details = 0;
        break;
    case CONF_A_REQUIRE_AUTH:
        m->require_auth = str_eq_nocase(value, STR("TRUE"));
        break;
    case CONF_A_CLASS:
        object_class(m, value);
        break;
    case CONF_A_GIVEN:
        first_text(m, value, DIR_TEXT_MAX, &m->person[DIR_NAME_GIVEN]);
        break;
    case CONF_A_SURNAME:
        first_text(m, value, DIR_TEXT_MAX, &m->person[DIR_NAME_SURNAME]);
        break;
    case CONF_A_INITIALS:
        first_text(m, value, DIR_TEXT_MAX, &m->person[DIR_NAME_INITIALS]);
        break;
    case CONF_A_DISPLAY:
        first_text(m, value, DIR_TEXT_MAX, &m->person[DIR_NAME_DISPLAY]);
        break;
    case A_FLAG:
        first_text(m, value, DIR_FLAG_MAX, &m->flag);
        break;
    case A_ROUTING:
        if (m->routing.local.n == 0)
            target(m, value, &m->routing);
        break;
    case A_JOIN:
        other_key(m, DIR_KEY_CUSTOM, str_trim(value));
        break;
    default:
        break;
    }
}

void map_value(struct map *m, struct str name, struct str value)
{
    long options = str_find(name, ';');
    if (options >= 0)
        name = str_upto(name, (size_t)options);
    for (unsigned i = 0; i < m->n_name; i++) {
        if (!str_eq_nocase(m->name[i].text, name))
            continue;
        /* an admin may use one attribute for several things */
        for (uint32_t left = m->name[i].what; left != 0; left &= left - 1)
            take(m, (unsigned)__builtin_ctz(left), value);
        return;
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

static uint8_t type_of_details(uint64_t d)
{
    bool one_bit = d != 0 && (d & (d - 1)) == 0;
    return one_bit ? (uint8_t)(__builtin_ctzll(d) + 1) : 0;
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
        for (unsigned i = 0; i < m->n_mail; i++) {
            if (m->n_address == DIR_ADDRESSES_MAX) {
                bad_value(m, m->mail[i].local);
                break;
            }
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
                              .alias = m->alias,
                              .recipient_type = type_of_details(m->details),
                              .require_auth = m->require_auth,
                              .dn = m->dn};
    memcpy(out->name, m->person, sizeof(out->name));
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

void map_uuid_text(const unsigned char *uuid, char dst[MAP_UUID_TEXT])
{
    static const char digit[] = "0123456789abcdef";
    for (unsigned i = 0; i < DIR_UUID_SIZE; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            *dst++ = '-';
        *dst++ = digit[uuid[i] >> 4];
        *dst++ = digit[uuid[i] & 15];
    }
    *dst = '\0';
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
