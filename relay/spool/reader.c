/*
 * reader.c - reading a message back. The record is found in the table and its segment pinned, so
 * that it is not used again under the reader; small messages come with the first read. Header and
 * envelope are checked at once, content before its last byte is handed out. Damaged: quarantined.
 * Any thread; one reader belongs to one.
 */
#include "relay/spool/spool_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/mem.h"

#define WHOLE_MAX (32u * 1024) /* records up to this are read in one piece */
#define FIRST     4096u

struct spool_reader {
    struct spool *s;
    struct segment *g;
    struct disk_record h;
    int fd;               /* of the file in large/, or -1 */
    uint64_t at;          /* of the content in the file */
    size_t meta;          /* its length */
    unsigned char *bytes; /* record from its header; all of it if `whole` */
    bool whole, checked;
    struct hash_state *hash; /* of what was read in order so far */
    uint64_t hashed;
};

static bool damaged(struct spool *s, uint64_t id, struct err *e, const char *why)
{
    quarantine_message(s, id, why);
    return err_set(e, ERR_CORRUPT, 0, "the message is damaged on disk (%s)", why);
}

/* Header and meta part into r->bytes, all of the record if it is small. */
static bool read_record(struct spool_reader *r, uint64_t id, uint64_t off, uint64_t length,
                        struct err *e)
{
    size_t want = length <= WHOLE_MAX ? (size_t)length : FIRST, got = 0;
    r->bytes = mem_alloc(want);
    if (!file_read_at(r->s->ops, r->g->fd, r->bytes, want, (off_t)off, &got, e))
        return false;
    memcpy(&r->h, r->bytes, sizeof(r->h));
    if (got < want || !record_is_sane(&r->h, length) || r->h.id != id)
        return damaged(r->s, id, e, "record header");
    r->meta = record_meta_len(&r->h);
    size_t need = sizeof(r->h) + r->meta;
    if (need > want) {
        r->bytes = mem_realloc(r->bytes, need);
        if (!file_read_at(r->s->ops, r->g->fd, r->bytes + want, need - want, (off_t)(off + want),
                          &got, e))
            return false;
        if (got < need - want)
            return damaged(r->s, id, e, "record header");
    }
    if (r->h.sum != record_sum(r->bytes, r->meta, r->g->salt, off))
        return damaged(r->s, id, e, "envelope");
    r->whole = want == length && r->h.type == DISK_MESSAGE;
    r->at = off + need;
    if (r->whole && hash64_seed(r->bytes + need, (size_t)r->h.content_len, id) != r->h.content_sum)
        return damaged(r->s, id, e, "content");
    r->checked = r->whole;
    return true;
}

static bool open_large(struct spool_reader *r, struct err *e)
{
    char path[PATH_MAX];
    if (r->h.type != DISK_LARGE)
        return true;
    r->at = 0;
    r->fd = r->s->ops->open(spool_large_path(r->s, path, r->h.id), O_RDONLY | O_CLOEXEC, 0);
    if (r->fd >= 0)
        return true;
    if (errno == ENOENT)
        return damaged(r->s, r->h.id, e, "its file is missing");
    return err_set(e, ERR_SYSTEM, errno, "cannot open %s", path);
}

struct spool_reader *spool_reader_open(struct spool *s, uint64_t id, struct err *e)
{
    spool_lock(s);
    const struct entry *at = table_find(&s->table, id);
    bool bad = at != NULL && (at->more & ENTRY_BAD) != 0;
    if (at == NULL || bad) {
        spool_unlock(s);
        err_set(e, bad ? ERR_CORRUPT : ERR_INPUT, 0,
                bad ? "the message is damaged on disk" : "there is no such message in the spool");
        return NULL;
    }
    struct spool_reader *r = NEW(struct spool_reader);
    r->s = s;
    r->fd = -1;
    r->g = s->segment[at->slot];
    uint64_t off = (uint64_t)at->unit * DISK_ALIGN, length = (uint64_t)at->units * DISK_ALIGN;
    segment_pin(r->g);
    spool_unlock(s);
    if (!read_record(r, id, off, length, e) || !open_large(r, e))
        spool_reader_close(&r);
    return r;
}

struct str spool_reader_envelope(const struct spool_reader *r)
{
    return str_n((const char *)r->bytes + sizeof(r->h), r->h.envelope_len);
}

uint64_t spool_reader_size(const struct spool_reader *r)
{
    return r->h.content_len;
}

bool spool_reader_8bit(const struct spool_reader *r)
{
    return (r->h.flags & DISK_8BIT) != 0;
}

/* Follows a read in order from the start; at the end the checksum must be right. */
static bool check_content(struct spool_reader *r, uint64_t off, const void *p, size_t n,
                          struct err *e)
{
    if (off == 0) {
        if (r->hash == NULL)
            r->hash = hash_state_new();
        hash_state_reset(r->hash, r->h.id);
        r->hashed = 0;
    }
    if (r->hash == NULL || off != r->hashed)
        return true;
    hash_state_add(r->hash, p, n);
    r->hashed += n;
    if (r->hashed < r->h.content_len)
        return true;
    r->checked = hash_state_end(r->hash) == r->h.content_sum;
    return r->checked || damaged(r->s, r->h.id, e, "content");
}

bool spool_reader_read(struct spool_reader *r, uint64_t off, void *p, size_t n, size_t *got,
                       struct err *e)
{
    *got = 0;
    if (off >= r->h.content_len || n == 0)
        return true;
    if (n > r->h.content_len - off)
        n = (size_t)(r->h.content_len - off);
    if (r->whole) {
        memcpy(p, r->bytes + sizeof(r->h) + r->meta + off, n);
        *got = n;
        return true;
    }
    size_t have = 0;
    if (!file_read_at(r->s->ops, r->fd >= 0 ? r->fd : r->g->fd, p, n, (off_t)(r->at + off), &have,
                      e))
        return false;
    if (have < n)
        return damaged(r->s, r->h.id, e, "its file is too short");
    if (!r->checked && !check_content(r, off, p, n, e))
        return false;
    *got = n;
    return true;
}

void spool_reader_close(struct spool_reader **r)
{
    if (*r == NULL)
        return;
    if ((*r)->fd >= 0)
        (*r)->s->ops->close((*r)->fd);
    segment_unpin((*r)->s, (*r)->g);
    hash_state_free(&(*r)->hash);
    mem_free((*r)->bytes);
    mem_free(*r);
    *r = NULL;
}
