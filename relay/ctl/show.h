/*
 * show.h - answers of the daemon as text for people, or as one JSON value for programs.
 */
#ifndef RELAY_CTL_SHOW_H
#define RELAY_CTL_SHOW_H

#include <jansson.h>

#include "relay/control/commands.h"
#include "relay/ctl/grid.h"

struct show {
    enum control_command command;
    bool json;
    int64_t now_ms; /* wall */
    struct grid grid;
    uint64_t items;
};

/* width: of the terminal, 0 = not a terminal. */
void show_init(struct show *s, enum control_command c, bool json, unsigned width, int64_t now_ms);
void show_free(struct show *s);
/* Appends what can be printed already. */
void show_item(struct show *s, json_t *item, struct buf *out);
/* The end. Returns the exit code: 1 if not all that was asked for was done. */
int show_result(struct show *s, json_t *result, struct buf *out);
/* The end of a request that was refused: items that came before. */
void show_refused(struct show *s, struct buf *out);

/* ---- show_doctor.c ---- */

/* One finding, for people. */
void show_finding(json_t *finding, struct buf *out);
/* The end of the list; both return the exit code: 1 if there is something to mend. */
int show_doctor_end(json_t *result, struct buf *out);
int show_doctor_code(json_t *result);

#endif
