/*
 * filter.c - does a queued message match what a request asks for? First by the queue's index, then,
 * only if sender or recipient are asked for, by the envelope.
 */
#include "relay/control/facts.h"

#include <string.h>

bool control_filter_is_empty(const struct control_filter *f)
{
    return f->dest == NULL && f->state < 0 && f->sender == NULL && f->rcpt == NULL &&
           f->older_ms == 0;
}

bool control_filter_needs_envelope(const struct control_filter *f)
{
    return f->sender != NULL || f->rcpt != NULL;
}

bool control_filter_info(const struct control_filter *f, const struct queue_msg_info *m,
                         int64_t now_ms)
{
    if (f->state >= 0 && f->state != (int)m->state)
        return false;
    return f->older_ms == 0 || now_ms - m->arrival_ms >= f->older_ms;
}

/* "@domain" is everyone there; "" is the null sender and nobody else. */
static bool address_matches(const char *pattern, struct str address)
{
    struct str p = str_c(pattern);
    if (p.n > 0 && p.p[0] == '@')
        return str_ends_nocase(address, p);
    return str_eq_nocase(address, p);
}

bool control_filter_envelope(const struct control_filter *f, const struct envelope *env,
                             const uint32_t *left, unsigned n_left)
{
    if (f->sender != NULL && !address_matches(f->sender, env->sender))
        return false;
    if (f->rcpt == NULL)
        return true;
    unsigned n = left != NULL ? n_left : env->n_rcpt;
    for (unsigned i = 0; i < n; i++) {
        uint32_t index = left != NULL ? left[i] : i;
        if (index < env->n_rcpt && address_matches(f->rcpt, env->rcpt[index].address))
            return true;
    }
    return false;
}
