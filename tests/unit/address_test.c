/*
 * address_test.c - the address grammar: good, hostile and at the limits; keys.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/assert.h"
#include "rewrite/address.h"

#define EMPTY ADDRESS_ALLOW_EMPTY
#define UTF8  ADDRESS_ALLOW_UTF8
#define ROUTE ADDRESS_ALLOW_ROUTE
#define POST  ADDRESS_ALLOW_POSTMASTER

struct bare {
    struct str in;
    unsigned flags;
    enum address_status status;
    const char *local, *domain; /* when OK */
    const char *key;
};

static const struct bare bare[] = {
    {STR("a@b"), 0, ADDRESS_OK, "a", "b", "a@b"},
    {STR("John.Doe@Contoso.COM"), 0, ADDRESS_OK, "John.Doe", "Contoso.COM", "john.doe@contoso.com"},
    {STR("a!#$%&'*+-/=?^_`{|}~z@b.c"), 0, ADDRESS_OK, "a!#$%&'*+-/=?^_`{|}~z", "b.c",
     "a!#$%&'*+-/=?^_`{|}~z@b.c"},
    {STR("user%example.org@b.c"), 0, ADDRESS_OK, "user%example.org", "b.c", "user%example.org@b.c"},
    {STR("host!user@b.c"), 0, ADDRESS_OK, "host!user", "b.c", "host!user@b.c"},
    {STR("=?utf-8?Q?a?=@b.c"), 0, ADDRESS_OK, "=?utf-8?Q?a?=", "b.c", "=?utf-8?q?a?=@b.c"},
    {STR("IMCEAEX-_o=First+20Org_cn=jdoe@b.c"), 0, ADDRESS_OK, "IMCEAEX-_o=First+20Org_cn=jdoe",
     "b.c", "imceaex-_o=first+20org_cn=jdoe@b.c"},
    {STR("AZaz09@AZaz09.Z9"), 0, ADDRESS_OK, "AZaz09", "AZaz09.Z9", "azaz09@azaz09.z9"},
    {STR("A@A"), 0, ADDRESS_OK, "A", "A", "a@a"},
    {STR("1@2.3.4.5"), 0, ADDRESS_OK, "1", "2.3.4.5", "1@2.3.4.5"},
    {STR("a@x--y.z-1.0"), 0, ADDRESS_OK, "a", "x--y.z-1.0", "a@x--y.z-1.0"},
    {STR("-@b"), 0, ADDRESS_OK, "-", "b", "-@b"},
    /* quoted: as written, and unquoted in the key when the quotes were not needed */
    {STR("\"John Doe\"@b.c"), 0, ADDRESS_OK, "\"John Doe\"", "b.c", "\"john doe\"@b.c"},
    {STR("\"john.doe\"@b.c"), 0, ADDRESS_OK, "\"john.doe\"", "b.c", "john.doe@b.c"},
    {STR("\"j\\ohn\"@b.c"), 0, ADDRESS_OK, "\"j\\ohn\"", "b.c", "john@b.c"},
    {STR("\"a\\\"b\\\\c\"@b.c"), 0, ADDRESS_OK, "\"a\\\"b\\\\c\"", "b.c", "\"a\\\"b\\\\c\"@b.c"},
    {STR("\"a\\ \\@b\"@b.c"), 0, ADDRESS_OK, "\"a\\ \\@b\"", "b.c", "\"a @b\"@b.c"},
    {STR("\"a@b>c<d\"@e"), 0, ADDRESS_OK, "\"a@b>c<d\"", "e", "\"a@b>c<d\"@e"},
    {STR("\"\"@b"), 0, ADDRESS_OK, "\"\"", "b", "\"\"@b"},
    {STR("\"a..b\"@b"), 0, ADDRESS_OK, "\"a..b\"", "b", "\"a..b\"@b"},
    {STR("\".\"@b"), 0, ADDRESS_OK, "\".\"", "b", "\".\"@b"},
    /* literals */
    {STR("a@[1.2.3.4]"), 0, ADDRESS_OK, "a", "[1.2.3.4]", "a@[1.2.3.4]"},
    {STR("a@[IPv6:FE80::1]"), 0, ADDRESS_OK, "a", "[IPv6:FE80::1]", "a@[ipv6:fe80::1]"},
    {STR("a@[ipv6:::]"), 0, ADDRESS_OK, "a", "[ipv6:::]", "a@[ipv6:::]"},
    {STR("a@[IPv6:::ffff:1.2.3.4]"), 0, ADDRESS_OK, "a", "[IPv6:::ffff:1.2.3.4]",
     "a@[ipv6:::ffff:1.2.3.4]"},
    {STR("a@[1.2.3]"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@[1.2.3.256]"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@[01.2.3.4]"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@[1.2.3.4"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@[1.2.3.4]x"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@[]"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@["), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@[::1]"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@[IPv6:]"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@[IPv6:1::2::3]"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@[IPv6:fe80::1%eth0]"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@[x-tag:foo]"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@[1.2.3.4\0]"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@[IPv6:1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee:ffff]"), 0,
     ADDRESS_SYNTAX, 0, 0, 0},
    /* dots */
    {STR(".a@b"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a.@b"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a..b@b"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@b."), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@.b"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@b..c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@."), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("."), 0, ADDRESS_SYNTAX, 0, 0, 0},
    /* not addresses */
    {STR(""), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("@"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("@b"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@@b"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@b@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a b@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR(" a@b"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@b "), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a(c)@b"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@b(c)"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a,b@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a;b@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a:b@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a\\b@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("<a@b>"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@-b"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@b-"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@b-.c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@b_c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@b/c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@*"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    /* quotes in the wrong place */
    {STR("\"a@b"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a\"@b"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a\"b\"@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\"a\"b@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\"a\".b@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\"a\\\"@b"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\"\\"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\""), 0, ADDRESS_SYNTAX, 0, 0, 0},
    /* control octets, everywhere */
    {STR("a\0b@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@c\0"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@c\r\nRCPT TO:<x@y>"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\"a\r\nb\"@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\"a\\\nb\"@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\"a\tb\"@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\"a\0b\"@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\"a\x7f\"@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a\x7f@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a\x1b[31m@c"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    /* UTF-8, RFC 6531 */
    {STR("b\xc3\xbcro@b.c"), 0, ADDRESS_NEEDS_UTF8, 0, 0, 0},
    {STR("b\xc3\xbcro@b.c"), UTF8, ADDRESS_OK, "b\xc3\xbcro", "b.c", "b\xc3\xbcro@b.c"},
    {STR("a@m\xc3\xbcller.de"), 0, ADDRESS_NEEDS_UTF8, 0, 0, 0},
    {STR("a@M\xc3\xbcLLer.de"), UTF8, ADDRESS_OK, "a", "M\xc3\xbcLLer.de", "a@m\xc3\xbcller.de"},
    {STR("\"\xe4\xbd\xa0 \xe5\xa5\xbd\"@b"), UTF8, ADDRESS_OK, "\"\xe4\xbd\xa0 \xe5\xa5\xbd\"", "b",
     "\"\xe4\xbd\xa0 \xe5\xa5\xbd\"@b"},
    {STR("\"\xe4\xbd\xa0\"@b"), UTF8, ADDRESS_OK, "\"\xe4\xbd\xa0\"", "b", "\xe4\xbd\xa0@b"},
    {STR("\xf0\x9f\x93\xa7@b"), UTF8, ADDRESS_OK, "\xf0\x9f\x93\xa7", "b", "\xf0\x9f\x93\xa7@b"},
    {STR("a\xc2\xa0@b"), UTF8, ADDRESS_OK, "a\xc2\xa0", "b", "a\xc2\xa0@b"},
    {STR("a@\xe4\xbd\xa0.cn"), UTF8, ADDRESS_OK, "a", "\xe4\xbd\xa0.cn", "a@\xe4\xbd\xa0.cn"},
    {STR("\"\\~\\ \"@b"), 0, ADDRESS_OK, "\"\\~\\ \"", "b", "\"~ \"@b"},
    {STR("a\xc3@b"), UTF8, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a\xc3"), UTF8, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\xfc@b"), UTF8, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\xc0\xaf@b"), UTF8, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\xe0\x80\xaf@b"), UTF8, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\xed\xa0\x80@b"), UTF8, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\xf4\x90\x80\x80@b"), UTF8, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a\xc2\x85@b"), UTF8, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\"a\xc2\x9b\"@b"), UTF8, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\"\\\xc3\xbc\"@b"), UTF8, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@b\xe3\x80\x82"
         "c"),
     UTF8, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@b\xef\xbc\x8e"
         "c"),
     UTF8, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("a@b\xef\xbd\xa1"
         "c"),
     UTF8, ADDRESS_SYNTAX, 0, 0, 0},
    /* flags */
    {STR(""), EMPTY, ADDRESS_OK, "", "", ""},
    {STR("Postmaster"), POST, ADDRESS_OK, "Postmaster", "", "postmaster"},
    {STR("Postmaster"), 0, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("\"postmaster\""), POST, ADDRESS_SYNTAX, 0, 0, 0},
    {STR("abuse"), POST, ADDRESS_SYNTAX, 0, 0, 0},
};

static void test_bare(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bare); i++) {
        const struct bare *t = &bare[i];
        struct address a;
        char key[ADDRESS_MAX + 1];
        enum address_status st = address_parse(t->in, t->flags, &a);
        if (st != t->status)
            fail_msg("case %zu \"%.*s\": %s", i, STR_ARG(t->in), address_status_text(st));
        if (st != ADDRESS_OK)
            continue;
        assert_true(str_eq(a.local, str_c(t->local)));
        assert_true(str_eq(a.domain, str_c(t->domain)));
        assert_true(str_eq(a.all, t->in));
        assert_int_equal(a.quoted, t->local[0] == '"');
        assert_int_equal(a.literal, t->domain[0] == '[');
        assert_int_equal(address_key(&a, key, sizeof(key)), strlen(t->key));
        assert_string_equal(key, t->key);
    }
}

