/*
 * main.c - causewayctl: asks and steers a running causewayd through its control socket, or checks a
 * spool offline. Exit: 0 done, 1 refused or failed, 2 wrong command line; for doctor: 0 nothing to
 * mend, 1 something to mend, 2 all else.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "config.h"
#include "relay/ctl/client.h"
#include "relay/ctl/cmdline.h"
#include "relay/ctl/load.h"
#include "relay/ctl/output.h"
#include "relay/ctl/show.h"
#include "relay/spool/spool.h"

#define OUT_MAX (256u << 20)

static unsigned terminal_width(void)
{
    struct winsize w;
    if (!isatty(STDOUT_FILENO))
        return 0;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_col < 20)
        return 80;
    return w.ws_col;
}

static int complain(const struct err *e)
{
    (void)fprintf(stderr, "causewayctl: %s\n", e->text);
    return 1;
}

struct request {
    struct show show;
    struct buf out; /* the next for `output` */
    struct output *output;
};

static bool take_item(void *arg, json_t *item)
{
    struct request *r = arg;
    show_item(&r->show, item, &r->out);
    return output_put(r->output, &r->out); /* false: nobody reads any more */
}

static int ask(const struct cmdline *c)
{
    struct request r = {.out = BUF_INIT(OUT_MAX), .output = output_new(STDOUT_FILENO)};
    struct err e = {0};
    json_t *result;
    bool refused;
    /* doctor's 1 says that it found something */
    const int failed = c->command == CONTROL_doctor ? 2 : 1;
    int code = failed;
    show_init(&r.show, (enum control_command)c->command, c->json, terminal_width(),
              clock_wall_ms());
    bool ok = c->command == CONTROL_directory_load
                  ? load_send(c, &result, &e)
                  : client_call(c->socket, control_command_info[c->command].name, c->args,
                                take_item, &r, &result, &refused, &e);
    if (ok) {
        code = show_result(&r.show, result, &r.out);
        json_decref(result);
    } else {
        show_refused(&r.show, &r.out); /* what stands in the way, before the word about it */
        (void)output_put(r.output, &r.out);
        (void)output_flush(r.output);
        (void)complain(&e);
    }
    if (!output_put(r.output, &r.out) || !output_flush(r.output))
        code = failed;
    output_free(&r.output);
    show_free(&r.show);
    buf_free(&r.out);
    return code;
}

/* ---- offline ---- */

static void say_line(void *arg, const char *line)
{
    (void)arg;
    (void)puts(line);
}

static void say_nothing(void *arg, const char *line)
{
    (void)arg;
    (void)line;
}

static int verify(const struct cmdline *c)
{
    struct spool_verify_report r = {0};
    struct err e;
    if (!spool_verify(c->dir, c->json ? say_nothing : say_line, NULL, &r, &e))
        return complain(&e);
    const char *format =
        c->json ? "{\"segments\":%" PRIu64 ",\"records\":%" PRIu64 ",\"messages\":%" PRIu64
                  ",\"living\":%" PRIu64 ",\"marks\":%" PRIu64 ",\"bad_records\":%" PRIu64
                  ",\"torn_tails\":%" PRIu64 ",\"orphan_files\":%" PRIu64 "}\n"
                : "%" PRIu64 " segments, %" PRIu64 " records: %" PRIu64 " messages (%" PRIu64
                  " living), %" PRIu64 " marks; %" PRIu64 " bad records, %" PRIu64
                  " torn ends, %" PRIu64 " files that nothing names\n";
    char text[512];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    (void)snprintf(text, sizeof(text), format, r.segments, r.records, r.messages, r.living, r.marks,
                   r.bad_records, r.torn_tails, r.orphan_files);
#pragma GCC diagnostic pop
    (void)fputs(text, stdout);
    return fflush(stdout) == 0 && r.bad_records == 0 ? 0 : 1;
}

static int help(const struct cmdline *c)
{
    struct buf out = BUF_INIT(1u << 20);
    help_write(c->command, &out);
    bool ok = fwrite(out.p, 1, out.n, stdout) == out.n && fflush(stdout) == 0;
    buf_free(&out);
    return ok ? 0 : 1;
}

static int run(const struct cmdline *c)
{
    switch (c->kind) {
    case CMDLINE_HELP:
        return help(c);
    case CMDLINE_VERSION:
        (void)puts("causewayctl " PACKAGE_VERSION);
        return 0;
    case CMDLINE_SPOOL_VERIFY:
        return verify(c);
    case CMDLINE_REQUEST:
        break;
    }
    return ask(c);
}

int main(int argc, char **argv)
{
    struct cmdline c;
    struct err e;
    int code = 2;
    if (cmdline_parse(argc, argv, &c, &e))
        code = run(&c);
    else
        (void)complain(&e);
    cmdline_free(&c);
    return code;
}
