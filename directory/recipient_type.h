/*
 * recipient_type.h - the words of msExchRecipientTypeDetails, as Exchange's commands and exports
 * say them. An entry keeps the number of the bit: 1 + log2, 0 = not said or not one bit.
 */
#ifndef DIRECTORY_RECIPIENT_TYPE_H
#define DIRECTORY_RECIPIENT_TYPE_H

#include <stdint.h>

#include "base/str.h"

/* "UserMailbox", ...; "" for 0, "other" for one without a word. */
const char *recipient_type_text(uint8_t type);
/* The value with its one bit; 0 if it is no such word. Without case. */
uint64_t recipient_type_value(struct str word);

#endif
