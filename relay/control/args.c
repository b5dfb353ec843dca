/*
 * args.c - the arguments of a request against the table: unknown, missing and malformed ones are
 * named with what would be right; the others become struct control_args. Pure.
 */
#include "relay/control/control_int.h"

#include <string.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/mem.h"
#include "base/moment.h"
#include "directory/doctor/doctor.h"
#include "directory/override/override.h"
#include "relay/control/facts.h"
#include "relay/queue/queue.h"
#include "relay/spool/spool.h"
#include "rewrite/address.h"

static const char *type_text(enum control_arg_type t)
{
    static const char *const text[] = {
        [CONTROL_FLAG] = "true or false",
        [CONTROL_COUNT] = "a number from 0 to 4294967295",
        [CONTROL_AGE] = "a number of milliseconds",
        [CONTROL_ID] = "a queue ID, 13 characters like 4JKQ2T9M0B3Z7",
        [CONTROL_IDS] = "an array of 1 to 4096 queue IDs, 13 characters each",
        [CONTROL_ADDRESS] = "an address like user@example.org",
        [CONTROL_SENDER] = "an address, @domain, or nothing for the null sender",
        [CONTROL_NAME] = "a name of letters, digits, - _ and .",
        [CONTROL_DEST] = "a destination like forest:NAME, route:NAME or mx:DOMAIN",
        [CONTROL_STATE] = "active, waiting, parked or held",
        [CONTROL_LINK] = "internet, application, local or forest:NAME",
        [CONTROL_TEXT] = "a text of at most 1100 octets",
        [CONTROL_TEXTS] = "an array of 1 to 1024 texts of at most 1100 octets",
        [CONTROL_KIND] = "mailbox, mail-user, contact or group",
        [CONTROL_CSV] = "the text of rows of CSV with a header",
        [CONTROL_CHECKS] = "an array of names of checks, as causeway-doctor(7) lists them",
        [CONTROL_MOVES] = "an array of 1 to 50000 addresses, or of objects with address and forest",
        [CONTROL_FILE] = "\"addresses\" here; only causewayctl reads files",
        [CONTROL_TIME] = "a moment like 2026-11-21T18:00:00Z",
        [CONTROL_MOVED] = "the number of a wave, or an address like user@example.org",
        [CONTROL_WAVE_STATE] = "pending, active, expired, undone or replaced",
    };
    return text[t];
}

static bool is_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);
        if (!(c >= 'a' && c <= 'z') && !ascii_is_digit(c) && strchr("-_.", c) == NULL)
            return false;
    }
    return s.n > 0 && s.n <= 255;
}

static bool is_address(struct str s)
{
    struct address a;
    return address_parse(s, ADDRESS_ALLOW_UTF8, &a) == ADDRESS_OK;
}

static bool is_sender(struct str s)
{
    if (s.n == 0 || is_address(s))
        return true;
    return s.p[0] == '@' && domain_is_valid(str_from(s, 1), true);
}

static bool is_dest(struct str s)
{
    static const char *const kind[] = {"forest:", "route:", "mx:"};
    for (size_t i = 0; i < ARRAY_LEN(kind); i++) {
        if (str_starts(s, str_c(kind[i])))
            return s.n > strlen(kind[i]) && s.n < 280;
    }
    return false;
}

static bool is_link(struct str s)
{
    if (str_starts(s, STR("forest:")))
        return is_name(str_from(s, 7));
    return str_eq(s, STR("internet")) || str_eq(s, STR("application")) || str_eq(s, STR("local"));
}

static bool is_kind(struct str s)
{
    return str_eq(s, STR("mailbox")) || str_eq(s, STR("mail-user")) || str_eq(s, STR("contact")) ||
           str_eq(s, STR("group"));
}

static bool take_state(struct str s, void *to)
{
    for (int i = QUEUE_ACTIVE; i <= QUEUE_HELD; i++) {
        if (str_eq(s, str_c(queue_msg_state_text((enum queue_msg_state)i)))) {
            *(int *)to = i;
            return true;
        }
    }
    return false;
}

static bool take_wave_state(struct str s, void *to)
{
    for (int i = WAVE_PENDING; i <= WAVE_REPLACED; i++) {
        if (str_eq(s, str_c(wave_state_text((enum wave_state)i)))) {
            *(int *)to = i;
            return true;
        }
    }
    return false;
}

