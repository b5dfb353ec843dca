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
    "source \"file\" { type = ldif path = /tmp/x.ldif forest = target priority = 5 }\n"
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
    assert_string_equal(s->flag[0].value, "Moved");
    assert_string_equal(s->flag[0].forest, "target");
    assert_int_equal(s->stale_after_ms, 12 * 3600000);
    assert_int_equal(s->domains_n, 1);
    assert_string_equal(s->domains[0], "contoso.com");
    assert_string_equal(s->filter, "(&(mail=*)(!(x=y)))");
    assert_int_equal(c->source[1].priority, 5);

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

/* Every refusal: the text, and the error without "t.conf:". */
static const struct {
    const char *text, *error;
} refused[] = {
    /* what is missing */
    {"",
     "1: listener: there is none in the file; write at least one listener \"internet\" { ... }"},
    {L D, "3: forest: there is none in the file; write at least one forest \"exchange\" { ... }"},
    {L F,
     "3: domain: there is none in the file; write at least one domain \"example.com\" { ... }"},
    {"forest \"x\" {\n\n}\n" L D, "1: forest \"x\": has no host section; write at least one host "
                                  "\"mail.exchange.example\" { ... "
                                  "}"},
    {"listener \"x\" {\n kind = internal\n}",
     "1: listener \"x\".address: is missing; write address = { \"*:25\" }"},
    {"listener \"x\" {\n\n address = {} }",
     "1: listener \"x\".address: is missing; write address = { \"*:25\" }"},
    {LFD "source \"s\" { forest = old }", "4: source \"s\".type: is missing; write type = ldif"},
    /* unknown words */
    {"hostnmae = x", "1: hostnmae: there is no such option at the top level; did you mean "
                     "\"hostname\"?"},
    {"smtpd {\n recipient_max = 3\n}",
     "2: smtpd.recipient_max: there is no such option in section smtpd; did you mean "
     "\"recipients_max\"?"},
    {"smtp-client { }",
     "1: smtp-client: there is no such option at the top level; did you mean \"smtp_client\"?"},
    {"forest \"f\" {\n hots \"x\" {} }",
     "2: forest \"f\".hots: there is no such option in section forest; did you mean \"host\"?"},
    {"segment_size = 64M",
     "1: segment_size: there is no such option at the top level; \"segment_size\" belongs in a "
     "spool section"},
    {"smtpd { hostname = x.y }",
     "1: smtpd.hostname: there is no such option in section smtpd; \"hostname\" belongs at the top "
     "level, outside all sections"},
    {"gobbledygook = 1", "1: gobbledygook: there is no such option at the top level; "
                         "causeway.conf(5) lists all options"},
    /* numbers */
    {"workers = many", "1: workers: \"many\" is not a whole number; write one from 0 to 256"},
    {"\n\nworkers = 257", "3: workers: 257 is too much; write at most 256 threads"},
    {"workers = -1", "1: workers: \"-1\" is not a whole number; write one from 0 to 256"},
    {"workers = 99999999999999999999",
     "1: workers: \"99999999999999999999\" is not a whole number; write one from 0 to 256"},
    {"smtpd { recipients_max = 10 }",
     "1: smtpd.recipients_max: 10 is too little; write at least 100 recipients"},
    {"spool { segment_size = 64MB }",
     "1: spool.segment_size: \"64MB\" is not a size; write bytes, or a number with K, M or G, such "
     "as 64M"},
    {"spool { segment_size = 2G }", "1: spool.segment_size: 2G is too much; write at most 1G"},
    {"queue { expire = 5 }",
     "1: queue.expire: \"5\" is not a duration; write a number with ms, s, m, h or d, such as 30s, "
     "5m or 2h"},
    {"queue { expire = 500d }", "1: queue.expire: 500d is too much; write at most 365d"},
    {"dns { ttl_max = 100ms }", "1: dns.ttl_max: 100ms is too little; write at least 1s"},
    {"spool { compact_below = half }",
     "1: spool.compact_below: \"half\" is not a number; write a fraction such as 0.25"},
    {"spool { compact_below = nan }",
     "1: spool.compact_below: \"nan\" is not a number; write a fraction such as 0.25"},
    {"spool { compact_below = 1.5 }", "1: spool.compact_below: 1.5 is too much; write at most 0.9"},
    {"smtpd { bare_newline_normalise = maybe }",
     "1: smtpd.bare_newline_normalise: \"maybe\" is not yes or no; write yes or no"},
    {"log { level = loud }",
     "1: log.level: \"loud\" is not one of the choices; write debug, info, warn or error"},
    {"log { format = '' }", "1: log.format: \"\" is not one of the choices; write text or json"},
    /* strings */
    {"hostname = -x.example",
     "1: hostname: \"-x.example\" is not a fully qualified host name; write one like "
     "\"relay.example.org\""},
    {"hostname = relay",
     "1: hostname: \"relay\" is not a fully qualified host name; write one like "
     "\"relay.example.org\""},
    {"state_directory = var/lib",
     "1: state_directory: \"var/lib\" is not an absolute path; write one that begins with \"/\""},
    {"state_directory = ''", "1: state_directory: is empty; write a path"},
    {"state_directory = \"/a\\nb\"",
     "1: state_directory: \"/a\\x0Ab\" has control characters in it; leave them out"},
    {"user = a.very.long.name.of.a.user.indeed.it.is",
     "1: user: \"a.very.long.name.of.a.user.indeed.it.is\" is too long; write from 0 to 32 "
     "characters"},
    {"user = 'a b'",
     "1: user: \"a b\" is not a good name; use letters, digits, \"_\", \"-\" and \".\", and begin "
     "with a letter or digit"},
    {"application_hosts = { 10.0.0.0/8,\n 10.0.0.300 }",
     "2: application_hosts: \"10.0.0.300\" is not a network; write an address or its network, such "
     "as 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32 (no bits set behind the prefix)"},
    {"application_hosts = 10.0.0.1/8",
     "1: application_hosts: \"10.0.0.1/8\" is not a network; write an address or its network, such "
     "as 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32 (no bits set behind the prefix)"},
    {"application_hosts = 10.0.0.0/33",
     "1: application_hosts: \"10.0.0.0/33\" is not a network; write an address or its network, "
     "such "
     "as 192.0.2.1, 10.0.0.0/8 or 2001:db8::/32 (no bits set behind the prefix)"},
    {"listener \"x\" { address = 0.0.0.0 }",
     "1: listener \"x\".address: \"0.0.0.0\" is not an address to listen on; write "
     "\"192.0.2.1:25\", \"[2001:db8::1]:25\" or \"*:25\""},
    {"listener \"x\" { address = localhost:25 }",
     "1: listener \"x\".address: \"localhost:25\" is not an address to listen on; write "
     "\"192.0.2.1:25\", \"[2001:db8::1]:25\" or \"*:25\""},
    {"listener \"x\" { address = 1.2.3.4:65536 }",
     "1: listener \"x\".address: \"1.2.3.4:65536\" is not an address to listen on; write "
     "\"192.0.2.1:25\", \"[2001:db8::1]:25\" or \"*:25\""},
    {"forest \"f\" { routing_template = '%x@a.b' }",
     "1: forest \"f\".routing_template: \"%x@a.b\" has a placeholder that is not known; use %m, "
     "%g, "
     "%s, %i or %d, with a digit from 1 to 9 after the percent sign for the first letters only"},
    {"forest \"f\" { routing_template = '%m' }",
     "1: forest \"f\".routing_template: \"%m\" is not an address template; write one like "
     "\"%m@source.local\""},
    {"dsn { postmaster = me }",
     "1: dsn.postmaster: \"me\" is not a mail address; write one like \"postmaster@example.org\""},
    {"dns { servers = localhost }",
     "1: dns.servers: \"localhost\" is not a list of DNS servers; write addresses separated by "
     "commas, like \"192.0.2.53,[2001:db8::53]:53\""},
    {"source \"s\" { filter = '(a=b' }",
     "1: source \"s\".filter: \"(a=b\" is not an LDAP filter; write one in parentheses, like "
     "\"(objectClass=person)\""},
    {"source \"s\" { uri = { 'http://x' } }",
     "1: source \"s\".uri: \"http://x\" is not the URI of an LDAP server; write one like "
     "\"ldap://dc1.example.org\" or \"ldaps://dc1.example.org:636\""},
    {"source \"s\" { flag_values = { 'a b' } }",
     "1: source \"s\".flag_values: \"a b\" is not a flag value; write \"value = forest\""},
    {"source \"s\" { flag_attribute = 'a b' }",
     "1: source \"s\".flag_attribute: \"a b\" is not an attribute name; write one like "
     "\"extensionAttribute1\" (letters, digits and hyphens)"},
    {"smtp_client { bind_address = eth0 }",
     "1: smtp_client.bind_address: \"eth0\" is not an IP address; write one like \"192.0.2.1\" or "
     "\"2001:db8::1\""},
    {L "route \"r\" { domains = { a.b, '' } }",
     "2: route \"r\".domains: has an empty element; write domain patterns, or leave it out"},
    {"route \"r\" { domains = 'a.*' }",
     "1: route \"r\".domains: \"a.*\" is not a domain pattern; write \"example.org\", "
     "\"*.example.org\" or \"*\""},
    /* names of sections */
    {"forest \"a b\" { host x {} }\n" L D, "1: forest \"a b\": is not a good name; use letters, "
                                           "digits, \"_\", \"-\" and \".\", and begin "
                                           "with a letter or digit"},
    {"forest \"\" { host x {} }\n" L D, "1: forest \"\": needs a name of 1 to 63 characters"},
    {L "forest a { host 'x y' {} }\n" D,
     "2: host \"x y\": is not a host; write a host name, an IPv4 address, or an IPv6 address in "
     "brackets (the port has an option of its own)"},
    {L "forest a { host 'x:99999' {} }\n" D,
     "2: host \"x:99999\": has a bad port; write a number from 1 to 65535"},
    {L "forest a { host 'x:25' { port = 26 } }\n" D,
     "2: host \"x:25\".port: the name of the host says another port; remove one of the two"},
    {L F "domain \"con toso\" {}",
     "3: domain \"con toso\": is not a domain; write one like \"example.org\" (international names "
     "in their xn-- form)"},
    {LFD "forest old { host y {} }",
     "4: the name \"old\" is used twice; give each section a name of its own"},
    {LFD "forest OLD {\n host y {} }", "4: forest \"OLD\": the name is used twice; give each "
                                       "section a name of its own (case does not "
                                       "count)"},
    {"forest { }", "1: forest: a name is missing; write forest \"name\" { ... }"},
    /* options that do not fit together */
    {LFD "domain a.b {\n unknown = forward\n forest = nwe }",
     "6: domain \"a.b\".forest: there is no forest \"nwe\"; write one of \"old\""},
    {LFD "domain a.b {\n\n type = routing }",
     "4: domain \"a.b\".forest: is missing; name the forest that owns the routing domain"},
    {LFD "domain a.b { unknown = forward }",
     "4: domain \"a.b\".forest: is missing; name the forest that is given unknown recipients"},
    {LFD "domain a.b { forest = old }",
     "4: domain \"a.b\".forest: has no meaning here; remove it, or write type = routing or unknown "
     "= forward"},
    {LFD "domain a.b { type = routing forest = old unknown = forward }",
     "4: domain \"a.b\".unknown: a routing domain has no unknown recipients; remove the option"},
    {LFD
     "forest a { host x {} routing_domain = a.b }\nforest b { host y {}\n routing_domain = A.b }",
     "6: forest \"b\".routing_domain: a.b is also the routing domain of forest \"a\"; a routing "
     "domain belongs to one forest alone"},
    {LFD "forest a { host x {} routing_domain = a.b }\ndomain a.b { type = routing forest = old }",
     "5: domain \"a.b\".forest: it is the routing domain of forest \"a\" already; a routing domain "
     "belongs to one forest alone"},
    {LFD "forest a { host x {} routing_domain = contoso.com }",
     "3: domain \"contoso.com\".type: it is the routing domain of forest \"a\" and cannot be "
     "shared; "
     "write type = routing"},
    {LFD "forest a { host x {} peers = 10.0.0.1 }\nforest b { host x {} peers = { 10.0.0.1/32 } }",
     "5: forest \"b\".peers: element 1 is also a peer of forest \"a\"; give each network to one "
     "forest"},
    {LFD "listener b { address = { '*:26', '*:25' } }",
     "4: listener \"b\".address: *:25 is listened on twice (also in listener \"i\"); remove one"},
    {LFD "route r { domains = x.y }",
     "4: route \"r\": says neither how nor where; write host \"name\" { } or mx = yes"},
    {LFD "route r { domains = x.y mx = yes host h {} }",
     "4: route \"r\".mx: a route goes by MX or to hosts, not both; remove the hosts or write mx = "
     "no"},
    {LFD "route r { domains = x.y mx = yes }\nroute q { domains = X.Y mx = yes }",
     "5: route \"q\".domains: x.y is routed twice (also in route \"r\"); remove one"},
    {LFD "route r { domains = contoso.com mx = yes }",
     "4: route \"r\".domains: contoso.com is a domain of ours, and routes are for other domains; "
     "remove it"},
    {LFD "source s { type = ldif forest = old }",
     "4: source \"s\".path: is missing; write path = \"/etc/causeway/recipients.ldif\""},
    {LFD "source s { type = ldif path = /x }",
     "4: source \"s\".forest: is missing; name the forest whose directory this is, or a "
     "flag_attribute"},
    {LFD "source s { type = ldif path = /x forest = nwe }",
     "4: source \"s\".forest: there is no forest \"nwe\"; write one of \"old\""},
    {LFD "source s { type = ldif path = /x forest = old uri = 'ldap://a' }",
     "4: source \"s\".uri: is for type = openldap; remove it"},
    {LFD "source s {\n type = openldap forest = old base = 'dc=a' }",
     "4: source \"s\".uri: is missing; write uri = { \"ldap://server.example.org\" }"},
    {LFD "source s { type = openldap forest = old uri = 'ldap://a' }",
     "4: source \"s\".base: is missing; write the DN below which recipients are, like "
     "\"dc=example,dc=org\""},
    {LFD "source s { type = openldap forest = old uri = 'ldap://a' base = 'dc=a' path = /x }",
     "4: source \"s\".path: is for type = ldif; remove it"},
    {LFD
     "source s { type = openldap forest = old uri = 'ldap://a' base = 'dc=a' bind_dn = 'cn=x' }",
     "4: source \"s\".password_file: is missing; bind_dn and password_file go together"},
    {LFD "source s { type = openldap forest = old uri = 'ldaps://a' base = 'dc=a' }",
     "4: source \"s\".tls: does not fit an ldaps:// URI; write tls = ldaps"},
    {LFD "source s { type = openldap forest = old uri = 'ldap://a' base = 'dc=a' tls = ldaps }",
     "4: source \"s\".tls: does not fit an ldap:// URI; write tls = starttls, or ldaps:// in the "
     "URI"},
    {LFD "source s { type = openldap forest = old uri = 'ldapi://%2Fx' base = 'dc=a' }",
     "4: source \"s\".tls: does not fit an ldapi:// URI; write tls = none"},
    {LFD "source s { type = ldif path = /x flag_values = 'a = old' }",
     "4: source \"s\".flag_attribute: is missing; name the attribute that flag_values is about"},
    {LFD "source s { type = ldif path = /x flag_attribute = f }",
     "4: source \"s\".flag_values: is missing; say which forest each value of flag_attribute "
     "means"},
    {LFD
     "source s { type = ldif path = /x flag_attribute = f flag_values = { 'a = old',\n 'b=nwe' } }",
     "4: source \"s\".flag_values: there is no forest \"nwe\"; write one of \"old\""},
    {LFD
     "source s { type = ldif path = /x flag_attribute = f flag_values = { 'a = old', 'A=old' } }",
     "4: source \"s\".flag_values: \"A\" is there twice; give each value one meaning"},
    {LFD "source s { type = ldif path = /x forest = old domains = x.y }",
     "4: source \"s\".domains: x.y is not a shared domain; write one that has a domain section "
     "with "
     "type = shared"},
    {LFD "source s { type = ldif path = /x forest = old backoff_min = 6m }",
     "4: source \"s\".backoff_min: is more than backoff_max; write a shorter time or raise "
     "backoff_max"},
    {LFD "queue { retry_min = 2h }",
     "4: queue.retry_min: is more than retry_max; write a smaller value or raise retry_max"},
    {LFD "queue { dest_backoff_max = 1s }",
     "4: queue.dest_backoff_min: is more than dest_backoff_max; write a smaller value or raise "
     "dest_backoff_max"},
    {LFD "queue { window_max = 2 }",
     "4: queue.window_initial: is more than window_max; write a smaller value or raise window_max"},
    {LFD "spool { reserve = 1G }", "4: spool.reserve: is more than reserve_resume; write a smaller "
                                   "value or raise reserve_resume"},
    {LFD "dns { ttl_min = 1h ttl_max = 1m }",
     "4: dns.ttl_min: is more than ttl_max; write a smaller value or raise ttl_max"},
    {LFD "spool { large_size = 32M }",
     "4: spool.large_size: is more than a quarter of segment_size; write a smaller size or raise "
     "segment_size"},
    /* syntax */
    {"workers 4", "1: workers: \"=\" is missing; write workers = value"},
    {"workers += 4", "1: workers: \"+=\" is for lists only; write workers = value"},
    {"workers = { 4 }", "1: \"{\" is not expected here; write option = value, or option = { \"a\", "
                        "\"b\" } for a list"},
    {"smtpd = 4", "1: smtpd: \"{\" is missing; write smtpd { ... }"},
    {"workers = 4\nworkers = 5", "2: workers: is given twice; remove one of the two"},
    {"application_hosts = 10.0.0.1\napplication_hosts = 10.0.0.2",
     "2: application_hosts: is given twice; use += to add to the list"},
    {"workers = 4;", "1: workers: \";\" does not end an option here; remove it"},
    {"workers =", "1: the file ends in the middle of an option; write option = value"},
    {"hostname = \"relay.example.org\nworkers = 4",
     "1: hostname: this text has no closing quote; put one at its end, on the same line"},
    {"\nsmtpd {\n\n workers = 4",
     "2: syntax: the { on this line is not closed; put a } at the end of the section"},
    {"application_hosts = { 10.0.0.1",
     "1: syntax: the { on this line is not closed; put a } at the end of the list"},
    {"}", "1: syntax: this } closes nothing; remove it, or look for a missing { above"},
    {"/* \n", "1: syntax: this comment has no end; close it with */"},
    {"route r { domains = *.example.org }",
     "1: domains: the character with code 42 cannot stand without quotes; put the value in quotes"},
    {"source s { uri = ldap://x }",
     "1: uri: \"//\" and \"/*\" begin a comment; put the value in quotes"},
    {"source s { filter = (a=b) }",
     "1: filter: the character with code 40 cannot stand without quotes; put the value in quotes"},
    {"hostname = a|b",
     "1: hostname: \"|\" cannot stand in a value without quotes; put the value in "
     "quotes"},
    {"workers = \x01", "1: workers: there is a control character (code 1) in the file; remove it"},
    {"hostname = \"${CAUSEWAY_NO_SUCH}\"",
     "1: hostname: the environment variable CAUSEWAY_NO_SUCH is not set; set it, write "
     "${NAME:-default}, or use single quotes for a plain dollar sign"},
    {"hostname = \"${X\"", "1: hostname: \"${\" has no closing brace; write ${NAME}, or use single "
                           "quotes for a plain dollar sign"},
    {"'smtpd|errors_max' = 4", "1: errors_max: is not an option here; write it in its section"},
    {"'' = 4", "1: syntax: this cannot be understood; write option = value, or section { ... }"},
    {"{{{{{{{{{", "1: syntax: too many braces inside each other; at most 8"},
};

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct err e = {0};
        struct conf *c = conf_parse(refused[i].text, "t.conf", &e);
        if (c != NULL)
            fail_msg("accepted: %s", refused[i].text);
        assert_int_equal(e.class, ERR_CONFIG);
        if (strncmp(e.text, "t.conf:", 7) != 0 || strcmp(e.text + 7, refused[i].error) != 0)
            fail_msg("row %zu: %s\n got  %s\n want t.conf:%s", i, refused[i].text, e.text,
                     refused[i].error);
        /* Nothing is left of it: the next one is read as if nothing had been. */
        c = good(LFD);
        conf_unref(&c);
    }
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
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_full),
        cmocka_unit_test(test_find),     cmocka_unit_test(test_networks),
        cmocka_unit_test(test_refused),  cmocka_unit_test(test_environment),
        cmocka_unit_test(test_file),     cmocka_unit_test(test_units),
        cmocka_unit_test(test_restart),  cmocka_unit_test(test_references),
        cmocka_unit_test(test_table),    cmocka_unit_test(test_sample),
        cmocka_unit_test(test_man),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
