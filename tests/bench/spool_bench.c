/*
 * spool_bench.c - the spool alone: appends per second with 1, 20 and 64 submitters in closed loops,
 * syncs per message, time of one append beside time of one fdatasync; and recovery of many
 * messages.
 *
 *   spool_bench DIR append [SECONDS]      DIR is created, and must be removed by the caller
 *   spool_bench DIR fill N                N messages of 4 KB
 *   spool_bench DIR recover               how long opening and recovery of what is in DIR take
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/mem.h"
#include "relay/spool/spool.h"

#define SIZE 4096

struct submitter {
    pthread_t thread;
    struct spool *s;
    int64_t until_ns;
    uint64_t most; /* messages, 0 = no bound */
    bool ends;     /* each message is marked as delivered at once */
    uint64_t sent;
    struct chan *reply;
    bool answered;
    struct spool_append a;
    int64_t *took_ns;
    size_t n_took, cap_took;
};

static void answer(struct chan_node *n)
{
    CONTAINER_OF(n, struct submitter, a.node)->answered = true;
}

static void note(struct submitter *w, int64_t ns)
{
    if (w->n_took == w->cap_took) {
        w->cap_took = w->cap_took == 0 ? 4096 : w->cap_took * 2;
        w->took_ns = mem_realloc(w->took_ns, w->cap_took * sizeof(*w->took_ns));
    }
    w->took_ns[w->n_took++] = ns;
}

