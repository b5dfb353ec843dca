/*
 * smtpc_peer.c - see smtpc_peer.h. Servers run in the client's own loop, over real loopback
 * sockets; time is the fake clock's. Not a test itself.
 */
#include "tests/unit/smtpc_peer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"

struct world W;

/* ---- server ---- */

struct conn {
    struct list_node node;
    struct peer *peer;
    struct stream *stream;
    struct loop_task trickle;
    struct buf out; /* waits to be sent, if byte by byte */
    struct dot_decoder dot;
    bool in_content, hung, waits, close_when_sent;
    struct received now;
};

static void conn_free(struct conn *c)
{
    stream_free(&c->stream);
    loop_task_cancel(&c->trickle);
    list_remove(&c->node);
    c->peer->open--;
    buf_free(&c->out);
    buf_free(&c->now.content);
    free(c);
}

static void conn_trickle(struct loop_task *t)
{
    struct conn *c = CONTAINER_OF(t, struct conn, trickle);
    if (c->out.n > 0) {
        stream_write(c->stream, c->out.p, 1);
        stream_flush(c->stream);
        buf_consume(&c->out, 1);
    }
    if (c->out.n == 0 && c->close_when_sent)
        conn_free(c);
}

/* False: the connection is gone. */
static bool conn_say(struct conn *c, const char *text, bool then_close)
{
    if (strcmp(text, REPLY_HANG) == 0) {
        c->hung = true;
        return true;
    }
    if (strcmp(text, REPLY_WAIT) == 0) {
        c->waits = true;
        stream_pause(c->stream);
        return true;
    }
    if (strcmp(text, REPLY_CLOSE) == 0) {
        stream_flush(c->stream);
        conn_free(c);
        return false;
    }
    if (c->peer->byte_at_a_time) {
        buf_append_c(&c->out, text);
        c->close_when_sent = then_close;
        return true;
    }
    stream_write(c->stream, text, strlen(text));
    if (then_close) {
        stream_flush(c->stream);
        stream_finish(&c->stream, 1000);
        conn_free(c);
    }
    return !then_close;
}

static const struct rule *peer_find_rule(struct peer *p, enum step step, const char *line)
{
    for (unsigned i = 0; i < p->n_rule; i++) {
        struct rule *r = &p->rule[i];
        if (r->step != step || (r->match != NULL && strstr(line, r->match) == NULL))
            continue;
        unsigned seen = p->passed[i]++;
        if (seen >= r->skip && (r->times == 0 || seen < r->skip + r->times))
            return r;
    }
    return NULL;
}

static void copy_path(const char *line, char *dst, size_t cap)
{
    const char *a = strchr(line, '<'), *b = strchr(line, '>');
    size_t at = strlen(dst);
    if (at + 2 >= cap)
        return;
    if (at > 0)
        dst[at++] = ',';
    snprintf(dst + at, cap - at, "%.*s", (int)(b - a - 1), a + 1);
}

static void conn_store(struct conn *c, bool accepted);

static bool conn_answer(struct conn *c, enum step step, const char *line, const char *usual)
{
    struct peer *p = c->peer;
    const char *reply = p->decide != NULL ? p->decide(p, step) : NULL;
    const struct rule *r = reply == NULL ? peer_find_rule(p, step, line) : NULL;
    bool then_close = r != NULL ? r->then_close : step == STEP_QUIT;
    if (reply == NULL)
        reply = r != NULL ? r->reply : usual;
    if (step == STEP_DATA) {
        c->in_content = reply[0] == '3';
        dot_decoder_init(&c->dot, false);
    }
    if (step == STEP_RCPT && reply[0] == '2')
        copy_path(line, c->now.rcpt, sizeof(c->now.rcpt));
    if (step == STEP_DOT)
        conn_store(c, reply[0] == '2');
    return conn_say(c, reply, then_close);
}

