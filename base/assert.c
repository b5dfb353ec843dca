/*
 * assert.c - the end of the process after a bug. The message is one write(2) to standard error: the
 * heap and stdio may be what is broken. The spool is crash-proof, so aborting loses no mail.
 */
#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

_Noreturn void assert_failed(const char *cond, const char *file, int line, const char *func)
{
    char text[512];
    int n =
        snprintf(text, sizeof(text), "%s:%d: %s: assertion failed: %s\n", file, line, func, cond);
    if (n > 0) {
        size_t len = (size_t)n < sizeof(text) ? (size_t)n : sizeof(text) - 1;
        ssize_t ignored = write(STDERR_FILENO, text, len);
        (void)ignored;
    }
    abort();
}
