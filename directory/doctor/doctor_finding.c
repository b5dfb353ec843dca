/*
 * doctor_finding.c - a finding in words: who says what, and the changes that would mend it.
 *
 * What comes from a directory may hold any octets. For people it is escaped; in LDIF what is not a
 * SAFE-STRING (RFC 2849) is written in base64; a command whose arguments cannot be quoted safely is
 * not offered.
 */
#include "directory/doctor/doctor_int.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/base64.h"
#include "base/escape.h"
#include "directory/map.h"

#define SHOWN_MAX 600

/* Its DN, or its UUID where the source has no DNs. */
static struct str object_name(struct doctor *d, const struct doctor_object *o)
{
    char uuid[MAP_UUID_TEXT];
    if (o->e.dn.n != 0)
        return o->e.dn;
    map_uuid_text(o->e.uuid, uuid);
    return arena_str(&d->texts, str_c(uuid));
}

bool doctor_begin(struct doctor *d, enum doctor_check c, const struct doctor_object *o)
{
    if (d->o.checks != 0 && (d->o.checks >> c & 1) == 0)
        return false;
    arena_reset(&d->texts);
    d->is_unsafe = false;
    d->finding = (struct doctor_finding){.check = c, .source = ""};
    if (o == NULL)
        return true;
    d->finding.address = o->e.n_address != 0 ? doctor_text(d, &o->e.address[0]) : STR_NULL;
    d->finding.source = o->s->conf->name;
    d->finding.object = object_name(d, o);
    return true;
}

/* ---- texts ---- */

static struct str vformat(struct doctor *d, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
static struct str vformat(struct doctor *d, const char *fmt, va_list ap)
{
    char small[1024];
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(small, sizeof(small), fmt, ap);
    char *p = n > 0 ? arena_alloc(&d->texts, (size_t)n + 1) : NULL;
    if (p != NULL)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return str_n(p, p != NULL ? (size_t)n : 0);
}

void doctor_say(struct doctor *d, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    d->finding.text = vformat(d, fmt, ap);
    va_end(ap);
}

void doctor_evidence(struct doctor *d, const char *fmt, ...)
{
    struct doctor_finding *f = &d->finding;
    va_list ap;
    if (f->n_evidence == DOCTOR_EVIDENCE_MAX)
        return;
    va_start(ap, fmt);
    f->evidence[f->n_evidence++] = vformat(d, fmt, ap);
    va_end(ap);
}

const char *doctor_shown(struct doctor *d, struct str s)
{
    char text[SHOWN_MAX];
    escape_cstr(s, text, sizeof(text));
    struct str copy = arena_str(&d->texts, str_c(text));
    return copy.p != NULL ? copy.p : "";
}

const char *doctor_name(struct doctor *d, const struct doctor_object *o)
{
    return doctor_shown(d, object_name(d, o));
}

struct str doctor_text(struct doctor *d, const struct dir_address *a)
{
    char *p = arena_printf(&d->texts, "%.*s@%.*s", STR_ARG(a->local), STR_ARG(a->domain));
    return str_c(p);
}

struct str doctor_value(struct doctor *d, const char *prefix, struct str s)
{
    return str_c(arena_printf(&d->texts, "%s%.*s", prefix, STR_ARG(s)));
}

static bool is_printable(struct str s)
{
    for (size_t i = 0; i < s.n;) {
        size_t len = escape_utf8_len(s.p + i, s.n - i);
        if (len == 0 || (unsigned char)s.p[i] < ' ' || s.p[i] == 0x7f ||
            (len == 2 && (unsigned char)s.p[i] == 0xc2 && (unsigned char)s.p[i + 1] < 0xa0))
            return false;
        i += len;
    }
    return true;
}

/* 'text' with each quote doubled as `doubled`. What holds controls cannot be quoted. The
 * typographic quotes U+2018 to U+201B end a PowerShell string, too. */
static const char *quote(struct doctor *d, struct str s, const char *doubled)
{
    struct buf b = BUF_INIT(8192);
    bool ok = is_printable(s) && buf_append_char(&b, '\'');
    for (size_t i = 0; ok && i < s.n; i++) {
        bool typographic = s.n - i > 2 && memcmp(s.p + i, "\xe2\x80", 2) == 0 &&
                           (unsigned char)s.p[i + 2] >= 0x98 && (unsigned char)s.p[i + 2] <= 0x9b;
        ok = !typographic &&
             (s.p[i] == '\'' ? buf_append_c(&b, doubled) : buf_append_char(&b, s.p[i]));
    }
    ok = ok && buf_append_char(&b, '\'');
    struct str copy = ok ? arena_str(&d->texts, buf_str(&b)) : STR_NULL;
    buf_free(&b);
    d->is_unsafe = d->is_unsafe || copy.p == NULL;
    return copy.p != NULL ? copy.p : "";
}

const char *doctor_quoted(struct doctor *d, struct str s)
{
    return quote(d, s, "''");
}

const char *doctor_word(struct doctor *d, struct str s)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@._+-";
    bool is_plain = s.n != 0;
    for (size_t i = 0; is_plain && i < s.n; i++)
        is_plain = s.p[i] != '\0' && strchr(plain, s.p[i]) != NULL;
    if (s.n != 0 && s.p[0] == '-') /* no option */
        return arena_printf(&d->texts, "-- %s", quote(d, s, "'\\''"));
    if (!is_plain)
        return quote(d, s, "'\\''");
    struct str copy = arena_str(&d->texts, s);
    return copy.p != NULL ? copy.p : "";
}

