/*
 * text.c - a look at the raw text before libConfuse parses it.
 *
 * libConfuse's scanner is generous in ways that would surprise an admin: it drops characters that
 * it does not know (an unquoted *.example.org becomes .example.org), takes the end of the file for
 * the end of a section, does not allow a comment inside a list, counts some comment lines twice,
 * and turns an unknown ${VARIABLE} into nothing. So comments are blanked here, and what would be
 * misread is refused with the line where it begins.
 *
 * It also notes where sections begin and end, because libConfuse remembers only their end. Pure,
 * apart from looking at the environment.
 */
#include "conf/load.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#define DEPTH_MAX 8

struct scan {
    struct conf_load *l;
    char *p;
    size_t n, i;
    int line;
    struct str word;   /* the last word outside quotes */
    char option[64];   /* the last word before a "=" */
    bool after_equals; /* the next "{" begins a list */
    unsigned depth;
    struct {
        int line;
        bool list;
    } open[DEPTH_MAX];
};

static const char *option(const struct scan *s)
{
    return s->option[0] != '\0' ? s->option : "syntax";
}

static void blank(struct scan *s, size_t end)
{
    for (; s->i < end; s->i++) {
        if (s->p[s->i] == '\n')
            s->line++;
        else
            s->p[s->i] = ' ';
    }
}

static bool skip_line_comment(struct scan *s)
{
    const char *nl = memchr(s->p + s->i, '\n', s->n - s->i);
    blank(s, nl != NULL ? (size_t)(nl - s->p) : s->n);
    return true;
}

static bool skip_block_comment(struct scan *s)
{
    for (size_t k = s->i + 2; k + 1 < s->n; k++)
        if (s->p[k] == '*' && s->p[k + 1] == '/') {
            blank(s, k + 2);
            return true;
        }
    return conf_fail(s->l, s->line, "syntax", "this comment has no end; close it with */");
}

/* "${NAME}" or "${NAME:-default}" inside double quotes. */
static bool check_variable(struct scan *s)
{
    char name[128];
    size_t start = s->i + 2, k = start;
    while (k < s->n && s->p[k] != '}' && s->p[k] != '"' && s->p[k] != '\n')
        k++;
    if (k == s->n || s->p[k] != '}')
        return conf_fail(s->l, s->line, option(s),
                         "\"${\" has no closing brace; write ${NAME}, or use single quotes for a "
                         "plain dollar sign");
    struct str inside = str_n(s->p + start, k - start);
    long colon = str_find(inside, ':');
    bool has_default = colon >= 0 && (size_t)colon + 1 < inside.n && inside.p[colon + 1] == '-';
    if (!has_default && (!str_copy(inside, name, sizeof(name)) || getenv(name) == NULL))
        return conf_fail(
            s->l, s->line, option(s),
            "the environment variable %.*s is not set; set it, write ${NAME:-default}, "
            "or use single quotes for a plain dollar sign",
            (int)(inside.n < 60 ? inside.n : 60), inside.p);
    s->i = k + 1;
    return true;
}

/* A word or string begins: is it the value of the option named last, or something new? */
static void begin_item(struct scan *s)
{
    bool in_list = s->depth > 0 && s->open[s->depth - 1].list;
    if (!s->after_equals && !in_list)
        s->option[0] = '\0';
    s->after_equals = false;
}

/* libConfuse makes a line end of \n and "!" of \41, which nobody means in the name of a Windows
 * account or in an LDAP filter. */
static bool check_backslash(struct scan *s)
{
    char next = s->i + 1 < s->n ? s->p[s->i + 1] : '"';
    if (next == '\\' || next == '"')
        return true;
    return conf_fail(s->l, s->line, option(s),
                     "a backslash between double quotes; write it twice, or use single quotes");
}

static bool skip_string(struct scan *s, char quote)
{
    begin_item(s);
    for (s->i++; s->i < s->n;) {
        char c = s->p[s->i];
        if (c == quote) {
            s->i++;
            return true;
        }
        if (c == '\n' || (c == '\\' && s->i + 1 < s->n && s->p[s->i + 1] == '\n'))
            break;
        if (quote == '"' && c == '$' && s->i + 1 < s->n && s->p[s->i + 1] == '{') {
            if (!check_variable(s))
                return false;
            continue;
        }
        if (quote == '"' && c == '\\' && !check_backslash(s))
            return false;
        s->i += c == '\\' && s->i + 1 < s->n ? 2 : 1;
    }
    return conf_fail(s->l, s->line, option(s),
                     "this text has no closing quote; put one at its end, on the same line");
}

