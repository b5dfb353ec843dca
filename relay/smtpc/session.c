/*
 * session.c - one outbound connection from its opening to its end: states, deadlines, and what
 * becomes of the messages on it when it breaks. The replies are handled in session_reply.c, the
 * writing is done in session_send.c.
 *
 * Before READY no message is tied to a session: it tries the destination's endpoints one after the
 * other until one speaks SMTP; one that does not rests for a while, and at one that takes long it
 * stays, slow, while another session goes on with the search (pending.c). From then on a failure is
 * the matter of the messages on it:
 * - nothing was said about any recipient: the job goes back to the destination, for another host;
 * - something was: those without an answer are deferred. After the final dot this may deliver the
 *   message twice (RFC 1047), never lose it.
 * A message whose commands went out behind the final dot of the one before goes back unharmed. So
 * does at a reload one that was not sent whole, unless it is on its way to a host that stays.
 *
 * Deadlines are per awaited reply (RFC 5321 4.5.3.2) and are not moved by single bytes. They are
 * also bounded by the time a message may take in total, but for the final dot: who gives up there
 * too early sends the message again.
 *
 * A reply counts only if what it answers was written to the connection before the reply began; what
 * comes earlier is not about our commands, least of all "250" before the content has left.
 *
 * A closed session is freed at the end of the turn, so that every function here may return to its
 * caller after closing.
 */
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <arpa/inet.h>

#include "base/assert.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"
#include "relay/smtpc/smtpc_int.h"

#define IN_MAX        4096
#define OUT_MAX       (1024 * 1024)
#define WAIT_AHEAD_MS 5000 /* so long may a final dot keep the message behind it waiting */

static const struct session_state_info {
    const char *name, *doing;
    size_t timeout_at; /* offset in struct conf */
    session_reply_fn *on_reply;
} state_info[SESSION_STATE_COUNT] = {
#define STATE(id, name_, timeout, on_reply_, doing_)                                               \
    [SESSION_##id] = {.name = (name_),                                                             \
                      .doing = (doing_),                                                           \
                      .timeout_at = offsetof(struct conf, smtp_client.timeout),                    \
                      .on_reply = (on_reply_)},
#include "relay/smtpc/session_state.def"
#undef STATE
};

const char *session_state_name(enum session_state st)
{
    return state_info[st].name;
}

void session_peer(const struct session *s, char *dst, size_t cap)
{
    const struct sockaddr *a = (const void *)&s->endpoint.addr;
    unsigned port = a->sa_family == AF_INET6
                        ? ntohs(((const struct sockaddr_in6 *)(const void *)a)->sin6_port)
                        : ntohs(((const struct sockaddr_in *)(const void *)a)->sin_port);
    snprintf(dst, cap, "%s[%s]:%u", s->host, s->endpoint.ip, port);
}

/* ---- states and deadlines ---- */

static int64_t session_timeout_ms(const struct session *s)
{
    const struct smtpc *c = s->dest->client;
    int64_t ms;
    memcpy(&ms, (const char *)c->conf + state_info[s->state].timeout_at, sizeof(ms));
    const struct job *j = s->cur.job;
    if (j != NULL && s->state != SESSION_DOT && c->conf->smtp_client.total_timeout_ms > 0) {
        int64_t left = j->started_ms + c->conf->smtp_client.total_timeout_ms - loop_now_ms(c->loop);
        if (left < ms || ms <= 0)
            ms = left > 1 ? left : 1;
    }
    return ms;
}

void session_arm(struct session *s)
{
    if (s->stream == NULL)
        return;
    int64_t ms = session_timeout_ms(s);
    if (s->state == SESSION_DOT && s->next.used && !s->doomed) {
        int64_t now = loop_now_ms(s->dest->client->loop);
        s->dot_deadline_ms = now + ms;
        if (ms > WAIT_AHEAD_MS)
            ms = WAIT_AHEAD_MS;
    }
    stream_deadline(s->stream, ms);
}