static bool take_time(struct str s, int64_t *to)
{
    return moment_parse(s, clock_wall_ms(), to) && *to > 0; /* 0 is "not said" */
}

static bool is_moved(struct str s)
{
    uint64_t wave;
    return str_to_u64(s, UINT32_MAX - 1, &wave) || is_address(s);
}

static bool take_text(const struct control_arg *a, struct str s, void *to)
{
    bool ok = a->type == CONTROL_ADDRESS  ? is_address(s)
              : a->type == CONTROL_SENDER ? is_sender(s)
              : a->type == CONTROL_NAME   ? is_name(s)
              : a->type == CONTROL_DEST   ? is_dest(s)
              : a->type == CONTROL_TEXT   ? s.n <= CONTROL_TEXT_MAX
              : a->type == CONTROL_KIND   ? is_kind(s)
              : a->type == CONTROL_MOVED  ? is_moved(s)
              : a->type == CONTROL_LINK   ? is_link(s)
                                          : a->type == CONTROL_CSV;
    if (ok)
        *(const char **)to = s.p;
    return ok;
}

static bool take_id(json_t *v, uint64_t *to)
{
    return json_is_string(v) &&
           spool_id_parse(str_n(json_string_value(v), json_string_length(v)), to);
}

static bool take_ids(json_t *v, struct control_args *out)
{
    size_t n = json_array_size(v); /* 0 if it is no array */
    if (n == 0 || n > CONTROL_IDS_MAX)
        return false;
    out->id = mem_array(n, sizeof(*out->id));
    for (size_t i = 0; i < n; i++) {
        if (!take_id(json_array_get(v, i), &out->id[i]))
            return false;
    }
    out->n_id = (unsigned)n;
    return true;
}

static bool take_texts(json_t *v, struct control_args *out)
{
    size_t n = json_array_size(v);
    if (n == 0 || n > CONTROL_TEXTS_MAX)
        return false;
    out->text = mem_array(n, sizeof(*out->text));
    out->n_text = (unsigned)n;
    for (size_t i = 0; i < n; i++) {
        json_t *text = json_array_get(v, i);
        size_t length = json_string_length(text); /* 0 if it is no text */
        out->text[i] = json_string_value(text);
        if (length == 0 || length > CONTROL_TEXT_MAX || strlen(out->text[i]) != length)
            return false;
    }
    return true;
}

static bool take_checks(json_t *v, uint64_t *to)
{
    size_t n = json_array_size(v); /* 0 if it is no array */
    for (size_t i = 0; i < n; i++) {
        json_t *name = json_array_get(v, i);
        int check = json_is_string(name) ? doctor_check_find(str_c(json_string_value(name))) : -1;
        if (check < 0)
            return false;
        *to |= UINT64_C(1) << check;
    }
    return n > 0;
}

/* A text without a NUL inside, which would end the C string early. */
static const char *plain_text(json_t *v)
{
    const char *z = json_string_value(v);
    return z != NULL && strlen(z) == json_string_length(v) ? z : NULL;
}

static bool take_move(json_t *v, struct control_move *out)
{
    json_t *forest = json_object_get(v, "forest");
    out->address = plain_text(json_is_object(v) ? json_object_get(v, "address") : v);
    out->forest = forest != NULL ? plain_text(forest) : "";
    return out->address != NULL && is_address(str_c(out->address)) && out->forest != NULL &&
           (forest == NULL || is_name(str_c(out->forest)));
}

static bool take_moves(json_t *v, struct control_args *out, struct err *e)
{
    size_t n = json_array_size(v);
    if (n == 0 || n > CONTROL_MOVES_MAX)
        return false;
    mem_free(out->move);
    out->move = mem_array(n, sizeof(*out->move));
    out->n_move = (unsigned)n;
    for (size_t i = 0; i < n; i++) {
        if (take_move(json_array_get(v, i), &out->move[i]))
            continue;
        char shown[120] = "";
        if (out->move[i].address != NULL)
            escape_cstr(str_c(out->move[i].address), shown, sizeof(shown));
        return err_set(e, ERR_INPUT, 0,
                       "address %zu, \"%s\", is not one like user@example.org, or its forest is no "
                       "name; nothing was done",
                       i + 1, shown);
    }
    return true;
}

static bool take_number(json_t *v, json_int_t max, json_int_t *n)
{
    if (!json_is_integer(v))
        return false;
    *n = json_integer_value(v);
    return *n >= 0 && *n <= max;
}

