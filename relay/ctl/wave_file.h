/*
 * wave_file.h - a CSV file of addresses to move: `address` or `address,forest` on each line.
 * Commas, semicolons or tabs separate; fields may be in double quotes; a first line "address" or
 * "address,forest" is a heading; empty lines and lines that begin with # are nothing.
 */
#ifndef RELAY_CTL_WAVE_FILE_H
#define RELAY_CTL_WAVE_FILE_H

#include <jansson.h>

#include "base/err.h"
#include "base/str.h"

/* Adds what the file ("-": standard input) says to the array `out`. False: *e names the line, what
 * is wrong with it and what would be right. */
bool wave_file_read(const char *path, json_t *out, struct err *e);
/* The same of its text. */
bool wave_file_parse(struct str text, json_t *out, struct err *e);

#endif
