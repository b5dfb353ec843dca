/*
 * spool.c - opening and closing the spool, ids, and the doors for workers: submit and mark.
 *
 * Opening takes the lock, reads only the segments' headers, puts a new epoch on disk and starts the
 * threads; a million queued messages do not make it slower. On failure everything is undone.
 */
#include "relay/spool/flight.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"

#define MB (UINT64_C(1024) * 1024)

_Atomic int spool_fault_shown_ms = 10 * 60 * 1000;

char *spool_path(const struct spool *s, char dst[PATH_MAX], const char *sub, const char *name)
{
    snprintf(dst, PATH_MAX, "%s/%s/%.120s", s->dir, sub, name);
    return dst;
}

char *spool_large_path(const struct spool *s, char dst[PATH_MAX], uint64_t id)
{
    char text[14];
    spool_id_text(id, text);
    return spool_path(s, dst, "large", text);
}

static void alarm_log(const char *event, const char *id, const struct err *e)
{
    static struct log_limit limit;
    int64_t suppressed = 0;
    if (id != NULL || log_limit_pass(&limit, 1000, &suppressed))
        LOG(ERROR, id, event, LC("reason", e->text), LI("suppressed", suppressed));
}

void spool_alarm(struct spool *s, const char *event, const char *id, const struct err *e)
{
    spool_lock(s);
    snprintf(s->last_error, sizeof(s->last_error), "%.199s", e->text);
    spool_unlock(s);
    alarm_log(event, id, e);
}

void spool_fault(struct spool *s, const char *event, const struct err *e)
{
    spool_lock(s);
    snprintf(s->fault, sizeof(s->fault), "%.199s", e->text);
    s->fault_of_space = is_no_space(e);
    s->fault_ms = clock_mono_ms();
    s->fault_syncs = s->syncs;
    spool_unlock(s);
    alarm_log(event, NULL, e);
}

/* Under the lock. One that came once is to be seen, too, by who looks some minutes later. */
static bool fault_is_over(const struct spool *s)
{
    return s->fault[0] == '\0' ||
           (s->syncs != s->fault_syncs &&
            clock_mono_ms() - s->fault_ms >= atomic_load(&spool_fault_shown_ms));
}

/* ---- ids ---- */

static const char id_digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void spool_id_text(uint64_t id, char dst[14])
{
    for (int i = 12; i >= 0; i--) {
        dst[i] = id_digits[id & 31];
        id >>= 5;
    }
    dst[13] = '\0';
}

bool spool_id_parse(struct str text, uint64_t *id)
{
    uint64_t v = 0;
    if (text.n != 13)
        return false;
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i] >= 'a' && text.p[i] <= 'z' ? (char)(text.p[i] - 32) : text.p[i];
        if (c == 'O')
            c = '0';
        if (c == 'I' || c == 'L')
            c = '1';
        const char *at = c != '\0' ? strchr(id_digits, c) : NULL;
        if (at == NULL || (i == 0 && at - id_digits > 15))
            return false;
        v = v << 5 | (uint64_t)(at - id_digits);
    }
    *id = v;
    return true;
}

uint64_t spool_large_bytes(const struct spool *s)
{
    return s->conf.large_bytes;
}

uint64_t spool_segment_bytes(const struct spool *s)
{
    return s->conf.segment_bytes;
}

uint64_t spool_next_id(struct spool *s)
{
    return s->epoch << ID_COUNTER_BITS | atomic_fetch_add(&s->next_counter, 1);
}

/* ---- opening ---- */

static bool take_conf(struct spool *s, const struct spool_conf *c, struct err *e)
{
    s->conf = *c;
    struct spool_conf *d = &s->conf;
    if (strlen(c->dir) >= sizeof(s->dir))
        return err_set(e, ERR_CONFIG, 0, "the name of the spool's folder is too long");
    strcpy(s->dir, c->dir);
    d->dir = s->dir;
    if (d->segment_bytes == 0)
        d->segment_bytes = 64 * MB;
    d->segment_bytes = align_up(d->segment_bytes, DISK_PAGE);
    if (d->segment_bytes < DISK_SEGMENT_MIN || d->segment_bytes > DISK_SEGMENT_MAX)
        return err_set(e, ERR_CONFIG, 0,
                       "the size of a spool segment must be between %u and %u bytes",
                       DISK_SEGMENT_MIN, DISK_SEGMENT_MAX);
    if (d->segments_ready < 2)
        d->segments_ready = 2; /* the last one is for marks and reports */
    if (d->large_bytes == 0)
        d->large_bytes = MB;
    if (d->large_bytes > d->segment_bytes / 2)
        return err_set(
            e, ERR_CONFIG, 0,
            "messages up to %llu bytes are to be kept in the log, so a spool segment must "
            "have at least twice as many",
            (unsigned long long)d->large_bytes);
    if (d->reserve_resume_bytes < d->reserve_bytes)
        d->reserve_resume_bytes = d->reserve_bytes + d->reserve_bytes / 4;
    return true;
}

