/*
 * fuzz_dsn.c - a report about anything: whatever addresses, replies and host names hold, it has its
 * own fields and its three parts, and no more. The input is cut at NUL octets into the texts.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "relay/dsn/dsn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *find(struct str s, const char *what)
{
    const char *p = memmem(s.p, s.n, what, strlen(what));
    ASSERT(p != NULL);
    return p;
}

static unsigned count(struct str s, const char *what)
{
    unsigned n = 0;
    for (const char *p = s.p; (p = memmem(p, (size_t)(s.p + s.n - p), what, strlen(what))) != NULL;
         p++)
        n++;
    return n;
}

/* The octets before the third part: all ours. */
static struct str own_part(struct str all)
{
    const char *third = find(all, "\r\nContent-Type: text/rfc822-headers");
    return str_n(all.p, (size_t)(third - all.p));
}

static void check(struct str all, bool has_orcpt)
{
    struct str own = own_part(all);
    for (size_t i = 0; i < own.n; i++) {
        unsigned char c = (unsigned char)own.p[i];
        ASSERT(c >= 32
                   ? c != 127
                   : (c == '\r' && own.p[i + 1] == '\n') || (c == '\n' && own.p[i - 1] == '\r'));
    }
    const char *status = find(own, "\r\nContent-Type: message/delivery-status");
    for (const char *p = status; p < own.p + own.n; p++)
        ASSERT((unsigned char)*p < 128);
    ASSERT(count(own, "\r\nTo: <") == 1 && count(own, "\r\nMIME-Version:") == 1);
    ASSERT(count(own, "\r\nFinal-Recipient: ") == 1 && count(own, "\r\nStatus: ") == 1);
    ASSERT(count(own, "\r\nAction: failed\r\n") == 1);
    ASSERT(count(own, "\r\nRemote-MTA: ") <= 1 && count(own, "\r\nDiagnostic-Code: ") <= 1);
    ASSERT(count(own, "\r\nOriginal-Recipient: ") == (has_orcpt ? 1 : 0));
    const char *b = find(all, "\r\n    boundary=\"");
    char delimiter[100];
    snprintf(delimiter, sizeof(delimiter), "\r\n--%.*s", (int)strcspn(b + 16, "\""), b + 16);
    ASSERT(count(all, delimiter) == 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = str_n((const char *)data, size);
    struct envelope_rcpt to = {.address = str_split(&rest, '\0'), .orcpt = str_split(&rest, '\0')};
    struct envelope env = {.sender = str_split(&rest, '\0'), .n_rcpt = 1, .rcpt = &to};
    struct dsn_rcpt r = {.rcpt = &to};
    char host[256];
    struct str text = str_split(&rest, '\0');
    env.envid = str_split(&rest, '\0');
    if (!str_copy(str_split(&rest, '\0'), host, sizeof(host)))
        host[0] = '\0';
    r.remote_host = host;
    smtp_reply_set(&r.reply, 550, "5.1.1", "%.*s", STR_ARG(text));
    const struct dsn_request q = {
        .kind = DSN_FAILED,
        .hostname = "relay.example.org",
        .id_text = "NEW",
        .orig_id_text = "OLD",
        .env = &env,
        .rcpt = &r,
        .n_rcpt = 1,
        .original_header = rest,
    };
    struct buf out = BUF_INIT(16 << 20);
    bool is_8bit;
    if (dsn_build(&q, &out, &is_8bit))
        check(buf_str(&out), to.orcpt.n != 0);
    buf_free(&out);
    return 0;
}
