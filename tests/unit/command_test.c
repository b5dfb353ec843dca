/*
 * command_test.c - command lines, the parameters of MAIL and RCPT, xtext.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "relay/proto/command.h"

static void test_verbs(void **state)
{
    (void)state;
    static const struct {
        struct str line;
        enum smtp_verb verb;
        const char *args;
    } t[] = {
        {STR("QUIT"), SMTP_QUIT, ""},
        {STR("quit  "), SMTP_QUIT, ""},
        {STR("MaIl FROM:<a@b> SIZE=1 "), SMTP_MAIL, "FROM:<a@b> SIZE=1"},
        {STR("MAIL\tFROM:<>"), SMTP_MAIL, "FROM:<>"},
        {STR("NOOP  a  b"), SMTP_NOOP, "a  b"},
        {STR("STARTTLS"), SMTP_STARTTLS, ""},
        {STR("BDAT 5 LAST"), SMTP_BDAT, "5 LAST"},
        {STR(""), SMTP_UNKNOWN, ""},
        {STR(" QUIT"), SMTP_UNKNOWN, "QUIT"},
        {STR("QUIT\r"), SMTP_UNKNOWN, ""},
        {STR("QUIT \r"), SMTP_QUIT, "\r"},
        {STR("QUIT\0"), SMTP_UNKNOWN, ""},
        {STR("QUI"), SMTP_UNKNOWN, ""},
        {STR("QUITX"), SMTP_UNKNOWN, ""},
        {STR("GET / HTTP/1.1"), SMTP_UNKNOWN, "/ HTTP/1.1"},
        {STR("\x16\x03\x01"), SMTP_UNKNOWN, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct smtp_command c;
        smtp_command_parse(t[i].line, &c);
        if (c.verb != t[i].verb || !str_eq(c.args, str_c(t[i].args)))
            fail_msg("case %zu: verb %d args \"%.*s\"", i, c.verb, STR_ARG(c.args));
    }
    for (int v = 0; v < SMTP_UNKNOWN; v++) {
        struct smtp_command c;
        smtp_command_parse(str_c(smtp_verb_info[v].text), &c);
        assert_int_equal(c.verb, v);
        assert_true(strlen(smtp_verb_info[v].help) != 0);
    }
}

static void test_helo(void **state)
{
    (void)state;
    struct str name;
    char longest[256];
    memset(longest, 'a', sizeof(longest));
    assert_true(smtp_parse_helo(STR("mail.contoso.com"), &name));
    assert_true(str_eq(name, STR("mail.contoso.com")));
    assert_true(smtp_parse_helo(STR("[1.2.3.4]"), &name));
    assert_true(smtp_parse_helo(STR("WIN_PC!~"), &name));
    assert_true(smtp_parse_helo(str_n(longest, 255), &name));
    assert_false(smtp_parse_helo(str_n(longest, 256), &name));
    assert_false(smtp_parse_helo(STR(""), &name));
    assert_false(smtp_parse_helo(STR("a b"), &name));
    assert_false(smtp_parse_helo(STR("a\0b"), &name));
    assert_false(smtp_parse_helo(STR("a\rb"), &name));
    assert_false(smtp_parse_helo(STR("a\x80"), &name));
}

/* Refusals: the code, the enhanced code and a word of the text. */
struct refusal {
    struct str args;
    bool utf8;
    int code;
    const char *enhanced, *word;
};

