/*
 * dot.h - transparency of DATA, RFC 5321 4.5.2, exact at every buffer edge. Pure.
 *
 * In: only CRLF.CRLF ends the data (or .CRLF as the very first line). Bare CR and bare LF are seen
 * and counted; the content up to the true end is still consumed.
 */
#ifndef RELAY_PROTO_DOT_H
#define RELAY_PROTO_DOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dot_decoder {
    unsigned char state;
    bool normalise; /* option: bare LF and bare CR become CRLF instead of being refused */
    bool bare_lf, bare_cr;
    bool nul, eightbit; /* seen */
    uint64_t bytes;     /* content bytes put out */
    unsigned received;  /* "Received:" fields in the header part */
    unsigned line_pos;  /* private: of the header scan */
    bool in_header;
    size_t longest_line;
    size_t line_len;
};
void dot_decoder_init(struct dot_decoder *d, bool normalise);
/* Decodes in[0..n) into out (at least 2 * n + 2 octets with normalise, n + 2 without; out may not
 * overlap in). *used: input consumed, *made: output written. Returns true when the end was reached;
 * what follows in[*used..) is the next command. */
bool dot_decode(struct dot_decoder *d, const char *in, size_t n, char *out, size_t *used,
                size_t *made);

/* Out: doubles leading dots. State over calls: at the start of a line? */
struct dot_encoder {
    unsigned char state; /* private */
};
void dot_encoder_init(struct dot_encoder *d);
/* out: at least 2 * n octets. Returns octets written. */
size_t dot_encode(struct dot_encoder *d, const char *in, size_t n, char *out);
/* The end: ".CRLF", with CRLF before it if the content did not end with one. Returns octets (3 or
 * 5). */
size_t dot_encode_end(struct dot_encoder *d, char out[5]);

#endif
