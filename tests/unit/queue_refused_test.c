/*
 * queue_refused_test.c - recipients that their forest refuses as unknown while another one claims
 * them; and recipients of whose changes the directory tells by another address.
 */
#include "tests/unit/queue_world.h"

#include <string.h>

#include "base/stats.h"

/* Entry 0 is hosted by 1 and claimed by 2, too. */
static void open_world(struct world *w)
{
    world_init(w);
    w->conf.retry_other_claimant = true;
    w->entry[0] = 1;
    w->other[0] = 2;
    w->dest[1].be = BE_UNKNOWN;
    world_open(w);
}

static int64_t disagreements(void)
{
    return stats_read(STAT_queue_other_claimant);
}

static void test_tried_where_it_is_claimed_too(void **state)
{
    static struct world w;
    (void)state;
    open_world(&w);
    int64_t before = disagreements();
    uint64_t id = world_add(&w, 0, 1);
    world_run(&w, 100);
    assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_DELIVERED);
    assert_int_equal(world_msg(&w, id)->rcpt[0].dest, 2);
    assert_int_equal(w.dest[1].started, 1);
    assert_int_equal(w.dest[2].started, 1);
    assert_int_equal(disagreements(), before + 1);
    world_close(&w);
}

static void test_only_once(void **state)
{
    static struct world w;
    (void)state;
    open_world(&w);
    w.dest[2].be = BE_UNKNOWN;
    uint64_t id = world_add(&w, 0, 1);
    world_run(&w, 86400000);
    assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_FAILED);
    assert_int_equal(w.dest[1].started, 1);
    assert_int_equal(w.dest[2].started, 1);
    world_close(&w);
}

/* Each of these refusals is final. */
static void test_final(void **state)
{
    static const struct {
        enum behaviour be;
        bool option;
        unsigned other;
    } row[] = {{BE_UNKNOWN, false, 2},
               {BE_UNKNOWN, true, 0},      /* nobody else claims it */
               {BE_UNKNOWN, true, 1},      /* nobody else */
               {BE_UNKNOWN_LATE, true, 2}, /* about the message, perhaps */
               {BE_5XX, true, 2}};
    (void)state;
    for (unsigned i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        static struct world w;
        open_world(&w);
        struct queue_conf c = w.conf;
        c.retry_other_claimant = row[i].option;
        queue_reconfigure(w.q, &c);
        w.dest[1].be = row[i].be;
        w.other[0] = row[i].other;
        uint64_t id = world_add(&w, 0, 1);
        world_run(&w, 1000);
        assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_FAILED);
        assert_int_equal(w.dest[1].started, 1);
        assert_int_equal(w.dest[2].started, 0);
        world_close(&w);
    }
}

/* While the other one is away it waits for that one; who refused it is not asked again. */
static void test_waits_for_the_other(void **state)
{
    static struct world w;
    struct queue_rcpt_info info;
    (void)state;
    open_world(&w);
    w.dest[2].be = BE_4XX;
    uint64_t id = world_add(&w, 0, 1);
    world_run(&w, 4 * 3600000);
    assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_OPEN);
    assert_int_equal(queue_rcpts(w.q, id, &info, 1), 1);
    assert_string_equal(info.dest, "forest:2.0");
    assert_string_equal(info.refused, "forest:1.0");
    assert_non_null(strstr(info.last_reply, "later"));
    w.dest[2].be = BE_DEAD;
    world_run(&w, 4 * 3600000);
    w.dest[2].be = BE_WELL;
    world_run(&w, 4 * 3600000);
    assert_int_equal(world_msg(&w, id)->rcpt[0].dest, 2);
    assert_int_equal(w.dest[1].started, 1);
    world_close(&w);
}

/* The directory makes up its mind while it waits: that counts. */
static void test_follows_the_directory(void **state)
{
    static struct world w;
    (void)state;
    open_world(&w);
    w.dest[2].be = BE_4XX;
    uint64_t id = world_add(&w, 0, 1);
    world_run(&w, 100);
    world_flip(&w, 0, 3, true);
    world_run(&w, 1000);
    assert_int_equal(world_msg(&w, id)->rcpt[0].dest, 3);
    world_close(&w);
}