static const struct refusal mail_bad[] = {
    {STR(""), false, 501, "5.5.4", "MAIL FROM:<address>"},
    {STR("<a@b>"), false, 501, "5.5.4", "MAIL FROM:<address>"},
    {STR("FROM <a@b>"), false, 501, "5.5.4", "MAIL FROM:<address>"},
    {STR("FROM:"), false, 501, "5.1.7", "angle brackets"},
    {STR("FROM:a@b"), false, 501, "5.1.7", "angle brackets"},
    {STR("FROM:John <a@b>"), false, 501, "5.1.7", "angle brackets"},
    {STR("FROM:<a@b"), false, 501, "5.1.7", "not a valid"},
    {STR("FROM:<a>"), false, 501, "5.1.7", "not a valid"},
    {STR("FROM:<postmaster>"), false, 501, "5.1.7", "not a valid"},
    {STR("FROM:<a b@c>"), false, 501, "5.1.7", "not a valid"},
    {STR("FROM:<a\0@c>"), false, 501, "5.1.7", "not a valid"},
    {STR("FROM:<a@b>SIZE=1"), false, 501, "5.5.4", "blank"},
    {STR("FROM:<a@b>>"), false, 501, "5.5.4", "blank"},
    {STR("FROM:<a@b>\tSIZE=1"), false, 501, "5.5.4", "blank"},
    {STR("FROM:<a@b> SIZE"), false, 501, "5.5.4", "SIZE"},
    {STR("FROM:<a@b> SIZE="), false, 501, "5.5.4", "SIZE"},
    {STR("FROM:<a@b> SIZE=-1"), false, 501, "5.5.4", "octets"},
    {STR("FROM:<a@b> SIZE=1x"), false, 501, "5.5.4", "octets"},
    {STR("FROM:<a@b> SIZE=1=2"), false, 501, "5.5.4", "syntax"},
    {STR("FROM:<a@b> SIZE=123456789012345678901"), false, 501, "5.5.4", "octets"},
    {STR("FROM:<a@b> SIZE=1 SIZE=1"), false, 501, "5.5.4", "twice"},
    {STR("FROM:<a@b> SIZE=1 BODY=7BIT SIZE=1"), false, 501, "5.5.4", "twice"},
    {STR("FROM:<a@b> size=1 SIZE=1"), false, 501, "5.5.4", "twice"},
    {STR("FROM:<a@b> AUTH=<> AUTH=<>"), false, 501, "5.5.4", "twice"},
    {STR("FROM:<a@b> BODY=BINARYMIME"), false, 501, "5.5.4", "7BIT or 8BITMIME"},
    {STR("FROM:<a@b> BODY=8BIT"), false, 501, "5.5.4", "7BIT or 8BITMIME"},
    {STR("FROM:<a@b> BODY"), false, 501, "5.5.4", "BODY"},
    {STR("FROM:<a@b> RET=ALL"), false, 501, "5.5.4", "FULL or HDRS"},
    {STR("FROM:<a@b> RET"), false, 501, "5.5.4", "FULL or HDRS"},
    {STR("FROM:<a@b> ENVID="), false, 501, "5.5.4", "ENVID"},
    {STR("FROM:<a@b> ENVID=a+0Ab"), false, 501, "5.5.4", "ENVID"},
    {STR("FROM:<a@b> ENVID=a+0"), false, 501, "5.5.4", "ENVID"},
    {STR("FROM:<a@b> ENVID=a+zz"), false, 501, "5.5.4", "ENVID"},
    {STR("FROM:<a@b> ENVID=a\x7f"), false, 501, "5.5.4", "ENVID"},
    {STR("FROM:<a@b> ENVID=\xc3\xa9"), false, 501, "5.5.4", "ENVID"},
    {STR("FROM:<a@b> AUTH="), false, 501, "5.5.4", "AUTH"},
    {STR("FROM:<a@b> AUTH=+"), false, 501, "5.5.4", "AUTH"},
    {STR("FROM:<a@b> XOORG=contoso.com"), false, 555, "5.5.4", "XOORG"},
    {STR("FROM:<a@b> NOTIFY=NEVER"), false, 555, "5.5.4", "NOTIFY"},
    {STR("FROM:<a@b> SIZE=1 garbage"), false, 555, "5.5.4", "garbage"},
    {STR("FROM:<a@b> =1"), false, 501, "5.5.4", "syntax"},
    {STR("FROM:<a@b> -A=1"), false, 501, "5.5.4", "syntax"},
    {STR("FROM:<a@b> A\x1b[m=1"), false, 501, "5.5.4", "A\\x1B"},
    {STR("FROM:<a@b> SIZE=1\r"), false, 501, "5.5.4", "syntax"},
    {STR("FROM:<a@b> SIZE=1\0"), false, 501, "5.5.4", "syntax"},
    {STR("FROM:<a@b> SMTPUTF8"), false, 555, "5.5.4", "SMTPUTF8"},
    {STR("FROM:<a@b> SMTPUTF8=1"), true, 501, "5.5.4", "no value"},
    {STR("FROM:<\xc3\xa9@b>"), false, 553, "5.6.7", "SMTPUTF8"},
    {STR("FROM:<\xc3\xa9@b>"), true, 553, "5.6.7", "SMTPUTF8"},
    {STR("FROM:<\xc3@b> SMTPUTF8"), true, 501, "5.1.7", "not a valid"},
};

