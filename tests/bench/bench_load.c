/*
 * bench_load.c - bench-load: open-loop SMTP load with its own sinks, because smtp-source cannot
 * hold a rate and smtp-sink cannot say when a message came. Prints one JSON object with latencies
 * in microseconds: from the final dot to its 250, and from the dot to the sink.
 *
 *   bench-load --relay PORT --sink PORT [--sink PORT] --rate N --seconds S [--sessions N]
 *              [--size BYTES] [--users N] [--domain D] [--delay S]
 *              [--backlog N] [--record FILE] [--defer PORT:N]
 *
 * SIGINT: no more messages, but what is under way is waited for and reported.
 * --record: a line for each RCPT that a sink took with its message, "rcpt NS PORT NUMBER USER" (NS:
 * the monotonic clock at RCPT; NUMBER: of our message, -1 = not ours), and at the end one for each
 * message that was accepted, "sent NUMBER USER". --defer: the sink on PORT answers 451 for the
 * users 1 to N.
 */
#include "tests/bench/bench_load.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MOST_SINKS = 8
};

int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

_Noreturn void die(const char *what)
{
    fprintf(stderr, "bench-load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* "name":{"n":..,"p50":..,"p99":..,"max":..} in microseconds. */
static void print_latency(const char *name, int64_t *v, long n)
{
    double p50 = 0, p99 = 0, max = 0;
    if (n > 0) {
        qsort(v, (size_t)n, sizeof(*v), by_value);
        p50 = (double)v[n / 2] / 1000;
        p99 = (double)v[n - 1 - n / 100] / 1000;
        max = (double)v[n - 1] / 1000;
    }
    printf("\"%s\":{\"n\":%ld,\"p50\":%.1f,\"p99\":%.1f,\"max\":%.1f},", name, n, p50, p99, max);
}

static struct load l = {
    .sessions = 1, .seconds = 5, .size = 4096, .users = 1000, .domain = "bench.test"};

static void report(void)
{
    long shots = atomic_load(&l.n_shots), n_accepted = 0, n_sunk = 0;
    int64_t *accepted = calloc((size_t)shots + 1, sizeof(int64_t));
    int64_t *sunk = calloc((size_t)shots + 1, sizeof(int64_t));
    if (accepted == NULL || sunk == NULL)
        die("calloc");
    for (long i = 0; i < shots; i++) {
        struct shot *s = &l.shot[i];
        if (s->accepted != 0)
            accepted[n_accepted++] = s->accepted - s->dot;
        if (atomic_load(&s->sunk) != 0)
            sunk[n_sunk++] = atomic_load(&s->sunk) - s->dot;
    }
    printf("{");
    print_latency("accepted", accepted, n_accepted);
    print_latency("sunk", sunk, n_sunk);
    double drained = (double)(atomic_load(&l.last_other) - atomic_load(&l.first_other)) / 1e9;
    printf("\"sent\":%ld,\"failed\":%ld,\"others\":%ld,\"others_seconds\":%.3f}\n", shots, l.failed,
           atomic_load(&l.sunk_others), drained);
    free(accepted);
    free(sunk);
}

static void end_early(int number)
{
    (void)number;
    atomic_store(&l.enough, true);
}

static void record_sent(void)
{
    long shots = atomic_load(&l.n_shots);
    if (l.record == NULL)
        return;
    for (long i = 0; i < shots; i++)
        if (l.shot[i].accepted != 0)
            fprintf(l.record, "sent %ld %ld\n", i, l.shot[i].user);
    if (fclose(l.record) != 0)
        die("record");
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"relay", required_argument, NULL, 'r'},
        {"sink", required_argument, NULL, 's'},
        {"rate", required_argument, NULL, 'R'},
        {"seconds", required_argument, NULL, 't'},
        {"sessions", required_argument, NULL, 'n'},
        {"size", required_argument, NULL, 'l'},
        {"users", required_argument, NULL, 'u'},
        {"domain", required_argument, NULL, 'd'},
        {"delay", required_argument, NULL, 'D'},
        {"backlog", required_argument, NULL, 'b'},
        {"record", required_argument, NULL, 'o'},
        {"defer", required_argument, NULL, 'e'},
        {NULL, 0, NULL, 0},
    };
    int port[MOST_SINKS], sinks = 0, c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (c) {
        case 'r':
            l.relay_port = atoi(optarg);
            break;
        case 's':
            if (sinks < MOST_SINKS)
                port[sinks++] = atoi(optarg);
            break;
        case 'R':
            l.rate = atof(optarg);
            break;
        case 't':
            l.seconds = atof(optarg);
            break;
        case 'n':
            l.sessions = atoi(optarg);
            break;
        case 'l':
            l.size = atoi(optarg);
            break;
        case 'u':
            l.users = atol(optarg);
            break;
        case 'd':
            l.domain = optarg;
            break;
        case 'D':
            l.delay = atof(optarg);
            break;
        case 'b':
            l.backlog = atol(optarg);
            break;
        case 'o':
            l.record = fopen(optarg, "w");
            if (l.record == NULL)
                die(optarg);
            break;
        case 'e':
            if (sscanf(optarg, "%d:%ld", &l.defer_port, &l.defer_users) != 2)
                return 2;
            break;
        default:
            return 2;
        }
    }
    if (l.relay_port == 0 || l.sessions < 1 || l.size < 0 || l.users < 1 ||
        strlen(l.domain) > 200) {
        fprintf(stderr, "bench-load: --relay PORT is needed; sessions and users are at least 1\n");
        return 2;
    }
    l.max_shots = l.rate > 0 ? (long)(l.rate * l.seconds * 1.5) + 1000 : 1000000;
    l.shot = calloc((size_t)l.max_shots, sizeof(*l.shot));
    if (l.shot == NULL)
        die("calloc");
    l.sinks = sinks;
    l.run = (unsigned)now_ns();
    signal(SIGINT, end_early);
    struct sink *sink[MOST_SINKS];
    for (int i = 0; i < sinks; i++)
        sink[i] = sink_start(&l, port[i]);
    generator_run(&l);
    atomic_store(&l.stop, true);
    for (int i = 0; i < sinks; i++)
        sink_join(sink[i]);
    report();
    record_sent();
    free(l.shot);
    return 0;
}
