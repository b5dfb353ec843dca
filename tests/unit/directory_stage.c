/*
 * directory_stage.c - see directory_stage.h.
 */
#include "tests/unit/directory_stage.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/clock.h"
#include "tests/unit/directory_model.h"

static void hear(void *arg, const struct replica_commit *c)
{
    struct stage *s = arg;
    s->commits += c->n_entries != 0;
    s->entries += c->n_entries;
    assert_int_equal(c->change != NULL, c->n_entries != 0);
}

static void hear_held(void *arg, struct hold *h)
{
    struct stage *s = arg;
    s->told++;
    s->held = h != NULL;
}

void stage_start(struct stage *s)
{
    struct err e = {0};
    s->held = false;
    s->commits = s->entries = s->told = 0;
    s->r = replica_open(&s->o, &e);
    if (s->r == NULL)
        fail_msg("%s", e.text);
}

void stage_restart(struct stage *s)
{
    replica_close(&s->r);
    stage_start(s);
}

void stage_begin(struct stage *s)
{
    clock_fake_start(1000000, START);
    *s = (struct stage){.folder = model_folder()};
    s->o = (struct replica_options){.folder = s->folder,
                                    .name = "t",
                                    .source_id = 1,
                                    .mass_change_percent = 25,
                                    .publish = hear,
                                    .held = hear_held,
                                    .arg = s};
    stage_start(s);
}

void stage_end(struct stage *s)
{
    replica_close(&s->r);
    model_remove_folder(s->folder);
    clock_fake_stop();
}

void stage_put(struct stage *s, unsigned from, unsigned to, const char *more)
{
    char text[100];
    for (unsigned i = from; i < to; i++) {
        snprintf(text, sizeof(text), "mailbox u%u@x.test%s", i, more);
        assert_true(replica_upsert(s->r, model_entry(i, text)));
    }
}

void stage_refresh(struct stage *s, unsigned from, unsigned to, const char *cookie)
{
    struct err e = {0};
    replica_refresh_begin(s->r);
    stage_put(s, from, to, "");
    if (!replica_refresh_end(s->r, true, str_c(cookie), &e))
        fail_msg("%s", e.text);
}

void stage_delete(struct stage *s, unsigned id)
{
    unsigned char uuid[DIR_UUID_SIZE];
    model_uuid(id, uuid);
    replica_delete(s->r, uuid);
    assert_true(replica_commit_checked(s->r, STR_NULL, NULL));
}

bool stage_find(const struct stage *s, unsigned id, struct dir_entry *out)
{
    static struct dir_entry_room room;
    unsigned char uuid[DIR_UUID_SIZE];
    struct table_record rec;
    model_uuid(id, uuid);
    return stack_find_uuid(replica_stack(s->r), uuid, &rec) &&
           table_record_decode(&rec, &room, out);
}

int stage_is_there(const struct stage *s, unsigned id)
{
    struct dir_entry e;
    if (!stage_find(s, id, &e))
        return 0;
    return e.vanished_ms == 0 ? 1 : -1;
}

void stage_expect_held(const struct stage *s, uint64_t vanish, uint64_t move)
{
    const struct hold *h = replica_hold(s->r);
    assert_non_null(h);
    assert_true(s->held);
    assert_non_null(h->change);
    assert_int_equal(h->counts.vanish, vanish);
    assert_int_equal(h->counts.move, move);
}

void stage_agree(struct stage *s)
{
    struct err e = {0};
    struct hold *h = hold_ref((struct hold *)replica_hold(s->r));
    assert_true(replica_accept(s->r, h, &e));
    assert_true(hold_is_applied(h));
    assert_false(replica_accept(s->r, h, &e)); /* not twice */
    assert_null(replica_hold(s->r));
    assert_false(s->held);
    hold_unref(&h);
}

void stage_path(const struct stage *s, const char *what, char out[300])
{
    snprintf(out, 300, "%s/directory-t.%s", s->folder, what);
}