static void *submit_all(void *arg)
{
    struct submitter *w = arg;
    static const char envelope[300];
    char *content = mem_zalloc(SIZE);
    struct iovec iov = {.iov_base = content, .iov_len = SIZE};
    while (clock_mono_ns() < w->until_ns && (w->most == 0 || w->sent < w->most)) {
        int64_t begin = clock_mono_ns();
        w->a = (struct spool_append){.node.run = answer,
                                     .reply_to = w->reply,
                                     .id = spool_next_id(w->s),
                                     .envelope = {envelope, sizeof(envelope)},
                                     .content = &iov,
                                     .n_content = 1,
                                     .content_size = SIZE,
                                     .n_rcpt = 1};
        w->answered = false;
        spool_submit(w->s, &w->a);
        while (!w->answered) {
            chan_wait(w->reply, -1);
            chan_drain(w->reply);
        }
        if (w->a.result != SPOOL_OK) {
            fprintf(stderr, "append: %s\n", w->a.err.text);
            exit(1);
        }
        note(w, clock_mono_ns() - begin);
        if (w->ends) {
            struct spool_mark m = {.id = w->a.id, .rcpt = 0, .kind = SPOOL_MARK_DELIVERED};
            spool_mark(w->s, &m, 1);
        }
        w->sent++;
    }
    mem_free(content);
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t run(struct spool *s, unsigned n, double seconds, uint64_t most, bool ends)
{
    struct submitter *w = mem_array(n, sizeof(*w));
    struct spool_status before, after;
    spool_status(s, &before);
    int64_t begin = clock_mono_ns();
    for (unsigned i = 0; i < n; i++) {
        w[i].s = s;
        w[i].until_ns = begin + (int64_t)(seconds * 1e9);
        w[i].most = most / n;
        w[i].ends = ends;
        w[i].reply = chan_new();
        ASSERT(pthread_create(&w[i].thread, NULL, submit_all, &w[i]) == 0);
    }
    uint64_t sent = 0;
    struct submitter all = {0};
    for (unsigned i = 0; i < n; i++) {
        pthread_join(w[i].thread, NULL);
        sent += w[i].sent;
        for (size_t k = 0; k < w[i].n_took; k++)
            note(&all, w[i].took_ns[k]);
        mem_free(w[i].took_ns);
        chan_free(&w[i].reply);
    }
    double took = (double)(clock_mono_ns() - begin) / 1e9;
    spool_status(s, &after);
    qsort(all.took_ns, all.n_took, sizeof(*all.took_ns), by_value);
    printf("%3u submitters%s: %9.0f messages/s  %5.3f syncs/message  p50 %.3f ms  p99 %.3f ms\n", n,
           ends ? ", ended at once" : "               ", (double)sent / took,
           (double)(after.syncs - before.syncs) / (double)(sent != 0 ? sent : 1),
           (double)all.took_ns[all.n_took / 2] / 1e6,
           (double)all.took_ns[all.n_took * 99 / 100] / 1e6);
    mem_free(all.took_ns);
    mem_free(w);
    return sent;
}

/* One write of 8 KB and one fdatasync into a written-through file: the floor. */
static void bare_sync(const char *dir)
{
    char path[4096], *bytes = mem_zalloc(8192);
    int64_t took[2000];
    snprintf(path, sizeof(path), "%s/bare", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    for (int i = 0; i < 2000; i++)
        ASSERT(pwrite(fd, bytes, 8192, i * 8192) == 8192);
    fsync(fd);
    for (int i = 0; i < 2000; i++) {
        int64_t begin = clock_mono_ns();
        ASSERT(pwrite(fd, bytes, 8192, i * 8192) == 8192);
        ASSERT(fdatasync(fd) == 0);
        took[i] = clock_mono_ns() - begin;
    }
    qsort(took, 2000, sizeof(took[0]), by_value);
    printf("bare write and fdatasync: p50 %.3f ms  p99 %.3f ms\n", (double)took[1000] / 1e6,
           (double)took[1980] / 1e6);
    close(fd);
    unlink(path);
    mem_free(bytes);
}

struct tally {
    uint64_t n, bytes;
    int64_t begin_ns, first_ns;
};

static void count(void *arg, const struct spool_recovered *m)
{
    struct tally *t = arg;
    if (t->n++ == 0)
        t->first_ns = clock_mono_ns();
    t->bytes += m->envelope.n;
}

static long resident_kb(void)
{
    long pages = 0, skip = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (f != NULL) {
        if (fscanf(f, "%ld %ld", &skip, &pages) != 2)
            pages = 0;
        fclose(f);
    }
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

int main(int argc, char **argv)
{
    if (argc < 3) {
        fprintf(stderr, "usage: spool_bench DIR append [SECONDS] | fill N | recover\n");
        return 2;
    }
    struct spool_conf conf = {.dir = argv[1]};
    struct err e;
    struct spool_recovery_stats stats;
    struct tally t = {.begin_ns = clock_mono_ns()};
    long before_kb = resident_kb();
    struct spool *s = spool_open(&conf, &file_real, &e);
    if (s == NULL) {
        fprintf(stderr, "%s\n", e.text);
        return 1;
    }
    int64_t opened = clock_mono_ns();
    ASSERT(spool_recover(s, count, &t, &stats, &e));
    double arg = argc > 3 ? atof(argv[3]) : 3;
    if (strcmp(argv[2], "append") == 0) {
        static const unsigned n[] = {1, 20, 64};
        bare_sync(argv[1]);
        for (int ends = 0; ends < 2; ends++)
            for (size_t i = 0; i < ARRAY_LEN(n); i++)
                run(s, n[i], arg, 0, ends != 0);
    } else if (strcmp(argv[2], "fill") == 0) {
        run(s, 64, 1e6, (uint64_t)arg, false);
    } else {
        printf("open %.3f s, recovery %.3f s (first after %.3f s), %llu messages, %llu segments, "
               "%.1f bytes resident each\n",
               (double)(opened - t.begin_ns) / 1e9, (double)stats.took_ms / 1e3,
               (double)(t.first_ns - t.begin_ns) / 1e9, (unsigned long long)t.n,
               (unsigned long long)stats.segments,
               (double)(resident_kb() - before_kb) * 1024 / (double)(t.n != 0 ? t.n : 1));
    }
    spool_close(&s);
    return 0;
}
