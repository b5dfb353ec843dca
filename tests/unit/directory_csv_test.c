/*
 * directory_csv_test.c - reading CSV: what is accepted and as what, what is refused with which
 * line, column and words, all of it also a byte at a time; then what rows of recipients become,
 * Exchange's own exports among them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/mem.h"
#include "directory/file/csv_map.h"
#include "tests/unit/directory_model.h"

#define LINE_MAX_HERE 4096

/* "a|b;" for each row, after its line if it is not one later than the row before */
static bool write_down(void *arg, const struct csv_row *row, struct err *e)
{
    struct buf *out = arg;
    for (unsigned i = 0; i < row->n; i++) {
        if (str_eq(row->value[i], STR("refuse")))
            return err_set(e, ERR_INPUT, 0, "refused");
        buf_printf(out, "%s%.*s", i == 0 ? "" : "|", STR_ARG(row->value[i]));
    }
    return buf_append_c(out, row->is_header ? ":" : ";");
}

static const char *read_all(csv_row_fn *fn, void *arg, struct buf *out, struct str text,
                            size_t step)
{
    static struct err e;
    struct csv *c = csv_new(LINE_MAX_HERE, fn, arg);
    bool ok = true;
    for (size_t at = 0; ok && at < text.n; at += step)
        ok = csv_feed(c, text.p + at, at + step < text.n ? step : text.n - at, &e);
    ok = ok && csv_end(c, &e);
    csv_free(&c);
    return ok ? buf_cstr(out) : e.text;
}

static void check(csv_row_fn *fn, void *arg, struct buf *out, unsigned row, struct str text,
                  const char *expected)
{
    for (size_t step = 1; step < 9; step = step == 1 ? 2 : step * 4) {
        buf_clear(out);
        const char *have = read_all(fn, arg, out, text, step == 8 ? text.n + 1 : step);
        bool refusal = str_starts(str_c(expected), STR("line "));
        if (refusal ? !str_starts(str_c(have), str_c(expected)) : strcmp(have, expected) != 0)
            fail_msg("row %u, step %zu: \"%s\", not \"%s\"", row, step, have, expected);
    }
}

static void test_reading(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } row[] = {
        {"a,b\n1,2\n", "a|b:1|2;"},
        {"a,b\r\n1,2\r\n", "a|b:1|2;"},
        {"a,b\n1,2", "a|b:1|2;"},
        {"a,b\r\n1,\"2\"", "a|b:1|2;"},
        {"a,b\n1,2\r", "a|b:1|2;"},
        {"a,b\n\n\r\n1,2\n\n", "a|b:1|2;"},
        {"\xef\xbb\xbf\"a\",\"b\"\n1,2\n", "a|b:1|2;"},
        {"#TYPE Selected.Microsoft, x\r\na,b\r\n1,2\r\n", "a|b:1|2;"},
        {"\xef\xbb\xbf#TYPE x\n\"a\",b\n#1,2\n", "a|b:#1|2;"},
        {";b\n;2\n", "|b:|2;"},
        {"a;b,c\n1;2,3\n", "a|b,c:1|2,3;"},
        {"\"a,b\";c\n1,2;3\n", "a,b|c:1,2|3;"},
        {"a\tb\n1\t2,;\n", "a|b:1|2,;;"},
        {"a\n1\n\"\"\n2\n", "a:1;;2;"},
        {"a,b\n,\n\"\",\" x \"\n y ,z\n", "a|b:|;| x ; y |z;"},
        {"a,b\n\"1\"\"2\",\"\"\"\"\n", "a|b:1\"2|\";"},
        {"a,b\n\"1\n2\r\n3\",4\n5,6\n", "a|b:1\n2\r\n3|4;5|6;"},
        {"a,b\n\"1,2\",\"3;4\"\n", "a|b:1,2|3;4;"},
        {"a,b\n\xc3\xa4,\xf0\x9f\x98\x80\n", "a|b:\xc3\xa4|\xf0\x9f\x98\x80;"},
        {"", "line 1: no header"},
        {"\n\r\n", "line 1: no header"},
        {"# x\n", "line 1: no header"},
        {"a,b\n1,2\n3\n", "line 3: 1 values, but the header has 2 columns"},
        {"a,b\n1,2,3\n", "line 2: 3 values, but the header has 2 columns"},
        {"a,b\n1,2\"3\n", "line 2, column 2: a quote inside a value"},
        {"a,b\n1,\"2\"3\n", "line 2, column 2: text after a closing quote"},
        {"a,b\n1,\"2\n3\n", "line 2, column 2: a quoted value without an end"},
        {"a,b\n1,2\r3,4\n", "line 2, column 2: a CR that no LF follows"},
        {"a,b\n1,\xe4\n", "line 2, column 2: not UTF-8"},
        {"a,b\n1,\"\xc3\"\n", "line 2, column 2: not UTF-8"},
        {"\xff\xfe"
         "a,b\n",
         "line 1, column 1: not UTF-8"},
        {"a,b\n\"x\ny\",2\nrefuse,1\n", "line 4: refused"},
        {"a,b\n1,\"x\nrefuse\"\nrefuse,2\n", "line 4: refused"},
    };
    struct buf out = BUF_INIT(100000);
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++)
        check(write_down, &out, &out, i, str_c(row[i].text), row[i].expected);
    check(write_down, &out, &out, 100, STR("a,b\n1,\0x\n"), "line 2, column 2: not UTF-8");
    buf_free(&out);
}

