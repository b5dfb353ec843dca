/*
 * load.c - reading a configuration: the table becomes libConfuse's option arrays, libConfuse parses
 * the text, each value is checked when it is met (so that the line is right), and the values fill a
 * struct conf.
 *
 * Every option is given to libConfuse as a pointer option whose value is a struct value: the text
 * and its line. Numbers, sizes and durations are read by value.c, because libConfuse would take 010
 * for eight and 10x for an error without a reason.
 *
 * Any thread, one at a time: libConfuse's scanner is global and its callbacks have no argument of
 * ours, so a lock is held while it runs. Failure: NULL and the first error, nothing kept.
 */
#include "conf/load.h"

#include <confuse.h>
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/escape.h"
#include "base/file.h"
#include "base/mem.h"

#define FILE_MAX (4u << 20)

struct value {
    int line;
    char text[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct conf_load *current; /* under lock */

/* ---- errors ---- */

bool conf_fail(struct conf_load *l, int line, const char *option, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    if (l->failed)
        return false;
    l->failed = true;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    return err_set(l->e, ERR_CONFIG, 0, "%s:%d: %s%s%s", l->name, line, option,
                   option[0] != '\0' ? ": " : "", text);
}

static enum conf_section_id section_of(const cfg_t *sec)
{
    for (unsigned i = CONF_S_top + 1; i < CONF_S_COUNT; i++)
        if (strcmp(conf_section[i].word, sec->name) == 0)
            return (enum conf_section_id)i;
    return CONF_S_top;
}

/* `forest "target".peers`, `smtpd.recipients_max`, `hostname`. */
static void option_path(const cfg_t *sec, const char *option, char *dst, size_t cap)
{
    char title[64], name[64];
    escape_cstr(str_c(option), name, sizeof(name));
    if (section_of(sec) == CONF_S_top) {
        snprintf(dst, cap, "%s", name);
        return;
    }
    escape_cstr(str_c(sec->title), title, sizeof(title));
    snprintf(dst, cap, "%s%s%s%s%s%s", sec->name, sec->title != NULL ? " \"" : "", title,
             sec->title != NULL ? "\"" : "", name[0] != '\0' ? "." : "", name);
}

static bool fail_at(struct conf_load *l, const cfg_t *sec, int line, const char *option,
                    const char *why)
{
    char path[160];
    option_path(sec, option, path, sizeof(path));
    return conf_fail(l, line, path, "%s", why);
}

static void on_unknown(cfg_t *sec, const char *word)
{
    char why[200], shown[64], hint[120];
    enum conf_section_id s = section_of(sec);
    escape_cstr(str_c(word), shown, sizeof(shown));
    conf_suggest(s, word, hint, sizeof(hint));
    snprintf(why, sizeof(why), "there is no such option %s%s%s; %s",
             s == CONF_S_top ? "at the top level" : "in section ", s == CONF_S_top ? "" : sec->name,
             "", hint);
    fail_at(current, sec, sec->line, word, why);
}

/* libConfuse's own messages, told apart by their format. */
__attribute__((format(printf, 2, 0))) static void on_error(cfg_t *sec, const char *fmt, va_list ap)
{
    static const struct {
        const char *fmt;
        bool about_option;
        const char *why;
    } known[] = {
        {"missing equal sign after option '%s'", true, "\"=\" is missing; write %s = value"},
        {"attempt to append to non-list option '%s'", true,
         "\"+=\" is for lists only; write %s = value"},
        {"missing opening brace for section '%s'", true, "\"{\" is missing; write %s { ... }"},
        {"missing title for section '%s'", true, "a name is missing; write %s \"name\" { ... }"},
        {"found duplicate title '%s'", false,
         "the name \"%s\" is used twice; give each section a name of its own"},
        {"unexpected token '%s'", false,
         "\"%s\" is not expected here; write option = value, or option = { \"a\", \"b\" } for a "
         "list"},
        {"premature end of file", false,
         "the file ends in the middle of an option; write option = value"},
    };
    char why[300], arg[80];
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(fmt, known[i].fmt) != 0)
            continue;
        bool has_arg = strchr(fmt, '%') != NULL;
        const char *word = has_arg ? va_arg(ap, const char *) : "";
        escape_cstr(str_c(word), arg, sizeof(arg));
        struct str form = str_c(known[i].why);
        long at = str_find(form, '%');
        if (at >= 0)
            snprintf(why, sizeof(why), "%.*s%s%s", (int)at, form.p, arg, form.p + at + 2);
        else
            snprintf(why, sizeof(why), "%s", form.p);
        fail_at(current, sec, sec->line, known[i].about_option ? word : "", why);
        return;
    }
    if (strcmp(fmt, "no such option '%s'") == 0) {
        on_unknown(sec, va_arg(ap, const char *));
        return;
    }
    vsnprintf(why, sizeof(why), fmt, ap);
    escape_cstr(str_c(why), arg, sizeof(arg));
    fail_at(current, sec, sec->line, "", arg);
}

