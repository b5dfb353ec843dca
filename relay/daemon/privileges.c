/*
 * privileges.c - giving up root. Done once, after the sockets are bound and the spool and state
 * directories belong to the user; there is no way back.
 */
#include "relay/daemon/bind.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

#define GROUPS_MAX 1024

struct identity {
    uid_t uid;
    gid_t gid;
    const char *name;
};

/* False with *wanted set: the user or group does not exist. */
static bool identity_of(const struct conf *c, struct identity *out, bool *wanted, struct err *e)
{
    *wanted = geteuid() == 0 && c->user[0] != '\0';
    if (!*wanted)
        return true;
    const struct passwd *pw = getpwnam(c->user);
    if (pw == NULL)
        return err_set(e, ERR_CONFIG, 0,
                       "user \"%s\" does not exist; create it (useradd --system %s), or set user = "
                       "\"\" to stay root",
                       c->user, c->user);
    *out = (struct identity){.uid = pw->pw_uid, .gid = pw->pw_gid, .name = c->user};
    if (c->group[0] == '\0')
        return true;
    const struct group *gr = getgrnam(c->group);
    if (gr == NULL)
        return err_set(e, ERR_CONFIG, 0, "group \"%s\" does not exist", c->group);
    out->gid = gr->gr_gid;
    return true;
}

bool privileges_own(const struct conf *c, const char *path, struct err *e)
{
    struct identity id;
    bool wanted;
    if (!identity_of(c, &id, &wanted, e))
        return false;
    if (wanted && chown(path, id.uid, id.gid) != 0)
        return err_set(e, ERR_SYSTEM, errno, "cannot give %s to user \"%s\"", path, id.name);
    return true;
}

bool privileges_drop(const struct conf *c, struct err *e)
{
    struct identity id;
    bool wanted;
    if (!identity_of(c, &id, &wanted, e))
        return false;
    if (!wanted) {
        if (geteuid() == 0)
            LOG(WARN, NULL, "running-as-root",
                LC("hint", "set user and group in the configuration"));
        return true;
    }
    if (initgroups(id.name, id.gid) != 0 || setgid(id.gid) != 0 || setuid(id.uid) != 0)
        return err_set(e, ERR_SYSTEM, errno, "cannot become user \"%s\"", id.name);
    if (setuid(0) == 0)
        return err_set(e, ERR_SYSTEM, 0, "root came back after becoming user \"%s\"", id.name);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return true;
}

bool privileges_socket_group(const struct conf *c, gid_t *gid, struct err *e)
{
    const char *name = c->control.socket_group;
    const struct group *g = getgrnam(name);
    if (g == NULL)
        return err_set(e, ERR_CONFIG, 0,
                       "control.socket_group: group \"%s\" does not exist; create it (groupadd "
                       "--system %s), or name another",
                       name, name);
    *gid = g->gr_gid;
    return true;
}

bool privileges_may_give(gid_t gid)
{
    gid_t mine[GROUPS_MAX];
    int n = getgroups(GROUPS_MAX, mine);
    bool may = geteuid() == 0 || getegid() == gid;
    for (int i = 0; i < n && !may; i++)
        may = mine[i] == gid;
    return may;
}
