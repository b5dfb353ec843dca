/*
 * directory_random_test.c - what three sources say, changed at random and in every way they can
 * change it: objects come, move, are renamed, go and come back, change addresses, flags, kinds and
 * keys; refreshes end, or break off in the middle; sources are removed, added and read differently
 * by a reload; everything is started again from disk. After each step all addresses are looked up
 * and compared with the oracle (directory_oracle.h), and every address whose answer changed must
 * have been named to the listeners: that is what wakes queued mail.
 *
 * CAUSEWAY_SEQUENCES says how many sequences (default 150), CAUSEWAY_SEED where to begin. A
 * sequence that fails is made as short as it can be, and printed with its seed.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/mem.h"
#include "directory/map.h"
#include "directory/source.h"
#include "tests/unit/directory_model.h"
#include "tests/unit/directory_oracle.h"
#include "tests/unit/directory_steps.h"
#include "tests/unit/directory_world.h"

#define STEPS     40
#define TOLD_MAX  20000
#define ASKED     (SHARED + X500_NAMES)
#define SEQUENCES 150

/* ---- the world ---- */

struct told {
    bool everything;
    unsigned n;
    uint64_t hash[TOLD_MAX];
};
struct answer {
    enum dir_found found;
    int forest;
    char routing[80];
};
struct random_world {
    const char *folder;
    struct directory *directory;
    struct conf *conf;
    struct settings settings;
    struct oracle oracle;
    int held[SOURCES]; /* what it was last refreshed with (settings.asks); NOBODY: never */
    struct map *map[SOURCES];
    struct dir_result *result;
    struct told told;
    struct answer answer[ASKED];
    char why[500]; /* what is wrong */
};

static void hear(void *arg, const struct dir_change *c)
{
    struct told *t = arg;
    t->everything = t->everything || c->everything || t->n + c->n > TOLD_MAX;
    for (unsigned i = 0; i < c->n && !t->everything; i++)
        t->hash[t->n++] = c->key_hash[i];
}

static struct conf *conf_of(const struct settings *s)
{
    static const char *const evidence[] = {"flag-exchange", "exchange-flag", "flag", "exchange"};
    static const char *const kind[SOURCES] = {
        "type = ldif path = \"/nowhere/%u\"",
        "type = active-directory uri = { \"ldap://127.0.0.1\" } tls = none base = \"dc=x%u\"",
        "type = csv path = \"/nowhere/%u\""};
    struct buf b = BUF_INIT(20000);
    buf_append_c(&b, "listener \"i\" { address = \"*:25\" }\n");
    buf_printf(&b, "join = { \"%s\"%s%s }\n",
               s->join_smtp   ? "smtp"
               : s->join_x500 ? "x500"
                              : "key",
               s->join_smtp && s->join_x500 ? ", \"x500\"" : "",
               (s->join_smtp || s->join_x500) && s->join_key ? ", \"key\"" : "");
    for (int i = 0; i < FORESTS; i++)
        buf_printf(&b, "forest \"%s\" { host \"mx\" {} routing_domain = \"%s\" }\n",
                   oracle_forest[i], oracle_routing_domain[i]);
    for (int i = 0; i < DOMAINS; i++)
        buf_printf(&b, "domain \"%s\" { evidence = \"%s\" }\n", oracle_domain[i],
                   evidence[s->evidence[i]]);
    for (int i = 0; i < SOURCES; i++) {
        if (!s->configured[i])
            continue;
        char asked[200];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(asked, sizeof(asked), kind[i], s->asks[i]);
#pragma GCC diagnostic pop
        buf_printf(&b,
                   "source \"s%d\" { %s priority = %d %s%s%s flag_attribute = \"ext1\" "
                   "flag_values = { \"one = %s\", \"two = %s\" } routing_attribute = \"route\" "
                   "join_attribute = \"key\" mass_change_percent = 100 grace = %s }\n",
                   i, asked, s->priority[i], s->forest[i] != NOBODY ? "forest = \"" : "",
                   s->forest[i] != NOBODY ? oracle_forest[s->forest[i]] : "",
                   s->forest[i] != NOBODY ? "\"" : "", s->swapped[i] ? "new" : "old",
                   s->swapped[i] ? "old" : "new", i != 1 ? "7d" : "0");
    }
    struct conf *c = world_conf(buf_cstr(&b));
    buf_free(&b);
    return c;
}

