/*
 * line.c - one line of the control protocol as a request: {"command": "...", "args": {...},
 * "id": ...}. Pure. Depth and length are bounded before the JSON parser sees a byte.
 */
#include "relay/control/control_int.h"

#include <string.h>

#include "base/escape.h"

static bool depth_is_fine(struct str s)
{
    unsigned depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (quoted) {
            if (c == '\\')
                i++;
            else if (c == '"')
                quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if ((c == '{' || c == '[') && ++depth > CONTROL_DEPTH_MAX) {
            return false;
        } else if ((c == '}' || c == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

static bool nonsense(struct err *e, const char *why)
{
    return err_set(e, ERR_PROTOCOL, 0, "not a request: %s", why);
}

/* The members by themselves: nothing but these three, each of its type. */
static bool members_are_fine(struct control_line *out, const char **command, struct err *e)
{
    const char *key;
    json_t *v;
    if (!json_is_object(out->root))
        return nonsense(e, "no JSON object");
    json_object_foreach(out->root, key, v)
    {
        if (strcmp(key, "command") == 0 && json_is_string(v))
            *command = json_string_value(v);
        else if (strcmp(key, "args") == 0 && json_is_object(v))
            out->args = v;
        else if (strcmp(key, "id") == 0 && (json_is_string(v) || json_is_integer(v)))
            out->tag = v;
        else
            return nonsense(e,
                            "only \"command\" (text), \"args\" (object) and \"id\" belong there");
    }
    return *command != NULL || nonsense(e, "no \"command\"");
}

enum control_parse control_line_parse(struct str line, struct control_line *out, struct err *e)
{
    const char *command = NULL;
    json_error_t je;
    *out = (struct control_line){0};
    if (line.n >= CONTROL_LINE_MAX || !depth_is_fine(line)) {
        (void)nonsense(e, "too long or nested too deep");
        return CONTROL_PARSE_NONSENSE;
    }
    out->root = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES, &je);
    if (out->root == NULL) {
        char shown[160];
        escape_cstr(str_c(je.text), shown, sizeof(shown));
        (void)nonsense(e, shown);
        return CONTROL_PARSE_NONSENSE;
    }
    if (!members_are_fine(out, &command, e))
        return CONTROL_PARSE_NONSENSE;
    int c = control_command_find(str_c(command));
    if (c < 0) {
        char shown[80];
        const char *like = control_command_like(str_c(command));
        escape_cstr(str_c(command), shown, sizeof(shown));
        (void)err_set(e, ERR_INPUT, 0, "no command \"%s\"%s%s%s", shown,
                      like != NULL ? "; did you mean \"" : "", like != NULL ? like : "",
                      like != NULL ? "\"?" : "");
        return CONTROL_PARSE_COMMAND;
    }
    out->command = (enum control_command)c;
    return CONTROL_PARSE_OK;
}
