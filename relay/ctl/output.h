/*
 * output.h - standard output that takes everything at once: a thread writes it, so that reading the
 * daemon's answer never waits for a person who looks at it in a pager. (The daemon closes a client
 * that takes nothing for a minute.)
 */
#ifndef RELAY_CTL_OUTPUT_H
#define RELAY_CTL_OUTPUT_H

#include "base/buf.h"

struct output;

struct output *output_new(int fd);
/* Takes what is in b, which is empty afterwards. Waits only while very much is held. False: nobody
 * reads any more. */
bool output_put(struct output *o, struct buf *b);
/* Waits until everything is written. False: not everything was. */
bool output_flush(struct output *o);
/* Flushes. */
void output_free(struct output **o);

#endif
