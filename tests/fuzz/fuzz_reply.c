/*
 * fuzz_reply.c - any octets as a next hop's replies, whole and in pieces: the same replies, clean
 * text.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "relay/proto/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct run {
    struct smtp_reply_parser p;
    const char *in;
    size_t n, at, piece;
};

/* Until the next reply, the end of the input, or an error. */
static enum smtp_reply_state next(struct run *r, struct smtp_reply *out)
{
    enum smtp_reply_state st = SMTP_REPLY_MORE;
    while (st == SMTP_REPLY_MORE && r->at < r->n) {
        size_t part = r->n - r->at < r->piece ? r->n - r->at : r->piece, used;
        st = smtp_reply_parse(&r->p, r->in + r->at, part, &used, out);
        ASSERT(used <= part && (st != SMTP_REPLY_MORE || used == part));
        r->at += used;
    }
    return st;
}

static void check_text(const struct smtp_reply *r)
{
    size_t n = strlen(r->text);
    ASSERT(n < sizeof(r->text) && strlen(r->enhanced) < sizeof(r->enhanced));
    for (size_t i = 0; i < n; i++)
        ASSERT((unsigned char)r->text[i] >= 32 && r->text[i] != 127);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct run a = {.in = (const char *)data + 1, .n = size - 1, .piece = size};
    struct run b = {.in = a.in, .n = a.n, .piece = data[0] % 64 + 1};
    smtp_reply_parser_init(&a.p);
    smtp_reply_parser_init(&b.p);
    a.p.keep_lines = b.p.keep_lines = (data[0] & 128) != 0;
    enum smtp_reply_state st;
    do {
        struct smtp_reply ra = {0}, rb = {0};
        st = next(&a, &ra);
        ASSERT(next(&b, &rb) == st);
        check_text(&ra);
        check_text(&rb);
        if (st == SMTP_REPLY_DONE) {
            char s[12];
            ASSERT(ra.code >= 200 && ra.code <= 599 && a.at == b.at);
            ASSERT(memcmp(&ra, &rb, sizeof(ra)) == 0);
            ASSERT(strlen(smtp_reply_status(&ra, s)) >= 5);
            ASSERT(str_eq(buf_str(&a.p.ehlo), buf_str(&b.p.ehlo)));
        }
    } while (st == SMTP_REPLY_DONE);
    smtp_reply_parser_free(&a.p);
    smtp_reply_parser_free(&b.p);
    return 0;
}
