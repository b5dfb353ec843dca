/*
 * gen.c - a small program of the build: prints a manual page from its template, with the commands
 * of the table in place of the line @COMMANDS@, or the doctor's checks in place of @CHECKS@. Not
 * installed.
 */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "relay/ctl/cmdline.h"

static const struct {
    const char *mark;
    void (*write)(struct buf *out);
} list[] = {{"@COMMANDS@\n", help_write_man}, {"@CHECKS@\n", help_write_checks}};

int main(int argc, char **argv)
{
    struct buf in = BUF_INIT(1u << 20), made = BUF_INIT(1u << 20);
    struct err e = {0};
    if (argc != 2 || !file_read_all(argv[1], &in, &e)) {
        (void)fprintf(stderr, "ctl-gen TEMPLATE: %s\n", e.text);
        return 1;
    }
    const char *text = buf_cstr(&in), *at = NULL;
    size_t i = 0;
    while (i < sizeof(list) / sizeof(list[0]) && (at = strstr(text, list[i].mark)) == NULL)
        i++;
    if (at == NULL) {
        (void)fprintf(stderr, "%s has no line @COMMANDS@ or @CHECKS@\n", argv[1]);
        return 1;
    }
    list[i].write(&made);
    int ok = printf("%.*s%s%s", (int)(at - text), text, buf_cstr(&made), at + strlen(list[i].mark));
    buf_free(&in);
    buf_free(&made);
    return ok > 0 && fflush(stdout) == 0 ? 0 : 1;
}
