/*
 * checks.c - is one value of the form that its option asks for? Each function returns NULL if it
 * is, else static text that goes on after the value in the error: what is wrong; what would be
 * right.
 *
 * Pure. The forms here are those of a configuration file; addresses that arrive by SMTP are judged
 * by rewrite/address.h.
 */
#include "conf/options.h"

#include <arpa/inet.h>

#include "conf/blackout.h"

/* Letters, digits and hyphens in labels of 1 to 63; no hyphen at either end of a label. */
static bool is_name(struct str s, bool underscore, unsigned min_labels)
{
    unsigned labels = 0;
    if (s.n == 0 || s.n > 255)
        return false;
    while (s.n != 0) {
        long dot = str_find(s, '.');
        struct str label = dot < 0 ? s : str_upto(s, (size_t)dot);
        if (label.n == 0 || label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
            return false;
        for (size_t i = 0; i < label.n; i++) {
            char c = ascii_lower(label.p[i]);
            if (!ascii_is_digit(c) && !(c >= 'a' && c <= 'z') && c != '-' &&
                !(underscore && c == '_'))
                return false;
        }
        labels++;
        if (dot < 0)
            break;
        s = str_from(s, (size_t)dot + 1);
        if (s.n == 0)
            return false;
    }
    return labels >= min_labels;
}

static bool is_ip(struct str s, bool brackets)
{
    char text[64];
    unsigned char addr[16];
    if (brackets && s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']')
        return str_copy(str_n(s.p + 1, s.n - 2), text, sizeof(text)) &&
               (inet_pton(AF_INET6, text, addr) == 1 || inet_pton(AF_INET, text, addr) == 1);
    if (!str_copy(s, text, sizeof(text)))
        return false;
    return inet_pton(AF_INET, text, addr) == 1 ||
           (!brackets && inet_pton(AF_INET6, text, addr) == 1);
}

static bool is_port(struct str s, uint64_t min)
{
    uint64_t port;
    return str_to_u64(s, 65535, &port) && port >= min;
}

const char *conf_check_hostname(const char *v)
{
    struct str s = str_c(v);
    if (s.n == 0 || (is_name(s, false, 2) && !is_ip(s, false)))
        return NULL;
    return "is not a fully qualified host name; write one like \"relay.example.org\"";
}

const char *conf_check_domain(const char *v)
{
    if (v[0] == '\0' || is_name(str_c(v), false, 1))
        return NULL;
    return "is not a domain; write one like \"example.org\" (international names in their xn-- "
           "form)";
}

const char *conf_check_host(const char *v)
{
    struct str s = str_c(v);
    if (is_name(s, true, 1) || is_ip(s, true) || is_ip(s, false))
        return NULL;
    return "is not a host; write a host name, an IPv4 address, or an IPv6 address in brackets (the "
           "port has an option of its own)";
}

static const char *check_path(const char *v)
{
    if (v[0] == '\0' || v[0] == '/')
        return NULL;
    return "is not an absolute path; write one that begins with \"/\"";
}

/* One form; what is to be there, files.c looks at. */
const char *conf_check_path_read(const char *v)
{
    return check_path(v);
}

const char *conf_check_path_watched(const char *v)
{
    return check_path(v);
}

const char *conf_check_path_made(const char *v)
{
    return check_path(v);
}

const char *conf_check_path_socket(const char *v)
{
    return check_path(v);
}

const char *conf_check_listen(const char *v)
{
    struct str s = str_c(v);
    long colon = str_rfind(s, ':');
    if (colon > 0) {
        struct str host = str_upto(s, (size_t)colon);
        if (is_port(str_from(s, (size_t)colon + 1), 0) &&
            (str_eq(host, STR("*")) || is_ip(host, true)))
            return NULL;
    }
    return "is not an address to listen on; write \"192.0.2.1:25\", \"[2001:db8::1]:25\" or "
           "\"*:25\"";
}

const char *conf_check_email(const char *v)
{
    struct str s = str_c(v);
    long at = str_rfind(s, '@');
    if (s.n == 0)
        return NULL;
    if (at > 0 && is_name(str_from(s, (size_t)at + 1), false, 1)) {
        bool plain = true;
        for (long i = 0; i < at; i++)
            plain =
                plain && (unsigned char)v[i] > ' ' && v[i] != 127 && !strchr("<>()\"@,;:", v[i]);
        if (plain)
            return NULL;
    }
    return "is not a mail address; write one like \"postmaster@example.org\"";
}

const char *conf_check_template(const char *v)
{
    struct str s = str_c(v);
    long at = str_rfind(s, '@');
    if (s.n == 0)
        return NULL;
    if (at <= 0 || !is_name(str_from(s, (size_t)at + 1), false, 1))
        return "is not an address template; write one like \"%m@source.local\"";
    for (long i = 0; i < at; i++) {
        if ((unsigned char)v[i] <= ' ' || v[i] == 127 || strchr("<>()\"@,;:", v[i]))
            return "has characters that do not belong in an address; write one like "
                   "\"%m@source.local\"";
        if (v[i] != '%')
            continue;
        if (ascii_is_digit(v[i + 1]) && v[i + 1] != '0')
            i++;
        if (v[i + 1] == '\0' || !strchr("mgsid", v[i + 1]))
            return "has a placeholder that is not known; use %m, %g, %s, %i or %d, with a digit "
                   "from 1 to 9 after the percent sign for the first letters only";
        i++;
    }
    return NULL;
}

const char *conf_check_uri(const char *v)
{
    static const char *const scheme[] = {"ldap://", "ldaps://", "ldapi://"};
    struct str s = str_c(v);
    for (unsigned i = 0; i < 3; i++) {
        if (!str_starts_nocase(s, str_c(scheme[i])))
            continue;
        struct str rest = str_from(s, strlen(scheme[i]));
        if (i == 2 || rest.n == 0)
            return rest.n != 0 ? NULL : "has no path; write one like \"ldapi://%2Frun%2Fldapi\"";
        if (str_find(rest, '/') == (long)rest.n - 1)
            rest.n--;
        long colon = str_rfind(rest, ':');
        if (colon > 0 && rest.p[rest.n - 1] != ']') {
            if (!is_port(str_from(rest, (size_t)colon + 1), 1))
                break;
            rest = str_upto(rest, (size_t)colon);
        }
        if (is_name(rest, true, 1) || is_ip(rest, true))
            return NULL;
        break;
    }
    return "is not the URI of an LDAP server; write one like \"ldap://dc1.example.org\" or "
           "\"ldaps://dc1.example.org:636\"";
}

const char *conf_check_pattern(const char *v)
{
    struct str s = str_c(v);
    if (str_eq(s, STR("*")))
        return NULL;
    if (str_starts(s, STR("*.")))
        s = str_from(s, 2);
    if (is_name(s, false, 1))
        return NULL;
    return "is not a domain pattern; write \"example.org\", \"*.example.org\" or \"*\"";
}

const char *conf_check_attribute(const char *v)
{
    struct str s = str_c(v);
    bool good = s.n == 0 || !ascii_is_digit(v[0]);
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(v[i]);
        good = good && (ascii_is_digit(c) || (c >= 'a' && c <= 'z') || (c == '-' && i > 0));
    }
    return good ? NULL
                : "is not an attribute name; write one like \"extensionAttribute1\" (letters, "
                  "digits and hyphens)";
}

