/*
 * control_test.c - the control server over socket pairs with scripted handlers: what is asked and
 * answered, what nonsense does, slow readers, clients that leave, and handlers that answer late.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/stats.h"
#include "relay/control/control.h"
#include "relay/control/control_int.h"
#include "relay/control/facts.h"

struct world {
    struct loop *loop;
    struct control *control;
    struct control_req *pending; /* of `queue show`: answered when the test says so */
    struct control_args seen;    /* of the last request; strings copied */
    char text[4][128];
    unsigned calls;
    unsigned items_left, waits; /* of `queue list` */
    bool was_gone;
};

struct peer {
    int fd;
    struct buf in;
    bool closed;
};

static void op_version(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct world *w = ctx;
    (void)a;
    w->calls++;
    control_reply(r, json_pack("{s:s}", "version", "test"));
}

static void op_show(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct world *w = ctx;
    assert_int_equal(a->n_id, 1);
    assert_null(w->pending);
    w->calls++;
    w->pending = r;
}

static void copy_args(struct world *w, const struct control_args *a)
{
    const char *from[] = {a->filter.dest, a->filter.sender, a->filter.rcpt, a->address};
    w->calls++;
    w->seen = *a;
    for (int i = 0; i < 4; i++)
        (void)snprintf(w->text[i], sizeof(w->text[i]), "%s", from[i] != NULL ? from[i] : "(null)");
}

static void op_hold(void *ctx, struct control_req *r, const struct control_args *a)
{
    copy_args(ctx, a);
    control_reply(r, json_pack("{s:i}", "count", (int)a->n_id));
}

static void op_explain(void *ctx, struct control_req *r, const struct control_args *a)
{
    copy_args(ctx, a);
    control_error(r, CONTROL_ERR_NOT_FOUND, "nobody knows %s", a->address);
}

static void more_items(void *arg, struct control_req *r)
{
    struct world *w = arg;
    w->was_gone = control_is_gone(r);
    while (w->items_left > 0 && !w->was_gone) {
        char pad[1000];
        memset(pad, 'x', sizeof(pad) - 1);
        pad[sizeof(pad) - 1] = '\0';
        w->items_left--;
        if (!control_item(r, json_pack("{s:s}", "pad", pad))) {
            w->waits++;
            control_wait(r, more_items, w);
            return;
        }
    }
    control_reply(r, NULL);
}

static void op_list(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct world *w = ctx;
    copy_args(w, a);
    w->items_left = a->limit;
    more_items(w, r);
}

/* Never waits, whatever it is told. */
static void op_dests(void *ctx, struct control_req *r, const struct control_args *a)
{
    struct world *w = ctx;
    char *pad = calloc(1, 1000001);
    (void)a;
    memset(pad, 'x', 1000000);
    for (int i = 0; i < 100; i++)
        (void)control_item(r, json_pack("{s:s}", "pad", pad));
    free(pad);
    w->was_gone = control_is_gone(r);
    control_reply(r, NULL);
}

static void open_world(struct world *w)
{
    const struct control_ops ops = {
        .ctx = w,
        .version = op_version,
        .queue_show = op_show,
        .queue_hold = op_hold,
        .queue_remove = op_hold,
        .queue_list = op_list,
        .queue_dests = op_dests,
        .explain = op_explain,
    };
    struct err e;
    memset(w, 0, sizeof(*w));
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_);
    w->loop = loop_new(&e);
    assert_non_null(w->loop);
    w->control = control_new(w->loop, -1, 8, &ops);
}

static void close_world(struct world *w)
{
    control_free(&w->control);
    assert_null(w->control);
    for (int i = 0; i < 5; i++)
        loop_turn(w->loop, 0);
    loop_free(&w->loop);
}

static struct peer join(struct world *w)
{
    int fd[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd), 0);
    control_attach(w->control, fd[1]);
    return (struct peer){.fd = fd[0], .in = BUF_INIT(256u << 20)};
}

static void leave(struct peer *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
    buf_free(&p->in);
}

static void say(struct peer *p, const char *text, size_t n)
{
    while (n > 0) {
        ssize_t k = send(p->fd, text, n, MSG_NOSIGNAL);
        if (k < 0)
            return;
        text += k;
        n -= (size_t)k;
    }
}

