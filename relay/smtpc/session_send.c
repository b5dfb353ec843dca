/*
 * session_send.c - the writing side of a session: the envelope's commands and the content.
 *
 * With PIPELINING (RFC 2920) MAIL, all RCPT and DATA leave in one write, for the next message even
 * behind the final dot of this one; without it one command at a time. What is written is gathered
 * by the stream and leaves at the end of the turn, so a small message, its final dot and the next
 * message's commands are one packet.
 *
 * Content goes from the spool's reader into the stream's own buffer: it is read into the upper half
 * of the space and dot-stuffed down into the lower half. If it cannot be read to its end (or its
 * checksum is wrong) the final dot is never sent.
 */
#include <stdio.h>

#include "base/log.h"
#include "base/stats.h"
#include "relay/proto/command.h"
#include "relay/smtpc/smtpc_int.h"

#define OUT_HIGH  (64u * 1024) /* produce no more while so much waits to be written */
#define CHUNK     (64u * 1024)
#define ORCPT_MAX 500 /* RFC 3461 4.2 */

/* ---- commands ---- */

static void put_mail(struct session *s, const struct delivery *d, struct buf *out)
{
    const struct envelope *env = d->env;
    buf_append_str(out, STR("MAIL FROM:<"));
    buf_append_str(out, env->sender);
    buf_append_char(out, '>');
    if (s->caps.size)
        buf_printf(out, " SIZE=%llu", (unsigned long long)d->content_size);
    if (s->caps.eightbit && (d->content_8bit || env->body != MAIL_BODY_7BIT))
        buf_append_str(out, STR(" BODY=8BITMIME"));
    if (s->caps.smtputf8 && env->smtputf8)
        buf_append_str(out, STR(" SMTPUTF8"));
    if (s->caps.dsn && env->ret != MAIL_RET_UNSET)
        buf_append_c(out, env->ret == MAIL_RET_FULL ? " RET=FULL" : " RET=HDRS");
    if (s->caps.dsn && env->envid.n > 0) {
        buf_append_str(out, STR(" ENVID="));
        buf_append_str(out, env->envid);
    }
    buf_append_str(out, STR("\r\n"));
}

static void put_notify(unsigned notify, struct buf *out)
{
    static const struct {
        unsigned bit;
        const char *text;
    } words[] = {{MAIL_NOTIFY_NEVER, "NEVER"},
                 {MAIL_NOTIFY_SUCCESS, "SUCCESS"},
                 {MAIL_NOTIFY_FAILURE, "FAILURE"},
                 {MAIL_NOTIFY_DELAY, "DELAY"}};
    const char *before = " NOTIFY=";
    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        if ((notify & words[i].bit) != 0) {
            buf_append_c(out, before);
            buf_append_c(out, words[i].text);
            before = ",";
        }
}

/* The address as the sender wrote it, where it is not what the next hop is given; unless it is too
 * long for a parameter, as an old Exchange address may be. */
static void put_orcpt(const struct envelope_rcpt *orig, struct str said, struct buf *out)
{
    static const struct str key = STR(" ORCPT=");
    size_t start = out->n;
    if (orig->orcpt.n > 0) {
        buf_append_str(out, key);
        buf_append_str(out, orig->orcpt);
    } else if (!str_eq(orig->address, said)) {
        buf_append_str(out, key);
        buf_append_str(out, STR("rfc822;"));
        xtext_encode(orig->address, out);
        if (out->n - start - key.n > ORCPT_MAX)
            out->n = start;
    }
}

static void put_rcpt(struct session *s, const struct delivery *d, unsigned i, struct buf *out)
{
    const struct delivery_rcpt *r = &d->rcpt[i];
    const struct envelope_rcpt *orig = &d->env->rcpt[r->index];
    buf_append_str(out, STR("RCPT TO:<"));
    buf_append_str(out, r->address);
    buf_append_char(out, '>');
    if (s->caps.dsn) {
        put_notify(orig->notify, out);
        put_orcpt(orig, r->address, out);
    }
    buf_append_str(out, STR("\r\n"));
}

