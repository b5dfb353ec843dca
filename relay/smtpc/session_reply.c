/*
 * session_reply.c - what a session does on each reply; one function per state, found through
 * session_state.def. Replies come in the order of the commands (RFC 2920 3.2). The basic code
 * decides; what is not a possible reply to the command is nonsense: the mail is deferred, the
 * connection dropped. 421 ends the session in any state (RFC 5321 3.8).
 */
#include <stdio.h>

#include "relay/smtpc/smtpc_int.h"

/* ---- helpers ---- */

static bool reply_is_go_ahead(const struct smtp_reply *r)
{
    return r->code >= 300 && r->code < 400;
}

void session_nonsense(struct session *s, const char *what)
{
    char peer[400];
    struct smtp_reply r;
    session_peer(s, peer, sizeof(peer));
    smtp_reply_set(&r, 451, "4.5.0", "%s does not speak SMTP as it should (state %s): %s", peer,
                   session_state_name(s->state), what);
    if (s->state < SESSION_READY) {
        session_open_failed(s, false, &r);
        return;
    }
    /* The replies before may have belonged to other commands than we thought. */
    if (s->cur.job != NULL)
        result_reset(s->cur.job);
    session_break(s, true, DEST_UNREACHABLE, &r);
}

static void session_unexpected(struct session *s, const struct smtp_reply *r)
{
    char what[300];
    snprintf(what, sizeof(what), "unexpected reply %d %.200s", r->code, r->text);
    session_nonsense(s, what);
}

/* True when the reply ended the session. */
static bool session_421(struct session *s, const struct smtp_reply *r)
{
    if (r->code != 421)
        return false;
    session_break(s, false, DEST_BUSY, r);
    return true;
}

static void session_refused_greeting(struct session *s, const struct smtp_reply *r)
{
    char peer[400];
    struct smtp_reply why;
    session_peer(s, peer, sizeof(peer));
    /* A host that does not want to talk is no verdict on the mail: 4xx, whatever it said. */
    smtp_reply_set(&why, 451, "4.3.2", "%s refuses to talk: %d %s %.300s", peer, r->code,
                   r->enhanced, r->text);
    session_open_failed(s, true, &why);
}

/* All results of the message are known; the peer may still think of it as open. */
static void session_finish_job(struct session *s, enum dest_verdict verdict)
{
    struct job *j = s->cur.job;
    s->cur.job = NULL;
    dest_finish(s->dest, j, verdict);
}

/* ---- before the first message ---- */

void session_on_banner(struct session *s, const struct smtp_reply *r)
{
    const struct conf *conf = s->dest->client->conf;
    const char *helo = conf->smtp_client.helo;
    if (r->code != 220) {
        session_refused_greeting(s, r);
        return;
    }
    stream_printf(s->stream, "EHLO %s\r\n", helo != NULL && helo[0] ? helo : conf->hostname);
    s->parser.keep_lines = true;
    buf_clear(&s->parser.ehlo);
    session_set_state(s, SESSION_EHLO);
}

static void caps_parse(struct session_caps *caps, struct str lines)
{
    *caps = (struct session_caps){.esmtp = true};
    while (lines.n > 0) {
        struct str line = str_trim(str_split(&lines, '\n'));
        struct str word = str_split(&line, ' ');
        if (str_eq_nocase(word, STR("PIPELINING")))
            caps->pipelining = true;
        else if (str_eq_nocase(word, STR("8BITMIME")))
            caps->eightbit = true;
        else if (str_eq_nocase(word, STR("DSN")))
            caps->dsn = true;
        else if (str_eq_nocase(word, STR("SMTPUTF8")))
            caps->smtputf8 = true;
        else if (str_eq_nocase(word, STR("SIZE"))) {
            caps->size = true;
            if (!str_to_u64(str_trim(line), UINT64_MAX, &caps->size_max))
                caps->size_max = 0;
        }
    }
}

void session_on_ehlo(struct session *s, const struct smtp_reply *r)
{
    const struct conf *conf = s->dest->client->conf;
    const char *helo = conf->smtp_client.helo;
    s->parser.keep_lines = false;
    if (smtp_reply_is_ok(r) && r->code != 250) {
        session_unexpected(s, r); /* a second banner, taken for the answer */
    } else if (smtp_reply_is_ok(r)) {
        caps_parse(&s->caps, buf_str(&s->parser.ehlo));
        buf_free(&s->parser.ehlo);
        session_ready(s);
    } else if (smtp_reply_is_permanent(r)) {
        stream_printf(s->stream, "HELO %s\r\n", helo != NULL && helo[0] ? helo : conf->hostname);
        session_set_state(s, SESSION_HELO);
    } else {
        session_refused_greeting(s, r);
    }
}

void session_on_helo(struct session *s, const struct smtp_reply *r)
{
    if (smtp_reply_is_ok(r))
        session_ready(s);
    else
        session_refused_greeting(s, r);
}

/* Nobody asked: 421 before an idle connection is closed, or a reply too many. */
void session_on_stray_reply(struct session *s, const struct smtp_reply *r)
{
    (void)r;
    session_close(s, false);
}

/* ---- a message ---- */