static void hear(struct world *w, struct peer *p)
{
    for (int quiet = 0; quiet < 3; quiet++) {
        loop_turn(w->loop, 0);
        for (;;) {
            assert_true(buf_reserve(&p->in, 65536));
            ssize_t k = recv(p->fd, p->in.p + p->in.n, 65536, 0);
            if (k == 0)
                p->closed = true;
            if (k <= 0) {
                if (k < 0 && errno != EAGAIN)
                    p->closed = true;
                break;
            }
            p->in.n += (size_t)k;
            quiet = 0;
            loop_turn(w->loop, 0);
        }
    }
}

/* What is answered to this line. */
static const char *ask(struct world *w, struct peer *p, const char *line)
{
    buf_clear(&p->in);
    say(p, line, strlen(line));
    say(p, "\n", 1);
    hear(w, p);
    return buf_cstr(&p->in);
}

static void test_question_and_answer(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct peer p = join(&w);
    assert_string_equal(ask(&w, &p, "{\"command\":\"version\"}"),
                        "{\"ok\":true,\"result\":{\"version\":\"test\"}}\n");
    assert_string_equal(ask(&w, &p, " {\"id\":7,\"command\":\"version\",\"args\":{}}\r"),
                        "{\"ok\":true,\"result\":{\"version\":\"test\"},\"id\":7}\n");
    assert_string_equal(
        ask(&w, &p, "{\"command\":\"explain\",\"args\":{\"address\":\"a@b.cd\"}}"),
        "{\"ok\":false,\"error\":{\"code\":\"not-found\",\"message\":\"nobody knows "
        "a@b.cd\"}}\n");
    assert_string_equal(ask(&w, &p, "{\"command\":\"stop\"}"),
                        "{\"ok\":false,\"error\":{\"code\":\"unavailable\",\"message\":\"stop is "
                        "not available\"}}\n");
    assert_non_null(strstr(ask(&w, &p, "{\"command\":\"statsu\"}"), "did you mean \\\"status\\\""));
    assert_false(p.closed);
    leave(&p);
    close_world(&w);
}

static void test_byte_at_a_time_and_all_at_once(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct peer p = join(&w);
    const char *line = "{\"command\":\"version\"}\n";
    for (size_t i = 0; i < strlen(line); i++) {
        say(&p, line + i, 1);
        loop_turn(w.loop, 0);
    }
    hear(&w, &p);
    assert_int_equal(w.calls, 1);
    struct buf many = BUF_INIT(65536);
    for (int i = 0; i < 500; i++)
        (void)buf_append_c(&many, line);
    say(&p, many.p, many.n);
    buf_free(&many);
    for (int i = 0; i < 200; i++)
        hear(&w, &p);
    assert_int_equal(w.calls, 501);
    leave(&p);
    close_world(&w);
}

