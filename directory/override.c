/*
 * override.c - see override.h. A torn last line is cut on opening. A journal longer than 16 MB is
 * rewritten with only what counts now.
 */
#include "directory/override.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "directory/map.h"
#include "rewrite/address.h"

#define FILE_MAX      ((size_t)256 << 20)
#define COMPACT_BYTES ((size_t)16 << 20)

struct overrides {
    const struct file_ops *ops;
    char *path;
    int fd; /* -1 after a compaction, until the next change */
    off_t end;
    struct dir_stack *stack;
};

struct dir_stack *overrides_stack(const struct overrides *o)
{
    return o->stack;
}

static bool key_split(struct str key, struct dir_address *out)
{
    long at = str_rfind(key, '@');
    if (at <= 0 || (size_t)at + 1 == key.n || key.n > ADDRESS_MAX)
        return false;
    for (size_t i = 0; i < key.n; i++)
        if ((unsigned char)key.p[i] < ' ' || key.p[i] == 0x7f)
            return false;
    *out = (struct dir_address){str_upto(key, (size_t)at), str_from(key, (size_t)at + 1)};
    return true;
}

/* forest empty: unset. */
static void entry_of(const struct dir_address *a, struct str key, struct str forest,
                     struct dir_entry *out)
{
    *out = (struct dir_entry){.tombstone = forest.n == 0,
                              .kind = DIR_OVERRIDE,
                              .evidence = DIR_EVIDENCE_OVERRIDE,
                              .flag = forest,
                              .n_address = 1,
                              .address = (struct dir_address *)a};
    map_uuid_from_dn(key, out->uuid);
}

static void push(struct overrides *o, struct table_builder *b)
{
    struct table_meta m = {0};
    struct dir_stack *next = stack_push(o->stack, table_builder_finish(b, &m));
    stack_unref(&o->stack);
    o->stack = next;
}

static bool has(const struct overrides *o, struct str key)
{
    struct table_record r;
    return stack_find_key(o->stack, key, hash64(key.p, key.n), &r, 1) != 0;
}

/* ---- the journal ---- */

/* One line, without its newline: time, verb, key, forest, who. */
static bool line_read(struct str line, struct str *key, struct str *forest)
{
    struct dir_address a;
    str_split(&line, '\t');
    struct str verb = str_split(&line, '\t');
    *key = str_split(&line, '\t');
    *forest = str_split(&line, '\t');
    if (str_eq(verb, STR("unset")))
        *forest = STR_NULL;
    else if (!str_eq(verb, STR("set")) || forest->n == 0 || forest->n > DIR_FLAG_MAX)
        return false;
    return key_split(*key, &a);
}

static void load_lines(struct overrides *o, struct str text)
{
    unsigned number = 0;
    struct table_builder *b = table_builder_new();
    for (; text.n != 0; number++) {
        struct str line = str_split(&text, '\n'), key, forest;
        struct dir_address a;
        struct dir_entry e;
        if (!line_read(line, &key, &forest) || !key_split(key, &a)) {
            LOG(ERROR, "overrides", "directory-override-skipped", LC("file", o->path),
                LU("line", number + 1), LC("why", "not a line of this file's form"));
            continue;
        }
        /* one table per change is slow for a long journal and right; the stack merges them */
        entry_of(&a, key, forest, &e);
        if (table_builder_add(b, &e) != TABLE_NO_ENTRY)
            push(o, b);
    }
    table_builder_free(&b);
}

static bool load(struct overrides *o, struct err *e)
{
    struct buf text = BUF_INIT(FILE_MAX);
    bool ok = file_read_all(o->path, &text, e);
    if (ok) {
        long last = str_rfind(buf_str(&text), '\n');
        o->end = last + 1;
        load_lines(o, str_upto(buf_str(&text), (size_t)(last + 1)));
        ok = o->ops->ftruncate(o->fd, o->end) == 0 || err_set(e, ERR_SYSTEM, errno, "%s", o->path);
    }
    buf_free(&text);
    return ok;
}

static bool file_open(struct overrides *o, int create, struct err *e)
{
    o->fd = o->ops->open(o->path, O_RDWR | O_CLOEXEC | create, 0600);
    return o->fd >= 0 || err_set(e, ERR_SYSTEM, errno, "%s", o->path);
}

static void file_drop(struct overrides *o)
{
    if (o->fd >= 0)
        o->ops->close(o->fd);
    o->fd = -1;
}

/* The file of that name is another one now, with whole lines only. */
static bool file_turn(struct overrides *o, struct err *e)
{
    file_drop(o);
    if (!file_open(o, 0, e))
        return false;
    o->end = lseek(o->fd, 0, SEEK_END);
    return true;
}

