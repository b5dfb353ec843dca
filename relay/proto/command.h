/*
 * command.h - SMTP command lines and their parameters. Pure. RFC 5321 4.1.1, RFC 1870 (SIZE),
 * RFC 6152 (8BITMIME), RFC 3461 (DSN).
 *
 * Verbs are declared once, in command.def.
 */
#ifndef RELAY_PROTO_COMMAND_H
#define RELAY_PROTO_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"
#include "relay/proto/params.h"
#include "relay/proto/reply.h"

#define SMTP_COMMAND_LINE_MAX                                                                      \
    4096 /* octets with CRLF: room for 571-octet addresses and parameters */

enum smtp_verb {
#define VERB(id, text, ends_group, help) SMTP_##id,
#include "relay/proto/command.def"
#undef VERB
    SMTP_UNKNOWN,
    SMTP_VERB_COUNT
};
struct smtp_verb_info {
    const char *text;
    bool ends_group; /* must be the last of a pipelined group, RFC 2920 3.1 */
    const char *help;
};
extern const struct smtp_verb_info smtp_verb_info[SMTP_VERB_COUNT];

struct smtp_command {
    enum smtp_verb verb;
    struct str args; /* what follows the verb, trimmed; slice of the line */
};
/* `line` without CRLF. Never fails: an unknown verb is SMTP_UNKNOWN. */
void smtp_command_parse(struct str line, struct smtp_command *out);

/* MAIL FROM:<path> params. On refusal returns false with the reply to give (501, 553, 555); *out is
 * then not to be used. Slices point into args. */
struct smtp_mail_args {
    struct str sender; /* as written, without <>; "" = null sender; source route stripped */
    uint64_t size;     /* SIZE=, 0 = not given; UINT64_MAX for what is larger still */
    enum mail_body body;
    enum mail_ret ret;
    struct str envid; /* xtext as received (checked) */
    bool smtputf8;
    bool has_auth; /* AUTH= was there (RFC 4954 5); value not kept */
};
bool smtp_parse_mail(struct str args, bool allow_smtputf8, struct smtp_mail_args *out,
                     struct smtp_reply *refusal);

struct smtp_rcpt_args {
    struct str
        recipient;    /* as written, without <> and source route; "postmaster" may stand alone */
    unsigned notify;  /* MAIL_NOTIFY_* bits; 0 = not given */
    struct str orcpt; /* "rfc822;..." xtext as received (checked), or empty */
};
/* allow_smtputf8: MAIL had SMTPUTF8. */
bool smtp_parse_rcpt(struct str args, bool allow_smtputf8, struct smtp_rcpt_args *out,
                     struct smtp_reply *refusal);

/* HELO/EHLO argument: a domain or an address literal; lenient as RFC 5321 4.1.4 asks: true if
 * usable: 1 to 255 graphic ASCII characters. */
bool smtp_parse_helo(struct str args, struct str *name);

/* xtext, RFC 3461 4. Both append. False: not xtext, or out's cap reached; out may then hold a part.
 */
bool xtext_decode(struct str in, struct buf *out);
bool xtext_encode(struct str in, struct buf *out);

#endif