/* The oracle's view of the settings. */
static void settings_apply(struct random_world *w)
{
    const struct settings *s = &w->settings;
    for (int i = 0; i < SOURCES; i++) {
        struct oracle_source *o = &w->oracle.source[i];
        o->configured = s->configured[i];
        o->priority = s->priority[i];
        o->forest = s->forest[i];
        o->active_directory = i == 1;
        o->grace = i != 1;
        o->flag_forest[0] = s->swapped[i] ? 1 : 0;
        o->flag_forest[1] = s->swapped[i] ? 0 : 1;
        o->complete = w->held[i] == (int)s->asks[i];
    }
    memcpy(w->oracle.evidence, s->evidence, sizeof(s->evidence));
    w->oracle.join_smtp = s->join_smtp;
    w->oracle.join_x500 = s->join_x500;
    w->oracle.join_key = s->join_key || (!s->join_smtp && !s->join_x500);
}

static struct source *source_of(struct random_world *w, int s)
{
    char name[8];
    snprintf(name, sizeof(name), "s%d", s);
    return directory_source(w->directory, str_c(name));
}

static void maps_free(struct random_world *w)
{
    for (int i = 0; i < SOURCES; i++)
        map_free(&w->map[i]);
}

static void maps_make(struct random_world *w)
{
    maps_free(w);
    for (int i = 0; i < SOURCES; i++)
        if (w->settings.configured[i]) {
            struct map_options o = map_options_of(source_of(w, i)->c);
            w->map[i] = map_new(&o);
        }
}

static void world_start(struct random_world *w)
{
    struct err e;
    w->directory = directory_open(w->conf, w->folder, &e);
    if (w->directory == NULL)
        fail_msg("%s", e.text);
    directory_listen(w->directory, hear, &w->told);
    maps_make(w);
}

static struct random_world *random_world_new(void)
{
    struct random_world *w = NEW(struct random_world);
    w->folder = model_folder();
    w->result = mem_alloc(sizeof(*w->result));
    for (int i = 0; i < SOURCES; i++) {
        w->settings.configured[i] = true;
        w->settings.priority[i] = i;
        w->settings.forest[i] = i;
        w->held[i] = NOBODY;
    }
    w->settings.join_smtp = w->settings.join_x500 = w->settings.join_key = true;
    for (int i = 0; i < ADDRESSES; i++)
        w->oracle.override[i] = NOBODY;
    settings_apply(w);
    w->conf = conf_of(&w->settings);
    world_start(w);
    return w;
}

static void random_world_free(struct random_world *w)
{
    directory_close(&w->directory);
    maps_free(w);
    conf_unref(&w->conf);
    model_remove_folder(w->folder);
    mem_free(w->result);
    mem_free(w);
}

/* ---- objects as their servers give them ---- */

static void give(struct map *m, const char *name, const char *fmt, const char *value)
{
    char text[200];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, sizeof(text), fmt, value);
#pragma GCC diagnostic pop
    map_value(m, str_c(name), str_c(text));
}

static void give_address(struct map *m, const char *name, const char *prefix, const char *address,
                         bool capitals)
{
    char text[200];
    size_t n = (size_t)snprintf(text, sizeof(text), "%s%s", prefix, address);
    for (size_t i = strlen(prefix); capitals && i < n && text[i] != '@'; i++)
        text[i] -= text[i] >= 'a' && text[i] <= 'z' ? 32 : 0;
    map_value(m, str_c(name), str_c(text));
}

