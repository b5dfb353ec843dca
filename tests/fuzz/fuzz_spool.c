/*
 * fuzz_spool.c - a segment's image as recovery sees it: header, walk, replay into a table, content
 * checks. The first byte of the input says how: with bit 0 set, everything that looks like a record
 * gets a right checksum first, so that the lengths and marks behind it are believed; bit 1 sets a
 * known end.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "relay/spool/record.h"
#include "relay/spool/spool_int.h"

#define SALT 42u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t *image;
static size_t image_n;

static ssize_t image_pread(int fd, void *p, size_t n, off_t off)
{
    (void)fd;
    if ((size_t)off >= image_n)
        return 0;
    if (n > image_n - (size_t)off)
        n = image_n - (size_t)off;
    memcpy(p, image + off, n);
    return (ssize_t)n;
}
static const struct file_ops image_ops = {.pread = image_pread};

static void make_believable(uint8_t *p, size_t n)
{
    for (size_t off = DISK_RECORDS_BEGIN; off + sizeof(struct disk_record) <= n;
         off += DISK_ALIGN) {
        struct disk_record h;
        uint32_t magic = DISK_RECORD_MAGIC;
        memcpy(p + off + offsetof(struct disk_record, magic), &magic, sizeof(magic));
        memcpy(&h, p + off, sizeof(h));
        if (h.type != DISK_PAD && record_length(&h) <= n - off)
            h.length = (uint32_t)record_length(&h);
        memcpy(p + off, &h, sizeof(h));
        if (record_is_sane(&h, n - off)) {
            record_seal(p + off, SALT, off);
            off += h.length - DISK_ALIGN;
        }
    }
}

struct seen_state {
    struct table t;
    struct scan content;
    uint64_t last;
};

static bool see(void *arg, const struct record *r)
{
    struct seen_state *s = arg;
    ASSERT(r->off >= s->last && r->next > r->off && r->next <= image_n);
    s->last = r->next;
    state_replay(&s->t, 1, r);
    hash64(r->envelope.p, r->envelope.n); /* all of it can be read */
    scan_content_is_good(&s->content, &r->h, r->content_off);
    return true;
}

static void see_damage(void *arg, uint64_t from, uint64_t to)
{
    (void)arg;
    ASSERT(from < to && to <= image_n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct disk_segment h;
    struct walk_result out;
    if (size < 1 + DISK_ALIGN || size > 512 * 1024)
        return 0;
    uint8_t how = data[0];
    size_t n = DISK_RECORDS_BEGIN + size - 1;
    uint8_t *copy = mem_zalloc(n);
    memcpy(copy + DISK_RECORDS_BEGIN, data + 1, size - 1);
    memcpy(copy, data + 1, size - 1 < DISK_PAGE ? size - 1 : DISK_PAGE);
    header_read(copy, &h);
    if (how & 1)
        make_believable(copy, n);
    image = copy;
    image_n = n;
    struct seen_state s = {0};
    struct scan sc;
    struct walk w = {.arg = &s, .record = see, .damage = see_damage};
    table_init(&s.t);
    scan_init(&sc, &image_ops, 3, SALT, n);
    scan_init(&s.content, &image_ops, 3, SALT, n);
    scan_walk(&sc, how & 2 ? DISK_RECORDS_BEGIN + (n - DISK_RECORDS_BEGIN) / 2 : 0, &w, &out);
    ASSERT(out.end <= n && out.proven <= n);
    scan_free(&sc);
    scan_free(&s.content);
    table_free(&s.t);
    mem_free(copy);
    return 0;
}
