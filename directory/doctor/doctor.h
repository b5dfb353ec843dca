/*
 * doctor.h - looking for what is wrong in the directories: who has a mailbox in two forests or in
 * none, whose target address leads nowhere, and so on. doctor.def has the checks, each once.
 *
 * One pass over everything that a view holds: first the sources themselves, then the overrides,
 * then every entry of every source with what its other forests say about the same recipient. What
 * is found goes out at once, finding by finding; nothing is collected, so memory does not grow with
 * the directory. The pass is made in steps, so that its thread can do other things between them and
 * the receiver sets the pace. Pure reading: any thread, one at a time; holds its view.
 */
#ifndef DIRECTORY_DOCTOR_H
#define DIRECTORY_DOCTOR_H

#include "base/buf.h"
#include "directory/directory.h"
#include "directory/view.h"

enum doctor_check {
#define CHECK(id, name, severity, title, explanation, mend) DOCTOR_##id,
#include "directory/doctor/doctor.def"
#undef CHECK
    DOCTOR_CHECKS
};
enum doctor_severity {
    DOCTOR_FAULT,
    DOCTOR_WARNING,
    DOCTOR_NOTE
};

/* ---- the table as data (doctor_table.c; also for causewayctl) ---- */

struct doctor_check_info {
    const char *name;
    enum doctor_severity severity;
    const char *title, *explanation, *mend;
};
extern const struct doctor_check_info doctor_check_info[DOCTOR_CHECKS];
/* The check of this name, or -1. */
int doctor_check_find(struct str name);
const char *doctor_severity_text(enum doctor_severity s);

/* ---- findings ---- */

/* By what means a mend is done. */
enum doctor_means {
    DOCTOR_BY_CAUSEWAYCTL,   /* a command for the relay's host */
    DOCTOR_BY_LDIF,          /* a change record for ldapmodify, at the source's server */
    DOCTOR_BY_EXCHANGE,      /* a command for the Exchange Management Shell of that forest */
    DOCTOR_BY_CONFIGURATION, /* for causeway.conf */
    DOCTOR_BY_HAND           /* in words: what a person has to find out or decide */
};
const char *doctor_means_text(enum doctor_means m);

#define DOCTOR_EVIDENCE_MAX 12
#define DOCTOR_MENDS_MAX    6

struct doctor_mend {
    enum doctor_means means;
    const char *source; /* for LDIF and Exchange: whose object; else "" */
    struct str text;    /* to be used as it is: UTF-8 without controls but LF */
};
/* Slices live while the function is called that is given the finding. Those of the first group may
 * hold any octets; text and evidence are escaped already. */
struct doctor_finding {
    enum doctor_check check;
    struct str address; /* the recipient's; empty: not about a recipient */
    struct str object;  /* DN, or UUID where there is none; empty: not about an object */
    const char *source; /* whose object; "" */

    struct str text; /* what is wrong, in one sentence */
    unsigned n_evidence;
    struct str evidence[DOCTOR_EVIDENCE_MAX];
    unsigned n_mends;
    struct doctor_mend mend[DOCTOR_MENDS_MAX]; /* alternatives, the most exact first */
};
/* False: no more of this step. */
typedef bool doctor_found_fn(void *arg, const struct doctor_finding *f);

/* ---- a pass ---- */

/* Is the hosting forest of this recipient told another address than this one? Asked where the
 * entries offer none: a routing template may make one (relay/route). */
typedef bool doctor_readdress_fn(const struct dir_view *v, struct str key, int64_t now_ms);

struct doctor_options {
    uint64_t checks;             /* bit 1 << check; 0 = all */
    const char *source, *domain; /* only objects of this source, recipients of this domain; "" =
                                    all */
    int64_t now_ms, wall_ms;     /* monotonic, wall */
    unsigned n_status;
    const struct dir_source_status *status; /* borrowed for as long as the pass lives */
    doctor_readdress_fn *is_readdressed;    /* NULL: never */
};

struct doctor;

/* Takes its own reference to v. `source` and `domain` have been checked by the caller. */
struct doctor *doctor_new(struct dir_view *v, const struct doctor_options *o);
void doctor_free(struct doctor **d);
/* Looks at so many more entries at most. False: everything was looked at. */
bool doctor_step(struct doctor *d, unsigned entries, doctor_found_fn *fn, void *arg);
uint64_t doctor_entries(const struct doctor *d); /* looked at so far */

#endif
