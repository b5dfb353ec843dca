/*
 * err.h - why the environment failed.
 *
 * Expected outcomes are enums; a function that can fail because of the environment (system call,
 * file, peer, configuration) returns false (or NULL) and fills a struct err. SMTP outcomes travel
 * as struct smtp_reply (relay/proto/reply.h), never as struct err.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

enum err_class {
    ERR_NONE = 0,
    ERR_SYSTEM,   /* a system call failed; errnum says why */
    ERR_INPUT,    /* bytes from outside do not have the form they must have */
    ERR_CONFIG,   /* the configuration asks for something impossible */
    ERR_PROTOCOL, /* a peer does not speak as agreed */
    ERR_CORRUPT,  /* our own data on disk is damaged */
    ERR_LIMIT,    /* a cap was reached */
    ERR_BUSY,     /* someone else holds it (lock, address in use) */
    ERR_TIMEOUT,
};

struct err {
    enum err_class class;
    int errnum; /* errno, or 0 */
    char
        text[400]; /* one sentence for a person: what, where, and what would be right; no newline */
};

/* Fills `e` (which may be NULL) and returns false, so that `return err_set(...)` reads well.
 * With errnum != 0, ": " and strerror(errnum) are appended. */
bool err_set(struct err *e, enum err_class class, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Puts "prefix: " before the text that `e` holds; returns false. */
bool err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

void err_clear(struct err *e);

#endif
