/*
 * address.c - the envelope address that the hosting forest is given: its own address for the
 * recipient if the directory has one, else one made by the forest's template, else the address as
 * the sender wrote it (the primary one, where the sender wrote an old Exchange address).
 *
 * Pure. What cannot be made leaves the address unchanged, and the trace says why. An address that
 * needs SMTPUTF8 (RFC 6531) only replaces one that needs it, too: else mail that any host takes
 * would fail at one that does not offer it.
 */
#include "relay/route/route_int.h"

#include <limits.h>

#include "base/escape.h"

/* ---- templates ---- */

static struct str piece(const struct dir_claim *claim, char letter)
{
    switch (letter) {
    case 'm':
        return claim->alias;
    case 'g':
        return claim->name[DIR_NAME_GIVEN];
    case 's':
        return claim->name[DIR_NAME_SURNAME];
    case 'i':
        return claim->name[DIR_NAME_INITIALS];
    case 'd':
        return claim->name[DIR_NAME_DISPLAY];
    default:
        return STR_NULL;
    }
}

/* An octet of the template or of a piece; a local part has no dot at its ends and no two in a row.
 */
static bool put_octet(struct buf *out, char c)
{
    bool after_dot = out->n == 0 || out->p[out->n - 1] == '.';
    if (c == '.' && after_dot)
        return true;
    if (c == '@' && out->n != 0 && after_dot)
        out->n--;
    return buf_append_char(out, c);
}

/* The first `max` characters (of several octets each, perhaps) that may stand in a local part: the
 * others, such as blanks and parentheses, are left out. *n: how many that were. */
static bool put_piece(struct buf *out, struct str value, unsigned max, unsigned *n)
{
    bool fits = true;
    size_t len;
    *n = 0;
    for (size_t i = 0; i < value.n && *n < max && fits; i += len) {
        char c = value.p[i];
        size_t before = out->n;
        len = escape_utf8_len(value.p + i, value.n - i);
        if (len > 1)
            fits = buf_append(out, value.p + i, len);
        else if (len == 1 && (c == '.' || address_is_atext((unsigned char)c)))
            fits = put_octet(out, c);
        len = len != 0 ? len : 1; /* not UTF-8: no character at all */
        *n += out->n > before;
    }
    return fits;
}

bool route_template(const char *tmpl, const struct dir_claim *claim, struct buf *out,
                    char missing[4])
{
    bool fits = true;
    missing[0] = '\0';
    for (const char *p = tmpl; *p != '\0'; p++) {
        if (*p != '%') {
            fits = fits && put_octet(out, *p);
            continue;
        }
        unsigned letters = 0, n = 0;
        const char *start = p++;
        if (ascii_is_digit(*p))
            letters = (unsigned)(*p++ - '0');
        struct str value = *p != '\0' ? piece(claim, *p) : STR_NULL;
        fits = put_piece(out, value, letters != 0 ? letters : UINT_MAX, &n) && fits;
        if (n == 0) {
            str_copy(str_upto(str_c(start), letters != 0 ? 3 : 2), missing, 4);
            return false;
        }
    }
    return fits;
}

/* ---- taking an address ---- */

static bool needs_utf8(struct str text)
{
    for (size_t i = 0; i < text.n; i++)
        if ((unsigned char)text.p[i] >= 0x80)
            return true;
    return false;
}

static bool parse(struct route_work *w, struct str text, struct address *out)
{
    unsigned flags = needs_utf8(w->rcpt.all) ? ADDRESS_ALLOW_UTF8 : 0;
    return address_parse(text, flags, out) == ADDRESS_OK;
}

/* Takes the address if it is one; what a directory or template yields may not be. The detail of a
 * plus address goes along, at the end of the local part. */
