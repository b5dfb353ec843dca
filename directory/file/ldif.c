/*
 * ldif.c - RFC 2849, content records only. Physical lines are joined (2: a line that begins with a
 * space continues the one before), then each logical line is a comment, the end of a record, or
 * `attribute: value`. Everything that grows is capped; a record's memory is reused for the next.
 */
#include "directory/file/ldif.h"

#include "base/arena.h"
#include "base/buf.h"
#include "base/mem.h"

#define RECORD_MAX ((size_t)64 << 20)

struct ldif {
    ldif_record_fn *fn;
    void *arg;
    struct buf line;      /* the logical line being gathered */
    bool have_line;       /* it began */
    bool at_start;        /* of a physical line */
    unsigned line_number; /* of the physical line being read */
    unsigned line_began;
    bool began; /* anything but comments and blank lines was seen */
    bool in_record;
    struct arena arena;
    struct ldif_record record;
    struct ldif_value *value;
    unsigned cap;
    unsigned char bom; /* octets of a UTF-8 byte order mark that were skipped; 4 = no longer looked
                          for */
};

struct ldif *ldif_new(size_t line_max, ldif_record_fn *fn, void *arg)
{
    struct ldif *l = NEW(struct ldif);
    l->fn = fn;
    l->arg = arg;
    l->at_start = true;
    l->line_number = 1;
    buf_init(&l->line, line_max);
    arena_init(&l->arena, 16384, RECORD_MAX);
    return l;
}

void ldif_free(struct ldif **lp)
{
    struct ldif *l = *lp;
    *lp = NULL;
    if (l == NULL)
        return;
    buf_free(&l->line);
    arena_free(&l->arena);
    mem_free(l->value);
    mem_free(l);
}

static bool fail(const struct ldif *l, struct err *e, const char *what)
{
    return err_set(e, ERR_INPUT, 0, "line %u: %s", l->line_began, what);
}

/* ---- base64 (RFC 4648 4, padding required, no blanks) ---- */

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (ascii_is_digit(c))
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

static bool base64_decode(struct arena *a, struct str in, struct str *out)
{
    size_t pad = 0;
    while (pad < 2 && pad < in.n && in.p[in.n - 1 - pad] == '=')
        pad++;
    if (in.n % 4 != 0)
        return false;
    unsigned char *to = arena_alloc(a, in.n / 4 * 3 + 1);
    if (to == NULL)
        return false;
    size_t n = 0;
    uint32_t bits = 0;
    for (size_t i = 0; i < in.n; i++) {
        int d = i < in.n - pad ? base64_digit(in.p[i]) : 0;
        if (d < 0)
            return false;
        bits = bits << 6 | (uint32_t)d;
        if (i % 4 == 3)
            for (int shift = 16; shift >= 0; shift -= 8)
                to[n++] = (unsigned char)(bits >> shift);
    }
    *out = str_n((char *)to, n - (in.n != 0 ? pad : 0));
    return true;
}

/* ---- records ---- */

static bool record_end(struct ldif *l, struct err *e)
{
    if (!l->in_record)
        return true;
    l->in_record = false;
    l->record.value = l->value;
    if (!l->fn(l->arg, &l->record, e))
        return err_wrap(e, "line %u", l->record.line);
    return true;
}

static bool name_is_valid(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = ascii_lower(name.p[i]);
        if (!(c >= 'a' && c <= 'z') && !ascii_is_digit(c) && c != '-' && c != ';' && c != '.' &&
            c != '_')
            return false;
    }
    return name.n != 0;
}

/* The value after the colon: ": text", ":: base64", ":< url". */
static bool value_read(struct ldif *l, struct str rest, struct str *out, struct err *e)
{
    if (rest.n != 0 && rest.p[0] == '<')
        return fail(l, e,
                    "a value by URL (\":<\") is not read; put the value here, in base64 "
                    "after \"::\"");
    bool base64 = rest.n != 0 && rest.p[0] == ':';
    rest = str_from(rest, base64);
    while (rest.n != 0 && rest.p[0] == ' ')
        rest = str_from(rest, 1);
    if (base64 && !base64_decode(&l->arena, str_trim(rest), out))
        return fail(l, e, "the value after \"::\" is not base64");
    if (!base64) {
        *out = arena_str(&l->arena, rest);
        if (memchr(rest.p != NULL ? rest.p : "", '\0', rest.n) != NULL)
            return fail(l, e, "a NUL in a plain value; write the value in base64 after \"::\"");
    }
    return out->p != NULL || fail(l, e, "the record is longer than 64 MB");
}

