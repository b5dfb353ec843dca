/*
 * store.c - see store.h. Owned by the source's thread; all file operations through s->ops.
 */
#include "directory/store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"

#define JOURNAL_MAGIC   "CWDIRJNL"
#define JOURNAL_VERSION 1
#define RECORD_MARK     0x31434552u /* "REC1" */

struct journal_header {
    char magic[8];
    uint32_t version, byte_order;
    uint64_t salt;
    uint64_t checksum; /* of the octets before */
};
struct journal_record {
    uint32_t mark, spare;
    uint64_t size;
    uint64_t checksum; /* of the table, seeded with the salt */
};
STATIC_ASSERT(sizeof(struct journal_header) == 32, "part of the format");
STATIC_ASSERT(sizeof(struct journal_record) == 24, "part of the format");

static struct journal_header header_for(uint64_t salt)
{
    struct journal_header h = {.version = JOURNAL_VERSION, .byte_order = 0x01020304u, .salt = salt};
    memcpy(h.magic, JOURNAL_MAGIC, sizeof(h.magic));
    h.checksum = hash64(&h, offsetof(struct journal_header, checksum));
    return h;
}

static void give_up(struct store *s, const char *what, const struct err *e)
{
    LOG(ERROR, s->name, "directory-journal-failed", LC("step", what), LC("error", e->text),
        LC("effect", "changes are not kept on disk until the next snapshot"));
    if (s->fd >= 0)
        s->ops->close(s->fd);
    s->fd = -1;
}

/* ---- opening ---- */

/* Takes over `t`, in memory and verified, or NULL. */
static struct dir_table *settled(struct dir_table *t, struct err *e)
{
    struct dir_table *m = table_in_memory(t);
    if (m != NULL) {
        table_unref(&t);
        t = m;
    }
    if (!table_verify(t, e))
        table_unref(&t);
    return t;
}

static void refuse(struct store *s, const struct err *e)
{
    LOG(ERROR, s->name, "directory-snapshot-refused", LC("file", s->snapshot_path),
        LC("error", e->text),
        LC("effect", "it is removed and everything is read from the source again; until then "
                     "unknown recipients get 451"));
    s->ops->unlink(s->snapshot_path);
}

/* The base, NULL if there is none. False: it may be good but cannot be read now. */
static bool open_snapshot(struct store *s, uint64_t verify_max, struct dir_table **out,
                          struct err *e)
{
    err_clear(e);
    struct dir_table *t = table_open(s->snapshot_path, e);
    if (t == NULL && e->class == ERR_SYSTEM && e->errnum != ENOENT)
        return false;
    bool damaged = t == NULL && e->class != ERR_SYSTEM;
    s->unverified = t != NULL && table_image(t).n > verify_max;
    if (t != NULL && !s->unverified) {
        t = settled(t, e);
        damaged = t == NULL;
    }
    if (damaged)
        refuse(s, e);
    if (t != NULL)
        s->salt = table_header(t)->salt;
    *out = t;
    return true;
}

/* One record at *at; NULL at the end or at what is not whole, with *e only if that is not known
 * because it cannot be read now. */
static struct dir_table *read_record(struct store *s, int fd, off_t *at, off_t size, struct err *e)
{
    struct journal_record r;
    struct err bad;
    size_t got;
    err_clear(e);
    if (!file_read_at(s->ops, fd, &r, sizeof(r), *at, &got, e) || got != sizeof(r) ||
        r.mark != RECORD_MARK || r.spare != 0 || r.size < sizeof(struct table_header) ||
        r.size > (uint64_t)(size - *at) - sizeof(r))
        return NULL;
    size_t room = (r.size + 63) & ~(size_t)63;
    void *image = aligned_alloc(64, room);
    if (image == NULL) {
        err_set(e, ERR_SYSTEM, ENOMEM, "%s", s->journal_path);
        return NULL;
    }
    if (!file_read_at(s->ops, fd, image, r.size, *at + (off_t)sizeof(r), &got, e) ||
        got != r.size || hash64_seed(image, r.size, s->salt) != r.checksum) {
        free(image);
        return NULL;
    }
    struct dir_table *t = table_from_image(image, r.size, &bad);
    if (t != NULL)
        *at += (off_t)(sizeof(r) + r.size);
    return t;
}

static bool journal_start(struct store *s, struct err *e)
{
    struct journal_header h = header_for(s->salt);
    struct iovec iov = {&h, sizeof(h)};
    if (s->ops->ftruncate(s->fd, 0) != 0)
        return err_set(e, ERR_SYSTEM, errno, "%s: ftruncate", s->journal_path);
    if (!file_write_all(s->ops, s->fd, &iov, 1, 0, e))
        return false;
    if (s->ops->fdatasync(s->fd) != 0)
        return err_set(e, ERR_SYSTEM, errno, "%s: fdatasync", s->journal_path);
    s->end = sizeof(h);
    return true;
}

