/*
 * help.c - help texts, and the lists in causewayctl(8) and causeway-doctor(7), from the table of
 * commands and that of the doctor's checks.
 */
#include <string.h>

#include "directory/doctor/doctor.h"
#include "relay/ctl/cmdline.h"

/* What is not in the table, because no daemon is asked. */
static const struct {
    const char *words, *usage, *summary, *detail;
} local_command[] = {
    {"spool verify", "DIR", "Check a spool on disk, offline",
     "Reads everything and changes nothing. Also while the daemon runs, but what is being written\n"
     "then may look torn."},
    {"help", "[COMMAND]", "Show this list, or the help of one command", ""},
};
#define LOCAL_COMMANDS (sizeof(local_command) / sizeof(local_command[0]))

const char *help_option_name(const struct control_arg *a, char dst[64])
{
    (void)str_copy(str_c(a->name), dst, 64);
    for (char *p = dst; *p != '\0'; p++) {
        if (*p == '_')
            *p = '-';
    }
    return dst;
}

static void write_usage(enum control_command c, struct buf *out)
{
    unsigned n;
    char words[64];
    bool options = false;
    const struct control_arg *a = control_command_args(c, &n);
    cmdline_words(control_command_info[c].name, words, sizeof(words));
    buf_append_c(out, words);
    for (unsigned i = 0; i < n; i++) {
        if (!(a[i].flags & CONTROL_POSITION))
            options = true;
        else if (a[i].flags & CONTROL_REQUIRED)
            buf_printf(out, " %s", a[i].value);
        else
            buf_printf(out, " [%s]", a[i].value);
    }
    if (options)
        buf_append_c(out, " [OPTION...]");
}

static void write_line(struct buf *out, const char *left, const char *right)
{
    size_t n = strlen(left);
    buf_printf(out, "  %s%*s%s\n", left, n < 26 ? (int)(26 - n) : 1, "", right);
}

static void write_overview(struct buf *out)
{
    buf_append_c(out, "usage: causewayctl [--socket PATH] [--json] COMMAND [ARGUMENT...]\n\n");
    for (int c = 0; c < CONTROL_COMMANDS; c++) {
        char words[64];
        cmdline_words(control_command_info[c].name, words, sizeof(words));
        write_line(out, words, control_command_info[c].summary);
    }
    for (size_t i = 0; i < LOCAL_COMMANDS; i++)
        write_line(out, local_command[i].words, local_command[i].summary);
    buf_printf(
        out,
        "\n`queue` alone is `queue list`, `directory` alone is `directory status`.\n"
        "--socket PATH  the control socket (%s)\n"
        "--json         answers as JSON, for programs\n"
        "`causewayctl COMMAND --help` tells more.\nExit: 0 done, 1 refused or failed, 2 wrong "
        "command line; of doctor: see there.\n",
        CONTROL_SOCKET);
}

void help_write(int command, struct buf *out)
{
    if (command == CMDLINE_LOCAL) {
        buf_printf(out, "usage: causewayctl %s %s\n\n%s.\n%s\n", local_command[0].words,
                   local_command[0].usage, local_command[0].summary, local_command[0].detail);
        return;
    }
    if (command < 0) {
        write_overview(out);
        return;
    }
    unsigned n;
    const struct control_command_info *info = &control_command_info[command];
    const struct control_arg *a = control_command_args((enum control_command)command, &n);
    buf_append_c(out, "usage: causewayctl ");
    write_usage((enum control_command)command, out);
    buf_printf(out, "\n\n%s.\n", info->summary);
    if (info->detail[0] != '\0')
        buf_printf(out, "%s\n", info->detail);
    buf_append_c(out, n > 0 ? "\n" : "");
    for (unsigned i = 0; i < n; i++) {
        char left[64], name[64];
        struct buf b = BUF_INIT(sizeof(left));
        if (a[i].flags & CONTROL_POSITION)
            buf_append_c(&b, a[i].value);
        else
            buf_printf(&b, "--%s%s%s", help_option_name(&a[i], name),
                       a[i].value[0] != '\0' ? " " : "", a[i].value);
        write_line(out, buf_cstr(&b), a[i].help);
        buf_free(&b);
    }
    for (int i = 0; command == CONTROL_doctor && i < DOCTOR_CHECKS; i++) {
        buf_append_c(out, i == 0 ? "\nchecks:\n" : "");
        write_line(out, doctor_check_info[i].name, doctor_check_info[i].title);
    }
}

/* ---- mdoc ---- */

/* A sentence begins a line. A dot or a quote there would be a request, a backslash anywhere an
 * escape. */
static void man_text(struct buf *out, const char *text)
{
    bool start = true;
    for (const char *p = text; *p != '\0'; p++) {
        if (start && (*p == '.' || *p == '\''))
            buf_append_c(out, "\\&");
        start = *p == ' ' && p > text && p[-1] == '.';
        if (*p == '\\')
            buf_append_c(out, "\\e");
        else
            buf_append_char(out, start ? '\n' : *p);
    }
}

static void man_words(struct buf *out, const char *name)
{
    char words[64];
    cmdline_words(name, words, sizeof(words));
    buf_printf(out, ".It Cm %s", words);
}

static void man_command(struct buf *out, enum control_command c)
{
    unsigned n;
    const struct control_command_info *info = &control_command_info[c];
    const struct control_arg *a = control_command_args(c, &n);
    char name[64];
    man_words(out, info->name);
    for (unsigned i = 0; i < n; i++) {
        if (a[i].flags & CONTROL_POSITION)
            buf_printf(out, " %s %s", a[i].flags & CONTROL_REQUIRED ? "Ar" : "Op Ar", a[i].value);
    }
    buf_append_char(out, '\n');
    man_text(out, info->summary);
    buf_append_c(out, ".\n");
    if (info->detail[0] != '\0') {
        man_text(out, info->detail);
        buf_append_char(out, '\n');
    }
    bool list = false;
    for (unsigned i = 0; i < n; i++) {
        if (a[i].flags & CONTROL_POSITION)
            continue;
        if (!list)
            buf_append_c(out, ".Bl -tag -width Ds -compact\n");
        list = true;
        buf_printf(out, ".It Fl -%s", help_option_name(&a[i], name));
        if (a[i].value[0] != '\0')
            buf_printf(out, " Ar %s", a[i].value);
        buf_append_char(out, '\n');
        man_text(out, a[i].help);
        buf_append_c(out, ".\n");
    }
    if (list)
        buf_append_c(out, ".El\n");
}

void help_write_man(struct buf *out)
{
    for (int c = 0; c < CONTROL_COMMANDS; c++)
        man_command(out, (enum control_command)c);
    for (size_t i = 0; i < LOCAL_COMMANDS; i++) {
        buf_printf(out, ".It Cm %s Ar %s\n%s.\n", local_command[i].words, local_command[i].usage,
                   local_command[i].summary);
        if (local_command[i].detail[0] != '\0') {
            man_text(out, local_command[i].detail);
            buf_append_char(out, '\n');
        }
    }
}

void help_write_checks(struct buf *out)
{
    for (int i = 0; i < DOCTOR_CHECKS; i++) {
        const struct doctor_check_info *c = &doctor_check_info[i];
        buf_printf(out, ".It Cm %s Pq %s: %s\n", c->name, doctor_severity_text(c->severity),
                   c->title);
        man_text(out, c->explanation);
        buf_append_c(out, "\n.br\nMend: ");
        man_text(out, c->mend);
        buf_append_char(out, '\n');
    }
}
