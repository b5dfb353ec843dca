/*
 * syncrepl.c - RFC 4533 section 2 in BER. Every length is checked against what encloses it; nothing
 * is allocated.
 */
#include "directory/syncrepl.h"

#define BER_BOOLEAN  0x01
#define BER_OCTETS   0x04
#define BER_ENUM     0x0a
#define BER_SEQUENCE 0x30
#define BER_SET      0x31
#define BER_CONTEXT  0x80
#define BER_COMPOUND 0x20

/* Takes one element off *in. */
static bool ber_take(struct str *in, unsigned *tag, struct str *content)
{
    if (in->n < 2 || ((unsigned char)in->p[0] & 0x1f) == 0x1f)
        return false; /* long tags are in none of these messages */
    size_t n = (unsigned char)in->p[1], head = 2;
    if (n >= 0x80) {
        size_t octets = n & 0x7f;
        if (octets == 0 || octets > 4 || in->n < 2 + octets)
            return false;
        n = 0;
        for (; octets != 0; octets--)
            n = n << 8 | (unsigned char)in->p[head++];
    }
    if (n > in->n - head)
        return false;
    *tag = (unsigned char)in->p[0];
    *content = str_n(in->p + head, n);
    *in = str_from(*in, head + n);
    return true;
}

static bool ber_take_as(struct str *in, unsigned want, struct str *content)
{
    unsigned tag;
    struct str rest = *in;
    if (!ber_take(&rest, &tag, content) || tag != want)
        return false;
    *in = rest;
    return true;
}

/* OPTIONAL and DEFAULT: absent leaves *out as it is. False: there, and wrong. */
static bool ber_optional_bool(struct str *in, bool *out)
{
    struct str v;
    if (!ber_take_as(in, BER_BOOLEAN, &v))
        return in->n == 0 || (unsigned char)in->p[0] != BER_BOOLEAN;
    if (v.n != 1)
        return false;
    *out = v.p[0] != 0;
    return true;
}

static bool ber_optional_octets(struct str *in, struct str *out)
{
    if (ber_take_as(in, BER_OCTETS, out))
        return true;
    *out = STR_NULL;
    return in->n == 0 || (unsigned char)in->p[0] != BER_OCTETS;
}

static bool put_head(struct buf *out, unsigned tag, size_t n)
{
    unsigned char h[6] = {(unsigned char)tag};
    size_t at = 1;
    if (n >= 0x80) {
        h[at++] = 0x84;
        for (int shift = 24; shift > 0; shift -= 8)
            h[at++] = (unsigned char)(n >> shift);
    }
    h[at++] = (unsigned char)n;
    return buf_append(out, h, at);
}

bool syncrepl_request(struct buf *out, struct str cookie)
{
    size_t head = cookie.n >= 0x80 ? 6 : 2;
    size_t n = 3 + (cookie.n != 0 ? head + cookie.n : 0);
    static const char mode[] = {BER_ENUM, 1, 3};
    return put_head(out, BER_SEQUENCE, n) && buf_append(out, mode, sizeof(mode)) &&
           (cookie.n == 0 || (put_head(out, BER_OCTETS, cookie.n) && buf_append_str(out, cookie)));
}

bool syncrepl_read_state(struct str in, enum syncrepl_state *state, const unsigned char **uuid,
                         struct str *cookie)
{
    struct str body, v;
    if (!ber_take_as(&in, BER_SEQUENCE, &body) || in.n != 0 || !ber_take_as(&body, BER_ENUM, &v) ||
        v.n != 1 || v.p[0] < 0 || v.p[0] > SYNCREPL_DELETE)
        return false;
    *state = (enum syncrepl_state)v.p[0];
    if (!ber_take_as(&body, BER_OCTETS, &v) || v.n != DIR_UUID_SIZE)
        return false;
    *uuid = (const unsigned char *)v.p;
    return ber_optional_octets(&body, cookie) && body.n == 0;
}

bool syncrepl_next_uuid(struct str *uuids, const unsigned char **uuid)
{
    struct str v;
    if (!ber_take_as(uuids, BER_OCTETS, &v) || v.n != DIR_UUID_SIZE)
        return false;
    *uuid = (const unsigned char *)v.p;
    return true;
}

static bool read_id_set(struct str body, struct syncrepl_info *out)
{
    const unsigned char *uuid;
    if (!ber_optional_octets(&body, &out->cookie) ||
        !ber_optional_bool(&body, &out->refresh_deletes) ||
        !ber_take_as(&body, BER_SET, &out->uuids) || body.n != 0)
        return false;
    struct str all = out->uuids;
    while (all.n != 0)
        if (!syncrepl_next_uuid(&all, &uuid))
            return false;
    return true;
}

bool syncrepl_read_info(struct str in, struct syncrepl_info *out)
{
    unsigned tag;
    struct str body;
    *out = (struct syncrepl_info){.refresh_done = true};
    if (!ber_take(&in, &tag, &body) || in.n != 0)
        return false;
    switch (tag) {
    case BER_CONTEXT | 0:
        out->kind = SYNCREPL_NEW_COOKIE;
        out->cookie = body;
        return true;
    case BER_CONTEXT | BER_COMPOUND | 1:
    case BER_CONTEXT | BER_COMPOUND | 2:
        out->kind = (tag & 3) == 1 ? SYNCREPL_REFRESH_DELETE : SYNCREPL_REFRESH_PRESENT;
        return ber_optional_octets(&body, &out->cookie) &&
               ber_optional_bool(&body, &out->refresh_done) && body.n == 0;
    case BER_CONTEXT | BER_COMPOUND | 3:
        out->kind = SYNCREPL_ID_SET;
        return read_id_set(body, out);
    default:
        return false;
    }
}
