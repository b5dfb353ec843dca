/*
 * show.c - what causewayctl prints. Every member of an answer is optional here: an older or newer
 * daemon must not make it fail, only show less. doc/control-protocol.md has the shapes.
 */
#include "relay/ctl/show_int.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

#define ROWS_AT_ONCE 500
#define TEXT_WIDTH   100 /* of what is not a table */

static void add_number(struct grid *t, int64_t n)
{
    char text[24];
    (void)snprintf(text, sizeof(text), "%" PRId64, n);
    grid_add(t, text);
}

/* "2026-11-20 06:22:33" of RFC 3339 text. */
static const char *when(json_t *o, const char *key, char dst[24])
{
    const char *z = text_of(o, key);
    if (z[0] == '\0')
        return "never";
    (void)snprintf(dst, 24, "%.10s %.8s", z, strlen(z) > 11 ? z + 11 : "");
    return dst;
}

/* ---- tables ---- */

static const struct grid_column message_column[] = {
    {"ID", false, false, false},         {"STATE", false, false, false},
    {"AGE", true, false, false},         {"SIZE", true, false, true},
    {"RCPT", true, false, false},        {"TRIES", true, false, true},
    {"NEXT", true, false, false},        {"SENDER", false, true, false},
    {"DESTINATION", false, true, false}, {"SAID", false, true, false},
};
static const struct grid_column dest_column[] = {
    {"DESTINATION", false, true, false}, {"STATE", false, false, false},
    {"WINDOW", true, false, true},       {"IN HAND", true, false, false},
    {"READY", true, false, true},        {"PARKED", true, false, false},
    {"DELIVERED", true, false, false},   {"DEFERRED", true, false, false},
    {"LAST ERROR", false, true, false},
};
static const struct grid_column source_column[] = {
    {"SOURCE", false, false, false},    {"TYPE", false, false, true},
    {"FOREST", false, false, false},    {"STATE", false, false, false},
    {"ENTRIES", true, false, false},    {"ADDRESSES", true, false, true},
    {"VANISHED", true, false, true},    {"COMPLETE", false, false, false},
    {"LAST ERROR", false, true, false},
};
static const struct grid_column pending_column[] = {
    {"", false, false, false},
    {"ADDRESS", false, true, false},
    {"FROM", false, false, false},
    {"TO", false, false, false},
};
static const struct grid_column rcpt_column[] = {
    {"RECIPIENT", false, true, false},
    {"STATE", false, false, false},
    {"DESTINATION", false, true, false},
    {"SAID", false, true, false},
};
static void message_row(struct show *s, json_t *m)
{
    struct grid *t = &s->grid;
    char text[64];
    int64_t next = text_time(text_of(m, "next_attempt"));
    grid_add(t, text_of(m, "id"));
    grid_add(t, text_of(m, "state"));
    text_duration(number_of(m, "age_ms"), text);
    grid_add(t, text);
    text_size((uint64_t)number_of(m, "size"), text);
    grid_add(t, text);
    (void)snprintf(text, sizeof(text), "%" PRId64 "/%" PRId64, number_of(m, "recipients_left"),
                   number_of(m, "recipients"));
    grid_add(t, text);
    add_number(t, number_of(m, "attempts"));
    if (next > s->now_ms)
        text_duration(next - s->now_ms, text);
    else
        (void)snprintf(text, sizeof(text), "-");
    grid_add(t, text);
    json_t *sender = json_object_get(m, "sender");
    grid_add(t, sender == NULL ? "?" : json_string_length(sender) == 0 ? "<>" : string(sender));
    grid_add(t, dash(text_of(m, "dest")));
    grid_add(t, dash(text_of(m, "last_reply")));
}