struct path {
    struct str in;
    unsigned flags;
    enum address_status status;
    const char *all, *rest;
};

static const struct path path[] = {
    {STR("<a@b>"), 0, ADDRESS_OK, "a@b", ""},
    {STR("<a@b> SIZE=1"), 0, ADDRESS_OK, "a@b", " SIZE=1"},
    {STR("<\"a>b\"@c>>"), 0, ADDRESS_OK, "\"a>b\"@c", ">"},
    {STR("<a@[1.2.3.4]>x"), 0, ADDRESS_OK, "a@[1.2.3.4]", "x"},
    {STR("<>"), EMPTY, ADDRESS_OK, "", ""},
    {STR("<> X"), EMPTY, ADDRESS_OK, "", " X"},
    {STR("<>"), ROUTE | POST, ADDRESS_SYNTAX, 0, 0},
    {STR("< >"), EMPTY, ADDRESS_SYNTAX, 0, 0},
    {STR("<"), EMPTY, ADDRESS_SYNTAX, 0, 0},
    {STR(""), EMPTY, ADDRESS_SYNTAX, 0, 0},
    {STR("a@b"), EMPTY, ADDRESS_SYNTAX, 0, 0},
    {STR(" <a@b>"), EMPTY, ADDRESS_SYNTAX, 0, 0},
    {STR("<a@b"), EMPTY, ADDRESS_SYNTAX, 0, 0},
    {STR("<a@b >"), EMPTY, ADDRESS_SYNTAX, 0, 0},
    {STR("< a@b>"), EMPTY, ADDRESS_SYNTAX, 0, 0},
    {STR("<<a@b>>"), EMPTY, ADDRESS_SYNTAX, 0, 0},
    {STR("<a@b\0>"), EMPTY, ADDRESS_SYNTAX, 0, 0},
    {STR("<\xc3\xa9@b>"), 0, ADDRESS_NEEDS_UTF8, 0, 0},
    {STR("<\xc3\xa9@b> "), UTF8, ADDRESS_OK, "\xc3\xa9@b", " "},
    {STR("<Postmaster> X"), POST, ADDRESS_OK, "Postmaster", " X"},
    {STR("<@a,@b.c:d@e>"), ROUTE, ADDRESS_OK, "d@e", ""},
    {STR("<@a:d@e>"), 0, ADDRESS_SYNTAX, 0, 0},
    {STR("<@a,b:d@e>"), ROUTE, ADDRESS_SYNTAX, 0, 0},
    {STR("<@a:>"), ROUTE, ADDRESS_SYNTAX, 0, 0},
    {STR("<@a:@b:d@e>"), ROUTE, ADDRESS_SYNTAX, 0, 0},
    {STR("<@:d@e>"), ROUTE, ADDRESS_SYNTAX, 0, 0},
    {STR("<@a"), ROUTE, ADDRESS_SYNTAX, 0, 0},
    {STR("<@a,"), ROUTE, ADDRESS_SYNTAX, 0, 0},
    {STR("<@[1.2.3.4]:d@e>"), ROUTE, ADDRESS_SYNTAX, 0, 0},
};