static void give_object(struct map *m, const struct object *o)
{
    static const char *const type[TYPES] = {"", "1", "4", "128", "2147483648", "64", "256", "4096"};
    static const char *const class[CLASSES] = {"user", "group", "contact"};
    char dn[40];
    snprintf(dn, sizeof(dn), "CN=O%u,DC=x", o->dn);
    map_begin(m);
    map_dn(m, str_c(dn));
    map_value(m, STR("objectClass"), str_c(class[o->class]));
    for (int a = ADDRESSES - 1; a >= 0 && o->primary != NOBODY; a--)
        if ((o->others >> a & 1) != 0 && a != o->primary)
            give_address(m, "proxyAddresses", "smtp:", oracle_address[a], o->capitals);
    if (o->primary != NOBODY)
        give_address(m, o->by_mail ? "mail" : "proxyAddresses",
                     o->by_mail ? "" : "SMTP:", oracle_address[o->primary], o->capitals);
    if (o->home_mdb)
        map_value(m, STR("homeMDB"), STR("CN=DB1"));
    if (o->type != TYPE_NONE)
        map_value(m, STR("msExchRecipientTypeDetails"), str_c(type[o->type]));
    if (o->target != NOBODY)
        give(m, "targetAddress", "SMTP:%s", oracle_target[o->target]);
    if (o->flag != NOBODY)
        give(m, "ext1", "%s", o->flag == 0 ? "one" : o->flag == 1 ? "TWO" : "three");
    if (o->routing != NOBODY)
        give(m, "route", "%s", oracle_address[o->routing]);
    if (o->legacy != NOBODY)
        give(m, "legacyExchangeDN", "%s", oracle_x500[o->legacy]);
    for (unsigned i = 0; i < X500_NAMES; i++)
        if (o->x500 >> i & 1)
            give(m, "proxyAddresses", "x500:%s", oracle_x500[i]);
    if (o->key != NOBODY)
        give(m, "key", "%s", o->key == 0 ? "K-0" : "k-1");
}

/* As a source does it: what has no address is no entry. */
static void tell(struct random_world *w, int s, int id, const struct object *o)
{
    struct replica *r = source_of(w, s)->replica;
    unsigned char uuid[DIR_UUID_SIZE];
    struct dir_entry e;
    model_uuid((unsigned)id + 1, uuid);
    give_object(w->map[s], o);
    if (map_end(w->map[s], uuid, &e))
        replica_upsert(r, &e);
    else if (!replica_is_refreshing(r))
        replica_delete(r, uuid);
}

/* ---- steps at work ---- */

static void step_check(struct random_world *w, bool notices);

static void oracle_gone(struct random_world *w, int s, int id)
{
    struct oracle_slot *slot = &w->oracle.source[s].slot[id];
    slot->vanished = slot->there && w->oracle.source[s].grace;
    slot->there = slot->vanished;
}

static void oracle_put(struct random_world *w, int s, int id, const struct object *o)
{
    if (o->primary == NOBODY)
        oracle_gone(w, s, id);
    else
        w->oracle.source[s].slot[id] = (struct oracle_slot){.there = true, .o = *o};
}

static struct object changed(struct object o, const struct object *by, unsigned attribute)
{
    switch (attribute) {
    case 0:
        o.primary = by->primary;
        break;
    case 1:
        o.others = by->others;
        o.capitals = by->capitals;
        break;
    case 2:
        o.target = by->target;
        break;
    case 3:
    case 4:
        o.flag = by->flag;
        break;
    case 5:
        o.type = by->type;
        o.home_mdb = by->home_mdb;
        break;
    case 6:
        o.legacy = by->legacy;
        o.x500 = by->x500;
        break;
    case 7:
        o.key = by->key;
        break;
    default:
        o.dn = by->dn;
    }
    return o;
}

static void do_put(struct random_world *w, const struct step *s)
{
    const struct oracle_slot *slot = &w->oracle.source[s->source].slot[s->id];
    struct object o = s->o[s->id];
    if (s->verb == CHANGE && !slot->there)
        return;
    if (s->verb == CHANGE)
        o = changed(slot->o, &o, s->attribute);
    tell(w, s->source, s->id, &o);
    replica_commit(source_of(w, s->source)->replica, STR("cookie"));
    oracle_put(w, s->source, s->id, &o);
}

