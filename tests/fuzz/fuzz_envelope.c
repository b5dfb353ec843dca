/*
 * fuzz_envelope.c - any octets as an envelope record; what decodes encodes to the same octets.
 */
#include <stddef.h>
#include <stdint.h>

#include "base/assert.h"
#include "relay/mail/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct envelope env;
    struct err e;
    arena_init(&a, 4096, 0);
    if (envelope_decode(str_n((const char *)data, size), &a, &env, &e)) {
        struct buf out = BUF_INIT(size);
        ASSERT(env.n_rcpt >= 1 && env.n_rcpt <= ENVELOPE_RCPT_MAX);
        ASSERT(envelope_encode(&env, &out));
        ASSERT(out.n == size && memcmp(out.p, data, size) == 0);
        buf_free(&out);
    }
    arena_free(&a);
    return 0;
}
