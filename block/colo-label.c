/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * COLO: what a disk is in relation to its last peer's.
 *
 * The file is one JSON object, replaced as a whole: a new file, fsync, rename,
 * fsync of the directory. Only one thread writes at a time; a guest's write
 * that has to wait for it does so in its coroutine.
 *
 * Where there is no room for a new file, the old one is removed: nothing is
 * known then, which is always true. Not so of a merge, which somebody has to
 * know of: the file is overwritten, and where that fails, an empty file stays,
 * which is refused like any other that says nothing.
 */
#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qobject/qdict.h"
#include "qobject/qjson.h"
#include "block/thread-pool.h"
#include "colo-label.h"

#define LABEL_BYTES_MAX 4096

struct ColoLabel {
    char *path;                /* NULL: none */
    CoMutex moving;            /* colo_label_move_alone_co() */

    QemuMutex lock;
    char *session;
    bool is_primary;
    ColoLabelState state;
};

static const char *const state_names[COLO_LABEL__MAX] = {
    [COLO_LABEL_NONE] = "none",
    [COLO_LABEL_PROTECTED] = "protected",
    [COLO_LABEL_ALONE] = "alone",
    [COLO_LABEL_MERGING] = "merging",
};

static bool find_state(const char *name, ColoLabelState *state)
{
    ColoLabelState i;

    for (i = COLO_LABEL_PROTECTED; i < COLO_LABEL__MAX; i++) {
        if (!strcmp(name, state_names[i])) {
            *state = i;
            return true;
        }
    }
    return false;
}

/* ------------------------------------------------------------- the file */

static char *label_json(ColoLabel *l, ColoLabelState state)
{
    g_autoptr(QDict) dict = qdict_new();
    g_autoptr(GString) json = NULL;

    QEMU_LOCK_GUARD(&l->lock);
    qdict_put_int(dict, "version", 1);
    qdict_put_str(dict, "session", l->session);
    qdict_put_str(dict, "role", l->is_primary ? "primary" : "secondary");
    qdict_put_str(dict, "state", state_names[state]);
    json = qobject_to_json(QOBJECT(dict));
    g_string_append_c(json, '\n');
    return g_strdup(json->str);
}

/* A rename is durable when its directory is. */
static int sync_directory(const char *path)
{
    g_autofree char *directory = g_path_get_dirname(path);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int ret = 0;

    if (fd < 0) {
        return -errno;
    }
    if (fsync(fd) < 0) {
        ret = -errno;
    }
    close(fd);
    return ret;
}

static int write_durably(const char *path, const char *text)
{
    size_t size = strlen(text);
    int fd = qemu_create(path, O_WRONLY | O_TRUNC, 0644, NULL);
    int ret = 0;

    if (fd < 0) {
        return -errno;
    }
    if (qemu_write_full(fd, text, size) != size) {
        ret = -errno;
    }
    if (fsync(fd) < 0 && !ret) {
        ret = -errno;
    }
    close(fd);
    return ret;
}

static int replace_file(const char *path, const char *text)
{
    g_autofree char *fresh = g_strdup_printf("%s.new", path);
    int ret = write_durably(fresh, text);

    if (!ret && rename(fresh, path) < 0) {
        ret = -errno;
    }
    if (ret) {
        unlink(fresh);
        return ret;
    }
    return sync_directory(path);
}

