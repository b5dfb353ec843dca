/*
 * main.c - causewayd: command line, then daemon.c. Stays in the foreground; systemd or a shell
 * looks after it.
 *
 * Exit status: 0 stopped as asked (or the check passed), 1 could not start, 2 wrong arguments.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "conf/conf.h"
#include "config.h"
#include "relay/daemon/bind.h"
#include "relay/daemon/daemon.h"

static const char usage[] =
    "Usage: causewayd [-c FILE]\n"
    "       causewayd --check FILE\n"
    "\n"
    "Causeway, an SMTP coexistence relay. Runs in the foreground.\n"
    "\n"
    "  -c, --config FILE   configuration (default " SYSCONFDIR "/causeway/causeway.conf)\n"
    "      --check FILE    read and check a configuration and the files that it names,\n"
    "                      then exit: 0 if it is good\n"
    "      --sample        print an annotated sample configuration and exit\n"
    "  -V, --version       print the version and exit\n"
    "  -h, --help          print this and exit\n"
    "\n"
    "Signals: TERM and INT finish what is in hand and stop; HUP reads the configuration again.\n"
    "See causewayd(8), causeway.conf(5), causewayctl(8).\n";

/* As the daemon's user. A unit starts the daemon as that user, and not as root. */
static bool look_at_group(const struct conf *c, bool as_daemon, struct buf *notes, struct err *e)
{
    gid_t gid;
    const char *group = c->control.socket_group;
    if (group[0] == '\0')
        return true;
    if (!privileges_socket_group(c, &gid, e))
        return false;
    if (as_daemon && !privileges_may_give(gid))
        buf_printf(
            notes,
            "control.socket_group: the daemon's user is not in group \"%s\": unless root "
            "starts the daemon, or its unit has SupplementaryGroups=%s, the group cannot use "
            "causewayctl\n",
            group, group);
    return true;
}

/* Root could read it. The daemon reads it again at each reload, and where a unit starts it as its
 * user, at the start. */
static bool look_at_itself(const struct conf *c, const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set(
            e, ERR_CONFIG, 0,
            "%s: may not be read by user \"%s\" (%s); give it and its folder to a group of "
            "that user (chgrp, chmod g+rX)",
            path, c->user, strerror(errno));
    close(fd);
    return true;
}

/* Files are looked at as the daemon will: not as root. */
static bool look_at_files(const struct conf *c, const char *path, struct buf *notes, struct err *e)
{
    struct err why;
    const struct passwd *user = getpwnam(c->user);
    bool root = geteuid() == 0, its_user = user != NULL && user->pw_uid == geteuid();
    if (root && c->user[0] != '\0' && !privileges_drop(c, &why))
        buf_printf(notes, "files were looked at as root: %s\n", why.text);
    if (c->hostname_is_short)
        buf_printf(notes,
                   "hostname: the system calls itself \"%s\", which other servers may refuse; set "
                   "hostname to the full name that DNS has for it\n",
                   c->hostname);
    return look_at_itself(c, path, e) && look_at_group(c, root || its_user, notes, e) &&
           conf_files_look(c, root || its_user, notes, e);
}

static void print_notes(struct str notes)
{
    while (notes.n != 0) {
        struct str line = str_split(&notes, '\n');
        printf("warning: %.*s\n", STR_ARG(line));
    }
}

static int check(const char *path)
{
    struct err e;
    struct buf notes = BUF_INIT(1 << 20);
    struct conf *c = conf_load(path, &e);
    bool ok = c != NULL && look_at_files(c, path, &notes, &e);
    if (ok) {
        const char *gap = daemon_without_source(c);
        printf("%s: good (%u forests, %u domains, %u listeners, %u directory sources)\n", path,
               c->n_forest, c->n_domain, c->n_listener, c->n_source);
        if (gap != NULL)
            printf("but no source section can know the recipients of %s: all of them will get "
                   "451\n",
                   gap);
        print_notes(buf_str(&notes));
    } else {
        fprintf(stderr, "causewayd: %s\n", e.text);
    }
    buf_free(&notes);
    conf_unref(&c);
    return ok ? 0 : 1;
}

static int sample(void)
{
    struct buf b = BUF_INIT(1 << 20);
    bool ok = conf_write_sample(&b) && fwrite(b.p, 1, b.n, stdout) == b.n;
    buf_free(&b);
    return ok ? 0 : 1;
}

/* SIGHUP, which kills who does not watch for it, waits until the service runs: a reload may be
 * asked for as soon as the process is there. The threads that are made meanwhile never take it. */
static void hold_reload(int how)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(how, &set, NULL);
}

static int serve(const char *path)
{
    struct daemon d;
    struct err e = {0};
    hold_reload(SIG_BLOCK);
    bool ok = daemon_start(&d, path, &e);
    if (ok) {
        hold_reload(SIG_UNBLOCK);
        daemon_run(&d);
        hold_reload(SIG_BLOCK);
    } else {
        fprintf(stderr, "causewayd: %s\n", e.text);
    }
    daemon_close(&d);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    enum {
        OPT_CHECK = 256,
        OPT_SAMPLE
    };
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},  {"check", required_argument, NULL, OPT_CHECK},
        {"sample", no_argument, NULL, OPT_SAMPLE}, {"version", no_argument, NULL, 'V'},
        {"help", no_argument, NULL, 'h'},          {NULL, 0, NULL, 0},
    };
    const char *path = SYSCONFDIR "/causeway/causeway.conf";
    int c;
    while ((c = getopt_long(argc, argv, "c:Vh", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            path = optarg;
            break;
        case OPT_CHECK:
            return check(optarg);
        case OPT_SAMPLE:
            return sample();
        case 'V':
            puts("causewayd " PACKAGE_VERSION);
            return 0;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            fputs("Try 'causewayd --help'.\n", stderr);
            return 2;
        }
    }
    if (optind < argc) {
        fprintf(stderr, "causewayd: unexpected argument \"%s\"\nTry 'causewayd --help'.\n",
                argv[optind]);
        return 2;
    }
    return serve(path);
}
