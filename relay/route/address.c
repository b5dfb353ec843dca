/*
 * address.c - the envelope address that the hosting forest is given: its own address for the
 * recipient if the directory has one, else one made by the forest's template, else the address as
 * the sender wrote it.
 *
 * Pure. What cannot be made leaves the address unchanged, and the trace says why. An address that
 * needs SMTPUTF8 (RFC 6531) only replaces one that needs it, too: else mail that any host takes
 * would fail at one that does not offer it.
 */
#include "relay/route/route_int.h"

#include "base/escape.h"

/* What a placeholder stands for. The directory keeps the alias only; the other pieces of Exchange's
 * recipient policies are not in its entries. */
static struct str piece(const struct dir_claim *claim, char letter)
{
    return letter == 'm' ? claim->alias : STR_NULL;
}

/* The first `max` characters, which may be several octets each. */
static struct str first_letters(struct str s, unsigned max)
{
    size_t n = 0;
    while (n < s.n && max-- > 0) {
        size_t len = escape_utf8_len(s.p + n, s.n - n);
        n += len != 0 ? len : 1;
    }
    return str_upto(s, n);
}

bool route_template(const char *tmpl, const struct dir_claim *claim, struct buf *out,
                    char missing[4])
{
    bool fits = true;
    missing[0] = '\0';
    for (const char *p = tmpl; *p != '\0'; p++) {
        if (*p != '%') {
            fits = fits && buf_append_char(out, *p);
            continue;
        }
        unsigned letters = 0;
        const char *start = p++;
        if (ascii_is_digit(*p))
            letters = (unsigned)(*p++ - '0');
        struct str value = *p != '\0' ? piece(claim, *p) : STR_NULL;
        if (value.n == 0) {
            str_copy(str_upto(str_c(start), letters != 0 ? 3 : 2), missing, 4);
            return false;
        }
        fits = fits && buf_append_str(out, letters != 0 ? first_letters(value, letters) : value);
    }
    return fits;
}

/* Which claim to take the pieces from: the hosting forest's own entry before any other. */
static const struct dir_claim *claim_of(const struct dir_result *r, const struct conf_forest *f)
{
    const struct dir_claim *any = NULL;
    for (unsigned i = 0; i < r->n_claims; i++) {
        const struct dir_claim *c = &r->claim[i];
        if (c->alias.n == 0)
            continue;
        if (str_eq_nocase(c->forest, str_c(f->name)))
            return c;
        if (any == NULL)
            any = c;
    }
    return any != NULL ? any : r->best;
}

static bool needs_utf8(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] >= 0x80)
            return true;
    return false;
}

/* Takes the address if it is one; what a directory or template yields may not be. */
static bool take(struct route_work *w, struct str text)
{
    struct address parsed;
    unsigned flags = needs_utf8(w->rcpt.all) ? ADDRESS_ALLOW_UTF8 : 0;
    if (address_parse(text, flags, &parsed) != ADDRESS_OK)
        return false;
    struct str copy = arena_str(w->a, text);
    if (copy.p == NULL)
        return false;
    w->out->address = copy;
    return true;
}

static const char utf8_hint[] = " without SMTPUTF8";

static void by_template(struct route_work *w, const struct conf_forest *f,
                        const struct dir_result *r)
{
    struct buf made = BUF_INIT(ADDRESS_MAX + 1);
    char missing[4] = "", shown[160], source[80] = "override";
    const struct dir_claim *c = claim_of(r, f);
    if (c->kind != DIR_OVERRIDE)
        escape_cstr(str_c(dir_view_source_name(w->q->view, c->source)), source, sizeof(source));
    bool made_it = route_template(f->routing_template, c, &made, missing);
    escape_cstr(buf_str(&made), shown, sizeof(shown));
    if (missing[0] != '\0')
        route_say(
            w, "the address stays as it is: the template \"%s\" needs %s, which no source offers",
            f->routing_template, missing);
    else if (!made_it || !take(w, buf_str(&made)))
        route_say(w,
                  "the address stays as it is: the template \"%s\" gives \"%s\", which is no "
                  "address%s",
                  f->routing_template, shown, needs_utf8(buf_str(&made)) ? utf8_hint : "");
    else
        route_say(w, "the forest is given %s, by its template \"%s\" and the entry of \"%s\"",
                  shown, f->routing_template, source);
    buf_free(&made);
}

void route_address(struct route_work *w, const struct conf_forest *f, const struct dir_result *r)
{
    char shown[160];
    escape_cstr(r->best->routing, shown, sizeof(shown));
    if (r->best->routing.n != 0 && take(w, r->best->routing)) {
        route_say(w,
                  "the forest is given %s, the address by which the directory says it knows the "
                  "recipient",
                  shown);
        return;
    }
    if (r->best->routing.n != 0)
        route_say(w, "the directory's routing address \"%s\" is no address%s and is not used",
                  shown, needs_utf8(r->best->routing) ? utf8_hint : "");
    if (f->routing_template[0] != '\0')
        by_template(w, f, r);
    else
        route_say(w, "the forest is given the address as it is");
}