static const struct refusal rcpt_bad[] = {
    {STR(""), false, 501, "5.5.4", "RCPT TO:<address>"},
    {STR("FROM:<a@b>"), false, 501, "5.5.4", "RCPT TO:<address>"},
    {STR("TO:a@b"), false, 501, "5.1.3", "angle brackets"},
    {STR("TO:<>"), false, 501, "5.1.3", "not a valid"},
    {STR("TO:<a>"), false, 501, "5.1.3", "not a valid"},
    {STR("TO:<a@b,c@d>"), false, 501, "5.1.3", "not a valid"},
    {STR("TO:<a@[1.2.3]>"), false, 501, "5.1.3", "not a valid"},
    {STR("TO:<a@b> SIZE=1"), false, 555, "5.5.4", "SIZE"},
    {STR("TO:<a@b> NOTIFY"), false, 501, "5.5.4", "NEVER"},
    {STR("TO:<a@b> NOTIFY="), false, 501, "5.5.4", "NOTIFY"},
    {STR("TO:<a@b> NOTIFY=,"), false, 501, "5.5.4", "NEVER"},
    {STR("TO:<a@b> NOTIFY=SUCCESS,"), false, 501, "5.5.4", "NEVER"},
    {STR("TO:<a@b> NOTIFY=,SUCCESS"), false, 501, "5.5.4", "NEVER"},
    {STR("TO:<a@b> NOTIFY=NEVER,SUCCESS"), false, 501, "5.5.4", "NEVER"},
    {STR("TO:<a@b> NOTIFY=ALWAYS"), false, 501, "5.5.4", "NEVER"},
    {STR("TO:<a@b> NOTIFY=DELAY NOTIFY=DELAY"), false, 501, "5.5.4", "twice"},
    {STR("TO:<a@b> ORCPT=a@b"), false, 501, "5.5.4", "rfc822;"},
    {STR("TO:<a@b> ORCPT=;a@b"), false, 501, "5.5.4", "rfc822;"},
    {STR("TO:<a@b> ORCPT=rfc822;"), false, 501, "5.5.4", "rfc822;"},
    {STR("TO:<a@b> ORCPT=rfc822;a+0D+0AX@b"), false, 501, "5.5.4", "rfc822;"},
    {STR("TO:<a@b> ORCPT=rfc822;a+00@b"), false, 501, "5.5.4", "rfc822;"},
    {STR("TO:<a@b> ORCPT=r/c;a@b"), false, 501, "5.5.4", "rfc822;"},
    {STR("TO:<a@b> ORCPT=x400;/c=us"), false, 501, "5.5.4", "syntax"},
    {STR("TO:<a@b> ORCPT=utf-8;\xc3\xa9@b"), false, 501, "5.5.4", "rfc822;"},
    {STR("TO:<a@b> ORCPT=utf-8;\xc3@b"), true, 501, "5.5.4", "rfc822;"},
    {STR("TO:<a@b> ORCPT=rfc822;\xc3\xa9@b"), true, 501, "5.5.4", "rfc822;"},
    {STR("TO:<\xc3\xa9@b>"), false, 553, "5.6.7", "SMTPUTF8"},
};

static void check_refusal(const struct refusal *t, bool refused, const struct smtp_reply *r)
{
    if (!refused || r->code != t->code || strcmp(r->enhanced, t->enhanced) != 0 ||
        strstr(r->text, t->word) == NULL)
        fail_msg("\"%.*s\": %s %d %s %s", STR_ARG(t->args), refused ? "refused" : "taken", r->code,
                 r->enhanced, r->text);
    for (const char *c = r->text; *c != '\0'; c++)
        assert_true((unsigned char)*c >= 32 && (unsigned char)*c < 127);
}

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(mail_bad); i++) {
        struct smtp_mail_args m;
        struct smtp_reply r = {0};
        bool ok = smtp_parse_mail(mail_bad[i].args, mail_bad[i].utf8, &m, &r);
        check_refusal(&mail_bad[i], !ok, &r);
    }
    for (size_t i = 0; i < ARRAY_LEN(rcpt_bad); i++) {
        struct smtp_rcpt_args m;
        struct smtp_reply r = {0};
        bool ok = smtp_parse_rcpt(rcpt_bad[i].args, rcpt_bad[i].utf8, &m, &r);
        check_refusal(&rcpt_bad[i], !ok, &r);
    }
}

