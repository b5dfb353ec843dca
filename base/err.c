/*
 * err.c - filling struct err. Owns nothing; any thread; cannot fail. The text is kept to one line
 * whatever went into it, because it ends up in logs and on terminals.
 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void one_line(char *text)
{
    for (char *p = text; *p != '\0'; p++) {
        unsigned char c = (unsigned char)*p;
        if (c < 0x20 || c == 0x7f)
            *p = ' ';
    }
}

/* Appends z to the text, as much as fits. */
static void add(char *text, size_t cap, const char *z)
{
    size_t have = strlen(text), n = strlen(z);
    if (n > cap - 1 - have)
        n = cap - 1 - have;
    memcpy(text + have, z, n);
    text[have + n] = '\0';
}

bool err_set(struct err *e, enum err_class class, int errnum, const char *fmt, ...)
{
    if (e == NULL)
        return false;
    /* The arguments may point into e->text, so the text is made elsewhere first. */
    char text[sizeof(e->text)];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0)
        text[0] = '\0';
    if (errnum != 0) {
        add(text, sizeof(text), ": ");
        add(text, sizeof(text), strerror(errnum));
    }
    one_line(text);
    e->class = class;
    e->errnum = errnum;
    memcpy(e->text, text, sizeof(text));
    return false;
}

bool err_wrap(struct err *e, const char *fmt, ...)
{
    if (e == NULL)
        return false;
    char text[sizeof(e->text)];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n < 0)
        text[0] = '\0';
    add(text, sizeof(text), ": ");
    add(text, sizeof(text), e->text);
    one_line(text);
    memcpy(e->text, text, sizeof(text));
    return false;
}

void err_clear(struct err *e)
{
    if (e == NULL)
        return;
    e->class = ERR_NONE;
    e->errnum = 0;
    e->text[0] = '\0';
}
