/*
 * directory_steps.c - see directory_steps.h.
 */
#include "tests/unit/directory_steps.h"

#include <stdio.h>

#include "base/assert.h"

static uint64_t chance_state;

void steps_seed(uint64_t seed)
{
    chance_state = seed * 1000003;
}

unsigned chance(unsigned below)
{
    chance_state += 0x9e3779b97f4a7c15u;
    uint64_t x = chance_state;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return (unsigned)((x ^ x >> 31) % below);
}

static int one_of_or_nobody(unsigned n, unsigned rarity)
{
    return chance(rarity) == 0 ? (int)chance(n) : NOBODY;
}

static struct object random_object(int id)
{
    struct object o = {.primary = chance(3) != 0 ? id + (int)chance(2) * 4 : (int)chance(SHARED),
                       .by_mail = chance(5) == 0,
                       .capitals = chance(5) == 0,
                       .home_mdb = chance(4) == 0,
                       .type = chance(2) == 0 ? TYPE_NONE : (enum oracle_type)chance(TYPES),
                       .class = chance(5) == 0 ? (enum oracle_class)chance(CLASSES) : CLASS_PERSON,
                       .target = one_of_or_nobody(TARGETS, 3),
                       .flag = one_of_or_nobody(3, 3),
                       .routing = one_of_or_nobody(ADDRESSES, 8),
                       .legacy = one_of_or_nobody(X500_NAMES, 4),
                       .key = one_of_or_nobody(2, 4),
                       .dn = chance(3)};
    for (unsigned n = chance(4); n > 0; n--)
        o.others |= 1u << chance(ADDRESSES);
    if (chance(4) == 0)
        o.x500 = 1u << chance(X500_NAMES);
    if (chance(15) == 0)
        o.primary = NOBODY;
    return o;
}

static struct settings random_settings(void)
{
    struct settings s = {
        .join_smtp = chance(4) != 0, .join_x500 = chance(3) != 0, .join_key = chance(3) != 0};
    for (int i = 0; i < SOURCES; i++) {
        s.configured[i] = chance(5) != 0;
        s.priority[i] = (int)chance(3);
        s.forest[i] = chance(4) == 0 ? (i == 2 ? NOBODY : (int)chance(FORESTS)) : i;
        s.swapped[i] = chance(5) == 0;
        s.asks[i] = chance(6) == 0;
    }
    s.configured[chance(SOURCES)] = true;
    for (int i = 0; i < DOMAINS; i++)
        s.evidence[i] = chance(2) == 0 ? FLAG_EXCHANGE : (enum oracle_evidence)chance(EVIDENCES);
    return s;
}

static enum verb random_verb(void)
{
    static const enum verb often[] = {PUT,    PUT,     PUT,     CHANGE, CHANGE,
                                      CHANGE, REFRESH, REFRESH, DELETE, OVERRIDE};
    return chance(3) != 0 ? often[chance(ARRAY_LEN(often))] : (enum verb)chance(VERBS);
}

struct step random_step(void)
{
    struct step s = {.verb = random_verb(),
                     .source = (int)chance(SOURCES),
                     .attribute = chance(9),
                     .delete_absent = chance(4) != 0,
                     .address = (int)chance(SHARED),
                     .forest = one_of_or_nobody(FORESTS, 2),
                     .settings = random_settings()};
    s.id = (int)chance(OBJECTS_OF(s.source));
    for (int i = 0; i < OBJECTS; i++) {
        s.o[i] = random_object(i);
        s.told[i] = i < OBJECTS_OF(s.source) && chance(2) == 0;
        s.present[i] = i < OBJECTS_OF(s.source) && chance(2) == 0;
    }
    return s;
}

static const char *const verb_text[VERBS] = {"put",  "change",   "delete",  "lose",   "refresh",
                                             "part", "snapshot", "restart", "reload", "override"};

static void print_object(const struct object *o)
{
    static const char *const type[TYPES] = {"",        " mailbox", " shared", " mail-user",
                                            " remote", " contact", " group",  " odd"};
    static const char *const class[CLASSES] = {"", " class=group", " class=contact"};
    printf("%s%s%s%s%s", o->primary != NOBODY ? oracle_address[o->primary] : "(no address)",
           o->by_mail ? " (mail)" : "", o->home_mdb ? " homeMDB" : "", type[o->type],
           class[o->class]);
    for (unsigned a = 0; a < ADDRESSES; a++)
        if (o->others >> a & 1)
            printf(" %s", oracle_address[a]);
    if (o->target != NOBODY)
        printf(" target=%s", oracle_target[o->target]);
    if (o->flag != NOBODY)
        printf(" flag=%d", o->flag);
    if (o->routing != NOBODY)
        printf(" routing=%s", oracle_address[o->routing]);
    if (o->legacy != NOBODY)
        printf(" legacy=%s", oracle_x500[o->legacy]);
    for (unsigned i = 0; i < X500_NAMES; i++)
        if (o->x500 >> i & 1)
            printf(" x500=%s", oracle_x500[i]);
    if (o->key != NOBODY)
        printf(" key=%d", o->key);
}

static void print_settings(const struct settings *s)
{
    static const char *const evidence[] = {"flag-exchange", "exchange-flag", "flag", "exchange"};
    for (int i = 0; i < SOURCES; i++)
        if (s->configured[i])
            printf(" s%d(priority %d, forest %s%s, asks %u)", i, s->priority[i],
                   s->forest[i] != NOBODY ? oracle_forest[s->forest[i]] : "-",
                   s->swapped[i] ? ", flags swapped" : "", s->asks[i]);
    for (int i = 0; i < DOMAINS; i++)
        printf(" %s:%s", oracle_domain[i], evidence[s->evidence[i]]);
    printf(" join:%s%s%s", s->join_smtp ? " smtp" : "", s->join_x500 ? " x500" : "",
           s->join_key ? " key" : "");
}

void print_step(const struct step *s)
{
    printf("  %s", verb_text[s->verb]);
    if (s->verb == RELOAD) {
        print_settings(&s->settings);
    } else if (s->verb == OVERRIDE) {
        printf(" %s %s", oracle_address[s->address],
               s->forest != NOBODY ? oracle_forest[s->forest] : "-");
    } else if (s->verb == PUT || s->verb == CHANGE || s->verb == DELETE) {
        printf(" s%d/%d ", s->source, s->id);
        if (s->verb == CHANGE)
            printf("attribute %u of: ", s->attribute);
        if (s->verb != DELETE)
            print_object(&s->o[s->id]);
    } else if (s->verb != RESTART) {
        printf(" s%d%s", s->source, s->verb == REFRESH && s->delete_absent ? " whole" : "");
        for (int i = 0; i < OBJECTS && s->verb != SNAPSHOT; i++)
            if (s->told[i]) {
                printf(" /%d ", i);
                print_object(&s->o[i]);
            } else if (s->present[i]) {
                printf(" /%d is present", i);
            }
    }
    printf("\n");
}
