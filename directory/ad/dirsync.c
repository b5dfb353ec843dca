/*
 * dirsync.c - see dirsync.h.
 */
#include "directory/ad/dirsync.h"

#include "directory/ldap/der.h"

bool dirsync_request(struct buf *out, uint32_t flags, uint32_t max_bytes, struct str cookie)
{
    int32_t f = (int32_t)flags, m = max_bytes > INT32_MAX ? INT32_MAX : (int32_t)max_bytes;
    size_t n = der_int_size(f) + der_int_size(m) + der_head_size(cookie.n) + cookie.n;
    return der_put_head(out, DER_SEQUENCE, n) && der_put_int(out, f) && der_put_int(out, m) &&
           der_put_octets(out, cookie);
}

bool dirsync_read_answer(struct str in, struct dirsync_answer *out)
{
    struct str body;
    int32_t more, unused;
    if (!der_take_as(&in, DER_SEQUENCE, &body) || in.n != 0 || !der_take_int(&body, &more) ||
        !der_take_int(&body, &unused) || !der_take_as(&body, DER_OCTETS, &out->cookie))
        return false;
    out->more = more != 0;
    return body.n == 0 && out->cookie.n != 0;
}
