/*
 * directory_bench.c - the directory at size: builds a snapshot of N addresses (two to an entry, or
 * one), opens it as at a start, and measures octets per address in the file and in memory, the time
 * to load, and nanoseconds per lookup of random addresses that are there and that are not.
 *
 *   directory_bench [--rounds R] [--one] N...        prints one JSON object
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "directory/replica.h"
#include "directory/view_int.h"

#define LOOKUPS 1000000u

static const char *const conf_text =
    "listener \"i\" { address = \"*:25\" }\n"
    "forest \"old\" { host \"mx.old\" {} routing_domain = \"old.local\" }\n"
    "forest \"new\" { host \"mx.new\" {} routing_domain = \"new.local\" }\n"
    "domain \"contoso.com\" {}\n"
    "source \"bench\" { type = ldif path = \"/none\" forest = \"old\" flag_attribute = \"f\"\n"
    "  flag_values = {\"source = old\", \"target = new\"} }\n";

static void ignore(void *arg, const struct replica_commit *c)
{
    (void)arg;
    (void)c;
}

/* Names as they are in companies: given name, surname, a number where there are many. */
static unsigned name_of(unsigned i, char *out, size_t cap)
{
    static const char *const given[] = {"anna",   "bernd", "claudia", "dieter", "elena", "frank",
                                        "gudrun", "hans",  "ines",    "jan",    "karin", "lars"};
    static const char *const sur[] = {"meyer", "schmidt",  "lindqvist", "oconnor",
                                      "rossi", "kowalski", "fernandez"};
    return (unsigned)snprintf(out, cap, "%s.%s%u", given[i % 12], sur[i / 12 % 7], i / 84);
}

static struct replica *replica_at(const char *folder)
{
    struct replica_options o = {.folder = folder,
                                .name = "bench",
                                .source_id = 1,
                                .mass_change_percent = 100,
                                .publish = ignore};
    struct err e;
    struct replica *r = replica_open(&o, &e);
    if (r == NULL) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
    return r;
}

static void fill(const char *folder, unsigned addresses, unsigned per_entry)
{
    struct replica *r = replica_at(folder);
    struct err e;
    char name[64], alias[32];
    replica_refresh_begin(r);
    for (unsigned i = 0; i < addresses / per_entry; i++) {
        struct dir_address a[2];
        uint64_t uuid[2] = {hash64_seed(&i, sizeof(i), 1), hash64_seed(&i, sizeof(i), 2)};
        a[0] =
            (struct dir_address){str_n(name, name_of(i, name, sizeof(name))), STR("contoso.com")};
        a[1] = (struct dir_address){
            str_n(alias, (size_t)snprintf(alias, sizeof(alias), "u%07u", i)), STR("contoso.com")};
        struct dir_entry entry = {.address = a,
                                  .n_address = per_entry,
                                  .flag = i % 2 == 0 ? STR("target") : STR("source"),
                                  .alias = a[per_entry - 1].local};
        memcpy(entry.uuid, uuid, sizeof(uuid));
        replica_upsert(r, &entry);
    }
    if (!replica_refresh_end(r, true, STR("c"), &e))
        exit(1);
    replica_snapshot(r); /* as after the next change of any size */
    replica_close(&r);
}

static double rss_mb(void)
{
    char text[4096] = "";
    int fd = open("/proc/self/smaps_rollup", O_RDONLY);
    ssize_t n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
    if (fd >= 0)
        close(fd);
    text[n > 0 ? n : 0] = '\0';
    const char *p = strstr(text, "\nRss:");
    return p != NULL ? atof(p + 5) / 1024 : 0;
}

static struct dir_view *view_over(struct conf *c, struct replica *r)
{
    struct dir_view *v = view_new(1, rules_new(c), stack_new(NULL), 1);
    v->source[0] = (struct view_source){.stack = stack_ref(replica_stack(r)), .fresh = fresh_new()};
    atomic_store(&v->source[0].fresh->complete_once, true);
    return v;
}

struct keys {
    char *text;
    uint32_t *at;
};

/* Random addresses, prepared so that the clock sees lookups only. */
static struct keys keys_make(unsigned addresses, unsigned per_entry, bool hit)
{
    struct keys k = {mem_alloc(LOOKUPS * 48), mem_array(LOOKUPS + 1, sizeof(uint32_t))};
    uint64_t x = 88172645463325252u;
    for (unsigned n = 0; n < LOOKUPS; n++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        unsigned i = (unsigned)(x >> 32) % (addresses / per_entry);
        char *p = k.text + k.at[n];
        unsigned len = per_entry == 2 && x % 2 == 0 ? (unsigned)snprintf(p, 48, "u%07u", i)
                                                    : name_of(i, p, 48);
        len += (unsigned)snprintf(p + len, 48 - len, hit ? "@contoso.com" : "q@contoso.com");
        k.at[n + 1] = k.at[n] + len;
    }
    return k;
}

