/*
 * syncrepl.c - RFC 4533 section 2.
 */
#include "directory/ldap/syncrepl.h"

#include "directory/ldap/der.h"

bool syncrepl_request(struct buf *out, struct str cookie)
{
    size_t n = 3 + (cookie.n != 0 ? der_head_size(cookie.n) + cookie.n : 0);
    static const char mode[] = {DER_ENUM, 1, 3};
    return der_put_head(out, DER_SEQUENCE, n) && buf_append(out, mode, sizeof(mode)) &&
           (cookie.n == 0 || der_put_octets(out, cookie));
}

bool syncrepl_read_state(struct str in, enum syncrepl_state *state, const unsigned char **uuid,
                         struct str *cookie)
{
    struct str body, v;
    if (!der_take_as(&in, DER_SEQUENCE, &body) || in.n != 0 || !der_take_as(&body, DER_ENUM, &v) ||
        v.n != 1 || v.p[0] < 0 || v.p[0] > SYNCREPL_DELETE)
        return false;
    *state = (enum syncrepl_state)v.p[0];
    if (!der_take_as(&body, DER_OCTETS, &v) || v.n != DIR_UUID_SIZE)
        return false;
    *uuid = (const unsigned char *)v.p;
    return der_optional_octets(&body, cookie) && body.n == 0;
}

bool syncrepl_next_uuid(struct str *uuids, const unsigned char **uuid)
{
    struct str v;
    if (!der_take_as(uuids, DER_OCTETS, &v) || v.n != DIR_UUID_SIZE)
        return false;
    *uuid = (const unsigned char *)v.p;
    return true;
}

static bool read_id_set(struct str body, struct syncrepl_info *out)
{
    const unsigned char *uuid;
    if (!der_optional_octets(&body, &out->cookie) ||
        !der_optional_bool(&body, &out->refresh_deletes) ||
        !der_take_as(&body, DER_SET, &out->uuids) || body.n != 0)
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
    if (!der_take(&in, &tag, &body) || in.n != 0)
        return false;
    switch (tag) {
    case DER_CONTEXT | 0:
        out->kind = SYNCREPL_NEW_COOKIE;
        out->cookie = body;
        return true;
    case DER_CONTEXT | DER_COMPOUND | 1:
    case DER_CONTEXT | DER_COMPOUND | 2:
        out->kind = (tag & 3) == 1 ? SYNCREPL_REFRESH_DELETE : SYNCREPL_REFRESH_PRESENT;
        return der_optional_octets(&body, &out->cookie) &&
               der_optional_bool(&body, &out->refresh_done) && body.n == 0;
    case DER_CONTEXT | DER_COMPOUND | 3:
        out->kind = SYNCREPL_ID_SET;
        return read_id_set(body, out);
    default:
        return false;
    }
}