static int remove_file(const char *path)
{
    if (unlink(path) < 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    return sync_directory(path);
}

/* @state in place of the present one. Blocks; any thread, one at a time. */
static int save(ColoLabel *l, ColoLabelState state)
{
    g_autofree char *json = NULL;
    int ret;

    if (!l->path) {
        return 0;
    }
    json = label_json(l, state);
    ret = replace_file(l->path, json);
    if (!ret) {
        return 0;
    }
    warn_report("Cannot write state file '%s': %s", l->path, strerror(-ret));
    if (state == COLO_LABEL_MERGING) {
        return write_durably(l->path, json);
    }
    return remove_file(l->path) < 0 ? ret : 0;
}

static int save_alone(void *opaque)
{
    return save(opaque, COLO_LABEL_ALONE);
}

static bool take_label(ColoLabel *l, const char *json, Error **errp)
{
    g_autoptr(QDict) dict = qobject_to(QDict, qobject_from_json(json, NULL));
    const char *session = dict ? qdict_get_try_str(dict, "session") : NULL;
    const char *role = dict ? qdict_get_try_str(dict, "role") : NULL;
    const char *state = dict ? qdict_get_try_str(dict, "state") : NULL;

    if (!session || !role || !state || !find_state(state, &l->state) ||
        qdict_get_try_int(dict, "version", 0) != 1) {
        error_setg(errp, "'%s' is no state file of a replicated disk",
                   l->path);
        error_append_hint(errp, "If the disk is good, or is going to be "
                          "overwritten, remove the file.\n");
        return false;
    }
    l->session = g_strdup(session);
    l->is_primary = !strcmp(role, "primary");
    return true;
}

static bool load(ColoLabel *l, Error **errp)
{
    char json[LABEL_BYTES_MAX];
    int fd = qemu_open(l->path, O_RDONLY, NULL);
    ssize_t size;

    if (fd < 0) {
        if (errno == ENOENT) {
            return true;
        }
        error_setg_errno(errp, errno, "Cannot read state file '%s'", l->path);
        return false;
    }
    size = read(fd, json, sizeof(json) - 1);
    if (size < 0) {
        error_setg_errno(errp, errno, "Cannot read state file '%s'", l->path);
    }
    close(fd);
    if (size < 0) {
        return false;
    }
    json[size] = '\0';
    return take_label(l, json, errp);
}

ColoLabel *colo_label_open(const char *path, Error **errp)
{
    ColoLabel *l = g_new0(ColoLabel, 1);

    l->path = g_strdup(path);
    qemu_co_mutex_init(&l->moving);
    qemu_mutex_init(&l->lock);
    if (path && !load(l, errp)) {
        colo_label_free(l);
        return NULL;
    }
    return l;
}

void colo_label_free(ColoLabel *l)
{
    if (l) {
        qemu_mutex_destroy(&l->lock);
        g_free(l->path);
        g_free(l->session);
        g_free(l);
    }
}

/* ------------------------------------------------------------ the label */

ColoLabelState colo_label_state(ColoLabel *l)
{
    QEMU_LOCK_GUARD(&l->lock);
    return l->state;
}

static char *text_of(const char *session, ColoLabelState state)
{
    return g_strdup_printf("%s:%s", session, state_names[state]);
}

char *colo_label_text(ColoLabel *l)
{
    QEMU_LOCK_GUARD(&l->lock);
    return l->state == COLO_LABEL_NONE ? NULL : text_of(l->session, l->state);
}

char *colo_label_session(ColoLabel *l)
{
    QEMU_LOCK_GUARD(&l->lock);
    return g_strdup(l->session);
}

static bool save_or_say(ColoLabel *l, Error **errp)
{
    int ret = save(l, colo_label_state(l));

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot write state file '%s'", l->path);
        error_append_hint(errp, "Nor could the old one be removed: it does "
                          "not tell the truth any more.\n");
    }
    return !ret;
}

bool colo_label_is_stored(const ColoLabel *l)
{
    return l->path;
}

bool colo_label_set(ColoLabel *l, const char *session, bool is_primary,
                    ColoLabelState state, Error **errp)
{
    WITH_QEMU_LOCK_GUARD(&l->lock) {
        g_free(l->session);
        l->session = g_strdup(session);
        l->is_primary = is_primary;
        l->state = state;
    }
    return save_or_say(l, errp);
}

bool colo_label_move(ColoLabel *l, ColoLabelState state, Error **errp)
{
    WITH_QEMU_LOCK_GUARD(&l->lock) {
        if (l->state == COLO_LABEL_NONE || l->state == state) {
            return true;
        }
        l->state = state;
    }
    return save_or_say(l, errp);
}

bool colo_label_forget(ColoLabel *l, Error **errp)
{
    int ret = l->path ? remove_file(l->path) : 0;

    if (ret < 0) {
        error_setg_errno(errp, -ret, "Cannot remove state file '%s'",
                         l->path);
        return false;
    }
    QEMU_LOCK_GUARD(&l->lock);
    g_clear_pointer(&l->session, g_free);
    l->state = COLO_LABEL_NONE;
    return true;
}

int coroutine_fn colo_label_move_alone_co(ColoLabel *l)
{
    int ret = 0;

    if (colo_label_state(l) != COLO_LABEL_PROTECTED) {
        return 0;
    }
    qemu_co_mutex_lock(&l->moving);
    if (colo_label_state(l) == COLO_LABEL_PROTECTED) {
        ret = thread_pool_submit_co(save_alone, l);
        if (ret) {
            ret = -EIO;
        } else {
            QEMU_LOCK_GUARD(&l->lock);
            l->state = COLO_LABEL_ALONE;
        }
    }
    qemu_co_mutex_unlock(&l->moving);
    return ret;
}

bool colo_label_parse(const char *text, char **session,
                      ColoLabelState *state, Error **errp)
{
    const char *colon = strchr(text, ':');

    if (!colon || colon == text || !find_state(colon + 1, state)) {
        error_setg(errp, "'%s' is not what query-colo shows as the state of "
                   "a disk (SESSION:STATE)", text);
        return false;
    }
    *session = g_strndup(text, colon - text);
    return true;
}
