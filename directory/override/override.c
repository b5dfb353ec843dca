/*
 * override.c - the journal of moves: read at the start, appended to with each change, and the stack
 * that lookups see. See override.h.
 *
 * A change is made as lines, which are written and synced at once and then applied as if they had
 * been read. A torn end, and a wave without its commit line at the end, are cut on opening; a wave
 * of which lines are missing counts as little. A journal that has become long is written anew with
 * what still counts or can count again.
 */
#include "directory/override/override.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/mem.h"
#include "directory/map.h"
#include "directory/override/override_int.h"

#define FILE_MAX      ((size_t)256 << 20) /* what is longer could not be read at the next start */
#define RESERVE       ((size_t)1 << 20)   /* of it, for ending waves when no more can be ordered */
#define COMPACT_BYTES ((size_t)16 << 20)
#define WHO_MAX       200
#define WHY_MAX       400

struct overrides {
    const struct file_ops *ops;
    char *path;
    int fd; /* -1 after a compaction, until the next change */
    off_t end, compact_at;
    bool damaged; /* it may hold what was refused, or not be the file that a crash leaves */
    struct waves waves;
    struct dir_stack *stack;
};

struct dir_stack *overrides_stack(const struct overrides *o)
{
    return o->stack;
}

/* ---- what lookups see ---- */

/* Adds what counts now for an address to a table; nothing: a tombstone. */
static void add_entry(const struct overrides *o, struct table_builder *b, struct str key)
{
    const struct wave_address *now = waves_effective(&o->waves, key);
    struct str forest = now != NULL ? now->forest : STR_NULL;
    struct dir_address a;
    if (!wave_key_split(key, &a))
        return;
    struct dir_entry e = {.tombstone = forest.n == 0,
                          .kind = DIR_OVERRIDE,
                          .evidence = DIR_EVIDENCE_OVERRIDE,
                          .flag = forest,
                          .n_address = 1,
                          .address = &a};
    map_uuid_from_dn(key, e.uuid);
    (void)table_builder_add(b, &e);
}

static void push(struct overrides *o, struct table_builder *b)
{
    struct table_meta m = {0};
    if (table_builder_entries(b) != 0) {
        struct dir_stack *next = stack_push(o->stack, table_builder_finish(b, &m));
        stack_unref(&o->stack);
        o->stack = next;
    }
    table_builder_free(&b);
}

static void push_changed(struct overrides *o)
{
    struct table_builder *b = table_builder_new();
    for (unsigned i = 0; i < o->waves.n_changed; i++)
        add_entry(o, b, o->waves.changed[i]->key);
    push(o, b);
}

static void push_all(struct overrides *o)
{
    struct table_builder *b = table_builder_new();
    for (unsigned i = 0; i < o->waves.n; i++) {
        const struct wave *w = o->waves.wave[i];
        for (unsigned k = 0; k < w->n; k++)
            if (waves_effective(&o->waves, w->address[k].key) == &w->address[k] &&
                w->address[k].forest.n != 0)
                add_entry(o, b, w->address[k].key);
    }
    push(o, b);
}

/* ---- reading the journal ---- */

/* Returns how many octets of the text count: up to the last line that is not part of an open wave.
 */
static size_t load_lines(struct overrides *o, struct str text)
{
    const char *begin = text.p, *good = text.p;
    for (unsigned number = 1; text.n != 0; number++) {
        struct override_line l;
        struct str line = str_split(&text, '\n');
        o->waves.n_changed = 0;
        if (!override_line_read(line, &l))
            LOG(ERROR, "overrides", "directory-override-skipped", LC("file", o->path),
                LU("line", number), LC("why", "not a line of this file's form"));
        else if (!waves_apply(&o->waves, &l))
            LOG(ERROR, "overrides", "directory-override-skipped", LC("file", o->path),
                LU("line", number), LU("wave", l.wave),
                LC("why", l.action == OVERRIDE_COMMIT ? "lines of its wave are missing"
                                                      : "it means nothing at this place"));
        if (o->waves.open == NULL)
            good = line.p + line.n + 1;
    }
    if (o->waves.open != NULL)
        LOG(WARN, "overrides", "directory-wave-cut", LC("file", o->path),
            LU("wave", o->waves.open->id), LU("addresses", o->waves.open->n),
            LC("why", "its order was not acknowledged: the daemon ended while it was written"));
    waves_drop_open(&o->waves);
    o->waves.n_changed = 0;
    return (size_t)(good - begin);
}

