/*
 * listen.c - making listening sockets: the address as an admin writes it, TCP, Unix.
 *
 * Runs on the main thread at start, as root, before there are other threads (listen_unix() changes
 * the umask for a moment). Failures fill a struct err that names the address.
 */
#include "relay/io/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "relay/io/addr_int.h"

static bool bad_address(struct str text, struct err *e)
{
    return err_set(e, ERR_CONFIG, 0,
                   "\"%.*s\" is no address to listen on; right would be \"192.0.2.1:25\", "
                   "\"[2001:db8::1]:25\" or \"*:25\"",
                   (int)(text.n < 100 ? text.n : 100), text.n != 0 ? text.p : "");
}

static void set_port(struct sockaddr_storage *ss, unsigned port)
{
    in_port_t p = htons((uint16_t)port);

    if (ss->ss_family == AF_INET)
        memcpy((char *)ss + offsetof(struct sockaddr_in, sin_port), &p, sizeof(p));
    else
        memcpy((char *)ss + offsetof(struct sockaddr_in6, sin6_port), &p, sizeof(p));
}

bool listen_parse(struct str text, struct sockaddr_storage *out, socklen_t *len, struct err *e)
{
    long colon = str_rfind(text, ':');
    struct str host;
    uint64_t port;
    bool is_v6;

    if (colon < 0 || !str_to_u64(str_from(text, (size_t)colon + 1), 65535, &port))
        return bad_address(text, e);
    host = str_upto(text, (size_t)colon);
    is_v6 = host.n > 0 && host.p[0] == '[';
    if (str_eq(host, STR("*")))
        host = STR("[::]");
    else if (!is_v6 && str_find(host, ':') >= 0)
        return bad_address(text, e); /* "::1:25" is ambiguous */
    if (!addr_parse_literal(host, out, len) || (is_v6 && out->ss_family != AF_INET6))
        return bad_address(text, e);
    set_port(out, (unsigned)port);
    return true;
}

static bool is_any6(const struct sockaddr *addr)
{
    struct sockaddr_in6 sin6;

    if (addr->sa_family != AF_INET6)
        return false;
    memcpy(&sin6, addr, sizeof(sin6));
    return IN6_IS_ADDR_UNSPECIFIED(&sin6.sin6_addr);
}

static bool set_on(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof(value)) == 0;
}

static int bind_and_listen(const struct sockaddr *addr, socklen_t len, int backlog, bool reuseport)
{
    int fd = socket(addr->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int saved;

    if (fd < 0)
        return -1;
    if (set_on(fd, SOL_SOCKET, SO_REUSEADDR, 1) &&
        (!reuseport || set_on(fd, SOL_SOCKET, SO_REUSEPORT, 1)) &&
        (addr->sa_family != AF_INET6 || set_on(fd, IPPROTO_IPV6, IPV6_V6ONLY, !is_any6(addr))) &&
        bind(fd, addr, len) == 0 && listen(fd, backlog) == 0)
        return fd;
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

int listen_tcp(const struct sockaddr *addr, socklen_t len, int backlog, bool reuseport,
               struct err *e)
{
    char text[ADDR_TEXT_MAX];
    int fd = bind_and_listen(addr, len, backlog, reuseport);

    if (fd < 0 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL) && is_any6(addr)) {
        /* A kernel without IPv6: "*" then means all of IPv4. */
        struct sockaddr_in any = {.sin_family = AF_INET};
        struct sockaddr_in6 sin6;
        memcpy(&sin6, addr, sizeof(sin6));
        any.sin_port = sin6.sin6_port;
        fd = bind_and_listen((struct sockaddr *)&any, sizeof(any), backlog, reuseport);
    }
    if (fd < 0)
        err_set(e, errno == EADDRINUSE ? ERR_BUSY : ERR_SYSTEM, errno, "cannot listen on %s",
                addr_text(addr, len, text));
    return fd;
}

/* ---- Unix ---- */

/* True: nothing is in the way (any more). */
static bool remove_stale(const char *path, const struct sockaddr_un *un, struct err *e)
{
    struct stat st;
    int fd, rc;

    if (lstat(path, &st) != 0)
        return errno == ENOENT || err_set(e, ERR_SYSTEM, errno, "%s", path);
    if (!S_ISSOCK(st.st_mode))
        return err_set(e, ERR_CONFIG, 0, "%s is in the way: it is not a socket", path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set(e, ERR_SYSTEM, errno, "%s", path);
    rc = connect(fd, (const struct sockaddr *)un, sizeof(*un)) == 0 ? 0 : errno;
    close(fd);
    if (rc != ECONNREFUSED && rc != ENOENT) /* EAGAIN: alive, with a full queue */
        return err_set(e, ERR_BUSY, 0, "%s: another process listens there", path);
    if (unlink(path) != 0 && errno != ENOENT)
        return err_set(e, ERR_SYSTEM, errno, "%s: stale socket cannot be removed", path);
    return true;
}

int listen_unix(const char *path, mode_t mode, int backlog, struct err *e)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    mode_t old;
    int fd, rc, saved;

    if (!str_copy(str_c(path), un.sun_path, sizeof(un.sun_path)) || un.sun_path[0] == '\0') {
        err_set(e, ERR_CONFIG, 0, "socket path \"%.120s\" must have 1 to %zu bytes", path,
                sizeof(un.sun_path) - 1);
        return -1;
    }
    if (!remove_stale(path, &un, e))
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        err_set(e, ERR_SYSTEM, errno, "cannot listen on %s", path);
        return -1;
    }
    old = umask(0177); /* nobody may connect before chmod() has said who may */
    rc = bind(fd, (struct sockaddr *)&un, sizeof(un));
    saved = errno;
    umask(old);
    errno = saved;
    if (rc != 0 || chmod(path, mode) != 0 || listen(fd, backlog) != 0) {
        err_set(e, errno == EADDRINUSE ? ERR_BUSY : ERR_SYSTEM, errno, "cannot listen on %s", path);
        close(fd);
        if (rc == 0)
            unlink(path);
        return -1;
    }
    return fd;
}
