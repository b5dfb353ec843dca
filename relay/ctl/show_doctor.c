/*
 * show_doctor.c - the doctor's findings as text: what is wrong with whom, who says what, and the
 * changes that would mend it, one below the other.
 */
#include "relay/ctl/show.h"

#include <inttypes.h>
#include <string.h>

static const char *text_of(json_t *o, const char *key)
{
    const char *z = json_string_value(json_object_get(o, key));
    return z != NULL ? z : "";
}

static int64_t number_of(json_t *o, const char *key)
{
    return json_integer_value(json_object_get(o, key));
}

/* Where and with what a mend is applied. */
static void write_means(json_t *mend, bool first, struct buf *out)
{
    static const struct {
        const char *means, *text;
    } known[] = {{"causewayctl", "by command"},
                 {"ldif", "by ldapmodify at source %s"},
                 {"exchange", "in the Exchange shell of source %s"},
                 {"configuration", "in causeway.conf"},
                 {"by hand", "by hand"}};
    const char *means = text_of(mend, "means"), *source = text_of(mend, "source");
    buf_append_c(out, first ? "    mend " : "    or   ");
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        const char *mark = strstr(known[i].text, "%s");
        if (strcmp(known[i].means, means) != 0)
            continue;
        means = mark == NULL ? known[i].text : source;
        if (mark != NULL)
            buf_append(out, known[i].text, (size_t)(mark - known[i].text));
        break;
    }
    buf_printf(out, "%s:\n", means);
}

/* Each line indented; an LDIF record keeps its lines. */
static void write_lines(const char *text, struct buf *out)
{
    struct str rest = str_c(text);
    while (rest.n != 0) {
        struct str line = str_split(&rest, '\n');
        buf_printf(out, "        %.*s\n", STR_ARG(line));
    }
}

void show_finding(json_t *f, struct buf *out)
{
    json_t *evidence = json_object_get(f, "evidence"), *mends = json_object_get(f, "mend"), *v;
    size_t i;
    const char *address = text_of(f, "address"), *object = text_of(f, "object");
    buf_printf(out, "%s: %s%s%s  [%s]\n", text_of(f, "severity"), text_of(f, "title"),
               address[0] != '\0' ? ": " : "", address, text_of(f, "check"));
    buf_printf(out, "    %s\n", text_of(f, "text"));
    if (object[0] != '\0')
        buf_printf(out, "    object %s in source %s\n", object, text_of(f, "source"));
    json_array_foreach(evidence, i, v)
    {
        const char *line = json_string_value(v);
        buf_printf(out, "    - %s\n", line != NULL ? line : "");
    }
    json_array_foreach(mends, i, v)
    {
        write_means(v, i == 0, out);
        write_lines(text_of(v, "text"), out);
    }
    buf_append_char(out, '\n');
}

int show_doctor_code(json_t *result)
{
    return number_of(result, "to_mend") > 0 ? 1 : 0;
}

int show_doctor_end(json_t *result, struct buf *out)
{
    int64_t found = number_of(result, "found"), shown = number_of(result, "count");
    const char *check;
    json_t *n;
    if (found > shown)
        buf_printf(out, "... and %" PRId64 " more (--limit 0 shows all)\n", found - shown);
    json_object_foreach(json_object_get(result, "checks"), check, n)
    {
        buf_printf(out, "%6" PRId64 " %s\n", (int64_t)json_integer_value(n), check);
    }
    buf_printf(out, "%s in %" PRId64 " entries, looked at in %.1f s\n",
               found == 0 ? "nothing found" : "found", number_of(result, "entries"),
               (double)number_of(result, "ms") / 1000);
    return show_doctor_code(result);
}
