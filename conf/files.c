/*
 * files.c - the files and folders that options name: are they there, and can they be read?
 *
 * An option's kind of path is told by the function that checks its form (checks.c). When a
 * configuration is loaded its paths are gathered with their places in it. They are looked at later
 * and as often as wanted, because it matters by whom: the daemon is no longer root then.
 *
 * A file that a source needs to log on must be there: without it the source can do nothing. That is
 * an error when the admin looks, and when a reload changes that source; a daemon that starts goes
 * on with what the source said last (daemon.c). A file that is watched may come later. What the
 * daemon makes itself need not be there, but must not be in the way.
 */
#include "conf/load.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"

/* ---- gathering ---- */

static const struct {
    conf_check_fn *check;
    enum conf_file_kind kind;
} kind_of[] = {
    {conf_check_path_read, CONF_FILE_READ},
    {conf_check_path_watched, CONF_FILE_WATCHED},
    {conf_check_path_made, CONF_FILE_MADE},
    {conf_check_path_socket, CONF_FILE_SOCKET},
};

static void add(struct conf_load *l, const struct conf_place *p, enum conf_file_kind kind)
{
    struct conf *c = l->conf;
    const struct conf_section *s = &conf_section[p->option->section];
    const char *path = *(char *const *)(const void *)((const char *)p->base + p->option->offset);
    const char *title = s->titled ? *(char *const *)p->base : "";
    if (path[0] == '\0')
        return;
    c->file = mem_realloc(c->file, (c->n_file + 1) * sizeof(*c->file));
    c->file[c->n_file++] =
        (struct conf_file){.kind = kind,
                           .path = path,
                           .source = p->option->section == CONF_S_source ? p->base : NULL,
                           .where = mem_printf("%s:%d: %s%s%s%s%s%s", l->name, p->line, s->word,
                                               s->titled ? " \"" : "", title, s->titled ? "\"" : "",
                                               s->word[0] != '\0' ? "." : "", p->option->name)};
}

void conf_files_gather(struct conf_load *l)
{
    for (unsigned i = 0; i < l->n_place; i++)
        for (unsigned k = 0; l->place[i].option != NULL && k < ARRAY_LEN(kind_of); k++)
            if (l->place[i].option->check == kind_of[k].check)
                add(l, &l->place[i], kind_of[k].kind);
}

/* ---- looking ---- */

static bool wrong(const struct conf_file *f, struct err *e, const char *what)
{
    return err_set(e, ERR_CONFIG, 0, "%s: %s %s", f->where, f->path, what);
}

static const char *my_name(char dst[40])
{
    const struct passwd *pw = getpwuid(geteuid());
    if (pw != NULL)
        snprintf(dst, 40, "\"%.32s\"", pw->pw_name);
    else
        snprintf(dst, 40, "%u", (unsigned)geteuid());
    return dst;
}

/* 0, or errno. */
static int try_to_read(const char *path, struct stat *st)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    int error = fd < 0 || fstat(fd, st) != 0 ? errno : 0;
    if (fd >= 0)
        close(fd);
    return error;
}

static bool look_read(const struct conf_file *f, bool as_daemon, struct buf *notes, struct err *e)
{
    struct stat st;
    char user[40];
    int error = try_to_read(f->path, &st);
    if (error == EACCES && !as_daemon) {
        buf_printf(notes, "%s: user %s may not look at %s; check again as root\n", f->where,
                   my_name(user), f->path);
        return true;
    }
    if (error == EACCES)
        return err_set(e, ERR_CONFIG, 0,
                       "%s: %s may not be read by user %s; give it to that user or a group of his",
                       f->where, f->path, my_name(user));
    if (error != 0)
        return err_set(e, ERR_CONFIG, 0,
                       "%s: %s cannot be read (%s); make the file, or correct the path", f->where,
                       f->path, strerror(error));
    if (S_ISDIR(st.st_mode))
        return wrong(f, e, "is a folder; name a file in it");
    if (S_ISREG(st.st_mode) && st.st_size == 0)
        return wrong(f, e, "is empty; fill it, or correct the path");
    return true;
}

static bool look_watched(const struct conf_file *f, struct buf *notes, struct err *e)
{
    struct stat st;
    int error = try_to_read(f->path, &st);
    if (error == 0 && S_ISDIR(st.st_mode))
        return wrong(f, e, "is a folder; name a file in it");
    if (error != 0 && notes != NULL)
        buf_printf(notes, "%s: %s cannot be read (%s); until it can, the source knows nobody\n",
                   f->where, f->path, strerror(error));
    return true;
}

/* The nearest part of the path that exists must be a folder: the rest is made. */
static bool look_made(const struct conf_file *f, struct err *e)
{
    struct stat st;
    char *part = str_dup(str_c(f->path)), *slash = strrchr(part, '/');
    if (f->kind == CONF_FILE_SOCKET)
        *slash = '\0';
    while (part[0] != '\0' && stat(part, &st) != 0) {
        slash = strrchr(part, '/');
        *slash = '\0';
    }
    bool ok = part[0] == '\0' || S_ISDIR(st.st_mode);
    if (!ok)
        err_set(e, ERR_CONFIG, 0, "%s: %s is not a folder; correct the path", f->where, part);
    mem_free(part);
    return ok;
}

bool conf_file_look(const struct conf_file *f, bool as_daemon, struct buf *notes, struct err *e)
{
    ASSERT(as_daemon || notes != NULL);
    return f->kind == CONF_FILE_READ      ? look_read(f, as_daemon, notes, e)
           : f->kind == CONF_FILE_WATCHED ? look_watched(f, notes, e)
                                          : look_made(f, e);
}

bool conf_files_look(const struct conf *c, bool as_daemon, struct buf *notes, struct err *e)
{
    for (unsigned i = 0; i < c->n_file; i++)
        if (!conf_file_look(&c->file[i], as_daemon, notes, e))
            return false;
    return true;
}
