/*
 * dot.c - dot-stuffing of DATA in both directions (RFC 5321 4.5.2, 2.3.8). The hot path of intake
 * and delivery: bytes are found with memchr and moved in runs as long as possible; the state
 * machine only wakes at CR, LF and at the start of a line.
 *
 * Owns nothing. Any thread; one decoder or encoder per transfer. Cannot fail: what is wrong with
 * the content is noted and left to the caller.
 */
#include "relay/proto/dot.h"

#include <string.h>

#include "base/str.h"

enum {
    AT_START,  /* of a line: after CRLF, or the very first octet */
    IN_LINE,   /* after anything else; a bare CR or LF does not start a line */
    AFTER_CR,  /* CR read, not yet put out */
    AFTER_DOT, /* a dot that started a line: dropped whatever follows */
    AFTER_DOT_CR,
    AT_END,
};

/* line_pos: up to NAME_LEN, the octets of "received" matched so far. */
#define NAME_LEN     8
#define HEADER_CR    100 /* a CR is all there is on this line */
#define HEADER_OTHER 101 /* another field, a folded line */

struct work {
    struct dot_decoder *d;
    const char *p, *end;
    const char *run;  /* first octet not yet copied out; [run, p) goes out as it is */
    const char *next; /* the first LF at or after p when last looked, or end; NULL = not looked */
    char *out;
};

void dot_decoder_init(struct dot_decoder *d, bool normalise)
{
    *d = (struct dot_decoder){.state = AT_START, .normalise = normalise, .in_header = true};
}

static void flush(struct work *w, const char *upto, const char *run)
{
    size_t n = (size_t)(upto - w->run);
    if (n != 0)
        memcpy(w->out, w->run, n);
    w->out += n;
    w->run = run;
}

static void line_grow(struct dot_decoder *d, size_t n)
{
    d->line_len += n;
    if (d->line_len > d->longest_line)
        d->longest_line = d->line_len;
}

/* A CR or LF that stands alone at `at`. It never starts a line where a dot would mean something. */
static void bare(struct work *w, const char *at)
{
    if (*at == '\r')
        w->d->bare_cr = true;
    else
        w->d->bare_lf = true;
    w->p = at + 1;
    if (!w->d->normalise) {
        line_grow(w->d, 1);
        return;
    }
    flush(w, at, at + 1);
    memcpy(w->out, "\r\n", 2);
    w->out += 2;
    w->d->line_len = 0;
}

/* A CR of an earlier octet that turned out to be bare; p is what follows it. */
static void bare_pending_cr(struct work *w)
{
    static const char crlf[] = "\r\n";
    w->d->bare_cr = true;
    w->d->state = IN_LINE;
    size_t n = w->d->normalise ? 2 : 1;
    memcpy(w->out, crlf, n);
    w->out += n;
    if (w->d->normalise)
        w->d->line_len = 0;
    else
        line_grow(w->d, 1);
}

static void at_start(struct work *w)
{
    if (*w->p != '.') {
        w->d->state = IN_LINE;
        return;
    }
    flush(w, w->p, w->p + 1);
    w->p++;
    w->d->state = AFTER_DOT;
}

static void in_line(struct work *w)
{
    /* The LF found last time serves until it is passed, else many bare CRs would cost n * n. */
    if (w->next == NULL || w->next < w->p) {
        w->next = memchr(w->p, '\n', (size_t)(w->end - w->p));
        if (w->next == NULL)
            w->next = w->end;
    }
    const char *lf = w->next;
    const char *cr = memchr(w->p, '\r', (size_t)(lf - w->p));
    const char *stop = cr != NULL ? cr : lf;
    line_grow(w->d, (size_t)(stop - w->p));
    w->p = stop;
    if (stop == w->end)
        return;
    if (cr == NULL) {
        bare(w, lf);
    } else if (cr + 1 == w->end) {
        flush(w, cr, w->end);
        w->p = w->end;
        w->d->state = AFTER_CR;
    } else if (cr + 1 == lf) {
        w->p = lf + 1;
        w->d->line_len = 0;
        w->d->state = AT_START;
    } else {
        bare(w, cr);
    }
}