static void test_arguments_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *line, *says;
    } wrong[] = {
        {"{\"command\":\"explain\"}", "needs \\\"address\\\""},
        {"{\"command\":\"explain\",\"args\":{\"address\":\"nobody\"}}", "must be an address"},
        {"{\"command\":\"explain\",\"args\":{\"address\":5}}", "must be an address"},
        {"{\"command\":\"explain\",\"args\":{\"address\":\"a@b.cd\\u0000\"}}", "bad-request"},
        {"{\"command\":\"explain\",\"args\":{\"addres\":\"a@b.cd\"}}",
         "no argument \\\"addres\\\""},
        {"{\"command\":\"explain\",\"args\":{\"address\":\"a@b.cd\",\"link\":\"moon\"}}",
         "internet, application"},
        {"{\"command\":\"queue.show\",\"args\":{\"id\":\"xx\"}}", "must be a queue ID"},
        {"{\"command\":\"queue.hold\",\"args\":{\"ids\":[]}}", "must be an array"},
        {"{\"command\":\"queue.hold\",\"args\":{\"ids\":[1]}}", "must be an array"},
        {"{\"command\":\"queue.hold\"}", "needs queue IDs, a filter"},
        {"{\"command\":\"queue.hold\",\"args\":{\"ids\":[\"0000000000001\"],\"all\":true}}",
         "not both"},
        {"{\"command\":\"queue.list\",\"args\":{\"limit\":-1}}", "a number from 0"},
        {"{\"command\":\"queue.list\",\"args\":{\"limit\":\"5\"}}", "a number from 0"},
        {"{\"command\":\"queue.list\",\"args\":{\"older\":1.5}}", "milliseconds"},
        {"{\"command\":\"queue.list\",\"args\":{\"state\":\"gone\"}}", "active, waiting"},
        {"{\"command\":\"queue.list\",\"args\":{\"dest\":\"forest\"}}", "a destination like"},
        {"{\"command\":\"queue.list\",\"args\":{\"dest\":{}}}", "a destination like"},
        {"{\"command\":\"queue.remove\",\"args\":{\"all\":true,\"dsn\":1}}", "true or false"},
        {"{\"command\":\"directory.upsert\",\"args\":{\"source\":\"s\"}}", "needs \\\"address\\\""},
        {"{\"command\":\"directory.upsert\",\"args\":{\"source\":\"s\",\"address\":\"a@b.cd\","
         "\"kind\":\"box\"}}",
         "mailbox, mail-user, contact or group"},
        {"{\"command\":\"directory.upsert\",\"args\":{\"source\":\"s\",\"address\":\"a@b.cd\","
         "\"proxy\":\"b@b.cd\"}}",
         "an array of 1 to 1024 texts"},
        {"{\"command\":\"directory.upsert\",\"args\":{\"source\":\"s\",\"address\":\"a@b.cd\","
         "\"proxy\":[\"\"]}}",
         "an array of 1 to 1024 texts"},
        {"{\"command\":\"directory.load\",\"args\":{\"source\":\"s\"}}", "needs \\\"csv\\\""},
        {"{\"command\":\"directory.load\",\"args\":{\"source\":\"s\",\"csv\":7}}",
         "rows of CSV with a header"},
        {"{\"command\":\"move\"}", "move needs addresses"},
        {"{\"command\":\"move\",\"args\":{\"addresses\":[]}}", "an array of 1 to 50000"},
        {"{\"command\":\"move\",\"args\":{\"addresses\":[\"a@b.cd\",\"b\"]}}",
         "address 2, \\\"b\\\", is not one like"},
        {"{\"command\":\"move\",\"args\":{\"addresses\":[{\"address\":\"a@b.cd\",\"forest\":\"?\"}]"
         "}}",
         "address 1"},
        {"{\"command\":\"move\",\"args\":{\"addresses\":[{\"forest\":\"x\"}]}}", "address 1"},
        {"{\"command\":\"move\",\"args\":{\"addresses\":[7]}}", "address 1"},
        {"{\"command\":\"move\",\"args\":{\"addresses\":[\"a@b.cd\"],\"at\":\"soon\"}}",
         "a moment like"},
        {"{\"command\":\"move\",\"args\":{\"file\":\"/x\"}}", "only causewayctl reads files"},
        {"{\"command\":\"undo\",\"args\":{\"what\":\"x\"}}", "the number of a wave, or"},
        {"{\"command\":\"moves\",\"args\":{\"state\":\"gone\"}}", "pending, active, expired"},
    };
    struct world w;
    open_world(&w);
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct peer p = join(&w);
        const char *answer = ask(&w, &p, wrong[i].line);
        if (strstr(answer, wrong[i].says) == NULL || strstr(answer, "\"ok\":false") == NULL)
            fail_msg("%s: %s", wrong[i].line, answer);
        leave(&p);
        loop_turn(w.loop, 0);
    }
    assert_int_equal(w.calls, 0);

    struct peer p = join(&w);
    (void)ask(&w, &p,
              "{\"command\":\"queue.hold\",\"args\":{\"dest\":\"forest:a\",\"state\":\"parked\","
              "\"sender\":\"\",\"rcpt\":\"@x.test\",\"older\":5000}}");
    assert_int_equal(w.calls, 1);
    assert_string_equal(w.text[0], "forest:a");
    assert_string_equal(w.text[1], "");
    assert_string_equal(w.text[2], "@x.test");
    assert_int_equal(w.seen.filter.state, QUEUE_PARKED);
    assert_int_equal(w.seen.filter.older_ms, 5000);
    assert_non_null(strstr(ask(&w, &p,
                               "{\"command\":\"queue.hold\",\"args\":{\"ids\":[\"0000000000001\","
                               "\"0000000000002\"]}}"),
                           "\"count\":2"));
    assert_string_equal(w.text[0], "(null)");
    leave(&p);
    close_world(&w);
}

