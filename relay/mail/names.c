/*
 * names.c - the words for this folder's enums, as logs, tables and the control protocol show them.
 * Static text; any thread.
 */
#include <stdio.h>

#include "base/assert.h"
#include "relay/mail/decision.h"
#include "relay/mail/delivery.h"
#include "relay/mail/envelope.h"

#define NAME_OF(table, i) ((size_t)(i) < ARRAY_LEN(table) ? (table)[i] : "?")

const char *mail_origin_name(enum mail_origin o)
{
    static const char *const name[] = {
        [MAIL_FROM_INTERNET] = "internet",
        [MAIL_FROM_FOREST] = "forest",
        [MAIL_FROM_APPLICATION] = "application",
        [MAIL_FROM_LOCAL] = "local",
    };
    return NAME_OF(name, o);
}

const char *dest_kind_name(enum dest_kind k)
{
    static const char *const name[] = {
        [DEST_FOREST] = "forest",
        [DEST_ROUTE] = "route",
        [DEST_MX] = "mx",
    };
    return NAME_OF(name, k);
}

const char *decision_kind_name(enum decision_kind k)
{
    static const char *const name[] = {
        [DECISION_DELIVER] = "deliver",
        [DECISION_REFUSE] = "refuse",
        [DECISION_DEFER] = "defer",
    };
    return NAME_OF(name, k);
}

const char *outcome_name(enum outcome o)
{
    static const char *const name[] = {
        [OUTCOME_NONE] = "none",         [OUTCOME_DELIVERED] = "delivered",
        [OUTCOME_DEFERRED] = "deferred", [OUTCOME_FAILED] = "failed",
        [OUTCOME_REROUTE] = "reroute",
    };
    return NAME_OF(name, o);
}

const char *dest_verdict_name(enum dest_verdict v)
{
    static const char *const name[] = {
        [DEST_OK] = "ok",
        [DEST_UNREACHABLE] = "unreachable",
        [DEST_BUSY] = "busy",
    };
    return NAME_OF(name, v);
}

void dest_key_print(const struct dest_key *k, char *dst, size_t cap)
{
    snprintf(dst, cap, "%s:%.*s", dest_kind_name(k->kind), STR_ARG(k->name));
}
