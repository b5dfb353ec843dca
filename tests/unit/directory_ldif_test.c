/*
 * directory_ldif_test.c - reading LDIF: what is accepted and as what, what is refused with which
 * line and words, all of it also a byte at a time; then what attributes become.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/assert.h"
#include "directory/file/ldif.h"
#include "directory/map.h"
#include "tests/unit/directory_model.h"

/* "dn|name=value|name=value;" for each record */
static bool write_down(void *arg, const struct ldif_record *r, struct err *e)
{
    struct buf *out = arg;
    if (str_eq(r->dn, STR("refuse=me")))
        return err_set(e, ERR_INPUT, 0, "refused");
    buf_append_str(out, r->dn);
    for (unsigned i = 0; i < r->n; i++) {
        buf_append_char(out, '|');
        buf_append_str(out, r->value[i].name);
        buf_append_char(out, '=');
        buf_append_str(out, r->value[i].value);
    }
    return buf_append_char(out, ';');
}

/* The records, or "line N: ..." */
static const char *read_all(const char *text, size_t n, size_t step, struct buf *out)
{
    static struct err e;
    struct ldif *l = ldif_new((size_t)16 << 20, write_down, out);
    bool ok = true;
    buf_clear(out);
    for (size_t at = 0; ok && at < n; at += step)
        ok = ldif_feed(l, text + at, at + step < n ? step : n - at, &e);
    ok = ok && ldif_end(l, &e);
    ldif_free(&l);
    return ok ? buf_cstr(out) : e.text;
}

static void test_reading(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } row[] = {
        {"", ""},
        {"version: 1\n", ""},
        {"version: 1\ndn: cn=a\nmail: a@x\n", "cn=a|mail=a@x;"},
        {"dn: cn=a\nmail: a@x\n\ndn: cn=b\nmail: b@x", "cn=a|mail=a@x;cn=b|mail=b@x;"},
        {"dn: cn=a\r\nmail: a@x\r\n\r\n\r\ndn: cn=b\r\n", "cn=a|mail=a@x;cn=b;"},
        {"\xef\xbb\xbf"
         "dn: cn=a\n",
         "cn=a;"},
        {"# one\n# two\n  folded comment\ndn: cn=a\n# three\nmail: a@x\n", "cn=a|mail=a@x;"},
        {"dn: cn=\n a b\n  c\nmail: a\n @x\n", "cn=a b c|mail=a@x;"},
        {"dn: cn=a\r\n b\r\nmail: a\r\n @x\r\n", "cn=ab|mail=a@x;"},
        {"dn:: Y249YQ==\nmail::YUB4\nx:: \ny:\nz:: YQ\n ==\n", "cn=a|mail=a@x|x=|y=|z=a;"},
        {"dn: cn=a\nmail:   a@x  \n", "cn=a|mail=a@x  ;"},
        {"dn: cn=a\nmail;lang-en: a@x\n2.5.4.3: a\n", "cn=a|mail;lang-en=a@x|2.5.4.3=a;"},
        {"dn: cn=a\nx: a:b::c:<d\n", "cn=a|x=a:b::c:<d;"},
        {"dn: cn=a\nx: \xff\xfe\n", "cn=a|x=\xff\xfe;"},
        {"\n\n\ndn: cn=a\n\n\n", "cn=a;"},
        {"hello\n", "line 1: not LDIF"},
        {"dn: cn=a\nmail a@x\n", "line 2: not LDIF"},
        {"dn: cn=a\n: a@x\n", "line 2: not LDIF"},
        {"dn: cn=a\nma il: a@x\n", "line 2: not LDIF"},
        {"dn: cn=a\n-\n", "line 2: not LDIF"},
        {"mail: a@x\n", "line 1: a record must begin with \"dn: "},
        {"dn: cn=a\n\nmail: a@x\n", "line 3: a record must begin with \"dn: "},
        {"dn: cn=a\ndn: cn=b\n", "line 2: a second dn"},
        {" dn: cn=a\n", "line 1: a line that begins with a space"},
        {"dn: cn=a\n\n mail: a@x\n", "line 3: a line that begins with a space"},
        {"version: 2\n", "line 1: an unknown version"},
        {"dn: cn=a\nversion: 1\n", "cn=a|version=1;"},
        {"dn: cn=a\n\nversion: 1\n", "line 3: a record must begin"},
        {"dn: cn=a\nmail:: a@x=\n", "line 2: the value after \"::\" is not base64"},
        {"dn: cn=a\nmail:: YQ=\n", "line 2: the value after \"::\" is not base64"},
        {"dn: cn=a\nmail:: =YQ=\n", "line 2: the value after \"::\" is not base64"},
        {"dn: cn=a\nmail:: YQ\n", "line 2: the value after \"::\" is not base64"},
        {"dn: cn=a\nmail:< file:///etc/passwd\n", "line 2: a value by URL"},
        {"dn: cn=a\nchangetype: add\n", "line 2: change records"},
        {"dn: cn=a\nx: 1\n\ndn: refuse=me\ny: 2\n\n", "line 4: refused"},
        {"# c\n#d\n#e\ndn: cn=a\nx: 1\n  2\n 3\noops\n", "line 8: not LDIF"},
    };
    struct buf out = BUF_INIT(100000);
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++)
        for (size_t step = 1; step < 9; step = step == 1 ? 2 : step * 4) {
            size_t n = strlen(row[i].text);
            const char *have = read_all(row[i].text, n, step == 8 ? n + 1 : step, &out);
            bool refusal = str_starts(str_c(row[i].expected), STR("line "));
            if (refusal ? !str_starts(str_c(have), str_c(row[i].expected))
                        : strcmp(have, row[i].expected) != 0)
                fail_msg("row %u, step %zu: \"%s\", not \"%s\"", i, step, have, row[i].expected);
        }
    assert_non_null(strstr(read_all("dn: cn=a\nx: a\0b\n", 16, 100, &out), "line 2: a NUL"));
    assert_string_equal(read_all("dn: cn=a\nx:: AGEA\n", 18, 100, &out), "cn=a|x=");
    assert_int_equal(out.n, strlen("cn=a|x=") + 3 + 1); /* NUL a NUL ; */
    buf_free(&out);
}

