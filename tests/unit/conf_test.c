/*
 * conf_test.c - the configuration: what is read, what is refused and with which words, lookups.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "conf/options.h"

#define L "listener \"i\" { address = \"*:25\" }\n"
#define F "forest \"old\" { host \"mx.old\" {} }\n"
#define D "domain \"Contoso.com\" {}\n"
/* Lines 1 to 3 are good; what a test adds begins on line 4. */
#define LFD L F D

static struct conf *good(const char *text)
{
    struct err e = {0};
    struct conf *c = conf_parse(text, "t.conf", &e);
    if (c == NULL)
        fail_msg("refused: %s", e.text);
    return c;
}

static void test_defaults(void **state)
{
    (void)state;
    struct conf *c = good(LFD);
    assert_string_equal(c->path, "t.conf");
    assert_true(c->hostname[0] != '\0');
    assert_string_equal(c->state_directory, "/var/lib/causeway");
    assert_int_equal(c->workers, 0);
    assert_int_equal(c->log_level, LOG_INFO_);
    assert_int_equal(c->log_target, LOG_TO_STDERR);
    assert_int_equal(c->n_listener, 1);
    assert_string_equal(c->listener[0].address[0], "*:25");
    assert_int_equal(c->listener[0].kind, CONF_LISTEN_INTERNET);
    assert_int_equal(c->n_forest, 1);
    assert_string_equal(c->forest[0].host[0].name, "mx.old");
    assert_int_equal(c->forest[0].host[0].port, 25);
    assert_int_equal(c->forest[0].host[0].cost, 10);
    assert_int_equal(c->forest[0].connections_max, 20);
    assert_string_equal(c->domain[0].name, "contoso.com");
    assert_int_equal(c->domain[0].forest_index, CONF_NONE);
    assert_string_equal(c->spool.directory, "/var/spool/causeway");
    assert_int_equal(c->spool.segment_bytes, 64 << 20);
    assert_int_equal(c->spool.large_bytes, 1 << 20);
    assert_int_equal(c->spool.reserve_bytes, 256 << 20);
    assert_int_equal(c->spool.reserve_resume_bytes, 320 << 20);
    assert_true(c->spool.compact_below == 0.25);
    assert_int_equal(c->smtpd.connections_max, 10000);
    assert_int_equal(c->smtpd.connections_per_client, 50);
    assert_int_equal(c->smtpd.connections_per_client_trusted, 0);
    assert_int_equal(c->smtpd.recipients_max, 1000);
    assert_int_equal(c->smtpd.message_bytes_max, 100 << 20);
    assert_int_equal(c->smtpd.command_timeout_ms, 300000);
    assert_int_equal(c->smtpd.data_rate_min, 100);
    assert_false(c->smtpd.bare_newline_normalise);
    assert_int_equal(c->queue.retry_min_ms, 60000);
    assert_int_equal(c->queue.expire_ms, 5 * 86400000LL);
    assert_int_equal(c->queue.window_max, 64);
    assert_int_equal(c->smtp_client.dot_timeout_ms, 600000);
    assert_int_equal(c->smtp_client.messages_per_connection, 1000);
    assert_int_equal(c->dns.ttl_max_s, 86400);
    assert_int_equal(c->dns.ttl_negative_s, 300);
    assert_string_equal(c->control.socket, "/run/causeway/control.sock");
    conf_unref(&c);
    assert_null(c);
}

