/*
 * table.c - the rows of conf/options.def as data, and looking them up.
 *
 * Owns nothing, runs on any thread, cannot fail.
 */
#include "conf/options.h"

#include "base/assert.h"

#define STRUCT_top         struct conf
#define STRUCT_listener    struct conf_listener
#define STRUCT_forest      struct conf_forest
#define STRUCT_host        struct conf_host
#define STRUCT_domain      struct conf_domain
#define STRUCT_route       struct conf_route
#define STRUCT_source      struct conf_source
#define STRUCT_spool       struct conf
#define STRUCT_smtpd       struct conf
#define STRUCT_smtp_client struct conf
#define STRUCT_queue       struct conf
#define STRUCT_dns         struct conf
#define STRUCT_dsn         struct conf
#define STRUCT_control     struct conf
#define STRUCT_log         struct conf

#define MEMBER_SIZE(type, member) sizeof(((type *)0)->member)

const struct conf_section conf_section[CONF_S_COUNT] = {
#define SECTION(id_, word_, titled_, title_, check_, example_, text_)                              \
    [CONF_S_##id_] = {.word = word_,                                                               \
                      .titled = titled_,                                                           \
                      .title = title_,                                                             \
                      .check = check_,                                                             \
                      .example = example_,                                                         \
                      .text = text_},
#define OPTION(...)
#define LIST_OPTION(...)
#include "conf/options.def"
#undef SECTION
#undef OPTION
#undef LIST_OPTION
};

#define ROW(section_, name_, type_, count_, member_, def_, min_, max_, unit_, when_, check_,       \
            example_, text_, ...)                                                                  \
    {.section = CONF_S_##section_,                                                                 \
     .name = #name_,                                                                               \
     .member = #member_,                                                                           \
     .type = CONF_T_##type_,                                                                       \
     .offset = offsetof(STRUCT_##section_, member_),                                               \
     .size = MEMBER_SIZE(STRUCT_##section_, member_),                                              \
     .count_offset = (count_),                                                                     \
     .def = def_,                                                                                  \
     .min = min_,                                                                                  \
     .max = max_,                                                                                  \
     .unit = unit_,                                                                                \
     .when = CONF_##when_,                                                                         \
     .check = check_,                                                                              \
     .example = example_,                                                                          \
     .text = text_,                                                                                \
     __VA_ARGS__},

const struct conf_option conf_option[] = {
#define SECTION(...)
#define OPTION(section, name, type, member, ...) ROW(section, name, type, 0, member, __VA_ARGS__)
#define LIST_OPTION(section, name, type, count, member, ...)                                       \
    ROW(section, name, type, offsetof(STRUCT_##section, count), member, __VA_ARGS__)
#include "conf/options.def"
#undef SECTION
#undef OPTION
#undef LIST_OPTION
};
const unsigned conf_option_count = ARRAY_LEN(conf_option);

#define FAMILY(parent_, section_, n_, v_, required_)                                               \
    {                                                                                              \
        .parent = CONF_S_##parent_, .section = CONF_S_##section_,                                  \
        .n_offset = offsetof(STRUCT_##parent_, n_), .v_offset = offsetof(STRUCT_##parent_, v_),    \
        .size = sizeof(STRUCT_##section_), .required = required_                                   \
    }

const struct conf_family conf_family[] = {
    FAMILY(top, listener, n_listener, listener, true), FAMILY(top, forest, n_forest, forest, true),
    FAMILY(top, domain, n_domain, domain, true),       FAMILY(top, route, n_route, route, false),
    FAMILY(top, source, n_source, source, false),      FAMILY(forest, host, n_host, host, true),
    FAMILY(route, host, n_host, host, false),
};
const unsigned conf_family_count = ARRAY_LEN(conf_family);

/* The name given in the file is stored as the first member. */
STATIC_ASSERT(offsetof(struct conf_listener, name) == 0, "name first");
STATIC_ASSERT(offsetof(struct conf_forest, name) == 0, "name first");
STATIC_ASSERT(offsetof(struct conf_host, name) == 0, "name first");
STATIC_ASSERT(offsetof(struct conf_domain, name) == 0, "name first");
STATIC_ASSERT(offsetof(struct conf_route, name) == 0, "name first");
STATIC_ASSERT(offsetof(struct conf_source, name) == 0, "name first");

const char *const conf_attribute_name[CONF_ATTRIBUTES] = {
#define ATTRIBUTE(id, name) [CONF_A_##id] = name,
#include "conf/attributes.def"
#undef ATTRIBUTE
};

enum conf_attribute conf_attribute_find(struct str name)
{
    unsigned i = 0;
    while (i < CONF_ATTRIBUTES && !str_eq_nocase(name, str_c(conf_attribute_name[i])))
        i++;
    return (enum conf_attribute)i;
}

const struct conf_option *conf_option_find(enum conf_section_id s, const char *name)
{
    for (unsigned i = 0; i < conf_option_count; i++)
        if (conf_option[i].section == s && strcmp(conf_option[i].name, name) == 0)
            return &conf_option[i];
    return NULL;
}

void conf_option_types(const struct conf_option *o, struct buf *out)
{
    const char *names = conf_option_find(CONF_S_source, "type")->unit;
    unsigned left = (unsigned)__builtin_popcount(o->types);
    for (unsigned i = 0; i < CONF_SOURCE_TYPES; i++) {
        if (!(o->types >> i & 1))
            continue;
        left--;
        buf_printf(out, "%.*s%s", STR_ARG(conf_choice(names, i)),
                   left > 1    ? ", "
                   : left == 1 ? " or "
                               : "");
    }
}

bool conf_section_is_in(enum conf_section_id s, enum conf_section_id parent)
{
    for (unsigned i = 0; i < conf_family_count; i++)
        if (conf_family[i].section == s && conf_family[i].parent == parent)
            return true;
    return parent == CONF_S_top && s != CONF_S_top && !conf_section[s].titled;
}

bool conf_type_is_list(enum conf_type t)
{
    return t == CONF_T_LIST || t == CONF_T_NETS || t == CONF_T_PAIRS;
}

const char *conf_type_text(enum conf_type t)
{
    switch (t) {
    case CONF_T_STRING:
        return "string";
    case CONF_T_LIST:
    case CONF_T_PAIRS:
        return "list of strings";
    case CONF_T_NETS:
        return "list of networks";
    case CONF_T_INT:
        return "number";
    case CONF_T_SIZE:
        return "size";
    case CONF_T_DURATION:
    case CONF_T_SECONDS:
        return "duration";
    case CONF_T_BOOL:
        return "yes or no";
    case CONF_T_ENUM:
        return "choice";
    case CONF_T_FLOAT:
        return "fraction";
    }
    return "";
}