/* ---- libConfuse's side of the table ---- */

static bool was_given(struct conf_load *l, const void *opt)
{
    for (unsigned i = 0; i < l->n_seen; i++)
        if (l->seen[i] == opt)
            return true;
    l->seen = mem_realloc(l->seen, (l->n_seen + 1) * sizeof(*l->seen));
    l->seen[l->n_seen++] = opt;
    return false;
}

/* Each value as it is met; for lists, each element. */
static int on_value(cfg_t *sec, cfg_opt_t *opt, const char *text, void *result)
{
    char why[300];
    const struct conf_option *o = conf_option_find(section_of(sec), opt->name);
    if (o == NULL) {
        fail_at(current, sec, sec->line, opt->name,
                "is not an option here; write it in its section");
        return -1;
    }
    /* The first element after "=": what was there before is gone already. */
    if (opt->nvalues == 1 && was_given(current, opt)) {
        fail_at(current, sec, sec->line, opt->name,
                conf_type_is_list(o->type) ? "is given twice; use += to add to the list"
                                           : "is given twice; remove one of the two");
        return -1;
    }
    if (!conf_value_read(o, text, NULL, why, sizeof(why))) {
        fail_at(current, sec, sec->line, opt->name, why);
        return -1;
    }
    size_t n = strlen(text);
    struct value *v = mem_alloc(sizeof(*v) + n + 1);
    v->line = sec->line;
    memcpy(v->text, text, n + 1);
    *(void **)result = v;
    return 0;
}

static void free_opts(cfg_opt_t *opts)
{
    for (cfg_opt_t *o = opts; o->name != NULL; o++)
        if (o->subopts != NULL)
            free_opts(o->subopts);
    mem_free(opts);
}

static cfg_opt_t *make_opts(enum conf_section_id s)
{
    cfg_opt_t *opts = mem_array(conf_option_count + CONF_S_COUNT + 1, sizeof(*opts));
    unsigned n = 0;
    for (unsigned i = 0; i < conf_option_count; i++) {
        const struct conf_option *o = &conf_option[i];
        if (o->section == s)
            opts[n++] =
                (cfg_opt_t){.name = o->name,
                            .type = CFGT_PTR,
                            .flags = CFGF_NODEFAULT | (conf_type_is_list(o->type) ? CFGF_LIST : 0),
                            .parsecb = on_value,
                            .freecb = mem_free};
    }
    for (unsigned i = 0; i < CONF_S_COUNT; i++)
        if (conf_section_is_in((enum conf_section_id)i, s))
            opts[n++] = (cfg_opt_t){.name = conf_section[i].word,
                                    .type = CFGT_SEC,
                                    .flags = conf_section[i].titled
                                                 ? CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES
                                                 : CFGF_NONE,
                                    .subopts = make_opts((enum conf_section_id)i)};
    return opts;
}

/* ---- filling the structures ---- */

static void add_place(struct conf_load *l, const void *base, const struct conf_option *o, int line)
{
    l->place = mem_realloc(l->place, (l->n_place + 1) * sizeof(*l->place));
    l->place[l->n_place++] = (struct conf_place){.base = base, .option = o, .line = line};
}

