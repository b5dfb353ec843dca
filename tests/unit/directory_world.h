/*
 * directory_world.h - a view without threads for the tests of lookups: replicas that are filled by
 * hand, one for each source of a configuration, and overrides.
 */
#ifndef TESTS_UNIT_DIRECTORY_WORLD_H
#define TESTS_UNIT_DIRECTORY_WORLD_H

#include "directory/replica.h"
#include "directory/view_int.h"

#define WORLD_SOURCES 4

/* Two forests, old and new, with routing domains old.local and new.local; x.test is shared. */
#define WORLD_BASE                                                                                 \
    "listener \"i\" { address = \"*:25\" }\n"                                                      \
    "forest \"old\" { host \"mx.old\" {} routing_domain = \"old.local\" }\n"                       \
    "forest \"new\" { host \"mx.new\" {} routing_domain = \"new.local\" }\n"                       \
    "domain \"x.test\" {}\n"                                                                       \
    "domain \"any.test\" { unknown = forward forest = \"old\" }\n"
/* A source whose flag ext1 is "source" for old and "target" for new. */
#define WORLD_SOURCE(name, forest, priority, more)                                                 \
    "source \"" name "\" { type = ldif path = \"/nowhere/" name "\" forest = \"" forest            \
    "\" priority = " priority " flag_attribute = \"ext1\" flag_values = {\"source = old\", "       \
    "\"target = new\"} " more " }\n"

struct world {
    const char *folder;
    struct conf *conf;
    struct replica *replica[WORLD_SOURCES];
    struct replica *overrides;
    struct dir_fresh *fresh[WORLD_SOURCES]; /* complete at 1000 */
    struct dir_view *view;
};

/* Fails the test if the text is no configuration. */
struct conf *world_conf(const char *text);
void world_begin(struct world *w, const char *conf);
void world_end(struct world *w);
/* Entry `id` of the source (a place in the configuration) is now this (directory_model.h). */
void world_put(struct world *w, unsigned source, unsigned id, const char *text);
void world_override(struct world *w, const char *key, const char *forest);
/* Makes w->view, of generation 7, of what was put so far. */
void world_view(struct world *w);

#endif
