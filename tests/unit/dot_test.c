/*
 * dot_test.c - dot-stuffing against a slow reference, whole, cut at every edge and byte by byte.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include "base/assert.h"
#include "base/random.h"
#include "base/str.h"
#include "relay/proto/dot.h"

#define MAX 4096

struct result {
    char out[2 * MAX + 16];
    size_t n;    /* of out */
    size_t used; /* of the input */
    bool end, bare_lf, bare_cr, nul, eightbit, in_header;
    unsigned received;
    size_t longest;
};

/* ---- the reference: looks at the whole input at every octet ---- */

static bool line_starts_at(const char *in, size_t i)
{
    return i == 0 || (i >= 2 && in[i - 2] == '\r' && in[i - 1] == '\n');
}

static void ref_put(struct result *r, const char *s)
{
    while (*s != '\0')
        r->out[r->n++] = *s++;
}

static void ref_facts(struct result *r)
{
    size_t line = 0; /* where it starts */
    r->in_header = true;
    for (size_t i = 0; i < r->n; i++) {
        r->nul |= r->out[i] == '\0';
        r->eightbit |= (r->out[i] & 0x80) != 0;
        if (r->out[i] != '\n')
            continue;
        size_t n = i - line;
        n -= n != 0 && r->out[i - 1] == '\r';
        if (n == 0)
            r->in_header = false;
        char copy[64] = "";
        memcpy(copy, r->out + line, n < 63 ? n : 63);
        unsigned blanks = 8;
        while (copy[blanks] == ' ' || copy[blanks] == '\t')
            blanks++;
        if (r->in_header && strncasecmp(copy, "received", 8) == 0 && copy[blanks] == ':')
            r->received++;
        line = i + 1;
    }
}

static void ref_decode(const char *in, size_t n, bool normalise, struct result *r)
{
    size_t line_len = 0;
    memset(r, 0, sizeof(*r));
    for (size_t i = 0; i < n; i++) {
        if (line_starts_at(in, i) && in[i] == '.') {
            if (i + 2 < n && in[i + 1] == '\r' && in[i + 2] == '\n') {
                r->end = true;
                r->used = i + 3;
                break;
            }
            continue;
        }
        bool crlf = in[i] == '\r' && i + 1 < n && in[i + 1] == '\n';
        if (crlf) {
            ref_put(r, "\r\n");
            line_len = 0;
            i++;
        } else if (in[i] == '\r' || in[i] == '\n') {
            *(in[i] == '\r' ? &r->bare_cr : &r->bare_lf) = true;
            if (normalise) {
                ref_put(r, "\r\n");
                line_len = 0;
                continue;
            }
            r->out[r->n++] = in[i];
            line_len++;
        } else {
            r->out[r->n++] = in[i];
            line_len++;
        }
        if (line_len > r->longest)
            r->longest = line_len;
    }
    if (!r->end)
        r->used = n;
    ref_facts(r);
}

/* ---- the decoder, fed in pieces ---- */

static void feed(const char *in, size_t n, bool normalise, const size_t *cut, size_t n_cut,
                 size_t step, struct result *r)
{
    struct dot_decoder d;
    dot_decoder_init(&d, normalise);
    memset(r, 0, sizeof(*r));
    size_t c = 0, at = 0;
    while (at < n && !r->end) {
        size_t to = step != 0 ? at + step : c < n_cut ? cut[c++] : n;
        if (to > n)
            to = n;
        /* Copies of the exact sizes, so that a sanitizer sees a step too far. */
        char *piece = malloc(to - at + 1);
        size_t cap = (normalise ? 2 * (to - at) : to - at) + 2;
        char *out = malloc(cap);
        size_t used, made;
        memcpy(piece, in + at, to - at);
        r->end = dot_decode(&d, piece, to - at, out, &used, &made);
        assert_true(made <= cap);
        assert_true(r->end || used == to - at);
        memcpy(r->out + r->n, out, made);
        r->n += made;
        r->used += used;
        at += used;
        free(piece);
        free(out);
    }
    assert_int_equal(d.bytes, r->n);
    r->bare_lf = d.bare_lf;
    r->bare_cr = d.bare_cr;
    r->nul = d.nul;
    r->eightbit = d.eightbit;
    r->received = d.received;
    r->longest = d.longest_line;
    r->in_header = d.in_header;
}