/* Puts the slot's next command into out; false: none that may go now. */
static bool put_next(struct session *s, struct slot *sl, struct buf *out)
{
    struct job *j = sl->job;
    if (sl->want_rset && !sl->rset) {
        buf_append_str(out, STR("RSET\r\n"));
        sl->rset = true;
    } else if (!sl->mail_sent) {
        put_mail(s, j->d, out);
        sl->mail_sent = true;
    } else if (sl->rcpt_next < j->d->n_rcpt) {
        put_rcpt(s, j->d, sl->rcpt_next, out);
        sl->rcpt_next = result_next_open(j, sl->rcpt_next + 1);
    } else if (!sl->data_sent) {
        buf_append_str(out, STR("DATA\r\n"));
        sl->data_sent = true;
    } else {
        return false;
    }
    sl->outstanding++;
    return true;
}

/* A reply to the slot cannot come before so many octets more have left. */
static void ask(struct session *s, struct slot *sl, size_t n)
{
    sl->asked_at = stream_bytes_out(s->stream) + stream_pending(s->stream) + n;
}

static void pump_commands(struct session *s, struct slot *sl)
{
    struct buf *out = &s->dest->client->out;
    if (sl->job == NULL || sl->refused || sl->data_sent)
        return;
    buf_clear(out);
    if (sl->outstanding == 0)
        ask(s, sl, 1);
    while (stream_pending(s->stream) + out->n < OUT_HIGH) {
        if (!s->caps.pipelining && sl->outstanding > 0)
            break;
        if (!put_next(s, sl, out))
            break;
    }
    if (out->n > 0)
        stream_write(s->stream, out->p, out->n);
}

void session_send_empty(struct session *s)
{
    ask(s, &s->cur, 3);
    stream_write(s->stream, ".\r\n", 3);
}

/* ---- content ---- */

static void content_failed(struct session *s, const struct err *e)
{
    struct smtp_reply r;
    struct job *j = s->cur.job;
    LOG(ERROR, j->d->id_text, "content-unreadable", LC("why", e->text));
    smtp_reply_set(&r, 451, "4.3.0", "the message cannot be read from the spool");
    s->cur.job = NULL;
    result_rest_ours(j, OUTCOME_DEFERRED, &r);
    dest_finish(s->dest, j, DEST_OK);
    session_close(s, false);
}

/* One chunk; false: no more for now, or the session is gone. */
static bool pump_chunk(struct session *s)
{
    const struct smtpc_ops *ops = s->dest->client->ops;
    struct slot *sl = &s->cur;
    struct err e = {.text = "it ends too early"};
    size_t n = sl->size - sl->off < CHUNK ? (size_t)(sl->size - sl->off) : CHUNK;
    size_t got = 0;
    char *room = stream_reserve(s->stream, 2 * n + 2);
    if (room == NULL)
        return false;
    char *raw = room + n + 2; /* stays ahead of what is written below it, byte by byte */
    if (!ops->reader_read(sl->reader, sl->off, raw, n, &got, &e) || got == 0) {
        content_failed(s, &e);
        return false;
    }
    sl->off += got;
    stream_commit(s->stream, dot_encode(&sl->dot, raw, got, room));
    return true;
}

static void pump_content(struct session *s)
{
    struct slot *sl = &s->cur;
    char end[5];
    while (sl->off < sl->size && stream_pending(s->stream) < OUT_HIGH)
        if (!pump_chunk(s))
            return;
    if (sl->off < sl->size)
        return;
    size_t n = dot_encode_end(&sl->dot, end);
    ask(s, sl, n);
    if (!stream_write(s->stream, end, n))
        return; /* comes again when the stream has drained */
    s->dest->client->ops->reader_close(&sl->reader);
    stats_add(STAT_smtpc_bytes_out, (int64_t)sl->size);
    sl->outstanding++;
    s->dot_sent_ms = loop_now_ms(s->dest->client->loop);
    session_set_state(s, SESSION_DOT);
}

void session_pump(struct session *s)
{
    if (s->stream == NULL)
        return;
    pump_commands(s, &s->cur);
    if (s->state == SESSION_CONTENT)
        pump_content(s);
    if (s->state == SESSION_DOT)
        pump_commands(s, &s->next);
}

/* ---- taking on a message ---- */

/* The highest octet, or 0 if there is one that could end the command: no address in the directory
 * may put words of its own into the session. */
static unsigned char str_class(struct str s)
{
    unsigned char max = 1;
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c < 0x20 || c == 0x7f)
            return 0;
        if (c > max)
            max = c;
    }
    return max;
}

