/*
 * smtpd_stage.c - see smtpd_stage.h.
 */
#include "tests/unit/smtpd_stage.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "relay/route/route.h"

/* ---- a spool that keeps messages in memory ---- */

struct spool_large {
    struct buf content;
    spool_large_ready_fn *ready;
    void *arg;
};

struct fake_spool fake;

uint64_t spool_next_id(struct spool *s)
{
    static uint64_t id;
    (void)s;
    return ++id;
}

void spool_id_text(uint64_t id, char dst[14])
{
    snprintf(dst, 14, "%013u", (unsigned)id);
}

uint64_t spool_large_bytes(const struct spool *s)
{
    (void)s;
    return fake.large_bytes;
}

bool spool_is_full(const struct spool *s)
{
    (void)s;
    return fake.full;
}

static void answer(struct spool_append *a)
{
    a->result = fake.result;
    if (fake.result == SPOOL_OK) {
        fake.n++;
        buf_clear(&fake.envelope);
        buf_clear(&fake.content);
        buf_append_str(&fake.envelope, a->envelope);
        for (int i = 0; i < a->n_content; i++)
            buf_append(&fake.content, a->content[i].iov_base, a->content[i].iov_len);
        fake.large = a->large != NULL;
        if (a->large != NULL)
            buf_append_str(&fake.content, buf_str(&a->large->content));
        assert_int_equal(a->content_size, fake.content.n);
    }
    if (a->large != NULL) {
        fake.large_waits = NULL;
        buf_free(&a->large->content);
        mem_free(a->large);
    }
    chan_send(a->reply_to, &a->node);
}

void fake_answer_held(void)
{
    struct spool_append *a = fake.held;
    assert_non_null(a);
    fake.held = NULL;
    answer(a);
}

void spool_submit(struct spool *s, struct spool_append *a)
{
    (void)s;
    if (fake.hold) {
        assert_null(fake.held);
        fake.held = a;
    } else {
        answer(a);
    }
}

struct spool_large *spool_large_new(struct spool *s, uint64_t id, struct chan *reply_to,
                                    spool_large_ready_fn *ready, void *arg)
{
    struct spool_large *l = NEW(struct spool_large);
    (void)s, (void)id, (void)reply_to;
    buf_init(&l->content, 1 << 24);
    l->ready = ready;
    l->arg = arg;
    return l;
}

bool spool_large_write(struct spool_large *l, const void *p, size_t n)
{
    assert_true(buf_append(&l->content, p, n));
    fake.large_writes++;
    fake.large_waits = fake.large_full ? l : NULL;
    return !fake.large_full;
}

void fake_large_ready(void)
{
    struct spool_large *l = fake.large_waits;
    assert_non_null(l);
    fake.large_waits = NULL;
    l->ready(l->arg);
}

void spool_large_abort(struct spool_large **l)
{
    if (fake.large_waits == *l)
        fake.large_waits = NULL;
    buf_free(&(*l)->content);
    mem_free(*l);
    *l = NULL;
    fake.large_aborted++;
}

/* ---- a router that judges by the local part ---- */

void route_admit(const struct route_query *q, struct arena *a, struct route_trace *trace,
                 struct decision *out)
{
    (void)a, (void)trace;
    assert_ptr_equal(q->conf, dir_view_conf(q->view));
    *out = (struct decision){.kind = DECISION_DELIVER};
    if (str_starts(q->recipient, STR("unknown@"))) {
        out->kind = DECISION_REFUSE;
        smtp_reply_set(&out->reply, 550, "5.1.1", "no such user here");
    } else if (str_starts(q->recipient, STR("later@"))) {
        out->kind = DECISION_DEFER;
        smtp_reply_set(&out->reply, 451, "4.3.0", "directory incomplete");
    } else if (q->origin == MAIL_FROM_INTERNET &&
               !str_ends_nocase(q->recipient, STR("@example.test"))) {
        out->kind = DECISION_REFUSE;
        smtp_reply_set(&out->reply, 550, "5.7.1", "relaying denied");
    }
}

/* ---- the world of one test ---- */

static const char conf_text[] =
    "hostname = \"relay.test\"\nuser = \"\"\n"
    "application_hosts = { \"10.9.0.0/16\" }\n"
    "listener \"in\" { address = { \"127.0.0.1:0\" } }\n"
    "listener \"inside\" { address = { \"127.0.0.1:0\" } kind = internal }\n"
    "forest \"a\" { host \"127.0.0.1\" { } peers = { \"10.1.0.0/16\" } }\n"
    "domain \"example.test\" { type = shared }\n"
    "smtpd { message_size_max = 300K  errors_max = 6  connections_per_client = 2 }\n"
    "spool { large_size = 64K }\n";