static void dest_row(struct show *s, json_t *d)
{
    struct grid *t = &s->grid;
    char text[64] = "open", wait[24];
    int64_t closed = number_of(d, "closed_for_ms");
    if (closed > 0) {
        text_duration(closed, wait);
        (void)snprintf(text, sizeof(text), "closed %s", wait);
    }
    grid_add(t, text_of(d, "dest"));
    grid_add(t, text);
    add_number(t, number_of(d, "window"));
    add_number(t, number_of(d, "in_hand"));
    add_number(t, number_of(d, "ready"));
    add_number(t, number_of(d, "parked"));
    add_number(t, number_of(d, "delivered"));
    add_number(t, number_of(d, "deferred"));
    grid_add(t, dash(text_of(d, "last_error")));
}

static void source_row(struct show *s, json_t *d)
{
    struct grid *t = &s->grid;
    char text[24];
    grid_add(t, text_of(d, "name"));
    grid_add(t, text_of(d, "type"));
    grid_add(t, dash(text_of(d, "forest")));
    grid_add(t, text_of(d, "state"));
    add_number(t, number_of(d, "entries"));
    add_number(t, number_of(d, "addresses"));
    add_number(t, number_of(d, "vanished"));
    grid_add(t, when(d, "last_complete", text));
    const char *error = text_of(d, "last_error");
    grid_add(t, dash(*error != '\0' ? error : text_of(d, "notice")));
}

static void pending_row(struct show *s, json_t *p)
{
    struct grid *t = &s->grid;
    grid_add(t, text_of(p, "what"));
    grid_add(t, text_of(p, "address"));
    grid_add(t, dash(text_of(p, "from")));
    grid_add(t, dash(text_of(p, "to")));
}

/* ---- one thing ---- */

static void write_queue(json_t *q, struct buf *out)
{
    char size[16];
    text_size((uint64_t)number_of(q, "memory_bytes"), size);
    buf_printf(out,
               "queue      %" PRId64 " messages: %" PRId64 " active, %" PRId64 " waiting, %" PRId64
               " parked, %" PRId64 " held; index %s\n",
               number_of(q, "messages"), number_of(q, "active"), number_of(q, "waiting"),
               number_of(q, "parked"), number_of(q, "held"), size);
}

/* all: also what newer daemons have among the alarms. */
static void write_spool(json_t *p, bool all, struct buf *out)
{
    char living[16], left[16];
    text_size((uint64_t)number_of(p, "bytes_living"), living);
    text_size((uint64_t)number_of(p, "disk_free"), left);
    buf_printf(out,
               "spool      %" PRId64 " messages (%s) in %" PRId64 " segments (%" PRId64
               " free); %s free on disk\n",
               number_of(p, "messages"), living, number_of(p, "segments"),
               number_of(p, "segments_free"), left);
    if (!all)
        return;
    if (json_is_true(json_object_get(p, "full")))
        buf_append_c(out, "           FULL: new mail is refused with 452\n");
    if (number_of(p, "quarantined") > 0)
        buf_printf(out, "           %" PRId64 " damaged messages were set aside\n",
                   number_of(p, "quarantined"));
    if (text_of(p, "last_error")[0] != '\0')
        buf_printf(out, "           last error: %s\n", text_of(p, "last_error"));
}

static void write_directory(json_t *d, bool all, struct buf *out)
{
    json_t *sources = json_object_get(d, "sources"), *s;
    size_t i, current = 0;
    json_array_foreach(sources, i, s)
    {
        current += strcmp(text_of(s, "state"), "current") == 0;
    }
    buf_printf(out, "directory  %zu source%s, %zu current; generation %" PRId64 "\n",
               json_array_size(sources), json_array_size(sources) == 1 ? "" : "s", current,
               number_of(d, "generation"));
    json_array_foreach(sources, i, s)
    {
        if (all && strcmp(text_of(s, "state"), "current") != 0)
            buf_printf(out, "           %s is %s%s%s\n", text_of(s, "name"), text_of(s, "state"),
                       text_of(s, "last_error")[0] != '\0' ? ": " : "", text_of(s, "last_error"));
    }
}

