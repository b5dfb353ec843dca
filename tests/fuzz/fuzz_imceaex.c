/*
 * fuzz_imceaex.c - any octets as an encapsulated address, and as one to be encapsulated.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "rewrite/imceaex.h"

#define TEXT_MAX 2000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is encoded comes back, unless it has what is never let through. */
static void check_round_trip(struct str text)
{
    struct buf encoded = BUF_INIT(3 * TEXT_MAX), back = BUF_INIT(TEXT_MAX);
    bool clean = text.n != 0;
    for (size_t i = 0; i < text.n; i++)
        clean = clean && (unsigned char)text.p[i] >= 32 && text.p[i] != 127;
    ASSERT(imcea_encode(text, &encoded));
    ASSERT(imcea_decode(buf_str(&encoded), &back) == clean);
    ASSERT(str_eq(buf_str(&back), clean ? text : STR_NULL));
    buf_free(&encoded);
    buf_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = str_n((const char *)data, size), encoded;
    struct buf out = BUF_INIT(TEXT_MAX);
    if (size > TEXT_MAX)
        return 0;
    if (imcea_parse(in, &encoded) != IMCEA_NONE)
        ASSERT(encoded.n + 6 <= in.n && (encoded.n == 0 || encoded.p + encoded.n == in.p + in.n));
    if (imcea_decode(in, &out)) {
        ASSERT(out.n != 0 && out.n <= in.n);
        for (size_t i = 0; i < out.n; i++)
            ASSERT((unsigned char)out.p[i] >= 32 && out.p[i] != 127);
    } else {
        ASSERT(out.n == 0);
    }
    buf_free(&out);
    check_round_trip(in);
    return 0;
}
