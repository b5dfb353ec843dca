/*
 * value.c - from the text of a value to the member it fills, by the option's row in the table; and
 * the reverse uses of a row: freeing, comparing, printing a bound.
 *
 * Runs on any thread. A value that does not fit is explained in one sentence: what is wrong; what
 * would be right.
 */
#include "conf/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/escape.h"
#include "base/mem.h"

static void *member(const struct conf_option *o, void *base)
{
    return (char *)base + o->offset;
}
static const void *member_const(const struct conf_option *o, const void *base)
{
    return (const char *)base + o->offset;
}
static unsigned *counter(const struct conf_option *o, void *base)
{
    return (unsigned *)(void *)((char *)base + o->count_offset);
}

/* ---- numbers with units ---- */

struct unit {
    const char *text;
    uint64_t factor;
};
static const struct unit duration_unit[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000},
};
static const struct unit size_unit[] = {
    {"", 1}, {"K", 1ull << 10}, {"M", 1ull << 20}, {"G", 1ull << 30}, {"T", 1ull << 40},
};

static bool parse_with_unit(struct str s, const struct unit *u, size_t n, uint64_t max,
                            uint64_t *out)
{
    size_t digits = 0;
    uint64_t value;
    while (digits < s.n && ascii_is_digit(s.p[digits]))
        digits++;
    if (!str_to_u64(str_upto(s, digits), max, &value))
        return false;
    struct str unit = str_from(s, digits);
    for (size_t i = 0; i < n; i++) {
        if (!str_eq_nocase(unit, str_c(u[i].text)))
            continue;
        if (value > max / u[i].factor)
            return false;
        *out = value * u[i].factor;
        return true;
    }
    return false;
}

bool conf_parse_duration(struct str s, int64_t *ms)
{
    uint64_t v;
    if (str_eq(s, STR("0"))) {
        *ms = 0;
        return true;
    }
    if (!parse_with_unit(s, duration_unit, ARRAY_LEN(duration_unit), INT64_MAX, &v))
        return false;
    *ms = (int64_t)v;
    return true;
}

bool conf_parse_size(struct str s, uint64_t *bytes)
{
    return parse_with_unit(s, size_unit, ARRAY_LEN(size_unit), INT64_MAX, bytes);
}

void conf_value_bound(const struct conf_option *o, double v, char dst[32])
{
    const struct unit *u = NULL;
    size_t n = 0;
    if (o->type == CONF_T_DURATION || o->type == CONF_T_SECONDS) {
        u = duration_unit;
        n = ARRAY_LEN(duration_unit);
    } else if (o->type == CONF_T_SIZE) {
        u = size_unit;
        n = ARRAY_LEN(size_unit);
    }
    if (v != 0)
        for (size_t i = n; i-- > 0;)
            if ((uint64_t)v % u[i].factor == 0) {
                snprintf(dst, 32, "%.0f%s", v / (double)u[i].factor, u[i].text);
                return;
            }
    snprintf(dst, 32, "%.15g", v);
}

struct str conf_choice(const char *choices, unsigned n)
{
    struct str rest = str_c(choices);
    struct str one = str_split(&rest, '|');
    while (n-- > 0)
        one = str_split(&rest, '|');
    return one;
}

/* ---- one value ---- */

/* The value as shown in an error: harmless and short. */
static void shown(const char *text, char *dst, size_t cap)
{
    escape_cstr(str_c(text), dst, cap);
}

static bool wrong_form(const char *text, const char *what, const char *right, char *why, size_t cap)
{
    char v[80];
    shown(text, v, sizeof(v));
    snprintf(why, cap, "\"%s\" is not %s; write %s", v, what, right);
    return false;
}

static bool in_bounds(const struct conf_option *o, const char *text, double v, char *why,
                      size_t cap)
{
    char bound[32], shown_text[80];
    const char *unit = o->type == CONF_T_INT ? o->unit : "";
    if (v >= o->min && v <= o->max)
        return true;
    shown(text, shown_text, sizeof(shown_text));
    bool low = v < o->min;
    conf_value_bound(o, low ? o->min : o->max, bound);
    snprintf(why, cap, "%s is too %s; write at %s %s%s%s", shown_text, low ? "little" : "much",
             low ? "least" : "most", bound, unit[0] ? " " : "", unit);
    return false;
}