void session_set_state(struct session *s, enum session_state st)
{
    if (s->state != st)
        LOG(DEBUG, s->cur.job != NULL ? s->cur.job->d->id_text : NULL, "session",
            LC("host", s->host), LC("ip", s->endpoint.ip), LC("from", state_info[s->state].name),
            LC("to", state_info[st].name));
    s->state = st;
    session_arm(s);
}

/* ---- the stream's events ---- */

/* Nothing of what awaits a reply has been written to the connection yet. */
static bool session_has_not_asked(const struct session *s)
{
    if (s->state < SESSION_READY)
        return stream_pending(s->stream) != 0;
    return s->state == SESSION_READY || stream_bytes_out(s->stream) < s->cur.asked_at;
}

static void session_on_reply(struct session *s, const struct smtp_reply *r)
{
    bool early = s->early || session_has_not_asked(s);
    s->early = false;
    if (!early || r->code == 421 || s->state == SESSION_READY)
        state_info[s->state].on_reply(s, r);
    else if (s->state == SESSION_DOT || s->state == SESSION_CONTENT)
        session_on_early_reply(s, r);
    else
        session_nonsense(s, "a reply before the command");
}

static size_t session_on_data(void *arg, char *data, size_t n)
{
    struct session *s = arg;
    size_t at = 0;
    /* First in line at the end of the turn: what it writes then leaves together with what is
     * written from here. */
    dest_kick(s->dest);
    while (at < n && s->state != SESSION_CLOSED) {
        struct smtp_reply r;
        size_t used = 0;
        struct stream *stream = s->stream;
        enum smtp_reply_state st = smtp_reply_parse(&s->parser, data + at, n - at, &used, &r);
        at += used;
        if (st == SMTP_REPLY_MORE) {
            s->early = s->early || session_has_not_asked(s);
            break;
        }
        if (st == SMTP_REPLY_INVALID)
            session_nonsense(s, r.text);
        else
            session_on_reply(s, &r);
        if (s->stream != stream)
            break; /* it went on to another host */
    }
    return n;
}

/* The connection failed while a reply was awaited (or while nothing was). */
static void session_lost(struct session *s, bool timed_out, const char *what)
{
    char peer[400];
    struct smtp_reply r;
    session_peer(s, peer, sizeof(peer));
    smtp_reply_set(&r, 451, "4.4.2", "%s %s while %s", what, peer, state_info[s->state].doing);
    if (s->state == SESSION_READY || (s->cur.job == NULL && s->state > SESSION_READY))
        session_close(s, timed_out && s->state == SESSION_READY);
    else if (s->state < SESSION_READY)
        session_open_failed(s, false, &r);
    else
        session_break(s, timed_out, DEST_UNREACHABLE, &r);
}

static void session_on_eof(void *arg)
{
    session_lost(arg, false, "lost the connection with");
}

static void session_on_error(void *arg, const struct err *e)
{
    (void)e;
    session_lost(arg, false, "lost the connection with");
}

static void session_on_drain(void *arg)
{
    struct session *s = arg;
    if (s->state == SESSION_CONTENT)
        session_arm(s);
    session_pump(s);
}

/* Nothing waits behind the final dot any more: it may take the time it has. */
static void session_wait_for_dot_alone(struct session *s)
{
    int64_t left = s->dot_deadline_ms - loop_now_ms(s->dest->client->loop);
    s->doomed = true;
    stream_deadline(s->stream, left > 1 ? left : 1);
}

/* The final dot is not answered for long: the message behind it gets another session. */
static void session_take_back_next(struct session *s)
{
    struct job *j = s->next.job;
    s->next.job = NULL;
    session_wait_for_dot_alone(s);
    s->dest->ahead_after_ms =
        loop_now_ms(s->dest->client->loop) + s->dest->client->conf->smtp_client.host_rest_ms;
    if (j != NULL)
        dest_give_back(s->dest, j);
}

