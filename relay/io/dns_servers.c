/*
 * dns_servers.c - whom DNS questions go to: the configured list in c-ares' own form, and whether
 * the system's list is another by now.
 *
 * c-ares reads the system's file once. It may be written later, when the network comes up, or
 * again, when the servers are replaced; a relay that runs for months must not ask the old ones for
 * ever.
 */
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/mem.h"
#include "relay/io/dns_int.h"

#define LIST_MAX 4096

/* "[2001:db8::53]" and "[192.0.2.53]:53" without the brackets that are not needed. */
static void append_one(struct buf *out, struct str one)
{
    long end = str_find(one, ']');
    struct str inside = STR_NULL, behind = one;
    if (end > 0 && one.p[0] == '[') {
        inside = str_n(one.p + 1, (size_t)end - 1);
        behind = str_from(one, (size_t)end + 1);
    }
    bool needed = behind.n != 0 && str_find(inside, ':') >= 0;
    buf_printf(out, "%s%s%.*s%s%.*s", out->n != 0 ? "," : "", needed ? "[" : "", STR_ARG(inside),
               needed ? "]" : "", STR_ARG(behind));
}

/* c-ares knows no blanks between them, and brackets only with a port, around IPv6. */
char *dns_servers_csv(const char *list)
{
    struct buf out = BUF_INIT(LIST_MAX);
    struct str rest = str_c(list);
    while (rest.n != 0) {
        struct str one = str_trim(str_split(&rest, ','));
        if (one.n != 0)
            append_one(&out, one);
    }
    char *csv = str_dup(buf_str(&out));
    buf_free(&out);
    return csv;
}

bool dns_file_changed(const char *path, struct dns_file *seen)
{
    struct stat st;
    struct dns_file now = {0};
    if (stat(path, &st) == 0)
        now = (struct dns_file){.device = (uint64_t)st.st_dev,
                                .inode = (uint64_t)st.st_ino,
                                .size = (uint64_t)st.st_size,
                                .s = st.st_ctim.tv_sec, /* also of its mode: may it be read? */
                                .ns = st.st_ctim.tv_nsec};
    bool changed = now.device != seen->device || now.inode != seen->inode ||
                   now.size != seen->size || now.s != seen->s || now.ns != seen->ns;
    *seen = now;
    return changed;
}
