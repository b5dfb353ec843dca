/*
 * flag_write.h - writes the cutover flag of objects into the directory they came from, for
 * `causewayctl move --write` and its undo. Blocks: for a background thread (relay/daemon/job.h).
 *
 * An object is found by its DN, and by its UUID when it was renamed meanwhile; it is written only
 * if the UUID is right. What an object had before is read first, so that it can be journalled
 * before anything is changed.
 */
#ifndef DIRECTORY_FLAG_WRITE_H
#define DIRECTORY_FLAG_WRITE_H

#include "conf/conf.h"
#include "directory/entry.h"

enum flag_state {
    FLAG_PENDING,
    FLAG_READ, /* `previous` is known */
    FLAG_SAME, /* set by the caller: has the value already, nothing is to be written */
    FLAG_WRITTEN,
    FLAG_OTHER, /* has not the value that was expected: left alone */
    FLAG_FAILED /* `why` says why */
};

/* One object. Texts belong to the caller, but for previous and why. */
struct flag_change {
    unsigned source; /* of the configuration: openldap or active-directory, with a flag_attribute */
    unsigned char uuid[DIR_UUID_SIZE];
    const char *dn;       /* "" = not known */
    const char *value;    /* to be; "" = none */
    const char *expected; /* written only where this is now; NULL = whatever is there */
    enum flag_state state;
    char *previous; /* "" = it had none */
    char *why;
};
/* Frees previous and why. */
void flag_change_free(struct flag_change *c);

/* Can this source be written to, and which value means the forest? NULL: no. */
const char *flag_value_of(const struct conf *c, unsigned source, int forest);

struct flag_writer;

/* The changes stay where they are until flag_writer_free(). */
struct flag_writer *flag_writer_new(struct conf *c, struct flag_change *change, unsigned n);
void flag_writer_free(struct flag_writer **w);
/* Begins no further connection once stop(arg) is true: what is left fails. */
void flag_writer_stop_when(struct flag_writer *w, bool (*stop)(const void *arg), const void *arg);
/* Reads what the objects have now, for about max_ms. True: there is more to do. */
bool flag_writer_read(struct flag_writer *w, int64_t max_ms);
/* Then writes, likewise. A connection that is lost is opened once more. */
bool flag_writer_write(struct flag_writer *w, int64_t max_ms);

#endif
