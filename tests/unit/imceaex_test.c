/*
 * imceaex_test.c - encapsulated addresses: known vectors, hostile encodings, round trips.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "rewrite/imceaex.h"

struct pair {
    struct str plain, encoded;
};

static const struct pair pair[] = {
    {STR("/o=First Organization/ou=Exchange Administrative Group "
         "(FYDIBOHF23SPDLT)/cn=Recipients/cn=jdoe123"),
     STR("_o=First+20Organization_ou=Exchange+20Administrative+20Group+20+28FYDIBOHF23SPDLT+29_"
         "cn=Recipients_cn=jdoe123")},
    {STR("/o=A&B, Inc./ou=Site_1/cn=Recipients/cn=o'brien.j+x@y"),
     STR("_o=A+26B+2C+20Inc+2E_ou=Site+5F1_cn=Recipients_cn=o+27brien+2Ej+2Bx+40y")},
    {STR("-="), STR("-=")},
    {STR("//"), STR("__")},
    {STR("+"), STR("+2B")},
    {STR("+20"), STR("+2B20")},
    {STR("_"), STR("+5F")},
    {STR("%!\"\\"), STR("+25+21+22+5C")},
    {STR("M\xc3\xbcller\xff"), STR("M+C3+BCller+FF")},
};

static void vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pair); i++) {
        struct buf b = BUF_INIT(1000);
        assert_true(imcea_encode(pair[i].plain, &b));
        assert_string_equal(buf_cstr(&b), pair[i].encoded.p);
        buf_clear(&b);
        assert_true(imcea_decode(pair[i].encoded, &b));
        assert_string_equal(buf_cstr(&b), pair[i].plain.p);
        buf_free(&b);
    }
}

static void decoding_is_lenient_but_one_pass(void **state)
{
    static const struct pair lenient[] = {
        {STR("+"), STR("+")},
        {STR("++"), STR("++")},
        {STR("+2"), STR("+2")},
        {STR("+2g"), STR("+2g")},
        {STR("+g2"), STR("+g2")},
        {STR("a b"), STR("a+20b")},
        {STR(" "), STR("+20")},
        {STR("o+"), STR("+6F+")},
        {STR(".j"), STR("+2ej")}, /* either case */
        {STR("/J"), STR("+2f+4A")},
        {STR("+20"), STR("+2B20")}, /* not a blank: what was decoded is not decoded again */
        {STR("+2B"), STR("+2b2B")},
        {STR("+/"), STR("+_")},
        {STR("_"), STR("+5f")}, /* not a slash */
        {STR("+ "), STR("++20")},
        {STR("a.b,c@d"), STR("a.b,c@d")}, /* what an encoder would not have left */
        {STR("\x80\xff"), STR("\x80\xff")},
        {STR("\x80\xff"), STR("+80+fF")},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lenient); i++) {
        struct buf b = BUF_INIT(100);
        assert_true(imcea_decode(lenient[i].encoded, &b));
        assert_string_equal(buf_cstr(&b), lenient[i].plain.p);
        buf_free(&b);
    }
}

static void control_octets_are_refused(void **state)
{
    static const struct str bad[] = {STR("a+00"),           STR("+0Db"),    STR("+0a"),
                                     STR("a+0D+0A.+0D+0A"), STR("cn=x+7F"), STR("+1b[0m"),
                                     STR("\x01"),           STR("a\nb"),    STR("_o=a+09b"),
                                     STR("tail+1F"),        STR("")};
    struct buf b = BUF_INIT(100);
    (void)state;
    assert_true(buf_append_c(&b, "kept"));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(imcea_decode(bad[i], &b));
        assert_string_equal(buf_cstr(&b), "kept");
    }
    for (unsigned c = 0; c < 256; c++) {
        char text[4];
        (void)snprintf(text, sizeof(text), "+%02x", c);
        buf_clear(&b);
        assert_int_equal(imcea_decode(str_c(text), &b), c >= 32 && c != 127);
    }
    buf_free(&b);
}

