/*
 * dsn_test.c - the structure of delivery status notifications, and that nothing which a sender or a
 * next hop said can add to it. With an argument, writes a report of each kind into that folder, for
 * tests with other people's parsers.
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
#include "relay/dsn/dsn_int.h"

#define NOW 1795152145000 /* 20 Nov 2026 */

static const char header[] = "Received: from a by b; Fri, 20 Nov 2026 05:22:25 +0000\r\n"
                             "From: s@example.org\r\n"
                             "Message-ID:\r\n <m1@example.org>\r\n"
                             "Subject: hello\r\n"
                             "\r\n";
static const char whole[] = "From: s@example.org\r\n"
                            "Message-ID: <m1@example.org>\r\n"
                            "Content-Type: multipart/mixed; boundary=\"=_dsn_NEWID_0\"\r\n"
                            "\r\n"
                            "--=_dsn_NEWID_0\r\n\r\nb\xc3\xbcro\r\n--=_dsn_NEWID_1--\r\n.\r\n";

static struct envelope_rcpt to[] = {
    {.address = STR("user@contoso.com"), .orcpt = STR("rfc822;old+2Bname@contoso.com")},
    {.address = STR("\"a b\"@contoso.com")},
    {.address = STR("b\xc3\xbcro+x@contoso.com"), .orcpt = STR("utf-8;b\\x{FC}ro@contoso.com")},
};
static const struct envelope env = {
    .arrival_ms = NOW - 3600000,
    .sender = STR("s@example.org"),
    .envid = STR("QQ+2B314+20x"),
    .n_rcpt = 3,
    .rcpt = to,
};

/* The report as a NUL-terminated text; the caller frees it. */
static char *build(const struct dsn_request *q, bool *is_8bit)
{
    struct buf out = BUF_INIT(1 << 20);
    assert_true(buf_append_c(&out, "before"));
    assert_true(dsn_build(q, &out, is_8bit));
    char *text = strdup(buf_cstr(&out) + 6);
    assert_int_equal(strlen(text), out.n - 6);
    buf_free(&out);
    return text;
}

static struct dsn_request request(enum dsn_kind kind, const struct dsn_rcpt *r, unsigned n)
{
    return (struct dsn_request){
        .kind = kind,
        .hostname = "relay.contoso.com",
        .id_text = "NEWID",
        .orig_id_text = "OLDID",
        .env = &env,
        .rcpt = r,
        .n_rcpt = n,
        .now_ms = NOW,
        .original_header = str_c(header),
    };
}

static struct dsn_rcpt failure(unsigned i, const char *host, int code, const char *enhanced,
                               const char *text)
{
    struct dsn_rcpt r = {.rcpt = &to[i], .remote_host = host, .last_attempt_ms = NOW - 1000};
    smtp_reply_set(&r.reply, code, enhanced, "%s", text);
    return r;
}

/* Lines end with CRLF, none is too long, and there are three parts exactly. */
static void check_form(const char *text)
{
    char delimiter[100];
    const char *b = strstr(text, "boundary=\"");
    assert_non_null(b);
    b += 10;
    snprintf(delimiter, sizeof(delimiter), "\r\n--%.*s", (int)strcspn(b, "\""), b);
    unsigned parts = 0;
    for (const char *p = text; (p = strstr(p, delimiter)) != NULL; parts++)
        p += strlen(delimiter);
    assert_int_equal(parts, 4);
    char end[110];
    snprintf(end, sizeof(end), "%s--\r\n", delimiter);
    assert_string_equal(text + strlen(text) - strlen(end), end);
    size_t column = 0;
    for (const char *p = text; *p != '\0'; p++, column++) {
        if (*p == '\n') {
            assert_true(p > text && p[-1] == '\r');
            column = 0;
        }
        assert_true(*p != '\r' || p[1] == '\n');
        assert_true(column < 998);
    }
}

static unsigned count(const char *text, const char *what)
{
    unsigned n = 0;
    for (; (text = strstr(text, what)) != NULL; text++)
        n++;
    return n;
}

static void has(const char *text, const char *what)
{
    if (strstr(text, what) == NULL)
        fail_msg("\"%s\" is missing in:\n%s", what, text);
}

