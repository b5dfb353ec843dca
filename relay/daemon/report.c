/*
 * report.c - delivery status notifications: who gets one, its text, and its way into the spool.
 *
 * The notification and the marks of the recipients that it reports are one record in the spool:
 * after a crash either both are there or neither. Where nobody wants a report (null sender,
 * NOTIFY=NEVER ...) only the marks are written. A report that would not fit in a segment of the
 * spool becomes several. One that cannot be written is not given up: the queue keeps the
 * recipients and comes again; but those that were delivered have left it, so their report waits
 * here, ready as it is, until it can be written. Only so many wait, and not over a restart.
 */
#include "relay/daemon/worker_int.h"

#include <stddef.h>

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"
#include "relay/dsn/dsn.h"

#define DSN_BYTES_MAX   (32u << 20)
#define HEADER_READ_MAX 65536
#define WAITING_MAX     256

struct report {
    struct spool_append append;
    struct loop_task task;   /* when there is nothing to write */
    struct list_node node;   /* of w->waiting_reports */
    struct loop_timer timer; /* while it is there */
    struct worker *w;
    enum queue_report kind;
    void *token; /* NULL: the queue was told */
    uint64_t orig_id;
    struct buf text, envelope;
    struct iovec iov;
    struct spool_mark *marks;
    unsigned n_marks;
    bool is_8bit;
    bool not_made;
};

static void report_free(struct report *r)
{
    buf_free(&r->text);
    buf_free(&r->envelope);
    mem_free(r->marks);
    mem_free(r);
}

/* ---- what goes into the text ---- */

/* The header of the original, or all of it if that is wanted and short enough. */
static void read_original(struct worker *w, uint64_t id, bool full, struct buf *out, bool *whole)
{
    struct err e;
    struct spool_reader *r = spool_reader_open(w->deps.spool, id, &e);
    *whole = false;
    if (r == NULL)
        return;
    uint64_t size = spool_reader_size(r);
    bool all = full && size <= w->conf->dsn.return_bytes_max && size <= DSN_BYTES_MAX / 4 &&
               size <= spool_segment_bytes(w->deps.spool) / 4;
    size_t want = all || size < HEADER_READ_MAX ? (size_t)size : HEADER_READ_MAX, got = 0;
    if (buf_reserve(out, want) && spool_reader_read(r, 0, out->p, want, &got, &e)) {
        out->n = got;
        *whole = all && got == size;
    }
    spool_reader_close(&r);
}

static struct str header_of(struct str content)
{
    for (size_t i = 0; i + 3 < content.n; i++)
        if (memcmp(content.p + i, "\r\n\r\n", 4) == 0)
            return str_upto(content, i + 4);
    return content;
}

static enum dsn_kind kind_of(enum queue_report kind)
{
    switch (kind) {
    case QUEUE_REPORT_FAILURE:
        return DSN_FAILED;
    case QUEUE_REPORT_DELAY:
        return DSN_DELAYED;
    case QUEUE_REPORT_SUCCESS:
        break;
    }
    return DSN_RELAYED;
}

static bool wants(const struct envelope *env, enum queue_report kind, const struct queue_end *end)
{
    if (env->sender.n == 0)
        return false;
    if (kind == QUEUE_REPORT_SUCCESS && end->relayed_to_dsn)
        return false; /* the next hop's duty now, RFC 3461 5.2.2 */
    return dsn_is_wanted(&env->rcpt[end->index], kind_of(kind));
}

static struct dsn_rcpt in_report(const struct envelope *env, const struct queue_end *end)
{
    return (struct dsn_rcpt){
        .rcpt = &env->rcpt[end->index],
        .reply = end->reply,
        .expired = end->expired,
        .remote_host = end->remote_host,
        .last_attempt_ms = end->last_attempt_ms,
        .will_retry_until_ms = end->tried_until_ms,
    };
}

