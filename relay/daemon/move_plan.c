/*
 * move_plan.c - see move_plan.h.
 */
#include "relay/daemon/move_plan.h"

#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "directory/hashmap.h"
#include "relay/control/facts.h"
#include "rewrite/address.h"

static const struct conf *conf_of(const struct move_plan *p)
{
    return dir_view_conf(p->view);
}

/* ---- what was ordered ---- */

static bool find_forest(const struct conf *c, const char *name, int *out, struct err *e)
{
    struct buf known = BUF_INIT(300);
    if (name[0] == '\0')
        return err_set(e, ERR_INPUT, 0, "to which forest? --to, or a second column of the file");
    *out = conf_find_forest(c, str_c(name));
    if (*out != CONF_NONE)
        return true;
    for (unsigned i = 0; i < c->n_forest; i++)
        buf_printf(&known, "%s\"%s\"", i == 0 ? "" : ", ", c->forest[i].name);
    err_set(e, ERR_INPUT, 0, "there is no forest \"%s\" in the configuration; it has %s", name,
            buf_cstr(&known));
    buf_free(&known);
    return false;
}

/* The arguments as items, each address once. */
static bool take_items(struct move_plan *p, const struct control_args *a, struct err *e)
{
    struct hashmap seen;
    char *key = p->keys;
    bool ok = true;
    hashmap_init(&seen, false);
    for (unsigned i = 0; ok && i < a->n_move; i++) {
        const struct control_move *m = &a->move[i];
        struct move_item *item = &p->item[p->n];
        struct address parsed;
        size_t n = 0;
        /* the protocol has checked its form */
        if (address_parse(str_c(m->address), ADDRESS_ALLOW_UTF8 | ADDRESS_ALLOW_POSTMASTER,
                          &parsed) == ADDRESS_OK)
            n = address_key(&parsed, key, ADDRESS_MAX + 1);
        *item = (struct move_item){.key = str_n(key, n)};
        ok =
            (n != 0 || err_set(e, ERR_INPUT, 0, "%s is not an address", m->address)) &&
            find_forest(conf_of(p), m->forest[0] != '\0' ? m->forest : a->forest, &item->forest, e);
        uint64_t hash = hash64(key, n), *twin = ok ? hashmap_find(&seen, hash) : NULL;
        if (twin != NULL && p->item[*twin].forest != item->forest)
            ok = err_set(e, ERR_INPUT, 0, "%.*s is there twice, with different forests",
                         STR_ARG(item->key));
        if (twin != NULL || !ok)
            continue;
        hashmap_set(&seen, hash, p->n++);
        key += n;
    }
    hashmap_free(&seen);
    return ok;
}

/* ---- where it is now ---- */

static int forest_of_source(const struct move_plan *p, const struct dir_claim *c)
{
    const struct conf *conf = conf_of(p);
    const char *name = dir_view_source_name(p->view, c->source);
    for (unsigned i = 0; i < conf->n_source; i++)
        if (str_eq(str_c(conf->source[i].name), str_c(name)))
            return conf_find_forest(conf, str_c(conf->source[i].forest));
    return CONF_NONE;
}

static bool has_source(const struct conf *c, int forest)
{
    for (unsigned i = 0; i < c->n_source; i++)
        if (conf_find_forest(c, str_c(c->source[i].forest)) == forest)
            return true;
    return false;
}

static const char *warning(const struct move_plan *p, const struct move_item *i,
                           const struct dir_result *r)
{
    const struct conf *c = conf_of(p);
    long at = str_rfind(i->key, '@');
    int domain = conf_find_domain(c, str_from(i->key, (size_t)(at + 1)));
    bool known = false, mailbox = false, other = false;
    if (domain == CONF_NONE)
        return "its domain is not ours: the move has no effect";
    if (c->domain[domain].type == CONF_DOMAIN_ROUTING)
        return "its domain belongs to one forest whole: the move has no effect";
    for (unsigned k = 0; k < r->n_claims; k++) {
        const struct dir_claim *claim = &r->claim[k];
        bool theirs = forest_of_source(p, claim) == i->forest;
        known = known || theirs;
        mailbox = mailbox || (theirs && (claim->kind == DIR_MAILBOX || claim->kind == DIR_GROUP));
        other = other || (claim == r->best && claim->kind == DIR_GROUP);
    }
    if (i->kind == MOVE_UNKNOWN || i->kind == MOVE_UNSURE || !has_source(c, i->forest))
        return NULL;
    if (other)
        return "it is a group";
    if (!known)
        return "that forest's directory does not know it";
    if (!mailbox)
        return "that forest's directory shows no mailbox for it";
    return r->found == DIR_CONFLICT ? "the directories disagree on where it is" : NULL;
}

