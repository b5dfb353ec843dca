/*
 * bench_directory.c - bench-directory: what an address costs in the directory, on disk and in
 * memory, how long a lookup takes that finds something or nothing, how long the daemon waits for
 * the directory when it starts, and how long `causewayctl doctor` goes through it. Prints one JSON
 * object.
 *
 *   bench-directory FOLDER ADDRESSES
 *
 * Each entry has two addresses and a flag. The snapshot is written by the replica, as a source
 * would; then the directory is opened as the daemon opens it, and asked through the public view.
 * Keys are asked in random order, each once, so large directories pay for their cache misses.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "conf/conf.h"
#include "directory/directory.h"
#include "directory/ldap/ldap_link.h"
#include "directory/doctor/doctor.h"
#include "directory/replica.h"
#include "directory/rules.h"

enum {
    KEY = 48,
    MOST_KEYS = 1000000
};

static const char conf_text[] =
    "hostname = \"relay.bench.test\"\nuser = \"\"\n"
    "listener \"in\" { address = { \"127.0.0.1:2525\" } }\n"
    "forest \"east\" { host \"127.0.0.1\" { } }\nforest \"west\" { host \"127.0.0.1\" { } }\n"
    "domain \"bench.test\" { type = shared }\n"
    "source \"people\" {\n  type = ldif\n  path = \"/nonexistent/people.ldif\"\n"
    "  flag_attribute = \"extensionAttribute1\"\n"
    "  flag_values = { \"east = east\", \"west = west\" }\n  stale_after = 0\n}\n";

static _Noreturn void die(const char *what, const struct err *e)
{
    fprintf(stderr, "bench-directory: %s: %s\n", what, e != NULL ? e->text : "failed");
    exit(1);
}

static void ignore_publish(void *arg, const struct replica_commit *c)
{
    (void)arg;
    (void)c;
}

/* Half of the addresses are primary, half secondary. */
static void address_local(char *dst, size_t cap, long number)
{
    snprintf(dst, cap, number % 2 == 0 ? "u%06ld" : "user.%06ld", number / 2);
}

static void add(struct replica *r, long entry)
{
    char local[2][KEY];
    struct dir_address address[2];
    for (int i = 0; i < 2; i++) {
        address_local(local[i], sizeof(local[i]), entry * 2 + i);
        address[i] = (struct dir_address){.local = str_c(local[i]), .domain = STR("bench.test")};
    }
    struct dir_entry e = {.kind = DIR_MAILBOX,
                          .flag = entry % 2 ? STR("west") : STR("east"),
                          .n_address = 2,
                          .address = address};
    uint64_t id[2] = {hash64_seed(&entry, sizeof(entry), 1), hash64_seed(&entry, sizeof(entry), 2)};
    memcpy(e.uuid, id, sizeof(e.uuid));
    if (!replica_upsert(r, &e))
        die("upsert", NULL);
}

static void build(const char *folder, const struct conf *c, long addresses)
{
    struct err e;
    struct replica_options o = {.folder = folder,
                                .name = c->source[0].name,
                                .source_id = rules_source_id(&c->source[0]),
                                .mass_change_percent = 100,
                                .publish = ignore_publish};
    struct replica *r = replica_open(&o, &e);
    if (r == NULL)
        die("replica", &e);
    replica_refresh_begin(r);
    for (long i = 0; i < addresses / 2; i++)
        add(r, i);
    if (!replica_refresh_end(r, true, STR("bench"), &e))
        die("refresh", &e);
    replica_tick(r); /* as the source's thread does next: the snapshot */
    replica_close(&r);
}

/* Octets of all files in the folder. */
static double folder_bytes(const char *folder)
{
    double sum = 0;
    DIR *d = opendir(folder);
    struct dirent *f;
    while (d != NULL && (f = readdir(d)) != NULL) {
        struct stat st;
        if (fstatat(dirfd(d), f->d_name, &st, 0) == 0 && S_ISREG(st.st_mode))
            sum += (double)st.st_size;
    }
    if (d != NULL)
        closedir(d);
    return sum;
}

/* Resident octets of memory and of what is mapped from the folder. Not of the program and its
 * libraries: the system reads them in by chance, 64 KB around what is run. Not from statm, whose
 * count is behind by up to 64 pages for each thread (proc(5)). */
static double resident(const char *folder)
{
    static const char path[] = "/proc/self/smaps";
    char line[4096], name[4096];
    double sum = 0;
    long kb;
    bool counts = false;
    FILE *f = fopen(path, "re");
    if (f == NULL)
        die(path, NULL);
    while (fgets(line, sizeof(line), f) != NULL) {
        name[0] = '\0';
        if (sscanf(line, "%*x-%*x %*s %*s %*s %*s %4095s", name) == 1 || strchr(line, '-') != NULL)
            counts = name[0] != '/' || strncmp(name, folder, strlen(folder)) == 0;
        else if (counts && sscanf(line, "Rss: %ld kB", &kb) == 1)
            sum += (double)kb * 1024;
    }
    fclose(f);
    return sum;
}

