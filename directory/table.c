/*
 * table.c - reading tables: open, find by UUID, walk. See table.h for the format; keys are found in
 * table_key.c, entries decoded in record.c.
 *
 * A table is immutable and reference counted; any thread reads it without a lock. A damaged file
 * is refused on opening or, if the damage is in a block, by table_verify(); what is read before
 * that is verified then (table_guard.c), and every read is bounded by the section it is in.
 */
#include "directory/table_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "base/hash.h"
#include "base/mem.h"

#define LARGE_PAGE ((size_t)2 << 20)

uint64_t table_checksum(const unsigned char *head, size_t n, const void *sums, size_t n_sums)
{
    struct table_header h;
    memcpy(&h, head, sizeof(h));
    h.checksum = 0;
    struct hash_state *s = hash_state_new();
    hash_state_reset(s, TABLE_VERSION);
    hash_state_add(s, &h, sizeof(h));
    hash_state_add(s, head + sizeof(h), n - sizeof(h));
    hash_state_add(s, sums, n_sums);
    uint64_t sum = hash_state_end(s);
    hash_state_free(&s);
    return sum;
}

/* ---- opening ---- */

static bool section_ok(const struct table_header *h, const struct table_section *s,
                       uint64_t previous_end)
{
    return s->at % TABLE_ALIGN == 0 && s->at >= previous_end && s->at <= h->size &&
           s->size <= h->size - s->at;
}

static bool layout_ok(const struct table_header *h)
{
    uint64_t end = sizeof(*h);
    const struct table_section *all[] = {&h->strings, &h->cookie,  &h->groups, &h->keys,
                                         &h->uuids,   &h->entries, &h->sums};
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        if (!section_ok(h, all[i], end))
            return false;
        end = all[i]->at + all[i]->size;
    }
    uint64_t blocks = (h->sums.at - h->groups.at + TABLE_BLOCK - 1) / TABLE_BLOCK;
    return end == h->size && h->groups.size % sizeof(uint16_t) == 0 &&
           h->groups.size >= 2 * sizeof(uint16_t) &&
           h->groups.size / sizeof(uint16_t) < UINT32_MAX &&
           h->uuids.size % sizeof(struct table_bucket) == 0 && h->uuids.size != 0 &&
           h->uuids.size / sizeof(struct table_bucket) < UINT32_MAX && h->entries.size % 4 == 0 &&
           h->entries.size / 4 < UINT32_MAX && h->cookie.size <= TABLE_COOKIE_MAX &&
           (h->sums.size == 0 || h->sums.size == blocks * sizeof(uint64_t)) &&
           h->strings.size >= ((uint64_t)h->n_strings + 1) * sizeof(uint32_t);
}

/* Is it a table, one of ours, and whole? */
static bool origin_ok(const struct table_header *h, size_t size, struct err *e)
{
    if (size < sizeof(*h) || memcmp(h->magic, TABLE_MAGIC, sizeof(h->magic)) != 0)
        return err_set(e, ERR_CORRUPT, 0, "not a directory table");
    if (h->byte_order != TABLE_BYTE_ORDER)
        return err_set(e, ERR_CORRUPT, 0,
                       "written on a machine with another byte order, or damaged");
    if (h->version != TABLE_VERSION)
        return err_set(e, ERR_CORRUPT, 0, "in format version %u; this program reads version %u",
                       h->version, TABLE_VERSION);
    if (h->size != size)
        return err_set(e, ERR_CORRUPT, 0, "%s: it has %zu octets and should have %llu",
                       size < h->size ? "cut short" : "too long", size,
                       (unsigned long long)h->size);
    return true;
}

static bool strings_ok(const struct table_strings *s, uint64_t room)
{
    for (uint32_t i = 0; i < s->n; i++)
        if (s->at[i] > s->at[i + 1])
            return false;
    return s->at[0] == 0 && s->at[s->n] <= room;
}

static bool table_attach(struct dir_table *t, struct err *e)
{
    const struct table_header *h = t->h = (const struct table_header *)t->base;
    if (!origin_ok(h, t->size, e))
        return false;
    if (!layout_ok(h))
        return err_set(e, ERR_CORRUPT, 0, "the header is damaged");
    if (table_checksum(t->base, h->groups.at, t->base + h->sums.at, h->sums.size) != h->checksum)
        return err_set(e, ERR_CORRUPT, 0, "the header's checksum is wrong");
    uint64_t offsets = ((uint64_t)h->n_strings + 1) * sizeof(uint32_t);
    t->strings.at = (const uint32_t *)(t->base + h->strings.at);
    t->strings.text = (const char *)t->base + h->strings.at + offsets;
    t->strings.n = h->n_strings;
    if (!strings_ok(&t->strings, h->strings.size - offsets))
        return err_set(e, ERR_CORRUPT, 0, "the strings are damaged");
    t->start = (const uint16_t *)(t->base + h->groups.at);
    t->n_groups = h->groups.size / sizeof(uint16_t) - 1;
    t->keys = t->base + h->keys.at;
    t->keys_size = h->keys.size;
    t->uuids = (const struct table_bucket *)(t->base + h->uuids.at);
    t->n_uuid_buckets = h->uuids.size / sizeof(struct table_bucket);
    t->entries = t->base + h->entries.at;
    t->entries_size = h->entries.size;
    return true;
}