static unsigned choose(const struct envelope *env, enum queue_report kind,
                       const struct queue_end *ends, unsigned n, struct dsn_rcpt *out)
{
    unsigned k = 0;
    for (unsigned i = 0; i < n; i++) {
        if (wants(env, kind, &ends[i]))
            out[k++] = in_report(env, &ends[i]);
    }
    return k;
}

/* What is said of the recipients has half of the room, the original a quarter. */
unsigned worker_report_fits(const struct worker *w, const struct envelope *env,
                            const struct queue_end *ends, unsigned n)
{
    uint64_t max = spool_segment_bytes(w->deps.spool), size = 0;
    if (max > DSN_BYTES_MAX)
        max = DSN_BYTES_MAX;
    for (unsigned i = 0; i < n; i++) {
        const struct dsn_rcpt r = in_report(env, &ends[i]);
        size += dsn_rcpt_size_max(&r);
        if (i > 0 && size > max / 2)
            return i;
    }
    return n;
}

static bool make_text(struct report *r, uint64_t orig_id, const struct envelope *env,
                      enum queue_report kind, const struct dsn_rcpt *rcpt, unsigned n)
{
    struct worker *w = r->w;
    struct buf original = BUF_INIT(DSN_BYTES_MAX);
    char id_text[14], orig_text[14];
    bool whole;
    spool_id_text(r->append.id, id_text);
    spool_id_text(orig_id, orig_text);
    bool full = env->ret != MAIL_RET_HDRS && kind == QUEUE_REPORT_FAILURE;
    read_original(w, orig_id, full, &original, &whole);
    const struct dsn_request q = {
        .kind = kind_of(kind),
        .hostname = w->conf->hostname,
        .from = w->conf->dsn.postmaster,
        .id_text = id_text,
        .orig_id_text = orig_text,
        .env = env,
        .rcpt = rcpt,
        .n_rcpt = n,
        .now_ms = clock_wall_ms(),
        .original_header = header_of(buf_str(&original)),
        .original = whole ? buf_str(&original) : STR_NULL,
    };
    bool ok = dsn_build(&q, &r->text, &r->is_8bit);
    buf_free(&original);
    return ok;
}

static bool make_envelope(struct report *r, const struct envelope *orig)
{
    struct envelope_rcpt to = {.address = orig->sender, .notify = MAIL_NOTIFY_NEVER};
    const struct envelope env = {
        .arrival_ms = clock_wall_ms(),
        .body = r->is_8bit ? MAIL_BODY_8BITMIME : MAIL_BODY_7BIT,
        .smtputf8 = orig->smtputf8,
        .origin = MAIL_FROM_LOCAL,
        .n_rcpt = 1,
        .rcpt = &to,
    };
    return envelope_encode(&env, &r->envelope);
}

/* ---- into the spool ---- */

static void tell_queue(struct report *r, bool ok)
{
    r->w->reports--;
    if (r->token != NULL)
        queue_report_done(r->w->queue, r->token, ok);
    r->token = NULL;
}

static void submit(struct report *r);

static void on_timer(struct loop_timer *t)
{
    struct report *r = CONTAINER_OF(t, struct report, timer);
    struct worker *w = r->w;
    list_remove(&r->node);
    w->n_waiting_reports--;
    w->reports++;
    r->append.id = spool_next_id(w->deps.spool); /* the one before may be half on disk */
    submit(r);
}

static void wait_and_try_again(struct report *r)
{
    struct worker *w = r->w;
    r->n_marks = 0; /* the queue has marked them */
    list_push_back(&w->waiting_reports, &r->node);
    w->n_waiting_reports++;
    loop_timer_init(&r->timer, w->loop, on_timer);
    loop_timer_set(&r->timer, w->conf->queue.retry_min_ms);
}

static void give_up(struct report *r)
{
    char orig_text[14];
    spool_id_text(r->orig_id, orig_text);
    LOG(WARN, orig_text, "dsn-given-up");
    report_free(r);
}

void worker_reports_free(struct worker *w)
{
    for (struct list_node *n; (n = list_pop_front(&w->waiting_reports)) != NULL;) {
        struct report *r = CONTAINER_OF(n, struct report, node);
        loop_timer_clear(&r->timer);
        give_up(r);
    }
}

