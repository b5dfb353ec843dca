/*
 * orphans.c - the end of recovery: files in large/ of earlier processes that no living message
 * names go.
 *
 * Only where all of the log was seen. A record that could not be read, that is damaged or that lies
 * in a segment which was set aside may name one of them, at the next start or for a person who
 * mends it. So as long as quarantine/ holds a part of the log all of them stay, and one line says
 * so.
 */
#include "relay/spool/recover.h"

#include <dirent.h>
#include <string.h>

#include "base/log.h"

/* Why a file that nobody names may yet be wanted; NULL: it is not. */
static const char *why_kept(struct recovery *k)
{
    char path[PATH_MAX];
    const char *why = NULL;
    if (k->unsure)
        return "the log could not be read or synced in full";
    DIR *d = opendir(spool_path(k->s, path, "quarantine", ""));
    if (d == NULL)
        return "quarantine/ cannot be read";
    for (struct dirent *entry; why == NULL && (entry = readdir(d)) != NULL;)
        if (strncmp(entry->d_name, "log-", 4) == 0 || strncmp(entry->d_name, "segment-", 8) == 0)
            why = "quarantine/ holds a part of the log (log-*, segment-*) that may name them";
    closedir(d);
    return why;
}

static bool is_orphan(struct spool *s, const char *name)
{
    uint64_t id;
    if (!spool_id_parse(str_c(name), &id) || id_epoch(id) >= s->epoch)
        return false;
    spool_lock(s);
    bool named = table_find(&s->table, id) != NULL;
    for (size_t i = 0; i < s->n_gone && !named; i++) /* ended, and its mark is not synced yet */
        named = s->gone[i] == id;
    spool_unlock(s);
    return !named;
}

void orphans_remove(struct recovery *k)
{
    struct spool *s = k->s;
    char path[PATH_MAX];
    const char *why = why_kept(k);
    uint64_t kept = 0;
    DIR *d = opendir(spool_path(s, path, "large", ""));
    if (d == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (!is_orphan(s, entry->d_name))
            continue;
        if (why == NULL)
            s->ops->unlink(spool_path(s, path, "large", entry->d_name));
        else
            kept++;
    }
    closedir(d);
    if (kept != 0)
        LOG(WARN, NULL, "spool-large-kept", LU("files", kept), LC("reason", why));
}