static void test_path(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(path); i++) {
        const struct path *t = &path[i];
        struct address a;
        struct str rest;
        enum address_status st = address_parse_path(t->in, t->flags, &a, &rest);
        if (st != t->status)
            fail_msg("case %zu \"%.*s\": %s", i, STR_ARG(t->in), address_status_text(st));
        if (st != ADDRESS_OK)
            continue;
        assert_true(str_eq(a.all, str_c(t->all)));
        assert_true(str_eq(rest, str_c(t->rest)));
    }
}

/* local part, domain and label of the given lengths (labels of `label` octets). */
static enum address_status parse_sized(size_t local, size_t domain, size_t label)
{
    char text[2000];
    size_t n = 0;
    for (; n < local; n++)
        text[n] = 'a';
    text[n++] = '@';
    for (size_t i = 0; i < domain; i++)
        text[n++] = i % (label + 1) == label && i + 1 < domain ? '.' : 'b';
    struct address a;
    char key[ADDRESS_MAX + 1];
    enum address_status st = address_parse(str_n(text, n), 0, &a);
    if (st == ADDRESS_OK)
        assert_int_equal(address_key(&a, key, sizeof(key)), n);
    return st;
}

static void test_limits(void **state)
{
    (void)state;
    assert_int_equal(parse_sized(64, 63, 63), ADDRESS_OK);
    assert_int_equal(parse_sized(65, 63, 63), ADDRESS_OK);
    assert_int_equal(parse_sized(315, 255, 63), ADDRESS_OK);
    assert_int_equal(parse_sized(316, 10, 63), ADDRESS_TOO_LONG);
    assert_int_equal(parse_sized(1, 255, 61), ADDRESS_OK);
    assert_int_equal(parse_sized(1, 256, 61), ADDRESS_TOO_LONG);
    assert_int_equal(parse_sized(1, 64, 64), ADDRESS_TOO_LONG);
    assert_int_equal(parse_sized(1500, 255, 63), ADDRESS_TOO_LONG);
    char local[ADDRESS_LOCAL_MAX + 8] = "\"";
    memset(local + 1, '\\', ADDRESS_LOCAL_MAX - 1); /* pairs of backslashes */
    strcpy(local + ADDRESS_LOCAL_MAX, "@b");
    local[ADDRESS_LOCAL_MAX - 1] = '"';
    struct address a;
    char key[ADDRESS_MAX + 1];
    assert_int_equal(address_parse(str_c(local), 0, &a), ADDRESS_SYNTAX); /* odd: ends escaped */
    memmove(local + ADDRESS_LOCAL_MAX - 2, "\"@b", 4);
    assert_int_equal(address_parse(str_c(local), 0, &a), ADDRESS_OK);
    assert_int_equal(address_key(&a, key, sizeof(key)), strlen(local));
    assert_string_equal(key, local);
}

