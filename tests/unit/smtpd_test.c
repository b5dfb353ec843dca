/*
 * smtpd_test.c - inbound sessions on a fake stream and a virtual clock, with a spool and a router
 * made here.
 *
 * A dialogue is a list of lines: what the client says ("C:..."), what must come back ("S:250", by
 * prefix), and events in between. Each dialogue runs with whole writes and one octet at a time.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "relay/route/route.h"
#include "relay/smtpd/smtpd_int.h"

/* ---- a spool that keeps messages in memory ---- */

struct spool {
    int unused;
};
struct spool_large {
    struct buf content;
    spool_large_ready_fn *ready;
    void *arg;
};

static struct {
    struct spool spool;
    bool full, hold; /* hold: appends are answered when the test says so */
    enum spool_result result;
    unsigned n;
    struct buf content, envelope; /* of the last message */
    struct spool_append *held;
    bool large;
    unsigned large_aborted;
} fake;

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
    return 65536;
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
        buf_free(&a->large->content);
        mem_free(a->large);
    }
    chan_send(a->reply_to, &a->node);
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
    return true;
}

void spool_large_abort(struct spool_large **l)
{
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

struct world {
    struct loop *loop;
    struct conf *conf;
    struct smtpd_clients *clients;
    struct smtpd *smtpd;
    struct smtpd_session *session;
    struct stream *client, *server;
    struct buf heard;
    bool closed;
    unsigned accepted;
    size_t chunk;
};

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

static struct sockaddr_in peer_address(const char *ip)
{
    unsigned a, b, c, d;
    assert_int_equal(sscanf(ip, "%u.%u.%u.%u", &a, &b, &c, &d), 4);
    struct sockaddr_in sa = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(a << 24 | b << 16 | c << 8 | d)};
    return sa;
}

static void world_open(struct world *w, const char *ip, size_t chunk)
{
    struct err e = {0};
    struct smtp_reply refusal;
    struct sockaddr_in sa = peer_address(ip);
    memset(w, 0, sizeof(*w));
    w->chunk = chunk;
    clock_fake_start(1000000, 1700000000000);
    buf_free(&fake.content);
    buf_free(&fake.envelope);
    memset(&fake, 0, sizeof(fake));
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
    smtpd_session_attach(w->session, w->server);
}

static void turns(struct world *w, unsigned n)
{
    while (n-- > 0)
        loop_turn(w->loop, 0);
}