static void refuse_address(struct session *s, struct job *j, unsigned i)
{
    unsigned char class = str_class(j->d->rcpt[i].address);
    struct smtp_reply r;
    if (class == 0)
        smtp_reply_set(&r, 553, "5.1.3", "the address at the next hop has control characters");
    else if (class >= 0x80 && !s->caps.smtputf8)
        smtp_reply_set(&r, 553, "5.6.7", "the address needs SMTPUTF8, %s does not offer it",
                       s->host);
    else
        return;
    result_rcpt(j, i, OUTCOME_FAILED, &r);
    j->d->rcpt[i].ours = true;
}

/* What this host cannot take, said by ourselves. */
static void refuse_locally(struct session *s, struct job *j)
{
    const struct delivery *d = j->d;
    const struct envelope *env = d->env;
    struct smtp_reply r;
    if (s->caps.size_max != 0 && d->content_size > s->caps.size_max) {
        smtp_reply_set(&r, 552, "5.3.4", "the message has %llu octets, %s accepts %llu",
                       (unsigned long long)d->content_size, s->host,
                       (unsigned long long)s->caps.size_max);
        result_rest_ours(j, OUTCOME_FAILED, &r);
    } else if (d->content_8bit && !s->caps.eightbit && env->origin != MAIL_FROM_LOCAL) {
        /* RFC 6152 3: convert or return; signed mail must not be converted. A notice of ours could
         * not be returned to anybody: it goes as it is, most hosts take it. */
        smtp_reply_set(&r, 554, "5.6.3", "the message has 8-bit text, %s does not offer 8BITMIME",
                       s->host);
        result_rest_ours(j, OUTCOME_FAILED, &r);
    } else if ((env->smtputf8 || str_class(env->sender) >= 0x80) && !s->caps.smtputf8) {
        smtp_reply_set(&r, 553, "5.6.7", "the message needs SMTPUTF8, %s does not offer it",
                       s->host);
        result_rest_ours(j, OUTCOME_FAILED, &r);
    }
    for (unsigned i = result_next_open(j, 0); i < d->n_rcpt; i = result_next_open(j, i + 1))
        refuse_address(s, j, i);
}

static bool begin_allowed(struct session *s, struct job *j)
{
    struct smtpc *c = s->dest->client;
    struct delivery *d = j->d;
    if (!d->confirm(d)) {
        result_reroute(j);
    } else if (pending_is_too_late(s->dest, j, loop_now_ms(c->loop))) {
        result_too_late(j);
    } else {
        refuse_locally(s, j);
    }
    return result_next_open(j, 0) < d->n_rcpt;
}

static void slot_init(struct session *s, struct slot *sl, struct job *j,
                      struct spool_reader *reader)
{
    *sl = (struct slot){.job = j, .used = true, .reader = reader, .want_rset = s->rset_first};
    s->rset_first = false;
    sl->size = s->dest->client->ops->reader_size(reader);
    sl->rcpt_next = sl->rcpt_reply = result_next_open(j, 0);
    dot_encoder_init(&sl->dot);
    j->session = s;
    j->place = JOB_SESSION;
    if (s->messages++ > 0)
        stats_inc(STAT_smtpc_sessions_reused);
}

bool session_begin(struct session *s, struct slot *sl, struct job *j)
{
    struct smtpc *c = s->dest->client;
    struct delivery *d = j->d;
    struct err e;
    str_copy(str_c(s->host), d->remote_host, sizeof(d->remote_host));
    str_copy(str_c(s->endpoint.ip), d->remote_ip, sizeof(d->remote_ip));
    d->remote_dsn = s->caps.dsn;
    if (!begin_allowed(s, j)) {
        dest_finish(s->dest, j, DEST_OK);
        return false;
    }
    struct spool_reader *reader = c->ops->reader_open(c->spool, d->msg_id, &e);
    if (reader == NULL) {
        struct smtp_reply r;
        LOG(ERROR, d->id_text, "content-unreadable", LC("why", e.text));
        smtp_reply_set(&r, 451, "4.3.0", "the message cannot be read from the spool");
        result_rest_ours(j, OUTCOME_DEFERRED, &r);
        dest_finish(s->dest, j, DEST_OK);
        return false;
    }
    slot_init(s, sl, j, reader);
    if (sl == &s->cur) {
        session_not_idle(s);
        session_set_state(s, sl->want_rset ? SESSION_RSET : SESSION_MAIL);
    } else {
        session_arm(s);
    }
    session_pump(s);
    return true;
}