/* ---- evidence ---- */

static void describe_place(struct doctor *d, const struct doctor_object *o, struct buf *b)
{
    if (o->flag != CONF_NONE)
        buf_printf(b, ", flag \"%s\" for forest %s", doctor_shown(d, o->e.flag),
                   doctor_forest_name(d, o->flag));
    else if (o->e.flag.n != 0)
        buf_printf(b, ", flag \"%s\" without a meaning", doctor_shown(d, o->e.flag));
    if (o->place == CONF_NONE && o->flag == CONF_NONE)
        buf_append_c(b, ", in no forest");
    else if (o->place != CONF_NONE)
        buf_printf(b, ", in forest %s by %s", doctor_forest_name(d, o->place),
                   o->why == RULES_BY_TARGET ? "targetAddress" : dir_evidence_text(o->e.evidence));
}

void doctor_evidence_of(struct doctor *d, const struct doctor_object *o)
{
    struct buf b = BUF_INIT(8192);
    buf_printf(&b, "source %s has a %s", o->s->conf->name, dir_kind_text(o->e.kind));
    if (o->e.n_address != 0)
        buf_printf(&b, " %s", doctor_shown(d, doctor_text(d, &o->e.address[0])));
    if (o->e.target.local.n != 0)
        buf_printf(&b, ", targetAddress %s", doctor_shown(d, doctor_text(d, &o->e.target)));
    describe_place(d, o, &b);
    buf_printf(&b, ": %s", doctor_name(d, o));
    doctor_evidence(d, "%.*s", STR_ARG(buf_str(&b)));
    buf_free(&b);
}

void doctor_evidence_of_all(struct doctor *d)
{
    for (unsigned i = 0; i < d->person.n; i++)
        doctor_evidence_of(d, &d->person.object[i]);
}

/* ---- mends ---- */

static void add_mend(struct doctor *d, enum doctor_means means, const char *source, struct str text)
{
    struct doctor_finding *f = &d->finding;
    if (!d->is_unsafe && text.n != 0 && f->n_mends < DOCTOR_MENDS_MAX)
        f->mend[f->n_mends++] =
            (struct doctor_mend){.means = means, .source = source, .text = text};
    d->is_unsafe = false;
}

void doctor_end(struct doctor *d)
{
    struct doctor_finding *f = &d->finding;
    if (f->n_mends == 0)
        add_mend(d, DOCTOR_BY_HAND, "", str_c(doctor_check_info[f->check].mend));
    if (!d->fn(d->arg, f))
        d->is_enough = true;
}

void doctor_mend(struct doctor *d, enum doctor_means means, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    add_mend(d, means, "", vformat(d, fmt, ap));
    va_end(ap);
}

/* The noun of Exchange's commands for an object: by msExchRecipientTypeDetails, else by kind. */
static const char *noun(const struct doctor_object *o)
{
    switch (o->e.recipient_type) {
    case 1 + 11:
        return "DynamicDistributionGroup";
    case 1 + 31:
    case 1 + 33:
    case 1 + 34:
    case 1 + 35:
        return "RemoteMailbox";
    default:
        break;
    }
    switch (o->e.kind) {
    case DIR_MAILBOX:
        return "Mailbox";
    case DIR_MAIL_USER:
        return "MailUser";
    case DIR_CONTACT:
        return "MailContact";
    case DIR_GROUP:
        return "DistributionGroup";
    case DIR_OVERRIDE:
        break;
    }
    return "Recipient";
}

