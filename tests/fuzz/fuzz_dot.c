/*
 * fuzz_dot.c - the same octets whole and in pieces must decode and encode to the same. The first
 * octets of the input choose the pieces.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "relay/proto/dot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool decode(struct dot_decoder *d, const char *in, size_t n, size_t piece, bool normalise,
                   char *out, size_t *used_all, size_t *made_all)
{
    bool end = false;
    dot_decoder_init(d, normalise);
    *used_all = *made_all = 0;
    while (!end && *used_all < n) {
        size_t part = n - *used_all < piece ? n - *used_all : piece, used, made;
        end = dot_decode(d, in + *used_all, part, out + *made_all, &used, &made);
        ASSERT(end || used == part);
        ASSERT(made <= (normalise ? 2 : 1) * part + 2);
        *used_all += used;
        *made_all += made;
    }
    return end;
}

static void check_decode(const char *in, size_t n, size_t piece, bool normalise)
{
    struct dot_decoder a, b;
    size_t used_a, made_a, used_b, made_b;
    char *out_a = malloc(2 * n + 2), *out_b = malloc(2 * n + 2);
    bool end_a = decode(&a, in, n, n + 1, normalise, out_a, &used_a, &made_a);
    bool end_b = decode(&b, in, n, piece, normalise, out_b, &used_b, &made_b);
    ASSERT(end_a == end_b && used_a == used_b && made_a == made_b);
    ASSERT(memcmp(out_a, out_b, made_a) == 0);
    ASSERT(a.bare_lf == b.bare_lf && a.bare_cr == b.bare_cr && a.nul == b.nul);
    ASSERT(a.eightbit == b.eightbit && a.received == b.received && a.bytes == b.bytes);
    ASSERT(a.longest_line == b.longest_line && a.in_header == b.in_header);
    if (end_a && n >= 3)
        ASSERT(memcmp(in + used_a - 3, ".\r\n", 3) == 0);
    for (size_t i = 0; normalise && end_a && i < made_a; i++)
        ASSERT(out_a[i] != '\n' ? out_a[i] != '\r' || out_a[i + 1] == '\n'
                                : i != 0 && out_a[i - 1] == '\r');
    free(out_a);
    free(out_b);
}

/* What was encoded decodes to itself. */
static void check_encode(const char *in, size_t n, size_t piece)
{
    struct dot_encoder e;
    struct dot_decoder d;
    char *wire = malloc(2 * n + 5), *back = malloc(2 * n + 8);
    size_t made = 0, used, got;
    dot_encoder_init(&e);
    for (size_t at = 0; at < n; at += piece)
        made += dot_encode(&e, in + at, n - at < piece ? n - at : piece, wire + made);
    made += dot_encode_end(&e, wire + made);
    dot_decoder_init(&d, false);
    ASSERT(dot_decode(&d, wire, made, back, &used, &got));
    ASSERT(used == made && (got == n || got == n + 2) && memcmp(back, in, n) == 0);
    free(wire);
    free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    size_t piece = data[0] % 32 + 1;
    char *in = malloc(size - 1);
    memcpy(in, data + 1, size - 1);
    check_decode(in, size - 1, piece, false);
    check_decode(in, size - 1, piece, true);
    check_encode(in, size - 1, piece);
    free(in);
    return 0;
}