void session_on_rset(struct session *s, const struct smtp_reply *r)
{
    if (session_421(s, r))
        return;
    if (!smtp_reply_is_ok(r)) {
        session_unexpected(s, r);
        return;
    }
    s->cur.outstanding--;
    session_set_state(s, SESSION_MAIL);
    session_pump(s);
}

/* The envelope is refused as a whole; replies to what was pipelined behind are still to come. */
static void session_envelope_refused(struct session *s, enum dest_verdict verdict)
{
    s->cur.refused = true;
    s->rset_first = true;
    session_finish_job(s, verdict);
    if (s->cur.outstanding != 0)
        session_set_state(s, SESSION_SKIP);
    else
        session_message_end(s);
}

void session_on_mail(struct session *s, const struct smtp_reply *r)
{
    if (session_421(s, r))
        return;
    if (reply_is_go_ahead(r)) {
        session_unexpected(s, r);
        return;
    }
    s->cur.outstanding--;
    if (!smtp_reply_is_ok(r)) {
        result_rest(s->cur.job, result_of(r), r);
        session_envelope_refused(s, r->code == 450 || r->code == 452 ? DEST_BUSY : DEST_OK);
        return;
    }
    session_set_state(s, SESSION_RCPT);
    session_pump(s);
}

static bool reply_is_too_many_rcpt(const struct smtp_reply *r)
{
    return (r->code == 452 || r->code == 552) && r->enhanced[0] != '\0' &&
           str_ends_nocase(str_c(r->enhanced), STR(".5.3"));
}

void session_on_rcpt(struct session *s, const struct smtp_reply *r)
{
    struct slot *sl = &s->cur;
    struct job *j = sl->job;
    if (session_421(s, r))
        return;
    if (reply_is_go_ahead(r)) {
        session_unexpected(s, r);
        return;
    }
    sl->outstanding--;
    sl->rcpt_said++;
    unsigned i = sl->rcpt_reply;
    j->d->rcpt[i].at_rcpt = true;
    if (smtp_reply_is_ok(r))
        sl->rcpt_ok++;
    else if (sl->rcpt_ok > 0 && reply_is_too_many_rcpt(r))
        result_rcpt(j, i, OUTCOME_REROUTE, r); /* at once, in another transaction: 4.5.3.1.10 */
    else
        result_rcpt(j, i, result_of(r), r);
    sl->rcpt_reply = result_next_open(j, i + 1);
    if (sl->rcpt_reply < j->d->n_rcpt) {
        session_set_state(s, SESSION_RCPT);
        session_pump(s);
        return;
    }
    j->d->answered(j->d);
    if (sl->rcpt_ok == 0) {
        session_envelope_refused(s, DEST_OK);
    } else {
        session_set_state(s, SESSION_DATA);
        session_pump(s);
    }
}

void session_on_data_reply(struct session *s, const struct smtp_reply *r)
{
    if (session_421(s, r))
        return;
    if (smtp_reply_is_ok(r)) {
        session_unexpected(s, r);
        return;
    }
    s->cur.outstanding--;
    if (!reply_is_go_ahead(r)) {
        result_rest(s->cur.job, result_of(r), r);
        session_envelope_refused(s, DEST_OK);
        return;
    }
    /* It says more without having seen anything of the content. */
    s->early = stream_input_waits(s->stream);
    session_set_state(s, SESSION_CONTENT);
    session_pump(s);
}

/* A reply before the final dot has left. A refusal counts; then the two sides are out of step, and
 * the connection is of no use any more. */
void session_on_early_reply(struct session *s, const struct smtp_reply *r)
{
    if (session_421(s, r))
        return;
    if (smtp_reply_is_ok(r) || reply_is_go_ahead(r)) {
        session_unexpected(s, r);
        return;
    }
    result_rest(s->cur.job, result_of(r), r);
    session_finish_job(s, DEST_OK);
    session_give_back_next(s);
    session_close(s, false);
}

void session_on_dot(struct session *s, const struct smtp_reply *r)
{
    struct dest *d = s->dest;
    if (session_421(s, r))
        return;
    if (reply_is_go_ahead(r)) {
        session_unexpected(s, r);
        return;
    }
    int64_t took = loop_now_ms(d->client->loop) - s->dot_sent_ms;
    d->dot_latency_ms = (d->dot_latency_ms * 7 + took) / 8;
    s->cur.outstanding--;
    result_rest(s->cur.job, result_of(r), r);
    session_finish_job(s, DEST_OK);
    session_message_end(s);
}

/* Replies to commands of a message that was refused before they were read. */
void session_on_skipped(struct session *s, const struct smtp_reply *r)
{
    struct slot *sl = &s->cur;
    if (r->code == 421) {
        session_close(s, false);
        return;
    }
    sl->outstanding--;
    bool data_answered = sl->data_sent && sl->outstanding == 0;
    if (data_answered && reply_is_go_ahead(r)) {
        session_send_empty(s);
        sl->data_sent = false;
        sl->outstanding++;
        session_set_state(s, SESSION_SKIP);
    } else if (sl->outstanding == 0) {
        session_message_end(s);
    } else {
        session_set_state(s, SESSION_SKIP);
    }
}