const char *conf_check_attribute_pair(const char *v)
{
    struct str theirs = str_c(v), ours = str_trim(str_split(&theirs, '='));
    char name[80];
    if (conf_attribute_find(ours) == CONF_ATTRIBUTES)
        return "does not begin with an attribute that the relay uses; write one that "
               "causeway.conf(5) lists, such as \"mail = rfc822Mailbox\"";
    if (!str_copy(str_trim(theirs), name, sizeof(name)) || conf_check_attribute(name) != NULL)
        return "does not end with an attribute name; write one like \"mail = rfc822Mailbox\"";
    return NULL;
}

const char *conf_check_join(const char *v)
{
    struct str s = str_c(v);
    if (str_eq(s, STR("smtp")) || str_eq(s, STR("x500")) || str_eq(s, STR("key")))
        return NULL;
    return "is nothing to join by; write \"smtp\", \"x500\" or \"key\"";
}

const char *conf_check_ip(const char *v)
{
    if (v[0] == '\0' || is_ip(str_c(v), false))
        return NULL;
    return "is not an IP address; write one like \"192.0.2.1\" or \"2001:db8::1\"";
}

const char *conf_check_blackout(const char *v)
{
    struct blackout b;
    if (blackout_parse(str_c(v), &b))
        return NULL;
    return "is not a time window; write \"Mon-Fri 08:00-18:00\", \"daily 22:00-06:00\" or "
           "\"2026-12-24 00:00 - 2026-12-27 00:00\"";
}

