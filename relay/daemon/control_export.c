/*
 * control_export.c - queue.export: one message as .eml, in base64 pieces, at the client's pace.
 *
 * The content comes from the spool on the main thread; a message that is delivered meanwhile stays
 * readable until the reader is closed.
 */
#include "relay/daemon/control_queue.h"

#include "base/base64.h"
#include "base/mem.h"
#include "relay/control/facts.h"

#define PREFIX_MAX (8u << 20) /* the most recipients, with the longest addresses, and more */

struct export
{
    struct control_req *r;
    struct spool_reader *reader;
    uint64_t id, off, sent;
    struct buf piece; /* not yet sent; begins with the envelope's fields */
};

static json_t *base64(struct str s)
{
    struct buf b = BUF_INIT(CONTROL_EXPORT_CHUNK / 3 * 4 + 16);
    base64_append(&b, s);
    json_t *j = json_stringn(b.p, b.n);
    buf_free(&b);
    return j;
}

static void export_free(struct export *x)
{
    spool_reader_close(&x->reader);
    buf_free(&x->piece);
    mem_free(x);
}

/* Tops up the piece from the spool; false on a read error. */
static bool fill(struct export *x, struct err *e)
{
    size_t want = CONTROL_EXPORT_CHUNK, got = 0;
    if (x->piece.n >= want || x->off == spool_reader_size(x->reader))
        return true;
    want -= x->piece.n;
    if (!buf_reserve(&x->piece, want) ||
        !spool_reader_read(x->reader, x->off, x->piece.p + x->piece.n, want, &got, e))
        return false;
    x->piece.n += got;
    x->off += got;
    return got != 0 || err_set(e, ERR_CORRUPT, 0, "the content ends early");
}

static void export_step(void *arg, struct control_req *r)
{
    struct export *x = arg;
    struct err e = {0};
    bool more = true;
    while (more && !control_is_gone(r)) {
        if (!fill(x, &e)) {
            control_error(r, CONTROL_ERR_FAILED, "the message cannot be read: %s", e.text);
            export_free(x);
            return;
        }
        if (x->piece.n == 0)
            break;
        size_t n = x->piece.n < CONTROL_EXPORT_CHUNK ? x->piece.n : CONTROL_EXPORT_CHUNK;
        json_t *item = json_object();
        (void)json_object_set_new(item, "data", base64(str_n(x->piece.p, n)));
        buf_consume(&x->piece, n);
        x->sent += n;
        more = control_item(r, item);
    }
    if (!more) {
        control_wait(r, export_step, x);
        return;
    }
    char id[14];
    json_t *o = json_object();
    (void)json_object_set_new(o, "id", json_string(id));
    (void)json_object_set_new(o, "size", json_integer((json_int_t)x->sent));
    control_reply(r, o);
    export_free(x);
}

static bool begin_with_envelope(struct export *x, struct err *e)
{
    struct arena a;
    struct envelope env;
    arena_init(&a, 4096, 0);
    bool ok = envelope_decode(spool_reader_envelope(x->reader), &a, &env, e);
    if (ok) {
        ok = buf_printf(&x->piece,
                        "Return-Path: <%.*s>\r\nX-Causeway-Recipients:", STR_ARG(env.sender));
        for (uint32_t i = 0; i < env.n_rcpt; i++)
            ok = ok && buf_printf(&x->piece, "%s <%.*s>", i == 0 ? "" : ",\r\n",
                                  STR_ARG(env.rcpt[i].address));
        ok = (ok && buf_append_c(&x->piece, "\r\n")) ||
             err_set(e, ERR_LIMIT, 0, "it has too many recipients");
    }
    arena_free(&a);
    return ok;
}

void control_queue_export(void *ctx, struct control_req *r, const struct control_args *args)
{
    struct daemon *d = ctx;
    struct err e = {0};
    struct export *x = NEW(struct export);
    *x = (struct export){.r = r, .id = args->id[0]};
    buf_init(&x->piece, PREFIX_MAX);
    bool recovering = recovery_is_running(d->recovery);
    x->reader = spool_reader_open(d->spool, x->id, &e);
    if (x->reader != NULL && begin_with_envelope(x, &e)) {
        export_step(x, r);
        return;
    }
    control_not_read(r, x->id, recovering, &e);
    export_free(x);
}
