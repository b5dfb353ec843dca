/*
 * orphans.c - the end of recovery: files in large/ that no living message names go.
 */
#include "relay/spool/recover.h"

#include <dirent.h>

void orphans_remove(struct recovery *k)
{
    struct spool *s = k->s;
    char path[PATH_MAX];
    uint64_t id;
    DIR *d = opendir(spool_path(s, path, "large", ""));
    if (d == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (!spool_id_parse(str_c(entry->d_name), &id) || id_epoch(id) >= s->epoch)
            continue;
        spool_lock(s);
        bool lives = table_find(&s->table, id) != NULL;
        spool_unlock(s);
        if (!lives)
            s->ops->unlink(spool_large_path(s, path, id));
    }
    closedir(d);
}
