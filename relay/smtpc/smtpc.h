/*
 * smtpc.h - the outbound SMTP client: a transport for the queue (relay/mail/delivery.h).
 *
 * Names, as in the field: a *destination* is what a delivery is for (forest, route, MX domain); it
 * has *hosts* (configured with cost, or by MX) and hosts have *endpoints* (addresses). A *session*
 * is one connection; idle ones are kept in the destination's *pool*. Sessions pipeline (RFC 2920):
 * the next message's MAIL goes out behind the last content. Costs: lowest first, round robin among
 * equals, fail over on connect failure or any greeting but 220; a failed endpoint rests a while. A
 * host that says nothing does not keep the mail from the next one (pending.c).
 *
 * Choices where the documents leave one
 * - A host that refuses to talk (also with 5xx) says nothing about the mail: next host, else later.
 * - 8-bit text is not sent to a host without 8BITMIME and not converted (it may be signed): 554
 *   5.6.3, RFC 6152 3. A message above the host's SIZE: 552 5.3.4.
 * - "452 4.5.3 too many recipients" after accepted ones: the rest goes at once, as OUTCOME_REROUTE.
 * - ORCPT is passed as received; when the address differs from the sender's and there was none, it
 *   is made from the sender's.
 * - An MX domain whose best host is this relay: 554 5.4.6; hosts not better than this relay are
 *   never used.
 */
#ifndef RELAY_SMTPC_SMTPC_H
#define RELAY_SMTPC_SMTPC_H

#include "conf/conf.h"
#include "relay/io/loop.h"
#include "relay/io/resolver.h"
#include "relay/mail/delivery.h"
#include "relay/spool/spool.h"

struct smtpc;

/* One per worker. conf may be replaced by smtpc_reconfigure(): what a host may have taken already
 * is finished there, everything else goes to the hosts of the new one. */
struct smtpc *smtpc_new(struct loop *l, struct conf *conf, struct resolver *r, struct spool *spool);
void smtpc_reconfigure(struct smtpc *c, struct conf *conf);
void smtpc_free(struct smtpc **c);
struct transport smtpc_transport(struct smtpc *c);
/* QUITs idle sessions; used at shutdown. */
void smtpc_close_idle(struct smtpc *c);

struct smtpc_dest_info {
    char dest[280];
    unsigned sessions, idle, pending;
    char hosts[400]; /* "host[ip]:port cost state, ..." */
};
typedef void smtpc_dest_fn(void *arg, const struct smtpc_dest_info *d);
void smtpc_list_dests(struct smtpc *c, smtpc_dest_fn *fn, void *arg);

#endif
