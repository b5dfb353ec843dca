/*
 * ops.c - the client on the real spool and resolver. In a file of its own, so that unit tests of
 * the client need neither.
 */
#include "relay/smtpc/smtpc_int.h"

static const struct smtpc_ops ops_real = {
    .reader_open = spool_reader_open,
    .reader_size = spool_reader_size,
    .reader_read = spool_reader_read,
    .reader_close = spool_reader_close,
    .mx = resolve_mx,
    .host = resolve_host,
    .resolve_cancel = resolve_cancel,
};

struct smtpc *smtpc_new(struct loop *l, struct conf *conf, struct resolver *r, struct spool *spool)
{
    return smtpc_new_with(l, conf, r, spool, &ops_real);
}
