/*
 * ctl_test.c - causewayctl without a daemon: command lines, tables, what is printed for each
 * answer, and the client against a scripted server on a socket.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/file.h"
#include "relay/ctl/client.h"
#include "relay/ctl/cmdline.h"
#include "relay/ctl/load.h"
#include "relay/ctl/show.h"
#include "relay/ctl/wave_file.h"

/* ---- command lines ---- */

static int split(char *line, char **argv)
{
    int n = 0;
    argv[n++] = line;
    for (char *p = strtok(line, " "); p != NULL; p = strtok(NULL, " "))
        argv[n++] = strcmp(p, "''") == 0 ? p + 2 : p;
    return n;
}

static void test_command_lines(void **state)
{
    (void)state;
    static const struct {
        const char *line, *args; /* args: what is asked for, or NULL: wrong */
        const char *says;        /* the command, or a part of the complaint */
    } table[] = {
        {"status", "{}", "status"},
        {"--json status", "{\"counters\": true}", "status"},
        {"queue", "{}", "queue.list"},
        {"queue --older 2h --state parked", "{\"older\": 7200000, \"state\": \"parked\"}",
         "queue.list"},
        {"queue list --limit=5 --sender ''", "{\"limit\": 5, \"sender\": \"\"}", "queue.list"},
        {"directory", "{}", "directory.status"},
        {"directory lookup a@b.cd", "{\"address\": \"a@b.cd\"}", "directory.lookup"},
        {"explain a@b.cd --from x@y.zz --link forest:n",
         "{\"address\": \"a@b.cd\", \"from\": \"x@y.zz\", \"link\": \"forest:n\"}", "explain"},
        {"explain --from x@y.zz a@b.cd --json", "{\"address\": \"a@b.cd\", \"from\": \"x@y.zz\"}",
         "explain"},
        {"set a@b.cd new", "{\"address\": \"a@b.cd\", \"forest\": \"new\"}", "set"},
        {"set -- --a@b.cd new", "{\"address\": \"--a@b.cd\", \"forest\": \"new\"}", "set"},
        {"move a@b.cd e@f.gh --to new --at 2026-11-21T18:00:00+01:00 --for 2h --why x --dry-run",
         "{\"addresses\": [\"a@b.cd\", \"e@f.gh\"], \"at\": \"2026-11-21T17:00:00.000Z\", "
         "\"dry_run\": true, \"for\": 7200000, \"to\": \"new\", \"why\": \"x\"}",
         "move"},
        {"undo", "{}", "undo"},
        {"undo 7 --force", "{\"force\": true, \"what\": \"7\"}", "undo"},
        {"moves --state pending", "{\"state\": \"pending\"}", "moves"},
        {"move a@b.cd --at soon", NULL, "--at soon: must be a time like 18:00"},
        {"move --file /nonexistent", NULL, "/nonexistent"},
        {"queue remove 1 2 3 --dsn", "{\"dsn\": true, \"ids\": [\"1\", \"2\", \"3\"]}",
         "queue.remove"},
        {"directory upsert t a@b.cd --proxy b@b.cd --proxy X500:/o=x --kind group",
         "{\"address\": \"a@b.cd\", \"kind\": \"group\", \"proxy\": [\"b@b.cd\", "
         "\"X500:/o=x\"], \"source\": \"t\"}",
         "directory.upsert"},
        {"directory load t people.csv --dry-run",
         "{\"csv\": \"\", \"dry_run\": true, \"source\": \"t\"}", "directory.load"},
        {"queue hold --all", "{\"all\": true}", "queue.hold"},
        {"queue show X", "{\"id\": \"X\"}", "queue.show"},
        {"doctor --check no-mailbox --source s --check vanished",
         "{\"check\": [\"no-mailbox\", \"vanished\"], \"source\": \"s\"}", "doctor"},
        {"doctor --check no-mailboxes", NULL, "the name of a check"},
        {"stats", NULL, "did you mean \"status\"?"},
        {"queue hld 1", NULL, "did you mean \"queue hold\"?"},
        {"lookup a@b.cd", NULL, "did you mean \"directory lookup\"?"},
        {"queue.list", NULL, "no command \"queue.list\""},
        {"brew", NULL, "causewayctl help"},
        {"", NULL, "which command?"},
        {"explain", NULL, "explain needs ADDRESS"},
        {"explain a@b.cd c@d.ef", NULL, "one argument too many"},
        {"explain a@b.cd --form x", NULL, "no option --form for explain"},
        {"explain a@b.cd --from", NULL, "--from needs a value"},
        {"set a@b.cd", NULL, "set needs FOREST"},
        {"queue list --older soon", NULL, "an age like"},
        {"queue list --limit -1", NULL, "must be a number"},
        {"queue remove 1 --dsn=yes", NULL, "takes no value"},
        {"--frobnicate status", NULL, "no option --frobnicate"},
        {"status --socket", NULL, "--socket needs a path"},
        {"spool", NULL, "spool verify DIR"},
        {"spool verify", NULL, "needs a directory"},
        {"spool verify a b", NULL, "one directory"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char line[256], *argv[32];
        struct cmdline c;
        struct err e = {0};
        (void)snprintf(line, sizeof(line), "causewayctl %s", table[i].line);
        int argc = split(line, argv) - 1;
        bool ok = cmdline_parse(argc, argv + 1, &c, &e);
        if (ok != (table[i].args != NULL))
            fail_msg("%s: %s", table[i].line, ok ? "accepted" : e.text);
        if (ok) {
            char *args = json_dumps(c.args, JSON_SORT_KEYS);
            assert_int_equal(c.kind, CMDLINE_REQUEST);
            assert_string_equal(control_command_info[c.command].name, table[i].says);
            assert_string_equal(args, table[i].args);
            free(args);
        } else if (strstr(e.text, table[i].says) == NULL) {
            fail_msg("%s: %s", table[i].line, e.text);
        }
        cmdline_free(&c);
    }
}

static void test_wave_files(void **state)
{
    static const struct {
        const char *text, *json; /* json NULL: refused, and: */
        const char *says;
    } table[] = {
        {"a@b.cd", "[\"a@b.cd\"]", NULL},
        {"\xef\xbb\xbf"
         "Address,Forest\r\na@b.cd,new\r\n\r\ne@f.gh,\r\n",
         "[{\"address\": \"a@b.cd\", \"forest\": \"new\"}, \"e@f.gh\"]", NULL},
        {"# all\n a@b.cd ; new \n\"\"\"a b\"\"@b.cd\"\tnew\n",
         "[{\"address\": \"a@b.cd\", \"forest\": \"new\"}, {\"address\": \"\\\"a b\\\"@b.cd\", "
         "\"forest\": \"new\"}]",
         NULL},
        {"", NULL, "it has no address"},
        {"address\n", NULL, "it has no address"},
        {"a@b.cd\naddress\n", NULL, "line 2: not an address: \"address\""},
        {"a@b.cd,new,x\n", NULL, "line 1: there are more than two columns"},
        {"\n\n\"a@b.cd\n", NULL, "line 3: a quotation mark is not closed"},
        {"a@b.cd\x01\n", NULL, "line 1: not an address: \"a@b.cd\\x01\""},
        {"a@b.cd,\xff\n", NULL, "line 1: not the name of a forest: \"\\xFF\""},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct err e = {0};
        json_t *out = json_array();
        bool ok = wave_file_parse(str_c(table[i].text), out, &e);
        char *text = json_dumps(out, JSON_SORT_KEYS);
        if (ok != (table[i].json != NULL))
            fail_msg("%s: %s", table[i].text, ok ? text : e.text);
        if (ok)
            assert_string_equal(text, table[i].json);
        else if (strstr(e.text, table[i].says) == NULL)
            fail_msg("%s: %s", table[i].text, e.text);
        free(text);
        json_decref(out);
    }
    /* each file may have a heading, also behind addresses from elsewhere */
    json_t *several = json_array();
    struct err why;
    assert_true(wave_file_parse(STR("address\na@b.cd\n"), several, &why));
    assert_true(wave_file_parse(STR("# more\naddress,forest\ne@f.gh,new\n"), several, &why));
    assert_int_equal(json_array_size(several), 2);
    assert_false(wave_file_parse(STR("address\n"), several, &why));
    json_decref(several);
    /* damage anywhere is taken or refused, and never more than that */
    const char *right = "address,forest\n\"a@b.cd\",new\ne@f.gh;\"x\"\n";
    for (size_t at = 0; at < strlen(right); at++) {
        for (unsigned c = 0; c < 256; c++) {
            struct err e;
            json_t *out = json_array();
            char *copy = malloc(strlen(right));
            memcpy(copy, right, strlen(right));
            copy[at] = (char)c;
            (void)wave_file_parse(str_n(copy, c % 2 ? strlen(right) : at), out, &e);
            free(copy);
            json_decref(out);
        }
    }
}

/* The parts of a file are of whole rows, a quoted line end within one does not end it, and nothing
 * is lost or said twice. */
static void test_parts_of_a_load(void **state)
{
    (void)state;
    struct str text = STR("a,b\n1,\"x\ny\"\n2,\"\"\"\n\"\n3,4");
    static const size_t max[] = {1, 4, 8, 13, 17, 100};
    static const unsigned parts[] = {4, 4, 4, 2, 2, 1};
    for (size_t i = 0; i < ARRAY_LEN(max); i++) {
        unsigned n = 0;
        for (size_t at = 0, end; at < text.n; at = end, n++) {
            end = load_part_end(text, at, max[i]);
            assert_true(end > at && end <= text.n);
            assert_true(end == text.n || end == 4 || end == 12 || end == 20);
        }
        assert_int_equal(n, parts[i]);
    }
}

static void test_local_commands(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        enum cmdline_kind kind;
        int command;
    } table[] = {
        {"--help", CMDLINE_HELP, -1},
        {"help", CMDLINE_HELP, -1},
        {"help queue hold", CMDLINE_HELP, CONTROL_queue_hold},
        {"explain --help", CMDLINE_HELP, CONTROL_explain},
        {"spool verify --help", CMDLINE_HELP, CMDLINE_LOCAL},
        {"help spool verify", CMDLINE_HELP, CMDLINE_LOCAL},
        {"--version", CMDLINE_VERSION, -1},
        {"spool verify /var/spool", CMDLINE_SPOOL_VERIFY, -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        char line[256], *argv[32];
        struct cmdline c;
        struct err e = {0};
        (void)snprintf(line, sizeof(line), "causewayctl %s", table[i].line);
        int argc = split(line, argv) - 1;
        if (!cmdline_parse(argc, argv + 1, &c, &e))
            fail_msg("%s: %s", table[i].line, e.text);
        assert_int_equal(c.kind, table[i].kind);
        assert_int_equal(c.command, table[i].command);
        assert_string_equal(c.socket, CONTROL_SOCKET);
        cmdline_free(&c);
    }
}

static void test_help_tells_of_every_command_and_argument(void **state)
{
    (void)state;
    struct buf all = BUF_INIT(1 << 20), man = BUF_INIT(1 << 20);
    help_write(-1, &all);
    help_write_man(&man);
    for (int c = 0; c < CONTROL_COMMANDS; c++) {
        struct buf one = BUF_INIT(1 << 20);
        char words[64];
        unsigned n;
        cmdline_words(control_command_info[c].name, words, sizeof(words));
        assert_non_null(strstr(buf_cstr(&all), words));
        assert_non_null(strstr(buf_cstr(&man), words));
        help_write(c, &one);
        assert_non_null(strstr(buf_cstr(&one), words));
        const struct control_arg *a = control_command_args((enum control_command)c, &n);
        for (unsigned i = 0; i < n; i++)
            assert_non_null(strstr(buf_cstr(&one), a[i].help));
        buf_free(&one);
    }
    buf_free(&all);
    buf_free(&man);
}

static void test_the_protocol_document_has_every_command_and_argument(void **state)
{
    (void)state;
    const char *srcdir = getenv("srcdir");
    char path[1024];
    struct buf doc = BUF_INIT(1 << 20);
    struct err e;
    (void)snprintf(path, sizeof(path), "%s/doc/control-protocol.md", srcdir != NULL ? srcdir : ".");
    if (!file_read_all(path, &doc, &e))
        skip(); /* not started by `make check` */
    for (int c = 0; c < CONTROL_COMMANDS; c++) {
        unsigned n;
        char name[80];
        const struct control_arg *a = control_command_args((enum control_command)c, &n);
        if (strstr(buf_cstr(&doc), control_command_info[c].name) == NULL)
            fail_msg("doc/control-protocol.md does not know %s", control_command_info[c].name);
        for (unsigned i = 0; i < n; i++) {
            (void)snprintf(name, sizeof(name), "`%s`", a[i].name);
            if (strstr(buf_cstr(&doc), name) == NULL)
                fail_msg("doc/control-protocol.md does not know %s of %s", name,
                         control_command_info[c].name);
        }
    }
    buf_free(&doc);
}

/* ---- tables ---- */

static const struct grid_column three[] = {
    {"ID", false, false, false}, {"N", true, false, true}, {"WORDS", false, true, false}};

static void test_grid(void **state)
{
    (void)state;
    struct grid t;
    struct buf out = BUF_INIT(65536);
    grid_init(&t, three, 3, 0);
    grid_print(&t, &out);
    assert_int_equal(out.n, 0); /* no rows, no titles */
    grid_add(&t, "a");
    grid_add(&t, "1");
    grid_add(&t, "gr\xc3\xbc\xc3\x9f");
    grid_add(&t, "bbb");
    grid_add(&t, "1000");
    grid_add(&t, "line\nbreak\x1b[31m");
    grid_print(&t, &out);
    assert_string_equal(buf_cstr(&out), "ID      N  WORDS\n"
                                        "a       1  gr\xc3\xbc\xc3\x9f\n"
                                        "bbb  1000  line?break?[31m\n");
    buf_clear(&out);
    grid_add(&t, "c");
    grid_add(&t, "2");
    grid_add(&t, "");
    grid_print(&t, &out);
    assert_string_equal(buf_cstr(&out), "c   2\n"); /* titles once */
    grid_free(&t);

    buf_clear(&out);
    grid_init(&t, three, 3, 30);
    grid_add(&t, "0123456789");
    grid_add(&t, "5");
    grid_add(&t, "\xc3\xbc and much more than fits into the rest of the line");
    grid_print(&t, &out);
    assert_string_equal(buf_cstr(&out), "ID          N  WORDS\n"
                                        "0123456789  5  \xc3\xbc and much mor\xe2\x80\xa6\n");
    grid_free(&t);

    buf_clear(&out);
    grid_init(&t, three, 3, 24); /* too narrow for all: N is spare */
    grid_add(&t, "0123456789");
    grid_add(&t, "5");
    grid_add(&t, "and much more");
    grid_print(&t, &out);
    assert_string_equal(buf_cstr(&out), "ID          WORDS\n"
                                        "0123456789  and much mo\xe2\x80\xa6\n");
    grid_free(&t);
    buf_free(&out);
}

static void test_values(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } duration[] = {
        {-5, "0s"},        {59999, "59s"},       {60000, "1m"},      {3599999, "59m"},
        {3600000, "1h0m"}, {86399999, "23h59m"}, {86400000, "1d0h"}, {100 * 86400000ll, "100d0h"}};
    static const struct {
        uint64_t n;
        const char *text;
    } size[] = {{0, "0"},           {999, "999"},      {1024, "1.0K"},     {10240, "10K"},
                {1023999, "1000K"}, {3 << 20, "3.0M"}, {UINT64_MAX, "16E"}};
    char text[32];
    for (size_t i = 0; i < ARRAY_LEN(duration); i++) {
        text_duration(duration[i].ms, text);
        assert_string_equal(text, duration[i].text);
    }
    for (size_t i = 0; i < ARRAY_LEN(size); i++) {
        text_size(size[i].n, text);
        assert_string_equal(text, size[i].text);
    }
    assert_int_equal(text_time("2027-01-15T08:00:00.250Z"), 1800000000250);
    assert_int_equal(text_time(""), 0);
}

