/*
 * shared.c - the decision for a recipient in a domain whose people live in several forests: to the
 * forest that hosts the entry; or refused, forwarded once, or put off, if the directory has none.
 *
 * Pure, as route.c is. Only a directory that is complete and fresh refuses for good.
 */
#include "relay/route/route_int.h"

#include <stdio.h>

#include "base/escape.h"

/* ---- not found ---- */

static void decide_unknown(struct route_work *w, const struct conf_domain *d)
{
    if (d->unknown == CONF_UNKNOWN_REFUSE) {
        route_refuse(w, "unknown-refuse", 550, "5.1.1", "no such recipient here");
        return;
    }
    const struct conf_forest *f = &w->q->conf->forest[d->forest_index];
    route_say(w, "%s forwards unknown recipients to forest \"%s\"", d->name, f->name);
    if (route_came_from(w, d->forest_index)) {
        route_say(w, "the mail came from there: the recipient is unknown on both sides");
        route_refuse(w, "unknown-forward", 550, "5.1.1",
                     "no such recipient, neither here nor in the forest that the mail came from");
        return;
    }
    route_deliver(w, "unknown-forward", DEST_FOREST, str_c(f->name));
}

static void put_off_incomplete(struct route_work *w, const char *what, const struct dir_result *r)
{
    char source[80];
    struct buf why = BUF_INIT(600);
    escape_cstr(str_c(r->stale_source), source, sizeof(source));
    buf_printf(&why, "%s: directory %s%s%s", what, source[0] ? source : "incomplete",
               r->why != NULL ? ": " : "", r->why != NULL ? r->why : "");
    route_refuse(w, "directory-incomplete", 451, "4.3.0", buf_cstr(&why));
    buf_free(&why);
}

static void put_off_loop(struct route_work *w, const struct conf_forest *f,
                         const struct dir_result *r)
{
    char what[200];
    route_say(w, "the mail came from forest \"%s\" and is not sent back there", f->name);
    snprintf(what, sizeof(what), "it came from forest %s, which may not host this recipient now",
             f->name);
    put_off_incomplete(w, what, r);
}

static const char *found_rule(const struct dir_result *r)
{
    if (r->best->kind == DIR_OVERRIDE)
        return "override";
    return r->found == DIR_CONFLICT ? "conflict" : "directory";
}

/* The forest that hosts it has refused it as unknown, and another one's directory shows the
 * mailbox: that one is right, or nobody. True: decided. */
static bool decide_other_claimant(struct route_work *w, const struct dir_result *r)
{
    const struct dir_claim *c = NULL;
    if (w->q->refused_by.n == 0 || !str_eq_nocase(w->q->refused_by, r->best->forest))
        return false;
    int i = route_other_claimant(w, r, w->q->refused_by, &c);
    if (i == CONF_NONE)
        return false;
    const struct conf_forest *f = &w->q->conf->forest[i];
    route_address(w, f, r, str_eq_nocase(c->forest, str_c(f->name)) ? c->routing : STR_NULL);
    route_deliver(w, "other-claimant", DEST_FOREST, str_c(f->name));
    return true;
}

static void say_other_claimant(struct route_work *w, const struct dir_result *r)
{
    const struct dir_claim *c = NULL;
    int i = w->trace != NULL && w->q->conf->retry_other_claimant
                ? route_other_claimant(w, r, r->best->forest, &c)
                : CONF_NONE;
    if (i != CONF_NONE)
        route_say(w,
                  "if forest \"%.*s\" refuses it as unknown, forest \"%s\", whose directory shows "
                  "it too, is tried once",
                  STR_ARG(r->best->forest), w->q->conf->forest[i].name);
}

