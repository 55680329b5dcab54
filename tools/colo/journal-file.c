/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The journal of a command on disk, and the lock that goes with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <glib/gstdio.h>
#include "error.h"
#include "journal-file.h"

#define SUFFIX ".journal"

struct ColoJournalFile {
    ColoJournal *journal;
    char *path;
    int fd;
};

static char *directory(void)
{
    const char *told = g_getenv("COLO_STATE_DIR");
    const char *state = g_getenv("XDG_STATE_HOME");

    if (told && *told) {
        return g_strdup(told);
    }
    if (!getuid()) {
        return g_strdup("/var/lib/colo");
    }
    if (state && *state) {
        return g_build_filename(state, "colo", NULL);
    }
    return g_build_filename(g_get_home_dir(), ".local", "state", "colo",
                            NULL);
}

static char *path_of(const char *uuid)
{
    g_autofree char *dir = directory();
    g_autofree char *name = g_strconcat(uuid, SUFFIX, NULL);

    return g_build_filename(dir, name, NULL);
}

static void fail(GError **error, const char *path)
{
    colo_error_set(error, COLO_EXIT_FAILED, "%s: %s", path,
                   g_strerror(errno));
}

/* Is the file that was locked still the one of that name? */
static bool is_current(ColoJournalFile *file)
{
    GStatBuf ours, named;

    return fstat(file->fd, &ours) == 0 && g_stat(file->path, &named) == 0 &&
           ours.st_ino == named.st_ino && ours.st_dev == named.st_dev;
}

static ColoJournalFile *open_locked(const char *uuid, int flags,
                                    GError **error)
{
    g_autoptr(ColoJournalFile) file = g_new0(ColoJournalFile, 1);
    g_autofree char *dir = directory();

    file->path = path_of(uuid);
    file->fd = -1;
    if (g_mkdir_with_parents(dir, 0700) < 0) {
        fail(error, dir);
        return NULL;
    }
    file->fd = g_open(file->path, flags | O_RDWR | O_CLOEXEC | O_APPEND,
                      0600);
    if (file->fd < 0) {
        fail(error, file->path);
        return NULL;
    }
    if (flock(file->fd, LOCK_EX | LOCK_NB) < 0 || !is_current(file)) {
        colo_error_set(error, COLO_EXIT_FAILED, "Another colo command is at "
                       "work on this domain; wait for its end");
        return NULL;
    }
    return g_steal_pointer(&file);
}

static bool write_line(ColoJournalFile *file, char *line, GError **error)
{
    g_autofree char *owned = line;
    size_t size = strlen(owned);

    if (write(file->fd, owned, size) != (ssize_t)size ||
        fdatasync(file->fd) < 0) {
        fail(error, file->path);
        return false;
    }
    return true;
}

ColoJournalFile *colo_journal_file_begin(ColoJournal *journal,
                                         GError **error)
{
    g_autoptr(ColoJournal) owned = journal;
    g_autoptr(ColoJournalFile) file = open_locked(journal->uuid, O_CREAT,
                                                  error);

    if (!file) {
        return NULL;
    }
    if (lseek(file->fd, 0, SEEK_END) > 0) {
        colo_error_set(error, COLO_EXIT_HALF_DONE, "An earlier command was "
                       "interrupted; run: colo repair %s", journal->domain);
        return NULL;
    }
    journal->pid = getpid();
    file->journal = g_steal_pointer(&owned);
    if (!write_line(file, colo_journal_head(journal), error)) {
        return NULL;
    }
    return g_steal_pointer(&file);
}

ColoJournalFile *colo_journal_file_open(const char *uuid, GError **error)
{
    g_autoptr(ColoJournalFile) file = NULL;
    g_autofree char *path = path_of(uuid);
    g_autofree char *text = NULL;

    if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
        return NULL;
    }
    file = open_locked(uuid, 0, error);
    if (!file || !g_file_get_contents(path, &text, NULL, error)) {
        return NULL;
    }
    if (!*text) {
        /* Made, and nothing was done yet. */
        colo_journal_file_finish(file);
        return NULL;
    }
    file->journal = colo_journal_parse(text, error);
    if (!file->journal) {
        colo_error_what(error, "The journal %s cannot be read", path);
        return NULL;
    }
    return g_steal_pointer(&file);
}

GPtrArray *colo_journal_file_list(void)
{
    g_autofree char *dir = directory();
    g_autoptr(GDir) open = g_dir_open(dir, 0, NULL);
    GPtrArray *uuids = g_ptr_array_new_with_free_func(g_free);
    const char *name;

    while (open && (name = g_dir_read_name(open))) {
        if (g_str_has_suffix(name, SUFFIX)) {
            g_ptr_array_add(uuids,
                            g_strndup(name, strlen(name) - strlen(SUFFIX)));
        }
    }
    return uuids;
}

ColoJournal *colo_journal_file_get(ColoJournalFile *file)
{
    return file->journal;
}

bool colo_journal_file_add(ColoJournalFile *file, ColoUndo *undo,
                           GError **error)
{
    g_ptr_array_add(file->journal->undos, undo);
    return write_line(file, colo_journal_line(undo), error);
}

void colo_journal_file_finish(ColoJournalFile *file)
{
    g_unlink(file->path);
}

void colo_journal_file_free(ColoJournalFile *file)
{
    if (!file) {
        return;
    }
    if (file->fd >= 0) {
        close(file->fd);
    }
    colo_journal_free(file->journal);
    g_free(file->path);
    g_free(file);
}