static const char full[] =
    "\xef\xbb\xbf# a comment\n"
    "hostname = relay.example.org  // another\n"
    "application_hosts = { 10.1.0.0/16, # one\n \"192.0.2.7\", 2001:db8::/32 }\n"
    "application_hosts += { 10.2.0.0/16 }\n"
    "workers = 4\r\n"
    "log { level = debug format = json }\n"
    "listener \"internet\" { address = { \"0.0.0.0:25\", \"[::]:25\" } }\n"
    "listener \"inside\" { kind = Internal address = \"10.0.0.1:2525\" }\n"
    "forest \"target\" {\n"
    "  host \"127.0.0.1:2501\" {} host \"127.0.0.1:2502\" { cost = 20 }\n"
    "  host \"[2001:db8::5]:26\" {} host \"2001:db8::6\" { port = 27 }\n"
    "  peers = { 10.0.0.0/8 } routing_domain = Target.local\n"
    "  routing_template = '%m@target.local'\n"
    "}\n"
    "forest \"source\" { host \"mx.source\" {} peers = { 10.9.0.0/16, 0.0.0.0/0 } }\n"
    "domain \"contoso.com\" { unknown = forward forest = SOURCE }\n"
    "domain \"a.example\" { type = routing forest = target }\n"
    "route \"all\" { domains = \"*\" mx = yes }\n"
    "route \"part\" { domains = { \"*.Example.org\", \"x.y.example.org\" } host \"smart\" {} }\n"
    "route \"deep\" { domains = \"*.y.example.org\" host \"smart2\" {} }\n"
    "source \"ldap\" { type = openldap uri = { 'ldap://a', 'ldap://b:3389/' } base = 'dc=a,dc=b'\n"
    "  forest = source flag_attribute = extensionAttribute1\n"
    "  flag_values = { \"Moved = TARGET\", \"stay=source\" } stale_after = 12h domains = "
    "CONTOSO.com\n"
    "  bind_dn = 'cn=x' password_file = /etc/p filter = '(&(mail=*)(!(x=y)))' }\n"
    "source \"file\" { type = ldif path = /tmp/x.ldif forest = target priority = 5\n"
    "  join_attribute = employeeID attributes = { 'mail=rfc822Mailbox', 'SN = surname' } }\n"
    "/* spool {\n*/ spool { segment_size = 128M compact_below = 0.5 }\n"
    "smtpd { banner_delay = 250ms bare_newline_normalise = on }\n"
    "dns { servers = \"127.0.0.1:5353,[::1]:53\" ttl_min = 90s }\n";

static void test_full(void **state)
{
    (void)state;
    struct conf *c = good(full);
    assert_string_equal(c->hostname, "relay.example.org");
    assert_int_equal(c->application_hosts.n, 4);
    assert_int_equal(c->application_hosts.v[2].family, AF_INET6);
    assert_int_equal(c->application_hosts.v[2].prefix, 32);
    assert_int_equal(c->workers, 4);
    assert_int_equal(c->log_level, LOG_DEBUG_);
    assert_int_equal(c->log_format, LOG_JSON);
    assert_int_equal(c->n_listener, 2);
    assert_int_equal(c->listener[0].n_address, 2);
    assert_int_equal(c->listener[1].kind, CONF_LISTEN_INTERNAL);

    const struct conf_forest *t = &c->forest[0];
    assert_int_equal(t->n_host, 4);
    assert_string_equal(t->host[0].name, "127.0.0.1");
    assert_int_equal(t->host[0].port, 2501);
    assert_int_equal(t->host[1].port, 2502);
    assert_int_equal(t->host[1].cost, 20);
    assert_string_equal(t->host[2].name, "[2001:db8::5]");
    assert_int_equal(t->host[2].port, 26);
    assert_string_equal(t->host[3].name, "2001:db8::6");
    assert_int_equal(t->host[3].port, 27);
    assert_string_equal(t->routing_domain, "target.local");
    assert_string_equal(t->routing_template, "%m@target.local");

    /* Sorted; the routing domain of the forest is a domain of its own. */
    assert_int_equal(c->n_domain, 3);
    assert_string_equal(c->domain[0].name, "a.example");
    assert_string_equal(c->domain[1].name, "contoso.com");
    assert_string_equal(c->domain[1].forest, "source");
    assert_int_equal(c->domain[1].forest_index, 1);
    assert_int_equal(c->domain[1].unknown, CONF_UNKNOWN_FORWARD);
    assert_string_equal(c->domain[2].name, "target.local");
    assert_int_equal(c->domain[2].type, CONF_DOMAIN_ROUTING);
    assert_int_equal(c->domain[2].forest_index, 0);

    const struct conf_source *s = &c->source[0];
    assert_int_equal(s->type, CONF_SOURCE_OPENLDAP);
    assert_int_equal(s->n_uri, 2);
    assert_int_equal(s->n_flag, 2);
    assert_string_equal(s->flag[0].left, "Moved");
    assert_string_equal(s->flag[0].right, "target");
    assert_int_equal(s->stale_after_ms, 12 * 3600000);
    assert_int_equal(s->domains_n, 1);
    assert_string_equal(s->domains[0], "contoso.com");
    assert_string_equal(s->filter, "(&(mail=*)(!(x=y)))");
    assert_int_equal(c->source[1].priority, 5);
    assert_string_equal(c->source[1].join_attribute, "employeeID");
    assert_int_equal(c->source[1].n_attribute, 2);
    assert_string_equal(c->source[1].attribute[0].left, "mail");
    assert_string_equal(c->source[1].attribute[0].right, "rfc822Mailbox");
    assert_string_equal(c->source[1].attribute[1].right, "surname");
    assert_string_equal(c->source[1].names, ""); /* the template asks for the alias only */

    assert_int_equal(c->spool.segment_bytes, 128 << 20);
    assert_true(c->spool.compact_below == 0.5);
    assert_int_equal(c->smtpd.banner_delay_ms, 250);
    assert_true(c->smtpd.bare_newline_normalise);
    assert_int_equal(c->dns.ttl_min_s, 90);
    conf_unref(&c);
}

