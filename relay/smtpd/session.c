/*
 * session.c - one inbound connection: input, replies, deadlines, its end.
 *
 *   GREETING --banner--> COMMAND --DATA--> DATA --end of data--> COMMIT --answer--> COMMAND
 *                           any state --QUIT, error, limit--> CLOSING --> leaving --> freed
 *
 * Runs on its worker's thread. Nothing here blocks. A session that is to be closed says so with
 * smtpd_close(); it ends with the callback in hand, so the code above it may still look at it. Its
 * connection lingers until the client has closed, too. Input that arrives while the spool is
 * writing stays in the stream (RFC 2920: replies keep the order of commands).
 */
#include "relay/smtpd/smtpd_int.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"

#define COMMANDS_PER_TURN 1000

const char *smtpd_state_text(enum smtpd_state s)
{
    static const char *const text[] = {
#define X(id, t) t,
        SMTPD_STATES(X)
#undef X
    };
    return text[s];
}

void smtpd_session_state(struct smtpd_session *s, enum smtpd_state to)
{
    s->state = (uint8_t)to;
    switch (to) {
    case SMTPD_COMMAND:
        stream_deadline(s->stream, s->conf->smtpd.command_timeout_ms);
        break;
    case SMTPD_DATA:
        stream_deadline(s->stream, s->conf->smtpd.data_timeout_ms);
        break;
    case SMTPD_COMMIT:
        stream_deadline(s->stream, 0);
        break;
    case SMTPD_GREETING:
    case SMTPD_CLOSING:
        break;
    }
}

/* ---- replies ---- */

void smtpd_reply_text(struct smtpd_session *s, const char *line_crlf)
{
    if (s->state != SMTPD_CLOSING && !stream_write(s->stream, line_crlf, strlen(line_crlf))) {
        LOG(INFO, NULL, "smtpd-reply-overflow", LC("client", s->ip));
        smtpd_close(s);
    }
}

void smtpd_reply(struct smtpd_session *s, const struct smtp_reply *r)
{
    struct buf *b = &s->d->scratch;
    if (s->state == SMTPD_CLOSING)
        return;
    buf_clear(b);
    if (!smtp_reply_write(r, b) || !stream_write(s->stream, b->p, b->n)) {
        LOG(INFO, NULL, "smtpd-reply-overflow", LC("client", s->ip));
        smtpd_close(s);
    }
}

