/*
 * gen.c - a small program of the build: prints the annotated sample or the man page that are made
 * from the table of options, or, for a check that each is used, the members that options fill. Not
 * installed.
 */
#include "conf/options.h"

#include <stdio.h>

static bool write_members(struct buf *out)
{
    for (unsigned i = 0; i < conf_option_count; i++)
        buf_printf(out, "%s.%s %s\n", conf_section[conf_option[i].section].word,
                   conf_option[i].name, conf_option[i].member);
    return true;
}

int main(int argc, char **argv)
{
    struct buf out = BUF_INIT(1 << 20);
    bool ok = false;
    if (argc == 2 && strcmp(argv[1], "sample") == 0)
        ok = conf_write_sample(&out);
    else if (argc == 2 && strcmp(argv[1], "man") == 0)
        ok = conf_write_man(&out);
    else if (argc == 2 && strcmp(argv[1], "members") == 0)
        ok = write_members(&out);
    else
        fprintf(stderr, "usage: conf-gen sample|man|members\n");
    ok = ok && fwrite(out.p, 1, out.n, stdout) == out.n && fflush(stdout) == 0;
    buf_free(&out);
    return ok ? 0 : 1;
}