static void conn_store(struct conn *c, bool accepted)
{
    struct peer *p = c->peer;
    c->now.accepted = accepted;
    if (p->n_mail < PEER_MAIL_MAX)
        p->mail[p->n_mail++] = c->now;
    else
        buf_free(&c->now.content);
    memset(&c->now, 0, sizeof(c->now));
    buf_init(&c->now.content, 64u << 20);
}

static bool conn_command(struct conn *c, const char *line)
{
    struct peer *p = c->peer;
    buf_append_c(&p->log, line);
    buf_append_char(&p->log, '\n');
    if (c->hung)
        return true;
    if (strncmp(line, "EHLO ", 5) == 0)
        return conn_answer(c, STEP_EHLO, line, p->ehlo);
    if (strncmp(line, "HELO ", 5) == 0)
        return conn_answer(c, STEP_HELO, line, "250 peer.test\r\n");
    if (strcmp(line, "RSET") == 0) {
        c->now.from[0] = c->now.rcpt[0] = '\0';
        return conn_answer(c, STEP_RSET, line, "250 2.0.0 Ok\r\n");
    }
    if (strncmp(line, "MAIL FROM:", 10) == 0) {
        c->now.from[0] = c->now.rcpt[0] = '\0';
        copy_path(line, c->now.from, sizeof(c->now.from));
        return conn_answer(c, STEP_MAIL, line, "250 2.1.0 Ok\r\n");
    }
    if (strncmp(line, "RCPT TO:", 8) == 0) {
        return conn_answer(c, STEP_RCPT, line, "250 2.1.5 Ok\r\n");
    }
    if (strcmp(line, "DATA") == 0)
        return conn_answer(c, STEP_DATA, line, "354 Go ahead\r\n");
    if (strcmp(line, "QUIT") == 0)
        return conn_answer(c, STEP_QUIT, line, "221 2.0.0 Bye\r\n");
    return conn_say(c, "500 5.5.2 What?\r\n", false);
}

static size_t conn_content(struct conn *c, const char *data, size_t n, bool *gone)
{
    char *out = malloc(n + 2);
    size_t used, made;
    bool end = dot_decode(&c->dot, data, n, out, &used, &made);
    buf_append(&c->now.content, out, made);
    free(out);
    if (end) {
        c->in_content = false;
        buf_append_c(&c->peer->log, ".\n");
        *gone = !c->hung && !conn_answer(c, STEP_DOT, ".", "250 2.0.0 Taken\r\n");
    }
    return used;
}

static size_t conn_on_data(void *arg, char *data, size_t n)
{
    struct conn *c = arg;
    struct peer *p = c->peer;
    size_t at = 0;
    bool gone = false;
    while (at < n) {
        if (c->in_content && p->stop_reading_content) {
            stream_pause(c->stream);
            break;
        }
        if (c->in_content) {
            at += conn_content(c, data + at, n - at, &gone);
        } else {
            char line[5000];
            char *lf = memchr(data + at, '\n', n - at);
            if (lf == NULL)
                break;
            size_t len = (size_t)(lf - data) - at;
            assert_true(len < sizeof(line) && len > 0 && lf[-1] == '\r');
            memcpy(line, data + at, len - 1);
            line[len - 1] = '\0';
            at += len + 1;
            gone = !conn_command(c, line);
        }
        if (gone)
            return n;
        if (c->waits)
            break;
    }
    buf_append_char(&p->log, '|');
    return at;
}

static void conn_on_end(void *arg)
{
    conn_free(arg);
}

static void conn_on_error(void *arg, const struct err *e)
{
    (void)e;
    conn_free(arg);
}

static void conn_ignore(void *arg)
{
    (void)arg;
}

static const struct stream_events conn_events = {.on_data = conn_on_data,
                                                 .on_eof = conn_on_end,
                                                 .on_error = conn_on_error,
                                                 .on_drain = conn_ignore,
                                                 .on_timeout = conn_ignore};