static void session_on_timeout(void *arg)
{
    struct session *s = arg;
    int64_t now = loop_now_ms(s->dest->client->loop);
    if (s->state == SESSION_DOT && s->next.used && !s->doomed && now < s->dot_deadline_ms) {
        session_take_back_next(s);
        return;
    }
    session_lost(s, true, "timed out talking to");
}

static const struct stream_events session_events = {
    .on_data = session_on_data,
    .on_eof = session_on_eof,
    .on_error = session_on_error,
    .on_drain = session_on_drain,
    .on_timeout = session_on_timeout,
};

/* ---- opening ---- */

static void session_connected(void *arg, int fd, const struct err *e)
{
    static const struct stream_limits limits = {.max_in = IN_MAX, .max_out = OUT_MAX};
    struct session *s = arg;
    s->connect = NULL;
    if (fd < 0) {
        char peer[400];
        struct smtp_reply r;
        session_peer(s, peer, sizeof(peer));
        smtp_reply_set(&r, 451, "4.4.1", "cannot connect to %s: %s", peer, e->text);
        session_open_failed(s, false, &r);
        return;
    }
    s->stream = stream_new(s->dest->client->loop, fd, &limits, &session_events, s);
    stats_inc(STAT_smtpc_connects);
    stats_add(STAT_smtpc_sessions_open, 1);
    session_set_state(s, SESSION_BANNER);
}

static socklen_t session_bind_address(const struct session *s, struct sockaddr_storage *out)
{
    const char *text = s->dest->client->conf->smtp_client.bind_address;
    *out = (struct sockaddr_storage){0};
    if (text == NULL || text[0] == '\0')
        return 0;
    if (s->endpoint.addr.ss_family == AF_INET) {
        struct sockaddr_in *in = (void *)out;
        in->sin_family = AF_INET;
        return inet_pton(AF_INET, text, &in->sin_addr) == 1 ? sizeof(*in) : 0;
    }
    struct sockaddr_in6 *in6 = (void *)out;
    in6->sin6_family = AF_INET6;
    return inet_pton(AF_INET6, text, &in6->sin6_addr) == 1 ? sizeof(*in6) : 0;
}

void session_resume(struct session *s)
{
    struct dest *d = s->dest;
    struct smtpc *c = d->client;
    enum outcome outcome;
    struct smtp_reply reply;
    struct sockaddr_storage from;
    session_set_state(s, SESSION_RESOLVE);
    switch (hosts_pick(d, s, &outcome, &reply)) {
    case PICK_WAIT:
        break;
    case PICK_FOUND:
        s->attempt_ms = loop_now_ms(c->loop);
        session_set_state(s, SESSION_CONNECT);
        socklen_t fromlen = session_bind_address(s, &from);
        s->connect = connect_start(c->loop, (const void *)&s->endpoint.addr, s->endpoint.len,
                                   fromlen != 0 ? (const void *)&from : NULL, fromlen,
                                   c->conf->smtp_client.connect_timeout_ms, session_connected, s);
        break;
    case PICK_NONE:
        session_close(s, false);
        dest_exhausted(d, outcome, &reply);
        break;
    }
}

void session_open(struct dest *d, bool probe)
{
    struct session *s = NEW(struct session);
    s->dest = d;
    s->conf_serial = d->client->conf_serial;
    s->turn = d->turn++;
    s->probe = probe;
    s->state = SESSION_RESOLVE;
    smtp_reply_parser_init(&s->parser);
    if (d->n_connecting == 0) {
        d->error.code = 0;
        d->error_host[0] = d->error_ip[0] = '\0';
        hosts_refresh(d);
    }
    list_push_back(&d->sessions, &s->node);
    d->n_sessions++;
    d->client->n_sessions++;
    d->n_connecting++;
    session_resume(s);
}

static void session_drop_stream(struct session *s, bool quit)
{
    if (s->connect != NULL)
        connect_cancel(&s->connect);
    if (s->stream == NULL)
        return;
    stats_add(STAT_smtpc_sessions_open, -1);
    if (quit && stream_write(s->stream, "QUIT\r\n", 6)) {
        int64_t ms = s->dest->client->conf->smtp_client.quit_timeout_ms;
        stream_finish(&s->stream, ms > 0 && ms < 600000 ? (int)ms : 30000);
    } else {
        stream_free(&s->stream);
    }
}

