/*
 * options.h - the table of options as the folder sees it: one row per option, one per section, made
 * from conf/options.def, where every option and section is declared once.
 *
 * A row says where the value lives in its structure (offset, size), so that reading, comparing,
 * freeing and describing an option need no code of their own.
 */
#ifndef CONF_OPTIONS_H
#define CONF_OPTIONS_H

#include <stddef.h>

#include "conf/conf.h"

enum conf_type {
    CONF_T_STRING,   /* char * */
    CONF_T_LIST,     /* unsigned n; char **v */
    CONF_T_NETS,     /* struct conf_nets */
    CONF_T_PAIRS,    /* unsigned n; struct conf_pair *v: "left = right" */
    CONF_T_INT,      /* unsigned, int or int64_t */
    CONF_T_SIZE,     /* uint64_t, bytes */
    CONF_T_DURATION, /* int64_t, milliseconds */
    CONF_T_SECONDS,  /* unsigned, seconds; written as a duration */
    CONF_T_BOOL,     /* bool */
    CONF_T_ENUM,     /* an enum whose values are the choices in order, from 0 */
    CONF_T_FLOAT,    /* double */
};

enum conf_when {
    CONF_RELOAD, /* applied by a reload */
    CONF_RESTART /* applied when the daemon starts */
};

/* NULL: fine. Else static text that goes on after the value: "is ...; write ...". */
typedef const char *conf_check_fn(const char *value);

enum conf_section_id {
#define SECTION(id, ...) CONF_S_##id,
#define OPTION(...)
#define LIST_OPTION(...)
#include "conf/options.def"
#undef SECTION
#undef OPTION
#undef LIST_OPTION
    CONF_S_COUNT
};

struct conf_section {
    const char *word;     /* as written in the file; "" for the top level */
    bool titled;          /* may be given many times, each with its own name */
    const char *title;    /* what the name means, for the man page */
    conf_check_fn *check; /* of the name */
    const char *example;  /* of a name */
    const char *text;
};

struct conf_option {
    enum conf_section_id section;
    const char *name;
    const char *member; /* as the sources name it */
    enum conf_type type;
    size_t offset, size; /* of the member in the section's structure */
    size_t count_offset; /* LIST, PAIRS: of the member that counts */
    const char *def;     /* as an admin would write it; NULL = must be given; "" = none */
    double min, max;     /* value; length of a string; number of list elements */
    const char *unit;    /* ENUM: the choices, "a|b" */
    enum conf_when when;
    conf_check_fn *check; /* of a string, or of each element; NULL = anything */
    const char *example;  /* for the sample; NULL = the default, commented out */
    const char *text;     /* after "With type = ...: ", if `types` is not 0 */
    unsigned types;       /* of a source: bits 1 << enum conf_source_type; 0 = all */
};

extern const struct conf_section conf_section[CONF_S_COUNT];
extern const struct conf_option conf_option[];
extern const unsigned conf_option_count;

/* NULL if the section has no such option. */
const struct conf_option *conf_option_find(enum conf_section_id s, const char *name);
/* May the section stand directly in `parent`? */
bool conf_section_is_in(enum conf_section_id s, enum conf_section_id parent);
bool conf_type_is_list(enum conf_type t);
/* "size", "duration", "list of networks" ... for people. */
const char *conf_type_text(enum conf_type t);
/* "ldif, csv or manual", of the types of sources that the option is for. */
void conf_option_types(const struct conf_option *o, struct buf *out);

/* Where sections with a name live in their parent's structure. */
struct conf_family {
    enum conf_section_id parent, section;
    size_t n_offset, v_offset; /* unsigned n; T *v */
    size_t size;               /* of T, which begins with char *name */
    bool required;             /* at least one */
};
extern const struct conf_family conf_family[];
extern const unsigned conf_family_count;

/* ---- values (value.c) ---- */

/* Is `text` right for the option (for a list: for one element of it)? If not, `why` gets "what is
 * wrong; what would be right". With dst != NULL the value is stored there: the member itself, or,
 * for lists, a new last element. */
bool conf_value_read(const struct conf_option *o, const char *text, void *base, char *why,
                     size_t cap);
/* Are there too few or too many elements? */
bool conf_value_count(const struct conf_option *o, unsigned n, char *why, size_t cap);
void conf_value_free(const struct conf_option *o, void *base);
bool conf_value_eq(const struct conf_option *o, const void *a, const void *b);
/* A bound, as one would write it: "64M", "5m", "200". */
void conf_value_bound(const struct conf_option *o, double v, char dst[32]);
/* The n-th of "a|b|c"; its length, 0 past the end. */
struct str conf_choice(const char *choices, unsigned n);

/* ---- descriptions (sample.c) ---- */

/* All that is to be said of what the option does. */
void conf_option_text(const struct conf_option *o, struct buf *out);
/* The default as it would be written in the file. The option must have one. */
void conf_option_default(const struct conf_option *o, struct buf *out);
/* "duration from 1s to 1h", "1 to 65535 port". */
void conf_option_bounds(const struct conf_option *o, struct buf *out);

/* ---- checks of single values (checks.c) ---- */
conf_check_fn conf_check_hostname, conf_check_domain, conf_check_host, conf_check_listen,
    conf_check_email, conf_check_template, conf_check_uri, conf_check_pattern, conf_check_attribute,
    conf_check_attribute_pair, conf_check_join, conf_check_ip, conf_check_servers, conf_check_name,
    conf_check_filter, conf_check_blackout, conf_check_separator;

/* Paths: of a file that must be there, of one that may come later, of a folder and of a socket that
 * the daemon makes. The form is the same; files.c looks at what is there. */
conf_check_fn conf_check_path_read, conf_check_path_watched, conf_check_path_made,
    conf_check_path_socket;

bool conf_net_parse(const char *text, struct conf_net *out);

#endif