/* What may stand at the end of a journal after a power failure stands there after a damage, too. */
static void say_cut(const struct store *s, off_t size)
{
    LOG(WARN, s->name, "directory-journal-cut", LC("file", s->journal_path),
        LI("good_octets", s->end), LI("octets", size),
        LC("effect", "what follows is not whole and is dropped; the source is asked again for all "
                     "changes since"));
}

/* Not of our snapshot: left from before it, which is as it should be, or not to be read. */
static void say_foreign(const struct store *s, off_t size)
{
    struct journal_header h, want = header_for(0);
    size_t got;
    struct err e;
    const char *why = "damaged or cut short";
    if (size == 0)
        return;
    if (file_read_at(s->ops, s->fd, &h, sizeof(h), 0, &got, &e) && got == sizeof(h)) {
        if (h.checksum == hash64(&h, offsetof(struct journal_header, checksum)) &&
            memcmp(&h, &want, offsetof(struct journal_header, salt)) == 0)
            return;
        if (memcmp(h.magic, want.magic, sizeof(h.magic)) == 0 && h.byte_order != want.byte_order)
            why = "written on a machine with another byte order, or damaged";
        else if (memcmp(h.magic, want.magic, sizeof(h.magic)) == 0 && h.version != want.version)
            why = "in a format of another version";
    }
    LOG(ERROR, s->name, "directory-journal-refused", LC("file", s->journal_path), LC("error", why),
        LC("effect", "it is begun anew; the source is asked again for all changes since the "
                     "snapshot"));
}

static bool journal_belongs(struct store *s, int fd, bool *result, struct err *e)
{
    struct journal_header h, want = header_for(s->salt);
    size_t got;
    if (!file_read_at(s->ops, fd, &h, sizeof(h), 0, &got, e))
        return false;
    *result = got == sizeof(h) && memcmp(&h, &want, sizeof(h)) == 0;
    return true;
}

/* All whole records as one table on the stack. */
static bool journal_replay(struct store *s, off_t size, struct dir_stack **stack, struct err *e)
{
    struct dir_table **t = NULL, *record;
    size_t n = 0, cap = 0;
    while ((record = read_record(s, s->fd, &s->end, size, e)) != NULL) {
        if (n == cap) {
            cap = cap == 0 ? 64 : cap * 2;
            t = mem_realloc(t, cap * sizeof(*t));
        }
        t[n++] = record;
    }
    bool ok = e->class == ERR_NONE;
    if (ok && n != 0) {
        struct dir_stack *next = stack_push(*stack, stack_merge(t, n));
        stack_unref(stack);
        *stack = next;
    }
    for (size_t i = 0; i < n; i++)
        table_unref(&t[i]);
    mem_free(t);
    return ok;
}

static bool journal_open(struct store *s, struct dir_stack **stack, struct err *e)
{
    bool ours;
    s->fd = s->ops->open(s->journal_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->fd < 0)
        return err_set(e, ERR_SYSTEM, errno, "%s", s->journal_path);
    if (!journal_belongs(s, s->fd, &ours, e))
        return false;
    off_t size = lseek(s->fd, 0, SEEK_END);
    if (!ours) {
        say_foreign(s, size);
        return journal_start(s, e);
    }
    s->end = sizeof(struct journal_header);
    if (!journal_replay(s, size, stack, e))
        return false;
    if (size > s->end)
        say_cut(s, size);
    if (size > s->end && s->ops->ftruncate(s->fd, s->end) != 0)
        return err_set(e, ERR_SYSTEM, errno, "%s: ftruncate", s->journal_path);
    return true;
}

bool store_open(struct store *s, const char *folder, const char *name, const struct file_ops *ops,
                uint64_t verify_max, struct dir_stack **out, struct err *e)
{
    *s = (struct store){.ops = ops, .fd = -1};
    s->name = str_dup(str_c(name));
    s->snapshot_path = mem_printf("%s/directory-%s.snapshot", folder, name);
    s->journal_path = mem_printf("%s/directory-%s.journal", folder, name);
    s->held_path = mem_printf("%s/directory-%s.held", folder, name);
    struct dir_table *base;
    if (open_snapshot(s, verify_max, &base, e)) {
        *out = stack_new(base);
        if (journal_open(s, out, e))
            return true;
        stack_unref(out);
    }
    store_close(s);
    return false;
}

