/*
 * conf.c - a configuration once it is read: references, lookups, and what a reload cannot apply.
 *
 * Read-only and shared by all threads; the last reference frees it. Cannot fail.
 */
#include "conf/options.h"

#include <arpa/inet.h>

#include "base/assert.h"
#include "base/mem.h"

/* ---- references ---- */

struct conf *conf_ref(struct conf *c)
{
    __atomic_add_fetch(&c->refs, 1, __ATOMIC_RELAXED);
    return c;
}

static void free_options(enum conf_section_id s, void *base)
{
    for (unsigned i = 0; i < conf_option_count; i++)
        if (conf_option[i].section == s)
            conf_value_free(&conf_option[i], base);
}

static void free_families(enum conf_section_id s, void *base)
{
    for (unsigned i = 0; i < conf_family_count; i++) {
        const struct conf_family *f = &conf_family[i];
        if (f->parent != s)
            continue;
        unsigned n = *(unsigned *)(void *)((char *)base + f->n_offset);
        char *v = *(char **)(void *)((char *)base + f->v_offset);
        for (unsigned k = 0; k < n; k++) {
            char *one = v + k * f->size;
            mem_free(*(char **)(void *)one);
            free_options(f->section, one);
            free_families(f->section, one);
        }
        mem_free(v);
    }
}

