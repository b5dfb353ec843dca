/*
 * verify.c - the offline check: reads every record and every content of a spool and says what is
 * wrong. Changes nothing and takes no lock, so on a spool in use its findings are of the moment.
 * Uses the same scanner and the same replay as recovery.
 */
#include "relay/spool/spool_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

struct checked {
    char name[16];
    struct disk_segment h;
    uint64_t end; /* from another header, 0 = unknown */
};

struct verify {
    const char *dir;
    void (*say)(void *arg, const char *line);
    void *arg;
    struct spool_verify_report *out;
    struct table table;
    struct checked *seg;
    size_t n_seg;
    /* of the segment in hand */
    struct checked *g;
    struct scan sc;
    struct scan content;
};

__attribute__((format(printf, 2, 3))) static void say(struct verify *v, const char *fmt, ...)
{
    char line[PATH_MAX + 200];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof(line), fmt, ap);
    va_end(ap);
    if (v->say != NULL)
        v->say(v->arg, line);
}

static bool check_record(void *arg, const struct record *r)
{
    struct verify *v = arg;
    char text[14];
    v->out->marks += r->h.n_marks;
    state_replay(&v->table, (uint32_t)(v->g - v->seg), r);
    if (r->h.type != DISK_MESSAGE && r->h.type != DISK_LARGE)
        return true;
    v->out->messages++;
    if (!scan_content_is_good(&v->content, &r->h, r->content_off)) {
        spool_id_text(r->h.id, text);
        v->out->bad_records++;
        say(v, "segment %s offset %" PRIu64 ": the content of message %s is damaged", v->g->name,
            r->off, text);
    }
    return true;
}

static void check_damage(void *arg, uint64_t from, uint64_t to)
{
    struct verify *v = arg;
    v->out->bad_records++;
    say(v, "segment %s: no valid record from %" PRIu64 " to %" PRIu64 ", though it was synced",
        v->g->name, from, to);
}

static void check_segment(struct verify *v)
{
    char path[PATH_MAX];
    struct walk_result r;
    struct walk w = {.arg = v, .record = check_record, .damage = check_damage};
    snprintf(path, sizeof(path), "%.3800s/segment/%s", v->dir, v->g->name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        say(v, "segment %s: cannot be opened: %s", v->g->name, strerror(errno));
        return;
    }
    scan_init(&v->sc, &file_real, fd, v->g->h.salt, v->g->h.size);
    scan_init(&v->content, &file_real, fd, v->g->h.salt, v->g->h.size);
    scan_walk(&v->sc, v->g->end, &w, &r);
    v->out->records += r.records;
    if (r.torn) {
        v->out->torn_tails++;
        say(v, "segment %s: an unfinished record at %" PRIu64 " ends it (harmless)", v->g->name,
            r.end);
    }
    if (v->sc.io_error || v->content.io_error) {
        v->out->bad_records++;
        say(v, "segment %s: reading failed", v->g->name);
    }
    scan_free(&v->sc);
    scan_free(&v->content);
    close(fd);
}

/* ---- headers ---- */

static void take_header(struct verify *v, const char *name, int fd)
{
    unsigned char page[DISK_PAGE];
    struct disk_segment h = {0};
    struct stat st;
    size_t got = 0;
    memset(page, 0, sizeof(page));
    if (!file_read_at(&file_real, fd, page, sizeof(page), 0, &got, NULL) || fstat(fd, &st) != 0) {
        v->out->bad_records++;
        say(v, "segment %s: reading failed", name);
        return;
    }
    v->out->segments++;
    switch (header_read(page, &h)) {
    case HEADER_VALID:
        break;
    case HEADER_BLANK:
        say(v, "segment %s: its making was not finished (harmless)", name);
        return;
    case HEADER_VERSION:
        v->out->bad_records++;
        say(v, "segment %s: is of format %u, this program reads %u", name, h.version, DISK_VERSION);
        return;
    case HEADER_BAD:
        v->out->bad_records++;
        say(v, "segment %s: its header is damaged", name);
        return;
    }
    if ((uint64_t)st.st_size != h.size) {
        v->out->bad_records++;
        say(v, "segment %s: has %lld bytes, its header says %" PRIu64, name, (long long)st.st_size,
            h.size);
    }
    if (h.state != DISK_IN_USE)
        return;
    v->seg = mem_realloc(v->seg, (v->n_seg + 1) * sizeof(*v->seg));
    struct checked *c = &v->seg[v->n_seg++];
    *c = (struct checked){.h = h};
    snprintf(c->name, sizeof(c->name), "%.15s", name);
}