static void test_mail(void **state)
{
    (void)state;
    static const struct {
        struct str args;
        bool utf8;
        struct smtp_mail_args want;
    } t[] = {
        {STR("FROM:<>"), false, {.sender = STR("")}},
        {STR("from:<a@b>"), false, {.sender = STR("a@b")}},
        {STR("FROM: <a@b>"), false, {.sender = STR("a@b")}},
        {STR("FROM:<@x,@y:a@b>"), false, {.sender = STR("a@b")}},
        {STR("FROM:<\"a b\"@c>"), false, {.sender = STR("\"a b\"@c")}},
        {STR("FROM:<a@b> SIZE=0"), false, {.sender = STR("a@b")}},
        {STR("FROM:<a@b>  SIZE=12345   BODY=8bitmime "),
         false,
         {.sender = STR("a@b"), .size = 12345, .body = MAIL_BODY_8BITMIME}},
        {STR("FROM:<a@b> SIZE=18446744073709551615"),
         false,
         {.sender = STR("a@b"), .size = UINT64_MAX}},
        {STR("FROM:<a@b> SIZE=99999999999999999999"),
         false,
         {.sender = STR("a@b"), .size = UINT64_MAX}},
        {STR("FROM:<a@b> RET=hdrs ENVID=QQ+2B314 AUTH=<> BODY=7BIT"),
         false,
         {.sender = STR("a@b"), .ret = MAIL_RET_HDRS, .envid = STR("QQ+2B314"), .has_auth = true}},
        {STR("FROM:<a@b> ENVID=~!+20+7E"), false, {.sender = STR("a@b"), .envid = STR("~!+20+7E")}},
        {STR("FROM:<a@b> RET=FULL AUTH=e+3Dmc2@example.com"),
         false,
         {.sender = STR("a@b"), .ret = MAIL_RET_FULL, .has_auth = true}},
        {STR("FROM:<\xc3\xa9@b> SMTPUTF8"), true, {.sender = STR("\xc3\xa9@b"), .smtputf8 = true}},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct smtp_mail_args m;
        const struct smtp_mail_args *w = &t[i].want;
        struct smtp_reply r = {0};
        if (!smtp_parse_mail(t[i].args, t[i].utf8, &m, &r))
            fail_msg("case %zu: %d %s", i, r.code, r.text);
        assert_true(str_eq(m.sender, w->sender));
        assert_true(str_eq(m.envid, w->envid));
        assert_true(m.size == w->size && m.body == w->body && m.ret == w->ret);
        assert_true(m.smtputf8 == w->smtputf8 && m.has_auth == w->has_auth);
    }
}

static void test_rcpt(void **state)
{
    (void)state;
    const unsigned all = MAIL_NOTIFY_SUCCESS | MAIL_NOTIFY_FAILURE | MAIL_NOTIFY_DELAY;
    const struct {
        struct str args;
        bool utf8;
        struct smtp_rcpt_args want;
    } t[] = {
        {STR("TO:<a@b>"), false, {.recipient = STR("a@b")}},
        {STR("to: <@r:a@b>"), false, {.recipient = STR("a@b")}},
        {STR("TO:<Postmaster>"), false, {.recipient = STR("Postmaster")}},
        {STR("TO:<a@b> NOTIFY=never"),
         false,
         {.recipient = STR("a@b"), .notify = MAIL_NOTIFY_NEVER}},
        {STR("TO:<a@b> NOTIFY=SUCCESS,failure,Delay"),
         false,
         {.recipient = STR("a@b"), .notify = all}},
        {STR("TO:<a@b> ORCPT=rfc822;x+2By@c NOTIFY=FAILURE"),
         false,
         {.recipient = STR("a@b"), .notify = MAIL_NOTIFY_FAILURE, .orcpt = STR("rfc822;x+2By@c")}},
        {STR("TO:<a@b> ORCPT=utf-8;\\x{e9}@c"),
         false,
         {.recipient = STR("a@b"), .orcpt = STR("utf-8;\\x{e9}@c")}},
        {STR("TO:<a@b> ORCPT=az-AZ09;x"),
         false,
         {.recipient = STR("a@b"), .orcpt = STR("az-AZ09;x")}},
        {STR("TO:<\xc3\xa9@b> ORCPT=utf-8;\xc3\xa9@c"),
         true,
         {.recipient = STR("\xc3\xa9@b"), .orcpt = STR("utf-8;\xc3\xa9@c")}},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct smtp_rcpt_args m;
        struct smtp_reply r = {0};
        bool ok = smtp_parse_rcpt(t[i].args, t[i].utf8, &m, &r);
        if (!ok)
            fail_msg("case %zu: %d %s", i, r.code, r.text);
        assert_true(str_eq(m.recipient, t[i].want.recipient));
        assert_true(str_eq(m.orcpt, t[i].want.orcpt));
        assert_int_equal(m.notify, t[i].want.notify);
    }
}