static void test_nonsense_closes_that_client_only(void **state)
{
    (void)state;
    static const char *const garbage[] = {
        "GET / HTTP/1.1",
        "",
        "{",
        "[]",
        "{}",
        "null",
        "{\"command\":5}",
        "{\"command\":\"version\",\"extra\":1}",
        "{\"command\":\"version\",\"command\":\"stop\"}",
        "{\"command\":\"version\",\"args\":[]}",
        "{\"command\":\"version\"} {\"command\":\"version\"}",
        "{\"command\":\"version\",\"args\":{\"a\":[[[[[[[[[[]]]]]]]]]]}}",
        "\x16\x03\x01\x02",
        "{\"command\":\"\xff\xfe\"}",
    };
    struct world w;
    open_world(&w);
    struct peer good = join(&w);
    int64_t before = stats_read(STAT_control_bad_clients);
    for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
        struct peer p = join(&w);
        const char *answer = ask(&w, &p, garbage[i]);
        if (garbage[i][0] == '\0') { /* an empty line is nothing at all */
            assert_string_equal(answer, "");
            assert_false(p.closed);
        } else {
            assert_non_null(strstr(answer, "\"code\":\"bad-request\""));
            assert_true(p.closed);
        }
        leave(&p);
    }
    assert_int_equal(stats_read(STAT_control_bad_clients) - before, ARRAY_LEN(garbage) - 1);
    assert_non_null(strstr(ask(&w, &good, "{\"command\":\"version\"}"), "\"ok\":true"));
    assert_int_equal(w.calls, 1);
    leave(&good);
    close_world(&w);
}

static void test_line_without_an_end(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    char *big = malloc(2 * CONTROL_LINE_MAX);
    memset(big, ' ', 2 * CONTROL_LINE_MAX);
    struct peer p = join(&w);
    for (size_t at = 0; at < 2 * CONTROL_LINE_MAX && !p.closed; at += 4096) {
        say(&p, big + at, 4096);
        hear(&w, &p);
    }
    assert_true(p.closed);
    assert_non_null(strstr(buf_cstr(&p.in), "too long"));
    leave(&p);
    /* One that is just short enough. */
    p = join(&w);
    size_t n = strlen("{\"command\":\"version\"}");
    memcpy(big + CONTROL_LINE_MAX - 1 - n, "{\"command\":\"version\"}", n);
    big[CONTROL_LINE_MAX - 1] = '\n';
    for (size_t at = 0; at < CONTROL_LINE_MAX; at += 4096) {
        say(&p, big + at, 4096);
        hear(&w, &p);
    }
    assert_int_equal(w.calls, 1);
    leave(&p);
    free(big);
    close_world(&w);
}

static void test_late_answer(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct peer p = join(&w);
    const char *show = "{\"command\":\"queue.show\",\"args\":{\"id\":\"0000000000001\"}}";
    assert_string_equal(ask(&w, &p, show), "");
    /* What is asked meanwhile waits for its turn. */
    assert_string_equal(ask(&w, &p, "{\"command\":\"version\"}"), "");
    assert_int_equal(w.calls, 1);
    assert_true(strcmp(control_who(w.pending), "root") == 0 ||
                strncmp(control_who(w.pending), "uid ", 4) == 0);
    assert_int_equal(control_command_of(w.pending), CONTROL_queue_show);
    control_reply(w.pending, json_pack("{s:i}", "n", 1));
    w.pending = NULL;
    hear(&w, &p);
    assert_string_equal(buf_cstr(&p.in), "{\"ok\":true,\"result\":{\"n\":1}}\n"
                                         "{\"ok\":true,\"result\":{\"version\":\"test\"}}\n");
    /* A client that has shut down its side still gets its answer, then the end. */
    assert_string_equal(ask(&w, &p, show), "");
    shutdown(p.fd, SHUT_WR);
    hear(&w, &p);
    control_reply(w.pending, NULL);
    w.pending = NULL;
    hear(&w, &p);
    assert_string_equal(buf_cstr(&p.in), "{\"ok\":true,\"result\":{}}\n");
    assert_true(p.closed);
    leave(&p);
    close_world(&w);
}

