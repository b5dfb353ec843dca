/*
 * gen.c - a small program of the build: prints a manual page or the completion for bash from its
 * template, with lists made from the tables in place of the lines that are marks. Not installed.
 */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "relay/ctl/cmdline.h"

static const struct {
    const char *mark;
    void (*write)(struct buf *out);
} list[] = {
    {"@COMMANDS@", help_write_man},
    {"@CHECKS@", help_write_checks},
    {"@WORDS@", completion_write_words},
    {"@KINDS@", completion_write_kinds},
};
#define LISTS (sizeof(list) / sizeof(list[0]))

/* How many marks there were. */
static unsigned fill(struct str text, struct buf *out)
{
    unsigned marks = 0;
    while (text.n != 0) {
        struct str line = str_split(&text, '\n');
        size_t i = 0;
        while (i < LISTS && !str_eq(line, str_c(list[i].mark)))
            i++;
        if (i < LISTS)
            list[i].write(out);
        else
            buf_printf(out, "%.*s\n", STR_ARG(line));
        marks += i < LISTS;
    }
    return marks;
}

int main(int argc, char **argv)
{
    struct buf in = BUF_INIT(1u << 20), made = BUF_INIT(1u << 20);
    struct err e = {0};
    if (argc != 2 || !file_read_all(argv[1], &in, &e)) {
        (void)fprintf(stderr, "ctl-gen TEMPLATE: %s\n", e.text);
        return 1;
    }
    if (fill(buf_str(&in), &made) == 0) {
        (void)fprintf(stderr, "%s has no line that is a mark, such as @COMMANDS@\n", argv[1]);
        return 1;
    }
    bool ok = fwrite(made.p, 1, made.n, stdout) == made.n && fflush(stdout) == 0;
    buf_free(&in);
    buf_free(&made);
    return ok ? 0 : 1;
}
