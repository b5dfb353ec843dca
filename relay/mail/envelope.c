/*
 * envelope.c - the envelope as bytes, in the spool's records. Reading trusts nothing: a checksum
 * says that the bytes are the ones written, not that they make sense. Any thread.
 *
 * Version 1; integers are varints (7 bits an octet, least significant first, shortest form), a
 * string is its length and its octets, of which none is a control octet:
 *
 *   octet   version = 1
 *   varint  arrival_ms
 *   octet   body, ret, flags (bit 0: smtputf8), origin
 *   string  sender, envid, origin_name, client_ip, helo
 *   varint  received_count
 *   varint  n_rcpt, 1 .. ENVELOPE_RCPT_MAX; for each:
 *           string address (not empty), string orcpt, octet notify
 *
 * Nothing may follow. What a reader does not know is an error, never ignored: a new field needs a
 * new version.
 */
#include "relay/mail/envelope.h"

#define VERSION       1
#define FLAG_SMTPUTF8 1
#define STRING_MAX    4096
#define NOTIFY_ALL                                                                                 \
    (MAIL_NOTIFY_NEVER | MAIL_NOTIFY_SUCCESS | MAIL_NOTIFY_FAILURE | MAIL_NOTIFY_DELAY)

static bool put_varint(struct buf *out, uint64_t v)
{
    unsigned char b[10];
    size_t n = 0;
    for (; v >= 128; v >>= 7)
        b[n++] = (unsigned char)(v | 128);
    b[n++] = (unsigned char)v;
    return buf_append(out, b, n);
}

static bool put_octet(struct buf *out, unsigned v)
{
    return buf_append_char(out, (char)v);
}

static bool put_str(struct buf *out, struct str s)
{
    return put_varint(out, s.n) && buf_append_str(out, s);
}

static bool put_all(const struct envelope *env, struct buf *out)
{
    bool ok = put_octet(out, VERSION) && put_varint(out, (uint64_t)env->arrival_ms) &&
              put_octet(out, env->body) && put_octet(out, env->ret) &&
              put_octet(out, env->smtputf8 ? FLAG_SMTPUTF8 : 0) && put_octet(out, env->origin) &&
              put_str(out, env->sender) && put_str(out, env->envid) &&
              put_str(out, env->origin_name) && put_str(out, env->client_ip) &&
              put_str(out, env->helo) && put_varint(out, env->received_count) &&
              put_varint(out, env->n_rcpt);
    for (uint32_t i = 0; ok && i < env->n_rcpt; i++)
        ok = put_str(out, env->rcpt[i].address) && put_str(out, env->rcpt[i].orcpt) &&
             put_octet(out, env->rcpt[i].notify);
    return ok;
}

bool envelope_encode(const struct envelope *env, struct buf *out)
{
    size_t start = out->n;
    if (put_all(env, out))
        return true;
    out->n = start;
    return false;
}

struct reader {
    const unsigned char *p, *end;
};

static bool get_varint(struct reader *r, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    for (unsigned shift = 0; r->p < r->end && shift < 64; shift += 7) {
        unsigned char c = *r->p++;
        if (shift == 63 && c > 1)
            return false;
        v |= (uint64_t)(c & 127) << shift;
        if (c < 128) {
            *out = v;
            return v <= max && (c != 0 || shift == 0);
        }
    }
    return false;
}

static bool get_octet(struct reader *r, unsigned max, unsigned *out)
{
    if (r->p == r->end || *r->p > max)
        return false;
    *out = *r->p++;
    return true;
}

static bool get_str(struct reader *r, struct str *out)
{
    uint64_t n;
    if (!get_varint(r, STRING_MAX, &n) || n > (uint64_t)(r->end - r->p))
        return false;
    *out = str_n((const char *)r->p, n);
    for (const unsigned char *q = r->p; q < r->p + n; q++)
        if (*q < 32 || *q == 127)
            return false;
    r->p += n;
    return true;
}

static bool get_head(struct reader *r, struct envelope *out)
{
    uint64_t arrival, received, n_rcpt;
    unsigned version, body, ret, flags, origin;
    if (!get_octet(r, VERSION, &version) || version != VERSION ||
        !get_varint(r, UINT64_MAX, &arrival) || !get_octet(r, MAIL_BODY_BINARYMIME, &body) ||
        !get_octet(r, MAIL_RET_HDRS, &ret) || !get_octet(r, FLAG_SMTPUTF8, &flags) ||
        !get_octet(r, MAIL_FROM_LOCAL, &origin) || !get_str(r, &out->sender) ||
        !get_str(r, &out->envid) || !get_str(r, &out->origin_name) ||
        !get_str(r, &out->client_ip) || !get_str(r, &out->helo) ||
        !get_varint(r, UINT32_MAX, &received) || !get_varint(r, ENVELOPE_RCPT_MAX, &n_rcpt))
        return false;
    out->arrival_ms = (int64_t)arrival;
    out->body = (enum mail_body)body;
    out->ret = (enum mail_ret)ret;
    out->smtputf8 = (flags & FLAG_SMTPUTF8) != 0;
    out->origin = (enum mail_origin)origin;
    out->received_count = (uint32_t)received;
    out->n_rcpt = (uint32_t)n_rcpt;
    /* Each takes four octets at least: no large array for a small lie. */
    return n_rcpt != 0 && n_rcpt * 4 <= (uint64_t)(r->end - r->p);
}

bool envelope_decode(struct str bytes, struct arena *a, struct envelope *out, struct err *e)
{
    struct reader r = {.p = (const unsigned char *)bytes.p};
    r.end = r.p + bytes.n;
    memset(out, 0, sizeof(*out));
    if (bytes.n == 0 || !get_head(&r, out))
        return err_set(e, ERR_CORRUPT, 0, "envelope: not one that this version can read");
    struct envelope_rcpt *v = arena_alloc(a, out->n_rcpt * sizeof(*v));
    if (v == NULL)
        return err_set(e, ERR_LIMIT, 0, "envelope: no room for %u recipients", out->n_rcpt);
    for (uint32_t i = 0; i < out->n_rcpt; i++)
        if (!get_str(&r, &v[i].address) || v[i].address.n == 0 || !get_str(&r, &v[i].orcpt) ||
            !get_octet(&r, NOTIFY_ALL, &v[i].notify))
            return err_set(e, ERR_CORRUPT, 0, "envelope: recipient %u is damaged", i);
    if (r.p != r.end)
        return err_set(e, ERR_CORRUPT, 0, "envelope: octets behind its end");
    out->rcpt = v;
    return true;
}