static void test_caps(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(100000), text = BUF_INIT(100000);
    buf_append_c(&text, "a,b\n1,\"");
    for (unsigned i = 0; i < LINE_MAX_HERE; i++)
        buf_append_char(&text, 'x');
    buf_append_c(&text, "\"\n");
    check(write_down, &out, &out, 0, buf_str(&text),
          "line 2: longer than line_max = 4096 octets allow");
    buf_clear(&text);
    for (unsigned i = 0; i <= CSV_COLUMNS_MAX; i++)
        buf_append_c(&text, "a,");
    check(write_down, &out, &out, 1, buf_str(&text), "line 1, column 1001: more than 1000 columns");
    buf_free(&out);
    buf_free(&text);
}

/* ---- recipients ---- */

struct rows {
    struct csv_map *map;
    struct buf *out;
    unsigned char uuid[8][DIR_UUID_SIZE];
    unsigned n;
};

static bool on_row(void *arg, const struct csv_row *row, struct err *e)
{
    struct rows *r = arg;
    struct dir_entry entry;
    bool is_entry;
    if (row->is_header)
        return csv_map_header(r->map, row, e);
    if (!csv_map_row(r->map, row, &entry, &is_entry, e))
        return false;
    if (is_entry) {
        memcpy(r->uuid[r->n++ % 8], entry.uuid, DIR_UUID_SIZE);
        model_describe(&entry, r->out);
    } else {
        buf_append_c(r->out, "none");
    }
    return buf_append_char(r->out, ';');
}

static const struct conf_source plain = {.flag_attribute = "flag",
                                         .routing_attribute = "routing",
                                         .join_attribute = "key",
                                         .csv_key = "",
                                         .csv_separator = ""};

static const char *map_all(const struct conf_source *c, const char *text, struct rows *r)
{
    buf_clear(r->out);
    r->n = 0;
    r->map = csv_map_new(c, false);
    const char *result = read_all(on_row, r, r->out, str_c(text), 1);
    csv_map_free(&r->map);
    return result;
}

