/*
 * bench_load.h - the parts of bench-load: what generator and sinks share.
 */
#ifndef TESTS_BENCH_BENCH_LOAD_H
#define TESTS_BENCH_BENCH_LOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* One message of ours. Times are monotonic nanoseconds; 0 = not yet. */
struct shot {
    int64_t dot;          /* the final dot was written (or should have been, see generator.c) */
    int64_t accepted;     /* 250 for it was read */
    long user;            /* its recipient */
    _Atomic int64_t sunk; /* a sink read the final dot */
};

struct load {
    /* what to do */
    unsigned run;
    int relay_port;
    double rate; /* messages a second in the mean; 0 = one after the other */
    int sessions;
    double seconds;
    double delay; /* seconds between the sessions' opening and the first message */
    int size;     /* octets of content */
    long users;   /* recipients 1user@ .. Nuser@ */
    const char *domain;
    int sinks;        /* 0 = nobody tells when a message arrived */
    FILE *record;     /* NULL = none */
    int defer_port;   /* the sink that answers 451 to RCPT ... */
    long defer_users; /* ... for users up to this */
    long backlog;     /* go on until the sinks have so many messages that are not ours */

    /* what happened */
    struct shot *shot;
    long max_shots;
    _Atomic long n_shots;
    long failed;
    _Atomic long sunk_ours, sunk_others;
    _Atomic int64_t first_other, last_other;
    atomic_bool enough; /* no more messages */
    atomic_bool stop;
};

/* Runs until it is over: seconds have passed, or the backlog has arrived. */
void generator_run(struct load *l);

/* A thread that is an SMTP server on 127.0.0.1:port until l->stop. */
struct sink;
struct sink *sink_start(struct load *l, int port);
void sink_join(struct sink *s);

/* "X-Bench: run-number": the run keeps apart what an earlier run left in the relay. */
#define SHOT_HEADER "X-Bench: "
#define SHOT_FORMAT "%08x-%010ld"
#define SHOT_LENGTH 19

int64_t now_ns(void);
_Noreturn void die(const char *what);

#endif