static void test_failure(void **state)
{
    (void)state;
    bool is_8bit;
    const struct dsn_rcpt r[] = {failure(0, "mx1.target.local", 550, "5.1.1", "No such user"),
                                 failure(1, "", 550, "5.4.6", "Routing loop")};
    const struct dsn_request q = request(DSN_FAILED, r, 2);
    char *text = build(&q, &is_8bit);
    assert_false(is_8bit);
    check_form(text);
    static const char *const want[] = {
        "From: Mail Delivery System <MAILER-DAEMON@relay.contoso.com>\r\n",
        "\r\nTo: <s@example.org>\r\n",
        "\r\nSubject: Undelivered mail returned to sender\r\n",
        "\r\nMessage-ID: <NEWID.dsn@relay.contoso.com>\r\n",
        "\r\nReferences: <m1@example.org>\r\n",
        "\r\nAuto-Submitted: auto-replied\r\n",
        "\r\nMIME-Version: 1.0\r\n",
        "\r\nContent-Type: multipart/report; report-type=delivery-status;\r\n    boundary=\"",
        "\r\nContent-Type: message/delivery-status\r\n",
        "\r\n\r\nReporting-MTA: dns; relay.contoso.com\r\n",
        "\r\nOriginal-Envelope-Id: QQ+314 x\r\n",
        "\r\nX-Causeway-Queue-ID: OLDID\r\nArrival-Date: ",
        "\r\n\r\nOriginal-Recipient: rfc822; old+name@contoso.com\r\n"
        "Final-Recipient: rfc822; user@contoso.com\r\n"
        "Action: failed\r\n"
        "Status: 5.1.1\r\n"
        "Remote-MTA: dns; mx1.target.local\r\n"
        "Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n"
        "Last-Attempt-Date: ",
        "\r\n\r\nFinal-Recipient: rfc822; \"a b\"@contoso.com\r\n"
        "Action: failed\r\n"
        "Status: 5.4.6\r\n"
        "Diagnostic-Code: X-Causeway; Routing loop\r\n"
        "Last-Attempt-Date: ",
        "\r\nContent-Type: text/rfc822-headers\r\n",
        "\r\n<user@contoso.com>\r\n    The host mx1.target.local refused it and said:\r\n",
        "\r\n        550 5.1.1 No such user\r\n    This address does not exist there.",
    };
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        has(text, want[i]);
    has(text, header);
    assert_int_equal(count(text, "Will-Retry-Until"), 0);
    assert_int_equal(count(text, "\r\nFinal-Recipient:"), 2);
    free(text);
}

/* What would mend it stands whole on a line of its own; only in what we say ourselves. */
static void test_the_line_that_mends(void **state)
{
    (void)state;
    bool is_8bit;
#define LINE                                                                                       \
    "X500:/o=First Organization/ou=Exchange Administrative Group (FYDIBOHF23SPDLT)/cn=Recipients/" \
    "cn=jdoe123"
    static const char said[] = "nobody has it; add the proxy address " LINE;
    const struct dsn_rcpt r[] = {failure(0, "", 550, "5.1.1", said),
                                 failure(1, "mx.target.local", 550, "5.1.1", said)};
    const struct dsn_request q = request(DSN_FAILED, r, 2);
    char *text = build(&q, &is_8bit);
    check_form(text);
    has(text, "\r\n        nobody has it; add the proxy address\r\n        " LINE
              "\r\n    Pass this report on to the recipient's administrator");
    assert_int_equal(count(text, LINE), 1);
    has(text, "\r\n    This address does not exist there.");
    free(text);
}

static void test_kinds(void **state)
{
    (void)state;
    static const struct {
        enum dsn_kind kind;
        bool expired;
        int code;
        const char *enhanced, *action, *status;
    } t[] = {
        {DSN_FAILED, false, 554, "", "failed", "5.0.0"},
        {DSN_FAILED, false, 550, "4.2.2", "failed", "5.0.0"},
        {DSN_FAILED, true, 451, "4.3.0", "failed", "4.4.7"},
        {DSN_FAILED, false, 451, "4.3.0", "failed", "5.0.0"},
        {DSN_FAILED, true, 0, "", "failed", "4.4.7"},
        {DSN_DELAYED, false, 451, "4.3.0", "delayed", "4.3.0"},
        {DSN_DELAYED, false, 0, "", "delayed", "4.0.0"},
        {DSN_DELAYED, false, 550, "5.1.1", "delayed", "4.0.0"},
        {DSN_RELAYED, false, 250, "2.1.5", "relayed", "2.1.5"},
        {DSN_DELIVERED, false, 250, "", "delivered", "2.0.0"},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        bool is_8bit;
        char want[100];
        struct dsn_rcpt r = failure(0, "mx", t[i].code, t[i].enhanced, "text");
        r.expired = t[i].expired;
        r.will_retry_until_ms = NOW + 86400000;
        struct dsn_request q = request(t[i].kind, &r, 1);
        q.original = str_c(whole);
        char *text = build(&q, &is_8bit);
        check_form(text);
        snprintf(want, sizeof(want), "\r\nAction: %s\r\nStatus: %s\r\n", t[i].action, t[i].status);
        has(text, want);
        assert_int_equal(count(text, "\r\nWill-Retry-Until: "), t[i].kind == DSN_DELAYED);
        assert_int_equal(count(text, "\r\nDiagnostic-Code: smtp; "), t[i].code != 0);
        /* only a failure returns the content */
        assert_int_equal(count(text, "message/rfc822\r\n"), t[i].kind == DSN_FAILED);
        assert_int_equal(count(text, "text/rfc822-headers\r\n"), t[i].kind != DSN_FAILED);
        assert_int_equal(is_8bit, t[i].kind == DSN_FAILED);
        free(text);
    }
}

