/*
 * envelope_test.c - the envelope's encoding: there and back, its exact octets, and every way in
 * which it can be damaged.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "relay/mail/decision.h"
#include "relay/mail/delivery.h"
#include "relay/mail/envelope.h"

static struct envelope_rcpt rcpts[] = {
    {.address = STR("\"a b\"@contoso.com"), .orcpt = STR("rfc822;x+2By@c"), .notify = 14},
    {.address = STR("Postmaster")},
    {.address = STR("b\xc3\xbcro@fabrikam.de"), .notify = MAIL_NOTIFY_NEVER},
};
static const struct envelope full = {
    .arrival_ms = 1795152145123,
    .sender = STR("s@example.org"),
    .body = MAIL_BODY_8BITMIME,
    .ret = MAIL_RET_HDRS,
    .smtputf8 = true,
    .envid = STR("QQ+2B314"),
    .origin = MAIL_FROM_FOREST,
    .origin_name = STR("target"),
    .client_ip = STR("2001:db8::1"),
    .helo = STR("ex01.target.local"),
    .received_count = 300,
    .n_rcpt = 3,
    .rcpt = rcpts,
};

static void assert_same(const struct envelope *a, const struct envelope *b)
{
    assert_true(a->arrival_ms == b->arrival_ms && str_eq(a->sender, b->sender));
    assert_true(a->body == b->body && a->ret == b->ret && a->smtputf8 == b->smtputf8);
    assert_true(str_eq(a->envid, b->envid) && a->origin == b->origin);
    assert_true(str_eq(a->origin_name, b->origin_name) && str_eq(a->client_ip, b->client_ip));
    assert_true(str_eq(a->helo, b->helo) && a->received_count == b->received_count);
    assert_int_equal(a->n_rcpt, b->n_rcpt);
    for (uint32_t i = 0; i < a->n_rcpt; i++) {
        assert_true(str_eq(a->rcpt[i].address, b->rcpt[i].address));
        assert_true(str_eq(a->rcpt[i].orcpt, b->rcpt[i].orcpt));
        assert_int_equal(a->rcpt[i].notify, b->rcpt[i].notify);
    }
}

static bool decode(struct str bytes, struct envelope *out, struct arena *a)
{
    struct err e = {0};
    arena_init(a, 1024, 0);
    bool ok = envelope_decode(bytes, a, out, &e);
    assert_true(ok || (e.class == ERR_CORRUPT && e.text[0] != '\0'));
    return ok;
}

static bool decodes(struct str bytes)
{
    struct envelope out;
    struct arena a;
    bool ok = decode(bytes, &out, &a);
    arena_free(&a);
    return ok;
}

static void test_there_and_back(void **state)
{
    (void)state;
    struct envelope_rcpt one = {.address = STR("a@b")};
    const struct envelope small = {.n_rcpt = 1, .rcpt = &one};
    const struct envelope early = {.arrival_ms = INT64_MIN, .n_rcpt = 1, .rcpt = &one};
    const struct envelope late = {
        .arrival_ms = INT64_MAX, .received_count = UINT32_MAX, .n_rcpt = 1, .rcpt = &one};
    const struct envelope *const all[] = {&full, &small, &early, &late};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct buf b = BUF_INIT(4096);
        struct envelope out;
        struct arena a;
        assert_true(envelope_encode(all[i], &b));
        assert_true(decode(buf_str(&b), &out, &a));
        assert_same(&out, all[i]);
        arena_free(&a);
        buf_free(&b);
    }
}

/* The format is on people's disks: these octets may never mean anything else. */
static void test_octets(void **state)
{
    (void)state;
    struct envelope_rcpt one = {.address = STR("c@d"), .orcpt = STR("r;c"), .notify = 4};
    const struct envelope env = {.arrival_ms = 300,
                                 .sender = STR("a@b"),
                                 .body = MAIL_BODY_8BITMIME,
                                 .ret = MAIL_RET_FULL,
                                 .smtputf8 = true,
                                 .envid = STR("e"),
                                 .origin = MAIL_FROM_APPLICATION,
                                 .origin_name = STR("n"),
                                 .client_ip = STR("i"),
                                 .helo = STR("h"),
                                 .received_count = 128,
                                 .n_rcpt = 1,
                                 .rcpt = &one};
    static const char want[] = "\x01\xac\x02\x01\x01\x01\x02\x03"
                               "a@b\x01"
                               "e\x01"
                               "n\x01"
                               "i\x01"
                               "h\x80\x01\x01\x03"
                               "c@d\x03"
                               "r;c\x04";
    struct buf b = BUF_INIT(100);
    assert_true(envelope_encode(&env, &b));
    assert_int_equal(b.n, sizeof(want) - 1);
    assert_memory_equal(b.p, want, b.n);
    buf_free(&b);
}

static void test_damage(void **state)
{
    (void)state;
    struct buf b = BUF_INIT(4096);
    assert_true(envelope_encode(&full, &b));
    for (size_t n = 0; n < b.n; n++) { /* cut short, in a buffer of that very size */
        char *cut = malloc(n);
        memcpy(cut, b.p, n);
        assert_false(decodes(str_n(cut, n)));
        free(cut);
    }
    for (size_t i = 0; i < b.n; i++) { /* any one octet changed: whatever comes out is sound */
        char old = b.p[i];
        for (int v = 0; v < 256; v++) {
            struct envelope out;
            struct arena a;
            b.p[i] = (char)v;
            if (decode(buf_str(&b), &out, &a)) {
                struct buf again = BUF_INIT(4096);
                assert_true(envelope_encode(&out, &again));
                assert_true(str_eq(buf_str(&again), buf_str(&b)));
                buf_free(&again);
            }
            arena_free(&a);
        }
        b.p[i] = old;
    }
    assert_true(decodes(buf_str(&b)));
    assert_true(buf_append_char(&b, 0)); /* something behind */
    assert_false(decodes(buf_str(&b)));
    buf_free(&b);
}