static void test_recipients(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } row[] = {
        {"mail\na@x.test\n", "mailbox source a@x.test;"},
        {"Address,Proxies,Kind\na@x.test,b@x.test|smtp:c@x.test,mailbox\n",
         "mailbox type a@x.test b@x.test c@x.test type=1;"},
        {"address,kind,target,flag,routing,key\na@x.test,mail-user,a@new.test,moved,a@old.test,"
         "K1\n",
         "mail user type a@x.test routing=a@old.test target=a@new.test flag=moved 3:k1 type=8;"},
        {"mail,kind\na@x.test,contact\nb@x.test,GROUP\n ,mailbox\n",
         "contact type a@x.test type=7;group type b@x.test type=9;none;"},
        {"mail,proxyAddresses\na@x.test,\"smtp:b@x.test;c@x.test,smtp:d@x.test\nsmtp:e@x.test\"\n",
         "mailbox source a@x.test b@x.test c@x.test d@x.test e@x.test;"},
        /* what parts values may stand within those of other types */
        {"EmailAddresses\n\"SMTP:a@x.test,X500:/o=A&B, Inc./cn=o'brien.j+x@y,smtp:b@x.test\"\n",
         "mailbox source a@x.test b@x.test 2:/o=a&b, inc./cn=o'brien.j+x@y;"},
        {"EmailAddresses\n\"SMTP:a@x.test X500:/o=First Org/cn=a smtp:b@x.test\"\n",
         "mailbox source a@x.test b@x.test 2:/o=first org/cn=a;"},
        {"EmailAddresses\n\"x400:C=US;A= ;P=Org;S=Doe;SMTP:a@x.test\"\n",
         "mailbox source a@x.test;"},
        {"EmailAddresses\n\"sip:a@x.test,EUM:1;phone-context=x,SPO:SPO_1@SPO_2,SMTP:a@x.test\"\n",
         "mailbox source a@x.test;"},
        {"mail,DN,ExchangeSomething\na@x.test,\"CN=A,DC=x\",1\n",
         "mailbox source a@x.test dn=CN=A,DC=x;"},
        {"mail,msExchRecipientTypeDetails\na@x.test,2147483648\nb@x.test,SharedMailbox\n"
         "c@x.test,HologramMailbox\n",
         "mail user type a@x.test type=32;mailbox type b@x.test type=3;mailbox source c@x.test;"},
        {"mail,objectClass\na@x.test,top;group\n", "group class a@x.test;"},
        {"name,department\na,b\n", "line 1: no column has addresses"},
        {"mail,Mail\n", "line 1: columns 1 and 2 have one name, \"Mail\""},
        {"x,mail\n1,a@x.test\n2,nonsense\n",
         "line 3: column 2 (mail): \"nonsense\" is no usable address"},
        {"mail,proxies\na@x.test,smtp:b@x.test;nonsense\n",
         "line 2: column 2 (proxies): \"nonsense\" is no address"},
        {"mail,target\na@x.test,b@@x\n",
         "line 2: column 2 (target): \"b@@x\" is no usable address"},
        {"mail,kind\na@x.test,mailbxo\n",
         "line 2: column 2 (kind): \"mailbxo\" is no kind; write mailbox, mail-user, contact"},
        {"mail,EmailAddresses\na@x.test,System.Collections.ArrayList\n",
         "line 2: column 2 (EmailAddresses): \"System.Collections.ArrayList\" is what PowerShell"},
    };
    struct buf out = BUF_INIT(100000);
    struct rows r = {.out = &out};
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        const char *have = map_all(&plain, row[i].text, &r);
        bool refusal = str_starts(str_c(row[i].expected), STR("line "));
        if (refusal ? !str_starts(str_c(have), str_c(row[i].expected))
                    : strcmp(have, row[i].expected) != 0)
            fail_msg("row %u: \"%s\", not \"%s\"", i, have, row[i].expected);
    }
    buf_free(&out);
}

