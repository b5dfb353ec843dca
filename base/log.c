/*
 * log.c - one line per event. Each thread gathers its lines in a buffer of its own and writes them
 * in one call; a mutex held over that write keeps lines of different threads apart. Under journald
 * (JOURNAL_STREAM names our standard error) a line on standard error starts with "<priority>" and
 * has no time of its own; elsewhere it starts with the time and the level. syslog gets each line at
 * once.
 *
 * Values: bytes that are not harmless are escaped (base/escape.h); a text value is put in quotes if
 * it is empty or has a blank, a quote or an equals sign. JSON is one object a line, always UTF-8.
 * Failure: what cannot be written is dropped and counted in log_dropped.
 */
#include "base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/escape.h"
#include "base/mem.h"
#include "base/stats.h"

#define GATHER_MAX (16 * 1024)
#define LINE_MAX_  (48 * 1024)
#define VALUE_MAX  2048

static _Atomic int target = LOG_TO_STDERR;
static _Atomic int format = LOG_TEXT;
static _Atomic int least = LOG_INFO_;
static atomic_bool journal;

static const struct level {
    const char *name;
    int priority; /* of syslog(3) and sd-daemon(3) */
} levels[] = {
    [LOG_DEBUG_] = {"debug", LOG_DEBUG},
    [LOG_INFO_] = {"info", LOG_INFO},
    [LOG_WARN_] = {"warn", LOG_WARNING},
    [LOG_ERROR_] = {"error", LOG_ERR},
};

/* A thread's gathered lines and the line being made. */
struct gather {
    struct buf lines;
    struct buf line;
};

static _Thread_local struct gather *mine;
static pthread_key_t key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static pthread_mutex_t write_lock = PTHREAD_MUTEX_INITIALIZER;
static bool cut_short; /* under write_lock: the last write ended inside a line */

static bool write_some(const char *p, size_t n, size_t *done)
{
    *done = 0;
    while (*done < n) {
        ssize_t w = write(STDERR_FILENO, p + *done, n - *done);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0)
            return false;
        *done += (size_t)w;
    }
    return true;
}

static void write_out(struct gather *g)
{
    size_t done = 0;
    bool ok = true;
    pthread_mutex_lock(&write_lock);
    if (cut_short)
        ok = write_some("\n", 1, &done);
    if (ok) {
        cut_short = false;
        ok = write_some(g->lines.p, g->lines.n, &done);
        if (!ok)
            cut_short = done != 0 && g->lines.p[done - 1] != '\n';
    } else {
        done = 0;
    }
    pthread_mutex_unlock(&write_lock);
    if (!ok) {
        int64_t lost = 0;
        for (size_t i = done; i < g->lines.n; i++)
            lost += g->lines.p[i] == '\n';
        stats_add(STAT_log_dropped, lost);
    }
    buf_clear(&g->lines);
}

static void gather_end(void *arg)
{
    struct gather *g = arg;
    mine = NULL;
    if (g->lines.n != 0)
        write_out(g);
    buf_free(&g->lines);
    buf_free(&g->line);
    mem_free(g);
}

static void make_key(void)
{
    int rc = pthread_key_create(&key, gather_end);
    ASSERT(rc == 0);
    atexit(log_flush); /* for the thread that ends the process */
}

static struct gather *gather_get(void)
{
    if (mine != NULL)
        return mine;
    pthread_once(&once, make_key);
    struct gather *g = NEW(struct gather);
    buf_init(&g->lines, GATHER_MAX + LINE_MAX_);
    buf_init(&g->line, LINE_MAX_);
    pthread_setspecific(key, g);
    mine = g;
    return g;
}

/* Does systemd read what we write to standard error? It says which file that would be: the variable
 * is set for either of the two outputs, and inherited. */
static bool writes_to_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char mine_is[64];
    struct stat st;
    if (stream == NULL || fstat(STDERR_FILENO, &st) != 0)
        return false;
    snprintf(mine_is, sizeof(mine_is), "%" PRIu64 ":%" PRIu64, (uint64_t)st.st_dev,
             (uint64_t)st.st_ino);
    return strcmp(stream, mine_is) == 0;
}

void log_setup(enum log_target new_target, enum log_format new_format, enum log_level new_level)
{
    log_flush();
    if (new_target == LOG_TO_SYSLOG)
        openlog("causeway", LOG_PID | LOG_NDELAY, LOG_MAIL);
    atomic_store(&journal, writes_to_journal());
    atomic_store(&target, new_target);
    atomic_store(&format, new_format);
    atomic_store(&least, new_level);
}

bool log_is_on(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&least, memory_order_relaxed);
}

void log_flush(void)
{
    if (mine != NULL && mine->lines.n != 0)
        write_out(mine);
}

bool log_level_parse(struct str s, enum log_level *out)
{
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        if (str_eq_nocase(s, str_c(levels[i].name))) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* Printable ASCII that needs neither quotes nor escapes. */
static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c <= ' ' || c > '~' || c == '"' || c == '\\' || c == '=')
            return false;
    }
    return s.n != 0 && s.n <= VALUE_MAX;
}

