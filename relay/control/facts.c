/*
 * facts.c - values of other modules as JSON. See facts.h for the shapes; doc/control-protocol.md
 * describes them for the outside.
 */
#include "relay/control/facts.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/stats.h"
#include "directory/map.h"
#include "directory/recipient_type.h"

#define TEXT_MAX 4096

static json_t *integer(uint64_t n)
{
    return json_integer((json_int_t)n);
}

static void put(json_t *o, const char *key, json_t *value)
{
    (void)json_object_set_new(o, key, value);
}

static void put_cstr(json_t *o, const char *key, const char *z)
{
    put(o, key, fact_text(str_c(z)));
}

json_t *fact_text(struct str s)
{
    struct buf b = BUF_INIT(TEXT_MAX + 16);
    (void)escape_append(&b, s, TEXT_MAX);
    json_t *j = json_stringn(b.n != 0 ? b.p : "", b.n);
    buf_free(&b);
    return j;
}

json_t *fact_time(int64_t wall_ms)
{
    char text[32] = "";
    if (wall_ms != 0)
        clock_rfc3339(wall_ms, text, sizeof(text));
    return json_string(text);
}

/* ---- queue ---- */

json_t *fact_message(const struct queue_msg_info *m, const struct envelope *env, int64_t now_ms)
{
    char id[14];
    json_t *o = json_object();
    spool_id_text(m->id, id);
    put(o, "id", json_string(id));
    put(o, "state", json_string(queue_msg_state_text(m->state)));
    put(o, "arrival", fact_time(m->arrival_ms));
    put(o, "age_ms", json_integer(now_ms > m->arrival_ms ? now_ms - m->arrival_ms : 0));
    put(o, "next_attempt", fact_time(m->next_attempt_ms));
    put(o, "attempts", integer(m->attempts));
    put(o, "recipients", integer(m->n_rcpt));
    put(o, "recipients_left", integer(m->n_rcpt_left));
    put(o, "size", integer(m->size));
    put_cstr(o, "dest", m->dest);
    put_cstr(o, "last_reply", m->last_reply != NULL ? m->last_reply : "");
    if (env != NULL)
        put(o, "sender", fact_text(env->sender));
    return o;
}

static const struct queue_rcpt_info *find_left(const struct queue_rcpt_info *left, unsigned n,
                                               uint32_t index)
{
    unsigned low = 0;
    while (low < n) {
        unsigned mid = low + (n - low) / 2;
        if (left[mid].index == index)
            return &left[mid];
        if (left[mid].index < index)
            low = mid + 1;
        else
            n = mid;
    }
    return NULL;
}

void fact_message_rcpts(json_t *message, const struct envelope *env,
                        const struct queue_rcpt_info *left, unsigned n_left)
{
    json_t *all = json_array();
    put(message, "sender", fact_text(env->sender));
    put(message, "origin", json_string(mail_origin_name(env->origin)));
    put(message, "origin_name", fact_text(env->origin_name));
    put(message, "client", fact_text(env->client_ip));
    put(message, "helo", fact_text(env->helo));
    put(message, "smtputf8", json_boolean(env->smtputf8));
    for (uint32_t i = 0; i < env->n_rcpt; i++) {
        const struct queue_rcpt_info *r = find_left(left, n_left, i);
        json_t *o = json_object();
        put(o, "address", fact_text(env->rcpt[i].address));
        put_cstr(o, "state", r != NULL ? r->state : "done");
        put_cstr(o, "dest", r != NULL ? r->dest : "");
        put_cstr(o, "refused_by", r != NULL ? r->refused : "");
        put_cstr(o, "last_reply", r != NULL ? r->last_reply : "");
        (void)json_array_append_new(all, o);
    }
    put(message, "rcpt", all);
}

json_t *fact_queue(const struct queue_status *s)
{
    json_t *o = json_object();
    put(o, "messages", integer(s->messages));
    put(o, "active", integer(s->active));
    put(o, "waiting", integer(s->waiting));
    put(o, "parked", integer(s->parked));
    put(o, "held", integer(s->held));
    put(o, "memory_bytes", integer(s->memory_bytes));
    return o;
}

void fact_queue_add(struct queue_status *sum, const struct queue_status *s)
{
    sum->messages += s->messages;
    sum->active += s->active;
    sum->waiting += s->waiting;
    sum->parked += s->parked;
    sum->held += s->held;
    sum->memory_bytes += s->memory_bytes;
}

json_t *fact_dest(const struct queue_dest_info *d, const char *hosts)
{
    json_t *o = json_object();
    put_cstr(o, "dest", d->dest);
    put(o, "window", integer(d->window));
    put(o, "in_hand", integer(d->in_hand));
    put(o, "ready", integer(d->ready));
    put(o, "parked", integer(d->parked));
    put(o, "delivered", integer(d->delivered));
    put(o, "deferred", integer(d->deferred));
    put(o, "closed_for_ms", json_integer(d->closed_for_ms));
    put_cstr(o, "last_error", d->last_error);
    put_cstr(o, "hosts", hosts);
    return o;
}