static void world_close(struct world *w)
{
    if (w->client != NULL)
        stream_free(&w->client);
    turns(w, 5);
    if (fake.held != NULL) {
        answer(fake.held);
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

/* Turns until the world stands still; `octets` may be on their way one by one. */
static void settle_after(struct world *w, size_t octets)
{
    for (size_t quiet = 0; quiet < octets + 50; quiet++) {
        size_t before = w->heard.n;
        loop_turn(w->loop, 0);
        if (w->heard.n != before)
            quiet = 0;
    }
}

static void settle(struct world *w)
{
    settle_after(w, 0);
}

static void say(struct world *w, struct str s)
{
    while (s.n != 0) {
        size_t n = s.n < 65536 ? s.n : 65536;
        assert_true(stream_write(w->client, s.p, n));
        s = str_from(s, n);
        settle_after(w, w->chunk != 0 ? n : 0);
    }
}

/* Takes one reply (all its lines) off what was heard, and compares its first line's beginning. */
static void expect(struct world *w, const char *prefix, const char *where)
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

static void run_dialogue(const char *const *lines, const char *ip, size_t chunk)
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

static void both(const char *const *lines, const char *ip)
{
    run_dialogue(lines, ip, 0);
    run_dialogue(lines, ip, 1);
}

#define HELLO  "S:220 relay.test", "C:EHLO client.test", "S:250-relay.test"
#define MAIL1  "C:MAIL FROM:<s@x.test>", "S:250 2.1.0", "C:RCPT TO:<r@example.test>", "S:250 2.1.5"
#define DATA1  "C:DATA", "S:354"
#define D(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_plain(void **state)
{
    (void)state;
    both(D(HELLO, MAIL1, DATA1, "R:Subject: x\r\n\r\n..dot\r\n.\r\n", "S:250 2.0.0 Ok: queued as",
           "ACCEPTED:1", "HAS:\r\n\r\n.dot\r\n",
           "HAS:Received: from client.test ([192.0.2.7])\r\n\tby relay.test", "HAS:with ESMTP id",
           "HAS:for <r@example.test>", "C:QUIT", "S:221 2.0.0", "CLOSED"),
         "192.0.2.7");
}

static void test_order_of_commands(void **state)
{
    (void)state;
    both(D("S:220", "C:MAIL FROM:<a@b.test>", "S:503", "C:EHLO", "S:501", "C:HELO me",
           "S:250 relay.test", "C:RCPT TO:<r@example.test>", "S:503", "C:DATA", "S:503", MAIL1,
           "C:MAIL FROM:<c@d.test>", "S:503", "C:QUIT", "S:221", "CLOSED"),
         "192.0.2.7");
    both(D(HELLO, "C:RSET", "S:250", "C:NOOP hi", "S:250", "C:VRFY x", "S:252", "C:HELP", "S:214",
           "C:EXPN l", "S:502", "C:STARTTLS", "S:502", "C:AUTH PLAIN", "S:502", "C:FROB",
           "S:500 5.5.2", "C:DATA now", "S:501"),
         "192.0.2.7");
}

static void test_rset_and_ehlo_forget(void **state)
{
    (void)state;
    both(D(HELLO, MAIL1, "C:RSET", "S:250", "C:DATA", "S:503", MAIL1, "C:EHLO again", "S:250-",
           "C:DATA", "S:503", "ACCEPTED:0"),
         "192.0.2.7");
}

static void test_recipients(void **state)
{
    (void)state;
    both(D(HELLO, "C:MAIL FROM:<>", "S:250", "C:RCPT TO:<unknown@example.test>", "S:550 5.1.1",
           "C:RCPT TO:<later@example.test>", "S:451", "C:RCPT TO:<x@elsewhere.test>", "S:550 5.7.1",
           "C:DATA", "S:554 5.5.1", "C:RCPT TO:<a@example.test>", "S:250",
           "C:RCPT TO:<b@example.test>", "S:250", "C:RCPT TO:<c@example.test>", "S:250",
           "C:RCPT TO:<d@example.test>", "S:452 4.5.3", DATA1, "R:hi\r\n.\r\n", "S:250",
           "ACCEPTED:1"),
         "192.0.2.7");
    /* A forest may relay outward. */
    both(D(HELLO, "C:MAIL FROM:<>", "S:250", "C:RCPT TO:<x@elsewhere.test>", "S:250"), "10.1.2.3");
    both(D(HELLO, "C:MAIL FROM:<>", "S:250", "C:RCPT TO:<x@elsewhere.test>", "S:250"), "10.9.2.3");
}

static void test_pipelining(void **state)
{
    (void)state;
    both(D(HELLO,
           "R:MAIL FROM:<a@b.test>\r\nRCPT TO:<r@example.test>\r\nRCPT "
           "TO:<unknown@example.test>\r\nDATA\r\n",
           "S:250 2.1.0", "S:250 2.1.5", "S:550", "S:354",
           "R:x\r\n.\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<r@example.test>\r\n", "S:250 2.0.0",
           "S:250 2.1.0", "S:250 2.1.5", DATA1, "R:y\r\n.\r\nQUIT\r\n", "S:250", "S:221", "CLOSED",
           "ACCEPTED:2"),
         "192.0.2.7");
    /* What follows a command that ends a group is never taken for commands. (Octet by octet it is
     * not behind it.) */
    run_dialogue(D(HELLO,
                   "R:MAIL FROM:<a@b.test>\r\nRCPT TO:<r@example.test>\r\nDATA\r\nfrom: x\r\n.\r\n",
                   "S:250", "S:250", "S:503 5.5.0", "CLOSED", "ACCEPTED:0"),
                 "192.0.2.7", 0);
    run_dialogue(D("S:220", "R:EHLO x\r\nMAIL FROM:<a@b.test>\r\n", "S:503 5.5.0", "CLOSED"),
                 "192.0.2.7", 0);
}

/* A group longer than what one turn serves is answered to its end, without another octet from the
 * client. */
static void test_pipeline_longer_than_a_turn(void **state)
{
    struct world w;
    char *group = malloc(200 * 1024);
    size_t n = 0;
    (void)state;
    world_open(&w, "192.0.2.7", 0);
    settle(&w);
    say(&w, STR("EHLO c\r\n"));
    buf_clear(&w.heard);
    for (int i = 0; i < 5000; i++)
        n += (size_t)sprintf(group + n, "NOOP\r\n");
    say(&w, str_n(group, n));
    settle_after(&w, 50);
    for (int i = 0; i < 5000; i++)
        expect(&w, "250 2.0.0 Ok", "noop");
    assert_int_equal(w.heard.n, 0);
    world_close(&w);
    free(group);
}

static void test_bare_newlines(void **state)
{
    static const char *const bad[] = {
        "R:a\nb\r\n.\r\n",         "R:a\rb\r\n.\r\n",         "R:a\n.\nQUIT\r\n.\r\n",
        "R:a\r\n.\nQUIT\r\n.\r\n", "R:a\n.\r\nQUIT\r\n.\r\n", "R:a\r.\rQUIT\r\n.\r\n",
        "R:a\r\n.\rQUIT\r\n.\r\n",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        both(D(HELLO, MAIL1, DATA1, bad[i], "S:550 5.6.11", "ACCEPTED:0", "C:NOOP", "S:250"),
             "192.0.2.7");
}

static void test_too_many_hops(void **state)
{
    (void)state;
    both(D(HELLO, MAIL1, DATA1,
           "R:Received: 1\r\nreceived: 2\r\nRECEIVED: 3\r\nReceived: 4\r\nReceived: "
           "5\r\n\r\nx\r\n.\r\n",
           "S:554 5.4.6", "ACCEPTED:0", MAIL1, DATA1,
           "R:Received: 1\r\n\r\nReceived: 2\r\nReceived: 3\r\nReceived: 4\r\nReceived: 5\r\n.\r\n",
           "S:250", "ACCEPTED:1"),
         "192.0.2.7");
}

static void test_size(void **state)
{
    (void)state;
    both(D(HELLO, "C:MAIL FROM:<a@b.test> SIZE=307201", "S:552 5.3.4",
           "C:MAIL FROM:<a@b.test> SIZE=1000", "S:250"),
         "192.0.2.7");
    struct world w;
    static char body[400 * 1024];
    memset(body, 'x', sizeof(body));
    for (size_t i = 70; i + 1 < sizeof(body); i += 72)
        memcpy(body + i, "\r\n", 2);
    for (int large = 0; large < 2; large++) {
        world_open(&w, "192.0.2.7", 0);
        settle(&w);
        say(&w, STR("EHLO c\r\nx"));
        buf_clear(&w.heard);
        world_close(&w);
        world_open(&w, "192.0.2.7", 0);
        settle(&w);
        say(&w, STR("EHLO c\r\n"));
        say(&w, STR("MAIL FROM:<a@b.test>\r\nRCPT TO:<r@example.test>\r\nDATA\r\n"));
        buf_clear(&w.heard);
        say(&w, str_n(body, large ? sizeof(body) : 200 * 1024));
        say(&w, STR("\r\n.\r\n"));
        expect(&w, large ? "552 5.3.4" : "250 2.0.0", "size");
        assert_int_equal(w.accepted, large ? 0 : 1);
        assert_int_equal(fake.large_aborted, large ? 1 : 0);
        if (!large) {
            assert_true(fake.large);
            assert_memory_equal(fake.content.p + fake.content.n - 200 * 1024 - 2, body, 200 * 1024);
        }
        say(&w, STR("NOOP\r\n"));
        expect(&w, "250", "after size");
        world_close(&w);
    }
}

static void test_spool_says_no(void **state)
{
    (void)state;
    both(D(HELLO, "FULL:1", "C:MAIL FROM:<a@b.test>", "S:452 4.3.1", "FULL:0", MAIL1, "RESULT:1",
           DATA1, "R:x\r\n.\r\n", "S:452 4.3.1", "RESULT:2", MAIL1, DATA1, "R:x\r\n.\r\n",
           "S:451 4.3.0", "RESULT:0", MAIL1, DATA1, "R:x\r\n.\r\n", "S:250", "ACCEPTED:1"),
         "192.0.2.7");
}

static void test_commit_is_waited_for(void **state)
{
    struct world w;
    (void)state;
    world_open(&w, "192.0.2.7", 0);
    settle(&w);
    say(&w, STR("EHLO c\r\n"));
    say(&w, STR("MAIL FROM:<a@b.test>\r\nRCPT TO:<r@example.test>\r\nDATA\r\n"));
    buf_clear(&w.heard);
    fake.hold = true;
    say(&w, STR("x\r\n.\r\nNOOP\r\n"));
    assert_int_equal(w.heard.n, 0); /* neither 250 before the sync, nor the reply of what follows */
    assert_int_equal(smtpd_commits(w.smtpd), 1);
    answer(fake.held);
    fake.held = NULL;
    settle(&w);
    expect(&w, "250 2.0.0 Ok: queued", "commit");
    expect(&w, "250 2.0.0 Ok", "noop");
    world_close(&w);

    /* The client leaves meanwhile: the message is accepted all the same. */
    world_open(&w, "192.0.2.7", 0);
    settle(&w);
    say(&w, STR("EHLO c\r\n"));
    say(&w, STR("MAIL FROM:<a@b.test>\r\nRCPT TO:<r@example.test>\r\nDATA\r\n"));
    fake.hold = true;
    say(&w, STR("x\r\n.\r\n"));
    stream_free(&w.client);
    turns(&w, 20);
    answer(fake.held);
    fake.held = NULL;
    turns(&w, 20);
    assert_int_equal(w.accepted, 1);
    assert_int_equal(smtpd_commits(w.smtpd), 0);
    world_close(&w);
}

static void test_timeouts(void **state)
{
    (void)state;
    both(D("S:220", "WAIT:299000", "C:NOOP", "S:250", "WAIT:301000", "S:421 4.4.2", "CLOSED"),
         "192.0.2.7");
    /* A command that never ends does not rearm the deadline. */
    run_dialogue(D("S:220", "R:NO", "WAIT:200000", "R:O", "WAIT:101000", "S:421 4.4.2", "CLOSED"),
                 "192.0.2.7", 0);
    run_dialogue(
        D(HELLO, MAIL1, DATA1, "R:x", "WAIT:181000", "S:421 4.4.2", "CLOSED", "ACCEPTED:0"),
        "192.0.2.7", 0);
    /* Content at a few octets a minute: cut by the minimum rate. */
    run_dialogue(D(HELLO, MAIL1, DATA1, "R:x", "WAIT:20000", "R:x", "WAIT:20000", "R:x",
                   "S:421 4.4.2", "CLOSED"),
                 "192.0.2.7", 0);
}

static void test_nonsense(void **state)
{
    (void)state;
    run_dialogue(D("S:220", "R:GET / HTTP/1.1\r\nHost: x\r\n\r\n", "CLOSED"), "192.0.2.7", 0);
    run_dialogue(D("S:220", "R:\x16\x03\x01\n", "CLOSED"), "192.0.2.7", 0);
    both(D(HELLO, "C:", "S:500", "C: ", "S:500", "C:\x01\x02", "S:500", "C:MAIL FROM:a@b", "S:501",
           "C:xxx", "S:500", "C:yyy", "S:500", "S:421 4.7.0", "CLOSED"),
         "192.0.2.7");
    char *longline = malloc(9000);
    memset(longline, 'a', 9000);
    memcpy(longline, "R:", 2);
    memcpy(longline + 8990, "\r\n\0", 3);
    both(D(HELLO, longline, "S:500 5.5.2 Line too long", "C:NOOP", "S:250"), "192.0.2.7");
    free(longline);
    both(D(HELLO, MAIL1, "C:BDAT 10 LAST", "S:502", "CLOSED"), "192.0.2.7");
}

static void test_limits(void **state)
{
    struct world w;
    struct smtp_reply r;
    (void)state;
    world_open(&w, "192.0.2.7", 0);
    struct sockaddr_in sa = peer_address("192.0.2.7"), other = peer_address("192.0.2.8"),
                       forest = peer_address("10.1.0.1");
    struct smtpd_session *second = smtpd_session_new(w.smtpd, 0, (struct sockaddr *)&sa, &r);
    assert_non_null(second);
    assert_null(smtpd_session_new(w.smtpd, 0, (struct sockaddr *)&sa, &r));
    assert_int_equal(r.code, 421);
    struct smtpd_session *third = smtpd_session_new(w.smtpd, 0, (struct sockaddr *)&other, &r);
    assert_non_null(third);
    smtpd_session_cut(third);
    /* The inside listener is for forests and application hosts. */
    assert_null(smtpd_session_new(w.smtpd, 1, (struct sockaddr *)&other, &r));
    assert_int_equal(r.code, 554);
    struct smtpd_session *inside = smtpd_session_new(w.smtpd, 1, (struct sockaddr *)&forest, &r);
    assert_non_null(inside);
    assert_int_equal(inside->origin, MAIL_FROM_FOREST);
    smtpd_session_cut(inside);
    smtpd_session_cut(second);
    assert_int_equal(smtpd_sessions(w.smtpd), 1);
    world_close(&w);
}

static void test_drain(void **state)
{
    struct world w;
    (void)state;
    world_open(&w, "192.0.2.7", 0);
    settle(&w);
    buf_clear(&w.heard);
    say(&w, STR("EHLO c\r\n"));
    buf_clear(&w.heard);
    smtpd_drain(w.smtpd);
    settle(&w);
    expect(&w, "421 4.3.2", "idle session");
    assert_int_equal(smtpd_sessions(w.smtpd), 0);
    world_close(&w);

    world_open(&w, "192.0.2.7", 0);
    settle(&w);
    say(&w, STR("EHLO c\r\n"));
    say(&w, STR("MAIL FROM:<a@b.test>\r\nRCPT TO:<r@example.test>\r\nDATA\r\n"));
    buf_clear(&w.heard);
    smtpd_drain(w.smtpd);
    say(&w, STR("x\r\n.\r\n"));
    expect(&w, "250 2.0.0", "a transaction in hand is finished");
    expect(&w, "421 4.3.2", "then the session ends");
    assert_int_equal(w.accepted, 1);
    world_close(&w);
}

int main(void)
{
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_order_of_commands),
        cmocka_unit_test(test_rset_and_ehlo_forget),
        cmocka_unit_test(test_recipients),
        cmocka_unit_test(test_pipelining),
        cmocka_unit_test(test_pipeline_longer_than_a_turn),
        cmocka_unit_test(test_bare_newlines),
        cmocka_unit_test(test_too_many_hops),
        cmocka_unit_test(test_size),
        cmocka_unit_test(test_spool_says_no),
        cmocka_unit_test(test_commit_is_waited_for),
        cmocka_unit_test(test_timeouts),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
