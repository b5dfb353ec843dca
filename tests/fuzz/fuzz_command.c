/*
 * fuzz_command.c - any line as a command; as MAIL and RCPT whatever its verb. Octet 0 says whether
 * SMTPUTF8 is allowed.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "relay/proto/command.h"
#include "rewrite/address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_clean(struct str s, bool utf8)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        ASSERT(c >= 32 && c != 127 && (c < 128 || utf8));
    }
}

static void check_refusal(const struct smtp_reply *r)
{
    struct buf out = BUF_INIT(4096);
    ASSERT(smtp_reply_is_permanent(r) && r->enhanced[0] == '5' && r->text[0] != '\0');
    ASSERT(smtp_reply_write(r, &out));
    ASSERT(memchr(out.p, '\r', out.n - 2) == NULL && memchr(out.p, '\n', out.n - 2) == NULL);
    buf_free(&out);
}

static void check_xtext(struct str in)
{
    struct buf plain = BUF_INIT(65536), coded = BUF_INIT(65536 * 3), again = BUF_INIT(65536);
    if (in.n < 65536 && xtext_decode(in, &plain)) {
        ASSERT(xtext_encode(buf_str(&plain), &coded));
        ASSERT(xtext_decode(buf_str(&coded), &again));
        ASSERT(str_eq(buf_str(&plain), buf_str(&again)));
    }
    buf_free(&plain);
    buf_free(&coded);
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    bool utf8 = (data[0] & 1) != 0;
    struct str line = str_n((const char *)data + 1, size - 1), name;
    struct smtp_command c;
    struct smtp_mail_args m;
    struct smtp_rcpt_args rc;
    struct smtp_reply r;
    smtp_command_parse(line, &c);
    ASSERT(c.verb <= SMTP_UNKNOWN && c.args.n <= line.n);
    if (smtp_parse_helo(c.args, &name))
        check_clean(name, false);
    if (!smtp_parse_mail(c.args, utf8, &m, &r)) {
        check_refusal(&r);
    } else {
        ASSERT(m.sender.n <= ADDRESS_MAX && m.envid.n <= 300);
        check_clean(m.sender, m.smtputf8);
        check_clean(m.envid, false);
    }
    if (!smtp_parse_rcpt(c.args, utf8, &rc, &r)) {
        check_refusal(&r);
    } else {
        ASSERT(rc.recipient.n != 0 && rc.recipient.n <= ADDRESS_MAX);
        check_clean(rc.recipient, utf8);
        check_clean(rc.orcpt, utf8);
    }
    check_xtext(line);
    return 0;
}