static bool take(struct route_work *w, struct str text)
{
    struct address a;
    struct buf full = BUF_INIT(ADDRESS_MAX + 1);
    bool ok = parse(w, text, &a);
    if (ok && w->detail.n != 0) {
        size_t at = a.local.n - (a.quoted ? 1 : 0);
        ok = buf_append_str(&full, str_upto(text, at)) && buf_append_str(&full, w->detail) &&
             buf_append_str(&full, str_from(text, at)) && parse(w, buf_str(&full), &a);
    }
    struct str copy = ok ? arena_str(w->a, a.all) : STR_NULL;
    if (copy.p != NULL)
        w->out->address = copy;
    buf_free(&full);
    return copy.p != NULL;
}

static const char utf8_hint[] = " without SMTPUTF8";

/* By the pieces that one claim offers. */
static bool by_pieces(struct route_work *w, const struct conf_forest *f, const struct dir_claim *c)
{
    struct buf made = BUF_INIT(ADDRESS_MAX + 1);
    char missing[4], shown[160];
    bool made_it = route_template(f->routing_template, c, &made, missing);
    bool ok = made_it && take(w, buf_str(&made));
    escape_cstr(ok ? w->out->address : buf_str(&made), shown, sizeof(shown));
    if (ok)
        route_say(w, "the forest is given %s, by its template \"%s\" and the entry of \"%s\"",
                  shown, f->routing_template, dir_view_source_name(w->q->view, c->source));
    else if (missing[0] == '\0')
        route_say(w, "the template \"%s\" gives \"%s\", which is no address%s and is not used",
                  f->routing_template, shown, needs_utf8(buf_str(&made)) ? utf8_hint : "");
    else
        route_say(w, "the template \"%s\" needs %s, which the entry of \"%s\" does not offer",
                  f->routing_template, missing, dir_view_source_name(w->q->view, c->source));
    buf_free(&made);
    return ok;
}

/* The hosting forest's own entry is asked for the pieces before any other; an override has none. */
static bool by_template(struct route_work *w, const struct conf_forest *f,
                        const struct dir_result *r)
{
    if (r->n_claims == 1)
        return by_pieces(w, f, r->best);
    for (int own = 1; own >= 0; own--)
        for (unsigned i = 0; i < r->n_claims; i++) {
            const struct dir_claim *c = &r->claim[i];
            bool is_own = str_eq_nocase(route_home_of(w, c), str_c(f->name));
            if (is_own == (own == 1) && c->kind != DIR_OVERRIDE && by_pieces(w, f, c))
                return true;
        }
    return false;
}

/* Who was found by an old Exchange address is known to every forest by an SMTP address, but perhaps
 * not by the old one: that is lost when a mailbox moves. */
static bool by_primary(struct route_work *w, const struct conf_forest *f,
                       const struct dir_result *r)
{
    char shown[160];
    struct str primary = r->best->primary;
    for (unsigned i = r->n_claims; i-- > 0;)
        if (r->claim[i].kind != DIR_OVERRIDE && r->claim[i].primary.n != 0 &&
            (primary.n == 0 || str_eq_nocase(route_home_of(w, &r->claim[i]), str_c(f->name))))
            primary = r->claim[i].primary;
    if (!take(w, primary))
        return false;
    escape_cstr(w->out->address, shown, sizeof(shown));
    route_say(w, "the forest is given %s, the primary address", shown);
    return true;
}

static bool by_directory(struct route_work *w, struct str routing)
{
    char shown[160];
    if (routing.n == 0)
        return false;
    bool ok = take(w, routing);
    escape_cstr(ok ? w->out->address : routing, shown, sizeof(shown));
    if (ok)
        route_say(w,
                  "the forest is given %s, the address by which the directory says it knows the "
                  "recipient",
                  shown);
    else
        route_say(w, "the directory's routing address \"%s\" is no address%s and is not used",
                  shown, needs_utf8(routing) ? utf8_hint : "");
    return ok;
}

void route_address(struct route_work *w, const struct conf_forest *f, const struct dir_result *r,
                   struct str routing)
{
    if (by_directory(w, routing))
        return;
    if (f->routing_template[0] != '\0' && by_template(w, f, r))
        return;
    if (w->found_by_old && by_primary(w, f, r))
        return;
    route_say(w, "the forest is given the address as it is");
}