static bool load(struct overrides *o, struct err *e)
{
    struct buf text = BUF_INIT(FILE_MAX);
    bool ok = file_read_all(o->path, &text, e);
    if (ok) {
        long last = str_rfind(buf_str(&text), '\n');
        o->end = (off_t)load_lines(o, str_upto(buf_str(&text), (size_t)(last + 1)));
        push_all(o);
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

/* How long a journal that has n octets may become before it is written anew: never near FILE_MAX.
 */
static off_t compact_at(size_t n)
{
    size_t wanted = COMPACT_BYTES + 2 * n;
    size_t most = n < FILE_MAX / 2 ? FILE_MAX / 2 : n + (FILE_MAX - n) / 2;
    return (off_t)(wanted < most ? wanted : most);
}

struct overrides *overrides_open(const char *state_dir, const struct file_ops *ops, struct err *e)
{
    struct overrides *o = NEW(struct overrides);
    o->ops = ops;
    o->path = mem_printf("%s/overrides.journal", state_dir);
    o->stack = stack_new(NULL);
    o->compact_at = compact_at(0);
    waves_init(&o->waves);
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
    waves_free(&o->waves);
    stack_unref(&o->stack);
    mem_free(o->path);
    mem_free(o);
}

/* ---- writing it ---- */

static bool is_same_file(const struct overrides *o)
{
    struct stat open, named;
    return o->fd >= 0 && fstat(o->fd, &open) == 0 && stat(o->path, &named) == 0 &&
           open.st_dev == named.st_dev && open.st_ino == named.st_ino;
}

/* Writes the journal anew with what is known. *n: how long it became. False: the old one is there
 * still, whole; or it cannot be told which of the two a crash would leave, and it is `damaged`. */
static bool rewrite(struct overrides *o, size_t *n, struct err *e)
{
    struct buf text = BUF_INIT(FILE_MAX);
    bool ok = waves_write(&o->waves, &text) ||
              err_set(e, ERR_LIMIT, 0, "%s would become too long", o->path);
    ok = ok && file_replace(o->ops, o->path, text.p, text.n, 0600, e);
    *n = text.n;
    buf_free(&text);
    if (ok)
        o->damaged = false;
    else if (!is_same_file(o))
        o->damaged = true;
    if (ok || o->damaged)
        file_drop(o); /* the next change opens what has the name then */
    return ok;
}

static bool is_writable(struct overrides *o, struct err *e)
{
    size_t n;
    if (o->damaged && !rewrite(o, &n, e)) {
        err_wrap(e, "after an earlier failure nothing is taken until %s can be written anew",
                 o->path);
        return false;
    }
    return o->fd >= 0 || file_turn(o, e);
}

/* What failed may be on the disk or get there later: a sync that failed says nothing, and a new one
 * would not either. So the file is replaced. */
static void give_up_lines(struct overrides *o)
{
    struct err e;
    size_t n;
    o->damaged = true;
    (void)o->ops->ftruncate(o->fd, o->end); /* helps if nothing else does */
    if (!rewrite(o, &n, &e))
        LOG(ERROR, "overrides", "directory-overrides-failed", LC("error", e.text),
            LC("why", "a refused change may be in it; it is written anew with the next change"));
}

static bool append(struct overrides *o, const struct buf *lines, size_t max, struct err *e)
{
    struct iovec iov = {lines->p, lines->n};
    if (!is_writable(o, e))
        return false;
    if ((size_t)o->end + lines->n > max) {
        o->compact_at = 0; /* another time there may be room */
        return err_set(e, ERR_LIMIT, 0, "%s has no room for so many addresses", o->path);
    }
    bool ok = file_write_all(o->ops, o->fd, &iov, 1, o->end, e);
    ok = ok &&
         (o->ops->fdatasync(o->fd) == 0 || err_set(e, ERR_SYSTEM, errno, "%s: fdatasync", o->path));
    if (ok)
        o->end += (off_t)lines->n;
    else
        give_up_lines(o);
    return ok;
}

void overrides_tidy(struct overrides *o)
{
    struct err e;
    size_t n;
    if (o->end <= o->compact_at)
        return;
    waves_prune(&o->waves);
    if (!rewrite(o, &n, &e))
        LOG(ERROR, "overrides", "directory-overrides-not-compacted", LC("error", e.text));
    if (o->fd < 0 && !file_turn(o, &e))
        LOG(ERROR, "overrides", "directory-overrides-failed", LC("error", e.text));
    o->compact_at = compact_at(n);
}

/* Journals the lines, if it becomes not longer than max, and does what they say. Frees them. */
static bool change(struct overrides *o, struct buf *lines, bool complete, size_t max, struct err *e)
{
    bool ok = complete || err_set(e, ERR_LIMIT, 0, "too many addresses at once");
    ok = ok && append(o, lines, max, e);
    o->waves.n_changed = 0;
    struct str text = ok ? buf_str(lines) : STR_NULL;
    while (text.n != 0) {
        struct override_line l;
        if (!override_line_read(str_split(&text, '\n'), &l) || !waves_apply(&o->waves, &l))
            LOG(ERROR, "overrides", "directory-override-skipped", LC("file", o->path));
    }
    if (ok)
        push_changed(o);
    buf_free(lines);
    return ok;
}

static struct str escaped(struct buf *b, struct str s, size_t max)
{
    (void)escape_append(b, s, max);
    return buf_str(b);
}

static bool has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < ' ')
            return true;
    return false;
}

