/*
 * gen.c - a small program of the build: prints causewayctl(8) from its template, with the commands
 * of the table in place of the line @COMMANDS@. Not installed.
 */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "relay/ctl/cmdline.h"

int main(int argc, char **argv)
{
    static const char mark[] = "@COMMANDS@\n";
    struct buf in = BUF_INIT(1u << 20), list = BUF_INIT(1u << 20);
    struct err e = {0};
    if (argc != 2 || !file_read_all(argv[1], &in, &e)) {
        (void)fprintf(stderr, "ctl-gen TEMPLATE: %s\n", e.text);
        return 1;
    }
    const char *text = buf_cstr(&in), *at = strstr(text, mark);
    if (at == NULL) {
        (void)fprintf(stderr, "%s has no line @COMMANDS@\n", argv[1]);
        return 1;
    }
    help_write_man(&list);
    int ok = printf("%.*s%s%s", (int)(at - text), text, buf_cstr(&list), at + strlen(mark));
    buf_free(&in);
    buf_free(&list);
    return ok > 0 && fflush(stdout) == 0 ? 0 : 1;
}
