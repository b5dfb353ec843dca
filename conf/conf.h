/*
 * conf.h - the configuration as the program sees it: read-only, reference counted, replaced whole
 * by a reload.
 *
 * Every option is declared once, in conf/options.def, with its type, default, bounds, unit, whether
 * a reload applies it, and its description; parser, checks, the annotated sample and
 * causeway.conf(5) are made from that table. The members here are what the table fills in, plus
 * what conf_check() derives (marked "derived").
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"

#define CONF_NONE        (-1)
#define CONF_WORKERS_MAX 64
#define CONF_SOURCES_MAX 64

/* 10.0.0.0/8, 2001:db8::/32, 192.0.2.1 */
struct conf_net {
    int family;
    unsigned char addr[16];
    unsigned prefix;
};
struct conf_nets {
    unsigned n;
    struct conf_net *v;
};

enum conf_listener_kind {
    CONF_LISTEN_INTERNET, /* only to our domains' existing recipients, whoever connects from no
                             known address */
    CONF_LISTEN_INTERNAL, /* only peers that are a forest or an application host; others get 554 and
                             are closed */
};
struct conf_listener {
    char *name;
    unsigned n_address;
    char **address; /* "0.0.0.0:25" */
    enum conf_listener_kind kind;
};

struct conf_host {
    char *name;    /* host name (resolved by A/AAAA) or address literal */
    unsigned port; /* 25 */
    unsigned cost; /* lower first; equal: round robin */
};
struct conf_forest {
    char *name;
    unsigned n_host;
    struct conf_host *host;
    struct conf_nets peers;   /* connections from here are this forest's */
    char *routing_domain;     /* "" = none */
    char *routing_template;   /* "%m@source.local", or "" */
    unsigned connections_max; /* per worker, to this forest */
};

/* What is believed about where a mailbox of the domain is. */
enum conf_evidence {
    CONF_EVIDENCE_FLAG_EXCHANGE, /* the flag; Exchange's attributes where there is none */
    CONF_EVIDENCE_EXCHANGE_FLAG, /* Exchange's attributes; the flag where they do not say */
    CONF_EVIDENCE_FLAG,
    CONF_EVIDENCE_EXCHANGE
};
enum conf_domain_type {
    CONF_DOMAIN_SHARED,
    CONF_DOMAIN_ROUTING
};
enum conf_unknown {
    CONF_UNKNOWN_REFUSE,
    CONF_UNKNOWN_FORWARD
};
struct conf_domain {
    char *name; /* lower case */
    enum conf_domain_type type;
    char *forest; /* ROUTING: its owner. SHARED + FORWARD: where unknown recipients go */
    enum conf_unknown unknown;   /* SHARED */
    enum conf_evidence evidence; /* SHARED */
    bool plus_addresses; /* SHARED: user+detail is user, where the directory has no such entry */
    char *plus_separator;
    int forest_index; /* derived; CONF_NONE */
};

struct conf_route {
    char *name;
    unsigned n_domain;
    char **domain; /* "example.org", "*.example.org", "*"; longest match wins */
    bool mx;       /* by MX of the recipient's domain; else the hosts */
    unsigned n_host;
    struct conf_host *host;
};