/* A lookup never sleeps: processor time is what it costs, whoever else is on the machine. */
static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * (int64_t)1000000000 + t.tv_nsec;
}

static double lookups(const struct dir_view *v, const struct keys *k, enum dir_found expected)
{
    static struct dir_result r;
    int64_t began = cpu_ns();
    for (unsigned n = 0; n < LOOKUPS; n++) {
        dir_view_lookup(v, str_n(k->text + k->at[n], k->at[n + 1] - k->at[n]), 0, &r);
        if (r.found != expected) {
            fprintf(stderr, "lookup %.*s: wrong\n", (int)(k->at[n + 1] - k->at[n]),
                    k->text + k->at[n]);
            exit(1);
        }
    }
    return (double)(cpu_ns() - began) / LOOKUPS;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
    qsort(v, n, sizeof(*v), by_value);
    return v[n / 2];
}

static void measure(const char *folder, unsigned addresses, unsigned per_entry, unsigned rounds)
{
    struct err e;
    struct conf *c = conf_parse(conf_text, "bench", &e);
    if (c == NULL) {
        fprintf(stderr, "%s\n", e.text);
        exit(1);
    }
    struct keys hits = keys_make(addresses, per_entry, true);
    struct keys misses = keys_make(addresses, per_entry, false);
    double *ns_hit = mem_array(rounds, sizeof(double)),
           *ns_miss = mem_array(rounds, sizeof(double));
    double *load = mem_array(rounds, sizeof(double)), before = rss_mb();
    struct replica *r = NULL;
    for (unsigned i = 0; i < rounds; i++) {
        replica_close(&r);
        int64_t began = clock_mono_ns();
        r = replica_at(folder);
        load[i] = (double)(clock_mono_ns() - began) / 1e6;
    }
    bool unverified = replica_is_unverified(r);
    int64_t began = clock_mono_ns();
    replica_settle(r);
    double settle = (double)(clock_mono_ns() - began) / 1e6;
    struct dir_view *v = view_over(c, r);
    for (unsigned i = 0; i < rounds; i++) {
        ns_hit[i] = lookups(v, &hits, DIR_FOUND);
        ns_miss[i] = lookups(v, &misses, DIR_NOT_FOUND);
    }
    double memory = rss_mb() - before;
    printf("{\"addresses\": %llu, \"entries\": %llu, \"file_bytes_per_address\": %.1f, "
           "\"memory_bytes_per_address\": %.1f, \"ns_hit\": %.0f, \"ns_miss\": %.0f, "
           "\"load_ms\": %.2f, \"settle_ms\": %.1f, \"verified_at_load\": %s}",
           (unsigned long long)replica_addresses(r), (unsigned long long)replica_entries(r),
           (double)replica_bytes(r) / (double)replica_addresses(r),
           memory * 1048576 / (double)replica_addresses(r), median(ns_hit, rounds),
           median(ns_miss, rounds), median(load, rounds), settle, unverified ? "false" : "true");
    fflush(stdout);
    dir_view_unref(&v);
    replica_close(&r);
    conf_unref(&c);
}

/* In a process of its own, so that memory is only what this size needs. */
static void in_child(void (*what)(const char *, unsigned, unsigned, unsigned), const char *folder,
                     unsigned n, unsigned per_entry, unsigned rounds)
{
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        what(folder, n, per_entry, rounds);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0)
        exit(1);
}

static void fill_child(const char *folder, unsigned n, unsigned per_entry, unsigned rounds)
{
    (void)rounds;
    fill(folder, n, per_entry);
}

int main(int argc, char **argv)
{
    unsigned rounds = 3, per_entry = 2, sizes = 0;
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_);
    printf("{\"benchmark\": \"directory\", \"lookups\": %u, \"sizes\": [", LOOKUPS);
    for (int i = 1; i < argc; i++) {
        char folder[] = "/tmp/directory-bench-XXXXXX", path[100];
        if (strcmp(argv[i], "--one") == 0) {
            per_entry = 1;
            continue;
        }
        if (strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
            rounds = (unsigned)atoi(argv[++i]);
            continue;
        }
        unsigned n = (unsigned)atoi(argv[i]);
        if (n < per_entry || rounds == 0 || mkdtemp(folder) == NULL) {
            fprintf(stderr, "usage: directory_bench [--rounds R] [--one] ADDRESSES...\n");
            return 2;
        }
        printf("%s", sizes++ != 0 ? ", " : "");
        in_child(fill_child, folder, n, per_entry, rounds);
        in_child(measure, folder, n, per_entry, rounds);
        static const char *const file[] = {"snapshot", "journal"};
        for (unsigned k = 0; k < 2; k++) {
            snprintf(path, sizeof(path), "%s/directory-bench.%s", folder, file[k]);
            unlink(path);
        }
        rmdir(folder);
    }
    printf("]}\n");
    return 0;
}