static void assert_same(const struct result *a, const struct result *ref, const char *what)
{
    if (a->end != ref->end || a->used != ref->used || a->n != ref->n ||
        memcmp(a->out, ref->out, a->n) != 0)
        fail_msg("%s: content differs: end %d/%d used %zu/%zu made %zu/%zu", what, a->end, ref->end,
                 a->used, ref->used, a->n, ref->n);
    if (a->bare_lf != ref->bare_lf || a->bare_cr != ref->bare_cr || a->nul != ref->nul ||
        a->eightbit != ref->eightbit || a->received != ref->received ||
        a->longest != ref->longest || a->in_header != ref->in_header)
        fail_msg("%s: facts differ: lf %d/%d cr %d/%d nul %d/%d 8bit %d/%d received %u/%u longest "
                 "%zu/%zu header %d/%d",
                 what, a->bare_lf, ref->bare_lf, a->bare_cr, ref->bare_cr, a->nul, ref->nul,
                 a->eightbit, ref->eightbit, a->received, ref->received, a->longest, ref->longest,
                 a->in_header, ref->in_header);
}

/* Only complete input has one meaning: a CR at the very end may still become anything. */
static void check_all_cuts(const char *in, size_t n, bool normalise)
{
    static struct result ref, got;
    ref_decode(in, n, normalise, &ref);
    if (!ref.end)
        return;
    feed(in, n, normalise, NULL, 0, 0, &got);
    assert_same(&got, &ref, "whole");
    feed(in, n, normalise, NULL, 0, 1, &got);
    assert_same(&got, &ref, "byte by byte");
    for (size_t a = 1; a < n; a++) {
        feed(in, n, normalise, &a, 1, 0, &got);
        assert_same(&got, &ref, "one cut");
    }
    for (size_t a = 1; n < 24 && a < n; a++)
        for (size_t b = a + 1; b < n; b++) {
            size_t cut[2] = {a, b};
            feed(in, n, normalise, cut, 2, 0, &got);
            assert_same(&got, &ref, "two cuts");
        }
}

static const struct {
    struct str in;
    const char *out; /* content; NULL: this is not the end */
    size_t rest;     /* octets left behind the end */
    bool lf, cr;
} table[] = {
    {STR(".\r\n"), "", 0, false, false},
    {STR(".\r\nQUIT\r\n"), "", 6, false, false},
    {STR("a\r\n.\r\n"), "a\r\n", 0, false, false},
    {STR("\r\n.\r\n"), "\r\n", 0, false, false},
    {STR("..\r\n.\r\n"), ".\r\n", 0, false, false},
    {STR("...\r\n.\r\n"), "..\r\n", 0, false, false},
    {STR(".a\r\n.\r\n"), "a\r\n", 0, false, false},
    {STR("a\r\n..b\r\n.\r\nX"), "a\r\n.b\r\n", 1, false, false},
    {STR("a.\r\n.\r\n"), "a.\r\n", 0, false, false},
    {STR("a.b\r\n.\r\n"), "a.b\r\n", 0, false, false},
    /* what some servers took for the end */
    {STR(".\n"), NULL, 0, true, false},
    {STR("a\n.\n"), NULL, 0, true, false},
    {STR("a\r\n.\n"), NULL, 0, true, false},
    {STR("a\n.\r\n"), NULL, 0, true, false},
    {STR("a\r.\r\n"), NULL, 0, false, true},
    {STR("a\r.\r"), NULL, 0, false, true},
    {STR("a\r\n.\r"), NULL, 0, false, false},
    {STR("a\r\n.\r\r\n"), NULL, 0, false, true},
    {STR("a\r\n.\r.\r\n"), NULL, 0, false, true},
    {STR("a\r\n. \r\n"), NULL, 0, false, false},
    {STR("a\r\n.\0\r\n"), NULL, 0, false, false},
    {STR("a\r\n\0.\r\n"), NULL, 0, false, false},
    {STR("a\r\n..\r\n"), NULL, 0, false, false},
    {STR("a.\r\n"), NULL, 0, false, false},
    {STR("a\n.\n.\r\n.\r\n"), "a\n.\n.\r\n", 0, true, false},
    {STR("a\r\r\n.\r\n"), "a\r\r\n", 0, false, true},
    {STR("a\r\n\r.\r\n.\r\n"), "a\r\n\r.\r\n", 0, false, true},
    {STR(".\rb\r\n.\r\n"), "\rb\r\n", 0, false, true},
    {STR(".\n\r\n.\r\n"), "\n\r\n", 0, true, false},
};

