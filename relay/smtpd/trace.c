/*
 * trace.c - the Received field that we put in front of every message, RFC 5321 4.4.
 *
 * What the client said about itself is reduced to the characters of a host name or literal, so the
 * field can neither end early nor carry another one. Content that would continue it is kept off by
 * data.c.
 */
#include "relay/smtpd/smtpd_int.h"

#include <stdio.h>

#include "base/clock.h"

static void safe_name(const char *src, char *dst, size_t cap)
{
    size_t n = 0;
    for (; src != NULL && *src != '\0' && n + 1 < cap; src++) {
        char c = *src;
        bool ok = ascii_is_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') ||
                  strchr(".-_:[]", c) != NULL;
        dst[n++] = ok ? c : '?';
    }
    dst[n] = '\0';
}

/* The recipient is named only when there is one: others are nobody's business. */
static bool may_name(const struct envelope *env)
{
    if (env->n_rcpt != 1 || env->rcpt[0].address.n > 200)
        return false;
    for (size_t i = 0; i < env->rcpt[0].address.n; i++) {
        unsigned char c = (unsigned char)env->rcpt[0].address.p[i];
        if (c <= ' ' || c >= 127 || strchr("()<>\\\"", c) != NULL)
            return false;
    }
    return true;
}

bool smtpd_trace_field(const struct smtpd_session *s, const struct transaction *t, int64_t wall_ms,
                       char *dst, size_t cap, size_t *n)
{
    char helo[128], date[48];
    safe_name(s->helo, helo, sizeof(helo));
    clock_rfc5322(wall_ms, date, sizeof(date));
    bool six = strchr(s->ip, ':') != NULL;
    int r = snprintf(dst, cap, "Received: from %s ([%s%s])\r\n\tby %s (Causeway) with %s id %s",
                     helo, six ? "IPv6:" : "", s->ip, s->conf->hostname,
                     s->esmtp ? "ESMTP" : "SMTP", t->id_text);
    if (r < 0 || (size_t)r >= cap)
        return false;
    size_t used = (size_t)r;
    if (may_name(&t->env))
        r = snprintf(dst + used, cap - used, "\r\n\tfor <%.*s>; %s\r\n",
                     STR_ARG(t->env.rcpt[0].address), date);
    else
        r = snprintf(dst + used, cap - used, ";\r\n\t%s\r\n", date);
    if (r < 0 || (size_t)r >= cap - used)
        return false;
    *n = used + (size_t)r;
    return true;
}
