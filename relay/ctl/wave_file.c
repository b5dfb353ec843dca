/*
 * wave_file.c - see wave_file.h.
 */
#include "relay/ctl/wave_file.h"

#include <errno.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/escape.h"
#include "base/file.h"
#include "relay/control/commands.h"
#include "rewrite/address.h"

#define FILE_MAX   (64u << 20)
#define FIELDS_MAX 3 /* one more than there may be */
#define FIELD_MAX  1024

struct fields {
    unsigned n;
    struct buf field[FIELDS_MAX];
};

static bool is_separator(char c)
{
    return c == ',' || c == ';' || c == '\t';
}

static bool wrong(struct err *e, unsigned line, const char *what, struct str text)
{
    char shown[120];
    escape_cstr(text, shown, sizeof(shown));
    return err_set(e, ERR_INPUT, 0,
                   "line %u: %s: \"%s\"; write user@example.org or user@example.org,forest", line,
                   what, shown);
}

/* Takes one field off the line, with its separator; NULL, or what is wrong. */
static const char *take_field(struct str *rest, struct buf *out)
{
    bool quoted = rest->n != 0 && rest->p[0] == '"';
    size_t i = quoted;
    for (; i < rest->n; i++) {
        char c = rest->p[i];
        if (quoted && c == '"') {
            if (i + 1 == rest->n || rest->p[i + 1] != '"') {
                quoted = false;
                continue;
            }
            i++;
        } else if (!quoted && is_separator(c)) {
            break;
        }
        if (!buf_append_char(out, c))
            return "a field is too long";
    }
    if (quoted)
        return "a quotation mark is not closed";
    *rest = str_from(*rest, i < rest->n ? i + 1 : i);
    return NULL;
}

static const char *split(struct str line, struct fields *f)
{
    const char *bad = NULL;
    f->n = 0;
    for (unsigned i = 0; i < FIELDS_MAX; i++)
        buf_clear(&f->field[i]);
    while (bad == NULL && line.n != 0 && f->n < FIELDS_MAX)
        bad = take_field(&line, &f->field[f->n++]);
    return bad;
}

static struct str field(const struct fields *f, unsigned i)
{
    return i < f->n ? str_trim(buf_str(&f->field[i])) : STR_NULL;
}

static bool is_heading(const struct fields *f)
{
    return str_eq_nocase(field(f, 0), STR("address")) &&
           (f->n == 1 || (f->n == 2 && str_eq_nocase(field(f, 1), STR("forest"))));
}

static bool add(const struct fields *f, unsigned number, struct str line, json_t *out,
                struct err *e)
{
    struct address a;
    struct str address = field(f, 0), forest = field(f, 1);
    if (f->n > 2)
        return wrong(e, number, "there are more than two columns", line);
    if (address_parse(address, ADDRESS_ALLOW_UTF8, &a) != ADDRESS_OK)
        return wrong(e, number, "not an address", address);
    if (json_array_size(out) == CONTROL_MOVES_MAX)
        return err_set(e, ERR_LIMIT, 0, "line %u: more than %d addresses; make several waves",
                       number, CONTROL_MOVES_MAX);
    json_t *item = json_stringn(address.p, address.n);
    if (forest.n != 0) {
        json_t *o = json_object();
        (void)json_object_set_new(o, "address", item);
        item = json_stringn(forest.p, forest.n);
        if (json_object_set_new(o, "forest", item) != 0) {
            json_decref(o);
            return wrong(e, number, "not the name of a forest", forest);
        }
        item = o;
    }
    return json_array_append_new(out, item) == 0 || wrong(e, number, "not UTF-8", address);
}

bool wave_file_parse(struct str text, json_t *out, struct err *e)
{
    struct fields f;
    bool ok = true, first = true; /* a heading may be the first line of any file */
    size_t before = json_array_size(out);
    for (unsigned i = 0; i < FIELDS_MAX; i++)
        buf_init(&f.field[i], FIELD_MAX);
    if (str_starts(text, STR("\xef\xbb\xbf"))) /* a byte order mark */
        text = str_from(text, 3);
    for (unsigned number = 1; ok && text.n != 0; number++) {
        struct str line = str_trim(str_split(&text, '\n'));
        if (line.n == 0 || line.p[0] == '#')
            continue;
        const char *bad = split(line, &f);
        if (bad != NULL)
            ok = wrong(e, number, bad, line);
        else if (!first || !is_heading(&f))
            ok = add(&f, number, line, out, e);
        first = false;
    }
    for (unsigned i = 0; i < FIELDS_MAX; i++)
        buf_free(&f.field[i]);
    return ok && (json_array_size(out) != before || err_set(e, ERR_INPUT, 0, "it has no address"));
}

static bool read_all(const char *path, struct buf *out, struct err *e)
{
    if (strcmp(path, "-") != 0)
        return file_read_all(path, out, e);
    for (;;) {
        if (!buf_reserve(out, 65536))
            return err_set(e, ERR_LIMIT, 0, "standard input is too long");
        ssize_t n = read(STDIN_FILENO, out->p + out->n, 65536);
        if (n == 0)
            return true;
        if (n < 0 && errno != EINTR)
            return err_set(e, ERR_SYSTEM, errno, "standard input");
        out->n += n > 0 ? (size_t)n : 0;
    }
}

bool wave_file_read(const char *path, json_t *out, struct err *e)
{
    struct buf text = BUF_INIT(FILE_MAX);
    bool ok = read_all(path, &text, e);
    if (ok && !wave_file_parse(buf_str(&text), out, e))
        ok = err_wrap(e, "%s", strcmp(path, "-") == 0 ? "standard input" : path);
    buf_free(&text);
    return ok;
}
