/*
 * load.h - one reading of a configuration file, shared by the steps it takes: text.c looks at the
 * raw text, load.c parses and fills, check.c and check_source.c compare options with each other,
 * files.c keeps which files they name.
 */
#ifndef CONF_LOAD_H
#define CONF_LOAD_H

#include "conf/options.h"

/* A section: from its opening to its closing brace. */
struct conf_span {
    unsigned depth;
    int first, last;
};

/* Where a value, or (option == NULL) a section with a name, is in the file. */
struct conf_place {
    const void *base; /* the structure it fills */
    const struct conf_option *option;
    int line;
};

struct conf_load {
    const char *name; /* of the file, for errors */
    struct err *e;
    bool failed;
    int last_line;
    struct conf *conf;
    unsigned n_span, n_place, n_seen;
    struct conf_span *span;
    struct conf_place *place;
    const void **seen; /* libConfuse's options that were given already */
};

/* Keeps the first error only: "file:line: option: what is wrong; what would be right". Returns
 * false. `option` may be "" for what concerns no option. */
bool conf_fail(struct conf_load *l, int line, const char *option, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* text.c: makes the text fit for libConfuse, or fails. Comments become blanks. */
bool conf_text_prepare(struct conf_load *l, char *text, size_t n);
/* The first line of the section of that depth that ended on `last`. */
int conf_text_first_line(const struct conf_load *l, unsigned depth, int last);

/* The line of an option of the structure `base`; its section's if the option was not given. */
int conf_place_line(const struct conf_load *l, const void *base, const char *option);

/* check.c: whether the options fit together; then fills in what is derived. */
bool conf_check(struct conf_load *l);
/* Fails at an option of a named section; at the section itself if `option` is "". */
bool conf_fail_in(struct conf_load *l, const void *base, const char *word, const char *title,
                  const char *option, const char *fmt, ...) __attribute__((format(printf, 6, 7)));
/* Is *name a forest? It then gets that forest's spelling. */
bool conf_check_forest(struct conf_load *l, const void *base, const char *word, const char *title,
                       const char *option, char **name);
/* check_source.c */
bool conf_check_source(struct conf_load *l, struct conf_source *s);

/* files.c: keeps what files the options name, and where they do. */
void conf_files_gather(struct conf_load *l);

/* suggest.c: ` did you mean "x"?`, or where the word belongs, or the words that are known there. */
void conf_suggest(enum conf_section_id s, const char *word, char *dst, size_t cap);

#endif