static void do_delete(struct random_world *w, const struct step *s)
{
    struct replica *r = source_of(w, s->source)->replica;
    unsigned char uuid[DIR_UUID_SIZE];
    model_uuid((unsigned)s->id + 1, uuid);
    replica_delete(r, uuid);
    replica_commit(r, STR("cookie"));
    oracle_gone(w, s->source, s->id);
}

static void tell_refresh(struct random_world *w, const struct step *s)
{
    struct replica *r = source_of(w, s->source)->replica;
    unsigned char uuid[DIR_UUID_SIZE];
    replica_refresh_begin(r);
    for (int i = 0; i < OBJECTS; i++) {
        model_uuid((unsigned)i + 1, uuid);
        if (s->told[i])
            tell(w, s->source, i, &s->o[i]);
        else if (s->present[i] && w->oracle.source[s->source].slot[i].there)
            replica_present(r, uuid);
    }
}

static void do_refresh(struct random_world *w, const struct step *s)
{
    struct oracle_source *o = &w->oracle.source[s->source];
    struct source *src = source_of(w, s->source);
    struct err e;
    bool any = false;
    tell_refresh(w, s);
    for (int i = 0; i < OBJECTS; i++)
        any = any || (s->told[i] ? s->o[i].primary != NOBODY : s->present[i] && o->slot[i].there);
    bool ended = replica_refresh_end(src->replica, s->delete_absent, STR("refreshed"), &e);
    if (ended != (any || !s->delete_absent || w->held[s->source] != NOBODY)) {
        snprintf(w->why, sizeof(w->why), "the refresh %s", ended ? "was taken" : e.text);
        return;
    }
    if (!ended)
        return;
    if (replica_hold(src->replica) != NULL) { /* everything would go: a person must agree */
        step_check(w, true);
        struct hold *h = hold_ref((struct hold *)replica_hold(src->replica));
        if (w->why[0] == '\0' && !replica_accept(src->replica, h, &e))
            snprintf(w->why, sizeof(w->why), "%s", e.text);
        hold_unref(&h);
    }
    for (int i = 0; i < OBJECTS; i++)
        if (s->told[i] && s->o[i].primary != NOBODY)
            oracle_put(w, s->source, i, &s->o[i]);
        else if (s->present[i] && !s->told[i])
            o->slot[i].vanished = false;
        else if (s->delete_absent)
            oracle_gone(w, s->source, i);
    w->held[s->source] = (int)w->settings.asks[s->source];
    o->complete = true;
    source_is_current(src);
}

static void do_restart(struct random_world *w)
{
    directory_close(&w->directory);
    world_start(w);
}

static void do_lose(struct random_world *w, const struct step *s)
{
    for (int i = 0; i < OBJECTS; i++)
        if (s->told[i])
            tell(w, s->source, i, &s->o[i]);
    do_restart(w);
}

static void do_reload(struct random_world *w, const struct step *s)
{
    w->settings = s->settings;
    conf_unref(&w->conf);
    w->conf = conf_of(&w->settings);
    directory_reload(w->directory, w->conf);
    while (directory_waits(w->directory))
        directory_reopen(w->directory);
    maps_make(w);
    settings_apply(w);
}

static void do_override(struct random_world *w, const struct step *s)
{
    struct err e;
    struct str key = str_c(oracle_address[s->address]), me = STR("me");
    bool had = w->oracle.override[s->address] != NOBODY;
    bool ok = s->forest != NOBODY ? directory_set_override(w->directory, key,
                                                           str_c(oracle_forest[s->forest]), me, &e)
                                  : directory_unset_override(w->directory, key, me, &e);
    if (ok != (s->forest != NOBODY || had))
        snprintf(w->why, sizeof(w->why), "the override was %s", ok ? "taken" : e.text);
    w->oracle.override[s->address] = s->forest;
}