/* The view's configuration is another than the session's, as after a reload. */
static const struct conf conf_of_view;
struct dir_view {
    const struct conf *conf;
};
static const struct dir_view the_view = {.conf = &conf_of_view};

const struct conf *dir_view_conf(const struct dir_view *v)
{
    return v->conf;
}

static const struct dir_view *get_view(void *ctx)
{
    (void)ctx;
    return &the_view;
}

static void on_accepted(void *ctx, uint64_t id, struct str envelope, uint64_t size, bool eightbit)
{
    struct world *w = ctx;
    (void)id, (void)envelope, (void)size, (void)eightbit;
    w->accepted++;
}

static size_t client_data(void *arg, char *p, size_t n)
{
    struct world *w = arg;
    assert_true(buf_append(&w->heard, p, n));
    return n;
}

static void client_eof(void *arg)
{
    ((struct world *)arg)->closed = true;
}

static void client_error(void *arg, const struct err *e)
{
    (void)e;
    ((struct world *)arg)->closed = true;
}

static void client_nothing(void *arg)
{
    (void)arg;
}

static const struct stream_events client_events = {.on_data = client_data,
                                                   .on_eof = client_eof,
                                                   .on_error = client_error,
                                                   .on_drain = client_nothing,
                                                   .on_timeout = client_nothing};

struct sockaddr_storage peer_address(const char *ip)
{
    struct sockaddr_storage sa = {.ss_family = strchr(ip, ':') != NULL ? AF_INET6 : AF_INET};
    void *at = sa.ss_family == AF_INET6 ? (void *)&((struct sockaddr_in6 *)(void *)&sa)->sin6_addr
                                        : (void *)&((struct sockaddr_in *)(void *)&sa)->sin_addr;
    assert_int_equal(inet_pton(sa.ss_family, ip, at), 1);
    return sa;
}

/* A service, and a client whose connection was not yet taken. */
static void world_make(struct world *w, const char *ip, size_t chunk)
{
    struct err e = {0};
    struct smtp_reply refusal;
    struct sockaddr_storage sa = peer_address(ip);
    memset(w, 0, sizeof(*w));
    w->chunk = chunk;
    clock_fake_start(1000000, 1700000000000);
    buf_free(&fake.content);
    buf_free(&fake.envelope);
    memset(&fake, 0, sizeof(fake));
    fake.large_bytes = 65536;
    buf_init(&fake.content, 1 << 24);
    buf_init(&fake.envelope, 1 << 20);
    buf_init(&w->heard, 1 << 20);
    w->conf = conf_parse(conf_text, "test.conf", &e);
    if (w->conf == NULL)
        fail_msg("%s", e.text);
    w->conf->smtpd.recipients_max = 3; /* below what the table allows */
    w->conf->smtpd.received_max = 4;
    w->loop = loop_new(&e);
    w->clients = smtpd_clients_new(0);
    const struct smtpd_ops ops = {.ctx = w, .view = get_view, .accepted = on_accepted};
    w->smtpd = smtpd_new(w->loop, w->conf, &fake.spool, w->clients, &ops);
    w->session = smtpd_session_new(w->smtpd, 0, (struct sockaddr *)&sa, &refusal);
    assert_non_null(w->session);
    stream_pair_fake(w->loop, chunk, &smtpd_stream_limits, &client_events, w, &w->client,
                     &smtpd_stream_events, w->session, &w->server);
}

void world_open(struct world *w, const char *ip, size_t chunk)
{
    world_make(w, ip, chunk);
    smtpd_session_attach(w->session, w->server);
}

void world_open_talking(struct world *w, const char *ip, const char *said)
{
    world_make(w, ip, 0);
    assert_true(stream_write(w->client, said, strlen(said)));
    stream_flush(w->client);
    smtpd_session_attach(w->session, w->server);
}

void world_reload(struct world *w, const char *from, const char *to)
{
    struct err e = {0};
    struct buf text;
    const char *at = strstr(conf_text, from);
    assert_non_null(at);
    buf_init(&text, 65536);
    buf_append(&text, conf_text, (size_t)(at - conf_text));
    buf_append_str(&text, str_c(to));
    buf_append_str(&text, str_c(at + strlen(from)));
    struct conf *c = conf_parse(buf_cstr(&text), "test.conf", &e);
    if (c == NULL)
        fail_msg("%s", e.text);
    smtpd_reconfigure(w->smtpd, c);
    conf_unref(&c);
    buf_free(&text);
}

