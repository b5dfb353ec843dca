/*
 * suggest.c - what an admin may have meant by a word that is not known: the nearest option of the
 * section, or the section in which an option of that name is.
 *
 * Pure.
 */
#include "conf/load.h"

#include <stdio.h>

#define WORD_MAX 40

/* How many letters must be added, dropped or changed, or neighbours swapped, to make a into b. */
static unsigned distance(struct str a, struct str b)
{
    unsigned row[3][WORD_MAX + 1];
    if (a.n > WORD_MAX || b.n > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= b.n; j++)
        row[0][j] = (unsigned)j;
    for (size_t i = 1; i <= a.n; i++) {
        unsigned *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= b.n; j++) {
            char x = ascii_lower(a.p[i - 1]), y = ascii_lower(b.p[j - 1]);
            /* "connections-max" for connections_max is no error of spelling. */
            x = x == '-' ? '_' : x;
            unsigned d = last[j - 1] + (x != y);
            d = last[j] + 1 < d ? last[j] + 1 : d;
            d = now[j - 1] + 1 < d ? now[j - 1] + 1 : d;
            if (i > 1 && j > 1 && x == b.p[j - 2] && ascii_lower(a.p[i - 2]) == y &&
                before[j - 2] + 1 < d)
                d = before[j - 2] + 1;
            now[j] = d;
        }
    }
    return row[a.n % 3][b.n];
}

static void nearer(struct str word, const char *candidate, const char **best, unsigned *best_d)
{
    unsigned d = distance(word, str_c(candidate));
    if (d < *best_d) {
        *best = candidate;
        *best_d = d;
    }
}

void conf_suggest(enum conf_section_id s, const char *word, char *dst, size_t cap)
{
    struct str w = str_c(word);
    const char *best = NULL;
    unsigned best_d = w.n < 4 ? 2 : w.n < 9 ? 3 : 4;

    for (unsigned i = 0; i < conf_option_count; i++)
        if (conf_option[i].section == s)
            nearer(w, conf_option[i].name, &best, &best_d);
    for (unsigned i = 0; i < CONF_S_COUNT; i++)
        if (conf_section_is_in((enum conf_section_id)i, s))
            nearer(w, conf_section[i].word, &best, &best_d);
    if (best != NULL) {
        snprintf(dst, cap, "did you mean \"%s\"?", best);
        return;
    }

    for (unsigned i = 0; i < conf_option_count; i++)
        if (strcmp(conf_option[i].name, word) == 0) {
            enum conf_section_id in = conf_option[i].section;
            if (in == CONF_S_top)
                snprintf(dst, cap, "\"%s\" belongs at the top level, outside all sections", word);
            else
                snprintf(dst, cap, "\"%s\" belongs in a %s section", word, conf_section[in].word);
            return;
        }
    snprintf(dst, cap, "causeway.conf(5) lists all options");
}
