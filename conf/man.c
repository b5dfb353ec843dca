/*
 * man.c - causeway.conf(5) in mdoc, made from the table. Pure.
 */
#include "conf/options.h"

#include <stdio.h>

/* Text as mdoc wants it: a sentence begins a line, lines are short, and nothing looks like a macro
 * or escape. */
static void put_text(struct buf *out, const char *text)
{
    bool start = true;
    size_t column = 0;
    for (const char *p = text; *p != '\0'; p++, column++) {
        if (start && (*p == '.' || *p == '\''))
            buf_append_c(out, "\\&");
        start = false;
        bool sentence = p > text && strchr(".:", p[-1]) != NULL && p[1] >= 'A' && p[1] <= 'Z';
        if (*p == '\\') {
            buf_append_c(out, "\\e");
        } else if (*p == ' ' && (sentence || column + strcspn(p + 1, " ") >= 78)) {
            buf_append_char(out, '\n');
            start = true;
            column = 0;
        } else {
            buf_append_char(out, *p);
        }
    }
    buf_append_char(out, '\n');
}

static void put_option(struct buf *out, const struct conf_option *o)
{
    struct buf text = BUF_INIT(4096);
    buf_printf(out, ".It Ic %s No = Ar %s\n", o->name, conf_type_text(o->type));
    conf_option_text(o, &text);
    put_text(out, buf_cstr(&text));
    buf_free(&text);
    buf_append_c(out, ".Pp\n");
    conf_option_bounds(o, out);
    if (o->def == NULL) {
        buf_append_c(out, "; required.\n");
    } else {
        buf_append_c(out, "; default ");
        conf_option_default(o, out);
        buf_append_c(out, ".\n");
    }
    if (o->when == CONF_RESTART)
        buf_append_c(out, "A change needs a restart.\n");
}

static void put_options(struct buf *out, enum conf_section_id s)
{
    buf_append_c(out, ".Bl -tag -width Ds\n");
    for (unsigned i = 0; i < conf_option_count; i++)
        if (conf_option[i].section == s)
            put_option(out, &conf_option[i]);
    buf_append_c(out, ".El\n");
}

static void put_section(struct buf *out, enum conf_section_id s)
{
    const struct conf_section *info = &conf_section[s];
    if (info->titled)
        buf_printf(out, ".Ss %s \\(dqname\\(dq { ... }\n", info->word);
    else
        buf_printf(out, ".Ss %s { ... }\n", info->word);
    put_text(out, info->text);
    if (info->titled)
        buf_printf(out, "The name is %s.\n", info->title);
    for (unsigned i = 0; i < conf_family_count; i++)
        if (conf_family[i].section == s && conf_family[i].parent != CONF_S_top)
            buf_printf(out, "It stands inside a\n.Ic %s\nsection.\n",
                       conf_section[conf_family[i].parent].word);
    put_options(out, s);
}