static bool read_headers(struct verify *v, struct err *e)
{
    char path[PATH_MAX];
    uint64_t n;
    snprintf(path, sizeof(path), "%.3800s/segment", v->dir);
    DIR *d = opendir(path);
    if (d == NULL)
        return err_set(e, ERR_SYSTEM, errno, "cannot read %s: is this a spool?", path);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (!str_to_u64(str_c(entry->d_name), 99999999, &n) || strlen(entry->d_name) != 8)
            continue;
        int fd = openat(dirfd(d), entry->d_name, O_RDONLY | O_CLOEXEC);
        if (fd < 0) {
            say(v, "segment %s: cannot be opened: %s", entry->d_name, strerror(errno));
            continue;
        }
        take_header(v, entry->d_name, fd);
        close(fd);
    }
    closedir(d);
    return true;
}

static int by_seq(const void *a, const void *b)
{
    const struct checked *x = a, *y = b;
    return x->h.seq < y->h.seq ? -1 : x->h.seq > y->h.seq;
}

static void learn_ends(struct verify *v)
{
    for (size_t i = 0; i < v->n_seg; i++)
        for (uint32_t k = 0; k < v->seg[i].h.n_ended; k++)
            for (size_t j = 0; j < v->n_seg; j++)
                if (v->seg[j].h.seq == v->seg[i].h.ended[k].seq &&
                    v->seg[i].h.ended[k].end >= DISK_RECORDS_BEGIN)
                    v->seg[j].end = v->seg[i].h.ended[k].end;
}

/* ---- files in large/ ---- */

static void check_large_file(struct verify *v, const struct entry *e)
{
    char path[PATH_MAX], text[14];
    struct record r;
    struct scan sc;
    uint64_t sum = 0;
    const struct checked *g = &v->seg[e->slot];
    spool_id_text(e->id, text);
    snprintf(path, sizeof(path), "%.3800s/segment/%s", v->dir, g->name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    scan_init(&sc, &file_real, fd, g->h.salt, g->h.size);
    bool ok = fd >= 0 && scan_record(&sc, (uint64_t)e->unit * DISK_ALIGN, g->h.size, &r);
    scan_free(&sc);
    if (fd >= 0)
        close(fd);
    snprintf(path, sizeof(path), "%.3800s/large/%s", v->dir, text);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    ok = ok && fd >= 0 && fstat(fd, &st) == 0 && (uint64_t)st.st_size == r.h.content_len &&
         content_sum_file(&file_real, fd, 0, r.h.content_len, e->id, &sum, NULL) &&
         sum == r.h.content_sum;
    if (fd >= 0)
        close(fd);
    if (!ok) {
        v->out->bad_records++;
        say(v, "large/%s: missing, of another size or damaged, and its message is living", text);
    }
}

static void check_living(struct verify *v)
{
    for (unsigned p = 0; p < TABLE_PARTS; p++) {
        const struct table_part *part = &v->table.part[p];
        for (uint32_t i = 0; i < part->cap; i++) {
            const struct entry *e = &part->v[i];
            if (e->id == 0 || (e->more & ENTRY_DEAD) != 0)
                continue;
            v->out->living++;
            if (e->more & ENTRY_LARGE)
                check_large_file(v, e);
        }
    }
}

static void check_orphans(struct verify *v)
{
    char path[PATH_MAX];
    uint64_t id;
    snprintf(path, sizeof(path), "%.3800s/large", v->dir);
    DIR *d = opendir(path);
    if (d == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        const struct entry *e = NULL;
        if (spool_id_parse(str_c(entry->d_name), &id))
            e = table_find(&v->table, id);
        if (e != NULL && (e->more & ENTRY_DEAD) == 0)
            continue;
        v->out->orphan_files++;
        say(v, "large/%.100s: no living message has it (harmless)", entry->d_name);
    }
    closedir(d);
}

static bool is_in_use(const char *dir)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%.3800s/lock", dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool busy = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    close(fd);
    return busy;
}

bool spool_verify(const char *dir, void (*say_fn)(void *arg, const char *line), void *arg,
                  struct spool_verify_report *out, struct err *e)
{
    struct verify v = {.dir = dir, .say = say_fn, .arg = arg, .out = out};
    *out = (struct spool_verify_report){0};
    table_init(&v.table);
    if (is_in_use(dir))
        say(&v, "a daemon uses this spool: what follows is of the moment");
    bool ok = read_headers(&v, e);
    if (ok) {
        learn_ends(&v);
        if (v.n_seg != 0)
            qsort(v.seg, v.n_seg, sizeof(*v.seg), by_seq);
        for (size_t i = 0; i < v.n_seg; i++) {
            v.g = &v.seg[i];
            check_segment(&v);
        }
        check_living(&v);
        check_orphans(&v);
    }
    mem_free(v.seg);
    table_free(&v.table);
    return ok;
}