/* Is it there by a move that comes back? Then being there is no reason to leave it alone. A move
 * counts for the whole person, so it may be of another address than the one ordered now. */
static bool is_there_for_a_time(const struct overrides *o, const struct dir_claim *best)
{
    const struct wave_address *a =
        best->kind == DIR_OVERRIDE ? overrides_effective(o, best->primary) : NULL;
    return a != NULL && a->wave->until_ms != 0;
}

static const char written_behind[] =
    "an override to another forest decides first: undo that move, and mail follows the flag";

static void look_up(struct move_plan *p, const struct overrides *o, struct move_item *i, bool write,
                    struct dir_result *r)
{
    dir_view_lookup(p->view, i->key, clock_mono_ms(), r);
    i->why = r->why;
    if (r->best == NULL && r->n_claims != 0) {
        i->kind = MOVE_GOES; /* known, and nobody says where it is */
    } else if (r->best == NULL) {
        i->kind = r->found == DIR_NOT_FOUND ? MOVE_UNKNOWN : MOVE_UNSURE;
    } else {
        int now = conf_find_forest(conf_of(p), r->best->forest);
        i->by_override = r->best->kind == DIR_OVERRIDE;
        i->kind = now == i->forest && !is_there_for_a_time(o, r->best) ? MOVE_THERE : MOVE_GOES;
        i->now = now != CONF_NONE ? str_c(conf_of(p)->forest[now].name) : STR_NULL;
    }
    i->warning = i->kind != MOVE_THERE ? warning(p, i, r) : NULL;
    if (write && i->by_override && i->kind != MOVE_THERE)
        i->warning = written_behind;
    p->count[i->kind]++;
    p->n_warnings += i->warning != NULL;
}

bool move_plan_make(struct directory *d, const struct control_args *a, struct move_plan *out,
                    struct err *e)
{
    size_t room = 1;
    for (unsigned i = 0; i < a->n_move; i++)
        room += strlen(a->move[i].address) + 1;
    *out = (struct move_plan){.view = directory_view(d)};
    out->item = mem_array(a->n_move + 1, sizeof(*out->item));
    out->keys = mem_alloc(room + ADDRESS_MAX + 1);
    if (!take_items(out, a, e))
        return false;
    struct dir_result *r = mem_alloc(sizeof(*r));
    for (unsigned i = 0; i < out->n; i++)
        look_up(out, directory_overrides(d), &out->item[i], a->write, r);
    mem_free(r);
    return true;
}

void move_plan_free(struct move_plan *p)
{
    mem_free(p->item);
    mem_free(p->keys);
    dir_view_unref(&p->view);
}

json_t *move_plan_fact(const struct move_plan *p, const struct move_item *i)
{
    static const char *const state[] = {[MOVE_GOES] = "moves",
                                        [MOVE_THERE] = "there",
                                        [MOVE_UNKNOWN] = "unknown",
                                        [MOVE_UNSURE] = "not-known-yet"};
    json_t *o = json_object();
    (void)json_object_set_new(o, "address", fact_text(i->key));
    (void)json_object_set_new(o, "state", json_string(state[i->kind]));
    (void)json_object_set_new(o, "now", fact_text(i->now));
    (void)json_object_set_new(o, "then", json_string(conf_of(p)->forest[i->forest].name));
    (void)json_object_set_new(o, "why", json_string(i->why != NULL ? i->why : ""));
    (void)json_object_set_new(o, "warning", json_string(i->warning != NULL ? i->warning : ""));
    return o;
}
