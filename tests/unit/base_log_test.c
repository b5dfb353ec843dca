/*
 * base_log_test.c - escaping, and the promise that a logged value never adds a field or a line.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/log.h"
#include "base/stats.h"

static void escape_cases(void **state)
{
    static const struct {
        struct str in;
        const char *out;
    } cases[] = {
        {{"plain text", 10}, "plain text"},
        {{"", 0}, ""},
        {{"a\r\nb\tc", 6}, "a\\x0D\\x0Ab\\x09c"},
        {{"nul\0!", 5}, "nul\\x00!"},
        {{"\x7f\x1b[2J", 5}, "\\x7F\\x1B[2J"},
        {{"back\\slash", 10}, "back\\\\slash"},
        {{"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9}, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80"},
        {{"\xe4", 1}, "\\xE4"},                            /* Latin-1 */
        {{"\xc0\xaf", 2}, "\\xC0\\xAF"},                   /* overlong */
        {{"\xe0\x80\xaf", 3}, "\\xE0\\x80\\xAF"},          /* overlong */
        {{"\xf0\x80\x80\xaf", 4}, "\\xF0\\x80\\x80\\xAF"}, /* overlong */
        {{"\xed\xa0\x80", 3}, "\\xED\\xA0\\x80"},          /* surrogate */
        {{"\xf4\x90\x80\x80", 4}, "\\xF4\\x90\\x80\\x80"}, /* past U+10FFFF */
        {{"\xf5\x80\x80\x80", 4}, "\\xF5\\x80\\x80\\x80"},
        {{"\xe2\x82", 2}, "\\xE2\\x82"}, /* ends too early */
        {{"\xe2\x82z", 3}, "\\xE2\\x82z"},
        {{"\xc2\x85", 2}, "\\xC2\\x85"}, /* C1 control NEL */
        {{"\xc2\xa0", 2}, "\xc2\xa0"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b = BUF_INIT(100);
        char text[100];
        assert_true(escape_append(&b, cases[i].in, 100));
        assert_string_equal(buf_cstr(&b), cases[i].out);
        escape_cstr(cases[i].in, text, sizeof(text));
        assert_string_equal(text, cases[i].out);
        buf_free(&b);
    }
}

static void escape_cuts_whole_units(void **state)
{
    static const struct {
        const char *in;
        size_t max;
        const char *out;
    } cases[] = {
        {"abcdef", 6, "abcdef"},
        {"abcdefg", 6, "abc..."},
        {"ab\ncd", 8, "ab\\x0Acd"},
        {"ab\ncde", 8, "ab..."},
        {"\n\n\n", 11, "\\x0A\\x0A..."},
        {"\xe2\x82\xac\xe2\x82\xac", 5, "..."},
        {"abc", 2, ".."},
        {"abc", 0, ""},
        {"\\\\\\", 5, "\\\\..."},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b = BUF_INIT(100);
        assert_true(escape_append(&b, str_c(cases[i].in), cases[i].max));
        assert_string_equal(buf_cstr(&b), cases[i].out);
        buf_free(&b);
    }
    struct buf full = BUF_INIT(5);
    assert_false(escape_append(&full, STR("a\nb"), 100)); /* six octets */
    assert_int_equal(full.n, 0);
    buf_free(&full);
    char tiny[8];
    escape_cstr(STR("0123456789"), tiny, sizeof(tiny));
    assert_string_equal(tiny, "0123...");
}

/* Standard error goes to a temporary file while a test logs. */
static int saved = -1;
static FILE *captured;

static void capture(enum log_format format, enum log_level level)
{
    captured = tmpfile();
    assert_non_null(captured);
    saved = dup(STDERR_FILENO);
    dup2(fileno(captured), STDERR_FILENO);
    log_setup(LOG_TO_STDERR, format, level);
}

/* The same, as if the file were the journal's. */
static void capture_as_journal(enum log_format format, enum log_level level)
{
    char stream[64];
    struct stat st;
    capture(format, level);
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_setup(LOG_TO_STDERR, format, level);
}

static const char *capture_end(void)
{
    static char text[200000];
    log_flush();
    dup2(saved, STDERR_FILENO);
    close(saved);
    rewind(captured);
    size_t n = fread(text, 1, sizeof(text) - 1, captured);
    text[n] = '\0';
    fclose(captured);
    return text;
}

