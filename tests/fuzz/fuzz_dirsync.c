/*
 * fuzz_dirsync.c - any octets as what a domain controller may send: DirSync's answer, names of
 * attributes with ranges, a certificate, a DN; as our cookie from disk, and as a filter.
 */
#include "base/assert.h"
#include "directory/ad/ad_value.h"
#include "directory/ad/dirsync.h"
#include "directory/ldap/x509.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static bool inside(struct str part, struct str whole)
{
    return part.n == 0 || (part.p >= whole.p && part.p + part.n <= whole.p + whole.n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    struct str in = str_n((const char *)data, n), rest = in, name;
    struct dirsync_answer answer;
    struct ad_cookie cookie;
    struct ad_range range;
    int64_t end;
    if (dirsync_read_answer(in, &answer)) {
        struct buf again = BUF_INIT(n + 64);
        ASSERT(inside(answer.cookie, in) && answer.cookie.n != 0);
        ASSERT(dirsync_request(&again, answer.more, 0, answer.cookie));
        buf_free(&again);
    }
    if (ad_cookie_read(in, &cookie)) {
        struct buf again = BUF_INIT(n);
        ASSERT(inside(cookie.dirsync, in));
        ASSERT(ad_cookie_write(&again, &cookie) && str_eq(buf_str(&again), in));
        buf_free(&again);
    }
    if (ad_range_parse(in, &range))
        ASSERT(inside(range.name, in) && (range.to_end || range.first <= range.last));
    for (size_t left = n; ad_filter_attribute(&rest, &name); left = rest.n)
        ASSERT(inside(name, in) && name.n != 0 && rest.n < left);
    ad_dn_is_below(in, str_from(in, n / 2));
    ad_time_ms(in);
    x509_not_after(in, &end);
    return 0;
}