/* What needs a person, before everything else. */
static void write_alarms(json_t *alarms, struct buf *out)
{
    json_t *a;
    size_t i;
    json_array_foreach(alarms, i, a)
    {
        buf_printf(out, "%-10s %s\n", i == 0 ? "ATTENTION" : "", text_of(a, "text"));
        if (text_of(a, "command")[0] != '\0')
            buf_printf(out, "           -> %s\n", text_of(a, "command"));
    }
}

static int show_status(json_t *o, struct buf *out)
{
    char up[24], since[24];
    json_t *r = json_object_get(o, "recovery");
    text_duration(number_of(o, "uptime_ms"), up);
    buf_printf(out,
               "causewayd  %s on %s, process %" PRId64 ", %" PRId64
               " workers\n           up %s, since %s UTC\n",
               text_of(o, "version"), text_of(o, "hostname"), number_of(o, "pid"),
               number_of(o, "workers"), up, when(o, "started", since));
    int64_t failed = number_of(o, "reloads_failed");
    if (failed > 0)
        buf_printf(out, "           %" PRId64 " reload%s failed; the configuration is of %s UTC\n",
                   failed, failed == 1 ? "" : "s",
                   when(o, text_of(o, "reloaded")[0] != '\0' ? "reloaded" : "started", since));
    if (r != NULL && !json_is_true(json_object_get(r, "done")))
        buf_printf(out, "           recovering: %" PRId64 " messages so far\n",
                   number_of(r, "messages"));
    write_alarms(json_object_get(o, "alarms"), out);
    write_queue(json_object_get(o, "queue"), out);
    bool told = json_is_array(json_object_get(o, "alarms"));
    write_spool(json_object_get(o, "spool"), !told, out);
    write_directory(json_object_get(o, "directory"), !told, out);
    const char *key;
    json_t *v;
    json_object_foreach(json_object_get(o, "counters"), key, v)
    {
        buf_printf(out, "%-34s %" PRId64 "\n", key, (int64_t)json_integer_value(v));
    }
    return 0;
}

#define FIELD_INDENT 13

static void write_field(struct buf *out, const char *name, const char *value)
{
    if (value[0] == '\0')
        return;
    buf_printf(out, "%-*s", FIELD_INDENT, name);
    text_wrap(out, value, FIELD_INDENT, TEXT_WIDTH);
}

static void sub_grid(struct show *s, const struct grid_column *c, unsigned n)
{
    grid_free(&s->grid);
    grid_init(&s->grid, c, n, s->grid.width);
}

/* Recipients whose forest does not know them, and who were sent to another that claims them. */
static void write_refusals(json_t *rcpt, struct buf *out)
{
    json_t *r;
    size_t i;
    char text[1500];
    json_array_foreach(rcpt, i, r)
    {
        if (text_of(r, "refused_by")[0] == '\0')
            continue;
        (void)snprintf(text, sizeof(text),
                       "%s was refused as unknown by %s and is tried at %s, which claims it, too",
                       text_of(r, "address"), text_of(r, "refused_by"), dash(text_of(r, "dest")));
        buf_append_char(out, '\n');
        text_wrap(out, text, 0, TEXT_WIDTH);
    }
}