/* ---- answers ---- */

static json_t *J(const char *text)
{
    json_error_t e;
    json_t *o = json_loads(text, JSON_DECODE_ANY, &e);
    if (o == NULL)
        fail_msg("%s: %s", text, e.text);
    return o;
}

static int shown(enum control_command c, bool json, const char *const *items, const char *result,
                 struct buf *out)
{
    struct show s;
    show_init(&s, c, json, 0, 1800000000000);
    for (; items != NULL && *items != NULL; items++) {
        json_t *i = J(*items);
        show_item(&s, i, out);
        json_decref(i);
    }
    json_t *r = J(result);
    int code = show_result(&s, r, out);
    json_decref(r);
    show_free(&s);
    (void)buf_cstr(out);
    return code;
}

#define JOINED                                                                                     \
    "{\"address\":\"a@b.cd\",\"found\":\"conflict\",\"why\":\"mailbox\",\"conflict\":\"two "       \
    "mailboxes\",\"generation\":17,\"claims\":[{\"source\":\"new_ad\",\"generation\":12,\"kind\":" \
    "\"mailbox\",\"type\":\"UserMailbox\",\"forest\":\"new\",\"evidence\":\"homeMDB\","            \
    "\"primary\":"                                                                                 \
    "\"a@b.cd\",\"best\":true},{\"source\":\"old_ad\",\"kind\":\"mailbox\",\"forest\":\"old\","    \
    "\"dn\":\"CN=Kern\\\\, Anna,OU=A long name of a unit,OU=Another long name of a unit,OU=And "   \
    "one "                                                                                         \
    "more,DC=old,DC=example\",\"require_auth\":true,\"vanished\":\"2026-11-20T06:22:33.000Z\","    \
    "\"routes_until\":\"2026-11-27T06:22:33.000Z\"}]}"