static void peer_accept(void *arg, int fd, const struct sockaddr_storage *from)
{
    static const struct stream_limits limits = {.max_in = 1 << 20, .max_out = 1 << 20};
    struct peer *p = arg;
    struct conn *c = calloc(1, sizeof(*c));
    (void)from;
    c->peer = p;
    c->trickle.fn = conn_trickle;
    buf_init(&c->out, 1 << 20);
    buf_init(&c->now.content, 64u << 20);
    c->stream = stream_new(p->loop, fd, &limits, &conn_events, c);
    snprintf(p->last_client, sizeof(p->last_client), "%s", stream_peer(c->stream)->ip);
    list_push_back(&p->conns, &c->node);
    p->connections++;
    p->open++;
    conn_answer(c, STEP_BANNER, "", "220 peer.test ESMTP\r\n");
}

struct peer *peer_new(struct loop *l, const char *ip, unsigned port)
{
    struct peer *p = calloc(1, sizeof(*p));
    struct sockaddr_storage ss;
    socklen_t len;
    struct err e;
    char text[80];
    snprintf(text, sizeof(text), strchr(ip, ':') != NULL ? "[%s]:%u" : "%s:%u", ip, port);
    int fd = listen_parse(str_c(text), &ss, &len, &e)
                 ? listen_tcp((const void *)&ss, len, 64, false, &e)
                 : -1;
    if (fd < 0) {
        free(p);
        return NULL;
    }
    getsockname(fd, (void *)&ss, &len);
    p->loop = l;
    p->port = ntohs(ss.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)(void *)&ss)->sin6_port
                                             : ((struct sockaddr_in *)(void *)&ss)->sin_port);
    snprintf(p->ip, sizeof(p->ip), "%s", ip);
    p->ehlo = EHLO_FULL;
    buf_init(&p->log, 64u << 20);
    list_init(&p->conns);
    p->listener = listener_new(l, fd, peer_accept, p);
    return p;
}

void peer_close_all(struct peer *p)
{
    struct list_node *n;
    while ((n = list_first(&p->conns)) != NULL)
        conn_free(CONTAINER_OF(n, struct conn, node));
}

void peer_say(struct peer *p, const char *text)
{
    LIST_FOREACH (n, &p->conns) {
        struct conn *c = CONTAINER_OF(n, struct conn, node);
        stream_write(c->stream, text, strlen(text));
        if (text[0] == '3' && !c->in_content) {
            c->in_content = true;
            dot_decoder_init(&c->dot, false);
        }
        c->waits = false;
        stream_resume(c->stream);
    }
}

void peer_resume(struct peer *p)
{
    p->stop_reading_content = false;
    LIST_FOREACH (n, &p->conns) {
        stream_resume(CONTAINER_OF(n, struct conn, node)->stream);
    }
}

void peer_free(struct peer *p)
{
    peer_close_all(p);
    listener_free(&p->listener);
    for (unsigned i = 0; i < p->n_mail; i++)
        buf_free(&p->mail[i].content);
    buf_free(&p->log);
    free(p);
}

void peer_rule(struct peer *p, struct rule r)
{
    assert_true(p->n_rule < 12);
    p->rule[p->n_rule++] = r;
}

unsigned peer_count(const struct peer *p, const char *text)
{
    unsigned n = 0;
    struct buf *log = (struct buf *)&p->log;
    for (const char *at = buf_cstr(log); (at = strstr(at, text)) != NULL; at++)
        n++;
    return n;
}

bool peer_said(const struct peer *p, const char *text)
{
    return peer_count(p, text) > 0;
}

static void peers_trickle(struct peer *p)
{
    if (!p->byte_at_a_time)
        return;
    LIST_FOREACH (n, &p->conns) {
        loop_task_add(p->loop, &CONTAINER_OF(n, struct conn, node)->trickle);
    }
}

static struct peer *trickling[4];

/* ---- spool ---- */

struct spool_reader {
    const struct content *content;
};