static int show_message(struct show *s, json_t *m, struct buf *out)
{
    char text[128], size[16], a[24], b[24];
    json_t *rcpt = json_object_get(m, "rcpt"), *r;
    size_t i;
    const char *sender = text_of(m, "sender");
    text_size((uint64_t)number_of(m, "size"), size);
    text_duration(number_of(m, "age_ms"), a);
    write_field(out, "message", text_of(m, "id"));
    write_field(out, "state", text_of(m, "state"));
    (void)snprintf(text, sizeof(text), "%s UTC (%s ago)", when(m, "arrival", b), a);
    write_field(out, "arrived", text);
    write_field(out, "sender", sender[0] != '\0' ? sender : "<>");
    buf_printf(out, "%-12s %s%s%s, client %s, HELO %s\n", "from", text_of(m, "origin"),
               text_of(m, "origin_name")[0] != '\0' ? " " : "", text_of(m, "origin_name"),
               dash(text_of(m, "client")), dash(text_of(m, "helo")));
    write_field(out, "size", size);
    (void)snprintf(text, sizeof(text), "%" PRId64, number_of(m, "attempts"));
    write_field(out, "attempts", text);
    if (text_of(m, "next_attempt")[0] != '\0') {
        (void)snprintf(text, sizeof(text), "%s UTC", when(m, "next_attempt", b));
        write_field(out, "next", text);
    }
    buf_append_char(out, '\n');
    sub_grid(s, rcpt_column, ARRAY_LEN(rcpt_column));
    json_array_foreach(rcpt, i, r)
    {
        grid_add(&s->grid, text_of(r, "address"));
        grid_add(&s->grid, text_of(r, "state"));
        grid_add(&s->grid, dash(text_of(r, "dest")));
        grid_add(&s->grid, dash(text_of(r, "last_reply")));
    }
    grid_print(&s->grid, out);
    write_refusals(rcpt, out);
    return 0;
}

static void write_recovering(json_t *o, struct buf *out)
{
    if (json_is_true(json_object_get(o, "recovering")))
        buf_append_c(out, "the spool is still being read after the start: this is about what was "
                          "found so far (see causewayctl status)\n");
}

static void write_unreadable(json_t *o, const char *what, struct buf *out)
{
    int64_t n = number_of(o, "unreadable");
    if (n != 0)
        buf_printf(out, "%" PRId64 " message%s could not be read (the log says why)%s\n", n,
                   n == 1 ? "" : "s", what);
}

/* 1: not everything that was asked for was done. */
static int action_code(json_t *o)
{
    return number_of(o, "unreadable") > 0 || json_array_size(json_object_get(o, "not_found")) > 0 ||
           json_is_true(json_object_get(o, "recovering"));
}

static int show_action(const struct show *s, json_t *o, struct buf *out)
{
    json_t *missing = json_object_get(o, "not_found"), *id;
    size_t i;
    int64_t n = number_of(o, "done"), left = number_of(o, "left");
    buf_printf(out, "%" PRId64 " message%s\n", n, n == 1 ? "" : "s");
    if (left != 0)
        buf_printf(out, "%" PRId64 " %s %s\n", left, left == 1 ? "other is" : "others are",
                   s->command == CONTROL_queue_hold ? "held already"
                   : s->command == CONTROL_queue_release
                       ? "not held"
                       : "held: `causewayctl queue release` tries held mail");
    json_array_foreach(missing, i, id)
    {
        buf_printf(out, "not in the queue: %s\n", string(id));
    }
    write_unreadable(o, " and were left as they are", out);
    write_recovering(o, out);
    return action_code(o);
}

/* ---- what the directory says ---- */

/* "UserMailbox" beside "mailbox" says no more than that. */
static void write_claim(json_t *c, struct buf *out)
{
    char text[512], generation[48] = "", since[24], until[24];
    const char *forest = text_of(c, "forest"), *type = text_of(c, "type");
    if (number_of(c, "generation") > 0)
        (void)snprintf(generation, sizeof(generation), "; generation %" PRId64,
                       number_of(c, "generation"));
    (void)snprintf(text, sizeof(text), "%s%s%s%s %s%s, by %s%s", text_of(c, "kind"),
                   type[0] != '\0' ? " (" : "", type, type[0] != '\0' ? ")" : "",
                   forest[0] != '\0' ? "in forest " : "somewhere", forest,
                   dash(text_of(c, "evidence")), generation);
    buf_printf(out, "\n%s %s\n", json_is_true(json_object_get(c, "best")) ? "*" : " ",
               text_of(c, "source"));
    write_field(out, "  says", text);
    write_field(out, "  primary", text_of(c, "primary"));
    write_field(out, "  routing", text_of(c, "routing"));
    write_field(out, "  target", text_of(c, "target"));
    write_field(out, "  alias", text_of(c, "alias"));
    write_field(out, "  object", text_of(c, "dn"));
    write_field(out, "  uuid", text_of(c, "uuid"));
    if (json_is_true(json_object_get(c, "require_auth")))
        write_field(out, "  closed",
                    "to all but authenticated senders (msExchRequireAuthToSendTo)");
    if (text_of(c, "vanished")[0] != '\0') {
        (void)snprintf(text, sizeof(text), "%s UTC; routed on until %s UTC",
                       when(c, "vanished", since), when(c, "routes_until", until));
        write_field(out, "  vanished", text);
    }
}