static bool record_begin(struct ldif *l, struct str dn)
{
    l->in_record = true;
    l->record = (struct ldif_record){.line = l->line_began, .dn = dn};
    return true;
}

static bool record_add(struct ldif *l, struct str name, struct str value, struct err *e)
{
    if (l->record.n == LDIF_ATTRIBUTES_MAX)
        return fail(l, e, "the record has more than 100000 values");
    if (l->record.n == l->cap) {
        l->cap = l->cap == 0 ? 32 : l->cap * 2;
        l->value = mem_realloc(l->value, l->cap * sizeof(*l->value));
    }
    l->value[l->record.n++] =
        (struct ldif_value){.name = name, .value = value, .line = l->line_began};
    return true;
}

static bool line_attribute(struct ldif *l, struct str line, struct err *e)
{
    long colon = str_find(line, ':');
    struct str value;
    if (colon <= 0 || !name_is_valid(str_upto(line, (size_t)colon)))
        return fail(l, e,
                    "not LDIF: expected \"attribute: value\", \"attribute:: base64\", a "
                    "comment (\"#\") or an empty line");
    if (!l->in_record)
        arena_reset(&l->arena);
    struct str name = arena_str(&l->arena, str_upto(line, (size_t)colon));
    if (!value_read(l, str_from(line, (size_t)colon + 1), &value, e))
        return false;
    bool first = !l->began;
    l->began = true;
    if (str_eq_nocase(name, STR("dn"))) {
        if (l->in_record)
            return fail(l, e, "a second dn in one record; records are separated by an empty line");
        return record_begin(l, value);
    }
    if (!l->in_record && first && str_eq_nocase(name, STR("version")))
        return str_eq(str_trim(value), STR("1")) ||
               fail(l, e, "an unknown version of LDIF; expected \"version: 1\"");
    if (!l->in_record)
        return fail(l, e, "a record must begin with \"dn: ...\"");
    if (str_eq_nocase(name, STR("changetype")))
        return fail(l, e,
                    "change records are not read; export the entries themselves "
                    "(content records, without changetype)");
    return record_add(l, name, value, e);
}

static bool line_end(struct ldif *l, struct err *e)
{
    struct str line = buf_str(&l->line);
    if (!l->have_line)
        return true;
    l->have_line = false;
    if (line.n == 0)
        return record_end(l, e);
    if (line.p[0] == '#')
        return true;
    return line_attribute(l, line, e);
}

/* ---- lines ---- */

/* One part of a physical line, `ends` if its LF follows. */
static bool physical(struct ldif *l, const char *p, size_t n, bool ends, struct err *e)
{
    if (l->at_start && (n != 0 || ends)) {
        bool continues = n != 0 && p[0] == ' ' && l->have_line && l->line.n != 0;
        if (continues) {
            p++;
            n--;
        } else {
            if (!line_end(l, e))
                return false;
            buf_clear(&l->line);
            l->have_line = true;
            l->line_began = l->line_number;
            if (n != 0 && p[0] == ' ')
                return fail(l, e,
                            "a line that begins with a space continues the one before, and "
                            "there is none");
        }
        l->at_start = false;
    }
    if (!buf_append(&l->line, p, n))
        return err_set(e, ERR_LIMIT, 0,
                       "line %u: the value is longer than line_max = %zu octets allow",
                       l->line_began, l->line.max);
    if (ends) {
        if (l->line.n != 0 && l->line.p[l->line.n - 1] == '\r')
            l->line.n--;
        l->at_start = true;
        l->line_number++;
    }
    return true;
}

static size_t skip_bom(struct ldif *l, const char *p, size_t n)
{
    static const char bom[] = "\xef\xbb\xbf";
    size_t i = 0;
    while (l->bom < 3 && i < n && p[i] == bom[l->bom]) {
        l->bom++;
        i++;
    }
    if (i < n)
        l->bom = 4;
    return i;
}

bool ldif_feed(struct ldif *l, const char *p, size_t n, struct err *e)
{
    size_t at = l->bom < 4 ? skip_bom(l, p, n) : 0;
    while (at < n) {
        const char *lf = memchr(p + at, '\n', n - at);
        size_t end = lf != NULL ? (size_t)(lf - p) : n;
        if (!physical(l, p + at, end - at, lf != NULL, e))
            return false;
        at = end + (lf != NULL);
    }
    return true;
}

bool ldif_end(struct ldif *l, struct err *e)
{
    if (!l->at_start && !physical(l, "", 0, true, e))
        return false;
    return line_end(l, e) && record_end(l, e);
}
