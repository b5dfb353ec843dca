/*
 * quarantine.c - what was on disk for sure and is damaged now: its bytes are copied to quarantine/
 * as they are, for a person; the message is never read again and a mark removes it from the log. An
 * alarm is raised for each. A page that the disk does not give back becomes a hole. But what it
 * gives must be on disk in quarantine/ before the log lets go of it: if there is no room for that,
 * the segment stays as it is until the next start.
 */
#include "relay/spool/spool_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/stats.h"

#define PIECE (256u * 1024)

static bool copy_out(const struct file_ops *ops, int from_fd, uint64_t from, uint64_t to, int fd,
                     struct err *e)
{
    char *piece = mem_alloc(PIECE);
    bool ok = true;
    for (uint64_t at = from; ok && at < to;) {
        size_t want = to - at < PIECE ? (size_t)(to - at) : PIECE, got = 0;
        bool all = file_read_at(ops, from_fd, piece, want, (off_t)at, &got, NULL);
        struct iovec iov = {.iov_base = piece, .iov_len = got};
        ok = file_write_all(ops, fd, &iov, 1, (off_t)(at - from), e);
        at += got;
        if (!all)
            at = at / DISK_PAGE * DISK_PAGE + DISK_PAGE;
        else if (got < want)
            break; /* the file is shorter than it was */
    }
    mem_free(piece);
    if (ok && ops->fdatasync(fd) != 0)
        ok = err_set(e, ERR_SYSTEM, errno, "cannot sync");
    return ok;
}

bool quarantine_bytes(struct spool *s, const struct segment *g, uint64_t from, uint64_t to,
                      const char *name, struct err *e)
{
    char path[PATH_MAX], dir[PATH_MAX];
    /* if it is there an earlier process began with the same bytes */
    int fd = s->ops->open(spool_path(s, path, "quarantine", name),
                          O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_set(e, ERR_SYSTEM, errno, "cannot create %s", path);
    bool ok = copy_out(s->ops, g->fd, from, to, fd, e);
    s->ops->close(fd);
    if (!ok)
        err_wrap(e, "%s", path);
    return ok && file_sync_dir(s->ops, spool_path(s, dir, "quarantine", ""), e);
}

void quarantine_failed(struct spool *s, struct segment *g, struct err *e)
{
    err_wrap(e, "segment %08u stays as it is, what is damaged in it could not be set aside",
             g->slot);
    spool_alarm(s, "spool-quarantine-failed", NULL, e);
    spool_lock(s);
    g->kept = true;
    spool_unlock(s);
}

struct bad_node {
    struct chan_node node;
    struct spool *s;
    struct segment *g;
    uint64_t id, from, to;
    bool is_large;
};

static bool set_file_aside(struct spool *s, uint64_t id, const char *text, struct err *e)
{
    char name[32], from[PATH_MAX], to[PATH_MAX];
    snprintf(name, sizeof(name), "%s.large", text);
    spool_large_path(s, from, id);
    spool_path(s, to, "quarantine", name);
    if (s->ops->rename(from, to) != 0 && errno != ENOENT) /* that it is missing may be the damage */
        return err_set(e, ERR_SYSTEM, errno, "cannot move %s to %s", from, to);
    return file_sync_dir(s->ops, spool_path(s, to, "quarantine", ""), e) &&
           file_sync_dir(s->ops, spool_path(s, from, "large", ""), e);
}

/* On the keeper's thread. */
static void run_bad(struct chan_node *n)
{
    struct bad_node *b = CONTAINER_OF(n, struct bad_node, node);
    struct spool *s = b->s;
    struct spool_mark m = {.id = b->id, .rcpt = SPOOL_RCPT_ALL, .kind = SPOOL_MARK_REMOVED};
    struct err e;
    char text[14];
    spool_id_text(b->id, text);
    bool ok = quarantine_bytes(s, b->g, b->from, b->to, text, &e) &&
              (!b->is_large || set_file_aside(s, b->id, text, &e));
    if (!ok)
        quarantine_failed(s, b->g, &e);
    segment_unpin(s, b->g);
    if (ok)
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
    err_set(&alarm, ERR_CORRUPT, 0, "message %s is damaged on disk (%s); it goes to quarantine/",
            text, why);
    spool_alarm(s, "spool-message-damaged", text, &alarm);
    stats_inc(STAT_spool_quarantined);
    chan_send(s->keeper_in, &b->node);
}