static void write_claims(json_t *o, struct buf *out)
{
    json_t *claims = json_object_get(o, "claims"), *c;
    size_t i;
    json_array_foreach(claims, i, c)
    {
        write_claim(c, out);
    }
    if (json_array_size(claims) > 1)
        buf_append_c(out, "\n* decides\n");
}

static int show_explain(json_t *o, struct buf *out)
{
    json_t *reasons = json_object_get(o, "reasons"), *line;
    size_t i;
    char text[64];
    write_field(out, "recipient", text_of(o, "address"));
    if (strcmp(text_of(o, "decision"), "deliver") == 0) {
        write_field(out, "goes to", text_of(o, "dest"));
        write_field(out, "as", text_of(o, "next_address"));
    } else {
        write_field(out, strcmp(text_of(o, "decision"), "refuse") == 0 ? "refused" : "put off",
                    text_of(o, "reply"));
    }
    write_field(out, "rule", text_of(o, "rule"));
    (void)snprintf(text, sizeof(text), "generation %" PRId64, number_of(o, "generation"));
    write_field(out, "directory", text);
    json_array_foreach(reasons, i, line)
    {
        write_field(out, i == 0 ? "because" : "", string(line));
    }
    write_claims(json_object_get(o, "entry"), out);
    return 0;
}

static int show_lookup(json_t *o, struct buf *out)
{
    char text[64];
    write_field(out, "address", text_of(o, "address"));
    write_field(out, "found", text_of(o, "found"));
    write_field(out, "because", text_of(o, "why"));
    write_field(out, "conflict", text_of(o, "conflict"));
    write_field(out, "stale", text_of(o, "stale_source"));
    (void)snprintf(text, sizeof(text), "generation %" PRId64, number_of(o, "generation"));
    write_field(out, "directory", text);
    write_claims(o, out);
    return 0;
}

/* "30 of 100 entries vanish, 2 move" */
static void write_step(json_t *o, struct buf *out)
{
    buf_printf(out, "%" PRId64 " of %" PRId64 " entries vanish, %" PRId64 " move",
               number_of(o, "vanish"), number_of(o, "entries"), number_of(o, "move"));
    if (number_of(o, "drop") > 0)
        buf_printf(out, ", %" PRId64 " drop an address", number_of(o, "drop"));
    if (number_of(o, "appear") + number_of(o, "change") > 0)
        buf_printf(out, "; %" PRId64 " are new, %" PRId64 " change in other ways",
                   number_of(o, "appear"), number_of(o, "change"));
    if (number_of(o, "lately") > 0)
        buf_printf(out, "; %" PRId64 " vanished in the ten minutes before", number_of(o, "lately"));
}

static int show_pending(struct show *s, json_t *o, struct buf *out)
{
    char text[24];
    grid_print(&s->grid, out);
    if (json_is_false(json_object_get(o, "complete")))
        buf_printf(out, "... and more: the first %" PRIu64 " are shown (--limit 0 shows all)\n",
                   s->items);
    buf_append_c(out, s->items > 0 ? "\n" : "");
    write_step(o, out);
    buf_printf(
        out,
        "\nheld since %s UTC; to apply it: causewayctl directory accept %s\n"
        "To refuse it, mend the directory: the source goes on by itself when nothing of this "
        "is left.\n",
        when(o, "since", text), text_of(o, "source"));
    return 0;
}

