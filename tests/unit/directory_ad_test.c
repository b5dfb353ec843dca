/*
 * directory_ad_test.c - the notations of Active Directory: DirSync's values, our cookie, ranges,
 * filters, names, times; and the end of a certificate. As servers write them, cut anywhere, and
 * wrong.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/assert.h"
#include "directory/ad/ad_value.h"
#include "directory/ldap/der.h"
#include "directory/ad/dirsync.h"
#include "directory/ldap/x509.h"

#define GUID "0123456789abcdef"
/* a literal that may hold NULs */
#define B(s) str_n((s), sizeof(s) - 1)
struct octets {
    const char *p;
    size_t n;
};
#define OCTETS(s)                                                                                  \
    {                                                                                              \
        (s), sizeof(s) - 1                                                                         \
    }

static void test_integers(void **state)
{
    (void)state;
    static const struct {
        int32_t v;
        struct octets der;
    } row[] = {{0, OCTETS("\x02\x01\x00")},
               {127, OCTETS("\x02\x01\x7f")},
               {128, OCTETS("\x02\x02\x00\x80")},
               {-1, OCTETS("\x02\x01\xff")},
               {-128, OCTETS("\x02\x01\x80")},
               {-129, OCTETS("\x02\x02\xff\x7f")},
               {32767, OCTETS("\x02\x02\x7f\xff")},
               {32768, OCTETS("\x02\x03\x00\x80\x00")},
               {8388607, OCTETS("\x02\x03\x7f\xff\xff")},
               {8388608, OCTETS("\x02\x04\x00\x80\x00\x00")},
               {-8388609, OCTETS("\x02\x04\xff\x7f\xff\xff")},
               {INT32_MAX, OCTETS("\x02\x04\x7f\xff\xff\xff")},
               {INT32_MIN, OCTETS("\x02\x04\x80\x00\x00\x00")}};
    for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
        struct buf out = BUF_INIT(16);
        int32_t back;
        assert_true(der_put_int(&out, row[i].v));
        assert_int_equal(out.n, der_int_size(row[i].v));
        struct str in = buf_str(&out);
        assert_true(str_eq(in, str_n(row[i].der.p, row[i].der.n)));
        assert_true(der_take_int(&in, &back));
        assert_int_equal(back, row[i].v);
        assert_int_equal(in.n, 0);
        buf_free(&out);
    }
    struct str in = B("\x02\x05\x00\x80\x00\x00\x00");
    int32_t v;
    assert_false(der_take_int(&in, &v));
    in = B("\x02\x00");
    assert_false(der_take_int(&in, &v));
    in = B("\x04\x01\x00");
    assert_false(der_take_int(&in, &v));
}

static void test_dirsync_request(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(1000);
    assert_true(dirsync_request(&out, DIRSYNC_OBJECT_SECURITY, 0x100000, STR_NULL));
    assert_true(str_eq(buf_str(&out), B("\x30\x0a\x02\x01\x01\x02\x03\x10\x00\x00\x04\x00")));
    buf_clear(&out);
    /* INCREMENTAL_VALUES is the sign bit */
    assert_true(dirsync_request(&out, 0x80000801u, UINT32_MAX, STR("MSDS")));
    assert_true(str_eq(buf_str(&out), B("\x30\x12\x02\x04\x80\x00\x08\x01\x02\x04\x7f\xff\xff\xff"
                                        "\x04\x04MSDS")));
    char cookie[300];
    memset(cookie, 'c', sizeof(cookie));
    buf_clear(&out);
    assert_true(dirsync_request(&out, 0, 0, str_n(cookie, sizeof(cookie))));
    assert_int_equal(out.n, 6 + 3 + 3 + 6 + 300);
    assert_memory_equal(out.p, "\x30\x84\x00\x00\x01\x38\x02\x01\x00\x02\x01\x00\x04\x84", 14);
    buf_free(&out);
}