static void step_do(struct random_world *w, const struct step *s)
{
    if (s->verb == RESTART) {
        do_restart(w);
    } else if (s->verb == RELOAD) {
        do_reload(w, s);
    } else if (s->verb == OVERRIDE) {
        do_override(w, s);
    } else if (w->settings.configured[s->source]) {
        if (s->verb == PUT || s->verb == CHANGE)
            do_put(w, s);
        else if (s->verb == DELETE)
            do_delete(w, s);
        else if (s->verb == REFRESH)
            do_refresh(w, s);
        else if (s->verb == LOSE)
            do_lose(w, s);
        else if (s->verb == SNAPSHOT)
            replica_snapshot(source_of(w, s->source)->replica);
        else {
            tell_refresh(w, s);
            replica_abort(source_of(w, s->source)->replica);
        }
    }
}

/* ---- comparing ---- */

static struct str x500_key(int name, char *dst)
{
    struct str s = str_c(oracle_x500[name]);
    str_lower(s, dst);
    return str_n(dst, s.n);
}

static const char *asked_text(int i)
{
    return i < SHARED ? oracle_address[i] : oracle_x500[i - SHARED];
}

/* What the directory says now. */
static struct answer ask(struct random_world *w, struct dir_view *v, int i)
{
    struct dir_result *r = w->result;
    struct answer a = {.forest = NOBODY};
    char key[100];
    if (i < SHARED)
        dir_view_lookup(v, str_c(oracle_address[i]), clock_mono_ms(), r);
    else
        dir_view_lookup_other(v, DIR_KEY_X500, x500_key(i - SHARED, key), clock_mono_ms(), r);
    a.found = r->found;
    for (int f = 0; r->best != NULL && f < FORESTS; f++)
        if (str_eq(r->best->forest, str_c(oracle_forest[f])))
            a.forest = f;
    if (r->best != NULL && r->best->routing.n < sizeof(a.routing)) {
        str_lower(r->best->routing, a.routing);
        a.routing[r->best->routing.n] = '\0';
    }
    return a;
}

static void describe(char *dst, size_t cap, int found, int forest, const char *routing)
{
    static const char *const text[] = {"found", "not found", "not known yet", "conflict",
                                       "ambiguous"};
    snprintf(dst, cap, "%s %s %s", text[found], forest != NOBODY ? oracle_forest[forest] : "-",
             routing);
}

static void compare(struct random_world *w, int i, const struct answer *a)
{
    static const enum oracle_found found[] = {[DIR_FOUND] = ORACLE_FOUND,
                                              [DIR_NOT_FOUND] = ORACLE_NOT_FOUND,
                                              [DIR_NOT_FOUND_YET] = ORACLE_NOT_YET,
                                              [DIR_CONFLICT] = ORACLE_CONFLICT,
                                              [DIR_AMBIGUOUS] = ORACLE_AMBIGUOUS};
    struct verdict v = {0};
    char have[150], want[150];
    if (i < SHARED)
        oracle_ask(&w->oracle, i, &v);
    else
        oracle_ask_x500(&w->oracle, i - SHARED, &v);
    if (v.open ||
        (found[a->found] == v.found && a->forest == v.forest && strcmp(a->routing, v.routing) == 0))
        return;
    describe(have, sizeof(have), (int)found[a->found], a->forest, a->routing);
    describe(want, sizeof(want), (int)v.found, v.forest, v.routing);
    snprintf(w->why, sizeof(w->why), "%s: %s; the oracle says %s", asked_text(i), have, want);
}

static bool was_told(const struct random_world *w, int i)
{
    char lower[100];
    struct str key = i < SHARED ? str_c(oracle_address[i]) : x500_key(i - SHARED, lower);
    uint64_t hash = i < SHARED ? hash64(key.p, key.n) : dir_other_hash(DIR_KEY_X500, key);
    for (unsigned k = 0; k < w->told.n; k++)
        if (w->told.hash[k] == hash)
            return true;
    return w->told.everything;
}

/* Nothing to wake anybody for: there is still nowhere to send it. */
static bool is_lost(const struct answer *a)
{
    return a->found == DIR_NOT_FOUND || a->found == DIR_NOT_FOUND_YET;
}

