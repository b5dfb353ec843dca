/*
 * directory_join_test.c - one person in several directories: walking over all of them.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/mem.h"
#include "directory/walk.h"
#include "tests/unit/directory_model.h"
#include "tests/unit/directory_world.h"

static void walk_text(const struct dir_view *v, struct buf *out)
{
    struct dir_walk *w = NEW(struct dir_walk);
    struct dir_cursor c = {0};
    buf_clear(out);
    while (dir_view_walk(v, &c, w)) {
        buf_printf(out, "%s %u:", dir_view_source_name(v, w->source), w->entry.uuid[3]);
        for (unsigned i = 0; i < w->entry.n_address; i++)
            buf_printf(out, " %.*s", STR_ARG(w->entry.address[i].local));
        buf_printf(out, " %.*s|", STR_ARG(w->entry.dn));
    }
    assert_false(dir_view_walk(v, &c, w));
    mem_free(w);
}

static void test_walk(void **state)
{
    (void)state;
    struct world w;
    struct buf text = BUF_INIT(10000);
    world_begin(&w, WORLD_BASE WORLD_SOURCE("s1", "old", "2", "") WORLD_SOURCE("s2", "new", "1", "")
                        WORLD_SOURCE("s3", "new", "3", ""));
    world_view(&w);
    walk_text(w.view, &text);
    assert_string_equal(buf_cstr(&text), "");
    world_put(&w, 0, 1, "mailbox a@x.test");
    world_put(&w, 0, 2, "mailbox b@x.test bb@x.test dn=cn=b,ou=x");
    world_put(&w, 2, 2, "contact b@x.test");
    world_view(&w);
    world_put(&w, 0, 1, "mailbox c@x.test vanished=1");
    world_put(&w, 0, 3, "mailbox d@x.test");
    world_view(&w);
    unsigned char gone[DIR_UUID_SIZE];
    model_uuid(3, gone);
    replica_delete(w.replica[0], gone);
    world_put(&w, 1, 1, "mailbox z@x.test");
    world_view(&w);
    walk_text(w.view, &text);
    assert_string_equal(buf_cstr(&text), "s2 1: z |s1 1: c |s1 2: b bb cn=b,ou=x|s3 2: b |");
    buf_free(&text);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