void store_close(struct store *s)
{
    if (s->fd >= 0)
        s->ops->close(s->fd);
    s->fd = -1;
    mem_free(s->name);
    mem_free(s->snapshot_path);
    mem_free(s->journal_path);
    mem_free(s->held_path);
    s->name = s->snapshot_path = s->journal_path = s->held_path = NULL;
}

bool store_settle(struct store *s, struct dir_stack **stack)
{
    struct err e;
    if (!s->unverified || !(*stack)->has_base)
        return true;
    s->unverified = false;
    struct dir_table *base = settled(table_ref((*stack)->t[(*stack)->n - 1]), &e);
    if (base != NULL) {
        struct dir_stack *next = stack_rebase(*stack, base);
        stack_unref(stack);
        *stack = next;
        return true;
    }
    refuse(s, &e);
    s->salt = 0;
    if (s->fd >= 0 && !journal_start(s, &e))
        give_up(s, "restart", &e);
    return false;
}

/* ---- writing ---- */

static struct journal_record record_for(const struct store *s, struct str image)
{
    return (struct journal_record){
        .mark = RECORD_MARK, .size = image.n, .checksum = hash64_seed(image.p, image.n, s->salt)};
}

void store_append(struct store *s, const struct dir_table *t)
{
    struct str image = table_image(t);
    struct journal_record r = record_for(s, image);
    struct iovec iov[] = {{&r, sizeof(r)}, {(void *)image.p, image.n}};
    struct err e;
    if (s->fd < 0)
        return;
    if (file_write_all(s->ops, s->fd, iov, 2, s->end, &e))
        s->end += (off_t)(sizeof(r) + image.n);
    else
        give_up(s, "append", &e);
}

void store_sync(struct store *s)
{
    struct err e;
    if (s->fd >= 0 && s->ops->fdatasync(s->fd) != 0) {
        err_set(&e, ERR_SYSTEM, errno, "%s: fdatasync", s->journal_path);
        give_up(s, "sync", &e);
    }
}

struct dir_table *store_snapshot(struct store *s, struct table_builder *b, struct table_meta *m,
                                 struct err *e)
{
    do
        random_bytes(&m->salt, sizeof(m->salt));
    while (m->salt == 0);
    if (!table_builder_write(b, m, s->ops, s->snapshot_path, e))
        return NULL;
    s->salt = m->salt;
    s->unverified = false;
    if (s->fd < 0)
        s->fd = s->ops->open(s->journal_path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct err je;
    if (s->fd < 0) {
        err_set(&je, ERR_SYSTEM, errno, "%s", s->journal_path);
        give_up(s, "open", &je);
    } else if (!journal_start(s, &je)) {
        give_up(s, "restart", &je);
    }
    struct dir_table *t = table_open(s->snapshot_path, e);
    struct dir_table *memory = t != NULL ? table_in_memory(t) : NULL;
    if (memory == NULL)
        return t;
    table_unref(&t);
    return memory;
}

/* ---- a held change ---- */

bool store_held_read(struct store *s, bool *there, struct dir_table **out, struct err *e)
{
    bool ours = false;
    *out = NULL;
    int fd = s->ops->open(s->held_path, O_RDONLY | O_CLOEXEC, 0);
    *there = fd >= 0;
    if (fd < 0)
        return errno == ENOENT || err_set(e, ERR_SYSTEM, errno, "%s", s->held_path);
    off_t at = sizeof(struct journal_header), size = lseek(fd, 0, SEEK_END);
    bool ok = journal_belongs(s, fd, &ours, e);
    if (ok && ours) {
        *out = read_record(s, fd, &at, size, e);
        ok = *out != NULL || e->class == ERR_NONE;
    }
    s->ops->close(fd);
    return ok;
}

void store_held_write(struct store *s, const struct dir_table *t)
{
    struct str image = table_image(t);
    struct journal_header h = header_for(s->salt);
    struct journal_record r = record_for(s, image);
    struct iovec iov[] = {{&h, sizeof(h)}, {&r, sizeof(r)}, {(void *)image.p, image.n}};
    struct err e;
    if (!file_replace_pieces(s->ops, s->held_path, iov, 3, 0600, &e))
        LOG(ERROR, s->name, "directory-held-change-not-kept", LC("error", e.text),
            LC("effect", "after a restart it is read from the source again"));
}

void store_held_drop(struct store *s)
{
    if (s->ops->unlink(s->held_path) != 0 && errno != ENOENT)
        LOG(WARN, s->name, "directory-held-change-not-removed", LC("file", s->held_path),
            LC("error", strerror(errno)));
}

uint64_t store_bytes(const struct store *s, const struct dir_stack *stack)
{
    return store_journal_bytes(s) + (stack->has_base ? table_image(stack->t[stack->n - 1]).n : 0);
}