static struct spool_reader *fake_open(struct spool *s, uint64_t id, struct err *e)
{
    (void)s;
    assert_true(id < CONTENT_MAX);
    if (W.content[id].missing) {
        err_set(e, ERR_CORRUPT, 0, "not there");
        return NULL;
    }
    struct spool_reader *r = NEW(struct spool_reader);
    r->content = &W.content[id];
    W.readers_open++;
    return r;
}

static uint64_t fake_size(const struct spool_reader *r)
{
    return r->content->n;
}

static bool fake_read(struct spool_reader *r, uint64_t off, void *p, size_t n, size_t *got,
                      struct err *e)
{
    const struct content *c = r->content;
    assert_true(off + n <= c->n);
    if (c->fail_at > 0 && off + n > c->fail_at)
        return err_set(e, ERR_SYSTEM, 5, "read error");
    memcpy(p, c->p + off, n);
    *got = n;
    if (c->corrupt && off + n == c->n)
        return err_set(e, ERR_CORRUPT, 0, "checksum");
    return true;
}

static void fake_close(struct spool_reader **r)
{
    mem_free(*r);
    *r = NULL;
    W.readers_open--;
}

/* ---- resolver ---- */

struct resolve {
    struct list_node node;
    struct loop_task task;
    resolve_done_fn *done;
    void *arg;
    char name[256];
    bool mx;
};

static void answer_mx(struct resolve *q)
{
    struct resolve_answer a = {.status = RESOLVE_TEMPORARY, .why = "no such fake"};
    for (unsigned i = 0; i < W.n_mx; i++)
        if (strcmp(W.mx[i].domain, q->name) == 0) {
            a.status = W.mx[i].status;
            a.n_mx = W.mx[i].n;
            a.mx = W.mx[i].mx;
        }
    q->done(q->arg, &a);
}

/* "127.0.0.1" or "[::1]" */
static bool fake_address(const char *text, struct resolve_addr *out)
{
    struct sockaddr_in *in = (void *)&out->addr;
    struct sockaddr_in6 *in6 = (void *)&out->addr;
    char bare[48];
    snprintf(bare, sizeof(bare), "%.*s", (int)strcspn(text + 1, "]"), text + 1);
    if (text[0] == '[' && inet_pton(AF_INET6, bare, &in6->sin6_addr) == 1) {
        in6->sin6_family = AF_INET6;
        out->len = sizeof(*in6);
        return true;
    }
    in->sin_family = AF_INET;
    out->len = sizeof(*in);
    return inet_pton(AF_INET, text, &in->sin_addr) == 1;
}

static void answer_host(struct resolve *q)
{
    struct resolve_answer a = {.status = RESOLVE_TEMPORARY, .why = "no such fake"};
    struct resolve_addr addr[3] = {0};
    const char *literal[3] = {q->name, NULL, NULL};
    const char *const *ip = literal;
    for (unsigned i = 0; i < W.n_hosts; i++)
        if (strcmp(W.hosts[i].name, q->name) == 0) {
            a.status = W.hosts[i].status;
            ip = W.hosts[i].ip;
        }
    for (unsigned i = 0; i < 3 && ip[i] != NULL; i++)
        if (fake_address(ip[i], &addr[a.n_addr])) {
            a.n_addr++;
            a.status = RESOLVE_OK;
        }
    a.addr = addr;
    q->done(q->arg, &a);
}

static void fake_answer(struct loop_task *t)
{
    struct resolve *q = CONTAINER_OF(t, struct resolve, task);
    list_remove(&q->node);
    if (q->mx)
        answer_mx(q);
    else
        answer_host(q);
    free(q);
}

static struct resolve *fake_ask(struct str name, resolve_done_fn *done, void *arg, bool mx)
{
    struct resolve *q = calloc(1, sizeof(*q));
    q->task.fn = fake_answer;
    q->done = done;
    q->arg = arg;
    q->mx = mx;
    assert_true(str_copy(name, q->name, sizeof(q->name)));
    list_push_back(&W.questions, &q->node);
    loop_task_add(W.loop, &q->task);
    return q;
}

