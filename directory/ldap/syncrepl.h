/*
 * syncrepl.h - the values of RFC 4533's controls and messages (section 2), encoded and decoded.
 * Pure; slices point into the input. BER with definite lengths, as LDAP demands (RFC 4511 5.1).
 */
#ifndef DIRECTORY_SYNCREPL_H
#define DIRECTORY_SYNCREPL_H

#include "base/buf.h"
#include "base/str.h"
#include "directory/entry.h"

#define SYNCREPL_REQUEST_OID      "1.3.6.1.4.1.4203.1.9.1.1"
#define SYNCREPL_STATE_OID        "1.3.6.1.4.1.4203.1.9.1.2"
#define SYNCREPL_DONE_OID         "1.3.6.1.4.1.4203.1.9.1.3"
#define SYNCREPL_INFO_OID         "1.3.6.1.4.1.4203.1.9.1.4"
#define SYNCREPL_REFRESH_REQUIRED 4096

/* syncRequestValue: refreshAndPersist, the cookie if it is not empty, no reload hint. */
bool syncrepl_request(struct buf *out, struct str cookie);

enum syncrepl_state {
    SYNCREPL_PRESENT,
    SYNCREPL_ADD,
    SYNCREPL_MODIFY,
    SYNCREPL_DELETE
};
/* syncStateValue. cookie.p NULL: none. */
bool syncrepl_read_state(struct str in, enum syncrepl_state *state, const unsigned char **uuid,
                         struct str *cookie);

enum syncrepl_info_kind {
    SYNCREPL_NEW_COOKIE,
    SYNCREPL_REFRESH_DELETE,
    SYNCREPL_REFRESH_PRESENT,
    SYNCREPL_ID_SET
};
struct syncrepl_info {
    enum syncrepl_info_kind kind;
    struct str cookie;    /* p NULL: none */
    bool refresh_done;    /* REFRESH_* */
    bool refresh_deletes; /* ID_SET: the set names deleted entries, else present ones */
    struct str uuids;     /* ID_SET: for syncrepl_next_uuid() */
};
/* syncInfoValue. False: not one. An ID_SET's elements are checked here. */
bool syncrepl_read_info(struct str in, struct syncrepl_info *out);
bool syncrepl_next_uuid(struct str *uuids, const unsigned char **uuid);

#endif
