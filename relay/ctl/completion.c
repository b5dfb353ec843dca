/*
 * completion.c - what bash completes after causewayctl, from the table of commands: arms of two
 * case statements in contrib/causewayctl.bash.in. The first says what words may follow the words so
 * far, the second of what kind an argument is. Pure.
 */
#include <string.h>

#include "relay/ctl/cmdline.h"

/* "queue" of "queue.list". */
static struct str first_word(int command)
{
    struct str name = str_c(control_command_info[command].name);
    return str_split(&name, '.');
}

static bool is_first_of_group(int command)
{
    for (int c = 0; c < command; c++)
        if (str_eq(first_word(c), first_word(command)))
            return false;
    return true;
}

static void write_options(struct buf *out, int command)
{
    unsigned n;
    char name[64];
    const struct control_arg *a = control_command_args((enum control_command)command, &n);
    for (unsigned i = 0; i < n; i++)
        if (!(a[i].flags & CONTROL_POSITION))
            buf_printf(out, " --%s", help_option_name(&a[i], name));
}

/* A group's second words, and the options that it takes without one. */
static void write_group(struct buf *out, int first)
{
    char group[64];
    (void)str_copy(first_word(first), group, sizeof(group));
    const char *alone = cmdline_group_command(group);
    buf_printf(out, "    %s) echo '", group);
    for (int c = first; c < CONTROL_COMMANDS; c++) {
        struct str rest = str_c(control_command_info[c].name);
        if (str_eq(str_split(&rest, '.'), str_c(group)))
            buf_printf(out, "%.*s ", STR_ARG(rest));
    }
    if (alone != NULL)
        write_options(out, control_command_find(str_c(alone)));
    buf_append_c(out, "' ;;\n");
}

void completion_write_words(struct buf *out)
{
    char words[64];
    buf_append_c(out, "    '') echo '");
    for (int c = 0; c < CONTROL_COMMANDS; c++)
        if (is_first_of_group(c))
            buf_printf(out, "%.*s ", STR_ARG(first_word(c)));
    buf_append_c(out, "spool help --socket --version' ;;\n");
    for (int c = 0; c < CONTROL_COMMANDS; c++) {
        cmdline_words(control_command_info[c].name, words, sizeof(words));
        if (strchr(words, ' ') != NULL && is_first_of_group(c))
            write_group(out, c);
        buf_printf(out, "    '%s') echo '", words);
        write_options(out, c);
        buf_append_c(out, "' ;;\n");
    }
}

static const char *kind_of(const struct control_arg *a)
{
    switch (a->type) {
    case CONTROL_FILE:
    case CONTROL_CSV:
        return "file";
    case CONTROL_CHECKS:
        return "check";
    case CONTROL_ID:
    case CONTROL_IDS:
        return "id";
    default:
        return strcmp(a->name, "source") == 0 ? "source" : "value";
    }
}

static void write_kinds(struct buf *out, int command, const char *words)
{
    unsigned n, position = 0;
    char name[64];
    const struct control_arg *a = control_command_args((enum control_command)command, &n);
    for (unsigned i = 0; i < n; i++) {
        if (a[i].type == CONTROL_FLAG)
            continue;
        if (!(a[i].flags & CONTROL_POSITION))
            buf_printf(out, "    '%s --%s') echo %s ;;\n", words, help_option_name(&a[i], name),
                       kind_of(&a[i]));
        else if (a[i].type == CONTROL_IDS)
            buf_printf(out, "    '%s '[0-9]*) echo %s ;;\n", words, kind_of(&a[i]));
        else
            buf_printf(out, "    '%s %u') echo %s ;;\n", words, ++position, kind_of(&a[i]));
    }
}

void completion_write_kinds(struct buf *out)
{
    char words[64];
    for (int c = 0; c < CONTROL_COMMANDS; c++) {
        cmdline_words(control_command_info[c].name, words, sizeof(words));
        write_kinds(out, c, words);
        (void)str_copy(first_word(c), words, sizeof(words));
        const char *alone = cmdline_group_command(words);
        if (alone != NULL && strcmp(alone, control_command_info[c].name) == 0)
            write_kinds(out, c, words);
    }
}
