/*
 * csv_map_int.h - inside the mapper of CSV: what the header decided about each column
 * (csv_column.c), and what is then done with the cells (csv_map.c).
 */
#ifndef DIRECTORY_CSV_MAP_INT_H
#define DIRECTORY_CSV_MAP_INT_H

#include "directory/file/csv_map.h"

/* How a cell becomes values. */
enum how {
    HOW_IGNORED,
    HOW_TEXT,
    HOW_ADDRESSES, /* several */
    HOW_LIST,      /* several words */
    HOW_TYPE,      /* a word of Exchange, or its number */
    HOW_KIND,      /* one of our words */
    HOW_TARGET,
    HOW_BOOL,
    HOW_DN
};

struct column {
    char *title; /* as in the header */
    char *name;  /* of the attribute, for the mapper */
    enum how how;
};

struct csv_map {
    const struct conf_source *c;
    struct map *map;
    bool by_address;
    unsigned n;
    struct column *column;
    int key; /* the column that tells rows apart; -1: the primary address */
};

#endif