static void test_dirsync_answer(void **state)
{
    (void)state;
    struct dirsync_answer a;
    struct str in = B("\x30\x84\x00\x00\x00\x0c\x02\x01\x01\x02\x01\x00\x04\x84\x00\x00\x00\x00");
    assert_false(dirsync_read_answer(in, &a)); /* a cookie with nothing in it */
    in = B("\x30\x84\x00\x00\x00\x10\x02\x01\x01\x02\x01\x00\x04\x84\x00\x00\x00\x04MSDS");
    assert_true(dirsync_read_answer(in, &a));
    assert_true(a.more);
    assert_true(str_eq(a.cookie, STR("MSDS")));
    for (size_t n = 0; n < in.n; n++)
        assert_false(dirsync_read_answer(str_upto(in, n), &a));
    assert_true(dirsync_read_answer(B("\x30\x0a\x02\x01\x00\x02\x02\x01\x00\x04\x01k"), &a));
    assert_false(a.more);
    static const struct octets bad[] = {
        OCTETS("\x31\x09\x02\x01\x00\x02\x01\x00\x04\x01k"),     /* a set */
        OCTETS("\x30\x09\x04\x01\x00\x02\x01\x00\x04\x01k"),     /* no number */
        OCTETS("\x30\x06\x02\x01\x00\x04\x01k"),                 /* one number */
        OCTETS("\x30\x09\x02\x01\x00\x02\x01\x00\x04\x01kx"),    /* something behind */
        OCTETS("\x30\x0b\x02\x01\x00\x02\x01\x00\x04\x01k\x05"), /* cut */
        OCTETS("\x30\x0b\x02\x01\x00\x02\x01\x00\x04\x01k\x05\x00"),
        OCTETS("\x30\x80\x02\x01\x00\x02\x01\x00\x04\x01k\x00\x00"),
    };
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        if (dirsync_read_answer(str_n(bad[i].p, bad[i].n), &a))
            fail_msg("row %u was accepted", i);
}

static void test_cookie(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(1000);
    struct ad_cookie back,
        c = {.method = AD_DIRSYNC, .again_ms = INT64_C(1795165327000), .dirsync = STR("MSDS")};
    memcpy(c.invocation, GUID, DIR_UUID_SIZE);
    assert_true(ad_cookie_write(&out, &c));
    assert_true(ad_cookie_read(buf_str(&out), &back));
    assert_int_equal(back.method, AD_DIRSYNC);
    assert_memory_equal(back.invocation, GUID, DIR_UUID_SIZE);
    assert_int_equal(back.again_ms, c.again_ms);
    assert_true(str_eq(back.dirsync, STR("MSDS")));
    for (size_t n = 0; n <= 26; n++)
        assert_false(ad_cookie_read(str_upto(buf_str(&out), n), &back));
    out.p[0] = 2;
    assert_false(ad_cookie_read(buf_str(&out), &back));
    out.p[0] = 1;
    out.p[1] = 'X';
    assert_false(ad_cookie_read(buf_str(&out), &back));

    buf_clear(&out);
    c.method = AD_USN;
    c.usn = UINT64_C(0x0123456789abcdef);
    assert_true(ad_cookie_write(&out, &c));
    assert_int_equal(out.n, 34);
    assert_true(ad_cookie_read(buf_str(&out), &back));
    assert_int_equal(back.method, AD_USN);
    assert_int_equal(back.usn, c.usn);
    for (size_t n = 0; n < out.n; n++)
        assert_false(ad_cookie_read(str_upto(buf_str(&out), n), &back));
    buf_free(&out);
    assert_false(
        ad_cookie_read(STR("rid=001,csn=20261120084023.000000Z#000000#000#000000"), &back));
}

static void test_range(void **state)
{
    (void)state;
    static const struct {
        const char *attribute, *name;
        uint32_t first, last;
        bool to_end;
    } good[] = {{"proxyAddresses;range=0-1499", "proxyAddresses", 0, 1499, false},
                {"member;Range=1500-*", "member", 1500, 0, true},
                {"member;binary;range=1-1", "member", 1, 1, false},
                {"member;range=0-4294967294", "member", 0, 4294967294u, false}};
    static const char *const none[] = {"member",
                                       "member;binary",
                                       "member;range=",
                                       "member;range=0",
                                       "member;range=-",
                                       "member;range=*-1",
                                       "member;range=2-1",
                                       "member;range=0-4294967295",
                                       "member;range=0-99999999999999999999",
                                       "range=0-1",
                                       ""};
    struct ad_range r;
    for (unsigned i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(ad_range_parse(str_c(good[i].attribute), &r));
        assert_true(str_eq(r.name, str_c(good[i].name)));
        assert_int_equal(r.first, good[i].first);
        assert_int_equal(r.last, good[i].last);
        assert_int_equal(r.to_end, good[i].to_end);
    }
    for (unsigned i = 0; i < ARRAY_LEN(none); i++)
        if (ad_range_parse(str_c(none[i]), &r))
            fail_msg("\"%s\" was accepted", none[i]);
}