void smtpd_say(struct smtpd_session *s, int code, const char *enhanced, const char *fmt, ...)
{
    struct smtp_reply r;
    char text[SMTP_REPLY_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    smtpd_reply(s, smtp_reply_set(&r, code, enhanced, "%s", text));
}

void smtpd_error_reply(struct smtpd_session *s, const struct smtp_reply *r)
{
    smtpd_reply(s, r);
    if (++s->errors < s->conf->smtpd.errors_max || s->conf->smtpd.errors_max == 0)
        return;
    LOG(INFO, NULL, "smtpd-too-many-errors", LC("client", s->ip), LI("errors", s->errors));
    smtpd_say(s, 421, "4.7.0", "%s Error: too many errors", s->conf->hostname);
    smtpd_close(s);
}

void smtpd_error(struct smtpd_session *s, int code, const char *enhanced, const char *fmt, ...)
{
    struct smtp_reply r;
    char text[SMTP_REPLY_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    smtpd_error_reply(s, smtp_reply_set(&r, code, enhanced, "%s", text));
}

/* ---- memory ---- */

/* Counts input that waits for the spool and replies that the client does not read, once they are
 * much. */
static void count_held(struct smtpd_session *s)
{
    size_t n = s->kept + stream_pending(s->stream);
    if (n < SMTPD_COUNT_STEP)
        n = 0;
    if (n == s->held)
        return;
    smtpd_clients_memory(s->d->clients, (int64_t)n - s->held);
    s->held = (uint32_t)n;
}

/* ---- the end ---- */

void smtpd_close(struct smtpd_session *s)
{
    s->state = SMTPD_CLOSING;
}

void smtpd_goodbye(struct smtpd_session *s)
{
    smtpd_say(s, 421, "4.3.2", "%s Service closing down", s->conf->hostname);
    smtpd_close(s);
}

/* The connection is closed. Until then it counts: a client that never closes has not left. */
static void release(struct smtpd_session *s)
{
    struct smtpd *d = s->d;
    if (s->held != 0)
        smtpd_clients_memory(d->clients, -(int64_t)s->held);
    if (s->counted) {
        smtpd_clients_leave(d->clients, s->client_key);
        stats_add(STAT_smtpd_connections_open, -1);
    }
    mem_free(s);
}

static void on_gone(void *arg)
{
    struct smtpd_session *s = arg;
    list_remove(&s->node);
    s->d->n_leaving--;
    release(s);
}

/* Ends what the session is about; the connection may linger. */
static void session_end(struct smtpd_session *s)
{
    if (s->txn != NULL) {
        if (s->txn->append.reply_to != NULL)
            s->txn->session = NULL; /* smtpd_append_done() ends it */
        else
            smtpd_transaction_end(s->txn);
        s->txn = NULL;
    }
    loop_timer_clear(&s->banner_timer);
    LOG(DEBUG, NULL, "smtpd-disconnect", LC("client", s->ip), LI("messages", s->messages));
    list_remove(&s->node);
    s->d->n_sessions--;
    conf_unref(&s->conf);
    mem_free(s->helo);
    s->helo = NULL;
}

/* Called at the end of every callback: true if the session is gone. */
bool smtpd_session_settle(struct smtpd_session *s)
{
    if (s->state != SMTPD_CLOSING)
        return false;
    session_end(s);
    if (s->stream != NULL && stream_linger(&s->stream, SMTPD_LINGER_MS, on_gone, s)) {
        list_push_back(&s->d->leaving, &s->node);
        s->d->n_leaving++;
    } else {
        release(s);
    }
    return true;
}

void smtpd_session_cut(struct smtpd_session *s)
{
    stream_free(&s->stream);
    if (s->conf == NULL) {
        on_gone(s);
        return;
    }
    session_end(s);
    release(s);
}

/* ---- input ---- */

/* A TLS hello, HTTP, or another protocol spoken to a mail port: a reply would only help an attack
 * that has a browser talk to us. Judged by the first octets, as a hello need not have a line end.
 */
static bool is_other_protocol(const char *p, size_t n)
{
    static const char *const verb[] = {"GET ",     "POST ",    "PUT ",    "HEAD ",
                                       "OPTIONS ", "CONNECT ", "\x16\x03"};
    for (size_t i = 0; i < ARRAY_LEN(verb); i++)
        if (str_starts_nocase(str_n(p, n), str_c(verb[i])))
            return true;
    return false;
}

/* Takes one command line off the input. Returns octets consumed, 0 = incomplete. */
static size_t take_line(struct smtpd_session *s, const char *p, size_t n, struct str *line)
{
    const char *lf = memchr(p, '\n', n);
    if (lf == NULL) {
        if (n < SMTP_COMMAND_LINE_MAX)
            return 0;
        s->skip_line = true; /* the rest of it goes the same way, then one 500 */
        *line = STR_NULL;
        return n;
    }
    size_t len = (size_t)(lf - p);
    *line = str_n(p, len > 0 && p[len - 1] == '\r' ? len - 1 : len);
    return len + 1;
}

static size_t command_input(struct smtpd_session *s, const char *p, size_t n)
{
    struct str line;
    if (!s->spoke && is_other_protocol(p, n)) {
        LOG(INFO, NULL, "smtpd-not-smtp", LC("client", s->ip),
            LS("said", str_n(p, n < 80 ? n : 80)));
        smtpd_close(s);
        return n;
    }
    size_t used = take_line(s, p, n, &line);
    if (used == 0 || line.p == NULL)
        return used;
    if (s->skip_line || used > SMTP_COMMAND_LINE_MAX) {
        s->skip_line = false;
        smtpd_error(s, 500, "5.5.2", "Line too long: a command has at most %d octets",
                    SMTP_COMMAND_LINE_MAX);
        return used;
    }
    s->spoke = true;
    stream_deadline(s->stream, s->conf->smtpd.command_timeout_ms);
    smtpd_command(s, line, used < n);
    return used;
}

static void early_talker(struct smtpd_session *s)
{
    LOG(INFO, NULL, "smtpd-early-talker", LC("client", s->ip));
    smtpd_say(s, 554, "5.5.0", "%s Error: you spoke before the banner", s->conf->hostname);
    smtpd_close(s);
}

static size_t on_data(void *arg, char *data, size_t n)
{
    struct smtpd_session *s = arg;
    size_t used = 0;
    unsigned turn = 0;
    for (; used < n && turn < COMMANDS_PER_TURN; turn++) {
        size_t step = 0;
        if (s->state == SMTPD_COMMAND) {
            step = command_input(s, data + used, n - used);
        } else if (s->state == SMTPD_DATA) {
            step = smtpd_data_input(s, data + used, n - used);
        } else if (s->state == SMTPD_GREETING) {
            early_talker(s);
        }
        if (step == 0)
            break; /* incomplete line, or the spool is writing, or closing */
        used += step;
    }
    if (used < n && turn == COMMANDS_PER_TURN && s->state == SMTPD_COMMAND) {
        stream_pause(s->stream); /* others have their turn, then it is given the rest */
        stream_resume(s->stream);
    }
    if (smtpd_session_settle(s))
        return n;
    s->kept = (uint32_t)(n - used);
    count_held(s);
    return used;
}

static void on_eof(void *arg)
{
    struct smtpd_session *s = arg;
    if (s->txn != NULL && s->state == SMTPD_DATA)
        LOG(INFO, s->txn->id_text, "smtpd-lost-in-data", LC("client", s->ip),
            LU("bytes", s->txn->content.size));
    s->eof = true;
    if (s->state == SMTPD_COMMIT)
        return; /* the answer may still reach a client that has only closed its sending side */
    smtpd_close(s);
    smtpd_session_settle(s);
}

static void on_error(void *arg, const struct err *e)
{
    struct smtpd_session *s = arg;
    LOG(INFO, s->txn != NULL ? s->txn->id_text : NULL, "smtpd-lost", LC("client", s->ip),
        LC("state", smtpd_state_text((enum smtpd_state)s->state)), LC("why", e->text));
    smtpd_session_cut(s);
}

static void on_drain(void *arg)
{
    struct smtpd_session *s = arg;
    if (s->held != 0)
        count_held(s);
}

static void on_timeout(void *arg)
{
    struct smtpd_session *s = arg;
    LOG(INFO, s->txn != NULL ? s->txn->id_text : NULL, "smtpd-timeout", LC("client", s->ip),
        LC("state", smtpd_state_text((enum smtpd_state)s->state)));
    smtpd_say(s, 421, "4.4.2", "%s Error: timeout exceeded", s->conf->hostname);
    smtpd_close(s);
    smtpd_session_settle(s);
}

const struct stream_events smtpd_stream_events = {
    .on_data = on_data,
    .on_eof = on_eof,
    .on_error = on_error,
    .on_drain = on_drain,
    .on_timeout = on_timeout,
};
/* max_in: pipelined commands that wait for the spool; past that the stream stops reading. */
const struct stream_limits smtpd_stream_limits = {.max_in = 128 * 1024, .max_out = 256 * 1024};

/* ---- the beginning ---- */

static void banner(struct smtpd_session *s)
{
    char line[400];
    snprintf(line, sizeof(line), "220 %s ESMTP Causeway\r\n", s->conf->hostname);
    smtpd_session_state(s, SMTPD_COMMAND);
    smtpd_reply_text(s, line);
}

static void on_banner_timer(struct loop_timer *t)
{
    struct smtpd_session *s = CONTAINER_OF(t, struct smtpd_session, banner_timer);
    banner(s);
    smtpd_session_settle(s);
}

/* Our own applications and forests are greeted at once. A stranger may have to wait; with no wait
 * the input is looked at once, so that what talks without listening is turned away all the same. */
void smtpd_session_attach(struct smtpd_session *s, struct stream *stream)
{
    s->stream = stream;
    loop_timer_init(&s->banner_timer, s->d->loop, on_banner_timer);
    if (s->origin != MAIL_FROM_INTERNET)
        banner(s);
    else if (s->conf->smtpd.banner_delay_ms > 0)
        loop_timer_set(&s->banner_timer, s->conf->smtpd.banner_delay_ms);
    else if (!stream_input_waits(stream))
        banner(s);
    else
        early_talker(s);
    smtpd_session_settle(s);
}