enum conf_source_type {
    CONF_SOURCE_LDIF,
    CONF_SOURCE_CSV,
    CONF_SOURCE_OPENLDAP,
    CONF_SOURCE_ACTIVE_DIRECTORY,
    CONF_SOURCE_MANUAL,
    CONF_SOURCE_TYPES
};
/* The attributes that the relay understands, once (conf/attributes.def). */
enum conf_attribute {
#define ATTRIBUTE(id, name) CONF_A_##id,
#include "conf/attributes.def"
#undef ATTRIBUTE
    CONF_ATTRIBUTES
};
extern const char *const conf_attribute_name[CONF_ATTRIBUTES];
/* Compared without case; CONF_ATTRIBUTES if it is none of them. */
enum conf_attribute conf_attribute_find(struct str name);
enum conf_sync { /* how changes are found in Active Directory */
    CONF_SYNC_AUTO,
    CONF_SYNC_DIRSYNC,
    CONF_SYNC_USN
};
enum conf_bind {
    CONF_BIND_SIMPLE,
    CONF_BIND_GSSAPI,
    CONF_BIND_EXTERNAL
};
enum conf_starttls {
    CONF_TLS_NONE,
    CONF_TLS_STARTTLS,
    CONF_TLS_LDAPS
};
struct conf_pair {
    char *left, *right; /* "left = right" */
};
struct conf_source {
    char *name;
    enum conf_source_type type;
    char *forest; /* the forest whose directory this is: entries without a flag live here. "" = none
                   */
    int priority; /* lower number wins conflicts */
    char *path;   /* LDIF, CSV */
    char *csv_key;       /* column that tells rows apart; "" = by itself */
    char *csv_separator; /* between the values of a cell; "" = any of the usual */
    unsigned n_uri;      /* OPENLDAP: tried in order */
    char **uri;
    enum conf_starttls tls;
    enum conf_bind bind;
    char *tls_cert_file, *tls_key_file; /* ours */
    char *ca_file, *bind_dn, *password_file, *base, *filter;
    enum conf_sync sync;
    int64_t poll_interval_ms;
    unsigned page_size;
    char *flag_attribute;
    unsigned n_flag;
    struct conf_pair *flag;  /* "target = new": flag attribute's value (compared without case) and
                                the forest it means */
    char *routing_attribute; /* its value is the routing address; "" = none */
    char *join_attribute; /* objects of several sources with one value are one person; "" = none */
    unsigned n_attribute;
    struct conf_pair *attribute; /* "mail = rfc822Mailbox": ours, and the server's name for it */
    char names[5]; /* derived: those of "gsid" that some forest's routing_template asks for */
    unsigned entries_max, addresses_max; /* addresses: of one entry */
    uint64_t file_bytes_max, line_bytes_max;
    int64_t stale_after_ms; /* 0 = never */
    int64_t backoff_min_ms, backoff_max_ms;
    unsigned mass_change_percent; /* 100 = off */
    unsigned mass_change_count;   /* 0 = off */
    int64_t grace_ms;             /* 0 = none */
    unsigned
        domains_n; /* domains whose recipients this source could know; 0 = all shared domains */
    char **domains;
};

enum conf_file_kind {
    CONF_FILE_READ,    /* must be there, and the daemon may read it */
    CONF_FILE_WATCHED, /* may come later */
    CONF_FILE_MADE,    /* a folder that the daemon makes */
    CONF_FILE_SOCKET   /* made by the daemon, with its folder */
};
struct conf_file { /* one that the configuration names */
    enum conf_file_kind kind;
    const char *path;
    char *where; /* "causeway.conf:12: source \"ldap\".ca_file" */
    const struct conf_source *source; /* whose option it is; NULL: no source's */
};

struct conf {
    /* top level */
    char *hostname;
    bool hostname_is_short; /* the system knew no full name of itself */
    char *user, *group; /* dropped to after binding; "" = stay */
    char *state_directory;
    unsigned workers; /* 0 = one per processor */
    enum log_target log_target;
    enum log_format log_format;
    enum log_level log_level;
    struct conf_nets application_hosts;
    unsigned n_join;
    char **join; /* of "smtp", "x500", "key": what makes objects one person; none = all */
    unsigned n_blackout;
    char **blackout; /* conf/blackout.h */
    bool retry_other_claimant;

    unsigned n_listener;
    struct conf_listener *listener;
    unsigned n_forest;
    struct conf_forest *forest;
    unsigned n_domain;
    struct conf_domain *domain; /* sorted by name */
    unsigned n_route;
    struct conf_route *route;
    unsigned n_source;
    struct conf_source *source;