static bool move_is_fine(const struct wave_order *w, const struct wave_move *m, struct err *e)
{
    struct dir_address a;
    if (!wave_key_split(m->key, &a))
        return err_set(e, ERR_INPUT, 0, "not an address; expected local@domain");
    if (m->forest.n > DIR_FLAG_MAX)
        return err_set(e, ERR_INPUT, 0, "the forest's name must have 1 to %d octets", DIR_FLAG_MAX);
    if (has_control(m->forest) || (w->written && has_control(m->previous)))
        return err_set(e, ERR_INPUT, 0, "%.*s: its flag has control characters", STR_ARG(m->key));
    return true;
}

static enum override_action action_of(const struct wave_order *w, const struct wave_move *m)
{
    return w->written         ? OVERRIDE_WRITE
           : m->forest.n == 0 ? OVERRIDE_UNSET
           : w->at_ms != 0    ? OVERRIDE_PLAN
                              : OVERRIDE_SET;
}

bool overrides_order(struct overrides *o, const struct wave_order *w, uint64_t generation,
                     uint32_t *id, struct err *e)
{
    struct buf lines = BUF_INIT(FILE_MAX), who = BUF_INIT(WHO_MAX + 16),
               why = BUF_INIT(WHY_MAX + 16);
    char count[24];
    struct override_line l = {.time_ms = clock_wall_ms(),
                              .who = escaped(&who, w->who, WHO_MAX),
                              .why = escaped(&why, w->why, WHY_MAX),
                              .generation = generation,
                              .wave = o->waves.last_id + 1,
                              .until_ms = w->until_ms,
                              .at_ms = w->at_ms};
    bool ok = w->n != 0 || err_set(e, ERR_INPUT, 0, "no address");
    bool room = true;
    for (unsigned i = 0; ok && room && i < w->n; i++) {
        const struct wave_move *m = &w->move[i];
        const struct wave_address *now = waves_effective(&o->waves, m->key);
        ok = move_is_fine(w, m, e);
        l.action = action_of(w, m);
        l.key = m->key;
        l.forest = m->forest;
        l.previous = w->written ? m->previous : now != NULL ? now->forest : STR_NULL;
        room = ok && override_line_write(&lines, &l);
    }
    (void)snprintf(count, sizeof(count), "%u", w->n);
    l.action = OVERRIDE_COMMIT;
    l.forest = STR_NULL;
    l.key = l.previous = str_c(count);
    room = room && override_line_write(&lines, &l);
    if (ok)
        ok = change(o, &lines, room, FILE_MAX - RESERVE, e);
    buf_free(&lines);
    buf_free(&who);
    buf_free(&why);
    *id = l.wave;
    return ok;
}

