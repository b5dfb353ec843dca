/*
 * io_dns_build.h - making DNS replies, for the tests of the parser and of the resolver. Include
 * cmocka.h first.
 */
#ifndef TESTS_UNIT_IO_DNS_BUILD_H
#define TESTS_UNIT_IO_DNS_BUILD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <string.h>

#include "relay/io/dns_int.h"

struct msg {
    unsigned char p[65536];
    size_t n;
};

static inline void put8(struct msg *m, unsigned v)
{
    assert_true(m->n < sizeof(m->p));
    m->p[m->n++] = (unsigned char)v;
}

static inline void put16(struct msg *m, unsigned v)
{
    put8(m, v >> 8);
    put8(m, v & 255);
}

static inline void put32(struct msg *m, uint32_t v)
{
    put16(m, v >> 16);
    put16(m, v & 65535);
}

static inline void put_name(struct msg *m, const char *z)
{
    while (*z != '\0' && strcmp(z, ".") != 0) {
        size_t n = strcspn(z, ".");
        put8(m, (unsigned)n);
        for (size_t i = 0; i < n; i++)
            put8(m, (unsigned char)z[i]);
        z += n;
        z += *z == '.';
    }
    put8(m, 0);
}

static inline void count(struct msg *m, size_t section)
{
    unsigned v = ((unsigned)m->p[section] << 8 | m->p[section + 1]) + 1;
    m->p[section] = (unsigned char)(v >> 8);
    m->p[section + 1] = (unsigned char)v;
}

enum {
    ANSWER = 6,
    AUTHORITY = 8
};

static inline size_t begin_rr(struct msg *m, size_t section, unsigned type, uint32_t ttl)
{
    count(m, section);
    put16(m, 0xc00c); /* the question's name */
    put16(m, type);
    put16(m, 1);
    put32(m, ttl);
    put16(m, 0);
    return m->n;
}

static inline void end_rr(struct msg *m, size_t data)
{
    m->p[data - 2] = (unsigned char)((m->n - data) >> 8);
    m->p[data - 1] = (unsigned char)(m->n - data);
}

static inline void rr_mx(struct msg *m, unsigned pref, const char *name, uint32_t ttl)
{
    size_t at = begin_rr(m, ANSWER, DNS_TYPE_MX, ttl);
    put16(m, pref);
    put_name(m, name);
    end_rr(m, at);
}

static inline void rr_addr(struct msg *m, const char *ip, uint32_t ttl)
{
    unsigned char raw[16];
    bool v6 = strchr(ip, ':') != NULL;
    size_t at = begin_rr(m, ANSWER, v6 ? DNS_TYPE_AAAA : DNS_TYPE_A, ttl);

    assert_int_equal(inet_pton(v6 ? AF_INET6 : AF_INET, ip, raw), 1);
    for (int i = 0; i < (v6 ? 16 : 4); i++)
        put8(m, raw[i]);
    end_rr(m, at);
}

static inline void rr_cname(struct msg *m, const char *name, uint32_t ttl)
{
    size_t at = begin_rr(m, ANSWER, 5, ttl);
    put_name(m, name);
    end_rr(m, at);
}

static inline void rr_soa(struct msg *m, uint32_t ttl, uint32_t minimum)
{
    size_t at = begin_rr(m, AUTHORITY, 6, ttl);
    put_name(m, "ns.example");
    put_name(m, "hostmaster.example");
    for (int i = 0; i < 4; i++)
        put32(m, 1);
    put32(m, minimum);
    end_rr(m, at);
}

static inline void begin_msg(struct msg *m, unsigned rcode, const char *name, unsigned type)
{
    m->n = 0;
    put16(m, 0x1234);
    put16(m, 0x8180 | rcode);
    put16(m, 1);
    put16(m, 0);
    put16(m, 0);
    put16(m, 0);
    put_name(m, name);
    put16(m, type);
    put16(m, 1);
}

#endif