void doctor_mend_exchange(struct doctor *d, const struct doctor_object *o, const char *verb,
                          const char *fmt, ...)
{
    va_list ap;
    bool is_exchange = o->e.recipient_type != 0 || doctor_legacy_dn(o).n != 0;
    if (!is_exchange || o->e.dn.n == 0) {
        d->is_unsafe = false;
        return;
    }
    va_start(ap, fmt);
    struct str rest = vformat(d, fmt, ap);
    va_end(ap);
    char *text = arena_printf(&d->texts, "%s-%s -Identity %s%s%.*s", verb, noun(o),
                              doctor_quoted(d, o->e.dn), rest.n != 0 ? " " : "", STR_ARG(rest));
    add_mend(d, DOCTOR_BY_EXCHANGE, o->s->conf->name, str_c(text));
}

/* RFC 2849 SAFE-STRING, and no blank at the end. */
static bool is_safe_string(struct str s)
{
    if (s.n != 0 && (strchr(" :<", s.p[0]) != NULL || s.p[s.n - 1] == ' '))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ' || (unsigned char)s.p[i] >= 0x7f)
            return false;
    return true;
}

static void ldif_line(struct buf *b, const char *name, struct str value)
{
    if (is_safe_string(value)) {
        buf_printf(b, "%s: %.*s\n", name, STR_ARG(value));
        return;
    }
    buf_printf(b, "%s:: ", name);
    base64_append(b, value);
    buf_append_char(b, '\n');
}

static bool has_ldap_objects(const struct doctor_object *o)
{
    enum conf_source_type t = o->s->conf->type;
    return o->e.dn.n != 0 && (t == CONF_SOURCE_LDIF || t == CONF_SOURCE_OPENLDAP ||
                              t == CONF_SOURCE_ACTIVE_DIRECTORY);
}

/* The server's name for an attribute of ours. */
static const char *their_name(const struct rules_source *s, const char *ours)
{
    for (unsigned i = 0; i < s->conf->n_attribute; i++)
        if (str_eq_nocase(str_c(s->conf->attribute[i].left), str_c(ours)))
            return s->conf->attribute[i].right;
    return ours;
}

/* Of a file of rows, or what an administrator told: no LDIF, but the address and the value. */
static void mend_in_words(struct doctor *d, const struct doctor_object *o, const char *verb,
                          const char *name, struct str value)
{
    doctor_mend(d, DOCTOR_BY_HAND, "in source %s, %s %s of %s%s%s", o->s->conf->name, verb, name,
                doctor_shown(d, doctor_text(d, &o->e.address[0])), value.n != 0 ? ": " : "",
                doctor_shown(d, value));
}

void doctor_mend_attribute(struct doctor *d, const struct doctor_object *o, const char *verb,
                           const char *attribute, struct str value)
{
    struct buf b = BUF_INIT(16384);
    const char *name = their_name(o->s, attribute);
    if (!has_ldap_objects(o)) {
        mend_in_words(d, o, verb, name, value);
        return;
    }
    ldif_line(&b, "dn", o->e.dn);
    buf_printf(&b, "changetype: modify\n%s: %s\n", verb, name);
    if (value.n != 0)
        ldif_line(&b, name, value);
    buf_append_c(&b, "-\n");
    add_mend(d, DOCTOR_BY_LDIF, o->s->conf->name, arena_str(&d->texts, buf_str(&b)));
    buf_free(&b);
}

void doctor_mend_delete(struct doctor *d, const struct doctor_object *o)
{
    struct buf b = BUF_INIT(16384);
    struct str address = doctor_text(d, &o->e.address[0]);
    if (o->s->conf->type == CONF_SOURCE_MANUAL)
        doctor_mend(d, DOCTOR_BY_CAUSEWAYCTL, "causewayctl directory delete %s %s",
                    o->s->conf->name, doctor_word(d, address));
    else if (!has_ldap_objects(o))
        doctor_mend(d, DOCTOR_BY_HAND, "take %s out of source %s", doctor_shown(d, address),
                    o->s->conf->name);
    if (!has_ldap_objects(o))
        return;
    ldif_line(&b, "dn", o->e.dn);
    buf_append_c(&b, "changetype: delete\n");
    add_mend(d, DOCTOR_BY_LDIF, o->s->conf->name, arena_str(&d->texts, buf_str(&b)));
    buf_free(&b);
}