/* Of one delivery some are taken, some refused, some unknown: each goes its own way, once. */
static void test_among_others(void **state)
{
    static struct world w;
    (void)state;
    world_init(&w);
    w.conf.retry_other_claimant = true;
    world_open(&w);
    world_seed(11);
    for (unsigned e = 0; e < 400; e++) {
        w.entry[e] = e % 4;
        w.other[e] = e % 3 == 0 ? 0 : 4 + e % 5;
    }
    for (unsigned d = 0; d < 4; d++)
        w.dest[d].be = d < 2 ? BE_UNKNOWN : BE_RANDOM;
    w.dest[4].be = BE_UNKNOWN;
    w.dest[5].be = BE_5XX;
    w.dest[6].be = BE_RANDOM;
    for (unsigned i = 0; i < 40; i++)
        world_add(&w, i * 10, 10);
    world_run(&w, 12 * 3600000);
    assert_int_equal(world_count(&w, END_OPEN), 0);
    assert_int_equal(world_count(&w, END_DELIVERED) + world_count(&w, END_FAILED), 400);
    for (unsigned e = 0; e < 400; e++) {
        const struct world_rcpt *r = &world_msg(&w, 1 + e / 10)->rcpt[e % 10];
        if (e % 4 < 2 && w.other[e] >= 7)
            assert_true(r->end == END_DELIVERED && r->dest == w.other[e]);
        if (e % 4 < 2 && (w.other[e] == 0 || w.other[e] == 4))
            assert_int_equal(r->end, END_FAILED);
    }
    world_close(&w);
}

static void test_removed_after_the_refusal(void **state)
{
    static struct world w;
    (void)state;
    open_world(&w);
    w.dest[1].latency = 50;
    uint64_t id = world_add(&w, 0, 1);
    world_run(&w, 10);
    assert_int_equal(queue_act(w.q, id, QUEUE_REMOVE), QUEUE_ACTED);
    world_run(&w, 1000);
    assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_REMOVED);
    assert_int_equal(w.dest[2].started, 0);
    world_close(&w);
}

/* A plus address waits; the directory speaks of its base only. */
static void test_woken_by_another_key(void **state)
{
    static struct world w;
    (void)state;
    world_init(&w);
    w.by_other_key = true;
    world_open(&w);
    w.dest[1].be = BE_DEAD;
    uint64_t id[20];
    for (unsigned i = 0; i < 20; i++) {
        w.entry[i] = 1;
        id[i] = world_add(&w, i, 1);
        assert_int_equal(world_add(&w, i, 1), id[i] + 1); /* two with one key */
    }
    world_run(&w, 600000);
    assert_int_equal(world_count(&w, END_DELIVERED), 0);
    world_flip(&w, 7, 2, true);
    world_run(&w, 100);
    assert_int_equal(world_count(&w, END_DELIVERED), 2);
    assert_int_equal(world_msg(&w, id[7])->rcpt[0].dest, 2);
    assert_int_equal(queue_act(w.q, id[3], QUEUE_REMOVE), QUEUE_ACTED);
    world_flip(&w, 3, 2, true);
    world_run(&w, 100);
    assert_int_equal(world_count(&w, END_DELIVERED), 3);
    /* An entry of its own appears: it has waited for that, too. */
    w.by_other_key = false;
    world_flip(&w, 5, 2, true);
    world_run(&w, 100);
    assert_int_equal(world_msg(&w, id[5])->rcpt[0].dest, 2);
    /* From now on that one counts. */
    w.dest[1].be = BE_4XX;
    world_run(&w, 600000);
    world_flip(&w, 6, 2, true);
    world_run(&w, 100);
    assert_int_equal(world_msg(&w, id[6])->rcpt[0].dest, 2);
    world_close(&w);
}

/* It depends on another key since it was decided anew, though the answer was the same. */
static void test_woken_by_a_key_learnt_in_passing(void **state)
{
    static struct world w;
    (void)state;
    world_init(&w);
    world_open(&w);
    w.dest[0].be = BE_4XX;
    uint64_t id = world_add(&w, 0, 1);
    world_run(&w, 100);
    w.by_other_key = true;
    w.generation++;
    queue_directory_changed(w.q, NULL, 0, true);
    world_run(&w, 100);
    assert_int_equal(w.dest[0].started, 1);
    world_flip(&w, 0, 1, true);
    world_run(&w, 100);
    assert_int_equal(world_msg(&w, id)->rcpt[0].end, END_DELIVERED);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tried_where_it_is_claimed_too),
        cmocka_unit_test(test_only_once),
        cmocka_unit_test(test_final),
        cmocka_unit_test(test_waits_for_the_other),
        cmocka_unit_test(test_follows_the_directory),
        cmocka_unit_test(test_among_others),
        cmocka_unit_test(test_removed_after_the_refusal),
        cmocka_unit_test(test_woken_by_another_key),
        cmocka_unit_test(test_woken_by_a_key_learnt_in_passing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