static void test_key_fits_or_not(void **state)
{
    (void)state;
    struct address a;
    char key[16];
    assert_int_equal(address_parse(STR("ab@cd.ef"), 0, &a), ADDRESS_OK);
    assert_int_equal(address_key(&a, key, 8), 0);
    assert_int_equal(address_key(&a, key, 9), 8);
    assert_string_equal(key, "ab@cd.ef");
    a.domain = STR("CD.ef."); /* as some directories write it */
    assert_int_equal(address_key(&a, key, sizeof(key)), 8);
    assert_string_equal(key, "ab@cd.ef");
}

static void test_domain(void **state)
{
    (void)state;
    assert_true(domain_is_valid(STR("contoso.com"), false));
    assert_true(domain_is_valid(STR("localhost"), false));
    assert_true(domain_is_valid(STR("xn--mller-kva.de"), false));
    assert_true(domain_is_valid(STR("m\xc3\xbcller.de"), true));
    assert_false(domain_is_valid(STR("m\xc3\xbcller.de"), false));
    assert_false(domain_is_valid(STR(""), true));
    assert_false(domain_is_valid(STR("."), true));
    assert_false(domain_is_valid(STR("a."), true));
    assert_false(domain_is_valid(STR("a b"), true));
    assert_false(domain_is_valid(STR("a\0b"), true));
    assert_false(domain_is_valid(STR("[1.2.3.4]"), true));
    assert_false(domain_is_valid(STR("*.a"), true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bare),   cmocka_unit_test(test_path),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_key_fits_or_not),
        cmocka_unit_test(test_domain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
