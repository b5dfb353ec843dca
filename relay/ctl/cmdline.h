/*
 * cmdline.h - the command line of causewayctl as a request. Made from the table of commands
 * (relay/control/commands.h), plus what needs no daemon: help, spool verify.
 */
#ifndef RELAY_CTL_CMDLINE_H
#define RELAY_CTL_CMDLINE_H

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"
#include "relay/control/commands.h"

enum cmdline_kind {
    CMDLINE_REQUEST,      /* ask the daemon: command, args */
    CMDLINE_HELP,         /* about `command`, CMDLINE_LOCAL, or about all if it is -1 */
    CMDLINE_VERSION,      /* of causewayctl itself */
    CMDLINE_SPOOL_VERIFY, /* offline: dir */
};

#define CMDLINE_LOCAL (-2) /* spool verify, which asks no daemon */

struct cmdline {
    enum cmdline_kind kind;
    const char *socket;
    bool json;
    int command;
    json_t *args;
    const char *dir;
    const char *file; /* of directory.load */
};

/* False: *e says what is wrong and what would be right. Free also then. */
bool cmdline_parse(int argc, char **argv, struct cmdline *out, struct err *e);
void cmdline_free(struct cmdline *c);

/* "queue list" for "queue.list". cap >= 64. */
void cmdline_words(const char *name, char *dst, size_t cap);
/* The command that a group alone means, "queue.list" for "queue"; or NULL. */
const char *cmdline_group_command(const char *group);
/* Help about one command, or CMDLINE_LOCAL, or with -1 the overview. */
void help_write(int command, struct buf *out);
/* The list of commands for causewayctl(8), mdoc. */
void help_write_man(struct buf *out);
/* The list of the doctor's checks for causeway-doctor(7), mdoc. */
void help_write_checks(struct buf *out);
/* "dry-run" of the argument "dry_run". */
const char *help_option_name(const struct control_arg *a, char dst[64]);

/* completion.c: arms of case statements for bash: what may follow "queue list"; of what kind an
 * argument ("queue list --dest", "queue show 1") is: file, check, id, source or value. */
void completion_write_words(struct buf *out);
void completion_write_kinds(struct buf *out);

#endif