static bool read_number(const struct conf_option *o, const char *text, void *dst, char *why,
                        size_t cap)
{
    char low[32], high[32], right[100];
    struct str s = str_c(text);
    uint64_t u = 0;
    int64_t ms = 0;
    bool ok = false;
    conf_value_bound(o, o->min, low);
    conf_value_bound(o, o->max, high);

    switch (o->type) {
    case CONF_T_INT:
        if (!(ok = str_to_u64(s, INT64_MAX, &u))) {
            snprintf(right, sizeof(right), "one from %s to %s", low, high);
            return wrong_form(text, "a whole number", right, why, cap);
        }
        break;
    case CONF_T_SIZE:
        if (!(ok = conf_parse_size(s, &u)))
            return wrong_form(text, "a size", "bytes, or a number with K, M or G, such as 64M", why,
                              cap);
        break;
    default:
        if (!(ok = conf_parse_duration(s, &ms)))
            return wrong_form(text, "a duration",
                              "a number with ms, s, m, h or d, such as 30s, 5m or 2h", why, cap);
        u = (uint64_t)ms;
        break;
    }
    if (!in_bounds(o, text, (double)u, why, cap))
        return false;
    if (o->type == CONF_T_SECONDS)
        u /= 1000;
    if (dst == NULL)
        return true;
    if (o->size == sizeof(uint32_t))
        *(uint32_t *)dst = (uint32_t)u;
    else
        *(uint64_t *)dst = u;
    return true;
}

static bool read_float(const struct conf_option *o, const char *text, double *dst, char *why,
                       size_t cap)
{
    char *end;
    double v = strtod(text, &end);
    if (text[0] == '\0' || *end != '\0' || !isfinite(v))
        return wrong_form(text, "a number", "a fraction such as 0.25", why, cap);
    if (!in_bounds(o, text, v, why, cap))
        return false;
    if (dst != NULL)
        *dst = v;
    return true;
}

static bool read_bool(const char *text, bool *dst, char *why, size_t cap)
{
    static const struct {
        const char *text;
        bool value;
    } word[] = {{"yes", true},  {"no", false},  {"on", true},
                {"off", false}, {"true", true}, {"false", false}};
    for (size_t i = 0; i < ARRAY_LEN(word); i++) {
        if (!str_eq_nocase(str_c(text), str_c(word[i].text)))
            continue;
        if (dst != NULL)
            *dst = word[i].value;
        return true;
    }
    return wrong_form(text, "yes or no", "yes or no", why, cap);
}

static bool read_choice(const struct conf_option *o, const char *text, void *dst, char *why,
                        size_t cap)
{
    char v[80], list[100] = "";
    struct str one;
    for (unsigned i = 0; (one = conf_choice(o->unit, i)).n != 0; i++) {
        if (str_eq_nocase(str_c(text), one)) {
            if (dst != NULL)
                *(int *)dst = (int)i;
            return true;
        }
        size_t n = strlen(list);
        bool last = conf_choice(o->unit, i + 1).n == 0;
        snprintf(list + n, sizeof(list) - n, "%s%.*s",
                 i == 0 ? ""
                 : last ? " or "
                        : ", ",
                 STR_ARG(one));
    }
    shown(text, v, sizeof(v));
    snprintf(why, cap, "\"%s\" is not one of the choices; write %s", v, list);
    return false;
}

static bool read_string(const struct conf_option *o, const char *text, char **dst, char *why,
                        size_t cap)
{
    char v[80];
    const char *wrong = NULL;
    size_t n = strlen(text);
    for (size_t i = 0; i < n && wrong == NULL; i++)
        if ((unsigned char)text[i] < 32 || text[i] == 127)
            wrong = "has control characters in it; leave them out";
    if (wrong == NULL && o->check != NULL)
        wrong = o->check(text);
    shown(text, v, sizeof(v));
    if (wrong != NULL) {
        snprintf(why, cap, "\"%s\" %s", v, wrong);
        return false;
    }
    if (!conf_type_is_list(o->type) && ((double)n < o->min || (double)n > o->max)) {
        if (n == 0)
            snprintf(why, cap, "is empty; write a %s", o->unit);
        else
            snprintf(why, cap, "\"%s\" is too %s; write from %.0f to %.0f characters", v,
                     (double)n < o->min ? "short" : "long", o->min, o->max);
        return false;
    }
    if (dst != NULL) {
        mem_free(*dst);
        *dst = str_dup(str_c(text));
    }
    return true;
}

/* ---- elements of lists ---- */

static bool add_net(const struct conf_option *o, const char *text, struct conf_nets *dst, char *why,
                    size_t cap)
{
    struct conf_net net;
    (void)o;
    if (!conf_net_parse(text, &net))
        return wrong_form(text, "a network",
                          "an address or its network, such as 192.0.2.1, 10.0.0.0/8 or "
                          "2001:db8::/32 (no bits set behind the prefix)",
                          why, cap);
    if (dst != NULL) {
        dst->v = mem_realloc(dst->v, (dst->n + 1) * sizeof(*dst->v));
        dst->v[dst->n++] = net;
    }
    return true;
}

static bool add_pair(const struct conf_option *o, const char *text, void *base, char *why,
                     size_t cap)
{
    char right_form[100];
    struct str right = str_c(text);
    bool has = str_find(right, '=') >= 0;
    struct str left = str_trim(str_split(&right, '='));
    right = str_trim(right);
    snprintf(right_form, sizeof(right_form), "\"%s\"", o->unit);
    if (!has || left.n == 0 || right.n == 0)
        return wrong_form(text, "a pair", right_form, why, cap);
    if (!read_string(o, text, NULL, why, cap))
        return false;
    if (base != NULL) {
        struct conf_pair **v = member(o, base);
        unsigned *n = counter(o, base);
        *v = mem_realloc(*v, (*n + 1) * sizeof(**v));
        (*v)[(*n)++] = (struct conf_pair){.left = str_dup(left), .right = str_dup(right)};
    }
    return true;
}

