/*
 * addr.c - socket addresses as people write them. Pure but for addr_set_nodelay(); any thread.
 */
#include "relay/io/addr_int.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>

#include "base/assert.h"

static void describe4(const struct in_addr *ip, in_port_t port, struct stream_peer *out)
{
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr = *ip, .sin_port = port};

    memset(&out->addr, 0, sizeof(out->addr));
    memcpy(&out->addr, &sin, sizeof(sin));
    inet_ntop(AF_INET, ip, out->ip, sizeof(out->ip));
    out->port = ntohs(port);
}

void stream_peer_set(struct stream_peer *out, const struct sockaddr *addr, socklen_t len)
{
    memset(out, 0, sizeof(*out));
    if (len > sizeof(out->addr))
        len = sizeof(out->addr);
    memcpy(&out->addr, addr, len);
    if (out->addr.ss_family == AF_INET && len >= sizeof(struct sockaddr_in)) {
        struct sockaddr_in sin;
        memcpy(&sin, &out->addr, sizeof(sin));
        describe4(&sin.sin_addr, sin.sin_port, out);
    } else if (out->addr.ss_family == AF_INET6 && len >= sizeof(struct sockaddr_in6)) {
        struct sockaddr_in6 sin6;
        memcpy(&sin6, &out->addr, sizeof(sin6));
        if (IN6_IS_ADDR_V4MAPPED(&sin6.sin6_addr)) {
            struct in_addr ip;
            memcpy(&ip, &sin6.sin6_addr.s6_addr[12], sizeof(ip));
            describe4(&ip, sin6.sin6_port, out);
            return;
        }
        inet_ntop(AF_INET6, &sin6.sin6_addr, out->ip, sizeof(out->ip));
        out->port = ntohs(sin6.sin6_port);
    } else {
        snprintf(out->ip, sizeof(out->ip), "%s",
                 out->addr.ss_family == AF_UNIX ? "unix" : "unknown");
    }
}

const char *addr_text(const struct sockaddr *addr, socklen_t len, char dst[ADDR_TEXT_MAX])
{
    struct stream_peer p;

    stream_peer_set(&p, addr, len);
    if (p.addr.ss_family == AF_INET6)
        snprintf(dst, ADDR_TEXT_MAX, "[%s]:%u", p.ip, p.port);
    else if (p.addr.ss_family == AF_INET)
        snprintf(dst, ADDR_TEXT_MAX, "%s:%u", p.ip, p.port);
    else
        snprintf(dst, ADDR_TEXT_MAX, "%s", p.ip);
    return dst;
}

bool addr_parse_literal(struct str text, struct sockaddr_storage *out, socklen_t *len)
{
    char z[INET6_ADDRSTRLEN];
    struct sockaddr_in sin = {.sin_family = AF_INET};
    struct sockaddr_in6 sin6 = {.sin6_family = AF_INET6};
    bool brackets = text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']';

    if (brackets)
        text = str_n(text.p + 1, text.n - 2);
    if (text.n == 0 || !str_copy(text, z, sizeof(z)))
        return false;
    memset(out, 0, sizeof(*out));
    if (inet_pton(AF_INET, z, &sin.sin_addr) == 1) {
        memcpy(out, &sin, sizeof(sin));
        *len = sizeof(sin);
        return true;
    }
    if (inet_pton(AF_INET6, z, &sin6.sin6_addr) == 1) {
        memcpy(out, &sin6, sizeof(sin6));
        *len = sizeof(sin6);
        return true;
    }
    return false;
}

void addr_set_nodelay(int fd)
{
    int one = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}
