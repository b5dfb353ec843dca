/*
 * fuzz_conf.c - any text as a configuration: it is read or refused with one line of reasons, and a
 * configuration that is read can be used and freed.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "conf/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A host name of its own, so that the system is not asked for one each time. */
    char *text = mem_printf("hostname = a.b %.*s", (int)size, (const char *)data);
    struct err e = {0};
    struct conf *c = conf_parse(text, "fuzz", &e);
    if (c == NULL) {
        ASSERT(e.class == ERR_CONFIG && str_starts(str_c(e.text), STR("fuzz:")));
        ASSERT(str_find(str_c(e.text), '\n') < 0);
    } else {
        struct buf out = BUF_INIT(65536);
        ASSERT(c->n_listener > 0 && c->n_forest > 0 && c->n_domain > 0);
        conf_find_route(c, STR("a.example.org"));
        conf_find_domain(c, STR("example.org"));
        conf_needs_restart(c, c, &out);
        ASSERT(out.n == 0);
    }
    conf_unref(&c);
    mem_free(text);
    return 0;
}
