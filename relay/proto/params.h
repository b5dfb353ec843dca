/*
 * params.h - the values of MAIL and RCPT parameters. RFC 6152, RFC 3461 4.
 */
#ifndef RELAY_PROTO_PARAMS_H
#define RELAY_PROTO_PARAMS_H

enum mail_body {
    MAIL_BODY_7BIT,
    MAIL_BODY_8BITMIME,
    MAIL_BODY_BINARYMIME
};
enum mail_ret {
    MAIL_RET_UNSET,
    MAIL_RET_FULL,
    MAIL_RET_HDRS
};
/* NOTIFY, RFC 3461 4.1; bits. 0 = not given: failure and (as we choose) delay. */
enum {
    MAIL_NOTIFY_NEVER = 1,
    MAIL_NOTIFY_SUCCESS = 2,
    MAIL_NOTIFY_FAILURE = 4,
    MAIL_NOTIFY_DELAY = 8,
};

#endif