/* ---- looking for a host ---- */

static void session_endpoint_failed(struct session *s, const struct smtp_reply *reply)
{
    struct dest *d = s->dest;
    d->error = *reply;
    bool answered = s->state > SESSION_CONNECT;
    str_copy(str_c(answered ? s->host : ""), d->error_host, sizeof(d->error_host));
    str_copy(str_c(answered ? s->endpoint.ip : ""), d->error_ip, sizeof(d->error_ip));
    resting_add(d->client, &s->endpoint);
    LOG(WARN, NULL, "host-failed", LS("dest", d->key.name), LC("host", s->host),
        LC("ip", s->endpoint.ip), LC("state", state_info[s->state].name), LI("code", reply->code),
        LC("why", reply->text));
}

void session_open_failed(struct session *s, bool quit, const struct smtp_reply *reply)
{
    bool slow = s->slow;
    ASSERT(s->state < SESSION_READY);
    stats_inc(STAT_smtpc_connect_errors);
    session_endpoint_failed(s, reply);
    session_drop_stream(s, quit);
    smtp_reply_parser_free(&s->parser);
    smtp_reply_parser_init(&s->parser);
    s->early = false;
    s->caps = (struct session_caps){0};
    if (!s->probe && !slow) {
        session_resume(s);
        return;
    }
    session_close(s, false); /* the others go on where they are */
    if (slow)
        dest_slow_failed(s->dest, reply);
}

void session_set_slow(struct session *s)
{
    struct dest *d = s->dest;
    LOG(WARN, NULL, "host-slow", LS("dest", d->key.name), LC("host", s->host),
        LC("ip", s->endpoint.ip), LC("state", state_info[s->state].name));
    session_ends_search(s);
    s->slow = true;
    d->n_slow++;
}

void session_ends_search(struct session *s)
{
    if (s->slow)
        s->dest->n_slow--;
    else
        s->dest->n_connecting--;
    s->slow = false;
}

/* ---- between messages ---- */

static void session_idle(struct session *s)
{
    struct dest *d = s->dest;
    list_push_front(&d->idle, &s->idle_node);
    list_push_back(&d->client->idle, &s->age_node);
    d->n_idle++;
    session_set_state(s, SESSION_READY);
    dest_kick(d);
    client_room_made(d->client);
}

void session_not_idle(struct session *s)
{
    if (!list_node_is_linked(&s->idle_node))
        return;
    list_remove(&s->idle_node);
    list_remove(&s->age_node);
    s->dest->n_idle--;
}

void session_ready(struct session *s)
{
    struct dest *d = s->dest;
    ASSERT(s->state < SESSION_READY);
    bool no_better = s->cost >= dest_best_cost(d);
    session_ends_search(s);
    d->open_after_ms = 0;
    resting_remove(d->client, &s->endpoint);
    session_idle(s);
    LIST_FOREACH_SAFE (n, tmp, &d->idle) {
        struct session *other = CONTAINER_OF(n, struct session, idle_node);
        if (other->cost > s->cost)
            session_close(other, true);
    }
    /* It was slow, and another session has taken its place meanwhile. */
    if (no_better && dest_working(d) > dest_connections_max(d))
        session_close(s, true);
}

bool session_is_outdated(const struct session *s)
{
    return s->conf_serial != s->dest->client->conf_serial;
}

void session_give_back_next(struct session *s)
{
    struct job *behind = s->next.job;
    s->next.job = NULL;
    if (behind != NULL)
        dest_give_back(s->dest, behind);
}

/* The message behind the dot has its DATA command at the peer, but not a reply to anything. */
static void session_end_outdated(struct session *s)
{
    session_give_back_next(s);
    session_close(s, !s->next.used);
}

