/*
 * cmdline.c - argv against the table of commands. `causewayctl queue list --older 2h` is the
 * command "queue.list" with the argument "older"; a group alone means its list. What a value must
 * look like is the daemon's to say, except where the command line has a form of its own (numbers,
 * ages).
 */
#include "relay/ctl/cmdline.h"

#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/moment.h"
#include "conf/conf.h"
#include "directory/doctor/doctor.h"
#include "relay/ctl/wave_file.h"

/* A group without a second word. */
static const struct {
    const char *group, *command;
} group_default[] = {
    {"queue", "queue.list"},
    {"directory", "directory.status"},
};

void cmdline_words(const char *name, char *dst, size_t cap)
{
    (void)str_copy(str_c(name), dst, cap);
    for (char *p = dst; *p != '\0'; p++) {
        if (*p == '.')
            *p = ' ';
    }
}

static bool is_option(const char *word)
{
    return word[0] == '-' && word[1] != '\0';
}

/* ---- which command ---- */

static bool unknown_command(const char *first, const char *second, struct err *e)
{
    char name[128], words[64];
    (void)snprintf(name, sizeof(name), "%s%s%s", first, second != NULL ? "." : "",
                   second != NULL ? second : "");
    const char *like = control_command_like(str_c(name));
    if (like == NULL)
        like = control_command_like(str_c(first));
    if (like == NULL)
        return err_set(e, ERR_INPUT, 0,
                       "there is no command \"%s%s%s\"; `causewayctl help` lists them", first,
                       second != NULL ? " " : "", second != NULL ? second : "");
    cmdline_words(like, words, sizeof(words));
    return err_set(e, ERR_INPUT, 0, "there is no command \"%s%s%s\"; did you mean \"%s\"?", first,
                   second != NULL ? " " : "", second != NULL ? second : "", words);
}

const char *cmdline_group_command(const char *group)
{
    for (size_t i = 0; i < ARRAY_LEN(group_default); i++) {
        if (strcmp(group, group_default[i].group) == 0)
            return group_default[i].command;
    }
    return NULL;
}

/* Takes one or two words from argv[at...]; the number taken, 0 = no such command. */
static int find_command(int argc, char **argv, int at, struct cmdline *out, struct err *e)
{
    const char *first = argv[at];
    const char *second = at + 1 < argc && !is_option(argv[at + 1]) ? argv[at + 1] : NULL;
    char name[128];
    const char *group = cmdline_group_command(first);
    if (second != NULL) {
        (void)snprintf(name, sizeof(name), "%s.%s", first, second);
        out->command = control_command_find(str_c(name));
        if (out->command >= 0)
            return 2;
        if (strcmp(name, "spool.verify") == 0) {
            out->kind = CMDLINE_SPOOL_VERIFY;
            return 2;
        }
    }
    out->command = strchr(first, '.') == NULL ? control_command_find(str_c(first)) : -1;
    if (out->command >= 0)
        return 1;
    if (group != NULL && second == NULL) {
        out->command = control_command_find(str_c(group));
        return 1;
    }
    if (strcmp(first, "spool") == 0) {
        (void)err_set(e, ERR_INPUT, 0, "`causewayctl spool verify DIR` checks a spool on disk");
        return 0;
    }
    (void)unknown_command(first, second, e);
    return 0;
}

/* ---- arguments ---- */

static bool bad_value(const struct control_arg *a, const char *value, const char *right,
                      struct err *e)
{
    return err_set(e, ERR_INPUT, 0, "--%s %s: must be %s", a->name, value, right);
}

static bool is_list(enum control_arg_type t)
{
    return t == CONTROL_IDS || t == CONTROL_MOVES;
}

/* The array of this argument. */
static json_t *list_of(struct cmdline *c, const char *name)
{
    json_t *v = json_object_get(c->args, name);
    if (v == NULL) {
        v = json_array();
        (void)json_object_set_new(c->args, name, v);
    }
    return v;
}

static bool put_element(struct cmdline *c, const struct control_arg *a, const char *value,
                        const char *right, struct err *e)
{
    return json_array_append_new(list_of(c, a->name), json_string(value)) == 0 ||
           bad_value(a, value, right, e);
}