static void test_bad_values(void **state)
{
    (void)state;
    /* version 1, arrival 0, four octets, five empty strings, received 0, then the recipients */
    static const struct {
        struct str bytes;
        bool good;
    } t[] = {
        {STR("\1\0\0\0\0\0\0\0\0\0\0\0\1\1a\0\0"), true},
        {STR("\2\0\0\0\0\0\0\0\0\0\0\0\1\1a\0\0"), false},                  /* version */
        {STR("\0\0\0\0\0\0\0\0\0\0\0\0\1\1a\0\0"), false},                  /* version */
        {STR("\1\0\3\0\0\0\0\0\0\0\0\0\1\1a\0\0"), false},                  /* body */
        {STR("\1\0\0\3\0\0\0\0\0\0\0\0\1\1a\0\0"), false},                  /* ret */
        {STR("\1\0\0\0\2\0\0\0\0\0\0\0\1\1a\0\0"), false},                  /* flags */
        {STR("\1\0\0\0\0\4\0\0\0\0\0\0\1\1a\0\0"), false},                  /* origin */
        {STR("\1\0\0\0\0\0\0\0\0\0\0\0\0"), false},                         /* no recipient */
        {STR("\1\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0"), false},                   /* empty address */
        {STR("\1\0\0\0\0\0\0\0\0\0\0\0\1\1a\0\20"), false},                 /* notify */
        {STR("\1\0\0\0\0\0\0\0\0\0\0\0\1\1\n\0\0"), false},                 /* control octet */
        {STR("\1\0\0\0\0\0\0\0\0\0\0\0\1\1\0\0\0"), false},                 /* NUL */
        {STR("\1\0\0\0\0\0\0\0\0\0\0\0\2\1a\0\0"), false},                  /* one is missing */
        {STR("\1\200\0\0\0\0\0\0\0\0\0\0\0\1\1a\0\0"), false},              /* longer than needed */
        {STR("\1\0\0\0\0\0\377\377\377\377\17\0\0\0\0\0\1\1a\0\0"), false}, /* string too long */
        {STR("\1\0\0\0\0\0\0\0\0\0\0\221\116\1a\0\0"), false},              /* 10001 recipients */
        {STR("\1\377\377\377\377\377\377\377\377\377\1\0\0\0\0\0\0\0\0\0\0\1\1a\0\0"), true},
        {STR("\1\377\377\377\377\377\377\377\377\377\2\0\0\0\0\0\0\0\0\0\0\1\1a\0\0"), false},
        {STR("\1\377\377\377\377\377\377\377\377\377\377\1\0\0\0\0\0\0\0\0\0\0\1\1a\0\0"), false},
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        if (decodes(t[i].bytes) != t[i].good)
            fail_msg("case %zu", i);
}

static void test_many(void **state)
{
    (void)state;
    struct envelope env = {.sender = STR("a@b"), .n_rcpt = ENVELOPE_RCPT_MAX};
    env.rcpt = calloc(ENVELOPE_RCPT_MAX + 1, sizeof(*env.rcpt));
    for (uint32_t i = 0; i <= ENVELOPE_RCPT_MAX; i++)
        env.rcpt[i].address = STR("someone@contoso.com");
    struct buf b = BUF_INIT(1 << 20);
    assert_true(envelope_encode(&env, &b));
    assert_true(decodes(buf_str(&b)));
    struct arena small;
    struct envelope out;
    struct err e;
    arena_init(&small, 1024, 4096);
    assert_false(envelope_decode(buf_str(&b), &small, &out, &e));
    assert_int_equal(e.class, ERR_LIMIT);
    arena_free(&small);
    buf_clear(&b);
    env.n_rcpt++;
    assert_true(envelope_encode(&env, &b));
    assert_false(decodes(buf_str(&b)));
    struct buf tiny = BUF_INIT(100);
    assert_false(envelope_encode(&env, &tiny));
    assert_int_equal(tiny.n, 0);
    buf_free(&tiny);
    buf_free(&b);
    free(env.rcpt);
}

static void test_names(void **state)
{
    (void)state;
    char text[32], cut[8];
    const struct dest_key k = {.kind = DEST_MX, .name = STR("example.org")};
    dest_key_print(&k, text, sizeof(text));
    assert_string_equal(text, "mx:example.org");
    dest_key_print(&k, cut, sizeof(cut));
    assert_string_equal(cut, "mx:exam");
    assert_string_equal(outcome_name(OUTCOME_REROUTE), "reroute");
    assert_string_equal(dest_verdict_name(DEST_BUSY), "busy");
    assert_string_equal(decision_kind_name(DECISION_DEFER), "defer");
    assert_string_equal(mail_origin_name(MAIL_FROM_LOCAL), "local");
    assert_string_equal(outcome_name((enum outcome)99), "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back), cmocka_unit_test(test_octets),
        cmocka_unit_test(test_damage),         cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_many),           cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