static void test_caps(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(1000);
    struct err e;
    struct ldif *l = ldif_new((size_t)16 << 20, write_down, &out);
    char *p = mem_alloc(1 << 20);
    memset(p, 'a', 1 << 20);
    bool ok = ldif_feed(l, "dn: cn=a\nx: ", 12, &e);
    unsigned n = 0;
    for (; ok && n < 100; n++)
        ok = ldif_feed(l, p, 1 << 20, &e);
    assert_false(ok);
    assert_int_equal(n, 16);
    assert_non_null(strstr(e.text, "line 2: the value is longer than line_max = 16777216 octets"));
    mem_free(p);
    ldif_free(&l);
    buf_free(&out);
}

/* ---- attributes ---- */

static const char *map_text(struct map *m, const char *text, struct buf *out)
{
    struct dir_entry e;
    struct str rest = str_c(text);
    buf_clear(out);
    map_begin(m);
    while (rest.n != 0) {
        struct str pair = str_split(&rest, '|');
        struct str name = str_split(&pair, '=');
        if (str_eq(name, STR("dn")))
            map_dn(m, pair);
        else
            map_value(m, name, pair);
    }
    if (!map_end(m, (const unsigned char *)"0123456789abcdef", &e))
        return "none";
    model_describe(&e, out);
    if (map_bad_value(m).n != 0)
        buf_printf(out, " bad=%.*s", STR_ARG(map_bad_value(m)));
    return buf_cstr(out);
}