/* More than are read in a turn, and then the end: `nc -N` with a file of requests. */
static void test_many_requests_and_the_end(void **state)
{
    (void)state;
    struct world w;
    const char *line = "{\"command\":\"version\"}\n";
    unsigned answers = 0;
    open_world(&w);
    struct peer p = join(&w);
    for (unsigned i = 0; i < 250; i++)
        say(&p, line, strlen(line));
    shutdown(p.fd, SHUT_WR);
    for (unsigned i = 0; i < 200 && !p.closed; i++)
        hear(&w, &p);
    for (const char *at = buf_cstr(&p.in); (at = strchr(at, '\n')) != NULL; at++)
        answers++;
    assert_int_equal(answers, 250);
    assert_true(p.closed);
    leave(&p);
    close_world(&w);
}

static void test_client_leaves_while_the_answer_is_pending(void **state)
{
    (void)state;
    struct world w;
    const char *show = "{\"command\":\"queue.show\",\"args\":{\"id\":\"0000000000001\"}}";
    open_world(&w);
    struct peer p = join(&w);
    assert_string_equal(ask(&w, &p, show), "");
    leave(&p);
    for (int i = 0; i < 5; i++)
        loop_turn(w.loop, 0);
    control_reply(w.pending, json_pack("{s:i}", "n", 1));
    w.pending = NULL;
    for (int i = 0; i < 5; i++)
        loop_turn(w.loop, 0);
    /* The server ends before the answer. */
    p = join(&w);
    assert_string_equal(ask(&w, &p, show), "");
    control_free(&w.control);
    hear(&w, &p);
    assert_true(control_is_gone(w.pending));
    control_error(w.pending, CONTROL_ERR_FAILED, "too late");
    leave(&p);
    close_world(&w);
}

static void test_slow_reader_of_a_long_list(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct peer p = join(&w);
    const char *list = "{\"command\":\"queue.list\",\"args\":{\"limit\":5000}}\n";
    say(&p, list, strlen(list));
    for (int i = 0; i < 20; i++)
        loop_turn(w.loop, 0);
    assert_true(w.items_left > 4000); /* it waits until somebody reads */
    assert_int_equal(w.waits, 1);
    for (int i = 0; i < 100 && w.items_left > 0; i++)
        hear(&w, &p);
    hear(&w, &p);
    assert_int_equal(w.items_left, 0);
    assert_true(w.waits > 5);
    const char *all = buf_cstr(&p.in);
    unsigned lines = 0;
    for (; (all = strchr(all, '\n')) != NULL; all++)
        lines++;
    assert_int_equal(lines, 5001);
    /* The same, but it leaves: the handler learns of it. */
    say(&p, list, strlen(list));
    for (int i = 0; i < 20; i++)
        loop_turn(w.loop, 0);
    leave(&p);
    for (int i = 0; i < 20; i++)
        loop_turn(w.loop, 0);
    assert_true(w.was_gone);
    close_world(&w);
}

static void test_handler_that_never_waits_loses_its_client(void **state)
{
    (void)state;
    struct world w;
    open_world(&w);
    struct peer p = join(&w), other = join(&w);
    const char *list = "{\"command\":\"queue.dests\"}\n";
    say(&p, list, strlen(list));
    for (int i = 0; i < 20; i++)
        loop_turn(w.loop, 0);
    assert_true(w.was_gone);
    assert_non_null(strstr(ask(&w, &other, "{\"command\":\"version\"}"), "\"ok\":true"));
    leave(&p);
    leave(&other);
    close_world(&w);
}

/* A minute counts from what it took last, not from what it was given last. */
static void test_slow_reader_is_waited_for(void **state)
{
    (void)state;
    struct world w;
    static char piece[4096];
    clock_fake_start(1000, 1800000000000);
    open_world(&w);
    struct peer slow = join(&w);
    const char *list = "{\"command\":\"queue.list\",\"args\":{\"limit\":5000}}\n";
    say(&slow, list, strlen(list));
    for (int i = 0; i < 20; i++)
        loop_turn(w.loop, 0);
    for (int minute = 0; minute < 3; minute++) {
        clock_fake_advance(40000);
        for (size_t got = 0; got < 60000;) {
            ssize_t n = recv(slow.fd, piece, sizeof(piece), MSG_DONTWAIT);
            assert_true(n > 0);
            got += (size_t)n;
        }
        for (int i = 0; i < 5; i++)
            loop_turn(w.loop, 0);
        assert_false(w.was_gone);
    }
    clock_fake_advance(61000);
    for (int i = 0; i < 5; i++)
        loop_turn(w.loop, 0);
    clock_fake_advance(61000);
    for (int i = 0; i < 5; i++)
        loop_turn(w.loop, 0);
    assert_true(w.was_gone);
    leave(&slow);
    close_world(&w);
    clock_fake_stop();
}