static bool add_string(const struct conf_option *o, const char *text, void *base, char *why,
                       size_t cap)
{
    char *copy = NULL;
    if (text[0] == '\0') {
        snprintf(why, cap, "has an empty element; write %s, or leave it out", o->unit);
        return false;
    }
    if (!read_string(o, text, base != NULL ? &copy : NULL, why, cap))
        return false;
    if (base != NULL) {
        char ***v = member(o, base);
        unsigned *n = counter(o, base);
        *v = mem_realloc(*v, (*n + 1) * sizeof(**v));
        (*v)[(*n)++] = copy;
    }
    return true;
}

bool conf_value_read(const struct conf_option *o, const char *text, void *base, char *why,
                     size_t cap)
{
    void *dst = base != NULL ? member(o, base) : NULL;
    switch (o->type) {
    case CONF_T_STRING:
        return read_string(o, text, dst, why, cap);
    case CONF_T_LIST:
        return add_string(o, text, base, why, cap);
    case CONF_T_NETS:
        return add_net(o, text, dst, why, cap);
    case CONF_T_PAIRS:
        return add_pair(o, text, base, why, cap);
    case CONF_T_INT:
    case CONF_T_SIZE:
    case CONF_T_DURATION:
    case CONF_T_SECONDS:
        return read_number(o, text, dst, why, cap);
    case CONF_T_BOOL:
        return read_bool(text, dst, why, cap);
    case CONF_T_ENUM:
        return read_choice(o, text, dst, why, cap);
    case CONF_T_FLOAT:
        return read_float(o, text, dst, why, cap);
    }
    return false;
}

bool conf_value_count(const struct conf_option *o, unsigned n, char *why, size_t cap)
{
    if (n < o->min)
        snprintf(why, cap, "is empty; give at least %.0f of: %s", o->min, o->unit);
    else if (n > o->max)
        snprintf(why, cap, "has too many elements; give at most %.0f", o->max);
    else
        return true;
    return false;
}

/* ---- whole members ---- */

void conf_value_free(const struct conf_option *o, void *base)
{
    void *p = member(o, base);
    if (o->type == CONF_T_STRING) {
        mem_free(*(char **)p);
    } else if (o->type == CONF_T_NETS) {
        mem_free(((struct conf_nets *)p)->v);
    } else if (o->type == CONF_T_LIST) {
        char **v = *(char ***)p;
        for (unsigned i = 0; i < *counter(o, base); i++)
            mem_free(v[i]);
        mem_free(v);
    } else if (o->type == CONF_T_PAIRS) {
        struct conf_pair *v = *(struct conf_pair **)p;
        for (unsigned i = 0; i < *counter(o, base); i++) {
            mem_free(v[i].left);
            mem_free(v[i].right);
        }
        mem_free(v);
    }
}

static bool nets_eq(const struct conf_nets *a, const struct conf_nets *b)
{
    bool eq = a->n == b->n;
    for (unsigned i = 0; eq && i < a->n; i++)
        eq = a->v[i].family == b->v[i].family && a->v[i].prefix == b->v[i].prefix &&
             memcmp(a->v[i].addr, b->v[i].addr, sizeof(a->v[i].addr)) == 0;
    return eq;
}

bool conf_value_eq(const struct conf_option *o, const void *a, const void *b)
{
    const void *pa = member_const(o, a), *pb = member_const(o, b);
    const void *ca = (const char *)a + o->count_offset, *cb = (const char *)b + o->count_offset;
    unsigned n = *(const unsigned *)ca; /* of lists only */
    bool eq = true;
    switch (o->type) {
    case CONF_T_STRING:
        return strcmp(*(char *const *)pa, *(char *const *)pb) == 0;
    case CONF_T_NETS:
        return nets_eq(pa, pb);
    case CONF_T_LIST:
        eq = n == *(const unsigned *)cb;
        for (unsigned i = 0; eq && i < n; i++)
            eq = strcmp((*(char **const *)pa)[i], (*(char **const *)pb)[i]) == 0;
        return eq;
    case CONF_T_PAIRS: {
        const struct conf_pair *fa = *(struct conf_pair *const *)pa;
        const struct conf_pair *fb = *(struct conf_pair *const *)pb;
        eq = n == *(const unsigned *)cb;
        for (unsigned i = 0; eq && i < n; i++)
            eq = strcmp(fa[i].left, fb[i].left) == 0 && strcmp(fa[i].right, fb[i].right) == 0;
        return eq;
    }
    default:
        return memcmp(pa, pb, o->size) == 0;
    }
}