static void test_answers_for_people(void **state)
{
    (void)state;
    static const char *const message[] = {
        "{\"id\":\"0000000000001\",\"state\":\"waiting\",\"age_ms\":60000,\"size\":4096,"
        "\"recipients\":3,\"recipients_left\":2,\"attempts\":1,\"sender\":\"\","
        "\"next_attempt\":\"2027-01-15T08:05:00.000Z\",\"dest\":\"forest:new\","
        "\"last_reply\":\"450 4.2.0 later\"}",
        NULL};
    static const char *const dest[] = {
        "{\"dest\":\"mx:x.test\",\"closed_for_ms\":90000,\"last_error\":\"421 no\"}", NULL};
    static const char *const source[] = {"{\"name\":\"ad\",\"state\":\"failing\"}", NULL};
    static const char *const finding[] = {
        "{\"check\":\"no-mailbox\",\"severity\":\"fault\",\"title\":\"nobody\",\"address\":\"a@b."
        "cd\","
        "\"source\":\"ad\",\"object\":\"CN=a\",\"text\":\"why\",\"evidence\":[\"who says what\"],"
        "\"mend\":[{\"means\":\"ldif\",\"source\":\"ad\",\"text\":\"dn: CN=a\\nchangetype: "
        "delete\\n\"},{\"means\":\"causewayctl\",\"source\":\"\",\"text\":\"causewayctl unset "
        "a@b.cd\"}]}",
        NULL};
    static const char *const pending[] = {
        "{\"address\":\"a@b.cd\",\"what\":\"vanishes\",\"from\":\"old\",\"to\":\"\"}", NULL};
    static const char *const eml[] = {"{\"data\":\"RnJvbTo=\"}", "{\"data\":\"IGENCg==\"}", NULL};
    const struct {
        enum control_command c;
        const char *const *items;
        const char *result;
        int code;
        const char *text; /* must be in it */
    } table[] = {
        {CONTROL_queue_list, message, "{\"count\":1,\"complete\":true}", 0,
         "0000000000001  waiting   1m  4.0K   2/3      1    5m  <>      forest:new   450 4.2.0 "
         "later\n"},
        {CONTROL_queue_list, message, "{\"count\":1,\"complete\":false}", 0, "--limit 0"},
        {CONTROL_queue_list, NULL, "{\"count\":0}", 0, "no such messages"},
        {CONTROL_queue_dests, dest, "{}", 0, "closed 1m"},
        {CONTROL_directory_status, source, "{}", 0, "failing"},
        {CONTROL_queue_export, eml, "{\"size\":9}", 0, "From: a\r\n"},
        {CONTROL_queue_hold, NULL, "{\"done\":2,\"not_found\":[]}", 0, "2 messages"},
        {CONTROL_queue_release, NULL, "{\"done\":3,\"left\":9,\"not_found\":[]}", 0,
         "3 messages\n9 others are not held\n"},
        {CONTROL_queue_retry, NULL, "{\"done\":0,\"left\":1,\"not_found\":[]}", 0,
         "0 messages\n1 other is held: "},
        {CONTROL_queue_remove, NULL, "{\"done\":1,\"not_found\":[\"0000000000009\"]}", 1,
         "not in the queue: 0000000000009"},
        {CONTROL_explain, NULL,
         "{\"address\":\"a@b.cd\",\"decision\":\"deliver\",\"dest\":\"forest:new\","
         "\"next_address\":\"a@new.local\",\"rule\":\"directory\",\"generation\":7,"
         "\"reasons\":[\"one\",\"two\"]}",
         0, "goes to      forest:new\nas           a@new.local\n"},
        {CONTROL_explain, NULL, "{\"decision\":\"refuse\",\"reply\":\"550 5.1.1 unknown\"}", 0,
         "refused      550 5.1.1 unknown"},
        {CONTROL_explain, NULL, "{\"decision\":\"defer\",\"reply\":\"451 4.3.0 wait\"}", 0,
         "put off      451"},
        {CONTROL_directory_lookup, NULL,
         "{\"address\":\"a@b.cd\",\"found\":\"conflict\",\"claims\":[{\"source\":\"s1\",\"forest\":"
         "\"new\",\"best\":true},{\"source\":\"s2\",\"forest\":\"old\"}]}",
         0, "\n* s1\n  says        "},
        {CONTROL_directory_lookup, NULL, JOINED, 0,
         "\n* new_ad\n"
         "  says       mailbox (UserMailbox) in forest new, by homeMDB; generation 12\n"
         "  primary    a@b.cd\n"},
        {CONTROL_directory_lookup, NULL, JOINED, 0,
         "  object     CN=Kern\\, Anna,OU=A long name of a unit,OU=Another long name of a "
         "unit,OU=And "
         "one\n             more,DC=old,DC=example\n"},
        {CONTROL_directory_lookup, NULL, JOINED, 0,
         "  closed     to all but authenticated senders"},
        {CONTROL_directory_lookup, NULL, JOINED, 0,
         "  vanished   2026-11-20 06:22:33 UTC; routed on until 2026-11-27 06:22:33 UTC\n"},
        {CONTROL_explain, NULL, "{\"reasons\":[\"one\"],\"entry\":" JOINED "}", 0,
         "because      one\n\n* new_ad\n"},
        {CONTROL_queue_show, NULL,
         "{\"id\":\"0000000000001\",\"sender\":\"\",\"rcpt\":[{\"address\":\"a@b.cd\",\"state\":"
         "\"done\"}]}",
         0, "a@b.cd     done"},
        {CONTROL_queue_show, NULL,
         "{\"rcpt\":[{\"address\":\"a@b.cd\",\"dest\":\"forest:b\",\"refused_by\":\"forest:a\"}]}",
         0, "a@b.cd was refused as unknown by forest:a and is tried at forest:b, which"},
        {CONTROL_status, NULL,
         "{\"version\":\"1\",\"uptime_ms\":5000,\"queue\":{\"messages\":3},\"spool\":{\"full\":"
         "true},"
         "\"directory\":{\"sources\":[{\"name\":\"ad\",\"state\":\"stale\"}]}}",
         0, "FULL: new mail is refused"},
        {CONTROL_status, NULL,
         "{\"alarms\":[{\"what\":\"held\",\"about\":\"ad\",\"text\":\"source ad is held\","
         "\"command\":\"causewayctl directory pending ad\"},{\"what\":\"stale\",\"text\":\"old\"}],"
         "\"spool\":{\"full\":true}}",
         0,
         "ATTENTION  source ad is held\n           -> causewayctl directory pending ad\n"
         "           old\nqueue "},
        {CONTROL_status, NULL, "{}", 0, "queue      0 messages"},
        {CONTROL_directory_pending, pending,
         "{\"source\":\"ad\",\"vanish\":3,\"move\":1,\"drop\":2,\"entries\":9,\"lately\":4,"
         "\"since\":\"2027-01-15T08:05:00.000Z\",\"complete\":false}",
         0,
         "          ADDRESS  FROM  TO\nvanishes  a@b.cd   old   -\n"
         "... and more: the first 1 are shown (--limit 0 shows all)\n\n"
         "3 of 9 entries vanish, 1 move, 2 drop an address; 4 vanished in the ten minutes before\n"
         "held since 2027-01-15 08:05:00 UTC; to apply it: causewayctl directory accept ad\n"},
        {CONTROL_directory_accept, NULL,
         "{\"vanish\":3,\"entries\":9,\"applied\":true,\"generation\":12}", 0,
         "3 of 9 entries vanish, 0 move\napplied, with generation 12\n"},
        {CONTROL_directory_accept, NULL, "{\"applied\":false}", 0,
         "as soon as the source's thread"},
        {CONTROL_directory_accept, NULL, "{\"source\":\"ad\",\"next\":true}", 0,
         "the next mass change of ad within a day is applied"},
        {CONTROL_reload, NULL, "{\"configuration\":\"/x\",\"needs_restart\":\"workers\"}", 0,
         "only after a restart: workers"},
        {CONTROL_doctor, finding,
         "{\"count\":1,\"found\":3,\"to_mend\":3,\"checks\":{\"vanished\":3},\"entries\":9}", 1,
         "fault: nobody: a@b.cd  [no-mailbox]\n    why\n    object CN=a in source ad\n"
         "    - who says what\n    mend by ldapmodify at source ad:\n        dn: CN=a\n"
         "        changetype: delete\n    or   by command:\n        causewayctl unset a@b.cd\n\n"
         "... and 2 more (--limit 0 shows all)\n     3 vanished\nfound in 9 entries"},
        {CONTROL_doctor, NULL, "{\"found\":2,\"count\":2,\"to_mend\":0}", 0, "found in 0"},
        {CONTROL_doctor, NULL, "{\"found\":0}", 0, "nothing found in 0"},
        {CONTROL_version, NULL, "{\"version\":\"9\",\"protocol\":1}", 0, "causewayd 9"},
        {CONTROL_stop, NULL, "{}", 0, "stopping"},
    };
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        struct buf out = BUF_INIT(65536);
        assert_int_equal(shown(table[i].c, false, table[i].items, table[i].result, &out),
                         table[i].code);
        if (strstr(out.p, table[i].text) == NULL)
            fail_msg("%s: %s", control_command_info[table[i].c].name, out.p);
        buf_free(&out);
    }
}