static int show_accept(json_t *o, struct buf *out)
{
    if (json_is_true(json_object_get(o, "next"))) {
        buf_printf(out, "the next mass change of %s within a day is applied\n",
                   text_of(o, "source"));
        return 0;
    }
    write_step(o, out);
    buf_printf(out,
               json_is_true(json_object_get(o, "applied"))
                   ? "\napplied, with generation %" PRId64 "\n"
                   : "\naccepted, and applied as soon as the source's thread is free "
                     "(generation %" PRId64 " so far)\n",
               number_of(o, "generation"));
    return 0;
}

static int show_reload(json_t *o, struct buf *out)
{
    buf_printf(out, "read %s\n", dash(text_of(o, "configuration")));
    if (text_of(o, "needs_restart")[0] != '\0')
        buf_printf(out, "takes effect only after a restart: %s\n", text_of(o, "needs_restart"));
    return 0;
}

/* ---- JSON ---- */

/* What the items are called in the one value that a program gets. */
static const char *items_name(enum control_command c, json_t *first)
{
    return c == CONTROL_moves               ? show_moves_items(first)
           : c == CONTROL_move              ? "addresses"
           : c == CONTROL_queue_list        ? "messages"
           : c == CONTROL_queue_dests       ? "dests"
           : c == CONTROL_directory_status  ? "sources"
           : c == CONTROL_doctor            ? "findings"
           : c == CONTROL_directory_pending ? "addresses"
                                            : "chunks";
}

static void write_json(json_t *v, struct buf *out)
{
    char *text = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
    buf_append_c(out, text != NULL ? text : "null");
    free(text);
}

static void json_result(struct show *s, json_t *result, struct buf *out)
{
    const char *key;
    json_t *v;
    if (!control_command_info[s->command].streams) {
        write_json(result, out);
        buf_append_char(out, '\n');
        return;
    }
    if (s->items == 0)
        buf_printf(out, "{\"%s\":[", items_name(s->command, NULL));
    buf_append_c(out, s->items == 0 ? "]" : "\n]");
    json_object_foreach(result, key, v)
    {
        buf_printf(out, ",\"%s\":", key);
        write_json(v, out);
    }
    buf_append_c(out, "}\n");
}

static void json_item(struct show *s, json_t *item, struct buf *out)
{
    if (s->items == 0)
        buf_printf(out, "{\"%s\":[\n", items_name(s->command, item));
    else
        buf_append_c(out, ",\n");
    write_json(item, out);
}

/* ---- .eml ---- */

static int digit(char c)
{
    static const char all[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *p = c != '\0' ? strchr(all, c) : NULL;
    return p != NULL ? (int)(p - all) : -1;
}

static void write_base64(const char *z, struct buf *out)
{
    unsigned v = 0, bits = 0;
    for (int d; (d = digit(*z)) >= 0; z++) {
        v = (v << 6 | (unsigned)d) & 0xfff;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            buf_append_char(out, (char)(v >> bits & 0xff));
        }
    }
}

/* ---- entry points ---- */

void show_init(struct show *s, enum control_command c, bool json, unsigned width, int64_t now_ms)
{
    *s = (struct show){.command = c, .json = json, .now_ms = now_ms};
    if (c == CONTROL_queue_dests)
        grid_init(&s->grid, dest_column, ARRAY_LEN(dest_column), width);
    else if (c == CONTROL_directory_status)
        grid_init(&s->grid, source_column, ARRAY_LEN(source_column), width);
    else if (c == CONTROL_directory_pending)
        grid_init(&s->grid, pending_column, ARRAY_LEN(pending_column), width);
    else
        grid_init(&s->grid, message_column, ARRAY_LEN(message_column), width);
}