static bool take_lock(struct spool *s, struct err *e)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/lock", s->dir);
    s->lock_fd = s->ops->open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd < 0)
        return err_set(e, ERR_SYSTEM, errno, "cannot open %s", path);
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return true;
    if (errno == EWOULDBLOCK)
        return err_set(e, ERR_BUSY, 0, "another daemon uses the spool %s", s->dir);
    return err_set(e, ERR_SYSTEM, errno, "cannot lock %s", path);
}

static bool make_folders(struct spool *s, struct err *e)
{
    static const char *const sub[] = {"segment", "large", "quarantine"};
    char path[PATH_MAX];
    for (size_t i = 0; i < ARRAY_LEN(sub); i++) {
        snprintf(path, sizeof(path), "%s/%s", s->dir, sub[i]);
        if (!file_make_dir(path, 0700, e))
            return false;
    }
    return file_sync_dir(s->ops, s->dir, e);
}

static uint64_t state_sum(const struct disk_state *st)
{
    return hash64_seed(st, offsetof(struct disk_state, sum), DISK_STATE_MAGIC);
}

/* The epoch on disk, 0 if there is none. A damaged file is not fatal: the headers know it too. */
static bool read_state(struct spool *s, uint64_t *epoch, struct err *e)
{
    char path[PATH_MAX];
    struct buf b;
    struct disk_state st = {0};
    struct err why;
    *epoch = 0;
    snprintf(path, sizeof(path), "%s/state", s->dir);
    buf_init(&b, 4096);
    bool ok = file_read_all(path, &b, &why);
    bool whole = ok && b.n == sizeof(st);
    if (whole)
        memcpy(&st, b.p, sizeof(st));
    buf_free(&b);
    if (!ok && why.errnum == ENOENT)
        return true;
    if (whole && st.magic == DISK_STATE_MAGIC && st.version != DISK_VERSION)
        return err_set(e, ERR_CONFIG, 0,
                       "the spool %s is of format %u and this program reads format %u: use the "
                       "program that wrote it to empty the spool first",
                       s->dir, st.version, DISK_VERSION);
    if (whole && st.magic == DISK_STATE_MAGIC && st.sum == state_sum(&st))
        *epoch = st.epoch;
    else
        LOG(WARN, NULL, "spool-state-damaged", LC("file", path));
    return true;
}

/* On a full disk or over quota there is no room for a new file, but the old one takes the bytes:
 * torn, it counts as missing. */
static bool overwrite_state(struct spool *s, const char *path, const struct disk_state *st,
                            struct err *e)
{
    int fd = s->ops->open(path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return err_set(e, ERR_SYSTEM, errno, "cannot open %s", path);
    struct iovec iov = {.iov_base = (void *)(uintptr_t)st, .iov_len = sizeof(*st)};
    bool ok = file_write_all(s->ops, fd, &iov, 1, 0, e);
    if (ok && s->ops->fdatasync(fd) != 0)
        ok = err_set(e, ERR_SYSTEM, errno, "cannot sync %s", path);
    s->ops->close(fd);
    return ok;
}

static bool begin_epoch(struct spool *s, uint64_t before, struct err *e)
{
    char path[PATH_MAX];
    if (before >= ID_EPOCH_MAX)
        return err_set(e, ERR_LIMIT, 0, "the spool %s has used up its start counter", s->dir);
    s->epoch = before + 1;
    atomic_init(&s->next_counter, 1);
    struct disk_state st = {.magic = DISK_STATE_MAGIC, .version = DISK_VERSION, .epoch = s->epoch};
    st.sum = state_sum(&st);
    snprintf(path, sizeof(path), "%s/state", s->dir);
    if (file_replace(s->ops, path, &st, sizeof(st), 0600, e))
        return true;
    return is_no_space(e) && overwrite_state(s, path, &st, e);
}

static bool load(struct spool *s, struct err *e)
{
    uint64_t epoch = 0, header_epoch = 0;
    if (!file_make_dir(s->dir, 0700, e) || !take_lock(s, e) || !make_folders(s, e) ||
        !read_state(s, &epoch, e) || !segments_load(s, &header_epoch, e))
        return false;
    return begin_epoch(s, epoch > header_epoch ? epoch : header_epoch, e);
}

bool thread_start(pthread_t *t, void *(*main_fn)(void *), void *arg)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the main thread's */
    int r = pthread_create(t, NULL, main_fn, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r == 0;
}

static void start_threads(struct spool *s)
{
    bool ok = thread_start(&s->keeper_thread, keeper_main, s) &&
              thread_start(&s->large_thread, large_main, s) &&
              thread_start(&s->commit_thread, commit_main, s);
    ASSERT(ok); /* at start-up: without them there is no spool */
}

static void destroy(struct spool *s)
{
    segments_free(s);
    table_free(&s->table);
    mem_free(s->gone);
    mem_free(s->commit.fresh.v);
    mem_free(s->commit.unsynced.v);
    batch_free(&s->commit.batch);
    flights_free(s);
    chan_free(&s->commit.in);
    chan_free(&s->large_in);
    chan_free(&s->keeper_in);
    pthread_cond_destroy(&s->ready_changed);
    pthread_mutex_destroy(&s->lock);
    if (s->lock_fd >= 0)
        s->ops->close(s->lock_fd);
    mem_free(s);
}

struct spool *spool_open(const struct spool_conf *c, const struct file_ops *ops, struct err *e)
{
    struct spool *s = NEW(struct spool);
    s->ops = ops;
    s->lock_fd = -1;
    s->next_seq = 1;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->ready_changed, NULL);
    table_init(&s->table);
    s->commit.in = chan_new();
    s->commit.tail = &s->commit.head;
    s->commit.batch = batch_new();
    flights_init(s);
    s->large_in = chan_new();
    s->keeper_in = chan_new();
    if (!take_conf(s, c, e) || !load(s, e)) {
        destroy(s);
        return NULL;
    }
    keeper_poll_space(s);
    start_threads(s);
    return s;
}

