/*
 * smtpd.h - inbound SMTP: one struct smtpd per worker, one session per connection. RFC 5321, 2920
 * (PIPELINING), 1870 (SIZE), 6152 (8BITMIME), 2034 (ENHANCEDSTATUSCODES), 3461 (DSN).
 *
 * One function ends a transaction (smtpd_transaction_end); it is the only place that forgets MAIL,
 * RCPT and content.
 */
#ifndef RELAY_SMTPD_SMTPD_H
#define RELAY_SMTPD_SMTPD_H

#include "conf/conf.h"
#include "directory/view.h"
#include "relay/io/loop.h"
#include "relay/io/stream.h"
#include "relay/spool/spool.h"

struct smtp_reply;
struct smtpd;

/* What the worker provides. */
struct smtpd_ops {
    void *ctx;
    /* The view to use now; valid until the callback that asked returns. */
    const struct dir_view *(*view)(void *ctx);
    /* The message is durable and was answered with 250; it now belongs to the queue. The envelope
     * is valid during the call. */
    void (*accepted)(void *ctx, uint64_t id, struct str envelope, uint64_t content_size,
                     bool content_8bit);
};

/* What all workers count together: connections in all and per client, and the memory that clients
 * can make us take. Made by the daemon. */
struct smtpd_clients;
/* most: connections, whatever connections_max says, because there are descriptors for no more; 0:
 * no such limit. */
struct smtpd_clients *smtpd_clients_new(unsigned most);
void smtpd_clients_free(struct smtpd_clients **c);

/* conf is referenced, not taken over. */
struct smtpd *smtpd_new(struct loop *l, struct conf *conf, struct spool *spool,
                        struct smtpd_clients *clients, const struct smtpd_ops *ops);
void smtpd_reconfigure(struct smtpd *d, struct conf *conf);
/* Ends the service: no new transaction; idle sessions get 421 and are closed; those in a
 * transaction finish it. */
void smtpd_drain(struct smtpd *d);
/* After smtpd_drain(): ends those in a transaction with 421, too. Only what the spool has in hand
 * is waited for: smtpd_commits(). */
void smtpd_hang_up(struct smtpd *d);
unsigned smtpd_sessions(const struct smtpd *d);
/* Connections that were said goodbye to and wait, at most SMTPD_LINGER_MS, for the client to close:
 * a reply is lost where unread input is met by a reset. */
unsigned smtpd_leaving(const struct smtpd *d);
#define SMTPD_LINGER_MS 2000
/* Cuts what is left. Appends in hand must have been answered: see smtpd_commits(). */
void smtpd_free(struct smtpd **d);
/* Messages handed to the spool and not yet answered by it. */
unsigned smtpd_commits(const struct smtpd *d);

/* Takes over an accepted connection of the listener with that index in conf->listener. */
void smtpd_accept(struct smtpd *d, unsigned listener, int fd, const struct sockaddr_storage *peer);

/* For tests: the same on a stream of any kind. The stream is made with smtpd_stream_events and the
 * session as its argument, then attached. NULL: refused by a limit. */
struct smtpd_session;
extern const struct stream_events smtpd_stream_events;
extern const struct stream_limits smtpd_stream_limits;
struct smtpd_session *smtpd_session_new(struct smtpd *d, unsigned listener,
                                        const struct sockaddr *peer, struct smtp_reply *refusal);
void smtpd_session_attach(struct smtpd_session *s, struct stream *stream);

#endif