void conf_unref(struct conf **c)
{
    struct conf *old = *c;
    *c = NULL;
    if (old == NULL || __atomic_sub_fetch(&old->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    for (unsigned s = 0; s < CONF_S_COUNT; s++)
        if (!conf_section[s].titled)
            free_options((enum conf_section_id)s, old);
    free_families(CONF_S_top, old);
    for (unsigned i = 0; i < old->n_file; i++)
        mem_free(old->file[i].where);
    mem_free(old->file);
    mem_free(old->path);
    mem_free(old);
}

/* ---- lookups ---- */

int conf_find_forest(const struct conf *c, struct str name)
{
    for (unsigned i = 0; i < c->n_forest; i++)
        if (str_eq_nocase(str_c(c->forest[i].name), name))
            return (int)i;
    return CONF_NONE;
}

static int compare(struct str a, struct str b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int d = n != 0 ? memcmp(a.p, b.p, n) : 0;
    return d != 0 ? d : (a.n > b.n) - (a.n < b.n);
}

int conf_find_domain(const struct conf *c, struct str lower_name)
{
    unsigned low = 0, high = c->n_domain;
    while (low < high) {
        unsigned mid = low + (high - low) / 2;
        int d = compare(str_c(c->domain[mid].name), lower_name);
        if (d == 0)
            return (int)mid;
        if (d < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return CONF_NONE;
}

/* How well a pattern fits: 0 = not; longer is better; the domain itself beats any wildcard. */
static size_t fit(struct str pattern, struct str domain)
{
    if (str_eq(pattern, domain))
        return 1000;
    if (str_eq(pattern, STR("*")))
        return 1;
    if (!str_starts(pattern, STR("*.")))
        return 0;
    struct str tail = str_from(pattern, 1);
    return domain.n > tail.n && str_ends_nocase(domain, tail) ? tail.n : 0;
}

int conf_find_route(const struct conf *c, struct str lower_domain)
{
    int best = CONF_NONE;
    size_t best_fit = 0;
    for (unsigned i = 0; i < c->n_route; i++)
        for (unsigned k = 0; k < c->route[i].n_domain; k++) {
            size_t f = fit(str_c(c->route[i].domain[k]), lower_domain);
            if (f > best_fit) {
                best_fit = f;
                best = (int)i;
            }
        }
    return best;
}

/* ---- networks ---- */

static bool net_contains(const struct conf_net *n, int family, const unsigned char *addr)
{
    if (n->family != family)
        return false;
    unsigned whole = n->prefix / 8, rest = n->prefix % 8;
    if (memcmp(n->addr, addr, whole) != 0)
        return false;
    return rest == 0 || ((n->addr[whole] ^ addr[whole]) >> (8 - rest)) == 0;
}

/* The bytes of an address; an IPv4 address that came in over an IPv6 socket counts as IPv4. */
static int address_bytes(const struct sockaddr *a, unsigned char out[16])
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (a->sa_family == AF_INET) {
        memcpy(out, &((const struct sockaddr_in *)(const void *)a)->sin_addr, 4);
        return AF_INET;
    }
    if (a->sa_family != AF_INET6)
        return AF_UNSPEC;
    memcpy(out, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, 16);
    if (memcmp(out, mapped, sizeof(mapped)) != 0)
        return AF_INET6;
    memmove(out, out + 12, 4);
    return AF_INET;
}

/* The longest prefix that contains the address, or -1. */
static int longest(const struct conf_nets *n, int family, const unsigned char *addr)
{
    int best = -1;
    for (unsigned i = 0; i < n->n; i++)
        if ((int)n->v[i].prefix > best && net_contains(&n->v[i], family, addr))
            best = (int)n->v[i].prefix;
    return best;
}

bool conf_nets_contain(const struct conf_nets *n, const struct sockaddr *a)
{
    unsigned char addr[16];
    int family = address_bytes(a, addr);
    return family != AF_UNSPEC && longest(n, family, addr) >= 0;
}

int conf_forest_of_peer(const struct conf *c, const struct sockaddr *a)
{
    unsigned char addr[16];
    int family = address_bytes(a, addr), best = CONF_NONE, best_prefix = -1;
    for (unsigned i = 0; family != AF_UNSPEC && i < c->n_forest; i++) {
        int prefix = longest(&c->forest[i].peers, family, addr);
        if (prefix > best_prefix) {
            best_prefix = prefix;
            best = (int)i;
        }
    }
    return best;
}

/* ---- reload ---- */

static void name_it(struct buf *out, const char *section, const char *option)
{
    buf_printf(out, "%s%s%s%s", out->n != 0 ? ", " : "", section, section[0] != '\0' ? "." : "",
               option);
}

/* Has the family (listeners, say) changed in a way that needs a restart? */
static void compare_family(const struct conf_family *f, const struct conf *a, const struct conf *b,
                           struct buf *out)
{
    unsigned n = *(const unsigned *)(const void *)((const char *)a + f->n_offset);
    unsigned nb = *(const unsigned *)(const void *)((const char *)b + f->n_offset);
    const char *va = *(char *const *)(const void *)((const char *)a + f->v_offset);
    const char *vb = *(char *const *)(const void *)((const char *)b + f->v_offset);
    bool any = false;
    for (unsigned k = 0; k < conf_option_count; k++) {
        const struct conf_option *o = &conf_option[k];
        if (o->section != f->section || o->when != CONF_RESTART)
            continue;
        any = true;
        bool same = n == nb;
        for (unsigned i = 0; same && i < n; i++)
            same = conf_value_eq(o, va + i * f->size, vb + i * f->size);
        if (same)
            continue;
        name_it(out, conf_section[f->section].word, o->name);
        if (n != nb)
            return;
    }
    for (unsigned i = 0; any && n == nb && i < n; i++)
        if (strcmp(*(char *const *)(const void *)(va + i * f->size),
                   *(char *const *)(const void *)(vb + i * f->size)) != 0) {
            name_it(out, "", conf_section[f->section].word);
            return;
        }
}

void conf_needs_restart(const struct conf *a, const struct conf *b, struct buf *out)
{
    for (unsigned i = 0; i < conf_option_count; i++) {
        const struct conf_option *o = &conf_option[i];
        if (!conf_section[o->section].titled && o->when == CONF_RESTART && !conf_value_eq(o, a, b))
            name_it(out, conf_section[o->section].word, o->name);
    }
    for (unsigned i = 0; i < conf_family_count; i++)
        if (conf_family[i].parent == CONF_S_top)
            compare_family(&conf_family[i], a, b, out);
}