static bool change_wave(struct overrides *o, uint32_t id, enum override_action action,
                        struct str who, uint64_t generation, struct err *e)
{
    struct buf line = BUF_INIT(4096), text = BUF_INIT(WHO_MAX + 16);
    struct override_line l = {.time_ms = clock_wall_ms(),
                              .action = action,
                              .who = escaped(&text, who, WHO_MAX),
                              .generation = generation,
                              .wave = id};
    bool complete = override_line_write(&line, &l);
    buf_free(&text);
    return change(o, &line, complete, FILE_MAX, e);
}

bool overrides_begin(struct overrides *o, uint32_t id, uint64_t generation, struct err *e)
{
    const struct wave *w = waves_find(&o->waves, id);
    if (w == NULL || w->state != WAVE_PENDING)
        return err_set(e, ERR_INPUT, 0, "wave %u does not wait for its time", id);
    return change_wave(o, id, OVERRIDE_BEGIN, STR_NULL, generation, e);
}

static bool has_ended(const struct wave *w)
{
    return w->state != WAVE_PENDING && w->state != WAVE_ACTIVE;
}

bool overrides_expire(struct overrides *o, uint32_t id, uint64_t generation, struct err *e)
{
    const struct wave *w = waves_find(&o->waves, id);
    if (w == NULL || has_ended(w))
        return err_set(e, ERR_INPUT, 0, "wave %u has ended already", id);
    return change_wave(o, id, OVERRIDE_EXPIRE, STR_NULL, generation, e);
}

static const struct wave *undoable(const struct overrides *o, uint32_t id, struct err *e)
{
    const struct wave *w = waves_find(&o->waves, id);
    if (w == NULL)
        err_set(e, ERR_INPUT, 0, "there is no wave %u; `causewayctl moves` lists them", id);
    else if (has_ended(w))
        err_set(e, ERR_INPUT, 0, "wave %u is %s already", id, wave_state_text(w->state));
    return w != NULL && !has_ended(w) ? w : NULL;
}

bool overrides_undo(struct overrides *o, uint32_t id, struct str key, struct str who,
                    uint64_t generation, struct err *e)
{
    if (key.n != 0)
        return overrides_undo_keys(o, id, &key, 1, who, generation, e);
    return undoable(o, id, e) != NULL && change_wave(o, id, OVERRIDE_UNDO, who, generation, e);
}

bool overrides_undo_keys(struct overrides *o, uint32_t id, const struct str *key, unsigned n,
                         struct str who, uint64_t generation, struct err *e)
{
    struct buf lines = BUF_INIT(FILE_MAX), text = BUF_INIT(WHO_MAX + 16);
    struct override_line l = {.time_ms = clock_wall_ms(),
                              .action = OVERRIDE_UNDO,
                              .who = escaped(&text, who, WHO_MAX),
                              .generation = generation,
                              .wave = id};
    const struct wave *w = undoable(o, id, e);
    bool ok = w != NULL, room = true;
    for (unsigned i = 0; ok && i < n; i++) {
        l.key = key[i];
        ok = waves_names(&o->waves, w, key[i]) ||
             err_set(e, ERR_INPUT, 0, "wave %u does not move %.*s", id, STR_ARG(key[i]));
        room = room && override_line_write(&lines, &l);
    }
    buf_free(&text);
    if (ok)
        return change(o, &lines, room, FILE_MAX, e);
    buf_free(&lines);
    return false;
}

unsigned overrides_changed(const struct overrides *o, struct wave_address *const **list)
{
    *list = o->waves.changed;
    return o->waves.n_changed;
}

/* ---- reading ---- */

const struct wave *overrides_wave(const struct overrides *o, unsigned i)
{
    return i < o->waves.n ? o->waves.wave[i] : NULL;
}

const struct wave *overrides_find(const struct overrides *o, uint32_t id)
{
    return waves_find(&o->waves, id);
}

const struct wave_address *overrides_find_key(const struct overrides *o, struct str key)
{
    return waves_find_key(&o->waves, key);
}

const struct wave_address *overrides_effective(const struct overrides *o, struct str key)
{
    return waves_effective(&o->waves, key);
}
