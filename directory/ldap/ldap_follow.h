/*
 * ldap_follow.h - what the LDAP sources have in common: they follow a server for as long as it
 * lasts, and when it fails, the next.
 */
#ifndef DIRECTORY_LDAP_FOLLOW_H
#define DIRECTORY_LDAP_FOLLOW_H

#include "directory/source.h"

enum follow {
    FOLLOW_ON,
    FOLLOW_STOPPED, /* the source must end */
    FOLLOW_LOST,    /* the error says why */
    FOLLOW_RELOAD   /* the server cannot go on from our cookie */
};

/* Connects to uri and follows it to the end of the connection; never FOLLOW_ON. *synced is set once
 * the source was complete in this session. */
typedef enum follow ldap_session_fn(void *arg, const char *uri, bool *synced, struct err *e);

/* Holds sessions, one after the other, until the source must end. After a failure: the next URI at
 * once; after one round of them a wait that doubles from backoff_min to backoff_max, with jitter,
 * and starts anew after a success. FOLLOW_RELOAD drops the replica's cookie; the second one in a
 * row is a failure. */
void ldap_follow(struct source *s, ldap_session_fn *session, void *arg);

#endif