/* *e may say more than that the type is not right. */
static bool take(const struct control_arg *a, json_t *v, struct control_args *out, struct err *e)
{
    void *to = (char *)out + a->offset;
    json_int_t n;
    switch (a->type) {
    case CONTROL_FLAG:
        *(bool *)to = json_is_true(v);
        return json_is_boolean(v);
    case CONTROL_COUNT:
        if (!take_number(v, UINT32_MAX, &n))
            return false;
        *(uint32_t *)to = (uint32_t)n;
        out->has_limit = true;
        return true;
    case CONTROL_AGE:
        if (!take_number(v, INT64_MAX / 2, &n))
            return false;
        *(int64_t *)to = n;
        return true;
    case CONTROL_ID:
        out->id = mem_array(1, sizeof(*out->id));
        out->n_id = 1;
        return take_id(v, out->id);
    case CONTROL_IDS:
        return take_ids(v, out);
    case CONTROL_TEXTS:
        return take_texts(v, out);
    case CONTROL_CHECKS:
        return take_checks(v, to);
    case CONTROL_MOVES:
        return take_moves(v, out, e);
    default:
        break;
    }
    struct str s = str_c(plain_text(v));
    return s.p == NULL                     ? false
           : a->type == CONTROL_STATE      ? take_state(s, to)
           : a->type == CONTROL_WAVE_STATE ? take_wave_state(s, to)
           : a->type == CONTROL_TIME       ? take_time(s, to)
                                           : take_text(a, s, to);
}

void control_args_init(struct control_args *out)
{
    *out = (struct control_args){.filter.state = -1,
                                 .address = "",
                                 .from = "",
                                 .link = "",
                                 .forest = "",
                                 .source = "",
                                 .kind = "",
                                 .target = "",
                                 .flag = "",
                                 .routing = "",
                                 .key = "",
                                 .alias = "",
                                 .csv = "",
                                 .domain = "",
                                 .why = "",
                                 .who = "",
                                 .moved = "",
                                 .wave_state = -1,
                                 .for_ms = -1,
                                 .limit = 1000};
}

void control_args_free(struct control_args *out)
{
    mem_free(out->id);
    mem_free(out->text);
    mem_free(out->move);
    out->id = NULL;
    out->text = NULL;
    out->move = NULL;
}

/* Nobody holds or removes everything by forgetting an argument. */
static bool check_selection(enum control_command c, const struct control_args *a, struct err *e)
{
    const char *command = control_command_info[c].name;
    if (control_arg_find(c, STR("addresses")) != NULL && a->n_move == 0)
        return err_set(e, ERR_INPUT, 0, "%s needs addresses", command);
    if (control_arg_find(c, STR("all")) == NULL)
        return true;
    bool filter = !control_filter_is_empty(&a->filter);
    if (a->n_id > 0 && (filter || a->all))
        return err_set(e, ERR_INPUT, 0, "%s takes queue IDs or a filter, not both", command);
    if (a->n_id == 0 && !filter && !a->all)
        return err_set(e, ERR_INPUT, 0, "%s needs queue IDs, a filter, or \"all\"", command);
    return true;
}

bool control_args_read(enum control_command c, json_t *args, struct control_args *out,
                       struct err *e)
{
    const char *key, *command = control_command_info[c].name;
    json_t *value;
    unsigned n;
    control_args_init(out);
    json_object_foreach(args, key, value)
    {
        const struct control_arg *a = control_arg_find(c, str_c(key));
        char shown[80];
        escape_cstr(str_c(key), shown, sizeof(shown));
        if (a == NULL)
            return err_set(e, ERR_INPUT, 0, "%s has no argument \"%s\"", command, shown);
        struct err why = {0};
        if (!take(a, value, out, &why))
            return why.text[0] != '\0' ? err_set(e, ERR_INPUT, 0, "%s: %s", command, why.text)
                                       : err_set(e, ERR_INPUT, 0, "%s: \"%s\" must be %s", command,
                                                 shown, type_text(a->type));
    }
    const struct control_arg *a = control_command_args(c, &n);
    for (unsigned i = 0; i < n; i++) {
        if ((a[i].flags & CONTROL_REQUIRED) && json_object_get(args, a[i].name) == NULL)
            return err_set(e, ERR_INPUT, 0, "%s needs \"%s\": %s", command, a[i].name,
                           type_text(a[i].type));
    }
    return check_selection(c, out, e);
}
