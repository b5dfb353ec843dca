/*
 * log.h - one line per event, `id event key=value ...` (or JSON), to standard error or syslog.
 *
 * Values are escaped here and nowhere else: a value can never add a field or a line. Any thread may
 * log; lines of a thread are gathered and written by log_flush(), which the loop calls once a turn,
 * or at once for LOG_WARN and above, or when 16 KB have gathered. A failed write drops the line and
 * counts it (log_dropped). Never blocks for long: the descriptor is the admin's choice. What is
 * left is written when the thread ends or the process exits. On standard error outside journald,
 * time and level come before the id. A text value with blanks, quotes or "=" is quoted.
 *
 * error = someone must act; warn = degraded; info = one line per outcome; debug = the way there.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum log_level {
    LOG_DEBUG_,
    LOG_INFO_,
    LOG_WARN_,
    LOG_ERROR_
};
enum log_format {
    LOG_TEXT,
    LOG_JSON
};
enum log_target {
    LOG_TO_STDERR,
    LOG_TO_SYSLOG
};

enum log_kv_kind {
    LOG_KV_STR,
    LOG_KV_INT,
    LOG_KV_UINT
};
struct log_kv {
    const char *key;
    enum log_kv_kind kind;
    struct str s;
    int64_t i;
};

#define LS(key_, str_) ((struct log_kv){.key = (key_), .kind = LOG_KV_STR, .s = (str_)})
#define LC(key_, z_)   ((struct log_kv){.key = (key_), .kind = LOG_KV_STR, .s = str_c(z_)})
#define LI(key_, i_)   ((struct log_kv){.key = (key_), .kind = LOG_KV_INT, .i = (int64_t)(i_)})
#define LU(key_, u_)   ((struct log_kv){.key = (key_), .kind = LOG_KV_UINT, .i = (int64_t)(u_)})

/* LOG(INFO, "qid", "delivered", LS("to", addr), LI("ms", t)); id may be "" or NULL ("-" is shown).
 */
#define LOG(level, id, event, ...)                                                                 \
    do {                                                                                           \
        if (log_is_on(LOG_##level##_)) {                                                           \
            const struct log_kv log_kv_[] = {{0}, ##__VA_ARGS__};                                  \
            log_write(LOG_##level##_, (id), (event), log_kv_ + 1,                                  \
                      sizeof(log_kv_) / sizeof(log_kv_[0]) - 1);                                   \
        }                                                                                          \
    } while (0)

void log_setup(enum log_target target, enum log_format format, enum log_level level);
bool log_is_on(enum log_level level);
void log_write(enum log_level level, const char *id, const char *event, const struct log_kv *kv,
               size_t n);
/* Writes out this thread's gathered lines. */
void log_flush(void);
bool log_level_parse(struct str s, enum log_level *out);

/* Rate limit: true at most once per `every_ms` for this site; *suppressed = how many were not said
 * since. `state` is a static _Atomic int64_t pair, zeroed. */
struct log_limit {
    _Atomic int64_t next_ms;
    _Atomic int64_t suppressed;
};
bool log_limit_pass(struct log_limit *l, int64_t every_ms, int64_t *suppressed);

#endif
