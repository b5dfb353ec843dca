/*
 * queue_world.h - everything around a queue, scripted: a loop on a virtual clock, a spool that is
 * an array, a directory that is an array, next hops that do as they are told, and a model that
 * knows what became of each recipient and fails the test when something happens twice or wrongly.
 *
 * Recipients are "rN@d.test": N is an entry of the directory, whose value is the destination.
 */
#ifndef TESTS_UNIT_QUEUE_WORLD_H
#define TESTS_UNIT_QUEUE_WORLD_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/heap.h"
#include "relay/queue/pace.h"
#include "relay/queue/queue.h"

#define WORLD_DESTS   64
#define WORLD_ENTRIES 4096
/* ENTRY_OTHER(d, k): a destination of its own name that behaves as d does. */
#define ENTRY_OTHER(d, k) (10000 * ((k) + 1) + (d))
/* Instead of a destination in the directory. */
#define ENTRY_REFUSE 1000
#define ENTRY_DEFER  1001

enum behaviour {
    BE_WELL,
    BE_DEAD,         /* no connection, after `latency` */
    BE_BUSY,         /* 421 */
    BE_4XX,          /* each recipient is put off */
    BE_5XX,          /* each recipient is refused */
    BE_UNKNOWN,      /* each recipient is refused as unknown, at RCPT ... */
    BE_UNKNOWN_LATE, /* ... or after the content */
    BE_HANG,         /* nothing ever happens until world_release() */
    BE_RANDOM        /* any of the above but hanging, and mixed per recipient */
};

struct world_dest {
    enum behaviour be;
    int64_t latency; /* ms */
    unsigned in_hand, peak;
    unsigned started, confirmed;
    unsigned per_session; /* recipients of the largest delivery */
    unsigned takes; /* so many of each delivery, "too many recipients" for the rest; 0 = all */
};

enum end {
    END_OPEN,
    END_DELIVERED,
    END_FAILED,
    END_EXPIRED,
    END_REMOVED
};
struct world_rcpt {
    uint8_t end;
    uint8_t success_reports, delay_reports;
    uint16_t entry;
    uint16_t dest; /* where it was delivered to */
};
struct world_msg {
    char *envelope;
    size_t envelope_n;
    unsigned n_rcpt;
    struct world_rcpt *rcpt;
    bool gone, held;
    unsigned loads, deliveries;
    int64_t last_start; /* ms */
};

struct world {
    struct queue *q;
    struct queue_conf conf;
    struct loop *loop;
    struct pace pace;
    struct world_dest dest[WORLD_DESTS];
    unsigned entry[WORLD_ENTRIES];
    unsigned other[WORLD_ENTRIES]; /* the destination that claims it, too; 0 = none */
    bool by_other_key;             /* the directory tells of changes by keys of its own */
    uint64_t generation;
    struct underway *underway; /* what the test says others have under way; NULL: nobody else */
    struct world_msg *msg;     /* by id - 1 */
    unsigned n_msg, cap_msg;
    struct heap events; /* deliveries and reports that will end */
    unsigned in_hand, reports, cancelled;
    uint64_t decides, loads;
    unsigned fail_reports; /* so many reports cannot be written */
    unsigned report_max;   /* recipients that fit in one */
    bool long_replies;
    unsigned fail_loads;
    unsigned reroutes;
    unsigned start_log[4096], n_start_log; /* destinations, in the order of the starts */
    uint64_t order_log[4096];
    unsigned n_order_log; /* message ids, likewise */
    bool send_notices;    /* success is asked for */
    bool null_sender;
};

void world_init(struct world *w);
void world_open(struct world *w); /* makes the queue from w->conf */
void world_close(struct world *w);
/* A message with n recipients, entries first, first + 1, ...; returns its id. */
uint64_t world_add(struct world *w, unsigned first, unsigned n);
uint64_t world_add_entries(struct world *w, const unsigned *entry, unsigned n);
/* The same without telling the queue, as if it were found on disk. */
uint64_t world_store(struct world *w, const unsigned *entry, unsigned n);
void world_recover(struct world *w, uint64_t id, int64_t age_ms, const uint8_t *done);
/* Lets so many virtual milliseconds pass. */
void world_run(struct world *w, int64_t ms);
/* Ends all hanging deliveries of the destination as unreachable. */
void world_release(struct world *w, unsigned dest);
/* Asks for all hanging deliveries of the destination whether they are still wanted, as the
 * transport does before anything is sent; gives back those that are not. */
void world_ask_wanted(struct world *w, unsigned dest);
/* All hanging deliveries of the destination say their recipients now; these are answered, or not.
 */
void world_say_rcpt(struct world *w, unsigned dest, bool answered);
/* Changes a directory entry; tells the queue if `tell`. */
void world_flip(struct world *w, unsigned entry, unsigned value, bool tell);
uint64_t world_entry_hash(unsigned entry);
struct world_msg *world_msg(struct world *w, uint64_t id);
unsigned world_count(const struct world *w, enum end end);
struct queue_status world_status(struct world *w);
struct queue_msg_info world_info(struct world *w, uint64_t id); /* it must be there */
void world_assert_empty(struct world *w);                       /* the queue, and nothing is open */
bool world_dest_info(struct world *w, unsigned dest, struct queue_dest_info *out);
int64_t world_now(const struct world *w);
unsigned world_random(unsigned below); /* the test's own generator */
void world_seed(uint64_t seed);

#endif
