/*
 * alarms.c - see alarms.h. Nothing is remembered here: each alarm is read off the state of the
 * module that has it, and is over when that state is.
 */
#include "relay/daemon/alarms.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "relay/control/facts.h"
#include "rewrite/address.h"

static void add(json_t *all, const char *what, const char *about, const char *command,
                const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void add(json_t *all, const char *what, const char *about, const char *command,
                const char *fmt, ...)
{
    char text[600], full[160] = "";
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (command[0] != '\0')
        (void)snprintf(full, sizeof(full), "causewayctl %s%s%s", command, about[0] ? " " : "",
                       about);
    json_t *o = json_object();
    (void)json_object_set_new(o, "what", json_string(what));
    (void)json_object_set_new(o, "about", fact_text(str_c(about)));
    (void)json_object_set_new(o, "text", fact_text(str_c(text)));
    (void)json_object_set_new(o, "command", fact_text(str_c(full)));
    (void)json_array_append_new(all, o);
}

/* ---- the spool, the configuration ---- */

static void spool_alarms(json_t *all, const struct daemon *d)
{
    struct spool_status s;
    struct spool_recovery_stats r;
    bool ok = true;
    spool_status(d->spool, &s);
    if (s.full)
        add(all, "spool-full", "", "", "the spool is full: new mail is refused with 452");
    if (recovery_is_done(d->recovery, &r, &ok) && !ok)
        add(all, "recovery-failed", "", "", "not all of the spool could be read at the start");
    if (s.quarantined != 0)
        add(all, "spool-quarantined", "", "",
            "%" PRIu64 " damaged messages were set aside in the spool's folder \"quarantine\"",
            s.quarantined);
    if (s.last_error[0] != '\0')
        add(all, "spool-error", "", "", "the spool's last error: %s", s.last_error);
}

static void conf_alarms(json_t *all, const struct daemon *d)
{
    const char *domain = daemon_without_source(d->conf);
    if (d->reload_failed)
        add(all, "reload-failed", "", "reload",
            "the last reload was refused: the configuration in use is older than the file");
    if (domain != NULL)
        add(all, "domain-without-source", "", "",
            "no directory source can know the recipients of %s: they get 451", domain);
}

/* ---- the directory ---- */

static void held(json_t *all, const struct dir_source_status *s)
{
    const struct dir_step *n = &s->held;
    add(all, "held", s->name, "directory pending",
        "source %s is held at its last good generation: %" PRIu64 " of %" PRIu64
        " entries would vanish, %" PRIu64 " move and %" PRIu64 " drop addresses",
        s->name, n->vanish + n->lately, n->entries + n->lately, n->move, n->drop);
}

static void source_alarms(json_t *all, const struct dir_source_status *s)
{
    bool failing = s->state == DIR_SOURCE_FAILING ||
                   (s->state != DIR_SOURCE_CURRENT && s->held_since_ms == 0 && s->last_error[0]);
    if (s->held_since_ms != 0)
        held(all, s);
    if (s->is_stale)
        add(all, "stale", s->name, "",
            "source %s is older than its stale_after: recipients that nobody knows get 451%s%s",
            s->name, failing ? "; " : "", failing ? s->last_error : "");
    else if (failing)
        add(all, "failing", s->name, "", "source %s fails: %s; %s", s->name, s->last_error,
            s->complete_once ? "its last complete state is used"
                             : "recipients that nobody knows get 451");
    if (s->notice[0] != '\0')
        add(all, "notice", s->name, "", "source %s: %s", s->name, s->notice);
    if (s->vanished != 0)
        add(all, "vanished", s->name, "",
            "%" PRIu64 " entries have vanished from source %s and route on through their grace "
            "period; `causewayctl doctor` names them",
            s->vanished, s->name);
}

static void directory_alarms(json_t *all, const struct daemon *d)
{
    struct dir_source_status *s = mem_array(CONF_SOURCES_MAX, sizeof(*s));
    unsigned n = directory_status(d->directory, s, CONF_SOURCES_MAX);
    char one[ADDRESS_MAX + 1];
    for (unsigned i = 0; i < n; i++)
        source_alarms(all, &s[i]);
    unsigned conflicts = directory_contested(d->directory, one, sizeof(one));
    if (conflicts != 0)
        add(all, "conflicts", "", "doctor",
            "%u address%s began to be claimed by two forests or two objects, %s%s", conflicts,
            conflicts == 1 ? "" : "es", one, conflicts == 1 ? "" : " among them");
    mem_free(s);
}

json_t *alarms_fact(const struct daemon *d)
{
    json_t *all = json_array();
    spool_alarms(all, d);
    directory_alarms(all, d);
    conf_alarms(all, d);
    return all;
}