void session_outdate(struct session *s)
{
    struct job *j = s->cur.job, *behind = s->next.job;
    bool taken = s->state == SESSION_DOT && !session_has_not_asked(s);
    bool content = s->state == SESSION_DOT || s->state == SESSION_CONTENT;
    if (behind != NULL)
        dest_put_back(s->dest, behind);
    s->next.job = NULL;
    /* A large message would never be sent if each reload began it again. */
    if (taken || (content && hosts_has_host_of(s->dest, s))) {
        if (s->next.used && !s->doomed)
            session_wait_for_dot_alone(s);
        return;
    }
    s->cur.job = NULL;
    if (j != NULL)
        dest_put_back(s->dest, j);
    session_close(s, false);
}

void session_message_end(struct session *s)
{
    unsigned max = s->dest->client->conf->smtp_client.messages_per_connection;
    slot_clear(s, &s->cur);
    if (s->doomed) {
        session_close(s, false);
    } else if (session_is_outdated(s)) {
        session_end_outdated(s);
    } else if (s->next.used) {
        s->cur = s->next;
        s->next = (struct slot){0};
        session_set_state(s, s->cur.want_rset ? SESSION_RSET : SESSION_MAIL);
        session_pump(s);
    } else if ((max != 0 && s->messages >= max) || s->cost > dest_best_cost(s->dest)) {
        session_close(s, true);
    } else {
        session_idle(s);
    }
}

bool session_can_queue(const struct session *s)
{
    unsigned max = s->dest->client->conf->smtp_client.messages_per_connection;
    return s->state == SESSION_DOT && s->caps.pipelining && !s->next.used && !s->doomed &&
           !session_is_outdated(s) && (max == 0 || s->messages < max);
}

/* ---- the end ---- */

void slot_clear(struct session *s, struct slot *sl)
{
    if (sl->reader != NULL)
        s->dest->client->ops->reader_close(&sl->reader);
    *sl = (struct slot){0};
}

void session_close(struct session *s, bool quit)
{
    struct dest *d = s->dest;
    if (s->state == SESSION_CLOSED)
        return;
    ASSERT(s->cur.job == NULL && s->next.job == NULL);
    slot_clear(s, &s->cur);
    slot_clear(s, &s->next);
    session_drop_stream(s, quit);
    if (s->state < SESSION_READY)
        session_ends_search(s);
    else
        d->worked_ms = loop_now_ms(d->client->loop);
    session_not_idle(s);
    list_remove(&s->node);
    if (session_is_outdated(s))
        d->n_outdated--;
    d->n_sessions--;
    d->client->n_sessions--;
    session_set_state(s, SESSION_CLOSED);
    client_bury(d->client, s);
    dest_kick(d);
    client_room_made(d->client);
}

void session_break(struct session *s, bool timed_out, enum dest_verdict verdict,
                   const struct smtp_reply *reply)
{
    struct dest *d = s->dest;
    struct job *j = s->cur.job, *behind = s->next.job;
    bool reused = s->messages > 1;
    bool said = s->cur.rcpt_said != 0;
    s->cur.job = s->next.job = NULL;
    /* A connection that was kept may just have been closed by the peer, which says nothing. */
    if (!reused || timed_out || said)
        session_endpoint_failed(s, reply);
    if (behind != NULL) {
        d->ahead_after_ms =
            loop_now_ms(d->client->loop) + d->client->conf->smtp_client.host_rest_ms;
        dest_give_back(d, behind);
    }
    if (j != NULL && !said && ((reused && !timed_out) || hosts_has_alternative(d))) {
        dest_give_back(d, j);
    } else if (j != NULL) {
        result_rest(j, OUTCOME_DEFERRED, reply);
        dest_finish(d, j, verdict);
    }
    session_close(s, false);
}

void session_cancel(struct session *s, struct job *j)
{
    if (s->next.job == j) {
        s->next.job = NULL;
        session_wait_for_dot_alone(s);
        return;
    }
    ASSERT(s->cur.job == j);
    s->cur.job = NULL;
    session_give_back_next(s);
    session_close(s, false);
}
