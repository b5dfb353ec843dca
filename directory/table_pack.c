/*
 * table_pack.c - gathering entries for a table: packed one after the other (table.h: "A packed
 * entry"), strings that are likely to come again interned on the way. Owned by one thread.
 */
#include "directory/table_int.h"

#include "base/hash.h"
#include "base/mem.h"

#define ENTRIES_MAX ((size_t)UINT32_MAX * 4 - 65536)
#define STRINGS_MAX ((size_t)1 << 30)
#define KEYS_MAX    ((uint32_t)1 << 29) /* so that their section can be named in units of 4 octets */

struct table_builder *table_builder_new(void)
{
    struct table_builder *b = NEW(struct table_builder);
    buf_init(&b->entries, ENTRIES_MAX);
    buf_init(&b->text, STRINGS_MAX);
    return b;
}

void builder_reset(struct table_builder *b)
{
    buf_free(&b->entries);
    buf_free(&b->text);
    mem_free(b->at);
    mem_free(b->slot);
    b->at = b->slot = NULL;
    b->n_strings = b->at_cap = b->slot_cap = 0;
    b->n_entries = b->n_dead = b->n_tombstones = b->n_keys = 0;
    b->dead_size = 0;
}

void table_builder_free(struct table_builder **b)
{
    if (*b == NULL)
        return;
    builder_reset(*b);
    mem_free(*b);
    *b = NULL;
}

uint32_t table_builder_entries(const struct table_builder *b)
{
    return b->n_entries - b->n_dead;
}

size_t table_builder_bytes(const struct table_builder *b)
{
    return b->entries.n;
}

size_t table_builder_dead_bytes(const struct table_builder *b)
{
    return b->dead_size;
}

/* ---- strings ---- */

struct table_strings builder_strings(const struct table_builder *b)
{
    return (struct table_strings){.at = b->at, .text = b->text.p, .n = b->n_strings};
}

static void strings_grow(struct table_builder *b)
{
    if (b->n_strings + 2 > b->at_cap) {
        b->at_cap = b->at_cap == 0 ? 16 : b->at_cap * 2;
        b->at = mem_realloc(b->at, b->at_cap * sizeof(*b->at));
        b->at[b->n_strings] = (uint32_t)b->text.n;
    }
    if ((b->n_strings + 1) * 2 <= b->slot_cap)
        return;
    uint32_t cap = b->slot_cap == 0 ? 32 : b->slot_cap * 2;
    mem_free(b->slot);
    b->slot = mem_array(cap, sizeof(*b->slot));
    b->slot_cap = cap;
    struct table_strings all = builder_strings(b);
    for (uint32_t id = 0; id < b->n_strings; id++) {
        struct str s = table_strings_get(&all, id);
        uint64_t i = hash64(s.p, s.n) & (cap - 1);
        while (b->slot[i] != 0)
            i = (i + 1) & (cap - 1);
        b->slot[i] = id + 1;
    }
}

/* UINT32_MAX when the table of strings is full. */
static uint32_t builder_intern(struct table_builder *b, struct str s)
{
    strings_grow(b);
    struct table_strings all = builder_strings(b);
    uint64_t i = hash64(s.p, s.n) & (b->slot_cap - 1);
    for (; b->slot[i] != 0; i = (i + 1) & (b->slot_cap - 1))
        if (str_eq(table_strings_get(&all, b->slot[i] - 1), s))
            return b->slot[i] - 1;
    if (!buf_append(&b->text, s.p, s.n))
        return UINT32_MAX;
    b->at[++b->n_strings] = (uint32_t)b->text.n;
    b->slot[i] = b->n_strings;
    return b->n_strings - 1;
}

/* ---- packing ---- */

static bool put_varint(struct buf *out, uint32_t v)
{
    char o[5];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        o[n++] = (char)(v | 0x80);
    o[n++] = (char)v;
    return buf_append(out, o, n);
}

/* `like` NULL: never abbreviated. */
static bool put_text(struct buf *out, struct str s, const struct str *like)
{
    if (like != NULL && str_eq(s, *like))
        return put_varint(out, 0);
    return put_varint(out, (uint32_t)s.n) && buf_append(out, s.p, s.n);
}