static void types(void **state)
{
    static const struct {
        struct str local;
        enum imcea_kind kind;
        const char *encoded;
    } local[] = {
        {STR("IMCEAEX-_o=a_cn=b"), IMCEA_EX, "_o=a_cn=b"},
        {STR("imceaex-_o=a-b-c"), IMCEA_EX, "_o=a-b-c"},
        {STR("ImCeAeX--"), IMCEA_EX, "-"},
        {STR("IMCEAEX-"), IMCEA_EX, ""},
        {STR("IMCEASMTP-a+40example+2Eorg"), IMCEA_TRICK, "a+40example+2Eorg"},
        {STR("imceaX500-_o=a"), IMCEA_TRICK, "_o=a"},
        {STR("IMCEAX400-c+3Dus"), IMCEA_NONE, NULL},
        {STR("IMCEAEXX-a"), IMCEA_NONE, NULL},
        {STR("IMCEA-EX-a"), IMCEA_NONE, NULL},
        {STR("IMCEAEX"), IMCEA_NONE, NULL},
        {STR("IMCEAEX_o=a"), IMCEA_NONE, NULL},
        {STR("IMCEA"), IMCEA_NONE, NULL},
        {STR("IMCE"), IMCEA_NONE, NULL},
        {STR("xIMCEAEX-_o=a"), IMCEA_NONE, NULL},
        {STR(""), IMCEA_NONE, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(local); i++) {
        struct str encoded;
        assert_int_equal(imcea_parse(local[i].local, &encoded), local[i].kind);
        if (local[i].encoded != NULL)
            assert_true(str_eq(encoded, str_c(local[i].encoded)));
    }
}

static void caps_leave_the_buffer_alone(void **state)
{
    struct buf b = BUF_INIT(6);
    (void)state;
    assert_true(imcea_encode(STR("ab"), &b));
    assert_false(imcea_encode(STR("x .y"), &b)); /* 8 octets */
    assert_string_equal(buf_cstr(&b), "ab");
    assert_false(imcea_decode(STR("+41+42+43+44+45"), &b));
    assert_string_equal(buf_cstr(&b), "ab");
    assert_true(imcea_encode(STR(""), &b));
    assert_string_equal(buf_cstr(&b), "ab");
    buf_free(&b);
}

/* ---- round trips ---- */

static uint64_t seed;

static unsigned below(unsigned n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (unsigned)(seed % n);
}

/* A DN as organisations have them, with any octet that is no control in its values. */
static void random_dn(struct buf *out)
{
    static const char *const key[] = {"o", "ou", "cn"};
    unsigned parts = 1 + below(6);
    for (unsigned i = 0; i < parts; i++) {
        assert_true(buf_printf(out, "/%s=", key[i < 2 ? i : 2]));
        for (unsigned n = below(20); n > 0; n--) {
            unsigned c = 32 + below(224);
            assert_true(buf_append_char(out, (char)(c == 127 ? '/' : c)));
        }
    }
}

static void round_trips(void **state)
{
    (void)state;
    seed = 20261120;
    for (unsigned i = 0; i < 20000; i++) {
        struct buf dn = BUF_INIT(1000), encoded = BUF_INIT(4000), back = BUF_INIT(1000);
        random_dn(&dn);
        assert_true(imcea_encode(buf_str(&dn), &encoded));
        for (size_t k = 0; k < encoded.n; k++)
            assert_non_null(memchr("-=_+ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                   "0123456789",
                                   encoded.p[k], 66));
        assert_true(imcea_decode(buf_str(&encoded), &back));
        assert_true(str_eq(buf_str(&dn), buf_str(&back)));
        buf_free(&dn);
        buf_free(&encoded);
        buf_free(&back);
    }
}

/* Whatever is decoded, encoding that and decoding it again gives the same. */
static void any_text_settles(void **state)
{
    (void)state;
    seed = 4711;
    for (unsigned i = 0; i < 20000; i++) {
        char text[40];
        unsigned n = below(sizeof(text));
        struct buf once = BUF_INIT(100), encoded = BUF_INIT(400), twice = BUF_INIT(100);
        for (unsigned k = 0; k < n; k++)
            text[k] = below(3) != 0 ? "+_-=09afAFgG"[below(12)] : (char)below(256);
        if (imcea_decode(str_n(text, n), &once)) {
            assert_true(once.n <= n);
            assert_true(imcea_encode(buf_str(&once), &encoded));
            assert_true(imcea_decode(buf_str(&encoded), &twice));
            assert_true(str_eq(buf_str(&once), buf_str(&twice)));
        }
        buf_free(&once);
        buf_free(&encoded);
        buf_free(&twice);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors),
        cmocka_unit_test(decoding_is_lenient_but_one_pass),
        cmocka_unit_test(control_octets_are_refused),
        cmocka_unit_test(types),
        cmocka_unit_test(caps_leave_the_buffer_alone),
        cmocka_unit_test(round_trips),
        cmocka_unit_test(any_text_settles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