void turns(struct world *w, unsigned n)
{
    while (n-- > 0)
        loop_turn(w->loop, 0);
}

void world_close(struct world *w)
{
    if (w->client != NULL)
        stream_free(&w->client);
    turns(w, 5);
    if (fake.held != NULL) {
        fake_answer_held();
        turns(w, 3);
    }
    clock_fake_advance(10000);
    turns(w, 5);
    smtpd_free(&w->smtpd);
    smtpd_clients_free(&w->clients);
    loop_free(&w->loop);
    conf_unref(&w->conf);
    buf_free(&w->heard);
    clock_fake_stop();
}

void settle_after(struct world *w, size_t octets)
{
    for (size_t quiet = 0; quiet < octets + 50; quiet++) {
        size_t before = w->heard.n;
        loop_turn(w->loop, 0);
        if (w->heard.n != before)
            quiet = 0;
    }
}

void settle(struct world *w)
{
    settle_after(w, 0);
}

void say(struct world *w, struct str s)
{
    while (s.n != 0) {
        size_t n = s.n < 65536 ? s.n : 65536;
        assert_true(stream_write(w->client, s.p, n));
        s = str_from(s, n);
        settle_after(w, w->chunk != 0 ? n : 0);
    }
}

void say_until_data(struct world *w)
{
    settle(w);
    say(w, STR("EHLO c\r\n"));
    say(w, STR("MAIL FROM:<a@b.test>\r\nRCPT TO:<r@example.test>\r\nDATA\r\n"));
    buf_clear(&w->heard);
}

void expect(struct world *w, const char *prefix, const char *where)
{
    size_t at = 0;
    for (;;) {
        char *lf = w->heard.n > at ? memchr(w->heard.p + at, '\n', w->heard.n - at) : NULL;
        if (lf == NULL)
            fail_msg("%s: expected \"%s\", heard \"%.*s\"", where, prefix, (int)w->heard.n,
                     w->heard.n != 0 ? w->heard.p : "");
        bool last = w->heard.p[at + 3] == ' ';
        at = (size_t)(lf - w->heard.p) + 1;
        if (last)
            break;
    }
    if (strncmp(w->heard.p, prefix, strlen(prefix)) != 0)
        fail_msg("%s: expected \"%s\", heard \"%.*s\"", where, prefix, (int)at, w->heard.p);
    buf_consume(&w->heard, at);
}

void run_dialogue(const char *const *lines, const char *ip, size_t chunk)
{
    struct world w;
    char text[8192];
    world_open(&w, ip, chunk);
    settle(&w);
    for (size_t i = 0; lines[i] != NULL; i++) {
        const char *l = lines[i];
        if (strncmp(l, "C:", 2) == 0) {
            snprintf(text, sizeof(text), "%s\r\n", l + 2);
            say(&w, str_c(text));
        } else if (strncmp(l, "R:", 2) == 0) { /* raw: no line end is added */
            say(&w, str_c(l + 2));
        } else if (strncmp(l, "S:", 2) == 0) {
            expect(&w, l + 2, l);
        } else if (strcmp(l, "CLOSED") == 0) {
            settle(&w);
            if (!w.closed || w.heard.n != 0)
                fail_msg("line %zu: the connection should be closed and silent; heard \"%.*s\"", i,
                         (int)w.heard.n, w.heard.n != 0 ? w.heard.p : "");
        } else if (strncmp(l, "WAIT:", 5) == 0) {
            clock_fake_advance(atol(l + 5));
            settle(&w);
        } else if (strncmp(l, "FULL:", 5) == 0) {
            fake.full = atoi(l + 5) != 0;
        } else if (strncmp(l, "RESULT:", 7) == 0) {
            fake.result = (enum spool_result)atoi(l + 7);
        } else if (strncmp(l, "ACCEPTED:", 9) == 0) {
            assert_int_equal(w.accepted, atoi(l + 9));
        } else if (strncmp(l, "HAS:", 4) == 0) {
            if (fake.content.n == 0 ||
                memmem(fake.content.p, fake.content.n, l + 4, strlen(l + 4)) == NULL)
                fail_msg("\"%s\" is not in the content \"%.*s\"", l + 4, (int)fake.content.n,
                         fake.content.n != 0 ? fake.content.p : "");
        } else {
            fail_msg("unknown line \"%s\"", l);
        }
    }
    world_close(&w);
}

void both(const char *const *lines, const char *ip)
{
    run_dialogue(lines, ip, 0);
    run_dialogue(lines, ip, 1);
}