static bool put_address(struct table_builder *b, const struct dir_address *a,
                        const struct str *primary_local)
{
    uint32_t id = builder_intern(b, a->domain);
    return id != UINT32_MAX && put_varint(&b->entries, id) &&
           put_text(&b->entries, a->local, primary_local);
}

static bool put_other(struct table_builder *b, const struct dir_other_key *o)
{
    long slash = o->type != DIR_KEY_CUSTOM ? str_rfind(o->key, '/') : -1;
    uint32_t prefix =
        slash > 0 ? builder_intern(b, str_upto(o->key, (size_t)slash + 1)) : UINT32_MAX;
    bool has = prefix != UINT32_MAX;
    return o->key.n <= DIR_OTHER_MAX && put_varint(&b->entries, (uint32_t)o->type << 1 | has) &&
           (!has || put_varint(&b->entries, prefix)) &&
           put_text(&b->entries, has ? str_from(o->key, (size_t)slash + 1) : o->key, NULL);
}

static bool put_others(struct table_builder *b, const struct dir_entry *e)
{
    bool ok = put_varint(&b->entries, e->n_other);
    for (unsigned i = 0; i < e->n_other; i++)
        ok = ok && put_other(b, &e->other[i]);
    return ok;
}

/* Where the RDN ends: at the first comma that no backslash or quote hides; -1 if nothing follows.
 */
static long rdn_end(struct str dn)
{
    bool quoted = false;
    for (size_t i = 0; i < dn.n; i++) {
        if (dn.p[i] == '\\')
            i++;
        else if (dn.p[i] == '"')
            quoted = !quoted;
        else if (dn.p[i] == ',' && !quoted)
            return i + 1 < dn.n ? (long)i : -1;
    }
    return -1;
}

/* Most entries share their parent with many. */
static bool put_dn(struct table_builder *b, struct str dn)
{
    long comma = rdn_end(dn);
    struct str rdn = comma >= 0 ? str_upto(dn, (size_t)comma) : dn;
    uint32_t parent = builder_intern(b, comma >= 0 ? str_from(dn, (size_t)comma + 1) : STR(""));
    return parent != UINT32_MAX && put_varint(&b->entries, parent) &&
           put_text(&b->entries, rdn, NULL);
}

static unsigned more_bits(const struct dir_entry *e)
{
    unsigned bits = 0;
    for (unsigned i = 0; i < DIR_NAME_COUNT; i++)
        bits |= (unsigned)(e->name[i].n != 0) << i;
    bits |= e->require_auth ? MORE_AUTH : 0;
    bits |= e->recipient_type != 0 ? MORE_TYPE : 0;
    bits |= e->vanished_ms != 0 ? MORE_VANISHED : 0;
    bits |= e->dn.n != 0 ? MORE_DN : 0;
    return bits;
}

static bool put_more(struct table_builder *b, const struct dir_entry *e)
{
    struct buf *out = &b->entries;
    unsigned bits = more_bits(e);
    bool ok = buf_append_char(out, (char)bits);
    if (bits & MORE_TYPE)
        ok = ok && buf_append_char(out, (char)e->recipient_type);
    for (unsigned i = 0; (bits & MORE_VANISHED) && i < 8; i++)
        ok = ok && buf_append_char(out, (char)((uint64_t)e->vanished_ms >> (8 * i)));
    for (unsigned i = 0; i < DIR_NAME_COUNT; i++)
        if (e->name[i].n != 0)
            ok = ok && put_text(out, e->name[i], NULL);
    return ok && (e->dn.n == 0 || put_dn(b, e->dn));
}

