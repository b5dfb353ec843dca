/*
 * conf_errors_test.c - every configuration that is refused, with its line and its words. An error
 * is read by an admin in a hurry: which line, which option, what is wrong, what would be right.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/assert.h"
#include "conf/conf.h"

#define L "listener \"i\" { address = \"*:25\" }\n"
#define F "forest \"old\" { host \"mx.old\" {} }\n"
#define D "domain \"Contoso.com\" {}\n"
/* Lines 1 to 3 are good; what a test adds begins on line 4. */
#define LFD L F D

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
    {"blackout = { \"Mon-Fri\" }",
     "1: blackout: \"Mon-Fri\" is not a time window; write \"Mon-Fri 08:00-18:00\", \"daily "
     "22:00-06:00\" or \"2026-12-24 00:00 - 2026-12-27 00:00\""},
    /* numbers */
    {"workers = many", "1: workers: \"many\" is not a whole number; write one from 0 to 64"},
    {"\n\nworkers = 65", "3: workers: 65 is too much; write at most 64 threads"},
    {"workers = -1", "1: workers: \"-1\" is not a whole number; write one from 0 to 64"},
    {"workers = 99999999999999999999",
     "1: workers: \"99999999999999999999\" is not a whole number; write one from 0 to 64"},
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
    {"state_directory = \"/a\tb\"",
     "1: state_directory: \"/a\\x09b\" has control characters in it; leave them out"},
    {"\nstate_directory = \"/a\\nb\"",
     "2: state_directory: a backslash between double quotes; write it "
     "twice, or use single quotes"},
    {"state_directory = \"/a\\41b\"",
     "1: state_directory: a backslash between double quotes; write it "
     "twice, or use single quotes"},
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
     "1: source \"s\".flag_values: \"a b\" is not a pair; write \"value = forest\""},
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
    {L F "domain con_toso.com {}",
     "3: domain \"con_toso.com\": is not a domain; write one like \"example.org\" (international "
     "names in their xn-- form)"},
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
    {LFD "domain a.b { type = routing forest = old\n plus_addresses = yes }",
     "5: domain \"a.b\".plus_addresses: has no meaning here: nothing in a routing domain is looked "
     "up; remove it"},
    {LFD "domain a.b { plus_separator = a }",
     "4: domain \"a.b\".plus_separator: \"a\" is not a separator; write punctuation that may stand "
     "in an address, like \"+\" or \"-\""},
    {LFD "domain a.b { plus_separator = '@' }",
     "4: domain \"a.b\".plus_separator: \"@\" is not a separator; write punctuation that may stand "
     "in an address, like \"+\" or \"-\""},
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
    {LFD "listener b { address = { '0.0.0.0:25', '[::0]:25' } }",
     "4: listener \"b\".address: [::0]:25 is listened on twice (also in listener \"i\"); remove "
     "one"},
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
     "4: source \"s\".uri: is for type = openldap or active-directory; remove it"},
    {LFD "source s {\n type = openldap forest = old base = 'dc=a' }",
     "4: source \"s\".uri: is missing; write uri = { \"ldap://server.example.org\" }"},
    {LFD "source s { type = openldap forest = old uri = 'ldap://a' }",
     "4: source \"s\".base: is missing; write the DN below which recipients are, like "
     "\"dc=example,dc=org\""},
    {LFD "source s { type = openldap forest = old uri = 'ldap://a' base = 'dc=a' path = /x }",
     "4: source \"s\".path: is for type = ldif or csv; remove it"},
    {LFD "source s { type = csv forest = old }",
     "4: source \"s\".path: is missing; write path = \"/etc/causeway/recipients.ldif\""},
    {LFD "source s { type = active-directory forest = old }",
     "4: source \"s\".uri: is missing; write uri = { \"ldap://server.example.org\" }"},
    {LFD "source s { type = active-directory forest = old uri = { 'ldap://a:3268', 'ldap://b' } }",
     "4: source \"s\".uri: mixes global catalogs (ports 3268 and 3269) with other servers; write a "
     "source for each"},
    {LFD "source s { type = active-directory forest = old tls = ldaps uri = 'ldaps://a:3269/' "
         "sync = dirsync }",
     "4: source \"s\".sync: cannot be dirsync with a global catalog (ports 3268 and 3269), which "
     "does not offer it; write sync = usn or auto"},
    {LFD "source s { type = active-directory forest = old uri = 'ldap://a' tls_cert_file = /x }",
     "4: source \"s\".tls_key_file: is missing; tls_cert_file and tls_key_file go together"},
    {LFD "source s { type = active-directory forest = old uri = 'ldap://a' bind = external }",
     "4: source \"s\".tls_cert_file: is missing; with bind = external it says who we are"},
    {LFD "source s { type = active-directory forest = old uri = 'ldap://a' bind = gssapi "
         "password_file = /x }",
     "4: source \"s\".password_file: is for bind = simple; remove it"},
    {LFD "source s { type = manual forest = old path = /x }",
     "4: source \"s\".path: is for type = ldif or csv; remove it"},
    {LFD "source s { type = manual forest = old filter = '(a=b)' }",
     "4: source \"s\".filter: is for type = openldap or active-directory; remove it"},
    {LFD "source s { type = ldif path = /x forest = old\n filter = '(mail=*)' }",
     "5: source \"s\".filter: is for type = openldap or active-directory; remove it"},
    {LFD "source s { type = csv path = /x forest = old base = 'dc=a' }",
     "4: source \"s\".base: is for type = openldap or active-directory; remove it"},
    {LFD "source s { type = ldif path = /x forest = old ca_file = /ca }",
     "4: source \"s\".ca_file: is for type = openldap or active-directory; remove it"},
    {LFD "source s { type = ldif path = /x forest = old csv_key = Id }",
     "4: source \"s\".csv_key: is for type = csv; remove it"},
    {LFD "source s { type = ldif path = /x forest = old csv_separator = '|' }",
     "4: source \"s\".csv_separator: is for type = csv or manual; remove it"},
    {LFD "source s { type = openldap forest = old uri = 'ldap://a' base = 'dc=a' sync = usn }",
     "4: source \"s\".sync: is for type = active-directory; remove it"},
    {LFD "source s { type = openldap forest = old uri = 'ldap://a' base = 'dc=a' page_size = 10 }",
     "4: source \"s\".page_size: is for type = active-directory; remove it"},
    {LFD "source s { type = openldap forest = old uri = 'ldap://a' base = 'dc=a' line_max = 1K }",
     "4: source \"s\".line_max: is for type = ldif, csv or manual; remove it"},
    {LFD "source s { type = manual forest = old grace = 1d }",
     "4: source \"s\".grace: is for type = ldif, csv, openldap or active-directory; remove it"},
    {LFD "source s { type = manual forest = old mass_change_percent = 100 }",
     "4: source \"s\".mass_change_percent: is for type = ldif, csv, openldap or "
     "active-directory; remove it"},
    {LFD "source s { type = ldif path = /x forest = old attributes = 'mial = x' }",
     "4: source \"s\".attributes: \"mial = x\" does not begin with an attribute that the relay "
     "uses; write one that causeway.conf(5) lists, such as \"mail = rfc822Mailbox\""},
    {LFD "source s { type = ldif path = /x forest = old attributes = 'mail = a b' }",
     "4: source \"s\".attributes: \"mail = a b\" does not end with an attribute name; write one "
     "like \"mail = rfc822Mailbox\""},
    {LFD "source s { type = ldif path = /x forest = old attributes = mail }",
     "4: source \"s\".attributes: \"mail\" is not a pair; write \"ours = theirs\""},
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
    {LFD "source s { type = csv path = /x forest = old backoff_min = 2s }",
     "4: source \"s\".backoff_min: is for type = openldap or active-directory; remove it"},
    {LFD
     "source s { type = openldap uri = 'ldap://a' base = 'dc=a' forest = old backoff_min = 6m }",
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

/* Status, alarms and moves have room for so many. */
static void test_too_many_sources(void **state)
{
    (void)state;
    struct buf text = BUF_INIT(100000);
    struct err e = {0};
    buf_append_c(&text, LFD);
    for (unsigned i = 0; i < CONF_SOURCES_MAX; i++)
        buf_printf(&text, "source s%u { type = manual forest = old }\n", i);
    struct conf *c = conf_parse(buf_cstr(&text), "t.conf", &e);
    assert_non_null(c);
    conf_unref(&c);
    buf_append_c(&text, "source more { type = manual forest = old }\n");
    assert_null(conf_parse(buf_cstr(&text), "t.conf", &e));
    assert_string_equal(e.text, "t.conf:68: source \"more\": is one too many; write at most 64 "
                                "source sections");
    buf_free(&text);
}

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
        c = conf_parse(LFD, "t.conf", &e);
        assert_non_null(c);
        conf_unref(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused),
                                       cmocka_unit_test(test_too_many_sources)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