/* One octet after a CR or a dot that were held back. */
static void after(struct work *w)
{
    switch (w->d->state) {
    case AFTER_CR:
        if (*w->p != '\n') {
            bare_pending_cr(w);
            return;
        }
        memcpy(w->out, "\r\n", 2);
        w->out += 2;
        w->run = ++w->p;
        w->d->line_len = 0;
        w->d->state = AT_START;
        return;
    case AFTER_DOT:
        if (*w->p != '\r') {
            w->d->state = IN_LINE;
            return;
        }
        w->run = ++w->p;
        w->d->state = AFTER_DOT_CR;
        return;
    default: /* AFTER_DOT_CR */
        if (*w->p != '\n') {
            bare_pending_cr(w);
            return;
        }
        w->run = ++w->p;
        w->d->state = AT_END;
        return;
    }
}

/* Counts the Received fields among the octets put out, until the empty line. A blank before the
 * colon is the obsolete form of RFC 5322 4.5, and counts. */
static void header_scan(struct dot_decoder *d, const char *p, const char *end)
{
    static const char name[NAME_LEN] = "received";
    while (p < end && d->in_header) {
        char c = *p++;
        if (c == '\n') {
            if (d->line_pos == 0 || d->line_pos == HEADER_CR)
                d->in_header = false;
            d->line_pos = 0;
        } else if (d->line_pos < NAME_LEN && ascii_lower(c) == name[d->line_pos]) {
            d->line_pos++;
        } else if (d->line_pos == 0 && c == '\r') {
            d->line_pos = HEADER_CR;
        } else if (d->line_pos != NAME_LEN || (c != ' ' && c != '\t')) {
            if (d->line_pos == NAME_LEN && c == ':')
                d->received++;
            d->line_pos = HEADER_OTHER;
            if ((p = memchr(p, '\n', (size_t)(end - p))) == NULL)
                return;
        }
    }
}

static bool has_eightbit(const char *p, size_t n)
{
    uint64_t all = 0, w[4];
    for (; n >= sizeof(w); p += sizeof(w), n -= sizeof(w)) {
        memcpy(w, p, sizeof(w));
        all |= w[0] | w[1] | w[2] | w[3];
    }
    for (; n != 0; p++, n--)
        all |= (unsigned char)*p;
    return (all & 0x8080808080808080) != 0;
}

bool dot_decode(struct dot_decoder *d, const char *in, size_t n, char *out, size_t *used,
                size_t *made)
{
    struct work w = {.d = d, .p = in, .end = in + n, .run = in, .out = out};
    while (w.p < w.end && d->state != AT_END) {
        if (d->state == IN_LINE)
            in_line(&w);
        else if (d->state == AT_START)
            at_start(&w);
        else
            after(&w);
    }
    flush(&w, w.p, w.p);
    *used = (size_t)(w.p - in);
    *made = (size_t)(w.out - out);
    d->bytes += *made;
    if (*made != 0) {
        d->nul = d->nul || memchr(out, '\0', *made) != NULL;
        d->eightbit = d->eightbit || has_eightbit(out, *made);
        if (d->in_header)
            header_scan(d, out, w.out);
    }
    return d->state == AT_END;
}

void dot_encoder_init(struct dot_encoder *d)
{
    d->state = AT_START;
}

/* A dot starts a line if CRLF stands before it, in this buffer or across its edge. */
static bool starts_line(const struct dot_encoder *d, const char *in, const char *dot)
{
    size_t i = (size_t)(dot - in);
    if (i == 0)
        return d->state == AT_START;
    if (i == 1)
        return dot[-1] == '\n' && d->state == AFTER_CR;
    return dot[-1] == '\n' && dot[-2] == '\r';
}

size_t dot_encode(struct dot_encoder *d, const char *in, size_t n, char *out)
{
    if (n == 0)
        return 0;
    const char *run = in, *end = in + n, *dot = in;
    char *o = out;
    while ((dot = memchr(dot, '.', (size_t)(end - dot))) != NULL) {
        dot++;
        if (starts_line(d, in, dot - 1)) {
            memcpy(o, run, (size_t)(dot - run));
            o += dot - run;
            run = dot - 1; /* the dot goes out again with the next run */
        }
    }
    memcpy(o, run, (size_t)(end - run));
    o += end - run;
    bool cr_before = n >= 2 ? end[-2] == '\r' : d->state == AFTER_CR;
    if (end[-1] == '\n' && cr_before)
        d->state = AT_START;
    else
        d->state = end[-1] == '\r' ? AFTER_CR : IN_LINE;
    return (size_t)(o - out);
}

size_t dot_encode_end(struct dot_encoder *d, char out[5])
{
    static const char all[5] = "\r\n.\r\n";
    size_t skip = d->state == AT_START ? 2 : 0;
    memcpy(out, all + skip, sizeof(all) - skip);
    d->state = AT_END;
    return sizeof(all) - skip;
}