static void test_wrapping(void **state)
{
    static const struct {
        const char *text, *wrapped;
    } t[] = {
        {"", "\n"},
        {"one", "one\n"},
        {"one two", "one two\n"},
        {"one  two three", "one two\n  three\n"},
        {"12345678 x", "12345678\n  x\n"},
        {"1234567890123456789", "12345678\n  90123456\n  789\n"},
        {"ab 123456789", "ab\n  12345678\n  9\n"},
        {"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4 \xc3\xb6\xc3\xb6\xc3\xb6",
         "\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4 \xc3\xb6\xc3\xb6\xc3\xb6\n"},
        {"a\x1b\nb", "a??b\n"},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct buf out = BUF_INIT(1000);
        text_wrap(&out, t[i].text, 2, 10);
        assert_string_equal(buf_cstr(&out), t[i].wrapped);
        buf_free(&out);
    }
}

static void test_answers_for_programs_are_one_value(void **state)
{
    (void)state;
    static const char *const items[] = {"{\"id\":\"a\"}", "{\"id\":\"b\"}", NULL};
    static const struct {
        enum control_command c;
        const char *name;
    } streams[] = {{CONTROL_queue_list, "messages"},      {CONTROL_queue_dests, "dests"},
                   {CONTROL_directory_status, "sources"}, {CONTROL_directory_pending, "addresses"},
                   {CONTROL_doctor, "findings"},          {CONTROL_queue_export, "chunks"}};
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        for (size_t n = 0; n < 3; n++) {
            struct buf out = BUF_INIT(65536);
            (void)shown(streams[i].c, true, items + 2 - n, "{\"count\":5,\"complete\":true}", &out);
            json_t *o = J(out.p);
            assert_int_equal(json_array_size(json_object_get(o, streams[i].name)), n);
            assert_int_equal(json_integer_value(json_object_get(o, "count")), 5);
            json_decref(o);
            buf_free(&out);
        }
    }
    struct buf out = BUF_INIT(65536);
    assert_int_equal(
        shown(CONTROL_queue_hold, true, NULL, "{\"done\":0,\"not_found\":[\"x\"]}", &out), 1);
    assert_string_equal(out.p, "{\"done\":0,\"not_found\":[\"x\"]}\n");
    buf_free(&out);
    /* An answer that has the wrong types everywhere shows little and breaks nothing. */
    static const char *const odd[] = {"{\"id\":5,\"age_ms\":\"x\",\"sender\":[]}", "[]", "7", NULL};
    for (int c = 0; c < CONTROL_COMMANDS; c++) {
        struct buf b = BUF_INIT(65536);
        (void)shown((enum control_command)c, false, control_command_info[c].streams ? odd : NULL,
                    "{\"rcpt\":5,\"claims\":{},\"reasons\":[1],\"not_found\":[2],\"queue\":[]}",
                    &b);
        buf_free(&b);
    }
}

