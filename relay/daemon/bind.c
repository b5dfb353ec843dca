/*
 * bind.c - the listening sockets, all bound before anything else can go wrong.
 *
 * Every worker gets its own socket on every address (SO_REUSEPORT), and the kernel spreads
 * connections. Port 0 is for tests: the first worker's socket chooses, the others follow.
 */
#include "relay/daemon/bind.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "relay/io/listener.h"

#define BACKLOG 1024

/* With SO_REUSEPORT another daemon of the same user would not be in our way: the two would share
 * the port, and the mail. A socket without it finds out. All are tried before the first of ours is
 * bound: "*:25" for some clients and "10.0.0.1:25" for others are no contradiction, and the kernel
 * gives a connection to the one that fits better. */
static bool are_free(const struct conf *c, struct err *e)
{
    for (unsigned i = 0; i < c->n_listener; i++)
        for (unsigned k = 0; k < c->listener[i].n_address; k++) {
            struct sockaddr_storage addr;
            socklen_t len;
            int fd = -1;
            if (listen_parse(str_c(c->listener[i].address[k]), &addr, &len, e))
                fd = listen_tcp((struct sockaddr *)&addr, len, 1, false, e);
            if (fd < 0)
                return err_wrap(e, "listener \"%s\"", c->listener[i].name);
            close(fd);
        }
    return true;
}

static bool bind_address(const struct conf_listener *l, unsigned index, const char *text,
                         unsigned n_worker, struct worker_socket **out, unsigned *at, struct err *e)
{
    struct sockaddr_storage addr;
    socklen_t len;
    if (!listen_parse(str_c(text), &addr, &len, e))
        return err_wrap(e, "listener \"%s\"", l->name);
    for (unsigned w = 0; w < n_worker; w++) {
        int fd = listen_tcp((struct sockaddr *)&addr, len, BACKLOG, true, e);
        if (fd < 0)
            return err_wrap(e, "listener \"%s\"", l->name);
        out[w][*at] = (struct worker_socket){.listener = index, .fd = fd};
        len = sizeof(addr);
        if (getsockname(fd, (struct sockaddr *)&addr, &len) != 0)
            return err_set(e, ERR_SYSTEM, 0, "listener \"%s\": getsockname", l->name);
    }
    LOG(INFO, NULL, "listening", LC("listener", l->name), LC("address", text),
        LI("port", ntohs(((struct sockaddr_in *)&addr)->sin_port)));
    (*at)++;
    return true;
}

static void close_all(struct worker_socket **s, unsigned n_worker, unsigned n)
{
    for (unsigned w = 0; w < n_worker; w++)
        for (unsigned i = 0; i < n; i++)
            if (s[w][i].fd >= 0)
                close(s[w][i].fd);
}

bool bind_all(const struct conf *c, unsigned n_worker, struct worker_socket ***sockets,
              unsigned *per_worker, struct err *e)
{
    unsigned n = 0, at = 0;
    if (!are_free(c, e))
        return false;
    for (unsigned i = 0; i < c->n_listener; i++)
        n += c->listener[i].n_address;
    struct worker_socket **s = mem_array(n_worker, sizeof(*s));
    for (unsigned w = 0; w < n_worker; w++) {
        s[w] = mem_array(n, sizeof(**s));
        for (unsigned i = 0; i < n; i++)
            s[w][i].fd = -1;
    }
    for (unsigned i = 0; i < c->n_listener; i++) {
        for (unsigned k = 0; k < c->listener[i].n_address; k++) {
            if (!bind_address(&c->listener[i], i, c->listener[i].address[k], n_worker, s, &at, e)) {
                close_all(s, n_worker, n);
                bind_free(s, n_worker);
                return false;
            }
        }
    }
    *sockets = s;
    *per_worker = n;
    return true;
}

void bind_free(struct worker_socket **sockets, unsigned n_worker)
{
    for (unsigned w = 0; w < n_worker; w++)
        mem_free(sockets[w]);
    mem_free(sockets);
}
