/*
 * facts.h - the JSON of things that commands answer with, in one place: what is written here is
 * what doc/control-protocol.md says and what causewayctl prints. Also the matching of filters.
 *
 * All return new references. Pure; any thread (jansson values belong to one thread at a time: build
 * them where they are sent, or hand them over whole).
 */
#ifndef RELAY_CONTROL_FACTS_H
#define RELAY_CONTROL_FACTS_H

#include <jansson.h>

#include "directory/directory.h"
#include "directory/doctor/doctor.h"
#include "directory/view.h"
#include "relay/control/commands.h"
#include "relay/mail/decision.h"
#include "relay/mail/envelope.h"
#include "relay/queue/queue.h"
#include "relay/route/route.h"
#include "relay/spool/spool.h"

/* ---- filters ---- */

/* By what the queue's index knows of the whole message: the destination is a matter of each
 * recipient (queue_goes_to()). now_ms: wall. */
bool control_filter_info(const struct control_filter *f, const struct queue_msg_info *m,
                         int64_t now_ms);
/* Does it also ask for sender or recipient, so that the envelope must be read? */
bool control_filter_needs_envelope(const struct control_filter *f);
/* left: indices of the recipients that are left, or NULL for all. */
bool control_filter_envelope(const struct control_filter *f, const struct envelope *env,
                             const uint32_t *left, unsigned n_left);
/* Nothing is narrowed. */
bool control_filter_is_empty(const struct control_filter *f);

/* ---- values ---- */

/* {id, state, arrival, age_ms, next_attempt, attempts, recipients, recipients_left, size, dest,
 * last_reply}; times are RFC 3339 text, "" = none. env may be NULL; else also sender. */
json_t *fact_message(const struct queue_msg_info *m, const struct envelope *env, int64_t now_ms);
/* Adds to a message: sender, origin, origin_name, client, helo, smtputf8, and "rcpt": an array of
 * {address, state, dest, refused_by, last_reply} over the recipients; state "done" for those that
 * are; refused_by: the destination that refused it as unknown before it went to this one. */
void fact_message_rcpts(json_t *message, const struct envelope *env,
                        const struct queue_rcpt_info *left, unsigned n_left);
/* {messages, active, waiting, parked, held, memory_bytes} */
json_t *fact_queue(const struct queue_status *s);
/* Sum of what several workers said. */
void fact_queue_add(struct queue_status *sum, const struct queue_status *s);
/* {messages, segments, segments_free, bytes_living, disk_free, syncs, appended, quarantined, full,
 * last_error} */
json_t *fact_spool(const struct spool_status *s);
/* {dest, window, in_hand, ready, parked, delivered, deferred, closed_for_ms, last_error, hosts} */
json_t *fact_dest(const struct queue_dest_info *d, const char *hosts);
/* Adds a worker's figures for the same destination. */
void fact_dest_add(struct queue_dest_info *sum, const struct queue_dest_info *d);
/* {name, type, forest, state, entries, addresses, generation, last_complete, last_change,
 * complete_once, stale, vanished, conflicts, snapshot_bytes, overlay_entries, server, method,
 * certificate_expires, password_expires, notice, last_error}; while something is held also held:
 * {since, and as fact_step()}; accepts_next if so */
json_t *fact_source(const struct dir_source_status *s);
/* {vanish, move, drop, appear, change, lately, entries} */
json_t *fact_step(const struct dir_step *n);
/* {address, what: "vanishes", "moves" or "drops", from, to} */
json_t *fact_pending(const struct dir_pending_item *i);
/* {address, found, why, conflict, stale_source, generation, claims: [{source, generation, kind,
 * type, forest, evidence, primary, routing, target, alias, dn, uuid, require_auth, vanished,
 * routes_until, best}]}. sources: as directory_status() gives them. */
json_t *fact_lookup(struct str address, const struct dir_view *v, const struct dir_result *r,
                    const struct dir_source_status *sources, unsigned n);
/* {address, decision, dest, next_address, rule, reply, generation, reasons: [...]} */
json_t *fact_decision(struct str address, const struct decision *d, const struct route_trace *t);
/* {check, severity, title, address, source, object, text, evidence: [...], mend: [{means, source,
 * text}]} */
json_t *fact_finding(const struct doctor_finding *f);
/* {name: value} of all counters */
json_t *fact_counters(void);
/* RFC 3339 text, "" for 0. */
json_t *fact_time(int64_t wall_ms);
/* Text that may hold any bytes: escaped so that it is UTF-8. */
json_t *fact_text(struct str s);

#endif