static void log_text_values(void **state)
{
    static const struct {
        struct str value;
        const char *shown;
    } cases[] = {
        {{"plain@example.com", 17}, "plain@example.com"},
        {{"two words", 9}, "\"two words\""},
        {{"", 0}, "\"\""},
        {{"x to=other", 10}, "\"x to=other\""},
        {{"say \"hi\"", 8}, "\"say \\\"hi\\\"\""},
        {{"\"", 1}, "\"\\\"\""},
        {{"end\n2026 fake line", 18}, "\"end\\x0A2026 fake line\""},
        {{"tab\there", 8}, "tab\\x09here"},
        {{"dir\\user", 8}, "dir\\\\user"},
        {{"quote\\\" x", 9}, "\"quote\\\\\\\" x\""},
        {{"a=b", 3}, "\"a=b\""},
        {{"\xff", 1}, "\\xFF"},
        {{"M\xc3\xbcller", 7}, "M\xc3\xbcller"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char want[200];
        capture_as_journal(LOG_TEXT, LOG_INFO_);
        LOG(INFO, "q1", "event", LS("k", cases[i].value), LI("n", -5), LU("u", UINT64_MAX));
        snprintf(want, sizeof(want), "<6>q1 event k=%s n=-5 u=18446744073709551615\n",
                 cases[i].shown);
        assert_string_equal(capture_end(), want);
    }
    unsetenv("JOURNAL_STREAM");
}

/* systemd sets the variable if it reads only the other output, and what is inherited is somebody
 * else's. */
static void log_beside_the_journal(void **state)
{
    (void)state;
    setenv("JOURNAL_STREAM", "8:1", 1);
    capture(LOG_TEXT, LOG_INFO_);
    LOG(INFO, "q1", "event");
    const char *line = capture_end();
    assert_int_equal(line[0], '2');
    assert_non_null(strstr(line, "q1 event\n"));
    unsetenv("JOURNAL_STREAM");
}

static void log_json_values(void **state)
{
    static const struct {
        struct str value;
        const char *shown;
    } cases[] = {
        {{"plain", 5}, "plain"},
        {{"say \"hi\" \\", 10}, "say \\\"hi\\\" \\\\"},
        {{"a\r\n\tb\x7f", 6}, "a\\u000d\\u000a\\u0009b\\u007f"},
        {{"n\0l", 3}, "n\\u0000l"},
        {{"\xff\xc3\xbc", 3}, "\\\\xFF\xc3\xbc"},
        {{"\xc2\x9b\xc2\xa0", 4}, "\\u009b\xc2\xa0"},
        {{"", 0}, ""},
    };
    (void)state;
    clock_fake_start(0, 1795152145123);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char want[300];
        capture(LOG_JSON, LOG_DEBUG_);
        LOG(DEBUG, NULL, "event", LS("k", cases[i].value), LI("n", -5), LU("u", 7));
        snprintf(want, sizeof(want),
                 "{\"time\":\"2026-11-20T05:22:25.123Z\",\"level\":\"debug\",\"id\":\"-\","
                 "\"event\":\"event\",\"k\":\"%s\",\"n\":-5,\"u\":7}\n",
                 cases[i].shown);
        assert_string_equal(capture_end(), want);
    }
    clock_fake_stop();
}

static void log_levels(void **state)
{
    (void)state;
    enum log_level level = LOG_INFO_;
    assert_true(log_level_parse(STR("DEBUG"), &level));
    assert_int_equal(level, LOG_DEBUG_);
    assert_true(log_level_parse(STR("error"), &level));
    assert_int_equal(level, LOG_ERROR_);
    assert_false(log_level_parse(STR("loud"), &level));
    clock_fake_start(0, 0);
    capture(LOG_TEXT, LOG_WARN_);
    LOG(INFO, "x", "unseen");
    LOG(WARN, "", "seen");
    /* A warning does not wait for log_flush(). */
    assert_true(lseek(STDERR_FILENO, 0, SEEK_CUR) > 0);
    assert_string_equal(capture_end(), "1970-01-01T00:00:00.000Z warn - seen\n");
    clock_fake_stop();
}

static void log_gathers(void **state)
{
    (void)state;
    capture(LOG_TEXT, LOG_INFO_);
    LOG(INFO, "x", "one");
    assert_int_equal(lseek(STDERR_FILENO, 0, SEEK_CUR), 0);
    for (int i = 0; i < 600; i++) /* more than 16 KB */
        LOG(INFO, "x", "many", LI("i", i));
    assert_true(lseek(STDERR_FILENO, 0, SEEK_CUR) >= 16 * 1024);
    const char *text = capture_end();
    assert_non_null(strstr(text, "many i=599\n"));
}

static void log_long_value_is_cut(void **state)
{
    (void)state;
    static char big[100000];
    memset(big, 'x', sizeof(big));
    for (int format = LOG_TEXT; format <= LOG_JSON; format++) {
        int64_t dropped = stats_read(STAT_log_dropped);
        capture((enum log_format)format, LOG_INFO_);
        LOG(INFO, "x", "event", LS("k", str_n(big, sizeof(big))), LI("after", 1));
        const char *text = capture_end();
        assert_in_range(strlen(text), 2000, 2300);
        assert_non_null(strstr(text, "..."));
        assert_non_null(strstr(text, "after"));
        assert_int_equal(stats_read(STAT_log_dropped), dropped);
    }
}

static void log_counts_what_is_lost(void **state)
{
    (void)state;
    int64_t dropped = stats_read(STAT_log_dropped);
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (full < 0)
        skip();
    saved = dup(STDERR_FILENO);
    dup2(full, STDERR_FILENO);
    close(full);
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_INFO_);
    for (int i = 0; i < 3; i++)
        LOG(INFO, "x", "lost");
    log_flush();
    dup2(saved, STDERR_FILENO);
    close(saved);
    assert_int_equal(stats_read(STAT_log_dropped), dropped + 3);
}