static bool open_brace(struct scan *s)
{
    if (s->depth == DEPTH_MAX)
        return conf_fail(s->l, s->line, "syntax", "too many braces inside each other; at most %d",
                         DEPTH_MAX);
    s->open[s->depth].line = s->line;
    s->open[s->depth].list = s->after_equals;
    s->depth++;
    s->after_equals = false;
    s->i++;
    return true;
}

static bool close_brace(struct scan *s)
{
    struct conf_load *l = s->l;
    if (s->depth == 0)
        return conf_fail(l, s->line, "syntax",
                         "this } closes nothing; remove it, or look for a missing { above");
    s->depth--;
    if (!s->open[s->depth].list) {
        l->span = mem_realloc(l->span, (l->n_span + 1) * sizeof(*l->span));
        l->span[l->n_span++] =
            (struct conf_span){.depth = s->depth, .first = s->open[s->depth].line, .last = s->line};
    }
    s->i++;
    return true;
}

/* What an unquoted word may be made of, as libConfuse and we both read it. */
static bool is_word(char c)
{
    return (unsigned char)c > ' ' && c != 127 && strchr("\"'{}=,#*()+|;$", c) == NULL;
}

static bool skip_word(struct scan *s)
{
    size_t start = s->i;
    begin_item(s);
    while (s->i < s->n && is_word(s->p[s->i])) {
        if (s->p[s->i] == '/' && s->i + 1 < s->n && strchr("/*", s->p[s->i + 1]) != NULL)
            return conf_fail(s->l, s->line, option(s),
                             "\"//\" and \"/*\" begin a comment; put the value in quotes");
        s->i++;
    }
    s->word = str_n(s->p + start, s->i - start);
    if (s->i < s->n && strchr("#*()+|;$'\"", s->p[s->i]) != NULL && s->p[s->i] != '\0' &&
        !(s->p[s->i] == '+' && s->i + 1 < s->n && s->p[s->i + 1] == '='))
        return conf_fail(s->l, s->line, option(s),
                         s->p[s->i] == ';'
                             ? "\"%c\" does not end an option here; remove it"
                             : "\"%c\" cannot stand in a value without quotes; put the value in "
                               "quotes",
                         s->p[s->i]);
    return true;
}

static bool equals(struct scan *s)
{
    if (!str_copy(s->word, s->option, sizeof(s->option)))
        s->option[0] = '\0';
    s->after_equals = true;
    s->i++;
    return true;
}

static bool scan_one(struct scan *s)
{
    char c = s->p[s->i], next = s->i + 1 < s->n ? s->p[s->i + 1] : '\0';
    switch (c) {
    case '\n':
        s->line++;
        s->i++;
        return true;
    case ' ':
    case '\t':
    case '\r':
    case ',':
        s->i++;
        return true;
    case '#':
        return skip_line_comment(s);
    case '"':
    case '\'':
        return skip_string(s, c);
    case '{':
        return open_brace(s);
    case '}':
        return close_brace(s);
    case '=':
        return equals(s);
    default:
        break;
    }
    if (c == '/' && next == '/')
        return skip_line_comment(s);
    if (c == '/' && next == '*')
        return skip_block_comment(s);
    if (c == '+' && next == '=') {
        s->i++;
        return true;
    }
    if (c == ';')
        return conf_fail(s->l, s->line, option(s), "\";\" does not end an option here; remove it");
    if (!is_word(c))
        return conf_fail(s->l, s->line, option(s),
                         (unsigned char)c < 32 || c == 127
                             ? "there is a control character (code %d) in the file; remove it"
                             : "the character with code %d cannot stand without quotes; put the "
                               "value in quotes",
                         (unsigned char)c);
    return skip_word(s);
}

bool conf_text_prepare(struct conf_load *l, char *text, size_t n)
{
    struct scan s = {.l = l, .p = text, .n = n, .line = 1};
    /* A byte order mark, as some editors on Windows write. */
    if (n >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
        memset(text, ' ', 3);
    while (s.i < n)
        if (!scan_one(&s))
            return false;
    l->last_line = s.line;
    if (s.depth > 0)
        return conf_fail(l, s.open[s.depth - 1].line, "syntax",
                         "the { on this line is not closed; put a } at the end of the %s",
                         s.open[s.depth - 1].list ? "list" : "section");
    return true;
}

int conf_text_first_line(const struct conf_load *l, unsigned depth, int last)
{
    for (unsigned i = 0; i < l->n_span; i++)
        if (l->span[i].depth == depth && l->span[i].last == last)
            return l->span[i].first;
    return last;
}