int conf_place_line(const struct conf_load *l, const void *base, const char *option)
{
    int line = l->last_line;
    for (unsigned i = 0; i < l->n_place; i++) {
        const struct conf_place *p = &l->place[i];
        if (p->base != base)
            continue;
        if (p->option == NULL)
            line = p->line;
        else if (strcmp(p->option->name, option) == 0)
            return p->line;
    }
    return line;
}

static bool fill_option(struct conf_load *l, cfg_t *sec, const struct conf_option *o, int first,
                        void *base)
{
    char why[300] = "is missing";
    cfg_opt_t *opt = cfg_getopt(sec, o->name);
    const struct value *v = NULL;
    unsigned n = cfg_opt_size(opt);
    bool ok = true;
    for (unsigned i = 0; i < n; i++) {
        v = opt->values[i]->ptr;
        ok = conf_value_read(o, v->text, base, why, sizeof(why)) && ok;
        add_place(l, base, o, v->line);
    }
    if (n == 0 && o->def == NULL) {
        char right[100] = "";
        snprintf(right, sizeof(right), "is missing; write %s = %s", o->name, o->example);
        return fail_at(l, sec, first, o->name, right);
    }
    if (conf_type_is_list(o->type))
        ok = conf_value_count(o, n, why, sizeof(why)) && ok;
    else if (n == 0)
        ok = conf_value_read(o, o->def, base, why, sizeof(why));
    if (!ok)
        return fail_at(l, sec, v != NULL ? v->line : first, o->name, why);
    return true;
}

static bool fill_section(struct conf_load *l, cfg_t *sec, enum conf_section_id s, int first,
                         void *base)
{
    for (unsigned i = 0; i < conf_option_count; i++)
        if (conf_option[i].section == s && !fill_option(l, sec, &conf_option[i], first, base))
            return false;
    return true;
}

/* "host:port" in the name of a host is the host and its port. */
static bool split_port(struct conf_load *l, cfg_t *sec, int first, struct conf_host *h)
{
    struct str s = str_c(h->name);
    long colon = str_rfind(s, ':');
    uint64_t port;
    if (colon <= 0 || (str_find(s, ':') != colon && s.p[colon - 1] != ']'))
        return true;
    if (!str_to_u64(str_from(s, (size_t)colon + 1), 65535, &port) || port == 0)
        return fail_at(l, sec, first, "", "has a bad port; write a number from 1 to 65535");
    if (cfg_opt_size(cfg_getopt(sec, "port")) != 0 && h->port != port)
        return fail_at(l, sec, first, "port",
                       "the name of the host says another port; remove one of the two");
    h->port = (unsigned)port;
    h->name[colon] = '\0';
    return true;
}

static bool fill_named(struct conf_load *l, cfg_t *sec, enum conf_section_id s, unsigned depth,
                       void *base);

static bool fill_family(struct conf_load *l, cfg_t *parent, int first, const struct conf_family *f,
                        unsigned depth, void *base)
{
    const struct conf_section *info = &conf_section[f->section];
    unsigned n = cfg_size(parent, info->word);
    char *v = mem_array(n, f->size);
    *(unsigned *)(void *)((char *)base + f->n_offset) = n;
    *(char **)(void *)((char *)base + f->v_offset) = v;
    if (n == 0 && f->required) {
        char why[200];
        snprintf(why, sizeof(why), "has no %s section; write at least one %s \"%s\" { ... }",
                 info->word, info->word, info->example);
        if (f->parent == CONF_S_top)
            return conf_fail(l, l->last_line, info->word,
                             "there is none in the file; write at least one %s \"%s\" { ... }",
                             info->word, info->example);
        return fail_at(l, parent, first, "", why);
    }
    for (unsigned i = 0; i < n; i++)
        if (!fill_named(l, cfg_getnsec(parent, info->word, i), f->section, depth, v + i * f->size))
            return false;
    return true;
}

static bool fill_families(struct conf_load *l, cfg_t *sec, enum conf_section_id s, int first,
                          unsigned depth, void *base)
{
    for (unsigned i = 0; i < conf_family_count; i++)
        if (conf_family[i].parent == s && !fill_family(l, sec, first, &conf_family[i], depth, base))
            return false;
    return true;
}