void fact_dest_add(struct queue_dest_info *sum, const struct queue_dest_info *d)
{
    memcpy(sum->dest, d->dest, sizeof(sum->dest));
    sum->window += d->window;
    sum->in_hand += d->in_hand;
    sum->ready += d->ready;
    sum->parked += d->parked;
    sum->delivered += d->delivered;
    sum->deferred += d->deferred;
    /* Each worker finds out by itself; the longest is shown. */
    if (sum->closed_for_ms < d->closed_for_ms)
        sum->closed_for_ms = d->closed_for_ms;
    if (d->last_error[0] != '\0')
        memcpy(sum->last_error, d->last_error, sizeof(sum->last_error));
}

/* ---- spool, directory, decisions ---- */

json_t *fact_spool(const struct spool_status *s)
{
    json_t *o = json_object();
    put(o, "messages", integer(s->messages));
    put(o, "segments", integer(s->segments));
    put(o, "segments_free", integer(s->segments_free));
    put(o, "bytes_living", integer(s->bytes_living));
    put(o, "disk_free", integer(s->disk_free));
    put(o, "syncs", integer(s->syncs));
    put(o, "appended", integer(s->appended));
    put(o, "quarantined", integer(s->quarantined));
    put(o, "full", json_boolean(s->full));
    put_cstr(o, "last_error", s->last_error);
    return o;
}

json_t *fact_source(const struct dir_source_status *s)
{
    json_t *o = json_object();
    put_cstr(o, "name", s->name);
    put_cstr(o, "type", s->type);
    put_cstr(o, "forest", s->forest);
    put_cstr(o, "state", dir_source_state_text(s->state));
    put(o, "entries", integer(s->entries));
    put(o, "addresses", integer(s->addresses));
    put(o, "generation", integer(s->generation));
    put(o, "last_complete", fact_time(s->last_complete_ms));
    put(o, "last_change", fact_time(s->last_change_ms));
    put(o, "complete_once", json_boolean(s->complete_once));
    put(o, "stale", json_boolean(s->is_stale));
    put(o, "vanished", integer(s->vanished));
    put(o, "conflicts", integer(s->conflicts));
    put(o, "snapshot_bytes", integer(s->snapshot_bytes));
    put(o, "overlay_entries", integer(s->overlay_entries));
    put_cstr(o, "server", s->server);
    put_cstr(o, "method", s->method);
    put(o, "certificate_expires", fact_time(s->certificate_expires_ms));
    put(o, "password_expires", fact_time(s->password_expires_ms));
    put_cstr(o, "notice", s->notice);
    put_cstr(o, "last_error", s->last_error);
    if (s->accepts_next)
        put(o, "accepts_next", json_true());
    if (s->held_since_ms != 0) {
        json_t *held = fact_step(&s->held);
        put(held, "since", fact_time(s->held_since_ms));
        put(o, "held", held);
    }
    return o;
}

json_t *fact_step(const struct dir_step *n)
{
    json_t *o = json_object();
    put(o, "vanish", integer(n->vanish));
    put(o, "move", integer(n->move));
    put(o, "drop", integer(n->drop));
    put(o, "appear", integer(n->appear));
    put(o, "change", integer(n->change));
    put(o, "lately", integer(n->lately));
    put(o, "entries", integer(n->entries));
    return o;
}

json_t *fact_pending(const struct dir_pending_item *i)
{
    static const char *const what[] = {[DIR_PENDING_VANISHES] = "vanishes",
                                       [DIR_PENDING_MOVES] = "moves",
                                       [DIR_PENDING_DROPS] = "drops"};
    json_t *o = json_object();
    put(o, "address", fact_text(i->address));
    put_cstr(o, "what", what[i->what]);
    put(o, "from", fact_text(i->from));
    put(o, "to", fact_text(i->to));
    return o;
}

static uint64_t generation_of(const char *source, const struct dir_source_status *v, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (strcmp(v[i].name, source) == 0)
            return v[i].generation;
    return 0;
}

