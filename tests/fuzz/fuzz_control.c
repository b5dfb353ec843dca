/*
 * fuzz_control.c - request lines of the control socket: parsed, their arguments checked, and what
 * is made of them read again. Lines are split as the server does.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "relay/control/control_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static size_t touch(const char *z)
{
    return z != NULL ? strlen(z) : 0;
}

static void one_line(struct str text)
{
    struct control_line line;
    struct control_args a;
    struct err e = {0};
    enum control_parse p = control_line_parse(text, &line, &e);
    if (p == CONTROL_PARSE_OK) {
        bool ok = control_args_read(line.command, line.args, &a, &e);
        ASSERT(ok || e.text[0] != '\0');
        ASSERT(!ok || touch(a.address) + touch(a.from) + touch(a.link) + touch(a.forest) +
                              touch(a.filter.dest) + touch(a.filter.sender) + touch(a.filter.rcpt) <
                          CONTROL_LINE_MAX);
        ASSERT(a.n_id <= CONTROL_IDS_MAX);
        control_args_free(&a);
    } else {
        ASSERT(e.text[0] != '\0');
    }
    json_decref(line.root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str rest = str_n((const char *)data, n);
    while (rest.n > 0)
        one_line(str_split(&rest, '\n'));
    return 0;
}
