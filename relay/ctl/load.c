/*
 * load.c - see load.h. A row ends at an LF that is not within quotes; the rest of what CSV means is
 * the daemon's to say.
 */
#include "relay/ctl/load.h"

#include <string.h>

#include "base/file.h"
#include "relay/ctl/client.h"

#define FILE_MAX ((size_t)1 << 30)
/* Of a part, before JSON: a quote or a line end takes two octets there, a control octet six. */
#define PART_MAX (16u << 10) /* what the daemon does at one go: others wait meanwhile */

struct loading {
    const struct cmdline *c;
    struct str text;
    size_t header; /* octets, with its line end */
    bool check;
    json_int_t recipients, changed, generation;
};

static size_t row_end(struct str text, size_t at)
{
    bool quoted = false;
    for (; at < text.n; at++) {
        quoted ^= text.p[at] == '"';
        if (text.p[at] == '\n' && !quoted)
            return at + 1;
    }
    return text.n;
}

size_t load_part_end(struct str text, size_t from, size_t max)
{
    size_t end = row_end(text, from);
    for (size_t next; end < text.n && (next = row_end(text, end)) - from <= max;)
        end = next;
    return end;
}

static unsigned count_lines(struct str text, size_t from, size_t to)
{
    unsigned n = 0;
    for (; from < to; from++)
        n += text.p[from] == '\n';
    return n;
}

static bool send_part(struct loading *l, size_t from, size_t to, struct err *e)
{
    struct buf part = BUF_INIT(FILE_MAX);
    bool refused, ok = true;
    json_t *args = json_copy(l->c->args), *result;
    (void)buf_append(&part, l->text.p, l->header);
    (void)buf_append(&part, l->text.p + from, to - from);
    json_t *csv = json_stringn(part.n != 0 ? part.p : "", part.n);
    if (csv == NULL)
        ok = err_set(e, ERR_INPUT, 0, "not UTF-8; export the file with -Encoding UTF8");
    (void)json_object_set_new(args, "csv", csv);
    (void)json_object_set_new(args, "skip", json_integer(count_lines(l->text, l->header, from)));
    (void)json_object_set_new(args, "more", json_boolean(to < l->text.n));
    (void)json_object_set_new(args, "dry_run", json_boolean(l->check));
    ok = ok && client_call(l->c->socket, "directory.load", args, NULL, NULL, &result, &refused, e);
    if (ok) {
        l->recipients += json_integer_value(json_object_get(result, "recipients"));
        l->changed += json_integer_value(json_object_get(result, "changed"));
        l->generation = json_integer_value(json_object_get(result, "generation"));
        json_decref(result);
    }
    json_decref(args);
    buf_free(&part);
    return ok;
}

static bool send_all(struct loading *l, bool check, struct err *e)
{
    size_t at = l->header;
    l->check = check;
    l->recipients = l->changed = 0;
    do {
        size_t end = load_part_end(l->text, at, PART_MAX);
        if (!send_part(l, at, end, e))
            return false;
        at = end;
    } while (at < l->text.n);
    return true;
}

/* What precedes the header (csv.h) belongs to it: every part repeats it. */
static size_t header_end(struct str text)
{
    struct str rest = str_starts(text, STR("\xef\xbb\xbf")) ? str_from(text, 3) : text;
    size_t at = text.n - rest.n;
    while (at < text.n && (text.p[at] == '#' || text.p[at] == '\n' || text.p[at] == '\r')) {
        const char *lf = memchr(text.p + at, '\n', text.n - at);
        at = lf != NULL ? (size_t)(lf - text.p) + 1 : text.n;
    }
    return row_end(text, at);
}

bool load_send(const struct cmdline *c, json_t **result, struct err *e)
{
    struct buf file = BUF_INIT(FILE_MAX);
    struct loading l = {.c = c};
    bool dry_run = json_is_true(json_object_get(c->args, "dry_run"));
    bool ok = file_read_all(strcmp(c->file, "-") != 0 ? c->file : "/dev/stdin", &file, e);
    if (ok) {
        l.text = buf_str(&file);
        l.header = header_end(l.text);
        ok = (send_all(&l, true, e) && (dry_run || send_all(&l, false, e))) ||
             err_wrap(e, "%s", c->file);
    }
    if (ok)
        *result = json_pack("{s:I, s:I, s:I}", "recipients", l.recipients, "changed", l.changed,
                            "generation", l.generation);
    buf_free(&file);
    return ok;
}