static const char head[] =
    ".\\\" Made from conf/options.def; do not edit.\n"
    ".Dd November 20, 2026\n"
    ".Dt CAUSEWAY.CONF 5\n"
    ".Os\n"
    ".Sh NAME\n"
    ".Nm causeway.conf\n"
    ".Nd configuration of the Causeway mail relay\n"
    ".Sh DESCRIPTION\n"
    ".Xr causewayd 8\n"
    "reads this file when it starts, and again on SIGHUP or\n"
    ".Ql causewayctl reload .\n"
    "A file with an error changes nothing: the error, with its line and what\n"
    "would be right, is logged, and the daemon goes on as before.\n"
    ".Ql causewayd --check Ar file\n"
    "looks for errors without starting anything, and\n"
    ".Ql causewayd --sample\n"
    "prints an annotated file with every option.\n"
    ".Pp\n"
    "An option is written\n"
    ".Ql name = value ,\n"
    "a list\n"
    ".Ql name = { \\(dqa\\(dq, \\(dqb\\(dq } ,\n"
    "and\n"
    ".Ql name += { \\(dqc\\(dq }\n"
    "adds to a list.\n"
    "A list of one needs no braces.\n"
    "Options that belong together stand in a section:\n"
    ".Ql smtpd { ... } ,\n"
    "or, where there can be several,\n"
    ".Ql forest \\(dqname\\(dq { ... } .\n"
    "Comments begin with\n"
    ".Ql #\n"
    "or\n"
    ".Ql //\n"
    "and end with the line, or stand between\n"
    ".Ql /*\n"
    "and\n"
    ".Ql */ .\n"
    ".Pp\n"
    "A value that holds other characters than letters, digits and\n"
    ".Ql . - _ : / @ [ ] %\n"
    "is put in quotes.\n"
    "Between double quotes, a backslash or a double quote is written with a\n"
    "backslash before it, and\n"
    ".Ql ${NAME}\n"
    "stands for the environment variable of that name,\n"
    ".Ql ${NAME:-text}\n"
    "for\n"
    ".Ql text\n"
    "if there is no such variable.\n"
    "Between single quotes a dollar sign and a double quote are plain, and so is\n"
    "a backslash that is not followed by another one or by a single quote: good\n"
    "for LDAP filters and distinguished names.\n"
    ".Pp\n"
    "A duration is a number with one of the units\n"
    ".Ql ms , s , m , h , d\n"
    "(milliseconds to days); a size is a number of bytes, or a number with\n"
    ".Ql K , M , G\n"
    "or\n"
    ".Ql T\n"
    "(powers of 1024).\n"
    "A network is an address or an address with the length of its prefix, such as\n"
    ".Ql 192.0.2.0/24\n"
    "or\n"
    ".Ql 2001:db8::/32 .\n"
    "Names of forests and domains are compared without case.\n";

static const char tail[] =
    ".Sh FILES\n"
    ".Bl -tag -width Ds\n"
    ".It Pa /etc/causeway/causeway.conf\n"
    "The file that\n"
    ".Xr causewayd 8\n"
    "reads unless told otherwise.\n"
    ".El\n"
    ".Sh EXAMPLES\n"
    "Two forests share the domain example.com.\n"
    "A file exported from the directory says where each mailbox is; the value of\n"
    "one attribute decides.\n"
    "Mail for other domains goes by MX.\n"
    ".Bd -literal -offset indent\n"
    "listener \\(dqinternet\\(dq { address = \\(dq*:25\\(dq }\n"
    "\n"
    "forest \\(dqold\\(dq {\n"
    "    host \\(dqmail.old.example\\(dq {}\n"
    "    peers = { 192.0.2.0/28 }\n"
    "}\n"
    "forest \\(dqnew\\(dq {\n"
    "    host \\(dqmx1.new.example\\(dq {}\n"
    "    host \\(dqmx2.new.example\\(dq { cost = 20 }\n"
    "    peers = { 198.51.100.0/28 }\n"
    "}\n"
    "\n"
    "domain \\(dqexample.com\\(dq { type = shared }\n"
    "\n"
    "source \\(dqpeople\\(dq {\n"
    "    type = ldif\n"
    "    path = /etc/causeway/people.ldif\n"
    "    forest = old\n"
    "    flag_attribute = extensionAttribute1\n"
    "    flag_values = { \\(dqmoved = new\\(dq }\n"
    "}\n"
    ".Ed\n"
    ".Sh SEE ALSO\n"
    ".Xr causewayctl 8 ,\n"
    ".Xr causewayd 8\n";

bool conf_write_man(struct buf *out)
{
    buf_append_c(out, head);
    buf_append_c(out, ".Sh TOP LEVEL\n");
    put_text(out, conf_section[CONF_S_top].text);
    put_options(out, CONF_S_top);
    buf_append_c(out, ".Sh SECTIONS\n");
    for (unsigned s = CONF_S_top + 1; s < CONF_S_COUNT; s++)
        put_section(out, (enum conf_section_id)s);
    return buf_append_c(out, tail);
}
