/*
 * reply_parser.c - reads the replies of a next hop, byte by byte if it must be (RFC 5321 4.2, RFC
 * 2034). Everything is bounded: octets per line, lines per reply, text kept. What it lets through
 * is escaped. Owns the EHLO lines. Any thread; one parser per session. After INVALID the connection
 * is of no more use.
 */
#include "relay/proto/reply.h"

#include "base/escape.h"

#define LINES_MAX 100
#define SKIP_MAX  65536 /* octets of cut lines in one reply */
#define EHLO_MAX  8192

void smtp_reply_parser_init(struct smtp_reply_parser *p)
{
    memset(p, 0, sizeof(*p));
    buf_init(&p->ehlo, EHLO_MAX);
}

void smtp_reply_parser_free(struct smtp_reply_parser *p)
{
    buf_free(&p->ehlo);
}

static enum smtp_reply_state invalid(struct smtp_reply_parser *p, struct smtp_reply *r,
                                     const char *why)
{
    char seen[80];
    escape_cstr(str_trim(str_n(p->line, p->line_n)), seen, sizeof(seen));
    smtp_reply_set(r, 0, "", "%s: \"%s\"", why, seen);
    return SMTP_REPLY_INVALID;
}

/* Length of an enhanced status code with the blank behind it, 0 if there is none. */
static size_t enhanced_len(struct str s, size_t *code_n)
{
    size_t i = 0;
    if (s.n < 5 || (s.p[0] != '2' && s.p[0] != '4' && s.p[0] != '5') || s.p[1] != '.')
        return 0;
    i = 2;
    for (int part = 0; part < 2; part++) {
        size_t from = i;
        while (i < s.n && i - from < 3 && ascii_is_digit(s.p[i]))
            i++;
        if (i == from)
            return 0;
        if (part == 0 && (i == s.n || s.p[i++] != '.'))
            return 0;
    }
    *code_n = i;
    if (i == s.n)
        return i;
    return s.p[i] == ' ' || s.p[i] == '\t' ? i + 1 : 0;
}

static void add_text(struct smtp_reply *r, struct str text)
{
    size_t used = strlen(r->text);
    if (text.n == 0 || used + 16 > sizeof(r->text))
        return;
    if (used != 0) {
        memcpy(r->text + used, " / ", 4);
        used += 3;
    }
    escape_cstr(text, r->text + used, sizeof(r->text) - used);
}

/* NULL if the line was good, else what is wrong with it. */
static const char *take_line(struct smtp_reply_parser *p, bool *last)
{
    struct str s = str_n(p->line, p->line_n);
    if (s.n != 0 && s.p[s.n - 1] == '\r')
        s.n--;
    if (s.n < 3 || !ascii_is_digit(s.p[0]) || !ascii_is_digit(s.p[1]) || !ascii_is_digit(s.p[2]))
        return "not an SMTP reply";
    int code = (s.p[0] - '0') * 100 + (s.p[1] - '0') * 10 + (s.p[2] - '0');
    if (code < 200 || code > 599)
        return "reply code out of range";
    if (s.n > 3 && s.p[3] != ' ' && s.p[3] != '-')
        return "not an SMTP reply";
    if (p->lines != 0 && code != p->reply.code)
        return "reply code changes between lines";
    if (++p->lines > LINES_MAX)
        return "reply has too many lines";
    *last = s.n == 3 || s.p[3] == ' ';
    p->reply.code = code;
    s = str_from(s, s.n == 3 ? 3 : 4);

    if (p->keep_lines && p->lines == 1)
        buf_clear(&p->ehlo);
    if (p->keep_lines && p->lines > 1 && p->ehlo.n + s.n + 1 <= EHLO_MAX) {
        if (p->ehlo.n != 0)
            buf_append_char(&p->ehlo, '\n');
        buf_append_str(&p->ehlo, s);
    }
    size_t n = 0, skip = enhanced_len(s, &n);
    if (skip != 0 && p->reply.enhanced[0] == '\0')
        str_copy(str_upto(s, n), p->reply.enhanced, sizeof(p->reply.enhanced));
    add_text(&p->reply, str_trim(str_from(s, skip)));
    return NULL;
}

static bool not_smtp(const struct smtp_reply_parser *p)
{
    for (size_t i = 0; i < p->line_n && i < 3; i++)
        if (!ascii_is_digit(p->line[i]))
            return true;
    return false;
}

/* Adds to the line what there is of it; true when its LF was reached. */
static bool gather(struct smtp_reply_parser *p, const char *data, size_t n, size_t *used)
{
    const char *lf = memchr(data, '\n', n);
    size_t part = lf != NULL ? (size_t)(lf - data) : n;
    size_t room = sizeof(p->line) - p->line_n;
    size_t copy = part < room ? part : room;
    memcpy(p->line + p->line_n, data, copy);
    p->line_n += copy;
    p->skipped += part - copy;
    *used = part + (lf != NULL);
    return lf != NULL;
}

enum smtp_reply_state smtp_reply_parse(struct smtp_reply_parser *p, const char *data, size_t n,
                                       size_t *used, struct smtp_reply *r)
{
    *used = 0;
    while (*used < n) {
        size_t took;
        bool whole = gather(p, data + *used, n - *used, &took);
        *used += took;
        if (p->skipped > SKIP_MAX)
            return invalid(p, r, "reply too long");
        if (!whole)
            /* TLS, HTTP or noise: no need to wait for the end of its line */
            return not_smtp(p) ? invalid(p, r, "not an SMTP reply") : SMTP_REPLY_MORE;
        bool last = false;
        const char *wrong = take_line(p, &last);
        if (wrong != NULL)
            return invalid(p, r, wrong);
        p->line_n = 0;
        if (last) {
            *r = p->reply;
            memset(&p->reply, 0, sizeof(p->reply));
            p->lines = 0;
            p->skipped = 0;
            return SMTP_REPLY_DONE;
        }
    }
    return SMTP_REPLY_MORE;
}