struct overrides *overrides_open(const char *state_dir, const struct file_ops *ops, struct err *e)
{
    struct overrides *o = NEW(struct overrides);
    o->ops = ops;
    o->path = mem_printf("%s/overrides.journal", state_dir);
    o->stack = stack_new(NULL);
    if (file_open(o, O_CREAT, e) && load(o, e))
        return o;
    overrides_close(&o);
    return NULL;
}

void overrides_close(struct overrides **op)
{
    struct overrides *o = *op;
    *op = NULL;
    if (o == NULL)
        return;
    file_drop(o);
    stack_unref(&o->stack);
    mem_free(o->path);
    mem_free(o);
}

static bool line_format(struct buf *out, const char *verb, struct str key, struct str forest,
                        struct str who)
{
    char when[40];
    clock_rfc3339(clock_wall_ms(), when, sizeof(when));
    return buf_printf(out, "%s\t%s\t", when, verb) && buf_append_str(out, key) &&
           buf_append_char(out, '\t') && buf_append_str(out, forest) &&
           buf_append_char(out, '\t') && escape_append(out, who, 200) && buf_append_char(out, '\n');
}

static bool append(struct overrides *o, const char *verb, struct str key, struct str forest,
                   struct str who, struct err *e)
{
    struct buf line = BUF_INIT(4096);
    bool ok = line_format(&line, verb, key, forest, who) ||
              err_set(e, ERR_INPUT, 0, "the address or the name is too long");
    struct iovec iov = {line.p, line.n};
    ok = ok && (o->fd >= 0 || file_turn(o, e));
    ok = ok && file_write_all(o->ops, o->fd, &iov, 1, o->end, e);
    ok = ok &&
         (o->ops->fdatasync(o->fd) == 0 || err_set(e, ERR_SYSTEM, errno, "%s: fdatasync", o->path));
    if (ok)
        o->end += (off_t)line.n;
    else if (o->fd >= 0 && o->ops->ftruncate(o->fd, o->end) != 0)
        err_wrap(e, "%s is damaged at its end", o->path);
    buf_free(&line);
    return ok;
}

/* What counts now, as if it had been set just now by "compaction". */
static void compact(struct overrides *o)
{
    struct buf text = BUF_INIT(FILE_MAX);
    struct stack_cursor c = {0};
    struct table_record r;
    struct err e;
    bool ok = true;
    while (ok && stack_next(o->stack, &c, &r)) {
        struct dir_entry entry;
        struct dir_address first;
        char key[ADDRESS_MAX + 1];
        ok = table_record_head(&r, &entry, &first) &&
             line_format(&text, "set", dir_address_key(&first, key), entry.flag, STR("compaction"));
    }
    if (ok && text.n < COMPACT_BYTES / 2) {
        bool replaced = file_replace(o->ops, o->path, text.p, text.n, 0600, &e);
        if (!replaced)
            LOG(ERROR, "overrides", "directory-overrides-not-compacted", LC("error", e.text));
        /* Even then the new file may be in place: nothing more is written to the old one. If it
         * cannot be opened now, the next change opens it or fails. */
        if (!file_turn(o, &e))
            LOG(ERROR, "overrides", "directory-overrides-failed", LC("error", e.text));
    }
    buf_free(&text);
}

static void apply(struct overrides *o, const struct dir_address *a, struct str key,
                  struct str forest)
{
    struct dir_entry entry;
    struct table_builder *b = table_builder_new();
    entry_of(a, key, forest, &entry);
    if (table_builder_add(b, &entry) != TABLE_NO_ENTRY)
        push(o, b);
    table_builder_free(&b);
    if (o->end > (off_t)COMPACT_BYTES)
        compact(o);
}

bool overrides_set(struct overrides *o, struct str key, struct str forest, struct str who,
                   struct err *e)
{
    struct dir_address a;
    if (!key_split(key, &a))
        return err_set(e, ERR_INPUT, 0, "not an address; expected local@domain");
    if (forest.n == 0 || forest.n > DIR_FLAG_MAX)
        return err_set(e, ERR_INPUT, 0, "the forest's name must have 1 to %d octets", DIR_FLAG_MAX);
    if (!append(o, "set", key, forest, who, e))
        return false;
    apply(o, &a, key, forest);
    return true;
}

bool overrides_unset(struct overrides *o, struct str key, struct str who, struct err *e)
{
    struct dir_address a;
    if (!key_split(key, &a) || !has(o, key))
        return err_set(e, ERR_INPUT, 0, "there is no override for this address");
    if (!append(o, "unset", key, STR("-"), who, e))
        return false;
    apply(o, &a, key, STR_NULL);
    return true;
}