static void test_idle_and_unread_clients_are_closed(void **state)
{
    (void)state;
    struct world w;
    clock_fake_start(1000, 1800000000000);
    open_world(&w);
    struct peer idle = join(&w), deaf = join(&w), waits = join(&w);
    const char *list = "{\"command\":\"queue.list\",\"args\":{\"limit\":5000}}\n";
    assert_non_null(strstr(ask(&w, &idle, "{\"command\":\"version\"}"), "true"));
    assert_string_equal(
        ask(&w, &waits, "{\"command\":\"queue.show\",\"args\":{\"id\":\"0000000000001\"}}"), "");
    say(&deaf, list, strlen(list));
    for (int i = 0; i < 20; i++)
        loop_turn(w.loop, 0);
    clock_fake_advance(59000);
    for (int i = 0; i < 5; i++)
        loop_turn(w.loop, 0);
    assert_false(w.was_gone);
    for (int minute = 0; minute < 2; minute++) { /* at the first look the socket had taken some */
        clock_fake_advance(60001);
        for (int i = 0; i < 5; i++)
            loop_turn(w.loop, 0);
    }
    assert_true(w.was_gone); /* it did not read for a minute */
    hear(&w, &idle);
    assert_false(idle.closed);
    clock_fake_advance(300000);
    hear(&w, &idle);
    hear(&w, &waits);
    assert_true(idle.closed);
    assert_false(waits.closed); /* we are the ones who are late */
    control_reply(w.pending, NULL);
    hear(&w, &waits);
    assert_string_equal(buf_cstr(&waits.in), "{\"ok\":true,\"result\":{}}\n");
    leave(&idle);
    leave(&deaf);
    leave(&waits);
    close_world(&w);
    clock_fake_stop();
}

static void test_too_many_clients(void **state)
{
    (void)state;
    struct world w;
    struct peer p[10];
    open_world(&w);
    for (int i = 0; i < 10; i++)
        p[i] = join(&w);
    for (int i = 0; i < 10; i++)
        hear(&w, &p[i]);
    for (int i = 0; i < 8; i++)
        assert_non_null(strstr(ask(&w, &p[i], "{\"command\":\"version\"}"), "\"ok\":true"));
    for (int i = 8; i < 10; i++) {
        assert_true(p[i].closed);
        assert_non_null(strstr(buf_cstr(&p[i].in), "too many"));
    }
    for (int i = 0; i < 10; i++)
        leave(&p[i]);
    close_world(&w);
}

/* ---- the table ---- */

static void test_every_command_is_described(void **state)
{
    (void)state;
    for (int c = 0; c < CONTROL_COMMANDS; c++) {
        const struct control_command_info *i = &control_command_info[c];
        unsigned n, positions_open = 0;
        assert_true(strlen(i->summary) > 5);
        assert_int_equal(control_command_find(str_c(i->name)), c);
        const struct control_arg *a = control_command_args((enum control_command)c, &n);
        for (unsigned k = 0; k < n; k++) {
            assert_true(strlen(a[k].help) > 2);
            assert_true(a[k].type == CONTROL_FLAG || strlen(a[k].value) > 0);
            assert_ptr_equal(control_arg_find((enum control_command)c, str_c(a[k].name)), &a[k]);
            positions_open += (a[k].flags & CONTROL_POSITION) && !(a[k].flags & CONTROL_REQUIRED);
        }
        assert_in_range(positions_open, 0, 1);
    }
    assert_int_equal(control_command_find(STR("queue")), -1);
    assert_string_equal(control_command_like(STR("queue.lst")), "queue.list");
    assert_string_equal(control_command_like(STR("explian")), "explain");
    assert_string_equal(control_command_like(STR("lookup")), "directory.lookup");
    assert_null(control_command_like(STR("make.coffee")));
    assert_null(control_command_like(STR("")));
}