static void test_guid(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(1000);
    char dn[AD_GUID_DN_SIZE];
    const unsigned char *guid = (const unsigned char *)"\x00\xff\x28\x29\x2a\x5c"
                                                       "6789abcdef" GUID;
    assert_true(ad_guid_filter(&out, "(mail=*)", guid, 2));
    assert_string_equal(
        buf_cstr(&out),
        "(&(mail=*)(|"
        "(objectGUID=\\00\\ff\\28\\29\\2a\\5c\\36\\37\\38\\39\\61\\62\\63\\64\\65\\66)"
        "(objectGUID=\\30\\31\\32\\33\\34\\35\\36\\37\\38\\39\\61\\62\\63\\64\\65\\66)))");
    buf_free(&out);
    out = BUF_INIT(20);
    assert_false(ad_guid_filter(&out, "(mail=*)", guid, 1));
    buf_free(&out);
    ad_guid_dn(guid, dn);
    assert_string_equal(dn, "<GUID=00ff28292a5c36373839616263646566>");
}

static void test_filter_attributes(void **state)
{
    (void)state;
    static const struct {
        const char *filter, *names;
    } row[] = {
        {"(objectClass=*)", "objectClass "},
        {"(&(objectClass=user)(!(department=IT\\28x\\29))(|(a>=1)(b<=2)(c~=3)))",
         "objectClass department a b c "},
        {"(memberOf:1.2.840.113556.1.4.1941:=CN=x,DC=y)", "memberOf "},
        {"(:dn:2.5.13.2:=x)", ""},
        {"( & ( cn = x ) )", "cn "},
        {"(cn;lang-en=x)", "cn "},
        {"no filter at all", ""},
        {"((((", ""},
        {"", ""},
    };
    for (unsigned i = 0; i < ARRAY_LEN(row); i++) {
        struct buf out = BUF_INIT(200);
        struct str rest = str_c(row[i].filter), name;
        while (ad_filter_attribute(&rest, &name))
            buf_printf(&out, "%.*s ", STR_ARG(name));
        assert_string_equal(buf_cstr(&out), row[i].names);
        buf_free(&out);
    }
}

static void test_attributes(void **state)
{
    (void)state;
    char mail[] = "mail", class[] = "objectClass", *names[] = {mail, class, NULL};
    static const char *const more[] = {"objectGUID", "OBJECTCLASS", NULL};
    char **list = ad_attributes_new(names, more, "(&(Mail=*)(department=x)(DEPARTMENT=y)(c=z))");
    static const char *const want[] = {"mail", "objectClass", "objectGUID", "department", "c"};
    for (unsigned i = 0; i < ARRAY_LEN(want); i++)
        assert_string_equal(list[i], want[i]);
    assert_null(list[ARRAY_LEN(want)]);
    ad_attributes_free(&list);
    assert_null(list);
}

static void test_below(void **state)
{
    (void)state;
    static const struct {
        const char *dn, *base;
        bool below;
    } row[] = {{"CN=a,OU=x,DC=y", "OU=x,DC=y", true},
               {"OU=x,DC=y", "OU=x,DC=y", true},
               {"CN=a,ou=X,dc=Y", "OU=x,DC=y", true},
               {"CN=a,DC=y", "", true},
               {"CN=a,OU=xx,DC=y", "OU=x,DC=y", false},
               {"CN=a\\,OU=x,DC=y", "OU=x,DC=y", false},
               {"CN=aOU=x,DC=y", "OU=x,DC=y", false},
               {",OU=x,DC=y", "OU=x,DC=y", false},
               {"DC=y", "OU=x,DC=y", false},
               {"", "DC=y", false}};
    for (unsigned i = 0; i < ARRAY_LEN(row); i++)
        if (ad_dn_is_below(str_c(row[i].dn), str_c(row[i].base)) != row[i].below)
            fail_msg("row %u", i);
}