static void test_mapping(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } row[] = {
        {"", "none"},
        {"cn=a|sn=b|mailNickname=a", "none"},
        {"mail=A.b@X.test", "mailbox source A.b@x.test"},
        {"MAIL;lang-en=a@x.test", "mailbox source a@x.test"},
        {"mail=a@x.test|mail=b@x.test", "mailbox source a@x.test b@x.test"},
        /* only the prefix's case means something */
        {"proxyAddresses=smtp:b@x.test|proxyAddresses=SMTP:a@x.test",
         "mailbox source a@x.test b@x.test"},
        {"proxyAddresses=SMTP:a@x.test|mail=other@x.test", "mailbox source a@x.test"},
        {"proxyAddresses=smtp:a@x.test|mail=main@x.test", "mailbox source main@x.test a@x.test"},
        {"proxyAddresses=Smtp:a@x.test", "mailbox source a@x.test"},
        {"proxyAddresses=smtp:z@x.test|proxyAddresses=smtp:c@a.test|proxyAddresses=SMTP:q@x.test|"
         "proxyAddresses=smtp:Z@x.test|proxyAddresses=smtp:Q@x.test|proxyAddresses=smtp:B@x.test",
         "mailbox source q@x.test c@a.test B@x.test Z@x.test"},
        {"proxyAddresses=SIP:a@x.test|proxyAddresses=X400:c=us|mail=a@x.test",
         "mailbox source a@x.test"},
        {"proxyAddresses=SIP:a@x.test|proxyAddresses=EUM:1@x.test", "none"},
        {"mail=a@x.test|proxyAddresses=x500:/O=X/CN=A|legacyExchangeDN=/o=x/cn=a|"
         "proxyAddresses=X500:/o=y/cn=a",
         "mailbox source a@x.test 2:/o=x/cn=a 4:/o=x/cn=a 2:/o=y/cn=a"},
        {"mail=not an address|mail=b@x.test", "mailbox source b@x.test bad=not an address"},
        {"mail=@x.test", "none"},
        {"mail=\"a b\"@x.test|proxyAddresses=smtp:\"ab\"@x.test",
         "mailbox source \"a b\"@x.test ab@x.test"},
        {"mail=a@x.test|mailNickname=al|ext1=Target|ext1=second",
         "mailbox source a@x.test alias=al flag=Target"},
        {"mail=a@x.test|route=SMTP:b@old.test", "mailbox source a@x.test routing=b@old.test"},
        {"mail=a@x.test|route=b@old.test", "mailbox source a@x.test routing=b@old.test"},
        {"mail=a@x.test|targetAddress=SMTP:a@new.test",
         "mail user target a@x.test target=a@new.test"},
        {"mail=a@x.test|targetAddress=smtp:A@New.test|homeMDB=cn=db",
         "mailbox homeMDB a@x.test target=A@new.test"},
        {"mail=a@x.test|msExchHomeServerName=/o=x", "mailbox homeServer a@x.test"},
        {"mail=a@x.test|homeMDB=", "mailbox source a@x.test"},
        {"mail=a@x.test|msExchRecipientTypeDetails=16", "mailbox type a@x.test type=5"},
        {"mail=a@x.test|msExchRecipientTypeDetails=128", "mail user type a@x.test type=8"},
        {"mail=a@x.test|msExchRecipientTypeDetails=2147483648", "mail user type a@x.test type=32"},
        {"mail=a@x.test|msExchRecipientTypeDetails=34359738368", "mail user type a@x.test type=36"},
        {"mail=a@x.test|msExchRecipientTypeDetails=64", "contact type a@x.test type=7"},
        {"mail=a@x.test|msExchRecipientTypeDetails=2048", "group type a@x.test type=12"},
        /* unknown values: the other attributes decide */
        {"mail=a@x.test|msExchRecipientTypeDetails=4096|targetAddress=a@new.test",
         "mail user target a@x.test target=a@new.test type=13"},
        {"mail=a@x.test|msExchRecipientTypeDetails=3", "mailbox source a@x.test"},
        {"mail=a@x.test|msExchRecipientTypeDetails=x", "mailbox source a@x.test"},
        /* a group is a group, whatever else it has */
        {"mail=a@x.test|objectClass=top|objectClass=GROUP|homeMDB=x", "group class a@x.test"},
        {"mail=a@x.test|objectClass=contact|targetAddress=a@z.test",
         "contact class a@x.test target=a@z.test"},
        /* the guid alone proves nothing: it is stamped before a move */
        {"mail=a@x.test|msExchMailboxGuid=0123456789abcdef|targetAddress=a@z.test",
         "mail user target a@x.test target=a@z.test"},
        /* a disabled account may have a mailbox */
        {"mail=a@x.test|userAccountControl=514|homeMDB=x", "mailbox homeMDB a@x.test"},
        {"mail=a@x.test|msExchRequireAuthToSendTo=TRUE", "mailbox source a@x.test auth"},
        {"mail=a@x.test|msExchRequireAuthToSendTo=FALSE", "mailbox source a@x.test"},
        {"dn=CN=A\\, B,OU=x|mail=a@x.test", "mailbox source a@x.test dn=CN=A\\, B,OU=x"},
        {"mail=a@x.test|givenName=Ann|sn=Lee|initials=AL|displayName=Lee, Ann",
         "mailbox source a@x.test"},
    };
    struct map *m =
        map_new(&(struct map_options){.flag_attribute = "ext1", .routing_attribute = "route"});
    struct buf out = BUF_INIT(10000);
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        const char *have = map_text(m, row[i].text, &out);
        if (strcmp(have, row[i].expected) != 0)
            fail_msg("row %u: \"%s\", not \"%s\"", i, have, row[i].expected);
    }
    buf_free(&out);
    map_free(&m);
    m = map_new(&(struct map_options){.flag_attribute =
                                          "mailNickname"}); /* any attribute can be the flag */
    out = BUF_INIT(10000);
    assert_string_equal(map_text(m, "mail=a@x.test|mailnickname=t", &out),
                        "mailbox source a@x.test alias=t flag=t");
    buf_free(&out);
    map_free(&m);
}