static json_t *claim(const struct dir_claim *c, const char *source, uint64_t generation, bool best)
{
    char dn[DIR_DN_MAX], uuid[MAP_UUID_TEXT] = "";
    json_t *o = json_object();
    if (c->uuid != NULL)
        map_uuid_text(c->uuid, uuid);
    put_cstr(o, "source", source);
    put(o, "generation", integer(generation));
    put_cstr(o, "kind", dir_kind_text(c->kind));
    put_cstr(o, "type", recipient_type_text(c->recipient_type));
    put(o, "forest", fact_text(c->forest));
    put_cstr(o, "evidence", c->evidence != NULL ? c->evidence : "");
    put(o, "primary", fact_text(c->primary));
    put(o, "routing", fact_text(c->routing));
    put(o, "target", fact_text(c->target));
    put(o, "alias", fact_text(c->alias));
    put(o, "dn", fact_text(dir_claim_dn(c, dn)));
    put_cstr(o, "uuid", uuid);
    put(o, "require_auth", json_boolean(c->require_auth));
    put(o, "best", json_boolean(best));
    if (c->vanished_ms != 0) {
        put(o, "vanished", fact_time(c->vanished_ms));
        put(o, "routes_until", fact_time(c->routes_until_ms));
    }
    return o;
}

json_t *fact_lookup(struct str address, const struct dir_view *v, const struct dir_result *r,
                    const struct dir_source_status *sources, unsigned n)
{
    static const char *const found[] = {
        [DIR_FOUND] = "found",
        [DIR_NOT_FOUND] = "not-found",
        [DIR_NOT_FOUND_YET] = "not-known-yet",
        [DIR_CONFLICT] = "conflict",
        [DIR_AMBIGUOUS] = "ambiguous",
    };
    json_t *o = json_object(), *claims = json_array();
    put(o, "address", fact_text(address));
    put_cstr(o, "found", found[r->found]);
    put_cstr(o, "why", r->why != NULL ? r->why : "");
    put_cstr(o, "conflict", r->conflict != NULL ? r->conflict : "");
    put_cstr(o, "stale_source", r->stale_source != NULL ? r->stale_source : "");
    put(o, "generation", integer(dir_view_generation(v)));
    for (unsigned i = 0; i < r->n_claims; i++) {
        const struct dir_claim *c = &r->claim[i];
        const char *source =
            c->source == DIR_SOURCE_OVERRIDES ? "override" : dir_view_source_name(v, c->source);
        (void)json_array_append_new(
            claims, claim(c, source, generation_of(source, sources, n), r->best == c));
    }
    put(o, "claims", claims);
    return o;
}

json_t *fact_decision(struct str address, const struct decision *d, const struct route_trace *t)
{
    json_t *o = json_object(), *reasons = json_array();
    char dest[280] = "", reply[SMTP_REPLY_TEXT_MAX + 32] = "";
    if (d->kind == DECISION_DELIVER)
        dest_key_print(&d->dest, dest, sizeof(dest));
    else
        (void)snprintf(reply, sizeof(reply), "%d %s%s%s", d->reply.code, d->reply.enhanced,
                       d->reply.enhanced[0] != '\0' ? " " : "", d->reply.text);
    put(o, "address", fact_text(address));
    put_cstr(o, "decision", decision_kind_name(d->kind));
    put_cstr(o, "dest", dest);
    put(o, "next_address", fact_text(d->kind == DECISION_DELIVER ? d->address : STR_NULL));
    put_cstr(o, "rule", d->rule != NULL ? d->rule : "");
    put_cstr(o, "reply", reply);
    put(o, "generation", integer(d->generation));
    for (unsigned i = 0; t != NULL && i < t->n; i++)
        (void)json_array_append_new(reasons, fact_text(t->line[i]));
    put(o, "reasons", reasons);
    return o;
}

/* A mend is text to be used as it is; the doctor makes it so that it can be. */
static json_t *exact_text(struct str s)
{
    json_t *j = json_stringn(s.n != 0 ? s.p : "", s.n);
    return j != NULL ? j : fact_text(s);
}

json_t *fact_finding(const struct doctor_finding *f)
{
    const struct doctor_check_info *check = &doctor_check_info[f->check];
    json_t *o = json_object(), *evidence = json_array(), *mends = json_array();
    put_cstr(o, "check", check->name);
    put_cstr(o, "severity", doctor_severity_text(check->severity));
    put_cstr(o, "title", check->title);
    put(o, "address", fact_text(f->address));
    put_cstr(o, "source", f->source);
    put(o, "object", fact_text(f->object));
    put(o, "text", exact_text(f->text));
    for (unsigned i = 0; i < f->n_evidence; i++)
        (void)json_array_append_new(evidence, exact_text(f->evidence[i]));
    for (unsigned i = 0; i < f->n_mends; i++) {
        json_t *m = json_object();
        put_cstr(m, "means", doctor_means_text(f->mend[i].means));
        put_cstr(m, "source", f->mend[i].source);
        put(m, "text", exact_text(f->mend[i].text));
        (void)json_array_append_new(mends, m);
    }
    put(o, "evidence", evidence);
    put(o, "mend", mends);
    return o;
}

json_t *fact_counters(void)
{
    json_t *o = json_object();
    for (int i = 0; i < STAT_COUNT; i++)
        put(o, stat_info[i].name, json_integer(stats_read((enum stat_id)i)));
    return o;
}