void spool_close(struct spool **sp)
{
    struct spool *s = *sp;
    if (s == NULL)
        return;
    *sp = NULL;
    atomic_store(&s->stopping, true);
    keeper_wake(s);
    pthread_join(s->keeper_thread, NULL);
    chan_drain(s->keeper_in);               /* damaged messages still to be marked */
    chan_send(s->large_in, &s->large_stop); /* behind all that was submitted */
    pthread_join(s->large_thread, NULL);
    s->commit.stop_node.run = node_is_stop;
    chan_send(s->commit.in, &s->commit.stop_node);
    pthread_join(s->commit_thread, NULL);
    chan_drain(s->keeper_in);
    chan_drain(s->large_in);
    destroy(s);
}

/* ---- doors ---- */

static uint64_t sum_of_content(const struct spool_append *a)
{
    if (a->n_content == 1)
        return hash64_seed(a->content[0].iov_base, a->content[0].iov_len, a->id);
    struct hash_state *hs = hash_state_new();
    hash_state_reset(hs, a->id);
    for (int i = 0; i < a->n_content; i++)
        hash_state_add(hs, a->content[i].iov_base, a->content[i].iov_len);
    uint64_t sum = hash_state_end(hs);
    hash_state_free(&hs);
    return sum;
}

void spool_submit(struct spool *s, struct spool_append *a)
{
    uint64_t bytes = 0;
    ASSERT(id_epoch(a->id) == s->epoch);
    a->is_large = a->large != NULL;
    if (a->is_large) {
        large_submit(s, a);
        return;
    }
    for (int i = 0; i < a->n_content; i++)
        bytes += a->content[i].iov_len;
    ASSERT(bytes == a->content_size);   /* the layout on disk rests on it */
    a->content_sum = sum_of_content(a); /* here, so that the commit thread need not */
    commit_send(s, &a->node);
}

void spool_mark(struct spool *s, const struct spool_mark *marks, unsigned n)
{
    if (n == 0)
        return;
    struct marks_node *m = mem_alloc(sizeof(*m) + n * sizeof(*marks));
    m->node.run = node_is_marks;
    m->n = n;
    memcpy(m->v, marks, n * sizeof(*marks));
    commit_send(s, &m->node);
}

bool spool_is_full(const struct spool *s)
{
    return atomic_load_explicit(&s->full, memory_order_relaxed);
}

void spool_status(struct spool *s, struct spool_status *out)
{
    *out = (struct spool_status){0};
    spool_lock(s);
    out->messages = s->table.n;
    for (unsigned i = 0; i < s->n_segment; i++) {
        const struct segment *g = s->segment[i];
        if (g == NULL)
            continue;
        out->segments++;
        out->segments_free += g->state == SEGMENT_READY;
        out->bytes_living += g->living_bytes;
    }
    out->disk_free = s->disk_free;
    out->syncs = s->syncs;
    out->appended = s->appended;
    out->quarantined = s->quarantined;
    out->full = atomic_load(&s->full);
    memcpy(out->last_error, fault_is_over(s) ? s->last_error : s->fault, sizeof(out->last_error));
    spool_unlock(s);
}
