/*
 * sample.c - the annotated causeway.conf, made from the table: every option with its description,
 * bounds and default. Prose lines begin with "# ", options that only repeat their default with "#".
 *
 * Sections that the relay can do without are commented out as a whole. The result is a valid file,
 * also when every "#" before an option is removed. Pure.
 */
#include "conf/options.h"

#include <stdio.h>

#define WIDTH 78

/* Breaks the text into comment lines at the given indent. */
static void put_prose(struct buf *out, unsigned indent, const char *text)
{
    struct str rest = str_c(text);
    size_t room = WIDTH - indent - 2;
    while (rest.n != 0) {
        size_t n = rest.n;
        if (n > room) {
            n = room;
            while (n > 0 && rest.p[n] != ' ')
                n--;
            if (n == 0)
                n = room;
        }
        buf_printf(out, "%*s# %.*s\n", (int)indent, "", (int)n, rest.p);
        rest = str_trim(str_from(rest, n));
    }
}

void conf_option_text(const struct conf_option *o, struct buf *out)
{
    if (o->types != 0) {
        buf_append_c(out, "With type = ");
        conf_option_types(o, out);
        buf_append_c(out, ": ");
    }
    buf_append_c(out, o->text);
}

void conf_option_default(const struct conf_option *o, struct buf *out)
{
    if (conf_type_is_list(o->type))
        buf_append_c(out, "{ }");
    else if (o->type == CONF_T_STRING)
        buf_printf(out, "\"%s\"", o->def);
    else
        buf_append_c(out, o->def);
}

void conf_option_bounds(const struct conf_option *o, struct buf *out)
{
    char low[32], high[32];
    struct str one;
    conf_value_bound(o, o->min, low);
    conf_value_bound(o, o->max, high);
    switch (o->type) {
    case CONF_T_ENUM:
        for (unsigned i = 0; (one = conf_choice(o->unit, i)).n != 0; i++)
            buf_printf(out, "%s%.*s",
                       i == 0                               ? ""
                       : conf_choice(o->unit, i + 1).n == 0 ? " or "
                                                            : ", ",
                       STR_ARG(one));
        break;
    case CONF_T_BOOL:
        buf_append_c(out, "yes or no");
        break;
    case CONF_T_STRING:
        buf_printf(out, "%s of %s to %s characters", o->unit, o->min > 0 ? low : "up", high);
        break;
    case CONF_T_LIST:
    case CONF_T_NETS:
    case CONF_T_PAIRS:
        buf_printf(out, "list of %s to %s %s", o->min > 0 ? low : "up", high, o->unit);
        break;
    case CONF_T_DURATION:
    case CONF_T_SECONDS:
        buf_printf(out, "duration from %s to %s", low, high);
        break;
    default:
        buf_printf(out, "%s to %s %s", low, high, o->unit);
        break;
    }
}

static void put_option(struct buf *out, unsigned indent, const struct conf_option *o,
                       bool commented)
{
    struct buf note = BUF_INIT(512), text = BUF_INIT(4096);
    conf_option_text(o, &text);
    put_prose(out, indent, buf_cstr(&text));
    buf_free(&text);
    conf_option_bounds(o, &note);
    buf_append_c(&note, o->def == NULL ? "; required" : "");
    buf_append_c(&note, o->when == CONF_RESTART ? "; needs a restart" : "");
    buf_printf(out, "%*s# (%.*s)\n", (int)indent, "", STR_ARG(buf_str(&note)));
    buf_free(&note);

    bool plain = o->example == NULL;
    buf_printf(out, "%*s%s%s = ", (int)indent, "", plain || commented ? "#" : "", o->name);
    if (plain)
        conf_option_default(o, out);
    else
        buf_append_c(out, o->example);
    buf_append_c(out, "\n\n");
}

static void put_section(struct buf *out, enum conf_section_id s, unsigned indent, bool commented)
{
    const struct conf_section *info = &conf_section[s];
    const char *mark = commented ? "#" : "";
    put_prose(out, indent, info->text);
    if (info->titled)
        buf_printf(out, "%*s%s%s \"%s\" {\n", (int)indent, "", mark, info->word, info->example);
    else
        buf_printf(out, "%*s%s%s {\n", (int)indent, "", mark, info->word);
    for (unsigned i = 0; i < conf_option_count; i++)
        if (conf_option[i].section == s)
            put_option(out, indent + 4, &conf_option[i], commented);
    for (unsigned i = 0; i < conf_family_count; i++)
        if (conf_family[i].parent == s)
            put_section(out, conf_family[i].section, indent + 4, commented);
    buf_printf(out, "%*s%s}\n\n", (int)indent, "", mark);
}

bool conf_write_sample(struct buf *out)
{
    put_prose(out, 0,
              "causeway.conf - configuration of causewayd, the Causeway mail relay. Options that "
              "begin with \"#\" show their default; to change one, remove the \"#\". The meaning "
              "of values and the syntax are described in causeway.conf(5). Check the file with "
              "\"causewayd --check FILE\"; apply it with \"causewayctl reload\".");
    buf_append_c(out, "\n");
    for (unsigned i = 0; i < conf_option_count; i++)
        if (conf_option[i].section == CONF_S_top)
            put_option(out, 0, &conf_option[i], false);
    for (unsigned i = 0; i < conf_family_count; i++)
        if (conf_family[i].parent == CONF_S_top)
            put_section(out, conf_family[i].section, 0, !conf_family[i].required);
    for (unsigned s = CONF_S_top + 1; s < CONF_S_COUNT; s++)
        if (!conf_section[s].titled)
            put_section(out, (enum conf_section_id)s, 0, false);
    /* A full buffer leaves no room for one more byte. */
    return buf_append_c(out, "# end\n");
}
