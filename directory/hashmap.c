/*
 * hashmap.c - see hashmap.h. Load at most 3/4.
 */
#include "directory/hashmap.h"

#include "base/mem.h"

static uint64_t usable(uint64_t hash)
{
    return hash != 0 ? hash : 1;
}

void hashmap_init(struct hashmap *m, bool only_keys)
{
    *m = (struct hashmap){.only_keys = only_keys};
}

void hashmap_free(struct hashmap *m)
{
    mem_free(m->key);
    mem_free(m->value);
    hashmap_init(m, m->only_keys);
}

static size_t place(const struct hashmap *m, uint64_t hash)
{
    size_t i = (size_t)(hash ^ hash >> 32) & (m->cap - 1);
    while (m->key[i] != 0 && m->key[i] != hash)
        i = (i + 1) & (m->cap - 1);
    return i;
}

bool hashmap_has(const struct hashmap *m, uint64_t hash)
{
    hash = usable(hash);
    return m->n != 0 && m->key[place(m, hash)] == hash;
}

uint64_t *hashmap_find(const struct hashmap *m, uint64_t hash)
{
    hash = usable(hash);
    if (m->n == 0)
        return NULL;
    size_t i = place(m, hash);
    return m->key[i] == hash ? &m->value[i] : NULL;
}

static void grow(struct hashmap *m)
{
    struct hashmap old = *m;
    m->cap = old.cap == 0 ? 64 : old.cap * 2;
    m->key = mem_array(m->cap, sizeof(*m->key));
    m->value = m->only_keys ? NULL : mem_array(m->cap, sizeof(*m->value));
    for (size_t i = 0; i < old.cap; i++) {
        if (old.key[i] == 0)
            continue;
        size_t to = place(m, old.key[i]);
        m->key[to] = old.key[i];
        if (!m->only_keys)
            m->value[to] = old.value[i];
    }
    mem_free(old.key);
    mem_free(old.value);
}

bool hashmap_set(struct hashmap *m, uint64_t hash, uint64_t value)
{
    hash = usable(hash);
    if ((m->n + 1) * 4 > m->cap * 3)
        grow(m);
    size_t i = place(m, hash);
    bool new = m->key[i] == 0;
    m->n += new;
    m->key[i] = hash;
    if (!m->only_keys)
        m->value[i] = value;
    return new;
}
