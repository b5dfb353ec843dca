/*
 * str.h - borrowed slices of bytes. A struct str owns nothing and need not end in NUL; it may hold
 * NUL bytes. Case folding is ASCII only, whatever the locale.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *p;
    size_t n;
};

#define STR(literal) ((struct str){.p = ("" literal), .n = sizeof(literal) - 1})
#define STR_NULL     ((struct str){.p = NULL, .n = 0})
/* For printf's "%.*s". */
#define STR_ARG(s) (int)(s).n, (s).p ? (s).p : ""

static inline struct str str_n(const char *p, size_t n)
{
    return (struct str){.p = p, .n = n};
}
/* NULL gives the empty slice. */
static inline struct str str_c(const char *z)
{
    return (struct str){.p = z, .n = z != NULL ? strlen(z) : 0};
}
static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}
static inline bool ascii_is_digit(char c)
{
    return c >= '0' && c <= '9';
}
static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
bool str_eq_nocase(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_starts_nocase(struct str s, struct str prefix);
bool str_ends_nocase(struct str s, struct str suffix);
/* Slice without leading and trailing blanks and tabs (and CR, LF). */
struct str str_trim(struct str s);
/* First index of c, or -1. */
long str_find(struct str s, char c);
long str_rfind(struct str s, char c);
struct str str_from(struct str s, size_t start); /* s[start..] */
struct str str_upto(struct str s, size_t end);   /* s[..end) */
/* Takes the part before the first `c` off *rest and returns it; *rest becomes what follows `c`
 * (the whole and empty if there is none). */
struct str str_split(struct str *rest, char c);
/* Decimal, digits only, at least one, no overflow past max. */
bool str_to_u64(struct str s, uint64_t max, uint64_t *out);
/* Copies with NUL at the end; false (and an empty dst) if it does not fit or holds a NUL. */
bool str_copy(struct str s, char *dst, size_t cap);
/* ASCII lower case of src into dst (cap >= src.n); dst may be src.p. */
void str_lower(struct str src, char *dst);
/* malloc'ed NUL-terminated copy. Aborts when memory ends (see mem.h). */
char *str_dup(struct str s);

#endif