static void decide_found(struct route_work *w, struct dir_result *r)
{
    int i = conf_find_forest(w->q->conf, r->best->forest);
    route_say(w, "decided by: %s", r->why != NULL ? r->why : "the directory");
    if (r->found == DIR_CONFLICT)
        route_say(w,
                  "the directories contradict each other: %s; the source with the best priority "
                  "is believed",
                  r->conflict != NULL ? r->conflict : "several forests claim it");
    if (i == CONF_NONE) {
        route_refuse(w, "forest-unknown", 451, "4.3.5",
                     "the directory names a forest that is not configured here");
        return;
    }
    const struct conf_forest *f = &w->q->conf->forest[i];
    if (route_came_from(w, i)) {
        if (r->best->kind == DIR_OVERRIDE ||
            dir_view_is_current(w->q->view, w->key, w->q->now_ms, r))
            route_refuse_loop(w, f, r);
        else
            put_off_loop(w, f, r);
        return;
    }
    if (w->at_rcpt && w->q->origin == MAIL_FROM_INTERNET && route_wants_auth(w, r)) {
        route_refuse(w, "auth-required", 550, "5.7.1",
                     "this recipient takes mail from authenticated senders only "
                     "(msExchRequireAuthToSendTo)");
        return;
    }
    w->out->mailbox = route_mailbox(r);
    if (decide_other_claimant(w, r))
        return;
    route_address(w, f, r, r->best->routing);
    route_deliver(w, found_rule(r), DEST_FOREST, str_c(f->name));
    say_other_claimant(w, r);
}

/* ---- old Exchange addresses ---- */

/* A person mends this by giving the right entry the address: the text ends with the very line, and
 * begins short to leave it room. */
static void refuse_old(struct route_work *w, const char *rule, const char *enhanced,
                       const char *text)
{
    char old[400];
    escape_cstr(w->q->recipient, w->shown, 48);
    escape_cstr(w->old, old, sizeof(old));
    struct buf why = BUF_INIT(SMTP_REPLY_TEXT_MAX);
    buf_printf(&why, "%s X500:%s", text, old);
    route_refuse(w, rule, 550, enhanced, buf_cstr(&why));
    buf_free(&why);
}

static void decide_unknown_old(struct route_work *w, const struct conf_domain *d)
{
    if (d->unknown == CONF_UNKNOWN_REFUSE)
        refuse_old(w, "old-address-unknown", "5.1.1",
                   "this old Exchange address belongs to nobody; to mend that, give the recipient "
                   "the proxy address");
    else
        decide_unknown(w, d); /* that forest may know it */
}

static void refuse_ambiguous_old(struct route_work *w)
{
    w->out->alarm = true;
    refuse_old(w, "old-address-ambiguous", "5.1.4",
               "several recipients have this old Exchange address; take away from all but one of "
               "them");
}

/* ---- the domain ---- */

static void decide_by_entry(struct route_work *w, const struct conf_domain *d, struct dir_result *r)
{
    route_say(w, "%s is a shared domain; the directory, at generation %llu, decides", d->name,
              (unsigned long long)w->out->generation);
    route_find(w, d, r);
    route_say_vanished(w, r);
    switch (r->found) {
    case DIR_FOUND:
    case DIR_CONFLICT:
        decide_found(w, r);
        return;
    case DIR_NOT_FOUND:
        route_say(w, "the directory does not know it: %s",
                  r->why != NULL ? r->why : "no source has it");
        if (w->old.n != 0)
            decide_unknown_old(w, d);
        else
            decide_unknown(w, d);
        return;
    case DIR_NOT_FOUND_YET:
        put_off_incomplete(w, "recipient not known yet", r);
        return;
    case DIR_AMBIGUOUS:
        if (dir_view_is_current(w->q->view, STR_NULL, w->q->now_ms, r))
            refuse_ambiguous_old(w);
        else
            put_off_incomplete(w, "several recipients have this old Exchange address", r);
        return;
    }
}

void route_shared_domain(struct route_work *w, const struct conf_domain *d)
{
    struct dir_result r;
    if (w->trace != NULL)
        w->trace->looked_up = true;
    decide_by_entry(w, d, w->trace != NULL ? &w->trace->entry : &r);
}
