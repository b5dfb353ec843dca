/*
 * reply_test.c - replies of next hops, whole and byte by byte; writing our own.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "relay/proto/reply.h"

struct parse_case {
    struct str in;
    enum smtp_reply_state state;
    int code;
    const char *enhanced, *text;
    size_t rest; /* octets left for the next reply */
};

static const struct parse_case table[] = {
    {STR("220 ready\r\n"), SMTP_REPLY_DONE, 220, "", "ready", 0},
    {STR("250 2.1.0 Ok\r\n"), SMTP_REPLY_DONE, 250, "2.1.0", "Ok", 0},
    {STR("250\r\n"), SMTP_REPLY_DONE, 250, "", "", 0},
    {STR("250 \r\n"), SMTP_REPLY_DONE, 250, "", "", 0},
    {STR("250 2.0.0\r\n"), SMTP_REPLY_DONE, 250, "2.0.0", "", 0},
    {STR("250 ok\n250"), SMTP_REPLY_DONE, 250, "", "ok", 3},
    {STR("250 a\r\n250 b\r\n"), SMTP_REPLY_DONE, 250, "", "a", 7},
    {STR("354 go on\r\n"), SMTP_REPLY_DONE, 354, "", "go on", 0},
    {STR("550-5.1.1 No such\r\n550 5.1.1 user\r\n"), SMTP_REPLY_DONE, 550, "5.1.1",
     "No such / user", 0},
    {STR("550-No such\r\n550-\r\n550 5.1.1 user\r\n"), SMTP_REPLY_DONE, 550, "5.1.1",
     "No such / user", 0},
    {STR("550 4.2.2 full\r\n"), SMTP_REPLY_DONE, 550, "4.2.2", "full", 0},
    {STR("550 5.7.606 banned\r\n"), SMTP_REPLY_DONE, 550, "5.7.606", "banned", 0},
    {STR("550 5.7.6061 x\r\n"), SMTP_REPLY_DONE, 550, "", "5.7.6061 x", 0},
    {STR("550 5.7.1x\r\n"), SMTP_REPLY_DONE, 550, "", "5.7.1x", 0},
    {STR("550 5.7\r\n"), SMTP_REPLY_DONE, 550, "", "5.7", 0},
    {STR("550 3.7.1 x\r\n"), SMTP_REPLY_DONE, 550, "", "3.7.1 x", 0},
    {STR("550 127.0.0.1 x\r\n"), SMTP_REPLY_DONE, 550, "", "127.0.0.1 x", 0},
    {STR("550 5..1 x\r\n"), SMTP_REPLY_DONE, 550, "", "5..1 x", 0},
    {STR("550 a\0b\x1b[31m\r\n"), SMTP_REPLY_DONE, 550, "", "a\\x00b\\x1B[31m", 0},
    {STR("550 a\rb\r\n"), SMTP_REPLY_DONE, 550, "", "a\\x0Db", 0},
    {STR("550 back\\slash \xe9 \xc3\xa9\r\n"), SMTP_REPLY_DONE, 550, "",
     "back\\\\slash \\xE9 \xc3\xa9", 0},
    {STR("599 x\r\n"), SMTP_REPLY_DONE, 599, "", "x", 0},
    {STR("200 x\r\n"), SMTP_REPLY_DONE, 200, "", "x", 0},
    {STR(""), SMTP_REPLY_MORE, 0, 0, 0, 0},
    {STR("2"), SMTP_REPLY_MORE, 0, 0, 0, 0},
    {STR("250 ok\r"), SMTP_REPLY_MORE, 0, 0, 0, 0},
    {STR("250-ok\r\n"), SMTP_REPLY_MORE, 0, 0, 0, 0},
    {STR("250-ok\r\n25"), SMTP_REPLY_MORE, 0, 0, 0, 0},
    {STR("600 x\r\n"), SMTP_REPLY_INVALID, 0, 0, "reply code out of range: \"600 x\"", 0},
    {STR("199 x\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("000 x\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("2500 x\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("250_x\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("250\tx\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("250\0\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("25\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("a50 x\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("2a0 x\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("25a x\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR(" 250 x\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("+25 x\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("HTTP/1.1 400 Bad Request\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("\x15\x03\x01"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("250-a\r\n251 b\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("250-a\r\nb\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
    {STR("250-a\r\n\r\n"), SMTP_REPLY_INVALID, 0, 0, 0, 0},
};

/* Feeds `step` octets at a time until something comes of it; returns what was consumed. */
static size_t feed(struct smtp_reply_parser *p, struct str in, size_t step,
                   enum smtp_reply_state *st, struct smtp_reply *r)
{
    size_t at = 0, used;
    *st = SMTP_REPLY_MORE;
    while (at < in.n && *st == SMTP_REPLY_MORE) {
        size_t n = in.n - at < step ? in.n - at : step;
        char *piece = malloc(n);
        memcpy(piece, in.p + at, n);
        *st = smtp_reply_parse(p, piece, n, &used, r);
        free(piece);
        assert_true(used <= n && (*st != SMTP_REPLY_MORE || used == n));
        at += used;
    }
    return at;
}

static void check(const struct parse_case *t, size_t step)
{
    struct smtp_reply_parser p;
    struct smtp_reply r = {0};
    enum smtp_reply_state st;
    smtp_reply_parser_init(&p);
    size_t used = feed(&p, t->in, step, &st, &r);
    if (st != t->state)
        fail_msg("\"%.*s\" step %zu: state %d, %s", STR_ARG(t->in), step, st, r.text);
    if (st == SMTP_REPLY_DONE) {
        assert_int_equal(r.code, t->code);
        assert_string_equal(r.enhanced, t->enhanced);
        assert_string_equal(r.text, t->text);
        assert_int_equal(t->in.n - used, t->rest);
    } else if (st == SMTP_REPLY_INVALID && t->text != NULL) {
        assert_string_equal(r.text, t->text);
    }
    smtp_reply_parser_free(&p);
}

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++)
        for (size_t step = 1; step <= 64; step++)
            check(&table[i], step);
}

static void test_many_replies(void **state)
{
    (void)state;
    const struct str in = STR("250 one\r\n550-5.1.1 two\r\n550 5.1.1 lines\r\n354 three\r\n");
    static const char *const text[] = {"one", "two / lines", "three"};
    for (size_t step = 1; step <= in.n; step++) {
        struct smtp_reply_parser p;
        struct smtp_reply r;
        enum smtp_reply_state st;
        struct str rest = in;
        smtp_reply_parser_init(&p);
        for (size_t i = 0; i < ARRAY_LEN(text); i++) {
            rest = str_from(rest, feed(&p, rest, step, &st, &r));
            assert_int_equal(st, SMTP_REPLY_DONE);
            assert_string_equal(r.text, text[i]);
            assert_string_equal(r.enhanced, i == 1 ? "5.1.1" : "");
        }
        assert_int_equal(rest.n, 0);
        smtp_reply_parser_free(&p);
    }
}

static void test_ehlo(void **state)
{
    (void)state;
    const struct str in = STR("250-host Hello\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 DSN\r\n"
                              "250 Ok\r\n");
    for (size_t step = 1; step <= in.n; step++) {
        struct smtp_reply_parser p;
        struct smtp_reply r;
        enum smtp_reply_state st;
        smtp_reply_parser_init(&p);
        p.keep_lines = true;
        size_t used = feed(&p, in, step, &st, &r);
        assert_int_equal(st, SMTP_REPLY_DONE);
        assert_true(str_eq(buf_str(&p.ehlo), STR("SIZE 1000\n8BITMIME\nDSN")));
        feed(&p, str_from(in, used), step, &st, &r);
        assert_int_equal(st, SMTP_REPLY_DONE);
        assert_int_equal(p.ehlo.n, 0);
        smtp_reply_parser_free(&p);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct smtp_reply_parser p;
    struct smtp_reply r;
    enum smtp_reply_state st;
    static char big[200000];
    memset(big, 'x', sizeof(big));

    /* a long line: cut, the next reply is found */
    smtp_reply_parser_init(&p);
    memcpy(big, "550 5.1.1 ", 10);
    memcpy(big + 5000, "\r\n250 ok\r\n", 10);
    size_t used = feed(&p, str_n(big, 5010), 7, &st, &r);
    assert_int_equal(st, SMTP_REPLY_DONE);
    assert_int_equal(used, 5002);
    assert_string_equal(r.enhanced, "5.1.1");
    assert_int_equal(strlen(r.text), SMTP_REPLY_TEXT_MAX - 1);
    assert_string_equal(r.text + SMTP_REPLY_TEXT_MAX - 4, "...");
    feed(&p, str_n(big + used, 8), 3, &st, &r);
    assert_int_equal(st, SMTP_REPLY_DONE);
    assert_string_equal(r.text, "ok");
    smtp_reply_parser_free(&p);

    /* what was skipped counts for one reply only */
    smtp_reply_parser_init(&p);
    memset(big, 'x', sizeof(big));
    memcpy(big, "250 ", 4);
    big[50000] = '\n';
    for (int i = 0; i < 3; i++) {
        used = feed(&p, str_n(big, 50001), 4096, &st, &r);
        assert_int_equal(st, SMTP_REPLY_DONE);
        assert_int_equal(used, 50001);
    }
    smtp_reply_parser_free(&p);

    /* a line without end */
    smtp_reply_parser_init(&p);
    memset(big, 'x', sizeof(big));
    memcpy(big, "550 ", 4);
    feed(&p, str_n(big, sizeof(big)), 999, &st, &r);
    assert_int_equal(st, SMTP_REPLY_INVALID);
    smtp_reply_parser_free(&p);

    /* lines without end: 100 are taken */
    smtp_reply_parser_init(&p);
    p.keep_lines = true;
    for (unsigned i = 0; i < 100; i++) {
        feed(&p,
             STR("250-EXTENSION with some parameters, and one long enough to fill the buffer "
                 "soon, so that the cap is seen\r\n"),
             50, &st, &r);
        assert_int_equal(st, SMTP_REPLY_MORE);
    }
    assert_true(p.ehlo.n <= 8192 && p.ehlo.n > 8000);
    feed(&p, STR("250 x\r\n"), 50, &st, &r);
    assert_int_equal(st, SMTP_REPLY_INVALID);
    smtp_reply_parser_free(&p);
}

static void test_status(void **state)
{
    (void)state;
    static const struct {
        int code;
        const char *enhanced, *status;
    } t[] = {
        {250, "2.1.5", "2.1.5"}, {250, "", "2.0.0"},      {550, "5.1.1", "5.1.1"},
        {550, "", "5.0.0"},      {550, "4.2.2", "5.0.0"}, {450, "5.1.1", "4.0.0"},
        {354, "", "4.0.0"},      {0, "", "4.0.0"},        {554, "5.7.606", "5.7.606"},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct smtp_reply r;
        char s[12];
        smtp_reply_set(&r, t[i].code, t[i].enhanced, "x");
        assert_string_equal(smtp_reply_status(&r, s), t[i].status);
    }
}

static void test_write(void **state)
{
    (void)state;
    struct smtp_reply r;
    struct buf b = BUF_INIT(4096);
    smtp_reply_write(smtp_reply_set(&r, 250, "2.0.0", "Ok: %s", "queued"), &b);
    smtp_reply_write(smtp_reply_set(&r, 221, "", "bye"), &b);
    smtp_reply_write(smtp_reply_set(&r, 250, "", "%s", ""), &b);
    smtp_reply_write(smtp_reply_set(&r, 550, "5.7.1", "a\r\n250 ok\x01"), &b);
    assert_true(str_eq(buf_str(&b), STR("250 2.0.0 Ok: queued\r\n221 bye\r\n250 \r\n"
                                        "550 5.7.1 a??250 ok?\r\n")));
    buf_free(&b);
    struct buf small = BUF_INIT(12);
    assert_true(buf_append_c(&small, "x"));
    assert_false(smtp_reply_write(smtp_reply_set(&r, 250, "2.0.0", "too long"), &small));
    assert_int_equal(small.n, 1);
    buf_free(&small);
}

/* Long texts are split, and what is split reads back as the same text. */
static void test_write_long(void **state)
{
    (void)state;
    static const char *const unit[] = {"word ", "x", "\xc3\xa9", "\xe4\xbd\xa0"};
    for (size_t u = 0; u < ARRAY_LEN(unit); u++) {
        struct smtp_reply r, back;
        struct smtp_reply_parser p;
        enum smtp_reply_state st;
        struct buf b = BUF_INIT(4096);
        char text[SMTP_REPLY_TEXT_MAX] = "";
        while (strlen(text) + strlen(unit[u]) < sizeof(text))
            strcat(text, unit[u]);
        assert_true(smtp_reply_write(smtp_reply_set(&r, 550, "5.7.1", "%s", text), &b));
        struct str rest = buf_str(&b);
        unsigned lines = 0;
        for (; rest.n != 0; lines++) {
            struct str line = str_split(&rest, '\n');
            assert_true(line.n + 1 <= 512);
            assert_true(str_starts(line, rest.n != 0 ? STR("550-5.7.1 ") : STR("550 5.7.1 ")));
        }
        assert_int_equal(lines, 2);
        smtp_reply_parser_init(&p);
        feed(&p, buf_str(&b), 100, &st, &back);
        assert_int_equal(st, SMTP_REPLY_DONE);
        assert_null(strstr(back.text, "\\x")); /* no character was torn */
        smtp_reply_parser_free(&p);
        buf_free(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),      cmocka_unit_test(test_many_replies),
        cmocka_unit_test(test_ehlo),       cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_status),     cmocka_unit_test(test_write),
        cmocka_unit_test(test_write_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