static void append_done(struct chan_node *node)
{
    struct report *r =
        CONTAINER_OF(CONTAINER_OF(node, struct spool_append, node), struct report, append);
    struct worker *w = r->w;
    bool ok = r->append.result == SPOOL_OK;
    char id_text[14], orig_text[14];
    spool_id_text(r->append.id, id_text);
    spool_id_text(r->orig_id, orig_text);
    if (ok) {
        stats_inc(STAT_dsn_sent);
        LOG(INFO, id_text, "dsn", LC("about", orig_text), LU("size", r->append.content_size));
        queue_add(w->queue, r->append.id, buf_str(&r->envelope), r->append.content_size,
                  r->is_8bit);
    } else {
        LOG(WARN, orig_text, "dsn-not-written", LC("why", r->append.err.text));
    }
    tell_queue(r, ok);
    if (ok || r->kind != QUEUE_REPORT_SUCCESS)
        report_free(r);
    else if (w->n_waiting_reports < WAITING_MAX)
        wait_and_try_again(r);
    else
        give_up(r);
}

static void nothing_to_write(struct loop_task *t)
{
    struct report *r = CONTAINER_OF(t, struct report, task);
    if (!r->not_made)
        spool_mark(r->w->deps.spool, r->marks, r->n_marks);
    tell_queue(r, !r->not_made);
    report_free(r);
}

static void make_marks(struct report *r, enum queue_report kind, const struct queue_end *ends,
                       unsigned n)
{
    r->marks = mem_array(n + 1, sizeof(*r->marks));
    if (kind == QUEUE_REPORT_DELAY) {
        r->marks[r->n_marks++] = (struct spool_mark){
            .id = r->orig_id, .rcpt = SPOOL_RCPT_ALL, .kind = SPOOL_MARK_DELAY_NOTIFIED};
        return;
    }
    for (unsigned i = 0; i < n; i++)
        r->marks[r->n_marks++] = (struct spool_mark){
            .id = r->orig_id,
            .rcpt = ends[i].index,
            .kind = kind == QUEUE_REPORT_FAILURE ? SPOOL_MARK_FAILED : SPOOL_MARK_DELIVERED,
        };
}

static void submit(struct report *r)
{
    struct worker *w = r->w;
    r->iov = (struct iovec){.iov_base = r->text.p, .iov_len = r->text.n};
    r->append = (struct spool_append){
        .node.run = append_done,
        .reply_to = loop_chan(w->loop),
        .id = r->append.id,
        .envelope = buf_str(&r->envelope),
        .content = &r->iov,
        .n_content = 1,
        .content_size = r->text.n,
        .content_8bit = r->is_8bit,
        .n_rcpt = 1,
        .marks = r->marks,
        .n_marks = r->n_marks,
    };
    spool_submit(w->deps.spool, &r->append);
}

void worker_report(struct worker *w, uint64_t id, const struct envelope *env,
                   enum queue_report kind, const struct queue_end *ends, unsigned n, void *token)
{
    struct report *r = NEW(struct report);
    *r = (struct report){
        .w = w, .token = token, .kind = kind, .orig_id = id, .task.fn = nothing_to_write};
    w->reports++;
    buf_init(&r->text, DSN_BYTES_MAX);
    buf_init(&r->envelope, 65536);
    make_marks(r, kind, ends, n);

    struct dsn_rcpt *rcpt = mem_array(n, sizeof(*rcpt));
    unsigned k = choose(env, kind, ends, n, rcpt);
    r->append.id = k != 0 ? spool_next_id(w->deps.spool) : 0;
    bool made = k != 0 && make_text(r, id, env, kind, rcpt, k) && make_envelope(r, env);
    mem_free(rcpt);
    if (!made) {
        r->not_made = k != 0;
        if (r->not_made)
            LOG(ERROR, NULL, "dsn-not-made", LU("recipients", k));
        loop_task_add(w->loop, &r->task);
        return;
    }
    submit(r);
}