static bool put_value(struct cmdline *c, const struct control_arg *a, const char *value,
                      struct err *e)
{
    uint64_t n;
    int64_t ms;
    char moment[40];
    json_t *v = NULL;
    switch (a->type) {
    case CONTROL_FLAG:
        v = json_true();
        break;
    case CONTROL_COUNT:
        if (!str_to_u64(str_c(value), UINT32_MAX, &n))
            return bad_value(a, value, "a number", e);
        v = json_integer((json_int_t)n);
        break;
    case CONTROL_AGE:
        if (!conf_parse_duration(str_c(value), &ms))
            return bad_value(a, value, "an age like 90s, 15m, 2h or 3d", e);
        v = json_integer(ms);
        break;
    case CONTROL_TIME:
        if (!moment_parse(str_c(value), clock_wall_ms(), &ms))
            return bad_value(a, value,
                             "a time like 18:00, \"2026-11-21 18:00\" or 2026-11-21T18:00:00Z", e);
        clock_rfc3339(ms, moment, sizeof(moment));
        v = json_string(moment);
        break;
    case CONTROL_FILE:
        return wave_file_read(value, list_of(c, "addresses"), e);
    case CONTROL_CHECKS:
        if (doctor_check_find(str_c(value)) < 0)
            return bad_value(a, value, "the name of a check, see causeway-doctor(7)", e);
        return put_element(c, a, value, "the name of a check", e);
    case CONTROL_IDS:
    case CONTROL_TEXTS:
    case CONTROL_MOVES:
        return put_element(c, a, value, "UTF-8", e);
    case CONTROL_CSV:
        c->file = value; /* load.c sends it */
        v = json_string("");
        break;
    default:
        v = json_string(value); /* NULL: not UTF-8 */
        if (v == NULL)
            return bad_value(a, a->name, "UTF-8", e);
    }
    (void)json_object_set_new(c->args, a->name, v);
    return true;
}

/* The n-th argument without a name; the last one may take several. */
static const struct control_arg *position(enum control_command c, unsigned n)
{
    unsigned count, at = 0;
    const struct control_arg *a = control_command_args(c, &count);
    for (unsigned i = 0; i < count; i++) {
        if (!(a[i].flags & CONTROL_POSITION))
            continue;
        if (at == n || is_list(a[i].type))
            return &a[i];
        at++;
    }
    return NULL;
}

static bool no_such_option(int command, const char *option, struct err *e)
{
    char words[64] = "";
    if (command >= 0)
        cmdline_words(control_command_info[command].name, words, sizeof(words));
    return err_set(e, ERR_INPUT, 0,
                   "there is no option %s%s%s; `causewayctl %s%s--help` lists them", option,
                   words[0] != '\0' ? " for " : "", words, words, words[0] != '\0' ? " " : "");
}

/* "--dry-run" is the argument "dry_run". */
static const struct control_arg *find_option(int command, struct str name)
{
    char words[64];
    if (!str_copy(name, words, sizeof(words)))
        return NULL;
    for (char *p = words; *p != '\0'; p++) {
        if (*p == '-')
            *p = '_';
    }
    return control_arg_find((enum control_command)command, str_c(words));
}

/* One "--name value" or "--name=value" of the command; moves *at to its last word. */
static bool take_option(int argc, char **argv, int *at, struct cmdline *out, struct err *e)
{
    const char *word = argv[*at], *equals = strchr(word, '=');
    struct str name = equals != NULL ? str_n(word, (size_t)(equals - word)) : str_c(word);
    if (!str_starts(name, STR("--")) || out->command < 0)
        return no_such_option(out->command, word, e);
    const struct control_arg *a = find_option(out->command, str_from(name, 2));
    if (a == NULL)
        return no_such_option(out->command, word, e);
    if (a->type == CONTROL_FLAG) {
        if (equals != NULL)
            return err_set(e, ERR_INPUT, 0, "%.*s takes no value", STR_ARG(name));
        return put_value(out, a, NULL, e);
    }
    if (equals != NULL)
        return put_value(out, a, equals + 1, e);
    if (*at + 1 >= argc)
        return err_set(e, ERR_INPUT, 0, "--%s needs a value: %s", a->name, a->value);
    return put_value(out, a, argv[++*at], e);
}