/* What would go to the system log. These stand in front of the library's; the last is syslog() when
 * it is fortified. */
static struct {
    char ident[20], line[5000];
    int facility, priority, n;
} sys;

void openlog(const char *ident, int option, int facility);
void syslog(int priority, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void __syslog_chk(int priority, int flag, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static void sys_take(int priority, const char *fmt, va_list ap)
    __attribute__((format(printf, 2, 0)));
static void sys_take(int priority, const char *fmt, va_list ap)
{
    sys.priority = priority;
    sys.n++;
    vsnprintf(sys.line, sizeof(sys.line), fmt, ap);
}

void openlog(const char *ident, int option, int facility)
{
    (void)option;
    snprintf(sys.ident, sizeof(sys.ident), "%s", ident);
    sys.facility = facility;
}

void syslog(int priority, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    sys_take(priority, fmt, ap);
    va_end(ap);
}

void __syslog_chk(int priority, int flag, const char *fmt, ...)
{
    va_list ap;
    (void)flag;
    va_start(ap, fmt);
    sys_take(priority, fmt, ap);
    va_end(ap);
}

/* Each at once, at its priority; no time and no level, which the system log adds; nothing on
 * standard error, and no value is a format. */
static void log_to_syslog(void **state)
{
    (void)state;
    capture_as_journal(LOG_TEXT, LOG_DEBUG_);
    log_setup(LOG_TO_SYSLOG, LOG_TEXT, LOG_DEBUG_);
    assert_string_equal(sys.ident, "causeway");
    assert_int_equal(sys.facility, 2 << 3); /* mail */
    LOG(ERROR, "q1", "event", LC("k", "%s%n two"), LI("n", -5));
    assert_string_equal(sys.line, "q1 event k=\"%s%n two\" n=-5");
    assert_int_equal(sys.priority, 3);
    LOG(WARN, NULL, "event");
    assert_string_equal(sys.line, "- event");
    assert_int_equal(sys.priority, 4);
    LOG(INFO, NULL, "event");
    assert_int_equal(sys.priority, 6);
    LOG(DEBUG, NULL, "event");
    assert_int_equal(sys.priority, 7);
    log_setup(LOG_TO_SYSLOG, LOG_JSON, LOG_INFO_);
    LOG(DEBUG, NULL, "unseen");
    assert_int_equal(sys.n, 4);
    LOG(INFO, "q2", "event");
    assert_int_equal(sys.n, 5);
    assert_int_equal(sys.line[0], '{');
    assert_non_null(strstr(sys.line, "\"id\":\"q2\""));
    assert_string_equal(capture_end(), "");
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_INFO_);
    unsetenv("JOURNAL_STREAM");
}

static void *log_and_end(void *arg)
{
    for (int i = 0; i < 200; i++)
        LOG(INFO, arg, "from-thread", LS("v", STR("0123456789")));
    return NULL; /* no log_flush(): the end of the thread does it */
}

static void log_threads_keep_lines_whole(void **state)
{
    static char ids[4][3] = {"t0", "t1", "t2", "t3"};
    (void)state;
    clock_fake_start(0, 0);
    capture(LOG_TEXT, LOG_INFO_);
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, log_and_end, ids[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    struct str rest = str_c(capture_end());
    int lines = 0;
    for (; rest.n != 0; lines++) {
        struct str line = str_split(&rest, '\n');
        assert_true(str_starts(line, STR("1970-01-01T00:00:00.000Z info t")));
        assert_true(str_ends_nocase(line, STR(" from-thread v=0123456789")));
    }
    assert_int_equal(lines, 800);
    clock_fake_stop();
}

static void log_limit(void **state)
{
    (void)state;
    static struct log_limit l;
    int64_t n = -1;
    clock_fake_start(10, 0);
    assert_true(log_limit_pass(&l, 1000, &n));
    assert_int_equal(n, 0);
    assert_false(log_limit_pass(&l, 1000, &n));
    clock_fake_advance(999);
    assert_false(log_limit_pass(&l, 1000, &n));
    clock_fake_advance(1);
    assert_true(log_limit_pass(&l, 1000, &n));
    assert_int_equal(n, 2);
    clock_fake_stop();
}

static int quiet(void **state)
{
    (void)state;
    unsetenv("JOURNAL_STREAM");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escape_cases),
        cmocka_unit_test(escape_cuts_whole_units),
        cmocka_unit_test(log_text_values),
        cmocka_unit_test(log_beside_the_journal),
        cmocka_unit_test(log_json_values),
        cmocka_unit_test(log_levels),
        cmocka_unit_test(log_gathers),
        cmocka_unit_test(log_long_value_is_cut),
        cmocka_unit_test(log_counts_what_is_lost),
        cmocka_unit_test(log_to_syslog),
        cmocka_unit_test(log_threads_keep_lines_whole),
        cmocka_unit_test(log_limit),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
