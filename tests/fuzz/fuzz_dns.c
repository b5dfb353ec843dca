/*
 * fuzz_dns.c - DNS replies as the network sends them, into the parsers of all three types.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "relay/io/dns_int.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_mx(const struct dns_mx_set *set)
{
    ASSERT(set->n <= DNS_MX_MAX);
    ASSERT((set->n != 0) == (set->head.status == RESOLVE_OK));
    for (unsigned i = 0; i < set->n; i++) {
        char again[DNS_NAME_MAX];
        ASSERT(i == 0 || set->mx[i - 1].preference <= set->mx[i].preference);
        ASSERT(dns_name_normalise(str_c(set->mx[i].name), again));
        ASSERT(strcmp(again, set->mx[i].name) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct dns_mx_set mx;
    static struct resolve_mx out[DNS_MX_MAX];
    static struct resolve_addr addr[DNS_ADDR_MAX];
    struct dns_addr_set a, aaaa;
    struct dns_head head;
    struct dns_answer *kept;

    dns_parse_mx(data, size, &mx);
    check_mx(&mx);
    kept = dns_answer_mx(&mx);
    ASSERT(dns_answer_get_mx(kept, out) == mx.n);
    dns_answer_unref(&kept);
    dns_parse_addr(data, size, DNS_TYPE_A, &a);
    dns_parse_addr(data, size, DNS_TYPE_AAAA, &aaaa);
    dns_merge_addr(&a, &aaaa, &head);
    ASSERT((a.n + aaaa.n != 0) == (head.status == RESOLVE_OK));
    kept = dns_answer_host(&head, &a, &aaaa);
    ASSERT(dns_answer_get_addr(kept, true, addr) <= DNS_ADDR_MAX);
    dns_answer_unref(&kept);
    return 0;
}
