/*
 * override.h - what an administrator set by hand: which forest an address belongs to, whatever the
 * directories say. Kept as a journal of lines, `time set|unset key forest who`, tab separated, one
 * per change, synced before it counts; the history stays readable. Main thread, under the
 * directory's lock.
 */
#ifndef DIRECTORY_OVERRIDE_H
#define DIRECTORY_OVERRIDE_H

#include "base/err.h"
#include "base/file.h"
#include "directory/stack.h"

struct overrides;

/* An absent file is no override. A damaged line is logged and skipped. */
struct overrides *overrides_open(const char *state_dir, const struct file_ops *ops, struct err *e);
void overrides_close(struct overrides **o);
bool overrides_set(struct overrides *o, struct str key, struct str forest, struct str who,
                   struct err *e);
/* ERR_INPUT if there is none. */
bool overrides_unset(struct overrides *o, struct str key, struct str who, struct err *e);
/* As a stack of entries of kind DIR_OVERRIDE, flag = forest. Borrowed. */
struct dir_stack *overrides_stack(const struct overrides *o);

#endif