static bool fill_named(struct conf_load *l, cfg_t *sec, enum conf_section_id s, unsigned depth,
                       void *base)
{
    int first = conf_text_first_line(l, depth, sec->line);
    const char *title = cfg_title(sec);
    add_place(l, base, NULL, first);
    *(char **)base = str_dup(str_c(title));
    if (s == CONF_S_domain)
        str_lower(str_c(title), *(char **)base);
    if (!fill_section(l, sec, s, first, base))
        return false;
    if (s == CONF_S_host && !split_port(l, sec, first, base))
        return false;

    const char *name = *(char **)base;
    const char *wrong = name[0] == '\0' || strlen(name) > (s == CONF_S_domain ? 255 : 63)
                            ? "needs a name of 1 to 63 characters"
                            : conf_section[s].check(name);
    if (s == CONF_S_host && strlen(name) <= 255 && name[0] != '\0')
        wrong = conf_section[s].check(name);
    if (wrong != NULL)
        return fail_at(l, sec, first, "", wrong);
    return fill_families(l, sec, s, first, depth + 1, base);
}

static bool fill(struct conf_load *l, cfg_t *root)
{
    for (unsigned i = 0; i < CONF_S_COUNT; i++) {
        enum conf_section_id s = (enum conf_section_id)i;
        if (conf_section[s].titled)
            continue;
        cfg_t *sec = s == CONF_S_top ? root : cfg_getsec(root, conf_section[s].word);
        if (!fill_section(l, sec, s, l->last_line, l->conf))
            return false;
    }
    return fill_families(l, root, CONF_S_top, l->last_line, 0, l->conf);
}

/* ---- a whole file ---- */

static bool parse(struct conf_load *l, char *text, size_t n)
{
    cfg_opt_t *opts = make_opts(CONF_S_top);
    cfg_t *root = cfg_init(opts, CFGF_NONE);
    free_opts(opts);
    ASSERT(root != NULL);
    cfg_set_error_function(root, on_error);
    root->filename = strdup(l->name);

    int rc = CFG_SUCCESS;
    FILE *f = n != 0 ? fmemopen(text, n, "r") : NULL;
    if (f != NULL) {
        rc = cfg_parse_fp(root, f);
        fclose(f);
    }
    if (rc != CFG_SUCCESS)
        conf_fail(l, root->line, "syntax",
                  "this cannot be understood; write option = value, or section { ... }");
    bool ok = !l->failed && fill(l, root);
    cfg_free(root);
    return ok;
}

static struct conf *load_text(char *text, size_t n, const char *name, struct err *e)
{
    struct conf_load l = {.name = name, .e = e};
    l.conf = NEW(struct conf);
    l.conf->refs = 1;
    l.conf->path = str_dup(str_c(name));

    bool ok = conf_text_prepare(&l, text, n);
    if (ok) {
        pthread_mutex_lock(&lock);
        current = &l;
        ok = parse(&l, text, n);
        current = NULL;
        pthread_mutex_unlock(&lock);
    }
    ok = ok && conf_check(&l);
    if (ok)
        conf_files_gather(&l);
    mem_free(l.span);
    mem_free(l.place);
    mem_free(l.seen);
    if (!ok)
        conf_unref(&l.conf);
    return l.conf;
}

struct conf *conf_parse(const char *text, const char *name, struct err *e)
{
    size_t n = strlen(text);
    char *copy = str_dup(str_n(text, n));
    struct conf *c = load_text(copy, n, name, e);
    mem_free(copy);
    return c;
}

struct conf *conf_load(const char *path, struct err *e)
{
    struct buf text = BUF_INIT(FILE_MAX);
    struct conf *c = NULL;
    struct err why = {0};
    if (!file_read_all(path, &text, &why)) {
        err_set(e, ERR_CONFIG, 0,
                "%s: the configuration cannot be read (%s); name a readable file of at most %u MB "
                "(causewayd --sample prints one to begin with)",
                path, why.text, FILE_MAX >> 20);
    } else {
        buf_cstr(&text);
        c = load_text(text.p, text.n, path, e);
    }
    buf_free(&text);
    return c;
}
