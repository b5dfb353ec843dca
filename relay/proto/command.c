/*
 * command.c - the syntax of SMTP command lines and of the parameters of MAIL and RCPT (RFC 5321
 * 4.1.1 and 4.1.2, RFC 1870, RFC 6152, RFC 3461 4, RFC 4954 5, RFC 6531 3.4). Refusals say what is
 * wrong in words that help whoever reads the sender's log. Owns nothing; any thread.
 *
 * One leniency: blanks between the colon and the path, which real clients send.
 */
#include "relay/proto/command.h"

#include "base/assert.h"
#include "base/escape.h"
#include "rewrite/address.h"

#define ENVID_MAX 100 /* RFC 3461 4.4; octets when decoded */

const struct smtp_verb_info smtp_verb_info[SMTP_VERB_COUNT] = {
#define VERB(id, text_, group, help_) [SMTP_##id] = {text_, group, help_},
#include "relay/proto/command.def"
#undef VERB
    [SMTP_UNKNOWN] = {"", true, ""},
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Unlike str_trim(), leaves CR and LF: they do not belong in a command. */
static struct str trim_blanks(struct str s)
{
    while (s.n != 0 && is_blank(s.p[0]))
        s = str_from(s, 1);
    while (s.n != 0 && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

void smtp_command_parse(struct str line, struct smtp_command *out)
{
    size_t n = 0;
    while (n < line.n && !is_blank(line.p[n]))
        n++;
    struct str verb = str_upto(line, n);
    out->verb = SMTP_UNKNOWN;
    out->args = trim_blanks(str_from(line, n));
    for (unsigned v = 0; v < SMTP_UNKNOWN; v++)
        if (str_eq_nocase(verb, str_c(smtp_verb_info[v].text)))
            out->verb = (enum smtp_verb)v;
}

bool smtp_parse_helo(struct str args, struct str *name)
{
    *name = STR_NULL;
    if (args.n == 0 || args.n > 255)
        return false;
    for (size_t i = 0; i < args.n; i++)
        if (args.p[i] < 33 || args.p[i] > 126)
            return false;
    *name = args;
    return true;
}

/* ---- the path ---- */

static bool refuse(struct smtp_reply *r, int code, const char *enhanced, const char *text)
{
    smtp_reply_set(r, code, enhanced, "%s", text);
    return false;
}

struct path_kind {
    struct str keyword; /* with its colon */
    unsigned flags;
    const char *syntax_status; /* RFC 3463 3.2 */
    const char *usage;
};
static const struct path_kind mail_path = {STR("FROM:"), ADDRESS_ALLOW_EMPTY | ADDRESS_ALLOW_ROUTE,
                                           "5.1.7", "MAIL FROM:<address>"};
static const struct path_kind rcpt_path = {
    STR("TO:"), ADDRESS_ALLOW_ROUTE | ADDRESS_ALLOW_POSTMASTER, "5.1.3", "RCPT TO:<address>"};

/* *utf8: the address is not ASCII; whether it may be is known after the parameters. */
static bool parse_path(const struct path_kind *kind, struct str args, struct address *addr,
                       bool *utf8, struct str *params, struct smtp_reply *refusal)
{
    if (!str_starts_nocase(args, kind->keyword)) {
        smtp_reply_set(refusal, 501, "5.5.4", "Syntax: %s [parameters]", kind->usage);
        return false;
    }
    struct str path = trim_blanks(str_from(args, kind->keyword.n));
    if (path.n == 0 || path.p[0] != '<') {
        smtp_reply_set(refusal, 501, kind->syntax_status,
                       "The address must stand in angle brackets: %s", kind->usage);
        return false;
    }
    enum address_status st = address_parse_path(path, kind->flags, addr, params);
    *utf8 = st == ADDRESS_NEEDS_UTF8;
    if (*utf8)
        st = address_parse_path(path, kind->flags | ADDRESS_ALLOW_UTF8, addr, params);
    if (st == ADDRESS_TOO_LONG) {
        smtp_reply_set(refusal, 501, kind->syntax_status,
                       "Address too long: at most %d octets, %d before the @", ADDRESS_MAX,
                       ADDRESS_LOCAL_MAX);
        return false;
    }
    if (st != ADDRESS_OK)
        return refuse(refusal, 501, kind->syntax_status, "This is not a valid mail address");
    if (params->n != 0 && params->p[0] != ' ')
        return refuse(refusal, 501, "5.5.4", "A blank is needed between address and parameters");
    return true;
}

static bool refuse_utf8(struct smtp_reply *r)
{
    /* RFC 6531 3.2 and 4.2 */
    return refuse(r, 553, "5.6.7", "A non-ASCII address needs the SMTPUTF8 extension");
}

/* ---- parameters ---- */

/* Takes the next "KEYWORD[=value]" off *rest. has_value tells "A=" from "A". */
struct param {
    struct str key, value;
    bool has_value;
};
static bool next_param(struct str *rest, struct param *out)
{
    *rest = trim_blanks(*rest);
    size_t n = 0;
    while (n < rest->n && rest->p[n] != ' ')
        n++;
    struct str word = str_upto(*rest, n);
    *rest = str_from(*rest, n);
    long eq = str_find(word, '=');
    out->has_value = eq >= 0;
    out->key = eq >= 0 ? str_upto(word, (size_t)eq) : word;
    out->value = eq >= 0 ? str_from(word, (size_t)eq + 1) : STR_NULL;
    return word.n != 0;
}

/* esmtp-keyword, and esmtp-value with RFC 6531's UTF-8, which each parameter checks itself. */
static bool param_is_well_formed(const struct param *p)
{
    for (size_t i = 0; i < p->key.n; i++) {
        char c = ascii_lower(p->key.p[i]);
        bool let_dig = (c >= 'a' && c <= 'z') || ascii_is_digit(c);
        if (!let_dig && (c != '-' || i == 0))
            return false;
    }
    for (size_t i = 0; i < p->value.n; i++) {
        unsigned char c = (unsigned char)p->value.p[i];
        if (c < 33 || c == '=' || c == 127)
            return false;
    }
    return p->key.n != 0 && (!p->has_value || p->value.n != 0);
}

static bool refuse_param(struct smtp_reply *r, int code, struct str key, const char *text)
{
    char shown[48];
    escape_cstr(key, shown, sizeof(shown));
    smtp_reply_set(r, code, "5.5.4", "%s: %s", shown, text);
    return false;
}

enum param_result {
    PARAM_OK,
    PARAM_BAD, /* *why says how it should be */
    PARAM_UNKNOWN,
};
typedef enum param_result param_fn(const struct param *p, bool allow_smtputf8, void *out,
                                   unsigned *bit, const char **why);

/* Walks the parameters; `take` names each by a bit, so that none comes twice. */
static bool each_param(struct str params, bool allow_smtputf8, param_fn *take, void *out,
                       struct smtp_reply *refusal)
{
    struct param p;
    unsigned seen = 0;
    while (next_param(&params, &p)) {
        if (!param_is_well_formed(&p))
            return refuse_param(refusal, 501, p.key, "syntax error in this parameter");
        unsigned bit = 0;
        const char *why = "";
        enum param_result res = take(&p, allow_smtputf8, out, &bit, &why);
        if (res == PARAM_UNKNOWN)
            return refuse_param(refusal, 555, p.key, "this parameter is not supported here");
        if ((seen & bit) != 0)
            return refuse_param(refusal, 501, p.key, "this parameter is given twice");
        if (res == PARAM_BAD)
            return refuse_param(refusal, 501, p.key, why);
        seen |= bit;
    }
    return true;
}

/* True if `s` is xtext of 1 to `max` octets, all of them printable ASCII when decoded. */
static bool xtext_is_printable(struct str s, size_t max)
{
    struct buf text = BUF_INIT(max);
    bool ok = xtext_decode(s, &text) && text.n != 0;
    for (size_t i = 0; ok && i < text.n; i++)
        ok = text.p[i] >= 32 && text.p[i] <= 126;
    buf_free(&text);
    return ok;
}

static enum param_result check(bool good, const char *text, const char **why)
{
    *why = text;
    return good ? PARAM_OK : PARAM_BAD;
}

static bool parse_size(const struct param *p, uint64_t *out)
{
    if (p->value.n == 0 || p->value.n > 20)
        return false;
    for (size_t i = 0; i < p->value.n; i++)
        if (!ascii_is_digit(p->value.p[i]))
            return false;
    /* Twenty digits can say more than 64 bits hold: too large all the same. */
    if (!str_to_u64(p->value, UINT64_MAX, out))
        *out = UINT64_MAX;
    return true;
}

static bool parse_body(const struct param *p, enum mail_body *out)
{
    if (str_eq_nocase(p->value, STR("8BITMIME")))
        *out = MAIL_BODY_8BITMIME;
    else if (str_eq_nocase(p->value, STR("7BIT")))
        *out = MAIL_BODY_7BIT;
    else
        return false;
    return true;
}

static bool parse_ret(const struct param *p, enum mail_ret *out)
{
    if (str_eq_nocase(p->value, STR("FULL")))
        *out = MAIL_RET_FULL;
    else if (str_eq_nocase(p->value, STR("HDRS")))
        *out = MAIL_RET_HDRS;
    else
        return false;
    return true;
}

static enum param_result mail_param(const struct param *p, bool allow_smtputf8, void *arg,
                                    unsigned *bit, const char **why)
{
    struct smtp_mail_args *out = arg;
    if (str_eq_nocase(p->key, STR("SIZE"))) {
        *bit = 1;
        return check(parse_size(p, &out->size), "must be a number of octets", why);
    }
    if (str_eq_nocase(p->key, STR("BODY"))) {
        *bit = 2;
        return check(parse_body(p, &out->body), "must be 7BIT or 8BITMIME", why);
    }
    if (str_eq_nocase(p->key, STR("RET"))) {
        *bit = 4;
        return check(parse_ret(p, &out->ret), "must be FULL or HDRS", why);
    }
    if (str_eq_nocase(p->key, STR("ENVID"))) {
        *bit = 8;
        out->envid = p->value;
        return check(xtext_is_printable(p->value, ENVID_MAX),
                     "must be xtext of at most 100 printable characters", why);
    }
    if (str_eq_nocase(p->key, STR("AUTH"))) {
        *bit = 16;
        out->has_auth = true;
        return check(xtext_is_printable(p->value, ADDRESS_MAX), "must be xtext or <>", why);
    }
    if (allow_smtputf8 && str_eq_nocase(p->key, STR("SMTPUTF8"))) {
        *bit = 32;
        out->smtputf8 = true;
        return check(!p->has_value, "takes no value", why);
    }
    return PARAM_UNKNOWN;
}

bool smtp_parse_mail(struct str args, bool allow_smtputf8, struct smtp_mail_args *out,
                     struct smtp_reply *refusal)
{
    struct address sender;
    struct str params;
    bool utf8;
    memset(out, 0, sizeof(*out));
    if (!parse_path(&mail_path, args, &sender, &utf8, &params, refusal) ||
        !each_param(params, allow_smtputf8, mail_param, out, refusal))
        return false;
    if (utf8 && !out->smtputf8)
        return refuse_utf8(refusal);
    out->sender = sender.all;
    return true;
}

/* NEVER alone, or a list of the others. */
static bool parse_notify(struct str list, unsigned *out)
{
    static const struct {
        struct str word;
        unsigned bit;
    } word[] = {
        {STR("NEVER"), MAIL_NOTIFY_NEVER},
        {STR("SUCCESS"), MAIL_NOTIFY_SUCCESS},
        {STR("FAILURE"), MAIL_NOTIFY_FAILURE},
        {STR("DELAY"), MAIL_NOTIFY_DELAY},
    };
    bool more = true;
    while (more) {
        more = str_find(list, ',') >= 0;
        struct str item = str_split(&list, ',');
        unsigned bit = 0;
        for (size_t i = 0; i < ARRAY_LEN(word); i++)
            if (str_eq_nocase(item, word[i].word))
                bit = word[i].bit;
        if (bit == 0)
            return false;
        *out |= bit;
    }
    return (*out & MAIL_NOTIFY_NEVER) == 0 || *out == MAIL_NOTIFY_NEVER;
}

/* RFC 6533 3: an address of type utf-8 may stand unencoded in an SMTPUTF8 transaction. */
static bool is_unitext(struct str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.n; i += n)
        if ((n = escape_utf8_len(s.p + i, s.n - i)) == 0)
            return false;
    return s.n != 0 && s.n <= ADDRESS_MAX;
}

static bool orcpt_is_good(struct str s, bool allow_utf8)
{
    long semi = str_find(s, ';');
    if (semi <= 0)
        return false;
    struct str type = str_upto(s, (size_t)semi), value = str_from(s, (size_t)semi + 1);
    for (size_t i = 0; i < type.n; i++) { /* addr-type is an atom; the ones in use look like this */
        char c = ascii_lower(type.p[i]);
        if (!(c >= 'a' && c <= 'z') && !ascii_is_digit(c) && c != '-')
            return false;
    }
    if (allow_utf8 && str_eq_nocase(type, STR("utf-8")) && is_unitext(value))
        return true;
    return type.n <= 40 && xtext_is_printable(value, ADDRESS_MAX);
}

static enum param_result rcpt_param(const struct param *p, bool allow_smtputf8, void *arg,
                                    unsigned *bit, const char **why)
{
    struct smtp_rcpt_args *out = arg;
    if (str_eq_nocase(p->key, STR("NOTIFY"))) {
        *bit = 1;
        return check(parse_notify(p->value, &out->notify),
                     "must be NEVER, or a list of SUCCESS, FAILURE and DELAY", why);
    }
    if (str_eq_nocase(p->key, STR("ORCPT"))) {
        *bit = 2;
        out->orcpt = p->value;
        return check(orcpt_is_good(p->value, allow_smtputf8),
                     "must be an address type, a semicolon and xtext, as in rfc822;a@example.org",
                     why);
    }
    return PARAM_UNKNOWN;
}

bool smtp_parse_rcpt(struct str args, bool allow_smtputf8, struct smtp_rcpt_args *out,
                     struct smtp_reply *refusal)
{
    struct address rcpt;
    struct str params;
    bool utf8;
    memset(out, 0, sizeof(*out));
    if (!parse_path(&rcpt_path, args, &rcpt, &utf8, &params, refusal) ||
        !each_param(params, allow_smtputf8, rcpt_param, out, refusal))
        return false;
    if (utf8 && !allow_smtputf8)
        return refuse_utf8(refusal);
    out->recipient = rcpt.all;
    return true;
}