static void test_again(void **state)
{
    (void)state;
    const int64_t now = INT64_C(1795165327000), settled = now + AD_SETTLE_MS;
    assert_int_equal(ad_again_ms(0, now), settled);
    assert_int_equal(ad_again_ms(now + 1000, now), now + 1000);
    assert_int_equal(ad_again_ms(settled + 1, now), settled);
    static const struct {
        int64_t ahead_ms;
        bool due;
    } row[] = {{-1, true},
               {0, true},
               {1, false},
               {AD_SETTLE_MS, false},
               {AD_SETTLE_MS + 5000, false},
               {2 * AD_SETTLE_MS + 1, true}};
    for (unsigned i = 0; i < ARRAY_LEN(row); i++)
        if (ad_again_is_due(now + row[i].ahead_ms, now) != row[i].due)
            fail_msg("row %u", i);
    assert_false(ad_again_is_due(0, now));
}

static void test_domain(void **state)
{
    (void)state;
    static const char *const row[][2] = {{"CN=a,OU=x,DC=y,DC=z", "DC=y,DC=z"},
                                         {"dc=y,Dc=z", "dc=y,Dc=z"},
                                         {"DC=a,CN=b,DC=z", "DC=z"},
                                         {"CN=a\\,DC=b,DC=z", "DC=z"},
                                         {"CN=a\\\\,DC=b,DC=z", "DC=b,DC=z"},
                                         {"DC=z,CN=Configuration", ""},
                                         {"CN=DC=z", ""},
                                         {"CN=a\\", ""},
                                         {"", ""}};
    for (unsigned i = 0; i < ARRAY_LEN(row); i++)
        if (!str_eq(ad_dn_domain(str_c(row[i][0])), str_c(row[i][1])))
            fail_msg("row %u", i);
}

static void test_time(void **state)
{
    (void)state;
    assert_int_equal(ad_time_ms(STR("134396375977326520")), INT64_C(1795163997732));
    assert_int_equal(ad_time_ms(STR("116444736000000000")), 0);
    assert_int_equal(ad_time_ms(STR("9223372036854775807")), 0); /* never */
    assert_int_equal(ad_time_ms(STR("0")), 0);
    assert_int_equal(ad_time_ms(STR("-1")), 0);
    assert_int_equal(ad_time_ms(STR_NULL), 0);
}

/* A certificate as far as anyone looks at it here. */
#define CERTIFICATE(version, before, after)                                                        \
    "\x30\x3c\x30\x3a" version "\x02\x02\x01\x02\x30\x02\x05\x00\x30\x06\x31\x04\x13\x02"          \
    "CA"                                                                                           \
    "\x30\x1e" before after

static void test_certificate(void **state)
{
    (void)state;
    int64_t end = 0;
    struct str in = B(CERTIFICATE("\xa0\x03\x02\x01\x02",
                                  "\x17\x0d"
                                  "261120083944Z",
                                  "\x17\x0d"
                                  "361117083944Z") "\x30\x03\x02\x01\x00");
    assert_true(x509_not_after(in, &end));
    assert_int_equal(end, INT64_C(2110523984000));
    for (size_t n = 0; n < in.n; n++)
        assert_false(x509_not_after(str_upto(in, n), &end));
    in = B("\x30\x2b\x30\x29\x02\x01\x01\x30\x00\x30\x00\x30\x20\x17\x0d"
           "500101000000Z\x18\x0f"
           "20500101000000Z");
    assert_true(x509_not_after(in, &end));
    assert_int_equal(end, INT64_C(2524608000000));
    static const struct octets bad[] = {
        OCTETS("\x30\x2b\x30\x29\x02\x01\x01\x30\x00\x30\x00\x30\x20\x17\x0d"
               "500101000000Z\x18\x0f"
               "20501301000000Z"), /* month */
        OCTETS("\x30\x2b\x30\x29\x02\x01\x01\x30\x00\x30\x00\x30\x20\x17\x0d"
               "500101000000Z\x18\x0f"
               "2050010100000xZ"),
        OCTETS("\x30\x2b\x30\x29\x02\x01\x01\x30\x00\x30\x00\x30\x20\x17\x0d"
               "500101000000Z\x17\x0f"
               "20500101000000Z"), /* as the other kind of time */
        OCTETS("\x30\x00"), OCTETS("")};
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        if (x509_not_after(str_n(bad[i].p, bad[i].n), &end))
            fail_msg("row %u was accepted", i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_integers),
        cmocka_unit_test(test_dirsync_request),
        cmocka_unit_test(test_dirsync_answer),
        cmocka_unit_test(test_cookie),
        cmocka_unit_test(test_range),
        cmocka_unit_test(test_guid),
        cmocka_unit_test(test_filter_attributes),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_below),
        cmocka_unit_test(test_domain),
        cmocka_unit_test(test_again),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_certificate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
