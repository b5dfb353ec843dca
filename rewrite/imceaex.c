/*
 * imceaex.c - see imceaex.h. One pass over the octets, no state, any thread.
 *
 * Decoding is lenient where Exchange is: a `+` without two hex digits behind it is a plus, and what
 * the encoder would never have left as it is stays as it is. What comes out is text of a stranger:
 * control octets are refused here, everything else is for the caller to escape where it is shown.
 */
#include "rewrite/imceaex.h"

static const struct str prefix = STR("IMCEA");

enum imcea_kind imcea_parse(struct str local, struct str *encoded)
{
    *encoded = STR_NULL;
    if (!str_starts_nocase(local, prefix))
        return IMCEA_NONE;
    struct str rest = str_from(local, prefix.n);
    long dash = str_find(rest, '-');
    if (dash < 0)
        return IMCEA_NONE;
    struct str type = str_upto(rest, (size_t)dash);
    *encoded = str_from(rest, (size_t)dash + 1);
    if (str_eq_nocase(type, STR("EX")))
        return IMCEA_EX;
    if (str_eq_nocase(type, STR("SMTP")) || str_eq_nocase(type, STR("X500")))
        return IMCEA_TRICK;
    return IMCEA_NONE;
}

static int hex_value(char c)
{
    c = ascii_lower(c);
    return ascii_is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The octet at the start of s, and how many octets it was written with. */
static unsigned char decode_one(struct str s, size_t *used)
{
    int high = s.n > 2 && s.p[0] == '+' ? hex_value(s.p[1]) : -1;
    int low = high >= 0 ? hex_value(s.p[2]) : -1;
    *used = low >= 0 ? 3 : 1;
    if (low >= 0)
        return (unsigned char)(high << 4 | low);
    return s.p[0] == '_' ? '/' : (unsigned char)s.p[0];
}

bool imcea_decode(struct str encoded, struct buf *out)
{
    size_t start = out->n, used;
    for (; encoded.n != 0; encoded = str_from(encoded, used)) {
        unsigned char c = decode_one(encoded, &used);
        if (c < 32 || c == 127 || !buf_append_char(out, (char)c)) {
            out->n = start;
            return false;
        }
    }
    return out->n > start;
}

static bool stays(unsigned char c)
{
    unsigned char lower = (unsigned char)ascii_lower((char)c);
    return (lower >= 'a' && lower <= 'z') || ascii_is_digit((char)c) || c == '-' || c == '=';
}

bool imcea_encode(struct str address, struct buf *out)
{
    size_t start = out->n;
    for (size_t i = 0; i < address.n; i++) {
        unsigned char c = (unsigned char)address.p[i];
        bool fits = stays(c)   ? buf_append_char(out, (char)c)
                    : c == '/' ? buf_append_char(out, '_')
                               : buf_printf(out, "+%02X", c);
        if (!fits) {
            out->n = start;
            return false;
        }
    }
    return true;
}
