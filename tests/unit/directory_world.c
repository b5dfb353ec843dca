/*
 * directory_world.c - see directory_world.h.
 */
#include "tests/unit/directory_world.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/hash.h"
#include "tests/unit/directory_model.h"

struct conf *world_conf(const char *text)
{
    struct err e = {0};
    struct conf *c = conf_parse(text, "t.conf", &e);
    if (c == NULL)
        fail_msg("%s", e.text);
    return c;
}

static void ignore(void *arg, const struct replica_commit *c)
{
    (void)arg;
    (void)c;
}

static struct replica *replica_in(struct world *w, const char *name)
{
    struct replica_options o = {.folder = w->folder,
                                .name = name,
                                .mass_change_percent = 100,
                                .publish = ignore,
                                .ops = &file_real};
    struct err e;
    struct replica *r = replica_open(&o, &e);
    assert_non_null(r);
    return r;
}

void world_begin(struct world *w, const char *conf)
{
    *w = (struct world){.folder = model_folder()};
    w->conf = world_conf(conf);
    assert_true(w->conf->n_source <= WORLD_SOURCES);
    for (unsigned i = 0; i < w->conf->n_source; i++) {
        w->replica[i] = replica_in(w, w->conf->source[i].name);
        w->fresh[i] = fresh_new();
        atomic_store(&w->fresh[i]->complete_once, true);
        atomic_store(&w->fresh[i]->complete_ms, 1000);
    }
    w->overrides = replica_in(w, "overrides");
}

void world_end(struct world *w)
{
    dir_view_unref(&w->view);
    for (unsigned i = 0; i < WORLD_SOURCES; i++) {
        replica_close(&w->replica[i]);
        fresh_unref(&w->fresh[i]);
    }
    replica_close(&w->overrides);
    conf_unref(&w->conf);
    model_remove_folder(w->folder);
}

void world_put(struct world *w, unsigned source, unsigned id, const char *text)
{
    assert_true(replica_upsert(w->replica[source], model_entry(id, text)));
}

void world_override(struct world *w, const char *key, const char *forest)
{
    struct dir_entry *e = model_entry(0, "mailbox a@b");
    struct str k = str_c(key);
    long at = str_find(k, '@');
    e->kind = DIR_OVERRIDE;
    e->evidence = DIR_EVIDENCE_OVERRIDE;
    e->flag = str_c(forest);
    e->address[0] = (struct dir_address){str_upto(k, (size_t)at), str_from(k, (size_t)at + 1)};
    e->uuid[0] = (unsigned char)hash64(k.p, k.n);
    replica_upsert(w->overrides, e);
}

/* By priority, as directory.c does it; sources of equal priority in their order. */
static unsigned slot_of(const struct conf *c, unsigned source)
{
    unsigned slot = 0;
    for (unsigned i = 0; i < c->n_source; i++)
        slot += c->source[i].priority < c->source[source].priority ||
                (c->source[i].priority == c->source[source].priority && i < source);
    return slot;
}

void world_view(struct world *w)
{
    dir_view_unref(&w->view);
    replica_commit(w->overrides, STR_NULL);
    w->view =
        view_new(7, rules_new(w->conf), stack_ref(replica_stack(w->overrides)), w->conf->n_source);
    for (unsigned i = 0; i < w->conf->n_source; i++) {
        replica_commit(w->replica[i], STR_NULL);
        w->view->source[slot_of(w->conf, i)] =
            (struct view_source){.index = i,
                                 .owner = i + 1,
                                 .stack = stack_ref(replica_stack(w->replica[i])),
                                 .fresh = fresh_ref(w->fresh[i])};
    }
}