static void test_find(void **state)
{
    (void)state;
    static const struct {
        const char *domain, *route;
    } row[] = {
        {"foo.net", "all"},          {"example.org", "all"},      {"b.example.org", "part"},
        {"x.y.example.org", "part"}, {"z.y.example.org", "deep"}, {"a.z.y.example.org", "deep"},
        {"y.example.org", "part"},   {"notexample.org", "all"},
    };
    struct conf *c = good(full);
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        int r = conf_find_route(c, str_c(row[i].domain));
        assert_true(r != CONF_NONE);
        assert_string_equal(c->route[r].name, row[i].route);
    }
    assert_int_equal(conf_find_forest(c, STR("SOURCE")), 1);
    assert_int_equal(conf_find_forest(c, STR("nowhere")), CONF_NONE);
    assert_int_equal(conf_find_domain(c, STR("contoso.com")), 1);
    assert_int_equal(conf_find_domain(c, STR("contoso.co")), CONF_NONE);
    assert_int_equal(conf_find_domain(c, STR("")), CONF_NONE);
    conf_unref(&c);
    c = good(LFD);
    assert_int_equal(conf_find_route(c, STR("foo.net")), CONF_NONE);
    conf_unref(&c);
}

static struct sockaddr *address(const char *text, struct sockaddr_storage *ss)
{
    struct sockaddr_in *in = (void *)ss;
    struct sockaddr_in6 *in6 = (void *)ss;
    memset(ss, 0, sizeof(*ss));
    if (inet_pton(AF_INET, text, &in->sin_addr) == 1)
        ss->ss_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1)
        ss->ss_family = AF_INET6;
    else
        ss->ss_family = AF_UNIX;
    return (struct sockaddr *)ss;
}

static void test_networks(void **state)
{
    (void)state;
    static const struct {
        const char *address;
        bool application;
        int forest;
    } row[] = {
        {"10.1.2.3", true, 0},
        {"10.2.255.255", true, 0},
        {"10.3.0.0", false, 0},
        {"192.0.2.7", true, 1},
        {"192.0.2.8", false, 1},
        {"10.9.0.1", false, 1}, /* the longer prefix wins */
        {"2001:db8:ffff::1", true, CONF_NONE},
        {"2001:db9::1", false, CONF_NONE},
        {"::ffff:10.1.2.3", true, 0},
        {"unix", false, CONF_NONE},
    };
    struct sockaddr_storage ss;
    struct conf *c = good(full);
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        struct sockaddr *a = address(row[i].address, &ss);
        assert_int_equal(conf_nets_contain(&c->application_hosts, a), row[i].application);
        assert_int_equal(conf_forest_of_peer(c, a), row[i].forest);
    }
    conf_unref(&c);
}

static void test_environment(void **state)
{
    (void)state;
    setenv("CAUSEWAY_TEST_NAME", "relay.env.example", 1);
    struct conf *c = good(LFD "hostname = \"${CAUSEWAY_TEST_NAME}\"\n"
                              "user = \"${CAUSEWAY_NO_SUCH:-nobody}\" group = '' ");
    assert_string_equal(c->hostname, "relay.env.example");
    assert_string_equal(c->user, "nobody");
    conf_unref(&c);
}