static void test_ends(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(table); i++) {
        static struct result got;
        feed(table[i].in.p, table[i].in.n, false, NULL, 0, 1, &got);
        if (got.end != (table[i].out != NULL))
            fail_msg("case %zu: end %d", i, got.end);
        assert_int_equal(got.bare_lf, table[i].lf);
        assert_int_equal(got.bare_cr, table[i].cr);
        if (table[i].out != NULL) {
            assert_true(str_eq(str_n(got.out, got.n), str_c(table[i].out)));
            assert_int_equal(table[i].in.n - got.used, table[i].rest);
        }
        check_all_cuts(table[i].in.p, table[i].in.n, false);
        check_all_cuts(table[i].in.p, table[i].in.n, true);
    }
}

static void test_normalise(void **state)
{
    (void)state;
    static struct result got;
    const struct str in = STR("a\nb\rc\r\r\nd\n.\n.\r\n\r.\r\n..\r\n.\r\n");
    feed(in.p, in.n, true, NULL, 0, 1, &got);
    assert_true(got.end);
    assert_true(
        str_eq(str_n(got.out, got.n), STR("a\r\nb\r\nc\r\n\r\nd\r\n.\r\n.\r\n\r\n.\r\n.\r\n")));
    assert_true(got.bare_lf && got.bare_cr);
    check_all_cuts(in.p, in.n, true);
}

static void test_received(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        unsigned n;
    } t[] = {
        {"Received: a\r\n\r\n.\r\n", 1},
        {"Received: a\r\nRECEIVED:b\r\n c\r\nreceived\t :d\r\nReceived-SPF: e\r\n\r\n.\r\n", 3},
        {"Subject: x\r\n Received: a\r\nX-Received: b\r\n\r\n.\r\n", 0},
        {"Received: a\r\n\r\nReceived: b\r\n.\r\n", 1},
        {"\r\nReceived: b\r\n.\r\n", 0},
        {"..Received: b\r\n.\r\n", 0},
        {".Received: b\r\n.\r\n", 1},
        {"Received a\r\nReceive: b\r\nReceivedd: c\r\nreceived\r\n: d\r\n.\r\n", 0},
        {"A: b\nReceived: x\r\n.\r\n", 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        static struct result got;
        feed(t[i].in, strlen(t[i].in), false, NULL, 0, 0, &got);
        assert_true(got.end);
        if (got.received != t[i].n)
            fail_msg("case %zu: %u", i, got.received);
        check_all_cuts(t[i].in, strlen(t[i].in), false);
    }
}

static size_t random_content(char *dst, size_t cap)
{
    static const char *const piece[] = {
        "\r\n",  "\r\n",   "\r", "\n",       ".",         ".",        "a", "text of a line",
        "\r\n.", "\r\n..", ":",  "Received", "received:", "\xc3\xa9", " ", "\r\n\r\n"};
    size_t n = 0;
    while (n + 24 < cap) {
        uint64_t r = random_jitter(ARRAY_LEN(piece) + 1);
        if (r == ARRAY_LEN(piece)) {
            dst[n++] = '\0';
            continue;
        }
        memcpy(dst + n, piece[r], strlen(piece[r]));
        n += strlen(piece[r]);
    }
    memcpy(dst + n, "\r\n.\r\nNOOP\r\n", 11);
    return n + 11;
}