static void test_filters(void **state)
{
    (void)state;
    struct queue_msg_info m = {.state = QUEUE_PARKED, .arrival_ms = 1000, .dest = "mx:x.test"};
    struct envelope_rcpt r[] = {{.address = STR("A@x.test")}, {.address = STR("b@y.test")}};
    const struct envelope env = {.sender = STR("s@S.test"), .n_rcpt = 2, .rcpt = r};
    const uint32_t left[] = {1};
    struct control_filter f = {.state = -1};
    assert_true(control_filter_is_empty(&f));
    assert_true(control_filter_info(&f, &m, 2000));
    assert_false(control_filter_needs_envelope(&f));
    f.older_ms = 1001;
    assert_false(control_filter_info(&f, &m, 2000));
    assert_true(control_filter_info(&f, &m, 2001));
    f = (struct control_filter){.state = QUEUE_HELD};
    assert_false(control_filter_info(&f, &m, 2001));
    f = (struct control_filter){.state = -1, .sender = "S@s.test"};
    assert_true(control_filter_needs_envelope(&f));
    assert_true(control_filter_envelope(&f, &env, NULL, 0));
    f.sender = "";
    assert_false(control_filter_envelope(&f, &env, NULL, 0));
    f = (struct control_filter){.state = -1, .rcpt = "@X.test"};
    assert_true(control_filter_envelope(&f, &env, NULL, 0));
    assert_false(control_filter_envelope(&f, &env, left, 1));
    f.rcpt = "b@y.test";
    assert_true(control_filter_envelope(&f, &env, left, 1));
}

static void test_facts_are_whole(void **state)
{
    (void)state;
    struct queue_msg_info m = {.id = 1, .state = QUEUE_WAITING, .arrival_ms = 1800000000000};
    m.last_reply = "450 bad \xff\x01 bytes";
    struct envelope_rcpt r[] = {{.address = STR("a@x.test")}, {.address = STR("b@y.test")}};
    const struct envelope env = {.sender = STR(""), .n_rcpt = 2, .rcpt = r};
    const struct queue_rcpt_info left = {
        .index = 1, .state = "parked", .dest = "forest:b", .refused = "forest:a"};
    json_t *o = fact_message(&m, NULL, 1800000005000);
    fact_message_rcpts(o, &env, &left, 1);
    char *text = json_dumps(o, JSON_COMPACT);
    assert_non_null(text);
    assert_non_null(strstr(text, "\"age_ms\":5000"));
    assert_non_null(strstr(text, "\"arrival\":\"2027-01-15T08:00:00.000Z\""));
    assert_non_null(strstr(text, "450 bad \\\\xFF\\\\x01 bytes"));
    assert_non_null(strstr(text, "{\"address\":\"a@x.test\",\"state\":\"done\""));
    assert_non_null(strstr(text, "{\"address\":\"b@y.test\",\"state\":\"parked\""));
    assert_non_null(strstr(text, "\"dest\":\"forest:b\",\"refused_by\":\"forest:a\""));
    free(text);
    json_decref(o);

    struct decision d = {.kind = DECISION_REFUSE, .rule = "loop", .generation = 3};
    d.reply = (struct smtp_reply){.code = 550, .enhanced = "5.4.6", .text = "loop"};
    struct route_trace t = {.n = 1, .line = {STR("because")}};
    o = fact_decision(STR("a@x.test"), &d, &t);
    text = json_dumps(o, JSON_COMPACT);
    assert_non_null(strstr(text, "\"decision\":\"refuse\""));
    assert_non_null(strstr(text, "\"reply\":\"550 5.4.6 loop\""));
    assert_non_null(strstr(text, "\"reasons\":[\"because\"]"));
    free(text);
    json_decref(o);
    o = fact_counters();
    assert_int_equal(json_object_size(o), STAT_COUNT);
    json_decref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_question_and_answer),
        cmocka_unit_test(test_byte_at_a_time_and_all_at_once),
        cmocka_unit_test(test_arguments_are_checked),
        cmocka_unit_test(test_nonsense_closes_that_client_only),
        cmocka_unit_test(test_line_without_an_end),
        cmocka_unit_test(test_late_answer),
        cmocka_unit_test(test_many_requests_and_the_end),
        cmocka_unit_test(test_client_leaves_while_the_answer_is_pending),
        cmocka_unit_test(test_slow_reader_of_a_long_list),
        cmocka_unit_test(test_handler_that_never_waits_loses_its_client),
        cmocka_unit_test(test_slow_reader_is_waited_for),
        cmocka_unit_test(test_idle_and_unread_clients_are_closed),
        cmocka_unit_test(test_too_many_clients),
        cmocka_unit_test(test_every_command_is_described),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_facts_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
