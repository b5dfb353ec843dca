/*
 * data.c - DATA: content in, one commit, one answer. RFC 5321 4.1.1.4, 4.5.2.
 *
 * Only CRLF.CRLF ends the data. Whatever is wrong with the content, it is read to its true end
 * first, so that no part of it is ever taken for a command. 250 is said by smtpd_append_done()
 * alone, after the commit thread reported that envelope and content are on disk.
 */
#include "relay/smtpd/smtpd_int.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"

#define TRACE_FIELD_MAX   1400
#define SPILL_EARLY_BYTES 65536

void smtpd_cmd_data(struct smtpd_session *s)
{
    struct transaction *t = s->txn;
    if (t == NULL) {
        smtpd_error(s, 503, "5.5.1", "Need MAIL before DATA");
        return;
    }
    if (t->env.n_rcpt == 0) {
        smtpd_error(s, 554, "5.5.1", "No valid recipients");
        return;
    }
    t->id = spool_next_id(s->d->spool);
    spool_id_text(t->id, t->id_text);
    t->data_began_ms = loop_now_ms(s->d->loop);
    t->env.arrival_ms = clock_wall_ms();
    size_t room, n = 0;
    char *p = content_reserve(&t->content, TRACE_FIELD_MAX, &room);
    ASSERT(smtpd_trace_field(s, t, t->env.arrival_ms, p, room, &n));
    content_commit(&t->content, n);
    dot_decoder_init(&t->dot, s->conf->smtpd.bare_newline_normalise);
    smtpd_session_state(s, SMTPD_DATA);
    smtpd_reply_text(s, "354 End data with <CR><LF>.<CR><LF>\r\n");
}

/* ---- content ---- */

/* The large thread has written what it had: go on reading. */
static void large_ready(void *arg)
{
    struct transaction *t = arg;
    if (!t->content.blocked)
        return;
    t->content.blocked = false;
    if (t->session == NULL || t->session->state != SMTPD_DATA)
        return;
    t->data_began_ms +=
        loop_now_ms(t->session->d->loop) - t->blocked_ms; /* not the client's time */
    stream_deadline(t->session->stream, t->session->conf->smtpd.data_timeout_ms);
    stream_resume(t->session->stream);
}

/* Big, or not small while memory is short. */
static bool wants_own_file(const struct smtpd_session *s, const struct content *c)
{
    return c->size > spool_large_bytes(s->d->spool) ||
           (c->size > SPILL_EARLY_BYTES &&
            smtpd_clients_memory_used(s->d->clients) > s->conf->smtpd.memory_max / 2);
}

static void after_piece(struct smtpd_session *s, struct transaction *t)
{
    struct content *c = &t->content;
    if (t->dot.bytes > s->conf->smtpd.message_bytes_max) { /* RFC 1870: of what the client sent */
        t->too_large = true;
        content_free(c);
        c->size = 0;
    } else if (c->large != NULL) {
        if (c->last != NULL && c->last->n > SMTPD_CHUNK_BYTES / 2)
            content_push(c);
    } else if (wants_own_file(s, c)) {
        content_spill(c, t->id, large_ready, t);
    }
}

static bool is_too_slow(const struct smtpd_session *s, const struct transaction *t)
{
    int64_t took = loop_now_ms(s->d->loop) - t->data_began_ms;
    if (took > s->conf->smtpd.message_timeout_ms)
        return true;
    return s->conf->smtpd.data_rate_min != 0 && took > SMTPD_RATE_GRACE_MS &&
           t->dot.bytes / (uint64_t)(took / 1000) < s->conf->smtpd.data_rate_min;
}

/* White space as the first octet would continue our Received field (RFC 5322 2.2.3) in the client's
 * words. The client has sent no field of its own, so the header ends here, as Postfix has it. The
 * buffer has room for two more; returns what is in it. */
static size_t end_header_before(char *first, size_t n)
{
    if (*first != ' ' && *first != '\t')
        return n;
    memmove(first + 2, first, n);
    memcpy(first, "\r\n", 2);
    return n + 2;
}

static void end_of_data(struct smtpd_session *s);

size_t smtpd_data_input(struct smtpd_session *s, const char *data, size_t n)
{
    struct transaction *t = s->txn;
    size_t total = 0;
    char sink[SMTPD_CHUNK_BYTES];
    bool end = false;
    stream_deadline(s->stream, s->conf->smtpd.data_timeout_ms);
    while (total < n && !end && !t->content.blocked) {
        size_t room = sizeof(sink), used, made, give; /* the decoder may put out 2 octets more */
        char *out = t->too_large ? sink : content_reserve(&t->content, 256, &room);
        give = (room - 4) / (t->dot.normalise ? 2 : 1);
        if (give > n - total)
            give = n - total;
        end = dot_decode(&t->dot, data + total, give, out, &used, &made);
        total += used;
        if (!t->too_large) {
            if (made != 0 && t->dot.bytes == made)
                made = end_header_before(out, made);
            content_commit(&t->content, made);
            after_piece(s, t);
        }
    }
    if (end) {
        end_of_data(s);
    } else if (t->content.blocked) {
        stream_deadline(s->stream, 0); /* it is our disk that is slow, not the client */
        t->blocked_ms = loop_now_ms(s->d->loop);
        stream_pause(s->stream);
    } else if (is_too_slow(s, t)) {
        LOG(INFO, t->id_text, "smtpd-too-slow", LC("client", s->ip), LU("bytes", t->dot.bytes));
        smtpd_say(s, 421, "4.4.2", "%s Error: content arrives too slowly", s->conf->hostname);
        smtpd_close(s);
    }
    return total;
}

