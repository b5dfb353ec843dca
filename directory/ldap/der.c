/*
 * der.c - see der.h.
 */
#include "directory/ldap/der.h"

/* A length of more than one octet; *n is the first, which says how many follow. *head moves to
 * where the content begins. */
static bool long_length(struct str in, size_t *head, size_t *n)
{
    size_t octets = *n & 0x7f;
    if (octets == 0 || octets > 4 || in.n < 2 + octets)
        return false;
    *n = 0;
    for (; octets != 0; octets--)
        *n = *n << 8 | (unsigned char)in.p[(*head)++];
    return true;
}

/* One element of at least two octets, whatever its tag. */
static inline bool take(struct str *in, struct str *content)
{
    size_t n = (unsigned char)in->p[1], head = 2;
    if ((n >= 0x80 && !long_length(*in, &head, &n)) || n > in->n - head)
        return false;
    *content = str_n(in->p + head, n);
    *in = str_n(in->p + head + n, in->n - head - n);
    return true;
}

bool der_take(struct str *in, unsigned *tag, struct str *content)
{
    if (in->n < 2 || ((unsigned char)in->p[0] & 0x1f) == 0x1f)
        return false; /* long tags are in nothing that we read */
    *tag = (unsigned char)in->p[0];
    return take(in, content);
}

bool der_take_as(struct str *in, unsigned want, struct str *content)
{
    return in->n >= 2 && (unsigned char)in->p[0] == want && take(in, content);
}

bool der_take_int(struct str *in, int32_t *out)
{
    struct str rest = *in, v;
    if (!der_take_as(&rest, DER_INTEGER, &v) || v.n == 0 || v.n > 4)
        return false;
    uint32_t u = (unsigned char)v.p[0] >= 0x80 ? UINT32_MAX : 0;
    for (size_t i = 0; i < v.n; i++)
        u = u << 8 | (unsigned char)v.p[i];
    *out = (int32_t)u;
    *in = rest;
    return true;
}

bool der_optional_bool(struct str *in, bool *out)
{
    struct str v;
    if (!der_take_as(in, DER_BOOLEAN, &v))
        return in->n == 0 || (unsigned char)in->p[0] != DER_BOOLEAN;
    if (v.n != 1)
        return false;
    *out = v.p[0] != 0;
    return true;
}

bool der_optional_octets(struct str *in, struct str *out)
{
    if (der_take_as(in, DER_OCTETS, out))
        return true;
    *out = STR_NULL;
    return in->n == 0 || (unsigned char)in->p[0] != DER_OCTETS;
}

size_t der_head_size(size_t n)
{
    return n >= 0x80 ? 6 : 2;
}

bool der_put_head(struct buf *out, unsigned tag, size_t n)
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

/* Octets of the shortest form: no leading one that only repeats the sign. */
static size_t int_octets(int32_t v)
{
    size_t n = 4;
    for (int32_t half = INT32_C(1) << 23; n > 1 && v >= -half && v < half; half >>= 8)
        n--;
    return n;
}

size_t der_int_size(int32_t v)
{
    return 2 + int_octets(v);
}

bool der_put_int(struct buf *out, int32_t v)
{
    size_t n = int_octets(v);
    if (!der_put_head(out, DER_INTEGER, n))
        return false;
    for (size_t i = n; i-- > 0;)
        if (!buf_append_char(out, (char)((uint32_t)v >> (8 * i))))
            return false;
    return true;
}

bool der_put_octets(struct buf *out, struct str s)
{
    return der_put_head(out, DER_OCTETS, s.n) && buf_append_str(out, s);
}