static void table_release(struct dir_table *t)
{
    if (t->mapped != 0)
        munmap((void *)t->base, t->mapped);
    else
        free((void *)t->base);
    mem_free(t->passed);
    mem_free(t);
}

static struct dir_table *table_new(const void *base, size_t n, size_t mapped, struct err *e)
{
    struct dir_table *t = NEW(struct dir_table);
    atomic_init(&t->refs, 1);
    t->base = base;
    t->size = n;
    t->mapped = mapped;
    if (table_attach(t, e))
        return t;
    table_release(t);
    return NULL;
}

struct dir_table *table_from_image(void *image, size_t n, struct err *e)
{
    return table_new(image, n, 0, e);
}

struct dir_table *table_open(const char *path, struct err *e)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set(e, ERR_SYSTEM, errno, "%s", path);
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    if (st.st_size < (off_t)sizeof(struct table_header)) {
        close(fd);
        err_set(e, ERR_CORRUPT, 0, "cut short: not even the header of a directory table");
        return NULL;
    }
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    int saved = errno;
    close(fd);
    if (p == MAP_FAILED) {
        err_set(e, ERR_SYSTEM, saved, "%s: mmap", path);
        return NULL;
    }
    struct dir_table *t = table_new(p, (size_t)st.st_size, (size_t)st.st_size, e);
    if (t != NULL)
        table_guard(t);
    return t;
}

/* Anonymous memory, on large pages if it is worth them. */
static void *large_alloc(size_t n, size_t *mapped)
{
    if (n < 4 * LARGE_PAGE) {
        *mapped = n;
        void *small = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        return small != MAP_FAILED ? small : NULL;
    }
    *mapped = (n + LARGE_PAGE - 1) & ~(LARGE_PAGE - 1);
    char *p = mmap(NULL, *mapped + LARGE_PAGE, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    size_t before = -(uintptr_t)p & (LARGE_PAGE - 1);
    if (before != 0)
        munmap(p, before);
    if (before != LARGE_PAGE)
        munmap(p + before + *mapped, LARGE_PAGE - before);
    madvise(p + before, *mapped, MADV_HUGEPAGE); /* a wish: refused, all works the same */
    return p + before;
}

struct dir_table *table_in_memory(const struct dir_table *t)
{
    struct err e;
    size_t mapped;
    void *p = large_alloc(t->size, &mapped);
    if (p == NULL)
        return NULL;
    memcpy(p, t->base, t->size);
    return table_new(p, t->size, mapped, &e);
}

struct dir_table *table_ref(struct dir_table *t)
{
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void table_unref(struct dir_table **tp)
{
    struct dir_table *t = *tp;
    *tp = NULL;
    if (t != NULL && atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) == 1)
        table_release(t);
}

const struct table_header *table_header(const struct dir_table *t)
{
    return t->h;
}

struct str table_cookie(const struct dir_table *t)
{
    return str_n((const char *)t->base + t->h->cookie.at, t->h->cookie.size);
}

struct str table_image(const struct dir_table *t)
{
    return str_n((const char *)t->base, t->size);
}

struct str table_string(const struct dir_table *t, uint32_t id)
{
    return table_strings_get(&t->strings, id);
}

/* ---- finding ---- */

bool table_next(const struct dir_table *t, uint64_t *at, struct table_record *out)
{
    struct packed body;
    if (!table_record_at(t, *at, NULL, out) || !table_record_open(out, &body))
        return false;
    *at += packed_size(out->p);
    return true;
}

/* A bit for each slot in use whose tag is this one. */
static unsigned tag_matches(const struct dir_table *t, const struct table_bucket *b, uint8_t tag)
{
    unsigned mask = 0;
    if (!table_is_sound(t, b, sizeof(*b)))
        return 0;
#ifdef __SSE2__
    __m128i head = _mm_load_si128((const __m128i *)(const void *)b);
    mask = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(head, _mm_set1_epi8((char)tag)));
#else
    for (unsigned i = 0; i < TABLE_SLOTS; i++)
        mask |= (unsigned)(b->tag[i] == tag) << i;
#endif
    unsigned n = b->n <= TABLE_SLOTS ? b->n : TABLE_SLOTS;
    return mask & ((1u << n) - 1);
}

bool table_find_uuid(const struct dir_table *t, const unsigned char *uuid, uint64_t hash,
                     struct table_record *out)
{
    uint64_t at = table_home(hash, t->n_uuid_buckets);
    struct packed body;
    for (uint64_t steps = 0; steps < t->n_uuid_buckets; steps++) {
        const struct table_bucket *b = &t->uuids[at];
        for (unsigned m = tag_matches(t, b, table_uuid_tag(hash)); m != 0; m &= m - 1)
            if (table_record_at(t, (uint64_t)b->ref[__builtin_ctz(m)] * 4, NULL, out) &&
                memcmp(out->p, uuid, DIR_UUID_SIZE) == 0 && table_record_open(out, &body))
                return true;
        if (!b->overflow)
            return false;
        at = at + 1 < t->n_uuid_buckets ? at + 1 : 0;
    }
    return false;
}