    struct {
        char *directory;
        uint64_t segment_bytes, large_bytes, reserve_bytes, reserve_resume_bytes;
        unsigned segments_ready;
        double compact_below;
        int64_t test_sync_delay_us;
    } spool;
    struct {
        unsigned connections_max, connections_per_client, recipients_max, errors_max, received_max;
        uint64_t message_bytes_max, memory_max;
        int64_t command_timeout_ms, data_timeout_ms, message_timeout_ms, banner_delay_ms;
        uint64_t data_rate_min; /* bytes per second, averaged after the first 30 s; 0 = off */
        bool bare_newline_normalise;
        unsigned connections_per_client_trusted; /* forests and application hosts; 0 = no limit */
    } smtpd;
    struct {
        int64_t retry_min_ms, retry_max_ms, expire_ms, expire_dsn_ms, delay_notice_ms;
        int64_t dest_backoff_min_ms, dest_backoff_max_ms;
        unsigned active_max, window_initial, window_max, ready_max, rcpt_per_delivery_max;
    } queue;
    struct {
        unsigned connections_max,
            messages_per_connection; /* per destination and worker; per connection */
        int64_t idle_timeout_ms, connect_timeout_ms, banner_timeout_ms, mail_timeout_ms,
            rcpt_timeout_ms, data_timeout_ms, content_timeout_ms, dot_timeout_ms, quit_timeout_ms,
            total_timeout_ms;
        unsigned mx_port;
        char *bind_address;
        char *helo;           /* "" = hostname */
        int64_t host_rest_ms; /* a host that failed is tried last for so long */
    } smtp_client;
    struct {
        char *servers; /* "" = system */
        int64_t timeout_ms;
        unsigned tries, cache_entries, ttl_min_s, ttl_max_s, ttl_negative_s;
    } dns;
    struct {
        uint64_t return_bytes_max;
        char *postmaster; /* From of notices; "" = MAILER-DAEMON@hostname */
    } dsn;
    struct {
        char *socket;
        char *socket_group;
        unsigned clients_max;
    } control;

    char *path; /* derived: the file it came from */
    unsigned n_file;
    struct conf_file *file; /* derived */
    uint32_t refs;          /* private, atomic */
};

/* Reads, checks, derives. NULL and *e: "file:line: option: what is wrong; what would be right". */
struct conf *conf_load(const char *path, struct err *e);
/* The same from memory, for tests; `name` stands for the file in errors. */
struct conf *conf_parse(const char *text, const char *name, struct err *e);
/* Are the files there that options name? As the user that this process runs as; `as_daemon`: the
 * daemon has or will have the same rights. False and *e: what is missing or cannot be read, as
 * above. What may be in order is told in `notes` (may be NULL for the daemon), a line each. */
bool conf_files_look(const struct conf *c, bool as_daemon, struct buf *notes, struct err *e);
/* The same for one of them. */
bool conf_file_look(const struct conf_file *f, bool as_daemon, struct buf *notes, struct err *e);
struct conf *conf_ref(struct conf *c);
void conf_unref(struct conf **c);
/* What a reload from `a` to `b` cannot apply without a restart: names of such options, comma
 * separated; "" = none. */
void conf_needs_restart(const struct conf *a, const struct conf *b, struct buf *out);

/* Made from the table. */
bool conf_write_sample(struct buf *out); /* annotated causeway.conf */
bool conf_write_man(struct buf *out);    /* causeway.conf(5), mdoc */

/* Lookups; names without case. Index or CONF_NONE. */
int conf_find_forest(const struct conf *c, struct str name);
int conf_find_domain(const struct conf *c, struct str lower_name);  /* exact */
int conf_find_route(const struct conf *c, struct str lower_domain); /* longest match */
bool conf_nets_contain(const struct conf_nets *n, const struct sockaddr *a);
/* The forest whose peers contain the address, or CONF_NONE. */
int conf_forest_of_peer(const struct conf *c, const struct sockaddr *a);

/* "250ms" "30s" "5m" "2h" "5d"; "64K" "10M" "1G"; for options and command line alike. */
bool conf_parse_duration(struct str s, int64_t *ms);
bool conf_parse_size(struct str s, uint64_t *bytes);

#endif