static struct resolve *fake_mx(struct resolver *r, struct str d, resolve_done_fn *done, void *arg)
{
    (void)r;
    W.mx_asked++;
    return fake_ask(d, done, arg, true);
}

static struct resolve *fake_host(struct resolver *r, struct str n, resolve_done_fn *done, void *arg)
{
    (void)r;
    W.hosts_asked++;
    return fake_ask(n, done, arg, false);
}

static void fake_cancel(struct resolve **q)
{
    loop_task_cancel(&(*q)->task);
    list_remove(&(*q)->node);
    free(*q);
    *q = NULL;
}

static const struct smtpc_ops fake_ops = {.reader_open = fake_open,
                                          .reader_size = fake_size,
                                          .reader_read = fake_read,
                                          .reader_close = fake_close,
                                          .mx = fake_mx,
                                          .host = fake_host,
                                          .resolve_cancel = fake_cancel};

/* ---- world ---- */

int world_setup(void **state)
{
    struct err e;
    (void)state;
    memset(&W, 0, sizeof(W));
    memset(trickling, 0, sizeof(trickling));
    clock_fake_start(1000000, 1700000000000);
    W.loop = loop_new(&e);
    list_init(&W.questions);
    W.conf.refs = 1000;
    W.conf.hostname = (char *)"relay.test";
    W.conf.forest = W.forest;
    W.conf.n_forest = 2;
    W.forest[0].name = (char *)"one";
    W.forest[1].name = (char *)"two";
    W.forest[0].host = W.host[0];
    W.forest[1].host = W.host[1];
    W.conf.listener = W.listener;
    W.conf.smtp_client.connections_max = 4;
    W.conf.smtp_client.messages_per_connection = 100;
    W.conf.smtp_client.idle_timeout_ms = 30000;
    W.conf.smtp_client.connect_timeout_ms = 20000;
    W.conf.smtp_client.banner_timeout_ms = 300000;
    W.conf.smtp_client.mail_timeout_ms = 300000;
    W.conf.smtp_client.rcpt_timeout_ms = 300000;
    W.conf.smtp_client.data_timeout_ms = 120000;
    W.conf.smtp_client.content_timeout_ms = 180000;
    W.conf.smtp_client.dot_timeout_ms = 600000;
    W.conf.smtp_client.quit_timeout_ms = 10000;
    W.conf.smtp_client.total_timeout_ms = 3600000;
    W.conf.smtp_client.mx_port = 25;
    W.conf.smtp_client.bind_address = (char *)"";
    W.conf.smtp_client.helo = (char *)"";
    W.conf.smtp_client.host_rest_ms = 30000;
    world_client();
    return 0;
}

void world_client(void)
{
    smtpc_free(&W.client);
    W.client = smtpc_new_with(W.loop, &W.conf, NULL, NULL, &fake_ops);
    W.transport = smtpc_transport(W.client);
}

int world_teardown(void **state)
{
    (void)state;
    smtpc_free(&W.client);
    assert_int_equal(W.readers_open, 0);
    assert_true(list_is_empty(&W.questions));
    loop_free(&W.loop);
    clock_fake_stop();
    return 0;
}

void world_host(unsigned forest, const char *name, unsigned port, unsigned cost)
{
    struct conf_forest *f = &W.forest[forest];
    f->host[f->n_host++] = (struct conf_host){.name = (char *)name, .port = port, .cost = cost};
}

void world_trickle(struct peer *p)
{
    p->byte_at_a_time = true;
    for (unsigned i = 0; i < 4; i++)
        if (trickling[i] == NULL) {
            trickling[i] = p;
            return;
        }
}