static void test_random(void **state)
{
    (void)state;
    random_jitter_seed(5321);
    for (int round = 0; round < 400; round++) {
        char in[300];
        size_t n = random_content(in, 30 + random_jitter(sizeof(in) - 30));
        check_all_cuts(in, n, false);
        check_all_cuts(in, n, true);
    }
}

/* What a client can send must not cost the square of its length. */
static void test_linear(void **state)
{
    (void)state;
    const size_t n = 1 << 20;
    static const char *const filler[] = {"\r", "\n", "\r\n", "\r\n..", ".", "\r\n.\r", "a"};
    char *in = malloc(n), *out = malloc(2 * n + 2);
    for (size_t f = 0; f < ARRAY_LEN(filler); f++) {
        struct dot_decoder d;
        struct dot_encoder e;
        size_t used, made;
        for (size_t i = 0; i < n; i++)
            in[i] = filler[f][i % strlen(filler[f])];
        clock_t start = clock();
        dot_decoder_init(&d, true);
        assert_false(dot_decode(&d, in, n, out, &used, &made));
        dot_encoder_init(&e);
        dot_encode(&e, in, n, out);
        assert_true(clock() - start < 4 * CLOCKS_PER_SEC);
    }
    free(in);
    free(out);
}

/* ---- encoder ---- */

static size_t encode(const char *in, size_t n, size_t step, size_t cut, char *out)
{
    struct dot_encoder e;
    dot_encoder_init(&e);
    size_t made = 0;
    for (size_t at = 0; at < n;) {
        size_t part = step != 0 ? step : at == 0 && cut != 0 ? cut : n - at;
        char *piece = malloc(part), *to = malloc(2 * part);
        memcpy(piece, in + at, part);
        size_t m = dot_encode(&e, piece, part, to);
        assert_true(m <= 2 * part);
        memcpy(out + made, to, m);
        made += m;
        at += part;
        free(piece);
        free(to);
    }
    return made + dot_encode_end(&e, out + made);
}

static size_t ref_encode(const char *in, size_t n, char *out)
{
    size_t made = 0;
    for (size_t i = 0; i < n; i++) {
        if (in[i] == '.' && line_starts_at(in, i))
            out[made++] = '.';
        out[made++] = in[i];
    }
    bool ends = n == 0 || (n >= 2 && memcmp(in + n - 2, "\r\n", 2) == 0);
    const char *end = ends ? ".\r\n" : "\r\n.\r\n";
    memcpy(out + made, end, strlen(end));
    return made + strlen(end);
}

static void test_encode(void **state)
{
    (void)state;
    static char out[2 * MAX], ref[2 * MAX];
    static struct result got;
    random_jitter_seed(1);
    for (int round = 0; round < 600; round++) {
        char in[300];
        size_t n = round == 0 ? 0 : random_content(in, 30 + random_jitter(sizeof(in) - 30));
        n = random_jitter(n + 1); /* ends anywhere */
        size_t ref_n = ref_encode(in, n, ref);
        for (size_t cut = 0; cut < n || cut == 0; cut++) {
            assert_int_equal(encode(in, n, 0, cut, out), ref_n);
            assert_memory_equal(out, ref, ref_n);
        }
        assert_int_equal(encode(in, n, 1, 0, out), ref_n);
        assert_memory_equal(out, ref, ref_n);
        /* and back: the same content, plus at most the CRLF at its end */
        feed(out, ref_n, false, NULL, 0, 0, &got);
        assert_true(got.end && got.used == ref_n);
        assert_true(got.n == n || got.n == n + 2);
        assert_memory_equal(got.out, in, n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ends),     cmocka_unit_test(test_normalise),
        cmocka_unit_test(test_received), cmocka_unit_test(test_random),
        cmocka_unit_test(test_encode),   cmocka_unit_test(test_linear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