static bool take_word(const char *word, unsigned n, struct cmdline *out, struct err *e)
{
    if (out->kind == CMDLINE_SPOOL_VERIFY) {
        if (out->dir != NULL)
            return err_set(e, ERR_INPUT, 0, "spool verify takes one directory");
        out->dir = word;
        return true;
    }
    const struct control_arg *a = position((enum control_command)out->command, n);
    char words[64];
    cmdline_words(control_command_info[out->command].name, words, sizeof(words));
    if (a == NULL)
        return err_set(e, ERR_INPUT, 0, "%s: \"%s\" is one argument too many", words, word);
    return put_value(out, a, word, e);
}

static bool check_required(const struct cmdline *c, struct err *e)
{
    unsigned n;
    char words[64];
    if (c->kind == CMDLINE_SPOOL_VERIFY)
        return c->dir != NULL || err_set(e, ERR_INPUT, 0, "spool verify needs a directory");
    cmdline_words(control_command_info[c->command].name, words, sizeof(words));
    const struct control_arg *a = control_command_args((enum control_command)c->command, &n);
    for (unsigned i = 0; i < n; i++) {
        if ((a[i].flags & CONTROL_REQUIRED) && json_object_get(c->args, a[i].name) == NULL)
            return err_set(e, ERR_INPUT, 0, "%s needs %s; see `causewayctl %s --help`", words,
                           a[i].value, words);
    }
    return true;
}

/* Options that every command has. 1: taken, 0: none of them, -1: wrong. */
static int take_global(int argc, char **argv, int *at, struct cmdline *out, bool *help,
                       struct err *e)
{
    const char *word = argv[*at];
    if (strcmp(word, "--json") == 0) {
        out->json = true;
    } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
        *help = true;
    } else if (strncmp(word, "--socket=", 9) == 0) {
        out->socket = word + 9;
    } else if (strcmp(word, "--socket") == 0) {
        if (*at + 1 >= argc) {
            (void)err_set(e, ERR_INPUT, 0, "--socket needs a path");
            return -1;
        }
        out->socket = argv[++*at];
    } else {
        return 0;
    }
    return 1;
}

static bool parse_words(int argc, char **argv, struct cmdline *out, bool *help, struct err *e)
{
    bool options = true, have = false;
    unsigned n = 0;
    for (int at = 1; at < argc; at++) {
        int global = options ? take_global(argc, argv, &at, out, help, e) : 0;
        if (global != 0) {
            if (global < 0)
                return false;
        } else if (options && strcmp(argv[at], "--") == 0) {
            options = false;
        } else if (!have && options && strcmp(argv[at], "--version") == 0) {
            out->kind = CMDLINE_VERSION;
            return true;
        } else if (!have && strcmp(argv[at], "help") == 0) {
            *help = true;
        } else if (options && is_option(argv[at])) {
            if (!take_option(argc, argv, &at, out, e))
                return false;
        } else if (!have) {
            int taken = find_command(argc, argv, at, out, e);
            if (taken == 0)
                return false;
            at += taken - 1;
            have = true;
        } else if (!take_word(argv[at], n++, out, e)) {
            return false;
        }
    }
    if (!have && !*help)
        return err_set(e, ERR_INPUT, 0, "which command? `causewayctl help` lists them");
    return true;
}

bool cmdline_parse(int argc, char **argv, struct cmdline *out, struct err *e)
{
    bool help = false;
    *out = (struct cmdline){.socket = CONTROL_SOCKET, .command = -1, .args = json_object()};
    if (!parse_words(argc, argv, out, &help, e))
        return false;
    if (help) {
        if (out->kind == CMDLINE_SPOOL_VERIFY)
            out->command = CMDLINE_LOCAL;
        out->kind = CMDLINE_HELP;
        return true;
    }
    if (out->kind == CMDLINE_VERSION)
        return true;
    /* Programs want everything. */
    if (out->json && out->command == CONTROL_status)
        (void)json_object_set_new(out->args, "counters", json_true());
    if (out->json && out->command == CONTROL_directory_pending)
        (void)json_object_update_missing_new(out->args, json_pack("{s:i}", "limit", 0));
    return check_required(out, e);
}

void cmdline_free(struct cmdline *c)
{
    json_decref(c->args);
    c->args = NULL;
}
