/*
 * commands.h - the table of control commands, as data: the server checks requests by it,
 * causewayctl makes its command line, its help and the lists in the documents from it.
 * doc/control-protocol.md describes the protocol around it.
 */
#ifndef RELAY_CONTROL_COMMANDS_H
#define RELAY_CONTROL_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define CONTROL_PROTOCOL     1
#define CONTROL_SOCKET       "/run/causeway/control.sock" /* as control.socket has it by default */
#define CONTROL_LINE_MAX     (4u << 20) /* bytes of a request, newline included: a large wave */
#define CONTROL_DEPTH_MAX    8          /* of nesting in a request */
#define CONTROL_IDS_MAX      4096       /* queue IDs in a request */
#define CONTROL_MOVES_MAX    50000      /* addresses in a request */
#define CONTROL_TEXT_MAX     1100       /* octets of a free text */
#define CONTROL_TEXTS_MAX    1024       /* texts in a request */
#define CONTROL_EXPORT_CHUNK 12288 /* content bytes in an item of queue.export; divisible by 3 */

enum control_command {
#define COMMAND(id, name, streams, change, summary, detail) CONTROL_##id,
#define ARG(id, name, type, member, flags, value, help)
#define FILTER_ARGS(id)
#include "relay/control/commands.def"
#undef COMMAND
#undef ARG
#undef FILTER_ARGS
    CONTROL_COMMANDS
};

enum control_arg_type {
    CONTROL_FLAG,       /* true, false */
    CONTROL_COUNT,      /* 0 .. 4294967295 */
    CONTROL_AGE,        /* milliseconds; "2h" on the command line */
    CONTROL_ID,         /* queue ID in its text form */
    CONTROL_IDS,        /* array of them */
    CONTROL_ADDRESS,    /* local@domain */
    CONTROL_SENDER,     /* the same, or empty */
    CONTROL_NAME,       /* letters, digits, - _ . */
    CONTROL_DEST,       /* "forest:source", "route:default", "mx:example.org" */
    CONTROL_STATE,      /* "active", "waiting", "parked", "held" */
    CONTROL_LINK,       /* "internet", "application", "local", "forest:NAME" */
    CONTROL_MOVES,      /* array of addresses, or of {"address": ..., "forest": ...} */
    CONTROL_FILE,       /* of the command line only: read there, and sent as MOVES */
    CONTROL_TIME,       /* a moment: RFC 3339; on the command line also local time */
    CONTROL_TEXT,       /* free */
    CONTROL_TEXTS,      /* array of them */
    CONTROL_KIND,       /* "mailbox", "mail-user", "contact", "group" */
    CONTROL_CSV,        /* rows with a header; a file on the command line */
    CONTROL_CHECKS,     /* array of names of the doctor's checks (directory/doctor/doctor.def) */
    CONTROL_MOVED,      /* the number of a wave, or an address */
    CONTROL_WAVE_STATE, /* "pending", "active", ... */
};
enum {
    CONTROL_REQUIRED = 1,
    CONTROL_POSITION = 2,
};

/* Which messages. Unset members do not narrow. */
struct control_filter {
    const char *dest;   /* as dest_key_print() */
    int state;          /* enum queue_msg_state, or -1 */
    const char *sender; /* without case; "" = the null sender; "@domain" = everyone there */
    const char *rcpt;   /* likewise; of the recipients that are left */
    int64_t older_ms;   /* 0 = any age */
};

struct control_move {
    const char *address, *forest; /* "" = the one for all */
};

/* The arguments of a request, checked. Strings are "" and never NULL where the request has none,
 * except in the filter, where NULL means that it does not narrow. */
struct control_args {
    struct control_filter filter;
    uint64_t *id;
    unsigned n_id;
    const char *address, *from, *link, *forest, *source, *domain;
    uint64_t checks; /* bit 1 << enum doctor_check; 0 = all */
    uint32_t limit;
    bool has_limit, all, dsn, counters, next;
    /* telling a manual source */
    const char *kind, *target, *flag, *routing, *key, *alias, *csv;
    const char **text;
    unsigned n_text;
    uint32_t skip;
    bool more;
    /* moving mailboxes */
    struct control_move *move;
    unsigned n_move;
    int64_t at_ms;  /* wall clock; 0 = not said */
    int64_t for_ms; /* -1 = not said */
    const char *why, *who, *moved;
    int wave_state; /* enum wave_state, or -1 */
    bool dry_run, write, force;
};

struct control_arg {
    enum control_command command;
    const char *name;
    enum control_arg_type type;
    unsigned flags;
    const char *value;
    const char *help;
    size_t offset; /* into struct control_args */
};
struct control_command_info {
    const char *name;
    bool streams, change;
    const char *summary, *detail;
};
extern const struct control_command_info control_command_info[CONTROL_COMMANDS];

/* The command, or -1. */
int control_command_find(struct str name);
/* The command whose name is most like `name`, or NULL if none is. */
const char *control_command_like(struct str name);
/* Its arguments, in the order of the table. */
const struct control_arg *control_command_args(enum control_command c, unsigned *n);
const struct control_arg *control_arg_find(enum control_command c, struct str name);

#endif