static void test_names_and_keys(void **state)
{
    (void)state;
    static const struct conf_pair renamed[] = {
        {(char *)"mail", (char *)"rfc822Mailbox"},
        {(char *)"proxyAddresses", (char *)"alias1"},
        {(char *)"ProxyAddresses", (char *)"alias2"},
        {(char *)"displayName", (char *)"cn"},
    };
    struct map_options o = {.join_attribute = "employeeID",
                            .flag_attribute = "cn",
                            .names = "gd",
                            .n_attribute = ARRAY_LEN(renamed),
                            .attribute = renamed};
    struct map *m = map_new(&o);
    struct buf out = BUF_INIT(10000);
    assert_string_equal(map_text(m, "mail=no@x.test|employeeID=7", &out), "none");
    assert_string_equal(
        map_text(m,
                 "RFC822Mailbox=a@x.test|alias1=b@x.test|alias2=c@x.test|cn=Ann|"
                 "cn=Lee|sn=Lee|givenName=A|displayName=no|EmployeeID= E7 ",
                 &out),
        "mailbox source a@x.test b@x.test c@x.test flag=Ann 3:e7 name0=A name3=Ann");
    unsigned n = 0, mail = 0, cn = 0;
    for (char **a = map_attributes(m); *a != NULL; a++, n++) {
        mail += strcmp(*a, "mail") == 0;
        cn += strcmp(*a, "cn") == 0;
    }
    assert_int_equal(mail, 0);
    assert_int_equal(cn, 1);
    assert_int_equal(n, CONF_ATTRIBUTES - 2 + 1 + 1); /* no sn and initials; alias2, employeeID */
    buf_free(&out);
    map_free(&m);
}

static void test_many_values(void **state)
{
    (void)state;
    struct map *m = map_new(&(struct map_options){0});
    struct dir_entry e;
    char text[60];
    map_begin(m);
    for (unsigned i = 0; i < 3000; i++) {
        snprintf(text, sizeof(text), "smtp:a%u@x.test", i);
        map_value(m, STR("proxyAddresses"), str_c(text));
    }
    assert_true(map_end(m, (const unsigned char *)"0123456789abcdef", &e));
    assert_int_equal(e.n_address, DIR_ADDRESSES_MAX);
    assert_true(map_bad_value(m).n != 0);

    static const unsigned mails[] = {40, DIR_ADDRESSES_MAX, DIR_ADDRESSES_MAX + 1};
    for (unsigned k = 0; k < sizeof(mails) / sizeof(mails[0]); k++) {
        bool fits = mails[k] <= DIR_ADDRESSES_MAX;
        map_begin(m);
        for (unsigned i = 0; i < mails[k]; i++) {
            snprintf(text, sizeof(text), "a%u@x.test", i);
            map_value(m, STR("mail"), str_c(text));
        }
        assert_true(map_end(m, (const unsigned char *)"0123456789abcdef", &e));
        assert_int_equal(e.n_address, fits ? mails[k] : DIR_ADDRESSES_MAX);
        assert_int_equal(map_bad_value(m).n != 0, !fits);
    }
    map_begin(m); /* together they are too many */
    for (unsigned i = 0; i < DIR_ADDRESSES_MAX; i++) {
        snprintf(text, sizeof(text), "smtp:a%u@x.test", i);
        map_value(m, STR("proxyAddresses"), str_c(text));
    }
    map_value(m, STR("mail"), STR("one.more@x.test"));
    assert_true(map_end(m, (const unsigned char *)"0123456789abcdef", &e));
    assert_true(map_bad_value(m).n != 0);
    map_free(&m);
}

static void test_uuid(void **state)
{
    (void)state;
    unsigned char uuid[16], other[16];
    char text[MAP_UUID_TEXT];
    assert_true(map_uuid_parse(STR("f81d4fae-7dec-11d0-A765-00a0c91e6bf6"), uuid));
    map_uuid_text(uuid, text);
    assert_string_equal(text, "f81d4fae-7dec-11d0-a765-00a0c91e6bf6");
    assert_memory_equal(uuid, "\xf8\x1d\x4f\xae\x7d\xec\x11\xd0\xa7\x65\x00\xa0\xc9\x1e\x6b\xf6",
                        16);
    static const char *const bad[] = {"",
                                      "f81d4fae",
                                      "f81d4fae-7dec-11d0-a765-00a0c91e6bf",
                                      "f81d4fae-7dec-11d0-a765-00a0c91e6bf66",
                                      "f81d4fae-7dec-11d0-a765-00a0c91e6bfg",
                                      "f81d4fae07dec-11d0-a765-00a0c91e6bf6"};
    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(map_uuid_parse(str_c(bad[i]), other));
    map_uuid_from_dn(STR("CN=Ann, O=x"), uuid);
    map_uuid_from_dn(STR("cn=ann, o=X "), other);
    assert_memory_equal(uuid, other, 16);
    map_uuid_from_dn(STR("cn=anna, o=X"), other);
    assert_memory_not_equal(uuid, other, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),     cmocka_unit_test(test_caps),
        cmocka_unit_test(test_mapping),     cmocka_unit_test(test_names_and_keys),
        cmocka_unit_test(test_many_values), cmocka_unit_test(test_uuid),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
