/*
 * control_manual.c - see control_manual.h. All three become one struct manual_change: an upsert is
 * a load of one row. It is handed to the source on the background thread, because the answer waits
 * for a sync.
 */
#include "relay/daemon/control_manual.h"

#include "base/assert.h"
#include "base/mem.h"
#include "directory/file/csv_map.h"
#include "directory/file/manual.h"
#include "relay/daemon/daemon.h"

#define ROW_MAX ((size_t)1 << 20)

struct telling {
    struct control_req *request;
    struct manual_box *box;
    struct manual_change change;
    struct buf text; /* that change points into */
    bool ok;
    struct err e;
};

static void put(json_t *o, const char *key, uint64_t n)
{
    (void)json_object_set_new(o, key, json_integer((json_int_t)n));
}

static void telling_free(struct telling *t)
{
    manual_box_unref(&t->box);
    buf_free(&t->text);
    mem_free(t);
}

static void run(struct jobs *j, void *arg)
{
    struct telling *t = arg;
    (void)j;
    t->ok = manual_ask(t->box, &t->change, &t->e);
}

static void done(void *arg, bool ran)
{
    struct telling *t = arg;
    if (!ran) {
        control_error(t->request, CONTROL_ERR_UNAVAILABLE, "the relay is stopping");
    } else if (!t->ok) {
        bool absent = t->change.forget.p != NULL && t->e.class == ERR_INPUT;
        control_error(t->request,
                      absent                     ? CONTROL_ERR_NOT_FOUND
                      : t->e.class == ERR_BUSY   ? CONTROL_ERR_UNAVAILABLE
                      : t->e.class == ERR_SYSTEM ? CONTROL_ERR_FAILED
                                                 : CONTROL_ERR_ARGUMENT,
                      "%s", t->e.text);
    } else {
        json_t *o = json_object();
        put(o, "recipients", t->change.rows);
        put(o, "changed", t->change.changed);
        put(o, "generation", t->change.generation);
        control_reply(t->request, o);
    }
    telling_free(t);
}

/* Takes over t, which has everything but the box. */
static void tell(struct daemon *d, struct telling *t, const char *source)
{
    struct err e;
    t->box = directory_manual_box(d->directory, str_c(source), &e);
    if (t->box == NULL)
        control_error(t->request, CONTROL_ERR_ARGUMENT, "%s", e.text);
    else if (!job_run(d->jobs, run, done, t, &e))
        control_error(t->request, CONTROL_ERR_UNAVAILABLE, "%s", e.text);
    else
        return;
    telling_free(t);
}

static struct telling *telling_new(struct control_req *r, size_t text_max)
{
    struct telling *t = NEW(struct telling);
    t->request = r;
    buf_init(&t->text, text_max);
    return t;
}

/* ---- one recipient as a row ---- */

static const struct conf_source *find_source(const struct conf *c, const char *name)
{
    for (unsigned i = 0; i < c->n_source; i++)
        if (str_eq_nocase(str_c(name), str_c(c->source[i].name)))
            return &c->source[i];
    return NULL;
}

/* What the source calls this attribute of ours. */
static const char *title(const struct conf_source *s, enum conf_attribute a)
{
    for (unsigned i = 0; i < s->n_attribute; i++)
        if (conf_attribute_find(str_c(s->attribute[i].left)) == a)
            return s->attribute[i].right;
    return conf_attribute_name[a];
}

static bool add_quoted(struct buf *b, const char *text, bool first)
{
    bool ok = buf_append_c(b, first ? "\"" : ",\"");
    for (; *text != '\0'; text++)
        ok = ok && (*text != '"' || buf_append_char(b, '"')) && buf_append_char(b, *text);
    return ok && buf_append_char(b, '"');
}

static bool join_proxies(struct buf *b, const struct conf_source *s, const struct control_args *a)
{
    bool ok = true;
    for (unsigned i = 0; i < a->n_text; i++)
        ok = ok &&
             (i == 0 || buf_append_c(b, s->csv_separator[0] != '\0' ? s->csv_separator : ";")) &&
             buf_append_c(b, a->text[i]);
    return ok;
}

static bool row_write(struct buf *out, const struct conf_source *s, const struct control_args *a)
{
    struct buf proxies = BUF_INIT(ROW_MAX);
    bool ok = join_proxies(&proxies, s, a);
    const struct {
        const char *title, *value;
    } cell[] = {{title(s, CONF_A_MAIL), a->address},
                {title(s, CONF_A_PROXY), proxies.n != 0 ? buf_cstr(&proxies) : ""},
                {title(s, CONF_A_DETAILS), a->kind},
                {title(s, CONF_A_TARGET), a->target},
                {title(s, CONF_A_ALIAS), a->alias},
                {s->flag_attribute, a->flag},
                {s->routing_attribute, a->routing},
                {s->join_attribute, a->key}};
    for (unsigned i = 0; i < ARRAY_LEN(cell); i++)
        ok = ok && (cell[i].value[0] == '\0' || add_quoted(out, cell[i].title, i == 0));
    ok = ok && buf_append_char(out, '\n');
    for (unsigned i = 0; i < ARRAY_LEN(cell); i++)
        ok = ok && (cell[i].value[0] == '\0' || add_quoted(out, cell[i].value, i == 0));
    buf_free(&proxies);
    return ok;
}

/* ---- commands ---- */

void control_directory_upsert(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct daemon *d = ctx;
    const struct conf_source *s = find_source(d->conf, a->source);
    struct telling *t;
    if (s != NULL && a->flag[0] != '\0' && s->flag_attribute[0] == '\0') {
        control_error(r, CONTROL_ERR_ARGUMENT,
                      "source \"%s\" has no flag_values, which would say what a flag means",
                      a->source);
        return;
    }
    t = telling_new(r, 2 * ROW_MAX);
    if (s != NULL && !row_write(&t->text, s, a)) {
        control_error(r, CONTROL_ERR_ARGUMENT, "the recipient is longer than a megabyte");
        telling_free(t);
        return;
    }
    t->change.csv = buf_str(&t->text);
    tell(d, t, a->source);
}

void control_directory_delete(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct telling *t = telling_new(r, ADDRESS_MAX + 1);
    (void)buf_append_c(&t->text, a->address);
    t->change.forget = buf_str(&t->text);
    tell(ctx, t, a->source);
}

void control_directory_load(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct telling *t = telling_new(r, CONTROL_LINE_MAX);
    (void)buf_append_c(&t->text, a->csv);
    t->change = (struct manual_change){
        .csv = buf_str(&t->text), .skip = a->skip, .check = a->dry_run, .more = a->more};
    tell(ctx, t, a->source);
}
