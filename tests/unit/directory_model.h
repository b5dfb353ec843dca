/*
 * directory_model.h - what the tests of the directory share: a folder of their own, entries made
 * from short texts, the simple model that replicas are compared with.
 */
#ifndef TESTS_UNIT_DIRECTORY_MODEL_H
#define TESTS_UNIT_DIRECTORY_MODEL_H

#include "base/buf.h"
#include "directory/entry.h"

/* A new empty folder, in memory where that can be had (syncs are many here); static memory. */
const char *model_folder(void);
/* Removes the folder and the plain files in it. */
void model_remove_folder(const char *folder);

/* An entry number `id` from "mailbox a@x.test b@x.test flag=target routing=r@y.test target=t@z.test
 * alias=n x500=/o=x legacy=/o=x key=1 type=8 auth mdb vanished=5 dn=cn=n,ou=x given=n surname=n
 * initials=n display=n". Lives until the next call but three. */
struct dir_entry *model_entry(unsigned id, const char *text);
/* Appends "mailbox homeMDB a@x.test b@x.test target=t@z.test ...": kind, evidence, and what else
 * there is. */
void model_describe(const struct dir_entry *e, struct buf *out);
void model_uuid(unsigned id, unsigned char *uuid);

#endif