/* n keys in random order, each at keys + i * KEY. */
static char *make_keys(long addresses, long n, bool hit)
{
    char *keys = mem_alloc((size_t)n * KEY);
    for (long i = 0; i < n; i++) {
        char *key = keys + i * KEY;
        address_local(key, KEY - 16, (long)random_jitter((uint64_t)addresses));
        strcat(key, hit ? "@bench.test" : "x@bench.test");
    }
    return keys;
}

/* Nanoseconds for one lookup. */
static double time_lookups(const struct dir_view *v, const char *keys, long n, bool hit)
{
    static struct dir_result result;
    long wrong = 0;
    int64_t now = clock_mono_ms(), began = clock_mono_ns();
    for (long i = 0; i < n; i++) {
        dir_view_lookup(v, str_c(keys + i * KEY), now, &result);
        wrong += (result.found == DIR_FOUND) != hit;
    }
    double took = (double)(clock_mono_ns() - began) / (double)n;
    if (wrong != 0) {
        fprintf(stderr, "bench-directory: %ld of %ld lookups were answered wrongly (%s)\n", wrong,
                n, result.why);
        exit(1);
    }
    return took;
}

static bool count_finding(void *arg, const struct doctor_finding *f)
{
    (void)f;
    ++*(long *)arg;
    return true;
}

/* Seconds for a pass of the doctor, which finds nothing here. */
static double time_doctor(struct dir_view *v)
{
    const struct doctor_options o = {.source = "", .domain = ""};
    long found = 0;
    int64_t began = clock_mono_ns();
    struct doctor *d = doctor_new(v, &o);
    while (doctor_step(d, 1000, count_finding, &found))
        continue;
    doctor_free(&d);
    if (found != 0)
        die("the doctor found something", NULL);
    return (double)(clock_mono_ns() - began) / 1e9;
}

/* As in the running daemon: the source has brought its snapshot into memory before it looks for its
 * file, which is not there. */
static void settle(struct directory *d)
{
    struct dir_source_status status = {0};
    log_setup(LOG_TO_STDERR, LOG_TEXT, LOG_ERROR_);
    directory_start(d);
    while (status.state != DIR_SOURCE_FAILING && status.state != DIR_SOURCE_STALE) {
        usleep(1000);
        directory_status(d, &status, 1);
    }
    directory_stop(d);
}

/* In a process of its own, so that building leaves no trace in what is measured. */
static void measure(const char *folder, const struct conf *c, long addresses)
{
    struct err e;
    long n = addresses < MOST_KEYS ? addresses : MOST_KEYS;
    random_jitter_seed(1);
    ldap_link_init(); /* once for a process: 3 ms and 3 MB that are not the addresses' */
    char *hits = make_keys(addresses, n, true), *misses = make_keys(addresses, n, false);
    double before = resident(folder);
    int64_t began = clock_mono_ns();
    struct directory *d = directory_open(c, folder, &e);
    if (d == NULL)
        die("directory", &e);
    struct dir_view *v = directory_view(d);
    double load_ms = (double)(clock_mono_ns() - began) / 1e6;
    dir_view_unref(&v);
    settle(d);
    double settled_ms = (double)(clock_mono_ns() - began) / 1e6;
    v = directory_view(d);
    time_lookups(v, hits, n, true);
    double hit = time_lookups(v, hits, n, true), miss = time_lookups(v, misses, n, false);
    for (long i = 0; i < addresses; i++) { /* all of it, for the memory */
        static struct dir_result result;
        char key[KEY];
        address_local(key, KEY - 16, i);
        strcat(key, "@bench.test");
        dir_view_lookup(v, str_c(key), 0, &result);
    }
    printf("{\"file_bytes\":%.1f,\"memory_bytes\":%.1f,\"hit_ns\":%.1f,\"miss_ns\":%.1f,"
           "\"load_ms\":%.2f,\"settled_ms\":%.1f,",
           folder_bytes(folder) / (double)addresses,
           (resident(folder) - before) / (double)addresses, hit, miss, load_ms, settled_ms);
    printf("\"doctor_s\":%.2f}\n", time_doctor(v));
    dir_view_unref(&v);
    directory_close(&d);
    mem_free(hits);
    mem_free(misses);
}

int main(int argc, char **argv)
{
    long addresses = 0;
    bool measures = argc == 4 && strcmp(argv[3], "measure") == 0;
    if (argc < 3 || (addresses = atol(argv[2])) < 2) {
        fprintf(stderr, "Usage: bench-directory FOLDER ADDRESSES\n");
        return 2;
    }
    struct err e;
    struct conf *c = conf_parse(conf_text, "bench", &e);
    if (c == NULL)
        die("configuration", &e);
    if (!measures)
        build(argv[1], c, addresses);
    else
        measure(argv[1], c, addresses);
    conf_unref(&c);
    if (!measures) {
        execl("/proc/self/exe", argv[0], argv[1], argv[2], "measure", (char *)NULL);
        die("exec", NULL);
    }
    return 0;
}