/* ---- client ---- */

struct script {
    char path[108];
    int listener;
    const char *answer;
    char heard[512];
};

static void *serve(void *arg)
{
    struct script *s = arg;
    int fd = accept(s->listener, NULL, NULL);
    ssize_t n = recv(fd, s->heard, sizeof(s->heard) - 1, 0);
    s->heard[n > 0 ? n : 0] = '\0';
    for (const char *p = s->answer; *p != '\0'; p++) /* byte at a time */
        (void)send(fd, p, 1, MSG_NOSIGNAL);
    close(fd);
    return NULL;
}

static bool count_item(void *arg, json_t *item)
{
    assert_true(json_is_object(item));
    ++*(unsigned *)arg;
    return true;
}

static bool call(struct script *s, const char *answer, unsigned *items, json_t **result,
                 bool *refused, struct err *e)
{
    pthread_t t;
    json_t *args = json_pack("{s:i}", "n", 1);
    s->answer = answer;
    *items = 0;
    assert_int_equal(pthread_create(&t, NULL, serve, s), 0);
    bool ok = client_call(s->path, "status", args, count_item, items, result, refused, e);
    assert_int_equal(pthread_join(t, NULL), 0);
    json_decref(args);
    return ok;
}

static void test_client(void **state)
{
    (void)state;
    struct script s = {0};
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    char dir[] = "/tmp/ctl_test.XXXXXX";
    unsigned items;
    json_t *result;
    bool refused;
    struct err e = {0};
    assert_non_null(mkdtemp(dir));
    (void)snprintf(s.path, sizeof(s.path), "%s/socket", dir);
    memcpy(a.sun_path, s.path, sizeof(s.path));
    s.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s.listener, (struct sockaddr *)&a, sizeof(a)), 0);
    assert_int_equal(listen(s.listener, 5), 0);

    assert_true(call(&s, "{\"item\":{}}\n{\"item\":{}}\n{\"ok\":true,\"result\":{\"x\":1}}\n",
                     &items, &result, &refused, &e));
    assert_int_equal(items, 2);
    assert_int_equal(json_integer_value(json_object_get(result, "x")), 1);
    assert_string_equal(s.heard, "{\"command\":\"status\",\"args\":{\"n\":1}}\n");
    json_decref(result);
    assert_false(call(&s, "{\"ok\":false,\"error\":{\"code\":\"failed\",\"message\":\"no way\"}}\n",
                      &items, &result, &refused, &e));
    assert_true(refused);
    assert_string_equal(e.text, "no way");
    assert_false(call(&s, "{\"item\":{}}\n", &items, &result, &refused, &e));
    assert_false(refused);
    assert_non_null(strstr(e.text, "closed the connection"));
    assert_false(call(&s, "220 mail.example ESMTP\n", &items, &result, &refused, &e));
    assert_non_null(strstr(e.text, "not of the control protocol"));

    close(s.listener);
    assert_false(client_call(s.path, "status", json_null(), NULL, NULL, &result, &refused, &e));
    assert_non_null(strstr(e.text, s.path));
    assert_non_null(strstr(e.text, "nobody listens"));
    unlink(s.path);
    assert_false(client_call(s.path, "status", json_null(), NULL, NULL, &result, &refused, &e));
    assert_non_null(strstr(e.text, "is causewayd running"));
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_lines),
        cmocka_unit_test(test_parts_of_a_load),
        cmocka_unit_test(test_local_commands),
        cmocka_unit_test(test_wave_files),
        cmocka_unit_test(test_help_tells_of_every_command_and_argument),
        cmocka_unit_test(test_the_protocol_document_has_every_command_and_argument),
        cmocka_unit_test(test_grid),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_answers_for_people),
        cmocka_unit_test(test_wrapping),
        cmocka_unit_test(test_answers_for_programs_are_one_value),
        cmocka_unit_test(test_client),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