void show_free(struct show *s)
{
    grid_free(&s->grid);
}

void show_item(struct show *s, json_t *item, struct buf *out)
{
    if (s->json)
        json_item(s, item, out);
    else if (s->command == CONTROL_queue_export)
        write_base64(text_of(item, "data"), out);
    else if (s->command == CONTROL_queue_list)
        message_row(s, item);
    else if (s->command == CONTROL_queue_dests)
        dest_row(s, item);
    else if (s->command == CONTROL_directory_pending)
        pending_row(s, item);
    else if (s->command == CONTROL_doctor)
        show_finding(item, out);
    else if (s->command == CONTROL_move || s->command == CONTROL_moves)
        show_move_item(s, item);
    else
        source_row(s, item);
    s->items++;
    if (s->grid.n_rows >= ROWS_AT_ONCE)
        grid_print(&s->grid, out);
}

static int show_list_end(struct show *s, json_t *result, struct buf *out)
{
    grid_print(&s->grid, out);
    json_t *complete = json_object_get(result, "complete");
    if (s->items == 0 && s->command == CONTROL_queue_list)
        buf_append_c(out, "no such messages in the queue\n");
    else if (json_is_false(complete))
        buf_printf(out, "... and more: the first %" PRIu64 " are shown (--limit 0 shows all)\n",
                   s->items);
    write_unreadable(result, ": a filter by sender or recipient passes them by", out);
    write_recovering(result, out);
    return 0;
}

int show_result(struct show *s, json_t *o, struct buf *out)
{
    if (s->json) {
        json_result(s, o, out);
        if (s->command == CONTROL_doctor)
            return show_doctor_code(o);
        return s->command == CONTROL_queue_list ? 0 : action_code(o);
    }
    switch (s->command) {
    case CONTROL_status:
        return show_status(o, out);
    case CONTROL_queue_list:
    case CONTROL_queue_dests:
    case CONTROL_directory_status:
        return show_list_end(s, o, out);
    case CONTROL_doctor:
        return show_doctor_end(o, out);
    case CONTROL_queue_show:
        return show_message(s, o, out);
    case CONTROL_queue_hold:
    case CONTROL_queue_release:
    case CONTROL_queue_retry:
    case CONTROL_queue_remove:
        return show_action(s, o, out);
    case CONTROL_explain:
        return show_explain(o, out);
    case CONTROL_directory_lookup:
        return show_lookup(o, out);
    case CONTROL_directory_upsert:
        buf_append_c(out, number_of(o, "changed") != 0 ? "done\n" : "as it was\n");
        return 0;
    case CONTROL_directory_delete:
        buf_append_c(out, "deleted\n");
        return 0;
    case CONTROL_directory_load:
        buf_printf(out, "%" PRId64 " recipients, %" PRId64 " of them new or changed\n",
                   number_of(o, "recipients"), number_of(o, "changed"));
        return 0;
    case CONTROL_directory_pending:
        return show_pending(s, o, out);
    case CONTROL_directory_accept:
        return show_accept(o, out);
    case CONTROL_move:
    case CONTROL_undo:
    case CONTROL_moves:
    case CONTROL_set:
    case CONTROL_unset:
        return show_move_result(s, o, out);
    case CONTROL_reload:
        return show_reload(o, out);
    case CONTROL_stop:
        buf_append_c(out, "stopping\n");
        return 0;
    case CONTROL_version:
        buf_printf(out, "causewayd %s, control protocol %" PRId64 "\n", text_of(o, "version"),
                   number_of(o, "protocol"));
        return 0;
    case CONTROL_queue_export:
    case CONTROL_COMMANDS:
        break;
    }
    return 0;
}

void show_refused(struct show *s, struct buf *out)
{
    if (s->json && s->items != 0)
        buf_append_c(out, "\n]}\n");
    else if (!s->json)
        grid_print(&s->grid, out);
}