static bool put_body(struct table_builder *b, const struct dir_entry *e)
{
    struct buf *out = &b->entries;
    const struct str *local = &e->address[0].local;
    bool ok = true;
    if (e->flag.n != 0) {
        uint32_t id = builder_intern(b, e->flag);
        ok = id != UINT32_MAX && put_varint(out, id);
    }
    ok = ok && put_varint(out, e->n_address);
    for (unsigned i = 0; i < e->n_address; i++)
        ok = ok && put_address(b, &e->address[i], i == 0 ? NULL : local);
    if (e->n_other != 0)
        ok = ok && put_others(b, e);
    if (e->routing.local.n != 0)
        ok = ok && put_address(b, &e->routing, local);
    if (e->target.local.n != 0)
        ok = ok && put_address(b, &e->target, local);
    if (e->alias.n != 0)
        ok = ok && put_text(out, e->alias, local);
    if (more_bits(e) != 0)
        ok = ok && put_more(b, e);
    return ok;
}

static void put_fixed(unsigned char *p, const struct dir_entry *e)
{
    memcpy(p, e->uuid, DIR_UUID_SIZE);
    p[16] = p[17] = 0;
    p[18] = (unsigned char)((unsigned)e->kind & PACKED_KIND);
    p[19] = (unsigned char)((unsigned)e->evidence & PACKED_EVIDENCE);
    if (e->tombstone) {
        p[18] |= PACKED_TOMBSTONE;
        return;
    }
    p[18] |= e->routing.local.n != 0 ? PACKED_ROUTING : 0;
    p[18] |= e->target.local.n != 0 ? PACKED_TARGET : 0;
    p[18] |= e->alias.n != 0 ? PACKED_ALIAS : 0;
    p[19] |= e->flag.n != 0 ? PACKED_FLAG : 0;
    p[19] |= e->n_other != 0 ? PACKED_OTHERS : 0;
    p[19] |= more_bits(e) != 0 ? PACKED_MORE : 0;
}

uint64_t table_builder_add(struct table_builder *b, const struct dir_entry *e)
{
    static const char pad[4];
    unsigned char fixed[PACKED_FIXED];
    size_t start = b->entries.n;
    ASSERT(e->tombstone || (e->n_address != 0 && e->n_address <= DIR_ADDRESSES_MAX &&
                            e->n_other <= DIR_OTHERS_MAX && e->dn.n <= DIR_DN_MAX));
    put_fixed(fixed, e);
    bool ok = buf_append(&b->entries, fixed, sizeof(fixed)) && (e->tombstone || put_body(b, e)) &&
              buf_append(&b->entries, pad, -(b->entries.n - start) & 3);
    size_t units = (b->entries.n - start) / 4;
    uint32_t keys = e->tombstone ? 0 : e->n_address + e->n_other;
    if (!ok || units > UINT16_MAX || b->n_entries == UINT32_MAX || b->n_keys + keys > KEYS_MAX) {
        b->entries.n = start;
        return TABLE_NO_ENTRY;
    }
    b->entries.p[start + 16] = (char)(units & 0xff);
    b->entries.p[start + 17] = (char)(units >> 8);
    b->n_keys += keys;
    b->n_entries++;
    b->n_tombstones += e->tombstone;
    return start;
}

void table_builder_kill(struct table_builder *b, uint64_t handle)
{
    unsigned char *p = (unsigned char *)b->entries.p + handle;
    if (p[18] & PACKED_DEAD)
        return;
    b->n_dead++;
    b->dead_size += packed_size(p);
    b->n_tombstones -= (p[18] & PACKED_TOMBSTONE) != 0;
    p[18] |= PACKED_DEAD;
}

const unsigned char *table_builder_uuid(const struct table_builder *b, uint64_t handle)
{
    return (const unsigned char *)b->entries.p + handle;
}

bool table_builder_read(const struct table_builder *b, uint64_t handle, struct dir_entry_room *room,
                        struct dir_entry *out)
{
    const unsigned char *p = (const unsigned char *)b->entries.p + handle;
    struct table_strings s = builder_strings(b);
    return !(p[18] & PACKED_DEAD) && packed_decode(p, packed_size(p), &s, room, out);
}

uint64_t table_builder_next(const struct table_builder *b, uint64_t *at,
                            struct dir_entry_room *room, struct dir_entry *out)
{
    while (*at < b->entries.n) {
        uint64_t handle = *at;
        *at += packed_size((const unsigned char *)b->entries.p + handle);
        if (table_builder_read(b, handle, room, out))
            return handle;
    }
    return TABLE_NO_ENTRY;
}