static void test_file(void **state)
{
    (void)state;
    struct err e = {0};
    char path[] = "/tmp/conf_test.XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, LFD, strlen(LFD)), strlen(LFD));
    struct conf *c = conf_load(path, &e);
    assert_non_null(c);
    assert_string_equal(c->path, path);
    conf_unref(&c);
    assert_int_equal(write(fd, "a\0b", 3), 3);
    assert_null(conf_load(path, &e));
    assert_non_null(strstr(e.text, ":4: syntax: there is a control character (code 0)"));
    close(fd);
    unlink(path);
    assert_null(conf_load(path, &e));
    assert_true(strncmp(e.text, path, strlen(path)) == 0);
    assert_non_null(strstr(e.text, "No such file"));
    assert_non_null(strstr(e.text, "; name a readable file"));
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[200];
    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* What is given in the file is looked at, and nothing else; a watched file may be missing. */
static void test_files(void **state)
{
    (void)state;
    char folder[] = "/tmp/conf_test.XXXXXX", text[2000], expected[300];
    struct err e = {0};
    struct buf notes = BUF_INIT(10000);
    assert_non_null(mkdtemp(folder));
    (void)snprintf(text, sizeof(text),
                   LFD
                   "source \"a\" { type = openldap uri = 'ldap://a' base = 'dc=a' forest = old\n"
                   " bind_dn = 'cn=x' password_file = '%s/p'\n ca_file = '%s/ca' }\n"
                   "source \"b\" { type = ldif forest = old\n path = '%s/b' }\n"
                   "spool { directory = '%s/made/spool' }\n"
                   "control { socket = '%s/made/socket' }\n",
                   folder, folder, folder, folder, folder);
    struct conf *c = good(text);
    write_file(folder, "ca", "x");
    assert_false(conf_files_look(c, true, &notes, &e));
    (void)snprintf(expected, sizeof(expected),
                   "t.conf:5: source \"a\".password_file: %s/p cannot be read (No such file or "
                   "directory); make the file, or correct the path",
                   folder);
    assert_string_equal(e.text, expected);
    assert_int_equal(notes.n, 0);
    write_file(folder, "p", "secret");
    assert_true(conf_files_look(c, true, NULL, &e));
    assert_true(conf_files_look(c, true, &notes, &e));
    (void)snprintf(expected, sizeof(expected),
                   "t.conf:8: source \"b\".path: %s/b cannot be read (No such file or directory); "
                   "until it can, the source knows nobody\n",
                   folder);
    assert_string_equal(buf_cstr(&notes), expected);
    write_file(folder, "p", "");
    assert_false(conf_files_look(c, true, &notes, &e));
    assert_non_null(strstr(e.text, "/p is empty; fill it"));
    write_file(folder, "p", "secret");
    write_file(folder, "made", "");
    assert_false(conf_files_look(c, true, &notes, &e));
    (void)snprintf(expected, sizeof(expected),
                   "t.conf:9: spool.directory: %s/made is not a folder; correct the path", folder);
    assert_string_equal(e.text, expected);
    conf_unref(&c);
    static const char *const name[] = {"p", "ca", "made"};
    for (size_t i = 0; i < ARRAY_LEN(name); i++) {
        (void)snprintf(text, sizeof(text), "%s/%s", folder, name[i]);
        assert_int_equal(unlink(text), 0);
    }
    assert_int_equal(rmdir(folder), 0);
    buf_free(&notes);
}

static void test_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool ok;
        int64_t ms;
    } dur[] = {
        {"250ms", true, 250},
        {"30s", true, 30000},
        {"5m", true, 300000},
        {"2H", true, 7200000},
        {"5d", true, 432000000},
        {"0", true, 0},
        {"0s", true, 0},
        {"", false, 0},
        {"s", false, 0},
        {"5", false, 0},
        {"5x", false, 0},
        {"-5s", false, 0},
        {"5 s", false, 0},
        {"9223372036854775807ms", true, INT64_MAX},
        {"9223372036854775808ms", false, 0},
        {"106751991167301d", false, 0},
        {"1.5h", false, 0},
    };
    static const struct {
        const char *text;
        bool ok;
        uint64_t bytes;
    } size[] = {
        {"0", true, 0},
        {"512", true, 512},
        {"64K", true, 65536},
        {"64k", true, 65536},
        {"10M", true, 10485760},
        {"1G", true, 1073741824},
        {"2T", true, 2199023255552},
        {"", false, 0},
        {"K", false, 0},
        {"1KB", false, 0},
        {"-1", false, 0},
        {"9999999999999999G", false, 0},
        {"1 M", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(dur); i++) {
        int64_t ms = -1;
        assert_int_equal(conf_parse_duration(str_c(dur[i].text), &ms), dur[i].ok);
        if (dur[i].ok)
            assert_int_equal(ms, dur[i].ms);
    }
    for (size_t i = 0; i < ARRAY_LEN(size); i++) {
        uint64_t bytes = 1;
        assert_int_equal(conf_parse_size(str_c(size[i].text), &bytes), size[i].ok);
        if (size[i].ok)
            assert_int_equal(bytes, size[i].bytes);
    }
}