/* What the report says about who refused, and why. */
static void test_diagnostic(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        int code;
        const char *text, *field;
    } t[] = {
        {"mx", 550, "no", "\r\nDiagnostic-Code: smtp; 550 5.1.1 no\r\n"},
        {"mx", 550, "", "\r\nDiagnostic-Code: smtp; 550 5.1.1\r\n"},
        {"mx", 0, "lost connection", "\r\nDiagnostic-Code: X-Causeway; lost connection\r\n"},
        {"", 550, "loop", "\r\nDiagnostic-Code: X-Causeway; loop\r\n"},
        {"", 0, "", NULL},
        {"mx", 0, "", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        bool is_8bit;
        const struct dsn_rcpt r = failure(0, t[i].host, t[i].code, "5.1.1", t[i].text);
        const struct dsn_request q = request(DSN_FAILED, &r, 1);
        char *text = build(&q, &is_8bit);
        check_form(text);
        assert_int_equal(count(text, "\r\nDiagnostic-Code"), t[i].field != NULL);
        if (t[i].field != NULL)
            has(text, t[i].field);
        assert_int_equal(count(text, "\r\nRemote-MTA: dns; mx\r\n"), t[i].host[0] != '\0');
        free(text);
    }
}

static void test_whole(void **state)
{
    (void)state;
    bool is_8bit;
    const struct dsn_rcpt r = failure(0, "mx", 550, "5.7.1", "=_dsn_NEWID_2");
    struct dsn_request q = request(DSN_FAILED, &r, 1);
    q.original = str_c(whole);
    char *text = build(&q, &is_8bit);
    assert_true(is_8bit);
    check_form(text);
    has(text, "boundary=\"=_dsn_NEWID_3\"");
    has(text,
        "\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nFrom: s@");
    has(text, whole);
    assert_int_equal(count(text, "Content-Transfer-Encoding: 8bit"), 2); /* and at the top */
    free(text);
    q.original = STR("no end of line");
    text = build(&q, &is_8bit);
    check_form(text);
    has(text, "\r\n\r\nno end of line\r\n\r\n--");
    free(text);
    q.original = q.original_header = STR_NULL; /* could not be read */
    text = build(&q, &is_8bit);
    check_form(text);
    free(text);
}

static void test_utf8(void **state)
{
    (void)state;
    bool is_8bit;
    const struct dsn_rcpt r = failure(2, "mx", 550, "5.1.1", "b\xc3\xbcro unbekannt");
    struct dsn_request q = request(DSN_FAILED, &r, 1);
    char *text = build(&q, &is_8bit);
    assert_true(is_8bit);
    check_form(text);
    has(text, "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n");
    has(text, "\r\n<b\xc3\xbcro+x@contoso.com>\r\n");
    has(text, "\r\nOriginal-Recipient: utf-8; b\\x{FC}ro@contoso.com\r\n");
    has(text, "\r\nFinal-Recipient: utf-8; b\\x{FC}ro\\x{2B}x@contoso.com\r\n");
    has(text, "\r\nDiagnostic-Code: smtp; 550 5.1.1 b??ro unbekannt\r\n");
    free(text);
    struct envelope_rcpt raw = {.address = STR("a@b"), .orcpt = STR("utf-8;\xe4\xbd\xa0@c")};
    struct dsn_rcpt r2 = r;
    r2.rcpt = &raw;
    q.rcpt = &r2;
    text = build(&q, &is_8bit);
    assert_false(is_8bit);
    has(text, "\r\nOriginal-Recipient: utf-8; \\x{4F60}@c\r\n");
    free(text);
    /* mixed forms; and what is not UTF-8 at all, which a damaged spool could hold */
    raw.orcpt = STR("utf-8;\xf0\x9f\x93\xa7\\x{e9}\xff@c");
    raw.address = STR("a\xff\xc3\xa9@b");
    text = build(&q, &is_8bit);
    has(text, "\r\nOriginal-Recipient: utf-8; \\x{1F4E7}\\x{e9}?@c\r\n");
    has(text, "\r\nFinal-Recipient: utf-8; a?\\x{E9}@b\r\n");
    free(text);
}

