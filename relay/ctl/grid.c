/*
 * grid.c - see grid.h. Widths count UTF-8 characters; what is wider or narrower than one cell of
 * a terminal is not looked after.
 */
#define _XOPEN_SOURCE 700
#include "relay/ctl/grid.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/mem.h"

#define GAP 2

static bool is_start(char c)
{
    return ((unsigned char)c & 0xc0) != 0x80;
}

size_t text_width(const char *z)
{
    size_t n = 0;
    for (; *z != '\0'; z++)
        n += is_start(*z);
    return n;
}

void grid_init(struct grid *t, const struct grid_column *column, unsigned n, unsigned width)
{
    ASSERT(n > 0 && n <= GRID_COLUMNS_MAX);
    *t = (struct grid){.column = column, .n_column = n, .width = width};
    arena_init(&t->texts, 16384, 0);
}

void grid_free(struct grid *t)
{
    mem_free(t->cells);
    arena_free(&t->texts);
}

void grid_add(struct grid *t, const char *text)
{
    unsigned at = t->n_rows * t->n_column + t->cell;
    if (at >= t->cap) {
        t->cap = t->cap == 0 ? 64 * t->n_column : 2 * t->cap;
        t->cells = mem_realloc(t->cells, t->cap * sizeof(*t->cells));
    }
    size_t n = strlen(text);
    char *copy = arena_alloc(&t->texts, n + 1);
    for (size_t i = 0; i < n; i++)
        copy[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
    t->cells[at] = copy;
    if (++t->cell == t->n_column) {
        t->cell = 0;
        t->n_rows++;
    }
}

static void measure(const struct grid *t, size_t *width)
{
    for (unsigned c = 0; c < t->n_column; c++) {
        width[c] = text_width(t->column[c].title);
        for (unsigned r = 0; r < t->n_rows; r++) {
            size_t w = text_width(t->cells[r * t->n_column + c]);
            width[c] = w > width[c] ? w : width[c];
        }
    }
}

#define LEFT_OUT SIZE_MAX /* as a width */

/* How wide the table is if what may be cut is cut as far as that goes. */
static size_t least(const struct grid *t, const size_t *width)
{
    size_t total = 0;
    for (unsigned c = 0; c < t->n_column; c++) {
        if (width[c] != LEFT_OUT)
            total += GAP + (t->column[c].cut && width[c] > GRID_CUT_MIN ? GRID_CUT_MIN : width[c]);
    }
    return total - GAP;
}

static void leave_out(const struct grid *t, size_t *width)
{
    for (unsigned c = 0; c < t->n_column && least(t, width) > t->width; c++) {
        if (t->column[c].spare)
            width[c] = LEFT_OUT;
    }
}

/* Takes from the widest column that may be cut, one character at a time. */
static void fit(const struct grid *t, size_t *width)
{
    size_t total = 0;
    if (t->width != 0)
        leave_out(t, width);
    for (unsigned c = 0; c < t->n_column; c++)
        total += width[c] != LEFT_OUT ? GAP + width[c] : 0;
    total -= GAP;
    while (t->width != 0 && total > t->width) {
        unsigned widest = t->n_column;
        for (unsigned c = 0; c < t->n_column; c++) {
            if (t->column[c].cut && width[c] > GRID_CUT_MIN && width[c] != LEFT_OUT &&
                (widest == t->n_column || width[c] >= width[widest]))
                widest = c;
        }
        if (widest == t->n_column)
            return;
        width[widest]--;
        total--;
    }
}

/* At most `width` characters; "…" stands for what is missing. */
static void write_cut(const char *z, size_t width, struct buf *out)
{
    if (text_width(z) <= width) {
        buf_append_c(out, z);
        return;
    }
    for (size_t n = 0; *z != '\0'; z++) {
        if (is_start(*z) && ++n == width)
            break;
        buf_append_char(out, *z);
    }
    buf_append_c(out, "\xe2\x80\xa6");
}

static void write_row(const struct grid *t, const char *const *cell, const size_t *width,
                      struct buf *out)
{
    for (unsigned c = 0; c < t->n_column; c++) {
        if (width[c] == LEFT_OUT)
            continue;
        const char *text = cell != NULL ? cell[c] : t->column[c].title;
        size_t w = text_width(text), pad = w < width[c] ? width[c] - w : 0;
        if (t->column[c].right)
            buf_printf(out, "%*s", (int)pad, "");
        write_cut(text, width[c], out);
        if (c + 1 < t->n_column)
            buf_printf(out, "%*s", (int)((t->column[c].right ? 0 : pad) + GAP), "");
    }
    while (out->n > 0 && out->p[out->n - 1] == ' ')
        out->n--;
    buf_append_char(out, '\n');
}

void grid_print(struct grid *t, struct buf *out)
{
    size_t width[GRID_COLUMNS_MAX];
    measure(t, width);
    fit(t, width);
    if (!t->headed && t->n_rows > 0) {
        write_row(t, NULL, width, out);
        t->headed = true;
    }
    for (unsigned r = 0; r < t->n_rows; r++)
        write_row(t, t->cells + (size_t)r * t->n_column, width, out);
    t->n_rows = 0;
    arena_reset(&t->texts);
}

/* ---- running text ---- */

/* Writes the characters of one word, in as many lines as it takes; *column moves on. */
static void write_word(struct buf *out, const char *z, size_t n, unsigned indent, unsigned width,
                       unsigned *column)
{
    for (size_t i = 0; i < n; i++) {
        if (is_start(z[i]) && (*column)++ == width) {
            buf_printf(out, "\n%*s", (int)indent, "");
            *column = indent + 1;
        }
        buf_append_char(out, (unsigned char)z[i] < 0x20 || z[i] == 0x7f ? '?' : z[i]);
    }
}

void text_wrap(struct buf *out, const char *z, unsigned indent, unsigned width)
{
    unsigned column = indent;
    for (bool first = true; *z != '\0'; first = false) {
        size_t n = strcspn(z, " "), letters = 0;
        for (size_t i = 0; i < n; i++)
            letters += is_start(z[i]);
        if (!first && column + 1 + letters > width) {
            buf_printf(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            buf_append_char(out, ' ');
            column++;
        }
        write_word(out, z, n, indent, width, &column);
        z += n;
        z += strspn(z, " ");
    }
    buf_append_char(out, '\n');
}

/* ---- values ---- */

void text_duration(int64_t ms, char *dst)
{
    int64_t s = ms / 1000;
    if (s < 0)
        s = 0;
    if (s < 60)
        (void)snprintf(dst, 24, "%" PRId64 "s", s);
    else if (s < 3600)
        (void)snprintf(dst, 24, "%" PRId64 "m", s / 60);
    else if (s < 86400)
        (void)snprintf(dst, 24, "%" PRId64 "h%" PRId64 "m", s / 3600, s / 60 % 60);
    else
        (void)snprintf(dst, 24, "%" PRId64 "d%" PRId64 "h", s / 86400, s / 3600 % 24);
}

void text_size(uint64_t bytes, char *dst)
{
    static const char unit[] = "KMGTPE";
    double n = (double)bytes;
    int u = -1;
    for (; n >= 1000 && u < 5; u++)
        n /= 1024;
    if (u < 0)
        (void)snprintf(dst, 16, "%" PRIu64, bytes);
    else
        (void)snprintf(dst, 16, n < 9.95 ? "%.1f%c" : "%.0f%c", n, unit[u]);
}

int64_t text_time(const char *z)
{
    struct tm tm = {0};
    int ms = 0;
    if (sscanf(z, "%d-%d-%dT%d:%d:%d.%dZ", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &ms) < 6)
        return 0;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return (int64_t)timegm(&tm) * 1000 + ms;
}
