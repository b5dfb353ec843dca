/*
 * doctor_setting.c - what can be wrong beside the entries: with a source itself, and with what an
 * administrator has set by hand.
 */
#include "directory/doctor/doctor_int.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/hash.h"

/* ---- sources ---- */

#define DAY_MS              INT64_C(86400000)
#define CERTIFICATE_WARN_MS (30 * DAY_MS)
#define PASSWORD_WARN_MS    (14 * DAY_MS)

static bool begin_source(struct doctor *d, enum doctor_check c, const struct dir_source_status *s)
{
    if (!doctor_begin(d, c, NULL))
        return false;
    d->finding.source = s->name;
    return true;
}

static void report_state(struct doctor *d, enum doctor_check c, const struct dir_source_status *s,
                         const char *what)
{
    char last[40] = "never";
    if (!begin_source(d, c, s))
        return;
    if (s->last_complete_ms != 0)
        clock_rfc3339(s->last_complete_ms, last, sizeof(last));
    doctor_say(d, "source %s %s", s->name, what);
    doctor_evidence(d, "state %s, last complete %s, %llu entries", dir_source_state_text(s->state),
                    last, (unsigned long long)s->entries);
    if (s->server[0] != '\0')
        doctor_evidence(d, "server %s", doctor_shown(d, str_c(s->server)));
    if (s->last_error[0] != '\0')
        doctor_evidence(d, "%s", doctor_shown(d, str_c(s->last_error)));
    doctor_end(d);
}

static void report_expiry(struct doctor *d, enum doctor_check c, const struct dir_source_status *s,
                          const char *what, int64_t at_ms, int64_t warn_ms)
{
    char at[40];
    if (at_ms == 0 || at_ms > d->o.wall_ms + warn_ms || !begin_source(d, c, s))
        return;
    clock_rfc3339(at_ms, at, sizeof(at));
    doctor_say(d, "%s of source %s %s %s", what, s->name,
               at_ms <= d->o.wall_ms ? "has expired:" : "expires", at);
    doctor_evidence(d, "server %s", doctor_shown(d, str_c(s->server)));
    doctor_end(d);
}

static void report_held(struct doctor *d, const struct dir_source_status *s)
{
    char since[40];
    if (!begin_source(d, DOCTOR_source_held, s))
        return;
    clock_rfc3339(s->held_since_ms, since, sizeof(since));
    doctor_say(d, "source %s holds a mass change back", s->name);
    doctor_evidence(d, "held since %s: of %llu entries %llu would vanish and %llu move", since,
                    (unsigned long long)s->held.entries, (unsigned long long)s->held.vanish,
                    (unsigned long long)s->held.move);
    if (s->last_error[0] != '\0')
        doctor_evidence(d, "%s", doctor_shown(d, str_c(s->last_error)));
    doctor_mend(d, DOCTOR_BY_CAUSEWAYCTL,
                "causewayctl directory pending %s\ncausewayctl directory accept %s", s->name,
                s->name);
    doctor_end(d);
}

static void check_notice(struct doctor *d, const struct dir_source_status *s)
{
    if (s->notice[0] == '\0' || !begin_source(d, DOCTOR_source_notice, s))
        return;
    doctor_say(d, "source %s: %s", s->name, doctor_shown(d, str_c(s->notice)));
    doctor_evidence(d, "server %s", doctor_shown(d, str_c(s->server)));
    doctor_end(d);
}

void doctor_check_source(struct doctor *d, const struct dir_source_status *s)
{
    if (!s->complete_once)
        report_state(d, DOCTOR_source_incomplete, s, "was never read to its end");
    if (s->is_stale || s->state == DIR_SOURCE_STALE)
        report_state(d, DOCTOR_source_stale, s, "is older than its stale_after");
    else if (s->state == DIR_SOURCE_FAILING)
        report_state(d, DOCTOR_source_failing, s, "cannot be read");
    if (s->state == DIR_SOURCE_HELD)
        report_held(d, s);
    check_notice(d, s);
    report_expiry(d, DOCTOR_certificate_expires, s, "the certificate of the server",
                  s->certificate_expires_ms, CERTIFICATE_WARN_MS);
    report_expiry(d, DOCTOR_password_expires, s, "the password of the account",
                  s->password_expires_ms, PASSWORD_WARN_MS);
}

/* ---- overrides ---- */

static int forest_of_source(const struct doctor *d, unsigned slot)
{
    return slot < d->view->n ? doctor_rules(d)->source[d->view->source[slot].index].forest
                             : CONF_NONE;
}

/* Does a directory of the forest itself show the mailbox, or whatever takes the mail? */
static bool is_shown_in(const struct doctor *d, const struct dir_result *r, int forest)
{
    for (unsigned i = 0; i < r->n_claims; i++) {
        const struct dir_claim *c = &r->claim[i];
        bool takes_mail = c->kind == DIR_MAILBOX || c->kind == DIR_GROUP;
        bool is_sent_on = c->target.n != 0 && c->kind != DIR_GROUP;
        if (forest_of_source(d, c->source) == forest && (takes_mail ? !is_sent_on : is_sent_on) &&
            (takes_mail || conf_find_forest(doctor_rules(d)->conf, c->forest) == forest))
            return true;
    }
    return false;
}

static void evidence_of_claims(struct doctor *d, const struct dir_result *r)
{
    for (unsigned i = 0; i < r->n_claims; i++) {
        const struct dir_claim *c = &r->claim[i];
        doctor_evidence(d, "source %s has a %s %s, in %s%s by %s",
                        dir_view_source_name(d->bare, c->source), dir_kind_text(c->kind),
                        doctor_shown(d, c->primary), c->forest.n != 0 ? "forest " : "no forest",
                        doctor_shown(d, c->forest), c->evidence);
    }
    if (r->n_claims == 0)
        doctor_evidence(d, "no source has this address");
}

static void report_override(struct doctor *d, enum doctor_check c, struct str key,
                            struct str forest, const char *what)
{
    if (!doctor_begin(d, c, NULL))
        return;
    d->finding.address = arena_str(&d->texts, key);
    doctor_say(d, "the override of %s to forest %s %s", doctor_shown(d, key),
               doctor_shown(d, forest), what);
    if (c != DOCTOR_override_forest)
        evidence_of_claims(d, &d->bare_result);
    doctor_mend(d, DOCTOR_BY_CAUSEWAYCTL, "causewayctl unset %s", doctor_word(d, key));
    doctor_end(d);
}

void doctor_check_override(struct doctor *d, const struct dir_entry *e)
{
    const struct conf *conf = doctor_rules(d)->conf;
    struct dir_result *r = &d->bare_result;
    char text[ADDRESS_MAX + 1];
    struct str key = e->n_address != 0 ? dir_address_key(&e->address[0], text) : STR_NULL;
    int forest = conf_find_forest(conf, e->flag);
    if (key.n == 0 ||
        (d->o.domain[0] != '\0' && !str_eq_nocase(e->address[0].domain, str_c(d->o.domain))))
        return;
    if (forest == CONF_NONE) {
        report_override(d, DOCTOR_override_forest, key, e->flag,
                        "names one that is not configured");
        return;
    }
    view_lookup(d->bare, key, d->o.now_ms, r);
    if (r->found == DIR_FOUND && conf_find_forest(conf, r->best->forest) == forest)
        report_override(d, DOCTOR_override_unneeded, key, e->flag,
                        "says what the directories say, too");
    else if (doctor_knows_forest(d, forest) && !is_shown_in(d, r, forest))
        report_override(d, DOCTOR_override_contradicts, key, e->flag,
                        "is against that forest's own directory, which does not show the mailbox");
}