/* Get-Recipient -ResultSize Unlimited | Export-Csv r.csv, in Windows PowerShell. */
static void test_exchange_export(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(100000);
    struct rows r = {.out = &out};
    struct conf_source c = plain;
    c.flag_attribute = "CustomAttribute1";
    assert_string_equal(
        map_all(&c,
                "#TYPE Microsoft.Exchange.Data.Directory.Management.ReducedRecipient\r\n"
                "\"Alias\",\"CustomAttribute1\",\"Database\",\"EmailAddresses\","
                "\"ExternalEmailAddress\",\"Guid\",\"Name\",\"PrimarySmtpAddress\","
                "\"RecipientType\",\"RecipientTypeDetails\"\r\n"
                "\"ann\",\"\",\"DB01\",\"smtp:a.lee@contoso.com,SMTP:ann@contoso.com\",\"\","
                "\"2f3d1c9e-0d4e-4f5c-9a07-2f4be7d7c001\",\"Ann Lee\",\"ann@contoso.com\","
                "\"UserMailbox\",\"UserMailbox\"\r\n"
                "\"bob\",\"moved\",\"\",\"SMTP:bob@contoso.com,x500:/o=First/cn=bob\","
                "\"SMTP:bob@contoso.mail.onmicrosoft.com\","
                "\"2f3d1c9e-0d4e-4f5c-9a07-2f4be7d7c002\",\"Bob\",\"bob@contoso.com\","
                "\"MailUser\",\"RemoteUserMailbox\"\r\n"
                "\"all\",\"\",\"\",\"SMTP:all@contoso.com\",\"\","
                "\"2f3d1c9e-0d4e-4f5c-9a07-2f4be7d7c003\",\"All\",\"all@contoso.com\","
                "\"MailUniversalDistributionGroup\",\"MailUniversalDistributionGroup\"\r\n"
                "\"fax\",\"\",\"\",\"SMTP:fax@contoso.com\",\"X400:c=US;a= ;p=Fax\","
                "\"2f3d1c9e-0d4e-4f5c-9a07-2f4be7d7c004\",\"Fax\",\"fax@contoso.com\","
                "\"MailContact\",\"MailContact\"\r\n",
                &r),
        "mailbox homeMDB ann@contoso.com a.lee@contoso.com alias=ann type=1;"
        "mail user type bob@contoso.com target=bob@contoso.mail.onmicrosoft.com alias=bob "
        "flag=moved 2:/o=first/cn=bob type=32;"
        "group type all@contoso.com alias=all type=9;"
        "contact type fax@contoso.com alias=fax type=7;");
    assert_int_equal(r.uuid[1][DIR_UUID_SIZE - 1], 2); /* by Guid */
    buf_free(&out);
}

static void test_options(void **state)
{
    (void)state;
    struct buf out = BUF_INIT(100000);
    struct rows r = {.out = &out};
    struct conf_pair pair[] = {{"mail", "Login"}, {"proxyAddresses", "Others"}};
    struct conf_source c = plain;
    c.attribute = pair;
    c.n_attribute = 2;
    c.csv_separator = "/";
    assert_string_equal(
        map_all(&c, "login,others,PrimarySmtpAddress\na@x.test,b@x.test/c@x.test,z\n", &r),
        "mailbox source a@x.test b@x.test c@x.test;");
    c = plain;
    c.csv_key = "Staff No";
    map_all(&c, "mail,staff no\na@x.test,7\nb@x.test,7\nc@x.test,8\n", &r);
    assert_memory_equal(r.uuid[0], r.uuid[1], DIR_UUID_SIZE);
    assert_memory_not_equal(r.uuid[0], r.uuid[2], DIR_UUID_SIZE);
    assert_string_equal(map_all(&c, "mail,staff no\na@x.test,\n", &r),
                        "line 2: column 2 (staff no): \"\" is empty; each row needs a value of its "
                        "own there");
    assert_non_null(strstr(map_all(&c, "mail\na@x.test\n", &r),
                           "line 1: there is no column \"Staff No\", which csv_key names"));
    c = plain;
    c.flag_attribute = "";
    assert_non_null(strstr(map_all(&c, "mail,Flag\na@x.test,x\n", &r),
                           "line 1: column 2 (flag): the source has no flag_values"));
    /* else by the primary address, whose case does not count */
    map_all(&plain, "mail,x\nA@x.test,1\na@X.test,2\nb@x.test,1\n", &r);
    assert_memory_equal(r.uuid[0], r.uuid[1], DIR_UUID_SIZE);
    assert_memory_not_equal(r.uuid[0], r.uuid[2], DIR_UUID_SIZE);
    buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reading),    cmocka_unit_test(test_caps),
        cmocka_unit_test(test_recipients), cmocka_unit_test(test_exchange_export),
        cmocka_unit_test(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