static bool differs(const struct answer *a, const struct answer *b)
{
    return a->found != b->found || a->forest != b->forest || strcmp(a->routing, b->routing) != 0;
}

/* All addresses against the oracle, and against what they were and who was told. */
static void step_check(struct random_world *w, bool notices)
{
    struct dir_view *v = directory_view(w->directory);
    for (int i = 0; i < ASKED && w->why[0] == '\0'; i++) {
        struct answer now = ask(w, v, i);
        compare(w, i, &now);
        if (w->why[0] == '\0' && notices && differs(&now, &w->answer[i]) &&
            !(is_lost(&now) && is_lost(&w->answer[i])) && !was_told(w, i)) {
            char was[150], is[150];
            describe(was, sizeof(was), 0, w->answer[i].forest, w->answer[i].routing);
            describe(is, sizeof(is), 0, now.forest, now.routing);
            snprintf(w->why, sizeof(w->why), "%s: (%d) %s became (%d) %s and nobody was told",
                     asked_text(i), (int)w->answer[i].found, was, (int)now.found, is);
        }
        w->answer[i] = now;
    }
    dir_view_unref(&v);
}

/* ---- sequences ---- */

struct sequence {
    unsigned n;
    struct step step[STEPS];
};

/* "" if all was well; else what was wrong, after how many steps. */
static const char *play(const struct sequence *q, unsigned *failed_at)
{
    static char why[500];
    struct random_world *w = random_world_new();
    step_check(w, false);
    for (unsigned i = 0; i < q->n && w->why[0] == '\0'; i++) {
        w->told.n = 0;
        w->told.everything = false;
        step_do(w, &q->step[i]);
        bool restarted = q->step[i].verb == RESTART || q->step[i].verb == LOSE;
        if (w->why[0] == '\0')
            step_check(w, !restarted);
        *failed_at = i + 1;
    }
    snprintf(why, sizeof(why), "%s", w->why);
    random_world_free(w);
    return why;
}

static void without(const struct sequence *q, unsigned from, unsigned n, struct sequence *out)
{
    *out = *q;
    memmove(out->step + from, out->step + from + n, (q->n - from - n) * sizeof(q->step[0]));
    out->n = q->n - n;
}

/* Leaves out what can be left out, in ever smaller pieces. */
static void shrink(struct sequence *q)
{
    struct sequence *less = NEW(struct sequence);
    for (unsigned piece = q->n / 2 + 1; piece > 0; piece = piece == 1 ? 0 : piece / 2)
        for (unsigned at = 0; at + piece <= q->n;) {
            unsigned length = q->n;
            without(q, at, piece, less);
            if (play(less, &length)[0] != '\0') {
                less->n = length;
                *q = *less;
            } else {
                at += piece;
            }
        }
    mem_free(less);
}

static void report(uint64_t seed, struct sequence *q, unsigned failed_at)
{
    q->n = failed_at;
    shrink(q);
    printf("CAUSEWAY_SEED=%llu fails; the shortest way there:\n", (unsigned long long)seed);
    for (unsigned i = 0; i < q->n; i++)
        print_step(&q->step[i]);
    fail_msg("%s", play(q, &failed_at));
}

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    return text != NULL ? strtoull(text, NULL, 10) : otherwise;
}

static void test_sequences(void **state)
{
    (void)state;
    uint64_t first = number_from("CAUSEWAY_SEED", 1),
             n = number_from("CAUSEWAY_SEQUENCES", SEQUENCES);
    struct sequence *q = NEW(struct sequence);
    for (uint64_t seed = first; seed < first + n; seed++) {
        unsigned failed_at = 0;
        steps_seed(seed);
        q->n = 5 + chance(STEPS - 4);
        for (unsigned i = 0; i < q->n; i++)
            q->step[i] = random_step();
        if (play(q, &failed_at)[0] != '\0')
            report(seed, q, failed_at);
    }
    mem_free(q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sequences)};
    log_setup(LOG_TO_STDERR, LOG_TEXT,
              (enum log_level)(LOG_ERROR_ + 1)); /* held changes are expected */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