static bool add_text_value(struct buf *line, struct str s)
{
    if (is_plain(s))
        return buf_append_str(line, s);
    char stack[VALUE_MAX + 1];
    escape_cstr(s, stack, sizeof(stack));
    struct str esc = str_c(stack);
    if (esc.n != 0 && str_find(esc, ' ') < 0 && str_find(esc, '"') < 0 && str_find(esc, '=') < 0)
        return buf_append_str(line, esc);
    bool ok = buf_append_char(line, '"');
    for (size_t i = 0; i < esc.n; i++) {
        if (esc.p[i] == '"')
            ok = ok && buf_append_char(line, '\\');
        ok = ok && buf_append_char(line, esc.p[i]);
    }
    return ok && buf_append_char(line, '"');
}

/* RFC 8259 section 7. Bytes that are not UTF-8 appear as the text \xHH; of what is, also the C1
 * controls are escaped, which some terminals obey. */
static bool add_json_string(struct buf *line, struct str s)
{
    size_t start = line->n;
    bool ok = buf_append_char(line, '"');
    while (ok && s.n != 0) {
        if (line->n - start > VALUE_MAX) {
            ok = buf_append_c(line, "...");
            break;
        }
        unsigned char c = (unsigned char)s.p[0];
        size_t len = escape_utf8_len(s.p, s.n);
        if (c == '"' || c == '\\')
            ok = buf_append_char(line, '\\') && buf_append_char(line, (char)c);
        else if (len == 0)
            ok = buf_printf(line, "\\\\x%02X", c);
        else if (c < 0x20 || c == 0x7f)
            ok = buf_printf(line, "\\u%04x", c);
        else if (c == 0xc2 && (unsigned char)s.p[1] < 0xa0)
            ok = buf_printf(line, "\\u%04x", (unsigned char)s.p[1]);
        else
            ok = buf_append(line, s.p, len);
        s = str_from(s, len != 0 ? len : 1);
    }
    return ok && buf_append_char(line, '"');
}

static bool add_number(struct buf *line, const struct log_kv *kv)
{
    if (kv->kind == LOG_KV_UINT)
        return buf_printf(line, "%llu", (unsigned long long)(uint64_t)kv->i);
    return buf_printf(line, "%lld", (long long)kv->i);
}

static bool make_text(struct buf *line, enum log_level level, const char *id, const char *event,
                      const struct log_kv *kv, size_t n)
{
    bool ok = true;
    if (atomic_load(&target) == LOG_TO_STDERR && !atomic_load(&journal)) {
        char when[32];
        clock_rfc3339(clock_wall_ms(), when, sizeof(when));
        ok = buf_printf(line, "%s %s ", when, levels[level].name);
    }
    ok = ok && add_text_value(line, id != NULL && id[0] != '\0' ? str_c(id) : STR("-"));
    ok = ok && buf_append_char(line, ' ') && buf_append_c(line, event);
    for (size_t i = 0; ok && i < n; i++) {
        ok = buf_append_char(line, ' ') && buf_append_c(line, kv[i].key) &&
             buf_append_char(line, '=');
        if (kv[i].kind == LOG_KV_STR)
            ok = ok && add_text_value(line, kv[i].s);
        else
            ok = ok && add_number(line, &kv[i]);
    }
    return ok;
}

static bool make_json(struct buf *line, enum log_level level, const char *id, const char *event,
                      const struct log_kv *kv, size_t n)
{
    char when[32];
    clock_rfc3339(clock_wall_ms(), when, sizeof(when));
    bool ok =
        buf_printf(line, "{\"time\":\"%s\",\"level\":\"%s\",\"id\":", when, levels[level].name) &&
        add_json_string(line, id != NULL && id[0] != '\0' ? str_c(id) : STR("-")) &&
        buf_append_c(line, ",\"event\":") && add_json_string(line, str_c(event));
    for (size_t i = 0; ok && i < n; i++) {
        ok = buf_append_char(line, ',') && add_json_string(line, str_c(kv[i].key)) &&
             buf_append_char(line, ':');
        if (kv[i].kind == LOG_KV_STR)
            ok = ok && add_json_string(line, kv[i].s);
        else
            ok = ok && add_number(line, &kv[i]);
    }
    return ok && buf_append_char(line, '}');
}

void log_write(enum log_level level, const char *id, const char *event, const struct log_kv *kv,
               size_t n)
{
    struct gather *g = gather_get();
    bool to_syslog = atomic_load(&target) == LOG_TO_SYSLOG;
    bool ok = true;
    buf_clear(&g->line);
    if (!to_syslog && atomic_load(&journal))
        ok = buf_printf(&g->line, "<%d>", levels[level].priority);
    if (atomic_load(&format) == LOG_JSON)
        ok = ok && make_json(&g->line, level, id, event, kv, n);
    else
        ok = ok && make_text(&g->line, level, id, event, kv, n);
    if (ok && to_syslog) {
        syslog(levels[level].priority, "%s", buf_cstr(&g->line));
        return;
    }
    ok = ok && buf_append_char(&g->line, '\n') && buf_append_str(&g->lines, buf_str(&g->line));
    if (!ok)
        stats_inc(STAT_log_dropped);
    if (level >= LOG_WARN_ || g->lines.n >= GATHER_MAX)
        log_flush();
}

bool log_limit_pass(struct log_limit *l, int64_t every_ms, int64_t *suppressed)
{
    int64_t now = clock_mono_ms();
    int64_t next = atomic_load(&l->next_ms);
    /* Of several threads that come at the same time, one wins. */
    if (now < next || !atomic_compare_exchange_strong(&l->next_ms, &next, now + every_ms)) {
        atomic_fetch_add(&l->suppressed, 1);
        return false;
    }
    *suppressed = atomic_exchange(&l->suppressed, 0);
    return true;
}