/* Whatever they say, there is one Status, one Final-Recipient, three parts, and no field of theirs.
 */
static void test_hostile(void **state)
{
    (void)state;
    static const char *const evil =
        "x\xc3\xa9\xff\r\nStatus: 2.0.0\r\n\r\n--=_dsn_NEWID_0\r\nBcc: v@w\n\nE: f\r";
    bool is_8bit;
    char id[200];
    struct envelope_rcpt rcpt = {.address = str_c(evil), .orcpt = str_c(evil)};
    struct envelope bad = env;
    bad.rcpt = &rcpt;
    bad.n_rcpt = 1;
    bad.sender = str_c(evil);
    bad.envid = STR("a+0D+0AStatus:+202.0.0+C3+A9");
    struct dsn_rcpt r = {.rcpt = &rcpt, .remote_host = evil};
    smtp_reply_set(&r.reply, 550, "5.1.1", "%s", evil);
    struct dsn_request q = request(DSN_FAILED, &r, 1);
    q.env = &bad;
    snprintf(id, sizeof(id), "Message-ID: <a b@c>\r\n\r\n");
    q.original_header = str_c(id);
    char *text = build(&q, &is_8bit);
    check_form(text);
    assert_int_equal(count(text, "\r\nStatus:"), 1);
    assert_int_equal(count(text, "\nStatus:"), 1);
    assert_int_equal(count(text, "\nBcc:"), 0);
    assert_int_equal(count(text, "\nE:"), 0);
    assert_int_equal(count(text, "\nReferences:"), 0);
    assert_int_equal(count(text, "\nFinal-Recipient:"), 1);
    /* the part for programs is declared 7bit */
    const char *from = strstr(text, "message/delivery-status\r\n");
    const char *end = strstr(from, "text/rfc822-headers");
    assert_false(dsn_is_8bit(str_n(from, (size_t)(end - from))));
    free(text);
    rcpt.orcpt = STR("t\xc3\xa9;a+C3+A9@b");
    text = build(&q, &is_8bit);
    has(text, "\r\nOriginal-Recipient: t??; a??@b\r\n");
    free(text);
}

static void test_folding(void **state)
{
    (void)state;
    bool is_8bit;
    char said[SMTP_REPLY_TEXT_MAX] = "";
    while (strlen(said) + 12 < sizeof(said))
        strcat(said, "unwilling   ");
    const struct dsn_rcpt r = failure(0, "mx", 550, "5.7.1", said);
    const struct dsn_request q = request(DSN_FAILED, &r, 1);
    char *text = build(&q, &is_8bit);
    check_form(text);
    const char *field = strstr(text, "\r\nDiagnostic-Code:") + 2;
    const char *next = strstr(field, "\r\nLast-Attempt-Date:");
    while (field < next) {
        const char *end = strstr(field, "\r\n");
        assert_true(end - field <= 76 && end - field > 40 / (1 + (end == next)));
        field = end + 2;
        assert_true(end == next || strncmp(field, "    unwilling", 13) == 0);
    }
    free(text);
}

static void test_cap(void **state)
{
    (void)state;
    const struct dsn_rcpt r = failure(0, "mx", 550, "5.1.1", "text");
    const struct dsn_request q = request(DSN_FAILED, &r, 1);
    bool is_8bit;
    char *text = build(&q, &is_8bit);
    size_t n = strlen(text);
    free(text);
    for (size_t max = 0; max <= n + 1; max++) {
        struct buf out = BUF_INIT(max);
        bool ok = dsn_build(&q, &out, &is_8bit);
        assert_true(ok || out.n == 0);
        assert_true(ok ? out.n == n : max <= n);
        buf_free(&out);
    }
}

