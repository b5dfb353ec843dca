/*
 * directory_model.c - see directory_model.h.
 */
#include "tests/unit/directory_model.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/assert.h"

const char *model_folder(void)
{
    static char path[4][256];
    static unsigned turn;
    const char *tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : getenv("TMPDIR");
    char *p = path[turn++ % 4];
    snprintf(p, sizeof(path[0]), "%s/cw-directory-XXXXXX", tmp != NULL ? tmp : "/tmp");
    ASSERT(mkdtemp(p) != NULL);
    return p;
}

void model_remove_folder(const char *folder)
{
    char path[600];
    struct dirent *f;
    DIR *d = opendir(folder);
    while (d != NULL && (f = readdir(d)) != NULL) {
        snprintf(path, sizeof(path), "%s/%s", folder, f->d_name);
        if (f->d_name[0] != '.')
            unlink(path);
    }
    if (d != NULL)
        closedir(d);
    rmdir(folder);
}

void model_uuid(unsigned id, unsigned char *uuid)
{
    memset(uuid, 0, DIR_UUID_SIZE);
    uuid[0] = (unsigned char)(id >> 24);
    uuid[1] = (unsigned char)(id >> 16);
    uuid[2] = (unsigned char)(id >> 8);
    uuid[3] = (unsigned char)id;
}

static bool option(struct str word, const char *name, struct str *value)
{
    size_t n = strlen(name);
    if (!str_starts(word, str_c(name)))
        return false;
    *value = str_from(word, n);
    return true;
}

static unsigned number(struct str s)
{
    uint64_t n = 0;
    ASSERT(str_to_u64(s, UINT32_MAX, &n));
    return (unsigned)n;
}

static bool text_option(struct str word, struct dir_entry *e)
{
    return option(word, "flag=", &e->flag) || option(word, "alias=", &e->alias) ||
           option(word, "dn=", &e->dn) || option(word, "given=", &e->name[DIR_NAME_GIVEN]) ||
           option(word, "surname=", &e->name[DIR_NAME_SURNAME]) ||
           option(word, "initials=", &e->name[DIR_NAME_INITIALS]) ||
           option(word, "display=", &e->name[DIR_NAME_DISPLAY]);
}

static bool key_option(struct str word, struct dir_entry *e)
{
    struct str value;
    enum dir_key_type type = option(word, "x500=", &value)     ? DIR_KEY_X500
                             : option(word, "legacy=", &value) ? DIR_KEY_LEGACY_DN
                             : option(word, "key=", &value)    ? DIR_KEY_CUSTOM
                                                               : DIR_KEY_UUID;
    if (type != DIR_KEY_UUID)
        e->other[e->n_other++] = (struct dir_other_key){type, value};
    return type != DIR_KEY_UUID;
}

static struct dir_address halves(struct str s)
{
    long at = str_rfind(s, '@');
    ASSERT(at > 0);
    return (struct dir_address){str_upto(s, (size_t)at), str_from(s, (size_t)at + 1)};
}

struct dir_entry *model_entry(unsigned id, const char *text)
{
    static struct slot {
        char text[4000];
        struct dir_entry_room room;
        struct dir_entry e;
    } slots[4];
    static unsigned turn;
    struct slot *s = &slots[turn++ % 4];
    s->e = (struct dir_entry){.address = s->room.address, .other = s->room.other};
    snprintf(s->text, sizeof(s->text), "%s", text);
    model_uuid(id, s->e.uuid);
    struct str rest = str_c(s->text), value;
    struct str kind = str_split(&rest, ' ');
    s->e.kind = str_eq(kind, STR("mailbox"))    ? DIR_MAILBOX
                : str_eq(kind, STR("mailuser")) ? DIR_MAIL_USER
                : str_eq(kind, STR("contact"))  ? DIR_CONTACT
                                                : DIR_GROUP;
    while (rest.n != 0) {
        struct str word = str_split(&rest, ' ');
        if (text_option(word, &s->e) || key_option(word, &s->e))
            continue;
        if (option(word, "routing=", &value))
            s->e.routing = halves(value);
        else if (option(word, "target=", &value))
            s->e.target = halves(value);
        else if (option(word, "type=", &value))
            s->e.recipient_type = (uint8_t)number(value);
        else if (option(word, "vanished=", &value))
            s->e.vanished_ms = number(value);
        else if (str_eq(word, STR("auth")))
            s->e.require_auth = true;
        else if (str_eq(word, STR("mdb")))
            s->e.evidence = DIR_EVIDENCE_HOME_MDB;
        else
            s->room.address[s->e.n_address++] = halves(word);
    }
    if (s->e.target.local.n != 0 && s->e.kind == DIR_MAIL_USER)
        s->e.evidence = DIR_EVIDENCE_TARGET;
    return &s->e;
}

static void put(struct buf *out, const char *name, const struct dir_address *a)
{
    if (a->local.n != 0)
        buf_printf(out, " %s%.*s@%.*s", name, STR_ARG(a->local), STR_ARG(a->domain));
}

void model_describe(const struct dir_entry *e, struct buf *out)
{
    static const char *const evidence[] = {"source", "homeMDB", "homeServer", "type",
                                           "target", "class",   "override"};
    buf_printf(out, "%s %s", dir_kind_text(e->kind), evidence[e->evidence]);
    for (unsigned i = 0; i < e->n_address; i++)
        put(out, "", &e->address[i]);
    put(out, "routing=", &e->routing);
    put(out, "target=", &e->target);
    if (e->alias.n != 0)
        buf_printf(out, " alias=%.*s", STR_ARG(e->alias));
    if (e->flag.n != 0)
        buf_printf(out, " flag=%.*s", STR_ARG(e->flag));
    for (unsigned i = 0; i < e->n_other; i++)
        buf_printf(out, " %d:%.*s", (int)e->other[i].type, STR_ARG(e->other[i].key));
    for (unsigned i = 0; i < DIR_NAME_COUNT; i++)
        if (e->name[i].n != 0)
            buf_printf(out, " name%u=%.*s", i, STR_ARG(e->name[i]));
    if (e->recipient_type != 0)
        buf_printf(out, " type=%d", e->recipient_type);
    if (e->require_auth)
        buf_printf(out, " auth");
    if (e->dn.n != 0)
        buf_printf(out, " dn=%.*s", STR_ARG(e->dn));
}