/* ENVID of 100, ORCPT of 571 octets are the most. */
static void test_lengths(void **state)
{
    (void)state;
    char args[1200], value[600];
    struct smtp_mail_args m;
    struct smtp_rcpt_args rc;
    struct smtp_reply r;
    memset(value, 'x', sizeof(value));
    for (int n = 100; n <= 101; n++) {
        snprintf(args, sizeof(args), "FROM:<a@b> ENVID=%.*s", n, value);
        assert_int_equal(smtp_parse_mail(str_c(args), false, &m, &r), n == 100);
    }
    snprintf(args, sizeof(args), "FROM:<a@b> ENVID=%.*s+2B", 99, value);
    assert_true(smtp_parse_mail(str_c(args), false, &m, &r));
    for (int n = 571; n <= 572; n++) {
        snprintf(args, sizeof(args), "TO:<a@b> ORCPT=rfc822;%.*s", n, value);
        assert_int_equal(smtp_parse_rcpt(str_c(args), false, &rc, &r), n == 571);
    }
    for (int n = 569; n <= 570; n++) {
        snprintf(args, sizeof(args), "TO:<a@b> ORCPT=utf-8;\xc3\xa9%.*s", n, value);
        assert_int_equal(smtp_parse_rcpt(str_c(args), true, &rc, &r), n == 569);
    }
    for (int n = 40; n <= 41; n++) {
        snprintf(args, sizeof(args), "TO:<a@b> ORCPT=%.*s;a@b", n, value);
        assert_int_equal(smtp_parse_rcpt(str_c(args), false, &rc, &r), n == 40);
    }
    for (int n = 315; n <= 316; n++) {
        snprintf(args, sizeof(args), "TO:<%.*s@b>", n, value);
        assert_int_equal(smtp_parse_rcpt(str_c(args), false, &rc, &r), n == 315);
    }
    assert_non_null(strstr(r.text, "315"));
}

static void test_xtext(void **state)
{
    (void)state;
    static const struct {
        struct str plain, coded;
    } t[] = {
        {STR(""), STR("")},
        {STR("abc"), STR("abc")},
        {STR("a+b=c d"), STR("a+2Bb+3Dc+20d")},
        {STR("\0\x7f\xff"), STR("+00+7F+FF")},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct buf b = BUF_INIT(100);
        assert_true(xtext_encode(t[i].plain, &b));
        assert_true(str_eq(buf_str(&b), t[i].coded));
        buf_clear(&b);
        assert_true(xtext_decode(t[i].coded, &b));
        assert_true(str_eq(buf_str(&b), t[i].plain));
        buf_free(&b);
    }
    static const struct str bad[] = {STR("+"), STR("+2"),   STR("+2g"),  STR("+g2"), STR("a=b"),
                                     STR(" "), STR("\x7f"), STR("\xc3"), STR("a\0")};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct buf b = BUF_INIT(100);
        assert_false(xtext_decode(bad[i], &b));
        buf_free(&b);
    }
    struct buf lower = BUF_INIT(100), small = BUF_INIT(2);
    assert_true(xtext_decode(STR("+2b"), &lower));
    assert_true(str_eq(buf_str(&lower), STR("+")));
    assert_false(xtext_decode(STR("abc"), &small));
    assert_false(xtext_encode(STR("+"), &small));
    buf_free(&lower);
    buf_free(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verbs), cmocka_unit_test(test_helo), cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_mail),  cmocka_unit_test(test_rcpt), cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_xtext),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
