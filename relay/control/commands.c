/*
 * commands.c - the table of commands.def as data, and looking things up in it. Pure; no JSON, no
 * server: causewayctl links this, too.
 */
#include "relay/control/commands.h"

#include <string.h>

#include "base/assert.h"

const struct control_command_info control_command_info[CONTROL_COMMANDS] = {
#define COMMAND(id_, name_, streams_, change_, summary_, detail_)                                  \
    [CONTROL_##id_] = {.name = (name_),                                                            \
                       .streams = (streams_),                                                      \
                       .change = (change_),                                                        \
                       .summary = (summary_),                                                      \
                       .detail = (detail_)},
#define ARG(id, name, type, member, flags, value, help)
#define FILTER_ARGS(id)
#include "relay/control/commands.def"
#undef COMMAND
#undef ARG
#undef FILTER_ARGS
};

static const struct control_arg arg_table[] = {
#define COMMAND(id, name, streams, change, summary, detail)
#define ARG(id_, name_, type_, member_, flags_, value_, help_)                                     \
    {.command = CONTROL_##id_,                                                                     \
     .name = (name_),                                                                              \
     .type = CONTROL_##type_,                                                                      \
     .flags = (flags_),                                                                            \
     .value = (value_),                                                                            \
     .help = (help_),                                                                              \
     .offset = offsetof(struct control_args, member_)},
#define FILTER_ARGS(id)                                                                            \
    ARG(id, "dest", DEST, filter.dest, 0, "DEST", "With a recipient left who goes to DEST")        \
    ARG(id, "state", STATE, filter.state, 0, "STATE", "active, waiting, parked or held")           \
    ARG(id, "sender", SENDER, filter.sender, 0, "SENDER",                                          \
        "This sender, or @domain; \"\": notices")                                                  \
    ARG(id, "rcpt", SENDER, filter.rcpt, 0, "RCPT", "For this recipient, or @domain")              \
    ARG(id, "older", AGE, filter.older_ms, 0, "AGE", "In the queue for longer, for example 90m")
#include "relay/control/commands.def"
#undef COMMAND
#undef ARG
#undef FILTER_ARGS
};

int control_command_find(struct str name)
{
    for (int i = 0; i < CONTROL_COMMANDS; i++) {
        if (str_eq(name, str_c(control_command_info[i].name)))
            return i;
    }
    return -1;
}

const struct control_arg *control_command_args(enum control_command c, unsigned *n)
{
    const struct control_arg *first = NULL;
    *n = 0;
    for (size_t i = 0; i < ARRAY_LEN(arg_table); i++) {
        if (arg_table[i].command != c)
            continue;
        if (first == NULL)
            first = &arg_table[i];
        ++*n;
    }
    return first;
}

const struct control_arg *control_arg_find(enum control_command c, struct str name)
{
    unsigned n;
    const struct control_arg *a = control_command_args(c, &n);
    for (unsigned i = 0; i < n; i++) {
        if (str_eq(name, str_c(a[i].name)))
            return &a[i];
    }
    return NULL;
}

/* ---- suggestions ---- */

#define LIKE_MAX 40

static unsigned min3(unsigned a, unsigned b, unsigned c)
{
    unsigned m = a < b ? a : b;
    return m < c ? m : c;
}

/* Edit distance (Levenshtein); both are short. */
static unsigned distance(struct str a, struct str b)
{
    unsigned row[LIKE_MAX + 1];
    for (unsigned j = 0; j <= b.n; j++)
        row[j] = j;
    for (unsigned i = 1; i <= a.n; i++) {
        unsigned corner = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= b.n; j++) {
            unsigned up = row[j];
            row[j] = min3(up + 1, row[j - 1] + 1, corner + (a.p[i - 1] != b.p[j - 1]));
            corner = up;
        }
    }
    return row[b.n];
}

const char *control_command_like(struct str name)
{
    const char *best = NULL;
    unsigned least = UINT32_MAX;
    if (name.n == 0 || name.n > LIKE_MAX)
        return NULL;
    for (int i = 0; i < CONTROL_COMMANDS; i++) {
        struct str c = str_c(control_command_info[i].name);
        unsigned d = distance(name, c);
        /* "list" means "queue.list" */
        long dot = str_rfind(c, '.');
        if (dot >= 0) {
            unsigned last = distance(name, str_from(c, (size_t)dot + 1));
            d = last < d ? last : d;
        }
        if (d < least) {
            least = d;
            best = control_command_info[i].name;
        }
    }
    return least <= 1 + name.n / 4 ? best : NULL;
}
