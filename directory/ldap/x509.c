/*
 * x509.c - see x509.h.
 *
 *   Certificate  SEQUENCE { tbsCertificate SEQUENCE {
 *                    version [0] OPTIONAL, serialNumber INTEGER, signature SEQUENCE,
 *                    issuer SEQUENCE, validity SEQUENCE { notBefore, notAfter }, ... }, ... }
 */
#include "directory/ldap/x509.h"

#include <time.h>

#include "directory/ldap/der.h"

/* Two digits. */
static bool pair(struct str *s, int *out)
{
    if (s->n < 2 || !ascii_is_digit(s->p[0]) || !ascii_is_digit(s->p[1]))
        return false;
    *out = (s->p[0] - '0') * 10 + s->p[1] - '0';
    *s = str_from(*s, 2);
    return true;
}

/* "YYMMDDhhmmssZ", or with four digits of the year. */
static bool read_time(unsigned tag, struct str s, int64_t *wall_ms)
{
    struct tm t = {0};
    int century = 0, year = 0;
    if ((tag != DER_UTC_TIME && tag != DER_GENERAL_TIME) ||
        (tag == DER_GENERAL_TIME && !pair(&s, &century)) || !pair(&s, &year) ||
        !pair(&s, &t.tm_mon) || !pair(&s, &t.tm_mday) || !pair(&s, &t.tm_hour) ||
        !pair(&s, &t.tm_min) || !pair(&s, &t.tm_sec) || !str_eq(s, STR("Z")))
        return false;
    if (tag == DER_UTC_TIME)
        century = year < 50 ? 20 : 19;
    if (t.tm_mon < 1 || t.tm_mon > 12 || t.tm_mday < 1 || t.tm_mday > 31)
        return false;
    t.tm_year = century * 100 + year - 1900;
    t.tm_mon--;
    *wall_ms = (int64_t)timegm(&t) * 1000;
    return true;
}

bool x509_not_after(struct str in, int64_t *wall_ms)
{
    struct str certificate, tbs, part, validity;
    unsigned tag;
    if (!der_take_as(&in, DER_SEQUENCE, &certificate) ||
        !der_take_as(&certificate, DER_SEQUENCE, &tbs))
        return false;
    der_take_as(&tbs, DER_CONTEXT | DER_COMPOUND, &part); /* version */
    return der_take_as(&tbs, DER_INTEGER, &part) && der_take_as(&tbs, DER_SEQUENCE, &part) &&
           der_take_as(&tbs, DER_SEQUENCE, &part) && der_take_as(&tbs, DER_SEQUENCE, &validity) &&
           der_take(&validity, &tag, &part) && der_take(&validity, &tag, &part) &&
           read_time(tag, part, wall_ms);
}