/* What a second recipient adds, at its worst. */
static void test_size_of_a_recipient(void **state)
{
    (void)state;
    char words[SMTP_REPLY_TEXT_MAX] = "", host[256] = "", plain[572] = "", high[572] = "\xc3\xbc";
    for (unsigned i = 0; i + 1 < sizeof(words); i++)
        words[i] = i % 39 == 38 ? ' ' : 'x';
    memset(host, 'h', sizeof(host) - 1);
    memset(plain, 'a', sizeof(plain) - 1);
    memset(high + 2, '+', sizeof(high) - 3);
    const struct envelope_rcpt worst[] = {
        {.address = STR("a@b")},
        {.address = str_c(plain), .orcpt = str_c(plain)},
        {.address = str_c(high), .orcpt = str_c(high)},
    };
    for (unsigned i = 0; i < 2 * ARRAY_LEN(worst); i++) {
        for (enum dsn_kind kind = DSN_FAILED; kind <= DSN_DELIVERED; kind++) {
            bool is_8bit, remote = i % 2;
            struct dsn_rcpt r[2] = {failure(0, "", 550, "5.1.1", "no"),
                                    failure(0, remote ? host : "", 550, "5.1.1", words)};
            r[1].rcpt = &worst[i / 2];
            r[1].expired = true;
            r[1].will_retry_until_ms = NOW;
            const struct dsn_request one = request(kind, r, 1), two = request(kind, r, 2);
            char *a = build(&one, &is_8bit), *b = build(&two, &is_8bit);
            size_t most = dsn_rcpt_size_max(&r[1]);
            assert_in_range(strlen(b) - strlen(a), most / 4, most);
            free(a);
            free(b);
        }
    }
}

static void test_wanted(void **state)
{
    (void)state;
    static const struct {
        unsigned notify;
        bool failed, delayed, relayed;
    } t[] = {
        {0, true, true, false},
        {MAIL_NOTIFY_NEVER, false, false, false},
        {MAIL_NOTIFY_SUCCESS, false, false, true},
        {MAIL_NOTIFY_FAILURE, true, false, false},
        {MAIL_NOTIFY_DELAY, false, true, false},
        {MAIL_NOTIFY_SUCCESS | MAIL_NOTIFY_FAILURE | MAIL_NOTIFY_DELAY, true, true, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        const struct envelope_rcpt r = {.notify = t[i].notify};
        assert_int_equal(dsn_is_wanted(&r, DSN_FAILED), t[i].failed);
        assert_int_equal(dsn_is_wanted(&r, DSN_DELAYED), t[i].delayed);
        assert_int_equal(dsn_is_wanted(&r, DSN_RELAYED), t[i].relayed);
        assert_int_equal(dsn_is_wanted(&r, DSN_DELIVERED), t[i].relayed);
    }
}

static int write_samples(const char *dir)
{
    static const char *const name[] = {"failed", "delayed", "relayed", "delivered"};
    for (int kind = DSN_FAILED; kind <= DSN_DELIVERED; kind++) {
        int code = kind == DSN_FAILED ? 550 : kind == DSN_DELAYED ? 451 : 250;
        struct dsn_rcpt r[3];
        for (unsigned i = 0; i < 3; i++) {
            r[i] =
                failure(i, i == 1 ? "" : "mx1.target.local", code, "", "what the host said / more");
            r[i].will_retry_until_ms = NOW + 86400000;
        }
        struct dsn_request q = request((enum dsn_kind)kind, r, 3);
        struct buf out = BUF_INIT(1 << 20);
        char path[4096];
        bool is_8bit;
        q.original = str_c(whole);
        dsn_build(&q, &out, &is_8bit);
        snprintf(path, sizeof(path), "%s/%s.eml", dir, name[kind]);
        FILE *f = fopen(path, "w");
        if (f == NULL || fwrite(out.p, 1, out.n, f) != out.n || fclose(f) != 0)
            return 1;
        buf_free(&out);
    }
    return 0;
}

static void test_from(void **state)
{
    (void)state;
    static const struct {
        const char *from, *want;
    } t[] = {
        {NULL, "From: Mail Delivery System <MAILER-DAEMON@relay.contoso.com>\r\n"},
        {"", "From: Mail Delivery System <MAILER-DAEMON@relay.contoso.com>\r\n"},
        {"help@contoso.com", "From: Mail Delivery System <help@contoso.com>\r\n"},
    };
    const struct dsn_rcpt r = failure(0, "", 550, "5.1.1", "No");
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        bool is_8bit;
        struct dsn_request q = request(DSN_FAILED, &r, 1);
        q.from = t[i].from;
        char *text = build(&q, &is_8bit);
        assert_non_null(strstr(text, t[i].want));
        free(text);
    }
}

int main(int argc, char **argv)
{
    if (argc == 2)
        return write_samples(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failure),    cmocka_unit_test(test_the_line_that_mends),
        cmocka_unit_test(test_kinds),      cmocka_unit_test(test_whole),
        cmocka_unit_test(test_utf8),       cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_folding),    cmocka_unit_test(test_cap),
        cmocka_unit_test(test_diagnostic), cmocka_unit_test(test_from),
        cmocka_unit_test(test_wanted),     cmocka_unit_test(test_size_of_a_recipient),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