void turns(unsigned n)
{
    static unsigned count;
    while (n-- > 0) {
        /* Loopback needs no time as a rule; the millisecond now and then is for a busy machine. */
        int wait_ms = ++count % 8 == 0 ? 1 : 0;
        for (unsigned i = 0; i < 4; i++)
            if (trickling[i] != NULL)
                peers_trickle(trickling[i]);
        loop_turn(W.loop, wait_ms);
    }
}

/* ---- deliveries ---- */

static bool mail_confirm(struct delivery *d)
{
    struct mail *m = d->owner;
    m->confirmed++;
    return !m->refuse_confirm;
}

static bool mail_wanted(struct delivery *d)
{
    const struct mail *m = d->owner;
    return !m->refuse_confirm;
}

static void mail_answered(struct delivery *d)
{
    struct mail *m = d->owner;
    m->answered++;
    assert_true(m->answered <= m->confirmed);
}

static void mail_done(struct delivery *d)
{
    struct mail *m = d->owner;
    m->done++;
    for (unsigned i = 0; i < d->n_rcpt; i++) {
        assert_int_not_equal(d->rcpt[i].outcome, OUTCOME_NONE);
        assert_non_null(d->rcpt[i].reply);
        assert_int_not_equal(d->rcpt[i].reply->code, 0);
    }
    if (m->then != NULL)
        mail_start(m->then);
}

struct mail *mail_new(unsigned id, enum dest_kind kind, const char *dest, unsigned n_rcpt,
                      const char *content)
{
    struct mail *m = calloc(1, sizeof(*m));
    assert_true(n_rcpt <= MAIL_RCPT_MAX);
    W.content[id] = (struct content){.p = content, .n = strlen(content)};
    m->env.sender = STR("sender@from.test");
    m->env.rcpt = m->er;
    m->env.n_rcpt = n_rcpt;
    for (unsigned i = 0; i < n_rcpt; i++) {
        snprintf(m->address[i], sizeof(m->address[i]), "rcpt%u@to.test", i);
        m->er[i].address = m->dr[i].address = str_c(m->address[i]);
        m->dr[i].index = i;
    }
    m->d = (struct delivery){.msg_id = id,
                             .env = &m->env,
                             .dest = {.kind = kind, .name = str_c(dest)},
                             .content_size = strlen(content),
                             .n_rcpt = n_rcpt,
                             .rcpt = m->dr,
                             .attempt = 1,
                             .confirm = mail_confirm,
                             .wanted = mail_wanted,
                             .answered = mail_answered,
                             .done = mail_done,
                             .owner = m};
    snprintf(m->d.id_text, sizeof(m->d.id_text), "MSG%u", id);
    return m;
}

void mail_start(struct mail *m)
{
    W.transport.start(W.transport.ctx, &m->d);
    assert_int_equal(m->done, 0);
}

void mail_free(struct mail *m)
{
    mem_free(m->d.replies);
    free(m);
}

void mail_wait(struct mail *m)
{
    for (unsigned i = 0; i < 3000 && m->done == 0; i++)
        turns(1);
    assert_int_equal(m->done, 1);
}

struct mail *mail_to(unsigned id, enum dest_kind kind, const char *dest)
{
    return mail_new(id, kind, dest, 1, "Subject: x\r\n\r\nbody\r\n");
}

void deliver(unsigned id, enum dest_kind kind, const char *dest, enum outcome want)
{
    struct mail *m = mail_to(id, kind, dest);
    mail_start(m);
    mail_wait(m);
    if (m->dr[0].outcome != want)
        fail_msg("outcome %d: %d %s", m->dr[0].outcome, m->dr[0].reply->code, m->dr[0].reply->text);
    mail_free(m);
}

struct mail *many[MANY];

void many_start(unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        many[i] = mail_to(i + 1, DEST_FOREST, "one");
        mail_start(many[i]);
    }
}

void many_end(unsigned n, enum outcome want)
{
    for (unsigned i = 0; i < n; i++) {
        mail_wait(many[i]);
        assert_outcome(many[i], 0, want);
        mail_free(many[i]);
    }
}