static void test_restart(void **state)
{
    (void)state;
    static const struct {
        const char *more, *names;
    } row[] = {
        {"", ""},
        {"hostname = new.example.org", ""},
        {"smtpd { recipients_max = 200 }", ""},
        {"workers = 2", "workers"},
        {"workers = 2 spool { directory = /x } dns { tries = 1 }",
         "workers, spool.directory, dns.tries"},
        {"listener j { address = '*:26' }", "listener.address"},
        {"forest new { host x {} }", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(row); i++) {
        char *text = mem_printf("%s%s", LFD, row[i].more);
        struct conf *a = good(LFD), *b = good(text);
        struct buf out = BUF_INIT(4096);
        conf_needs_restart(a, b, &out);
        assert_string_equal(buf_cstr(&out), row[i].names);
        buf_free(&out);
        conf_unref(&a);
        conf_unref(&b);
        mem_free(text);
    }
    struct buf out = BUF_INIT(4096);
    struct conf *a = good(LFD), *b = good("listener \"j\" { address = \"*:25\" }\n" F D);
    conf_needs_restart(a, b, &out);
    assert_string_equal(buf_cstr(&out), "listener");
    conf_unref(&b);
    b = good("listener \"i\" { address = \"*:25\" kind = internal }\n" F D);
    buf_clear(&out);
    conf_needs_restart(a, b, &out);
    assert_string_equal(buf_cstr(&out), "listener.kind");
    conf_unref(&a);
    conf_unref(&b);
    buf_free(&out);
}

static void test_references(void **state)
{
    (void)state;
    struct conf *a = good(LFD), *b = conf_ref(a);
    assert_ptr_equal(a, b);
    conf_unref(&a);
    assert_null(a);
    assert_int_equal(b->n_forest, 1);
    conf_unref(&b);
    conf_unref(&b);
}

/* Each row of the table says all that an admin needs. */
static void test_table(void **state)
{
    (void)state;
    for (unsigned i = 0; i < conf_option_count; i++) {
        const struct conf_option *o = &conf_option[i];
        char why[300];
        size_t n = strlen(o->text);
        bool good_text = n > 20 && o->text[n - 1] == '.' && o->text[0] >= 'A';
        for (const char *p = o->text; *p != '\0'; p++)
            good_text = good_text && *p >= ' ' && *p <= '~' && !(p[0] == ' ' && p[1] == ' ');
        if (!good_text)
            fail_msg("%s: bad description: %s", o->name, o->text);
        if (o->types != 0 && (o->section != CONF_S_source || o->text[0] < 'a'))
            fail_msg("%s: goes on after \"With type = ...:\"", o->name);
        if (o->unit[0] == '\0' && o->type != CONF_T_BOOL && strcmp(o->name, "port") != 0)
            fail_msg("%s: no unit", o->name);
        if (o->max <= o->min)
            fail_msg("%s: no bounds", o->name);
        for (const char *p = o->name; *p != '\0'; p++)
            assert_true((*p >= 'a' && *p <= 'z') || *p == '_');
        assert_ptr_equal(conf_option_find(o->section, o->name), o);
        if (o->def == NULL)
            assert_non_null(o->example);
        else if (!conf_type_is_list(o->type) && !conf_value_read(o, o->def, NULL, why, sizeof(why)))
            fail_msg("%s: bad default: %s", o->name, why);
        if (o->type == CONF_T_ENUM) {
            unsigned choices = 0;
            while (conf_choice(o->unit, choices).n != 0)
                choices++;
            assert_int_equal(choices, (unsigned)o->max + 1);
        }
    }
    for (unsigned s = 0; s < CONF_S_COUNT; s++) {
        assert_true(strlen(conf_section[s].text) > 20);
        assert_int_equal(conf_section[s].titled, conf_section[s].check != NULL);
        if (conf_section[s].titled)
            assert_null(conf_section[s].check(conf_section[s].example));
    }
}

static void assert_same_values(const struct conf *a, const struct conf *b)
{
    for (unsigned i = 0; i < conf_option_count; i++) {
        const struct conf_option *o = &conf_option[i];
        if (!conf_section[o->section].titled && !conf_value_eq(o, a, b))
            fail_msg("%s differs", o->name);
    }
}

/* The sample is a valid file; so is the sample with every option in use; both say the defaults. */
static void test_sample(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(1 << 20);
    assert_true(conf_write_sample(&out));
    const char *sample = buf_cstr(&out);
    struct conf *plain = good(LFD), *c = good(sample);
    assert_same_values(plain, c);
    assert_int_equal(c->n_forest, 1);
    assert_int_equal(c->n_route, 0);
    conf_unref(&c);

    for (unsigned i = 0; i < conf_option_count; i++) {
        char *line = mem_printf("%s = ", conf_option[i].name);
        if (strstr(sample, line) == NULL)
            fail_msg("not in the sample: %s", line);
        mem_free(line);
    }
    assert_non_null(strstr(sample, "# With type = openldap or active-directory: which entries"));
    assert_non_null(strstr(sample, "# With type = ldif, csv or manual: the longest value"));

    char *text = str_dup(buf_str(&out));
    bool indent = true;
    for (char *p = text; *p != '\0'; p++) {
        if (indent && p[0] == '#' && p[1] != ' ')
            *p = ' ';
        indent = *p == '\n' || (indent && *p == ' ');
    }
    c = good(text);
    assert_same_values(plain, c);
    assert_int_equal(c->n_route, 1);
    assert_int_equal(c->n_source, 1);
    mem_free(text);
    conf_unref(&c);
    conf_unref(&plain);
    buf_free(&out);

    struct buf small = BUF_INIT(1000);
    assert_false(conf_write_sample(&small));
    buf_free(&small);
}

static void test_man(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(1 << 20);
    assert_true(conf_write_man(&out));
    const char *man = buf_cstr(&out);
    for (unsigned i = 0; i < conf_option_count; i++) {
        char *line = mem_printf("\n.It Ic %s No = Ar ", conf_option[i].name);
        if (strstr(man, line) == NULL)
            fail_msg("not in the man page: %s", line);
        mem_free(line);
    }
    /* A line that begins with a dot is a macro that we meant. */
    static const char macros[] =
        ".Dd .Dt .Os .Sh .Ss .Nm .Nd .Xr .Ql .Pp .Bl .El .It .Ic .Bd .Ed .\\\"";
    for (const char *p = man; p != NULL && *p != '\0'; p = strchr(p, '\n'), p = p ? p + 1 : p)
        if (*p == '.') {
            char macro[4] = {p[0], p[1], p[2], '\0'};
            assert_non_null(strstr(macros, macro));
        }
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),    cmocka_unit_test(test_full),
        cmocka_unit_test(test_find),        cmocka_unit_test(test_networks),
        cmocka_unit_test(test_environment), cmocka_unit_test(test_file),
        cmocka_unit_test(test_units),       cmocka_unit_test(test_restart),
        cmocka_unit_test(test_references),  cmocka_unit_test(test_table),
        cmocka_unit_test(test_sample),      cmocka_unit_test(test_man),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
