/*
 * quarantine.c - what was on disk for sure and is damaged now: its bytes are copied to quarantine/
 * as they are, for a person; the message is never read again and a mark removes it from the log. An
 * alarm is raised for each. Copying is best effort: the disk that damaged it may not give it back.
 */
#include "relay/spool/spool_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"

#define PIECE (256u * 1024)

static void copy_out(const struct file_ops *ops, int from_fd, uint64_t from, uint64_t to, int fd)
{
    char *piece = mem_alloc(PIECE);
    uint64_t at = 0;
    while (from < to) {
        size_t want = to - from < PIECE ? (size_t)(to - from) : PIECE, got = 0;
        bool ok = file_read_at(ops, from_fd, piece, want, (off_t)from, &got, NULL);
        struct iovec iov = {.iov_base = piece, .iov_len = got};
        file_write_all(ops, fd, &iov, 1, (off_t)at, NULL);
        if (!ok || got < want)
            break;
        from += got;
        at += got;
    }
    mem_free(piece);
    ops->fdatasync(fd);
}

void quarantine_bytes(struct spool *s, const struct segment *g, uint64_t from, uint64_t to,
                      const char *name)
{
    char path[PATH_MAX];
    int fd = s->ops->open(spool_path(s, path, "quarantine", name),
                          O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return; /* it is there from an earlier start, or there is no room: the alarm tells */
    copy_out(s->ops, g->fd, from, to, fd);
    s->ops->close(fd);
}

struct bad_node {
    struct chan_node node;
    struct spool *s;
    struct segment *g;
    uint64_t id, from, to;
    bool is_large;
};

/* On the keeper's thread. */
static void run_bad(struct chan_node *n)
{
    struct bad_node *b = CONTAINER_OF(n, struct bad_node, node);
    struct spool *s = b->s;
    char text[14], from[PATH_MAX], to[PATH_MAX];
    spool_id_text(b->id, text);
    quarantine_bytes(s, b->g, b->from, b->to, text);
    if (b->is_large) {
        char name[32];
        snprintf(name, sizeof(name), "%s.large", text);
        spool_large_path(s, from, b->id);
        s->ops->rename(from, spool_path(s, to, "quarantine", name));
    }
    segment_unpin(s, b->g);
    struct spool_mark m = {.id = b->id, .rcpt = SPOOL_RCPT_ALL, .kind = SPOOL_MARK_REMOVED};
    spool_mark(s, &m, 1);
    mem_free(b);
}

void quarantine_message(struct spool *s, uint64_t id, const char *why)
{
    struct bad_node *b = NULL;
    spool_lock(s);
    struct entry *e = table_find(&s->table, id);
    if (e != NULL && (e->more & ENTRY_BAD) == 0) {
        e->more |= ENTRY_BAD;
        b = NEW(struct bad_node);
        b->node.run = run_bad;
        b->s = s;
        b->g = s->segment[e->slot];
        b->id = id;
        b->from = (uint64_t)e->unit * DISK_ALIGN;
        b->to = b->from + (uint64_t)e->units * DISK_ALIGN;
        b->is_large = (e->more & ENTRY_LARGE) != 0;
        segment_pin(b->g);
        s->quarantined++;
    }
    spool_unlock(s);
    if (b == NULL)
        return;
    char text[14];
    struct err alarm;
    spool_id_text(id, text);
    err_set(&alarm, ERR_CORRUPT, 0, "message %s is damaged on disk (%s); it is in quarantine/",
            text, why);
    spool_alarm(s, "spool-message-damaged", text, &alarm);
    stats_inc(STAT_spool_quarantined);
    chan_send(s->keeper_in, &b->node);
}
