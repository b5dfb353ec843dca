/*
 * ad_int.h - the parts of the active-directory source, among themselves.
 *
 *   active_directory.c  a session: what to read, when, and what is committed
 *   ad_server.c         what kind of server it is, and what the account may see there
 *   ad_account.c        when the account's password expires
 *   ad_search.c         searches under way, several at a time on the one connection
 *   ad_dirsync.c        reading by the DirSync control
 *   ad_usn.c            reading by update sequence numbers, where DirSync may not be used
 *   ad_read.c           reading whole objects: by objectGUID, below a container, range by range
 *   ad_value.c          notations (pure), dirsync.c the control's values (pure)
 *
 * All of it runs on the source's thread. A function that waits returns an enum follow: FOLLOW_ON
 * when what was asked for is done.
 */
#ifndef DIRECTORY_AD_INT_H
#define DIRECTORY_AD_INT_H

#include <ldap.h>

#include "directory/ad/ad_value.h"
#include "directory/ldap/ldap_entry.h"
#include "directory/ldap/ldap_follow.h"
#include "directory/map.h"

#define AD_SEARCHES_MAX     8   /* under way at the same time */
#define AD_BATCH_MAX        100 /* objects asked for in one search */
#define AD_SHOW_DELETED_OID "1.2.840.113556.1.4.417"
#define AD_NOTIFY_OID       "1.2.840.113556.1.4.528"

struct ad;

/* ---- ad_search.c ---- */

struct ad_search;
/* For each entry that comes. False: the session is over, *e says why. */
typedef bool ad_entry_fn(struct ad *x, struct ad_search *q, LDAPMessage *m, struct err *e);

struct ad_search {
    const char *what; /* for errors: "the search for changes" */
    ad_entry_fn *entry;
    void *arg;
    int msgid;        /* 0: not under way */
    int64_t heard_ms; /* monotonic: its last message, or its start */
    bool done;
    int code; /* once done: its result, and the controls that came with it */
    LDAPControl **controls;
};
struct ad_ask {
    const char *base, *filter;
    int scope;
    char **attributes;
    LDAPControl *control[2]; /* NULL: none */
    bool may_be_gone;        /* no such base: as if nothing was found below it */
};

/* what, entry and arg are set by the caller. */
bool ad_search_start(struct ad *x, struct ad_search *q, const struct ad_ask *a, struct err *e);
/* Until it is done; entries of the others are taken as they come, too. */
enum follow ad_search_wait(struct ad *x, struct ad_search *q, struct err *e);
/* The same for the simple case: start, wait, refuse any result but success, end. */
enum follow ad_search_run(struct ad *x, struct ad_search *q, const struct ad_ask *a, struct err *e);
/* In pages of the configured size; page_fn (may be NULL) runs after each. */
enum follow ad_search_paged(struct ad *x, struct ad_search *q, const struct ad_ask *a,
                            enum follow (*page_fn)(struct ad *x, struct err *e), struct err *e);
/* Ready for the next start; one that is not done is abandoned. */
void ad_search_end(struct ad *x, struct ad_search *q);
/* What its result means, in words. Returns false. */
bool ad_search_refused(struct ad *x, const struct ad_search *q, struct err *e);
/* Takes what arrives within `ms`; returns early after anything came. */
enum follow ad_listen(struct ad *x, int ms, struct err *e);

/* ---- ad_server.c ---- */

/* One object: its name, and the first value of one attribute. */
struct ad_one {
    const char *attribute;
    char *dn;
    struct buf value;
};
/* ask->attributes is set here. What is not there, or not for us to see, leaves *one empty. */
enum follow ad_one_read(struct ad *x, const char *what, struct ad_ask *ask, struct ad_one *one,
                        struct err *e);
void ad_one_free(struct ad_one *one);

struct ad_server {
    char *root;    /* the naming context that is followed, as the server writes it; "": the whole
                      forest, at a global catalog */
    char *scope;   /* recipients are below; root or something below it */
    char *service; /* DN of its NTDS settings */
    char *domain;  /* whose Deleted Objects count; NULL: those of several */
    bool global_catalog;
    bool sees_deleted;                       /* may the account read all Deleted Objects? */
    unsigned char invocation[DIR_UUID_SIZE]; /* zero: not told */
};

/* Asks the server all that; false answers are words for a person. */
enum follow ad_server_learn(struct ad *x, const char *uri, struct err *e);
void ad_server_forget(struct ad_server *v);
/* Its highestCommittedUSN at this moment. */
enum follow ad_server_usn(struct ad *x, uint64_t *usn, struct err *e);

/* ---- ad_account.c ---- */

/* When does the password of the account expire that we read with? 0: never, or it is not told. */
enum follow ad_account_password_ends(struct ad *x, int64_t *wall_ms, struct err *e);

/* ---- ad_read.c ---- */

/* A list of objectGUIDs. */
struct ad_guids {
    unsigned char *v;
    size_t n, cap;
};
void ad_guids_add(struct ad_guids *g, const unsigned char *guid);
void ad_guids_free(struct ad_guids *g);

/* For entries with all that we ask for: gives them to the replica. What is incomplete because a
 * value list comes in ranges is remembered, for ad_read_ranged(). */
ad_entry_fn ad_take_whole;
/* For entries of which only objectGUID counts: notes them in x->changed, containers in
 * x->containers, too. What isDeleted goes from the replica at once. */
ad_entry_fn ad_take_changed;
/* Reads what x->changed and x->containers name, and empties them. What is not found, is gone. */
enum follow ad_read_changed(struct ad *x, struct err *e);
enum follow ad_read_ranged(struct ad *x, struct err *e);

/* ---- ad_dirsync.c, ad_usn.c ---- */

/* All of it, within a refresh of the replica. `usn`: the server's highest before that. */
enum follow ad_dirsync_full(struct ad *x, uint64_t usn, struct err *e);
enum follow ad_usn_full(struct ad *x, struct err *e);
/* What changed since x->dirsync or x->usn, committed piece by piece. FOLLOW_RELOAD: the cookie is
 * refused. */
enum follow ad_dirsync_changes(struct ad *x, struct err *e);
enum follow ad_usn_changes(struct ad *x, uint64_t now, struct err *e);

/* ---- active_directory.c ---- */

struct ad {
    struct source *s;
    const struct conf_source *c;
    struct map *map;
    char **whole; /* attributes of an entry, and objectGUID */
    char **watch; /* whose change makes an object worth reading */

    const char *uri;
    LDAP *ld;
    struct ad_search *under_way[AD_SEARCHES_MAX];
    struct ad_server server;
    int64_t password_ends_ms; /* wall clock; 0: never, or not told */

    enum ad_method method;
    bool may_dirsync;   /* not refused in this session */
    uint32_t flags;     /* of the DirSync control */
    struct buf dirsync; /* the server's cookie; empty: none */
    uint64_t usn;       /* the server's changes up to this one are known; 0: not so */
    int64_t again_ms;   /* as in struct ad_cookie */
    int64_t kept_ms;    /* monotonic: when a cookie was committed */
    int64_t anew_ms;    /* monotonic: when everything was read, or the source began */
    unsigned reloads;   /* in this session */

    struct ad_guids changed, containers, ranged; /* to be read */
    struct ad_guids noticed;                     /* named by notifications */

    struct ad_search notify;
    int64_t looked_ms, look_took_ms; /* when the last look for changes ended */
};

/* Commits what has gathered, with the present cookie. */
enum follow ad_commit(struct ad *x, struct err *e);

#endif