/* ---- the end of the content ---- */

/* What is wrong with the content as such; true if nothing is. */
static bool content_is_fine(const struct smtpd_session *s, const struct transaction *t,
                            struct smtp_reply *r)
{
    if (t->too_large)
        smtp_reply_set(r, 552, "5.3.4", "Message size exceeds the limit of %llu octets",
                       (unsigned long long)s->conf->smtpd.message_bytes_max);
    else if (!t->dot.normalise && (t->dot.bare_lf || t->dot.bare_cr))
        smtp_reply_set(r, 550, "5.6.11", "The content has a bare %s; lines must end with CRLF",
                       t->dot.bare_lf ? "LF" : "CR");
    else if (t->dot.received > s->conf->smtpd.received_max)
        smtp_reply_set(r, 554, "5.4.6", "Too many hops: %u Received fields, %u are allowed",
                       t->dot.received, s->conf->smtpd.received_max);
    else
        return true;
    return false;
}

static void gather(struct transaction *t, struct spool_append *a)
{
    struct content *c = &t->content;
    if (c->large != NULL) {
        content_push(c);
        a->large = c->large;
        c->large = NULL; /* the append consumes it */
        return;
    }
    struct iovec *iov = t->iov;
    if (c->n_chunks > ARRAY_LEN(t->iov))
        iov = t->iov_more = mem_array(c->n_chunks, sizeof(*iov));
    int n = 0;
    for (struct chunk *k = c->first; k != NULL; k = k->next)
        if (k->n != 0)
            iov[n++] = (struct iovec){.iov_base = k->bytes, .iov_len = k->n};
    a->content = iov;
    a->n_content = n;
}

static void submit(struct smtpd_session *s, struct transaction *t)
{
    struct spool_append *a = &t->append;
    *a = (struct spool_append){
        .node.run = smtpd_append_done,
        .reply_to = loop_chan(s->d->loop),
        .id = t->id,
        .envelope = buf_str(&t->envelope),
        .content_size = t->content.size,
        .content_8bit = t->dot.eightbit,
        .n_rcpt = t->env.n_rcpt,
    };
    gather(t, a);
    s->d->n_commits++;
    smtpd_session_state(s, SMTPD_COMMIT);
    stream_pause(s->stream);
    spool_submit(s->d->spool, a);
}

static void end_of_data(struct smtpd_session *s)
{
    struct transaction *t = s->txn;
    struct smtp_reply r;
    t->env.received_count = t->dot.received;
    if (content_is_fine(s, t, &r)) {
        if (envelope_encode(&t->env, &t->envelope)) {
            smtpd_transaction_count(t);
            submit(s, t);
            return;
        }
        smtp_reply_set(&r, 452, "4.5.3",
                       "The envelope is too large, send fewer recipients at once");
    }
    LOG(INFO, t->id_text, "message-refused", LC("client", s->ip), LS("from", t->env.sender),
        LI("code", r.code), LC("why", r.text));
    smtpd_transaction_end(t);
    smtpd_session_state(s, SMTPD_COMMAND);
    if (smtp_reply_is_permanent(&r))
        smtpd_error_reply(s, &r);
    else
        smtpd_reply(s, &r);
}

static void log_accepted(const struct transaction *t, struct smtpd *d)
{
    const struct envelope *e = &t->env;
    LOG(INFO, t->id_text, "accepted", LS("client", e->client_ip), LS("helo", e->helo),
        LS("from", e->sender), LS("to", e->rcpt[0].address), LU("nrcpt", e->n_rcpt),
        LU("size", t->append.content_size), LI("ms", loop_now_ms(d->loop) - t->began_ms));
}

/* Back from the commit thread. The client may have left meanwhile: the message is accepted all the
 * same (the client could not know), and delivered. */
void smtpd_append_done(struct chan_node *node)
{
    struct spool_append *a = CONTAINER_OF(node, struct spool_append, node);
    struct transaction *t = CONTAINER_OF(a, struct transaction, append);
    struct smtpd *d = t->owner;
    struct smtpd_session *s = t->session;
    struct smtp_reply r;
    d->n_commits--;
    a->reply_to = NULL;
    if (a->result == SPOOL_OK) {
        smtp_reply_set(&r, 250, "2.0.0", "Ok: queued as %s", t->id_text);
        stats_inc(STAT_smtpd_messages_accepted);
        stats_add(STAT_smtpd_bytes_in, (int64_t)a->content_size);
        log_accepted(t, d);
    } else if (a->result == SPOOL_NO_SPACE) {
        smtp_reply_set(&r, 452, "4.3.1", "Insufficient system storage, try again later");
    } else {
        smtp_reply_set(&r, 451, "4.3.0", "The message could not be stored, try again later");
        LOG(ERROR, t->id_text, "message-not-stored", LC("why", a->err.text));
    }
    if (s != NULL) {
        s->messages += a->result == SPOOL_OK;
        smtpd_session_state(s, SMTPD_COMMAND);
        smtpd_reply(s, &r);
        if (s->eof)
            smtpd_close(s);
        if (s->draining && s->state != SMTPD_CLOSING)
            smtpd_goodbye(s);
    }
    if (a->result == SPOOL_OK)
        d->ops.accepted(d->ops.ctx, a->id, a->envelope, a->content_size, a->content_8bit);
    smtpd_transaction_end(t);
    if (s != NULL && !smtpd_session_settle(s))
        stream_resume(s->stream);
}