const char *conf_check_servers(const char *v)
{
    struct str rest = str_c(v);
    while (rest.n != 0) {
        struct str one = str_trim(str_split(&rest, ','));
        long colon = str_rfind(one, ':');
        bool good = is_ip(one, false) || is_ip(one, true);
        if (!good && colon > 0)
            good = is_port(str_from(one, (size_t)colon + 1), 1) &&
                   is_ip(str_upto(one, (size_t)colon), true);
        if (!good)
            return "is not a list of DNS servers; write addresses separated by commas, like "
                   "\"192.0.2.53,[2001:db8::53]:53\"";
    }
    return NULL;
}

const char *conf_check_name(const char *v)
{
    for (const char *p = v; *p != '\0'; p++)
        if (!ascii_is_digit(*p) && !(ascii_lower(*p) >= 'a' && ascii_lower(*p) <= 'z') &&
            !(p != v && (*p == '-' || *p == '.')) && *p != '_')
            return "is not a good name; use letters, digits, \"_\", \"-\" and \".\", and begin "
                   "with a letter or digit";
    return NULL;
}

const char *conf_check_filter(const char *v)
{
    int depth = 0;
    bool good = v[0] == '(';
    for (const char *p = v; *p != '\0' && good; p++) {
        depth += (*p == '(') - (*p == ')');
        good = depth > 0 || (depth == 0 && p[1] == '\0');
    }
    return good && depth == 0 ? NULL
                              : "is not an LDAP filter; write one in parentheses, like "
                                "\"(objectClass=person)\"";
}

const char *conf_check_separator(const char *v)
{
    for (const char *p = v; *p != '\0'; p++)
        if (strchr("!#$%&'*+-/=?^_`{|}~", *p) == NULL)
            return "is not a separator; write punctuation that may stand in an address, like \"+\" "
                   "or \"-\"";
    return NULL;
}

bool conf_net_parse(const char *text, struct conf_net *out)
{
    struct str s = str_c(text);
    long slash = str_find(s, '/');
    char addr[64];
    uint64_t prefix;
    memset(out, 0, sizeof(*out));
    struct str host = slash < 0 ? s : str_upto(s, (size_t)slash);
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = str_n(host.p + 1, host.n - 2);
    if (!str_copy(host, addr, sizeof(addr)))
        return false;
    if (inet_pton(AF_INET, addr, out->addr) == 1)
        out->family = AF_INET;
    else if (inet_pton(AF_INET6, addr, out->addr) == 1)
        out->family = AF_INET6;
    else
        return false;
    unsigned bits = out->family == AF_INET ? 32 : 128;
    if (slash >= 0) {
        if (!str_to_u64(str_from(s, (size_t)slash + 1), bits, &prefix))
            return false;
        bits = (unsigned)prefix;
    }
    out->prefix = bits;
    /* Bits behind the prefix are a slip of the pen more often than not: 10.0.0.1/8. */
    for (unsigned i = bits; i < (out->family == AF_INET ? 32u : 128u); i++)
        if (out->addr[i / 8] & (0x80 >> (i % 8)))
            return false;
    return true;
}
